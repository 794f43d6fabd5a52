//! Why a wish could not be granted; each variant is something a face tells differently.

use std::path::Path;

use crate::drive;
use crate::fs;
use crate::import;

/// Why a wish could not be granted. `Display` names the thing and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was asked for makes no sense, or is outside the limits; the text says which.
    #[error("{0}")]
    Usage(String),
    /// There is no such path or archive in the drive.
    #[error("{0}")]
    NotFound(String),
    /// Something is there already that would be replaced or removed, and nobody agreed to that.
    #[error("{0}")]
    Conflict(String),
    /// A file or directory of this machine cannot be used.
    #[error("{path}: {source}")]
    Host {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The drive could not do it.
    #[error(transparent)]
    Drive(#[from] drive::Error),
    /// Something in the drive is not as it would have to be.
    #[error("{path}: {source}")]
    File {
        /// Which path in the drive.
        path: String,
        /// Why.
        source: Box<fs::Error>,
    },
    /// An old archive cannot be brought at all.
    #[error(transparent)]
    Import(#[from] import::Error),
    /// An answer could not be written down.
    #[error("the answer could not be written: {0}")]
    Answer(#[from] serde_json::Error),
}

impl Error {
    /// An error of this machine's filesystem.
    pub(in crate::service) fn host(path: &Path) -> impl FnOnce(std::io::Error) -> Error + use<> {
        let path = path.display().to_string();
        move |source| Error::Host { path, source }
    }

    /// An error of the drive's filesystem.
    pub(in crate::service) fn file(path: &[u8]) -> impl FnOnce(fs::Error) -> Error + use<> {
        let path = shown(path);
        move |source| match source {
            fs::Error::Drive(error) => Error::Drive(error),
            source => Error::File {
                path,
                source: Box::new(source),
            },
        }
    }

    /// Did whoever watched want no more of it?
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        matches!(self, Error::Drive(drive::Error::Interrupted))
    }
}

/// A path of the drive as people read it.
pub(in crate::service) fn shown(path: &[u8]) -> String {
    let path = path.strip_prefix(b"/").unwrap_or(path);
    format!("/{}", String::from_utf8_lossy(path))
}
