//! What commands show to people at a terminal, and what they do not show elsewhere: progress and colours.

#[path = "support/pty.rs"]
mod pty;
#[path = "support/ods.rs"]
mod support;

use std::path::Path;

use ods::emulator::Fault;
use ods::emulator::FaultKind;
use ods::emulator::When;
use pty::Person;
use support::Machine;
use support::World;
use support::noise;

/// A colour begins so; redrawing a line takes other sequences.
const COLOUR: &str = "\x1b[3";

/// A machine with a drive, and something to upload.
fn machine(world: &World) -> Machine {
    let machine = world.machine();
    machine.ods(&["init"]).good();
    std::fs::create_dir(machine.path("photos")).expect("a directory");
    for number in 0..3 {
        let file = machine.path(&format!("photos/{number}"));
        std::fs::write(file, noise(number, 2 << 20)).expect("written");
    }
    machine
}

/// What a person sees who types this.
fn shown(machine: &Machine, args: &[&str]) -> String {
    let command = machine.command(Path::new(env!("CARGO_BIN_EXE_ods")), args);
    Person::runs(command).ended(0)
}

/// Discord takes its time, so that there is something to watch.
fn slow(world: &World) {
    let delay = FaultKind::Delay {
        ms: 300,
        when: When::Before,
    };
    let fault = Fault::new("POST /channels/{}/messages", delay);
    world.emulator.faults().add(fault);
}

#[test]
fn progress_is_for_terminals_and_not_for_quiet_ones() {
    let world = World::new();
    let machine = machine(&world);
    slow(&world);
    let photos = machine.path("photos");
    let photos = photos.to_str().expect("text");
    let upload = |to: &'static str| ["upload", photos, "--to", to];
    let seen = shown(&machine, &upload("one"));
    assert!(seen.contains("\r\x1b[K"), "{seen:?}");
    assert!(seen.contains("[####") && seen.contains(" of "), "{seen:?}");
    assert!(seen.contains("uploaded 3 files"), "{seen:?}");

    let quiet = [&["-q"][..], &upload("two")].concat();
    let seen = shown(&machine, &quiet);
    assert_eq!(seen, "", "nothing but errors and answers");

    let ended = machine.ods(&upload("three")).good();
    let said = format!("{}{}", ended.out, ended.err);
    assert!(!said.contains('\x1b') && !said.contains("[#"), "{said:?}");
    assert!(said.contains("uploaded 3 files"), "{said:?}");
}

#[test]
fn colours_are_for_terminals_and_for_who_wants_them() {
    let world = World::new();
    let mut machine = machine(&world);
    let photos = machine.path("photos");
    machine
        .ods(&["upload", photos.to_str().expect("text")])
        .good();
    for args in [&["list"][..], &["list", "-l"], &["list", "/"]] {
        let seen = shown(&machine, args);
        assert!(seen.contains(COLOUR) && seen.contains("photos"), "{seen:?}");
        let said = machine.ods(args).good().out;
        assert!(!said.contains('\x1b'), "{said:?}");
    }
    machine.set("NO_COLOR", "1");
    for args in [&["list"][..], &["list", "-l"], &["list", "/"]] {
        let seen = shown(&machine, args);
        assert!(
            !seen.contains(COLOUR) && seen.contains("photos"),
            "{seen:?}"
        );
    }
    // Without progress there is no sequence at all.
    let seen = shown(&machine, &["-q", "list"]);
    assert!(
        !seen.contains('\x1b') && seen.contains("photos"),
        "{seen:?}"
    );
}
