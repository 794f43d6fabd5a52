//! A store that is shared is a store.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::{
    Card, Entry, Error, Landmark, Limits, Locator, Object, Page, Shelf, Span, Status, Store,
    Together, Urgency, strangers::Strangers,
};

impl<S: Store + ?Sized> Store for Arc<S> {
    fn limits(&self) -> Limits {
        (**self).limits()
    }
    fn put<'a>(
        &'a self,
        shelf: &'a Shelf,
        objects: Vec<Object>,
    ) -> BoxFuture<'a, Result<Vec<Locator>, Error>> {
        (**self).put(shelf, objects)
    }
    fn get<'a>(
        &'a self,
        locator: &'a Locator,
        range: Range<u64>,
        urgency: Urgency,
    ) -> BoxFuture<'a, Result<Bytes, Error>> {
        (**self).get(locator, range, urgency)
    }
    fn get_again<'a>(
        &'a self,
        locator: &'a Locator,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<Bytes, Error>> {
        (**self).get_again(locator, range)
    }
    fn list<'a>(&'a self, shelf: &'a Shelf, span: Span) -> BoxFuture<'a, Result<Page, Error>> {
        (**self).list(shelf, span)
    }
    fn remove<'a>(&'a self, locators: &'a [Locator]) -> BoxFuture<'a, Result<(), Error>> {
        (**self).remove(locators)
    }
    fn together(&self, locator: &Locator) -> Result<Together, Error> {
        (**self).together(locator)
    }
    fn journal(&self) -> Shelf {
        (**self).journal()
    }
    fn shelf<'a>(&'a self, label: &'a str, card: &'a Card) -> BoxFuture<'a, Result<Shelf, Error>> {
        (**self).shelf(label, card)
    }
    fn describe<'a>(
        &'a self,
        shelf: &'a Shelf,
        card: &'a Card,
    ) -> BoxFuture<'a, Result<(), Error>> {
        (**self).describe(shelf, card)
    }
    fn show_again<'a>(
        &'a self,
        shelf: &'a Shelf,
        card: &'a Card,
    ) -> BoxFuture<'a, Result<Shelf, Error>> {
        (**self).show_again(shelf, card)
    }
    fn remove_shelf<'a>(&'a self, shelf: &'a Shelf) -> BoxFuture<'a, Result<(), Error>> {
        (**self).remove_shelf(shelf)
    }
    fn pin<'a>(&'a self, locator: &'a Locator) -> BoxFuture<'a, Result<(), Error>> {
        (**self).pin(locator)
    }
    fn unpin<'a>(&'a self, locator: &'a Locator) -> BoxFuture<'a, Result<(), Error>> {
        (**self).unpin(locator)
    }
    fn pinned(&self) -> BoxFuture<'_, Result<Vec<Entry>, Error>> {
        (**self).pinned()
    }
    fn status(&self) -> Status {
        (**self).status()
    }
    fn places(&self) -> Vec<Landmark> {
        (**self).places()
    }
    fn address(&self, shelf: &Shelf) -> Option<String> {
        (**self).address(shelf)
    }
    fn address_of(&self, locator: &Locator) -> Option<String> {
        (**self).address_of(locator)
    }
    fn strangers(&self) -> Option<&dyn Strangers> {
        (**self).strangers()
    }
}
