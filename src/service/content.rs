//! Reading a file of the drive from one end to the other, as it is at one time.

use crate::drive::task::Task;
use crate::fs::Caller;
use crate::fs::Opening;
use crate::id::InodeNo;
use crate::index::inode::Inode;
use crate::service::Desk;
use crate::service::Error;
use crate::service::host::BLOCK_BYTES;

/// A file of the drive, open for reading, so that it stays while it is read.
pub(in crate::service) struct Reader<'a> {
    desk: &'a Desk,
    ino: InodeNo,
    handle: u64,
}

impl<'a> Reader<'a> {
    /// Opens it.
    pub(in crate::service) fn open(desk: &'a Desk, ino: InodeNo) -> Result<Reader<'a>, Error> {
        let caller = Caller { uid: 0, gid: 0 };
        let handle = desk.fs().open(&caller, ino, Opening::default());
        Ok(Reader {
            desk,
            ino,
            handle: handle.map_err(Error::file(b""))?,
        })
    }

    /// Bytes from `offset` on, at most `len`; fewer at the end of the file only.
    pub(in crate::service) fn read(&self, offset: u64, len: u32) -> Result<Vec<u8>, Error> {
        let fs = self.desk.fs();
        let local = fs.read_local(self.handle, offset, len);
        if let Some(bytes) = local.map_err(Error::file(b""))? {
            return Ok(bytes);
        }
        let read = self
            .desk
            .drive()
            .runtime()
            .block_on(fs.read(self.handle, offset, len));
        read.map_err(Error::file(b""))
    }

    /// Gives everything from `from` on, in order, of the file as `inode` describes it; `task` hears of the bytes.
    ///
    /// # Errors
    /// [`Error::Conflict`] at the end when it is not that file any more: what was given is no state of it then.
    pub(in crate::service) fn read_on(
        &self,
        inode: &Inode,
        from: u64,
        task: &Task<'_>,
        mut give: impl FnMut(u64, Vec<u8>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut at = from;
        while at < inode.size {
            let len = (inode.size - at).min(BLOCK_BYTES as u64);
            let bytes = self.read(at, u32::try_from(len).unwrap_or(u32::MAX))?;
            if bytes.is_empty() {
                break;
            }
            let given = bytes.len() as u64;
            give(at, bytes)?;
            at += given;
            task.done(0, given)?;
        }
        let now = self.desk.fs().getattr(self.ino);
        let now = now.map_err(Error::file(b""))?.inode;
        if at < inode.size || (now.size, now.mtime) != (inode.size, inode.mtime) {
            let text = "it changed while it was read; ask for it again";
            return Err(Error::Conflict(String::from(text)));
        }
        Ok(())
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        self.desk.fs().release(self.handle);
    }
}

/// The content, in pieces, of a file that fits into memory.
///
/// # Errors
/// [`Error::Conflict`] when it is not as `inode` describes it, or does not stay so; what reading says.
pub fn content(
    desk: &Desk,
    ino: InodeNo,
    inode: &Inode,
    task: &Task<'_>,
) -> Result<Vec<Vec<u8>>, Error> {
    let reader = Reader::open(desk, ino)?;
    let mut content = Vec::new();
    task.begin("reading", 0, inode.size)?;
    reader.read_on(inode, 0, task, |_, bytes| {
        content.push(bytes);
        Ok(())
    })?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::drive::fixture;
    use crate::drive::task::Go;
    use crate::fs::Name;
    use crate::fs::Node;
    use crate::fs::Privileges;
    use crate::index::inode::Kind;
    use crate::store::memory::Memory;

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_another_file_by_the_end_is_not_given() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Arc::new(Memory::default());
        let opened = fixture::open(fixture::settings(dir.path()), &store).await;
        let desk = Desk::alone(opened.expect("a new drive"));
        let (caller, name) = (Caller { uid: 0, gid: 0 }, b"film");
        let node = Node {
            kind: Kind::File,
            mode: 0o600,
            umask: 0,
            rdev: 0,
        };
        let parent = InodeNo::ROOT;
        let made = desk.fs().make(&caller, Name { parent, name }, node);
        let ino = made.expect("made").ino;
        let bytes = vec![7; BLOCK_BYTES * 2 + 1];
        let write = |at: u64, bytes: &[u8]| {
            desk.fs()
                .write(ino, at, bytes, Privileges::Keep)
                .expect("written");
        };
        write(0, &bytes);
        let inode = desk.fs().getattr(ino).expect("there").inode;
        let task = Task::new(&|_| Go::On);
        let whole = content(&desk, ino, &inode, &task).expect("read");
        assert!(whole.concat() == bytes && whole.len() == 3);

        let read = |inode: &Inode, during: &dyn Fn()| {
            let reader = Reader::open(&desk, ino).expect("opened");
            reader.read_on(inode, 0, &task, |at, _| {
                if at == 0 {
                    during();
                }
                Ok(())
            })
        };
        let changed = read(&inode, &|| write(5, b"another"));
        assert!(matches!(changed, Err(Error::Conflict(_))), "{changed:?}");
        let changed = content(&desk, ino, &inode, &task);
        assert!(matches!(changed, Err(Error::Conflict(_))), "{changed:?}");
        // Its name may go: it is open.
        let unlink = || desk.fs().unlink(Name { parent, name });
        let inode = desk.fs().getattr(ino).expect("there").inode;
        read(&inode, &|| unlink().expect("unlinked")).expect("the same file");
        desk.drive().close().await;
    }
}
