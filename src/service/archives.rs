//! Archives as people see them: all of them, those a word finds, the newest.

use serde::Deserialize;
use serde::Serialize;

use crate::drive::Drive;
use crate::drive::catalogue::Entry;
use crate::id::ArchiveNo;
use crate::service::Error;
use crate::service::share;

/// Which archives to tell of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    /// Words that must all be in id, title, tags, description or directory, whatever their case; nothing
    /// for all archives.
    pub text: String,
    /// How many of those found to leave out at the beginning.
    pub skip: usize,
    /// How many to tell of at most; 0 for all.
    pub limit: usize,
    /// In which order.
    pub order: Order,
    /// Those whose directory was removed too?
    pub removed: Removed,
}

/// The order of archives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Those made last first.
    #[default]
    Newest,
    /// Those made first first.
    Oldest,
    /// Those changed last first.
    Changed,
}

/// What about archives whose directory was removed, and whose packs may still be on the store?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Removed {
    /// Not a word.
    #[default]
    Hidden,
    /// They are told of.
    Shown,
}

/// How an archive is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Everything is on the store.
    #[default]
    Stored,
    /// Files of it wait in the spool, or are on their way.
    Uploading,
    /// Files of it could not be read back.
    Damaged,
    /// Its directory was removed; what is left on the store goes with the garbage.
    Removed,
}

impl State {
    /// One word for people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            State::Stored => "stored",
            State::Uploading => "uploading",
            State::Damaged => "damaged",
            State::Removed => "removed",
        }
    }
}

/// An archive, as of the last published epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ArchiveInfo {
    /// `#DDMMYY-NN`.
    pub id: String,
    /// Its number in the order archives were made; the files directly in the top directory are lot 0.
    pub lot: u32,
    /// What a person called it; may be empty.
    pub title: String,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// What a person wrote about it; may be empty.
    pub description: String,
    /// Name of its directory; empty for the files directly in the top directory.
    pub directory: String,
    /// Files in it.
    pub files: u64,
    /// Bytes of those files.
    pub bytes: u64,
    /// Packs on its shelf.
    pub packs: u64,
    /// Bytes of those packs.
    pub pack_bytes: u64,
    /// Chunks in those packs.
    pub chunks: u64,
    /// Share of the files' bytes that deduplication saves, 0 to 1.
    pub dedup_saving: f64,
    /// Share of the chunks' bytes that compression saves, 0 to 1.
    pub compression_saving: f64,
    /// When it was made, seconds since 1970; the beginning of the day (UTC) in its id.
    pub created_s: i64,
    /// When something in it was last changed, seconds since 1970; none if that is not known.
    pub changed_s: Option<i64>,
    /// How it is.
    pub state: State,
    /// Where people can look at its packs, if they can.
    pub address: Option<String>,
}

/// What archives there are, and how many the query finds in all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Archives {
    /// How many the query finds, told of or not.
    pub found: usize,
    /// Those told of.
    pub archives: Vec<ArchiveInfo>,
}

/// The archives that a query finds.
///
/// # Errors
/// When the index cannot be read.
pub fn archives(drive: &Drive, query: &Query) -> Result<Archives, Error> {
    let words = words(&query.text);
    let mut found: Vec<ArchiveInfo> = all(drive)?
        .into_iter()
        .filter(|info| query.removed == Removed::Shown || info.state != State::Removed)
        .filter(|info| info.is_found_by(&words))
        .collect();
    match query.order {
        Order::Oldest => {}
        Order::Newest => found.reverse(),
        Order::Changed => found.sort_by_key(|info| {
            let changed_s = info.changed_s.unwrap_or(info.created_s);
            std::cmp::Reverse((changed_s, info.lot))
        }),
    }
    let limit = match query.limit {
        0 => usize::MAX,
        limit => limit,
    };
    Ok(Archives {
        found: found.len(),
        archives: found.into_iter().skip(query.skip).take(limit).collect(),
    })
}

/// The archives that changed last, at most so many.
///
/// # Errors
/// When the index cannot be read.
pub fn history(drive: &Drive, limit: usize) -> Result<Archives, Error> {
    archives(
        drive,
        &Query {
            limit,
            order: Order::Changed,
            removed: Removed::Shown,
            ..Query::default()
        },
    )
}

/// All archives, in the order they were made.
pub(in crate::service) fn all(drive: &Drive) -> Result<Vec<ArchiveInfo>, Error> {
    let (waiting, damaged) = (drive.archives_waiting()?, drive.archives_damaged()?);
    let state = |entry: &Entry| {
        if entry.archive.removed && entry.holding.files == 0 {
            State::Removed
        } else if damaged.contains(&entry.no) {
            State::Damaged
        } else if waiting.contains(&entry.no) {
            State::Uploading
        } else {
            State::Stored
        }
    };
    let catalogue = drive.catalogue()?.into_iter();
    Ok(catalogue
        .filter(|entry| {
            entry.no != ArchiveNo(0) || entry.holding.files > 0 || !entry.caption.is_empty()
        })
        .map(|entry| {
            let state = state(&entry);
            described(drive, entry, state)
        })
        .collect())
}

fn described(drive: &Drive, entry: Entry, state: State) -> ArchiveInfo {
    let Entry {
        no,
        archive,
        holding,
        caption,
        tally,
    } = entry;
    let address = drive.shelf_address(&holding);
    ArchiveInfo {
        id: archive.id.to_string(),
        lot: no.0,
        title: caption.title,
        tags: caption.tags,
        description: caption.description,
        directory: String::from_utf8_lossy(&archive.name).into_owned(),
        files: holding.files,
        bytes: holding.file_bytes,
        packs: holding.packs,
        pack_bytes: holding.pack_bytes,
        chunks: tally.chunks,
        dedup_saving: share::saved(tally.stored_bytes, tally.chunk_bytes),
        compression_saving: share::saved(tally.chunk_bytes, tally.sealed_bytes),
        created_s: archive.id.day_s(),
        changed_s: (tally.changed.0 != 0).then(|| tally.changed.seconds()),
        state,
        address,
    }
}

impl ArchiveInfo {
    fn is_found_by(&self, words: &[String]) -> bool {
        let text = [
            &self.id,
            &self.title,
            &self.tags.join("\n"),
            &self.description,
            &self.directory,
        ]
        .map(|text| text.to_lowercase())
        .join("\n");
        words.iter().all(|word| text.contains(word))
    }
}

/// The words of a question, in small letters.
pub(in crate::service) fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_lowercase).collect()
}
