//! The words of the index: what callers hear from it.

use std::io;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What is stored cannot be used any more: remove the directory and rebuild the index.
    #[error("the index is damaged ({0}); unmount and mount again, and it is rebuilt")]
    Damaged(String),
    /// A key or a value exceeds its limit.
    #[error(
        "a key of {key_bytes} bytes with a value of {value_bytes} bytes is too long for the index"
    )]
    TooLong {
        /// Bytes of the key.
        key_bytes: usize,
        /// Bytes of the value.
        value_bytes: usize,
    },
    /// These bytes are not a batch.
    #[error("a batch of changes is malformed")]
    Malformed,
    /// There is a frozen delta already.
    #[error("the index is already publishing")]
    Publishing,
    /// There is no frozen delta.
    #[error("the index is not publishing")]
    NotPublishing,
    /// The disk refused.
    #[error("{doing} failed")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

impl Error {
    /// Has the disk no room?
    pub(crate) fn is_full_disk(&self) -> bool {
        let Error::Io { source, .. } = self else {
            return false;
        };
        source.kind() == std::io::ErrorKind::StorageFull
    }
}

/// What the deltas hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Keys changed since the last freeze.
    pub gathering_keys: usize,
    /// Memory they take, estimated.
    pub gathering_bytes: usize,
    /// Keys that are being published.
    pub publishing_keys: usize,
    /// Memory they take, estimated.
    pub publishing_bytes: usize,
}
