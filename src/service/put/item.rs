//! What is put: one file, directory or link of this machine, and how it looks in the drive.

use std::fs::File;
use std::fs::Metadata;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::clock::Time;
use crate::fs::Caller;
use crate::fs::Name;
use crate::fs::Node;
use crate::fs::SetAttr;
use crate::fs::Stamp;
use crate::id::InodeNo;
use crate::index::inode::Kind;
use crate::service::Desk;
use crate::service::Error;
use crate::service::put::time_of;

/// One file, directory or link that is to be put.
pub(in crate::service) struct Item<'a> {
    pub(in crate::service) host: &'a Path,
    pub(in crate::service) meta: &'a Metadata,
    /// The directory it goes to.
    pub(in crate::service) parent: InodeNo,
    /// Its name there.
    pub(in crate::service) name: &'a [u8],
}

impl Item<'_> {
    pub(in crate::service) fn at(&self) -> Name<'_> {
        Name {
            parent: self.parent,
            name: self.name,
        }
    }

    pub(in crate::service) fn mtime(&self) -> Time {
        time_of(self.meta.mtime(), self.meta.mtime_nsec())
    }
}

/// Reads until the block is full or the file ends.
pub(in crate::service) fn read_full(file: &mut File, block: &mut [u8]) -> std::io::Result<usize> {
    let mut len = 0;
    while len < block.len() {
        match file.read(&mut block[len..]) {
            Ok(0) => break,
            Ok(more) => len += more,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}

pub(in crate::service) fn caller(meta: &Metadata) -> Caller {
    Caller {
        uid: meta.uid(),
        gid: meta.gid(),
    }
}

/// Who owns the top directory owns directories that nobody else has made.
pub(in crate::service) fn owner(desk: &Desk) -> Result<Caller, Error> {
    let top = desk.fs().getattr(InodeNo::ROOT).map_err(Error::file(b""))?;
    Ok(Caller {
        uid: top.inode.uid,
        gid: top.inode.gid,
    })
}

pub(in crate::service) fn node(kind: Kind, mode: u32) -> Node {
    Node {
        kind,
        mode: u16::try_from(mode & 0o7777).unwrap_or(0o600),
        umask: 0,
        rdev: 0,
    }
}

pub(in crate::service) fn attributes(item: &Item<'_>) -> SetAttr {
    SetAttr {
        mode: u16::try_from(item.meta.mode() & 0o7777).ok(),
        uid: Some(item.meta.uid()),
        gid: Some(item.meta.gid()),
        atime: Some(Stamp::At(time_of(
            item.meta.atime(),
            item.meta.atime_nsec(),
        ))),
        mtime: Some(Stamp::At(item.mtime())),
        ..SetAttr::default()
    }
}
