//! A store that fails on command, so that tests can say what survives it.

use std::{
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;

use super::{
    Card, Entry, Error, Landmark, Limits, Locator, Object, Page, Shelf, Span, Status, Store,
    Together, Urgency,
};

/// Which call a rule is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Every one of them.
    Any,
    /// `put`.
    Put,
    /// `get`.
    Get,
    /// `get_again`.
    GetAgain,
    /// `list`.
    List,
    /// `remove`.
    Remove,
    /// `shelf`.
    Shelf,
    /// `describe` and `show_again`.
    Describe,
    /// `remove_shelf`.
    RemoveShelf,
    /// `pin` and `unpin`.
    Pin,
    /// `pinned`.
    Pinned,
}

/// What happens to a call.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Nothing is done; [`Error::Unavailable`].
    Unavailable,
    /// It is done, but the caller hears [`Error::Unavailable`].
    LostAnswer,
    /// Nothing is done; [`Error::Refused`].
    Refused,
    /// Nothing is done; [`Error::Missing`].
    Missing,
    /// Nothing is done; [`Error::TooLarge`] with this limit in bytes.
    TooLarge(u64),
    /// For reads: the first bit of the answer is wrong. Other calls are untouched.
    FlippedBit,
    /// Goes on once the semaphore gives a permit, which is then used up.
    Held(Arc<Semaphore>),
    /// It is done, and the caller hears of it once the semaphore gives a permit, which is then used up.
    HeldAnswer(Arc<Semaphore>),
}

/// Lets `skip` calls of `verb` pass, then strikes `times` of them.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Which calls.
    pub verb: Verb,
    /// How many of them pass first.
    pub skip: u64,
    /// How many are struck then; `u64::MAX` for all.
    pub times: u64,
    /// What happens to them.
    pub fault: Fault,
}

impl Rule {
    /// Strikes the next call of `verb`, once.
    #[must_use]
    pub fn next(verb: Verb, fault: Fault) -> Self {
        Self {
            verb,
            skip: 0,
            times: 1,
            fault,
        }
    }

    /// Strikes every call of `verb` until [`Faulty::clear`].
    #[must_use]
    pub fn always(verb: Verb, fault: Fault) -> Self {
        Self {
            times: u64::MAX,
            ..Self::next(verb, fault)
        }
    }
}

/// Passes calls on to the store inside, except where a rule strikes. Of several rules for a call
/// the one added first that is not used up decides, also that it passes.
#[derive(Debug, Default)]
pub struct Faulty<S> {
    inner: S,
    state: Mutex<(Vec<Rule>, u64)>,
}

impl<S> Faulty<S> {
    /// Without rules: everything passes.
    pub fn new(inner: S) -> Self {
        let state = Mutex::default();
        Self { inner, state }
    }

    /// The store inside.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Adds a rule behind those there are.
    pub fn add(&self, rule: Rule) {
        self.state().0.push(rule);
    }

    /// Forgets all rules. Calls that are held stay so until their semaphore lets them go.
    pub fn clear(&self) {
        self.state().0.clear();
    }

    /// How many calls were struck since the start.
    pub fn struck(&self) -> u64 {
        self.state().1
    }

    fn state(&self) -> MutexGuard<'_, (Vec<Rule>, u64)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn strike(&self, verb: Verb) -> Option<Fault> {
        let (rules, struck) = &mut *self.state();
        let meant = |rule: &&mut Rule| rule.verb == verb || rule.verb == Verb::Any;
        for rule in rules.iter_mut().filter(meant) {
            if rule.skip > 0 {
                rule.skip -= 1;
                return None;
            } else if rule.times > 0 {
                rule.times -= u64::from(rule.times != u64::MAX);
                *struck += 1;
                return Some(rule.fault.clone());
            }
        }
        None
    }

    async fn call<T>(
        &self,
        verb: Verb,
        inner: BoxFuture<'_, Result<T, Error>>,
        flip: impl FnOnce(T) -> T,
    ) -> Result<T, Error> {
        match self.strike(verb) {
            None => inner.await,
            Some(Fault::Unavailable) => Err(unavailable("the store was told to be away")),
            Some(Fault::LostAnswer) => {
                inner.await?;
                Err(unavailable("the answer was lost"))
            }
            Some(Fault::Refused) => Err(Error::Refused {
                what: "the store was told to refuse".into(),
            }),
            Some(Fault::Missing) => Err(Error::Missing {
                what: "what was asked for".into(),
            }),
            Some(Fault::TooLarge(limit_bytes)) => Err(Error::TooLarge { limit_bytes }),
            Some(Fault::FlippedBit) => inner.await.map(flip),
            Some(Fault::Held(gate)) => {
                pass(&gate).await;
                inner.await
            }
            Some(Fault::HeldAnswer(gate)) => {
                let answer = inner.await;
                pass(&gate).await;
                answer
            }
        }
    }
}

async fn pass(gate: &Semaphore) {
    if let Ok(permit) = gate.acquire().await {
        permit.forget();
    }
}

fn unavailable(what: &str) -> Error {
    Error::Unavailable {
        what: what.into(),
        retry_after: Some(Duration::ZERO),
    }
}

fn same<T>(answer: T) -> T {
    answer
}

fn flipped(answer: Bytes) -> Bytes {
    let mut bytes = BytesMut::from(&answer[..]);
    if let Some(first) = bytes.first_mut() {
        *first ^= 1;
    }
    bytes.freeze()
}

impl<S: Store> Store for Faulty<S> {
    fn limits(&self) -> Limits {
        self.inner.limits()
    }

    fn put<'a>(
        &'a self,
        shelf: &'a Shelf,
        objects: Vec<Object>,
    ) -> BoxFuture<'a, Result<Vec<Locator>, Error>> {
        Box::pin(self.call(Verb::Put, self.inner.put(shelf, objects), same))
    }

    fn get<'a>(
        &'a self,
        locator: &'a Locator,
        range: Range<u64>,
        urgency: Urgency,
    ) -> BoxFuture<'a, Result<Bytes, Error>> {
        Box::pin(self.call(Verb::Get, self.inner.get(locator, range, urgency), flipped))
    }

    fn get_again<'a>(
        &'a self,
        locator: &'a Locator,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<Bytes, Error>> {
        let inner = self.inner.get_again(locator, range);
        Box::pin(self.call(Verb::GetAgain, inner, flipped))
    }

    fn list<'a>(&'a self, shelf: &'a Shelf, span: Span) -> BoxFuture<'a, Result<Page, Error>> {
        Box::pin(self.call(Verb::List, self.inner.list(shelf, span), same))
    }

    fn remove<'a>(&'a self, locators: &'a [Locator]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.call(Verb::Remove, self.inner.remove(locators), same))
    }

    fn together(&self, locator: &Locator) -> Result<Together, Error> {
        self.inner.together(locator)
    }

    fn journal(&self) -> Shelf {
        self.inner.journal()
    }

    fn shelf<'a>(&'a self, label: &'a str, card: &'a Card) -> BoxFuture<'a, Result<Shelf, Error>> {
        Box::pin(self.call(Verb::Shelf, self.inner.shelf(label, card), same))
    }

    fn describe<'a>(
        &'a self,
        shelf: &'a Shelf,
        card: &'a Card,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.call(Verb::Describe, self.inner.describe(shelf, card), same))
    }

    fn show_again<'a>(
        &'a self,
        shelf: &'a Shelf,
        card: &'a Card,
    ) -> BoxFuture<'a, Result<Shelf, Error>> {
        Box::pin(self.call(Verb::Describe, self.inner.show_again(shelf, card), same))
    }

    fn remove_shelf<'a>(&'a self, shelf: &'a Shelf) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.call(Verb::RemoveShelf, self.inner.remove_shelf(shelf), same))
    }

    fn pin<'a>(&'a self, locator: &'a Locator) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.call(Verb::Pin, self.inner.pin(locator), same))
    }

    fn unpin<'a>(&'a self, locator: &'a Locator) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.call(Verb::Pin, self.inner.unpin(locator), same))
    }

    fn pinned(&self) -> BoxFuture<'_, Result<Vec<Entry>, Error>> {
        Box::pin(self.call(Verb::Pinned, self.inner.pinned(), same))
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
