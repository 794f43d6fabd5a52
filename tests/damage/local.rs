//! Every way to harm what lies on this machine: spool, cache, index.

use std::path::Path;
use std::path::PathBuf;

use ods::drive::repair::Losses;
use ods::drive::verify::Depth;
use ods::drive::verify::Kind;

use crate::world::Files;
use crate::world::HARMS;
use crate::world::Harm;
use crate::world::Machine;
use crate::world::World;
use crate::world::harm;
use crate::world::noise;

const ALL: [&str; 5] = [
    "photos/one.bin",
    "photos/again.bin",
    "music/song.bin",
    "plain.bin",
    "note.txt",
];

/// All files below a directory.
fn files_in(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).expect("readable").flatten() {
        match entry.path().is_dir() {
            true => found.extend(files_in(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found.sort();
    found
}

fn hurt(how: Harm, path: &Path, other: &[u8]) {
    if how == Harm::Deletion {
        return std::fs::remove_file(path).expect("removed");
    }
    let mut bytes = std::fs::read(path).expect("readable");
    harm(how, &mut bytes, other);
    std::fs::write(path, bytes).expect("written");
}

#[test]
fn a_harmed_spool_record() {
    for how in HARMS {
        let cell = format!("{how:?} of a spool record");
        let mut world = World::filled();
        let machine = world.open("first");
        machine.write("early.bin", &noise(50, 600_000));
        let dir = world.state("first").join("spool");
        let holds = |path: &Path, wanted: &[u8]| {
            // The spool removes what it needs no more, beside this test.
            let bytes = std::fs::read(path).unwrap_or_default();
            bytes.windows(64).any(|part| part == &wanted[..64])
        };
        let segment_of = |wanted: &[u8]| {
            let mut files = files_in(&dir).into_iter();
            files.find(|path| holds(path, wanted)).expect("a segment")
        };
        let open = segment_of(&noise(50, 600_000));
        let old = std::fs::read(&open).expect("readable");
        machine.write("late.bin", &noise(51, 900_000));
        machine.close();
        // Closing gave it another name.
        let segment = segment_of(&noise(51, 900_000));
        let bytes = std::fs::read(&segment).expect("readable");
        let body = noise(51, 900_000);
        let find = |wanted: &[u8]| bytes.windows(64).position(|part| part == &wanted[..64]);
        let at = find(&body).expect("the record's body") + 300_000;
        match how {
            Harm::BitFlip => {
                let mut bytes = bytes.clone();
                bytes[at] ^= 1;
                std::fs::write(&segment, bytes).expect("written");
            }
            Harm::Truncation => {
                std::fs::write(&segment, &bytes[..at]).expect("written");
            }
            Harm::Swap => {
                let mut bytes = bytes.clone();
                let other = find(&noise(50, 600_000)).expect("the other body");
                bytes.copy_within(other..other + 4096, at);
                std::fs::write(&segment, bytes).expect("written");
            }
            Harm::Replay => {
                std::fs::remove_file(&segment).expect("removed");
                std::fs::write(&open, &old).expect("written");
            }
            Harm::Deletion => std::fs::remove_file(&segment).expect("removed"),
        }
        world
            .files
            .insert(String::from("late.bin"), noise(51, 900_000));
        world
            .files
            .insert(String::from("early.bin"), noise(50, 600_000));
        let mut machine = world.open("first");
        if matches!(how, Harm::BitFlip | Harm::Swap | Harm::Truncation) {
            // The bytes of the record that was hit are lost, and what was before it is there.
            let mut must = ALL.to_vec();
            must.push("early.bin");
            machine.check(&cell, &world.files, &must);
            let report = machine.verify(Depth::Quick);
            let spool = report.problems.iter().find(|of| of.kind == Kind::Spool);
            let spool = spool.unwrap_or_else(|| panic!("{cell}: {report:#?}"));
            assert_eq!(spool.paths, ["/late.bin"], "{cell}");
            machine.flush();
            let report = machine.verify(Depth::Full);
            let lost = report.problems.iter().find(|of| of.kind == Kind::Lost);
            assert_eq!(lost.expect("told").paths, ["/late.bin"], "{cell}");
            machine.check(&cell, &world.files, &must);
            let forgot = machine.repair(Losses::Forget, None);
            assert!(forgot.left.is_empty(), "{cell}: {forgot:#?}");
            assert!(machine.read("late.bin").is_err(), "{cell}");
        } else {
            // The end of the log is gone with all that it knew; what is published is there, and the loss is told.
            let mut files = world.files.clone();
            files.remove("late.bin").expect("a file");
            let mut must = ALL.to_vec();
            match how {
                Harm::Replay => must.push("early.bin"),
                _ => drop(files.remove("early.bin")),
            }
            machine.check(&cell, &files, &must);
            let told = |machine: &Machine<'_>| {
                let report = machine.verify(Depth::Quick);
                assert_eq!(
                    report.healthy,
                    report.problems.is_empty(),
                    "{cell}: {report:#?}"
                );
                let mut kinds = report.problems.iter().map(|of| of.kind);
                kinds.any(|kind| kind == Kind::Spool)
            };
            assert!(told(&machine), "{cell}");
            // It is told until it is given up, also when the drive was closed meanwhile.
            machine.flush();
            machine.close();
            machine = world.open("first");
            assert!(told(&machine), "{cell}");
            let forgot = machine.repair(Losses::Forget, None);
            assert!(forgot.left.is_empty(), "{cell}: {forgot:#?}");
            assert!(!told(&machine), "{cell}");
        }
        machine.close();
        let stranger = world.fresh().expect("the journal is whole");
        stranger.check(&cell, &published(&world.files), &ALL);
        stranger.close();
    }
}

fn published(files: &Files) -> Files {
    let mut files = files.clone();
    files.retain(|path, _| ALL.contains(&path.as_str()));
    files
}

#[test]
fn a_harmed_cache_entry() {
    let world = World::filled();
    let dir = world.state("first").join("cache");
    for how in HARMS {
        let cell = format!("{how:?} of a cache entry");
        let slabs = files_in(&dir);
        let slab = slabs
            .iter()
            .filter(|path| path.extension().is_some_and(|end| end == "slab"))
            .max_by_key(|path| std::fs::metadata(path).map_or(0, |of| of.len()))
            .expect("a slab");
        let bytes = std::fs::read(slab).expect("readable");
        // Another frame's bytes, in the place of this one's.
        let mut other = bytes.clone();
        other.rotate_left(4096);
        hurt(how, slab, &other);
        let first = world.open("first");
        let report = first.verify(Depth::Full);
        assert!(report.healthy, "{cell}: the store is whole: {report:#?}");
        let said = report.notes.iter().any(|note| note.contains("cache"));
        assert!(said || how != Harm::BitFlip, "{cell}: {report:#?}");
        first.check(&cell, &world.files, &ALL);
        first.close();
    }
    let first = world.open("first");
    let report = first.verify(Depth::Full);
    assert!(report.notes.is_empty(), "{report:#?}");
    first.close();
}

#[test]
fn harmed_index_files() {
    let mut world = World::filled();
    let index = world.state("first").join("index");
    let old: Vec<(PathBuf, Vec<u8>)> = files_in(&index)
        .into_iter()
        .map(|path| (path.clone(), std::fs::read(path).expect("readable")))
        .collect();
    let machine = world.open("first");
    machine.write("note.txt", b"other words");
    machine.flush();
    machine.close();
    let note = b"other words".to_vec();
    world.files.insert(String::from("note.txt"), note);
    for how in HARMS {
        for path in files_in(&index) {
            // Opening what was harmed may have made other files.
            if !path.exists() {
                continue;
            }
            let name = path.strip_prefix(&index).expect("below").display();
            let cell = format!("{how:?} of {name} of the index");
            let was = std::fs::read(&path).expect("readable");
            if was.is_empty() {
                continue;
            }
            let other = match how {
                Harm::Replay => match old.iter().find(|(of, _)| *of == path) {
                    Some((_, bytes)) => bytes.clone(),
                    None => continue,
                },
                _ => noise(9, was.len()),
            };
            hurt(how, &path, &other);
            let first = world.open("first");
            first.check(&cell, &world.files, &ALL);
            let report = first.verify(Depth::Quick);
            assert!(report.healthy, "{cell}: {report:#?}");
            first.close();
        }
    }
}
