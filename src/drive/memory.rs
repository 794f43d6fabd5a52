//! Chunks in the plain: those used lately, bounded by bytes.

use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use bytes::Bytes;
use lru::LruCache;

use crate::id::ChunkId;

/// Recently used chunks in the plain, bounded by bytes.
#[derive(Debug)]
pub(in crate::drive) struct Memory {
    chunks: Mutex<(LruCache<ChunkId, Bytes>, u64)>,
    bytes_max: u64,
    /// Held while a chunk is unsealed from the cache, one of them for each chunk: of two readers that come
    /// at once, which read-ahead makes the rule, only one works.
    opening: [Mutex<()>; OPENING],
}

/// Chunks that can be unsealed from the cache at once, unless two of them share a lock.
const OPENING: usize = 16;

impl Memory {
    pub(in crate::drive) fn new(bytes_max: u64) -> Memory {
        Memory {
            chunks: Mutex::new((LruCache::unbounded(), 0)),
            bytes_max,
            opening: Default::default(),
        }
    }

    /// Keeps others from unsealing the same chunk.
    pub(in crate::drive) fn opening(&self, id: &ChunkId) -> MutexGuard<'_, ()> {
        let lock = &self.opening[usize::from(id.0[0]) % OPENING];
        lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, (LruCache<ChunkId, Bytes>, u64)> {
        self.chunks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::drive) fn get(&self, id: &ChunkId) -> Option<Bytes> {
        self.lock().0.get(id).cloned()
    }

    /// Is it here? Does not make it the one used last.
    pub(in crate::drive) fn has(&self, id: &ChunkId) -> bool {
        self.lock().0.contains(id)
    }

    pub(in crate::drive) fn put(&self, id: ChunkId, plain: Bytes) {
        let mut lock = self.lock();
        let (chunks, used) = &mut *lock;
        *used += plain.len() as u64;
        if let Some(old) = chunks.put(id, plain) {
            *used -= old.len() as u64;
        }
        while *used > self.bytes_max {
            let Some((_, old)) = chunks.pop_lru() else {
                break;
            };
            *used -= old.len() as u64;
        }
    }

    pub(in crate::drive) fn bytes(&self) -> u64 {
        self.lock().1
    }
}
