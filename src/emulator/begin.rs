//! An interaction begins: written down, told to the application, and waited for.

use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

use crate::emulator::app::App;
use crate::emulator::desk::{Interaction, Kind};
use crate::emulator::model::Message;
use crate::emulator::permissions::bits;
use crate::emulator::resolve;
use crate::emulator::snowflake::Snowflake;
use crate::emulator::view;
use crate::emulator::world::World;

const LOCALE: &str = "en-US";

/// What a user does, checked, before it has an id.
#[derive(Debug)]
pub(crate) struct Deed {
    pub(crate) kind: Kind,
    pub(crate) data: Value,
    /// Message whose component was used.
    pub(crate) source: Option<Message>,
    /// Name of the command.
    pub(crate) command: Option<String>,
    /// Type number of the command, or of the option that is completed.
    pub(crate) number: u64,
    /// `interaction_metadata` of what led to a modal.
    pub(crate) trigger: Option<Value>,
}

/// May this user use an application's commands and components here?
pub(crate) fn may_interact(
    world: &World,
    user: Snowflake,
    channel: Snowflake,
) -> Result<(), String> {
    let wanted = bits::USE_APPLICATION_COMMANDS;
    match world.allowed(user, channel, wanted) {
        Ok(_) => Ok(()),
        Err(refusal) => Err(format!("not allowed in channel {channel}: {refusal:?}")),
    }
}

/// Begins the interaction; the application hears of it if it is connected.
pub(crate) fn begin(
    app: &App,
    world: &mut World,
    (user, channel): (Snowflake, Snowflake),
    deed: Deed,
) -> Result<(Snowflake, Heard), String> {
    let now_ms = app.now_ms();
    let id = world.ids.next(now_ms);
    let mut secret = [0; 48];
    getrandom::fill(&mut secret).map_err(|error| format!("no randomness: {error}"))?;
    let proof = BASE64URL_NOPAD.encode(&secret);
    let token = BASE64URL_NOPAD.encode(format!("interaction:{id}:{proof}").as_bytes());
    let about = world.users.get(&user).map(view::user);
    let mut metadata = json!({
        "id": id,
        "type": deed.kind.number(),
        "user": about,
        "authorizing_integration_owners": {"0": world.identity.guild},
    });
    let source = deed.source.as_ref().map(|message| message.id);
    match (deed.kind, deed.trigger, source) {
        (Kind::Modal, Some(trigger), _) => metadata["triggering_interaction_metadata"] = trigger,
        (Kind::Component, _, Some(source)) => metadata["interacted_message_id"] = json!(source),
        _ => {}
    }
    let command = deed
        .command
        .map(|name| json!({"id": id, "type": deed.kind.number(), "name": name, "user": about}));
    let event = event(
        app,
        world,
        (user, channel),
        &deed.data,
        deed.source.as_ref(),
    );
    let mut event = event.map_err(|refusal| format!("{refusal:?}"))?;
    event["id"] = json!(id);
    event["type"] = json!(deed.kind.number());
    event["token"] = json!(token);
    app.desk().add(Interaction {
        id,
        token,
        kind: deed.kind,
        user,
        channel,
        born_ms: now_ms,
        source,
        metadata,
        command,
        command_kind: deed.number,
        answer: None,
        original: None,
        answered: Arc::default(),
    });
    let bot = world.identity.bot;
    let heard = match app.hub.push_to(bot, "INTERACTION_CREATE", &event) {
        0 => Heard::ByNobody,
        _ => Heard::ByApplication,
    };
    Ok((id, heard))
}

/// Whether an application had a session when the interaction began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    ByApplication,
    ByNobody,
}

/// `INTERACTION_CREATE`, but for the ids.
fn event(
    app: &App,
    world: &World,
    (user, channel): (Snowflake, Snowflake),
    data: &Value,
    source: Option<&Message>,
) -> Result<Value, crate::emulator::reply::Refusal> {
    let bot = world.identity.bot;
    let view = app.view(world, bot);
    let place = &world.room(channel)?.channel;
    let guild = world.identity.guild;
    let mut event = json!({
        "application_id": bot,
        "version": 1,
        "guild_id": guild,
        "guild": {"id": guild, "features": [], "locale": LOCALE},
        "guild_locale": LOCALE,
        "channel_id": channel,
        "channel": view.channel(place),
        "member": resolve::member(&view, user, place),
        "locale": LOCALE,
        "app_permissions": world.permissions(bot, place).to_string(),
        "entitlements": [],
        "entitlement_sku_ids": [],
        "authorizing_integration_owners": {"0": guild},
        "context": 0,
        "attachment_size_limit": app.limits().attachment_bytes_max(world.guild.premium_tier),
        "data": data,
    });
    if let Some(message) = source {
        event["message"] = view.message(message);
    }
    Ok(event)
}

/// What came of an interaction, waiting for its first answer for so long.
pub(crate) async fn outcome(app: &App, id: Snowflake, heard: Heard, wait: Duration) -> Value {
    let deadline = tokio::time::Instant::now() + wait;
    loop {
        let Some((answer, answered)) = app
            .desk()
            .get(id)
            .map(|one| (one.answer.clone(), Arc::clone(&one.answered)))
        else {
            return json!({"interaction": id, "state": "forgotten"});
        };
        if let Some(answer) = answer {
            return json!({"interaction": id, "state": "answered", "answer": answer});
        }
        if heard == Heard::ByNobody {
            return json!({"interaction": id, "state": "nobody"});
        }
        let waited = tokio::time::timeout_at(deadline, answered.notified()).await;
        if waited.is_err() {
            return json!({"interaction": id, "state": "waiting"});
        }
    }
}
