//! What a file's content is made of: extents, each a part of a chunk or a few bytes kept inline.
//!
//! A manifest is one key per extent rather than one value per file, so that changing the middle of
//! a big file touches the changed extents only, and no value grows with the file. An extent may use
//! a part of its chunk: overwriting 4 KiB of a 1 MiB chunk splits the extent around the new one
//! instead of fetching the chunk to cut it again.

use crate::id::ChunkId;
use crate::index::record::Fields;
use crate::index::record::Malformed;

/// Longest content kept in the manifest itself, bytes.
pub const INLINE_BYTES_MAX: usize = 512;

/// The chunk of bytes that a machine lost before they were stored: no content has this id.
pub const LOST: ChunkId = ChunkId([0; 32]);

/// The chunk of bytes that were given up after the store lost them: no content has this id. Reading them
/// fails as if they were [`LOST`], but nobody looks for them any more.
pub const FORGOTTEN: ChunkId = ChunkId([0xff; 32]);

/// One extent; its file offset is in its key. What no extent covers is a hole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extent {
    /// `len` bytes of a chunk, beginning `skip` bytes into its plaintext.
    Chunk {
        /// Which chunk.
        id: ChunkId,
        /// Bytes of the chunk before the extent.
        skip: u32,
        /// Bytes of the extent.
        len: u32,
    },
    /// The bytes themselves, at most [`INLINE_BYTES_MAX`].
    Inline(Vec<u8>),
}

impl Extent {
    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Extent::Chunk { len, .. } => u64::from(*len),
            Extent::Inline(bytes) => bytes.len() as u64,
        }
    }

    /// Is there nothing in it? Such an extent is never kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The part of this extent that begins `from` bytes into it and is `len` bytes long.
    #[must_use]
    pub fn part(&self, from: u64, len: u64) -> Extent {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "an extent is at most one chunk"
        )]
        let (from, len) = (from as u32, len as u32);
        match self {
            Extent::Chunk { id, skip, .. } => Extent::Chunk {
                id: *id,
                skip: skip + from,
                len,
            },
            Extent::Inline(bytes) => {
                Extent::Inline(bytes[from as usize..(from + len) as usize].to_vec())
            }
        }
    }

    /// The value to keep.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(41);
        match self {
            Extent::Chunk { id, skip, len } => {
                out.push(1);
                out.extend_from_slice(&id.0);
                out.extend_from_slice(&skip.to_le_bytes());
                out.extend_from_slice(&len.to_le_bytes());
            }
            Extent::Inline(bytes) => {
                out.push(2);
                out.extend_from_slice(bytes);
            }
        }
        out
    }

    /// Reads a kept value.
    ///
    /// # Errors
    /// [`Malformed`] when it is not one.
    pub fn decode(value: &[u8]) -> Result<Extent, Malformed> {
        let mut fields = Fields(value);
        match fields.u8()? {
            1 => {
                let id = ChunkId(fields.array()?);
                let extent = Extent::Chunk {
                    id,
                    skip: fields.u32()?,
                    len: fields.u32()?,
                };
                fields.end()?;
                Ok(extent)
            }
            2 => Ok(Extent::Inline(fields.rest().to_vec())),
            _ => Err(Malformed),
        }
    }
}
