//! Read-ahead, one per open file: it starts small, doubles while the reader goes straight on, and stops when it jumps.
//!
//! In the manner of mountpoint-s3, whose first window is also about one megabyte. What is fetched
//! ahead lands in memory and in the cache, never in the reader's way.

use std::sync::Mutex;
use std::sync::PoisonError;

use futures_util::future::join_all;

use crate::drive::Drive;
use crate::drive::read::chunks_of;
use crate::id::InodeNo;
use crate::size::MIB;
use crate::store::Urgency;

/// First window, bytes.
const WINDOW_MIN: u64 = MIB;

/// Largest window as a share of the memory for chunks: several files are read at once.
const WINDOW_SHARE: u64 = 2;

/// A reader may skip this much and still count as going straight on; and lag behind by as much: the kernel reads
/// ahead with several requests at once, which arrive in any order.
const SEEK_MAX: u64 = 4 * MIB;

/// What is asked for at a time once the window is large: about one range of a pack. The window moves with the
/// reader in such steps, so that as much as it holds is always on its way or here.
const STEP_MAX: u64 = 4 * MIB;

/// Chunks that are fetched together: about one range of a pack.
const GROUP_CHUNKS: usize = 4;

/// Groups that are fetched ahead at once, for all files together.
pub(in crate::drive) const GROUPS_MAX: usize = 10;

/// What is known of one reader.
#[derive(Debug, Default)]
pub struct ReadAhead(Mutex<Reader>);

#[derive(Debug, Default)]
struct Reader {
    next: u64,
    window: u64,
    asked: u64,
}

impl ReadAhead {
    /// Takes note of a read; tells which range to bring next, if any.
    fn step(&self, offset: u64, len: u64, window_max: u64) -> Option<(u64, u64)> {
        let mut reader = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let straight = offset.abs_diff(reader.next) <= SEEK_MAX;
        let end = offset + len;
        if !straight {
            *reader = Reader {
                next: end,
                window: 0,
                asked: end,
            };
            return None;
        }
        reader.next = reader.next.max(end);
        let end = reader.next;
        let left = reader.asked.saturating_sub(end);
        if left + (reader.window / 2).min(STEP_MAX) > reader.window {
            return None;
        }
        reader.window = (reader.window * 2).clamp(WINDOW_MIN, window_max.max(WINDOW_MIN));
        let from = reader.asked.max(end);
        let to = end + reader.window;
        reader.asked = reader.asked.max(to);
        (from < to).then_some((from, to))
    }
}

impl Drive {
    /// The read-ahead of a newly opened file.
    #[must_use]
    pub fn read_ahead(&self) -> ReadAhead {
        ReadAhead::default()
    }

    /// Fetches what the reader will want next and is not here, in the background. To be told of every read: a
    /// reader that finds everything here would otherwise run out of it.
    pub fn look_ahead(&self, ino: InodeNo, offset: u64, len: u32, ahead: &ReadAhead) {
        let window_max = self.settings.memory_bytes_max / WINDOW_SHARE;
        let Some((from, to)) = ahead.step(offset, u64::from(len), window_max) else {
            return;
        };
        let Some(drive) = self.shared() else { return };
        self.runtime.spawn(async move {
            let Ok(parts) = drive.view().resolve(ino, from, to) else {
                return;
            };
            let mut chunks = chunks_of(&parts);
            chunks.retain(|chunk| !drive.has_chunk(chunk));
            // Each group by itself: who waits for one chunk need not wait for the whole window.
            let drive = &drive;
            let groups = chunks.chunks(GROUP_CHUNKS).map(|group| async move {
                // What has no turn yet is nobody's: a reader that comes to it first fetches it at once.
                let Ok(_turn) = drive.ahead.acquire().await else {
                    return Ok(());
                };
                drive.fetch(group, Urgency::Background).await.map(drop)
            });
            for error in join_all(groups).await.into_iter().filter_map(Result::err) {
                log::debug!("read-ahead of inode {ino} failed: {error}");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_while_straight_and_stops_at_a_jump() {
        let ahead = ReadAhead::default();
        assert_eq!(
            ahead.step(0, 1 << 17, 32 * MIB),
            Some((1 << 17, (1 << 17) + MIB))
        );
        assert_eq!(
            ahead.step(1 << 17, 1 << 17, 32 * MIB),
            None,
            "more than half the window is still ahead"
        );
        let (from, to) = ahead
            .step(6 << 17, 1 << 17, 32 * MIB)
            .expect("half the window is used up");
        assert_eq!((from, to), ((1 << 17) + MIB, (7 << 17) + 2 * MIB));
        assert_eq!(
            ahead.step(100 * MIB, 4096, 32 * MIB),
            None,
            "a jump fetches nothing ahead"
        );
        assert!(
            ahead.step(100 * MIB + 4096, 4096, 32 * MIB).is_some(),
            "then it starts small again"
        );
    }

    #[test]
    fn the_window_moves_with_a_reader_whose_requests_overtake_each_other() {
        let ahead = ReadAhead::default();
        let mut asked = 0;
        // Pairs of requests in the wrong order, as the kernel's read-ahead sends them.
        for pair in 0..64 {
            for number in [2 * pair + 1, 2 * pair] {
                if let Some((from, to)) = ahead.step(number * MIB, MIB, 32 * MIB) {
                    assert!(from <= asked.max((number + 1) * MIB), "nothing is left out");
                    asked = to;
                }
            }
        }
        let ahead_of_it = asked - 128 * MIB;
        assert!(
            ahead_of_it > 27 * MIB && ahead_of_it <= 32 * MIB,
            "{ahead_of_it} bytes are ahead"
        );
    }
}
