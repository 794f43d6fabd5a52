//! Reactions with plain emoji.

use serde_json::Value;

use crate::emulator::app::App;
use crate::emulator::hub::Event;
use crate::emulator::model::{Message, Record};
use crate::emulator::permissions::bits;
use crate::emulator::reply::{Answer, Refusal, Reply};
use crate::emulator::server::Call;
use crate::emulator::snowflake::Snowflake;
use crate::emulator::view;
use crate::emulator::world::World;

const REACTIONS_MAX: usize = 20;

/// `GET …/reactions/{emoji_name}`
pub(crate) fn list(call: &Call<'_>, channel: Snowflake, id: Snowflake, emoji: &str) -> Answer {
    let world = call.app.world();
    world.allowed(call.user, channel, bits::READ_MESSAGE_HISTORY)?;
    let message = world.message(channel, id)?;
    let users = message.reactions.iter().filter(|(name, _)| name == emoji);
    let users = users
        .flat_map(|(_, users)| users)
        .filter_map(|user| world.users.get(user));
    Ok(Reply::Ok(users.map(view::user).collect::<Value>()))
}

/// `PUT …/reactions/{emoji_name}/@me`
pub(crate) fn add(call: &Call<'_>, channel: Snowflake, id: Snowflake, emoji: &str) -> Answer {
    let mut world = call.app.world();
    let mut message = open(&world, call.user, channel, id)?;
    if emoji.is_ascii() {
        return Err(Refusal::UnknownEmoji);
    }
    match message.reactions.iter_mut().find(|(name, _)| name == emoji) {
        Some((_, users)) if users.contains(&call.user) => return Ok(Reply::NoContent),
        Some((_, users)) => users.push(call.user),
        None => {
            world.allowed(call.user, channel, bits::ADD_REACTIONS)?;
            if message.reactions.len() >= REACTIONS_MAX {
                return Err(Refusal::TooManyReactions);
            }
            message.reactions.push((emoji.to_owned(), vec![call.user]));
        }
    }
    keep(call.app, &mut world, message)?;
    let event = Event::ReactionAdded((channel, id), call.user, emoji);
    call.app.announce(&world, &event);
    Ok(Reply::NoContent)
}

/// `DELETE …/reactions/{emoji_name}/{user_id}`
pub(crate) fn remove(
    call: &Call<'_>,
    channel: Snowflake,
    id: Snowflake,
    emoji: &str,
    user: Option<Snowflake>,
) -> Answer {
    let mut world = call.app.world();
    let mut message = open(&world, call.user, channel, id)?;
    let user = user.unwrap_or(call.user);
    if user != call.user {
        world.allowed(call.user, channel, bits::MANAGE_MESSAGES)?;
    }
    for (_, users) in message
        .reactions
        .iter_mut()
        .filter(|(name, _)| name == emoji)
    {
        users.retain(|one| *one != user);
    }
    message.reactions.retain(|(_, users)| !users.is_empty());
    keep(call.app, &mut world, message)?;
    let event = Event::ReactionRemoved((channel, id), user, emoji);
    call.app.announce(&world, &event);
    Ok(Reply::NoContent)
}

/// `DELETE …/reactions` and `DELETE …/reactions/{emoji_name}`
pub(crate) fn clear(
    call: &Call<'_>,
    channel: Snowflake,
    id: Snowflake,
    emoji: Option<&str>,
) -> Answer {
    let mut world = call.app.world();
    let mut message = open(&world, call.user, channel, id)?;
    world.allowed(call.user, channel, bits::MANAGE_MESSAGES)?;
    message
        .reactions
        .retain(|(name, _)| emoji.is_some_and(|emoji| name != emoji));
    keep(call.app, &mut world, message)?;
    Ok(Reply::NoContent)
}

/// The message, if reactions may change.
fn open(
    world: &World,
    user: Snowflake,
    channel: Snowflake,
    id: Snowflake,
) -> Result<Message, Refusal> {
    let place = world.allowed(user, channel, bits::READ_MESSAGE_HISTORY)?;
    if place.thread.as_ref().is_some_and(|thread| thread.archived) {
        return Err(Refusal::ThreadArchived);
    }
    Ok(world.message(channel, id)?.clone())
}

/// Stores a message whose reactions changed: no update is told.
fn keep(app: &App, world: &mut World, message: Message) -> Result<(), Refusal> {
    world.commit(Record::Message(Box::new(message)), app.now_ms())
}
