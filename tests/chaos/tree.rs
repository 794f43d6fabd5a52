//! What ought to be in a mount, and what is: a tree of names and inodes, and how two of them differ.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use crate::chaos::sys;

pub(crate) type Id = u64;

/// The directory that all names of a tree are in: the root of the mount.
pub(crate) const TOP: Id = 0;

/// Seconds and nanoseconds.
pub(crate) type Stamp = (i64, i64);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    File(Arc<Vec<u8>>),
    Dir(BTreeMap<String, Id>),
    Link(String),
    Fifo,
}

impl Body {
    fn word(&self) -> &'static str {
        match self {
            Body::File(_) => "a file",
            Body::Dir(_) => "a directory",
            Body::Link(_) => "a link",
            Body::Fifo => "a fifo",
        }
    }
}

/// An inode. A time that is not known may be any.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) body: Body,
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) mtime: Option<Stamp>,
    pub(crate) atime: Option<Stamp>,
    pub(crate) xattrs: BTreeMap<String, Arc<Vec<u8>>>,
}

impl Node {
    pub(crate) fn new(body: Body, mode: u32) -> Node {
        Node {
            body,
            mode,
            owner: (0, 0),
            mtime: None,
            atime: None,
            xattrs: BTreeMap::new(),
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Tree {
    nodes: BTreeMap<Id, Arc<Node>>,
    next: Id,
}

impl Default for Tree {
    fn default() -> Tree {
        let top = Node::new(Body::Dir(BTreeMap::new()), 0o755);
        Tree {
            nodes: BTreeMap::from([(TOP, Arc::new(top))]),
            next: 1,
        }
    }
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

impl Tree {
    pub(crate) fn node(&self, id: Id) -> &Node {
        &self.nodes[&id]
    }

    pub(crate) fn node_mut(&mut self, id: Id) -> &mut Node {
        Arc::make_mut(self.nodes.get_mut(&id).expect("an inode of the tree"))
    }

    fn names(&self, id: Id) -> &BTreeMap<String, Id> {
        match &self.node(id).body {
            Body::Dir(names) => names,
            other => panic!("{} has no names", other.word()),
        }
    }

    /// Of a directory that is changed now.
    fn names_mut(&mut self, id: Id) -> &mut BTreeMap<String, Id> {
        let node = self.node_mut(id);
        node.mtime = None;
        match &mut node.body {
            Body::Dir(names) => names,
            other => panic!("{} has no names", other.word()),
        }
    }

    pub(crate) fn find(&self, path: &str) -> Option<Id> {
        let mut at = TOP;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            match &self.node(at).body {
                Body::Dir(names) => at = *names.get(name)?,
                _ => return None,
            }
        }
        Some(at)
    }

    pub(crate) fn at(&self, path: &str) -> Id {
        self.find(path)
            .unwrap_or_else(|| panic!("no {path} in the model"))
    }

    pub(crate) fn content(&self, path: &str) -> &Arc<Vec<u8>> {
        match &self.node(self.at(path)).body {
            Body::File(content) => content,
            other => panic!("{path} is {}", other.word()),
        }
    }

    /// The content of a file that is changed now.
    pub(crate) fn content_mut(&mut self, path: &str) -> &mut Vec<u8> {
        let node = self.node_mut(self.at(path));
        node.mtime = None;
        match &mut node.body {
            Body::File(content) => Arc::make_mut(content),
            other => panic!("{path} is {}", other.word()),
        }
    }

    pub(crate) fn make(&mut self, path: &str, node: Node) -> Id {
        let id = self.next;
        self.next += 1;
        self.nodes.insert(id, Arc::new(node));
        self.attach(path, id);
        id
    }

    pub(crate) fn attach(&mut self, path: &str, id: Id) {
        let (parent, name) = split(path);
        let parent = self.at(parent);
        self.names_mut(parent).insert(name.to_owned(), id);
    }

    pub(crate) fn detach(&mut self, path: &str) -> Id {
        let (parent, name) = split(path);
        let parent = self.at(parent);
        self.names_mut(parent).remove(name).expect("a name")
    }

    /// Takes a name away, and with the last one the inode.
    pub(crate) fn remove(&mut self, path: &str) {
        let id = self.detach(path);
        if self.paths().iter().all(|(_, other)| *other != id) {
            self.nodes.remove(&id);
        }
    }

    pub(crate) fn is_empty_dir(&self, id: Id) -> bool {
        matches!(&self.node(id).body, Body::Dir(names) if names.is_empty())
    }

    /// Every path with its inode, parents first.
    pub(crate) fn paths(&self) -> Vec<(String, Id)> {
        let mut found = Vec::new();
        let mut dirs = vec![(String::new(), TOP)];
        while let Some((path, id)) = dirs.pop() {
            for (name, child) in self.names(id) {
                let path = match path.as_str() {
                    "" => name.clone(),
                    path => format!("{path}/{name}"),
                };
                if let Body::Dir(_) = self.node(*child).body {
                    dirs.push((path.clone(), *child));
                }
                found.push((path, *child));
            }
        }
        found
    }

    /// What is in a mount below the names that begin so; or what cannot be so in any filesystem.
    pub(crate) fn read(root: &Path, prefix: &str) -> Result<Tree, String> {
        let mut tree = Tree::default();
        let mut seen: HashMap<u64, (Id, u64, u64)> = HashMap::new();
        tree.read_dir(root, "", prefix, &mut seen)?;
        for (path, id) in tree.paths() {
            let told = seen.values().find(|(known, ..)| *known == id);
            let (_, links, names) = told.expect("every inode was seen");
            let subdirs = match &tree.node(id).body {
                Body::Dir(names) => {
                    let dirs = names.values().filter(|id| tree.is_dir(**id));
                    Some(dirs.count() as u64 + 2)
                }
                _ => None,
            };
            let expected = subdirs.unwrap_or(*names);
            if *links != expected {
                return Err(format!("{path} has {links} links, not {expected}"));
            }
        }
        Ok(tree)
    }

    pub(crate) fn is_dir(&self, id: Id) -> bool {
        matches!(self.node(id).body, Body::Dir(_))
    }

    fn read_dir(
        &mut self,
        root: &Path,
        dir: &str,
        prefix: &str,
        seen: &mut HashMap<u64, (Id, u64, u64)>,
    ) -> Result<(), String> {
        let fail = |path: &str, doing: &str, error: &dyn std::fmt::Display| {
            format!("{path}: {doing}: {error}")
        };
        let entries = std::fs::read_dir(root.join(dir)).map_err(|e| fail(dir, "list", &e))?;
        for entry in entries {
            let entry = entry.map_err(|error| fail(dir, "list", &error))?;
            let name = String::from_utf8_lossy(entry.file_name().as_bytes()).into_owned();
            if dir.is_empty() && !name.starts_with(prefix) {
                continue;
            }
            let path = match dir {
                "" => name,
                dir => format!("{dir}/{name}"),
            };
            let full = root.join(&path);
            let meta = std::fs::symlink_metadata(&full).map_err(|e| fail(&path, "stat", &e))?;
            if let Some((id, _, names)) = seen.get_mut(&meta.ino()) {
                *names += 1;
                let id = *id;
                self.attach(&path, id);
                continue;
            }
            let node = look(&full, &meta).map_err(|error| format!("{path}: {error}"))?;
            let id = self.make(&path, node);
            seen.insert(meta.ino(), (id, meta.nlink(), 1));
            if self.is_dir(id) {
                let (mtime, atime) = (self.node(id).mtime, self.node(id).atime);
                self.read_dir(root, &path, prefix, seen)?;
                let node = self.node_mut(id);
                (node.mtime, node.atime) = (mtime, atime);
            }
        }
        Ok(())
    }

    /// The first thing in which a mount differs from what is expected of it.
    pub(crate) fn difference(&self, found: &Tree) -> Option<String> {
        let mut pairs: HashMap<Id, Id> = HashMap::new();
        let mut dirs = vec![(String::new(), TOP, TOP)];
        while let Some((path, ours, theirs)) = dirs.pop() {
            let (ours, theirs) = (self.names(ours), found.names(theirs));
            let extra = theirs.keys().find(|name| !ours.contains_key(*name));
            if let Some(name) = extra {
                return Some(format!("{path}/{name} is there and should not be"));
            }
            for (name, id) in ours {
                let path = format!("{path}/{name}");
                let Some(there) = theirs.get(name) else {
                    return Some(format!("{path} is gone"));
                };
                match pairs.insert(*id, *there) {
                    Some(before) if before != *there => {
                        return Some(format!("{path} is not the same file as its other names"));
                    }
                    Some(_) => continue,
                    None => {}
                }
                let (one, other) = (self.node(*id), found.node(*there));
                if let Some(difference) = one.difference(other) {
                    return Some(format!("{path}: {difference}"));
                }
                if self.is_dir(*id) {
                    dirs.push((path, *id, *there));
                }
            }
        }
        let all: std::collections::HashSet<Id> = pairs.values().copied().collect();
        (all.len() != pairs.len()).then(|| String::from("two files have become one"))
    }
}

impl Node {
    fn difference(&self, found: &Node) -> Option<String> {
        if self.mode != found.mode || self.owner != found.owner {
            return Some(format!(
                "mode and owner {:o} {:?}, should be {:o} {:?}",
                found.mode, found.owner, self.mode, self.owner
            ));
        }
        for (what, expected, is) in [
            ("mtime", self.mtime, found.mtime),
            ("atime", self.atime, found.atime),
        ] {
            if expected.is_some() && expected != is {
                return Some(format!("{what} is {is:?}, should be {expected:?}"));
            }
        }
        if self.xattrs != found.xattrs {
            let names = |node: &Node| -> Vec<(String, usize)> {
                let all = node.xattrs.iter();
                all.map(|(name, value)| (name.clone(), value.len()))
                    .collect()
            };
            return Some(format!(
                "attributes {:?}, should be {:?}",
                names(found),
                names(self)
            ));
        }
        match (&self.body, &found.body) {
            (Body::File(expected), Body::File(is)) => contents(expected, is),
            (Body::Dir(_), Body::Dir(_)) | (Body::Fifo, Body::Fifo) => None,
            (Body::Link(expected), Body::Link(is)) if expected == is => None,
            (expected, is) => Some(format!("is {}, should be {}", is.word(), expected.word())),
        }
    }
}

fn contents(expected: &[u8], is: &[u8]) -> Option<String> {
    if expected == is {
        return None;
    }
    let same = expected.iter().zip(is).take_while(|(a, b)| a == b).count();
    let wrong = expected.iter().zip(is).filter(|(a, b)| a != b).count();
    Some(format!(
        "{} bytes, should be {}; differs from byte {same} on, in {wrong} bytes of those both have; there {:02x?}, should be {:02x?}",
        is.len(),
        expected.len(),
        &is[same.min(is.len())..(same + 8).min(is.len())],
        &expected[same.min(expected.len())..(same + 8).min(expected.len())],
    ))
}

/// One inode as it is in a mount, without what is in it if it is a directory.
fn look(path: &Path, meta: &std::fs::Metadata) -> Result<Node, String> {
    let kind = meta.file_type();
    let body = if kind.is_dir() {
        Body::Dir(BTreeMap::new())
    } else if kind.is_symlink() {
        let target = std::fs::read_link(path).map_err(|error| format!("readlink: {error}"))?;
        if target.as_os_str().len() as u64 != meta.len() {
            return Err(format!("its target has not {} bytes", meta.len()));
        }
        Body::Link(target.to_string_lossy().into_owned())
    } else if kind.is_fifo() {
        Body::Fifo
    } else {
        let content = std::fs::read(path).map_err(|error| format!("read: {error}"))?;
        if content.len() as u64 != meta.len() {
            return Err(format!("{} of {} bytes read", content.len(), meta.len()));
        }
        Body::File(Arc::new(content))
    };
    let mut xattrs = BTreeMap::new();
    for name in sys::list_xattr(path).map_err(|errno| format!("listxattr: {errno}"))? {
        let value = sys::get_xattr(path, &name).map_err(|errno| format!("{name}: {errno}"))?;
        xattrs.insert(name, Arc::new(value));
    }
    Ok(Node {
        body,
        mode: meta.mode() & 0o7777,
        owner: (meta.uid(), meta.gid()),
        mtime: Some((meta.mtime(), meta.mtime_nsec())),
        atime: Some((meta.atime(), meta.atime_nsec())),
        xattrs,
    })
}
