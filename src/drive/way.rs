//! The way from where this machine is in the journal to its end, and whether it may be gone.

use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::Halt;
use crate::drive::deliver::is_void;
use crate::drive::history::Found;
use crate::drive::history::Gatherer;
use crate::drive::journal::Head;
use crate::drive::lineage::Sender;
use crate::drive::names::Series;
use crate::drive::rebuild::Progress;
use crate::drive::rebuild::Watch;
use crate::id::EpochNo;
use crate::id::Seq;
use crate::store::Mark;

/// What leads from one epoch to a later one.
pub(in crate::drive) struct Way {
    /// The checkpoint to begin with, if one is needed.
    base: Option<Found>,
    /// How far this state directory has published, as that checkpoint tells.
    through: Seq,
    segments: Vec<Found>,
    /// Attempts at the epoch of that checkpoint: whichever it holds, none is news.
    beside: Vec<Found>,
    /// Those that may lead around an epoch that cannot be read.
    checkpoints: Vec<Found>,
}

impl Way {
    /// Is there nothing new?
    pub(in crate::drive) fn is_empty(&self) -> bool {
        self.base.is_none() && self.segments.is_empty()
    }
}

impl Drive {
    /// What leads from the head to the newest epoch, unless that leaves behind what waits here.
    pub(in crate::drive) async fn way_from(
        &self,
        head: &Head,
        gatherer: &Gatherer,
        lease: Option<Mark>,
        is_anew: bool,
    ) -> Result<Way, Error> {
        let mut segments = gatherer.complete(Series::Segment);
        segments.retain(|found| !is_void(found, lease));
        let base = self.base(gatherer, &segments, head).await?;
        let through = base.as_ref().map_or(head.through, |(_, through)| *through);
        let base = base.map(|(found, _)| found);
        let from = base.as_ref().map_or(head.epoch, |found| found.epoch);
        let mut beside = segments.clone();
        beside.retain(|found| base.is_some() && found.epoch == from);
        segments.retain(|found| found.epoch > from);
        if base.is_none() && !is_anew {
            self.pass_over_given_up(&mut segments, head.through)?;
        }
        let way = Way {
            base,
            segments,
            beside,
            through: through.max(head.through),
            checkpoints: gatherer.complete(Series::Checkpoint),
        };
        if !way.is_empty() && !is_anew {
            self.refuse_fork(way.through, &way.segments, way.base.is_some())
                .await?;
        }
        Ok(way)
    }

    /// Goes all of a way, or as far as that is possible: around an epoch that cannot be read with a checkpoint, if one
    /// has what it held.
    pub(in crate::drive) async fn go(
        &self,
        way: Way,
        head: &mut Head,
        watch: Watch<'_>,
    ) -> Result<Option<Halt>, Error> {
        let mut progress = Progress::before(way.base.iter().chain(&way.segments));
        let mut segments = way.segments;
        if let Some(newest) = way.base {
            let before = head.through;
            head.through = way.through;
            let applied = self.apply_checkpoint(&newest, &segments, head, &mut progress, watch);
            match applied.await {
                Ok(()) => way.beside.iter().for_each(|found| head.pass_over(found)),
                Err(error) => {
                    head.through = before;
                    segments = self.apply_older(&newest, error, head, watch).await?;
                }
            }
        }
        loop {
            let applied = self.apply_segments(&segments, head, &mut progress, watch);
            let halt = applied.await?;
            if !halt.as_ref().is_some_and(Halt::is_unreadable) {
                return Ok(halt);
            }
            let Some((base, through)) = self.base_beyond(&way.checkpoints, head).await? else {
                return Ok(halt);
            };
            log::warn!(
                "the journal is followed from the checkpoint of epoch {}",
                base.epoch
            );
            segments.retain(|found| found.epoch > base.epoch);
            head.through = through;
            self.apply_checkpoint(&base, &segments, head, &mut progress, watch)
                .await?;
        }
    }

    /// The checkpoint to go on with after an epoch that cannot be read, and how far it tells that this state directory
    /// has published: what waits here is not left behind for it.
    async fn base_beyond(
        &self,
        checkpoints: &[Found],
        head: &Head,
    ) -> Result<Option<(Found, Seq)>, Error> {
        let later = checkpoints.iter().filter(|found| found.epoch > head.epoch);
        let later: Vec<Found> = later.cloned().collect();
        let base = self.newest_sound(&later, head).await?;
        match base {
            Some((_, through)) if self.unpublished(through)?.is_some() => Err(self.forked()),
            base => Ok(base),
        }
    }

    /// History that went on without us is followed only if nothing of ours would be lost.
    async fn refuse_fork(
        &self,
        mut through: Seq,
        segments: &[Found],
        rebased: bool,
    ) -> Result<(), Error> {
        if self.unpublished(through)?.is_none() {
            return Ok(());
        }
        let (mut foreign, mut beaten) = (rebased, EpochNo(0));
        for found in segments {
            let opened = match self.open_segment(found).await {
                // Nobody can have gone on from it.
                Err(error) if error.is_damage() => continue,
                opened => opened?,
            };
            let (sender, covers) = (opened.preamble.instance, opened.preamble.through);
            match self.lineage.sender(&sender, covers) {
                // Another machine's came first, and is followed.
                Sender::This(_) if found.epoch == beaten => {}
                Sender::This(covered) => through = through.max(covered),
                Sender::Original(covered) => {
                    through = through.max(covered);
                    foreign = true;
                }
                Sender::Other => {
                    foreign = true;
                    beaten = found.epoch;
                }
            }
        }
        if foreign && self.unpublished(through)?.is_some() {
            return Err(self.forked());
        }
        Ok(())
    }
}
