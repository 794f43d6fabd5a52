//! `ods gc` as people run it: real binaries, a real mount, an emulated Discord.

#[path = "support/ods.rs"]
mod support;

use std::path::Path;

use serde_json::Value;
use support::Machine;
use support::World;
use support::noise;

fn put(dir: &Path, name: &str, seed: u64) {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().expect("a directory")).expect("made");
    std::fs::write(path, noise(seed, 3 << 20)).expect("written");
}

#[track_caller]
fn check(dir: &Path, name: &str, seed: u64) {
    let read = std::fs::read(dir.join(name)).expect("readable");
    assert!(read == noise(seed, 3 << 20), "{name}");
}

/// A machine with a mounted drive on which something is of no use any more, and something is.
fn littered(world: &World) -> Machine {
    let machine = world.machine();
    machine.ods(&["init"]).good();
    machine.mount(&["-o", "gc=off"]).good();
    let mnt = machine.mnt();
    put(&mnt, "old/one", 1);
    machine.ods(&["flush"]).good();
    put(&mnt, "new/two", 2);
    std::fs::hard_link(mnt.join("new/two"), mnt.join("new/link")).expect("linked");
    machine.ods(&["flush"]).good();
    std::fs::remove_dir_all(mnt.join("old")).expect("removed");
    std::fs::rename(mnt.join("new/two"), mnt.join("moved")).expect("renamed");
    machine.ods(&["flush"]).good();
    machine
}

fn collect(machine: &Machine, args: &[&str]) -> Value {
    let mut words = vec!["gc", "--json"];
    words.extend(args);
    machine.ods(&words).good().json()
}

fn packs(report: &Value, what: &str) -> u64 {
    report[what]["packs"].as_u64().expect("a number")
}

/// Requests so far that are not reads.
fn changes(world: &World) -> u64 {
    let counts = world.emulator.counts();
    let changes = counts
        .routes
        .iter()
        .filter(|(route, _)| !route.starts_with("GET "));
    changes.map(|(_, count)| count).sum()
}

#[test]
fn a_mounted_drive_gives_back_what_is_of_no_use() {
    let world = World::new();
    let machine = littered(&world);
    let mnt = machine.mnt();
    let before = changes(&world);
    let told = collect(&machine, &["--dry-run"]);
    assert_eq!(
        (packs(&told, "dead"), packs(&told, "removed")),
        (1, 0),
        "{told}"
    );
    assert_eq!(changes(&world), before, "a dry run only reads");
    let told = machine.ods(&["gc", "--dry-run"]).good();
    assert!(told.out.contains("would be buried"), "{told:?}");
    let done = collect(&machine, &[]);
    assert_eq!(
        (packs(&done, "dead"), packs(&done, "waiting")),
        (1, 1),
        "{done}"
    );
    let status = machine.ods(&["status", "--json"]).good().json();
    assert_eq!(status["garbage"]["buried_packs"], 1, "{status}");
    let page = machine.ods(&["status"]).good().out;
    assert!(
        page.contains("1 pack (3.1 MiB) buried, the first go in 2"),
        "{page}"
    );
    let early = collect(&machine, &["--delay", "1h"]);
    assert_eq!((packs(&early, "removed"), packs(&early, "waiting")), (0, 1));
    let last = machine.ods(&["gc", "--delay", "0"]).good();
    assert!(
        last.out.contains("1 pack (3.1 MiB) removed from Discord"),
        "{last:?}"
    );
    assert!(last.out.contains("1 thread removed"), "{last:?}");
    machine.ods(&["umount"]).good();
    // Another machine has everything that is left, and no more is stored than it needs.
    let other = world.machine();
    other.ods(&["init", "--join"]).good();
    other.mount(&[]).good();
    for name in ["moved", "new/link"] {
        check(&other.mnt(), name, 2);
    }
    assert!(!other.mnt().join("old").exists() && !mnt.join("moved").exists());
    let status = other.ods(&["status", "--json"]).good().json();
    let kept = status["archives"].as_array().expect("archives").iter();
    assert_eq!(
        kept.map(|one| one["packs"].as_u64().expect("a number"))
            .sum::<u64>(),
        1
    );
    other.ods(&["umount"]).good();
}

#[test]
fn a_drive_that_is_not_mounted_gives_back_what_is_of_no_use() {
    let world = World::new();
    let machine = littered(&world);
    machine.ods(&["umount"]).good();
    let before = changes(&world);
    let told = collect(&machine, &["--dry-run"]);
    assert_eq!(
        (packs(&told, "dead"), &told["complete"]),
        (1, &Value::Bool(true))
    );
    assert_eq!(changes(&world), before, "a dry run takes no lease");
    assert_eq!(packs(&collect(&machine, &[]), "dead"), 1);
    let removed = collect(&machine, &["main", "--delay=0s"]);
    assert_eq!(
        (packs(&removed, "removed"), packs(&removed, "waiting")),
        (1, 0)
    );
    let again = collect(&machine, &["--delay", "0"]);
    assert_eq!(
        (packs(&again, "dead"), packs(&again, "removed")),
        (0, 0),
        "{again}"
    );
    machine.mount(&[]).good();
    check(&machine.mnt(), "moved", 2);
    machine.ods(&["umount"]).good();
}

#[test]
fn what_cannot_be_meant_is_refused_before_anything_is_asked() {
    let world = World::new();
    let machine = littered(&world);
    machine.ods(&["umount"]).good();
    let requests = world.emulator.counts().requests;
    let refused = |args: &[&str], code: i32, says: &str| {
        let mut words = vec!["gc"];
        words.extend(args);
        machine.ods(&words).bad(code, &[says]);
    };
    refused(&["--delay", "soon"], 2, "a number and s, m, h or d");
    refused(&["--delay", "400d"], 2, "at most a year");
    refused(&["#010101-01"], 2, "whole drive");
    refused(&["--frobnicate"], 2, "--frobnicate");
    machine.mount(&["-o", "gc=maybe"]).bad(2, &["auto or off"]);
    assert_eq!(world.emulator.counts().requests, requests);
    machine.mount(&["-o", "ro"]).good();
    refused(&[], 1, "read-only");
    machine.ods(&["umount"]).good();
}

/// Ends a program once Discord was asked so often, if it is not done by then.
fn kill_after(world: &World, machine: &Machine, words: &[&str], requests: u64) {
    let asked = || world.emulator.counts().requests;
    let before = asked();
    let mut running = machine.start("ods", words);
    support::until("its requests", || {
        !running.is_running() || asked() >= before + requests
    });
    running.stop();
}

#[test]
fn what_is_killed_without_a_mount_is_done_again_and_nothing_is_lost() {
    let world = World::new();
    let machine = littered(&world);
    machine.ods(&["umount"]).good();
    let moments = [2, 5, 9, 14];
    for words in [&["gc", "--delay", "0"][..], &["repair"]] {
        for requests in moments {
            kill_after(&world, &machine, words, requests);
        }
        machine.ods(words).good();
    }
    let other = world.machine();
    let join = ["init", "--join"];
    for requests in moments {
        kill_after(&world, &other, &join, requests);
    }
    other.ods(&join).good();
    for machine in [machine, other] {
        machine.mount(&[]).good();
        for name in ["moved", "new/link"] {
            check(&machine.mnt(), name, 2);
        }
        machine.ods(&["umount"]).good();
        assert!(
            machine
                .ods(&["verify"])
                .good()
                .out
                .contains("nothing is wrong")
        );
    }
}
