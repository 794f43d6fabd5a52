//! Counting requests: windows per bucket, the global limit, and the ban of who ignores them.

use std::collections::HashMap;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, header};
use serde_json::json;

use crate::emulator::fault::Scope;
use crate::emulator::reply::{Refusal, json_response, seconds_of, text_response};
use crate::emulator::settings::{Limits, RateLimits, RouteLimit};
use crate::emulator::snowflake::Snowflake;

/// Windows kept before finished ones are swept.
const WINDOWS_SWEPT_AT: usize = 4096;

/// What a request counts against: a name per route and the id it is kept per.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Bucket {
    pub(crate) name: &'static str,
    /// The channel, or nothing for limits over all channels.
    pub(crate) major: Option<Snowflake>,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    opened_ms: u64,
    ends_ms: u64,
    used: u32,
}

/// What one request left in its window: the `X-RateLimit` headers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    pub(crate) bucket: &'static str,
    pub(crate) limit: u32,
    pub(crate) remaining: u32,
    pub(crate) reset_ms: u64,
    pub(crate) reset_after_ms: u64,
}

/// May the request pass?
#[derive(Clone, Copy, Debug)]
pub(crate) enum Verdict {
    /// The route has no limit of its own.
    Free,
    Pass(Standing),
    Full(Standing),
}

/// All windows of all users.
#[derive(Debug, Default)]
pub(crate) struct Limiter {
    windows: HashMap<(Snowflake, Bucket), Window>,
    global: HashMap<Snowflake, Window>,
    invalid: Option<Window>,
    banned_until_ms: u64,
}

impl Limiter {
    /// Counts a request against its route's window.
    pub(crate) fn take(
        &mut self,
        user: Snowflake,
        bucket: Bucket,
        limit: RouteLimit,
        now_ms: u64,
    ) -> Verdict {
        if limit.requests == 0 {
            return Verdict::Free;
        }
        if self.windows.len() > WINDOWS_SWEPT_AT {
            self.windows.retain(|_, window| window.ends_ms > now_ms);
        }
        let fresh = Window::open(now_ms, limit.window_ms);
        let window = self.windows.entry((user, bucket)).or_insert(fresh);
        window.renew(now_ms, limit.window_ms);
        let passes = window.used < limit.requests;
        window.used += u32::from(passes);
        let standing = Standing {
            bucket: bucket.name,
            limit: limit.requests,
            remaining: limit.requests - window.used,
            reset_ms: window.ends_ms,
            reset_after_ms: window.ends_ms - now_ms,
        };
        if passes {
            Verdict::Pass(standing)
        } else {
            Verdict::Full(standing)
        }
    }

    /// Counts a request against a limit that has no headers.
    pub(crate) fn take_hidden(
        &mut self,
        user: Snowflake,
        bucket: Bucket,
        limit: RouteLimit,
        code: u32,
        now_ms: u64,
    ) -> Result<(), Refusal> {
        match self.take(user, bucket, limit, now_ms) {
            Verdict::Free | Verdict::Pass(_) => Ok(()),
            Verdict::Full(standing) => Err(Refusal::SubLimit {
                code,
                retry_after_ms: standing.reset_after_ms,
            }),
        }
    }

    /// Counts a request against the user's global limit; over it, how long to wait.
    pub(crate) fn take_global(
        &mut self,
        user: Snowflake,
        limits: &Limits,
        now_ms: u64,
    ) -> Option<u64> {
        let window = self
            .global
            .entry(user)
            .or_insert(Window::open(now_ms, 1000));
        window.renew(now_ms, 1000);
        if window.used >= limits.global_per_s {
            return Some(window.ends_ms - now_ms);
        }
        window.used += 1;
        None
    }

    /// Counts an answer 401, 403 or 429; too many ban the address.
    pub(crate) fn invalid(&mut self, limits: &Limits, now_ms: u64) {
        if limits.rate_limits == RateLimits::Off {
            return;
        }
        let length_ms = limits.invalid_window_s * 1000;
        let window = self.invalid.get_or_insert(Window::open(now_ms, length_ms));
        window.renew(now_ms, length_ms);
        window.used += 1;
        if window.used >= limits.invalid_max {
            self.banned_until_ms = now_ms + limits.ban_s * 1000;
            self.invalid = None;
        }
    }

    /// Seconds left of a ban.
    pub(crate) fn banned_s(&self, now_ms: u64) -> Option<u64> {
        let left_ms = self.banned_until_ms.checked_sub(now_ms)?;
        (left_ms > 0).then(|| left_ms.div_ceil(1000))
    }
}

impl Window {
    fn open(now_ms: u64, length_ms: u64) -> Self {
        Self {
            opened_ms: now_ms,
            ends_ms: now_ms + length_ms,
            used: 0,
        }
    }

    fn renew(&mut self, now_ms: u64, length_ms: u64) {
        if now_ms >= self.ends_ms || now_ms < self.opened_ms {
            *self = Self::open(now_ms, length_ms);
        }
    }
}

impl Standing {
    /// Writes the headers that every answer of a limited route has.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        let mut put = |name, value: String| {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        };
        put("x-ratelimit-limit", self.limit.to_string());
        put("x-ratelimit-remaining", self.remaining.to_string());
        put(
            "x-ratelimit-reset",
            format!("{:.3}", seconds_of(self.reset_ms)),
        );
        put(
            "x-ratelimit-reset-after",
            format!("{:.3}", seconds_of(self.reset_after_ms)),
        );
        let hash = blake3::hash(self.bucket.as_bytes()).to_hex();
        put("x-ratelimit-bucket", hash[..32].to_owned());
    }
}

/// A 429 of the API. `standing` is the bucket's, which a global one does not have.
pub(crate) fn too_many(
    scope: Scope,
    retry_after_ms: u64,
    code: Option<u32>,
    standing: Option<Standing>,
) -> Response<Body> {
    let message = match (code, scope) {
        (Some(20028), _) => {
            "The write action you are performing on the channel has hit the write rate limit."
        }
        (Some(30046), _) => {
            "Maximum number of edits to messages older than 1 hour reached. Try again later"
        }
        (_, Scope::Shared) => "The resource is being rate limited.",
        (_, Scope::User | Scope::Global) => "You are being rate limited.",
    };
    let mut body = json!({
        "message": message,
        "retry_after": seconds_of(retry_after_ms),
        "global": scope == Scope::Global,
    });
    if let Some(code) = code {
        body["code"] = json!(code);
    }
    let mut response = json_response(429, &body);
    let headers = response.headers_mut();
    headers.insert(header::RETRY_AFTER, retry_after_ms.div_ceil(1000).into());
    let name = match scope {
        Scope::User => "user",
        Scope::Shared => "shared",
        Scope::Global => "global",
    };
    headers.insert("x-ratelimit-scope", HeaderValue::from_static(name));
    if scope == Scope::Global {
        headers.insert("x-ratelimit-global", HeaderValue::from_static("true"));
    } else if let Some(standing) = standing {
        standing.write(headers);
    }
    response
}

/// Cloudflare's 429: no JSON, no rate limit headers.
pub(crate) fn cloudflare(retry_after_s: u64) -> Response<Body> {
    let page = "<!DOCTYPE html><html><head><title>Access denied | Error 1015</title></head>\
                <body>error code: 1015. You are being rate limited.</body></html>";
    let mut response = text_response(429, "text/html; charset=UTF-8", page.to_owned());
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, retry_after_s.into());
    response
}
