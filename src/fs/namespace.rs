//! Names: looking them up, making things under them, linking and unlinking.

use crate::drive::archive;
use crate::drive::view::Look;
use crate::drive::view::View;
use crate::fs::Attr;
use crate::fs::Caller;
use crate::fs::Error;
use crate::fs::Fs;
use crate::fs::LINKS_MAX;
use crate::fs::NAME_BYTES_MAX;
use crate::fs::TARGET_BYTES_MAX;
use crate::fs::directory;
use crate::fs::entry::attach;
use crate::fs::entry::detach;
use crate::fs::entry::insert;
use crate::fs::entry::pieces;
use crate::fs::known;
use crate::fs::unnamed::Unnamed;
use crate::id::InodeNo;
use crate::index::dirent::Dirent;
use crate::index::inode::Inode;
use crate::index::inode::Kind;
use crate::index::key;

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

    /// The entry here, which must lead to this inode, if one is given.
    pub(in crate::fs) fn entry_of(
        &self,
        look: &impl Look,
        ino: Option<InodeNo>,
    ) -> Result<Dirent, Error> {
        let entry = self.entry(look)?;
        match ino.is_none_or(|ino| ino == entry.ino) {
            true => Ok(entry),
            false => Err(Error::NotFound),
        }
    }

    /// Checks a name that is to be made.
    pub(in crate::fs) fn check_new(&self, look: &impl Look) -> Result<Inode, Error> {
        self.check()?;
        // A directory that another face removed is gone; whoever is in it still has it without a name.
        match look.inode(self.parent)? {
            Some(parent) if !parent.is_dir() => Err(Error::NotADirectory),
            Some(parent) if parent.nlink > 0 => Ok(parent),
            Some(_) | None => Err(Error::NotFound),
        }
    }
}

impl Fs {
    /// What a name leads to. `.` and `..` are found as well, for those who reach inodes by number.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NameTooLong`].
    pub fn lookup(&self, at: Name<'_>) -> Result<Attr, Error> {
        self.find(&self.drive.view(), at)
    }

    /// The same for the kernel, which knows what it was told of until [`Fs::forget`].
    ///
    /// # Errors
    /// As [`Fs::lookup`].
    pub fn lookup_known(&self, at: Name<'_>) -> Result<Attr, Error> {
        let view = self.drive.view();
        Ok(self.met(&view, self.find(&view, at)?))
    }

    fn find(&self, view: &View<'_>, at: Name<'_>) -> Result<Attr, Error> {
        if at.name.len() > NAME_BYTES_MAX {
            return Err(Error::NameTooLong);
        }
        let ino = match at.name {
            b"." => at.parent,
            b".." => directory(view, at.parent)?.parent,
            _ => at.entry(view)?.ino,
        };
        Ok(self.attr(ino, known(view, ino)?))
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
        self.take(at, None, Unnamed::Goes)
    }

    /// Takes a name from a file for the kernel, which knows the file until [`Fs::forget`]: until then it stays.
    ///
    /// # Errors
    /// As [`Fs::unlink`].
    pub fn unlink_known(&self, at: Name<'_>) -> Result<(), Error> {
        self.take(at, None, Unnamed::Stays)
    }

    /// Takes a name from a file, if it leads to this one still: somebody may have given it to another.
    ///
    /// # Errors
    /// As [`Fs::unlink`]; [`Error::NotFound`] also when it leads elsewhere.
    pub fn unlink_inode(&self, ino: InodeNo, at: Name<'_>) -> Result<(), Error> {
        self.take(at, Some(ino), Unnamed::Goes)
    }

    fn take(&self, at: Name<'_>, ino: Option<InodeNo>, unnamed: Unnamed) -> Result<(), Error> {
        let gone = self.change(|c| {
            let entry = at.entry_of(c, ino)?;
            if entry.kind == Kind::Directory {
                return Err(Error::IsADirectory);
            }
            detach(c, at, entry)?;
            self.drop_name(c, entry.ino, unnamed)
        })?;
        self.bury(gone);
        Ok(())
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotADirectory`], [`Error::NotEmpty`].
    pub fn rmdir(&self, at: Name<'_>) -> Result<(), Error> {
        self.take_directory(at, Unnamed::Goes)
    }

    /// Removes an empty directory for the kernel, which knows it until [`Fs::forget`]: until then it stays,
    /// without a name.
    ///
    /// # Errors
    /// As [`Fs::rmdir`].
    pub fn rmdir_known(&self, at: Name<'_>) -> Result<(), Error> {
        self.take_directory(at, Unnamed::Stays)
    }

    fn take_directory(&self, at: Name<'_>, unnamed: Unnamed) -> Result<(), Error> {
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
            self.drop_name(c, entry.ino, unnamed)
        })?;
        self.bury(gone);
        Ok(())
    }
}
