//! Group commit: who needs durability waits for one `fdatasync` that serves all.

use std::sync::{
    Arc, Condvar, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use super::{Error, end::End, segment::Segment};
use crate::id::Seq;

pub(super) struct Commit {
    state: Mutex<State>,
    changed: Condvar,
    /// The last record that is written, durable or not.
    appended: AtomicU64,
    /// Everything up to here is durable.
    synced: AtomicU64,
    data_syncs: AtomicU64,
    end: Option<End>,
}

struct State {
    leader: Leader,
    health: Health,
    /// Segments that may hold bytes which are not durable, oldest first; the last one is the active one.
    unsynced: Vec<Arc<Segment>>,
}

#[derive(PartialEq, Eq)]
enum Leader {
    None,
    Syncing,
}

#[derive(PartialEq, Eq)]
enum Health {
    Good,
    /// An fdatasync failed: the kernel has dropped the pages and would report success next time.
    Poisoned,
}

impl Commit {
    /// Records up to `appended` exist; those up to `synced` are known to be durable.
    pub(super) fn new(
        appended: Seq,
        synced: Seq,
        unsynced: Vec<Arc<Segment>>,
        end: Option<End>,
    ) -> Commit {
        Commit {
            state: Mutex::new(State {
                leader: Leader::None,
                health: Health::Good,
                unsynced,
            }),
            changed: Condvar::new(),
            appended: AtomicU64::new(appended.0),
            synced: AtomicU64::new(synced.0),
            data_syncs: AtomicU64::new(0),
            end,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn appended(&self) -> Seq {
        Seq(self.appended.load(Ordering::Acquire))
    }

    pub(super) fn synced(&self) -> Seq {
        Seq(self.synced.load(Ordering::Acquire))
    }

    pub(super) fn data_syncs(&self) -> u64 {
        self.data_syncs.load(Ordering::Relaxed)
    }

    /// A record is written. Called in order, under the append lock.
    pub(super) fn note_appended(&self, seq: Seq) {
        self.appended.store(seq.0, Ordering::Release);
    }

    /// A segment is about to be written to; all before it are complete. Called under the append lock.
    pub(super) fn note_active(&self, segment: Arc<Segment>) {
        self.state().unsynced.push(segment);
    }

    /// All records up to the end of this segment are durable.
    pub(super) fn note_sealed(&self, segment: &Segment) {
        let mut state = self.state();
        state.unsynced.retain(|one| one.number != segment.number);
        self.advance(segment.last());
    }

    fn advance(&self, seq: Seq) {
        self.synced.fetch_max(seq.0, Ordering::AcqRel);
        if let Some(end) = &self.end {
            end.note(seq);
        }
    }

    /// Makes it durable how far the log is durable.
    pub(super) fn sync_end(&self) {
        if let Some(end) = &self.end {
            end.sync();
        }
    }

    pub(super) fn poison(&self) {
        self.state().health = Health::Poisoned;
        self.changed.notify_all();
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        match self.state().health {
            Health::Good => Ok(()),
            Health::Poisoned => Err(Error::Poisoned),
        }
    }

    /// Makes durable whatever is appended now.
    pub(super) fn sync(&self) -> Result<(), Error> {
        let wanted = self.appended();
        let mut state = self.state();
        loop {
            if state.health == Health::Poisoned {
                return Err(Error::Poisoned);
            }
            if self.synced() >= wanted {
                return Ok(());
            }
            if state.leader == Leader::None {
                break;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.leader = Leader::Syncing;
        // Read before the list: a segment enters the list before its first record is written.
        let reached = self.appended();
        let segments = state.unsynced.clone();
        drop(state);

        let outcome = segments.iter().try_for_each(|one| self.sync_segment(one));

        let mut state = self.state();
        state.leader = Leader::None;
        match &outcome {
            Ok(()) => {
                // All but the last of them were complete when the list was copied.
                let active = segments.last().map_or(0, |one| one.number);
                state.unsynced.retain(|one| one.number >= active);
                self.advance(reached);
            }
            Err(_) => state.health = Health::Poisoned,
        }
        drop(state);
        self.changed.notify_all();
        outcome
    }

    /// Makes one segment durable; a failure poisons the spool.
    pub(super) fn sync_segment(&self, segment: &Segment) -> Result<(), Error> {
        let Some(data) = segment.data() else {
            return Ok(());
        };
        self.data_syncs.fetch_add(1, Ordering::Relaxed);
        data.sync().map_err(|source| {
            self.poison();
            Error::Io {
                doing: "syncing a segment",
                source,
            }
        })
    }
}
