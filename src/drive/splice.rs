//! Manifests change here and nowhere else: a region of a file gets new extents.

use std::ops::Bound;
use std::sync::PoisonError;

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
    // Who looks where bytes are takes several steps over the extents, and may not see some of them as they were
    // and some as they are now.
    let _alone = drive.state.write().unwrap_or_else(PoisonError::into_inner);
    drive.index.amend(batch)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::drive::fixture;
    use crate::id::ChunkId;
    use crate::store::memory::Memory;

    const INO: InodeNo = InodeNo(1000);

    fn region(start: u64, end: u64, chunk: u8) -> Region {
        let extent = Extent::Chunk {
            id: ChunkId([chunk; 32]),
            skip: 0,
            len: u32::try_from(end - start).expect("short"),
        };
        Region {
            ino: INO,
            start,
            end,
            extents: vec![(start, extent)],
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn whoever_looks_while_a_manifest_changes_sees_each_byte_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Arc::new(Memory::default());
        let opened = fixture::open(fixture::settings(dir.path()), &store).await;
        let drive = opened.expect("a new drive");
        drive.index.freeze().expect("nothing is frozen");
        splice(&drive, &region(0, 100, 1)).expect("spliced");
        let is_done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let readers = [(); 2].map(|()| {
                scope.spawn(|| {
                    while !is_done.load(Ordering::Relaxed) {
                        let parts = drive.view().resolve(INO, 60, 100).expect("readable");
                        let mut at = 60;
                        for part in &parts {
                            let is_next = part.start == at && !part.found.is_hole();
                            if !is_next {
                                return Err(parts);
                            }
                            at += part.len;
                        }
                        if at != 100 {
                            return Err(parts);
                        }
                    }
                    Ok(())
                })
            });
            for _ in 0..20_000 {
                // The first cuts an extent in three, the second joins them again.
                splice(&drive, &region(30, 70, 2)).expect("spliced");
                splice(&drive, &region(0, 100, 1)).expect("spliced");
            }
            is_done.store(true, Ordering::Relaxed);
            for reader in readers {
                assert_eq!(reader.join().expect("no panic"), Ok(()));
            }
        });
        drive.index.thaw().expect("thawed");
        drive.close().await;
    }
}
