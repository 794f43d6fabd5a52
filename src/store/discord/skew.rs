//! How far this machine's clock is from Discord's, as the dates of its answers tell.

use std::sync::Mutex;
use std::sync::PoisonError;

use reqwest::header::{DATE, HeaderMap};
use time::{PrimitiveDateTime, macros::format_description};

use crate::clock::Clock;

/// What the last answer told.
#[derive(Debug, Default)]
pub(super) struct Skew(Mutex<Option<i64>>);

impl Skew {
    /// Hears an answer.
    pub(super) fn hear(&self, headers: &HeaderMap) {
        let date = headers.get(DATE).and_then(|value| value.to_str().ok());
        if let Some(theirs) = date.and_then(seconds) {
            let ours = Clock::System.now().seconds();
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(ours - theirs);
        }
    }

    /// Seconds that this machine is ahead, before it negative; none if nothing was heard.
    pub(super) fn ahead_s(&self) -> Option<i64> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Seconds since 1970 of a date as HTTP writes it.
fn seconds(date: &str) -> Option<i64> {
    let format = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let time = PrimitiveDateTime::parse(date, format).ok()?;
    Some(time.assume_utc().unix_timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_tells_how_far_the_clock_is_off() {
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(seconds("yesterday"), None);
        let skew = Skew::default();
        assert_eq!(skew.ahead_s(), None);
        let mut headers = HeaderMap::new();
        headers.insert(DATE, "Sun, 06 Nov 1994 08:49:37 GMT".parse().expect("text"));
        skew.hear(&headers);
        assert!(skew.ahead_s().is_some_and(|ahead| ahead > 900_000_000));
    }
}
