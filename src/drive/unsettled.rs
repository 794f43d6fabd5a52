//! What a rebuild cannot take for granted: how far this state directory has published, and that what it sent
//! last is whole.

use std::sync::atomic::Ordering;

use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::history::Found;
use crate::drive::journal::Head;
use crate::drive::journal::Share;
use crate::index::Batch;
use crate::index::key;
use crate::store::Locator;

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

    /// What this state directory published before its index was lost, as the journal knows it; and
    /// whether what its spool holds beyond that may still follow.
    pub(in crate::drive) fn find_share(&self, head: &mut Head) -> Result<(), Error> {
        let share = self.share()?;
        head.through = head.through.max(share.through);
        let last = self.unpublished(head.through)?;
        if last.is_some_and(|base| head.epoch > base.max(share.epoch)) {
            self.wipe_index()?;
            self.set_journal_head(Head::default());
            return Err(self.forked());
        }
        Ok(())
    }

    pub(in crate::drive) fn share(&self) -> Result<Share, Error> {
        let share = self.index.base_get(&Share::key(&self.instance))?;
        Ok(share
            .and_then(|value| Share::decode(&value))
            .unwrap_or_default())
    }

    /// Attempts at the epoch after the head that the store did not keep whole are this machine's own if it had
    /// the lease all the time: nobody else can have published since. The spool has what they were to say.
    pub(in crate::drive) async fn drop_own_broken(
        &self,
        segments: &mut Vec<Found>,
    ) -> Result<(), Error> {
        if !self.lease_kept.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut broken = Vec::new();
        for found in &*segments {
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
        if broken.is_empty() {
            return Ok(());
        }
        let parts = broken.iter().flat_map(|found| &found.parts);
        let locators: Vec<Locator> = parts.map(|part| part.locator.clone()).collect();
        self.store.remove(&locators).await?;
        segments.retain(|found| {
            found
                .parts
                .iter()
                .all(|part| !locators.contains(&part.locator))
        });
        log::warn!("what this machine had sent of it is sent again");
        Ok(())
    }
}
