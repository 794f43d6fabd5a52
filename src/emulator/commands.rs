//! The commands an application registers: listed, made, changed, overwritten, deleted.

use serde_json::{Value, json};

use crate::emulator::app::App;
use crate::emulator::command_form;
use crate::emulator::dispatch;
use crate::emulator::hub::News;
use crate::emulator::model::{Command, Record};
use crate::emulator::reply::{Answer, Form, Refusal, Reply};
use crate::emulator::route::Registry;
use crate::emulator::server::Call;
use crate::emulator::snowflake::Snowflake;
use crate::emulator::world::World;

/// Commands of one kind that an application may have, globally and in each guild.
const SLASH_MAX: usize = 100;
const MENU_MAX: usize = 15;

/// Is this the caller's own application, and a guild it is in?
fn check(call: &Call<'_>, world: &World, place: Registry) -> Result<(), Refusal> {
    if call.user != world.identity.bot || place.application != world.identity.bot {
        return Err(Refusal::NotYourApplication);
    }
    match place.guild {
        Some(guild) if guild != world.identity.guild => Err(Refusal::MissingAccess),
        _ => Ok(()),
    }
}

fn find(world: &World, place: Registry, id: Snowflake) -> Result<&Command, Refusal> {
    let found = world.commands.get(&id);
    found
        .filter(|one| one.guild == place.guild)
        .ok_or(Refusal::UnknownCommand)
}

fn of(world: &World, place: Registry) -> impl Iterator<Item = &Command> {
    world
        .commands
        .values()
        .filter(move |one| one.guild == place.guild)
}

/// A command as it comes back.
pub(crate) fn view(world: &World, command: &Command) -> Value {
    let mut view = command.form.clone();
    view["id"] = json!(command.id);
    view["application_id"] = json!(world.identity.bot);
    view["version"] = json!(command.version);
    if let Some(guild) = command.guild {
        view["guild_id"] = json!(guild);
    }
    view
}

/// `GET /applications/{application_id}[/guilds/{guild_id}]/commands`
pub(crate) fn list(call: &Call<'_>, place: Registry) -> Answer {
    let world = call.app.world();
    check(call, &world, place)?;
    let whole = call.param("with_localizations") == Some("true");
    let short = |command| {
        let mut view = view(&world, command);
        if let Some(fields) = view.as_object_mut().filter(|_| !whole) {
            fields.remove("name_localizations");
            fields.remove("description_localizations");
        }
        view
    };
    Ok(Reply::Ok(of(&world, place).map(short).collect()))
}

/// `GET …/commands/{command_id}`
pub(crate) fn get(call: &Call<'_>, place: Registry, id: Snowflake) -> Answer {
    let world = call.app.world();
    check(call, &world, place)?;
    Ok(Reply::Ok(view(&world, find(&world, place, id)?)))
}

/// `POST …/commands`: a command of the same name and type is replaced.
pub(crate) async fn create(call: &mut Call<'_>, place: Registry) -> Answer {
    check(call, &call.app.world(), place)?;
    let body = dispatch::json_object(call).await?;
    let mut form = Form::default();
    let parsed = command_form::parse(&mut form, "", &body);
    form.finish()?;
    let mut world = call.app.world();
    let (id, made) = put(call.app, &mut world, place, parsed)?;
    call.app.tell(News::Guild);
    let view = view(&world, find(&world, place, id)?);
    Ok(match made {
        Made::New => Reply::Created(view),
        Made::Replaced => Reply::Ok(view),
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Made {
    New,
    Replaced,
}

fn put(
    app: &App,
    world: &mut World,
    place: Registry,
    form: Value,
) -> Result<(Snowflake, Made), Refusal> {
    let (name, kind) = (form["name"].clone(), form["type"].clone());
    let same = |one: &&Command| one.form["name"] == name && one.form["type"] == kind;
    let known = of(world, place).find(same).map(|one| one.id);
    let max = if kind == 1 { SLASH_MAX } else { MENU_MAX };
    let here = of(world, place)
        .filter(|one| one.form["type"] == kind)
        .count();
    if known.is_none() && here >= max {
        return Err(Refusal::TooManyCommands);
    }
    let now_ms = app.now_ms();
    let id = known.unwrap_or_else(|| world.ids.next(now_ms));
    let command = Command {
        id,
        guild: place.guild,
        version: world.ids.next(now_ms),
        form,
    };
    world.commit(Record::Command(Box::new(command)), now_ms)?;
    let made = match known {
        Some(_) => Made::Replaced,
        None => Made::New,
    };
    Ok((id, made))
}

/// `PUT …/commands`: these and no others.
pub(crate) async fn overwrite(call: &mut Call<'_>, place: Registry) -> Answer {
    check(call, &call.app.world(), place)?;
    let all = dispatch::json_list(call).await?;
    let mut form = Form::default();
    let mut parsed: Vec<Value> = Vec::new();
    for (at, body) in all.iter().enumerate() {
        let path = at.to_string();
        let one = command_form::parse(&mut form, &path, body);
        let same = |other: &Value| other["name"] == one["name"] && other["type"] == one["type"];
        if parsed.iter().any(same) {
            let code = "APPLICATION_COMMANDS_DUPLICATE_NAME";
            let message = "Application command names must be unique";
            form.wrong(&path, code, message);
        }
        parsed.push(one);
    }
    form.finish()?;
    let count = |slash: bool| {
        parsed
            .iter()
            .filter(|one| (one["type"] == 1) == slash)
            .count()
    };
    if count(true) > SLASH_MAX || count(false) > 2 * MENU_MAX {
        return Err(Refusal::TooManyCommands);
    }
    let app = call.app;
    let mut world = app.world();
    let gone = of(&world, place).filter(|one| {
        let same = |new: &Value| new["name"] == one.form["name"] && new["type"] == one.form["type"];
        !parsed.iter().any(same)
    });
    let gone: Vec<Snowflake> = gone.map(|one| one.id).collect();
    for id in gone {
        world.commit(Record::CommandGone(id), app.now_ms())?;
    }
    for one in parsed {
        put(app, &mut world, place, one)?;
    }
    app.tell(News::Guild);
    Ok(Reply::Ok(
        of(&world, place).map(|one| view(&world, one)).collect(),
    ))
}

/// `PATCH …/commands/{command_id}`
pub(crate) async fn edit(call: &mut Call<'_>, place: Registry, id: Snowflake) -> Answer {
    {
        let world = call.app.world();
        check(call, &world, place)?;
        find(&world, place, id)?;
    }
    let body = dispatch::json_object(call).await?;
    let app = call.app;
    let mut world = app.world();
    let mut command = find(&world, place, id)?.clone();
    let mut merged = command.form.clone();
    if let (Some(into), Value::Object(from)) = (merged.as_object_mut(), body) {
        // The type of a command never changes.
        into.extend(from.into_iter().filter(|(name, _)| name != "type"));
    }
    let mut form = Form::default();
    command.form = command_form::parse(&mut form, "", &merged);
    let same = |one: &Command| {
        one.id != id && one.name() == command.name() && one.kind() == command.kind()
    };
    if of(&world, place).any(same) {
        let code = "APPLICATION_COMMANDS_DUPLICATE_NAME";
        form.wrong("name", code, "Application command names must be unique");
    }
    form.finish()?;
    command.version = world.ids.next(app.now_ms());
    world.commit(Record::Command(Box::new(command)), app.now_ms())?;
    app.tell(News::Guild);
    Ok(Reply::Ok(view(&world, find(&world, place, id)?)))
}

/// `DELETE …/commands/{command_id}`
pub(crate) fn delete(call: &Call<'_>, place: Registry, id: Snowflake) -> Answer {
    let app = call.app;
    let mut world = app.world();
    check(call, &world, place)?;
    find(&world, place, id)?;
    world.commit(Record::CommandGone(id), app.now_ms())?;
    app.tell(News::Guild);
    Ok(Reply::NoContent)
}
