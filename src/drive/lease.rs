//! One writer at a time: who mounts a drive says so on the journal shelf, pinned so that it is found at once.
//!
//! A lease is never taken away by time alone: a laptop that slept for a week may wake with unpublished
//! changes. Taking over is explicit, and [`crate::drive::publish`] notices it before it publishes anything.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::clock::Time;
use crate::codec::note;
use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::Takeover;
use crate::drive::names::Name;
use crate::store::Entry;
use crate::store::Locator;
use crate::store::Object;
use crate::store::Span;
use crate::store::Urgency;

/// How often a lease is renewed while mounted, seconds. Four requests each time.
pub(in crate::drive) const RENEW_S: u64 = 30 * 60;

const LABEL: &str = "lease";

/// The text of a lease is filled up to a multiple of so many bytes.
const TEXT_STEP: usize = 512;

/// Our lease.
#[derive(Clone, Debug)]
pub(in crate::drive) struct Held {
    /// Where it lies, and those before it that could not be removed yet.
    pub(in crate::drive) locators: Vec<Locator>,
    /// When the drive was mounted.
    pub(in crate::drive) since: Time,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Text {
    holder: String,
    since_ns: i64,
    seen_ns: i64,
    /// Where the holder keeps what waits, as its machine calls it.
    #[serde(default)]
    state_dir: String,
}

/// What a lease says of its holder, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::drive) struct Told {
    pub(in crate::drive) holder: String,
    pub(in crate::drive) since: String,
    pub(in crate::drive) seen: String,
    pub(in crate::drive) state_dir: String,
}

fn shown(nanoseconds: i64) -> String {
    let seconds = Time(nanoseconds).seconds();
    let time = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    time.format(&Rfc3339).unwrap_or_default()
}

/// Who holds a lease, since when, and when it was last seen, in words.
pub(in crate::drive) fn read(text: &[u8]) -> Option<Told> {
    let text: Text = serde_json::from_slice(text).ok()?;
    Some(Told {
        holder: text.holder,
        since: shown(text.since_ns),
        seen: shown(text.seen_ns),
        state_dir: text.state_dir,
    })
}

impl Drive {
    /// Takes the lease, or says who has it.
    pub(in crate::drive) async fn take_lease(&self) -> Result<(), Error> {
        let (mut old, mut own, mut foreign) = (Vec::new(), false, false);
        let mut entries = self.store.pinned().await?;
        // Somebody may have removed the pin; a lease that is held is renewed, so it is among the newest.
        let newest = self.store.list(&self.store.journal(), Span::Newest).await?;
        entries.extend(newest.entries);
        for entry in entries {
            let Some(Name::Lease { instance, .. }) = Name::parse(&entry.name) else {
                continue;
            };
            if instance != self.instance && self.settings.takeover == Takeover::Refuse {
                return Err(self.leased(&entry).await);
            }
            own |= instance == self.instance;
            foreign |= instance != self.instance;
            if !old.contains(&entry.locator) {
                old.push(entry.locator);
            }
        }
        self.note_lease(own && !foreign)?;
        self.put_lease(self.now()).await?;
        if !old.is_empty() {
            self.store.remove(&old).await?;
        }
        // Two machines that mount at the same moment both see no lease at first.
        let pinned = self.store.pinned().await?;
        let is_rival =
            |entry: &&Entry| self.is_foreign_lease(entry) && !old.contains(&entry.locator);
        match pinned.iter().find(is_rival) {
            Some(rival) => Err(self.leased(rival).await),
            None => Ok(()),
        }
    }

    async fn leased(&self, entry: &Entry) -> Error {
        let unknown = || String::from("an unknown time");
        let text = match self
            .store
            .get(&entry.locator, 0..entry.bytes, Urgency::Foreground)
            .await
        {
            Ok(bytes) => note::open_note(&self.keys, LABEL, &bytes).ok(),
            Err(error) => return error.into(),
        };
        match text.and_then(|text| read(&text)) {
            Some(told) => Error::Leased {
                holder: told.holder,
                since: told.since,
                seen: told.seen,
                state_dir: told.state_dir,
            },
            None => Error::Leased {
                holder: String::from("another machine"),
                since: unknown(),
                seen: unknown(),
                state_dir: String::new(),
            },
        }
    }

    /// What a machine hears that has lost the drive to another one.
    pub(in crate::drive) async fn taken_over(&self, entry: &Entry) -> Error {
        let who = match self.leased(entry).await {
            Error::Leased { holder, since, .. } => format!(" ({holder}, since {since})"),
            _ => String::new(),
        };
        Error::TakenOver(format!(
            "another machine took the drive over{who}; what waits here stays in the spool; to take the drive back, unmount it \
             there and mount it here again, or mount it with --takeover"
        ))
    }

    async fn put_lease(&self, since: Time) -> Result<(), Error> {
        let text = Text {
            holder: self.settings.holder.clone(),
            since_ns: since.0,
            seen_ns: self.now().0,
            state_dir: self.settings.state_dir.to_string_lossy().into_owned(),
        };
        let mut text = serde_json::to_vec(&text).map_err(|_| Error::Malformed)?;
        // The length of a note shows, and would tell how long the names of machine and user are.
        text.resize(text.len().next_multiple_of(TEXT_STEP), b' ');
        let name = Name::Lease {
            instance: self.instance,
            salt: crate::codec::key::random(),
        }
        .text();
        let object = Object {
            name,
            body: note::seal_note(&self.keys, LABEL, &text)?,
        };
        let mut locators = self.store.put(&self.store.journal(), vec![object]).await?;
        let locator = locators.first().cloned().ok_or(Error::Malformed)?;
        locators.extend(self.held().into_iter().flat_map(|held| held.locators));
        // Before it is pinned: it keeps others out all the same, and is to be given back.
        *self
            .lease
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = Some(Held { locators, since });
        Ok(self.store.pin(&locator).await?)
    }

    fn held(&self) -> Option<Held> {
        self.lease
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }

    /// Says again that the drive is in use here, unless another machine has taken it over; tells whether
    /// there was a lease to renew.
    pub(in crate::drive) async fn renew_lease(&self) -> Result<bool, Error> {
        let Some(old) = self.held().filter(|_| self.read_only().is_none()) else {
            return Ok(false);
        };
        let pinned = self.store.pinned().await?;
        if let Some(entry) = pinned.iter().find(|entry| self.is_foreign_lease(entry)) {
            return Err(self.taken_over(entry).await);
        }
        self.put_lease(old.since).await?;
        self.store.remove(&old.locators).await?;
        if let Some(held) = &mut *self
            .lease
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
        {
            held.locators.truncate(1);
        }
        Ok(true)
    }

    /// Gives the lease back.
    pub(in crate::drive) async fn drop_lease(&self) -> Result<(), Error> {
        let Some(held) = self.held() else {
            return Ok(());
        };
        self.store.remove(&held.locators).await?;
        *self
            .lease
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = None;
        Ok(())
    }

    /// Does this entry of the journal shelf show that another machine took the drive over?
    pub(in crate::drive) fn is_foreign_lease(&self, entry: &Entry) -> bool {
        matches!(Name::parse(&entry.name), Some(Name::Lease { instance, .. }) if instance != self.instance)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::drive::Settings;
    use crate::drive::fixture;
    use crate::store::faulty::Fault;
    use crate::store::faulty::Faulty;
    use crate::store::faulty::Rule;
    use crate::store::faulty::Verb;
    use crate::store::memory::Memory;

    async fn open(
        dir: &std::path::Path,
        store: &Arc<Faulty<Memory>>,
        takeover: Takeover,
    ) -> Result<Arc<Drive>, Error> {
        let settings = Settings {
            takeover,
            ..fixture::settings(dir)
        };
        fixture::open(settings, store).await
    }

    async fn flush(drive: &Arc<Drive>) {
        let drive = Arc::clone(drive);
        let flushed = tokio::task::spawn_blocking(move || drive.flush(|| true));
        flushed.await.expect("no panic").expect("it is published");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn whoever_closes_with_changes_left_keeps_the_lease() {
        let store = Arc::new(Faulty::new(Memory::default()));
        let dirs = [(); 2].map(|()| tempfile::tempdir().expect("temporary directory"));
        let first = open(dirs[0].path(), &store, Takeover::Refuse).await;
        // A new drive's root is such a change.
        first.expect("a new drive").close().await;
        let refused = open(dirs[1].path(), &store, Takeover::Refuse).await;
        assert!(matches!(refused, Err(Error::Leased { .. })), "{refused:?}");
        let again = open(dirs[0].path(), &store, Takeover::Refuse).await;
        let again = again.expect("the lease is its own");
        flush(&again).await;
        again.close().await;
        drop(again);
        let other = open(dirs[1].path(), &store, Takeover::Refuse).await;
        other.expect("nothing waits any more").close().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_lease_that_was_taken_over_is_not_renewed() {
        let store = Arc::new(Faulty::new(Memory::default()));
        let dirs = [(); 2].map(|()| tempfile::tempdir().expect("temporary directory"));
        let old = open(dirs[0].path(), &store, Takeover::Refuse).await;
        let old = old.expect("a new drive");
        old.renew_lease().await.expect("it is ours");
        let new = open(dirs[1].path(), &store, Takeover::Force).await;
        let new = new.expect("taken over");
        let refused = old.renew_lease().await;
        assert!(matches!(refused, Err(Error::TakenOver(_))), "{refused:?}");
        old.close().await;
        new.close().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn no_old_lease_is_left_behind() {
        let store = Arc::new(Faulty::new(Memory::default()));
        let dirs = [(); 2].map(|()| tempfile::tempdir().expect("temporary directory"));
        let first = open(dirs[0].path(), &store, Takeover::Refuse).await;
        let first = first.expect("a new drive");
        flush(&first).await;
        store.add(Rule::next(Verb::Remove, Fault::Unavailable));
        assert!(first.renew_lease().await.is_err(), "the old one stays");
        first.close().await;
        let second = open(dirs[1].path(), &store, Takeover::Refuse).await;
        second.expect("nobody holds the drive").close().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_lease_that_could_not_be_pinned_keeps_nobody_out() {
        let store = Arc::new(Faulty::new(Memory::default()));
        let dirs = [(); 2].map(|()| tempfile::tempdir().expect("temporary directory"));
        store.add(Rule::next(Verb::Pin, Fault::Unavailable));
        let first = open(dirs[0].path(), &store, Takeover::Refuse).await;
        assert!(first.is_err(), "the lease is not pinned");
        let second = open(dirs[1].path(), &store, Takeover::Refuse).await;
        second.expect("nobody holds the drive").close().await;
    }
}
