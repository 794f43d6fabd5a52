//! A store for tests: in memory.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use super::{
    Error, Key, Value,
    kv::{Changes, Kv, Lasting, Range},
};

/// A store in memory.
#[derive(Clone, Default)]
pub(super) struct Memory(Arc<Mutex<Content>>);

#[derive(Clone, Default)]
pub(super) struct Content {
    entries: BTreeMap<Key, Value>,
}

impl Memory {
    pub(super) fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().expect("no test panics while it holds this")
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

    fn write(&self, changes: &mut Changes<'_>, _: Lasting) -> Result<(), Error> {
        let mut content = self.content();
        for (key, value) in changes {
            match value {
                Some(value) => content.entries.insert(key, value),
                None => content.entries.remove(&key),
            };
        }
        Ok(())
    }

    fn verify(&self) -> Result<(), Error> {
        Ok(())
    }

    fn damage(&self) -> Option<String> {
        None
    }
}
