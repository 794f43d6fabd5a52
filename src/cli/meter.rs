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

/// Signs of a bar.
const BAR_SIGNS: u64 = 10;

/// Remembers when the present part of the work began.
#[derive(Debug, Default)]
pub(crate) struct Meter(Mutex<Option<(String, Instant)>>);

impl Meter {
    /// One line: a bar where the end is known, what is being done, how much of it is, the rate, and when it will be done.
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
    let (done, all) = match bytes_total {
        0 => (items, items_total),
        all => (bytes, all),
    };
    let mut text = match all {
        0 => doing.clone(),
        _ => format!("{} {doing}", bar(*done, *all)),
    };
    match (items, items_total) {
        (0, 0) => {}
        (items, 0) => text.push_str(&format!(": {items}")),
        (items, all) => text.push_str(&format!(": {items} of {all}")),
    }
    if *bytes_total > 0 {
        let (done, all) = (Bytes(*bytes), Bytes(*bytes_total));
        text.push_str(&format!(", {done} of {all}"));
    }
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

/// `[####------]`
fn bar(done: u64, all: u64) -> String {
    let full = u128::from(done.min(all)) * u128::from(BAR_SIGNS);
    let full = full.checked_div(u128::from(all)).unwrap_or(0);
    let sign = |at| match u128::from(at) < full {
        true => '#',
        false => '-',
    };
    let signs: String = (0..BAR_SIGNS).map(sign).collect();
    format!("[{signs}]")
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
        assert_eq!(
            early,
            "[##--------] reading packs: 10 of 40, 10.0 MiB of 40.0 MiB"
        );
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
        assert_eq!(
            (bar(0, 3), bar(3, 3)),
            ("[----------]".into(), "[##########]".into())
        );
        assert_eq!(
            (bar(9, 3), bar(u64::MAX - 1, u64::MAX)),
            ("[##########]".into(), "[#########-]".into())
        );
    }
}
