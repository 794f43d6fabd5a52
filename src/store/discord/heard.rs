//! What an answer tells about limits.

use std::time::Duration;

/// What an answer tells about limits.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Heard {
    /// HTTP status.
    pub(super) status: u16,
    /// The bucket's headers, if all are there.
    pub(super) bucket: Option<HeardBucket>,
    /// For 429: how long to wait, and who has to.
    pub(super) limited: Option<(Duration, Scope)>,
}

/// The headers `X-RateLimit-{Bucket,Limit,Remaining,Reset-After,Reset}`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct HeardBucket {
    pub(super) name: String,
    pub(super) limit: u32,
    pub(super) left: u32,
    pub(super) resets_after: Duration,
    /// By Discord's clock, seconds since 1970; not in every answer.
    pub(super) resets_at_s: Option<f64>,
}

/// Whom a 429 is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// This bucket, by our own doing.
    User,
    /// This channel, by somebody else's doing; not held against us.
    Shared,
    /// Every request: the limit per second, or Cloudflare before Discord.
    Everything,
}
