//! Passphrase and recovery key: changed without touching data, also while the drive is mounted, and typed by
//! a person.

#[path = "support/moment.rs"]
mod moment;
#[path = "support/pty.rs"]
mod pty;
#[path = "support/ods.rs"]
mod support;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use moment::Moment;
use moment::kill_at;
use ods::codec::key::Secret;
use ods::codec::superblock::Cost;
use ods::codec::superblock::Superblock;
use ods::drive::superblock;
use ods::emulator::ErrorBody;
use ods::emulator::Fault;
use ods::emulator::FaultKind;
use ods::emulator::When;
use ods::store::Object;
use ods::store::Store;
use ods::store::discord::Discord;
use ods::store::discord::Settings;
use ods::store::discord::Token;
use pty::Person;
use serde_json::Value;
use support::Ended;
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
    let changed = machine.ods(&["passphrase", "--json"]).good().json();
    assert_eq!(changed["generation"], 2, "{changed}");
    let counts = world.emulator.counts();
    assert_eq!(counts.attachments, 1, "one superblock: {counts:?}");
    assert_eq!(counts.cdn_requests, 1, "one superblock: {counts:?}");
    let after = stored(&world);
    assert_eq!(after.0, before.0, "the packs are as they were");
    assert_eq!(superblocks(&after.1), 1, "the old one is gone: {after:?}");

    // Who has it mounted goes on, and what is written then is opened by the new one.
    let late = machine.mnt().join("papers/late");
    std::fs::write(&late, "written afterwards").expect("written");
    let flushed = machine.ods(&["flush", "--json"]).good().json();
    assert_eq!(flushed["unpublished"], false, "{flushed}");
    check(&machine);
    let elsewhere = world.machine();
    elsewhere
        .ods(&["init", "--join"])
        .bad(10, &["passphrase", "wrong"]);
    let ended = machine.ods(&["umount", "--json"]).good().json();
    assert_eq!(ended["mounted"], false, "{ended}");
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

/// Where nobody can make a file.
const NOWHERE: &str = "/proc/sys";

/// Runs it with a standard output that is full.
fn without_room(machine: &Machine, args: &[&str]) -> Ended {
    let mut command = machine.command(Path::new(env!("CARGO_BIN_EXE_ods")), args);
    let full = File::options().write(true).open("/dev/full");
    command.stdout(full.expect("a device that is always full"));
    machine.end(command)
}

/// The recovery key that was shown, be it by a command that failed.
fn shown(ended: &Ended) -> String {
    let key = ended
        .out
        .split_whitespace()
        .find(|word| word.starts_with("ods-recovery-"));
    key.unwrap_or_else(|| panic!("no key in {ended:?}"))
        .to_owned()
}

/// Does the drive open with this, on a machine that has nothing of it?
fn opens(world: &World, secret: &str) -> bool {
    let mut machine = world.machine();
    machine.set("ODS_PASSPHRASE", secret);
    let ended = machine.ods(&["init", "--join"]);
    assert!([0, 10].contains(&ended.code), "{ended:?}");
    ended.code == 0
}

/// In place of the copy of the superblock there is a directory, which no file replaces.
fn block_the_copy(state: &Path) {
    let copy = state.join(superblock::COPY);
    drop(std::fs::remove_file(&copy));
    std::fs::create_dir_all(copy.join("inside")).expect("a directory");
}

#[test]
fn an_answer_that_cannot_be_written_is_an_error() {
    let world = World::new();
    let machine = world.machine();
    without_room(&machine, &["init"]).bad(20, &["standard output", "No space"]);
    without_room(&machine, &["init", "--json"]).bad(20, &["standard output"]);
    assert!(world.emulator.attachments().is_empty(), "no drive is made");
    let made = machine.ods(&["init"]).good();
    assert!(opens(&world, &shown(&made)));
    for args in [
        &["config", "get"][..],
        &["status"],
        &["config", "get", "--json"],
    ] {
        without_room(&machine, args).bad(20, &["standard output", "No space"]);
    }
    let server = machine.ods(&["config", "get", "server", "--json"]).good();
    assert_eq!(server.json(), world.emulator.guild_id());
}

#[test]
fn no_recovery_key_comes_into_effect_that_was_not_shown() {
    let world = World::new();
    let machine = world.machine();
    let old = shown(&machine.ods(&["init"]).good());
    let change = ["passphrase", "--recovery-key"];
    without_room(&machine, &change).bad(20, &["standard output"]);
    // A state directory that takes no file is told before anything is changed.
    machine.ods(&["config", "set", "state_dir", NOWHERE]).good();
    machine.ods(&change).bad(20, &[NOWHERE]);
    machine.ods(&["config", "set", "state_dir"]).good();
    assert!(opens(&world, &old));

    // What fails after the change took effect is a warning.
    let refused = FaultKind::Error {
        status: 403,
        body: ErrorBody::default(),
    };
    let faults = world.emulator.faults();
    faults.add(Fault::new("DELETE /channels/*", refused));
    block_the_copy(&machine.state("main"));
    let changed = machine.ods(&change).good();
    for words in ["in effect", "older superblock", "this machine's copy"] {
        assert!(changed.err.contains(words), "{changed:?}");
    }
    let new = shown(&changed);
    assert!(opens(&world, &new) && !opens(&world, &old));
    faults.clear();
    let newest = machine.ods(&["passphrase", "--recovery-key", "--json"]);
    let newest = newest.good().json()["recovery_key"].clone();
    assert!(opens(&world, newest.as_str().expect("a key")) && !opens(&world, &new));
    assert_eq!(superblocks(&stored(&world).1), 1, "the others are gone");
}

#[test]
fn a_new_passphrase_counts_exactly_when_the_command_succeeds() {
    let world = World::new();
    let mut machine = world.machine();
    machine.ods(&["init"]).good();
    machine.set("ODS_NEW_PASSPHRASE", ANOTHER);
    machine.ods(&["config", "set", "state_dir", NOWHERE]).good();
    machine.ods(&["passphrase"]).bad(20, &[NOWHERE]);
    assert!(opens(&world, PASSPHRASE) && !opens(&world, ANOTHER));
    machine.ods(&["config", "set", "state_dir"]).good();
    block_the_copy(&machine.state("main"));
    let changed = machine.ods(&["passphrase"]).good();
    assert!(changed.err.contains("in effect"), "{changed:?}");
    assert!(opens(&world, ANOTHER) && !opens(&world, PASSPHRASE));
}

#[test]
fn a_drive_is_not_made_where_nothing_can_be_kept_and_its_key_is_shown_before() {
    let world = World::new();
    let machine = world.machine();
    let config = format!("{NOWHERE}/config.toml");
    machine
        .ods(&["init", "--config", &config])
        .bad(20, &[NOWHERE]);
    machine
        .ods(&["init", "--state", NOWHERE])
        .bad(20, &[NOWHERE]);
    assert!(world.emulator.attachments().is_empty(), "no drive is made");

    block_the_copy(&machine.state("main"));
    let made = machine
        .ods(&["init"])
        .bad(20, &["the drive is made", "superblock"]);
    assert!(opens(&world, &shown(&made)));
}

#[test]
fn a_new_passphrase_that_looks_like_a_recovery_key_is_refused() {
    let world = World::new();
    let mut machine = world.machine();
    let lookalike = "ods-recovery is my favourite phrase";
    machine.set("ODS_PASSPHRASE", lookalike);
    machine.ods(&["init"]).bad(4, &["ods-recovery", "begin"]);
    assert!(world.emulator.attachments().is_empty(), "no drive is made");
    machine.set("ODS_PASSPHRASE", PASSPHRASE);
    let made = machine.ods(&["init", "--json"]).good().json();
    machine.set("ODS_NEW_PASSPHRASE", lookalike);
    machine
        .ods(&["passphrase"])
        .bad(4, &["ods-recovery", "begin"]);
    assert!(opens(&world, PASSPHRASE));

    // Drives that have such a passphrase open with it.
    let (store, copy) = (store(&world, &made), machine.state("main"));
    let kept = std::fs::read(copy.join(superblock::COPY)).expect("a copy");
    let kept = Superblock::decode(&kept).expect("whole");
    let master = kept.open(&secret(PASSPHRASE)).expect("it opens");
    let next = kept.with_passphrase(&master, &secret(lookalike), Cost::LEAST);
    let put = superblock::put(&*store, next.as_ref().expect("in bounds"), &master);
    world.run(put).expect("put");
    machine.set("ODS_PASSPHRASE", lookalike);
    machine.mount(&[]).good();
    machine.ods(&["umount"]).good();
}

fn secret(text: &str) -> Secret {
    Secret::passphrase(text.to_owned()).expect("not empty")
}

/// The store of a drive, as `ods init --json` told of it.
fn store(world: &World, made: &Value) -> Arc<dyn Store> {
    let id = |key: &str| {
        let text = made[key].as_str().expect("an id");
        text.parse().expect("a number")
    };
    let token = Token::new(world.emulator.token()).expect("a token");
    let channels = (id("journal_channel"), id("archives_channel"));
    let mut settings = Settings::new(token, id("server"), channels.0, channels.1);
    settings.api_base = world.emulator.base_url();
    world
        .run(async { Discord::connect(settings) })
        .map(|store| Arc::new(store) as Arc<dyn Store>)
        .expect("a store")
}

/// A superblock of a drive that nobody has.
fn foreign(made: &Value) -> (Superblock, ods::codec::key::MasterKey) {
    let id = |key: &str| made[key].as_str().expect("an id").parse::<u64>();
    let places = serde_json::json!({
        "server": id("server").expect("a number"),
        "journal_channel": id("journal_channel").expect("a number"),
        "archives_channel": id("archives_channel").expect("a number"),
    });
    let places = serde_json::to_vec(&places).expect("JSON");
    let (superblock, master, _) =
        Superblock::create(&secret(PASSPHRASE), Cost::LEAST, places).expect("in bounds");
    (superblock, master)
}

/// Takes all pins away, as anybody who may pin can.
fn unpin(world: &World, store: &dyn Store) {
    world.run(async {
        for entry in store.pinned().await.expect("listed") {
            store.unpin(&entry.locator).await.expect("unpinned");
        }
    });
}

#[test]
fn a_superblock_without_its_pin_is_found_behind_a_long_journal() {
    let world = World::new();
    let mut machine = world.machine();
    let made = machine.ods(&["init", "--json"]).good().json();
    let store = store(&world, &made);
    let (filler, master) = foreign(&made);
    world.run(async {
        for number in 0..210 {
            let object = Object {
                name: format!("l-{number:016x}-{number:016x}.bin"),
                body: filler.encode(&master),
            };
            let put = store.put(&store.journal(), vec![object]).await;
            put.expect("put");
        }
    });
    machine.set("ODS_NEW_PASSPHRASE", ANOTHER);
    machine.ods(&["passphrase"]).good();
    unpin(&world, &*store);
    assert!(opens(&world, ANOTHER) && !opens(&world, PASSPHRASE));
    world.machine().ods(&["init"]).bad(6, &["--join"]);

    // Nobody makes another drive in what is left of one.
    world.run(async {
        for found in superblock::find(&*store).await.expect("found") {
            store.remove(&[found.locator]).await.expect("removed");
        }
    });
    let journal = made["journal_channel"].as_str().expect("an id");
    world
        .machine()
        .ods(&["init"])
        .bad(6, &[journal, "superblock is gone", "--journal-channel"]);
}

#[test]
fn a_machine_knows_its_own_drive_beside_another_superblock() {
    let world = World::new();
    let mut machine = world.machine();
    let made = machine.ods(&["init", "--json"]).good().json();
    machine.mount(&[]).good();
    std::fs::write(machine.mnt().join("note"), CONTENT).expect("written");
    machine.ods(&["umount"]).good();
    let store = store(&world, &made);
    let (theirs, master) = foreign(&made);
    world
        .run(superblock::put(&*store, &theirs, &master))
        .expect("put");
    machine.ods(&["verify"]).good();
    machine.set("ODS_NEW_PASSPHRASE", ANOTHER);
    machine.ods(&["passphrase"]).good();
    machine.set("ODS_PASSPHRASE", ANOTHER);
    let found = || world.run(superblock::find(&*store)).expect("found");
    assert_eq!(found().len(), 2, "the other drive's is left alone");

    // When the other one is the only one that is pinned, this machine's copy counts.
    let ours = found().remove(0);
    world.run(store.unpin(&ours.locator)).expect("unpinned");
    machine.ods(&["verify"]).bad(19, &["another drive"]);
    machine.ods(&["repair"]).good();
    machine.ods(&["verify"]).good();
    machine.mount(&[]).good();
    let note = std::fs::read_to_string(machine.mnt().join("note"));
    assert_eq!(note.expect("readable"), CONTENT);
    machine.ods(&["umount"]).good();
}

#[test]
fn joining_leaves_the_state_of_another_drive_alone() {
    let (world, elsewhere) = (World::new(), World::new());
    let mut machine = world.machine();
    machine.ods(&["init"]).good();
    machine.mount(&[]).good();
    std::fs::write(machine.mnt().join("note"), CONTENT).expect("written");
    machine.ods(&["umount"]).good();
    let made = elsewhere.machine().ods(&["init", "--json"]).good().json();

    let files = || {
        let config = std::fs::read(machine.path("config/ods/config.toml"));
        let copy = std::fs::read(machine.state("main").join(superblock::COPY));
        (config.expect("a file"), copy.expect("a copy"))
    };
    let before = files();
    let join = |args: &[&str]| {
        let ods = Path::new(env!("CARGO_BIN_EXE_ods"));
        let server = made["server"].as_str().expect("an id");
        let words = [&["init", "--join", "--server", server], args].concat();
        let mut command = machine.command(ods, &words);
        command.env("ODS_API_BASE", elsewhere.emulator.base_url());
        command.env("DISCORD_BOT_TOKEN", elsewhere.emulator.token());
        machine.end(command)
    };
    join(&[]).bad(18, &["another drive", "main"]);
    assert!(files() == before, "nothing is changed");
    let state = machine.state("main");
    let state = state.to_str().expect("text");
    join(&["--name", "other", "--state", state]).bad(18, &["another drive"]);
    assert!(files() == before, "nothing is changed");
    join(&["--name", "other"]).good();
    assert!(files().1 == before.1);
    machine.set("ODS_API_BASE", &world.emulator.base_url());
    machine.mount(&[]).good();
    assert!(machine.mnt().join("note").exists());
    machine.ods(&["umount"]).good();
}

/// The superblock of a change that was killed stays in the journal, without a pin.
#[test]
fn a_change_that_was_killed_stays_without_effect_when_the_pins_are_gone_too() {
    let world = World::new();
    let mut machine = world.machine();
    let made = machine.ods(&["init", "--json"]).good().json();
    let sent = Moment {
        when: When::After,
        ..Moment::first("POST")
    };
    machine.set("ODS_NEW_PASSPHRASE", "killed");
    let killed = kill_at(&world, &machine, &["passphrase"], sent);
    killed.expect("a superblock is sent");
    assert!(opens(&world, PASSPHRASE) && !opens(&world, "killed"));
    machine.set("ODS_NEW_PASSPHRASE", ANOTHER);
    machine.ods(&["passphrase"]).good();
    unpin(&world, &*store(&world, &made));
    assert!(!opens(&world, "killed") && opens(&world, ANOTHER));
}
