//! File content that is newer than the manifests: which bytes of which file lie in the spool, are holes, or were cloned.
//!
//! Two of these exist at most. Writes go to the gathering one. A freeze sets it aside as it is:
//! what the drain uploads is exactly what the files held at that moment, however much is written
//! meanwhile. Reads look at the gathering one, then at the frozen one, then at the manifest.

use std::collections::BTreeMap;
use std::collections::HashMap;

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

/// The pieces of one file, by file offset; they do not overlap.
pub(in crate::drive) type Pieces = BTreeMap<u64, Piece>;

/// The pieces of all files that have some.
#[derive(Debug, Default)]
pub(in crate::drive) struct Dirty {
    files: HashMap<InodeNo, Pieces>,
    spooled_bytes: u64,
}

impl Dirty {
    /// Bytes of files that lie in the spool and are not on the store.
    #[must_use]
    pub(in crate::drive) fn spooled_bytes(&self) -> u64 {
        self.spooled_bytes
    }

    /// The same of one file.
    #[must_use]
    pub(in crate::drive) fn spooled_bytes_of(&self, ino: InodeNo) -> u64 {
        self.files.get(&ino).map_or(0, spooled)
    }

    /// How many files have pieces.
    #[must_use]
    pub(in crate::drive) fn files(&self) -> usize {
        self.files.len()
    }

    /// The files that have pieces, in no order.
    pub(in crate::drive) fn inodes(&self) -> impl Iterator<Item = InodeNo> + '_ {
        self.files.keys().copied()
    }

    /// The pieces of a file.
    #[must_use]
    pub(in crate::drive) fn pieces(&self, ino: InodeNo) -> Option<&Pieces> {
        self.files.get(&ino)
    }

    /// Lays a piece over whatever was there; tells which spooled bytes it hid.
    pub(in crate::drive) fn put(&mut self, ino: InodeNo, start: u64, piece: Piece) -> Released {
        let end = start.saturating_add(piece.len);
        let pieces = self.files.entry(ino).or_default();
        let released = clear(pieces, start, end);
        pieces.insert(start, piece);
        if let Source::Spool { .. } = piece.source {
            self.spooled_bytes += piece.len;
        }
        self.spooled_bytes -= released.iter().map(|(_, len)| u64::from(*len)).sum::<u64>();
        released
    }

    /// Takes a file's pieces out, without releasing their bytes.
    pub(in crate::drive) fn take(&mut self, ino: InodeNo) -> Pieces {
        let pieces = self.files.remove(&ino).unwrap_or_default();
        self.spooled_bytes -= spooled(&pieces);
        pieces
    }

    /// Every spooled range that is referred to, and by which file.
    pub(in crate::drive) fn references(&self) -> impl Iterator<Item = (InodeNo, Place, u32)> + '_ {
        let of_file = |(ino, pieces): (&InodeNo, &'_ Pieces)| {
            let ino = *ino;
            let spooled = pieces.values().filter_map(move |piece| match piece.source {
                Source::Spool { place, .. } => {
                    Some((ino, place, u32::try_from(piece.len).unwrap_or(u32::MAX)))
                }
                Source::Chunk { .. } | Source::Zero => None,
            });
            spooled.collect::<Vec<_>>()
        };
        self.files.iter().flat_map(of_file)
    }

    /// Every stored chunk that is referred to.
    pub(in crate::drive) fn chunks(&self) -> impl Iterator<Item = ChunkId> + '_ {
        let pieces = self.files.values().flat_map(BTreeMap::values);
        pieces.filter_map(|piece| match piece.source {
            Source::Chunk { id, .. } => Some(id),
            Source::Spool { .. } | Source::Zero => None,
        })
    }

    /// The pieces inside `start..end`, cut to it, in order; what lies between them is not dirty.
    pub(in crate::drive) fn within(&self, ino: InodeNo, start: u64, end: u64) -> Vec<(u64, Piece)> {
        self.files
            .get(&ino)
            .map(|pieces| within(pieces, start, end))
            .unwrap_or_default()
    }
}

fn spooled(pieces: &Pieces) -> u64 {
    let in_spool = |piece: &&Piece| matches!(piece.source, Source::Spool { .. });
    pieces
        .values()
        .filter(in_spool)
        .map(|piece| piece.len)
        .sum()
}

/// The parts of `pieces` inside `start..end`, in order.
#[must_use]
pub(in crate::drive) fn within(pieces: &Pieces, start: u64, end: u64) -> Vec<(u64, Piece)> {
    let first = pieces
        .range(..start)
        .next_back()
        .map(|(at, _)| *at)
        .unwrap_or(start);
    let mut found = Vec::new();
    for (&at, piece) in pieces.range(first..end) {
        let (from, to) = (at.max(start), at.saturating_add(piece.len).min(end));
        if from < to {
            found.push((
                from,
                Piece {
                    len: to - from,
                    source: piece.source.skipped(from - at),
                },
            ));
        }
    }
    found
}

/// Makes `start..end` free of pieces, splitting those that reach over its borders.
fn clear(pieces: &mut Pieces, start: u64, end: u64) -> Released {
    let mut released = Released::new();
    let mut hidden: Vec<(u64, Piece)> = Vec::new();
    if let Some((&at, &piece)) = pieces.range(..start).next_back()
        && at.saturating_add(piece.len) > start
    {
        hidden.push((at, piece));
    }
    hidden.extend(pieces.range(start..end).map(|(at, piece)| (*at, *piece)));
    for (at, piece) in hidden {
        let piece_end = at.saturating_add(piece.len);
        pieces.remove(&at);
        if at < start {
            pieces.insert(
                at,
                Piece {
                    len: start - at,
                    source: piece.source,
                },
            );
        }
        if piece_end > end {
            let source = piece.source.skipped(end - at);
            pieces.insert(
                end,
                Piece {
                    len: piece_end - end,
                    source,
                },
            );
        }
        if let Source::Spool { place, .. } = piece.source {
            let len = piece_end.min(end) - at.max(start);
            released.push((place, u32::try_from(len).unwrap_or(u32::MAX)));
        }
    }
    released
}
