//! The state of the guild: changed only by records, each logged before it is applied.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::sync::Arc;

use crate::emulator::blobs::Blobs;
use crate::emulator::log::Log;
use crate::emulator::model::{
    Attachment, Channel, Command, Guild, Identity, Member, Message, Record, Role, THREAD_STARTER,
    User,
};
use crate::emulator::reply::Refusal;
use crate::emulator::snowflake::{Maker, Snowflake};
use crate::emulator::whispers::Whispers;

/// Nonces remembered before old ones are first swept; then whenever they have doubled.
const NONCES_SWEPT_AT: usize = 4096;

/// A channel or thread with its messages.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) channel: Channel,
    pub(crate) messages: BTreeMap<Snowflake, Message>,
}

/// A message that lists do not show yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hidden {
    pub(crate) until_ms: u64,
    pub(crate) listings: u64,
}

/// An attachment that was deleted and may still be served.
#[derive(Debug)]
pub(crate) struct Deleted {
    pub(crate) until_ms: u64,
    pub(crate) channel: Snowflake,
    pub(crate) attachment: Attachment,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) identity: Identity,
    pub(crate) guild: Guild,
    pub(crate) users: BTreeMap<Snowflake, User>,
    pub(crate) roles: BTreeMap<Snowflake, Role>,
    pub(crate) members: BTreeMap<Snowflake, Member>,
    pub(crate) rooms: BTreeMap<Snowflake, Room>,
    pub(crate) commands: BTreeMap<Snowflake, Command>,
    /// Channel and message of each attachment.
    pub(crate) attachments: HashMap<Snowflake, (Snowflake, Snowflake)>,
    pub(crate) deleted: VecDeque<Deleted>,
    pub(crate) whispers: Whispers,
    pub(crate) hidden: HashMap<Snowflake, Hidden>,
    /// Attachments whose next GETs give wrong bytes.
    pub(crate) flawed: HashMap<Snowflake, u64>,
    /// Message made with a nonce, and when.
    nonces: HashMap<(Snowflake, Snowflake, String), (Snowflake, u64)>,
    nonces_swept_at: usize,
    pub(crate) ids: Maker,
    last_stamp_us: u64,
    keep_deleted_ms: u64,
    blobs: Arc<Blobs>,
    log: Option<Log>,
    stage: Stage,
}

/// Whether changes are still taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    /// Stopped: what is still under way must not reach a log that another emulator may have.
    Closed,
}

impl World {
    /// A world that has nothing yet; records fill it.
    pub(crate) fn empty(blobs: Arc<Blobs>) -> Self {
        let nobody = Identity {
            guild: Snowflake(0),
            bot: Snowflake(0),
            token: String::new(),
            member: Snowflake(0),
            member_token: String::new(),
            owner: Snowflake(0),
            bot_role: Snowflake(0),
            cdn_key: String::new(),
        };
        let guild = Guild {
            name: String::new(),
            premium_tier: 0,
        };
        Self {
            identity: nobody,
            guild,
            users: BTreeMap::new(),
            roles: BTreeMap::new(),
            members: BTreeMap::new(),
            rooms: BTreeMap::new(),
            commands: BTreeMap::new(),
            attachments: HashMap::new(),
            deleted: VecDeque::new(),
            whispers: Whispers::default(),
            hidden: HashMap::new(),
            flawed: HashMap::new(),
            nonces: HashMap::new(),
            nonces_swept_at: NONCES_SWEPT_AT,
            ids: Maker::default(),
            last_stamp_us: 0,
            keep_deleted_ms: 0,
            blobs,
            log: None,
            stage: Stage::Open,
        }
    }

    /// From now on changes go to this log. It is rewritten when most of it is history.
    pub(crate) fn attach(&mut self, mut log: Log, replayed: u64) -> io::Result<()> {
        let live: usize = self
            .rooms
            .values()
            .map(|room| room.messages.len() + 2)
            .sum();
        if replayed > 2 * live as u64 + 1000 {
            log.rewrite(self.snapshot())?;
        }
        self.log = Some(log);
        Ok(())
    }

    fn snapshot(&self) -> impl Iterator<Item = Record> + '_ {
        let channels = || {
            self.rooms
                .values()
                .map(|room| Record::Channel(room.channel.clone()))
        };
        let messages = self.rooms.values().flat_map(|room| room.messages.values());
        let head = [
            Record::Identity(self.identity.clone()),
            Record::Guild(self.guild.clone()),
        ];
        head.into_iter()
            .chain(self.users.values().cloned().map(Record::User))
            .chain(self.roles.values().cloned().map(Record::Role))
            .chain(self.members.values().cloned().map(Record::Member))
            .chain(
                self.commands
                    .values()
                    .cloned()
                    .map(|one| Record::Command(Box::new(one))),
            )
            .chain(channels())
            .chain(messages.map(|message| Record::Message(Box::new(message.clone()))))
            // Once more: replaying the messages has counted them again.
            .chain(channels())
    }

    /// Logs a change, then makes it.
    pub(crate) fn commit(&mut self, record: Record, now_ms: u64) -> Result<(), Refusal> {
        if self.stage == Stage::Closed {
            return Err(Refusal::Broken);
        }
        if let Some(log) = &mut self.log {
            log.append(&record).map_err(|error| {
                log::error!("emulator: cannot write the log: {error}");
                Refusal::Broken
            })?;
        }
        self.apply(record, now_ms);
        self.bury(now_ms);
        Ok(())
    }

    /// Takes no more changes.
    pub(crate) fn close(&mut self) {
        self.stage = Stage::Closed;
    }

    /// Makes a change that is in the log.
    pub(crate) fn apply(&mut self, record: Record, now_ms: u64) {
        match record {
            Record::Identity(identity) => self.identity = identity,
            Record::Guild(guild) => self.guild = guild,
            Record::User(user) => {
                self.ids.seen(user.id);
                self.users.insert(user.id, user);
            }
            Record::Role(role) => {
                self.ids.seen(role.id);
                self.roles.insert(role.id, role);
            }
            Record::Member(member) => drop(self.members.insert(member.user, member)),
            Record::Channel(channel) => self.put_channel(channel),
            Record::ChannelGone(id) => self.drop_channel(id, now_ms),
            Record::Message(message) => self.put_message(*message, now_ms),
            Record::MessagesGone(channel, ids) => {
                for id in ids {
                    self.drop_message(channel, id, now_ms);
                }
            }
            Record::Command(command) => {
                self.ids.seen(command.id);
                self.ids.seen(command.version);
                self.commands.insert(command.id, *command);
            }
            Record::CommandGone(id) => drop(self.commands.remove(&id)),
        }
    }

    fn put_channel(&mut self, channel: Channel) {
        self.ids.seen(channel.id);
        match self.rooms.get_mut(&channel.id) {
            Some(room) => room.channel = channel,
            None => {
                let messages = BTreeMap::new();
                self.rooms.insert(channel.id, Room { channel, messages });
            }
        }
    }

    fn drop_channel(&mut self, id: Snowflake, now_ms: u64) {
        let threads: Vec<Snowflake> = self.threads_of(id).map(|thread| thread.id).collect();
        for thread in threads {
            self.drop_channel(thread, now_ms);
        }
        if let Some(room) = self.rooms.remove(&id) {
            for message in room.messages.into_values() {
                self.drop_attachments(id, message.attachments, now_ms);
            }
        }
    }

    fn put_message(&mut self, mut message: Message, now_ms: u64) {
        self.ids.seen(message.id);
        let Some(room) = self.rooms.get_mut(&message.channel) else {
            return;
        };
        for attachment in &message.attachments {
            self.ids.seen(attachment.id);
            self.attachments
                .insert(attachment.id, (message.channel, message.id));
        }
        if let Some(old) = room.messages.get(&message.id) {
            let kept = |id| message.attachments.iter().any(|one| one.id == id);
            let gone: Vec<Attachment> = old
                .attachments
                .iter()
                .filter(|one| !kept(one.id))
                .cloned()
                .collect();
            let channel = message.channel;
            room.messages.insert(message.id, message);
            return self.drop_attachments(channel, gone, now_ms);
        }
        let made_ms = message.id.created_ms();
        room.channel.last_message = Some(message.id);
        if let Some(thread) = &mut room.channel.thread
            && message.kind != THREAD_STARTER
        {
            message.position = thread.total_sent;
            // A forum post's first message has the thread's id and is not counted.
            if message.id != message.channel {
                thread.message_count += 1;
                thread.total_sent += 1;
            }
            thread.active_ms = made_ms;
            if thread.archived {
                thread.archived = false;
                thread.archive_us = made_ms * 1000;
            }
        }
        if let Some(nonce) = &message.nonce {
            let key = (message.author, message.channel, nonce_text(nonce));
            self.nonces.insert(key, (message.id, made_ms));
        }
        room.messages.insert(message.id, message);
    }

    fn drop_message(&mut self, channel: Snowflake, id: Snowflake, now_ms: u64) {
        let Some(room) = self.rooms.get_mut(&channel) else {
            return;
        };
        let Some(message) = room.messages.remove(&id) else {
            return;
        };
        if let Some(thread) = &mut room.channel.thread
            && message.id != message.channel
        {
            thread.message_count = thread.message_count.saturating_sub(1);
        }
        self.hidden.remove(&id);
        self.drop_attachments(channel, message.attachments, now_ms);
    }

    fn drop_attachments(&mut self, channel: Snowflake, gone: Vec<Attachment>, now_ms: u64) {
        for attachment in gone {
            self.attachments.remove(&attachment.id);
            self.flawed.remove(&attachment.id);
            self.deleted.push_back(Deleted {
                until_ms: now_ms + self.keep_deleted_ms,
                channel,
                attachment,
            });
        }
    }

    /// Removes the bytes of deleted attachments whose time is over.
    pub(crate) fn bury(&mut self, now_ms: u64) {
        while self
            .deleted
            .front()
            .is_some_and(|one| one.until_ms <= now_ms)
        {
            if let Some(one) = self.deleted.pop_front() {
                self.blobs.remove(one.attachment.id);
            }
        }
        for id in self.whispers.forget(now_ms) {
            self.blobs.remove(id);
        }
    }

    /// How long deleted attachments are still served.
    pub(crate) fn set_keep_deleted_ms(&mut self, ms: u64) {
        self.keep_deleted_ms = ms;
    }

    /// The message that this author made with this nonce, if the nonce is still remembered.
    pub(crate) fn by_nonce(
        &mut self,
        author: Snowflake,
        channel: Snowflake,
        nonce: &serde_json::Value,
        oldest_ms: u64,
    ) -> Option<Snowflake> {
        if self.nonces.len() > self.nonces_swept_at {
            self.nonces.retain(|_, (_, made_ms)| *made_ms >= oldest_ms);
            self.nonces_swept_at = NONCES_SWEPT_AT.max(2 * self.nonces.len());
        }
        let key = (author, channel, nonce_text(nonce));
        let (message, made_ms) = self.nonces.get(&key)?;
        (*made_ms >= oldest_ms).then_some(*message)
    }

    pub(crate) fn room(&self, id: Snowflake) -> Result<&Room, Refusal> {
        self.rooms.get(&id).ok_or(Refusal::UnknownChannel)
    }

    pub(crate) fn message(&self, channel: Snowflake, id: Snowflake) -> Result<&Message, Refusal> {
        let room = self.room(channel)?;
        room.messages.get(&id).ok_or(Refusal::UnknownMessage)
    }

    pub(crate) fn threads(&self) -> impl Iterator<Item = &Channel> {
        let channels = self.rooms.values().map(|room| &room.channel);
        channels.filter(|channel| channel.thread.is_some())
    }

    pub(crate) fn threads_of(&self, parent: Snowflake) -> impl Iterator<Item = &Channel> {
        self.threads()
            .filter(move |thread| thread.parent == Some(parent))
    }

    /// A time in microseconds that no other event has: lists are paged by it.
    pub(crate) fn stamp_us(&mut self, now_ms: u64) -> u64 {
        self.last_stamp_us = (now_ms * 1000).max(self.last_stamp_us + 1);
        self.last_stamp_us
    }

    /// The user a token belongs to.
    pub(crate) fn user_of(&self, token: &str) -> Option<Snowflake> {
        if token == self.identity.token {
            Some(self.identity.bot)
        } else if token == self.identity.member_token {
            Some(self.identity.member)
        } else {
            None
        }
    }
}

fn nonce_text(nonce: &serde_json::Value) -> String {
    match nonce {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
