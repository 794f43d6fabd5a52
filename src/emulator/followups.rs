//! The messages that answer an interaction: made, read, changed and deleted by its token.

use serde_json::{Value, json};

use crate::emulator::app::App;
use crate::emulator::desk::{Interaction, TOKEN_MS};
use crate::emulator::draft::Draft;
use crate::emulator::hub::News;
use crate::emulator::messages;
use crate::emulator::model::{DEFAULT, EPHEMERAL, LOADING, Message, REPLY};
use crate::emulator::reply::{Answer, Refusal, Reply};
use crate::emulator::route::Hook;
use crate::emulator::server::Call;
use crate::emulator::snowflake::Snowflake;
use crate::emulator::upload::{self, MessageForm};
use crate::emulator::world::World;

/// Who sees a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    Channel,
    Only(Snowflake),
}

impl Audience {
    /// What the flags of a form ask for.
    pub(crate) fn of(form: &MessageForm, user: Snowflake) -> Self {
        let flags = form.fields.get("flags").and_then(Value::as_u64);
        match flags.unwrap_or(0) & EPHEMERAL {
            0 => Self::Channel,
            _ => Self::Only(user),
        }
    }
}

/// A message of the channel, or an ephemeral one in it.
pub(crate) fn find(
    world: &World,
    channel: Snowflake,
    id: Snowflake,
) -> Result<(Message, Audience), Refusal> {
    match world
        .whispers
        .get(id)
        .filter(|one| one.message.channel == channel)
    {
        Some(whisper) => Ok((whisper.message.clone(), Audience::Only(whisper.to))),
        None => Ok((world.message(channel, id)?.clone(), Audience::Channel)),
    }
}

/// Stores a new message and tells.
pub(crate) fn keep(
    app: &App,
    world: &mut World,
    mut message: Message,
    audience: Audience,
) -> Result<(), Refusal> {
    app.counts().messages += 1;
    let channel = message.channel;
    match audience {
        Audience::Channel => app.post(world, message),
        Audience::Only(user) => {
            world.room(channel)?;
            message.flags |= EPHEMERAL;
            world.whispers.put(user, message, app.now_ms());
            app.tell(News::Channel(channel));
            Ok(())
        }
    }
}

/// Completes a new message with what its form says, stores it and tells.
pub(crate) fn store(
    call: &Call<'_>,
    world: &mut World,
    mut message: Message,
    audience: Audience,
    draft: &Draft,
    form: MessageForm,
) -> Result<(), Refusal> {
    draft.write(&mut message);
    messages::attach(call.app, world, &mut message, draft, form, &call.faults)?;
    keep(call.app, world, message, audience)
}

/// Changes a message as its form says, and tells.
pub(crate) fn change(
    call: &Call<'_>,
    world: &mut World,
    mut message: Message,
    audience: Audience,
    draft: &Draft,
    form: MessageForm,
) -> Result<(), Refusal> {
    let app = call.app;
    draft.write(&mut message);
    if let Some(listed) = &draft.listed {
        let kept = |id: Snowflake| listed.iter().any(|one| one.id == id.0);
        message.attachments.retain(|old| kept(old.id));
    }
    if message.attachments.len() + form.files.len() > 10 {
        return Err(Refusal::TooManyAttachments);
    }
    if message.is_empty() && form.files.is_empty() {
        return Err(Refusal::EmptyMessage);
    }
    messages::attach(app, world, &mut message, draft, form, &call.faults)?;
    if message.flags & LOADING == 0 {
        message.edited_ms = Some(app.now_ms());
    }
    message.flags &= !LOADING;
    match audience {
        Audience::Channel => app.amend(world, message),
        Audience::Only(user) => {
            let channel = message.channel;
            world.whispers.put(user, message, app.now_ms());
            app.tell(News::Channel(channel));
            Ok(())
        }
    }
}

/// The interaction a token stands for, while it does and once it was answered.
fn open(app: &App, hook: &Hook) -> Result<Interaction, Refusal> {
    let desk = app.desk();
    let found = desk.by_token(&hook.token);
    let interaction = found.ok_or(Refusal::WebhookToken)?.clone();
    drop(desk);
    if hook.application != app.world().identity.bot {
        return Err(Refusal::UnknownWebhook);
    }
    if app.now_ms().saturating_sub(interaction.born_ms) >= TOKEN_MS {
        return Err(Refusal::WebhookToken);
    }
    if interaction.answer.is_none() {
        return Err(Refusal::UnknownWebhook);
    }
    Ok(interaction)
}

/// The message a path names, if it answers this interaction.
fn named(
    world: &World,
    interaction: &Interaction,
    message: Option<Snowflake>,
) -> Result<(Message, Audience), Refusal> {
    let id = message.or(interaction.original);
    let id = id.ok_or(Refusal::UnknownMessage)?;
    let (message, audience) = find(world, interaction.channel, id)?;
    let origin = message.origin.as_ref();
    let about = origin.map(|origin| &origin["interaction_metadata"]["id"]);
    let is_its_own =
        interaction.original == Some(id) || about == Some(&json!(interaction.id.to_string()));
    is_its_own
        .then_some((message, audience))
        .ok_or(Refusal::UnknownMessage)
}

fn shown(app: &App, world: &World, channel: Snowflake, id: Snowflake) -> Answer {
    let (message, _) = find(world, channel, id)?;
    let view = app.view(world, world.identity.bot);
    Ok(Reply::Ok(view.message(&message)))
}

/// `POST /webhooks/{application_id}/{token}`: the first one after a deferral becomes what was deferred.
pub(crate) async fn create(call: &mut Call<'_>, hook: &Hook) -> Answer {
    open(call.app, hook)?;
    let form = upload::read(call).await?;
    let draft = Draft::parse(&form)?;
    messages::check_not_empty(&draft, &form)?;
    let app = call.app;
    let interaction = open(app, hook)?;
    let channel = interaction.channel;
    let mut world = app.world();
    let original = interaction.original.map(|id| find(&world, channel, id));
    let original = original.and_then(Result::ok);
    if let Some((waiting, audience)) = original
        .as_ref()
        .filter(|(message, _)| message.flags & LOADING != 0)
    {
        change(call, &mut world, waiting.clone(), *audience, &draft, form)?;
        return shown(app, &world, channel, waiting.id);
    }
    let (id, bot) = (world.ids.next(app.now_ms()), world.identity.bot);
    let mut message = Message::new(id, channel, bot, DEFAULT);
    let mut origin = interaction.origin(bot);
    if let Some((first, audience)) = original {
        origin["interaction_metadata"]["original_response_message_id"] = json!(first.id);
        if audience == Audience::Channel {
            message.kind = REPLY;
            message.reference = Some((channel, Some(first.id)));
        }
    }
    message.origin = Some(origin);
    let audience = Audience::of(&form, interaction.user);
    store(call, &mut world, message, audience, &draft, form)?;
    shown(app, &world, channel, id)
}

/// `GET …/messages/{message_id}` and `…/messages/@original`
pub(crate) fn get(call: &Call<'_>, hook: &Hook, message: Option<Snowflake>) -> Answer {
    let interaction = open(call.app, hook)?;
    let world = call.app.world();
    let (message, _) = named(&world, &interaction, message)?;
    shown(call.app, &world, message.channel, message.id)
}

/// `PATCH …/messages/{message_id}` and `…/messages/@original`
pub(crate) async fn edit(call: &mut Call<'_>, hook: &Hook, id: Option<Snowflake>) -> Answer {
    open(call.app, hook)?;
    let form = upload::read(call).await?;
    let draft = Draft::parse(&form)?;
    let interaction = open(call.app, hook)?;
    let mut world = call.app.world();
    let (message, audience) = named(&world, &interaction, id)?;
    let id = message.id;
    change(call, &mut world, message, audience, &draft, form)?;
    shown(call.app, &world, interaction.channel, id)
}

/// `DELETE …/messages/{message_id}` and `…/messages/@original`
pub(crate) fn delete(call: &Call<'_>, hook: &Hook, message: Option<Snowflake>) -> Answer {
    let app = call.app;
    let interaction = open(app, hook)?;
    let mut world = app.world();
    let (message, audience) = named(&world, &interaction, message)?;
    match audience {
        Audience::Channel => app.delete_messages(&mut world, message.channel, vec![message.id])?,
        Audience::Only(_) => {
            world.whispers.remove(message.id);
            app.tell(News::Channel(message.channel));
        }
    }
    Ok(Reply::NoContent)
}
