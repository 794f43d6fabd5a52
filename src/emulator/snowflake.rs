//! Discord's ids, which carry the time they were made, and its way of writing times.

use std::fmt;
use std::str::FromStr;

use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

/// 2015-01-01, the start of Discord's time, in Unix milliseconds.
const EPOCH_MS: u64 = 1_420_070_400_000;

/// One of Discord's ids: a decimal string in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Snowflake(pub(crate) u64);

impl Snowflake {
    /// Unix milliseconds at which this id was made.
    pub(crate) fn created_ms(self) -> u64 {
        (self.0 >> 22) + EPOCH_MS
    }

    /// The smallest id made at or after a time.
    pub(crate) fn at(unix_ms: u64) -> Self {
        Self(unix_ms.saturating_sub(EPOCH_MS) << 22)
    }
}

impl fmt::Display for Snowflake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Snowflake {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl Serialize for Snowflake {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Snowflake {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Snowflake;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a snowflake")
            }
            fn visit_u64<E>(self, number: u64) -> Result<Snowflake, E> {
                Ok(Snowflake(number))
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Snowflake, E> {
                text.parse().map_err(E::custom)
            }
        }
        from.deserialize_any(Either).map_err(D::Error::custom)
    }
}

/// Makes ids that never repeat and always grow, also when the clock stands still.
#[derive(Debug, Default)]
pub(crate) struct Maker {
    last: u64,
}

impl Maker {
    pub(crate) fn next(&mut self, now_ms: u64) -> Snowflake {
        self.last = Snowflake::at(now_ms).0.max(self.last + 1);
        Snowflake(self.last)
    }

    /// Later ids will be larger than this one.
    pub(crate) fn seen(&mut self, id: Snowflake) {
        self.last = self.last.max(id.0);
    }
}

/// `2017-07-11T17:27:07.299000+00:00`
pub(crate) fn iso_us(unix_us: u64) -> String {
    let shape = format_description!(
        "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]+00:00"
    );
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_us) * 1000)
        .ok()
        .and_then(|at| at.format(&shape).ok())
        .unwrap_or_default()
}

/// As [`iso_us`], from milliseconds.
pub(crate) fn iso_ms(unix_ms: u64) -> String {
    iso_us(unix_ms * 1000)
}

/// Microseconds since 1970 of an ISO 8601 time.
pub(crate) fn parse_iso_us(text: &str) -> Option<u64> {
    // A query string's `+` may have reached us as a space.
    let at = OffsetDateTime::parse(&text.replace(' ', "+"), &Rfc3339).ok()?;
    u64::try_from(at.unix_timestamp_nanos() / 1000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read_as_discord_does() {
        let at = 1_499_794_027_299_000;
        assert_eq!(iso_us(at), "2017-07-11T17:27:07.299000+00:00");
        assert_eq!(parse_iso_us(&iso_us(at)), Some(at));
        assert_eq!(parse_iso_us("2017-07-11T17:27:07.299Z"), Some(at));
    }

    #[test]
    fn ids_grow_while_the_clock_stands() {
        let mut maker = Maker::default();
        let first = maker.next(1_700_000_000_000);
        let second = maker.next(1_700_000_000_000);
        assert!(second > first);
        assert_eq!(second.created_ms(), 1_700_000_000_000);
    }
}
