//! The configuration file: which drives there are, and how this machine mounts them.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Result;
use serde::Deserialize;
use serde::Serialize;

use crate::bot;
use crate::cli::exit::Code;
use crate::cli::exit::OrFault;
use crate::cli::exit::fault;
use crate::cli::paths;
use crate::cli::paths::Paths;

/// The least that `attachment_bytes` may be: with less, hardly anything could be stored. No server takes so little.
const ATTACHMENT_BYTES_MIN: u64 = 1 << 20;

/// The file.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// The drive that is meant when none is named.
    pub(crate) default: Option<String>,
    /// The drives by name.
    #[serde(default)]
    pub(crate) drive: BTreeMap<String, DriveConfig>,
}

/// One drive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DriveConfig {
    /// The Discord server.
    pub(crate) server: u64,
    /// The channel of the journal.
    pub(crate) journal_channel: u64,
    /// The channel of the archives' cards.
    pub(crate) archives_channel: u64,
    /// Largest attachment of the server, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) attachment_bytes: Option<u64>,
    /// Where Discord is, if elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) api_base: Option<String>,
    /// A file with the bot's token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token_file: Option<PathBuf>,
    /// A command that prints the bot's token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token_command: Option<String>,
    /// A file with the passphrase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// A command that prints the passphrase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) passphrase_command: Option<String>,
    /// Where the drive's state lies, if elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) state_dir: Option<PathBuf>,
    /// The bot of the drive, in a table of its own, which only people write.
    #[serde(skip_serializing)]
    pub(crate) bot: Option<bot::Settings>,
    /// Mount options, as after `-o`; those of the command line come after them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) options: Option<String>,
}

impl Config {
    /// Reads the file; one that is not there is empty.
    pub(crate) fn load(path: &Path) -> Result<Config> {
        match std::fs::read_to_string(path) {
            Ok(text) => Config::parse(&text, path),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Config::default()),
            Err(error) => {
                Err(error).or_fault(Code::Config, || format!("cannot read {}", path.display()))
            }
        }
    }

    /// Reads the file's text; errors never quote it.
    pub(crate) fn parse(text: &str, path: &Path) -> Result<Config> {
        // The parser's own report quotes the line, which may hold what somebody took for a setting.
        let wrong = |error: toml::de::Error| {
            let before = error.span().map_or(0, |span| span.start.min(text.len()));
            let line = text[..before].matches('\n').count() + 1;
            let what = error.message().replace('\n', " ");
            fault(
                Code::Config,
                format!("{}, line {line}: {what}", path.display()),
            )
        };
        let config: Config = toml::from_str(text).map_err(wrong)?;
        config
            .drive
            .keys()
            .try_for_each(|name| paths::check_name(name))
            .map_err(|error| fault(Code::Config, format!("{}: {error}", path.display())))?;
        let mut sizes = config.drive.iter().filter_map(|(name, drive)| {
            let bytes = drive.attachment_bytes?;
            (bytes < ATTACHMENT_BYTES_MIN).then_some((name, bytes))
        });
        match sizes.next() {
            None => Ok(config),
            Some((name, bytes)) => Err(fault(
                Code::Config,
                format!(
                    "{}: attachment_bytes = {bytes} of drive `{name}` is too little; give at least \
                     {ATTACHMENT_BYTES_MIN}, or leave it away",
                    path.display()
                ),
            )),
        }
    }

    /// The drive of this name, or the default one.
    pub(crate) fn drive(&self, name: Option<&str>) -> Result<(String, DriveConfig)> {
        let only = || match self.drive.len() {
            1 => self.drive.keys().next().map(String::as_str),
            _ => None,
        };
        let Some(name) = name.or(self.default.as_deref()).or_else(only) else {
            return Err(match self.drive.is_empty() {
                true => fault(
                    Code::Config,
                    "no drive is configured: make one with `ods init`, or try `ods demo MOUNTPOINT`",
                ),
                false => fault(Code::Config, format!("which drive? {}", self.known())),
            });
        };
        match self.drive.get(name) {
            Some(drive) => Ok((name.to_owned(), drive.clone())),
            None => Err(fault(
                Code::Config,
                format!("there is no drive `{name}`; {}", self.known()),
            )),
        }
    }

    fn known(&self) -> String {
        match self.drive.is_empty() {
            true => String::from("none is configured: make one with `ods init`"),
            false => {
                let names: Vec<&str> = self.drive.keys().map(String::as_str).collect();
                format!("configured: {}", names.join(", "))
            }
        }
    }

    /// Adds or replaces a drive in the file. What people wrote around it stays as it is.
    pub(crate) fn keep(path: &Path, name: &str, drive: &DriveConfig) -> Result<()> {
        paths::check_name(name)?;
        let old = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => {
                return Err(error)
                    .or_fault(Code::Config, || format!("cannot read {}", path.display()));
            }
        };
        let known = Config::parse(&old, path)?;
        if known.drive.get(name) == Some(drive) {
            return Ok(());
        }
        let mut text = without_table(&old, name);
        if known.default.is_none() && known.drive.is_empty() {
            text = format!("default = \"{name}\"\n{text}");
        }
        if !text.is_empty() && !text.ends_with("\n\n") {
            text.push('\n');
        }
        let table = toml::to_string(drive)?;
        text.push_str(&format!("[drive.{name}]\n{table}"));
        Config::parse(&text, path)?;
        let made = path.parent().map_or(Ok(()), paths::make_private);
        made.and_then(|()| paths::write_private(path, text.as_bytes()))
            .or_fault(Code::Config, || format!("cannot write {}", path.display()))
    }
}

/// The text without the lines of one drive's table.
pub(crate) fn without_table(text: &str, name: &str) -> String {
    let head = format!("[drive.{name}]");
    let mut is_inside = false;
    let mut kept = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with('[') {
            is_inside = line.trim() == head;
        }
        if !is_inside {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

impl DriveConfig {
    /// Where the drive's state lies.
    pub(crate) fn state_dir(&self, name: &str, paths: &Paths) -> Result<PathBuf> {
        match &self.state_dir {
            Some(dir) => paths::expand(dir),
            None => Ok(paths.state.join(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drive(server: u64) -> DriveConfig {
        DriveConfig {
            server,
            journal_channel: 2,
            archives_channel: 3,
            ..DriveConfig::default()
        }
    }

    #[test]
    fn what_people_wrote_stays() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("deep/config.toml");
        Config::keep(&path, "one", &drive(1)).expect("kept");
        let text = std::fs::read_to_string(&path).expect("readable");
        std::fs::write(&path, format!("# mine\n{text}\n")).expect("writable");
        Config::keep(&path, "two", &drive(7)).expect("kept");
        Config::keep(&path, "one", &drive(9)).expect("kept");
        let text = std::fs::read_to_string(&path).expect("readable");
        assert!(text.starts_with("# mine\n"), "{text}");
        let config = Config::load(&path).expect("good");
        assert_eq!(config.default.as_deref(), Some("one"));
        assert_eq!(config.drive(None).expect("one").1, drive(9));
        assert_eq!(config.drive(Some("two")).expect("two").1, drive(7));
        assert!(config.drive(Some("three")).is_err());
    }

    #[test]
    fn attachments_that_can_hold_nothing_are_refused() {
        let parse = |bytes: u64| {
            let drive = DriveConfig {
                attachment_bytes: Some(bytes),
                ..drive(1)
            };
            let table = toml::to_string(&drive).expect("a table");
            Config::parse(&format!("[drive.photos]\n{table}"), Path::new("c.toml"))
        };
        assert!(parse(10 << 20).is_ok());
        for bytes in [0, 1000] {
            let told = parse(bytes).expect_err("it").to_string();
            assert!(told.contains("attachment_bytes") && told.contains("photos"));
        }
    }

    #[test]
    fn an_unknown_key_is_told_with_its_line_and_without_its_value() {
        let text = "default = \"a\"\n[drive.a]\nserver = 1\ntoken = \"hush\"\n";
        let error = Config::parse(text, Path::new("c.toml")).expect_err("it");
        let told = error.to_string();
        assert!(told.contains("line 4") && told.contains("token"), "{told}");
        assert!(!told.contains("hush"), "{told}");
    }
}
