//! What a fuzzer does with Discord's answers: any status, headers and body, and any place that was noted.

use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::header::HeaderName;
use reqwest::header::HeaderValue;
use tokio::time::Instant;

use super::answer::fail;
use super::answer::hear;
use super::cdn;
use super::deed::Deed;
use super::guild::RawChannel;
use super::guild::RawGuild;
use super::guild::RawMember;
use super::limiter::Lane;
use super::limiter::Limiter;
use super::limiter::Rates;
use super::limiter::Verdict;
use super::listing::Channel;
use super::pins::PinsPage;
use super::setup::RawGuildName;
use super::setup::RawUser;
use super::transport::parse;
use super::wire::Message;
use super::wire::Place;
use super::wire::Spot;
use crate::codec::fuzzing::take;
use crate::store::Locator;
use crate::store::Shelf;
use crate::store::Urgency;

const NAMES: [&str; 8] = [
    "x-ratelimit-bucket",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset-after",
    "x-ratelimit-scope",
    "x-ratelimit-global",
    "retry-after",
    "content-type",
];

/// Lines of headers, an empty line, a body: what the limiter learns of it, and what a person is told.
/// However odd the answer, the limiter lets something go within a day.
pub fn limits(data: &[u8]) {
    let (status, data) = take(data);
    let status = u16::from_le_bytes(status) % 600;
    let text = data.split(|byte| *byte == b'\n');
    let mut headers = HeaderMap::new();
    for line in text.clone().take_while(|line| !line.is_empty()) {
        let (which, value) = take::<1>(line);
        let name = HeaderName::from_static(NAMES[usize::from(which[0] % 8)]);
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.insert(name, value);
        }
    }
    let body: Vec<&[u8]> = text.skip_while(|line| !line.is_empty()).skip(1).collect();
    let body = body.join(&b'\n');
    let heard = hear(status, &headers, &body, Duration::from_millis(100));
    let mut limiter = Limiter::new(Rates::default());
    let lane = Lane {
        kind: "GET messages",
        major: 7,
    };
    let now = Instant::now();
    for turn in 0..3 {
        let at = now + turn * (DAY + Duration::from_secs(1));
        let ticket = limiter.queue(lane, Urgency::Foreground);
        let verdict = limiter.ask(at, lane, Urgency::Foreground, ticket);
        let Verdict::Go(charge) = verdict else {
            panic!("after a day it still says {verdict:?}");
        };
        limiter.done(at, &charge, &heard);
        assert!(limiter.waiting(at).is_none_or(|wait| wait <= DAY));
    }
    if status != 429 && !(200..300).contains(&status) {
        let deed = Deed::new("read", "here", "View Channel");
        let fail = fail(status, &body);
        assert!(fail.in_words(&deed).len() < 4096, "a person reads it");
        assert!(fail.error(&deed).to_string().len() < 4096);
    }
}

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A body as each thing that Discord may answer with.
pub fn messages(data: &[u8]) {
    let messages: Vec<Message> = parse(data)
        .or_else(|_| parse(data).map(|one| vec![one]))
        .unwrap_or_default();
    for message in &messages {
        let _ = message.holds_objects_of(7);
        for entry in message.entries() {
            let place = Place::read(&entry.locator).expect("its own");
            assert_eq!(place.locator(), entry.locator);
            assert_eq!(place.bytes, entry.bytes);
        }
        let shown = format!("{message:?}");
        for attachment in message.attachments.iter().filter(|one| one.url.len() > 40) {
            assert!(!shown.contains(&attachment.url), "an address is a secret");
            let _ = cdn::expires_ms(&attachment.url);
        }
    }
    drop(parse::<PinsPage>(data));
    drop(parse::<Channel>(data));
    drop(parse::<RawUser>(data));
    drop(parse::<Vec<RawGuildName>>(data));
    drop(parse::<RawGuild>(data));
    drop(parse::<RawMember>(data));
    drop(parse::<Vec<RawChannel>>(data));
    if let Err(error) = parse::<Vec<Message>>(data) {
        assert!(error.to_string().len() < 4096, "a person reads it");
    }
}

/// Any bytes as a noted place, any text as a shelf or an address.
pub fn places(data: &[u8]) {
    let locator = Locator(data.to_vec());
    if let Ok(place) = Place::read(&locator) {
        assert_eq!(place.locator(), locator);
    }
    let text = String::from_utf8_lossy(data);
    if let Ok(spot) = Spot::read(&Shelf(text.to_string())) {
        assert_eq!(Spot::read(&spot.shelf()).ok(), Some(spot));
        assert_eq!(spot.shelf().0, text, "a shelf has one name");
    }
    let _ = cdn::expires_ms(&text);
}
