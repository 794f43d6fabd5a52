//! Frames: everything needed is fetched from the store, never from the cache, and unsealed.
//!
//! Packs are taken in the order of their ids, a portion of that order at a time, so that what is known
//! of chunks stays small however many there are. When most of a pack is wanted it is fetched whole.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use futures_util::StreamExt;

use crate::codec;
use crate::codec::pack;
use crate::codec::pack::Frame;
use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::scope::Files;
use crate::drive::task::Task;
use crate::drive::verify::Bad;
use crate::drive::verify::Findings;
use crate::drive::verify::Ill;
use crate::drive::verify::places::Where;
use crate::id::ChunkId;
use crate::id::PackId;
use crate::index::chunk::ChunkPlace;
use crate::index::chunk::PackPlace;
use crate::index::manifest::Extent;
use crate::index::manifest::FORGOTTEN;
use crate::index::manifest::LOST;
use crate::size::KIB;
use crate::size::MIB;
use crate::store;
use crate::store::Locator;
use crate::store::Urgency;

/// Chunks of one portion, about: 100 bytes of memory each.
const PORTION_CHUNKS: u64 = 300_000;

/// Packs that are fetched at the same time.
const PACKS_AT_ONCE: usize = 4;

/// Longest range that is fetched at once.
const RANGE_BYTES_MAX: u64 = 12 * MIB;

/// Frames closer than this are fetched together.
const GAP_BYTES: u64 = 256 * KIB;

/// Bytes of a pack's end that are asked for first to find its directory.
const TAIL_BYTES: u64 = 64 * KIB;

/// A pack and what is wanted of it.
#[derive(Debug)]
struct Wanted {
    place: PackPlace,
    /// By slot.
    frames: BTreeMap<u32, Frame>,
}

/// How a pack turned out.
#[derive(Debug, Default)]
struct Judged {
    ill: Option<Ill>,
    bad: Vec<ChunkId>,
    frames: u64,
    bytes: u64,
}

/// Why bytes of a pack cannot be had.
enum Trouble {
    /// They are not there, or wrong.
    Ill(Ill),
    /// The store cannot say.
    Unknown(Error),
}

impl From<store::Error> for Trouble {
    fn from(error: store::Error) -> Trouble {
        match error {
            store::Error::Missing { .. } => Trouble::Ill(Ill::Missing),
            store::Error::Broken { .. } => Trouble::Ill(Ill::Length { found: 0 }),
            other => Trouble::Unknown(other.into()),
        }
    }
}

/// The frame that a place describes.
pub(in crate::drive) fn frame_at(chunk: ChunkId, place: &ChunkPlace) -> Frame {
    Frame {
        chunk,
        slot: place.slot,
        offset: place.offset,
        sealed_len: place.sealed_len,
        plain_len: place.plain_len,
    }
}

fn range_of(frame: &Frame) -> Range<u64> {
    let start = u64::from(frame.offset);
    start..start + u64::from(frame.sealed_len)
}

impl Drive {
    /// Fetches what the files need, and unseals it. `chunks` says about how many chunks that is.
    pub(in crate::drive) fn look_at_frames(
        &self,
        files: &Files,
        chunks: u64,
        task: &Task<'_>,
        findings: &mut Findings,
    ) -> Result<(), Error> {
        let (packs, bytes) = (findings.counts.packs, findings.counts.pack_bytes);
        task.begin("fetching packs", packs, bytes)?;
        let portions = chunks / PORTION_CHUNKS + 1;
        for portion in 0..portions {
            let wanted = self.portion(files, portion, portions, task)?;
            let judged = futures_util::stream::iter(wanted)
                .map(|(pack, wanted)| async move {
                    let judged = self.judge(pack, &wanted).await?;
                    Ok::<_, Error>((pack, wanted.place.bytes, judged))
                })
                .buffer_unordered(PACKS_AT_ONCE);
            let mut judged = std::pin::pin!(judged);
            while let Some(next) = self.wait_with(task, async { Ok(judged.next().await) })? {
                let (pack, bytes, judged) = next?;
                findings.counts.frames += judged.frames;
                findings.counts.fetched_bytes += judged.bytes;
                for chunk in judged.bad {
                    findings.chunks.insert(chunk, Bad::Frame(pack));
                }
                if let Some(ill) = judged.ill {
                    findings.packs.insert(pack, ill);
                }
                task.done(1, bytes)?;
            }
        }
        Ok(())
    }

    /// The packs of a portion of all ids, and what the files need of them.
    fn portion(
        &self,
        files: &Files,
        portion: u64,
        portions: u64,
        task: &Task<'_>,
    ) -> Result<BTreeMap<PackId, Wanted>, Error> {
        let mut wanted: BTreeMap<PackId, Wanted> = BTreeMap::new();
        self.for_each_extent(files, task, |_, extent| {
            if let Extent::Chunk { id, .. } = extent
                && id != LOST
                && id != FORGOTTEN
                && let Where::Here(place, pack) = self.whereabouts(&id)?
                && portion_of(&place.pack, portions) == portion
            {
                let wanted = wanted.entry(place.pack).or_insert_with(|| Wanted {
                    place: pack,
                    frames: BTreeMap::new(),
                });
                wanted.frames.insert(place.slot, frame_at(id, &place));
            }
            Ok(())
        })?;
        Ok(wanted)
    }

    async fn judge(&self, pack: PackId, wanted: &Wanted) -> Result<Judged, Error> {
        let mut judged = Judged::default();
        match self.judge_parts(pack, wanted, &mut judged).await {
            Ok(()) => Ok(judged),
            Err(Trouble::Ill(ill)) => {
                if ill == Ill::Missing {
                    self.distrust_pack(pack);
                }
                judged.ill = Some(ill);
                Ok(judged)
            }
            Err(Trouble::Unknown(error)) => Err(error),
        }
    }

    async fn judge_parts(
        &self,
        pack: PackId,
        wanted: &Wanted,
        judged: &mut Judged,
    ) -> Result<(), Trouble> {
        let locator = Locator(wanted.place.locator.clone());
        let bytes: u64 = wanted
            .frames
            .values()
            .map(|frame| u64::from(frame.sealed_len))
            .sum();
        let is_whole = bytes * 2 >= wanted.place.bytes && wanted.place.bytes <= RANGE_BYTES_MAX;
        let ranges = match is_whole {
            true => Vec::from([(0, wanted.place.bytes)]),
            false => ranges(wanted),
        };
        for (start, end) in ranges {
            let range = start..end;
            let fetched = self
                .store
                .get(&locator, range.clone(), Urgency::Background)
                .await?;
            judged.bytes += fetched.len() as u64;
            for frame in wanted.frames.values() {
                let at = range_of(frame);
                if at.start < range.start || at.end > range.end {
                    continue;
                }
                let from = usize::try_from(at.start - range.start).unwrap_or(usize::MAX);
                let sealed = fetched.slice(from..from + frame.sealed_len as usize);
                judged.frames += 1;
                if self
                    .open_or_again(pack, frame, &sealed, &locator)
                    .await?
                    .is_none()
                {
                    judged.bad.push(frame.chunk);
                }
            }
            if is_whole {
                judged.ill = self.ends(pack, &wanted.place, fetched).await?;
            }
        }
        if !is_whole {
            judged.ill = self.tail(pack, &wanted.place).await?;
        }
        if !judged.bad.is_empty() && judged.ill.is_none() {
            judged.ill = Some(Ill::Frames);
        }
        Ok(())
    }

    /// A frame's plaintext; fetched again when it does not open, none if that does not help.
    async fn open_or_again(
        &self,
        pack: PackId,
        frame: &Frame,
        sealed: &[u8],
        locator: &Locator,
    ) -> Result<Option<Bytes>, Trouble> {
        if let Ok(plain) = pack::open_frame(&self.keys, pack, frame, sealed) {
            return Ok(Some(plain));
        }
        let again = self.store.get_again(locator, range_of(frame)).await?;
        Ok(pack::open_frame(&self.keys, pack, frame, again).ok())
    }

    /// What is wrong with the ends of a pack that was fetched whole.
    async fn ends(
        &self,
        pack: PackId,
        place: &PackPlace,
        bytes: Bytes,
    ) -> Result<Option<Ill>, Trouble> {
        if pack::read_directory(&self.keys, pack, &bytes, place.bytes).is_ok() {
            return Ok(None);
        }
        let locator = Locator(place.locator.clone());
        let again = self.store.get_again(&locator, 0..place.bytes).await?;
        let read = pack::read_directory(&self.keys, pack, &again, place.bytes);
        Ok(read.err().map(|error| Ill::Ends(error.to_string())))
    }

    /// What is wrong with the end of a pack that is not fetched whole.
    async fn tail(&self, pack: PackId, place: &PackPlace) -> Result<Option<Ill>, Trouble> {
        match self.directory_of_pack(pack, place).await {
            Ok(_) => Ok(None),
            Err(Trouble::Ill(Ill::Ends(text))) => Ok(Some(Ill::Ends(text))),
            Err(trouble) => Err(trouble),
        }
    }

    /// The frames of a pack, as the pack says; asked of the store, twice if need be.
    async fn directory_of_pack(
        &self,
        pack: PackId,
        place: &PackPlace,
    ) -> Result<Vec<Frame>, Trouble> {
        let locator = Locator(place.locator.clone());
        let (mut tail, mut again) = (TAIL_BYTES.min(place.bytes), false);
        loop {
            let range = place.bytes - tail..place.bytes;
            let bytes = match again {
                true => self.store.get_again(&locator, range).await?,
                false => self.store.get(&locator, range, Urgency::Background).await?,
            };
            match pack::read_directory(&self.keys, pack, &bytes, place.bytes) {
                Ok(frames) => return Ok(frames),
                Err(codec::Error::TooShort { need_bytes })
                    if need_bytes > tail && need_bytes <= place.bytes =>
                {
                    tail = need_bytes;
                }
                Err(_) if !again => again = true,
                Err(error) => return Err(Trouble::Ill(Ill::Ends(error.to_string()))),
            }
        }
    }

    /// What a pack that lies on a shelf says it holds; none if it does not say.
    pub(in crate::drive) async fn frames_on_shelf(
        &self,
        pack: PackId,
        place: &PackPlace,
    ) -> Result<Option<Vec<Frame>>, Error> {
        match self.directory_of_pack(pack, place).await {
            Ok(frames) => Ok(Some(frames)),
            Err(Trouble::Ill(_)) => Ok(None),
            Err(Trouble::Unknown(error)) => Err(error),
        }
    }

    /// A chunk, from a frame on the store; none if it is not there, or not whole.
    pub(in crate::drive) async fn chunk_on_store(
        &self,
        pack: PackId,
        place: &PackPlace,
        frame: &Frame,
    ) -> Result<Option<Bytes>, Error> {
        let locator = Locator(place.locator.clone());
        let read = async {
            let sealed = self
                .store
                .get(&locator, range_of(frame), Urgency::Background)
                .await?;
            self.open_or_again(pack, frame, &sealed, &locator).await
        };
        match read.await {
            Ok(plain) => Ok(plain),
            Err(Trouble::Ill(_)) => Ok(None),
            Err(Trouble::Unknown(error)) => Err(error),
        }
    }
}

/// To which of so many portions of all ids, equally large, a pack belongs.
fn portion_of(pack: &PackId, portions: u64) -> u64 {
    let [a, b, c, d, ..] = pack.0;
    (u64::from(u32::from_be_bytes([a, b, c, d])) * portions) >> 32
}

/// Frames that are near each other are fetched together: beginnings and ends.
fn ranges(wanted: &Wanted) -> Vec<(u64, u64)> {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for at in wanted.frames.values().map(range_of) {
        match ranges.last_mut() {
            Some((start, end))
                if at.start.saturating_sub(*end) <= GAP_BYTES
                    && at.end - *start <= RANGE_BYTES_MAX =>
            {
                *end = at.end;
            }
            _ => ranges.push((at.start, at.end)),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portions_cover_all_ids_once() {
        for portions in [1, 2, 7] {
            let of = |first: u8| portion_of(&PackId([first; 16]), portions);
            let seen: std::collections::BTreeSet<u64> = (0..=255).map(of).collect();
            assert_eq!(seen.len() as u64, portions);
            assert!(seen.iter().all(|portion| *portion < portions));
            assert!(of(0) <= of(100) && of(100) <= of(255));
        }
    }
}
