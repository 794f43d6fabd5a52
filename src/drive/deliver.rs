//! Delivering: an epoch's segment goes to the journal whole, and counts once it is certain that no other machine went on
//! without it.
//!
//! A look at the journal before the put is not enough: while the segment is on its way, another machine can take the
//! drive over and publish. So **the segment is put and proven, then the journal is looked at, and only then is it
//! published**: the spool keeps its records until then. Marks tell in which order things came to the shelf, whatever the
//! order in which they are listed, so both machines judge alike:
//!
//! | is there beside our segment | means | what is done |
//! | --- | --- | --- |
//! | another's lease before it | the drive was taken over before it came | it is taken back, the records stay in the spool |
//! | another's lease after it | whoever took over lists the journal after his lease, and follows it | it is published; the next is not |
//! | another's segment of the epoch before it | the other was first | it is taken back |
//! | another's segment of the epoch after it | the other looks later than he put, and finds ours before his | it is published |
//! | another's segment after our lease, which is there still | the other looks later than he put, and finds our lease before his segment | that one is removed |
//! | something under the name of a segment of the epoch, or of a later one, that cannot be read | nobody knows, unless it came after our lease or nobody else had the drive meanwhile | ours is taken back for now, and it is read again |
//! | another's checkpoint of the epoch, or of a later one | the other published it | ours is taken back |
//! | our own other attempt | its answer was lost, and it is listed only now | that one is removed |
//! | not the state that our segment follows, neither as a segment nor as a checkpoint | it was removed, perhaps by a machine that took it back | a checkpoint of it is put, before ours counts |
//! | another's attempt at an epoch before this one, after the one that we have, from which nobody went on | it was in vain, and its sender finds out when he looks | it is published |
//! | another's epoch before this one that we have otherwise | two histories (`branch.rs`) | nothing is put, or it is taken back |
//!
//! Of two segments of one epoch one came first. Whoever put the later one listed after that, so he finds the earlier
//! one and takes his own back; whoever put the earlier one may find both, and keeps his. A lease is put before its holder
//! lists and publishes, so the same holds for a segment and a lease. Where something is listed later than it came,
//! both may believe that theirs counts: the last few segments are listed each time, so whoever came later finds out
//! before he puts anything more, and tells; whoever came first does as well, once somebody has gone on from the other's.
//!
//! Killed between put and look, a machine finds its segment when it follows the journal again: there it is what
//! everybody follows, or it comes after a lease or a segment that counts, and then the records are in the spool still.
//!
//! The look after a put serves the next put as the look before it, for as long as `beside.rs` tells: it is there so that the
//! shelf sees no attempt that is known to be in vain. So an epoch costs one listing, and two after a pause.

use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::beside::Look;
use crate::drive::beside::Rival;
use crate::drive::beside::gone_on;
use crate::drive::branch::HeadIs;
use crate::drive::freeze::Epoch;
use crate::drive::freeze::Segment;
use crate::drive::history::Found;
use crate::drive::kept::not_kept;
use crate::drive::status::Phase;
use crate::store::Locator;
use crate::store::Mark;

/// How often a segment is made that the store does not keep whole, before that is an error.
const SEGMENTS_MAX: u32 = 4;

impl Drive {
    /// Makes the segment and puts it; again under other names when the store keeps less of it than it says.
    pub(in crate::drive) fn make_public(&self, epoch: &mut Epoch) -> Result<(), Error> {
        for _ in 0..SEGMENTS_MAX {
            if epoch.segment.is_none() {
                self.prepare(epoch)?;
            }
            self.control.post(|board| board.phase = Phase::Publishing);
            let own = self.wait_for(self.publish(epoch))?;
            let objects = epoch.segment.iter().flat_map(|segment| &segment.objects);
            let sent: Vec<_> = own.iter().zip(objects).collect();
            if self.wait_for(self.is_kept_as_sent(&sent))? {
                return self.wait_for(self.look_after(epoch, &own));
            }
            epoch.segment = None;
        }
        Err(not_kept())
    }

    /// Puts the segment, unless history is known to have gone on without us. Gives where its parts lie.
    async fn publish(&self, epoch: &Epoch) -> Result<Vec<Locator>, Error> {
        let Some(segment) = &epoch.segment else {
            return Ok(Vec::new());
        };
        let mut own = Vec::new();
        // Whatever fails from here on may have changed the shelf.
        if !self.take_fresh_look() {
            let is_enough = |look: &Look| !look.is_quiet() || look.head != HeadIs::Missing;
            let look = self.look_until(epoch, segment, is_enough).await?;
            let listed = look.own.as_ref();
            own = listed.map_or_else(Vec::new, |own| own.locators.clone());
            self.go_on_or_take_back(epoch, segment, &look, &own).await?;
        }
        match own.is_empty() {
            true => self.put_journal(segment.objects.clone()).await,
            // An earlier attempt got through; only its answer was lost.
            false => Ok(own),
        }
    }

    /// The segment is on the shelf: does it count?
    async fn look_after(&self, epoch: &mut Epoch, own: &[Locator]) -> Result<(), Error> {
        let Some(segment) = &epoch.segment else {
            return Ok(());
        };
        // Which of them came first is not known before ours is listed.
        let look = self.look_until(epoch, segment, Look::is_whole).await?;
        self.go_on_or_take_back(epoch, segment, &look, own).await?;
        if !look.useless.is_empty() {
            self.store.remove(&look.useless).await?;
        }
        if look.is_quiet() {
            self.looked_just_now();
        }
        let mark = look.own.map(|own| own.first);
        if let (Some(segment), Some(mark)) = (&mut epoch.segment, mark) {
            segment.mark = mark;
        }
        Ok(())
    }

    /// Tells what keeps this epoch from being published, if something does; then what is on the shelf of it goes.
    async fn go_on_or_take_back(
        &self,
        epoch: &Epoch,
        segment: &Segment,
        look: &Look,
        own: &[Locator],
    ) -> Result<(), Error> {
        if let Some(obstacle) = self.obstacle(epoch, segment, look) {
            if !own.is_empty() {
                self.store.remove(own).await?;
            }
            return Err(obstacle);
        }
        let mut head = self.journal_head();
        let is_beside = |rival: &&Rival| rival.found.epoch == epoch.number;
        let beside = look.rivals.iter().filter(is_beside);
        beside.for_each(|rival| head.pass_over(&rival.found));
        self.set_journal_head(head);
        if look.head == HeadIs::Missing {
            let epoch = self.journal_head().epoch;
            log::warn!(
                "epoch {epoch} of the journal, which this one follows, is gone: a checkpoint takes its place"
            );
            self.write_checkpoint(&mut None).await?;
        }
        Ok(())
    }

    fn obstacle(&self, epoch: &Epoch, segment: &Segment, look: &Look) -> Option<Error> {
        if let Some((mark, taken_over)) = &look.lease
            && look.is_before(*mark)
        {
            return Some(taken_over.clone());
        }
        if look.head == HeadIs::Replaced {
            return Some(self.parted(self.journal_head().epoch));
        }
        let is_followed = look.is_followed(segment);
        if look.is_passed && !is_followed {
            return Some(gone_on());
        }
        for found in look.rivals.iter().map(|rival| &rival.found) {
            if found.epoch < epoch.number {
                return Some(self.parted(found.epoch));
            }
            let yields = found.epoch == epoch.number && !look.is_before(found.last_mark());
            if !yields && !is_followed {
                return Some(gone_on());
            }
        }
        look.unclear.as_ref().map(unclear)
    }
}

fn unclear(error: &Error) -> Error {
    Error::Damaged(format!(
        "{error}; another machine may have published it, so nothing is published beside it, and what waits here stays in the \
         spool; it is read again; if that is of no use, unmount, and mount with `-o takeover`, which gives that epoch up"
    ))
}

/// Did another machine's segment come after our lease, which is there still? Then its sender, who looks later than he
/// put, takes it back: whoever takes the drive over from us removes our lease before he publishes anything.
pub(in crate::drive) fn is_void(found: &Found, lease: Option<Mark>) -> bool {
    lease.is_some_and(|lease| found.last_mark() > lease)
}
