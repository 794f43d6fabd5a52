//! Channels: list, create, change, delete, overwrites, typing.

use serde_json::{Value, json};

use crate::emulator::app::App;
use crate::emulator::dispatch;
use crate::emulator::draft::snowflake;
use crate::emulator::hub::Event;
use crate::emulator::model::{
    ANNOUNCEMENT, CATEGORY, Channel, FORUM, Overwrite, TEXT, VOICE, Whom,
};
use crate::emulator::permissions::bits;
use crate::emulator::ratelimit::Bucket;
use crate::emulator::reply::{Answer, Form, Refusal, Reply};
use crate::emulator::server::Call;
use crate::emulator::settings::RateLimits;
use crate::emulator::snowflake::Snowflake;
use crate::emulator::threads;

const AUTO_ARCHIVE_MIN: &[u64] = &[60, 1440, 4320, 10080];
const SLOWMODE_S_MAX: u64 = 21_600;

/// `GET /guilds/{guild_id}/channels`: threads are not among them.
pub(crate) fn list(call: &Call<'_>, guild: Snowflake) -> Answer {
    let world = call.app.world();
    world.allowed_in_guild(call.user, guild, 0)?;
    let view = call.app.view(&world, call.user);
    let channels = world.rooms.values().map(|room| &room.channel);
    let channels = channels.filter(|channel| channel.thread.is_none());
    Ok(Reply::Ok(
        channels.map(|channel| view.channel(channel)).collect(),
    ))
}

/// `GET /channels/{channel_id}`
pub(crate) fn get(call: &Call<'_>, id: Snowflake) -> Answer {
    let mut world = call.app.world();
    call.app.archive_silent(&mut world)?;
    let channel = world.allowed(call.user, id, 0)?;
    Ok(Reply::Ok(call.app.view(&world, call.user).channel(channel)))
}

/// `POST /guilds/{guild_id}/channels`
pub(crate) async fn create(call: &mut Call<'_>, guild: Snowflake) -> Answer {
    let app = call.app;
    app.world()
        .allowed_in_guild(call.user, guild, bits::MANAGE_CHANNELS)?;
    let body = dispatch::json_object(call).await?;
    let kind = match body["type"].as_u64() {
        None => Some(TEXT),
        Some(number) => u8::try_from(number).ok(),
    };
    let known = kind.filter(|kind| [TEXT, VOICE, CATEGORY, ANNOUNCEMENT, FORUM].contains(kind));
    let mut form = Form::default();
    if known.is_none() {
        form.bad_choice("type", "0, 2, 4, 5, 13, 14, 15");
    }
    if body["name"].is_null() {
        form.required("name");
    }
    form.finish()?;
    let mut world = app.world();
    let here = world
        .rooms
        .values()
        .filter(|room| room.channel.thread.is_none())
        .count() as u64;
    if here >= app.limits().channels_max {
        return Err(Refusal::TooManyChannels);
    }
    let id = world.ids.next(app.now_ms());
    let mut channel = Channel::new(id, known.unwrap_or(TEXT), "", None);
    channel.position = u32::try_from(here).unwrap_or(u32::MAX);
    change(&mut channel, &body)?;
    if let Some(parent) = channel.parent
        && world.room(parent).map(|room| room.channel.kind) != Ok(CATEGORY)
    {
        let mut form = Form::default();
        form.wrong(
            "parent_id",
            "CHANNEL_PARENT_INVALID",
            "Category does not exist",
        );
        form.finish()?;
    }
    app.put_channel(&mut world, channel)?;
    let channel = &world.room(id)?.channel;
    Ok(Reply::Created(app.view(&world, call.user).channel(channel)))
}

/// `PATCH /channels/{channel_id}`, also for threads.
pub(crate) async fn edit(call: &mut Call<'_>, id: Snowflake) -> Answer {
    let app = call.app;
    let is_thread = {
        let world = app.world();
        world.allowed(call.user, id, 0)?.thread.is_some()
    };
    let body = dispatch::json_object(call).await?;
    let renames = body.get("name").is_some() || body.get("topic").is_some();
    if renames {
        count_rename(app, call.user, id)?;
    }
    let mut world = app.world();
    let channel = if is_thread {
        threads::changed(app, &mut world, call.user, id, &body)?
    } else {
        let mut channel = world.allowed(call.user, id, bits::MANAGE_CHANNELS)?.clone();
        change(&mut channel, &body)?;
        channel
    };
    app.put_channel(&mut world, channel)?;
    let channel = &world.room(id)?.channel;
    Ok(Reply::Ok(app.view(&world, call.user).channel(channel)))
}

fn count_rename(app: &App, user: Snowflake, id: Snowflake) -> Result<(), Refusal> {
    let limits = app.limits();
    if limits.rate_limits == RateLimits::Off {
        return Ok(());
    }
    let bucket = Bucket {
        name: "rename channel",
        major: Some(id),
    };
    let rule = limits.routes.rename_channel;
    app.limiter()
        .take_hidden(user, bucket, rule, 0, app.now_ms())
}

/// Writes what a body says into a channel that is not a thread.
fn change(channel: &mut Channel, body: &Value) -> Result<(), Refusal> {
    let mut form = Form::default();
    if let Some(name) = body["name"].as_str() {
        if !(1..=100).contains(&name.chars().count()) {
            form.bad_length("name", 1, 100);
        }
        channel.name = match channel.kind {
            TEXT | ANNOUNCEMENT | FORUM => name.to_lowercase().replace(' ', "-"),
            _ => name.to_owned(),
        };
    }
    if let Some(topic) = body.get("topic") {
        channel.topic = topic.as_str().map(str::to_owned);
        let max = if channel.kind == FORUM { 4096 } else { 1024 };
        if channel
            .topic
            .as_ref()
            .is_some_and(|topic| topic.chars().count() > max)
        {
            form.too_long("topic", max);
        }
    }
    if let Some(position) = body["position"].as_u64() {
        channel.position = u32::try_from(position).unwrap_or(u32::MAX);
    }
    if let Some(nsfw) = body["nsfw"].as_bool() {
        channel.nsfw = nsfw;
    }
    if let Some(seconds) = body["rate_limit_per_user"].as_u64() {
        if seconds > SLOWMODE_S_MAX {
            let message = "int value should be less than or equal to 21600.";
            form.wrong("rate_limit_per_user", "NUMBER_TYPE_MAX", message);
        }
        channel.slowmode_s = u32::try_from(seconds).unwrap_or(0);
    }
    if let Some(parent) = body.get("parent_id") {
        channel.parent = snowflake(parent);
    }
    if let Some(minutes) = auto_archive(
        &mut form,
        &body["default_auto_archive_duration"],
        "default_auto_archive_duration",
    ) {
        channel.default_auto_archive_min = Some(minutes);
    }
    if let Some(all) = body["permission_overwrites"].as_array() {
        channel.overwrites = all
            .iter()
            .filter_map(|one| overwrite(snowflake(&one["id"])?, one))
            .collect();
    }
    form.finish()
}

/// One of the four durations after which a thread is archived.
pub(crate) fn auto_archive(form: &mut Form, value: &Value, path: &str) -> Option<u32> {
    if value.is_null() {
        return None;
    }
    let known = value
        .as_u64()
        .filter(|minutes| AUTO_ARCHIVE_MIN.contains(minutes));
    if known.is_none() {
        form.bad_choice(path, "60, 1440, 4320, 10080");
    }
    known.and_then(|minutes| u32::try_from(minutes).ok())
}

fn overwrite(id: Snowflake, body: &Value) -> Option<Overwrite> {
    let number = |value: &Value| match value {
        Value::String(text) => text.parse().ok(),
        Value::Null => Some(0),
        other => other.as_u64(),
    };
    Some(Overwrite {
        id,
        whom: if body["type"] == json!(1) || body["type"] == json!("1") {
            Whom::Member
        } else {
            Whom::Role
        },
        allow: number(&body["allow"])?,
        deny: number(&body["deny"])?,
    })
}

/// `DELETE /channels/{channel_id}`, also for threads.
pub(crate) fn delete(call: &Call<'_>, id: Snowflake) -> Answer {
    let mut world = call.app.world();
    let wanted = match world.allowed(call.user, id, 0)?.thread {
        Some(_) => bits::MANAGE_THREADS,
        None => bits::MANAGE_CHANNELS,
    };
    world.allowed(call.user, id, wanted)?;
    let channel = call.app.delete_channel(&mut world, id)?;
    Ok(Reply::Ok(
        call.app.view(&world, call.user).channel(&channel),
    ))
}

/// `PUT /channels/{channel_id}/permissions/{overwrite_id}`
pub(crate) async fn put_overwrite(call: &mut Call<'_>, id: Snowflake, whom: Snowflake) -> Answer {
    let body = dispatch::json_object(call).await?;
    let mut world = call.app.world();
    let mut channel = world.allowed(call.user, id, bits::MANAGE_ROLES)?.clone();
    let Some(new) = overwrite(whom, &body) else {
        let mut form = Form::default();
        form.bad_snowflake("allow", "");
        return form.finish().map(|()| Reply::NoContent);
    };
    channel.overwrites.retain(|one| one.id != whom);
    channel.overwrites.push(new);
    call.app.put_channel(&mut world, channel)?;
    Ok(Reply::NoContent)
}

/// `DELETE /channels/{channel_id}/permissions/{overwrite_id}`
pub(crate) fn delete_overwrite(call: &Call<'_>, id: Snowflake, whom: Snowflake) -> Answer {
    let mut world = call.app.world();
    let mut channel = world.allowed(call.user, id, bits::MANAGE_ROLES)?.clone();
    let before = channel.overwrites.len();
    channel.overwrites.retain(|one| one.id != whom);
    if channel.overwrites.len() == before {
        return Err(Refusal::UnknownOverwrite);
    }
    call.app.put_channel(&mut world, channel)?;
    Ok(Reply::NoContent)
}

/// `POST /channels/{channel_id}/typing`
pub(crate) fn typing(call: &Call<'_>, id: Snowflake) -> Answer {
    let world = call.app.world();
    let channel = world.allowed(call.user, id, 0)?;
    let send = match channel.thread {
        Some(_) => bits::SEND_MESSAGES_IN_THREADS,
        None => bits::SEND_MESSAGES,
    };
    world.allowed(call.user, id, send)?;
    call.app.announce(&world, &Event::Typing(id, call.user));
    Ok(Reply::NoContent)
}
