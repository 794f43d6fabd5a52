//! Putting files of this machine into the drive.

use serde::Deserialize;
use serde::Serialize;

use crate::drive::task::Task;
use crate::service::Check;
use crate::service::Consent;
use crate::service::Copied;
use crate::service::Desk;
use crate::service::Error;
use crate::service::HostPath;
use crate::service::Words;

/// What to put, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Put {
    /// Files and directories of this machine; of each, the last name is its name in the drive.
    pub sources: Vec<HostPath>,
    /// Directory of the drive, as a path from the top; made if it is not there. Empty for the top.
    pub to: Vec<u8>,
    /// What to write about the archives that are written to.
    pub words: Words,
    /// How what is there already is told from what has to be copied.
    pub check: Check,
    /// May files that differ be replaced?
    pub consent: Consent,
}

/// Puts files of this machine into the drive.
///
/// # Errors
/// [`Error::Conflict`] without consent, when files would be replaced.
pub fn put(desk: &Desk, wish: &Put, _task: &Task<'_>) -> Result<Copied, Error> {
    for source in &wish.sources {
        let path = source.path();
        std::fs::symlink_metadata(path).map_err(Error::host(path))?;
    }
    desk.inode_changed(crate::id::InodeNo::ROOT);
    Err(Error::Usage(String::from("this comes with the next step")))
}
