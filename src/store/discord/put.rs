//! Puts objects as the attachments of one message, so that a lost answer neither loses nor doubles.
//!
//! The message carries a nonce made of the objects' names, and Discord gives back the message it has
//! instead of making a second one, for a few minutes. After those, a put whose outcome is not known
//! looks for its message before it sends again.

use std::{
    num::NonZeroUsize,
    sync::{Mutex, MutexGuard, PoisonError},
};

use data_encoding::BASE32_NOPAD;
use lru::LruCache;
use serde_json::json;
use tokio::time::Instant;
use twilight_http::routing::Route;

use super::{
    Discord,
    active::{Claim, is_full},
    answer::{Fail, Said, Unclear, code},
    backoff::Backoff,
    deed::Deed,
    http::Form,
    limiter::Lane,
    settings::Settings,
    sizes::SAFE_PUT_BYTES,
    transport::{Ask, parse},
    wire::{Attachment, Message, Spot, in_ms, made_ms},
};
use crate::store::{Error, Locator, Object, Shelf, Span, Store, check_put};

/// Puts that are remembered, to know one that is repeated.
const REMEMBERED_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4095);
/// How often a message may prove wrong before it is Discord that is wrong.
const SALT_MAX: u32 = 4;
/// A search for a message goes back to the first attempt, and by so much more for clocks that differ.
const SEARCH_SLACK_MS: u64 = 15 * 60 * 1000;
const SEARCH_PAGES_MAX: usize = 50;
/// 504s in a row after which a large put is held to be too large.
const GATEWAY_TIMEOUTS_MAX: u32 = 2;

/// Names a put: 120 bits of a hash over its shelf and the names of its objects.
type Key = [u8; 15];

/// What is known of puts that were begun.
#[derive(Debug)]
pub(super) struct Puts(Mutex<LruCache<Key, Begun>>);

#[derive(Clone, Copy, Debug)]
struct Begun {
    /// The first attempt that no search has looked for yet.
    since: Instant,
    /// The first attempt of all, by the clock, milliseconds since 1970.
    first_ms: u64,
    /// Counts the messages that proved wrong, each of which had a nonce of its own.
    salt: u32,
}

impl Puts {
    pub(super) fn new() -> Self {
        Self(Mutex::new(LruCache::new(REMEMBERED_MAX)))
    }

    fn all(&self) -> MutexGuard<'_, LruCache<Key, Begun>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One put on its way.
struct Put<'a> {
    spot: Spot,
    objects: &'a [Object],
    total: u64,
    key: Key,
    deadline: Instant,
    backoff: Backoff,
    gateway_timeouts: u32,
    /// What is sent to an archived thread wakes it up, which needs a place.
    claim: Claim,
}

impl Discord {
    pub(super) async fn put_objects(
        &self,
        shelf: &Shelf,
        objects: &[Object],
    ) -> Result<Vec<Locator>, Error> {
        check_put(objects, self.limits())?;
        if objects.is_empty() {
            return Ok(Vec::new());
        }
        let spot = Spot::read(shelf)?;
        let total = objects.iter().map(|object| object.body.len()).sum();
        let mut put = Put {
            spot,
            objects,
            total,
            key: key(spot, objects),
            deadline: self.transport.deadline() + self.transport.time_for(total),
            backoff: self.transport.backoff(),
            gateway_timeouts: 0,
            claim: self.claim(spot.channel()),
        };
        loop {
            let begun = self.begun(&put);
            if begun.since.elapsed() > self.transport.settings().nonce_window {
                if let Some(locators) = self.find(&put, begun).await? {
                    return Ok(locators);
                }
                self.puts.all().put(
                    put.key,
                    Begun {
                        since: Instant::now(),
                        ..begun
                    },
                );
            }
            if let Some(locators) = self.send(&mut put, begun).await? {
                self.sizes().taken(total);
                self.learnt.keep().await;
                return Ok(locators);
            }
        }
    }

    fn begun(&self, put: &Put<'_>) -> Begun {
        *self.puts.all().get_or_insert(put.key, || Begun {
            since: Instant::now(),
            first_ms: in_ms(self.transport.settings().clock.now()),
            salt: 0,
        })
    }

    /// Sends the message once. `None`: to be tried again.
    async fn send(&self, put: &mut Put<'_>, begun: Begun) -> Result<Option<Vec<Locator>>, Error> {
        let ask = put.ask(self.transport.settings(), begun.salt)?;
        let limited_least = put.backoff.next;
        let sent = self
            .transport
            .attempt(&ask, put.deadline, limited_least)
            .await;
        let fail = match sent {
            Ok(body) => match parse::<Message>(&body) {
                Ok(message) => return self.acknowledged(put, begun, &message).await,
                Err(error) => Fail::Unclear(Unclear {
                    status: None,
                    what: error.to_string(),
                }),
            },
            Err(fail) => fail,
        };
        match fail {
            Fail::Limited => {
                put.backoff.grow();
                Ok(None)
            }
            Fail::Unclear(unclear) => self.unclear(put, begun, unclear, &ask.deed).await,
            Fail::Said(said) if said.status == 413 => Err(self.too_large(put).await),
            Fail::Said(said) if is_full(&said) => {
                let deadline = put.deadline;
                self.make_room(&mut put.claim, said, &ask.deed, deadline)
                    .await?;
                Ok(None)
            }
            // The message with this nonce was there and has been removed.
            Fail::Said(Said {
                status: 404,
                code: code::UNKNOWN_MESSAGE,
                ..
            }) => {
                self.salted(put, begun)?;
                Ok(None)
            }
            fail => Err(fail.error(&ask.deed)),
        }
    }

    async fn unclear(
        &self,
        put: &mut Put<'_>,
        begun: Begun,
        unclear: Unclear,
        deed: &Deed,
    ) -> Result<Option<Vec<Locator>>, Error> {
        if unclear.status == Some(504) && put.objects.len() > 1 && put.total > SAFE_PUT_BYTES {
            put.gateway_timeouts += 1;
            if put.gateway_timeouts >= GATEWAY_TIMEOUTS_MAX {
                let found = self.find(put, begun).await?;
                return match found {
                    Some(locators) => Ok(Some(locators)),
                    None => Err(self.too_large(put).await),
                };
            }
        }
        let paused = put.backoff.pause(unclear, put.deadline).await;
        paused.map_err(|fail| fail.error(deed))?;
        Ok(None)
    }

    async fn too_large(&self, put: &Put<'_>) -> Error {
        let largest = put.objects.iter().map(|object| object.body.len()).max();
        let count = put.objects.len();
        let limit_bytes = self.learnt.refused(count, largest.unwrap_or(0), put.total);
        self.learnt.keep().await;
        Error::TooLarge { limit_bytes }
    }

    /// Takes another nonce from now on.
    fn salted(&self, put: &Put<'_>, begun: Begun) -> Result<(), Error> {
        let salt = begun.salt + 1;
        if salt > SALT_MAX {
            return Err(Error::Broken {
                what: format!(
                    "Discord keeps something else in {} than was sent",
                    put.spot.place()
                ),
            });
        }
        self.puts.all().put(put.key, Begun { salt, ..begun });
        Ok(())
    }

    /// Compares what Discord has kept with what was sent; what differs is removed. `None`: to be
    /// sent again.
    async fn acknowledged(
        &self,
        put: &Put<'_>,
        begun: Begun,
        message: &Message,
    ) -> Result<Option<Vec<Locator>>, Error> {
        match put.compare(message) {
            Compared::Same(locators) => {
                self.cdn.remember(message);
                Ok(Some(locators))
            }
            Compared::Damaged => {
                log::warn!(
                    "discord: a message in {} is not what was sent",
                    put.spot.place()
                );
                self.delete_message(put.spot.channel(), message.id.get(), put.deadline)
                    .await?;
                self.salted(put, begun)?;
                Ok(None)
            }
            Compared::Foreign => {
                self.salted(put, begun)?;
                Ok(None)
            }
        }
    }

    /// Looks for the message among those since the first attempt.
    async fn find(&self, put: &Put<'_>, begun: Begun) -> Result<Option<Vec<Locator>>, Error> {
        let oldest_ms = begun.first_ms.saturating_sub(SEARCH_SLACK_MS);
        let mut span = Span::Newest;
        for _ in 0..SEARCH_PAGES_MAX {
            let (messages, next) = self.messages(put.spot, span, put.deadline).await?;
            for message in &messages {
                if made_ms(message.id.get()) < oldest_ms {
                    return Ok(None);
                }
                if let Compared::Same(locators) = put.compare(message) {
                    return Ok(Some(locators));
                }
                if matches!(put.compare(message), Compared::Damaged) {
                    self.delete_message(put.spot.channel(), message.id.get(), put.deadline)
                        .await?;
                }
            }
            match next {
                Some(mark) => span = Span::Before(mark),
                None => break,
            }
        }
        Ok(None)
    }
}

enum Compared {
    /// It is what was sent; where its objects lie, in the order they were sent.
    Same(Vec<Locator>),
    /// It was made by this put, but is not what was sent.
    Damaged,
    /// It has none of the objects.
    Foreign,
}

impl Put<'_> {
    fn ask(&self, settings: &Settings, salt: u32) -> Result<Ask, Error> {
        let channel_id = self.spot.channel();
        let nonce = nonce(&self.key, salt);
        let attachments: Vec<_> = self
            .objects
            .iter()
            .enumerate()
            .map(|(at, object)| json!({ "id": at, "filename": object.name }))
            .collect();
        let payload = json!({
            "nonce": nonce,
            "enforce_nonce": true,
            "attachments": attachments,
            "allowed_mentions": { "parse": [] },
        });
        let form = Form::new(payload.to_string().as_bytes(), self.objects)?;
        let lane = Lane {
            kind: "POST messages",
            major: channel_id,
        };
        let permission = match self.spot {
            Spot::Channel(_) => "Send Messages and Attach Files",
            Spot::Thread { .. } => "Send Messages in Threads and Attach Files",
        };
        let deed = Deed::within(settings, channel_id, "put objects into", permission);
        Ok(Ask::form(
            lane,
            &Route::CreateMessage { channel_id },
            form,
            deed,
        ))
    }

    fn compare(&self, message: &Message) -> Compared {
        let kept = &message.attachments;
        let found = self.objects.iter().map(|object| {
            let same = |kept: &&Attachment| kept.filename == object.name;
            kept.iter().find(same).map(|kept| (kept, object))
        });
        let found: Vec<_> = found.flatten().collect();
        let own = message.nonce.as_ref().and_then(serde_json::Value::as_str);
        let own = own.is_some_and(|own| (0..=SALT_MAX).any(|salt| own == nonce(&self.key, salt)));
        let whole = found.len() == self.objects.len() && kept.len() == found.len();
        // Some of the names are not enough to call it ours, and to remove it.
        let right = |(kept, object): &(&Attachment, &Object)| kept.size == object.body.len();
        if whole && found.iter().all(right) {
            let locators = found.iter().map(|(kept, _)| message.place(kept).locator());
            return Compared::Same(locators.collect());
        }
        if own || whole {
            Compared::Damaged
        } else {
            Compared::Foreign
        }
    }
}

fn key(spot: Spot, objects: &[Object]) -> Key {
    let mut hash = blake3::Hasher::new();
    hash.update(&spot.channel().to_be_bytes());
    for object in objects {
        hash.update(&[0]).update(object.name.as_bytes());
    }
    let mut key = Key::default();
    hash.finalize_xof().fill(&mut key);
    key
}

/// 24 letters and digits and, from the second message on, one more; Discord takes 25.
fn nonce(key: &Key, salt: u32) -> String {
    let name = BASE32_NOPAD.encode(key);
    match salt {
        0 => name,
        salt => format!("{name}{salt}"),
    }
}

/// A nonce for something that is not an object, made of what names it.
pub(super) fn nonce_for(what: &str, label: &str) -> String {
    let mut hash = blake3::Hasher::new();
    hash.update(what.as_bytes())
        .update(&[0])
        .update(label.as_bytes());
    let mut key = Key::default();
    hash.finalize_xof().fill(&mut key);
    nonce(&key, 0)
}
