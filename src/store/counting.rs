//! A store that counts what is asked of another, so that tests can say what something costs.

use std::{
    ops::Range,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::{
    Card, Entry, Error, Landmark, Limits, Locator, Object, Page, Shelf, Span, Status, Store,
    Together, Urgency,
};

/// What was asked since the start or the last [`Counting::take`]. Calls count when they begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls of `put`.
    pub puts: u64,
    /// Objects in them.
    pub put_objects: u64,
    /// Bytes in them.
    pub put_bytes: u64,
    /// Calls of `get`.
    pub gets: u64,
    /// Bytes asked for by `get` and `get_again`.
    pub get_bytes: u64,
    /// Calls of `get` with somebody waiting.
    pub gets_foreground: u64,
    /// Calls of `get_again`.
    pub gets_again: u64,
    /// Calls of `list`.
    pub lists: u64,
    /// Calls of `remove`.
    pub removes: u64,
    /// Objects named in them.
    pub remove_objects: u64,
    /// Calls of `shelf`.
    pub shelves: u64,
    /// Calls of `describe` and `show_again`.
    pub describes: u64,
    /// Calls of `remove_shelf`.
    pub removes_shelf: u64,
    /// Calls of `pin`, `unpin` and `pinned`.
    pub pins: u64,
}

/// Counts the calls of the store inside, and passes them on.
#[derive(Debug, Default)]
pub struct Counting<S> {
    inner: S,
    counts: Mutex<Counts>,
}

impl<S> Counting<S> {
    /// Begins to count.
    pub fn new(inner: S) -> Self {
        let counts = Mutex::default();
        Self { inner, counts }
    }

    /// The store inside.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// What was counted so far.
    pub fn counts(&self) -> Counts {
        *self.tally()
    }

    /// What was counted so far, and begins again at nothing.
    pub fn take(&self) -> Counts {
        std::mem::take(&mut *self.tally())
    }

    fn tally(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Store> Store for Counting<S> {
    fn limits(&self) -> Limits {
        self.inner.limits()
    }

    fn put<'a>(
        &'a self,
        shelf: &'a Shelf,
        objects: Vec<Object>,
    ) -> BoxFuture<'a, Result<Vec<Locator>, Error>> {
        let mut counts = self.tally();
        counts.puts += 1;
        counts.put_objects += objects.len() as u64;
        counts.put_bytes += objects.iter().map(|object| object.body.len()).sum::<u64>();
        self.inner.put(shelf, objects)
    }

    fn get<'a>(
        &'a self,
        locator: &'a Locator,
        range: Range<u64>,
        urgency: Urgency,
    ) -> BoxFuture<'a, Result<Bytes, Error>> {
        let mut counts = self.tally();
        counts.gets += 1;
        counts.gets_foreground += u64::from(urgency == Urgency::Foreground);
        counts.get_bytes = counts
            .get_bytes
            .saturating_add(range.end.saturating_sub(range.start));
        self.inner.get(locator, range, urgency)
    }

    fn get_again<'a>(
        &'a self,
        locator: &'a Locator,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<Bytes, Error>> {
        let mut counts = self.tally();
        counts.gets_again += 1;
        counts.get_bytes = counts
            .get_bytes
            .saturating_add(range.end.saturating_sub(range.start));
        self.inner.get_again(locator, range)
    }

    fn list<'a>(&'a self, shelf: &'a Shelf, span: Span) -> BoxFuture<'a, Result<Page, Error>> {
        self.tally().lists += 1;
        self.inner.list(shelf, span)
    }

    fn remove<'a>(&'a self, locators: &'a [Locator]) -> BoxFuture<'a, Result<(), Error>> {
        let mut counts = self.tally();
        counts.removes += 1;
        counts.remove_objects += locators.len() as u64;
        self.inner.remove(locators)
    }

    fn together(&self, locator: &Locator) -> Result<Together, Error> {
        self.inner.together(locator)
    }

    fn journal(&self) -> Shelf {
        self.inner.journal()
    }

    fn shelf<'a>(&'a self, label: &'a str, card: &'a Card) -> BoxFuture<'a, Result<Shelf, Error>> {
        self.tally().shelves += 1;
        self.inner.shelf(label, card)
    }

    fn describe<'a>(
        &'a self,
        shelf: &'a Shelf,
        card: &'a Card,
    ) -> BoxFuture<'a, Result<(), Error>> {
        self.tally().describes += 1;
        self.inner.describe(shelf, card)
    }

    fn show_again<'a>(
        &'a self,
        shelf: &'a Shelf,
        card: &'a Card,
    ) -> BoxFuture<'a, Result<Shelf, Error>> {
        self.tally().describes += 1;
        self.inner.show_again(shelf, card)
    }

    fn remove_shelf<'a>(&'a self, shelf: &'a Shelf) -> BoxFuture<'a, Result<(), Error>> {
        self.tally().removes_shelf += 1;
        self.inner.remove_shelf(shelf)
    }

    fn pin<'a>(&'a self, locator: &'a Locator) -> BoxFuture<'a, Result<(), Error>> {
        self.tally().pins += 1;
        self.inner.pin(locator)
    }

    fn unpin<'a>(&'a self, locator: &'a Locator) -> BoxFuture<'a, Result<(), Error>> {
        self.tally().pins += 1;
        self.inner.unpin(locator)
    }

    fn pinned(&self) -> BoxFuture<'_, Result<Vec<Entry>, Error>> {
        self.tally().pins += 1;
        self.inner.pinned()
    }

    fn status(&self) -> Status {
        self.inner.status()
    }

    fn places(&self) -> Vec<Landmark> {
        self.inner.places()
    }

    fn address(&self, shelf: &Shelf) -> Option<String> {
        self.inner.address(shelf)
    }

    fn address_of(&self, locator: &Locator) -> Option<String> {
        self.inner.address_of(locator)
    }
}
