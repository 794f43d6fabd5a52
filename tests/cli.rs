//! The programs as people run them: real binaries, a real mount, an emulated Discord.

#[path = "support/ods.rs"]
mod support;

use std::path::Path;

use ods::emulator::ErrorBody;
use ods::emulator::Fault;
use ods::emulator::FaultKind;
use ods::emulator::permission;
use support::Machine;
use support::PASSPHRASE;
use support::World;
use support::is_mounted;
use support::kill;
use support::until;

/// Content that no compressor makes small, the same each time.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    });
    next.take(bytes).collect()
}

fn fill(dir: &Path) {
    std::fs::create_dir_all(dir.join("photos/2026")).expect("a directory");
    std::fs::write(dir.join("photos/2026/one.bin"), noise(3 << 20)).expect("written");
    std::fs::write(dir.join("note.txt"), "hello, drive\n").expect("written");
    std::os::unix::fs::symlink("note.txt", dir.join("link")).expect("a link");
}

#[track_caller]
fn check(dir: &Path) {
    let read = |path: &str| std::fs::read(dir.join(path)).expect("readable");
    assert!(read("photos/2026/one.bin") == noise(3 << 20));
    assert_eq!(read("link"), b"hello, drive\n");
}

/// A machine with a drive.
fn with_drive(world: &World) -> Machine {
    let machine = world.machine();
    machine.ods(&["init"]).good();
    machine
}

/// Uploads fail until the faults are cleared.
fn break_uploads(world: &World) {
    let error = FaultKind::Error {
        status: 503,
        body: ErrorBody::default(),
    };
    let fault = Fault::new("POST /channels/{}/messages", error);
    world.emulator.faults().add(fault);
}

#[test]
fn a_drive_from_its_beginning_over_the_loss_of_the_machine() {
    let world = World::new();
    let machine = world.machine();
    let made = machine.ods(&["init", "--json"]).good().json();
    assert!(
        made["recovery_key"]
            .as_str()
            .expect("a key")
            .starts_with("ods-recovery-")
    );
    assert!(
        made["invite"]
            .as_str()
            .expect("a link")
            .contains("permissions=")
    );
    let idle = machine.ods(&["status", "--json"]).good().json();
    assert_eq!(idle["mounted"], false);

    machine.mount(&[]).good();
    fill(&machine.mnt());
    machine.ods(&["flush"]).good();
    let status = machine.ods(&["status", "--json"]).good().json();
    assert_eq!(status["mounted"], true);
    assert_eq!(status["unpublished"], false);
    assert_eq!(status["dirty_bytes"], 0);
    assert!(
        status["discord"]["requests_total"]
            .as_u64()
            .expect("a number")
            > 0
    );
    assert!(
        machine.ods(&["status"]).good().out.contains("#"),
        "archives"
    );
    machine.ods(&["umount"]).good();
    assert!(!is_mounted(&machine.mnt()));
    machine.ods(&["flush"]).bad(23, &["main", "not mounted"]);

    std::fs::remove_dir_all(machine.path("state")).expect("removed");
    std::fs::remove_dir_all(machine.path("config")).expect("removed");
    let joined = machine.ods(&["init", "--join", "--json"]).good().json();
    assert_eq!(joined["id"], made["id"]);
    assert_eq!(joined["files"].as_u64(), Some(4), "{joined}");
    machine.mount(&[]).good();
    check(&machine.mnt());
    machine
        .ods(&["umount", machine.mnt().to_str().expect("text")])
        .good();
}

#[test]
fn a_daemons_log_stays_short_while_it_runs() {
    let world = World::new();
    let machine = with_drive(&world);
    machine.mount(&[]).good();
    let log = machine.state("main").join("log");
    // It has no name for a moment when it is begun anew.
    let len = || std::fs::metadata(&log).map_or(0, |log| log.len());
    std::fs::write(machine.mnt().join("file"), "x").expect("written");
    let file = std::fs::File::open(machine.mnt().join("file")).expect("opened");
    let before = len();
    assert!(before > 0, "a log");
    for _ in 0..500 {
        // Is it a terminal? Many programs ask, of every file they open.
        assert!(!std::io::IsTerminal::is_terminal(&file));
    }
    assert_eq!(len(), before);
    drop(file);
    machine.ods(&["umount"]).good();

    machine.mount(&["-o", "patience=1"]).good();
    let mut long = std::fs::File::options().append(true).open(&log);
    let long = long.as_mut().expect("opened");
    let lines = "a line of an earlier day\n".repeat(1000);
    while len() < 11 << 20 {
        std::io::Write::write_all(long, lines.as_bytes()).expect("written");
    }
    break_uploads(&world);
    fill(&machine.mnt());
    until("a new log, and something in it", || {
        (1..1 << 20).contains(&len())
    });
    let old = std::fs::metadata(log.with_extension("old")).expect("kept");
    assert!(old.len() > 10 << 20);
    machine.ods(&["umount", "--force"]).good();
}

#[test]
fn secrets_are_nowhere_but_where_they_belong() {
    let world = World::new();
    let mut machine = world.machine();
    machine.set("ODS_LOG", "trace");
    machine.ods(&["init"]).good();
    machine.mount(&["-vvv"]).good();
    fill(&machine.mnt());
    let pid = machine.daemon();
    let argv = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).expect("readable");
    let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let environ = String::from_utf8_lossy(&environ).into_owned();
    machine.ods(&["umount"]).good();
    let mut kept = String::new();
    let mut dirs = vec![machine.path("state"), machine.path("config")];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).expect("readable").flatten() {
            let meta = entry.metadata().expect("there");
            use std::os::unix::fs::MetadataExt;
            assert_eq!(
                meta.mode() & 0o077,
                0,
                "{} is open to others",
                entry.path().display()
            );
            match meta.is_dir() {
                true => dirs.push(entry.path()),
                false if meta.is_file() => {
                    let bytes = std::fs::read(entry.path()).expect("readable");
                    kept.push_str(&String::from_utf8_lossy(&bytes));
                }
                false => {}
            }
        }
    }
    let proof = world
        .emulator
        .token()
        .rsplit('.')
        .next()
        .expect("a token")
        .to_owned();
    for (what, text) in [
        ("argv", argv),
        ("environment of the daemon", environ),
        ("output", machine.said()),
        ("files", kept),
    ] {
        assert!(!text.contains(&proof), "the token is in {what}");
        assert!(!text.contains(PASSPHRASE), "the passphrase is in {what}");
    }
}

#[test]
fn wrong_secrets_are_told_apart_and_change_nothing() {
    let world = World::new();
    let mut machine = with_drive(&world);
    let before = world.emulator.counts();
    machine.set("ODS_PASSPHRASE", "wrong");
    machine.mount(&[]).bad(10, &["passphrase", "wrong"]);
    machine.set("ODS_PASSPHRASE", "");
    machine.mount(&[]).bad(4, &["empty"]);
    machine
        .ods(&["init", "--name", "other"])
        .bad(6, &["--join"]);
    machine.unset("ODS_PASSPHRASE");
    machine.mount(&[]).bad(4, &["ODS_PASSPHRASE"]);
    machine.set("USER_KEY", PASSPHRASE);
    let file = machine.path("token");
    std::fs::write(&file, world.emulator.token()).expect("written");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&file, open).expect("allowed");
    let flag = ["--token-file", file.to_str().expect("text")];
    machine.mount(&flag).bad(4, &["chmod 600"]);
    world.emulator.revoke_token();
    machine.mount(&[]).bad(11, &["token", "developer portal"]);
    machine.ods(&["invite"]).bad(11, &["token"]);
    world.emulator.restore_token();
    machine.set("DISCORD_BOT_TOKEN", "no token");
    machine.mount(&[]).bad(11, &["not a bot token"]);
    assert_eq!(world.emulator.counts().messages, before.messages);
    machine.set("DISCORD_BOT_TOKEN", world.emulator.token());
    machine.mount(&[]).good();
    machine.ods(&["umount"]).good();
}

#[test]
fn init_refuses_what_cannot_work() {
    let world = World::new();
    let mut machine = world.machine();
    machine.set("ODS_PASSPHRASE", "");
    machine.ods(&["init"]).bad(4, &["empty"]);
    assert_eq!(
        world
            .emulator
            .counts()
            .route("POST /guilds/{guild_id}/channels"),
        0
    );
    machine.set("ODS_PASSPHRASE", PASSPHRASE);
    machine.ods(&["init", "--join"]).bad(5, &["no drive"]);
    machine
        .ods(&["init", "--server", "17"])
        .bad(13, &["server 17", "oauth2"]);
    let all = permission::BOT;
    world
        .emulator
        .set_permissions(all & !(1 << 51))
        .expect("set");
    machine.ods(&["init"]).bad(12, &["Pin Messages", "oauth2"]);
    assert_eq!(world.emulator.counts().messages, 0);
    assert!(!machine.path("config").exists());
    world.emulator.set_permissions(all).expect("set");
    machine.ods(&["init"]).good();
    machine.ods(&["init"]).bad(6, &["main"]);
    machine.ods(&["init", "--name", "a/b"]).bad(2, &["a/b"]);
    machine
        .ods(&["init", "--api-base", "http://discord.com"])
        .bad(6, &["main"]);
    let elsewhere = ["init", "--name", "b", "--api-base", "http://discord.com"];
    machine.ods(&elsewhere).bad(2, &["https"]);
}

#[test]
fn a_bad_configuration_is_told_with_its_line_and_stays() {
    let world = World::new();
    let machine = with_drive(&world);
    let path = machine.path("config/ods/config.toml");
    let good = std::fs::read_to_string(&path).expect("readable");
    for (text, says) in [
        (format!("{good}colour = 3\n"), "colour"),
        (format!("{good}server = \n"), "line"),
        (good.replace("server = ", "serwer = "), "serwer"),
    ] {
        std::fs::write(&path, &text).expect("written");
        machine.mount(&[]).bad(3, &["config.toml, line", says]);
        machine
            .ods(&["init", "--name", "two"])
            .bad(3, &["config.toml, line"]);
        assert_eq!(std::fs::read_to_string(&path).expect("readable"), text);
    }
    std::fs::write(&path, good).expect("written");
    machine.mount(&["nobody"]).bad(3, &["nobody", "main"]);
}

#[test]
fn bad_places_and_options_are_named() {
    let world = World::new();
    let machine = with_drive(&world);
    let requests = world.emulator.counts().requests;
    machine
        .mount_at(&machine.path("nowhere"), &[])
        .bad(22, &["nowhere"]);
    std::fs::write(machine.path("file"), "").expect("written");
    machine
        .mount_at(&machine.path("file"), &[])
        .bad(22, &["not a directory"]);
    machine
        .mount_at(&machine.path("config"), &[])
        .bad(22, &["not empty"]);
    // Not there yet, so that the mount point is empty.
    let inside = machine.mnt().join("deep/state");
    let inside = inside.to_str().expect("text");
    machine
        .mount(&["--state", inside])
        .bad(22, &["inside the mount point", inside]);
    machine.mount(&["-o", "frobnicate"]).bad(2, &["frobnicate"]);
    machine.mount(&["-o", "cache=lots"]).bad(2, &["cache=lots"]);
    machine.mount(&["--frobnicate"]).bad(2, &["--frobnicate"]);
    assert_eq!(world.emulator.counts().requests, requests);
    machine
        .mount(&["-o", "nofail,x-whatever,_netdev,rw"])
        .good();
    machine.mount(&[]).bad(22, &["mounted already"]);
    let other = machine.path("other");
    std::fs::create_dir(&other).expect("a directory");
    machine.mount_at(&other, &[]).bad(18, &["in use"]);
    let help = machine.ods(&["--help"]).good().out;
    for code in ["10  the passphrase", "17  the drive is in use"] {
        assert!(help.contains(code), "{help}");
    }
    // A second drive's configuration with the first one's state directory.
    let second = World::new();
    let mut stranger = second.machine();
    stranger.set(
        "ODS_STATE_DIR",
        machine.state("main").to_str().expect("text"),
    );
    machine.ods(&["umount"]).good();
    stranger.ods(&["init"]).bad(18, &["another drive"]);
    stranger.unset("ODS_STATE_DIR");
    stranger.ods(&["init"]).good();
    let state = format!("state={}", machine.state("main").display());
    stranger.mount(&["-o", &state]).bad(18, &["another drive"]);
    machine.mount(&[]).good();
    machine.ods(&["umount"]).good();
}

#[test]
fn another_machine_is_told_who_has_the_drive() {
    let world = World::new();
    let first = with_drive(&world);
    first.mount(&[]).good();
    fill(&first.mnt());
    first.ods(&["flush"]).good();
    let second = world.machine();
    second.ods(&["init", "--join"]).good();
    second.mount(&[]).bad(17, &["in use by", "takeover"]);
    second.mount(&["-o", "ro"]).good();
    check(&second.mnt());
    assert!(std::fs::write(second.mnt().join("new"), "").is_err());
    second.ods(&["umount"]).good();
    first.ods(&["umount"]).good();
    second.mount(&[]).good();
    second.ods(&["umount"]).good();
}

#[test]
fn what_is_gone_or_out_of_reach_is_told() {
    let world = World::new();
    let mut machine = with_drive(&world);
    machine.set("ODS_API_BASE", "http://127.0.0.1:9");
    // What is waited for, and how long, is said before it is given up; in the background too.
    let waits = [
        "does not answer",
        "could not be reached",
        "8 s at most",
        "14",
    ];
    machine.mount(&["-o", "patience=8"]).bad(14, &waits);
    machine.set("ODS_API_BASE", &world.emulator.base_url());
    let config = std::fs::read_to_string(machine.path("config/ods/config.toml"));
    let config = config.expect("readable");
    let journal = config
        .lines()
        .find_map(|line| line.strip_prefix("journal_channel = "));
    let journal = journal.expect("a channel");
    let url = format!("{}/channels/{journal}", world.emulator.api_url());
    let token = format!("Bot {}", world.emulator.token());
    let mut delete = std::process::Command::new("curl");
    delete.args(["-sf", "-A", "DiscordBot (x, 1)", "-X", "DELETE", "-H"]);
    delete.args([&format!("Authorization: {token}"), &url]);
    assert!(delete.output().expect("curl").status.success());
    machine.mount(&[]).bad(13, &[journal, "gone"]);
}

#[test]
fn a_newer_drive_is_left_alone() {
    let world = World::new();
    let machine = with_drive(&world);
    let copy = machine.state("main").join("superblock");
    let mut bytes = std::fs::read(&copy).expect("readable");
    bytes[6] = 2;
    let config = std::fs::read_to_string(machine.path("config/ods/config.toml"));
    let config = config.expect("readable");
    let journal = config
        .lines()
        .find_map(|line| line.strip_prefix("journal_channel = "));
    let journal = journal.expect("a channel");
    let name = "b-0000000000000009-0011223344556677.bin";
    let file = machine.path(name);
    std::fs::write(&file, bytes).expect("written");
    let base = format!("{}/channels/{journal}/messages", world.emulator.api_url());
    let token = format!("Authorization: Bot {}", world.emulator.token());
    let curl = |args: &[&str]| {
        let mut curl = std::process::Command::new("curl");
        curl.args(["-sf", "-A", "DiscordBot (x, 1)", "-H", &token])
            .args(args);
        let output = curl.output().expect("curl");
        assert!(output.status.success(), "{output:?}");
        output.stdout
    };
    let form = format!("files[0]=@{}", file.display());
    let made = curl(&["-F", &form, &base]);
    let made: serde_json::Value = serde_json::from_slice(&made).expect("JSON");
    let pin = format!("{base}/pins/{}", made["id"].as_str().expect("an id"));
    curl(&["-X", "PUT", "-d", "", &pin]);
    machine.mount(&[]).bad(15, &["update ods"]);
}

#[test]
fn a_signal_brings_everything_to_discord() {
    let world = World::new();
    let machine = with_drive(&world);
    let mnt = machine.mnt();
    let mut mount = machine.start("ods-mount", &[mnt.to_str().expect("text")]);
    mount.says("main is mounted");
    fill(&mnt);
    mount.signal("INT");
    mount.ended().bad(
        0,
        &["a second signal stops at once", "everything is on Discord"],
    );
    assert!(!is_mounted(&mnt));
    std::fs::remove_dir_all(machine.path("state")).expect("removed");
    machine.ods(&["init", "--join"]).good();
    machine.mount(&[]).good();
    check(&mnt);
    machine.ods(&["umount"]).good();
}

#[test]
fn a_second_signal_stops_and_the_spool_keeps_what_is_missing() {
    let world = World::new();
    let machine = with_drive(&world);
    let mnt = machine.mnt();
    let mut mount = machine.start("ods-mount", &[mnt.to_str().expect("text")]);
    mount.says("main is mounted");
    break_uploads(&world);
    fill(&mnt);
    mount.signal("TERM");
    mount.says("a second signal stops at once");
    mount.signal("TERM");
    mount.ended().bad(25, &["not on Discord yet", "spool"]);
    world.emulator.faults().clear();
    let status = machine.ods(&["status", "--json"]).good().json();
    assert_eq!(status["unpublished"], true);
    until("the mount to go", || !is_mounted(&mnt));
    machine.mount(&[]).good();
    check(&mnt);
    machine.ods(&["umount"]).good();
}

#[test]
fn a_killed_daemon_loses_nothing() {
    let world = World::new();
    let machine = with_drive(&world);
    machine.mount(&[]).good();
    break_uploads(&world);
    fill(&machine.mnt());
    let pid = machine.daemon();
    kill(pid, "KILL");
    let mnt = machine.mnt();
    until("the daemon to die", || std::fs::metadata(&mnt).is_err());
    machine
        .ods(&["flush", mnt.to_str().expect("text")])
        .bad(23, &["nobody serves"]);
    world.emulator.faults().clear();
    machine.mount(&[]).good();
    check(&mnt);
    machine.ods(&["umount"]).good();
}

#[test]
fn a_file_that_was_open_without_a_name_does_not_outlive_a_kill() {
    let world = World::new();
    let machine = with_drive(&world);
    machine.mount(&[]).good();
    let (mnt, gone) = (machine.mnt(), machine.mnt().join("gone"));
    let nodes = || {
        let mut stat = std::process::Command::new("stat");
        let output = stat.args(["-f", "-c", "%c %d"]).arg(&mnt).output();
        output.expect("stat runs").stdout
    };
    let before = nodes();
    std::fs::write(&gone, noise(3 << 20)).expect("written");
    let file = std::fs::File::open(&gone).expect("open");
    machine.ods(&["flush"]).good();
    std::fs::remove_file(&gone).expect("unlinked");
    assert_eq!(file.metadata().expect("it is still there").len(), 3 << 20);
    assert_ne!(nodes(), before, "it counts while it is open");
    kill(machine.daemon(), "KILL");
    until("the daemon to die", || std::fs::metadata(&mnt).is_err());
    drop(file);
    machine.mount(&[]).good();
    machine.ods(&["flush"]).good();
    assert_eq!(nodes(), before);
    machine.ods(&["verify"]).good();
    machine.ods(&["umount"]).good();
}

#[test]
fn a_wait_that_takes_too_long_says_where_it_is() {
    let world = World::new();
    let machine = with_drive(&world);
    machine.mount(&[]).good();
    break_uploads(&world);
    fill(&machine.mnt());
    machine.ods(&["flush", "--timeout", "1"]).bad(24, &["MiB"]);
    machine
        .ods(&["umount", "--timeout", "1"])
        .bad(24, &["stays mounted"]);
    assert!(is_mounted(&machine.mnt()));
    let forced = machine.ods(&["umount", "--force"]).good();
    assert!(forced.err.contains("not on Discord yet"), "{forced:?}");
    assert!(!is_mounted(&machine.mnt()));
    world.emulator.faults().clear();
    machine.mount(&[]).good();
    check(&machine.mnt());
    let held = std::fs::File::open(machine.mnt().join("note.txt")).expect("there");
    machine.ods(&["umount"]).bad(22, &["in use"]);
    drop(held);
    machine.ods(&["umount"]).good();
}

#[test]
fn the_helpers_of_mount_8_mount_and_wait() {
    let world = World::new();
    let machine = with_drive(&world);
    let mnt = machine.mnt();
    let at = mnt.to_str().expect("text");
    machine
        .helper("mount.fuse.ods", &["main", at, "-n", "-o", "rw,nofail"])
        .good();
    fill(&mnt);
    let flags = "remount,ro,nodev,nosuid,noatime,user_id=0";
    machine
        .helper("mount.fuse.ods", &["ods#main", at, "-o", flags])
        .good();
    let refused = std::fs::write(mnt.join("refused"), "").expect_err("it is read-only");
    assert_eq!(refused.raw_os_error(), Some(libc::EROFS));
    let flags = "remount,rw,nodev,nosuid,noatime";
    machine
        .helper("mount.fuse.ods", &["ods#main", at, "-o", flags])
        .good();
    std::fs::write(mnt.join("taken"), "").expect("it can be written again");
    std::fs::remove_file(mnt.join("taken")).expect("removed");
    machine.helper("umount.fuse.ods", &[at, "-n"]).good();
    assert!(!is_mounted(&mnt));
    let status = machine.ods(&["status", "--json"]).good().json();
    assert_eq!(status["mounted"], false);
    assert_eq!(status["unpublished"], false, "umount waited");
    std::fs::remove_dir_all(machine.path("state")).expect("removed");
    machine.ods(&["init", "--join"]).good();
    machine
        .helper("mount.fuse.ods", &["none", at, "-o", "ro"])
        .good();
    check(&mnt);
    // Taken away from outside, the daemon ends by itself.
    let pid = machine.daemon();
    let mut umount = std::process::Command::new("umount");
    assert!(
        umount
            .arg("-i")
            .arg(&mnt)
            .status()
            .expect("umount")
            .success()
    );
    until("the daemon to end", || {
        !Path::new(&format!("/proc/{pid}")).exists()
    });
    machine
        .helper("umount.fuse.ods", &[at])
        .bad(22, &["cannot unmount"]);
}

#[test]
fn a_demo_goes_on_where_it_was_killed() {
    let machine = Machine::new();
    let mnt = machine.mnt();
    let at = mnt.to_str().expect("text");
    let data = machine.path("data");
    let args = ["demo", at, "--data", data.to_str().expect("text")];
    let mut demo = machine.start("ods", &args);
    demo.says("demo is mounted");
    fill(&mnt);
    machine.ods(&["flush"]).good();
    std::fs::write(mnt.join("late"), "after the flush").expect("written");
    demo.signal("KILL");
    demo.ended();
    let mut demo = machine.start("ods", &args);
    demo.says("demo is mounted");
    check(&mnt);
    assert_eq!(
        std::fs::read(mnt.join("late")).expect("there"),
        b"after the flush"
    );
    let status = machine.ods(&["status", "--json"]).good().json();
    assert_eq!(status["name"], "demo");
    demo.signal("INT");
    demo.ended().good();
    assert!(!is_mounted(&mnt));
    let mut words = args.to_vec();
    words.push("--daemon");
    machine.ods(&words).good();
    check(&mnt);
    machine.ods(&["umount"]).good();
    assert!(!is_mounted(&mnt));
}

#[test]
fn keys_change_and_the_drive_stays() {
    let world = World::new();
    let mut machine = world.machine();
    let made = machine.ods(&["init", "--json"]).good().json();
    let recovery = made["recovery_key"].as_str().expect("a key").to_owned();
    machine.set("ODS_NEW_PASSPHRASE", "another one");
    machine.ods(&["passphrase"]).good();
    machine.mount(&[]).bad(10, &["wrong"]);
    machine.set("ODS_PASSPHRASE", "another one");
    machine.mount(&[]).good();
    machine.ods(&["umount"]).good();
    machine.set("ODS_PASSPHRASE", &recovery);
    machine.mount(&[]).good();
    machine.ods(&["umount"]).good();
    machine.set("ODS_PASSPHRASE", "another one");
    let shown = machine.ods(&["passphrase", "--recovery-key"]).good().out;
    assert!(shown.contains("ods-recovery-") && !shown.contains(&recovery));
    machine.set("ODS_PASSPHRASE", &recovery);
    machine.mount(&[]).bad(10, &["wrong"]);
}

#[test]
fn the_emulator_says_what_a_client_needs() {
    use std::io::BufRead;
    let machine = Machine::new();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ods"));
    command.args(["emulator", "--listen", "127.0.0.1:0", "--json"]);
    let mut child = command
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut line = String::new();
    let out = child.stdout.take().expect("a pipe");
    std::io::BufReader::new(out)
        .read_line(&mut line)
        .expect("a line");
    let told: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    let mut machine = machine;
    machine.set(
        "DISCORD_BOT_TOKEN",
        told["token"].as_str().expect("a token"),
    );
    machine.set("ODS_API_BASE", told["url"].as_str().expect("an address"));
    let link = machine.ods(&["invite"]).good().out;
    assert!(link.contains("oauth2/authorize"), "{link}");
    kill(i32::try_from(child.id()).expect("small"), "INT");
    assert!(child.wait().expect("it ends").success());
}
