//! The control port: what a test in another process can see and change, below `/_control`.

use axum::body::Body;
use axum::extract::Request;
use axum::http::Response;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::emulator::app::App;
use crate::emulator::fault::{Fault, FaultPlan};
use crate::emulator::reply::json_response;
use crate::emulator::settings::MessageContent;

const BODY_BYTES_MAX: usize = 16 << 20;

/// Answers a control request. Errors are 400 with a sentence.
pub(crate) async fn handle(app: &App, request: Request) -> Response<Body> {
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
