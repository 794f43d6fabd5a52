//! Every way to harm every part of a pack.

use std::ops::Range;

use ods::drive::repair::Losses;
use ods::drive::scope::Scope;
use ods::drive::verify::Depth;
use ods::drive::verify::Kind;

use crate::world::HARMS;
use crate::world::Harm;
use crate::world::World;

/// A part of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Header,
    Frame,
    Directory,
    Footer,
}

const HEADER: usize = 24;
const FOOTER: usize = 12;

/// Where a part lies in a pack.
fn range(part: Part, pack: &[u8]) -> Range<usize> {
    let footer = pack.len() - FOOTER;
    let length = pack[footer..footer + 4].try_into().expect("four bytes");
    let directory = footer - u32::from_le_bytes(length) as usize;
    match part {
        Part::Header => 0..HEADER,
        Part::Frame => HEADER..HEADER + 4096,
        Part::Directory => directory..footer,
        Part::Footer => footer..pack.len(),
    }
}

/// A pack with a part of it harmed; swap and replay take the same part of another pack.
fn harmed(harm: Harm, part: Part, pack: &[u8], other: &[u8]) -> Vec<u8> {
    let at = range(part, pack);
    let mut bytes = pack.to_vec();
    match harm {
        Harm::BitFlip => bytes[at.start + at.len() / 2] ^= 0x10,
        Harm::Truncation => bytes.truncate(at.start + at.len() / 2),
        Harm::Deletion => drop(bytes.drain(at)),
        Harm::Swap | Harm::Replay => {
            let from = other[range(part, other)].to_vec();
            bytes.splice(at, from);
        }
    }
    // Footers of packs with equally many frames are alike: then all of the other pack comes.
    match bytes == pack {
        true => other.to_vec(),
        false => bytes,
    }
}

const OTHERS: [&str; 3] = ["music/song.bin", "plain.bin", "note.txt"];
const ALL: [&str; 5] = [
    "photos/one.bin",
    "photos/again.bin",
    "music/song.bin",
    "plain.bin",
    "note.txt",
];

fn cells(part: Part) {
    let world = World::filled();
    for harm in HARMS {
        let cell = format!("{harm:?} of the {part:?} of a pack");
        // The newest pack of photos; what is repaired gets a newer one.
        let packs = world.packs();
        let thread = packs
            .iter()
            .find(|pack| pack.size > 3 << 20)
            .expect("the first pack of photos")
            .channel;
        let photos: Vec<_> = packs.iter().filter(|pack| pack.channel == thread).collect();
        let victim = photos.last().expect("a pack");
        let other = match harm {
            Harm::Replay => photos[0],
            _ => packs
                .iter()
                .find(|pack| pack.channel != thread)
                .expect("one"),
        };
        let bytes = harmed(harm, part, &world.bytes(victim), &world.bytes(other));
        world.replace(victim, bytes);

        let stranger = world.fresh().expect("the journal is whole");
        stranger.check(&cell, &world.files, &OTHERS);
        let report = stranger.verify(Depth::Full);
        let named: Vec<_> = report.problems.iter().flat_map(|of| &of.paths).collect();
        assert!(!report.healthy, "{cell}: {report:#?}");
        assert_eq!(named, ["/photos/again.bin", "/photos/one.bin"], "{cell}");
        for problem in &report.problems {
            assert!(matches!(problem.kind, Kind::Content | Kind::Pack), "{cell}");
            assert!(problem.advice.contains("ods repair"), "{cell}");
        }
        let music = Scope::of_path(b"music");
        let elsewhere = stranger.verify_in(music, Depth::Full).expect("it can look");
        assert!(elsewhere.healthy, "{cell}: {elsewhere:#?}");
        stranger.close();

        // The machine that wrote it has it in its cache.
        let first = world.open("first");
        let repaired = first.repair(Losses::Keep, None);
        assert!(
            repaired.complete && repaired.left.is_empty(),
            "{cell}: {repaired:#?}"
        );
        assert!(repaired.repaired.chunks > 0, "{cell}: {repaired:#?}");
        first.check(&cell, &world.files, &ALL);
        first.close();
        let stranger = world.fresh().expect("the journal is whole");
        let report = stranger.verify(Depth::Full);
        assert!(report.healthy, "{cell}: {report:#?}");
        stranger.check(&cell, &world.files, &ALL);
        stranger.close();
    }
}

#[test]
fn a_harmed_header() {
    cells(Part::Header);
}

#[test]
fn a_harmed_frame() {
    cells(Part::Frame);
}

#[test]
fn a_harmed_directory() {
    cells(Part::Directory);
}

#[test]
fn a_harmed_footer() {
    cells(Part::Footer);
}

#[test]
fn a_pack_that_somebody_deleted() {
    let world = World::filled();
    let packs = world.packs();
    let victim = packs.last().expect("a pack");
    world.delete(victim);
    let stranger = world.fresh().expect("the journal is whole");
    stranger.check("deletion of a pack", &world.files, &OTHERS);
    let report = stranger.verify(Depth::Quick);
    let named: Vec<_> = report.problems.iter().flat_map(|of| &of.paths).collect();
    assert_eq!(named, ["/photos/again.bin", "/photos/one.bin"]);
    assert!(report.problems[0].what.contains("is not on Discord"));

    // A machine without a copy finds the content in a file.
    let dir = tempfile::TempDir::new().expect("a directory");
    std::fs::create_dir(dir.path().join("old")).expect("a directory");
    let file = dir.path().join("old/copy");
    let left = stranger.repair(Losses::Keep, None);
    assert_eq!(left.left.len(), 1, "{left:#?}");
    std::fs::write(&file, &world.files["photos/one.bin"]).expect("written");
    let repaired = stranger.repair(Losses::Keep, Some(dir.path()));
    assert!(repaired.left.is_empty(), "{repaired:#?}");
    assert_eq!(repaired.repaired.from_files, repaired.repaired.chunks);
    stranger.close();
    let another = world.fresh().expect("the journal is whole");
    another.check("after the repair", &world.files, &ALL);
    let report = another.verify(Depth::Full);
    assert!(report.healthy, "{report:#?}");
    another.close();
}

#[test]
fn what_nothing_brings_back_is_an_error_for_ever_and_said_once_forgotten() {
    let world = World::filled();
    let packs = world.packs();
    world.delete(packs.last().expect("a pack"));
    let stranger = world.fresh().expect("the journal is whole");
    let kept = stranger.repair(Losses::Keep, None);
    assert!(kept.complete && !kept.left.is_empty(), "{kept:#?}");
    assert_eq!(kept.repaired.forgotten_bytes, 0);
    let forgot = stranger.repair(Losses::Forget, None);
    assert!(forgot.left.is_empty(), "{forgot:#?}");
    assert_eq!(forgot.repaired.forgotten_bytes, 3 << 20);
    stranger.close();
    let another = world.fresh().expect("the journal is whole");
    let report = another.verify(Depth::Full);
    assert!(report.healthy, "{report:#?}");
    assert!(
        report
            .notes
            .iter()
            .any(|note| note.contains("/photos/one.bin"))
    );
    another.check("forgotten", &world.files, &OTHERS);
    assert!(
        another.read("photos/one.bin").is_err(),
        "never zeros, never short"
    );
    // Writing it again heals it, of course.
    another.write("photos/one.bin", &world.files["photos/one.bin"]);
    another.flush();
    let report = another.verify(Depth::Full);
    assert!(report.healthy && report.notes.is_empty(), "{report:#?}");
    another.check("written again", &world.files, &ALL);
    another.close();
}

#[test]
fn content_that_no_file_needs_does_not_mislead_after_a_repair() {
    let world = World::filled();
    let packs = world.packs();
    let first = world.open("first");
    first.unlink("photos/one.bin");
    first.unlink("photos/again.bin");
    first.flush();
    world.delete(packs.last().expect("a pack"));
    first.close();
    let stranger = world.fresh().expect("the journal is whole");
    assert!(
        stranger.verify(Depth::Full).healthy,
        "nobody needs that pack"
    );
    stranger.write("photos/new.bin", &noise_of_photos(&world));
    stranger.flush();
    let report = stranger.verify(Depth::Quick);
    assert!(!report.healthy, "the same chunks counted as stored");
    stranger.repair(Losses::Keep, None);
    // Writing the same content again stores it, now and on other machines.
    stranger.write("photos/newer.bin", &noise_of_photos(&world));
    stranger.flush();
    let report = stranger.verify(Depth::Full);
    assert!(report.healthy, "{report:#?}");
    assert!(stranger.read("photos/new.bin") == Ok(noise_of_photos(&world)));
    stranger.close();
}

fn noise_of_photos(world: &World) -> Vec<u8> {
    world.files["photos/one.bin"].clone()
}
