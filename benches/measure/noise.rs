//! Bytes that do not compress, the same for the same seed.

/// A xorshift generator: fast, and random enough for a compressor.
pub(crate) struct Noise(u64);

impl Noise {
    /// Begins with a seed.
    pub(crate) fn new(seed: u64) -> Noise {
        Noise(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// So many bytes.
    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 11) % end
    }

    /// So many bytes of which lz4 saves about half: noise and words in turns.
    pub(crate) fn mixed(&mut self, len: usize) -> Vec<u8> {
        let words = b"the quick brown fox jumps over the lazy dog, again and again and again. ";
        let mut bytes = Vec::with_capacity(len + (64 << 10));
        while bytes.len() < len {
            let noise = self.bytes(32 << 10);
            bytes.extend_from_slice(&noise);
            let number = self.next();
            for turn in 0..(32 << 10) / 80 {
                bytes.extend_from_slice(words);
                bytes.extend_from_slice(&(number.wrapping_add(turn)).to_le_bytes());
            }
        }
        bytes.truncate(len);
        bytes
    }
}
