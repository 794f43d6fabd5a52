//! The Discord store against a Discord that limits, fails, loses and lies. Requests are counted, no
//! time is measured.

use std::{sync::Arc, sync::atomic::AtomicI64, time::Duration};

use ods::clock::Clock;
use ods::emulator::{
    ErrorBody, Fault, FaultKind, Limits, RateLimits, Recorded, RouteLimit, RouteLimits, Scope,
    When, permission,
};
use ods::store::{
    Card, Error, Locator, Mark, Object, Shelf, Span, Store,
    Urgency::{Background, Foreground},
    discord::{Discord, Rates, Settings},
};

#[path = "support/discord.rs"]
mod discord;
#[path = "support/objects.rs"]
mod objects;

use discord::{POST, Place, place, place_at, place_with};
use objects::{bytes_of, nine_mib, object};

const SMALL: usize = 1000;
const MESSAGES: &str = "/messages";
const CDN: &str = "GET /attachments/*";
const DAY_MS: u64 = 24 * 3600 * 1000;

async fn put(store: &Discord, shelf: &Shelf, objects: &[Object]) -> Vec<Locator> {
    store
        .put(shelf, objects.to_vec())
        .await
        .expect("the put is taken")
}

/// Puts one object in the journal and gives back its locator and bytes.
async fn put_one(store: &Discord, name: &str, plain_bytes: usize) -> (Locator, Vec<u8>) {
    let object = object(name, plain_bytes);
    let bytes = bytes_of(&object);
    let locators = put(store, &store.journal(), &[object]).await;
    (locators[0].clone(), bytes)
}

async fn whole(store: &Discord, locator: &Locator, bytes: &[u8]) -> bool {
    let got = store.get(locator, 0..bytes.len() as u64, Foreground).await;
    got.expect("readable") == bytes
}

async fn names(store: &Discord, shelf: &Shelf) -> Vec<String> {
    let page = store
        .list(shelf, Span::After(Mark(0)))
        .await
        .expect("a page");
    page.entries.into_iter().map(|entry| entry.name).collect()
}

fn card() -> Card {
    Card {
        title: "#051126-01".into(),
        ..Card::default()
    }
}

fn fail(place: &Place, route: &str, kind: FaultKind) -> u64 {
    place.emulator.faults().add(Fault::new(route, kind))
}

fn fail_times(place: &Place, route: &str, times: u64, kind: FaultKind) -> u64 {
    place
        .emulator
        .faults()
        .add(Fault::new(route, kind).times(times))
}

fn limited(scope: Scope, retry_after_s: f64) -> FaultKind {
    FaultKind::RateLimited {
        scope,
        retry_after_s,
        remaining: 0,
        code: None,
    }
}

fn error(status: u16, body: ErrorBody) -> FaultKind {
    FaultKind::Error { status, body }
}

fn with_patience(place: &Place, patience_ms: u64) -> Discord {
    let patience = Duration::from_millis(patience_ms);
    connect(Settings {
        patience,
        ..place.settings()
    })
}

fn connect(settings: Settings) -> Discord {
    Discord::connect(settings).expect("a store")
}

// What is limited.

#[tokio::test]
async fn a_429_is_obeyed_and_then_tried_again() {
    for kind in [
        limited(Scope::User, 0.05),
        limited(Scope::Shared, 0.05),
        limited(Scope::Global, 0.05),
        FaultKind::RateLimited {
            scope: Scope::Shared,
            retry_after_s: 0.05,
            remaining: 4,
            code: Some(20028),
        },
        FaultKind::Cloudflare { retry_after_s: 0 },
    ] {
        let place = place().await;
        let store = place.store();
        fail_times(&place, POST, 2, kind.clone());
        put_one(&store, "a", SMALL).await;
        assert_eq!(place.asked("POST", MESSAGES), 3, "{kind:?}");
        assert_eq!(store.status().waiting, None);
    }
}

#[tokio::test]
async fn a_long_429_is_an_error_at_once_and_nothing_is_sent_until_it_is_over() {
    for (kind, everything) in [
        (limited(Scope::User, 3600.0), false),
        (limited(Scope::Shared, 3600.0), false),
        (limited(Scope::Global, 3600.0), true),
        (
            FaultKind::Cloudflare {
                retry_after_s: 3600,
            },
            true,
        ),
    ] {
        let place = place().await;
        let store = place.store();
        fail_times(&place, POST, 1, kind.clone());
        let journal = store.journal();
        for _ in 0..20 {
            let failed = store.put(&journal, vec![object("a", 1)]).await;
            let Err(Error::Unavailable { retry_after, .. }) = failed else {
                panic!("{kind:?}: {failed:?}");
            };
            assert!(retry_after.is_some_and(|wait| wait > Duration::from_secs(3500)));
        }
        assert_eq!(place.asked("POST", MESSAGES), 1, "{kind:?}");
        assert!(store.status().waiting.is_some());
        let listed = store.list(&journal, Span::Newest).await;
        assert_eq!(listed.is_err(), everything, "{kind:?}");
        assert_eq!(place.asked("GET", MESSAGES), u64::from(!everything));
    }
}

#[tokio::test]
async fn a_429_without_a_wait_is_no_hot_loop() {
    let place = place().await;
    let store = with_patience(&place, 400);
    fail(&place, POST, limited(Scope::User, 0.0));
    let failed = store.put(&store.journal(), vec![object("a", 1)]).await;
    assert!(failed.is_err_and(|error| error.is_passing()));
    let asked = place.asked("POST", MESSAGES);
    // 2, 4, 8, 16, 20, 20, … ms.
    assert!((3..=26).contains(&asked), "{asked}");
}

#[tokio::test]
async fn discords_limits_are_kept_without_a_single_429() {
    let routes = RouteLimits {
        create_message: RouteLimit::new(5, 200),
        list_messages: RouteLimit::new(5, 200),
        delete_new_message: RouteLimit::new(5, 100),
        ..RouteLimits::default()
    };
    let place = place_with(Limits {
        routes,
        ..Limits::default()
    })
    .await;
    let slow = FaultKind::Delay {
        ms: 20,
        when: When::After,
    };
    fail(&place, POST, slow);
    let store = connect(Settings {
        rates: Rates::default(),
        ..place.settings()
    });
    let shelf = store.shelf("label", &card()).await.expect("made");
    let work = (0..24).map(|number| {
        let (shelf, store) = (
            if number % 2 == 0 {
                store.journal()
            } else {
                shelf.clone()
            },
            &store,
        );
        async move {
            let locators = put(store, &shelf, &[object(&format!("n{number}"), 10)]).await;
            store.list(&shelf, Span::Newest).await.expect("a page");
            store
                .get(&locators[0], 0..5, Background)
                .await
                .expect("readable");
            if number % 4 == 0 {
                store.remove(&locators).await.expect("removed");
            }
        }
    });
    futures_util::future::join_all(work).await;
    let counts = place.emulator.counts();
    assert_eq!(counts.rate_limited, 0, "{counts:?}");
    assert!(counts.concurrent_max > 1);
}

#[tokio::test]
async fn refused_requests_end_in_silence() {
    let place = place().await;
    let store = connect(Settings {
        rates: Rates {
            invalid_max: 3,
            ..Rates::default()
        },
        ..place.settings()
    });
    place.emulator.revoke_token();
    for _ in 0..3 {
        let refused = store.list(&store.journal(), Span::Newest).await;
        assert!(
            matches!(refused, Err(Error::NotAccepted { .. })),
            "{refused:?}"
        );
    }
    for _ in 0..10 {
        let silent = store.list(&store.journal(), Span::Newest).await;
        let Err(Error::Unavailable { retry_after, what }) = silent else {
            panic!("{silent:?}");
        };
        assert!(retry_after.is_some_and(|wait| wait > Duration::from_secs(590)));
        assert!(what.contains("refused"), "{what}");
    }
    assert_eq!(place.emulator.counts().requests, 3);
}

// What fails for a while.

#[tokio::test]
async fn a_server_error_is_tried_again() {
    for kind in [
        error(500, ErrorBody::Json),
        error(502, ErrorBody::Html),
        error(503, ErrorBody::Plain),
        error(504, ErrorBody::Html),
        FaultKind::ResetUpload {
            after_bytes: 100_000,
        },
    ] {
        let place = place().await;
        let store = place.store();
        fail_times(&place, POST, 2, kind.clone());
        let (locator, bytes) = put_one(&store, "a", 300_000).await;
        assert_eq!(place.asked("POST", MESSAGES), 3, "{kind:?}");
        assert_eq!(place.emulator.counts().messages, 1);
        assert!(whole(&store, &locator, &bytes).await);
        assert_eq!(store.status().last_error, None);
    }
}

#[tokio::test]
async fn an_upload_says_its_length_and_is_a_form_of_message_and_files() {
    use tokio::io::AsyncReadExt;
    let place = place().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let store = connect(Settings {
        api_base: format!("http://127.0.0.1:{port}"),
        ..place.settings()
    });
    let objects = [object("a", 200_000), object("b", 10)];
    let journal = store.journal();
    let put = store.put(&journal, objects.to_vec());
    let request = async {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut request = Vec::new();
        while !request.ends_with(b"--\r\n") {
            stream.read_buf(&mut request).await.expect("readable");
        }
        request
    };
    let request = tokio::select! {
        answered = put => unreachable!("nobody answers: {answered:?}"),
        request = request => request,
    };
    let at = |bytes: &[u8]| {
        request
            .windows(bytes.len())
            .position(|window| window == bytes)
    };
    let head_bytes = at(b"\r\n\r\n").expect("a head") + 4;
    let head = String::from_utf8_lossy(&request[..head_bytes]).to_lowercase();
    let length = format!("\r\ncontent-length: {}\r\n", request.len() - head_bytes);
    assert!(
        head.contains(&length) && !head.contains("transfer-encoding"),
        "{head}"
    );
    assert!(
        head.contains("\r\nuser-agent: discordbot (https://"),
        "{head}"
    );
    for (number, object) in objects.iter().enumerate() {
        let name = format!("name=\"files[{number}]\"; filename=\"{}\"\r\n", object.name);
        assert!(at(name.as_bytes()) < at(&bytes_of(object)));
        assert!(at(name.as_bytes()).is_some() && at(&bytes_of(object)).is_some());
    }
    assert!(at(b"\"enforce_nonce\":true").is_some());
}

#[tokio::test]
async fn an_upload_that_nobody_takes_is_given_up() {
    let place = place().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let store = connect(Settings {
        api_base: format!("http://127.0.0.1:{port}"),
        silence_timeout: Duration::from_millis(50),
        patience: Duration::from_millis(400),
        bytes_per_second_min: u64::MAX,
        ..place.settings()
    });
    let takes_nothing = async {
        let mut connections = Vec::new();
        loop {
            connections.push(listener.accept().await.expect("a connection"));
        }
    };
    let journal = store.journal();
    let put = store.put(&journal, nine_mib(&["a"]));
    tokio::select! {
        failed = put => {
            let failed = failed.expect_err("cannot succeed");
            assert!(failed.is_passing(), "{failed}");
        }
        () = takes_nothing => unreachable!("accepts for ever"),
    }
    assert!(store.status().requests_total > 1);
}

#[tokio::test]
async fn patience_ends_and_says_why() {
    let place = place().await;
    let store = || with_patience(&place, 100);
    fail(&place, "* /channels/*", error(502, ErrorBody::Html));
    let journal = store().journal();
    for failed in [
        store().put(&journal, vec![object("a", 1)]).await.map(drop),
        store().list(&journal, Span::Newest).await.map(drop),
        store().shelf("label", &card()).await.map(drop),
        store().pinned().await.map(drop),
    ] {
        let Err(failed) = failed else {
            panic!("cannot succeed")
        };
        assert!(
            failed.is_passing() && failed.to_string().contains("502"),
            "{failed}"
        );
    }
    let store = store();
    assert!(store.list(&journal, Span::Newest).await.is_err());
    assert!(store.status().last_error.is_some());
}

#[tokio::test]
async fn without_a_network_everything_is_unavailable_and_no_address_is_told() {
    let mut place = place().await;
    let store = with_patience(&place, 100);
    let (locator, _) = put_one(&store, "a", SMALL).await;
    let elsewhere = discord::place().await.emulator;
    std::mem::replace(&mut place.emulator, elsewhere)
        .stop()
        .await;
    for failed in [
        store
            .put(&store.journal(), vec![object("b", 1)])
            .await
            .map(drop),
        store.get(&locator, 0..5, Foreground).await.map(drop),
        store.get_again(&locator, 0..5).await.map(drop),
        store.list(&store.journal(), Span::Newest).await.map(drop),
        store.remove(std::slice::from_ref(&locator)).await,
    ] {
        let Err(failed) = failed else {
            panic!("cannot succeed")
        };
        assert!(failed.is_passing(), "{failed:?}");
        let words = format!("{failed} {failed:?} {:?}", store.status());
        assert!(
            !words.contains("127.0.0.1") && !words.contains("hm="),
            "{words}"
        );
    }
}

// What is lost.

#[tokio::test]
async fn a_lost_answer_neither_loses_nor_doubles() {
    for status in [None, Some(500), Some(502)] {
        let place = place().await;
        let store = place.store();
        let shelf = store.shelf("label", &card()).await.expect("made");
        place.emulator.reset_counts();
        fail_times(&place, POST, 3, FaultKind::LostAnswer { status });
        let objects = [object("a", SMALL), object("b", SMALL)];
        let locators = put(&store, &shelf, &objects).await;
        assert_eq!(names(&store, &shelf).await, ["a", "b"]);
        let counts = place.emulator.counts();
        assert_eq!(
            (counts.messages, counts.messages_repeated),
            (1, 3),
            "{status:?}"
        );
        for (locator, object) in locators.iter().zip(&objects) {
            assert!(whole(&store, locator, &bytes_of(object)).await);
        }
    }
}

#[tokio::test]
async fn a_lost_answer_is_looked_for_once_discord_may_have_forgotten_the_nonce() {
    let place = place_with(Limits {
        nonce_window_s: 0,
        ..Limits::unlimited_rates()
    })
    .await;
    let store = connect(Settings {
        nonce_window: Duration::ZERO,
        ..place.settings()
    });
    let journal = store.journal();
    for number in 0..3 {
        put_one(&store, &format!("before{number}"), 1).await;
    }
    fail_times(&place, POST, 1, FaultKind::LostAnswer { status: None });
    put_one(&store, "a", SMALL).await;
    assert_eq!(place.emulator.counts().messages, 4);

    // The same over two calls, with more than a page of messages between them.
    let object = object("b", SMALL);
    let lost = fail_times(&place, POST, 1, FaultKind::LostAnswer { status: None });
    let impatient = connect(Settings {
        nonce_window: Duration::ZERO,
        backoff_first: Duration::from_secs(3600),
        backoff_max: Duration::from_secs(3600),
        ..place.settings()
    });
    let failed = impatient.put(&journal, vec![object.clone()]).await;
    assert!(failed.is_err_and(|error| error.is_passing()));
    assert_eq!(place.emulator.faults().met(lost), 1);
    for number in 0..120 {
        put_one(&store, &format!("between{number}"), 1).await;
    }
    let before = place.emulator.counts().messages;
    let locators = put(&impatient, &journal, std::slice::from_ref(&object)).await;
    assert_eq!(
        place.emulator.counts().messages,
        before,
        "found, not sent again"
    );
    assert!(whole(&impatient, &locators[0], &bytes_of(&object)).await);
}

#[tokio::test]
async fn a_put_that_was_dropped_halfway_is_not_doubled() {
    let place = place().await;
    let store = place.store();
    let journal = store.journal();
    let delay = FaultKind::Delay {
        ms: 300,
        when: When::After,
    };
    let delayed = fail_times(&place, POST, 1, delay);
    let objects = vec![object("a", SMALL)];
    {
        let put = store.put(&journal, objects.clone());
        let stored = async {
            while place.emulator.counts().messages == 0 {
                tokio::task::yield_now().await;
            }
        };
        futures_util::future::select(put, std::pin::pin!(stored)).await;
    }
    assert_eq!(place.emulator.faults().met(delayed), 1);
    put(&store, &journal, &objects).await;
    assert_eq!(place.emulator.counts().messages, 1);
}

#[tokio::test]
async fn a_lost_answer_makes_no_second_shelf() {
    let place = place().await;
    let store = place.store();
    fail_times(&place, POST, 1, FaultKind::LostAnswer { status: None });
    let threads = "POST /channels/{}/messages/{}/threads";
    fail_times(
        &place,
        threads,
        2,
        FaultKind::LostAnswer { status: Some(500) },
    );
    let shelf = store.shelf("label", &card()).await.expect("made");
    assert_eq!(place.emulator.counts().messages, 1);
    assert_eq!(store.shelf("label", &card()).await.expect("there"), shelf);
    put(&store, &shelf, &[object("a", 1)]).await;
    assert_eq!(names(&store, &shelf).await, ["a"]);
}

#[tokio::test]
async fn a_truncated_store_is_noticed_removed_and_sent_again() {
    let place = place().await;
    let store = place.store();
    let truncate = |recorded| FaultKind::TruncateStore {
        keep_bytes: 500,
        recorded,
    };
    fail_times(&place, POST, 2, truncate(Recorded::Short));
    let (locator, bytes) = put_one(&store, "a", SMALL).await;
    assert!(whole(&store, &locator, &bytes).await);
    assert_eq!(names(&store, &store.journal()).await, ["a"]);
    assert_eq!(place.asked("DELETE", "/messages/{message_id}"), 2);

    // Where Discord says that all is well, reading tells.
    fail_times(&place, POST, 1, truncate(Recorded::Full));
    let (locator, _) = put_one(&store, "b", SMALL).await;
    let read = store.get(&locator, 900..950, Foreground).await;
    assert!(matches!(read, Err(Error::Broken { .. })), "{read:?}");
    let read = store.get_again(&locator, 400..600).await;
    assert!(matches!(read, Err(Error::Broken { .. })), "{read:?}");

    fail(&place, POST, truncate(Recorded::Short));
    let never = store.put(&store.journal(), vec![object("c", SMALL)]).await;
    assert!(matches!(never, Err(Error::Broken { .. })), "{never:?}");
    assert_eq!(names(&store, &store.journal()).await, ["a", "b"]);
}

// What is too large.

#[tokio::test]
async fn a_lower_attachment_limit_is_learnt() {
    let place = place().await;
    let store = place.store();
    put_one(&store, "a", 300_000).await;
    fail_times(
        &place,
        POST,
        1,
        FaultKind::AttachmentLimit { bytes: 200_000 },
    );
    let asked = place.asked("POST", MESSAGES);
    let mut plain_bytes = 300_000;
    let mut refusals = 0;
    loop {
        let object = object(&format!("b{plain_bytes}"), plain_bytes);
        match store.put(&store.journal(), vec![object]).await {
            Ok(_) => break,
            Err(Error::TooLarge { limit_bytes }) => {
                assert_eq!(store.limits().object_bytes_max, limit_bytes);
                refusals += 1;
                plain_bytes = usize::try_from(limit_bytes).expect("small") - 20_000;
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!((1..4).contains(&refusals), "{refusals}");
    assert_eq!(place.asked("POST", MESSAGES), asked + refusals + 1);
}

#[tokio::test]
async fn a_request_that_is_too_large_in_all_is_learnt() {
    for gateway_timeout in [false, true] {
        let place = place_with(Limits {
            request_bytes_max: if gateway_timeout { 1 << 30 } else { 26 << 20 },
            ..Limits::unlimited_rates()
        })
        .await;
        let store = connect(Settings {
            put_bytes_start: 60 << 20,
            ..place.settings()
        });
        if gateway_timeout {
            fail_times(&place, POST, 2, error(504, ErrorBody::Html));
        }
        let refused = store
            .put(&store.journal(), nine_mib(&["a", "b", "c"]))
            .await;
        let Err(Error::TooLarge { limit_bytes }) = refused else {
            panic!("{refused:?}");
        };
        let limits = store.limits();
        assert_eq!(
            (limits.put_bytes_max, limits.object_bytes_max),
            (limit_bytes, 10 << 20)
        );
        assert!(limit_bytes < 27 << 20);
        put(&store, &store.journal(), &nine_mib(&["a", "b"])).await;
        assert_eq!(place.emulator.counts().messages, 1);
    }
}

// What is refused.

#[tokio::test]
async fn a_deleted_thread_is_missing() {
    let place = place().await;
    let store = place.store();
    let shelf = store.shelf("label", &card()).await.expect("made");
    let locators = put(&store, &shelf, &[object("a", 1)]).await;
    fail_times(&place, POST, 1, FaultKind::ChannelDeleted);
    let asked = place.asked("POST", MESSAGES);
    let failed = store.put(&shelf, vec![object("b", 1)]).await;
    assert!(matches!(failed, Err(Error::Missing { .. })), "{failed:?}");
    assert_eq!(place.asked("POST", MESSAGES), asked + 1);
    let failed = store.get_again(&locators[0], 0..1).await;
    assert!(matches!(failed, Err(Error::Missing { .. })), "{failed:?}");
    let failed = store.list(&shelf, Span::Newest).await;
    assert!(matches!(failed, Err(Error::Missing { .. })), "{failed:?}");
    store.remove(&locators).await.expect("gone already");
}

#[tokio::test]
async fn an_archived_thread_wakes_up_and_a_locked_one_says_what_to_do() {
    let place = place().await;
    let store = place.store();
    let shelf = store.shelf("label", &card()).await.expect("made");
    fail_times(&place, POST, 1, FaultKind::ThreadArchived);
    put(&store, &shelf, &[object("a", 1)]).await;

    let all = permission::BOT;
    let set = place
        .emulator
        .set_permissions(all & !permission::MANAGE_THREADS);
    set.expect("set");
    fail_times(&place, POST, 1, FaultKind::ThreadLocked);
    let failed = store.put(&shelf, vec![object("b", 1)]).await;
    let Err(Error::Refused { what }) = failed else {
        panic!("{failed:?}");
    };
    assert!(
        what.contains("locked") && what.contains("Manage Threads"),
        "{what}"
    );
}

#[tokio::test]
async fn a_permission_withdrawn_is_named_and_not_tried_again() {
    let place = place().await;
    let store = place.store();
    let shelf = store.shelf("label", &card()).await.expect("made");
    let locators = put(&store, &shelf, &[object("a", 1)]).await;
    let asked = place.asked("POST", MESSAGES);
    let bits = permission::ATTACH_FILES;
    fail_times(&place, POST, 1, FaultKind::PermissionWithdrawn { bits });
    let failed = store.put(&shelf, vec![object("b", 1)]).await;
    let Err(Error::Refused { what }) = failed else {
        panic!("{failed:?}");
    };
    let thread = shelf.0.split('/').nth(1).expect("a thread");
    assert!(
        what.contains("Attach Files") && what.contains(thread),
        "{what}"
    );
    assert_eq!(place.asked("POST", MESSAGES), asked + 1);

    // Without the history every channel looks empty; that must not be believed.
    let all = permission::BOT;
    let set = place
        .emulator
        .set_permissions(all & !permission::READ_MESSAGE_HISTORY);
    set.expect("set");
    let fresh = place.store();
    for failed in [
        fresh.list(&shelf, Span::Newest).await.map(drop),
        fresh.list(&shelf, Span::After(Mark(0))).await.map(drop),
        fresh.get(&locators[0], 0..1, Foreground).await.map(drop),
    ] {
        let Err(Error::Refused { what }) = failed else {
            panic!("{failed:?}");
        };
        assert!(what.contains("Read Message History"), "{what}");
    }
}

#[tokio::test]
async fn a_store_on_discord_itself_can_be_made_without_a_network() {
    let token =
        ods::store::discord::Token::new("MTk4NjIyNDgzNDcxOTI1MjQ4.Cl2FMQ.Zn").expect("a token");
    let store = connect(Settings::new(token, 1, 2, 3));
    assert_eq!(store.journal(), Shelf("channel/2".into()));
    assert!(!format!("{store:?}").contains("Cl2FMQ"));
}

#[tokio::test]
async fn a_revoked_token_is_refused_at_once_and_never_told() {
    let place = place().await;
    let store = place.store();
    let (locator, _) = put_one(&store, "a", SMALL).await;
    place.emulator.reset_counts();
    place.emulator.revoke_token();
    let failures = [
        store
            .put(&store.journal(), vec![object("b", 1)])
            .await
            .map(drop),
        store.list(&store.journal(), Span::Newest).await.map(drop),
        store.get_again(&locator, 0..1).await.map(drop),
        store.pin(&locator).await,
    ];
    for failed in failures {
        assert!(
            matches!(failed, Err(Error::NotAccepted { .. })),
            "{failed:?}"
        );
        let words = format!(
            "{failed:?} {store:?} {:?} {:?}",
            store.status(),
            place.settings()
        );
        assert!(!words.contains(place.emulator.token()), "{words}");
        assert!(words.contains("token"));
    }
    assert_eq!(place.emulator.counts().requests, 4);
}

// What is read.

#[tokio::test]
async fn a_broken_download_is_begun_again() {
    for kind in [
        FaultKind::ResetDownload {
            after_bytes: 70_000,
        },
        error(502, ErrorBody::Html),
        error(500, ErrorBody::Plain),
    ] {
        let place = place().await;
        let store = place.store();
        let (locator, bytes) = put_one(&store, "a", 300_000).await;
        fail_times(&place, CDN, 2, kind.clone());
        assert!(whole(&store, &locator, &bytes).await);
        assert_eq!(place.emulator.counts().cdn_requests, 3, "{kind:?}");
        assert_eq!(place.asked("GET", MESSAGES), 0, "the address was good");
    }
}

#[tokio::test]
async fn an_address_that_is_not_taken_is_renewed_a_few_times() {
    for status in [404, 403] {
        let place = place().await;
        let store = place.store();
        let (locator, bytes) = put_one(&store, "a", SMALL).await;
        fail_times(&place, CDN, 1, FaultKind::UrlExpired { status });
        assert!(whole(&store, &locator, &bytes).await);
        assert_eq!(place.asked("GET", MESSAGES), 1);
        assert_eq!(place.emulator.counts().cdn_requests, 2);

        fail(&place, CDN, FaultKind::UrlExpired { status });
        let failed = store.get(&locator, 0..1, Foreground).await;
        assert!(failed.is_err_and(|error| !error.is_passing()));
        assert_eq!(place.asked("GET", MESSAGES), 4);
        assert_eq!(place.emulator.counts().cdn_requests, 6);
    }
}

#[tokio::test]
async fn addresses_are_renewed_before_they_expire_a_page_at_a_time() {
    let start_ms = 1_800_000_000_000;
    let emulated = ods::emulator::Clock::fixed(start_ms);
    let place = place_at(Limits::unlimited_rates(), emulated.clone()).await;
    let start_ns = i64::try_from(start_ms * 1_000_000).expect("fits");
    let now = Arc::new(AtomicI64::new(start_ns));
    let store = connect(Settings {
        clock: Clock::Manual(now.clone()),
        ..place.settings()
    });
    let mut kept = Vec::new();
    for number in 0..30 {
        kept.push(put_one(&store, &format!("n{number}"), SMALL).await);
    }
    let read_all = async || {
        let reads = kept
            .iter()
            .map(|(locator, bytes)| whole(&store, locator, bytes));
        assert!(
            futures_util::future::join_all(reads)
                .await
                .into_iter()
                .all(|same| same)
        );
    };
    read_all().await;
    assert_eq!(
        place.asked("GET", MESSAGES),
        0,
        "the put brought the addresses"
    );
    emulated.advance(2 * DAY_MS);
    now.fetch_add(
        i64::try_from(2 * DAY_MS * 1_000_000).expect("fits"),
        std::sync::atomic::Ordering::SeqCst,
    );
    read_all().await;
    read_all().await;
    assert_eq!(place.asked("GET", MESSAGES), 1, "one page for all");
    let counts = place.emulator.counts();
    assert_eq!(
        counts.cdn_statuses.keys().copied().collect::<Vec<_>>(),
        [206]
    );
    assert_eq!(counts.cdn_requests, 90);
}

#[tokio::test]
async fn many_readers_of_a_page_ask_for_its_addresses_once() {
    let place = place().await;
    let writer = place.store();
    let mut kept = Vec::new();
    for number in 0..30 {
        kept.push(put_one(&writer, &format!("n{number}"), SMALL).await);
    }
    let store = place.store();
    let reads = kept
        .iter()
        .map(|(locator, bytes)| whole(&store, locator, bytes));
    assert!(
        futures_util::future::join_all(reads)
            .await
            .into_iter()
            .all(|same| same)
    );
    assert!(
        place.asked("GET", MESSAGES) <= 2,
        "{}",
        place.asked("GET", MESSAGES)
    );
}

#[tokio::test]
async fn a_message_that_lists_do_not_show_yet_is_read_alone() {
    let place = place().await;
    let late = FaultKind::ListedLate {
        ms: 0,
        listings: 100,
    };
    fail_times(&place, POST, 1, late);
    let (locator, bytes) = put_one(&place.store(), "a", SMALL).await;
    assert!(whole(&place.store(), &locator, &bytes).await);
}

#[tokio::test]
async fn get_again_reads_from_a_fresh_address() {
    let place = place().await;
    let store = place.store();
    let (locator, bytes) = put_one(&store, "a", SMALL).await;
    fail_times(&place, POST, 1, FaultKind::WrongBytes { gets: 1 });
    let (wrong, wrong_bytes) = put_one(&store, "b", SMALL).await;
    assert!(!whole(&store, &wrong, &wrong_bytes).await);
    let again = store.get_again(&wrong, 0..wrong_bytes.len() as u64).await;
    assert_eq!(again.expect("readable"), wrong_bytes);
    assert_eq!(place.asked("GET", MESSAGES), 1);
    assert!(whole(&store, &locator, &bytes).await);
}

#[tokio::test]
async fn the_token_never_reaches_the_cdn() {
    let place = place().await;
    let store = place.store();
    let (locator, bytes) = put_one(&store, "a", SMALL).await;
    fail_times(&place, CDN, 1, FaultKind::UrlExpired { status: 404 });
    assert!(whole(&store, &locator, &bytes).await);
    store.get_again(&locator, 0..9).await.expect("readable");
    let counts = place.emulator.counts();
    assert_eq!((counts.cdn_requests, counts.cdn_with_authorization), (3, 0));
}

#[tokio::test]
async fn a_long_upload_does_not_starve_a_read() {
    let place = place().await;
    let writer = place.store();
    let (locator, bytes) = put_one(&writer, "a", SMALL).await;
    let store = place.store();
    let delay = FaultKind::Delay {
        ms: 100,
        when: When::Before,
    };
    fail(&place, POST, delay);
    let shelf = store.journal();
    let upload = async {
        let puts = (0..20).map(|number| {
            let objects = vec![object(&format!("n{number}"), 100_000)];
            store.put(&shelf, objects)
        });
        let done = futures_util::future::join_all(puts).await;
        assert!(done.iter().all(Result::is_ok));
    };
    let read = async {
        while place.asked("POST", MESSAGES) < 2 {
            tokio::task::yield_now().await;
        }
        assert!(whole(&store, &locator, &bytes).await);
        place.emulator.counts().messages
    };
    let ((), stored) = tokio::join!(upload, read);
    assert!(stored < 21, "the read had to wait for {stored} messages");
    assert_eq!(place.emulator.counts().messages, 21);
}

// What is removed, shown and pinned.

#[tokio::test]
async fn many_messages_go_with_few_requests() {
    let place = place().await;
    let store = place.store();
    let mut locators = Vec::new();
    for number in 0..120 {
        locators.push(put_one(&store, &format!("n{number}"), 1).await.0);
    }
    place.emulator.reset_counts();
    store.remove(&locators[1..]).await.expect("removed");
    assert_eq!(place.asked("POST", "/messages/bulk-delete"), 2);
    assert_eq!(place.emulator.counts().requests, 2);
    assert_eq!(names(&store, &store.journal()).await, ["n0"]);
}

#[tokio::test]
async fn without_manage_messages_they_go_one_by_one() {
    let place = place().await;
    let store = place.store();
    let shelf = store.shelf("label", &card()).await.expect("made");
    let mut locators = Vec::new();
    for number in 0..3 {
        locators.extend(put(&store, &shelf, &[object(&format!("n{number}"), 1)]).await);
    }
    let all = permission::BOT;
    let set = place
        .emulator
        .set_permissions(all & !permission::MANAGE_MESSAGES);
    set.expect("set");
    store.remove(&locators).await.expect("removed");
    assert_eq!(place.asked("DELETE", "/messages/{message_id}"), 3);
    assert!(names(&store, &shelf).await.is_empty());
}

#[tokio::test]
async fn old_messages_go_one_by_one_without_asking_in_vain() {
    let start_ms = 1_800_000_000_000;
    let emulated = ods::emulator::Clock::fixed(start_ms);
    let place = place_at(Limits::unlimited_rates(), emulated.clone()).await;
    let later_ms = start_ms + 15 * DAY_MS;
    let now = Arc::new(AtomicI64::new(
        i64::try_from(later_ms * 1_000_000).expect("fits"),
    ));
    let store = connect(Settings {
        clock: Clock::Manual(now),
        ..place.settings()
    });
    let mut locators = Vec::new();
    for number in 0..3 {
        locators.push(put_one(&store, &format!("old{number}"), 1).await.0);
    }
    emulated.advance(15 * DAY_MS);
    for number in 0..3 {
        locators.push(put_one(&store, &format!("new{number}"), 1).await.0);
    }
    store.remove(&locators).await.expect("removed");
    assert_eq!(place.asked("DELETE", "/messages/{message_id}"), 3);
    assert_eq!(place.asked("POST", "/messages/bulk-delete"), 1);
    assert!(names(&store, &store.journal()).await.is_empty());
}

#[tokio::test]
async fn a_card_is_not_worth_waiting_for() {
    let place = place().await;
    let store = place.store();
    let shelf = store.shelf("label", &card()).await.expect("made");
    let edits = FaultKind::RateLimited {
        scope: Scope::User,
        retry_after_s: 600.0,
        remaining: 2,
        code: Some(30046),
    };
    fail_times(&place, "PATCH /channels/{}/messages/{}", 1, edits);
    for _ in 0..3 {
        let failed = store.describe(&shelf, &card()).await;
        assert!(failed.is_err_and(|error| error.is_passing()));
    }
    assert_eq!(place.asked("PATCH", "/messages/{message_id}"), 1);
    put(&store, &shelf, &[object("a", 1)]).await;
}

#[tokio::test]
async fn pins_work_on_the_older_routes_too() {
    let place = place().await;
    let store = place.store();
    let (locator, _) = put_one(&store, "a", 1).await;
    fail(
        &place,
        "* /channels/{}/messages/pins/*",
        error(404, ErrorBody::Json),
    );
    fail(
        &place,
        "GET /channels/{}/messages/pins",
        error(404, ErrorBody::Json),
    );
    store.pin(&locator).await.expect("pinned");
    let pinned = store.pinned().await.expect("pins");
    assert_eq!(pinned.len(), 1);
    store.unpin(&locator).await.expect("unpinned");
    assert!(store.pinned().await.expect("pins").is_empty());
}

#[tokio::test]
async fn limits_without_headers_are_no_reason_to_hurry() {
    let place = place_with(Limits {
        rate_limits: RateLimits::Enforced,
        ..Limits::default()
    })
    .await;
    fail(&place, "* /*", FaultKind::OmitHeaders);
    let store = place.store();
    let puts = (0..5).map(|number| {
        let objects = vec![object(&format!("n{number}"), 1)];
        async { store.put(&store.journal(), objects).await }
    });
    let done = futures_util::future::join_all(puts).await;
    assert!(done.iter().all(Result::is_ok));
}

// A CDN that behaves otherwise than Discord's does.

/// Answers the API with one message whose attachment is at `/file`, and that with each of `answers`
/// in turn and the last for ever.
async fn odd_cdn(body: Vec<u8>, answers: Vec<String>) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    let url = format!("{base}/file");
    let message = format!(
        r#"[{{"id":"5","channel_id":"6","author":{{"id":"7"}},"type":0,"attachments":[
            {{"id":"8","filename":"a","size":{},"url":"{url}"}}]}}]"#,
        body.len()
    );
    tokio::spawn(async move {
        let mut answers = answers.into_iter();
        let mut last = String::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let read = stream.read(&mut request).await.unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..read]).into_owned();
            let answer = if request.starts_with("GET /file") {
                last = answers.next().unwrap_or(last);
                [last.as_bytes(), b"connection: close\r\n\r\n", &body].concat()
            } else {
                let length = message.len();
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
                );
                [head.as_bytes(), message.as_bytes()].concat()
            };
            stream.write_all(&answer).await.expect("sent");
        }
    });
    base
}

#[tokio::test]
async fn answers_that_are_not_what_was_asked_for_are_handled_or_refused() {
    let place = place().await;
    let body: Vec<u8> = (0..=255).collect();
    let whole = "HTTP/1.1 200 OK\r\ncontent-length: 256\r\n".to_owned();
    let longer = "HTTP/1.1 200 OK\r\ncontent-length: 300\r\n".to_owned();
    let unsized_whole = "HTTP/1.1 200 OK\r\n".to_owned();
    let other_part = "HTTP/1.1 206 P\r\ncontent-range: bytes 0-255/256\r\n".to_owned();
    let busy = "HTTP/1.1 429 T\r\nretry-after: 0\r\ncontent-length: 256\r\n".to_owned();
    let odd = "HTTP/1.1 302 F\r\nlocation: http://example.com/\r\n".to_owned();
    let locator = {
        let numbers = [6_u64, 5, 8, 256].map(u64::to_be_bytes).concat();
        Locator([&[1], &numbers[..], &[1]].concat())
    };
    for (answers, good) in [
        (vec![whole.clone()], true),
        (vec![unsized_whole], true),
        (vec![other_part, busy, whole], true),
        (vec![longer], false),
        (vec![odd], false),
    ] {
        let store = connect(Settings {
            api_base: odd_cdn(body.clone(), answers.clone()).await,
            ..place.settings()
        });
        let got = store.get(&locator, 10..200, Foreground).await;
        if good {
            assert_eq!(got.expect("readable"), body[10..200], "{answers:?}");
        } else {
            assert!(
                matches!(got, Err(Error::Broken { .. })),
                "{answers:?}: {got:?}"
            );
        }
    }
}
