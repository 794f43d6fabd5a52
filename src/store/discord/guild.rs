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
    permissions::{Member, Role},
    setup::{Audience, Channel},
};

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

#[derive(Deserialize)]
pub(super) struct RawChannel {
    pub(super) id: Id<ChannelMarker>,
    #[serde(rename = "type")]
    pub(super) kind: ChannelType,
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) permission_overwrites: Vec<PermissionOverwrite>,
}

pub(super) fn find_named<'a>(channels: &'a [RawChannel], name: &str) -> Option<&'a RawChannel> {
    let of_name =
        |one: &&RawChannel| one.kind == ChannelType::GuildText && one.name.as_deref() == Some(name);
    channels.iter().find(of_name)
}

impl RawGuild {
    pub(super) fn member<'a>(&'a self, user: u64, own: &'a [Id<RoleMarker>]) -> Member<'a> {
        Member {
            guild: self.id.get(),
            owner: self.owner_id.get(),
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
