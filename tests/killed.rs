//! Commands that are killed at each of their requests: the same command again ends well, and nothing is lost.

#[path = "support/made.rs"]
mod made;
#[path = "support/moment.rs"]
mod moment;
#[path = "support/ods.rs"]
mod support;

use std::fs::File;
use std::io::Write;
use std::path::Path;

use made::BYTES;
use made::Contents;
use made::contents;
use made::holds;
use made::is_healthy;
use made::is_of_use;
use made::made_after;
use made::put;
use made::recovery_key;
use moment::Moment;
use moment::kill_at;
use ods::emulator::When;
use support::Machine;
use support::PASSPHRASE;
use support::World;
use support::noise;

/// Kills `ods init` at one moment; was there such a moment?
fn init_is_killed_at(moment: Moment) -> bool {
    println!("{moment:?}");
    let world = World::new();
    let machine = world.machine();
    let Some(killed) = kill_at(&world, &machine, &["init"], moment) else {
        return false;
    };
    let key = made_after(&machine, &killed);
    is_of_use(&world, &machine, &key);
    true
}

#[test]
fn an_init_that_is_killed_at_any_change_leaves_one_drive_or_none() {
    let mut killed = 0;
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        let mut moment = Moment::first(method);
        while init_is_killed_at(moment) {
            moment = moment.next();
            killed += 1;
        }
    }
    // Two channels, the superblock, and its pin.
    assert!(killed >= 8, "killed {killed} times");
}

fn copy_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("made");
    for entry in std::fs::read_dir(from).expect("a directory") {
        let (path, entry) = entry.map(|entry| (entry.path(), entry)).expect("an entry");
        let target = to.join(entry.file_name());
        match entry.file_type().expect("a type") {
            kind if kind.is_dir() => copy_all(&path, &target),
            kind if kind.is_file() => drop(std::fs::copy(&path, &target).expect("copied")),
            // The socket of a mount that is gone.
            _ => {}
        }
    }
}

/// Puts what is in a directory back as it was. The directory itself stays: another one would be a copy.
fn put_back(kept: &Path, dir: &Path) {
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => std::fs::remove_dir_all(&path).expect("removed"),
            false => std::fs::remove_file(&path).expect("removed"),
        }
    }
    copy_all(kept, dir);
}

/// A machine that has seen the drive's beginning alone, and what the drive holds now.
fn behind(world: &World) -> (Machine, Contents) {
    let first = world.machine();
    first.ods(&["init"]).good();
    first.mount(&[]).good();
    put(&first.mnt(), "old/gone", &noise(1, BYTES));
    put(&first.mnt(), "old/stays", &noise(2, BYTES));
    first.ods(&["flush"]).good();
    let behind = world.machine();
    behind.ods(&["init", "--join"]).good();
    for nth in 3..6 {
        put(&first.mnt(), &format!("new/file{nth}"), &noise(nth, BYTES));
        first.ods(&["flush"]).good();
    }
    std::fs::remove_file(first.mnt().join("old/gone")).expect("removed");
    std::fs::rename(first.mnt().join("old/stays"), first.mnt().join("moved")).expect("renamed");
    let wanted = contents(&first.mnt());
    first.ods(&["umount"]).good();
    (behind, wanted)
}

/// Kills a command at each of its requests, each time on the same state; then runs it to its end.
fn is_killed_everywhere(world: &World, machine: &Machine, words: &[&str], wanted: &Contents) {
    let (state, kept) = (machine.state("main"), machine.path("kept"));
    copy_all(&state, &kept);
    let mut moment = Moment {
        when: When::After,
        ..Moment::first("GET")
    };
    while kill_at(world, machine, words, moment).is_some() {
        let what = format!("{words:?} {moment:?}");
        println!("{what}");
        match moment.nth % 2 {
            0 => drop(machine.ods(words).good()),
            _ => is_healthy(machine),
        }
        holds(machine, wanted, &what);
        put_back(&kept, &state);
        // A request that only reads is the same before and after it is carried out.
        moment = moment.next().next();
    }
    assert!(moment.nth >= 4, "killed {} times", moment.nth);
    holds(machine, wanted, "at the end");
    is_healthy(machine);
}

#[test]
fn a_sync_that_is_killed_at_any_request_loses_nothing() {
    let world = World::new();
    let (machine, wanted) = behind(&world);
    is_killed_everywhere(&world, &machine, &["sync"], &wanted);
}

#[test]
fn a_reset_that_is_killed_at_any_request_loses_nothing_that_waits_either() {
    let world = World::new();
    let machine = world.machine();
    machine.ods(&["init"]).good();
    let mnt = machine.mnt();
    let args = [mnt.to_str().expect("text"), "-o", "linger=3600,age=3600"];
    let mut mount = machine.start("ods-mount", &args);
    mount.says("main is mounted");
    put(&mnt, "safe/one", &noise(1, BYTES));
    put(&mnt, "safe/two", &noise(2, BYTES));
    machine.ods(&["flush"]).good();
    put(&mnt, "waits/three", &noise(3, BYTES));
    std::fs::remove_file(mnt.join("safe/one")).expect("removed");
    let wanted = contents(&mnt);
    mount.stop();
    machine
        .ods(&["umount", args[0]])
        .bad(25, &["its daemon was gone"]);
    is_killed_everywhere(&world, &machine, &["sync", "--reset"], &wanted);
    // What waited comes to Discord, and is there for everybody.
    machine.mount(&[]).good();
    machine.ods(&["umount"]).good();
    let elsewhere = world.machine();
    elsewhere.ods(&["init", "--join"]).good();
    is_healthy(&elsewhere);
    holds(&elsewhere, &wanted, "elsewhere");
}

/// The first one has seen that there is no drive, and waits for its passphrase; another one is faster.
#[test]
fn two_inits_at_once_make_one_drive() {
    let world = World::new();
    let (mut slow, fast) = (world.machine(), world.machine());
    let pipe = slow.path("passphrase");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo runs").success());
    slow.unset("ODS_PASSPHRASE");
    let command = format!("cat {}", pipe.display());
    let running = slow.start("ods", &["init", "--passphrase-command", &command]);
    // It opens when somebody reads.
    let mut typist = File::options().write(true).open(&pipe).expect("opened");
    let made = fast.ods(&["init"]).good();
    typist.write_all(b"another passphrase").expect("typed");
    drop(typist);
    running.ended().bad(6, &["--join"]);
    let key = recovery_key(&made).expect("a key").to_owned();
    is_of_use(&world, &fast, &key);
    slow.set("ODS_PASSPHRASE", PASSPHRASE);
    slow.ods(&["init", "--join"]).good();
    is_healthy(&slow);
}
