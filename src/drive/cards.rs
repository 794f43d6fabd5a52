//! Cards and shelves: where an archive's packs go, and what people see of it.
//!
//! A card is never the source of truth: it is edited when there is something new to say and a few
//! seconds have passed, and an edit that fails is only logged.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use crate::drive::Access;
use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::card::bar;
use crate::drive::card::says_the_same;
use crate::drive::record::Entry;
use crate::id::ArchiveNo;
use crate::index::Batch;
use crate::index::archive::Holding;
use crate::index::key;
use crate::store;
use crate::store::Card;
use crate::store::Shelf;

/// A card is edited at most this often.
const CARD_PAUSE: Duration = Duration::from_secs(5);

/// Begins what this machine alone knows of a card that was made again, until an epoch tells the others.
const MOVED: &str = "card ";

/// What is known of shelves and cards in this run.
#[derive(Debug, Default)]
pub(in crate::drive) struct Cards {
    known: Mutex<HashMap<ArchiveNo, Known>>,
    /// Words and labels of the buttons that somebody answers.
    offered: Mutex<Vec<(String, String)>>,
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
    /// Was an edit wanted for its buttons alone?
    dressed: bool,
}

impl Cards {
    pub(in crate::drive) fn offer(&self, buttons: &[(&str, &str)]) {
        let owned = |(word, label): &(&str, &str)| ((*word).to_owned(), (*label).to_owned());
        *self.offered.lock().unwrap_or_else(PoisonError::into_inner) =
            buttons.iter().map(owned).collect();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.values_mut().for_each(|known| known.dressed = false);
    }

    /// Archives whose cards have no buttons: those that are to be edited anyway, and one more, once.
    fn bare(&self) -> Vec<ArchiveNo> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let is_bare =
            |card: &Option<Card>| card.as_ref().is_some_and(|card| card.actions.is_empty());
        let waiting = known.iter().filter(|(_, known)| is_bare(&known.wanted));
        let mut bare: Vec<ArchiveNo> = waiting.map(|(no, _)| *no).collect();
        let idle = known.iter_mut().find(|(_, known)| {
            let is_idle = known.wanted.is_none() && !known.dressed;
            is_idle && is_bare(&known.shown)
        });
        if let Some((no, known)) = idle {
            known.dressed = true;
            bare.push(*no);
        }
        bare
    }

    pub(in crate::drive) fn offered(&self) -> Vec<(String, String)> {
        let offered = self.offered.lock();
        offered.unwrap_or_else(PoisonError::into_inner).clone()
    }

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
        let kept = self.shelf_now(no, &self.holding(no)?)?;
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
        let card = self.card(no, "uploading")?;
        let shelf = self.store.shelf(&label, &card).await?;
        let _held = self.losses.hold_shelves();
        let holding = Holding {
            shelf: shelf.0.clone(),
            ..self.holding(no)?
        };
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

    /// Is this the shelf that the archive uses?
    pub(in crate::drive) fn has_shelf(&self, no: ArchiveNo, shelf: &Shelf) -> bool {
        self.cards
            .with(no, |known| known.shelf.as_ref() == Some(shelf))
    }

    /// The shelf turned out to be gone: the next use makes a new one.
    pub(in crate::drive) fn forget_shelf(&self, no: ArchiveNo, shelf: &Shelf) {
        self.cards.with(no, |known| {
            *known = Known {
                lost: Some(shelf.clone()),
                ..Known::default()
            };
        });
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
        if let Ok(card) = self.card(no, &bar(done * 100 / all)) {
            self.cards.with(no, |known| known.wanted = Some(card));
            self.edit_card(no).await;
        }
    }

    /// Wants the cards of these archives to say what is stored now.
    pub(in crate::drive) fn want_cards(&self, archives: &[ArchiveNo]) {
        for &no in archives {
            if let Ok(holding) = self.holding(no)
                && let Ok(shelf) = self.shelf_now(no, &holding)
                && !shelf.0.is_empty()
                && let Ok(card) = self.card(no, "stored")
            {
                self.cards.with(no, |known| {
                    known.shelf.get_or_insert(shelf);
                    known.wanted = Some(card);
                });
            }
        }
    }

    /// Wants the buttons that are offered on cards that were made before they were. An edit for nothing else is
    /// made when there is nothing to publish, and one at a time, so that it is in nobody's way.
    pub(in crate::drive) fn want_buttons(&self) {
        if self.cards.offered().is_empty() {
            return;
        }
        for no in self.cards.bare() {
            let archive = self.archive(no).ok().flatten();
            let Some(archive) = archive.filter(|archive| !archive.removed) else {
                continue;
            };
            let actions = self.buttons(archive.id);
            self.cards.with(no, |known| {
                let card = known.wanted.take().or_else(|| known.shown.clone());
                known.wanted = card.map(|card| Card { actions, ..card });
            });
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
            let card = known.wanted.take().filter(|card| {
                !known
                    .shown
                    .as_ref()
                    .is_some_and(|shown| says_the_same(shown, card))
            });
            known.edited = Some(Instant::now());
            (known.shelf.clone(), card)
        });
        let (Some(shelf), Some(card)) = (shelf, card) else {
            return;
        };
        match self.store.describe(&shelf, &card).await {
            Ok(()) => self.cards.with(no, |known| known.shown = Some(card)),
            Err(store::Error::Missing { .. }) => self.card_again(no, &shelf, card).await,
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

    /// Somebody removed the card by hand: it is made again, unless the shelf is gone too, which the next
    /// upload finds out.
    async fn card_again(&self, no: ArchiveNo, shelf: &Shelf, card: Card) {
        if self.settings.access == Access::Read || !matches!(self.archive(no), Ok(Some(_))) {
            return;
        }
        let made = match self.store.show_again(shelf, &card).await {
            Ok(made) => made,
            Err(error) => {
                log::info!("the card of archive {no} is gone and cannot be made again: {error}");
                return;
            }
        };
        if let Err(error) = self.note_moved(no, shelf, &made) {
            log::info!("the new card of archive {no} is not remembered: {error}");
        }
        self.cards.with(no, |known| {
            known.shelf = Some(made);
            known.shown = Some(card);
        });
    }

    /// Remembers on this machine what a shelf is called since its card was made again.
    fn note_moved(&self, no: ArchiveNo, from: &Shelf, to: &Shelf) -> Result<(), Error> {
        let holding = self.holding(no)?;
        let from = match self.shelf_now(no, &holding)? == *from {
            true => &holding.shelf,
            false => &from.0,
        };
        let mut batch = Batch::default();
        let value = format!("{from}\n{}", to.0);
        batch.put(key::local(&format!("{MOVED}{no}")), value.into_bytes())?;
        Ok(self.index.write_through(batch)?)
    }

    /// The shelf of an archive as it is called now; empty when there is none.
    pub(in crate::drive) fn shelf_now(
        &self,
        no: ArchiveNo,
        holding: &Holding,
    ) -> Result<Shelf, Error> {
        let value = self.index.base_get(&key::local(&format!("{MOVED}{no}")))?;
        let moved = value.as_deref().and_then(moved);
        Ok(match moved {
            Some((from, to)) if from == holding.shelf => Shelf(to.to_owned()),
            _ => Shelf(holding.shelf.clone()),
        })
    }

    /// Archives whose shelf is called otherwise since the last epoch: the next one tells so.
    pub(in crate::drive) fn moved_shelves(&self) -> Result<Vec<ArchiveNo>, Error> {
        let prefix = key::local(MOVED);
        let mut moved = Vec::new();
        for row in self.index.scan_prefix(&prefix) {
            let (key, _) = row?;
            let no = std::str::from_utf8(&key[prefix.len()..]);
            moved.extend(no.ok().and_then(|no| no.parse().ok()).map(ArchiveNo));
        }
        Ok(moved)
    }

    /// The epoch tells what the shelf is called, so this machine need not remember it.
    pub(in crate::drive) fn forget_moved(no: ArchiveNo, batch: &mut Batch) {
        batch.delete(key::local(&format!("{MOVED}{no}")));
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

/// What a shelf was called, and what it is called.
fn moved(value: &[u8]) -> Option<(&str, &str)> {
    std::str::from_utf8(value).ok()?.split_once('\n')
}

/// Which cards to edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::drive) enum Pace {
    /// Those not edited in the last seconds.
    Due,
    /// All that are wanted.
    All,
}
