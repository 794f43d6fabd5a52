//! The seam to an ordered store of small keys and values, and redb behind it.
//!
//! redb writes through [`Pages`], which notice damage. An error from there ends redb's use of its database for
//! good, whatever it was, so it is opened again, as it was last synced: a full disk may have room later, and a
//! damaged page is no reason not to read the others.

use std::{
    fs::File,
    io,
    ops::Bound,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard},
};

use redb::{Builder, Database, Durability, ReadOnlyTable, ReadableDatabase, TableDefinition};

use super::{
    Error, Key, Value,
    pages::{Harm, Pages},
    power::Power,
};

/// An ordered store of keys and values.
pub(super) trait Kv: Send + Sync {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Value>, Error>;
    /// The first entries of a range, ascending, `most` at most.
    fn page(&self, range: Range<'_>, most: usize) -> Result<Vec<(Key, Value)>, Error>;
    /// The greatest entry of a range.
    fn last(&self, range: Range<'_>) -> Result<Option<(Key, Value)>, Error>;
    /// Makes changes, all or none of them, however many there are.
    fn write(&self, changes: &mut Changes<'_>, lasting: Lasting) -> Result<(), Error>;
    /// Reads everything from the disk and compares it with its checksums.
    fn verify(&self) -> Result<(), Error>;
    /// Why the content cannot be trusted any more, if that was noticed.
    fn damage(&self) -> Option<String>;
}

/// Changes of keys, in order; no value means that the key goes away.
pub(super) type Changes<'a> = dyn Iterator<Item = (Key, Option<Value>)> + 'a;

/// When a change must be durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lasting {
    /// When it returns, and with it everything before it.
    Now,
    /// With the next one that is.
    Later,
}

/// A range of keys.
pub(super) type Range<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// The one table.
const TABLE: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("index");

/// The file whose being there says that the index has to be rebuilt.
const MARK: &str = "damaged";

/// How often something is tried that another's error got in the way of.
const TRIES: u32 = 4;

/// A database of redb.
pub(super) struct Redb {
    dir: PathBuf,
    cache_bytes: usize,
    pages: Pages,
    /// Held by the one who writes. Lock order: this, then `open`.
    writer: Mutex<()>,
    open: RwLock<Option<Opened>>,
    unsynced: Mutex<Unsynced>,
    damage: Mutex<Option<String>>,
}

/// Whether there is something that was written and need not last yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unsynced {
    Nothing,
    Something,
    /// There was, and an error took it.
    Lost,
}

type Table = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// The open database, and its table as of the last change.
struct Opened {
    table: RwLock<Table>,
    db: Database,
}

impl Opened {
    fn new(pages: &Pages, cache_bytes: usize) -> Result<Opened, redb::Error> {
        let mut builder = Builder::new();
        let db = builder
            .set_cache_size(cache_bytes)
            .create_with_backend(pages.clone())?;
        let has_table = match db.begin_read()?.open_table(TABLE) {
            Ok(_) => true,
            Err(redb::TableError::TableDoesNotExist(_)) => false,
            Err(fault) => return Err(fault.into()),
        };
        if !has_table {
            write(&db, &mut std::iter::empty(), Lasting::Now)?;
        }
        let table = RwLock::new(db.begin_read()?.open_table(TABLE)?);
        Ok(Opened { table, db })
    }

    fn table(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, changes: &mut Changes<'_>, lasting: Lasting) -> Result<(), redb::Error> {
        write(&self.db, changes, lasting)?;
        let table = self.db.begin_read()?.open_table(TABLE)?;
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = table;
        Ok(())
    }
}

fn write(db: &Database, changes: &mut Changes<'_>, lasting: Lasting) -> Result<(), redb::Error> {
    let mut transaction = db.begin_write()?;
    match lasting {
        // A database that was not closed is opened without reading all of it.
        Lasting::Now => transaction.set_quick_repair(true),
        Lasting::Later => transaction.set_durability(Durability::None)?,
    }
    let mut table = transaction.open_table(TABLE)?;
    for (key, value) in changes {
        match value {
            Some(value) => drop(table.insert(&key[..], &value[..])?),
            None => drop(table.remove(&key[..])?),
        }
    }
    drop(table);
    Ok(transaction.commit()?)
}

impl Redb {
    /// Opens the database in `dir`.
    pub(super) fn open(dir: &Path, cache_bytes: u64, power: Power) -> Result<Redb, Error> {
        if dir.join(MARK).exists() {
            return Err(Error::Damaged("that was noticed when it was used".into()));
        }
        if dir.join("base").exists() {
            return Err(Error::Damaged("it has the form of an older version".into()));
        }
        let redb = Redb {
            dir: dir.to_owned(),
            cache_bytes: usize::try_from(cache_bytes).unwrap_or(usize::MAX),
            pages: Pages::open(dir, power)?,
            writer: Mutex::new(()),
            open: RwLock::new(None),
            unsynced: Mutex::new(Unsynced::Nothing),
            damage: Mutex::new(None),
        };
        redb.with(TRIES, |_| Ok(()))?;
        Ok(redb)
    }

    /// Does something with the open database.
    fn with<T>(
        &self,
        tries: u32,
        mut work: impl FnMut(&Opened) -> Result<T, redb::Error>,
    ) -> Result<T, Error> {
        let mut left = tries;
        loop {
            left -= 1;
            let fault = match self.attempt(&mut work) {
                Ok(result) => return Ok(result),
                Err(fault) => fault,
            };
            self.shut();
            match fault {
                Fault::Interrupted if left > 0 => {}
                Fault::Interrupted => {
                    return Err(io("using the index")(io::ErrorKind::Interrupted.into()));
                }
                Fault::Io(fault) => return Err(io("using the index")(fault)),
                Fault::Damaged(what) => return Err(self.damaged(what)),
            }
        }
    }

    fn attempt<T>(
        &self,
        work: &mut impl FnMut(&Opened) -> Result<T, redb::Error>,
    ) -> Result<T, Fault> {
        loop {
            let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(open) = &*open {
                return guard(|| work(open));
            }
            drop(open);
            let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
            if open.is_none() {
                *open = Some(guard(|| Opened::new(&self.pages, self.cache_bytes))?);
            }
        }
    }

    /// Closes the database after an error, without what was not synced.
    fn shut(&self) {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        let closed = catch_unwind(AssertUnwindSafe(|| drop(open.take())));
        if closed.is_err() {
            log::warn!("closing the index after an error failed");
        }
        self.pages.roll_back();
        let mut unsynced = lock(&self.unsynced);
        if *unsynced == Unsynced::Something {
            *unsynced = Unsynced::Lost;
        }
    }

    /// Sees to it that the index is rebuilt when it is opened the next time.
    fn damaged(&self, what: String) -> Error {
        let mut damage = lock(&self.damage);
        if damage.is_none() {
            log::error!("the index is damaged: {what}");
            let marked = File::create(self.dir.join(MARK)).and_then(|mark| mark.sync_all());
            if let Err(fault) = marked.and_then(|()| File::open(&self.dir)?.sync_all()) {
                log::error!("the damaged index cannot be marked as such: {fault}");
            }
            *damage = Some(what.clone());
        }
        Error::Damaged(what)
    }
}

impl Kv for Redb {
    fn get(&self, key: &[u8]) -> Result<Option<Value>, Error> {
        self.with(TRIES, |open| {
            let value = open.table().get(key)?;
            Ok(value.map(|value| Value::from(value.value())))
        })
    }

    fn page(&self, range: Range<'_>, most: usize) -> Result<Vec<(Key, Value)>, Error> {
        if is_empty(range) {
            return Ok(Vec::new());
        }
        self.with(TRIES, |open| {
            let entries = open.table().range::<&[u8]>(range)?;
            Ok(entries.take(most).map(owned).collect::<Result<_, _>>()?)
        })
    }

    fn last(&self, range: Range<'_>) -> Result<Option<(Key, Value)>, Error> {
        if is_empty(range) {
            return Ok(None);
        }
        self.with(TRIES, |open| {
            let mut entries = open.table().range::<&[u8]>(range)?;
            Ok(entries.next_back().map(owned).transpose()?)
        })
    }

    fn write(&self, changes: &mut Changes<'_>, lasting: Lasting) -> Result<(), Error> {
        let _writer = lock(&self.writer);
        let unsynced = *lock(&self.unsynced);
        if unsynced == Unsynced::Lost {
            *lock(&self.unsynced) = Unsynced::Nothing;
            let fault = io::Error::other("what was written before is lost");
            return Err(io("using the index")(fault));
        }
        // Once: the changes can be taken from the iterator only once.
        self.with(1, |open| open.write(changes, lasting))?;
        *lock(&self.unsynced) = match lasting {
            Lasting::Now => Unsynced::Nothing,
            Lasting::Later => Unsynced::Something,
        };
        Ok(())
    }

    fn verify(&self) -> Result<(), Error> {
        let _writer = lock(&self.writer);
        let checked = {
            let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
            let Some(Opened { table, mut db }) = open.take() else {
                drop(open);
                return self.with(1, |_| Ok(()));
            };
            drop(table);
            guard(|| {
                let is_good = db.check_integrity()?;
                let table = RwLock::new(db.begin_read()?.open_table(TABLE)?);
                *open = Some(Opened { table, db });
                Ok(is_good)
            })
        };
        match checked {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.damaged("its pages contradict each other".into())),
            Err(Fault::Damaged(what)) => Err(self.damaged(what)),
            Err(Fault::Io(fault)) => Err(io("reading the index")(fault)),
            Err(Fault::Interrupted) => {
                Err(io("reading the index")(io::ErrorKind::Interrupted.into()))
            }
        }
    }

    fn damage(&self) -> Option<String> {
        lock(&self.damage).clone()
    }
}

type Entry<'a> = (
    redb::AccessGuard<'a, &'static [u8]>,
    redb::AccessGuard<'a, &'static [u8]>,
);

fn owned(entry: Result<Entry<'_>, redb::StorageError>) -> Result<(Key, Value), redb::StorageError> {
    entry.map(|(key, value)| (Key::from(key.value()), Value::from(value.value())))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What to do about an error of redb.
enum Fault {
    /// Another's error got in the way.
    Interrupted,
    Io(io::Error),
    Damaged(String),
}

/// Runs a piece of redb; damage, reported or panicked upon, is an error like any other.
fn guard<T>(work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, Fault> {
    let fault = match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(fault)) => fault,
        Err(panic) => {
            let said = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
            return Err(Fault::Damaged(said.unwrap_or_else(|| "panicked".into())));
        }
    };
    Err(match fault {
        redb::Error::Io(fault) if fault.get_ref().is_some_and(|why| why.is::<Harm>()) => {
            Fault::Damaged(fault.to_string())
        }
        // No disk says this: redb does, of a file that a crash left half made.
        redb::Error::Io(fault) if fault.kind() == io::ErrorKind::InvalidData => {
            Fault::Damaged(fault.to_string())
        }
        redb::Error::Io(fault) => Fault::Io(fault),
        redb::Error::PreviousIo | redb::Error::DatabaseClosed | redb::Error::LockPoisoned(_) => {
            Fault::Interrupted
        }
        other => Fault::Damaged(other.to_string()),
    })
}

pub(super) fn io(doing: &'static str) -> impl Fn(std::io::Error) -> Error {
    move |source| Error::Io { doing, source }
}

/// Does a range hold no key at all? Such a range is a panic to some maps.
pub(super) fn is_empty((from, to): Range<'_>) -> bool {
    match (from, to) {
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (Bound::Included(from) | Bound::Excluded(from), Bound::Excluded(to))
        | (Bound::Excluded(from), Bound::Included(to)) => from >= to,
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
    }
}
