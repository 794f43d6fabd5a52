//! The words of the spool: what callers say to it and hear from it.

use std::io;

use super::record::Header;
use crate::id::Seq;
use crate::size::{GIB, MIB};

/// How large a spool may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// A segment file is full at this size. Larger ones mean fewer files, smaller ones free space earlier.
    pub segment_bytes: u64,
    /// Disk space for everything; at the limit, appending a body fails with [`Error::Full`].
    pub limit_bytes: u64,
    /// Disk space that is left to others.
    pub reserve_bytes: u64,
    /// Disk space that is left whatever else is said, and half of it by what has no body: without it, what makes
    /// room in the spool could not be noted on the same disk.
    pub least_free_bytes: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            segment_bytes: 64 * MIB,
            limit_bytes: 10 * GIB,
            reserve_bytes: GIB,
            least_free_bytes: 0,
        }
    }
}

/// Where a body is. Small, because one is kept in memory for each stretch of data that is not uploaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// Of the first byte of the body, within the segment.
    pub position: u64,
    /// Number of the segment.
    pub segment: u32,
    /// Bytes of the whole body.
    pub body_len: u32,
    pub(super) crc: u32,
}

impl Place {
    /// For keeping in a record that refers to another one's body.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Place::BYTES] {
        let mut bytes = [0; Place::BYTES];
        bytes[..8].copy_from_slice(&self.position.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.segment.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.body_len.to_le_bytes());
        bytes[16..].copy_from_slice(&self.crc.to_le_bytes());
        bytes
    }

    /// Reads what [`Place::to_bytes`] gave.
    #[must_use]
    pub fn from_bytes(bytes: [u8; Place::BYTES]) -> Place {
        let [a, b, c, d, e, f, g, h, rest @ ..] = bytes;
        let field =
            |at: usize| u32::from_le_bytes([rest[at], rest[at + 1], rest[at + 2], rest[at + 3]]);
        Place {
            position: u64::from_le_bytes([a, b, c, d, e, f, g, h]),
            segment: field(0),
            body_len: field(4),
            crc: field(8),
        }
    }

    /// Length of [`Place::to_bytes`].
    pub const BYTES: usize = 20;

    pub(super) fn new(segment: u32, record_at: u64, header: &Header) -> Place {
        Place {
            position: header.body_position(record_at),
            segment,
            body_len: header.body_len,
            crc: header.body_crc,
        }
    }
}

/// What replay finds in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replayed<'a> {
    /// A record. Its body is dead until it is retained; if the disk broke it, reading it says so.
    Record {
        /// The record's number.
        seq: Seq,
        /// As it was appended.
        head: &'a [u8],
        /// Where the body is.
        place: Place,
    },
    /// Records that are not there. Those at or before the last cut are not missed: their segments were
    /// removed. Later ones were broken by the disk.
    Missing {
        /// The first number that is not there.
        first: Seq,
        /// The last one; none if the end of the log is missing and nobody knows how much that was.
        last: Option<Seq>,
    },
}

/// What a spool holds. `records` and `segments` are those not removed yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Taken from the disk.
    pub disk_bytes: u64,
    /// Body bytes that somebody still refers to.
    pub live_bytes: u64,
    /// Records in all segments.
    pub records: u64,
    /// Segment files.
    pub segments: u64,
    /// As set.
    pub limit_bytes: u64,
    /// The last record that was appended.
    pub appended: Seq,
    /// Everything up to here survives a power cut.
    pub synced: Seq,
    /// How often a file was synced: several callers share one.
    pub data_syncs: u64,
}

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The limit, the reserve or the disk's end is reached; nothing was appended.
    #[error("the spool is full")]
    Full,
    /// A head or body is longer than a record can hold.
    #[error("a record of the spool is too long")]
    TooLong,
    /// The disk failed to make data durable. What is appended may be lost: nothing more is accepted.
    #[error("the spool's disk failed to make data durable; nothing more is written to it")]
    Poisoned,
    /// The bytes on the disk are not those that were appended.
    #[error("the spool is damaged in segment {segment:08x} at byte {position}")]
    Damaged {
        /// Number of the segment.
        segment: u32,
        /// Where in the segment the body begins.
        position: u64,
    },
    /// The body was released in full, and its space given back.
    #[error("what was in spool segment {segment:08x} at byte {position} has been released")]
    Gone {
        /// Number of the segment.
        segment: u32,
        /// Where in the segment the body was.
        position: u64,
    },
    /// The files were written by a later version.
    #[error("the spool has format version {version}, which this version does not know")]
    Newer {
        /// The version that was found.
        version: u32,
    },
    /// The disk refused.
    #[error("{doing} failed")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

impl Error {
    pub(super) fn from_write(doing: &'static str, source: io::Error) -> Error {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::Full,
            _ => Error::Io { doing, source },
        }
    }
}
