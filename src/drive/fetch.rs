//! Chunks, from wherever they are nearest: memory, the cache, or ranges of packs on the store.
//!
//! Frames of one pack that lie near each other are fetched by one request; big ranges are split so
//! that several connections carry them. A chunk is fetched once however many wait for it.

use std::collections::HashMap;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::PoisonError;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::sync::Notify;

use crate::cache::CachedFrame;
use crate::codec::pack;
use crate::codec::pack::Frame;
use crate::codec::pack::Pack;
use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::verify::places::Where;
use crate::id::ChunkId;
use crate::id::PackId;
use crate::index::chunk::ChunkPlace;
use crate::index::chunk::PackPlace;
use crate::index::key;
use crate::index::manifest::FORGOTTEN;
use crate::index::manifest::LOST;
use crate::size::KIB;
use crate::size::MIB;
use crate::store;
use crate::store::Locator;
use crate::store::Urgency;

/// Frames closer than this are fetched together: at 25 MiB/s it costs a tenth of a round trip.
const GAP_BYTES: u64 = 256 * KIB;

/// A range longer than this is split, so that several connections carry it.
pub(in crate::drive) const RANGE_BYTES_MAX: u64 = 4 * MIB;

/// Chunks that are being fetched right now.
#[derive(Debug, Default)]
pub(in crate::drive) struct Fetches {
    busy: Mutex<HashSet<ChunkId>>,
    done: Notify,
}

/// Chunks that this task fetches; others wait for them until this is dropped.
struct Claim<'f> {
    fetches: &'f Fetches,
    ids: Vec<ChunkId>,
}

impl Fetches {
    fn claim(&self, ids: &[ChunkId]) -> Claim<'_> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let ids = ids.iter().copied().filter(|id| busy.insert(*id)).collect();
        Claim { fetches: self, ids }
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut busy = self
            .fetches
            .busy
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for id in &self.ids {
            busy.remove(id);
        }
        drop(busy);
        self.fetches.done.notify_waiters();
    }
}

/// One request: a range of a pack and the frames in it.
pub(in crate::drive) struct Request {
    pub(in crate::drive) pack: PackId,
    pub(in crate::drive) pack_bytes: u64,
    pub(in crate::drive) locator: Locator,
    pub(in crate::drive) range: Range<u64>,
    /// The frames that somebody waits for, then those that are taken along.
    pub(in crate::drive) frames: Vec<Frame>,
    /// How many of them are waited for.
    pub(in crate::drive) wanted: usize,
}

impl Drive {
    /// A chunk that is in memory or in the cache.
    pub(in crate::drive) fn local_chunk(&self, id: &ChunkId) -> Option<Bytes> {
        if let Some(plain) = self.memory.get(id) {
            return Some(plain);
        }
        let _opening = self.memory.opening(id);
        if let Some(plain) = self.memory.get(id) {
            return Some(plain);
        }
        let cached = self.cache.get(id)?;
        let frame = Frame {
            chunk: *id,
            slot: cached.slot,
            offset: 0,
            sealed_len: u32::try_from(cached.sealed.len()).ok()?,
            plain_len: cached.plain_len,
        };
        match pack::open_frame(&self.keys, cached.pack, &frame, cached.sealed) {
            Ok(plain) => {
                self.memory.put(*id, plain.clone());
                Some(plain)
            }
            Err(error) => {
                log::warn!("a cached frame was damaged ({error}); it is fetched again");
                self.cache.invalidate(id);
                None
            }
        }
    }

    /// Is a chunk in memory or in the cache, as far as is known without reading it?
    pub(in crate::drive) fn has_chunk(&self, id: &ChunkId) -> bool {
        self.memory.has(id) || self.cache.contains(id)
    }

    /// A part of a chunk, if it is in memory or in the cache.
    pub(in crate::drive) fn local_chunk_part(
        &self,
        id: &ChunkId,
        skip: u32,
        len: u32,
    ) -> Option<Vec<u8>> {
        let plain = self.local_chunk(id)?;
        plain
            .get(skip as usize..(skip + len) as usize)
            .map(<[u8]>::to_vec)
    }

    /// Keeps what was just uploaded in the cache, sealed as it is.
    pub(in crate::drive) fn keep_frames(&self, pack: &Pack) {
        let body = pack.body.to_bytes();
        for frame in &pack.frames {
            let range = frame.offset as usize..(frame.offset + frame.sealed_len) as usize;
            if let Some(sealed) = body.get(range) {
                self.cache.put(
                    &frame.chunk,
                    &CachedFrame {
                        pack: pack.id,
                        slot: frame.slot,
                        plain_len: frame.plain_len,
                        sealed: body.slice_ref(sealed),
                    },
                );
            }
        }
    }

    /// Brings chunks here. What comes back has all of them.
    pub(in crate::drive) async fn fetch(
        &self,
        ids: &[ChunkId],
        urgency: Urgency,
    ) -> Result<HashMap<ChunkId, Bytes>, Error> {
        let mut found = HashMap::new();
        loop {
            let wait = self.fetches.done.notified();
            let missing: Vec<ChunkId> = ids
                .iter()
                .copied()
                .filter(|id| match found.contains_key(id) {
                    true => false,
                    false => self
                        .local_chunk(id)
                        .map(|plain| found.insert(*id, plain))
                        .is_none(),
                })
                .collect();
            if missing.is_empty() {
                return Ok(found);
            }
            let claim = self.fetches.claim(&missing);
            if claim.ids.is_empty() {
                wait.await;
                continue;
            }
            let mut requests = self.plan(&claim.ids)?;
            for request in &mut requests {
                if let Err(error) = self.take_along(request, urgency).await {
                    log::debug!("no neighbours of a frame in pack {}: {error}", request.pack);
                }
            }
            let answers = join_all(
                requests
                    .iter()
                    .map(|request| self.request(request, urgency)),
            )
            .await;
            for (request, answer) in requests.iter().zip(answers) {
                let opened = match answer {
                    Err(_) if self.has_moved(request)? => continue,
                    answer => answer?,
                };
                for (id, plain) in opened {
                    self.memory.put(id, plain.clone());
                    found.insert(id, plain);
                }
            }
        }
    }

    /// Has a chunk that is waited for got another place since it was asked for?
    fn has_moved(&self, request: &Request) -> Result<bool, Error> {
        for frame in request.frames.iter().take(request.wanted) {
            if let Some(value) = self.index.get(&key::chunk(&frame.chunk))?
                && ChunkPlace::decode(&value)?.pack != request.pack
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Turns chunks into as few requests as make sense.
    fn plan(&self, ids: &[ChunkId]) -> Result<Vec<Request>, Error> {
        let mut by_pack: HashMap<PackId, (PackPlace, Vec<Frame>)> = HashMap::new();
        let mut unique = ids.to_vec();
        unique.sort_unstable();
        unique.dedup();
        for id in unique {
            if id == LOST {
                return Err(Error::Damaged(String::from(
                    "a machine lost these bytes before they were stored",
                )));
            }
            if id == FORGOTTEN {
                return Err(Error::Damaged(String::from(
                    "these bytes were lost and given up",
                )));
            }
            let (place, pack) = match self.whereabouts(&id)? {
                Where::Here(place, pack) => (place, pack),
                Where::NoPack(pack) => {
                    return Err(Error::Damaged(format!(
                        "pack {pack} is referred to but not known"
                    )));
                }
                Where::NoPlace => {
                    return Err(Error::Damaged(format!(
                        "chunk {id} is referred to but not known"
                    )));
                }
            };
            let (_, frames) = by_pack
                .entry(place.pack)
                .or_insert_with(|| (pack, Vec::new()));
            frames.push(Frame {
                chunk: id,
                slot: place.slot,
                offset: place.offset,
                sealed_len: place.sealed_len,
                plain_len: place.plain_len,
            });
        }
        let mut requests = Vec::new();
        for (pack, (place, mut frames)) in by_pack {
            frames.sort_by_key(|frame| frame.offset);
            coalesce(pack, &place, frames, &mut requests);
        }
        Ok(requests)
    }

    /// Fetches a range and opens its frames; a frame that does not open is fetched once more.
    async fn request(
        &self,
        request: &Request,
        urgency: Urgency,
    ) -> Result<Vec<(ChunkId, Bytes)>, Error> {
        let Request {
            pack,
            locator,
            range,
            frames,
            ..
        } = request;
        let answer = self.get_split(request, urgency).await;
        // Removed by hand, or shorter than it was when the store acknowledged it.
        if let Err(store::Error::Missing { .. } | store::Error::Broken { .. }) = answer {
            self.distrust_pack(*pack);
        }
        let bytes = answer?;
        let mut opened = Vec::with_capacity(frames.len());
        for (number, frame) in frames.iter().enumerate() {
            let sealed = part_of(&bytes, range.start, frame)?;
            let (plain, sealed) = match pack::open_frame(&self.keys, *pack, frame, &sealed[..]) {
                Ok(plain) => (plain, sealed),
                // Nobody waits for it; whoever does later fetches it properly.
                Err(_) if number >= request.wanted => continue,
                Err(error) => {
                    log::warn!("a frame of pack {pack} does not open ({error}); fetching it again");
                    let again = u64::from(frame.offset)..u64::from(frame.offset + frame.sealed_len);
                    let sealed = self.store.get_again(locator, again).await?;
                    let opened = pack::open_frame(&self.keys, *pack, frame, &sealed[..]);
                    if opened.is_err() {
                        self.distrust(frame.chunk, *pack);
                    }
                    (opened?, sealed)
                }
            };
            let cached = CachedFrame {
                pack: *pack,
                slot: frame.slot,
                plain_len: frame.plain_len,
                sealed,
            };
            self.cache.put(&frame.chunk, &cached);
            opened.push((frame.chunk, plain));
        }
        Ok(opened)
    }
}

/// The sealed bytes of a frame, out of a range of its pack that begins at `start`.
fn part_of(bytes: &Bytes, start: u64, frame: &Frame) -> Result<Bytes, Error> {
    let from = u64::from(frame.offset)
        .checked_sub(start)
        .and_then(|from| usize::try_from(from).ok());
    let range = from.and_then(|from| Some(from..from.checked_add(frame.sealed_len as usize)?));
    match range.filter(|range| range.end <= bytes.len()) {
        Some(range) => Ok(bytes.slice(range)),
        None => Err(Error::Damaged(String::from(
            "the store sent fewer bytes than were asked for",
        ))),
    }
}

/// Joins frames that are near, or all of them when at least half of the pack is wanted; splits what is long.
fn coalesce(pack: PackId, place: &PackPlace, frames: Vec<Frame>, requests: &mut Vec<Request>) {
    let wanted: u64 = frames.iter().map(|frame| u64::from(frame.sealed_len)).sum();
    let gap = if wanted * 2 >= place.bytes {
        place.bytes
    } else {
        GAP_BYTES
    };
    let first = requests.len();
    for frame in frames {
        let (start, end) = (
            u64::from(frame.offset),
            u64::from(frame.offset) + u64::from(frame.sealed_len),
        );
        match requests[first..].last_mut() {
            Some(last)
                if start.saturating_sub(last.range.end) <= gap
                    && end - last.range.start <= RANGE_BYTES_MAX =>
            {
                last.range.end = end;
                last.frames.push(frame);
                last.wanted += 1;
            }
            _ => requests.push(Request {
                pack,
                pack_bytes: place.bytes,
                locator: Locator(place.locator.clone()),
                range: start..end,
                frames: vec![frame],
                wanted: 1,
            }),
        }
    }
}
