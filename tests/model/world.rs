//! A directory in which operations are done, and the files that are open in it.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::path::PathBuf;

use crate::op::Op;
use crate::op::Place;
use crate::op::SLOTS;
use crate::support::sys;
use crate::support::sys::Answer;
use crate::support::sys::Map;
use crate::support::sys::code;

/// A world: where it is, and what is open in it.
pub(crate) struct World {
    root: PathBuf,
    slots: [Option<File>; SLOTS],
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

fn no_value(answer: Answer<i64>) -> Told {
    answer.map(|_| Vec::new())
}

impl World {
    pub(crate) fn at(root: PathBuf) -> World {
        World {
            root,
            slots: [const { None }; SLOTS],
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn close_all(&mut self) {
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
            Op::Open(slot, place, flags) => {
                let file = sys::open(self.path(place), *flags | libc::O_NONBLOCK, 0o640)?;
                self.slots[*slot] = Some(file);
                Ok(Vec::new())
            }
            Op::Close(slot) => {
                self.slots[*slot] = None;
                Ok(Vec::new())
            }
            op => match self.on_names(op) {
                Some(told) => told,
                None => self.on_files(op),
            },
        }
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
            Op::Utimens(place, seconds, nanoseconds) => {
                let time = (*seconds, i64::from(*nanoseconds));
                sys::utimens(self.path(place), [time, time], libc::AT_SYMLINK_NOFOLLOW)
            }
            Op::SetXattr(place, name, len, flags) => {
                let (name, value) = (format!("user.{name}"), noise(*name, *len));
                sys::set_xattr(self.path(place), &name, &value, *flags)
            }
            Op::RemoveXattr(place, name) => {
                sys::remove_xattr(self.path(place), &format!("user.{name}"))
            }
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
            _ => unreachable!("done by name"),
        }
    }
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
