//! The one way the drive's state changes: a closure over a [`Change`], committed whole or not at all.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::RwLockWriteGuard;

use crate::clock::Time;
use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::State;
use crate::drive::record::Becomes;
use crate::drive::record::ContentChange;
use crate::drive::record::Record;
use crate::drive::room::Reach;
use crate::drive::view::Found;
use crate::drive::view::Look;
use crate::drive::view::Part;
use crate::drive::view::Row;
use crate::drive::view::resolve;
use crate::drive::view::scan;
use crate::id::InodeNo;
use crate::index::inode::Inode;
use crate::index::key;
use crate::index::manifest::LOST;

/// A change being put together. It sees the drive with its own index changes applied (not its own
/// content changes). No other change happens meanwhile, so never wait in one.
pub struct Change<'d> {
    pub(in crate::drive) drive: &'d Drive,
    pub(in crate::drive) state: RwLockWriteGuard<'d, State>,
    overlay: HashMap<Vec<u8>, Option<Vec<u8>>>,
    record: Record,
    /// Bytes that the caller brought, which are not copied.
    given: &'d [u8],
    body: Body,
    now: Time,
}

/// What the record's body will be.
enum Body {
    /// What was put together here.
    Own(Vec<u8>),
    /// What was given.
    Given,
}

impl Look for Change<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        if let Some(own) = self.overlay.get(key) {
            return Ok(own.clone());
        }
        Ok(self.drive.index.get(key)?.map(|value| value.to_vec()))
    }
}

impl<'d> Change<'d> {
    pub(in crate::drive) fn begin(
        drive: &'d Drive,
        state: RwLockWriteGuard<'d, State>,
        given: &'d [u8],
    ) -> Change<'d> {
        let now = drive.clock.now();
        Change {
            drive,
            state,
            overlay: HashMap::new(),
            record: Record::default(),
            given,
            body: Body::Own(Vec::new()),
            now,
        }
    }

    /// The time this change bears.
    #[must_use]
    pub fn now(&self) -> Time {
        self.now
    }

    /// Puts a value under a key.
    pub fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.overlay.insert(key, Some(value));
    }

    /// Removes a key.
    pub fn delete(&mut self, key: Vec<u8>) {
        self.overlay.insert(key, None);
    }

    /// Puts an inode.
    pub fn put_inode(&mut self, ino: InodeNo, inode: &Inode) {
        self.put(key::inode(ino), inode.encode());
    }

    /// A number never given before: for inodes and cookies.
    pub fn next_number(&mut self) -> u64 {
        let number = self.state.next_number;
        self.state.next_number += 1;
        let next = self.state.next_number;
        self.put(key::root("next"), next.to_le_bytes().to_vec());
        number
    }

    /// Entries from `from` on below `to`, at most `limit`, as they were before this change.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn scan_before(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, Error> {
        scan(&self.drive.index, from, to, limit)
    }

    /// Where the bytes `start..end` of a file are, as they were before this change.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn resolve_before(&self, ino: InodeNo, start: u64, end: u64) -> Result<Vec<Part>, Error> {
        self.parts_before(ino, start..end, usize::MAX)
    }

    /// The same, at most so many parts from the front.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn parts_before(
        &self,
        ino: InodeNo,
        range: Range<u64>,
        most: usize,
    ) -> Result<Vec<Part>, Error> {
        resolve(&self.state, &self.drive.index, ino, range, most)
    }

    /// How many bytes of `start..end` were not holes before this change.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn stored_before(&self, ino: InodeNo, start: u64, end: u64) -> Result<u64, Error> {
        let parts = self.resolve_before(ino, start, end)?;
        Ok(parts
            .iter()
            .filter(|part| !part.found.is_hole())
            .map(|part| part.len)
            .sum())
    }

    /// Writes bytes into a file at an offset. The inode is the caller's to update.
    pub fn write(&mut self, ino: InodeNo, start: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let given = self.given;
        let body = match &mut self.body {
            Body::Own(body) => body,
            Body::Given => {
                self.body = Body::Own(given.to_vec());
                return self.write(ino, start, bytes);
            }
        };
        let skip = u32::try_from(body.len()).unwrap_or(u32::MAX);
        body.extend_from_slice(bytes);
        let becomes = Becomes::Body { skip };
        self.record.content.push(ContentChange {
            ino,
            start,
            len: bytes.len() as u64,
            becomes,
        });
    }

    /// Writes the first `len` of the bytes that [`Drive::change_with`] was given, without copying them. The
    /// inode is the caller's to update.
    pub fn write_given(&mut self, ino: InodeNo, start: u64, len: u32) {
        let (given, len) = (self.given, len as usize);
        match &self.body {
            Body::Own(body) if body.is_empty() && len == given.len() && len > 0 => {
                self.body = Body::Given;
                self.record.content.push(ContentChange {
                    ino,
                    start,
                    len: len as u64,
                    becomes: Becomes::Body { skip: 0 },
                });
            }
            _ => self.write(ino, start, given.get(..len).unwrap_or(given)),
        }
    }

    /// Makes `start..end` of a file a hole; `end` may be `u64::MAX`. The inode is the caller's to update.
    pub fn zero(&mut self, ino: InodeNo, start: u64, end: u64) {
        if start < end {
            let becomes = Becomes::Source(crate::drive::dirty::Source::Zero);
            self.record.content.push(ContentChange {
                ino,
                start,
                len: end - start,
                becomes,
            });
        }
    }

    /// Says that the bytes of `start..start + len` are lost: reading them fails until they are written again.
    pub fn lose(&mut self, ino: InodeNo, start: u64, len: u32) {
        let source = crate::drive::dirty::Source::Chunk { id: LOST, skip: 0 };
        if len > 0 {
            self.record.content.push(ContentChange {
                ino,
                start,
                len: u64::from(len),
                becomes: Becomes::Source(source),
            });
        }
    }

    /// Lays a part, resolved in this change, into a file at `start`: a clone that copies no data.
    pub fn lay(&mut self, ino: InodeNo, start: u64, part: &Part) {
        match &part.found {
            Found::Inline(bytes) => self.write(ino, start, bytes),
            Found::Source(source) => {
                let becomes = Becomes::Source(*source);
                self.record.content.push(ContentChange {
                    ino,
                    start,
                    len: part.len,
                    becomes,
                });
            }
        }
    }

    /// Makes it so: into the spool first, then into the state that everybody sees. Gives the bytes of content
    /// that the spool took.
    pub(in crate::drive) fn commit(mut self, reach: Reach) -> Result<u64, Error> {
        if self.overlay.is_empty() && self.record.content.is_empty() {
            return Ok(0);
        }
        for (key, value) in std::mem::take(&mut self.overlay) {
            match value {
                Some(value) => self.record.batch.put(key, value)?,
                None => self.record.batch.delete(key),
            }
        }
        let head = self.record.encode();
        let body = match &self.body {
            Body::Own(body) => body,
            Body::Given => self.given,
        };
        let spool = &self.drive.spool;
        let (seq, place) = match reach {
            Reach::Limit => spool.append(&head, body)?,
            Reach::Disk => spool.append_over(&head, body)?,
        };
        let bytes = body.len() as u64;
        self.state.apply(self.drive, seq, place, self.record);
        Ok(bytes)
    }
}
