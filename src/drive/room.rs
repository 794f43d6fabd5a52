//! Room for changes: writers are slowed down near the spool's limit, and wait at it.
//!
//! What the store takes makes room, an epoch at a time. So near the limit each write takes as long as its
//! share of the room that is left until then, and a store that is slow makes writers slow: they do not meet
//! the limit. Where they do, they wait. They are refused only when no room can come: nothing waits
//! for the store, what is wrong does not pass by itself, or the store has not been reached for
//! [`Settings::write_timeout`](crate::drive::Settings::write_timeout). Whoever has waited for
//! [`Settings::room_timeout`](crate::drive::Settings::room_timeout) is asked to try again ([`Error::Busy`]). That is
//! for programs. The kernel drops what is refused of what they changed through mappings: that waits as long, so that it
//! comes no faster than the store takes it, and goes beyond the limits then ([`Waiter`]).

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::Settings;
use crate::drive::control::Board;
use crate::drive::control::Stop;
use crate::id::Seq;
use crate::size::Bytes;
use crate::spool;

/// How often whoever waits looks whether there is room.
const LOOK: Duration = Duration::from_millis(200);

/// Share of the spool's limit from which on writers are slowed down: 7/8.
const SLOW_FROM: (u64, u64) = (7, 8);

/// Longest pause after one write. At a mebibyte a write, that is a store which takes 50 KiB/s.
const PAUSE_MAX: Duration = Duration::from_secs(20);

/// Pause after a write just below the limit while nothing is known of the store's speed.
const PAUSE_BLIND: Duration = Duration::from_millis(10);

/// Longest time between two attempts that are made in a row: the longest pause, and as long for the attempt.
const ROW_MAX: Duration = Duration::from_secs(180);

/// An epoch is published at the latest when it has this part of the spool, a quarter: it gives back no room
/// before all of it is on the store.
const EPOCH_SHARE: u64 = 4;

/// The longest body of a record, bytes: so far below its limit a spool is not full.
const BODY_BYTES: u64 = spool::BODY_BYTES_MAX as u64;

/// Longest that pages of a mapping wait for room on a full disk, while the store makes some. Whoever waits for them
/// cannot be killed.
const PAGES_WAIT_MAX: Duration = Duration::from_secs(600);

/// What there is no room in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::drive) enum Room {
    /// The spool: its limit, or the disk.
    Spool,
    /// The memory for changes that are not published.
    Memory,
}

/// Who waits for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiter {
    /// A program. It is refused when the store stays away, and asked to make its call again before that takes long.
    Program,
    /// The kernel, with what programs changed through mappings. It drops what is refused, and no program makes that
    /// call again: so when no room has come in the time that a program waits, this takes what the disk has, and is
    /// refused only when that is nothing and the store makes no room there either.
    Kernel,
    /// Nobody: the change is made if there is room.
    Nobody,
}

/// How far a change goes that finds no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::drive) enum Reach {
    /// To the limits that were set.
    Limit,
    /// Beyond them, to the disk's end.
    Disk,
}

/// How long a change has waited for room.
pub(in crate::drive) struct Patience {
    waiter: Waiter,
    since: Instant,
    longest: Duration,
    /// All that was published when the spool last gave back what it had to give.
    given_back: Option<Seq>,
    /// Was the cache emptied for it?
    is_cache_empty: bool,
    reach: Reach,
}

impl Patience {
    /// Of a change for which somebody waits.
    pub(in crate::drive) fn new(waiter: Waiter, settings: &Settings) -> Patience {
        let longest = match waiter {
            Waiter::Program => settings.room_timeout,
            Waiter::Kernel => settings.room_timeout.min(settings.write_timeout),
            Waiter::Nobody => Duration::ZERO,
        };
        Patience {
            waiter,
            since: Instant::now(),
            longest,
            given_back: None,
            is_cache_empty: false,
            reach: Reach::Limit,
        }
    }

    /// How far the change goes by now.
    pub(in crate::drive) fn reach(&self) -> Reach {
        self.reach
    }

    fn may_go_further(&self) -> bool {
        (self.waiter, self.reach) == (Waiter::Kernel, Reach::Limit)
    }

    /// Goes beyond the limits from now on, and waits longer still, if the one who waits may.
    fn goes_further(&mut self) -> bool {
        let may = self.may_go_further();
        if may {
            (self.reach, self.longest) = (Reach::Disk, PAGES_WAIT_MAX);
            self.given_back = None;
        }
        may
    }

    fn left(&self) -> Duration {
        self.longest.saturating_sub(self.since.elapsed())
    }
}

/// Whose turn it is near the limit: writers beside each other share what room there is.
#[derive(Debug, Default)]
pub(in crate::drive) struct Pace(Mutex<Option<Instant>>);

impl Pace {
    /// When the next writer may go on, after one whose write costs so much time.
    fn turn(&self, cost: Duration) -> Instant {
        let mut turn = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let at = turn.unwrap_or(now).max(now) + cost;
        *turn.insert(at.min(now + PAUSE_MAX))
    }
}

impl Board {
    /// Takes note of a failure at this time.
    pub(in crate::drive) fn note_failure(&mut self, now: Instant) {
        let first = now - self.failing_for(now).unwrap_or_default();
        self.failing = Some((first, now));
    }

    /// How long attempts have failed in a row, if the last did. A failure long ago, after which nobody tried
    /// again, says nothing of the store.
    fn failing_for(&self, now: Instant) -> Option<Duration> {
        let (first, last) = self.failing?;
        let is_fresh = now.saturating_duration_since(last) <= ROW_MAX;
        is_fresh.then(|| now.saturating_duration_since(first))
    }

    /// Bytes per second that the store takes; none before it has taken anything.
    fn rate(&self) -> Option<u64> {
        let seconds = self.epoch_started.map_or(0, |at| at.elapsed().as_secs());
        self.epoch_done_bytes
            .checked_div(seconds)
            .filter(|rate| *rate > 0)
            .or_else(|| Some(self.last_rate).filter(|rate| *rate > 0))
    }

    /// Seconds until the epoch under way gives back its room, if that can be told.
    fn seconds_to_room(&self) -> Option<u64> {
        let left = self.epoch_bytes.saturating_sub(self.epoch_done_bytes);
        let is_under_way = self.epoch_bytes > 0 && self.error.is_none();
        is_under_way.then(|| left.checked_div(self.rate()?))?
    }
}

impl Drive {
    /// Spooled bytes that are published without waiting for quiet.
    pub(in crate::drive) fn epoch_bytes_max(&self) -> u64 {
        let share = self.settings.spool_bytes_max / EPOCH_SHARE;
        self.settings.epoch_bytes.min(share)
    }

    /// Waits a little for room, in the spool or in the memory for changes; then it is worth another try.
    ///
    /// # Errors
    /// [`Error::NoSpace`] when no room will come, [`Error::Busy`] when it may come too late for this caller.
    pub(in crate::drive) fn wait_for_room(
        &self,
        room: Room,
        patience: &mut Patience,
    ) -> Result<(), Error> {
        if patience.waiter == Waiter::Nobody {
            return Err(Error::Busy);
        }
        if room == Room::Spool && self.cache_makes_room(patience) {
            return Ok(());
        }
        let waited = self.wait_a_little(patience);
        if waited.is_err() && patience.goes_further() {
            log::debug!("pages of a mapping go beyond what was set: they would be lost");
            return Ok(());
        }
        if let Err(Error::NoSpace) = waited {
            self.tell_refused(room);
        }
        waited
    }

    /// Where the disk is full and not the spool, what the cache keeps goes first: it is only copies.
    fn cache_makes_room(&self, patience: &mut Patience) -> bool {
        let spool = self.spool.usage();
        let is_disk_full = spool.disk_bytes + BODY_BYTES < spool.limit_bytes;
        let makes_room = is_disk_full && !patience.is_cache_empty && self.cache.usage().bytes > 0;
        if makes_room {
            patience.is_cache_empty = true;
            self.empty_cache();
        }
        makes_room
    }

    pub(in crate::drive) fn empty_cache(&self) {
        log::warn!("the disk is full, so the cache is emptied");
        self.cache.set_limit(0);
        self.cache.set_limit(self.settings.cache_bytes_max);
    }

    /// Says once, until there is room again, that changes are refused and what would help.
    fn tell_refused(&self, room: Room) {
        if self.control.board().refusing.is_some() {
            return;
        }
        let what = match room {
            Room::Spool => {
                let limit = Bytes(self.spool.usage().limit_bytes);
                format!(
                    "the spool is full ({limit}, or all that the disk has): writes are refused until Discord takes \
                     what is in it; a greater spool= or a smaller reserve= gives more room"
                )
            }
            Room::Memory => {
                let limit = Bytes(self.settings.changes_bytes_max as u64);
                format!(
                    "changes of names take all the memory they may ({limit}): changes are refused until Discord takes \
                     some; a greater changes= gives more room"
                )
            }
        };
        log::warn!("{what}");
        self.control
            .post(|board| board.refusing = Some((room, what)));
    }

    fn wait_a_little(&self, patience: &mut Patience) -> Result<(), Error> {
        // The state's lock comes before the board's.
        let last = self.unpublished_through();
        let board = self.control.board();
        if board.publisher_gone
            || board.stop == Stop::Now
            || (!patience.may_go_further() && self.is_out_of_reach(&board))
        {
            return Err(Error::NoSpace);
        }
        if patience.left().is_zero() {
            return Err(Error::Busy);
        }
        if last <= board.published {
            // All is on the store, but the disk may be slow to give back what that made superfluous.
            let published = board.published;
            drop(board);
            if patience.given_back.replace(published) == Some(published) {
                return Err(Error::NoSpace);
            }
            self.spool.give_back(patience.left());
            return Ok(());
        }
        // Only the first rings: writers who wake each other would keep everybody else from the drive.
        let is_asked = board.wanted > board.published;
        drop(board);
        if !is_asked {
            self.control
                .post(|board| board.wanted = board.wanted.max(Seq(board.published.0 + 1)));
        }
        let board = self.control.board();
        drop(self.control.wait(board, LOOK));
        Ok(())
    }

    /// Has the store failed for too long, or in a way that somebody must mend?
    fn is_out_of_reach(&self, board: &Board) -> bool {
        let patience = match board.error_is_passing {
            true => self.settings.write_timeout,
            false => Duration::ZERO,
        };
        board
            .failing_for(Instant::now())
            .is_some_and(|time| time >= patience)
    }

    /// Near the spool's limit, a write of so many bytes takes a while: the longer, the less room there is and
    /// the longer the store needs to make more.
    pub(in crate::drive) fn slow_down(&self, bytes: u64) {
        // What takes no room waits for none.
        let Some((over, left)) = self.nearness().filter(|_| bytes > 0) else {
            return;
        };
        let known = self.control.board().seconds_to_room();
        let cost = match known {
            Some(seconds) => {
                let milliseconds = u128::from(bytes) * u128::from(seconds) * 1000;
                let milliseconds = milliseconds / u128::from(left.max(1));
                Duration::from_millis(u64::try_from(milliseconds).unwrap_or(u64::MAX))
            }
            None => {
                let share = u32::try_from(over * 100 / (over + left).max(1)).unwrap_or(100);
                PAUSE_BLIND * share / 100
            }
        };
        let until = self.control.pace.turn(cost.min(PAUSE_MAX));
        while let Some(pause) = until.checked_duration_since(Instant::now()) {
            let board = self.control.board();
            if board.stop == Stop::Now || self.nearness().is_none() {
                return;
            }
            drop(self.control.wait(board, pause.min(LOOK)));
        }
    }

    /// Bytes beyond the mark from which on writers are slowed down, and bytes left to the limit; none below it.
    fn nearness(&self) -> Option<(u64, u64)> {
        let usage = self.spool.usage();
        let from = usage.limit_bytes / SLOW_FROM.1 * SLOW_FROM.0;
        let over = usage
            .disk_bytes
            .checked_sub(from)
            .filter(|over| *over > 0)?;
        Some((over, usage.limit_bytes.saturating_sub(usage.disk_bytes)))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Arc;

    use super::*;
    use crate::id::InodeNo;
    use crate::size::MIB;
    use crate::store::faulty::Fault;
    use crate::store::faulty::Faulty;
    use crate::store::faulty::Rule;
    use crate::store::faulty::Verb;
    use crate::store::memory::Memory;

    #[test]
    fn writers_take_turns_and_none_waits_longer_than_the_longest_pause() {
        let pace = Pace::default();
        let started = Instant::now();
        let cost = Duration::from_secs(3);
        let turns: Vec<_> = (0..20).map(|_| pace.turn(cost)).collect();
        assert!(turns[0] >= started + cost);
        assert!(turns[1] >= started + 2 * cost);
        assert!(turns.is_sorted());
        assert!(turns.iter().all(|turn| *turn <= Instant::now() + PAUSE_MAX));
    }

    #[test]
    fn failures_in_a_row_are_counted_from_the_first_and_an_old_one_does_not_count() {
        let mut board = Board::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(board.failing_for(at(0)), None);
        board.note_failure(at(0));
        board.note_failure(at(100));
        assert_eq!(board.failing_for(at(150)), Some(Duration::from_secs(150)));
        // Nobody tried for an hour.
        assert_eq!(board.failing_for(at(3700)), None);
        board.note_failure(at(3700));
        assert_eq!(board.failing_for(at(3701)), Some(Duration::from_secs(1)));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_the_kernel_hands_over_is_taken_at_last_and_nobody_waits_at_all() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Arc::new(Faulty::new(Memory::default()));
        let settings = crate::drive::fixture::settings(dir.path());
        let settings = Settings {
            spool_bytes_max: 8 * MIB,
            room_timeout: Duration::from_millis(1),
            ..settings
        };
        let opened = crate::drive::fixture::open(settings, &store).await;
        let drive = opened.expect("a new drive");
        let body = vec![7; 1 << 20];
        let at = Cell::new(0);
        let change = |waiter| {
            at.set(at.get() + MIB);
            drive.change_for(waiter, &body, |c| {
                c.write_given(InodeNo::ROOT, at.get(), 1 << 20);
                Ok::<(), Error>(())
            })
        };
        store.add(Rule::always(Verb::Put, Fault::Unavailable));
        drive.control.weigh(usize::MAX);
        assert!(matches!(change(Waiter::Nobody), Err(Error::Busy)));
        change(Waiter::Kernel).expect("taken");
        drive.control.weigh(0);
        let filled = (0..).find_map(|_| change(Waiter::Program).err());
        assert!(matches!(filled, Some(Error::Busy | Error::NoSpace)));
        change(Waiter::Kernel).expect("taken");
        let usage = drive.spool.usage();
        assert!(usage.disk_bytes > usage.limit_bytes, "{usage:?}");
        drive.close().await;
    }

    #[test]
    fn the_time_to_room_is_that_of_the_epoch_under_way_at_the_speed_of_the_store() {
        let mut board = Board {
            epoch_bytes: 1000,
            epoch_done_bytes: 0,
            ..Board::default()
        };
        assert_eq!(board.seconds_to_room(), None, "no speed is known");
        board.last_rate = 10;
        assert_eq!(board.seconds_to_room(), Some(100));
        board.epoch_started = Instant::now().checked_sub(Duration::from_secs(20));
        board.epoch_done_bytes = 800;
        assert_eq!(board.seconds_to_room(), Some(5));
        board.error = Some(Error::Malformed);
        assert_eq!(board.seconds_to_room(), None, "the store is away");
        board.error = None;
        board.epoch_bytes = 0;
        assert_eq!(board.seconds_to_room(), None, "nothing is under way");
    }
}
