//! Suites by others on a real mount. They take minutes and are installed apart:
//! `cargo install pjdfstest fsx`, then `cargo test --test conformance -- --ignored --test-threads 1`.
#![allow(clippy::cast_possible_truncation, reason = "tests use small numbers")]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::Forget;
use support::Mounted;

/// Tests of pjdfstest that pass at least; the other 14 of 398 need remounts or file flags.
const PJDFSTEST_PASSED_MIN: u32 = 384;

fn run(command: &mut Command) -> String {
    let output = command
        .output()
        .expect("the suite is installed (see the head of this file)");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "{}", tail(&text));
    text
}

/// The lines that tell of failures, with those that follow them, and the end.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let is_end = |at: usize| at + 20 > lines.len();
    let is_told = |at: usize| {
        lines[at.saturating_sub(3)..=at]
            .iter()
            .any(|line| line.contains("FAILED"))
    };
    let told = (0..lines.len()).filter(|at| is_end(*at) || is_told(*at));
    told.map(|at| lines[at]).collect::<Vec<_>>().join("\n")
}

#[test]
#[ignore = "needs pjdfstest, root and two minutes"]
fn pjdfstest() {
    let mounted = Mounted::draining();
    let other = tempfile::tempdir().expect("another filesystem's directory");
    let config = other.path().join("pjdfstest.toml");
    let text = "[features]\nposix_fallocate = {}\nutime_now = {}\nutimensat = {}\nrename_ctime = {}\n\
                [settings]\nnaptime = 0.05\nallow_remount = false\nexpected_failures = []\n\
                [dummy_auth]\nentries = [ [\"nobody\", \"nogroup\"], [\"daemon\", \"daemon\"] ]\n";
    fs::write(&config, text).expect("write");
    let elsewhere = Path::new("/dev/shm");
    let dir = mounted.path("pjdfstest");
    fs::create_dir(&dir).expect("mkdir");
    let output = run(Command::new("pjdfstest")
        .arg("-c")
        .arg(&config)
        .arg("-p")
        .arg(&dir)
        .arg("-s")
        .arg(elsewhere));
    let summary = output
        .lines()
        .rev()
        .find(|line| line.contains("passed"))
        .unwrap_or_default();
    let numbers: Vec<u32> = summary
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|word| word.parse().ok())
        .collect();
    assert!(
        numbers.iter().any(|number| *number >= PJDFSTEST_PASSED_MIN),
        "{summary}"
    );
}

fn fsx(seed: u32, operations: u32, config: &str) {
    let mut mounted = Mounted::draining();
    let elsewhere = tempfile::tempdir().expect("a directory");
    let path = elsewhere.path().join("fsx.toml");
    fs::write(&path, config).expect("write");
    let (operations, seed) = (operations.to_string(), seed.to_string());
    let arguments = ["-N", &operations, "-S", &seed, "-f"];
    run(Command::new("fsx")
        .args(arguments)
        .arg(&path)
        .arg(mounted.path("file"))
        .current_dir(elsewhere.path()));
    let before = fs::read(mounted.path("file")).expect("read");
    mounted.flush();
    mounted.remount(Forget::Everything);
    assert!(
        fs::read(mounted.path("file")).expect("read") == before,
        "the store holds something else"
    );
}

const WEIGHTS: &str = "[weights]\nread = 20\nwrite = 20\nmapread = 15\nmapwrite = 15\ntruncate = 5\npunch_hole = 5\n\
     copy_file_range = 5\nsendfile = 5\nposix_fallocate = 3\nclose_open = 2\ninvalidate = 2\nposix_fadvise = 2\n\
     fsync = 1\nfdatasync = 1\n";

#[test]
#[ignore = "needs fsx and minutes"]
fn fsx_full() {
    for seed in [1, 2, 3] {
        fsx(
            seed,
            100_000,
            &format!("flen = 1048576\n[opsize]\nmax = 131072\n{WEIGHTS}"),
        );
    }
}

#[test]
#[ignore = "needs fsx and minutes"]
fn fsx_big() {
    fsx(
        4,
        5_000,
        &format!("flen = 16777216\n[opsize]\nmax = 1048576\n{WEIGHTS}"),
    );
}
