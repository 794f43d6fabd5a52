//! Checkpoints: now and then the whole index goes to the journal, so that a rebuild need not read all history.

use std::ops::Bound;

use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::history::Gatherer;
use crate::drive::journal::Head;
use crate::drive::journal::PartWriter;
use crate::drive::kept::not_kept;
use crate::drive::names::Series;
use crate::index::Batch;
use crate::index::key;
use crate::size::MIB;
use crate::store::Locator;
use crate::store::Mark;
use crate::store::Object;

/// Segments before which none is due, however big they are.
const TAIL_SEGMENTS_MIN: u32 = 8;

/// Bytes of segments that are always accepted before a checkpoint.
const TAIL_BYTES_MIN: u64 = 32 * MIB;

/// How many checkpoints are kept.
const KEPT: usize = 3;

impl Head {
    /// Is it time? When the tail is as big as a checkpoint, so that history costs at most twice the state.
    pub(in crate::drive) fn wants_checkpoint(&self, tail_segments_max: u32) -> bool {
        let big = self.tail_bytes > TAIL_BYTES_MIN.max(self.checkpoint_bytes);
        self.tail_segments >= tail_segments_max || (big && self.tail_segments >= TAIL_SEGMENTS_MIN)
    }
}

impl Drive {
    /// Is a checkpoint due, or was the last attempt at one in vain?
    pub(in crate::drive) fn owes_checkpoint(&self) -> bool {
        let head = self.journal_head();
        self.read_only().is_none() && head.wants_checkpoint(self.settings.tail_segments_max)
    }

    /// Puts the state as of the published head on the journal shelf. Only the publisher calls this,
    /// so what is stored does not change meanwhile.
    pub(in crate::drive) async fn checkpoint(&self) -> Result<(), Error> {
        let mut head = self.journal_head();
        let mut writer = PartWriter::new(
            self,
            Series::Checkpoint,
            head.epoch,
            head.hash,
            head.through,
        );
        let mut parts = Vec::new();
        for entry in self.index.base_scan(Bound::Unbounded, Bound::Unbounded) {
            let (key, value) = entry?;
            if key.first() == Some(&key::LOCAL) {
                continue;
            }
            if let Some(part) = writer.push(key.to_vec(), Some(value.to_vec()))? {
                parts.push(self.put_part(part.object).await?);
            }
        }
        parts.push(self.put_part(writer.finish()?.object).await?);
        // Older history goes on the strength of it.
        if !self.is_kept(&parts).await? {
            return Err(not_kept());
        }
        head.checkpoint_bytes = parts.iter().map(|(_, bytes)| bytes).sum();
        head.tail_segments = 0;
        head.tail_bytes = 0;
        self.settle_head(head)?;
        self.prune_journal().await
    }

    async fn put_part(&self, part: Object) -> Result<(Locator, u64), Error> {
        let bytes = part.body.len();
        let locator = self.put_journal(vec![part]).await?.pop();
        Ok((locator.ok_or(Error::Malformed)?, bytes))
    }

    /// Remembers the head durably.
    pub(in crate::drive) fn settle_head(&self, head: Head) -> Result<(), Error> {
        let mut batch = Batch::default();
        batch.put(Head::key(), head.encode())?;
        self.index.write_through(batch)?;
        self.set_journal_head(head);
        Ok(())
    }

    /// Removes history that no rebuild would read: what is older than the third newest checkpoint.
    async fn prune_journal(&self) -> Result<(), Error> {
        let mut gatherer = Gatherer::default();
        for entry in self.journal_after(Mark(0)).await? {
            gatherer.add(&entry);
        }
        let checkpoints = gatherer.complete(Series::Checkpoint);
        if checkpoints.len() >= KEPT {
            let oldest_kept = checkpoints[checkpoints.len() - KEPT].epoch;
            let old = gatherer.below(oldest_kept);
            if !old.is_empty() {
                self.store.remove(&old).await?;
            }
        }
        Ok(())
    }
}
