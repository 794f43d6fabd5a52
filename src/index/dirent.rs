//! What a directory holds: each entry is kept twice, by name and in the order of `readdir`.

use crate::id::InodeNo;
use crate::index::inode::Kind;
use crate::index::record::Fields;
use crate::index::record::Malformed;

/// The value under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dirent {
    /// What the name leads to.
    pub ino: InodeNo,
    /// What kind of thing that is.
    pub kind: Kind,
    /// Place in the listing; given once, never reused, so offsets stay true while entries come and go.
    pub cookie: u64,
}

/// The value under a place in the listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// What the entry leads to.
    pub ino: InodeNo,
    /// What kind of thing that is.
    pub kind: Kind,
    /// The entry's name: 1..=255 bytes, any but `/` and NUL.
    pub name: Vec<u8>,
}

impl Dirent {
    /// The value to keep.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(17);
        out.push(self.kind as u8);
        out.extend_from_slice(&self.ino.0.to_le_bytes());
        out.extend_from_slice(&self.cookie.to_le_bytes());
        out
    }

    /// Reads a kept value.
    ///
    /// # Errors
    /// [`Malformed`] when it is not one.
    pub fn decode(value: &[u8]) -> Result<Dirent, Malformed> {
        let mut fields = Fields(value);
        let kind = Kind::from_u8(fields.u8()?)?;
        let entry = Dirent {
            kind,
            ino: InodeNo(fields.u64()?),
            cookie: fields.u64()?,
        };
        fields.end()?;
        Ok(entry)
    }
}

impl Listed {
    /// The value to keep.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(9 + self.name.len());
        out.push(self.kind as u8);
        out.extend_from_slice(&self.ino.0.to_le_bytes());
        out.extend_from_slice(&self.name);
        out
    }

    /// Reads a kept value.
    ///
    /// # Errors
    /// [`Malformed`] when it is not one.
    pub fn decode(value: &[u8]) -> Result<Listed, Malformed> {
        let mut fields = Fields(value);
        let kind = Kind::from_u8(fields.u8()?)?;
        let ino = InodeNo(fields.u64()?);
        Ok(Listed {
            ino,
            kind,
            name: fields.rest().to_vec(),
        })
    }
}
