//! The kernel's table of mounts.

#[cfg(any(test, not(target_os = "macos")))]
use std::ffi::OsString;
use std::io;
#[cfg(any(test, not(target_os = "macos")))]
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::path::PathBuf;

use crate::cli::sys;
use crate::cli::sys::Unmount;
#[cfg(any(test, not(target_os = "macos")))]
use crate::fuse::unescape;

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    at: PathBuf,
    kind: String,
    options: String,
    /// The number of its connection, if it is one of FUSE on Linux.
    connection: Option<u32>,
}

/// macFUSE does not keep the type; the source begins with our name.
#[cfg(target_os = "macos")]
fn table() -> Vec<Mount> {
    let mounts = sys::mac_mounts().into_iter();
    let ours = mounts.filter(|mount| mount.kind.contains("fuse"));
    ours.map(|mount| Mount {
        at: mount.at,
        kind: match mount.source.starts_with("ods") {
            true => String::from("fuse.ods"),
            false => mount.kind,
        },
        options: format!("user_id={}", mount.owner),
        connection: None,
    })
    .collect()
}

#[cfg(not(target_os = "macos"))]
fn table() -> Vec<Mount> {
    let text = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    text.split(|byte| *byte == b'\n')
        .filter_map(parse)
        .collect()
}

/// Reads a line of the table.
#[cfg(any(test, not(target_os = "macos")))]
pub(crate) fn parse(line: &[u8]) -> Option<Mount> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let dash = fields.iter().position(|field| *field == b"-")?;
    let text = |at: usize| Some(String::from_utf8_lossy(fields.get(at)?).into_owned());
    Some(Mount {
        at: PathBuf::from(OsString::from_vec(unescape(fields.get(4)?))),
        kind: text(dash + 1)?,
        options: text(dash + 3)?,
        connection: text(2)?
            .split_once(':')
            .and_then(|(_, number)| number.parse().ok()),
    })
}

/// The topmost mount at a path, if it is one of ours.
fn ours(path: &Path) -> Option<Mount> {
    let at_path = table().into_iter().rfind(|mount| mount.at == path)?;
    (at_path.kind == "fuse.ods").then_some(at_path)
}

/// Where drives are mounted on this machine.
pub(crate) fn all() -> Vec<PathBuf> {
    let ours = table().into_iter().filter(|mount| mount.kind == "fuse.ods");
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

/// The user who mounted a drive here.
pub(crate) fn owner(path: &Path) -> Option<u32> {
    let options = ours(path)?.options;
    let user = options
        .split(',')
        .find_map(|option| option.strip_prefix("user_id="))?;
    user.parse().ok()
}

/// The mount of ours that a path lies in, or lies at.
pub(crate) fn around(path: &Path) -> Option<PathBuf> {
    let mounts = table().into_iter();
    let ours = mounts.filter(|mount| mount.kind == "fuse.ods" && path.starts_with(&mount.at));
    ours.max_by_key(|mount| mount.at.as_os_str().len())
        .map(|mount| mount.at)
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
    while is_ours(path) && std::fs::read_dir(path).is_err_and(is_dead) {
        log::info!("removing the dead mount at {}", path.display());
        sys::unmount(path, Unmount::Detach)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_table_is_read() {
        let line = br"36 35 0:42 / /mnt/a\040b rw,nosuid shared:1 - fuse.ods ods rw,user_id=1000,group_id=0";
        let mount = parse(line).expect("a mount");
        assert_eq!(mount.at, Path::new("/mnt/a b"));
        assert_eq!(mount.kind, "fuse.ods");
        assert!(mount.options.contains("user_id=1000"));
        assert_eq!(mount.connection, Some(42));
        assert!(!table().is_empty());
    }
}
