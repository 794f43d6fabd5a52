//! Every way to harm the journal: segments, checkpoints, the superblock.

use ods::drive::repair::Losses;
use ods::drive::verify::Depth;
use ods::drive::verify::Kind;
use ods::drive::verify::Report;
use ods::emulator::Fault;
use ods::emulator::FaultKind;
use ods::emulator::Recorded;
use ods::emulator::StoredAttachment;

use crate::world::HARMS;
use crate::world::Harm;
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

/// Epochs, each with a little change; a checkpoint comes after every second one.
fn more_epochs(world: &mut World, count: u64) {
    let (machine, mut text) = (world.open("first"), Vec::new());
    for _ in 0..count {
        text = noise(machine.drive.status().expect("readable").epoch, 300);
        machine.write("note.txt", &text);
        machine.flush();
    }
    machine.close();
    world.files.insert(String::from("note.txt"), text);
}

#[track_caller]
fn only(report: &Report, kind: Kind, cell: &str) {
    assert!(!report.healthy, "{cell}: {report:#?}");
    let kinds: Vec<_> = report.problems.iter().map(|problem| problem.kind).collect();
    assert!(kinds.iter().all(|of| *of == kind), "{cell}: {report:#?}");
}

fn hurt(world: &World, how: Harm, victim: &StoredAttachment, other: &StoredAttachment) {
    if how == Harm::Deletion {
        return world.delete(victim);
    }
    let mut bytes = world.bytes(victim);
    let before = bytes.clone();
    harm(how, &mut bytes, &world.bytes(other));
    assert!(bytes != before);
    world.replace(victim, bytes);
}

fn repaired(world: &World, cell: &str) {
    let first = world.open("first");
    first.check(cell, &world.files, &ALL);
    let report = first.verify(Depth::Full);
    only(&report, Kind::History, cell);
    let repaired = first.repair(Losses::Keep, None);
    assert!(repaired.left.is_empty(), "{cell}: {repaired:#?}");
    assert_eq!(repaired.repaired.checkpoints, 1, "{cell}");
    first.close();
    let stranger = world.fresh().expect("history is whole again");
    stranger.check(cell, &world.files, &ALL);
    let report = stranger.verify(Depth::Full);
    assert!(report.healthy, "{cell}: {report:#?}");
    stranger.close();
}

#[test]
fn a_harmed_segment() {
    let mut world = World::filled();
    for how in HARMS {
        let cell = format!("{how:?} of a segment");
        // The last epoch comes after the last checkpoint.
        more_epochs(&mut world, 4);
        while world.journal("c-").last().expect("one").id
            > world.journal("s-").last().expect("one").id
        {
            more_epochs(&mut world, 1);
        }
        let segments = world.journal("s-");
        let [.., older, victim] = &segments[..] else {
            panic!("segments");
        };
        let other = match how {
            Harm::Swap => &world.journal("c-")[0],
            _ => older,
        };
        hurt(&world, how, victim, other);
        // Another machine refuses, or has the state before; never a wrong one.
        if let Ok(stranger) = world.fresh() {
            assert_eq!(how, Harm::Deletion, "{cell}");
            let others: Vec<&str> = ALL[..4].to_vec();
            let mut files = world.files.clone();
            files.remove("note.txt");
            stranger.check(&cell, &files, &others);
            stranger.close();
        }
        repaired(&world, &cell);
    }
}

#[test]
fn a_segment_that_is_stored_shorter_than_it_is_told() {
    let world = World::filled();
    let route = format!("POST /channels/{}/messages", world.place.journal);
    let short = FaultKind::TruncateStore {
        keep_bytes: 100,
        recorded: Recorded::Full,
    };
    let machine = world.open("first");
    let text = noise(9, 300);
    machine.write("note.txt", &text);
    let fault = Fault::new(&route, short).times(2);
    let id = world.place.emulator.faults().add(fault);
    machine.flush();
    assert_eq!(world.place.emulator.faults().met(id), 2);
    machine.close();
    let mut files = world.files.clone();
    files.insert(String::from("note.txt"), text);
    let stranger = world.fresh().expect("history is whole");
    stranger.check("stored short", &files, &ALL);
    assert!(stranger.verify(Depth::Full).healthy);
    stranger.close();
}

#[test]
fn a_harmed_segment_in_the_middle() {
    let mut world = World::filled();
    more_epochs(&mut world, 5);
    let segments = world.journal("s-");
    let victim = &segments[segments.len() / 2];
    world.delete(victim);
    let first = world.open("first");
    let report = first.verify(Depth::Quick);
    only(&report, Kind::History, "deletion in the middle");
    first.close();
    repaired(&world, "deletion in the middle");
}

#[test]
fn a_harmed_checkpoint() {
    let mut world = World::filled();
    for how in HARMS {
        let cell = format!("{how:?} of a checkpoint");
        more_epochs(&mut world, 5);
        let checkpoints = world.journal("c-");
        let [.., older, victim] = &checkpoints[..] else {
            panic!("checkpoints");
        };
        let other = match how {
            Harm::Swap => &world.journal("s-")[0],
            _ => older,
        };
        hurt(&world, how, victim, other);
        let stranger = world.fresh().expect("an older checkpoint is there");
        stranger.check(&cell, &world.files, &ALL);
        stranger.close();
        repaired(&world, &cell);
    }
}

#[test]
fn a_harmed_superblock() {
    let world = World::filled();
    for how in HARMS {
        let cell = format!("{how:?} of the superblock");
        let superblocks = world.journal("b-");
        let victim = superblocks.last().expect("one");
        let other = match how {
            Harm::Swap => &world.journal("s-")[0],
            _ => &superblocks[0],
        };
        hurt(&world, how, victim, other);
        let read = world.superblock_on_discord();
        assert!(
            read.as_ref().ok() != Some(&world.superblock),
            "{cell}: nothing was harmed"
        );
        let first = world.open("first");
        first.check(&cell, &world.files, &ALL);
        only(&first.verify(Depth::Quick), Kind::Superblock, &cell);
        let repaired = first.repair(Losses::Keep, None);
        assert!(repaired.left.is_empty(), "{cell}: {repaired:#?}");
        assert_eq!(repaired.repaired.superblocks, 1, "{cell}");
        assert_eq!(
            world.superblock_on_discord().expect("readable"),
            world.superblock,
            "{cell}"
        );
        assert!(first.verify(Depth::Quick).healthy, "{cell}");
        first.close();
    }
}
