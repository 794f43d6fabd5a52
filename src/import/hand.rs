//! Changes of the drive that are made again while it has no room yet, until there is some or nobody wants them.

use crate::drive::task::Task;
use crate::fs::Attr;
use crate::fs::Caller;
use crate::fs::Error;
use crate::fs::Fs;
use crate::fs::Name;
use crate::fs::Node;
use crate::fs::Opening;
use crate::fs::Privileges;
use crate::fs::Rename;
use crate::fs::SetAttr;
use crate::fs::patiently;
use crate::id::InodeNo;

/// Changes files on behalf of a task.
pub(in crate::import) struct Hand<'a> {
    pub(in crate::import) fs: &'a Fs,
    pub(in crate::import) task: &'a Task<'a>,
    pub(in crate::import) caller: Caller,
}

impl Hand<'_> {
    /// As [`Fs::make`].
    pub(in crate::import) fn make(&self, at: Name<'_>, node: Node) -> Result<Attr, Error> {
        patiently(self.task, || self.fs.make(&self.caller, at, node))
    }

    /// As [`Fs::create`].
    pub(in crate::import) fn create(
        &self,
        at: Name<'_>,
        node: Node,
        opening: Opening,
    ) -> Result<(Attr, u64), Error> {
        patiently(self.task, || {
            self.fs.create(&self.caller, at, node, opening)
        })
    }

    /// As [`Fs::write`].
    pub(in crate::import) fn write(
        &self,
        ino: InodeNo,
        offset: u64,
        bytes: &[u8],
    ) -> Result<u32, Error> {
        patiently(self.task, || {
            self.fs.write(ino, offset, bytes, Privileges::Keep)
        })
    }

    /// As [`Fs::setattr`].
    pub(in crate::import) fn setattr(&self, ino: InodeNo, set: SetAttr) -> Result<Attr, Error> {
        patiently(self.task, || self.fs.setattr(&self.caller, ino, set))
    }

    /// As [`Fs::rename_inode`].
    pub(in crate::import) fn rename(
        &self,
        ino: InodeNo,
        (from, to): (Name<'_>, Name<'_>),
        how: Rename,
    ) -> Result<(), Error> {
        patiently(self.task, || self.fs.rename_inode(ino, from, to, how))
    }

    /// As [`Fs::unlink_inode`].
    pub(in crate::import) fn unlink(&self, ino: InodeNo, at: Name<'_>) -> Result<(), Error> {
        patiently(self.task, || self.fs.unlink_inode(ino, at))
    }
}
