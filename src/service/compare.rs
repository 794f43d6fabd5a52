//! Comparing a file of this machine with one of the drive, without fetching what can be told from chunk names.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::drive::Found;
use crate::drive::Part;
use crate::drive::Source;
use crate::id::InodeNo;
use crate::service::Desk;
use crate::service::Error;
use crate::service::content::Reader;
use crate::service::host::BLOCK_BYTES;

/// Parts of a file looked up at a time, in bytes of it.
const STEP_BYTES: u64 = 1 << 30;

/// Has this machine's file the same bytes as the drive's?
pub(in crate::service) fn is_same(desk: &Desk, ino: InodeNo, host: &Path) -> Result<bool, Error> {
    let size = desk.fs().getattr(ino).map_err(Error::file(b""))?.inode.size;
    let file = File::open(host).map_err(Error::host(host))?;
    let len = file.metadata().map_err(Error::host(host))?.len();
    Ok(len == size && same_until(desk, ino, &file, size, Unproven::Fetch)? == size)
}

/// What to do about bytes that chunk names say nothing about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::service) enum Unproven {
    /// Fetch them.
    Fetch,
    /// Take them for others.
    Differ,
}

/// How many of the first `len` bytes of the two are surely the same.
pub(in crate::service) fn same_until(
    desk: &Desk,
    ino: InodeNo,
    file: &File,
    len: u64,
    unproven: Unproven,
) -> Result<u64, Error> {
    let reader = Reader::open(desk, ino)?;
    let mut at = 0;
    while at < len {
        let end = len.min(at + STEP_BYTES);
        let parts = desk.drive().view().resolve(ino, at, end)?;
        for part in parts {
            let same = part_is_same(desk, &reader, file, &part, unproven)?;
            if !same {
                return Ok(part.start);
            }
            at = part.start + part.len;
        }
    }
    Ok(at)
}

fn part_is_same(
    desk: &Desk,
    reader: &Reader<'_>,
    file: &File,
    part: &Part,
    unproven: Unproven,
) -> Result<bool, Error> {
    if let Found::Source(Source::Chunk { id, skip: 0 }) = &part.found {
        let mut bytes = vec![0; usize::try_from(part.len).unwrap_or(0)];
        return match file.read_exact_at(&mut bytes, part.start) {
            Ok(()) if desk.drive().is_chunk(id, &bytes) => Ok(true),
            // A part of a chunk only, or other bytes.
            Ok(()) if unproven == Unproven::Fetch => bytes_are_same(reader, file, part),
            Ok(()) | Err(_) => Ok(false),
        };
    }
    let is_local = !matches!(&part.found, Found::Source(Source::Chunk { .. }));
    match is_local || unproven == Unproven::Fetch {
        true => bytes_are_same(reader, file, part),
        false => Ok(false),
    }
}

fn bytes_are_same(reader: &Reader<'_>, file: &File, part: &Part) -> Result<bool, Error> {
    let (mut at, end) = (part.start, part.start + part.len);
    let mut block = vec![0; BLOCK_BYTES];
    while at < end {
        let len = usize::try_from(end - at)
            .unwrap_or(BLOCK_BYTES)
            .min(BLOCK_BYTES);
        if file.read_exact_at(&mut block[..len], at).is_err() {
            return Ok(false);
        }
        let stored = reader.read(at, u32::try_from(len).unwrap_or(u32::MAX))?;
        if stored != block[..len] {
            return Ok(false);
        }
        at += len as u64;
    }
    Ok(true)
}
