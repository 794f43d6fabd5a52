//! The writer's side of the golden files: fixed keys and ids must give the same bytes for ever, and the
//! worked examples of `format.md` must be those bytes.
//!
//! That old files stay readable is tested from outside, in `tests/format.rs`.

use std::{collections::BTreeMap, fs, path::PathBuf};

use data_encoding::HEXLOWER_PERMISSIVE;
use zeroize::Zeroizing;

use crate::codec::VERSION;
use crate::codec::chunker::Chunker;
use crate::codec::chunker::End;
use crate::codec::key::Keys;
use crate::codec::key::MasterKey;
use crate::codec::key::RecoveryKey;
use crate::codec::key::Secret;
use crate::codec::note;
use crate::codec::pack::Pack;
use crate::codec::pack::PackBuilder;
use crate::codec::segment;
use crate::codec::segment::Kind;
use crate::codec::segment::PartHeader;
use crate::codec::superblock::Chance;
use crate::codec::superblock::Cost;
use crate::codec::superblock::Superblock;
use crate::codec::wire::Writer;
use crate::id::DriveId;
use crate::id::EpochNo;
use crate::id::PackId;

/// `N` bytes that count up from `first`.
fn counting<const N: usize>(first: u8) -> [u8; N] {
    let mut bytes = [first; N];
    for (place, byte) in (0..).zip(&mut bytes) {
        *byte += place;
    }
    bytes
}

fn chance() -> Chance {
    Chance {
        drive: DriveId(counting(0xa0)),
        master: MasterKey::from_bytes(counting(0x00)),
        recovery: RecoveryKey(Zeroizing::new(counting(0x60))),
        salts: [counting(0x20), counting(0x40)],
    }
}

fn keys() -> Keys {
    Keys::derive(&chance().master, chance().drive)
}

fn superblock() -> Superblock {
    let secret = Secret::passphrase("correct horse".into()).expect("not empty");
    Superblock::create_by(&chance(), &secret, Cost::LEAST, b"places".to_vec()).expect("in bounds")
}

fn pack() -> Pack {
    let keys = keys();
    let mut builder = PackBuilder::with_id(&keys, PackId(counting(0xb0)), 4096);
    for plain in [&b"hello, drive\n"[..], &b"ods ".repeat(50)] {
        builder.push(keys.chunk_id(plain), plain).expect("fits");
    }
    builder.finish()
}

/// Every golden file, by name.
fn made() -> BTreeMap<&'static str, Vec<u8>> {
    let keys = keys();
    let header = PartHeader {
        kind: Kind::Segment,
        epoch: EpochNo(1),
        set: counting(0xc0),
        part: 0,
        parts: 1,
        previous: [0; 32],
    };
    let part = segment::seal_part_with(&keys, &header, b"a batch", counting(0x20));
    let note = note::seal_note_with(&keys, "lease", b"held", counting(0x20));
    let sealed = [
        ("superblock", superblock().encode(&chance().master)),
        ("pack", pack().body),
        ("part", part.expect("in bounds")),
        ("note", note.expect("in bounds")),
    ];
    sealed
        .map(|(name, sealed)| (name, sealed.to_bytes().to_vec()))
        .into()
}

fn path(name: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.join(format!("tests/golden/v{VERSION}/{name}.bin"))
}

#[test]
fn fixed_ingredients_give_the_golden_bytes() {
    for (name, bytes) in made() {
        let golden = fs::read(path(name)).expect("the golden file is there");
        assert!(golden == bytes, "{name} is written otherwise than it was");
    }
}

#[test]
#[ignore = "writes the golden files of a new version; never for a released one"]
fn write_golden_files() {
    for (name, bytes) in made() {
        fs::write(path(name), bytes).expect("the golden file can be written");
    }
}

/// The blocks of `format.md` that begin with ```` ```hex NAME ````, without what follows a `#`.
fn examples() -> BTreeMap<&'static str, Vec<u8>> {
    let blocks = include_str!("format.md").split("\n```hex ").skip(1);
    blocks
        .map(|block| {
            let (name, block) = block.split_once('\n').expect("a name");
            let (block, _) = block.split_once("\n```").expect("an end");
            let hex: String = block
                .lines()
                .filter_map(|line| line.split('#').next())
                .flat_map(str::split_whitespace)
                .collect();
            let bytes = HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).expect(name);
            (name, bytes)
        })
        .collect()
}

#[test]
fn the_worked_examples_are_true() {
    let keys = keys();
    let mut expected = made();
    expected.extend(keys.shown());
    expected.insert("chunk id", keys.chunk_id(b"hello, drive\n").0.to_vec());
    expected.insert("part hash", segment::part_hash(&expected["part"]).to_vec());
    let hash = segment::segment_hash(&[segment::part_hash(&expected["part"])]);
    expected.insert("segment hash", hash.to_vec());
    let mut wire = Writer::new();
    wire.u16(1)
        .varint(300)
        .signed(-2)
        .bytes(b"name")
        .u32(0x0102_0304);
    expected.insert("wire", wire.finish());

    let examples = examples();
    assert_eq!(
        examples.keys().collect::<Vec<_>>(),
        expected.keys().collect::<Vec<_>>()
    );
    for (name, bytes) in expected {
        let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
        assert_eq!(hex(&examples[name]), hex(&bytes), "the example `{name}`");
    }
    let text = include_str!("format.md");
    assert!(text.contains(&chance().recovery.to_string()));
}

/// Other cuts would store again what every drive already has.
#[test]
fn cuts_never_move() {
    let mut data = vec![0; 10 << 20];
    blake3::Hasher::new().finalize_xof().fill(&mut data);
    let chunker = Chunker::new(&keys());
    let mut lengths = Vec::new();
    let mut rest = &data[..];
    while let Some(len) = chunker.cut(rest, End::Last) {
        lengths.push(len.to_string());
        rest = &rest[len..];
    }
    let text = include_str!("format.md");
    assert!(text.contains(&lengths.join(" ")), "{lengths:?}");
}
