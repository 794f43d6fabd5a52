//! The `resolved` of an interaction: what its ids stand for.

use serde_json::{Map, Value, json};

use crate::emulator::model::{Attachment, Channel, Message};
use crate::emulator::snowflake::Snowflake;
use crate::emulator::view::{self, View};

/// Gathers what an interaction's ids stand for, as the application sees it.
#[derive(Debug)]
pub(crate) struct Resolver<'a> {
    view: View<'a>,
    /// Where the interaction happens.
    place: &'a Channel,
    found: Map<String, Value>,
}

impl<'a> Resolver<'a> {
    pub(crate) fn new(view: View<'a>, place: &'a Channel) -> Self {
        Self {
            view,
            place,
            found: Map::new(),
        }
    }

    fn put(&mut self, kind: &str, id: Snowflake, value: Value) {
        let all = self.found.entry(kind).or_insert_with(|| json!({}));
        all[id.to_string()] = value;
    }

    pub(crate) fn user(&mut self, id: Snowflake) -> Result<(), String> {
        let user = self.view.world.users.get(&id);
        let user = user.ok_or_else(|| format!("no such user: {id}"))?;
        self.put("users", id, view::user(user));
        if let Some(mut member) = member(&self.view, id, self.place) {
            if let Some(fields) = member.as_object_mut() {
                for name in ["user", "mute", "deaf"] {
                    fields.remove(name);
                }
            }
            self.put("members", id, member);
        }
        Ok(())
    }

    pub(crate) fn role(&mut self, id: Snowflake) -> Result<(), String> {
        let role = self.view.world.roles.get(&id);
        let role = role.ok_or_else(|| format!("no such role: {id}"))?;
        self.put("roles", id, view::role(role));
        Ok(())
    }

    pub(crate) fn channel(&mut self, user: Snowflake, id: Snowflake) -> Result<u64, String> {
        let room = self.view.world.rooms.get(&id);
        let channel = &room
            .ok_or_else(|| format!("no such channel: {id}"))?
            .channel;
        let mut view = self.view.channel(channel);
        view["permissions"] = json!(self.view.world.permissions(user, channel).to_string());
        self.put("channels", id, view);
        Ok(channel.kind.into())
    }

    pub(crate) fn message(&mut self, message: &Message) {
        self.put("messages", message.id, self.view.message(message));
    }

    pub(crate) fn attachment(&mut self, attachment: &Attachment) {
        let view = self.view.ephemeral_attachment(self.place.id, attachment);
        self.put("attachments", attachment.id, view);
    }

    /// Puts everything into the interaction's data.
    pub(crate) fn finish(self, data: &mut Value) {
        if !self.found.is_empty() {
            data["resolved"] = Value::Object(self.found);
        }
    }
}

/// A member with the permissions it has in a channel.
pub(crate) fn member(view: &View<'_>, user: Snowflake, place: &Channel) -> Option<Value> {
    let mut member = view.member(view.world.members.get(&user)?);
    member["permissions"] = json!(view.world.permissions(user, place).to_string());
    Some(member)
}
