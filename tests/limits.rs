//! What happens at the edges: no space, no handles, many files, many threads, little memory, two mounts, two
//! machines. Nothing acknowledged is lost, the error is told, and it goes on when there is room again.
//!
//! `scripts/soak limits` runs the long forms, which are ignored here.

#[path = "support/edges.rs"]
mod edges;
#[path = "support/ods.rs"]
mod support;

use std::fs;
use std::fs::File;
use std::io::Read;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use edges::KIB;
use edges::MIB;
use edges::SmallDisk;
use edges::noise;
use edges::peak_kib;
use edges::raise_files_max;
use support::Machine;
use support::World;
use support::until;

fn with_drive(world: &World) -> Machine {
    let machine = world.machine();
    machine.ods(&["init"]).good();
    machine
}

fn errno<T>(result: std::io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

/// What was acknowledged: a file's path below the mount, and the seed of its content.
type Kept = Vec<(PathBuf, u64, usize)>;

fn check(mnt: &Path, kept: &Kept) {
    for (path, seed, len) in kept {
        let read = fs::read(mnt.join(path)).expect("an acknowledged file is readable");
        assert!(read == noise(*seed, *len), "{} differs", path.display());
    }
}

/// Writes, syncs, renames and removes until the disk is full, and some more; tells what was acknowledged.
fn work(mnt: &Path, seed: u64) -> (Kept, Vec<i32>) {
    let (mut kept, mut refused) = (Kept::new(), Vec::new());
    for nth in 0..24_u64 {
        let seed = seed + nth;
        let len = [700, 40 * KIB, 5 * KIB, 300 * KIB][usize::try_from(nth % 4).expect("small")];
        let draft = mnt.join(format!("draft-{seed}"));
        let name = PathBuf::from(format!("file-{seed}"));
        let done = File::create(&draft)
            .and_then(|mut file| {
                file.write_all(&noise(seed, len))
                    .and_then(|()| file.sync_all())
            })
            .and_then(|()| fs::rename(&draft, mnt.join(&name)));
        match done {
            Ok(()) => kept.push((name, seed, len)),
            Err(error) => refused.push(error.raw_os_error().expect("an errno")),
        }
    }
    (kept, refused)
}

/// One drive whose state directory is on a disk of so many bytes, from the mount to the recovery.
/// True when the disk was too small for something.
fn on_a_disk_of(world: &World, bytes: usize) -> bool {
    let machine = with_drive(world);
    let disk = SmallDisk::of(&machine.path("disk"), bytes);
    let state = format!(
        "state={},reserve=0,patience=5,write_timeout=5",
        disk.path().display()
    );
    let mounted = machine.mount(&["-o", &state]);
    if mounted.code != 0 {
        // Too small to begin: it says so in words, and once there is room it begins.
        assert_eq!(mounted.code, 20, "{bytes} bytes: {mounted:?}");
        disk.grow(64 * MIB);
        machine.mount(&["-o", &state]).good();
    }
    let daemon = machine.daemon();
    let mnt = machine.mnt();
    println!("{bytes} bytes");
    let (mut kept, refused) = work(&mnt, 1);
    for errno in &refused {
        assert_eq!(*errno, libc::ENOSPC, "{bytes} bytes: {refused:?}");
    }
    check(&mnt, &kept);
    let flushed = machine.ods(&["flush", "--timeout", "3"]);
    assert!(
        [0, 20, 24].contains(&flushed.code),
        "{bytes} bytes: {flushed:?}"
    );
    // What fails in the background is told.
    if flushed.code != 0 {
        let status = machine.ods(&["status", "--json"]).good().json();
        assert!(
            status["last_error"].is_string() || status["error"].is_string(),
            "{status}"
        );
    }
    check(&mnt, &kept);
    disk.grow(64 * MIB);
    machine.ods(&["flush"]).good();
    let (more, refused_more) = work(&mnt, 1000);
    assert!(refused_more.is_empty(), "{bytes} bytes: {refused_more:?}");
    kept.extend(more);
    check(&mnt, &kept);
    assert_eq!(machine.daemon(), daemon, "the same daemon");
    machine.ods(&["umount"]).good();
    // Locally, and from Discord alone.
    machine.mount(&["-o", &state]).good();
    check(&mnt, &kept);
    machine.ods(&["umount"]).good();
    machine.ods(&["init", "--join", "--name", "again"]).good();
    let words = ["again", "-o", "reserve=0"];
    machine.mount(&words).good();
    check(&mnt, &kept);
    machine.ods(&["umount", "again"]).good();
    mounted.code != 0 || !refused.is_empty() || flushed.code != 0
}

fn disks(sizes: impl Iterator<Item = usize>) {
    let mut small = 0;
    for bytes in sizes {
        small += usize::from(on_a_disk_of(&World::new(), bytes));
    }
    assert!(small > 0, "no disk was too small");
}

#[test]
fn a_full_disk_loses_nothing_wherever_it_ends() {
    disks((0..8).map(|step| 256 * KIB + step * 597 * KIB));
}

#[test]
#[ignore = "long: every 32 KiB; run by scripts/soak limits"]
fn a_full_disk_loses_nothing_at_every_size() {
    disks((0..256).map(|step| 16 * KIB + step * 32 * KIB));
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

#[test]
fn a_full_spool_without_discord_refuses_writes_keeps_the_rest_and_recovers() {
    let world = World::new();
    let machine = with_drive(&world);
    machine
        .mount(&["-o", "spool=16M,reserve=0,patience=2,write_timeout=4"])
        .good();
    let mnt = machine.mnt();
    unreachable(&world);
    let mut kept = Kept::new();
    let refused = (0..64).find_map(|nth| {
        let (name, len) = (PathBuf::from(format!("file-{nth}")), MIB);
        match errno(fs::write(mnt.join(&name), noise(nth, len))) {
            None => {
                kept.push((name, nth, len));
                None
            }
            some => some,
        }
    });
    assert_eq!(refused, Some(libc::ENOSPC));
    assert!(kept.len() >= 8, "{} MiB fitted into 16", kept.len());
    check(&mnt, &kept);
    // What takes no room goes on: names change, and removing makes room.
    fs::rename(mnt.join("file-0"), mnt.join("moved")).expect("renamed");
    kept[0].0 = PathBuf::from("moved");
    let told = machine.ods(&["status"]).good().out;
    assert!(told.contains("503"), "the reason is told: {told}");
    machine.ods(&["flush", "--timeout", "1"]).bad(24, &[]);
    world.emulator.faults().clear();
    machine.ods(&["flush"]).good();
    fs::write(mnt.join("after"), noise(99, MIB)).expect("there is room again");
    kept.push((PathBuf::from("after"), 99, MIB));
    machine.ods(&["umount"]).good();
    fs::remove_dir_all(machine.path("state")).expect("removed");
    machine.ods(&["init", "--join"]).good();
    machine.mount(&[]).good();
    check(&mnt, &kept);
    machine.ods(&["umount"]).good();
}

#[test]
fn writers_wait_for_room_while_discord_is_briefly_away() {
    let world = World::new();
    let machine = with_drive(&world);
    machine
        .mount(&["-o", "spool=16M,reserve=0,patience=1"])
        .good();
    let mnt = machine.mnt();
    unreachable(&world);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut file = File::create(mnt.join("big")).expect("a file");
            for nth in 0..40 {
                file.write_all(&noise(nth, MIB)).expect("room comes");
            }
        });
        // All the room is taken, and calls to Discord have failed for good and been made anew.
        until("a full spool and a failure", || {
            let status = machine.ods(&["status", "--json"]).good().json();
            let error = status["last_error"].as_str().unwrap_or_default().to_owned();
            let bytes = status["spool"]["bytes"].as_u64().expect("a number");
            error.contains("503") && bytes > 14 << 20
        });
        world.emulator.faults().clear();
        writer.join().expect("every write is kept");
    });
    machine.ods(&["flush"]).good();
    let read = fs::read(mnt.join("big")).expect("readable");
    let expected: Vec<u8> = (0..40).flat_map(|nth| noise(nth, MIB)).collect();
    assert!(read == expected);
    machine.ods(&["umount"]).good();
}

/// A read of what is here waits for nothing, although it would leave a trace.
#[test]
fn reading_waits_for_no_room_for_the_time_of_access() {
    let world = World::new();
    let machine = with_drive(&world);
    let options = "relatime,changes=1M,reserve=0,patience=1,write_timeout=600";
    machine.mount(&["-o", options]).good();
    let mnt = machine.mnt();
    fs::write(mnt.join("file"), b"content").expect("written");
    unreachable(&world);
    let made = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let full = scope.spawn(|| {
            let make = |nth: u64| fs::write(mnt.join(format!("{nth:0200}")), b"");
            (0..)
                .take_while(|nth| make(*nth).is_ok())
                .for_each(|nth| made.store(nth, Ordering::SeqCst));
        });
        let mut before = (0, 0);
        until("all memory for changes taken", || {
            let now = made.load(Ordering::SeqCst);
            before = (now, if now == before.0 { before.1 + 1 } else { 0 });
            before.1 > 50 && now > 0
        });
        let reader = scope.spawn(|| fs::read(mnt.join("file")).expect("readable"));
        until("the content", || reader.is_finished());
        assert!(!full.is_finished(), "who makes files waits");
        assert_eq!(reader.join().expect("no panic"), b"content");
        world.emulator.faults().clear();
        machine.ods(&["umount", "--force"]).good();
        full.join().expect("no panic");
    });
}

/// Nobody makes room on the disk but ods itself.
#[test]
fn a_disk_that_ods_alone_has_filled_is_emptied_by_uploading() {
    for bytes in [3 * MIB, 12 * MIB] {
        let world = World::new();
        let machine = with_drive(&world);
        let disk = SmallDisk::of(&machine.path("disk"), bytes);
        let state = disk.path().display();
        let options = format!("state={state},reserve=0,patience=2,write_timeout=2");
        machine.mount(&["-o", &options]).good();
        let mnt = machine.mnt();
        unreachable(&world);
        let mut kept = Kept::new();
        for round in 0.. {
            let (more, refused) = work(&mnt, round * 100);
            kept.extend(more);
            if !refused.is_empty() {
                break;
            }
        }
        world.emulator.faults().clear();
        machine.ods(&["flush"]).good();
        check(&mnt, &kept);
        let (name, seed, len) = kept.swap_remove(0);
        fs::remove_file(mnt.join(name)).expect("removed");
        fs::write(mnt.join("after"), noise(seed, len)).expect("written");
        machine.ods(&["umount"]).good();
        machine.mount(&["-o", &options]).good();
        check(&mnt, &kept);
        machine.ods(&["umount"]).good();
    }
}

/// Brings so many files of a mebibyte to the store and reads them, so that the cache holds them; unmounts again.
fn read_once(machine: &Machine, options: &str, files: u64) -> Kept {
    machine.mount(&["-o", options]).good();
    let mnt = machine.mnt();
    let mut kept = Kept::new();
    for seed in 0..files {
        let name = PathBuf::from(format!("file-{seed}"));
        fs::write(mnt.join(&name), noise(seed, MIB)).expect("written");
        kept.push((name, seed, MIB));
    }
    machine.ods(&["flush"]).good();
    check(&mnt, &kept);
    machine.ods(&["umount"]).good();
    kept
}

/// Others take all that is left of a disk.
fn fill_up(disk: &SmallDisk) {
    let mut others = File::create(disk.path().join("others")).expect("a file");
    let filled = (0..).find_map(|_| others.write_all(&[7; 512]).err());
    let filled = filled.and_then(|error| error.raw_os_error());
    assert_eq!(filled, Some(libc::ENOSPC));
}

#[test]
fn a_drive_is_mounted_on_a_disk_that_others_have_filled_as_the_cache_gives_way() {
    let world = World::new();
    let machine = with_drive(&world);
    let disk = SmallDisk::of(&machine.path("disk"), 16 * MIB);
    let options = format!("state={},reserve=0", disk.path().display());
    let mnt = machine.mnt();
    let kept = read_once(&machine, &options, 8);
    fill_up(&disk);
    machine.mount(&["-o", &options]).good();
    check(&mnt, &kept);
    machine.ods(&["umount"]).good();
}

/// Its own lease is there still, so the first that is written is what the machine calls itself.
#[test]
fn a_drive_in_which_changes_wait_is_mounted_on_a_disk_that_others_have_filled() {
    let world = World::new();
    let machine = with_drive(&world);
    let disk = SmallDisk::of(&machine.path("disk"), 16 * MIB);
    let options = format!("state={},reserve=0,linger=600", disk.path().display());
    let mnt = machine.mnt();
    let mut kept = read_once(&machine, &options, 8);
    machine.mount(&["-o", &options]).good();
    fs::write(mnt.join("waits"), noise(99, 5 * KIB)).expect("written");
    kept.push((PathBuf::from("waits"), 99, 5 * KIB));
    support::kill(machine.daemon(), "KILL");
    until("the daemon to die", || fs::metadata(&mnt).is_err());
    fill_up(&disk);
    machine.mount(&["-o", &options]).good();
    check(&mnt, &kept);
    machine.ods(&["umount"]).good();
}

/// What an opening appends to the spool before the cache is looked at is little, but more than a spool may take that
/// leaves the disk's last bytes to the index.
#[test]
fn a_drive_that_another_machine_changed_is_mounted_on_a_nearly_full_disk_as_the_cache_gives_way() {
    let world = World::new();
    let machine = with_drive(&world);
    let disk = SmallDisk::of(&machine.path("disk"), 40 * MIB);
    let options = format!("state={},reserve=0", disk.path().display());
    let mnt = machine.mnt();
    let mut kept = read_once(&machine, &options, 16);
    let other = world.machine();
    other.ods(&["init", "--join"]).good();
    other.mount(&["-o", "reserve=0"]).good();
    fs::write(other.mnt().join("theirs"), noise(99, MIB)).expect("written");
    other.ods(&["umount"]).good();
    kept.push((PathBuf::from("theirs"), 99, MIB));
    let mut others = File::create(disk.path().join("others")).expect("a file");
    let free = || ods::spool::free_bytes(disk.path()).expect("told");
    while free() > 2 * MIB as u64 {
        others.write_all(&[7; 64 * KIB]).expect("there is room");
    }
    machine.mount(&["-o", &options]).good();
    check(&mnt, &kept);
    machine.ods(&["umount"]).good();
}

/// A mount whose process may have so many files open; `how` is `-S`, `-H` or both as `ulimit` takes them.
fn mount_with_handles(machine: &Machine, how: &str, handles: u32) -> support::Ended {
    let script = format!("ulimit {how} {handles}; exec \"$0\" \"$@\"");
    let mut command = machine.command(Path::new("sh"), &["-c", &script]);
    command.arg(env!("CARGO_BIN_EXE_ods-mount"));
    command.args(["--daemon", "-o", "reserve=0,spool=64M,cache=64M"]);
    command.arg(machine.mnt());
    machine.end(command)
}

#[test]
fn too_few_handles_are_told_and_enough_are_enough() {
    let world = World::new();
    let machine = with_drive(&world);
    let mnt = machine.mnt();
    for handles in [8, 20, 64, 511] {
        mount_with_handles(&machine, "-n", handles).bad(1, &["ulimit -n", "512"]);
        assert!(!support::is_mounted(&mnt));
    }
    // A low limit that may be raised is raised.
    mount_with_handles(&machine, "-S -n", 64).good();
    machine.ods(&["umount"]).good();
    // Just enough, and more in use than that: open files of others cost no handle.
    mount_with_handles(&machine, "-n", 512).good();
    let mut kept = Kept::new();
    let mut open = Vec::new();
    for nth in 0..600 {
        let name = PathBuf::from(format!("file-{nth}"));
        fs::write(mnt.join(&name), noise(nth, 40 * KIB)).expect("written");
        open.push(File::open(mnt.join(&name)).expect("one more"));
        kept.push((name, nth, 40 * KIB));
    }
    machine.ods(&["flush"]).good();
    let daemon = machine.daemon();
    machine.ods(&["umount", "--timeout", "1"]);
    drop(open);
    let handles = || fs::read_dir(format!("/proc/{daemon}/fd")).map_or(0, Iterator::count);
    assert!(handles() < 100, "{} of 512 handles are in use", handles());
    machine.ods(&["umount"]);
    until("the end of the mount", || !support::is_mounted(&mnt));
    fs::remove_dir_all(machine.path("state")).expect("removed");
    machine.ods(&["init", "--join"]).good();
    // Everything is far away: many downloads at once.
    mount_with_handles(&machine, "-n", 512).good();
    std::thread::scope(|scope| {
        for part in kept.chunks(20) {
            let mnt = &mnt;
            scope.spawn(move || check(mnt, &part.to_vec()));
        }
    });
    machine.ods(&["umount"]).good();
}

#[test]
fn ten_thousand_files_are_open_at_once() {
    const FILES: u64 = 10_000;
    assert!(
        raise_files_max() > FILES + 500,
        "this process may open that many"
    );
    let world = World::new();
    let machine = with_drive(&world);
    machine.mount(&[]).good();
    let mnt = machine.mnt();
    let path = |nth: u64| mnt.join(format!("dir-{}/file-{nth}", nth % 10));
    for nth in 0..10 {
        fs::create_dir(mnt.join(format!("dir-{nth}"))).expect("a directory");
    }
    let text = |nth: u64| format!("this is file {nth}");
    let open: Vec<File> = (0..FILES)
        .map(|nth| {
            let mut options = File::options();
            let file = options
                .read(true)
                .write(true)
                .create_new(true)
                .open(path(nth));
            let mut file = file.expect("one more");
            file.write_all(text(nth).as_bytes()).expect("written");
            file
        })
        .collect();
    // A third lose their names, a third are uploaded while open, and all are as they were.
    for nth in (0..FILES).step_by(3) {
        fs::remove_file(path(nth)).expect("removed");
    }
    machine.ods(&["flush"]).good();
    for (nth, file) in (0..FILES).zip(&open) {
        let mut read = vec![0; 100];
        let len = file.read_at(&mut read, 0).expect("readable");
        assert_eq!(&read[..len], text(nth).as_bytes());
        if nth % 3 == 1 {
            file.write_all_at(b"THAT", 0).expect("written");
        }
    }
    drop(open);
    machine.ods(&["umount"]).good();
    machine.mount(&[]).good();
    let mut there = 0;
    for nth in 0..FILES {
        match fs::read_to_string(path(nth)) {
            Ok(read) if nth % 3 == 1 => assert_eq!(read, text(nth).replacen("this", "THAT", 1)),
            Ok(read) => assert_eq!(read, text(nth)),
            Err(_) => {
                assert_eq!(nth % 3, 0, "file {nth} is gone");
                continue;
            }
        }
        there += 1;
    }
    assert_eq!(there, FILES - FILES.div_ceil(3));
    machine.ods(&["umount"]).good();
}

#[test]
fn sixty_four_write_and_read_at_once() {
    const THREADS: u64 = 64;
    let world = World::new();
    let machine = with_drive(&world);
    // Little room, so that upload, eviction and the wait for space happen meanwhile.
    machine
        .mount(&["-o", "spool=48M,cache=16M,memory=8M,reserve=0"])
        .good();
    let mnt = machine.mnt();
    let len = |nth: u64| 100 * KIB + usize::try_from(nth).expect("small") * 9_973;
    let path = |thread: u64, nth: u64| mnt.join(format!("dir-{}/file-{thread}-{nth}", thread % 5));
    for nth in 0..5 {
        fs::create_dir(mnt.join(format!("dir-{nth}"))).expect("a directory");
    }
    let shared = File::create(mnt.join("shared")).expect("a file");
    let slice = |thread: u64| noise(thread, 64 * KIB);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (path, shared, slice) = (&path, &shared, &slice);
            scope.spawn(move || {
                for nth in 0..6 {
                    let seed = thread * 100 + nth;
                    fs::write(path(thread, nth), noise(seed, len(nth))).expect("written");
                    let at = thread * 64 * KIB as u64;
                    shared.write_all_at(&slice(thread), at).expect("written");
                    // What this one wrote first, and what a neighbour wrote whole.
                    let first = fs::read(path(thread, 0)).expect("readable");
                    assert!(first == noise(thread * 100, len(0)));
                    let other = (thread + 1) % THREADS;
                    if let Ok(read) = fs::read(path(other, nth)) {
                        assert!(noise(other * 100 + nth, len(nth)).starts_with(&read));
                    }
                }
            });
        }
    });
    let check_all = || {
        for thread in 0..THREADS {
            for nth in 0..6 {
                let read = fs::read(path(thread, nth)).expect("readable");
                assert!(
                    read == noise(thread * 100 + nth, len(nth)),
                    "{thread}-{nth}"
                );
            }
        }
        let mut all = Vec::new();
        let mut file = File::open(mnt.join("shared")).expect("a file");
        file.read_to_end(&mut all).expect("readable");
        assert!(all == (0..THREADS).flat_map(slice).collect::<Vec<u8>>());
    };
    check_all();
    drop(shared);
    machine.ods(&["umount"]).good();
    fs::remove_dir_all(machine.path("state")).expect("removed");
    machine.ods(&["init", "--join"]).good();
    machine.mount(&[]).good();
    check_all();
    machine.ods(&["umount"]).good();
}

/// Copies so much through a mount with little room; tells the daemon's greatest memory.
fn big_copy(bytes: u64) -> u64 {
    let data = tempfile::tempdir().expect("a directory");
    let world = World::on_disk(data.path());
    let machine = with_drive(&world);
    machine
        .mount(&["-o", "spool=256M,cache=64M,memory=32M,reserve=0"])
        .good();
    let daemon = machine.daemon();
    let mut file = File::create(machine.mnt().join("big")).expect("a file");
    let pieces = bytes / MIB as u64;
    for nth in 0..pieces {
        file.write_all(&noise(nth, MIB)).expect("written");
    }
    file.sync_all().expect("synced");
    drop(file);
    machine.ods(&["flush"]).good();
    let mut file = File::open(machine.mnt().join("big")).expect("a file");
    let mut piece = vec![0; MIB];
    for nth in 0..pieces {
        file.read_exact(&mut piece).expect("readable");
        assert!(piece == noise(nth, MIB), "MiB {nth} differs");
    }
    drop(file);
    let peak = peak_kib(daemon);
    machine.ods(&["umount"]).good();
    peak
}

/// Buffers for chunks, packs on their way and the index, whatever the length of the copy.
const PEAK_KIB_MAX: u64 = 512 << 10;

#[test]
fn a_big_copy_takes_little_memory() {
    let peak = big_copy(512 << 20);
    println!("peak: {} MiB", peak >> 10);
    assert!(peak < PEAK_KIB_MAX, "{} MiB", peak >> 10);
}

#[test]
#[ignore = "long: 10 GiB; run by scripts/soak limits"]
fn a_copy_of_ten_gibibytes_takes_little_memory() {
    let gib = std::env::var("ODS_SOAK_GIB").ok();
    let gib: u64 = gib.and_then(|gib| gib.parse().ok()).unwrap_or(10);
    let peak = big_copy(gib << 30);
    println!("peak: {} MiB", peak >> 10);
    assert!(peak < PEAK_KIB_MAX, "{} MiB", peak >> 10);
}
