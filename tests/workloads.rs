//! What people do with a disk, done on a drive of `ods-mount` that uploads to an emulated Discord all the time, and
//! checked again by an empty machine from what Discord has.
//!
//! `ODS_LONG=1` makes each of them as big as its name promises; without it they take seconds. `scripts/soak
//! posix` runs the long forms. Those that need `fio`, `stress-ng` or `dbench` are left out of cargo's normal run.
#![allow(clippy::cast_possible_truncation, reason = "tests use small numbers")]

#[path = "support/ods.rs"]
mod support;
#[path = "support/sys.rs"]
#[allow(dead_code, unreachable_pub, reason = "a part of it")]
mod sys;

#[path = "workloads/databases.rs"]
mod databases;
#[path = "workloads/development.rs"]
mod development;
#[path = "workloads/farms.rs"]
mod farms;
#[path = "workloads/stress.rs"]
mod stress;
#[path = "workloads/trees.rs"]
mod trees;

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Output;

use support::Machine;
use support::World;

/// Published at once, as much as possible while the work goes on.
const OPTIONS: &str = "allow_other,dev,suid,linger=0.05,age=0.3,reserve=0";

/// Is this the long form?
pub(crate) fn is_long() -> bool {
    std::env::var_os("ODS_LONG").is_some_and(|value| value == "1")
}

/// A number for the short form, and one for the long form.
pub(crate) fn scaled(short: usize, long: usize) -> usize {
    if is_long() { long } else { short }
}

/// A mounted drive to work on.
pub(crate) struct Disk {
    machine: Machine,
    root: PathBuf,
    _world: World,
    _data: tempfile::TempDir,
}

impl Disk {
    pub(crate) fn new() -> Disk {
        let data = tempfile::tempdir().expect("a directory");
        let world = World::on_disk(data.path());
        let machine = world.machine();
        machine.ods(&["init"]).good();
        machine.mount(&["-o", OPTIONS]).good();
        Disk {
            root: machine.mnt(),
            machine,
            _world: world,
            _data: data,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Sends everything to Discord, and goes on with what Discord alone has.
    pub(crate) fn begin_again(&mut self) {
        self.machine.ods(&["umount"]).good();
        std::fs::remove_dir_all(self.machine.state("main")).expect("the state goes");
        self.machine.ods(&["init", "--join"]).good();
        self.machine.mount(&["-o", OPTIONS]).good();
    }

    /// What is told to be on Discord is.
    pub(crate) fn flush(&self) {
        self.machine.ods(&["flush"]).good();
    }

    /// The machine is gone, whatever it was doing; another one goes on with what Discord has.
    pub(crate) fn lose_machine(&mut self) {
        self.kill();
        std::fs::remove_dir_all(self.machine.state("main")).expect("the state goes");
        self.machine.ods(&["init", "--join"]).good();
        let options = format!("{OPTIONS},takeover");
        self.machine.mount(&["-o", &options]).good();
    }

    /// The daemon is killed, and another one goes on with what it left.
    pub(crate) fn crash(&mut self) {
        self.kill();
        self.machine.mount(&["-o", OPTIONS]).good();
    }

    fn kill(&self) {
        let pid = self.machine.daemon();
        support::kill(pid, "KILL");
        // The kernel answers from its caches still, but nobody opens a directory.
        support::until("its end", || std::fs::read_dir(&self.root).is_err());
        let mount = self.root.to_str().expect("text");
        let ended = self.machine.ods(&["umount", mount]);
        ended.bad(25, &["its daemon was gone"]);
    }
}

/// Runs a piece of bash; what it prints on standard output. `$1` and so on are `words`.
pub(crate) fn shell(script: &str, dir: &Path, words: &[&Path]) -> String {
    let output = run(script, dir, words);
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success(),
        "{script}\n{}\n{}",
        last_lines(&out),
        last_lines(&err)
    );
    out.into_owned()
}

pub(crate) fn run(script: &str, dir: &Path, words: &[&Path]) -> Output {
    let _no_lock_waits = sys::FORKS
        .read()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    Command::new("bash")
        .args(["-euo", "pipefail", "-c", script, "bash"])
        .args(words)
        .current_dir(dir)
        .env("LC_ALL", "C")
        // What is built in the mount stays in it.
        .env_remove("CARGO_TARGET_DIR")
        .output()
        .expect("bash runs")
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

/// Are the two texts alike? If not, the first lines that are not.
#[track_caller]
pub(crate) fn assert_alike(a: &str, b: &str) {
    let differing: Vec<_> = a
        .lines()
        .zip(b.lines())
        .filter(|(a, b)| a != b)
        .take(5)
        .collect();
    assert!(differing.is_empty() && a.len() == b.len(), "{differing:#?}");
}

/// A sum over everything below a directory: names, kinds, modes, owners, times, content, attributes, links.
pub(crate) fn sum(dir: &Path) -> String {
    shell(
        r#"
        find . -printf '%P %y %m %U %G %s %n %l\n' | { grep -v ' d ' || true; } | sort
        find . -type d -printf '%P %m %U %G\n' | sort
        find . -type f -print0 | sort -z | xargs -0r b2sum
        find . -printf '%P %T@\n' | sort
        "#,
        dir,
        &[],
    )
}
