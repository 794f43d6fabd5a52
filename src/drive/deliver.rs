//! Delivering: an epoch's segment goes to the journal whole, unless history has gone on without us.

use std::collections::HashMap;

use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::freeze::Epoch;
use crate::drive::history::Gatherer;
use crate::drive::journal::Share;
use crate::drive::kept::not_kept;
use crate::drive::names::Series;
use crate::drive::status::Phase;
use crate::store::Locator;

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
            let parts = self.wait_for(self.publish(epoch))?;
            if self.wait_for(self.is_kept(&parts))? {
                return Ok(());
            }
            epoch.segment = None;
        }
        Err(not_kept())
    }

    /// Puts the segment, unless history has gone on without us. Gives its parts and their lengths.
    async fn publish(&self, epoch: &Epoch) -> Result<Vec<(Locator, u64)>, Error> {
        let Some(segment) = &epoch.segment else {
            return Ok(Vec::new());
        };
        let mut head = self.journal_head();
        let mut others = Gatherer::default();
        let mut whole = HashMap::new();
        for entry in self.journal_after(head.mark).await? {
            let ours = segment
                .objects
                .iter()
                .find(|object| object.name == entry.name);
            self.refuse_takeover(&entry).await?;
            match ours {
                Some(object) if object.body.len() == entry.bytes => {
                    whole.insert(entry.name, entry.locator);
                }
                // Putting it again puts it right.
                Some(_) => {}
                None => {
                    others.add(&entry);
                    head.mark = head.mark.max(entry.mark);
                }
            }
        }
        let share = Share {
            through: epoch.through,
            epoch: epoch.number,
        };
        let mut rivals = others.complete(Series::Segment);
        rivals.retain(|found| found.epoch >= epoch.number);
        self.pass_over_broken(&mut rivals).await?;
        for found in rivals {
            if !self.is_own_attempt(&found, share, &head).await? {
                return Err(Error::Forked(String::from(
                    "another machine published changes to this drive meanwhile; what is in this machine's spool stays there",
                )));
            }
        }
        self.set_journal_head(head);
        let found = segment
            .objects
            .iter()
            .map(|object| whole.remove(&object.name));
        let locators = match found.collect::<Option<Vec<Locator>>>() {
            // An earlier attempt got through; only its answer was lost.
            Some(locators) => locators,
            None => self.put_journal(segment.objects.clone()).await?,
        };
        let bytes = segment.objects.iter().map(|object| object.body.len());
        Ok(locators.into_iter().zip(bytes).collect())
    }
}
