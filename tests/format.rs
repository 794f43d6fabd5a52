//! What `src/codec/format.md` promises, seen from outside: old files are read, damage and lies are found,
//! and no input makes a reader panic.

use std::fs;

use ods::codec::Error;
use ods::codec::chunker::Chunker;
use ods::codec::chunker::End;
use ods::codec::key::Keys;
use ods::codec::key::MasterKey;
use ods::codec::key::Secret;
use ods::codec::note::open_note;
use ods::codec::note::seal_note;
use ods::codec::pack::Frame;
use ods::codec::pack::PackBuilder;
use ods::codec::pack::open_frame;
use ods::codec::pack::read_directory;
use ods::codec::segment::Kind;
use ods::codec::segment::PartHeader;
use ods::codec::segment::open_part;
use ods::codec::segment::seal_part;
use ods::codec::superblock::Cost;
use ods::codec::superblock::Superblock;
use ods::codec::wire::Reader;
use ods::codec::wire::Writer;
use ods::id::ChunkId;
use ods::id::DriveId;
use ods::id::EpochNo;
use ods::id::PackId;
use proptest::prelude::*;

fn golden(name: &str) -> Vec<u8> {
    let root = env!("CARGO_MANIFEST_DIR");
    fs::read(format!("{root}/tests/golden/v1/{name}.bin")).expect("the golden file is there")
}

fn counting<const N: usize>(first: u8) -> [u8; N] {
    std::array::from_fn(|place| first + u8::try_from(place).expect("short"))
}

/// The keys of the golden files.
fn keys() -> Keys {
    Keys::derive(&MasterKey::from_bytes(counting(0)), DriveId(counting(0xa0)))
}

fn passphrase(text: &str) -> Secret {
    Secret::passphrase(text.into()).expect("not empty")
}

const GOLDEN_PACK: PackId = PackId([
    0xb0, 0xb1, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba, 0xbb, 0xbc, 0xbd, 0xbe, 0xbf,
]);

/// Everything a pack holds, read the way a reader does that has all of it.
fn read_pack(keys: &Keys, id: PackId, bytes: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
    let frames = read_directory(keys, id, bytes, bytes.len() as u64)?;
    frames
        .iter()
        .map(|frame| {
            let sealed = &bytes[frame.offset as usize..][..frame.sealed_len as usize];
            open_frame(keys, id, frame, sealed).map(|plain| plain.to_vec())
        })
        .collect()
}

fn open_superblock(bytes: &[u8], secret: &Secret) -> Result<MasterKey, Error> {
    Superblock::decode(bytes)?.open(secret)
}

type Read = fn(&[u8]) -> Result<(), Error>;

/// Each kind of object with the way to read all of it.
const OBJECTS: [(&str, Read); 4] = [
    ("superblock", |bytes| {
        open_superblock(bytes, &passphrase("correct horse")).map(drop)
    }),
    ("pack", |bytes| {
        read_pack(&keys(), GOLDEN_PACK, bytes).map(drop)
    }),
    ("part", |bytes| open_part(&keys(), bytes).map(drop)),
    ("note", |bytes| open_note(&keys(), "lease", bytes).map(drop)),
];

#[test]
fn golden_files_of_version_1_are_read() {
    let superblock = Superblock::decode(&golden("superblock")).expect("well made");
    assert_eq!(superblock.drive(), DriveId(counting(0xa0)));
    assert_eq!((superblock.version(), superblock.generation()), (1, 1));
    assert_eq!(superblock.places(), b"places");
    let recovery =
        Secret::recovery("mbqw ey3e mvtg o2dj njvw y3lo n5yh c4tt m3gx").expect("as printed");
    for secret in [passphrase("correct horse"), recovery] {
        let master = superblock.open(&secret).expect("it fits");
        let opened = Keys::derive(&master, superblock.drive());
        assert_eq!(opened.chunk_id(b"x"), keys().chunk_id(b"x"));
    }

    let chunks = read_pack(&keys(), GOLDEN_PACK, &golden("pack"));
    let expected = vec![b"hello, drive\n".to_vec(), b"ods ".repeat(50)];
    assert_eq!(chunks, Ok(expected));

    let header = PartHeader {
        kind: Kind::Segment,
        epoch: EpochNo(1),
        set: counting(0xc0),
        part: 0,
        parts: 1,
        previous: [0; 32],
    };
    let part = open_part(&keys(), &golden("part"));
    assert_eq!(part, Ok((header, b"a batch".to_vec())));
    assert!(header.is_last());

    let note = open_note(&keys(), "lease", &golden("note"));
    assert_eq!(note, Ok(b"held".to_vec()));
}

#[test]
fn every_changed_bit_is_found() {
    for (name, read) in OBJECTS {
        let bytes = golden(name);
        assert_eq!(read(&bytes), Ok(()));
        let step = if name == "superblock" { 3 } else { 1 };
        for bit in (0..bytes.len() * 8).step_by(step) {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&changed).is_err(), "bit {bit} of the {name}");
        }
    }
}

#[test]
fn every_truncation_and_extension_is_found() {
    for (name, read) in OBJECTS {
        let bytes = golden(name);
        for len in 0..bytes.len() {
            assert!(read(&bytes[..len]).is_err(), "{len} bytes of the {name}");
            assert!(read(&bytes[bytes.len() - len..]).is_err());
        }
        for more in [&[0][..], &[0; 16], &bytes] {
            assert!(read(&[&bytes, more].concat()).is_err(), "a longer {name}");
            assert!(read(&[more, &bytes].concat()).is_err());
        }
    }
}

#[test]
fn objects_of_one_kind_are_not_taken_for_another() {
    for (name, read) in OBJECTS {
        for (other, _) in OBJECTS.iter().filter(|(other, _)| *other != name) {
            let refused = read(&golden(other));
            assert!(matches!(refused, Err(Error::Damaged { .. })), "{other}");
        }
    }
}

#[test]
fn a_newer_version_asks_for_a_newer_program() {
    for (name, read) in OBJECTS {
        let mut bytes = golden(name);
        bytes[6..8].copy_from_slice(&7_u16.to_le_bytes());
        let refused = read(&bytes);
        let newer = matches!(
            refused,
            Err(Error::NewerVersion {
                found: 7,
                known: 1,
                ..
            })
        );
        assert!(newer, "{name}: {refused:?}");
    }
    let mut pack = golden("pack");
    let end = pack.len() - 2;
    pack[end..].copy_from_slice(&7_u16.to_le_bytes());
    let tail = read_directory(&keys(), GOLDEN_PACK, &pack[50..], pack.len() as u64);
    assert!(matches!(tail, Err(Error::NewerVersion { found: 7, .. })));
}

#[test]
fn a_wrong_secret_is_not_called_damage_and_damage_is_not_called_a_wrong_secret() {
    let bytes = golden("superblock");
    let wrong = open_superblock(&bytes, &passphrase("correct horsf"));
    assert_eq!(wrong.err(), Some(Error::WrongKey));
    for at in 8..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        let refused = open_superblock(&changed, &passphrase("correct horse"));
        assert!(matches!(refused, Err(Error::Damaged { .. })), "byte {at}");
    }
}

#[test]
fn frames_exchanged_within_a_pack_are_found() {
    let keys = keys();
    let mut builder = PackBuilder::new(&keys, 1 << 20);
    for plain in [[1; 64], [2; 64]] {
        builder.push(keys.chunk_id(&plain), &plain).expect("fits");
    }
    let pack = builder.finish();
    let [first, second] = pack.frames[..] else {
        panic!("two chunks");
    };
    let mut bytes = pack.body.to_bytes().to_vec();
    assert_eq!(first.sealed_len, second.sealed_len);
    let (a, b) = bytes.split_at_mut(second.offset as usize);
    a[first.offset as usize..].swap_with_slice(&mut b[..second.sealed_len as usize]);
    assert!(read_pack(&keys, pack.id, &bytes).is_err());
}

#[test]
fn nothing_readable_is_left_in_sealed_bytes() {
    let keys = keys();
    let text = b"a line that must not be seen ";
    let mut builder = PackBuilder::new(&keys, 1 << 20);
    let id = keys.chunk_id(text);
    builder.push(id, text).expect("fits");
    let pack = builder.finish().body.to_bytes();
    let note = seal_note(&keys, "a label", text).expect("short").to_bytes();
    let seen = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).any(|part| part == what);
    for bytes in [pack, note] {
        assert!(!seen(&bytes, &text[..4]) && !seen(&bytes, &id.0[..4]) && !seen(&bytes, b"label"));
    }
}

/// A pack may hold anything; its bytes then come back, whatever order they are asked for in.
fn chunks() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let noise = prop::collection::vec(any::<u8>(), 1..2000);
    let text = (any::<u8>(), 1..20_000_usize).prop_map(|(byte, len)| vec![byte; len]);
    prop::collection::vec(prop_oneof![noise, text], 0..12)
}

fn change() -> impl Strategy<Value = (usize, u8)> {
    (any::<usize>(), 1..=255_u8)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn packs_give_back_what_they_took(chunks in chunks()) {
        let keys = keys();
        let mut builder = PackBuilder::new(&keys, 1 << 20);
        for plain in &chunks {
            builder.push(keys.chunk_id(plain), plain).expect("fits");
        }
        let pack = builder.finish();
        prop_assert_eq!(read_pack(&keys, pack.id, &pack.body.to_bytes()), Ok(chunks));
    }

    #[test]
    fn parts_give_back_what_they_took(plain in prop::collection::vec(0..4_u8, 0..3000), part in 0..9_u32) {
        let header = PartHeader {
            kind: Kind::Checkpoint,
            epoch: EpochNo(u64::MAX),
            set: [1; 16],
            part,
            parts: 0,
            previous: [2; 32],
        };
        let sealed = seal_part(&keys(), &header, &plain).expect("in bounds");
        prop_assert_eq!(open_part(&keys(), &sealed.to_bytes()), Ok((header, plain)));
    }

    #[test]
    fn noise_is_refused(noise in prop::collection::vec(any::<u8>(), 0..400), object in 0..4_usize) {
        let (name, read) = OBJECTS[object];
        prop_assert!(read(&noise).is_err());
        let prefix = golden(name)[..8].to_vec();
        prop_assert!(read(&[prefix, noise].concat()).is_err());
    }

    #[test]
    fn changed_objects_are_refused(changes in prop::collection::vec(change(), 1..6), object in 1..4_usize) {
        let (name, read) = OBJECTS[object];
        let bytes = golden(name);
        let mut changed = bytes.clone();
        for (at, with) in changes {
            let at = at % bytes.len();
            changed[at] ^= with;
        }
        prop_assume!(changed != bytes);
        prop_assert!(read(&changed).is_err());
    }

    /// A forger can make the checksum fit: the fields must hold by themselves.
    #[test]
    fn superblocks_with_right_checksums_never_panic(changes in prop::collection::vec(change(), 1..6), cut in 0..200_usize) {
        let mut bytes = golden("superblock");
        bytes.truncate(bytes.len() - 4 - cut);
        for (at, with) in changes {
            let at = 8 + at % (bytes.len() - 8);
            bytes[at] ^= with;
        }
        let sum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());
        let _ = Superblock::decode(&bytes);
    }

    #[test]
    fn tails_of_any_length_say_what_they_need(len in 0..=208_usize, pack_len in 0..400_u64) {
        let pack = golden("pack");
        let tail = &pack[pack.len() - len..];
        match read_directory(&keys(), GOLDEN_PACK, tail, pack_len) {
            Err(Error::TooShort { need_bytes }) => {
                prop_assert!(need_bytes > len as u64 && need_bytes <= pack_len);
            }
            Ok(_) => prop_assert_eq!(pack_len, 208),
            Err(_) => {}
        }
    }

    #[test]
    fn frames_from_nowhere_are_refused(
        (slot, offset, sealed_len, plain_len) in any::<(u32, u32, u32, u32)>(),
        sealed in prop::collection::vec(any::<u8>(), 0..100),
        honest in any::<bool>(),
    ) {
        let sealed_len = if honest { u32::try_from(sealed.len()).expect("short") } else { sealed_len };
        let frame = Frame { chunk: ChunkId([0; 32]), slot, offset, sealed_len, plain_len };
        prop_assert!(open_frame(&keys(), GOLDEN_PACK, &frame, &sealed[..]).is_err());
    }

    #[test]
    fn wire_values_come_back(
        number in any::<u64>(),
        signed in any::<i64>(),
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut writer = Writer::new();
        writer.varint(number).signed(signed).bytes(&bytes).varint(number >> 40);
        let written = writer.finish();
        let mut reader = Reader::new(&written, "it");
        prop_assert_eq!(reader.varint(), Ok(number));
        prop_assert_eq!(reader.signed(), Ok(signed));
        prop_assert_eq!(reader.bytes(), Ok(&bytes[..]));
        prop_assert_eq!(reader.varint(), Ok(number >> 40));
        prop_assert_eq!(reader.finish(), Ok(()));
    }

    /// Whatever is read as a value would have been written with just these bytes.
    #[test]
    fn wire_readers_take_anything(noise in prop::collection::vec(any::<u8>(), 0..40), asks in prop::collection::vec(0..9_u8, 0..20)) {
        let mut reader = Reader::new(&noise, "it");
        for ask in asks {
            let before = reader.remaining();
            let mut again = Writer::new();
            let ok = match ask {
                0 => reader.u8().map(|v| { again.u8(v); }),
                1 => reader.u16().map(|v| { again.u16(v); }),
                2 => reader.u32().map(|v| { again.u32(v); }),
                3 => reader.u64().map(|v| { again.u64(v); }),
                4 => reader.varint().map(|v| { again.varint(v); }),
                5 => reader.signed().map(|v| { again.signed(v); }),
                6 => reader.bytes().map(|v| { again.bytes(v); }),
                7 => reader.varint_u32().map(|v| { again.varint(v.into()); }),
                _ => reader.array::<3>().map(|v| { again.raw(&v); }),
            };
            let taken = before - reader.remaining();
            prop_assert_eq!(ok.is_ok(), taken > 0);
            let at = noise.len() - before;
            prop_assert_eq!(again.as_bytes(), &noise[at..at + taken]);
        }
    }

    #[test]
    fn typed_recovery_keys_never_panic(text in "\\PC{0,60}") {
        let _ = Secret::recovery(&text);
        let _ = Secret::recovery(&format!("ods-recovery-{text}"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(12) })]

    /// However the bytes of a file arrive, its chunks are the same.
    #[test]
    fn cuts_do_not_depend_on_how_bytes_arrive(seed in any::<u64>(), len in 0..9_000_000_usize, step in 4096..5_000_000_usize) {
        let mut data = vec![0; len];
        blake3::Hasher::new_keyed(&[7; 32]).update(&seed.to_le_bytes()).finalize_xof().fill(&mut data);
        let chunker = Chunker::new(&keys());
        let mut whole = Vec::new();
        let mut rest = &data[..];
        while let Some(len) = chunker.cut(rest, End::Last) {
            whole.push(len);
            rest = &rest[len..];
        }
        let (mut pieces, mut start, mut arrived) = (Vec::new(), 0, 0);
        while start < data.len() {
            let end = if arrived == data.len() { End::Last } else { End::More };
            match chunker.cut(&data[start..arrived], end) {
                Some(len) => { pieces.push(len); start += len; }
                None => arrived = (arrived + step).min(data.len()),
            }
        }
        prop_assert_eq!(whole, pieces);
    }
}

/// Trials are cheap, so a real passphrase never is by accident.
#[test]
fn the_usual_cost_is_the_recommended_one() {
    let Cost { log2_n, r, p } = Cost::default();
    assert_eq!((log2_n, r, p), (17, 8, 1));
}
