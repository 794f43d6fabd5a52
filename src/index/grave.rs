//! What is buried: packs that nothing refers to any more, and that the store still has.
//!
//! One grave holds what was put together, because a store removes only that: a grave per pack would not
//! tell which siblings are missing. Its key is the store's name of the put. Once it is published, nothing
//! can refer to those packs again: the places of their chunks are gone from the same epoch on.

use crate::clock::Time;
use crate::id::ArchiveNo;
use crate::id::EpochNo;
use crate::index::record::Fields;
use crate::index::record::Malformed;

/// Packs that were put together, and that nothing refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grave {
    /// The epoch that buried them.
    pub epoch: EpochNo,
    /// When, by the clock of the machine that did.
    pub time: Time,
    /// The archive on whose shelf they lie.
    pub archive: ArchiveNo,
    /// Their length in bytes, of those that are known.
    pub bytes: u64,
    /// How many objects were put together.
    pub objects: u16,
    /// What the store calls those that are known; the put can be removed only when all of them are.
    pub locators: Vec<Vec<u8>>,
}

impl Grave {
    /// Is every object of the put known?
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.locators.len() >= usize::from(self.objects)
    }

    /// The value to keep: the fields, then each locator after its length.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(32 + 40 * self.locators.len());
        out.extend_from_slice(&self.epoch.0.to_le_bytes());
        out.extend_from_slice(&self.time.0.to_le_bytes());
        out.extend_from_slice(&self.archive.0.to_le_bytes());
        out.extend_from_slice(&self.bytes.to_le_bytes());
        out.extend_from_slice(&self.objects.to_le_bytes());
        for locator in &self.locators {
            let len = u16::try_from(locator.len()).unwrap_or(u16::MAX);
            out.extend_from_slice(&len.to_le_bytes());
            out.extend_from_slice(locator);
        }
        out
    }

    /// Reads a kept value.
    ///
    /// # Errors
    /// [`Malformed`] when it is not one.
    pub fn decode(value: &[u8]) -> Result<Grave, Malformed> {
        let mut fields = Fields(value);
        let (epoch, time) = (EpochNo(fields.u64()?), Time(fields.i64()?));
        let (archive, bytes) = (ArchiveNo(fields.u32()?), fields.u64()?);
        let objects = fields.u16()?;
        let mut rest = fields.rest();
        let mut locators = Vec::new();
        while !rest.is_empty() {
            let (len, tail) = rest.split_first_chunk().ok_or(Malformed)?;
            let len = usize::from(u16::from_le_bytes(*len));
            let (locator, tail) = tail.split_at_checked(len).ok_or(Malformed)?;
            locators.push(locator.to_vec());
            rest = tail;
        }
        Ok(Grave {
            epoch,
            time,
            archive,
            bytes,
            objects,
            locators,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grave_reads_back_and_damage_is_an_error() {
        let grave = Grave {
            epoch: EpochNo(7),
            time: Time(-5),
            archive: ArchiveNo(3),
            bytes: 1 << 40,
            objects: 3,
            locators: vec![vec![1; 34], Vec::new()],
        };
        let bytes = grave.encode();
        assert_eq!(Grave::decode(&bytes), Ok(grave.clone()));
        assert!(!grave.is_whole());
        for len in 0..bytes.len() {
            let cut = Grave::decode(&bytes[..len]);
            assert!(cut.is_err() || cut.is_ok_and(|cut| cut.locators.len() < 2));
        }
    }
}
