//! Paths: what people call inodes, all names of those that something is wrong with, and one of those that are looked for.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::ops::Bound;
use std::sync::PoisonError;

use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::Look;
use crate::id::InodeNo;
use crate::index::dirent::Dirent;
use crate::index::key;

/// Deepest directory that is followed upwards: no path is longer, so a loop in a damaged index ends.
const DEPTH_MAX: usize = 4096;

impl Drive {
    /// All paths of these inodes, from the top directory on, with a leading slash. One look at all names.
    pub(in crate::drive) fn paths_of(
        &self,
        inodes: &BTreeSet<InodeNo>,
    ) -> Result<BTreeMap<InodeNo, Vec<String>>, Error> {
        let mut paths: BTreeMap<InodeNo, Vec<String>> = BTreeMap::new();
        if inodes.is_empty() {
            return Ok(paths);
        }
        if inodes.contains(&InodeNo::ROOT) {
            paths.insert(InodeNo::ROOT, vec![String::from("/")]);
        }
        let mut directories = HashMap::new();
        let (from, to) = key::all(b'D');
        for row in self
            .index
            .scan(Bound::Included(&from), Bound::Excluded(&to))
        {
            let (key, value) = row?;
            let ino = Dirent::decode(&value)?.ino;
            if !inodes.contains(&ino) {
                continue;
            }
            let parent = key::inode_of(&key).ok_or(Error::Malformed)?;
            let mut path = self.directory_path(parent, &mut directories)?;
            path.push(b'/');
            path.extend_from_slice(key.get(9..).unwrap_or_default());
            let path = String::from_utf8_lossy(&path).into_owned();
            paths.entry(ino).or_default().push(path);
        }
        Ok(paths)
    }

    /// One path of each of these inodes that has a name, from the top directory on, with a leading slash. An inode is
    /// looked for in the directory that it was made in; only what is not there is looked for among all names.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn find_paths(
        &self,
        inodes: &BTreeSet<InodeNo>,
    ) -> Result<BTreeMap<InodeNo, Vec<u8>>, Error> {
        let (mut wanted, mut homes) = (BTreeSet::new(), BTreeSet::new());
        for ino in inodes {
            let inode = self.view().inode(*ino)?;
            if let Some(inode) = inode.filter(|inode| inode.nlink > 0) {
                wanted.insert(*ino);
                homes.insert(inode.parent);
            }
        }
        let mut found = BTreeMap::new();
        let ranges = homes.into_iter().map(|home| key::of(b'D', home));
        for range in ranges.chain([key::all(b'D')]) {
            self.find_between(range, &mut wanted, &mut found)?;
        }
        let mut directories = HashMap::new();
        let path = |(ino, (parent, name)): (InodeNo, (InodeNo, Vec<u8>))| {
            let directory = self.directory_path(parent, &mut directories)?;
            Ok((ino, [&directory[..], b"/", &name].concat()))
        };
        found.into_iter().map(path).collect()
    }

    /// Looks for inodes among the names between two keys, and takes those that are found out of the wanted ones.
    fn find_between(
        &self,
        (from, to): (Vec<u8>, Vec<u8>),
        wanted: &mut BTreeSet<InodeNo>,
        found: &mut BTreeMap<InodeNo, (InodeNo, Vec<u8>)>,
    ) -> Result<(), Error> {
        if wanted.is_empty() {
            return Ok(());
        }
        let rows = self
            .index
            .scan(Bound::Included(&from), Bound::Excluded(&to));
        for row in rows {
            let (key, value) = row?;
            let ino = Dirent::decode(&value)?.ino;
            if wanted.remove(&ino) {
                let parent = key::inode_of(&key).ok_or(Error::Malformed)?;
                found.insert(ino, (parent, key.get(9..).unwrap_or_default().to_vec()));
            }
            if wanted.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// The files that could not be read back, each with its path and why. All names are looked at only when
    /// one of the files is new among them or was moved: it is asked for often.
    pub(in crate::drive) fn damaged_by_path(&self) -> Vec<(u64, String)> {
        let damaged = self.damaged();
        let told = self.losses.files().clone();
        let mut paths = self
            .damaged_paths
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        paths.retain(|ino, _| damaged.contains_key(ino));
        let is_known = |ino: &InodeNo| match paths.get(ino) {
            Some(Some(path)) => self.leads_to(path, *ino),
            Some(None) => true,
            None => told.contains_key(ino),
        };
        let missing: BTreeSet<InodeNo> = damaged
            .keys()
            .filter(|ino| !is_known(ino))
            .copied()
            .collect();
        match self.paths_of(&missing) {
            Ok(mut found) => {
                let first = |mut all: Vec<String>| (!all.is_empty()).then(|| all.swap_remove(0));
                paths.extend(
                    missing
                        .iter()
                        .map(|ino| (*ino, found.remove(ino).and_then(first))),
                );
            }
            Err(error) => log::warn!("the paths of damaged files are not known: {error}"),
        }
        let mut named: Vec<(u64, String)> = damaged
            .into_iter()
            .map(
                |(ino, what)| match (told.contains_key(&ino), paths.get(&ino)) {
                    (true, _) => (ino.0, what),
                    (false, Some(Some(path))) => {
                        (ino.0, format!("{}: {what}", path.trim_start_matches('/')))
                    }
                    (false, _) => (ino.0, format!("inode {ino}, which has no name: {what}")),
                },
            )
            .collect();
        named.sort_unstable();
        named
    }

    /// Does a path still lead to this inode? One that is not text as it is shown cannot be followed, and counts.
    fn leads_to(&self, path: &str, ino: InodeNo) -> bool {
        let view = self.view();
        let mut at = Some(InodeNo::ROOT);
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let entry = at.and_then(|at| view.entry(at, name.as_bytes()).ok().flatten());
            at = entry.map(|entry| entry.ino);
        }
        at == Some(ino) || path.contains(char::REPLACEMENT_CHARACTER)
    }

    /// The path of a directory, with a slash at its beginning and none at its end; nothing for the top.
    /// What is found on the way is kept in `known`, which begins with the top or empty.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn directory_path(
        &self,
        directory: InodeNo,
        known: &mut HashMap<InodeNo, Vec<u8>>,
    ) -> Result<Vec<u8>, Error> {
        known.entry(InodeNo::ROOT).or_default();
        let (mut upwards, mut at) = (Vec::new(), directory);
        let mut path = loop {
            if let Some(path) = known.get(&at) {
                break path.clone();
            }
            let Some(inode) = self.view().inode(at)?.filter(|_| upwards.len() < DEPTH_MAX) else {
                break b"/?".to_vec();
            };
            upwards.push((at, self.name_in(inode.parent, at)?));
            at = inode.parent;
        };
        for (ino, name) in upwards.into_iter().rev() {
            path.push(b'/');
            path.extend_from_slice(&name);
            known.insert(ino, path.clone());
        }
        Ok(path)
    }

    /// What an inode is called in a directory.
    fn name_in(&self, parent: InodeNo, ino: InodeNo) -> Result<Vec<u8>, Error> {
        let (from, to) = key::of(b'D', parent);
        for row in self
            .index
            .scan(Bound::Included(&from), Bound::Excluded(&to))
        {
            let (key, value) = row?;
            if Dirent::decode(&value)?.ino == ino {
                return Ok(key.get(9..).unwrap_or_default().to_vec());
            }
        }
        Ok(b"?".to_vec())
    }
}
