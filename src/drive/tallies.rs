//! Tallies: what an epoch changes in what the archives' content comes to.

use std::collections::HashMap;
use std::ops::Bound;

use crate::clock::Time;
use crate::drive::Drive;
use crate::drive::Error;
use crate::id::ArchiveNo;
use crate::id::PackId;
use crate::index::Batch;
use crate::index::chunk::ChunkPlace;
use crate::index::chunk::PackPlace;
use crate::index::inode::Inode;
use crate::index::key;
use crate::index::tally::Tally;

/// Is there once the archives of this drive have tallies: older drives have none until their next epoch.
const TALLIED: &str = "tallied";

/// What is added to a tally, and taken from it.
#[derive(Clone, Copy, Debug, Default)]
struct Difference {
    stored_bytes: i64,
    chunks: i64,
    chunk_bytes: i64,
    sealed_bytes: i64,
    changed: Time,
}

/// Which state a pack is looked for in.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum State {
    Before,
    After,
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

impl Difference {
    fn inode(&mut self, inode: &Inode, sign: i64) {
        if !inode.is_dir() {
            self.stored_bytes += sign * signed(inode.stored);
        }
        if sign > 0 {
            self.changed = self.changed.max(inode.ctime);
        }
    }

    fn chunk(&mut self, place: &ChunkPlace, sign: i64) {
        self.chunks += sign;
        self.chunk_bytes += sign * i64::from(place.plain_len);
        self.sealed_bytes += sign * i64::from(place.sealed_len);
    }

    fn over(&self, before: Tally) -> Tally {
        Tally {
            stored_bytes: before.stored_bytes.saturating_add_signed(self.stored_bytes),
            chunks: before.chunks.saturating_add_signed(self.chunks),
            chunk_bytes: before.chunk_bytes.saturating_add_signed(self.chunk_bytes),
            sealed_bytes: before.sealed_bytes.saturating_add_signed(self.sealed_bytes),
            changed: before.changed.max(self.changed),
        }
    }
}

/// What an epoch changes, archive by archive.
pub(in crate::drive) struct Tallying<'d> {
    drive: &'d Drive,
    differences: HashMap<ArchiveNo, Difference>,
    packs: HashMap<(State, PackId), Option<ArchiveNo>>,
}

impl<'d> Tallying<'d> {
    pub(in crate::drive) fn new(drive: &'d Drive) -> Tallying<'d> {
        Tallying {
            drive,
            differences: HashMap::new(),
            packs: HashMap::new(),
        }
    }

    /// An inode was this, and is that.
    pub(in crate::drive) fn inode(&mut self, before: Option<&Inode>, after: Option<&Inode>) {
        for (inode, sign) in [(before, -1), (after, 1)] {
            if let Some(inode) = inode {
                let difference = self.differences.entry(inode.archive).or_default();
                difference.inode(inode, sign);
            }
        }
    }

    /// A chunk's place is this now, or it has none any more.
    pub(in crate::drive) fn chunk(
        &mut self,
        key: &[u8],
        after: Option<&[u8]>,
    ) -> Result<(), Error> {
        let before = self.drive.index.base_get(key)?;
        let places = [
            (before.as_deref(), State::Before, -1),
            (after, State::After, 1),
        ];
        for (value, state, sign) in places {
            let Some(value) = value else { continue };
            let place = ChunkPlace::decode(value)?;
            if let Some(no) = self.archive_of(place.pack, state)? {
                self.differences.entry(no).or_default().chunk(&place, sign);
            }
        }
        Ok(())
    }

    /// The archive on whose shelf a pack lies.
    fn archive_of(&mut self, pack: PackId, state: State) -> Result<Option<ArchiveNo>, Error> {
        if let Some(known) = self.packs.get(&(state, pack)) {
            return Ok(*known);
        }
        let key = key::pack(&pack);
        let value = match state {
            State::Before => self.drive.index.base_get(&key)?,
            State::After => self.drive.index.frozen_get(&key)?,
        };
        let place = value.map(|value| PackPlace::decode(&value)).transpose()?;
        let no = place.map(|place| place.archive);
        self.packs.insert((state, pack), no);
        Ok(no)
    }

    /// Adds the tallies to the epoch. On a drive that has none yet, everything published is counted first.
    pub(in crate::drive) fn finish(mut self, batch: &mut Batch) -> Result<(), Error> {
        let index = &self.drive.index;
        if index.frozen_get(&key::root(TALLIED))?.is_none() {
            self.count_published()?;
            batch.put(key::root(TALLIED), vec![1])?;
        }
        for (no, difference) in &self.differences {
            if index.frozen_get(&key::archive(*no))?.is_none() {
                continue;
            }
            let value = index.frozen_get(&key::tally(*no))?;
            let before = value.map(|value| Tally::decode(&value)).transpose()?;
            let tally = difference.over(before.unwrap_or_default());
            batch.put(key::tally(*no), tally.encode())?;
        }
        Ok(())
    }

    fn count_published(&mut self) -> Result<(), Error> {
        for tag in [b'I', b'C'] {
            let (from, to) = key::all(tag);
            let rows = self
                .drive
                .index
                .base_scan(Bound::Included(&from), Bound::Excluded(&to));
            for row in rows {
                let (_, value) = row?;
                if tag == b'I' {
                    self.inode(None, Some(&Inode::decode(&value)?));
                    continue;
                }
                let place = ChunkPlace::decode(&value)?;
                if let Some(no) = self.archive_of(place.pack, State::Before)? {
                    self.differences.entry(no).or_default().chunk(&place, 1);
                }
            }
        }
        Ok(())
    }
}
