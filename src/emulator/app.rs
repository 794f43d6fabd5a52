//! What all requests share, and the changes that more than one of them makes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;

use crate::emulator::blobs::Blobs;
use crate::emulator::clock::Clock;
use crate::emulator::counts::Counts;
use crate::emulator::desk::Desk;
use crate::emulator::faults::Faults;
use crate::emulator::hub::{Event, Hub, News};
use crate::emulator::model::{Channel, Message, Record};
use crate::emulator::ratelimit::Limiter;
use crate::emulator::reply::Refusal;
use crate::emulator::settings::{Limits, MessageContent};
use crate::emulator::snowflake::Snowflake;
use crate::emulator::urls::Signer;
use crate::emulator::view::View;
use crate::emulator::wire::{OpenWires, Speed};
use crate::emulator::world::World;

/// News that an open page may be behind before it looks at everything anew.
const NEWS_MAX: usize = 256;

/// The emulator's insides. Locks are short and never held across an await; `world` is taken
/// before any other.
#[derive(Debug)]
pub(crate) struct App {
    world: Mutex<World>,
    limits: Mutex<Arc<Limits>>,
    limiter: Mutex<Limiter>,
    faults: Mutex<Faults>,
    counts: Mutex<Counts>,
    message_content: Mutex<MessageContent>,
    desk: Mutex<Desk>,
    news: broadcast::Sender<News>,
    pub(crate) blobs: Arc<Blobs>,
    pub(crate) hub: Hub,
    pub(crate) clock: Clock,
    pub(crate) signer: Signer,
    pub(crate) token_revoked: AtomicBool,
    pub(crate) in_flight: AtomicU64,
    pub(crate) speed: Speed,
    pub(crate) wires: OpenWires,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl App {
    pub(crate) fn new(
        world: World,
        blobs: Arc<Blobs>,
        clock: Clock,
        signer: Signer,
        message_content: MessageContent,
        faults: Faults,
    ) -> Self {
        Self {
            world: Mutex::new(world),
            limits: Mutex::default(),
            limiter: Mutex::default(),
            faults: Mutex::new(faults),
            counts: Mutex::default(),
            message_content: Mutex::new(message_content),
            desk: Mutex::default(),
            news: broadcast::channel(NEWS_MAX).0,
            blobs,
            hub: Hub::default(),
            clock,
            signer,
            token_revoked: AtomicBool::new(false),
            in_flight: AtomicU64::new(0),
            speed: Speed::default(),
            wires: OpenWires::default(),
        }
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.world)
    }

    pub(crate) fn limits(&self) -> Arc<Limits> {
        Arc::clone(&lock(&self.limits))
    }

    pub(crate) fn set_limits(&self, limits: Limits) {
        self.speed
            .store(limits.bytes_per_s.unwrap_or(0), Ordering::Relaxed);
        self.world()
            .set_keep_deleted_ms(limits.cdn_keep_deleted_s * 1000);
        *lock(&self.limits) = Arc::new(limits);
    }

    pub(crate) fn limiter(&self) -> MutexGuard<'_, Limiter> {
        lock(&self.limiter)
    }

    pub(crate) fn faults(&self) -> MutexGuard<'_, Faults> {
        lock(&self.faults)
    }

    pub(crate) fn counts(&self) -> MutexGuard<'_, Counts> {
        lock(&self.counts)
    }

    pub(crate) fn desk(&self) -> MutexGuard<'_, Desk> {
        lock(&self.desk)
    }

    /// Tells the open pages that there is something to see.
    pub(crate) fn tell(&self, news: News) {
        // Nobody has the page open: nobody to tell.
        drop(self.news.send(news));
    }

    pub(crate) fn news(&self) -> broadcast::Receiver<News> {
        self.news.subscribe()
    }

    pub(crate) fn message_content(&self) -> MessageContent {
        *lock(&self.message_content)
    }

    pub(crate) fn set_message_content(&self, content: MessageContent) {
        *lock(&self.message_content) = content;
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    pub(crate) fn attachment_bytes_max(&self) -> u64 {
        let tier = self.world().guild.premium_tier;
        self.limits().attachment_bytes_max(tier)
    }

    /// The world as one user sees it.
    pub(crate) fn view<'a>(&'a self, world: &'a World, viewer: Snowflake) -> View<'a> {
        View {
            world,
            signer: &self.signer,
            viewer,
            now_ms: self.now_ms(),
            url_lifetime_s: self.limits().url_lifetime_s,
            message_content: self.message_content(),
        }
    }

    /// Tells the gateway's sessions, and the open pages.
    pub(crate) fn announce(&self, world: &World, event: &Event<'_>) {
        self.tell(event.news());
        self.hub.dispatch(event, |viewer| self.view(world, viewer));
    }

    /// Stores a new message and tells.
    pub(crate) fn post(&self, world: &mut World, message: Message) -> Result<(), Refusal> {
        let (channel, id) = (message.channel, message.id);
        let asleep = world
            .room(channel)?
            .channel
            .thread
            .as_ref()
            .is_some_and(|one| one.archived);
        world.commit(Record::Message(Box::new(message)), self.now_ms())?;
        let room = world.room(channel)?;
        if asleep {
            self.announce(world, &Event::ChannelUpdated(&room.channel));
        }
        if let Some(message) = room.messages.get(&id) {
            self.announce(world, &Event::MessageCreated(message));
        }
        Ok(())
    }

    /// Stores a message's new state and tells.
    pub(crate) fn amend(&self, world: &mut World, message: Message) -> Result<(), Refusal> {
        let (channel, id) = (message.channel, message.id);
        world.commit(Record::Message(Box::new(message)), self.now_ms())?;
        self.announce(world, &Event::MessageUpdated(world.message(channel, id)?));
        Ok(())
    }

    /// Deletes messages of one channel and tells.
    pub(crate) fn delete_messages(
        &self,
        world: &mut World,
        channel: Snowflake,
        ids: Vec<Snowflake>,
    ) -> Result<(), Refusal> {
        let event = Event::MessagesDeleted(channel, ids.clone());
        world.commit(Record::MessagesGone(channel, ids), self.now_ms())?;
        self.announce(world, &event);
        Ok(())
    }

    /// Stores a new channel or thread, or the new state of one, and tells.
    pub(crate) fn put_channel(&self, world: &mut World, channel: Channel) -> Result<(), Refusal> {
        let id = channel.id;
        let known = world.rooms.contains_key(&id);
        world.commit(Record::Channel(channel), self.now_ms())?;
        let channel = &world.room(id)?.channel;
        self.announce(
            world,
            &if known {
                Event::ChannelUpdated(channel)
            } else {
                Event::ChannelCreated(channel)
            },
        );
        Ok(())
    }

    /// Deletes a channel or thread with everything in it and tells.
    pub(crate) fn delete_channel(
        &self,
        world: &mut World,
        id: Snowflake,
    ) -> Result<Channel, Refusal> {
        let channel = world.room(id)?.channel.clone();
        self.announce(world, &Event::ChannelDeleted(&channel));
        world.commit(Record::ChannelGone(id), self.now_ms())?;
        Ok(channel)
    }

    /// Archives a thread, or does nothing if it is no thread or archived already.
    pub(crate) fn archive(
        &self,
        world: &mut World,
        id: Snowflake,
        lock: Lock,
    ) -> Result<(), Refusal> {
        let stamp_us = world.stamp_us(self.now_ms());
        let mut channel = world.room(id)?.channel.clone();
        let Some(thread) = &mut channel.thread else {
            return Ok(());
        };
        if thread.archived && (thread.locked || lock == Lock::Leave) {
            return Ok(());
        }
        thread.archived = true;
        thread.archive_us = stamp_us;
        thread.locked |= lock == Lock::Lock;
        self.put_channel(world, channel)
    }

    /// Archives the threads that have been silent for long enough.
    pub(crate) fn archive_silent(&self, world: &mut World) -> Result<(), Refusal> {
        let now_ms = self.now_ms();
        let is_silent = |channel: &&Channel| {
            channel.thread.as_ref().is_some_and(|thread| {
                let limit_ms = u64::from(thread.auto_archive_min) * 60_000;
                !thread.archived && now_ms.saturating_sub(thread.active_ms) >= limit_ms
            })
        };
        let silent: Vec<Snowflake> = world
            .threads()
            .filter(is_silent)
            .map(|one| one.id)
            .collect();
        for id in silent {
            self.archive(world, id, Lock::Leave)?;
        }
        Ok(())
    }

    /// Changes the permission bits of the bot's role.
    pub(crate) fn change_bot_role(&self, change: impl FnOnce(u64) -> u64) -> Result<(), Refusal> {
        let mut world = self.world();
        let id = world.identity.bot_role;
        let Some(mut role) = world.roles.get(&id).cloned() else {
            return Err(Refusal::UnknownRole);
        };
        role.permissions = change(role.permissions);
        world.commit(Record::Role(role), self.now_ms())?;
        if let Some(role) = world.roles.get(&id) {
            self.announce(&world, &Event::RoleUpdated(role));
        }
        Ok(())
    }
}

/// Whether archiving a thread also locks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lock {
    Leave,
    Lock,
}
