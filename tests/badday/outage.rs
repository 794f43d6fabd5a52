//! Days on which nothing gets through for a while: everything local works on, the state says what is
//! the matter, Discord is asked seldom, and when it is over the upload goes on without help.

use ods::emulator::ErrorBody;
use ods::emulator::FaultKind;
use ods::emulator::Scope;

use crate::day::ANY;
use crate::day::Day;
use crate::day::POST;
use crate::support::until;

/// What such a day looks like from here.
struct Outage {
    route: &'static str,
    kind: FaultKind,
    /// Words of the last error.
    says: &'static str,
    /// Discord said how long to wait.
    waits: bool,
    /// Most requests while it lasts, about four seconds, and most of them that count towards a ban.
    requests_max: u64,
    invalid_max: u64,
}

fn play(seed: u64, outage: &Outage) {
    let mut day = Day::new(seed);
    let before = day.counts();
    let id = day.strike_always(outage.route, outage.kind.clone());
    day.work(20);
    day.check();
    day.flush_within(2)
        .bad(24, &["the upload goes on", outage.says]);
    let status = day.status_when(outage.says, |status| {
        let told = status["last_error"]
            .as_str()
            .is_some_and(|error| error.contains(outage.says));
        told && (!outage.waits
            || status["discord"]["waiting_s"]
                .as_u64()
                .is_some_and(|wait| wait > 0))
    });
    assert_eq!(status["unpublished"], true);
    assert_eq!(status["read_only"], serde_json::Value::Null);
    until("the state on the page for people", || {
        let page = day.machine.ods(&["status"]).good().out;
        let told = page.contains("error") && page.contains("to upload");
        told && (!outage.waits || page.contains("asks to wait"))
    });
    day.work(10);
    day.check();
    let after = day.counts();
    assert!(day.world.emulator.faults().met(id) > 0, "it never struck");
    let (requests, invalid) = (
        after.requests - before.requests,
        after.invalid - before.invalid,
    );
    assert!(requests <= outage.requests_max, "{requests} requests");
    assert!(invalid <= outage.invalid_max, "{invalid} invalid requests");

    day.world.emulator.faults().clear();
    day.flush().good();
    day.ends_well();
}

macro_rules! outages {
    ($($name:ident = $seed:literal, $outage:expr;)*) => {
        $(#[test] fn $name() { play($seed, &$outage); })*
    };
}

/// A 429 on everything: one request learns it, and those that were under way.
fn limited(scope: Scope, remaining: u32, code: Option<u32>) -> Outage {
    let kind = FaultKind::RateLimited {
        scope,
        retry_after_s: 3.0,
        remaining,
        code,
    };
    Outage {
        route: ANY,
        kind,
        says: "to wait",
        waits: true,
        requests_max: 16,
        invalid_max: if scope == Scope::Shared { 0 } else { 16 },
    }
}

fn error(status: u16, body: ErrorBody, says: &'static str) -> Outage {
    Outage {
        route: ANY,
        kind: FaultKind::Error { status, body },
        says,
        waits: false,
        requests_max: 24,
        invalid_max: 0,
    }
}

outages! {
    a_429_for_this_user = 1, limited(Scope::User, 0, None);
    a_429_that_is_shared_although_some_is_left = 2, limited(Scope::Shared, 4, None);
    a_429_for_everything = 3, limited(Scope::Global, 0, None);
    the_write_limit_20028 = 4, limited(Scope::User, 3, Some(20028));
    a_500_in_json = 10, error(500, ErrorBody::Json, "500");
    a_502_in_json = 11, error(502, ErrorBody::Json, "502");
    a_503_in_json = 12, error(503, ErrorBody::Json, "503");
    a_504_in_json = 13, error(504, ErrorBody::Json, "504");
    a_500_in_html = 14, error(500, ErrorBody::Html, "500");
    a_502_in_html = 15, error(502, ErrorBody::Html, "502");
    a_503_in_html = 16, error(503, ErrorBody::Html, "503");
    a_504_in_html = 17, error(504, ErrorBody::Html, "504");
    every_upload_is_reset = 18, Outage {
        route: POST,
        kind: FaultKind::ResetUpload { after_bytes: 300 },
        says: "could not be reached",
        waits: false,
        requests_max: 24,
        invalid_max: 0,
    };
    every_answer_is_lost = 19, Outage {
        route: POST,
        kind: FaultKind::LostAnswer { status: None },
        says: "could not be reached",
        waits: false,
        requests_max: 24,
        invalid_max: 0,
    };
}

/// Cloudflare wants an hour: that is obeyed, told, and forgotten by nobody but a new process.
#[test]
fn cloudflare_wants_an_hour() {
    let mut day = Day::new(20);
    let before = day.counts();
    let wait = FaultKind::Cloudflare {
        retry_after_s: 3600,
    };
    day.strike(ANY, wait, 4);
    day.work(20);
    day.flush_within(2).bad(24, &["asks to wait", "h"]);
    let status = day.status();
    let waiting = status["discord"]["waiting_s"].as_u64().expect("it waits");
    assert!((3500..=3600).contains(&waiting), "{waiting}");
    let page = day.machine.ods(&["status"]).good().out;
    assert!(page.contains("asks to wait"), "{page}");
    // The way is free, but an hour is an hour.
    let asked = day.counts().requests - before.requests;
    assert!(asked <= 4, "{asked} requests");
    day.world.emulator.faults().clear();
    day.work(10);
    day.flush_within(2).bad(24, &["asks to wait"]);
    assert_eq!(day.counts().requests - before.requests, asked);
    day.check();
    day.machine.ods(&["umount", "--force"]).good();
    day.mount();
    day.flush().good();
    day.ends_well();
}

/// Edits of old messages have a hidden limit: a card that says something old keeps nothing waiting.
#[test]
fn the_limit_for_edits_of_old_messages_30046() {
    let mut day = Day::new(21);
    let kind = FaultKind::RateLimited {
        scope: Scope::User,
        retry_after_s: 3.0,
        remaining: 3,
        code: Some(30046),
    };
    let before = day.counts();
    let id = day.strike_always("PATCH /channels/{}/messages/{}", kind);
    until("an edit of a card", || {
        day.work(5);
        day.flush().good();
        day.world.emulator.faults().met(id) > 0
    });
    let after = day.counts();
    assert!(after.invalid - before.invalid <= 4, "{after:?}");
    day.world.emulator.faults().clear();
    day.work(5);
    day.flush().good();
    day.ends_well();
}
