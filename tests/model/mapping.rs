//! A shared mapping that a process of its own keeps while other things happen to its file.
//!
//! Not this process: it serves the mount, and who waits for a page holds the lock on the memory that serving may
//! need. The process is forked, so it does nothing but system calls.
#![allow(
    unsafe_code,
    clippy::undocumented_unsafe_blocks,
    reason = "system calls by hand, in a process of its own"
)]

use std::fs::File;
use std::io::PipeReader;
use std::io::PipeWriter;
use std::io::Read;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::fd::RawFd;
use std::sync::PoisonError;

use crate::support::sys::Answer;
use crate::support::sys::FORKS;
use crate::support::sys::code;

/// Most bytes that are stored or loaded at once: a pipe holds them.
pub(crate) const STEP_BYTES_MAX: usize = 32 << 10;

const STORE: u8 = 0;
const LOAD: u8 = 1;
const SYNC: u8 = 2;

/// What the process is asked for: what, where, how much.
const ASK_BYTES: usize = 17;

pub(crate) struct Mapping {
    file: File,
    len: u64,
    process: i32,
    asks: Option<PipeWriter>,
    answers: PipeReader,
    is_dirty: bool,
}

impl Mapping {
    /// Maps a file as it is now, for reading and writing.
    pub(crate) fn of(file: &File) -> Answer<Mapping> {
        let meta = code(file.metadata())?;
        if !meta.is_file() || meta.len() == 0 {
            return Err(libc::EINVAL);
        }
        let len = meta.len().min(1 << 20);
        let (asked, asks) = code(std::io::pipe())?;
        let (mut answers, answered) = code(std::io::pipe())?;
        let fds = [asked.as_raw_fd(), answered.as_raw_fd(), file.as_raw_fd()];
        let process = {
            let _forked = FORKS.read().unwrap_or_else(PoisonError::into_inner);
            unsafe { libc::fork() }
        };
        if process == 0 {
            serve(fds, len as usize);
        }
        drop((asked, answered));
        let begun = answer(&mut answers);
        let mapping = Mapping {
            file: code(file.try_clone())?,
            len,
            process,
            asks: Some(asks),
            answers,
            is_dirty: false,
        };
        begun.map(|()| mapping)
    }

    /// Has something been stored that may not be in the file yet?
    pub(crate) fn is_dirty(&self) -> bool {
        self.is_dirty
    }

    /// Stores bytes, as far as mapping and file go.
    pub(crate) fn store(&mut self, at: u64, bytes: &[u8]) -> Answer<()> {
        let len = self.within(at, bytes.len())?;
        self.is_dirty = true;
        self.ask(STORE, at, len, &bytes[..len])
    }

    /// What it shows, as far as mapping and file go.
    pub(crate) fn load(&mut self, at: u64, len: usize) -> Answer<Vec<u8>> {
        let len = self.within(at, len)?;
        self.ask(LOAD, at, len, &[])?;
        let mut bytes = vec![0; len];
        code(self.answers.read_exact(&mut bytes)).map(|()| bytes)
    }

    /// Waits until what was stored is in the file.
    pub(crate) fn sync(&mut self) -> Answer<()> {
        self.is_dirty = false;
        self.ask(SYNC, 0, 0, &[])
    }

    /// A page that the file does not reach would be a SIGBUS, in both worlds.
    fn within(&self, at: u64, len: usize) -> Answer<usize> {
        let end = self.len.min(code(self.file.metadata())?.len());
        let left = usize::try_from(end.saturating_sub(at)).unwrap_or(0);
        match left.min(len).min(STEP_BYTES_MAX) {
            0 => Err(libc::EINVAL),
            len => Ok(len),
        }
    }

    fn ask(&mut self, what: u8, at: u64, len: usize, bytes: &[u8]) -> Answer<()> {
        let mut ask = vec![what];
        ask.extend_from_slice(&at.to_le_bytes());
        ask.extend_from_slice(&(len as u64).to_le_bytes());
        ask.extend_from_slice(bytes);
        let asks = self.asks.as_mut().expect("until it is dropped");
        code(asks.write_all(&ask))?;
        answer(&mut self.answers)
    }
}

impl Drop for Mapping {
    /// Unmapping writes what was stored.
    fn drop(&mut self) {
        self.asks = None;
        unsafe { libc::waitpid(self.process, std::ptr::null_mut(), 0) };
    }
}

fn answer(from: &mut PipeReader) -> Answer<()> {
    let mut errno = [0; 4];
    match from
        .read_exact(&mut errno)
        .map(|()| i32::from_le_bytes(errno))
    {
        Ok(0) => Ok(()),
        Ok(errno) => Err(errno),
        // It has ended.
        Err(_) => Err(-1),
    }
}

/// The process: does what it is asked for until nobody can ask any more.
fn serve([asks, answers, file]: [RawFd; 3], len: usize) -> ! {
    const PROTECTION: i32 = libc::PROT_READ | libc::PROT_WRITE;
    unsafe {
        let map = libc::mmap(
            std::ptr::null_mut(),
            len,
            PROTECTION,
            libc::MAP_SHARED,
            file,
            0,
        );
        let is_mapped = map != libc::MAP_FAILED;
        let errno = if is_mapped {
            0
        } else {
            *libc::__errno_location()
        };
        libc::dup2(asks, 0);
        libc::dup2(answers, 1);
        // Whatever else the parent had open is not ours.
        libc::syscall(libc::SYS_close_range, 2, u32::MAX, 0);
        tell(errno);
        while is_mapped && step(map.cast(), len) {}
        libc::_exit(0)
    }
}

unsafe fn step(map: *mut u8, len: usize) -> bool {
    let mut ask = [0_u8; ASK_BYTES];
    unsafe {
        if !take(ask.as_mut_ptr(), ASK_BYTES) {
            return false;
        }
        let number = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&ask[at..at + 8]);
            u64::from_le_bytes(bytes) as usize
        };
        let (at, count) = (number(1), number(9));
        match ask[0] {
            STORE => {
                let is_stored = take(map.add(at), count);
                tell(if is_stored { 0 } else { libc::EIO });
            }
            LOAD => {
                tell(0);
                libc::write(1, map.add(at).cast(), count);
            }
            _ => {
                let done = libc::msync(map.cast(), len, libc::MS_SYNC);
                tell(if done == 0 {
                    0
                } else {
                    *libc::__errno_location()
                });
            }
        }
    }
    true
}

/// Takes so many bytes from who asks.
unsafe fn take(to: *mut u8, len: usize) -> bool {
    let mut done = 0;
    while done < len {
        let got = unsafe { libc::read(0, to.add(done).cast(), len - done) };
        if got <= 0 {
            return false;
        }
        done += got as usize;
    }
    true
}

unsafe fn tell(errno: i32) {
    unsafe { libc::write(1, errno.to_le_bytes().as_ptr().cast(), 4) };
}
