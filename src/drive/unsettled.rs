//! What a rebuild cannot take for granted: how far this state directory has published, that nobody else went on
//! meanwhile, and that what it sent last is whole.

use std::sync::atomic::Ordering;

use crate::drive::Access;
use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::history::Found;
use crate::drive::history::Gatherer;
use crate::drive::journal::Head;
use crate::drive::journal::Share;
use crate::drive::lineage::Sender;
use crate::drive::names::Series;
use crate::drive::open::SPOOL_END;
use crate::drive::rebuild::Progress;
use crate::drive::rebuild::Watch;
use crate::drive::rebuild::lead_to;
use crate::id::EpochNo;
use crate::id::Seq;
use crate::index::Batch;
use crate::index::key;
use crate::store::Mark;

/// Is in the index while it is made anew: until then nobody knows how far this state directory has published.
pub(in crate::drive) fn key() -> Vec<u8> {
    key::local("unsettled")
}

/// Is in the index from when a lease was taken that was not there before until the journal was followed: another
/// machine may have published meanwhile.
pub(in crate::drive) fn unfollowed() -> Vec<u8> {
    key::local("unfollowed")
}

impl Drive {
    /// Notes, before a lease is put, whether this machine's own was still there, and no other.
    pub(in crate::drive) fn note_lease(&self, is_there: bool) -> Result<(), Error> {
        let kept = is_there && self.index.base_get(&unfollowed())?.is_none();
        self.lease_kept.store(kept, Ordering::Release);
        if !kept {
            let mut batch = Batch::default();
            batch.put(unfollowed(), Vec::new())?;
            self.index.write_through(batch)?;
        }
        Ok(())
    }

    pub(in crate::drive) fn note_unsettled(&self) -> Result<(), Error> {
        let mut batch = Batch::default();
        batch.put(key(), Vec::new())?;
        Ok(self.index.load(&batch)?)
    }

    /// Empties the index, but for what is noted here.
    pub(in crate::drive) fn wipe_but_for_notes(&self) -> Result<(), Error> {
        let mut batch = Batch::default();
        for note in [key(), unfollowed()] {
            if self.index.base_get(&note)?.is_some() {
                batch.put(note, Vec::new())?;
            }
        }
        self.wipe_index()?;
        Ok(self.index.load(&batch)?)
    }

    /// Was it killed while the index was made anew, or is it made anew now?
    pub(in crate::drive) fn is_unsettled(&self) -> Result<bool, Error> {
        Ok(self.index.base_get(&key())?.is_some())
    }

    /// What this state directory published before its index was lost, as the journal knows it. If history went
    /// on without what its spool holds beyond that: the last epoch that those changes follow.
    pub(in crate::drive) fn find_share(&self, head: &mut Head) -> Result<Option<EpochNo>, Error> {
        let share = self.share()?;
        head.through = head.through.max(share.through);
        let last = self.unpublished(head.through)?;
        let own = last.map(|base| base.max(share.epoch));
        Ok(own.filter(|own| head.epoch > *own))
    }

    /// The index that was lost was that of a forked drive: who only reads is shown this machine's side, up to
    /// the epoch that its changes follow, and everybody else is refused.
    pub(in crate::drive) async fn stop_at_fork(
        &self,
        own: EpochNo,
        through: Seq,
        watch: Watch<'_>,
    ) -> Result<(), Error> {
        self.wipe_but_for_notes()?;
        self.set_journal_head(Head::default());
        if self.settings.access == Access::Write {
            return Err(self.forked());
        }
        let head = self.rebuild_up_to(own, watch).await?;
        let head = Head { through, ..head };
        let mut batch = Batch::default();
        batch.put(Head::key(), head.encode())?;
        batch.delete(key());
        self.keep(&batch, &head)?;
        self.tell_forked();
        Ok(())
    }

    /// Follows the journal from nothing to an epoch before its end.
    async fn rebuild_up_to(&self, own: EpochNo, watch: Watch<'_>) -> Result<Head, Error> {
        let mut gatherer = Gatherer::default();
        let all = self.journal_after(Mark(0)).await?;
        all.iter().for_each(|entry| gatherer.add(entry));
        let mut checkpoints = gatherer.complete(Series::Checkpoint);
        checkpoints.retain(|found| found.epoch <= own);
        let base = checkpoints.pop();
        let from = base.as_ref().map_or(EpochNo(0), |found| found.epoch);
        let mut segments = gatherer.complete(Series::Segment);
        segments.retain(|found| found.epoch > from && found.epoch <= own);
        if !lead_to(&segments, from, own) {
            return Err(Error::Forked(format!(
                "this drive was changed from another machine while {} held changes that were never published, and its index is \
                 lost: the journal does not reach back to epoch {own}, which they follow, so they cannot be shown; to give them \
                 up, {}",
                self.settings.state_dir.display(),
                self.how_to_give_up()
            )));
        }
        let mut progress = Progress::before(base.iter().chain(&segments));
        let mut head = Head::default();
        if let Some(base) = base {
            self.apply_checkpoint(&base, &segments, &mut head, &mut progress, watch)
                .await?;
        }
        let halt = self
            .apply_segments(&segments, &mut head, &mut progress, watch)
            .await?;
        halt.map_or(Ok(head), |halt| Err(halt.refusal()))
    }

    pub(in crate::drive) fn tell_forked(&self) {
        let text = format!(
            "the drive went on from another machine while changes waited here: this machine's side is shown, with those changes; \
             what the other machine published since is not. Copy what you need of it elsewhere, then unmount and {}: the next mount shows \
             the other side",
            self.how_to_give_up()
        );
        self.control.post(|board| board.forked = Some(text));
    }

    /// What to do to be rid of the changes that wait: without the note of its end, the spool is not missed.
    pub(in crate::drive) fn how_to_give_up(&self) -> String {
        let (spool, dir) = (self.settings.spool_dir(), &self.settings.state_dir);
        let end = dir.join(SPOOL_END);
        format!(
            "remove both the directory {} and the file {}",
            spool.display(),
            end.display()
        )
    }

    pub(in crate::drive) fn forked(&self) -> Error {
        Error::Forked(format!(
            "this drive was changed from another machine while {} held changes that were never published; mount with \
             `-o ro` and copy what you need of them elsewhere, then unmount and give them up: {}",
            self.settings.state_dir.display(),
            self.how_to_give_up()
        ))
    }

    pub(in crate::drive) fn share(&self) -> Result<Share, Error> {
        self.lineage.share(&self.index)
    }

    /// What was sent under a name of this directory, but not from here, comes from another state of it, which was then
    /// set back: whoever has the lease need not be the only one who had it.
    pub(in crate::drive) fn distrust_lease(&self, sender: Sender) {
        if matches!(sender, Sender::Original(_)) {
            self.lease_kept.store(false, Ordering::Release);
        }
    }

    /// Attempts at the epoch that is to be published, or at later ones, that keep nobody from it: those that were given
    /// up, and those that cannot be read, if this machine had the lease all the time: nobody else can have published
    /// since.
    pub(in crate::drive) async fn pass_over_broken(
        &self,
        segments: &mut Vec<Found>,
    ) -> Result<(), Error> {
        let mut left = self.not_given_up(segments)?;
        if !left.is_empty() && self.has_kept_lease().await? {
            let broken = self.broken_at_the_end(&left).await?;
            left.retain(|found| !broken.contains(found));
            for found in broken {
                log::warn!("what this machine had sent of it is sent again");
                self.pass_over(found.epoch, found.locators().cloned().collect());
            }
        }
        *segments = left;
        Ok(())
    }

    /// Those that cannot be read, and from which history did not go on.
    async fn broken_at_the_end(&self, segments: &[Found]) -> Result<Vec<Found>, Error> {
        let mut broken = Vec::new();
        for found in segments {
            match self.open_segment(found).await {
                // History went on from one that is there.
                Ok(_) => broken.retain(|other: &Found| other.epoch == found.epoch),
                Err(error) if error.is_damage() => {
                    log::warn!("epoch {} is not whole in the journal: {error}", found.epoch);
                    broken.push(found.clone());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(broken)
    }
}
