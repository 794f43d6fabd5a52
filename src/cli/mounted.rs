//! A mounted drive, as those see it who ask for it on the control socket.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use anyhow::Result;

use crate::cli::exit::Code;
use crate::cli::exit::code_of;
use crate::cli::exit::fault;
use crate::cli::exit::told;
use crate::cli::protocol::Report;
use crate::cli::render;
use crate::drive::Access;
use crate::drive::Drive;
use crate::fuse::Session;
use crate::fuse::table::Place;
use crate::service::Desk;

/// How often a waiting client hears how far it is.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// How long the daemon, when it ends, waits for clients to take their last answer.
const LAST_WORDS_MAX: Duration = Duration::from_secs(2);

/// A mounted drive, as its clients see it.
#[derive(Debug)]
pub(crate) struct Daemon {
    /// The drive's name on this machine.
    pub(crate) name: String,
    /// Its mount.
    pub(crate) session: Arc<Session>,
    /// The drive.
    pub(crate) drive: Arc<Drive>,
    /// Where its files are changed without the kernel.
    pub(crate) desk: Desk,
    /// Is asked to end at once.
    pub(crate) stop: tokio::sync::Notify,
    state: Mutex<State>,
    bell: Condvar,
}

/// How a mount ended; what went wrong as an exit code and in words.
type Ended = Result<(), (Code, String)>;

#[derive(Debug, Default)]
struct State {
    /// How it ended, once it has.
    ended: Option<Ended>,
    /// Clients that still wait for the end.
    waiting: usize,
}

impl Daemon {
    pub(crate) fn new(name: String, session: Arc<Session>, desk: Desk) -> Arc<Daemon> {
        Arc::new(Daemon {
            name,
            session,
            drive: Arc::clone(desk.drive()),
            desk,
            stop: tokio::sync::Notify::new(),
            state: Mutex::default(),
            bell: Condvar::new(),
        })
    }

    /// How it is.
    pub(crate) fn report(&self) -> Result<Report> {
        Ok(Report {
            name: self.name.clone(),
            mounted: true,
            mountpoint: self.mountpoint(),
            pid: std::process::id(),
            status: self.drive.status()?,
        })
    }

    /// Where it is mounted by now.
    fn mountpoint(&self) -> PathBuf {
        match self.session.place() {
            Place::At(at) | Place::Covered { at, .. } | Place::Holds { at, .. } => at,
            Place::Nowhere { .. } => self.session.mountpoint().to_owned(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says how it ended, and lets the clients that wait for that take their answer.
    pub(crate) fn end(&self, result: &Result<()>) {
        let mut state = self.lock();
        state.ended = Some(match result {
            Ok(()) => Ok(()),
            Err(error) => Err((code_of(error), told(error))),
        });
        self.bell.notify_all();
        let deadline = Instant::now() + LAST_WORDS_MAX;
        while state.waiting > 0 && Instant::now() < deadline {
            state = self.wait(state, deadline - Instant::now());
        }
    }

    /// Counts one more client that waits for the end, as long as what this gives lives.
    pub(crate) fn waiting(&self) -> Waiting<'_> {
        self.lock().waiting += 1;
        Waiting(self)
    }

    /// Has it ended?
    pub(crate) fn has_ended(&self) -> bool {
        self.lock().ended.is_some()
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, most: Duration) -> MutexGuard<'a, State> {
        let waited = self.bell.wait_timeout(state, most);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Brings everything to Discord. `hear` may end the wait by returning false.
    pub(crate) fn flush(
        &self,
        cancel: &AtomicBool,
        mut hear: impl FnMut(Box<Report>) -> Hearing,
    ) -> Result<()> {
        if self.drive.settings().access == Access::Read {
            return self.nothing_waits();
        }
        // What lost its name a moment ago goes first, so that its end is on Discord too.
        self.desk.fs().sweep();
        let mut told_at: Option<Instant> = None;
        let flushed = self.drive.flush_whole(|| {
            if cancel.load(Ordering::SeqCst) {
                return false;
            }
            if told_at.is_some_and(|at| at.elapsed() < TELL_EVERY) {
                return true;
            }
            told_at = Some(Instant::now());
            match self.report() {
                Ok(report) => hear(Box::new(report)) == Hearing::More,
                Err(_) => true,
            }
        });
        Ok(flushed?)
    }

    /// Is there anything that is not on Discord yet?
    pub(crate) fn waits(&self) -> bool {
        let status = self.drive.status();
        status.map_or(true, |status| status.unpublished)
    }

    /// A read-only mount uploads nothing, so what its spool holds waits on.
    fn nothing_waits(&self) -> Result<()> {
        let status = self.drive.status()?;
        match status.unpublished {
            false => Ok(()),
            true => Err(fault(
                Code::Kept,
                format!(
                    "{} are not on Discord, because the drive is mounted read-only; the spool in {} keeps them",
                    render::left(&status),
                    self.drive.settings().state_dir.display()
                ),
            )),
        }
    }
}

/// A client that waits for the end.
pub(crate) struct Waiting<'d>(&'d Daemon);

impl Waiting<'_> {
    /// Waits a moment; gives how it ended, once it has.
    pub(crate) fn next_moment(&self) -> Option<Ended> {
        let state = self.0.lock();
        match &state.ended {
            Some(ended) => Some(ended.clone()),
            None => self.0.wait(state, TELL_EVERY).ended.clone(),
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.lock().waiting -= 1;
        self.0.bell.notify_all();
    }
}

/// Does the listener want to hear more?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hearing {
    /// It does.
    More,
    /// It went away, or changed its mind.
    Over,
}
