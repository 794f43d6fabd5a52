//! A directory in which operations are done, and the files that are open in it.

use std::ffi::OsStr;
use std::fs::File;
use std::fs::Metadata;
use std::io::Read;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;

use crate::mapping::Mapping;
use crate::op::Op;
use crate::op::Place;
use crate::op::SLOTS;
use crate::op::Stamp;
use crate::op::Who;
use crate::support::sys;
use crate::support::sys::Answer;
use crate::support::sys::Map;
use crate::support::sys::code;

/// A world: where it is, and what is open and mapped in it.
pub(crate) struct World {
    root: PathBuf,
    slots: [Option<File>; SLOTS],
    mapping: Option<Mapping>,
}

/// What an operation answers: what it read, or an errno.
pub(crate) type Told = Answer<Vec<u8>>;

/// The names there are: short ones, one that is no text, the longest possible, and one longer than that.
fn name(number: usize) -> Vec<u8> {
    match number {
        0..4 => vec![b'a' + number as u8],
        4 => b"\xff\xfe n".to_vec(),
        5 => vec![b'x'; 255],
        _ => vec![b'y'; 256],
    }
}

fn noise(seed: u8, len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| (at as u8).wrapping_mul(31) ^ seed ^ (at >> 8) as u8)
        .collect()
}

/// Attributes of ordinary programs, and one that only root may have.
fn attribute(number: u8) -> String {
    match number {
        0..4 => format!("user.{number}"),
        _ => String::from("trusted.t"),
    }
}

fn no_value(answer: Answer<i64>) -> Told {
    answer.map(|_| Vec::new())
}

impl World {
    pub(crate) fn at(root: PathBuf) -> World {
        World {
            root,
            slots: [const { None }; SLOTS],
            mapping: None,
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// May a mapping hold something that is not in its file yet, whose time changes when it gets there?
    pub(crate) fn is_dirty(&self) -> bool {
        self.mapping.as_ref().is_some_and(Mapping::is_dirty)
    }

    pub(crate) fn close_all(&mut self) {
        self.mapping = None;
        self.slots = [const { None }; SLOTS];
    }

    fn path(&self, place: &Place) -> PathBuf {
        let mut path = self.root.clone();
        for number in place {
            path.push(OsStr::from_bytes(&name(*number)));
        }
        path
    }

    /// All bytes of a regular file, and `None` for everything else.
    pub(crate) fn content(&self, path: &Path) -> Option<Vec<u8>> {
        let path = self.root.join(path);
        let is_file = path.symlink_metadata().ok()?.is_file();
        is_file.then(|| std::fs::read(&path).expect("a file can be read"))
    }

    /// Does it.
    pub(crate) fn run(&mut self, op: &Op) -> Told {
        match op {
            Op::As(who, op) => self.run_as(*who, op),
            Op::Open(slot, place, flags) => {
                let file = sys::open(self.path(place), *flags | libc::O_NONBLOCK, 0o640)?;
                self.slots[*slot] = Some(file);
                Ok(Vec::new())
            }
            Op::Close(slot) => {
                self.slots[*slot] = None;
                Ok(Vec::new())
            }
            op => match self.on_mapping(op).or_else(|| self.on_names(op)) {
                Some(told) => told,
                None => self.on_files(op),
            },
        }
    }

    fn run_as(&mut self, who: Who, op: &Op) -> Told {
        if self.is_special(op) {
            return Ok(Vec::new());
        }
        let (id, groups): (_, &[u32]) = match who {
            Who::One => (1, &[2]),
            Who::Two => (2, &[]),
        };
        sys::in_thread_as(id, id, groups, || self.run(op))
    }

    /// Does it change the content of a file with a set-group-id bit but no group-execute? FUSE leaves that bit,
    /// other filesystems take it away (see the README).
    fn is_special(&self, op: &Op) -> bool {
        let meta = match op {
            Op::Write(slot, ..)
            | Op::MapWrite(slot, ..)
            | Op::SetLen(slot, _)
            | Op::Fallocate(slot, ..)
            | Op::CopyRange(_, _, slot, ..) => {
                let file = self.slots[*slot].as_ref();
                file.and_then(|file| file.metadata().ok())
            }
            Op::Truncate(place, _) | Op::Open(_, place, _) => self.path(place).metadata().ok(),
            _ => None,
        };
        meta.is_some_and(|meta| meta.is_file() && meta.mode() & 0o2010 == 0o2000)
    }

    fn on_mapping(&mut self, op: &Op) -> Option<Told> {
        let mapping = self.mapping.as_mut().ok_or(libc::EBADF);
        let told = match op {
            Op::Map(slot) => {
                self.mapping = None;
                let file = self.slots[*slot].as_ref().ok_or(libc::EBADF);
                let mapped = file.and_then(Mapping::of);
                mapped.map(|mapping| self.mapping = Some(mapping))
            }
            Op::MapStore(at, len, seed) => {
                mapping.and_then(|mapping| mapping.store(*at, &noise(*seed, *len)))
            }
            Op::MapLoad(at, len) => return Some(mapping.and_then(|map| map.load(*at, *len))),
            Op::MapSync => mapping.and_then(Mapping::sync),
            Op::Unmap => {
                self.mapping = None;
                Ok(())
            }
            // What gets into the file after that would change its time once more.
            Op::Utimens(..) if self.is_dirty() => {
                let synced = self.mapping.as_mut().map(Mapping::sync);
                return synced.and_then(Result::err).map(Err);
            }
            _ => return None,
        };
        Some(told.map(|()| Vec::new()))
    }

    fn on_names(&self, op: &Op) -> Option<Told> {
        let answer = match op {
            Op::Truncate(place, len) => sys::truncate(self.path(place), *len),
            Op::Mkdir(place, mode) => sys::mkdir(self.path(place), *mode),
            Op::Rmdir(place) => code(std::fs::remove_dir(self.path(place))).map(|()| 0),
            Op::Unlink(place) => sys::unlink(self.path(place)),
            Op::Rename(from, to, flags) => sys::rename2(self.path(from), self.path(to), *flags),
            Op::Link(from, to) => {
                code(std::fs::hard_link(self.path(from), self.path(to))).map(|()| 0)
            }
            Op::Symlink(place, target) => {
                code(std::os::unix::fs::symlink(target, self.path(place))).map(|()| 0)
            }
            Op::Mknod(place, kind) => {
                let (mode, device) = match kind {
                    0 => (libc::S_IFIFO | 0o600, 0),
                    1 => (libc::S_IFSOCK | 0o622, 0),
                    _ => (libc::S_IFCHR | 0o604, libc::makedev(1, 3)),
                };
                sys::mknod(self.path(place), mode, device)
            }
            Op::Chmod(place, mode) => sys::chmod(self.path(place), *mode),
            Op::Chown(place, uid, gid) => sys::chown(self.path(place), *uid, *gid),
            Op::Utimens(place, stamps) => return Some(set_times(&self.path(place), *stamps)),
            Op::SetXattr(place, name, len, flags) => {
                let value = noise(*name, *len);
                sys::set_xattr(self.path(place), &attribute(*name), &value, *flags)
            }
            Op::RemoveXattr(place, name) => sys::remove_xattr(self.path(place), &attribute(*name)),
            Op::SetAcl(place, which, acl) => {
                sys::set_xattr(self.path(place), which, &acl.value(), 0)
            }
            Op::RemoveAcl(place, which) => sys::remove_xattr(self.path(place), which),
            Op::Access(place, how) => sys::access(self.path(place), *how),
            Op::Look(place) => return Some(look(&self.path(place))),
            Op::LinkOpen(slot, place) => match &self.slots[*slot] {
                Some(file) => sys::link_open(file, self.path(place)),
                None => Err(libc::EBADF),
            },
            _ => return None,
        };
        Some(no_value(answer))
    }

    fn on_files(&self, op: &Op) -> Told {
        let file = |slot: &usize| self.slots[*slot].as_ref().ok_or(libc::EBADF);
        match op {
            Op::Write(slot, at, len, seed) => {
                code(file(slot)?.write_at(&noise(*seed, *len), *at)).map(|n| n.to_le_bytes().into())
            }
            Op::Read(slot, at, len) => {
                let mut bytes = vec![0; *len];
                let got = code(file(slot)?.read_at(&mut bytes, *at))?;
                bytes.truncate(got);
                Ok(bytes)
            }
            Op::MapWrite(slot, at, len, seed) => map_write(file(slot)?, *at, *len, *seed),
            Op::SetLen(slot, len) => code(file(slot)?.set_len(*len)).map(|()| Vec::new()),
            Op::Fallocate(slot, mode, at, len) => {
                no_value(sys::fallocate(file(slot)?, *mode, *at, *len))
            }
            Op::CopyRange(from, at, to, to_at, len) => {
                let (from, to) = (file(from)?, file(to)?);
                let copied = sys::copy_range(from, *at as i64, to, *to_at as i64, *len);
                copied.map(|bytes| bytes.to_le_bytes().into())
            }
            Op::Sync(slot) => code(file(slot)?.sync_all()).map(|()| Vec::new()),
            Op::MapRead(slot, at, len) => map_read(file(slot)?, *at, *len),
            Op::Seek(slot, at, whence) => seek(file(slot)?, *at, *whence),
            Op::Stat(slot) => code(file(slot)?.metadata()).map(|meta| told(&meta)),
            Op::ChmodOpen(slot, mode) => no_value(sys::chmod_open(file(slot)?, *mode)),
            Op::Flock(slot, how) => no_value(sys::flock(file(slot)?, *how | libc::LOCK_NB)),
            Op::LockRange(slot, kind, at, len) => {
                no_value(sys::lock_handle(file(slot)?, *kind, *at, *len))
            }
            _ => unreachable!("done by name"),
        }
    }
}

/// What can be seen at a path: the mode, and names if it is a directory.
fn look(path: &Path) -> Told {
    let mode = code(path.metadata())?.mode();
    let mut seen = mode.to_le_bytes().to_vec();
    if mode & libc::S_IFMT == libc::S_IFDIR {
        let list: Result<Vec<_>, _> = code(std::fs::read_dir(path))?.collect();
        let mut names: Vec<_> = code(list)?
            .iter()
            .map(std::fs::DirEntry::file_name)
            .collect();
        names.sort();
        names
            .iter()
            .for_each(|name| seen.extend([b"/", name.as_bytes()].concat()));
    }
    Ok(seen)
}

/// What an open file says of itself, whether it has a name or not.
fn told(meta: &Metadata) -> Vec<u8> {
    let size = if meta.is_dir() { 0 } else { meta.size() };
    let fields = [
        u64::from(meta.mode()),
        u64::from(meta.uid()),
        u64::from(meta.gid()),
        meta.nlink(),
        size,
    ];
    fields
        .iter()
        .flat_map(|field| field.to_le_bytes())
        .collect()
}

/// Sets times, and tells of each whether it is then as it was asked for.
fn set_times(path: &Path, stamps: [Stamp; 2]) -> Told {
    let times = || -> Answer<[(i64, i64); 2]> {
        let meta = code(path.symlink_metadata())?;
        let read = (meta.atime(), meta.atime_nsec());
        Ok([read, (meta.mtime(), meta.mtime_nsec())])
    };
    let before = times();
    let asked = stamps.map(|stamp| match stamp {
        Stamp::At(seconds, nanoseconds) => (seconds, i64::from(nanoseconds)),
        Stamp::Now => (0, libc::UTIME_NOW),
        Stamp::Omit => (0, libc::UTIME_OMIT),
    });
    sys::utimens(path, asked, libc::AT_SYMLINK_NOFOLLOW)?;
    let (before, after) = (before?, times()?);
    let is_right = |at: usize| match stamps[at] {
        Stamp::At(..) => after[at] == asked[at],
        Stamp::Omit => after[at] == before[at],
        // Between the release of this program and the next century.
        Stamp::Now => (1_700_000_000..4_100_000_000).contains(&after[at].0),
    };
    Ok(vec![u8::from(is_right(0)), u8::from(is_right(1))])
}

/// Looks for data or a hole. Where holes begin is up to a filesystem, that none hides a byte is not.
fn seek(file: &File, from: u64, whence: i32) -> Told {
    let meta = code(file.metadata())?;
    if !meta.is_file() {
        return Err(libc::EINVAL);
    }
    let found = match sys::seek(file, from, whence) {
        // There is a hole up to the end.
        Err(libc::ENXIO) if from < meta.len() && whence == libc::SEEK_DATA => meta.len(),
        found => found? as u64,
    };
    let mut skipped = vec![0; (found.max(from) - from) as usize];
    // A file that was opened for writing alone cannot be looked into.
    let is_read = file.read_at(&mut skipped, from).is_ok();
    let hides = whence == libc::SEEK_DATA && is_read && skipped.iter().any(|byte| *byte != 0);
    let is_within = (from..=meta.len()).contains(&found);
    Ok(vec![u8::from(is_within), u8::from(hides)])
}

/// What a mapping shows, as far as the file goes.
fn map_read(file: &File, at: u64, len: usize) -> Told {
    let meta = code(file.metadata())?;
    let end = (at + len as u64).min(meta.len());
    if !meta.is_file() || end <= at {
        return Err(libc::EINVAL);
    }
    // Short enough for a pipe to hold.
    let (mut reader, mut writer) = code(std::io::pipe())?;
    sys::apart(|| {
        let mut map = Map::try_reading(file, end as usize)?;
        code(writer.write_all(&map.bytes()[at as usize..])).map(|()| 0)
    })?;
    drop(writer);
    let mut bytes = Vec::new();
    code(reader.read_to_end(&mut bytes))?;
    Ok(bytes)
}

/// Writes through a mapping, as far as the file goes, and waits until it is in the file.
fn map_write(file: &File, at: u64, len: usize, seed: u8) -> Told {
    let meta = code(file.metadata())?;
    let end = (at + len as u64).min(meta.len());
    if !meta.is_file() || end <= at {
        return Err(libc::EINVAL);
    }
    let bytes = noise(seed, (end - at) as usize);
    sys::apart(|| {
        let mut map = Map::try_new(file, end as usize)?;
        map.bytes()[at as usize..].copy_from_slice(&bytes);
        map.sync()
    })
    .map(|()| Vec::new())
}
