//! A user presses a button, chooses from a menu, or sends a modal.

use serde_json::{Map, Value, json};

use crate::emulator::app::App;
use crate::emulator::begin::{self, Deed, Heard};
use crate::emulator::desk::Kind;
use crate::emulator::followups::{self, Audience};
use crate::emulator::invoke::text_of;
use crate::emulator::resolve::Resolver;
use crate::emulator::snowflake::Snowflake;

const ROW: u64 = 1;
const BUTTON: u64 = 2;
const STRING_SELECT: u64 = 3;
const TEXT_INPUT: u64 = 4;
const USER_SELECT: u64 = 5;
const ROLE_SELECT: u64 = 6;
const MENTIONABLE_SELECT: u64 = 7;
const CHANNEL_SELECT: u64 = 8;
const TEXT_DISPLAY: u64 = 10;
const LABEL: u64 = 18;
/// Styles of buttons that tell the application nothing.
const LINK: u64 = 5;
const PREMIUM: u64 = 6;

/// Uses a component of a message.
pub(crate) fn click(
    app: &App,
    (user, channel): (Snowflake, Snowflake),
    message: Snowflake,
    custom_id: &str,
    values: &[String],
) -> Result<(Snowflake, Heard), String> {
    let mut world = app.world();
    world
        .allowed(user, channel, 0)
        .map_err(|refusal| format!("not allowed in channel {channel}: {refusal:?}"))?;
    let found = followups::find(&world, channel, message).ok();
    let found = found.filter(|(_, audience)| match audience {
        Audience::Channel => true,
        Audience::Only(reader) => *reader == user,
    });
    let (message, _) = found.ok_or_else(|| format!("no such message: {message}"))?;
    if message.author != world.identity.bot {
        return Err("no application wrote this message".to_owned());
    }
    let component = find(&message.components, custom_id);
    let component = component.ok_or_else(|| format!("no such component: {custom_id}"))?;
    if component["disabled"] == true {
        return Err("the component is disabled".to_owned());
    }
    let number = component["type"].as_u64().unwrap_or(0);
    let mut data = json!({
        "component_type": number,
        "custom_id": custom_id,
        "id": component["id"],
    });
    if number == BUTTON {
        if matches!(component["style"].as_u64(), Some(LINK | PREMIUM)) {
            return Err("a link does not tell the application anything".to_owned());
        }
    } else {
        count(component, values)?;
        let place = &world.room(channel).map_err(|_| "no such channel")?.channel;
        let mut resolver = Resolver::new(app.view(&world, world.identity.bot), place);
        choose(&mut resolver, component, user, values)?;
        data["values"] = json!(values);
        resolver.finish(&mut data);
    }
    let deed = Deed {
        kind: Kind::Component,
        data,
        source: Some(message),
        command: None,
        number,
        trigger: None,
    };
    begin::begin(app, &mut world, (user, channel), deed)
}

fn inner(component: &Value) -> impl Iterator<Item = &Value> {
    let nested = component["components"].as_array().into_iter().flatten();
    let single = ["accessory", "component"].map(|name| &component[name]);
    nested.chain(single.into_iter().filter(|one| one.is_object()))
}

fn find<'a>(components: &'a [Value], custom_id: &str) -> Option<&'a Value> {
    components.iter().find_map(|one| look(one, custom_id))
}

fn look<'a>(component: &'a Value, custom_id: &str) -> Option<&'a Value> {
    if component["custom_id"] == custom_id {
        return Some(component);
    }
    inner(component).find_map(|one| look(one, custom_id))
}

/// Are so many values allowed?
fn count(select: &Value, values: &[String]) -> Result<(), String> {
    let bound = |name: &str| select[name].as_u64().unwrap_or(1);
    let (min, max) = (bound("min_values"), bound("max_values"));
    if (min..=max).contains(&(values.len() as u64)) {
        Ok(())
    } else {
        Err(format!("between {min} and {max} values are expected"))
    }
}

/// Checks the values chosen in a menu, and resolves those that are ids.
fn choose(
    resolver: &mut Resolver<'_>,
    select: &Value,
    user: Snowflake,
    values: &[String],
) -> Result<(), String> {
    for value in values {
        let id = || value.parse().map_err(|_| format!("{value} is not an id"));
        match select["type"].as_u64() {
            Some(STRING_SELECT) => {
                let mut options = select["options"].as_array().into_iter().flatten();
                if !options.any(|one| one["value"] == *value) {
                    return Err(format!("{value} is not one of the options"));
                }
            }
            Some(USER_SELECT) => resolver.user(id()?)?,
            Some(ROLE_SELECT) => resolver.role(id()?)?,
            Some(MENTIONABLE_SELECT) => {
                let id = id()?;
                resolver.user(id).or_else(|_| resolver.role(id))?;
            }
            Some(CHANNEL_SELECT) => drop(resolver.channel(user, id()?)?),
            _ => return Err("this component cannot be used".to_owned()),
        }
    }
    Ok(())
}

/// Sends the modal that an interaction was answered with. A text is a string, a choice a list.
pub(crate) fn submit(
    app: &App,
    (user, channel): (Snowflake, Snowflake),
    opened_by: Snowflake,
    values: &Map<String, Value>,
) -> Result<(Snowflake, Heard), String> {
    let opener = app.desk().get(opened_by).cloned();
    let opener = opener.filter(|one| one.user == user && one.channel == channel);
    let opener = opener.ok_or_else(|| format!("no such interaction: {opened_by}"))?;
    let modal = opener.answer.as_ref().map(|answer| &answer["modal"]);
    let modal = modal.filter(|modal| modal.is_object());
    let modal = modal.ok_or_else(|| "that interaction did not open a modal".to_owned())?;
    let fields = modal["components"].as_array().into_iter().flatten();
    let components = fields.map(|one| filled(one, values));
    let components: Vec<Value> = components.collect::<Result<_, _>>()?;
    let mut world = app.world();
    let source = opener.source;
    let source = source.and_then(|id| followups::find(&world, channel, id).ok());
    let deed = Deed {
        kind: Kind::Modal,
        data: json!({"custom_id": modal["custom_id"], "components": components}),
        source: source.map(|(message, _)| message),
        command: None,
        number: 0,
        trigger: Some(opener.metadata),
    };
    begin::begin(app, &mut world, (user, channel), deed)
}

/// A part of a modal as it is sent back.
fn filled(component: &Value, values: &Map<String, Value>) -> Result<Value, String> {
    let mut out = json!({"type": component["type"], "id": component["id"]});
    match component["type"].as_u64() {
        Some(ROW) => {
            let all = inner(component).map(|one| filled(one, values));
            out["components"] = Value::Array(all.collect::<Result<_, _>>()?);
            return Ok(out);
        }
        Some(LABEL) => {
            out["component"] = filled(&component["component"], values)?;
            return Ok(out);
        }
        Some(TEXT_DISPLAY) => return Ok(out),
        _ => {}
    }
    let name = component["custom_id"].as_str().unwrap_or_default();
    out["custom_id"] = json!(name);
    let value = values.get(name);
    if component["type"] == TEXT_INPUT {
        let text = value.map(text_of).unwrap_or_default();
        let length = text.chars().count() as u64;
        let is_required = component["required"] != false;
        let min = component["min_length"].as_u64().unwrap_or(0);
        let max = component["max_length"].as_u64().unwrap_or(4000);
        if is_required && text.is_empty() || !text.is_empty() && length < min || length > max {
            return Err(format!("field {name} is too short or too long"));
        }
        out["value"] = json!(text);
    } else {
        let chosen: Vec<String> = match value {
            Some(Value::Array(all)) => all.iter().map(text_of).collect(),
            Some(one) => vec![text_of(one)],
            None => Vec::new(),
        };
        if component["required"] != false {
            count(component, &chosen).map_err(|why| format!("field {name}: {why}"))?;
        }
        out["values"] = json!(chosen);
    }
    Ok(out)
}
