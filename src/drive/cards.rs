//! Cards and shelves: where an archive's packs go, and what people see of it.
//!
//! A card is never the source of truth: it is edited when there is something new to say and a few
//! seconds have passed, and an edit that fails is only logged.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::Names;
use crate::drive::record::Entry;
use crate::id::ArchiveNo;
use crate::index::Batch;
use crate::index::archive::Holding;
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
    /// The shelf that was lost before the one that is to be made.
    lost: Option<Shelf>,
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

impl Drive {
    /// The shelf of an archive; made, with its card, when there is none yet.
    pub(in crate::drive) async fn shelf_of(&self, no: ArchiveNo) -> Result<Shelf, Error> {
        let _one = self.cards.making.lock().await;
        let (known, lost) = self
            .cards
            .with(no, |known| (known.shelf.clone(), known.lost.clone()));
        if let Some(shelf) = known {
            return Ok(shelf);
        }
        let mut holding = self.holding(no)?;
        let kept = Shelf(holding.shelf.clone());
        if !kept.0.is_empty() && lost.as_ref() != Some(&kept) {
            let shelf = kept;
            self.cards
                .with(no, |known| known.shelf = Some(shelf.clone()));
            return Ok(shelf);
        }
        // The same label again after a restart, so that a lost answer makes no second shelf.
        let label = match lost {
            Some(lost) => format!("{}-{no}-after-{}", self.id, lost.0),
            None => format!("{}-{no}", self.id),
        };
        let card = self.card(no, &holding, "uploading")?;
        let shelf = self.store.shelf(&label, &card).await?;
        holding.shelf.clone_from(&shelf.0);
        let mut batch = Batch::default();
        batch.put(key::holding(no), holding.encode())?;
        self.take_down(&Entry::Fact(self.epoch_under_way(), batch.clone()))?;
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

    /// The shelf turned out to be gone: the next use makes a new one. False when that was known.
    pub(in crate::drive) fn forget_shelf(&self, no: ArchiveNo, shelf: &Shelf) -> bool {
        self.cards.with(no, |known| {
            let is_news = known.shelf.as_ref() == Some(shelf);
            if is_news {
                *known = Known {
                    lost: Some(shelf.clone()),
                    ..Known::default()
                };
            }
            is_news
        })
    }

    /// The archive is gone, and its card with it.
    pub(in crate::drive) fn drop_card(&self, no: ArchiveNo) {
        let mut known = self
            .cards
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        known.remove(&no);
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
        // A directory that moved deeper leaves its archive, but what is below it stays.
        let is_removed = archive.removed && holding.files == 0;
        let state = if is_removed { "removed" } else { state };
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
