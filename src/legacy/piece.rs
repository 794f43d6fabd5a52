//! Pieces of version 3.1: salt, nonce, then AES-256-GCM of gzip, each with a key of its own.

use aes_gcm::Aes256Gcm;
use aes_gcm::KeyInit;
use aes_gcm::aead::AeadInOut;
use pbkdf2::pbkdf2_hmac;
use sha2::Digest;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::legacy::Error;
use crate::legacy::manifest::hash_in;

/// Bytes of salt before the nonce.
pub(in crate::legacy) const SALT_LEN: usize = 16;

/// Bytes of nonce before what is sealed.
pub(in crate::legacy) const NONCE_LEN: usize = 12;

/// Bytes of tag behind it.
pub(in crate::legacy) const TAG_LEN: usize = 16;

/// Rounds of PBKDF2 for each key: about a tenth of a second.
const ROUNDS: u32 = 600_000;

/// The passphrase of that system (`USER_KEY`).
#[derive(Clone)]
pub struct UserKey(Zeroizing<String>);

impl std::fmt::Debug for UserKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("UserKey(…)")
    }
}

impl UserKey {
    /// As it was set.
    ///
    /// # Errors
    /// [`Error::NoKey`] when it is empty.
    pub fn new(text: &str) -> Result<UserKey, Error> {
        match text.is_empty() {
            true => Err(Error::NoKey("it is empty")),
            false => Ok(UserKey(Zeroizing::new(text.to_owned()))),
        }
    }

    /// The key for what was sealed with this salt. Slow on purpose.
    pub(in crate::legacy) fn derive(&self, salt: &[u8]) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0; 32]);
        pbkdf2_hmac::<Sha256>(self.0.as_bytes(), salt, ROUNDS, &mut *key);
        key
    }
}

/// Opens a piece in its own buffer; what comes out is gzip.
///
/// # Errors
/// [`Error::TooShort`]; [`Error::WrongKey`] when the key is not its own, which a damaged piece whose
/// name tells no hash cannot be told from; [`Error::Damaged`] when the name does.
pub fn open(key: &UserKey, name: &str, mut sealed: Vec<u8>) -> Result<Vec<u8>, Error> {
    if sealed.len() < SALT_LEN + NONCE_LEN + TAG_LEN {
        check(name, &sealed)?;
        return Err(Error::TooShort);
    }
    let hash = hash_in(name).map(|hash| (hash, Sha256::digest(&sealed)));
    let derived = key.derive(&sealed[..SALT_LEN]);
    let mut nonce = [0; NONCE_LEN];
    nonce.copy_from_slice(&sealed[SALT_LEN..SALT_LEN + NONCE_LEN]);
    sealed.drain(..SALT_LEN + NONCE_LEN);
    let cipher = Aes256Gcm::new(&(*derived).into());
    let opened = cipher.decrypt_in_place(&nonce.into(), b"", &mut sealed);
    match (opened, hash) {
        (Ok(()), _) => Ok(sealed),
        (Err(_), Some((hash, is))) if is[..8] != hash => Err(changed()),
        (Err(_), _) => Err(Error::WrongKey),
    }
}

/// Is a piece what its name says? True of a name that says nothing.
///
/// # Errors
/// [`Error::Damaged`].
pub fn check(name: &str, sealed: &[u8]) -> Result<(), Error> {
    match hash_in(name) {
        Some(hash) if Sha256::digest(sealed)[..8] != hash => Err(changed()),
        _ => Ok(()),
    }
}

fn changed() -> Error {
    Error::damaged("it is not what its name says")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by the slicer, with the passphrase below.
    const NAME: &str = "0002-78907f14915c-9b801ce42938e0f6-0000.bin";
    const SEALED: &[u8] = include_bytes!(
        "../../tests/golden/legacy/v3/[Archive] #000011-01/0002-78907f14915c-9b801ce42938e0f6-0000.bin"
    );

    fn key(text: &str) -> UserKey {
        UserKey::new(text).expect("a key")
    }

    #[test]
    fn a_piece_of_the_slicer_opens_and_a_changed_one_says_so() {
        let key = key("legacy passphrase 11");
        let opened = open(&key, NAME, SEALED.to_vec()).expect("opens");
        assert_eq!(opened[..2], [0x1f, 0x8b]);
        let mut changed = SEALED.to_vec();
        changed[30] ^= 1;
        assert!(matches!(
            open(&key, NAME, changed.clone()),
            Err(Error::Damaged(_))
        ));
        assert_eq!(open(&key, "plain", changed), Err(Error::WrongKey));
        assert_eq!(
            open(&key, "plain", SEALED[..20].to_vec()),
            Err(Error::TooShort)
        );
    }

    #[test]
    fn another_key_is_told_from_damage() {
        let other = key("another one");
        assert_eq!(open(&other, NAME, SEALED.to_vec()), Err(Error::WrongKey));
        assert!(!format!("{other:?}").contains("another"));
        assert!(UserKey::new("").is_err());
    }
}
