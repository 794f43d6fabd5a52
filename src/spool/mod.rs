//! The spool: the local log that every change is written to before anything else happens to it.
//!
//! It is ignorant of meaning. A record is a *head*, small and opaque, and a *body*, the data bytes of a
//! write; it gets the next number ([`Seq`]) and a [`Place`] from which the body can be read until it is
//! released. Files are described in `record.rs`, what a crash can leave in `recover.rs`.
//!
//! | after | holds |
//! | --- | --- |
//! | [`Spool::append`] returned | `kill -9` does not lose the record |
//! | [`Spool::sync`] returned | a power cut does not lose any record that was appended before the call |
//! | [`Spool::append`] failed | the record was not appended, in no part, and later ones can be |
//! | a power cut | what [`Spool::replay`] gives is a prefix of what was appended |
//! | [`Spool::seal`] or [`Spool::close`] returned | whatever the disk loses later is told by replay or by reading |
//!
//! Why the last two lines are compatible with the second: a sync makes *all* records before it durable, in
//! order of segments. So when recovery meets the first record that is missing or broken in a segment that was
//! not sealed, no sync can have covered it, nor anything behind it, and the log may end there.
//!
//! Space: each body counts its live bytes. `append` makes all of them live, [`Spool::release`] and
//! [`Spool::retain`] take away and add. A sealed segment gives back the space of its dead bodies of 64 KiB and
//! more, and all of it when everything in it is dead and [`Spool::cut`] has passed it: as soon as everything
//! that was appended before is durable.

mod commit;
mod core;
mod end;
#[cfg(any(fuzzing, debug_assertions))]
#[doc(hidden)]
pub mod fuzzing;
mod medium;
mod read;
mod record;
mod recover;
mod replay;
mod segment;
mod sys;
mod upkeep;
mod walk;
mod words;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{Arc, Mutex, atomic::Ordering, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use bytes::Bytes;

use self::{
    core::{Core, Reach, read_lock},
    end::{End, Known},
    medium::{Data, Directory, Medium},
    recover::Tail,
    segment::Segment,
    upkeep::Job,
};
pub use self::{
    read::Hold,
    record::{BODY_BYTES_MAX, HEAD_BYTES_MAX},
    words::{Error, Place, Replayed, Settings, Usage},
};
use crate::id::Seq;

/// Bytes that may still be written on the disk that holds this path.
///
/// # Errors
/// What the system says.
pub fn free_bytes(path: &Path) -> std::io::Result<u64> {
    sys::free_bytes(path)
}

/// Bytes of the disk that holds `path`.
///
/// # Errors
/// What the system says.
pub fn disk_bytes(path: &Path) -> std::io::Result<u64> {
    sys::disk_bytes(path)
}

/// An append-only log in a directory of its own. All methods may be called from many threads.
pub struct Spool {
    core: Arc<Core>,
    thread: Option<JoinHandle<()>>,
    /// The last segment that was there when the spool was opened.
    recovered: u32,
    /// The last record that must be there.
    known: Seq,
    /// Is the end of the log lost, and not yet told by a record behind it?
    tail: Mutex<Tail>,
    dropped_bytes: u64,
}

impl Spool {
    /// Opens the spool in `dir`, makes it if it is not there, recovers it if it was not closed.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Newer`] if it was written by a later version.
    pub fn open(dir: &Path, settings: Settings) -> Result<Spool, Error> {
        Spool::open_with(dir, None, settings)
    }

    /// The same, with a note of how far the log was durable in a file outside of `dir`: so that the loss of
    /// whole segments, and damage to the last records of a log that was not closed, are not silent.
    ///
    /// # Errors
    /// As [`Spool::open`].
    pub fn open_noted(dir: &Path, end: &Path, settings: Settings) -> Result<Spool, Error> {
        let end = end::open(end).map_err(|source| Error::Io {
            doing: "opening the note of the spool's end",
            source,
        })?;
        Spool::open_with(dir, Some(end), settings)
    }

    fn open_with(
        dir: &Path,
        end: Option<Arc<dyn Data>>,
        settings: Settings,
    ) -> Result<Spool, Error> {
        let medium = Directory::open(dir).map_err(|source| Error::Io {
            doing: "opening the spool's directory",
            source,
        })?;
        let (sender, jobs) = mpsc::channel();
        let mut spool = Spool::recover_noted(Box::new(medium), end, settings, Some(sender))?;
        let core = Arc::clone(&spool.core);
        let thread = std::thread::Builder::new()
            .name("spool".into())
            .spawn(move || {
                let work = AssertUnwindSafe(|| {
                    let jobs = jobs.iter().take_while(|job| !matches!(job, Job::Stop));
                    jobs.for_each(|job| core.run(job));
                });
                if catch_unwind(work).is_err() {
                    core.commit.poison();
                }
            });
        spool.thread = Some(thread.map_err(|source| Error::Io {
            doing: "starting the spool's thread",
            source,
        })?);
        Ok(spool)
    }

    /// Opens a spool on any medium; without a channel, the background's work is done at once.
    #[cfg(any(test, fuzzing, debug_assertions))]
    fn recover(
        medium: Box<dyn Medium>,
        settings: Settings,
        jobs: Option<mpsc::Sender<Job>>,
    ) -> Result<Spool, Error> {
        Spool::recover_noted(medium, None, settings, jobs)
    }

    /// The same, with the file of the note of its end.
    fn recover_noted(
        medium: Box<dyn Medium>,
        end: Option<Arc<dyn Data>>,
        settings: Settings,
        jobs: Option<mpsc::Sender<Job>>,
    ) -> Result<Spool, Error> {
        let known = end.as_deref().and_then(end::read);
        let found = recover::recover(&*medium, known)?;
        let id = match found.id {
            Some(id) => id,
            None => random_id()?,
        };
        let synced = found.known.max(found.synced);
        let end = end.and_then(|data| {
            End::begin(data, Known { id, synced })
                .inspect_err(|fault| log::warn!("spool: its end cannot be noted: {fault}"))
                .ok()
        });
        let core = Arc::new(Core::new(medium, settings, id, &found, end, jobs));
        for segment in found.unsealed {
            core.submit(Job::Seal(segment));
        }
        Ok(Spool {
            core,
            thread: None,
            recovered: found.number_max,
            known: found.known,
            tail: Mutex::new(found.tail),
            dropped_bytes: found.dropped_bytes,
        })
    }

    /// Bytes that recovery dropped from the end of the log because they were torn: no sync is known to have
    /// covered them.
    #[must_use]
    pub fn dropped_bytes(&self) -> u64 {
        self.dropped_bytes
    }

    /// Makes the next record's number greater than `seq`. For a drive whose published state is newer than what
    /// is left of its spool.
    ///
    /// # Errors
    /// As [`Spool::append`].
    pub fn number_after(&self, seq: Seq) -> Result<(), Error> {
        self.core.skip_to(seq)
    }

    /// Appends a record; its whole body is live.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::TooLong`], [`Error::Poisoned`] or [`Error::Io`]; in each case nothing was
    /// appended. A record without a body may go 64 MiB over the limit and into the reserve.
    pub fn append(&self, head: &[u8], body: &[u8]) -> Result<(Seq, Place), Error> {
        check_lengths(head, body)?;
        let reach = match body.is_empty() {
            true => Reach::Headroom,
            false => Reach::Limit,
        };
        self.core.append(head, body, reach)
    }

    /// Appends a record beyond the limit and into the reserve, as far as the disk goes: for bytes that would be lost
    /// if they were refused.
    ///
    /// # Errors
    /// As [`Spool::append`].
    pub fn append_over(&self, head: &[u8], body: &[u8]) -> Result<(Seq, Place), Error> {
        check_lengths(head, body)?;
        self.core.append(head, body, Reach::Disk)
    }

    /// Makes everything durable that was appended before the call.
    ///
    /// # Errors
    /// [`Error::Io`] for who noticed, [`Error::Poisoned`] for all others and from then on.
    pub fn sync(&self) -> Result<(), Error> {
        self.core.sync()
    }

    /// Is anything appended still, or has the disk failed to make durable what was?
    ///
    /// # Errors
    /// [`Error::Poisoned`].
    pub fn check(&self) -> Result<(), Error> {
        self.core.commit.check()
    }

    /// As if the disk had failed to make something durable.
    #[cfg(test)]
    pub(crate) fn poison(&self) {
        self.core.commit.poison();
    }

    /// Reads `len` bytes of a body, `skip` bytes into it, and verifies them.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::Gone`] or [`Error::Io`].
    pub fn read(&self, place: &Place, skip: u32, len: u32) -> Result<Bytes, Error> {
        let segment = self.segment(place)?;
        read::read(&self.core, &segment, place, skip, len)
    }

    /// Keeps a body readable until the answer is dropped, whatever is released and cut meanwhile.
    ///
    /// # Errors
    /// [`Error::Gone`] if it is already released.
    pub fn hold(&self, place: &Place) -> Result<Hold, Error> {
        let segment = self.segment(place)?;
        Hold::new(&self.core, segment, place)
    }

    /// Adds references to `len` bytes of a body: another file shares them, or replay found them needed.
    ///
    /// # Errors
    /// [`Error::Gone`] if the body is already released in full.
    pub fn retain(&self, place: &Place, len: u64) -> Result<(), Error> {
        self.core.retain(&*self.segment(place)?, place, len)
    }

    /// Takes references to `len` bytes of a body away.
    pub fn release(&self, place: &Place, len: u64) {
        if let Ok(segment) = self.segment(place) {
            self.core.release(&segment, place, len);
        }
    }

    /// Records up to `through` are not needed for replay any more. Segments that end before it, and have no
    /// live bytes now or later, are removed.
    ///
    /// # Errors
    /// As [`Spool::append`].
    pub fn cut(&self, through: Seq) -> Result<(), Error> {
        self.core.cut(through)
    }

    /// Gives back all space that nobody needs, and waits for it at most so long: the disk may be slow to seal
    /// what is complete, and before that nothing of it is given back.
    pub fn give_back(&self, most: Duration) {
        let (done, told) = mpsc::channel();
        self.core.submit(Job::GiveBackAll(done));
        // Whether it failed or takes longer: the caller sees whether there is room.
        let _ = told.recv_timeout(most);
    }

    /// What the spool holds.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let totals = &self.core.totals;
        Usage {
            disk_bytes: totals.disk_bytes.load(Ordering::Relaxed),
            live_bytes: totals.live_bytes.load(Ordering::Relaxed),
            records: totals.records.load(Ordering::Relaxed),
            segments: read_lock(&self.core.segments).len() as u64,
            limit_bytes: self.core.settings.limit_bytes,
            appended: self.core.commit.appended(),
            synced: self.core.commit.synced(),
            data_syncs: self.core.commit.data_syncs(),
        }
    }

    /// Makes everything durable and stops the background. Dropping a spool does the same and logs a failure.
    ///
    /// # Errors
    /// As [`Spool::sync`].
    pub fn close(mut self) -> Result<(), Error> {
        self.stop();
        self.core.close()
    }

    /// Makes everything durable and seals it, so that any harm to it is noticed from then on. The spool can be
    /// used as before.
    ///
    /// # Errors
    /// As [`Spool::sync`].
    pub fn seal(&self) -> Result<(), Error> {
        let (done, told) = mpsc::channel();
        // Behind what the background has still to seal: segments are sealed in order.
        self.core.submit(Job::Close(done));
        told.recv().unwrap_or(Err(Error::Poisoned))
    }

    fn stop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.core.submit(Job::Stop);
            if thread.join().is_err() {
                log::error!("the spool's thread has panicked");
            }
        }
    }

    fn segment(&self, place: &Place) -> Result<Arc<Segment>, Error> {
        let gone = Error::Gone {
            segment: place.segment,
            position: place.position,
        };
        let segments = read_lock(&self.core.segments);
        segments.get(&place.segment).cloned().ok_or(gone)
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.stop();
        if let Err(fault) = self.core.close() {
            log::error!("closing the spool: {fault}");
        }
    }
}

fn check_lengths(head: &[u8], body: &[u8]) -> Result<(), Error> {
    let is_short = head.len() <= HEAD_BYTES_MAX as usize && body.len() <= BODY_BYTES_MAX as usize;
    is_short.then_some(()).ok_or(Error::TooLong)
}

fn random_id() -> Result<record::SpoolId, Error> {
    let mut id = record::SpoolId::default();
    getrandom::fill(&mut id).map_err(|fault| Error::Io {
        doing: "asking for random bytes",
        source: std::io::Error::other(fault.to_string()),
    })?;
    Ok(id)
}

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod double;
#[cfg(test)]
mod tests {
    use super::*;
    use crate::size::MIB;

    #[test]
    fn what_is_appended_is_replayed() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let spool = Spool::open(dir.path(), Settings::default()).expect("new spool");
        let body = vec![7; 200_000];
        let (seq, place) = spool.append(b"head", &body).expect("room");
        assert_eq!(seq, Seq(1));
        assert_eq!(
            spool.read(&place, 65_530, 70_000).expect("whole"),
            body[..70_000]
        );
        spool.sync().expect("good disk");
        spool.close().expect("good disk");

        let spool = Spool::open(dir.path(), Settings::default()).expect("same spool");
        let mut seen = 0;
        spool
            .replay(|found| {
                assert_eq!(
                    found,
                    Replayed::Record {
                        seq,
                        head: b"head",
                        place
                    }
                );
                seen += 1;
                spool.retain(&place, 200_000)
            })
            .expect("whole");
        assert_eq!(seen, 1);
        assert_eq!(spool.append(b"", b"").expect("room").0, Seq(2));
        assert_eq!(spool.read(&place, 0, 200_000).expect("whole"), body);
        spool.reclaim();
        spool.release(&place, 200_000);
        spool.cut(Seq(2)).expect("good disk");
        assert_eq!(spool.usage().live_bytes, 0);
        assert_eq!(spool.usage().segments, 1);
    }
    #[test]
    fn released_space_is_given_back_and_held_bodies_stay() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let settings = Settings {
            segment_bytes: 4 * MIB,
            ..Settings::default()
        };
        let spool = Spool::open(dir.path(), settings).expect("new spool");
        let body = vec![9; usize::try_from(MIB).expect("64 bits")];
        let places: Vec<Place> = (0..9)
            .map(|_| spool.append(b"data", &body).expect("room").1)
            .collect();
        let full = spool.usage().disk_bytes;
        let hold = spool.hold(&places[0]).expect("live");
        for place in &places {
            spool.release(place, MIB / 2);
            spool.release(place, MIB / 2);
        }
        spool.cut(Seq(9)).expect("good disk");
        assert_eq!(hold.read(5, 10).expect("held"), body[..10]);
        assert_eq!(spool.usage().live_bytes, MIB);
        drop(hold);
        spool.give_back(Duration::from_secs(60));
        assert!(matches!(
            spool.read(&places[0], 0, 1),
            Err(Error::Gone { .. } | Error::Damaged { .. })
        ));
        spool.close().expect("good disk");

        let spool = Spool::open(dir.path(), settings).expect("same spool");
        spool.replay(|_| Ok::<(), Error>(())).expect("whole");
        spool.reclaim();
        spool.cut(Seq(9)).expect("good disk");
        assert!(spool.usage().disk_bytes < full / 100, "{:?}", spool.usage());
        assert_eq!(spool.append(b"", b"").expect("room").0, Seq(10));
    }

    #[test]
    fn what_would_be_lost_otherwise_goes_over_the_limit_as_far_as_the_disk_does() {
        let settings = Settings {
            segment_bytes: 4 * MIB,
            limit_bytes: 2 * MIB,
            reserve_bytes: 4 * MIB,
            least_free_bytes: MIB,
        };
        let body = vec![9; usize::try_from(MIB).expect("64 bits")];
        let medium = double::Double::default();
        medium.world().capacity = Some(12 * MIB);
        let spool = Spool::recover(Box::new(medium), settings, None).expect("new spool");
        spool.append(b"data", &body).expect("room");
        let mut over = Vec::new();
        let full = loop {
            match spool.append_over(b"data", &body) {
                Ok((_, place)) => over.push(place),
                Err(error) => break error,
            }
            // Nobody else profits from it.
            assert!(matches!(spool.append(b"data", &body), Err(Error::Full)));
        };
        assert!(matches!(full, Error::Full), "{full}");
        // Ten of twelve: one is left free, and headers need some of another.
        assert_eq!(over.len() + 1, 10);
        for place in &over {
            assert_eq!(spool.read(place, 0, 9).expect("kept"), body[..9]);
        }
    }

    #[test]
    fn room_that_the_disk_is_slow_to_give_back_can_be_waited_for() {
        let (sender, jobs) = mpsc::channel();
        let settings = Settings {
            segment_bytes: 4 * MIB,
            limit_bytes: 8 * MIB,
            ..Settings::default()
        };
        let medium = Box::new(double::Double::default());
        let spool = Spool::recover(medium, settings, Some(sender)).expect("new spool");
        let body = vec![9; usize::try_from(MIB).expect("64 bits")];
        let places: Vec<Place> = (0..7)
            .map(|_| spool.append(b"data", &body).expect("room").1)
            .collect();
        for place in &places {
            spool.release(place, MIB);
        }
        spool.cut(Seq(7)).expect("good disk");
        // Nothing in it is needed, and nothing of it is given back before the background gets to it.
        assert!(matches!(spool.append(b"data", &body), Err(Error::Full)));
        let core = Arc::clone(&spool.core);
        let background = std::thread::spawn(move || {
            for job in jobs.iter().take_while(|job| !matches!(job, Job::Stop)) {
                core.run(job);
            }
        });
        spool.give_back(Duration::from_secs(3600));
        for _ in 0..6 {
            spool.append(b"data", &body).expect("there is room");
        }
        spool.core.submit(Job::Stop);
        background.join().expect("no panic");
    }

    #[test]
    fn dead_bodies_of_a_sealed_segment_free_the_disk_before_the_cut() {
        let disk = double::Double::default();
        let settings = Settings {
            segment_bytes: 4 * MIB,
            ..Settings::default()
        };
        let spool = Spool::recover(Box::new(disk.clone()), settings, None).expect("new spool");
        let body = vec![9; usize::try_from(MIB).expect("64 bits")];
        let places: Vec<Place> = (0..8)
            .map(|_| spool.append(b"data", &body).expect("room").1)
            .collect();
        let before = spool.usage().disk_bytes;
        spool.release(&places[1], MIB - 1);
        assert_eq!(spool.usage().disk_bytes, before);
        spool.release(&places[1], 1);
        assert!(spool.usage().disk_bytes < before - MIB + 10_000);
        assert!(matches!(spool.hold(&places[1]), Err(Error::Gone { .. })));
        assert_eq!(spool.read(&places[0], 0, 9).expect("untouched"), body[..9]);
        // A hole is no damage: everything is replayed, with its head.
        let disk = disk.crashed(double::Crash::PowerRandom(3));
        let spool = Spool::recover(Box::new(disk), settings, None).expect("opens");
        let mut seqs = Vec::new();
        let replayed = spool.replay(|one| {
            match one {
                Replayed::Record { seq, .. } => seqs.push(seq.0),
                Replayed::Missing { .. } => panic!("nothing sealed is missing"),
            }
            Ok::<(), Error>(())
        });
        replayed.expect("whole");
        assert!(
            seqs.len() >= 3 && seqs.iter().copied().eq(1..=seqs.len() as u64),
            "{seqs:?}"
        );
    }

    #[test]
    fn one_hole_that_the_disk_refuses_keeps_no_other_from_being_made() {
        let disk = double::Double::default();
        let settings = Settings {
            segment_bytes: 4 * MIB,
            ..Settings::default()
        };
        let spool = Spool::recover(Box::new(disk.clone()), settings, None).expect("new spool");
        let body = vec![9; usize::try_from(MIB).expect("64 bits")];
        let places: Vec<Place> = (0..6)
            .map(|_| spool.append(b"data", &body).expect("room").1)
            .collect();
        for place in &places[..2] {
            spool.release(place, MIB);
        }
        disk.world().failing_punches = 1;
        spool.sync().expect("good disk");
        let middles = places[..3].iter().map(|place| {
            let at = usize::try_from(place.position + MIB / 2).expect("64 bits");
            disk.with_file("00000001.seg", |bytes| bytes[at])
        });
        assert_eq!(middles.collect::<Vec<u8>>(), [9, 0, 9]);
    }

    #[test]
    fn threads_append_sync_read_and_release() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let settings = Settings {
            segment_bytes: 256 * 1024,
            ..Settings::default()
        };
        let spool = Spool::open(dir.path(), settings).expect("new spool");
        std::thread::scope(|scope| {
            for thread in 0..4_u8 {
                let spool = &spool;
                scope.spawn(move || {
                    for nth in 0..100_u32 {
                        let len = if nth % 7 == 0 { 100_000 } else { 1000 + nth };
                        let body = vec![thread; len as usize];
                        let (_, place) = spool.append(&[thread], &body).expect("room");
                        if nth % 10 == 0 {
                            spool.sync().expect("good disk");
                        }
                        assert_eq!(spool.read(&place, 0, len).expect("whole"), body);
                        if nth % 3 != 0 {
                            spool.release(&place, u64::from(len));
                        }
                        spool.cut(Seq(u64::from(nth))).expect("good disk");
                    }
                });
            }
        });
        let usage = spool.usage();
        assert_eq!(usage.appended, Seq(400));
        assert!(usage.live_bytes > 0 && usage.disk_bytes >= usage.live_bytes);
    }
    #[test]
    fn numbers_go_on_when_everything_is_cut() {
        let disk = double::Double::default();
        let open = || {
            let medium = Box::new(disk.clone());
            Spool::recover(medium, Settings::default(), None).expect("opens")
        };
        let spool = open();
        for _ in 0..3 {
            spool.append(b"unlink", b"").expect("room");
        }
        spool.close().expect("good disk");
        for _ in 0..3 {
            let spool = open();
            spool.replay(|_| Ok::<(), Error>(())).expect("whole");
            spool.reclaim();
            spool.cut(Seq(3)).expect("good disk");
        }
        let spool = open();
        assert_eq!(spool.append(b"", b"").expect("room").0, Seq(4));
        spool.number_after(Seq(10)).expect("room");
        spool.number_after(Seq(2)).expect("room");
        drop(spool);
        let spool = open();
        assert_eq!(spool.append(b"", b"").expect("room").0, Seq(11));
    }
}
