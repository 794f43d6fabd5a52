//! Content: chunks that cannot be read are looked for, and stored again where they are found.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::Look;
use crate::drive::filling::Packing;
use crate::drive::repair::Mode;
use crate::drive::repair::Repaired;
use crate::drive::repair::Wish;
use crate::drive::task::Task;
use crate::drive::verify::Findings;
use crate::drive::verify::places::Where;
use crate::id::ArchiveNo;
use crate::id::ChunkId;
use crate::id::PackId;

/// Bytes of chunks that are stored again in one epoch: an interrupted repair loses no more than these.
const STEP_BYTES: usize = 48 << 20;

/// A chunk that is to be stored again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::drive) struct Sick {
    /// For which archive.
    pub(in crate::drive) archive: ArchiveNo,
    /// Where it is, and cannot be read; a chunk that is elsewhere by now is well.
    pub(in crate::drive) pack: Option<PackId>,
}

/// Where a chunk was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::drive) enum Source {
    /// In memory or in the cache.
    Cache,
    /// On the store.
    Store,
    /// In a file that the user named.
    File,
}

/// The chunks that are looked for, and those that were found and wait to be stored.
pub(in crate::drive) struct Mending<'m> {
    pub(in crate::drive) drive: &'m Drive,
    pub(in crate::drive) task: &'m Task<'m>,
    pub(in crate::drive) wanted: BTreeMap<ChunkId, Sick>,
    mode: Mode,
    found: Vec<(ChunkId, Sick, Bytes)>,
    repaired: &'m mut Repaired,
}

impl Mending<'_> {
    /// Somebody has a chunk: if it really is the one, it is stored again.
    pub(in crate::drive) fn have(
        &mut self,
        id: &ChunkId,
        plain: Bytes,
        source: Source,
    ) -> Result<(), Error> {
        let Some(sick) = self.wanted.get(id).copied() else {
            return Ok(());
        };
        if self.drive.keys.chunk_id(&plain) != *id {
            return Ok(());
        }
        self.wanted.remove(id);
        let repaired = &mut *self.repaired;
        repaired.chunks += 1;
        repaired.chunk_bytes += plain.len() as u64;
        *match source {
            Source::Cache => &mut repaired.from_cache,
            Source::Store => &mut repaired.from_store,
            Source::File => &mut repaired.from_files,
        } += 1;
        if self.mode == Mode::DryRun {
            return Ok(());
        }
        self.found.push((*id, sick, plain));
        let waiting: usize = self.found.iter().map(|(_, _, plain)| plain.len()).sum();
        if waiting >= STEP_BYTES {
            self.store()?;
        }
        Ok(())
    }

    /// Stores what was found, and publishes where it is.
    fn store(&mut self) -> Result<(), Error> {
        let found = std::mem::take(&mut self.found);
        if found.is_empty() {
            return Ok(());
        }
        self.drive
            .in_epoch(self.task, move |drive| store(drive, found))
    }
}

impl Drive {
    /// Finds what cannot be read, and stores it again.
    pub(in crate::drive) fn mend_content(
        &self,
        wish: &Wish,
        findings: &Findings,
        task: &Task<'_>,
        repaired: &mut Repaired,
    ) -> Result<(), Error> {
        let mut mending = Mending {
            drive: self,
            task,
            wanted: self.sick(findings)?,
            mode: wish.mode,
            found: Vec::new(),
            repaired,
        };
        let found = mending.look_here(findings).and_then(|()| {
            if let Some(dir) = &wish.from {
                mending.look_in_files(dir)?;
            }
            mending.look_on_shelves()
        });
        // What was found before an interruption is stored all the same.
        match found {
            Err(Error::Interrupted) | Ok(()) => {
                let stored = mending.store();
                found.and(stored)
            }
            Err(error) => Err(error),
        }
    }

    /// The chunks that something is wrong with, and for which archive they are stored.
    fn sick(&self, findings: &Findings) -> Result<BTreeMap<ChunkId, Sick>, Error> {
        let mut sick = BTreeMap::new();
        for (ino, chunks) in &findings.owners {
            let archive = self.view().inode(*ino)?.map(|inode| inode.archive);
            for id in chunks {
                let pack = match self.whereabouts(id)? {
                    Where::Here(place, _) => Some(place.pack),
                    Where::NoPack(pack) => Some(pack),
                    Where::NoPlace => None,
                };
                sick.entry(*id).or_insert(Sick {
                    archive: archive.unwrap_or(ArchiveNo(0)),
                    pack,
                });
            }
        }
        Ok(sick)
    }
}

/// Packs chunks and puts them, within an epoch. The cache keeps its copies, which may be the only ones
/// until the store has acknowledged these.
fn store(drive: &Drive, mut found: Vec<(ChunkId, Sick, Bytes)>) -> Result<(), Error> {
    found.sort_by_key(|(_, sick, _)| sick.archive);
    let mut packing = Packing::new(drive);
    for (id, sick, plain) in found {
        let now = match drive.whereabouts(&id)? {
            Where::Here(place, _) => Some(place.pack),
            Where::NoPack(pack) => Some(pack),
            Where::NoPlace => None,
        };
        if now == sick.pack {
            packing.push(sick.archive, id, &plain)?;
        }
    }
    packing.finish()
}
