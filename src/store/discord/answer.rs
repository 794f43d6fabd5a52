//! What Discord answers: success, limits, refusals, and what is none of Discord's words.

use std::time::Duration;

use reqwest::header::HeaderMap;
use serde::Deserialize;

use super::heard::{Heard, HeardBucket, Scope};
use crate::store::Error;

/// Codes of Discord's error table that ods tells apart.
pub(super) mod code {
    pub(in crate::store::discord) const UNKNOWN_CHANNEL: u64 = 10003;
    pub(in crate::store::discord) const UNKNOWN_MESSAGE: u64 = 10008;
    pub(in crate::store::discord) const PINS_FULL: u64 = 30003;
    pub(in crate::store::discord) const ACKNOWLEDGED: u64 = 40060;
    pub(in crate::store::discord) const CLOUDFLARE: u64 = 40333;
    pub(in crate::store::discord) const MISSING_ACCESS: u64 = 50001;
    pub(in crate::store::discord) const TOO_OLD_FOR_BULK: u64 = 50034;
    pub(in crate::store::discord) const THREAD_ARCHIVED: u64 = 50083;
    pub(in crate::store::discord) const THREAD_EXISTS: u64 = 160_004;
    pub(in crate::store::discord) const THREAD_LOCKED: u64 = 160_005;
    pub(in crate::store::discord) const THREADS_FULL: u64 = 160_006;
    pub(in crate::store::discord) const NEWS_THREADS_FULL: u64 = 160_007;
    pub(in crate::store::discord) const UPLOADS_LIMITED: u64 = 400_001;
}

/// Why one request did not succeed.
#[derive(Debug)]
pub(super) enum Fail {
    /// Discord said no, and would say so again. Nothing was done.
    Said(Said),
    /// Discord asked to wait; the gate knows for how long. Nothing was done.
    Limited,
    /// Nobody knows whether it was done.
    Unclear(Unclear),
    /// Nothing was sent, and there is no time left to do so.
    Gave(Error),
}

/// Discord's own words.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) status: u16,
    /// 0 when there were none.
    pub(super) code: u64,
    pub(super) message: String,
}

/// What is known of a request whose outcome is not.
#[derive(Debug)]
pub(super) struct Unclear {
    pub(super) status: Option<u16>,
    pub(super) what: String,
}

#[derive(Debug, Default, Deserialize)]
struct ErrorBody {
    #[serde(default)]
    message: String,
    #[serde(default)]
    code: u64,
    retry_after: Option<f64>,
    #[serde(default)]
    global: bool,
    errors: Option<serde_json::Value>,
}

/// Longest wait that is believed; beyond it something is wrong.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(24 * 3600);
/// When a 429 does not say how long.
const WAIT_UNTOLD: Duration = Duration::from_secs(5);
const WAIT_UNTOLD_CLOUDFLARE: Duration = Duration::from_secs(60);
const MESSAGE_CHARS_MAX: usize = 300;

/// What the headers and, of a 429, the body say about limits. `wait_least` is how long a 429 holds
/// even when it demands less.
pub(super) fn hear(status: u16, headers: &HeaderMap, body: &[u8], wait_least: Duration) -> Heard {
    Heard {
        status,
        bucket: bucket(headers),
        limited: (status == 429).then(|| limited(headers, body, wait_least)),
    }
}

fn bucket(headers: &HeaderMap) -> Option<HeardBucket> {
    Some(HeardBucket {
        name: text(headers, "x-ratelimit-bucket")?.into(),
        limit: text(headers, "x-ratelimit-limit")?.parse().ok()?,
        left: text(headers, "x-ratelimit-remaining")?.parse().ok()?,
        resets_after: seconds(text(headers, "x-ratelimit-reset-after")?.parse().ok()?),
        // Of use only where it is as exact as the other.
        resets_at_s: text(headers, "x-ratelimit-reset")
            .filter(|at| at.contains('.'))
            .and_then(|at| at.parse().ok())
            .filter(|at: &f64| at.is_finite()),
    })
}

fn limited(headers: &HeaderMap, body: &[u8], wait_least: Duration) -> (Duration, Scope) {
    let said: Option<ErrorBody> = serde_json::from_slice(body).ok();
    let from = |name| {
        let text = text(headers, name)?;
        text.parse().ok().map(seconds)
    };
    let in_body = said.as_ref().and_then(|said| said.retry_after).map(seconds);
    let told = in_body
        .or_else(|| from("retry-after"))
        .or_else(|| from("x-ratelimit-reset-after"));
    let scope = match text(headers, "x-ratelimit-scope") {
        Some("shared") => Scope::Shared,
        Some("global") => Scope::Everything,
        _ if headers.contains_key("x-ratelimit-global") => Scope::Everything,
        _ if said.as_ref().is_some_and(|said| said.global) => Scope::Everything,
        // Not Discord's words: Cloudflare, which is before everything.
        None if said.is_none() => Scope::Everything,
        _ => Scope::User,
    };
    let untold = if said.is_none() {
        WAIT_UNTOLD_CLOUDFLARE
    } else {
        WAIT_UNTOLD
    };
    (told.unwrap_or(untold).clamp(wait_least, WAIT_MAX), scope)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// So many seconds, but none that are not believed: clocks cannot count to them.
fn seconds(seconds: f64) -> Duration {
    let told = Duration::try_from_secs_f64(seconds).unwrap_or(if seconds > 0.0 {
        WAIT_MAX
    } else {
        Duration::ZERO
    });
    told.min(WAIT_MAX)
}

/// Sorts an answer that is neither 2xx nor 429.
pub(super) fn fail(status: u16, body: &[u8]) -> Fail {
    let said: Option<ErrorBody> = serde_json::from_slice(body).ok();
    if status >= 500 || status == 408 {
        let what = match said {
            Some(said) => format!("Discord answered {status}: {}", shown(&said.message)),
            None => format!("Discord answered {status}"),
        };
        let status = Some(status);
        return Fail::Unclear(Unclear { status, what });
    }
    if status == 403
        && said
            .as_ref()
            .is_none_or(|said| said.code == code::CLOUDFLARE)
    {
        return Fail::Gave(Error::Unavailable {
            what:
                "Cloudflare, which stands before Discord, lets no request from this address through"
                    .into(),
            retry_after: Some(WAIT_UNTOLD_CLOUDFLARE),
        });
    }
    let said = said.unwrap_or_default();
    let mut message = shown(&said.message);
    if let Some(errors) = said.errors {
        message = format!("{message} {}", shown(&errors.to_string()));
    }
    Fail::Said(Said {
        status,
        code: said.code,
        message,
    })
}

fn shown(message: &str) -> String {
    message.chars().take(MESSAGE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| {
                let name = reqwest::header::HeaderName::from_static(name);
                (name, HeaderValue::from_static(value))
            })
            .collect()
    }

    fn limits(pairs: &[(&'static str, &'static str)], body: &str) -> (Duration, Scope) {
        let heard = hear(429, &headers(pairs), body.as_bytes(), Duration::ZERO);
        heard.limited.expect("limited")
    }

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn a_bucket_is_read_from_the_headers_of_any_answer() {
        let pairs = [
            ("x-ratelimit-bucket", "abcd1234"),
            ("x-ratelimit-limit", "10"),
            ("x-ratelimit-remaining", "3"),
            ("x-ratelimit-reset-after", "64.57"),
        ];
        let heard = hear(200, &headers(&pairs), b"", Duration::ZERO);
        let bucket = heard.bucket.expect("a bucket");
        assert_eq!((bucket.limit, bucket.left), (10, 3));
        assert_eq!(bucket.resets_after, MS(64_570));
        assert_eq!(heard.limited, None);
        let heard = hear(200, &headers(&pairs[1..]), b"", Duration::ZERO);
        assert_eq!(heard.bucket, None);
    }

    #[test]
    fn a_429_of_each_kind_says_how_long_and_for_whom() {
        let user = r#"{"message":"slow","retry_after":64.57,"global":false}"#;
        let headers = [("retry-after", "65"), ("x-ratelimit-scope", "user")];
        assert_eq!(limits(&headers, user), (MS(64_570), Scope::User));
        let headers = [("retry-after", "1337"), ("x-ratelimit-scope", "shared")];
        let shared = r#"{"message":"slow","retry_after":1336.57,"global":false}"#;
        assert_eq!(limits(&headers, shared), (MS(1_336_570), Scope::Shared));
        let global = r#"{"message":"slow","retry_after":2,"global":true}"#;
        assert_eq!(limits(&[], global), (MS(2000), Scope::Everything));
        let headers = [("retry-after", "3600")];
        let html = limits(&headers, "<html>error code: 1015</html>");
        assert_eq!(html, (MS(3_600_000), Scope::Everything));
        let write = r#"{"message":"writes","retry_after":0.3,"global":false,"code":20028}"#;
        assert_eq!(limits(&[], write), (MS(300), Scope::User));
    }

    #[test]
    fn a_429_that_does_not_say_how_long_is_taken_seriously() {
        assert_eq!(
            limits(&[], "error code: 1015"),
            (MS(60_000), Scope::Everything)
        );
        assert_eq!(limits(&[], "{}"), (MS(5000), Scope::User));
        let odd = r#"{"retry_after":-1}"#;
        assert_eq!(limits(&[], odd).0, MS(0));
        let endless = r#"{"retry_after":1e300}"#;
        assert_eq!(limits(&[], endless).0, WAIT_MAX);
        let heard = hear(429, &HeaderMap::new(), odd.as_bytes(), MS(100));
        assert_eq!(heard.limited, Some((MS(100), Scope::User)));
    }
}
