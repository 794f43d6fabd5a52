//! Fetching files of the drive to this machine.

use serde::Deserialize;
use serde::Serialize;

use crate::drive::task::Task;
use crate::service::Check;
use crate::service::Consent;
use crate::service::Copied;
use crate::service::Desk;
use crate::service::Error;
use crate::service::HostPath;
use crate::service::Target;

/// What to fetch, and where to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetch {
    /// Archives, directories, files.
    pub targets: Vec<Target>,
    /// Directory of this machine; made if it is not there. Each target gets its own name in it.
    pub to: HostPath,
    /// How what is there already is told from what has to be copied.
    pub check: Check,
    /// May files that differ be replaced?
    pub consent: Consent,
}

/// Fetches files of the drive to this machine.
///
/// # Errors
/// [`Error::Conflict`] without consent, when files would be replaced; [`Error::NotFound`].
pub fn fetch(_desk: &Desk, _wish: &Fetch, _task: &Task<'_>) -> Result<Copied, Error> {
    Err(Error::Usage(String::from("this comes with the next step")))
}
