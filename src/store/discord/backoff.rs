//! Waits between attempts, and the end of patience.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::answer::{Fail, Unclear};

/// Waits that double, each shortened by up to a half at random so that many do not come at once.
#[derive(Debug)]
pub(super) struct Backoff {
    pub(super) next: Duration,
    max: Duration,
    /// What Discord last answered; says more than that the last attempt ran out of time.
    told: Option<String>,
}

impl Backoff {
    pub(super) fn new(first: Duration, max: Duration) -> Self {
        Self {
            next: first,
            max,
            told: None,
        }
    }

    fn step(&mut self) -> Duration {
        let wait = self.next;
        self.grow();
        let mut random = [0; 2];
        // Without random numbers the wait is simply not shortened.
        let random = match getrandom::fill(&mut random) {
            Ok(()) => u16::from_le_bytes(random),
            Err(_) => u16::MAX,
        };
        wait / 2 + wait.mul_f64(f64::from(random) / f64::from(u16::MAX)) / 2
    }

    /// Makes the next wait twice as long.
    pub(super) fn grow(&mut self) {
        self.next = (self.next * 2).min(self.max);
    }

    /// Waits, or gives up at once if the deadline comes first.
    pub(super) async fn pause(&mut self, why: Unclear, deadline: Instant) -> Result<(), Fail> {
        let until = Instant::now() + self.step();
        if until >= deadline {
            let what = match (&self.told, why.status) {
                (Some(told), None) => format!("{told}; then: {}", why.what),
                _ => why.what,
            };
            let status = why.status;
            return Err(Fail::Gave(Unclear { status, what }.error()));
        }
        if why.status.is_some() {
            self.told = Some(why.what);
        }
        sleep_until(until).await;
        Ok(())
    }
}
