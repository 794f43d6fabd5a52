//! A batch: changes of keys that happen together or not at all.

use super::Error;

/// A key of the index.
pub type Key = Box<[u8]>;
/// A value of the index.
pub type Value = std::sync::Arc<[u8]>;

/// Longest value: a page of the store holds several. Longer things are split over several keys.
pub const VALUE_BYTES_MAX: usize = 1024;
/// Longest key: a kind, an inode number and a name of 255 bytes fit well.
pub const KEY_BYTES_MAX: usize = 512;

/// Changes of keys, in order; a later one to the same key wins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    changes: Vec<(Key, Option<Value>)>,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Gives `key` a value.
    ///
    /// # Errors
    /// [`Error::TooLong`] if key or value exceeds its limit.
    pub fn put(&mut self, key: impl Into<Key>, value: impl Into<Value>) -> Result<(), Error> {
        let (key, value) = (key.into(), value.into());
        if value.len() > VALUE_BYTES_MAX || key.len() > KEY_BYTES_MAX {
            return Err(Error::TooLong {
                key_bytes: key.len(),
                value_bytes: value.len(),
            });
        }
        self.changes.push((key, Some(value)));
        Ok(())
    }

    /// Takes `key` away.
    pub fn delete(&mut self, key: impl Into<Key>) {
        self.changes.push((key.into(), None));
    }

    /// Does what `other` does after what this does.
    pub fn append(&mut self, other: Batch) {
        self.changes.extend(other.changes);
    }

    /// Number of changes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Does this change nothing?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The changes, in order; no value means that the key goes away.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.changes
            .iter()
            .map(|(key, value)| (&key[..], value.as_deref()))
    }

    /// As bytes: for each change a key and a value, each after its length; a deletion has length 0, a value one
    /// more than its length. Lengths are LEB128.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.encode_into(&mut bytes);
        bytes
    }

    /// Appends what [`Batch::encode`] gives.
    pub fn encode_into(&self, bytes: &mut Vec<u8>) {
        for (key, value) in &self.changes {
            write_len(bytes, key.len());
            bytes.extend_from_slice(key);
            match value {
                None => write_len(bytes, 0),
                Some(value) => {
                    write_len(bytes, value.len() + 1);
                    bytes.extend_from_slice(value);
                }
            }
        }
    }

    /// Reads what [`Batch::encode`] gave; any other bytes are an error or a batch, never a panic.
    ///
    /// # Errors
    /// [`Error::Malformed`], or [`Error::TooLong`].
    pub fn decode(mut bytes: &[u8]) -> Result<Batch, Error> {
        let mut batch = Batch::new();
        while !bytes.is_empty() {
            let key_len = read_len(&mut bytes)?;
            let key = take(&mut bytes, key_len)?;
            match read_len(&mut bytes)? {
                0 => batch.delete(key),
                len => batch.put(key, take(&mut bytes, len - 1)?)?,
            }
        }
        Ok(batch)
    }
}

impl IntoIterator for Batch {
    type Item = (Key, Option<Value>);
    type IntoIter = std::vec::IntoIter<(Key, Option<Value>)>;

    fn into_iter(self) -> Self::IntoIter {
        self.changes.into_iter()
    }
}

fn write_len(bytes: &mut Vec<u8>, mut len: usize) {
    while len >= 0x80 {
        bytes.push(low_seven(len) | 0x80);
        len >>= 7;
    }
    bytes.push(low_seven(len));
}

fn low_seven(len: usize) -> u8 {
    (len & 0x7F).to_le_bytes()[0]
}

/// Lengths of up to four bytes: far more than any that is accepted.
fn read_len(bytes: &mut &[u8]) -> Result<usize, Error> {
    let mut len = 0;
    for shift in [0, 7, 14, 21] {
        let byte = take(bytes, 1)?[0];
        len |= usize::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Ok(len);
        }
    }
    Err(Error::Malformed)
}

fn take<'a>(bytes: &mut &'a [u8], len: usize) -> Result<&'a [u8], Error> {
    let (taken, rest) = bytes.split_at_checked(len).ok_or(Error::Malformed)?;
    *bytes = rest;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(changes in proptest::collection::vec(
            (proptest::collection::vec(any::<u8>(), 0..=KEY_BYTES_MAX),
             proptest::option::of(proptest::collection::vec(any::<u8>(), 0..=VALUE_BYTES_MAX))), 0..8)) {
            let mut batch = Batch::new();
            for (key, value) in changes {
                match value {
                    Some(value) => batch.put(key, value).expect("within limits"),
                    None => batch.delete(key),
                }
            }
            prop_assert_eq!(Batch::decode(&batch.encode()).expect("own encoding"), batch);
        }

        #[test]
        fn any_bytes_are_a_batch_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(batch) = Batch::decode(&bytes) {
                prop_assert_eq!(Batch::decode(&batch.encode()).expect("own encoding"), batch);
            }
        }
    }

    #[test]
    fn long_values_and_keys_are_refused() {
        let mut batch = Batch::new();
        assert!(batch.put(*b"k", vec![0; VALUE_BYTES_MAX]).is_ok());
        let fault = batch.put(*b"k", vec![0; VALUE_BYTES_MAX + 1]);
        assert!(matches!(fault, Err(Error::TooLong { .. })));
        let fault = batch.put(vec![0; KEY_BYTES_MAX + 1], *b"v");
        assert!(matches!(fault, Err(Error::TooLong { .. })));
        assert_eq!(batch.len(), 1);
    }
}
