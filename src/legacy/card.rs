//! Where the Python systems said on Discord, and in their log, what is where.

use serde_json::Value;

use crate::legacy::Error;
use crate::legacy::meta::number;

/// Largest log, bytes.
pub const LOG_BYTES_MAX: u64 = 64 << 20;

/// What a message, or an entry of the log, says of an archive or batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Card {
    /// `#DDMMYY-NN` or `BATCH_YYYYMMDD_HHHH`.
    pub id: String,
    /// The thread that has the pieces, if it is named.
    pub thread: Option<u64>,
    /// The channel that has the pieces, if it is named.
    pub channel: Option<u64>,
    /// Messages with pieces, as far as they are named.
    pub messages: Vec<u64>,
}

/// Is this the id of an archive?
#[must_use]
pub fn is_archive_id(text: &str) -> bool {
    let rest = text.strip_prefix('#').and_then(|rest| rest.split_once('-'));
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    rest.is_some_and(|(day, number)| {
        day.len() == 6 && are_digits(day) && number.len() <= 6 && are_digits(number)
    })
}

/// Is this the id of a batch? That system let the first word be chosen.
#[must_use]
pub fn is_batch_id(text: &str) -> bool {
    let mut words = text.rsplitn(3, '_');
    let token = words.next().unwrap_or("");
    let day = words.next().unwrap_or("");
    let prefix = words.next().unwrap_or("");
    token.len() == 4
        && token.bytes().all(|b| b.is_ascii_hexdigit())
        && day.len() == 8
        && day.bytes().all(|b| b.is_ascii_digit())
        && !prefix.is_empty()
        && prefix
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

impl Card {
    /// What a message says, if it is a card: its text, and the title of its first embed.
    #[must_use]
    pub fn read(text: &str, title: &str) -> Option<Card> {
        in_json(text)
            .or_else(|| in_title(title))
            .or_else(|| of_batch(text))
    }
}

/// The fenced block of an archive's card.
fn in_json(text: &str) -> Option<Card> {
    let (_, rest) = text.split_once("```json")?;
    let json = rest.split("```").next()?;
    entry(&serde_json::from_str(json.trim()).ok()?)
}

fn entry(value: &Value) -> Option<Card> {
    let id = value.get("archive_id")?.as_str()?;
    let named = |name: &str| value.get(name).and_then(number).filter(|id| *id > 0);
    let messages = value.get("message_ids").and_then(Value::as_array);
    is_archive_id(id).then(|| Card {
        id: id.to_owned(),
        thread: named("thread_id"),
        channel: named("channel_id"),
        messages: messages.into_iter().flatten().filter_map(number).collect(),
    })
}

/// `📦 Archive #DDMMYY-NN`
fn in_title(title: &str) -> Option<Card> {
    let (_, id) = title.split_once("Archive ")?;
    let id = id.split_whitespace().next()?;
    is_archive_id(id).then(|| Card {
        id: id.to_owned(),
        ..Card::default()
    })
}

/// ``**Batch ID:** `…` `` and ``**Thread:** `…` ``, or ``📦 Batch `…` chunks``.
fn of_batch(text: &str) -> Option<Card> {
    let quoted = |mark: &str| {
        let (_, rest) = text.split_once(mark)?;
        rest.trim_start_matches(['*', ':', ' '])
            .strip_prefix('`')?
            .split('`')
            .next()
    };
    let id = quoted("Batch ID:").or_else(|| quoted("Batch "))?;
    is_batch_id(id).then(|| Card {
        id: id.to_owned(),
        thread: quoted("Thread:").and_then(|thread| thread.trim().parse().ok()),
        ..Card::default()
    })
}

/// What the local log (`discord-drive-history.json`) says of an archive: all of its entries together,
/// because an upload that was resumed has more than one.
///
/// # Errors
/// [`Error::Damaged`] when it is no log; [`Error::TooLarge`].
pub fn in_log(log: &[u8], id: &str) -> Result<Option<Card>, Error> {
    let entries = entries(log)?;
    let cards = entries
        .iter()
        .filter_map(entry)
        .filter(|card| card.id == id);
    Ok(cards.reduce(|mut all, card| {
        all.thread = card.thread.or(all.thread);
        all.channel = card.channel.or(all.channel);
        all.messages.extend(card.messages);
        all
    }))
}

/// The archives that the local log names, each once, in its order.
///
/// # Errors
/// As [`in_log`].
pub fn ids_in_log(log: &[u8]) -> Result<Vec<String>, Error> {
    let mut ids: Vec<String> = Vec::new();
    for card in entries(log)?.iter().filter_map(entry) {
        if !ids.contains(&card.id) {
            ids.push(card.id);
        }
    }
    Ok(ids)
}

fn entries(log: &[u8]) -> Result<Vec<Value>, Error> {
    if log.len() as u64 > LOG_BYTES_MAX {
        return Err(Error::TooLarge {
            what: "a log",
            bytes_max: LOG_BYTES_MAX,
        });
    }
    serde_json::from_slice(log).map_err(|error| Error::damaged(format!("no log: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_of_both_systems_are_known() {
        let json = "```json\n{\"archive_id\": \"#010126-03\", \"thread_id\": \"77\", \"message_ids\": [1, \"2\"]}\n```";
        let card = Card::read(json, "").expect("a card");
        assert_eq!((card.id.as_str(), card.thread), ("#010126-03", Some(77)));
        assert_eq!(card.messages, [1, 2]);
        let cut = Card::read("```json\n{\"archive_id\"", "📦 Archive #010126-03").expect("a card");
        assert_eq!((cut.id.as_str(), cut.thread), ("#010126-03", None));
        let index = "📦 **Title:** x\n**Batch ID:** `BATCH_20260101_000B`\n**Thread:** `12`\n";
        let card = Card::read(index, "").expect("a card");
        assert_eq!(
            (card.id.as_str(), card.thread),
            ("BATCH_20260101_000B", Some(12))
        );
        let storage = Card::read("📦 Batch `BATCH_20260101_000B` chunks", "").expect("a card");
        assert_eq!(storage.id, "BATCH_20260101_000B");
        for no in [
            "",
            "hello",
            "```json\n[]\n```",
            "Batch `x` chunks",
            "```json {\"archive_id\":1}",
        ] {
            assert_eq!(Card::read(no, "Archive"), None, "{no}");
        }
    }

    #[test]
    fn ids_are_told_apart() {
        assert!(is_archive_id("#010126-01") && is_archive_id("#000011-123"));
        assert!(is_batch_id("BATCH_20260101_000B"));
        for no in [
            "",
            "#",
            "#010126",
            "#01012-1",
            "#010126-",
            "#010126-1x",
            "photos",
            "a_b_c",
        ] {
            assert!(!is_archive_id(no) && !is_batch_id(no), "{no}");
        }
    }

    #[test]
    fn a_log_s_entries_of_one_archive_are_joined() {
        let log = br##"[{"archive_id":"#010126-01","message_ids":[5]},{"lot":2},
            {"archive_id":"#010126-01","message_ids":[6,"7"],"thread_id":null},
            {"archive_id":"#010126-02","message_ids":[9]}]"##;
        let card = in_log(log, "#010126-01").expect("a log").expect("known");
        assert_eq!(card.messages, [5, 6, 7]);
        assert_eq!(in_log(log, "#010126-09").expect("a log"), None);
        assert_eq!(
            ids_in_log(log).expect("a log"),
            ["#010126-01", "#010126-02"]
        );
        assert!(in_log(b"{}", "#010126-01").is_err());
    }
}
