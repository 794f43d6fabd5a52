//! Files that are not whole yet: they lie beside their place under names of their own, and go when nobody goes
//! on with them.

use crate::clock::Time;
use crate::drive::Look;
use crate::fs;
use crate::fs::Name;
use crate::id::InodeNo;
use crate::index::dirent::Dirent;
use crate::index::inode::Inode;
use crate::index::key;
use crate::service::Desk;
use crate::service::Error;

/// What all such names begin with.
const ALL: &[u8] = b".ods-";
/// A file that is being copied.
const PART: &[u8] = b".ods-part-";
/// A file that comes from somewhere else.
const RECEIVING: &[u8] = b".ods-receiving-";

/// Hexadecimal digits that such a name ends with.
const DIGITS: usize = 16;

/// Hexadecimal digits of a hash of a file's name.
const NAME_DIGITS: usize = 8;

/// A short hash of a file's name, as digits.
pub(in crate::service) type NameHash = [u8; NAME_DIGITS];

/// Such names looked up at a time.
const PAGE: usize = 256;

/// A file that is not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::service) enum Unfinished {
    /// Of a copy, which can be gone on with.
    Part,
    /// Of something that came in pieces; nobody can go on with it.
    Received,
}

/// Is this the name of a file that is not whole?
pub(in crate::service) fn unfinished(name: &[u8]) -> Option<Unfinished> {
    let ends_well = |rest: &[u8]| rest.len() == DIGITS && are_digits(rest);
    if name.strip_prefix(PART).is_some_and(ends_well) || part_of(name).is_some() {
        return Some(Unfinished::Part);
    }
    let is_received = name.strip_prefix(RECEIVING).is_some_and(ends_well);
    is_received.then_some(Unfinished::Received)
}

fn are_digits(text: &[u8]) -> bool {
    let mut digits = text.iter();
    digits.all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The hash of the name of the file that [`host_part_name`] made this name for.
pub(in crate::service) fn part_of(name: &[u8]) -> Option<NameHash> {
    let (which, of) = name.strip_prefix(PART)?.split_at_checked(DIGITS)?;
    let of = NameHash::try_from(of.strip_prefix(b"-")?).ok()?;
    (are_digits(which) && are_digits(&of)).then_some(of)
}

/// Eight digits that tell files of a directory apart, but for accidents that do no harm.
pub(in crate::service) fn hash_of_name(name: &[u8]) -> NameHash {
    let hash = blake3::hash(name);
    let digits = data_encoding::HEXLOWER.encode(&hash.as_bytes()[..NAME_DIGITS / 2]);
    let mut short = NameHash::default();
    short.copy_from_slice(digits.as_bytes());
    short
}

/// [`part_name`] on this machine, where it also tells of which file it is, whatever that has become since.
pub(in crate::service) fn host_part_name(name: &[u8], size: u64, mtime: Time) -> Vec<u8> {
    let part = part_name(name, size, mtime);
    [&part[..], b"-", &hash_of_name(name)].concat()
}

/// The name of a file that is being copied: it depends on what is copied, so that an interrupted copy is found
/// again, and one of something else is not.
pub(in crate::service) fn part_name(name: &[u8], size: u64, mtime: Time) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&size.to_le_bytes());
    hasher.update(&mtime.0.to_le_bytes());
    hasher.update(name);
    let hash = hasher.finalize();
    let short = data_encoding::HEXLOWER.encode(&hash.as_bytes()[..DIGITS / 2]);
    [PART, short.as_bytes()].concat()
}

/// The name of a file that comes in pieces, with a random number.
pub(in crate::service) fn receiving_name(random: u64) -> Vec<u8> {
    [RECEIVING, format!("{random:016x}").as_bytes()].concat()
}

/// Removes what is not whole in a directory of the drive, that nobody has open, and that is stale by its name
/// and inode.
pub(in crate::service) fn sweep(
    desk: &Desk,
    directory: InodeNo,
    mut is_stale: impl FnMut(&[u8], &Inode) -> bool,
) -> Result<(), Error> {
    for (name, ino) in unfinished_in(desk, directory)? {
        let Some(inode) = desk.drive().view().inode(ino)? else {
            continue;
        };
        if inode.is_dir() || desk.fs().is_open(ino) || !is_stale(&name, &inode) {
            continue;
        }
        let at = Name {
            parent: directory,
            name: &name,
        };
        match desk.fs().unlink(at) {
            Ok(()) | Err(fs::Error::NotFound) => desk.name_changed(at),
            // The next time will do.
            Err(fs::Error::Drive(crate::drive::Error::Busy)) => {}
            Err(error) => return Err(Error::file(&name)(error)),
        }
    }
    Ok(())
}

/// Removes what came in pieces and broke off with its process.
pub(in crate::service) fn sweep_received(desk: &Desk, directory: InodeNo) -> Result<(), Error> {
    sweep(desk, directory, |name, _| {
        unfinished(name) == Some(Unfinished::Received)
    })
}

fn unfinished_in(desk: &Desk, directory: InodeNo) -> Result<Vec<(Vec<u8>, InodeNo)>, Error> {
    let (first, last) = key::of(b'D', directory);
    let mut from = [&first[..], ALL].concat();
    let mut found = Vec::new();
    loop {
        let rows = desk.drive().view().scan(&from, &last, PAGE)?;
        let Some((newest, _)) = rows.last() else {
            return Ok(found);
        };
        from = [newest.as_slice(), &[0]].concat();
        for (key, value) in &rows {
            let name = key.get(first.len()..).unwrap_or_default();
            if !name.starts_with(ALL) {
                return Ok(found);
            }
            if unfinished(name).is_some() {
                let entry = Dirent::decode(value).map_err(crate::drive::Error::from)?;
                found.push((name.to_vec(), entry.ino));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_what_is_not_whole_are_known() {
        let part = part_name(b"file", 3, Time(4));
        assert_eq!(unfinished(&part), Some(Unfinished::Part));
        assert_eq!(unfinished(&receiving_name(1)), Some(Unfinished::Received));
        let on_host = host_part_name(b"file", 3, Time(4));
        assert_eq!(unfinished(&on_host), Some(Unfinished::Part));
        assert_eq!(part_of(&on_host), Some(hash_of_name(b"file")));
        assert_eq!((part_of(&part), part_of(b".ods-part-")), (None, None));
        assert_ne!(hash_of_name(b"file"), hash_of_name(b"other"));
        for other in [&b".ods-part-"[..], b".ods-part-notes", b"file", b".ods"] {
            assert_eq!(unfinished(other), None);
        }
    }
}
