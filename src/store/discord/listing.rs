//! Lists the objects of a shelf: pages of messages, of which only our own with attachments count.

use serde::Deserialize;
use tokio::time::Instant;
use twilight_http::routing::Route;
use twilight_model::id::{Id, marker::GenericMarker};

use super::{
    Discord,
    answer::{Fail, code},
    deed::Deed,
    limiter::Lane,
    settings::Settings,
    transport::Ask,
    wire::{Message, Spot},
};
use crate::store::{Error, Mark, Page, Shelf, Span, Urgency};

/// Messages on one page, the most that Discord gives.
pub(super) const PAGE_MESSAGES: u16 = 100;

#[derive(Deserialize)]
pub(super) struct Channel {
    last_message_id: Option<Id<GenericMarker>>,
}

impl Discord {
    pub(super) async fn list_page(&self, shelf: &Shelf, span: Span) -> Result<Page, Error> {
        let spot = Spot::read(shelf)?;
        let deadline = self.transport.deadline();
        let (messages, next) = self.messages(spot, span, deadline).await?;
        let mut entries = Vec::new();
        for message in &messages {
            match span {
                Span::Newest | Span::Before(_) => entries.extend(message.entries().rev()),
                Span::After(_) => entries.extend(message.entries()),
            }
        }
        Ok(Page { entries, next })
    }

    /// A page of our own messages with objects, in the order of `span`, and where the next page begins.
    pub(super) async fn messages(
        &self,
        spot: Spot,
        span: Span,
        deadline: Instant,
    ) -> Result<(Vec<Message>, Option<Mark>), Error> {
        let (before, after) = match span {
            Span::Newest => (None, None),
            Span::Before(mark) => (Some(mark.0), None),
            Span::After(mark) => (None, Some(mark.0)),
        };
        let route = Route::GetMessages {
            channel_id: spot.channel(),
            before,
            after,
            around: None,
            limit: Some(PAGE_MESSAGES),
        };
        let user = self.user(deadline).await?;
        let ask = read_messages(&route, self.transport.settings(), spot.channel());
        let mut messages: Vec<Message> = self.transport.read(&ask, deadline).await?;
        if messages.is_empty() && !is_news(span) {
            self.check_is_empty(spot, deadline).await?;
        }
        let more = messages.len() >= usize::from(PAGE_MESSAGES);
        // Discord gives the newest first whatever was asked for; no order is trusted.
        messages.sort_by_key(|message| message.id);
        if !matches!(span, Span::After(_)) {
            messages.reverse();
        }
        let last = messages.last().map(|message| Mark(message.id.get()));
        messages.retain(|message| message.holds_objects_of(user));
        for message in &messages {
            self.cdn.remember(message);
        }
        Ok((messages, last.filter(|_| more)))
    }

    /// Makes sure that a channel has no messages to show. To a bot without the permission to read the
    /// history every channel is empty, and nothing must be concluded from that.
    async fn check_is_empty(&self, spot: Spot, deadline: Instant) -> Result<(), Error> {
        let channel_id = spot.channel();
        let lane = Lane {
            kind: "GET channel",
            major: channel_id,
        };
        let read = |route: &Route<'_>| {
            let settings = self.transport.settings();
            let doing = "read the history of";
            let deed = Deed::within(settings, channel_id, doing, "Read Message History");
            Ask::new(lane, route, deed)
        };
        let ask = read(&Route::GetChannel { channel_id });
        let channel: Channel = self.transport.read(&ask, deadline).await?;
        let Some(last) = channel.last_message_id else {
            return Ok(());
        };
        let ask = read(&Route::GetMessage {
            channel_id,
            message_id: last.get(),
        });
        match self.transport.call(&ask, deadline).await {
            // It is there: the channel is not empty, but for this page it was.
            Ok(_) => Ok(()),
            // The last message may have been removed.
            Err(Fail::Said(said)) if said.code == code::UNKNOWN_MESSAGE => Ok(()),
            Err(fail) => Err(fail.error(&ask.deed)),
        }
    }

    /// The messages around one, for their fresh addresses.
    pub(super) async fn messages_around(
        &self,
        channel_id: u64,
        message: u64,
        urgency: Urgency,
        deadline: Instant,
    ) -> Result<Vec<Message>, Error> {
        let route = Route::GetMessages {
            channel_id,
            before: None,
            after: None,
            around: Some(message),
            limit: Some(PAGE_MESSAGES),
        };
        let ask = read_messages(&route, self.transport.settings(), channel_id);
        self.transport.read(&ask.urgent(urgency), deadline).await
    }
}

/// Is it asked what came lately, where "nothing" is the usual answer?
fn is_news(span: Span) -> bool {
    matches!(span, Span::After(mark) if mark > Mark(0))
}

pub(super) fn read_messages(route: &Route<'_>, settings: &Settings, channel: u64) -> Ask {
    let lane = Lane {
        kind: "GET messages",
        major: channel,
    };
    let doing = "read the messages of";
    let deed = Deed::within(settings, channel, doing, "Read Message History");
    Ask::new(lane, route, deed)
}
