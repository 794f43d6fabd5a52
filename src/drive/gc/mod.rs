//! Garbage collection: what nothing refers to any more leaves the store, late.
//!
//! ```text
//! mark     which chunks are in use, and so how much of each put                          mark.rs
//! plan     a put is dead, worth moving, or kept                                          plan.rs
//! round    one epoch: the places of what is dead go, graves come; what is alive in a
//!          put that is mostly dead is moved first                                        round.rs
//! graves   wait until the epoch that made them has been published for the delay          grave.rs
//! orphans  packs on a shelf that no epoch ever told of get graves too                    orphans.rs
//! sweep    puts in graves are removed from the store, then the graves go                 sweep.rs
//! auto     now and then, when nothing else happens                                       auto.rs
//! ```
//!
//! Why nothing that is referred to is ever removed:
//!
//! * Deciding and burying are one errand of the publisher, within one epoch and after its drain. The only way a
//!   chunk that nobody refers to is referred to again is a later drain that finds its place in the
//!   index; burying takes that place away before the next drain looks.
//! * A removal happens only for a grave that was published, in an epoch that another one has followed
//!   (so history did not fork there, and the lease was ours when it did), the delay ago, and to which no
//!   pack of the index belongs at that moment.
//! * What the spool says of packs (facts and intents) names the epoch it was said for, and does not
//!   count once the journal has that epoch. So no replay, here or on a machine that slept, brings
//!   back a place that was buried.
//! * Objects put together are removed together or not at all: graves hold whole puts.
//!
//! Why it may be killed at any moment: everything but the removals is an epoch, so it happened or not. Packs
//! put by a round that was killed are facts in the spool, or orphans. Removing again what is gone is no
//! failure, and the graves tell what is left to be removed.
//!
//! The delay is for readers of an older state: a read-only mount does not follow the journal while it is
//! mounted, so what it reads may be buried, and is still there for the delay. After that such a read
//! fails with an error that says to mount again.

mod auto;
mod grave;
mod mark;
mod orphans;
mod plan;
mod round;
mod sweep;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;

use crate::clock::Time;
use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::task::Task;
use grave::Note;
use mark::Marked;
use mark::PutUse;
use mark::When;
use plan::Repack;
use plan::Verdict;

pub(in crate::drive) use mark::live_of;

pub use auto::Tending;

/// How long what is buried stays, if nothing else was chosen.
pub const DELAY: Duration = Duration::from_secs(24 * 3600);

/// Is garbage collected when nobody asked for it?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Collecting {
    /// Once a day, when the drive is quiet and it is worth it.
    #[default]
    Auto,
    /// Only when somebody asks for it.
    Off,
}

/// What is wanted of a collection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// Is it only told what would be done?
    pub dry_run: bool,
    /// How long what is buried stays, seconds, if not as the drive was opened.
    pub delay_s: Option<u64>,
    /// How far it goes.
    pub extent: Extent,
}

/// How far a collection goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Extent {
    /// Shelves are listed for packs that nothing knows, and all that is worth it is moved.
    Full,
    /// Only what the index knows, and only what is worth a person's not having asked for it.
    Thrifty,
}

/// Packs and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// How many.
    pub packs: u64,
    /// Their length.
    pub bytes: u64,
}

impl Amount {
    fn add(&mut self, put: &PutUse) {
        self.packs += put.packs.len() as u64;
        self.bytes += put.bytes;
    }

    fn plus(&mut self, other: Amount) {
        self.packs += other.packs;
        self.bytes += other.bytes;
    }
}

/// What a collection did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Was it only told?
    pub dry_run: bool,
    /// Did it come to its end?
    pub complete: bool,
    /// Packs that the drive knew at the beginning.
    pub known: Amount,
    /// Bytes of them that are in use.
    pub live_bytes: u64,
    /// Packs in which nothing was in use: buried.
    pub dead: Amount,
    /// Packs that were mostly dead: what was in use was moved, and they were buried.
    pub emptied: Amount,
    /// Bytes moved out of them.
    pub moved_bytes: u64,
    /// Packs that no epoch ever told of: buried.
    pub orphans: Amount,
    /// Packs removed from the store.
    pub removed: Amount,
    /// Threads of removed archives that were removed with all that was in them.
    pub archives_removed: u64,
    /// Packs that are buried and wait for the delay.
    pub waiting: Amount,
    /// Bytes of no use that stay for now, among what is in use: moving that is not worth it.
    pub left_bytes: u64,
    /// Seconds until the first of what waits may be removed.
    pub next_s: Option<u64>,
    /// Requests it took, or would take at most.
    pub requests: u64,
    /// What could not be done, and why.
    pub notes: Vec<String>,
}

/// At most so many rounds in a call: a bound that no drive reaches, so that a defect is no endless loop.
const ROUNDS_MAX: usize = 100_000;

impl Drive {
    /// Collects garbage, or tells what that would do.
    ///
    /// # Errors
    /// [`Error::State`] when somebody else is at it; what disk and store have to say. An interrupted collection
    /// is no error: its report says that it is not complete.
    pub fn collect(&self, wish: &Wish, task: &Task<'_>) -> Result<Report, Error> {
        let _one = Turn::take(&self.tending)?;
        if let (false, Some(why)) = (wish.dry_run, self.read_only()) {
            return Err(Error::ReadOnly(why));
        }
        let delay = wish
            .delay_s
            .map_or(self.settings.gc_delay, Duration::from_secs);
        let before = self.store.status().requests_total;
        let mut report = Report {
            dry_run: wish.dry_run,
            ..Report::default()
        };
        let done = match wish.dry_run {
            true => self.tell(wish, delay, task, &mut report),
            false => self.act(wish, delay, task, &mut report),
        };
        match done {
            Ok(()) => report.complete = true,
            Err(Error::Interrupted) => {}
            Err(error) => return Err(error),
        }
        if !wish.dry_run {
            let after = self.store.status().requests_total;
            report.requests = after.saturating_sub(before);
            self.tending.noticed(&report);
        }
        Ok(report)
    }

    fn census(&self, task: &Task<'_>, report: &mut Report) -> Result<Marked, Error> {
        task.begin("looking for what is in use", 0, 0)?;
        let marked = Marked::new(self, When::Now)?;
        report.known = Amount::default();
        report.live_bytes = 0;
        for used in marked.packs.values() {
            report.known.packs += 1;
            report.known.bytes += used.bytes;
            report.live_bytes += used.live_bytes;
        }
        report.notes.extend(marked.foreign_note());
        task.check()?;
        Ok(marked)
    }

    fn tell(
        &self,
        wish: &Wish,
        delay: Duration,
        task: &Task<'_>,
        report: &mut Report,
    ) -> Result<(), Error> {
        let marked = self.census(task, report)?;
        report.left_bytes = left(&marked, Some(Repack::Yes));
        let mut bytes_to_put = 0;
        for put in &marked.puts {
            match put.verdict() {
                Verdict::Dead => report.dead.add(put),
                Verdict::Move => {
                    report.emptied.add(put);
                    report.moved_bytes += put.live_bytes;
                    // What is put and removed is counted below, together.
                    report.requests += put.requests().saturating_sub(2);
                    bytes_to_put += put.live_bytes;
                }
                Verdict::Keep => {}
            }
        }
        let limits = self.store.limits();
        report.requests += bytes_to_put.div_ceil(limits.put_bytes_max.max(1));
        report.requests += rounds_cost(&marked);
        let changed = self.view().state.changed;
        if changed > self.control.board().published {
            report.notes.push(String::from(
                "what was changed lately and is not published yet is not counted; `ods flush` publishes it",
            ));
        }
        let plan = self.plan_sweep(delay, Note::Nothing)?;
        plan.report(self.now(), delay, report);
        report.requests += plan.requests();
        if wish.extent == Extent::Full {
            // The run itself lists as much.
            let before = self.store.status().requests_total;
            let strays = self.find_orphans(task)?;
            report.requests += self.store.status().requests_total.saturating_sub(before);
            report.orphans = self.orphans_among(&strays, When::Now)?.1;
            if report.orphans.packs > 0 {
                report.requests += plan::EPOCH_REQUESTS;
            }
        }
        Ok(())
    }

    fn act(
        &self,
        wish: &Wish,
        delay: Duration,
        task: &Task<'_>,
        report: &mut Report,
    ) -> Result<(), Error> {
        let epoch = self.journal_head().epoch;
        let marked = self.census(task, report)?;
        if wish.extent == Extent::Full {
            self.bury_orphans(task, report)?;
        }
        let wanted = wanted(wish.extent, &marked, report);
        report.left_bytes = left(&marked, wanted);
        drop(marked);
        if let Some(repack) = wanted {
            self.rounds(repack, task, report)?;
        }
        self.sweep(delay, epoch, task, report)
    }

    /// Round after round, until nothing is left to do.
    fn rounds(&self, repack: Repack, task: &Task<'_>, report: &mut Report) -> Result<(), Error> {
        task.begin("burying what is not in use", 0, 0)?;
        let stop = Arc::new(AtomicBool::new(false));
        let mut skip = HashSet::new();
        for _ in 0..ROUNDS_MAX {
            let wanted = round::Task {
                repack,
                skip: skip.clone(),
                stop: Arc::clone(&stop),
            };
            let round = self.in_epoch(task, move |drive| drive.round(&wanted));
            let round = round.inspect_err(|_| stop.store(true, Ordering::Relaxed))?;
            report.dead.plus(round.dead);
            report.emptied.plus(round.emptied);
            report.moved_bytes += round.moved_bytes;
            for (put, why) in round.failed {
                report.notes.push(why);
                skip.insert(put);
            }
            let packs = round.dead.packs + round.emptied.packs;
            task.done(packs, round.dead.bytes + round.emptied.bytes)?;
            if !round.more {
                break;
            }
        }
        Ok(())
    }
}

/// Requests that the epochs of the rounds take at most, and the cards of what they change.
fn rounds_cost(marked: &Marked) -> u64 {
    let puts = marked
        .puts
        .iter()
        .filter(|put| put.verdict() != Verdict::Keep);
    let (mut archives, mut frames, mut bytes) = (HashSet::new(), 0, 0);
    for put in puts {
        archives.insert(put.archive);
        frames += put.frames;
        bytes += put.live_bytes;
    }
    match archives.len() as u64 {
        0 => 0,
        cards => plan::epochs(frames, bytes) * (plan::EPOCH_REQUESTS + cards),
    }
}

/// Bytes that must be dead before they are buried unasked.
const DEAD_WORTH: u64 = 1 << 20;

/// Bytes that moving must free before it is done unasked, and the share of all bytes: a twentieth.
const MOVE_WORTH: (u64, u64) = (64 << 20, 20);

/// What is to be done, if anything.
fn wanted(extent: Extent, marked: &Marked, report: &Report) -> Option<Repack> {
    let of = |verdict: Verdict| {
        let puts = marked
            .puts
            .iter()
            .filter(move |put| put.verdict() == verdict);
        puts.map(|put| put.bytes - put.live_bytes.min(put.bytes))
    };
    let (dead, freed): (u64, u64) = (of(Verdict::Dead).sum(), of(Verdict::Move).sum());
    match extent {
        // What was deleted a moment ago is dead only when it is drained, which the round sees to.
        Extent::Full => Some(Repack::Yes),
        Extent::Thrifty if freed >= MOVE_WORTH.0.max(report.known.bytes / MOVE_WORTH.1) => {
            Some(Repack::Yes)
        }
        Extent::Thrifty if dead >= DEAD_WORTH => Some(Repack::No),
        Extent::Thrifty => None,
    }
}

/// Bytes of frames of no use that stay after that is done.
fn left(marked: &Marked, wanted: Option<Repack>) -> u64 {
    let stays = |put: &&PutUse| match (put.verdict(), wanted) {
        (Verdict::Keep, _) | (_, None) | (Verdict::Move, Some(Repack::No)) => true,
        (Verdict::Dead, Some(_)) | (Verdict::Move, Some(Repack::Yes)) => false,
    };
    let puts = marked.puts.iter().filter(stays);
    puts.map(|put| put.dead_bytes).sum()
}

/// Whoever collects has this; one at a time.
struct Turn<'d>(&'d Tending);

impl Turn<'_> {
    fn take(tending: &Tending) -> Result<Turn<'_>, Error> {
        if tending.is_busy().swap(true, Ordering::SeqCst) {
            return Err(Error::State(String::from(
                "garbage is being collected already; try again when that is done",
            )));
        }
        Ok(Turn(tending))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.is_busy().store(false, Ordering::SeqCst);
    }
}

/// Seconds from now until then, rounded up.
fn seconds_until(now: Time, then: Time) -> u64 {
    let nanoseconds = u64::try_from(then.0.saturating_sub(now.0)).unwrap_or(0);
    nanoseconds.div_ceil(1_000_000_000)
}
