//! Long work: what a drive can be asked to do, by its daemon or in this process.

use std::sync::Arc;

use anyhow::Result;
use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;

use crate::drive::Access;
use crate::drive::Drive;
use crate::drive::gc;
use crate::drive::repair;
use crate::drive::task::Task;
use crate::drive::task::Watcher;
use crate::drive::verify;

/// Work that takes its time, and what about it was chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "job", rename_all = "lowercase")]
pub(crate) enum Job {
    /// `ods verify`.
    Verify {
        /// What is looked at, and how closely.
        wish: verify::Wish,
    },
    /// `ods repair`.
    Repair {
        /// What is put right, and how.
        wish: repair::Wish,
    },
    /// `ods gc`.
    Gc {
        /// What is collected, and how.
        wish: gc::Wish,
    },
}

impl Job {
    /// What it takes of a drive that nobody serves.
    pub(crate) fn access(&self) -> Access {
        match self {
            Job::Verify { .. } => Access::Read,
            Job::Repair { wish } => match wish.mode {
                repair::Mode::DryRun => Access::Read,
                repair::Mode::Repair => Access::Write,
            },
            Job::Gc { wish } if wish.dry_run => Access::Read,
            Job::Gc { .. } => Access::Write,
        }
    }

    /// Does it. The answer is what `--json` prints.
    pub(crate) fn run(&self, drive: &Arc<Drive>, watcher: &Watcher<'_>) -> Result<Value> {
        let task = Task::new(watcher);
        Ok(match self {
            Job::Verify { wish } => serde_json::to_value(drive.verify(wish, &task)?)?,
            Job::Repair { wish } => serde_json::to_value(drive.repair(wish, &task)?)?,
            Job::Gc { wish } => serde_json::to_value(drive.collect(wish, &task)?)?,
        })
    }
}
