//! Following the journal: from nothing to the present, or from where this machine left off.
//!
//! Both are the same walk. List what is newer than the head; if the head is far behind or there is
//! none, go back to the newest complete checkpoint; then apply segment after segment, each checked
//! against the hash of the one before it. Everything lands in the index, and applying twice is harmless,
//! so an interrupted walk goes on from the last whole segment, or begins the checkpoint again.
//!
//! Where the walk cannot go on, `halt.rs` says what becomes of that.
//!
//! A listing that lacks an epoch before a later one is asked for again. One that lacks only the last cannot be
//! told from one that is whole: a machine that begins with it shows the state before, and is stopped as a fork
//! once it is listed (`branch.rs`), which is why the last few segments are listed each time.

use std::ops::Bound;
use std::time::Duration;

use crate::drive::Access;
use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::Halt;
use crate::drive::base::bases;
use crate::drive::branch::Branch;
use crate::drive::branch::HeadIs;
use crate::drive::branch::is_head_among;
use crate::drive::history::Found;
use crate::drive::history::Gatherer;
use crate::drive::journal::Head;
use crate::drive::lineage::Sender;
use crate::drive::names::Series;
use crate::drive::unsettled;
use crate::id::EpochNo;
use crate::index::Batch;
use crate::store;
use crate::store::Mark;

/// How far a rebuild has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Objects fetched and applied.
    pub parts: u64,
    /// Objects there are.
    pub parts_total: u64,
    /// Bytes of those fetched.
    pub bytes: u64,
    /// Bytes of all.
    pub bytes_total: u64,
}

impl Progress {
    /// Of these, none was fetched yet.
    pub(in crate::drive) fn before<'f>(sets: impl Iterator<Item = &'f Found>) -> Progress {
        let mut progress = Progress::default();
        for found in sets {
            progress.parts_total += found.parts.len() as u64;
            progress.bytes_total += found.bytes();
        }
        progress
    }
}

/// Keys removed at once when the index is emptied.
const WIPE_KEYS: usize = 4096;

/// How often a journal is listed that lacks an epoch before a later one: what was stored a moment ago
/// may be listed late, which is no damage.
const LISTINGS_MAX: u32 = 6;

/// Pause before it is listed again, doubled each time.
const LATE_PAUSE: Duration = Duration::from_millis(100);

/// Is there a segment of every epoch after `from`, up to `to`?
pub(in crate::drive) fn lead_to(segments: &[Found], from: EpochNo, to: EpochNo) -> bool {
    let mut next = from.0 + 1;
    for found in segments {
        next += u64::from(found.epoch.0 == next);
    }
    next > to.0
}

/// How following the journal ended.
enum Followed {
    /// At its end, or where it could not be followed further.
    Up(HeadIs),
    /// Not begun: this machine has another history.
    Beside(Branch),
}

/// Is called now and then while a rebuild goes on.
pub type Watch<'w> = &'w (dyn Fn(Progress) + Send + Sync);

impl Drive {
    fn lock_head(&self) -> std::sync::MutexGuard<'_, Head> {
        self.head
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// How far this machine has followed the journal.
    pub(in crate::drive) fn journal_head(&self) -> Head {
        self.lock_head().clone()
    }

    /// The epoch that is published next.
    pub(in crate::drive) fn epoch_under_way(&self) -> EpochNo {
        EpochNo(self.journal_head().epoch.0 + 1)
    }

    pub(in crate::drive) fn set_journal_head(&self, head: Head) {
        *self.lock_head() = head;
    }

    /// Brings the index to the newest published epoch; tells whether the state it has then is on the shelf. When the
    /// spool holds changes that are not in the journal, history must not have gone on elsewhere; nor otherwise than this
    /// machine knows it, if it has a part in that.
    pub(in crate::drive) async fn catch_up(&self, watch: Watch<'_>) -> Result<HeadIs, Error> {
        let branch = match self.follow_journal(watch).await? {
            Followed::Up(head_is) => return Ok(head_is),
            Followed::Beside(branch) => branch,
        };
        if let Err(error) = self.leave_for(branch) {
            return self.stay_beside(error).map(|()| HeadIs::Listed);
        }
        match self.follow_journal(watch).await? {
            Followed::Up(head_is) => Ok(head_is),
            // From nothing, whatever there is is followed.
            Followed::Beside(branch) => Err(self.parted(branch.from)),
        }
    }

    async fn follow_journal(&self, watch: Watch<'_>) -> Result<Followed, Error> {
        let mut head = self.journal_head();
        if head.epoch == EpochNo(0) {
            self.wipe_but_for_notes()?;
            self.note_unsettled()?;
        }
        // Whoever was killed at making the index anew goes on with that.
        let is_anew = self.is_unsettled()?;
        let (gatherer, lease) = match self.listed(&head).await {
            // Without its journal the drive is what this machine has of it.
            Err(Error::Store(error @ store::Error::Homeless { .. }))
                if self.settings.access == Access::Read && !is_anew =>
            {
                log::warn!("{error}");
                return Ok(Followed::Up(HeadIs::Listed));
            }
            listed => listed?,
        };
        if !is_anew && let Some(branch) = self.branch_beside(&gatherer, lease, &mut head).await? {
            return Ok(Followed::Beside(branch));
        }
        let way = match self.way_from(&head, &gatherer, lease, is_anew).await {
            Err(error @ Error::Forked(_)) => {
                self.stay_beside(error)?;
                return Ok(Followed::Up(HeadIs::Listed));
            }
            way => way?,
        };
        let (is_news, before) = (!way.is_empty(), head.epoch);
        let was_among = is_head_among(&gatherer, &head);
        let halt = match self.go(way, &mut head, watch).await {
            Err(error @ Error::Forked(_)) => {
                self.stay_beside(error)?;
                return Ok(Followed::Up(HeadIs::Listed));
            }
            halt => halt?,
        };
        if !is_anew && let Some(branch) = self.branch_ahead(before, &halt, &gatherer, &head).await?
        {
            return Ok(Followed::Beside(branch));
        }
        let head_is = match is_news {
            true if was_among || self.settings.access == Access::Read => HeadIs::Listed,
            // What follows it was put when it was gone, by whoever was killed then.
            true => HeadIs::Missing,
            false => self.head_is(&gatherer, &head).await?,
        };
        if head_is == HeadIs::Replaced {
            let (from, newest) = (head.epoch, head.epoch);
            return Ok(Followed::Beside(Branch { from, newest }));
        }
        let fork = match is_anew {
            true => self.find_share(&mut head)?,
            false => None,
        };
        self.go_on_before(halt, &head)?;
        match fork {
            Some(own) => self.stop_at_fork(own, head.through, watch).await?,
            None => self.keep_followed(&head)?,
        }
        self.looked_just_now();
        Ok(Followed::Up(head_is))
    }

    /// The journal was followed as far as that is possible. If it was not to its end, what it is to be looked for
    /// in the rest of it is noted still.
    fn keep_followed(&self, head: &Head) -> Result<(), Error> {
        let mut batch = Batch::default();
        batch.put(Head::key(), head.encode())?;
        if !self.is_halted() {
            batch.delete(unsettled::key());
            batch.delete(unsettled::unfollowed());
        }
        self.keep(&batch, head)
    }

    /// What is on the journal shelf and new here, with the last that was followed; and our lease. Listed again for a
    /// while when an epoch is missing before a later one, or our lease is, and once when the head is.
    async fn listed(&self, head: &Head) -> Result<(Gatherer, Option<Mark>), Error> {
        let mut pause = LATE_PAUSE;
        for number in 0..LISTINGS_MAX {
            let listed = match head.epoch {
                EpochNo(0) => self.journal_since_checkpoint().await?,
                _ => self.journal_after(head.mark).await?,
            };
            let mut gatherer = Gatherer::default();
            listed.iter().for_each(|entry| gatherer.add(entry));
            let segments = gatherer.complete(Series::Segment);
            let base = bases(&gatherer, &segments, head.epoch).pop();
            let from = base.map_or(head.epoch, |found| found.epoch);
            let to = segments.last().map_or(from, |found| found.epoch.max(from));
            let (is_first, is_last) = (number == 0, number + 1 == LISTINGS_MAX);
            let has_news = to > head.epoch;
            let has_head = has_news || !is_first || is_head_among(&gatherer, head);
            let lease = self.lease_among(&listed);
            // What came after it would be followed, and its sender takes it back.
            let has_lease = lease.is_some() || !self.has_put_lease();
            if is_last || (lead_to(&segments, from, to) && has_head && has_lease) {
                return Ok((gatherer, lease));
            }
            log::info!("the journal lacks an epoch up to {to}, or a lease; it is listed again");
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        Err(Error::Malformed)
    }

    /// Applies segments one after the other, up to an epoch that is missing or that none of them can be read for;
    /// gives that.
    pub(in crate::drive) async fn apply_segments(
        &self,
        segments: &[Found],
        head: &mut Head,
        progress: &mut Progress,
        watch: Watch<'_>,
    ) -> Result<Option<Halt>, Error> {
        let mut rest = segments;
        while let Some(first) = rest.first() {
            let alike = rest
                .iter()
                .take_while(|found| found.epoch == first.epoch)
                .count();
            let (candidates, later) = rest.split_at(alike);
            rest = later;
            if first.epoch.0 != head.epoch.0 + 1 {
                return Ok(Some(Halt::before(first.epoch, head.epoch)));
            }
            let choice = match self.choose_patiently(candidates, later, head).await {
                Ok(Some(chosen)) => chosen,
                Ok(None) => {
                    let epoch = first.epoch;
                    let why = format!(
                        "epoch {epoch} of the journal does not follow the one before it; if two machines published at \
                         the same time, `ods sync --reset` makes this one's index again, without what it published last"
                    );
                    return Ok(Some(Halt::at(head.epoch, why)));
                }
                Err(error) if error.is_damage() => {
                    let halt = Halt::unreadable(head.epoch, error.to_string());
                    return Ok(Some(match later.is_empty() {
                        true => halt.at_the_end(candidates),
                        false => halt,
                    }));
                }
                Err(error) => return Err(error),
            };
            let (found, opened) = (choice.found, choice.opened);
            for batch in opened.batches {
                self.index.load(&batch)?;
            }
            head.epoch = found.epoch;
            head.hash = opened.hash;
            head.step(found.attempt, found.first_mark());
            let settled = candidates.iter();
            let settled = settled.filter(|other| !choice.unclear.contains(other));
            settled.for_each(|other| head.pass_over(other));
            head.tail_segments += 1;
            head.tail_bytes += found.bytes();
            let (sender, covers) = (opened.preamble.instance, opened.preamble.through);
            let sender = self.lineage.sender(&sender, covers);
            if let Sender::This(covered) | Sender::Original(covered) = sender {
                head.through = head.through.max(covered);
            }
            self.distrust_lease(sender);
            self.take_back(found)?;
            self.keep_head(head)?;
            for found in candidates {
                progress.parts += found.parts.len() as u64;
                progress.bytes += found.bytes();
            }
            watch(*progress);
        }
        Ok(None)
    }

    /// Empties the index; the head goes first, so that an interrupted emptying is begun again.
    pub(in crate::drive) fn wipe_index(&self) -> Result<(), Error> {
        let mut batch = Batch::default();
        batch.delete(Head::key());
        self.index.load(&batch)?;
        self.index.load_done()?;
        loop {
            let mut batch = Batch::default();
            for entry in self
                .index
                .base_scan(Bound::Unbounded, Bound::Unbounded)
                .take(WIPE_KEYS)
            {
                batch.delete(entry?.0);
            }
            if batch.is_empty() {
                return Ok(());
            }
            self.index.load(&batch)?;
        }
    }

    pub(in crate::drive) fn keep_head(&self, head: &Head) -> Result<(), Error> {
        let mut batch = Batch::default();
        batch.put(Head::key(), head.encode())?;
        self.keep(&batch, head)
    }

    pub(in crate::drive) fn keep(&self, batch: &Batch, head: &Head) -> Result<(), Error> {
        self.index.load(batch)?;
        self.index.load_done()?;
        self.set_journal_head(head.clone());
        Ok(())
    }
}
