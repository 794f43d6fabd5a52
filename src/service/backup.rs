//! Backing the index up: a checkpoint of it, sealed, on the store or in a file.

use std::io::ErrorKind;
use std::path::Path;

use serde::Deserialize;
use serde::Serialize;

use crate::drive::task::Task;
use crate::service::Desk;
use crate::service::Error;
use crate::service::HostPath;
use crate::service::put::until_stored;

/// Where a backup of the index goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackupTo {
    /// To the journal, as a checkpoint: what a new machine begins with.
    Discord,
    /// To a file of this machine.
    File(HostPath),
}

/// What was backed up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// The epoch it is the state of.
    pub epoch: u64,
    /// Its length, bytes, sealed.
    pub bytes: u64,
}

/// Refuses to put a file where something else than a file is: a device or a directory.
fn check_target(path: &Path) -> Result<(), Error> {
    match std::fs::metadata(path) {
        Ok(there) if !there.is_file() => Err(Error::Usage(format!(
            "{} is there and is no file, so the backup does not replace it; name a file",
            path.display()
        ))),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::host(path)(error)),
    }
}

/// Backs the index up, once everything written so far is on the store.
///
/// # Errors
/// When the drive, the store or the file takes nothing.
pub fn backup(desk: &Desk, to: &BackupTo, task: &Task<'_>) -> Result<Backup, Error> {
    if let BackupTo::File(path) = to {
        check_target(path.path())?;
    }
    until_stored(desk, task)?;
    let kept = match to {
        BackupTo::Discord => desk.drive().checkpoint_now(task)?,
        BackupTo::File(path) => desk.drive().back_up(path.path(), task)?,
    };
    Ok(Backup {
        epoch: kept.epoch,
        bytes: kept.bytes,
    })
}
