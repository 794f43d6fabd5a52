//! The publisher: one thread that turns what was gathered into epochs, one after the other.
//!
//! Freeze, drain, publish, settle. Each step can be repeated: what the store already acknowledged is
//! a fact in the spool, the sealed parts of the segment are kept until they are put, and settling
//! twice gives the same index. So a failure only ever means "the same step again, later".

use std::ops::Bound;
use std::sync::Arc;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use crate::codec::segment::segment_hash;
use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::cards::Pace;
use crate::drive::control::Stop;
use crate::drive::drain::Drain;
use crate::drive::errand;
use crate::drive::history::Gatherer;
use crate::drive::journal::Head;
use crate::drive::journal::PartWriter;
use crate::drive::journal::Share;
use crate::drive::lease;
use crate::drive::names::Series;
use crate::drive::status::Phase;
use crate::id::ArchiveNo;
use crate::id::EpochNo;
use crate::id::Seq;
use crate::index::Batch;
use crate::index::key;
use crate::store::Object;

/// How often the publisher looks around when nothing calls it.
const TICK: Duration = Duration::from_secs(1);

/// It does not look more often than this.
const LOOK: Duration = Duration::from_millis(10);

/// Memory that unpublished changes of the index may take before they are published at once.
const GATHERING_BYTES_MAX: usize = 32 << 20;

/// Content of files without a name may take this part of the spool before it is sent all the same: an eighth.
const HELD_SHARE: u64 = 8;

/// Pause after a failed step, doubled each time up to the second value.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));

/// An epoch on its way; remembers which steps are done.
struct Epoch {
    number: EpochNo,
    through: Seq,
    put: Option<errand::Put>,
    /// Whoever waits for this epoch to be settled.
    tells: Vec<errand::Tell>,
    touched: Option<Vec<ArchiveNo>>,
    segment: Option<Segment>,
}

struct Segment {
    objects: Vec<Object>,
    hash: [u8; 32],
    bytes: u64,
}

enum Work {
    Stop,
    Tick,
    Epoch,
}

/// Tells everybody when the publisher ends, however it ends.
struct Alive<'d>(&'d Drive);

impl Drop for Alive<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0
                .control
                .make_read_only(String::from("the drain failed; mount again"));
        }
        self.0.control.post(|board| board.publisher_gone = true);
        self.0.errands.give_up();
    }
}

impl Drive {
    /// Starts the publisher's thread.
    pub(in crate::drive) fn start(self: &Arc<Drive>) {
        if self.settings.access == crate::drive::Access::Read {
            self.control.post(|board| board.publisher_gone = true);
            return;
        }
        let drive = Arc::clone(self);
        let thread = std::thread::Builder::new().name(String::from("ods-drain"));
        let spawned = thread.spawn(move || {
            let _alive = Alive(&drive);
            drive.publisher();
        });
        if let Err(error) = spawned {
            self.control
                .make_read_only(format!("no thread for the drain: {error}"));
            self.control.post(|board| board.publisher_gone = true);
        }
    }

    fn publisher(&self) {
        let mut pause = PAUSE.0;
        let mut epoch = None;
        let mut renewed = Instant::now();
        loop {
            match self.await_work(epoch.is_some()) {
                Work::Stop => break,
                Work::Tick => {
                    self.runtime.block_on(self.edit_cards(Pace::Due));
                    self.tend();
                    if renewed.elapsed() > Duration::from_secs(lease::RENEW_S) {
                        renewed = Instant::now();
                        if let Err(error) = self.wait_for(self.renew_lease()) {
                            self.refused(&error);
                        }
                    }
                    continue;
                }
                Work::Epoch => {}
            }
            match self.advance(&mut epoch) {
                Ok(()) => {
                    pause = PAUSE.0;
                    self.control.succeeded();
                }
                Err(Error::Closing) => break,
                Err(error @ Error::Forked(_)) => self.refused(&error),
                Err(error) => {
                    self.control.failed(&error);
                    self.rest(pause);
                    pause = (pause * 2).min(PAUSE.1);
                }
            }
        }
        self.control.post(|board| board.phase = Phase::Idle);
    }

    /// Sleeps unless the drive is closed, in a task.
    pub(in crate::drive) async fn pause(&self, pause: Duration) {
        let until = Instant::now() + pause;
        while !self.control.stopping() && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(100).min(pause)).await;
        }
    }

    fn await_work(&self, unfinished: bool) -> Work {
        let mut board = self.control.board();
        let until = Instant::now() + TICK;
        loop {
            if board.stop == Stop::Now {
                return Work::Stop;
            }
            let wanted = board.wanted > board.published;
            if board.read_only.is_none()
                && (unfinished
                    || self.errands.any()
                    || (board.first_change.is_some() && (wanted || self.is_due(&board))))
            {
                return Work::Epoch;
            }
            let now = Instant::now();
            if now >= until {
                return Work::Tick;
            }
            board = self
                .control
                .wait(board, (until - now).min(self.settings.linger.max(LOOK)));
        }
    }

    fn is_due(&self, board: &crate::drive::control::Board) -> bool {
        let since = |at: Option<Instant>| at.map_or(Duration::ZERO, |at| at.elapsed());
        since(board.last_change) >= self.settings.linger
            || since(board.first_change) >= self.settings.age_max
            || self
                .spool
                .usage()
                .live_bytes
                .saturating_sub(board.held_bytes)
                >= self.settings.epoch_bytes
            || self.index.counts().gathering_bytes >= GATHERING_BYTES_MAX
    }

    fn advance(&self, epoch: &mut Option<Epoch>) -> Result<(), Error> {
        if epoch.is_none() {
            self.run_between_epochs();
            *epoch = self.freeze()?;
        }
        let Some(current) = epoch else { return Ok(()) };
        if current.put.is_none() {
            self.control.post(|board| board.phase = Phase::Uploading);
            let mut put = Drain::new(self).run()?;
            current.tells = self.run_in_epoch(&mut put);
            current.put = Some(put);
            if self.abandon_empty(&mut current.tells)? {
                *epoch = None;
                return Ok(());
            }
        }
        if current.segment.is_none() {
            self.prepare(current)?;
        }
        self.control.post(|board| board.phase = Phase::Publishing);
        self.wait_for(self.publish(current))?;
        self.settle(current)?;
        let touched = current.touched.take().unwrap_or_default();
        errand::tell(&mut current.tells);
        *epoch = None;
        self.want_cards(&touched);
        self.runtime.block_on(self.edit_cards(Pace::Due));
        if self
            .journal_head()
            .wants_checkpoint(self.settings.tail_segments_max)
        {
            self.control.post(|board| board.phase = Phase::Checkpoint);
            self.wait_for(self.checkpoint())?;
        }
        self.control.post(|board| board.phase = Phase::Idle);
        Ok(())
    }

    /// Sets aside everything gathered so far; none if there is nothing.
    fn freeze(&self) -> Result<Option<Epoch>, Error> {
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
        // But it must not fill the spool.
        let held_max = self.settings.spool_bytes_max / HELD_SHARE;
        for ino in orphans {
            if state.gathering.spooled_bytes() + frozen.spooled_bytes_of(ino) <= held_max {
                for (at, piece) in frozen.take(ino) {
                    state.gathering.put(ino, at, piece);
                }
            }
        }
        let held_bytes = state.gathering.spooled_bytes();
        let bytes = frozen.spooled_bytes();
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
            put: None,
            tells: Vec::new(),
            touched: None,
            segment: None,
        }))
    }

    /// Makes the segment, once everything it refers to is acknowledged.
    fn prepare(&self, epoch: &mut Epoch) -> Result<(), Error> {
        if epoch.touched.is_none() {
            epoch.touched =
                Some(self.fold_holdings(epoch.put.as_ref().unwrap_or(&errand::Put::new()))?);
        }
        let touched = epoch.touched.clone().unwrap_or_default();
        self.wait_for(self.make_shelves(&touched))?;
        let share = Share {
            through: epoch.through,
            epoch: epoch.number,
        };
        let mut batch = Batch::default();
        batch.put(Share::key(&self.instance), share.encode())?;
        self.index.amend(batch)?;
        let head = self.journal_head();
        let mut writer = PartWriter::new(
            self,
            Series::Segment,
            epoch.number,
            head.hash,
            epoch.through,
        );
        let mut parts = Vec::new();
        for (key, value) in self.index.publishing() {
            if key.first() != Some(&key::LOCAL) {
                parts.extend(writer.push(key.to_vec(), value.map(|value| value.to_vec()))?);
            }
        }
        parts.push(writer.finish()?);
        let hashes: Vec<[u8; 32]> = parts.iter().map(|part| part.hash).collect();
        let bytes = parts.iter().map(|part| part.object.body.len()).sum();
        let objects = parts.into_iter().map(|part| part.object).collect();
        epoch.segment = Some(Segment {
            objects,
            hash: segment_hash(&hashes),
            bytes,
        });
        Ok(())
    }

    /// Puts the segment, unless history has gone on without us.
    async fn publish(&self, epoch: &Epoch) -> Result<(), Error> {
        let Some(segment) = &epoch.segment else {
            return Ok(());
        };
        let mut head = self.journal_head();
        let mut others = Gatherer::default();
        let mut ours_found = 0;
        for entry in self.journal_after(head.mark).await? {
            let ours = segment
                .objects
                .iter()
                .any(|object| object.name == entry.name);
            if self.is_foreign_lease(&entry) {
                return Err(lease::taken_over());
            }
            if ours {
                ours_found += 1;
            } else {
                others.add(&entry);
                head.mark = head.mark.max(entry.mark);
            }
        }
        if others
            .complete(Series::Segment)
            .iter()
            .any(|found| found.epoch >= epoch.number)
        {
            return Err(Error::Forked(String::from(
                "another machine published changes to this drive meanwhile; what is in this machine's spool stays there",
            )));
        }
        self.set_journal_head(head);
        if ours_found == segment.objects.len() {
            // An earlier attempt got through; only its answer was lost.
            return Ok(());
        }
        self.put_journal(segment.objects.clone()).await
    }

    /// An epoch is on the store: sled takes it over, the spool lets go of it.
    fn settle(&self, epoch: &Epoch) -> Result<(), Error> {
        let Some(segment) = &epoch.segment else {
            return Ok(());
        };
        let old = self.journal_head();
        let head = Head {
            epoch: epoch.number,
            hash: segment.hash,
            mark: old.mark,
            tail_segments: old.tail_segments + 1,
            tail_bytes: old.tail_bytes + segment.bytes,
            checkpoint_bytes: old.checkpoint_bytes,
            through: epoch.through,
        };
        let mut batch = Batch::default();
        batch.put(Head::key(), head.encode())?;
        self.index.settle(batch)?;
        self.set_journal_head(head);
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(frozen) = state.frozen.take() {
            for (_, place, len) in frozen.references() {
                self.spool.release(&place, u64::from(len));
            }
        }
        drop(state);
        // The epoch is complete whatever becomes of the space: the next one cuts again.
        if let Err(error) = self.spool.cut(epoch.through) {
            log::warn!("the spool could not be cut: {error}");
        }
        self.control.post(|board| {
            board.published = board.published.max(epoch.through);
            board.epochs += 1;
            board.epoch_bytes = 0;
            board.epoch_done_bytes = 0;
        });
        Ok(())
    }
}
