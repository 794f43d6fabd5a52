//! Where content lies: chunks in packs, packs on shelves.

use crate::id::ArchiveNo;
use crate::id::PackId;
use crate::index::record::Fields;
use crate::index::record::Malformed;

/// Where a chunk is: a frame of a pack that the store has acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkPlace {
    /// The pack.
    pub pack: PackId,
    /// The frame's number in the pack.
    pub slot: u32,
    /// Where the sealed frame begins in the pack, bytes.
    pub offset: u32,
    /// Length of the sealed frame, bytes.
    pub sealed_len: u32,
    /// Length of the chunk, bytes.
    pub plain_len: u32,
}

/// Where a pack is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackPlace {
    /// The archive on whose shelf it lies.
    pub archive: ArchiveNo,
    /// Length of the pack, bytes.
    pub bytes: u64,
    /// What the store calls it.
    pub locator: Vec<u8>,
}

impl ChunkPlace {
    /// The value to keep.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(32);
        out.extend_from_slice(&self.pack.0);
        for field in [self.slot, self.offset, self.sealed_len, self.plain_len] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out
    }

    /// Reads a kept value.
    ///
    /// # Errors
    /// [`Malformed`] when it is not one.
    pub fn decode(value: &[u8]) -> Result<ChunkPlace, Malformed> {
        let mut fields = Fields(value);
        let place = ChunkPlace {
            pack: PackId(fields.array()?),
            slot: fields.u32()?,
            offset: fields.u32()?,
            sealed_len: fields.u32()?,
            plain_len: fields.u32()?,
        };
        fields.end()?;
        Ok(place)
    }
}

impl PackPlace {
    /// The value to keep.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(12 + self.locator.len());
        out.extend_from_slice(&self.archive.0.to_le_bytes());
        out.extend_from_slice(&self.bytes.to_le_bytes());
        out.extend_from_slice(&self.locator);
        out
    }

    /// Reads a kept value.
    ///
    /// # Errors
    /// [`Malformed`] when it is not one.
    pub fn decode(value: &[u8]) -> Result<PackPlace, Malformed> {
        let mut fields = Fields(value);
        let archive = ArchiveNo(fields.u32()?);
        let bytes = fields.u64()?;
        Ok(PackPlace {
            archive,
            bytes,
            locator: fields.rest().to_vec(),
        })
    }
}
