//! Targets: what a person points at, as text: an archive, a range of archives, or a path in the drive.

use std::collections::HashMap;

use serde::Deserialize;
use serde::Serialize;

use crate::drive::Drive;
use crate::drive::catalogue;
use crate::drive::scope::Scope;
use crate::drive::scope::same_id;
use crate::id::ArchiveNo;
use crate::id::InodeNo;
use crate::service::Error;
use crate::service::error::shown;

/// What a person points at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// An archive as people call it: `#DDMMYY-NN`.
    Archive(String),
    /// All archives from one to another, both included, in the order they were made.
    Range(String, String),
    /// A file or directory: bytes from the drive's top directory on.
    Path(Vec<u8>),
}

/// What a target turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::service) struct Spot {
    /// The archive, when the target names one and not a path.
    pub(in crate::service) archive: Option<catalogue::Entry>,
    /// The file or directory; the top for the archive of the files directly in it.
    pub(in crate::service) ino: InodeNo,
    /// Its path, without a slash at either end; empty for the top.
    pub(in crate::service) path: Vec<u8>,
}

impl Target {
    /// Reads `#DDMMYY-NN`, `#DDMMYY-NN..#DDMMYY-NN`, or a path from the drive's top directory.
    ///
    /// # Errors
    /// [`Error::Usage`] for something that looks like an archive and is none.
    pub fn parse(text: &str) -> Result<Target, Error> {
        let wrong = || {
            let text = text.escape_debug();
            Error::Usage(format!(
                "`{text}` is no archive; write #DDMMYY-NN, or #DDMMYY-NN..#DDMMYY-NN for a range"
            ))
        };
        let id = |text: &str| match Scope::archive(text.trim()) {
            Some(Scope::Archive(id)) => Some(id),
            _ => None,
        };
        if let Some((from, to)) = text.split_once("..").filter(|_| text.starts_with('#')) {
            return match (id(from), id(to)) {
                (Some(from), Some(to)) => Ok(Target::Range(from, to)),
                _ => Err(wrong()),
            };
        }
        match (id(text), text.strip_prefix('#')) {
            (Some(id), _) => Ok(Target::Archive(id)),
            // A file may be called `#notes`; what begins with digits is meant as an archive.
            (None, Some(rest)) if rest.starts_with(|c: char| c.is_ascii_digit()) => Err(wrong()),
            (None, _) if text.is_empty() => {
                Err(Error::Usage(String::from("an empty path leads nowhere")))
            }
            (None, _) => Ok(Target::Path(text.as_bytes().to_vec())),
        }
    }

    /// Finds what is meant; at least one thing.
    pub(in crate::service) fn find(&self, drive: &Drive) -> Result<Vec<Spot>, Error> {
        match self {
            Target::Archive(id) => {
                let entry = find_archive(&drive.catalogue()?, id)?;
                Ok(vec![spot_of(drive, entry)?])
            }
            Target::Range(from, to) => {
                let catalogue = drive.catalogue()?;
                let first = find_archive(&catalogue, from)?.no;
                let last = find_archive(&catalogue, to)?.no;
                let (first, last) = (first.min(last), first.max(last));
                let inside = |entry: &catalogue::Entry| {
                    (first..=last).contains(&entry.no) && !entry.archive.removed
                };
                let entries: Vec<_> = catalogue.into_iter().filter(inside).collect();
                if entries.is_empty() {
                    return Err(Error::NotFound(format!(
                        "all archives from {from} to {to} were removed"
                    )));
                }
                entries
                    .into_iter()
                    .map(|entry| spot_of(drive, entry))
                    .collect()
            }
            Target::Path(path) => {
                let ino = drive.find_path(path).map_err(not_found)?;
                Ok(vec![Spot {
                    archive: None,
                    ino,
                    path: trimmed(path),
                }])
            }
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Target::Archive(id) => f.write_str(id),
            Target::Range(from, to) => write!(f, "{from}..{to}"),
            Target::Path(path) => f.write_str(&shown(path)),
        }
    }
}

impl Spot {
    /// Is it the archive of the files directly in the top directory?
    pub(in crate::service) fn is_loose(&self) -> bool {
        self.archive
            .as_ref()
            .is_some_and(|entry| entry.no == ArchiveNo(0))
    }

    /// As people write it.
    pub(in crate::service) fn shown(&self) -> String {
        match &self.archive {
            Some(entry) => entry.archive.id.to_string(),
            None => shown(&self.path),
        }
    }

    /// The part of the drive it is.
    pub(in crate::service) fn scope(&self) -> Scope {
        match &self.archive {
            Some(entry) => Scope::Archive(entry.archive.id.to_string()),
            None => Scope::of_path(&self.path),
        }
    }
}

/// A path without empty components and `.`.
pub(in crate::service) fn trimmed(path: &[u8]) -> Vec<u8> {
    let parts = path.split(|byte| *byte == b'/');
    let parts: Vec<&[u8]> = parts
        .filter(|part| !part.is_empty() && *part != b".")
        .collect();
    parts.join(&b'/')
}

/// The archive that people call so.
pub(in crate::service) fn find_archive(
    catalogue: &[catalogue::Entry],
    id: &str,
) -> Result<catalogue::Entry, Error> {
    let found = catalogue.iter().find(|entry| same_id(entry.archive.id, id));
    found.cloned().ok_or_else(|| {
        Error::NotFound(format!(
            "there is no archive {id} in the drive; `list` shows those there are"
        ))
    })
}

fn spot_of(drive: &Drive, entry: catalogue::Entry) -> Result<Spot, Error> {
    if entry.archive.removed {
        let id = entry.archive.id;
        return Err(Error::NotFound(format!("the archive {id} was removed")));
    }
    let path = drive.directory_path(entry.archive.directory, &mut HashMap::new())?;
    Ok(Spot {
        ino: entry.archive.directory,
        path: trimmed(&path),
        archive: Some(entry),
    })
}

/// The drive's own word for a path that is not there.
pub(in crate::service) fn not_found(error: crate::drive::Error) -> Error {
    match error {
        crate::drive::Error::NotFound(text) => Error::NotFound(text),
        error => Error::Drive(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_told_apart() {
        let parse = |text: &str| Target::parse(text).ok();
        assert_eq!(
            parse("#201126-01"),
            Some(Target::Archive(String::from("#201126-01")))
        );
        assert_eq!(
            parse("#201126-01..#211126-02"),
            Some(Target::Range(
                String::from("#201126-01"),
                String::from("#211126-02")
            ))
        );
        assert_eq!(parse("a/b"), Some(Target::Path(b"a/b".to_vec())));
        assert_eq!(parse("#notes"), Some(Target::Path(b"#notes".to_vec())));
        for bad in ["", "#201126", "#1-2", "#201126-01..", "#201126-01..x"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert_eq!(trimmed(b"//a/./b/"), b"a/b");
    }
}
