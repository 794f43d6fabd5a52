//! Where a file is cut into chunks: FastCDC over a gear table that only the drive's keys give.
//!
//! A cut depends on the bytes just before it and on nothing else, so equal stretches of two files, or
//! of a file before and after an insertion, become equal chunks.

use std::fmt;

use fastcdc::v2020;
use zeroize::Zeroizing;

use crate::codec::key::Keys;

/// Hash bits that must be zero at a cut before the average length: 22 of them.
const MASK_BEFORE: u64 = 0x0000_d937_6753_7000;
/// Hash bits that must be zero at a cut after the average length: 18 of them.
const MASK_AFTER: u64 = 0x0000_d907_0753_7000;

/// Is the data given to [`Chunker::cut`] all there is?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// More will follow.
    More,
    /// These are the last bytes of the file.
    Last,
}

/// Finds the ends of chunks. Cheap to make and without state: ask from any chunk's beginning.
pub struct Chunker {
    keys: Keys,
    gear_doubled: Zeroizing<Vec<u64>>,
}

impl Chunker {
    /// Shortest chunk in bytes, unless it is a file's last.
    pub const MIN: usize = 256 << 10;
    /// The length in bytes that most chunks are near to.
    pub const AVERAGE: usize = 1 << 20;
    /// Longest chunk in bytes.
    pub const MAX: usize = 4 << 20;

    /// The chunker of a drive.
    #[must_use]
    pub fn new(keys: &Keys) -> Self {
        Self {
            gear_doubled: Zeroizing::new(keys.gear().iter().map(|gear| gear << 1).collect()),
            keys: keys.clone(),
        }
    }

    /// Length of the first chunk of `data`, which must begin at a chunk's beginning. `None` when more
    /// bytes are needed to tell, which never happens with [`Chunker::MAX`] bytes or at the end, and
    /// when there are no bytes at all.
    ///
    /// A length, once told, does not depend on how many bytes beyond the chunk are given.
    #[must_use]
    pub fn cut(&self, data: &[u8], end: End) -> Option<usize> {
        let (_, len) = v2020::cut_gear(
            data,
            Self::MIN,
            Self::AVERAGE,
            Self::MAX,
            MASK_BEFORE,
            MASK_AFTER,
            MASK_BEFORE << 1,
            MASK_AFTER << 1,
            self.keys.gear(),
            &self.gear_doubled,
        );
        let found = len < data.len() || len == Self::MAX || end == End::Last;
        (found && len > 0).then_some(len)
    }
}

impl fmt::Debug for Chunker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Chunker")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::key::MasterKey;
    use crate::id::DriveId;

    fn chunker(master: u8) -> Chunker {
        let master = MasterKey::from_bytes([master; 32]);
        Chunker::new(&Keys::derive(&master, DriveId([0; 16])))
    }

    fn noise(len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        bytes
    }

    fn lengths(chunker: &Chunker, mut data: &[u8]) -> Vec<usize> {
        let mut lengths = Vec::new();
        while let Some(len) = chunker.cut(data, End::Last) {
            lengths.push(len);
            data = &data[len..];
        }
        lengths
    }

    #[test]
    fn lengths_keep_their_bounds_and_their_average() {
        let data = noise(96 << 20);
        let lengths = lengths(&chunker(1), &data);
        assert_eq!(lengths.iter().sum::<usize>(), data.len());
        let (last, others) = lengths.split_last().expect("many");
        assert!(
            others
                .iter()
                .all(|len| (Chunker::MIN..=Chunker::MAX).contains(len))
        );
        assert!(*last <= Chunker::MAX);
        let average = data.len() / lengths.len();
        assert!((900 << 10..1300 << 10).contains(&average), "{average}");
    }

    #[test]
    fn keys_decide_where_to_cut() {
        let data = noise(8 << 20);
        assert_eq!(lengths(&chunker(1), &data), lengths(&chunker(1), &data));
        assert_ne!(lengths(&chunker(1), &data), lengths(&chunker(2), &data));
    }

    #[test]
    fn a_cut_does_not_depend_on_what_follows_it() {
        let data = noise(12 << 20);
        let chunker = chunker(1);
        let mut at = 0;
        while let Some(len) = chunker.cut(&data[at..], End::Last) {
            let rest = &data[at..];
            if len < rest.len() {
                for more in [2, 3, 4096, Chunker::MAX] {
                    let shown = &rest[..(len + more).min(rest.len())];
                    assert_eq!(chunker.cut(shown, End::More), Some(len), "{more}");
                }
                assert_eq!(chunker.cut(&rest[..len - 1], End::More), None);
            }
            at += len;
        }
    }

    #[test]
    fn the_ends_are_where_they_must_be() {
        let chunker = chunker(1);
        let zeros = vec![0; Chunker::MAX + 1];
        assert_eq!(chunker.cut(&[], End::Last), None);
        assert_eq!(chunker.cut(&[], End::More), None);
        assert_eq!(chunker.cut(&[1], End::Last), Some(1));
        assert_eq!(chunker.cut(&zeros[..Chunker::MIN], End::More), None);
        assert_eq!(chunker.cut(&zeros[..Chunker::MAX - 1], End::More), None);
        assert_eq!(chunker.cut(&zeros[1..], End::More), Some(Chunker::MAX));
        assert_eq!(chunker.cut(&zeros, End::Last), Some(Chunker::MAX));
        assert_eq!(
            chunker.cut(&zeros[..Chunker::MAX - 1], End::Last),
            Some(Chunker::MAX - 1)
        );
    }

    #[test]
    fn an_insertion_moves_few_boundaries() {
        let chunker = chunker(1);
        let data = noise(32 << 20);
        let mut changed = data.clone();
        changed.splice(9_000_001..9_000_001, *b"inserted");
        let ends = |data: &[u8]| -> Vec<usize> {
            let total = data.len();
            let lengths = lengths(&chunker, data);
            let mut at = 0;
            lengths
                .iter()
                .map(|len| {
                    at += len;
                    total - at
                })
                .collect()
        };
        let (before, after) = (ends(&data), ends(&changed));
        let new = after.iter().filter(|end| !before.contains(end)).count();
        let kept_head = before.len().min(after.len());
        assert!(kept_head > 20);
        let head = lengths(&chunker, &data)
            .iter()
            .zip(lengths(&chunker, &changed))
            .take_while(|(a, b)| *a == b)
            .count();
        assert!(
            new - head <= 4,
            "{} chunks of {} are new",
            new - head,
            after.len()
        );
    }
}
