//! What a guild is made of, as it is kept.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::emulator::snowflake::Snowflake;

/// Who is who. Made once, with the guild.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) guild: Snowflake,
    /// The bot's user id, which is also its application's id.
    pub(crate) bot: Snowflake,
    pub(crate) token: String,
    /// An ordinary member.
    pub(crate) member: Snowflake,
    pub(crate) member_token: String,
    pub(crate) owner: Snowflake,
    /// The role that holds the bot's permissions.
    pub(crate) bot_role: Snowflake,
    /// Hexadecimal key of the CDN's signatures.
    pub(crate) cdn_key: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Guild {
    pub(crate) name: String,
    pub(crate) premium_tier: u8,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct User {
    pub(crate) id: Snowflake,
    pub(crate) name: String,
    pub(crate) kind: UserKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum UserKind {
    Bot,
    Person,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Role {
    pub(crate) id: Snowflake,
    pub(crate) name: String,
    pub(crate) permissions: u64,
    pub(crate) position: u32,
    pub(crate) bot: Option<Snowflake>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Member {
    pub(crate) user: Snowflake,
    pub(crate) roles: Vec<Snowflake>,
    pub(crate) joined_ms: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Overwrite {
    pub(crate) id: Snowflake,
    pub(crate) whom: Whom,
    pub(crate) allow: u64,
    pub(crate) deny: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Whom {
    Role,
    Member,
}

/// A channel or thread, without its messages.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Channel {
    pub(crate) id: Snowflake,
    pub(crate) kind: u8,
    pub(crate) name: String,
    pub(crate) parent: Option<Snowflake>,
    #[serde(default)]
    pub(crate) topic: Option<String>,
    #[serde(default)]
    pub(crate) position: u32,
    #[serde(default)]
    pub(crate) nsfw: bool,
    #[serde(default)]
    pub(crate) slowmode_s: u32,
    #[serde(default)]
    pub(crate) overwrites: Vec<Overwrite>,
    #[serde(default)]
    pub(crate) default_auto_archive_min: Option<u32>,
    #[serde(default)]
    pub(crate) last_message: Option<Snowflake>,
    #[serde(default)]
    pub(crate) last_pin_us: Option<u64>,
    #[serde(default)]
    pub(crate) thread: Option<Thread>,
}

pub(crate) const TEXT: u8 = 0;
pub(crate) const VOICE: u8 = 2;
pub(crate) const CATEGORY: u8 = 4;
pub(crate) const ANNOUNCEMENT: u8 = 5;
pub(crate) const ANNOUNCEMENT_THREAD: u8 = 10;
pub(crate) const PUBLIC_THREAD: u8 = 11;
pub(crate) const PRIVATE_THREAD: u8 = 12;
pub(crate) const FORUM: u8 = 15;

impl Channel {
    pub(crate) fn new(id: Snowflake, kind: u8, name: &str, parent: Option<Snowflake>) -> Self {
        Self {
            id,
            kind,
            name: name.to_owned(),
            parent,
            topic: None,
            position: 0,
            nsfw: false,
            slowmode_s: 0,
            overwrites: Vec::new(),
            default_auto_archive_min: None,
            last_message: None,
            last_pin_us: None,
            thread: None,
        }
    }
}

/// What only threads have.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Thread {
    pub(crate) owner: Snowflake,
    pub(crate) archived: bool,
    pub(crate) locked: bool,
    pub(crate) invitable: bool,
    pub(crate) archive_us: u64,
    pub(crate) auto_archive_min: u32,
    /// Start of the inactivity that archives it.
    pub(crate) active_ms: u64,
    pub(crate) message_count: u64,
    pub(crate) total_sent: u64,
    pub(crate) members: Vec<(Snowflake, u64)>,
    #[serde(default)]
    pub(crate) applied_tags: Vec<Snowflake>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Attachment {
    pub(crate) id: Snowflake,
    pub(crate) filename: String,
    /// The size that is told; the stored bytes may be fewer after a fault.
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) content_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
}

pub(crate) const DEFAULT: u8 = 0;
pub(crate) const PINNED: u8 = 6;
pub(crate) const THREAD_CREATED: u8 = 18;
pub(crate) const REPLY: u8 = 19;
/// The answer to a slash command.
pub(crate) const COMMAND_ANSWER: u8 = 20;
pub(crate) const THREAD_STARTER: u8 = 21;
/// The answer to a command of a user's or message's menu.
pub(crate) const MENU_ANSWER: u8 = 23;

/// `1 << 5`: the message has a thread.
pub(crate) const HAS_THREAD: u64 = 1 << 5;
/// Only one user sees the message.
pub(crate) const EPHEMERAL: u64 = 1 << 6;
/// The answer to an interaction that is still to come.
pub(crate) const LOADING: u64 = 1 << 7;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Message {
    pub(crate) id: Snowflake,
    pub(crate) channel: Snowflake,
    pub(crate) author: Snowflake,
    #[serde(default)]
    pub(crate) kind: u8,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) content: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) embeds: Vec<Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) components: Vec<Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) attachments: Vec<Attachment>,
    #[serde(default)]
    pub(crate) flags: u64,
    #[serde(default)]
    pub(crate) tts: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) nonce: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) edited_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pinned_us: Option<u64>,
    /// Channel and message this one replies to, pins or starts from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reference: Option<(Snowflake, Option<Snowflake>)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) reactions: Vec<(String, Vec<Snowflake>)>,
    /// Number of the message in its thread.
    #[serde(default)]
    pub(crate) position: u64,
    /// Fields that say which interaction this message answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) origin: Option<Value>,
}

/// A command that an application has registered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Command {
    pub(crate) id: Snowflake,
    /// The guild it is for; all of them when absent.
    pub(crate) guild: Option<Snowflake>,
    pub(crate) version: Snowflake,
    /// Checked and complete, as it comes back, but for the ids.
    pub(crate) form: Value,
}

impl Command {
    pub(crate) fn name(&self) -> &str {
        self.form["name"].as_str().unwrap_or_default()
    }

    pub(crate) fn kind(&self) -> u64 {
        self.form["type"].as_u64().unwrap_or(1)
    }
}

impl Message {
    pub(crate) fn new(id: Snowflake, channel: Snowflake, author: Snowflake, kind: u8) -> Self {
        Self {
            id,
            channel,
            author,
            kind,
            content: String::new(),
            embeds: Vec::new(),
            components: Vec::new(),
            attachments: Vec::new(),
            flags: 0,
            tts: false,
            nonce: None,
            edited_ms: None,
            pinned_us: None,
            reference: None,
            reactions: Vec::new(),
            position: 0,
            origin: None,
        }
    }

    /// Is there nothing to show?
    pub(crate) fn is_empty(&self) -> bool {
        self.content.is_empty()
            && self.embeds.is_empty()
            && self.attachments.is_empty()
            && self.components.is_empty()
    }

    pub(crate) fn is_ephemeral(&self) -> bool {
        self.flags & EPHEMERAL != 0
    }

    /// Was it written by a user, rather than made by the service?
    pub(crate) fn is_ordinary(&self) -> bool {
        matches!(self.kind, DEFAULT | REPLY | COMMAND_ANSWER | MENU_ANSWER)
    }

    pub(crate) fn mentions(&self, user: Snowflake) -> bool {
        self.content.contains("<@")
            && (self.content.contains(&format!("<@{user}>"))
                || self.content.contains(&format!("<@!{user}>")))
    }
}

/// One change of the guild: what the log on disk is made of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Record {
    Identity(Identity),
    Guild(Guild),
    User(User),
    Role(Role),
    Member(Member),
    /// A new or changed channel or thread.
    Channel(Channel),
    ChannelGone(Snowflake),
    /// A new message, or the new state of one that is there.
    Message(Box<Message>),
    MessagesGone(Snowflake, Vec<Snowflake>),
    /// A new or changed command.
    Command(Box<Command>),
    CommandGone(Snowflake),
}
