//! `SEEK_DATA` and `SEEK_HOLE`.
//!
//! A program that has mapped a file fills holes without a word: the kernel tells of those pages late, and asks for
//! holes without telling of them first. It could be made to, by a notification, but that waits inside the kernel for
//! requests that only this process can answer: killed there, the process never ends and the mount hangs. So a file
//! of which there may be such a mapping is all data, which POSIX allows; when it is closed, its holes are found.

use crate::drive::view::Part;
use crate::fs::Error;
use crate::fs::Fs;
use crate::fs::regular;
use crate::id::InodeNo;

/// What to look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seek {
    /// Bytes that are kept.
    Data,
    /// A hole; the end of the file counts as one.
    Hole,
}

impl Fs {
    /// The first offset at or after `offset` where a file has data, or a hole.
    ///
    /// # Errors
    /// [`Error::NoSuchOffset`] when there is none, or `offset` is not inside the file.
    pub fn seek(&self, ino: InodeNo, offset: u64, what: Seek) -> Result<u64, Error> {
        let view = self.drive.view();
        let size = regular(&view, ino)?.size;
        if offset >= size {
            return Err(Error::NoSuchOffset);
        }
        if self.open.may_be_mapped(ino) {
            return Ok(match what {
                Seek::Data => offset,
                Seek::Hole => size,
            });
        }
        let wanted = |part: &Part| part.found.is_hole() == (what == Seek::Hole);
        if let Some(part) = view.find(ino, offset, size, wanted)? {
            return Ok(part.start);
        }
        match what {
            Seek::Hole => Ok(size),
            Seek::Data => Err(Error::NoSuchOffset),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::drive::fixture;
    use crate::fs::Caller;
    use crate::fs::Copy;
    use crate::fs::Name;
    use crate::fs::Node;
    use crate::fs::Opening;
    use crate::fs::Options;
    use crate::fs::Privileges;
    use crate::index::inode::Kind;
    use crate::store::memory::Memory;

    const ISLANDS: u64 = 2000;
    const ISLAND: [u8; 4096] = [7; 4096];
    const ISLAND_BYTES: u64 = ISLAND.len() as u64;
    const STEP_BYTES: u64 = 2 * ISLAND_BYTES;
    /// Look-ups for an island and the hole behind it, and entries that a scan brings along: of two seeks, a page
    /// each.
    const LOOKS_MAX: u64 = 50;

    fn make(fs: &Fs, name: &[u8]) -> InodeNo {
        let at = Name {
            parent: InodeNo::ROOT,
            name,
        };
        let node = Node {
            kind: Kind::File,
            mode: 0o644,
            umask: 0,
            rdev: 0,
        };
        let root = Caller { uid: 0, gid: 0 };
        let made = fs.create(&root, at, node, Opening::default());
        made.expect("made").0.ino
    }

    fn islands(fs: &Fs, ino: InodeNo) {
        for nth in 0..ISLANDS {
            fs.write(ino, nth * STEP_BYTES, &ISLAND, Privileges::Keep)
                .expect("written");
        }
    }

    /// Walks over a file as `cp --sparse` and `tar -S` do; tells how often the index was looked into.
    fn walk(fs: &Fs, ino: InodeNo) -> u64 {
        let before = fs.drive.view().looks();
        let mut at = 0;
        for nth in 0..ISLANDS {
            let data = fs.seek(ino, at, Seek::Data).expect("an island");
            assert_eq!(data, nth * STEP_BYTES);
            at = fs.seek(ino, data, Seek::Hole).expect("its end");
            assert_eq!(at, data + ISLAND_BYTES);
        }
        (fs.drive.view().looks() - before) as u64
    }

    fn copy(fs: &Fs, from: InodeNo, to: InodeNo) -> u64 {
        let (before, mut at) = (fs.drive.view().looks(), 0);
        loop {
            let rest = Copy {
                from,
                from_offset: at,
                to,
                to_offset: at,
                len: u64::MAX / 4,
            };
            match fs.copy(rest, Privileges::Keep).expect("copied") {
                0 => break,
                copied => at += u64::from(copied),
            }
        }
        (fs.drive.view().looks() - before) as u64
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_lies_behind_the_next_island_is_not_looked_at() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Arc::new(Memory::default());
        let opened = fixture::open(fixture::settings(dir.path()), &store).await;
        let fs = Arc::new(Fs::new(opened.expect("a new drive"), Options::default()));
        let ino = make(&fs, b"islands");
        islands(&fs, ino);
        let spooled = walk(&fs, ino);
        assert!(spooled <= ISLANDS * LOOKS_MAX, "{spooled} for {ISLANDS}");
        let copying = copy(&fs, ino, make(&fs, b"copy"));
        // Two for each hole, and some for each part of the copy.
        assert!(copying <= ISLANDS * 3, "{copying} for {ISLANDS}");
        let drive = Arc::clone(fs.drive());
        let flushed = tokio::task::spawn_blocking(move || drive.flush(|| true));
        flushed.await.expect("no panic").expect("published");
        let published = walk(&fs, ino);
        assert!(
            published <= ISLANDS * LOOKS_MAX,
            "{published} for {ISLANDS}"
        );
        fs.drive.close().await;
    }
}
