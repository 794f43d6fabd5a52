//! `ods config`: reading and changing the configuration file, with what people wrote in it kept.

use std::path::Path;

use anyhow::Result;
use clap::Args;
use clap::Subcommand;
use toml_edit::DocumentMut;
use toml_edit::Item;
use toml_edit::Value;

use crate::cli::config::Config;
use crate::cli::exit::Code;
use crate::cli::exit::OrFault;
use crate::cli::exit::fault;
use crate::cli::options::Options;
use crate::cli::paths;
use crate::cli::paths::Paths;
use crate::cli::progress;
use crate::cli::render::counted;

/// Keys of a drive that are numbers, and those that are text.
const NUMBERS: &[&str] = &[
    "server",
    "journal_channel",
    "archives_channel",
    "attachment_bytes",
];
const TEXTS: &[&str] = &[
    "api_base",
    "token_file",
    "token_command",
    "passphrase_file",
    "passphrase_command",
    "state_dir",
    "options",
];

/// Keys of a drive's bot: lists of text and of numbers, numbers, and text.
const BOT_LISTS: &[&str] = &["members", "upload_dirs"];
const BOT_NUMBER_LISTS: &[&str] = &["admin_roles"];
const BOT_NUMBERS: &[&str] = &["channel"];
const BOT_TEXTS: &[&str] = &[
    "names",
    "download_dir",
    "old_key_file",
    "words",
    "buttons",
    "desktop",
    "awake",
];

/// The table of a drive's bot.
const BOT: &str = "bot";

/// Read, change or check the configuration file
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    pub(crate) what: What,
}

#[derive(Debug, Subcommand)]
pub(crate) enum What {
    /// Print a setting, or all of the file
    Get {
        /// `default`, a key of the default drive, or DRIVE.KEY; bot.KEY or DRIVE.bot.KEY for its bot
        key: Option<String>,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Change a setting; comments and everything else in the file stay. Without a value it is removed
    Set {
        /// `default`, a key of the default drive, or DRIVE.KEY; bot.KEY or DRIVE.bot.KEY for its bot
        key: String,
        /// What it becomes; of a list, its parts with commas between them
        value: Option<String>,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Look whether the file is good, and its drives' options too
    Check {
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
}

/// Runs the command.
pub(crate) fn run(args: &ConfigArgs, config: Option<&Path>) -> Result<()> {
    let path = Paths::find(config)?.config;
    match &args.what {
        What::Get { key, json } => get(&path, key.as_deref(), *json),
        What::Set { key, value, json } => set(&path, key, value.as_deref(), *json),
        What::Check { json } => check(&path, *json),
    }
}

fn read(path: &Path) -> Result<(String, Config)> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => {
            return Err(error).or_fault(Code::Config, || format!("cannot read {}", path.display()));
        }
    };
    let config = Config::parse(&text, path)?;
    Ok((text, config))
}

/// The way to a key in the file: of a drive, or at the top.
fn way(config: &Config, key: &str) -> Result<Vec<String>> {
    if key == "default" {
        return Ok(vec![key.to_owned()]);
    }
    let key = key.strip_prefix("drive.").unwrap_or(key);
    let (drive, key) = match key.rsplit_once('.') {
        Some((drive, key)) => (Some(drive), key),
        None => (None, key),
    };
    if let Some(way) = way_to_bot(config, drive, key)? {
        return Ok(way);
    }
    if !NUMBERS.contains(&key) && !TEXTS.contains(&key) {
        let known = [NUMBERS, TEXTS].concat().join(", ");
        return Err(fault(
            Code::Usage,
            format!(
                "there is no setting `{}`; there are: default, {known}, and of the bot: bot.{}",
                key.escape_debug(),
                bot_keys().collect::<Vec<_>>().join(", bot.")
            ),
        ));
    }
    let (name, _) = config.drive(drive)?;
    Ok(vec![String::from("drive"), name, key.to_owned()])
}

fn bot_keys() -> impl Iterator<Item = &'static str> {
    let all = [BOT_LISTS, BOT_NUMBER_LISTS, BOT_NUMBERS, BOT_TEXTS];
    all.into_iter().flatten().copied()
}

/// The way to a key of a drive's bot, if it is one.
fn way_to_bot(config: &Config, above: Option<&str>, key: &str) -> Result<Option<Vec<String>>> {
    let drive = match above.map(|above| above.strip_suffix(BOT)) {
        Some(Some("")) => None,
        Some(Some(drive)) if drive.ends_with('.') => Some(drive.trim_end_matches('.')),
        _ => return Ok(None),
    };
    if !bot_keys().any(|known| known == key) {
        return Ok(None);
    }
    let (name, _) = config.drive(drive)?;
    let way = [String::from("drive"), name, BOT.to_owned(), key.to_owned()];
    Ok(Some(way.to_vec()))
}

fn get(path: &Path, key: Option<&str>, json: bool) -> Result<()> {
    let (text, config) = read(path)?;
    let way = match key {
        Some(key) => way(&config, key)?,
        None => Vec::new(),
    };
    let document = parsed(&text)?;
    let mut item = document.as_item();
    for step in &way {
        item = item.get(step).ok_or_else(|| {
            let key = key.unwrap_or_default().escape_debug();
            fault(
                Code::Config,
                format!("`{key}` is not set; its default counts"),
            )
        })?;
    }
    match (json, item.as_str()) {
        (true, _) => progress::answer(&as_json(&text, &way)?),
        (false, _) if text.is_empty() => {
            progress::note(&format!("there is no {}", path.display()));
            Ok(())
        }
        (false, _) if way.is_empty() => progress::answer(&text),
        (false, Some(text)) => progress::answer(text),
        (false, None) => progress::answer(item.to_string().trim()),
    }
}

/// What is at the end of this way, for scripts.
fn as_json(text: &str, way: &[String]) -> Result<String> {
    Ok(serde_json::to_string_pretty(&json_at(text, way)?)?)
}

fn json_at(text: &str, way: &[String]) -> Result<serde_json::Value> {
    let mut value: serde_json::Value = toml::from_str(text)?;
    for step in way {
        value = value[step.as_str()].take();
    }
    Ok(value)
}

fn parsed(text: &str) -> Result<DocumentMut> {
    text.parse()
        .map_err(|_| fault(Code::Config, "the configuration is damaged"))
}

fn set(path: &Path, key: &str, value: Option<&str>, json: bool) -> Result<()> {
    let (text, config) = read(path)?;
    let way = way(&config, key)?;
    let mut document = parsed(&text)?;
    let (last, above) = match way.split_last() {
        Some((last, above)) => (last.as_str(), above),
        None => return Ok(()),
    };
    if let (Some(value), "default") = (value, last) {
        config.drive(Some(value))?;
    }
    let mut table = document.as_item_mut();
    let is_bot = above.last().is_some_and(|step| step == BOT) && above.len() > 2;
    for step in above {
        if is_bot && step == BOT && table.get(BOT).is_none() {
            table[BOT] = toml_edit::table();
        }
        table = &mut table[step.as_str()];
    }
    match value {
        Some(value) if is_bot => put(table, last, typed_of_bot(last, value)?),
        Some(value) => put(table, last, typed(last, value)?),
        None => {
            if let Some(table) = table.as_table_like_mut() {
                table.remove(last);
            }
        }
    }
    let changed = document.to_string();
    Config::parse(&changed, path)?;
    paths::write_private(path, changed.as_bytes())
        .or_fault(Code::Config, || format!("cannot write {}", path.display()))?;
    match json {
        true => {
            let now = match value {
                Some(_) => json_at(&changed, &way)?,
                None => serde_json::Value::Null,
            };
            progress::answer(&serde_json::json!({ "key": way.join("."), "value": now }).to_string())
        }
        false => {
            progress::note("changed; a mounted drive keeps its settings until it is mounted again");
            Ok(())
        }
    }
}

/// Puts a value where another was, with what is written behind it on the line.
fn put(table: &mut Item, key: &str, mut value: Value) {
    if let Some(before) = table.get(key).and_then(Item::as_value) {
        *value.decor_mut() = before.decor().clone();
    }
    table[key] = Item::Value(value);
}

fn number(key: &str, value: &str) -> Result<i64> {
    value.parse().map_err(|_| {
        let value = value.escape_debug();
        fault(Code::Usage, format!("`{key}` is a number, not `{value}`"))
    })
}

fn typed_of_bot(key: &str, value: &str) -> Result<Value> {
    let parts = value.split(',').map(str::trim);
    let parts = parts.filter(|part| !part.is_empty());
    if BOT_LISTS.contains(&key) {
        return Ok(parts.collect());
    }
    if BOT_NUMBER_LISTS.contains(&key) {
        let numbers: Result<Vec<i64>> = parts.map(|part| number(key, part)).collect();
        return Ok(numbers?.into_iter().collect());
    }
    match BOT_NUMBERS.contains(&key) {
        true => Ok(Value::from(number(key, value)?)),
        false => Ok(Value::from(value)),
    }
}

fn typed(key: &str, value: &str) -> Result<Value> {
    if NUMBERS.contains(&key) {
        return Ok(Value::from(number(key, value)?));
    }
    if key == "options" {
        Options::default().add(value)?;
    }
    Ok(Value::from(value))
}

fn check(path: &Path, json: bool) -> Result<()> {
    let (_, config) = read(path)?;
    if let Some(default) = &config.default {
        config.drive(Some(default))?;
    }
    for (name, drive) in &config.drive {
        if let Some(options) = &drive.options {
            Options::default()
                .add(options)
                .or_fault(Code::Config, || format!("the options of drive `{name}`"))?;
        }
        for file in [&drive.token_file, &drive.passphrase_file]
            .into_iter()
            .flatten()
        {
            let file = paths::expand(file)?;
            std::fs::metadata(&file).or_fault(Code::Config, || {
                format!("drive `{name}` needs {}", file.display())
            })?;
        }
    }
    let (file, drives) = (path.display(), config.drive.len());
    match json {
        true => progress::answer(
            &serde_json::json!({ "file": file.to_string(), "drives": drives }).to_string(),
        ),
        false => {
            let drives = counted(drives as u64, "drive");
            progress::note(&format!("{file}: {drives}, nothing is wrong"));
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_of_the_bot_can_be_set() {
        let all = serde_json::to_value(crate::bot::Settings::default()).expect("an object");
        let mut all: Vec<&String> = all.as_object().expect("an object").keys().collect();
        let mut known: Vec<&str> = bot_keys().collect();
        all.sort();
        known.sort_unstable();
        assert_eq!(all, known);
    }
}
