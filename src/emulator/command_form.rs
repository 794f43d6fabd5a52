//! What a form says about an application command, checked field by field.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::emulator::reply::Form;

const NAME_CHARS_MAX: usize = 32;
const DESCRIPTION_CHARS_MAX: usize = 100;
const OPTIONS_MAX: usize = 25;
const CHOICES_MAX: usize = 25;
const CHOICE_NAME_CHARS_MAX: usize = 100;
const TEXT_CHARS_MAX: u64 = 6000;
/// Names, descriptions and string values of one command together.
const COMMAND_CHARS_MAX: usize = 8000;

pub(crate) const SUBCOMMAND: u64 = 1;
pub(crate) const GROUP: u64 = 2;
pub(crate) const STRING: u64 = 3;
pub(crate) const INTEGER: u64 = 4;
pub(crate) const BOOLEAN: u64 = 5;
pub(crate) const USER: u64 = 6;
pub(crate) const CHANNEL: u64 = 7;
pub(crate) const ROLE: u64 = 8;
pub(crate) const MENTIONABLE: u64 = 9;
pub(crate) const NUMBER: u64 = 10;
pub(crate) const ATTACHMENT: u64 = 11;

/// Checks a whole command and gives it as it comes back, without its ids.
pub(crate) fn parse(form: &mut Form, path: &str, body: &Value) -> Value {
    let at = |name: &str| join(path, name);
    let kind = match &body["type"] {
        Value::Null => 1,
        other => other.as_u64().unwrap_or(0),
    };
    if !(1..=3).contains(&kind) {
        form.bad_choice(&at("type"), "1, 2, 3");
    }
    let is_slash = kind == 1;
    let mut chars = name(form, &at("name"), &body["name"], is_slash);
    if is_slash {
        chars += description(form, &at("description"), &body["description"]);
    } else {
        if body["description"]
            .as_str()
            .is_some_and(|text| !text.is_empty())
        {
            let code = "APPLICATION_COMMAND_CONTEXT_MENU_DESCRIPTION_INVALID";
            let message = "Context menu commands cannot have description";
            form.wrong(&at("description"), code, message);
        }
        if body["options"]
            .as_array()
            .is_some_and(|all| !all.is_empty())
        {
            let code = "APPLICATION_COMMAND_CONTEXT_MENU_OPTIONS_INVALID";
            let message = "Context menu commands cannot have options";
            form.wrong(&at("options"), code, message);
        }
    }
    let mut out = json!({
        "type": kind,
        "name": body["name"],
        "name_localizations": body["name_localizations"],
        "description": body["description"].as_str().unwrap_or_default(),
        "description_localizations": body["description_localizations"],
        "default_member_permissions": permissions(form, &at("default_member_permissions"),
            &body["default_member_permissions"]),
        "dm_permission": body["dm_permission"].as_bool().unwrap_or(true),
        "contexts": body["contexts"],
        "integration_types": [0],
        "nsfw": body["nsfw"] == true,
    });
    let (all, more) = options(form, &at("options"), &body["options"], Depth::Command);
    if !all.is_empty() {
        out["options"] = Value::Array(all);
    }
    if chars + more > COMMAND_CHARS_MAX {
        let message = format!("Command exceeds maximum size ({COMMAND_CHARS_MAX})");
        form.wrong(path, "APPLICATION_COMMAND_TOO_LARGE", &message);
    }
    out
}

fn join(path: &str, name: impl std::fmt::Display) -> String {
    if path.is_empty() {
        name.to_string()
    } else {
        format!("{path}/{name}")
    }
}

/// Checks a name and counts its characters.
fn name(form: &mut Form, path: &str, sent: &Value, is_slash: bool) -> usize {
    let Some(text) = sent.as_str() else {
        form.required(path);
        return 0;
    };
    let length = text.chars().count();
    // Letters and digits of any script, `-`, `_` and `'`; where a script has two cases, the lower.
    let is_plain = |c: char| {
        (c.is_alphanumeric() || "-_'".contains(c)) && c.to_lowercase().eq(std::iter::once(c))
    };
    if !(1..=NAME_CHARS_MAX).contains(&length) {
        form.bad_length(path, 1, NAME_CHARS_MAX);
    } else if is_slash && !text.chars().all(is_plain) || text.trim() != text {
        let message = "Command name is invalid";
        form.wrong(path, "APPLICATION_COMMAND_INVALID_NAME", message);
    }
    length
}

fn description(form: &mut Form, path: &str, sent: &Value) -> usize {
    let Some(text) = sent.as_str() else {
        form.required(path);
        return 0;
    };
    let length = text.chars().count();
    if !(1..=DESCRIPTION_CHARS_MAX).contains(&length) {
        form.bad_length(path, 1, DESCRIPTION_CHARS_MAX);
    }
    length
}

/// Permission bits come as a string or a number, and go as a string.
fn permissions(form: &mut Form, path: &str, sent: &Value) -> Value {
    let bits = match sent {
        Value::Null => return Value::Null,
        Value::String(text) => text.parse::<u64>().ok(),
        other => other.as_u64(),
    };
    if bits.is_none() {
        let message = format!("Value \"{sent}\" is not int.");
        form.wrong(path, "NUMBER_TYPE_COERCE", &message);
    }
    bits.map_or(Value::Null, |bits| json!(bits.to_string()))
}

/// Where options stand, which decides the kinds they may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Depth {
    Command,
    Group,
    Subcommand,
}

fn options(form: &mut Form, path: &str, sent: &Value, depth: Depth) -> (Vec<Value>, usize) {
    let all = match sent {
        Value::Null => return (Vec::new(), 0),
        Value::Array(all) => all,
        _ => {
            let message = "Only iterables may be used in a ListType";
            form.wrong(path, "LIST_TYPE_CONVERT", message);
            return (Vec::new(), 0);
        }
    };
    if all.len() > OPTIONS_MAX {
        form.too_long(path, OPTIONS_MAX);
    }
    let is_nested = |one: &Value| matches!(one["type"].as_u64(), Some(SUBCOMMAND | GROUP));
    let mixed = all.iter().any(is_nested) && !all.iter().all(is_nested);
    let (mut names, mut seen_optional, mut chars) = (BTreeSet::new(), false, 0);
    let mut out = Vec::new();
    for (at, one) in all.iter().enumerate() {
        let here = join(path, at);
        if mixed {
            let code = "APPLICATION_COMMAND_OPTIONS_TYPE_INVALID";
            let message = "Sub-command and sub-command group option types are mutually exclusive \
                           to all other types";
            form.wrong(&join(&here, "type"), code, message);
        }
        if !names.insert(one["name"].as_str().unwrap_or_default()) {
            let code = "APPLICATION_COMMAND_OPTIONS_NAME_ALREADY_EXISTS";
            form.wrong(&join(&here, "name"), code, "Option name already exists");
        }
        let is_required = one["required"] == true;
        if is_required && seen_optional {
            let code = "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID";
            let message = "Required options must be placed before non-required options";
            form.wrong(&here, code, message);
        }
        seen_optional |= !is_required;
        let (option, count) = option(form, &here, one, depth);
        out.push(option);
        chars += count;
    }
    (out, chars)
}

fn option(form: &mut Form, path: &str, sent: &Value, depth: Depth) -> (Value, usize) {
    const KEPT: &[&str] = &[
        "name_localizations",
        "description_localizations",
        "channel_types",
        "min_value",
        "max_value",
        "min_length",
        "max_length",
    ];
    let at = |name: &str| join(path, name);
    let kind = sent["type"].as_u64();
    let allowed = match depth {
        Depth::Command => 1..=11,
        Depth::Group => 1..=1,
        Depth::Subcommand => 3..=11,
    };
    if sent["type"].is_null() {
        form.required(&at("type"));
    } else if !kind.is_some_and(|kind| allowed.contains(&kind)) {
        form.bad_choice(&at("type"), "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11");
    }
    let kind = kind.unwrap_or(0);
    let mut chars = name(form, &at("name"), &sent["name"], true);
    chars += description(form, &at("description"), &sent["description"]);
    let mut out = Map::new();
    out.insert("type".to_owned(), json!(kind));
    for text in ["name", "description"] {
        out.insert(text.to_owned(), sent[text].clone());
    }
    for kept in KEPT.iter().filter(|kept| !sent[**kept].is_null()) {
        out.insert((*kept).to_owned(), sent[*kept].clone());
    }
    for flag in ["required", "autocomplete"] {
        if sent[flag] == true {
            out.insert(flag.to_owned(), json!(true));
        }
    }
    bounds(form, path, sent, kind);
    chars += choices(form, &at("choices"), sent, kind, &mut out);
    let inner = match kind {
        SUBCOMMAND => Depth::Subcommand,
        GROUP => Depth::Group,
        _ => return (Value::Object(out), chars),
    };
    let (nested, more) = options(form, &at("options"), &sent["options"], inner);
    if kind == GROUP && nested.is_empty() {
        form.required(&at("options"));
    }
    out.insert("options".to_owned(), Value::Array(nested));
    (Value::Object(out), chars + more)
}

/// Smallest and largest values and lengths.
fn bounds(form: &mut Form, path: &str, sent: &Value, kind: u64) {
    for name in ["min_value", "max_value"] {
        let value = &sent[name];
        let fits = match kind {
            INTEGER => value.is_i64() || value.is_u64(),
            NUMBER => value.is_number(),
            _ => false,
        };
        if !value.is_null() && !fits {
            let message = format!("Value \"{value}\" is not allowed for this option.");
            form.wrong(&join(path, name), "NUMBER_TYPE_COERCE", &message);
        }
    }
    for name in ["min_length", "max_length"] {
        let value = &sent[name];
        let fits = kind == STRING && value.as_u64().is_some_and(|long| long <= TEXT_CHARS_MAX);
        if !value.is_null() && !fits {
            let message = format!("int value should be between 0 and {TEXT_CHARS_MAX}.");
            form.wrong(&join(path, name), "NUMBER_TYPE_RANGE", &message);
        }
    }
}

/// Checks an option's choices and counts their characters.
fn choices(
    form: &mut Form,
    path: &str,
    option: &Value,
    kind: u64,
    out: &mut Map<String, Value>,
) -> usize {
    let Some(all) = option["choices"].as_array().filter(|all| !all.is_empty()) else {
        return 0;
    };
    if option["autocomplete"] == true || !matches!(kind, STRING | INTEGER | NUMBER) {
        let code = "APPLICATION_COMMAND_OPTIONS_CHOICES_INVALID";
        let message = "This option cannot have choices";
        form.wrong(path, code, message);
    }
    if all.len() > CHOICES_MAX {
        form.too_long(path, CHOICES_MAX);
    }
    let mut names = BTreeSet::new();
    let mut chars = 0;
    for (at, one) in all.iter().enumerate() {
        let here = join(path, at);
        chars += choice(form, &here, one, kind);
        if !names.insert(one["name"].as_str().unwrap_or_default()) {
            let code = "APPLICATION_COMMAND_OPTIONS_CHOICE_NAME_ALREADY_EXISTS";
            form.wrong(
                &join(&here, "name"),
                code,
                "Option choice name already exists",
            );
        }
    }
    let kept = |one: &Value| json!({"name": one["name"], "value": one["value"]});
    out.insert("choices".to_owned(), all.iter().map(kept).collect());
    chars
}

/// Checks one choice, of an option or of an autocompletion, and counts its characters.
pub(crate) fn choice(form: &mut Form, path: &str, sent: &Value, kind: u64) -> usize {
    let mut chars = 0;
    match sent["name"].as_str().map(|text| text.chars().count()) {
        None => form.required(&join(path, "name")),
        Some(length) => {
            chars += length;
            if !(1..=CHOICE_NAME_CHARS_MAX).contains(&length) {
                form.bad_length(&join(path, "name"), 1, CHOICE_NAME_CHARS_MAX);
            }
        }
    }
    let value = &sent["value"];
    let fits = match kind {
        STRING => value.is_string(),
        INTEGER => value.is_i64() || value.is_u64(),
        NUMBER => value.is_number(),
        _ => true,
    };
    if value.is_null() {
        form.required(&join(path, "value"));
    } else if !fits {
        let message = format!("Could not interpret \"{value}\" as this option's type.");
        form.wrong(&join(path, "value"), "CHOICE_TYPE_CONVERT", &message);
    }
    let length = value.as_str().map_or(0, |text| text.chars().count());
    if length as u64 > TEXT_CHARS_MAX {
        form.too_long(&join(path, "value"), 6000);
    }
    chars + length
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emulator::reply::Refusal;

    fn errors(body: &Value) -> Value {
        let mut form = Form::default();
        parse(&mut form, "", body);
        match form.finish() {
            Err(Refusal::Form(errors)) => errors,
            _ => Value::Null,
        }
    }

    #[test]
    fn a_commands_faults_are_named_where_they_are() {
        let good = json!({"name": "upload", "description": "d", "options": [
            {"type": 3, "name": "path", "description": "d", "required": true, "autocomplete": true},
            {"type": 4, "name": "count", "description": "d", "min_value": 1,
                "choices": [{"name": "one", "value": 1}]}]});
        assert_eq!(errors(&good), Value::Null);
        let code = |body: &Value, pointer: &str| errors(body).pointer(pointer).cloned();
        let upper = json!({"name": "Upload", "description": ""});
        assert_eq!(
            code(&upper, "/name/_errors/0/code"),
            Some(json!("APPLICATION_COMMAND_INVALID_NAME"))
        );
        assert_eq!(
            code(&upper, "/description/_errors/0/code"),
            Some(json!("BASE_TYPE_BAD_LENGTH"))
        );
        let late = json!({"name": "a", "description": "d", "options": [
            {"type": 3, "name": "a", "description": "d"},
            {"type": 3, "name": "b", "description": "d", "required": true,
                "choices": [{"name": "x", "value": 1}]}]});
        assert_eq!(
            code(&late, "/options/1/_errors/0/code"),
            Some(json!("APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID"))
        );
        assert!(code(&late, "/options/1/choices/0/value/_errors/0/code").is_some());
        let menu = json!({"name": "Look at", "type": 3, "description": "d"});
        assert!(code(&menu, "/description/_errors/0/code").is_some());
        assert!(code(&menu, "/name").is_none());
    }
}
