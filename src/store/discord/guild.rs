//! A server, its channels and its members, as Discord tells of them.

use serde::Deserialize;
use twilight_model::{
    channel::{
        ChannelType,
        permission_overwrite::{PermissionOverwrite, PermissionOverwriteType},
    },
    guild::Permissions,
    id::{
        Id,
        marker::{ChannelMarker, GuildMarker, RoleMarker, UserMarker},
    },
};

use super::{
    permissions::{Member, Purpose, Role},
    setup::{Audience, Channel, Guild},
};
use crate::size::MIB;

#[derive(Deserialize)]
pub(super) struct RawGuild {
    pub(super) id: Id<GuildMarker>,
    pub(super) name: String,
    pub(super) owner_id: Id<UserMarker>,
    #[serde(default)]
    pub(super) premium_tier: u8,
    pub(super) roles: Vec<Role>,
}

#[derive(Deserialize)]
pub(super) struct RawMember {
    pub(super) roles: Vec<Id<RoleMarker>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct RawChannel {
    pub(super) id: Id<ChannelMarker>,
    #[serde(rename = "type")]
    pub(super) kind: ChannelType,
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) permission_overwrites: Vec<PermissionOverwrite>,
}

/// The channels that a server had when it was asked.
#[derive(Debug)]
pub struct Channels {
    pub(super) guild: u64,
    pub(super) all: Vec<RawChannel>,
}

impl Channels {
    /// The channel for this purpose, by its name; none if nobody made it yet.
    #[must_use]
    pub fn find(&self, purpose: Purpose) -> Option<Channel> {
        let name = purpose.channel_name();
        let of_name = |one: &&RawChannel| {
            one.kind == ChannelType::GuildText && one.name.as_deref() == Some(name)
        };
        let found = self.all.iter().find(of_name);
        found.map(|one| one.shown(self.guild, name))
    }

    /// The channel with this id.
    pub(super) fn by_id(&self, id: u64) -> Option<&RawChannel> {
        self.all.iter().find(|one| one.id.get() == id)
    }
}

impl From<RawGuild> for Guild {
    fn from(raw: RawGuild) -> Self {
        Guild {
            id: raw.id.get(),
            name: raw.name,
            boost_tier: raw.premium_tier,
            attachment_bytes_max: match raw.premium_tier {
                0 | 1 => 10 * MIB,
                2 => 50 * MIB,
                _ => 100 * MIB,
            },
            owner: raw.owner_id.get(),
            roles: raw.roles,
        }
    }
}

impl Guild {
    pub(super) fn member<'a>(&'a self, user: u64, own: &'a [Id<RoleMarker>]) -> Member<'a> {
        Member {
            guild: self.id,
            owner: self.owner,
            user,
            roles: &self.roles,
            own,
        }
    }
}

impl RawChannel {
    pub(super) fn shown(&self, guild: u64, name: &str) -> Channel {
        Channel {
            id: self.id.get(),
            name: name.into(),
            audience: self.audience(guild),
            is_new: false,
        }
    }

    fn audience(&self, guild: u64) -> Audience {
        let hides = |one: &PermissionOverwrite| {
            one.kind == PermissionOverwriteType::Role
                && one.id.get() == guild
                && one.deny.contains(Permissions::VIEW_CHANNEL)
        };
        if self.permission_overwrites.iter().any(hides) {
            Audience::Private
        } else {
            Audience::AsTheServerSays
        }
    }
}
