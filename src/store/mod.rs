//! The seam to whatever keeps the drive's objects: objects lie on shelves, are put once and removed late.
//!
//! For Discord a shelf is a thread under an archive card, or the journal channel; for a folder it
//! would be a directory. Nothing above this seam knows messages, nothing below it knows files.

use std::{fmt, ops::Range, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::codec::Sealed;

pub mod counting;
pub mod discord;
pub mod faulty;
pub mod memory;
mod shared;
pub mod strangers;

/// Where an object lies; small and opaque. Made by a store, kept in the index.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Locator(pub Vec<u8>);

/// A place for objects that belong together; opaque text, made by a store, kept in the index.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Shelf(pub String);

/// Position in a shelf's order of arrival: later objects have greater marks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Mark(pub u64);

/// Something to put: a name (1 to [`NAME_CHARS_MAX`] of `[A-Za-z0-9.-]`, no dot at either end) and
/// sealed bytes.
#[derive(Clone, Debug)]
pub struct Object {
    /// Unique within the drive.
    pub name: String,
    /// What is kept.
    pub body: Sealed,
}

/// Longest name of an object; what people can still read in a list.
pub const NAME_CHARS_MAX: usize = 100;

/// An object as a store lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name, as given to `put`.
    pub name: String,
    /// Where it lies.
    pub locator: Locator,
    /// Its length.
    pub bytes: u64,
    /// Its place in the shelf's order; objects of one `put` share a mark.
    pub mark: Mark,
}

/// Objects that were put together: a store removes all of them or none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Together {
    /// Names the put within the drive, for ever; small and opaque.
    pub key: Vec<u8>,
    /// How many objects it has.
    pub objects: usize,
}

/// Which part of a shelf to list. Pages hold at most what one request of the store gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// The newest objects, newest first; the exact reverse of the order of arrival, also within a put.
    Newest,
    /// Objects older than the mark, newest first.
    Before(Mark),
    /// Objects newer than the mark, oldest first; `After(Mark(0))` begins at the shelf's start.
    After(Mark),
}

/// One page of a listing.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// In the order the [`Span`] asked for. Only objects this drive's own account has put.
    pub entries: Vec<Entry>,
    /// Where to go on (`Before` or `After` this mark), if there may be more.
    pub next: Option<Mark>,
}

/// What a store can take at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest object. May shrink while the store is in use.
    pub object_bytes_max: u64,
    /// Most objects in one `put`.
    pub objects_max: usize,
    /// Most bytes in one `put`, all objects together. Grows and shrinks as the store learns.
    pub put_bytes_max: u64,
    /// So many bytes in one `put` are known to be taken. Whoever puts more tries it, and does well to try it with
    /// one `put` alone.
    pub put_bytes_proven: u64,
}

/// How soon an answer is wanted: reads of a person's program go before everything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Somebody waits for this.
    Foreground,
    /// Read-ahead, verification, upload.
    Background,
}

/// What people see of a shelf.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Card {
    /// First line: the archive's id, and its name if names are shown.
    pub title: String,
    /// Label and value, in order.
    pub fields: Vec<(String, String)>,
    /// `0xRRGGBB`.
    pub colour: u32,
    /// Free text under the title; may be empty.
    pub text: String,
    /// Buttons, at most [`ACTIONS_MAX`]; only where somebody answers them.
    pub actions: Vec<Action>,
}

/// Most buttons on a card: one row of them.
pub const ACTIONS_MAX: usize = 5;

/// A button on a card.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Action {
    /// What whoever answers is told; at most 100 characters.
    pub id: String,
    /// What stands on it.
    pub label: String,
}

/// What a store knows of its own work; cheap to ask.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// Requests sent since the start, of every kind.
    pub requests_total: u64,
    /// Requests by kind, e.g. `("POST messages", 12)`.
    pub requests_by_kind: Vec<(String, u64)>,
    /// Bytes of bodies sent.
    pub sent_bytes: u64,
    /// Bytes of bodies received.
    pub received_bytes: u64,
    /// Share of the short-term rate budget that is left, 0.0..=1.0.
    pub budget: f64,
    /// Until when the store asked us to wait, if it did.
    pub waiting: Option<Duration>,
    /// The last failure, in words, without secrets; cleared by the next success.
    pub last_error: Option<String>,
}

/// A place of the store that people can look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Landmark {
    /// What it is for: `server`, `archives` or `journal`.
    pub role: &'static str,
    /// Its id, as the store calls it.
    pub id: String,
    /// The address that shows it.
    pub address: String,
}

/// Why a store could not do it. `Display` names the thing and never a secret or a signed address.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The object, shelf or channel is gone.
    #[error("{what} is gone")]
    Missing {
        /// What was looked for.
        what: String,
    },
    /// A place that the store cannot do without is gone, and only a person can make another.
    #[error("{what}")]
    Homeless {
        /// Which one, and what to do about it.
        what: String,
    },
    /// The account is not accepted: the token is wrong or was withdrawn (401).
    #[error("{what}")]
    NotAccepted {
        /// What to do about it.
        what: String,
    },
    /// The account lacks a permission (403).
    #[error("{what}")]
    Refused {
        /// What was refused, and what to do about it.
        what: String,
    },
    /// One object or the whole put is over the store's limit, which [`Store::limits`] now tells.
    #[error("the store takes at most {limit_bytes} bytes here")]
    TooLarge {
        /// The limit as now known.
        limit_bytes: u64,
    },
    /// Could not be reached, or asked to wait, for longer than the call's patience. Worth trying again.
    #[error("{what}")]
    Unavailable {
        /// What happened, and when it may be tried again.
        what: String,
        /// The wait the store asked for, if it did.
        retry_after: Option<Duration>,
    },
    /// The store answered with something that cannot be right: a defect, or somebody between.
    #[error("{what}")]
    Broken {
        /// What was wrong.
        what: String,
    },
}

impl Error {
    /// May the same call succeed later without anybody's help?
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Error::Unavailable { .. })
    }
}

/// Keeps objects. Every store passes the suite in `tests/store.rs`.
///
/// All calls may be made at the same time from many tasks. A future that is dropped may or may not
/// have taken effect.
pub trait Store: Send + Sync + fmt::Debug + 'static {
    /// What one call can take, as known now.
    fn limits(&self) -> Limits;

    /// Puts objects on a shelf, all or none visible afterwards, in order. At most
    /// [`Limits::objects_max`] objects. Idempotent while the caller repeats it with the same names:
    /// a lost answer neither loses nor doubles. The length of each stored object was checked.
    fn put<'a>(
        &'a self,
        shelf: &'a Shelf,
        objects: Vec<Object>,
    ) -> BoxFuture<'a, Result<Vec<Locator>, Error>>;

    /// Reads a range of an object; the range must lie inside the object, or it is [`Error::Broken`].
    /// The answer has exactly the range's length.
    fn get<'a>(
        &'a self,
        locator: &'a Locator,
        range: Range<u64>,
        urgency: Urgency,
    ) -> BoxFuture<'a, Result<Bytes, Error>>;

    /// Reads a range again by another way (a fresh address), after the first answer proved wrong.
    fn get_again<'a>(
        &'a self,
        locator: &'a Locator,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<Bytes, Error>>;

    /// Lists a page of a shelf.
    fn list<'a>(&'a self, shelf: &'a Shelf, span: Span) -> BoxFuture<'a, Result<Page, Error>>;

    /// Removes objects; those already gone count as removed. Objects that were put together are
    /// removed together, and only when all of them are named in this one call; otherwise they stay.
    fn remove<'a>(&'a self, locators: &'a [Locator]) -> BoxFuture<'a, Result<(), Error>>;

    /// What an object was put together with, as its locator alone tells.
    ///
    /// # Errors
    /// [`Error::Broken`] when the locator is not one of this store's.
    fn together(&self, locator: &Locator) -> Result<Together, Error>;

    /// The shelf of journal, checkpoints, lease and superblock; exists from the beginning.
    fn journal(&self) -> Shelf;

    /// Makes a new shelf, shown to people by `card`. Idempotent per `label` for a few minutes, so
    /// labels are unique within the drive.
    fn shelf<'a>(&'a self, label: &'a str, card: &'a Card) -> BoxFuture<'a, Result<Shelf, Error>>;

    /// Shows people what a shelf holds now. Never the source of truth: an error here costs nothing but
    /// the view, and [`Error::Missing`] means that somebody removed the card by hand.
    fn describe<'a>(&'a self, shelf: &'a Shelf, card: &'a Card)
    -> BoxFuture<'a, Result<(), Error>>;

    /// Makes a card again that somebody removed by hand. Gives the shelf as it is called from then on;
    /// what lies on it stays where it is. [`Error::Missing`] when the shelf is gone too.
    fn show_again<'a>(
        &'a self,
        shelf: &'a Shelf,
        card: &'a Card,
    ) -> BoxFuture<'a, Result<Shelf, Error>> {
        Box::pin(async move { self.describe(shelf, card).await.map(|()| shelf.clone()) })
    }

    /// Removes a shelf and everything on it.
    fn remove_shelf<'a>(&'a self, shelf: &'a Shelf) -> BoxFuture<'a, Result<(), Error>>;

    /// Marks an object on the journal shelf so that [`Store::pinned`] finds it among millions. What was
    /// put together with it is marked too.
    fn pin<'a>(&'a self, locator: &'a Locator) -> BoxFuture<'a, Result<(), Error>>;

    /// Undoes [`Store::pin`].
    fn unpin<'a>(&'a self, locator: &'a Locator) -> BoxFuture<'a, Result<(), Error>>;

    /// The pinned objects of the journal shelf, newest first.
    fn pinned(&self) -> BoxFuture<'_, Result<Vec<Entry>, Error>>;

    /// What the store knows of its own work.
    fn status(&self) -> Status;

    /// The places it keeps everything in, shelves aside; none where people cannot look at them.
    fn places(&self) -> Vec<Landmark> {
        Vec::new()
    }

    /// Where people can look at a shelf, if they can.
    fn address(&self, _shelf: &Shelf) -> Option<String> {
        None
    }

    /// Where people can look at an object, if they can.
    fn address_of(&self, _locator: &Locator) -> Option<String> {
        None
    }

    /// Reads what other programs left where this store is; none where there can be nothing.
    fn strangers(&self) -> Option<&dyn strangers::Strangers> {
        None
    }
}

/// What [`Store::put`] refuses before anything is sent.
fn check_put(objects: &[Object], limits: Limits) -> Result<(), Error> {
    let broken = |what: String| Err(Error::Broken { what });
    if objects.len() > limits.objects_max {
        return broken(format!(
            "{} objects in one put, at most {} are possible",
            objects.len(),
            limits.objects_max
        ));
    }
    for (at, Object { name, .. }) in objects.iter().enumerate() {
        if !is_name(name) {
            return broken(format!(
                "`{}` cannot be an object's name",
                name.escape_debug()
            ));
        }
        if objects[..at].iter().any(|other| other.name == *name) {
            return broken(format!("`{name}` twice in one put"));
        }
    }
    let largest = objects.iter().map(|object| object.body.len()).max();
    if largest.is_some_and(|bytes| bytes > limits.object_bytes_max) {
        return Err(Error::TooLarge {
            limit_bytes: limits.object_bytes_max,
        });
    }
    if objects.iter().map(|object| object.body.len()).sum::<u64>() > limits.put_bytes_max {
        return Err(Error::TooLarge {
            limit_bytes: limits.put_bytes_max,
        });
    }
    Ok(())
}

/// Does this name survive every store unchanged?
fn is_name(name: &str) -> bool {
    (1..=NAME_CHARS_MAX).contains(&name.len())
        && !name.starts_with('.')
        && !name.ends_with('.')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-')
}

/// What [`Store::get`] refuses before anything is asked.
fn check_range(range: &Range<u64>, object_bytes: u64) -> Result<(), Error> {
    if range.start <= range.end && range.end <= object_bytes {
        return Ok(());
    }
    Err(Error::Broken {
        what: format!(
            "bytes {}..{} of an object of {object_bytes}",
            range.start, range.end
        ),
    })
}
