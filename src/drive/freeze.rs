//! Freezing: what was gathered becomes an epoch, as it is at that moment.

use std::ops::Bound;
use std::sync::PoisonError;
use std::time::Instant;

use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::errand::Tell;
use crate::id::ArchiveNo;
use crate::id::EpochNo;
use crate::id::Seq;
use crate::index::key;
use crate::store::Mark;
use crate::store::Object;

/// Content of files without a name may take this part of the spool, and of the memory for changes, before it
/// is sent all the same: an eighth.
const HELD_SHARE: u64 = 8;
const HELD_MEMORY_SHARE: usize = 8;

/// An epoch on its way; remembers which steps are done.
pub(in crate::drive) struct Epoch {
    pub(in crate::drive) number: EpochNo,
    pub(in crate::drive) through: Seq,
    pub(in crate::drive) is_sent: bool,
    /// Its segment counts: what is left is this machine's to take down, however often that takes.
    pub(in crate::drive) is_public: bool,
    /// Whoever waits for this epoch to be settled.
    pub(in crate::drive) tells: Vec<Tell>,
    pub(in crate::drive) touched: Option<Vec<ArchiveNo>>,
    pub(in crate::drive) segment: Option<Segment>,
}

/// A segment that is ready to be put.
pub(in crate::drive) struct Segment {
    pub(in crate::drive) objects: Vec<Object>,
    /// Random, as the names of its objects tell it.
    pub(in crate::drive) attempt: [u8; 8],
    /// Where it begins on the shelf; until that is known, a mark before it.
    pub(in crate::drive) mark: Mark,
    pub(in crate::drive) hash: [u8; 32],
    pub(in crate::drive) bytes: u64,
}

impl Drive {
    /// Sets aside everything gathered so far; none if there is nothing.
    pub(in crate::drive) fn freeze(&self) -> Result<Option<Epoch>, Error> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let mut through = state.changed;
        if self.errands.want_epoch() {
            through = through.max(self.spool.usage().appended);
        } else if through <= self.control.board().published {
            self.control.post(|board| board.first_change = None);
            return Ok(None);
        }
        let (from, to) = key::all(b'U');
        let mut orphans = Vec::new();
        for entry in self
            .index
            .scan(Bound::Included(&from), Bound::Excluded(&to))
        {
            orphans.extend(key::inode_of(&entry?.0));
        }
        self.index.freeze()?;
        let mut frozen = std::mem::take(&mut state.gathering);
        // Content that nobody can reach by name is not worth sending; it ends with its last handle.
        // But it must fill neither the spool nor the memory: what is held back makes room for nobody.
        let held_max = self.settings.spool_bytes_max / HELD_SHARE;
        let held_memory_max = self.settings.changes_bytes_max / HELD_MEMORY_SHARE;
        for ino in orphans {
            let bytes = state.gathering.spooled_bytes() + frozen.spooled_bytes_of(ino);
            let memory = state.gathering.memory_bytes() + frozen.memory_bytes_of(ino);
            if bytes <= held_max && memory <= held_memory_max {
                for (at, piece) in frozen.take(ino) {
                    state.gathering.put(ino, at, piece);
                }
            }
        }
        let held_bytes = state.gathering.spooled_bytes();
        let bytes = frozen.spooled_bytes();
        state.weigh(self);
        state.frozen = Some(frozen);
        self.control.post(|board| {
            board.first_change = None;
            board.held_bytes = held_bytes;
            board.epoch_bytes = bytes;
            board.epoch_done_bytes = 0;
            board.epoch_started = Some(Instant::now());
        });
        // Only now: a change that follows must not be forgotten.
        drop(state);
        let number = EpochNo(self.journal_head().epoch.0 + 1);
        Ok(Some(Epoch {
            number,
            through,
            is_sent: false,
            is_public: false,
            tells: Vec::new(),
            touched: None,
            segment: None,
        }))
    }
}
