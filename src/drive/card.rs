//! What a card says of its archive. Names, titles, tags and descriptions only where the user opted in.

use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::Names;
use crate::drive::catalogue::Entry;
use crate::id::ArchiveId;
use crate::id::ArchiveNo;
use crate::id::InodeNo;
use crate::size::Bytes;
use crate::store::Action;
use crate::store::Card;

const BLUE: u32 = 0x34_98_db;
const GREEN: u32 = 0x2e_cc_71;
const RED: u32 = 0xe7_4c_3c;
const GREY: u32 = 0x95_a5_a6;

/// The field that may be old without harm: it alone is worth no request.
const CHANGED: &str = "Changed";

/// Do two cards say the same, but for when something was last changed?
pub(in crate::drive) fn says_the_same(one: &Card, other: &Card) -> bool {
    let fields = |card: &Card| -> Vec<(String, String)> {
        let kept = card.fields.iter().filter(|(label, _)| label != CHANGED);
        kept.cloned().collect()
    };
    let rest = |card: &Card| Card {
        fields: Vec::new(),
        ..card.clone()
    };
    rest(one) == rest(other) && fields(one) == fields(other)
}

/// How far an upload is, for people.
pub(in crate::drive) fn bar(percent: u64) -> String {
    let filled = usize::try_from(percent / 10).unwrap_or(0).min(10);
    format!(
        "uploading {}{} {percent} %",
        "▰".repeat(filled),
        "▱".repeat(10 - filled)
    )
}

impl Drive {
    /// What the card of an archive says when it is in this state.
    pub(in crate::drive) fn card(&self, no: ArchiveNo, state: &str) -> Result<Card, Error> {
        let Some(entry) = self.catalogued(no)? else {
            return Ok(Card::default());
        };
        // A directory that moved deeper leaves its archive, but what is below it stays.
        let is_removed = entry.archive.removed && entry.holding.files == 0;
        let is_damaged = state == "stored" && self.archives_damaged()?.contains(&no);
        let state = match (is_removed, is_damaged) {
            (true, _) => "removed",
            (_, true) => "damaged",
            _ => state,
        };
        let colour = match state {
            "removed" => GREY,
            "stored" => GREEN,
            "damaged" => RED,
            _ => BLUE,
        };
        let is_shown = self.settings.names == Names::Shown;
        Ok(Card {
            title: title(&entry, self.settings.names),
            fields: fields(&entry, state, is_shown),
            colour,
            text: match is_shown {
                true => entry.caption.description.clone(),
                false => String::new(),
            },
            actions: self.buttons(entry.archive.id),
        })
    }

    /// The buttons of an archive's card, as they are offered now.
    pub(in crate::drive) fn buttons(&self, id: ArchiveId) -> Vec<Action> {
        let offered = self.cards.offered().into_iter();
        let action = |(word, label)| Action {
            id: format!("{word}:{id}"),
            label,
        };
        offered.map(action).collect()
    }

    /// Buttons that cards have from their next edit on: a word that comes back with the archive's id behind a
    /// colon (`info:#DDMMYY-NN`), and what stands on the button. Nothing, when nobody answers them any more.
    /// Cards that were made or edited without them since the drive was opened get them soon, one after the other.
    pub fn offer(&self, buttons: &[(&str, &str)]) {
        self.cards.offer(buttons);
    }
}

fn title(entry: &Entry, names: Names) -> String {
    let id = entry.archive.id;
    let name = String::from_utf8_lossy(&entry.archive.name);
    match (names, entry.caption.title.as_str()) {
        (Names::Private, _) => id.to_string(),
        (Names::Shown, "") if entry.archive.directory == InodeNo::ROOT => id.to_string(),
        (Names::Shown, "") => format!("{id} {name}"),
        (Names::Shown, title) => format!("{id} {title}"),
    }
}

fn fields(entry: &Entry, state: &str, is_shown: bool) -> Vec<(String, String)> {
    let Entry {
        no, holding, tally, ..
    } = entry;
    let field = |label: &str, value: String| (label.to_owned(), value);
    let mut fields = vec![
        field("Files", holding.files.to_string()),
        field("Size", Bytes(holding.file_bytes).to_string()),
        field("Chunks", tally.chunks.to_string()),
        field("Packs", holding.packs.to_string()),
        field("Stored", Bytes(holding.pack_bytes).to_string()),
    ];
    let saved = [
        (tally.stored_bytes, tally.chunk_bytes, "deduplication"),
        (tally.chunk_bytes, tally.sealed_bytes, "compression"),
    ];
    let saved: Vec<String> = saved
        .into_iter()
        .filter(|(before, after, _)| *before > 0 && after < before)
        .map(|(before, after, how)| {
            format!(
                "{} % by {how}",
                (before - after).saturating_mul(100) / before
            )
        })
        .collect();
    if !saved.is_empty() {
        fields.push(field("Saved", saved.join(", ")));
    }
    if is_shown && !entry.caption.tags.is_empty() {
        fields.push(field("Tags", entry.caption.tags.join(", ")));
    }
    fields.push(field("Lot", no.to_string()));
    fields.push(field(
        "Created",
        format!("<t:{}:D>", entry.archive.id.day_s()),
    ));
    if tally.changed.0 != 0 {
        fields.push(field(CHANGED, format!("<t:{}:R>", tally.changed.seconds())));
    }
    fields.push(field("State", state.to_owned()));
    fields
}
