//! Does the store give what it acknowledged? What it says of a length alone proves nothing: a store that kept
//! less than it was sent would be found out when this machine has nothing left of it.
//!
//! So the last byte of each object is asked for before the object counts. That is no request to Discord's API
//! but one to its file servers, on a connection that is open, and the put waits for it, nobody else.

use std::time::Duration;

use futures_util::future::join_all;

use crate::drive::Drive;
use crate::drive::Error;
use crate::store;
use crate::store::Locator;
use crate::store::Urgency;

/// How long the end of an object is waited for.
const LAST_BYTE_MAX: Duration = Duration::from_secs(10);

impl Drive {
    /// Does the store give each of these objects, which are of these lengths, to its end? If it does not, all of
    /// them are removed.
    ///
    /// # Errors
    /// When the store does not say: then they are neither proven nor removed, and whoever put them asks again.
    /// When they cannot be removed.
    pub(in crate::drive) async fn is_kept(
        &self,
        objects: &[(Locator, u64)],
    ) -> Result<bool, Error> {
        let ends = objects.iter().map(|object| self.gives_end(object));
        let mut unsure = None;
        let mut whole = true;
        for end in join_all(ends).await {
            match end {
                Ok(gives) => whole &= gives,
                Err(error) => unsure = Some(error),
            }
        }
        match (whole, unsure) {
            (true, None) => return Ok(true),
            (true, Some(error)) => return Err(error.into()),
            (false, _) => {}
        }
        let all: Vec<Locator> = objects.iter().map(|(at, _)| at.clone()).collect();
        self.store.remove(&all).await?;
        Ok(false)
    }

    async fn gives_end(&self, (locator, bytes): &(Locator, u64)) -> Result<bool, store::Error> {
        let end = bytes.saturating_sub(1)..*bytes;
        let read = self.store.get(locator, end, Urgency::Background);
        match tokio::time::timeout(LAST_BYTE_MAX, read).await {
            Ok(Ok(_)) => Ok(true),
            Ok(Err(error @ (store::Error::Broken { .. } | store::Error::Missing { .. }))) => {
                log::warn!("what was sent was not kept whole, and is sent again: {error}");
                Ok(false)
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(store::Error::Unavailable {
                what: format!(
                    "Discord's file server did not give back what was sent within {LAST_BYTE_MAX:?}"
                ),
                retry_after: None,
            }),
        }
    }
}

/// What to say of objects that are not kept whole.
pub(in crate::drive) fn not_kept() -> Error {
    Error::Store(store::Error::Broken {
        what: String::from("the store keeps less than it was sent"),
    })
}
