//! Archives: one per top-level directory, with an id, a shelf for its packs and a card that people see.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use time::OffsetDateTime;

use crate::clock::Time;
use crate::drive::Change;
use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::Look;
use crate::drive::Names;
use crate::drive::record::Entry;
use crate::id::ArchiveId;
use crate::id::ArchiveNo;
use crate::id::InodeNo;
use crate::index::Batch;
use crate::index::archive::Archive;
use crate::index::archive::Holding;
use crate::index::inode::Inode;
use crate::index::key;
use crate::size;
use crate::store::Card;
use crate::store::Shelf;

/// A card is edited at most this often.
const CARD_PAUSE: Duration = Duration::from_secs(5);

const BLUE: u32 = 0x34_98_db;
const GREEN: u32 = 0x2e_cc_71;
const GREY: u32 = 0x95_a5_a6;

/// What is known of shelves and cards in this run.
#[derive(Debug, Default)]
pub(in crate::drive) struct Cards {
    known: Mutex<HashMap<ArchiveNo, Known>>,
    making: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    shelf: Option<Shelf>,
    is_gone: bool,
    shown: Option<Card>,
    wanted: Option<Card>,
    edited: Option<Instant>,
}

impl Cards {
    fn with<R>(&self, no: ArchiveNo, use_it: impl FnOnce(&mut Known) -> R) -> R {
        use_it(
            self.known
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .entry(no)
                .or_default(),
        )
    }
}

fn today(now: Time) -> (u8, u8, u8) {
    let date =
        OffsetDateTime::from_unix_timestamp(now.seconds()).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let year = u8::try_from(date.year().rem_euclid(100)).unwrap_or(0);
    (year, u8::from(date.month()), date.day())
}

/// The archive of the files directly in the root; made with the drive.
///
/// # Errors
/// When the index cannot be read.
pub(in crate::drive) fn create_first(change: &mut Change<'_>) -> Result<(), Error> {
    create(change, ArchiveNo(0), InodeNo::ROOT, b"")
}

/// Makes the archive of a new top-level directory, within the change that makes the directory.
///
/// # Errors
/// When the index cannot be read.
pub fn create_archive(
    change: &mut Change<'_>,
    directory: InodeNo,
    name: &[u8],
) -> Result<ArchiveNo, Error> {
    let label = key::root("archives");
    let count = change
        .get(&label)?
        .and_then(|value| Some(u32::from_le_bytes(value[..].try_into().ok()?)))
        .unwrap_or(1);
    change.put(label, (count + 1).to_le_bytes().to_vec());
    create(change, ArchiveNo(count), directory, name)?;
    Ok(ArchiveNo(count))
}

fn create(
    change: &mut Change<'_>,
    no: ArchiveNo,
    directory: InodeNo,
    name: &[u8],
) -> Result<(), Error> {
    let (year, month, day) = today(change.now());
    let label = key::root("archive day");
    let number = match change.get(&label)?.as_deref() {
        Some(&[y, m, d, low, high]) if (y, m, d) == (year, month, day) => {
            u16::from_le_bytes([low, high]).saturating_add(1)
        }
        _ => 1,
    };
    let [low, high] = number.to_le_bytes();
    change.put(label, vec![year, month, day, low, high]);
    let id = ArchiveId {
        year,
        month,
        day,
        number,
    };
    let archive = Archive {
        id,
        directory,
        removed: false,
        name: name.to_vec(),
    };
    change.put(key::archive(no), archive.encode());
    Ok(())
}

/// Follows the renaming of a top-level directory.
///
/// # Errors
/// When the index cannot be read.
pub fn rename_archive(change: &mut Change<'_>, no: ArchiveNo, name: &[u8]) -> Result<(), Error> {
    alter(change, no, |archive| archive.name = name.to_vec())
}

/// Follows the removal of a top-level directory, or its move to a deeper place.
///
/// # Errors
/// When the index cannot be read.
pub fn remove_archive(change: &mut Change<'_>, no: ArchiveNo) -> Result<(), Error> {
    alter(change, no, |archive| archive.removed = true)
}

fn alter(
    change: &mut Change<'_>,
    no: ArchiveNo,
    alter: impl FnOnce(&mut Archive),
) -> Result<(), Error> {
    if let Some(value) = change.get(&key::archive(no))? {
        let mut archive = Archive::decode(&value)?;
        alter(&mut archive);
        change.put(key::archive(no), archive.encode());
    }
    Ok(())
}

impl Drive {
    /// What people call an archive, if there is one with this number.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn archive_label(&self, no: ArchiveNo) -> Result<Option<String>, Error> {
        Ok(self.archive(no)?.map(|archive| archive.id.to_string()))
    }

    pub(in crate::drive) fn archive(&self, no: ArchiveNo) -> Result<Option<Archive>, Error> {
        Ok(self
            .index
            .get(&key::archive(no))?
            .map(|value| Archive::decode(&value))
            .transpose()?)
    }

    pub(in crate::drive) fn holding(&self, no: ArchiveNo) -> Result<Holding, Error> {
        let value = self.index.get(&key::holding(no))?;
        Ok(value
            .map(|value| Holding::decode(&value))
            .transpose()?
            .unwrap_or_default())
    }

    /// The shelf of an archive; made, with its card, when there is none yet.
    pub(in crate::drive) async fn shelf_of(&self, no: ArchiveNo) -> Result<Shelf, Error> {
        let _one = self.cards.making.lock().await;
        let (known, is_gone) = self
            .cards
            .with(no, |known| (known.shelf.clone(), known.is_gone));
        if let Some(shelf) = known {
            return Ok(shelf);
        }
        let mut holding = self.holding(no)?;
        if !holding.shelf.is_empty() && !is_gone {
            let shelf = Shelf(holding.shelf);
            self.cards
                .with(no, |known| known.shelf = Some(shelf.clone()));
            return Ok(shelf);
        }
        let salt = if is_gone {
            data_encoding::HEXLOWER.encode(&crate::codec::key::random::<4>())
        } else {
            String::new()
        };
        let card = self.card(no, &holding, "uploading")?;
        let shelf = self
            .store
            .shelf(&format!("{}-{no}{salt}", self.id), &card)
            .await?;
        holding.shelf.clone_from(&shelf.0);
        let mut batch = Batch::default();
        batch.put(key::holding(no), holding.encode())?;
        self.spool
            .append(&Entry::Fact(batch.clone()).encode(), &[])?;
        self.index.amend(batch)?;
        self.cards.with(no, |known| {
            *known = Known {
                shelf: Some(shelf.clone()),
                shown: Some(card),
                edited: Some(Instant::now()),
                ..Known::default()
            };
        });
        Ok(shelf)
    }

    /// The shelf turned out to be gone: the next use makes a new one.
    pub(in crate::drive) fn forget_shelf(&self, no: ArchiveNo) {
        self.cards.with(no, |known| {
            *known = Known {
                is_gone: true,
                ..Known::default()
            }
        });
    }

    fn card(&self, no: ArchiveNo, holding: &Holding, state: &str) -> Result<Card, Error> {
        let Some(archive) = self.archive(no)? else {
            return Ok(Card::default());
        };
        let name = String::from_utf8_lossy(&archive.name);
        let title = match self.settings.names {
            Names::Shown if no != ArchiveNo(0) => format!("{} {name}", archive.id),
            Names::Shown | Names::Private => archive.id.to_string(),
        };
        let state = if archive.removed { "removed" } else { state };
        let colour = match state {
            "removed" => GREY,
            "stored" => GREEN,
            _ => BLUE,
        };
        let field = |label: &str, value: String| (label.to_owned(), value);
        let fields = vec![
            field("Files", holding.files.to_string()),
            field("Size", size::Bytes(holding.file_bytes).to_string()),
            field("Packs", holding.packs.to_string()),
            field("Stored", size::Bytes(holding.pack_bytes).to_string()),
            field("State", state.to_owned()),
        ];
        Ok(Card {
            title,
            fields,
            colour,
            text: String::new(),
        })
    }

    /// Shows how far the upload is, now and then.
    pub(in crate::drive) async fn card_progress(&self, no: ArchiveNo) {
        let (done, all) = {
            let board = self.control.board();
            (board.epoch_done_bytes, board.epoch_bytes)
        };
        let due = self.cards.with(no, |known| {
            known.edited.is_none_or(|at| at.elapsed() >= CARD_PAUSE)
        });
        if !due || all == 0 || done >= all {
            return;
        }
        let percent = done * 100 / all;
        let filled = usize::try_from(percent / 10).unwrap_or(0);
        let state = format!(
            "uploading {}{} {percent} %",
            "▰".repeat(filled),
            "▱".repeat(10 - filled.min(10))
        );
        if let Ok(holding) = self.holding(no)
            && let Ok(card) = self.card(no, &holding, &state)
        {
            self.cards.with(no, |known| known.wanted = Some(card));
            self.edit_card(no).await;
        }
    }

    /// Wants the cards of these archives to say what is stored now.
    pub(in crate::drive) fn want_cards(&self, archives: &[ArchiveNo]) {
        for &no in archives {
            if let Ok(holding) = self.holding(no)
                && !holding.shelf.is_empty()
                && let Ok(card) = self.card(no, &holding, "stored")
            {
                self.cards.with(no, |known| {
                    known.shelf.get_or_insert(Shelf(holding.shelf));
                    known.wanted = Some(card);
                });
            }
        }
    }

    /// Edits the cards that are due; all that are wanted when the drive is about to close.
    pub(in crate::drive) async fn edit_cards(&self, pace: Pace) {
        let due: Vec<ArchiveNo> = {
            let known = self
                .cards
                .known
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let due = |known: &Known| {
                let rested = known.edited.is_none_or(|at| at.elapsed() >= CARD_PAUSE);
                known.wanted.is_some() && (rested || pace == Pace::All)
            };
            known
                .iter()
                .filter(|(_, known)| due(known))
                .map(|(no, _)| *no)
                .collect()
        };
        for no in due {
            self.edit_card(no).await;
        }
    }

    async fn edit_card(&self, no: ArchiveNo) {
        let (shelf, card) = self.cards.with(no, |known| {
            let card = known
                .wanted
                .take()
                .filter(|card| known.shown.as_ref() != Some(card));
            known.edited = Some(Instant::now());
            (known.shelf.clone(), card)
        });
        let (Some(shelf), Some(card)) = (shelf, card) else {
            return;
        };
        match self.store.describe(&shelf, &card).await {
            Ok(()) => self.cards.with(no, |known| known.shown = Some(card)),
            Err(error) => {
                log::info!("the card of archive {no} could not be edited: {error}");
                self.cards.with(no, |known| {
                    if error.is_passing() {
                        known.wanted.get_or_insert(card);
                    }
                });
            }
        }
    }

    /// Brings the holdings of the frozen epoch up to date: what its inode changes add and remove,
    /// and the packs just put. Gives the archives whose cards may have changed.
    pub(in crate::drive) fn fold_holdings(
        &self,
        put: &HashMap<ArchiveNo, (u64, u64)>,
    ) -> Result<Vec<ArchiveNo>, Error> {
        let mut changes: HashMap<ArchiveNo, (i64, i64)> = HashMap::new();
        let mut touched: Vec<ArchiveNo> = put.keys().copied().collect();
        let mut count = |value: Option<Vec<u8>>, sign: i64| -> Result<(), Error> {
            let Some(value) = value else { return Ok(()) };
            let inode = Inode::decode(&value)?;
            if !inode.is_dir() {
                let change = changes.entry(inode.archive).or_default();
                change.0 += sign;
                change.1 += sign * i64::try_from(inode.size).unwrap_or(i64::MAX);
            }
            Ok(())
        };
        for (key, value) in self.index.publishing() {
            match key.first() {
                Some(b'I') => {
                    count(self.index.base_get(&key)?.map(|value| value.to_vec()), -1)?;
                    count(value.map(|value| value.to_vec()), 1)?;
                }
                Some(b'A') => touched.extend(key::archive_of(&key)),
                _ => {}
            }
        }
        touched.extend(changes.keys().copied());
        touched.sort_unstable();
        touched.dedup();
        let mut batch = Batch::default();
        for &no in &touched {
            let value = self.index.frozen_get(&key::holding(no))?;
            let mut holding = value
                .map(|value| Holding::decode(&value))
                .transpose()?
                .unwrap_or_default();
            let (files, bytes) = changes.get(&no).copied().unwrap_or_default();
            holding.files = holding.files.saturating_add_signed(files);
            holding.file_bytes = holding.file_bytes.saturating_add_signed(bytes);
            let (packs, pack_bytes) = put.get(&no).copied().unwrap_or_default();
            holding.packs += packs;
            holding.pack_bytes += pack_bytes;
            batch.put(key::holding(no), holding.encode())?;
        }
        self.index.amend(batch)?;
        Ok(touched)
    }

    /// Every archive that was newly made gets its card, even when it holds nothing yet.
    pub(in crate::drive) async fn make_shelves(&self, archives: &[ArchiveNo]) -> Result<(), Error> {
        for &no in archives {
            let is_plain =
                no != ArchiveNo(0) && self.archive(no)?.is_some_and(|archive| !archive.removed);
            if is_plain {
                self.shelf_of(no).await?;
            }
        }
        Ok(())
    }
}

/// Which cards to edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::drive) enum Pace {
    /// Those not edited in the last seconds.
    Due,
    /// All that are wanted.
    All,
}
