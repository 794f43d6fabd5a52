//! The signed addresses of objects, which expire and are renewed a page at a time.

use std::{
    collections::HashMap,
    fmt,
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use lru::LruCache;
use tokio::{
    sync::{Mutex as AsyncMutex, Semaphore, SemaphorePermit},
    time::{Instant, timeout_at},
};
use twilight_http::routing::Route;

use super::{
    Discord,
    limiter::Lane,
    settings::Settings,
    transport::Ask,
    wire::{Message, Place, in_ms, made_ms},
};
use crate::store::{Error, Urgency};

/// An address that was just given is used even if it expires soon: Discord gives the same one again.
const JUST_GIVEN: Duration = Duration::from_secs(60);
/// Messages made within this time are renewed together by whoever comes first.
const PAGE_MS: u64 = 120_000;
/// Locks of pages that are kept before those not in use are dropped.
const PAGES_MAX: usize = 256;

struct Signed {
    url: String,
    /// Milliseconds since 1970; `None` when it does not say.
    expires_ms: Option<u64>,
    given: Instant,
}

/// Messages that one request renews: channel, time and urgency.
type PageKey = (u64, u64, bool);

/// Signed addresses, and who may download now.
pub(super) struct Cdn {
    urls: Mutex<LruCache<(u64, u64), Signed>>,
    pages: Mutex<HashMap<PageKey, Arc<AsyncMutex<()>>>>,
    paused_until: Mutex<Option<Instant>>,
    all: Semaphore,
    background: Semaphore,
}

impl Cdn {
    pub(super) fn new(settings: &Settings) -> Self {
        let urls_max = NonZeroUsize::new(settings.urls_max).unwrap_or(NonZeroUsize::MIN);
        let all = settings.downloads_max.max(1);
        let background = all.saturating_sub(settings.downloads_reserved).max(1);
        Self {
            urls: Mutex::new(LruCache::new(urls_max)),
            pages: Mutex::default(),
            paused_until: Mutex::default(),
            all: Semaphore::new(all),
            background: Semaphore::new(background),
        }
    }

    /// Keeps the addresses that a message brought.
    pub(super) fn remember(&self, message: &Message) {
        let given = Instant::now();
        let mut urls = lock(&self.urls);
        for attachment in &message.attachments {
            let signed = Signed {
                url: attachment.url.clone(),
                expires_ms: expires_ms(&attachment.url),
                given,
            };
            urls.put((message.id.get(), attachment.id.get()), signed);
        }
    }

    /// Forgets the addresses of a message that is no more.
    pub(super) fn forget(&self, place: &Place) {
        lock(&self.urls).pop(&(place.message, place.attachment));
    }

    pub(super) fn known(
        &self,
        place: &Place,
        settings: &Settings,
        after: Option<Instant>,
    ) -> Option<String> {
        let now_ms = in_ms(settings.clock.now());
        let margin_ms = u64::try_from(settings.url_margin.as_millis()).unwrap_or(u64::MAX);
        let mut urls = lock(&self.urls);
        let signed = urls.get(&(place.message, place.attachment))?;
        if let Some(after) = after {
            return (signed.given >= after).then(|| signed.url.clone());
        }
        let margin_ms = if signed.given.elapsed() < JUST_GIVEN {
            0
        } else {
            margin_ms
        };
        let lives = signed
            .expires_ms
            .is_none_or(|at| at > now_ms.saturating_add(margin_ms));
        lives.then(|| signed.url.clone())
    }

    fn page(&self, key: PageKey) -> Arc<AsyncMutex<()>> {
        let mut pages = lock(&self.pages);
        if pages.len() >= PAGES_MAX {
            pages.retain(|_, page| Arc::strong_count(page) > 1);
        }
        pages.entry(key).or_default().clone()
    }

    /// Nothing is downloaded before then.
    pub(super) fn pause_until(&self, until: Instant) {
        *lock(&self.paused_until) = Some(until);
    }

    /// Until when nothing is downloaded, if not now.
    pub(super) fn paused_until(&self) -> Option<Instant> {
        lock(&self.paused_until).filter(|until| *until > Instant::now())
    }

    /// A place among the downloads; those that nobody waits for leave some free.
    pub(super) async fn slot(&self, urgency: Urgency) -> Option<[Option<SemaphorePermit<'_>>; 2]> {
        let background = match urgency {
            Urgency::Foreground => None,
            Urgency::Background => Some(self.background.acquire().await.ok()?),
        };
        Some([Some(self.all.acquire().await.ok()?), background])
    }
}

impl fmt::Debug for Cdn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cdn")
            .field("urls", &lock(&self.urls).len())
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `ex` is in hexadecimal seconds.
pub(super) fn expires_ms(url: &str) -> Option<u64> {
    let (_, query) = url.split_once('?')?;
    let ex = query.split('&').find_map(|pair| pair.strip_prefix("ex="))?;
    u64::from_str_radix(ex, 16).ok()?.checked_mul(1000)
}

impl Discord {
    /// Asks for fresh addresses, of the whole page; alone for each page.
    pub(super) async fn renew(
        &self,
        place: &Place,
        urgency: Urgency,
        after: Option<Instant>,
        deadline: Instant,
    ) -> Result<String, Error> {
        let Place {
            channel, message, ..
        } = *place;
        let minutes = made_ms(message) / PAGE_MS;
        let page = self
            .cdn
            .page((channel, minutes, urgency == Urgency::Foreground));
        let Ok(_alone) = timeout_at(deadline, page.lock()).await else {
            return Err(Error::Unavailable {
                what: "Discord gave no address of the object in time".into(),
                retry_after: None,
            });
        };
        let settings = self.transport.settings();
        if let Some(url) = self.cdn.known(place, settings, after) {
            return Ok(url);
        }
        let asked = Instant::now();
        let messages = self
            .messages_around(channel, message, urgency, deadline)
            .await?;
        for message in &messages {
            self.cdn.remember(message);
        }
        if let Some(url) = self.cdn.known(place, settings, Some(asked)) {
            return Ok(url);
        }
        // Not on its page: the message itself says why.
        self.read_message(place, urgency, deadline).await?;
        let url = self.cdn.known(place, settings, Some(asked));
        url.ok_or_else(|| Error::Missing {
            what: format!("an attachment of message {message} in channel {channel}"),
        })
    }

    async fn read_message(
        &self,
        place: &Place,
        urgency: Urgency,
        deadline: Instant,
    ) -> Result<(), Error> {
        let route = Route::GetMessage {
            channel_id: place.channel,
            message_id: place.message,
        };
        let lane = Lane {
            kind: "GET message",
            major: place.channel,
        };
        let ask = Ask::new(lane, &route, self.reading(place)).urgent(urgency);
        let message: Message = self.transport.read(&ask, deadline).await?;
        self.cdn.remember(&message);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_tells_when_it_expires() {
        let url = "https://cdn.example/attachments/1/2/c?ex=68f1285b&is=68efd6db&hm=aa&";
        assert_eq!(expires_ms(url), Some(0x68f1_285b * 1000));
        assert_eq!(expires_ms("https://cdn.example/c"), None);
        assert_eq!(expires_ms("https://cdn.example/c?ex=xyz"), None);
    }
}
