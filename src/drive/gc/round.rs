//! A round: one epoch that buries what is dead and moves what is alive out of puts that mostly are.
//!
//! It is an errand, so it decides and acts upon one state. Moved chunks are put, and the store has them,
//! before the places they had are forgotten; a round that is killed leaves packs that nothing refers to,
//! and everything else as it was. Nothing is carried from one round to the next: the next one marks anew.

use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::filling::Packing;
use crate::drive::gc::Amount;
use crate::drive::gc::grave::bury;
use crate::drive::gc::mark::Marked;
use crate::drive::gc::mark::PutUse;
use crate::drive::gc::mark::When;
use crate::drive::gc::mark::chunks_in;
use crate::drive::gc::mark::live_of;
use crate::drive::gc::plan::Choice;
use crate::drive::gc::plan::Repack;
use crate::drive::trust::gone_key;
use crate::id::ArchiveNo;
use crate::id::ChunkId;
use crate::id::PackId;
use crate::index::Batch;
use crate::index::archive::Holding;
use crate::index::chunk::ChunkPlace;
use crate::index::key;
use crate::size::MIB;
use crate::store;
use crate::store::Urgency;

/// Plain bytes fetched at once: they are held in memory.
const FETCH_BYTES: u64 = 16 * MIB;

/// What a round is asked to do.
#[derive(Clone, Debug)]
pub(in crate::drive) struct Task {
    pub(in crate::drive) repack: Repack,
    /// Puts that could not be moved before.
    pub(in crate::drive) skip: HashSet<Vec<u8>>,
    /// Set by whoever wants it to end early: it ends between two puts.
    pub(in crate::drive) stop: Arc<AtomicBool>,
}

/// What a round did.
#[derive(Clone, Debug, Default)]
pub(in crate::drive) struct Round {
    /// What was buried because nothing in it was alive.
    pub(in crate::drive) dead: Amount,
    /// What was buried after what was alive in it had been moved.
    pub(in crate::drive) emptied: Amount,
    /// Sealed bytes that were moved.
    pub(in crate::drive) moved_bytes: u64,
    /// Puts that could not be moved, and why.
    pub(in crate::drive) failed: Vec<(Vec<u8>, String)>,
    /// Is there more to do?
    pub(in crate::drive) more: bool,
}

type Frames = HashMap<PackId, Vec<(ChunkId, ChunkPlace)>>;

impl Drive {
    /// One round. Only as an errand in an epoch.
    pub(in crate::drive) fn round(&self, task: &Task) -> Result<Round, Error> {
        let marked = Marked::new(self, When::Frozen)?;
        let choice = Choice::new(&marked, task.repack, &task.skip);
        let mut round = Round {
            more: choice.more,
            ..Round::default()
        };
        if choice.is_empty() {
            return Ok(round);
        }
        let puts = || choice.dead.iter().chain(&choice.moved);
        let packs: HashSet<PackId> = puts().flat_map(|put| put.packs.iter().copied()).collect();
        let frames = chunks_in(self, &packs)?;
        let live = live_of(self, &frames.iter().map(|(id, _)| *id).collect())?;
        let mut by_pack = Frames::new();
        for (id, place) in frames {
            by_pack.entry(place.pack).or_default().push((id, place));
        }
        let is_dead = |put: &&PutUse| {
            let ids = put.packs.iter().filter_map(|pack| by_pack.get(pack));
            !ids.flatten().any(|(id, _)| live.contains(id))
        };
        let mut buried: Vec<&PutUse> = choice.dead.iter().filter(is_dead).collect();
        for put in &buried {
            round.dead.add(put);
        }
        let moving = Moving::new(self, &by_pack, &live);
        let emptied = moving.run(&choice.moved, task, &mut round)?;
        for put in &emptied {
            round.emptied.add(put);
        }
        buried.extend(emptied);
        let mut batch = Batch::default();
        for put in &buried {
            self.bury_put(put, &by_pack, &mut batch)?;
        }
        self.recount(&marked, &buried, &mut batch)?;
        self.index.amend(batch)?;
        Ok(round)
    }

    /// The places of a put's chunks and packs go, and a grave comes.
    fn bury_put(&self, put: &PutUse, frames: &Frames, batch: &mut Batch) -> Result<(), Error> {
        let mut locators = Vec::new();
        for pack in &put.packs {
            for (id, _) in frames.get(pack).into_iter().flatten() {
                // A chunk that was moved has another place by now.
                let place = self.index.frozen_get(&key::chunk(id))?;
                let place = place.map(|value| ChunkPlace::decode(&value)).transpose()?;
                if place.is_some_and(|place| place.pack == *pack) {
                    batch.delete(key::chunk(id));
                }
            }
            locators.extend(self.locator_of(pack)?);
            self.forget_pack(pack, batch)?;
        }
        bury(self, put, locators, batch)
    }

    /// What archives hold follows from the packs there are; those new in this epoch are counted when it is
    /// published.
    fn recount(&self, marked: &Marked, buried: &[&PutUse], batch: &mut Batch) -> Result<(), Error> {
        let gone: HashSet<&PackId> = buried.iter().flat_map(|put| &put.packs).collect();
        let mut totals: HashMap<ArchiveNo, (u64, u64)> = HashMap::new();
        for (pack, used) in &marked.packs {
            let total = totals.entry(used.archive).or_default();
            // What went with its shelf keeps its place, but nothing holds it.
            let is_held = !gone.contains(pack)
                && self.index.base_get(&key::pack(pack))?.is_some()
                && self.index.frozen_get(&gone_key(pack))?.is_none();
            if is_held {
                *total = (total.0 + 1, total.1 + used.bytes);
            }
        }
        for (no, (packs, pack_bytes)) in totals {
            let value = self.index.frozen_get(&key::holding(no))?;
            let before = value.map(|value| Holding::decode(&value)).transpose()?;
            let before = before.unwrap_or_default();
            let now = Holding {
                packs,
                pack_bytes,
                ..before.clone()
            };
            if now != before {
                batch.put(key::holding(no), now.encode())?;
            }
        }
        Ok(())
    }
}

/// Chunks on their way from old packs to new ones.
struct Moving<'d> {
    drive: &'d Drive,
    frames: &'d Frames,
    live: &'d HashSet<ChunkId>,
    packing: Packing<'d>,
}

impl<'d> Moving<'d> {
    fn new(drive: &'d Drive, frames: &'d Frames, live: &'d HashSet<ChunkId>) -> Moving<'d> {
        Moving {
            drive,
            frames,
            live,
            packing: Packing::new(drive),
        }
    }

    /// Moves what is alive in these puts; gives those that nothing is alive in any more.
    fn run<'p>(
        mut self,
        puts: &'p [PutUse],
        task: &Task,
        round: &mut Round,
    ) -> Result<Vec<&'p PutUse>, Error> {
        let mut emptied = Vec::new();
        // Archive by archive, so that what is moved travels in full packs and full puts.
        let mut puts: Vec<&PutUse> = puts.iter().collect();
        puts.sort_by_key(|put| put.archive);
        for put in puts {
            if task.stop.load(Ordering::Relaxed) {
                round.more = true;
                break;
            }
            match self.put(put) {
                Ok(bytes) => {
                    round.moved_bytes += bytes;
                    emptied.push(put);
                }
                Err(
                    error @ (Error::Damaged(_)
                    | Error::Store(
                        store::Error::Missing { .. } | store::Error::Broken { .. },
                    )),
                ) => {
                    log::warn!("what is alive in a message cannot be moved: {error}");
                    round.failed.push((put.key.clone(), error.to_string()));
                }
                Err(error) => return Err(error),
            }
        }
        self.packing.finish()?;
        Ok(emptied)
    }

    /// Fetches, opens and packs anew what is alive in a put; tells how many sealed bytes it was.
    fn put(&mut self, put: &PutUse) -> Result<u64, Error> {
        let mut moved = 0;
        for pack in &put.packs {
            let frames = self.frames.get(pack).into_iter().flatten();
            let mut alive: Vec<_> = frames.filter(|(id, _)| self.live.contains(id)).collect();
            alive.sort_by_key(|(_, place)| place.slot);
            let mut rest = &alive[..];
            while !rest.is_empty() {
                let mut bytes = 0;
                let fits = |(_, place): &&&(ChunkId, ChunkPlace)| {
                    bytes += u64::from(place.plain_len);
                    bytes <= FETCH_BYTES
                };
                let count = rest.iter().take_while(fits).count().max(1);
                let (some, later) = rest.split_at(count);
                rest = later;
                let ids: Vec<ChunkId> = some.iter().map(|(id, _)| *id).collect();
                let plain = self.drive.fetch(&ids, Urgency::Background);
                let plain = self.drive.wait_for(plain)?;
                for (id, place) in some {
                    let bytes = plain.get(id).ok_or(Error::Malformed)?;
                    self.packing.push(put.archive, *id, bytes)?;
                    moved += u64::from(place.sealed_len);
                }
            }
        }
        Ok(moved)
    }
}
