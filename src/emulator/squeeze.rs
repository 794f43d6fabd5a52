//! The gateway's transport compression, without compressing: zlib and zstd streams of raw blocks.

/// Longest raw block of either format that this writes.
const BLOCK_BYTES_MAX: usize = 65_535;

/// How a connection's messages are wrapped.
#[derive(Debug)]
pub(crate) enum Squeeze {
    /// Text messages.
    None,
    /// One zlib stream, flushed after each message.
    Zlib(Start),
    /// One zstd frame, a block or more per message.
    Zstd(Start),
}

/// Whether a stream's header has been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    Ahead,
    Written,
}

impl Squeeze {
    /// What `compress=` of the gateway's URL asks for.
    pub(crate) fn of(asked: Option<&str>) -> Self {
        match asked {
            Some("zlib-stream") => Self::Zlib(Start::Ahead),
            Some("zstd-stream") => Self::Zstd(Start::Ahead),
            _ => Self::None,
        }
    }

    /// The next message of the stream; `None` if messages go as text.
    pub(crate) fn wrap(&mut self, message: &str) -> Option<Vec<u8>> {
        let (start, header): (&mut Start, &[u8]) = match self {
            Self::None => return None,
            // Deflate, 32 KiB window, no preset dictionary.
            Self::Zlib(start) => (start, &[0x78, 0x01]),
            // Magic, no content size, no checksum; a window of 128 KiB.
            Self::Zstd(start) => (start, &[0x28, 0xB5, 0x2F, 0xFD, 0x00, 0x38]),
        };
        let mut out = Vec::with_capacity(message.len() + 32);
        if *start == Start::Ahead {
            out.extend_from_slice(header);
            *start = Start::Written;
        }
        for block in message.as_bytes().chunks(BLOCK_BYTES_MAX) {
            match self {
                Self::Zlib(_) => stored(&mut out, block),
                _ => raw(&mut out, block),
            }
        }
        if let Self::Zlib(_) = self {
            // The empty block by which a client knows that the message is whole.
            stored(&mut out, &[]);
        }
        Some(out)
    }
}

/// A deflate block that is stored: not the last, byte-aligned, length and its complement.
fn stored(out: &mut Vec<u8>, block: &[u8]) {
    let length = u16::try_from(block.len()).unwrap_or(0);
    out.push(0);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&(!length).to_le_bytes());
    out.extend_from_slice(block);
}

/// A zstd block that is raw: not the last, its length above three bits.
fn raw(out: &mut Vec<u8>, block: &[u8]) {
    let header = u32::try_from(block.len()).unwrap_or(0) << 3;
    out.extend_from_slice(&header.to_le_bytes()[..3]);
    out.extend_from_slice(block);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zlib_message_ends_in_the_flush_mark() {
        let mut squeeze = Squeeze::of(Some("zlib-stream"));
        let first = squeeze.wrap("ab").expect("bytes");
        assert_eq!(first, b"\x78\x01\x00\x02\x00\xfd\xffab\x00\x00\x00\xff\xff");
        let second = squeeze.wrap("c").expect("bytes");
        assert_eq!(second, b"\x00\x01\x00\xfe\xffc\x00\x00\x00\xff\xff");
        assert!(Squeeze::of(None).wrap("ab").is_none());
    }
}
