//! A file that changes at random while its pages come back from a slow Discord: nearly no memory, no cache, no page
//! cache, and the drain running all the time.
//!
//! `ODS_LONG=1` makes it long. `fsx` is installed apart (`cargo install fsx`) and left out of the normal run:
//! `cargo test --test far -- --ignored`.
#![allow(clippy::cast_possible_truncation, reason = "tests use small numbers")]

#[path = "far/exercise.rs"]
mod exercise;
#[path = "support/ods.rs"]
mod support;
#[path = "support/sys.rs"]
#[allow(dead_code, unreachable_pub, reason = "a part of it")]
mod sys;

use std::fs::File;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use exercise::Exercise;
use ods::emulator::Limits;
use support::Machine;
use support::World;

/// A drive on a Discord that is some way off, mounted with next to nothing kept here.
struct Far {
    world: World,
    machine: Machine,
    _data: tempfile::TempDir,
}

/// Published at once, kept nowhere.
const OPTIONS: &str = "linger=0.05,age=0.3,memory=0,cache=0,gc_delay=0,reserve=0";

impl Far {
    fn new() -> Far {
        let data = tempfile::tempdir().expect("a directory");
        let world = World::on_disk(data.path());
        let machine = world.machine();
        machine.ods(&["init"]).good();
        machine.mount(&["-o", OPTIONS]).good();
        world.emulator.set_limits(Limits {
            rtt_ms: 2,
            bytes_per_s: Some(100 << 20),
            ..Limits::unlimited_rates()
        });
        world.emulator.reset_counts();
        Far {
            world,
            machine,
            _data: data,
        }
    }

    fn path(&self) -> PathBuf {
        self.machine.mnt().join("file")
    }

    /// What the drive holds now, and what an empty machine makes of the store.
    fn compare(self, expected: &[u8]) {
        assert!(std::fs::read(self.path()).expect("read") == expected);
        self.machine.ods(&["umount"]).good();
        let other = self.world.machine();
        other.ods(&["init", "--join"]).good();
        other.mount(&["-o", OPTIONS]).good();
        let found = std::fs::read(other.mnt().join("file")).expect("read");
        assert!(found == expected, "the store holds something else");
        other.ods(&["umount"]).good();
    }

    /// Waits until everything is on Discord, and takes the file's pages from the kernel.
    fn send_away(&self, file: &File) {
        self.machine.ods(&["flush"]).good();
        sys::forget_pages(file).expect("posix_fadvise");
    }

    /// Requests for content so far.
    fn fetched(&self) -> u64 {
        self.world.emulator.counts().cdn_requests
    }
}

fn is_long() -> bool {
    std::env::var_os("ODS_LONG").is_some_and(|value| value == "1")
}

#[test]
fn a_file_changes_at_random_while_its_pages_come_back_from_discord() {
    let far = Far::new();
    let operations: u64 = if is_long() { 100_000 } else { 1_000 };
    let mut exercise = Exercise::new(&far.path(), 1);
    for nth in 1..=operations {
        exercise.step();
        if nth % 50 == 0 {
            far.send_away(exercise.file());
        }
    }
    let fetched = far.fetched();
    println!("far: {operations} operations, {fetched} requests for content");
    assert!(
        fetched > operations / 10,
        "{fetched} requests: the pages were here all the time"
    );
    let expected = exercise.end();
    far.compare(&expected);
}

/// In several runs where it is long: see `tests/conformance.rs`.
#[test]
#[ignore = "needs fsx"]
fn fsx_while_its_pages_come_back_from_discord() {
    let (seeds, operations) = if is_long() { (10, 100_000) } else { (1, 3_000) };
    for seed in 1..=seeds {
        fsx_far(seed, operations);
    }
}

fn fsx_far(seed: u32, operations: u32) {
    let far = Far::new();
    let elsewhere = tempfile::tempdir().expect("a directory");
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/fsx.toml");
    let mut fsx = Command::new("fsx");
    fsx.args(["-N", &operations.to_string(), "-S", &seed.to_string(), "-f"])
        .arg(config)
        .arg(far.path())
        .current_dir(elsewhere.path());
    let is_done = AtomicBool::new(false);
    let output = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                // It is there once fsx has made it.
                if let Ok(file) = File::open(far.path()) {
                    far.send_away(&file);
                }
            }
        });
        let output = fsx.output();
        is_done.store(true, Ordering::Relaxed);
        output.expect("fsx is installed (see the head of this file)")
    });
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told);
    let last: Vec<&str> = told.lines().rev().take(40).collect();
    assert!(output.status.success(), "{last:#?}");
    let fetched = far.fetched();
    println!("fsx far: {operations} operations, {fetched} requests for content");
    assert!(fetched > 0, "the pages were here all the time");
    let expected = std::fs::read(far.path()).expect("read");
    far.compare(&expected);
}
