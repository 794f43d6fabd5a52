//! Finding and bringing what the Python systems left into the drive.

use std::path::Path;

use crate::drive::task::Task;
use crate::fs::Name;
use crate::id::InodeNo;
use crate::import;
use crate::import::Hears;
use crate::import::Report;
use crate::import::Survey;
use crate::import::Wish;
use crate::service::Desk;
use crate::service::Error;

/// The desk hears of changes.
struct Told<'a>(&'a Desk);

impl Hears for Told<'_> {
    fn name_changed(&self, at: Name<'_>) {
        self.0.name_changed(at);
    }

    fn inode_changed(&self, ino: InodeNo) {
        self.0.inode_changed(ino);
    }
}

/// Brings an old archive into the drive; damage is no error, and is in the report.
///
/// # Errors
/// As [`import::import`].
pub fn bring(desk: &Desk, wish: &Wish, task: &Task<'_>) -> Result<Report, Error> {
    Ok(import::import(desk.fs(), &Told(desk), wish, task)?)
}

/// Looks for all old archives: those of cards, in one channel or all that can be read, and of an old bot's log.
///
/// # Errors
/// As [`import::survey`].
pub fn survey(
    desk: &Desk,
    channel: Option<u64>,
    log: Option<&Path>,
    task: &Task<'_>,
) -> Result<Survey, Error> {
    Ok(import::survey(desk.drive(), channel, log, task)?)
}
