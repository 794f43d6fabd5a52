//! The engine: it owns spool, index, cache and store, and moves data and history between them.
//!
//! ```text
//! change ── spool.append ── gathering (delta + dirty pieces) ── freeze ── frozen = one epoch
//!                                                                          │ drain: chunk, dedup, pack, put
//!                                                                          │ amend: manifests, places
//!                                                                          │ publish: journal segment
//!                                                                          ▼ settle: stored; spool is cut
//! ```
//!
//! What the index stores is exactly what the journal says, as of the last published epoch. Everything newer is
//! two layers in memory, rebuilt from the spool at start. So opening is recovering, an epoch is
//! always a state the drive really had, and an index that is damaged or lost costs a download.
//!
//! Memory is bounded, each part by a setting or a constant: the two layers ([`Settings::changes_bytes_max`]
//! for each; a change that finds no room waits as for space in the spool, and is refused when the store
//! stays out of reach), packs on their way, chunks, pages of the index. A published file costs about 2 bytes.

pub mod archive;
mod aside;
mod base;
mod bearing;
mod beside;
mod branch;
mod card;
mod cards;
pub mod catalogue;
pub mod change;
mod checkpoint;
mod control;
mod deliver;
mod dirty;
mod drain;
mod errand;
mod error;
mod failed_disk;
mod fetch;
mod filling;
#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod fork_tests;
mod freeze;
mod full_disk;
#[cfg(any(fuzzing, debug_assertions))]
#[doc(hidden)]
pub mod fuzzing;
pub mod gc;
mod halt;
mod head;
mod history;
mod identity;
mod journal;
mod kept;
mod lease;
mod lineage;
mod lock;
mod losses;
mod lost;
pub mod measure;
mod memory;
mod names;
mod neighbours;
mod open;
mod parts;
mod passed_over;
mod publish;
mod put;
mod read;
mod readahead;
mod rebuild;
mod record;
mod recover;
mod repack;
pub mod repair;
pub mod restore;
mod room;
pub mod scope;
mod settings;
mod splice;
mod split;
pub mod status;
mod strangers;
pub mod superblock;
mod tallies;
pub mod task;
mod trust;
pub mod turn;
mod unsettled;
mod upload;
pub mod verify;
pub mod view;
mod way;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::RwLock;
use std::sync::atomic::AtomicBool;

use crate::cache::Cache;
use crate::clock::Clock;
use crate::clock::Time;
use crate::codec::key::Keys;
use crate::id::DriveId;
use crate::id::InodeNo;
use crate::id::Seq;
use crate::index::Index;
use crate::spool::Place;
use crate::spool::Spool;
use crate::store::Store;

pub use change::Change;
pub use dirty::Source;
pub use error::Error;
pub use halt::Halt;
pub use identity::is_taken;
pub use identity::owner;
pub use names::is_like_an_object;
pub use read::FileState;
pub use readahead::ReadAhead;
pub use rebuild::Progress as RebuildProgress;
pub use rebuild::Watch;
pub use room::Waiter;
pub use settings::Access;
pub use settings::Begin;
pub use settings::Copies;
pub use settings::Names;
pub use settings::Settings;
pub use settings::Takeover;
pub use view::Found;
pub use view::Look;
pub use view::Part;
pub use view::View;

use control::Control;
use dirty::Dirty;
use record::Record;
use room::Patience;
use room::Reach;
use room::Room;

/// An open drive.
pub struct Drive {
    settings: Settings,
    id: DriveId,
    keys: Keys,
    clock: Clock,
    /// Taken before anything else that locks; never held while waiting for the store.
    state: RwLock<State>,
    index: Index,
    spool: Spool,
    cache: Cache,
    memory: memory::Memory,
    fetches: fetch::Fetches,
    neighbours: neighbours::Neighbours,
    distrusted: trust::Distrust,
    losses: losses::Losses,
    store: Arc<dyn Store>,
    cards: cards::Cards,
    this: std::sync::OnceLock<std::sync::Weak<Drive>>,
    runtime: tokio::runtime::Handle,
    control: Control,
    errands: errand::Errands,
    imports: turn::Turns,
    tending: gc::Tending,
    head: Mutex<head::Head>,
    last_look: beside::LastLook,
    lease: Mutex<Option<lease::Held>>,
    /// Turns of read-ahead.
    ahead: tokio::sync::Semaphore,
    /// Has this state directory had the lease since it last followed the journal?
    lease_kept: AtomicBool,
    damaged: Mutex<HashMap<InodeNo, String>>,
    /// What damaged files were called when they were last looked for; none for one without a name.
    damaged_paths: Mutex<HashMap<InodeNo, Option<String>>>,
    /// What this state directory is and was called.
    lineage: lineage::Lineage,
    /// Those of this drive. Each holds it, and with it the state directory, until its very end.
    threads: Mutex<Vec<std::thread::JoinHandle<()>>>,
    /// The epoch of the index that one made anew replaces.
    epoch_aside: crate::id::EpochNo,
    /// Kept for its lock on the state directory.
    _lock: lock::Lock,
}

impl std::fmt::Debug for Drive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Drive")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// What a change touches, besides the index.
#[derive(Debug)]
pub struct State {
    /// Content changed since the last freeze.
    gathering: Dirty,
    /// Content of the epoch that is being uploaded.
    frozen: Option<Dirty>,
    /// The next inode number or cookie.
    next_number: u64,
    /// The last record that changed the drive.
    changed: Seq,
    /// No change is taken any more.
    closed: bool,
}

impl State {
    /// Makes a record of the spool visible, and keeps count of which spooled bytes are still needed.
    fn apply(&mut self, drive: &Drive, seq: Seq, place: Place, record: Record) {
        for change in &record.content {
            if let record::Becomes::Source(Source::Spool { place, .. }) = change.becomes
                && let Err(error) = drive.spool.retain(&place, change.len)
            {
                log::error!("a clone refers to bytes the spool no longer has: {error}");
            }
        }
        for (place, len) in self.lay(drive, seq, place, record) {
            drive.spool.release(&place, u64::from(len));
        }
    }

    /// Tells how much memory the changes since the last freeze take.
    fn weigh(&self, drive: &Drive) {
        let bytes = drive.index.counts().gathering_bytes + self.gathering.memory_bytes();
        drive.control.weigh(bytes);
    }

    /// Makes a record of the spool visible; gives the spooled bytes that it hides.
    fn lay(&mut self, drive: &Drive, seq: Seq, place: Place, record: Record) -> dirty::Released {
        drive.index.apply(record.batch);
        let mut hidden = dirty::Released::new();
        for change in &record.content {
            hidden.extend(
                self.gathering
                    .put(change.ino, change.start, change.piece(place)),
            );
        }
        self.changed = seq;
        self.weigh(drive);
        hidden
    }
}

impl Drive {
    fn threads(&self) -> MutexGuard<'_, Vec<std::thread::JoinHandle<()>>> {
        self.threads
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// This drive, for tasks that outlive a call; none when it is being dropped.
    fn shared(&self) -> Option<Arc<Drive>> {
        self.this.get()?.upgrade()
    }

    /// The drive's id.
    #[must_use]
    pub fn id(&self) -> DriveId {
        self.id
    }

    /// What was chosen about it on this machine.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The present.
    #[must_use]
    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// The runtime that network work of this drive runs on.
    #[must_use]
    pub fn runtime(&self) -> &tokio::runtime::Handle {
        &self.runtime
    }

    /// The drive at this moment. Holds off changes while it lives.
    pub fn view(&self) -> View<'_> {
        let state = self
            .state
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        View {
            state,
            index: &self.index,
        }
    }

    /// Changes the drive: `make` puts the change together and may refuse it, in which case nothing
    /// happened. It is run again when it had to wait for space in the spool. It waits in the same way for
    /// memory: what is changed and not published is bounded by [`Settings::changes_bytes_max`].
    ///
    /// # Errors
    /// What `make` returned, or why the change could not be kept: [`Error::ReadOnly`],
    /// [`Error::NoSpace`], [`Error::Busy`], [`Error::Disk`], [`Error::Closing`].
    pub fn change<R, E: From<Error>>(
        &self,
        make: impl FnMut(&mut Change<'_>) -> Result<R, E>,
    ) -> Result<R, E> {
        self.change_with(&[], make)
    }

    /// The same, with bytes for [`Change::write_given`].
    ///
    /// # Errors
    /// As [`Drive::change`].
    pub fn change_with<R, E: From<Error>>(
        &self,
        given: &[u8],
        make: impl FnMut(&mut Change<'_>) -> Result<R, E>,
    ) -> Result<R, E> {
        self.change_for(Waiter::Program, given, make)
    }

    /// The same, for whoever may wait longer, or not at all.
    ///
    /// # Errors
    /// As [`Drive::change`].
    pub fn change_for<R, E: From<Error>>(
        &self,
        waiter: Waiter,
        given: &[u8],
        mut make: impl FnMut(&mut Change<'_>) -> Result<R, E>,
    ) -> Result<R, E> {
        let mut patience = Patience::new(waiter, &self.settings);
        loop {
            // Also whoever waited for room meanwhile.
            if let Some(why) = self.read_only() {
                return Err(Error::ReadOnly(why).into());
            }
            let reach = patience.reach();
            let is_full = self.control.weight() >= self.settings.changes_bytes_max;
            if is_full && reach == Reach::Limit {
                self.wait_for_room(Room::Memory, &mut patience)?;
                continue;
            }
            let state = self
                .state
                .write()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            if state.closed {
                return Err(Error::Closing.into());
            }
            let mut change = Change::begin(self, state, given);
            let result = make(&mut change)?;
            match change.commit(reach) {
                Ok(bytes) => break self.changed(result, bytes),
                Err(Error::NoSpace) => self.wait_for_room(Room::Spool, &mut patience)?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Refuses changes from now on, with [`Error::Closing`]: those that were taken until then are all there will be.
    pub fn refuse_changes(&self) {
        let state = self.state.write();
        state
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .closed = true;
    }

    fn changed<R, E>(&self, result: R, bytes: u64) -> Result<R, E> {
        self.control.changed(bytes);
        self.slow_down(bytes);
        Ok(result)
    }

    /// Makes every change that has returned survive a power cut: one `fdatasync`, shared by all who wait.
    ///
    /// # Errors
    /// [`Error::Disk`] when the disk refuses; the drive is read-only from then on.
    pub fn sync(&self) -> Result<(), Error> {
        self.spool.sync().map_err(|error| self.spool_failed(error))
    }

    /// Why changes are refused, if they are.
    #[must_use]
    pub fn read_only(&self) -> Option<String> {
        match self.settings.access {
            Access::Read => Some(String::from("it was mounted read-only")),
            Access::Write => self.control.read_only(),
        }
    }
}
