//! Paths of this machine, as they travel between processes: any bytes, not only text.

use std::ffi::OsStr;
use std::fs::DirEntry;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;

use crate::service::Error;
use crate::service::parts::unfinished;

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

/// Why a file is left to whoever copies it at the same time.
pub const ANOTHER_COPY: &str = "another copy of it is under way";

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
    /// What was left out: mounted drives, what the drive keeps on this machine, and files that are not whole.
    #[serde(default)]
    pub left_out: Vec<String>,
}

/// Bytes copied at a time.
pub(in crate::service) const BLOCK_BYTES: usize = 1 << 20;

/// Who is shown each file below a path: its own path, and what it is, or why that cannot be told.
pub(in crate::service) type Visit<'v> =
    dyn FnMut(&Path, Result<&Metadata, std::io::Error>) -> Result<(), Error> + 'v;

/// Visits a file or directory of this machine and everything in it, a directory before what it holds, names in
/// order. Links are not followed. Gives what was left out: the directories that are to be, unlooked-at, as a dead
/// mount cannot be looked at; and files that are not whole.
pub(in crate::service) fn walk(
    top: &Path,
    apart: &[PathBuf],
    visit: &mut Visit<'_>,
) -> Result<Vec<PathBuf>, Error> {
    let (mut waiting, mut left_out) = (vec![top.to_owned()], Vec::new());
    while let Some(path) = waiting.pop() {
        let name = path.file_name().unwrap_or_default();
        // What was asked for by name is wanted, though a drive is mounted there.
        let is_apart = path != top && apart.contains(&path);
        if is_apart || unfinished(name.as_bytes()).is_some() {
            left_out.push(path);
            continue;
        }
        let meta = match std::fs::symlink_metadata(&path) {
            Ok(meta) => meta,
            Err(error) => {
                visit(&path, Err(error))?;
                continue;
            }
        };
        visit(&path, Ok(&meta))?;
        if !meta.is_dir() {
            continue;
        }
        let entries = std::fs::read_dir(&path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        match entries {
            Ok(entries) => {
                let mut below: Vec<PathBuf> = entries.iter().map(DirEntry::path).collect();
                below.sort_by(|a, b| b.cmp(a));
                waiting.extend(below);
            }
            Err(error) => visit(&path, Err(error))?,
        }
    }
    Ok(left_out)
}
