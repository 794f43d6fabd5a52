//! What dies with the mount: open handles, how often each inode is open, what the kernel knows, and ghosts.

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use crate::drive::ReadAhead;
use crate::fs::unnamed::Unnamed;
use crate::id::InodeNo;
use crate::index::inode::Inode;

/// An open file.
pub(in crate::fs) struct Handle {
    /// What is open.
    pub(in crate::fs) ino: InodeNo,
    /// Read-ahead of this reader.
    pub(in crate::fs) ahead: ReadAhead,
    /// May the file be mapped through it and changed so? Then the kernel may have pages that it has not told us of.
    pub(in crate::fs) maps: bool,
}

/// The tables. The lock is taken last and held for a look-up only.
#[derive(Default)]
pub(in crate::fs) struct Open {
    tables: Mutex<Tables>,
}

#[derive(Default)]
struct Tables {
    handles: HashMap<u64, Arc<Handle>>,
    last_handle: u64,
    opens: HashMap<InodeNo, u32>,
    /// Of how many handles of each inode there may be a mapping that changes it.
    mappers: HashMap<InodeNo, u32>,
    /// Inodes without names that somebody holds; a superset while a change is under way.
    orphans: HashSet<InodeNo>,
    /// How often the kernel was told of each inode that it knows. It says how much of that it forgets, and
    /// may have asked again before that is read.
    known: HashMap<InodeNo, u32>,
    /// Those without names that lost the last through the kernel, which knows them still.
    kept: HashSet<InodeNo>,
    /// Those that the kernel has forgotten since, and nobody holds.
    forgotten: Vec<InodeNo>,
    /// Those without names or handles whose removal was refused.
    refused: Vec<InodeNo>,
    /// Inodes that another face took from the drive while the kernel knows them. They answer `stat`
    /// until the kernel forgets them.
    ghosts: HashMap<InodeNo, Inode>,
}

impl Tables {
    /// Counts so many fewer of what the kernel was told; true when it does not know the inode any more.
    fn lose(&mut self, ino: InodeNo, lookups: u64) -> bool {
        match self.known.get_mut(&ino) {
            Some(count) if u64::from(*count) > lookups => {
                *count = u32::try_from(u64::from(*count) - lookups).unwrap_or(u32::MAX);
                false
            }
            Some(_) | None => {
                self.known.remove(&ino);
                true
            }
        }
    }
}

impl Open {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an open before it is known to succeed, so that a last unlink keeps the inode.
    pub(in crate::fs) fn hold(&self, ino: InodeNo) {
        *self.tables().opens.entry(ino).or_default() += 1;
    }

    /// Counts an open if it is the only one.
    pub(in crate::fs) fn hold_alone(&self, ino: InodeNo) -> bool {
        let mut tables = self.tables();
        let is_free = !tables.opens.contains_key(&ino);
        if is_free {
            tables.opens.insert(ino, 1);
        }
        is_free
    }

    /// Takes a [`Open::hold`] back; true when that leaves an inode that nobody holds and that has no names.
    pub(in crate::fs) fn let_go(&self, ino: InodeNo) -> bool {
        let mut tables = self.tables();
        match tables.opens.get_mut(&ino) {
            Some(count) if *count > 1 => {
                *count -= 1;
                false
            }
            Some(_) | None => {
                tables.opens.remove(&ino);
                !tables.kept.contains(&ino) && tables.orphans.remove(&ino)
            }
        }
    }

    /// Does anybody hold this inode, which loses its last name? Then [`Open::let_go`] or
    /// [`Open::forget`] will tell.
    pub(in crate::fs) fn orphan(&self, ino: InodeNo, unnamed: Unnamed) -> bool {
        let mut tables = self.tables();
        if unnamed == Unnamed::Stays && tables.known.contains_key(&ino) {
            tables.kept.insert(ino);
        }
        let is_held = tables.opens.contains_key(&ino) || tables.kept.contains(&ino);
        if is_held {
            tables.orphans.insert(ino);
        }
        is_held
    }

    /// May the kernel have changed pages of this inode that it has not told us of?
    pub(in crate::fs) fn may_be_mapped(&self, ino: InodeNo) -> bool {
        self.tables().mappers.contains_key(&ino)
    }

    /// All inodes of which that may be.
    pub(in crate::fs) fn mapped(&self) -> BTreeSet<InodeNo> {
        self.tables().mappers.keys().copied().collect()
    }

    /// Has anybody this inode open?
    pub(in crate::fs) fn is_open(&self, ino: InodeNo) -> bool {
        self.tables().opens.contains_key(&ino)
    }

    /// Keeps a handle, whose inode is held already.
    pub(in crate::fs) fn insert(&self, handle: Handle) -> u64 {
        let mut tables = self.tables();
        tables.last_handle += 1;
        let number = tables.last_handle;
        if handle.maps {
            *tables.mappers.entry(handle.ino).or_default() += 1;
        }
        tables.handles.insert(number, Arc::new(handle));
        number
    }

    /// The handle of this number.
    pub(in crate::fs) fn get(&self, handle: u64) -> Option<Arc<Handle>> {
        self.tables().handles.get(&handle).cloned()
    }

    /// Takes a handle out; its inode stays held.
    pub(in crate::fs) fn remove(&self, handle: u64) -> Option<Arc<Handle>> {
        let mut tables = self.tables();
        let handle = tables.handles.remove(&handle)?;
        if let Some(count) = tables.mappers.get_mut(&handle.ino).filter(|_| handle.maps) {
            *count -= 1;
            if *count == 0 {
                tables.mappers.remove(&handle.ino);
            }
        }
        Some(handle)
    }

    /// Remembers an inode that is gone, if the kernel knows it.
    pub(in crate::fs) fn haunt(&self, ino: InodeNo, inode: Inode) {
        let mut tables = self.tables();
        if tables.known.contains_key(&ino) {
            tables.ghosts.insert(ino, inode);
        }
    }

    /// An inode that is gone.
    pub(in crate::fs) fn ghost(&self, ino: InodeNo) -> Option<Inode> {
        self.tables().ghosts.get(&ino).cloned()
    }

    /// The kernel is told of this inode once more.
    pub(in crate::fs) fn meet(&self, ino: InodeNo) {
        let mut tables = self.tables();
        let count = tables.known.entry(ino).or_default();
        *count = count.saturating_add(1);
    }

    /// Takes an [`Open::meet`] back: the kernel was not told after all.
    pub(in crate::fs) fn unmeet(&self, ino: InodeNo) {
        let mut tables = self.tables();
        if tables.lose(ino, 1) {
            tables.ghosts.remove(&ino);
        }
    }

    /// The kernel forgets so much of what it was told of this inode; true when it is the first that
    /// [`Open::forgotten`] gives.
    pub(in crate::fs) fn forget(&self, ino: InodeNo, lookups: u64) -> bool {
        let mut tables = self.tables();
        if !tables.lose(ino, lookups) {
            return false;
        }
        tables.ghosts.remove(&ino);
        let was_kept = tables.kept.remove(&ino);
        if !was_kept || tables.opens.contains_key(&ino) || !tables.orphans.remove(&ino) {
            return false;
        }
        tables.forgotten.push(ino);
        tables.forgotten.len() == 1
    }

    /// The kernel knows no inode any more.
    pub(in crate::fs) fn forget_all(&self) {
        let mut tables = self.tables();
        tables.known.clear();
        tables.ghosts.clear();
        tables.kept.clear();
    }

    /// Inodes without names that the kernel has forgotten since the last call, or whose removal was refused, and
    /// nobody holds.
    pub(in crate::fs) fn forgotten(&self) -> Vec<InodeNo> {
        let mut tables = self.tables();
        let mut due = std::mem::take(&mut tables.refused);
        due.append(&mut tables.forgotten);
        due
    }

    /// The removal of these was refused: they are due again the next time.
    pub(in crate::fs) fn put_off(&self, inodes: &[InodeNo]) {
        self.tables().refused.extend_from_slice(inodes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inode_without_a_name_stays_until_the_kernel_forgets_all_that_it_was_told() {
        let open = Open::default();
        let ino = InodeNo(7);
        assert!(
            !open.orphan(ino, Unnamed::Stays),
            "the kernel does not know it"
        );
        // Told, and told again before what it forgot of the first time is read.
        open.meet(ino);
        open.meet(ino);
        assert!(open.orphan(ino, Unnamed::Stays));
        assert!(!open.forget(ino, 1));
        assert!(open.orphan(ino, Unnamed::Goes), "the kernel knows it still");
        // An answer that was not sent counts for nothing.
        open.meet(ino);
        open.unmeet(ino);
        assert!(open.forget(ino, 1));
        assert_eq!(open.forgotten(), [ino]);
        assert!(!open.orphan(ino, Unnamed::Stays));
        assert!(open.tables().known.is_empty());
    }

    #[test]
    fn what_the_kernel_was_told_most_often_is_never_forgotten_too_early() {
        let open = Open::default();
        let ino = InodeNo(7);
        open.meet(ino);
        open.tables().known.insert(ino, u32::MAX);
        open.meet(ino);
        assert!(open.orphan(ino, Unnamed::Stays));
        assert!(!open.forget(ino, 7));
        assert!(open.forget(ino, u64::MAX));
    }
}
