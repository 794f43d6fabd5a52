//! A daemon that was killed, and cannot end: one of its threads waits in the kernel for what only the daemon could
//! have given. Its mount answers nobody and its state is taken, until the mount is forced.

use std::io;
use std::path::Path;
use std::time::Duration;

use crate::cli::mounts;
use crate::cli::registry::Running;
use crate::cli::sys;

/// In this time a daemon that was killed ends by itself, if nothing holds it.
const MOMENT: Duration = Duration::from_secs(1);

/// How long it may take to end when nothing holds it any more: it gives back all its memory.
const END_MAX: Duration = Duration::from_secs(10);

/// Was this process killed without being able to end?
pub(crate) fn is_stuck(pid: u32) -> bool {
    is_ending(pid) && !sys::await_end(pid, MOMENT)
}

/// Is this process about to end, so that it answers nobody any more?
#[cfg(target_os = "linux")]
pub(crate) fn is_ending(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| ends(&status))
}

/// Elsewhere nobody tells.
#[cfg(not(target_os = "linux"))]
pub(crate) fn is_ending(_: u32) -> bool {
    false
}

/// Does a process of this status end? Its first thread has, or was told to by a signal that nothing holds off.
#[cfg(any(test, target_os = "linux"))]
fn ends(status: &str) -> bool {
    let killed = 1_u64 << (libc::SIGKILL - 1);
    status.lines().any(|line| {
        let (field, value) = line.split_once(':').unwrap_or_default();
        match field {
            "State" => value.trim_start().starts_with(['Z', 'X']),
            "SigPnd" | "ShdPnd" => {
                u64::from_str_radix(value.trim(), 16).is_ok_and(|pending| pending & killed != 0)
            }
            _ => false,
        }
    })
}

/// Makes those daemons end that were killed, and have the mount here, or the state in this directory, still.
pub(crate) fn finish_all(stuck: Vec<Running>, mountpoint: &Path, state_dir: &Path) {
    for daemon in stuck {
        let state = daemon.socket.parent().map(mounts::resolve);
        if daemon.mountpoint == mountpoint || state.as_deref() == Some(state_dir) {
            finish(&daemon);
        }
    }
}

/// Forces the mount of a daemon that was killed, takes it away, and waits until the daemon has ended.
pub(crate) fn finish(daemon: &Running) {
    let (pid, path) = (daemon.pid, daemon.mountpoint.display());
    log::warn!(
        "the daemon of {path}, process {pid}, was killed and cannot end; its mount is forced"
    );
    let sight = Sight::of(daemon);
    if let Err(error) = abort(daemon, sight) {
        log::warn!("{path}: {error}");
    }
    if !sys::await_end(pid, END_MAX) {
        log::warn!("process {pid} has not ended");
    }
    if sight == Sight::Mount
        && has_mount(daemon)
        && let Err(error) = mounts::detach(&daemon.mountpoint)
    {
        log::warn!("{path}: {error}");
    }
}

/// What there is to see of a daemon's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sight {
    /// Its mount.
    Mount,
    /// The connection alone, by its number.
    Number,
    /// Nothing that is the daemon's own for sure: its number may be another's by now.
    Nothing,
}

impl Sight {
    fn of(daemon: &Running) -> Sight {
        let is_shared = daemon.connection.is_none_or(mounts::has_connection);
        Sight::judge(has_mount(daemon), is_shared, holds_fuse(daemon.pid))
    }

    /// A number is free once its connection has ended, and the mount that gets it may be in another namespace. As
    /// long as the daemon has the device open, which not everybody may see, the number is its own.
    fn judge(has_mount: bool, is_shared: bool, holds_fuse: Option<bool>) -> Sight {
        match holds_fuse {
            Some(false) => Sight::Nothing,
            _ if has_mount => Sight::Mount,
            Some(true) if !is_shared => Sight::Number,
            _ => Sight::Nothing,
        }
    }
}

/// Has a process the kernel's side of FUSE open? None if that is not for us to see. The first thread may have ended
/// already, so it is looked for in all of them.
pub(crate) fn holds_fuse(pid: u32) -> Option<bool> {
    let mut holds = None;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))
        .ok()?
        .flatten()
    {
        let Ok(open) = std::fs::read_dir(thread.path().join("fd")) else {
            continue;
        };
        let mut open = open.flatten().filter_map(|fd| fd.path().read_link().ok());
        let is_there = open.any(|file| file == Path::new("/dev/fuse"));
        holds = Some(is_there || holds == Some(true));
    }
    holds
}

/// Ends the mount's connection: whoever waits for an answer on it is told that none will come.
fn abort(daemon: &Running, sight: Sight) -> io::Result<()> {
    let forced = match sight {
        Sight::Mount => sys::force(&daemon.mountpoint),
        Sight::Number | Sight::Nothing => Err(io::ErrorKind::NotFound.into()),
    };
    // Who may not force a mount may end a connection of their own, and also one whose mount is out of sight.
    match (forced, daemon.connection) {
        (Err(_), Some(number)) if sight != Sight::Nothing => {
            std::fs::write(format!("/sys/fs/fuse/connections/{number}/abort"), "1")
        }
        (forced, _) => forced,
    }
}

/// Is the mount at this daemon's place its own still?
fn has_mount(daemon: &Running) -> bool {
    let there = mounts::connection(&daemon.mountpoint);
    mounts::is_ours(&daemon.mountpoint)
        && (daemon.connection.is_none() || daemon.connection == there)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_ends_is_told_from_one_that_stands_still() {
        let status = |state: &str, pending: u64| {
            format!("Name:\tods-mount\nState:\t{state}\nPid:\t7\nSigPnd:\t{pending:016x}\n")
        };
        assert!(ends(&status("Z (zombie)", 0)));
        assert!(ends(&status("D (disk sleep)", 0x100)));
        assert!(!ends(&status("T (stopped)", 0)));
        assert!(!ends(&status("S (sleeping)", 0xff)));
        assert!(!ends("") && !is_ending(std::process::id()));
    }

    #[test]
    fn what_has_ended_is_not_stuck() {
        let mut child = std::process::Command::new("true")
            .spawn()
            .expect("a process");
        // Not waited for yet, so it is a zombie when it has ended.
        assert!(sys::await_end(child.id(), END_MAX));
        assert!(!is_stuck(child.id()));
        child.wait().expect("it ended");
        assert!(!sys::await_end(std::process::id(), Duration::ZERO));
    }

    #[test]
    fn a_number_is_only_the_daemons_own_while_it_has_the_device_open() {
        let judge = Sight::judge;
        for holds in [Some(true), None] {
            assert_eq!(judge(true, true, holds), Sight::Mount);
            assert_eq!(judge(false, true, holds), Sight::Nothing);
        }
        assert_eq!(judge(false, false, Some(true)), Sight::Number);
        assert_eq!(judge(false, false, None), Sight::Nothing);
        // Whatever has the number, and the place, now.
        assert_eq!(judge(true, true, Some(false)), Sight::Nothing);
        assert_eq!(judge(false, false, Some(false)), Sight::Nothing);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn who_has_the_device_open_is_seen() {
        let Ok(device) = std::fs::File::options().write(true).open("/dev/fuse") else {
            return;
        };
        let start = |out: std::process::Stdio| {
            let mut cat = std::process::Command::new("cat");
            let cat = cat.stdin(std::process::Stdio::piped()).stdout(out);
            cat.spawn().expect("a process")
        };
        let mut with = start(device.into());
        let mut without = start(std::process::Stdio::null());
        assert_eq!(holds_fuse(with.id()), Some(true));
        assert_eq!(holds_fuse(without.id()), Some(false));
        for child in [&mut with, &mut without] {
            drop(child.stdin.take());
            child.wait().expect("it ends");
            assert_eq!(holds_fuse(child.id()), None);
        }
    }
}
