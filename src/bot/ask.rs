//! What can be asked of the bot, as a slash command or as a word after `!`.

use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;

use crate::bot::wire::Attachment;
use crate::bot::wire::Data;
use crate::bot::wire::Given;

/// A word shorter than this is not looked for in what was mistyped.
const MEANT_LETTERS_MIN: usize = 4;

/// The commands by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Word {
    /// Puts an attachment, or a file of the machine, into the drive.
    Upload,
    /// Gives a file, or fetches an archive to the machine.
    Download,
    /// Goes on with what waits.
    Resume,
    /// How the drive is.
    Status,
    /// The latest archives.
    History,
    /// All archives, or those that a query finds.
    Archives,
    /// About one archive or file.
    Info,
    /// Is everything there, and whole?
    Verify,
    /// Puts history, superblock and missing packs on Discord right, as far as this machine can.
    Rebuild,
    /// Deletes an archive, after asking.
    Cleanup,
    /// Removes from Discord what no file needs any more, after asking.
    Gc,
    /// Takes over an archive of the systems before.
    Migrate,
    /// Numbers about the whole drive.
    Stats,
    /// What can be asked.
    Help,
}

impl Word {
    /// All of them, in the order of the help.
    pub const ALL: [Word; 14] = [
        Word::Upload,
        Word::Download,
        Word::Resume,
        Word::Status,
        Word::History,
        Word::Archives,
        Word::Info,
        Word::Verify,
        Word::Rebuild,
        Word::Cleanup,
        Word::Gc,
        Word::Migrate,
        Word::Stats,
        Word::Help,
    ];

    /// As it is typed.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Word::Upload => "upload",
            Word::Download => "download",
            Word::Resume => "resume",
            Word::Status => "status",
            Word::History => "history",
            Word::Archives => "archives",
            Word::Info => "info",
            Word::Verify => "verify",
            Word::Rebuild => "rebuild",
            Word::Cleanup => "cleanup",
            Word::Gc => "gc",
            Word::Migrate => "migrate",
            Word::Stats => "stats",
            Word::Help => "help",
        }
    }

    /// One line about it, at most 100 characters.
    #[must_use]
    pub fn about(self) -> &'static str {
        match self {
            Word::Upload => "Put an attachment, or a file of the machine, into the drive",
            Word::Download => {
                "Get a file here, or a file or archive into a directory of the machine"
            }
            Word::Resume => {
                "Bring all that still waits to Discord now, and tell how an archive is then"
            }
            Word::Status => "How the drive is: what waits, how fast it goes",
            Word::History => "The latest archives",
            Word::Archives => "All archives, or those found by their words or by files in them",
            Word::Info => "About one archive, file or directory",
            Word::Verify => "Check that everything is on Discord, and with full that it is whole",
            Word::Rebuild => {
                "Put history, superblock and missing packs on Discord right, from what this machine has"
            }
            Word::Cleanup => "Delete an archive with everything in it; asks first",
            Word::Gc => "Remove from Discord what no file needs any more; asks first",
            Word::Migrate => {
                "Take over an archive of the older systems, with the old key of the machine"
            }
            Word::Stats => "Numbers about the whole drive",
            Word::Help => "What can be asked",
        }
    }

    /// Whom it may never be left to, whatever is configured: members who do not manage the server.
    #[must_use]
    pub fn is_for_admins(self) -> bool {
        matches!(
            self,
            Word::Rebuild | Word::Cleanup | Word::Gc | Word::Migrate
        )
    }

    /// The word of this name, also by the names it had in the systems before.
    pub(in crate::bot) fn find(name: &str) -> Option<Word> {
        match name {
            "rebuild-log" => Some(Word::Rebuild),
            "migrate-legacy" => Some(Word::Migrate),
            name => Word::ALL.into_iter().find(|word| word.name() == name),
        }
    }

    /// The word that somebody meant who mistyped one letter of it. Of a short word too little would be left.
    fn meant(name: &str) -> Option<Word> {
        Word::ALL
            .into_iter()
            .filter(|word| word.name().len() >= MEANT_LETTERS_MIN)
            .find(|word| is_near(word.name(), name))
    }
}

/// Are two words one letter apart?
fn is_near(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let (short, long) = match one.len() <= other.len() {
        true => (one, other),
        false => (other, one),
    };
    let same = short.iter().zip(long).take_while(|(a, b)| a == b).count();
    let (short, long) = (&short[same..], &long[same..]);
    match long {
        [_, rest @ ..] => short == rest || short.get(1..) == Some(rest),
        [] => false,
    }
}

/// Where an upload comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::bot) enum Source {
    Attached(Vec<Attachment>),
    Machine(PathBuf),
    /// Everything in the directory that files are taken from.
    Inbox,
}

/// Where a download goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bot) enum Goal {
    /// Here if it is small enough, else the machine.
    Any,
    Here,
    Machine,
}

/// How closely something is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bot) enum Depth {
    Listed,
    Read,
}

/// A command with what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::bot) enum Ask {
    Upload { source: Source, to: String },
    Download { what: String, goal: Goal },
    Resume { what: String },
    Status,
    History,
    Archives { query: String, page: usize },
    Info { what: String },
    Verify { what: String, depth: Depth },
    Rebuild,
    Cleanup { what: String },
    Gc,
    Migrate { what: String, to: String },
    Stats,
    Help,
}

impl Ask {
    /// The command it is.
    pub(in crate::bot) fn word(&self) -> Word {
        match self {
            Ask::Upload { .. } => Word::Upload,
            Ask::Download { .. } => Word::Download,
            Ask::Resume { .. } => Word::Resume,
            Ask::Status => Word::Status,
            Ask::History => Word::History,
            Ask::Archives { .. } => Word::Archives,
            Ask::Info { .. } => Word::Info,
            Ask::Verify { .. } => Word::Verify,
            Ask::Rebuild => Word::Rebuild,
            Ask::Cleanup { .. } => Word::Cleanup,
            Ask::Gc => Word::Gc,
            Ask::Migrate { .. } => Word::Migrate,
            Ask::Stats => Word::Stats,
            Ask::Help => Word::Help,
        }
    }

    /// A slash command with its options.
    pub(in crate::bot) fn of_command(data: &Data) -> Result<Ask, String> {
        let word = Word::find(&data.name).ok_or("this command is not known here any more")?;
        let text = |name: &str| {
            let given = data.options.iter().find(|option| option.name == name);
            let value = given.and_then(|given| given.value.as_str());
            value.unwrap_or_default().trim().to_owned()
        };
        let given: Option<&Given> = data.options.iter().find(|option| option.name == "file");
        let id = given.and_then(|given| given.value.as_str());
        let file = id.and_then(|id| data.resolved.attachments.get(id));
        let is_full = data
            .options
            .iter()
            .any(|option| option.name == "full" && option.value == true);
        Ask::of(
            word,
            Filled {
                files: file.cloned().into_iter().collect(),
                path: text("path"),
                what: text("what"),
                query: text("query"),
                to: text("to"),
                is_full,
            },
        )
    }

    /// `!word and what belongs to it`; none when it is something else.
    pub(in crate::bot) fn of_words(
        content: &str,
        files: &[Attachment],
    ) -> Option<Result<Ask, String>> {
        let said = content.trim().strip_prefix('!')?;
        let (name, rest) = said.split_once(char::is_whitespace).unwrap_or((said, ""));
        // What is nobody's word here may be another bot's.
        let Some(word) = Word::find(name) else {
            let meant = Word::meant(name)?;
            return Some(Err(format!("did you mean `!{}`?", meant.name())));
        };
        let rest = rest.trim();
        let mut filled = Filled {
            files: files.to_vec(),
            ..Filled::default()
        };
        match word {
            Word::Upload if files.is_empty() => rest.clone_into(&mut filled.path),
            Word::Upload => rest.clone_into(&mut filled.to),
            Word::Verify => {
                let what = rest
                    .strip_suffix("full")
                    .filter(|before| before.is_empty() || before.ends_with(char::is_whitespace));
                filled.is_full = what.is_some();
                what.unwrap_or(rest).trim().clone_into(&mut filled.what);
            }
            // Two ids were a range in the systems before.
            Word::Download => filled.what = range(rest),
            Word::Archives => rest.clone_into(&mut filled.query),
            Word::Migrate => {
                let (what, to) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
                what.clone_into(&mut filled.what);
                to.trim().clone_into(&mut filled.to);
            }
            _ => rest.clone_into(&mut filled.what),
        }
        Some(Ask::of(word, filled))
    }

    fn of(word: Word, filled: Filled) -> Result<Ask, String> {
        let Filled {
            files,
            path,
            what,
            query,
            to,
            is_full,
        } = filled;
        let needed = |what: String| match what.is_empty() {
            true => Err(format!(
                "`{}` needs to know what is meant: an archive (#DDMMYY-NN) or a path",
                word.name()
            )),
            false => Ok(what),
        };
        Ok(match word {
            Word::Upload => Ask::Upload {
                source: match (files.is_empty(), path.is_empty()) {
                    (false, true) => Source::Attached(files),
                    (true, false) => Source::Machine(PathBuf::from(path)),
                    (true, true) => Source::Inbox,
                    (false, false) => return Err("attach a file or name a path, not both".into()),
                },
                to,
            },
            Word::Download => Ask::Download {
                what: needed(what)?,
                goal: match to.as_str() {
                    "here" => Goal::Here,
                    "machine" => Goal::Machine,
                    _ => Goal::Any,
                },
            },
            Word::Resume => Ask::Resume { what },
            Word::Status => Ask::Status,
            Word::History => Ask::History,
            Word::Archives => Ask::Archives { query, page: 0 },
            Word::Info => Ask::Info {
                what: needed(what)?,
            },
            Word::Verify => Ask::Verify {
                what,
                depth: match is_full {
                    true => Depth::Read,
                    false => Depth::Listed,
                },
            },
            Word::Rebuild => Ask::Rebuild,
            Word::Cleanup => Ask::Cleanup {
                what: needed(what)?,
            },
            // Whoever writes the id of an archive means `cleanup`.
            Word::Gc if !what.is_empty() => {
                return Err(
                    "`gc` is about the whole drive; an archive is deleted with `cleanup`".into(),
                );
            }
            Word::Gc => Ask::Gc,
            Word::Migrate if what.is_empty() => {
                return Err(
                    "`migrate` needs to know what: #DDMMYY-NN or BATCH_YYYYMMDD_HHHH, or `all`"
                        .into(),
                );
            }
            Word::Migrate => Ask::Migrate { what, to },
            Word::Stats => Ask::Stats,
            Word::Help => Ask::Help,
        })
    }
}

/// The options of a command, wherever they came from.
#[derive(Default)]
struct Filled {
    files: Vec<Attachment>,
    path: String,
    what: String,
    query: String,
    to: String,
    is_full: bool,
}

fn range(rest: &str) -> String {
    let words: Vec<&str> = rest.split_whitespace().collect();
    match words[..] {
        [first, last] if first.starts_with('#') && last.starts_with('#') => {
            format!("{first}..{last}")
        }
        _ => rest.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(content: &str) -> Option<Result<Ask, String>> {
        Ask::of_words(content, &[])
    }

    #[test]
    fn words_of_the_systems_before_are_understood() {
        let what = || "#120225-01..#120225-02".to_owned();
        let range = Ask::Download {
            what: what(),
            goal: Goal::Any,
        };
        assert_eq!(words("!download #120225-01 #120225-02"), Some(Ok(range)));
        assert_eq!(words("!rebuild-log"), Some(Ok(Ask::Rebuild)));
        assert_eq!(words("!gc"), Some(Ok(Ask::Gc)));
        assert_eq!(words("  !status "), Some(Ok(Ask::Status)));
        let verify = Ask::Verify {
            what: "#1".into(),
            depth: Depth::Read,
        };
        assert_eq!(words("!verify #1 full"), Some(Ok(verify)));
        let verify = Ask::Verify {
            what: "joyfull".into(),
            depth: Depth::Listed,
        };
        assert_eq!(words("!verify joyfull"), Some(Ok(verify)));
        let migrate = Ask::Migrate {
            what: "BATCH_20260101_000B".into(),
            to: "old things".into(),
        };
        let said = "!migrate-legacy BATCH_20260101_000B  old things";
        assert_eq!(words(said), Some(Ok(migrate)));
        let resume = Ask::Resume {
            what: "#120225-01".into(),
        };
        assert_eq!(words("!resume #120225-01"), Some(Ok(resume)));
        let upload = Ask::Upload {
            source: Source::Inbox,
            to: String::new(),
        };
        assert_eq!(words("!upload"), Some(Ok(upload)));
    }

    #[test]
    fn what_is_not_for_the_bot_is_left_alone_and_what_lacks_something_is_told() {
        for content in [
            "",
            "!",
            "status",
            "!!",
            "!statuses",
            "hello !status",
            "!\u{0}",
        ] {
            assert!(words(content).is_none(), "{content}");
        }
        for content in [
            "!migrate-legacy",
            "!download",
            "!info",
            "!cleanup  ",
            "!gc #120225-01",
        ] {
            assert!(
                words(content).is_some_and(|said| said.is_err()),
                "{content}"
            );
        }
    }

    #[test]
    fn a_word_with_one_wrong_letter_is_asked_about_and_others_are_nobody_s() {
        for (typed, meant) in [
            ("!statu", "!status"),
            ("!sstatus #1", "!status"),
            ("!archivez", "!archives"),
            ("!hepl", ""),
            ("!play", ""),
            ("!go", ""),
            ("!g", ""),
            ("!Status", "!status"),
        ] {
            let why = words(typed).map(|said| said.expect_err(typed));
            match meant {
                "" => assert_eq!(why, None, "{typed}"),
                meant => assert_eq!(why, Some(format!("did you mean `{meant}`?"))),
            }
        }
        assert!(!is_near("help", "help") && !is_near("", "ab") && is_near("", "a"));
    }

    #[test]
    fn rebuild_claims_what_a_quick_repair_does_and_no_more() {
        let about = Word::Rebuild.about();
        for does in ["history", "superblock", "missing packs"] {
            assert!(about.contains(does), "{about}");
        }
        for does_not in ["index", "card"] {
            assert!(!about.contains(does_not), "{about}");
        }
    }

    #[test]
    fn every_word_is_found_by_its_name_and_fits_discord() {
        for word in Word::ALL {
            assert_eq!(Word::find(word.name()), Some(word));
            assert!(word.about().chars().count() <= 100 && word.name().len() <= 32);
        }
    }
}
