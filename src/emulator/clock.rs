//! The time the emulator lives in: the machine's, or one that a test moves by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use time::OffsetDateTime;

/// Where the emulator takes its time from. Clones share the same time.
#[derive(Clone, Debug)]
pub struct Clock {
    base: Base,
    ahead_ms: Arc<AtomicU64>,
}

#[derive(Clone, Copy, Debug)]
enum Base {
    Machine,
    Fixed(u64),
}

impl Clock {
    /// The machine's time, plus whatever [`Clock::advance`] added.
    pub fn machine() -> Self {
        Self {
            base: Base::Machine,
            ahead_ms: Arc::default(),
        }
    }

    /// A time that stands still at `unix_ms` until [`Clock::advance`] moves it.
    pub fn fixed(unix_ms: u64) -> Self {
        Self {
            base: Base::Fixed(unix_ms),
            ahead_ms: Arc::default(),
        }
    }

    /// Moves this clock, and all its clones, forward.
    pub fn advance(&self, ms: u64) {
        self.ahead_ms.fetch_add(ms, Ordering::SeqCst);
    }

    /// Milliseconds since 1970.
    pub fn now_ms(&self) -> u64 {
        let base = match self.base {
            Base::Machine => {
                let nanos = OffsetDateTime::now_utc().unix_timestamp_nanos();
                u64::try_from(nanos / 1_000_000).unwrap_or(0)
            }
            Base::Fixed(ms) => ms,
        };
        base + self.ahead_ms.load(Ordering::SeqCst)
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::machine()
    }
}
