//! Does the store give what it acknowledged? What it says of a length alone proves nothing: a store that kept
//! less than it was sent would be found out when this machine has nothing left of it.
//!
//! So the last byte of each object is asked for before the object counts, and all of a small part of the journal, which
//! is compared. That is no request to Discord's API but one to its file servers, on a connection that is open, and the
//! put waits for it, nobody else.

use std::ops::Range;
use std::time::Duration;

use futures_util::future::join_all;

use crate::drive::Drive;
use crate::drive::Error;
use crate::size::MIB;
use crate::store;
use crate::store::Locator;
use crate::store::Object;
use crate::store::Urgency;

/// How long the end of an object is waited for.
const LAST_BYTE_MAX: Duration = Duration::from_secs(10);

/// A part of the journal of at most so many bytes is read whole.
const COMPARED_MAX: u64 = MIB;

/// How long such a part is waited for, on a slow line.
const WHOLE_MAX: Duration = Duration::from_secs(60);

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
        let ends = objects.iter().map(|(at, bytes)| {
            let end = bytes.saturating_sub(1)..*bytes;
            self.proven(LAST_BYTE_MAX, self.gives(at, end))
        });
        let all = objects.iter().map(|(at, _)| at);
        self.are_kept(join_all(ends).await, all.cloned().collect())
            .await
    }

    /// As [`Drive::is_kept`], of parts of the journal: does the store give small ones as they were sent?
    pub(in crate::drive) async fn is_kept_as_sent(
        &self,
        objects: &[(&Locator, &Object)],
    ) -> Result<bool, Error> {
        let parts = objects.iter().map(|(at, sent)| async {
            match sent.body.len() {
                bytes if bytes > COMPARED_MAX => {
                    let end = bytes.saturating_sub(1)..bytes;
                    self.proven(LAST_BYTE_MAX, self.gives(at, end)).await
                }
                _ => self.proven(WHOLE_MAX, self.gives_as_sent(at, sent)).await,
            }
        });
        let all = objects.iter().map(|(at, _)| *at);
        self.are_kept(join_all(parts).await, all.cloned().collect())
            .await
    }

    async fn are_kept(
        &self,
        answers: Vec<Result<bool, store::Error>>,
        all: Vec<Locator>,
    ) -> Result<bool, Error> {
        let mut unsure = None;
        let mut whole = true;
        for end in answers {
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
        self.store.remove(&all).await?;
        Ok(false)
    }

    async fn gives(&self, at: &Locator, range: Range<u64>) -> Result<bool, store::Error> {
        let read = self.store.get(at, range, Urgency::Background);
        read.await.map(|_| true)
    }

    async fn gives_as_sent(&self, at: &Locator, sent: &Object) -> Result<bool, store::Error> {
        let (whole, body) = (0..sent.body.len(), sent.body.to_bytes());
        let read = self.store.get(at, whole.clone(), Urgency::Background);
        let is_it = read.await? == body || self.store.get_again(at, whole).await? == body;
        if !is_it {
            log::warn!(
                "{} was not kept as it was sent, and is sent again",
                sent.name
            );
        }
        Ok(is_it)
    }

    async fn proven(
        &self,
        time_max: Duration,
        read: impl Future<Output = Result<bool, store::Error>>,
    ) -> Result<bool, store::Error> {
        match tokio::time::timeout(time_max, read).await {
            Ok(Ok(gives)) => Ok(gives),
            Ok(Err(error @ (store::Error::Broken { .. } | store::Error::Missing { .. }))) => {
                log::warn!("what was sent was not kept whole, and is sent again: {error}");
                Ok(false)
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(store::Error::Unavailable {
                what: format!(
                    "Discord's file server did not give back what was sent within {time_max:?}"
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
