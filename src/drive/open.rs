//! Opening a drive, which is recovering it; and closing it.

use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::RwLock;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::sync::Notify;

use crate::cache::Cache;
use crate::codec::key::Keys;
use crate::drive::Access;
use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::Settings;
use crate::drive::State;
use crate::drive::aside;
use crate::drive::branch::HeadIs;
use crate::drive::cards::Pace;
use crate::drive::control::Control;
use crate::drive::control::Stop;
use crate::drive::fetch;
use crate::drive::full_disk::cache_gives_way;
use crate::drive::full_disk::least_free;
use crate::drive::identity;
use crate::drive::journal::Head;
use crate::drive::lineage::Lineage;
use crate::drive::lock::lock;
use crate::drive::memory;
use crate::drive::names::Name;
use crate::drive::rebuild::Watch;
use crate::id::ArchiveNo;
use crate::id::DriveId;
use crate::id::InodeNo;
use crate::id::Seq;
use crate::index;
use crate::index::Index;
use crate::index::inode::Inode;
use crate::index::inode::Kind;
use crate::size::MIB;
use crate::spool;
use crate::spool::Spool;
use crate::store::Store;

/// How long a close waits for the store: who closes wants to be gone.
const FAREWELL_MAX: Duration = Duration::from_secs(10);

/// Name of the note of how far the spool was durable, in the state directory.
pub(in crate::drive) const SPOOL_END: &str = "spool.end";

/// Segments that a full spool has at least.
const SEGMENTS_MIN: u64 = 8;

/// Memory that the index may use for its pages, bytes.
pub(in crate::drive) const INDEX_CACHE_BYTES: u64 = 64 * MIB;

/// The first inode number and cookie given out; below it are the root and the offsets of `.` and `..`.
const FIRST_NUMBER: u64 = 16;

/// Opens the index, and tells how far it has followed the journal.
fn open_index(state_dir: &Path) -> Result<(Index, Head), Error> {
    let dir = &aside::in_use(state_dir);
    let open = || {
        let index = Index::open(dir, INDEX_CACHE_BYTES)?;
        let head = index.get(&Head::key())?;
        let head = head.and_then(|value| Head::decode(&value));
        Ok((index, head.unwrap_or_default()))
    };
    match open() {
        Err(index::Error::Damaged(why)) => {
            log::warn!("the index cannot be used ({why}); it is rebuilt from the journal");
            aside::set_damaged_aside(state_dir)?;
            Ok(open()?)
        }
        result => Ok(result?),
    }
}

impl Drive {
    /// Opens a drive: locks the state directory, takes the lease, follows the journal, replays the
    /// spool and starts the drain.
    ///
    /// # Errors
    /// [`Error::State`] for a state directory in use or of another drive, [`Error::Leased`],
    /// [`Error::Forked`], [`Error::Newer`], and whatever disk and store have to say.
    pub async fn open(
        settings: Settings,
        id: DriveId,
        keys: Keys,
        store: Arc<dyn Store>,
        watch: Watch<'_>,
    ) -> Result<Arc<Drive>, Error> {
        Drive::open_until(settings, id, keys, store, watch, &Notify::new()).await
    }

    /// The same, until somebody interrupts it: then a lease that was taken for nothing is given back.
    ///
    /// # Errors
    /// As [`Drive::open`], and [`Error::Interrupted`].
    pub async fn open_until(
        settings: Settings,
        id: DriveId,
        keys: Keys,
        store: Arc<dyn Store>,
        watch: Watch<'_>,
        interrupt: &Notify,
    ) -> Result<Arc<Drive>, Error> {
        let open = || Drive::open_once(&settings, id, &keys, &store, watch, interrupt);
        let drive = match open().await {
            result @ Err((Error::Interrupted, _)) => result,
            // It is marked as damaged now, so this time it is rebuilt.
            Err((_, Some(_))) => open().await,
            Err((Error::Disk(why), None)) if cache_gives_way(&settings) => {
                log::warn!("{why}; the disk is full, so the cache was emptied");
                open().await
            }
            result => result,
        };
        drive.map_err(|(error, _)| error)
    }

    /// Tells, with an error, of damage to the index.
    async fn open_once(
        settings: &Settings,
        id: DriveId,
        keys: &Keys,
        store: &Arc<dyn Store>,
        watch: Watch<'_>,
        interrupt: &Notify,
    ) -> Result<Arc<Drive>, (Error, Option<String>)> {
        let (settings, keys, store) = (settings.clone(), keys.clone(), Arc::clone(store));
        let drive = Drive::assemble(settings, id, keys, store).map_err(|error| (error, None))?;
        let drive = Arc::new(drive);
        drive.this.get_or_init(|| Arc::downgrade(&drive));
        // Left off between two steps, it is as if the second had failed.
        let taken_up = tokio::select! {
            biased;
            () = interrupt.notified() => Err(Error::Interrupted),
            taken_up = drive.take_up(watch) => taken_up,
        };
        if let Err(error) = taken_up {
            let error = drive.explain_no_space(error);
            drive.give_up_anew();
            let is_rival = matches!(error, Error::Forked(_) | Error::TakenOver(_));
            let goes_on_there = is_rival || drive.is_taking_over();
            let through = drive.journal_head().through;
            // Beyond a halt nobody knows what is published. Whoever had changes left kept the lease for them.
            let had_none = matches!(error, Error::Damaged(_)) && !drive.is_lease_kept();
            // A spool that cannot be read may hold changes that wait.
            let has_none = matches!(drive.unpublished(through), Ok(None));
            if goes_on_there || had_none || has_none {
                drop(drive.drop_lease().await);
                if matches!(error, Error::Interrupted) {
                    drop(drive.drop_unheard_lease().await);
                }
            }
            if matches!(error, Error::Interrupted) {
                return Err((error, None));
            }
            return Err((drive.with_damaged_index(error), drive.index.damage()));
        }
        drive.start();
        Ok(drive)
    }

    async fn take_up(self: &Arc<Drive>, watch: Watch<'_>) -> Result<(), Error> {
        let mut head_was = HeadIs::Listed;
        if self.settings.access == Access::Write {
            head_was = self.take_lease(watch).await?;
        }
        self.recover(&head_was, watch).await?;
        self.end_anew()?;
        self.drop_damaged_index()?;
        self.displace_others().await?;
        self.note_passed_over()?;
        self.drop_replaced().await
    }

    fn assemble(
        settings: Settings,
        id: DriveId,
        keys: Keys,
        store: Arc<dyn Store>,
    ) -> Result<Drive, Error> {
        let lock = lock(&settings.state_dir)?;
        let name = identity::of(&settings.state_dir, id)?;
        let epoch_aside = aside::begin(&settings)?;
        let (index, head) = open_index(&settings.state_dir)?;
        let spool_dir = settings.spool_dir();
        let segment_bytes = spool::Settings::default().segment_bytes;
        let spool = spool::Settings {
            // Space comes back by the segment, so a small spool needs small ones.
            segment_bytes: segment_bytes.min(settings.spool_bytes_max / SEGMENTS_MIN),
            limit_bytes: settings.spool_bytes_max,
            reserve_bytes: settings.reserve_bytes,
            least_free_bytes: least_free(&settings.state_dir),
        };
        let spool = Spool::open_noted(&spool_dir, &settings.state_dir.join(SPOOL_END), spool)?;
        // A spool that was given up had records, too.
        let last = spool.usage().appended.max(head.through);
        let lineage = Lineage::read(&settings.state_dir, name, last, settings.copies)?;
        let cache_dir = settings.cache_dir();
        let cache = Cache::open(&cache_dir, settings.cache_bytes_max).map_err(|error| {
            let text = format!("cannot use {}: {error}", cache_dir.display());
            Error::of_local(text, &error)
        })?;
        let state = State {
            gathering: crate::drive::dirty::Dirty::default(),
            frozen: None,
            next_number: FIRST_NUMBER,
            changed: Seq::default(),
            closed: false,
        };
        Ok(Drive {
            id,
            keys,
            clock: settings.clock.clone(),
            state: RwLock::new(state),
            index,
            spool,
            cache,
            memory: memory::Memory::new(settings.memory_bytes_max),
            fetches: fetch::Fetches::default(),
            neighbours: crate::drive::neighbours::Neighbours::default(),
            distrusted: crate::drive::trust::Distrust::default(),
            losses: crate::drive::losses::Losses::default(),
            store,
            cards: crate::drive::cards::Cards::default(),
            this: std::sync::OnceLock::new(),
            threads: Mutex::default(),
            runtime: tokio::runtime::Handle::current(),
            control: Control::default(),
            errands: crate::drive::errand::Errands::default(),
            imports: crate::drive::turn::Turns::default(),
            tending: crate::drive::gc::Tending::default(),
            head: Mutex::new(head),
            last_look: crate::drive::beside::LastLook::default(),
            lease: Mutex::new(None),
            ahead: tokio::sync::Semaphore::new(crate::drive::readahead::GROUPS_MAX),
            lease_kept: AtomicBool::new(false),
            damaged: Mutex::default(),
            damaged_paths: Mutex::default(),
            lineage,
            epoch_aside,
            settings,
            _lock: lock,
        })
    }

    /// Makes the root directory of a drive that has none.
    pub(in crate::drive) fn make_root(&self) -> Result<(), Error> {
        let (uid, gid) = self.settings.owner;
        let make = |change: &mut crate::drive::Change<'_>| -> Result<(), Error> {
            let now = change.now();
            let root = Inode {
                kind: Kind::Directory,
                mode: 0o755,
                uid,
                gid,
                rdev: 0,
                nlink: 2,
                size: 0,
                stored: 0,
                atime: now,
                mtime: now,
                ctime: now,
                btime: now,
                archive: ArchiveNo(0),
                parent: InodeNo::ROOT,
                xattrs: 0,
            };
            change.put_inode(InodeNo::ROOT, &root);
            crate::drive::archive::create_first(change)
        };
        match self.settings.access {
            Access::Write => self.change(make),
            Access::Read => Err(Error::State(String::from(
                "nothing was ever written to this drive, so there is nothing to read or to check yet; mount it once, without `ro`",
            ))),
        }
    }

    /// Refuses changes, stops the drain, seals the spool, and gives the lease back, unless something is left in the
    /// spool, which stays there for the next time; call [`Drive::flush`] before to have none left. Safe to call twice.
    pub async fn close(&self) {
        // A change that came after the lease is given back would fork the drive.
        self.refuse_changes();
        self.control.post(|board| board.stop = Stop::Now);
        if let Some(drive) = self.shared() {
            drop(tokio::task::spawn_blocking(move || drive.await_publisher()).await);
        }
        self.seal_spool().await;
        let farewell = async {
            if self.control.board().error.is_none() {
                self.edit_cards(Pace::All).await;
            }
            match self.has_unpublished() {
                true => Ok(()),
                false => self.drop_lease().await,
            }
        };
        let answered = tokio::time::timeout(FAREWELL_MAX, farewell).await;
        if let Err(error) = answered.unwrap_or(Err(Error::Timeout(FAREWELL_MAX))) {
            log::warn!(
                "the lease could not be given back: {error}; the next mount from another machine needs --takeover"
            );
        }
        // The cards may have left a fact.
        self.seal_spool().await;
    }

    /// Seals what the spool holds, so that every harm to it can be told from a write that never ended.
    pub async fn seal_spool(&self) {
        let Some(drive) = self.shared() else { return };
        let sealing = tokio::task::spawn_blocking(move || {
            if let Err(error) = drive.spool.seal() {
                log::warn!("the spool could not be sealed: {error}");
            }
        });
        drop(sealing.await);
    }

    /// Do changes wait here that may still be published? Then the lease stays: another machine that went on
    /// without them would leave them nowhere to go. It can take over, and is told whose changes it gives up.
    fn has_unpublished(&self) -> bool {
        let changed = self.unpublished_through();
        let board = self.control.board();
        let is_lost = matches!(
            board.read_only,
            Some(Error::Forked(_) | Error::TakenOver(_))
        );
        let waits = changed > board.published && !is_lost;
        if waits && self.settings.access == Access::Write {
            log::info!(
                "the lease is kept, as changes wait in the spool: the next mount here brings them to the store"
            );
        }
        waits
    }

    /// Brings the spool to the disk and waits for the publisher's end.
    fn await_publisher(&self) {
        if let Err(error) = self.spool.sync() {
            log::warn!("the spool could not be brought to the disk: {error}");
        }
        let mut board = self.control.board();
        while !board.publisher_gone || self.tending.is_under_way() {
            board = self.control.wait(board, Duration::from_millis(100));
        }
        drop(board);
        // They said so a moment before they let go of the drive. A panic was told when it happened.
        let threads = std::mem::take(&mut *self.threads());
        threads.into_iter().for_each(|thread| drop(thread.join()));
    }

    /// Leases are only put by whoever mounts; this tells which objects on the journal shelf are superblocks.
    #[must_use]
    pub fn is_superblock(name: &str) -> Option<u64> {
        match Name::parse(name)? {
            Name::Superblock { generation, .. } => Some(generation),
            Name::Part(_) | Name::Lease { .. } => None,
        }
    }
}
