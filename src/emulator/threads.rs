//! Threads: made from a message, alone or as a forum post; listed, changed, joined.

use serde_json::{Map, Value, json};

use crate::emulator::app::App;
use crate::emulator::channels::auto_archive;
use crate::emulator::dispatch;
use crate::emulator::draft::{Draft, snowflake};
use crate::emulator::messages;
use crate::emulator::model::{
    ANNOUNCEMENT, ANNOUNCEMENT_THREAD, Channel, DEFAULT, FORUM, HAS_THREAD, Message,
    PRIVATE_THREAD, PUBLIC_THREAD, TEXT, THREAD_CREATED, THREAD_STARTER, Thread,
};
use crate::emulator::permissions::bits;
use crate::emulator::reply::{Answer, Form, Refusal, Reply, wrong};
use crate::emulator::route::Privacy;
use crate::emulator::server::Call;
use crate::emulator::snowflake::{Snowflake, parse_iso_us};
use crate::emulator::upload::{self, MessageForm};
use crate::emulator::world::World;

const AUTO_ARCHIVE_MIN_DEFAULT: u32 = 4320;

/// `POST /channels/{channel_id}/messages/{message_id}/threads`
pub(crate) async fn from_message(
    call: &mut Call<'_>,
    parent: Snowflake,
    message: Snowflake,
) -> Answer {
    let (app, user) = (call.app, call.user);
    let body = dispatch::json_object(call).await?;
    let mut world = app.world();
    let place = world.allowed(user, parent, bits::CREATE_PUBLIC_THREADS)?;
    let kind = match place.kind {
        TEXT => PUBLIC_THREAD,
        ANNOUNCEMENT => ANNOUNCEMENT_THREAD,
        _ => return Err(Refusal::WrongChannelKind),
    };
    let mut starter = world.message(parent, message)?.clone();
    if world.rooms.contains_key(&message) {
        return Err(Refusal::ThreadExists);
    }
    let thread = new_thread(app, &mut world, user, (message, kind, parent), &body)?;
    app.put_channel(&mut world, thread)?;
    starter.flags |= HAS_THREAD;
    app.amend(&mut world, starter)?;
    let id = world.ids.next(app.now_ms());
    let mut first = Message::new(id, message, user, THREAD_STARTER);
    first.reference = Some((parent, Some(message)));
    app.post(&mut world, first)?;
    let channel = &world.room(message)?.channel;
    Ok(Reply::Created(app.view(&world, user).channel(channel)))
}

/// `POST /channels/{channel_id}/threads`: without a message, or with its first one in a forum.
pub(crate) async fn create(call: &mut Call<'_>, parent: Snowflake) -> Answer {
    let (app, user) = (call.app, call.user);
    let parent_kind = app.world().allowed(user, parent, 0)?.kind;
    let form = upload::read(call).await?;
    if parent_kind == FORUM {
        return create_post(call, parent, form);
    }
    let body = Value::Object(form.fields);
    // Private is the default of this route.
    let kind = match body["type"].as_u64() {
        None => PRIVATE_THREAD,
        Some(number) => u8::try_from(number).unwrap_or(u8::MAX),
    };
    let wanted = match (kind, parent_kind) {
        (PUBLIC_THREAD, TEXT) | (ANNOUNCEMENT_THREAD, ANNOUNCEMENT) => bits::CREATE_PUBLIC_THREADS,
        (PRIVATE_THREAD, TEXT) => bits::CREATE_PRIVATE_THREADS,
        (PUBLIC_THREAD | PRIVATE_THREAD | ANNOUNCEMENT_THREAD, _) => {
            return Err(Refusal::WrongChannelKind);
        }
        _ => {
            return Err(wrong(
                "type",
                "BASE_TYPE_CHOICES",
                "Value must be one of {10, 11, 12}.",
            ));
        }
    };
    let mut world = app.world();
    world.allowed(user, parent, wanted)?;
    let id = world.ids.next(app.now_ms());
    let thread = new_thread(app, &mut world, user, (id, kind, parent), &body)?;
    let name = thread.name.clone();
    app.put_channel(&mut world, thread)?;
    if kind != PRIVATE_THREAD {
        let notice = world.ids.next(app.now_ms());
        let mut notice = Message::new(notice, parent, user, THREAD_CREATED);
        notice.content = name;
        notice.reference = Some((id, None));
        app.post(&mut world, notice)?;
    }
    let channel = &world.room(id)?.channel;
    Ok(Reply::Created(app.view(&world, user).channel(channel)))
}

fn create_post(call: &Call<'_>, parent: Snowflake, mut form: MessageForm) -> Answer {
    let (app, user) = (call.app, call.user);
    let mut body = Value::Object(std::mem::take(&mut form.fields));
    let inner = body["message"].take();
    form.fields = match inner {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    let draft = Draft::parse(&form)?;
    let mut world = app.world();
    world.allowed(user, parent, bits::SEND_MESSAGES)?;
    messages::check_not_empty(&draft, &form)?;
    messages::may_carry(&world, user, parent, &draft, &form)?;
    let id = world.ids.next(app.now_ms());
    let thread = new_thread(app, &mut world, user, (id, PUBLIC_THREAD, parent), &body)?;
    app.put_channel(&mut world, thread)?;
    let first = Message::new(id, id, user, DEFAULT);
    messages::store(app, &mut world, first, &draft, form, &call.faults)?;
    let view = app.view(&world, user);
    let mut thread = view.channel(&world.room(id)?.channel);
    thread["message"] = view.message(world.message(id, id)?);
    Ok(Reply::Created(thread))
}

/// Is there a place for one more active thread in the guild?
fn one_more(app: &App, world: &mut World) -> Result<(), Refusal> {
    app.archive_silent(world)?;
    let is_active = |channel: &&Channel| {
        let thread = channel.thread.as_ref();
        thread.is_some_and(|thread| !thread.archived)
    };
    if world.threads().filter(is_active).count() as u64 >= app.limits().active_threads_max {
        return Err(Refusal::TooManyThreads);
    }
    Ok(())
}

/// May a message be written here, as far as that makes an archived thread an active one again?
pub(crate) fn may_wake(app: &App, world: &mut World, id: Snowflake) -> Result<(), Refusal> {
    let thread = world.room(id)?.channel.thread.as_ref();
    match thread.is_some_and(|thread| thread.archived) {
        true => one_more(app, world),
        false => Ok(()),
    }
}

/// Checks a thread's form and makes the thread.
fn new_thread(
    app: &App,
    world: &mut World,
    owner: Snowflake,
    (id, kind, parent): (Snowflake, u8, Snowflake),
    body: &Value,
) -> Result<Channel, Refusal> {
    one_more(app, world)?;
    let now_ms = app.now_ms();
    let default = world.room(parent)?.channel.default_auto_archive_min;
    let mut channel = Channel::new(id, kind, "", Some(parent));
    channel.thread = Some(Thread {
        owner,
        archived: false,
        locked: false,
        invitable: body["invitable"].as_bool().unwrap_or(true),
        archive_us: world.stamp_us(now_ms),
        auto_archive_min: default.unwrap_or(AUTO_ARCHIVE_MIN_DEFAULT),
        active_ms: now_ms,
        message_count: 0,
        total_sent: 0,
        members: vec![(owner, now_ms)],
        applied_tags: Vec::new(),
    });
    let mut form = Form::default();
    if body["name"].as_str().is_none() {
        form.required("name");
    }
    write(&mut channel, body, &mut form);
    form.finish()?;
    Ok(channel)
}

/// Writes what a body says into a thread, except whether it is archived or locked.
fn write(channel: &mut Channel, body: &Value, form: &mut Form) {
    if let Some(name) = body["name"].as_str() {
        if !(1..=100).contains(&name.chars().count()) {
            form.bad_length("name", 1, 100);
        }
        name.clone_into(&mut channel.name);
    }
    if let Some(seconds) = body["rate_limit_per_user"].as_u64() {
        channel.slowmode_s = u32::try_from(seconds).unwrap_or(0).min(21_600);
    }
    let minutes = auto_archive(
        form,
        &body["auto_archive_duration"],
        "auto_archive_duration",
    );
    let Some(thread) = &mut channel.thread else {
        return;
    };
    if let Some(minutes) = minutes {
        thread.auto_archive_min = minutes;
    }
    if let Some(invitable) = body["invitable"].as_bool() {
        thread.invitable = invitable;
    }
    if let Some(tags) = body["applied_tags"].as_array() {
        if tags.len() > 5 {
            form.too_long("applied_tags", 5);
        }
        thread.applied_tags = tags.iter().filter_map(snowflake).collect();
    }
}

/// A thread after a `PATCH`, checked but not stored.
pub(crate) fn changed(
    app: &App,
    world: &mut World,
    user: Snowflake,
    id: Snowflake,
    body: &Value,
) -> Result<Channel, Refusal> {
    app.archive_silent(world)?;
    let stamp_us = world.stamp_us(app.now_ms());
    let mut channel = world.allowed(user, id, 0)?.clone();
    let may_wake = may_wake(app, world, id);
    let manages = world.permissions(user, &channel) & bits::MANAGE_THREADS != 0;
    let Some(thread) = &mut channel.thread else {
        return Err(Refusal::WrongChannelKind);
    };
    let archived = body["archived"].as_bool();
    let only_opens = archived == Some(false)
        && body
            .as_object()
            .is_some_and(|all| all.keys().all(|name| name == "archived"));
    let may = manages || thread.owner == user || only_opens && !thread.locked;
    if !may || body["locked"].is_boolean() && !manages || thread.locked && !manages {
        return Err(Refusal::MissingPermissions);
    }
    if thread.archived && archived != Some(false) && !body["locked"].is_boolean() {
        return Err(Refusal::ThreadArchived);
    }
    if let Some(archived) = archived.filter(|archived| *archived != thread.archived) {
        may_wake?;
        thread.archived = archived;
        thread.archive_us = stamp_us;
        thread.active_ms = app.now_ms();
    }
    if let Some(locked) = body["locked"].as_bool() {
        thread.locked = locked;
    }
    let mut form = Form::default();
    write(&mut channel, body, &mut form);
    form.finish()?;
    Ok(channel)
}

/// `GET /guilds/{guild_id}/threads/active`
pub(crate) fn active(call: &Call<'_>, guild: Snowflake) -> Answer {
    let (app, user) = (call.app, call.user);
    let mut world = app.world();
    world.allowed_in_guild(user, guild, 0)?;
    app.archive_silent(&mut world)?;
    let view = app.view(&world, user);
    let is_open = |channel: &&Channel| {
        channel
            .thread
            .as_ref()
            .is_some_and(|thread| !thread.archived)
            && world.permissions(user, channel) & bits::VIEW_CHANNEL != 0
    };
    let mut open: Vec<&Channel> = world.threads().filter(is_open).collect();
    open.sort_by_key(|channel| std::cmp::Reverse(channel.id));
    let members: Vec<Value> = open
        .iter()
        .filter_map(|channel| view.thread_member(channel, user))
        .collect();
    let threads: Vec<Value> = open.iter().map(|channel| view.channel(channel)).collect();
    // Required by the schema, and always false: all active threads are in one answer.
    Ok(Reply::Ok(
        json!({"threads": threads, "members": members, "has_more": false}),
    ))
}

/// The `…/threads/archived/…` lists.
pub(crate) fn archived(call: &Call<'_>, parent: Snowflake, which: Privacy) -> Answer {
    let (app, user) = (call.app, call.user);
    let limit = dispatch::limit(call, 2, 100, 50)?;
    let mut world = app.world();
    app.archive_silent(&mut world)?;
    let wanted = match which {
        Privacy::Public | Privacy::Joined => bits::READ_MESSAGE_HISTORY,
        Privacy::Private => bits::READ_MESSAGE_HISTORY | bits::MANAGE_THREADS,
    };
    world.allowed(user, parent, wanted)?;
    let place = |channel: &Channel| match (which, &channel.thread) {
        (Privacy::Joined, _) => channel.id.0,
        (_, thread) => thread.as_ref().map_or(0, |thread| thread.archive_us),
    };
    let before = match (call.param("before"), which) {
        (None, _) => Some(u64::MAX),
        (Some(text), Privacy::Joined) => text.parse().ok(),
        (Some(text), Privacy::Public | Privacy::Private) => parse_iso_us(text),
    };
    let Some(before) = before else {
        let message = "Input should be a valid cursor of this list.";
        return Err(wrong("before", "DATETIME_PARSE", message));
    };
    let is_wanted = |channel: &&Channel| {
        let Some(thread) = channel.thread.as_ref().filter(|thread| thread.archived) else {
            return false;
        };
        let kind = match which {
            Privacy::Public => channel.kind != PRIVATE_THREAD,
            Privacy::Private => channel.kind == PRIVATE_THREAD,
            Privacy::Joined => {
                channel.kind == PRIVATE_THREAD && thread.members.iter().any(|(id, _)| *id == user)
            }
        };
        kind && place(channel) < before
    };
    let mut found: Vec<&Channel> = world.threads_of(parent).filter(is_wanted).collect();
    found.sort_by_key(|channel| std::cmp::Reverse(place(channel)));
    let has_more = found.len() > limit;
    found.truncate(limit);
    let view = app.view(&world, user);
    let members: Vec<Value> = found
        .iter()
        .filter_map(|channel| view.thread_member(channel, user))
        .collect();
    let threads: Vec<Value> = found.iter().map(|channel| view.channel(channel)).collect();
    Ok(Reply::Ok(
        json!({"threads": threads, "members": members, "has_more": has_more}),
    ))
}

/// `GET /channels/{channel_id}/thread-members`
pub(crate) fn members(call: &Call<'_>, id: Snowflake) -> Answer {
    let world = call.app.world();
    let channel = world.allowed(call.user, id, 0)?;
    let Some(thread) = &channel.thread else {
        return Err(Refusal::WrongChannelKind);
    };
    let view = call.app.view(&world, call.user);
    let members = thread
        .members
        .iter()
        .filter_map(|(user, _)| view.thread_member(channel, *user));
    Ok(Reply::Ok(members.collect()))
}

/// `GET /channels/{channel_id}/thread-members/{user_id}`
pub(crate) fn member(call: &Call<'_>, id: Snowflake, user: Option<Snowflake>) -> Answer {
    let world = call.app.world();
    let channel = world.allowed(call.user, id, 0)?;
    let view = call.app.view(&world, call.user);
    let member = view.thread_member(channel, user.unwrap_or(call.user));
    member.map(Reply::Ok).ok_or(Refusal::UnknownMember)
}

/// `PUT /channels/{channel_id}/thread-members/{user_id}`
pub(crate) fn join(call: &Call<'_>, id: Snowflake, user: Option<Snowflake>) -> Answer {
    let user = user.unwrap_or(call.user);
    change_members(call, id, |members, now_ms| {
        if !members.iter().any(|(member, _)| *member == user) {
            members.push((user, now_ms));
        }
    })
}

/// `DELETE /channels/{channel_id}/thread-members/{user_id}`
pub(crate) fn leave(call: &Call<'_>, id: Snowflake, user: Option<Snowflake>) -> Answer {
    let user = user.unwrap_or(call.user);
    if user != call.user {
        call.app
            .world()
            .allowed(call.user, id, bits::MANAGE_THREADS)?;
    }
    change_members(call, id, |members, _| {
        members.retain(|(member, _)| *member != user)
    })
}

fn change_members(
    call: &Call<'_>,
    id: Snowflake,
    change: impl FnOnce(&mut Vec<(Snowflake, u64)>, u64),
) -> Answer {
    let mut world = call.app.world();
    let mut channel = world.allowed(call.user, id, 0)?.clone();
    let Some(thread) = &mut channel.thread else {
        return Err(Refusal::WrongChannelKind);
    };
    if thread.archived {
        return Err(Refusal::ThreadArchived);
    }
    change(&mut thread.members, call.app.now_ms());
    call.app.put_channel(&mut world, channel)?;
    Ok(Reply::NoContent)
}
