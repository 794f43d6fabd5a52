//! What a world looks like: everything that can be seen without opening a file.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;

use crate::support::sys;

/// One entry; times are apart, as they differ between the worlds unless somebody set them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    mode: u32,
    owner: (u32, u32),
    links: u64,
    size: u64,
    device: u64,
    target: Option<PathBuf>,
    attributes: Vec<(String, Vec<u8>)>,
    /// The first path of the same inode: hard links show by it.
    same_as: PathBuf,
}

/// A time of the filesystem: seconds and nanoseconds.
type Moment = (i64, i64);

/// A world at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    entries: BTreeMap<PathBuf, Entry>,
    inodes: BTreeMap<PathBuf, u64>,
    times: BTreeMap<u64, [Moment; 2]>,
}

/// Times before this were set by hand: no clock of a test machine is that late.
const BY_HAND_BEFORE: i64 = 1_500_000_000;

impl Tree {
    /// Looks at everything below `root`, and at `root`.
    pub(crate) fn of(root: &Path) -> Tree {
        let mut tree = Tree::default();
        let mut first = BTreeMap::new();
        tree.look(root, Path::new(""), &mut first);
        tree
    }

    fn look(&mut self, root: &Path, path: &Path, first: &mut BTreeMap<u64, PathBuf>) {
        let whole = root.join(path);
        let meta = std::fs::symlink_metadata(&whole).expect("what is listed can be looked at");
        let kind = meta.file_type();
        let entry = Entry {
            mode: meta.mode(),
            owner: (meta.uid(), meta.gid()),
            links: meta.nlink(),
            size: if kind.is_dir() { 0 } else { meta.size() },
            device: if kind.is_char_device() {
                meta.rdev()
            } else {
                0
            },
            target: kind
                .is_symlink()
                .then(|| std::fs::read_link(&whole).expect("a link")),
            attributes: attributes(&whole),
            same_as: first
                .entry(meta.ino())
                .or_insert_with(|| path.to_owned())
                .clone(),
        };
        self.entries.insert(path.to_owned(), entry);
        self.inodes.insert(path.to_owned(), meta.ino());
        let times = [
            (meta.mtime(), meta.mtime_nsec()),
            (meta.ctime(), meta.ctime_nsec()),
        ];
        self.times.insert(meta.ino(), times);
        if kind.is_dir() {
            let list = std::fs::read_dir(&whole).expect("a directory");
            let mut names: Vec<_> = list
                .map(|entry| entry.expect("an entry").file_name())
                .collect();
            names.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
            for name in names {
                self.look(root, &path.join(name), first);
            }
        }
    }

    /// What must be alike: every entry, and those modification times that somebody set.
    pub(crate) fn shape(&self) -> BTreeMap<&Path, (&Entry, Option<Moment>)> {
        let by_hand = |path: &Path| {
            let [modified, _] = self.times[&self.inodes[path]];
            Some(modified).filter(|(seconds, _)| *seconds < BY_HAND_BEFORE)
        };
        self.entries
            .iter()
            .map(|(path, entry)| (path.as_path(), (entry, by_hand(path))))
            .collect()
    }

    /// The paths whose modification or change time is another than before, and which of the two.
    pub(crate) fn changed(&self, before: &Tree) -> Vec<(PathBuf, [bool; 2])> {
        let changes = self.inodes.iter().map(|(path, ino)| {
            let now = &self.times[ino];
            let then = before.times.get(ino);
            let is_new = |at: usize| then.is_none_or(|then| then[at] != now[at]);
            (path.clone(), [is_new(0), is_new(1)])
        });
        changes
            .filter(|(_, changed)| changed.contains(&true))
            .collect()
    }

    /// Every regular file.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let files = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.mode & libc::S_IFMT == libc::S_IFREG);
        files.map(|(path, _)| path.clone()).collect()
    }
}

fn attributes(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut names = sys::list_xattr(path).expect("the list of attributes");
    let spaces = ["user.", "trusted.", "system.posix_acl_"];
    names.retain(|name| spaces.iter().any(|space| name.starts_with(space)));
    names.sort();
    let value = |name: &String| sys::get_xattr(path, name).expect("a listed attribute");
    names
        .iter()
        .map(|name| (name.clone(), value(name)))
        .collect()
}
