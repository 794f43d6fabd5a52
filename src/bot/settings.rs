//! What the owner of a drive decides about its bot: who may ask what, who sees names, which directories it may touch.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;

use crate::bot::ask::Word;
use crate::import::Keys;

/// The table `[drive.NAME.bot]` of the configuration. Everything has a safe default.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Roles whose members may do what otherwise needs Manage Server.
    pub admin_roles: Vec<u64>,
    /// Commands that every member of the server may use.
    pub members: Vec<Word>,
    /// Who is shown the names of files and directories.
    pub names: Names,
    /// The channel that hears of finished and failed work, if any.
    pub channel: Option<u64>,
    /// Directories of this machine from which `/upload` may take files; none means that it may not.
    pub upload_dirs: Vec<PathBuf>,
    /// The directory of this machine into which `/download` puts what is too large for a message.
    pub download_dir: Option<PathBuf>,
    /// File with the key of the systems before, for `/migrate`; none: their variables of the environment.
    pub old_key_file: Option<PathBuf>,
    /// The keys found there.
    #[serde(skip)]
    pub old_keys: Keys,
    /// Are commands written as `!words` heard, where Discord grants the message-content intent?
    pub words: Switch,
    /// Buttons on the archives' cards.
    pub buttons: Switch,
    /// Notifications on this machine's desktop.
    pub desktop: Switch,
    /// Does the machine stay awake while something is transferred?
    pub awake: Switch,
    /// Times that only tests change.
    #[serde(skip)]
    pub times: Times,
}

/// Who is shown names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Names {
    /// Admins, in answers that only they see.
    #[default]
    Admins,
    /// Everybody who may ask, also where others read along.
    Members,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Switch {
    /// It is wanted.
    On,
    /// It is not.
    Off,
}

/// How long things take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// An answer that is not there by then is promised first.
    pub promise_after: Duration,
    /// A progress message is changed at most this often.
    pub progress_every: Duration,
    /// An interaction's token is used for so long; Discord ends it after 15 minutes.
    pub token_life: Duration,
    /// A question with buttons ends after so long.
    pub question_life: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            promise_after: Duration::from_millis(1200),
            progress_every: Duration::from_secs(4),
            token_life: Duration::from_secs(14 * 60),
            question_life: Duration::from_secs(60),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            admin_roles: Vec::new(),
            members: vec![
                Word::Status,
                Word::Archives,
                Word::Info,
                Word::Stats,
                Word::History,
                Word::Help,
            ],
            names: Names::Admins,
            channel: None,
            upload_dirs: Vec::new(),
            download_dir: None,
            old_key_file: None,
            old_keys: Keys::default(),
            words: Switch::On,
            buttons: Switch::On,
            desktop: Switch::On,
            awake: Switch::On,
            times: Times::default(),
        }
    }
}
