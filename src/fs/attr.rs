//! Attributes: what `stat` tells, and `chmod`, `chown`, `truncate`, `utimensat`.

use crate::clock::Time;
use crate::drive::change::Change;
use crate::drive::status::Space;
use crate::drive::view::Look;
use crate::fs::Caller;
use crate::fs::Error;
use crate::fs::FILE_BYTES_MAX;
use crate::fs::Fs;
use crate::fs::Privileges;
use crate::fs::acl;
use crate::fs::file::strip;
use crate::fs::file::unprivileged;
use crate::fs::known;
use crate::fs::regular;
use crate::id::InodeNo;
use crate::index::inode::Inode;
use crate::index::inode::Kind;

/// An inode as a mount presents it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attr {
    /// Its number.
    pub ino: InodeNo,
    /// What it is, with the mount's options applied.
    pub inode: Inode,
}

/// A time to set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamp {
    /// The present.
    Now,
    /// This time.
    At(Time),
}

/// What to set; all of it at once, or nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetAttr {
    /// Permission, set-id and sticky bits.
    pub mode: Option<u16>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Length of a file.
    pub size: Option<u64>,
    /// Last read.
    pub atime: Option<Stamp>,
    /// Last change of content.
    pub mtime: Option<Stamp>,
    /// Birth, which only macOS sets.
    pub btime: Option<Time>,
}

impl SetAttr {
    /// Does it change the owner? So does `chown(-1, -1)`, which names nothing at all.
    fn is_chown(&self) -> bool {
        self.uid.is_some() || self.gid.is_some() || *self == SetAttr::default()
    }

    /// Sets everything but the size.
    fn give(&self, inode: &mut Inode, now: Time) {
        let time = |stamp| match stamp {
            Stamp::Now => now,
            Stamp::At(time) => time,
        };
        inode.uid = self.uid.unwrap_or(inode.uid);
        inode.gid = self.gid.unwrap_or(inode.gid);
        inode.mode = self.mode.map_or(inode.mode, |mode| mode & 0o7777);
        inode.atime = self.atime.map_or(inode.atime, time);
        inode.mtime = self.mtime.map_or(inode.mtime, time);
        inode.btime = self.btime.unwrap_or(inode.btime);
    }
}

impl Fs {
    /// What an inode is.
    ///
    /// # Errors
    /// [`Error::Stale`] when it is gone.
    pub fn getattr(&self, ino: InodeNo) -> Result<Attr, Error> {
        let found = self.drive.view().inode(ino)?;
        let inode = found.or_else(|| self.open.ghost(ino)).ok_or(Error::Stale)?;
        Ok(self.attr(ino, inode))
    }

    /// Sets attributes.
    ///
    /// # Errors
    /// [`Error::Invalid`] or [`Error::IsADirectory`] for the size of anything but a file;
    /// [`Error::FileTooLarge`].
    pub fn setattr(&self, caller: &Caller, ino: InodeNo, set: SetAttr) -> Result<Attr, Error> {
        let changed = self.change(|c| {
            let mut inode = known(c, ino)?;
            let now = c.now();
            inode.ctime = now;
            if set.is_chown() && !inode.is_dir() {
                strip(c, ino, &mut inode, Privileges::Kill)?;
            }
            if let Some(size) = set.size {
                let rights = if caller.uid == 0 {
                    Privileges::Keep
                } else {
                    Privileges::Kill
                };
                resize(c, ino, &mut inode, size)?;
                strip(c, ino, &mut inode, rights)?;
            }
            set.give(&mut inode, now);
            if set.mode.is_some() {
                acl::after_chmod(c, ino, &inode)?;
            }
            c.put_inode(ino, &inode);
            Ok(inode)
        });
        let inode = match changed {
            Err(Error::Stale) => self.setattr_gone(ino, set)?,
            changed => changed?,
        };
        Ok(self.attr(ino, inode))
    }

    /// The same for what is gone while somebody still holds it: only they see it.
    fn setattr_gone(&self, ino: InodeNo, set: SetAttr) -> Result<Inode, Error> {
        let ghost = self.open.ghost(ino).filter(|_| set.size.is_none());
        let mut inode = ghost.ok_or(Error::Stale)?;
        let now = self.drive.now();
        inode.ctime = now;
        if set.is_chown() && !inode.is_dir() {
            unprivileged(&mut inode);
        }
        set.give(&mut inode, now);
        self.open.haunt(ino, inode.clone());
        Ok(inode)
    }

    /// How much there is room for.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn space(&self) -> Result<Space, Error> {
        Ok(self.drive.space()?)
    }

    /// An inode as this mount presents it.
    pub(in crate::fs) fn attr(&self, ino: InodeNo, mut inode: Inode) -> Attr {
        inode.uid = self.options.uid.unwrap_or(inode.uid);
        inode.gid = self.options.gid.unwrap_or(inode.gid);
        if inode.kind != Kind::Symlink {
            inode.mode &= !self.options.umask.unwrap_or(0);
        }
        Attr { ino, inode }
    }
}

/// Makes a file shorter or longer; the caller puts the inode.
pub(in crate::fs) fn resize(
    c: &mut Change<'_>,
    ino: InodeNo,
    inode: &mut Inode,
    size: u64,
) -> Result<(), Error> {
    regular(c, ino)?;
    if size > FILE_BYTES_MAX {
        return Err(Error::FileTooLarge);
    }
    if size < inode.size {
        let lost = match size {
            0 => inode.stored,
            _ => c.stored_before(ino, size, inode.size)?,
        };
        inode.stored = inode.stored.saturating_sub(lost);
        c.zero(ino, size, u64::MAX);
    }
    inode.size = size;
    inode.mtime = c.now();
    inode.ctime = c.now();
    Ok(())
}
