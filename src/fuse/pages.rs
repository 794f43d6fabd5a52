//! Holes of files that somebody may have filled by way of a mapping: the kernel tells of those pages late.

use std::sync::OnceLock;

use fuser::INodeNo;
use fuser::Notifier;

use crate::fs::Error;
use crate::fs::Fs;
use crate::fs::Seek;
use crate::id::InodeNo;

/// Looks for a hole that nobody has filled meanwhile, before the rest of the file counts as data.
const LOOKS_MAX: usize = 16;

/// The kernel's pages of this mount.
#[derive(Default)]
pub(in crate::fuse) struct Pages {
    notifier: OnceLock<Notifier>,
}

impl Pages {
    /// Says how to reach the kernel; once, before it asks for anything.
    pub(in crate::fuse) fn reach(&self, notifier: Notifier) {
        let _ = self.notifier.set(notifier);
    }

    /// The first offset at or after `offset` where a file has data, or a hole. The kernel asks without
    /// writing its changed pages first; where somebody may have some, it has to write those of a hole before
    /// the hole counts. That takes its requests and answers, so it must not happen on its last thread.
    ///
    /// # Errors
    /// As [`Fs::seek`].
    pub(in crate::fuse) fn seek(
        &self,
        fs: &Fs,
        ino: InodeNo,
        offset: u64,
        what: Seek,
    ) -> Result<u64, Error> {
        if !fs.is_open_for_writing(ino) {
            return fs.seek(ino, offset, what);
        }
        match what {
            Seek::Data => {
                self.write_hole(fs, ino, offset)?;
                fs.seek(ino, offset, Seek::Data)
            }
            Seek::Hole => self.seek_hole(fs, ino, offset),
        }
    }

    fn seek_hole(&self, fs: &Fs, ino: InodeNo, offset: u64) -> Result<u64, Error> {
        let mut found = fs.seek(ino, offset, Seek::Hole)?;
        for _ in 0..LOOKS_MAX {
            self.write_hole(fs, ino, found)?;
            let again = fs.seek(ino, found, Seek::Hole);
            match again {
                Ok(hole) if hole > found => found = hole,
                // The end of the file counts as a hole, but nothing is found from there on.
                Ok(_) | Err(Error::NoSuchOffset) => return Ok(found),
                Err(error) => return Err(error),
            }
        }
        Ok(fs.getattr(ino)?.inode.size)
    }

    /// Has the kernel write what it has of the hole that begins at `start`, if one does.
    fn write_hole(&self, fs: &Fs, ino: InodeNo, start: u64) -> Result<(), Error> {
        let len = match fs.seek(ino, start, Seek::Data) {
            Ok(end) if end == start => return Ok(()),
            Ok(end) => end - start,
            Err(Error::NoSuchOffset) => 0,
            Err(error) => return Err(error),
        };
        let [start, len] = [start, len].map(|number| i64::try_from(number).unwrap_or(i64::MAX));
        // Dropping pages writes what changed in them first. A length of 0 reaches to the end.
        if let Some(notifier) = self.notifier.get()
            && let Err(error) = notifier.inval_inode(INodeNo(ino.0), start, len)
        {
            log::debug!("the kernel keeps its pages of inode {ino}: {error}");
        }
        Ok(())
    }
}
