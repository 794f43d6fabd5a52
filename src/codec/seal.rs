//! ChaCha20-Poly1305 in place: the one cipher of every sealed object.

use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, Key, KeyInit, Nonce, Tag};

/// Length of the tag that follows every sealed range, in bytes.
pub(in crate::codec) const TAG_LEN: usize = 16;

/// A tag did not fit: the bytes, the key, the place or the associated data are not those of the sealing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::codec) struct Forged;

/// A key in use. Each key seals each nonce number at most once in its life.
pub(in crate::codec) struct Cipher(ChaCha20Poly1305);

impl Cipher {
    pub(in crate::codec) fn new(key: &[u8; 32]) -> Self {
        Self(ChaCha20Poly1305::new(&Key::from(*key)))
    }

    /// Seals a buffer whose last [`TAG_LEN`] bytes are room for the tag.
    pub(in crate::codec) fn seal(&self, number: u32, associated: &[u8], buffer: &mut [u8]) {
        let (text, room) = buffer.split_at_mut(buffer.len() - TAG_LEN);
        let tag = self
            .0
            .encrypt_inout_detached(&nonce(number), associated, text.into())
            .expect("far below the cipher's limit of 256 GiB");
        room.copy_from_slice(&tag);
    }

    /// Opens a buffer that ends in its tag and returns the plain bytes at its beginning.
    /// When the tag does not fit, nothing was decrypted.
    pub(in crate::codec) fn open<'a>(
        &self,
        number: u32,
        associated: &[u8],
        buffer: &'a mut [u8],
    ) -> Result<&'a mut [u8], Forged> {
        let (text, tag) = buffer.split_last_chunk_mut::<TAG_LEN>().ok_or(Forged)?;
        self.0
            .decrypt_inout_detached(
                &nonce(number),
                associated,
                (&mut *text).into(),
                &Tag::from(*tag),
            )
            .map_err(|_| Forged)?;
        Ok(text)
    }
}

/// The number in the first four bytes, then zeros.
fn nonce(number: u32) -> Nonce {
    let mut nonce = [0; 12];
    nonce[..4].copy_from_slice(&number.to_le_bytes());
    Nonce::from(nonce)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_number_and_data_open() {
        let cipher = Cipher::new(&[7; 32]);
        let mut sealed = b"hello0123456789abcdef".to_vec();
        cipher.seal(3, b"header", &mut sealed);
        let opened = |cipher: &Cipher, number, data: &[u8]| {
            let mut copy = sealed.clone();
            cipher
                .open(number, data, &mut copy)
                .map(|plain| plain.to_vec())
        };
        assert_eq!(opened(&cipher, 3, b"header"), Ok(b"hello".to_vec()));
        assert_eq!(opened(&cipher, 4, b"header"), Err(Forged));
        assert_eq!(opened(&cipher, 3, b"Header"), Err(Forged));
        assert_eq!(opened(&Cipher::new(&[8; 32]), 3, b"header"), Err(Forged));
        assert_eq!(cipher.open(3, b"header", &mut [0; 15]), Err(Forged));
    }
}
