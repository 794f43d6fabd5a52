//! Extended attributes: kept in pieces, listed by name, and three that tell what the drive knows.

use crate::drive::FileState;
use crate::drive::change::Change;
use crate::drive::view::Look;
use crate::fs::Caller;
use crate::fs::Error;
use crate::fs::Fs;
use crate::fs::NAME_BYTES_MAX;
use crate::fs::XATTR_BYTES_MAX;
use crate::fs::XATTR_LIST_BYTES_MAX;
use crate::fs::acl;
use crate::fs::entry::ERASE_PAGE;
use crate::fs::known;
use crate::id::InodeNo;
use crate::index::inode::Inode;
use crate::index::inode::Kind;
use crate::index::key;

/// Tells where a file's content is. Can be read but is not listed, so that nobody copies it.
const STATE: &[u8] = b"user.ods.state";
/// Tells which archive an inode belongs to. Can be read but is not listed.
const ARCHIVE: &[u8] = b"user.ods.archive";
/// Tells when an inode was made, as seconds since 1970 with their fraction: on Linux no `stat` does, because the
/// library that speaks FUSE here has no `statx`. Can be read but is not listed.
const BIRTH: &[u8] = b"user.ods.birth";
/// Names of this kind are the drive's own.
const OURS: &[u8] = b"user.ods.";
/// All of these.
const TOLD: [&[u8]; 3] = [STATE, ARCHIVE, BIRTH];

/// What names begin with; behind it comes at least one byte.
const SPACES: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];

/// Most bytes of the keys of an inode's attributes, with what each takes in a record besides: they are removed
/// in one record of the spool, whose head is a mebibyte at most.
const KEY_BYTES_MAX: usize = 1_000_000;
/// What a key takes in a record besides itself.
const KEY_EXTRA: usize = 3;
/// So many attributes never come to that, however long they are.
const ATTRIBUTES_SAFE: u16 = 40;

/// Nanoseconds.
const SECOND: i64 = 1_000_000_000;

/// What to do when the attribute is or is not there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetXattr {
    /// Make it or replace it.
    Any,
    /// Make it; [`Error::Exists`] when it is there.
    Create,
    /// Replace it; [`Error::NoAttribute`] when it is not there.
    Replace,
    /// Make it and replace it, which nobody can; [`Error::Exists`] or [`Error::NoAttribute`].
    Neither,
}

impl Fs {
    /// An attribute's value.
    ///
    /// # Errors
    /// [`Error::NoAttribute`]; [`Error::Invalid`] for a name space alone, [`Error::Unsupported`] for the names of
    /// other systems.
    pub fn getxattr(&self, ino: InodeNo, name: &[u8]) -> Result<Vec<u8>, Error> {
        if TOLD.contains(&name) {
            return self.told(ino, name);
        }
        check(name)?;
        let view = self.drive.view();
        let inode = view.inode(ino)?.ok_or(Error::NoAttribute)?;
        value(&view, ino, &inode, name)?.ok_or(Error::NoAttribute)
    }

    /// The names of all attributes, in order; those for administrators only to one.
    ///
    /// # Errors
    /// [`Error::Stale`] when the inode is gone.
    pub fn listxattr(&self, caller: &Caller, ino: InodeNo) -> Result<Vec<Vec<u8>>, Error> {
        let view = self.drive.view();
        if known(&view, ino)?.xattrs == 0 {
            return Ok(Vec::new());
        }
        let mut names = names(ino, |from, to| Ok(view.scan(from, to, 1)?.pop()))?;
        names.retain(|name| caller.uid == 0 || !name.starts_with(b"trusted."));
        Ok(names)
    }

    /// Sets an attribute.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::NoAttribute`], [`Error::AttributeTooLong`],
    /// [`Error::AttributesFull`], [`Error::Unsupported`] for the names of other systems.
    pub fn setxattr(
        &self,
        caller: &Caller,
        ino: InodeNo,
        name: &[u8],
        value: &[u8],
        how: SetXattr,
    ) -> Result<(), Error> {
        check(name)?;
        if name.starts_with(OURS) {
            return Err(Error::NotPermitted);
        }
        if value.len() > XATTR_BYTES_MAX {
            return Err(Error::AttributeTooLong);
        }
        self.change(|c| {
            let mut inode = known(c, ino)?;
            match (how, has(c, ino, &inode, name)?) {
                (SetXattr::Create | SetXattr::Neither, true) => return Err(Error::Exists),
                (SetXattr::Replace | SetXattr::Neither, false) => return Err(Error::NoAttribute),
                (SetXattr::Create | SetXattr::Any, false) => room_for(c, ino, &inode, name)?,
                (SetXattr::Replace | SetXattr::Any, true) => {}
            }
            removable(c, ino, &inode, name, value.len())?;
            inode.ctime = c.now();
            match name {
                acl::ACCESS => acl::set_access(c, caller, ino, &mut inode, value)?,
                acl::DEFAULT => acl::set_default(c, ino, &mut inode, value)?,
                _ => store(c, ino, &mut inode, name, value)?,
            }
            c.put_inode(ino, &inode);
            Ok(())
        })
    }

    /// The caller as a member of the inode's group, if it is one by any of these.
    #[must_use]
    pub fn as_member(&self, caller: Caller, ino: InodeNo, groups: &[u32]) -> Caller {
        if groups.is_empty() {
            return caller;
        }
        match self.drive.view().inode(ino) {
            Ok(Some(inode)) if groups.contains(&inode.gid) => Caller {
                gid: inode.gid,
                ..caller
            },
            _ => caller,
        }
    }

    /// Removes an attribute.
    ///
    /// # Errors
    /// [`Error::NoAttribute`].
    pub fn removexattr(&self, ino: InodeNo, name: &[u8]) -> Result<(), Error> {
        check(name)?;
        self.change(|c| {
            let mut inode = known(c, ino)?;
            match remove(c, ino, &mut inode, name)? {
                true => {}
                // As elsewhere it is gone then, and nothing has changed.
                false if acl::is_acl(name) => return Ok(()),
                false if name.starts_with(OURS) => return Err(Error::NotPermitted),
                false => return Err(Error::NoAttribute),
            }
            inode.ctime = c.now();
            c.put_inode(ino, &inode);
            Ok(())
        })
    }

    /// What the drive tells about an inode.
    fn told(&self, ino: InodeNo, name: &[u8]) -> Result<Vec<u8>, Error> {
        let inode = known(&self.drive.view(), ino)?;
        if name == ARCHIVE {
            let label = self.drive.archive_label(inode.archive)?;
            return label.map(String::into_bytes).ok_or(Error::NoAttribute);
        }
        if name == BIRTH {
            let (born, fraction) = (inode.btime.seconds(), inode.btime.0.rem_euclid(SECOND));
            return Ok(format!("{born}.{fraction:09}").into_bytes());
        }
        if inode.kind != Kind::File {
            return Err(Error::NoAttribute);
        }
        let state = match self.drive.file_state(ino) {
            FileState::Local => "local",
            FileState::Uploading => "uploading",
            FileState::Remote => "remote",
            FileState::Damaged => "damaged",
        };
        Ok(state.as_bytes().to_vec())
    }
}

/// Refuses names that no attribute can have, and those that cannot be set.
fn check(name: &[u8]) -> Result<(), Error> {
    if TOLD.contains(&name) {
        return Err(Error::NotPermitted);
    }
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains(&0) {
        return Err(Error::OutOfRange);
    }
    if SPACES.contains(&name) {
        return Err(Error::Invalid);
    }
    if acl::is_acl(name) || SPACES.iter().any(|space| name.starts_with(space)) {
        Ok(())
    } else {
        Err(Error::Unsupported)
    }
}

/// The names under which `ino` has attributes; `first` finds the first entry of a range.
fn names(
    ino: InodeNo,
    first: impl Fn(&[u8], &[u8]) -> Result<Option<(Vec<u8>, Vec<u8>)>, Error>,
) -> Result<Vec<Vec<u8>>, Error> {
    let (mut from, to) = key::of(b'X', ino);
    let mut names = Vec::new();
    while let Some((key, _)) = first(&from, &to)? {
        let Some((name, _)) = key::xattr_of(&key) else {
            break;
        };
        from = key::xattr(ino, name, u16::MAX);
        names.push(name.to_vec());
    }
    Ok(names)
}

/// Refuses a new name when the list would not fit into an answer.
fn room_for(c: &Change<'_>, ino: InodeNo, inode: &Inode, name: &[u8]) -> Result<(), Error> {
    if usize::from(inode.xattrs) < XATTR_LIST_BYTES_MAX / (NAME_BYTES_MAX + 1) {
        return Ok(());
    }
    let names = names(ino, |from, to| Ok(c.scan_before(from, to, 1)?.pop()))?;
    let bytes: usize = names.iter().map(|name| name.len() + 1).sum();
    if bytes + name.len() < XATTR_LIST_BYTES_MAX {
        Ok(())
    } else {
        Err(Error::AttributesFull)
    }
}

/// Refuses what could not be removed together with the inode: a value of so many bytes under this name.
fn removable(
    c: &Change<'_>,
    ino: InodeNo,
    inode: &Inode,
    name: &[u8],
    bytes: usize,
) -> Result<(), Error> {
    if inode.xattrs < ATTRIBUTES_SAFE {
        return Ok(());
    }
    let pieces = bytes.div_ceil(key::PIECE_BYTES).max(1);
    let mut sum = pieces * (key::xattr(ino, name, 0).len() + KEY_EXTRA);
    let (mut from, to) = key::of(b'X', ino);
    loop {
        let found = c.scan_before(&from, &to, ERASE_PAGE)?;
        let Some((last, _)) = found.last() else {
            break;
        };
        from = [last.as_slice(), &[0]].concat();
        let others = found.iter().map(|(key, _)| key);
        let others = others.filter(|key| key::xattr_of(key).is_none_or(|(of, _)| of != name));
        sum += others.map(|key| key.len() + KEY_EXTRA).sum::<usize>();
    }
    match sum <= KEY_BYTES_MAX {
        true => Ok(()),
        false => Err(Error::AttributesFull),
    }
}

fn has(look: &impl Look, ino: InodeNo, inode: &Inode, name: &[u8]) -> Result<bool, Error> {
    Ok(inode.xattrs > 0 && look.get(&key::xattr(ino, name, 0))?.is_some())
}

/// The value of an attribute, if there is one of this name.
pub(in crate::fs) fn value(
    look: &impl Look,
    ino: InodeNo,
    inode: &Inode,
    name: &[u8],
) -> Result<Option<Vec<u8>>, Error> {
    if inode.xattrs == 0 {
        return Ok(None);
    }
    let mut value = None;
    for piece in 0..u16::MAX {
        let Some(bytes) = look.get(&key::xattr(ino, name, piece))? else {
            break;
        };
        let is_last = bytes.len() < key::PIECE_BYTES;
        value.get_or_insert_with(Vec::new).extend_from_slice(&bytes);
        if is_last {
            break;
        }
    }
    Ok(value)
}

/// Puts an attribute's pieces; the caller puts the inode.
pub(in crate::fs) fn store(
    c: &mut Change<'_>,
    ino: InodeNo,
    inode: &mut Inode,
    name: &[u8],
    value: &[u8],
) -> Result<(), Error> {
    remove(c, ino, inode, name)?;
    let empty: &[u8] = &[];
    let pieces = value
        .chunks(key::PIECE_BYTES)
        .chain(value.is_empty().then_some(empty));
    for (number, piece) in (0..).zip(pieces) {
        c.put(key::xattr(ino, name, number), piece.to_vec());
    }
    inode.xattrs = inode.xattrs.saturating_add(1);
    Ok(())
}

/// Deletes an attribute's pieces, if it has any; the caller puts the inode.
pub(in crate::fs) fn remove(
    c: &mut Change<'_>,
    ino: InodeNo,
    inode: &mut Inode,
    name: &[u8],
) -> Result<bool, Error> {
    if !has(c, ino, inode, name)? {
        return Ok(false);
    }
    let mut piece = 0;
    while c.get(&key::xattr(ino, name, piece))?.is_some() {
        c.delete(key::xattr(ino, name, piece));
        piece += 1;
    }
    inode.xattrs -= 1;
    Ok(true)
}
