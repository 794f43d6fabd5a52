//! The commands as Discord knows them: set for the drive's server, and only when they are others than last time.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use serde_json::json;

use crate::bot::Bot;
use crate::bot::ask::Word;
use crate::bot::settings::Settings;

/// File in the state directory that tells what Discord was told.
const RECORD: &str = "bot-commands";

/// Discord's numbers for kinds of options.
mod kind {
    pub(super) const TEXT: u8 = 3;
    pub(super) const SWITCH: u8 = 5;
    pub(super) const FILE: u8 = 11;
}

/// `MANAGE_GUILD`, as Discord writes permissions.
const MANAGE_SERVER: &str = "32";

/// Tells Discord the commands if they are not those it was told last.
pub(in crate::bot) async fn register(bot: &Arc<Bot>, application: u64) {
    let commands = commands(&bot.settings);
    let record = json!({
        "application": application,
        "server": bot.messenger.guild(),
        "commands": commands,
    });
    let path = bot.state_dir.join(RECORD);
    if is_kept(&path, &record) {
        return;
    }
    match bot.messenger.set_commands(application, &commands).await {
        Ok(()) => {
            log::info!("bot: the commands are set");
            let written = std::fs::write(&path, record.to_string());
            if let Err(error) = written {
                log::warn!("bot: {}: {error}", path.display());
            }
        }
        Err(error) => log::warn!("bot: {error}"),
    }
}

fn is_kept(path: &Path, record: &Value) -> bool {
    let kept = std::fs::read(path).ok();
    let kept: Option<Value> = kept.and_then(|kept| serde_json::from_slice(&kept).ok());
    kept.as_ref() == Some(record)
}

/// Forgets what Discord was told, so that the next start tells it again.
pub(in crate::bot) fn forget(state_dir: &Path) {
    drop(std::fs::remove_file(state_dir.join(RECORD)));
}

fn commands(settings: &Settings) -> Value {
    let commands = Word::ALL.into_iter().map(|word| {
        let permissions = match settings.is_for_members(word) {
            true => Value::Null,
            false => json!(MANAGE_SERVER),
        };
        // Roles of the owner's choice are told in the server's own settings; the bot checks them too.
        let permissions = match settings.admin_roles.is_empty() {
            true => permissions,
            false => Value::Null,
        };
        json!({
            "type": 1,
            "name": word.name(),
            "description": word.about(),
            "options": options(word),
            "default_member_permissions": permissions,
        })
    });
    commands.collect()
}

fn options(word: Word) -> Value {
    let text =
        |name: &str, about: &str| json!({ "type": kind::TEXT, "name": name, "description": about });
    let what = |needed: bool| {
        let mut what = text("what", "Archive (#DDMMYY-NN) or path in the drive");
        what["required"] = json!(needed);
        what["autocomplete"] = json!(true);
        what
    };
    match word {
        Word::Upload => json!([
            { "type": kind::FILE, "name": "file", "description": "A file to put into the drive" },
            text("path", "A path on the machine that has the drive; with neither, all of its upload directory"),
            text("to", "Directory in the drive"),
        ]),
        Word::Download => {
            let mut to = text(
                "to",
                "Here as a file that Discord can read, or into a directory of the machine",
            );
            to["choices"] = json!([
                { "name": "here, if it is small enough", "value": "here" },
                { "name": "the machine that has the drive", "value": "machine" },
            ]);
            json!([what(true), to])
        }
        Word::Archives => {
            let mut query = text("query", "Words to find archives and files by");
            query["autocomplete"] = json!(true);
            json!([query])
        }
        Word::Info | Word::Cleanup => json!([what(true)]),
        Word::Resume => json!([what(false)]),
        Word::Migrate => {
            let mut what = text("what", "#DDMMYY-NN or BATCH_YYYYMMDD_HHHH, or all");
            what["required"] = json!(true);
            json!([what, text("to", "Directory in the drive")])
        }
        Word::Verify => json!([
            what(false),
            { "type": kind::SWITCH, "name": "full", "description": "Fetch everything and check every byte" },
        ]),
        Word::Status | Word::History | Word::Rebuild | Word::Gc | Word::Stats | Word::Help => {
            json!([])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_deletes_is_hidden_from_members_and_everything_fits_discord() {
        let commands = commands(&Settings::default());
        let commands = commands.as_array().expect("commands");
        assert_eq!(commands.len(), Word::ALL.len());
        for command in commands {
            let name = command["name"].as_str().expect("a name");
            let is_hidden = command["default_member_permissions"] == MANAGE_SERVER;
            let is_open =
                ["status", "archives", "info", "stats", "history", "help"].contains(&name);
            assert_eq!(is_hidden, !is_open, "{name}");
            for option in command["options"].as_array().expect("options") {
                let about = option["description"].as_str().expect("a text");
                assert!((1..=100).contains(&about.chars().count()), "{about}");
            }
        }
    }
}
