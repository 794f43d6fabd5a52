//! The random name of a state directory, and whose it is.
//!
//! ```text
//! identity = drive id 16 , name 8 , check 4
//! ```
//!
//! `check` is the beginning of the BLAKE3 hash of what is before it; older files have none. There are two such
//! files. The name is what the lease on the store goes by: with another one this machine would be a stranger. Each
//! opening for changes takes a new one, and [`crate::drive::lineage`] notes those before.

use std::path::Path;

use crate::codec::superblock::Superblock;
use crate::drive::Error;
use crate::drive::superblock;
use crate::durable;
use crate::id::DriveId;

const NAME: &str = "identity";
/// The second copy.
const COPY: &str = "identity.copy";

/// Length of an older file.
const UNCHECKED_LEN: usize = 24;

/// What one of the files holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    /// With nothing to check it by, when it is of another drive.
    Unchecked(DriveId),
    /// It is whole.
    Right(DriveId, [u8; 8]),
    Damaged,
}

fn encode(drive: DriveId, name: [u8; 8]) -> Vec<u8> {
    let mut bytes = [&drive.0[..], &name].concat();
    bytes.extend_from_slice(&check(&bytes));
    bytes
}

fn check(bytes: &[u8]) -> [u8; 4] {
    let [a, b, c, d, ..] = *blake3::hash(bytes).as_bytes();
    [a, b, c, d]
}

fn decode(bytes: &[u8], drive: DriveId) -> Found {
    let Some((of, rest)) = bytes.split_first_chunk::<16>() else {
        return Found::Damaged;
    };
    let Some((name, rest)) = rest.split_first_chunk::<8>() else {
        return Found::Damaged;
    };
    match rest {
        [] if *of == drive.0 => Found::Right(drive, *name),
        [] => Found::Unchecked(DriveId(*of)),
        rest if rest == check(&bytes[..UNCHECKED_LEN]) => Found::Right(DriveId(*of), *name),
        _ => Found::Damaged,
    }
}

fn read(path: &Path, drive: DriveId) -> Result<Found, Error> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(decode(&bytes, drive)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Found::Nothing),
        Err(error) => Err(failed(path, &error)),
    }
}

/// Was a drive opened in this state directory, whichever it was?
#[must_use]
pub fn is_taken(state_dir: &Path) -> bool {
    [NAME, COPY]
        .iter()
        .any(|name| state_dir.join(name).exists())
}

/// The drive that a state directory belongs to: none when no drive was opened there, or when it cannot be told.
#[must_use]
pub fn owner(state_dir: &Path) -> Option<DriveId> {
    let said = [NAME, COPY].map(|name| {
        let bytes = std::fs::read(state_dir.join(name)).ok()?;
        let of = DriveId(*bytes.first_chunk()?);
        let is_checked = bytes.len() > UNCHECKED_LEN;
        matches!(decode(&bytes, of), Found::Right(..)).then_some((is_checked, of))
    });
    let said = said.into_iter().flatten();
    let (is_checked, of) = said.max_by_key(|(is_checked, _)| *is_checked)?;
    let is_believed = is_checked || opened_last(state_dir).is_none_or(|last| last == of);
    is_believed.then_some(of)
}

/// The drive of the superblock's copy: the one that was opened here last.
fn opened_last(state_dir: &Path) -> Option<DriveId> {
    let bytes = std::fs::read(state_dir.join(superblock::COPY)).ok()?;
    Some(Superblock::decode(&bytes).ok()?.drive())
}

/// The random name of this state directory, at first made with it, and a check that it is this drive's.
pub(in crate::drive) fn of(state_dir: &Path, drive: DriveId) -> Result<[u8; 8], Error> {
    let paths = [state_dir.join(NAME), state_dir.join(COPY)];
    let mut found = [Found::Nothing; 2];
    for (found, path) in found.iter_mut().zip(&paths) {
        *found = read(path, drive)?;
    }
    let ours = found.iter().find_map(|found| match found {
        Found::Right(of, name) if *of == drive => Some(*name),
        _ => None,
    });
    let name = match ours {
        Some(name) => name,
        None => anew(state_dir, drive, &found)?,
    };
    let right = encode(drive, name);
    for (found, path) in found.iter().zip(&paths) {
        if matches!(found, Found::Damaged | Found::Unchecked(_)) {
            log::warn!("{} is damaged and is written again", path.display());
        }
        if std::fs::read(path).ok().as_deref() != Some(&right) {
            write(path, &right)?;
        }
    }
    Ok(name)
}

/// Gives a state directory of this drive another name.
pub(in crate::drive) fn rename(
    state_dir: &Path,
    drive: DriveId,
    name: [u8; 8],
) -> Result<(), Error> {
    for file in [NAME, COPY] {
        write(&state_dir.join(file), &encode(drive, name))?;
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    durable::write_file(path, bytes).map_err(|error| failed(path, &error))
}

fn failed(path: &Path, error: &std::io::Error) -> Error {
    Error::of_local(format!("{}: {error}", path.display()), error)
}

/// A new name for a directory that has none, or has lost it but can be told to be this drive's.
fn anew(state_dir: &Path, drive: DriveId, found: &[Found; 2]) -> Result<[u8; 8], Error> {
    let is_new = *found == [Found::Nothing; 2];
    let is_strange = found.iter().any(|found| matches!(found, Found::Right(..)));
    let last = opened_last(state_dir);
    let dir = state_dir.display();
    if is_new {
        return Ok(crate::codec::key::random());
    }
    if !is_strange && last == Some(drive) {
        log::warn!("{dir} has lost its name and gets a new one: its own lease is a stranger's now");
        return Ok(crate::codec::key::random());
    }
    let is_unchecked = found
        .iter()
        .any(|found| matches!(found, Found::Unchecked(_)));
    if is_strange || (is_unchecked && last.is_some()) {
        return Err(Error::State(format!(
            "{dir}: this state directory belongs to another drive; choose another one with `state_dir`"
        )));
    }
    Err(Error::State(format!(
        "{dir}/{NAME} is damaged, and nothing else tells which drive this state directory belongs to; keep the directory: \
         its spool may hold what is not on Discord. If it is this drive's, remove {NAME} and {COPY} in it and mount with \
         `-o takeover`; otherwise choose another one with `state_dir`"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: DriveId = DriveId([7; 16]);
    const OTHER: DriveId = DriveId([8; 16]);

    #[test]
    fn a_name_without_a_check_is_read_and_gets_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let old = [&OURS.0[..], &[3; 8]].concat();
        std::fs::write(dir.path().join(NAME), old).expect("written");
        assert_eq!(of(dir.path(), OURS).expect("ours"), [3; 8]);
        let whole = encode(OURS, [3; 8]);
        for name in [NAME, COPY] {
            assert_eq!(std::fs::read(dir.path().join(name)).expect("there"), whole);
            for at in 0..whole.len() {
                let mut bytes = whole.clone();
                bytes[at] ^= 1;
                std::fs::write(dir.path().join(name), bytes).expect("written");
                assert_eq!(of(dir.path(), OURS).expect("ours"), [3; 8], "byte {at}");
            }
        }
    }

    #[test]
    fn another_drive_s_directory_is_refused_and_a_damaged_one_is_not_to_be_removed() {
        let dir = tempfile::tempdir().expect("a directory");
        of(dir.path(), OTHER).expect("new");
        let refused = of(dir.path(), OURS).expect_err("another's").to_string();
        assert!(refused.contains("belongs to another drive"), "{refused}");
        for name in [NAME, COPY] {
            std::fs::write(dir.path().join(name), [5; 20]).expect("written");
        }
        let refused = of(dir.path(), OURS).expect_err("damaged").to_string();
        assert!(refused.contains("keep the directory"), "{refused}");
        for name in [NAME, COPY] {
            assert_eq!(std::fs::read(dir.path().join(name)).expect("kept"), [5; 20]);
        }
    }
}
