//! Where Discord's clock stands beside ours, to the milliseconds that a short request takes.
//!
//! The answer to an upload says when a limit ends, counted from when the upload began to be looked at: how long
//! ago that was, nobody says, and an upload takes seconds. But it also names the end by Discord's own clock; and
//! every answer tells what that clock showed at some moment between question and answer. All of them together
//! leave little room for doubt, as in NTP.

use std::time::Duration;

use tokio::time::Instant;

use super::{answer::WAIT_MAX, heard::HeardBucket};

/// Discord answers from many machines, whose clocks agree to about this.
const AGREEMENT: Duration = Duration::from_millis(30);

/// Seconds by which two clocks may part in a second.
const DRIFT: f64 = 2e-4;

/// What all answers until now leave possible.
#[derive(Debug, Default)]
pub(super) struct Dial(Option<Reading>);

/// Their clock showed something between `low_s` and `high_s`, seconds since 1970, at `base`.
#[derive(Clone, Copy, Debug)]
struct Reading {
    base: Instant,
    low_s: f64,
    high_s: f64,
}

impl Dial {
    /// When a bucket resets of which an answer tells that was heard now. It counts from when the answer was made,
    /// which was not before the request was sent.
    pub(super) fn resets(&mut self, sent: Instant, now: Instant, told: &HeardBucket) -> Instant {
        let latest = now + told.resets_after;
        let Some(at_s) = told.resets_at_s else {
            return latest;
        };
        self.hear(sent, now, at_s - told.resets_after.as_secs_f64());
        let exact = self.latest(at_s).filter(|_| told.resets_after < WAIT_MAX);
        let resets = exact.map_or(latest, |at| at + AGREEMENT);
        resets.clamp(sent + told.resets_after, latest)
    }

    /// Their clock showed `told_s`, seconds since 1970, at some moment from `asked` to `heard`.
    fn hear(&mut self, asked: Instant, heard: Instant, told_s: f64) {
        let fresh = Reading {
            base: heard,
            low_s: told_s,
            high_s: told_s + (heard - asked).as_secs_f64(),
        };
        let known = self.0.map(|known| known.moved_to(heard));
        let both = known.map(|known| Reading {
            low_s: known.low_s.max(fresh.low_s),
            high_s: known.high_s.min(fresh.high_s),
            ..fresh
        });
        // Where nothing is left, one of the clocks was set, or another server has another.
        self.0 = both
            .filter(|both| both.low_s <= both.high_s)
            .or(Some(fresh));
    }

    /// When their clock shows `at_s`, at the latest.
    fn latest(&self, at_s: f64) -> Option<Instant> {
        let Reading { base, low_s, .. } = self.0?;
        let wait = Duration::try_from_secs_f64((at_s - low_s).max(0.0)).ok()?;
        base.checked_add(wait)
    }
}

impl Reading {
    fn moved_to(self, base: Instant) -> Reading {
        let passed = (base - self.base).as_secs_f64();
        Reading {
            base,
            low_s: self.low_s + passed * (1.0 - DRIFT),
            high_s: self.high_s + passed * (1.0 + DRIFT),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn a_short_answer_makes_a_long_one_exact() {
        let (mut dial, start) = (Dial::default(), Instant::now());
        assert_eq!(dial.latest(1005.0), None);
        // Asked at 0, looked at after 40 ms when their clock showed 1000, answered after 1.1 s.
        let heard = start + MS(1100);
        dial.hear(start, heard, 1000.0);
        assert_eq!(dial.latest(1005.0), Some(heard + MS(5000)), "for safety");
        // What takes 80 ms leaves 40 ms of doubt.
        dial.hear(heard, heard + MS(80), 1001.1);
        let latest = dial.latest(1005.0).expect("something was heard");
        let truth = start + MS(40) + MS(5000);
        assert!(latest >= truth && latest <= truth + MS(41), "{latest:?}");
        // Their clock is set back by a minute.
        dial.hear(heard, heard + MS(80), 941.1);
        let latest = dial.latest(945.0).expect("something was heard");
        assert!(latest >= truth && latest <= truth + MS(41), "{latest:?}");
    }
}
