//! What version 4 wrote down about a batch, and the numbers of its parts.

use serde::Deserialize;
use serde_json::Value;

use crate::legacy::Error;

/// Longest text about a batch, bytes: a message has at most 4,000 characters.
pub const META_BYTES_MAX: u64 = 1 << 20;

/// Most parts of a batch: 10 TiB of them.
const PARTS_MAX: u32 = 1 << 20;

/// What is known of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// `BATCH_YYYYMMDD_HHHH`.
    pub batch: String,
    /// The name of the folder or file, as it was written down.
    pub name: String,
    /// Was it a folder?
    pub is_folder: bool,
    /// For its key.
    pub salt: String,
    /// How many parts it has, if that was written down.
    pub parts: Option<u32>,
    /// How many files.
    pub files: Option<u64>,
    /// Bytes of all of its files.
    pub bytes: Option<u64>,
}

#[derive(Deserialize)]
struct RawMeta {
    #[serde(default)]
    batch_id: String,
    #[serde(default)]
    original_name: String,
    #[serde(default)]
    encryption_salt: Option<String>,
    #[serde(default)]
    is_directory: Value,
    #[serde(default)]
    chunk_count: Value,
    #[serde(default)]
    file_count: Value,
    #[serde(default)]
    total_size: Value,
}

impl Meta {
    /// Reads it, with or without the word `META:` before it.
    ///
    /// # Errors
    /// [`Error::Damaged`] when it is none; [`Error::TooLarge`].
    pub fn decode(bytes: &[u8]) -> Result<Meta, Error> {
        if bytes.len() as u64 > META_BYTES_MAX {
            return Err(Error::TooLarge {
                what: "a batch's META",
                bytes_max: META_BYTES_MAX,
            });
        }
        let text = std::str::from_utf8(bytes).map_err(|_| Error::damaged("META is no text"))?;
        let json = text.split_once("META:").map_or(text, |(_, json)| json);
        let raw: RawMeta = serde_json::from_str(json.trim())
            .map_err(|error| Error::damaged(format!("no META: {error}")))?;
        let parts = number(&raw.chunk_count).map(|parts| u32::try_from(parts).unwrap_or(u32::MAX));
        if parts.is_some_and(|parts| parts > PARTS_MAX) {
            return Err(Error::damaged("META says there are more parts than can be"));
        }
        Ok(Meta {
            batch: raw.batch_id,
            name: raw.original_name,
            // That system's own default.
            is_folder: raw.is_directory.is_null() || number(&raw.is_directory) != Some(0),
            salt: raw.encryption_salt.unwrap_or_default(),
            parts,
            files: number(&raw.file_count).filter(|files| *files > 0),
            bytes: number(&raw.total_size).filter(|bytes| *bytes > 0),
        })
    }
}

/// A number, a truth value, or a text that is a number.
pub(in crate::legacy) fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Bool(is_so) => Some(u64::from(*is_so)),
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Does a message say what a batch is?
#[must_use]
pub fn is_meta(text: &str) -> bool {
    let text = text.trim_start();
    text.starts_with("META:") || text.starts_with("🧾 META:")
}

/// The number of a part: what follows the last `.part`. Discord may have changed the rest of the name.
#[must_use]
pub fn part_number(name: &str) -> Option<u32> {
    let (_, rest) = name.rsplit_once(".part")?;
    let end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    let (digits, rest) = rest.split_at(end);
    if rest.starts_with(|c: char| c.is_alphanumeric()) {
        return None;
    }
    digits.parse().ok().filter(|number| *number < PARTS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meta_is_read_from_a_message_and_from_a_file() {
        let json = r#"{"batch_id":"BATCH_20260101_000B","original_name":"h","encryption_salt":"AA==",
            "chunk_count":"4","file_count":6,"is_directory":0,"total_size":7,"extra":[]}"#;
        let meta = Meta::decode(json.as_bytes()).expect("reads");
        assert_eq!(
            (meta.parts, meta.files, meta.is_folder),
            (Some(4), Some(6), false)
        );
        let said = format!("🧾 META:{json}");
        assert!(is_meta(&said) && !is_meta(json));
        assert_eq!(Meta::decode(said.as_bytes()).expect("reads"), meta);
        assert!(Meta::decode(b"META:{").is_err());
        assert!(Meta::decode(br#"{"chunk_count":99999999999}"#).is_err());
    }

    #[test]
    fn a_part_is_known_by_its_number() {
        assert_eq!(part_number("a b.tar.gz.enc.part12"), Some(12));
        assert_eq!(part_number("x.part1.tar.gz.enc.part0"), Some(0));
        assert_eq!(part_number("x.tar.gz.enc.part3.bin"), Some(3));
        for bad in [
            "x.tar.gz.enc",
            "x.part",
            "x.partial",
            "x.part1x",
            "x.part99999999999",
        ] {
            assert_eq!(part_number(bad), None, "{bad}");
        }
    }
}
