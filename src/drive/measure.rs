//! How much a part of the drive comes to: files, chunks, packs, and what deduplication and compression save.

use std::collections::BTreeSet;
use std::collections::HashSet;

use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::Look;
use crate::drive::scope::Scope;
use crate::drive::task::Task;
use crate::id::ArchiveNo;
use crate::id::ChunkId;
use crate::id::PackId;
use crate::index::chunk::ChunkPlace;
use crate::index::chunk::PackPlace;
use crate::index::key;
use crate::index::manifest::Extent;

/// How much a part of the drive comes to, as of the last published epoch and what was written since.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measure {
    /// Files of all kinds but directories.
    pub files: u64,
    /// Bytes of those files.
    pub bytes: u64,
    /// Bytes of them that are not holes.
    pub stored_bytes: u64,
    /// Chunks that they refer to, each once.
    pub chunks: u64,
    /// Bytes of those chunks.
    pub chunk_bytes: u64,
    /// Bytes of them compressed and sealed.
    pub sealed_bytes: u64,
    /// Packs that hold those chunks.
    pub packs: u64,
    /// Archives on whose shelves those packs lie.
    pub archives: BTreeSet<ArchiveNo>,
}

impl Drive {
    /// Adds up a part of the drive.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Interrupted`], or when the index cannot be read.
    pub fn measure(&self, scope: &Scope, task: &Task<'_>) -> Result<Measure, Error> {
        task.begin("adding up", 0, 0)?;
        let files = self.files_of(scope, task)?;
        let mut measure = Measure::default();
        for ino in files.listed() {
            if let Some(inode) = self.view().inode(ino)? {
                measure.files += 1;
                measure.bytes += inode.size;
                measure.stored_bytes += inode.stored;
            }
        }
        let mut chunks: HashSet<ChunkId> = HashSet::new();
        let mut packs: HashSet<PackId> = HashSet::new();
        self.for_each_extent(&files, task, |_, extent| {
            let Extent::Chunk { id, .. } = extent else {
                return Ok(());
            };
            if !chunks.insert(id) {
                return Ok(());
            }
            let Some(place) = self.index.get(&key::chunk(&id))? else {
                return Ok(());
            };
            let place = ChunkPlace::decode(&place)?;
            measure.chunks += 1;
            measure.chunk_bytes += u64::from(place.plain_len);
            measure.sealed_bytes += u64::from(place.sealed_len);
            if packs.insert(place.pack)
                && let Some(pack) = self.index.get(&key::pack(&place.pack))?
            {
                measure.archives.insert(PackPlace::decode(&pack)?.archive);
            }
            Ok(())
        })?;
        measure.packs = packs.len() as u64;
        Ok(measure)
    }
}
