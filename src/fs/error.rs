//! Why an operation on a file cannot be done; each variant is one errno on the kernel's face.

use crate::drive;

/// Why an operation cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is nothing of this name.
    #[error("no such file or directory")]
    NotFound,
    /// There is something of this name.
    #[error("file exists")]
    Exists,
    /// A directory is needed.
    #[error("not a directory")]
    NotADirectory,
    /// A directory will not do.
    #[error("is a directory")]
    IsADirectory,
    /// The directory has entries.
    #[error("directory not empty")]
    NotEmpty,
    /// The name is over [`crate::fs::NAME_BYTES_MAX`], or the target over [`crate::fs::TARGET_BYTES_MAX`].
    #[error("name too long")]
    NameTooLong,
    /// The request makes no sense.
    #[error("invalid argument")]
    Invalid,
    /// Nobody may do this, whatever their permissions.
    #[error("operation not permitted")]
    NotPermitted,
    /// The inode has as many names as it can.
    #[error("too many links")]
    TooManyLinks,
    /// The file would be over [`crate::fs::FILE_BYTES_MAX`].
    #[error("file too large")]
    FileTooLarge,
    /// The inode has no attribute of this name.
    #[error("no such attribute")]
    NoAttribute,
    /// The attribute's value is over [`crate::fs::XATTR_BYTES_MAX`].
    #[error("attribute too long")]
    AttributeTooLong,
    /// The inode's attribute names are over [`crate::fs::XATTR_LIST_BYTES_MAX`] together, or there is more in its
    /// attributes than could be removed at once.
    #[error("no room for more attributes")]
    AttributesFull,
    /// The attribute's name is empty or too long.
    #[error("attribute name out of range")]
    OutOfRange,
    /// There is nothing at or after this offset.
    #[error("no such offset")]
    NoSuchOffset,
    /// The inode existed once.
    #[error("stale file handle")]
    Stale,
    /// The handle is not open.
    #[error("bad file handle")]
    BadHandle,
    /// This filesystem does not do that.
    #[error("operation not supported")]
    Unsupported,
    /// The mount is read-only.
    #[error("read-only file system")]
    ReadOnly,
    /// The drive could not do it.
    #[error("the drive failed")]
    Drive(#[from] drive::Error),
}
