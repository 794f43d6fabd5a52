//! Parts of the journal: a segment or a checkpoint is sealed in one or more of them.

use crate::codec::Error;
use crate::codec::Sealed;
use crate::codec::compress;
use crate::codec::key::Keys;
use crate::codec::key::random;
use crate::codec::padding;
use crate::codec::prefix;
use crate::codec::seal::TAG_LEN;
use crate::codec::wire::Reader;
use crate::codec::wire::Writer;
use crate::id::EpochNo;

/// Most plain bytes in one part.
pub const PART_PLAIN_BYTES_MAX: usize = 64 << 20;

const WHAT: &str = "a journal part";
const SALT_LEN: usize = 32;
/// The sealed header: kind, epoch, set, part, parts, previous, plain and packed length.
const HEADER_LEN: usize = 1 + 8 + 16 + 4 + 4 + 32 + 4 + 4;
/// What a part has beyond its packed bytes, padding apart.
const OVERHEAD: usize = prefix::LEN + SALT_LEN + HEADER_LEN + TAG_LEN;

/// What a part belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The changes of one epoch.
    Segment,
    /// The whole key space, as it was after an epoch.
    Checkpoint,
}

/// Where a part belongs; sealed together with its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartHeader {
    /// Segment or checkpoint.
    pub kind: Kind,
    /// The epoch that the segment publishes, or after which the checkpoint was taken.
    pub epoch: EpochNo,
    /// Random, and equal in all parts of one writing: parts of an attempt that a crash cut short are
    /// never mixed with those of the next.
    pub set: [u8; 16],
    /// Place among the parts, from 0.
    pub part: u32,
    /// How many parts there are, or 0 if that was not yet known. The last part always knows.
    pub parts: u32,
    /// [`segment_hash`] of the segment before this epoch; of the epoch's own segment in a checkpoint.
    pub previous: [u8; 32],
}

impl PartHeader {
    /// Is nothing to follow after this part?
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.part.checked_add(1) == Some(self.parts)
    }

    fn is_possible(&self) -> bool {
        self.parts == 0 || self.part < self.parts
    }
}

/// Seals a part under a random key of its own. Compressed if that helps, padded.
///
/// # Errors
/// `Bounds` when there are more than [`PART_PLAIN_BYTES_MAX`] bytes, or `part` is not below `parts`.
pub fn seal_part(keys: &Keys, header: &PartHeader, plain: &[u8]) -> Result<Sealed, Error> {
    seal_part_with(keys, header, plain, random())
}

/// A salt must never be used twice, so only tests choose it.
pub(in crate::codec) fn seal_part_with(
    keys: &Keys,
    header: &PartHeader,
    plain: &[u8],
    salt: [u8; SALT_LEN],
) -> Result<Sealed, Error> {
    if plain.len() > PART_PLAIN_BYTES_MAX || !header.is_possible() {
        return Err(Error::bounds(WHAT));
    }
    let text_at = prefix::LEN + SALT_LEN;
    let packed_at = text_at + HEADER_LEN;
    let mut bytes = vec![0; OVERHEAD + plain.len() + compress::slack(plain.len())];
    let packed_len = compress::pack(plain, &mut bytes[packed_at..]);

    let mut head = Writer::with_capacity(packed_at);
    head.raw(&prefix::PART.bytes())
        .raw(&salt)
        .u8(match header.kind {
            Kind::Segment => 1,
            Kind::Checkpoint => 2,
        })
        .u64(header.epoch.0)
        .raw(&header.set)
        .u32(header.part)
        .u32(header.parts)
        .raw(&header.previous)
        .u32(length(plain.len())?)
        .u32(length(packed_len)?);
    bytes[..packed_at].copy_from_slice(head.as_bytes());

    let least = OVERHEAD + packed_len;
    let len = usize::try_from(padding::padded(least as u64)).map_err(|_| Error::bounds(WHAT))?;
    bytes.truncate(packed_at + packed_len);
    bytes.resize(len, 0);
    let (associated, text) = bytes.split_at_mut(text_at);
    keys.part(&salt).seal(0, associated, text);
    Ok(Sealed::new(bytes))
}

/// Opens a part. Takes at most [`PART_PLAIN_BYTES_MAX`] bytes beside a copy of the sealed ones.
///
/// # Errors
/// `Damaged` when these are not the bytes of a part of this drive; `NewerVersion`.
pub fn open_part(keys: &Keys, bytes: &[u8]) -> Result<(PartHeader, Vec<u8>), Error> {
    let damaged = || Error::damaged(WHAT);
    let (salt, text) = prefix::PART
        .strip(bytes)?
        .split_first_chunk::<SALT_LEN>()
        .ok_or_else(damaged)?;
    if bytes.len() as u64 > part_len_max(PART_PLAIN_BYTES_MAX) {
        return Err(damaged());
    }
    let mut text = text.to_vec();
    let associated = &bytes[..prefix::LEN + SALT_LEN];
    let text = keys
        .part(salt)
        .open(0, associated, &mut text)
        .map_err(|_| damaged())?;
    let mut reader = Reader::new(text, WHAT);
    let header = PartHeader {
        kind: match reader.u8()? {
            1 => Kind::Segment,
            2 => Kind::Checkpoint,
            _ => return Err(damaged()),
        },
        epoch: EpochNo(reader.u64()?),
        set: reader.array()?,
        part: reader.u32()?,
        parts: reader.u32()?,
        previous: reader.array()?,
    };
    let plain_len = reader.u32()? as usize;
    let packed_len = reader.u32()? as usize;
    let packed = reader.raw(packed_len)?;
    let sound = header.is_possible()
        && packed_len <= plain_len
        && plain_len <= PART_PLAIN_BYTES_MAX
        && reader.rest().iter().all(|byte| *byte == 0);
    if !sound {
        return Err(damaged());
    }
    let plain = compress::unpack(packed, plain_len).map_err(|_| damaged())?;
    Ok((header, plain))
}

/// Length in bytes that a part of so many plain bytes has at most.
#[must_use]
pub const fn part_len_max(plain_len: usize) -> u64 {
    padding::padded((OVERHEAD + plain_len) as u64)
}

/// Most plain bytes whose part is surely not longer than `limit_bytes`.
#[must_use]
pub const fn part_plain_max(limit_bytes: u64) -> usize {
    let most = padding::padded_floor(limit_bytes).saturating_sub(OVERHEAD as u64);
    if most < PART_PLAIN_BYTES_MAX as u64 {
        // Below 64 MiB, so it fits any `usize`.
        #[expect(clippy::cast_possible_truncation, reason = "compared above")]
        return most as usize;
    }
    PART_PLAIN_BYTES_MAX
}

/// The hash of a sealed part, as `segment_hash` wants it.
#[must_use]
pub fn part_hash(sealed: &[u8]) -> [u8; 32] {
    *blake3::hash(sealed).as_bytes()
}

/// The hash of a segment, from the [`part_hash`]es of all its parts in order: what the next segment
/// carries as `previous`, so that segments form one chain.
#[must_use]
pub fn segment_hash(parts: &[[u8; 32]]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("ods 1 segment");
    hasher.update(parts.as_flattened());
    *hasher.finalize().as_bytes()
}

fn length(len: usize) -> Result<u32, Error> {
    u32::try_from(len).map_err(|_| Error::bounds(WHAT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::key::MasterKey;
    use crate::id::DriveId;

    fn keys(drive: u8) -> Keys {
        Keys::derive(&MasterKey::from_bytes([1; 32]), DriveId([drive; 16]))
    }

    const HEADER: PartHeader = PartHeader {
        kind: Kind::Checkpoint,
        epoch: EpochNo(7),
        set: [3; 16],
        part: 1,
        parts: 2,
        previous: [9; 32],
    };

    #[test]
    fn parts_come_back_whatever_they_hold() {
        let noise = random::<2000>();
        for plain in [&b""[..], b"x", &noise, &[b'y'; 100_000]] {
            let sealed = seal_part(&keys(1), &HEADER, plain).expect("in bounds");
            let bytes = sealed.to_bytes();
            assert!(sealed.len() <= part_len_max(plain.len()));
            assert_eq!(open_part(&keys(1), &bytes), Ok((HEADER, plain.to_vec())));
            assert!(matches!(
                open_part(&keys(2), &bytes),
                Err(Error::Damaged { .. })
            ));
            let again = seal_part(&keys(1), &HEADER, plain).expect("in bounds");
            assert_ne!(again.to_bytes()[8..40], bytes[8..40], "salts are random");
        }
    }

    #[test]
    fn limits_are_kept() {
        let long = vec![0; PART_PLAIN_BYTES_MAX + 1];
        assert!(matches!(
            seal_part(&keys(1), &HEADER, &long),
            Err(Error::Bounds { .. })
        ));
        let wrong = PartHeader { part: 2, ..HEADER };
        assert!(seal_part(&keys(1), &wrong, b"").is_err());
        let longest = seal_part(&keys(1), &HEADER, &long[1..]).expect("in bounds");
        let opened = open_part(&keys(1), &longest.to_bytes()).expect("well made");
        assert_eq!(opened.1.len(), PART_PLAIN_BYTES_MAX);
        for limit in [
            0,
            100,
            200,
            1000,
            9_000_001,
            10 << 20,
            (10 << 20) + 77,
            25_000_000,
        ] {
            let plain = part_plain_max(limit);
            assert!(plain == 0 || part_len_max(plain) <= limit);
            assert!(part_len_max(plain + 1) > limit);
        }
        assert_eq!(part_plain_max(u64::MAX), PART_PLAIN_BYTES_MAX);
    }

    #[test]
    fn the_last_part_knows_that_it_is() {
        let of = |part, parts| PartHeader {
            part,
            parts,
            ..HEADER
        };
        assert!(of(0, 1).is_last() && of(1, 2).is_last());
        assert!(!of(0, 2).is_last() && !of(0, 0).is_last() && !of(u32::MAX, 0).is_last());
    }

    #[test]
    fn a_segment_hash_covers_parts_and_their_order() {
        let [a, b] = [b"a", b"b"].map(|part| part_hash(part));
        let hashes = [
            segment_hash(&[]),
            segment_hash(&[a]),
            segment_hash(&[a, b]),
            segment_hash(&[b, a]),
        ];
        for (at, hash) in hashes.iter().enumerate() {
            assert!(!hashes[..at].contains(hash));
        }
    }
}
