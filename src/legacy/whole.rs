//! Files that were sealed as one message over all of their pieces: opened piece by piece.
//!
//! The tag comes last, so what is read before the end is not proven yet. Whoever reads must keep it out of sight until
//! [`Whole::finish`] has said that it is right.

use std::io;
use std::io::Read;

use aes::Aes256;
use aes::cipher::BlockCipherEncrypt;
use aes::cipher::KeyIvInit;
use aes::cipher::StreamCipher;
use aes_gcm::KeyInit;
use ctr::Ctr32BE;
use ghash::GHash;
use ghash::universal_hash::UniversalHash;

use crate::legacy::Error;
use crate::legacy::fill;
use crate::legacy::piece::NONCE_LEN;
use crate::legacy::piece::SALT_LEN;
use crate::legacy::piece::TAG_LEN;
use crate::legacy::piece::UserKey;

/// Bytes opened at once: whole blocks.
const STEP: usize = 64 << 10;

/// Most that one nonce of GCM may seal: 2^32 − 2 blocks.
const SEALED_BYTES_MAX: u64 = ((1 << 32) - 2) * 16;

/// Reads what is inside of such a message.
pub struct Whole<R> {
    from: R,
    cipher: Ctr32BE<Aes256>,
    hash: GHash,
    mask: [u8; TAG_LEN],
    sealed_bytes: u64,
    /// Read, not opened; the last [`TAG_LEN`] bytes may be the tag.
    waiting: Vec<u8>,
    opened: Vec<u8>,
    at: usize,
    is_over: bool,
}

impl<R> std::fmt::Debug for Whole<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Whole")
    }
}

impl<R: Read> Whole<R> {
    /// Begins; reads salt and nonce, and takes the time of one key.
    ///
    /// # Errors
    /// [`Error::TooShort`] inside; whatever reading fails with.
    pub fn begin(mut from: R, key: &UserKey) -> io::Result<Whole<R>> {
        let mut head = [0; SALT_LEN + NONCE_LEN];
        if fill(&mut from, &mut head)? < head.len() {
            return Err(Error::TooShort.into());
        }
        let derived = key.derive(&head[..SALT_LEN]);
        Ok(Whole::with(from, &derived, &head[SALT_LEN..]))
    }

    fn with(from: R, key: &[u8; 32], nonce: &[u8]) -> Whole<R> {
        let block = Aes256::new(&(*key).into());
        let mut subkey = ghash::Block::default();
        block.encrypt_block(&mut subkey);
        let mut first = [0; 16];
        first[..NONCE_LEN].copy_from_slice(nonce);
        first[15] = 1;
        let mut mask = aes::Block::from(first);
        block.encrypt_block(&mut mask);
        first[15] = 2;
        Whole {
            from,
            cipher: Ctr32BE::new(&(*key).into(), &first.into()),
            hash: GHash::new(&subkey),
            mask: mask.into(),
            sealed_bytes: 0,
            waiting: Vec::with_capacity(STEP + TAG_LEN),
            opened: Vec::with_capacity(STEP),
            at: 0,
            is_over: false,
        }
    }

    /// Opens the next bytes; none at the end.
    fn step(&mut self) -> io::Result<()> {
        let had = self.waiting.len();
        self.waiting.resize(STEP + TAG_LEN, 0);
        let filled = had + fill(&mut self.from, &mut self.waiting[had..])?;
        self.waiting.truncate(filled);
        let Some(len) = filled.checked_sub(TAG_LEN) else {
            return Err(Error::TooShort.into());
        };
        self.is_over = filled < STEP + TAG_LEN;
        self.opened.clear();
        self.opened.extend(self.waiting.drain(..len));
        self.at = 0;
        self.sealed_bytes += len as u64;
        if self.sealed_bytes > SEALED_BYTES_MAX {
            return Err(Error::TooLarge {
                what: "a sealed file",
                bytes_max: SEALED_BYTES_MAX,
            }
            .into());
        }
        self.hash.update_padded(&self.opened);
        self.cipher.apply_keystream(&mut self.opened);
        Ok(())
    }

    /// Reads what is left, and says whether all of it is what was sealed.
    ///
    /// # Errors
    /// [`Error::WrongKey`] inside when it is not, or when the key is not the right one.
    pub fn finish(&mut self) -> io::Result<()> {
        while !self.is_over {
            self.step()?;
        }
        let mut lengths = [0; 16];
        lengths[8..].copy_from_slice(&(self.sealed_bytes * 8).to_be_bytes());
        self.hash.update(&[lengths.into()]);
        let mut tag = self.hash.clone().finalize();
        tag.iter_mut()
            .zip(self.mask)
            .for_each(|(tag, mask)| *tag ^= mask);
        match tag[..] == self.waiting[..] {
            true => Ok(()),
            false => Err(Error::WrongKey.into()),
        }
    }
}

impl<R: Read> Read for Whole<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.opened.len() && !self.is_over {
            self.step()?;
        }
        let len = buffer.len().min(self.opened.len() - self.at);
        buffer[..len].copy_from_slice(&self.opened[self.at..self.at + len]);
        self.at += len;
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aes_gcm::Aes256Gcm;
    use aes_gcm::aead::Aead;

    fn opened(mut whole: Whole<&[u8]>) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        whole.read_to_end(&mut plain)?;
        whole.finish().map(|()| plain)
    }

    #[test]
    fn any_length_opens_as_the_usual_implementation_sealed_it() {
        let (key, nonce) = ([5; 32], [6; NONCE_LEN]);
        let open = |sealed: &[u8]| opened(Whole::with(sealed, &key, &nonce));
        for len in [0, 1, 15, 16, 17, STEP - 1, STEP, STEP + 1, 2 * STEP + 7] {
            let plain: Vec<u8> = (0..len).map(|at| at.to_le_bytes()[0]).collect();
            let cipher = Aes256Gcm::new(&key.into());
            let mut sealed = cipher.encrypt(&nonce.into(), &*plain).expect("seals");
            assert_eq!(open(&sealed).expect("opens"), plain, "{len}");
            let last = sealed.len() - 1;
            sealed[last] ^= 1;
            let error = open(&sealed).expect_err("changed");
            assert_eq!(Error::inside(&error), Some(&Error::WrongKey));
            let error = open(&sealed[..7]).expect_err("cut");
            assert_eq!(Error::inside(&error), Some(&Error::TooShort));
        }
    }

    #[test]
    fn salt_and_nonce_come_first() {
        let key = UserKey::new("k").expect("a key");
        let (salt, nonce) = ([5; SALT_LEN], [6; NONCE_LEN]);
        let cipher = Aes256Gcm::new(&(*key.derive(&salt)).into());
        let body = cipher.encrypt(&nonce.into(), &b"hello"[..]).expect("seals");
        let sealed = [&salt[..], &nonce, &body].concat();
        let whole = Whole::begin(&sealed[..], &key).expect("begins");
        assert_eq!(opened(whole).expect("opens"), b"hello");
        let error = Whole::begin(&sealed[..20], &key).expect_err("cut");
        assert_eq!(Error::inside(&error), Some(&Error::TooShort));
    }
}
