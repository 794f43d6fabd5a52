//! A drive whose clock a test moves, on a store in memory that counts and fails, and garbage made in it.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test file uses some of it"
)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use ods::clock::Clock;
use ods::drive::Access;
use ods::drive::Drive;
use ods::drive::Error;
use ods::drive::Look;
use ods::drive::Settings;
use ods::drive::gc::Extent;
use ods::drive::gc::Report;
use ods::drive::gc::Wish;
use ods::drive::task::Go;
use ods::drive::task::Task;
use ods::id::InodeNo;
use ods::index::chunk::PackPlace;
use ods::index::key;
use ods::store::Limits;
use ods::store::Locator;
use ods::store::Mark;
use ods::store::Shelf;
use ods::store::Span;
use ods::store::Store;
use ods::store::counting::Counting;
use ods::store::counting::Counts;
use ods::store::faulty::Fault;
use ods::store::faulty::Faulty;
use ods::store::faulty::Rule;
use ods::store::faulty::Verb;
use ods::store::memory::Memory;
use tempfile::TempDir;

use crate::drives;

pub(crate) const DAY_S: u64 = 24 * 3600;

pub(crate) type Watched = Counting<Faulty<Arc<Memory>>>;

pub(crate) struct World {
    pub(crate) store: Arc<Watched>,
    pub(crate) memory: Arc<Memory>,
    pub(crate) dir: TempDir,
    pub(crate) drive: Arc<Drive>,
    pub(crate) clock: Arc<AtomicI64>,
    linger: Duration,
}

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

impl World {
    pub(crate) async fn new() -> World {
        World::made(drives::store(), Duration::from_secs(3600)).await
    }

    /// Publishes by itself, and so does everything else that it does when it is quiet.
    pub(crate) async fn draining() -> World {
        World::made(drives::store(), Duration::from_millis(5)).await
    }

    /// With packs of another size.
    pub(crate) async fn with_limits(object_bytes_max: u64, objects_max: usize) -> World {
        let limits = Limits {
            object_bytes_max,
            objects_max,
            put_bytes_max: 25 << 20,
            put_bytes_proven: 25 << 20,
        };
        World::made(Arc::new(Memory::new(limits)), Duration::from_secs(3600)).await
    }

    async fn made(memory: Arc<Memory>, linger: Duration) -> World {
        let store = Arc::new(Counting::new(Faulty::new(Arc::clone(&memory))));
        let dir = TempDir::new().unwrap();
        let clock = Arc::new(AtomicI64::new(1_700_000_000_000_000_000));
        let settings = chosen(dir.path(), &clock, Access::Write, linger);
        let drive = open_with(settings, &store).await.unwrap();
        World {
            store,
            memory,
            dir,
            drive,
            clock,
            linger,
        }
    }

    pub(crate) async fn open_as(&self, dir: &Path, access: Access) -> Arc<Drive> {
        let settings = chosen(dir, &self.clock, access, self.linger);
        open_with(settings, &self.store).await.unwrap()
    }

    /// Goes on with what lies in `dir`; the drive must be closed.
    pub(crate) async fn reopen(&mut self, dir: TempDir) {
        self.drive = self.open_as(dir.path(), Access::Write).await;
        self.dir = dir;
    }

    /// Closes it, and opens it again without anything cached.
    pub(crate) async fn forget_cache(&mut self) {
        let copy = TempDir::new().unwrap();
        self.drive.close().await;
        drives::copy_tree(self.dir.path(), copy.path());
        std::fs::remove_dir_all(copy.path().join("cache")).unwrap();
        self.reopen(copy).await;
    }

    pub(crate) async fn close(&self) {
        assert!(
            self.drive.damaged().is_empty(),
            "{:?}",
            self.drive.damaged()
        );
        self.drive.close().await;
    }

    /// Time passes.
    pub(crate) fn pass(&self, seconds: u64) {
        let nanoseconds = i64::try_from(seconds).unwrap() * 1_000_000_000;
        self.clock.fetch_add(nanoseconds, Ordering::SeqCst);
    }

    pub(crate) async fn collect(&self) -> Report {
        let report = self.wish(false, None, Extent::Full).await;
        assert!(report.complete, "{report:?}");
        report
    }

    pub(crate) async fn wish(&self, dry_run: bool, delay_s: Option<u64>, extent: Extent) -> Report {
        self.tried(dry_run, delay_s, extent).await.unwrap()
    }

    /// The same where it may fail.
    pub(crate) async fn tried(
        &self,
        dry_run: bool,
        delay_s: Option<u64>,
        extent: Extent,
    ) -> Result<Report, Error> {
        let drive = Arc::clone(&self.drive);
        let wish = Wish {
            dry_run,
            delay_s,
            extent,
        };
        let done =
            tokio::task::spawn_blocking(move || drive.collect(&wish, &Task::new(&|_| Go::On)));
        done.await.unwrap()
    }

    pub(crate) fn counted(&self) -> Counts {
        self.store.take()
    }

    pub(crate) fn requests(&self) -> u64 {
        self.memory.status().requests_total
    }

    /// Every key and value that the index has.
    pub(crate) fn keys(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.drive.view().scan(&[0], &[255], usize::MAX).unwrap()
    }

    pub(crate) fn keys_of(&self, tag: u8) -> usize {
        let (from, to) = key::all(tag);
        self.drive
            .view()
            .scan(&from, &to, usize::MAX)
            .unwrap()
            .len()
    }

    /// Does this machine know since when what is buried waits?
    pub(crate) fn is_waiting(&self) -> bool {
        let (from, to) = (key::local("grave "), key::local("grave ~"));
        !self.drive.view().scan(&from, &to, 1).unwrap().is_empty()
    }

    /// When it was last looked for garbage unasked.
    pub(crate) fn tended(&self) -> Option<Vec<u8>> {
        self.drive.view().get(&key::local("tended")).unwrap()
    }

    /// Packs on all shelves but the journal.
    pub(crate) fn packs(&self) -> u64 {
        self.listed().len() as u64
    }

    /// Messages with packs.
    pub(crate) fn puts(&self) -> u64 {
        let listed = self.listed();
        let mut puts: Vec<_> = listed
            .iter()
            .map(|(locator, _)| self.memory.together(locator).unwrap())
            .collect();
        puts.sort();
        puts.dedup();
        puts.len() as u64
    }

    pub(crate) fn shelves(&self) -> usize {
        self.memory.cards().len()
    }

    fn listed(&self) -> Vec<(Locator, u64)> {
        let mut found = Vec::new();
        for (shelf, _) in self.memory.cards() {
            found.extend(list(&self.memory, &shelf));
        }
        found
    }

    /// Lets so many calls of a verb pass, then nothing.
    pub(crate) fn fail_after(&self, verb: Verb, skip: u64) {
        self.store.inner().add(Rule {
            verb,
            skip,
            times: u64::MAX,
            fault: Fault::Unavailable,
        });
    }

    pub(crate) async fn flush_until_struck(&self) {
        let (drive, store) = (Arc::clone(&self.drive), Arc::clone(&self.store));
        let before = store.inner().struck();
        let flushing =
            tokio::task::spawn_blocking(move || drive.flush(|| store.inner().struck() == before));
        drop(flushing.await.unwrap());
    }

    /// The machine is lost: an empty one has what is expected, every byte of it from the store.
    pub(crate) async fn rebuilt(&self, expected: &[(InodeNo, Vec<u8>)]) {
        let dir = TempDir::new().unwrap();
        let drive = self.open_as(dir.path(), Access::Read).await;
        for (ino, bytes) in expected {
            let found = drives::content(&drive, *ino).await;
            assert!(found == *bytes, "{ino} is what it was");
        }
        dangling(&drive, &self.memory);
        drive.close().await;
    }

    #[track_caller]
    pub(crate) fn until(&self, mut reached: impl FnMut() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !reached() {
            assert!(Instant::now() < end, "it does not come");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn list(memory: &Memory, shelf: &Shelf) -> Vec<(Locator, u64)> {
    let (mut found, mut span) = (Vec::new(), Span::After(Mark(0)));
    loop {
        let page = futures_util::FutureExt::now_or_never(memory.list(shelf, span));
        let page = page.expect("memory answers at once").unwrap();
        found.extend(
            page.entries
                .into_iter()
                .map(|entry| (entry.locator, entry.bytes)),
        );
        match page.next {
            Some(next) => span = Span::After(next),
            None => return found,
        }
    }
}

/// Every pack that the index of `drive` knows must be there.
pub(crate) fn dangling(drive: &Drive, memory: &Memory) {
    let mut there = std::collections::HashSet::new();
    for (shelf, _) in memory.cards() {
        there.extend(
            list(memory, &shelf)
                .into_iter()
                .map(|(locator, _)| locator.0),
        );
    }
    let (from, to) = key::all(b'P');
    for (key, value) in drive.view().scan(&from, &to, usize::MAX).unwrap() {
        let place = PackPlace::decode(&value).unwrap();
        assert!(
            there.contains(&place.locator),
            "pack {:?} is gone",
            &key[1..]
        );
    }
}

pub(crate) fn chosen(
    dir: &Path,
    clock: &Arc<AtomicI64>,
    access: Access,
    linger: Duration,
) -> Settings {
    Settings {
        access,
        clock: Clock::Manual(Arc::clone(clock)),
        linger,
        age_max: linger,
        ..drives::settings(dir)
    }
}

pub(crate) async fn open_with<S: Store>(
    settings: Settings,
    store: &Arc<S>,
) -> Result<Arc<Drive>, Error> {
    let store: Arc<dyn Store> = Arc::clone(store) as Arc<dyn Store>;
    Drive::open(settings, drives::DRIVE, drives::keys(), store, &|_| {}).await
}

/// Collects with a delay; must not be called where async code runs.
pub(crate) fn collect(drive: &Arc<Drive>, delay_s: u64) -> Report {
    let wish = Wish {
        dry_run: false,
        delay_s: Some(delay_s),
        extent: Extent::Full,
    };
    drive.collect(&wish, &Task::new(&|_| Go::On)).unwrap()
}

pub(crate) fn zero(drive: &Drive, ino: InodeNo, start: u64, end: u64) {
    drive
        .change(|change| -> Result<(), Error> {
            change.zero(ino, start, end);
            Ok(())
        })
        .unwrap();
}

/// Takes a file away, content and all.
pub(crate) fn remove(drive: &Drive, ino: InodeNo) {
    drive
        .change(|change| -> Result<(), Error> {
            change.zero(ino, 0, u64::MAX);
            change.delete(key::inode(ino));
            change.delete(key::orphan(ino));
            Ok(())
        })
        .unwrap();
}

/// Takes a file's name away while it is open.
pub(crate) fn orphan(drive: &Drive, ino: InodeNo) {
    drive
        .change(|change| -> Result<(), Error> {
            change.put(key::orphan(ino), Vec::new());
            Ok(())
        })
        .unwrap();
}

/// As `copy_file_range` does.
pub(crate) fn clone(drive: &Drive, from: InodeNo, to: InodeNo, len: u64) {
    drive
        .change(|change| -> Result<(), Error> {
            let mut inode = change.inode(to)?.expect("the file is there");
            for part in change.resolve_before(from, 0, len)? {
                change.lay(to, part.start, &part);
            }
            inode.size = inode.size.max(len);
            change.put_inode(to, &inode);
            Ok(())
        })
        .unwrap();
}

/// Writes more than one change takes.
pub(crate) fn fill(drive: &Drive, ino: InodeNo, bytes: &[u8]) {
    let mut at = 0;
    for some in bytes.chunks(4 << 20) {
        drives::write(drive, ino, at, some);
        at += some.len() as u64;
    }
}
