//! Which daemons run: each leaves a small file that says where it listens and what it has mounted.
//!
//! The file outlives a daemon that is killed; then nobody listens at its socket, and it counts for
//! nothing, unless that daemon cannot end.

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;

use crate::cli::client;
use crate::cli::client::Client;
use crate::cli::ending;
use crate::cli::mounts;
use crate::cli::paths;
use crate::cli::paths::Paths;
use crate::cli::sys;

/// One daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Running {
    /// Its process.
    pub(crate) pid: u32,
    /// The drive's name on this machine.
    pub(crate) name: String,
    /// Is it `ods demo`?
    pub(crate) is_demo: bool,
    /// Where the drive is mounted.
    pub(crate) mountpoint: PathBuf,
    /// Where the daemon listens.
    pub(crate) socket: PathBuf,
    /// The number of the mount's connection, by which its mount is told from others that come to lie there.
    #[serde(default)]
    pub(crate) connection: Option<u32>,
}

impl Running {
    /// Where one gets to the drive by now: its directory may have been moved, another mount may lie over it.
    pub(crate) fn way_in(&self) -> PathBuf {
        let way = self.connection.and_then(|own| {
            let is_here = mounts::connection(&self.mountpoint) == Some(own);
            (!is_here).then(|| mounts::way_to(own))?
        });
        way.unwrap_or_else(|| self.mountpoint.clone())
    }
}

/// What became of a daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    /// It answers; or it would, but could not be asked, which whoever asks it is told.
    Answers,
    /// It was killed and cannot end.
    Stuck,
    /// Nobody listens, and the process has ended.
    Gone,
    /// Nobody answers, and whether it has ended is not sure: another process may have its number.
    Silent,
}

/// A daemon's entry, which goes away with it.
#[derive(Debug)]
pub(crate) struct Listed(PathBuf);

impl Drop for Listed {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

/// Lists this daemon.
pub(crate) fn enter(paths: &Paths, running: &Running) -> std::io::Result<Listed> {
    let dir = paths.running();
    paths::make_private(&dir)?;
    let path = dir.join(format!("{}.json", running.pid));
    paths::write_private(&path, &serde_json::to_vec(running)?)?;
    Ok(Listed(path))
}

/// The daemons that answer, in no order. Entries of daemons that have ended are removed.
pub(crate) fn running(paths: &Paths) -> Vec<Running> {
    all_in(&paths.running(), Life::Answers)
}

/// The daemons that were killed and cannot end, in no order.
pub(crate) fn stuck(paths: &Paths) -> Vec<Running> {
    all_in(&paths.running(), Life::Stuck)
}

/// The daemons that live, and that nobody gets an answer from: what they listen at was moved or removed, for example.
pub(crate) fn silent(paths: &Paths) -> Vec<Running> {
    let mut silent = all_in(&paths.running(), Life::Silent);
    silent.retain(serves);
    silent
}

/// Is it a daemon for sure? Another process may have the number.
fn serves(running: &Running) -> bool {
    ending::holds_fuse(running.pid) == Some(true)
}

fn all_in(dir: &Path, life: Life) -> Vec<Running> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let files = entries.flatten().map(|entry| entry.path());
    let files = files.filter(|path| path.extension().is_some_and(|end| end == "json"));
    let read = |path: PathBuf| {
        let running: Running = serde_json::from_slice(&std::fs::read(&path).ok()?).ok()?;
        let found = life_of(&running);
        if found == Life::Gone {
            drop(std::fs::remove_file(path));
        }
        (found == life).then_some(running)
    };
    files.filter_map(read).collect()
}

/// What became of the daemon of an entry.
fn life_of(running: &Running) -> Life {
    let Err(error) = Client::connect(&running.socket) else {
        return Life::Answers;
    };
    let has_ended = sys::await_end(running.pid, Duration::ZERO);
    match client::is_nobody(&error) {
        _ if ending::is_stuck(running.pid) => Life::Stuck,
        true if has_ended => Life::Gone,
        false if !has_ended => Life::Answers,
        _ => Life::Silent,
    }
}

/// The daemon behind a mount, also when root looks for one of somebody else's.
pub(crate) fn of_mount(paths: &Paths, mountpoint: &Path) -> Option<Running> {
    at(paths, mountpoint, Life::Answers)
}

/// The daemon behind a mount, if it was killed and cannot end.
pub(crate) fn stuck_at(paths: &Paths, mountpoint: &Path) -> Option<Running> {
    at(paths, mountpoint, Life::Stuck)
}

/// The daemon behind a mount, if it lives and nobody gets an answer from it.
pub(crate) fn silent_at(paths: &Paths, mountpoint: &Path) -> Option<Running> {
    at(paths, mountpoint, Life::Silent).filter(serves)
}

fn at(paths: &Paths, mountpoint: &Path, life: Life) -> Option<Running> {
    let connection = mounts::connection(mountpoint);
    let here = |dir: &Path| find(all_in(dir, life), mountpoint, connection);
    here(&paths.running()).or_else(|| {
        let user = mounts::owner(mountpoint)?;
        let home = home_of(user)?;
        here(&home.join(".local/state/ods").join(paths::RUNNING))
    })
}

/// The daemon of the mount here, which may be a view of one that was made elsewhere, or have been moved. A number is
/// free again when its mount has ended, so whoever has the place as well comes first.
fn find(all: Vec<Running>, mountpoint: &Path, connection: Option<u32>) -> Option<Running> {
    let mut of_mount: Vec<Running> = all
        .into_iter()
        .filter(|running| match (running.connection, connection) {
            (Some(own), Some(there)) => own == there,
            _ => running.mountpoint == mountpoint,
        })
        .collect();
    of_mount.sort_by_key(|running| running.mountpoint != mountpoint);
    of_mount.into_iter().next()
}

/// The home directory of a user, from the system's list.
fn home_of(user: u32) -> Option<PathBuf> {
    let list = std::fs::read_to_string("/etc/passwd").ok()?;
    let user = user.to_string();
    list.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields.get(2) == Some(&user.as_str())).then(|| fields.get(5).map(PathBuf::from))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(dir: &Path) -> Paths {
        Paths {
            config: dir.join("config"),
            state: dir.to_owned(),
        }
    }

    fn entry(pid: u32, socket: PathBuf) -> Running {
        Running {
            pid,
            name: String::from("x"),
            is_demo: false,
            mountpoint: PathBuf::from("/nowhere"),
            socket,
            connection: None,
        }
    }

    /// The number of a process that has ended.
    fn ended() -> u32 {
        let mut child = std::process::Command::new("true")
            .spawn()
            .expect("a process");
        child.wait().expect("it ended");
        child.id()
    }

    #[test]
    fn an_entry_without_a_listener_counts_for_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let paths = paths(dir.path());
        let dead = entry(ended(), dir.path().join("nobody"));
        let listed = enter(&paths, &dead).expect("entered");
        assert!(running(&paths).is_empty());
        assert!(!listed.0.exists());
        assert!(home_of(0).is_some());
    }

    #[test]
    fn an_entry_of_a_process_that_lives_is_not_removed() {
        let dir = tempfile::tempdir().expect("a directory");
        let paths = paths(dir.path());
        let silent = entry(std::process::id(), dir.path().join("nobody"));
        let listed = enter(&paths, &silent).expect("entered");
        assert!(running(&paths).is_empty());
        assert!(listed.0.exists());
        // No address is so long, so that nothing is known of who listens.
        let out_of_reach = entry(std::process::id(), dir.path().join("x".repeat(200)));
        let listed = enter(&paths, &out_of_reach).expect("entered");
        assert_eq!(running(&paths), [out_of_reach]);
        assert!(listed.0.exists());
    }

    #[test]
    fn the_daemon_of_a_mount_is_found_by_its_connection() {
        let at = |mountpoint: &str, connection| Running {
            mountpoint: PathBuf::from(mountpoint),
            connection,
            ..entry(1, PathBuf::new())
        };
        let all = [
            at("/a", Some(41)),
            at("/b", Some(42)),
            at("/c", Some(42)),
            at("/d", None),
        ];
        let found = |path: &str, connection| {
            let found = find(all.to_vec(), Path::new(path), connection);
            found.map(|running| running.mountpoint)
        };
        assert_eq!(found("/view", Some(41)), Some("/a".into()));
        assert_eq!(found("/c", Some(42)), Some("/c".into()));
        assert_eq!(found("/a", Some(43)), None);
        assert_eq!(found("/d", Some(43)), Some("/d".into()));
        assert_eq!(found("/a", None), Some("/a".into()));
        assert_eq!(found("/view", Some(44)), None);
    }
}
