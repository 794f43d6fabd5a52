//! What a process has to ask of the system by hand; with `apart.rs` the one place of this room with unsafe code.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;
#[cfg(target_os = "linux")]
use std::time::Instant;

/// Files made from now on are for their owner alone.
pub(crate) fn private_files() {
    // SAFETY: takes a number, cannot fail, touches no memory of ours.
    unsafe { libc::umask(0o077) };
}

/// Keeps keys out of core dumps and out of reach of other processes' debuggers.
pub(crate) fn no_core_dumps() {
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: reads the structure above during the call and nothing else.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) };
    #[cfg(target_os = "linux")]
    // SAFETY: takes numbers only.
    unsafe {
        libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
    }
}

/// Lets this process open as many files as the system allows it, but no more than so many; tells how many.
pub(crate) fn open_files_max(wish: u64) -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: fills the structure above, which outlives the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return 0;
    }
    let raised = libc::rlimit {
        rlim_cur: limit.rlim_max.min(wish).max(limit.rlim_cur),
        ..limit
    };
    // SAFETY: reads the structure above during the call and nothing else.
    match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) } {
        0 => raised.rlim_cur,
        _ => limit.rlim_cur,
    }
}

/// Bytes that this user may still write to the disk on which a path lies.
pub(crate) fn free_bytes(path: &Path) -> io::Result<u64> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut answer = std::mem::MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: `path` ends with NUL, and the call fills the structure; both outlive it.
    let done = unsafe { libc::statvfs(path.as_ptr(), answer.as_mut_ptr()) };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: all bytes are set, zeros before the call, and any bytes are such a structure.
    let answer = unsafe { answer.assume_init() };
    #[allow(
        clippy::useless_conversion,
        clippy::unnecessary_cast,
        reason = "the fields differ between systems"
    )]
    Ok((answer.f_bavail as u64).saturating_mul(answer.f_frsize as u64))
}

/// Takes a variable out of this process's environment, and its value out of what `/proc` shows of it.
/// Only for programs that have not started a thread yet.
pub(crate) fn forget(variable: &str) {
    let Ok(name) = CString::new(variable) else {
        return;
    };
    // SAFETY: `name` ends with NUL and outlives the calls. There is one thread, so nobody reads or changes
    // the environment meanwhile; the value belongs to this process and is written within its length.
    unsafe {
        let value = libc::getenv(name.as_ptr());
        if !value.is_null() {
            std::ptr::write_bytes(value, b'*', libc::strlen(value));
            libc::unsetenv(name.as_ptr());
        }
    }
}

/// Leaves the terminal and its signals: this process is a daemon from now on.
pub(crate) fn own_session() -> io::Result<()> {
    // SAFETY: takes nothing and touches no memory of ours.
    match unsafe { libc::setsid() } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Whatever this process says on standard error goes to this file from now on.
pub(crate) fn take_as_stderr(file: &File) -> io::Result<()> {
    // SAFETY: both are open, and nobody but the C library and std, which use it by number, has standard error.
    match unsafe { libc::dup2(file.as_raw_fd(), libc::STDERR_FILENO) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Has the kernel hand over what it keeps of changes to the files of the filesystem that this file is in:
/// what programs wrote through mappings. Where the system has no such call, all filesystems' changes.
pub(crate) fn write_back(file: &File) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    // SAFETY: takes the number of an open file and touches no memory of ours.
    let result = unsafe { libc::syncfs(file.as_raw_fd()) };
    #[cfg(not(target_os = "linux"))]
    let result = {
        let _ = file;
        // SAFETY: takes nothing and touches no memory of ours.
        unsafe { libc::sync() };
        0
    };
    match result {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Width of the terminal that standard error is, if it is one.
pub(crate) fn terminal_columns() -> Option<u16> {
    // SAFETY: all zeroes is a valid winsize.
    let mut size: libc::winsize = unsafe { std::mem::zeroed() };
    // SAFETY: the call fills the structure above, which outlives it.
    let result = unsafe { libc::ioctl(libc::STDERR_FILENO, libc::TIOCGWINSZ, &raw mut size) };
    (result == 0 && size.ws_col > 0).then_some(size.ws_col)
}

/// User and group of this process.
pub(crate) fn owner() -> (u32, u32) {
    // SAFETY: take nothing and cannot fail.
    unsafe { (libc::geteuid(), libc::getegid()) }
}

/// Takes away a mount that nobody uses, or with `detach` one that somebody does.
pub(crate) fn unmount(path: &Path, how: Unmount) -> io::Result<()> {
    let target = CString::new(path.as_os_str().as_bytes())?;
    #[cfg(target_os = "linux")]
    {
        let flags = match how {
            Unmount::Clean => libc::UMOUNT_NOFOLLOW,
            Unmount::Detach => libc::UMOUNT_NOFOLLOW | libc::MNT_DETACH,
        };
        // SAFETY: one NUL-terminated string that lives until the call returns.
        if unsafe { libc::umount2(target.as_ptr(), flags) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EPERM) {
            return Err(error);
        }
    }
    drop(target);
    by_helper(path, how)
}

/// Changes the flags of a mount to those that the words of mount(8) say; later words win.
#[cfg(target_os = "linux")]
pub(crate) fn remount<'w>(path: &Path, words: impl Iterator<Item = &'w str>) -> io::Result<()> {
    let mut flags = libc::MS_REMOUNT;
    for word in words {
        let (flag, is_on) = match word {
            "ro" => (libc::MS_RDONLY, true),
            "rw" => (libc::MS_RDONLY, false),
            "nodev" => (libc::MS_NODEV, true),
            "dev" => (libc::MS_NODEV, false),
            "nosuid" => (libc::MS_NOSUID, true),
            "suid" => (libc::MS_NOSUID, false),
            "noexec" => (libc::MS_NOEXEC, true),
            "exec" => (libc::MS_NOEXEC, false),
            "noatime" => (libc::MS_NOATIME, true),
            "atime" | "relatime" => (libc::MS_NOATIME, false),
            _ => continue,
        };
        flags = if is_on { flags | flag } else { flags & !flag };
    }
    let target = CString::new(path.as_os_str().as_bytes())?;
    let none = std::ptr::null();
    // SAFETY: one NUL-terminated string that lives until the call returns; the rest is not there.
    match unsafe { libc::mount(none, target.as_ptr(), none, flags, none.cast()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Only Linux knows how.
#[cfg(not(target_os = "linux"))]
pub(crate) fn remount<'w>(_: &Path, _: impl Iterator<Item = &'w str>) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Ends a mount's connection to whoever serves it, also when that hangs, and takes the mount away if nobody uses it.
#[cfg(target_os = "linux")]
pub(crate) fn force(path: &Path) -> io::Result<()> {
    let target = CString::new(path.as_os_str().as_bytes())?;
    let flags = libc::UMOUNT_NOFOLLOW | libc::MNT_FORCE;
    // SAFETY: one NUL-terminated string that lives until the call returns.
    match unsafe { libc::umount2(target.as_ptr(), flags) } {
        0 => Ok(()),
        _ => match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::EBUSY) => Ok(()),
            error => Err(error),
        },
    }
}

/// Elsewhere taking it away does that.
#[cfg(not(target_os = "linux"))]
pub(crate) fn force(path: &Path) -> io::Result<()> {
    by_helper(path, Unmount::Detach)
}

/// The process that listens at the other end of a connection, if the system tells.
#[cfg(target_os = "linux")]
pub(crate) fn listener(stream: &UnixStream) -> Option<u32> {
    // SAFETY: all zeroes is a valid ucred.
    let mut peer: libc::ucred = unsafe { std::mem::zeroed() };
    let mut len = libc::socklen_t::try_from(size_of::<libc::ucred>()).ok()?;
    // SAFETY: the call writes at most `len` bytes into the structure above, which outlives it.
    let result = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut len,
        )
    };
    // Of a process that this one cannot see, the number is 0.
    u32::try_from(peer.pid)
        .ok()
        .filter(|pid| result == 0 && *pid > 0)
}

/// Elsewhere it is not asked.
#[cfg(not(target_os = "linux"))]
pub(crate) fn listener(_: &UnixStream) -> Option<u32> {
    None
}

/// Waits until a process has ended with all its threads, but no longer than this; tells whether it has.
#[cfg(target_os = "linux")]
pub(crate) fn await_end(pid: u32, longest: Duration) -> bool {
    use std::os::fd::FromRawFd;
    let until = Instant::now() + longest;
    // SAFETY: takes numbers only.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, libc::c_long::from(pid), 0) };
    let Some(fd) = libc::c_int::try_from(fd).ok().filter(|fd| *fd >= 0) else {
        return io::Error::last_os_error().raw_os_error() == Some(libc::ESRCH);
    };
    // SAFETY: the call gave it to this process, and nobody else has it.
    let process = unsafe { File::from_raw_fd(fd) };
    loop {
        let mut poll = libc::pollfd {
            fd: process.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        let left = until.saturating_duration_since(Instant::now()).as_millis();
        let left = libc::c_int::try_from(left).unwrap_or(libc::c_int::MAX);
        // SAFETY: one structure that outlives the call.
        match unsafe { libc::poll(&raw mut poll, 1, left) } {
            // A signal came in between.
            -1 if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            ready => return ready == 1,
        }
    }
}

/// Elsewhere nothing waits for one.
#[cfg(not(target_os = "linux"))]
pub(crate) fn await_end(_: u32, _: Duration) -> bool {
    true
}

/// How to take a mount away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unmount {
    /// Only if nobody uses it.
    Clean,
    /// Out of sight at once.
    Detach,
}

fn by_helper(path: &Path, how: Unmount) -> io::Result<()> {
    let mut command = match cfg!(target_os = "linux") {
        true => std::process::Command::new("fusermount3"),
        false => std::process::Command::new("umount"),
    };
    match (cfg!(target_os = "linux"), how) {
        (true, Unmount::Clean) => command.arg("-u"),
        (true, Unmount::Detach) => command.args(["-u", "-z"]),
        (false, Unmount::Clean) => &mut command,
        (false, Unmount::Detach) => command.arg("-f"),
    };
    let output = command.arg("--").arg(path).output()?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let kind = match text.contains("busy") {
        true => io::ErrorKind::ResourceBusy,
        false => io::ErrorKind::Other,
    };
    Err(io::Error::new(kind, text))
}

/// What this machine is called.
pub(crate) fn hostname() -> String {
    let mut name = [0_u8; 256];
    // SAFETY: the call writes at most one byte less than the array has, which outlives it.
    let result = unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len() - 1) };
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(0);
    match String::from_utf8_lossy(&name[..end]).trim() {
        name if result == 0 && !name.is_empty() => name.to_owned(),
        _ => String::from("this machine"),
    }
}

/// A mount as macOS tells of it.
#[cfg(target_os = "macos")]
#[derive(Debug)]
pub(crate) struct MacMount {
    pub(crate) at: std::path::PathBuf,
    pub(crate) source: String,
    pub(crate) kind: String,
    pub(crate) owner: u32,
}

/// The system's table of mounts.
#[cfg(target_os = "macos")]
pub(crate) fn mac_mounts() -> Vec<MacMount> {
    let text = |field: &[libc::c_char]| -> Vec<u8> {
        let bytes = field.iter().map(|byte| byte.to_ne_bytes()[0]);
        bytes.take_while(|byte| *byte != 0).collect()
    };
    // SAFETY: a null pointer asks only how many there are.
    let count = unsafe { libc::getfsstat(std::ptr::null_mut(), 0, libc::MNT_NOWAIT) };
    let room = usize::try_from(count).unwrap_or(0) + 8;
    // SAFETY: all zeroes is a valid statfs.
    let mut table: Vec<libc::statfs> = vec![unsafe { std::mem::zeroed() }; room];
    let bytes = libc::c_int::try_from(std::mem::size_of_val(table.as_slice())).unwrap_or(0);
    // SAFETY: the call fills at most `bytes` bytes of the table, which outlives it.
    let found = unsafe { libc::getfsstat(table.as_mut_ptr(), bytes, libc::MNT_NOWAIT) };
    let found = usize::try_from(found).unwrap_or(0);
    let mounts = table.iter().take(found).map(|mount| MacMount {
        at: std::ffi::OsStr::from_bytes(&text(&mount.f_mntonname)).into(),
        source: String::from_utf8_lossy(&text(&mount.f_mntfromname)).into_owned(),
        kind: String::from_utf8_lossy(&text(&mount.f_fstypename)).into_owned(),
        owner: mount.f_owner,
    });
    mounts.collect()
}
