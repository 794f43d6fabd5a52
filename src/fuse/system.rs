//! Getting a mount from the system and giving it back; the one place with system calls by hand.
//!
//! As root the mount is made here and not by fuser, because the type must be `fuse.ods`: by it
//! umount(8) finds `umount.fuse.ods`, which waits until everything is on the store. Everybody else
//! goes through `fusermount3`, which sets the type by itself.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use crate::fuse::MountOptions;

/// Where the kernel's side of FUSE is.
const DEVICE: &str = "/dev/fuse";

/// The type of the mount, as `mount`, `findmnt` and umount(8) know it.
#[cfg(target_os = "linux")]
const FILESYSTEM: &str = "fuse.ods";

/// Why there is no mount, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The mount point is not there, or cannot be looked at.
    #[error("{0}: cannot be used as a mount point")]
    Mountpoint(PathBuf, #[source] io::Error),
    /// The mount point is something else.
    #[error("{0} is not a directory")]
    NotADirectory(PathBuf),
    /// Mounting would hide files.
    #[error("{0} is not empty; mount over it with `-o nonempty`")]
    NotEmpty(PathBuf),
    /// There is a FUSE mount already.
    #[error("{0} is mounted already; `umount {0}` first")]
    Mounted(PathBuf),
    /// A daemon died and left its mount.
    #[error("{0} is a dead mount; remove it with `ods umount {0}`")]
    Dead(PathBuf),
    /// The kernel has no FUSE.
    #[error(
        "{DEVICE} is not there; load it with `modprobe fuse` (in a container, run it with `--device {DEVICE}`)"
    )]
    NoFuse,
    /// FUSE is not for this user.
    #[error("{DEVICE} may not be opened; ask for `chmod 666 {DEVICE}`, or mount as root")]
    FuseRefused,
    /// The helper for everybody but root is missing.
    #[error(
        "`fusermount3` is not installed, and only root can mount without it; install the package fuse3"
    )]
    NoHelper,
    /// The helper does not let others in.
    #[error("`allow_other` needs the line `user_allow_other` in /etc/fuse.conf")]
    AllowOther,
    /// Something else that the system says.
    #[error("cannot mount {0}")]
    System(PathBuf, #[source] io::Error),
    /// The mount stays.
    #[error("cannot unmount {0}")]
    Unmount(PathBuf, #[source] io::Error),
}

/// Finds out whether a directory can be mounted on; gives its full path.
///
/// # Errors
/// [`Error`] says what is wrong and what to do about it.
pub fn check(mountpoint: &Path, options: &MountOptions) -> Result<PathBuf, Error> {
    let explain = |error: io::Error| match error.raw_os_error() {
        Some(libc::ENOTCONN) => Error::Dead(mountpoint.to_owned()),
        _ => Error::Mountpoint(mountpoint.to_owned(), error),
    };
    let path = mountpoint.canonicalize().map_err(explain)?;
    if !path.metadata().map_err(explain)?.is_dir() {
        return Err(Error::NotADirectory(path));
    }
    if has_fuse(&path) {
        // The kernel may still know the attributes of a mount that nobody serves any more.
        let errno = path.read_dir().err().and_then(|error| error.raw_os_error());
        return Err(match errno {
            Some(libc::ENOTCONN) => Error::Dead(path),
            _ => Error::Mounted(path),
        });
    }
    let mut entries = path.read_dir().map_err(explain)?;
    if !options.nonempty && entries.next().is_some() {
        return Err(Error::NotEmpty(path));
    }
    match OpenOptions::new().read(true).write(true).open(DEVICE) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && cfg!(target_os = "linux") => {
            Err(Error::NoFuse)
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(Error::FuseRefused),
        _ => Ok(path),
    }
}

/// Is the topmost mount here one of FUSE?
#[cfg(target_os = "macos")]
fn has_fuse(path: &Path) -> bool {
    let Ok(text) = CString::new(path.as_os_str().as_bytes()) else {
        return false;
    };
    // SAFETY: all zeroes is a valid statfs.
    let mut answer: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: a NUL-terminated string and a structure that may be written; both outlive the call.
    let done = unsafe { libc::statfs(text.as_ptr(), &raw mut answer) };
    let text = |field: &[libc::c_char]| -> Vec<u8> {
        let bytes = field.iter().map(|byte| byte.to_ne_bytes()[0]);
        bytes.take_while(|byte| *byte != 0).collect()
    };
    let is_fuse = text(&answer.f_fstypename)
        .windows(4)
        .any(|window| window == b"fuse");
    done == 0 && is_fuse && text(&answer.f_mntonname) == path.as_os_str().as_bytes()
}

/// Is the topmost mount here one of FUSE?
#[cfg(not(target_os = "macos"))]
fn has_fuse(path: &Path) -> bool {
    let mounts = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    let here = |line: &&[u8]| {
        let field = line.split(|byte| *byte == b' ').nth(4).unwrap_or_default();
        unescape(field) == path.as_os_str().as_bytes()
    };
    let mut lines = mounts.split(|byte| *byte == b'\n');
    let last = lines.rfind(here).unwrap_or_default();
    last.windows(7).any(|window| window == b" - fuse")
}

/// Undoes the octal escapes of mount tables.
#[cfg(any(test, not(target_os = "macos")))]
pub(crate) fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, tail)) = rest.split_first() {
        let octal = tail
            .get(..3)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(value) if byte == b'\\' => {
                out.push(value);
                rest = &tail[3..];
            }
            _ => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    out
}

/// Says what fuser's words mean.
pub(in crate::fuse) fn explain(path: &Path, error: io::Error) -> Error {
    let text = error.to_string();
    match error.kind() {
        _ if text.contains("user_allow_other") => Error::AllowOther,
        io::ErrorKind::NotFound => Error::NoHelper,
        _ => Error::System(path.to_owned(), error),
    }
}

/// Mounts as root; `None` when this process may not (a container), and the helper must be tried.
#[cfg(target_os = "linux")]
pub(in crate::fuse) fn direct(path: &Path, options: &MountOptions) -> Result<Option<File>, Error> {
    // SAFETY: these calls take nothing and cannot fail.
    let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
    if uid != 0 || options.auto_unmount {
        return Ok(None);
    }
    let system = |error| Error::System(path.to_owned(), error);
    let device = OpenOptions::new()
        .read(true)
        .write(true)
        .open(DEVICE)
        .map_err(system)?;
    let fd = device.as_raw_fd();
    let mut data = format!("fd={fd},rootmode=40000,user_id={uid},group_id={gid}");
    for (is_on, word) in [
        (options.default_permissions, ",default_permissions"),
        (options.allow_other, ",allow_other"),
    ] {
        data.push_str(if is_on { word } else { "" });
    }
    let mut flags = 0;
    for (is_on, flag) in [
        (options.read_only, libc::MS_RDONLY),
        (!options.devices, libc::MS_NODEV),
        (!options.set_ids, libc::MS_NOSUID),
        (!options.execute, libc::MS_NOEXEC),
        (true, libc::MS_NOATIME),
    ] {
        flags |= if is_on { flag } else { 0 };
    }
    let text = |bytes: &[u8]| CString::new(bytes).map_err(|error| system(error.into()));
    let (source, target) = (
        text(options.fsname.as_bytes())?,
        text(path.as_os_str().as_bytes())?,
    );
    let (kind, data) = (text(FILESYSTEM.as_bytes())?, text(data.as_bytes())?);
    // SAFETY: four NUL-terminated strings that live until the call returns; the kernel copies them.
    let result = unsafe {
        libc::mount(
            source.as_ptr(),
            target.as_ptr(),
            kind.as_ptr(),
            flags,
            data.as_ptr().cast(),
        )
    };
    if result == 0 {
        return Ok(Some(device));
    }
    match io::Error::last_os_error() {
        error if error.raw_os_error() == Some(libc::EPERM) => Ok(None),
        error if error.raw_os_error() == Some(libc::ENODEV) => {
            log::debug!("mount: {error}");
            Err(Error::NoFuse)
        }
        error => Err(system(error)),
    }
}

/// Elsewhere fuser mounts for everybody.
#[cfg(not(target_os = "linux"))]
pub(in crate::fuse) fn direct(_: &Path, _: &MountOptions) -> Result<Option<File>, Error> {
    Ok(None)
}

/// How to take a mount away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::fuse) enum How {
    /// Only if nobody uses it.
    Clean,
    /// Out of sight at once, gone when nobody uses it any more.
    Detach,
}

/// Takes a mount away; says `ResourceBusy` when somebody uses it.
#[cfg(target_os = "linux")]
pub(in crate::fuse) fn unmount(path: &Path, how: How) -> io::Result<()> {
    let target = CString::new(path.as_os_str().as_bytes())?;
    let flags = match how {
        How::Clean => libc::UMOUNT_NOFOLLOW,
        How::Detach => libc::UMOUNT_NOFOLLOW | libc::MNT_DETACH,
    };
    // SAFETY: one NUL-terminated string that lives until the call returns.
    if unsafe { libc::umount2(target.as_ptr(), flags) } == 0 {
        return Ok(());
    }
    match io::Error::last_os_error() {
        error if error.raw_os_error() == Some(libc::EPERM) => helper(path, how),
        error => Err(error),
    }
}

#[cfg(target_os = "linux")]
fn helper(path: &Path, how: How) -> io::Result<()> {
    let mut command = Command::new("fusermount3");
    command.arg("-u");
    if how == How::Detach {
        command.arg("-z");
    }
    let output = command.arg("--").arg(path).output()?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let is_busy = text.contains("busy");
    let kind = if is_busy {
        io::ErrorKind::ResourceBusy
    } else {
        io::ErrorKind::Other
    };
    Err(io::Error::new(kind, text))
}

/// Takes a mount away; says `ResourceBusy` when somebody uses it.
#[cfg(not(target_os = "linux"))]
pub(in crate::fuse) fn unmount(path: &Path, how: How) -> io::Result<()> {
    let mut command = Command::new("umount");
    if how == How::Detach {
        command.arg("-f");
    }
    let output = command.arg(path).output()?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(io::Error::new(io::ErrorKind::ResourceBusy, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_tables_are_read_back() {
        assert_eq!(unescape(br"/mnt/a\040b\134c"), br"/mnt/a b\c");
        assert_eq!(unescape(br"/x\04"), br"/x\04");
    }

    #[test]
    fn what_cannot_be_mounted_on_is_told() {
        let options = MountOptions::default();
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        assert!(matches!(
            check(file.path(), &options),
            Err(Error::NotADirectory(_))
        ));
        let missing = file.path().with_extension("missing");
        assert!(matches!(
            check(&missing, &options),
            Err(Error::Mountpoint(..))
        ));
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(dir.path().join("file"), "").expect("writable");
        assert!(matches!(
            check(dir.path(), &options),
            Err(Error::NotEmpty(_))
        ));
    }
}
