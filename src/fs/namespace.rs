//! Names: looking them up, making things under them, linking and unlinking.

use crate::drive::archive;
use crate::drive::change::Change;
use crate::drive::view::Look;
use crate::fs::Attr;
use crate::fs::Caller;
use crate::fs::Error;
use crate::fs::Fs;
use crate::fs::LINKS_MAX;
use crate::fs::NAME_BYTES_MAX;
use crate::fs::TARGET_BYTES_MAX;
use crate::fs::acl;
use crate::fs::directory;
use crate::fs::edit;
use crate::fs::known;
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
const ERASE_PAGE: usize = 1024;

/// A place for something: a directory and a name in it.
#[derive(Clone, Copy, Debug)]
pub struct Name<'a> {
    /// The directory.
    pub parent: InodeNo,
    /// 1..=255 bytes, any but `/` and NUL.
    pub name: &'a [u8],
}

/// What to make.
#[derive(Clone, Copy, Debug)]
pub struct Node {
    /// Its kind; links are made by [`Fs::symlink`].
    pub kind: Kind,
    /// Wanted permission bits, before umask and inherited ACL.
    pub mode: u16,
    /// The caller's umask; a directory with a default ACL overrides it.
    pub umask: u16,
    /// Device number, for devices.
    pub rdev: u32,
}

/// An inode that left the drive in a change.
type Gone = Option<(InodeNo, Inode)>;

impl Name<'_> {
    fn check(&self) -> Result<(), Error> {
        match self.name {
            b"" | b"." | b".." => Err(Error::Invalid),
            name if name.len() > NAME_BYTES_MAX => Err(Error::NameTooLong),
            name if name.iter().any(|byte| matches!(byte, 0 | b'/')) => Err(Error::Invalid),
            _ => Ok(()),
        }
    }

    /// The entry here, which must be there.
    pub(in crate::fs) fn entry(&self, look: &impl Look) -> Result<Dirent, Error> {
        look.entry(self.parent, self.name)?.ok_or(Error::NotFound)
    }

    /// Checks a name that is to be made.
    pub(in crate::fs) fn check_new(&self, look: &impl Look) -> Result<Inode, Error> {
        self.check()?;
        let parent = directory(look, self.parent)?;
        if parent.nlink == 0 {
            Err(Error::NotFound)
        } else {
            Ok(parent)
        }
    }
}

impl Fs {
    /// What a name leads to. `.` and `..` are found as well, for those who reach inodes by number.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NameTooLong`].
    pub fn lookup(&self, at: Name<'_>) -> Result<Attr, Error> {
        if at.name.len() > NAME_BYTES_MAX {
            return Err(Error::NameTooLong);
        }
        let view = self.drive.view();
        let ino = match at.name {
            b"." => at.parent,
            b".." => directory(&view, at.parent)?.parent,
            _ => at.entry(&view)?.ino,
        };
        Ok(self.attr(ino, known(&view, ino)?))
    }

    /// The kernel does not know this inode any more.
    pub fn forget(&self, ino: InodeNo) {
        self.open.forget(ino);
    }

    /// Makes a file, directory, pipe, socket or device.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::NotFound`] in a removed directory, [`Error::NameTooLong`].
    pub fn make(&self, caller: &Caller, at: Name<'_>, node: Node) -> Result<Attr, Error> {
        if node.kind == Kind::Symlink {
            return Err(Error::Invalid);
        }
        let (ino, inode) = self.change(|c| insert(c, caller, at, node))?;
        Ok(self.attr(ino, inode))
    }

    /// Makes a symbolic link.
    ///
    /// # Errors
    /// As [`Fs::make`]; [`Error::NameTooLong`] also for the target.
    pub fn symlink(&self, caller: &Caller, at: Name<'_>, target: &[u8]) -> Result<Attr, Error> {
        if target.is_empty() {
            return Err(Error::NotFound);
        }
        if target.len() > TARGET_BYTES_MAX {
            return Err(Error::NameTooLong);
        }
        let node = Node {
            kind: Kind::Symlink,
            mode: 0o777,
            umask: 0,
            rdev: 0,
        };
        let (ino, inode) = self.change(|c| {
            let (ino, mut inode) = insert(c, caller, at, node)?;
            inode.size = target.len() as u64;
            c.put_inode(ino, &inode);
            for (piece, bytes) in (0..).zip(target.chunks(key::PIECE_BYTES)) {
                c.put(key::link(ino, piece), bytes.to_vec());
            }
            Ok((ino, inode))
        })?;
        Ok(self.attr(ino, inode))
    }

    /// Where a symbolic link leads.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it is none.
    pub fn readlink(&self, ino: InodeNo) -> Result<Vec<u8>, Error> {
        let view = self.drive.view();
        let inode = known(&view, ino)?;
        if inode.kind != Kind::Symlink {
            return Err(Error::Invalid);
        }
        let mut target = Vec::new();
        for piece in 0..pieces(inode.size) {
            target.extend(view.get(&key::link(ino, piece))?.unwrap_or_default());
        }
        Ok(target)
    }

    /// Gives an inode one more name.
    ///
    /// # Errors
    /// [`Error::NotPermitted`] for directories, [`Error::TooManyLinks`], [`Error::Exists`].
    pub fn link(&self, ino: InodeNo, at: Name<'_>) -> Result<Attr, Error> {
        let inode = self.change(|c| {
            at.check_new(c)?;
            let mut inode = known(c, ino)?;
            match (inode.is_dir(), inode.nlink) {
                (true, _) => return Err(Error::NotPermitted),
                (_, 0) => return Err(Error::NotFound),
                (_, LINKS_MAX..) => return Err(Error::TooManyLinks),
                _ if c.entry(at.parent, at.name)?.is_some() => return Err(Error::Exists),
                _ => {}
            }
            inode.nlink += 1;
            inode.ctime = c.now();
            c.put_inode(ino, &inode);
            let cookie = c.next_number();
            attach(
                c,
                at,
                Dirent {
                    ino,
                    kind: inode.kind,
                    cookie,
                },
            )?;
            Ok(inode)
        })?;
        Ok(self.attr(ino, inode))
    }

    /// Takes a name from a file.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::IsADirectory`].
    pub fn unlink(&self, at: Name<'_>) -> Result<(), Error> {
        let gone = self.change(|c| {
            let entry = at.entry(c)?;
            if entry.kind == Kind::Directory {
                return Err(Error::IsADirectory);
            }
            detach(c, at, entry)?;
            self.drop_name(c, entry.ino)
        })?;
        self.bury(gone);
        Ok(())
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotADirectory`], [`Error::NotEmpty`].
    pub fn rmdir(&self, at: Name<'_>) -> Result<(), Error> {
        let gone = self.change(|c| {
            let entry = at.entry(c)?;
            let inode = directory(c, entry.ino)?;
            if inode.size > 0 {
                return Err(Error::NotEmpty);
            }
            detach(c, at, entry)?;
            if at.parent == InodeNo::ROOT {
                archive::remove_archive(c, inode.archive)?;
            }
            self.drop_name(c, entry.ino)
        })?;
        self.bury(gone);
        Ok(())
    }

    /// Removes what the last mount left open and unlinked.
    ///
    /// # Errors
    /// When the drive fails; nothing is half removed then.
    pub fn recover(&self) -> Result<(), Error> {
        let (mut from, to) = key::all(b'U');
        while !self.options.read_only {
            let found = self.drive.view().scan(&from, &to, ERASE_PAGE)?;
            let Some((last, _)) = found.last() else { break };
            from = [last.as_slice(), &[0]].concat();
            for ino in found.iter().filter_map(|(key, _)| key::inode_of(key)) {
                self.purge(ino)?;
            }
        }
        Ok(())
    }

    /// Removes an inode that has neither names nor handles.
    pub(in crate::fs) fn purge(&self, ino: InodeNo) -> Result<(), Error> {
        let gone = self.change(|c| {
            if self.open.is_open(ino) {
                return Ok(None);
            }
            c.delete(key::orphan(ino));
            match c.inode(ino)? {
                Some(inode) if inode.nlink == 0 => {
                    erase(c, ino, &inode)?;
                    Ok(Some((ino, inode)))
                }
                Some(_) | None => Ok(None),
            }
        })?;
        self.bury(gone);
        Ok(())
    }

    /// Counts one name less; what has none left goes, unless it is open.
    pub(in crate::fs) fn drop_name(&self, c: &mut Change<'_>, ino: InodeNo) -> Result<Gone, Error> {
        let mut inode = known(c, ino)?;
        inode.ctime = c.now();
        inode.nlink = if inode.is_dir() {
            0
        } else {
            inode.nlink.saturating_sub(1)
        };
        if inode.nlink == 0 {
            if inode.is_dir() || !self.open.orphan(ino) {
                erase(c, ino, &inode)?;
                return Ok(Some((ino, inode)));
            }
            c.put(key::orphan(ino), Vec::new());
        }
        c.put_inode(ino, &inode);
        Ok(None)
    }

    /// Remembers what is gone for as long as the kernel does.
    pub(in crate::fs) fn bury(&self, gone: Gone) {
        if let Some((ino, inode)) = gone {
            self.open.haunt(ino, inode);
        }
    }
}

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
fn erase(c: &mut Change<'_>, ino: InodeNo, inode: &Inode) -> Result<(), Error> {
    c.delete(key::inode(ino));
    match inode.kind {
        Kind::File => c.zero(ino, 0, u64::MAX),
        Kind::Symlink => (0..pieces(inode.size)).for_each(|piece| c.delete(key::link(ino, piece))),
        Kind::Directory | Kind::Fifo | Kind::Socket | Kind::Char | Kind::Block => {}
    }
    let (mut from, to) = key::of(b'X', ino);
    while inode.xattrs > 0 {
        let found = c.scan_before(&from, &to, ERASE_PAGE)?;
        let Some((last, _)) = found.last() else { break };
        from = [last.as_slice(), &[0]].concat();
        found.into_iter().for_each(|(key, _)| c.delete(key));
    }
    Ok(())
}

/// Number of pieces of a link's target.
fn pieces(bytes: u64) -> u16 {
    u16::try_from(bytes.div_ceil(key::PIECE_BYTES as u64)).unwrap_or(u16::MAX)
}
