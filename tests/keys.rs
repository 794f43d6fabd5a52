//! Passphrase and recovery key: changed without touching data, also while the drive is mounted, and typed by
//! a person.

#[path = "support/pty.rs"]
mod pty;
#[path = "support/ods.rs"]
mod support;

use std::path::Path;

use pty::Person;
use support::Machine;
use support::PASSPHRASE;
use support::World;
use support::until;

const CONTENT: &str = "what was there before the keys changed";
const ANOTHER: &str = "another passphrase";

fn made(world: &World) -> (Machine, String) {
    let machine = world.machine();
    let told = machine.ods(&["init", "--json"]).good().json();
    let recovery = told["recovery_key"].as_str().expect("a key").to_owned();
    machine.mount(&[]).good();
    let dir = machine.mnt().join("papers");
    std::fs::create_dir(&dir).expect("a directory");
    std::fs::write(dir.join("one"), CONTENT.repeat(1000)).expect("written");
    (machine, recovery)
}

fn check(machine: &Machine) {
    let read = std::fs::read_to_string(machine.mnt().join("papers/one"));
    assert!(read.expect("readable") == CONTENT.repeat(1000));
}

/// Packs, and everything else that is stored.
fn stored(world: &World) -> (Vec<u64>, Vec<String>) {
    let (packs, others): (Vec<_>, Vec<_>) = world
        .emulator
        .attachments()
        .into_iter()
        .partition(|one| one.filename.len() == 36);
    (
        packs.into_iter().map(|one| one.id).collect(),
        others.into_iter().map(|one| one.filename).collect(),
    )
}

fn superblocks(names: &[String]) -> usize {
    names.iter().filter(|name| name.starts_with("b-")).count()
}

#[test]
fn the_passphrase_changes_without_touching_data_also_while_mounted() {
    let world = World::new();
    let (mut machine, _) = made(&world);
    machine.ods(&["flush"]).good();
    let before = stored(&world);
    world.emulator.reset_counts();

    machine.set("ODS_NEW_PASSPHRASE", ANOTHER);
    machine.ods(&["passphrase"]).good();
    let counts = world.emulator.counts();
    assert_eq!(counts.attachments, 1, "one superblock: {counts:?}");
    assert_eq!(counts.cdn_requests, 1, "one superblock: {counts:?}");
    let after = stored(&world);
    assert_eq!(after.0, before.0, "the packs are as they were");
    assert_eq!(superblocks(&after.1), 1, "the old one is gone: {after:?}");

    // Who has it mounted goes on, and what is written then is opened by the new one.
    let late = machine.mnt().join("papers/late");
    std::fs::write(&late, "written afterwards").expect("written");
    machine.ods(&["flush"]).good();
    check(&machine);
    let elsewhere = world.machine();
    elsewhere
        .ods(&["init", "--join"])
        .bad(10, &["passphrase", "wrong"]);
    machine.ods(&["umount"]).good();
    machine.mount(&[]).bad(10, &["passphrase", "wrong"]);
    machine.ods(&["passphrase"]).bad(10, &["wrong"]);

    machine.set("ODS_PASSPHRASE", ANOTHER);
    machine.mount(&[]).good();
    check(&machine);
    assert!(late.exists());
    machine.ods(&["umount"]).good();
    let mut elsewhere = world.machine();
    elsewhere.set("ODS_PASSPHRASE", ANOTHER);
    elsewhere.ods(&["init", "--join"]).good();
    elsewhere.mount(&[]).good();
    check(&elsewhere);
    elsewhere.ods(&["umount"]).good();
}

#[test]
fn a_recovery_key_opens_the_drive_on_a_new_machine_and_makes_a_new_passphrase() {
    let world = World::new();
    let (machine, recovery) = made(&world);
    machine.ods(&["umount"]).good();
    drop(machine);

    let mut fresh = world.machine();
    fresh.set("ODS_PASSPHRASE", "forgotten");
    fresh.ods(&["init", "--join"]).bad(10, &["wrong"]);
    // As somebody writes it who has it on paper.
    let careless = recovery.to_lowercase().replace('-', " - ");
    let careless = careless.replacen("ods - recovery", "ods-recovery", 1);
    fresh.set("ODS_PASSPHRASE", &careless);
    fresh.ods(&["init", "--join"]).good();
    fresh.mount(&[]).good();
    check(&fresh);
    fresh.ods(&["umount"]).good();
    fresh.set("ODS_NEW_PASSPHRASE", ANOTHER);
    fresh.ods(&["passphrase"]).good();
    fresh.set("ODS_PASSPHRASE", PASSPHRASE);
    fresh.mount(&[]).bad(10, &["wrong"]);
    fresh.set("ODS_PASSPHRASE", ANOTHER);
    fresh.mount(&[]).good();
    check(&fresh);
    fresh.ods(&["umount"]).good();
}

fn sees(person: &mut Person, words: &str) {
    person.sees(words, |what, so| until(what, so));
}

/// Types what must not be seen, once the terminal hides it.
fn types_secret(person: &mut Person, prompt: &str, text: &str) {
    sees(person, prompt);
    until("a terminal that hides what is typed", || !person.echoes());
    person.types(text);
}

fn person(machine: &Machine, args: &[&str]) -> Person {
    Person::runs(machine.command(Path::new(env!("CARGO_BIN_EXE_ods")), args))
}

#[test]
fn a_person_may_mistype_a_new_passphrase() {
    let world = World::new();
    let mut machine = world.machine();
    machine.unset("ODS_PASSPHRASE");
    machine.unset("DISCORD_BOT_TOKEN");
    let mut init = person(&machine, &["init"]);
    types_secret(&mut init, "Bot token: ", world.emulator.token());
    types_secret(&mut init, "Passphrase: ", PASSPHRASE);
    types_secret(&mut init, "The same again: ", "something else");
    sees(&mut init, "differ");
    types_secret(&mut init, "Passphrase: ", "");
    sees(&mut init, "empty");
    types_secret(&mut init, "Passphrase: ", PASSPHRASE);
    types_secret(&mut init, "The same again: ", PASSPHRASE);
    sees(&mut init, "Keep the token");
    init.types("y");
    let shown = init.ended(0);
    assert!(shown.contains("Recovery key"), "{shown}");
    assert!(!shown.contains(PASSPHRASE), "what is typed is not shown");
    assert!(!shown.contains(world.emulator.token()));

    // The kept token is used; a passphrase that only opens something is typed once, and a wrong one told.
    let mut change = person(&machine, &["passphrase"]);
    types_secret(&mut change, "Passphrase: ", "not it");
    change.ended(10);
    let mut change = person(&machine, &["passphrase"]);
    types_secret(&mut change, "Passphrase: ", PASSPHRASE);
    types_secret(&mut change, "New passphrase: ", ANOTHER);
    types_secret(&mut change, "The same again: ", ANOTHER);
    change.ended(0);
    machine.set("ODS_PASSPHRASE", ANOTHER);
    machine.mount(&[]).good();
    machine.ods(&["umount"]).good();
}

#[test]
fn who_mistypes_a_new_passphrase_three_times_has_changed_nothing() {
    let world = World::new();
    let mut machine = world.machine();
    machine.unset("ODS_PASSPHRASE");
    let mut init = person(&machine, &["init"]);
    for again in ["a", "b", "c"] {
        types_secret(&mut init, "Passphrase: ", PASSPHRASE);
        types_secret(&mut init, "The same again: ", again);
    }
    let shown = init.ended(4);
    assert!(shown.contains("differ"), "{shown}");
    assert!(world.emulator.attachments().is_empty());
    machine.set("ODS_PASSPHRASE", PASSPHRASE);
    machine.ods(&["init"]).good();
}
