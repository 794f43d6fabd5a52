//! Secrets, and the keys that come from them.

use std::{fmt, sync::Arc};

use data_encoding::BASE32;
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::codec::Error;
use crate::codec::seal::Cipher;
use crate::id::ChunkId;
use crate::id::DriveId;
use crate::id::PackId;

/// Random bytes from the operating system.
///
/// # Panics
/// When the operating system has none to give: nothing can be sealed safely then.
#[must_use]
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// What a person types to open a drive; forgotten from memory when dropped.
#[derive(Clone)]
pub struct Secret(pub(in crate::codec) Typed);

#[derive(Clone)]
pub(in crate::codec) enum Typed {
    Passphrase(Zeroizing<String>),
    Recovery(RecoveryKey),
    /// It looks like a recovery key, but a passphrase may look so too.
    Either(Result<RecoveryKey, Error>, Zeroizing<String>),
}

impl Secret {
    /// A passphrase: its UTF-8 bytes count, exactly as typed.
    ///
    /// # Errors
    /// `Mistyped` when it is empty.
    pub fn passphrase(text: String) -> Result<Self, Error> {
        let text = Zeroizing::new(text);
        if text.is_empty() {
            return Err(Error::Mistyped {
                what: "the passphrase is empty",
            });
        }
        Ok(Self(Typed::Passphrase(text)))
    }

    /// A recovery key as [`RecoveryKey`] printed it, in any case, with or without its spaces and dashes.
    ///
    /// # Errors
    /// `Mistyped` when this is not a recovery key, or has a typing error.
    pub fn recovery(text: &str) -> Result<Self, Error> {
        RecoveryKey::parse(text).map(|key| Self(Typed::Recovery(key)))
    }

    /// Whatever of the two it is. A text that begins like a recovery key is tried as one and, since a passphrase
    /// may begin so, as a passphrase.
    ///
    /// # Errors
    /// `Mistyped` when it is empty.
    pub fn typed(text: &str) -> Result<Self, Error> {
        match begins_like_recovery(text) {
            true => Ok(Self(Typed::Either(
                RecoveryKey::parse(text),
                Zeroizing::new(text.to_owned()),
            ))),
            false => Self::passphrase(text.to_owned()),
        }
    }

    /// Why nothing opened: a recovery key with a typing error is told as that.
    pub(in crate::codec) fn misfit(&self) -> Error {
        match &self.0 {
            Typed::Either(Err(mistyped), _) => mistyped.clone(),
            Typed::Either(Ok(_), _) | Typed::Passphrase(_) | Typed::Recovery(_) => Error::WrongKey,
        }
    }
}

/// Does the text begin like a recovery key? What does is no good passphrase: people and programs take it for one.
#[must_use]
pub fn begins_like_recovery(text: &str) -> bool {
    let head = text.trim_start().get(..RecoveryKey::HEAD.len());
    head.is_some_and(|head| head.eq_ignore_ascii_case(RecoveryKey::HEAD))
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// A random key that opens the drive when the passphrase is lost: for printing, not for remembering.
#[derive(Clone)]
pub struct RecoveryKey(pub(in crate::codec) Zeroizing<[u8; RecoveryKey::LEN]>);

impl RecoveryKey {
    /// 160 bits.
    const LEN: usize = 20;
    const HEAD: &str = "ods-recovery";
    /// Letters of base32 for the key, then for its checksum of 20 bits.
    const KEY_LETTERS: usize = 32;
    const LETTERS: usize = Self::KEY_LETTERS + 4;

    pub(in crate::codec) fn generate() -> Self {
        Self(Zeroizing::new(random()))
    }

    fn letters(&self) -> Zeroizing<String> {
        let mut letters = Zeroizing::new(String::with_capacity(2 * Self::LETTERS));
        BASE32.encode_append(&self.0[..], &mut letters);
        let sum = blake3::derive_key("ods 1 recovery key checksum", &self.0[..]);
        BASE32.encode_append(&sum[..5], &mut letters);
        letters.truncate(Self::LETTERS);
        letters
    }

    fn parse(text: &str) -> Result<Self, Error> {
        let mut letters = Zeroizing::new(String::with_capacity(text.len()));
        letters.extend(text.chars().filter_map(|c| match c.to_ascii_uppercase() {
            '-' => None,
            c if c.is_whitespace() => None,
            '0' => Some('O'),
            '1' => Some('I'),
            '8' => Some('B'),
            c => Some(c),
        }));
        let body = match letters.strip_prefix("ODSRECOVERY") {
            Some(body) if letters.len() > Self::LETTERS => body,
            _ => &letters,
        };
        if body.len() != Self::LETTERS || !body.is_ascii() {
            return Err(Error::Mistyped {
                what: "a recovery key is `ods-recovery-` and nine groups of four letters and digits",
            });
        }
        let mut key = Zeroizing::new([0; Self::LEN]);
        let typo = Error::Mistyped {
            what: "the recovery key has a typing error: compare it with the printed one",
        };
        match BASE32.decode_mut(&body.as_bytes()[..Self::KEY_LETTERS], &mut key[..]) {
            Ok(Self::LEN) => {}
            _ => return Err(typo),
        }
        let key = Self(key);
        if key.letters().as_str() == body {
            Ok(key)
        } else {
            Err(typo)
        }
    }
}

/// Shows the key itself, for printing: `ods-recovery-` and nine groups of four, the last a checksum.
impl fmt::Display for RecoveryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::HEAD)?;
        let letters = self.letters();
        (0..Self::LETTERS)
            .step_by(4)
            .try_for_each(|at| write!(f, "-{}", &letters[at..at + 4]))
    }
}

impl fmt::Debug for RecoveryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryKey")
    }
}

/// The random key that all others of a drive come from; forgotten from memory when dropped.
#[derive(Clone)]
pub struct MasterKey(pub(in crate::codec) Zeroizing<[u8; 32]>);

impl MasterKey {
    /// A new key for a new drive.
    pub(in crate::codec) fn generate() -> Self {
        Self(Zeroizing::new(random()))
    }

    /// A key that was kept elsewhere.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey")
    }
}

/// One key per purpose, from the master key and the drive's id. A clone shares the same memory,
/// which is wiped with the last one.
#[derive(Clone)]
pub struct Keys(Arc<Derived>);

struct Derived {
    drive: DriveId,
    chunk_id: Zeroizing<[u8; 32]>,
    data: Zeroizing<[u8; 32]>,
    journal: Zeroizing<[u8; 32]>,
    note: Zeroizing<[u8; 32]>,
    superblock: Zeroizing<[u8; 32]>,
    gear: Zeroizing<Vec<u64>>,
}

impl Keys {
    /// Derives the keys by HKDF-SHA256, with the drive's id as salt and a readable label per key.
    #[must_use]
    pub fn derive(master: &MasterKey, drive: DriveId) -> Self {
        let root = Hkdf::<Sha256>::new(Some(&drive.0), &master.0[..]);
        let key = |label: &str| {
            let mut key = Zeroizing::new([0; 32]);
            expand(&root, &[label.as_bytes()], &mut key[..]);
            key
        };
        let mut gear = Zeroizing::new([0; 256 * 8]);
        expand(&root, &[b"ods 1 gear"], &mut gear[..]);
        Self(Arc::new(Derived {
            drive,
            chunk_id: key("ods 1 chunk id"),
            data: key("ods 1 data"),
            journal: key("ods 1 journal"),
            note: key("ods 1 note"),
            superblock: key("ods 1 superblock"),
            gear: Zeroizing::new(
                gear.as_chunks()
                    .0
                    .iter()
                    .map(|gear| u64::from_le_bytes(*gear))
                    .collect(),
            ),
        }))
    }

    /// The drive these keys belong to.
    #[must_use]
    pub fn drive(&self) -> DriveId {
        self.0.drive
    }

    /// The name of a chunk: BLAKE3 keyed hash of its plain bytes.
    #[must_use]
    pub fn chunk_id(&self, plain: &[u8]) -> ChunkId {
        ChunkId(*blake3::keyed_hash(&self.0.chunk_id, plain).as_bytes())
    }

    /// The chunker's 256 random numbers.
    pub(in crate::codec) fn gear(&self) -> &[u64] {
        &self.0.gear
    }

    pub(in crate::codec) fn pack(&self, id: PackId) -> Cipher {
        cipher(&self.0.data, &[b"ods 1 pack", &id.0])
    }

    pub(in crate::codec) fn part(&self, salt: &[u8; 32]) -> Cipher {
        cipher(&self.0.journal, &[b"ods 1 part", salt])
    }

    pub(in crate::codec) fn note(&self, salt: &[u8; 32], label: &str) -> Cipher {
        cipher(&self.0.note, &[b"ods 1 note", salt, label.as_bytes()])
    }

    /// The keys themselves, by label, for the worked examples.
    #[cfg(test)]
    pub(in crate::codec) fn shown(&self) -> [(&'static str, Vec<u8>); 6] {
        let gear: Vec<u8> = self.0.gear[..4]
            .iter()
            .flat_map(|gear| gear.to_le_bytes())
            .collect();
        [
            ("ods 1 chunk id", self.0.chunk_id.to_vec()),
            ("ods 1 data", self.0.data.to_vec()),
            ("ods 1 journal", self.0.journal.to_vec()),
            ("ods 1 note", self.0.note.to_vec()),
            ("ods 1 superblock", self.0.superblock.to_vec()),
            ("ods 1 gear", gear),
        ]
    }

    /// The superblock's authentication code over `bytes`; compares in constant time.
    pub(in crate::codec) fn superblock(&self, bytes: &[u8]) -> blake3::Hash {
        blake3::keyed_hash(&self.0.superblock, bytes)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.0.drive)
    }
}

fn cipher(key: &[u8; 32], info: &[&[u8]]) -> Cipher {
    let mut derived = Zeroizing::new([0; 32]);
    let parent = Hkdf::<Sha256>::from_prk(key).expect("32 bytes are enough");
    expand(&parent, info, &mut derived[..]);
    Cipher::new(&derived)
}

fn expand(parent: &Hkdf<Sha256>, info: &[&[u8]], key: &mut [u8]) {
    parent
        .expand_multi_info(info, key)
        .expect("shorter than HKDF's limit of 8,160 bytes");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(master: u8, drive: u8) -> Keys {
        Keys::derive(&MasterKey::from_bytes([master; 32]), DriveId([drive; 16]))
    }

    #[test]
    fn recovery_keys_are_read_as_people_write_them() {
        let key = RecoveryKey::generate();
        let printed = key.to_string();
        assert_eq!(printed.len(), "ods-recovery".len() + 9 * 5);
        let careless = printed
            .to_lowercase()
            .replace("ods-recovery-", "")
            .replace('-', "  ")
            .replace('o', "0")
            .replace('i', "1")
            .replace('b', "8");
        for text in [&printed, &careless, &format!(" {printed}\n")] {
            let Ok(Secret(Typed::Recovery(read))) = Secret::recovery(text) else {
                panic!("{text} is not read");
            };
            assert_eq!(read.0, key.0);
        }
    }

    #[test]
    fn every_typing_error_in_a_recovery_key_is_seen() {
        let printed = RecoveryKey(Zeroizing::new([0x5a; 20])).to_string();
        let refused = |text: &str| matches!(Secret::recovery(text), Err(Error::Mistyped { .. }));
        let letters = printed.as_bytes();
        for at in "ods-recovery-".len()..letters.len() {
            let mut typo = letters.to_vec();
            typo[at] = if typo[at] == b'Q' { b'R' } else { b'Q' };
            let typo = String::from_utf8(typo).expect("letters");
            assert!(refused(&typo), "{typo}");
            if letters[at] != letters[at - 1] && letters[at] != b'-' && letters[at - 1] != b'-' {
                let mut swapped = letters.to_vec();
                swapped.swap(at, at - 1);
                assert!(refused(&String::from_utf8(swapped).expect("letters")));
            }
            assert!(refused(&printed[..at]));
        }
        assert!(refused("") && refused("ods-recovery-") && refused(&"ü".repeat(18)));
        assert!(refused(&"!".repeat(36)) && refused(&"ä".repeat(36)));
    }

    #[test]
    fn nothing_secret_is_shown() {
        let key = RecoveryKey::generate();
        let secret = Secret::passphrase("open sesame".into()).expect("not empty");
        let shown = format!(
            "{key:?} {secret:?} {:?} {:?}",
            keys(7, 9),
            MasterKey::generate()
        );
        assert_eq!(
            shown,
            format!("RecoveryKey Secret Keys({}) MasterKey", "09".repeat(16))
        );
        assert!(matches!(
            Secret::passphrase(String::new()),
            Err(Error::Mistyped { .. })
        ));
    }

    #[test]
    fn chunk_ids_depend_on_master_key_and_drive() {
        let ids = [keys(1, 1), keys(2, 1), keys(1, 2)].map(|keys| keys.chunk_id(b"known file"));
        assert_eq!(ids[0], keys(1, 1).chunk_id(b"known file"));
        assert!(ids[0] != ids[1] && ids[0] != ids[2] && ids[1] != ids[2]);
        assert_ne!(random::<32>(), random::<32>());
    }
}
