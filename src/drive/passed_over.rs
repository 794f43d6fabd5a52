//! Attempts at an epoch that are passed over, since they cannot be read or were given up, until the epoch that stands
//! in their place is published: then they go from the store.
//!
//! What was given up is noted in the index, part by part, so that nobody has to give it up again who is killed or closes
//! before that.

use std::collections::HashSet;
use std::ops::Bound;

use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::history::Found;
use crate::id::EpochNo;
use crate::id::Seq;
use crate::index::Batch;
use crate::index::key;
use crate::store::Locator;

/// Is in the index before the locator of each part that was given up; its value is the epoch.
const GIVEN_UP: &str = "given up ";

/// Comes after all of those.
const AFTER_GIVEN_UP: &str = "given up!";

fn given_up(part: &Locator) -> Vec<u8> {
    [&key::local(GIVEN_UP)[..], &part.0].concat()
}

impl Drive {
    /// Changes that wait here were made without what was given up before: it is passed over, even if it can be read
    /// now.
    pub(in crate::drive) fn pass_over_given_up(
        &self,
        segments: &mut Vec<Found>,
        through: Seq,
    ) -> Result<(), Error> {
        let left = self.not_given_up(segments)?;
        if left.len() < segments.len() && self.unpublished(through)?.is_some() {
            *segments = left;
        }
        Ok(())
    }

    /// Those that are not noted as given up.
    pub(in crate::drive) fn not_given_up(&self, segments: &[Found]) -> Result<Vec<Found>, Error> {
        let mut left = Vec::new();
        for found in segments {
            if !self.are_given_up(found.locators())? {
                left.push(found.clone());
            }
        }
        Ok(left)
    }

    /// Is each of these parts noted as given up?
    pub(in crate::drive) fn are_given_up<'p>(
        &self,
        mut parts: impl Iterator<Item = &'p Locator>,
    ) -> Result<bool, Error> {
        parts.try_fold(true, |all, part| {
            Ok(all && self.index.base_get(&given_up(part))?.is_some())
        })
    }

    /// This attempt is history now, and was given up too early if it was.
    pub(in crate::drive) fn take_back(&self, followed: &Found) -> Result<(), Error> {
        if !self.are_given_up(followed.locators())? {
            return Ok(());
        }
        let mut batch = Batch::default();
        for part in followed.locators() {
            batch.delete(given_up(part));
        }
        Ok(self.index.load(&batch)?)
    }

    /// Notes what was given up, for when the drive is closed before another epoch stands in its place.
    pub(in crate::drive) fn note_given_up(
        &self,
        epoch: EpochNo,
        parts: &[Locator],
    ) -> Result<(), Error> {
        let mut batch = Batch::default();
        for part in parts {
            batch.put(given_up(part), epoch.0.to_le_bytes())?;
        }
        Ok(self.index.write_through(batch)?)
    }

    /// What was given up when the drive was opened before is still to go.
    pub(in crate::drive) fn recall_given_up(&self) -> Result<(), Error> {
        for (epoch, part) in self.all_given_up()? {
            self.pass_over(epoch, vec![part]);
        }
        Ok(())
    }

    /// What is noted as given up, with its epoch.
    fn all_given_up(&self) -> Result<Vec<(EpochNo, Locator)>, Error> {
        let (from, to) = (key::local(GIVEN_UP), key::local(AFTER_GIVEN_UP));
        let (from, to) = (Bound::Included(&from[..]), Bound::Excluded(&to[..]));
        let mut all = Vec::new();
        for entry in self.index.base_scan(from, to) {
            let (key, value) = entry?;
            let part = Locator(key[key::local(GIVEN_UP).len()..].to_vec());
            if let Ok(epoch) = value[..].try_into() {
                all.push((EpochNo(u64::from_le_bytes(epoch)), part));
            }
        }
        Ok(all)
    }

    /// These parts of attempts at an epoch go once that is published.
    pub(in crate::drive) fn pass_over(&self, epoch: EpochNo, parts: Vec<Locator>) {
        let parts = parts.into_iter().map(|part| (epoch, part));
        self.control.post(|board| board.passed_over.extend(parts));
    }

    /// Removes the attempts that were passed over at epochs that are published by now.
    pub(in crate::drive) async fn drop_replaced(&self) -> Result<(), Error> {
        let head = self.journal_head().epoch;
        let passed_over = self.control.board().passed_over.clone();
        let replaced = passed_over.into_iter().filter(|(epoch, _)| *epoch <= head);
        let parts: HashSet<Locator> = replaced.map(|(_, part)| part).collect();
        let parts: Vec<Locator> = parts.into_iter().collect();
        if parts.is_empty() {
            return Ok(());
        }
        self.store.remove(&parts).await?;
        let mut batch = Batch::default();
        parts.iter().for_each(|part| batch.delete(given_up(part)));
        self.index.write_through(batch)?;
        self.control
            .post(|board| board.passed_over.retain(|(epoch, _)| *epoch > head));
        Ok(())
    }

    /// An epoch is published; what was passed over at it goes, now or after the next one.
    pub(in crate::drive) fn drop_replaced_now(&self) {
        if let Err(error) = self.wait_for(self.drop_replaced()) {
            log::warn!(
                "what cannot be read of an epoch that was sent again stays for now: {error}"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::drive::Settings;
    use crate::drive::Takeover;
    use crate::drive::fixture;
    use crate::drive::names::Name;
    use crate::store::Span;
    use crate::store::Store;
    use crate::store::faulty::Fault;
    use crate::store::faulty::Faulty;
    use crate::store::faulty::Rule;
    use crate::store::faulty::Verb;
    use crate::store::memory::Memory;

    async fn open(
        dir: &Path,
        store: &Arc<Faulty<Memory>>,
        takeover: Takeover,
    ) -> Result<Arc<Drive>, Error> {
        let settings = Settings {
            takeover,
            ..fixture::settings(dir)
        };
        fixture::open(settings, store).await
    }

    async fn flush(drive: &Arc<Drive>) -> Result<(), Error> {
        let drive = Arc::clone(drive);
        let flushed = tokio::task::spawn_blocking(move || drive.flush(|| true));
        flushed.await.expect("no panic")
    }

    fn change(drive: &Arc<Drive>) {
        let change =
            |change: &mut crate::drive::Change<'_>| crate::drive::archive::create_first(change);
        drive.change(change).expect("there is room");
    }

    /// Closes a drive that has brought this many epochs to the store and has another change that waits, so that it keeps
    /// the lease.
    async fn stop_after(epochs: u64, dir: &Path, store: &Arc<Faulty<Memory>>) {
        let drive = open(dir, store, Takeover::Refuse).await;
        let drive = drive.expect("it opens");
        for _ in 0..epochs {
            change(&drive);
            flush(&drive).await.expect("published");
        }
        change(&drive);
        drive.close().await;
    }

    /// How many attempts at this epoch the store has.
    async fn attempts(store: &Arc<Faulty<Memory>>, epoch: EpochNo) -> usize {
        let page = store.list(&store.journal(), Span::Newest).await;
        let entries = page.expect("listed").entries;
        let names = entries.iter().filter_map(|entry| Name::parse(&entry.name));
        names
            .filter(|name| matches!(name, Name::Part(part) if part.epoch == epoch))
            .count()
    }

    /// From the third read on so many show a wrong bit: those before are of a lease and of the first epoch.
    fn harm_reads(store: &Faulty<Memory>, times: u64) {
        let again = Rule {
            times,
            ..Rule::next(Verb::GetAgain, Fault::FlippedBit)
        };
        store.add(Rule {
            verb: Verb::Get,
            skip: 2,
            ..again.clone()
        });
        store.add(again);
    }

    /// Six failing reads are all that the look before the lease is taken has.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_takeover_does_not_give_up_what_cannot_be_read_for_a_moment() {
        for times in [3, 6] {
            let store = Arc::new(Faulty::new(Memory::default()));
            let dirs = [(); 2].map(|()| tempfile::tempdir().expect("a directory"));
            stop_after(2, dirs[0].path(), &store).await;
            harm_reads(&store, times);
            let drive = open(dirs[1].path(), &store, Takeover::Force).await;
            let drive = drive.expect("taken over");
            assert_eq!(store.struck(), 2 * times);
            assert_eq!(drive.journal_head().epoch, EpochNo(2));
            assert_eq!(
                (drive.halt(), attempts(&store, EpochNo(2)).await),
                (None, 1)
            );
            drive.close().await;
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_given_up_goes_once_another_epoch_stands_in_its_place() {
        let store = Arc::new(Faulty::new(Memory::default()));
        let dirs = [(); 2].map(|()| tempfile::tempdir().expect("a directory"));
        let first = open(dirs[0].path(), &store, Takeover::Refuse).await;
        let first = first.expect("a new drive");
        flush(&first).await.expect("published");
        fixture::pretend(&first, EpochNo(2)).await;
        first.close().await;
        drop(first);
        let dir = dirs[1].path();
        let refused = open(dir, &store, Takeover::Refuse).await;
        assert!(matches!(refused, Err(Error::Damaged(_))), "{refused:?}");
        let forced = open(dir, &store, Takeover::Force).await;
        forced.expect("given up").close().await;
        assert_eq!(attempts(&store, EpochNo(2)).await, 1);
        // It is said once, and holds also for whoever is killed before anything is published.
        for _ in 0..2 {
            let again = open(dir, &store, Takeover::Refuse).await;
            let again = again.expect("given up before");
            change(&again);
            again.close().await;
            assert_eq!(attempts(&store, EpochNo(2)).await, 1);
        }
        let last = open(dir, &store, Takeover::Refuse).await.expect("it opens");
        store.add(Rule::next(Verb::Remove, Fault::Unavailable));
        flush(&last).await.expect("published");
        assert_eq!(attempts(&store, EpochNo(2)).await, 2, "it could not go");
        last.close().await;
        drop(last);
        let last = open(dir, &store, Takeover::Refuse).await.expect("it opens");
        assert_eq!(attempts(&store, EpochNo(2)).await, 1);
        assert!(last.all_given_up().expect("readable").is_empty());
        last.close().await;
        let other = open(dirs[0].path(), &store, Takeover::Refuse).await;
        let other = other.expect("nobody holds it");
        assert_eq!(other.journal_head().epoch, EpochNo(2));
        other.close().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_own_attempt_that_cannot_be_read_stays_until_it_was_sent_again() {
        let store = Arc::new(Faulty::new(Memory::default()));
        let dir = tempfile::tempdir().expect("a directory");
        stop_after(1, dir.path(), &store).await;
        let drive = open(dir.path(), &store, Takeover::Refuse).await;
        let drive = drive.expect("its own lease");
        fixture::pretend(&drive, EpochNo(2)).await;
        store.add(Rule::always(Verb::Put, Fault::Refused));
        assert!(flush(&drive).await.is_err(), "nothing can be put");
        assert_eq!(attempts(&store, EpochNo(2)).await, 1);
        store.clear();
        flush(&drive).await.expect("published");
        assert_eq!(drive.journal_head().epoch, EpochNo(2));
        assert_eq!(attempts(&store, EpochNo(2)).await, 1, "the other is gone");
        drive.close().await;
    }

    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).expect("made");
        for entry in std::fs::read_dir(from).expect("a list").flatten() {
            let to = to.join(entry.file_name());
            match entry.path().is_dir() {
                true => copy(&entry.path(), &to),
                false => drop(std::fs::copy(entry.path(), to).expect("copied")),
            }
        }
    }

    /// A state directory that was set back to what it was after the first epoch, perhaps with a change that waits; it
    /// went on to the second under the same lease, which is there still.
    async fn set_back(dir: &Path, store: &Arc<Faulty<Memory>>, changes: u64) {
        let before = tempfile::tempdir().expect("a directory");
        let drive = open(dir, store, Takeover::Refuse).await;
        let drive = drive.expect("a new drive");
        flush(&drive).await.expect("published");
        (0..changes).for_each(|_| change(&drive));
        drive.spool.sync().expect("on the disk");
        copy(dir, before.path());
        change(&drive);
        flush(&drive).await.expect("published");
        change(&drive);
        drive.close().await;
        drop(drive);
        for entry in std::fs::read_dir(dir).expect("a list").flatten() {
            let path = entry.path();
            let removed = match path.is_dir() {
                true => std::fs::remove_dir_all(path),
                false => std::fs::remove_file(path),
            };
            removed.expect("removed");
        }
        copy(before.path(), dir);
    }

    /// So many reads show a wrong bit.
    fn harm_all_reads(store: &Faulty<Memory>, times: u64) {
        for verb in [Verb::Get, Verb::GetAgain] {
            let fault = Rule::next(verb, Fault::FlippedBit);
            store.add(Rule { times, ..fault });
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn whoever_was_set_back_does_not_take_his_own_later_epoch_for_a_broken_one() {
        let store = Arc::new(Faulty::new(Memory::default()));
        let dir = tempfile::tempdir().expect("a directory");
        set_back(dir.path(), &store, 0).await;
        harm_all_reads(&store, 2);
        let refused = open(dir.path(), &store, Takeover::Refuse).await;
        assert!(matches!(refused, Err(Error::Damaged(_))), "{refused:?}");
        assert_eq!(attempts(&store, EpochNo(2)).await, 1);
        store.clear();
        let drive = open(dir.path(), &store, Takeover::Refuse).await;
        let drive = drive.expect("it can be read");
        assert_eq!(drive.journal_head().epoch, EpochNo(2));
        assert!(!drive.is_lease_kept(), "another state of it had the lease");
        drive.close().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn whoever_was_set_back_with_changes_removes_no_epoch_before_his_own_is_there() {
        let store = Arc::new(Faulty::new(Memory::default()));
        let dir = tempfile::tempdir().expect("a directory");
        set_back(dir.path(), &store, 1).await;
        harm_all_reads(&store, 2);
        let drive = open(dir.path(), &store, Takeover::Refuse).await;
        let drive = drive.expect("what waits is to be sent");
        assert_eq!(store.struck(), 4);
        let flushed = flush(&drive).await;
        assert!(matches!(flushed, Err(Error::Forked(_))), "{flushed:?}");
        assert_eq!(attempts(&store, EpochNo(2)).await, 1);
        drive.close().await;
    }
}
