//! Embeds and components: their limits, and how they come back.

use serde_json::{Map, Value, json};

use crate::emulator::reply::Form;

const EMBEDS_MAX: usize = 10;
const EMBED_CHARS_MAX: usize = 6000;
const FIELDS_MAX: usize = 25;
const COMPONENTS_MAX: usize = 40;

/// Path and longest text of each part of an embed.
const TEXTS: &[(&str, &str, usize)] = &[
    ("", "title", 256),
    ("", "description", 4096),
    ("footer", "text", 2048),
    ("author", "name", 256),
];

/// Checks the `embeds` of a form and gives them as a message has them.
pub(crate) fn parse(form: &mut Form, sent: Option<&Value>) -> Option<Vec<Value>> {
    let all = match sent? {
        Value::Null => return Some(Vec::new()),
        Value::Array(all) => all,
        _ => {
            form.wrong(
                "embeds",
                "LIST_TYPE_CONVERT",
                "Only iterables may be used in a ListType",
            );
            return None;
        }
    };
    if all.len() > EMBEDS_MAX {
        form.too_long("embeds", EMBEDS_MAX);
    }
    let mut chars = 0;
    let embeds = all.iter().enumerate().map(|(at, embed)| {
        let path = format!("embeds/{at}");
        chars += check(form, &path, embed);
        normal(embed)
    });
    let embeds = embeds.collect();
    if chars > EMBED_CHARS_MAX {
        let message = format!("Embed size exceeds maximum size of {EMBED_CHARS_MAX}");
        form.wrong("embeds", "MAX_EMBED_SIZE_EXCEEDED", &message);
    }
    Some(embeds)
}

/// Checks one embed and counts its characters.
fn check(form: &mut Form, path: &str, embed: &Value) -> usize {
    let mut sum = 0;
    for (part, name, max) in TEXTS {
        let place = if part.is_empty() { embed } else { &embed[part] };
        let length = place[name]
            .as_str()
            .map_or(0, |text| text.trim().chars().count());
        sum += length;
        if length > *max {
            form.too_long(&format!("{path}/{part}/{name}"), *max);
        }
    }
    let fields = embed["fields"].as_array().map_or(&[][..], Vec::as_slice);
    if fields.len() > FIELDS_MAX {
        form.too_long(&format!("{path}/fields"), FIELDS_MAX);
    }
    for (at, field) in fields.iter().enumerate() {
        for (name, max) in [("name", 256), ("value", 1024)] {
            let here = format!("{path}/fields/{at}/{name}");
            match field[name].as_str().map(|text| text.trim().chars().count()) {
                None | Some(0) => form.required(&here),
                Some(length) if length > max => form.too_long(&here, max),
                Some(length) => sum += length,
            }
        }
    }
    sum
}

/// An embed as it comes back: typed, trimmed, with every field's `inline`.
fn normal(embed: &Value) -> Value {
    const KEPT: &[&str] = &["title", "description", "url", "timestamp", "color"];
    let mut out = Map::new();
    out.insert("type".to_owned(), json!("rich"));
    for name in KEPT {
        match &embed[name] {
            Value::Null => {}
            Value::String(text) => drop(out.insert((*name).to_owned(), json!(text.trim()))),
            other => drop(out.insert((*name).to_owned(), other.clone())),
        }
    }
    for (part, names) in [
        ("footer", &["text", "icon_url"][..]),
        ("author", &["name", "url", "icon_url"][..]),
        ("image", &["url"][..]),
        ("thumbnail", &["url"][..]),
    ] {
        if embed[part].is_object() {
            let kept = names.iter().filter(|name| embed[part][**name].is_string());
            let kept = kept.map(|name| ((*name).to_owned(), embed[part][*name].clone()));
            out.insert(part.to_owned(), Value::Object(kept.collect()));
        }
    }
    if let Some(fields) = embed["fields"].as_array() {
        let fields = fields.iter().map(|field| {
            json!({
                "name": field["name"].as_str().unwrap_or("").trim(),
                "value": field["value"].as_str().unwrap_or("").trim(),
                "inline": field["inline"] == Value::Bool(true),
            })
        });
        out.insert("fields".to_owned(), fields.collect());
    }
    Value::Object(out)
}

/// Checks the `components` of a form; each gets the id that Discord gives it.
pub(crate) fn components(form: &mut Form, sent: Option<&Value>) -> Option<Vec<Value>> {
    let mut all = match sent? {
        Value::Null => return Some(Vec::new()),
        Value::Array(all) => all.clone(),
        _ => {
            form.wrong(
                "components",
                "LIST_TYPE_CONVERT",
                "Only iterables may be used in a ListType",
            );
            return None;
        }
    };
    let mut count = 0;
    for (at, component) in all.iter_mut().enumerate() {
        number(form, &format!("components/{at}"), component, &mut count);
    }
    if count > COMPONENTS_MAX {
        form.too_long("components", COMPONENTS_MAX);
    }
    Some(all)
}

fn number(form: &mut Form, path: &str, component: &mut Value, count: &mut usize) {
    *count += 1;
    if !component["type"].is_u64() {
        return form.required(&format!("{path}/type"));
    }
    if !component["id"].is_u64() {
        component["id"] = json!(*count);
    }
    fill(component);
    if component["custom_id"]
        .as_str()
        .is_some_and(|id| id.chars().count() > 100)
    {
        form.bad_length(&format!("{path}/custom_id"), 1, 100);
    }
    if let Some(inner) = component
        .get_mut("components")
        .and_then(Value::as_array_mut)
    {
        for (at, one) in inner.iter_mut().enumerate() {
            number(form, &format!("{path}/components/{at}"), one, count);
        }
    }
    for name in ["accessory", "component"] {
        if let Some(one) = component.get_mut(name).filter(|one| one.is_object()) {
            number(form, &format!("{path}/{name}"), one, count);
        }
    }
}

/// Gives a component the fields that come back also when they were left out.
fn fill(component: &mut Value) {
    let defaults = match component["type"].as_u64() {
        Some(3 | 5..=8) => vec![("min_values", json!(1)), ("max_values", json!(1))],
        Some(11) => vec![("description", Value::Null), ("spoiler", json!(false))],
        Some(13) => vec![
            ("name", Value::Null),
            ("size", Value::Null),
            ("spoiler", json!(false)),
        ],
        Some(14) => vec![("divider", json!(true)), ("spacing", json!(1))],
        Some(17) => vec![("accent_color", Value::Null), ("spoiler", json!(false))],
        _ => Vec::new(),
    };
    let Some(fields) = component.as_object_mut() else {
        return;
    };
    for (name, value) in defaults {
        fields.entry(name).or_insert(value);
    }
    for name in ["file", "media"] {
        fields.get_mut(name).into_iter().for_each(fill_media);
    }
    for item in fields
        .get_mut("items")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        let Some(item) = item.as_object_mut() else {
            continue;
        };
        item.entry("description").or_insert(Value::Null);
        item.entry("spoiler").or_insert(json!(false));
        item.get_mut("media").into_iter().for_each(fill_media);
    }
}

fn fill_media(media: &mut Value) {
    let url = media["url"].clone();
    if let Some(media) = media.as_object_mut() {
        media.entry("id").or_insert(json!("0"));
        media.entry("proxy_url").or_insert(url);
    }
}
