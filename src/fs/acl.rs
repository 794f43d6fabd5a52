//! POSIX ACLs: kept as the attributes the kernel reads, inherited here, and in step with the mode.
//!
//! The kernel checks permissions against them. It leaves to the filesystem what happens when a
//! file is made in a directory with a default ACL, when a file's mode changes, and when its ACL does.

use crate::drive::change::Change;
use crate::fs::Caller;
use crate::fs::Error;
use crate::fs::entry::SET_GID;
use crate::fs::xattr;
use crate::id::InodeNo;
use crate::index::inode::Inode;
use crate::index::inode::Kind;

/// The attribute with the ACL that is checked.
pub const ACCESS: &[u8] = b"system.posix_acl_access";
/// The attribute with the ACL that a directory hands down.
pub(in crate::fs) const DEFAULT: &[u8] = b"system.posix_acl_default";

const VERSION: u32 = 2;
const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    tag: u16,
    perm: u16,
    id: u32,
}

/// An ACL that has the three entries of a mode, and a mask if it has more.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Acl(Vec<Entry>);

impl Acl {
    /// Reads an attribute's value; no entries at all mean no ACL.
    fn parse(value: &[u8]) -> Result<Option<Acl>, Error> {
        let (version, rest) = value.split_first_chunk::<4>().ok_or(Error::Invalid)?;
        let (entries, odd) = rest.as_chunks::<8>();
        if u32::from_le_bytes(*version) != VERSION || !odd.is_empty() {
            return Err(Error::Invalid);
        }
        let entry = |[t0, t1, p0, p1, i0, i1, i2, i3]: &[u8; 8]| Entry {
            tag: u16::from_le_bytes([*t0, *t1]),
            perm: u16::from_le_bytes([*p0, *p1]),
            id: u32::from_le_bytes([*i0, *i1, *i2, *i3]),
        };
        let acl = Acl(entries.iter().map(entry).collect());
        if acl.0.is_empty() {
            return Ok(None);
        }
        if acl.is_valid() {
            Ok(Some(acl))
        } else {
            Err(Error::Invalid)
        }
    }

    fn is_valid(&self) -> bool {
        let count = |tag| self.0.iter().filter(|entry| entry.tag == tag).count();
        let known = [USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER];
        let named = count(USER) + count(GROUP);
        self.0
            .iter()
            .all(|entry| known.contains(&entry.tag) && entry.perm <= 7)
            && [USER_OBJ, GROUP_OBJ, OTHER]
                .into_iter()
                .all(|tag| count(tag) == 1)
            && count(MASK) <= 1
            && (named == 0 || count(MASK) == 1)
    }

    fn encode(&self) -> Vec<u8> {
        let mut value = VERSION.to_le_bytes().to_vec();
        for Entry { tag, perm, id } in &self.0 {
            value.extend_from_slice(&tag.to_le_bytes());
            value.extend_from_slice(&perm.to_le_bytes());
            value.extend_from_slice(&id.to_le_bytes());
        }
        value
    }

    /// Says nothing that the mode does not say.
    fn is_minimal(&self) -> bool {
        self.0.len() == 3
    }

    fn perm(&self, tag: u16) -> Option<u16> {
        self.0
            .iter()
            .find(|entry| entry.tag == tag)
            .map(|entry| entry.perm)
    }

    /// The permission bits of a mode that this ACL amounts to.
    fn mode(&self) -> u16 {
        let group = self.perm(MASK).or(self.perm(GROUP_OBJ)).unwrap_or(0);
        self.perm(USER_OBJ).unwrap_or(0) << 6 | group << 3 | self.perm(OTHER).unwrap_or(0)
    }

    /// Replaces the permissions the mode speaks of by `f` of the old ones and the mode's.
    fn with_mode(mut self, mode: u16, f: impl Fn(u16, u16) -> u16) -> Acl {
        let class = if self.perm(MASK).is_some() {
            MASK
        } else {
            GROUP_OBJ
        };
        for entry in &mut self.0 {
            let wanted = match entry.tag {
                USER_OBJ => mode >> 6 & 7,
                OTHER => mode & 7,
                tag if tag == class => mode >> 3 & 7,
                _ => continue,
            };
            entry.perm = f(entry.perm, wanted);
        }
        self
    }
}

/// Gives a new inode what its directory hands down: the default ACL, or else the umask.
pub(in crate::fs) fn inherit(
    c: &mut Change<'_>,
    parent: InodeNo,
    directory: &Inode,
    ino: InodeNo,
    inode: &mut Inode,
    umask: u16,
) -> Result<(), Error> {
    if inode.kind == Kind::Symlink {
        return Ok(());
    }
    let Some(value) = xattr::value(c, parent, directory, DEFAULT)? else {
        inode.mode &= !(umask & 0o777);
        return Ok(());
    };
    if let Some(default) = Acl::parse(&value)? {
        let access = default.with_mode(inode.mode, |own, wanted| own & wanted);
        inode.mode = inode.mode & !0o777 | access.mode();
        if !access.is_minimal() {
            xattr::store(c, ino, inode, ACCESS, &access.encode())?;
        }
    }
    if inode.kind == Kind::Directory {
        xattr::store(c, ino, inode, DEFAULT, &value)?;
    }
    Ok(())
}

/// Brings the ACL in step with a mode that was just set.
pub(in crate::fs) fn after_chmod(
    c: &mut Change<'_>,
    ino: InodeNo,
    inode: &Inode,
) -> Result<(), Error> {
    let Some(value) = xattr::value(c, ino, inode, ACCESS)? else {
        return Ok(());
    };
    if let Some(acl) = Acl::parse(&value)? {
        let acl = acl.with_mode(inode.mode, |_, wanted| wanted);
        xattr::store(c, ino, &mut inode.clone(), ACCESS, &acl.encode())?;
    }
    Ok(())
}

/// Sets the ACL that is checked, and the mode with it.
pub(in crate::fs) fn set_access(
    c: &mut Change<'_>,
    caller: &Caller,
    ino: InodeNo,
    inode: &mut Inode,
    value: &[u8],
) -> Result<(), Error> {
    let acl = Acl::parse(value)?;
    if let Some(acl) = &acl {
        inode.mode = inode.mode & !0o777 | acl.mode();
        // One who belongs to the group by another of its groups comes as its member: `Fs::as_member`.
        if caller.uid != 0 && caller.gid != inode.gid {
            inode.mode &= !SET_GID;
        }
    }
    match acl {
        Some(acl) if !acl.is_minimal() => xattr::store(c, ino, inode, ACCESS, &acl.encode()),
        Some(_) | None => xattr::remove(c, ino, inode, ACCESS).map(|_| ()),
    }
}

/// Sets the ACL that a directory hands down.
pub(in crate::fs) fn set_default(
    c: &mut Change<'_>,
    ino: InodeNo,
    inode: &mut Inode,
    value: &[u8],
) -> Result<(), Error> {
    match Acl::parse(value)? {
        Some(_) if !inode.is_dir() => Err(Error::Unsupported),
        Some(acl) => xattr::store(c, ino, inode, DEFAULT, &acl.encode()),
        None => xattr::remove(c, ino, inode, DEFAULT).map(|_| ()),
    }
}

/// Is this the name of an ACL?
pub(in crate::fs) fn is_acl(name: &[u8]) -> bool {
    name == ACCESS || name == DEFAULT
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acl(entries: &[(u16, u16, u32)]) -> Acl {
        Acl(entries
            .iter()
            .map(|&(tag, perm, id)| Entry { tag, perm, id })
            .collect())
    }

    #[test]
    fn what_is_written_is_read() {
        let none = u32::MAX;
        let list = acl(&[
            (USER_OBJ, 7, none),
            (USER, 5, 10),
            (GROUP_OBJ, 5, none),
            (MASK, 4, none),
            (OTHER, 0, none),
        ]);
        assert_eq!(
            Acl::parse(&list.encode()).ok().flatten(),
            Some(list.clone())
        );
        assert_eq!(list.mode(), 0o740);
        assert!(!list.is_minimal());
        let masked = list.with_mode(0o600, |_, wanted| wanted);
        assert_eq!((masked.mode(), masked.perm(GROUP_OBJ)), (0o600, Some(5)));
    }

    #[test]
    fn nonsense_is_refused() {
        let none = u32::MAX;
        let no_mask = acl(&[
            (USER_OBJ, 7, none),
            (USER, 5, 10),
            (GROUP_OBJ, 5, none),
            (OTHER, 0, none),
        ]);
        for value in [&b""[..], &[2, 0, 0, 0, 1], &[3, 0, 0, 0], &no_mask.encode()] {
            assert!(
                matches!(Acl::parse(value), Err(Error::Invalid)),
                "{value:?}"
            );
        }
        assert!(matches!(Acl::parse(&[2, 0, 0, 0]), Ok(None)));
    }
}
