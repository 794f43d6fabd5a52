//! The stream of version 4: Fernet tokens, each behind its length, which together hold a `.tar.gz`.

use std::io;
use std::io::Read;

use aes::Aes128;
use aes::cipher::BlockModeDecrypt;
use aes::cipher::KeyIvInit;
use aes::cipher::block_padding::Pkcs7;
use data_encoding::BASE64;
use data_encoding::BASE64URL;
use hmac::Hmac;
use hmac::KeyInit;
use hmac::Mac;
use pbkdf2::pbkdf2_hmac;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::legacy::Error;
use crate::legacy::fill;

/// Rounds of PBKDF2, once for each batch.
const ROUNDS: u32 = 200_000;

/// Longest token, bytes. That system sealed 8 MiB at once unless it was told otherwise.
pub const TOKEN_BYTES_MAX: u64 = 192 << 20;

/// Version byte, time, initialisation vector, one block, tag.
const TOKEN_LEN_MIN: usize = 1 + 8 + 16 + 16 + 32;

/// First byte of every token.
const VERSION: u8 = 0x80;

/// The key of one batch.
pub struct BatchKey(Zeroizing<[u8; 32]>);

impl std::fmt::Debug for BatchKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BatchKey(…)")
    }
}

/// As Python's `urlsafe_b64decode` takes it, and a little more.
fn base64(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut text = text.trim().to_owned();
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    let decoded = BASE64URL.decode(text.as_bytes());
    let decoded = decoded.or_else(|_| BASE64.decode(text.as_bytes()));
    decoded.ok().map(Zeroizing::new)
}

impl BatchKey {
    /// From the master key (`ENCRYPTION_KEY`) and the batch's salt, both in base64.
    ///
    /// # Errors
    /// [`Error::NoKey`], [`Error::Damaged`] when the salt is none.
    pub fn derive(master: &str, salt: &str) -> Result<BatchKey, Error> {
        let master = base64(master).filter(|master| !master.is_empty());
        let master = master.ok_or(Error::NoKey("it is not in base64"))?;
        let salt = base64(salt).filter(|salt| !salt.is_empty());
        let salt = salt.ok_or_else(|| Error::damaged("the batch has no salt"))?;
        let mut key = Zeroizing::new([0; 32]);
        pbkdf2_hmac::<Sha256>(&master, &salt, ROUNDS, &mut *key);
        Ok(BatchKey(key))
    }

    /// The key itself, for a fuzzer: deriving it takes longer than all else.
    #[cfg(any(fuzzing, debug_assertions))]
    pub(in crate::legacy) fn of_bytes(bytes: [u8; 32]) -> BatchKey {
        BatchKey(Zeroizing::new(bytes))
    }

    /// Opens a token.
    ///
    /// # Errors
    /// [`Error::Damaged`] when it is none, [`Error::WrongKey`] when its tag does not fit.
    pub fn open(&self, token: &[u8]) -> Result<Vec<u8>, Error> {
        let no_token = || Error::damaged("no Fernet token");
        let mut bytes = BASE64URL.decode(token).map_err(|_| no_token())?;
        let is_long = bytes.len() >= TOKEN_LEN_MIN && (bytes.len() - 57).is_multiple_of(16);
        if !is_long || bytes[0] != VERSION {
            return Err(no_token());
        }
        let (signing, sealing) = self.0.split_at(16);
        let body = bytes.len() - 32;
        let mac = Hmac::<Sha256>::new_from_slice(signing).map_err(|_| no_token())?;
        mac.chain_update(&bytes[..body])
            .verify_slice(&bytes[body..])
            .map_err(|_| Error::WrongKey)?;
        bytes.truncate(body);
        let cipher = cbc::Decryptor::<Aes128>::new_from_slices(sealing, &bytes[9..25]);
        let cipher = cipher.map_err(|_| no_token())?;
        bytes.drain(..25);
        let len = cipher.decrypt_padded::<Pkcs7>(&mut bytes);
        let len = len.map_err(|_| no_token())?.len();
        bytes.truncate(len);
        Ok(bytes)
    }
}

/// Reads what a stream of tokens holds.
#[derive(Debug)]
pub struct Tokens<R> {
    from: R,
    key: BatchKey,
    opened: Vec<u8>,
    at: usize,
    /// Tokens opened so far.
    count: u64,
    is_over: bool,
}

impl<R: Read> Tokens<R> {
    /// Begins; reads nothing yet.
    pub fn new(from: R, key: BatchKey) -> Tokens<R> {
        Tokens {
            from,
            key,
            opened: Vec::new(),
            at: 0,
            count: 0,
            is_over: false,
        }
    }

    fn step(&mut self) -> io::Result<()> {
        let mut head = [0; 8];
        match fill(&mut self.from, &mut head)? {
            0 => {
                self.is_over = true;
                return Ok(());
            }
            8 => {}
            _ => return Err(Error::TooShort.into()),
        }
        let len = u64::from_be_bytes(head);
        if len > TOKEN_BYTES_MAX {
            let error = Error::TooLarge {
                what: "a token",
                bytes_max: TOKEN_BYTES_MAX,
            };
            return Err(error.into());
        }
        let mut token = Vec::new();
        (&mut self.from).take(len).read_to_end(&mut token)?;
        if (token.len() as u64) < len {
            return Err(Error::TooShort.into());
        }
        self.opened = match (self.key.open(&token), self.count) {
            // What opened its first token is the right key.
            (Err(Error::WrongKey), 1..) => Err(Error::damaged("a token was changed")),
            (opened, _) => opened,
        }?;
        self.count += 1;
        self.at = 0;
        Ok(())
    }
}

impl<R: Read> Read for Tokens<R> {
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

    /// The vector of Fernet's specification.
    const TOKEN: &[u8] = b"gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==";

    fn key() -> BatchKey {
        let bytes = BASE64URL.decode(b"cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=");
        let bytes: [u8; 32] = bytes.expect("base64").try_into().expect("32 bytes");
        BatchKey(Zeroizing::new(bytes))
    }

    #[test]
    fn the_specification_s_token_opens_and_others_do_not() {
        assert_eq!(key().open(TOKEN).expect("opens"), b"hello");
        let mut changed = TOKEN.to_vec();
        changed[40] = b'x';
        assert_eq!(key().open(&changed), Err(Error::WrongKey));
        for bad in [&TOKEN[..40], b"", b"gAAA", b"!!!!"] {
            assert!(matches!(key().open(bad), Err(Error::Damaged(_))));
        }
    }

    #[test]
    fn a_stream_says_where_it_breaks() {
        let frame = [&(TOKEN.len() as u64).to_be_bytes()[..], TOKEN].concat();
        let two = [&frame[..], &frame].concat();
        let read = |stream: &[u8]| {
            let mut out = Vec::new();
            let read = Tokens::new(stream, key()).read_to_end(&mut out);
            let error = read.err().map(|error| Error::inside(&error).cloned());
            (out, error.flatten())
        };
        assert_eq!(read(&two), (b"hellohello".to_vec(), None));
        assert_eq!(read(&two[..two.len() - 1]).1, Some(Error::TooShort));
        assert_eq!(read(&two[..5]).1, Some(Error::TooShort));
        let mut second = two.clone();
        second[frame.len() + 50] ^= 1;
        assert!(matches!(read(&second), (first, Some(Error::Damaged(_))) if first == b"hello"));
        let mut first = two;
        first[48] = b'x';
        assert_eq!(read(&first).1, Some(Error::WrongKey));
        assert!(matches!(read(&[0xff; 20]).1, Some(Error::TooLarge { .. })));
    }

    #[test]
    fn a_key_is_in_base64() {
        assert!(matches!(
            BatchKey::derive("hä", "AAAA"),
            Err(Error::NoKey(_))
        ));
        assert!(matches!(
            BatchKey::derive("AAAA", ""),
            Err(Error::Damaged(_))
        ));
        assert!(BatchKey::derive(" AAA ", "-_8").is_ok());
    }
}
