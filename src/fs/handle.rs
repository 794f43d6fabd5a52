//! What dies with the mount: open handles, how often each inode is open, and ghosts.

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
    /// Those of them that lost their last name through the kernel, which knows them still.
    kept: HashSet<InodeNo>,
    /// Those that the kernel has forgotten since, and nobody holds.
    forgotten: Vec<InodeNo>,
    /// Inodes that another face took from the drive while the kernel knows them. They answer `stat`
    /// until the kernel forgets them.
    ghosts: HashMap<InodeNo, Inode>,
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
        if unnamed == Unnamed::Stays {
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

    /// Remembers an inode that is gone.
    pub(in crate::fs) fn haunt(&self, ino: InodeNo, inode: Inode) {
        self.tables().ghosts.insert(ino, inode);
    }

    /// An inode that is gone.
    pub(in crate::fs) fn ghost(&self, ino: InodeNo) -> Option<Inode> {
        self.tables().ghosts.get(&ino).cloned()
    }

    /// The kernel does not know this inode any more; true when it is the first that [`Open::forgotten`] gives.
    pub(in crate::fs) fn forget(&self, ino: InodeNo) -> bool {
        let mut tables = self.tables();
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
        tables.ghosts.clear();
        tables.kept.clear();
    }

    /// Inodes without names that the kernel has forgotten since the last call, and nobody holds.
    pub(in crate::fs) fn forgotten(&self) -> Vec<InodeNo> {
        std::mem::take(&mut self.tables().forgotten)
    }
}
