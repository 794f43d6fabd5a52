//! The gateway's sessions: what has happened, kept for each until it is sent and a while longer.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::emulator::model::{Channel, Message, Role};
use crate::emulator::permissions::bits;
use crate::emulator::snowflake::{Snowflake, iso_us};
use crate::emulator::view::{self, View};

/// Events a session keeps for a client that is away or slow.
const EVENTS_MAX: usize = 1000;

/// Sessions kept; the oldest is forgotten for a new one.
const SESSIONS_MAX: usize = 64;

/// `GUILDS`
pub(crate) const GUILDS: u64 = 1;
/// `GUILD_MESSAGES`
pub(crate) const GUILD_MESSAGES: u64 = 1 << 9;
/// `GUILD_MESSAGE_REACTIONS`
const GUILD_MESSAGE_REACTIONS: u64 = 1 << 10;
/// `GUILD_MESSAGE_TYPING`
const GUILD_MESSAGE_TYPING: u64 = 1 << 11;

/// Something that sessions are told.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    MessageCreated(&'a Message),
    MessageUpdated(&'a Message),
    MessagesDeleted(Snowflake, Vec<Snowflake>),
    /// The same for channels and threads.
    ChannelCreated(&'a Channel),
    ChannelUpdated(&'a Channel),
    ChannelDeleted(&'a Channel),
    PinsUpdated(&'a Channel),
    Typing(Snowflake, Snowflake),
    /// Channel and message, user, emoji.
    ReactionAdded((Snowflake, Snowflake), Snowflake, &'a str),
    ReactionRemoved((Snowflake, Snowflake), Snowflake, &'a str),
    RoleUpdated(&'a Role),
}

/// What an open page is told: where to look anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// Messages of this channel or thread.
    Channel(Snowflake),
    /// Channels, roles, users or commands.
    Guild,
}

/// Whether a session has a connection, or waits for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Up,
    Down,
}

/// What the server asks of a client, or does to its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    /// Opcode 7: connect anew and resume.
    Reconnect,
    /// Opcode 9: the session is over.
    Invalidate,
    /// The connection is closed; the session can be resumed.
    Drop,
}

#[derive(Debug, Default)]
pub(crate) struct Hub {
    sessions: Mutex<HashMap<String, Session>>,
}

/// A session, connected or waiting to be resumed.
#[derive(Debug)]
pub(crate) struct Session {
    user: Snowflake,
    intents: u64,
    seq: u64,
    events: VecDeque<(u64, String)>,
    news: Arc<Notify>,
    order: Option<Order>,
    link: Link,
    born: u64,
}

impl Hub {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a session; its first event is `READY`.
    pub(crate) fn begin(&self, id: &str, user: Snowflake, intents: u64) -> Arc<Notify> {
        let mut sessions = self.lock();
        let born = sessions.values().map(|one| one.born).max().unwrap_or(0) + 1;
        if sessions.len() >= SESSIONS_MAX {
            let oldest = sessions.iter().min_by_key(|(_, one)| one.born);
            if let Some(id) = oldest.map(|(id, _)| id.clone()) {
                sessions.remove(&id);
            }
        }
        let news = Arc::new(Notify::new());
        let session = Session {
            user,
            intents,
            seq: 0,
            events: VecDeque::new(),
            news: Arc::clone(&news),
            order: None,
            link: Link::Up,
            born,
        };
        sessions.insert(id.to_owned(), session);
        news
    }

    /// Takes a session up again, if it is this user's and still has what came after `seq`.
    pub(crate) fn resume(&self, id: &str, user: Snowflake, seq: u64) -> Option<Arc<Notify>> {
        let mut sessions = self.lock();
        let session = sessions.get_mut(id).filter(|one| one.user == user)?;
        let oldest = session
            .events
            .front()
            .map_or(session.seq + 1, |(first, _)| *first);
        if seq > session.seq || seq + 1 < oldest {
            return None;
        }
        session.link = Link::Up;
        Some(Arc::clone(&session.news))
    }

    pub(crate) fn end(&self, id: &str) {
        self.lock().remove(id);
    }

    /// Puts one event into one session.
    pub(crate) fn push(&self, id: &str, name: &str, data: &Value) {
        if let Some(session) = self.lock().get_mut(id) {
            session.push(name, data);
        }
    }

    /// The connection of a session is gone.
    pub(crate) fn hang_up(&self, id: &str) {
        if let Some(session) = self.lock().get_mut(id) {
            session.link = Link::Down;
        }
    }

    /// Connected sessions of a user.
    pub(crate) fn connected(&self, user: Snowflake) -> usize {
        let sessions = self.lock();
        let all = sessions.values().filter(|one| one.user == user);
        all.filter(|one| one.link == Link::Up).count()
    }

    /// Puts one event into all sessions of a user, whatever they asked for; says how many are
    /// connected.
    pub(crate) fn push_to(&self, user: Snowflake, name: &str, data: &Value) -> usize {
        let mut sessions = self.lock();
        let mut connected = 0;
        for session in sessions.values_mut().filter(|one| one.user == user) {
            session.push(name, data);
            connected += usize::from(session.link == Link::Up);
        }
        connected
    }

    /// Gives every session an order; says how many there are.
    pub(crate) fn order(&self, order: Order) -> usize {
        let mut sessions = self.lock();
        for session in sessions.values_mut() {
            session.order = Some(order);
            session.news.notify_one();
        }
        sessions.len()
    }

    /// The order a session has not yet carried out.
    pub(crate) fn take_order(&self, id: &str) -> Option<Order> {
        self.lock().get_mut(id)?.order.take()
    }

    /// Events after `seq`, or `None` if the session is gone or has forgotten some of them.
    pub(crate) fn after(&self, id: &str, seq: u64) -> Option<Vec<(u64, String)>> {
        let sessions = self.lock();
        let session = sessions.get(id)?;
        let oldest = session
            .events
            .front()
            .map_or(session.seq + 1, |(first, _)| *first);
        if seq + 1 < oldest {
            return None;
        }
        let later = session.events.iter().filter(|(at, _)| *at > seq);
        Some(later.cloned().collect())
    }

    /// Tells every session that asked for this kind of event and may see it.
    pub(crate) fn dispatch<'a>(&self, event: &Event<'_>, view: impl Fn(Snowflake) -> View<'a>) {
        let mut sessions = self.lock();
        for session in sessions.values_mut() {
            if session.intents & event.intent() == 0 {
                continue;
            }
            let view = view(session.user);
            if !event.is_visible(&view) {
                continue;
            }
            let (name, data) = event.render(&view);
            session.push(name, &data);
        }
    }
}

impl Session {
    fn push(&mut self, name: &str, data: &Value) {
        self.seq += 1;
        let event = json!({"op": 0, "t": name, "s": self.seq, "d": data});
        self.events.push_back((self.seq, event.to_string()));
        if self.events.len() > EVENTS_MAX {
            self.events.pop_front();
        }
        self.news.notify_one();
    }
}

impl Event<'_> {
    fn intent(&self) -> u64 {
        match self {
            Self::MessageCreated(_) | Self::MessageUpdated(_) | Self::MessagesDeleted(..) => {
                GUILD_MESSAGES
            }
            Self::ChannelCreated(_)
            | Self::ChannelUpdated(_)
            | Self::ChannelDeleted(_)
            | Self::PinsUpdated(_)
            | Self::RoleUpdated(_) => GUILDS,
            Self::Typing(..) => GUILD_MESSAGE_TYPING,
            Self::ReactionAdded(..) | Self::ReactionRemoved(..) => GUILD_MESSAGE_REACTIONS,
        }
    }

    /// Where an open page has to look.
    pub(crate) fn news(&self) -> News {
        match self {
            Self::MessageCreated(message) | Self::MessageUpdated(message) => {
                News::Channel(message.channel)
            }
            Self::MessagesDeleted(channel, _)
            | Self::Typing(channel, _)
            | Self::ReactionAdded((channel, _), ..)
            | Self::ReactionRemoved((channel, _), ..) => News::Channel(*channel),
            Self::ChannelCreated(_)
            | Self::ChannelUpdated(_)
            | Self::ChannelDeleted(_)
            | Self::PinsUpdated(_)
            | Self::RoleUpdated(_) => News::Guild,
        }
    }

    fn is_visible(&self, view: &View<'_>) -> bool {
        let channel = match self {
            Self::MessageCreated(message) | Self::MessageUpdated(message) => message.channel,
            Self::MessagesDeleted(channel, _)
            | Self::Typing(channel, _)
            | Self::ReactionAdded((channel, _), ..)
            | Self::ReactionRemoved((channel, _), ..) => *channel,
            Self::ChannelCreated(channel)
            | Self::ChannelUpdated(channel)
            | Self::ChannelDeleted(channel)
            | Self::PinsUpdated(channel) => channel.id,
            Self::RoleUpdated(_) => return true,
        };
        let Ok(room) = view.world.room(channel) else {
            return false;
        };
        view.world.permissions(view.viewer, &room.channel) & bits::VIEW_CHANNEL != 0
    }

    fn render(&self, view: &View<'_>) -> (&'static str, Value) {
        let guild = view.world.identity.guild;
        match self {
            Self::MessageCreated(message) => {
                let mut data = message_data(message, view);
                if let Some(nonce) = &message.nonce {
                    data["nonce"] = nonce.clone();
                }
                ("MESSAGE_CREATE", data)
            }
            Self::MessageUpdated(message) => ("MESSAGE_UPDATE", message_data(message, view)),
            Self::MessagesDeleted(channel, ids) => match ids.as_slice() {
                [id] => (
                    "MESSAGE_DELETE",
                    json!({"id": id, "channel_id": channel, "guild_id": guild}),
                ),
                ids => (
                    "MESSAGE_DELETE_BULK",
                    json!({"ids": ids, "channel_id": channel, "guild_id": guild}),
                ),
            },
            Self::ChannelCreated(channel) => {
                let mut data = view.channel(channel);
                if channel.thread.is_some() {
                    data["newly_created"] = json!(true);
                }
                (either(channel, "CHANNEL_CREATE", "THREAD_CREATE"), data)
            }
            Self::ChannelUpdated(channel) => (
                either(channel, "CHANNEL_UPDATE", "THREAD_UPDATE"),
                view.channel(channel),
            ),
            Self::ChannelDeleted(channel) => (
                either(channel, "CHANNEL_DELETE", "THREAD_DELETE"),
                view.channel(channel),
            ),
            Self::PinsUpdated(channel) => (
                "CHANNEL_PINS_UPDATE",
                json!({
                    "channel_id": channel.id, "guild_id": guild,
                    "last_pin_timestamp": channel.last_pin_us.map(iso_us),
                }),
            ),
            Self::Typing(channel, user) => (
                "TYPING_START",
                json!({
                    "channel_id": channel, "guild_id": guild, "user_id": user,
                    "timestamp": view.now_ms / 1000,
                    "member": view.world.members.get(user).map(|one| view.member(one)),
                }),
            ),
            Self::ReactionAdded(at, user, emoji) => (
                "MESSAGE_REACTION_ADD",
                reaction_data(view, *at, *user, emoji),
            ),
            Self::ReactionRemoved(at, user, emoji) => (
                "MESSAGE_REACTION_REMOVE",
                reaction_data(view, *at, *user, emoji),
            ),
            Self::RoleUpdated(role) => (
                "GUILD_ROLE_UPDATE",
                json!({"guild_id": guild, "role": view::role(role)}),
            ),
        }
    }
}

fn either(channel: &Channel, plain: &'static str, thread: &'static str) -> &'static str {
    if channel.thread.is_some() {
        thread
    } else {
        plain
    }
}

fn message_data(message: &Message, view: &View<'_>) -> Value {
    let mut data = view.message(message);
    data["guild_id"] = json!(view.world.identity.guild);
    if let Some(member) = view.world.members.get(&message.author) {
        let mut member = view.member(member);
        if let Some(member) = member.as_object_mut() {
            member.remove("user");
        }
        data["member"] = member;
    }
    data
}

fn reaction_data(
    view: &View<'_>,
    (channel, message): (Snowflake, Snowflake),
    user: Snowflake,
    emoji: &str,
) -> Value {
    json!({
        "user_id": user, "channel_id": channel, "message_id": message,
        "guild_id": view.world.identity.guild,
        "emoji": {"id": null, "name": emoji},
        "burst": false, "type": 0,
        "member": view.world.members.get(&user).map(|one| view.member(one)),
    })
}
