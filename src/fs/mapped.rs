//! Mappings: the kernel has what programs change through them, and hands it over late.

use std::collections::BTreeMap;

use crate::drive::Waiter;
use crate::fs::Error;
use crate::fs::Fs;
use crate::fs::Privileges;
use crate::fs::file::cover;
use crate::fs::regular;
use crate::id::InodeNo;

impl Fs {
    /// The files that programs may have changed through mappings without the kernel having told of it, each with one
    /// of its paths from the top directory on. What has no name is not among them: nobody finds it again.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn mapped(&self) -> Result<BTreeMap<InodeNo, Vec<u8>>, Error> {
        Ok(self.drive.find_paths(&self.open.mapped())?)
    }

    /// Takes what programs changed through a mapping. They made no call that could fail, and the kernel drops what is
    /// refused: so this goes over the spool's limit rather than refuse it, and what the disk has no room for is lost, which
    /// is told.
    ///
    /// # Errors
    /// As [`Fs::write`].
    pub fn write_back(
        &self,
        ino: InodeNo,
        offset: u64,
        bytes: &[u8],
        privileges: Privileges,
    ) -> Result<u32, Error> {
        let written = self.write_for(Waiter::Kernel, ino, (offset, bytes), privileges);
        match &written {
            // What is gone has lost nothing.
            Ok(_) | Err(Error::Stale) => {}
            Err(error) => self.lose(ino, offset, bytes.len(), error),
        }
        written
    }

    /// Takes down that bytes of a file are lost, so that reading them never gives what was there before.
    fn lose(&self, ino: InodeNo, offset: u64, len: usize, why: &Error) {
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        let end = offset.saturating_add(u64::from(len));
        let noted = self.change(|c| {
            let mut inode = regular(c, ino)?;
            cover(c, ino, &mut inode, offset..end)?;
            c.lose(ino, offset, len);
            c.put_inode(ino, &inode);
            Ok(inode.nlink)
        });
        let cause = std::error::Error::source(why);
        let cause = cause.map_or_else(|| why.to_string(), ToString::to_string);
        let what = "what programs changed through mappings was refused and is lost";
        match noted {
            // It goes with whoever has it open, and so nobody else misses anything.
            Ok(0) => log::warn!("inode {ino}, which has no name: {what}: {cause}"),
            Ok(_) => self
                .drive
                .note_lost_content(ino, &format!("{what}: {cause}")),
            Err(error) => {
                let known = format!("{what}, which only this mount knows ({error}): {cause}");
                self.drive.note_lost_content(ino, &known);
            }
        }
    }
}
