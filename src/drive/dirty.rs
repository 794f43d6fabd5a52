//! File content that is newer than the manifests: which bytes of which file lie in the spool, are holes, or were cloned.
//!
//! Two of these exist at most. Writes go to the gathering one. A freeze sets it aside as it is:
//! what the drain uploads is exactly what the files held at that moment, however much is written
//! meanwhile. Reads look at the gathering one, then at the frozen one, then at the manifest.

use std::collections::BTreeMap;

use crate::id::ChunkId;
use crate::id::InodeNo;
use crate::spool::Place;

/// Where the bytes of a piece are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// In a record's body, `skip` bytes into it.
    Spool {
        /// The record.
        place: Place,
        /// Bytes of the body before the piece.
        skip: u32,
    },
    /// In a chunk that is already stored: the piece was cloned from another file.
    Chunk {
        /// The chunk.
        id: ChunkId,
        /// Bytes of the chunk before the piece.
        skip: u32,
    },
    /// Nowhere: a hole.
    Zero,
}

impl Source {
    /// The same bytes, beginning `bytes` later.
    #[must_use]
    pub fn skipped(self, bytes: u64) -> Source {
        let more = u32::try_from(bytes).unwrap_or(u32::MAX);
        match self {
            Source::Spool { place, skip } => Source::Spool {
                place,
                skip: skip + more,
            },
            Source::Chunk { id, skip } => Source::Chunk {
                id,
                skip: skip + more,
            },
            Source::Zero => Source::Zero,
        }
    }
}

/// Consecutive bytes of a file with one source. Holes may reach to the end of all offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::drive) struct Piece {
    /// Length in bytes, not 0.
    pub(in crate::drive) len: u64,
    /// Where the bytes are.
    pub(in crate::drive) source: Source,
}

/// Bytes of a spool record that nothing refers to any more.
pub(in crate::drive) type Released = Vec<(Place, u32)>;

/// The pieces of all files that have some, by file and offset; they do not overlap. One map for all: a map
/// for each file would cost ten times the memory of the one piece that most of them have.
#[derive(Debug, Default)]
pub(in crate::drive) struct Dirty {
    pieces: BTreeMap<(InodeNo, u64), Piece>,
    files: usize,
    spooled_bytes: u64,
}

/// Memory that a piece takes, with its share of the map.
const PIECE_BYTES: usize = 96;

impl Dirty {
    /// Bytes of files that lie in the spool and are not on the store.
    #[must_use]
    pub(in crate::drive) fn spooled_bytes(&self) -> u64 {
        self.spooled_bytes
    }

    /// The same of one file.
    #[must_use]
    pub(in crate::drive) fn spooled_bytes_of(&self, ino: InodeNo) -> u64 {
        self.of(ino).map(|(_, piece)| piece.spooled_bytes()).sum()
    }

    /// Memory for the pieces of one file, estimated.
    #[must_use]
    pub(in crate::drive) fn memory_bytes_of(&self, ino: InodeNo) -> usize {
        self.of(ino).count() * PIECE_BYTES
    }

    /// Memory, estimated.
    #[must_use]
    pub(in crate::drive) fn memory_bytes(&self) -> usize {
        self.pieces.len() * PIECE_BYTES
    }

    /// How many files have pieces.
    #[must_use]
    pub(in crate::drive) fn files(&self) -> usize {
        self.files
    }

    /// The files that have pieces, ascending.
    #[must_use]
    pub(in crate::drive) fn inodes(&self) -> Vec<InodeNo> {
        let mut inodes: Vec<_> = self.pieces.keys().map(|(ino, _)| *ino).collect();
        inodes.dedup();
        inodes
    }

    /// Does a file have pieces?
    #[must_use]
    pub(in crate::drive) fn has(&self, ino: InodeNo) -> bool {
        self.of(ino).next().is_some()
    }

    fn of(&self, ino: InodeNo) -> impl Iterator<Item = (u64, &Piece)> {
        let pieces = self.pieces.range((ino, 0)..=(ino, u64::MAX));
        pieces.map(|((_, at), piece)| (*at, piece))
    }

    /// Lays a piece over whatever was there; tells which spooled bytes it hid.
    pub(in crate::drive) fn put(&mut self, ino: InodeNo, start: u64, piece: Piece) -> Released {
        let end = start.saturating_add(piece.len);
        self.files += usize::from(!self.has(ino));
        let released = self.clear(ino, start, end);
        self.pieces.insert((ino, start), piece);
        self.spooled_bytes += piece.spooled_bytes();
        self.spooled_bytes -= released.iter().map(|(_, len)| u64::from(*len)).sum::<u64>();
        released
    }

    /// Takes a file's pieces out, without releasing their bytes.
    pub(in crate::drive) fn take(&mut self, ino: InodeNo) -> Vec<(u64, Piece)> {
        let pieces: Vec<_> = self.of(ino).map(|(at, piece)| (at, *piece)).collect();
        for (at, piece) in &pieces {
            self.pieces.remove(&(ino, *at));
            self.spooled_bytes -= piece.spooled_bytes();
        }
        self.files -= usize::from(!pieces.is_empty());
        pieces
    }

    /// Every spooled range that is referred to, and by which file.
    pub(in crate::drive) fn references(&self) -> impl Iterator<Item = (InodeNo, Place, u32)> + '_ {
        self.pieces
            .iter()
            .filter_map(|((ino, _), piece)| match piece.source {
                Source::Spool { place, .. } => {
                    Some((*ino, place, u32::try_from(piece.len).unwrap_or(u32::MAX)))
                }
                Source::Chunk { .. } | Source::Zero => None,
            })
    }

    /// Every stored chunk that is referred to.
    pub(in crate::drive) fn chunks(&self) -> impl Iterator<Item = ChunkId> + '_ {
        self.pieces.values().filter_map(|piece| match piece.source {
            Source::Chunk { id, .. } => Some(id),
            Source::Spool { .. } | Source::Zero => None,
        })
    }

    /// The pieces inside `start..end`, cut to it, in order; what lies between them is not dirty.
    pub(in crate::drive) fn within(
        &self,
        ino: InodeNo,
        start: u64,
        end: u64,
    ) -> impl Iterator<Item = (u64, Piece)> + '_ {
        let before = self.pieces.range((ino, 0)..(ino, start)).next_back();
        let first = before.map_or(start, |((_, at), _)| *at);
        let pieces = self.pieces.range((ino, first.min(end))..(ino, end));
        pieces.filter_map(move |(&(_, at), piece)| {
            let (from, to) = (at.max(start), at.saturating_add(piece.len).min(end));
            (from < to).then(|| {
                let source = piece.source.skipped(from - at);
                let len = to - from;
                (from, Piece { len, source })
            })
        })
    }

    /// Makes `start..end` of a file free of pieces, splitting those that reach over its borders.
    fn clear(&mut self, ino: InodeNo, start: u64, end: u64) -> Released {
        let mut released = Released::new();
        let mut hidden: Vec<(u64, Piece)> = Vec::new();
        let before = self.pieces.range((ino, 0)..(ino, start)).next_back();
        if let Some((&(_, at), &piece)) = before
            && at.saturating_add(piece.len) > start
        {
            hidden.push((at, piece));
        }
        let inside = self.pieces.range((ino, start)..(ino, end));
        hidden.extend(inside.map(|((_, at), piece)| (*at, *piece)));
        for (at, piece) in hidden {
            let Piece { source, .. } = piece;
            let piece_end = at.saturating_add(piece.len);
            self.pieces.remove(&(ino, at));
            if at < start {
                let len = start - at;
                self.pieces.insert((ino, at), Piece { len, source });
            }
            if piece_end > end {
                let (len, source) = (piece_end - end, source.skipped(end - at));
                self.pieces.insert((ino, end), Piece { len, source });
            }
            if let Source::Spool { place, .. } = source {
                let len = piece_end.min(end) - at.max(start);
                released.push((place, u32::try_from(len).unwrap_or(u32::MAX)));
            }
        }
        released
    }
}

impl Piece {
    fn spooled_bytes(&self) -> u64 {
        match self.source {
            Source::Spool { .. } => self.len,
            Source::Chunk { .. } | Source::Zero => 0,
        }
    }
}
