//! Who may do what: Discord's algorithm over roles and overwrites.

use crate::emulator::model::{Channel, PRIVATE_THREAD, Whom};
use crate::emulator::reply::Refusal;
use crate::emulator::snowflake::Snowflake;
use crate::emulator::world::World;

/// Bits of Discord's permissions that the emulator looks at.
pub mod bits {
    /// Everything, everywhere.
    pub const ADMINISTRATOR: u64 = 1 << 3;
    /// Create, change and delete channels.
    pub const MANAGE_CHANNELS: u64 = 1 << 4;
    /// Change the guild itself.
    pub const MANAGE_GUILD: u64 = 1 << 5;
    /// Add a reaction that is not there yet.
    pub const ADD_REACTIONS: u64 = 1 << 6;
    /// See a channel at all.
    pub const VIEW_CHANNEL: u64 = 1 << 10;
    /// Write in a channel that is not a thread.
    pub const SEND_MESSAGES: u64 = 1 << 11;
    /// Delete what others wrote, and in bulk.
    pub const MANAGE_MESSAGES: u64 = 1 << 13;
    /// Send embeds.
    pub const EMBED_LINKS: u64 = 1 << 14;
    /// Send files.
    pub const ATTACH_FILES: u64 = 1 << 15;
    /// Read what was written before.
    pub const READ_MESSAGE_HISTORY: u64 = 1 << 16;
    /// Change roles and overwrites.
    pub const MANAGE_ROLES: u64 = 1 << 28;
    /// Use slash commands.
    pub const USE_APPLICATION_COMMANDS: u64 = 1 << 31;
    /// Archive, lock and delete threads.
    pub const MANAGE_THREADS: u64 = 1 << 34;
    /// Create public threads.
    pub const CREATE_PUBLIC_THREADS: u64 = 1 << 35;
    /// Create private threads.
    pub const CREATE_PRIVATE_THREADS: u64 = 1 << 36;
    /// Write in threads.
    pub const SEND_MESSAGES_IN_THREADS: u64 = 1 << 38;
    /// Pin and unpin.
    pub const PIN_MESSAGES: u64 = 1 << 51;
    /// Everything the bot's role has at first.
    pub const BOT: u64 = MEMBER
        | MANAGE_CHANNELS
        | MANAGE_MESSAGES
        | MANAGE_THREADS
        | CREATE_PRIVATE_THREADS
        | PIN_MESSAGES;
    /// What an ordinary member has.
    pub const MEMBER: u64 = ADD_REACTIONS
        | VIEW_CHANNEL
        | SEND_MESSAGES
        | EMBED_LINKS
        | ATTACH_FILES
        | READ_MESSAGE_HISTORY
        | USE_APPLICATION_COMMANDS
        | CREATE_PUBLIC_THREADS
        | SEND_MESSAGES_IN_THREADS;
    /// All bits that exist.
    pub const ALL: u64 = (1 << 53) - 1;
}

impl World {
    /// Permissions of a user in the guild, without any channel.
    pub(crate) fn base_permissions(&self, user: Snowflake) -> u64 {
        if user == self.identity.owner {
            return bits::ALL;
        }
        let Some(member) = self.members.get(&user) else {
            return 0;
        };
        let everyone = std::iter::once(&self.identity.guild);
        let all = everyone
            .chain(&member.roles)
            .filter_map(|role| self.roles.get(role))
            .fold(0, |all, role| all | role.permissions);
        if all & bits::ADMINISTRATOR == 0 {
            all
        } else {
            bits::ALL
        }
    }

    /// Permissions of a user in a channel; a thread has its parent's.
    pub(crate) fn permissions(&self, user: Snowflake, channel: &Channel) -> u64 {
        let base = self.base_permissions(user);
        if base == bits::ALL {
            return base;
        }
        let owner = match (&channel.thread, channel.parent) {
            (Some(_), Some(parent)) => self.rooms.get(&parent).map(|room| &room.channel),
            _ => Some(channel),
        };
        let Some(owner) = owner else { return 0 };
        let mut all = base;
        let find = |whom, id| {
            owner
                .overwrites
                .iter()
                .find(move |one| one.whom == whom && one.id == id)
        };
        if let Some(everyone) = find(Whom::Role, self.identity.guild) {
            all = all & !everyone.deny | everyone.allow;
        }
        let roles = self
            .members
            .get(&user)
            .map_or(&[][..], |member| &member.roles);
        let (mut allow, mut deny) = (0, 0);
        for one in roles.iter().filter_map(|role| find(Whom::Role, *role)) {
            allow |= one.allow;
            deny |= one.deny;
        }
        all = all & !deny | allow;
        if let Some(own) = find(Whom::Member, user) {
            all = all & !own.deny | own.allow;
        }
        if channel.kind == PRIVATE_THREAD && all & bits::MANAGE_THREADS == 0 {
            let members = channel.thread.iter().flat_map(|thread| &thread.members);
            if !members.into_iter().any(|(member, _)| *member == user) {
                return 0;
            }
        }
        implied(all, channel)
    }

    /// The channel, if the user can see it and has these bits there.
    pub(crate) fn allowed(
        &self,
        user: Snowflake,
        channel: Snowflake,
        wanted: u64,
    ) -> Result<&Channel, Refusal> {
        let channel = &self.room(channel)?.channel;
        let all = self.permissions(user, channel);
        if all & bits::VIEW_CHANNEL == 0 {
            Err(Refusal::MissingAccess)
        } else if all & wanted != wanted {
            Err(Refusal::MissingPermissions)
        } else {
            Ok(channel)
        }
    }

    /// Refuses who is not in the guild, or lacks these bits in it.
    pub(crate) fn allowed_in_guild(
        &self,
        user: Snowflake,
        guild: Snowflake,
        wanted: u64,
    ) -> Result<(), Refusal> {
        if guild != self.identity.guild {
            return Err(Refusal::UnknownGuild);
        }
        if !self.members.contains_key(&user) {
            return Err(Refusal::MissingAccess);
        }
        if self.base_permissions(user) & wanted != wanted {
            return Err(Refusal::MissingPermissions);
        }
        Ok(())
    }
}

/// Denying some permissions denies others.
fn implied(mut all: u64, channel: &Channel) -> u64 {
    if all & bits::VIEW_CHANNEL == 0 {
        return 0;
    }
    let send = match channel.thread {
        Some(_) => bits::SEND_MESSAGES_IN_THREADS,
        None => bits::SEND_MESSAGES,
    };
    if all & send == 0 {
        all &= !(bits::ATTACH_FILES | bits::EMBED_LINKS);
    }
    all
}
