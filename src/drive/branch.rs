//! Branches: epochs on the journal's shelf that this machine has otherwise, from another hand.
//!
//! Two machines publish the same epoch when one takes over from the other while that one's segment is on its way
//! (`deliver.rs`), when one cannot see what the other has stored, or when somebody removes the newest segment. From
//! then on the drive has two histories, and both machines were told that theirs is on Discord. So nobody goes on before a
//! person has seen to it: who has published or keeps something that the other history lacks is told so, and shows his
//! side when it is only read. Who has nothing of his own there makes his index again as the drive is on Discord.
//!
//! Only what unseals makes a branch: whoever can post but has no key causes none. Nor does an attempt that came after
//! the lease of whoever looks (its sender sees the lease and takes it back, see `deliver.rs`), nor an earlier attempt
//! of the machine whose later one was followed, nor one that came after the one that was followed, if nobody went on
//! from it: of two the first counts (`deliver.rs`), and the sender of the other is told when he looks.

use crate::codec::segment::Kind;
use crate::drive::Access;
use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::Halt;
use crate::drive::bearing::Bearing;
use crate::drive::deliver::is_void;
use crate::drive::history::Found;
use crate::drive::history::Gatherer;
use crate::drive::journal::Head;
use crate::drive::journal::Share;
use crate::drive::lineage::Sender;
use crate::drive::names::Series;
use crate::drive::parts::Part;
use crate::id::EpochNo;
use crate::id::Seq;
use crate::size::MIB;
use crate::store::Locator;
use crate::store::Mark;

/// A newest segment of at most so many bytes is read at each opening for changes, to be sure of it.
const READ_MAX: u64 = MIB;

/// A history that is not this machine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::drive) struct Branch {
    /// The first epoch that is known to differ.
    pub(in crate::drive) from: EpochNo,
    /// The newest epoch that it may lead to.
    pub(in crate::drive) newest: EpochNo,
}

/// Is the state that this machine's index has on the shelf?
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::drive) enum HeadIs {
    /// It is, as a segment or as a checkpoint; or nobody can tell.
    Listed,
    /// It is not: whoever comes without it cannot follow what is published next.
    Missing,
    /// Its segment is, and cannot be read.
    Damaged(Vec<Locator>),
    /// The same, and a checkpoint has what it held.
    Covered(Vec<Locator>),
    /// Another one of the same epoch is there in its place.
    Replaced,
}

impl Drive {
    /// Is there another history of what this machine's index has? Looks at what is listed of it.
    pub(in crate::drive) async fn branch_beside(
        &self,
        gatherer: &Gatherer,
        lease: Option<Mark>,
        head: &mut Head,
    ) -> Result<Option<Branch>, Error> {
        let mut segments = gatherer.complete(Series::Segment);
        let newest = newest(gatherer);
        segments.retain(|found| found.epoch <= head.epoch && !is_void(found, lease));
        for found in &segments {
            if let Bearing::Foreign(_) = self.bearing(found, gatherer, head).await? {
                let from = found.epoch;
                return Ok(Some(Branch { from, newest }));
            }
        }
        Ok(None)
    }

    /// If no epoch after the head could be followed: is that because they follow another one?
    pub(in crate::drive) async fn branch_ahead(
        &self,
        before: EpochNo,
        halt: &Option<Halt>,
        gatherer: &Gatherer,
        head: &Head,
    ) -> Result<Option<Branch>, Error> {
        if halt.is_none() || head.epoch != before {
            return Ok(None);
        }
        let mut is_any_read = false;
        let mut segments = gatherer.complete(Series::Segment);
        segments.retain(|found| found.epoch.0 == head.epoch.0 + 1);
        for found in &segments {
            match self.open_segment(found).await {
                Ok(opened) if opened.previous == head.hash => return Ok(None),
                Ok(_) => is_any_read = true,
                Err(error) if error.is_damage() => {}
                Err(error) => return Err(error),
            }
        }
        // Where they part is not known.
        let branch = Branch {
            from: EpochNo(1),
            newest: newest(gatherer),
        };
        Ok(is_any_read.then_some(branch))
    }

    /// Looks for the head's state among what is listed. Who is to go on from it makes sure that it can be read.
    pub(in crate::drive) async fn head_is(
        &self,
        gatherer: &Gatherer,
        head: &Head,
    ) -> Result<HeadIs, Error> {
        if head.attempt_at(head.epoch).is_none() {
            return Ok(HeadIs::Listed);
        }
        let mut is = HeadIs::Missing;
        let segments = gatherer.complete(Series::Segment);
        if let Some(found) = segments.iter().find(|found| head.took(found, head.epoch)) {
            if self.is_readable(found).await? {
                return Ok(HeadIs::Listed);
            }
            is = HeadIs::Damaged(found.locators().cloned().collect());
        }
        for found in gatherer.complete(Series::Checkpoint) {
            let Some(first) = found.parts.first().filter(|_| found.epoch == head.epoch) else {
                continue;
            };
            match self.open_part(first).await {
                Ok((header, ..)) if header.previous == head.hash => match is {
                    HeadIs::Damaged(segment) if self.is_sound(&found).await? => {
                        return Ok(HeadIs::Covered(segment));
                    }
                    HeadIs::Damaged(_) => {}
                    _ => return Ok(HeadIs::Listed),
                },
                Ok(_) => is = HeadIs::Replaced,
                Err(error) if error.is_damage() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(is)
    }

    /// Can a segment be read? A large one, or one that nobody here goes on from, is taken for one that can.
    async fn is_readable(&self, found: &Found) -> Result<bool, Error> {
        if self.settings.access == Access::Read || found.bytes() > READ_MAX {
            return Ok(true);
        }
        match self.open_segment(found).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_damage() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Opens all of a checkpoint; gives how far this state directory has published, as it tells.
    pub(in crate::drive) async fn share_in(&self, checkpoint: &Found) -> Result<Seq, Error> {
        let mut through = Seq(0);
        let take = |part: Part<'_>| {
            for (key, value) in Drive::checkpoint_batch(part.number, &part.plain)? {
                let share = value.as_deref().and_then(Share::decode);
                let (Some(name), Some(share)) = (Share::name_of(&key), share) else {
                    continue;
                };
                through = through.max(match self.lineage.sender(&name, share.through) {
                    Sender::This(covered) | Sender::Original(covered) => covered,
                    Sender::Other => Seq(0),
                });
            }
            Ok(())
        };
        self.read_set(checkpoint, Kind::Checkpoint, take).await?;
        Ok(through)
    }

    /// Another history is on the store. This machine's index is made again from that if nothing of its own goes with
    /// it, and if it is not set back by that; otherwise this is an error.
    pub(in crate::drive) fn leave_for(&self, branch: Branch) -> Result<(), Error> {
        let head = self.journal_head();
        if self.unpublished(head.through)?.is_some() {
            return Err(self.forked());
        }
        let published = self.share()?.epoch;
        let has_part = published > EpochNo(0) && published >= branch.from;
        if has_part || branch.newest < head.epoch {
            return Err(self.parted(branch.from));
        }
        log::warn!(
            "the drive went on otherwise than this machine had it, which published nothing of that: its index is made again \
             from the journal"
        );
        self.set_journal_head(Head::default());
        Ok(())
    }

    /// What this machine published is not what the drive went on with.
    pub(in crate::drive) fn parted(&self, from: EpochNo) -> Error {
        let epochs = match from {
            EpochNo(0 | 1) => String::from("what this machine has published"),
            from => format!("what this machine has of epoch {from}"),
        };
        Error::Forked(format!(
            "another machine published changes to this drive that do not go with {epochs}: there are two histories now. Mount \
             with `-o ro`, which shows this machine's, and copy what you need of it elsewhere; then unmount, {}, and let \
             `ods sync --reset` make this machine's index again as the drive is on Discord",
            self.how_to_give_up()
        ))
    }

    /// Who only reads is shown this machine's side of a fork; others are refused.
    pub(in crate::drive) fn stay_beside(&self, why: Error) -> Result<(), Error> {
        if self.settings.access == Access::Write {
            return Err(why);
        }
        log::warn!("{why}");
        match self.unpublished(self.journal_head().through)? {
            Some(_) => self.tell_forked(),
            None => self
                .control
                .post(|board| board.forked = Some(why.to_string())),
        }
        Ok(())
    }
}

/// Is the segment that was followed last listed, if it is known by name?
pub(in crate::drive) fn is_taken_among(gatherer: &Gatherer, head: &Head) -> bool {
    let mut segments = gatherer.complete(Series::Segment).into_iter();
    head.attempt_at(head.epoch).is_none() || segments.any(|found| head.took(&found, head.epoch))
}

/// Is the head's state listed, or a later one, as far as names tell?
pub(in crate::drive) fn is_head_among(gatherer: &Gatherer, head: &Head) -> bool {
    let mut checkpoints = gatherer.complete(Series::Checkpoint).into_iter();
    is_taken_among(gatherer, head) || checkpoints.any(|found| found.epoch >= head.epoch)
}

/// The newest epoch that is listed.
fn newest(gatherer: &Gatherer) -> EpochNo {
    let mut sets = gatherer.complete(Series::Segment);
    sets.extend(gatherer.complete(Series::Checkpoint));
    let epochs = sets.iter().map(|found| found.epoch);
    epochs.max().unwrap_or(EpochNo(0))
}
