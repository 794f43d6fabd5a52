//! `SEEK_DATA` and `SEEK_HOLE`.

use crate::fs::Error;
use crate::fs::Fs;
use crate::fs::regular;
use crate::id::InodeNo;

/// Bytes looked at first; doubled while nothing is found, so that neither a file of small parts
/// nor a hole of a tebibyte takes long.
const FIRST_LOOK: u64 = 1 << 20;

/// What to look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seek {
    /// Bytes that are kept.
    Data,
    /// A hole; the end of the file counts as one.
    Hole,
}

impl Fs {
    /// The first offset at or after `offset` where a file has data, or a hole.
    ///
    /// # Errors
    /// [`Error::NoSuchOffset`] when there is none, or `offset` is not inside the file.
    pub fn seek(&self, ino: InodeNo, offset: u64, what: Seek) -> Result<u64, Error> {
        let view = self.drive.view();
        let size = regular(&view, ino)?.size;
        if offset >= size {
            return Err(Error::NoSuchOffset);
        }
        let (mut at, mut look) = (offset, FIRST_LOOK);
        while at < size {
            let end = at.saturating_add(look).min(size);
            let wanted = |is_hole| is_hole == (what == Seek::Hole);
            let parts = view.resolve(ino, at, end)?;
            if let Some(part) = parts.iter().find(|part| wanted(part.found.is_hole())) {
                return Ok(part.start);
            }
            (at, look) = (end, look.saturating_mul(2));
        }
        match what {
            Seek::Hole => Ok(size),
            Seek::Data => Err(Error::NoSuchOffset),
        }
    }
}
