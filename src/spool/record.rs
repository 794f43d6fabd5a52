//! The bytes of the log: file headers, record headers, and the checksums of bodies.
//!
//! ```text
//! segment = file header (40) , record *
//! record  = header (40) , head , table , body
//! header  = "odsR" , kind 1 , zero 3 , seq 8 , synced 8 , head_len 4 , body_len 4 , body_crc 4 , crc 4
//! table   = crc 4 of each 64 KiB block of the body, when there is more than one block
//! ```
//!
//! Integers are little-endian. `crc` covers spool id, segment number, position, the header before it and
//! the head: a copy of a record anywhere else (say, a spool stored in the drive) is not a record.
//! `body_crc` is that of the body, or of the table when there is one, so that a part of a long body is
//! verified by reading the blocks it touches. `synced` is the last record that was known to be durable
//! when this one was written; recovery uses it to tell damage from a torn tail.

use crate::id::Seq;

pub(super) const FILE_HEADER_BYTES: u64 = 40;
pub(super) const HEADER_BYTES: u64 = HEADER as u64;
pub(super) const HEADER: usize = 40;
/// A body is checked in blocks of this size: small enough for random reads, large enough that tables are small.
pub(super) const BLOCK_BYTES: u32 = 64 * 1024;
/// Longest head: a batch of metadata is a few KiB, so this is never met by well-behaved callers.
pub const HEAD_BYTES_MAX: u32 = 1024 * 1024;
/// Longest body: sixteen of the largest writes that the kernel sends.
pub const BODY_BYTES_MAX: u32 = 16 * 1024 * 1024;

/// No log gets so far, and numbers beyond it leave no room to count on.
const SEQ_MAX: u64 = u64::MAX / 2;

pub(super) const MAGIC: [u8; 4] = *b"odsR";
const FILE_MAGIC: [u8; 8] = *b"odsSPOOL";
const VERSION: u32 = 1;

/// Random name of one spool, mixed into every checksum.
pub(super) type SpoolId = [u8; 16];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A record that somebody appended.
    Record,
    /// Numbers up to and including `seq` are used up; carries nothing.
    Skip,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) seq: Seq,
    pub(super) synced: Seq,
    pub(super) head_len: u32,
    pub(super) body_len: u32,
    pub(super) body_crc: u32,
}

impl Header {
    pub(super) fn encode(&self, salt: Salt, position: u64, head: &[u8]) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4] = match self.kind {
            Kind::Record => 1,
            Kind::Skip => 2,
        };
        bytes[8..16].copy_from_slice(&self.seq.0.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.synced.0.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.head_len.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.body_len.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.body_crc.to_le_bytes());
        let crc = salt.crc(position, &bytes[..36], head);
        bytes[36..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a header whose checksum is still to be compared: see [`Header::is_genuine`].
    pub(super) fn decode(bytes: &[u8; HEADER]) -> Option<Header> {
        if bytes[..4] != MAGIC || bytes[5..8] != [0; 3] {
            return None;
        }
        let header = Header {
            kind: match bytes[4] {
                1 => Kind::Record,
                2 => Kind::Skip,
                _ => return None,
            },
            seq: Seq(u64_at(bytes, 8)),
            synced: Seq(u64_at(bytes, 16)),
            head_len: u32_at(bytes, 24),
            body_len: u32_at(bytes, 28),
            body_crc: u32_at(bytes, 32),
        };
        let is_possible = header.head_len <= HEAD_BYTES_MAX
            && header.body_len <= BODY_BYTES_MAX
            && header.seq.0 <= SEQ_MAX;
        is_possible.then_some(header)
    }

    pub(super) fn is_genuine(bytes: &[u8; HEADER], salt: Salt, position: u64, head: &[u8]) -> bool {
        salt.crc(position, &bytes[..36], head) == u32_at(bytes, 36)
    }

    /// Where the body begins in a record that begins at `position`.
    pub(super) fn body_position(&self, position: u64) -> u64 {
        position + HEADER_BYTES + u64::from(self.head_len) + table_bytes(self.body_len)
    }

    /// Bytes of the whole record.
    pub(super) fn record_bytes(&self) -> u64 {
        self.body_position(0) + u64::from(self.body_len)
    }
}

/// What makes the checksums of one segment its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Salt(u32);

impl Salt {
    pub(super) fn new(id: SpoolId, segment: u32) -> Salt {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&id);
        hasher.update(&segment.to_le_bytes());
        Salt(hasher.finalize())
    }

    fn crc(self, position: u64, header: &[u8], head: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new_with_initial(self.0);
        hasher.update(&position.to_le_bytes());
        hasher.update(header);
        hasher.update(head);
        hasher.finalize()
    }
}

/// The checksums of a body.
pub(super) struct BodySum {
    pub(super) crc: u32,
    pub(super) table: Vec<u8>,
}

impl BodySum {
    pub(super) fn of(body: &[u8]) -> BodySum {
        if body.len() <= BLOCK_BYTES as usize {
            return BodySum {
                crc: crc32fast::hash(body),
                table: Vec::new(),
            };
        }
        let table: Vec<u8> = body
            .chunks(BLOCK_BYTES as usize)
            .flat_map(|block| crc32fast::hash(block).to_le_bytes())
            .collect();
        BodySum {
            crc: crc32fast::hash(&table),
            table,
        }
    }
}

/// Bytes of the table of a body.
pub(super) fn table_bytes(body_len: u32) -> u64 {
    match body_len.div_ceil(BLOCK_BYTES) {
        0 | 1 => 0,
        blocks => u64::from(blocks) * 4,
    }
}

/// What a segment's first bytes say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FileHeader {
    Valid(SpoolId),
    /// Whole, but of a version that this build does not know.
    Newer(u32),
    Broken,
}

pub(super) fn encode_file_header(id: SpoolId, segment: u32) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[..8].copy_from_slice(&FILE_MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..16].copy_from_slice(&segment.to_le_bytes());
    bytes[16..32].copy_from_slice(&id);
    let crc = crc32fast::hash(&bytes[..36]);
    bytes[36..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

pub(super) fn decode_file_header(bytes: &[u8; HEADER], segment: u32) -> FileHeader {
    if bytes[..8] != FILE_MAGIC || crc32fast::hash(&bytes[..36]) != u32_at(bytes, 36) {
        return FileHeader::Broken;
    }
    match u32_at(bytes, 8) {
        VERSION if u32_at(bytes, 12) == segment => {
            let mut id = SpoolId::default();
            id.copy_from_slice(&bytes[16..32]);
            FileHeader::Valid(id)
        }
        VERSION => FileHeader::Broken,
        newer => FileHeader::Newer(newer),
    }
}

fn u32_at(bytes: &[u8; HEADER], at: usize) -> u32 {
    let mut value = [0; 4];
    value.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(value)
}

fn u64_at(bytes: &[u8; HEADER], at: usize) -> u64 {
    let mut value = [0; 8];
    value.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(value)
}
