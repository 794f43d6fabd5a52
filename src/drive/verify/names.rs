//! Names: entries lead to inodes, inodes count their names, listings agree with both.

use std::collections::HashMap;
use std::collections::HashSet;
use std::ops::Bound;

use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::Look;
use crate::drive::View;
use crate::drive::task::Task;
use crate::drive::verify::Findings;
use crate::id::InodeNo;
use crate::index::dirent::Dirent;
use crate::index::dirent::Listed;
use crate::index::inode::Inode;
use crate::index::inode::Kind;
use crate::index::key;

/// Entries looked at between two looks at the watcher.
const STEP: u64 = 1024;

/// Inodes that are reported at most: what is wrong with one is often wrong with many.
const REPORTED_MAX: usize = 10_000;

/// What looked wrong when it went by, to be looked at again.
#[derive(Debug, Default)]
struct Suspects {
    /// Names that lead nowhere, or not where they should: directory and name.
    names: Vec<(InodeNo, Vec<u8>)>,
    /// Inodes whose counts are not what was seen.
    inodes: HashSet<InodeNo>,
    /// Places in listings that no name has: directory and cookie.
    places: Vec<(InodeNo, u64)>,
}

/// Names seen: of each inode, and in each directory.
#[derive(Debug, Default)]
struct Seen {
    links: HashMap<InodeNo, u32>,
    subdirectories: HashMap<InodeNo, u32>,
    entries: HashMap<InodeNo, u64>,
}

impl Drive {
    /// Looks at the whole tree of names.
    pub(in crate::drive) fn look_at_names(
        &self,
        task: &Task<'_>,
        findings: &mut Findings,
    ) -> Result<(), Error> {
        task.begin("looking at names", 0, 0)?;
        let (mut suspects, mut seen) = (Suspects::default(), Seen::default());
        self.names_by_entry(task, &mut suspects, &mut seen)?;
        self.names_by_place(task, &mut suspects)?;
        self.names_by_inode(task, &mut suspects, &seen, findings)?;
        self.confirm(suspects, findings)
    }

    fn rows(&self, tag: u8) -> impl Iterator<Item = Result<(Vec<u8>, Vec<u8>), Error>> {
        let (from, to) = key::all(tag);
        let scan = self
            .index
            .scan(Bound::Included(&from), Bound::Excluded(&to));
        scan.map(|row| Ok(row.map(|(key, value)| (key.to_vec(), value.to_vec()))?))
    }

    fn names_by_entry(
        &self,
        task: &Task<'_>,
        suspects: &mut Suspects,
        seen: &mut Seen,
    ) -> Result<(), Error> {
        for (number, row) in (1..).zip(self.rows(b'D')) {
            let (key, value) = row?;
            let parent = key::inode_of(&key).ok_or(Error::Malformed)?;
            let entry = Dirent::decode(&value)?;
            *seen.links.entry(entry.ino).or_default() += 1;
            *seen.entries.entry(parent).or_default() += 1;
            if entry.kind == Kind::Directory {
                *seen.subdirectories.entry(parent).or_default() += 1;
            }
            let name = key.get(9..).unwrap_or_default();
            if self.name_ill(parent, name, &entry)?.is_some() {
                suspects.names.push((parent, name.to_vec()));
            }
            if number % STEP == 0 {
                task.done(STEP, 0)?;
            }
        }
        Ok(())
    }

    /// What is wrong with a name, given its entry.
    fn name_ill(
        &self,
        parent: InodeNo,
        name: &[u8],
        entry: &Dirent,
    ) -> Result<Option<&'static str>, Error> {
        let get = |key: &[u8]| self.index.get(key);
        let Some(inode) = get(&key::inode(entry.ino))? else {
            return Ok(Some("leads to an inode that is not there"));
        };
        let inode = Inode::decode(&inode)?;
        if inode.kind != entry.kind {
            return Ok(Some("says another kind than its inode"));
        }
        if inode.kind == Kind::Directory && inode.parent != parent {
            return Ok(Some("leads to a directory that lies elsewhere"));
        }
        let listed = get(&key::listed(parent, entry.cookie))?;
        let listed = listed.map(|value| Listed::decode(&value)).transpose()?;
        let is_listed = listed.is_some_and(|listed| {
            listed.ino == entry.ino && listed.kind == entry.kind && listed.name == name
        });
        Ok((!is_listed).then_some("is not in its directory's listing"))
    }

    fn names_by_place(&self, task: &Task<'_>, suspects: &mut Suspects) -> Result<(), Error> {
        for (number, row) in (1..).zip(self.rows(b'O')) {
            let (key, value) = row?;
            let parent = key::inode_of(&key).ok_or(Error::Malformed)?;
            let cookie = key::extent_offset(&key).ok_or(Error::Malformed)?;
            if !self.has_name(parent, cookie, &Listed::decode(&value)?)? {
                suspects.places.push((parent, cookie));
            }
            if number % STEP == 0 {
                task.done(STEP, 0)?;
            }
        }
        Ok(())
    }

    fn has_name(&self, parent: InodeNo, cookie: u64, listed: &Listed) -> Result<bool, Error> {
        let entry = self.index.get(&key::dirent(parent, &listed.name))?;
        let entry = entry.map(|value| Dirent::decode(&value)).transpose()?;
        Ok(entry.is_some_and(|entry| entry.cookie == cookie && entry.ino == listed.ino))
    }

    fn names_by_inode(
        &self,
        task: &Task<'_>,
        suspects: &mut Suspects,
        seen: &Seen,
        findings: &mut Findings,
    ) -> Result<(), Error> {
        for (number, row) in (1..).zip(self.rows(b'I')) {
            let (key, value) = row?;
            let ino = key::inode_of(&key).ok_or(Error::Malformed)?;
            let inode = Inode::decode(&value)?;
            findings.counts.inodes += 1;
            let links = seen.links.get(&ino).copied().unwrap_or(0);
            let fits = match inode.kind {
                Kind::Directory => {
                    let entries = seen.entries.get(&ino).copied().unwrap_or(0);
                    let below = seen.subdirectories.get(&ino).copied().unwrap_or(0);
                    inode.size == entries
                        && (inode.nlink == 0 || inode.nlink == 2 + below)
                        && (ino == InodeNo::ROOT || links == u32::from(inode.nlink > 0))
                }
                _ => inode.nlink == links,
            };
            let is_orphan = inode.nlink == 0 && ino != InodeNo::ROOT;
            let is_marked = is_orphan && self.index.get(&key::orphan(ino))?.is_some();
            if !fits || is_orphan != is_marked {
                suspects.inodes.insert(ino);
            }
            if number % STEP == 0 {
                task.done(STEP, 0)?;
            }
        }
        Ok(())
    }

    /// Looks again at what looked wrong, while nothing changes.
    fn confirm(&self, suspects: Suspects, findings: &mut Findings) -> Result<(), Error> {
        let mut found: HashMap<&'static str, Vec<InodeNo>> = HashMap::new();
        let view = self.view();
        for (parent, name) in suspects.names {
            if let Some(entry) = view.entry(parent, &name)?
                && let Some(ill) = self.name_ill(parent, &name, &entry)?
            {
                found.entry(ill).or_default().push(parent);
            }
        }
        for (parent, cookie) in suspects.places {
            if let Some(value) = view.get(&key::listed(parent, cookie))?
                && !self.has_name(parent, cookie, &Listed::decode(&value)?)?
            {
                let what = "is in a listing but has no name";
                found.entry(what).or_default().push(parent);
            }
        }
        let counted = self.count_again(&view, &suspects.inodes)?;
        for ino in suspects.inodes {
            let Some(inode) = view.inode(ino)? else {
                continue;
            };
            let seen = counted.get(&ino).copied().unwrap_or_default();
            if let Some(what) = inode_ill(ino, &inode, seen) {
                found.entry(what).or_default().push(ino);
            }
            let is_marked = view.get(&key::orphan(ino))?.is_some();
            if inode.nlink == 0 && !is_marked {
                let what = "has no name and is not marked for removal";
                found.entry(what).or_default().push(ino);
            }
        }
        drop(view);
        let mut found: Vec<_> = found.into_iter().collect();
        found.sort_unstable();
        for (what, mut inodes) in found {
            inodes.sort_unstable();
            inodes.dedup();
            inodes.truncate(REPORTED_MAX);
            findings.index.push((what.to_owned(), inodes));
        }
        Ok(())
    }

    /// Names, entries and subdirectories of these inodes.
    fn count_again(
        &self,
        _still: &View<'_>,
        inodes: &HashSet<InodeNo>,
    ) -> Result<HashMap<InodeNo, [u64; 3]>, Error> {
        let mut counted: HashMap<InodeNo, [u64; 3]> = HashMap::new();
        if inodes.is_empty() {
            return Ok(counted);
        }
        for row in self.rows(b'D') {
            let (key, value) = row?;
            let parent = key::inode_of(&key).ok_or(Error::Malformed)?;
            let entry = Dirent::decode(&value)?;
            if inodes.contains(&entry.ino) {
                counted.entry(entry.ino).or_default()[0] += 1;
            }
            if inodes.contains(&parent) {
                let of = counted.entry(parent).or_default();
                of[1] += 1;
                of[2] += u64::from(entry.kind == Kind::Directory);
            }
        }
        Ok(counted)
    }
}

fn inode_ill(
    ino: InodeNo,
    inode: &Inode,
    [links, entries, below]: [u64; 3],
) -> Option<&'static str> {
    if inode.kind != Kind::Directory {
        return (u64::from(inode.nlink) != links).then_some("counts other names than it has");
    }
    if inode.size != entries {
        return Some("counts other entries than it has");
    }
    if inode.nlink != 0 && u64::from(inode.nlink) != 2 + below {
        return Some("counts other subdirectories than it has");
    }
    let expected = u64::from(inode.nlink > 0);
    (ino != InodeNo::ROOT && links != expected).then_some("counts other names than it has")
}
