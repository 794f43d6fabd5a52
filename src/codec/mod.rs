//! Plain bytes to sealed bytes and back; pure, without files or network.

use bytes::Bytes;

/// Bytes that only a holder of the drive's keys can read or make; the only thing a store accepts.
#[derive(Clone, Debug)]
pub struct Sealed {
    parts: Vec<Bytes>,
}

impl Sealed {
    /// The bytes, in order, in pieces that need no copy to be sent.
    #[must_use]
    pub fn parts(&self) -> &[Bytes] {
        &self.parts
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
