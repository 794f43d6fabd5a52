//! What is to be done about a put: bury it, move what is alive in it, or leave it.
//!
//! A store removes what was put together together, so puts are judged, not packs. Moving costs what it
//! frees at most: half of the put must be dead, and every request it takes must free what a request
//! could as well have carried.

use std::cmp::Reverse;
use std::collections::HashSet;

use crate::drive::gc::mark::Marked;
use crate::drive::gc::mark::PutUse;
use crate::size::KIB;
use crate::size::MIB;

/// A put is moved when at most this share of it is alive: one half.
const LIVE_SHARE: (u64, u64) = (1, 2);

/// Bytes that a request must free to be worth sending.
const WORTH_BYTES: u64 = 64 * KIB;

/// Frames nearer than this come with one request.
const NEAR_BYTES: u64 = 256 * KIB;

/// Chunks that one epoch forgets or moves at most: what an epoch changes is held in memory.
const FRAMES_MAX: u64 = 100_000;

/// Bytes that are moved in one epoch at most: whoever waits for a flush waits for no more than this.
const MOVED_BYTES_MAX: u64 = 64 * MIB;

/// Requests that an epoch takes at most besides what it uploads: a look whether history is still ours, its segment, the
/// end of that read back, and a look whether it came in time.
pub(in crate::drive) const EPOCH_REQUESTS: u64 = 4;

/// Epochs that so many frames, and so many bytes to move, take at most. Puts are not divided, so each epoch
/// may stay half empty.
pub(in crate::drive) fn epochs(frames: u64, moved_bytes: u64) -> u64 {
    1 + 2 * (frames / FRAMES_MAX + moved_bytes / MOVED_BYTES_MAX)
}

/// What is to be done about a put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::drive) enum Verdict {
    /// Nothing in it is alive.
    Dead,
    /// What is alive in it is worth moving.
    Move,
    /// It stays as it is.
    Keep,
}

impl PutUse {
    /// Requests that moving it takes, at most.
    pub(in crate::drive) fn requests(&self) -> u64 {
        let gets = self.live_frames.min(self.live_bytes.div_ceil(NEAR_BYTES));
        let packs = self.packs.len() as u64;
        // One puts the new packs, one removes the old ones.
        gets.max(packs.min(self.live_frames)) + 2
    }

    pub(in crate::drive) fn verdict(&self) -> Verdict {
        let (live, of) = LIVE_SHARE;
        let freed = self.bytes.saturating_sub(self.live_bytes);
        if self.live_frames == 0 {
            Verdict::Dead
        } else if self.live_bytes * of <= self.bytes * live
            && freed >= self.requests() * WORTH_BYTES
        {
            Verdict::Move
        } else {
            Verdict::Keep
        }
    }
}

/// What one epoch does.
#[derive(Debug, Default)]
pub(in crate::drive) struct Choice {
    pub(in crate::drive) dead: Vec<PutUse>,
    pub(in crate::drive) moved: Vec<PutUse>,
    /// Is there more to do after it?
    pub(in crate::drive) more: bool,
}

/// Is what is alive moved, or is only what is dead buried?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::drive) enum Repack {
    /// It is moved.
    Yes,
    /// It stays where it is.
    No,
}

impl Choice {
    /// As much as one epoch takes: what is dead first, then what frees most for what it costs.
    pub(in crate::drive) fn new(
        marked: &Marked,
        repack: Repack,
        skip: &HashSet<Vec<u8>>,
    ) -> Choice {
        let mut choice = Choice::default();
        let (mut frames, mut bytes) = (0, 0);
        let wanted = |verdict: Verdict| {
            let puts = marked.puts.iter().filter(|put| !skip.contains(&put.key));
            puts.filter(move |put| put.verdict() == verdict)
        };
        let mut dead: Vec<&PutUse> = wanted(Verdict::Dead).collect();
        dead.sort_by(|one, other| one.key.cmp(&other.key));
        for put in dead {
            if frames + put.frames > FRAMES_MAX && frames > 0 {
                choice.more = true;
                continue;
            }
            frames += put.frames;
            choice.dead.push(put.clone());
        }
        let mut movable: Vec<&PutUse> = match repack {
            Repack::Yes => wanted(Verdict::Move).collect(),
            Repack::No => Vec::new(),
        };
        let gain =
            |put: &PutUse| (put.bytes - put.live_bytes.min(put.bytes)) / (put.live_bytes + 1);
        movable.sort_by_key(|put| (Reverse(gain(put)), put.live_bytes, put.key.clone()));
        for put in movable {
            let is_full =
                frames + put.frames > FRAMES_MAX || bytes + put.live_bytes > MOVED_BYTES_MAX;
            if is_full && frames > 0 {
                choice.more = true;
                continue;
            }
            frames += put.frames;
            bytes += put.live_bytes;
            choice.moved.push(put.clone());
        }
        // Chunks of an archive's puts that lie near each other go on to lie near each other.
        choice
            .moved
            .sort_by(|one, other| (one.archive, &one.key).cmp(&(other.archive, &other.key)));
        choice
    }

    pub(in crate::drive) fn is_empty(&self) -> bool {
        self.dead.is_empty() && self.moved.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ArchiveNo;
    use crate::id::PackId;

    fn put(key: u8, bytes: u64, live_frames: u64, live_bytes: u64) -> PutUse {
        PutUse {
            key: vec![key],
            archive: ArchiveNo(0),
            objects: 1,
            packs: vec![PackId([key; 16])],
            bytes,
            frames: 10,
            live_frames,
            live_bytes,
            dead_bytes: bytes - live_bytes,
        }
    }

    #[test]
    fn a_put_is_moved_only_when_it_is_worth_it() {
        assert_eq!(put(1, 10 * MIB, 0, 0).verdict(), Verdict::Dead);
        assert_eq!(put(1, 10 * MIB, 5, 5 * MIB).verdict(), Verdict::Move);
        assert_eq!(put(1, 10 * MIB, 6, 5 * MIB + 1).verdict(), Verdict::Keep);
        let small = put(1, 100 * KIB, 1, KIB);
        assert_eq!(small.verdict(), Verdict::Keep, "three requests free 99 KiB");
        let scattered = put(1, 400 * KIB, 60, 150 * KIB);
        assert_eq!(
            scattered.requests(),
            3,
            "frames that are near come together"
        );
        assert_eq!(scattered.verdict(), Verdict::Move);
    }

    #[test]
    fn one_epoch_moves_no_more_than_it_may_and_the_best_first() {
        let mut marked = Marked::default();
        marked
            .puts
            .extend((0..40).map(|key| put(key, 10 * MIB, 4, 4 * MIB)));
        marked.puts.push(put(100, 10 * MIB, 1, MIB));
        marked.puts.push(put(101, 10 * MIB, 0, 0));
        let choice = Choice::new(&marked, Repack::Yes, &HashSet::new());
        assert_eq!((choice.dead.len(), choice.moved.len()), (1, 16));
        assert!(choice.more && choice.moved.iter().any(|put| put.key == [100]));
        let only_dead = Choice::new(&marked, Repack::No, &HashSet::new());
        assert_eq!((only_dead.dead.len(), only_dead.moved.len()), (1, 0));
        assert!(!only_dead.more);
    }
}
