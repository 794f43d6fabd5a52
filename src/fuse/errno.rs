//! The one table from errors to errno: total, so that a new error cannot get here unseen.

use fuser::Errno;

use crate::drive;
use crate::fs::Error;

/// What the kernel is told.
pub(in crate::fuse) fn of(error: &Error) -> Errno {
    match error {
        Error::NotFound => Errno::ENOENT,
        Error::Exists => Errno::EEXIST,
        Error::NotADirectory => Errno::ENOTDIR,
        Error::IsADirectory => Errno::EISDIR,
        Error::NotEmpty => Errno::ENOTEMPTY,
        Error::NameTooLong => Errno::ENAMETOOLONG,
        Error::Invalid => Errno::EINVAL,
        Error::NotPermitted => Errno::EPERM,
        Error::TooManyLinks => Errno::EMLINK,
        Error::FileTooLarge => Errno::EFBIG,
        Error::NoAttribute => Errno::NO_XATTR,
        Error::AttributeTooLong => Errno::E2BIG,
        Error::AttributesFull => Errno::ENOSPC,
        Error::OutOfRange => Errno::ERANGE,
        Error::NoSuchOffset => Errno::ENXIO,
        Error::Stale => Errno::ESTALE,
        Error::BadHandle => Errno::EBADF,
        Error::Unsupported => Errno::EOPNOTSUPP,
        Error::ReadOnly => Errno::EROFS,
        Error::Drive(error) => of_drive(error),
    }
}

fn of_drive(error: &drive::Error) -> Errno {
    match error {
        drive::Error::NoSpace => Errno::ENOSPC,
        // Programs make the same call again, and can be interrupted in between.
        drive::Error::Busy => Errno::EINTR,
        drive::Error::ReadOnly(_)
        | drive::Error::Leased { .. }
        | drive::Error::TakenOver(_)
        | drive::Error::Forked(_) => Errno::EROFS,
        drive::Error::Disk(_)
        | drive::Error::Damaged(_)
        | drive::Error::Malformed
        | drive::Error::Timeout(_)
        | drive::Error::Store(_)
        | drive::Error::State(_)
        | drive::Error::Newer(_)
        | drive::Error::TooManyChanges
        | drive::Error::Closing
        | drive::Error::Interrupted
        | drive::Error::NotFound(_) => Errno::EIO,
    }
}
