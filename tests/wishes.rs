//! Every command that copies, lists, describes and deletes, as people run it: on a mounted drive through its
//! socket, and on one that is not mounted.

#[path = "support/ods.rs"]
mod support;

use std::os::unix::fs::FileExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use ods::emulator::ErrorBody;
use ods::emulator::Fault;
use ods::emulator::FaultKind;
use ods::emulator::Limits;
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
    let followed = machine.ods(&["sync", "--json"]).good().json();
    assert_eq!(followed["files"].as_u64(), Some(1), "{followed}");
    machine
        .ods(&["download", "/extra", text(&mnt.join("again"))])
        .bad(2, &["in the drive itself"]);
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
    assert_eq!(
        machine.ods(&["ls", &range]).good().out,
        "/beta:\nf\n\n/gamma:\nf\n"
    );
    let listed = machine.ods(&["ls", &range, "--json"]).good().json();
    assert_eq!(listed[1]["path"].as_str(), Some("gamma"), "{listed}");
    assert_eq!(machine.ods(&["ls", &id(0)]).good().out, "loose\n");
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
fn a_download_takes_away_what_an_earlier_one_left_that_nobody_can_go_on_with() {
    let world = World::new();
    let machine = with_drive(&world);
    let source = machine.path("big");
    std::fs::create_dir(&source).expect("a directory");
    for (seed, name) in [(9, "file"), (10, "other")] {
        std::fs::write(source.join(name), noise(seed, 4 << 20)).expect("written");
    }
    machine.ods(&["upload", text(&source)]).good();
    std::fs::remove_dir_all(machine.path("state")).expect("removed");
    machine.ods(&["sync"]).good();
    let dest = machine.path("dest");
    let error = FaultKind::Error {
        status: 503,
        body: ErrorBody::default(),
    };
    let fault = Fault::new("GET /attachments/*", error).after(1);
    world.emulator.faults().add(fault);
    let left = || {
        let entries = std::fs::read_dir(dest.join("big"));
        let entries = entries.into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names
            .filter(|name| name.starts_with(".ods-part-"))
            .collect::<Vec<_>>()
    };
    let mut download = machine.start("ods", &["download", "/big", text(&dest)]);
    until("a part of the file", || !left().is_empty());
    download.signal("KILL");
    download.stop();
    world.emulator.faults().clear();
    // Meanwhile the file became another one.
    std::fs::write(source.join("file"), noise(11, 3 << 20)).expect("written");
    machine.ods(&["upload", "--yes", text(&source)]).good();
    let mtime = || dest.join("big").metadata().expect("there").mtime();
    machine.ods(&["download", "/big", text(&dest)]).good();
    same(&source, &dest.join("big"));
    assert_eq!(left(), [""; 0]);
    assert_eq!(mtime(), source.metadata().expect("there").mtime());
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

/// Takes every object of the journal away whose name begins so, as somebody who may.
fn take_away(world: &World, prefixes: &[&str]) {
    let stored = world.emulator.attachments();
    let is_meant = |name: &str| prefixes.iter().any(|prefix| name.starts_with(prefix));
    for one in stored.iter().filter(|one| is_meant(&one.filename)) {
        drop(world.emulator.delete_message(one.channel, one.message));
    }
}

/// A machine with one archive, whose index is all there is, as the journal is gone.
fn with_an_index_alone(world: &World) -> (Machine, std::path::PathBuf) {
    let machine = with_drive(world);
    let source = machine.path("photos");
    fill(&source);
    machine
        .ods(&["upload", text(&source), "--title", "Kept"])
        .good();
    let file = machine.path("backup");
    machine.ods(&["backup", "--to", text(&file)]).good();
    take_away(world, &["s-", "c-"]);
    assert!(machine.ods(&["list"]).good().out.contains("Kept"));
    (machine, file)
}

fn names_in(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[track_caller]
fn has_its_index(machine: &Machine, files: u64) {
    assert!(machine.ods(&["list"]).good().out.contains("Kept"));
    let stats = machine.ods(&["stats", "--json"]).good().json();
    assert_eq!(stats["files"].as_u64(), Some(files), "{stats}");
    let names = names_in(&machine.state("main"));
    let indexes: Vec<&String> = names
        .iter()
        .filter(|name| name.starts_with("index"))
        .collect();
    assert_eq!(indexes, ["index"]);
}

#[test]
fn a_reset_that_cannot_succeed_keeps_the_index() {
    let world = World::new();
    let (mut machine, _) = with_an_index_alone(&world);
    machine.set("ODS_PASSPHRASE", "wrong");
    machine.ods(&["sync", "--reset"]).bad(10, &["wrong"]);
    machine.set("ODS_PASSPHRASE", support::PASSPHRASE);
    has_its_index(&machine, 5);
    machine
        .ods(&["sync", "--reset"])
        .bad(19, &["epoch 0", "ods repair"]);
    has_its_index(&machine, 5);
    // Killed after the old one was moved, while the new one was made.
    let index = machine.state("main").join("index");
    let old = machine.state("main").join("index.old");
    std::fs::rename(&index, &old).expect("moved");
    std::fs::create_dir(&index).expect("made");
    std::fs::write(index.join("pages"), "half").expect("written");
    has_its_index(&machine, 5);
}

#[test]
fn a_reset_that_would_know_less_keeps_the_index() {
    let world = World::new();
    let machine = with_drive(&world);
    for name in ["early", "late"] {
        let dir = machine.path(name);
        std::fs::create_dir(&dir).expect("a directory");
        std::fs::write(dir.join("f"), name).expect("written");
        machine
            .ods(&["upload", text(&dir), "--title", "Kept"])
            .good();
    }
    let stored = world.emulator.attachments();
    let segments = stored.iter().map(|one| one.filename.clone());
    let newest = segments.filter(|name| name.starts_with("s-")).max();
    take_away(&world, &[&newest.expect("a segment")[..18]]);
    machine
        .ods(&["sync", "--reset"])
        .bad(19, &["epoch", "ods repair"]);
    has_its_index(&machine, 2);
    assert_eq!(machine.ods(&["ls", "/late"]).good().out, "f\n");
}

#[test]
fn a_restore_that_fails_keeps_the_index() {
    let world = World::new();
    let (machine, file) = with_an_index_alone(&world);
    let whole = std::fs::read(&file).expect("there");
    let mut changed = whole.clone();
    let middle = whole.len() - 100;
    changed[middle] ^= 1;
    for bad in [&whole[..whole.len() - 9], &changed] {
        std::fs::write(&file, bad).expect("written");
        machine.ods(&["restore", "--yes", text(&file)]).bad(19, &[]);
        has_its_index(&machine, 5);
    }
    let elsewhere = World::new();
    let (_other, theirs) = with_an_index_alone(&elsewhere);
    machine
        .ods(&["restore", "--yes", text(&theirs)])
        .bad(18, &["another drive"]);
    has_its_index(&machine, 5);
    std::fs::write(&file, &whole).expect("written");
    machine.ods(&["restore", "--yes", text(&file)]).good();
    has_its_index(&machine, 5);
}

/// What ods calls the part of a file that is being copied.
fn part_name(name: &str, path: &Path) -> String {
    let meta = path.metadata().expect("there");
    let mtime = meta.mtime() * 1_000_000_000 + meta.mtime_nsec();
    let mut hasher = blake3::Hasher::new();
    hasher.update(&meta.len().to_le_bytes());
    hasher.update(&mtime.to_le_bytes());
    hasher.update(name.as_bytes());
    let hash = hasher.finalize();
    let hex = data_encoding::HEXLOWER.encode(&hash.as_bytes()[..8]);
    format!(".ods-part-{hex}")
}

fn is_unfinished(name: &str) -> bool {
    name.starts_with(".ods-")
}

#[test]
fn an_upload_trusts_nothing_of_a_part_that_the_drive_has() {
    let world = World::new();
    let machine = with_drive(&world);
    machine.mount(&[]).good();
    let (source, there) = (machine.path("big"), machine.mnt().join("big"));
    std::fs::create_dir(&source).expect("a directory");
    std::fs::create_dir(&there).expect("a directory");
    let whole = noise(3, 9 << 20);
    // One is wrong in the middle, one is right as far as it goes, one is too long.
    for (number, len) in [(0, 6 << 20), (1, 6 << 20), (2, 12 << 20)] {
        let path = source.join(number.to_string());
        std::fs::write(&path, &whole).expect("written");
        let mut begun = whole.clone();
        begun.resize(len, 7);
        if number == 0 {
            begun[4 << 20] ^= 1;
        }
        let part = there.join(part_name(&number.to_string(), &path));
        std::fs::write(part, &begun).expect("written");
    }
    let put = machine
        .ods(&["upload", text(&source), "--json"])
        .good()
        .json();
    same(&source, &there);
    let copied = put["bytes"].as_u64().expect("bytes");
    assert!(copied < 13 << 20, "what is right is kept: {put}");
    machine.ods(&["umount"]).good();
}

#[test]
fn a_part_that_somebody_writes_is_left_to_them() {
    let world = World::new();
    let machine = with_drive(&world);
    machine.mount(&[]).good();
    let (source, there) = (machine.path("dir"), machine.mnt().join("dir"));
    std::fs::create_dir(&source).expect("a directory");
    std::fs::create_dir(&there).expect("a directory");
    std::fs::write(source.join("f"), "whole").expect("written");
    let part = there.join(part_name("f", &source.join("f")));
    let held = std::fs::File::create(&part).expect("made");
    machine
        .ods(&["upload", text(&source)])
        .bad(29, &["another copy of it is under way"]);
    assert!(part.exists() && !there.join("f").exists());
    drop(held);
    until("the end of the handle", || {
        machine.ods(&["upload", text(&source)]).code == 0
    });
    assert_eq!(names_in(&there), ["f"]);
    same(&source, &there);
    machine.ods(&["umount"]).good();
}

#[test]
fn what_is_not_whole_is_not_shown_and_goes() {
    let world = World::new();
    let machine = with_drive(&world);
    machine.mount(&[]).good();
    let (source, there) = (machine.path("dir"), machine.mnt().join("dir"));
    std::fs::create_dir(&source).expect("a directory");
    std::fs::write(source.join("f"), "f").expect("written");
    machine.ods(&["upload", text(&source)]).good();
    let stale = [
        ".ods-part-0123456789abcdef",
        ".ods-receiving-0123456789abcdef",
    ];
    for name in stale {
        std::fs::write(there.join(name), "half").expect("written");
    }
    std::fs::write(there.join(".ods-part-of-mine"), "whole").expect("written");
    assert_eq!(
        machine.ods(&["ls", "/dir"]).good().out,
        ".ods-part-of-mine\nf\n"
    );
    let dest = machine.path("dest");
    machine.ods(&["download", "/dir", text(&dest)]).good();
    assert_eq!(names_in(&dest.join("dir")), [".ods-part-of-mine", "f"]);
    // One that somebody has open stays.
    let held = std::fs::File::open(there.join(stale[0])).expect("open");
    machine.ods(&["upload", text(&source)]).good();
    assert_eq!(names_in(&there), [stale[0], ".ods-part-of-mine", "f"]);
    drop(held);
    until("the end of the handle", || {
        machine.ods(&["upload", text(&source)]).good();
        names_in(&there) == [".ods-part-of-mine", "f"]
    });
    // What cannot be read leaves nothing behind.
    machine
        .ods(&["upload", "/proc/self/mem", "--to", "dir"])
        .bad(29, &["mem"]);
    assert_eq!(names_in(&there), [".ods-part-of-mine", "f"]);
    machine.ods(&["umount"]).good();
}

#[test]
fn an_upload_enters_neither_mounts_nor_what_the_drive_keeps_here() {
    let world = World::new();
    let mut machine = world.machine();
    let home = machine.path("all");
    std::fs::create_dir_all(home.join("mnt")).expect("a directory");
    std::fs::write(home.join("f"), "f").expect("written");
    machine.set("XDG_STATE_HOME", text(&home.join("state")));
    machine.ods(&["init"]).good();
    machine.mount_at(&home.join("mnt"), &[]).good();
    std::fs::write(home.join("mnt/inside"), "inside").expect("written");
    let put = machine
        .ods(&["upload", text(&home), "--json"])
        .good()
        .json();
    let left_out = put["left_out"].as_array().expect("a list");
    for dir in [home.join("mnt"), home.join("state/ods/main")] {
        assert!(left_out.iter().any(|one| one == text(&dir)), "{put}");
    }
    let all = home.join("mnt/all");
    assert!(all.join("f").exists() && !all.join("mnt").exists());
    assert!(!all.join("state/ods/main").exists());
    let told = machine.ods(&["upload", text(&home)]).good();
    assert!(told.err.contains("left out"), "{told:?}");
    // Another drive's mount, asked for by name, is a directory like others.
    let elsewhere = World::new();
    let other = elsewhere.machine();
    other.ods(&["init"]).good();
    other.ods(&["upload", text(&home.join("mnt"))]).good();
    assert_eq!(other.ods(&["ls", "/mnt"]).good().out, "all/\ninside\n");
    machine
        .ods(&["download", "/", text(&home.join("mnt/all/deep"))])
        .bad(2, &["in the drive itself"]);
    machine.ods(&["umount"]).good();
}

#[test]
fn what_lies_in_different_drives_is_not_downloaded_at_once() {
    let world = World::new();
    let machine = with_drive(&world);
    let dir = machine.path("dir");
    std::fs::create_dir(&dir).expect("a directory");
    std::fs::write(dir.join("f"), "f").expect("written");
    machine.ods(&["upload", text(&dir)]).good();
    machine.ods(&["init", "--join", "--name", "again"]).good();
    let dest = machine.path("dest");
    machine
        .ods(&["download", "main", "again", text(&dest)])
        .bad(2, &["again", "another drive"]);
    assert!(!dest.exists());
    machine
        .ods(&["download", "/dir", "/dir/f", text(&dest)])
        .good();
}

#[test]
fn two_runs_of_one_copy_are_kept_apart() {
    let world = World::new();
    let machine = with_drive(&world);
    let source = machine.path("big");
    std::fs::create_dir(&source).expect("a directory");
    std::fs::write(source.join("file"), noise(5, 3 << 20)).expect("written");
    machine.ods(&["upload", text(&source)]).good();
    std::fs::remove_dir_all(machine.path("state")).expect("removed");
    machine.ods(&["sync"]).good();
    let dest = machine.path("dest");
    let error = FaultKind::Error {
        status: 503,
        body: ErrorBody::default(),
    };
    let fault = Fault::new("GET /attachments/*", error).after(1);
    world.emulator.faults().add(fault);
    let words = ["download", "/big", text(&dest)];
    let mut first = machine.start("ods", &words);
    let part = || {
        let names = names_in(&dest.join("big"));
        names.into_iter().find(|name| is_unfinished(name))
    };
    until("a part of the file", || part().is_some());
    machine.ods(&words).bad(18, &["under way"]);
    let told = machine.ods(&["resume", "--dry-run"]).good().out;
    assert!(told.contains("under way"), "{told}");
    let left = machine.ods(&["resume", "--json"]).good().json();
    assert_eq!(left[0]["under_way"].as_bool(), Some(true), "{left}");
    first.signal("KILL");
    first.stop();
    world.emulator.faults().clear();
    // Another process that writes the same file, by whatever wish.
    let path = dest.join("big").join(part().expect("it stays"));
    let held = std::fs::File::open(&path).expect("there");
    held.lock().expect("locked");
    machine
        .ods(&["resume"])
        .bad(29, &["another copy of it is under way", "1 copy is"]);
    let left = machine.ods(&["resume", "--dry-run"]).good().out;
    assert!(left.contains("download"), "it may break off: {left}");
    drop(held);
    machine.ods(&words).good();
    same(&source, &dest.join("big"));
    let left = machine.ods(&["resume", "--dry-run"]).good().out;
    assert!(left.contains("nothing"), "{left}");
}

/// An upload that is killed once Discord has refused something of it.
fn kill_an_upload(world: &World, machine: &Machine, source: &Path) {
    let error = FaultKind::Error {
        status: 503,
        body: ErrorBody::default(),
    };
    let fault = Fault::new("POST /channels/{}/messages", error).after(1);
    let fault = world.emulator.faults().add(fault);
    let mut upload = machine.start("ods", &["upload", text(source)]);
    until("an upload that is refused", || {
        world.emulator.faults().met(fault) > 0
    });
    upload.signal("KILL");
    upload.stop();
    world.emulator.faults().clear();
}

#[test]
fn resume_goes_through_all_copies_and_forgets_no_conflict() {
    let world = World::new();
    let machine = with_drive(&world);
    for name in ["first", "second", "third"] {
        let dir = machine.path(name);
        std::fs::create_dir(&dir).expect("a directory");
        std::fs::write(dir.join("file"), noise(7, 2 << 20)).expect("written");
        kill_an_upload(&world, &machine, &dir);
    }
    // Meanwhile others put something else where two of them go.
    for name in ["first", "second"] {
        let dir = machine.path("other").join(name);
        std::fs::create_dir_all(&dir).expect("a directory");
        std::fs::write(dir.join("file"), "another").expect("written");
        machine.ods(&["upload", "--yes", text(&dir)]).good();
    }
    machine.ods(&["resume", "9"]).bad(27, &["`9`", "--dry-run"]);
    let resumed = machine
        .ods(&["resume", "--json"])
        .bad(28, &["2 of 3 copies are not finished"]);
    let resumed = resumed.json();
    let codes = resumed.as_array().expect("a list").iter();
    let codes: Vec<Option<u64>> = codes.map(|one| one["code"].as_u64()).collect();
    assert_eq!(codes.len(), 3, "{resumed}");
    assert_eq!(codes.iter().filter(|code| **code == Some(28)).count(), 2);
    let left = machine.ods(&["resume", "--dry-run"]).good().out;
    assert!(
        left.contains("first") && left.contains("second") && !left.contains("third"),
        "{left}"
    );
    machine.ods(&["resume", "2", "--yes"]).good();
    let left = machine.ods(&["resume", "--dry-run"]).good().out;
    assert_eq!(left.trim().lines().count(), 1, "{left}");
    machine.ods(&["resume", "--yes"]).good();
    assert!(
        machine
            .ods(&["resume", "--dry-run"])
            .good()
            .out
            .contains("nothing")
    );
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
    for (kind, made) in [
        ("mkfifo", "pipe"),
        ("mkdir", "directory"),
        ("mkfifo", "b.part"),
    ] {
        let made = std::process::Command::new(kind)
            .arg(machine.path(made))
            .status();
        assert!(made.expect("it runs").success());
    }
    for other in ["pipe", "directory"] {
        let other = machine.path(other);
        machine
            .ods(&["backup", "--to", text(&other)])
            .bad(2, &[text(&other), "no file"]);
        assert!(!other.is_file());
    }
    machine
        .ods(&["backup", "--to", text(&machine.path("b"))])
        .bad(20, &["b.part", "no file"]);
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
    let checked = machine.ods(&["config", "check", "--json"]).good().json();
    assert_eq!(checked["drives"], 1, "{checked}");
    let set = machine.ods(&["config", "set", "attachment_bytes", "9000000", "--json"]);
    assert_eq!(set.good().json()["value"], 9_000_000);
    let unset = machine.ods(&["config", "set", "attachment_bytes", "--json"]);
    let unset = unset.good().json();
    assert_eq!(unset["key"], "drive.main.attachment_bytes", "{unset}");
    assert!(unset["value"].is_null(), "{unset}");
    machine.ods(&["config", "check"]).good();
    machine.ods(&["config", "set", "main.state_dir"]).good();
    machine
        .ods(&["config", "get", "state_dir"])
        .bad(3, &["not set"]);
    machine
        .ods(&["config", "set", "server", "abc"])
        .bad(2, &["server", "abc"]);
    machine
        .ods(&[
            "config",
            "set",
            "drive.main.bot.upload_dirs",
            "/srv/in,/srv/more",
        ])
        .good();
    machine
        .ods(&["config", "set", "bot.download_dir", "/srv/out"])
        .good();
    assert_eq!(
        machine
            .ods(&["config", "get", "main.bot.upload_dirs"])
            .good()
            .out,
        "[\"/srv/in\", \"/srv/more\"]\n"
    );
    assert_eq!(
        machine
            .ods(&["config", "get", "bot.download_dir"])
            .good()
            .out,
        "/srv/out\n"
    );
    machine
        .ods(&["config", "set", "bot.channel", "here"])
        .bad(2, &["channel", "here"]);
    machine
        .ods(&["config", "set", "bot.names", "nobody"])
        .bad(3, &["nobody"]);
    machine.ods(&["config", "set", "bot.upload_dirs"]).good();
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

#[test]
fn two_of_the_same_name_are_refused_before_anything_is_copied() {
    let world = World::new();
    let machine = with_drive(&world);
    for dir in ["a", "b", "p/photos", "q/photos"] {
        std::fs::create_dir_all(machine.path(dir)).expect("a directory");
        std::fs::write(machine.path(dir).join("notes.txt"), dir).expect("written");
    }
    let paths = ["a/notes.txt", "b/notes.txt", "p/photos", "q/photos"];
    let paths = paths.map(|path| text(&machine.path(path)).to_owned());
    let [a, b, p, q] = paths.each_ref().map(String::as_str);
    machine
        .ods(&["upload", a, b])
        .bad(2, &[a, b, "`notes.txt`", "--to"]);
    machine.ods(&["upload", p, q]).bad(2, &[p, q, "`photos`"]);
    machine.ods(&["upload", a, a, "--to", "one"]).good();
    assert_eq!(machine.ods(&["ls", "/"]).good().out, "one/\n");
    machine.ods(&["upload", b, "--to", "two"]).good();
    let dest = machine.path("dest");
    machine
        .ods(&["download", "/one/notes.txt", "/two/notes.txt", text(&dest)])
        .bad(
            2,
            &["/one/notes.txt", "/two/notes.txt", "another directory"],
        );
    assert!(!dest.exists(), "nothing was copied");
    machine
        .ods(&["download", "/one/notes.txt", "/two", "/one", text(&dest)])
        .good();
    let read = |path: &str| std::fs::read_to_string(dest.join(path)).expect("read");
    assert_eq!(
        (read("notes.txt"), read("two/notes.txt")),
        ("a".to_owned(), "b".to_owned())
    );
}

#[test]
fn a_path_of_the_mount_says_where_in_the_drive_things_go() {
    let world = World::new();
    let machine = with_drive(&world);
    machine.mount(&[]).good();
    std::fs::write(machine.path("x"), "one").expect("written");
    let (file, mnt) = (machine.path("x"), machine.mnt());
    std::os::unix::fs::symlink(&mnt, machine.path("link")).expect("a link");
    let places = [
        (mnt.join("photos/new"), "photos/new/x"),
        (machine.path("link/linked"), "linked/x"),
        (mnt.clone(), "x"),
    ];
    for (to, there) in places {
        machine
            .ods(&["upload", text(&file), "--to", text(&to)])
            .good();
        assert_eq!(std::fs::read(mnt.join(there)).expect("there"), b"one");
    }
    let named = ["upload", text(&file), "--drive", "main", "--to", "/tmp/y"];
    machine.ods(&named).good();
    assert!(
        mnt.join("tmp/y/x").exists(),
        "with --drive it is a path of the drive"
    );
    let mut names: Vec<String> = std::fs::read_dir(&mnt)
        .expect("there")
        .flatten()
        .map(|entry| entry.file_name().into_string().expect("text"))
        .collect();
    names.sort();
    assert_eq!(names, ["linked", "photos", "tmp", "x"]);
    machine.ods(&["umount"]).good();
}

#[test]
fn the_long_list_has_everything_about_archives() {
    let world = World::new();
    let machine = with_drive(&world);
    fill(&machine.path("photos"));
    let photos = machine.path("photos");
    machine
        .ods(&["upload", text(&photos), "--title", "Summer"])
        .good();
    let info = machine.ods(&["ls", "--json"]).good().json()["archives"][0].clone();
    let long = machine.ods(&["ls", "-l"]).good().out;
    let lines: Vec<&str> = long.lines().collect();
    for head in [
        "lot", "created", "chunks", "packs", "stored", "dedup", "compr",
    ] {
        assert!(lines[0].contains(head), "{head}: {long}");
    }
    let share = |name: &str| {
        let share = info[name].as_f64().expect("a share");
        format!("{:.0} %", share * 100.0)
    };
    let number = |name: &str| format!(" {} ", info[name].as_u64().expect("a number"));
    for part in [
        info["id"].as_str().expect("an id"),
        info["address"].as_str().expect("an address"),
        "photos “Summer”",
        &share("dedup_saving"),
        &share("compression_saving"),
        &number("lot"),
        &number("chunks"),
        &number("packs"),
    ] {
        assert!(lines[1].contains(part), "{part}: {long}");
    }
    let short = machine.ods(&["ls"]).good().out;
    assert!(!short.contains("discord.com"), "{short}");
}

#[test]
fn what_could_not_be_copied_is_named_to_the_quiet_too() {
    let world = World::new();
    let machine = with_drive(&world);
    let dir = machine.path("odd");
    std::fs::create_dir(&dir).expect("a directory");
    std::fs::write(dir.join("good"), "good").expect("written");
    for number in 0..23 {
        let pipe = dir.join(format!("pipe-{number:02}"));
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.expect("mkfifo runs").success());
    }
    let ended = machine.ods(&["-q", "upload", text(&dir)]);
    let ended = ended.bad(29, &["odd/pipe-00: ", "pipe-19", "and 3 more"]);
    assert!(!ended.err.contains("pipe-20") && !ended.err.contains("uploaded"));
    assert_eq!(machine.ods(&["ls", "/odd"]).good().out, "good\n");
}

#[test]
fn a_file_that_changes_while_it_is_downloaded_is_not_called_whole() {
    const BYTES: usize = 6 << 20;
    let world = World::new();
    let machine = with_drive(&world);
    machine.mount(&["-o", "reserve=0"]).good();
    std::fs::write(machine.mnt().join("film"), noise(1, BYTES)).expect("written");
    machine.ods(&["umount"]).good();
    // It comes slowly: nothing of it is kept here.
    std::fs::remove_dir_all(machine.state("main")).expect("removed");
    machine.ods(&["init", "--join"]).good();
    world.emulator.set_limits(Limits {
        bytes_per_s: Some(256 << 10),
        ..world.emulator.limits()
    });
    machine.mount(&["-o", "reserve=0"]).good();
    let film = std::fs::File::options()
        .write(true)
        .open(machine.mnt().join("film"))
        .expect("there");
    let dest = machine.path("copy");
    let before = world.emulator.counts().bytes_served;
    std::thread::scope(|scope| {
        let download = scope.spawn(|| machine.ods(&["download", "film", text(&dest)]));
        until("a part of it", || {
            world.emulator.counts().bytes_served > before + (1 << 20)
        });
        film.write_all_at(b"another end", BYTES as u64 - 11)
            .expect("written");
        let ended = download.join().expect("no panic");
        assert_ne!(ended.code, 0, "{ended:?}");
        assert!(ended.err.contains("changed while it was read"), "{ended:?}");
    });
    assert!(!dest.join("film").exists(), "half of each is nothing");
    drop(film);
    machine.ods(&["download", "film", text(&dest)]).good();
    let copy = std::fs::read(dest.join("film")).expect("there");
    assert!(copy.ends_with(b"another end") && copy.len() == BYTES);
    machine.ods(&["umount"]).good();
}
