//! A disk that keeps what was not synced in memory, and forgets it wholly or partly when the power goes.
//!
//! Durable is: content and size of a file by `fsync` or `fdatasync` of it; names by `fsync` of their
//! directory (or, as with ext4, by any `fsync`). What a cut leaves of the rest is decided for each block of
//! 4 KiB, each size and each change of names by itself: the durable one, the newest, one between, or two
//! halves of different ones. Never anything that was not written there.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::ffi::OsString;
use std::sync::Arc;

use crate::chaos::Dice;

pub(crate) const BLOCK: u64 = 4096;
const SECTOR: usize = 512;
pub(crate) const ROOT: u64 = 1;

type Block = Arc<Vec<u8>>;

/// Versions of a block between the durable one and the newest that are remembered.
const VERSIONS_MAX: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    File,
    Dir,
    Socket,
}

#[derive(Clone, Debug, Default)]
struct Data {
    size: u64,
    blocks: BTreeMap<u64, Block>,
}

#[derive(Debug)]
pub(crate) struct Inode {
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    live: Data,
    durable: Data,
    /// What each changed block was before; none is a hole.
    versions: BTreeMap<u64, Vec<Option<Block>>>,
    sizes: Vec<u64>,
    names: BTreeMap<OsString, u64>,
    durable_names: BTreeMap<OsString, u64>,
}

/// One change of names: directory, name, and what it leads to.
type Rename = Vec<(u64, OsString, Option<u64>)>;

/// What makes names durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    /// `fsync` of the directory alone.
    ByDirectory,
    /// Any `fsync`: there is one journal for all names.
    ByAny,
}

/// How much a cut forgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forget {
    /// All that was not synced.
    Everything,
    /// All that was written and not synced; but holes are there at once, as if they were in a journal.
    AllButHoles,
    /// For each file, block, size and name by itself.
    Some,
    /// Nothing: the disk had just written everything.
    Nothing,
}

#[derive(Debug)]
pub(crate) struct Disk {
    inodes: BTreeMap<u64, Inode>,
    log: Vec<Rename>,
    next: u64,
    durability: Names,
    pub(crate) syncs: u64,
}

impl Disk {
    pub(crate) fn new(durability: Names) -> Disk {
        let mut disk = Disk {
            inodes: BTreeMap::new(),
            log: Vec::new(),
            next: ROOT,
            durability,
            syncs: 0,
        };
        disk.make(Kind::Dir, 0o755);
        disk
    }

    fn make(&mut self, kind: Kind, mode: u32) -> u64 {
        let ino = self.next;
        self.next += 1;
        let inode = Inode {
            kind,
            mode,
            owner: (0, 0),
            live: Data::default(),
            durable: Data::default(),
            versions: BTreeMap::new(),
            sizes: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
        };
        self.inodes.insert(ino, inode);
        ino
    }

    pub(crate) fn inode(&mut self, ino: u64) -> Result<&mut Inode, i32> {
        self.inodes.get_mut(&ino).ok_or(libc::ESTALE)
    }

    pub(crate) fn lookup(&mut self, dir: u64, name: &OsStr) -> Result<u64, i32> {
        let found = self.inode(dir)?.names.get(name);
        found.copied().ok_or(libc::ENOENT)
    }

    pub(crate) fn create(
        &mut self,
        dir: u64,
        name: &OsStr,
        kind: Kind,
        mode: u32,
    ) -> Result<u64, i32> {
        if self.lookup(dir, name).is_ok() {
            return Err(libc::EEXIST);
        }
        let ino = self.make(kind, mode & 0o7777);
        self.change(vec![(dir, name.to_owned(), Some(ino))])?;
        Ok(ino)
    }

    pub(crate) fn remove(&mut self, dir: u64, name: &OsStr, kind: Kind) -> Result<(), i32> {
        let ino = self.lookup(dir, name)?;
        let inode = self.inode(ino)?;
        match (kind, inode.kind) {
            (Kind::Dir, Kind::Dir) if !inode.names.is_empty() => return Err(libc::ENOTEMPTY),
            (Kind::Dir, Kind::Dir) => {}
            (Kind::Dir, _) => return Err(libc::ENOTDIR),
            (_, Kind::Dir) => return Err(libc::EISDIR),
            _ => {}
        }
        self.change(vec![(dir, name.to_owned(), None)])
    }

    pub(crate) fn rename(
        &mut self,
        (dir, name): (u64, &OsStr),
        (to, new): (u64, &OsStr),
    ) -> Result<(), i32> {
        let ino = self.lookup(dir, name)?;
        if let Ok(target) = self.lookup(to, new)
            && !self.inode(target)?.names.is_empty()
        {
            return Err(libc::ENOTEMPTY);
        }
        self.change(vec![
            (to, new.to_owned(), Some(ino)),
            (dir, name.to_owned(), None),
        ])
    }

    fn change(&mut self, change: Rename) -> Result<(), i32> {
        for (dir, name, ino) in &change {
            set(&mut self.inode(*dir)?.names, name, *ino);
        }
        self.log.push(change);
        Ok(())
    }

    pub(crate) fn list(&mut self, dir: u64) -> Result<Vec<(u64, OsString, Kind)>, i32> {
        let names = self.inode(dir)?.names.clone();
        let mut found = Vec::new();
        for (name, ino) in names {
            found.push((ino, name, self.inode(ino)?.kind));
        }
        found.sort();
        Ok(found)
    }

    /// Makes an inode durable, and names as chosen.
    pub(crate) fn sync(&mut self, ino: u64) -> Result<(), i32> {
        self.syncs += 1;
        let inode = self.inode(ino)?;
        for block in std::mem::take(&mut inode.versions).into_keys() {
            match inode.live.blocks.get(&block) {
                Some(bytes) => inode.durable.blocks.insert(block, Arc::clone(bytes)),
                None => inode.durable.blocks.remove(&block),
            };
        }
        inode.durable.size = inode.live.size;
        inode.sizes.clear();
        let (by_any, inodes) = (self.durability == Names::ByAny, &mut self.inodes);
        self.log.retain(|change| {
            let is_meant = by_any || change.iter().any(|(dir, ..)| *dir == ino);
            for (dir, name, ino) in change.iter().filter(|_| is_meant) {
                if let Some(dir) = inodes.get_mut(dir) {
                    set(&mut dir.durable_names, name, *ino);
                }
            }
            !is_meant
        });
        Ok(())
    }

    /// The power goes and comes back.
    pub(crate) fn cut(&mut self, forget: Forget, dice: &mut Dice) {
        let changes = std::mem::take(&mut self.log);
        let in_order = dice.one_in(2);
        let kept = dice.below(changes.len() as u64 + 1);
        for (nth, change) in (0..).zip(changes) {
            let is_kept = match forget {
                Forget::Everything | Forget::AllButHoles => false,
                Forget::Nothing => true,
                Forget::Some if in_order => nth < kept,
                Forget::Some => dice.one_in(2),
            };
            // A name may be there twice after a rename, but not neither of them.
            let half = forget == Forget::Some && !in_order && dice.one_in(8);
            let parts = if half { 1 } else { change.len() };
            for (dir, name, ino) in change.iter().take(parts).filter(|_| is_kept) {
                if let Some(dir) = self.inodes.get_mut(dir) {
                    set(&mut dir.durable_names, name, *ino);
                }
            }
        }
        for inode in self.inodes.values_mut() {
            inode.cut(forget, dice);
        }
        self.drop_unreachable();
    }

    fn drop_unreachable(&mut self) {
        let mut reached = std::collections::BTreeSet::new();
        let mut todo = vec![ROOT];
        while let Some(ino) = todo.pop() {
            if reached.insert(ino)
                && let Some(inode) = self.inodes.get(&ino)
            {
                todo.extend(inode.names.values());
            }
        }
        self.inodes.retain(|ino, _| reached.contains(ino));
    }
}

fn set(names: &mut BTreeMap<OsString, u64>, name: &OsStr, ino: Option<u64>) {
    match ino {
        Some(ino) => names.insert(name.to_owned(), ino),
        None => names.remove(name),
    };
}

impl Inode {
    pub(crate) fn size(&self) -> u64 {
        self.live.size
    }

    pub(crate) fn links(&self) -> u32 {
        if self.kind == Kind::Dir { 2 } else { 1 }
    }

    pub(crate) fn disk_blocks(&self) -> u64 {
        self.live.blocks.len() as u64 * (BLOCK / 512)
    }

    /// Gives a block another content, and remembers the one before.
    fn put(&mut self, block: u64, bytes: Option<Block>) {
        let before = match bytes {
            Some(bytes) => self.live.blocks.insert(block, bytes),
            None => self.live.blocks.remove(&block),
        };
        let versions = self.versions.entry(block).or_default();
        versions.push(before);
        if versions.len() > VERSIONS_MAX {
            versions.remove(1);
        }
    }

    fn resize(&mut self, size: u64) {
        if size != self.live.size {
            self.sizes.push(self.live.size);
            self.live.size = size;
        }
    }

    /// Writes zeros or bytes, block by block; whole blocks of zeros become holes.
    fn change(&mut self, at: u64, len: u64, bytes: Option<&[u8]>) {
        let (mut from, end) = (at, at + len);
        while from < end {
            let (block, skip) = (from / BLOCK, usize::try_from(from % BLOCK).expect("small"));
            let to = end.min((block + 1) * BLOCK);
            let part = usize::try_from(to - from).expect("small");
            let old = self.live.blocks.get(&block);
            let new = match bytes {
                None if part as u64 == BLOCK => None,
                None if old.is_none() => None,
                _ => {
                    let mut new = old.map_or_else(|| vec![0; BLOCK as usize], |old| old.to_vec());
                    let target = &mut new[skip..skip + part];
                    match bytes {
                        None => target.fill(0),
                        Some(bytes) => {
                            let start = usize::try_from(from - at).expect("small");
                            target.copy_from_slice(&bytes[start..start + part]);
                        }
                    }
                    Some(Arc::new(new))
                }
            };
            if new.is_some() || old.is_some() {
                self.put(block, new);
            }
            from = to;
        }
    }

    pub(crate) fn write(&mut self, at: u64, bytes: &[u8]) {
        self.change(at, bytes.len() as u64, Some(bytes));
        self.resize(self.live.size.max(at + bytes.len() as u64));
    }

    pub(crate) fn truncate(&mut self, size: u64) {
        let end = self.live.size.next_multiple_of(BLOCK);
        if size < end {
            self.change(size, end - size, None);
        }
        self.resize(size);
    }

    pub(crate) fn allocate(&mut self, mode: i32, at: u64, len: u64) {
        let end = (at + len).min(self.live.size);
        if mode & (libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_ZERO_RANGE) != 0 && at < end {
            self.change(at, end - at, None);
        }
        if mode & libc::FALLOC_FL_KEEP_SIZE == 0 {
            self.resize(self.live.size.max(at + len));
        }
    }

    pub(crate) fn read(&self, at: u64, len: u64) -> Vec<u8> {
        let end = (at + len).min(self.live.size);
        let mut bytes = Vec::new();
        let mut from = at;
        while from < end {
            let (block, skip) = (from / BLOCK, usize::try_from(from % BLOCK).expect("small"));
            let to = end.min((block + 1) * BLOCK);
            let part = usize::try_from(to - from).expect("small");
            match self.live.blocks.get(&block) {
                Some(content) => bytes.extend_from_slice(&content[skip..skip + part]),
                None => bytes.resize(bytes.len() + part, 0),
            }
            from = to;
        }
        bytes
    }

    fn cut(&mut self, forget: Forget, dice: &mut Dice) {
        self.names.clone_from(&self.durable_names);
        let forget = match (forget, dice.below(4)) {
            (Forget::Some, 0) => Forget::Everything,
            (Forget::Some, 1) => Forget::Nothing,
            (chosen, _) => chosen,
        };
        let versions = std::mem::take(&mut self.versions);
        let mut sizes = std::mem::take(&mut self.sizes);
        sizes.extend([self.durable.size, self.live.size]);
        for (block, between) in versions {
            let newest = self.live.blocks.get(&block).cloned();
            let oldest = self.durable.blocks.get(&block).cloned();
            let kept = match (forget, dice.below(4)) {
                (Forget::AllButHoles, _) => newest.and(oldest),
                (Forget::Everything, _) | (Forget::Some, 0) => oldest,
                (Forget::Nothing, _) | (Forget::Some, 1) => newest,
                (Forget::Some, 2) => dice.pick(&between).cloned().unwrap_or(oldest),
                (Forget::Some, _) => torn(oldest, newest, dice),
            };
            match kept {
                Some(kept) => self.durable.blocks.insert(block, kept),
                None => self.durable.blocks.remove(&block),
            };
        }
        self.durable.size = match forget {
            Forget::Everything | Forget::AllButHoles => self.durable.size,
            Forget::Nothing => self.live.size,
            Forget::Some => *dice.pick(&sizes).expect("two at least"),
        };
        self.live = self.durable.clone();
        // What a size hides is no longer there.
        let (size, end) = (self.live.size, self.live.blocks.keys().next_back());
        let end = end.map_or(size, |last| ((last + 1) * BLOCK).max(size));
        self.change(size, end - size, None);
        self.durable = self.live.clone();
        self.versions.clear();
    }
}

/// Some sectors of the one, the others of the other.
fn torn(oldest: Option<Block>, newest: Option<Block>, dice: &mut Dice) -> Option<Block> {
    let zeros = || Arc::new(vec![0; BLOCK as usize]);
    let (mut bytes, newest) = (
        oldest.unwrap_or_else(zeros).to_vec(),
        newest.unwrap_or_else(zeros),
    );
    let border = SECTOR * usize::try_from(1 + dice.below(7)).expect("small");
    let range = if dice.one_in(2) {
        0..border
    } else {
        border..bytes.len()
    };
    bytes[range.clone()].copy_from_slice(&newest[range]);
    Some(Arc::new(bytes))
}
