//! The first eight bytes of every object: what it is, and in which version.

use crate::codec::Error;
use crate::codec::VERSION;

/// Length of a prefix in bytes.
pub(in crate::codec) const LEN: usize = 8;

/// A kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::codec) struct Prefix {
    magic: &'static [u8; 6],
    what: &'static str,
}

pub(in crate::codec) const SUPERBLOCK: Prefix = Prefix::new(b"ods-su", "the superblock");
pub(in crate::codec) const PACK: Prefix = Prefix::new(b"ods-pk", "a pack");
pub(in crate::codec) const PACK_END: Prefix = Prefix::new(b"ods-pe", "the end of a pack");
pub(in crate::codec) const PART: Prefix = Prefix::new(b"ods-jp", "a journal part");
pub(in crate::codec) const NOTE: Prefix = Prefix::new(b"ods-nt", "a note");

impl Prefix {
    const fn new(magic: &'static [u8; 6], what: &'static str) -> Self {
        Self { magic, what }
    }

    /// The eight bytes, in the version that is written.
    pub(in crate::codec) fn bytes(self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[..6].copy_from_slice(self.magic);
        bytes[6..].copy_from_slice(&VERSION.to_le_bytes());
        bytes
    }

    /// What follows the prefix.
    ///
    /// # Errors
    /// `Damaged` when this is something else, `NewerVersion` when a newer program wrote it.
    pub(in crate::codec) fn strip(self, bytes: &[u8]) -> Result<&[u8], Error> {
        let (prefix, rest) = bytes
            .split_first_chunk::<LEN>()
            .ok_or(Error::damaged(self.what))?;
        let [magic @ .., low, high] = prefix;
        match u16::from_le_bytes([*low, *high]) {
            _ if magic != self.magic => Err(Error::damaged(self.what)),
            0 => Err(Error::damaged(self.what)),
            VERSION => Ok(rest),
            found => Err(Error::NewerVersion {
                what: self.what,
                found,
                known: VERSION,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_version_says_so() {
        assert_eq!(NOTE.strip(b"ods-nt\x01\x00rest"), Ok(&b"rest"[..]));
        assert_eq!(
            NOTE.strip(b"ods-nt\x02\x01rest"),
            Err(Error::NewerVersion {
                what: "a note",
                found: 0x102,
                known: 1
            })
        );
        for bad in [
            &b"ods-nt\x00\x00"[..],
            b"ods-pk\x01\x00",
            b"ods-nt\x01",
            b"",
        ] {
            assert_eq!(NOTE.strip(bad), Err(Error::damaged("a note")));
        }
    }
}
