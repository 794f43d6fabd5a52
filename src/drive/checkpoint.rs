//! Checkpoints: now and then the whole index goes to the journal, so that a rebuild need not read all history.

use std::ops::Bound;

use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::history::Gatherer;
use crate::drive::journal::Head;
use crate::drive::journal::PartWriter;
use crate::drive::journal::SealedPart;
use crate::drive::kept::not_kept;
use crate::drive::names::Series;
use crate::id::EpochNo;
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

/// A checkpoint that is being written: the parts that were put are not put again.
pub(in crate::drive) struct Writing<'d> {
    drive: &'d Drive,
    epoch: EpochNo,
    /// None when the last part was made.
    writer: Option<PartWriter<'d>>,
    /// The last key that was taken up.
    after: Vec<u8>,
    /// A part that is not put yet.
    /// It is put, but the store has not given it back yet.
    unproven: Option<Locator>,
    ready: Option<Object>,
    bytes: u64,
}

impl<'d> Writing<'d> {
    fn new(drive: &'d Drive, head: &Head) -> Writing<'d> {
        let series = Series::Checkpoint;
        let writer = PartWriter::new(drive, series, head.epoch, head.hash, head.through);
        Writing {
            drive,
            epoch: head.epoch,
            writer: Some(writer),
            after: Vec::new(),
            unproven: None,
            ready: None,
            bytes: 0,
        }
    }

    /// The part that is to be put, the same until it is.
    fn next(&mut self) -> Result<Option<Object>, Error> {
        if self.ready.is_none() {
            self.ready = self.make()?.map(|part| part.object);
        }
        Ok(self.ready.clone())
    }

    fn is_put(&mut self) {
        let part = self.ready.take();
        self.bytes += part.map_or(0, |part| part.body.len());
    }

    fn make(&mut self) -> Result<Option<SealedPart>, Error> {
        let Some(writer) = &mut self.writer else {
            return Ok(None);
        };
        let after = self.after.clone();
        let rows = self
            .drive
            .index
            .base_scan(Bound::Excluded(&after[..]), Bound::Unbounded);
        for entry in rows {
            let (key, value) = entry?;
            if key.first() == Some(&key::LOCAL) {
                continue;
            }
            let part = writer.push(key.to_vec(), Some(value.to_vec()))?;
            self.after.clear();
            self.after.extend_from_slice(&key);
            if part.is_some() {
                return Ok(part);
            }
        }
        self.writer.take().map(PartWriter::finish).transpose()
    }
}

impl Drive {
    /// Is a checkpoint due, or was the last attempt at one in vain?
    pub(in crate::drive) fn owes_checkpoint(&self) -> bool {
        let head = self.journal_head();
        self.read_only().is_none() && head.wants_checkpoint(self.settings.tail_segments_max)
    }

    /// Puts the state as of the published head on the journal shelf, unless another machine has gone on from it.
    pub(in crate::drive) async fn checkpoint<'d>(
        &'d self,
        under_way: &mut Option<Writing<'d>>,
    ) -> Result<(), Error> {
        self.refuse_late().await?;
        self.write_checkpoint(under_way).await
    }

    /// Puts the state as of the published head on the journal shelf. Only the publisher calls this,
    /// so what is stored does not change meanwhile. Whoever tries again goes on with what is under way.
    pub(in crate::drive) async fn write_checkpoint<'d>(
        &'d self,
        under_way: &mut Option<Writing<'d>>,
    ) -> Result<(), Error> {
        let mut head = self.journal_head();
        let writing = match under_way {
            Some(writing) if writing.epoch == head.epoch => writing,
            _ => under_way.insert(Writing::new(self, &head)),
        };
        while let Some(object) = writing.next()? {
            let part = match writing.unproven.clone() {
                Some(part) => part,
                None => self.put_part(object.clone()).await?,
            };
            writing.unproven = Some(part.clone());
            // Older history goes on the strength of it.
            let is_kept = self.is_kept_as_sent(&[(&part, &object)]).await?;
            writing.unproven = None;
            if !is_kept {
                return Err(not_kept());
            }
            writing.is_put();
        }
        head.checkpoint_bytes = writing.bytes;
        head.tail_segments = 0;
        head.tail_bytes = 0;
        self.settle_head(head)?;
        *under_way = None;
        self.prune_journal().await
    }

    async fn put_part(&self, part: Object) -> Result<Locator, Error> {
        let locator = self.put_journal(vec![part]).await?.pop();
        locator.ok_or(Error::Malformed)
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::drive::fixture;
    use crate::store::faulty::Fault;
    use crate::store::faulty::Faulty;
    use crate::store::faulty::Rule;
    use crate::store::faulty::Verb;
    use crate::store::memory::Memory;

    /// Rows of a kilobyte that make more than one part.
    const ROWS: u32 = 7000;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_checkpoint_that_fails_goes_on_with_the_part_that_failed() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Arc::new(Faulty::new(Memory::default()));
        let opened = fixture::open(fixture::settings(dir.path()), &store).await;
        let drive = opened.expect("a new drive");
        let mut rows = Batch::default();
        for number in 0..ROWS {
            let key = key::root(&format!("row {number}"));
            rows.put(key, vec![7; 1024]).expect("small");
        }
        drive.index.load(&rows).expect("loaded");
        let mut under_way = None;
        for fault in [Fault::Unavailable, Fault::LostAnswer] {
            store.clear();
            store.add(Rule {
                skip: u64::from(under_way.is_none()),
                ..Rule::next(Verb::Put, fault)
            });
            let failed = drive.checkpoint(&mut under_way).await;
            assert!(failed.is_err(), "the last part is not put");
        }
        drive.checkpoint(&mut under_way).await.expect("put");
        assert!(under_way.is_none());
        let mut parts = drive.journal_after(Mark(0)).await.expect("listed");
        parts.retain(|entry| entry.name.starts_with("c-"));
        let mut names: Vec<&str> = parts.iter().map(|entry| &entry.name[..35]).collect();
        assert_eq!(names.len(), 2, "no part is put twice: {parts:?}");
        names.dedup();
        assert_eq!(names.len(), 1, "they are of one writing: {parts:?}");
        drive.close().await;
    }
}
