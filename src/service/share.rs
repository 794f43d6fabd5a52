//! Shares: how much of something is saved, as people compare it.

/// The share of `before` that is not in `after`, 0 to 1; 0 when `after` is more.
#[expect(clippy::cast_precision_loss, reason = "a share for people")]
pub(in crate::service) fn saved(before: u64, after: u64) -> f64 {
    match before {
        0 => 0.0,
        _ => 1.0 - after.min(before) as f64 / before as f64,
    }
}
