//! One segment file in memory: how much of it is alive, and what may be given back.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Error, Place, medium::Data, record::Salt};
use crate::id::Seq;

/// Bodies from this size on are accounted one by one, so that their space can be given back before the
/// whole segment is dead. Smaller ones would cost more memory to follow than disk they would free.
const FOLLOWED_BYTES_MIN: u32 = 64 * 1024;
/// Disks give back whole blocks.
const DISK_BLOCK_BYTES: u64 = 4096;

pub(super) struct Segment {
    pub(super) number: u32,
    pub(super) salt: Salt,
    state: Mutex<State>,
}

struct State {
    /// Open while the segment is not sealed.
    data: Option<Arc<dyn Data>>,
    phase: Phase,
    claims: Claims,
    end: u64,
    holes: u64,
    last: Seq,
    records: u64,
    live: u64,
    bodies: BTreeMap<u64, Body>,
    health: Health,
}

/// Has the disk changed what was written?
#[derive(Clone, Copy, PartialEq, Eq)]
enum Health {
    Good,
    Damaged,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    Sealed,
    Removed,
}

/// Is it known who wants what?
#[derive(Clone, Copy, PartialEq, Eq)]
enum Claims {
    /// The segment was found by recovery, and replay has not yet told all that is retained.
    Unknown,
    Known,
}

struct Body {
    len: u32,
    live: u64,
}

/// A range whose space can be given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hole {
    pub(super) position: u64,
    pub(super) len: u64,
}

/// What a removed segment leaves behind in the books.
pub(super) struct Removed {
    pub(super) bytes: u64,
    pub(super) records: u64,
}

impl Segment {
    pub(super) fn new(number: u32, salt: Salt, data: Arc<dyn Data>, end: u64) -> Segment {
        Segment {
            number,
            salt,
            state: Mutex::new(State {
                data: Some(data),
                phase: Phase::Open,
                claims: Claims::Known,
                end,
                holes: 0,
                last: Seq(0),
                records: 0,
                live: 0,
                bodies: BTreeMap::new(),
                health: Health::Good,
            }),
        }
    }

    /// One that recovery found: nothing of it may go before it is known who wants what, even if nothing in it
    /// can be read.
    pub(super) fn found(number: u32, salt: Salt, data: Arc<dyn Data>, end: u64) -> Segment {
        let segment = Segment::new(number, salt, data, end);
        segment.state().claims = Claims::Unknown;
        segment
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file, while it is not sealed.
    pub(super) fn data(&self) -> Option<Arc<dyn Data>> {
        self.state().data.clone()
    }

    /// Number of the last record, 0 when there is none.
    pub(super) fn last(&self) -> Seq {
        self.state().last
    }

    /// Notes that the disk has changed what was written.
    pub(super) fn note_damage(&self) {
        self.state().health = Health::Damaged;
    }

    pub(super) fn is_damaged(&self) -> bool {
        self.state().health == Health::Damaged
    }

    /// Is any byte of any body still wanted?
    pub(super) fn is_live(&self) -> bool {
        self.state().live > 0
    }

    /// Enters a record that is now in the file, with a live body.
    pub(super) fn appended(&self, seq: Seq, place: &Place) {
        let body_len = u64::from(place.body_len);
        self.entered(seq, place, body_len);
        self.state().end = place.position + body_len;
    }

    /// Enters a record that was found in the file, with a dead body.
    pub(super) fn recovered(&self, seq: Seq, place: &Place) {
        self.entered(seq, place, 0);
    }

    /// All that is wanted is retained now: the rest may be given back.
    pub(super) fn claims_are_known(&self) {
        self.state().claims = Claims::Known;
    }

    fn entered(&self, seq: Seq, place: &Place, live: u64) {
        let mut state = self.state();
        state.last = seq;
        state.records += 1;
        state.live += live;
        if place.body_len >= FOLLOWED_BYTES_MIN {
            let body = Body {
                len: place.body_len,
                live,
            };
            state.bodies.insert(place.position, body);
        }
    }

    /// Adds references to bytes of a body.
    pub(super) fn retain(&self, place: &Place, len: u64) -> Result<(), Error> {
        let mut state = self.state();
        let gone = Error::Gone {
            segment: place.segment,
            position: place.position,
        };
        if state.phase == Phase::Removed {
            return Err(gone);
        }
        if place.body_len >= FOLLOWED_BYTES_MIN {
            state.bodies.get_mut(&place.position).ok_or(gone)?.live += len;
        }
        state.live += len;
        Ok(())
    }

    /// Takes references away; answers what that leaves to be given back.
    pub(super) fn release(&self, place: &Place, len: u64) -> Option<Hole> {
        let mut state = self.state();
        debug_assert!(state.live >= len, "released more than was live");
        state.live = state.live.saturating_sub(len);
        let may_dig = state.may_dig();
        let body = state.bodies.get_mut(&place.position)?;
        body.live = body.live.saturating_sub(len);
        if body.live > 0 || !may_dig {
            return None;
        }
        state.bodies.remove(&place.position);
        state.dig(place.position, place.body_len)
    }

    /// Notes that the file is durable in full and has its final name; hands the open file over.
    pub(super) fn seal(&self) -> Option<Arc<dyn Data>> {
        let mut state = self.state();
        state.phase = Phase::Sealed;
        state.data.take()
    }

    /// Takes all dead bodies of a sealed segment out of the books; their space is to be given back.
    pub(super) fn dead_bodies(&self) -> Vec<Hole> {
        let mut state = self.state();
        if !state.may_dig() {
            return Vec::new();
        }
        let dead: Vec<(u64, u32)> = state
            .bodies
            .iter()
            .filter(|(_, body)| body.live == 0)
            .map(|(position, body)| (*position, body.len))
            .collect();
        dead.into_iter()
            .filter_map(|(position, len)| {
                state.bodies.remove(&position);
                state.dig(position, len)
            })
            .collect()
    }

    /// Marks the segment as removed if it is sealed, dead and not needed for replay after `through`.
    pub(super) fn remove_if_dead(&self, through: Seq) -> Option<Removed> {
        let mut state = self.state();
        if !state.may_dig() || state.live > 0 || state.last > through {
            return None;
        }
        state.phase = Phase::Removed;
        Some(Removed {
            bytes: state.end - state.holes,
            records: state.records,
        })
    }
}

impl State {
    fn may_dig(&self) -> bool {
        self.phase == Phase::Sealed && self.claims == Claims::Known
    }

    fn dig(&mut self, position: u64, len: u32) -> Option<Hole> {
        let from = position.next_multiple_of(DISK_BLOCK_BYTES);
        // The file may have lost its end.
        let to = self.end.min(position + u64::from(len)) / DISK_BLOCK_BYTES * DISK_BLOCK_BYTES;
        let len = to.checked_sub(from).filter(|len| *len > 0)?;
        self.holes += len;
        Some(Hole {
            position: from,
            len,
        })
    }
}
