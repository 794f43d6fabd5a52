//! Behind the front end: sealing, giving space back, cutting. Done by one background thread.
//!
//! A segment is sealed when it is durable and its name says so, and that durably. Where only the name fails, as on a disk
//! without room for it, nothing is lost: the segment stays open, and so do all after it, until its name can be changed.
//! That is tried again before the next one is sealed and whenever space is given back. So segments are sealed in order
//! whatever fails, as recovery takes for granted, and none is dug or removed that is not.
//!
//! Space is given back only when everything that was appended before it was released is durable. The record
//! that made it superfluous is among that: were it lost by a power cut, what it hid or removed would be there
//! again, and must be whole.

use std::{
    io,
    sync::{Arc, atomic::Ordering, mpsc::Sender},
};

use super::{
    Error,
    core::{BACKGROUND_SYNC_BYTES, Core, lock, read_lock, write_lock},
    recover::{Ending, aside, name},
    segment::{Hole, Segment},
};
use crate::id::Seq;

/// Work for the background.
pub(super) enum Job {
    Sync,
    Seal(Arc<Segment>),
    Prepare,
    /// Gives back what was put off and may be by now.
    GiveBack,
    /// Makes everything durable, gives back all that can be, and says so.
    GiveBackAll(Sender<()>),
    /// Does what [`Core::close`] does, and says how that went.
    Close(Sender<Result<(), Error>>),
    Stop,
}

/// Space that nobody needs once everything up to a record is durable.
pub(super) struct Surplus {
    after: Seq,
    bytes: u64,
    what: What,
}

/// A segment that is durable in full, and whose name does not say so yet.
pub(super) struct Unnamed {
    segment: Arc<Segment>,
    name: Name,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Name {
    Open,
    /// It is that of a sealed segment, but perhaps not after a power cut.
    Doubtful,
}

enum What {
    Holes(Arc<Segment>, Vec<Hole>),
    Segment(Arc<Segment>),
}

impl Core {
    pub(super) fn submit(&self, job: Job) {
        match &self.jobs {
            // It is closed once the spool is: then a hold that outlived it gives nothing back.
            Some(jobs) => drop(jobs.send(job)),
            None => self.run(job),
        }
    }

    pub(super) fn run(&self, job: Job) {
        let outcome = match job {
            Job::Sync => self.sync(),
            Job::Seal(segment) => self.seal(&segment),
            Job::Prepare => self.prepare(),
            Job::GiveBack => self.give_back(),
            Job::GiveBackAll(done) => self.give_back_all().map(|()| {
                // Whoever waited may have given up.
                let _ = done.send(());
            }),
            Job::Close(done) => {
                let _ = done.send(self.close());
                Ok(())
            }
            Job::Stop => Ok(()),
        };
        match outcome {
            Ok(()) => {}
            Err(Error::Io { doing, source }) => {
                log::warn!("spool, in the background: {doing}: {source}");
            }
            Err(fault) => log::warn!("spool, in the background: {fault}"),
        }
    }

    fn prepare(&self) -> Result<(), Error> {
        let mut prepared = lock(&self.prepared);
        if prepared.is_none() {
            *prepared = Some(self.create()?);
        }
        Ok(())
    }

    /// Makes a complete segment durable, says so in its name, and gives back what is dead in it.
    pub(super) fn seal(&self, segment: &Arc<Segment>) -> Result<(), Error> {
        self.commit.check()?;
        self.commit.sync_segment(segment)?;
        lock(&self.unnamed).push_back(Unnamed {
            segment: Arc::clone(segment),
            name: Name::Open,
        });
        self.name_sealed()
    }

    /// Seals the segments that are durable and whose names do not say so, in order, as far as that can be done.
    fn name_sealed(&self) -> Result<(), Error> {
        while let Some(segment) = self.name_next()? {
            self.commit.note_sealed(&segment);
            self.submit(Job::GiveBack);
            if let Some(data) = segment.seal() {
                lock(&self.files).put(segment.number, data);
            }
            self.dig_dead(&segment);
            self.remove_if_dead(&segment);
        }
        Ok(())
    }

    /// Says in the name of the first of them that it is durable. Later ones must not be named before it.
    fn name_next(&self) -> Result<Option<Arc<Segment>>, Error> {
        let mut unnamed = lock(&self.unnamed);
        let Some(first) = unnamed.front_mut() else {
            return Ok(None);
        };
        self.commit.check()?;
        self.rename_durably(first).map_err(|source| Error::Io {
            doing: "sealing a segment",
            source,
        })?;
        Ok(unnamed.pop_front().map(|first| first.segment))
    }

    /// Before a hole is punched the name must be durable, or recovery would take the hole for a tear.
    fn rename_durably(&self, unnamed: &mut Unnamed) -> io::Result<()> {
        let number = unnamed.segment.number;
        let [open, sealed] = [Ending::Open, Ending::Sealed].map(|ending| name(number, ending));
        if unnamed.name == Name::Doubtful {
            // A name whose sync has failed need not be durable after one that does not: it is changed anew.
            self.medium.rename(&sealed, &open)?;
            unnamed.name = Name::Open;
        }
        self.medium.rename(&open, &sealed)?;
        unnamed.name = Name::Doubtful;
        self.medium.sync_names()
    }

    pub(super) fn dig_dead(&self, segment: &Arc<Segment>) {
        self.dig_later(segment, segment.dead_bodies());
    }

    pub(super) fn dig_later(&self, segment: &Arc<Segment>, holes: Vec<Hole>) {
        if holes.is_empty() {
            return;
        }
        let bytes = holes.iter().map(|hole| hole.len).sum();
        self.totals.disk_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.put_off(bytes, What::Holes(Arc::clone(segment), holes));
    }

    fn put_off(&self, bytes: u64, what: What) {
        lock(&self.put_off).push(Surplus {
            after: self.commit.appended(),
            bytes,
            what,
        });
        self.put_off_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.submit(Job::GiveBack);
    }

    /// Makes everything durable, and gives back what waited for that.
    pub(super) fn sync(&self) -> Result<(), Error> {
        self.commit.sync()?;
        if self.put_off_bytes.load(Ordering::Relaxed) > 0 {
            self.submit(Job::GiveBack);
        }
        Ok(())
    }

    /// Does not make anything durable for little: whoever overwrites a file would pay for it each time.
    fn give_back(&self) -> Result<(), Error> {
        let most = BACKGROUND_SYNC_BYTES.min(self.settings.limit_bytes / 8);
        if self.put_off_bytes.load(Ordering::Relaxed) > most {
            self.commit.sync()?;
        }
        self.give_back_durable()
    }

    fn give_back_all(&self) -> Result<(), Error> {
        self.commit.sync()?;
        self.give_back_durable()
    }

    fn give_back_durable(&self) -> Result<(), Error> {
        let named = self.name_sealed();
        let synced = self.commit.synced();
        let due: Vec<Surplus> = lock(&self.put_off)
            .extract_if(.., |one| one.after <= synced)
            .collect();
        // What fails keeps nothing else from being given back.
        let mut first = named;
        for Surplus { bytes, what, .. } in due {
            self.put_off_bytes.fetch_sub(bytes, Ordering::Relaxed);
            first = first.and(match what {
                What::Holes(segment, holes) => self.dig(&segment, &holes),
                What::Segment(segment) => self.remove(&segment),
            });
        }
        first
    }

    fn dig(&self, segment: &Segment, holes: &[Hole]) -> Result<(), Error> {
        let Ok(data) = self.data(segment) else {
            return Ok(());
        };
        let punched = holes
            .iter()
            .map(|hole| data.punch(hole.position, hole.len))
            .fold(Ok(()), io::Result::and);
        punched.map_err(|source| Error::Io {
            doing: "giving space back",
            source,
        })
    }

    pub(super) fn cut(&self, through: Seq) -> Result<(), Error> {
        self.through.fetch_max(through.0, Ordering::AcqRel);
        self.cut_active(through)?;
        let all: Vec<_> = read_lock(&self.segments).values().cloned().collect();
        for segment in all {
            self.remove_if_dead(&segment);
        }
        if self.put_off_bytes.load(Ordering::Relaxed) > 0 {
            self.submit(Job::Sync);
        }
        if !lock(&self.unnamed).is_empty() {
            self.submit(Job::GiveBack);
        }
        Ok(())
    }

    /// When nothing in the active segment is needed any more, starts another so that this one can go.
    fn cut_active(&self, through: Seq) -> Result<(), Error> {
        let mut appender = lock(&self.appender);
        let last = self.commit.appended();
        let worth_it = appender.as_ref().is_some_and(|active| {
            through >= last
                && !active.segment.is_live()
                && active.position > self.settings.segment_bytes / 64
        });
        if !worth_it {
            return Ok(());
        }
        self.commit.check()?;
        self.roll(&mut appender)?;
        self.write_skip(&mut appender, last)?;
        let active = appender.as_ref().map(|active| Arc::clone(&active.segment));
        drop(appender);
        // Not a group commit: the record that must be durable has no number of its own.
        active.map_or(Ok(()), |segment| self.commit.sync_segment(&segment))
    }

    pub(super) fn remove_if_dead(&self, segment: &Arc<Segment>) {
        if self.newest.load(Ordering::Acquire) == segment.number {
            return;
        }
        let through = Seq(self.through.load(Ordering::Acquire));
        if let Some(removed) = segment.remove_if_dead(through) {
            write_lock(&self.segments).remove(&segment.number);
            self.totals
                .disk_bytes
                .fetch_sub(removed.bytes, Ordering::Relaxed);
            self.totals
                .records
                .fetch_sub(removed.records, Ordering::Relaxed);
            self.put_off(removed.bytes, What::Segment(Arc::clone(segment)));
        }
    }

    /// Removes a segment. One that is damaged is set aside: somebody may read in it what the spool cannot.
    fn remove(&self, segment: &Segment) -> Result<(), Error> {
        let number = segment.number;
        lock(&self.files).pop(&number);
        let sealed = name(number, Ending::Sealed);
        let removed = match segment.is_damaged() {
            false => self.medium.remove(&sealed),
            true => {
                let aside = aside(number);
                log::warn!(
                    "spool: segment {sealed} is damaged and kept as {aside}; nothing of it is needed any more"
                );
                self.medium.rename(&sealed, &aside)
            }
        };
        removed.map_err(|source| Error::Io {
            doing: "removing a segment",
            source,
        })
    }

    /// Seals what is being written and removes what was only prepared, so that whatever is missing later was
    /// lost by the disk. Done by the background, or when that has stopped; the next record begins another segment.
    pub(super) fn close(&self) -> Result<(), Error> {
        let active = lock(&self.appender).take();
        if let Some(fresh) = lock(&self.prepared).take() {
            // Left behind, it is removed when the spool is opened next time.
            let _ = self
                .medium
                .remove(&name(fresh.segment.number, Ending::Open));
        }
        self.commit.sync()?;
        // What cannot be given back keeps nothing from being sealed.
        let given_back = self.give_back_durable();
        if let Some(active) = active {
            self.seal(&active.segment)?;
        }
        self.commit.sync_end();
        given_back
    }
}
