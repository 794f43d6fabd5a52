//! Reading bodies: verified block by block, and protected from being given back meanwhile.

use std::{io, sync::Arc};

use bytes::Bytes;

use super::{
    Error, Place,
    core::Core,
    medium::read_exact,
    record::{BLOCK_BYTES, table_bytes},
    segment::Segment,
};

/// A body that stays readable while this exists.
pub struct Hold {
    core: Arc<Core>,
    segment: Arc<Segment>,
    place: Place,
}

impl Hold {
    pub(super) fn new(
        core: &Arc<Core>,
        segment: Arc<Segment>,
        place: &Place,
    ) -> Result<Hold, Error> {
        core.retain(&segment, place, u64::from(place.body_len))?;
        Ok(Hold {
            core: Arc::clone(core),
            segment,
            place: *place,
        })
    }

    /// Reads `len` bytes of the body, `skip` bytes into it, and verifies them.
    ///
    /// # Errors
    /// [`Error::Damaged`] or [`Error::Io`].
    pub fn read(&self, skip: u32, len: u32) -> Result<Bytes, Error> {
        read(&self.core, &self.segment, &self.place, skip, len)
    }

    /// Where the body is.
    #[must_use]
    pub fn place(&self) -> Place {
        self.place
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let held = u64::from(self.place.body_len);
        self.core.release(&self.segment, &self.place, held);
    }
}

/// Reads the blocks that the range touches, with the table of checksums if there is one.
pub(super) fn read(
    core: &Core,
    segment: &Segment,
    place: &Place,
    skip: u32,
    len: u32,
) -> Result<Bytes, Error> {
    let failed = |source| Error::Io {
        doing: "reading the spool",
        source,
    };
    let damaged = || {
        segment.note_damage();
        Error::Damaged {
            segment: place.segment,
            position: place.position,
        }
    };
    let end = skip
        .checked_add(len)
        .filter(|end| *end <= place.body_len)
        .ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?;
    if len == 0 {
        return Ok(Bytes::new());
    }
    let data = core.data(segment).map_err(|fault| match fault.kind() {
        // Removed since the place was looked up.
        io::ErrorKind::NotFound => Error::Gone {
            segment: place.segment,
            position: place.position,
        },
        _ => failed(fault),
    })?;
    let first = skip / BLOCK_BYTES * BLOCK_BYTES;
    let last = end.next_multiple_of(BLOCK_BYTES).min(place.body_len);
    let fetch = |position: u64, len: u64| -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; usize::try_from(len).unwrap_or_default()];
        match read_exact(&*data, position, &mut bytes) {
            Ok(()) => Ok(bytes),
            // The file has lost its end.
            Err(fault) if fault.kind() == io::ErrorKind::UnexpectedEof => Err(damaged()),
            Err(fault) => Err(failed(fault)),
        }
    };
    let blocks = fetch(place.position + u64::from(first), u64::from(last - first))?;
    let table_len = table_bytes(place.body_len);
    let whole = if table_len == 0 {
        crc32fast::hash(&blocks) == place.crc
    } else {
        let table = fetch(place.position - table_len, table_len)?;
        let sums = table.chunks(4).skip((first / BLOCK_BYTES) as usize);
        crc32fast::hash(&table) == place.crc
            && blocks
                .chunks(BLOCK_BYTES as usize)
                .zip(sums)
                .all(|(block, sum)| crc32fast::hash(block).to_le_bytes() == *sum)
    };
    if !whole {
        return Err(damaged());
    }
    let from = (skip - first) as usize;
    Ok(Bytes::from(blocks).slice(from..from + len as usize))
}
