//! Which daemons run: each leaves a small file that says where it listens and what it has mounted.
//!
//! The file outlives a daemon that is killed; then nobody listens at its socket, and it counts for
//! nothing.

use std::path::Path;
use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;

use crate::cli::client::Client;
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

/// The daemons that answer, in no order. Entries of others are removed.
pub(crate) fn running(paths: &Paths) -> Vec<Running> {
    running_in(&paths.running())
}

fn running_in(dir: &Path) -> Vec<Running> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let files = entries.flatten().map(|entry| entry.path());
    let files = files.filter(|path| path.extension().is_some_and(|end| end == "json"));
    let read = |path: PathBuf| {
        let running: Running = serde_json::from_slice(&std::fs::read(&path).ok()?).ok()?;
        if Client::connect(&running.socket).is_ok() {
            return Some(running);
        }
        drop(std::fs::remove_file(path));
        None
    };
    files.filter_map(read).collect()
}

/// The daemon behind a mount, also when root looks for one of somebody else's.
pub(crate) fn of_mount(paths: &Paths, mountpoint: &Path) -> Option<Running> {
    let here = |dirs: &Path| {
        running_in(dirs)
            .into_iter()
            .find(|running| running.mountpoint == mountpoint)
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
        };
        let listed = enter(&paths, &dead).expect("entered");
        assert!(running(&paths).is_empty());
        assert!(!listed.0.exists());
        assert!(home_of(0).is_some());
    }
}
