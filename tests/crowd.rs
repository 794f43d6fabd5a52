//! Very many entries in one directory, through the programs: made, listed, looked at, brought to Discord, rebuilt by
//! an empty machine, removed. `ODS_LONG=1` makes it a million. What it took is printed; memory has a bound.

#[path = "support/edges.rs"]
mod edges;
#[path = "support/ods.rs"]
mod support;

use std::collections::HashSet;
use std::fs;
use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::time::Instant;

use edges::children_peak_kib;
use edges::forget_peak;
use edges::peak_kib;
use support::Machine;
use support::World;

/// Most memory of a busy daemon, KiB.
const PEAK_KIB_MAX: u64 = 512 << 10;

/// Programs that make and remove entries beside each other.
const WORKERS: usize = 8;

const OPTIONS: &str = "reserve=0";

fn count() -> usize {
    match std::env::var_os("ODS_LONG") {
        Some(value) if value == "1" => 1_000_000,
        _ => 5_000,
    }
}

fn name(at: usize) -> String {
    format!("entry-{at:07}")
}

/// Every hundredth entry has some bytes.
fn content(at: usize) -> Vec<u8> {
    match at % 100 {
        0 => format!("content of {at}").into_bytes(),
        _ => Vec::new(),
    }
}

/// Does something and says how long it took and what memory the daemon has had at most by then.
fn timed<T>(what: &str, machine: &Machine, work: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let result = work();
    let seconds = started.elapsed().as_secs_f64();
    let pid = machine.ods(&["status", "--json"]).good().json()["pid"].as_i64();
    let peak = pid.map_or(0, |pid| peak_kib(i32::try_from(pid).expect("small")));
    println!("crowd: {what}: {seconds:.1} s, at most {} MiB", peak >> 10);
    assert!(peak <= PEAK_KIB_MAX, "{what}: {peak} KiB");
    result
}

/// Does something to every number of a range, some of them at once.
fn each(range: Range<usize>, work: impl Fn(usize) + Sync) {
    std::thread::scope(|scope| {
        for first in 0..WORKERS {
            let (range, work) = (range.clone(), &work);
            scope.spawn(move || range.skip(first).step_by(WORKERS).for_each(work));
        }
    });
}

fn make(dir: &Path, at: usize) {
    let mut file = File::create(dir.join(name(at))).expect("create");
    file.write_all(&content(at)).expect("write");
}

/// Every name that a listing gives, which must be each once.
fn listed(dir: &Path) -> HashSet<Vec<u8>> {
    let mut names = HashSet::new();
    for entry in fs::read_dir(dir).expect("list") {
        let name = entry.expect("an entry").file_name().into_vec();
        assert!(names.insert(name), "a name is listed twice");
    }
    names
}

fn check_names(dir: &Path, count: usize) {
    let names = listed(dir);
    assert_eq!(names.len(), count);
    assert!((0..count).all(|at| names.contains(name(at).as_bytes())));
}

/// As `ls -l` does.
fn check_attributes(dir: &Path) {
    for entry in fs::read_dir(dir).expect("list") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("text");
        let at = name["entry-".len()..].parse().expect("a number");
        let len = entry.metadata().expect("stat").len();
        assert_eq!(len, content(at).len() as u64, "{name}");
    }
}

fn check_contents(dir: &Path, count: usize) {
    for at in (0..count).step_by(count / 500) {
        assert_eq!(fs::read(dir.join(name(at))).expect("read"), content(at));
    }
}

#[test]
fn a_directory_of_very_many_entries_from_its_beginning_to_its_end() {
    let data = tempfile::tempdir().expect("a directory");
    let world = World::on_disk(data.path());
    let (machine, count) = (world.machine(), count());
    machine.ods(&["init"]).good();
    machine.mount(&["-o", OPTIONS]).good();
    // The passphrase took 128 MiB for a moment.
    forget_peak(machine.daemon());
    let dir = machine.mnt().join("many");
    fs::create_dir(&dir).expect("mkdir");
    for tenth in 0..10 {
        let range = count * tenth / 10..count * (tenth + 1) / 10;
        let what = format!("{} to {} made", range.start, range.end);
        timed(&what, &machine, || each(range, |at| make(&dir, at)));
    }
    timed("listed", &machine, || check_names(&dir, count));
    timed("looked at", &machine, || check_attributes(&dir));
    timed("flushed", &machine, || machine.ods(&["flush"]).good());
    machine.ods(&["umount"]).good();
    machine.mount(&["-o", OPTIONS]).good();
    timed("listed again", &machine, || check_names(&dir, count));
    machine.ods(&["umount"]).good();

    let other = world.machine();
    let started = Instant::now();
    other.ods(&["init", "--join"]).good();
    let (seconds, peak) = (started.elapsed().as_secs_f64(), children_peak_kib());
    println!("crowd: rebuilt: {seconds:.1} s, at most {} MiB", peak >> 10);
    assert!(peak <= PEAK_KIB_MAX, "{peak} KiB to rebuild");
    other.mount(&["-o", OPTIONS]).good();
    forget_peak(other.daemon());
    let dir = other.mnt().join("many");
    timed("listed there", &other, || check_names(&dir, count));
    timed("looked at there", &other, || check_attributes(&dir));
    timed("read there", &other, || check_contents(&dir, count));
    timed("removed", &other, || {
        each(0..count, |at| {
            fs::remove_file(dir.join(name(at))).expect("unlink");
        });
        assert_eq!(listed(&dir).len(), 0);
        fs::remove_dir(&dir).expect("an empty directory goes");
    });
    timed("flushed", &other, || other.ods(&["flush"]).good());
    other.ods(&["umount"]).good();

    let third = world.machine();
    third.ods(&["init", "--join"]).good();
    third.mount(&["-o", OPTIONS]).good();
    assert_eq!(fs::read_dir(third.mnt()).expect("list").count(), 0);
    third.ods(&["umount"]).good();
}
