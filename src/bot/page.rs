//! An answer as it is sent: text, buttons, a file; with nothing in it that mentions anybody.

use serde_json::Value;
use serde_json::json;

use crate::bot::text;
use crate::store::discord::Attached;

/// What people see.
#[derive(Clone, Debug, Default)]
pub(in crate::bot) struct Page {
    /// For who asked.
    pub(in crate::bot) text: String,
    /// For everybody, should the answer have to move into the channel; none: nothing of it is for everybody.
    pub(in crate::bot) open_text: Option<String>,
    pub(in crate::bot) buttons: Vec<Button>,
    pub(in crate::bot) file: Option<Attached>,
}

/// Something to press.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::bot) struct Button {
    pub(in crate::bot) label: &'static str,
    pub(in crate::bot) id: String,
    pub(in crate::bot) look: Look,
    pub(in crate::bot) can: Can,
}

/// How a button looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bot) enum Look {
    Plain,
    Danger,
}

/// Can it be pressed?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bot) enum Can {
    Press,
    Not,
}

impl Page {
    pub(in crate::bot) fn new(text: impl Into<String>) -> Page {
        Page {
            text: text.into(),
            ..Page::default()
        }
    }

    /// What may be said to everybody as it is.
    pub(in crate::bot) fn open(text: impl Into<String>) -> Page {
        let text = text.into();
        Page {
            open_text: Some(text.clone()),
            ..Page::new(text)
        }
    }

    /// What of it is for everybody: its open words with their buttons, and never its file. Where there are
    /// no such words, nothing is told but that.
    pub(in crate::bot) fn opened(&self) -> Page {
        match &self.open_text {
            Some(text) => Page {
                buttons: self.buttons.clone(),
                ..Page::new(text)
            },
            None => Page::new(TOO_LATE),
        }
    }

    /// As Discord takes it. What was there before goes: buttons and files too.
    pub(in crate::bot) fn body(&self) -> Value {
        let mut body = json!({
            "content": text::fitting(&self.text),
            "components": rows(&self.buttons),
            "allowed_mentions": { "parse": [], "replied_user": false },
            // No previews of what a text may link to.
            "flags": SUPPRESS_EMBEDS,
        });
        if let Some(file) = &self.file {
            body["attachments"] = json!([{ "id": 0, "filename": file.name }]);
        }
        body
    }

    pub(in crate::bot) fn files(&self) -> Vec<Attached> {
        self.file.iter().cloned().collect()
    }
}

/// What is said in the channel instead of an answer that only who asked may read.
const TOO_LATE: &str =
    "The answer is not for everybody, and it came too late to be given to you alone; ask again.";

/// Flags of a message.
pub(in crate::bot) const SUPPRESS_EMBEDS: u64 = 1 << 2;
/// Only who asked sees it.
pub(in crate::bot) const EPHEMERAL: u64 = 1 << 6;

/// Buttons in one row, at most five.
fn rows(buttons: &[Button]) -> Value {
    if buttons.is_empty() {
        return json!([]);
    }
    let buttons = buttons.iter().map(|button| {
        let style = match button.look {
            Look::Plain => 2,
            Look::Danger => 4,
        };
        json!({
            "type": 2,
            "style": style,
            "label": button.label,
            "custom_id": button.id,
            "disabled": button.can == Can::Not,
        })
    });
    json!([{ "type": 1, "components": buttons.take(5).collect::<Vec<_>>() }])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_told_open_words_alone() {
        let button = Button {
            label: "Delete",
            id: "ask:1:yes".into(),
            look: Look::Danger,
            can: Can::Press,
        };
        let private = Page {
            buttons: vec![button.clone()],
            ..Page::new("secret.txt would be replaced")
        };
        let opened = private.opened();
        assert_eq!((opened.text.as_str(), opened.buttons.len()), (TOO_LATE, 0));
        let asked = Page {
            open_text: Some("Replace it?".into()),
            ..private
        };
        let opened = asked.opened();
        assert_eq!(opened.text, "Replace it?");
        assert_eq!(opened.buttons, [button]);
        assert_eq!(
            Page::open("Nothing was done.").opened().text,
            "Nothing was done."
        );
    }
}
