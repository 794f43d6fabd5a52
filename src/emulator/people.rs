//! What people do: post, run commands, press buttons; for tests and for the page.

use std::cmp::Reverse;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{Response, header};
use serde_json::{Map, Value, json};

use crate::emulator::app::App;
use crate::emulator::begin;
use crate::emulator::desk::FIRST_MS;
use crate::emulator::dispatch;
use crate::emulator::draft::snowflake;
use crate::emulator::hub::News;
use crate::emulator::invoke::{self, Typed};
use crate::emulator::messages;
use crate::emulator::model::{Member, Message, Record, Role, User, UserKind};
use crate::emulator::payload::Payload;
use crate::emulator::permissions::bits;
use crate::emulator::press;
use crate::emulator::reply::{Refusal, Reply, json_response};
use crate::emulator::route;
use crate::emulator::server::{Call, text};
use crate::emulator::snowflake::Snowflake;
use crate::emulator::upload::{self, MessageForm};
use crate::emulator::view;
use crate::emulator::wire::WireHandle;
use crate::emulator::world::World;

/// Answers what is below `/_control/people/{user}/channels/{channel}/`.
pub(crate) async fn act(
    app: &App,
    wire: WireHandle,
    (user, channel, act): (Snowflake, Snowflake, &str),
    request: Request,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let mut call = Call {
        app,
        user,
        query: route::pairs(parts.uri.query().unwrap_or("")),
        content_type: text(&parts.headers, header::CONTENT_TYPE.as_str()),
        payload: Payload::new(body, wire, app.limits().request_bytes_max, None),
        faults: Vec::new(),
    };
    let known = {
        let world = app.world();
        world.members.contains_key(&user) && user != world.identity.bot
    };
    let result = match (known, parts.method.as_str(), act) {
        (false, ..) => Err(format!("no such person: {user}")),
        (true, "GET", "messages") => seen(&call, channel),
        (true, "POST", act) => carry_out(&mut call, channel, act).await,
        (true, method, act) => Err(format!("no such control: {method} {act}")),
    };
    call.payload.drain().await;
    match result {
        Ok(answer) => json_response(200, &answer),
        Err(why) => json_response(400, &json!({"error": why})),
    }
}

async fn carry_out(call: &mut Call<'_>, channel: Snowflake, act: &str) -> Result<Value, String> {
    if act == "messages" {
        let posted = messages::create(call, channel).await;
        return match posted.map_err(|refusal| told(&refusal))? {
            Reply::Ok(message) | Reply::Created(message) => Ok(message),
            Reply::NoContent => Ok(Value::Null),
        };
    }
    let (app, user) = (call.app, call.user);
    let form = upload::read(call).await.map_err(|refusal| told(&refusal))?;
    let fields = &form.fields;
    let string = |name: &str| match fields.get(name) {
        Some(Value::String(text)) => Ok(text.clone()),
        _ => Err(format!("{name} is missing")),
    };
    let id = |name: &str| {
        let id = fields.get(name).and_then(snowflake);
        id.ok_or_else(|| format!("{name} is missing or is not an id"))
    };
    let place = (user, channel);
    let (interaction, heard) = match act {
        "commands" => invoke::run(app, user, channel, typed(form)?)?,
        "completions" => {
            string("focused")?;
            invoke::run(app, user, channel, typed(form)?)?
        }
        "clicks" => {
            let values = fields.get("values").and_then(Value::as_array);
            let values = values.into_iter().flatten().map(invoke::text_of);
            let values: Vec<String> = values.collect();
            press::click(app, place, id("message")?, &string("custom_id")?, &values)?
        }
        "modals" => press::submit(app, place, id("interaction")?, &object(fields, "values")?)?,
        _ => return Err(format!("no such act: {act}")),
    };
    let wait_ms = call.param("wait_ms").map_or(Ok(FIRST_MS), str::parse);
    let wait_ms = wait_ms.map_err(|_| "wait_ms is not a number".to_owned())?;
    let wait = Duration::from_millis(wait_ms.min(FIRST_MS));
    Ok(begin::outcome(app, interaction, heard, wait).await)
}

/// What a person sees in a channel, newest first.
fn seen(call: &Call<'_>, channel: Snowflake) -> Result<Value, String> {
    let (app, user) = (call.app, call.user);
    let limit = dispatch::limit(call, 1, 100, 50).map_err(|refusal| told(&refusal))?;
    let before = call.param("before").map(str::parse).transpose();
    let before = before.map_err(|_| "before is not an id".to_owned())?;
    let before = before.unwrap_or(Snowflake(u64::MAX));
    let world = app.world();
    let place = world
        .allowed(user, channel, 0)
        .map_err(|refusal| told(&refusal))?;
    let reads = world.permissions(user, place) & bits::READ_MESSAGE_HISTORY != 0;
    let room = world.room(channel).map_err(|refusal| told(&refusal))?;
    let lasting = room.messages.range(..before).rev().map(|(_, one)| one);
    let mut all: Vec<&Message> = lasting.take(if reads { limit } else { 0 }).collect();
    let whispers = world.whispers.seen_by(user, channel);
    all.extend(whispers.filter(|one| one.id < before));
    all.sort_by_key(|message| Reverse(message.id));
    all.truncate(limit);
    let view = app.view(&world, user);
    Ok(all
        .into_iter()
        .map(|message| view.message(message))
        .collect())
}

fn told(refusal: &Refusal) -> String {
    refusal.to_string()
}

fn object(fields: &Map<String, Value>, name: &str) -> Result<Map<String, Value>, String> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(object)) => Ok(object.clone()),
        Some(_) => Err(format!("{name} is not an object")),
    }
}

fn typed(form: MessageForm) -> Result<Typed, String> {
    let text = |name: &str| {
        let value = form.fields.get(name).and_then(Value::as_str);
        value.map(str::to_owned)
    };
    Ok(Typed {
        command: text("command").ok_or("command is missing")?,
        options: object(&form.fields, "options")?,
        focused: text("focused"),
        target: form.fields.get("target").and_then(snowflake),
        files: form.files,
    })
}

/// `GET /_control/people`: everybody, with roles and the permissions of the guild.
pub(crate) fn list(app: &App) -> Value {
    let world = app.world();
    let all = world.members.values().filter_map(|member| {
        let user = world.users.get(&member.user)?;
        let mut person = view::user(user);
        person["roles"] = json!(member.roles);
        person["permissions"] = json!(world.base_permissions(user.id).to_string());
        Some(person)
    });
    all.collect()
}

/// `POST /_control/people`: a new member, with a role of its own if it has permissions.
pub(crate) fn add(app: &App, body: &Value) -> Result<Value, String> {
    let name = body["name"].as_str().ok_or("name is missing")?.to_owned();
    let mut world = app.world();
    let now_ms = app.now_ms();
    let id = world.ids.next(now_ms);
    let user = User {
        id,
        name,
        kind: UserKind::Person,
    };
    commit(app, &mut world, Record::User(user))?;
    let member = Member {
        user: id,
        roles: Vec::new(),
        joined_ms: now_ms,
    };
    commit(app, &mut world, Record::Member(member))?;
    let mut wish = body.clone();
    if wish["permissions"].is_null() {
        wish["permissions"] = json!(bits::MEMBER);
    }
    change_in(app, &mut world, id, &wish)?;
    app.tell(News::Guild);
    Ok(json!({"id": id}))
}

/// `PATCH /_control/people/{user}`: other roles, or other permissions of its own role.
pub(crate) fn change(app: &App, user: Snowflake, body: &Value) -> Result<Value, String> {
    change_in(app, &mut app.world(), user, body)?;
    app.tell(News::Guild);
    Ok(Value::Null)
}

fn change_in(app: &App, world: &mut World, user: Snowflake, body: &Value) -> Result<(), String> {
    let mut member = world.members.get(&user).cloned();
    let member = member.as_mut().ok_or("no such person")?;
    if let Some(roles) = body["roles"].as_array() {
        member.roles = roles.iter().filter_map(snowflake).collect();
        let unknown = member
            .roles
            .iter()
            .find(|role| !world.roles.contains_key(role));
        if let Some(role) = unknown {
            return Err(format!("no such role: {role}"));
        }
    }
    if !body["permissions"].is_null() {
        let name = format!("of {user}");
        let own = world.roles.values().find(|role| role.name == name).cloned();
        let id = own.map_or_else(|| world.ids.next(app.now_ms()), |role| role.id);
        put_role(app, world, (id, name), &body["permissions"])?;
        if !member.roles.contains(&id) {
            member.roles.push(id);
        }
    }
    let member = member.clone();
    commit(app, world, Record::Member(member))
}

/// `POST /_control/roles`: a new role.
pub(crate) fn add_role(app: &App, body: &Value) -> Result<Value, String> {
    let name = body["name"].as_str().ok_or("name is missing")?.to_owned();
    let mut world = app.world();
    let id = world.ids.next(app.now_ms());
    put_role(app, &mut world, (id, name), &body["permissions"])?;
    app.tell(News::Guild);
    Ok(json!({"id": id}))
}

fn put_role(
    app: &App,
    world: &mut World,
    (id, name): (Snowflake, String),
    permissions: &Value,
) -> Result<(), String> {
    let text = invoke::text_of(permissions);
    let permissions = match permissions {
        Value::Null => 0,
        _ => text
            .parse()
            .map_err(|_| format!("not permission bits: {text}"))?,
    };
    let role = Role {
        id,
        name,
        permissions,
        position: 1,
        bot: None,
    };
    commit(app, world, Record::Role(role))
}

fn commit(app: &App, world: &mut World, record: Record) -> Result<(), String> {
    let done = world.commit(record, app.now_ms());
    done.map_err(|refusal| told(&refusal))
}
