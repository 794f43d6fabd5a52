//! Shelves: is every needed pack on the store, with the right length? One request lists a hundred messages.

use std::collections::BTreeMap;
use std::collections::HashSet;

use crate::codec::pack::parse_pack_name;
use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::task::Task;
use crate::drive::verify::Findings;
use crate::drive::verify::Ill;
use crate::drive::verify::places::Needed;
use crate::id::ArchiveNo;
use crate::id::PackId;
use crate::index::chunk::PackPlace;
use crate::index::key;
use crate::store;
use crate::store::Locator;
use crate::store::Mark;
use crate::store::Page;
use crate::store::Shelf;
use crate::store::Span;
use crate::store::Urgency;

/// So few packs are asked for one by one: a shelf may be long.
const ASKED_MAX: usize = 4;

impl Drive {
    /// Looks whether the needed packs are listed.
    pub(in crate::drive) fn look_at_shelves(
        &self,
        needed: &Needed,
        task: &Task<'_>,
        findings: &mut Findings,
    ) -> Result<(), Error> {
        let all = needed.packs.len() as u64;
        task.begin("looking at shelves", all, 0)?;
        let mut by_archive: BTreeMap<ArchiveNo, HashSet<PackId>> = BTreeMap::new();
        for (pack, need) in &needed.packs {
            by_archive.entry(need.archive).or_default().insert(*pack);
        }
        for (archive, mut wanted) in by_archive {
            let shelf = self.holding(archive)?.shelf;
            if wanted.len() > ASKED_MAX && !shelf.is_empty() {
                self.list_shelf(&Shelf(shelf), &mut wanted, task)?;
            }
            // What was not listed may lie on a shelf that was given up, or have been moved.
            for pack in wanted {
                if let Some(ill) = self.examine(&pack, task)? {
                    findings.packs.insert(pack, ill);
                }
                task.done(1, 0)?;
            }
        }
        Ok(())
    }

    /// Takes what a shelf lists rightly out of what is wanted.
    fn list_shelf(
        &self,
        shelf: &Shelf,
        wanted: &mut HashSet<PackId>,
        task: &Task<'_>,
    ) -> Result<(), Error> {
        let mut span = Span::After(Mark(0));
        while !wanted.is_empty() {
            let listed = async {
                match self.store.list(shelf, span).await {
                    Err(store::Error::Missing { .. }) => Ok(Page::default()),
                    answer => Ok(answer?),
                }
            };
            let page = self.wait_with(task, listed)?;
            for entry in page.entries {
                let Some(pack) = parse_pack_name(&entry.name).filter(|pack| wanted.contains(pack))
                else {
                    continue;
                };
                let is_right = self.pack_place(&pack)?.is_some_and(|place| {
                    place.bytes == entry.bytes && place.locator == entry.locator.0
                });
                if is_right {
                    wanted.remove(&pack);
                    task.done(1, 0)?;
                }
            }
            match page.next {
                Some(next) => span = Span::After(next),
                None => break,
            }
        }
        Ok(())
    }

    pub(in crate::drive) fn pack_place(&self, pack: &PackId) -> Result<Option<PackPlace>, Error> {
        let value = self.index.get(&key::pack(pack))?;
        Ok(value.map(|value| PackPlace::decode(&value)).transpose()?)
    }

    /// Asks for one pack itself: what is wrong with it, if anything.
    fn examine(&self, pack: &PackId, task: &Task<'_>) -> Result<Option<Ill>, Error> {
        let Some(place) = self.pack_place(pack)? else {
            // Forgotten since: nothing needs it any more, or the place of what does is looked at again.
            return Ok(None);
        };
        let locator = Locator(place.locator);
        let last = place.bytes.saturating_sub(1)..place.bytes;
        let asked = async {
            match self.store.get(&locator, last, Urgency::Background).await {
                Ok(_) => Ok(None),
                Err(store::Error::Missing { .. }) => Ok(Some(Ill::Missing)),
                Err(store::Error::Broken { .. }) => Ok(Some(Ill::Length { found: 0 })),
                Err(error) => Err(error.into()),
            }
        };
        let ill = self.wait_with(task, asked)?;
        if ill == Some(Ill::Missing) {
            self.distrust_pack(*pack);
        }
        Ok(ill)
    }
}
