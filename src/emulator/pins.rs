//! Pinned messages, by the new routes and the old.

use serde_json::{Value, json};

use crate::emulator::dispatch;
use crate::emulator::hub::Event;
use crate::emulator::model::{Message, PINNED};
use crate::emulator::permissions::bits;
use crate::emulator::reply::{Answer, Refusal, Reply, wrong};
use crate::emulator::server::Call;
use crate::emulator::snowflake::{Snowflake, iso_us, parse_iso_us};
use crate::emulator::world::World;

/// Pins that the old route shows.
const OLD_PINS_MAX: usize = 50;

/// The pinned messages of a channel, latest pin first.
fn pinned(world: &World, channel: Snowflake) -> Result<Vec<(u64, &Message)>, Refusal> {
    let all = world.room(channel)?.messages.values();
    let mut pins: Vec<_> = all
        .filter_map(|one| one.pinned_us.map(|at| (at, one)))
        .collect();
    pins.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    Ok(pins)
}

/// `GET /channels/{channel_id}/messages/pins`
pub(crate) fn list(call: &Call<'_>, channel: Snowflake) -> Answer {
    let limit = dispatch::limit(call, 1, 50, 50)?;
    let before = match call.param("before") {
        None => u64::MAX,
        Some(text) => parse_iso_us(text)
            .ok_or_else(|| wrong("before", "DATETIME_PARSE", "Not an ISO 8601 time."))?,
    };
    let world = call.app.world();
    world.allowed(call.user, channel, bits::READ_MESSAGE_HISTORY)?;
    let view = call.app.view(&world, call.user);
    let mut pins = pinned(&world, channel)?;
    pins.retain(|(at, _)| *at < before);
    let has_more = pins.len() > limit;
    let items = pins.iter().take(limit);
    let items: Value = items
        .map(|(at, message)| json!({"pinned_at": iso_us(*at), "message": view.message(message)}))
        .collect();
    Ok(Reply::Ok(json!({"items": items, "has_more": has_more})))
}

/// `GET /channels/{channel_id}/pins`
pub(crate) fn list_old(call: &Call<'_>, channel: Snowflake) -> Answer {
    let world = call.app.world();
    world.allowed(call.user, channel, bits::READ_MESSAGE_HISTORY)?;
    let view = call.app.view(&world, call.user);
    let pins = pinned(&world, channel)?;
    let pins = pins.iter().take(OLD_PINS_MAX);
    Ok(Reply::Ok(
        pins.map(|(_, message)| view.message(message)).collect(),
    ))
}

/// `PUT /channels/{channel_id}/messages/pins/{message_id}`
pub(crate) fn pin(call: &Call<'_>, channel: Snowflake, id: Snowflake) -> Answer {
    let app = call.app;
    let mut world = app.world();
    let place = world.allowed(call.user, channel, bits::PIN_MESSAGES)?;
    if place.thread.as_ref().is_some_and(|thread| thread.archived) {
        return Err(Refusal::ThreadArchived);
    }
    let mut message = world.message(channel, id)?.clone();
    if !message.is_ordinary() {
        return Err(Refusal::SystemMessage);
    }
    if message.pinned_us.is_some() {
        return Ok(Reply::NoContent);
    }
    if pinned(&world, channel)?.len() as u64 >= app.limits().pins_max {
        return Err(Refusal::TooManyPins);
    }
    let at_us = world.stamp_us(app.now_ms());
    message.pinned_us = Some(at_us);
    app.amend(&mut world, message)?;
    let mut place = world.room(channel)?.channel.clone();
    place.last_pin_us = Some(at_us);
    app.put_channel(&mut world, place)?;
    app.announce(&world, &Event::PinsUpdated(&world.room(channel)?.channel));
    let notice = world.ids.next(app.now_ms());
    let mut notice = Message::new(notice, channel, call.user, PINNED);
    notice.reference = Some((channel, Some(id)));
    app.post(&mut world, notice)?;
    Ok(Reply::NoContent)
}

/// `DELETE /channels/{channel_id}/messages/pins/{message_id}`
pub(crate) fn unpin(call: &Call<'_>, channel: Snowflake, id: Snowflake) -> Answer {
    let mut world = call.app.world();
    world.allowed(call.user, channel, bits::PIN_MESSAGES)?;
    let mut message = world.message(channel, id)?.clone();
    if message.pinned_us.take().is_none() {
        return Err(Refusal::UnknownMessage);
    }
    call.app.amend(&mut world, message)?;
    call.app
        .announce(&world, &Event::PinsUpdated(&world.room(channel)?.channel));
    Ok(Reply::NoContent)
}
