//! The seam to an ordered store of small keys and values, and sled behind it.
//!
//! sled 0.34's `flush` does not `fsync` on Linux, so [`Sled::flush`] does it on a handle of its own. Damage
//! makes sled answer an error or panic; both become [`Error::Damaged`], and the index is rebuilt.

use std::{
    fs::File,
    ops::Bound,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use super::{Batch, Error, Key, Value};

/// An ordered store of keys and values.
pub(super) trait Kv: Send + Sync {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Value>, Error>;
    /// The first entries of a range, ascending, `most` at most.
    fn page(&self, range: Range<'_>, most: usize) -> Result<Vec<(Key, Value)>, Error>;
    /// The greatest entry of a range.
    fn last(&self, range: Range<'_>) -> Result<Option<(Key, Value)>, Error>;
    /// Makes changes, all or none of them.
    fn write(&self, batch: &Batch) -> Result<(), Error>;
    /// A number that is kept beside the keys; 0 if it was never set.
    fn mark(&self, name: &str) -> Result<u64, Error>;
    /// Sets such a number. It is not durable before what was written earlier is.
    fn set_mark(&self, name: &str, value: u64) -> Result<(), Error>;
    /// Makes everything durable.
    fn flush(&self) -> Result<(), Error>;
}

/// A range of keys.
pub(super) type Range<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// A database of sled, and one of its trees.
#[derive(Clone)]
pub(super) struct Sled {
    tree: sled::Tree,
    marks: sled::Tree,
    db: sled::Db,
    file: std::sync::Arc<File>,
}

/// Was there a database when it was to be opened?
#[derive(PartialEq, Eq)]
enum Before {
    There,
    Absent,
}

impl Sled {
    /// Opens the database in `dir`.
    pub(super) fn open(dir: &Path, cache_bytes: u64) -> Result<Sled, Error> {
        let config = sled::Config::new()
            .path(dir)
            .cache_capacity(cache_bytes)
            .flush_every_ms(None);
        let before = match dir.join("db").try_exists() {
            Ok(true) => Before::There,
            Ok(false) => Before::Absent,
            Err(fault) => return Err(io("opening the index")(fault)),
        };
        let db = open_unlocked(&config)?;
        let tree = sled::Tree::clone(&db);
        let marks = guard(|| db.open_tree("marks"))?;
        match before {
            Before::Absent => drop(guard(|| marks.insert("made", &[]))?),
            // Some damage makes sled begin anew, without a word.
            Before::There if guard(|| marks.get("made"))?.is_none() => {
                return Err(Error::Damaged("it has lost its content".into()));
            }
            Before::There => {}
        }
        let file = File::open(dir.join("db")).map_err(io("opening the index"))?;
        // The files that sled has just made must not be lost by name.
        file.sync_all()
            .and_then(|()| File::open(dir)?.sync_all())
            .map_err(io("opening the index"))?;
        let sled = Sled {
            tree,
            marks,
            db,
            file: std::sync::Arc::new(file),
        };
        if before == Before::Absent {
            sled.flush()?;
        }
        Ok(sled)
    }
}

/// How often, and how long apart, sled's lock is tried: a child process of ours that has not yet
/// become another program holds it for a moment. Real owners are kept off by the drive's own lock.
const LOCK_TRIES: u32 = 40;
const LOCK_PAUSE: std::time::Duration = std::time::Duration::from_millis(50);

fn open_unlocked(config: &sled::Config) -> Result<sled::Db, Error> {
    let mut tries = 0;
    loop {
        match guard(|| config.open()) {
            Err(Error::Io { source, .. })
                if tries < LOCK_TRIES && source.to_string().contains("could not acquire lock") =>
            {
                tries += 1;
                std::thread::sleep(LOCK_PAUSE);
            }
            answer => return answer,
        }
    }
}

impl Kv for Sled {
    fn get(&self, key: &[u8]) -> Result<Option<Value>, Error> {
        let value = guard(|| self.tree.get(key))?;
        Ok(value.map(|value| Value::from(&value[..])))
    }

    fn page(&self, range: Range<'_>, most: usize) -> Result<Vec<(Key, Value)>, Error> {
        guard(|| {
            self.tree
                .range::<&[u8], _>(range)
                .take(most)
                .map(owned)
                .collect()
        })
    }

    fn last(&self, range: Range<'_>) -> Result<Option<(Key, Value)>, Error> {
        guard(|| {
            self.tree
                .range::<&[u8], _>(range)
                .next_back()
                .map(owned)
                .transpose()
        })
    }

    fn write(&self, batch: &Batch) -> Result<(), Error> {
        let mut changes = sled::Batch::default();
        for (key, value) in batch.iter() {
            match value {
                Some(value) => changes.insert(key, value),
                None => changes.remove(key),
            }
        }
        guard(|| self.tree.apply_batch(changes))
    }

    fn mark(&self, name: &str) -> Result<u64, Error> {
        let value = guard(|| self.marks.get(name))?;
        let value = value.map(|value| <[u8; 8]>::try_from(&value[..]));
        match value {
            None => Ok(0),
            Some(Ok(bytes)) => Ok(u64::from_le_bytes(bytes)),
            Some(Err(_)) => Err(Error::Damaged(format!("the mark `{name}` is no number"))),
        }
    }

    fn set_mark(&self, name: &str, value: u64) -> Result<(), Error> {
        guard(|| self.marks.insert(name, &value.to_le_bytes())).map(drop)
    }

    fn flush(&self) -> Result<(), Error> {
        guard(|| self.db.flush())?;
        self.file.sync_data().map_err(io("syncing the index"))
    }
}

fn owned(entry: sled::Result<(sled::IVec, sled::IVec)>) -> sled::Result<(Key, Value)> {
    entry.map(|(key, value)| (Key::from(&key[..]), Value::from(&value[..])))
}

/// Runs a piece of sled; damage, reported or panicked upon, is an error like any other.
fn guard<T>(work: impl FnOnce() -> sled::Result<T>) -> Result<T, Error> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(sled::Error::Io(fault)))
            if !matches!(
                fault.kind(),
                std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::InvalidData
            ) =>
        {
            Err(io("using the index")(fault))
        }
        Ok(Err(fault)) => Err(Error::Damaged(fault.to_string())),
        Err(panic) => {
            let said = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
            Err(Error::Damaged(said.unwrap_or_else(|| "panicked".into())))
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(dir: &Path) {
        let sled = Sled::open(dir, 1 << 20).expect("new database");
        for nth in 0..2000_u32 {
            let mut batch = Batch::new();
            batch
                .put(nth.to_be_bytes(), vec![7; 500])
                .expect("within limits");
            sled.write(&batch).expect("good disk");
        }
        sled.flush().expect("good disk");
    }

    /// Opens and reads everything.
    fn read(dir: &Path) -> Result<usize, Error> {
        let sled = Sled::open(dir, 1 << 20)?;
        let all = sled.page((Bound::Unbounded, Bound::Unbounded), usize::MAX)?;
        assert!(all.iter().all(|(_, value)| **value == [7; 500]));
        Ok(all.len())
    }

    #[test]
    fn what_is_flushed_is_there_when_it_is_opened_again() {
        let dir = tempfile::tempdir().expect("temporary directory");
        filled(dir.path());
        assert_eq!(read(dir.path()).expect("whole"), 2000);
        let held = Sled::open(dir.path(), 1 << 20).expect("whole");
        let twice = Sled::open(dir.path(), 1 << 20);
        assert!(
            matches!(twice, Err(Error::Io { .. })),
            "in use is not damaged"
        );
        drop(held);
    }
}
