//! Jobs: wishes as data, granted by the drive's daemon or in this process.

use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;

use crate::drive::Access;
use crate::drive::gc;
use crate::drive::repair;
use crate::drive::task::Task;
use crate::drive::task::Watcher;
use crate::drive::verify;
use crate::import;
use crate::service::BackupTo;
use crate::service::Delete;
use crate::service::Desk;
use crate::service::Error;
use crate::service::Fetch;
use crate::service::Put;
use crate::service::Query;
use crate::service::Target;
use crate::service::Words;

/// What a drive can be asked to do, and what about it was chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "job", rename_all = "lowercase")]
pub enum Job {
    /// Is everything there, and whole? The answer is [`verify::Report`].
    Verify {
        /// What is looked at, and how closely.
        wish: verify::Wish,
    },
    /// Puts right what is wrong. The answer is [`repair::Report`].
    Repair {
        /// What is put right, and how.
        wish: repair::Wish,
    },
    /// Collects garbage. The answer is [`gc::Report`].
    Gc {
        /// What is collected, and how.
        wish: gc::Wish,
    },
    /// [`crate::service::archives()`].
    Archives {
        /// Which.
        query: Query,
    },
    /// [`crate::service::history()`].
    History {
        /// How many at most.
        limit: usize,
    },
    /// [`crate::service::list_all()`]; the answer is a list of listings for a range only.
    List {
        /// Which.
        target: Target,
        /// Entries left out at the beginning.
        skip: usize,
        /// Entries at most; 0 for all.
        limit: usize,
    },
    /// [`crate::service::search()`].
    Search {
        /// What for.
        text: String,
        /// Files at most; 0 for all.
        limit: usize,
    },
    /// [`crate::service::info()`].
    Info {
        /// About what.
        target: Target,
    },
    /// [`crate::service::stats()`].
    Stats,
    /// [`crate::service::channels()`].
    Channels,
    /// [`crate::service::put()`].
    Put {
        /// What, and where.
        wish: Put,
    },
    /// [`crate::service::fetch()`].
    Fetch {
        /// What, and where to.
        wish: Fetch,
    },
    /// [`crate::service::delete()`].
    Delete {
        /// What.
        wish: Delete,
    },
    /// [`crate::service::describe()`].
    Describe {
        /// Which archives.
        target: Target,
        /// What to write about them.
        words: Words,
    },
    /// [`crate::service::bring()`].
    Import {
        /// Which archive, and what to do with it.
        wish: import::Wish,
    },
    /// [`crate::service::survey()`].
    Survey {
        /// The channel to look in; none for all that can be read.
        channel: Option<u64>,
        /// The old bot's log; absolute.
        log: Option<PathBuf>,
        /// Will they be brought then? A new drive has to be written to once before it can be read.
        mode: import::Mode,
    },
    /// [`crate::service::backup()`].
    Backup {
        /// Where to.
        to: BackupTo,
    },
}

impl Job {
    /// What it takes of a drive that nobody serves.
    #[must_use]
    pub fn access(&self) -> Access {
        match self {
            Job::Repair { wish } if wish.mode == repair::Mode::Repair => Access::Write,
            Job::Gc { wish } if !wish.dry_run => Access::Write,
            Job::Put { .. } | Job::Delete { .. } | Job::Describe { .. } | Job::Backup { .. } => {
                Access::Write
            }
            Job::Import { wish } if wish.mode == import::Mode::Write => Access::Write,
            Job::Survey { mode, .. } if *mode == import::Mode::Write => Access::Write,
            Job::Verify { .. }
            | Job::Repair { .. }
            | Job::Gc { .. }
            | Job::Archives { .. }
            | Job::History { .. }
            | Job::List { .. }
            | Job::Search { .. }
            | Job::Info { .. }
            | Job::Stats
            | Job::Channels
            | Job::Import { .. }
            | Job::Survey { .. }
            | Job::Fetch { .. } => Access::Read,
        }
    }

    /// Does it. The answer is what `--json` prints.
    ///
    /// # Errors
    /// As each of the functions says.
    pub fn run(&self, desk: &Desk, watcher: &Watcher<'_>) -> Result<Value, Error> {
        let task = Task::new(watcher);
        let drive = desk.drive();
        let value = match self {
            Job::Verify { wish } => serde_json::to_value(drive.verify(wish, &task)?),
            Job::Repair { wish } => serde_json::to_value(drive.repair(wish, &task)?),
            Job::Gc { wish } => serde_json::to_value(drive.collect(wish, &task)?),
            Job::Archives { query } => {
                serde_json::to_value(crate::service::archives(drive, query)?)
            }
            Job::History { limit } => serde_json::to_value(crate::service::history(drive, *limit)?),
            Job::List {
                target,
                skip,
                limit,
            } => {
                let listings = crate::service::list_all(drive, target, *skip, *limit)?;
                match (target, listings.first()) {
                    (Target::Archive(_) | Target::Path(_), Some(only)) => {
                        serde_json::to_value(only)
                    }
                    _ => serde_json::to_value(listings),
                }
            }
            Job::Search { text, limit } => {
                serde_json::to_value(crate::service::search(drive, text, *limit, &task)?)
            }
            Job::Info { target } => {
                serde_json::to_value(crate::service::info(drive, target, &task)?)
            }
            Job::Stats => serde_json::to_value(crate::service::stats(drive)?),
            Job::Channels => serde_json::to_value(crate::service::channels(drive)?),
            Job::Put { wish } => serde_json::to_value(crate::service::put(desk, wish, &task)?),
            Job::Fetch { wish } => serde_json::to_value(crate::service::fetch(desk, wish, &task)?),
            Job::Delete { wish } => {
                serde_json::to_value(crate::service::delete(desk, wish, &task)?)
            }
            Job::Describe { target, words } => {
                serde_json::to_value(crate::service::describe(desk, target, words)?)
            }
            Job::Import { wish } => serde_json::to_value(crate::service::bring(desk, wish, &task)?),
            Job::Survey { channel, log, .. } => serde_json::to_value(crate::service::survey(
                desk,
                *channel,
                log.as_deref(),
                &task,
            )?),
            Job::Backup { to } => serde_json::to_value(crate::service::backup(desk, to, &task)?),
        };
        Ok(value?)
    }
}
