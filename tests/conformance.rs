//! Suites by others on a real mount. They are installed apart, so the normal run of cargo leaves them out:
//! `cargo install pjdfstest fsx`, then `cargo test --test conformance -- --ignored --test-threads 1`.
//! What they are asked, and what they skip and why, is in `tests/conformance/`; `ODS_LONG=1` makes them long.
#![allow(clippy::cast_possible_truncation, reason = "tests use small numbers")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use support::Forget;
use support::Mounted;

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

fn kept(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/conformance")
        .join(name)
}

fn is_long() -> bool {
    std::env::var_os("ODS_LONG").is_some_and(|value| value == "1")
}

#[test]
#[ignore = "needs pjdfstest and root"]
fn pjdfstest() {
    let mounted = Mounted::draining();
    let dir = mounted.path("pjdfstest");
    fs::create_dir(&dir).expect("mkdir");
    let output = run(Command::new("pjdfstest")
        .arg("-c")
        .arg(kept("pjdfstest.toml"))
        .arg("-p")
        .arg(&dir)
        .args(["-s", "/dev/shm"]));
    let skipped: BTreeSet<&str> = output
        .lines()
        .filter_map(|line| line.strip_suffix("skipped"))
        .map(str::trim)
        .collect();
    let list = fs::read_to_string(kept("skipped.txt")).expect("the list");
    let known: BTreeSet<&str> = list
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    assert_eq!(skipped, known, "tests/conformance/skipped.txt");
    let summary = output.lines().rev().find(|line| line.contains("passed"));
    println!("pjdfstest: {}", summary.expect("a summary"));
}

fn fsx(seed: u32, operations: u32, config: &str) {
    let mut mounted = Mounted::draining();
    let elsewhere = tempfile::tempdir().expect("a directory");
    let (operations, seed) = (operations.to_string(), seed.to_string());
    let arguments = ["-N", &operations, "-S", &seed, "-f"];
    run(Command::new("fsx")
        .args(arguments)
        .arg(kept(config))
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

#[test]
#[ignore = "needs fsx"]
fn fsx_full() {
    let (seeds, operations) = if is_long() {
        (3, 1_000_000)
    } else {
        (1, 20_000)
    };
    for seed in 1..=seeds {
        fsx(seed, operations, "fsx.toml");
    }
}

#[test]
#[ignore = "needs fsx"]
fn fsx_big() {
    fsx(4, if is_long() { 50_000 } else { 1_500 }, "fsx-big.toml");
}
