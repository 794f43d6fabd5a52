//! A local disk that fails while the drive is open: nothing more is taken, and what was taken goes to the store as long as
//! it can be read.
//!
//! After an `fdatasync` that failed, the system takes what it could not write for written: it is in memory alone, until
//! that is needed for something else or the process ends. So this is the moment in which it can be saved. What is read
//! back is checked, so nothing wrong goes to the store.
//!
//! The spool takes no more records then, not even of what is known of the epoch under way ([`Drive::take_down`]): as where
//! it has no room at all. Killed before the epoch is settled, the drive is opened as after a power cut in the same moment:
//! the journal tells that this machine has published the epoch, and up to which record, whatever is left of the spool.
//! Nothing is given out again that was used before, and the lease is kept as long as anything waits.

use crate::drive::Drive;
use crate::drive::Error;
use crate::spool;

/// What is said of a failed disk besides why.
const WHAT_NOW: &str = "no change is taken any more; what was taken goes to Discord as far as it can be read: unmount the \
                        drive, see to the disk, and mount it again";

/// To whoever waits for the end of a mount, in vain as long as the disk is as it is.
pub(in crate::drive) fn with_way_out(error: Error) -> Error {
    match error {
        Error::Disk(why) => Error::Disk(format!(
            "{why}; `ods umount --force` ends a mount all the same, and what waits stays in the spool"
        )),
        other => other,
    }
}

impl Drive {
    /// The spool failed to make something durable, and takes nothing more: neither does the drive.
    pub(in crate::drive) fn spool_failed(&self, error: spool::Error) -> Error {
        let error = Error::from(error);
        if let Error::Disk(why) = &error
            && self.control.read_only().is_none()
        {
            let why = Error::Disk(format!("{why}; {WHAT_NOW}"));
            self.control.make_read_only(why);
        }
        error
    }

    /// Looks whether the spool's disk has failed where nobody waited for it.
    pub(in crate::drive) fn notice_failed_spool(&self) {
        if let Err(error) = self.spool.check() {
            self.spool_failed(error);
        }
    }

    /// An error when everything is on the store, but the local disk has failed meanwhile.
    pub(in crate::drive) fn refuse_failed_disk(&self) -> Result<(), Error> {
        self.notice_failed_spool();
        let board = self.control.board();
        let Some(Error::Disk(why)) = &board.read_only else {
            return Ok(());
        };
        let lost = board.lost_records.as_ref().or(board.lost_content.as_ref());
        let there = match lost {
            None => String::from("Everything that was taken is on Discord"),
            Some(lost) => format!("What could be read is on Discord, but {lost}"),
        };
        Err(Error::Disk(format!("{why}. {there}")))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::drive::Look;
    use crate::drive::ReadAhead;
    use crate::drive::fixture;
    use crate::id::ArchiveNo;
    use crate::id::InodeNo;
    use crate::index::inode::Inode;
    use crate::index::inode::Kind;
    use crate::store::Span;
    use crate::store::Store;
    use crate::store::faulty::Fault;
    use crate::store::faulty::Faulty;
    use crate::store::faulty::Rule;
    use crate::store::faulty::Verb;
    use crate::store::memory::Memory;
    use tokio::sync::Semaphore;

    const FILE: InodeNo = InodeNo(1000);

    const LEN: u32 = 300_000;

    fn content() -> Vec<u8> {
        let byte = |at: u32| u8::try_from((at + (at >> 10)) % 251);
        (0..LEN).map(|at| byte(at).expect("small")).collect()
    }

    fn write(drive: &Drive) -> Result<(), Error> {
        drive.change(|change| {
            let now = change.now();
            let root = change.inode(InodeNo::ROOT)?.expect("there");
            let file = Inode {
                kind: Kind::File,
                mode: 0o644,
                nlink: 1,
                size: u64::from(LEN),
                archive: ArchiveNo(0),
                mtime: now,
                ..root
            };
            change.put_inode(FILE, &file);
            change.write(FILE, 0, &content());
            Ok(())
        })
    }

    async fn flush(drive: &Arc<Drive>) -> Result<(), Error> {
        let drive = Arc::clone(drive);
        let flushed = tokio::task::spawn_blocking(move || drive.flush_whole(|| true));
        flushed.await.expect("no panic")
    }

    async fn open(dir: &Path, store: &Arc<Faulty<Memory>>) -> Arc<Drive> {
        let opened = fixture::open(fixture::settings(dir), store).await;
        opened.expect("it opens")
    }

    async fn read(drive: &Drive) -> Vec<u8> {
        let ahead = ReadAhead::default();
        let read = drive.read(FILE, 0, LEN, &ahead).await;
        read.expect("readable")
    }

    async fn has_segment(store: &Faulty<Memory>) -> bool {
        let listed = store.list(&store.journal(), Span::Newest).await;
        let mut entries = listed.expect("listed").entries.into_iter();
        entries.any(|entry| entry.name.starts_with("s-"))
    }

    fn two() -> (Arc<Faulty<Memory>>, [tempfile::TempDir; 2]) {
        let dirs = [(); 2].map(|()| tempfile::tempdir().expect("a directory"));
        (Arc::new(Faulty::new(Memory::default())), dirs)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_taken_before_the_disk_failed_goes_to_the_store_and_the_failure_is_told() {
        let (store, dirs) = two();
        let drive = open(dirs[0].path(), &store).await;
        write(&drive).expect("taken");
        drive.spool.poison();
        assert!(matches!(drive.sync(), Err(Error::Disk(_))));
        assert!(matches!(write(&drive), Err(Error::ReadOnly(_))));
        for _ in 0..2 {
            let told = flush(&drive).await.expect_err("the disk failed");
            assert!(matches!(told, Error::Disk(_)), "{told:?}");
            let told = told.to_string();
            let words = [
                "disk failed",
                "Everything that was taken is on Discord",
                "mount it again",
            ];
            assert!(words.iter().all(|word| told.contains(word)), "{told}");
        }
        assert!(!drive.status().expect("readable").unpublished);
        drive.renew_lease().await.expect("it is ours");
        drive.close().await;
        drop(drive);
        // The lease is given back, and an empty machine has everything.
        let other = open(dirs[1].path(), &store).await;
        assert!(read(&other).await == content());
        other.close().await;
        drop(other);
        let again = open(dirs[0].path(), &store).await;
        write(&again).expect("the disk is well again");
        flush(&again).await.expect("published");
        again.close().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_disk_that_fails_where_nobody_waits_for_it_is_noticed() {
        let (store, dirs) = two();
        let drive = open(dirs[0].path(), &store).await;
        write(&drive).expect("taken");
        drive.spool.poison();
        let told = flush(&drive).await.expect_err("the disk failed");
        assert!(matches!(told, Error::Disk(_)), "{told:?}");
        assert!(matches!(write(&drive), Err(Error::ReadOnly(_))));
        drive.close().await;
    }

    /// What the power leaves of segments of which nothing was synced: their names.
    fn cut_the_power(dir: &Path) {
        let spool = fixture::settings(dir).spool_dir();
        for entry in std::fs::read_dir(spool).expect("a list").flatten() {
            let is_open = entry.path().extension().is_some_and(|kind| kind == "open");
            assert!(is_open, "{entry:?} was synced");
            let file = std::fs::File::options().write(true).open(entry.path());
            file.and_then(|file| file.set_len(0)).expect("cut");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_epoch_of_a_failed_disk_that_the_journal_alone_knows_is_no_other_machine_s() {
        for is_cut in [false, true] {
            let (store, dirs) = two();
            let drive = open(dirs[0].path(), &store).await;
            write(&drive).expect("taken");
            drive.spool.poison();
            // The pack, then the segment: that is put, and nobody hears of it.
            store.add(Rule {
                skip: 1,
                ..Rule::next(Verb::Put, Fault::HeldAnswer(Arc::new(Semaphore::new(0))))
            });
            let flushing = tokio::spawn({
                let drive = Arc::clone(&drive);
                async move { flush(&drive).await }
            });
            while !has_segment(&store).await {
                tokio::task::yield_now().await;
            }
            drive.close().await;
            let ended = flushing.await.expect("no panic");
            assert!(matches!(ended, Err(Error::Closing)), "{ended:?}");
            drop(drive);
            if is_cut {
                cut_the_power(dirs[0].path());
            }
            let again = open(dirs[0].path(), &store).await;
            assert_eq!(again.status().expect("readable").epoch, 1);
            assert!(read(&again).await == content());
            write(&again).expect("the disk is well again");
            flush(&again).await.expect("published");
            again.close().await;
        }
    }
}
