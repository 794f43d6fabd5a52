//! How the drive looks at one moment: typed look-ups in the index, and where the bytes of files are.

use std::ops::Bound;
use std::ops::ControlFlow;
use std::ops::Range;
use std::sync::RwLockReadGuard;

use crate::drive::Error;
use crate::drive::State;
use crate::drive::dirty::Piece;
use crate::drive::dirty::Source;
use crate::id::InodeNo;
use crate::index;
use crate::index::Index;
use crate::index::Key;
use crate::index::Value;
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
    /// Look-ups in the index so far, and entries of it that were gone through.
    #[cfg(test)]
    pub(crate) fn looks(&self) -> usize {
        self.index.looks()
    }

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
        resolve(&self.state, self.index, ino, start..end, usize::MAX)
    }

    /// The first of the parts of `start..end` that is wanted. What lies behind it is not looked at, and two parts
    /// that follow each other may be of one kind.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn find(
        &self,
        ino: InodeNo,
        start: u64,
        end: u64,
        wanted: impl Fn(&Part) -> bool,
    ) -> Result<Option<Part>, Error> {
        let mut found = None;
        let mut look = |part| {
            if wanted(&part) {
                found = Some(part);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        };
        let _ended = Walk::new(&self.state, self.index, ino, &mut look).gathering(start..end)?;
        Ok(found)
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

/// Where the bytes of a range of a file are, at most so many parts of it from the front.
pub(in crate::drive) fn resolve(
    state: &State,
    index: &Index,
    ino: InodeNo,
    range: Range<u64>,
    most: usize,
) -> Result<Vec<Part>, Error> {
    let mut parts = Vec::new();
    let mut take = |part| {
        parts.push(part);
        match parts.len() < most {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        }
    };
    let _ended = Walk::new(state, index, ino, &mut take).gathering(range)?;
    Ok(parts)
}

/// Goes through the parts of a file in order, gathering pieces over frozen ones over the manifest, until whoever
/// is given them has enough. Each layer is asked for no more than is gone through.
struct Walk<'w> {
    state: &'w State,
    index: &'w Index,
    ino: InodeNo,
    take: &'w mut dyn FnMut(Part) -> ControlFlow<()>,
}

/// Does the walk go on?
type Step = Result<ControlFlow<()>, Error>;

/// The rest of a function that walks, where the walk goes on.
macro_rules! step {
    ($step:expr) => {
        if $step.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    };
}

impl<'w> Walk<'w> {
    fn new(
        state: &'w State,
        index: &'w Index,
        ino: InodeNo,
        take: &'w mut dyn FnMut(Part) -> ControlFlow<()>,
    ) -> Walk<'w> {
        Walk {
            state,
            index,
            ino,
            take,
        }
    }

    fn gathering(&mut self, range: Range<u64>) -> Step {
        let mut at = range.start;
        let state = self.state;
        for (from, piece) in state.gathering.within(self.ino, range.start, range.end) {
            step!(self.frozen(at..from)?);
            step!(self.piece(from, piece));
            at = from + piece.len;
        }
        self.frozen(at..range.end)
    }

    fn frozen(&mut self, range: Range<u64>) -> Step {
        let mut at = range.start;
        let state = self.state;
        if let Some(frozen) = state.frozen.as_ref().filter(|_| !range.is_empty()) {
            for (from, piece) in frozen.within(self.ino, range.start, range.end) {
                step!(self.manifest(at..from)?);
                step!(self.piece(from, piece));
                at = from + piece.len;
            }
        }
        self.manifest(at..range.end)
    }

    fn manifest(&mut self, range: Range<u64>) -> Step {
        if range.is_empty() {
            return Ok(ControlFlow::Continue(()));
        }
        let mut at = range.start;
        let (index, ino) = (self.index, self.ino);
        for entry in extents(index, Layer::Newest, ino, range.start, range.end)? {
            let (from, extent) = entry?;
            step!(self.hole(at..from));
            let len = extent.len();
            let found = match extent {
                Extent::Chunk { id, skip, .. } => Found::Source(Source::Chunk { id, skip }),
                Extent::Inline(bytes) => Found::Inline(bytes),
            };
            step!((self.take)(Part {
                start: from,
                len,
                found,
            }));
            at = from + len;
        }
        Ok(self.hole(at..range.end))
    }

    fn piece(&mut self, start: u64, piece: Piece) -> ControlFlow<()> {
        (self.take)(Part {
            start,
            len: piece.len,
            found: Found::Source(piece.source),
        })
    }

    fn hole(&mut self, range: Range<u64>) -> ControlFlow<()> {
        if range.is_empty() {
            return ControlFlow::Continue(());
        }
        (self.take)(Part {
            start: range.start,
            len: range.end - range.start,
            found: Found::Source(Source::Zero),
        })
    }
}

/// Which state of the index to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::drive) enum Layer {
    /// As it is now.
    Newest,
    /// As it was at the freeze, with what the drain has added since.
    Frozen,
}

/// The extents of a manifest inside `start..end`, cut to it, in order; looked up as they are taken.
pub(in crate::drive) fn extents(
    index: &Index,
    layer: Layer,
    ino: InodeNo,
    start: u64,
    end: u64,
) -> Result<impl Iterator<Item = Result<(u64, Extent), Error>> + '_, Error> {
    let (first, floor) = (key::extent(ino, start), key::extent(ino, 0));
    let last = key::extent(ino, end);
    let (lower, upper) = (Bound::Included(&floor[..]), Bound::Excluded(&first[..]));
    let before = match layer {
        Layer::Newest => index.last(lower, upper)?,
        Layer::Frozen => index.frozen_last(lower, upper)?,
    };
    let (from, to) = (Bound::Included(&first[..]), Bound::Excluded(&last[..]));
    let entries = match layer {
        Layer::Newest => index.scan(from, to),
        Layer::Frozen => index.frozen_scan(from, to),
    };
    let all = before.map(Ok).into_iter().chain(entries);
    Ok(all.filter_map(move |entry| within(entry, start, end).transpose()))
}

/// What of a manifest's entry lies inside `start..end`.
fn within(
    entry: Result<(Key, Value), index::Error>,
    start: u64,
    end: u64,
) -> Result<Option<(u64, Extent)>, Error> {
    let (key, value) = entry?;
    let at = key::extent_offset(&key).ok_or(Error::Malformed)?;
    let extent = Extent::decode(&value)?;
    let (from, to) = (at.max(start), (at + extent.len()).min(end));
    Ok((from < to).then(|| (from, extent.part(from - at, to - from))))
}
