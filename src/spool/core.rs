//! The working parts of the spool, and its front end: appending, and rolling over to the next segment.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU32, AtomicU64, Ordering},
        mpsc::Sender,
    },
};

use lru::LruCache;

use super::{
    Error, Place, Settings,
    commit::Commit,
    end::End,
    medium::{Data, Medium, write_all},
    record::{BodySum, FILE_HEADER_BYTES, Header, Kind, Salt, SpoolId, encode_file_header},
    recover::{Ending, name},
    segment::Segment,
    upkeep::{Job, Surplus, Unnamed},
};
use crate::id::Seq;
use crate::size::MIB;

/// Sealed segments that are kept open: covers the default limit without coming near a process's 1,024 files.
const OPEN_FILES_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(191);
/// Between looks at the disk's free space.
const FREE_LOOK_BYTES: u64 = 16 * MIB;
/// Written before the background starts an fdatasync, so that a later sync finds little left to do.
pub(super) const BACKGROUND_SYNC_BYTES: u64 = 16 * MIB;
/// Records without a body may go this far over the limit and into the reserve: a full drive can still be tidied up.
const HEADROOM_BYTES: u64 = 64 * MIB;

pub(super) struct Core {
    pub(super) settings: Settings,
    pub(super) commit: Commit,
    pub(super) segments: RwLock<BTreeMap<u32, Arc<Segment>>>,
    pub(super) totals: Totals,
    pub(super) medium: Box<dyn Medium>,
    id: SpoolId,
    /// Lock order: appender, prepared, unnamed, segments, commit, one segment, put off, files.
    pub(super) appender: Mutex<Option<Appender>>,
    pub(super) prepared: Mutex<Option<Fresh>>,
    /// Segments that wait to be sealed for their names alone, oldest first.
    pub(super) unnamed: Mutex<VecDeque<Unnamed>>,
    pub(super) files: Mutex<LruCache<u32, Arc<dyn Data>>>,
    number: AtomicU32,
    /// Segment of the newest record: its number must survive, whatever else is cut.
    pub(super) newest: AtomicU32,
    pub(super) through: AtomicU64,
    /// What is given back when more is durable, and how much that is.
    pub(super) put_off: Mutex<Vec<Surplus>>,
    pub(super) put_off_bytes: AtomicU64,
    pub(super) jobs: Option<Sender<Job>>,
}

#[derive(Default)]
pub(super) struct Totals {
    pub(super) disk_bytes: AtomicU64,
    pub(super) live_bytes: AtomicU64,
    pub(super) records: AtomicU64,
}

pub(super) struct Appender {
    pub(super) segment: Arc<Segment>,
    data: Arc<dyn Data>,
    pub(super) position: u64,
    /// May be written before the disk's free space is looked at again.
    free: u64,
    /// Written since the background was last asked to sync.
    unasked: u64,
    /// Has the next segment been asked for?
    next: Next,
}

#[derive(PartialEq, Eq)]
enum Next {
    Unasked,
    Asked,
}

pub(super) struct Fresh {
    pub(super) segment: Arc<Segment>,
    data: Arc<dyn Data>,
}

/// How far beyond the spool's limit and into the disk's reserve a record may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Nowhere.
    Limit,
    /// Some way, as what has no body does: it may be what makes room.
    Headroom,
    /// As far as the disk goes, but for the least that has to stay free.
    Disk,
}

impl Core {
    pub(super) fn new(
        medium: Box<dyn Medium>,
        settings: Settings,
        id: SpoolId,
        found: &super::recover::Found,
        end: Option<End>,
        jobs: Option<Sender<Job>>,
    ) -> Core {
        let numbered = found
            .segments
            .iter()
            .map(|one| (one.number, Arc::clone(one)));
        let newest = found.segments.iter().rfind(|one| one.last() > Seq(0));
        Core {
            settings,
            commit: Commit::new(found.last, found.synced, found.unsealed.clone(), end),
            totals: Totals {
                disk_bytes: AtomicU64::new(found.disk_bytes),
                live_bytes: AtomicU64::new(0),
                records: AtomicU64::new(found.records),
            },
            medium,
            id,
            appender: Mutex::new(None),
            prepared: Mutex::new(None),
            unnamed: Mutex::default(),
            files: Mutex::new(LruCache::new(OPEN_FILES_MAX)),
            number: AtomicU32::new(found.number_max),
            newest: AtomicU32::new(newest.map_or(0, |one| one.number)),
            segments: RwLock::new(numbered.collect()),
            through: AtomicU64::new(0),
            put_off: Mutex::default(),
            put_off_bytes: AtomicU64::new(0),
            jobs,
        }
    }

    pub(super) fn append(
        &self,
        head: &[u8],
        body: &[u8],
        reach: Reach,
    ) -> Result<(Seq, Place), Error> {
        // Whoever tries again and again has not its bytes read each time.
        self.check_limit(body.len() as u64, reach)?;
        let sum = BodySum::of(body);
        let lengths = (u32::try_from(head.len()), u32::try_from(body.len()));
        let (Ok(head_len), Ok(body_len)) = lengths else {
            return Err(Error::TooLong);
        };
        let mut appender = lock(&self.appender);
        let header = Header {
            kind: Kind::Record,
            seq: Seq(self.commit.appended().0 + 1),
            synced: self.commit.synced(),
            head_len,
            body_len,
            body_crc: sum.crc,
        };
        let place = self.write(&mut appender, &header, [head, &sum.table, body], reach)?;
        Ok((header.seq, place))
    }

    /// Uses up all numbers to `seq`.
    pub(super) fn skip_to(&self, seq: Seq) -> Result<(), Error> {
        let mut appender = lock(&self.appender);
        if seq <= self.commit.appended() {
            return Ok(());
        }
        self.write_skip(&mut appender, seq)
    }

    /// Takes down that numbers were used by records that are lost.
    pub(super) fn skip_lost(&self) -> Result<(), Error> {
        let mut appender = lock(&self.appender);
        self.write_skip(&mut appender, self.commit.appended())
    }

    pub(super) fn write_skip(
        &self,
        appender: &mut Option<Appender>,
        seq: Seq,
    ) -> Result<(), Error> {
        let header = Header {
            kind: Kind::Skip,
            seq,
            synced: self.commit.synced(),
            head_len: 0,
            body_len: 0,
            body_crc: crc32fast::hash(&[]),
        };
        self.write(appender, &header, [&[], &[], &[]], Reach::Headroom)
            .map(drop)
    }

    fn write(
        &self,
        appender: &mut Option<Appender>,
        header: &Header,
        [head, table, body]: [&[u8]; 3],
        reach: Reach,
    ) -> Result<Place, Error> {
        self.commit.check()?;
        let bytes = header.record_bytes();
        self.check_limit(bytes, reach)?;
        let active = self.active(appender, bytes)?;
        self.check_free(active, bytes, reach)?;
        let position = active.position;
        let first = header.encode(active.segment.salt, position, head);
        if let Err(source) = write_all(&*active.data, position, &[&first, head, table, body]) {
            // What is half there must not be taken for a record, now or after a crash.
            if active.data.truncate(position).is_err() {
                self.commit.poison();
            }
            active.free = 0;
            return Err(Error::from_write("appending a record", source));
        }
        let place = Place::new(active.segment.number, position, header);
        active.position += bytes;
        active.free = active.free.saturating_sub(bytes);
        active.unasked += bytes;
        active.segment.appended(header.seq, &place);
        self.newest.store(active.segment.number, Ordering::Release);
        self.commit.note_appended(header.seq);
        self.totals.disk_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.totals
            .live_bytes
            .fetch_add(u64::from(place.body_len), Ordering::Relaxed);
        self.totals.records.fetch_add(1, Ordering::Relaxed);
        self.ask_background(active);
        Ok(place)
    }

    fn ask_background(&self, active: &mut Appender) {
        if active.next == Next::Unasked && active.position > self.settings.segment_bytes / 2 {
            active.next = Next::Asked;
            self.submit(Job::Prepare);
        }
        if active.unasked >= BACKGROUND_SYNC_BYTES {
            active.unasked = 0;
            self.submit(Job::Sync);
        }
    }

    fn check_limit(&self, bytes: u64, reach: Reach) -> Result<(), Error> {
        let headroom = match reach {
            Reach::Limit => 0,
            Reach::Headroom => HEADROOM_BYTES,
            Reach::Disk => return Ok(()),
        };
        let used = self.totals.disk_bytes.load(Ordering::Relaxed);
        if used + bytes > self.settings.limit_bytes.saturating_add(headroom) {
            return Err(Error::Full);
        }
        Ok(())
    }

    fn check_free(&self, active: &mut Appender, bytes: u64, reach: Reach) -> Result<(), Error> {
        if active.free >= bytes {
            return Ok(());
        }
        let free = self.medium.free_bytes().map_err(|source| Error::Io {
            doing: "asking for the disk's free space",
            source,
        })?;
        let (reserve, least) = (self.settings.reserve_bytes, self.settings.least_free_bytes);
        // What has no body goes on longer: a name that is removed is how a full disk gets room again.
        let kept = match reach {
            Reach::Limit => reserve.max(least),
            Reach::Headroom => reserve.saturating_sub(HEADROOM_BYTES).max(least / 2),
            Reach::Disk => least,
        };
        let usable = free.saturating_sub(kept);
        if usable < bytes {
            return Err(Error::Full);
        }
        active.free = match reach {
            Reach::Limit | Reach::Headroom => usable.min(FREE_LOOK_BYTES.max(bytes)),
            // The next one may not go so far.
            Reach::Disk => bytes,
        };
        Ok(())
    }

    /// The segment to append to: the present one, or a fresh one if it is full or there is none.
    fn active<'a>(
        &self,
        appender: &'a mut Option<Appender>,
        bytes: u64,
    ) -> Result<&'a mut Appender, Error> {
        let full = appender.as_ref().is_some_and(|active| {
            active.position > FILE_HEADER_BYTES
                && active.position + bytes > self.settings.segment_bytes
        });
        if full || appender.is_none() {
            self.roll(appender)?;
        }
        appender.as_mut().ok_or(Error::Poisoned)
    }

    pub(super) fn roll(&self, appender: &mut Option<Appender>) -> Result<(), Error> {
        let prepared = lock(&self.prepared).take();
        let Fresh { segment, data } = match prepared {
            Some(fresh) => fresh,
            None => self.create()?,
        };
        write_lock(&self.segments).insert(segment.number, Arc::clone(&segment));
        self.commit.note_active(Arc::clone(&segment));
        self.totals
            .disk_bytes
            .fetch_add(FILE_HEADER_BYTES, Ordering::Relaxed);
        let before = appender.replace(Appender {
            segment,
            data,
            position: FILE_HEADER_BYTES,
            free: 0,
            unasked: 0,
            next: Next::Unasked,
        });
        if let Some(before) = before {
            self.submit(Job::Seal(before.segment));
        }
        Ok(())
    }

    /// Makes a segment file whose name and header are durable before it is used.
    pub(super) fn create(&self) -> Result<Fresh, Error> {
        let number = self.number.fetch_add(1, Ordering::Relaxed) + 1;
        let name = name(number, Ending::Open);
        let make = || -> io::Result<Arc<dyn Data>> {
            let data = self.medium.create(&name)?;
            write_all(&*data, 0, &[&encode_file_header(self.id, number)])?;
            data.sync()?;
            self.medium.sync_names()?;
            Ok(data)
        };
        let data = make().map_err(|source| {
            // A leftover is removed when the spool is opened next time.
            let _ = self.medium.remove(&name);
            Error::from_write("making a segment", source)
        })?;
        let salt = Salt::new(self.id, number);
        let segment = Arc::new(Segment::new(
            number,
            salt,
            Arc::clone(&data),
            FILE_HEADER_BYTES,
        ));
        Ok(Fresh { segment, data })
    }

    /// The file of a segment.
    pub(super) fn data(&self, segment: &Segment) -> io::Result<Arc<dyn Data>> {
        if let Some(data) = segment.data() {
            return Ok(data);
        }
        let mut files = lock(&self.files);
        if let Some(data) = files.get(&segment.number) {
            return Ok(Arc::clone(data));
        }
        let data = self.medium.open(&name(segment.number, Ending::Sealed))?;
        files.put(segment.number, Arc::clone(&data));
        Ok(data)
    }

    pub(super) fn retain(&self, segment: &Segment, place: &Place, len: u64) -> Result<(), Error> {
        segment.retain(place, len)?;
        self.totals.live_bytes.fetch_add(len, Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn release(&self, segment: &Arc<Segment>, place: &Place, len: u64) {
        self.totals.live_bytes.fetch_sub(len, Ordering::Relaxed);
        if let Some(hole) = segment.release(place, len) {
            self.dig_later(segment, vec![hole]);
        }
        self.remove_if_dead(segment);
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn read_lock<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn write_lock<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
