//! The three system calls that the standard library has no name for: the spool's only unsafe code.
#![allow(unsafe_code)]

use std::{
    ffi::CString,
    fs::File,
    io,
    os::{
        fd::{AsRawFd, RawFd},
        unix::ffi::OsStrExt,
    },
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
    let (at, len) = (offset(position)?, offset(len)?);
    if punch_hole(file.as_raw_fd(), at, len) == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(target_os = "linux")]
fn punch_hole(file: RawFd, at: libc::off_t, len: libc::off_t) -> libc::c_int {
    let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    // SAFETY: plain integers and a descriptor that the caller keeps open; no memory is passed.
    unsafe { libc::fallocate(file, mode, at, len) }
}

/// APFS punches whole blocks only: those inside the range.
#[cfg(target_os = "macos")]
fn punch_hole(file: RawFd, at: libc::off_t, len: libc::off_t) -> libc::c_int {
    const BLOCK: libc::off_t = 4096;
    let start = (at + BLOCK - 1) / BLOCK * BLOCK;
    let end = (at + len) / BLOCK * BLOCK;
    if end <= start {
        return 0;
    }
    let hole = libc::fpunchhole_t {
        fp_flags: 0,
        reserved: 0,
        fp_offset: start,
        fp_length: end - start,
    };
    // SAFETY: the call reads the structure above, which outlives it; the caller keeps the descriptor open.
    unsafe { libc::fcntl(file, libc::F_PUNCHHOLE, &raw const hole) }
}

/// Bytes that an ordinary user may still write on the disk that holds `path`.
pub(super) fn free_bytes(path: &Path) -> io::Result<u64> {
    let (free, _) = space(path)?;
    Ok(free)
}

/// Bytes of the disk that holds `path`.
pub(super) fn disk_bytes(path: &Path) -> io::Result<u64> {
    let (_, all) = space(path)?;
    Ok(all)
}

/// Bytes that an ordinary user may still write, and all.
fn space(path: &Path) -> io::Result<(u64, u64)> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)?;
    // SAFETY: `statvfs` is plain old data, for which zeros are a value.
    let mut answer: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: `path` ends with a zero byte and `answer` may be written; both outlive the call.
    let done = unsafe { libc::statvfs(path.as_ptr(), &raw mut answer) };
    if done == 0 {
        #[allow(
            clippy::useless_conversion,
            reason = "these numbers are shorter on macOS"
        )]
        let bytes = |blocks| u64::from(blocks).saturating_mul(u64::from(answer.f_frsize));
        Ok((bytes(answer.f_bavail), bytes(answer.f_blocks)))
    } else {
        Err(io::Error::last_os_error())
    }
}

fn offset(value: u64) -> io::Result<libc::off_t> {
    libc::off_t::try_from(value).map_err(io::Error::other)
}
