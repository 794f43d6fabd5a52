//! `fallocate`: room is promised by the drive as a whole, so allocating is a matter of length, and holes are free.
//!
//! What is refused is what `statfs` says there is no room for: a range of which more is missing than is free. What
//! is promised takes nothing from that: the size it tells is a round number ([`crate::drive::status::Space`]), and the limit
//! of the spool is none on what a file holds, as writes go on when it has been uploaded.
//!
//! `FALLOC_FL_COLLAPSE_RANGE` and `FALLOC_FL_INSERT_RANGE` never get here: the kernel refuses them
//! for every FUSE filesystem.

use crate::drive;
use crate::fs::Error;
use crate::fs::FILE_BYTES_MAX;
use crate::fs::Fs;
use crate::fs::Privileges;
use crate::fs::file::strip;
use crate::fs::regular;
use crate::id::InodeNo;

/// Ranges up to this are not compared with what is free, which takes a look at every archive: the free space of
/// a drive that has less is nothing but a round number, bytes.
const UNCOUNTED_MAX: u64 = 1 << 40;

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
    /// [`Error::FileTooLarge`], [`Error::Invalid`] for an empty range, [`drive::Error::NoSpace`] for one that
    /// takes more than is free; then nothing is changed.
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
        let free = match how {
            Allocate::Punch => u64::MAX,
            _ if len <= UNCOUNTED_MAX => u64::MAX,
            Allocate::Extend | Allocate::Reserve | Allocate::Zero => self.space()?.free_bytes(),
        };
        self.change(|c| {
            let mut inode = regular(c, ino)?;
            if len > free && len - c.stored_before(ino, offset, end)? > free {
                return Err(Error::Drive(drive::Error::NoSpace));
            }
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
