//! The publisher: one thread that turns what was gathered into epochs, one after the other.
//!
//! Freeze, drain, publish, settle. Each step can be repeated: what the store already acknowledged is
//! a fact in the spool, the sealed parts of the segment are kept until they are put, and settling
//! twice gives the same index. So a failure only ever means "the same step again, later".

use std::sync::Arc;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use crate::codec::segment::segment_hash;
use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::cards::Pace;
use crate::drive::checkpoint::Writing;
use crate::drive::control::Stop;
use crate::drive::drain::Drain;
use crate::drive::errand;
use crate::drive::freeze::Epoch;
use crate::drive::freeze::Segment;
use crate::drive::journal::Head;
use crate::drive::journal::PartWriter;
use crate::drive::journal::Share;
use crate::drive::lease;
use crate::drive::names::Series;
use crate::drive::status::Phase;
use crate::index::Batch;
use crate::index::key;

/// How often the publisher looks around when nothing calls it.
const TICK: Duration = Duration::from_secs(1);

/// It does not look more often than this.
const LOOK: Duration = Duration::from_millis(10);

/// Pause after a failed step, doubled each time up to the second value.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));

enum Work {
    Stop,
    Tick,
    Epoch,
}

/// When a checkpoint that could not be written is tried again.
struct Owed<'d> {
    until: Option<Instant>,
    pause: Duration,
    /// What was put of it already.
    under_way: Option<Writing<'d>>,
}

impl<'d> Default for Owed<'d> {
    fn default() -> Owed<'d> {
        Owed {
            until: None,
            pause: PAUSE.0,
            under_way: None,
        }
    }
}

/// Tells everybody when the publisher ends, however it ends.
struct Alive<'d>(&'d Drive);

impl Drop for Alive<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let why = Error::State(String::from("the drain failed; mount again"));
            self.0.control.make_read_only(why);
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
        match spawned {
            Ok(thread) => self.threads().push(thread),
            Err(error) => {
                self.control
                    .make_read_only(Error::State(format!("no thread for the drain: {error}")));
                self.control.post(|board| board.publisher_gone = true);
            }
        }
    }

    fn publisher(&self) {
        let mut pause = PAUSE.0;
        let mut epoch = None;
        let mut renewed = Instant::now();
        let mut owed = Owed::default();
        loop {
            self.notice_failed_spool();
            match self.await_work(epoch.is_some()) {
                Work::Stop => break,
                Work::Tick => {
                    self.want_buttons();
                    self.runtime.block_on(self.edit_cards(Pace::Due));
                    self.tend();
                    if renewed.elapsed() > Duration::from_secs(lease::RENEW_S) {
                        renewed = Instant::now();
                        match self.wait_for(self.renew_lease()) {
                            Ok(true) => self.control.succeeded(),
                            Ok(false) => {}
                            Err(error) => self.control.failed(&error),
                        }
                    }
                    self.pay(&mut owed);
                    continue;
                }
                Work::Epoch => {}
            }
            match self.advance(&mut epoch) {
                Ok(()) => {
                    pause = PAUSE.0;
                    self.control.succeeded();
                    self.control.post(|board| board.phase = Phase::Idle);
                    self.pay(&mut owed);
                }
                Err(Error::Closing) => break,
                Err(error @ (Error::Forked(_) | Error::TakenOver(_))) => {
                    self.control.failed(&error);
                }
                Err(error) => {
                    self.control.failed(&error);
                    self.rest(pause);
                    pause = (pause * 2).min(PAUSE.1);
                }
            }
        }
        self.control.post(|board| board.phase = Phase::Idle);
    }

    /// Writes a checkpoint where one is owed. One that fails keeps no epoch waiting: it is tried again later.
    fn pay<'d>(&'d self, owed: &mut Owed<'d>) {
        if !self.owes_checkpoint() || owed.until.is_some_and(|until| Instant::now() < until) {
            return;
        }
        self.control.post(|board| board.phase = Phase::Checkpoint);
        match self.wait_for(self.checkpoint(&mut owed.under_way)) {
            Ok(()) => {
                *owed = Owed::default();
                self.control.succeeded();
            }
            // The next look at the work to do ends the drain.
            Err(Error::Closing) => {}
            Err(error) => {
                self.control.tell(&error);
                owed.until = Some(Instant::now() + owed.pause);
                owed.pause = (owed.pause * 2).min(PAUSE.1);
            }
        }
        self.control.post(|board| board.phase = Phase::Idle);
    }

    fn await_work(&self, unfinished: bool) -> Work {
        let mut board = self.control.board();
        let until = Instant::now() + TICK;
        loop {
            if board.stop == Stop::Now {
                return Work::Stop;
            }
            let wanted = board.wanted > board.published;
            // Errands are refused on a failed disk; what was changed still goes to the store.
            let is_asked = board.read_only.is_none() && self.errands.any();
            if board.barred().is_none()
                && (unfinished
                    || is_asked
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

    fn advance(&self, epoch: &mut Option<Epoch>) -> Result<(), Error> {
        if epoch.is_none() {
            self.run_between_epochs();
            *epoch = self.freeze()?;
        }
        let Some(current) = epoch else { return Ok(()) };
        if !current.is_sent {
            self.upload(current)?;
            if self.abandon_empty(&mut current.tells)? {
                *epoch = None;
                return Ok(());
            }
        }
        if !current.is_public {
            self.make_public(current)?;
            current.is_public = true;
        }
        self.settle(current)?;
        self.tell_losses()?;
        let touched = current.touched.take().unwrap_or_default();
        errand::tell(&mut current.tells);
        *epoch = None;
        self.want_cards(&touched);
        self.runtime.block_on(self.edit_cards(Pace::Due));
        Ok(())
    }

    /// Sends what the epoch needs, and does its errands; again, as long as a shelf was lost meanwhile with
    /// what it held: an errand finds that out as well.
    fn upload(&self, epoch: &mut Epoch) -> Result<(), Error> {
        while !epoch.is_sent {
            self.control.post(|board| board.phase = Phase::Uploading);
            let losses = self.losses.count();
            if Drain::new(self).run()? {
                epoch.tells.extend(self.run_in_epoch());
                epoch.is_sent = losses == self.losses.count();
            }
        }
        Ok(())
    }

    /// Makes the segment, once everything it refers to is acknowledged.
    pub(in crate::drive) fn prepare(&self, epoch: &mut Epoch) -> Result<(), Error> {
        if epoch.touched.is_none() {
            epoch.touched = Some(self.fold_holdings()?);
        }
        let touched = epoch.touched.clone().unwrap_or_default();
        self.wait_for(self.make_shelves(&touched))?;
        let share = Share {
            through: epoch.through,
            epoch: epoch.number,
        };
        let mut batch = Batch::default();
        if let Some(forgotten) = self.lineage.outgrown(&self.index)? {
            batch.delete(Share::key(&forgotten));
        }
        batch.put(Share::key(&self.lineage.name()), share.encode())?;
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
        let attempt = writer.attempt();
        parts.push(writer.finish()?);
        let hashes: Vec<[u8; 32]> = parts.iter().map(|part| part.hash).collect();
        let bytes = parts.iter().map(|part| part.object.body.len()).sum();
        let objects = parts.into_iter().map(|part| part.object).collect();
        epoch.segment = Some(Segment {
            objects,
            attempt,
            mark: head.mark,
            hash: segment_hash(&hashes),
            bytes,
        });
        Ok(())
    }

    /// Where the disk is full, the cache makes room: nothing else does before the index has taken the epoch over.
    fn settle_index(&self, batch: &Batch) -> Result<(), Error> {
        match self.index.settle(batch.clone()) {
            Err(error) if error.is_full_disk() => {
                self.empty_cache();
                Ok(self.index.settle(batch.clone())?)
            }
            settled => Ok(settled?),
        }
    }

    /// An epoch is on the store: the stored index takes it over, the spool lets go of it.
    fn settle(&self, epoch: &Epoch) -> Result<(), Error> {
        let Some(segment) = &epoch.segment else {
            return Ok(());
        };
        let mut head = self.journal_head();
        head.epoch = epoch.number;
        head.hash = segment.hash;
        head.tail_segments += 1;
        head.tail_bytes += segment.bytes;
        head.through = epoch.through;
        head.step(segment.attempt, segment.mark);
        let mut batch = Batch::default();
        batch.put(Head::key(), head.encode())?;
        self.settle_index(&batch)?;
        self.set_journal_head(head);
        self.drop_replaced_now();
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
            board.refusing = None;
            // What was to be sent again is.
            board.halt = None;
            let seconds = board.epoch_started.map_or(0, |at| at.elapsed().as_secs());
            if board.epoch_done_bytes > 0 {
                board.last_rate = board.epoch_done_bytes / seconds.max(1);
            }
            board.epoch_bytes = 0;
            board.epoch_done_bytes = 0;
        });
        Ok(())
    }
}
