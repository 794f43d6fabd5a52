//! What the bot reads of the gateway's events: only what is needed, so that nothing new in them spoils them.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;
use twilight_model::guild::Permissions;
use twilight_model::id::Id;
use twilight_model::id::marker::ApplicationMarker;
use twilight_model::id::marker::ChannelMarker;
use twilight_model::id::marker::GuildMarker;
use twilight_model::id::marker::InteractionMarker;
use twilight_model::id::marker::MessageMarker;
use twilight_model::id::marker::RoleMarker;
use twilight_model::id::marker::UserMarker;

/// The outside of an event.
#[derive(Deserialize)]
pub(in crate::bot) struct Head {
    /// Its name; none for what keeps the connection.
    pub(in crate::bot) t: Option<String>,
}

/// The inside.
#[derive(Deserialize)]
pub(in crate::bot) struct Body<T> {
    pub(in crate::bot) d: T,
}

#[derive(Deserialize)]
pub(in crate::bot) struct Ready {
    pub(in crate::bot) application: Application,
}

#[derive(Deserialize)]
pub(in crate::bot) struct Application {
    pub(in crate::bot) id: Id<ApplicationMarker>,
}

/// A command, a pressed button, or a word that is being typed.
#[derive(Deserialize)]
pub(in crate::bot) struct Interaction {
    pub(in crate::bot) id: Id<InteractionMarker>,
    pub(in crate::bot) application_id: Id<ApplicationMarker>,
    #[serde(rename = "type")]
    pub(in crate::bot) kind: u8,
    pub(in crate::bot) token: String,
    pub(in crate::bot) guild_id: Option<Id<GuildMarker>>,
    pub(in crate::bot) channel_id: Option<Id<ChannelMarker>>,
    pub(in crate::bot) channel: Option<Channel>,
    pub(in crate::bot) member: Option<Member>,
    pub(in crate::bot) data: Option<Data>,
    /// The message whose button was pressed.
    pub(in crate::bot) message: Option<Pressable>,
    /// The largest file an answer may carry, bytes.
    pub(in crate::bot) attachment_size_limit: Option<u64>,
}

/// Kinds of interactions.
pub(in crate::bot) mod kind {
    pub(in crate::bot) const COMMAND: u8 = 2;
    pub(in crate::bot) const COMPONENT: u8 = 3;
    pub(in crate::bot) const AUTOCOMPLETE: u8 = 4;
}

/// A message with buttons.
#[derive(Deserialize)]
pub(in crate::bot) struct Pressable {
    #[serde(default)]
    pub(in crate::bot) flags: u64,
}

#[derive(Deserialize)]
pub(in crate::bot) struct Channel {
    pub(in crate::bot) id: Id<ChannelMarker>,
}

#[derive(Deserialize)]
pub(in crate::bot) struct Member {
    pub(in crate::bot) user: Option<User>,
    #[serde(default)]
    pub(in crate::bot) roles: Vec<Id<RoleMarker>>,
    /// In the channel of the interaction; messages do not tell.
    pub(in crate::bot) permissions: Option<Permissions>,
}

#[derive(Deserialize)]
pub(in crate::bot) struct User {
    pub(in crate::bot) id: Id<UserMarker>,
    #[serde(default)]
    pub(in crate::bot) bot: bool,
}

#[derive(Default, Deserialize)]
pub(in crate::bot) struct Data {
    #[serde(default)]
    pub(in crate::bot) name: String,
    #[serde(default)]
    pub(in crate::bot) options: Vec<Given>,
    #[serde(default)]
    pub(in crate::bot) resolved: Resolved,
    #[serde(default)]
    pub(in crate::bot) custom_id: String,
}

/// One option of a command, as it was filled in.
#[derive(Deserialize)]
pub(in crate::bot) struct Given {
    pub(in crate::bot) name: String,
    #[serde(default)]
    pub(in crate::bot) value: Value,
    /// Is it the one being typed?
    #[serde(default)]
    pub(in crate::bot) focused: bool,
}

#[derive(Default, Deserialize)]
pub(in crate::bot) struct Resolved {
    #[serde(default)]
    pub(in crate::bot) attachments: HashMap<String, Attachment>,
}

/// A file that somebody gave to a message or a command. Its address is as good as the file.
#[derive(Clone, Deserialize, PartialEq, Eq)]
pub(in crate::bot) struct Attachment {
    pub(in crate::bot) filename: String,
    pub(in crate::bot) size: u64,
    pub(in crate::bot) url: String,
    /// The name before Discord made it harmless.
    pub(in crate::bot) title: Option<String>,
}

impl std::fmt::Debug for Attachment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Attachment({} bytes)", self.size)
    }
}

/// A message in the server.
#[derive(Deserialize)]
pub(in crate::bot) struct Message {
    pub(in crate::bot) id: Id<MessageMarker>,
    pub(in crate::bot) channel_id: Id<ChannelMarker>,
    pub(in crate::bot) guild_id: Option<Id<GuildMarker>>,
    pub(in crate::bot) author: User,
    pub(in crate::bot) member: Option<Member>,
    #[serde(default)]
    pub(in crate::bot) content: String,
    #[serde(default)]
    pub(in crate::bot) attachments: Vec<Attachment>,
}

/// What tells who may do what: the server as it is when a session begins.
#[derive(Deserialize)]
pub(in crate::bot) struct Guild {
    pub(in crate::bot) id: Id<GuildMarker>,
    pub(in crate::bot) owner_id: Option<Id<UserMarker>>,
    #[serde(default)]
    pub(in crate::bot) roles: Vec<Role>,
}

#[derive(Clone, Deserialize)]
pub(in crate::bot) struct Role {
    pub(in crate::bot) id: Id<RoleMarker>,
    pub(in crate::bot) permissions: Permissions,
}

/// A role that was made or changed.
#[derive(Deserialize)]
pub(in crate::bot) struct RoleChange {
    pub(in crate::bot) guild_id: Id<GuildMarker>,
    pub(in crate::bot) role: Role,
}

/// A role that is gone.
#[derive(Deserialize)]
pub(in crate::bot) struct RoleGone {
    pub(in crate::bot) guild_id: Id<GuildMarker>,
    pub(in crate::bot) role_id: Id<RoleMarker>,
}
