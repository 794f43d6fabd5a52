//! Orphans: packs on a shelf that no epoch ever told of, because whoever put them was killed.
//!
//! They are found by listing, which is one request for a hundred messages, so only a person's wish starts it.
//! Nothing is on its way when an errand runs, and what another machine may still send belongs to an epoch
//! that the journal has by then: nobody will ever refer to it. All the same it is buried first, and
//! removed after the delay like everything else.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::collections::HashSet;

use crate::codec::pack;
use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::gc::Amount;
use crate::drive::gc::Report;
use crate::drive::gc::grave::bury;
use crate::drive::gc::mark::PutUse;
use crate::drive::gc::mark::When;
use crate::drive::gc::mark::entries;
use crate::drive::task::Task;
use crate::id::ArchiveNo;
use crate::index::Batch;
use crate::index::archive::Holding;
use crate::index::chunk::PackPlace;
use crate::index::grave::Grave;
use crate::index::key;
use crate::store;
use crate::store::Entry;
use crate::store::Locator;
use crate::store::Mark;
use crate::store::Shelf;
use crate::store::Span;

/// A put as it was listed, and what the store calls its objects.
#[derive(Clone, Debug)]
pub(in crate::drive) struct Stray {
    put: PutUse,
    locators: Vec<Vec<u8>>,
}

impl Drive {
    /// Lists every shelf; gives the puts on which there is a pack that the index does not know.
    pub(in crate::drive) fn find_orphans(&self, task: &Task<'_>) -> Result<Vec<Stray>, Error> {
        let mut shelves = Vec::new();
        for entry in entries(self, When::Now, b'B') {
            let (key, value) = entry?;
            let shelf = Holding::decode(&value)?.shelf;
            if let Some(no) = key::archive_of(&key).filter(|_| !shelf.is_empty()) {
                shelves.push((no, Shelf(shelf)));
            }
        }
        task.begin("listing what the store has", shelves.len() as u64, 0)?;
        let mut strays = Vec::new();
        for (no, shelf) in shelves {
            let (mut span, mut puts) = (Span::After(Mark(0)), BTreeMap::new());
            loop {
                let page = async { Ok(self.store.list(&shelf, span).await?) };
                let page = match self.wait_with(task, page) {
                    Ok(page) => page,
                    Err(Error::Store(store::Error::Missing { .. })) => break,
                    Err(error) => return Err(error),
                };
                for entry in &page.entries {
                    self.note_listed(no, entry, &mut puts)?;
                }
                match page.next {
                    Some(next) => span = Span::After(next),
                    None => break,
                }
            }
            strays.extend(
                puts.into_values()
                    .filter(|stray| !stray.put.packs.is_empty()),
            );
            task.done(1, 0)?;
        }
        Ok(strays)
    }

    /// Counts a listed object to its put, as a stray if it is a pack that is not in the index just there.
    fn note_listed(
        &self,
        no: ArchiveNo,
        entry: &Entry,
        puts: &mut BTreeMap<Vec<u8>, Stray>,
    ) -> Result<(), Error> {
        let Some(id) = pack::parse_pack_name(&entry.name) else {
            return Ok(());
        };
        let together = self.store.together(&entry.locator)?;
        let known = self.index.get(&key::pack(&id))?;
        let known = known.map(|value| PackPlace::decode(&value)).transpose()?;
        let is_known = known.is_some_and(|place| place.locator == entry.locator.0);
        let stray = puts.entry(together.key.clone()).or_insert_with(|| Stray {
            put: PutUse {
                key: together.key,
                archive: no,
                objects: together.objects,
                packs: Vec::new(),
                bytes: 0,
                frames: 0,
                live_frames: 0,
                live_bytes: 0,
                dead_bytes: 0,
            },
            locators: Vec::new(),
        });
        stray.put.bytes += entry.bytes;
        stray.locators.push(entry.locator.0.clone());
        if !is_known {
            stray.put.packs.push(id);
        }
        Ok(())
    }

    /// Those of the strays that nothing knows in this state: no pack of theirs is in the index, and they have
    /// no whole grave.
    pub(in crate::drive) fn orphans_among<'s>(
        &self,
        strays: &'s [Stray],
        when: When,
    ) -> Result<(Vec<&'s Stray>, Amount), Error> {
        let listed: HashMap<&[u8], &Stray> = strays
            .iter()
            .map(|stray| (&stray.put.key[..], stray))
            .collect();
        let mut known: HashSet<Vec<u8>> = HashSet::new();
        for entry in entries(self, when, b'P') {
            let place = PackPlace::decode(&entry?.1)?;
            // What another kind of store has is on no shelf of this one.
            let Ok(together) = self.store.together(&Locator(place.locator)) else {
                continue;
            };
            if listed.contains_key(&together.key[..]) {
                known.insert(together.key);
            }
        }
        let (mut orphans, mut amount) = (Vec::new(), Amount::default());
        for stray in strays
            .iter()
            .filter(|stray| !known.contains(&stray.put.key))
        {
            let grave = match when {
                When::Now => self.index.get(&key::grave(&stray.put.key))?,
                When::Frozen => self.index.frozen_get(&key::grave(&stray.put.key))?,
            };
            let grave = grave.map(|value| Grave::decode(&value)).transpose()?;
            match grave {
                // There is nothing new to know of it.
                Some(grave) if grave.locators.len() >= stray.locators.len() => continue,
                // The others of its put were buried before.
                Some(grave) => {
                    amount.packs +=
                        (stray.locators.len().saturating_sub(grave.locators.len())) as u64;
                    amount.bytes += stray.put.bytes.saturating_sub(grave.bytes);
                }
                None => amount.add(&stray.put),
            }
            orphans.push(stray);
        }
        Ok((orphans, amount))
    }

    /// Looks for orphans and buries them.
    pub(in crate::drive) fn bury_orphans(
        &self,
        task: &Task<'_>,
        report: &mut Report,
    ) -> Result<(), Error> {
        let strays = self.find_orphans(task)?;
        if self.orphans_among(&strays, When::Now)?.0.is_empty() {
            return Ok(());
        }
        report.orphans = self.in_epoch(task, move |drive| {
            let (orphans, amount) = drive.orphans_among(&strays, When::Frozen)?;
            let mut batch = Batch::default();
            for stray in orphans {
                bury(drive, &stray.put, stray.locators.clone(), &mut batch)?;
            }
            drive.index.amend(batch)?;
            Ok(amount)
        })?;
        Ok(())
    }
}
