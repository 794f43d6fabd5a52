//! Inodes that lost their last name: they stay for whoever holds them, then they go.

use crate::drive::change::Change;
use crate::drive::view::Look;
use crate::fs::Error;
use crate::fs::Fs;
use crate::fs::entry::ERASE_PAGE;
use crate::fs::entry::erase;
use crate::fs::known;
use crate::id::InodeNo;
use crate::index::inode::Inode;
use crate::index::key;

/// Inodes removed in one change: one record of the spool for all of them, and nobody waits long meanwhile.
const SWEEP_MAX: usize = 64;

/// An inode that left the drive in a change.
type Gone = Option<(InodeNo, Inode)>;

/// What becomes of an inode with its last name, if nobody has it open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::fs) enum Unnamed {
    /// It goes at once.
    Goes,
    /// It stays until [`Fs::forget`]: the kernel took the name, and may look the inode up by its number
    /// still, for whoever found it by that name a moment ago or holds it by `O_PATH`.
    Stays,
}

impl Fs {
    /// The kernel does not know this inode any more. True when somebody should call [`Fs::sweep`] soon.
    pub fn forget(&self, ino: InodeNo) -> bool {
        self.open.forget(ino)
    }

    /// Removes the inodes without names that the kernel has forgotten, many in one change.
    pub fn sweep(&self) {
        let forgotten = self.open.forgotten();
        let (plain, rich): (Vec<_>, Vec<_>) =
            forgotten.into_iter().partition(|ino| self.is_plain(*ino));
        // The keys of many attributes fill a record by themselves.
        for group in plain.chunks(SWEEP_MAX).chain(rich.chunks(1)) {
            let swept = self.change(|c| {
                let mut each = group.iter();
                each.try_for_each(|ino| self.erase_unnamed(c, *ino).map(drop))
            });
            if let Err(error) = swept {
                log::warn!("inodes without names stay until the next mount: {error}");
            }
        }
    }

    /// Has this inode no extended attributes?
    fn is_plain(&self, ino: InodeNo) -> bool {
        let inode = self.drive.view().inode(ino);
        inode.is_ok_and(|inode| inode.is_none_or(|inode| inode.xattrs == 0))
    }

    /// The mount is gone, and with it everything that the kernel knew.
    pub fn end(&self) {
        self.sweep();
        self.open.forget_all();
        if let Err(error) = self.recover() {
            log::warn!("inodes without names stay until the next mount: {error}");
        }
    }

    /// Removes what the last mount left open and unlinked.
    ///
    /// # Errors
    /// When the index cannot be read. What cannot be removed stays, and the log tells of it.
    pub fn recover(&self) -> Result<(), Error> {
        let (mut from, to) = key::all(b'U');
        if self.options.read_only {
            return Ok(());
        }
        loop {
            let found = self.drive.view().scan(&from, &to, ERASE_PAGE)?;
            let Some((last, _)) = found.last() else {
                return Ok(());
            };
            from = [last.as_slice(), &[0]].concat();
            for ino in found.iter().filter_map(|(key, _)| key::inode_of(key)) {
                if let Err(error) = self.purge(ino) {
                    log::error!("inode {ino} has no name and stays: {error}");
                }
            }
        }
    }

    /// Removes an inode that has neither names nor handles.
    pub(in crate::fs) fn purge(&self, ino: InodeNo) -> Result<(), Error> {
        let gone = self.change(|c| self.erase_unnamed(c, ino))?;
        self.bury(gone);
        Ok(())
    }

    fn erase_unnamed(&self, c: &mut Change<'_>, ino: InodeNo) -> Result<Gone, Error> {
        // Somebody may hold it again, by way of another handle: then the last of them takes it along.
        if self.open.orphan(ino, Unnamed::Goes) {
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
    }

    /// Counts one name less; what has none left goes, unless somebody holds it.
    pub(in crate::fs) fn drop_name(
        &self,
        c: &mut Change<'_>,
        ino: InodeNo,
        unnamed: Unnamed,
    ) -> Result<Gone, Error> {
        let mut inode = known(c, ino)?;
        inode.ctime = c.now();
        inode.nlink = if inode.is_dir() {
            0
        } else {
            inode.nlink.saturating_sub(1)
        };
        if inode.nlink == 0 {
            if !self.open.orphan(ino, unnamed) {
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
