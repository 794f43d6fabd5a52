//! Graves: what is buried waits, so that neither a crash nor a slow second reader finds a reference to nothing.
//!
//! The delay runs from the moment a machine has seen the grave's epoch published, which it notes for itself:
//! the time in the grave is that of its making, and publishing may have taken days. A machine that
//! rebuilt its index begins to wait anew; late is safe.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::Time;
use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::gc::mark::PutUse;
use crate::drive::gc::mark::When;
use crate::drive::gc::mark::entries;
use crate::id::EpochNo;
use crate::id::PackId;
use crate::index::Batch;
use crate::index::VALUE_BYTES_MAX;
use crate::index::chunk::PackPlace;
use crate::index::grave::Grave;
use crate::index::key;

/// Under this label and the epoch's number a machine notes when it has seen graves published.
const SEEN: &str = "grave ";

fn seen_key(epoch: EpochNo) -> Vec<u8> {
    key::local(&format!("{SEEN}{:016x}", epoch.0))
}

/// Adds the grave of a put to the epoch; what another epoch knew of the put is kept.
pub(in crate::drive) fn bury(
    drive: &Drive,
    put: &PutUse,
    mut locators: Vec<Vec<u8>>,
    batch: &mut Batch,
) -> Result<(), Error> {
    let key = key::grave(&put.key);
    if let Some(before) = drive.index.frozen_get(&key)? {
        locators.extend(Grave::decode(&before)?.locators);
    }
    locators.sort_unstable();
    locators.dedup();
    let grave = Grave {
        epoch: drive.epoch_under_way(),
        time: drive.now(),
        archive: put.archive,
        bytes: put.bytes,
        objects: u16::try_from(put.objects).unwrap_or(u16::MAX),
        locators,
    };
    let value = grave.encode();
    if value.len() > VALUE_BYTES_MAX {
        return Err(Error::State(String::from(
            "the store puts more objects together than a grave holds",
        )));
    }
    batch.put(key, value)?;
    Ok(())
}

/// A published grave, and since when this machine knows it.
#[derive(Clone, Debug)]
pub(in crate::drive) struct Waiting {
    /// The put, as the store calls it.
    pub(in crate::drive) put: Vec<u8>,
    pub(in crate::drive) grave: Grave,
    pub(in crate::drive) since: Time,
}

impl Waiting {
    /// When it may be removed.
    pub(in crate::drive) fn due(&self, delay: Duration) -> Time {
        let delay = i64::try_from(delay.as_nanos()).unwrap_or(i64::MAX);
        Time(self.since.0.saturating_add(delay))
    }
}

/// Is what is found written down?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::drive) enum Note {
    /// Since when graves are known is noted.
    Keep,
    /// Nothing is changed.
    Nothing,
}

impl Drive {
    /// What the store calls a pack of the frozen epoch.
    pub(in crate::drive) fn locator_of(&self, pack: &PackId) -> Result<Option<Vec<u8>>, Error> {
        let value = self.index.frozen_get(&key::pack(pack))?;
        let place = value.map(|value| PackPlace::decode(&value)).transpose()?;
        Ok(place.map(|place| place.locator))
    }

    /// The graves there are in the published state.
    pub(in crate::drive) fn graves(&self, note: Note) -> Result<Vec<Waiting>, Error> {
        let now = self.now();
        let mut seen: BTreeMap<EpochNo, Time> = BTreeMap::new();
        let (mut notes, mut waiting) = (Batch::default(), Vec::new());
        for entry in entries(self, When::Frozen, b'G') {
            let (key, _) = entry?;
            // Only what is published counts; a grave that an epoch under way brings is not.
            let Some(value) = self.index.base_get(&key)? else {
                continue;
            };
            let grave = Grave::decode(&value)?;
            let since = match seen.get(&grave.epoch) {
                Some(since) => *since,
                None => {
                    let noted = self.index.base_get(&seen_key(grave.epoch))?;
                    let noted = noted.and_then(|value| value[..].try_into().ok());
                    // A time that has not come yet was noted by a clock that was wrong.
                    let noted = noted.map(|bytes| Time(i64::from_le_bytes(bytes)));
                    let since = noted.filter(|since| *since <= now);
                    if since.is_none() {
                        notes.put(seen_key(grave.epoch), now.0.to_le_bytes().to_vec())?;
                    }
                    since.unwrap_or(now)
                }
            };
            seen.insert(grave.epoch, since);
            waiting.push(Waiting {
                put: key[1..].to_vec(),
                grave,
                since,
            });
        }
        if note == Note::Keep {
            self.forget_notes(&seen, &mut notes)?;
            if !notes.is_empty() {
                self.index.write_through(notes)?;
            }
        }
        Ok(waiting)
    }

    /// Notes of epochs that have no graves left go.
    fn forget_notes(&self, seen: &BTreeMap<EpochNo, Time>, notes: &mut Batch) -> Result<(), Error> {
        let prefix = key::local(SEEN);
        let known: Vec<Vec<u8>> = seen.keys().map(|epoch| seen_key(*epoch)).collect();
        for entry in self.index.scan_prefix(&prefix) {
            let (key, _) = entry?;
            if !known.iter().any(|known| known[..] == key[..]) {
                notes.delete(key);
            }
        }
        Ok(())
    }
}
