//! System calls that answer with an errno.
#![allow(
    unsafe_code,
    clippy::undocumented_unsafe_blocks,
    reason = "system calls by hand: strings end with NUL and, like buffers, outlive the call"
)]

use std::ffi::CString;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::fd::FromRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::PoisonError;
use std::sync::RwLock;

/// A forked process holds every file of its parent, locks included, until it ends; whoever waits
/// for a lock to go keeps forks away by this one.
pub static FORKS: RwLock<()> = RwLock::new(());

/// What a system call answers.
pub type Answer<T> = Result<T, i32>;

pub fn c(path: impl AsRef<OsStr>) -> CString {
    CString::new(path.as_ref().as_bytes()).expect("no NUL inside")
}

fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

fn check(result: impl Into<i64>) -> Answer<i64> {
    let result = result.into();
    if result < 0 { Err(errno()) } else { Ok(result) }
}

/// The errno of a failed operation of the standard library.
pub fn code<T>(result: std::io::Result<T>) -> Answer<T> {
    result.map_err(|error| error.raw_os_error().unwrap_or(-1))
}

/// New files get the mode that was asked for.
pub fn no_umask() {
    unsafe { libc::umask(0) };
}

/// Ends a process at once.
pub fn kill(pid: i32) -> Answer<i64> {
    check(unsafe { libc::kill(pid, libc::SIGKILL) })
}

pub fn signal(pid: i32, signal: i32) -> Answer<i64> {
    check(unsafe { libc::kill(pid, signal) })
}

pub fn detach(path: &Path) -> Answer<i64> {
    check(unsafe { libc::umount2(c(path).as_ptr(), libc::MNT_DETACH) })
}

pub fn open(path: impl AsRef<OsStr>, flags: i32, mode: u32) -> Answer<File> {
    let fd = check(unsafe { libc::open(c(path).as_ptr(), flags | libc::O_CLOEXEC, mode) })?;
    Ok(unsafe { File::from_raw_fd(fd as i32) })
}

pub fn mknod(path: impl AsRef<OsStr>, mode: u32, device: u64) -> Answer<i64> {
    check(unsafe { libc::mknod(c(path).as_ptr(), mode, device) })
}

pub fn mkdir(path: impl AsRef<OsStr>, mode: u32) -> Answer<i64> {
    check(unsafe { libc::mkdir(c(path).as_ptr(), mode) })
}

pub fn unlink(path: impl AsRef<OsStr>) -> Answer<i64> {
    check(unsafe { libc::unlink(c(path).as_ptr()) })
}

pub fn rename2(from: impl AsRef<OsStr>, to: impl AsRef<OsStr>, flags: u32) -> Answer<i64> {
    let (from, to) = (c(from), c(to));
    check(unsafe {
        libc::renameat2(
            libc::AT_FDCWD,
            from.as_ptr(),
            libc::AT_FDCWD,
            to.as_ptr(),
            flags,
        )
    })
}

pub fn chmod(path: impl AsRef<OsStr>, mode: u32) -> Answer<i64> {
    check(unsafe { libc::chmod(c(path).as_ptr(), mode) })
}

pub fn chmod_open(file: &File, mode: u32) -> Answer<i64> {
    check(unsafe { libc::fchmod(file.as_raw_fd(), mode) })
}

/// Gives an open file one more name.
pub fn link_open(file: &File, path: impl AsRef<OsStr>) -> Answer<i64> {
    let (from, to) = (c(format!("/proc/self/fd/{}", file.as_raw_fd())), c(path));
    let (here, follow) = (libc::AT_FDCWD, libc::AT_SYMLINK_FOLLOW);
    check(unsafe { libc::linkat(here, from.as_ptr(), here, to.as_ptr(), follow) })
}

pub fn chown(path: impl AsRef<OsStr>, uid: u32, gid: u32) -> Answer<i64> {
    check(unsafe { libc::lchown(c(path).as_ptr(), uid, gid) })
}

pub fn truncate(path: impl AsRef<OsStr>, len: i64) -> Answer<i64> {
    check(unsafe { libc::truncate(c(path).as_ptr(), len) })
}

/// `utimensat`; each time is seconds and nanoseconds.
pub fn utimens(path: impl AsRef<OsStr>, times: [(i64, i64); 2], flags: i32) -> Answer<i64> {
    let times = times.map(|(tv_sec, tv_nsec)| libc::timespec { tv_sec, tv_nsec });
    check(unsafe { libc::utimensat(libc::AT_FDCWD, c(path).as_ptr(), times.as_ptr(), flags) })
}

pub fn set_xattr(path: impl AsRef<OsStr>, name: &str, value: &[u8], flags: i32) -> Answer<i64> {
    let (path, name) = (c(path), c(name));
    check(unsafe {
        libc::lsetxattr(
            path.as_ptr(),
            name.as_ptr(),
            value.as_ptr().cast(),
            value.len(),
            flags,
        )
    })
}

pub fn get_xattr(path: impl AsRef<OsStr>, name: &str) -> Answer<Vec<u8>> {
    let mut value = vec![0; 70_000];
    let len = get_xattr_into(path, name, &mut value)?;
    value.truncate(len as usize);
    Ok(value)
}

pub fn get_xattr_into(path: impl AsRef<OsStr>, name: &str, value: &mut [u8]) -> Answer<i64> {
    let (path, name) = (c(path), c(name));
    let len = unsafe {
        libc::lgetxattr(
            path.as_ptr(),
            name.as_ptr(),
            value.as_mut_ptr().cast(),
            value.len(),
        )
    };
    check(len as i64)
}

pub fn list_xattr(path: impl AsRef<OsStr>) -> Answer<Vec<String>> {
    let mut list = vec![0_u8; 70_000];
    let path = c(path);
    let len = unsafe { libc::llistxattr(path.as_ptr(), list.as_mut_ptr().cast(), list.len()) };
    list.truncate(check(len as i64)? as usize);
    let names = list
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty());
    Ok(names
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect())
}

pub fn remove_xattr(path: impl AsRef<OsStr>, name: &str) -> Answer<i64> {
    let (path, name) = (c(path), c(name));
    check(unsafe { libc::lremovexattr(path.as_ptr(), name.as_ptr()) })
}

pub fn fallocate(file: &File, mode: i32, offset: u64, len: u64) -> Answer<i64> {
    check(unsafe { libc::fallocate(file.as_raw_fd(), mode, offset as i64, len as i64) })
}

pub fn seek(file: &File, offset: u64, whence: i32) -> Answer<i64> {
    check(unsafe { libc::lseek(file.as_raw_fd(), offset as i64, whence) })
}

pub fn copy_range(from: &File, mut at: i64, to: &File, mut to_at: i64, len: usize) -> Answer<i64> {
    let done = unsafe {
        libc::copy_file_range(
            from.as_raw_fd(),
            &mut at,
            to.as_raw_fd(),
            &mut to_at,
            len,
            0,
        )
    };
    check(done as i64)
}

/// Takes the pages of a file from the kernel, as far as they are clean.
pub fn forget_pages(file: &File) -> Answer<()> {
    advise(file, libc::POSIX_FADV_DONTNEED)
}

/// Has the kernel read a file in the background.
pub fn want_pages(file: &File) -> Answer<()> {
    advise(file, libc::POSIX_FADV_WILLNEED)
}

fn advise(file: &File, advice: i32) -> Answer<()> {
    match unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, advice) } {
        0 => Ok(()),
        errno => Err(errno),
    }
}

pub fn flock(file: &File, operation: i32) -> Answer<i64> {
    check(unsafe { libc::flock(file.as_raw_fd(), operation) })
}

/// `fcntl(F_SETLK)` on bytes `start..start + len`.
pub fn lock(file: &File, kind: i32, start: i64, len: i64) -> Answer<i64> {
    lock_by(file, libc::F_SETLK, kind, start, len)
}

/// The same for the open file instead of the process.
pub fn lock_handle(file: &File, kind: i32, start: i64, len: i64) -> Answer<i64> {
    lock_by(file, libc::F_OFD_SETLK, kind, start, len)
}

fn lock_by(file: &File, command: i32, kind: i32, start: i64, len: i64) -> Answer<i64> {
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    (lock.l_type, lock.l_whence) = (kind as i16, libc::SEEK_SET as i16);
    (lock.l_start, lock.l_len) = (start, len);
    check(unsafe { libc::fcntl(file.as_raw_fd(), command, &lock) })
}

pub fn statvfs(path: impl AsRef<OsStr>) -> Answer<libc::statvfs> {
    let mut found: libc::statvfs = unsafe { std::mem::zeroed() };
    check(unsafe { libc::statvfs(c(path).as_ptr(), &mut found) })?;
    Ok(found)
}

/// Does something as somebody else, in a process of its own; its answer is an errno or 0.
/// Between fork and exit only what POSIX allows there: no allocation in `f`, please.
pub fn as_user(uid: u32, gid: u32, f: impl FnOnce() -> Answer<i64>) -> Answer<()> {
    as_member(uid, gid, &[], f)
}

/// The same as somebody who is in these groups besides.
pub fn as_member(
    uid: u32,
    gid: u32,
    groups: &[u32],
    f: impl FnOnce() -> Answer<i64>,
) -> Answer<()> {
    apart(|| {
        let became = unsafe {
            libc::setgroups(groups.len(), groups.as_ptr()) == 0
                && libc::setgid(gid) == 0
                && libc::setuid(uid) == 0
        };
        if became { f() } else { Err(255) }
    })
}

/// Does something as somebody else who is in these groups besides, in a thread of its own: what it opens stays
/// open in this process.
pub fn in_thread_as<T: Send>(
    uid: u32,
    gid: u32,
    groups: &[u32],
    f: impl FnOnce() -> T + Send,
) -> T {
    // The library's functions would change all threads; the kernel knows of each alone.
    let become_it = || unsafe {
        libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) == 0
            && libc::syscall(libc::SYS_setresgid, gid, gid, gid) == 0
            && libc::syscall(libc::SYS_setresuid, uid, uid, uid) == 0
    };
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            assert!(become_it(), "only root can be somebody else");
            f()
        });
        thread.join().expect("the thread ends")
    })
}

/// May the caller do this with a file?
pub fn access(path: impl AsRef<OsStr>, how: i32) -> Answer<i64> {
    check(unsafe { libc::faccessat(libc::AT_FDCWD, c(path).as_ptr(), how, libc::AT_EACCESS) })
}

/// The same as oneself. What touches mapped pages of a mount that this very process serves belongs here: the
/// kernel holds the lock on the process's memory while it waits for a page, and who serves it may need that lock.
pub fn apart(f: impl FnOnce() -> Answer<i64>) -> Answer<()> {
    let _forked = FORKS.read().unwrap_or_else(PoisonError::into_inner);
    let child = unsafe { libc::fork() };
    if child == 0 {
        let answer = f();
        unsafe { libc::_exit(answer.err().unwrap_or(0)) }
    }
    check(child)?;
    let mut status = 0;
    check(unsafe { libc::waitpid(child, &mut status, 0) })?;
    match libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status)) {
        Some(0) => Ok(()),
        Some(errno) => Err(errno),
        None => Err(-1),
    }
}

/// A shared, writable mapping of the first `len` bytes of a file.
pub struct Map {
    start: *mut u8,
    len: usize,
}

impl Map {
    pub fn new(file: &File, len: usize) -> Map {
        Map::try_new(file, len).expect("mmap")
    }

    pub fn try_new(file: &File, len: usize) -> Answer<Map> {
        Map::with(file, len, libc::PROT_READ | libc::PROT_WRITE)
    }

    /// One that is only read from.
    pub fn try_reading(file: &File, len: usize) -> Answer<Map> {
        Map::with(file, len, libc::PROT_READ)
    }

    fn with(file: &File, len: usize, protection: i32) -> Answer<Map> {
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                protection,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(errno());
        }
        Ok(Map {
            start: start.cast(),
            len,
        })
    }

    pub fn bytes(&mut self) -> &mut [u8] {
        unsafe { std::slice::from_raw_parts_mut(self.start, self.len) }
    }

    /// Puts bytes into the mapping by way of the kernel, which answers EFAULT where a store would be
    /// a SIGBUS: the file's filesystem may end at any moment.
    pub fn fill(&mut self, at: usize, bytes: &[u8]) -> Answer<()> {
        use std::io::Write;
        assert!(at + bytes.len() <= self.len, "within the mapping");
        let (reader, mut writer) = code(std::io::pipe())?;
        for (nth, part) in bytes.chunks(4096).enumerate() {
            code(writer.write_all(part))?;
            let to = unsafe { self.start.add(at + nth * 4096) };
            let done =
                check(unsafe { libc::read(reader.as_raw_fd(), to.cast(), part.len()) as i64 })?;
            assert_eq!(done, part.len() as i64, "a pipe gives what was put in");
        }
        Ok(())
    }

    pub fn sync(&self) -> Answer<i64> {
        check(unsafe { libc::msync(self.start.cast(), self.len, libc::MS_SYNC) })
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        unsafe { libc::munmap(self.start.cast(), self.len) };
    }
}

/// A buffer that `O_DIRECT` accepts.
pub fn aligned(len: usize) -> (Vec<u8>, usize) {
    let buffer = vec![0; len + 4096];
    let skip = buffer.as_ptr().align_offset(4096);
    (buffer, skip)
}
