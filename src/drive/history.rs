//! Reading the journal back: which parts are on the shelf, which of them make whole segments, what they say.

use std::collections::BTreeMap;
use std::collections::HashMap;

use crate::codec::segment;
use crate::codec::segment::Kind;
use crate::codec::segment::PartHeader;
use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::journal::Head;
use crate::drive::journal::Preamble;
use crate::drive::lineage::are_kin;
use crate::drive::names::Name;
use crate::drive::names::Series;
use crate::drive::parts::Part;
use crate::id::EpochNo;
use crate::index::Batch;
use crate::store;
use crate::store::Entry;
use crate::store::Locator;
use crate::store::Mark;
use crate::store::Span;

/// A complete set of parts found on the journal shelf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::drive) struct Found {
    pub(in crate::drive) epoch: EpochNo,
    /// Random, as its name tells it.
    pub(in crate::drive) attempt: [u8; 8],
    pub(in crate::drive) parts: Vec<Entry>,
}

impl Found {
    pub(in crate::drive) fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }

    pub(in crate::drive) fn first_mark(&self) -> Mark {
        self.parts
            .iter()
            .map(|part| part.mark)
            .min()
            .unwrap_or_default()
    }

    pub(in crate::drive) fn locators(&self) -> impl Iterator<Item = &Locator> {
        self.parts.iter().map(|part| &part.locator)
    }

    pub(in crate::drive) fn last_mark(&self) -> Mark {
        self.parts
            .iter()
            .map(|part| part.mark)
            .max()
            .unwrap_or_default()
    }
}

/// Parts of one attempt.
type SetName = (Series, EpochNo, [u8; 8]);

/// Listed parts by number, and whether each is the last.
type Parts = BTreeMap<u32, (Entry, bool)>;

/// Collects listed parts into complete segments and checkpoints.
#[derive(Debug, Default)]
pub(in crate::drive) struct Gatherer {
    sets: HashMap<SetName, Parts>,
}

impl Gatherer {
    pub(in crate::drive) fn add(&mut self, entry: &Entry) {
        if let Some(Name::Part(name)) = Name::parse(&entry.name) {
            let set = self
                .sets
                .entry((name.series, name.epoch, name.attempt))
                .or_default();
            // One that was put again is put right: what was put last counts, in whatever order they are listed.
            if set
                .get(&name.part)
                .is_none_or(|(other, _)| other.mark < entry.mark)
            {
                set.insert(name.part, (entry.clone(), name.last));
            }
        }
    }

    /// The sets that have all their parts, oldest epoch first; within an epoch the earliest first.
    pub(in crate::drive) fn complete(&self, series: Series) -> Vec<Found> {
        let mut found: Vec<Found> = self
            .sets
            .iter()
            .filter(|((of, _, _), parts)| *of == series && is_complete(parts))
            .map(|((_, epoch, attempt), parts)| Found {
                epoch: *epoch,
                attempt: *attempt,
                parts: parts.values().map(|(entry, _)| entry.clone()).collect(),
            })
            .collect();
        found.sort_by_key(|set| (set.epoch, set.last_mark()));
        found
    }

    /// Every entry of this series that belongs to no complete set or to an epoch below the limit.
    pub(in crate::drive) fn below(&self, limit: EpochNo) -> Vec<Locator> {
        let old = self.sets.iter().filter(|((_, epoch, _), _)| *epoch < limit);
        old.flat_map(|(_, parts)| parts.values().map(|(entry, _)| entry.locator.clone()))
            .collect()
    }
}

fn is_complete(parts: &Parts) -> bool {
    let ends = parts.last_key_value().is_some_and(|(_, (_, last))| *last);
    ends && parts
        .keys()
        .copied()
        .eq(0..u32::try_from(parts.len()).unwrap_or(u32::MAX))
}

/// A segment or checkpoint as read back.
pub(in crate::drive) struct Opened {
    pub(in crate::drive) preamble: Preamble,
    pub(in crate::drive) previous: [u8; 32],
    pub(in crate::drive) hash: [u8; 32],
    pub(in crate::drive) batches: Vec<Batch>,
}

/// Of several attempts at an epoch, the one to follow.
pub(in crate::drive) struct Choice<'f> {
    pub(in crate::drive) found: &'f Found,
    pub(in crate::drive) opened: Opened,
    /// Others, which cannot be read, as long as history did not go on: one of them may be the one to follow.
    pub(in crate::drive) unclear: Vec<&'f Found>,
}

impl Drive {
    /// Everything on the journal shelf that is newer than the mark, oldest first.
    pub(in crate::drive) async fn journal_after(&self, mark: Mark) -> Result<Vec<Entry>, Error> {
        let shelf = self.store.journal();
        let (mut found, mut span) = (Vec::new(), Span::After(mark));
        loop {
            let page = self.store.list(&shelf, span).await?;
            found.extend(page.entries);
            match page.next {
                Some(next) => span = Span::After(next),
                None => return Ok(found),
            }
        }
    }

    /// Reads one part and opens it; fetched again by another way when it does not open.
    pub(in crate::drive) async fn open_part(
        &self,
        entry: &Entry,
    ) -> Result<(PartHeader, Vec<u8>, [u8; 32]), Error> {
        let bytes = self
            .store
            .get(&entry.locator, 0..entry.bytes, store::Urgency::Background)
            .await?;
        let (opened, bytes) = match segment::open_part(&self.keys, &bytes) {
            Ok(opened) => (opened, bytes),
            Err(_) => {
                let again = self.store.get_again(&entry.locator, 0..entry.bytes).await?;
                (segment::open_part(&self.keys, &again)?, again)
            }
        };
        let (header, plain) = opened;
        Ok((header, plain, segment::part_hash(&bytes)))
    }

    /// Reads a whole segment back.
    pub(in crate::drive) async fn open_segment(&self, found: &Found) -> Result<Opened, Error> {
        let (mut hashes, mut batches, mut preamble) = (Vec::new(), Vec::new(), None);
        let take = |part: Part<'_>| {
            let batch = match part.number {
                0 => {
                    let (first, rest) = Preamble::decode(&part.plain)?;
                    preamble = Some(first);
                    rest
                }
                _ => &part.plain[..],
            };
            batches.push(Batch::decode(batch).map_err(|_| Error::Malformed)?);
            hashes.push(part.hash);
            Ok(())
        };
        let first = self.read_set(found, Kind::Segment, take).await?;
        Ok(Opened {
            preamble: preamble.ok_or(Error::Malformed)?,
            previous: first.previous,
            hash: segment::segment_hash(&hashes),
            batches,
        })
    }

    /// Of several attempts at an epoch, the one that history went on with. If it did not yet: of one
    /// machine's attempts the one that covers more of its changes, and of those that cover the same the later, since
    /// that is what it went on with after it was killed; of different machines' the first, since the other one yields
    /// (`deliver.rs`). One that does not open is passed over; that is an error when none does. None when none
    /// follows the head.
    pub(in crate::drive) async fn choose<'f>(
        &self,
        candidates: &'f [Found],
        later: &[Found],
        head: &Head,
    ) -> Result<Option<Choice<'f>>, Error> {
        let mut chosen: Option<(&Found, Opened)> = None;
        let (mut unreadable, mut is_any_read) = (None, false);
        let mut unclear = Vec::new();
        for found in candidates {
            let opened = match self.open_segment(found).await {
                Err(error) if error.is_damage() => {
                    let error = self.located(found, &error);
                    log::warn!("{error}");
                    unreadable.get_or_insert(error);
                    unclear.push(found);
                    continue;
                }
                opened => opened?,
            };
            is_any_read = true;
            if opened.previous != head.hash {
                continue;
            }
            if candidates.len() == 1 || self.goes_on(found.epoch, &opened, later).await? {
                return Ok(Some(Choice {
                    found,
                    opened,
                    unclear: Vec::new(),
                }));
            }
            let covers_more = |(_, other): &(&Found, Opened)| {
                let (this, other) = (&opened.preamble, &other.preamble);
                are_kin(&this.instance, &other.instance) && this.through >= other.through
            };
            if chosen.as_ref().is_none_or(covers_more) {
                chosen = Some((found, opened));
            }
        }
        match (chosen, unreadable) {
            (None, Some(error)) if !is_any_read => Err(error),
            (chosen, _) => Ok(chosen.map(|(found, opened)| Choice {
                found,
                opened,
                unclear,
            })),
        }
    }

    /// An error of reading a segment, with where that lies.
    pub(in crate::drive) fn located(&self, found: &Found, error: &Error) -> Error {
        let parts = found.parts.iter();
        let places = parts.filter_map(|part| self.store.address_of(&part.locator));
        let places: Vec<String> = places.collect();
        let epoch = found.epoch;
        match places.is_empty() {
            true => Error::Damaged(format!("epoch {epoch} of the journal: {error}")),
            false => Error::Damaged(format!(
                "epoch {epoch} of the journal, at {}: {error}",
                places.join(" and ")
            )),
        }
    }

    /// Does any of these segments follow the one that was opened?
    async fn goes_on(
        &self,
        epoch: EpochNo,
        opened: &Opened,
        later: &[Found],
    ) -> Result<bool, Error> {
        let is_next = |header: &PartHeader| {
            let is_segment = header.kind == Kind::Segment && header.epoch.0 == epoch.0 + 1;
            is_segment && header.part == 0 && header.previous == opened.hash
        };
        let next = later.iter().filter(|found| found.epoch.0 == epoch.0 + 1);
        for first in next.filter_map(|found| found.parts.first()) {
            match self.open_part(first).await {
                Ok((header, ..)) if is_next(&header) => return Ok(true),
                Err(error) if !error.is_damage() => return Err(error),
                Ok(_) | Err(_) => {}
            }
        }
        Ok(false)
    }

    /// Splits the first part of a checkpoint into what it says and its batch.
    pub(in crate::drive) fn checkpoint_batch(number: u32, plain: &[u8]) -> Result<Batch, Error> {
        let rest = if number == 0 {
            Preamble::decode(plain)?.1
        } else {
            plain
        };
        Batch::decode(rest).map_err(|_| Error::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::drive::Access;
    use crate::drive::Halt;
    use crate::drive::Settings;
    use crate::drive::fixture;
    use crate::drive::names::PartName;
    use crate::store::faulty::Faulty;
    use crate::store::memory::Memory;

    #[test]
    fn of_two_parts_with_one_name_the_one_that_was_put_last_counts() {
        let name = PartName {
            series: Series::Segment,
            epoch: EpochNo(1),
            attempt: [1; 8],
            part: 0,
            last: true,
        };
        let listed = [1, 2].map(|number: u8| Entry {
            name: Name::Part(name).text(),
            locator: Locator(vec![number]),
            bytes: 512,
            mark: Mark(number.into()),
        });
        for order in [[0, 1], [1, 0]] {
            let mut gatherer = Gatherer::default();
            for at in order {
                gatherer.add(&listed[at]);
            }
            let found = gatherer.complete(Series::Segment);
            assert_eq!(found[0].parts, [listed[1].clone()], "{order:?}");
        }
    }

    /// How far another machine can read, and whether it is told of more.
    async fn read(store: &Arc<Faulty<Memory>>) -> (EpochNo, Option<Halt>) {
        let dir = tempfile::tempdir().expect("a directory");
        let settings = Settings {
            access: Access::Read,
            ..fixture::settings(dir.path())
        };
        let drive = fixture::open(settings, store).await.expect("it opens");
        drive.close().await;
        (drive.journal_head().epoch, drive.halt())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_only_has_the_name_of_a_segment_is_passed_over_or_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Arc::new(Faulty::new(Memory::default()));
        let opened = fixture::open(fixture::settings(dir.path()), &store).await;
        let drive = opened.expect("a new drive");
        let flushing = Arc::clone(&drive);
        let flushed = tokio::task::spawn_blocking(move || flushing.flush(|| true)).await;
        flushed.expect("no panic").expect("it is published");
        let epoch = drive.journal_head().epoch;
        fixture::pretend(&drive, epoch).await;
        assert_eq!(read(&store).await, (epoch, None), "the other is whole");
        fixture::pretend(&drive, EpochNo(epoch.0 + 1)).await;
        let (read, halt) = read(&store).await;
        let told = halt.expect("there is no other").told();
        assert_eq!(read, epoch);
        assert!(told.contains(&format!("epoch {}", epoch.0 + 1)), "{told}");
        drive.close().await;
    }
}
