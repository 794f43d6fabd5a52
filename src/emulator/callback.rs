//! The first answer to an interaction.

use serde_json::{Map, Value, json};

use crate::emulator::app::App;
use crate::emulator::command_form;
use crate::emulator::desk::{FIRST_MS, Interaction, Kind};
use crate::emulator::draft::Draft;
use crate::emulator::embeds;
use crate::emulator::followups::{self, Audience};
use crate::emulator::messages;
use crate::emulator::model::{
    COMMAND_ANSWER, DEFAULT, EPHEMERAL, LOADING, MENU_ANSWER, Message, REPLY,
};
use crate::emulator::reply::{Answer, Form, Refusal, Reply};
use crate::emulator::server::Call;
use crate::emulator::snowflake::Snowflake;
use crate::emulator::upload::{self, MessageForm};
use crate::emulator::world::World;

const CHOICES_MAX: usize = 25;
const TITLE_CHARS_MAX: usize = 45;

const MESSAGE: u64 = 4;
const DEFERRED_MESSAGE: u64 = 5;
const DEFERRED_UPDATE: u64 = 6;
const UPDATE: u64 = 7;
const CHOICES: u64 = 8;
const MODAL: u64 = 9;

/// `POST /interactions/{interaction_id}/{interaction_token}/callback`
pub(crate) async fn answer(call: &mut Call<'_>, id: Snowflake, token: &str) -> Answer {
    let app = call.app;
    let interaction = open(app, id, token)?;
    if app.now_ms().saturating_sub(interaction.born_ms) > FIRST_MS {
        return Err(Refusal::UnknownInteraction);
    }
    let mut form = upload::read(call).await?;
    let kind = kind(&interaction, form.fields.get("type"))?;
    form.fields = match form.fields.remove("data") {
        Some(Value::Object(data)) => data,
        _ => Map::new(),
    };
    let mut world = app.world();
    // Another answer may have come while this one's body was on its way.
    open(app, id, token)?;
    let answer = match kind {
        MESSAGE => say(call, &mut world, &interaction, form)?,
        DEFERRED_MESSAGE => defer(app, &mut world, &interaction, &form)?,
        UPDATE => update(call, &mut world, &interaction, form)?,
        CHOICES => json!({"type": kind, "choices": choices(&interaction, &form)?}),
        MODAL => json!({"type": kind, "modal": modal(&form)?}),
        _ => json!({"type": kind}),
    };
    let original = match kind {
        MESSAGE | DEFERRED_MESSAGE => answer["message"].as_str().and_then(|id| id.parse().ok()),
        DEFERRED_UPDATE | UPDATE => interaction.source,
        _ => None,
    };
    app.desk().answer(id, answer.clone(), original);
    Ok(match call.param("with_response") {
        Some("true" | "1") => Reply::Ok(response(app, &world, &interaction, kind, original)),
        _ => Reply::NoContent,
    })
}

/// The interaction, if it waits for its first answer.
fn open(app: &App, id: Snowflake, token: &str) -> Result<Interaction, Refusal> {
    let desk = app.desk();
    let found = desk.get(id).filter(|one| one.token == token);
    match found.ok_or(Refusal::UnknownInteraction)? {
        answered if answered.answer.is_some() => Err(Refusal::InteractionAnswered),
        waiting => Ok(waiting.clone()),
    }
}

/// The kind of answer, if it fits the interaction.
fn kind(interaction: &Interaction, sent: Option<&Value>) -> Result<u64, Refusal> {
    let allowed: &[u64] = match (interaction.kind, interaction.source) {
        (Kind::Command, _) => &[MESSAGE, DEFERRED_MESSAGE, MODAL],
        (Kind::Autocomplete, _) => &[CHOICES],
        (Kind::Component, _) => &[MESSAGE, DEFERRED_MESSAGE, DEFERRED_UPDATE, UPDATE, MODAL],
        (Kind::Modal, None) => &[MESSAGE, DEFERRED_MESSAGE],
        (Kind::Modal, Some(_)) => &[MESSAGE, DEFERRED_MESSAGE, DEFERRED_UPDATE, UPDATE],
    };
    let mut form = Form::default();
    let kind = sent.and_then(Value::as_u64);
    match kind.filter(|kind| allowed.contains(kind)) {
        Some(kind) => return Ok(kind),
        None if sent.is_none() => form.required("type"),
        None => {
            let allowed: Vec<String> = allowed.iter().map(u64::to_string).collect();
            form.bad_choice("type", &allowed.join(", "));
        }
    }
    form.finish().map(|()| 0)
}

/// What is said of a message in `data`; errors are told there.
fn draft(form: &MessageForm) -> Result<Draft, Refusal> {
    Draft::parse(form).map_err(|refusal| match refusal {
        Refusal::Form(errors) => Refusal::Form(json!({"data": errors})),
        other => other,
    })
}

/// An empty message of the kind that answers this interaction.
fn blank(app: &App, world: &mut World, interaction: &Interaction) -> Message {
    let kind = match (interaction.kind, interaction.command_kind) {
        (Kind::Command, 1) => COMMAND_ANSWER,
        (Kind::Command, _) => MENU_ANSWER,
        _ => DEFAULT,
    };
    let (id, bot) = (world.ids.next(app.now_ms()), world.identity.bot);
    let mut message = Message::new(id, interaction.channel, bot, kind);
    let source = interaction.source.filter(|_| kind == DEFAULT);
    if let Some(source) = source.filter(|id| world.message(interaction.channel, *id).is_ok()) {
        message.kind = REPLY;
        message.reference = Some((interaction.channel, Some(source)));
    }
    message.origin = Some(interaction.origin(bot));
    message
}

fn told(kind: u64, message: Snowflake, audience: Audience) -> Value {
    let ephemeral = audience != Audience::Channel;
    json!({"type": kind, "message": message, "ephemeral": ephemeral})
}

fn say(
    call: &Call<'_>,
    world: &mut World,
    interaction: &Interaction,
    form: MessageForm,
) -> Result<Value, Refusal> {
    let draft = draft(&form)?;
    messages::check_not_empty(&draft, &form)?;
    let audience = Audience::of(&form, interaction.user);
    let message = blank(call.app, world, interaction);
    let id = message.id;
    followups::store(call, world, message, audience, &draft, form)?;
    Ok(told(MESSAGE, id, audience))
}

fn defer(
    app: &App,
    world: &mut World,
    interaction: &Interaction,
    form: &MessageForm,
) -> Result<Value, Refusal> {
    let audience = Audience::of(form, interaction.user);
    let mut message = blank(app, world, interaction);
    message.flags |= LOADING;
    let id = message.id;
    followups::keep(app, world, message, audience)?;
    Ok(told(DEFERRED_MESSAGE, id, audience))
}

fn update(
    call: &Call<'_>,
    world: &mut World,
    interaction: &Interaction,
    form: MessageForm,
) -> Result<Value, Refusal> {
    let source = interaction.source.ok_or(Refusal::UnknownMessage)?;
    let draft = draft(&form)?;
    let (message, audience) = followups::find(world, interaction.channel, source)?;
    followups::change(call, world, message, audience, &draft, form)?;
    Ok(told(UPDATE, source, audience))
}

/// What an autocompletion offers.
fn choices(interaction: &Interaction, sent: &MessageForm) -> Result<Value, Refusal> {
    let mut form = Form::default();
    let all = match sent.fields.get("choices") {
        Some(Value::Array(all)) => all.clone(),
        _ => {
            form.required("data/choices");
            Vec::new()
        }
    };
    if all.len() > CHOICES_MAX {
        form.too_long("data/choices", CHOICES_MAX);
    }
    for (at, one) in all.iter().enumerate() {
        let path = format!("data/choices/{at}");
        command_form::choice(&mut form, &path, one, interaction.command_kind);
    }
    form.finish().map(|()| Value::Array(all))
}

/// A modal to show.
fn modal(sent: &MessageForm) -> Result<Value, Refusal> {
    let mut form = Form::default();
    let text = |form: &mut Form, name: &str, max: usize| {
        let path = format!("data/{name}");
        match sent.fields.get(name).and_then(Value::as_str) {
            None => form.required(&path),
            Some(text) if !(1..=max).contains(&text.chars().count()) => {
                form.bad_length(&path, 1, max);
            }
            Some(_) => {}
        }
        sent.fields.get(name).cloned().unwrap_or_default()
    };
    let (custom_id, title) = (
        text(&mut form, "custom_id", 100),
        text(&mut form, "title", TITLE_CHARS_MAX),
    );
    let components = embeds::components(&mut form, sent.fields.get("components"));
    if components.as_ref().is_none_or(Vec::is_empty) {
        form.required("data/components");
    }
    form.finish()?;
    Ok(json!({"custom_id": custom_id, "title": title, "components": components}))
}

/// The body of `with_response`.
fn response(
    app: &App,
    world: &World,
    interaction: &Interaction,
    kind: u64,
    original: Option<Snowflake>,
) -> Value {
    let mut view = json!({"interaction": {
        "id": interaction.id,
        "type": interaction.kind.number(),
        "channel_id": interaction.channel,
        "guild_id": world.identity.guild,
    }});
    let found = original.and_then(|id| followups::find(world, interaction.channel, id).ok());
    let Some((message, _)) = found else {
        return view;
    };
    let about = &mut view["interaction"];
    about["response_message_id"] = json!(message.id);
    about["response_message_loading"] = json!(message.flags & LOADING != 0);
    about["response_message_ephemeral"] = json!(message.flags & EPHEMERAL != 0);
    if matches!(kind, MESSAGE | UPDATE) {
        let message = app.view(world, world.identity.bot).message(&message);
        view["resource"] = json!({"type": kind, "message": message});
    }
    view
}
