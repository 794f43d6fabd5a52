//! Names of extended attributes, as this system's programs know them and as the drive keeps them.
//!
//! Linux has name spaces, and `user.` is everybody's. macOS has none: `com.apple.FinderInfo` there is kept as
//! `user.com.apple.FinderInfo`, so that a drive shows the same attributes wherever it is mounted, and
//! `rsync -X` between the two keeps them.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::fs::Caller;
use crate::fs::Error;
use crate::fs::Fs;
use crate::fs::SetXattr;
use crate::id::InodeNo;

/// The name space of ordinary programs.
const USER: &[u8] = b"user.";

/// Our own attributes have the same name everywhere.
const OURS: &[u8] = b"user.ods.";

/// The resource fork of a file on macOS, the one attribute there that may be long and is written in parts.
const FORK: &[u8] = b"user.com.apple.ResourceFork";

/// What is kept for a resource fork that is too long: nothing, which a fork of no bytes is as well. It stays in
/// the list of names, by which programs copy. When we answer that we do not support such a fork, macOS reads,
/// writes and removes it in a file `._NAME` (xnu, `vfs_xattr.c`), which it renames and removes with the file; that
/// file is one like any other to us.
const BESIDE: &[u8] = b"";

/// Longest attribute that is put together from parts, bytes: what one attribute may have on Linux.
const WHOLE_BYTES_MAX: usize = 64 << 10;

/// The drive's name for what a program here calls `name`.
pub(in crate::fuse) fn kept_as(name: &OsStr) -> Cow<'_, [u8]> {
    kept(name.as_bytes(), cfg!(target_os = "macos"))
}

/// What a program here calls the attribute that the drive keeps as `name`.
pub(in crate::fuse) fn shown_as(name: Vec<u8>) -> Vec<u8> {
    shown(name, cfg!(target_os = "macos"))
}

fn kept(name: &[u8], is_free: bool) -> Cow<'_, [u8]> {
    if !is_free || name.starts_with(OURS) {
        return Cow::Borrowed(name);
    }
    Cow::Owned([USER, name].concat())
}

fn shown(name: Vec<u8>, is_free: bool) -> Vec<u8> {
    if !is_free || name.starts_with(OURS) {
        return name;
    }
    match name.strip_prefix(USER) {
        Some(bare) => bare.to_vec(),
        None => name,
    }
}

/// Sets an attribute, or the part of it at `position`, as macOS does with resource forks.
///
/// # Errors
/// As [`Fs::setxattr`] and [`Fs::getxattr`]; [`Error::Unsupported`] for a resource fork that is too long, which
/// makes macOS keep it beside the file.
pub(in crate::fuse) fn set(
    fs: &Fs,
    caller: &Caller,
    ino: InodeNo,
    name: &[u8],
    part: Part,
    how: SetXattr,
) -> Result<(), Error> {
    let is_fork = is_fork(name, cfg!(target_os = "macos"));
    let old = match part.position > 0 || is_fork {
        true => there(fs.getxattr(ino, name))?,
        false => None,
    };
    match becomes(old, part, is_fork)? {
        Becomes::Value(value) => fs.setxattr(caller, ino, name, &value, how),
        Becomes::Beside => {
            fs.setxattr(caller, ino, name, BESIDE, SetXattr::Any)?;
            Err(Error::Unsupported)
        }
    }
}

/// An attribute's value.
///
/// # Errors
/// As [`Fs::getxattr`]; [`Error::Unsupported`] for a resource fork that macOS keeps beside the file.
pub(in crate::fuse) fn get(fs: &Fs, ino: InodeNo, name: &[u8]) -> Result<Vec<u8>, Error> {
    let value = fs.getxattr(ino, name)?;
    here(value, is_fork(name, cfg!(target_os = "macos")))
}

/// Removes an attribute.
///
/// # Errors
/// As [`Fs::removexattr`]; [`Error::Unsupported`] for a resource fork that macOS keeps beside the file, where it
/// removes it then.
pub(in crate::fuse) fn remove(fs: &Fs, ino: InodeNo, name: &[u8]) -> Result<(), Error> {
    let is_fork = is_fork(name, cfg!(target_os = "macos"));
    let old = if is_fork {
        there(fs.getxattr(ino, name))?
    } else {
        None
    };
    fs.removexattr(ino, name)?;
    here(old.unwrap_or_else(|| vec![0]), is_fork).map(drop)
}

fn there(found: Result<Vec<u8>, Error>) -> Result<Option<Vec<u8>>, Error> {
    match found {
        Ok(value) => Ok(Some(value)),
        Err(Error::NoAttribute) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A value, or the part of one that begins at `position`.
pub(in crate::fuse) struct Part {
    /// The bytes.
    pub(in crate::fuse) bytes: Vec<u8>,
    /// Where they begin.
    pub(in crate::fuse) position: u32,
}

/// What a write makes of an attribute.
#[derive(Debug, PartialEq, Eq)]
enum Becomes {
    /// This is its value.
    Value(Vec<u8>),
    /// macOS keeps it.
    Beside,
}

fn becomes(old: Option<Vec<u8>>, part: Part, is_fork: bool) -> Result<Becomes, Error> {
    let Part { bytes, position } = part;
    let is_beside = is_fork && old.as_deref() == Some(BESIDE);
    let is_too_long = is_fork && position as usize + bytes.len() > WHOLE_BYTES_MAX;
    // A part that is added to what is here would leave the front of it here alone: that is refused below.
    let has_all = position == 0 || old.is_none();
    if is_beside || is_too_long && has_all {
        return Ok(Becomes::Beside);
    }
    if position == 0 {
        return Ok(Becomes::Value(bytes));
    }
    splice(old.unwrap_or_default(), bytes, position).map(Becomes::Value)
}

fn here(value: Vec<u8>, is_fork: bool) -> Result<Vec<u8>, Error> {
    if is_fork && value == BESIDE {
        return Err(Error::Unsupported);
    }
    Ok(value)
}

fn is_fork(name: &[u8], is_free: bool) -> bool {
    is_free && name == FORK
}

fn splice(mut old: Vec<u8>, part: Vec<u8>, position: u32) -> Result<Vec<u8>, Error> {
    let start = position as usize;
    let end = start + part.len();
    if end > WHOLE_BYTES_MAX {
        return Err(Error::AttributeTooLong);
    }
    old.resize(old.len().max(end), 0);
    old[start..end].copy_from_slice(&part);
    Ok(old)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_without_a_space_are_kept_in_that_of_users() {
        for (theirs, ours) in [
            ("com.apple.FinderInfo", "user.com.apple.FinderInfo"),
            ("user.x", "user.user.x"),
            ("user.ods.state", "user.ods.state"),
        ] {
            assert_eq!(&*kept(theirs.as_bytes(), true), ours.as_bytes());
            assert_eq!(shown(ours.into(), true), theirs.as_bytes());
            assert_eq!(&*kept(theirs.as_bytes(), false), theirs.as_bytes());
        }
        assert_eq!(shown(b"trusted.x".to_vec(), true), b"trusted.x");
    }

    fn part(bytes: &[u8], position: u32) -> Part {
        Part {
            bytes: bytes.to_vec(),
            position,
        }
    }

    #[test]
    fn a_long_resource_fork_is_left_to_macos_as_a_whole() {
        let (short, long) = (vec![1; WHOLE_BYTES_MAX], vec![2; WHOLE_BYTES_MAX + 1]);
        let fork = |old: Option<&[u8]>, part| becomes(old.map(<[u8]>::to_vec), part, true);
        let ok = |made: Result<Becomes, Error>| made.expect("possible");
        // What fits is kept here, and so is what it grows to as long as that fits.
        assert_eq!(
            ok(fork(None, part(&short, 0))),
            Becomes::Value(short.clone())
        );
        assert_eq!(
            ok(fork(Some(b"a"), part(b"b", 1))),
            Becomes::Value(b"ab".to_vec())
        );
        // What does not is not, and nothing that follows.
        assert_eq!(ok(fork(None, part(&long, 0))), Becomes::Beside);
        assert_eq!(ok(fork(Some(&short), part(&long, 0))), Becomes::Beside);
        assert_eq!(ok(fork(None, part(b"b", 1 << 16))), Becomes::Beside);
        assert_eq!(ok(fork(Some(BESIDE), part(b"b", 0))), Becomes::Beside);
        assert_eq!(ok(fork(Some(BESIDE), part(b"b", 9))), Becomes::Beside);
        // Never is a part of it here and the rest there.
        let split = fork(Some(&short), part(b"b", 1 << 16));
        assert!(matches!(split, Err(Error::AttributeTooLong)));
        assert!(matches!(here(BESIDE.into(), true), Err(Error::Unsupported)));
        assert_eq!(here(short.clone(), true).expect("here"), short);
    }

    #[test]
    fn other_attributes_are_kept_whatever_they_are() {
        for old in [None, Some(Vec::new())] {
            let kept = becomes(old, part(b"", 0), false).expect("possible");
            assert_eq!(kept, Becomes::Value(Vec::new()));
        }
        assert!(here(Vec::new(), false).is_ok());
        let long = becomes(None, part(b"b", 1 << 16), false);
        assert!(matches!(long, Err(Error::AttributeTooLong)));
        assert!(is_fork(&kept(b"com.apple.ResourceFork", true), true));
        assert!(!is_fork(&kept(b"com.apple.FinderInfo", true), true));
        assert!(!is_fork(FORK, false), "Linux has no forks");
    }

    #[test]
    fn a_part_is_laid_into_the_value() {
        assert_eq!(
            splice(b"abcdef".to_vec(), b"XY".to_vec(), 2).expect("fits"),
            b"abXYef"
        );
        assert_eq!(
            splice(b"a".to_vec(), b"Z".to_vec(), 3).expect("fits"),
            b"a\0\0Z"
        );
        assert!(splice(Vec::new(), vec![1], 1 << 16).is_err());
    }
}
