//! What the parts of an open drive tell each other: there is work, stop, this far it is published.

use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::Halt;
use crate::drive::failed_disk::with_way_out;
use crate::drive::room::Pace;
use crate::drive::room::Room;
use crate::drive::status::Phase;
use crate::id::EpochNo;
use crate::id::Seq;
use crate::store::Locator;

/// How far a close goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(in crate::drive) enum Stop {
    /// Not closing.
    #[default]
    Run,
    /// Stop at once; what is in the spool stays there for the next time.
    Now,
}

/// The shared board, and the bell that rings when something on it changes.
#[derive(Debug, Default)]
pub(in crate::drive) struct Control {
    board: Mutex<Board>,
    bell: Condvar,
    /// Memory of the changes since the last freeze, bytes.
    weight: AtomicUsize,
    /// When the next writer's turn is, near the limit of the spool.
    pub(in crate::drive) pace: Pace,
}

/// What is on the board.
#[derive(Clone, Debug, Default)]
pub(in crate::drive) struct Board {
    pub(in crate::drive) stop: Stop,
    /// Somebody waits until this record is published.
    pub(in crate::drive) wanted: Seq,
    /// Every change up to this record is published.
    pub(in crate::drive) published: Seq,
    /// When the oldest and the newest unfrozen change happened.
    pub(in crate::drive) first_change: Option<Instant>,
    pub(in crate::drive) last_change: Option<Instant>,
    /// Why the drive takes no changes.
    pub(in crate::drive) read_only: Option<Error>,
    /// Why what is shown is not what the store has, when it was opened to be read although history has gone
    /// on elsewhere.
    pub(in crate::drive) forked: Option<String>,
    /// Where the journal could not be followed further.
    pub(in crate::drive) halt: Option<Halt>,
    /// Attempts at epochs that cannot be read or were given up, which go once those are published.
    pub(in crate::drive) passed_over: Vec<(EpochNo, Locator)>,
    /// Counts the times somebody asked for a flush: whoever asks may have mended what was wrong.
    pub(in crate::drive) asked: u64,
    /// Why the last attempt to reach the store failed; cleared by the next success.
    pub(in crate::drive) error: Option<Error>,
    /// When the first and the last of the attempts failed that have failed in a row.
    pub(in crate::drive) failing: Option<(Instant, Instant)>,
    /// What changes were refused for want of, and that in words; cleared by the next that finds some of it.
    pub(in crate::drive) refusing: Option<(Room, String)>,
    /// Which records of the spool its disk has lost, in words.
    pub(in crate::drive) lost_records: Option<String>,
    /// What content its disk could not give back when it was to go to the store, in words; the last of it.
    pub(in crate::drive) lost_content: Option<String>,
    /// Why the last read from the store failed; cleared by the next that works.
    pub(in crate::drive) read_error: Option<String>,
    /// Will the error go away without help?
    pub(in crate::drive) error_is_passing: bool,
    /// Counts failures, so that a waiter can tell a new one from an old one.
    pub(in crate::drive) failures: u64,
    /// What the drain is doing.
    pub(in crate::drive) phase: Phase,
    /// Bytes of the epoch: all, and those the store has.
    pub(in crate::drive) epoch_bytes: u64,
    pub(in crate::drive) epoch_done_bytes: u64,
    /// Bytes in the spool of files without a name, which the last freeze held back.
    pub(in crate::drive) held_bytes: u64,
    pub(in crate::drive) epoch_started: Option<Instant>,
    /// Bytes per second at which the store took the last epoch; 0 when there was none.
    pub(in crate::drive) last_rate: u64,
    /// Epochs published since the drive was opened.
    pub(in crate::drive) epochs: u64,
    /// Packs and their bytes put since the drive was opened.
    pub(in crate::drive) packs: u64,
    pub(in crate::drive) pack_bytes: u64,
    pub(in crate::drive) publisher_gone: bool,
}

impl Board {
    /// Why nothing more is brought to the store, if that is so. A local disk that failed keeps nothing from it that can
    /// still be read.
    pub(in crate::drive) fn barred(&self) -> Option<&Error> {
        let read_only = self.read_only.as_ref();
        read_only.filter(|why| !matches!(why, Error::Disk(_)))
    }

    /// No change is taken from now on. What bars the way to the store as well counts for more than a failed disk.
    fn take_no_more(&mut self, why: Error) {
        if self.read_only.is_none() || (self.barred().is_none() && !matches!(why, Error::Disk(_))) {
            self.read_only = Some(why);
        }
    }
}

impl Control {
    pub(in crate::drive) fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the board and rings the bell.
    pub(in crate::drive) fn post(&self, change: impl FnOnce(&mut Board)) {
        change(&mut self.board());
        self.bell.notify_all();
    }

    /// Waits for the bell, at most so long.
    pub(in crate::drive) fn wait<'b>(
        &self,
        board: MutexGuard<'b, Board>,
        most: Duration,
    ) -> MutexGuard<'b, Board> {
        self.bell
            .wait_timeout(board, most)
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }

    /// A change with so many bytes of content was committed. Rings only for the first: later ones only move
    /// the time of the last.
    pub(in crate::drive) fn changed(&self, bytes: u64) {
        let now = Instant::now();
        let mut board = self.board();
        board.last_change = Some(now);
        // Names find room in a full spool; that says nothing of content.
        if bytes > 0 || matches!(board.refusing, Some((Room::Memory, _))) {
            board.refusing = None;
        }
        if board.first_change.is_none() {
            board.first_change = Some(now);
            drop(board);
            self.bell.notify_all();
        }
    }

    /// Takes note of how much memory the changes since the last freeze take.
    pub(in crate::drive) fn weigh(&self, bytes: usize) {
        self.weight.store(bytes, Ordering::Relaxed);
    }

    pub(in crate::drive) fn weight(&self) -> usize {
        self.weight.load(Ordering::Relaxed)
    }

    pub(in crate::drive) fn stopping(&self) -> bool {
        self.board().stop == Stop::Now
    }

    pub(in crate::drive) fn read_only(&self) -> Option<String> {
        self.board().read_only.as_ref().map(Error::to_string)
    }

    pub(in crate::drive) fn make_read_only(&self, why: Error) {
        log::error!("the drive is read-only now: {why}");
        self.post(|board| board.take_no_more(why));
    }

    /// Tells of a failure of the store; when another machine has the drive, nothing is changed here any more.
    pub(in crate::drive) fn failed(&self, error: &Error) {
        self.tell(error);
        self.post(|board| board.note_failure(Instant::now()));
    }

    /// Tells of a failure that keeps no epoch from being published: writers need not despair.
    pub(in crate::drive) fn tell(&self, error: &Error) {
        let is_rival = matches!(error, Error::Forked(_) | Error::TakenOver(_));
        let is_passing = match error {
            Error::Store(error) => error.is_passing(),
            _ => false,
        };
        match is_rival {
            true => log::error!("the drive is read-only now: {error}"),
            false => log::warn!("{error}"),
        }
        // In one step: whoever finds the error finds the drive read-only too.
        self.post(|board| {
            if is_rival {
                board.take_no_more(error.clone());
            }
            board.error = Some(error.clone());
            board.error_is_passing = is_passing;
            board.failures += 1;
        });
    }

    /// Takes note of how a read from the store went. The drain is not concerned: it finds out itself.
    pub(in crate::drive) fn read_went(&self, error: Option<&Error>) {
        if let Some(error) = error {
            log::warn!("a read failed: {error}");
        }
        let error = error.map(ToString::to_string);
        let mut board = self.board();
        if board.read_error != error {
            board.read_error = error;
        }
    }

    pub(in crate::drive) fn succeeded(&self) {
        if self.board().error.is_some() {
            self.post(|board| {
                board.error = None;
                board.failing = None;
            });
        }
    }
}

/// A pause after a failure.
struct Rest {
    since: Instant,
    pause: Duration,
    asked: u64,
}

/// Shortest pause after a failure, however often somebody asks.
const REST_MIN: Duration = Duration::from_millis(500);

impl Rest {
    fn new(control: &Control, pause: Duration) -> Rest {
        Rest {
            since: Instant::now(),
            pause,
            asked: control.board().asked,
        }
    }

    /// How much of it is left, if any.
    fn left(&self, control: &Control) -> Option<Duration> {
        let board = control.board();
        let pause = match board.asked == self.asked {
            true => self.pause,
            false => self.pause.min(REST_MIN),
        };
        let left = pause.saturating_sub(self.since.elapsed());
        (board.stop == Stop::Run && !left.is_zero()).then_some(left)
    }
}

/// How often somebody who waits for the store looks whether the drive is being closed.
const LOOK: Duration = Duration::from_millis(100);

/// Changes that take this part of the memory for them are published at once: half, so that others fit
/// beside them meanwhile.
const PUBLISHED_SHARE: usize = 2;

impl Drive {
    /// Waits for something of the store, unless the drive is closed meanwhile.
    ///
    /// # Errors
    /// [`Error::Closing`], or why it failed.
    pub(in crate::drive) fn wait_for<R>(
        &self,
        work: impl Future<Output = Result<R, Error>>,
    ) -> Result<R, Error> {
        let stopped = async {
            while !self.control.stopping() {
                tokio::time::sleep(LOOK).await;
            }
        };
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                result = work => result,
                () = stopped => Err(Error::Closing),
            }
        })
    }

    /// Sleeps after a failure, unless the drive is closed or somebody asks for a flush.
    pub(in crate::drive) fn rest(&self, pause: Duration) {
        let rest = Rest::new(&self.control, pause);
        while let Some(left) = rest.left(&self.control) {
            drop(self.control.wait(self.control.board(), left));
        }
    }

    /// The same, in a task.
    pub(in crate::drive) async fn pause(&self, pause: Duration) {
        let rest = Rest::new(&self.control, pause);
        while let Some(left) = rest.left(&self.control) {
            tokio::time::sleep(left.min(LOOK)).await;
        }
    }

    /// Is what was gathered to be published without anybody asking?
    pub(in crate::drive) fn is_due(&self, board: &Board) -> bool {
        let since = |at: Option<Instant>| at.map_or(Duration::ZERO, |at| at.elapsed());
        since(board.last_change) >= self.settings.linger
            || since(board.first_change) >= self.settings.age_max
            || self
                .spool
                .usage()
                .live_bytes
                .saturating_sub(board.held_bytes)
                >= self.epoch_bytes_max()
            || self.control.weight() >= self.settings.changes_bytes_max / PUBLISHED_SHARE
    }

    /// The last change there was, published or not.
    pub(in crate::drive) fn unpublished_through(&self) -> Seq {
        self.state
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .changed
    }

    /// Has everything changed so far published, and waits for none of it; also where that has just failed: whoever
    /// asks may have mended what was wrong. Tells up to which change.
    pub fn hurry(&self) -> Seq {
        let target = self.unpublished_through();
        self.control.post(|board| {
            board.wanted = board.wanted.max(target);
            board.asked += 1;
        });
        target
    }

    /// Publishes everything changed so far; returns when the store has it and the journal says so.
    /// `watch` is called now and then and may end the wait by returning false.
    ///
    /// # Errors
    /// What keeps it from being published; [`Error::Disk`] also when everything is on the store, and the local disk failed
    /// meanwhile; [`Error::Timeout`] when `watch` ended the wait.
    pub fn flush(&self, mut watch: impl FnMut() -> bool) -> Result<(), Error> {
        let started = Instant::now();
        let failures = self.control.board().failures;
        let target = self.hurry();
        loop {
            let board = self.control.board();
            if board.published >= target {
                drop(board);
                return self.refuse_failed_disk();
            }
            if let Some(why) = board.barred() {
                return Err(why.clone());
            }
            if board.publisher_gone || board.stop == Stop::Now {
                return Err(Error::Closing);
            }
            if let (Some(error), false, true) = (
                &board.error,
                board.error_is_passing,
                board.failures > failures,
            ) {
                return Err(with_way_out(error.clone()));
            }
            drop(self.control.wait(board, Duration::from_millis(100)));
            if !watch() {
                return Err(Error::Timeout(started.elapsed()));
            }
        }
    }
}
