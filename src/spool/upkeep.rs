//! Behind the front end: sealing, giving space back, cutting. Done by one background thread.

use std::sync::{Arc, atomic::Ordering};

use super::{
    Error,
    core::{Core, lock, read_lock, write_lock},
    recover::{Ending, name},
    segment::{Hole, Segment},
};
use crate::id::Seq;

/// Work for the background.
pub(super) enum Job {
    Sync,
    Seal(Arc<Segment>),
    Prepare,
    Dig(Arc<Segment>, Vec<Hole>),
    Remove(u32),
    Stop,
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
            Job::Sync => self.commit.sync(),
            Job::Seal(segment) => self.seal(&segment),
            Job::Prepare => self.prepare(),
            Job::Dig(segment, holes) => self.dig(&segment, &holes),
            Job::Remove(number) => self.remove(number),
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
        let number = segment.number;
        self.medium
            .rename(&name(number, Ending::Open), &name(number, Ending::Sealed))
            // Before a hole is punched the name must be durable, or recovery would take the hole for a tear.
            .and_then(|()| self.medium.sync_names())
            .map_err(|source| {
                // Later segments must not be sealed before this one.
                self.commit.poison();
                Error::Io {
                    doing: "sealing a segment",
                    source,
                }
            })?;
        self.commit.note_sealed(segment);
        if let Some(data) = segment.seal() {
            lock(&self.files).put(number, data);
        }
        self.dig_dead(segment);
        self.remove_if_dead(segment);
        Ok(())
    }

    pub(super) fn dig_dead(&self, segment: &Arc<Segment>) {
        let holes = segment.dead_bodies();
        if !holes.is_empty() {
            self.note_dug(&holes);
            self.submit(Job::Dig(Arc::clone(segment), holes));
        }
    }

    pub(super) fn note_dug(&self, holes: &[Hole]) {
        let bytes = holes.iter().map(|hole| hole.len).sum();
        self.totals.disk_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn dig(&self, segment: &Segment, holes: &[Hole]) -> Result<(), Error> {
        let Ok(data) = self.data(segment) else {
            return Ok(());
        };
        holes
            .iter()
            .try_for_each(|hole| data.punch(hole.position, hole.len))
            .map_err(|source| Error::Io {
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
            self.submit(Job::Remove(segment.number));
        }
    }

    fn remove(&self, number: u32) -> Result<(), Error> {
        lock(&self.files).pop(&number);
        self.medium
            .remove(&name(number, Ending::Sealed))
            .map_err(|source| Error::Io {
                doing: "removing a segment",
                source,
            })
    }

    /// Seals what is being written and removes what was only prepared. The background has stopped.
    pub(super) fn close(&self) -> Result<(), Error> {
        let active = lock(&self.appender).take();
        if let Some(fresh) = lock(&self.prepared).take() {
            // Left behind, it is removed when the spool is opened next time.
            let _ = self
                .medium
                .remove(&name(fresh.segment.number, Ending::Open));
        }
        self.commit.sync()?;
        match active {
            Some(active) => self.seal(&active.segment),
            None => Ok(()),
        }
    }
}
