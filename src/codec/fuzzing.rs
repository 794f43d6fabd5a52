//! What a fuzzer does with the codec: any bytes raw, and any bytes behind a seal that fits.

use crate::codec::Error;
use crate::codec::compress;
use crate::codec::key::Keys;
use crate::codec::key::MasterKey;
use crate::codec::key::RecoveryKey;
use crate::codec::key::Secret;
use crate::codec::key::Typed;
use crate::codec::note;
use crate::codec::pack;
use crate::codec::pack::Frame;
use crate::codec::pack::Kind;
use crate::codec::pack::PackBuilder;
use crate::codec::prefix;
use crate::codec::seal::TAG_LEN;
use crate::codec::segment;
use crate::codec::superblock::Superblock;
use crate::codec::wire::Reader;
use crate::codec::wire::Writer;
use crate::id::ChunkId;
use crate::id::DriveId;
use crate::id::PackId;

const DRIVE: DriveId = DriveId([7; 16]);
const PACK: PackId = PackId([3; 16]);

fn master() -> MasterKey {
    MasterKey::from_bytes([9; 32])
}

/// The keys that every target knows; deriving them takes longer than most targets.
#[must_use]
pub fn keys() -> &'static Keys {
    static KEYS: std::sync::OnceLock<Keys> = std::sync::OnceLock::new();
    KEYS.get_or_init(|| Keys::derive(&master(), DRIVE))
}

/// The first `N` bytes, with zeros where there are fewer, and the rest.
#[must_use]
pub fn take<const N: usize>(data: &[u8]) -> ([u8; N], &[u8]) {
    let mut taken = [0; N];
    let (head, rest) = data.split_at(data.len().min(N));
    taken[..head.len()].copy_from_slice(head);
    (taken, rest)
}

/// A pack of any bytes; a pack whose directory, sealed as it should be, says anything.
pub fn pack(data: &[u8]) {
    raw_pack(data, data.len() as u64);
    let (claimed, rest) = take(data);
    raw_pack(rest, u64::from_le_bytes(claimed));
    if let Some(id) = pack::parse_pack_name(&String::from_utf8_lossy(data)) {
        assert_eq!(pack::pack_name(id).as_bytes(), data);
    }
    let (body_len, directory) = take(data);
    let body_len = usize::from(u16::from_le_bytes(body_len));
    let mut bytes = [&prefix::PACK.bytes()[..], &PACK.0, &vec![1; body_len]].concat();
    let frames_end = bytes.len() as u64;
    bytes.extend_from_slice(&sealed_directory(directory));
    raw_pack(&bytes, bytes.len() as u64);
    if let Ok(frames) = pack::read_directory(keys(), PACK, &bytes, bytes.len() as u64) {
        let mut at = pack::HEADER_LEN as u64;
        for frame in &frames {
            assert_eq!(u64::from(frame.offset), at, "frames lie side by side");
            at += u64::from(frame.sealed_len);
        }
        assert_eq!(at, frames_end);
        assert!(frames.len() * 40 <= directory.len());
    }
}

/// A directory that says `plain`, and the footer that finds it.
fn sealed_directory(plain: &[u8]) -> Vec<u8> {
    let mut sealed = [plain, &[0; TAG_LEN]].concat();
    let len = u32::try_from(sealed.len()).unwrap_or(u32::MAX);
    let associated = pack::associated(&pack::header(PACK), Kind::Directory, len);
    keys()
        .pack(PACK)
        .seal(pack::DIRECTORY_NUMBER, &associated, &mut sealed);
    sealed.extend_from_slice(&len.to_le_bytes());
    sealed.extend_from_slice(&prefix::PACK_END.bytes());
    sealed
}

fn raw_pack(tail: &[u8], pack_len: u64) {
    match pack::read_directory(keys(), PACK, tail, pack_len) {
        Ok(frames) => {
            let first = frames.first().copied();
            for frame in frames.iter().take(4).chain(&first) {
                let from = (frame.offset as usize).min(tail.len());
                let to = (from + frame.sealed_len as usize).min(tail.len());
                drop(pack::open_frame(keys(), PACK, frame, &tail[from..to]));
            }
        }
        Err(Error::TooShort { need_bytes }) => {
            assert!(need_bytes > tail.len() as u64 && need_bytes <= pack_len);
        }
        Err(_) => {}
    }
}

/// Chunks of any lengths make a pack that reads back, and any change to it is found; a frame, sealed as
/// it should be, holds anything.
pub fn frames(data: &[u8]) {
    let (change, data) = take::<5>(data);
    let mut builder = PackBuilder::new(keys(), 64 << 10);
    let mut chunks = Vec::new();
    for chunk in data.split(|byte| *byte == b'|') {
        let chunk = chunk.repeat(usize::from(change[4] % 4) + 1);
        if builder.push(keys().chunk_id(&chunk), &chunk).is_ok() {
            chunks.push(chunk);
        }
    }
    let pack = builder.finish();
    let mut bytes = pack.body.to_bytes().to_vec();
    let len = bytes.len() as u64;
    let read = |bytes: &[u8]| -> Result<Vec<Vec<u8>>, Error> {
        let frames = pack::read_directory(keys(), pack.id, bytes, len)?;
        let chunk = |frame: &Frame| {
            let sealed = &bytes[frame.offset as usize..][..frame.sealed_len as usize];
            pack::open_frame(keys(), pack.id, frame, sealed).map(|chunk| chunk.to_vec())
        };
        frames.iter().map(chunk).collect()
    };
    assert!(read(&bytes).is_ok_and(|read| read == chunks));
    let [a, b, c, mask, _] = change;
    let at = usize::try_from(u32::from_le_bytes([a, b, c, 0])).unwrap_or(0) % bytes.len();
    bytes[at] ^= mask;
    assert!(mask == 0 || read(&bytes).is_err(), "byte {at} ^ {mask}");
    sealed_frame(u32::from_le_bytes([a, b, c, 0]), data);
}

/// A frame with a good tag and a chunk id that fits, over any bytes.
fn sealed_frame(plain_len: u32, packed: &[u8]) {
    let mut sealed = [packed, &[0; TAG_LEN]].concat();
    let plain = match packed.len() == plain_len as usize {
        true => Ok(packed.to_vec()),
        false => compress::unpack(packed, plain_len as usize),
    };
    let frame = Frame {
        chunk: plain
            .as_ref()
            .map_or(ChunkId([0; 32]), |plain| keys().chunk_id(plain)),
        slot: 0,
        offset: 24,
        sealed_len: u32::try_from(sealed.len()).unwrap_or(u32::MAX),
        plain_len,
    };
    let associated = pack::associated(&pack::header(PACK), Kind::Chunk, plain_len);
    keys().pack(PACK).seal(0, &associated, &mut sealed);
    if let Ok(opened) = pack::open_frame(keys(), PACK, &frame, &sealed[..]) {
        assert!(plain.is_ok_and(|plain| plain == opened));
        assert!(opened.len() <= packed.len() * 255);
    }
}

/// A journal part of any bytes; one whose seal fits; and what is sealed reads back.
pub fn part(data: &[u8]) {
    drop(segment::open_part(keys(), data));
    let salt = [5; 32];
    let mut text = [data, &[0; TAG_LEN]].concat();
    let associated = [&prefix::PART.bytes()[..], &salt].concat();
    keys().part(&salt).seal(0, &associated, &mut text);
    let bytes = [&associated[..], &text].concat();
    let Ok((header, plain)) = segment::open_part(keys(), &bytes) else {
        return;
    };
    assert!(plain.len() <= data.len() * 255, "bounded by what was given");
    let again = segment::seal_part(keys(), &header, &plain).expect("within bounds");
    let opened = segment::open_part(keys(), &again.to_bytes()).expect("just sealed");
    assert_eq!(opened, (header, plain));
}

/// A note of any bytes, and any bytes as a note.
pub fn note(data: &[u8]) {
    drop(note::open_note(keys(), "lease", data));
    if let Ok(sealed) = note::seal_note(keys(), "lease", data) {
        let bytes = sealed.to_bytes();
        assert_eq!(
            note::open_note(keys(), "lease", &bytes).as_deref(),
            Ok(data)
        );
        assert!(note::open_note(keys(), "card", &bytes).is_err());
    }
}

/// A superblock of any bytes, with a checksum that fits, and with a key holder's proof.
pub fn superblock(data: &[u8]) {
    superblock_bytes(data);
    let summed = [&prefix::SUPERBLOCK.bytes()[..], data].concat();
    let sum = crc32fast::hash(&summed).to_le_bytes();
    superblock_bytes(&[&summed[..], &sum].concat());
}

fn superblock_bytes(bytes: &[u8]) {
    let Ok(read) = Superblock::decode(bytes) else {
        return;
    };
    let proved = read.encode(&master()).to_bytes();
    let again = Superblock::decode(&proved).expect("just made");
    assert_eq!(again.places(), read.places());
    assert_eq!(
        (again.drive(), again.generation()),
        (read.drive(), read.generation())
    );
    assert_eq!(
        again.encode(&master()).to_bytes(),
        proved,
        "there is one form"
    );
    // A recovery key costs little to try; a passphrase may cost what the slot says.
    let recovery = Secret(Typed::Recovery(RecoveryKey(zeroize::Zeroizing::new(
        [1; 20],
    ))));
    drop(again.open(&recovery));
    let (next, key) = again.with_recovery(&master());
    let next = Superblock::decode(&next.encode(&master()).to_bytes()).expect("just made");
    assert!(next.open(&Secret(Typed::Recovery(key))).is_ok());
}

/// What a person types as a recovery key.
pub fn recovery_key(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(Secret(Typed::Recovery(key))) = Secret::recovery(&text) {
        let shown = key.to_string();
        let again = Secret::recovery(&shown);
        assert!(matches!(again, Ok(Secret(Typed::Recovery(again))) if again.0 == key.0));
    }
    let (bytes, _) = take(data);
    let key = RecoveryKey(zeroize::Zeroizing::new(bytes));
    let read = Secret::recovery(&key.to_string().to_lowercase());
    assert!(matches!(read, Ok(Secret(Typed::Recovery(read))) if read.0 == key.0));
}

/// Numbers and strings as all objects write them: whatever is read is written the same.
pub fn wire(data: &[u8]) {
    let (words, bytes) = data.split_at(data.len().min(16));
    let mut reader = Reader::new(bytes, "it");
    let mut writer = Writer::new();
    for word in words {
        let left = reader.remaining();
        let read = match word % 8 {
            0 => reader.u8().map(|value| writer.u8(value).len()),
            1 => reader.u16().map(|value| writer.u16(value).len()),
            2 => reader.u32().map(|value| writer.u32(value).len()),
            3 => reader.u64().map(|value| writer.u64(value).len()),
            4 => reader.varint().map(|value| writer.varint(value).len()),
            5 => reader.signed().map(|value| writer.signed(value).len()),
            6 => reader.bytes().map(|value| writer.bytes(value).len()),
            _ => reader
                .raw(usize::from(*word / 8))
                .map(|value| writer.raw(value).len()),
        };
        if read.is_err() {
            assert_eq!(reader.remaining(), left, "an error takes nothing");
        }
    }
    let taken = bytes.len() - reader.remaining();
    assert_eq!(writer.finish(), bytes[..taken], "there is one form");
}
