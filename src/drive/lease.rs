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
use crate::store::Urgency;

/// How often a lease is renewed while mounted, seconds. Three requests each time.
pub(in crate::drive) const RENEW_S: u64 = 30 * 60;

const LABEL: &str = "lease";

/// Our lease.
#[derive(Clone, Debug)]
pub(in crate::drive) struct Held {
    /// Where it lies.
    pub(in crate::drive) locator: Locator,
    /// When the drive was mounted.
    pub(in crate::drive) since: Time,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Text {
    holder: String,
    since_ns: i64,
    seen_ns: i64,
}

fn shown(nanoseconds: i64) -> String {
    let seconds = Time(nanoseconds).seconds();
    let time = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    time.format(&Rfc3339).unwrap_or_default()
}

impl Drive {
    /// Takes the lease, or says who has it.
    pub(in crate::drive) async fn take_lease(&self) -> Result<(), Error> {
        let mut old = Vec::new();
        for entry in self.store.pinned().await? {
            match Name::parse(&entry.name) {
                Some(Name::Lease { instance, .. }) => {
                    if instance != self.instance && self.settings.takeover == Takeover::Refuse {
                        return Err(self.leased(&entry).await);
                    }
                    old.push(entry.locator);
                }
                Some(Name::Part(_) | Name::Superblock { .. }) | None => {}
            }
        }
        self.put_lease(self.now()).await?;
        if !old.is_empty() {
            self.store.remove(&old).await?;
        }
        Ok(())
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
        match text.and_then(|text| serde_json::from_slice::<Text>(&text).ok()) {
            Some(text) => Error::Leased {
                holder: text.holder,
                since: shown(text.since_ns),
                seen: shown(text.seen_ns),
            },
            None => Error::Leased {
                holder: String::from("another machine"),
                since: unknown(),
                seen: unknown(),
            },
        }
    }

    async fn put_lease(&self, since: Time) -> Result<(), Error> {
        let text = Text {
            holder: self.settings.holder.clone(),
            since_ns: since.0,
            seen_ns: self.now().0,
        };
        let text = serde_json::to_vec(&text).map_err(|_| Error::Malformed)?;
        let name = Name::Lease {
            instance: self.instance,
            salt: crate::codec::key::random(),
        }
        .text();
        let object = Object {
            name,
            body: note::seal_note(&self.keys, LABEL, &text)?,
        };
        let locators = self.store.put(&self.store.journal(), vec![object]).await?;
        let locator = locators.into_iter().next().ok_or(Error::Malformed)?;
        self.store.pin(&locator).await?;
        *self
            .lease
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = Some(Held { locator, since });
        Ok(())
    }

    fn held(&self) -> Option<Held> {
        self.lease
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }

    /// Says again that the drive is in use here.
    pub(in crate::drive) async fn renew_lease(&self) -> Result<(), Error> {
        let Some(old) = self.held() else {
            return Ok(());
        };
        self.put_lease(old.since).await?;
        self.store.remove(&[old.locator]).await?;
        Ok(())
    }

    /// Gives the lease back.
    pub(in crate::drive) async fn drop_lease(&self) -> Result<(), Error> {
        let Some(held) = self.held() else {
            return Ok(());
        };
        self.store.remove(&[held.locator]).await?;
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
