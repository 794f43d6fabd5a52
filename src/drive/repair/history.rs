//! History: the state is in this machine's index, so a new checkpoint makes up for whatever is missing.

use crate::codec::key::random;
use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::history::Gatherer;
use crate::drive::names::Name;
use crate::drive::names::Series;
use crate::drive::repair::Mode;
use crate::drive::repair::Repaired;
use crate::drive::superblock;
use crate::drive::task::Task;
use crate::drive::verify::Findings;
use crate::id::EpochNo;
use crate::store;
use crate::store::Locator;
use crate::store::Mark;
use crate::store::Object;

impl Drive {
    /// Puts this machine's copy of the superblock on the store and pins it; then the others go. One that is
    /// newer than the copy is only pinned: it would be a changed passphrase that is taken back. Gives how
    /// many were put or pinned: none without a copy.
    pub(in crate::drive) fn mend_superblock(
        &self,
        mode: Mode,
        task: &Task<'_>,
    ) -> Result<u64, Error> {
        let Some((kept, sealed)) = self.kept_superblock() else {
            return Ok(0);
        };
        if mode == Mode::DryRun {
            return Ok(1);
        }
        task.begin("putting the superblock", 1, 0)?;
        let put = async {
            let before = superblock::find(&*self.store).await?;
            for found in &before {
                if found.generation > kept.generation() && self.is_ours(found).await? {
                    self.store.pin(&found.locator).await?;
                    return Ok(1);
                }
            }
            let name = Name::Superblock {
                generation: kept.generation(),
                salt: random(),
            };
            let object = Object {
                name: name.text(),
                body: sealed,
            };
            let locators = self.store.put(&self.store.journal(), vec![object]).await?;
            let locator = locators.first().ok_or(Error::Malformed)?;
            self.store.pin(locator).await?;
            for old in before {
                if !superblock::is_of_another(&*self.store, &old, self.id).await? {
                    self.store.remove(&[old.locator]).await?;
                }
            }
            Ok(1)
        };
        self.wait_with(task, put)
    }

    /// Is this a superblock of this drive, as far as can be told without a passphrase?
    async fn is_ours(&self, found: &superblock::Found) -> Result<bool, Error> {
        match superblock::fetch(&*self.store, found).await {
            Ok(fetched) => {
                Ok(fetched.drive() == self.id && fetched.generation() == found.generation)
            }
            Err(
                Error::Damaged(_)
                | Error::Store(store::Error::Missing { .. } | store::Error::Broken { .. }),
            ) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Writes a new checkpoint, reads it back, and removes what no rebuild can use any more.
    pub(in crate::drive) fn mend_history(
        &self,
        mode: Mode,
        findings: &Findings,
        task: &Task<'_>,
        repaired: &mut Repaired,
    ) -> Result<(), Error> {
        repaired.checkpoints = 1;
        if mode == Mode::DryRun {
            return Ok(());
        }
        task.begin("writing a checkpoint", 0, 0)?;
        let broken = findings.history.broken_up_to;
        repaired.journal_removed = self.between_epochs(task, move |drive| {
            drive.wait_for(async {
                drive.checkpoint(&mut None).await?;
                drive.drop_broken(broken).await
            })
        })?;
        Ok(())
    }

    /// Removes parts that no rebuild can use: those from which the present cannot be reached.
    async fn drop_broken(&self, broken: EpochNo) -> Result<u64, Error> {
        let mut gatherer = Gatherer::default();
        for entry in self.journal_after(Mark(0)).await? {
            gatherer.add(&entry);
        }
        let mut useless: Vec<Locator> = Vec::new();
        let mut sound = None;
        for found in gatherer.complete(Series::Checkpoint).iter().rev() {
            if found.epoch >= broken && self.is_sound(found).await? {
                sound = Some(found.epoch);
                continue;
            }
            let parts = found.parts.iter();
            useless.extend(parts.map(|part| part.locator.clone()));
        }
        let Some(sound) = sound else {
            return Err(Error::Damaged(String::from(
                "the new checkpoint is not on the store, or not whole; try again",
            )));
        };
        // Segments before the oldest sound checkpoint lead to nothing that is not in it.
        useless.extend(gatherer.below(sound));
        // So does this machine's own of its epoch. Another's may be on its way still: its sender sees to it.
        let head = self.journal_head();
        let segments = gatherer.complete(Series::Segment);
        for found in segments.iter().filter(|found| head.took(found, sound)) {
            let parts = found.parts.iter();
            useless.extend(parts.map(|part| part.locator.clone()));
        }
        useless.sort_unstable();
        useless.dedup();
        if !useless.is_empty() {
            self.store.remove(&useless).await?;
        }
        Ok(useless.len() as u64)
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

    async fn checkpoints(drive: &Drive) -> usize {
        let mut gatherer = Gatherer::default();
        let entries = drive.journal_after(Mark(0)).await.expect("listed");
        entries.iter().for_each(|entry| gatherer.add(entry));
        gatherer.complete(Series::Checkpoint).len()
    }

    async fn with_one_epoch(dir: &std::path::Path, store: &Arc<Faulty<Memory>>) -> Arc<Drive> {
        let opened = fixture::open(fixture::settings(dir), store).await;
        let drive = opened.expect("a new drive");
        let flushing = Arc::clone(&drive);
        let flushed = tokio::task::spawn_blocking(move || flushing.flush(|| true));
        flushed.await.expect("no panic").expect("published");
        drive
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn another_machine_s_attempt_is_not_removed() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Arc::new(Faulty::new(Memory::default()));
        let drive = with_one_epoch(dir.path(), &store).await;
        fixture::pretend(&drive, EpochNo(1)).await;
        let segments = async || {
            let mut gatherer = Gatherer::default();
            let entries = drive.journal_after(Mark(0)).await.expect("listed");
            entries.iter().for_each(|entry| gatherer.add(entry));
            gatherer.complete(Series::Segment)
        };
        assert_eq!(segments().await.len(), 2);
        drive.checkpoint(&mut None).await.expect("written");
        drive.drop_broken(EpochNo(0)).await.expect("dropped");
        let left = segments().await;
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].attempt, [1; 8], "its own is in the checkpoint");
        drive.close().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_checkpoint_that_cannot_be_read_for_a_moment_stays() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Arc::new(Faulty::new(Memory::default()));
        let drive = with_one_epoch(dir.path(), &store).await;
        for _ in 0..2 {
            drive.checkpoint(&mut None).await.expect("written");
        }
        let before = checkpoints(&drive).await;
        // The newest is read first, to be sure of it.
        for verb in [Verb::Get, Verb::GetAgain] {
            store.add(Rule {
                skip: u64::from(verb == Verb::Get),
                ..Rule::always(verb, Fault::Unavailable)
            });
        }
        let dropped = drive.drop_broken(EpochNo(0)).await;
        assert!(
            matches!(&dropped, Err(Error::Store(error)) if error.is_passing()),
            "{dropped:?}"
        );
        store.clear();
        assert_eq!(checkpoints(&drive).await, before);
        // One that is damaged goes.
        store.add(Rule {
            skip: 1,
            times: 1,
            ..Rule::always(Verb::Get, Fault::Missing)
        });
        drive.drop_broken(EpochNo(0)).await.expect("it can be told");
        store.clear();
        assert_eq!(checkpoints(&drive).await, before - 1);
        drive.close().await;
    }
}
