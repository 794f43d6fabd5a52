//! Filling one file: the part of it that is in the drive is compared with the source, and gone on with.

use std::collections::HashSet;
use std::fs::File;
use std::fs::Metadata;
use std::io::Seek;
use std::io::SeekFrom;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::drive;
use crate::fs;
use crate::fs::Caller;
use crate::fs::Name;
use crate::fs::Privileges;
use crate::fs::SetAttr;
use crate::fs::patiently;
use crate::id::InodeNo;
use crate::index::inode::Kind;
use crate::service::ANOTHER_COPY;
use crate::service::Desk;
use crate::service::Error;
use crate::service::Put;
use crate::service::compare;
use crate::service::compare::Unproven;
use crate::service::host::BLOCK_BYTES;
use crate::service::parts::Unfinished;
use crate::service::parts::part_name;
use crate::service::parts::sweep;
use crate::service::parts::unfinished;
use crate::service::put::copying::Putting;
use crate::service::put::item::Item;
use crate::service::put::item::caller;
use crate::service::put::item::node;
use crate::service::put::item::read_full;
use crate::service::put::time_of;

const ROOT: Caller = Caller { uid: 0, gid: 0 };

/// How long a part stays in a directory that files of many places may go to: a day, nanoseconds.
const PART_AGE_MAX: i64 = 24 * 60 * 60 * 1_000_000_000;

impl Putting<'_> {
    pub(in crate::service::put) fn one_file(&mut self, item: &Item<'_>) -> Result<InodeNo, Error> {
        let file = File::open(item.host).map_err(Error::host(item.host))?;
        let part = part_name(item.name, item.meta.len(), item.mtime());
        let beside = Name {
            parent: item.parent,
            name: &part,
        };
        let (ino, handle) = self.begin(item, beside)?;
        let filled = self.fill(item, file, ino);
        let placed = filled.and_then(|()| self.place(item, beside, ino));
        if placed.as_ref().is_err_and(|error| !goes_on(error)) {
            drop(self.desk.fs().unlink(beside));
            self.desk.name_changed(beside);
        }
        self.desk.fs().release(handle);
        placed
    }

    /// The part of a file that is there, or a new one; nobody else writes to it until its handle is released.
    fn begin(&self, item: &Item<'_>, beside: Name<'_>) -> Result<(InodeNo, u64), Error> {
        let fs = self.desk.fs();
        let found = match fs.lookup(beside) {
            Err(fs::Error::NotFound) => patiently(self.task, || {
                fs.make(&caller(item.meta), beside, node(Kind::File, 0o600))
            }),
            found => found,
        };
        let ino = found.map_err(Error::file(item.name))?.ino;
        let handle = fs.open_alone(&ROOT, ino).map_err(Error::file(item.name))?;
        let handle = handle.ok_or_else(|| Error::Conflict(String::from(ANOTHER_COPY)))?;
        // That one may have ended between the two.
        match fs.lookup(beside) {
            Ok(attr) if attr.ino == ino => Ok((ino, handle)),
            _ => {
                fs.release(handle);
                let text = "another copy of it ended just now; upload it again";
                Err(Error::Conflict(String::from(text)))
            }
        }
    }

    fn fill(&mut self, item: &Item<'_>, mut file: File, ino: InodeNo) -> Result<(), Error> {
        let mut at = self.begun(item, &file, ino)?;
        self.task.done(0, at)?;
        file.seek(SeekFrom::Start(at))
            .map_err(Error::host(item.host))?;
        let mut block = vec![0; BLOCK_BYTES];
        loop {
            let len = read_full(&mut file, &mut block).map_err(Error::host(item.host))?;
            if len == 0 {
                break;
            }
            // What is all zeros becomes a hole.
            if block[..len].iter().any(|byte| *byte != 0) {
                self.write_all(ino, at, &block[..len])?;
            }
            at += len as u64;
            self.copied.bytes += len as u64;
            self.task.done(0, len as u64)?;
        }
        let after = file.metadata().map_err(Error::host(item.host))?;
        let is_changed =
            after.len() != at || time_of(after.mtime(), after.mtime_nsec()) != item.mtime();
        match is_changed {
            true => Err(Error::Usage(String::from(
                "it changed while it was read; upload it again",
            ))),
            false => Ok(()),
        }
    }

    /// How much of the part is what the source has; the rest of it is cut off.
    fn begun(&self, item: &Item<'_>, file: &File, ino: InodeNo) -> Result<u64, Error> {
        let fs = self.desk.fs();
        let there = fs.getattr(ino).map_err(Error::file(item.name))?;
        let there = there.inode.size;
        let most = there.min(item.meta.len());
        let same = compare::same_until(self.desk, ino, file, most, Unproven::Differ)?;
        if same < there {
            let cut = SetAttr {
                size: Some(same),
                ..SetAttr::default()
            };
            patiently(self.task, || fs.setattr(&ROOT, ino, cut)).map_err(Error::file(item.name))?;
        }
        Ok(same)
    }

    fn write_all(&self, ino: InodeNo, mut at: u64, mut bytes: &[u8]) -> Result<(), Error> {
        let fs = self.desk.fs();
        while !bytes.is_empty() {
            let written = patiently(self.task, || fs.write(ino, at, bytes, Privileges::Keep));
            let written = written.map_err(Error::file(b""))?;
            at += u64::from(written);
            bytes = &bytes[written as usize..];
        }
        Ok(())
    }
}

/// Does the same wish go on with the part after this?
fn goes_on(error: &Error) -> bool {
    use drive::Error::{Busy, Closing, Interrupted, NoSpace, Store, Timeout};
    matches!(
        error,
        Error::Drive(Busy | Closing | Interrupted | NoSpace | Store(_) | Timeout(_))
    )
}

/// Removes what is not whole in the directory that files of many places may go to, as far as nobody can go on
/// with it any more.
pub(in crate::service::put) fn sweep_old(
    desk: &Desk,
    directory: InodeNo,
    wish: &Put,
) -> Result<(), Error> {
    let now = desk.drive().now();
    let wanted = wish.sources.iter().map(|source| part_of(source.path()));
    let wanted: HashSet<Vec<u8>> = wanted.flatten().collect();
    sweep(desk, directory, |name, inode| {
        let is_old = now.0.saturating_sub(inode.mtime.0) > PART_AGE_MAX;
        match unfinished(name) {
            Some(Unfinished::Part) => is_old && !wanted.contains(name),
            Some(Unfinished::Received) => true,
            None => false,
        }
    })
}

/// Removes what is not whole in a directory, unless it is of a file that this directory of this machine has.
pub(in crate::service::put) fn sweep_changed(
    desk: &Desk,
    directory: InodeNo,
    host: &Path,
) -> Result<(), Error> {
    let mut wanted: Option<HashSet<Vec<u8>>> = None;
    sweep(desk, directory, |name, _| match unfinished(name) {
        Some(Unfinished::Part) => !wanted.get_or_insert_with(|| parts_of(host)).contains(name),
        Some(Unfinished::Received) => true,
        None => false,
    })
}

fn parts_of(directory: &Path) -> HashSet<Vec<u8>> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| part_of(&entry.path())).collect()
}

/// What a part of this file of this machine is called.
fn part_of(path: &Path) -> Option<Vec<u8>> {
    let meta: Metadata = std::fs::symlink_metadata(path).ok()?;
    let mtime = time_of(meta.mtime(), meta.mtime_nsec());
    Some(part_name(path.file_name()?.as_bytes(), meta.len(), mtime))
}
