//! Recovering: the journal tells what is published, the spool what came after it.

use std::collections::HashMap;
use std::sync::Arc;

use crate::drive::Access;
use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::Look;
use crate::drive::State;
use crate::drive::branch::HeadIs;
use crate::drive::rebuild::Watch;
use crate::drive::record::Entry;
use crate::drive::record::Intent;
use crate::id::EpochNo;
use crate::id::InodeNo;
use crate::id::PackId;
use crate::id::Seq;
use crate::index::Batch;
use crate::index::archive::Holding;
use crate::index::chunk::PackPlace;
use crate::index::key;
use crate::spool::Replayed;
use crate::store::Locator;
use crate::store::Shelf;
use crate::store::Span;

impl Drive {
    /// Follows the journal, from a state of which this was found, replays the spool, and finds out what became of packs
    /// that were on their way.
    pub(in crate::drive) async fn recover(
        self: &Arc<Drive>,
        head_was: &HeadIs,
        watch: Watch<'_>,
    ) -> Result<(), Error> {
        self.recall_lost_records();
        match self.catch_up(watch).await? {
            HeadIs::Listed if *head_was == HeadIs::Missing => self.put_head_back(&[]).await?,
            HeadIs::Listed | HeadIs::Replaced => {}
            HeadIs::Missing => self.put_head_back(&[]).await?,
            HeadIs::Damaged(segment) => self.put_head_back(&segment).await?,
            // Left by whoever was killed before it went, it would keep others from the checkpoint.
            HeadIs::Covered(segment) => self.store.remove(&segment).await?,
        }
        let through = self.journal_head().through;
        self.note_base()?;
        let intents = self.replay(through)?;
        self.find_lost_packs(intents).await?;
        if self.view().inode(InodeNo::ROOT)?.is_none() {
            if let Some(halt) = self.halt().filter(|_| self.is_halted()) {
                return Err(halt.refusal());
            }
            self.make_root()?;
        }
        let published = self.journal_head().through;
        self.control.post(|board| board.published = published);
        Ok(())
    }

    /// The newest segment is gone from the shelf, or cannot be read, and nothing else leads there: nobody could follow
    /// what this machine publishes next. Its index has what it said.
    async fn put_head_back(&self, damaged: &[Locator]) -> Result<(), Error> {
        let epoch = self.journal_head().epoch;
        log::warn!(
            "epoch {epoch}, the newest of the journal, or what it follows cannot be read from Discord any more"
        );
        if self.settings.access == Access::Read {
            return Ok(());
        }
        self.checkpoint(&mut None).await?;
        if !damaged.is_empty() {
            self.store.remove(damaged).await?;
        }
        log::warn!("a checkpoint was written, which has all that epoch {epoch} held");
        Ok(())
    }

    /// If the spool holds changes after `through`: the last foreign epoch that it knows they follow, or 0.
    pub(in crate::drive) fn unpublished(&self, through: Seq) -> Result<Option<EpochNo>, Error> {
        let (any, base) = self.survey(through)?;
        Ok(any.then_some(base))
    }

    fn survey(&self, through: Seq) -> Result<(bool, EpochNo), Error> {
        let (mut any, mut base) = (false, EpochNo(0));
        self.spool.replay(|replayed| -> Result<(), Error> {
            if let Replayed::Record { seq, head, .. } = replayed {
                match Entry::decode(head) {
                    Ok(Entry::Change(_)) => any |= seq > through,
                    Ok(Entry::Base(epoch)) => base = base.max(epoch),
                    Ok(Entry::Fact(..) | Entry::Intent(..)) | Err(_) => {}
                }
            }
            Ok(())
        })?;
        Ok((any, base))
    }

    /// Changes to come follow what another machine has published: the spool says so, for when the
    /// index is lost.
    fn note_base(&self) -> Result<(), Error> {
        let epoch = self.journal_head().epoch;
        let published = self.share()?.epoch;
        let is_needed = self.settings.access == Access::Write && epoch > published;
        if is_needed && self.survey(Seq(0))?.1 < epoch {
            self.spool.number_after(self.journal_head().through)?;
            self.spool.append(&Entry::Base(epoch).encode(), &[])?;
        }
        Ok(())
    }

    /// Applies what the spool holds beyond the journal; gives the packs whose fate is unknown.
    fn replay(&self, through: Seq) -> Result<Vec<Intent>, Error> {
        let is_halted = self.is_halted();
        // What the epochs held that are missing in the journal is missing in the spool too, from where they took over.
        let mut is_cut = false;
        let mut state = self
            .state
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut intents: HashMap<PackId, Intent> = HashMap::new();
        let published = self.journal_head().epoch;
        self.spool.replay(|replayed| -> Result<(), Error> {
            let (seq, head, place) = match replayed {
                Replayed::Record { seq, head, place } if seq > through && !is_cut => {
                    (seq, head, place)
                }
                Replayed::Record { .. } => return Ok(()),
                Replayed::Missing { last, .. } if is_halted => {
                    is_cut |= last.is_none_or(|last| last > through);
                    return Ok(());
                }
                Replayed::Missing { first, last } => return self.miss(first, last, through),
            };
            match Entry::decode(head).map_err(|_| unknown_record())? {
                Entry::Change(record) => {
                    // Which bytes are needed is known only at the end: later records hide earlier ones,
                    // whose space may be gone already.
                    state.lay(self, seq, place, record);
                }
                // The journal has gone on: it tells itself what is true.
                Entry::Fact(epoch, _) | Entry::Intent(epoch, _) if epoch <= published => {}
                Entry::Fact(_, batch) => {
                    for pack in packs_of(&batch) {
                        intents.remove(&pack);
                    }
                    self.index.apply(self.as_of_now(batch)?);
                }
                Entry::Intent(_, list) => {
                    for intent in list {
                        if let Some((_, place)) = intent.frames.first() {
                            intents.insert(place.pack, intent);
                        }
                    }
                }
                Entry::Base(_) => {}
            }
            Ok(())
        })?;
        if !is_halted {
            self.spool.accept_loss()?;
        }
        self.retain_needed(&state);
        // Whoever comes after the journal was put right may need all of it.
        if !is_halted {
            self.spool.reclaim();
            self.spool.cut(through)?;
            self.spool.number_after(through)?;
        }
        let next = self.index.get(&key::root("next"))?;
        if let Some(next) =
            next.and_then(|value| Some(u64::from_le_bytes(value[..].try_into().ok()?)))
        {
            state.next_number = next;
        }
        if state.changed > through {
            self.control.changed(0);
        }
        Ok(intents.into_values().collect())
    }

    /// Keeps the bytes in the spool that something refers to.
    fn retain_needed(&self, state: &State) {
        for (ino, place, len) in state.gathering.references() {
            if let Err(error) = self.spool.retain(&place, u64::from(len)) {
                self.note_damage(ino, &error.to_string());
            }
        }
    }

    /// What a fact says of an archive is where its shelf is; its counts are older than the journal's.
    fn as_of_now(&self, fact: Batch) -> Result<Batch, Error> {
        let mut batch = Batch::default();
        for (key, value) in fact {
            match (key.first(), key::archive_of(&key), &value) {
                (Some(b'B'), Some(no), Some(then)) => {
                    let mut holding = self.holding(no)?;
                    holding.shelf = Holding::decode(then)?.shelf;
                    batch.put(key, holding.encode())?;
                }
                (_, _, Some(value)) => batch.put(key, value.clone())?,
                (_, _, None) => batch.delete(key),
            }
        }
        Ok(batch)
    }

    /// Looks for packs that were sent without an answer, by name, so that nothing is sent twice.
    async fn find_lost_packs(&self, intents: Vec<Intent>) -> Result<(), Error> {
        let mut by_shelf: HashMap<String, HashMap<String, Intent>> = HashMap::new();
        for intent in intents {
            if let Some((_, place)) = intent.frames.first() {
                let name = crate::codec::pack::pack_name(place.pack);
                by_shelf
                    .entry(intent.shelf.clone())
                    .or_default()
                    .insert(name, intent);
            }
        }
        for (shelf, mut wanted) in by_shelf {
            let (shelf, mut span) = (Shelf(shelf), Span::Newest);
            let mut found = Vec::new();
            for _ in 0..LOST_PAGES_MAX {
                let page = match self.store.list(&shelf, span).await {
                    Ok(page) => page,
                    Err(crate::store::Error::Missing { .. }) => break,
                    Err(error) => return Err(error.into()),
                };
                for entry in page.entries {
                    let Some(intent) = wanted.remove(&entry.name) else {
                        continue;
                    };
                    if entry.bytes == intent.bytes {
                        found.push((intent, entry.locator));
                    }
                }
                match page.next {
                    Some(next) if !wanted.is_empty() => span = Span::Before(next),
                    _ => break,
                }
            }
            self.keep_proven(found).await?;
        }
        Ok(())
    }

    /// What the store gives to the end is a fact; otherwise it is sent again. What it does not say now is left to
    /// the collection of garbage.
    async fn keep_proven(&self, found: Vec<(Intent, Locator)>) -> Result<(), Error> {
        let objects: Vec<(Locator, u64)> = found
            .iter()
            .map(|(intent, locator)| (locator.clone(), intent.bytes))
            .collect();
        match self.is_kept(&objects).await {
            Ok(true) => found
                .into_iter()
                .try_for_each(|(intent, locator)| self.keep_fact(&intent, locator.0)),
            Ok(false) => Ok(()),
            Err(error) => {
                log::warn!("packs that were sent without an answer are sent again: {error}");
                Ok(())
            }
        }
    }

    fn keep_fact(&self, intent: &Intent, locator: Vec<u8>) -> Result<(), Error> {
        let batch = intent.places(locator)?;
        self.take_down(&Entry::Fact(self.epoch_under_way(), batch.clone()))?;
        self.index.apply(batch);
        Ok(())
    }
}

fn unknown_record() -> Error {
    Error::Damaged(String::from(
        "the spool holds a record of an unknown form; it may come from a newer ods",
    ))
}

/// The packs that a fact tells the places of.
fn packs_of(fact: &Batch) -> impl Iterator<Item = PackId> {
    let keys = fact.iter().map(|(key, _)| key);
    let packs = keys.filter(|key| key.first() == Some(&b'P'));
    packs.filter_map(|key| Some(PackId(key[1..].try_into().ok()?)))
}

/// Pages of a shelf that are searched for packs whose acknowledgement was lost: they are among the newest.
const LOST_PAGES_MAX: usize = 20;

impl Intent {
    /// What becomes true when the store has the pack.
    pub(in crate::drive) fn places(&self, locator: Vec<u8>) -> Result<Batch, Error> {
        let mut batch = Batch::default();
        for (id, place) in &self.frames {
            batch.put(key::chunk(id), place.encode())?;
        }
        if let Some((_, place)) = self.frames.first() {
            let pack = PackPlace {
                archive: self.archive,
                bytes: self.bytes,
                locator,
            };
            batch.put(key::pack(&place.pack), pack.encode())?;
        }
        Ok(batch)
    }
}
