//! Words of the kernel's protocol in words of the filesystem, and back.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use fuser::FileAttr;
use fuser::FileType;
use fuser::INodeNo;
use fuser::OpenAccMode;
use fuser::OpenFlags;
use fuser::RenameFlags;
use fuser::Request;
use fuser::TimeOrNow;

use crate::clock::Time;
use crate::fs::ACL_ACCESS;
use crate::fs::Allocate;
use crate::fs::Attr;
use crate::fs::Caller;
use crate::fs::Error;
use crate::fs::Name;
use crate::fs::Node;
use crate::fs::Opening;
use crate::fs::Rename;
use crate::fs::Seek;
use crate::fs::SetXattr;
use crate::fs::Stamp;
use crate::id::InodeNo;
use crate::index::inode::Inode;
use crate::index::inode::Kind;

/// Unit of `st_blocks`, bytes; fixed by POSIX.
const BLOCK: u64 = 512;

/// What the kernel is told about preferred sizes, bytes: its own page.
pub(in crate::fuse) const PREFERRED: u32 = 4096;

/// A [`Name`] that outlives its request.
pub(in crate::fuse) struct Place {
    parent: InodeNo,
    name: Vec<u8>,
}

impl Place {
    pub(in crate::fuse) fn new(parent: INodeNo, name: &OsStr) -> Place {
        Place {
            parent: InodeNo(parent.0),
            name: name.as_bytes().to_vec(),
        }
    }

    pub(in crate::fuse) fn name(&self) -> Name<'_> {
        Name {
            parent: self.parent,
            name: &self.name,
        }
    }
}

pub(in crate::fuse) fn ino(ino: INodeNo) -> InodeNo {
    InodeNo(ino.0)
}

pub(in crate::fuse) fn caller(request: &Request) -> Caller {
    Caller {
        uid: request.uid(),
        gid: request.gid(),
    }
}

/// The groups of whoever sets this attribute, besides the one that the request names; only the ACL needs them.
pub(in crate::fuse) fn groups_for(request: &Request, attribute: &[u8]) -> Vec<u32> {
    if attribute != ACL_ACCESS {
        return Vec::new();
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", request.pid()));
    groups_in(&status.unwrap_or_default())
}

fn groups_in(status: &str) -> Vec<u32> {
    let list = status.lines().find_map(|line| line.strip_prefix("Groups:"));
    let words = list.unwrap_or_default().split_whitespace();
    words.filter_map(|word| word.parse().ok()).collect()
}

pub(in crate::fuse) fn bits(mode: u32) -> u16 {
    u16::try_from(mode & 0o7777).unwrap_or(0)
}

/// What `mknod` and `create` are asked to make; the formats are the same numbers on all systems.
pub(in crate::fuse) fn node(mode: u32, umask: u32, rdev: u32) -> Result<Node, Error> {
    let kind = match mode & 0o170_000 {
        0 | 0o100_000 => Kind::File,
        0o010_000 => Kind::Fifo,
        0o140_000 => Kind::Socket,
        0o020_000 => Kind::Char,
        0o060_000 => Kind::Block,
        _ => return Err(Error::Invalid),
    };
    let (mode, umask) = (bits(mode), bits(umask));
    Ok(Node {
        kind,
        mode,
        umask,
        rdev,
    })
}

pub(in crate::fuse) fn directory(mode: u32, umask: u32) -> Node {
    Node {
        kind: Kind::Directory,
        mode: bits(mode),
        umask: bits(umask),
        rdev: 0,
    }
}

/// A list of names as `listxattr` has it: each ends with NUL.
pub(in crate::fuse) fn names(names: Vec<Vec<u8>>) -> Vec<u8> {
    names
        .into_iter()
        .flat_map(|name| name.into_iter().chain([0]))
        .collect()
}

pub(in crate::fuse) fn opening(flags: OpenFlags) -> Opening {
    Opening {
        write: flags.acc_mode() != OpenAccMode::O_RDONLY,
        map: flags.acc_mode() == OpenAccMode::O_RDWR,
        truncate: flags.0 & libc::O_TRUNC != 0,
        exclusive: flags.0 & libc::O_EXCL != 0,
    }
}

#[cfg(target_os = "linux")]
pub(in crate::fuse) fn rename(flags: RenameFlags, by: Caller) -> Result<Rename, Error> {
    const KEEP: RenameFlags = RenameFlags::RENAME_NOREPLACE;
    match flags {
        flags if flags.is_empty() => Ok(Rename::Replace),
        KEEP => Ok(Rename::NoReplace),
        RenameFlags::RENAME_EXCHANGE => Ok(Rename::Exchange),
        RenameFlags::RENAME_WHITEOUT => Ok(Rename::Whiteout(by)),
        flags if flags == KEEP | RenameFlags::RENAME_WHITEOUT => Ok(Rename::WhiteoutNoReplace(by)),
        _ => Err(Error::Invalid),
    }
}

#[cfg(not(target_os = "linux"))]
pub(in crate::fuse) fn rename(flags: RenameFlags, _: Caller) -> Result<Rename, Error> {
    if flags.is_empty() {
        Ok(Rename::Replace)
    } else {
        Err(Error::Invalid)
    }
}

#[cfg(target_os = "linux")]
pub(in crate::fuse) fn allocate(mode: i32) -> Result<Allocate, Error> {
    const PUNCH: i32 = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    const ZERO_WITHIN: i32 = libc::FALLOC_FL_ZERO_RANGE | libc::FALLOC_FL_KEEP_SIZE;
    match mode {
        0 => Ok(Allocate::Extend),
        libc::FALLOC_FL_KEEP_SIZE => Ok(Allocate::Reserve),
        PUNCH | ZERO_WITHIN => Ok(Allocate::Punch),
        libc::FALLOC_FL_ZERO_RANGE => Ok(Allocate::Zero),
        _ => Err(Error::Unsupported),
    }
}

#[cfg(not(target_os = "linux"))]
pub(in crate::fuse) fn allocate(_mode: i32) -> Result<Allocate, Error> {
    Ok(Allocate::Reserve)
}

pub(in crate::fuse) fn seek(whence: i32) -> Result<Seek, Error> {
    match whence {
        libc::SEEK_DATA => Ok(Seek::Data),
        libc::SEEK_HOLE => Ok(Seek::Hole),
        _ => Err(Error::Invalid),
    }
}

pub(in crate::fuse) fn set_xattr(flags: i32) -> Result<SetXattr, Error> {
    const BOTH: i32 = libc::XATTR_CREATE | libc::XATTR_REPLACE;
    match flags {
        0 => Ok(SetXattr::Any),
        libc::XATTR_CREATE => Ok(SetXattr::Create),
        libc::XATTR_REPLACE => Ok(SetXattr::Replace),
        BOTH => Ok(SetXattr::Neither),
        _ => Err(Error::Invalid),
    }
}

pub(in crate::fuse) fn stamp(time: TimeOrNow) -> Stamp {
    match time {
        TimeOrNow::Now => Stamp::Now,
        TimeOrNow::SpecificTime(time) => Stamp::At(from_system(time)),
    }
}

/// Reads a time that fuser read. Before 1970 it takes the nanoseconds, which count forwards in
/// every second, for counting backwards (fuser 0.18 `time.rs`): undone here.
pub(in crate::fuse) fn from_system(time: SystemTime) -> Time {
    let nanoseconds = match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i128::try_from(after.as_nanos()).unwrap_or(i128::MAX),
        Err(before) => {
            let before = before.duration();
            i128::from(before.subsec_nanos()) - i128::from(before.as_secs()) * 1_000_000_000
        }
    };
    let clamped = nanoseconds.clamp(i128::from(i64::MIN), i128::from(i64::MAX));
    Time(i64::try_from(clamped).unwrap_or(i64::MAX))
}

fn to_system(time: Time) -> SystemTime {
    let distance = Duration::from_nanos(time.0.unsigned_abs());
    if time.0 < 0 {
        UNIX_EPOCH - distance
    } else {
        UNIX_EPOCH + distance
    }
}

pub(in crate::fuse) fn kind(kind: Kind) -> FileType {
    match kind {
        Kind::File => FileType::RegularFile,
        Kind::Directory => FileType::Directory,
        Kind::Symlink => FileType::Symlink,
        Kind::Fifo => FileType::NamedPipe,
        Kind::Socket => FileType::Socket,
        Kind::Char => FileType::CharDevice,
        Kind::Block => FileType::BlockDevice,
    }
}

/// A file with a size never has no blocks: `tar` takes it for zeros then, unread, and a program may just have
/// filled it by way of a mapping.
fn blocks(inode: &Inode) -> u64 {
    let is_hole = inode.kind == Kind::File && inode.size > 0;
    inode.stored.div_ceil(BLOCK).max(u64::from(is_hole))
}

pub(in crate::fuse) fn attr(attr: &Attr) -> FileAttr {
    let inode = &attr.inode;
    FileAttr {
        ino: INodeNo(attr.ino.0),
        size: inode.size,
        blocks: blocks(inode),
        atime: to_system(inode.atime),
        mtime: to_system(inode.mtime),
        ctime: to_system(inode.ctime),
        crtime: to_system(inode.btime),
        kind: kind(inode.kind),
        perm: inode.mode,
        nlink: inode.nlink,
        uid: inode.uid,
        gid: inode.gid,
        rdev: inode.rdev,
        blksize: PREFERRED,
        flags: 0,
    }
}

/// The attributes of nothing: in a lookup they say that there is no such name, and that this may
/// be remembered; for `.` and `..` the kernel reads the kind alone.
pub(in crate::fuse) fn nothing(ino: INodeNo) -> FileAttr {
    FileAttr {
        ino,
        size: 0,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: FileType::Directory,
        perm: 0,
        nlink: 0,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: PREFERRED,
        flags: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What fuser 0.18 makes of the seconds and nanoseconds in a request.
    fn as_fuser_reads(seconds: i64, nanoseconds: u32) -> SystemTime {
        match u64::try_from(seconds) {
            Ok(after) => UNIX_EPOCH + Duration::new(after, nanoseconds),
            Err(_) => UNIX_EPOCH - Duration::new(seconds.unsigned_abs(), nanoseconds),
        }
    }

    #[test]
    fn groups_are_read() {
        let status = "Name:\tsetfacl\nGid:\t5\t5\t5\t5\nGroups:\t4 24 1000 \nNStgid:\t9\n";
        assert_eq!(groups_in(status), [4, 24, 1000]);
        assert!(groups_in("Groups:\t \n").is_empty() && groups_in("").is_empty());
    }

    #[test]
    fn times_before_1970_are_read_right() {
        assert_eq!(
            from_system(as_fuser_reads(-2, 800_000_000)),
            Time(-1_200_000_000)
        );
        assert_eq!(from_system(as_fuser_reads(-1, 0)), Time(-1_000_000_000));
        assert_eq!(from_system(as_fuser_reads(3, 7)), Time(3_000_000_007));
        assert_eq!(
            from_system(as_fuser_reads(i64::from(u32::MAX) << 8, 0)),
            Time(i64::MAX)
        );
        assert_eq!(
            to_system(Time(-1_200_000_000)),
            UNIX_EPOCH - Duration::from_millis(1200)
        );
    }
}
