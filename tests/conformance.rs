//! Suites by others on a real mount. They are installed apart, so the normal run of cargo leaves them out:
//! `cargo install pjdfstest fsx`, then `cargo test --test conformance -- --ignored --test-threads 1`.
//! What they are asked, and what they skip and why, is in `tests/conformance/`; `ODS_LONG=1` makes them long.
#![allow(clippy::cast_possible_truncation, reason = "tests use small numbers")]

mod support;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
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

/// Runs pjdfstest as `config` says; what it told.
fn posix_tests(dir: &Path, config: &Path, path: &OsStr, filter: &[&str]) -> String {
    run(Command::new("pjdfstest")
        .env("PATH", path)
        .arg("-c")
        .arg(config)
        .arg("-p")
        .arg(dir)
        .args(["-s", "/dev/shm"])
        .args(filter))
}

/// The tests that ended so.
fn ended<'a>(output: &'a str, how: &str) -> BTreeSet<&'a str> {
    output
        .lines()
        .filter_map(|line| line.strip_suffix(how))
        .map(str::trim)
        .collect()
}

/// A search path on which `mount` asks the kernel itself: no helper of an installed ods, or of another FUSE
/// filesystem, comes between.
fn plain_mount(dir: &Path) -> OsString {
    let script = "#!/bin/sh\nPATH=\"${PATH#*:}\"\nexec mount -i \"$@\"\n";
    let file = dir.join("mount");
    fs::write(&file, script).expect("write");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("chmod");
    let path = std::env::var_os("PATH").expect("a search path");
    let all = std::iter::once(dir.to_owned()).chain(std::env::split_paths(&path));
    std::env::join_paths(all).expect("a search path")
}

#[test]
#[ignore = "needs pjdfstest and root"]
fn pjdfstest() {
    let mounted = Mounted::draining();
    let (dir, bin) = (mounted.path("pjdfstest"), tempfile::tempdir().expect("dir"));
    fs::create_dir(&dir).expect("mkdir");
    let (config, path) = (kept("pjdfstest.toml"), plain_mount(bin.path()));
    let output = posix_tests(&dir, &config, &path, &[]);
    // Tests that remount are run by themselves: open::einval_invalid_combination opens a file for writing and
    // never closes it, and no filesystem becomes read-only before the process of the suite has ended.
    let text = fs::read_to_string(&config).expect("the configuration");
    let text = text.replace("allow_remount = false", "allow_remount = true");
    let config = bin.path().join("remount.toml");
    fs::write(&config, text).expect("write");
    let remounting = posix_tests(&dir, &config, &path, &["erofs"]);
    let remounted = ended(&remounting, "ok");
    assert!(remounted.len() >= 13, "{remounting}");
    let skipped = &ended(&output, "skipped") - &remounted;
    let list = fs::read_to_string(kept("skipped.txt")).expect("the list");
    let known: BTreeSet<&str> = list
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    assert_eq!(skipped, known, "tests/conformance/skipped.txt");
    let passed = &ended(&output, "ok") | &remounted;
    println!(
        "pjdfstest: {} passed, {} skipped",
        passed.len(),
        skipped.len()
    );
}

fn fsx(mut mounted: Mounted, seed: u32, operations: u32, config: &str) {
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

/// Seeds and operations of each. fsx never unmaps what it read through a mapping: after some 400,000 operations
/// it has more of them than a process may have, and before that each cut of the file takes ever longer. So a
/// million is made of several runs.
fn runs() -> (std::ops::RangeInclusive<u32>, u32) {
    match is_long() {
        true => (1..=10, 100_000),
        false => (1..=1, 8_000),
    }
}

/// Everything stays in the spool until the end.
#[test]
#[ignore = "needs fsx"]
fn fsx_on_the_spool() {
    let (seeds, operations) = runs();
    for seed in seeds {
        fsx(Mounted::new(), seed, operations, "fsx.toml");
    }
}

#[test]
#[ignore = "needs fsx"]
fn fsx_while_the_drain_runs() {
    let (seeds, operations) = runs();
    for seed in seeds {
        fsx(Mounted::draining(), seed + 100, operations, "fsx.toml");
    }
}

#[test]
#[ignore = "needs fsx"]
fn fsx_big() {
    let operations = if is_long() { 50_000 } else { 1_500 };
    fsx(Mounted::draining(), 5, operations, "fsx-big.toml");
}
