//! Reads objects from the CDN through signed addresses, which expire and are renewed a page at a time.

use std::{
    collections::HashMap,
    fmt,
    num::NonZeroUsize,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use lru::LruCache;
use reqwest::{
    Response, StatusCode,
    header::{CONTENT_RANGE, RANGE},
};
use tokio::{
    sync::{Mutex as AsyncMutex, Semaphore, SemaphorePermit},
    time::{Instant, sleep_until, timeout_at},
};
use twilight_http::routing::Route;

use super::{
    Discord,
    answer::{Deed, Fail, Unclear, hear},
    limiter::Lane,
    settings::Settings,
    transport::{Ask, unclear},
    wire::{Message, Place, in_ms, made_ms},
};
use crate::store::{Error, Locator, Urgency, check_range};

/// An address that was just given is used even if it expires soon: Discord gives the same one again.
const JUST_GIVEN: Duration = Duration::from_secs(60);
/// Messages made within this time are renewed together by whoever comes first.
const PAGE_MS: u64 = 120_000;
/// Locks of pages that are kept before those not in use are dropped.
const PAGES_MAX: usize = 256;

/// Which address to read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// Any that is known and not expired.
    Known,
    /// One that Discord gives from now on.
    Fresh,
}

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

    fn known(&self, place: &Place, settings: &Settings, after: Option<Instant>) -> Option<String> {
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

    /// A place among the downloads; those that nobody waits for leave some free.
    async fn slot(&self, urgency: Urgency) -> Option<[Option<SemaphorePermit<'_>>; 2]> {
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
fn expires_ms(url: &str) -> Option<u64> {
    let (_, query) = url.split_once('?')?;
    let ex = query.split('&').find_map(|pair| pair.strip_prefix("ex="))?;
    u64::from_str_radix(ex, 16).ok()?.checked_mul(1000)
}

/// Why a download did not succeed.
enum Miss {
    /// 403, 404: the address is not, or no longer, good.
    Stale(StatusCode),
    /// May work the next time.
    Passing(Unclear),
    /// Will not.
    Final(Error),
}

impl Discord {
    pub(super) async fn get_range(
        &self,
        locator: &Locator,
        range: Range<u64>,
        urgency: Urgency,
        address: Address,
    ) -> Result<Bytes, Error> {
        let place = Place::read(locator)?;
        check_range(&range, place.bytes)?;
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let settings = self.transport.settings();
        let deadline = self.transport.deadline() + self.transport.time_for(range.end - range.start);
        let mut backoff = self.transport.backoff();
        let mut after = (address == Address::Fresh).then(Instant::now);
        let mut renewed = false;
        loop {
            let url = match self.cdn.known(&place, settings, after) {
                Some(url) => url,
                None => self.renew(&place, urgency, after, deadline).await?,
            };
            match self.download(&url, &place, &range, urgency, deadline).await {
                Ok(bytes) => {
                    self.transport.succeeded();
                    return Ok(bytes);
                }
                Err(Miss::Stale(status)) if renewed => return Err(gone(&place, status)),
                Err(Miss::Stale(_)) => {
                    renewed = true;
                    after = Some(Instant::now());
                }
                Err(Miss::Passing(why)) => {
                    self.transport.failed(&why.what);
                    let paused = backoff.pause(why, deadline).await;
                    paused.map_err(|fail| fail.error(&deed(&place)))?;
                }
                Err(Miss::Final(error)) => {
                    self.transport.failed(&error.to_string());
                    return Err(error);
                }
            }
        }
    }

    /// Asks for fresh addresses, of the whole page; alone for each page.
    async fn renew(
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
        let ask = Ask::new(lane, &route, deed(place)).urgent(urgency);
        let message: Message = self.transport.read(&ask, deadline).await?;
        self.cdn.remember(&message);
        Ok(())
    }

    /// Reads once.
    async fn download(
        &self,
        url: &str,
        place: &Place,
        range: &Range<u64>,
        urgency: Urgency,
        deadline: Instant,
    ) -> Result<Bytes, Miss> {
        let slot = timeout_at(deadline, self.cdn.slot(urgency)).await;
        let Ok(Some(_slot)) = slot else {
            return Err(Miss::Final(Error::Unavailable {
                what: "too many downloads are before this one".into(),
                retry_after: None,
            }));
        };
        self.pause(deadline).await.map_err(Miss::Final)?;
        self.transport.count("GET cdn");
        let own = self.transport.settings().request_timeout
            + self.transport.time_for(range.end - range.start);
        let response = self
            .transport
            .clients
            .cdn
            .get(url)
            .header(RANGE, format!("bytes={}-{}", range.start, range.end - 1))
            .timeout(own.min(deadline.saturating_duration_since(Instant::now())))
            .send()
            .await;
        let response = match response.map_err(unclear) {
            Ok(response) => response,
            Err(Fail::Unclear(why)) => return Err(Miss::Passing(why)),
            Err(fail) => return Err(Miss::Final(fail.error(&deed(place)))),
        };
        match response.status() {
            StatusCode::PARTIAL_CONTENT => {
                check_partial(&response, place, range)?;
                self.part(response, 0, range).await
            }
            StatusCode::OK => {
                let length = response.content_length();
                if length.is_some_and(|length| length != place.bytes) {
                    return Err(Miss::Final(other_length(place)));
                }
                self.part(response, range.start, range).await
            }
            status @ (StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::GONE) => {
                Err(Miss::Stale(status))
            }
            StatusCode::TOO_MANY_REQUESTS => {
                let heard = hear(429, response.headers(), b"", self.transport.backoff().next);
                let wait = heard.limited.map_or(Duration::ZERO, |limited| limited.0);
                *lock(&self.cdn.paused_until) = Some(Instant::now() + wait);
                Err(passing("Discord's CDN asks to wait"))
            }
            StatusCode::RANGE_NOT_SATISFIABLE => Err(Miss::Final(other_length(place))),
            status if status.is_server_error() => {
                Err(passing(&format!("Discord's CDN answered {status}")))
            }
            status => Err(Miss::Final(Error::Broken {
                what: format!("Discord's CDN answered {status}"),
            })),
        }
    }

    /// Waits while the CDN wants it.
    async fn pause(&self, deadline: Instant) -> Result<(), Error> {
        let until = *lock(&self.cdn.paused_until);
        let Some(until) = until.filter(|until| *until > Instant::now()) else {
            return Ok(());
        };
        if until > deadline {
            return Err(Error::Unavailable {
                what: "Discord's CDN asks to wait".into(),
                retry_after: Some(until.saturating_duration_since(Instant::now())),
            });
        }
        sleep_until(until).await;
        Ok(())
    }

    /// Takes as many bytes as the range has, after the first `skip` of the body.
    async fn part(
        &self,
        mut response: Response,
        skip: u64,
        range: &Range<u64>,
    ) -> Result<Bytes, Miss> {
        let wanted = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let mut skip = usize::try_from(skip).unwrap_or(usize::MAX);
        let mut bytes = BytesMut::with_capacity(wanted);
        while bytes.len() < wanted {
            let piece = match response.chunk().await.map_err(unclear) {
                Ok(Some(piece)) => piece,
                Ok(None) => return Err(passing("Discord's CDN stopped in the middle")),
                Err(Fail::Unclear(why)) => return Err(Miss::Passing(why)),
                Err(_) => return Err(passing("Discord's CDN stopped in the middle")),
            };
            self.transport.received(piece.len());
            let from = skip.min(piece.len());
            skip -= from;
            let to = piece.len().min(from + wanted - bytes.len());
            bytes.extend_from_slice(&piece[from..to]);
        }
        Ok(bytes.freeze())
    }
}

/// `Content-Range: bytes 0-9/100` must be what was asked for.
fn check_partial(response: &Response, place: &Place, range: &Range<u64>) -> Result<(), Miss> {
    let told = response.headers().get(CONTENT_RANGE);
    let Some(told) = told.and_then(|told| told.to_str().ok()) else {
        return Ok(());
    };
    let asked = format!("bytes {}-{}/", range.start, range.end - 1);
    match told.strip_prefix(&asked) {
        Some("*") => Ok(()),
        Some(total) if total.parse() == Ok(place.bytes) => Ok(()),
        Some(_) => Err(Miss::Final(other_length(place))),
        None => Err(passing(
            "Discord's CDN gave another part than was asked for",
        )),
    }
}

fn passing(what: &str) -> Miss {
    Miss::Passing(Unclear {
        status: None,
        what: what.into(),
    })
}

fn other_length(place: &Place) -> Error {
    Error::Broken {
        what: format!(
            "the object on message {} in channel {} has another length than was put",
            place.message, place.channel
        ),
    }
}

fn gone(place: &Place, status: StatusCode) -> Error {
    let Place {
        message, channel, ..
    } = place;
    if status == StatusCode::FORBIDDEN {
        return Error::Refused {
            what: format!(
                "Discord's CDN refuses the object on message {message} in channel {channel}, also under a fresh address"
            ),
        };
    }
    Error::Missing {
        what: format!("the object on message {message} in channel {channel}"),
    }
}

fn deed(place: &Place) -> Deed {
    Deed {
        doing: "read",
        place: format!("message {} in channel {}", place.message, place.channel),
        permission: "Read Message History",
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
