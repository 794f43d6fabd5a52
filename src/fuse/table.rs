//! The kernel's table of mounts, and which of them is the one that is meant.

#[cfg(any(test, not(target_os = "macos")))]
use std::ffi::OsString;
#[cfg(any(test, not(target_os = "macos")))]
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::path::PathBuf;

#[cfg(any(test, not(target_os = "macos")))]
use crate::fuse::system::unescape;

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// Its own number.
    pub(crate) id: u32,
    /// The number of the mount that it lies on.
    pub(crate) parent: u32,
    /// What of its filesystem it shows: the whole, or a directory that was bound here.
    pub(crate) shows: PathBuf,
    /// Where it is.
    pub(crate) at: PathBuf,
    /// The type of its filesystem.
    pub(crate) kind: String,
    /// The options of its filesystem.
    pub(crate) options: String,
    /// The number of its connection, if it is one of FUSE on Linux.
    pub(crate) connection: Option<u32>,
}

/// Reads a line of the table.
#[cfg(any(test, not(target_os = "macos")))]
pub(crate) fn parse(line: &[u8]) -> Option<Mount> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let dash = fields.iter().position(|field| *field == b"-")?;
    let text = |at: usize| Some(String::from_utf8_lossy(fields.get(at)?).into_owned());
    let path = |at: usize| {
        let bytes = unescape(fields.get(at)?);
        Some(PathBuf::from(OsString::from_vec(bytes)))
    };
    Some(Mount {
        id: text(0)?.parse().ok()?,
        parent: text(1)?.parse().ok()?,
        shows: path(3)?,
        at: path(4)?,
        kind: text(dash + 1)?,
        options: text(dash + 3)?,
        // What lies on no device has a number of its own as minor one.
        connection: text(2)?
            .strip_prefix("0:")
            .and_then(|number| number.parse().ok()),
    })
}

/// Elsewhere the table has no numbers by which a mount could be told from others.
#[cfg(target_os = "macos")]
pub(in crate::fuse) fn table() -> Vec<Mount> {
    Vec::new()
}

/// Everything that is mounted, as far as this process can see it.
#[cfg(not(target_os = "macos"))]
pub(crate) fn table() -> Vec<Mount> {
    let text = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    text.split(|byte| *byte == b'\n')
        .filter_map(parse)
        .collect()
}

/// The mount that a path without links lies in, of whatever type: the way goes from mount to mount, as the
/// kernel's does, so that nothing counts that others cover.
pub(crate) fn innermost<'t>(table: &'t [Mount], path: &Path) -> Option<&'t Mount> {
    let mut prefixes: Vec<&Path> = path.ancestors().collect();
    prefixes.reverse();
    let mut inside: Option<&Mount> = None;
    for prefix in prefixes {
        while let Some(next) = table.iter().rfind(|mount| {
            mount.at == prefix
                && match inside {
                    Some(inside) => mount.parent == inside.id && mount.id != inside.id,
                    // The first one lies on a mount that is not in this process's sight.
                    None => table
                        .iter()
                        .all(|other| other.id != mount.parent || other.id == mount.id),
                }
        }) {
            inside = Some(next);
        }
    }
    inside
}

/// Which mount it is, wherever it goes and whatever comes to lie over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::fuse) struct Identity {
    id: u32,
    connection: Option<u32>,
}

impl Mount {
    pub(in crate::fuse) fn identity(&self) -> Identity {
        Identity {
            id: self.id,
            connection: self.connection,
        }
    }
}

/// Which mount the topmost one here is.
pub(in crate::fuse) fn identity(path: &Path) -> Option<Identity> {
    let table = table();
    let here = innermost(&table, path).filter(|mount| mount.at == path);
    here.map(Mount::identity)
}

/// Where a mount is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In sight.
    At(PathBuf),
    /// Under another mount.
    Covered {
        /// Where.
        at: PathBuf,
        /// The type of the other.
        by: String,
    },
    /// In sight, with another mount inside it, which goes with it when it is taken out of sight.
    Holds {
        /// Where.
        at: PathBuf,
        /// Where the other is.
        inside: PathBuf,
        /// The type of the other.
        kind: String,
    },
    /// Not in the table: taken out of sight, or gone.
    Nowhere {
        /// The type of what is mounted where it was, if anything is.
        instead: Option<String>,
        /// Where else its filesystem is mounted.
        elsewhere: Vec<PathBuf>,
    },
}

/// Finds a mount that was made here.
pub(in crate::fuse) fn place(table: &[Mount], own: Identity, path: &Path) -> Place {
    let top = |path: &Path| innermost(table, path).filter(|top| top.at == path);
    let kind = |top: &Mount| top.kind.clone();
    let Some(mount) = table.iter().find(|mount| mount.identity() == own) else {
        let same = |mount: &&Mount| mount.connection == own.connection;
        let elsewhere = table.iter().filter(same).map(|mount| mount.at.clone());
        return Place::Nowhere {
            instead: top(path).map(kind),
            elsewhere: elsewhere.collect(),
        };
    };
    match innermost(table, &mount.at) {
        Some(over) if over.id != mount.id => Place::Covered {
            at: mount.at.clone(),
            by: over.kind.clone(),
        },
        _ => match inside(table, mount.id) {
            Some(other) => Place::Holds {
                at: mount.at.clone(),
                inside: other.at.clone(),
                kind: other.kind.clone(),
            },
            None => Place::At(mount.at.clone()),
        },
    }
}

/// A mount that lies inside the one of this number.
pub(crate) fn inside(table: &[Mount], id: u32) -> Option<&Mount> {
    let mut inside = table.iter().filter(|mount| mount.id != id);
    inside.find(|mount| mount.parent == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounts(lines: &[&str]) -> Vec<Mount> {
        let read = |line: &&str| parse(line.as_bytes()).expect("a mount");
        lines.iter().map(read).collect()
    }

    const ROOT: &str = "1 0 8:1 / / rw - ext4 /dev/sda rw";
    const DRIVE: &str = "2 1 0:42 / /a/b rw - fuse.ods ods rw";

    #[test]
    fn a_line_of_the_table_is_read() {
        let line = r"36 35 0:42 /top\040dir /mnt/a\040b rw,nosuid shared:1 - fuse.ods ods rw,user_id=1000,group_id=0";
        let mount = &mounts(&[line])[0];
        assert_eq!(mount.at, Path::new("/mnt/a b"));
        assert_eq!(mount.shows, Path::new("/top dir"));
        assert_eq!(mount.kind, "fuse.ods");
        assert!(mount.options.contains("user_id=1000"));
        assert_eq!(mount.connection, Some(42));
        assert_eq!(mounts(&[ROOT])[0].connection, None);
        #[cfg(not(target_os = "macos"))]
        assert!(!table().is_empty());
    }

    fn kind<'t>(table: &'t [Mount], path: &str) -> &'t str {
        &innermost(table, Path::new(path)).expect("in one").kind
    }

    #[test]
    fn a_path_lies_in_the_innermost_mount_of_any_type() {
        let inside = "3 2 0:43 / /a/b/c rw - tmpfs tmpfs rw";
        let table = mounts(&[ROOT, DRIVE, inside]);
        assert_eq!(kind(&table, "/a"), "ext4");
        assert_eq!(kind(&table, "/a/b/d"), "fuse.ods");
        assert_eq!(kind(&table, "/a/b/c/d"), "tmpfs");
        // One that covers the place of another has what is called so now.
        let over = "3 1 0:43 / /a rw - tmpfs tmpfs rw";
        assert_eq!(kind(&mounts(&[ROOT, DRIVE, over]), "/a/b/c"), "tmpfs");
        let on_top = "3 2 0:43 / /a/b rw - tmpfs tmpfs rw";
        assert_eq!(kind(&mounts(&[on_top, ROOT, DRIVE]), "/a/b"), "tmpfs");
        assert_eq!(innermost(&[], Path::new("/a")), None);
    }

    #[test]
    fn a_mount_is_found_again_by_its_numbers() {
        let here = Path::new("/a/b");
        let before = mounts(&[ROOT, DRIVE]);
        let own = before[1].identity();
        let now = |lines: &[&str]| place(&mounts(lines), own, here);
        assert_eq!(now(&[ROOT, DRIVE]), Place::At(here.into()));
        let moved = DRIVE.replace("/a/b", "/moved");
        assert_eq!(now(&[ROOT, &moved]), Place::At("/moved".into()));
        let covered = Place::Covered {
            at: here.into(),
            by: String::from("tmpfs"),
        };
        let on_top = "3 2 0:43 / /a/b rw - tmpfs tmpfs rw";
        assert_eq!(now(&[ROOT, DRIVE, on_top]), covered);
        let holds = Place::Holds {
            at: here.into(),
            inside: "/a/b/c".into(),
            kind: String::from("tmpfs"),
        };
        let inside = "3 2 0:43 / /a/b/c rw - tmpfs tmpfs rw";
        assert_eq!(now(&[ROOT, DRIVE, inside]), holds);
        let nowhere = |instead: Option<&str>, elsewhere: &[&str]| Place::Nowhere {
            instead: instead.map(str::to_owned),
            elsewhere: elsewhere.iter().map(PathBuf::from).collect(),
        };
        // One with the same number that took its place.
        let other = DRIVE.replace("0:42", "0:43");
        assert_eq!(now(&[ROOT, &other]), nowhere(Some("fuse.ods"), &[]));
        let view = "5 1 0:42 /top /view rw - fuse.ods ods rw";
        assert_eq!(now(&[ROOT, view]), nowhere(None, &["/view"]));
    }
}
