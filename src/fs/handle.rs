//! What dies with the mount: open handles, how often each inode is open, and ghosts.

use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;

use crate::drive::ReadAhead;
use crate::id::InodeNo;
use crate::index::inode::Inode;

/// An open file.
pub(in crate::fs) struct Handle {
    /// What is open.
    pub(in crate::fs) ino: InodeNo,
    /// Read-ahead of this reader.
    pub(in crate::fs) ahead: ReadAhead,
    /// Was the time of access looked after already?
    pub(in crate::fs) touched: AtomicBool,
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
    /// Open inodes that have no names; a superset while a change is under way.
    orphans: HashSet<InodeNo>,
    /// Inodes that are gone from the drive while the kernel knows them: a removed working
    /// directory, a file held by `O_PATH`. They answer `stat` until the kernel forgets them.
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

    /// Takes a [`Open::hold`] back; true when that leaves an inode with neither handles nor names.
    pub(in crate::fs) fn let_go(&self, ino: InodeNo) -> bool {
        let mut tables = self.tables();
        match tables.opens.get_mut(&ino) {
            Some(count) if *count > 1 => {
                *count -= 1;
                false
            }
            Some(_) | None => {
                tables.opens.remove(&ino);
                tables.orphans.remove(&ino)
            }
        }
    }

    /// Has anybody this inode, which loses its last name, open? Then [`Open::let_go`] will tell.
    pub(in crate::fs) fn orphan(&self, ino: InodeNo) -> bool {
        let mut tables = self.tables();
        let is_open = tables.opens.contains_key(&ino);
        if is_open {
            tables.orphans.insert(ino);
        }
        is_open
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
        tables.handles.insert(number, Arc::new(handle));
        number
    }

    /// The handle of this number.
    pub(in crate::fs) fn get(&self, handle: u64) -> Option<Arc<Handle>> {
        self.tables().handles.get(&handle).cloned()
    }

    /// Takes a handle out; its inode stays held.
    pub(in crate::fs) fn remove(&self, handle: u64) -> Option<Arc<Handle>> {
        self.tables().handles.remove(&handle)
    }

    /// Remembers an inode that is gone.
    pub(in crate::fs) fn haunt(&self, ino: InodeNo, inode: Inode) {
        self.tables().ghosts.insert(ino, inode);
    }

    /// An inode that is gone.
    pub(in crate::fs) fn ghost(&self, ino: InodeNo) -> Option<Inode> {
        self.tables().ghosts.get(&ino).cloned()
    }

    /// The kernel does not know this inode any more.
    pub(in crate::fs) fn forget(&self, ino: InodeNo) {
        self.tables().ghosts.remove(&ino);
    }
}
