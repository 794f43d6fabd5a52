//! What a form says about a message, checked field by field.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::emulator::embeds;
use crate::emulator::model::{Attachment, Message};
use crate::emulator::reply::{Form, Refusal};
use crate::emulator::snowflake::Snowflake;
use crate::emulator::upload::{MessageForm, Upload, content_type, sanitize};

const CONTENT_CHARS_MAX: usize = 2000;
const NONCE_CHARS_MAX: usize = 25;
const ATTACHMENTS_MAX: usize = 10;
const NAME_CHARS_MAX: usize = 1024;
/// SUPPRESS_EMBEDS, SUPPRESS_NOTIFICATIONS, IS_VOICE_MESSAGE, IS_COMPONENTS_V2.
const FLAGS_ACCEPTED: u64 = 1 << 2 | 1 << 12 | 1 << 13 | COMPONENTS_V2;
/// IS_COMPONENTS_V2
const COMPONENTS_V2: u64 = 1 << 15;

/// A checked form. Absent fields are `None`, which an edit leaves alone.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) content: Option<String>,
    pub(crate) embeds: Option<Vec<Value>>,
    pub(crate) components: Option<Vec<Value>>,
    pub(crate) flags: Option<u64>,
    pub(crate) tts: bool,
    pub(crate) nonce: Option<Value>,
    pub(crate) enforce_nonce: bool,
    pub(crate) reply_to: Option<Reply>,
    /// What is said of attachments, new and old; `None` keeps the old ones.
    pub(crate) listed: Option<Vec<Listed>>,
}

/// The message a new one replies to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reply {
    pub(crate) message: Snowflake,
    pub(crate) must_exist: bool,
}

/// An entry of `attachments`.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) id: u64,
    filename: Option<String>,
    title: Option<String>,
    description: Option<String>,
}

impl Draft {
    /// Checks a form.
    pub(crate) fn parse(sent: &MessageForm) -> Result<Self, Refusal> {
        let fields = &sent.fields;
        let mut form = Form::default();
        let mut draft = Self {
            content: text(&mut form, fields, "content", CONTENT_CHARS_MAX),
            nonce: nonce(&mut form, fields.get("nonce")),
            enforce_nonce: fields.get("enforce_nonce") == Some(&Value::Bool(true)),
            tts: fields.get("tts") == Some(&Value::Bool(true)),
            flags: fields
                .get("flags")
                .and_then(Value::as_u64)
                .map(|all| all & FLAGS_ACCEPTED),
            embeds: embeds::parse(&mut form, fields.get("embeds")),
            components: embeds::components(&mut form, fields.get("components")),
            ..Self::default()
        };
        draft.listed = listed(&mut form, fields.get("attachments"), &sent.files);
        if let Some(reference) = fields
            .get("message_reference")
            .filter(|one| one.is_object())
        {
            match snowflake(&reference["message_id"]) {
                Some(message) => {
                    let must_exist = reference["fail_if_not_exists"] != Value::Bool(false);
                    draft.reply_to = Some(Reply {
                        message,
                        must_exist,
                    });
                }
                None => form.required("message_reference/message_id"),
            }
        }
        form.finish()?;
        if sent.files.len() > ATTACHMENTS_MAX {
            return Err(Refusal::TooManyAttachments);
        }
        if draft.flags.unwrap_or(0) & COMPONENTS_V2 != 0 {
            draft.check_components_v2(fields)?;
        }
        Ok(draft)
    }

    fn check_components_v2(&self, fields: &Map<String, Value>) -> Result<(), Refusal> {
        let mut form = Form::default();
        let content = self.content.as_ref().is_some_and(|text| !text.is_empty());
        let embeds = self.embeds.as_ref().is_some_and(|all| !all.is_empty());
        let message = "The 'content', 'embeds', 'stickers' and 'poll' fields cannot be used when \
                       using MessageFlags.IS_COMPONENTS_V2";
        for (name, used) in [
            ("content", content),
            ("embeds", embeds),
            ("poll", fields.contains_key("poll")),
        ] {
            if used {
                form.wrong(
                    name,
                    "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2",
                    message,
                );
            }
        }
        form.finish()
    }

    /// Puts what the draft says into a message, except its attachments.
    pub(crate) fn write(&self, message: &mut Message) {
        if let Some(content) = &self.content {
            content.clone_into(&mut message.content);
        }
        if let Some(embeds) = &self.embeds {
            embeds.clone_into(&mut message.embeds);
        }
        if let Some(components) = &self.components {
            components.clone_into(&mut message.components);
        }
        if let Some(flags) = self.flags {
            message.flags = message.flags & !FLAGS_ACCEPTED | flags;
        }
    }

    /// A new attachment, as the form describes it.
    pub(crate) fn attachment(&self, file: &Upload) -> Attachment {
        let listed = self
            .listed
            .iter()
            .flatten()
            .find(|one| one.id == file.index);
        let asked = listed.and_then(|one| one.filename.clone());
        let asked = asked.unwrap_or_else(|| file.filename.clone());
        let id = file.incoming.id();
        let filename = sanitize(&asked, id.0);
        let renamed = (filename != asked).then(|| {
            asked
                .rsplit_once('.')
                .map_or(asked.as_str(), |(stem, _)| stem)
                .to_owned()
        });
        Attachment {
            id,
            content_type: content_type(file.content_type.clone(), &filename),
            filename,
            size: file.size,
            title: listed.and_then(|one| one.title.clone()).or(renamed),
            description: listed.and_then(|one| one.description.clone()),
        }
    }
}

fn text(form: &mut Form, fields: &Map<String, Value>, name: &str, max: usize) -> Option<String> {
    match fields.get(name)? {
        Value::Null => Some(String::new()),
        Value::String(text) => {
            if text.chars().count() > max {
                form.too_long(name, max);
            }
            Some(text.trim().to_owned())
        }
        number @ Value::Number(_) => Some(number.to_string()),
        other => {
            let message = format!("Could not interpret \"{other}\" as string.");
            form.wrong(name, "STRING_TYPE_CONVERT", &message);
            None
        }
    }
}

fn nonce(form: &mut Form, sent: Option<&Value>) -> Option<Value> {
    let sent = sent.filter(|value| !value.is_null())?;
    match sent {
        Value::String(text) if text.chars().count() <= NONCE_CHARS_MAX => {}
        Value::String(_) => form.too_long("nonce", NONCE_CHARS_MAX),
        Value::Number(number) if number.is_i64() => {}
        _ => form.wrong(
            "nonce",
            "NONCE_TYPE_INVALID",
            "Value must be an int64 or a string.",
        ),
    }
    Some(sent.clone())
}

fn listed(form: &mut Form, sent: Option<&Value>, files: &[Upload]) -> Option<Vec<Listed>> {
    let all = sent?.as_array()?;
    if all.len() > ATTACHMENTS_MAX {
        form.too_long("attachments", ATTACHMENTS_MAX);
        return None;
    }
    let mut seen = BTreeSet::new();
    let mut listed = Vec::new();
    for (at, one) in all.iter().enumerate() {
        let path = format!("attachments/{at}");
        let Some(Snowflake(id)) = snowflake(&one["id"]) else {
            form.required(&format!("{path}/id"));
            continue;
        };
        // Small numbers are the `n` of a file in this form, large ones ids of old attachments.
        let is_index = id < 1 << 22;
        if !seen.insert(id) || is_index && !files.iter().any(|file| file.index == id) {
            let message = "Attachment data for this id was not found, or is given twice";
            form.wrong(&format!("{path}/id"), "ATTACHMENT_NOT_FOUND", message);
        }
        let mut string = |name: &str| {
            let text = one[name].as_str().map(str::to_owned);
            if text
                .as_ref()
                .is_some_and(|text| text.chars().count() > NAME_CHARS_MAX)
            {
                form.too_long(&format!("{path}/{name}"), NAME_CHARS_MAX);
            }
            text
        };
        listed.push(Listed {
            id,
            filename: string("filename"),
            title: string("title"),
            description: string("description"),
        });
    }
    Some(listed)
}

/// An id in JSON: a string, or as some send it a number.
pub(crate) fn snowflake(value: &Value) -> Option<Snowflake> {
    match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64().map(Snowflake),
    }
}

/// The message as its author gets it back: with the nonce.
pub(crate) fn echo(mut view: Value, nonce: Option<&Value>) -> Value {
    if let Some(nonce) = nonce {
        view["nonce"] = json!(nonce);
    }
    view
}
