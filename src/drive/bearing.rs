//! Bearing: what a segment on the shelf means to a machine that has its epoch, or is about to publish it.

use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::deliver::is_void;
use crate::drive::history::Found;
use crate::drive::history::Gatherer;
use crate::drive::history::Opened;
use crate::drive::journal::Head;
use crate::drive::lineage::Sender;
use crate::drive::lineage::are_kin;
use crate::drive::names::Series;
use crate::id::EpochNo;
use crate::store::Mark;

/// What a segment on the shelf means to this machine.
pub(in crate::drive) enum Bearing {
    /// It was followed, passed over or given up, or lies before all that is remembered.
    Settled,
    /// It cannot be read now, which settles nothing.
    Unreadable(Error),
    /// This state directory made it.
    Own(Opened),
    /// Another one did.
    Foreign(Opened),
}

impl Drive {
    /// Reads a segment, if need be, and tells what it means here. What is settled by that is noted in the head.
    pub(in crate::drive) async fn bearing(
        &self,
        found: &Found,
        gatherer: &Gatherer,
        head: &mut Head,
    ) -> Result<Bearing, Error> {
        if head.knows(found) || head.has_forgotten(found.epoch) {
            return Ok(Bearing::Settled);
        }
        let is_past = found.epoch <= head.epoch;
        if is_past && self.are_given_up(found.locators())? {
            return Ok(Bearing::Settled);
        }
        let opened = match self.open_segment(found).await {
            Err(error) if error.is_damage() => {
                return Ok(Bearing::Unreadable(self.located(found, &error)));
            }
            opened => opened?,
        };
        // A head without steps knows its own epoch by the hash alone.
        if found.epoch == head.epoch && opened.hash == head.hash {
            head.pass_over(found);
            return Ok(Bearing::Settled);
        }
        let (sender, covers) = (opened.preamble.instance, opened.preamble.through);
        if let Sender::This(_) = self.lineage.sender(&sender, covers) {
            return Ok(Bearing::Own(opened));
        }
        if !is_past {
            return Ok(Bearing::Foreign(opened));
        }
        let is_outdone = self.is_outdone(found, &opened, gatherer, head).await?;
        match is_outdone || self.is_late(found, &opened, gatherer, head).await? {
            true => {
                head.pass_over(found);
                Ok(Bearing::Settled)
            }
            false => Ok(Bearing::Foreign(opened)),
        }
    }

    /// As [`Drive::bearing`], for whoever is about to publish. What cannot be read where his epoch is to stand is read
    /// again for a while, unless it is in vain whatever it holds.
    pub(in crate::drive) async fn bearing_for_sure(
        &self,
        found: &Found,
        gatherer: &Gatherer,
        head: &mut Head,
    ) -> Result<Bearing, Error> {
        let bearing = self.bearing(found, gatherer, head).await?;
        let Bearing::Unreadable(_) = bearing else {
            return Ok(bearing);
        };
        // It kept this machine from nothing when it went on there, and is read again at the next look.
        if found.epoch <= head.epoch {
            return Ok(Bearing::Settled);
        }
        if is_void(found, self.lease_mark().await?) {
            head.pass_over(found);
            return Ok(Bearing::Settled);
        }
        match self.open_patiently(found).await {
            Err(error) if error.is_damage() => Ok(bearing),
            Err(error) => Err(error),
            Ok(_) => self.bearing(found, gatherer, head).await,
        }
    }

    /// Is it an earlier attempt of the machine that made what was followed, and covers no more?
    async fn is_outdone(
        &self,
        found: &Found,
        opened: &Opened,
        gatherer: &Gatherer,
        head: &Head,
    ) -> Result<bool, Error> {
        let segments = gatherer.complete(Series::Segment);
        let Some(taken) = segments.iter().find(|other| head.took(other, found.epoch)) else {
            return Ok(false);
        };
        match self.open_segment(taken).await {
            Ok(taken_opened) => {
                let (this, other) = (&opened.preamble, &taken_opened.preamble);
                Ok(are_kin(&this.instance, &other.instance)
                    && opened.previous == taken_opened.previous
                    && this.through <= other.through
                    && found.last_mark() < taken.last_mark())
            }
            Err(error) if error.is_damage() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Did it come after what was followed, and has nobody gone on from it? Then the drive did not take it: of two the
    /// first counts, and the machine that sent this one is told when it looks. Not as long as something that may go on
    /// from it cannot be read.
    async fn is_late(
        &self,
        found: &Found,
        opened: &Opened,
        gatherer: &Gatherer,
        head: &Head,
    ) -> Result<bool, Error> {
        let taken = self.mark_of_taken(found.epoch, gatherer, head).await?;
        if taken.is_none_or(|taken| found.last_mark() <= taken) {
            return Ok(false);
        }
        let mut later = gatherer.complete(Series::Segment);
        later.retain(|other| other.epoch.0 == found.epoch.0 + 1 && !head.knows(other));
        let mut checkpoints = gatherer.complete(Series::Checkpoint);
        checkpoints.retain(|other| other.epoch == found.epoch);
        let sets = later.iter().chain(&checkpoints);
        for first in sets.filter_map(|set| set.parts.first()) {
            match self.open_part(first).await {
                Ok((header, ..)) if header.previous == opened.hash => return Ok(false),
                Err(error) if !error.is_damage() => return Err(error),
                Err(_) => return Ok(false),
                Ok(_) => {}
            }
        }
        Ok(true)
    }

    /// A mark by which what was followed at an epoch had come: its own, or that of the checkpoint that the head began
    /// with.
    async fn mark_of_taken(
        &self,
        epoch: EpochNo,
        gatherer: &Gatherer,
        head: &Head,
    ) -> Result<Option<Mark>, Error> {
        let segments = gatherer.complete(Series::Segment);
        if let Some(taken) = segments.iter().find(|other| head.took(other, epoch)) {
            return Ok(Some(taken.last_mark()));
        }
        let mut checkpoints = gatherer.complete(Series::Checkpoint);
        checkpoints.retain(|found| found.epoch == epoch && epoch == head.epoch);
        for found in &checkpoints {
            let Some(first) = found.parts.first() else {
                continue;
            };
            match self.open_part(first).await {
                Ok((header, ..)) if header.previous == head.hash => {
                    return Ok(Some(found.first_mark()));
                }
                Err(error) if !error.is_damage() => return Err(error),
                Ok(_) | Err(_) => {}
            }
        }
        Ok(None)
    }
}
