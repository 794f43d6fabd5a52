//! Many chunks in one sealed object, and each of them back from a range of its bytes.

use std::fmt;

use bytes::Bytes;
use bytes::BytesMut;

use crate::codec::Error;
use crate::codec::Sealed;
use crate::codec::chunker::Chunker;
use crate::codec::compress;
use crate::codec::key::Keys;
use crate::codec::key::random;
use crate::codec::padding;
use crate::codec::prefix;
use crate::codec::seal::Cipher;
use crate::codec::seal::TAG_LEN;
use crate::codec::wire::Reader;
use crate::id::ChunkId;
use crate::id::PackId;

/// Longest chunk in bytes.
pub const CHUNK_BYTES_MAX: usize = Chunker::MAX;
/// Longest pack in bytes; offsets are 32 bits wide, and a pack is held in memory.
pub const PACK_BYTES_MAX: u64 = 1 << 30;

pub(in crate::codec) const HEADER_LEN: usize = prefix::LEN + 16;
const ENTRY_LEN: usize = 32 + 4 + 4;
const COUNT_LEN: usize = 4;
pub(in crate::codec) const FOOTER_LEN: usize = 4 + prefix::LEN;
const WHAT: &str = "a pack";

/// What a sealed range of a pack is; part of what its tag covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::codec) enum Kind {
    Chunk = 1,
    Directory = 2,
}

/// Where a chunk lies in its pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Frame {
    /// The chunk.
    pub chunk: ChunkId,
    /// Place in the pack's order, from 0.
    pub slot: u32,
    /// First byte, counted from the beginning of the pack.
    pub offset: u32,
    /// Length in the pack in bytes, tag included.
    pub sealed_len: u32,
    /// Length of the chunk in bytes.
    pub plain_len: u32,
}

/// A finished pack, ready for a store.
#[derive(Clone, Debug)]
pub struct Pack {
    /// Its name.
    pub id: PackId,
    /// Its chunks, in order.
    pub frames: Vec<Frame>,
    /// Its bytes.
    pub body: Sealed,
}

/// Makes one pack. All its memory is taken at once; chunks are compressed into it and sealed in place.
pub struct PackBuilder {
    id: PackId,
    cipher: Cipher,
    header: [u8; HEADER_LEN],
    frames: Vec<Frame>,
    /// `capacity` bytes, and the room that a compressor may need beyond.
    buffer: Vec<u8>,
    len: usize,
    capacity: usize,
}

impl PackBuilder {
    /// Least useful capacity in bytes: one chunk of any length fits an empty pack.
    pub const CAPACITY_BYTES_MIN: u64 =
        (HEADER_LEN + CHUNK_BYTES_MAX + TAG_LEN + directory_len(1) + FOOTER_LEN) as u64;

    /// An empty pack with a new random id, that will not be longer than `capacity_bytes`, nor than
    /// [`PACK_BYTES_MAX`].
    #[must_use]
    pub fn new(keys: &Keys, capacity_bytes: u64) -> Self {
        Self::with_id(keys, PackId(random()), capacity_bytes)
    }

    /// An id must never be used twice, so only tests choose it.
    pub(in crate::codec) fn with_id(keys: &Keys, id: PackId, capacity_bytes: u64) -> Self {
        let capacity = usize::try_from(capacity_bytes.min(PACK_BYTES_MAX))
            .expect("PACK_BYTES_MAX fits")
            .max(HEADER_LEN);
        let header = header(id);
        let mut buffer = vec![0; capacity + compress::slack(CHUNK_BYTES_MAX)];
        buffer[..HEADER_LEN].copy_from_slice(&header);
        Self {
            id,
            cipher: keys.pack(id),
            header,
            frames: Vec::new(),
            buffer,
            len: HEADER_LEN,
            capacity,
        }
    }

    /// The pack's name.
    #[must_use]
    pub fn id(&self) -> PackId {
        self.id
    }

    /// Will a chunk of so many bytes fit, even if it does not compress?
    #[must_use]
    pub fn fits(&self, plain_len: usize) -> bool {
        plain_len <= CHUNK_BYTES_MAX
            && self.len + plain_len + TAG_LEN + directory_len(self.frames.len() + 1) + FOOTER_LEN
                <= self.capacity
    }

    /// Adds a chunk: compressed if that helps, sealed.
    ///
    /// # Errors
    /// `Bounds` when the chunk is empty, over [`CHUNK_BYTES_MAX`], or does not fit any more.
    pub fn push(&mut self, chunk: ChunkId, plain: &[u8]) -> Result<Frame, Error> {
        if plain.is_empty() || !self.fits(plain.len()) {
            return Err(Error::bounds("a chunk for this pack"));
        }
        let bounds = |_| Error::bounds("a chunk for this pack");
        let room = &mut self.buffer[self.len..];
        let sealed_len = compress::pack(plain, room) + TAG_LEN;
        let frame = Frame {
            chunk,
            slot: u32::try_from(self.frames.len()).map_err(bounds)?,
            offset: u32::try_from(self.len).map_err(bounds)?,
            sealed_len: u32::try_from(sealed_len).map_err(bounds)?,
            plain_len: u32::try_from(plain.len()).map_err(bounds)?,
        };
        let associated = associated(&self.header, Kind::Chunk, frame.plain_len);
        self.cipher
            .seal(frame.slot, &associated, &mut room[..sealed_len]);
        self.len += sealed_len;
        self.frames.push(frame);
        Ok(frame)
    }

    /// The chunks until now, in order.
    #[must_use]
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// Length in bytes that the pack has if it is finished now.
    #[must_use]
    pub fn sealed_len(&self) -> u64 {
        let least = (self.len + directory_len(self.frames.len()) + FOOTER_LEN) as u64;
        padding::padded(least).min((self.capacity as u64).max(least))
    }

    /// Writes directory, padding and footer.
    #[must_use]
    pub fn finish(mut self) -> Pack {
        let sealed_len = usize::try_from(self.sealed_len()).expect("within the buffer");
        self.buffer.truncate(sealed_len);
        let directory_end = sealed_len - FOOTER_LEN;
        let directory = &mut self.buffer[self.len..directory_end];
        directory.fill(0);
        let count = u32::try_from(self.frames.len()).expect("fewer than bytes");
        directory[..COUNT_LEN].copy_from_slice(&count.to_le_bytes());
        for (frame, entry) in self
            .frames
            .iter()
            .zip(directory[COUNT_LEN..].chunks_exact_mut(ENTRY_LEN))
        {
            entry[..32].copy_from_slice(&frame.chunk.0);
            entry[32..36].copy_from_slice(&frame.sealed_len.to_le_bytes());
            entry[36..].copy_from_slice(&frame.plain_len.to_le_bytes());
        }
        let directory_len = u32::try_from(directory.len()).expect("within PACK_BYTES_MAX");
        let associated = associated(&self.header, Kind::Directory, directory_len);
        self.cipher.seal(DIRECTORY_NUMBER, &associated, directory);
        let footer = &mut self.buffer[directory_end..];
        footer[..4].copy_from_slice(&directory_len.to_le_bytes());
        footer[4..].copy_from_slice(&prefix::PACK_END.bytes());
        Pack {
            id: self.id,
            frames: self.frames,
            body: Sealed::new(self.buffer),
        }
    }
}

impl fmt::Debug for PackBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PackBuilder")
            .field("id", &self.id)
            .field("frames", &self.frames.len())
            .field("sealed_len", &self.sealed_len())
            .finish_non_exhaustive()
    }
}

/// The chunk that a frame holds, verified: `sealed` is the range of the pack that the frame names. It is opened
/// where it lies if nobody else has it.
///
/// # Errors
/// `Damaged` when these are not exactly the bytes that were sealed in this place of this pack.
pub fn open_frame(
    keys: &Keys,
    pack: PackId,
    frame: &Frame,
    sealed: impl Into<BytesMut>,
) -> Result<Bytes, Error> {
    let mut buffer: BytesMut = sealed.into();
    let damaged = || Error::damaged(format!("frame {} of pack {pack}", frame.slot));
    let plain_len = usize::try_from(frame.plain_len).map_err(|_| damaged())?;
    if buffer.len() as u64 != u64::from(frame.sealed_len) || !frame.is_possible() {
        return Err(damaged());
    }
    let associated = associated(&header(pack), Kind::Chunk, frame.plain_len);
    let packed_len = keys
        .pack(pack)
        .open(frame.slot, &associated, &mut buffer)
        .map_err(|_| damaged())?
        .len();
    buffer.truncate(packed_len);
    let plain = if packed_len == plain_len {
        buffer.freeze()
    } else {
        let plain = compress::unpack(&buffer, plain_len).map_err(|_| damaged())?;
        plain.into()
    };
    if keys.chunk_id(&plain) == frame.chunk {
        Ok(plain)
    } else {
        Err(damaged())
    }
}

/// The frames of a pack of `pack_len` bytes, read from its last bytes (or from all of them).
///
/// # Errors
/// `TooShort` says how many bytes from the end are needed when `tail` has too few; `Damaged` and
/// `NewerVersion` as usual.
pub fn read_directory(
    keys: &Keys,
    pack: PackId,
    tail: &[u8],
    pack_len: u64,
) -> Result<Vec<Frame>, Error> {
    let damaged = || Error::damaged(format!("the directory of pack {pack}"));
    let least = HEADER_LEN + directory_len(0) + FOOTER_LEN;
    if pack_len < least as u64 || pack_len > PACK_BYTES_MAX || tail.len() as u64 > pack_len {
        return Err(damaged());
    }
    if tail.len() as u64 == pack_len && prefix::PACK.strip(tail)?[..16] != pack.0 {
        return Err(damaged());
    }
    let Some((before, footer)) = tail.split_last_chunk::<FOOTER_LEN>() else {
        return Err(Error::TooShort {
            need_bytes: FOOTER_LEN as u64,
        });
    };
    let (len, end) = footer.split_at(4);
    prefix::PACK_END.strip(end)?;
    let directory_len = Reader::new(len, WHAT).u32()?;
    let frames_end = pack_len
        .checked_sub(u64::from(directory_len) + FOOTER_LEN as u64)
        .filter(|end| *end >= HEADER_LEN as u64)
        .ok_or_else(damaged)?;
    let Some(at) = before.len().checked_sub(directory_len as usize) else {
        return Err(Error::TooShort {
            need_bytes: pack_len - frames_end,
        });
    };
    let mut directory = before[at..].to_vec();
    let associated = associated(&header(pack), Kind::Directory, directory_len);
    let plain = keys
        .pack(pack)
        .open(DIRECTORY_NUMBER, &associated, &mut directory)
        .map_err(|_| damaged())?;
    entries(plain, frames_end).ok_or_else(damaged)
}

/// The nonce number of the directory, which no chunk's slot reaches.
pub(in crate::codec) const DIRECTORY_NUMBER: u32 = u32::MAX;

/// The frames that the entries describe, if they fill the pack from its header to `frames_end`.
fn entries(plain: &[u8], frames_end: u64) -> Option<Vec<Frame>> {
    let (count, rest) = plain.split_first_chunk::<COUNT_LEN>()?;
    let count = u32::from_le_bytes(*count);
    let (table, padding) =
        rest.split_at_checked(usize::try_from(count).ok()?.checked_mul(ENTRY_LEN)?)?;
    let mut offset = u32::try_from(HEADER_LEN).ok()?;
    let mut frames = Vec::with_capacity(table.len() / ENTRY_LEN);
    for (slot, entry) in (0..).zip(table.chunks_exact(ENTRY_LEN)) {
        let mut entry = Reader::new(entry, WHAT);
        let frame = Frame {
            chunk: ChunkId(entry.array().ok()?),
            slot,
            offset,
            sealed_len: entry.u32().ok()?,
            plain_len: entry.u32().ok()?,
        };
        offset = offset.checked_add(frame.sealed_len)?;
        frames.push(frame);
    }
    let sound = u64::from(offset) == frames_end
        && padding.iter().all(|byte| *byte == 0)
        && frames.iter().all(Frame::is_possible);
    sound.then_some(frames)
}

impl Frame {
    /// Lengths that a builder can make; checked before memory is taken.
    fn is_possible(&self) -> bool {
        let packed_len = (self.sealed_len as usize).checked_sub(TAG_LEN);
        let plain_len = self.plain_len as usize;
        (1..=CHUNK_BYTES_MAX).contains(&plain_len)
            && packed_len.is_some_and(|len| (1..=plain_len).contains(&len))
    }
}

/// Length of a directory without padding, tag included.
const fn directory_len(frames: usize) -> usize {
    COUNT_LEN + frames * ENTRY_LEN + TAG_LEN
}

pub(in crate::codec) fn header(pack: PackId) -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    header[..prefix::LEN].copy_from_slice(&prefix::PACK.bytes());
    header[prefix::LEN..].copy_from_slice(&pack.0);
    header
}

/// What a tag covers beside the bytes it follows.
pub(in crate::codec) fn associated(
    header: &[u8; HEADER_LEN],
    kind: Kind,
    len: u32,
) -> [u8; HEADER_LEN + 5] {
    let mut associated = [0; HEADER_LEN + 5];
    associated[..HEADER_LEN].copy_from_slice(header);
    associated[HEADER_LEN] = kind as u8;
    associated[HEADER_LEN + 1..].copy_from_slice(&len.to_le_bytes());
    associated
}

/// The name under which a pack is stored: its id in hex, and `.bin`.
#[must_use]
pub fn pack_name(id: PackId) -> String {
    format!("{id}.bin")
}

/// The pack that a name belongs to, if it is one that [`pack_name`] gives.
#[must_use]
pub fn parse_pack_name(name: &str) -> Option<PackId> {
    let hex = name.strip_suffix(".bin")?;
    let id = data_encoding::HEXLOWER.decode(hex.as_bytes()).ok()?;
    id.try_into().ok().map(PackId)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::key::MasterKey;
    use crate::id::DriveId;

    fn keys(drive: u8) -> Keys {
        Keys::derive(&MasterKey::from_bytes([1; 32]), DriveId([drive; 16]))
    }

    fn filled(keys: &Keys, chunks: &[&[u8]]) -> Pack {
        let mut builder = PackBuilder::new(keys, 1 << 20);
        for plain in chunks {
            builder.push(keys.chunk_id(plain), plain).expect("fits");
        }
        let expected = builder.sealed_len();
        let pack = builder.finish();
        assert_eq!(pack.body.len(), expected);
        pack
    }

    fn range<'a>(bytes: &'a [u8], frame: &Frame) -> &'a [u8] {
        &bytes[frame.offset as usize..][..frame.sealed_len as usize]
    }

    #[test]
    fn chunks_come_back_from_their_ranges() {
        let keys = keys(1);
        let noise = random::<3000>();
        let chunks = [&b"a small text"[..], &noise, &[b'x'; 9000], b"!"];
        let pack = filled(&keys, &chunks);
        let bytes = pack.body.to_bytes();
        for (frame, plain) in pack.frames.iter().zip(chunks) {
            let opened = open_frame(&keys, pack.id, frame, range(&bytes, frame));
            assert_eq!(opened.as_deref(), Ok(plain));
        }
        assert_eq!(pack.frames[1].sealed_len, 3016, "noise is stored");
        assert!(pack.frames[2].sealed_len < 200, "text is compressed");
        let directory = read_directory(&keys, pack.id, &bytes, pack.body.len());
        assert_eq!(directory, Ok(pack.frames));
    }

    #[test]
    fn the_directory_says_how_much_of_the_tail_it_needs() {
        let keys = keys(1);
        let pack = filled(&keys, &[b"one", b"two"]);
        let bytes = pack.body.to_bytes();
        let len = pack.body.len();
        let mut tail = 0;
        for _ in 0..2 {
            let short = read_directory(&keys, pack.id, &bytes[bytes.len() - tail..], len);
            let Err(Error::TooShort { need_bytes }) = short else {
                panic!("{short:?}");
            };
            tail = usize::try_from(need_bytes).expect("small");
        }
        assert!(tail < bytes.len());
        let found = read_directory(&keys, pack.id, &bytes[bytes.len() - tail..], len);
        assert_eq!(found, Ok(pack.frames));
    }

    #[test]
    fn frames_do_not_move() {
        let home = keys(1);
        let chunks = [&[1; 40][..], &[2; 40]];
        let pack = filled(&home, &chunks);
        let bytes = pack.body.to_bytes();
        let other = filled(&home, &chunks);
        let [first, second] = pack.frames[..] else {
            panic!("two chunks");
        };
        let refused = |keys: &Keys, id, frame: &Frame, sealed: &[u8]| {
            matches!(
                open_frame(keys, id, frame, sealed),
                Err(Error::Damaged { .. })
            )
        };
        let sealed = range(&bytes, &first);
        assert!(!refused(&home, pack.id, &first, sealed));
        assert!(refused(&home, other.id, &first, sealed), "another pack");
        assert!(refused(&keys(2), pack.id, &first, sealed), "another drive");
        assert!(refused(&home, pack.id, &second, sealed), "another slot");
        let lies = [
            Frame { slot: 1, ..first },
            Frame {
                chunk: second.chunk,
                ..first
            },
            Frame {
                plain_len: 41,
                ..first
            },
            Frame {
                plain_len: first.sealed_len - 16,
                ..first
            },
            Frame {
                plain_len: u32::MAX,
                ..first
            },
            Frame {
                sealed_len: first.sealed_len + 1,
                ..first
            },
            Frame {
                sealed_len: 0,
                ..first
            },
        ];
        for lie in lies {
            assert!(refused(&home, pack.id, &lie, sealed), "{lie:?}");
        }
        let directory = read_directory(&home, other.id, &bytes, pack.body.len());
        assert!(matches!(directory, Err(Error::Damaged { .. })));
    }

    #[test]
    fn a_pack_never_outgrows_its_capacity() {
        let keys = keys(1);
        let noise = random::<1000>();
        for capacity in (0..9000).step_by(7) {
            let mut builder = PackBuilder::new(&keys, capacity);
            let mut len = 1000;
            while len > 0 {
                if builder.fits(len) {
                    builder
                        .push(ChunkId([0; 32]), &noise[..len])
                        .expect("it fits");
                } else {
                    assert!(builder.push(ChunkId([0; 32]), &noise[..len]).is_err());
                    len /= 2;
                }
            }
            let pack = builder.finish();
            assert!(pack.frames.is_empty() || pack.body.len() <= capacity);
            let read = read_directory(&keys, pack.id, &pack.body.to_bytes(), pack.body.len());
            assert_eq!(read, Ok(pack.frames));
        }
    }

    #[test]
    fn the_least_capacity_takes_the_longest_chunk() {
        let keys = keys(1);
        let mut noise = vec![0; CHUNK_BYTES_MAX + 1];
        let mut words = (1_u64..).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).swap_bytes());
        for (bytes, word) in noise.chunks_mut(8).zip(&mut words) {
            bytes.copy_from_slice(&word.to_le_bytes()[..bytes.len()]);
        }
        let mut builder = PackBuilder::new(&keys, PackBuilder::CAPACITY_BYTES_MIN);
        assert!(!builder.fits(noise.len()));
        let chunk = &noise[..CHUNK_BYTES_MAX];
        let frame = builder.push(keys.chunk_id(chunk), chunk).expect("fits");
        assert!(!builder.fits(1));
        let id = builder.id();
        let pack = builder.finish();
        assert_eq!(pack.body.len(), PackBuilder::CAPACITY_BYTES_MIN);
        let opened = open_frame(&keys, id, &frame, range(&pack.body.to_bytes(), &frame));
        assert!(opened.is_ok_and(|plain| plain == chunk));
        let mut small = PackBuilder::new(&keys, PackBuilder::CAPACITY_BYTES_MIN - 1);
        assert!(small.push(keys.chunk_id(chunk), chunk).is_err());
        assert!(small.push(keys.chunk_id(b""), b"").is_err());
    }

    #[test]
    fn lengths_tell_little() {
        let keys = keys(1);
        let len = |plain: usize| filled(&keys, &[&random::<50_000>()[..plain]]).body.len();
        assert_eq!(len(40_000), len(40_100));
        assert_ne!(len(40_000), len(45_000));
    }

    #[test]
    fn names_are_ids() {
        let id = PackId([0xab; 16]);
        let name = pack_name(id);
        assert_eq!(name, format!("{}.bin", "ab".repeat(16)));
        assert_eq!(parse_pack_name(&name), Some(id));
        for bad in [
            "",
            ".bin",
            "ab.bin",
            &name.to_uppercase(),
            &name[1..],
            "é.bin",
        ] {
            assert_eq!(parse_pack_name(bad), None);
        }
    }
}
