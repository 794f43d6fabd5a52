//! Creating, reading and listing messages.

use serde_json::Value;

use crate::emulator::app::App;
use crate::emulator::dispatch;
use crate::emulator::draft::{self, Draft};
use crate::emulator::fault::FaultKind;
use crate::emulator::model::{CATEGORY, DEFAULT, FORUM, Message, REPLY, VOICE};
use crate::emulator::permissions::bits;
use crate::emulator::reply::{Answer, Refusal, Reply, wrong};
use crate::emulator::server::Call;
use crate::emulator::snowflake::Snowflake;
use crate::emulator::threads;
use crate::emulator::upload::{self, MessageForm};
use crate::emulator::world::{Hidden, World};

/// `POST /channels/{channel_id}/messages`
pub(crate) async fn create(call: &mut Call<'_>, channel: Snowflake) -> Answer {
    let (app, user) = (call.app, call.user);
    may_send(&app.world(), user, channel)?;
    let form = upload::read(call).await?;
    let draft = Draft::parse(&form)?;
    check_not_empty(&draft, &form)?;
    let mut world = app.world();
    let now_ms = app.now_ms();
    // The channel may have changed while the body was on its way.
    may_send(&world, user, channel)?;
    may_carry(&world, user, channel, &draft, &form)?;
    if let Some(nonce) = draft.nonce.as_ref().filter(|_| draft.enforce_nonce) {
        let oldest_ms = now_ms.saturating_sub(app.limits().nonce_window_s * 1000);
        if let Some(first) = world.by_nonce(user, channel, nonce, oldest_ms) {
            app.counts().messages_repeated += 1;
            let message = world.message(channel, first)?;
            let view = app.view(&world, user).message(message);
            return Ok(Reply::Ok(draft::echo(view, Some(nonce))));
        }
    }
    threads::may_wake(app, &mut world, channel)?;
    let id = world.ids.next(now_ms);
    let mut message = Message::new(id, channel, user, DEFAULT);
    message.tts = draft.tts;
    message.nonce.clone_from(&draft.nonce);
    if let Some(target) = draft.reply_to {
        let found = world.message(channel, target.message).is_ok();
        if !found && target.must_exist {
            let code = "REPLIES_UNKNOWN_MESSAGE";
            return Err(wrong("message_reference", code, "Unknown message"));
        }
        if found {
            message.kind = REPLY;
            message.reference = Some((channel, Some(target.message)));
        }
    }
    store(app, &mut world, message, &draft, form, &call.faults)?;
    let view = app.view(&world, user).message(world.message(channel, id)?);
    Ok(Reply::Ok(draft::echo(view, draft.nonce.as_ref())))
}

/// Completes a new message with what its form says and stores it.
pub(crate) fn store(
    app: &App,
    world: &mut World,
    mut message: Message,
    draft: &Draft,
    form: MessageForm,
    faults: &[FaultKind],
) -> Result<(), Refusal> {
    draft.write(&mut message);
    let id = message.id;
    attach(app, world, &mut message, draft, form, faults)?;
    for kind in faults {
        if let FaultKind::ListedLate { ms, listings } = kind {
            let until_ms = app.now_ms() + ms;
            let listings = *listings;
            world.hidden.insert(id, Hidden { until_ms, listings });
        }
    }
    app.post(world, message)?;
    app.counts().messages += 1;
    Ok(())
}

/// Makes the files of a form attachments of a message.
pub(crate) fn attach(
    app: &App,
    world: &mut World,
    message: &mut Message,
    draft: &Draft,
    form: MessageForm,
    faults: &[FaultKind],
) -> Result<(), Refusal> {
    for file in form.files {
        let attachment = draft.attachment(&file);
        for kind in faults {
            if let FaultKind::WrongBytes { gets } = kind {
                world.flawed.insert(attachment.id, *gets);
            }
        }
        {
            let mut counts = app.counts();
            counts.attachments += 1;
            counts.bytes_stored += file.incoming.bytes();
        }
        message.attachments.push(attachment);
        file.incoming.finish().map_err(|error| {
            log::error!("emulator: cannot keep an upload: {error}");
            Refusal::Broken
        })?;
    }
    Ok(())
}

/// May this user write here at all?
fn may_send(world: &World, user: Snowflake, channel: Snowflake) -> Result<(), Refusal> {
    let channel = world.allowed(user, channel, 0)?;
    match channel.kind {
        FORUM => return Err(Refusal::ForumNeedsThread),
        CATEGORY | VOICE => return Err(Refusal::WrongChannelKind),
        _ => {}
    }
    let permissions = world.permissions(user, channel);
    let send = match channel.thread {
        Some(_) => bits::SEND_MESSAGES_IN_THREADS,
        None => bits::SEND_MESSAGES,
    };
    if permissions & send == 0 {
        return Err(Refusal::MissingPermissions);
    }
    let locked = channel.thread.as_ref().is_some_and(|thread| thread.locked);
    if locked && permissions & bits::MANAGE_THREADS == 0 {
        return Err(Refusal::ThreadLocked);
    }
    Ok(())
}

/// May this user send files and embeds here, if there are any?
pub(crate) fn may_carry(
    world: &World,
    user: Snowflake,
    channel: Snowflake,
    draft: &Draft,
    form: &MessageForm,
) -> Result<(), Refusal> {
    if !form.files.is_empty() {
        world.allowed(user, channel, bits::ATTACH_FILES)?;
    }
    if draft
        .embeds
        .as_ref()
        .is_some_and(|embeds| !embeds.is_empty())
    {
        world.allowed(user, channel, bits::EMBED_LINKS)?;
    }
    Ok(())
}

pub(crate) fn check_not_empty(draft: &Draft, form: &MessageForm) -> Result<(), Refusal> {
    let content = draft.content.as_ref().is_some_and(|text| !text.is_empty());
    let embeds = draft.embeds.as_ref().is_some_and(|all| !all.is_empty());
    let components = draft.components.as_ref().is_some_and(|all| !all.is_empty());
    if content || embeds || components || !form.files.is_empty() {
        Ok(())
    } else {
        Err(Refusal::EmptyMessage)
    }
}

/// `GET /channels/{channel_id}/messages/{message_id}`
pub(crate) fn get(call: &Call<'_>, channel: Snowflake, id: Snowflake) -> Answer {
    let world = call.app.world();
    world.allowed(call.user, channel, bits::READ_MESSAGE_HISTORY)?;
    let message = world.message(channel, id)?;
    Ok(Reply::Ok(call.app.view(&world, call.user).message(message)))
}

/// Which part of a channel's history is wanted.
#[derive(Clone, Copy, Debug)]
enum Page {
    Newest,
    Before(Snowflake),
    After(Snowflake),
    Around(Snowflake),
}

/// `GET /channels/{channel_id}/messages`: always newest first.
pub(crate) fn list(call: &Call<'_>, channel: Snowflake) -> Answer {
    let app = call.app;
    let limit = dispatch::limit(call, 1, 100, 50)?;
    let page = page(call)?;
    let mut world = app.world();
    let place = world.allowed(call.user, channel, 0)?;
    if world.permissions(call.user, place) & bits::READ_MESSAGE_HISTORY == 0 {
        return Ok(Reply::Ok(Value::Array(Vec::new())));
    }
    let now_ms = app.now_ms();
    let mut late = Vec::new();
    let view = app.view(&world, call.user);
    let room = world.room(channel)?;
    let mut shown = |id: &Snowflake| match world.hidden.get(id) {
        Some(one) if one.until_ms > now_ms || one.listings > 0 => {
            late.push(*id);
            false
        }
        _ => true,
    };
    let all = &room.messages;
    let ids: Vec<Snowflake> = match page {
        Page::Newest => all
            .keys()
            .rev()
            .copied()
            .filter(&mut shown)
            .take(limit)
            .collect(),
        Page::Before(id) => {
            let older = all.range(..id).rev().map(|(id, _)| *id);
            older.filter(&mut shown).take(limit).collect()
        }
        Page::After(id) => {
            let newer = all
                .range(Snowflake(id.0.saturating_add(1))..)
                .map(|(id, _)| *id);
            let mut newer: Vec<_> = newer.filter(&mut shown).take(limit).collect();
            newer.reverse();
            newer
        }
        Page::Around(id) => {
            let newer = all
                .range(Snowflake(id.0.saturating_add(1))..)
                .map(|(id, _)| *id);
            let mut ids: Vec<_> = newer.filter(&mut shown).take(limit / 2).collect();
            ids.reverse();
            let older = all.range(..=id).rev().map(|(id, _)| *id);
            ids.extend(older.filter(&mut shown).take(limit - limit / 2));
            ids
        }
    };
    let messages = ids.iter().filter_map(|id| all.get(id));
    let list: Value = messages.map(|message| view.message(message)).collect();
    for id in late {
        if let Some(hidden) = world.hidden.get_mut(&id) {
            hidden.listings = hidden.listings.saturating_sub(1);
        }
    }
    Ok(Reply::Ok(list))
}

fn page(call: &Call<'_>) -> Result<Page, Refusal> {
    let mut found = Page::Newest;
    let mut given = 0;
    for (name, page) in [
        ("before", Page::Before as fn(Snowflake) -> Page),
        ("after", Page::After),
        ("around", Page::Around),
    ] {
        if let Some(text) = call.param(name) {
            let not_snowflake = || {
                let message = format!("Value \"{text}\" is not snowflake.");
                wrong(name, "NUMBER_TYPE_COERCE", &message)
            };
            found = page(text.parse().map_err(|_| not_snowflake())?);
            given += 1;
        }
    }
    if given > 1 {
        let message = "Only one of before, after and around may be given.";
        return Err(wrong("", "PAGE_AMBIGUOUS", message));
    }
    Ok(found)
}
