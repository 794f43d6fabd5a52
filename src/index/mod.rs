//! The index: one ordered space of small keys and values that says what the drive is.
//!
//! What is stored on disk is exactly the *published* state: that of the last epoch on Discord. Everything since
//! lives in memory, as deltas above it (and durably in the spool, from which they are made again after a crash):
//!
//! ```text
//! gathering     all changes since the last freeze        apply
//! publishing    frozen, being uploaded                   freeze → amend → settle | thaw
//! base          the published state, in redb             load
//! ```
//!
//! A lookup goes from top to bottom; a deletion in an upper layer hides what is below it.
//!
//! Settling is one transaction: what is stored is always the state of one epoch, never a mixture of two.
//!
//! # Damage
//!
//! What is read is what was settled, or [`Error::Damaged`]. Three files hold the index: `pages` (redb's), `sums`
//! (a checksum of each page, in a chain of records) and `newest` (how far that chain goes).
//!
//! | damage | is noticed |
//! | --- | --- |
//! | a file is gone, empty, or too short; a record of `sums` is changed or missing; `newest` is unreadable | when it is opened |
//! | a page in use is changed, or is an old one, or the disk cannot read it | when it is read: a look-up, a scan or a settling fails |
//! | a page that is not in use | never; nothing depends on it |
//! | all pages are old ones, with the present `sums` | as for each page |
//! | all three files together are older copies | never: that is a state the index really had; the journal leads on from there |
//!
//! Opening reads `sums` (2 to 4 thousandths of the pages) and a few pages: it takes milliseconds whatever the
//! number of files, also after a crash. [`Index::verify`] reads everything. Damage that is noticed while the index
//! is used leaves a mark, with which the next open fails: then the directory is set aside and the index rebuilt.
//!
//! # Why redb
//!
//! Measured with 1,000,000 files (5,000,000 keys, 307 MB with their values), against sled 0.34.7:
//!
//! | | sled | redb |
//! | --- | --- | --- |
//! | load | 121 s | 18 s |
//! | memory while loading | 12,600 MiB | 55 MiB |
//! | on disk | 1,645 MB | 580 MB |
//! | open, closed cleanly / killed | 1.7 to 12 s / 2.8 s | 21 ms / 22 ms |
//! | look-ups in random order | 49,000/s | 650,000/s |
//! | scan | 160,000/s | 3,600,000/s |
//! | settle 10,000 keys / 10 keys | 650 ms / 110 ms | 350 ms / 1.2 ms |
//! | memory then | 637 to 1,000 MiB | 79 MiB |
//!
//! sled falls back to older pages, without a word, where newer ones are broken. redb does not look at its
//! pages' checksums when it reads them either, but lets its storage be ours, where they are looked at (`pages.rs`).

pub mod archive;
mod batch;
pub mod caption;
pub mod chunk;
mod delta;
pub mod dirent;
#[cfg(any(fuzzing, debug_assertions))]
#[doc(hidden)]
pub mod fuzzing;
pub mod grave;
pub mod inode;
pub mod key;
mod kv;
pub mod manifest;
mod pages;
mod power;
pub mod record;
mod scan;
mod sums;
pub mod tally;
mod words;

use std::{
    ops::Bound,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

pub use self::{
    batch::{Batch, KEY_BYTES_MAX, Key, VALUE_BYTES_MAX, Value},
    scan::{Publishing, Scan},
    words::{Counts, Error},
};
use self::{
    delta::Delta,
    kv::{Kv, Lasting, Redb},
    power::Power,
    scan::View,
};

/// The layered index. All methods may be called from many threads.
pub struct Index {
    base: Box<dyn Kv>,
    /// Held while the set of layers changes. Lock order: this, then `layers`.
    turn: Mutex<()>,
    layers: RwLock<Layers>,
    /// Look-ups and entries of scans so far: what tests bound.
    #[cfg(test)]
    looks: std::sync::atomic::AtomicUsize,
}

#[derive(Default)]
struct Layers {
    gathering: Delta,
    /// Shared with whoever goes through it, who then needs no lock: one that waited for `layers` while it had
    /// the base would be waited for by those who look at both.
    publishing: Option<Arc<Delta>>,
}

impl Index {
    /// Opens the index in `dir`, makes it if it is not there, and finishes what a crash interrupted.
    ///
    /// # Errors
    /// [`Error::Damaged`]: set the directory aside and rebuild. [`Error::Io`]: nothing is wrong with the content.
    pub fn open(dir: &Path, cache_bytes: u64) -> Result<Index, Error> {
        std::fs::create_dir_all(dir).map_err(kv::io("opening the index"))?;
        Ok(Index::over(Box::new(Redb::open(
            dir,
            cache_bytes,
            Power::default(),
        )?)))
    }

    fn over(base: Box<dyn Kv>) -> Index {
        Index {
            base,
            turn: Mutex::new(()),
            layers: RwLock::default(),
            #[cfg(test)]
            looks: std::sync::atomic::AtomicUsize::default(),
        }
    }

    /// Look-ups and entries of scans so far.
    #[cfg(test)]
    pub(crate) fn looks(&self) -> usize {
        self.looks.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// A look-up, or a page of a scan with so many entries.
    fn looked(&self, _entries: usize) {
        #[cfg(test)]
        self.looks
            .fetch_add(1 + _entries, std::sync::atomic::Ordering::Relaxed);
    }

    /// The present value of a key.
    ///
    /// # Errors
    /// [`Error::Damaged`] or [`Error::Io`].
    pub fn get(&self, key: &[u8]) -> Result<Option<Value>, Error> {
        self.looked(0);
        let layers = self.lock_shared();
        let publishing = || layers.publishing.as_ref()?.get(key);
        if let Some(change) = layers.gathering.get(key).or_else(publishing) {
            return Ok(change.clone());
        }
        drop(layers);
        self.base.get(key)
    }

    /// The entries of a range, ascending, deletions honoured.
    #[must_use]
    pub fn scan(&self, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Scan<'_> {
        Scan::new(self, View::Now, (from, to))
    }

    /// The entries whose keys begin with `prefix`, ascending.
    #[must_use]
    pub fn scan_prefix(&self, prefix: &[u8]) -> Scan<'_> {
        let to = scan::after_prefix(prefix);
        self.scan(Bound::Included(prefix), scan::as_slice(&to))
    }

    /// The entry with the greatest key of a range.
    ///
    /// # Errors
    /// [`Error::Damaged`] or [`Error::Io`].
    pub fn last(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
    ) -> Result<Option<(Key, Value)>, Error> {
        self.looked(0);
        self.layers(View::Now, |deltas, base| {
            scan::last(deltas, base, (from, to))
        })
    }

    /// Changes the present state, in memory. No reader sees a part of a batch.
    pub fn apply(&self, batch: Batch) {
        self.lock().gathering.apply(batch);
    }

    /// Makes what was gathered the delta to publish, and begins to gather anew.
    ///
    /// # Errors
    /// [`Error::Publishing`] if there is such a delta already.
    pub fn freeze(&self) -> Result<(), Error> {
        let _turn = self.turn();
        let mut layers = self.lock();
        if layers.publishing.is_some() {
            return Err(Error::Publishing);
        }
        layers.publishing = Some(Arc::new(std::mem::take(&mut layers.gathering)));
        Ok(())
    }

    /// The value of a key as of the freeze, with what was amended.
    ///
    /// # Errors
    /// [`Error::Damaged`] or [`Error::Io`].
    pub fn frozen_get(&self, key: &[u8]) -> Result<Option<Value>, Error> {
        let layers = self.lock_shared();
        if let Some(change) = layers.publishing.as_ref().and_then(|delta| delta.get(key)) {
            return Ok(change.clone());
        }
        drop(layers);
        self.base.get(key)
    }

    /// [`Index::scan`] as of the freeze, with what was amended.
    #[must_use]
    pub fn frozen_scan(&self, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Scan<'_> {
        Scan::new(self, View::Frozen, (from, to))
    }

    /// [`Index::last`] as of the freeze, with what was amended.
    ///
    /// # Errors
    /// [`Error::Damaged`] or [`Error::Io`].
    pub fn frozen_last(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
    ) -> Result<Option<(Key, Value)>, Error> {
        self.layers(View::Frozen, |deltas, base| {
            scan::last(deltas, base, (from, to))
        })
    }

    /// Adds to the delta that is being published. What was gathered since the freeze stays above it.
    ///
    /// # Errors
    /// [`Error::NotPublishing`].
    pub fn amend(&self, batch: Batch) -> Result<(), Error> {
        let _turn = self.turn();
        let mut layers = self.lock();
        let publishing = layers.publishing.as_mut().ok_or(Error::NotPublishing)?;
        Arc::make_mut(publishing).apply(batch);
        Ok(())
    }

    /// The changes that are being published, ascending; no value means that the key went away. As they are now:
    /// amending while somebody goes through them copies them.
    #[must_use]
    pub fn publishing(&self) -> Publishing {
        Publishing::new(self.lock_shared().publishing.clone())
    }

    /// Gives up publishing: the frozen changes are gathered again, below what was gathered since.
    ///
    /// # Errors
    /// [`Error::NotPublishing`].
    pub fn thaw(&self) -> Result<(), Error> {
        let _turn = self.turn();
        let mut layers = self.lock();
        let below = layers.publishing.take().ok_or(Error::NotPublishing)?;
        layers.gathering.absorb_below(Arc::unwrap_or_clone(below));
        Ok(())
    }

    /// Makes the frozen changes, and `also`, part of what is stored; durable when this returns.
    ///
    /// After a failure the changes are still there, and settling can be tried again; after a crash the next
    /// [`Index::open`] has either none or all of them stored.
    ///
    /// # Errors
    /// [`Error::NotPublishing`], [`Error::Damaged`] or [`Error::Io`].
    pub fn settle(&self, also: Batch) -> Result<(), Error> {
        let _turn = self.turn();
        match self.lock().publishing.as_mut() {
            Some(publishing) => Arc::make_mut(publishing).apply(also),
            None => return Err(Error::NotPublishing),
        }
        self.base.write(&mut self.publishing(), Lasting::Now)?;
        self.lock().publishing = None;
        Ok(())
    }

    /// Changes what is stored, past the deltas: for what this machine notes for itself. Durable when this returns.
    ///
    /// # Errors
    /// [`Error::Damaged`] or [`Error::Io`]; then nothing of it is stored.
    pub fn write_through(&self, batch: Batch) -> Result<(), Error> {
        self.base.write(&mut batch.into_iter(), Lasting::Now)
    }

    /// Writes what is stored directly: for rebuilding, which is alone with the index. Durable after [`Index::load_done`]; a crash before that
    /// leaves an index that has to be removed and rebuilt.
    ///
    /// # Errors
    /// [`Error::Damaged`] or [`Error::Io`].
    pub fn load(&self, batch: &Batch) -> Result<(), Error> {
        let changes = batch.clone();
        self.base.write(&mut changes.into_iter(), Lasting::Later)
    }

    /// Makes what was loaded durable.
    ///
    /// # Errors
    /// [`Error::Damaged`] or [`Error::Io`].
    pub fn load_done(&self) -> Result<(), Error> {
        self.base.write(&mut std::iter::empty(), Lasting::Now)
    }

    /// The stored value of a key: that of the last settled epoch.
    ///
    /// # Errors
    /// [`Error::Damaged`] or [`Error::Io`].
    pub fn base_get(&self, key: &[u8]) -> Result<Option<Value>, Error> {
        self.base.get(key)
    }

    /// The stored entries of a range, ascending. A state of one epoch as long as nothing is settled meanwhile.
    #[must_use]
    pub fn base_scan(&self, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Scan<'_> {
        Scan::new(self, View::Base, (from, to))
    }

    /// Reads everything that is stored from the disk and compares it with its checksums. Settling and looking up
    /// wait meanwhile.
    ///
    /// # Errors
    /// [`Error::Damaged`] or [`Error::Io`].
    pub fn verify(&self) -> Result<(), Error> {
        let _turn = self.turn();
        self.base.verify()
    }

    /// Why what is stored cannot be trusted any more, if that was noticed since it was opened.
    /// The next [`Index::open`] answers [`Error::Damaged`].
    #[must_use]
    pub fn damage(&self) -> Option<String> {
        self.base.damage()
    }

    /// What the deltas hold.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let layers = self.lock_shared();
        let publishing = layers.publishing.as_deref();
        Counts {
            gathering_keys: layers.gathering.len(),
            gathering_bytes: layers.gathering.bytes(),
            publishing_keys: publishing.map_or(0, Delta::len),
            publishing_bytes: publishing.map_or(0, Delta::bytes),
        }
    }

    /// Looks at the layers of a view, topmost first. Their locks are held: the stored layer cannot change under a
    /// delta that hides it.
    fn layers<T>(
        &self,
        view: View,
        look: impl FnOnce(&[&Delta], &dyn Kv) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let layers = self.lock_shared();
        let gathering = (view == View::Now).then_some(&layers.gathering);
        let publishing = layers.publishing.as_deref().filter(|_| view != View::Base);
        let deltas: Vec<&Delta> = gathering.into_iter().chain(publishing).collect();
        look(&deltas, &*self.base)
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_shared(&self) -> RwLockReadGuard<'_, Layers> {
        self.layers.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> RwLockWriteGuard<'_, Layers> {
        self.layers.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod double;
#[cfg(test)]
mod layer_tests;
#[cfg(test)]
mod settle_tests;
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_hide_each_other_and_settle() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let index = Index::open(dir.path(), 1 << 20).expect("new index");
        let put = |key: &[u8], value: &[u8]| {
            let mut batch = Batch::new();
            batch.put(key, value).expect("within limits");
            batch
        };
        index.apply(put(b"a", b"1"));
        index.freeze().expect("not frozen");
        index.apply(put(b"a", b"2"));
        assert_eq!(index.get(b"a").expect("good").as_deref(), Some(&b"2"[..]));
        assert_eq!(
            index.frozen_get(b"a").expect("good").as_deref(),
            Some(&b"1"[..])
        );
        index.settle(put(b"epoch", b"1")).expect("good disk");
        assert_eq!(
            index.base_get(b"a").expect("good").as_deref(),
            Some(&b"1"[..])
        );
        drop(index);
        let index = Index::open(dir.path(), 1 << 20).expect("same index");
        let entries: Vec<_> = index
            .scan(Bound::Unbounded, Bound::Unbounded)
            .collect::<Result<_, _>>()
            .expect("good");
        assert_eq!(entries.len(), 2);
        assert_eq!(
            index
                .last(Bound::Unbounded, Bound::Unbounded)
                .expect("good"),
            entries.last().cloned()
        );
    }
}
