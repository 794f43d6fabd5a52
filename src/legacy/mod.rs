//! What the Python systems before ods left behind, and how to read it. Pure: bytes in, bytes out.
//!
//! ```text
//! slicer and bot, up to version 3.1                     command line and web, version 4
//!
//! manifest   which pieces make which file               meta     what a batch is
//! piece      salt, nonce, AES-256-GCM of gzip           fernet   length, Fernet token, length, …
//! whole      the same for a file of any length          members  the tar in the tokens, once inflated
//! card       where both said on Discord what is where
//! ```
//!
//! Everything here may come from anybody: what Discord kept, or a folder from somewhere. So each
//! length has a limit before it is believed, nothing is read further than it says, and a name is used only
//! if it names something directly below where it is put ([`name`]).

use std::io;

pub mod card;
pub mod fernet;
#[cfg(any(fuzzing, debug_assertions))]
#[doc(hidden)]
pub mod fuzzing;
pub mod manifest;
pub mod members;
pub mod meta;
pub mod name;
pub mod piece;
pub mod whole;

/// Largest manifest, bytes: a hundred thousand pieces, about a terabyte of them.
pub const MANIFEST_BYTES_MAX: u64 = 16 << 20;

/// Most bytes of all manifests of one archive: half a million pieces, about five terabytes of them.
pub const MANIFESTS_BYTES_MAX: u64 = 64 << 20;

/// Most pieces of one archive. A file counts as one at least: what is a few bytes in a manifest takes more
/// in memory.
pub const PIECES_MAX: u64 = 500_000;

/// Largest piece or part, bytes: above what any server takes as one attachment.
pub const PIECE_BYTES_MAX: u64 = 512 << 20;

/// Why something old cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The key is not the one it was sealed with, or what it was sealed with is damaged too.
    #[error("the old key does not open it")]
    WrongKey,
    /// The key is not a key at all.
    #[error("the old key is not one of that system: {0}")]
    NoKey(&'static str),
    /// It is not what it was.
    #[error("damaged: {0}")]
    Damaged(String),
    /// It ends before it should.
    #[error("it ends too early")]
    TooShort,
    /// It says, or gives, more than it may.
    #[error("{what}: more than {bytes_max} bytes")]
    TooLarge {
        /// What does.
        what: &'static str,
        /// The limit, bytes.
        bytes_max: u64,
    },
    /// It has more of something than it may.
    #[error("{what}: more than {count_max}")]
    TooMany {
        /// What of.
        what: &'static str,
        /// The limit.
        count_max: u64,
    },
    /// A name that would be a file elsewhere, or none.
    #[error("not a name to use: {0}")]
    UnsafeName(&'static str),
}

impl Error {
    fn damaged(what: impl Into<String>) -> Error {
        Error::Damaged(what.into())
    }

    /// The error inside one of reading, if it is one of this room.
    #[must_use]
    pub fn inside(error: &io::Error) -> Option<&Error> {
        error.get_ref()?.downcast_ref()
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        io::Error::other(error)
    }
}

/// Reads until the buffer is full or there is no more; gives how much it is.
fn fill(from: &mut impl io::Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
