//! History: could an empty machine rebuild the drive from what the journal's shelf holds?

use std::collections::BTreeMap;

use crate::codec::segment::Kind;
use crate::codec::superblock::Superblock;
use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::history::Found;
use crate::drive::history::Gatherer;
use crate::drive::journal::Head;
use crate::drive::names::Series;
use crate::drive::parts::Part;
use crate::drive::superblock;
use crate::drive::task::Task;
use crate::drive::verify::Depth;
use crate::drive::verify::Findings;
use crate::drive::verify::HistoryIll;
use crate::id::EpochNo;
use crate::store::Mark;

/// What the journal's shelf holds, set by set.
struct Shelved {
    checkpoints: Vec<Found>,
    /// By epoch; more than one when an answer was lost.
    segments: BTreeMap<EpochNo, Vec<Found>>,
}

impl Shelved {
    /// Is there less of the newest checkpoint, or of the segments since, than this machine knows there was? Names
    /// alone can make a few parts look like all of them.
    fn ill_length(&self, head: &Head) -> Option<String> {
        let base = EpochNo(head.epoch.0.saturating_sub(u64::from(head.tail_segments)));
        let mut alike = self.checkpoints.iter().filter(|found| found.epoch == base);
        let is_known = head.checkpoint_bytes > 0 && alike.clone().next().is_some();
        if is_known && !alike.any(|found| found.bytes() == head.checkpoint_bytes) {
            return Some(format!(
                "the checkpoint of epoch {base} is not as long as it was"
            ));
        }
        let tail: Vec<&Vec<Found>> = self
            .segments
            .range(EpochNo(base.0 + 1)..)
            .map(|(_, found)| found)
            .collect();
        // Of several attempts nobody can tell by their lengths which one was counted.
        let is_plain = tail.iter().all(|found| found.len() == 1)
            && tail.len() as u64 == u64::from(head.tail_segments);
        let bytes: u64 = tail
            .iter()
            .flat_map(|found| found.iter())
            .map(Found::bytes)
            .sum();
        (is_plain && bytes != head.tail_bytes)
            .then(|| format!("the segments after epoch {base} are not as long as they were"))
    }
}

impl Drive {
    /// Looks at the superblock: there, pinned, readable, ours, and not older than this machine knows.
    pub(in crate::drive) fn look_at_superblock(
        &self,
        task: &Task<'_>,
        findings: &mut Findings,
    ) -> Result<(), Error> {
        task.begin("looking at the superblock", 1, 0)?;
        let kept = self.kept_superblock().map(|(kept, _)| kept);
        findings.superblock = self.wait_with(task, self.superblock_ill(kept.as_ref()))?;
        task.done(1, 0)
    }

    async fn superblock_ill(&self, kept: Option<&Superblock>) -> Result<Option<String>, Error> {
        let ill = |text: &str| Ok(Some(text.to_owned()));
        let found = superblock::find(&*self.store).await?;
        if found.is_empty() {
            return ill("the superblock is not on Discord");
        }
        let mut ours = None;
        for one in found {
            match superblock::fetch(&*self.store, &one).await {
                Ok(fetched) if fetched.drive() == self.id => {
                    ours = Some((one, fetched));
                    break;
                }
                Ok(_) => {}
                Err(error) if error.is_damage() => {
                    return ill("the superblock on Discord is damaged");
                }
                Err(error) => return Err(error),
            }
        }
        let Some((newest, fetched)) = ours else {
            return ill("the superblock on Discord is that of another drive");
        };
        if kept.is_some_and(|kept| kept.generation() > fetched.generation()) {
            return ill("the superblock on Discord is older than the one this machine has seen");
        }
        let same =
            |kept: &Superblock| kept.generation() == fetched.generation() && *kept != fetched;
        if kept.is_some_and(same) {
            return ill("the superblock on Discord is not the one this machine has seen");
        }
        let pinned = self.store.pinned().await?;
        if !pinned.iter().any(|entry| entry.locator == newest.locator) {
            return ill("the superblock on Discord is not pinned");
        }
        Ok(None)
    }

    /// Looks at checkpoints and segments. They are put and removed meanwhile, so what looks wrong is
    /// looked at twice.
    pub(in crate::drive) fn look_at_history(
        &self,
        depth: Depth,
        task: &Task<'_>,
        findings: &mut Findings,
    ) -> Result<(), Error> {
        task.begin("looking at the journal", 0, 0)?;
        let (mut ill, counts) = self.history_ill(depth, task)?;
        if !ill.what.is_empty() {
            let (again, _) = self.history_ill(depth, task)?;
            ill.what.retain(|what| again.what.contains(what));
            ill.broken_up_to = ill.broken_up_to.min(again.broken_up_to);
        }
        let halt = self.halt().filter(|_| self.is_halted());
        ill.what.extend(halt.map(|halt| halt.told()));
        (findings.counts.checkpoints, findings.counts.segments) = counts;
        findings.history = ill;
        Ok(())
    }

    fn history_ill(
        &self,
        depth: Depth,
        task: &Task<'_>,
    ) -> Result<(HistoryIll, (u64, u64)), Error> {
        let head = self.journal_head();
        let mut ill = HistoryIll::default();
        if head.epoch == EpochNo(0) {
            return Ok((ill, (0, 0)));
        }
        let shelved = self.wait_with(task, self.shelved(head.epoch))?;
        let newest = shelved.checkpoints.last().map(|found| found.epoch);
        let expected = match head.checkpoint_bytes {
            0 => EpochNo(0),
            _ => EpochNo(head.epoch.0.saturating_sub(u64::from(head.tail_segments))),
        };
        ill.what.extend(shelved.ill_length(&head));
        if newest.unwrap_or_default() < expected {
            ill.what.push(format!(
                "the checkpoint of epoch {expected} is missing or has lost parts"
            ));
        }
        // Without any checkpoint, history begins with the first epoch.
        let oldest = shelved.checkpoints.first().map(|found| found.epoch);
        let from = oldest.unwrap_or_default();
        for epoch in from.0 + 1..=head.epoch.0 {
            if !shelved.segments.contains_key(&EpochNo(epoch)) {
                ill.what.push(format!(
                    "the segment of epoch {epoch} is missing or has lost parts"
                ));
                ill.broken_up_to = EpochNo(epoch);
            }
        }
        let segments = shelved.segments.range(EpochNo(from.0 + 1)..).count() as u64;
        let counts = (shelved.checkpoints.len() as u64, segments);
        if depth == Depth::Full {
            self.follow(&head, &shelved, from, task, &mut ill)?;
        }
        Ok((ill, counts))
    }

    async fn shelved(&self, head: EpochNo) -> Result<Shelved, Error> {
        let mut gatherer = Gatherer::default();
        for entry in self.journal_after(Mark(0)).await? {
            gatherer.add(&entry);
        }
        let mut checkpoints = gatherer.complete(Series::Checkpoint);
        checkpoints.retain(|found| found.epoch <= head);
        let mut segments: BTreeMap<EpochNo, Vec<Found>> = BTreeMap::new();
        for found in gatherer.complete(Series::Segment) {
            if found.epoch <= head {
                segments.entry(found.epoch).or_default().push(found);
            }
        }
        Ok(Shelved {
            checkpoints,
            segments,
        })
    }

    /// Opens everything since the oldest checkpoint, and follows the hashes from segment to segment.
    fn follow(
        &self,
        head: &Head,
        shelved: &Shelved,
        from: EpochNo,
        task: &Task<'_>,
        ill: &mut HistoryIll,
    ) -> Result<(), Error> {
        let mut states: BTreeMap<EpochNo, [u8; 32]> = BTreeMap::new();
        for found in &shelved.checkpoints {
            match self.wait_with(task, self.checkpoint_hash(found)) {
                Ok(hash) => drop(states.insert(found.epoch, hash)),
                Err(error) if error.is_damage() => {
                    ill.what.push(format!(
                        "the checkpoint of epoch {} is damaged",
                        found.epoch
                    ));
                }
                Err(error) => return Err(error),
            }
            task.done(1, 0)?;
        }
        let mut at = match from {
            EpochNo(0) => Some([0; 32]),
            from => states.get(&from).copied(),
        };
        for (epoch, candidates) in shelved.segments.range(EpochNo(from.0 + 1)..) {
            let mut next = None;
            for found in candidates {
                match self.wait_with(task, self.open_segment(found)) {
                    Ok(opened) if at.is_none_or(|at| at == opened.previous) => {
                        next = next.or(Some(opened.hash));
                    }
                    Ok(_) => {}
                    Err(error) if error.is_damage() => {}
                    Err(error) => return Err(error),
                }
                task.done(1, 0)?;
            }
            if next.is_none() {
                ill.what.push(format!(
                    "the segment of epoch {epoch} is damaged, or does not follow the one before it"
                ));
                ill.broken_up_to = ill.broken_up_to.max(*epoch);
            }
            // A later checkpoint knows what the hash should be.
            at = states.get(epoch).copied().or(next);
        }
        if at.is_some_and(|at| at != head.hash) && ill.what.is_empty() {
            ill.what.push(String::from(
                "the journal on Discord does not end where this machine's index does",
            ));
            ill.broken_up_to = head.epoch;
        }
        Ok(())
    }

    /// Opens all of a checkpoint; gives the hash of the segment of its epoch.
    pub(in crate::drive) async fn checkpoint_hash(&self, found: &Found) -> Result<[u8; 32], Error> {
        let take = |part: Part<'_>| {
            Drive::checkpoint_batch(part.number, &part.plain)?;
            Ok(())
        };
        let first = self.read_set(found, Kind::Checkpoint, take).await?;
        Ok(first.previous)
    }

    /// Is all of a checkpoint there, and can it be read? When the store cannot say, neither can this.
    pub(in crate::drive) async fn is_sound(&self, found: &Found) -> Result<bool, Error> {
        match self.checkpoint_hash(found).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_damage() => Ok(false),
            Err(error) => Err(error),
        }
    }
}
