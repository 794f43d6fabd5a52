//! Harm to the state directory: what waits in it is kept wherever that is possible, and what is lost is told.

#[path = "support/ods.rs"]
mod support;

use std::fs;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;

use ods::emulator::ErrorBody;
use ods::emulator::Fault;
use ods::emulator::FaultKind;
use support::Foreground;
use support::Machine;
use support::World;
use support::is_mounted;
use support::noise;
use support::until;

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

fn in_foreground(machine: &Machine) -> Foreground {
    let mnt = machine.mnt();
    let mut mount = machine.start("ods-mount", &[mnt.to_str().expect("text")]);
    mount.says("main is mounted");
    mount
}

/// A view of the drive goes, and what is lost is told.
fn is_told_of_a_view(machine: &Machine, lost: &str) {
    let (mnt, view) = (machine.mnt(), machine.path("view"));
    fs::create_dir(&view).expect("made");
    let mut bind = std::process::Command::new("mount");
    let bound = bind.arg("--bind").args([&mnt, &view]).output();
    if bound.expect("it runs").status.success() {
        let at = view.to_str().expect("text");
        machine.ods(&["umount", at]).bad(19, &[lost]);
        assert!(!is_mounted(&view) && is_mounted(&mnt));
    }
}

#[test]
fn what_a_harmed_spool_has_lost_is_told_by_every_quick_end() {
    let lost = "the local disk lost spool records";
    let world = World::new();
    let machine = with_waiting(&world);
    fs::remove_file(newest(&machine)).expect("removed");
    let mount = in_foreground(&machine);
    machine.ods(&["flush"]).bad(19, &[lost]);
    machine.ods(&["umount", "--force"]).bad(19, &[lost]);
    mount.ended().bad(19, &[lost]);
    // So does what is asked when nobody serves the drive.
    let status = machine.ods(&["status"]).good().out;
    assert!(status.contains(lost), "{status}");
    assert!(status.contains("on Discord but what"), "{status}");
    let doctor = machine.ods(&["doctor"]).out;
    assert!(doctor.contains(lost), "{doctor}");
    let mut mount = in_foreground(&machine);
    is_told_of_a_view(&machine, lost);
    let held = File::open(machine.mnt().join("safe")).expect("there");
    let refused = machine.ods(&["umount"]).bad(22, &["is in use", lost]);
    assert!(!refused.err.contains("Everything so far"), "{refused:?}");
    mount.signal("TERM");
    mount.says("programs still use the drive");
    mount.signal("TERM");
    mount.ended().bad(19, &[lost]);
    drop(held);
}

#[test]
fn a_read_only_mount_in_use_does_not_say_that_what_waits_is_on_discord() {
    let world = World::new();
    let machine = with_waiting(&world);
    machine.mount(&["-o", "ro"]).good();
    let held = File::open(machine.mnt().join("safe")).expect("there");
    let refused = machine
        .ods(&["umount"])
        .bad(22, &["is in use", "not on Discord yet"]);
    assert!(!refused.err.contains("Everything so far"), "{refused:?}");
    drop(held);
    machine.ods(&["umount"]).bad(25, &["not on Discord"]);
    let status = machine.ods(&["status", "--json"]).good().json();
    assert_eq!(status["unpublished"], true);
}

#[test]
fn a_command_without_a_mount_that_is_ended_leaves_no_word_that_everything_is_on_discord() {
    let world = World::new();
    let machine = world.machine();
    machine.ods(&["init"]).good();
    machine.mount(&[]).good();
    machine.ods(&["umount"]).good();
    let unavailable = FaultKind::Error {
        status: 503,
        body: ErrorBody::default(),
    };
    // The lease is the first.
    let fault = Fault::new("POST /channels/{}/messages", unavailable).after(1);
    let faults = world.emulator.faults();
    for (seed, signal, code, says) in [
        (1, "INT", 26, "not on Discord yet"),
        (2, "KILL", -1, "not ended cleanly"),
    ] {
        let big = machine.path(signal);
        fs::write(&big, noise(seed, 6 << 20)).expect("written");
        let status = machine.ods(&["status", "--json"]).good().json();
        assert_eq!(status["unpublished"], false);
        let refused = faults.add(fault.clone());
        let words = ["upload", "--yes", big.to_str().expect("text")];
        let upload = machine.start("ods", &words);
        until("an upload", || faults.met(refused) > 0);
        upload.signal(signal);
        upload.ended().bad(code, &[]);
        let status = machine.ods(&["status", "--json"]).good().json();
        assert_ne!(status["unpublished"], false, "{signal}");
        let page = machine.ods(&["status"]).good().out;
        assert!(page.contains(says), "{signal}: {page}");
        let doctor = machine.ods(&["doctor"]).out;
        assert!(doctor.contains(says), "{signal}: {doctor}");
        faults.clear();
        machine.mount(&[]).good();
        machine.ods(&["umount"]).good();
    }
}

#[test]
fn a_forced_end_names_the_directory_in_which_changes_wait() {
    let world = World::new();
    let machine = world.machine();
    machine.ods(&["init"]).good();
    let state = machine.path("other");
    fs::rename(machine.state("main"), &state).expect("moved");
    let options = format!("linger=3600,age=3600,state={}", state.display());
    machine.mount(&["-o", &options]).good();
    fs::write(machine.mnt().join("waits"), noise(1, BYTES)).expect("written");
    let dir = state.to_str().expect("text");
    let ended = machine.ods(&["umount", "--force"]).good();
    assert!(ended.err.contains(dir), "{ended:?}");
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
