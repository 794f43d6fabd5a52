//! What an inode is: everything `stat` tells, and where its data belongs.

use crate::clock::Time;
use crate::id::ArchiveNo;
use crate::id::InodeNo;
use crate::index::record::Fields;
use crate::index::record::Malformed;

/// What kind of thing an inode is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A regular file.
    File = 1,
    /// A directory.
    Directory = 2,
    /// A symbolic link.
    Symlink = 3,
    /// A named pipe.
    Fifo = 4,
    /// A socket.
    Socket = 5,
    /// A character device.
    Char = 6,
    /// A block device.
    Block = 7,
}

impl Kind {
    /// The kind with this number.
    ///
    /// # Errors
    /// [`Malformed`] when there is none.
    pub fn from_u8(value: u8) -> Result<Kind, Malformed> {
        use Kind::{Block, Char, Directory, Fifo, File, Socket, Symlink};
        [File, Directory, Symlink, Fifo, Socket, Char, Block]
            .into_iter()
            .find(|kind| *kind as u8 == value)
            .ok_or(Malformed)
    }
}

/// An inode as it is kept: 89 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inode {
    /// What it is.
    pub kind: Kind,
    /// Permission bits, set-id bits and sticky bit: `0o7777` at most.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number of a device, as `mknod` was given it.
    pub rdev: u32,
    /// Number of names; for a directory 2 + number of subdirectories.
    pub nlink: u32,
    /// Bytes; for a directory the number of its entries, for a link the length of its target.
    pub size: u64,
    /// Bytes of a file that are not holes.
    pub stored: u64,
    /// Last read.
    pub atime: Time,
    /// Last change of content.
    pub mtime: Time,
    /// Last change of anything.
    pub ctime: Time,
    /// Birth.
    pub btime: Time,
    /// The archive its data goes to.
    pub archive: ArchiveNo,
    /// A directory's parent; for anything else, the directory it was made in.
    pub parent: InodeNo,
    /// How many attributes it has, so that most files answer "none" without a look.
    pub xattrs: u16,
}

impl Inode {
    /// The value under the inode's key.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(96);
        out.push(self.kind as u8);
        out.extend_from_slice(&self.mode.to_le_bytes());
        for field in [self.uid, self.gid, self.rdev, self.nlink, self.archive.0] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        for field in [self.size, self.stored, self.parent.0] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        for field in [self.atime, self.mtime, self.ctime, self.btime] {
            out.extend_from_slice(&field.0.to_le_bytes());
        }
        out.extend_from_slice(&self.xattrs.to_le_bytes());
        out
    }

    /// Reads the value under an inode's key.
    ///
    /// # Errors
    /// [`Malformed`] when it is not one.
    pub fn decode(value: &[u8]) -> Result<Inode, Malformed> {
        let mut fields = Fields(value);
        let kind = Kind::from_u8(fields.u8()?)?;
        let mode = fields.u16()?;
        let [uid, gid, rdev, nlink, archive] = [
            fields.u32()?,
            fields.u32()?,
            fields.u32()?,
            fields.u32()?,
            fields.u32()?,
        ];
        let [size, stored, parent] = [fields.u64()?, fields.u64()?, fields.u64()?];
        let [atime, mtime, ctime, btime] =
            [fields.i64()?, fields.i64()?, fields.i64()?, fields.i64()?].map(Time);
        let xattrs = fields.u16()?;
        fields.end()?;
        let (archive, parent) = (ArchiveNo(archive), InodeNo(parent));
        Ok(Inode {
            kind,
            mode,
            uid,
            gid,
            rdev,
            nlink,
            size,
            stored,
            atime,
            mtime,
            ctime,
            btime,
            archive,
            parent,
            xattrs,
        })
    }

    /// Is it a directory?
    #[must_use]
    pub fn is_dir(&self) -> bool {
        self.kind == Kind::Directory
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_as_it_was() {
        let inode = Inode {
            kind: Kind::Char,
            mode: 0o7755,
            uid: 1,
            gid: 2,
            rdev: 3,
            nlink: 4,
            size: 1 << 53,
            stored: 6,
            atime: Time(-1),
            mtime: Time(8),
            ctime: Time(9),
            btime: Time(i64::MAX),
            archive: ArchiveNo(11),
            parent: InodeNo(12),
            xattrs: 13,
        };
        assert_eq!(Inode::decode(&inode.encode()), Ok(inode.clone()));
        assert_eq!(Inode::decode(&inode.encode()[1..]), Err(Malformed));
    }
}
