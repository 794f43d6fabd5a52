//! `ods verify` and `ods repair` as people run them: with a mount and without, told what is not there,
//! interrupted.

#[path = "support/ods.rs"]
mod support;

use std::path::Path;

use ods::emulator::ErrorBody;
use ods::emulator::Fault;
use ods::emulator::FaultKind;
use ods::emulator::StoredAttachment;
use ods::emulator::When;
use serde_json::Value;
use support::Machine;
use support::World;
use support::noise;
use support::until;

/// A drive with two archives, mounted, everything on Discord.
fn mounted(world: &World) -> Machine {
    let machine = world.machine();
    machine.ods(&["init"]).good();
    machine.mount(&[]).good();
    let mnt = machine.mnt();
    for (dir, file, seed) in [("photos", "one.bin", 1), ("music", "song.bin", 2)] {
        std::fs::create_dir(mnt.join(dir)).expect("a directory");
        std::fs::write(mnt.join(dir).join(file), noise(seed, 2 << 20)).expect("written");
    }
    std::fs::hard_link(mnt.join("photos/one.bin"), mnt.join("again")).expect("a link");
    std::fs::write(mnt.join("note.txt"), "hello\n").expect("written");
    machine.ods(&["flush"]).good();
    machine
}

/// The packs of `photos` and of `music`.
fn packs(world: &World) -> Vec<StoredAttachment> {
    let mut packs = world.emulator.attachments();
    packs.retain(|object| object.size > 2 << 20);
    assert_eq!(packs.len(), 2);
    packs
}

fn delete(world: &World, object: &StoredAttachment) {
    let deleted = world
        .emulator
        .delete_message(object.channel, object.message);
    deleted.expect("deleted");
}

fn text(path: &Path) -> String {
    path.to_str().expect("text").to_owned()
}

fn paths(answer: &Value) -> Vec<&str> {
    let problems = answer["problems"].as_array().expect("a list");
    problems
        .iter()
        .flat_map(|problem| problem["paths"].as_array().expect("a list"))
        .map(|path| path.as_str().expect("text"))
        .collect()
}

#[test]
fn on_a_mount_what_is_missing_is_named_and_stored_again() {
    let world = World::new();
    let machine = mounted(&world);
    let mnt = machine.mnt();
    let whole = machine.ods(&["verify", "--json"]).good().json();
    assert_eq!(whole["healthy"], true, "{whole}");
    assert_eq!(whole["checked"]["packs"], 2, "{whole}");
    assert!(
        machine
            .ods(&["verify", "--full"])
            .good()
            .out
            .contains("nothing is wrong")
    );

    delete(&world, &packs(&world)[0]);
    let found = machine.ods(&["verify", "--json"]);
    let answer = found.json();
    found.bad(19, &["problem"]);
    let named = paths(&answer);
    let (lost, kept) = match named[0] {
        "/again" => ("photos/one.bin", "music"),
        _ => ("music/song.bin", "photos"),
    };
    assert_eq!(named.len(), if kept == "music" { 2 } else { 1 }, "{answer}");
    let status = machine.ods(&["status", "--json"]).good().json();
    assert_eq!(status["damaged"].as_array().expect("a list").len(), 1);

    // Scopes: the file, its directory, its archive; and others that are not concerned.
    machine
        .ods(&["verify", &text(&mnt.join(lost))])
        .bad(19, &["problem"]);
    let page = machine.ods(&["verify", &text(&mnt.join(lost))]);
    assert!(
        page.out.contains(lost) && page.out.contains("ods repair"),
        "{page:?}"
    );
    machine.ods(&["verify", &text(&mnt.join(kept))]).good();
    machine.ods(&["verify", "--drive", "main", kept]).good();
    machine
        .ods(&["verify", &text(&mnt.join("note.txt"))])
        .good();
    let archives = status["archives"].as_array().expect("a list").iter();
    let codes: Vec<i32> = archives
        .map(|archive| {
            machine
                .ods(&["verify", archive["id"].as_str().expect("text")])
                .code
        })
        .collect();
    // A link at the top belongs to the archive of the top directory too.
    assert!(codes.contains(&19) && codes.contains(&0), "{codes:?}");

    let before = world.emulator.counts().messages;
    let dry = machine.ods(&["repair", "--dry-run", "--json"]);
    assert!(
        dry.json()["repaired"]["from_cache"].as_u64() > Some(0),
        "{dry:?}"
    );
    dry.bad(19, &["left"]);
    assert_eq!(
        world.emulator.counts().messages,
        before,
        "nothing was changed"
    );
    let repaired = machine.ods(&["repair", "--json"]).good().json();
    assert_eq!(repaired["left"], serde_json::json!([]), "{repaired}");
    machine.ods(&["verify", "--full"]).good();
    assert!(
        machine
            .ods(&["repair"])
            .good()
            .out
            .contains("nothing is wrong")
    );
    let status = machine.ods(&["status", "--json"]).good().json();
    assert_eq!(status["damaged"], serde_json::json!([]));
    machine.ods(&["umount"]).good();

    // Another machine finds everything.
    let second = world.machine();
    second.ods(&["init", "--join"]).good();
    second.mount(&[]).good();
    let read = |path: &str| std::fs::read(second.mnt().join(path)).expect("readable");
    assert!(read("photos/one.bin") == noise(1, 2 << 20) && read("again") == noise(1, 2 << 20));
    assert!(read("music/song.bin") == noise(2, 2 << 20));
    second.ods(&["umount"]).good();
}

#[test]
fn without_a_mount_files_give_back_what_is_missing() {
    let world = World::new();
    let machine = mounted(&world);
    machine.ods(&["umount"]).good();
    let second = world.machine();
    second.ods(&["init", "--join"]).good();
    second.ods(&["verify"]).good();
    second.ods(&["verify", "photos", "--full"]).good();
    packs(&world).iter().for_each(|pack| delete(&world, pack));
    second.ods(&["verify", "--quick"]).bad(19, &["2 problems"]);
    second.ods(&["verify", "note.txt"]).good();
    let left = second.ods(&["repair", "--json"]);
    assert_eq!(
        left.json()["left"].as_array().expect("a list").len(),
        2,
        "{left:?}"
    );
    left.bad(19, &["2 problems are left"]);
    // One of the files is still on this disk; the other one is given up.
    let old = second.path("old");
    std::fs::create_dir(&old).expect("a directory");
    std::fs::write(old.join("any name"), noise(1, 2 << 20)).expect("written");
    second
        .ods(&["repair", "--from", &text(&old)])
        .bad(19, &["one problem is left"]);
    second.ods(&["verify", "photos", "--full"]).good();
    let forgot = second.ods(&["repair", "--forget"]).good().out;
    assert!(forgot.contains("2.0 MiB given up"), "{forgot}");
    let report = second.ods(&["verify", "--full"]).good().out;
    assert!(
        report.contains("/music/song.bin"),
        "the note says where: {report}"
    );
    second.mount(&[]).good();
    let song = second.mnt().join("music/song.bin");
    assert_eq!(std::fs::metadata(&song).expect("there").len(), 2 << 20);
    let error = std::fs::read(&song).expect_err("given up");
    assert_eq!(error.raw_os_error(), Some(5), "EIO");
    assert!(std::fs::read(second.mnt().join("again")).expect("whole") == noise(1, 2 << 20));
    second.ods(&["umount"]).good();
}

#[test]
fn what_is_not_there_is_told() {
    let world = World::new();
    let machine = mounted(&world);
    let mnt = machine.mnt();
    let nowhere = text(&mnt.join("photos/nowhere"));
    for command in ["verify", "repair"] {
        machine
            .ods(&[command, &nowhere])
            .bad(27, &["photos/nowhere"]);
        machine
            .ods(&[command, "#010101-77"])
            .bad(27, &["#010101-77"]);
        machine
            .ods(&[command, "--drive", "nobody"])
            .bad(3, &["nobody"]);
    }
    machine
        .ods(&["verify", "--quick", "--full"])
        .bad(2, &["--full"]);
    machine
        .ods(&["repair", "--from", "/nowhere/at/all"])
        .bad(2, &["/nowhere/at/all"]);
    // A machine that reads while another one writes may look, but not repair.
    let second = world.machine();
    second.ods(&["init", "--join"]).good();
    second.ods(&["verify", "--full"]).good();
    second.ods(&["repair"]).bad(17, &["in use by"]);
    machine.ods(&["umount"]).good();
    machine
        .ods(&["verify", "photos/nowhere"])
        .bad(27, &["nowhere"]);
    machine
        .ods(&["verify", "#010101-77"])
        .bad(27, &["#010101-77"]);
    machine.ods(&["verify", "main"]).good();
}

#[test]
fn an_interrupted_look_says_so_and_leaves_nothing_behind() {
    let world = World::new();
    let machine = mounted(&world);
    let slow = FaultKind::Delay {
        ms: 1000,
        when: When::Before,
    };
    for is_mounted in [true, false] {
        if !is_mounted {
            machine.ods(&["umount"]).good();
        }
        // The superblock is read quickly, so that the work begins.
        let pack = &packs(&world)[0].filename;
        let route = format!("GET /attachments/{{channel_id}}/{{attachment_id}}/{pack}");
        let fault = Fault::new(&route, slow.clone());
        let id = world.emulator.faults().add(fault);
        let look = machine.start("ods", &["verify", "--full", "--json"]);
        until("a download", || world.emulator.faults().met(id) > 0);
        look.signal("INT");
        let ended = look.ended();
        assert!(ended.out.contains("\"complete\": false"), "{ended:?}");
        ended.bad(26, &["interrupted"]);
        world.emulator.faults().clear();
        machine.ods(&["verify", "--full"]).good();
    }
    machine.mount(&[]).good();
    machine.ods(&["umount"]).good();
}

#[test]
fn an_interrupted_or_killed_repair_goes_on() {
    let world = World::new();
    let machine = mounted(&world);
    packs(&world).iter().for_each(|pack| delete(&world, pack));
    let down = FaultKind::Error {
        status: 503,
        body: ErrorBody::default(),
    };
    let upload = "POST /channels/{}/messages";
    for signal in ["INT", "KILL"] {
        machine.ods(&["umount"]).good();
        let uploads = world.emulator.faults();
        let id = uploads.add(Fault::new(upload, down.clone()).after(1));
        let repair = machine.start("ods", &["repair"]);
        until("an upload", || world.emulator.faults().met(id) > 1);
        repair.signal(signal);
        let code = repair.ended().code;
        assert!(code == 26 || signal == "KILL", "{code}");
        world.emulator.faults().clear();
        machine.mount(&[]).good();
    }
    machine.ods(&["repair"]).good();
    machine.ods(&["verify", "--full"]).good();
    let read = |path: &str| std::fs::read(machine.mnt().join(path)).expect("readable");
    assert!(read("photos/one.bin") == noise(1, 2 << 20));
    assert!(read("music/song.bin") == noise(2, 2 << 20));
    machine.ods(&["umount"]).good();
}
