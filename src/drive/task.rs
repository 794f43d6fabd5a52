//! Long work on a drive: how far it is, and how whoever watches it ends it.
//!
//! Verifying, repairing and collecting garbage take minutes to hours. Each is given a [`Task`], tells
//! it what is done, and ends with [`Error::Interrupted`] when the watcher has heard enough. Everything
//! done until then stays done, so the same work asked for again goes on, or finds less to do.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use serde::Deserialize;
use serde::Serialize;

use crate::drive::Drive;
use crate::drive::Error;

/// A watcher is told at most this often, and when something new begins.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// How far a long task is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What is being done, in words.
    pub doing: String,
    /// Things done.
    pub items: u64,
    /// Things there are; 0 if that is not known.
    pub items_total: u64,
    /// Bytes done.
    pub bytes: u64,
    /// Bytes there are; 0 if that is not known, or if bytes say nothing.
    pub bytes_total: u64,
}

/// Shall it go on?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Go {
    /// It shall.
    On,
    /// No: what is done stays done.
    Stop,
}

/// Who watches a task.
pub type Watcher<'w> = dyn Fn(&Progress) -> Go + Send + Sync + 'w;

/// A long task, as the work and its watcher see it. The work may be done by many threads.
pub struct Task<'w> {
    watcher: &'w Watcher<'w>,
    state: Mutex<State>,
}

struct State {
    progress: Progress,
    told: Option<Instant>,
    go: Go,
}

impl<'w> Task<'w> {
    /// A task that has not begun.
    pub fn new(watcher: &'w Watcher<'w>) -> Task<'w> {
        Task {
            watcher,
            state: Mutex::new(State {
                progress: Progress::default(),
                told: None,
                go: Go::On,
            }),
        }
    }

    /// Begins a part of the work; totals of 0 are not known.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn begin(&self, doing: &str, items_total: u64, bytes_total: u64) -> Result<(), Error> {
        self.tell(|state| {
            state.progress = Progress {
                doing: doing.to_owned(),
                items_total,
                bytes_total,
                ..Progress::default()
            };
            state.told = None;
        })
    }

    /// More of the part is done.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn done(&self, items: u64, bytes: u64) -> Result<(), Error> {
        self.tell(|state| {
            state.progress.items += items;
            state.progress.bytes += bytes;
        })
    }

    /// Nothing new, but has the watcher heard enough? For whoever waits.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn check(&self) -> Result<(), Error> {
        self.tell(|_| {})
    }

    fn tell(&self, change: impl FnOnce(&mut State)) -> Result<(), Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        if state.go == Go::On && state.told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            state.go = (self.watcher)(&state.progress);
            state.told = Some(Instant::now());
        }
        match state.go {
            Go::On => Ok(()),
            Go::Stop => Err(Error::Interrupted),
        }
    }
}

impl std::fmt::Debug for Task<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Task")
    }
}

impl Drive {
    /// Waits for something of the store on behalf of a task, unless its watcher has heard enough or
    /// the drive is closed. Not to be called where async code runs.
    ///
    /// # Errors
    /// [`Error::Interrupted`], [`Error::Closing`], or why it failed.
    pub(in crate::drive) fn wait_with<R>(
        &self,
        task: &Task<'_>,
        work: impl Future<Output = Result<R, Error>>,
    ) -> Result<R, Error> {
        let watched = async {
            loop {
                tokio::time::sleep(TELL_EVERY).await;
                if let Err(error) = task.check() {
                    break error;
                }
            }
        };
        self.wait_for(async {
            tokio::select! {
                biased;
                result = work => result,
                error = watched => Err(error),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watcher_hears_of_each_part_and_ends_the_work_for_good() {
        let heard = Mutex::new(Vec::new());
        let watcher = |progress: &Progress| {
            let mut heard = heard.lock().expect("a lock");
            heard.push(progress.doing.clone());
            match heard.len() {
                ..2 => Go::On,
                _ => Go::Stop,
            }
        };
        let task = Task::new(&watcher);
        task.begin("one", 1, 0).expect("goes on");
        task.done(1, 0).expect("goes on");
        assert!(matches!(task.begin("two", 0, 0), Err(Error::Interrupted)));
        assert!(matches!(task.check(), Err(Error::Interrupted)));
        assert_eq!(*heard.lock().expect("a lock"), ["one", "two"]);
    }
}
