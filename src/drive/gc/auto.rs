//! Collecting unasked: once a day, when the drive is quiet, and only what is worth it.

use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::clock::Time;
use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::gc::Collecting;
use crate::drive::gc::Extent;
use crate::drive::gc::Report;
use crate::drive::gc::Wish;
use crate::drive::task::Go;
use crate::drive::task::Progress;
use crate::drive::task::Task;
use crate::index::Batch;
use crate::index::key;

/// Time between two collections that nobody asked for. Looking costs no request; what is found does.
const EVERY: Duration = Duration::from_secs(24 * 3600);

/// Under this label a machine remembers when it last looked.
const TENDED: &str = "tended";

/// What is known of collections in this run.
#[derive(Debug, Default)]
pub struct Tending {
    busy: AtomicBool,
    /// A thread of ours lives.
    awake: AtomicBool,
    known: Mutex<Known>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// When the next one is due.
    next: Option<Time>,
    /// Bytes that were of no use, and not buried, when it was last looked.
    garbage_bytes: Option<u64>,
}

impl Tending {
    pub(in crate::drive) fn is_busy(&self) -> &AtomicBool {
        &self.busy
    }

    /// Is a collection under way, or about to be?
    pub(in crate::drive) fn is_under_way(&self) -> bool {
        self.busy.load(Ordering::SeqCst) || self.awake.load(Ordering::SeqCst)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::drive) fn noticed(&self, report: &Report) {
        if report.complete {
            self.lock().garbage_bytes = Some(report.left_bytes);
        }
    }

    /// Bytes of no use when it was last looked, if it was.
    pub(in crate::drive) fn garbage_bytes(&self) -> Option<u64> {
        self.lock().garbage_bytes
    }
}

/// Wakes whoever waits for the thread, however it ends.
struct Awake<'d>(&'d Drive);

impl Drop for Awake<'_> {
    fn drop(&mut self) {
        self.0.tending.awake.store(false, Ordering::SeqCst);
        self.0.control.post(|_| {});
    }
}

impl Drive {
    /// Begins a collection if one is due. The publisher calls this when it has nothing else to do.
    pub(in crate::drive) fn tend(&self) {
        match self.is_tending_due() {
            Ok(false) => {}
            Ok(true) => self.begin_tending(),
            Err(error) => log::warn!("whether garbage is to be collected is not known: {error}"),
        }
    }

    fn is_tending_due(&self) -> Result<bool, Error> {
        if self.settings.gc == Collecting::Off || self.tending.is_under_way() {
            return Ok(false);
        }
        {
            let board = self.control.board();
            let is_quiet = board.first_change.is_none() && board.error.is_none();
            if board.read_only.is_some() || !is_quiet {
                return Ok(false);
            }
        }
        let now = self.now();
        let next = self.tending.lock().next;
        let next = match next {
            Some(next) => next,
            None => self.first_tending(now)?,
        };
        let is_due = now >= next;
        self.tending.lock().next = Some(if is_due { self.tended(now)? } else { next });
        Ok(is_due)
    }

    /// When the first collection of this run is due: a day after the last one of any run.
    fn first_tending(&self, now: Time) -> Result<Time, Error> {
        let value = self.index.base_get(&key::local(TENDED))?;
        let last = value.and_then(|value| value[..].try_into().ok());
        let last = last.map(|bytes| Time(i64::from_le_bytes(bytes)));
        match last.filter(|last| *last <= now) {
            Some(last) => Ok(later(last, EVERY)),
            None => self.tended(now),
        }
    }

    /// Remembers that it was looked; tells when to look again.
    fn tended(&self, now: Time) -> Result<Time, Error> {
        let mut batch = Batch::default();
        batch.put(key::local(TENDED), now.0.to_le_bytes().to_vec())?;
        self.index.write_through(batch)?;
        Ok(later(now, EVERY))
    }

    fn begin_tending(&self) {
        let Some(drive) = self.shared() else { return };
        self.tending.awake.store(true, Ordering::SeqCst);
        let thread = std::thread::Builder::new().name(String::from("ods-gc"));
        let spawned = thread.spawn(move || {
            let _awake = Awake(&drive);
            drive.collect_unasked();
        });
        match spawned {
            Ok(thread) => self.threads().push(thread),
            Err(error) => {
                self.tending.awake.store(false, Ordering::SeqCst);
                log::warn!("no thread to collect garbage: {error}");
            }
        }
    }

    fn collect_unasked(&self) {
        let wish = Wish {
            dry_run: false,
            delay_s: None,
            extent: Extent::Thrifty,
        };
        let watcher = |_: &Progress| match self.control.stopping() {
            true => Go::Stop,
            false => Go::On,
        };
        match self.collect(&wish, &Task::new(&watcher)) {
            Ok(report) if report.requests > 0 => log::info!(
                "garbage: {} packs buried, {} removed, {} requests",
                report.dead.packs + report.emptied.packs,
                report.removed.packs,
                report.requests
            ),
            Ok(_) | Err(Error::Closing) => {}
            Err(error) => log::warn!("garbage could not be collected: {error}"),
        }
    }
}

fn later(time: Time, by: Duration) -> Time {
    let by = i64::try_from(by.as_nanos()).unwrap_or(i64::MAX);
    Time(time.0.saturating_add(by))
}
