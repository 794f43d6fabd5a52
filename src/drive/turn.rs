//! Work of which a drive has one at a time: whoever comes second waits for its turn.

use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::task::Task;

/// How often whoever waits looks whether the task is still wanted.
const LOOK: Duration = Duration::from_millis(200);

/// Whose turn it is.
#[derive(Debug, Default)]
pub(in crate::drive) struct Turns {
    is_taken: Mutex<bool>,
    bell: Condvar,
}

/// A turn; it ends when this is dropped.
#[derive(Debug)]
pub struct Turn<'d>(&'d Turns);

impl Turns {
    fn lock(&self) -> MutexGuard<'_, bool> {
        self.is_taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.lock() = false;
        self.0.bell.notify_one();
    }
}

impl Drive {
    /// The turn of an import. If another has it, this waits for its end, and tells the task so.
    ///
    /// # Errors
    /// [`Error::Interrupted`], [`Error::Closing`].
    pub fn turn(&self, task: &Task<'_>) -> Result<Turn<'_>, Error> {
        let turns = &self.imports;
        let mut is_told = false;
        let mut is_taken = turns.lock();
        while *is_taken {
            drop(is_taken);
            if self.control.stopping() {
                return Err(Error::Closing);
            }
            match is_told {
                false => task.begin("waiting until another import has ended", 0, 0)?,
                true => task.check()?,
            }
            is_told = true;
            let waited = turns
                .bell
                .wait_timeout_while(turns.lock(), LOOK, |is_taken| *is_taken);
            is_taken = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        *is_taken = true;
        Ok(Turn(turns))
    }
}
