//! Small frames bring their neighbours: whoever reads one small file of a pack soon reads the next.
//!
//! Files that were made together lie together in a pack, so reading a tree of small files cold would
//! ask for a few kilobytes thousands of times. The first small frame of a pack is fetched alone: a
//! single random read stays cheap. From the second on, the pack's own directory (its last frame) is
//! consulted once, and each request takes along the frames behind the wanted one: a window that
//! doubles with every request until one request holds four mebibytes.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use lru::LruCache;

use crate::codec;
use crate::codec::pack;
use crate::codec::pack::Frame;
use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::fetch::RANGE_BYTES_MAX;
use crate::drive::fetch::Request;
use crate::id::ChunkId;
use crate::id::PackId;
use crate::size::KIB;
use crate::store::Urgency;

/// A request for less than this is small.
const SMALL_BYTES: u64 = 256 * KIB;

/// The first window, bytes.
const WINDOW_MIN: u64 = 512 * KIB;

/// Bytes of a pack's end that are asked for first to find its directory: enough for several hundred frames.
const TAIL_BYTES: u64 = 64 * KIB;

/// Packs whose directories are remembered.
const PACKS_MAX: usize = 64;

/// What was asked of packs lately.
#[derive(Debug)]
pub(in crate::drive) struct Neighbours(Mutex<LruCache<PackId, Seen>>);

#[derive(Debug, Default)]
struct Seen {
    small_requests: u32,
    directory: Option<Arc<Vec<Frame>>>,
}

impl Default for Neighbours {
    fn default() -> Neighbours {
        let most = std::num::NonZeroUsize::new(PACKS_MAX).unwrap_or(std::num::NonZeroUsize::MIN);
        Neighbours(Mutex::new(LruCache::new(most)))
    }
}

impl Neighbours {
    fn lock(&self) -> MutexGuard<'_, LruCache<PackId, Seen>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of a small request; tells how many there were before, and the directory if known.
    fn note(&self, pack: PackId) -> (u32, Option<Arc<Vec<Frame>>>) {
        let mut packs = self.lock();
        let seen = packs.get_or_insert_mut(pack, Seen::default);
        seen.small_requests = seen.small_requests.saturating_add(1);
        (seen.small_requests - 1, seen.directory.clone())
    }

    fn keep(&self, pack: PackId, directory: &Arc<Vec<Frame>>) {
        self.lock().get_or_insert_mut(pack, Seen::default).directory = Some(Arc::clone(directory));
    }
}

impl Drive {
    /// Lets a small request take along the frames behind it, if its pack was asked for before.
    pub(in crate::drive) async fn take_along(
        &self,
        request: &mut Request,
        urgency: Urgency,
    ) -> Result<(), Error> {
        if request.range.end - request.range.start >= SMALL_BYTES {
            return Ok(());
        }
        let (before, directory) = self.neighbours.note(request.pack);
        if before == 0 {
            return Ok(());
        }
        let directory = match directory {
            Some(directory) => directory,
            None => self.pack_directory(request, urgency).await?,
        };
        let window = (WINDOW_MIN << before.min(8)).min(RANGE_BYTES_MAX);
        widen(request, &directory, window, |id| !self.cache.contains(id));
        Ok(())
    }

    /// The frames of a pack, as its own last frame lists them.
    async fn pack_directory(
        &self,
        request: &Request,
        urgency: Urgency,
    ) -> Result<Arc<Vec<Frame>>, Error> {
        let mut tail = TAIL_BYTES.min(request.pack_bytes);
        loop {
            let range = request.pack_bytes - tail..request.pack_bytes;
            let bytes = self.store.get(&request.locator, range, urgency).await?;
            match pack::read_directory(&self.keys, request.pack, &bytes, request.pack_bytes) {
                Ok(frames) => {
                    let frames = Arc::new(frames);
                    self.neighbours.keep(request.pack, &frames);
                    return Ok(frames);
                }
                Err(codec::Error::TooShort { need_bytes })
                    if need_bytes > tail && need_bytes <= request.pack_bytes =>
                {
                    tail = need_bytes;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Adds the wanted frames of the directory that lie within `window` bytes from the request's start.
fn widen(
    request: &mut Request,
    directory: &[Frame],
    window: u64,
    wanted: impl Fn(&ChunkId) -> bool,
) {
    let there: HashSet<u32> = request.frames.iter().map(|frame| frame.slot).collect();
    let end = request.range.start + window;
    for frame in directory {
        let place = place_of(frame);
        let inside = place.start >= request.range.start && place.end <= end;
        if inside && !there.contains(&frame.slot) && wanted(&frame.chunk) {
            request.range.end = request.range.end.max(place.end);
            request.frames.push(*frame);
        }
    }
}

fn place_of(frame: &Frame) -> Range<u64> {
    let start = u64::from(frame.offset);
    start..start + u64::from(frame.sealed_len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Locator;

    fn frame(slot: u32, offset: u32) -> Frame {
        Frame {
            chunk: ChunkId([u8::try_from(slot).expect("few"); 32]),
            slot,
            offset,
            sealed_len: 100,
            plain_len: 84,
        }
    }

    #[test]
    fn the_window_reaches_forward_and_skips_what_is_here() {
        let directory: Vec<Frame> = (0..10).map(|slot| frame(slot, 1000 + slot * 100)).collect();
        let mut request = Request {
            pack: PackId([1; 16]),
            pack_bytes: 5000,
            locator: Locator(Vec::new()),
            range: 1300..1400,
            frames: vec![directory[3]],
            wanted: 1,
        };
        widen(&mut request, &directory, 450, |id| id.0[0] != 5);
        let slots: Vec<u32> = request.frames.iter().map(|frame| frame.slot).collect();
        assert_eq!((slots, request.range), (vec![3, 4, 6], 1300..1700));
    }
}
