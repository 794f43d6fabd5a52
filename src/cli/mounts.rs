//! Which of the kernel's mounts are ours, and which of them a path lies in.

use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use crate::cli::apart::apart;
use crate::cli::sys;
use crate::cli::sys::Unmount;
use crate::fuse::table::Mount;
use crate::fuse::table::innermost;
use crate::fuse::table::inside;
#[cfg(not(target_os = "macos"))]
use crate::fuse::table::table;

/// The type of our mounts.
const KIND: &str = "fuse.ods";

/// macFUSE does not keep the type; the source begins with our name. There are no numbers: each lies on what it lies
/// in of those before it.
#[cfg(target_os = "macos")]
fn table() -> Vec<Mount> {
    let mut table: Vec<Mount> = Vec::new();
    for (id, mount) in (1..).zip(sys::mac_mounts()) {
        let kind = match mount.source.starts_with("ods") && mount.kind.contains("fuse") {
            true => String::from(KIND),
            false => mount.kind,
        };
        table.push(Mount {
            id,
            parent: innermost(&table, &mount.at).map_or(0, |below| below.id),
            shows: PathBuf::from("/"),
            at: mount.at,
            kind,
            options: format!("user_id={}", mount.owner),
            connection: None,
        });
    }
    table
}

/// The topmost mount at a path, if it is one of ours.
fn ours(path: &Path) -> Option<Mount> {
    let table = table();
    let here = innermost(&table, path).filter(|mount| mount.at == path)?;
    (here.kind == KIND).then(|| here.clone())
}

/// Where drives are mounted on this machine.
pub(crate) fn all() -> Vec<PathBuf> {
    let ours = table().into_iter().filter(|mount| mount.kind == KIND);
    ours.map(|mount| mount.at).collect()
}

/// Is a drive mounted exactly here?
pub(crate) fn is_ours(path: &Path) -> bool {
    ours(path).is_some()
}

/// The number of the connection between the kernel and whoever serves the drive that is mounted here.
pub(crate) fn connection(path: &Path) -> Option<u32> {
    ours(path)?.connection
}

/// Has any mount that this process can see the connection of this number?
pub(crate) fn has_connection(number: u32) -> bool {
    let mut all = table().into_iter();
    all.any(|mount| mount.connection == Some(number))
}

/// Is the topmost mount here a view of the drive that is mounted right under it, at the same place?
pub(crate) fn is_doubled(path: &Path) -> bool {
    is_doubled_in(&table(), path)
}

fn is_doubled_in(table: &[Mount], path: &Path) -> bool {
    let top = innermost(table, path).filter(|top| top.at == path && top.connection.is_some());
    top.is_some_and(|top| {
        let mut below = table.iter().filter(|mount| mount.id == top.parent);
        below.any(|below| below.at == top.at && below.connection == top.connection)
    })
}

/// The user who mounted a drive here.
pub(crate) fn owner(path: &Path) -> Option<u32> {
    let options = ours(path)?.options;
    let user = options
        .split(',')
        .find_map(|option| option.strip_prefix("user_id="))?;
    user.parse().ok()
}

/// Where a path is that lies in one of our mounts, or at one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Around {
    /// Where the mount is.
    pub(crate) at: PathBuf,
    /// The number of its connection.
    pub(crate) connection: Option<u32>,
    /// The path from the drive's top directory, which may not be what is mounted there.
    pub(crate) inside: PathBuf,
}

/// The mount of ours that a path lies in, or lies at. What is mounted inside one of ours is not ours.
pub(crate) fn around(path: &Path) -> Option<Around> {
    around_in(&table(), path)
}

fn around_in(table: &[Mount], path: &Path) -> Option<Around> {
    let mount = innermost(table, path).filter(|mount| mount.kind == KIND)?;
    let below = path.strip_prefix(&mount.at).ok()?;
    let top = mount.shows.strip_prefix("/").unwrap_or(&mount.shows);
    Some(Around {
        at: mount.at.clone(),
        connection: mount.connection,
        inside: top.components().chain(below.components()).collect(),
    })
}

/// Where one gets to the drive whose connection has this number.
pub(crate) fn way_to(connection: u32) -> Option<PathBuf> {
    let table = table();
    let is_in_sight = |mount: &&Mount| {
        mount.connection == Some(connection)
            && mount.kind == KIND
            && innermost(&table, &mount.at).is_some_and(|top| top.id == mount.id)
    };
    let found = table.iter().find(is_in_sight);
    found.map(|mount| mount.at.clone())
}

/// A path without links, as far as that can be found out. A mount of ours is not looked at: its daemon may be dead,
/// or may not answer.
pub(crate) fn resolve(path: &Path) -> PathBuf {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let here = match (whole.parent(), whole.file_name()) {
        (Some(parent), Some(name)) => resolve(parent).join(name),
        _ => whole,
    };
    match is_ours(&here) {
        true => here,
        false => here.canonicalize().unwrap_or(here),
    }
}

/// Takes away the mount that a killed daemon left here; whoever had files open there sees an end
/// that has come already. Only where no daemon is known: one that stands still would keep this waiting.
pub(crate) fn clear_dead(path: &Path) -> io::Result<()> {
    // Not by its attributes, which the kernel may still know; a listing always asks the daemon.
    let is_dead = |error: io::Error| error.raw_os_error() == Some(libc::ENOTCONN);
    let is_there = || is_ours(path) && std::fs::read_dir(path).is_err_and(is_dead);
    while is_there() {
        log::info!("removing the dead mount at {}", path.display());
        if let Err(error) = detach(path)
            && is_there()
        {
            return Err(error);
        }
    }
    Ok(())
}

/// How long a mount may take to answer whoever looks whether it is served.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Does the kernel say that nobody serves the mount here? One that does not answer may have a daemon that stands
/// still, so it is looked at from another process, which can be left waiting.
pub(crate) fn is_dead(path: &Path) -> bool {
    let said = apart(Some(ANSWER_MAX), || {
        let error = std::fs::read_dir(path).err();
        let is_dead = error.and_then(|error| error.raw_os_error()) == Some(libc::ENOTCONN);
        vec![u8::from(is_dead)]
    });
    said.is_ok_and(|said| said.is_some_and(|said| said == [1]))
}

/// Takes a mount of ours out of sight at once, whoever uses it. What is mounted inside it would go with it: then it is
/// left, and the error names the other.
pub(crate) fn detach(path: &Path) -> io::Result<()> {
    let table = table();
    let own = innermost(&table, path).filter(|mount| mount.at == path);
    let Some(other) = own.and_then(|own| inside(&table, own.id)) else {
        return sys::unmount(path, Unmount::Detach);
    };
    let (kind, at) = (&other.kind, other.at.display());
    let text = format!(
        "another mount ({kind}) lies inside it at {at}, and would go with it; take that one away first, with `umount {at}`"
    );
    Err(io::Error::new(io::ErrorKind::ResourceBusy, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuse::table::parse;

    #[test]
    fn what_a_bind_mount_shows_lies_where_it_lies_in_the_drive() {
        let lines = [
            "1 0 8:1 / / rw - ext4 /dev/sda rw",
            "2 1 0:42 / /drive rw - fuse.ods ods rw",
            "3 1 0:42 /top /view rw - fuse.ods ods rw",
            "4 3 0:43 / /view/other rw - tmpfs tmpfs rw",
        ];
        let table: Vec<Mount> = lines
            .iter()
            .filter_map(|line| parse(line.as_bytes()))
            .collect();
        let inside = |path: &str| around_in(&table, Path::new(path)).map(|around| around.inside);
        assert_eq!(inside("/drive/top/file"), Some("top/file".into()));
        assert_eq!(inside("/drive"), Some("".into()));
        assert_eq!(inside("/view/file"), Some("top/file".into()));
        assert_eq!(inside("/view"), Some("top".into()));
        assert_eq!(inside("/view/other/file"), None);
        assert_eq!(inside("/elsewhere"), None);
    }

    #[test]
    fn a_drive_that_is_bound_onto_itself_is_told_from_the_drive_alone() {
        let lines = [
            "1 0 8:1 / / rw - ext4 /dev/sda rw",
            "2 1 0:42 / /drive rw - fuse.ods ods rw",
            "3 2 0:42 / /drive rw - fuse.ods ods rw",
            "4 1 0:43 / /other rw - fuse.ods ods rw",
            "5 4 0:44 / /other rw - tmpfs tmpfs rw",
        ];
        let read = |line: &&str| parse(line.as_bytes()).expect("a mount");
        let table: Vec<Mount> = lines.iter().map(read).collect();
        assert!(is_doubled_in(&table, Path::new("/drive")));
        assert!(!is_doubled_in(&table[..2], Path::new("/drive")));
        assert!(!is_doubled_in(&table, Path::new("/other")));
        assert!(!is_doubled_in(&table, Path::new("/drive/inside")));
    }
}
