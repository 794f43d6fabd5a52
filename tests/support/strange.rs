//! A store in memory beside which other programs left messages, as they do on Discord.
#![allow(dead_code, reason = "each test file uses some of it")]

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::Mutex;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use ods::store::Card;
use ods::store::Entry;
use ods::store::Error;
use ods::store::Limits;
use ods::store::Locator;
use ods::store::Mark;
use ods::store::Object;
use ods::store::Page;
use ods::store::Shelf;
use ods::store::Span;
use ods::store::Status;
use ods::store::Store;
use ods::store::Together;
use ods::store::Urgency;
use ods::store::memory::Memory;
use ods::store::strangers::Note;
use ods::store::strangers::Notes;
use ods::store::strangers::Room;
use ods::store::strangers::Strangers;

type Hook = Box<dyn Fn(usize) + Send + Sync>;

/// Locators of what others left begin with this.
const STRANGE: &[u8] = b"strange";

pub(crate) struct Strange {
    inner: Arc<Memory>,
    said: Mutex<Said>,
    /// Called before each read of what others left, with how many there were.
    pub(crate) on_read: Mutex<Option<Hook>>,
}

#[derive(Default)]
struct Said {
    rooms: Vec<u64>,
    notes: HashMap<u64, Vec<Note>>,
    faults: HashMap<u64, Error>,
    bodies: Vec<Bytes>,
    reads: usize,
    marks: u64,
}

impl std::fmt::Debug for Strange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Strange")
    }
}

impl Strange {
    pub(crate) fn new(inner: Arc<Memory>) -> Arc<Strange> {
        Arc::new(Strange {
            inner,
            said: Mutex::default(),
            on_read: Mutex::default(),
        })
    }

    /// One more channel.
    pub(crate) fn room(&self, id: u64) {
        self.said.lock().expect("no panic").rooms.push(id);
    }

    /// What listing a room gives instead of its messages.
    pub(crate) fn fail(&self, room: u64, error: Error) {
        let mut said = self.said.lock().expect("no panic");
        said.faults.insert(room, error);
    }

    /// Leaves a message; gives its id.
    pub(crate) fn say(
        &self,
        room: u64,
        program: Option<u64>,
        text: &str,
        files: &[(&str, &[u8])],
    ) -> u64 {
        let mut said = self.said.lock().expect("no panic");
        said.marks += 10;
        let mark = Mark(said.marks);
        let mut entries = Vec::new();
        for (name, bytes) in files {
            let at = u64::try_from(said.bodies.len()).expect("fits");
            entries.push(Entry {
                name: (*name).to_owned(),
                locator: Locator([STRANGE, &at.to_be_bytes()].concat()),
                bytes: bytes.len() as u64,
                mark,
            });
            said.bodies.push(Bytes::copy_from_slice(bytes));
        }
        let note = Note {
            mark,
            text: text.to_owned(),
            title: String::new(),
            program,
            entries,
            is_hidden: false,
            made_ms: 1_700_000_000_000,
        };
        said.notes.entry(room).or_default().push(note);
        mark.0
    }

    /// What others left there; none when it is our own.
    fn body(&self, locator: &Locator) -> Option<Bytes> {
        let at = locator.0.strip_prefix(STRANGE)?;
        let at = u64::from_be_bytes(at.try_into().expect("a number"));
        let mut said = self.said.lock().expect("no panic");
        said.reads += 1;
        let reads = said.reads;
        let body = said.bodies[usize::try_from(at).expect("fits")].clone();
        drop(said);
        if let Some(hook) = &*self.on_read.lock().expect("no panic") {
            hook(reads);
        }
        Some(body)
    }
}

impl Strangers for Strange {
    fn rooms(&self) -> BoxFuture<'_, Result<Vec<Room>, Error>> {
        let rooms = self.said.lock().expect("no panic").rooms.clone();
        let room = |id: u64| Room {
            id,
            name: id.to_string(),
        };
        Box::pin(async move { Ok(rooms.into_iter().map(room).collect()) })
    }

    fn notes(&self, room: u64, span: Span) -> BoxFuture<'_, Result<Notes, Error>> {
        let said = self.said.lock().expect("no panic");
        let result = match (said.faults.get(&room), said.notes.get(&room)) {
            (Some(error), _) => Err(error.clone()),
            (None, Some(notes)) => {
                let mut notes = notes.clone();
                match span {
                    Span::After(mark) => notes.retain(|note| note.mark > mark),
                    _ => notes.reverse(),
                }
                Ok(Notes { notes, next: None })
            }
            (None, None) if said.rooms.contains(&room) => Ok(Notes::default()),
            (None, None) => Err(Error::Missing {
                what: format!("channel {room}"),
            }),
        };
        Box::pin(async move { result })
    }
}

impl Store for Strange {
    fn limits(&self) -> Limits {
        self.inner.limits()
    }
    fn put<'a>(
        &'a self,
        shelf: &'a Shelf,
        objects: Vec<Object>,
    ) -> BoxFuture<'a, Result<Vec<Locator>, Error>> {
        self.inner.put(shelf, objects)
    }
    fn get<'a>(
        &'a self,
        locator: &'a Locator,
        range: Range<u64>,
        urgency: Urgency,
    ) -> BoxFuture<'a, Result<Bytes, Error>> {
        if !locator.0.starts_with(STRANGE) {
            return self.inner.get(locator, range, urgency);
        }
        // The hook may use the drive, which is not for where async code runs.
        Box::pin(async move {
            let body = tokio::task::block_in_place(|| self.body(locator));
            Ok(body.expect("what others left"))
        })
    }
    fn get_again<'a>(
        &'a self,
        locator: &'a Locator,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<Bytes, Error>> {
        self.inner.get_again(locator, range)
    }
    fn list<'a>(&'a self, shelf: &'a Shelf, span: Span) -> BoxFuture<'a, Result<Page, Error>> {
        self.inner.list(shelf, span)
    }
    fn remove<'a>(&'a self, locators: &'a [Locator]) -> BoxFuture<'a, Result<(), Error>> {
        self.inner.remove(locators)
    }
    fn together(&self, locator: &Locator) -> Result<Together, Error> {
        self.inner.together(locator)
    }
    fn journal(&self) -> Shelf {
        self.inner.journal()
    }
    fn shelf<'a>(&'a self, label: &'a str, card: &'a Card) -> BoxFuture<'a, Result<Shelf, Error>> {
        self.inner.shelf(label, card)
    }
    fn describe<'a>(
        &'a self,
        shelf: &'a Shelf,
        card: &'a Card,
    ) -> BoxFuture<'a, Result<(), Error>> {
        self.inner.describe(shelf, card)
    }
    fn remove_shelf<'a>(&'a self, shelf: &'a Shelf) -> BoxFuture<'a, Result<(), Error>> {
        self.inner.remove_shelf(shelf)
    }
    fn pin<'a>(&'a self, locator: &'a Locator) -> BoxFuture<'a, Result<(), Error>> {
        self.inner.pin(locator)
    }
    fn unpin<'a>(&'a self, locator: &'a Locator) -> BoxFuture<'a, Result<(), Error>> {
        self.inner.unpin(locator)
    }
    fn pinned(&self) -> BoxFuture<'_, Result<Vec<Entry>, Error>> {
        self.inner.pinned()
    }
    fn status(&self) -> Status {
        self.inner.status()
    }
    fn strangers(&self) -> Option<&dyn Strangers> {
        Some(self)
    }
}
