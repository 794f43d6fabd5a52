//! Small values to bytes and back: what index values, spool record heads and journal batches are written with.
//!
//! Numbers of fixed width are little-endian. Varints are LEB128: seven bits a byte, lowest first, and
//! only the shortest form is read, so that equal values have equal bytes.

use crate::codec::Error;

/// Appends values to a buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// An empty buffer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty buffer with room for so many bytes.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.raw(&[value])
    }

    /// Two bytes.
    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// Four bytes.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// Eight bytes.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// One to ten bytes, fewer for smaller numbers.
    pub fn varint(&mut self, mut value: u64) -> &mut Self {
        while value >= 0x80 {
            self.0.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.u8(value.to_le_bytes()[0])
    }

    /// One to ten bytes, fewer for numbers nearer to zero: `0, -1, 1, -2 …` as varints `0, 1, 2, 3 …`.
    pub fn signed(&mut self, value: i64) -> &mut Self {
        self.varint(((value << 1) ^ (value >> 63)).cast_unsigned())
    }

    /// The length as a varint, then the bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.varint(bytes.len() as u64).raw(bytes)
    }

    /// The bytes alone; the reader must know how many.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// What was written until now.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Bytes written until now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The buffer.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Takes values from the front of a slice. Total: any input gives a value or an error, and nothing
/// is allocated. After an error the reader stands where it stood before.
///
/// Every method fails with [`Error::Damaged`], naming what [`Reader::new`] was told, when the bytes
/// end too early or are not such a value.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

#[expect(
    clippy::missing_errors_doc,
    reason = "all the same: said once, on the type"
)]
impl<'a> Reader<'a> {
    /// Reads from the front of `bytes`, which errors will call `what` (such as "a directory entry").
    #[must_use]
    pub fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { rest: bytes, what }
    }

    /// The error that says these bytes are damaged; for values that are readable but make no sense.
    #[must_use]
    pub fn damaged(&self) -> Error {
        Error::damaged(self.what)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, Error> {
        self.array().map(u8::from_le_bytes)
    }

    /// Two bytes.
    pub fn u16(&mut self) -> Result<u16, Error> {
        self.array().map(u16::from_le_bytes)
    }

    /// Four bytes.
    pub fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_le_bytes)
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> Result<u64, Error> {
        self.array().map(u64::from_le_bytes)
    }

    /// A varint in its shortest form.
    pub fn varint(&mut self) -> Result<u64, Error> {
        let mut value = 0_u64;
        for (place, byte) in self.rest.iter().take(10).enumerate() {
            let bits = u64::from(byte & 0x7f);
            if place == 9 && bits > 1 {
                break;
            }
            value |= bits << (7 * place);
            if *byte < 0x80 {
                if bits == 0 && place > 0 {
                    break;
                }
                self.rest = &self.rest[place + 1..];
                return Ok(value);
            }
        }
        Err(self.damaged())
    }

    /// A varint that must fit in 32 bits.
    pub fn varint_u32(&mut self) -> Result<u32, Error> {
        let mut ahead = self.clone();
        let value = u32::try_from(ahead.varint()?).map_err(|_| self.damaged())?;
        *self = ahead;
        Ok(value)
    }

    /// What [`Writer::signed`] wrote.
    pub fn signed(&mut self) -> Result<i64, Error> {
        let value = self.varint()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// Bytes that are preceded by their length.
    pub fn bytes(&mut self) -> Result<&'a [u8], Error> {
        let mut ahead = self.clone();
        let len = usize::try_from(ahead.varint()?).map_err(|_| self.damaged())?;
        let bytes = ahead.raw(len)?;
        *self = ahead;
        Ok(bytes)
    }

    /// So many bytes.
    pub fn raw(&mut self, len: usize) -> Result<&'a [u8], Error> {
        let (bytes, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or_else(|| self.damaged())?;
        self.rest = rest;
        Ok(bytes)
    }

    /// As many bytes as the array has.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (bytes, rest) = self
            .rest
            .split_first_chunk()
            .ok_or_else(|| self.damaged())?;
        self.rest = rest;
        Ok(*bytes)
    }

    /// All that is left, which may be nothing.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// How many bytes are left.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// True when nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Fails when something is left.
    pub fn finish(self) -> Result<(), Error> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(self.damaged())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut writer = Writer::new();
        writer.u8(1).u16(2).u32(3).u64(4).raw(b"abc").bytes(b"defg");
        let numbers = [0, 1, 127, 128, 16_383, 16_384, u64::MAX >> 1, u64::MAX];
        for number in numbers {
            writer.varint(number).signed(number.cast_signed());
        }
        let bytes = writer.finish();
        let mut reader = Reader::new(&bytes, "a test");
        assert_eq!(reader.u8(), Ok(1));
        assert_eq!(reader.u16(), Ok(2));
        assert_eq!(reader.u32(), Ok(3));
        assert_eq!(reader.u64(), Ok(4));
        assert_eq!(reader.raw(3), Ok(&b"abc"[..]));
        assert_eq!(reader.bytes(), Ok(&b"defg"[..]));
        for number in numbers {
            assert_eq!(reader.varint(), Ok(number));
            assert_eq!(reader.signed(), Ok(number.cast_signed()));
        }
        assert!(reader.is_empty());
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn varints_have_one_form() {
        let read = |bytes: &[u8]| Reader::new(bytes, "it").varint();
        assert_eq!(read(&[0xac, 0x02]), Ok(300));
        assert_eq!(read(&[0x80, 0x00]), Err(Error::damaged("it")));
        assert_eq!(read(&[0xff; 9]), Err(Error::damaged("it")));
        let mut most = [0xff; 10];
        most[9] = 1;
        assert_eq!(read(&most), Ok(u64::MAX));
        most[9] = 2;
        assert_eq!(read(&most), Err(Error::damaged("it")));
        let mut signed = Writer::new();
        signed.signed(-1).signed(1).signed(i64::MIN);
        assert_eq!(signed.as_bytes()[..2], [1, 2]);
        assert_eq!(signed.len(), 12);
    }

    #[test]
    fn an_error_leaves_the_reader_in_its_place() {
        let mut reader = Reader::new(&[5, 1, 2], "it");
        assert!(reader.u32().is_err() && reader.bytes().is_err() && reader.raw(4).is_err());
        assert_eq!(reader.remaining(), 3);
        assert_eq!(reader.varint_u32(), Ok(5));
        assert_eq!(reader.rest(), [1, 2]);
        assert_eq!(Reader::new(&[9], "it").finish(), Err(Error::damaged("it")));
    }
}
