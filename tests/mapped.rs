//! What programs change through mappings: a flush takes it along, it waits for room, and what is lost is told.

#![allow(clippy::cast_possible_truncation, reason = "tests use small numbers")]

#[path = "support/edges.rs"]
mod edges;
#[path = "support/ods.rs"]
mod support;
#[path = "support/sys.rs"]
#[allow(dead_code, unreachable_pub, reason = "each suite uses a part of it")]
mod sys;

use std::fs;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use edges::MIB;
use edges::SmallDisk;
use edges::noise;
use support::Machine;
use support::World;
use support::kill;
use support::until;

/// More than three spools.
const LEN: usize = 48 * MIB;

/// The spool of these tests, much smaller than what is mapped.
const SPOOL: &str = "spool=16M,reserve=0,patience=1";

/// A child that fills a mapping has what every test of this process has open: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn with_drive(world: &World) -> Machine {
    let machine = world.machine();
    machine.ods(&["init"]).good();
    machine
}

/// One whose drive is mounted with the small spool.
fn mounted(world: &World) -> Machine {
    let machine = with_drive(world);
    let options = format!("{SPOOL},write_timeout=2");
    machine.mount(&["-o", &options]).good();
    machine
}

/// A new file of this length, open for mapping.
fn made(path: &Path) -> File {
    let file = sys::open(path, libc::O_RDWR | libc::O_CREAT, 0o600).expect("made");
    file.set_len(LEN as u64).expect("longer");
    file
}

/// Takes the machine's state away and joins the drive again.
fn lose_machine(machine: &Machine) {
    fs::remove_dir_all(machine.path("state")).expect("removed");
    machine.ods(&["init", "--join"]).good();
    machine.mount(&["--takeover"]).good();
}

/// Uploads fail in this way until the faults are cleared.
fn refuse_uploads(world: &World, status: u16) {
    let error = ods::emulator::FaultKind::Error {
        status,
        body: ods::emulator::ErrorBody::default(),
    };
    let fault = ods::emulator::Fault::new("POST /channels/{}/messages", error);
    world.emulator.faults().add(fault);
}

fn errno<T>(result: io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

/// Fills the spool with what is written, while nothing can be uploaded.
fn fill_spool(world: &World, mnt: &Path) {
    refuse_uploads(world, 503);
    let mut nth = 0;
    until("a full spool", || {
        nth += 1;
        let name = mnt.join(format!("written-{nth}"));
        errno(fs::write(name, noise(nth, MIB))) == Some(libc::ENOSPC)
    });
}

/// The spool is full when the flush begins, so that the kernel still has pages when all that was in it is on Discord.
#[test]
fn a_flush_takes_along_what_a_live_mapping_holds() {
    let _alone = alone();
    let world = World::new();
    let machine = mounted(&world);
    let mnt = machine.mnt();
    let file = made(&mnt.join("made"));
    // Its name is neither the first nor where the first was.
    fs::create_dir_all(mnt.join("some/where")).expect("made");
    let path = mnt.join("some/where/mapped");
    fs::rename(mnt.join("made"), &path).expect("renamed");
    fill_spool(&world, &mnt);
    world.emulator.faults().clear();
    let bytes = noise(1, MIB);
    let mut map = sys::Map::new(&file, LEN);
    map.bytes()[5 * MIB..][..MIB].copy_from_slice(&bytes);
    let daemon = machine.daemon();
    machine.ods(&["flush"]).good();
    kill(daemon, "KILL");
    drop((map, file));
    let mountpoint = mnt.to_str().expect("text");
    machine.ods(&["umount", mountpoint]).bad(25, &[]);
    lose_machine(&machine);
    let read = fs::read(&path).expect("readable");
    assert!(read[5 * MIB..][..MIB] == bytes);
    machine.ods(&["umount"]).good();
}

/// Another program maps a file, fills it, syncs and unmaps it; what it hears of that.
fn fill(file: &File, bytes: &[u8]) -> sys::Answer<()> {
    sys::apart(|| {
        let mut map = sys::Map::try_new(file, bytes.len())?;
        map.bytes().copy_from_slice(bytes);
        map.sync()
    })
}

/// Does a look at the drive name the file?
fn is_listed(machine: &Machine) {
    let verified = machine.ods(&["verify"]).bad(19, &[]);
    let words = "bytes are lost\n    /mapped\n";
    assert!(verified.out.contains(words), "{}", verified.out);
}

/// How much the spool holds, and may hold, bytes.
fn spool(machine: &Machine) -> (u64, u64) {
    let status = machine.ods(&["status", "--json"]).good().json();
    let figure = |name: &str| status["spool"][name].as_u64().expect("a number");
    (figure("bytes"), figure("limit_bytes"))
}

/// Programs that write are refused, and what is mapped is not: nobody would make that call again.
#[test]
fn what_a_mapping_holds_goes_over_the_spools_limit_when_discord_stays_away() {
    let _alone = alone();
    let world = World::new();
    let machine = mounted(&world);
    let mnt = machine.mnt();
    let (path, bytes) = (mnt.join("mapped"), noise(1, LEN));
    let file = made(&path);
    fill_spool(&world, &mnt);
    std::thread::scope(|scope| {
        let filling = scope.spawn(|| fill(&file, &bytes));
        // A sync needs no room, and has a thread however much waits for some.
        let other = File::create(mnt.join("other")).expect("made");
        other.sync_all().expect("synced");
        assert_eq!(filling.join().expect("no panic"), Ok(()));
    });
    let (holds, limit) = spool(&machine);
    assert!(holds > limit + 16 * MIB as u64, "{holds} of {limit}");
    let late = fs::write(mnt.join("late"), noise(9, MIB));
    assert_eq!(errno(late), Some(libc::ENOSPC));
    drop(file);
    world.emulator.faults().clear();
    machine.ods(&["flush"]).good();
    machine.ods(&["umount"]).good();
    lose_machine(&machine);
    assert!(fs::read(&path).expect("readable") == bytes);
    machine.ods(&["umount"]).good();
}

/// The disk has nothing left, and Discord makes no room on it.
#[test]
fn what_a_mapping_held_and_was_refused_for_good_is_told_everywhere() {
    let _alone = alone();
    let world = World::new();
    let machine = with_drive(&world);
    let disk = SmallDisk::of(&machine.path("disk"), 24 * MIB);
    let state = disk.path().display();
    let options = format!("state={state},reserve=0,patience=1,write_timeout=2");
    machine.mount(&["-o", &options]).good();
    let path = machine.mnt().join("mapped");
    let file = made(&path);
    refuse_uploads(&world, 503);
    assert_eq!(fill(&file, &noise(1, LEN)), Err(libc::ENOSPC));
    drop(file);
    let state = || sys::get_xattr(&path, "user.ods.state").map(String::from_utf8);
    assert_eq!(state(), Ok(Ok(String::from("damaged"))));
    world.emulator.faults().clear();
    machine
        .ods(&["flush"])
        .bad(19, &["lost content of /mapped"]);
    is_listed(&machine);
    let log = machine.ods(&["log"]).good().out;
    assert!(log.contains("lost content of /mapped"), "{log}");
    machine
        .ods(&["umount"])
        .bad(19, &["lost content of /mapped"]);
    drop(disk);
    machine.mount(&["--takeover"]).good();
    // Not the zeros that were there before.
    assert_eq!(errno(fs::read(&path)), Some(libc::EIO));
    is_listed(&machine);
    // It heals when it is written again.
    fs::write(&path, noise(2, LEN)).expect("written");
    machine.ods(&["flush"]).good();
    machine.ods(&["verify"]).good();
    machine.ods(&["umount"]).good();
}
