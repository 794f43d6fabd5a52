//! Reading a message's form: JSON, urlencoded, or multipart with files that go straight to the store.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::emulator::blobs::Incoming;
use crate::emulator::dispatch::wrong_content_type;
use crate::emulator::fault::{FaultKind, Recorded};
use crate::emulator::reply::{Refusal, wrong};
use crate::emulator::route;
use crate::emulator::server::Call;

/// A message's form as it was sent.
#[derive(Debug, Default)]
pub(crate) struct MessageForm {
    pub(crate) fields: Map<String, Value>,
    pub(crate) files: Vec<Upload>,
}

/// One file of a form, received but not yet part of a message.
#[derive(Debug)]
pub(crate) struct Upload {
    /// `n` of `files[n]`.
    pub(crate) index: u64,
    pub(crate) filename: String,
    pub(crate) content_type: Option<String>,
    /// The size that will be told.
    pub(crate) size: u64,
    pub(crate) incoming: Incoming,
}

/// Reads a form to its end.
pub(crate) async fn read(call: &mut Call<'_>) -> Result<MessageForm, Refusal> {
    let kind = call.content_type.clone().unwrap_or_default();
    if let Ok(boundary) = multer::parse_boundary(&kind) {
        return read_multipart(call, boundary).await;
    }
    let bytes = call.payload.bytes().await?;
    let fields = if kind.starts_with("application/json") {
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(fields)) => fields,
            Ok(_) | Err(_) => return Err(Refusal::InvalidJson),
        }
    } else if kind.starts_with("application/x-www-form-urlencoded") {
        let text = String::from_utf8_lossy(&bytes);
        route::pairs(&text)
            .into_iter()
            .map(|(key, value)| field(key, value))
            .collect()
    } else {
        return Err(wrong_content_type());
    };
    Ok(MessageForm {
        fields,
        files: Vec::new(),
    })
}

/// A scalar field of a form as JSON would have it.
fn field(key: String, value: String) -> (String, Value) {
    let value = match (key.as_str(), value.as_str()) {
        ("tts" | "enforce_nonce", "true" | "1") => Value::Bool(true),
        ("tts" | "enforce_nonce", "false" | "0") => Value::Bool(false),
        _ => Value::String(value),
    };
    (key, value)
}

async fn read_multipart(call: &mut Call<'_>, boundary: String) -> Result<MessageForm, Refusal> {
    let app = call.app;
    let (keep_bytes, recorded) = truncation(&call.faults);
    let file_bytes_max = app.attachment_bytes_max();
    let mut form = MessageForm::default();
    let mut too_large = false;
    let mut parts = multer::Multipart::new(&mut call.payload, boundary);
    loop {
        let part = parts.next_field().await.map_err(|_| malformed());
        let Some(mut part) = part? else { break };
        let name = part.name().unwrap_or_default().to_owned();
        let is_file = part.file_name().is_some() || name.starts_with("file");
        if !is_file {
            let text = part.bytes().await.map_err(|_| malformed())?;
            take_field(&mut form, name, &text)?;
            continue;
        }
        let filename = part.file_name().unwrap_or("unknown").to_owned();
        let content_type = part.content_type().map(ToString::to_string);
        let id = {
            let now_ms = app.now_ms();
            app.world().ids.next(now_ms)
        };
        let mut incoming = Arc::clone(&app.blobs)
            .receive(id, keep_bytes)
            .map_err(|error| broken(&error))?;
        while let Some(bytes) = part.chunk().await.map_err(|_| malformed())? {
            if incoming.bytes() + bytes.len() as u64 > file_bytes_max {
                too_large = true;
            }
            if !too_large {
                incoming.write(&bytes).map_err(|error| broken(&error))?;
            }
        }
        let size = match recorded {
            Recorded::Short => incoming.bytes().min(keep_bytes),
            Recorded::Full => incoming.bytes(),
        };
        let index = index_of(&name).unwrap_or(form.files.len() as u64);
        form.files.push(Upload {
            index,
            filename,
            content_type,
            size,
            incoming,
        });
    }
    drop(parts);
    call.payload.drain().await;
    if call.payload.is_lost() {
        return Err(malformed());
    }
    if too_large || call.payload.is_too_large() {
        return Err(Refusal::TooLarge);
    }
    Ok(form)
}

fn take_field(form: &mut MessageForm, name: String, text: &[u8]) -> Result<(), Refusal> {
    if name == "payload_json" {
        match serde_json::from_slice(text) {
            Ok(Value::Object(fields)) => form.fields.extend(fields),
            _ => return Err(Refusal::InvalidJson),
        }
    } else {
        let text = String::from_utf8_lossy(text).into_owned();
        let (key, value) = field(name, text);
        form.fields.entry(key).or_insert(value);
    }
    Ok(())
}

fn truncation(faults: &[FaultKind]) -> (u64, Recorded) {
    let found = faults.iter().find_map(|kind| match kind {
        FaultKind::TruncateStore {
            keep_bytes,
            recorded,
        } => Some((*keep_bytes, *recorded)),
        _ => None,
    });
    found.unwrap_or((u64::MAX, Recorded::Full))
}

/// `n` of `files[n]` or of the older `filen`.
fn index_of(name: &str) -> Option<u64> {
    let rest = name
        .strip_prefix("files[")
        .and_then(|rest| rest.strip_suffix(']'));
    rest.or_else(|| name.strip_prefix("file"))?.parse().ok()
}

fn malformed() -> Refusal {
    wrong(
        "",
        "MULTIPART_INVALID",
        "The multipart body could not be read.",
    )
}

fn broken(error: &std::io::Error) -> Refusal {
    log::error!("emulator: cannot store an upload: {error}");
    Refusal::Broken
}

/// What Discord makes of a filename: spaces to underscores, only plain characters, nothing hidden.
pub(crate) fn sanitize(filename: &str, fallback: u64) -> String {
    let last = filename.rsplit(['/', '\\']).next().unwrap_or("");
    let plain = last.chars().filter_map(|c| match c {
        ' ' => Some('_'),
        c if c.is_ascii_alphanumeric() || "._-".contains(c) => Some(c),
        _ => None,
    });
    let plain: String = plain.collect();
    let plain = plain.trim_start_matches(['_', '.']);
    if plain.is_empty() {
        format!("unknown{fallback:x}")
    } else {
        plain.to_owned()
    }
}

/// The type told of an attachment: the part's, or what the name suggests, or none.
pub(crate) fn content_type(sent: Option<String>, filename: &str) -> Option<String> {
    let extension = filename
        .rsplit_once('.')
        .map_or("", |(_, extension)| extension);
    let guess = match extension.to_ascii_lowercase().as_str() {
        "bin" => "application/octet-stream",
        "txt" => "text/plain; charset=utf-8",
        "json" => "application/json; charset=utf-8",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "zip" => "application/zip",
        _ => "",
    };
    sent.or_else(|| (!guess.is_empty()).then(|| guess.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filenames_are_made_plain() {
        assert_eq!(sanitize("c0.bin", 1), "c0.bin");
        assert_eq!(sanitize("_a (1) é.bin", 1), "a_1_.bin");
        assert_eq!(sanitize("été", 255), "t");
        assert_eq!(sanitize("ü", 255), "unknownff");
        assert_eq!(index_of("files[42]"), Some(42));
        assert_eq!(index_of("file1"), Some(1));
        assert_eq!(index_of("file"), None);
    }
}
