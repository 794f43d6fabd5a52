//! What a name is made of: an inode, its entry kept twice, and what goes when the last name does.

use crate::drive::Look;
use crate::drive::archive;
use crate::drive::change::Change;
use crate::fs::Caller;
use crate::fs::Error;
use crate::fs::LINKS_MAX;
use crate::fs::Name;
use crate::fs::Node;
use crate::fs::acl;
use crate::fs::edit;
use crate::id::ArchiveNo;
use crate::id::InodeNo;
use crate::index::dirent::Dirent;
use crate::index::dirent::Listed;
use crate::index::inode::Inode;
use crate::index::inode::Kind;
use crate::index::key;

/// Set-group-id bit: on a directory, what is made in it takes its group.
pub(in crate::fs) const SET_GID: u16 = 0o2000;

/// Keys removed per look at the index.
pub(in crate::fs) const ERASE_PAGE: usize = 1024;

/// Makes an inode and its name.
pub(in crate::fs) fn insert(
    c: &mut Change<'_>,
    caller: &Caller,
    at: Name<'_>,
    node: Node,
) -> Result<(InodeNo, Inode), Error> {
    let parent = at.check_new(c)?;
    if c.entry(at.parent, at.name)?.is_some() {
        return Err(Error::Exists);
    }
    let is_dir = node.kind == Kind::Directory;
    if is_dir && parent.nlink >= LINKS_MAX {
        return Err(Error::TooManyLinks);
    }
    let ino = InodeNo(c.next_number());
    let now = c.now();
    let inherits_group = parent.mode & SET_GID != 0;
    let mut inode = Inode {
        kind: node.kind,
        mode: node.mode & 0o7777 | if is_dir && inherits_group { SET_GID } else { 0 },
        uid: caller.uid,
        gid: if inherits_group {
            parent.gid
        } else {
            caller.gid
        },
        rdev: if matches!(node.kind, Kind::Char | Kind::Block) {
            node.rdev
        } else {
            0
        },
        nlink: if is_dir { 2 } else { 1 },
        size: 0,
        stored: 0,
        atime: now,
        mtime: now,
        ctime: now,
        btime: now,
        archive: archive_of(at.parent, &parent),
        parent: at.parent,
        xattrs: 0,
    };
    acl::inherit(c, at.parent, &parent, ino, &mut inode, node.umask)?;
    if is_dir && at.parent == InodeNo::ROOT {
        inode.archive = archive::create_archive(c, ino, at.name)?;
    }
    c.put_inode(ino, &inode);
    let cookie = c.next_number();
    attach(
        c,
        at,
        Dirent {
            ino,
            kind: node.kind,
            cookie,
        },
    )?;
    Ok((ino, inode))
}

/// The archive of what lies in a directory, top-level directories aside.
pub(in crate::fs) fn archive_of(ino: InodeNo, directory: &Inode) -> ArchiveNo {
    if ino == InodeNo::ROOT {
        ArchiveNo(0)
    } else {
        directory.archive
    }
}

/// Puts an entry into a directory.
pub(in crate::fs) fn attach(c: &mut Change<'_>, at: Name<'_>, entry: Dirent) -> Result<(), Error> {
    let now = c.now();
    edit(c, at.parent, |parent| {
        parent.size += 1;
        parent.nlink += u32::from(entry.kind == Kind::Directory);
        (parent.mtime, parent.ctime) = (now, now);
    })?;
    let listed = Listed {
        ino: entry.ino,
        kind: entry.kind,
        name: at.name.to_vec(),
    };
    c.put(key::dirent(at.parent, at.name), entry.encode());
    c.put(key::listed(at.parent, entry.cookie), listed.encode());
    Ok(())
}

/// Takes an entry out of a directory.
pub(in crate::fs) fn detach(c: &mut Change<'_>, at: Name<'_>, entry: Dirent) -> Result<(), Error> {
    let now = c.now();
    edit(c, at.parent, |parent| {
        parent.size = parent.size.saturating_sub(1);
        parent.nlink -= u32::from(entry.kind == Kind::Directory);
        (parent.mtime, parent.ctime) = (now, now);
    })?;
    c.delete(key::dirent(at.parent, at.name));
    c.delete(key::listed(at.parent, entry.cookie));
    Ok(())
}

/// Removes everything kept under an inode's number.
pub(in crate::fs) fn erase(c: &mut Change<'_>, ino: InodeNo, inode: &Inode) -> Result<(), Error> {
    c.delete(key::inode(ino));
    match inode.kind {
        Kind::File => c.zero(ino, 0, u64::MAX),
        Kind::Symlink => (0..pieces(inode.size)).for_each(|piece| c.delete(key::link(ino, piece))),
        Kind::Directory | Kind::Fifo | Kind::Socket | Kind::Char | Kind::Block => {}
    }
    if inode.xattrs == 0 {
        return Ok(());
    }
    let (mut from, to) = key::of(b'X', ino);
    loop {
        let found = c.scan_before(&from, &to, ERASE_PAGE)?;
        let Some((last, _)) = found.last() else {
            return Ok(());
        };
        from = [last.as_slice(), &[0]].concat();
        found.into_iter().for_each(|(key, _)| c.delete(key));
    }
}

/// Number of pieces of a link's target.
pub(in crate::fs) fn pieces(bytes: u64) -> u16 {
    u16::try_from(bytes.div_ceil(key::PIECE_BYTES as u64)).unwrap_or(u16::MAX)
}
