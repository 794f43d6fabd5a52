//! Names of extended attributes, as this system's programs know them and as the drive keeps them.
//!
//! Linux has name spaces, and `user.` is everybody's. macOS has none: `com.apple.FinderInfo` there is kept as
//! `user.com.apple.FinderInfo`, so that a drive shows the same attributes wherever it is mounted, and
//! `rsync -X` between the two keeps them.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::fs::Error;
use crate::fs::Fs;
use crate::id::InodeNo;

/// The name space of ordinary programs.
const USER: &[u8] = b"user.";

/// Our own attributes have the same name everywhere.
const OURS: &[u8] = b"user.ods.";

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

/// The value as a whole when a program writes a part of it at `position`, as macOS does with resource forks.
///
/// # Errors
/// [`Error::AttributeTooLong`], and what reading the attribute may say.
pub(in crate::fuse) fn whole(
    fs: &Fs,
    ino: InodeNo,
    name: &[u8],
    part: Vec<u8>,
    position: u32,
) -> Result<Vec<u8>, Error> {
    if position == 0 {
        return Ok(part);
    }
    let old = match fs.getxattr(ino, name) {
        Ok(old) => old,
        Err(Error::NoAttribute) => Vec::new(),
        Err(error) => return Err(error),
    };
    splice(old, part, position)
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
