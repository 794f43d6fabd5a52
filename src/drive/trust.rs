//! Which chunks the store has, as far as is known: what was found missing or damaged does not count, so
//! that writing the same content again heals it.

use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use crate::drive::Drive;
use crate::drive::Error;
use crate::id::ChunkId;
use crate::id::InodeNo;
use crate::id::PackId;
use crate::index::Batch;
use crate::index::chunk::ChunkPlace;
use crate::index::key;

/// What is not trusted, until the drive is closed. A chunk that is stored again, in another pack, is
/// trusted again.
#[derive(Debug, Default)]
pub(in crate::drive) struct Distrust(Mutex<Known>);

/// What was not trusted at a moment.
#[derive(Clone, Debug, Default)]
pub(in crate::drive) struct Distrusted {
    pub(in crate::drive) packs: HashSet<PackId>,
    chunks: HashMap<ChunkId, PackId>,
}

impl Distrusted {
    pub(in crate::drive) fn is_empty(&self) -> bool {
        self.packs.is_empty() && self.chunks.is_empty()
    }

    /// Is this place of a chunk one that it cannot be read from?
    pub(in crate::drive) fn has(&self, id: &ChunkId, pack: &PackId) -> bool {
        self.packs.contains(pack) || self.chunks.get(id) == Some(pack)
    }
}

#[derive(Debug, Default)]
struct Known {
    packs: HashSet<PackId>,
    chunks: HashMap<ChunkId, PackId>,
}

impl Distrust {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Under this key the index says that a pack went with its shelf. It goes with the pack's place.
pub(in crate::drive) fn gone_key(pack: &PackId) -> Vec<u8> {
    key::root(&format!("gone {pack}"))
}

impl Drive {
    /// The place of a pack goes.
    pub(in crate::drive) fn forget_pack(
        &self,
        pack: &PackId,
        batch: &mut Batch,
    ) -> Result<(), Error> {
        batch.delete(key::pack(pack));
        if self.index.frozen_get(&gone_key(pack))?.is_some() {
            batch.delete(gone_key(pack));
        }
        Ok(())
    }

    /// A pack is not on the store.
    pub(in crate::drive) fn distrust_pack(&self, pack: PackId) {
        self.distrusted.lock().packs.insert(pack);
    }

    /// Packs are not on the store any more.
    pub(in crate::drive) fn distrust_packs(&self, packs: impl IntoIterator<Item = PackId>) {
        self.distrusted.lock().packs.extend(packs);
    }

    /// Is a pack known not to be on the store?
    pub(in crate::drive) fn distrusts_pack(&self, pack: &PackId) -> bool {
        self.distrusted.lock().packs.contains(pack)
    }

    /// What is not trusted, as it is now: packs, and chunks in packs.
    pub(in crate::drive) fn distrusted(&self) -> Distrusted {
        let known = self.distrusted.lock();
        Distrusted {
            packs: known.packs.clone(),
            chunks: known.chunks.clone(),
        }
    }

    /// A chunk cannot be read from this pack.
    pub(in crate::drive) fn distrust(&self, id: ChunkId, pack: PackId) {
        self.distrusted.lock().chunks.insert(id, pack);
    }

    /// Does the store have this chunk, as far as is known? One whose pack was removed by hand does not
    /// count, nor one that was found damaged. Nor does one
    /// in a pack that the index says is gone, or has no place for.
    pub(in crate::drive) fn is_stored(&self, id: &ChunkId) -> Result<bool, Error> {
        let Some(value) = self.index.get(&key::chunk(id))? else {
            return Ok(false);
        };
        let pack = ChunkPlace::decode(&value)?.pack;
        let has_place = self.index.get(&key::pack(&pack))?.is_some();
        if !has_place || self.index.get(&gone_key(&pack))?.is_some() {
            return Ok(false);
        }
        let known = self.distrusted.lock();
        Ok(!known.packs.contains(&pack) && known.chunks.get(id) != Some(&pack))
    }

    /// A file could be read back whole.
    pub(in crate::drive) fn clear_damage(&self, ino: InodeNo) {
        let mut damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        if damaged.remove(&ino).is_some() {
            log::info!("inode {ino}: all of it can be read back");
        }
    }
}
