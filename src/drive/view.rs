//! How the drive looks at one moment: typed look-ups in the index, and where the bytes of files are.

use std::ops::Bound;
use std::sync::RwLockReadGuard;

use crate::drive::Error;
use crate::drive::State;
use crate::drive::dirty::Source;
use crate::id::InodeNo;
use crate::index::Index;
use crate::index::dirent::Dirent;
use crate::index::inode::Inode;
use crate::index::key;
use crate::index::manifest::Extent;

/// A key of the index and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// Where consecutive bytes of a file are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// File offset of the first byte.
    pub start: u64,
    /// Length in bytes.
    pub len: u64,
    /// Where they are.
    pub found: Found,
}

/// Where bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// In the spool, in a stored chunk, or nowhere (a hole).
    Source(Source),
    /// Here.
    Inline(Vec<u8>),
}

impl Found {
    /// Is it a hole?
    #[must_use]
    pub fn is_hole(&self) -> bool {
        matches!(self, Found::Source(Source::Zero))
    }
}

/// Typed look-ups, the same on a [`View`] and within a [`crate::drive::change::Change`].
pub trait Look {
    /// The value under a key.
    ///
    /// # Errors
    /// When the index cannot be read.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error>;

    /// An inode, if there is one with this number.
    ///
    /// # Errors
    /// When the index cannot be read.
    fn inode(&self, ino: InodeNo) -> Result<Option<Inode>, Error> {
        Ok(self
            .get(&key::inode(ino))?
            .map(|value| Inode::decode(&value))
            .transpose()?)
    }

    /// A directory's entry, if it has one of this name.
    ///
    /// # Errors
    /// When the index cannot be read.
    fn entry(&self, parent: InodeNo, name: &[u8]) -> Result<Option<Dirent>, Error> {
        Ok(self
            .get(&key::dirent(parent, name))?
            .map(|value| Dirent::decode(&value))
            .transpose()?)
    }
}

/// The drive at one moment; holds off changes while it lives, so keep it short and never wait in it.
pub struct View<'d> {
    pub(in crate::drive) state: RwLockReadGuard<'d, State>,
    pub(in crate::drive) index: &'d Index,
}

impl Look for View<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.index.get(key)?.map(|value| value.to_vec()))
    }
}

impl View<'_> {
    /// The entries from `from` on that are below `to`, in key order, at most `limit` of them.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, Error> {
        scan(self.index, from, to, limit)
    }

    /// Where the bytes `start..end` of a file are, without gaps, in order.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn resolve(&self, ino: InodeNo, start: u64, end: u64) -> Result<Vec<Part>, Error> {
        resolve(&self.state, self.index, ino, start, end)
    }
}

pub(in crate::drive) fn scan(
    index: &Index,
    from: &[u8],
    to: &[u8],
    limit: usize,
) -> Result<Vec<Row>, Error> {
    let mut found = Vec::new();
    for entry in index
        .scan(Bound::Included(from), Bound::Excluded(to))
        .take(limit)
    {
        let (key, value) = entry?;
        found.push((key.to_vec(), value.to_vec()));
    }
    Ok(found)
}

/// Where the bytes `start..end` of a file are: gathering pieces over frozen ones over the manifest.
pub(in crate::drive) fn resolve(
    state: &State,
    index: &Index,
    ino: InodeNo,
    start: u64,
    end: u64,
) -> Result<Vec<Part>, Error> {
    let mut parts = Vec::new();
    let mut at = start;
    for (from, piece) in state.gathering.within(ino, start, end) {
        below_gathering(state, index, ino, at, from, &mut parts)?;
        parts.push(Part {
            start: from,
            len: piece.len,
            found: Found::Source(piece.source),
        });
        at = from + piece.len;
    }
    below_gathering(state, index, ino, at, end, &mut parts)?;
    Ok(parts)
}

fn below_gathering(
    state: &State,
    index: &Index,
    ino: InodeNo,
    start: u64,
    end: u64,
    parts: &mut Vec<Part>,
) -> Result<(), Error> {
    if start >= end {
        return Ok(());
    }
    let mut at = start;
    if let Some(frozen) = &state.frozen {
        for (from, piece) in frozen.within(ino, start, end) {
            below_frozen(index, ino, at, from, parts)?;
            parts.push(Part {
                start: from,
                len: piece.len,
                found: Found::Source(piece.source),
            });
            at = from + piece.len;
        }
    }
    below_frozen(index, ino, at, end, parts)
}

fn below_frozen(
    index: &Index,
    ino: InodeNo,
    start: u64,
    end: u64,
    parts: &mut Vec<Part>,
) -> Result<(), Error> {
    let mut at = start;
    if start >= end {
        return Ok(());
    }
    for (from, extent) in extents(index, Layer::Newest, ino, start, end)? {
        if from > at {
            parts.push(Part {
                start: at,
                len: from - at,
                found: Found::Source(Source::Zero),
            });
        }
        let len = extent.len();
        let found = match extent {
            Extent::Chunk { id, skip, .. } => Found::Source(Source::Chunk { id, skip }),
            Extent::Inline(bytes) => Found::Inline(bytes),
        };
        parts.push(Part {
            start: from,
            len,
            found,
        });
        at = from + len;
    }
    if at < end {
        parts.push(Part {
            start: at,
            len: end - at,
            found: Found::Source(Source::Zero),
        });
    }
    Ok(())
}

/// Which state of the index to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::drive) enum Layer {
    /// As it is now.
    Newest,
    /// As it was at the freeze, with what the drain has added since.
    Frozen,
}

/// The extents of a manifest inside `start..end`, cut to it, in order.
pub(in crate::drive) fn extents(
    index: &Index,
    layer: Layer,
    ino: InodeNo,
    start: u64,
    end: u64,
) -> Result<Vec<(u64, Extent)>, Error> {
    let mut found = Vec::new();
    let (first, floor) = (key::extent(ino, start), key::extent(ino, 0));
    let before = match layer {
        Layer::Newest => index.last(Bound::Included(&floor), Bound::Excluded(&first))?,
        Layer::Frozen => index.frozen_last(Bound::Included(&floor), Bound::Excluded(&first))?,
    };
    let mut keep = |key: &[u8], value: &[u8]| -> Result<(), Error> {
        let at = key::extent_offset(key).ok_or(Error::Malformed)?;
        let extent = Extent::decode(value)?;
        let (from, to) = (at.max(start), (at + extent.len()).min(end));
        if from < to {
            found.push((from, extent.part(from - at, to - from)));
        }
        Ok(())
    };
    if let Some((key, value)) = before {
        keep(&key, &value)?;
    }
    let last = key::extent(ino, end);
    let (from, to) = (Bound::Included(&first[..]), Bound::Excluded(&last[..]));
    let entries = match layer {
        Layer::Newest => index.scan(from, to),
        Layer::Frozen => index.frozen_scan(from, to),
    };
    for entry in entries {
        let (key, value) = entry?;
        keep(&key, &value)?;
    }
    Ok(found)
}
