//! What other programs left where the store is: read only, and only by whoever brings it into the drive.

use futures_util::future::BoxFuture;

use crate::store::Entry;
use crate::store::Error;
use crate::store::Mark;
use crate::store::Span;

/// Something that anybody left: a text, objects, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Its place in the order of arrival.
    pub mark: Mark,
    /// Its text.
    pub text: String,
    /// The title of what it shows, or empty.
    pub title: String,
    /// The program that left it; none for a person.
    pub program: Option<u64>,
    /// Its objects, which [`crate::store::Store::get`] reads.
    pub entries: Vec<Entry>,
    /// Is there more to it, which the store does not show us?
    pub is_hidden: bool,
    /// When it was left, milliseconds since 1970.
    pub made_ms: u64,
}

/// One page of notes.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    /// In the order the [`Span`] asked for.
    pub notes: Vec<Note>,
    /// Where to go on, if there may be more.
    pub next: Option<Mark>,
}

/// A place with notes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
}

/// Reads what others left.
pub trait Strangers: Send + Sync {
    /// The places where others leave notes, without those that hang on a note: such a place has the
    /// note's mark as its id.
    ///
    /// # Errors
    /// As [`crate::store::Store::list`].
    fn rooms(&self) -> BoxFuture<'_, Result<Vec<Room>, Error>>;

    /// A page of the notes of a place.
    ///
    /// # Errors
    /// As [`crate::store::Store::list`].
    fn notes(&self, room: u64, span: Span) -> BoxFuture<'_, Result<Notes, Error>>;
}
