//! A state directory and a copy of it, as a move to another laptop, a backup or a cloned machine leaves them: the two
//! are two machines, and nothing that one of them synced or brought to Discord is lost by the other.

#[path = "support/ods.rs"]
mod support;

use std::fs;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use support::Machine;
use support::World;

/// Nothing is published unless a test asks for it.
const QUIET: [&str; 2] = ["-o", "linger=3600,age=3600"];

/// What is changed of a copy's state directory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Copy {
    /// As `cp -a` leaves it.
    Plain,
    /// Nothing tells the place of one from that of the other, as in a clone of a whole machine.
    Unnoticed,
}

/// The same as this machine: configuration and state, as they are now.
fn copy(world: &World, machine: &Machine, kind: Copy) -> Machine {
    let copied = world.machine();
    for part in ["config", "state"] {
        let mut cp = Command::new("cp");
        let ended = cp.arg("-a").arg(machine.path(part)).arg(copied.path(""));
        // What is removed while it is copied is not there.
        ended.output().expect("it ends");
    }
    // What runs is not copied.
    drop(fs::remove_dir_all(copied.path("state/ods/.running")));
    if kind == Copy::Unnoticed {
        fs::remove_file(copied.state("main").join("lineage")).expect("it was there");
    }
    copied
}

fn with_drive(world: &World) -> Machine {
    let machine = world.machine();
    machine.ods(&["init"]).good();
    machine.mount(&[]).good();
    fs::write(machine.mnt().join("first"), "first").expect("written");
    machine.ods(&["umount"]).good();
    machine
}

fn write_synced(machine: &Machine, name: &str) {
    let mut file = File::create(machine.mnt().join(name)).expect("made");
    file.write_all(name.as_bytes()).expect("written");
    file.sync_all().expect("durable");
}

#[track_caller]
fn has(machine: &Machine, names: &[&str]) {
    for name in names {
        let read = fs::read(machine.mnt().join(name));
        assert_eq!(read.expect(name), name.as_bytes());
    }
}

fn lacks(machine: &Machine, name: &str) -> bool {
    !machine.mnt().join(name).exists()
}

/// Mounts, writes, and brings it to Discord.
#[track_caller]
fn session(machine: &Machine, name: &str) {
    machine.mount(&[]).good();
    fs::write(machine.mnt().join(name), name).expect("written");
    machine.ods(&["umount"]).good();
}

/// Mounts, writes what is synced but not on Discord, and ends so.
#[track_caller]
fn leave_waiting(machine: &Machine, name: &str) {
    machine.mount(&QUIET).good();
    write_synced(machine, name);
    machine.ods(&["umount", "--force"]).good();
}

fn remove_spool(machine: &Machine) {
    fs::remove_dir_all(machine.state("main").join("spool")).expect("removed");
    fs::remove_file(machine.state("main").join("spool.end")).expect("removed");
}

fn remove_index(machine: &Machine) {
    fs::remove_dir_all(machine.state("main").join("index")).expect("removed");
}

/// The drive went on without what waits here: that is told, can be read, and is given up by doing as told.
fn is_told_of_the_fork(machine: &Machine, waits: &str) {
    let spool = machine.state("main").join("spool");
    let end = machine.state("main").join("spool.end");
    let paths = [spool, end].map(|path| path.to_str().expect("text").to_owned());
    let says = ["-o ro", paths[0].as_str(), paths[1].as_str()];
    machine.mount(&[]).bad(16, &says);
    machine.mount(&["-o", "ro"]).good();
    has(machine, &[waits]);
    let told = machine.ods(&["status"]).good().out;
    assert!(paths.iter().all(|path| told.contains(path)), "{told}");
    machine.ods(&["umount"]).bad(25, &["spool"]);
    remove_spool(machine);
    machine.mount(&[]).good();
    machine.ods(&["verify"]).good();
    machine.ods(&["umount"]).good();
}

#[test]
fn what_waits_in_one_is_not_lost_when_the_other_goes_on() {
    for kind in [Copy::Plain, Copy::Unnoticed] {
        let world = World::new();
        let machine = with_drive(&world);
        let copied = copy(&world, &machine, kind);
        leave_waiting(&machine, "precious");
        copied.mount(&[]).bad(17, &["takeover"]);
        copied.mount(&["-o", "takeover"]).good();
        for number in 0..9 {
            write_synced(&copied, &format!("file {number}"));
        }
        copied.ods(&["umount"]).good();
        is_told_of_the_fork(&machine, "precious");
    }
}

#[test]
fn both_at_once_are_two_machines() {
    for kind in [Copy::Plain, Copy::Unnoticed] {
        let world = World::new();
        let machine = with_drive(&world);
        let copied = copy(&world, &machine, kind);
        machine.mount(&[]).good();
        copied.mount(&[]).bad(17, &["in use", "takeover"]);
        fs::write(machine.mnt().join("second"), "second").expect("written");
        machine.ods(&["umount"]).good();
        copied.mount(&[]).good();
        has(&copied, &["first", "second"]);
        machine.mount(&[]).bad(17, &["in use", "takeover"]);
        copied.ods(&["umount"]).good();
    }
}

#[test]
fn they_take_turns_and_an_index_made_anew_tells_of_no_fork() {
    for kind in [Copy::Plain, Copy::Unnoticed] {
        let world = World::new();
        let machine = with_drive(&world);
        let copied = copy(&world, &machine, kind);
        session(&copied, "second");
        for (one, name) in [
            (&machine, "third"),
            (&copied, "fourth"),
            (&machine, "fifth"),
        ] {
            session(one, name);
            one.ods(&["sync", "--reset"]).good();
        }
        copied.ods(&["sync", "--reset"]).good();
        copied.mount(&[]).good();
        has(&copied, &["first", "second", "third", "fourth", "fifth"]);
        copied.ods(&["verify"]).good();
        copied.ods(&["umount"]).good();
    }
}

#[test]
fn a_copy_made_while_mounted_takes_nothing_away_unseen() {
    let world = World::new();
    let machine = with_drive(&world);
    machine.mount(&QUIET).good();
    write_synced(&machine, "second");
    machine.ods(&["flush"]).good();
    let noticed = copy(&world, &machine, Copy::Plain);
    let unnoticed = copy(&world, &machine, Copy::Unnoticed);
    // Nothing waits in it, so it is a machine like others.
    noticed.mount(&[]).bad(17, &["in use", "takeover"]);
    write_synced(&machine, "third");
    // For all that this one knows it was killed; the other hears of it before it publishes anything.
    session(&unnoticed, "fourth");
    machine.ods(&["flush"]).bad(16, &["spool"]);
    machine.ods(&["umount"]).bad(16, &["spool"]);
    is_told_of_the_fork(&machine, "third");
    machine.mount(&[]).good();
    has(&machine, &["first", "second", "fourth"]);
    machine.ods(&["umount"]).good();
}

#[test]
fn a_copy_that_is_mounted_unnoticed_is_heard_of_before_anything_is_published() {
    let world = World::new();
    let machine = with_drive(&world);
    machine.mount(&QUIET).good();
    let copied = copy(&world, &machine, Copy::Unnoticed);
    copied.mount(&QUIET).good();
    write_synced(&machine, "second");
    machine.ods(&["flush"]).bad(17, &["took the drive over"]);
    machine.ods(&["umount"]).bad(17, &["spool"]);
    write_synced(&copied, "third");
    copied.ods(&["umount"]).good();
    is_told_of_the_fork(&machine, "second");
}

#[test]
fn waiting_changes_that_were_copied_go_to_discord_from_one_of_the_two() {
    let world = World::new();
    let machine = with_drive(&world);
    leave_waiting(&machine, "precious");
    let copied = copy(&world, &machine, Copy::Plain);
    let other = copy(&world, &machine, Copy::Plain);
    let advice = ["copied or moved", "spool.end", "-o takeover"];
    copied.mount(&[]).bad(18, &advice);
    // The original is gone: as the message says, and nothing is lost, not even with the index.
    remove_index(&copied);
    copied.mount(&[]).bad(18, &advice);
    copied.mount(&["-o", "takeover"]).good();
    has(&copied, &["first", "precious"]);
    copied.ods(&["umount"]).good();
    session(&copied, "second");
    // The original is there after all, and so is another copy.
    is_told_of_the_fork(&machine, "precious");
    session(&machine, "third");
    remove_spool(&other);
    other.mount(&[]).good();
    has(&other, &["first", "precious", "second", "third"]);
    other.ods(&["umount"]).good();
}

#[test]
fn what_waits_survives_the_loss_of_the_index_and_a_fork_is_told_without_it() {
    let world = World::new();
    let machine = with_drive(&world);
    let copied = copy(&world, &machine, Copy::Unnoticed);
    for name in ["second", "third"] {
        leave_waiting(&machine, name);
        remove_index(&machine);
    }
    machine.mount(&QUIET).good();
    has(&machine, &["first", "second", "third"]);
    machine.ods(&["umount"]).good();
    leave_waiting(&machine, "fourth");
    remove_index(&machine);
    copied.mount(&["-o", "takeover"]).good();
    assert!(lacks(&copied, "fourth"));
    has(&copied, &["second", "third"]);
    for number in 0..9 {
        write_synced(&copied, &format!("file {number}"));
    }
    copied.ods(&["umount"]).good();
    is_told_of_the_fork(&machine, "fourth");
}

#[test]
fn a_state_directory_of_an_older_version_is_opened_as_ever() {
    let world = World::new();
    let machine = with_drive(&world);
    leave_waiting(&machine, "second");
    fs::remove_file(machine.state("main").join("lineage")).expect("removed");
    machine.mount(&[]).good();
    has(&machine, &["first", "second"]);
    machine.ods(&["umount"]).good();
    let moved = machine.path("moved");
    fs::rename(machine.state("main"), &moved).expect("moved");
    assert!(!machine.state("main").exists());
    let option = format!("state={}", text(&moved));
    machine.mount(&["-o", &option]).good();
    has(&machine, &["first", "second"]);
    machine.ods(&["umount"]).good();
}

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}
