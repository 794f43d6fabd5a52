//! `ods import` as people run it: what the Python bots left in a folder or on Discord becomes files of the
//! drive, on a mount and without one.

#[path = "support/emulator_client.rs"]
mod emulator_client;
#[path = "support/python_bots.rs"]
mod python_bots;
#[path = "support/ods.rs"]
mod support;

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use emulator_client::User;
use python_bots::ARCHIVE;
use python_bots::ARCHIVE_SUMS;
use python_bots::BATCH;
use python_bots::BATCH_SUMS;
use python_bots::check;
use python_bots::files;
use serde_json::json;
use support::Machine;
use support::World;

/// 2026-11-20 14:08:48, as the manifest's name has it.
const SLICED_AT: i64 = 1_795_183_728;

const ID: &str = "#000011-01";
const BATCH_ID: &str = "BATCH_20260101_000B";

/// A machine with a drive, and the keys of the old systems.
fn machine(world: &World) -> Machine {
    let mut machine = world.machine();
    machine.ods(&["init"]).good();
    machine.set("USER_KEY", python_bots::USER_KEY);
    machine.set("ENCRYPTION_KEY", &python_bots::master_key());
    machine
}

fn absolute(path: &str) -> String {
    let path = Path::new(path).canonicalize().expect("a folder");
    path.to_str().expect("text").to_owned()
}

fn no_leftovers(mnt: &Path) {
    let unfinished = |path: &&std::path::PathBuf| path.to_string_lossy().contains("ods-import");
    assert_eq!(files(mnt).iter().find(unfinished), None);
}

#[test]
fn a_folder_comes_into_a_mounted_drive_and_the_second_time_is_skipped() {
    let world = World::new();
    let machine = machine(&world);
    machine.mount(&[]).good();
    let mnt = machine.mnt();
    // The kernel has looked, and knows that there is nothing.
    assert!(!mnt.join("holiday-11").exists());
    let folder = absolute(ARCHIVE);
    let told = machine.ods(&["import", &folder, "--dry-run"]).good();
    assert!(told.out.contains("photo (1).bin"), "{told:?}");
    assert!(!mnt.join("holiday-11").exists());

    let report = machine.ods(&["import", &folder, "--json"]).good().json();
    assert_eq!(
        (&report["files"], &report["lost_count"]),
        (&json!(4), &json!(0))
    );
    check(&mnt.join("holiday-11"), ARCHIVE_SUMS);
    for file in files(&mnt.join("holiday-11")) {
        let meta = file.metadata().expect("there");
        assert_eq!((meta.mtime(), meta.mode() & 0o777), (SLICED_AT, 0o644));
    }

    // A file that somebody works on stays; what is right is skipped; what is gone comes again.
    let (mine, gone) = (
        mnt.join("holiday-11/exact.bin"),
        mnt.join("holiday-11/empty.txt"),
    );
    std::fs::write(&mine, "mine").expect("written");
    std::fs::remove_file(&gone).expect("removed");
    let again = machine.ods(&["import", &folder]);
    assert!(
        again.out.contains("exact.bin") && again.out.contains("--replace"),
        "{again:?}"
    );
    let again = again.bad(29, &["imported but for 1 problem"]);
    assert!(
        again.out.starts_with("1 file, 0 B imported; 2 files"),
        "{again:?}"
    );
    assert_eq!(std::fs::read(&mine).expect("there"), b"mine");
    machine.ods(&["import", &folder, "--replace"]).good();
    check(&mnt.join("holiday-11"), ARCHIVE_SUMS);

    let batch = absolute(BATCH);
    machine
        .ods(&["import", &batch, "--to", "/old/batch"])
        .good();
    check(&mnt.join("old/batch"), BATCH_SUMS);
    no_leftovers(&mnt);
    machine.ods(&["umount"]).good();
    assert!(!machine.said().contains(python_bots::USER_KEY));
    assert!(!machine.said().contains(python_bots::master_key().trim()));
}

#[test]
fn archives_and_batches_are_found_on_discord_without_a_mount() {
    let world = World::new();
    let machine = machine(&world);
    world.run(async {
        let bot = User::bot(&world.emulator);
        let guild = world.emulator.guild_id();
        let chat = python_bots::channel(&bot, guild, "chat").await;
        bot.say(chat, "hello").await.expect_status(200);
        let archive = python_bots::channel(&bot, guild, "archive-cards").await;
        python_bots::post_archive(&bot, archive, ID, Path::new(ARCHIVE)).await;
        let storage = python_bots::channel(&bot, guild, "storage-vault").await;
        let index = python_bots::channel(&bot, guild, "batch-index").await;
        python_bots::post_batch(&bot, storage, index, BATCH_ID, Path::new(BATCH)).await;
    });
    machine
        .ods(&["import", "#010203-04"])
        .bad(27, &["#010203-04"]);
    machine.ods(&["import", ID, "--to", "slices"]).good();
    machine.ods(&["import", BATCH_ID]).good();
    machine.mount(&["-o", "ro"]).good();
    check(&machine.mnt().join("slices"), ARCHIVE_SUMS);
    check(&machine.mnt().join("holiday-11"), BATCH_SUMS);
    no_leftovers(&machine.mnt());
}

#[test]
fn the_oldest_archives_are_found_by_the_bot_s_log() {
    let world = World::new();
    let machine = machine(&world);
    let (channel, messages) = world.run(async {
        let bot = User::bot(&world.emulator);
        let channel = python_bots::channel(&bot, world.emulator.guild_id(), "chat").await;
        let messages = python_bots::post_plain(&bot, channel, Path::new(ARCHIVE)).await;
        (channel, messages)
    });
    let log = machine.path("discord-drive-history.json");
    let entries =
        json!([{"lot": 1, "archive_id": ID, "message_ids": messages, "status": "Success"}]);
    std::fs::write(&log, entries.to_string()).expect("written");
    let log = log.to_str().expect("text");
    machine.ods(&["import", ID]).bad(27, &["--log"]);
    machine
        .ods(&["import", "#000011-02", "--log", log])
        .bad(27, &["does not name"]);
    let channel = channel.to_string();
    machine
        .ods(&[
            "import",
            ID,
            "--log",
            log,
            "--channel",
            &channel,
            "--dry-run",
        ])
        .good();
    machine.ods(&["import", ID, "--log", log]).good();
    machine.mount(&["-o", "ro"]).good();
    check(&machine.mnt().join("holiday-11"), ARCHIVE_SUMS);
}

#[test]
fn what_another_bot_wrote_is_hidden_and_it_says_what_to_do() {
    let world = World::new();
    let machine = machine(&world);
    world.run(async {
        let bot = User::bot(&world.emulator);
        let other = User::member(&world.emulator);
        let channel = python_bots::channel(&bot, world.emulator.guild_id(), "cards").await;
        other
            .say(channel, "```json\n{\"archive_id\": \"#000011-01\"}\n```")
            .await
            .expect_status(200);
    });
    machine
        .ods(&["import", ID])
        .bad(27, &["Message Content Intent"]);
}

#[test]
fn bad_input_and_keys_are_told_before_anything_is_written() {
    let world = World::new();
    let mut machine = machine(&world);
    let (archive, batch) = (absolute(ARCHIVE), absolute(BATCH));
    machine.ods(&["import"]).bad(2, &["FOLDER"]);
    machine
        .ods(&["import", "/nowhere"])
        .bad(2, &["neither a folder here nor an id"]);
    machine
        .ods(&["import", &archive, "--channel", "5"])
        .bad(2, &["--channel"]);
    machine
        .ods(&["import", &archive, "--to", "../up"])
        .bad(2, &["../up"]);
    let empty = machine.path("empty");
    std::fs::create_dir(&empty).expect("made");
    machine
        .ods(&["import", empty.to_str().expect("text")])
        .bad(27, &["manifest"]);

    machine.set("USER_KEY", "another");
    machine.set("ENCRYPTION_KEY", python_bots::MASTER);
    machine
        .ods(&["import", &archive])
        .bad(10, &["does not open", "nothing was written"]);
    machine
        .ods(&["import", &batch])
        .bad(10, &["does not open", "nothing was written"]);
    machine.set("ENCRYPTION_KEY", "not base64!");
    machine.ods(&["import", &batch]).bad(4, &["base64"]);
    machine.unset("USER_KEY");
    machine.unset("ENCRYPTION_KEY");
    machine
        .ods(&["import", &archive])
        .bad(4, &["USER_KEY", "--key-file"]);
    machine.ods(&["import", &batch]).bad(4, &["ENCRYPTION_KEY"]);
    machine.mount(&[]).good();
    assert_eq!(
        std::fs::read_dir(machine.mnt())
            .expect("a directory")
            .count(),
        0
    );

    let key = machine.path("key");
    std::fs::write(&key, format!("{}\n", python_bots::USER_KEY)).expect("written");
    let key = key.to_str().expect("text");
    machine
        .ods(&["import", &archive, "--key-file", key])
        .bad(4, &["others may read it"]);
    let print = format!("cat {key}");
    machine
        .ods(&["import", &archive, "--key-command", &print])
        .good();
    check(&machine.mnt().join("holiday-11"), ARCHIVE_SUMS);
}

/// Discord with one archive and one batch, as the bots posted them.
fn posted(world: &World) {
    world.run(async {
        let bot = User::bot(&world.emulator);
        let guild = world.emulator.guild_id();
        let archive = python_bots::channel(&bot, guild, "archive-cards").await;
        python_bots::post_archive(&bot, archive, ID, Path::new(ARCHIVE)).await;
        let storage = python_bots::channel(&bot, guild, "storage-vault").await;
        let index = python_bots::channel(&bot, guild, "batch-index").await;
        python_bots::post_batch(&bot, storage, index, BATCH_ID, Path::new(BATCH)).await;
    });
}

#[test]
fn everything_there_is_comes_with_one_word() {
    let world = World::new();
    let machine = machine(&world);
    machine
        .ods(&["import", "--all"])
        .bad(27, &["card of an archive"]);
    posted(&world);
    let plain = world.run(async {
        let bot = User::bot(&world.emulator);
        let channel = python_bots::channel(&bot, world.emulator.guild_id(), "chat").await;
        python_bots::post_plain(&bot, channel, Path::new(ARCHIVE)).await
    });
    let log = machine.path("log.json");
    let entries = json!([
        {"archive_id": ID, "message_ids": [1]},
        {"archive_id": "#010123-07", "message_ids": plain},
    ]);
    std::fs::write(&log, entries.to_string()).expect("written");
    let log = log.to_str().expect("text");
    machine.ods(&["import", "--all", ID]).bad(2, &["--all"]);
    let list = machine.ods(&["import", "--all", "--dry-run"]).good().out;
    assert_eq!(list, format!("{ID}\n{BATCH_ID}\n"));
    let all = ["import", "--all", "--log", log, "--to", "old", "--json"];
    let told = machine.ods(&all).good().json();
    let sources: Vec<&str> = told
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|one| one["source"].as_str())
        .collect();
    assert_eq!(sources, ["#010123-07", ID, BATCH_ID]);
    machine.mount(&["-o", "ro"]).good();
    let old = |name: &str| machine.mnt().join("old").join(name);
    check(&old("010123-07"), ARCHIVE_SUMS);
    check(&old("000011-01"), ARCHIVE_SUMS);
    check(&old(BATCH_ID), BATCH_SUMS);
    no_leftovers(&machine.mnt());
}

#[test]
fn several_are_brought_one_after_the_other_and_end_as_the_worst_of_them() {
    let world = World::new();
    let machine = machine(&world);
    posted(&world);
    machine.mount(&[]).good();
    let gone = "#010203-04";
    let ended = machine.ods(&["import", ID, gone, BATCH_ID]);
    // Both were called so, and what is there stays.
    let ended = ended.bad(27, &[gone, "2 of 3 archives", "ods flush"]);
    assert!(
        ended
            .out
            .contains("holiday-11/exact.bin is in the drive already"),
        "{ended:?}"
    );
    let apart = ["import", ID, gone, BATCH_ID, "--to", "apart"];
    let ended = machine.ods(&apart).bad(27, &["1 of 3 archives"]);
    assert!(ended.out.contains(&format!("{BATCH_ID}: ")), "{ended:?}");
    check(&machine.mnt().join("apart/000011-01"), ARCHIVE_SUMS);
    check(&machine.mnt().join("apart").join(BATCH_ID), BATCH_SUMS);
    let told = machine.ods(&["import", ID, gone, "--json"]);
    let told: serde_json::Value = serde_json::from_str(&told.out).expect("JSON");
    assert_eq!(
        (&told[0]["files"], &told[1]["code"]),
        (&json!(0), &json!(27))
    );
    let inside = machine.mnt().join("inside/one");
    let to = inside.to_str().expect("text");
    machine.ods(&["import", ID, "--to", to]).good();
    check(&inside, ARCHIVE_SUMS);
    for dir in ["a/same", "b/same"] {
        std::fs::create_dir_all(machine.path(dir)).expect("made");
    }
    let (a, b) = (machine.path("a/same"), machine.path("b/same"));
    let folders = [a.to_str().expect("text"), b.to_str().expect("text")];
    machine
        .ods(&["import", folders[0], folders[1], "--to", "x"])
        .bad(2, &[folders[0], folders[1], "both go"]);
}

/// As the README has it: the old key is in the environment, the drive's own passphrase in the configuration.
#[test]
fn the_old_key_in_the_environment_is_not_taken_for_the_drive_s_passphrase() {
    let world = World::new();
    let mut machine = world.machine();
    machine.ods(&["init", "--save-passphrase"]).good();
    machine.unset("ODS_PASSPHRASE");
    machine.set("USER_KEY", python_bots::USER_KEY);
    machine
        .ods(&["import", &absolute(ARCHIVE), "--to", "old"])
        .good();
    machine.mount(&["-o", "ro"]).good();
    check(&machine.mnt().join("old"), ARCHIVE_SUMS);
}
