//! A user runs a command, or has an option of one completed.

use serde_json::{Map, Value, json};

use crate::emulator::app::App;
use crate::emulator::begin::{self, Deed, Heard};
use crate::emulator::command_form::{
    ATTACHMENT, BOOLEAN, CHANNEL, GROUP, INTEGER, MENTIONABLE, NUMBER, ROLE, STRING, SUBCOMMAND,
    USER,
};
use crate::emulator::desk::Kind;
use crate::emulator::draft::{Draft, snowflake};
use crate::emulator::model::{Attachment, Command};
use crate::emulator::permissions::bits;
use crate::emulator::resolve::Resolver;
use crate::emulator::snowflake::Snowflake;
use crate::emulator::upload::Upload;
use crate::emulator::world::World;

/// What a user typed.
#[derive(Debug)]
pub(crate) struct Typed {
    /// Name or id of a command; a subcommand's words follow after spaces.
    pub(crate) command: String,
    /// Option name to value.
    pub(crate) options: Map<String, Value>,
    /// The option that is being completed.
    pub(crate) focused: Option<String>,
    /// User or message of a menu command.
    pub(crate) target: Option<Snowflake>,
    /// Files, which attachment options name by their number.
    pub(crate) files: Vec<Upload>,
}

/// Runs a command, or asks for what could complete an option.
pub(crate) fn run(
    app: &App,
    user: Snowflake,
    channel: Snowflake,
    mut typed: Typed,
) -> Result<(Snowflake, Heard), String> {
    let mut world = app.world();
    begin::may_interact(&world, user, channel)?;
    let files = take_files(app, &mut world, channel, std::mem::take(&mut typed.files))?;
    let mut words = typed.command.split_whitespace();
    let first = words.next().unwrap_or_default().trim_start_matches('/');
    let command = find(&world, first, typed.target.is_some())?.clone();
    if !is_allowed(&world, user, &command) {
        return Err(format!("this user may not use /{first}"));
    }
    let path: Vec<&str> = words.collect();
    let place = &world.room(channel).map_err(|_| "no such channel")?.channel;
    let bot = world.identity.bot;
    let mut options = Options {
        resolver: Resolver::new(app.view(&world, bot), place),
        user,
        typed: &typed,
        files: &files,
        focused: None,
    };
    let mut data = json!({"id": command.id, "name": command.name(), "type": command.kind()});
    let declared = command.form["options"].as_array();
    let built = options.at(declared.map_or(&[], Vec::as_slice), &path)?;
    if !built.is_empty() {
        data["options"] = Value::Array(built);
    }
    if let Some(target) = typed.target {
        data["target_id"] = json!(target);
        match command.kind() {
            2 => options.resolver.user(target)?,
            _ => {
                let message = world.message(channel, target);
                options
                    .resolver
                    .message(message.map_err(|_| "no such message")?);
            }
        }
    }
    if let Some(guild) = command.guild {
        data["guild_id"] = json!(guild);
    }
    let focused = options.focused;
    options.resolver.finish(&mut data);
    let (kind, number) = match (&typed.focused, focused) {
        (None, _) => (Kind::Command, command.kind()),
        (Some(_), Some(number)) => (Kind::Autocomplete, number),
        (Some(name), None) => return Err(format!("option {name} cannot be completed")),
    };
    let deed = Deed {
        kind,
        data,
        source: None,
        command: (kind == Kind::Command).then(|| command.name().to_owned()),
        number,
        trigger: None,
    };
    begin::begin(app, &mut world, (user, channel), deed)
}

/// Makes the files readable, as attachments of no message.
fn take_files(
    app: &App,
    world: &mut World,
    channel: Snowflake,
    files: Vec<Upload>,
) -> Result<Vec<(u64, Attachment)>, String> {
    let mut taken = Vec::new();
    for file in files {
        let attachment = Draft::default().attachment(&file);
        taken.push((file.index, attachment.clone()));
        file.incoming.finish().map_err(|error| error.to_string())?;
        world.whispers.lay(channel, attachment, app.now_ms());
    }
    Ok(taken)
}

/// A command by its name or id; one of the guild goes before one of all guilds.
fn find<'a>(world: &'a World, name: &str, is_menu: bool) -> Result<&'a Command, String> {
    let id: Option<Snowflake> = name.parse().ok();
    let is_it =
        |one: &&Command| Some(one.id) == id || one.name() == name && (one.kind() != 1) == is_menu;
    let all = world.commands.values().filter(is_it);
    let found = all.max_by_key(|one| one.guild.is_some());
    found.ok_or_else(|| format!("no such command: {name}"))
}

/// Has the user the permissions that the command asks of members by default?
pub(crate) fn is_allowed(world: &World, user: Snowflake, command: &Command) -> bool {
    let has = world.base_permissions(user);
    let wanted = &command.form["default_member_permissions"];
    match wanted.as_str().and_then(|bits| bits.parse::<u64>().ok()) {
        None => true,
        Some(0) => has & bits::ADMINISTRATOR != 0,
        Some(wanted) => has & wanted == wanted,
    }
}

/// Turns what was typed into the options that an application gets.
struct Options<'a> {
    resolver: Resolver<'a>,
    user: Snowflake,
    typed: &'a Typed,
    files: &'a [(u64, Attachment)],
    /// Type number of the focused option, once it was met.
    focused: Option<u64>,
}

impl Options<'_> {
    /// Goes down the words of a subcommand, then takes the values.
    fn at(&mut self, declared: &[Value], path: &[&str]) -> Result<Vec<Value>, String> {
        let is_nested = |one: &&Value| matches!(one["type"].as_u64(), Some(SUBCOMMAND | GROUP));
        if let Some((word, rest)) = path.split_first() {
            let found = declared
                .iter()
                .filter(is_nested)
                .find(|one| one["name"] == *word);
            let found = found.ok_or_else(|| format!("no such subcommand: {word}"))?;
            let inner = found["options"].as_array().map_or(&[][..], Vec::as_slice);
            let inner = self.at(inner, rest)?;
            return Ok(vec![
                json!({"type": found["type"], "name": word, "options": inner}),
            ]);
        }
        if declared.iter().any(|one| is_nested(&one)) {
            return Err("one of its subcommands must be named".to_owned());
        }
        let known = |name: &String| declared.iter().any(|one| one["name"] == *name);
        if let Some(name) = self.typed.options.keys().find(|name| !known(name)) {
            return Err(format!("no such option: {name}"));
        }
        let mut built = Vec::new();
        for option in declared {
            let name = option["name"].as_str().unwrap_or_default();
            let number = option["type"].as_u64().unwrap_or(0);
            let value = self
                .typed
                .options
                .get(name)
                .filter(|value| !value.is_null());
            let is_focused = self.typed.focused.as_deref() == Some(name);
            if is_focused && option["autocomplete"] == true {
                self.focused = Some(number);
                // What was typed so far need not be a number yet.
                let text = value.map_or(String::new(), text_of);
                built.push(json!({"type": number, "name": name, "value": text, "focused": true}));
                continue;
            }
            let Some(value) = value else {
                if option["required"] == true && self.typed.focused.is_none() {
                    return Err(format!("option {name} is required"));
                }
                continue;
            };
            let value = match self.typed.focused {
                None => self.value(option, number, value),
                Some(_) => Ok(value.clone()),
            };
            let value = value.map_err(|why| format!("option {name}: {why}"))?;
            built.push(json!({"type": number, "name": name, "value": value}));
        }
        Ok(built)
    }

    fn value(&mut self, option: &Value, number: u64, value: &Value) -> Result<Value, String> {
        let id = || snowflake(value).ok_or_else(|| format!("{value} is not an id"));
        match number {
            STRING | INTEGER | NUMBER => return plain(option, number, value),
            BOOLEAN => {
                let known = match text_of(value).as_str() {
                    "true" => Some(true),
                    "false" => Some(false),
                    _ => None,
                };
                return known
                    .map(Value::Bool)
                    .ok_or("true or false is expected".to_owned());
            }
            USER => self.resolver.user(id()?)?,
            ROLE => self.resolver.role(id()?)?,
            MENTIONABLE => {
                let id = id()?;
                self.resolver.user(id).or_else(|_| self.resolver.role(id))?;
            }
            CHANNEL => {
                let kind = self.resolver.channel(self.user, id()?)?;
                let kinds = option["channel_types"].as_array();
                if kinds.is_some_and(|all| !all.is_empty() && !all.contains(&json!(kind))) {
                    return Err("this kind of channel cannot be chosen".to_owned());
                }
            }
            ATTACHMENT => {
                let wanted = text_of(value);
                let mut files = self.files.iter();
                let found = files.find(|(index, _)| index.to_string() == wanted);
                let (_, attachment) = found.ok_or_else(|| format!("no such file: {wanted}"))?;
                self.resolver.attachment(attachment);
                return Ok(json!(attachment.id));
            }
            _ => return Err("unknown type".to_owned()),
        }
        Ok(json!(id()?))
    }
}

/// A text or number that keeps to what its option allows.
fn plain(option: &Value, number: u64, value: &Value) -> Result<Value, String> {
    let text = text_of(value);
    let value = match number {
        STRING => json!(text),
        INTEGER => json!(
            text.parse::<i64>()
                .map_err(|_| "a whole number is expected")?
        ),
        _ => json!(text.parse::<f64>().map_err(|_| "a number is expected")?),
    };
    if let Some(choices) = option["choices"].as_array() {
        let is_it = |one: &&Value| text_of(&one["value"]) == text;
        let found = choices.iter().find(is_it);
        return found
            .map(|one| one["value"].clone())
            .ok_or_else(|| format!("{text} is not one of the choices"));
    }
    let measure = match number {
        STRING => text.chars().map(|_| 1.0).sum(),
        _ => value.as_f64().unwrap_or(0.0),
    };
    let bound = |a: &str, b: &str| option[if number == STRING { a } else { b }].as_f64();
    if bound("min_length", "min_value").is_some_and(|min| measure < min)
        || bound("max_length", "max_value").is_some_and(|max| measure > max)
        || number == STRING && text.is_empty()
    {
        return Err("too small or too large".to_owned());
    }
    Ok(value)
}

pub(crate) fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
