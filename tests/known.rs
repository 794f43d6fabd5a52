//! What the kernel knows of a mounted drive: nothing goes while it may ask for it, it hears of what commands change,
//! and it is rid of a daemon that was killed.
#![allow(clippy::cast_possible_truncation, reason = "tests use small numbers")]

#[path = "support/ods.rs"]
mod support;
#[path = "support/sys.rs"]
#[allow(dead_code, unreachable_pub, reason = "each suite uses a part of it")]
mod sys;

use std::fs;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use support::Machine;
use support::World;
use support::is_mounted;
use support::kill;
use support::noise;
use support::until;

fn with_drive(world: &World) -> Machine {
    let machine = world.machine();
    machine.ods(&["init"]).good();
    machine
}

fn mounted(world: &World) -> Machine {
    let machine = with_drive(world);
    machine.mount(&["-o", "reserve=0"]).good();
    machine
}

/// Has the kernel drop what names it knows and nobody uses; only root may.
fn drop_names() -> bool {
    fs::write("/proc/sys/vm/drop_caches", "2").is_ok()
}

/// Where an open file or directory is reached without its name.
fn by_handle(file: &File) -> PathBuf {
    Path::new("/proc/self/fd").join(file.as_raw_fd().to_string())
}

/// So many that the daemon is at them for a while when the kernel forgets all of them.
const MANY: usize = 10_000;

/// What the kernel forgot of a name reaches the daemon after it has asked for the name again.
#[test]
fn what_the_kernel_has_asked_for_again_is_not_forgotten() {
    let world = World::new();
    let machine = mounted(&world);
    let (mnt, many) = (machine.mnt(), machine.mnt().join("many"));
    fs::create_dir(&many).expect("mkdir");
    (0..MANY).for_each(|at| drop(File::create(many.join(at.to_string())).expect("made")));
    let daemon = machine.daemon();
    for round in 0..6 {
        let listed = fs::read_dir(&many).expect("listed").flatten();
        assert_eq!(
            listed.filter(|entry| entry.metadata().is_ok()).count(),
            MANY
        );
        let path = mnt.join(format!("held-{round}"));
        let is_dir = round % 2 == 0;
        match is_dir {
            true => fs::create_dir(&path).expect("mkdir"),
            false => drop(File::create(&path).expect("made")),
        }
        // Names that were looked at are dropped later than others, and the last of those last.
        for _ in 0..2 {
            fs::symlink_metadata(&path).expect("there");
        }
        kill(daemon, "STOP");
        let may_drop = drop_names();
        let (tell, told) = std::sync::mpsc::channel();
        let asks = std::thread::spawn(move || {
            tell.send(()).expect("heard");
            let held = sys::open(&path, libc::O_PATH, 0).expect("there");
            match is_dir {
                true => fs::remove_dir(&path).expect("rmdir"),
                false => fs::remove_file(&path).expect("unlink"),
            }
            // As long as the daemon may take to remove what was forgotten.
            let since = Instant::now();
            while since.elapsed() < Duration::from_millis(60) {
                sys::chmod(by_handle(&held), 0o700).expect("it stays while it is held");
            }
        });
        told.recv().expect("told");
        kill(daemon, "CONT");
        asks.join().expect("it stays");
        if !may_drop {
            break;
        }
    }
    machine.ods(&["umount"]).good();
}

#[test]
fn a_name_that_a_command_removes_is_missing_from_the_count_of_the_others() {
    let world = World::new();
    let machine = mounted(&world);
    let [one, other] = ["one", "other"].map(|name| machine.mnt().join(name));
    fs::write(&one, b"content").expect("written");
    fs::hard_link(&one, &other).expect("linked");
    let before = fs::metadata(&one).expect("there");
    assert_eq!(before.nlink(), 2);
    machine.ods(&["delete", "--yes", "/other"]).good();
    let after = fs::metadata(&one).expect("there");
    assert_eq!(after.nlink(), 1);
    let ctime = |meta: &fs::Metadata| (meta.ctime(), meta.ctime_nsec());
    assert!(ctime(&after) > ctime(&before));
    machine.ods(&["umount"]).good();
}

#[test]
fn what_a_command_removes_is_told_to_whoever_holds_it() {
    let world = World::new();
    let machine = mounted(&world);
    let (dir, file) = (machine.mnt().join("dir"), machine.mnt().join("file"));
    fs::create_dir(&dir).expect("mkdir");
    fs::write(&file, b"content").expect("written");
    let inside = sys::open(&dir, libc::O_PATH | libc::O_DIRECTORY, 0).expect("there");
    let beside = sys::open(&file, libc::O_PATH, 0).expect("there");
    for name in ["/dir", "/file"] {
        machine.ods(&["delete", "--yes", name]).good();
    }
    let new = by_handle(&inside).join("new");
    assert_eq!(sys::code(fs::write(&new, b"")), Err(libc::ENOENT));
    assert_eq!(sys::mkdir(&new, 0o700), Err(libc::ENOENT));
    assert_eq!(
        sys::code(fs::hard_link(machine.path("mnt/none"), &new)),
        Err(libc::ENOENT)
    );
    assert_eq!(inside.metadata().expect("it is held").nlink(), 0);
    sys::chmod(by_handle(&beside), 0o600).expect("it is held");
    drop((inside, beside));
    machine.ods(&["umount"]).good();
}

/// It may be stopped by a person or a debugger, and go on later.
#[test]
fn a_daemon_that_stands_still_is_not_taken_for_dead() {
    let world = World::new();
    let machine = mounted(&world);
    let (mnt, file) = (machine.mnt(), machine.mnt().join("file"));
    fs::write(&file, b"content").expect("written");
    let daemon = machine.daemon();
    kill(daemon, "STOP");
    machine.mount(&[]).bad(22, &["mounted already"]);
    let at = mnt.to_str().expect("text");
    machine
        .ods(&["flush", "--timeout", "1", at])
        .bad(24, &["the time is over"]);
    machine
        .ods(&["umount", "--force", "--timeout", "1", at])
        .bad(24, &[]);
    assert!(is_mounted(&mnt));
    kill(daemon, "CONT");
    until("the end that was asked for", || !is_mounted(&mnt));
    until("the daemon's end", || {
        fs::metadata(format!("/proc/{daemon}")).is_err()
    });
    machine.mount(&[]).good();
    assert_eq!(fs::read(&file).expect("readable"), b"content");
    machine.ods(&["umount"]).good();
}

/// Uploads fail until the faults are cleared.
fn unreachable(world: &World) {
    let error = ods::emulator::FaultKind::Error {
        status: 503,
        body: ods::emulator::ErrorBody::default(),
    };
    let fault = ods::emulator::Fault::new("POST /channels/{}/messages", error);
    world.emulator.faults().add(fault);
}

/// Is a thread of this process in the kernel, telling it of a change?
fn tells_the_kernel(pid: i32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("a process");
    threads.flatten().any(|thread| {
        let stack = fs::read_to_string(thread.path().join("stack"));
        stack.is_ok_and(|stack| stack.contains("fuse_reverse_inval"))
    })
}

/// A daemon that tells the kernel of a change waits until the kernel has handed over changed pages, for which the
/// daemon has no room; then it is killed, and nobody will ever take them.
fn kill_one_that_cannot_end(machine: &Machine, world: &World, then: impl FnOnce(i32)) {
    let mnt = machine.mnt();
    let [one, other] = ["one", "other"].map(|name| mnt.join(name));
    let mapped = sys::open(&one, libc::O_RDWR | libc::O_CREAT, 0o600).expect("made");
    mapped.set_len(1 << 20).expect("longer");
    fs::hard_link(&one, &other).expect("linked");
    let daemon = machine.daemon();
    unreachable(world);
    let written = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut big = File::create(mnt.join("big")).expect("made");
            let piece = noise(1, 16 << 10);
            while big.write_all(&piece).is_ok() {
                written.fetch_add(1, Ordering::SeqCst);
            }
        });
        let mut before = (0, 0);
        until("a full spool", || {
            let now = written.load(Ordering::SeqCst);
            before = (now, if now == before.0 { before.1 + 1 } else { 0 });
            before.1 > 50 && now > 14 << 6
        });
        let mut map = sys::Map::new(&mapped, 1 << 20);
        map.bytes().fill(7);
        let _delete = machine.start("ods", &["delete", "--yes", "/other"]);
        until("a word to the kernel", || tells_the_kernel(daemon));
        kill(daemon, "KILL");
        then(daemon);
    });
}

#[test]
fn a_killed_daemon_that_the_kernel_holds_is_made_to_end_by_umount() {
    let world = World::new();
    let machine = with_drive(&world);
    let options = ["-o", "spool=16M,reserve=0,patience=1,write_timeout=600"];
    machine.mount(&options).good();
    let mnt = machine.mnt();
    kill_one_that_cannot_end(&machine, &world, |daemon| {
        let umount = machine.start_beside("ods", &["umount", mnt.to_str().expect("text")]);
        let ended = umount.ended();
        assert!(ended.err.contains("daemon was gone"), "{ended:?}");
        assert!(!is_mounted(&mnt));
        let stat = fs::read_to_string(format!("/proc/{daemon}/status"));
        assert!(stat.is_err() || stat.is_ok_and(|stat| !stat.contains("VmRSS")));
    });
    world.emulator.faults().clear();
    machine.mount(&options).good();
    assert!(!mnt.join("other").exists() && mnt.join("one").exists());
    machine.ods(&["umount"]).good();
}

#[test]
fn a_killed_daemon_that_the_kernel_holds_is_made_to_end_by_the_next_mount() {
    let world = World::new();
    let machine = with_drive(&world);
    let options = ["-o", "spool=16M,reserve=0,patience=1,write_timeout=600"];
    machine.mount(&options).good();
    let mnt = machine.mnt();
    kill_one_that_cannot_end(&machine, &world, |_| {
        world.emulator.faults().clear();
        let at = mnt.to_str().expect("text");
        let words = [&options[..], &["--daemon", at]].concat();
        let mount = machine.start_beside("ods-mount", &words);
        mount.ended().good();
    });
    assert!(!mnt.join("other").exists() && mnt.join("one").exists());
    machine.ods(&["umount"]).good();
}
