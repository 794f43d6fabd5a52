//! A store for tests: in memory, and without power when it is told so.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use super::{
    Batch, Error, Key, Value,
    kv::{self, Kv, Range},
};

/// A store in memory, which can be told to fail.
#[derive(Clone, Default)]
pub(super) struct Memory(Arc<Mutex<Content>>);

#[derive(Clone, Default)]
pub(super) struct Content {
    entries: BTreeMap<Key, Value>,
    marks: BTreeMap<String, u64>,
    /// Changes that still work.
    pub(super) fuel: Option<u64>,
}

impl Memory {
    pub(super) fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().expect("no test panics while it holds this")
    }

    fn spend(&self) -> Result<MutexGuard<'_, Content>, Error> {
        let mut content = self.content();
        match &mut content.fuel {
            Some(0) => return Err(kv::io("testing")(std::io::Error::other("no power"))),
            Some(fuel) => *fuel -= 1,
            None => {}
        }
        Ok(content)
    }
}

impl Kv for Memory {
    fn get(&self, key: &[u8]) -> Result<Option<Value>, Error> {
        Ok(self.content().entries.get(key).cloned())
    }

    fn page(&self, range: Range<'_>, most: usize) -> Result<Vec<(Key, Value)>, Error> {
        let content = self.content();
        let entries = content.entries.range::<[u8], _>(range).take(most);
        Ok(entries
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
    }

    fn last(&self, range: Range<'_>) -> Result<Option<(Key, Value)>, Error> {
        let content = self.content();
        let entry = content.entries.range::<[u8], _>(range).next_back();
        Ok(entry.map(|(key, value)| (key.clone(), value.clone())))
    }

    fn write(&self, batch: &Batch) -> Result<(), Error> {
        let mut content = self.spend()?;
        for (key, value) in batch.iter() {
            match value {
                Some(value) => content.entries.insert(key.into(), value.into()),
                None => content.entries.remove(key),
            };
        }
        Ok(())
    }

    fn mark(&self, name: &str) -> Result<u64, Error> {
        Ok(self.content().marks.get(name).copied().unwrap_or(0))
    }

    fn set_mark(&self, name: &str, value: u64) -> Result<(), Error> {
        self.spend()?.marks.insert(name.to_owned(), value);
        Ok(())
    }

    fn flush(&self) -> Result<(), Error> {
        self.spend().map(drop)
    }
}
