//! Which daemons run: each leaves a small file that says where it listens and what it has mounted.
//!
//! The file outlives a daemon that is killed; then nobody listens at its socket, and it counts for
//! nothing, unless that daemon cannot end.

use std::path::Path;
use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;

use crate::cli::client::Client;
use crate::cli::ending;
use crate::cli::paths;
use crate::cli::paths::Paths;

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

/// What became of a daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    /// It answers.
    Answers,
    /// It was killed and cannot end.
    Stuck,
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

fn all_in(dir: &Path, life: Life) -> Vec<Running> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let files = entries.flatten().map(|entry| entry.path());
    let files = files.filter(|path| path.extension().is_some_and(|end| end == "json"));
    let read = |path: PathBuf| {
        let running: Running = serde_json::from_slice(&std::fs::read(&path).ok()?).ok()?;
        let found = match Client::connect(&running.socket) {
            Ok(_) => Life::Answers,
            Err(_) if ending::is_stuck(running.pid) => Life::Stuck,
            Err(_) => {
                drop(std::fs::remove_file(path));
                return None;
            }
        };
        (found == life).then_some(running)
    };
    files.filter_map(read).collect()
}

/// The daemon behind a mount, also when root looks for one of somebody else's.
pub(crate) fn of_mount(paths: &Paths, mountpoint: &Path) -> Option<Running> {
    at(paths, mountpoint, Life::Answers)
}

/// The daemon behind a mount, if it was killed and cannot end.
pub(crate) fn stuck_at(paths: &Paths, mountpoint: &Path) -> Option<Running> {
    at(paths, mountpoint, Life::Stuck)
}

fn at(paths: &Paths, mountpoint: &Path, life: Life) -> Option<Running> {
    let here = |dir: &Path| {
        let mut found = all_in(dir, life).into_iter();
        found.find(|running| running.mountpoint == mountpoint)
    };
    here(&paths.running()).or_else(|| {
        let user = crate::cli::mounts::owner(mountpoint)?;
        let home = home_of(user)?;
        here(&home.join(".local/state/ods").join(paths::RUNNING))
    })
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

    #[test]
    fn an_entry_without_a_listener_counts_for_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let paths = Paths {
            config: dir.path().join("config"),
            state: dir.path().to_owned(),
        };
        let dead = Running {
            pid: 1,
            name: String::from("x"),
            is_demo: false,
            mountpoint: PathBuf::from("/nowhere"),
            socket: dir.path().join("nobody"),
            connection: None,
        };
        let listed = enter(&paths, &dead).expect("entered");
        assert!(running(&paths).is_empty());
        assert!(!listed.0.exists());
        assert!(home_of(0).is_some());
    }
}
