//! Why an old archive cannot be brought at all.

use std::path::Path;

use crate::drive;
use crate::fs;
use crate::legacy;

/// Why an old archive cannot be brought at all. `Display` names the thing and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such archive, or nothing of one where it was looked for.
    #[error("{0}")]
    NotFound(String),
    /// What was asked for makes no sense.
    #[error("{0}")]
    Usage(String),
    /// No key was given, and it needs one.
    #[error("the archive is encrypted: {0}")]
    NoKey(&'static str),
    /// The key is wrong, or none of that system.
    #[error("{0}; nothing was written")]
    Key(legacy::Error),
    /// Nothing of it can be read.
    #[error("{what}: {source}")]
    Archive {
        /// Manifest, META or log.
        what: String,
        /// Why.
        source: legacy::Error,
    },
    /// A file of this machine cannot be read.
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
    /// A file cannot be made in the drive.
    #[error("{path}: {source}")]
    File {
        /// Which path of the drive.
        path: String,
        /// Why.
        source: Box<fs::Error>,
    },
}

impl Error {
    pub(in crate::import) fn host(path: &Path) -> impl FnOnce(std::io::Error) -> Error + use<> {
        let path = path.display().to_string();
        move |source| Error::Host { path, source }
    }

    pub(in crate::import) fn file(path: &[u8]) -> impl FnOnce(fs::Error) -> Error + use<> {
        let path = format!("/{}", String::from_utf8_lossy(path));
        move |source| match source {
            fs::Error::Drive(error) => Error::Drive(error),
            source => Error::File {
                path,
                source: Box::new(source),
            },
        }
    }

    pub(in crate::import) fn archive(
        what: impl Into<String>,
    ) -> impl FnOnce(legacy::Error) -> Error {
        let what = what.into();
        move |source| Error::Archive { what, source }
    }

    /// Is it one archive's own trouble, so that others may come all the same?
    #[must_use]
    pub fn is_of_the_archive(&self) -> bool {
        match self {
            Error::NotFound(_) | Error::NoKey(_) | Error::Key(_) | Error::Archive { .. } => true,
            Error::Usage(_) | Error::Host { .. } | Error::Drive(_) | Error::File { .. } => false,
        }
    }

    /// Did whoever watched want no more of it?
    pub(in crate::import) fn is_interrupted(&self) -> bool {
        matches!(self, Error::Drive(drive::Error::Interrupted))
    }
}
