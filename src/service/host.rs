//! Paths of this machine, as they travel between processes: any bytes, not only text.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::Deserialize;
use serde::Serialize;

/// An absolute path of this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HostPath(Vec<u8>);

impl From<&Path> for HostPath {
    fn from(path: &Path) -> HostPath {
        HostPath(path.as_os_str().as_bytes().to_vec())
    }
}

impl HostPath {
    /// As the system takes it.
    #[must_use]
    pub fn path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }
}

/// May something that is there be replaced or removed?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Consent {
    /// Not yet: it is [`crate::service::Error::Conflict`] then, which says what is at stake, and nothing happened.
    #[default]
    Ask,
    /// It may.
    Given,
}

/// How what is there already is told from what has to be copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Check {
    /// The same length and the same time of change: it is right.
    #[default]
    Times,
    /// The same bytes.
    Content,
}

/// A file or directory that could not be copied, and why; the others were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Which.
    pub path: String,
    /// Why.
    pub why: String,
}

/// What a copy in either direction came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copied {
    /// Ids of the archives that were written to, or read from.
    pub archives: Vec<String>,
    /// Files copied.
    pub files: u64,
    /// Bytes of those files that were copied; less than their length for those that an earlier run had begun.
    pub bytes: u64,
    /// Files that were there already, and right.
    pub skipped: u64,
    /// Bytes of those files.
    pub skipped_bytes: u64,
    /// Directories made.
    pub directories: u64,
    /// What could not be copied.
    pub failed: Vec<Failure>,
}
