//! Changing and deleting messages.

use serde_json::Value;

use crate::emulator::app::App;
use crate::emulator::dispatch;
use crate::emulator::draft::{self, Draft};
use crate::emulator::messages;
use crate::emulator::model::{Message, THREAD_STARTER};
use crate::emulator::permissions::bits;
use crate::emulator::reply::{Answer, Form, Refusal, Reply};
use crate::emulator::server::Call;
use crate::emulator::snowflake::Snowflake;
use crate::emulator::upload;
use crate::emulator::world::World;

const FOURTEEN_DAYS_MS: u64 = 14 * 86_400_000;

/// `PATCH /channels/{channel_id}/messages/{message_id}`
pub(crate) async fn edit(call: &mut Call<'_>, channel: Snowflake, id: Snowflake) -> Answer {
    let (app, user) = (call.app, call.user);
    may_edit(&app.world(), user, channel, id)?;
    let form = upload::read(call).await?;
    let draft = Draft::parse(&form)?;
    let mut world = app.world();
    let mut message = may_edit(&world, user, channel, id)?;
    messages::may_carry(&world, user, channel, &draft, &form)?;
    let only_flags = form.fields.keys().all(|name| name == "flags") && form.files.is_empty();
    if message.author != user {
        if !only_flags {
            return Err(Refusal::CannotEditOther);
        }
        world.allowed(user, channel, bits::MANAGE_MESSAGES)?;
    }
    draft.write(&mut message);
    if let Some(listed) = &draft.listed {
        // What is not listed goes.
        message
            .attachments
            .retain(|old| listed.iter().any(|one| one.id == old.id.0));
    }
    if message.attachments.len() + form.files.len() > 10 {
        return Err(Refusal::TooManyAttachments);
    }
    if message.is_empty() && form.files.is_empty() {
        return Err(Refusal::EmptyMessage);
    }
    messages::attach(app, &mut world, &mut message, &draft, form, &call.faults)?;
    if !only_flags {
        message.edited_ms = Some(app.now_ms());
    }
    app.amend(&mut world, message)?;
    let message = world.message(channel, id)?;
    Ok(Reply::Ok(app.view(&world, user).message(message)))
}

fn may_edit(
    world: &World,
    user: Snowflake,
    channel: Snowflake,
    id: Snowflake,
) -> Result<Message, Refusal> {
    let place = world.allowed(user, channel, 0)?;
    let message = world.message(channel, id)?;
    if place.thread.as_ref().is_some_and(|thread| thread.archived) {
        return Err(Refusal::ThreadArchived);
    }
    if !message.is_ordinary() {
        return Err(Refusal::SystemMessage);
    }
    Ok(message.clone())
}

/// `DELETE /channels/{channel_id}/messages/{message_id}`
pub(crate) fn delete(call: &Call<'_>, channel: Snowflake, id: Snowflake) -> Answer {
    let mut world = call.app.world();
    world.allowed(call.user, channel, 0)?;
    let message = world.message(channel, id)?;
    if message.kind == THREAD_STARTER {
        return Err(Refusal::SystemMessage);
    }
    if message.author != call.user {
        world.allowed(call.user, channel, bits::MANAGE_MESSAGES)?;
    }
    call.app.delete_messages(&mut world, channel, vec![id])?;
    Ok(Reply::NoContent)
}

/// `POST /channels/{channel_id}/messages/bulk-delete`
pub(crate) async fn bulk_delete(call: &mut Call<'_>, channel: Snowflake) -> Answer {
    let body = dispatch::json_object(call).await?;
    let ids = ids_of(&body["messages"])?;
    if !(2..=100).contains(&ids.len()) {
        return Err(Refusal::BulkCount);
    }
    let app: &App = call.app;
    let mut world = app.world();
    world.allowed(call.user, channel, bits::MANAGE_MESSAGES)?;
    let oldest = Snowflake::at(app.now_ms().saturating_sub(FOURTEEN_DAYS_MS));
    if ids.iter().any(|id| *id < oldest) {
        return Err(Refusal::BulkTooOld);
    }
    app.delete_messages(&mut world, channel, ids)?;
    Ok(Reply::NoContent)
}

fn ids_of(list: &Value) -> Result<Vec<Snowflake>, Refusal> {
    let mut form = Form::default();
    let mut ids = Vec::new();
    let Some(list) = list.as_array() else {
        form.required("messages");
        return form.finish().map(|()| ids);
    };
    for (at, value) in list.iter().enumerate() {
        let path = format!("messages/{at}");
        match draft::snowflake(value) {
            None => form.bad_snowflake(&path, value.as_str().unwrap_or_default()),
            Some(id) if ids.contains(&id) => {
                let message = "The set already contains this value";
                form.wrong(&path, "SET_TYPE_ALREADY_CONTAINS_VALUE", message);
            }
            Some(id) => ids.push(id),
        }
    }
    form.finish().map(|()| ids)
}
