//! Harm to the state directory: what waits in it is kept wherever that is possible, and what is lost is told.

#[path = "support/ods.rs"]
mod support;

use std::fs;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;

use support::Machine;
use support::World;
use support::noise;

const BYTES: usize = 300_000;

/// A machine on whose disk a synced file waits that is not on Discord, after an orderly end.
fn with_waiting(world: &World) -> Machine {
    let machine = world.machine();
    machine.ods(&["init"]).good();
    machine.mount(&["-o", "linger=3600,age=3600"]).good();
    fs::write(machine.mnt().join("safe"), "uploaded").expect("written");
    machine.ods(&["flush"]).good();
    let mut file = File::create(machine.mnt().join("waits")).expect("made");
    file.write_all(&noise(1, BYTES)).expect("written");
    file.sync_all().expect("durable");
    drop(file);
    machine.ods(&["umount", "--force"]).good();
    machine
}

/// The newest segment, which an orderly end has sealed.
fn newest(machine: &Machine) -> PathBuf {
    let entries = fs::read_dir(machine.state("main").join("spool")).expect("a spool");
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let is_sealed = |path: &PathBuf| path.extension().is_some_and(|end| end == "seg");
    assert!(paths.iter().all(is_sealed), "{paths:?}");
    paths.pop().expect("a segment")
}

fn waits_whole(machine: &Machine) {
    let read = fs::read(machine.mnt().join("waits")).expect("readable");
    assert!(read == noise(1, BYTES));
}

/// What is done to a segment.
type Harm = (&'static str, fn(&Path));

fn rewrite(path: &Path, harm: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).expect("readable");
    harm(&mut bytes);
    fs::write(path, bytes).expect("written");
}

const HARMS: [Harm; 6] = [
    ("a segment removed", |path| {
        fs::remove_file(path).expect("removed");
    }),
    ("the spool removed", |path| {
        let spool = path.parent().expect("a directory");
        fs::remove_dir_all(spool).expect("removed");
    }),
    ("a segment cut", |path| {
        rewrite(path, |bytes| bytes.truncate(bytes.len() - BYTES / 2));
    }),
    ("a segment emptied", |path| rewrite(path, Vec::clear)),
    ("garbage", |path| rewrite(path, |bytes| bytes.fill(0x5a))),
    ("4 KiB zeroed", |path| {
        rewrite(path, |bytes| {
            let at = bytes.len() - BYTES / 2;
            bytes[at..at + 4096].fill(0);
        });
    }),
];

#[test]
fn what_a_harmed_spool_has_lost_is_told_until_it_is_given_up() {
    for (what, harm) in HARMS {
        let world = World::new();
        let machine = with_waiting(&world);
        harm(&newest(&machine));
        machine.mount(&[]).good();
        let safe = fs::read(machine.mnt().join("safe")).expect("readable");
        assert_eq!(safe, b"uploaded", "{what}");
        let says = match what {
            "a segment cut" | "4 KiB zeroed" => "/waits",
            _ => "the local disk lost spool records",
        };
        let found = machine.ods(&["verify"]).bad(19, &[]).out;
        assert!(found.contains(says), "{what}: {found}");
        // It is still told when the journal has gone on and the drive was closed.
        fs::write(machine.mnt().join("later"), "later").expect("written");
        machine
            .ods(&["flush"])
            .bad(19, &["lost", "repair --forget"]);
        let status = machine.ods(&["status", "--json"]).good().json();
        let is_told = !status["lost_records"].is_null()
            || status["damaged"]
                .as_array()
                .is_some_and(|all| !all.is_empty());
        assert!(is_told, "{what}: {status:#}");
        machine.ods(&["umount"]).bad(19, &["lost"]);
        machine.ods(&["verify"]).bad(19, &[]);
        machine.ods(&["repair", "--forget"]).good();
        machine.ods(&["verify"]).good();
    }
}

#[test]
fn a_command_without_a_mount_tells_what_a_harmed_spool_has_lost() {
    for (what, harm) in HARMS {
        let world = World::new();
        let machine = with_waiting(&world);
        harm(&newest(&machine));
        let told = machine.ods(&["gc"]);
        assert_eq!(told.code, 19, "{what}: {told:?}");
        assert!(told.err.contains("repair --forget"), "{what}: {told:?}");
        machine.ods(&["repair", "--forget"]).good();
        machine.ods(&["gc"]).good();
    }
}

#[test]
fn a_segment_whose_header_is_lost_is_read_all_the_same() {
    let world = World::new();
    let machine = with_waiting(&world);
    rewrite(&newest(&machine), |bytes| bytes[..30].fill(0));
    machine.mount(&[]).good();
    waits_whole(&machine);
    machine.ods(&["umount"]).good();
    machine.ods(&["verify"]).good();
}

#[test]
fn what_waits_survives_the_loss_of_the_directory_s_name() {
    let harms: [fn(&Path); 4] = [
        |path| fs::write(path, "").expect("written"),
        |path| fs::write(path, [7; 20]).expect("written"),
        |path| fs::write(path, [7; 24]).expect("written"),
        |path| fs::remove_file(path).expect("removed"),
    ];
    for harm in harms {
        let world = World::new();
        let machine = with_waiting(&world);
        let state = machine.state("main");
        harm(&state.join("identity"));
        machine.mount(&["-o", "linger=3600,age=3600"]).good();
        waits_whole(&machine);
        machine.ods(&["umount", "--force"]).good();
        // The second copy has mended it. Without both, the machine is a stranger that knows what to do.
        harm(&state.join("identity"));
        harm(&state.join("identity.copy"));
        machine
            .mount(&[])
            .bad(17, &["the spool in it holds", "-o takeover"]);
        machine.mount(&["-o", "takeover"]).good();
        waits_whole(&machine);
        machine.ods(&["umount"]).good();
    }
}
