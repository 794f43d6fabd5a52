//! Errands: work that somebody gives to the publisher, to be done between a freeze and its drain.
//!
//! There it is alone: no drain runs, so manifests and the places of chunks stand still, and what it
//! amends becomes part of the epoch, all of it or nothing. What the epoch's own drain looks up comes
//! after it. So garbage collection can take a chunk's place away without a drain that refers to
//! that chunk at the same moment, and a repair can say where a chunk lies now.
//!
//! Foreground operations never wait for an errand: they go on in the gathering layer. An errand that
//! amends nothing, when nothing else was changed either, makes no epoch.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use crate::drive::Drive;
use crate::drive::Error;

/// How often somebody who waits for an errand looks around.
const LOOK: Duration = Duration::from_millis(100);

type Work = Box<dyn FnOnce(&Drive) -> Result<(), Error> + Send>;

/// Errands that wait for the publisher.
#[derive(Default)]
pub(in crate::drive) struct Errands(Mutex<VecDeque<Errand>>);

impl std::fmt::Debug for Errands {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} errands", self.lock().len())
    }
}

/// An errand that has not begun.
struct Errand {
    work: Work,
    ticket: Arc<Ticket>,
}

/// What became of an errand; none as long as it is not known.
#[derive(Debug, Default)]
struct Ticket(Mutex<Option<Result<(), Error>>>);

impl Ticket {
    fn lock(&self) -> MutexGuard<'_, Option<Result<(), Error>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells whoever waits for an errand how it ended; when this is dropped before, that it did not.
#[derive(Debug)]
pub(in crate::drive) struct Begun(Arc<Ticket>);

impl Begun {
    /// It ended, and what it changed is published.
    pub(in crate::drive) fn end(self, result: Result<(), Error>) {
        self.0.lock().get_or_insert(result);
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.0.lock().get_or_insert(Err(Error::Closing));
    }
}

impl Errands {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Errand>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does anybody wait?
    pub(in crate::drive) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Runs the next errand, if there is one: only between a freeze and its drain.
    pub(in crate::drive) fn run_next(&self, drive: &Drive) -> Option<(Begun, Result<(), Error>)> {
        let Errand { work, ticket } = self.lock().pop_front()?;
        let begun = Begun(ticket);
        let result = work(drive);
        Some((begun, result))
    }

    fn withdraw(&self, ticket: &Arc<Ticket>) {
        self.lock()
            .retain(|errand| !Arc::ptr_eq(&errand.ticket, ticket));
    }
}

impl Drive {
    /// Has `work` done by the publisher, as part of an epoch; returns when that is published. `watch` is
    /// called now and then and ends the wait by returning false: an errand that has begun goes on
    /// all the same.
    ///
    /// # Errors
    /// What `work` returned; what keeps the epoch from being published; [`Error::Timeout`] when
    /// `watch` ended the wait.
    pub(in crate::drive) fn errand<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Drive) -> Result<R, Error> + Send + 'static,
        watch: &mut dyn FnMut() -> bool,
    ) -> Result<R, Error> {
        let (started, answer) = (Instant::now(), Arc::new(Mutex::new(None)));
        let ticket = Arc::new(Ticket::default());
        let kept = Arc::clone(&answer);
        let errand = Errand {
            work: Box::new(move |drive| {
                let done = work(drive)?;
                *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
                Ok(())
            }),
            ticket: Arc::clone(&ticket),
        };
        let failures = self.control.board().failures;
        self.control.errands.lock().push_back(errand);
        self.control.post(|_| {});
        let ended = loop {
            if let Some(result) = ticket.lock().take() {
                break result;
            }
            let board = self.control.board();
            if let Some(why) = &board.read_only {
                break Err(Error::ReadOnly(why.clone()));
            }
            if board.publisher_gone {
                break ticket.lock().take().unwrap_or(Err(Error::Closing));
            }
            if let (Some(error), false, true) = (
                &board.error,
                board.error_is_passing,
                board.failures > failures,
            ) {
                break Err(error.clone());
            }
            drop(self.control.wait(board, LOOK));
            if !watch() {
                break Err(Error::Timeout(started.elapsed()));
            }
        };
        self.control.errands.withdraw(&ticket);
        ended?;
        let answer = answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        answer.ok_or(Error::Closing)
    }
}
