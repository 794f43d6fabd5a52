//! Paths: what people call the inodes that something is wrong with, all names of each.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::ops::Bound;

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
        let mut directories = HashMap::from([(InodeNo::ROOT, Vec::new())]);
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

    /// The path of a directory, without a slash at its end.
    fn directory_path(
        &self,
        directory: InodeNo,
        known: &mut HashMap<InodeNo, Vec<u8>>,
    ) -> Result<Vec<u8>, Error> {
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
