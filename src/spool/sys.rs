//! The three system calls that the standard library has no name for: the spool's only unsafe code.
#![allow(unsafe_code)]

use std::{
    ffi::CString,
    fs::File,
    io,
    os::{fd::AsRawFd, unix::ffi::OsStrExt},
    path::Path,
};

/// Writes the parts, one after another, at `position`: one system call. Returns how much was written.
pub(super) fn write_parts_at(file: &File, position: u64, parts: &[&[u8]]) -> io::Result<usize> {
    let vector: Vec<libc::iovec> = parts
        .iter()
        .map(|part| libc::iovec {
            iov_base: part.as_ptr().cast_mut().cast(),
            iov_len: part.len(),
        })
        .collect();
    let count = libc::c_int::try_from(vector.len()).map_err(io::Error::other)?;
    // SAFETY: `vector` holds `count` entries, each of which describes memory that `parts` borrows for the
    // whole call; the kernel only reads from it.
    let written =
        unsafe { libc::pwritev(file.as_raw_fd(), vector.as_ptr(), count, offset(position)?) };
    usize::try_from(written).map_err(|_| io::Error::last_os_error())
}

/// Gives the disk space of a range back; it then reads as zeros, and the file keeps its size.
pub(super) fn punch(file: &File, position: u64, len: u64) -> io::Result<()> {
    let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    // SAFETY: plain integers and a descriptor that `file` keeps open; no memory is passed.
    let done = unsafe { libc::fallocate(file.as_raw_fd(), mode, offset(position)?, offset(len)?) };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Bytes that an ordinary user may still write on the disk that holds `path`.
pub(super) fn free_bytes(path: &Path) -> io::Result<u64> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)?;
    // SAFETY: `statvfs` is plain old data, for which zeros are a value.
    let mut answer: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: `path` ends with a zero byte and `answer` may be written; both outlive the call.
    let done = unsafe { libc::statvfs(path.as_ptr(), &raw mut answer) };
    if done == 0 {
        Ok(answer.f_bavail.saturating_mul(answer.f_frsize))
    } else {
        Err(io::Error::last_os_error())
    }
}

fn offset(value: u64) -> io::Result<libc::off_t> {
    libc::off_t::try_from(value).map_err(io::Error::other)
}
