//! A delta: changes that are held in memory, above what is stored.

use std::{collections::BTreeMap, ops::Bound};

use super::{
    Batch, Key, Value,
    kv::{Range, is_empty},
};

/// What an entry costs besides its key and value: allocations, pointers, a share of a tree node.
const ENTRY_BYTES: usize = 96;

/// Keys and what became of them; no value means that the key went away.
#[derive(Clone, Debug, Default)]
pub(super) struct Delta {
    entries: BTreeMap<Key, Option<Value>>,
    bytes: usize,
}

impl Delta {
    /// What became of a key; nothing if this says nothing about it.
    pub(super) fn get(&self, key: &[u8]) -> Option<&Option<Value>> {
        self.entries.get(key)
    }

    pub(super) fn apply(&mut self, batch: Batch) {
        for (key, value) in batch {
            self.set(key, value);
        }
    }

    fn set(&mut self, key: Key, value: Option<Value>) {
        let new_bytes = value_bytes(value.as_ref());
        let key_bytes = key.len() + ENTRY_BYTES;
        match self.entries.insert(key, value) {
            Some(old) => self.bytes -= value_bytes(old.as_ref()),
            None => self.bytes += key_bytes,
        }
        self.bytes += new_bytes;
    }

    /// Puts what `below` says under what this says.
    pub(super) fn absorb_below(&mut self, mut below: Delta) {
        // The smaller one is moved into the larger one.
        if below.entries.len() > self.entries.len() {
            std::mem::swap(self, &mut below);
            for (key, value) in below.entries {
                self.set(key, value);
            }
        } else {
            for (key, value) in below.entries {
                if !self.entries.contains_key(&key) {
                    self.set(key, value);
                }
            }
        }
    }

    pub(super) fn range<'a>(
        &'a self,
        range: Range<'_>,
    ) -> impl DoubleEndedIterator<Item = (&'a Key, &'a Option<Value>)> + use<'a> {
        // An empty range is a panic to the map.
        let range = if is_empty(range) {
            (Bound::Included(&[][..]), Bound::Excluded(&[][..]))
        } else {
            range
        };
        self.entries.range::<[u8], _>(range)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Memory, estimated.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

fn value_bytes(value: Option<&Value>) -> usize {
    value.map_or(0, |value| value.len())
}
