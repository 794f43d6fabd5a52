//! What to bring, from where, and with which key.

use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;
use zeroize::Zeroize;
use zeroize::ZeroizeOnDrop;

/// An old archive, and what to do with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// Where it is.
    pub source: Source,
    /// Directory of the drive that its files go into, as a path from the top; none for one that is called as the archive was.
    pub to: Option<Vec<u8>>,
    /// The old keys, as far as there are any.
    pub keys: Keys,
    /// Whether anything is written.
    pub mode: Mode,
    /// What happens to files that are there and differ.
    pub existing: Existing,
}

/// Where an old archive is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// In a folder of this machine, absolute.
    Folder(PathBuf),
    /// On Discord.
    Archive {
        /// `#DDMMYY-NN` or `BATCH_YYYYMMDD_HHHH`.
        id: String,
        /// The channel to look in; none for all that can be read.
        channel: Option<u64>,
        /// The old bot's log, which names messages; absolute.
        log: Option<PathBuf>,
    },
}

impl Source {
    /// What it is called where several have directories of their own.
    #[must_use]
    pub fn own_name(&self) -> Vec<u8> {
        match self {
            Source::Folder(path) => {
                let name = path.file_name().unwrap_or_default();
                name.as_encoded_bytes().to_vec()
            }
            Source::Archive { id, .. } => id.trim_start_matches('#').as_bytes().to_vec(),
        }
    }

    /// Its directory below another one, as a path from the top.
    #[must_use]
    pub fn below(&self, dir: &[u8]) -> Vec<u8> {
        [dir, &self.own_name()].join(&b'/')
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::Folder(path) => path.display().fmt(f),
            Source::Archive { id, .. } => f.write_str(id),
        }
    }
}

/// Whether anything is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It is.
    #[default]
    Write,
    /// Only told.
    DryRun,
}

/// What happens to files that are there and differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Existing {
    /// They stay, and the report says so.
    #[default]
    Keep,
    /// They are replaced.
    Replace,
}

/// The keys of the two systems.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Zeroize)]
pub struct Keys {
    /// `USER_KEY`.
    pub user: Option<OldKey>,
    /// `ENCRYPTION_KEY`.
    pub master: Option<OldKey>,
}

/// A key of an old system. Never shown; written down only to travel over the control socket.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(transparent)]
pub struct OldKey(String);

impl OldKey {
    /// As it was set there.
    #[must_use]
    pub fn new(text: &str) -> OldKey {
        OldKey(text.to_owned())
    }

    /// For those who derive from it.
    pub(in crate::import) fn text(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for OldKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OldKey(…)")
    }
}
