//! Errands: work that changes what is published although nobody changed the drive.
//!
//! Only the publisher's thread amends the index between a freeze and the settling, and only it writes
//! checkpoints. Whoever has to move chunks or mend history therefore hands it an errand and waits:
//!
//! * [`Drive::in_epoch`]: the work runs when an epoch is frozen and drained. It may put packs (with
//!   [`crate::drive::upload::Uploads`]), amend the index, and read [`crate::index::Index::frozen_get`];
//!   what it did is published and settled with that epoch before the call returns. An epoch is made
//!   for it even if nobody changed anything.
//! * [`Drive::between_epochs`]: the work runs when no epoch is under way.
//!
//! An epoch that an errand waits for covers every record that the spool had at its freeze. If in the end
//! nothing is in it, it is not published.
//!
//! Work that is killed halfway has put packs whose facts are in the spool: they are published by the
//! next epoch and found again by the next errand.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::mpsc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use crate::drive::Access;
use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::status::Phase;
use crate::drive::task::Task;

/// How often somebody who waits for an errand asks whether to go on waiting.
const LOOK: Duration = Duration::from_millis(100);

/// Says how it went to whoever waits; dropped unsaid, it says that the drive is closing.
pub(in crate::drive) type Tell = Box<dyn FnOnce() + Send>;

type Work = Box<dyn FnOnce(&Drive) -> Tell + Send>;

/// Says to everybody how it went.
pub(in crate::drive) fn tell(tells: &mut Vec<Tell>) {
    std::mem::take(tells).into_iter().for_each(|tell| tell());
}

/// What waits for the publisher.
#[derive(Default)]
pub(in crate::drive) struct Errands(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    number: u64,
    in_epoch: VecDeque<(u64, Work)>,
    between: VecDeque<(u64, Work)>,
}

impl Errands {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Is an epoch wanted, although nobody may have changed anything?
    pub(in crate::drive) fn want_epoch(&self) -> bool {
        !self.lock().in_epoch.is_empty()
    }

    /// Is there anything for the publisher to do?
    pub(in crate::drive) fn any(&self) -> bool {
        let waiting = self.lock();
        !waiting.in_epoch.is_empty() || !waiting.between.is_empty()
    }

    fn withdraw(&self, number: u64) {
        let mut waiting = self.lock();
        waiting.in_epoch.retain(|(of, _)| *of != number);
        waiting.between.retain(|(of, _)| *of != number);
    }

    /// Nobody will run what waits.
    pub(in crate::drive) fn give_up(&self) {
        let mut waiting = self.lock();
        waiting.in_epoch.clear();
        waiting.between.clear();
    }
}

impl Drive {
    /// Runs the errands that want a frozen epoch; gives what tells their senders once it is settled.
    pub(in crate::drive) fn run_in_epoch(&self) -> Vec<Tell> {
        let mut tells = Vec::new();
        loop {
            let next = self.errands.lock().in_epoch.pop_front();
            match next {
                Some((_, work)) => {
                    self.control.post(|board| board.phase = Phase::Tidying);
                    tells.push(work(self));
                }
                None => return tells,
            }
        }
    }

    /// Gives up the frozen epoch if nothing is in it: its errands had nothing to say.
    pub(in crate::drive) fn abandon_empty(&self, tells: &mut Vec<Tell>) -> Result<bool, Error> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let frozen = state.frozen.as_ref();
        let is_empty = self.index.counts().publishing_keys == 0
            && frozen.is_none_or(|frozen| frozen.files() == 0);
        if is_empty {
            self.index.thaw()?;
            state.frozen = None;
            drop(state);
            self.control.post(|board| board.phase = Phase::Idle);
            tell(tells);
        }
        Ok(is_empty)
    }

    /// Runs the errands that want no epoch to be under way.
    pub(in crate::drive) fn run_between_epochs(&self) {
        loop {
            let next = self.errands.lock().between.pop_front();
            match next {
                Some((_, work)) => work(self)(),
                None => return,
            }
        }
    }

    /// Runs `work` in the publisher's thread within an epoch, and returns once that epoch is on the
    /// store and settled. What the work amended before it failed is published all the same.
    ///
    /// # Errors
    /// What the work returned; [`Error::ReadOnly`]; [`Error::Interrupted`] when the task's watcher
    /// does not want to wait any more (the work may still happen); [`Error::Closing`].
    pub(in crate::drive) fn in_epoch<R: Send + 'static>(
        &self,
        task: &Task<'_>,
        work: impl FnOnce(&Drive) -> Result<R, Error> + Send + 'static,
    ) -> Result<R, Error> {
        self.send(task, |waiting| &mut waiting.in_epoch, work)
    }

    /// Runs `work` in the publisher's thread while no epoch is under way.
    ///
    /// # Errors
    /// As [`Drive::in_epoch`].
    pub(in crate::drive) fn between_epochs<R: Send + 'static>(
        &self,
        task: &Task<'_>,
        work: impl FnOnce(&Drive) -> Result<R, Error> + Send + 'static,
    ) -> Result<R, Error> {
        self.send(task, |waiting| &mut waiting.between, work)
    }

    fn send<R: Send + 'static>(
        &self,
        task: &Task<'_>,
        queue: impl FnOnce(&mut Waiting) -> &mut VecDeque<(u64, Work)>,
        work: impl FnOnce(&Drive) -> Result<R, Error> + Send + 'static,
    ) -> Result<R, Error> {
        if self.settings.access == Access::Read {
            return Err(Error::ReadOnly(String::from("it was opened read-only")));
        }
        let (sender, answer) = mpsc::channel();
        let work = move |drive: &Drive| -> Tell {
            let result = work(drive);
            Box::new(move || drop(sender.send(result)))
        };
        let number = {
            let mut waiting = self.errands.lock();
            waiting.number += 1;
            let number = waiting.number;
            queue(&mut waiting).push_back((number, Box::new(work)));
            number
        };
        let failures = self.control.board().failures;
        self.control.post(|_| {});
        loop {
            match answer.recv_timeout(LOOK) {
                Ok(result) => return result,
                Err(RecvTimeoutError::Disconnected) => return Err(Error::Closing),
                Err(RecvTimeoutError::Timeout) => {}
            }
            let stuck = {
                let board = self.control.board();
                match &board.read_only {
                    Some(why) => Some(why.clone()),
                    None if board.publisher_gone => Some(Error::Closing),
                    // What does not go away without help would be waited for for ever.
                    None if board.failures > failures && !board.error_is_passing => {
                        board.error.clone()
                    }
                    None => None,
                }
            };
            if let Err(error) = stuck.map_or_else(|| task.check(), Err) {
                self.errands.withdraw(number);
                return Err(error);
            }
        }
    }
}
