//! Who may delete messages on Discord can take history away: what of that is noticed, and what is not.

#[path = "support/ods.rs"]
mod support;

use std::fs;

use support::Machine;
use support::World;

/// Writes a file and brings it to Discord: one epoch.
fn epoch(machine: &Machine, name: &str) {
    machine.mount(&[]).good();
    fs::write(machine.mnt().join(name), name.repeat(1000)).expect("written");
    machine.ods(&["umount"]).good();
}

fn has(machine: &Machine, name: &str) -> bool {
    fs::read(machine.mnt().join(name)).is_ok_and(|read| read == name.repeat(1000).into_bytes())
}

/// Deletes the messages of the journal's segment with this number, as somebody who may.
fn delete_segment(world: &World, number: u64) {
    let head = format!("s-{number:016x}-");
    let stored = world.emulator.attachments();
    let mut gone = 0;
    for one in stored.iter().filter(|one| one.filename.starts_with(&head)) {
        let deleted = world.emulator.delete_message(one.channel, one.message);
        deleted.expect("deleted");
        gone += 1;
    }
    assert!(gone > 0, "there is a segment {number}");
}

fn newest_segment(world: &World) -> u64 {
    let stored = world.emulator.attachments();
    let numbers = stored.iter().filter_map(|one| {
        let hex = one.filename.strip_prefix("s-")?.get(..16)?;
        u64::from_str_radix(hex, 16).ok()
    });
    numbers.max().expect("a segment")
}

fn join(world: &World) -> Machine {
    let machine = world.machine();
    machine.ods(&["init", "--join"]).good();
    machine
}

#[test]
fn a_new_machine_cannot_tell_that_the_newest_history_is_missing() {
    let world = World::new();
    let machine = world.machine();
    machine.ods(&["init"]).good();
    epoch(&machine, "older");
    epoch(&machine, "newer");
    delete_segment(&world, newest_segment(&world));
    let fresh = join(&world);
    fresh.mount(&[]).good();
    assert!(has(&fresh, "older") && !has(&fresh, "newer"));
    fresh.ods(&["umount"]).good();
}

#[test]
fn a_machine_that_has_seen_newer_history_keeps_it() {
    let world = World::new();
    let machine = world.machine();
    machine.ods(&["init"]).good();
    epoch(&machine, "older");
    epoch(&machine, "newer");
    delete_segment(&world, newest_segment(&world));
    machine.mount(&[]).good();
    assert!(has(&machine, "older") && has(&machine, "newer"));
    machine.ods(&["umount"]).good();
}

#[test]
fn history_that_is_missing_in_the_middle_is_told() {
    let world = World::new();
    let machine = world.machine();
    machine.ods(&["init"]).good();
    epoch(&machine, "first");
    let number = newest_segment(&world);
    epoch(&machine, "second");
    epoch(&machine, "third");
    delete_segment(&world, number + 1);
    let fresh = world.machine();
    fresh.ods(&["init", "--join"]).bad(19, &["journal"]);
}

/// A copy of a message that was deleted; whoever has the token can put it again.
#[test]
fn a_machine_that_has_seen_the_newer_passphrase_does_not_take_the_older() {
    let world = World::new();
    let mut machine = world.machine();
    machine.ods(&["init"]).good();
    epoch(&machine, "file");
    let superblock = |world: &World| {
        let stored = world.emulator.attachments();
        let found = stored
            .into_iter()
            .find(|one| one.filename.starts_with("b-"));
        found.expect("a superblock")
    };
    let before = superblock(&world);
    let old = world.emulator.attachment_bytes(before.id).expect("stored");
    machine.set("ODS_NEW_PASSPHRASE", "another one");
    machine.ods(&["passphrase"]).good();
    let now = superblock(&world);
    world
        .emulator
        .replace_attachment(now.id, old)
        .expect("replaced");
    // Here it is noticed: the old passphrase stays refused, the new one opens.
    machine.mount(&[]).bad(10, &["wrong"]);
    machine.set("ODS_PASSPHRASE", "another one");
    machine.mount(&[]).good();
    assert!(has(&machine, "file"));
    machine.ods(&["umount"]).good();
    let log = fs::read_to_string(machine.state("main").join("log")).expect("a log");
    assert!(log.contains("older superblock"), "{log}");
    // Elsewhere it is not: the old passphrase opens the old superblock.
    let fresh = join(&world);
    fresh.mount(&[]).good();
    assert!(has(&fresh, "file"));
    fresh.ods(&["umount"]).good();
}
