//! Numbers that look random, the same for the same seed.
#![allow(dead_code, reason = "each suite uses a part of it")]

pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit.max(1)
    }

    /// Bytes that do not compress.
    pub(crate) fn bytes(&mut self, len: u64) -> Vec<u8> {
        let next = || self.below(256).to_le_bytes()[0];
        let len = usize::try_from(len).expect("small");
        std::iter::repeat_with(next).take(len).collect()
    }

    pub(crate) fn of<T: Clone>(&mut self, all: &[T]) -> T {
        let at = usize::try_from(self.below(all.len() as u64)).expect("small");
        all[at].clone()
    }
}
