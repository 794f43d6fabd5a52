//! The sweep: what has lain in its grave for the delay is removed from the store, by the cheapest calls.
//!
//! Up to a hundred puts of a shelf go in one call, which a store may make one request. An archive whose
//! directory is gone and in which nothing lives goes with its whole shelf. The graves go last; a sweep
//! that was killed removes again what is gone already, which is no failure.

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::ops::Bound;
use std::time::Duration;
use std::time::Instant;

use crate::clock::Time;
use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::gc::Amount;
use crate::drive::gc::Report;
use crate::drive::gc::grave::Note;
use crate::drive::gc::grave::Waiting;
use crate::drive::gc::mark::When;
use crate::drive::gc::mark::entries;
use crate::drive::gc::mark::go_on;
use crate::drive::gc::plan::EPOCH_REQUESTS;
use crate::drive::gc::seconds_until;
use crate::drive::status::Garbage;
use crate::drive::task::Go;
use crate::drive::task::Progress;
use crate::drive::task::Task;
use crate::id::ArchiveNo;
use crate::id::EpochNo;
use crate::index::Batch;
use crate::index::archive::Archive;
use crate::index::archive::Holding;
use crate::index::chunk::PackPlace;
use crate::index::inode::Inode;
use crate::index::key;
use crate::store::Locator;

/// Puts removed in one call; as many as a store of messages removes with one request.
const CALL_PUTS: usize = 100;

/// Puts removed before their graves go: so many are removed again at most when a sweep is killed.
const GRAVES_MAX: usize = 1000;

/// How long an interrupted sweep goes on, to say what it did.
const LAST_WORD_MAX: Duration = Duration::from_secs(5);

/// How often it is tried to see all inodes at one moment.
const LOOKS_MAX: u32 = 3;

/// Under this label the journal says when something was last swept.
const SWEPT: &str = "swept";

/// What a sweep would remove.
#[derive(Debug, Default)]
pub(in crate::drive) struct Plan {
    /// Puts to remove, by archive.
    due: BTreeMap<ArchiveNo, Vec<Waiting>>,
    /// Archives to remove with everything that is left of them.
    archives: BTreeMap<ArchiveNo, Vec<Waiting>>,
    /// Graves that wait on.
    waiting: Vec<Waiting>,
}

impl Plan {
    /// Requests it takes at most while what is removed is young. An epoch comes before it; others forget the
    /// graves and the archives.
    pub(in crate::drive) fn requests(&self) -> u64 {
        if self.due.is_empty() && self.archives.is_empty() {
            return 0;
        }
        let calls = self
            .due
            .values()
            .map(|puts| puts.len().div_ceil(CALL_PUTS) as u64);
        let puts: usize = self.due.values().map(Vec::len).sum();
        let epochs = 1 + puts.div_ceil(GRAVES_MAX) + usize::from(!self.archives.is_empty());
        calls.sum::<u64>() + 2 * self.archives.len() as u64 + epochs as u64 * EPOCH_REQUESTS
    }

    pub(in crate::drive) fn report(&self, now: Time, delay: Duration, report: &mut Report) {
        report.removed = Amount::default();
        for waiting in self.due.values().chain(self.archives.values()).flatten() {
            report.removed.plus(waiting.amount());
        }
        report.archives_removed = self.archives.len() as u64;
        self.report_waiting(now, delay, report);
    }

    fn report_waiting(&self, now: Time, delay: Duration, report: &mut Report) {
        report.waiting = Amount::default();
        for waiting in &self.waiting {
            report.waiting.plus(waiting.amount());
        }
        let whole = self
            .waiting
            .iter()
            .filter(|waiting| waiting.grave.is_whole());
        let first = whole.map(|waiting| waiting.due(delay)).min();
        report.next_s = first.map(|first| seconds_until(now, first));
    }
}

impl Waiting {
    fn amount(&self) -> Amount {
        Amount {
            packs: self.grave.locators.len() as u64,
            bytes: self.grave.bytes,
        }
    }

    fn locators(&self) -> impl Iterator<Item = Locator> + '_ {
        self.grave.locators.iter().cloned().map(Locator)
    }
}

impl Drive {
    /// What may be removed now, and what has to wait.
    pub(in crate::drive) fn plan_sweep(&self, delay: Duration, note: Note) -> Result<Plan, Error> {
        let (now, graves) = (self.now(), self.graves(note)?);
        let buried: HashSet<&[u8]> = graves.iter().map(|grave| &grave.put[..]).collect();
        let used = self.puts_used(&buried)?;
        let is_due = |grave: &Waiting| grave.due(delay) <= now && !used.contains(&grave.put);
        let mut plan = Plan::default();
        for no in self.empty_archives(When::Now)? {
            let of = || graves.iter().filter(|grave| grave.grave.archive == no);
            if of().all(is_due) {
                plan.archives.insert(no, of().cloned().collect());
            }
        }
        for grave in graves {
            let no = grave.grave.archive;
            if plan.archives.contains_key(&no) {
                continue;
            }
            if grave.grave.is_whole() && is_due(&grave) {
                plan.due.entry(no).or_default().push(grave);
            } else {
                plan.waiting.push(grave);
            }
        }
        Ok(plan)
    }

    /// What waits in graves, for the status.
    pub(in crate::drive) fn buried(&self) -> Result<Garbage, Error> {
        let mut garbage = Garbage {
            left_bytes: self.tending.garbage_bytes(),
            ..Garbage::default()
        };
        let (now, delay) = (self.now(), self.settings.gc_delay);
        for grave in self.graves(Note::Nothing)? {
            let amount = grave.amount();
            garbage.buried_packs += amount.packs;
            garbage.buried_bytes += amount.bytes;
            if grave.grave.is_whole() {
                let left = seconds_until(now, grave.due(delay));
                garbage.next_s = Some(garbage.next_s.map_or(left, |next| next.min(left)));
            }
        }
        Ok(garbage)
    }

    /// Those of the puts that a pack belongs to, in the present or in the published state.
    fn puts_used(&self, buried: &HashSet<&[u8]>) -> Result<HashSet<Vec<u8>>, Error> {
        let mut used = HashSet::new();
        if buried.is_empty() {
            return Ok(used);
        }
        let (from, to) = key::all(b'P');
        let range = || (Bound::Included(&from[..]), Bound::Excluded(&to[..]));
        let published = self.index.base_scan(range().0, range().1);
        let present = self.index.scan(range().0, range().1);
        for (number, entry) in published.chain(present).enumerate() {
            go_on(self, number)?;
            let place = PackPlace::decode(&entry?.1)?;
            let together = self.store.together(&Locator(place.locator));
            used.extend(
                together
                    .ok()
                    .map(|together| together.key)
                    .filter(|key| buried.contains(&key[..])),
            );
        }
        Ok(used)
    }

    /// Archives whose directories are gone and that hold neither packs nor inodes. None can come to such an
    /// archive again: only what is made in one of its directories would.
    fn empty_archives(&self, when: When) -> Result<HashSet<ArchiveNo>, Error> {
        let mut empty = HashSet::new();
        for entry in entries(self, when, b'A') {
            let (key, value) = entry?;
            if Archive::decode(&value)?.removed {
                empty.extend(key::archive_of(&key).filter(|no| *no != ArchiveNo(0)));
            }
        }
        for entry in entries(self, when, b'P') {
            if empty.is_empty() {
                return Ok(empty);
            }
            empty.remove(&PackPlace::decode(&entry?.1)?.archive);
        }
        self.without_inodes(when, empty)
    }

    /// Those of the archives that no inode belongs to; none when it cannot be seen at one moment.
    fn without_inodes(
        &self,
        when: When,
        archives: HashSet<ArchiveNo>,
    ) -> Result<HashSet<ArchiveNo>, Error> {
        for _ in 0..LOOKS_MAX {
            let mut empty = archives.clone();
            let before = self.view().state.changed;
            // An inode may move between archives while it is looked for: what is changed meanwhile counts.
            let views = [When::Now, when];
            let views = &views[..if when == When::Now { 1 } else { 2 }];
            for view in views {
                for (number, entry) in entries(self, *view, b'I').enumerate() {
                    go_on(self, number)?;
                    if empty.is_empty() {
                        return Ok(empty);
                    }
                    empty.remove(&Inode::decode(&entry?.1)?.archive);
                }
            }
            if self.view().state.changed == before {
                return Ok(empty);
            }
        }
        Ok(HashSet::new())
    }

    /// Removes what may be removed. `begun` is the epoch that was the last when the collection began.
    pub(in crate::drive) fn sweep(
        &self,
        delay: Duration,
        begun: EpochNo,
        task: &Task<'_>,
        report: &mut Report,
    ) -> Result<(), Error> {
        let plan = self.plan_sweep(delay, Note::Keep)?;
        plan.report_waiting(self.now(), delay, report);
        if plan.requests() == 0 {
            return Ok(());
        }
        let planned = plan.due.values().chain(plan.archives.values()).flatten();
        let newest = planned.map(|grave| grave.grave.epoch).max();
        let head = self.journal_head().epoch;
        if head == begun || newest.is_some_and(|newest| newest >= head) {
            // Publishing finds out whether the lease is ours and history is ours.
            self.in_epoch(task, |drive| {
                let mut batch = Batch::default();
                let now = drive.now().0.to_le_bytes().to_vec();
                batch.put(key::root(SWEPT), now)?;
                Ok(drive.index.amend(batch)?)
            })?;
        }
        let all = || plan.due.values().flatten();
        let bytes = all().map(|grave| grave.grave.bytes).sum();
        task.begin("removing what was buried", all().count() as u64, bytes)?;
        let mut gone: Vec<Vec<u8>> = Vec::new();
        let mut removed = Amount::default();
        let result = plan
            .due
            .values()
            .flat_map(|puts| puts.chunks(CALL_PUTS))
            .try_for_each(|puts| {
                self.remove_puts(puts, task)?;
                for put in puts {
                    gone.push(put.put.clone());
                    removed.plus(put.amount());
                    task.done(1, put.grave.bytes)?;
                }
                match gone.len() >= GRAVES_MAX {
                    true => self.close_graves(std::mem::take(&mut gone), task),
                    false => Ok(()),
                }
            });
        report.removed = removed;
        match (&result, gone.is_empty()) {
            (Ok(()), false) => self.close_graves(gone, task)?,
            // What was removed is better not removed again; but whoever ends it does not want to wait.
            (Err(Error::Interrupted), false) => {
                let end = Instant::now() + LAST_WORD_MAX;
                let watcher = move |_: &Progress| match Instant::now() < end {
                    true => Go::On,
                    false => Go::Stop,
                };
                self.close_graves(gone, &Task::new(&watcher))?;
            }
            _ => {}
        }
        result?;
        self.remove_archives(&plan, delay, task, report)
    }

    fn remove_puts(&self, puts: &[Waiting], task: &Task<'_>) -> Result<(), Error> {
        if let Some(why) = self.read_only() {
            return Err(Error::ReadOnly(why));
        }
        let locators: Vec<Locator> = puts.iter().flat_map(Waiting::locators).collect();
        self.wait_with(task, async { Ok(self.store.remove(&locators).await?) })
    }

    /// The graves of what is removed go.
    fn close_graves(&self, puts: Vec<Vec<u8>>, task: &Task<'_>) -> Result<(), Error> {
        self.in_epoch(task, move |drive| {
            let mut batch = Batch::default();
            for put in &puts {
                batch.delete(key::grave(put));
            }
            Ok(drive.index.amend(batch)?)
        })
    }

    /// Removes archives that nothing lives in, shelves first; decided again within the epoch that forgets them.
    fn remove_archives(
        &self,
        plan: &Plan,
        delay: Duration,
        task: &Task<'_>,
        report: &mut Report,
    ) -> Result<(), Error> {
        if plan.archives.is_empty() {
            return Ok(());
        }
        let archives = plan.archives.clone();
        let (count, amount, failed) = self.in_epoch(task, move |drive| {
            let empty = drive.empty_archives(When::Frozen)?;
            let graves = drive.graves(Note::Nothing)?;
            let (mut batch, mut failed) = (Batch::default(), None);
            let (mut count, mut amount) = (0, Amount::default());
            for no in archives.keys().filter(|no| empty.contains(no)) {
                let of = || graves.iter().filter(|grave| grave.grave.archive == *no);
                if of().any(|grave| grave.due(delay) > drive.now()) {
                    continue;
                }
                if let Err(error) = drive.remove_shelf_of(*no) {
                    // The others may go; it is tried again by the next collection.
                    failed.get_or_insert(error);
                    continue;
                }
                for grave in of() {
                    amount.plus(grave.amount());
                    batch.delete(key::grave(&grave.put));
                }
                batch.delete(key::archive(*no));
                batch.delete(key::holding(*no));
                batch.delete(key::tally(*no));
                for (key, _) in drive.rows_of_caption(*no)? {
                    batch.delete(key);
                }
                count += 1;
            }
            drive.index.amend(batch)?;
            Ok((count, amount, failed))
        })?;
        report.archives_removed = count;
        report.removed.plus(amount);
        failed.map_or(Ok(()), Err)
    }

    fn remove_shelf_of(&self, no: ArchiveNo) -> Result<(), Error> {
        let value = self.index.frozen_get(&key::holding(no))?;
        let holding = value.map(|value| Holding::decode(&value)).transpose()?;
        let shelf = self.shelf_now(no, &holding.unwrap_or_default())?;
        if !shelf.0.is_empty() {
            self.wait_for(async { Ok(self.store.remove_shelf(&shelf).await?) })?;
        }
        self.drop_card(no);
        Ok(())
    }
}
