//! A range that somebody waits for comes over several connections at once.
//!
//! At 25 MiB/s for a connection a mebibyte takes half as long as a round trip of 80 ms, so a read of a few bytes
//! would wait for the chunk around them one and a half round trips. In parts it waits little more than one.

use std::ops::Range;

use bytes::Bytes;
use futures_util::future::try_join_all;

use crate::drive::Drive;
use crate::drive::fetch::Request;
use crate::size::KIB;
use crate::store;
use crate::store::Urgency;

/// A range that is not longer is asked for as a whole.
const WHOLE_BYTES_MAX: u64 = 512 * KIB;

/// Parts at most.
const PARTS_MAX: u64 = 4;

/// Shortest part.
const PART_BYTES: u64 = 256 * KIB;

/// Frames at most: many small ones are brought for later reads, and nobody waits for all of them.
const FRAMES_MAX: usize = 2;

impl Drive {
    /// The bytes of a request's range.
    pub(in crate::drive) async fn get_split(
        &self,
        request: &Request,
        urgency: Urgency,
    ) -> Result<Bytes, store::Error> {
        let (locator, range) = (&request.locator, request.range.clone());
        let is_waited_for = urgency == Urgency::Foreground && request.frames.len() <= FRAMES_MAX;
        let parts = match is_waited_for {
            true => parts(&range),
            false => vec![range],
        };
        let parts = parts.into_iter();
        let mut parts =
            try_join_all(parts.map(|part| self.store.get(locator, part, urgency))).await?;
        Ok(match parts.len() {
            1 => parts.remove(0),
            _ => parts.concat().into(),
        })
    }
}

/// A range in parts, without a gap.
fn parts(range: &Range<u64>) -> Vec<Range<u64>> {
    let bytes = range.end.saturating_sub(range.start);
    let count = match bytes <= WHOLE_BYTES_MAX {
        true => 1,
        false => bytes.div_ceil(PART_BYTES).min(PARTS_MAX),
    };
    let part = bytes.div_ceil(count);
    let begin = |number: u64| (range.start + number * part).min(range.end);
    (0..count)
        .map(|number| begin(number)..begin(number + 1))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_no_gap_and_are_few() {
        for bytes in [
            1,
            100,
            WHOLE_BYTES_MAX,
            WHOLE_BYTES_MAX + 1,
            1 << 20,
            (4 << 20) + 3,
        ] {
            let range = 77..77 + bytes;
            let all = parts(&range);
            assert_eq!(all.len() > 1, bytes > WHOLE_BYTES_MAX, "{bytes}");
            assert!(all.len() as u64 <= PARTS_MAX);
            assert_eq!(all[0].start, range.start);
            assert_eq!(all[all.len() - 1].end, range.end);
            assert!(all.windows(2).all(|two| two[0].end == two[1].start));
        }
    }
}
