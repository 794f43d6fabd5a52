//! Files: opening, reading, writing, closing.

use std::ops::Range;

use crate::clock::Time;
use crate::drive::Waiter;
use crate::drive::change::Change;
use crate::drive::view::Look;
use crate::fs::Atime;
use crate::fs::Attr;
use crate::fs::Caller;
use crate::fs::Error;
use crate::fs::FILE_BYTES_MAX;
use crate::fs::Fs;
use crate::fs::Name;
use crate::fs::Node;
use crate::fs::attr::resize;
use crate::fs::entry::insert;
use crate::fs::handle::Handle;
use crate::fs::known;
use crate::fs::regular;
use crate::fs::xattr;
use crate::id::InodeNo;
use crate::index::inode::Inode;

/// With [`Atime::Relative`], a time of access older than this is renewed by a read: one day, nanoseconds.
const ATIME_AGE_MAX: i64 = 24 * 60 * 60 * 1_000_000_000;

/// Capabilities of an executable, which do not survive a change of it.
const CAPABILITY: &[u8] = b"security.capability";

/// How a file is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opening {
    /// For writing.
    pub write: bool,
    /// For reading and writing through the kernel, which is what a mapping that changes the file needs.
    pub map: bool,
    /// Empty it.
    pub truncate: bool,
    /// When making it, fail if it is there.
    pub exclusive: bool,
}

/// What happens to a file's set-id bits when its content changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privileges {
    /// They stay: the caller may set them anyway.
    Keep,
    /// They go.
    Kill,
}

impl Caller {
    /// What becomes of set-id bits when this caller changes a file.
    #[must_use]
    pub fn privileges(&self) -> Privileges {
        if self.uid == 0 {
            Privileges::Keep
        } else {
            Privileges::Kill
        }
    }
}

impl Fs {
    /// Opens a file; the number is for [`Fs::read`] and [`Fs::release`].
    ///
    /// # Errors
    /// [`Error::Stale`] when it is gone, [`Error::ReadOnly`] for writing on a drive that takes none.
    pub fn open(&self, caller: &Caller, ino: InodeNo, opening: Opening) -> Result<u64, Error> {
        self.open.hold(ino);
        let checked = self.check_open(caller, ino, opening);
        if checked.is_err() {
            self.close(ino);
        }
        checked.map(|()| self.handle(ino, opening))
    }

    /// Opens a file for writing, if nobody has it open.
    ///
    /// # Errors
    /// As [`Fs::open`].
    pub fn open_alone(&self, caller: &Caller, ino: InodeNo) -> Result<Option<u64>, Error> {
        if !self.open.hold_alone(ino) {
            return Ok(None);
        }
        let opening = Opening {
            write: true,
            ..Opening::default()
        };
        let checked = self.check_open(caller, ino, opening);
        if checked.is_err() {
            self.close(ino);
        }
        checked.map(|()| Some(self.handle(ino, opening)))
    }

    /// Has anybody this inode open?
    #[must_use]
    pub fn is_open(&self, ino: InodeNo) -> bool {
        self.open.is_open(ino)
    }

    /// Makes a file and opens it; opens the one that is there unless `opening` is exclusive.
    ///
    /// # Errors
    /// As [`Fs::make`] and [`Fs::open`].
    pub fn create(
        &self,
        caller: &Caller,
        at: Name<'_>,
        node: Node,
        opening: Opening,
    ) -> Result<(Attr, u64), Error> {
        // Of every attempt: what another face removes before this one has its handle stays until it is closed.
        let mut held = Vec::new();
        let made = self.change(|c| {
            let there = c.entry(at.parent, at.name)?;
            let (ino, inode) = match there {
                Some(_) if opening.exclusive => return Err(Error::Exists),
                Some(entry) => (entry.ino, None),
                None => insert(c, caller, at, node).map(|(ino, inode)| (ino, Some(inode)))?,
            };
            self.open.hold(ino);
            held.push(ino);
            Ok((ino, inode))
        });
        if made.is_ok() {
            held.pop();
        }
        held.into_iter().for_each(|ino| self.close(ino));
        match made? {
            (ino, Some(inode)) => Ok((self.attr(ino, inode), self.handle(ino, opening))),
            (ino, None) => {
                let checked = self.check_open(caller, ino, opening);
                let attr = checked.and_then(|()| self.getattr(ino));
                if attr.is_err() {
                    self.close(ino);
                }
                Ok((attr?, self.handle(ino, opening)))
            }
        }
    }

    fn check_open(&self, caller: &Caller, ino: InodeNo, opening: Opening) -> Result<(), Error> {
        regular(&self.drive.view(), ino)?;
        if opening.write && (self.options.read_only || self.drive.read_only().is_some()) {
            return Err(Error::ReadOnly);
        }
        if opening.truncate {
            self.change(|c| {
                let mut inode = regular(c, ino)?;
                resize(c, ino, &mut inode, 0)?;
                strip(c, ino, &mut inode, caller.privileges())?;
                c.put_inode(ino, &inode);
                Ok(())
            })?;
        }
        Ok(())
    }

    fn handle(&self, ino: InodeNo, opening: Opening) -> u64 {
        let ahead = self.drive.read_ahead();
        self.open.insert(Handle {
            ino,
            ahead,
            maps: opening.map,
        })
    }

    /// Reads what lies on this machine; `None` when some of it does not: then use [`Fs::read`].
    ///
    /// # Errors
    /// [`Error::BadHandle`]; when the local disk fails.
    pub fn read_local(&self, handle: u64, offset: u64, len: u32) -> Result<Option<Vec<u8>>, Error> {
        let handle = self.open.get(handle).ok_or(Error::BadHandle)?;
        let there = self.clamp(&handle, offset, u32::MAX)?;
        match there.min(len) {
            0 => Ok(Some(Vec::new())),
            len => {
                let read = self.drive.read_local(handle.ino, offset, len)?;
                if read.is_some() && len < there {
                    self.drive
                        .look_ahead(handle.ino, offset, len, &handle.ahead);
                }
                Ok(read)
            }
        }
    }

    /// Reads, from the store if need be; less than `len` bytes at the end of the file only.
    ///
    /// # Errors
    /// [`Error::BadHandle`]; when the store does not answer in time or with the wrong bytes.
    pub async fn read(&self, handle: u64, offset: u64, len: u32) -> Result<Vec<u8>, Error> {
        let handle = self.open.get(handle).ok_or(Error::BadHandle)?;
        match self.clamp(&handle, offset, len)? {
            0 => Ok(Vec::new()),
            len => Ok(self
                .drive
                .read(handle.ino, offset, len, &handle.ahead)
                .await?),
        }
    }

    /// How many of `len` bytes at `offset` the file has.
    fn clamp(&self, handle: &Handle, offset: u64, len: u32) -> Result<u32, Error> {
        let size = regular(&self.drive.view(), handle.ino)?.size;
        let there = size.saturating_sub(offset);
        Ok(u32::try_from(there).unwrap_or(u32::MAX).min(len))
    }

    /// Does reading this file, directory or link leave a trace now? Then [`Fs::touch`].
    #[must_use]
    pub fn wants_touch(&self, ino: InodeNo) -> bool {
        if self.options.atime == Atime::Never || self.options.read_only {
            return false;
        }
        let inode = self.drive.view().inode(ino).ok().flatten();
        inode.is_some_and(|inode| is_touch_due(&inode, self.drive.now()))
    }

    /// Renews the time of access, if it is old and there is room for that: nobody waits for it.
    pub fn touch(&self, ino: InodeNo) {
        let touched = self.change_for(Waiter::Nobody, &[], |c| {
            let mut inode = known(c, ino)?;
            if is_touch_due(&inode, c.now()) {
                inode.atime = c.now();
                c.put_inode(ino, &inode);
            }
            Ok(())
        });
        if let Err(error) = touched {
            log::debug!("a time of access stays as it is: {error}");
        }
    }

    /// Writes; the bytes survive the end of this process when it returns. At the greatest length
    /// of a file it writes what fits.
    ///
    /// # Errors
    /// [`Error::FileTooLarge`] when nothing fits; when the drive has no room.
    pub fn write(
        &self,
        ino: InodeNo,
        offset: u64,
        bytes: &[u8],
        privileges: Privileges,
    ) -> Result<u32, Error> {
        self.write_for(Waiter::Program, ino, (offset, bytes), privileges)
    }

    /// The same, for whoever waits for room.
    pub(in crate::fs) fn write_for(
        &self,
        waiter: Waiter,
        ino: InodeNo,
        (offset, bytes): (u64, &[u8]),
        privileges: Privileges,
    ) -> Result<u32, Error> {
        let room = FILE_BYTES_MAX.saturating_sub(offset);
        let len = u32::try_from(bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
        let len = len.map_err(|_| Error::Invalid)?;
        if len == 0 && !bytes.is_empty() {
            return Err(Error::FileTooLarge);
        }
        let end = offset + u64::from(len);
        let bytes = &bytes[..len as usize];
        self.change_for(waiter, bytes, |c| {
            let mut inode = regular(c, ino)?;
            cover(c, ino, &mut inode, offset..end)?;
            strip(c, ino, &mut inode, privileges)?;
            c.write_given(ino, offset, len);
            c.put_inode(ino, &inode);
            Ok(len)
        })
    }

    /// Closes a handle; the last one of a file without names takes the file with it.
    pub fn release(&self, handle: u64) {
        if let Some(handle) = self.open.remove(handle) {
            self.close(handle.ino);
        }
    }

    fn close(&self, ino: InodeNo) {
        if self.open.let_go(ino)
            && let Err(error) = self.purge(ino)
        {
            self.put_off(&[ino], &error);
        }
    }
}

/// Counts these bytes of a file as kept, which is a change of it; the caller puts the inode.
pub(in crate::fs) fn cover(
    c: &Change<'_>,
    ino: InodeNo,
    inode: &mut Inode,
    range: Range<u64>,
) -> Result<(), Error> {
    let Range { start, end } = range;
    let hidden = match start < inode.size {
        // A file without holes: nobody has to look where its bytes are.
        true if inode.stored == inode.size => end.min(inode.size) - start,
        true => c.stored_before(ino, start, end)?,
        false => 0,
    };
    inode.stored = (inode.stored + (end - start)).saturating_sub(hidden);
    inode.size = inode.size.max(end);
    inode.mtime = c.now();
    inode.ctime = c.now();
    Ok(())
}

/// Is the time of access so old that a read renews it?
fn is_touch_due(inode: &Inode, now: Time) -> bool {
    let is_old = now.0.saturating_sub(inode.atime.0) > ATIME_AGE_MAX;
    is_old || inode.atime <= inode.mtime.max(inode.ctime)
}

/// Takes away what must not survive a change of the content; the caller puts the inode.
pub(in crate::fs) fn strip(
    c: &mut Change<'_>,
    ino: InodeNo,
    inode: &mut Inode,
    privileges: Privileges,
) -> Result<(), Error> {
    if privileges == Privileges::Kill {
        unprivileged(inode);
    }
    xattr::remove(c, ino, inode, CAPABILITY)?;
    Ok(())
}

/// Takes away the set-id bits that give whoever runs it rights.
pub(in crate::fs) fn unprivileged(inode: &mut Inode) {
    const SET_UID: u16 = 0o4000;
    const SET_GID_AND_EXECUTE: u16 = 0o2010;
    inode.mode &= !SET_UID;
    if inode.mode & SET_GID_AND_EXECUTE == SET_GID_AND_EXECUTE {
        inode.mode &= !crate::fs::entry::SET_GID;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::drive::fixture;
    use crate::fs::Options;
    use crate::index::inode::Kind;
    use crate::store::memory::Memory;

    const CALLER: Caller = Caller { uid: 0, gid: 0 };

    async fn fs(dir: &std::path::Path) -> Fs {
        let store = Arc::new(Memory::default());
        let opened = fixture::open(fixture::settings(dir), &store).await;
        Fs::new(opened.expect("a new drive"), Options::default())
    }

    fn node() -> Node {
        Node {
            kind: Kind::File,
            mode: 0o644,
            umask: 0,
            rdev: 0,
        }
    }

    fn at(name: &[u8]) -> Name<'_> {
        Name {
            parent: InodeNo::ROOT,
            name,
        }
    }

    /// Its last handle is closed while somebody opens it by way of `O_PATH`.
    #[tokio::test(flavor = "multi_thread")]
    async fn an_unlinked_file_that_is_opened_again_stays_until_that_is_closed() {
        let dir = tempfile::tempdir().expect("a directory");
        let fs = fs(dir.path()).await;
        let opening = Opening {
            write: true,
            ..Opening::default()
        };
        let made = fs.create(&CALLER, at(b"file"), node(), opening);
        let (attr, first) = made.expect("made");
        fs.write(attr.ino, 0, b"content", Privileges::Keep)
            .expect("written");
        fs.unlink(at(b"file")).expect("unlinked");
        fs.open.remove(first).expect("a handle");
        assert!(fs.open.let_go(attr.ino), "nobody has it open");
        let again = fs.open(&CALLER, attr.ino, Opening::default());
        let again = again.expect("it is still there");
        fs.purge(attr.ino).expect("purged");
        let read = fs.read_local(again, 0, 100).expect("still there");
        assert_eq!(read.as_deref(), Some(&b"content"[..]));
        fs.release(again);
        let view = fs.drive.view();
        assert_eq!(view.inode(attr.ino).expect("readable"), None);
        let mark = crate::index::key::orphan(attr.ino);
        assert_eq!(view.get(&mark).expect("readable"), None);
        drop(view);
        fs.drive.close().await;
    }

    /// Of a change that is made twice, and of one that fails, nothing stays open.
    #[tokio::test(flavor = "multi_thread")]
    async fn creating_leaves_one_handle_or_none() {
        let dir = tempfile::tempdir().expect("a directory");
        let fs = fs(dir.path()).await;
        let create = |exclusive| {
            let opening = Opening {
                exclusive,
                ..Opening::default()
            };
            fs.create(&CALLER, at(b"file"), node(), opening)
        };
        let (attr, first) = create(true).expect("made");
        assert!(matches!(create(true), Err(Error::Exists)));
        let (same, second) = create(false).expect("opened");
        assert_eq!(same.ino, attr.ino);
        fs.release(first);
        assert!(fs.is_open(attr.ino), "by the second");
        fs.release(second);
        assert!(!fs.is_open(attr.ino));
        fs.drive.close().await;
    }
}
