//! What somebody deleted on the store: a shelf that is gone takes its packs with it.
//!
//! Chunks of those packs count as not stored from then on, so that whatever still has them sends them
//! again: an epoch that is on its way is drained anew, and a file that is written again heals. Files
//! that refer to them otherwise are damaged; each is named.

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::Look;
use crate::drive::record::Entry;
use crate::drive::trust::gone_key;
use crate::id::ArchiveNo;
use crate::id::InodeNo;
use crate::id::PackId;
use crate::index::Batch;
use crate::index::archive::Holding;
use crate::index::chunk::ChunkPlace;
use crate::index::chunk::PackPlace;
use crate::index::dirent::Listed;
use crate::index::key;
use crate::index::manifest::Extent;
use crate::store::Shelf;

/// Keys that are looked at in one go, between which changes get their turn.
const SLICE_KEYS: usize = 4096;

/// Deepest directory whose path is told.
const DEPTH_MAX: usize = 1024;

/// What was lost since the drive was opened.
#[derive(Debug, Default)]
pub(in crate::drive) struct Losses {
    count: AtomicU64,
    is_news: AtomicBool,
    files: Mutex<BTreeMap<InodeNo, String>>,
    /// Held while a shelf is found to be lost, gets a successor, or has a pack acknowledged: a pack that is
    /// acknowledged is on a living shelf, or among those that are lost.
    shelves: Mutex<()>,
}

impl Losses {
    /// Keeps the archives' shelves as they are.
    pub(in crate::drive) fn hold_shelves(&self) -> MutexGuard<'_, ()> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many shelves.
    pub(in crate::drive) fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    /// The files that refer to what was lost, and what to say of each.
    pub(in crate::drive) fn files(&self) -> MutexGuard<'_, BTreeMap<InodeNo, String>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drive {
    /// A shelf is gone, and everything on it. The archive gets a new one.
    pub(in crate::drive) fn lose_shelf(
        &self,
        no: ArchiveNo,
        shelf: &Shelf,
        what: &str,
    ) -> Result<(), Error> {
        let _held = self.losses.hold_shelves();
        // Another put to the same shelf may have found out before.
        if !self.has_shelf(no, shelf) {
            return Ok(());
        }
        let (from, to) = key::all(b'P');
        let mut lost = HashSet::new();
        self.each_of(&from, &to, |key, value| {
            if PackPlace::decode(value)?.archive == no
                && let Ok(id) = key[1..].try_into()
            {
                lost.insert(PackId(id));
            }
            Ok(())
        })?;
        log::error!(
            "{what} is gone, and {} packs with it; the archive gets a new one",
            lost.len()
        );
        self.note_gone(&lost)?;
        self.distrust_packs(lost);
        let holding = Holding {
            packs: 0,
            pack_bytes: 0,
            ..self.holding(no)?
        };
        let mut batch = Batch::default();
        batch.put(key::holding(no), holding.encode())?;
        self.index.amend(batch)?;
        self.losses.is_news.store(true, Ordering::SeqCst);
        self.losses.count.fetch_add(1, Ordering::SeqCst);
        // Last: where one of these failed, the next put to the shelf finds out again.
        self.forget_shelf(no, shelf);
        Ok(())
    }

    /// The epoch under way says of packs that they are gone, so that whoever comes later does not take their
    /// chunks for stored; and so does the spool, whose facts of this epoch may name them. Their places stay:
    /// should the store have been wrong, they can still be read.
    fn note_gone(&self, lost: &HashSet<PackId>) -> Result<(), Error> {
        let lost: Vec<&PackId> = lost.iter().collect();
        for some in lost.chunks(SLICE_KEYS) {
            let mut batch = Batch::default();
            for pack in some {
                batch.put(gone_key(pack), Vec::new())?;
            }
            let fact = Entry::Fact(self.epoch_under_way(), batch.clone());
            self.take_down_on_good_disk(&fact)?;
            self.index.amend(batch)?;
        }
        Ok(())
    }

    /// Names the files that have lost something, and forgets those that have healed. For when an epoch
    /// is complete: what was sent again counts as stored by then.
    pub(in crate::drive) fn tell_losses(&self) -> Result<(), Error> {
        let mut affected = BTreeMap::new();
        if self.losses.is_news.swap(false, Ordering::SeqCst) {
            let (from, to) = key::all(b'M');
            self.each_of(&from, &to, |key, value| {
                self.note_loss(key, value, &mut affected)
            })?;
        } else {
            let known: Vec<InodeNo> = self.losses.files().keys().copied().collect();
            for ino in known {
                let (from, to) = key::of(b'M', ino);
                self.each_of(&from, &to, |key, value| {
                    self.note_loss(key, value, &mut affected)
                })?;
            }
        }
        let fresh: Vec<InodeNo> = {
            let before = self.losses.files();
            let fresh = affected.keys().filter(|ino| !before.contains_key(ino));
            fresh.copied().collect()
        };
        for ino in fresh {
            log::error!("{}", affected.get(&ino).map_or("", String::as_str));
        }
        *self.losses.files() = affected;
        Ok(())
    }

    fn note_loss(
        &self,
        key: &[u8],
        value: &[u8],
        affected: &mut BTreeMap<InodeNo, String>,
    ) -> Result<(), Error> {
        let Some(ino) = key::inode_of(key) else {
            return Ok(());
        };
        if affected.contains_key(&ino) {
            return Ok(());
        }
        let Extent::Chunk { id, .. } = Extent::decode(value)? else {
            return Ok(());
        };
        let Some(place) = self.index.get(&key::chunk(&id))? else {
            return Ok(());
        };
        if self.distrusts_pack(&ChunkPlace::decode(&place)?.pack) {
            let path = self.path_of(ino)?;
            let text = format!(
                "{path}: its content on Discord was deleted; what this machine still has of it can be read, and writing it again heals it"
            );
            affected.insert(ino, text);
        }
        Ok(())
    }

    /// Looks at every row between two keys, a slice at a time.
    fn each_of(
        &self,
        from: &[u8],
        to: &[u8],
        mut look: impl FnMut(&[u8], &[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut from = from.to_vec();
        loop {
            let rows = self.view().scan(&from, to, SLICE_KEYS)?;
            let Some((last, _)) = rows.last() else {
                return Ok(());
            };
            let next = [last, &[0][..]].concat();
            for (key, value) in &rows {
                look(key, value)?;
            }
            from = next;
        }
    }

    /// One of the paths of a file, as people write it, below the mount point.
    fn path_of(&self, ino: InodeNo) -> Result<String, Error> {
        let (mut names, mut at) = (Vec::new(), ino);
        while at != InodeNo::ROOT && names.len() < DEPTH_MAX {
            let Some(inode) = self.view().inode(at)? else {
                break;
            };
            let (from, to) = (
                key::listed(inode.parent, 0),
                key::listed(inode.parent, u64::MAX),
            );
            let mut name = None;
            self.each_of(&from, &to, |_, value| {
                let listed = Listed::decode(value)?;
                if listed.ino == at {
                    name = Some(listed.name);
                }
                Ok(())
            })?;
            let Some(name) = name else { break };
            names.push(String::from_utf8_lossy(&name).into_owned());
            at = inode.parent;
        }
        names.reverse();
        Ok(match names.is_empty() {
            true => format!("inode {ino}"),
            false => names.join("/"),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::drive::fixture;
    use crate::store::memory::Memory;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_loss_that_could_not_be_noted_is_found_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Arc::new(Memory::default());
        let opened = fixture::open(fixture::settings(dir.path()), &store).await;
        let drive = opened.expect("a new drive");
        let no = ArchiveNo(0);
        drive.index.freeze().expect("nothing is frozen");
        let shelf = drive.shelf_of(no).await.expect("it is made");
        drive.index.thaw().expect("thawed");
        // Nothing is published now that could say so.
        let refused = drive.lose_shelf(no, &shelf, "the thread");
        assert!(refused.is_err(), "{refused:?}");
        assert!(drive.has_shelf(no, &shelf) && drive.losses.count() == 0);
        drive.index.freeze().expect("nothing is frozen");
        drive.lose_shelf(no, &shelf, "the thread").expect("noted");
        drive.lose_shelf(no, &shelf, "the thread").expect("known");
        assert!(!drive.has_shelf(no, &shelf) && drive.losses.count() == 1);
        drive.index.thaw().expect("thawed");
        drive.close().await;
    }
}
