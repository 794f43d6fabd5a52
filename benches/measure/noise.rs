//! Bytes that do not compress and do not repeat, the same for the same seed.

/// Bytes of one block of a [`Stock`].
const BLOCK_BYTES: usize = 1 << 20;

/// Blocks that a [`Stock`] makes new ones of.
const BLOCKS: usize = 16;

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

/// Noise without end that costs next to nothing: a few blocks, each changed with a new key before it is
/// used again. No two blocks are equal, nor pieces of them.
pub(crate) struct Stock {
    noise: Noise,
    blocks: Vec<u8>,
    used: usize,
}

impl Stock {
    /// Begins with a seed.
    pub(crate) fn new(seed: u64) -> Stock {
        let mut noise = Noise::new(seed);
        let blocks = noise.bytes(BLOCKS * BLOCK_BYTES);
        Stock {
            noise,
            blocks,
            used: 0,
        }
    }

    /// A mebibyte that was never there before.
    pub(crate) fn block(&mut self) -> &[u8] {
        let key = self.noise.next();
        let from = self.used % BLOCKS * BLOCK_BYTES;
        self.used += 1;
        let block = &mut self.blocks[from..from + BLOCK_BYTES];
        for word in block.as_chunks_mut::<8>().0 {
            *word = (u64::from_le_bytes(*word) ^ key).to_le_bytes();
        }
        block
    }
}
