//! lz4 blocks when they help, plain bytes when they do not.

use lz4_flex::block;

/// Room that [`pack`] needs beyond the plain length for plain bytes of at most `len`.
pub(in crate::codec) const fn slack(len: usize) -> usize {
    block::get_maximum_output_size(len) - len
}

/// Writes the shorter of the lz4 block of `plain` and `plain` itself to the beginning of `room`, and
/// returns its length: shorter than `plain` if and only if it is an lz4 block.
///
/// A block that saves less than one part in 64 is not worth its decompression.
pub(in crate::codec) fn pack(plain: &[u8], room: &mut [u8]) -> usize {
    let worth = plain.len() - plain.len() / 64;
    match block::compress_into(plain, room) {
        Ok(len) if len < worth => len,
        _ => {
            room[..plain.len()].copy_from_slice(plain);
            plain.len()
        }
    }
}

/// The bytes are not an lz4 block of the expected length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::codec) struct NotPacked;

/// A byte of an lz4 block stands for at most so many.
const RATIO_MAX: usize = 255;

/// Undoes [`pack`]; allocates `plain_len` bytes and never more, and none that so few cannot become.
pub(in crate::codec) fn unpack(packed: &[u8], plain_len: usize) -> Result<Vec<u8>, NotPacked> {
    if packed.len() == plain_len {
        return Ok(packed.to_vec());
    }
    if plain_len > packed.len().saturating_mul(RATIO_MAX) {
        return Err(NotPacked);
    }
    let mut plain = vec![0; plain_len];
    match block::decompress_into(packed, &mut plain) {
        Ok(len) if len == plain_len => Ok(plain),
        _ => Err(NotPacked),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::key::random;

    #[test]
    fn noise_is_stored_and_text_is_shortened() {
        let noise = random::<5000>();
        let text = [b'a'; 5000];
        let mut room = vec![0; 5000 + slack(5000)];
        assert_eq!(pack(&noise, &mut room), 5000);
        assert_eq!(unpack(&room[..5000], 5000), Ok(noise.to_vec()));
        let len = pack(&text, &mut room);
        assert!(len < 100);
        assert_eq!(unpack(&room[..len], 5000), Ok(text.to_vec()));
        assert_eq!(unpack(&room[..len], 5001), Err(NotPacked));
        assert_eq!(unpack(&room[..len], 4999), Err(NotPacked));
        assert_eq!(pack(b"", &mut room), 0);
        assert_eq!(unpack(b"", 0), Ok(Vec::new()));
    }
}
