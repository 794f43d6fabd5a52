//! How things look in JSON, as one user sees them.

use serde_json::{Value, json};

use crate::emulator::model::{
    Attachment, Channel, HAS_THREAD, Member, Message, Overwrite, PRIVATE_THREAD, REPLY, Role,
    THREAD_STARTER, Thread, User, UserKind, Whom,
};
use crate::emulator::settings::MessageContent;
use crate::emulator::snowflake::{Snowflake, iso_ms, iso_us};
use crate::emulator::urls::Signer;
use crate::emulator::world::World;

/// One user's view of the world.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub(crate) world: &'a World,
    pub(crate) signer: &'a Signer,
    pub(crate) viewer: Snowflake,
    pub(crate) now_ms: u64,
    pub(crate) url_lifetime_s: u64,
    pub(crate) message_content: MessageContent,
}

impl View<'_> {
    pub(crate) fn message(&self, message: &Message) -> Value {
        let mut view = self.bare_message(message);
        let Some((channel, Some(id))) = message.reference else {
            return view;
        };
        if matches!(message.kind, REPLY | THREAD_STARTER) {
            view["referenced_message"] = match self.world.message(channel, id) {
                Ok(original) => self.bare_message(original),
                Err(_) => Value::Null,
            };
        }
        view
    }

    fn bare_message(&self, message: &Message) -> Value {
        let author = self.world.users.get(&message.author);
        let mentions = self
            .world
            .users
            .values()
            .filter(|user| message.mentions(user.id));
        let mut view = json!({
            "id": message.id,
            "channel_id": message.channel,
            "type": message.kind,
            "content": "",
            "mentions": mentions.map(user).collect::<Vec<_>>(),
            "mention_roles": [],
            "attachments": [],
            "embeds": [],
            "components": [],
            "timestamp": iso_ms(message.id.created_ms()),
            "edited_timestamp": message.edited_ms.map(iso_ms),
            "flags": message.flags,
            "author": author.map(user),
            "pinned": message.pinned_us.is_some(),
            "mention_everyone": false,
            "tts": message.tts,
        });
        if self.sees_content(message) {
            let attachments = message.attachments.iter();
            let attachments = attachments.map(|one| match message.is_ephemeral() {
                false => self.attachment(message.channel, one),
                true => self.ephemeral_attachment(message.channel, one),
            });
            view["content"] = json!(message.content);
            view["attachments"] = attachments.collect();
            view["embeds"] = json!(message.embeds);
            view["components"] = json!(message.components);
        }
        if let Some((channel, id)) = message.reference {
            view["message_reference"] = json!({
                "type": 0,
                "channel_id": channel,
                "guild_id": self.world.identity.guild,
            });
            if let Some(id) = id {
                view["message_reference"]["message_id"] = json!(id);
            }
        }
        if let Some(room) = self.world.rooms.get(&message.channel)
            && room.channel.thread.is_some()
        {
            view["position"] = json!(message.position);
        }
        if message.flags & HAS_THREAD != 0
            && let Some(room) = self.world.rooms.get(&message.id)
        {
            view["thread"] = self.channel(&room.channel);
        }
        if let (Some(view), Some(Value::Object(origin))) =
            (view.as_object_mut(), message.origin.clone())
        {
            view.extend(origin);
        }
        if !message.reactions.is_empty() {
            view["reactions"] = message
                .reactions
                .iter()
                .map(|one| self.reaction(one))
                .collect();
        }
        view
    }

    /// An application without MESSAGE_CONTENT sees its own messages, those that mention it, and
    /// what the service wrote.
    fn sees_content(&self, message: &Message) -> bool {
        self.viewer != self.world.identity.bot
            || self.message_content == MessageContent::Granted
            || message.author == self.viewer
            || !message.is_ordinary()
            || message.mentions(self.viewer)
    }

    fn reaction(&self, (emoji, users): &(String, Vec<Snowflake>)) -> Value {
        json!({
            "emoji": {"id": null, "name": emoji},
            "count": users.len(),
            "count_details": {"burst": 0, "normal": users.len()},
            "burst_colors": [],
            "me_burst": false,
            "me": users.contains(&self.viewer),
        })
    }

    pub(crate) fn attachment(&self, channel: Snowflake, attachment: &Attachment) -> Value {
        let Attachment { id, filename, .. } = attachment;
        self.attachment_at(
            &format!("/attachments/{channel}/{id}/{filename}"),
            attachment,
        )
    }

    /// An attachment of an ephemeral message, or one given to a command.
    pub(crate) fn ephemeral_attachment(
        &self,
        channel: Snowflake,
        attachment: &Attachment,
    ) -> Value {
        let Attachment { id, filename, .. } = attachment;
        let path = format!("/ephemeral-attachments/{channel}/{id}/{filename}");
        let mut view = self.attachment_at(&path, attachment);
        view["ephemeral"] = json!(true);
        view
    }

    fn attachment_at(&self, path: &str, attachment: &Attachment) -> Value {
        let Attachment { id, filename, .. } = attachment;
        let url = self.signer.url(path, self.now_ms, self.url_lifetime_s);
        let mut view = json!({
            "id": id,
            "filename": filename,
            "size": attachment.size,
            "url": url,
            "proxy_url": url.replacen(path, &format!("/media{path}"), 1),
        });
        let optional = [
            ("content_type", &attachment.content_type),
            ("title", &attachment.title),
            ("description", &attachment.description),
        ];
        for (name, text) in optional {
            if let Some(text) = text {
                view[name] = json!(text);
            }
        }
        view
    }

    pub(crate) fn channel(&self, channel: &Channel) -> Value {
        let mut view = json!({
            "id": channel.id,
            "type": channel.kind,
            "name": channel.name,
            "guild_id": self.world.identity.guild,
            "parent_id": channel.parent,
            "last_message_id": channel.last_message,
            "last_pin_timestamp": channel.last_pin_us.map(iso_us),
            "rate_limit_per_user": channel.slowmode_s,
            "flags": 0,
        });
        if let Some(thread) = &channel.thread {
            self.add_thread(&mut view, channel, thread);
        } else {
            view["position"] = json!(channel.position);
            view["topic"] = json!(channel.topic);
            view["nsfw"] = json!(channel.nsfw);
            view["permission_overwrites"] = channel.overwrites.iter().map(overwrite).collect();
            if let Some(minutes) = channel.default_auto_archive_min {
                view["default_auto_archive_duration"] = json!(minutes);
            }
        }
        view
    }

    fn add_thread(&self, view: &mut Value, channel: &Channel, thread: &Thread) {
        view["owner_id"] = json!(thread.owner);
        view["message_count"] = json!(thread.message_count);
        view["total_message_sent"] = json!(thread.total_sent);
        view["member_count"] = json!(thread.members.len().min(50));
        view["thread_metadata"] = json!({
            "archived": thread.archived,
            "archive_timestamp": iso_us(thread.archive_us),
            "auto_archive_duration": thread.auto_archive_min,
            "locked": thread.locked,
            "create_timestamp": iso_ms(channel.id.created_ms()),
        });
        if channel.kind == PRIVATE_THREAD {
            view["thread_metadata"]["invitable"] = json!(thread.invitable);
        }
        if !thread.applied_tags.is_empty() {
            view["applied_tags"] = json!(thread.applied_tags);
        }
        if let Some(member) = self.thread_member(channel, self.viewer) {
            view["member"] = member;
        }
    }

    pub(crate) fn thread_member(&self, channel: &Channel, user: Snowflake) -> Option<Value> {
        let members = &channel.thread.as_ref()?.members;
        let (_, joined_ms) = members.iter().find(|(id, _)| *id == user)?;
        Some(json!({
            "id": channel.id,
            "user_id": user,
            "join_timestamp": iso_ms(*joined_ms),
            "flags": 0,
        }))
    }

    pub(crate) fn guild(&self) -> Value {
        let world = self.world;
        let id = world.identity.guild;
        json!({
            "id": id,
            "name": world.guild.name,
            "icon": null, "description": null, "home_header": null, "splash": null,
            "discovery_splash": null, "banner": null, "features": [],
            "owner_id": world.identity.owner,
            "application_id": null,
            "region": "us-east",
            "afk_channel_id": null, "afk_timeout": 300,
            "system_channel_id": null, "system_channel_flags": 0,
            "widget_enabled": false, "widget_channel_id": null,
            "verification_level": 0,
            "roles": world.roles.values().map(role).collect::<Vec<_>>(),
            "default_message_notifications": 1,
            "mfa_level": 0,
            "explicit_content_filter": 0,
            "max_presences": null, "max_members": 500_000,
            "max_stage_video_channel_users": 50, "max_video_channel_users": 25,
            "vanity_url_code": null,
            "premium_tier": world.guild.premium_tier,
            "premium_subscription_count": 0,
            "preferred_locale": "en-US",
            "rules_channel_id": null, "safety_alerts_channel_id": null,
            "public_updates_channel_id": null,
            "premium_progress_bar_enabled": false,
            "nsfw": false, "nsfw_level": 0,
            "emojis": [], "stickers": [],
            "incidents_data": null,
        })
    }

    pub(crate) fn member(&self, member: &Member) -> Value {
        json!({
            "avatar": null, "banner": null, "communication_disabled_until": null,
            "flags": 0,
            "joined_at": iso_ms(member.joined_ms),
            "nick": null,
            "pending": false,
            "premium_since": null,
            "roles": member.roles,
            "user": self.world.users.get(&member.user).map(user),
            "mute": false, "deaf": false,
        })
    }

    pub(crate) fn me(&self) -> Option<Value> {
        let mut view = user(self.world.users.get(&self.viewer)?);
        view["mfa_enabled"] = json!(true);
        view["locale"] = json!("en-US");
        view["email"] = Value::Null;
        view["verified"] = json!(true);
        view["premium_type"] = json!(0);
        Some(view)
    }

    pub(crate) fn my_guild(&self) -> Value {
        json!({
            "id": self.world.identity.guild,
            "name": self.world.guild.name,
            "icon": null, "banner": null,
            "owner": self.viewer == self.world.identity.owner,
            "permissions": self.world.base_permissions(self.viewer).to_string(),
            "features": [],
        })
    }

    pub(crate) fn application(&self) -> Value {
        let world = self.world;
        let flags = application_flags(self.message_content);
        json!({
            "id": world.identity.bot,
            "name": "ods emulator",
            "icon": null,
            "description": "",
            "type": null,
            "bot": world.users.get(&world.identity.bot).map(user),
            "bot_public": false,
            "bot_require_code_grant": false,
            "verify_key": "0".repeat(64),
            "flags": flags,
            "flags_new": flags.to_string(),
            "redirect_uris": [],
            "interactions_endpoint_url": null,
            "role_connections_verification_url": null,
            "owner": world.users.get(&world.identity.owner).map(user),
            "approximate_guild_count": 1,
            "approximate_user_install_count": 0,
            "approximate_user_authorization_count": 0,
            "explicit_content_filter": 0,
            "team": null,
            "eligible_oauth2_scopes": ["bot", "applications.commands"],
        })
    }
}

/// The limited form of the MESSAGE_CONTENT flag, which small applications have.
pub(crate) fn application_flags(content: MessageContent) -> u64 {
    match content {
        MessageContent::Granted => 1 << 19,
        MessageContent::Withheld => 0,
    }
}

pub(crate) fn user(user: &User) -> Value {
    let mut view = json!({
        "id": user.id,
        "username": user.name,
        "discriminator": if user.kind == UserKind::Bot { "0001" } else { "0" },
        "global_name": null,
        "avatar": null,
        "public_flags": 0,
        "flags": 0,
        "primary_guild": null,
    });
    if user.kind == UserKind::Bot {
        view["bot"] = json!(true);
    }
    view
}

pub(crate) fn role(role: &Role) -> Value {
    let mut view = json!({
        "id": role.id,
        "name": role.name,
        "permissions": role.permissions.to_string(),
        "position": role.position,
        "color": 0,
        "colors": {"primary_color": 0, "secondary_color": null, "tertiary_color": null},
        "hoist": false,
        "managed": role.bot.is_some(),
        "mentionable": false,
        "icon": null, "unicode_emoji": null,
        "flags": 0,
    });
    if let Some(bot) = role.bot {
        view["tags"] = json!({"bot_id": bot});
    }
    view
}

fn overwrite(one: &Overwrite) -> Value {
    json!({
        "id": one.id,
        "type": match one.whom { Whom::Role => 0, Whom::Member => 1 },
        "allow": one.allow.to_string(),
        "deny": one.deny.to_string(),
    })
}
