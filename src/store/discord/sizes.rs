//! How much Discord takes at once, as far as it is known: the documents say one thing, the server
//! another, and a server that loses its boosts a third.

use crate::size::KIB;
use crate::size::MIB;
use crate::store::Limits;

/// Attachments on a message.
const OBJECTS_MAX: usize = 10;
/// Room in a request for what lies around the objects: the form, their names, the nonce.
const FORM_BYTES: u64 = 64 * KIB;
/// A request of 25 MiB is documented to be taken; what is refused below it is refused for its largest
/// attachment.
pub(super) const SAFE_PUT_BYTES: u64 = 25 * MIB - FORM_BYTES;
/// Attachment limits that Discord has, or had.
const STEPS: [u64; 7] = [
    500 * MIB,
    100 * MIB,
    50 * MIB,
    25 * MIB,
    20 * MIB,
    10 * MIB,
    8 * MIB,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    object_max: u64,
    put_max: u64,
    put_ceiling: u64,
    /// The largest put that was taken, or what is documented.
    proven: u64,
    /// When more than `put_ceiling` was refused, milliseconds since 1970.
    refused_ms: Option<u64>,
}

impl Sizes {
    pub(super) fn new(object_max: u64, put_start: u64, put_ceiling: u64) -> Self {
        Self {
            object_max,
            put_max: put_start.min(put_ceiling),
            put_ceiling,
            proven: SAFE_PUT_BYTES,
            refused_ms: None,
        }
    }

    /// What an earlier session knew: what was taken, what was to be tried next, and when more was refused, if that
    /// still counts.
    pub(super) fn recall(&mut self, proven: u64, put_max: u64, refused_ms: Option<u64>) {
        let put_max = put_max.clamp(SAFE_PUT_BYTES, self.put_ceiling.max(SAFE_PUT_BYTES));
        if refused_ms.is_some() {
            self.put_ceiling = self.put_ceiling.min(put_max);
        }
        self.put_max = self.put_max.max(put_max).min(self.put_ceiling);
        self.proven = self.proven.max(proven.min(self.put_max));
        self.refused_ms = refused_ms;
    }

    pub(super) fn proven(&self) -> u64 {
        self.proven
    }

    pub(super) fn put_max(&self) -> u64 {
        self.put_max
    }

    pub(super) fn refused_ms(&self) -> Option<u64> {
        self.refused_ms
    }

    pub(super) fn limits(&self) -> Limits {
        let ten = self.object_max.saturating_mul(OBJECTS_MAX as u64);
        let within = |bytes: u64| bytes.min(ten).max(self.object_max);
        Limits {
            object_bytes_max: self.object_max,
            objects_max: OBJECTS_MAX,
            put_bytes_max: within(self.put_max),
            put_bytes_proven: within(self.proven.min(self.put_max)),
        }
    }

    /// A put of so many bytes was taken: if it came near the limit, the next may be half as large again.
    pub(super) fn taken(&mut self, total: u64) {
        self.proven = self.proven.max(total);
        if total >= self.limits().put_bytes_max / 5 * 4 {
            self.put_max = (self.put_max + self.put_max / 2).min(self.put_ceiling);
        }
    }

    /// A put was too large: the attachment, or all of them together. Gives the limit to name. What was taken before
    /// is tried again only if it was less.
    pub(super) fn refused(&mut self, count: usize, largest: u64, total: u64, now_ms: u64) -> u64 {
        if count == 1 || total <= SAFE_PUT_BYTES {
            let step = STEPS.iter().find(|step| **step < largest);
            let below = step.copied().unwrap_or(largest / 2).max(1);
            self.object_max = self.object_max.min(below);
            return self.object_max;
        }
        let known = match total > self.proven {
            true => self.proven,
            false => SAFE_PUT_BYTES,
        };
        self.put_max = self.put_max.min((total / 2).max(known));
        self.put_ceiling = self.put_max;
        self.proven = self.proven.min(self.put_max);
        self.refused_ms = Some(now_ms);
        self.limits().put_bytes_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_put_grows_to_ten_full_objects_while_it_works() {
        let mut sizes = Sizes::new(10 * MIB, 25 * MIB, 180 * MIB);
        let mut seen = Vec::new();
        for _ in 0..6 {
            let max = sizes.limits().put_bytes_max;
            seen.push(max / MIB);
            sizes.taken(max / 2);
            assert_eq!(sizes.limits().put_bytes_max, max, "half full tells nothing");
            sizes.taken(max);
        }
        assert_eq!(seen, [25, 37, 56, 84, 100, 100]);
        let large = Sizes::new(50 * MIB, 25 * MIB, 180 * MIB).limits();
        assert_eq!(large.put_bytes_max, 50 * MIB);
    }

    #[test]
    fn what_was_taken_is_proven_and_what_is_refused_is_not() {
        let mut sizes = Sizes::new(10 * MIB, SAFE_PUT_BYTES, 180 * MIB);
        assert_eq!(sizes.limits().put_bytes_proven, SAFE_PUT_BYTES);
        sizes.taken(24 * MIB);
        assert_eq!(sizes.limits().put_bytes_proven, SAFE_PUT_BYTES);
        sizes.taken(33 * MIB);
        assert_eq!(sizes.limits().put_bytes_proven, 33 * MIB);
        sizes.refused(6, 10 * MIB, 56 * MIB, 7);
        let limits = sizes.limits();
        assert_eq!(limits.put_bytes_proven, limits.put_bytes_max);
        assert_eq!(limits.put_bytes_max, 33 * MIB);
        sizes.refused(4, 10 * MIB, 33 * MIB, 8);
        assert_eq!(sizes.limits().put_bytes_max, SAFE_PUT_BYTES, "not so much");
    }

    #[test]
    fn what_was_taken_is_not_doubted_because_more_was_refused() {
        let mut sizes = Sizes::new(10 * MIB, 84 * MIB, 180 * MIB);
        sizes.taken(56 * MIB);
        assert_eq!(sizes.refused(9, 10 * MIB, 84 * MIB, 7), 56 * MIB);
        assert_eq!(sizes.limits().put_bytes_proven, 56 * MIB);
        assert_eq!(sizes.refused_ms(), Some(7));
    }

    #[test]
    fn a_refusal_shrinks_what_is_to_blame_and_it_stays_small() {
        let mut sizes = Sizes::new(10 * MIB, 100 * MIB, 180 * MIB);
        assert_eq!(sizes.refused(8, 10 * MIB, 80 * MIB, 7), 40 * MIB);
        sizes.taken(40 * MIB);
        assert_eq!(sizes.limits().put_bytes_max, 40 * MIB);
        assert_eq!(sizes.limits().object_bytes_max, 10 * MIB);
        assert_eq!(sizes.refused(2, 10 * MIB, 15 * MIB, 7), 8 * MIB);
        assert_eq!(sizes.refused(1, 8 * MIB, 8 * MIB, 7), 4 * MIB);
        assert_eq!(
            sizes.refused(1, 30 * MIB, 30 * MIB, 7),
            4 * MIB,
            "never grows"
        );
    }
}
