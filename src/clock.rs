//! Time, which enters here and nowhere else, so that tests can hold it still.

use std::{
    sync::Arc,
    sync::atomic::{AtomicI64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

/// Nanoseconds since 1970-01-01 UTC, before it negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub i64);

impl Time {
    /// Whole seconds, rounded down.
    #[must_use]
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000_000)
    }
}

/// A source of the present: the machine's, or one that a test moves.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The machine's clock.
    #[default]
    System,
    /// Stands still until it is told otherwise.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// The present.
    #[must_use]
    pub fn now(&self) -> Time {
        match self {
            Clock::Manual(time) => Time(time.load(Ordering::SeqCst)),
            Clock::System => {
                let since = SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or_default();
                Time(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
            }
        }
    }
}
