//! Answers: each request gets exactly one, a result or an errno.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use fuser::Errno;
use fuser::FileHandle;
use fuser::FopenFlags;
use fuser::Generation;
use fuser::INodeNo;
use fuser::ReplyAttr;
use fuser::ReplyCreate;
use fuser::ReplyData;
use fuser::ReplyDirectory;
use fuser::ReplyDirectoryPlus;
use fuser::ReplyEmpty;
use fuser::ReplyEntry;
use fuser::ReplyLseek;
use fuser::ReplyOpen;
use fuser::ReplyStatfs;
use fuser::ReplyWrite;
use fuser::ReplyXattr;

use crate::drive::status::Space;
use crate::fs::Attr;
use crate::fs::Entry;
use crate::fs::Error;
use crate::fs::More;
use crate::fs::NAME_BYTES_MAX;
use crate::fuse::errno;
use crate::fuse::translate;

/// How long the kernel may believe names and attributes: nobody else changes this drive while it
/// is mounted here, so as long as it likes.
pub(in crate::fuse) const TTL: Duration = Duration::from_secs(3600);

/// Inode numbers are never given twice, so all are of one generation.
const GENERATION: Generation = Generation(1);

/// Reads and directories stay in the kernel's cache from one open to the next. And no close has the kernel hand over
/// what was changed through mappings, which may wait long, even at that of a copy which a program's child has.
pub(in crate::fuse) const FILE: FopenFlags =
    FopenFlags::FOPEN_KEEP_CACHE.union(FopenFlags::FOPEN_NOFLUSH);
pub(in crate::fuse) const DIRECTORY: FopenFlags =
    FopenFlags::FOPEN_KEEP_CACHE.union(FopenFlags::FOPEN_CACHE_DIR);

/// A reply that can say no.
pub(in crate::fuse) trait Refuse: Send + 'static {
    /// Says no.
    fn errno(self, errno: Errno);

    /// Says no, and in the log why, if the reason is not the caller's.
    fn refuse(self, error: &Error)
    where
        Self: Sized,
    {
        if let Error::Drive(cause) = error {
            log::warn!("{cause}");
        }
        self.errno(errno::of(error));
    }
}

macro_rules! refuse {
    ($($reply:ident)*) => {$(
        impl Refuse for $reply {
            fn errno(self, errno: Errno) {
                self.error(errno);
            }
        }
    )*};
}
refuse!(ReplyAttr ReplyCreate ReplyData ReplyDirectory ReplyDirectoryPlus ReplyEmpty ReplyEntry);
refuse!(ReplyLseek ReplyOpen ReplyStatfs ReplyWrite ReplyXattr);

pub(in crate::fuse) fn done(reply: ReplyEmpty, (): ()) {
    reply.ok();
}

pub(in crate::fuse) fn attr(reply: ReplyAttr, attr: Attr) {
    reply.attr(&TTL, &translate::attr(&attr));
}

pub(in crate::fuse) fn entry(reply: ReplyEntry, attr: Attr) {
    reply.entry_with_ttls(&TTL, &TTL, &translate::attr(&attr), GENERATION);
}

/// A name that leads to nothing is an answer too, which the kernel remembers.
pub(in crate::fuse) fn found(reply: ReplyEntry, found: Option<Attr>) {
    match found {
        Some(attr) => entry(reply, attr),
        None => reply.entry_with_ttls(&TTL, &TTL, &translate::nothing(INodeNo(0)), Generation(0)),
    }
}

pub(in crate::fuse) fn data(reply: ReplyData, data: Vec<u8>) {
    reply.data(&data);
}

pub(in crate::fuse) fn written(reply: ReplyWrite, bytes: u32) {
    reply.written(bytes);
}

pub(in crate::fuse) fn opened(reply: ReplyOpen, handle: u64) {
    reply.opened(FileHandle(handle), FILE);
}

pub(in crate::fuse) fn created(reply: ReplyCreate, (attr, handle): (Attr, u64)) {
    reply.created(
        &TTL,
        &translate::attr(&attr),
        GENERATION,
        FileHandle(handle),
        FILE,
    );
}

pub(in crate::fuse) fn offset(reply: ReplyLseek, offset: u64) {
    reply.offset(i64::try_from(offset).unwrap_or(i64::MAX));
}

pub(in crate::fuse) fn space(reply: ReplyStatfs, space: Space) {
    let blocks = |bytes: u64| bytes / u64::from(translate::PREFERRED);
    let all = blocks(space.total_bytes);
    let free = all.saturating_sub(blocks(space.used_bytes));
    // Inodes are limited by nothing but their 64-bit numbers; this many can be shown everywhere.
    let nodes_free = u64::from(u32::MAX).saturating_sub(space.files);
    let nodes = space.files + nodes_free;
    let names = u32::try_from(NAME_BYTES_MAX).unwrap_or(u32::MAX);
    let block = translate::PREFERRED;
    reply.statfs(all, free, free, nodes, nodes_free, block, names, block);
}

/// An attribute's value or list, or only its length if the caller's buffer has none.
pub(in crate::fuse) fn xattr(reply: ReplyXattr, (value, room): (Vec<u8>, u32)) {
    match u32::try_from(value.len()) {
        Ok(len) if room == 0 => reply.size(len),
        Ok(len) if len <= room => reply.data(&value),
        Ok(_) | Err(_) => reply.error(Errno::ERANGE),
    }
}

pub(in crate::fuse) fn list(reply: &mut ReplyDirectory, entry: &Entry) -> More {
    let name = OsStr::from_bytes(&entry.name);
    let kind = translate::kind(entry.kind);
    more(reply.add(INodeNo(entry.ino.0), entry.offset, kind, name))
}

pub(in crate::fuse) fn list_plus(reply: &mut ReplyDirectoryPlus, entry: &Entry) -> More {
    let ino = INodeNo(entry.ino.0);
    let attr = match &entry.attr {
        Some(attr) => translate::attr(attr),
        None if matches!(&entry.name[..], b"." | b"..") => translate::nothing(ino),
        None => return More::Yes,
    };
    let name = OsStr::from_bytes(&entry.name);
    more(reply.add(ino, entry.offset, name, &TTL, &attr, GENERATION))
}

fn more(is_full: bool) -> More {
    if is_full { More::No } else { More::Yes }
}
