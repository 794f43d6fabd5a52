//! A store in memory, for tests: quick, exact, and forgotten at the end.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::{Bound, Range},
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;

mod harm;
mod place;

use self::place::{entries_of, locator, missing, read_locator, read_together};
use super::{
    Card, Entry, Error, Limits, Locator, Mark, Object, Page, Shelf, Span, Status, Store, Together,
    Urgency, check_put, check_range,
};
use crate::size::MIB;

/// Puts on one page of a listing; as many as Discord gives messages.
const PAGE_PUTS: usize = 100;
const JOURNAL: &str = "journal";

/// Keeps objects in memory. Behaves as a store of messages does: what was put together has one mark
/// and goes together.
#[derive(Debug)]
pub struct Memory {
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    shelves: BTreeMap<String, Kept>,
    mark_last: u64,
    pins: BTreeSet<u64>,
    calls: BTreeMap<&'static str, u64>,
    sent_bytes: u64,
    received_bytes: u64,
    /// Of what is kept shorter than it was sent: how long it is listed to be.
    claimed: BTreeMap<(u64, usize), u64>,
    /// Puts that are not listed yet.
    hidden: BTreeSet<u64>,
}

#[derive(Debug, Default)]
struct Kept {
    label: String,
    card: Card,
    puts: BTreeMap<u64, Vec<(String, Bytes)>>,
    /// The put that begins with this name, to recognise one that is repeated.
    begins: BTreeMap<String, u64>,
}

impl Default for Memory {
    fn default() -> Self {
        Self::new(Limits {
            object_bytes_max: 10 * MIB,
            objects_max: 10,
            put_bytes_max: 100 * MIB,
            put_bytes_proven: 100 * MIB,
        })
    }
}

impl Memory {
    /// An empty store that takes what `limits` says, for ever.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let mut state = State::default();
        state.shelves.insert(JOURNAL.into(), Kept::default());
        Self {
            limits,
            state: Mutex::new(state),
        }
    }

    /// The cards as people would see them, by shelf; the journal has none.
    #[must_use]
    pub fn cards(&self) -> Vec<(Shelf, Card)> {
        let state = self.state();
        let shelves = state.shelves.iter().filter(|(name, _)| *name != JOURNAL);
        shelves
            .map(|(name, kept)| (Shelf(name.clone()), kept.card.clone()))
            .collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call(&self, kind: &'static str) -> MutexGuard<'_, State> {
        let mut state = self.state();
        *state.calls.entry(kind).or_default() += 1;
        state
    }

    fn put_now(&self, shelf: &Shelf, objects: Vec<Object>) -> Result<Vec<Locator>, Error> {
        check_put(&objects, self.limits)?;
        let mut state = self.call("put");
        let State {
            shelves,
            mark_last,
            sent_bytes,
            ..
        } = &mut *state;
        let kept = shelves.get_mut(&shelf.0).ok_or_else(|| missing(shelf))?;
        let Some(first) = objects.first() else {
            return Ok(Vec::new());
        };
        let same = |mark: &&u64| {
            let stored = kept.puts.get(mark).into_iter().flatten();
            let names = objects.iter().map(|object| &object.name);
            stored.map(|(name, _)| name).eq(names)
        };
        let mark = match kept.begins.get(&first.name).filter(same) {
            Some(mark) => *mark,
            None => {
                *mark_last += 1;
                let bodies = objects.iter().map(|object| {
                    let mut body = BytesMut::new();
                    let parts = object.body.parts();
                    parts.iter().for_each(|part| body.extend_from_slice(part));
                    *sent_bytes += body.len() as u64;
                    (object.name.clone(), body.freeze())
                });
                kept.begins.insert(first.name.clone(), *mark_last);
                kept.puts.insert(*mark_last, bodies.collect());
                *mark_last
            }
        };
        let count = objects.len();
        Ok((0..count).map(|at| locator(mark, at, count)).collect())
    }

    fn get_now(&self, locator: &Locator, range: Range<u64>) -> Result<Bytes, Error> {
        let mut state = self.call("get");
        let body = read_locator(locator)
            .and_then(|(mark, at)| {
                let mut shelves = state.shelves.values();
                shelves.find_map(|kept| kept.puts.get(&mark)?.get(at))
            })
            .map(|(_, body)| body.clone())
            .ok_or_else(|| Error::Missing {
                what: "the object".into(),
            })?;
        if read_locator(locator).is_some_and(|at| state.claimed.contains_key(&at))
            && range.end > body.len() as u64
        {
            return Err(Error::Broken {
                what: "the object is shorter than it was listed".into(),
            });
        }
        check_range(&range, body.len() as u64)?;
        state.received_bytes += range.end - range.start;
        let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        Ok(body.slice(index(range.start)..index(range.end)))
    }

    fn list_now(&self, shelf: &Shelf, span: Span) -> Result<Page, Error> {
        let state = self.call("list");
        let kept = state.shelves.get(&shelf.0).ok_or_else(|| missing(shelf))?;
        let listed = |mark: &u64| !state.hidden.contains(mark);
        let older = |end: u64| kept.puts.range(..end).rev().map(|put| *put.0);
        let marks: Vec<u64> = match span {
            Span::Newest => older(u64::MAX).filter(listed).take(PAGE_PUTS).collect(),
            Span::Before(mark) => older(mark.0).filter(listed).take(PAGE_PUTS).collect(),
            Span::After(mark) => {
                let newer = (Bound::Excluded(mark.0), Bound::Unbounded);
                let puts = kept.puts.range(newer).map(|put| *put.0);
                puts.filter(listed).take(PAGE_PUTS).collect()
            }
        };
        let mut entries = Vec::new();
        for mark in &marks {
            let mut together = entries_of(*mark, &kept.puts[mark]);
            for (at, entry) in together.iter_mut().enumerate() {
                let claimed = state.claimed.get(&(*mark, at));
                entry.bytes = claimed.copied().unwrap_or(entry.bytes);
            }
            if !matches!(span, Span::After(_)) {
                together.reverse();
            }
            entries.append(&mut together);
        }
        let more = marks.last().filter(|_| marks.len() == PAGE_PUTS);
        Ok(Page {
            entries,
            next: more.map(|mark| Mark(*mark)),
        })
    }

    fn remove_now(&self, locators: &[Locator]) {
        let mut state = self.call("remove");
        let mut named: BTreeMap<u64, BTreeSet<usize>> = BTreeMap::new();
        for (mark, at) in locators.iter().filter_map(read_locator) {
            named.entry(mark).or_default().insert(at);
        }
        let State { shelves, pins, .. } = &mut *state;
        for (mark, indexes) in named {
            for kept in shelves.values_mut() {
                if kept
                    .puts
                    .get(&mark)
                    .is_some_and(|put| put.len() == indexes.len())
                {
                    kept.puts.remove(&mark);
                    pins.remove(&mark);
                }
            }
        }
    }

    fn shelf_now(&self, label: &str, card: &Card) -> Shelf {
        let mut state = self.call("shelf");
        let known = state.shelves.iter().find(|(_, kept)| kept.label == label);
        if let Some((name, _)) = known.filter(|(name, _)| *name != JOURNAL) {
            return Shelf(name.clone());
        }
        state.mark_last += 1;
        let name = format!("shelf-{}", state.mark_last);
        let kept = Kept {
            label: label.into(),
            card: card.clone(),
            ..Kept::default()
        };
        state.shelves.insert(name.clone(), kept);
        Shelf(name)
    }

    fn pin_now(&self, locator: &Locator) -> Result<(), Error> {
        let mut state = self.call("pin");
        let mark = read_locator(locator).map(|(mark, _)| mark);
        let journal = &state.shelves[JOURNAL].puts;
        let mark = mark.filter(|mark| journal.contains_key(mark));
        let mark = mark.ok_or_else(|| Error::Missing {
            what: "the object to pin".into(),
        })?;
        state.pins.insert(mark);
        Ok(())
    }

    fn pinned_now(&self) -> Vec<Entry> {
        let state = self.call("pinned");
        let puts = &state.shelves[JOURNAL].puts;
        let pins = state.pins.iter().rev();
        pins.filter_map(|mark| Some((*mark, puts.get(mark)?)))
            .flat_map(|(mark, put)| entries_of(mark, put).into_iter().rev())
            .collect()
    }
}

impl Store for Memory {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn put<'a>(
        &'a self,
        shelf: &'a Shelf,
        objects: Vec<Object>,
    ) -> BoxFuture<'a, Result<Vec<Locator>, Error>> {
        Box::pin(async move { self.put_now(shelf, objects) })
    }

    fn get<'a>(
        &'a self,
        locator: &'a Locator,
        range: Range<u64>,
        _: Urgency,
    ) -> BoxFuture<'a, Result<Bytes, Error>> {
        Box::pin(async move { self.get_now(locator, range) })
    }

    fn get_again<'a>(
        &'a self,
        locator: &'a Locator,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<Bytes, Error>> {
        Box::pin(async move { self.get_now(locator, range) })
    }

    fn list<'a>(&'a self, shelf: &'a Shelf, span: Span) -> BoxFuture<'a, Result<Page, Error>> {
        Box::pin(async move { self.list_now(shelf, span) })
    }

    fn remove<'a>(&'a self, locators: &'a [Locator]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            self.remove_now(locators);
            Ok(())
        })
    }

    fn together(&self, locator: &Locator) -> Result<Together, Error> {
        let what = "a locator that no store in memory has made".into();
        read_together(locator).ok_or(Error::Broken { what })
    }

    fn journal(&self) -> Shelf {
        Shelf(JOURNAL.into())
    }

    fn shelf<'a>(&'a self, label: &'a str, card: &'a Card) -> BoxFuture<'a, Result<Shelf, Error>> {
        Box::pin(async move { Ok(self.shelf_now(label, card)) })
    }

    fn describe<'a>(
        &'a self,
        shelf: &'a Shelf,
        card: &'a Card,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let mut state = self.call("describe");
            let kept = state.shelves.get_mut(&shelf.0);
            kept.ok_or_else(|| missing(shelf))?.card = card.clone();
            Ok(())
        })
    }

    fn remove_shelf<'a>(&'a self, shelf: &'a Shelf) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let mut state = self.call("remove_shelf");
            if shelf.0 == JOURNAL {
                let what = "the journal cannot be removed".into();
                return Err(Error::Broken { what });
            }
            state.shelves.remove(&shelf.0);
            Ok(())
        })
    }

    fn pin<'a>(&'a self, locator: &'a Locator) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move { self.pin_now(locator) })
    }

    fn unpin<'a>(&'a self, locator: &'a Locator) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let mut state = self.call("unpin");
            if let Some((mark, _)) = read_locator(locator) {
                state.pins.remove(&mark);
            }
            Ok(())
        })
    }

    fn pinned(&self) -> BoxFuture<'_, Result<Vec<Entry>, Error>> {
        Box::pin(async move { Ok(self.pinned_now()) })
    }

    fn status(&self) -> Status {
        let state = self.state();
        let by_kind = state.calls.iter();
        Status {
            requests_total: state.calls.values().sum(),
            requests_by_kind: by_kind.map(|(kind, n)| ((*kind).into(), *n)).collect(),
            sent_bytes: state.sent_bytes,
            received_bytes: state.received_bytes,
            budget: 1.0,
            waiting: None,
            last_error: None,
        }
    }
}
