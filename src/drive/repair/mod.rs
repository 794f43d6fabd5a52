//! Repairing: what is wrong is put right from whatever still has it.
//!
//! ```text
//! look         as `ods verify --full` does
//! superblock   put and pinned again, from this machine's copy
//! content      each chunk that cannot be read: memory, cache, its own frame if only the pack's ends are
//!              damaged, other packs on the shelves, files of a directory that the user names; sealed
//!              anew in packs with new ids, whose places an epoch publishes                  content.rs
//! history      a new checkpoint from this machine's index; then what no rebuild can use goes history.rs
//! look again   at what was wrong: what is left is reported
//! ```
//!
//! Nothing is dropped but journal objects that no rebuild could use, and places of chunks that no file
//! needs. A range that nothing brings back stays as it is, unreadable, and is reported each time. With
//! [`Losses::Forget`] it becomes a forgotten extent: the file keeps its length, reading the range is
//! still an error (zeros or a shorter file would look like content), and it is a problem no longer.
//!
//! Every step can be interrupted and done again: chunks that were stored are found stored, and a second
//! checkpoint is as good as the first.

mod content;
mod forget;
mod history;
mod sources;

use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;

use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::scope::Files;
use crate::drive::scope::Scope;
use crate::drive::task::Task;
use crate::drive::verify;
use crate::drive::verify::Depth;
use crate::drive::verify::Findings;
use crate::drive::verify::Problem;

/// What becomes of what nothing brings back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Losses {
    /// It stays listed.
    #[default]
    Keep,
    /// It is forgotten: still an error to read, but a problem no longer.
    Forget,
}

/// Is anything changed?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// What can be repaired is.
    #[default]
    Repair,
    /// Nothing is: only tell what would be.
    DryRun,
}

/// What is to be repaired, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// What.
    pub scope: Scope,
    /// How closely to look for what is wrong.
    pub depth: Depth,
    /// What becomes of what nothing brings back.
    pub losses: Losses,
    /// Is anything changed?
    pub mode: Mode,
    /// A directory whose files may have the content that is missing.
    pub from: Option<PathBuf>,
}

/// What was put right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Repaired {
    /// Chunks that were stored again.
    pub chunks: u64,
    /// Bytes of those.
    pub chunk_bytes: u64,
    /// Of those, chunks that this machine had in memory or in its cache.
    pub from_cache: u64,
    /// Chunks that were still on the store.
    pub from_store: u64,
    /// Chunks that were in the directory the user named.
    pub from_files: u64,
    /// New checkpoints.
    pub checkpoints: u64,
    /// Journal objects that were of no use any more.
    pub journal_removed: u64,
    /// Superblocks that were put again.
    pub superblocks: u64,
    /// Bytes of files that were forgotten.
    pub forgotten_bytes: u64,
}

/// What came of a repair.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Was anything changed, or only told?
    pub mode: Mode,
    /// Was it done to the end? Not if it was interrupted.
    pub complete: bool,
    /// What was wrong before.
    pub found: Vec<Problem>,
    /// What was put right; what would be, if nothing was to be changed.
    pub repaired: Repaired,
    /// What is still wrong.
    pub left: Vec<Problem>,
    /// What is worth knowing, but no problem.
    pub notes: Vec<String>,
}

impl Drive {
    /// Repairs. An interrupted repair keeps what it has done.
    ///
    /// # Errors
    /// As [`Drive::verify`]; [`Error::ReadOnly`] unless nothing is to be changed.
    pub fn repair(&self, wish: &Wish, task: &Task<'_>) -> Result<Report, Error> {
        if let (Mode::Repair, Some(why)) = (wish.mode, self.read_only()) {
            return Err(Error::ReadOnly(why));
        }
        let look = verify::Wish {
            scope: wish.scope.clone(),
            depth: wish.depth,
        };
        let mut report = Report {
            mode: wish.mode,
            ..Report::default()
        };
        let mut before = Findings::default();
        let looked = self.look(&look, task, &mut before);
        let found = self.report(&look, &before, looked.is_ok())?;
        (report.found, report.notes) = (found.problems, found.notes);
        report.left.clone_from(&report.found);
        let done = looked.and_then(|()| self.mend(wish, &before, task, &mut report.repaired));
        let done = done.and_then(|()| match wish.mode {
            Mode::DryRun => Ok(()),
            Mode::Repair => {
                let left = self.look_again(&look, &before, task)?;
                report.left = left.problems;
                Ok(())
            }
        });
        match done {
            Ok(()) => report.complete = true,
            Err(Error::Interrupted) => {}
            Err(error) => return Err(error),
        }
        Ok(report)
    }

    fn mend(
        &self,
        wish: &Wish,
        findings: &Findings,
        task: &Task<'_>,
        repaired: &mut Repaired,
    ) -> Result<(), Error> {
        if findings.superblock.is_some() {
            repaired.superblocks = self.mend_superblock(wish.mode, task)?;
        }
        self.mend_content(wish, findings, task, repaired)?;
        if !findings.history.what.is_empty() {
            self.mend_history(wish.mode, findings, task, repaired)?;
        }
        if (wish.losses, wish.mode) == (Losses::Forget, Mode::Repair) {
            self.forget(wish, findings, task, repaired)?;
        }
        if (&wish.scope, wish.mode) == (&Scope::Drive, Mode::Repair) {
            self.drop_misleading(task)?;
        }
        Ok(())
    }

    /// Looks at what was wrong, as closely as possible: it is little.
    fn look_again(
        &self,
        wish: &verify::Wish,
        before: &Findings,
        task: &Task<'_>,
    ) -> Result<verify::Report, Error> {
        let mut after = Findings::default();
        if wish.scope == Scope::Drive {
            self.look_at_names(task, &mut after)?;
            self.look_at_superblock(task, &mut after)?;
            self.look_at_history(wish.depth, task, &mut after)?;
        }
        let files = Files::These(before.concerned().into_iter().collect());
        self.look_at_content(&files, Depth::Full, task, &mut after)?;
        after.records = self.control.board().lost_records.clone();
        self.report(wish, &after, true)
    }
}
