//! How a mount ends while programs hold the drive, and what is left alone: other mounts at its place, views of it.

#[path = "support/ods.rs"]
mod support;

use std::fs;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use ods::emulator::Fault;
use ods::emulator::FaultKind;
use ods::emulator::When;
use support::Foreground;
use support::Machine;
use support::World;
use support::is_mounted;
use support::kill;
use support::until;

fn with_drive(world: &World) -> Machine {
    let machine = world.machine();
    machine.ods(&["init"]).good();
    machine
}

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

/// That it does not end is no reason to wait for ever.
const UMOUNT: [&str; 4] = ["umount", "--timeout", "30", "main"];

/// A drive that is mounted in the foreground, with one file that is on Discord.
fn in_foreground(world: &World) -> (Machine, Foreground) {
    let machine = with_drive(world);
    let mut mount = machine.start("ods-mount", &[text(&machine.mnt())]);
    mount.says("main is mounted");
    fs::write(machine.mnt().join("file"), "content").expect("written");
    machine.ods(&["flush"]).good();
    (machine, mount)
}

/// Runs a program of the system; who is not root may not do much with mounts.
fn system(program: &str, args: &[&str]) -> bool {
    let ended = Command::new(program).args(args).output();
    ended.expect("it runs").status.success()
}

fn mount_tmpfs(at: &Path) -> bool {
    system("mount", &["-t", "tmpfs", "tmpfs", text(at)])
}

/// The type of the topmost mount here.
fn kind(at: &Path) -> Option<String> {
    let table = fs::read_to_string("/proc/self/mounts").expect("a table");
    let lines = table.lines().map(|line| line.split(' ').collect());
    let mut lines = lines.filter(|line: &Vec<&str>| line[1] == text(at));
    lines.next_back().map(|line| line[2].to_owned())
}

/// A file that is open to be written, with what is in it on Discord.
fn late(machine: &Machine) -> File {
    let file = File::create(machine.mnt().join("late")).expect("made");
    file.write_all_at(b"in time", 0).expect("written");
    machine.ods(&["flush", "main"]).good();
    file
}

/// While a drive that `ends` gives its lease back, it takes nothing more: others may have it then.
fn takes_nothing_more(world: &World, machine: &Machine, file: &File, ends: impl FnOnce()) {
    let slow = FaultKind::Delay {
        ms: 2000,
        when: When::Before,
    };
    let fault = Fault::new("DELETE /channels/{}/messages/{}", slow);
    let faults = world.emulator.faults();
    let farewell = faults.add(fault);
    ends();
    until("the farewell", || faults.met(farewell) > 0);
    assert!(!is_mounted(&machine.mnt()));
    file.write_all_at(b"too late", 0).expect_err("refused");
}

/// Another machine has the drive, and what was written in time.
fn is_elsewhere(world: &World) {
    world.emulator.faults().clear();
    let other = world.machine();
    other.ods(&["init", "--join"]).good();
    other.mount(&[]).good();
    let read = fs::read_to_string(other.mnt().join("late"));
    assert_eq!(read.expect("readable"), "in time");
    other.ods(&["umount"]).good();
}

#[test]
fn what_is_written_while_the_drive_is_given_back_is_refused() {
    let world = World::new();
    let machine = with_drive(&world);
    machine.mount(&[]).good();
    let file = late(&machine);
    let mut umount = None;
    takes_nothing_more(&world, &machine, &file, || {
        umount = Some(machine.start_beside("ods", &["umount", "--force", "--json"]));
    });
    let answer = umount.expect("started").ended().good().json();
    assert_eq!(answer["unpublished"], false);
    is_elsewhere(&world);
    let status = machine.ods(&["status", "--json"]).good().json();
    assert_eq!(status["unpublished"], false);
}

#[test]
fn what_is_written_after_a_second_signal_is_refused() {
    let world = World::new();
    let (machine, mut mount) = in_foreground(&world);
    let file = late(&machine);
    mount.signal("TERM");
    mount.says("programs still use the drive");
    file.write_all_at(b"in", 0).expect("the drive goes on");
    machine.ods(&["flush", "main"]).good();
    takes_nothing_more(&world, &machine, &file, || mount.signal("TERM"));
    mount.ended().bad(0, &["everything is on Discord"]);
    is_elsewhere(&world);
}

#[test]
fn a_drive_that_programs_hold_after_a_signal_says_so_and_can_be_forced() {
    let world = World::new();
    let (machine, mut mount) = in_foreground(&world);
    let held = File::open(machine.mnt().join("file")).expect("there");
    mount.signal("TERM");
    mount.says("programs still use the drive");
    assert!(!is_mounted(&machine.mnt()));
    machine
        .ods(&UMOUNT)
        .bad(22, &["programs still use the drive", "--force main"]);
    assert!(mount.is_running(), "{}", mount.err());
    let force = ["umount", "--force", "--timeout", "30", "main"];
    let forced = machine.ods(&force).good();
    assert!(
        forced.err.contains("everything is on Discord"),
        "{forced:?}"
    );
    mount.ended().good();
    drop(held);
}

#[test]
fn another_mount_at_the_place_of_a_drive_is_left_alone() {
    let world = World::new();
    let (machine, mut mount) = in_foreground(&world);
    let mnt = machine.mnt();
    let held = File::open(mnt.join("file")).expect("there");
    if !system("umount", &["-i", "-l", text(&mnt)]) || !mount_tmpfs(&mnt) {
        return;
    }
    fs::write(mnt.join("other"), "another's").expect("written");
    let left_alone = ["(tmpfs)", "left alone", "programs still use the drive"];
    machine.ods(&UMOUNT).bad(22, &left_alone);
    assert_eq!(kind(&mnt).as_deref(), Some("tmpfs"));
    // Nor when it is in use, by a signal.
    let busy = File::open(mnt.join("other")).expect("there");
    mount.signal("TERM");
    mount.says("left alone");
    assert_eq!(kind(&mnt).as_deref(), Some("tmpfs"));
    drop(held);
    mount.ended().bad(0, &["everything is on Discord"]);
    assert_eq!(kind(&mnt).as_deref(), Some("tmpfs"));
    drop(busy);
    assert!(system("umount", &[text(&mnt)]));
}

#[test]
fn another_mount_over_a_drive_is_left_alone_and_named() {
    let world = World::new();
    let (machine, mount) = in_foreground(&world);
    let mnt = machine.mnt();
    if !mount_tmpfs(&mnt) {
        return;
    }
    let told = ["another mount (tmpfs)", "left alone", text(&mnt)];
    machine.ods(&UMOUNT).bad(22, &told);
    assert_eq!(kind(&mnt).as_deref(), Some("tmpfs"));
    assert!(system("umount", &[text(&mnt)]));
    assert_eq!(kind(&mnt).as_deref(), Some("fuse.ods"));
    machine.ods(&UMOUNT).good();
    mount.ended().good();
    assert!(!is_mounted(&mnt));
}

#[test]
fn what_is_mounted_inside_a_drive_is_not_taken_for_the_drive() {
    let world = World::new();
    let (machine, mount) = in_foreground(&world);
    let list = machine.mnt().join("top/list");
    fs::create_dir_all(&list).expect("made");
    let file = list.join("file");
    fs::write(&file, "the drive's").expect("written");
    if !mount_tmpfs(&list) {
        return;
    }
    fs::write(&file, "another's").expect("written");
    let refused = machine.ods(&["delete", "--yes", text(&file)]);
    assert_ne!(refused.code, 0, "{refused:?}");
    let nothing = ["no drive is mounted at"];
    machine.ods(&["umount", text(&list)]).bad(23, &nothing);
    machine.ods(&["flush", text(&file)]).bad(23, &nothing);
    assert_eq!(fs::read_to_string(&file).expect("there"), "another's");
    assert!(system("umount", &[text(&list)]));
    assert_eq!(fs::read_to_string(&file).expect("there"), "the drive's");
    machine.ods(&["umount"]).good();
    mount.ended().good();
}

/// A directory of the drive on which another filesystem is mounted, with something in it; none if that is not allowed.
fn with_mount_inside(machine: &Machine) -> Option<PathBuf> {
    let top = machine.mnt().join("top");
    fs::create_dir_all(&top).expect("made");
    machine.ods(&["flush"]).good();
    mount_tmpfs(&top).then(|| {
        fs::write(top.join("file"), "precious").expect("written");
        top
    })
}

fn is_precious(top: &Path) {
    assert_eq!(kind(top).as_deref(), Some("tmpfs"));
    let read = fs::read_to_string(top.join("file"));
    assert_eq!(read.expect("readable"), "precious");
}

#[test]
fn what_is_mounted_inside_a_drive_stays_with_it_and_is_named() {
    let world = World::new();
    let (machine, mut mount) = in_foreground(&world);
    let mnt = machine.mnt();
    let Some(top) = with_mount_inside(&machine) else {
        return;
    };
    let told = ["another mount (tmpfs)", text(&top)];
    let refused = machine.ods(&UMOUNT).bad(22, &told);
    assert!(refused.err.contains("Everything so far"), "{refused:?}");
    is_precious(&top);
    mount.signal("TERM");
    mount.says("another mount (tmpfs) lies inside the drive");
    is_precious(&top);
    // The drive goes on until that is gone.
    fs::write(mnt.join("late"), "in time").expect("written");
    assert!(system("umount", &[text(&top)]));
    machine.ods(&UMOUNT).good();
    mount.ended().bad(0, &["everything is on Discord"]);
    is_elsewhere(&world);
}

/// Ends a mount at once, whatever lies inside it.
type AtOnce = fn(&Machine, &mut Foreground);

#[test]
fn what_is_mounted_inside_a_drive_outlives_its_quick_end() {
    const TOLD: [&str; 3] = ["dead mount stays", "(tmpfs)", "top"];
    let ends: [AtOnce; 3] = [
        |machine, _| drop(machine.ods(&["umount", "--force"]).bad(22, &TOLD)),
        |_, mount| {
            mount.signal("TERM");
            mount.says("another mount (tmpfs) lies inside the drive");
            mount.signal("TERM");
        },
        |_, mount| mount.signal("KILL"),
    ];
    for (nth, end) in ends.into_iter().enumerate() {
        let world = World::new();
        let (machine, mut mount) = in_foreground(&world);
        let Some(top) = with_mount_inside(&machine) else {
            return;
        };
        end(&machine, &mut mount);
        match nth {
            0 | 1 => drop(mount.ended().bad(22, &TOLD)),
            _ => drop(mount.ended()),
        }
        is_precious(&top);
        let named = ["another mount (tmpfs) lies inside it", text(&top)];
        let mnt = machine.mnt();
        machine.mount(&[]).bad(22, &named);
        machine.ods(&["umount", text(&mnt)]).bad(22, &named);
        is_precious(&top);
        assert!(system("umount", &[text(&top)]));
        machine.mount(&[]).good();
        machine.ods(&["umount"]).good();
        assert!(!is_mounted(&mnt));
    }
}

/// A drive that is mounted in the background, with a file that somebody has open, and the process that serves it.
fn in_use(machine: &Machine) -> (File, i32) {
    machine.mount(&[]).good();
    let held = File::create(machine.mnt().join("held")).expect("made");
    (held, machine.daemon())
}

#[test]
fn a_daemon_that_is_not_known_here_is_not_taken_for_dead() {
    let world = World::new();
    let mut machine = with_drive(&world);
    let (held, _) = in_use(&machine);
    let (mnt, state) = (machine.mnt(), machine.path("state"));
    let elsewhere = machine.path("elsewhere");
    machine.set("XDG_STATE_HOME", text(&elsewhere));
    for words in [
        &["status"][..],
        &["flush"],
        &["umount"],
        &["umount", "--force"],
    ] {
        let words = [words, &[text(&mnt)]].concat();
        machine.ods(&words).bad(1, &["not known here", text(&mnt)]);
    }
    held.write_all_at(b"goes on", 0).expect("it is served");
    assert!(is_mounted(&mnt));
    machine.set("XDG_STATE_HOME", text(&state));
    drop(held);
    machine.ods(&["umount"]).good();
}

#[test]
fn a_daemon_that_cannot_be_asked_is_named_and_can_be_ended() {
    let world = World::new();
    let machine = with_drive(&world);
    let (held, daemon) = in_use(&machine);
    let mnt = machine.mnt();
    fs::remove_file(machine.state("main").join("control")).expect("removed");
    let named = format!("`kill {daemon}`");
    for target in ["main", text(&mnt)] {
        for command in ["status", "umount"] {
            machine.ods(&[command, target]).bad(1, &[&named]);
        }
    }
    held.write_all_at(b"goes on", 0).expect("it is served");
    assert!(is_mounted(&mnt));
    drop(held);
    kill(daemon, "TERM");
    until("its end", || !is_mounted(&mnt));
    until("the daemon's end", || {
        fs::metadata(format!("/proc/{daemon}")).is_err()
    });
    machine.mount(&[]).good();
    let read = fs::read_to_string(mnt.join("held"));
    assert_eq!(read.expect("readable"), "goes on");
    machine.ods(&["umount"]).good();
}

#[test]
fn a_daemon_that_could_not_be_listed_is_found_by_its_mount() {
    let world = World::new();
    let machine = with_drive(&world);
    machine.mount(&[]).good();
    let daemon = machine.daemon();
    let entry = format!("state/ods/.running/{daemon}.json");
    fs::remove_file(machine.path(&entry)).expect("removed");
    let mnt = machine.mnt();
    let status = machine.ods(&["status", "--json", text(&mnt)]).good().json();
    assert_eq!(status["pid"], daemon);
    machine.ods(&["umount", text(&mnt)]).good();
    assert!(!is_mounted(&mnt));
}

#[test]
fn a_view_of_a_drive_leads_to_it_and_is_taken_away_alone() {
    let world = World::new();
    let (machine, mount) = in_foreground(&world);
    let mnt = machine.mnt();
    fs::create_dir(mnt.join("top")).expect("made");
    fs::write(mnt.join("top/file"), "content").expect("written");
    let bind = |what: &Path, name: &str| -> Option<PathBuf> {
        let view = machine.path(name);
        fs::create_dir(&view).expect("made");
        system("mount", &["--bind", text(what), text(&view)]).then_some(view)
    };
    let Some(whole) = bind(&mnt, "whole") else {
        return;
    };
    let part = bind(&mnt.join("top"), "part").expect("bound");
    machine.ods(&["flush", text(&whole.join("top"))]).good();
    // A path in it is where it is in the drive.
    let file = part.join("file");
    machine.ods(&["delete", "--yes", text(&file)]).good();
    assert!(!mnt.join("top/file").exists());
    let into = machine.path("into");
    fs::create_dir(&into).expect("made");
    fs::write(into.join("new"), "content").expect("written");
    let source = into.join("new");
    machine
        .ods(&["upload", "--to", text(&part), text(&source)])
        .good();
    assert!(mnt.join("top/new").exists());
    // Each view goes alone; the drive stays, and says what holds it.
    let gone = machine.ods(&["umount", text(&whole)]).good();
    assert!(gone.err.contains("stays mounted on"), "{gone:?}");
    assert!(!is_mounted(&whole) && is_mounted(&part) && is_mounted(&mnt));
    machine
        .ods(&UMOUNT)
        .bad(22, &["mounted on", text(&part), "as well"]);
    machine.helper("umount.fuse.ods", &[text(&part)]).good();
    assert!(!is_mounted(&part));
    mount.ended().bad(0, &["everything is on Discord"]);
}

#[test]
fn a_drive_that_is_bound_onto_itself_is_taken_away_one_after_the_other() {
    let world = World::new();
    let (machine, mount) = in_foreground(&world);
    let mnt = machine.mnt();
    if !system("mount", &["--bind", text(&mnt), text(&mnt)]) {
        return;
    }
    let told = ["another mount (fuse.ods) lies over the drive"];
    machine.ods(&UMOUNT).bad(22, &told);
    let gone = machine.helper("umount.fuse.ods", &[text(&mnt)]).good();
    assert!(gone.err.contains("stays mounted on"), "{gone:?}");
    assert!(is_mounted(&mnt));
    machine.helper("umount.fuse.ods", &[text(&mnt)]).good();
    assert!(!is_mounted(&mnt));
    mount.ended().good();
}

#[test]
fn a_drive_whose_directory_was_moved_is_found_and_unmounted() {
    let world = World::new();
    let machine = with_drive(&world);
    let (parent, moved) = (machine.path("parent"), machine.path("moved"));
    fs::create_dir_all(parent.join("mnt")).expect("made");
    machine.mount_at(&parent.join("mnt"), &[]).good();
    fs::rename(&parent, &moved).expect("moved");
    let mnt = moved.join("mnt");
    fs::write(mnt.join("file"), "content").expect("written");
    machine.ods(&["flush", text(&mnt.join("file"))]).good();
    let status = machine.ods(&["status", "--json"]).good().json();
    assert_eq!(status["mountpoint"], text(&mnt));
    machine.ods(&["umount", text(&mnt)]).good();
    assert!(!is_mounted(&mnt));
}

#[test]
fn a_daemon_whose_socket_has_a_long_path_is_found_without_a_directory_for_temporary_files() {
    let world = World::new();
    let mut machine = with_drive(&world);
    let state = machine.path(&"long".repeat(30));
    fs::rename(machine.state("main"), &state).expect("moved");
    machine
        .mount(&["-o", &format!("state={}", text(&state))])
        .good();
    machine.set("TMPDIR", "/nonexistent");
    let status = machine.ods(&["status", "main", "--json"]).good().json();
    assert_eq!(status["mounted"], true);
    machine.ods(&["umount", text(&machine.mnt())]).good();
    assert!(!is_mounted(&machine.mnt()));
}
