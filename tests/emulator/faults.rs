//! Every fault happens as the plan says.

use ods::emulator::{
    ErrorBody, Fault, FaultKind, FaultPlan, Recorded, Scope, Settings, When, permission,
};
use reqwest::Method;
use serde_json::json;

use crate::client::{id_of, multipart, read, try_read};
use crate::{start, start_still, start_with};

const CREATE: &str = "POST /channels/{channel_id}/messages";
const LIST: &str = "GET /channels/{channel_id}/messages";
const DOWNLOAD: &str = "GET /attachments/{channel_id}/{attachment_id}/{filename}";

#[tokio::test]
async fn every_kind_of_429_looks_as_it_does() {
    let (emulator, bot, channel) = start().await;
    let faults = emulator.faults();
    let limited = |scope, code| FaultKind::RateLimited {
        scope,
        retry_after_s: 1336.57,
        remaining: 9,
        code,
    };
    faults.add(Fault::new(CREATE, limited(Scope::Shared, Some(20028))).times(1));
    let shared = bot.say(channel, "x").await.expect_status(429);
    assert_eq!(shared.code(), 20028);
    assert_eq!(shared.body["retry_after"], 1336.57);
    assert_eq!(shared.header("retry-after"), Some("1337"));
    assert_eq!(shared.header("x-ratelimit-remaining"), Some("9"));
    assert_eq!(shared.header("x-ratelimit-scope"), Some("shared"));
    assert_eq!(emulator.counts().invalid, 0, "shared ones do not count");

    faults.add(Fault::new(CREATE, limited(Scope::User, Some(30046))).times(1));
    assert_eq!(bot.say(channel, "x").await.expect_status(429).code(), 30046);
    faults.add(Fault::new("* /*", limited(Scope::Global, None)).times(1));
    let global = bot.say(channel, "x").await.expect_status(429);
    assert_eq!(global.body["global"], true);
    assert_eq!(global.header("x-ratelimit-limit"), None);
    faults.add(
        Fault::new(
            "* /*",
            FaultKind::Cloudflare {
                retry_after_s: 3600,
            },
        )
        .times(1),
    );
    let edge = bot.say(channel, "x").await.expect_status(429);
    assert_eq!(edge.header("retry-after"), Some("3600"));
    assert!(
        edge.header("content-type")
            .is_some_and(|kind| kind.starts_with("text/html"))
    );
    assert_eq!(emulator.counts().invalid, 3);
    bot.say(channel, "x").await.expect_status(200);
}

#[tokio::test]
async fn errors_come_as_json_html_or_text_and_change_nothing() {
    let (emulator, bot, channel) = start().await;
    for (status, body, kind) in [
        (500, ErrorBody::Json, "application/json"),
        (502, ErrorBody::Html, "text/html"),
        (503, ErrorBody::Plain, "text/plain"),
    ] {
        emulator
            .faults()
            .add(Fault::new(CREATE, FaultKind::Error { status, body }).times(1));
        let answer = bot.say(channel, "x").await.expect_status(status);
        assert!(
            answer
                .header("content-type")
                .is_some_and(|found| found.starts_with(kind))
        );
    }
    assert!(emulator.messages(channel).is_empty());
}

#[tokio::test]
async fn a_lost_answer_hides_a_message_that_is_there() {
    let (emulator, bot, channel) = start().await;
    let faults = emulator.faults();
    faults.add(Fault::new(CREATE, FaultKind::LostAnswer { status: None }).times(1));
    let payload = json!({"nonce": "n", "enforce_nonce": true});
    let path = format!("/channels/{channel}/messages");
    let form = || bot.form(Method::POST, &path, &payload, &[("a.bin", b"1")]);
    try_read(form()).await.expect_err("no answer");
    assert_eq!(emulator.messages(channel).len(), 1);
    assert_eq!(emulator.counts().statuses[&0], 1);
    faults.add(Fault::new(CREATE, FaultKind::LostAnswer { status: Some(500) }).times(1));
    read(form()).await.expect_status(500);
    let sent = read(form()).await.expect_status(200);
    assert_eq!(emulator.messages(channel), [sent.id()]);
}

#[tokio::test]
async fn connections_are_reset_on_the_way_up_and_down() {
    let (emulator, bot, channel) = start().await;
    let faults = emulator.faults();
    let bytes = vec![1; 3_000_000];
    faults.add(
        Fault::new(
            CREATE,
            FaultKind::ResetUpload {
                after_bytes: 1_000_000,
            },
        )
        .times(1),
    );
    let path = format!("/channels/{channel}/messages");
    let form = || bot.form(Method::POST, &path, &json!({}), &[("a.bin", &bytes)]);
    try_read(form()).await.expect_err("a reset");
    assert!(emulator.messages(channel).is_empty());
    assert!(emulator.attachments().is_empty());

    let sent = read(form()).await.expect_status(200);
    let url = sent.body["attachments"][0]["url"].as_str().expect("a URL");
    faults.add(Fault::new(DOWNLOAD, FaultKind::ResetDownload { after_bytes: 1000 }).times(1));
    let cut = bot.http.get(url).send().await.expect("headers");
    assert_eq!(cut.status(), 200);
    cut.bytes().await.expect_err("a reset");
    bot.fetch(url).await.expect_status(200);
}

#[tokio::test]
async fn uploads_are_cut_and_first_reads_are_wrong() {
    let (emulator, bot, channel) = start().await;
    let faults = emulator.faults();
    for (recorded, size) in [(Recorded::Short, 3), (Recorded::Full, 5)] {
        let kind = FaultKind::TruncateStore {
            keep_bytes: 3,
            recorded,
        };
        faults.add(Fault::new(CREATE, kind).times(1));
        let sent = bot
            .upload(channel, &json!({}), &[("a.bin", b"12345")])
            .await;
        let sent = sent.expect_status(200);
        assert_eq!(sent.body["attachments"][0]["size"], size);
        let url = sent.body["attachments"][0]["url"].as_str().expect("a URL");
        assert_eq!(bot.fetch(url).await.bytes, b"123");
    }
    faults.add(Fault::new(CREATE, FaultKind::WrongBytes { gets: 1 }).times(1));
    let sent = bot
        .upload(channel, &json!({}), &[("a.bin", b"12345")])
        .await;
    let url = sent.body["attachments"][0]["url"].as_str().expect("a URL");
    assert_ne!(bot.fetch(url).await.bytes, b"12345");
    assert_eq!(bot.fetch(url).await.bytes, b"12345");
    for status in [404, 403] {
        faults.add(Fault::new(DOWNLOAD, FaultKind::UrlExpired { status }).times(1));
        bot.fetch(url).await.expect_status(status);
    }
    bot.fetch(url).await.expect_status(200);
}

#[tokio::test]
async fn a_message_is_listed_late() {
    let (emulator, bot, channel) = start_still().await;
    let faults = emulator.faults();
    let path = format!("/channels/{channel}/messages");
    let listed = async || bot.get(&path).await.body.as_array().expect("a list").len();
    faults.add(Fault::new(CREATE, FaultKind::ListedLate { ms: 0, listings: 2 }).times(1));
    let sent = bot.say(channel, "a").await.expect_status(200).id();
    assert_eq!(listed().await, 0);
    bot.get(&format!("{path}/{sent}")).await.expect_status(200);
    assert_eq!(listed().await, 0);
    assert_eq!(listed().await, 1);
    faults.add(
        Fault::new(
            CREATE,
            FaultKind::ListedLate {
                ms: 1000,
                listings: 0,
            },
        )
        .times(1),
    );
    bot.say(channel, "b").await.expect_status(200);
    assert_eq!(listed().await, 1);
    emulator.clock().advance(1000);
    assert_eq!(listed().await, 2);
}

#[tokio::test]
async fn the_ground_shifts_under_a_client() {
    let (emulator, bot, channel) = start().await;
    let faults = emulator.faults();
    let path = format!("/channels/{channel}/threads");
    let thread = async || {
        let body = json!({"name": "t", "type": 11});
        bot.post(&path, &body).await.expect_status(201).id()
    };
    let member = crate::client::User::member(&emulator);
    let place = thread().await;
    faults.add(Fault::new(CREATE, FaultKind::ThreadLocked).times(1));
    assert_eq!(
        member.say(place, "x").await.expect_status(400).code(),
        160_005
    );
    let place = thread().await;
    faults.add(Fault::new(LIST, FaultKind::ThreadArchived).times(1));
    bot.get(&format!("/channels/{place}/messages"))
        .await
        .expect_status(200);
    let shown = bot.get(&format!("/channels/{place}")).await;
    assert_eq!(shown.body["thread_metadata"]["archived"], true);
    let one = format!("POST /channels/{place}/messages");
    faults.add(Fault::new(&one, FaultKind::ChannelDeleted));
    bot.say(channel, "elsewhere").await.expect_status(200);
    assert_eq!(bot.say(place, "x").await.expect_status(404).code(), 10003);

    let small = FaultKind::AttachmentLimit { bytes: 4 };
    faults.add(Fault::new(CREATE, small).after(1).times(1));
    bot.upload(channel, &json!({}), &[("a.bin", b"12345")])
        .await
        .expect_status(200);
    let over = bot
        .upload(channel, &json!({}), &[("a.bin", b"12345")])
        .await;
    assert_eq!(over.expect_status(413).code(), 40005);
    bot.upload(channel, &json!({}), &[("a.bin", b"1234")])
        .await
        .expect_status(200);

    let bits = permission::ATTACH_FILES;
    faults.add(Fault::new(CREATE, FaultKind::PermissionWithdrawn { bits }).times(1));
    let refused = bot.upload(channel, &json!({}), &[("a.bin", b"1")]).await;
    assert_eq!(refused.expect_status(403).code(), 50013);
    let id = faults.add(Fault::new("* /*", FaultKind::TokenRevoked).times(1));
    bot.say(channel, "x").await.expect_status(401);
    assert_eq!(faults.met(id), 1);
    bot.say(channel, "x").await.expect_status(401);
}

#[tokio::test]
async fn headers_bodies_and_times_are_bent() {
    let plan = "[[faults]]\nkind = \"omit_headers\"\ncount = 1\n\
                [[faults]]\nkind = \"scope_header\"\nafter = 1\ncount = 1\n\
                [[faults]]\nkind = \"slow_body\"\nbytes_per_s = 1000000\n\
                [[faults]]\nkind = \"delay\"\nms = 1\nwhen = \"after\"\n";
    let faults = FaultPlan::parse(plan).expect("a plan");
    assert_eq!(
        faults.faults[3].kind,
        FaultKind::Delay {
            ms: 1,
            when: When::After
        }
    );
    let (_emulator, bot, channel) = start_with(Settings {
        faults,
        ..Settings::default()
    })
    .await;
    let first = bot.say(channel, "x").await.expect_status(200);
    assert_eq!(first.header("x-ratelimit-limit"), None);
    let second = bot.say(channel, "x").await.expect_status(200);
    assert_eq!(second.header("x-ratelimit-limit"), Some("5"));
    assert_eq!(second.header("x-ratelimit-scope"), Some("user"));
    let third = bot.say(channel, "x").await.expect_status(200);
    assert_eq!(third.header("x-ratelimit-scope"), None);
    assert_eq!(id_of(&third.body), third.id());
}

#[tokio::test]
async fn a_slow_and_distant_server_gives_the_same_bytes() {
    let (emulator, _, channel) = start().await;
    let mut limits = emulator.limits();
    limits.rtt_ms = 1;
    limits.bytes_per_s = Some(4_000_000);
    emulator.set_limits(limits);
    let bot = crate::client::User::bot(&emulator);
    let bytes: Vec<u8> = (0..200_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let sent = bot
        .upload(channel, &json!({}), &[("a.bin", &bytes)])
        .await
        .expect_status(200);
    let url = sent.body["attachments"][0]["url"].as_str().expect("a URL");
    assert_eq!(bot.fetch(url).await.bytes, bytes);
}

#[tokio::test]
async fn a_client_that_breaks_off_leaves_nothing() {
    use tokio::io::AsyncWriteExt;
    let (emulator, bot, channel) = start().await;
    let body = multipart(&json!({}), &[("a.bin", &[1; 100_000])]);
    let mut stream = tokio::net::TcpStream::connect(emulator.address())
        .await
        .expect("connect");
    let head = format!(
        "POST /api/v10/channels/{channel}/messages HTTP/1.1\r\nhost: x\r\nuser-agent: x\r\n\
         authorization: {}\r\ncontent-type: multipart/form-data; boundary=xyz\r\n\
         content-length: {}\r\n\r\n",
        bot.authorization,
        body.len()
    );
    stream.write_all(head.as_bytes()).await.expect("write");
    stream.write_all(&body[..50_000]).await.expect("write");
    drop(stream);
    bot.say(channel, "next").await.expect_status(200);
    assert_eq!(emulator.messages(channel).len(), 1);
    assert!(emulator.attachments().is_empty());
}
