//! One operation: how it is done to a mount, what it does to the model, what may be left of it when it did not return.

use std::os::unix::fs::FileExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use super::sys;
use super::tree::Body;
use super::tree::Node;
use super::tree::Stamp;
use super::tree::Tree;

/// The kernel writes this much at once.
pub(crate) const PAGE: usize = 4096;

/// Everything but `Observe`, `Read` and the syncs changes something by one system call.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Create(String, u32),
    Write(String, u64, Arc<Vec<u8>>),
    /// Through a handle that syncs each write.
    WriteSynced(String, u64, Arc<Vec<u8>>),
    Append(String, Arc<Vec<u8>>),
    /// Whole pages of a shared mapping, then `msync`.
    Map(String, Vec<(usize, Arc<Vec<u8>>)>),
    Copy {
        from: String,
        at: u64,
        to: String,
        to_at: u64,
        len: u64,
    },
    Truncate(String, u64),
    /// Mode, offset, length.
    Allocate(String, i32, u64, u64),
    Rename(String, String, u32),
    Link(String, String),
    Unlink(String),
    Symlink(String, String),
    Fifo(String, u32),
    Mkdir(String, u32),
    Rmdir(String),
    Chmod(String, u32),
    Chown(String, (u32, u32)),
    Times(String, [Stamp; 2]),
    SetXattr(String, String, Arc<Vec<u8>>),
    RemoveXattr(String, String),
    Observe(String),
    Read(String),
    /// Of a file or a directory.
    Fsync(String),
}

/// What an operation found out.
#[derive(Debug)]
pub(crate) enum Seen {
    Nothing,
    Times([Stamp; 2]),
    Content(Vec<u8>),
}

impl Op {
    /// Is everything that returned before it durable when it returns?
    pub(crate) fn is_sync(&self) -> bool {
        matches!(self, Op::Fsync(_) | Op::WriteSynced(..))
    }

    /// Does it to the mount.
    pub(crate) fn run(&self, root: &Path) -> Result<Seen, i32> {
        let at = |path: &str| root.join(path);
        let open = |path: &str, flags| sys::open(at(path), flags, 0);
        let errno = |error: std::io::Error| error.raw_os_error().unwrap_or(-1);
        match self {
            Op::Create(path, mode) => {
                let flags = libc::O_CREAT | libc::O_EXCL | libc::O_RDWR;
                sys::open(at(path), flags, *mode).map(drop)?;
            }
            Op::Write(path, offset, bytes) => {
                let file = open(path, libc::O_RDWR)?;
                file.write_all_at(bytes, *offset).map_err(errno)?;
            }
            Op::WriteSynced(path, offset, bytes) => {
                let file = open(path, libc::O_RDWR | libc::O_SYNC)?;
                file.write_all_at(bytes, *offset).map_err(errno)?;
            }
            Op::Append(path, bytes) => {
                use std::io::Write;
                let mut file = open(path, libc::O_WRONLY | libc::O_APPEND)?;
                file.write_all(bytes).map_err(errno)?;
            }
            Op::Map(path, pages) => map(&open(path, libc::O_RDWR)?, pages)?,
            Op::Copy {
                from,
                at,
                to,
                to_at,
                len,
            } => copy(
                (&open(from, libc::O_RDONLY)?, *at),
                (&open(to, libc::O_RDWR)?, *to_at),
                *len,
            )?,
            Op::Truncate(path, size) => {
                sys::truncate(at(path), i64::try_from(*size).expect("small")).map(drop)?;
            }
            Op::Allocate(path, mode, offset, len) => {
                sys::fallocate(&open(path, libc::O_RDWR)?, *mode, *offset, *len).map(drop)?;
            }
            Op::Rename(from, to, flags) => sys::rename2(at(from), at(to), *flags).map(drop)?,
            Op::Link(from, to) => std::fs::hard_link(at(from), at(to)).map_err(errno)?,
            Op::Unlink(path) => std::fs::remove_file(at(path)).map_err(errno)?,
            Op::Symlink(target, path) => {
                std::os::unix::fs::symlink(target, at(path)).map_err(errno)?;
            }
            Op::Fifo(path, mode) => sys::mknod(at(path), libc::S_IFIFO | mode, 0).map(drop)?,
            Op::Mkdir(path, mode) => {
                use std::os::unix::fs::DirBuilderExt;
                let mut builder = std::fs::DirBuilder::new();
                builder.mode(*mode).create(at(path)).map_err(errno)?;
            }
            Op::Rmdir(path) => std::fs::remove_dir(at(path)).map_err(errno)?,
            Op::Chmod(path, mode) => sys::chmod(at(path), *mode).map(drop)?,
            Op::Chown(path, (uid, gid)) => sys::chown(at(path), *uid, *gid).map(drop)?,
            Op::Times(path, times) => {
                sys::utimens(at(path), *times, libc::AT_SYMLINK_NOFOLLOW).map(drop)?;
            }
            Op::SetXattr(path, name, value) => {
                sys::set_xattr(at(path), name, value, 0).map(drop)?
            }
            Op::RemoveXattr(path, name) => sys::remove_xattr(at(path), name).map(drop)?,
            Op::Observe(path) => {
                let meta = std::fs::symlink_metadata(at(path)).map_err(errno)?;
                let atime = (meta.atime(), meta.atime_nsec());
                return Ok(Seen::Times([atime, (meta.mtime(), meta.mtime_nsec())]));
            }
            Op::Read(path) => return std::fs::read(at(path)).map(Seen::Content).map_err(errno),
            Op::Fsync(path) => open(path, libc::O_RDONLY)?.sync_all().map_err(errno)?,
        }
        Ok(Seen::Nothing)
    }

    /// Does it to the model; an errno is what the mount must answer too.
    pub(crate) fn apply(&self, tree: &mut Tree) -> Result<(), i32> {
        match self {
            Op::Create(path, mode) => {
                tree.make(path, Node::new(file(), *mode));
            }
            Op::Write(path, at, bytes) | Op::WriteSynced(path, at, bytes) => {
                put(tree.content_mut(path), *at, bytes)
            }
            Op::Append(path, bytes) => tree.content_mut(path).extend_from_slice(bytes),
            Op::Map(path, pages) => {
                for (page, bytes) in pages {
                    put(tree.content_mut(path), (page * PAGE) as u64, bytes);
                }
            }
            Op::Copy {
                from,
                at,
                to,
                to_at,
                len,
            } => {
                let bytes = tree.content(from)[range(*at, *len)].to_vec();
                put(tree.content_mut(to), *to_at, &bytes);
            }
            Op::Truncate(path, size) => tree
                .content_mut(path)
                .resize(usize::try_from(*size).expect("small"), 0),
            Op::Allocate(path, mode, at, len) => allocate(tree.content_mut(path), *mode, *at, *len),
            Op::Rename(from, to, flags) => rename(tree, from, to, *flags)?,
            Op::Link(from, to) => tree.attach(to, tree.at(from)),
            Op::Unlink(path) => tree.remove(path),
            Op::Symlink(target, path) => {
                tree.make(path, Node::new(Body::Link(target.clone()), 0o777));
            }
            Op::Fifo(path, mode) => {
                tree.make(path, Node::new(Body::Fifo, *mode));
            }
            Op::Mkdir(path, mode) => {
                tree.make(path, Node::new(Body::Dir(Default::default()), *mode));
            }
            Op::Rmdir(path) if !tree.is_empty_dir(tree.at(path)) => return Err(libc::ENOTEMPTY),
            Op::Rmdir(path) => tree.remove(path),
            Op::Chmod(path, mode) => tree.node_mut(tree.at(path)).mode = *mode,
            Op::Chown(path, owner) => tree.node_mut(tree.at(path)).owner = *owner,
            Op::Times(path, [atime, mtime]) => {
                let node = tree.node_mut(tree.at(path));
                (node.atime, node.mtime) = (Some(*atime), Some(*mtime));
            }
            Op::SetXattr(path, name, value) => {
                let xattrs = &mut tree.node_mut(tree.at(path)).xattrs;
                xattrs.insert(name.clone(), value.clone());
            }
            Op::RemoveXattr(path, name) => {
                let xattrs = &mut tree.node_mut(tree.at(path)).xattrs;
                xattrs.remove(name).map(drop).ok_or(libc::ENODATA)?;
            }
            Op::Observe(_) | Op::Read(_) | Op::Fsync(_) => {}
        }
        Ok(())
    }

    /// Takes over what it found out; or says how that differs from the model.
    pub(crate) fn learn(&self, tree: &mut Tree, seen: &Seen) -> Result<(), String> {
        match (self, seen) {
            (Op::Observe(path), Seen::Times([atime, mtime])) => {
                let node = tree.node_mut(tree.at(path));
                for (known, is) in [(&mut node.atime, atime), (&mut node.mtime, mtime)] {
                    if known.get_or_insert(*is) != is {
                        return Err(format!("{path}: a time is {is:?} and was {known:?}"));
                    }
                }
            }
            (Op::Read(path), Seen::Content(content)) if content != &**tree.content(path) => {
                return Err(format!("{path} reads otherwise than it was written"));
            }
            _ => {}
        }
        Ok(())
    }

    /// The states that may be found if it did not return and its effect may be there in part.
    ///
    /// A write longer than the kernel's request may be there up to any page; of a mapping, any pages
    /// may; everything else is there wholly or not at all.
    pub(crate) fn partly(&self, before: &Tree, found: &Tree) -> Option<Tree> {
        let mut tree = before.clone();
        let at_path = |path: &String| match &found.node(found.find(path)?).body {
            Body::File(content) => Some(Arc::clone(content)),
            _ => None,
        };
        match self {
            Op::Write(path, at, bytes) | Op::WriteSynced(path, at, bytes) => {
                let is = at_path(path)?;
                let len = matching(&is, *at, bytes);
                put(tree.content_mut(path), *at, &bytes[..len]);
            }
            Op::Append(path, bytes) => {
                let is = at_path(path)?;
                let at = tree.content(path).len() as u64;
                let len = matching(&is, at, bytes);
                put(tree.content_mut(path), at, &bytes[..len]);
            }
            Op::Map(path, pages) => {
                let is = at_path(path)?;
                for (page, bytes) in pages {
                    let range = range((page * PAGE) as u64, bytes.len() as u64);
                    if is.get(range) == Some(&bytes[..]) {
                        put(tree.content_mut(path), (page * PAGE) as u64, bytes);
                    }
                }
                tree.node_mut(tree.at(path)).mtime = None;
            }
            _ => self.apply(&mut tree).ok()?,
        }
        Some(tree)
    }
}

fn file() -> Body {
    Body::File(Arc::default())
}

fn range(at: u64, len: u64) -> std::ops::Range<usize> {
    let at = usize::try_from(at).expect("small");
    at..at + usize::try_from(len).expect("small")
}

fn put(content: &mut Vec<u8>, at: u64, bytes: &[u8]) {
    let range = range(at, bytes.len() as u64);
    if bytes.is_empty() {
        return;
    }
    content.resize(content.len().max(range.end), 0);
    content[range].copy_from_slice(bytes);
}

/// How much of `bytes` is in the content at this place, up to a border of pages or wholly.
fn matching(content: &[u8], at: u64, bytes: &[u8]) -> usize {
    let at = usize::try_from(at).expect("small");
    let there = content.get(at..).unwrap_or_default();
    let same = there.iter().zip(bytes).take_while(|(a, b)| a == b).count();
    match same == bytes.len() {
        true => same,
        false => ((at + same) / PAGE * PAGE).saturating_sub(at),
    }
}

fn allocate(content: &mut Vec<u8>, mode: i32, at: u64, len: u64) {
    let range = range(at, len);
    if mode & (libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_ZERO_RANGE) != 0 {
        let end = content.len();
        content[range.start.min(end)..range.end.min(end)].fill(0);
    }
    if mode & libc::FALLOC_FL_KEEP_SIZE == 0 {
        content.resize(content.len().max(range.end), 0);
    }
}

fn rename(tree: &mut Tree, from: &str, to: &str, flags: u32) -> Result<(), i32> {
    let (id, target) = (tree.at(from), tree.find(to));
    match target {
        Some(_) if flags == libc::RENAME_NOREPLACE => return Err(libc::EEXIST),
        Some(target) if target == id => return Ok(()),
        Some(target) if flags == libc::RENAME_EXCHANGE => {
            tree.detach(from);
            tree.detach(to);
            tree.attach(from, target);
            tree.attach(to, id);
            return Ok(());
        }
        Some(target) if tree.is_dir(target) && !tree.is_empty_dir(target) => {
            return Err(libc::ENOTEMPTY);
        }
        Some(_) => tree.remove(to),
        None if flags == libc::RENAME_EXCHANGE => return Err(libc::ENOENT),
        None => {}
    }
    tree.detach(from);
    tree.attach(to, id);
    Ok(())
}

fn map(file: &std::fs::File, pages: &[(usize, Arc<Vec<u8>>)]) -> Result<(), i32> {
    let end = pages.iter().map(|(page, bytes)| page * PAGE + bytes.len());
    let mut map = sys::Map::new(file, end.max().unwrap_or(PAGE));
    for (page, bytes) in pages {
        // Not by the mapping itself: a mount that dies under it would be a SIGBUS.
        map.fill(page * PAGE, bytes)?;
    }
    map.sync().map(drop)
}

fn copy(
    (from, mut at): (&std::fs::File, u64),
    (to, mut to_at): (&std::fs::File, u64),
    mut len: u64,
) -> Result<(), i32> {
    while len > 0 {
        let off = |at| i64::try_from(at).expect("small");
        let most = usize::try_from(len).expect("small");
        let done = sys::copy_range(from, off(at), to, off(to_at), most)?;
        let done = u64::try_from(done).expect("positive");
        if done == 0 {
            return Err(-2);
        }
        (at, to_at, len) = (at + done, to_at + done, len - done);
    }
    Ok(())
}
