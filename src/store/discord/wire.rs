//! What ods reads of Discord's messages, and how an object's place in one is written down.

use serde::{Deserialize, Deserializer};
use twilight_model::{
    channel::message::MessageType,
    id::{
        Id,
        marker::{AttachmentMarker, ChannelMarker, MessageMarker, UserMarker},
    },
};

use crate::clock::Time;
use crate::store::{Entry, Error, Locator, Mark, Shelf, Together};

/// A message: only what is needed, since other people's messages may hold anything and must not spoil
/// the page they are on.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Message {
    pub(super) id: Id<MessageMarker>,
    pub(super) channel_id: Id<ChannelMarker>,
    author: Author,
    #[serde(rename = "type")]
    kind: MessageType,
    #[serde(default)]
    pub(super) attachments: Vec<Attachment>,
    #[serde(flatten)]
    dress: Dress,
    /// Text or number; only in the answer to the message's creation.
    #[serde(default)]
    pub(super) nonce: Option<serde_json::Value>,
}

/// What a message has beside files. One that keeps objects has none of it: a put sends files and nothing else.
/// The same account answers people, perhaps with a file that somebody else chose and named, and then says
/// something, or to what it is the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Dress {
    #[serde(deserialize_with = "is_anything")]
    content: bool,
    #[serde(deserialize_with = "is_anything")]
    embeds: bool,
    #[serde(deserialize_with = "is_anything")]
    components: bool,
    #[serde(deserialize_with = "is_anything")]
    message_reference: bool,
    #[serde(deserialize_with = "is_anything")]
    interaction: bool,
    #[serde(deserialize_with = "is_anything")]
    interaction_metadata: bool,
    #[serde(deserialize_with = "is_anything")]
    webhook_id: bool,
}

/// Whatever form it has: is there anything in it?
fn is_anything<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    use serde_json::Value;
    Ok(match Value::deserialize(from)? {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    })
}

#[derive(Clone, Debug, Deserialize)]
struct Author {
    id: Id<UserMarker>,
    #[serde(default)]
    bot: bool,
}

/// A file on a message. Its address is signed: whoever has it may read, so it is not shown.
#[derive(Clone, Deserialize)]
pub(super) struct Attachment {
    pub(super) id: Id<AttachmentMarker>,
    pub(super) filename: String,
    pub(super) size: u64,
    pub(super) url: String,
}

impl std::fmt::Debug for Attachment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            id, filename, size, ..
        } = self;
        write!(f, "Attachment({id}, {filename}, {size} bytes)")
    }
}

impl Message {
    /// Is it one that `user` put, with objects on it and nothing else?
    pub(super) fn holds_objects_of(&self, user: u64) -> bool {
        let is_put = self.kind == MessageType::Regular && self.dress == Dress::default();
        is_put && self.author.id.get() == user && !self.attachments.is_empty()
    }

    /// Is it one that somebody else wrote, who may have written something that `user` is not shown?
    pub(super) fn could_be_hidden_from(&self, user: u64) -> bool {
        let written = matches!(self.kind, MessageType::Regular | MessageType::Reply);
        written && self.author.id.get() != user
    }

    /// The bot or webhook that wrote it, if none but a program did.
    pub(super) fn program(&self) -> Option<u64> {
        let is_program = self.author.bot || self.dress.webhook_id;
        is_program.then(|| self.author.id.get())
    }

    /// Its objects, in the order they were put.
    pub(super) fn entries(&self) -> impl DoubleEndedIterator<Item = Entry> + '_ {
        self.attachments.iter().map(|attachment| Entry {
            name: attachment.filename.clone(),
            locator: self.place(attachment).locator(),
            bytes: attachment.size,
            mark: Mark(self.id.get()),
        })
    }

    pub(super) fn place(&self, attachment: &Attachment) -> Place {
        Place {
            channel: self.channel_id.get(),
            message: self.id.get(),
            attachment: attachment.id.get(),
            bytes: attachment.size,
            together: u8::try_from(self.attachments.len()).unwrap_or(u8::MAX),
        }
    }
}

/// Where an object lies. Everything that a read or a removal needs without asking first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    /// Thread or channel.
    pub(super) channel: u64,
    pub(super) message: u64,
    pub(super) attachment: u64,
    /// Length of the object.
    pub(super) bytes: u64,
    /// How many objects are on the message.
    pub(super) together: u8,
}

const LOCATOR_VERSION: u8 = 1;
const LOCATOR_BYTES: usize = 34;

impl Place {
    /// Version, then channel, message, attachment and length as 8 bytes each, big end first, then the
    /// number of objects on the message.
    pub(super) fn locator(self) -> Locator {
        let mut bytes = vec![LOCATOR_VERSION];
        for number in [self.channel, self.message, self.attachment, self.bytes] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.push(self.together);
        Locator(bytes)
    }

    /// The message: channel and id as 8 bytes each, big end first.
    pub(super) fn together(self) -> Together {
        Together {
            key: [self.channel.to_be_bytes(), self.message.to_be_bytes()].concat(),
            objects: self.together.into(),
        }
    }

    pub(super) fn read(locator: &Locator) -> Result<Self, Error> {
        let broken = || Error::Broken {
            what: "a locator that no Discord store has made".into(),
        };
        let bytes: &[u8; LOCATOR_BYTES] = locator.0[..].try_into().map_err(|_| broken())?;
        let number = |at: usize| {
            let mut field = [0; 8];
            field.copy_from_slice(&bytes[at..at + 8]);
            u64::from_be_bytes(field)
        };
        let place = Self {
            channel: number(1),
            message: number(9),
            attachment: number(17),
            bytes: number(25),
            together: bytes[33],
        };
        if bytes[0] != LOCATOR_VERSION || place.channel == 0 || place.message == 0 {
            return Err(broken());
        }
        Ok(place)
    }
}

/// A shelf: the journal's channel, or a thread and the message that shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spot {
    /// `channel/1`.
    Channel(u64),
    /// `thread/1/2`, the second number the card's message.
    Thread { thread: u64, card: u64 },
}

impl Spot {
    pub(super) fn shelf(self) -> Shelf {
        Shelf(match self {
            Spot::Channel(channel) => format!("channel/{channel}"),
            Spot::Thread { thread, card } => format!("thread/{thread}/{card}"),
        })
    }

    pub(super) fn read(shelf: &Shelf) -> Result<Self, Error> {
        let id = |text: &str| text.parse().ok().filter(|id| *id != 0);
        let words: Vec<&str> = shelf.0.split('/').collect();
        let spot = match words[..] {
            ["channel", channel] => id(channel).map(Spot::Channel),
            ["thread", thread, card] => {
                let ids = id(thread).zip(id(card));
                ids.map(|(thread, card)| Spot::Thread { thread, card })
            }
            _ => None,
        };
        // Numbers can be written in several ways, a shelf has one name.
        let spot = spot.filter(|spot| spot.shelf() == *shelf);
        spot.ok_or_else(|| Error::Broken {
            what: format!("`{}` is no shelf on Discord", shelf.0.escape_debug()),
        })
    }

    /// Where its messages are.
    pub(super) fn channel(self) -> u64 {
        match self {
            Spot::Channel(channel) => channel,
            Spot::Thread { thread, .. } => thread,
        }
    }

    /// For errors.
    pub(super) fn place(self) -> String {
        match self {
            Spot::Channel(channel) => format!("channel {channel}"),
            Spot::Thread { thread, .. } => format!("thread {thread}"),
        }
    }
}

/// Discord's ids begin with the milliseconds since 2015.
const DISCORD_EPOCH_MS: u64 = 1_420_070_400_000;
const SNOWFLAKE_TIME_SHIFT: u32 = 22;

/// When the thing with this id was made, milliseconds since 1970.
pub(super) fn made_ms(id: u64) -> u64 {
    (id >> SNOWFLAKE_TIME_SHIFT) + DISCORD_EPOCH_MS
}

/// Milliseconds since 1970.
pub(super) fn in_ms(time: Time) -> u64 {
    u64::try_from(time.0 / 1_000_000).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locator_reads_back() {
        let place = Place {
            channel: 1,
            message: u64::MAX,
            attachment: 3,
            bytes: 10 << 20,
            together: 10,
        };
        let locator = place.locator();
        assert_eq!(locator.0.len(), LOCATOR_BYTES);
        assert_eq!(Place::read(&locator).expect("reads"), place);
        for bytes in [
            &locator.0[1..],
            &[],
            &[0; LOCATOR_BYTES],
            &[2; LOCATOR_BYTES],
        ] {
            assert!(Place::read(&Locator(bytes.to_vec())).is_err());
        }
    }

    #[test]
    fn a_shelf_reads_back() {
        for spot in [Spot::Channel(5), Spot::Thread { thread: 6, card: 7 }] {
            assert_eq!(Spot::read(&spot.shelf()).expect("reads"), spot);
        }
        for text in [
            "",
            "channel/",
            "channel/0",
            "thread/5",
            "thread/5/x",
            "folder/1",
        ] {
            assert!(Spot::read(&Shelf(text.into())).is_err());
        }
    }

    #[test]
    fn an_id_tells_its_time() {
        assert_eq!(made_ms(175_928_847_299_117_063), 1_462_015_105_796);
    }

    #[test]
    fn only_a_message_of_files_alone_holds_objects() {
        let message = |extra: &str| {
            let message = format!(
                r#"{{"id":"5","channel_id":"6","author":{{"id":"7"}},"content":"","embeds":[],"components":[],
                "attachments":[{{"id":"8","filename":"a","size":3,"url":"https://x"}}],"flags":4,"pinned":true{extra}}}"#
            );
            let message: Message = serde_json::from_str(&message).expect("reads");
            message.holds_objects_of(7)
        };
        assert!(message(r#","type":0"#));
        assert!(message(
            r#","type":0,"message_reference":null,"thread":{"id":"5"},"reactions":[1]"#
        ));
        for other in [
            r#","type":19,"message_reference":{"message_id":"4"}"#,
            r#","type":19"#,
            r#","type":20,"interaction_metadata":{"id":"1"}"#,
            r#","type":0,"message_reference":{"type":1}"#,
            r#","type":0,"interaction":{"id":"1"}"#,
            r#","type":0,"webhook_id":"7""#,
        ] {
            assert!(!message(other), "{other}");
        }
        for (field, something) in [
            ("content", r#""here you are""#),
            ("embeds", r#"[{"title":"a"}]"#),
            ("components", r#"[{"type":1}]"#),
        ] {
            let message = format!(
                r#"{{"id":"5","channel_id":"6","author":{{"id":"7"}},"type":0,"{field}":{something},
                "attachments":[{{"id":"8","filename":"a","size":3,"url":"https://x"}}]}}"#
            );
            let message: Message = serde_json::from_str(&message).expect("reads");
            assert!(!message.holds_objects_of(7), "{field}");
        }
    }

    #[test]
    fn a_message_of_anybody_reads_and_its_address_is_not_shown() {
        let message = r#"{"id":"5","channel_id":"6","author":{"id":"7","x":1},"type":99,"nonce":12,
            "attachments":[{"id":"8","filename":"a","size":3,"url":"https://secret"}],"new":{}}"#;
        let message: Message = serde_json::from_str(message).expect("reads");
        assert!(!message.holds_objects_of(7));
        assert!(!format!("{message:?}").contains("secret"));
    }
}
