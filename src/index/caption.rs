//! What a person wrote about an archive: title, tags, description.

use crate::index::record::Fields;
use crate::index::record::Malformed;

/// The form of the value that is written now; others are refused.
const VERSION: u8 = 1;

/// Longest title, bytes of UTF-8: with the archive's id it fits the first line of a card.
pub const TITLE_BYTES_MAX: usize = 200;

/// Most tags.
pub const TAGS_MAX: usize = 20;

/// Longest tag, bytes of UTF-8.
pub const TAG_BYTES_MAX: usize = 50;

/// Longest description, bytes of UTF-8: what a card has room for.
pub const DESCRIPTION_BYTES_MAX: usize = 4000;

/// What a person wrote about an archive. It is kept in pieces, because values are short.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caption {
    /// One line.
    pub title: String,
    /// Words to find it by, each once, in the order given.
    pub tags: Vec<String>,
    /// As many lines as it takes.
    pub description: String,
}

impl Caption {
    /// Is nothing written?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Caption::default()
    }

    /// The value to keep. What is too long is the caller's to refuse; here it is cut.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        let title = cut(&self.title, TITLE_BYTES_MAX);
        out.extend_from_slice(&u16::try_from(title.len()).unwrap_or(0).to_le_bytes());
        out.extend_from_slice(title.as_bytes());
        let tags = &self.tags[..self.tags.len().min(TAGS_MAX)];
        out.push(u8::try_from(tags.len()).unwrap_or(0));
        for tag in tags {
            let tag = cut(tag, TAG_BYTES_MAX);
            out.push(u8::try_from(tag.len()).unwrap_or(0));
            out.extend_from_slice(tag.as_bytes());
        }
        out.extend_from_slice(cut(&self.description, DESCRIPTION_BYTES_MAX).as_bytes());
        out
    }

    /// Reads a kept value.
    ///
    /// # Errors
    /// [`Malformed`] when it is not one.
    pub fn decode(value: &[u8]) -> Result<Caption, Malformed> {
        let mut fields = Fields(value);
        if fields.u8()? != VERSION {
            return Err(Malformed);
        }
        let title_len = usize::from(fields.u16()?);
        let title = text(fields.take(title_len)?)?;
        let mut tags = Vec::new();
        for _ in 0..fields.u8()? {
            let tag_len = usize::from(fields.u8()?);
            tags.push(text(fields.take(tag_len)?)?);
        }
        Ok(Caption {
            title,
            tags,
            description: text(fields.rest())?,
        })
    }
}

fn text(bytes: &[u8]) -> Result<String, Malformed> {
    let text = std::str::from_utf8(bytes).map_err(|_| Malformed)?;
    Ok(text.to_owned())
}

fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_comes_back_byte_by_byte() {
        let caption = Caption {
            title: String::from("Taxes 2026"),
            tags: vec![String::from("paper"), String::from("ü")],
            description: String::from("all\nof it"),
        };
        let golden = b"\x01\x0a\x00Taxes 2026\x02\x05paper\x02\xc3\xbcall\nof it";
        assert_eq!(caption.encode(), golden);
        assert_eq!(Caption::decode(golden), Ok(caption));
        assert_eq!(Caption::decode(b"\x01\0\0\0"), Ok(Caption::default()));
        for bad in [
            &b""[..],
            b"\x02\0\0\0",
            b"\x01\x05\0ab",
            b"\x01\0\0\x01\x01\xff",
        ] {
            assert_eq!(Caption::decode(bad), Err(Malformed), "{bad:?}");
        }
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        let caption = Caption {
            title: "ü".repeat(300),
            tags: vec!["ä".repeat(40); 30],
            description: "ö".repeat(3000),
        };
        let read = Caption::decode(&caption.encode()).expect("a caption");
        assert_eq!((read.title.len(), read.tags.len()), (200, 20));
        assert_eq!((read.tags[0].len(), read.description.len()), (50, 4000));
    }
}
