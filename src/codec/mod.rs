//! Plain bytes to sealed bytes and back; pure, without files or network.
//!
//! Every byte that is made here is described in `format.md`, beside this file.
//!
//! ```text
//! write  plain ─ chunker ─ Keys::chunk_id ─ PackBuilder::push ─ finish ─ Pack ─ Sealed ─▶ store
//! read   store ─ sealed bytes ─ pack::open_frame (tag, lz4, chunk id) ─ plain
//! ```

use std::{borrow::Cow, fmt};

use bytes::Bytes;

pub mod chunker;
mod compress;
#[cfg(any(fuzzing, debug_assertions))]
#[doc(hidden)]
pub mod fuzzing;
pub mod key;
pub mod note;
pub mod pack;
mod padding;
mod prefix;
mod seal;
pub mod segment;
mod slot;
pub mod superblock;
pub mod wire;

/// The version of every format that this program writes, and the newest that it reads.
pub const VERSION: u16 = 1;

/// Bytes that only a holder of the drive's keys can read or make; the only thing a store accepts.
#[derive(Clone)]
pub struct Sealed {
    parts: Vec<Bytes>,
}

impl Sealed {
    /// The only maker: rooms outside the codec cannot call plain bytes sealed.
    fn new(bytes: Vec<u8>) -> Self {
        Self {
            parts: vec![Bytes::from(bytes)],
        }
    }

    /// The bytes, in order, in pieces that need no copy to be sent.
    #[must_use]
    pub fn parts(&self) -> &[Bytes] {
        &self.parts
    }

    /// The bytes in one piece: without a copy when there is one part, which is usual.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        match &self.parts[..] {
            [one] => one.clone(),
            many => many.concat().into(),
        }
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.parts.iter().map(|part| part.len() as u64).sum()
    }

    /// True when there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.len())
    }
}

/// Why bytes could not be read, or must not be made. Never holds a secret or contents.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are not what was sealed: a broken disk or line, or somebody changed them.
    #[error("{what} is damaged")]
    Damaged {
        /// What was read.
        what: Cow<'static, str>,
    },
    /// The passphrase or recovery key does not fit this drive.
    #[error("the passphrase or recovery key is wrong")]
    WrongKey,
    /// A newer program wrote this.
    #[error(
        "{what} has format version {found}, this program knows versions up to {known}: update ods"
    )]
    NewerVersion {
        /// What was read.
        what: &'static str,
        /// The version that stands in the bytes.
        found: u16,
        /// The newest version known here.
        known: u16,
    },
    /// A quantity is outside the limits of the format.
    #[error("{what} is out of bounds")]
    Bounds {
        /// Which quantity.
        what: Cow<'static, str>,
    },
    /// More bytes from the end of the object are needed; ask again with so many.
    #[error("{need_bytes} bytes from the end are needed")]
    TooShort {
        /// How many of the last bytes are needed; never more than the object has.
        need_bytes: u64,
    },
    /// A person wrote something that cannot be a passphrase or recovery key; worth asking again.
    #[error("{what}")]
    Mistyped {
        /// What is wrong, in words.
        what: &'static str,
    },
}

impl Error {
    fn damaged(what: impl Into<Cow<'static, str>>) -> Self {
        Self::Damaged { what: what.into() }
    }

    fn bounds(what: impl Into<Cow<'static, str>>) -> Self {
        Self::Bounds { what: what.into() }
    }
}

#[cfg(test)]
mod golden;
