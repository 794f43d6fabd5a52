//! Removes messages, many with one request where Discord lets us.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use tokio::time::Instant;
use twilight_http::routing::Route;

use super::{
    Discord,
    answer::{Fail, Said, code},
    deed::Deed,
    limiter::Lane,
    transport::Ask,
    wire::{Place, in_ms, made_ms},
};
use crate::store::{Error, Locator};

/// Discord deletes messages in bulk only while they are younger than 14 days; an hour is for clocks
/// that differ.
const BULK_AGE_MS: u64 = (14 * 24 - 1) * 3600 * 1000;
const BULK_MAX: usize = 100;

impl Discord {
    pub(super) async fn remove_objects(&self, locators: &[Locator]) -> Result<(), Error> {
        let mut messages: BTreeMap<(u64, u64), BTreeSet<Place>> = BTreeMap::new();
        for locator in locators {
            let place = Place::read(locator)?;
            let message = (place.channel, place.message);
            messages.entry(message).or_default().insert(place);
        }
        messages.retain(|_, places| {
            let together = places.first().map_or(0, |place| place.together);
            places.len() >= usize::from(together)
        });
        let mut channels: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for ((channel, message), places) in &messages {
            channels.entry(*channel).or_default().push(*message);
            places.iter().for_each(|place| self.cdn.forget(place));
        }
        for (channel, messages) in channels {
            self.remove_messages(channel, &messages).await?;
        }
        Ok(())
    }

    async fn remove_messages(&self, channel: u64, messages: &[u64]) -> Result<(), Error> {
        let now_ms = in_ms(self.transport.settings().clock.now());
        let is_young = |id: &u64| made_ms(*id).saturating_add(BULK_AGE_MS) > now_ms;
        let (young, old): (Vec<u64>, Vec<u64>) = messages.iter().partition(|id| is_young(id));
        let mut single = old;
        for some in young.chunks(BULK_MAX) {
            // Each request gets the patience of a call: a large removal takes long.
            let done = some.len() > 1 && self.bulk(channel, some).await?;
            if !done {
                single.extend_from_slice(some);
            }
        }
        for message in single {
            self.delete_message(channel, message, self.transport.deadline())
                .await?;
        }
        Ok(())
    }

    /// True when they are gone, false when they have to be removed one by one.
    async fn bulk(&self, channel_id: u64, messages: &[u64]) -> Result<bool, Error> {
        let ids: Vec<String> = messages.iter().map(u64::to_string).collect();
        let lane = Lane {
            kind: "POST bulk-delete",
            major: channel_id,
        };
        let settings = self.transport.settings();
        let doing = "remove messages from";
        let deed = Deed::within(settings, channel_id, doing, "Manage Messages");
        let route = Route::DeleteMessages { channel_id };
        let ask = Ask::json(lane, &route, &json!({ "messages": ids }), deed)?;
        match self.transport.call(&ask, self.transport.deadline()).await {
            Ok(_) => Ok(true),
            Err(Fail::Said(said)) if is_gone_channel(&said) => Ok(true),
            // Without Manage Messages, or with a clock that is wrong, one by one still works.
            Err(Fail::Said(said)) if said.status == 403 || said.code == code::TOO_OLD_FOR_BULK => {
                Ok(false)
            }
            Err(fail) => Err(fail.error(&ask.deed)),
        }
    }

    /// Removes one message; one that is gone already counts as removed.
    pub(super) async fn delete_message(
        &self,
        channel_id: u64,
        message_id: u64,
        deadline: Instant,
    ) -> Result<(), Error> {
        let now_ms = in_ms(self.transport.settings().clock.now());
        let is_old = made_ms(message_id).saturating_add(BULK_AGE_MS) <= now_ms;
        let lane = Lane {
            // Discord has buckets of their own for old messages.
            kind: if is_old {
                "DELETE old message"
            } else {
                "DELETE message"
            },
            major: channel_id,
        };
        let settings = self.transport.settings();
        let doing = "remove a message from";
        let deed = Deed::within(settings, channel_id, doing, "Manage Messages");
        let route = Route::DeleteMessage {
            channel_id,
            message_id,
        };
        let ask = Ask::new(lane, &route, deed);
        let is_gone = |said: &Said| said.status == 404;
        self.transport.act_unless(&ask, deadline, is_gone).await
    }
}

fn is_gone_channel(said: &Said) -> bool {
    said.status == 404 && said.code == code::UNKNOWN_CHANNEL
}
