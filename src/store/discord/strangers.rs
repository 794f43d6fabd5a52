//! Messages of other programs: texts, embeds' titles and attachments, page by page.

use futures_util::future::BoxFuture;
use serde::Deserialize;
use twilight_http::routing::Route;
use twilight_model::channel::ChannelType;

use super::{
    Discord,
    deed::Deed,
    guild::RawChannel,
    limiter::Lane,
    listing::{PAGE_MESSAGES, read_messages},
    transport::Ask,
    wire::{Message, made_ms},
};
use crate::store::{
    Error, Mark, Span,
    strangers::{Note, Notes, Room, Strangers},
};

#[derive(Deserialize)]
struct Foreign {
    #[serde(flatten)]
    message: Message,
    #[serde(default)]
    content: String,
    #[serde(default)]
    embeds: Vec<Embed>,
}

#[derive(Deserialize)]
struct Embed {
    title: Option<String>,
}

impl Foreign {
    /// Without the privilege to read what others wrote, Discord shows that there is something, and no more.
    fn note(self, user: u64) -> Note {
        let title = self.embeds.into_iter().find_map(|embed| embed.title);
        let title = title.unwrap_or_default();
        let entries: Vec<_> = self.message.entries().collect();
        let shows = !self.content.is_empty() || !title.is_empty() || !entries.is_empty();
        let id = self.message.id.get();
        Note {
            mark: Mark(id),
            is_hidden: !shows && self.message.could_be_hidden_from(user),
            text: self.content,
            title,
            program: self.message.program(),
            entries,
            made_ms: made_ms(id),
        }
    }
}

impl Discord {
    async fn foreign_rooms(&self) -> Result<Vec<Room>, Error> {
        let guild_id = self.transport.settings().guild;
        let lane = Lane {
            kind: "GET channels",
            major: guild_id,
        };
        let place = format!("the channels of server {guild_id}");
        let deed = Deed::new("read", place, "View Channel");
        let ask = Ask::new(lane, &Route::GetChannels { guild_id }, deed);
        let channels: Vec<RawChannel> =
            self.transport.read(&ask, self.transport.deadline()).await?;
        let has_text = |channel: &RawChannel| {
            matches!(
                channel.kind,
                ChannelType::GuildText | ChannelType::GuildAnnouncement
            )
        };
        let journal = self.transport.settings().journal_channel;
        let rooms = channels.into_iter().filter(has_text).map(|channel| Room {
            id: channel.id.get(),
            name: channel.name.unwrap_or_default(),
        });
        Ok(rooms.filter(|room| room.id != journal).collect())
    }

    async fn foreign_notes(&self, room: u64, span: Span) -> Result<Notes, Error> {
        let (before, after) = match span {
            Span::Newest => (None, None),
            Span::Before(mark) => (Some(mark.0), None),
            Span::After(mark) => (None, Some(mark.0)),
        };
        let route = Route::GetMessages {
            channel_id: room,
            before,
            after,
            around: None,
            limit: Some(PAGE_MESSAGES),
        };
        let deadline = self.transport.deadline();
        let user = self.user(deadline).await?;
        let ask = read_messages(&route, self.transport.settings(), room);
        let mut page: Vec<Foreign> = self.transport.read(&ask, deadline).await?;
        let more = page.len() >= usize::from(PAGE_MESSAGES);
        page.sort_by_key(|foreign| foreign.message.id);
        if !matches!(span, Span::After(_)) {
            page.reverse();
        }
        let last = page.last().map(|foreign| Mark(foreign.message.id.get()));
        for foreign in &page {
            self.cdn.remember(&foreign.message);
        }
        Ok(Notes {
            notes: page.into_iter().map(|foreign| foreign.note(user)).collect(),
            next: last.filter(|_| more),
        })
    }
}

impl Strangers for Discord {
    fn rooms(&self) -> BoxFuture<'_, Result<Vec<Room>, Error>> {
        Box::pin(self.foreign_rooms())
    }

    fn notes(&self, room: u64, span: Span) -> BoxFuture<'_, Result<Notes, Error>> {
        Box::pin(self.foreign_notes(room, span))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_shows_nothing_is_hidden_and_a_card_is_not() {
        let read = |content: &str, embeds: &str, author: u64, kind: u8| {
            let json = format!(
                r#"{{"id":"5","channel_id":"6","author":{{"id":"{author}"}},"type":{kind},
                "content":"{content}","embeds":{embeds},"attachments":[]}}"#
            );
            let foreign: Foreign = serde_json::from_str(&json).expect("reads");
            foreign.note(7)
        };
        assert!(read("", "[]", 8, 0).is_hidden);
        assert!(!read("", "[]", 7, 0).is_hidden, "our own");
        assert!(!read("", "[]", 8, 18).is_hidden, "a thread was made");
        let card = read("x", r#"[{"fields":[]},{"title":"Archive"}]"#, 8, 0);
        assert_eq!((card.text.as_str(), card.title.as_str()), ("x", "Archive"));
        assert!(!card.is_hidden);
        assert_eq!(card.program, None);
        for by in [
            r#""author":{"id":"8","bot":true}"#,
            r#""author":{"id":"8"},"webhook_id":"8""#,
        ] {
            let json = format!(
                r#"{{"id":"5","channel_id":"6",{by},"type":0,"content":"","attachments":[]}}"#
            );
            let foreign: Foreign = serde_json::from_str(&json).expect("reads");
            assert_eq!(foreign.note(7).program, Some(8), "{by}");
        }
    }
}
