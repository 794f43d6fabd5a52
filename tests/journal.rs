//! A journal that was harmed, or never came to its end: nobody is locked out of what can be read, nothing is taken for
//! more than it is, and a machine that has what is missing puts it right.

#[path = "support/emulator_client.rs"]
mod emulator_client;
#[path = "support/ods.rs"]
mod support;

use std::fs;

use emulator_client::User;
use ods::emulator::StoredAttachment;
use support::Machine;
use support::World;
use support::kill;
use support::until;

/// Nothing is published unless it is asked for.
const QUIET: [&str; 2] = ["-o", "linger=3000,age=3000"];

fn machine_with_drive(world: &World, epochs: &[&str]) -> Machine {
    let machine = world.machine();
    machine.ods(&["init"]).good();
    for name in epochs {
        epoch(&machine, name);
    }
    machine
}

/// Writes a file and brings it to Discord: one epoch.
fn epoch(machine: &Machine, name: &str) {
    machine.mount(&[]).good();
    write(machine, name);
    machine.ods(&["umount"]).good();
}

fn write(machine: &Machine, name: &str) {
    let file = machine.mnt().join(name);
    fs::write(&file, name.repeat(1000)).expect("written");
    fs::File::open(file)
        .expect("open")
        .sync_all()
        .expect("on the disk");
}

/// Mounts, looks which of these files are there with the right content, and unmounts.
fn files(machine: &Machine, options: &[&str], names: &[&str]) -> Vec<bool> {
    machine.mount(options).good();
    let has = |name: &&str| {
        let read = fs::read(machine.mnt().join(name));
        assert!(
            read.as_ref()
                .is_ok_and(|read| *read == name.repeat(1000).into_bytes())
                || read.is_err()
        );
        read.is_ok()
    };
    let found = names.iter().map(has).collect();
    let ended = machine.ods(&["umount"]);
    // What waits where it is only read goes on waiting.
    assert!(
        matches!((ended.code, options), (0, _) | (25, ["-o", "ro"])),
        "{ended:?}"
    );
    found
}

fn segments(world: &World) -> Vec<StoredAttachment> {
    let mut found = world.emulator.attachments();
    found.retain(|one| one.filename.starts_with("s-"));
    found.sort_by(|one, other| one.filename.cmp(&other.filename));
    found
}

fn delete(world: &World, one: &StoredAttachment) {
    let deleted = world.emulator.delete_message(one.channel, one.message);
    deleted.expect("deleted");
}

/// Posts a file to the journal as the bot.
fn post(world: &World, name: &str, bytes: &[u8]) {
    let stored = world.emulator.attachments();
    let of_journal = |one: &&StoredAttachment| one.filename.starts_with("b-");
    let journal = stored
        .iter()
        .find(of_journal)
        .expect("a superblock")
        .channel;
    let bot = User::bot(&world.emulator);
    let (content, files) = (serde_json::json!({}), [(name, bytes)]);
    let posted = world.run(bot.upload(journal, &content, &files));
    posted.expect_status(200);
}

/// A machine that was killed while it looked whether its newest segment was kept whole, which it was not; and the number
/// of that epoch.
fn cut_off(world: &World) -> (Machine, u64) {
    let machine = machine_with_drive(world, &["older"]);
    machine.mount(&QUIET).good();
    write(&machine, "newer");
    let pid = machine.daemon();
    kill(pid, "KILL");
    let program = format!("/proc/{pid}/exe");
    until("the daemon to die", || fs::read_link(&program).is_err());
    let last = segments(world).pop().expect("one");
    let number = u64::from_str_radix(&last.filename[2..18], 16).expect("a number") + 1;
    let bytes = world.emulator.attachment_bytes(last.id).expect("stored");
    let name = format!("s-{number:016x}-0011223344556677-00000000-z.bin");
    post(world, &name, &bytes[..bytes.len() / 2]);
    (machine, number)
}

fn join(world: &World) -> Machine {
    let machine = world.machine();
    machine.ods(&["init", "--join"]).good();
    machine
}

#[test]
fn a_newest_segment_that_was_cut_off_keeps_no_other_machine_from_reading() {
    let world = World::new();
    let (first, number) = cut_off(&world);
    let other = world.machine();
    let joined = other.ods(&["init", "--join", "--json"]).good();
    let named = format!("epoch {number} of the journal");
    assert!(joined.err.contains(&named), "{joined:?}");
    assert!(
        joined.json()["halt"]
            .as_str()
            .is_some_and(|told| told.contains(&named))
    );
    let mounted = other.mount(&["-o", "ro"]).good();
    assert!(mounted.err.contains(&named), "{mounted:?}");
    other.ods(&["umount"]).good();
    assert_eq!(
        files(&other, &["-o", "ro"], &["older", "newer"]),
        [true, false]
    );
    other.ods(&["verify"]).bad(19, &[]);
    other.mount(&[]).bad(17, &["in use"]);
    // The machine that it came from sends it again, and the other follows.
    assert_eq!(files(&first, &[], &["older", "newer"]), [true, true]);
    let names = ["older", "newer"];
    assert_eq!(files(&other, &["-o", "ro"], &names), [true, true]);
    other.ods(&["verify", "--full"]).good();
    assert_eq!(files(&join(&world), &[], &names), [true, true]);
}

#[test]
fn a_newest_segment_that_was_cut_off_is_sent_again_although_the_index_is_lost() {
    let world = World::new();
    let (machine, number) = cut_off(&world);
    let index = machine.state("main").join("index");
    let names = ["older", "newer"];
    fs::remove_dir_all(&index).expect("removed");
    assert_eq!(files(&machine, &["-o", "ro"], &names), [true, true]);
    let reset = machine.ods(&["sync", "--reset"]).good();
    assert!(
        reset.err.contains(&format!("epoch {number} of")),
        "{reset:?}"
    );
    fs::remove_dir_all(&index).expect("removed");
    let mounted = machine.mount(&[]).good();
    assert!(mounted.err.contains("sent again"), "{mounted:?}");
    machine.ods(&["umount"]).good();
    let other = join(&world);
    assert_eq!(files(&other, &[], &names), [true, true]);
    other.ods(&["verify", "--full"]).good();
    assert_eq!(files(&machine, &[], &names), [true, true]);
}

#[test]
fn a_newest_segment_that_was_cut_off_is_given_up_by_a_takeover() {
    let world = World::new();
    let (first, _) = cut_off(&world);
    let other = join(&world);
    other.mount(&["-o", "takeover"]).good();
    write(&other, "another");
    other.ods(&["umount"]).good();
    other.ods(&["verify", "--full"]).good();
    let names = ["older", "newer", "another"];
    assert_eq!(files(&join(&world), &[], &names), [true, false, true]);
    // What waits on the first machine is kept, and is not mixed with what came since.
    first.mount(&[]).bad(16, &["spool"]);
    assert_eq!(files(&first, &["-o", "ro"], &names), [true, true, false]);
}

/// Harms the newest segment.
fn cut_newest(world: &World) {
    let last = segments(world).pop().expect("one");
    let cut = world.emulator.truncate_attachment(last.id, 100);
    cut.expect("cut");
}

#[test]
fn a_newest_segment_that_was_harmed_later_is_given_up_only_on_demand() {
    let world = World::new();
    let first = machine_with_drive(&world, &["older", "newer"]);
    cut_newest(&world);
    let other = join(&world);
    let refused = other.mount(&[]);
    refused.bad(19, &["ods repair", "-o ro", "-o takeover"]);
    let names = ["older", "newer"];
    assert_eq!(files(&other, &["-o", "ro"], &names), [true, false]);
    // The spool has let go of it, so that machine does not go on without it either.
    let index = first.state("main").join("index");
    let away = first.path("away");
    fs::rename(&index, &away).expect("moved");
    first.mount(&[]).bad(19, &["-o takeover"]);
    assert_eq!(files(&first, &["-o", "ro"], &names), [true, false]);
    assert!(!first.state("main").join("lost-records").exists());
    // With its index it has it all.
    fs::remove_dir_all(&index).expect("removed");
    fs::rename(&away, &index).expect("moved");
    first.ods(&["repair"]).good();
    assert_eq!(files(&other, &[], &names), [true, true]);
    assert_eq!(files(&join(&world), &[], &names), [true, true]);
}

/// Does what a machine is told that has another history than the drive on Discord.
fn take_the_other_side(machine: &Machine) {
    let state = machine.state("main");
    let (spool, end) = (state.join("spool"), state.join("spool.end"));
    let named = [&spool, &end].map(|path| path.to_str().expect("text").to_owned());
    let says = [
        "-o ro",
        "ods sync --reset",
        named[0].as_str(),
        named[1].as_str(),
    ];
    machine.mount(&[]).bad(16, &says);
    machine.ods(&["repair"]).bad(16, &says);
    fs::remove_dir_all(spool).expect("removed");
    fs::remove_file(end).expect("removed");
    machine.mount(&[]).bad(16, &says);
    machine.ods(&["sync", "--reset"]).good();
}

#[test]
fn a_machine_whose_newest_epoch_was_given_up_is_told_and_takes_nothing_back() {
    let world = World::new();
    let first = machine_with_drive(&world, &["older", "newer"]);
    cut_newest(&world);
    let other = join(&world);
    other.mount(&["-o", "takeover"]).good();
    write(&other, "another");
    other.ods(&["umount"]).good();
    let names = ["older", "newer", "another"];
    first.mount(&[]).bad(16, &["two histories"]);
    assert_eq!(files(&first, &["-o", "ro"], &names), [true, true, false]);
    take_the_other_side(&first);
    for machine in [&first, &other, &join(&world)] {
        assert_eq!(files(machine, &[], &names), [true, false, true]);
        machine.ods(&["verify", "--full"]).good();
    }
}

#[test]
fn a_newest_segment_that_was_removed_is_put_back_unless_another_machine_went_on() {
    let world = World::new();
    let first = machine_with_drive(&world, &["older", "newer"]);
    delete(&world, &segments(&world).pop().expect("one"));
    first.mount(&[]).good();
    first.ods(&["umount"]).good();
    let other = join(&world);
    let names = ["older", "newer", "another"];
    assert_eq!(files(&other, &[], &names), [true, true, false]);
    epoch(&first, "lost");
    delete(&world, &segments(&world).pop().expect("one"));
    epoch(&other, "another");
    take_the_other_side(&first);
    assert_eq!(files(&first, &[], &names), [true; 3]);
    assert_eq!(files(&join(&world), &[], &["lost"]), [false]);
}

/// A drive with three epochs of which the second is gone, on a machine that made it and on one that has seen it whole.
fn with_a_gap(world: &World) -> (Machine, Machine) {
    let first = machine_with_drive(world, &["first"]);
    let known = segments(world).len();
    epoch(&first, "second");
    epoch(&first, "third");
    let whole = join(world);
    delete(world, &segments(world)[known]);
    (first, whole)
}

const THREE: [&str; 3] = ["first", "second", "third"];

#[test]
fn a_machine_that_joins_a_journal_with_a_gap_can_read_up_to_it() {
    let world = World::new();
    let (_first, whole) = with_a_gap(&world);
    let fresh = world.machine();
    let joined = fresh.ods(&["init", "--join"]);
    joined.bad(19, &["is set up here", "lacks epoch", "ods repair"]);
    fresh
        .mount(&[])
        .bad(19, &["lacks epoch", "ods repair", "-o ro"]);
    let mounted = fresh.mount(&["-o", "ro"]).good();
    assert!(mounted.err.contains("lacks epoch"), "{mounted:?}");
    let status = fresh.ods(&["status"]).good();
    assert!(status.out.contains("lacks epoch"), "{status:?}");
    fresh.ods(&["umount"]).good();
    assert_eq!(files(&fresh, &["-o", "ro"], &THREE), [true, false, false]);
    fresh.ods(&["verify"]).bad(19, &[]);
    whole.ods(&["repair"]).good();
    assert_eq!(files(&fresh, &[], &THREE), [true; 3]);
    fresh.ods(&["verify", "--full"]).good();
}

#[test]
fn a_damaged_index_stays_until_the_journal_can_replace_it() {
    let world = World::new();
    let (first, whole) = with_a_gap(&world);
    let state = first.state("main");
    let pages = fs::read(state.join("index/pages")).expect("readable");
    let harmed: Vec<u8> = pages.iter().map(|byte| byte ^ 0x10).collect();
    fs::write(state.join("index/pages"), &harmed).expect("written");
    let kept = state.join("index.damaged");
    for _ in 0..2 {
        let said = ["lacks epoch", "index.damaged"];
        first.mount(&[]).bad(19, &said);
        first.ods(&["repair"]).bad(19, &said);
        assert_eq!(files(&first, &["-o", "ro"], &THREE), [true, false, false]);
        assert_eq!(fs::read(kept.join("pages")).expect("kept"), harmed);
    }
    // What is missing in the spool is what the journal lacks: the disk lost nothing.
    assert!(!state.join("lost-records").exists());
    whole.ods(&["repair"]).good();
    assert_eq!(files(&first, &[], &THREE), [true; 3]);
    assert!(!kept.exists());
}

#[test]
fn a_segment_under_the_name_of_a_checkpoint_is_none() {
    let world = World::new();
    let names = ["one", "two", "three", "four", "five", "six"];
    let machine = machine_with_drive(&world, &names);
    let victim = &segments(&world)[3];
    let bytes = world.emulator.attachment_bytes(victim.id).expect("stored");
    post(&world, &victim.filename.replacen("s-", "c-", 1), &bytes);
    let other = join(&world);
    assert_eq!(files(&other, &["-o", "ro"], &names), [true; 6]);
    other.ods(&["verify", "--full"]).bad(19, &[]);
    machine.ods(&["repair"]).good();
    machine.ods(&["verify", "--full"]).good();
    let stored = world.emulator.attachments();
    let forged = victim.filename.replacen("s-", "c-", 1);
    assert!(stored.iter().all(|one| one.filename != forged));
    assert_eq!(files(&join(&world), &[], &names), [true; 6]);
    // One of a later epoch takes nothing from a machine that has an index either.
    post(
        &world,
        "c-00000000000000ff-0011223344556677-00000000-z.bin",
        &bytes,
    );
    assert_eq!(files(&other, &[], &names), [true; 6]);
}
