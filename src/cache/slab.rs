//! One slab file: frames one after another, and a list of them beside it once it is full.
//!
//! ```text
//! slab  = frame *
//! frame = "odsF" , chunk id 32 , pack id 16 , slot 4 , plain_len 4 , sealed_len 4 , crc 4 , sealed bytes
//! list  = ( key 8 , offset 4 , sealed_len 4 )* , crc 4
//! ```
//!
//! The header's checksum tells where a crash cut the slab off. The sealed bytes need none: unsealing them is the
//! better one.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, IoSlice, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::CachedFrame;
use crate::id::{ChunkId, PackId};

pub(super) const HEADER: usize = 68;
const MAGIC: [u8; 4] = *b"odsF";
const LIST_ENTRY: usize = 16;

/// Where a frame is within a slab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) key: u64,
    pub(super) offset: u32,
    pub(super) sealed_len: u32,
}

/// What a frame's header says.
pub(super) struct Header {
    pub(super) chunk: ChunkId,
    pub(super) pack: PackId,
    pub(super) slot: u32,
    pub(super) plain_len: u32,
    pub(super) sealed_len: u32,
}

impl Header {
    pub(super) fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..36].copy_from_slice(&self.chunk.0);
        bytes[36..52].copy_from_slice(&self.pack.0);
        bytes[52..56].copy_from_slice(&self.slot.to_le_bytes());
        bytes[56..60].copy_from_slice(&self.plain_len.to_le_bytes());
        bytes[60..64].copy_from_slice(&self.sealed_len.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..64]);
        bytes[64..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8; HEADER]) -> Option<Header> {
        if bytes[..4] != MAGIC || crc32fast::hash(&bytes[..64]).to_le_bytes() != bytes[64..] {
            return None;
        }
        Some(Header {
            chunk: ChunkId(bytes[4..36].try_into().ok()?),
            pack: PackId(bytes[36..52].try_into().ok()?),
            slot: u32_at(&bytes[52..]),
            plain_len: u32_at(&bytes[56..]),
            sealed_len: u32_at(&bytes[60..]),
        })
    }
}

/// The first bytes of a chunk's id: enough to find it, and the frame's header has the rest.
pub(super) fn key(chunk: &ChunkId) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&chunk.0[..8]);
    u64::from_le_bytes(first)
}

/// Makes a new slab file.
pub(super) fn create(dir: &Path, number: u32) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path(dir, number))
}

/// Opens a slab file.
pub(super) fn open(dir: &Path, number: u32) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(path(dir, number))
}

/// Removes a slab and its list.
pub(super) fn remove(dir: &Path, number: u32) {
    // What cannot be removed now is removed or used when the cache is opened next time.
    let _ = fs::remove_file(list_path(dir, number));
    let _ = fs::remove_file(path(dir, number));
}

/// Appends a frame where the file's cursor is; one call to the system if all goes well.
pub(super) fn append(file: &File, chunk: &ChunkId, frame: &CachedFrame) -> io::Result<u32> {
    let sealed_len = u32::try_from(frame.sealed.len()).map_err(io::Error::other)?;
    let header = Header {
        chunk: *chunk,
        pack: frame.pack,
        slot: frame.slot,
        plain_len: frame.plain_len,
        sealed_len,
    }
    .encode();
    let mut file = file;
    let parts = [IoSlice::new(&header), IoSlice::new(&frame.sealed)];
    let written = file.write_vectored(&parts)?;
    if let Some(left) = header.get(written..) {
        file.write_all(left)?;
    }
    file.write_all(&frame.sealed[written.saturating_sub(HEADER)..])?;
    Ok(sealed_len)
}

/// Reads a frame; nothing if another one, or none, is there.
pub(super) fn read(file: &File, at: Listed, chunk: &ChunkId) -> Option<CachedFrame> {
    let mut bytes = vec![0; HEADER + at.sealed_len as usize];
    file.read_exact_at(&mut bytes, u64::from(at.offset)).ok()?;
    let header = Header::decode(bytes[..HEADER].try_into().ok()?)?;
    if header.chunk != *chunk || header.sealed_len != at.sealed_len {
        return None;
    }
    Some(CachedFrame {
        sealed: bytes::Bytes::from(bytes).slice(HEADER..),
        pack: header.pack,
        slot: header.slot,
        plain_len: header.plain_len,
    })
}

/// Reads the id of the chunk that a frame is of.
pub(super) fn chunk_at(file: &File, offset: u32) -> Option<ChunkId> {
    let mut bytes = [0; HEADER];
    file.read_exact_at(&mut bytes, u64::from(offset)).ok()?;
    Header::decode(&bytes).map(|header| header.chunk)
}

/// Makes a frame unreadable, so that it does not come back when the cache is opened again.
pub(super) fn spoil(file: &File, offset: u32) {
    // If this fails the frame is found again, fails to unseal again, and is invalidated again.
    let _ = file.write_all_at(&[0; HEADER], u64::from(offset));
}

/// Writes the list of a full slab.
pub(super) fn write_list(dir: &Path, number: u32, frames: &[Listed]) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(frames.len() * LIST_ENTRY + 4);
    for frame in frames {
        bytes.extend_from_slice(&frame.key.to_le_bytes());
        bytes.extend_from_slice(&frame.offset.to_le_bytes());
        bytes.extend_from_slice(&frame.sealed_len.to_le_bytes());
    }
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(list_path(dir, number))?;
    file.write_all(&bytes)
}

/// What is in a slab: from its list, or from its frames' headers if it has none that can be true.
pub(super) fn frames(dir: &Path, number: u32, file: &File) -> Vec<Listed> {
    let size = file.metadata().map_or(0, |metadata| metadata.len());
    // Whoever reads a frame takes memory for it first.
    let is_inside = |frame: &Listed| {
        u64::from(frame.offset) + HEADER as u64 + u64::from(frame.sealed_len) <= size
    };
    read_list(dir, number)
        .filter(|frames| frames.iter().all(is_inside))
        .unwrap_or_else(|| walk(file))
}

fn read_list(dir: &Path, number: u32) -> Option<Vec<Listed>> {
    let bytes = fs::read(list_path(dir, number)).ok()?;
    let (entries, crc) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
    if entries.len() % LIST_ENTRY != 0 || crc32fast::hash(entries) != u32_at(crc) {
        return None;
    }
    let entry = |bytes: &[u8]| {
        let mut key = [0; 8];
        key.copy_from_slice(&bytes[..8]);
        Listed {
            key: u64::from_le_bytes(key),
            offset: u32_at(&bytes[8..]),
            sealed_len: u32_at(&bytes[12..]),
        }
    };
    Some(entries.chunks_exact(LIST_ENTRY).map(entry).collect())
}

fn walk(file: &File) -> Vec<Listed> {
    let mut found = Vec::new();
    let size = file.metadata().map_or(0, |metadata| metadata.len());
    let mut offset = 0_u32;
    let mut bytes = [0; HEADER];
    while file.read_exact_at(&mut bytes, u64::from(offset)).is_ok() {
        let Some(header) = Header::decode(&bytes) else {
            break;
        };
        let end = u64::from(offset) + HEADER as u64 + u64::from(header.sealed_len);
        let Some(next) = u32::try_from(end).ok().filter(|_| end <= size) else {
            break;
        };
        found.push(Listed {
            key: key(&header.chunk),
            offset,
            sealed_len: header.sealed_len,
        });
        offset = next;
    }
    found
}

/// Numbers of the slabs in a directory, oldest first.
pub(super) fn numbers(dir: &Path) -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let stem = name.to_str().and_then(|name| name.strip_suffix(".slab"));
        let number = stem.and_then(|stem| u32::from_str_radix(stem, 16).ok());
        // Only what `path` gives is a slab, and none gets so far that there is no next one.
        let is_ours =
            |number: &u32| *number <= u32::MAX / 2 && path(dir, *number).file_name() == Some(&name);
        numbers.extend(number.filter(is_ours));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn path(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{number:08x}.slab"))
}

fn list_path(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{number:08x}.list"))
}

fn u32_at(bytes: &[u8]) -> u32 {
    let mut value = [0; 4];
    value.copy_from_slice(&bytes[..4]);
    u32::from_le_bytes(value)
}
