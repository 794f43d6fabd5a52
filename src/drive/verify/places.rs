//! Places: does the index say of every needed chunk where it is, and of every such pack?

use std::collections::HashMap;
use std::collections::HashSet;

use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::scope::Files;
use crate::drive::task::Task;
use crate::drive::verify::Bad;
use crate::drive::verify::Findings;
use crate::drive::verify::Ill;
use crate::id::ArchiveNo;
use crate::id::ChunkId;
use crate::id::InodeNo;
use crate::id::PackId;
use crate::index::chunk::ChunkPlace;
use crate::index::chunk::PackPlace;
use crate::index::key;
use crate::index::manifest::Extent;
use crate::index::manifest::FORGOTTEN;
use crate::index::manifest::LOST;

/// How often a look is repeated while places move.
const LOOKS: u32 = 4;

/// A pack that something needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::drive) struct Need {
    /// On whose shelf it should be.
    pub(in crate::drive) archive: ArchiveNo,
    /// Its length.
    pub(in crate::drive) bytes: u64,
}

/// What the files of a scope need.
#[derive(Debug, Default)]
pub(in crate::drive) struct Needed {
    /// The packs.
    pub(in crate::drive) packs: HashMap<PackId, Need>,
    /// The chunks, those counted twice that are used twice.
    pub(in crate::drive) chunks: u64,
}

/// Where a chunk is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::drive) enum Where {
    /// In this place of this pack.
    Here(ChunkPlace, PackPlace),
    /// Nobody knows.
    NoPlace,
    /// In a pack that nobody knows.
    NoPack(PackId),
}

impl Drive {
    /// Where a chunk is now. Chunks are moved to another pack before their old one is forgotten, so a
    /// pack that is not known is looked for again under the chunk's newer place.
    pub(in crate::drive) fn whereabouts(&self, id: &ChunkId) -> Result<Where, Error> {
        let place = || -> Result<Option<ChunkPlace>, Error> {
            let value = self.index.get(&key::chunk(id))?;
            Ok(value.map(|value| ChunkPlace::decode(&value)).transpose()?)
        };
        let mut seen = place()?;
        for _ in 0..LOOKS {
            let Some(chunk) = seen else {
                return Ok(Where::NoPlace);
            };
            if let Some(value) = self.index.get(&key::pack(&chunk.pack))? {
                return Ok(Where::Here(chunk, PackPlace::decode(&value)?));
            }
            let now = place()?;
            if now == seen {
                return Ok(Where::NoPack(chunk.pack));
            }
            seen = now;
        }
        Err(Error::Malformed)
    }

    /// Looks at every extent's place; gives the packs that are needed.
    pub(in crate::drive) fn look_at_places(
        &self,
        files: &Files,
        task: &Task<'_>,
        findings: &mut Findings,
    ) -> Result<Needed, Error> {
        task.begin("looking at manifests", files.count(), 0)?;
        let mut needed = Needed::default();
        let mut counts = findings.counts;
        let mut file = None;
        self.for_each_extent(files, task, |ino, extent| {
            counts.extents += 1;
            if file.replace(ino) != Some(ino) {
                counts.files += 1;
                task.done(1, 0)?;
            }
            let Extent::Chunk { id, skip, len } = extent else {
                return Ok(());
            };
            if id == LOST {
                *findings.lost.entry(ino).or_default() += u64::from(len);
                return Ok(());
            }
            if id == FORGOTTEN {
                *findings.forgotten.entry(ino).or_default() += u64::from(len);
                return Ok(());
            }
            needed.chunks += 1;
            let bad = match self.whereabouts(&id)? {
                Where::NoPlace => Some(Bad::NoPlace),
                Where::NoPack(pack) => {
                    findings.packs.insert(pack, Ill::Unknown);
                    Some(Bad::Pack(pack))
                }
                Where::Here(place, pack) => {
                    counts.chunk_bytes += u64::from(len);
                    let need = Need {
                        archive: pack.archive,
                        bytes: pack.bytes,
                    };
                    needed.packs.insert(place.pack, need);
                    let fits = u64::from(place.offset) + u64::from(place.sealed_len) <= pack.bytes
                        && u64::from(skip) + u64::from(len) <= u64::from(place.plain_len);
                    (!fits).then_some(Bad::WrongPlace)
                }
            };
            if let Some(bad) = bad {
                findings.chunks.insert(id, bad);
            }
            Ok(())
        })?;
        counts.chunks = needed.chunks;
        counts.packs = needed.packs.len() as u64;
        counts.pack_bytes = needed.packs.values().map(|need| need.bytes).sum();
        findings.counts = counts;
        Ok(needed)
    }

    /// Finds the chunks in packs that are missing, and the files that need what is damaged.
    pub(in crate::drive) fn find_owners(
        &self,
        files: &Files,
        task: &Task<'_>,
        findings: &mut Findings,
    ) -> Result<(), Error> {
        if findings.packs.is_empty() && findings.chunks.is_empty() {
            return Ok(());
        }
        task.begin("finding whose content it is", files.count(), 0)?;
        let gone = |ill: &Ill| matches!(ill, Ill::Missing | Ill::Length { .. } | Ill::Unknown);
        let gone: HashSet<PackId> = findings
            .packs
            .iter()
            .filter(|(_, ill)| gone(ill))
            .map(|(pack, _)| *pack)
            .collect();
        let ends: HashSet<PackId> = findings
            .packs
            .iter()
            .filter(|(_, ill)| matches!(ill, Ill::Ends(_)))
            .map(|(pack, _)| *pack)
            .collect();
        let (mut chunks, mut owners) = (findings.chunks.clone(), findings.owners.clone());
        // What has been moved since was whole then, and what has a place since was stored anew.
        let mut moved = Vec::new();
        for (id, bad) in &chunks {
            if let Where::Here(place, _) = self.whereabouts(id)?
                && (*bad == Bad::NoPlace || bad.pack().is_some_and(|pack| pack != place.pack))
            {
                moved.push(*id);
            }
        }
        chunks.retain(|id, _| !moved.contains(id));
        self.for_each_extent(files, task, |ino, extent| {
            let Extent::Chunk { id, .. } = extent else {
                return Ok(());
            };
            if !chunks.contains_key(&id) && id != LOST && id != FORGOTTEN {
                let pack = match self.whereabouts(&id)? {
                    Where::Here(place, _) => place.pack,
                    Where::NoPack(pack) => pack,
                    Where::NoPlace => return Ok(()),
                };
                if gone.contains(&pack) {
                    chunks.insert(id, Bad::Pack(pack));
                } else if ends.contains(&pack) {
                    chunks.insert(id, Bad::Ends(pack));
                }
            }
            if chunks.contains_key(&id) {
                owners.entry(ino).or_default().insert(id);
            }
            Ok(())
        })?;
        (findings.chunks, findings.owners) = (chunks, owners);
        self.drop_unneeded(findings);
        Ok(())
    }

    /// What no file needs any more is no damage.
    fn drop_unneeded(&self, findings: &mut Findings) {
        let needed: HashSet<ChunkId> = findings.owners.values().flatten().copied().collect();
        findings.chunks.retain(|id, _| needed.contains(id));
        // A pack whose ends alone are damaged harms no file.
        let harmless = |bad: &Bad| matches!(bad, Bad::Ends(_));
        let in_need: HashSet<PackId> = findings.chunks.values().filter_map(Bad::pack).collect();
        findings.packs.retain(|pack, _| in_need.contains(pack));
        let ends_only: HashSet<ChunkId> = findings
            .chunks
            .iter()
            .filter(|(_, bad)| harmless(bad))
            .map(|(id, _)| *id)
            .collect();
        let is_harmed =
            |ino: &InodeNo, of: &Findings| of.owners[ino].iter().any(|id| !ends_only.contains(id));
        findings.counts.files_damaged = findings
            .owners
            .keys()
            .filter(|ino| is_harmed(ino, findings))
            .count() as u64;
    }
}

impl Bad {
    /// The pack it is about.
    pub(in crate::drive) fn pack(&self) -> Option<PackId> {
        match self {
            Bad::NoPlace | Bad::WrongPlace => None,
            Bad::Pack(pack) | Bad::Frame(pack) | Bad::Ends(pack) => Some(*pack),
        }
    }
}
