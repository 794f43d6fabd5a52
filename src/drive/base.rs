//! Where following the journal begins: with the newest checkpoint that is whole, or with the first epoch.

use crate::codec::segment::Kind;
use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::history::Found;
use crate::drive::history::Gatherer;
use crate::drive::journal::Head;
use crate::drive::names::Series;
use crate::drive::parts::Part;
use crate::drive::rebuild::Progress;
use crate::drive::rebuild::Watch;
use crate::drive::rebuild::lead_to;
use crate::id::EpochNo;
use crate::id::Seq;
use crate::store::Entry;
use crate::store::Mark;
use crate::store::Span;

/// The checkpoints that may be begun with, if one is needed: from nothing, or when the segments do not lead there.
/// The best comes last.
pub(in crate::drive) fn bases(
    gatherer: &Gatherer,
    segments: &[Found],
    head: EpochNo,
) -> Vec<Found> {
    let is_new = head == EpochNo(0);
    let mut checkpoints = gatherer.complete(Series::Checkpoint);
    checkpoints
        .retain(|found| found.epoch > head && (is_new || !lead_to(segments, head, found.epoch)));
    checkpoints
}

/// Is there a checkpoint among these, and all that follows it?
fn reaches_back(gatherer: &Gatherer) -> bool {
    let segments = gatherer.complete(Series::Segment);
    let newest = segments.last().map_or(EpochNo(0), |found| found.epoch);
    let base = gatherer.complete(Series::Checkpoint).pop();
    base.is_some_and(|base| lead_to(&segments, base.epoch, newest))
}

impl Drive {
    /// The checkpoint to begin with, if one is needed, and how far it tells that this state directory has published.
    pub(in crate::drive) async fn base(
        &self,
        gatherer: &Gatherer,
        segments: &[Found],
        head: &Head,
    ) -> Result<Option<(Found, Seq)>, Error> {
        let mut checkpoints = bases(gatherer, segments, head.epoch);
        match head.epoch {
            EpochNo(0) => Ok(checkpoints.pop().map(|newest| (newest, head.through))),
            _ => self.newest_sound(&checkpoints, head).await,
        }
    }

    /// The newest of these checkpoints that is whole, and how far it tells that this state directory has published: an
    /// index that is there is given up only for one that has all of that. Otherwise it would be gone, and nobody would
    /// know.
    pub(in crate::drive) async fn newest_sound(
        &self,
        checkpoints: &[Found],
        head: &Head,
    ) -> Result<Option<(Found, Seq)>, Error> {
        for found in checkpoints.iter().rev() {
            match self.share_in(found).await {
                Ok(through) if through < head.through => return Err(self.parted(EpochNo(0))),
                Ok(through) => return Ok(Some((found.clone(), through))),
                Err(error) if error.is_damage() => {}
                Err(error) => return Err(error),
            }
            let epoch = found.epoch;
            log::warn!("what is called the checkpoint of epoch {epoch} is none, or damaged");
        }
        Ok(None)
    }

    /// The newest checkpoint cannot be read: begins with another one, or with the first epoch. Gives the segments
    /// since then.
    pub(in crate::drive) async fn apply_older(
        &self,
        newest: &Found,
        error: Error,
        head: &mut Head,
        watch: Watch<'_>,
    ) -> Result<Vec<Found>, Error> {
        if !error.is_damage() {
            return Err(error);
        }
        log::warn!("the newest checkpoint cannot be read ({error}); an older one is tried");
        let mut gatherer = Gatherer::default();
        let all = self.journal_after(Mark(0)).await?;
        all.iter().for_each(|entry| gatherer.add(entry));
        let segments = gatherer.complete(Series::Segment);
        let checkpoints = gatherer.complete(Series::Checkpoint);
        for found in checkpoints.iter().rev().filter(|found| *found != newest) {
            let mut progress = Progress::default();
            let since = segments.iter();
            let since = since.filter(|segment| segment.epoch > found.epoch);
            let since: Vec<Found> = since.cloned().collect();
            let applied = self.apply_checkpoint(found, &since, head, &mut progress, watch);
            match applied.await {
                Ok(()) => return Ok(since),
                Err(error) if error.is_damage() => {}
                Err(error) => return Err(error),
            }
        }
        if !lead_to(&segments, EpochNo(0), EpochNo(1)) {
            return Err(error);
        }
        self.wipe_but_for_notes()?;
        *head = Head {
            through: head.through,
            ..Head::default()
        };
        Ok(segments)
    }

    /// Lists the journal newest first, until a complete checkpoint and all that follows it are seen: what a machine wrote
    /// late, of an epoch that others had gone on from, lies after segments that follow it.
    pub(in crate::drive) async fn journal_since_checkpoint(&self) -> Result<Vec<Entry>, Error> {
        let shelf = self.store.journal();
        let (mut found, mut span) = (Vec::new(), Span::Newest);
        let mut gatherer = Gatherer::default();
        loop {
            let page = self.store.list(&shelf, span).await?;
            page.entries.iter().for_each(|entry| gatherer.add(entry));
            found.extend(page.entries);
            match page.next {
                Some(next) if !reaches_back(&gatherer) => span = Span::Before(next),
                _ => return Ok(found),
            }
        }
    }

    /// Makes the index that of a checkpoint, which these segments follow; an error when that is not whole, and then
    /// there is no index. Listing begins before all of them, wherever the checkpoint lies.
    pub(in crate::drive) async fn apply_checkpoint(
        &self,
        found: &Found,
        segments: &[Found],
        head: &mut Head,
        progress: &mut Progress,
        watch: Watch<'_>,
    ) -> Result<(), Error> {
        self.wipe_but_for_notes()?;
        let take = |part: Part<'_>| {
            let batch = Drive::checkpoint_batch(part.number, &part.plain)?;
            self.index.load(&batch)?;
            progress.parts += 1;
            progress.bytes += part.entry.bytes;
            watch(*progress);
            Ok(())
        };
        let first = self.read_set(found, Kind::Checkpoint, take).await?;
        let marks = segments.iter().map(Found::first_mark);
        let mark = marks.fold(found.first_mark(), Mark::min);
        *head = Head {
            epoch: found.epoch,
            hash: first.previous,
            mark: Mark(mark.0.saturating_sub(1)),
            checkpoint_bytes: found.bytes(),
            through: head.through,
            ..Head::default()
        };
        self.keep_head(head)
    }
}
