//! Chunks become packs, and packs leave: a few are filled at once, so that they leave full.
//!
//! A chunk that is too long for the room that a pack has left goes into the next, and shorter ones fill the
//! first. So a pack leaves full but for a fiftieth; were there but one at a time, it would be a tenth.

use crate::codec::pack::Pack;
use crate::codec::pack::PackBuilder;
use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::upload::FRAMES_MAX;
use crate::drive::upload::Uploads;
use crate::id::ArchiveNo;
use crate::id::ChunkId;
use crate::size::MIB;
use crate::store::Limits;

/// Packs that are filled at once.
const PACKS_MAX: u64 = 3;

/// Bytes of the packs that are filled at once, unless there is but one.
const BYTES_MAX: u64 = 32 * MIB;

/// Chunks on their way into packs and to the store, one archive after another.
pub(in crate::drive) struct Packing<'d> {
    drive: &'d Drive,
    archive: Option<ArchiveNo>,
    /// Packs of that archive.
    filling: Filling,
    uploads: Uploads<'d>,
}

impl<'d> Packing<'d> {
    pub(in crate::drive) fn new(drive: &'d Drive) -> Packing<'d> {
        Packing {
            drive,
            archive: None,
            filling: Filling::default(),
            uploads: Uploads::new(drive),
        }
    }

    /// Seals a chunk for an archive. Whoever comes archive by archive has full packs and full puts: what is left
    /// of one leaves when another begins.
    pub(in crate::drive) fn push(
        &mut self,
        archive: ArchiveNo,
        id: ChunkId,
        plain: &[u8],
    ) -> Result<(), Error> {
        if self.archive.is_some_and(|before| before != archive) {
            self.depart()?;
        }
        self.archive = Some(archive);
        match self.filling.push(self.drive, id, plain)? {
            Some(full) => self.uploads.add(archive, full),
            None => Ok(()),
        }
    }

    /// Sends what there is, because nothing more comes for this archive.
    fn depart(&mut self) -> Result<(), Error> {
        if let Some(archive) = self.archive.take() {
            let mut packs = self.filling.finish();
            packs.try_for_each(|pack| self.uploads.add(archive, pack))?;
        }
        self.uploads.depart()
    }

    /// Sends what is left and waits until the store has everything.
    pub(in crate::drive) fn finish(&mut self) -> Result<(), Error> {
        self.depart()?;
        self.uploads.finish()
    }
}

/// Packs of one archive, oldest first.
#[derive(Default)]
struct Filling(Vec<PackBuilder>);

impl Filling {
    /// Seals a chunk into the first pack that has room for it. Where none has, a new one is begun, and the oldest
    /// leaves if they are too many then.
    fn push(&mut self, drive: &Drive, id: ChunkId, plain: &[u8]) -> Result<Option<Pack>, Error> {
        let has_room =
            |one: &&mut PackBuilder| one.fits(plain.len()) && one.frames().len() < FRAMES_MAX;
        if let Some(pack) = self.0.iter_mut().find(has_room) {
            pack.push(id, plain)?;
            return Ok(None);
        }
        let capacity = pack_bytes(drive.store.limits());
        let most = (BYTES_MAX / capacity.max(1)).clamp(1, PACKS_MAX);
        let oldest = match self.0.len() as u64 >= most {
            true => Some(self.0.remove(0).finish()),
            false => None,
        };
        let mut fresh = PackBuilder::new(&drive.keys, capacity);
        fresh.push(id, plain)?;
        self.0.push(fresh);
        Ok(oldest)
    }

    /// Ends all of them.
    fn finish(&mut self) -> impl Iterator<Item = Pack> {
        std::mem::take(&mut self.0)
            .into_iter()
            .map(PackBuilder::finish)
    }
}

/// How large packs are made: so that some of them together fill a put. Where 25 MiB may travel together and an
/// attachment may have 10, three of 8⅓ do, and two of 10 would leave a fifth of every request empty.
pub(in crate::drive) fn pack_bytes(limits: Limits) -> u64 {
    let most = limits.object_bytes_max.max(1);
    let count = limits
        .put_bytes_proven
        .div_ceil(most)
        .clamp(1, limits.objects_max.max(1) as u64);
    (limits.put_bytes_proven / count)
        .max(PackBuilder::CAPACITY_BYTES_MIN)
        .min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_fill_a_put() {
        let limits = |put: u64, object: u64| Limits {
            object_bytes_max: object * MIB,
            objects_max: 10,
            put_bytes_max: u64::MAX,
            put_bytes_proven: put.saturating_mul(MIB),
        };
        assert_eq!(pack_bytes(limits(25, 10)), 25 * MIB / 3);
        assert_eq!(pack_bytes(limits(100, 10)), 10 * MIB);
        assert_eq!(pack_bytes(limits(10, 10)), 10 * MIB);
        assert_eq!(
            pack_bytes(limits(7, 6)),
            PackBuilder::CAPACITY_BYTES_MIN,
            "any chunk fits"
        );
        assert_eq!(
            pack_bytes(limits(u64::MAX, 64)),
            64 * MIB,
            "no limit together"
        );
    }
}
