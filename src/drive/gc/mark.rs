//! Marking: which chunks are in use, and so how much of each pack and of each put.
//!
//! A chunk is in use when a manifest refers to it, or a piece that is not yet drained does: a clone. Within
//! an epoch, after its drain, manifests stand still, and a clone refers only to what could be read when
//! it was made. So what is not in use then cannot come into use again by anything but the dedup of a later
//! drain; that runs in the same thread, after the places of what is dead have been taken away.
//!
//! What is in use is kept as the first 8 bytes of ids, sorted, for one range of ids at a time: two ids that
//! begin alike only keep garbage, and memory is bounded whatever the drive's size.

use std::collections::HashMap;
use std::collections::HashSet;
use std::ops::Bound;

use crate::drive::Drive;
use crate::drive::Error;
use crate::id::ArchiveNo;
use crate::id::ChunkId;
use crate::id::PackId;
use crate::index::Scan;
use crate::index::chunk::ChunkPlace;
use crate::index::chunk::PackPlace;
use crate::index::key;
use crate::index::manifest::Extent;
use crate::store::Locator;

/// Ids kept at once: 64 MiB of them.
const IDS_MAX: usize = 8 << 20;

/// Entries between two looks at whether the drive is being closed.
const LOOK_EVERY: usize = 4096;

/// Packs that are named, of those in places that are not this store's.
const NAMED_MAX: usize = 5;

/// Which state is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::drive) enum When {
    /// The present, while others change it: good for an estimate.
    Now,
    /// The frozen epoch: what is decided upon it holds.
    Frozen,
}

/// A pack of the index and how it is used.
#[derive(Clone, Debug)]
pub(in crate::drive) struct PackUse {
    pub(in crate::drive) archive: ArchiveNo,
    pub(in crate::drive) bytes: u64,
    pub(in crate::drive) frames: u64,
    pub(in crate::drive) live_frames: u64,
    pub(in crate::drive) live_bytes: u64,
    /// Sealed bytes of frames that are of no use.
    pub(in crate::drive) dead_bytes: u64,
}

/// Packs that were put together and how they are used: what the store can remove only as a whole.
#[derive(Clone, Debug)]
pub(in crate::drive) struct PutUse {
    /// What the store calls the put.
    pub(in crate::drive) key: Vec<u8>,
    pub(in crate::drive) archive: ArchiveNo,
    /// How many objects it has, known or not.
    pub(in crate::drive) objects: usize,
    pub(in crate::drive) packs: Vec<PackId>,
    pub(in crate::drive) bytes: u64,
    pub(in crate::drive) frames: u64,
    pub(in crate::drive) live_frames: u64,
    pub(in crate::drive) live_bytes: u64,
    /// Sealed bytes of frames that are of no use.
    pub(in crate::drive) dead_bytes: u64,
}

/// What is in use.
#[derive(Debug, Default)]
pub(in crate::drive) struct Marked {
    pub(in crate::drive) packs: HashMap<PackId, PackUse>,
    pub(in crate::drive) puts: Vec<PutUse>,
    /// Packs that this store has not: what they are called elsewhere means nothing here.
    pub(in crate::drive) foreign: Vec<PackId>,
}

/// The ids in use of one range, by how they begin.
struct Window {
    ids: Vec<u64>,
    ids_max: usize,
    from: u64,
    /// The first that is not in the range any more; none at the end of all ids.
    to: Option<u64>,
}

fn beginning(id: &ChunkId) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&id.0[..8]);
    u64::from_be_bytes(bytes)
}

impl Window {
    fn new(from: u64, ids_max: usize) -> Window {
        Window {
            ids: Vec::new(),
            ids_max,
            from,
            to: None,
        }
    }

    fn add(&mut self, id: &ChunkId) {
        let id = beginning(id);
        if id < self.from || self.to.is_some_and(|to| id >= to) {
            return;
        }
        self.ids.push(id);
        if self.ids.len() >= self.ids_max {
            self.order();
            if self.ids.len() > self.ids_max / 2 {
                let half = self.ids.len() / 2;
                self.to = self.ids.get(half).copied();
                self.ids.truncate(half);
            }
        }
    }

    fn order(&mut self) {
        self.ids.sort_unstable();
        self.ids.dedup();
    }

    /// Only after [`Window::order`].
    fn has(&self, id: &ChunkId) -> bool {
        self.ids.binary_search(&beginning(id)).is_ok()
    }
}

/// All entries of one kind.
pub(in crate::drive) fn entries(drive: &Drive, when: When, tag: u8) -> Scan<'_> {
    let (from, to) = key::all(tag);
    range(drive, when, Bound::Included(&from), Bound::Excluded(&to))
}

fn range<'d>(drive: &'d Drive, when: When, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Scan<'d> {
    match when {
        When::Now => drive.index.scan(from, to),
        When::Frozen => drive.index.frozen_scan(from, to),
    }
}

/// Asks now and then whether to go on.
pub(in crate::drive) fn go_on(drive: &Drive, number: usize) -> Result<(), Error> {
    if number.is_multiple_of(LOOK_EVERY) && drive.control.stopping() {
        return Err(Error::Closing);
    }
    Ok(())
}

/// Calls `use_it` with every chunk that is in use, once for each reference to it.
fn each_reference(
    drive: &Drive,
    when: When,
    cloned: &[ChunkId],
    mut use_it: impl FnMut(&ChunkId),
) -> Result<(), Error> {
    cloned.iter().for_each(&mut use_it);
    for (number, entry) in entries(drive, when, b'M').enumerate() {
        go_on(drive, number)?;
        if let Extent::Chunk { id, .. } = Extent::decode(&entry?.1)? {
            use_it(&id);
        }
    }
    Ok(())
}

/// The chunks that pieces refer to which are not in a manifest yet.
fn cloned(drive: &Drive) -> Vec<ChunkId> {
    let view = drive.view();
    let frozen = view.state.frozen.iter().flat_map(|dirty| dirty.chunks());
    view.state.gathering.chunks().chain(frozen).collect()
}

impl Marked {
    /// Looks through the whole drive.
    pub(in crate::drive) fn new(drive: &Drive, when: When) -> Result<Marked, Error> {
        Marked::within(drive, when, IDS_MAX)
    }

    fn within(drive: &Drive, when: When, ids_max: usize) -> Result<Marked, Error> {
        let cloned = cloned(drive);
        let (mut marked, put_of) = Marked::packs(drive, when)?;
        let mut from = Some(0);
        while let Some(start) = from {
            let mut window = Window::new(start, ids_max);
            each_reference(drive, when, &cloned, |id| window.add(id))?;
            window.order();
            marked.count(drive, when, &window)?;
            from = window.to;
        }
        for (pack, used) in &marked.packs {
            let put = put_of.get(pack).and_then(|at| marked.puts.get_mut(*at));
            if let Some(put) = put {
                put.frames += used.frames;
                put.live_frames += used.live_frames;
                put.live_bytes += used.live_bytes;
                put.dead_bytes += used.dead_bytes;
            }
        }
        Ok(marked)
    }

    /// The packs there are; and for each the number of its put.
    fn packs(drive: &Drive, when: When) -> Result<(Marked, HashMap<PackId, usize>), Error> {
        let (mut marked, mut put_of) = (Marked::default(), HashMap::new());
        let mut numbers: HashMap<Vec<u8>, usize> = HashMap::new();
        for (number, entry) in entries(drive, when, b'P').enumerate() {
            go_on(drive, number)?;
            let (key, value) = entry?;
            let (Some(pack), place) = (key::pack_of(&key), PackPlace::decode(&value)?) else {
                continue;
            };
            let used = PackUse {
                archive: place.archive,
                bytes: place.bytes,
                frames: 0,
                live_frames: 0,
                live_bytes: 0,
                dead_bytes: 0,
            };
            marked.packs.insert(pack, used);
            // What another kind of store put is not this one's to remove.
            let Ok(together) = drive.store.together(&Locator(place.locator)) else {
                marked.foreign.push(pack);
                continue;
            };
            let at = *numbers.entry(together.key).or_insert_with_key(|key| {
                marked.puts.push(PutUse {
                    key: key.clone(),
                    archive: place.archive,
                    objects: together.objects,
                    packs: Vec::new(),
                    bytes: 0,
                    frames: 0,
                    live_frames: 0,
                    live_bytes: 0,
                    dead_bytes: 0,
                });
                marked.puts.len() - 1
            });
            put_of.insert(pack, at);
            if let Some(put) = marked.puts.get_mut(at) {
                put.packs.push(pack);
                put.bytes += place.bytes;
            }
        }
        Ok((marked, put_of))
    }

    /// What is to be said of the packs that are not this store's, if there are any.
    pub(in crate::drive) fn foreign_note(&self) -> Option<String> {
        let count = self.foreign.len();
        let named = self.foreign.iter().take(NAMED_MAX);
        let named: Vec<String> = named.map(ToString::to_string).collect();
        let more = match count.saturating_sub(NAMED_MAX) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        (count > 0).then(|| {
            format!(
                "{count} of the packs lie in places that are not of this store, and stay as they are: {}{more}; \
                 `ods verify` names the files that need them",
                named.join(", ")
            )
        })
    }

    /// Counts the chunks of a range of ids to their packs.
    fn count(&mut self, drive: &Drive, when: When, window: &Window) -> Result<(), Error> {
        let edge = |id: u64| [&[b'C'][..], &id.to_be_bytes()].concat();
        let from = edge(window.from);
        let to = window.to.map_or(vec![b'C' + 1], edge);
        let scan = range(drive, when, Bound::Included(&from), Bound::Excluded(&to));
        for (number, entry) in scan.enumerate() {
            go_on(drive, number)?;
            let (key, value) = entry?;
            let (Some(id), place) = (key::chunk_of(&key), ChunkPlace::decode(&value)?) else {
                continue;
            };
            if let Some(used) = self.packs.get_mut(&place.pack) {
                used.frames += 1;
                if window.has(&id) {
                    used.live_frames += 1;
                    used.live_bytes += u64::from(place.sealed_len);
                } else {
                    used.dead_bytes += u64::from(place.sealed_len);
                }
            }
        }
        Ok(())
    }
}

/// The chunks that lie in some packs of the frozen epoch.
pub(in crate::drive) fn chunks_in(
    drive: &Drive,
    packs: &HashSet<PackId>,
) -> Result<Vec<(ChunkId, ChunkPlace)>, Error> {
    let mut found = Vec::new();
    for (number, entry) in entries(drive, When::Frozen, b'C').enumerate() {
        go_on(drive, number)?;
        let (key, value) = entry?;
        let place = ChunkPlace::decode(&value)?;
        if packs.contains(&place.pack) {
            found.extend(key::chunk_of(&key).map(|id| (id, place)));
        }
    }
    Ok(found)
}

/// Those of `ids` that are in use in the frozen epoch or above it, exactly.
pub(in crate::drive) fn live_of(
    drive: &Drive,
    ids: &HashSet<ChunkId>,
) -> Result<HashSet<ChunkId>, Error> {
    let mut live = HashSet::new();
    each_reference(drive, When::Frozen, &cloned(drive), |id| {
        if ids.contains(id) {
            live.insert(*id);
        }
    })?;
    Ok(live)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> ChunkId {
        let mut id = [7; 32];
        id[..8].copy_from_slice(&number.to_be_bytes());
        ChunkId(id)
    }

    #[test]
    fn windows_cover_all_ids_however_small_they_are() {
        let mut seed = 1_u64;
        let mut next = || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        let all: Vec<u64> = (0..1000).map(|_| next()).chain([0, 0, u64::MAX]).collect();
        let (mut from, mut found, mut windows) = (Some(0), HashSet::new(), 0);
        while let Some(start) = from {
            let mut window = Window::new(start, 16);
            all.iter().chain(&all).for_each(|one| window.add(&id(*one)));
            window.order();
            assert!(window.ids.len() <= 16);
            for one in &all {
                let inside = *one >= start && window.to.is_none_or(|to| *one < to);
                assert_eq!(window.has(&id(*one)), inside);
                if inside {
                    assert!(found.insert(*one) || *one == 0, "in one window only");
                }
            }
            (from, windows) = (window.to, windows + 1);
        }
        assert_eq!(found.len(), 1002);
        assert!(windows > 60);
    }
}
