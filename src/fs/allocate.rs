//! `fallocate`: room is promised by the drive as a whole, so allocating is a matter of length, and holes are free.
//!
//! `FALLOC_FL_COLLAPSE_RANGE` and `FALLOC_FL_INSERT_RANGE` never get here: the kernel refuses them
//! for every FUSE filesystem.

use crate::fs::Error;
use crate::fs::FILE_BYTES_MAX;
use crate::fs::Fs;
use crate::fs::Privileges;
use crate::fs::file::strip;
use crate::fs::regular;
use crate::id::InodeNo;

/// What to do with a range of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocate {
    /// Make the file at least that long.
    Extend,
    /// Promise room, whatever the length; nothing to do.
    Reserve,
    /// Make it a hole within the length.
    Punch,
    /// Make it read as zeros, and the file at least that long.
    Zero,
}

impl Fs {
    /// Changes how a range of a file is kept.
    ///
    /// # Errors
    /// [`Error::FileTooLarge`], [`Error::Invalid`] for an empty range.
    pub fn allocate(
        &self,
        ino: InodeNo,
        offset: u64,
        len: u64,
        how: Allocate,
        privileges: Privileges,
    ) -> Result<(), Error> {
        let end = offset.checked_add(len).ok_or(Error::FileTooLarge)?;
        if len == 0 {
            return Err(Error::Invalid);
        }
        if end > FILE_BYTES_MAX {
            return Err(Error::FileTooLarge);
        }
        self.change(|c| {
            let mut inode = regular(c, ino)?;
            if matches!(how, Allocate::Punch | Allocate::Zero) && offset < inode.size {
                let lost = c.stored_before(ino, offset, end)?;
                inode.stored = inode.stored.saturating_sub(lost);
                c.zero(ino, offset, end);
            }
            if matches!(how, Allocate::Extend | Allocate::Zero) {
                inode.size = inode.size.max(end);
            }
            inode.mtime = c.now();
            inode.ctime = c.now();
            strip(c, ino, &mut inode, privileges)?;
            c.put_inode(ino, &inode);
            Ok(())
        })
    }
}
