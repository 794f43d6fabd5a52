//! Small disks, few handles, and how much memory a process took.
#![allow(
    dead_code,
    unsafe_code,
    clippy::undocumented_unsafe_blocks,
    reason = "each suite uses a part of it; system calls by hand"
)]

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

pub(crate) const KIB: usize = 1 << 10;
pub(crate) const MIB: usize = 1 << 20;

/// Bytes that do not compress, the same for the same seed.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

/// A disk of a size of our own, in memory; it goes when this does.
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    pub(crate) fn of(path: &Path, bytes: usize) -> SmallDisk {
        std::fs::create_dir_all(path).expect("a directory");
        mount(path, &format!("mode=0700,size={bytes}"));
        SmallDisk(path.to_owned())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn grow(&self, bytes: usize) {
        mount(&self.0, &format!("remount,size={bytes}"));
    }
}

fn mount(path: &Path, options: &str) {
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", options, "none"]).arg(path);
    let done = mount.output().expect("mount is there");
    assert!(
        done.status.success(),
        "as root, tmpfs can be mounted: {done:?}"
    );
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).output());
    }
}

/// The most memory that a process has had, in KiB.
pub(crate) fn peak_kib(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("readable");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number
        .and_then(|number| number.parse().ok())
        .expect("a number")
}

/// From here on [`peak_kib`] counts anew.
pub(crate) fn forget_peak(pid: i32) {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("as root");
}

/// The most memory that any process this one waited for has had, in KiB.
pub(crate) fn children_peak_kib() -> u64 {
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage) };
    u64::try_from(usage.ru_maxrss).expect("a size")
}

/// Lets this process open as many files as the system allows it; tells how many.
pub(crate) fn raise_files_max() -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
    }
    limit.rlim_cur
}
