//! Manifests change here and nowhere else: a region of a file gets new extents.

use std::ops::Bound;

use crate::drive::Drive;
use crate::drive::Error;
use crate::id::InodeNo;
use crate::index::Batch;
use crate::index::key;
use crate::index::manifest::Extent;

/// What a changed region of a file will be made of.
#[derive(Debug)]
pub(in crate::drive) struct Region {
    pub(in crate::drive) ino: InodeNo,
    pub(in crate::drive) start: u64,
    pub(in crate::drive) end: u64,
    pub(in crate::drive) extents: Vec<(u64, Extent)>,
}

/// Replaces a region of a manifest in the frozen epoch: extents that reach over its borders are split.
pub(in crate::drive) fn splice(drive: &Drive, region: &Region) -> Result<(), Error> {
    let Region {
        ino, start, end, ..
    } = *region;
    let mut batch = Batch::default();
    let floor = key::extent(ino, 0);
    if let Some((key, value)) = drive.index.frozen_last(
        Bound::Included(&floor),
        Bound::Excluded(&key::extent(ino, start)),
    )? {
        let at = key::extent_offset(&key).ok_or(Error::Malformed)?;
        let extent = Extent::decode(&value)?;
        let extent_end = at + extent.len();
        if extent_end > start {
            batch.put(key, extent.part(0, start - at).encode())?;
        }
        if extent_end > end {
            batch.put(
                key::extent(ino, end),
                extent.part(end - at, extent_end - end).encode(),
            )?;
        }
    }
    let last = if end == u64::MAX {
        key::of(b'M', ino).1
    } else {
        key::extent(ino, end)
    };
    for entry in drive.index.frozen_scan(
        Bound::Included(&key::extent(ino, start)),
        Bound::Excluded(&last),
    ) {
        let (key, value) = entry?;
        let at = key::extent_offset(&key).ok_or(Error::Malformed)?;
        let extent = Extent::decode(&value)?;
        batch.delete(key);
        let extent_end = at + extent.len();
        if extent_end > end {
            batch.put(
                key::extent(ino, end),
                extent.part(end - at, extent_end - end).encode(),
            )?;
        }
    }
    for (at, extent) in &region.extents {
        batch.put(key::extent(ino, *at), extent.encode())?;
    }
    drive.index.amend(batch)?;
    Ok(())
}
