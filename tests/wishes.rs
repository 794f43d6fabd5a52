//! Every command that copies, lists, describes and deletes, as people run it: on a mounted drive through its
//! socket, and on one that is not mounted.

#[path = "support/ods.rs"]
mod support;

use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use ods::emulator::ErrorBody;
use ods::emulator::Fault;
use ods::emulator::FaultKind;
use support::Machine;
use support::World;
use support::until;

/// Content that no compressor makes small, another for each seed.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    });
    next.take(bytes).collect()
}

/// A directory with a bit of everything.
fn fill(dir: &Path) {
    std::fs::create_dir_all(dir.join("deep/er")).expect("a directory");
    std::fs::write(dir.join("one.bin"), noise(1, 3 << 20)).expect("written");
    std::fs::write(dir.join("same.bin"), noise(1, 3 << 20)).expect("written");
    std::fs::write(dir.join("deep/er/Note.txt"), "words ".repeat(50_000)).expect("written");
    std::fs::write(dir.join("deep/empty"), "").expect("written");
    std::os::unix::fs::symlink("one.bin", dir.join("link")).expect("a link");
    let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_234_567_890);
    let file = std::fs::File::options()
        .write(true)
        .open(dir.join("one.bin"));
    file.and_then(|file| file.set_modified(old)).expect("set");
    let mode = std::fs::Permissions::from_mode(0o640);
    std::fs::set_permissions(dir.join("one.bin"), mode).expect("set");
}

#[track_caller]
fn same(one: &Path, other: &Path) {
    let text = |path: &Path| path.to_str().expect("text").to_owned();
    let mut diff = std::process::Command::new("diff");
    let diff = diff.args(["-r", "--no-dereference", &text(one), &text(other)]);
    let said = diff.output().expect("diff runs");
    assert!(said.status.success(), "{said:?}");
}

fn with_drive(world: &World) -> Machine {
    let machine = world.machine();
    machine.ods(&["init"]).good();
    machine
}

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

/// Uploads, lists, searches, shows, describes, downloads, deletes.
fn a_life(machine: &Machine) {
    let (source, dest) = (machine.path("photos"), machine.path("back"));
    fill(&source);
    let words = [
        "--title",
        "Summer",
        "--tags",
        "sea,sun",
        "--description",
        "All of it",
    ];
    let mut args = vec!["upload", text(&source), "--json"];
    args.extend(words);
    let put = machine.ods(&args).good().json();
    assert_eq!(
        (put["files"].as_u64(), put["skipped"].as_u64()),
        (Some(5), Some(0)),
        "{put}"
    );
    let id = put["archives"][0].as_str().expect("an archive").to_owned();

    let again = machine
        .ods(&["upload", text(&source), "--json"])
        .good()
        .json();
    assert_eq!(
        (again["files"].as_u64(), again["skipped"].as_u64()),
        (Some(0), Some(5))
    );
    let checked = machine
        .ods(&["upload", text(&source), "--checksum", "--json"])
        .good()
        .json();
    assert_eq!(checked["skipped"].as_u64(), Some(5), "{checked}");

    let list = machine.ods(&["list", "--json"]).good().json();
    let info = &list["archives"][0];
    assert_eq!(
        (info["id"].as_str(), info["title"].as_str()),
        (Some(&*id), Some("Summer"))
    );
    assert_eq!(
        (info["files"].as_u64(), info["state"].as_str()),
        (Some(5), Some("stored"))
    );
    assert_eq!(info["tags"][1].as_str(), Some("sun"));
    assert!(
        info["dedup_saving"].as_f64().expect("a share") > 0.4,
        "{info}"
    );
    assert!(
        info["compression_saving"].as_f64().expect("a share") > 0.01,
        "{info}"
    );
    assert!(
        info["chunks"].as_u64() >= Some(3) && info["packs"].as_u64() >= Some(1),
        "{info}"
    );
    let shown = machine.ods(&["ls"]).good();
    assert!(
        shown.out.contains("photos “Summer”") && !shown.out.contains('\x1b'),
        "{shown:?}"
    );
    let long = machine.ods(&["ls", "-l", "/photos"]).good().out;
    assert!(
        long.contains("-rw-r-----") && long.contains("deep/"),
        "{long}"
    );
    assert_eq!(
        machine.ods(&["ls", &id]).good().out,
        "deep/\nlink\none.bin\nsame.bin\n"
    );

    let found = machine.ods(&["search", "note"]).good().out;
    assert!(found.contains("/photos/deep/er/Note.txt"), "{found}");
    assert!(machine.ods(&["search", "SUMMER"]).good().out.contains(&id));
    machine.ods(&["search", "nowhere"]).bad(27, &["nothing"]);

    let about = machine.ods(&["info", &id, "--json"]).good().json();
    assert_eq!(
        about[0]["archive"]["description"].as_str(),
        Some("All of it")
    );
    assert_eq!(about[0]["chunks"], info["chunks"]);
    let file = machine.ods(&["info", "/photos/one.bin"]).good().out;
    assert!(
        file.contains("3.0 MiB") && file.contains("discord.com/channels"),
        "{file}"
    );

    machine
        .ods(&["describe", &id, "--title", "Winter", "--tags", ""])
        .good();
    assert!(machine.ods(&["history"]).good().out.contains("Winter"));
    let stats = machine.ods(&["stats", "--json"]).good().json();
    assert_eq!(
        (stats["files"].as_u64(), stats["archives"].as_u64()),
        (Some(5), Some(2))
    );
    assert!(machine.ods(&["channels"]).good().out.contains(&id));

    let got = machine
        .ods(&["download", &id, text(&dest), "--json"])
        .good()
        .json();
    assert_eq!(
        (
            got["files"].as_u64(),
            got["failed"].as_array().map(Vec::len)
        ),
        (Some(5), Some(0))
    );
    same(&source, &dest.join("photos"));
    let (was, is) = (
        source.join("one.bin").metadata(),
        dest.join("photos/one.bin").metadata(),
    );
    let (was, is) = (was.expect("there"), is.expect("there"));
    assert_eq!(
        (was.mode(), was.mtime(), was.mtime_nsec()),
        (is.mode(), is.mtime(), is.mtime_nsec())
    );
    let again = machine
        .ods(&["download", &id, text(&dest), "--json"])
        .good()
        .json();
    assert_eq!(
        (again["files"].as_u64(), again["skipped"].as_u64()),
        (Some(0), Some(5))
    );

    // What differs is not replaced unasked, in either direction.
    std::fs::write(dest.join("photos/deep/empty"), "mine").expect("written");
    machine
        .ods(&["download", &id, text(&dest)])
        .bad(28, &["replaced", "deep/empty", "--yes"]);
    std::fs::write(source.join("deep/empty"), "new").expect("written");
    machine
        .ods(&["upload", text(&source)])
        .bad(28, &["replaced", "/photos/deep/empty"]);
    machine.ods(&["upload", "--yes", text(&source)]).good();
    machine.ods(&["download", "--yes", &id, text(&dest)]).good();
    same(&source, &dest.join("photos"));

    machine
        .ods(&["delete", "/photos/deep"])
        .bad(28, &["2 files", "--yes"]);
    machine.ods(&["delete", "--yes", "/photos/deep"]).good();
    machine.ods(&["info", "/photos/deep"]).bad(27, &["deep"]);
    machine.ods(&["delete", "--yes", &id]).good();
    machine
        .ods(&["download", &id, text(&dest)])
        .bad(27, &[&id, "removed"]);
}

#[test]
fn a_life_without_a_mount() {
    let world = World::new();
    let machine = with_drive(&world);
    a_life(&machine);
}

#[test]
fn a_life_through_the_socket_of_a_mount_that_sees_it_all() {
    let world = World::new();
    let machine = with_drive(&world);
    machine.mount(&[]).good();
    let mnt = machine.mnt();
    // The kernel remembers that nothing is there, until it is told.
    assert!(!mnt.join("extra").exists());
    let extra = machine.path("extra");
    std::fs::create_dir(&extra).expect("a directory");
    std::fs::write(extra.join("file"), "first").expect("written");
    machine.ods(&["upload", text(&extra)]).good();
    assert_eq!(
        std::fs::read(mnt.join("extra/file")).expect("read"),
        b"first"
    );
    std::fs::write(extra.join("file"), "second").expect("written");
    machine.ods(&["upload", "--yes", text(&extra)]).good();
    assert_eq!(
        std::fs::read(mnt.join("extra/file")).expect("read"),
        b"second"
    );
    let by_path = machine
        .ods(&["info", text(&mnt.join("extra/file"))])
        .good()
        .out;
    assert!(by_path.contains("/extra/file"), "{by_path}");
    machine
        .ods(&["upload", text(&mnt.join("extra"))])
        .bad(2, &["in the drive already"]);
    let open = std::fs::File::open(mnt.join("extra/file")).expect("open");
    machine.ods(&["delete", "--yes", "/extra"]).good();
    assert!(!mnt.join("extra").exists());
    let mut held = String::new();
    std::io::Read::read_to_string(&mut &open, &mut held).expect("still readable");
    assert_eq!(held, "second");
    drop(open);
    a_life(&machine);
    machine.ods(&["umount"]).good();
}

#[test]
fn titles_survive_a_new_machine_and_ranges_are_fetched() {
    let world = World::new();
    let machine = with_drive(&world);
    for name in ["alpha", "beta", "gamma"] {
        let dir = machine.path(name);
        std::fs::create_dir(&dir).expect("a directory");
        std::fs::write(dir.join("f"), name).expect("written");
        machine
            .ods(&["upload", text(&dir), "--title", &name.to_uppercase()])
            .good();
    }
    std::fs::write(machine.path("loose"), "loose").expect("written");
    machine
        .ods(&["upload", text(&machine.path("loose"))])
        .good();
    std::fs::remove_dir_all(machine.path("state")).expect("removed");
    std::fs::remove_dir_all(machine.path("config")).expect("removed");
    machine.ods(&["init", "--join"]).good();
    let list = machine.ods(&["list", "--json"]).good().json();
    let titles: Vec<&str> = list["archives"]
        .as_array()
        .expect("archives")
        .iter()
        .filter_map(|info| info["title"].as_str())
        .collect();
    assert_eq!(titles, ["", "ALPHA", "BETA", "GAMMA"]);
    let id = |at: usize| {
        list["archives"][at]["id"]
            .as_str()
            .expect("an id")
            .to_owned()
    };
    let range = format!("{}..{}", id(2), id(3));
    let dest = machine.path("dest");
    machine
        .ods(&["download", &range, &id(0), text(&dest)])
        .good();
    let mut names: Vec<_> = std::fs::read_dir(&dest)
        .expect("there")
        .flatten()
        .map(|entry| entry.file_name().into_string().expect("text"))
        .collect();
    names.sort();
    assert_eq!(names, ["beta", "gamma", "loose"]);
}

#[test]
fn an_upload_goes_on_after_a_kill_without_a_mount() {
    let world = World::new();
    let machine = with_drive(&world);
    let source = machine.path("big");
    std::fs::create_dir(&source).expect("a directory");
    for number in 0..4 {
        std::fs::write(source.join(number.to_string()), noise(number, 8 << 20)).expect("written");
    }
    let error = FaultKind::Error {
        status: 503,
        body: ErrorBody::default(),
    };
    // The lease goes through; what comes after it does not.
    let fault = Fault::new("POST /channels/{}/messages", error).after(1);
    let fault = world.emulator.faults().add(fault);
    let mut upload = machine.start("ods", &["upload", text(&source)]);
    until("an upload that is refused", || {
        world.emulator.faults().met(fault) > 0
    });
    upload.signal("KILL");
    upload.stop();
    world.emulator.faults().clear();
    let waits = machine.ods(&["resume", "--dry-run"]).good().out;
    assert!(waits.contains("upload") && waits.contains("big"), "{waits}");
    let resumed = machine.ods(&["resume", "--json"]).good().json();
    let number = |key: &str| resumed[0][key].as_u64().expect("a number");
    assert_eq!(number("files") + number("skipped"), 4, "{resumed}");
    assert!(number("bytes") < 32 << 20, "the spool has some: {resumed}");
    assert!(
        machine
            .ods(&["resume", "--dry-run"])
            .good()
            .out
            .contains("nothing")
    );
    let dest = machine.path("dest");
    machine.ods(&["download", "/big", text(&dest)]).good();
    same(&source, &dest.join("big"));
}

#[test]
fn a_download_goes_on_after_a_kill_and_trusts_nothing_that_is_on_the_disk() {
    let world = World::new();
    let machine = with_drive(&world);
    let source = machine.path("big");
    std::fs::create_dir(&source).expect("a directory");
    std::fs::write(source.join("file"), noise(9, 40 << 20)).expect("written");
    machine.ods(&["upload", text(&source)]).good();
    // A new machine has none of it.
    std::fs::remove_dir_all(machine.path("state")).expect("removed");
    machine.ods(&["sync"]).good();
    let dest = machine.path("dest");
    let error = FaultKind::Error {
        status: 503,
        body: ErrorBody::default(),
    };
    // The superblock is read, then nothing more.
    let fault = Fault::new("GET /attachments/*", error).after(1);
    world.emulator.faults().add(fault);
    let mut download = machine.start("ods", &["download", "/big", text(&dest)]);
    let part = || {
        let entries = std::fs::read_dir(dest.join("big"));
        let entries = entries.into_iter().flatten().flatten();
        let mut parts = entries.map(|entry| entry.path()).filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with(".ods-part-"))
        });
        parts.next()
    };
    until("a part of the file", || part().is_some());
    download.signal("KILL");
    download.stop();
    world.emulator.faults().clear();
    assert!(
        !dest.join("big/file").exists(),
        "a name means that it is whole"
    );
    // What it would have had later; and a power cut may leave wrong bytes.
    let mut begun = noise(9, 20 << 20);
    begun[19 << 20] ^= 1;
    std::fs::write(part().expect("it stays"), begun).expect("written");
    let resumed = machine.ods(&["resume", "--json"]).good().json();
    let copied = resumed[0]["bytes"].as_u64().expect("bytes");
    let expected = 21 << 20..=25 << 20;
    assert!(expected.contains(&copied), "{copied} bytes were fetched");
    same(&source, &dest.join("big"));
    assert!(part().is_none());
}

#[test]
fn a_backup_brings_the_index_back_when_the_journal_is_gone() {
    let world = World::new();
    let machine = with_drive(&world);
    let source = machine.path("photos");
    fill(&source);
    machine
        .ods(&["upload", text(&source), "--title", "Kept"])
        .good();
    let file = machine.path("backup");
    machine.ods(&["backup", "--to", text(&file)]).good();
    let bytes = std::fs::read(&file).expect("there");
    for name in [&b"photos"[..], b"Kept", b"one.bin"] {
        assert!(
            !bytes.windows(name.len()).any(|window| window == name),
            "sealed"
        );
    }
    assert_eq!(file.metadata().expect("there").mode() & 0o777, 0o600);
    let to_discord = machine.ods(&["backup", "--json"]).good().json();
    assert!(to_discord["bytes"].as_u64() > Some(0), "{to_discord}");

    machine.ods(&["sync", "--reset"]).good();
    assert!(machine.ods(&["list"]).good().out.contains("Kept"));
    machine.ods(&["restore", text(&file)]).bad(28, &["--yes"]);
    machine.ods(&["restore", "--yes", text(&file)]).good();
    let dest = machine.path("dest");
    machine.ods(&["download", "/photos", text(&dest)]).good();
    same(&source, &dest.join("photos"));

    let mut cut = bytes.clone();
    cut.truncate(bytes.len() - 9);
    std::fs::write(&file, &cut).expect("written");
    machine
        .ods(&["restore", "--yes", text(&file)])
        .bad(19, &["cut short"]);
    assert!(
        machine.ods(&["list"]).good().out.contains("Kept"),
        "the journal has it"
    );
    machine
        .ods(&["restore", "--yes", text(&source.join("one.bin"))])
        .bad(2, &["no backup"]);
}

#[test]
fn bad_input_gets_a_clear_error_and_changes_nothing() {
    let world = World::new();
    let machine = with_drive(&world);
    let dir = machine.path("dir");
    std::fs::create_dir(&dir).expect("a directory");
    std::fs::write(dir.join("f"), "x").expect("written");
    let (dir, file) = (text(&dir).to_owned(), text(&dir.join("f")).to_owned());
    machine.ods(&["upload"]).bad(2, &["PATH"]);
    machine
        .ods(&["upload", "/no/such/thing"])
        .bad(2, &["/no/such/thing"]);
    machine
        .ods(&["upload", &file, "--title", "T"])
        .bad(2, &["--to"]);
    machine
        .ods(&["upload", &dir, "--title", &"x".repeat(201)])
        .bad(2, &["201", "200"]);
    machine
        .ods(&["upload", &dir, "--to", "../up"])
        .bad(2, &[".."]);
    machine.ods(&["download", "/dir"]).bad(2, &["DEST"]);
    machine
        .ods(&["download", "/dir", "/tmp/x", "--drive", "nope"])
        .bad(3, &["nope"]);
    machine.ods(&["download", "/dir", &file]).bad(27, &["dir"]);
    machine.ods(&["upload", &dir]).good();
    machine
        .ods(&["download", "/dir", &file])
        .bad(2, &["no directory"]);
    machine
        .ods(&["download", "#010101-01", &dir])
        .bad(27, &["#010101-01"]);
    machine
        .ods(&["download", "#010101..x", &dir])
        .bad(2, &["#DDMMYY-NN"]);
    machine.ods(&["info", "#12"]).bad(2, &["#12"]);
    machine.ods(&["info", ""]).bad(2, &["empty"]);
    machine.ods(&["list", "/no"]).bad(27, &["no"]);
    machine.ods(&["delete", "/"]).bad(2, &["whole drive"]);
    machine.ods(&["describe", "/dir"]).bad(2, &["--title"]);
    machine.ods(&["search"]).bad(2, &["WORD"]);
    machine.ods(&["history", "-n", "many"]).bad(2, &["many"]);
    machine
        .ods(&["backup", "--to", "/no/such/dir/file"])
        .bad(20, &["/no/such/dir"]);
    machine
        .ods(&["restore", "/no/such/file"])
        .bad(2, &["/no/such/file"]);
    machine.ods(&["completions", "tcsh"]).bad(2, &["tcsh"]);
    machine
        .ods(&["man", &format!("{file}/below")])
        .bad(20, &["below"]);
    machine.ods(&["log"]).bad(27, &["log"]);
    machine.ods(&["stats", "--drive", "nope"]).bad(3, &["nope"]);
    machine
        .ods(&["channels", "--drive", "nope"])
        .bad(3, &["nope"]);
    machine
        .ods(&["resume", "--drive", "nope"])
        .bad(3, &["nope"]);
    machine.ods(&["sync", "--drive", "nope"]).bad(3, &["nope"]);
    machine.mount(&[]).good();
    machine.ods(&["sync", "--reset"]).bad(18, &["mounted"]);
    machine.ods(&["restore", &file]).bad(18, &["mounted"]);
    assert_eq!(
        std::fs::read(machine.mnt().join("dir/f")).expect("read"),
        b"x"
    );
    assert!(
        machine
            .ods(&["log", "-n", "0"])
            .good()
            .out
            .contains("mounted")
    );
    machine.ods(&["umount"]).good();
}

#[test]
fn what_cannot_be_read_is_named_and_the_rest_is_copied() {
    let world = World::new();
    let machine = with_drive(&world);
    let source = machine.path("mixed");
    std::fs::create_dir(&source).expect("a directory");
    std::fs::write(source.join("good"), "good").expect("written");
    drop(std::os::unix::net::UnixListener::bind(source.join("socket")).expect("a socket"));
    machine
        .ods(&["upload", text(&source)])
        .bad(29, &["socket", "not copied"]);
    assert_eq!(machine.ods(&["ls", "/mixed"]).good().out, "good\n");
}

#[test]
fn settings_are_changed_and_comments_stay() {
    let world = World::new();
    let machine = with_drive(&world);
    let path = machine.path("config/ods/config.toml");
    let before = std::fs::read_to_string(&path).expect("there");
    std::fs::write(
        &path,
        format!("# mine\n{before}options = \"cache=1G\" # small\n"),
    )
    .expect("written");
    assert_eq!(
        machine.ods(&["config", "get", "options"]).good().out,
        "cache=1G\n"
    );
    machine
        .ods(&["config", "set", "options", "cache=2G,names"])
        .good();
    machine
        .ods(&[
            "config",
            "set",
            "main.state_dir",
            text(&machine.path("state/ods/main")),
        ])
        .good();
    let after = std::fs::read_to_string(&path).expect("there");
    assert!(
        after.starts_with("# mine\n") && after.contains("\"cache=2G,names\" # small"),
        "{after}"
    );
    machine.ods(&["config", "check"]).good();
    machine.ods(&["config", "set", "main.state_dir"]).good();
    machine
        .ods(&["config", "get", "state_dir"])
        .bad(3, &["not set"]);
    machine
        .ods(&["config", "set", "server", "abc"])
        .bad(2, &["server", "abc"]);
    machine
        .ods(&["config", "set", "colour", "red"])
        .bad(2, &["colour", "options"]);
    machine
        .ods(&["config", "set", "options", "cache=huge"])
        .bad(2, &["huge"]);
    machine
        .ods(&["config", "set", "default", "nope"])
        .bad(3, &["nope"]);
    machine
        .ods(&["config", "get", "nope.server"])
        .bad(3, &["nope"]);
    assert_eq!(
        machine.ods(&["config", "get", "default"]).good().out,
        "main\n"
    );
    assert!(
        machine
            .ods(&["config", "get"])
            .good()
            .out
            .contains("# mine")
    );
    std::fs::write(&path, "nonsense").expect("written");
    machine.ods(&["config", "check"]).bad(3, &["line 1"]);
}

#[test]
fn the_doctor_says_what_is_wrong_and_what_to_do() {
    let world = World::new();
    let mut machine = world.machine();
    machine.ods(&["doctor"]).bad(3, &["bad"]);
    machine.ods(&["init"]).good();
    let page = machine.ods(&["doctor"]).good().out;
    for word in [
        "token",
        "server",
        "permissions",
        "clock",
        "fuse",
        "disk",
        "limits",
    ] {
        assert!(page.contains(word), "no {word} in {page}");
    }
    let findings = machine.ods(&["doctor", "--json"]).good().json();
    assert!(
        findings
            .as_array()
            .expect("findings")
            .iter()
            .all(|one| one["health"] == "good"),
        "{findings}"
    );
    let token = world.emulator.token();
    let wrong = format!("{}AAAA", &token[..token.len() - 4]);
    machine.set("DISCORD_BOT_TOKEN", &wrong);
    let ended = machine.ods(&["doctor"]).bad(11, &["bad"]);
    assert!(ended.out.contains("do: take a new token"), "{ended:?}");
}

#[test]
fn shells_and_man_learn_every_command() {
    let machine = Machine::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let text = machine.ods(&["completions", shell]).good().out;
        assert!(
            text.contains("upload") && text.contains("ods-mount"),
            "{shell}"
        );
    }
    let dir = machine.path("man1");
    machine.ods(&["man", text(&dir)]).good();
    for page in ["ods.1", "ods-mount.1", "ods-upload.1", "ods-config-set.1"] {
        let page = std::fs::read_to_string(dir.join(page)).expect(page);
        assert!(page.contains(".TH"), "{page}");
    }
    assert!(machine.ods(&["man"]).good().out.contains("download"));
}
