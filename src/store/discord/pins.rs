//! Pins in the journal's channel, by which a few messages are found among millions.

use serde::Deserialize;
use tokio::time::Instant;
use twilight_http::{request::Method, routing::Route};

use super::{
    Discord,
    answer::{Fail, code},
    deed::Deed,
    limiter::Lane,
    transport::{Ask, parse},
    wire::{Message, Place},
};
use crate::store::{Entry, Error, Locator};

/// Pins on one page, the most that Discord gives.
const PAGE_PINS: u16 = 50;
/// Discord allows 250 pins.
const PAGES_MAX: usize = 10;

#[derive(Deserialize)]
pub(super) struct PinsPage {
    items: Vec<Pin>,
    #[serde(default)]
    has_more: bool,
}

#[derive(Deserialize)]
struct Pin {
    pinned_at: String,
    message: Message,
}

impl Discord {
    pub(super) async fn pin_message(&self, locator: &Locator) -> Result<(), Error> {
        let place = Place::read(locator)?;
        let (channel_id, message_id) = (place.channel, place.message);
        let route = Route::PinMessage {
            channel_id,
            message_id,
        };
        let lane = Lane {
            kind: "PUT pin",
            major: channel_id,
        };
        let deadline = self.transport.deadline();
        let ask = Ask::new(lane, &route, self.pinning("pin", &place));
        self.newer_or_older(&ask, Method::Put, &place, deadline)
            .await
            .map_err(|fail| fail.error(&ask.deed))
    }

    pub(super) async fn unpin_message(&self, locator: &Locator) -> Result<(), Error> {
        let place = Place::read(locator)?;
        let (channel_id, message_id) = (place.channel, place.message);
        let route = Route::UnpinMessage {
            channel_id,
            message_id,
        };
        let lane = Lane {
            kind: "DELETE pin",
            major: channel_id,
        };
        let deadline = self.transport.deadline();
        let ask = Ask::new(lane, &route, self.pinning("unpin", &place));
        let done = self
            .newer_or_older(&ask, Method::Delete, &place, deadline)
            .await;
        match done {
            Err(Fail::Said(said)) if said.code == code::UNKNOWN_MESSAGE => Ok(()),
            done => done.map_err(|fail| fail.error(&ask.deed)),
        }
    }

    fn pinning(&self, doing: &'static str, place: &Place) -> Deed {
        let at = (place.channel, place.message);
        Deed::to_message(self.transport.settings(), at, doing, "Pin Messages")
    }

    /// Asks on the newer route and, where there is none, on the older.
    async fn newer_or_older(
        &self,
        newer: &Ask,
        method: Method,
        place: &Place,
        deadline: Instant,
    ) -> Result<(), Fail> {
        match self.transport.call(newer, deadline).await {
            Err(Fail::Said(said)) if said.status == 404 && said.code == 0 => {
                let path = format!("channels/{}/pins/{}", place.channel, place.message);
                let lane = Lane {
                    kind: "older pin",
                    major: place.channel,
                };
                let older = Ask::raw(lane, method, path, newer.deed.clone());
                let older = older.map_err(Fail::Gave)?;
                self.transport.call(&older, deadline).await.map(drop)
            }
            done => done.map(drop),
        }
    }

    pub(super) async fn pinned_objects(&self) -> Result<Vec<Entry>, Error> {
        let deadline = self.transport.deadline();
        let channel_id = self.transport.settings().journal_channel;
        let user = self.user(deadline).await?;
        let mut messages = Vec::new();
        let mut before = None;
        for _ in 0..PAGES_MAX {
            let page = self.pins_page(channel_id, before, deadline).await?;
            before = page.items.last().map(|pin| pin.pinned_at.clone());
            messages.extend(page.items.into_iter().map(|pin| pin.message));
            if !page.has_more || before.is_none() {
                break;
            }
        }
        messages.retain(|message| message.holds_objects_of(user));
        messages.sort_by_key(|message| message.id);
        messages.dedup_by_key(|message| message.id);
        for message in &messages {
            self.cdn.remember(message);
        }
        let entries = messages.iter().rev();
        Ok(entries
            .flat_map(|message| message.entries().rev())
            .collect())
    }

    async fn pins_page(
        &self,
        channel_id: u64,
        before: Option<String>,
        deadline: Instant,
    ) -> Result<PinsPage, Error> {
        let settings = self.transport.settings();
        let deed = Deed::within(
            settings,
            channel_id,
            "read the pins of",
            "Read Message History",
        );
        let lane = Lane {
            kind: "GET pins",
            major: channel_id,
        };
        let route = Route::GetPins {
            channel_id,
            limit: Some(PAGE_PINS),
            before,
        };
        let ask = Ask::new(lane, &route, deed);
        match self.transport.call(&ask, deadline).await {
            Ok(body) => parse(&body),
            Err(Fail::Said(said)) if said.status == 404 && said.code == 0 => {
                let path = format!("channels/{channel_id}/pins");
                let older = Ask::raw(lane, Method::Get, path, ask.deed.clone())?;
                let messages: Vec<Message> = self.transport.read(&older, deadline).await?;
                let pin = |message| Pin {
                    pinned_at: String::new(),
                    message,
                };
                Ok(PinsPage {
                    items: messages.into_iter().map(pin).collect(),
                    has_more: false,
                })
            }
            Err(fail) => Err(fail.error(&ask.deed)),
        }
    }
}
