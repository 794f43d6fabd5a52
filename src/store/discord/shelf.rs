//! Shelves: a card in the archives channel and, on it, a thread for the objects.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use twilight_http::routing::Route;

use super::{
    Discord,
    answer::{Said, code},
    deed::Deed,
    limiter::Lane,
    put::nonce_for,
    transport::{Ask, parse},
    wire::{Message, Spot},
};
use crate::store::{ACTIONS_MAX, Action, Card, Error, Shelf};

/// A card is worth no more waiting than this.
const DESCRIBE_PATIENCE: Duration = Duration::from_secs(10);
/// One week, the longest; a thread wakes up when something is sent to it.
const AUTO_ARCHIVE_MINUTES: u16 = 10_080;

/// Discord's limits of an embed, in characters.
const TITLE_CHARS_MAX: usize = 256;
const TEXT_CHARS_MAX: usize = 4096;
const FIELDS_MAX: usize = 25;
const LABEL_CHARS_MAX: usize = 256;
const VALUE_CHARS_MAX: usize = 1024;
const EMBED_CHARS_MAX: usize = 6000;
const THREAD_NAME_CHARS_MAX: usize = 100;
const BUTTON_CHARS_MAX: usize = 80;
const CUSTOM_ID_CHARS_MAX: usize = 100;

/// Discord's numbers for a row of components, a button, and one that is not coloured.
const ROW: u8 = 1;
const BUTTON: u8 = 2;
const SECONDARY: u8 = 2;

/// Where people look at channels.
pub(super) const PAGES: &str = "https://discord.com/channels";

/// The address that shows a channel or thread of a server.
pub(super) fn address(server: u64, channel: u64) -> String {
    format!("{PAGES}/{server}/{channel}")
}

impl Discord {
    pub(super) async fn make_shelf(&self, label: &str, card: &Card) -> Result<Shelf, Error> {
        let deadline = self.transport.deadline();
        let settings = self.transport.settings();
        let channel_id = settings.archives_channel;
        let made = self.room.card(label);
        let message_id = match made {
            Some(message) => message,
            None => self.post_card(label, card, None, deadline).await?,
        };
        self.room.keep_card(label, message_id);
        let payload = json!({
            "name": text_or(&card.title, label, THREAD_NAME_CHARS_MAX),
            "auto_archive_duration": AUTO_ARCHIVE_MINUTES,
        });
        let lane = Lane {
            kind: "POST threads",
            major: 0,
        };
        let doing = "make an archive's thread in";
        let deed = Deed::within(settings, channel_id, doing, "Create Public Threads");
        let route = Route::CreateThreadFromMessage {
            channel_id,
            message_id,
        };
        let ask = Ask::json(lane, &route, &payload, deed)?;
        // Made by an attempt whose answer was lost.
        let is_made = |said: &Said| said.code == code::THREAD_EXISTS;
        let threaded = self
            .act_with_room(&ask, message_id, deadline, is_made)
            .await;
        if !matches!(
            threaded,
            Err(Error::Refused { .. } | Error::Unavailable { .. })
        ) {
            self.room.forget_card(label);
        }
        threaded?;
        // A thread has the id of the message it hangs on.
        let spot = Spot::Thread {
            thread: message_id,
            card: message_id,
        };
        Ok(spot.shelf())
    }

    /// Puts a card into the archives channel; gives the message. `thread` is where its packs are, if that is
    /// not the thread on the message.
    async fn post_card(
        &self,
        label: &str,
        card: &Card,
        thread: Option<u64>,
        deadline: Instant,
    ) -> Result<u64, Error> {
        let settings = self.transport.settings();
        let channel_id = settings.archives_channel;
        let mut payload = shown(card, thread);
        payload["nonce"] = nonce_for("shelf", label).into();
        payload["enforce_nonce"] = true.into();
        payload["allowed_mentions"] = json!({ "parse": [] });
        let lane = Lane {
            kind: "POST messages",
            major: channel_id,
        };
        let doing = "put an archive's card into";
        let deed = Deed::within(settings, channel_id, doing, "Send Messages and Embed Links");
        let route = Route::CreateMessage { channel_id };
        let ask = Ask::json(lane, &route, &payload, deed)?;
        let message: Message = parse(&self.transport.act(&ask, deadline).await?)?;
        Ok(message.id.get())
    }

    /// The thread keeps its packs and its name; the new card says where it is.
    pub(super) async fn make_card_again(&self, shelf: &Shelf, card: &Card) -> Result<Shelf, Error> {
        let Spot::Thread { thread, card: gone } = Spot::read(shelf)? else {
            return Ok(shelf.clone());
        };
        let deadline = Instant::now() + DESCRIBE_PATIENCE;
        let lane = Lane {
            kind: "GET channel",
            major: thread,
        };
        let deed = Deed::within(self.transport.settings(), thread, "look at", "View Channel");
        let route = Route::GetChannel { channel_id: thread };
        self.transport
            .act(&Ask::new(lane, &route, deed), deadline)
            .await?;
        let label = format!("{thread} after {gone}");
        let made = self.post_card(&label, card, Some(thread), deadline).await?;
        Ok(Spot::Thread { thread, card: made }.shelf())
    }

    pub(super) async fn describe_shelf(&self, shelf: &Shelf, card: &Card) -> Result<(), Error> {
        let Spot::Thread {
            thread,
            card: message_id,
        } = Spot::read(shelf)?
        else {
            return Ok(());
        };
        let thread = Some(thread).filter(|thread| *thread != message_id);
        let channel_id = self.transport.settings().archives_channel;
        let patience = self.transport.settings().patience.min(DESCRIBE_PATIENCE);
        let lane = Lane {
            kind: "PATCH message",
            major: channel_id,
        };
        let deed = Deed::to_message(
            self.transport.settings(),
            (channel_id, message_id),
            "change the archive's card,",
            "Send Messages and Embed Links",
        );
        let route = Route::UpdateMessage {
            channel_id,
            message_id,
        };
        let ask = Ask::json(lane, &route, &shown(card, thread), deed)?;
        let deadline = Instant::now() + patience;
        self.transport.act(&ask, deadline).await.map(drop)
    }

    pub(super) async fn remove_thread(&self, shelf: &Shelf) -> Result<(), Error> {
        let deadline = self.transport.deadline();
        let Spot::Thread { thread, card } = Spot::read(shelf)? else {
            return Err(Error::Broken {
                what: "the journal cannot be removed".into(),
            });
        };
        let lane = Lane {
            kind: "DELETE channel",
            major: thread,
        };
        let deed = Deed::within(
            self.transport.settings(),
            thread,
            "remove",
            "Manage Threads",
        );
        let ask = Ask::new(lane, &Route::DeleteChannel { channel_id: thread }, deed);
        let is_gone = |said: &Said| said.status == 404;
        self.transport.act_unless(&ask, deadline, is_gone).await?;
        let archives = self.transport.settings().archives_channel;
        self.delete_message(archives, card, deadline).await
    }
}

/// A message that shows a card, with its buttons, if any.
fn shown(card: &Card, thread: Option<u64>) -> Value {
    let mut card = card.clone();
    card.fields
        .extend(thread.map(|thread| ("Thread".to_owned(), format!("<#{thread}>"))));
    let buttons: Vec<Value> = card.actions.iter().take(ACTIONS_MAX).map(button).collect();
    let rows = match buttons.is_empty() {
        true => Vec::new(),
        false => vec![json!({ "type": ROW, "components": buttons })],
    };
    json!({ "embeds": [embed(&card)], "components": rows })
}

fn button(action: &Action) -> Value {
    json!({
        "type": BUTTON,
        "style": SECONDARY,
        "label": text_or(&action.label, "…", BUTTON_CHARS_MAX),
        "custom_id": cut(&action.id, CUSTOM_ID_CHARS_MAX),
    })
}

/// The card as Discord shows it, cut to what Discord takes.
fn embed(card: &Card) -> Value {
    let title = text_or(&card.title, "…", TITLE_CHARS_MAX);
    let text = cut(&card.text, TEXT_CHARS_MAX);
    let mut left = EMBED_CHARS_MAX
        .saturating_sub(title.chars().count())
        .saturating_sub(text.chars().count());
    let mut fields = Vec::new();
    for (label, value) in card.fields.iter().take(FIELDS_MAX) {
        let label = text_or(label, "…", LABEL_CHARS_MAX);
        let value = text_or(value, "–", VALUE_CHARS_MAX);
        let chars = label.chars().count() + value.chars().count();
        if chars > left {
            break;
        }
        left -= chars;
        fields.push(json!({ "name": label, "value": value, "inline": true }));
    }
    json!({
        "title": title,
        "description": text,
        "color": card.colour & 0x00ff_ffff,
        "fields": fields,
    })
}

/// Discord takes no empty text, and cuts blanks off the ends.
fn text_or(text: &str, instead: &str, chars_max: usize) -> String {
    let text = cut(text, chars_max);
    if text.is_empty() {
        return cut(instead, chars_max);
    }
    text
}

fn cut(text: &str, chars_max: usize) -> String {
    let text = text.trim();
    if text.chars().count() <= chars_max {
        return text.into();
    }
    let mut text: String = text.chars().take(chars_max - 1).collect();
    text.push('…');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_of_any_size_fits() {
        let card = Card {
            title: "ä".repeat(300),
            fields: vec![("x".repeat(300), " ".into()); 40],
            colour: u32::MAX,
            text: "y".repeat(5000),
            actions: Vec::new(),
        };
        let embed = embed(&card);
        let chars = |value: &Value| value.as_str().map_or(0, |text| text.chars().count());
        assert_eq!(chars(&embed["title"]), 256);
        assert_eq!(chars(&embed["description"]), 4096);
        assert_eq!(embed["color"], 0x00ff_ffff);
        let fields = embed["fields"].as_array().expect("fields");
        let sum: usize = fields
            .iter()
            .map(|field| chars(&field["name"]) + chars(&field["value"]))
            .sum();
        assert!(!fields.is_empty() && sum + 256 + 4096 <= 6000);
        assert_eq!(fields[0]["value"], "–");
    }
}
