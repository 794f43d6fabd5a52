//! Replaying: tells what was in the log when it was opened, and what should have been.

use std::sync::Arc;

use super::{
    Error, Place, Replayed, Spool,
    core::{lock, read_lock},
    record::Kind,
    recover::Tail,
    segment::Segment,
    walk::{Step, Walk},
};
use crate::id::Seq;

impl Spool {
    /// Gives what was in the log when it was opened, in order; bodies are not read.
    ///
    /// Bodies start dead: the caller [retains](Spool::retain) what it still needs, then calls
    /// [`Spool::reclaim`].
    ///
    /// # Errors
    /// [`Error::Io`] as `E`, and whatever `take` answers.
    pub fn replay<E: From<Error>>(
        &self,
        mut take: impl FnMut(Replayed<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let segments: Vec<Arc<Segment>> = read_lock(&self.core.segments)
            .range(..=self.recovered)
            .map(|(_, segment)| Arc::clone(segment))
            .collect();
        let mut next = Seq(1);
        let mut tail = Tail::Whole;
        for segment in segments {
            let mut walk = self
                .core
                .data(&segment)
                .and_then(|data| Walk::new(data, segment.salt))
                .map_err(|source| Error::Io {
                    doing: "replaying the spool",
                    source,
                })?;
            while let Some(step) = walk.step() {
                let Step::Record {
                    position,
                    header,
                    head,
                } = step
                else {
                    tail = Tail::Broken;
                    continue;
                };
                tail = Tail::Whole;
                if header.kind == Kind::Record {
                    if header.seq > next {
                        take(Replayed::Missing {
                            first: next,
                            last: Some(Seq(header.seq.0 - 1)),
                        })?;
                    }
                    take(Replayed::Record {
                        seq: header.seq,
                        head: &head,
                        place: Place::new(segment.number, position, &header),
                    })?;
                }
                next = next.max(Seq(header.seq.0 + 1));
            }
        }
        let last = Some(self.known).filter(|known| *known >= next);
        match tail {
            Tail::Whole if last.is_none() => Ok(()),
            _ => take(Replayed::Missing { first: next, last }),
        }
    }

    /// Takes down that the end of the log is lost, if it is: once that is told, it is not told at each opening.
    ///
    /// # Errors
    /// As [`Spool::append`].
    pub fn accept_loss(&self) -> Result<(), Error> {
        let mut tail = lock(&self.tail);
        if *tail == Tail::Broken {
            self.core.skip_lost()?;
            *tail = Tail::Whole;
        }
        Ok(())
    }

    /// Says that all that is needed of what was replayed is retained: the space of the rest is given back. Until
    /// then nothing that was there when the spool was opened is removed.
    pub fn reclaim(&self) {
        let segments: Vec<_> = read_lock(&self.core.segments).values().cloned().collect();
        for segment in segments {
            segment.claims_are_known();
            self.core.dig_dead(&segment);
            self.core.remove_if_dead(&segment);
        }
    }
}
