//! The control port: what a test in another process can see and change, below `/_control`.
//!
//! Bodies and answers are JSON; what is wrong is answered 400 with `{"error": sentence}`. Ids are
//! strings, permission bits strings or numbers.
//!
//! | request | does |
//! | --- | --- |
//! | `GET /` | who and what there is: guild, bot, member, tokens, channels |
//! | `GET counts` | what was asked and given so far |
//! | `GET, POST, DELETE faults` | faults: listed, added (one, a list, a plan), all taken away |
//! | `GET, PATCH limits` | limits: read, or those given changed |
//! | `POST permissions {bits}` | the permissions of the bot's role |
//! | `POST message-content "granted"` or `"withheld"` | the privileged intent |
//! | `POST clock {advance_ms}` | moves the emulator's time |
//! | `POST gateway {order}` | `reconnect` (opcode 7), `invalidate` (opcode 9) or `drop`, for all sessions |
//! | `GET people`, `POST people {name, permissions?, roles?}` | everybody; a new member |
//! | `GET people/{user}/overview` | what the person finds: channels, threads, people, roles, commands |
//! | `PATCH people/{user} {permissions?, roles?}` | the permissions of its own role; its roles |
//! | `GET interactions/{id}` | an interaction: its kind, token and first answer |
//! | `GET events` | server-sent events: where something changed |
//! | `POST roles {name, permissions}` | a new role |
//!
//! Below `people/{user}/channels/{channel}/` a person acts, with the rights it has there. Bodies may
//! be multipart with `payload_json` and `files[n]`, as those of messages are.
//!
//! | request | does |
//! | --- | --- |
//! | `GET messages?before=&limit=` | what the person sees, ephemeral messages too, newest first |
//! | `POST messages {content, …}` | posts a message, with files; answers it |
//! | `POST commands {command, options: {name: value}, target?}` | runs a command; subcommands follow after spaces, an attachment option's value is the number of its file |
//! | `POST completions {command, options, focused}` | asks what could complete an option |
//! | `POST clicks {message, custom_id, values?}` | presses a button, or chooses from a menu |
//! | `POST modals {interaction, values: {custom_id: value}}` | sends the modal that an interaction opened |
//!
//! The last four wait for the application's first answer, three seconds or `?wait_ms=`, and answer
//! `{interaction, state, answer}`: the state is `answered`, `waiting`, or `nobody` when no application
//! is connected; the answer has the callback's `type` and its `message` and `ephemeral`, its
//! `choices`, or its `modal`.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{Method, Response};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::emulator::app::App;
use crate::emulator::events;
use crate::emulator::fault::{Fault, FaultPlan};
use crate::emulator::hub::Order;
use crate::emulator::overview;
use crate::emulator::people;
use crate::emulator::reply::json_response;
use crate::emulator::settings::MessageContent;
use crate::emulator::snowflake::Snowflake;
use crate::emulator::wire::WireHandle;

const BODY_BYTES_MAX: usize = 16 << 20;

/// Answers a control request. Errors are 400 with a sentence.
pub(crate) async fn handle(app: &App, wire: WireHandle, request: Request) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let path: Vec<&str> = path.split('/').skip(2).collect();
    if let ["people", user, "channels", channel, act] = path[..] {
        let (Ok(user), Ok(channel)) = (user.parse(), channel.parse()) else {
            return refused("user and channel are ids");
        };
        return people::act(app, wire, (user, channel, act), request).await;
    }
    if path == ["events"] && request.method() == Method::GET {
        return events::handle(app);
    }
    let (parts, body) = request.into_parts();
    let path = parts
        .uri
        .path()
        .trim_start_matches("/_control")
        .trim_matches('/')
        .to_owned();
    let bytes = match axum::body::to_bytes(body, BODY_BYTES_MAX).await {
        Ok(bytes) => bytes,
        Err(error) => return refused(&error.to_string()),
    };
    let body = if bytes.is_empty() {
        Value::Null
    } else {
        match serde_json::from_slice(&bytes) {
            Ok(body) => body,
            Err(error) => return refused(&error.to_string()),
        }
    };
    match act(app, parts.method.as_str(), &path, body) {
        Ok(answer) => json_response(200, &answer),
        Err(why) => refused(&why),
    }
}

fn refused(why: &str) -> Response<Body> {
    json_response(400, &json!({"error": why}))
}

fn act(app: &App, method: &str, path: &str, body: Value) -> Result<Value, String> {
    match (method, path) {
        ("GET", "") => Ok(identity(app)),
        ("GET", "counts") => serde_json::to_value(&*app.counts()).map_err(|e| e.to_string()),
        ("GET", "faults") => Ok(fault_list(app)),
        ("POST", "faults") => add_faults(app, body),
        ("DELETE", "faults") => {
            app.faults().clear();
            Ok(Value::Null)
        }
        ("GET", "limits") => serde_json::to_value(&*app.limits()).map_err(|e| e.to_string()),
        ("PATCH" | "POST", "limits") => change_limits(app, body),
        ("POST", "permissions") => {
            let bits: u64 = number(&body["bits"])?;
            app.change_bot_role(|_| bits)
                .map_err(|refusal| format!("{refusal:?}"))?;
            Ok(Value::Null)
        }
        ("POST", "message-content") => {
            app.set_message_content(parsed::<MessageContent>(body)?);
            Ok(Value::Null)
        }
        ("POST", "clock") => {
            app.clock.advance(number(&body["advance_ms"])?);
            Ok(json!({"now_ms": app.now_ms()}))
        }
        ("POST", "gateway") => {
            let order: Order = parsed(body["order"].clone())?;
            Ok(json!({"sessions": app.hub.order(order)}))
        }
        ("GET", "people") => Ok(people::list(app)),
        ("POST", "people") => people::add(app, &body),
        ("GET", path) if path.starts_with("interactions/") => {
            let id = path.trim_start_matches("interactions/").parse();
            interaction(app, id.map_err(|_| "not an id")?)
        }
        ("POST", "roles") => people::add_role(app, &body),
        (method, path) if path.starts_with("people/") => {
            let rest = path.trim_start_matches("people/");
            let (user, what) = rest.split_once('/').unwrap_or((rest, ""));
            let user = user.parse().map_err(|_| "not an id")?;
            match (method, what) {
                ("PATCH", "") => people::change(app, user, &body),
                ("GET", "overview") => overview::of(app, user),
                _ => Err(format!("no such control: {method} {path}")),
            }
        }
        _ => Err(format!("no such control: {method} {path}")),
    }
}

fn identity(app: &App) -> Value {
    let world = app.world();
    let identity = &world.identity;
    json!({
        "guild_id": identity.guild,
        "bot_id": identity.bot,
        "application_id": identity.bot,
        "member_id": identity.member,
        "token": identity.token,
        "member_token": identity.member_token,
        "channels": world.rooms.keys().collect::<Vec<_>>(),
    })
}

fn interaction(app: &App, id: Snowflake) -> Result<Value, String> {
    let desk = app.desk();
    let found = desk.get(id).ok_or("no such interaction")?;
    Ok(json!({
        "id": found.id,
        "type": found.kind.number(),
        "token": found.token,
        "answer": found.answer,
    }))
}

fn fault_list(app: &App) -> Value {
    let faults = app.faults();
    let rows = faults.list().into_iter();
    rows.map(|(id, fault, seen, met)| json!({"id": id, "fault": fault, "seen": seen, "met": met}))
        .collect()
}

/// One fault, a list of them, or a plan.
fn add_faults(app: &App, body: Value) -> Result<Value, String> {
    let new: Vec<Fault> = if body.is_array() {
        parsed(body)?
    } else if body.get("faults").is_some() {
        parsed::<FaultPlan>(body)?.faults
    } else {
        vec![parsed(body)?]
    };
    let mut faults = app.faults();
    let ids: Vec<u64> = new.into_iter().map(|fault| faults.add(fault)).collect();
    Ok(json!({"ids": ids}))
}

/// Changes the limits that are given; the rest stay.
fn change_limits(app: &App, body: Value) -> Result<Value, String> {
    let mut all = serde_json::to_value(&*app.limits()).map_err(|error| error.to_string())?;
    merge(&mut all, body);
    app.set_limits(parsed(all.clone())?);
    Ok(all)
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

fn parsed<T: DeserializeOwned>(body: Value) -> Result<T, String> {
    serde_json::from_value(body).map_err(|error| error.to_string())
}

fn number(value: &Value) -> Result<u64, String> {
    let text = value.as_str().and_then(|text| text.parse().ok());
    text.or_else(|| value.as_u64())
        .ok_or_else(|| "a number is missing".to_owned())
}
