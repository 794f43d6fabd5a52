//! Inodes that lost their last name: they stay for whoever holds them, then they go.

use crate::drive::change::Change;
use crate::drive::view::Look;
use crate::drive::view::View;
use crate::fs::Attr;
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
    /// The kernel is about to hear of what was just made or linked: it knows it from then on, until [`Fs::forget`].
    pub fn meet(&self, attr: &Attr) {
        let view = self.drive.view();
        self.open.meet(attr.ino);
        // Another face may have removed it in between.
        if let Ok(None) = view.inode(attr.ino) {
            self.open.haunt(attr.ino, attr.inode.clone());
        }
    }

    /// The same of what was just found, with the view in which it was: nobody removes it meanwhile.
    pub(in crate::fs) fn met(&self, _: &View<'_>, attr: Attr) -> Attr {
        self.open.meet(attr.ino);
        attr
    }

    /// The kernel forgets an inode that it was told of so many times; with the last of them it does not know
    /// it any more. True when somebody should call [`Fs::sweep`] soon.
    pub fn forget(&self, ino: InodeNo, lookups: u64) -> bool {
        self.open.forget(ino, lookups)
    }

    /// Removes the inodes without names that the kernel has forgotten, many in one change, and those whose removal
    /// was refused before.
    pub fn sweep(&self) {
        let forgotten = self.open.forgotten();
        let (plain, rich): (Vec<_>, Vec<_>) =
            forgotten.into_iter().partition(|ino| self.is_plain(*ino));
        // The keys of many attributes fill a record by themselves.
        for group in plain.chunks(SWEEP_MAX).chain(rich.chunks(1)) {
            let swept = self.change(|c| {
                let each = group.iter().map(|ino| self.erase_unnamed(c, *ino));
                each.collect::<Result<Vec<Gone>, Error>>()
            });
            match swept {
                Ok(gone) => gone.into_iter().for_each(|gone| self.bury(gone)),
                Err(error) => self.put_off(group, &error),
            }
        }
    }

    /// The removal of inodes without names was refused: they stay until the next sweep.
    pub(in crate::fs) fn put_off(&self, inodes: &[InodeNo], why: &Error) {
        log::warn!(
            "{} inodes without names are not removed yet: {why}",
            inodes.len()
        );
        self.open.put_off(inodes);
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::drive::fixture;
    use crate::fs::Caller;
    use crate::fs::More;
    use crate::fs::Name;
    use crate::fs::Node;
    use crate::fs::Options;
    use crate::index::inode::Kind;
    use crate::store::memory::Memory;

    const CALLER: Caller = Caller { uid: 0, gid: 0 };

    const DIR: Name<'_> = Name {
        parent: InodeNo::ROOT,
        name: b"dir",
    };

    fn directory() -> Node {
        Node {
            kind: Kind::Directory,
            mode: 0o755,
            umask: 0,
            rdev: 0,
        }
    }

    async fn fs(dir: &std::path::Path) -> Fs {
        let store = Arc::new(Memory::default());
        let opened = fixture::open(fixture::settings(dir), &store).await;
        Fs::new(opened.expect("a new drive"), Options::default())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn each_answer_that_names_an_inode_counts_until_it_is_forgotten() {
        let dir = tempfile::tempdir().expect("a directory");
        let fs = fs(dir.path()).await;
        let made = fs.make(&CALLER, DIR, directory()).expect("made");
        fs.meet(&made);
        fs.lookup_known(DIR).expect("found");
        let list = |more| {
            fs.list_known(InodeNo::ROOT, 0, |entry| match entry.attr {
                Some(_) => more,
                None => More::Yes,
            })
        };
        list(More::Yes).expect("listed");
        // It did not fit, so the kernel was not told; nor is it when anything but the kernel looks.
        list(More::No).expect("listed");
        fs.lookup(DIR).expect("found");
        fs.rmdir_known(DIR).expect("removed");
        assert!(!fs.forget(made.ino, 2));
        fs.sweep();
        assert_eq!(fs.getattr(made.ino).expect("it stays").inode.nlink, 0);
        assert!(fs.forget(made.ino, 1));
        fs.sweep();
        assert!(matches!(fs.getattr(made.ino), Err(Error::Stale)));
        fs.drive.close().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_could_not_be_removed_goes_with_the_next_sweep() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut fs = fs(dir.path()).await;
        let file = Name {
            parent: InodeNo::ROOT,
            name: b"file",
        };
        let node = Node {
            kind: Kind::File,
            ..directory()
        };
        let opened = fs.create(&CALLER, file, node, crate::fs::Opening::default());
        let (closed, handle) = opened.expect("made");
        fs.unlink(file).expect("removed");
        let forgotten = fs.make(&CALLER, DIR, directory()).expect("made");
        fs.meet(&forgotten);
        fs.rmdir_known(DIR).expect("removed");
        // Nothing can be changed for a while.
        fs.options.read_only = true;
        fs.release(handle);
        assert!(fs.forget(forgotten.ino, 1));
        fs.sweep();
        let view = |ino| fs.drive.view().inode(ino).expect("readable");
        assert!(view(closed.ino).is_some() && view(forgotten.ino).is_some());
        fs.options.read_only = false;
        fs.sweep();
        let view = |ino| fs.drive.view().inode(ino).expect("readable");
        assert_eq!((view(closed.ino), view(forgotten.ino)), (None, None));
        fs.drive.close().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_another_face_removed_is_there_without_a_name_for_a_kernel_that_knows_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let fs = fs(dir.path()).await;
        let inside = |parent| Name {
            parent,
            name: b"new",
        };
        let made = fs.make(&CALLER, DIR, directory()).expect("made");
        fs.meet(&made);
        fs.rmdir(DIR).expect("removed");
        let refused = fs.make(&CALLER, inside(made.ino), directory());
        assert!(matches!(refused, Err(Error::NotFound)), "{refused:?}");
        assert_eq!(fs.getattr(made.ino).expect("it is held").inode.nlink, 0);
        fs.forget(made.ino, 1);
        assert!(matches!(fs.getattr(made.ino), Err(Error::Stale)));
        // Nobody will ever say that it forgets what it never knew.
        let made = fs.make(&CALLER, DIR, directory()).expect("made");
        fs.rmdir(DIR).expect("removed");
        assert!(matches!(fs.getattr(made.ino), Err(Error::Stale)));
        // It was removed before the answer that names it went out.
        fs.meet(&made);
        assert!(fs.getattr(made.ino).is_ok());
        fs.drive.close().await;
    }
}
