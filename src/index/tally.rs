//! What an archive's content comes to: how much deduplication and compression save.

use crate::clock::Time;
use crate::index::record::Fields;
use crate::index::record::Malformed;

/// The form of the value that is written now; others are refused.
const VERSION: u8 = 1;

/// What an archive's files and packs come to, as of the last published epoch. Beside
/// [`crate::index::archive::Holding`], which older drives have without it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Bytes of its files that are not holes.
    pub stored_bytes: u64,
    /// Chunks in its packs.
    pub chunks: u64,
    /// Bytes of those chunks.
    pub chunk_bytes: u64,
    /// Bytes of them compressed and sealed.
    pub sealed_bytes: u64,
    /// When something in it was last changed.
    pub changed: Time,
}

impl Tally {
    /// The value to keep.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        let Tally {
            stored_bytes,
            chunks,
            chunk_bytes,
            sealed_bytes,
            changed,
        } = self;
        for field in [stored_bytes, chunks, chunk_bytes, sealed_bytes] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.extend_from_slice(&changed.0.to_le_bytes());
        out
    }

    /// Reads a kept value.
    ///
    /// # Errors
    /// [`Malformed`] when it is not one.
    pub fn decode(value: &[u8]) -> Result<Tally, Malformed> {
        let mut fields = Fields(value);
        if fields.u8()? != VERSION {
            return Err(Malformed);
        }
        let tally = Tally {
            stored_bytes: fields.u64()?,
            chunks: fields.u64()?,
            chunk_bytes: fields.u64()?,
            sealed_bytes: fields.u64()?,
            changed: Time(i64::from_le_bytes(fields.array()?)),
        };
        fields.end()?;
        Ok(tally)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_comes_back_byte_by_byte() {
        let tally = Tally {
            stored_bytes: 1,
            chunks: 2,
            chunk_bytes: 3,
            sealed_bytes: 4,
            changed: Time(-1),
        };
        let mut golden = vec![1];
        for number in 1..=4_u64 {
            golden.extend_from_slice(&number.to_le_bytes());
        }
        golden.extend_from_slice(&[0xff; 8]);
        assert_eq!(tally.encode(), golden);
        assert_eq!(Tally::decode(&golden), Ok(tally));
        assert_eq!(Tally::decode(&golden[..40]), Err(Malformed));
        golden[0] = 2;
        assert_eq!(Tally::decode(&golden), Err(Malformed));
    }
}
