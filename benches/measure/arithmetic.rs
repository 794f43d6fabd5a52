//! What is possible: Discord's limits and the link, calculated.

use std::io;
use std::time::Instant;

use chacha20poly1305::ChaCha20Poly1305;
use chacha20poly1305::KeyInit;
use chacha20poly1305::aead::AeadInOut;

use crate::machine;

/// Messages that may be posted to a channel in one window, and how long that is.
pub(crate) const MESSAGES_PER_WINDOW: u64 = 5;
pub(crate) const WINDOW_S: f64 = 5.0;

/// Largest request, as Discord documents it, bytes. Attachments of less than 10 MiB fill it.
pub(crate) const REQUEST_BYTES: u64 = 25 << 20;

/// Connections that the goals speak of.
pub(crate) const CONNECTIONS: f64 = 4.0;

/// The shortest time in which so many bytes can be put into one channel: full windows of full
/// messages, then the last window's messages side by side.
pub(crate) fn upload_s(bytes: u64, bytes_per_s: u64, rtt_s: f64) -> f64 {
    let messages = bytes.div_ceil(REQUEST_BYTES);
    let windows = messages.div_ceil(MESSAGES_PER_WINDOW).max(1) - 1;
    let transfer = seconds(REQUEST_BYTES.min(bytes), bytes_per_s);
    f64::from(u32::try_from(windows).unwrap_or(u32::MAX)) * WINDOW_S + transfer + rtt_s
}

/// How long one connection takes for so many bytes.
pub(crate) fn seconds(bytes: u64, bytes_per_s: u64) -> f64 {
    let mib = |bytes: u64| f64::from(u32::try_from(bytes >> 10).unwrap_or(u32::MAX)) / 1024.0;
    mib(bytes) / mib(bytes_per_s)
}

/// Seconds of processor for hashing, compressing and sealing these bytes, a mebibyte at a time, and
/// nothing else.
pub(crate) fn crypto_cpu_s(bytes: &[u8]) -> io::Result<f64> {
    let key = [7; 32];
    let cipher = ChaCha20Poly1305::new(&key.into());
    let before = machine::own_cpu_s()?;
    let mut room = Vec::with_capacity(2 << 20);
    for (number, chunk) in bytes.chunks(1 << 20).enumerate() {
        std::hint::black_box(blake3::keyed_hash(&key, chunk));
        room.resize(lz4_flex::block::get_maximum_output_size(chunk.len()), 0);
        let packed = lz4_flex::block::compress_into(chunk, &mut room).map_err(io::Error::other)?;
        room.truncate(packed);
        if packed >= chunk.len() {
            room.clear();
            room.extend_from_slice(chunk);
        }
        let mut nonce = [0; 12];
        nonce[..8].copy_from_slice(&(number as u64).to_le_bytes());
        cipher
            .encrypt_in_place(&nonce.into(), b"", &mut room)
            .map_err(|_| io::Error::other("sealing failed"))?;
        std::hint::black_box(&room);
    }
    Ok(machine::own_cpu_s()? - before)
}

/// As many seconds as it took; only for lines that count nothing else.
pub(crate) fn since(started: Instant) -> f64 {
    started.elapsed().as_secs_f64()
}
