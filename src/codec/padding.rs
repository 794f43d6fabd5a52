//! Rounds lengths up, so that the length of an object tells little about what is in it.

/// The padded length of an object of so many bytes: Padmé, which keeps `log2(log2(n)) + 1` leading
/// bits and so adds at most 12 %, and at most 3.2 % from 1 MiB on.
pub(in crate::codec) const fn padded(len: u64) -> u64 {
    let step = step(len);
    len.next_multiple_of(step)
}

/// The longest padded length that is not over `limit`.
pub(in crate::codec) const fn padded_floor(limit: u64) -> u64 {
    limit - limit % step(limit)
}

/// Lengths between two powers of two are multiples of this.
const fn step(len: u64) -> u64 {
    if len < 4 {
        return 1;
    }
    let exponent = len.ilog2();
    1 << (exponent - exponent.ilog2() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_small_steady_and_has_a_floor() {
        assert_eq!(padded(0), 0);
        assert_eq!(padded(9), 10);
        assert_eq!(padded(1 << 20), 1 << 20);
        assert_eq!(padded((1 << 20) + 1), (1 << 20) + (1 << 15));
        for len in (0..100_000).chain((10 << 20)..(10 << 20) + 1000) {
            let up = padded(len);
            assert!(up >= len && (up - len) * 100 <= len * 12, "{len} → {up}");
            assert_eq!(padded(up), up);
            let down = padded_floor(len);
            assert!(
                down <= len && padded(down) == down && padded(down + 1) > len,
                "{len}"
            );
        }
    }
}
