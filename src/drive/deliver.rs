//! Delivering: an epoch's segment goes to the journal whole, unless history has gone on without us.

use std::collections::HashMap;
use std::time::Duration;

use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::freeze::Epoch;
use crate::drive::history::Gatherer;
use crate::drive::journal::Share;
use crate::drive::names::Series;
use crate::drive::status::Phase;
use crate::store;
use crate::store::Locator;
use crate::store::Urgency;

/// How often a segment is made that the store does not keep whole, before that is an error.
const SEGMENTS_MAX: u32 = 4;

/// How long the end of a part is waited for.
const LAST_BYTE_MAX: Duration = Duration::from_secs(10);

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
        Err(Error::Store(store::Error::Broken {
            what: String::from("the store keeps less of the journal than it was sent"),
        }))
    }

    /// Does the store give each part to its end? What it says of the length alone proves nothing. If it does
    /// not, all of them are removed. A store that does not answer now will be believed.
    async fn is_kept(&self, parts: &[(Locator, u64)]) -> Result<bool, Error> {
        for (locator, bytes) in parts {
            let end = bytes.saturating_sub(1)..*bytes;
            let read = self.store.get(locator, end, Urgency::Background);
            let read = tokio::time::timeout(LAST_BYTE_MAX, read).await;
            if let Ok(Err(error @ (store::Error::Broken { .. } | store::Error::Missing { .. }))) =
                read
            {
                log::warn!("a part of the journal was not kept whole, and is sent again: {error}");
                let all: Vec<Locator> = parts.iter().map(|(at, _)| at.clone()).collect();
                self.store.remove(&all).await?;
                return Ok(false);
            }
        }
        Ok(true)
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
            if self.is_foreign_lease(&entry) {
                return Err(self.taken_over(&entry).await);
            }
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
        for found in others.complete(Series::Segment) {
            if found.epoch >= epoch.number && !self.is_own_attempt(&found, share, &head).await? {
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
