//! How fast long work goes, and how long it will still take.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use crate::cli::render;
use crate::drive::task::Progress;
use crate::size::Bytes;

/// Before this much time has passed, nobody knows how fast it goes.
const WARM_UP: Duration = Duration::from_millis(500);

/// Remembers when the present part of the work began.
#[derive(Debug, Default)]
pub(crate) struct Meter(Mutex<Option<(String, Instant)>>);

impl Meter {
    /// One line: what is being done, how much of it is, the rate, and when it will be done.
    pub(crate) fn line(&self, progress: &Progress) -> String {
        let mut begun = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = match &*begun {
            Some((doing, since)) if *doing == progress.doing => *since,
            _ => {
                let now = Instant::now();
                *begun = Some((progress.doing.clone(), now));
                now
            }
        };
        line(progress, since.elapsed())
    }
}

fn line(progress: &Progress, elapsed: Duration) -> String {
    let Progress {
        doing,
        items,
        items_total,
        bytes,
        bytes_total,
    } = progress;
    let mut text = doing.clone();
    match (items, items_total) {
        (0, 0) => {}
        (items, 0) => text.push_str(&format!(": {items}")),
        (items, all) => text.push_str(&format!(": {items} of {all}")),
    }
    if *bytes_total > 0 {
        let (done, all) = (Bytes(*bytes), Bytes(*bytes_total));
        text.push_str(&format!(", {done} of {all}"));
    }
    let (done, all) = match bytes_total {
        0 => (items, items_total),
        all => (bytes, all),
    };
    let milliseconds = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    if elapsed < WARM_UP || *done == 0 || *all == 0 {
        return text;
    }
    if *bytes_total > 0 {
        let rate = Bytes(bytes.saturating_mul(1000) / milliseconds);
        text.push_str(&format!(", {rate}/s"));
    }
    let left = all
        .saturating_sub(*done)
        .saturating_mul(milliseconds / 1000)
        / done;
    text.push_str(&format!(", ETA {}", render::duration(left)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_rate_and_end_once_they_are_known() {
        let progress = Progress {
            doing: String::from("reading packs"),
            items: 10,
            items_total: 40,
            bytes: 10 << 20,
            bytes_total: 40 << 20,
        };
        let early = line(&progress, Duration::from_millis(1));
        assert_eq!(early, "reading packs: 10 of 40, 10.0 MiB of 40.0 MiB");
        let late = line(&progress, Duration::from_secs(10));
        assert!(late.ends_with(", 1.0 MiB/s, ETA 30 s"), "{late}");
        let unknown = Progress {
            doing: String::from("looking at names"),
            items: 7,
            ..Progress::default()
        };
        assert_eq!(
            line(&unknown, Duration::from_secs(9)),
            "looking at names: 7"
        );
    }
}
