//! Why the engine could not do it.

use std::io;
use std::time::Duration;

use crate::codec;
use crate::index;
use crate::spool;
use crate::store;

/// Why the engine could not do it. Each variant is something a caller does differently.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The spool, or the memory for changes, is full and the store does not take what is in it.
    #[error("the spool is full")]
    NoSpace,
    /// There was no room yet, and nobody may be kept waiting longer; the same change may be made again.
    #[error("the spool is full, and Discord takes what is in it slowly; try again")]
    Busy,
    /// No changes are taken; the text says why.
    #[error("the drive is read-only: {0}")]
    ReadOnly(String),
    /// A local disk failed.
    #[error("the local disk failed: {0}")]
    Disk(String),
    /// Data does not match its seal or its checksum, wherever it was read.
    #[error("{0}")]
    Damaged(String),
    /// The index holds something that cannot be there.
    #[error("the index holds a value of an unknown form")]
    Malformed,
    /// The store did not answer in time.
    #[error("the store did not answer within {0:?}")]
    Timeout(Duration),
    /// The store failed.
    #[error("{0}")]
    Store(#[from] store::Error),
    /// Another machine holds the drive.
    #[error("the drive is in use by {holder} since {since}, last seen {seen}")]
    Leased {
        /// The other machine.
        holder: String,
        /// When it mounted the drive.
        since: String,
        /// When it last said so.
        seen: String,
        /// Its state directory, as that machine calls it; empty when it does not say.
        state_dir: String,
    },
    /// Another machine took the drive over while it was mounted here; the text says which.
    #[error("{0}")]
    TakenOver(String),
    /// History went on elsewhere while there are unpublished changes here.
    #[error("{0}")]
    Forked(String),
    /// The state directory cannot be used; the text says why and what to do.
    #[error("{0}")]
    State(String),
    /// The drive was written by a newer ods.
    #[error("{0}")]
    Newer(String),
    /// One change is too big to be kept whole.
    #[error("one change touches too many pieces of a file")]
    TooManyChanges,
    /// The drive is being closed.
    #[error("the drive is being closed")]
    Closing,
    /// Whoever watched a long task wanted no more of it.
    #[error("interrupted; what was done until then is kept")]
    Interrupted,
    /// What was asked for is not in the drive.
    #[error("{0}")]
    NotFound(String),
}

impl From<spool::Error> for Error {
    fn from(error: spool::Error) -> Error {
        match error {
            spool::Error::Full => Error::NoSpace,
            spool::Error::Damaged { .. } | spool::Error::Gone { .. } => {
                Error::Damaged(error.to_string())
            }
            spool::Error::TooLong => Error::TooManyChanges,
            spool::Error::Newer { .. } => Error::Newer(error.to_string()),
            spool::Error::Poisoned => Error::Disk(error.to_string()),
            spool::Error::Io { doing, source } => Error::Disk(format!("{doing}: {source}")),
        }
    }
}

impl From<index::Error> for Error {
    fn from(error: index::Error) -> Error {
        match error {
            index::Error::Io { doing, source } => Error::Disk(format!("{doing}: {source}")),
            error => Error::Disk(error.to_string()),
        }
    }
}

impl From<index::record::Malformed> for Error {
    fn from(_: index::record::Malformed) -> Error {
        Error::Malformed
    }
}

impl From<codec::Error> for Error {
    fn from(error: codec::Error) -> Error {
        match error {
            codec::Error::NewerVersion { .. } => Error::Newer(error.to_string()),
            _ => Error::Damaged(error.to_string()),
        }
    }
}

impl Error {
    /// Something of this machine cannot be used: its disk failed or is full, unless it is a matter of what it is and who
    /// may use it.
    pub(in crate::drive) fn of_local(text: String, error: &io::Error) -> Error {
        use io::ErrorKind::{AlreadyExists, InvalidInput, IsADirectory};
        use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied, Unsupported};
        match error.kind() {
            AlreadyExists | InvalidInput | IsADirectory | NotADirectory | NotFound
            | PermissionDenied | Unsupported => Error::State(text),
            _ => Error::Disk(text),
        }
    }

    /// Is what was to be read missing or not whole? Whatever else was asked for may be well.
    #[must_use]
    pub fn is_of_content(&self) -> bool {
        matches!(
            self,
            Error::Damaged(_)
                | Error::Store(store::Error::Missing { .. } | store::Error::Broken { .. })
        )
    }

    /// Is this what a damaged or missing object looks like? Otherwise the store could not say.
    pub(in crate::drive) fn is_damage(&self) -> bool {
        self.is_of_content() || matches!(self, Error::Malformed)
    }
}
