//! Days after which somebody has to do something: what, is said at once, everything local works on, and
//! once it is done all goes on without a remount, as far as it can.

use ods::emulator::permission;
use serde_json::json;

use crate::day::Day;
use crate::support::until;

/// Who asks to be told hears these words, and a script this code; local work goes on meanwhile.
fn refused(day: &mut Day, code: i32, says: &[&str]) {
    let before = day.counts();
    day.work(15);
    day.flush().bad(code, says);
    let told = |error: &serde_json::Value| {
        let error = error.as_str().unwrap_or_default();
        says.iter().all(|word| error.contains(word))
    };
    let status = day.status_when(says[0], |status| told(&status["last_error"]));
    assert_eq!(status["unpublished"], true);
    let page = day.machine.ods(&["status"]).good().out;
    assert!(page.contains("error") && page.contains(says[0]), "{page}");
    day.work(10);
    // Asked again, it looks again: at once, but not all the time.
    day.flush().bad(code, says);
    day.flush().bad(code, says);
    day.check();
    let after = day.counts();
    let (requests, invalid) = (
        after.requests - before.requests,
        after.invalid - before.invalid,
    );
    assert!(requests <= 50, "{requests} requests");
    assert!(invalid <= 30, "{invalid} invalid requests");
}

/// A permission is taken away in the middle, named, and given back.
fn withdrawn(seed: u64, bits: u64, says: &[&str]) {
    let mut day = Day::new(seed);
    let emulator = &day.world.emulator;
    emulator
        .set_permissions(permission::BOT & !bits)
        .expect("set");
    refused(&mut day, 12, says);
    let emulator = &day.world.emulator;
    emulator.set_permissions(permission::BOT).expect("set");
    day.flush().good();
    day.ends_well();
}

#[test]
fn attach_files_is_withdrawn() {
    withdrawn(60, permission::ATTACH_FILES, &["Attach Files"]);
}

#[test]
fn send_messages_in_threads_is_withdrawn() {
    let bits = permission::SEND_MESSAGES_IN_THREADS;
    withdrawn(61, bits, &["Send Messages in Threads"]);
}

#[test]
fn send_messages_is_withdrawn() {
    let mut day = Day::new(62);
    let bits = permission::BOT & !permission::SEND_MESSAGES;
    day.world.emulator.set_permissions(bits).expect("set");
    // A new archive wants a card.
    std::fs::create_dir(day.path("more")).expect("a directory");
    refused(&mut day, 12, &["Send Messages", "ods-archives ("]);
    let emulator = &day.world.emulator;
    emulator.set_permissions(permission::BOT).expect("set");
    day.flush().good();
    day.check();
    day.nothing_doubled();
    day.lose_machine();
    day.check();
    assert!(day.path("more").is_dir());
    day.machine.ods(&["umount"]).good();
}

#[test]
fn the_channels_are_hidden() {
    withdrawn(63, permission::VIEW_CHANNEL, &["View Channel"]);
}

#[test]
fn a_missing_permission_is_told_by_the_mount() {
    let day = Day::new(64);
    day.machine.ods(&["umount"]).good();
    let bits = permission::ATTACH_FILES | permission::MANAGE_THREADS;
    let emulator = &day.world.emulator;
    emulator
        .set_permissions(permission::BOT & !bits)
        .expect("set");
    let before = day.counts();
    let says = [
        "Attach Files in the archives channel",
        "Manage Threads in the archives channel",
        "oauth2",
    ];
    day.machine.mount(&[]).bad(12, &says);
    assert_eq!(day.counts().messages, before.messages, "no lease is taken");
    day.machine.mount(&["-o", "ro"]).good();
    day.check();
    day.machine.ods(&["umount"]).good();
    let emulator = &day.world.emulator;
    emulator.set_permissions(permission::BOT).expect("set");
    day.mount();
    day.ends_well();
}

#[test]
fn the_token_is_revoked() {
    let mut day = Day::new(65);
    day.world.emulator.revoke_token();
    refused(
        &mut day,
        11,
        &["does not accept the bot's token", "developer portal"],
    );
    day.world.emulator.restore_token();
    day.flush().good();
    day.ends_well();
}

#[test]
fn a_thread_is_locked_and_the_bot_may_not_unlock_it() {
    let mut day = Day::new(66);
    let bits = permission::BOT & !permission::MANAGE_THREADS;
    day.world.emulator.set_permissions(bits).expect("set");
    for thread in day.threads() {
        day.world.emulator.lock_thread(thread).expect("locked");
    }
    refused(&mut day, 12, &["locked", "Manage Threads"]);
    day.world
        .emulator
        .set_permissions(permission::BOT)
        .expect("set");
    day.flush().good();
    day.ends_well();
}

fn state_of(day: &Day, name: &str) -> String {
    let mut get = std::process::Command::new("getfattr");
    get.args(["--only-values", "-n", "user.ods.state"]);
    let answer = get.arg(day.path(name)).output().expect("getfattr");
    String::from_utf8(answer.stdout).expect("text")
}

/// An archive's thread is deleted: the archive goes on in a new one, and the files that are lost on
/// Discord are named. Everything else is served.
#[test]
fn a_thread_is_deleted() {
    let mut day = Day::unmounted(67);
    day.mount();
    for dir in ["docs", "media"] {
        std::fs::create_dir(day.path(dir)).expect("a directory");
        day.put(&format!("{dir}/old"), 300_000);
    }
    day.flush().good();
    let before = day.threads();
    let attribute = |name: &str| state_of(&day, name);
    assert_eq!(attribute("docs/old"), "remote");
    let mut thread = None;
    for candidate in &before {
        let held = day.world.emulator.attachments();
        let held = held.iter().filter(|one| one.channel == *candidate);
        thread = thread.or(held.map(|one| one.channel).next());
    }
    let thread = thread.expect("a thread");
    day.world.emulator.delete_channel(thread).expect("deleted");
    // Whose it was shows by who is damaged.
    for dir in ["docs", "media"] {
        day.put(&format!("{dir}/new"), 300_000);
    }
    day.flush().good();
    let status = day.status();
    let damaged = status["damaged"].as_array().expect("a list");
    assert_eq!(damaged.len(), 1, "{damaged:?}");
    let text = damaged[0][1].as_str().expect("text");
    let (lost, kept) = match text.starts_with("docs/old:") {
        true => ("docs/old", "media/old"),
        false => ("media/old", "docs/old"),
    };
    assert!(text.starts_with(&format!("{lost}: ")), "{text}");
    assert_eq!(state_of(&day, lost), "damaged");
    assert_eq!(state_of(&day, kept), "remote");
    assert!(day.machine.ods(&["status"]).good().out.contains(lost));
    day.check();
    assert_eq!(day.threads().len(), 2, "a new one for the lost one");

    // On another machine, what is lost is an error and never something else.
    day.lose_machine();
    let gone = day.model.remove(lost).expect("there");
    let error = std::fs::read(day.path(lost)).expect_err("lost");
    assert_eq!(error.raw_os_error(), Some(libc::EIO));
    assert_eq!(state_of(&day, lost), "damaged");
    // Written again, it is healed for good.
    std::fs::write(day.path(lost), &gone).expect("written");
    day.model.insert(lost.to_owned(), gone);
    day.flush().good();
    day.lose_machine();
    day.check();
    assert_eq!(day.status()["damaged"], json!([]));
    day.machine.ods(&["umount"]).good();
}

/// A thread is deleted while an epoch is on its way whose first packs lie in it already.
#[test]
fn a_thread_is_deleted_in_the_middle_of_an_upload() {
    let mut day = Day::unmounted(68);
    day.mount();
    for dir in ["docs", "media"] {
        std::fs::create_dir(day.path(dir)).expect("a directory");
    }
    day.put("docs/first", 1_000);
    day.flush().good();
    day.model.remove("docs/first");
    std::fs::remove_file(day.path("docs/first")).expect("removed");
    day.flush().good();
    // Two messages of 25 MiB at most; the thread goes between them.
    day.put("docs/large", 45 << 20);
    let fault =
        ods::emulator::Fault::new(crate::day::POST, ods::emulator::FaultKind::ChannelDeleted);
    let id = day.world.emulator.faults().add(fault.times(1).after(1));
    day.flush().good();
    assert_eq!(day.world.emulator.faults().met(id), 1);
    assert_eq!(day.status()["damaged"], json!([]));
    day.check();
    day.lose_machine();
    day.check();
    day.machine.ods(&["umount"]).good();
}

/// The archives channel is deleted, and every pack with it. What was not uploaded yet finds its way
/// into a new channel, and so does the drive on the next machine.
#[test]
fn the_archives_channel_is_deleted() {
    let mut day = Day::new(69);
    let old = day.channel("archives_channel");
    day.world.emulator.delete_channel(old).expect("deleted");
    let names: Vec<String> = day.model.keys().cloned().collect();
    let says = [
        "ods-archives",
        &old.to_string(),
        "is gone",
        "archives_channel",
        "mount",
    ];
    refused(&mut day, 13, &says);
    day.machine.ods(&["umount", "--force"]).good();
    // Mounting says it too, and mounts.
    let noted = day.machine.mount(&["-o", "patience=1"]).good();
    assert!(noted.err.contains(&old.to_string()), "{noted:?}");
    day.check();
    day.machine.ods(&["umount", "--force"]).good();

    let new = make_channel(&day, "archives-again");
    let config = day.machine.path("config/ods/config.toml");
    let text = std::fs::read_to_string(&config).expect("readable");
    let text = text.replace(&old.to_string(), &new.to_string());
    std::fs::write(&config, text).expect("written");
    day.mount();
    day.flush().good();
    // All that was there before is gone on Discord; all that came later is not.
    for name in names {
        if day.model.remove(&name).is_some() {
            std::fs::remove_file(day.path(&name)).expect("removed");
        }
    }
    for index in 0..10 {
        day.put(&format!("docs/after{index}"), 50_000);
    }
    day.flush().good();
    day.lose_machine();
    assert_eq!(day.channel("archives_channel"), new);
    let mut lost = Vec::new();
    for (name, bytes) in &day.model {
        match std::fs::read(day.path(name)) {
            Ok(found) => assert!(found == *bytes, "{name} differs"),
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(libc::EIO), "{name}");
                lost.push(name.clone());
            }
        }
    }
    // Renamed or changed in place, a file may still refer to what is gone.
    assert!(lost.iter().all(|name| !name.contains("after")), "{lost:?}");
    day.machine.ods(&["umount"]).good();
}

fn make_channel(day: &Day, name: &str) -> u64 {
    let url = format!(
        "{}/guilds/{}/channels",
        day.world.emulator.api_url(),
        day.world.emulator.guild_id()
    );
    let mut curl = std::process::Command::new("curl");
    curl.args(["-sf", "-A", "DiscordBot (x, 1)", "-H"]);
    curl.arg(format!("Authorization: Bot {}", day.world.emulator.token()));
    curl.args(["-H", "Content-Type: application/json", "-d"]);
    let answer = curl
        .arg(json!({"name": name}).to_string())
        .arg(url)
        .output();
    let made: serde_json::Value =
        serde_json::from_slice(&answer.expect("curl").stdout).expect("JSON");
    made["id"]
        .as_str()
        .expect("an id")
        .parse()
        .expect("a number")
}

/// Without its journal a drive can only be read: that is said, and possible.
#[test]
fn the_journal_channel_is_deleted() {
    let mut day = Day::new(70);
    let journal = day.channel("journal_channel");
    let published = day.model.clone();
    day.world.emulator.delete_channel(journal).expect("deleted");
    let says = [
        "ods-journal",
        &journal.to_string(),
        "is gone",
        "copy everything",
        "ods init --name",
    ];
    refused(&mut day, 13, &says);
    day.machine.ods(&["umount"]).bad(13, &says);
    day.check();
    day.machine.ods(&["umount", "--force"]).good();
    day.machine.mount(&[]).bad(13, &says);
    day.machine.mount(&["-o", "ro,patience=1"]).good();
    // Also what never reached Discord.
    day.check();
    assert!(!published.is_empty());
    let left = ["not on Discord", "read-only", "spool"];
    day.machine.ods(&["umount"]).bad(25, &left);
    day.machine.ods(&["init", "--name", "again"]).good();
    let second = day.machine.path("second");
    std::fs::create_dir(&second).expect("a directory");
    day.machine.mount_at(&second, &["again"]).good();
    std::fs::write(second.join("file"), "content").expect("written");
    day.machine.ods(&["umount", "again"]).good();
}

/// Another machine takes the drive while this one has something to upload.
#[test]
fn the_drive_is_taken_over() {
    let mut day = Day::new(71);
    let other = day.world.machine();
    other.ods(&["init", "--join"]).good();
    other.mount(&["-o", "takeover"]).good();
    day.work(10);
    day.flush().bad(17, &["took the drive over", "--takeover"]);
    let status = day.status();
    let why = status["read_only"].as_str().expect("why");
    assert!(why.contains("took the drive over"), "{why}");
    let error = std::fs::write(day.path("more"), "text").expect_err("read-only");
    assert_eq!(error.raw_os_error(), Some(libc::EROFS));
    day.check();
    other.ods(&["umount"]).good();
    day.machine.ods(&["umount", "--force"]).good();
    day.mount();
    day.flush().good();
    until("the lease to be ours again", || {
        day.status()["read_only"].is_null()
    });
    day.ends_well();
}
