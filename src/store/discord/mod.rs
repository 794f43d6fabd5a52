//! Discord as a store: objects are attachments, a put is a message, a shelf is a thread or a channel.
//!
//! ```text
//!   put  get  listing  remove  shelf  pins        what the seam asks for
//!           cdn  learnt  sizes  active            what was learnt; room for one more thread
//!           messenger                             messages to people, for the bot
//!                 transport                       sends, again where it helps
//!                 gate  limiter                   not too fast
//!                 http                            connections and bodies
//! ```
//!
//! What is assumed of Discord: a message with `enforce_nonce` is made once within
//! [`Settings::nonce_window`]; a message's attachments never change; ids grow with time; a thread has
//! the id of the message it hangs on. Everything else that it answers is checked.

use std::{
    ops::Range,
    sync::{Arc, MutexGuard},
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use tokio::{sync::OnceCell, time::Instant};
use twilight_http::routing::Route;
use twilight_model::id::{Id, marker::UserMarker};

use crate::store::{
    Card, Entry, Error, Landmark, Limits, Locator, Object, Page, Shelf, Span, Status, Store,
    Together, Urgency, strangers::Strangers,
};

use self::{
    active::Room,
    cdn::Cdn,
    deed::Deed,
    get::Address,
    learnt::Learnt,
    limiter::Lane,
    put::Puts,
    sizes::Sizes,
    transport::{Ask, Transport},
    wire::{Place, Spot},
};

mod active;
mod answer;
mod ask;
mod attachment;
mod backoff;
mod cdn;
mod deed;
mod dial;
#[cfg(any(fuzzing, debug_assertions))]
#[doc(hidden)]
pub mod fuzzing;
mod gate;
mod get;
mod guild;
mod heard;
mod http;
mod learnt;
mod limiter;
mod listing;
mod messenger;
mod permissions;
mod pins;
mod put;
mod remove;
mod settings;
pub mod setup;
mod shelf;
mod sizes;
mod skew;
mod strangers;
mod transport;
mod wire;

pub use self::{
    attachment::Fetching,
    http::offer_tls,
    limiter::Rates,
    messenger::{Answering, Attached, Gateway, Messenger, Posted},
    settings::{API_BASE, ATTACHMENT_BYTES_DEFAULT, Settings, Token},
};

/// A drive's place in a Discord server.
#[derive(Debug)]
pub struct Discord {
    transport: Arc<Transport>,
    cdn: Cdn,
    puts: Puts,
    learnt: Arc<Learnt>,
    user: OnceCell<u64>,
    room: Room,
}

#[derive(Deserialize)]
struct Myself {
    id: Id<UserMarker>,
}

impl Discord {
    /// Makes the store. Sends nothing, so it succeeds without a network too; whether token, channels
    /// and permissions are good shows with the first call, or with [`setup`].
    ///
    /// # Errors
    /// [`Error::Broken`] when no HTTP client can be made.
    pub fn connect(settings: Settings) -> Result<Self, Error> {
        Ok(Self {
            cdn: Cdn::new(&settings),
            puts: Puts::new(),
            learnt: Learnt::new(&settings),
            user: OnceCell::new_with(settings.token.user()),
            room: Room::default(),
            transport: Arc::new(Transport::new(settings)?),
        })
    }

    /// Messages to people, under the same limits as everything else of this store.
    #[must_use]
    pub fn messenger(&self) -> Messenger {
        Messenger::new(Arc::clone(&self.transport))
    }

    /// Our own user id: as the token says, or as Discord does.
    async fn user(&self, deadline: Instant) -> Result<u64, Error> {
        let ask_discord = || async {
            let lane = Lane {
                kind: "GET me",
                major: 0,
            };
            let deed = Deed::new("read", "the bot's own user", "");
            let ask = Ask::new(lane, &Route::GetCurrentUser, deed);
            let myself: Myself = self.transport.read(&ask, deadline).await?;
            Ok(myself.id.get())
        };
        self.user.get_or_try_init(ask_discord).await.copied()
    }

    fn sizes(&self) -> MutexGuard<'_, Sizes> {
        self.learnt.sizes()
    }
}

impl Store for Discord {
    fn limits(&self) -> Limits {
        self.sizes().limits()
    }

    fn put<'a>(
        &'a self,
        shelf: &'a Shelf,
        objects: Vec<Object>,
    ) -> BoxFuture<'a, Result<Vec<Locator>, Error>> {
        Box::pin(async move { self.put_objects(shelf, &objects).await })
    }

    fn get<'a>(
        &'a self,
        locator: &'a Locator,
        range: Range<u64>,
        urgency: Urgency,
    ) -> BoxFuture<'a, Result<Bytes, Error>> {
        Box::pin(self.get_range(locator, range, urgency, Address::Known))
    }

    fn get_again<'a>(
        &'a self,
        locator: &'a Locator,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<Bytes, Error>> {
        Box::pin(self.get_range(locator, range, Urgency::Foreground, Address::Fresh))
    }

    fn list<'a>(&'a self, shelf: &'a Shelf, span: Span) -> BoxFuture<'a, Result<Page, Error>> {
        Box::pin(self.list_page(shelf, span))
    }

    fn remove<'a>(&'a self, locators: &'a [Locator]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.remove_objects(locators))
    }

    fn together(&self, locator: &Locator) -> Result<Together, Error> {
        Place::read(locator).map(Place::together)
    }

    fn journal(&self) -> Shelf {
        Spot::Channel(self.transport.settings().journal_channel).shelf()
    }

    fn shelf<'a>(&'a self, label: &'a str, card: &'a Card) -> BoxFuture<'a, Result<Shelf, Error>> {
        Box::pin(self.make_shelf(label, card))
    }

    fn describe<'a>(
        &'a self,
        shelf: &'a Shelf,
        card: &'a Card,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.describe_shelf(shelf, card))
    }

    fn show_again<'a>(
        &'a self,
        shelf: &'a Shelf,
        card: &'a Card,
    ) -> BoxFuture<'a, Result<Shelf, Error>> {
        Box::pin(self.make_card_again(shelf, card))
    }

    fn remove_shelf<'a>(&'a self, shelf: &'a Shelf) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.remove_thread(shelf))
    }

    fn pin<'a>(&'a self, locator: &'a Locator) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.pin_message(locator))
    }

    fn unpin<'a>(&'a self, locator: &'a Locator) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.unpin_message(locator))
    }

    fn pinned(&self) -> BoxFuture<'_, Result<Vec<Entry>, Error>> {
        Box::pin(self.pinned_objects())
    }

    fn status(&self) -> Status {
        self.transport.status()
    }

    fn places(&self) -> Vec<Landmark> {
        let settings = self.transport.settings();
        let (server, archives) = (settings.guild, settings.archives_channel);
        let channel = |role, id: u64| Landmark {
            role,
            id: id.to_string(),
            address: shelf::address(server, id),
        };
        vec![
            Landmark {
                role: "server",
                id: server.to_string(),
                address: format!("{}/{server}", shelf::PAGES),
            },
            channel("archives", archives),
            channel("journal", settings.journal_channel),
        ]
    }

    fn address(&self, shelf: &Shelf) -> Option<String> {
        let channel = Spot::read(shelf).ok()?.channel();
        Some(shelf::address(self.transport.settings().guild, channel))
    }

    fn address_of(&self, locator: &Locator) -> Option<String> {
        let place = wire::Place::read(locator).ok()?;
        let channel = shelf::address(self.transport.settings().guild, place.channel);
        Some(format!("{channel}/{}", place.message))
    }

    fn strangers(&self) -> Option<&dyn Strangers> {
        Some(self)
    }
}
