//! Small sealed texts, each for one purpose: the lease, and whatever else must not be read or forged.

use crate::codec::Error;
use crate::codec::Sealed;
use crate::codec::key::Keys;
use crate::codec::key::random;
use crate::codec::prefix;
use crate::codec::seal::TAG_LEN;

/// Longest note in plain bytes.
pub const NOTE_BYTES_MAX: usize = 64 << 10;

const WHAT: &str = "a note";
const SALT_LEN: usize = 32;
const HEAD_LEN: usize = prefix::LEN + SALT_LEN;

/// Seals a note. Only [`open_note`] with the same `label` opens it; the length shows.
///
/// # Errors
/// `Bounds` when there are more than [`NOTE_BYTES_MAX`] bytes.
pub fn seal_note(keys: &Keys, label: &str, plain: &[u8]) -> Result<Sealed, Error> {
    seal_note_with(keys, label, plain, random())
}

/// A salt must never be used twice, so only tests choose it.
pub(in crate::codec) fn seal_note_with(
    keys: &Keys,
    label: &str,
    plain: &[u8],
    salt: [u8; SALT_LEN],
) -> Result<Sealed, Error> {
    if plain.len() > NOTE_BYTES_MAX {
        return Err(Error::bounds(WHAT));
    }
    let mut bytes = [&prefix::NOTE.bytes()[..], &salt, plain, &[0; TAG_LEN]].concat();
    let (associated, text) = bytes.split_at_mut(HEAD_LEN);
    keys.note(&salt, label).seal(0, associated, text);
    Ok(Sealed::new(bytes))
}

/// Opens a note.
///
/// # Errors
/// `Damaged` when this is not a note of this drive under this label; `NewerVersion`.
pub fn open_note(keys: &Keys, label: &str, bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let damaged = || Error::damaged(WHAT);
    let (salt, text) = prefix::NOTE
        .strip(bytes)?
        .split_first_chunk::<SALT_LEN>()
        .ok_or_else(damaged)?;
    if text.len() > NOTE_BYTES_MAX + TAG_LEN {
        return Err(damaged());
    }
    let mut text = text.to_vec();
    let len = keys
        .note(salt, label)
        .open(0, &bytes[..HEAD_LEN], &mut text)
        .map_err(|_| damaged())?
        .len();
    text.truncate(len);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::key::MasterKey;
    use crate::id::DriveId;

    #[test]
    fn a_note_opens_under_its_own_label_only() {
        let keys = |drive| Keys::derive(&MasterKey::from_bytes([1; 32]), DriveId([drive; 16]));
        let sealed = seal_note(&keys(1), "lease", b"mine").expect("short");
        let bytes = sealed.to_bytes();
        assert_eq!(open_note(&keys(1), "lease", &bytes), Ok(b"mine".to_vec()));
        for (drive, label) in [(1, "card"), (1, ""), (2, "lease")] {
            assert!(open_note(&keys(drive), label, &bytes).is_err());
        }
        assert_eq!(format!("{sealed:?}"), "Sealed(60 bytes)");
        assert!(seal_note(&keys(1), "", &vec![0; NOTE_BYTES_MAX + 1]).is_err());
    }
}
