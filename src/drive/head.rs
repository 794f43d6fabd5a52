//! The head: how far this machine's index has followed the journal, and by which steps it came there.
//!
//! What is stored is not always listed at once, so whoever lists only what is newer than the newest thing he has seen may
//! never see what was stored before it and is listed after it. So listing begins before the last few segments that were
//! followed, and the head knows these by the names of their attempts: whatever else claims one of their epochs is a
//! branch that the drive did not take, or should not have taken (`branch.rs`).
//!
//! ```text
//! head = epoch 8 , hash 32 , mark 8 , tail segments 4 , tail bytes 8 , checkpoint bytes 8 , through 8 , steps
//! steps = nothing, as before they were noted , or version 1 , n × step
//! step = epoch 8 , attempt 8 , mark 8 , fate 1
//! ```
//!
//! Whoever knows no steps passes over them: what he lists once more does no harm.

use crate::drive::history::Found;
use crate::id::EpochNo;
use crate::id::Seq;
use crate::index::key;
use crate::store::Mark;

const STEPS_VERSION: u8 = 1;

const STEP_BYTES: usize = 25;

/// So many of the last segments that were followed are listed again each time. All of it fits a page, which is one
/// request in any case.
const FOLLOWED_MAX: usize = 8;

/// So many that were passed over are remembered, so that they are read once only; values of the index are to be small.
const PASSED_MAX: usize = 16;

/// Bytes of a head without steps.
const BARE_BYTES: usize = 76;

/// What became of an attempt at an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The index holds it.
    Followed,
    /// The drive went on without it, and that is settled.
    Passed,
}

/// An attempt at an epoch, whose fate is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    epoch: EpochNo,
    attempt: [u8; 8],
    /// Where it begins on the shelf, or a mark before that.
    mark: Mark,
    fate: Fate,
}

/// Attempts whose fate is known, in the order in which it became so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::drive) struct Steps(Vec<Step>);

/// How far this machine's index has followed the journal. Kept in the index under a local key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::drive) struct Head {
    /// The last epoch that the index holds.
    pub(in crate::drive) epoch: EpochNo,
    /// Hash of that epoch's segment.
    pub(in crate::drive) hash: [u8; 32],
    /// Listing the journal begins after this.
    pub(in crate::drive) mark: Mark,
    /// Segments since the last checkpoint, and their bytes.
    pub(in crate::drive) tail_segments: u32,
    /// Bytes of those segments.
    pub(in crate::drive) tail_bytes: u64,
    /// Bytes of the last checkpoint.
    pub(in crate::drive) checkpoint_bytes: u64,
    /// Every record of our own spool up to here is in the journal.
    pub(in crate::drive) through: Seq,
    /// The last that were followed, and what was passed over beside them.
    pub(in crate::drive) steps: Steps,
}

impl Head {
    /// The local key it is kept under.
    pub(in crate::drive) fn key() -> Vec<u8> {
        key::local("head")
    }

    /// The index holds this attempt at the head's epoch. Listing begins later, once there are enough of them.
    pub(in crate::drive) fn step(&mut self, attempt: [u8; 8], mark: Mark) {
        self.steps.0.push(Step {
            epoch: self.epoch,
            attempt,
            mark,
            fate: Fate::Followed,
        });
        while self.of(Fate::Followed) > FOLLOWED_MAX {
            self.forget_first(Fate::Followed);
            let Some(oldest) = self.oldest() else { return };
            self.steps.0.retain(|step| step.epoch >= oldest.epoch);
            self.mark = self.mark.max(Mark(oldest.mark.0.saturating_sub(1)));
        }
    }

    /// The drive goes on without this attempt.
    pub(in crate::drive) fn pass_over(&mut self, found: &Found) {
        if self.knows(found) {
            return;
        }
        self.steps.0.push(Step {
            epoch: found.epoch,
            attempt: found.attempt,
            mark: found.first_mark(),
            fate: Fate::Passed,
        });
        while self.of(Fate::Passed) > PASSED_MAX {
            self.forget_first(Fate::Passed);
        }
    }

    fn of(&self, fate: Fate) -> usize {
        self.steps.0.iter().filter(|step| step.fate == fate).count()
    }

    fn forget_first(&mut self, fate: Fate) {
        if let Some(at) = self.steps.0.iter().position(|step| step.fate == fate) {
            self.steps.0.remove(at);
        }
    }

    /// The oldest segment that is known to have been followed.
    fn oldest(&self) -> Option<Step> {
        let mut followed = self.steps.0.iter();
        followed.find(|step| step.fate == Fate::Followed).copied()
    }

    /// Was this attempt followed, or passed over?
    pub(in crate::drive) fn knows(&self, found: &Found) -> bool {
        self.steps
            .0
            .iter()
            .any(|step| (step.epoch, step.attempt) == (found.epoch, found.attempt))
    }

    /// Was this the attempt that was followed at an epoch?
    pub(in crate::drive) fn took(&self, found: &Found, epoch: EpochNo) -> bool {
        found.epoch == epoch && self.attempt_at(epoch) == Some(found.attempt)
    }

    /// Does it lie before all that is remembered? The head's own epoch is known by its hash.
    pub(in crate::drive) fn has_forgotten(&self, epoch: EpochNo) -> bool {
        let is_before = |oldest: Step| epoch < oldest.epoch;
        epoch < self.epoch && self.oldest().is_none_or(is_before)
    }

    /// The attempt that was followed at an epoch; none when that is not known any more.
    pub(in crate::drive) fn attempt_at(&self, epoch: EpochNo) -> Option<[u8; 8]> {
        let is_it = |step: &&Step| step.epoch == epoch && step.fate == Fate::Followed;
        self.steps.0.iter().find(is_it).map(|step| step.attempt)
    }

    pub(in crate::drive) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(BARE_BYTES + 1 + self.steps.0.len() * STEP_BYTES);
        out.extend_from_slice(&self.epoch.0.to_le_bytes());
        out.extend_from_slice(&self.hash);
        out.extend_from_slice(&self.mark.0.to_le_bytes());
        out.extend_from_slice(&self.tail_segments.to_le_bytes());
        out.extend_from_slice(&self.tail_bytes.to_le_bytes());
        out.extend_from_slice(&self.checkpoint_bytes.to_le_bytes());
        out.extend_from_slice(&self.through.0.to_le_bytes());
        out.push(STEPS_VERSION);
        for step in &self.steps.0 {
            out.extend_from_slice(&step.epoch.0.to_le_bytes());
            out.extend_from_slice(&step.attempt);
            out.extend_from_slice(&step.mark.0.to_le_bytes());
            out.push(match step.fate {
                Fate::Followed => 0,
                Fate::Passed => 1,
            });
        }
        out
    }

    pub(in crate::drive) fn decode(value: &[u8]) -> Option<Head> {
        let number = |at: usize| Some(u64::from_le_bytes(value.get(at..at + 8)?.try_into().ok()?));
        Some(Head {
            epoch: EpochNo(number(0)?),
            hash: value.get(8..40)?.try_into().ok()?,
            mark: Mark(number(40)?),
            tail_segments: u32::from_le_bytes(value.get(48..52)?.try_into().ok()?),
            tail_bytes: number(52)?,
            checkpoint_bytes: number(60)?,
            through: Seq(number(68)?),
            steps: decode_steps(value.get(BARE_BYTES..)?),
        })
    }
}

/// None where they are of another version: without them less is noticed, and nothing is lost.
fn decode_steps(bytes: &[u8]) -> Steps {
    let Some(rest) = bytes.strip_prefix(&[STEPS_VERSION]) else {
        return Steps::default();
    };
    let (steps, _) = rest.as_chunks::<STEP_BYTES>();
    Steps(steps.iter().filter_map(decode_step).collect())
}

fn decode_step(bytes: &[u8; STEP_BYTES]) -> Option<Step> {
    let field = |at: usize| bytes.get(at..at + 8)?.try_into().ok();
    Some(Step {
        epoch: EpochNo(u64::from_le_bytes(field(0)?)),
        attempt: field(8)?,
        mark: Mark(u64::from_le_bytes(field(16)?)),
        fate: match bytes[24] {
            0 => Fate::Followed,
            1 => Fate::Passed,
            _ => return None,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(epoch: u64, attempt: u8) -> Found {
        Found {
            epoch: EpochNo(epoch),
            attempt: [attempt; 8],
            parts: Vec::new(),
        }
    }

    #[test]
    fn listing_begins_before_the_last_segments_that_were_followed() {
        let mut head = Head::default();
        for epoch in 1..=20 {
            head.epoch = EpochNo(epoch);
            head.step([1; 8], Mark(epoch * 10));
            head.pass_over(&found(epoch, 2));
        }
        assert_eq!(head.mark, Mark(129));
        assert!(head.took(&found(13, 1), EpochNo(13)) && !head.took(&found(13, 2), EpochNo(13)));
        assert!(head.knows(&found(13, 2)) && !head.knows(&found(13, 3)));
        assert!(!head.knows(&found(12, 1)) && !head.knows(&found(12, 2)));
        assert_eq!(Head::decode(&head.encode()), Some(head.clone()));
        assert!(head.encode().len() < 1024, "values of the index are small");
    }

    #[test]
    fn a_head_from_before_steps_were_noted_is_read() {
        let head = Head {
            epoch: EpochNo(3),
            hash: [4; 32],
            mark: Mark(5),
            through: Seq(6),
            ..Head::default()
        };
        let bytes = head.encode();
        assert_eq!(Head::decode(&bytes[..BARE_BYTES]), Some(head));
        assert_eq!(Head::decode(&bytes[..BARE_BYTES - 1]), None);
    }
}
