//! Signed URLs.

use serde_json::json;

use crate::client::User;
use crate::{start, start_still};

const GONE: &[u8] = b"This content is no longer available.";

async fn upload(bot: &User, channel: u64, bytes: &[u8]) -> (u64, String) {
    let sent = bot
        .upload(channel, &json!({}), &[("a.bin", bytes)])
        .await
        .expect_status(200);
    let url = sent.body["attachments"][0]["url"]
        .as_str()
        .expect("a URL")
        .to_owned();
    (sent.id(), url)
}

#[tokio::test]
async fn ranges_give_parts() {
    let (emulator, bot, channel) = start().await;
    let bytes: Vec<u8> = (0..1_000_000_u32)
        .map(|n| n.to_le_bytes()[n as usize % 2])
        .collect();
    let (_, url) = upload(&bot, channel, &bytes).await;
    let whole = bot.fetch(&url).await.expect_status(200);
    assert_eq!(whole.bytes, bytes);
    assert_eq!(whole.header("accept-ranges"), Some("bytes"));
    assert_eq!(whole.header("content-length"), Some("1000000"));
    let part = bot
        .fetch_range(&url, "bytes=1000-500999")
        .await
        .expect_status(206);
    assert_eq!(part.bytes, bytes[1000..501_000]);
    assert_eq!(
        part.header("content-range"),
        Some("bytes 1000-500999/1000000")
    );
    let tail = bot.fetch_range(&url, "bytes=-5").await.expect_status(206);
    assert_eq!(tail.bytes, bytes[999_995..]);
    let past = bot
        .fetch_range(&url, "bytes=1000000-")
        .await
        .expect_status(416);
    assert_eq!(past.header("content-range"), Some("bytes */1000000"));
    let proxy = url.replace("/attachments/", "/media/attachments/");
    bot.fetch(&proxy).await.expect_status(415);
    let head = crate::client::read(bot.http.head(&url))
        .await
        .expect_status(200);
    assert_eq!(head.header("content-length"), Some("1000000"));
    assert_eq!(emulator.counts().bytes_served, 1_000_000 + 500_000 + 5);
    assert_eq!(emulator.counts().cdn_statuses[&206], 2);
}

#[tokio::test]
async fn a_url_ends_with_its_time_its_signature_and_its_message() {
    let (emulator, bot, channel) = start_still().await;
    let (id, url) = upload(&bot, channel, b"bytes").await;
    let expiry = url
        .split("ex=")
        .nth(1)
        .and_then(|rest| rest.split('&').next())
        .expect("ex");
    let expiry = u64::from_str_radix(expiry, 16).expect("hexadecimal");
    assert!(expiry > crate::NOW_MS / 1000 && expiry <= crate::NOW_MS / 1000 + 86_400);

    let bare = url.split('?').next().expect("a path").to_owned();
    for bad in [
        bare.clone(),
        url.replace("hm=", "hm=0"),
        url.replace("a.bin", "b.bin"),
    ] {
        let answer = bot.fetch(&bad).await.expect_status(404);
        assert_eq!(answer.bytes, GONE);
        assert!(
            answer
                .header("content-type")
                .is_some_and(|kind| kind.starts_with("text/plain"))
        );
    }
    let message = format!("/channels/{channel}/messages/{id}");
    let same = bot.get(&message).await;
    assert_eq!(
        same.body["attachments"][0]["url"], url,
        "signed anew only now and then"
    );
    emulator.clock().advance(86_400_000);
    assert_eq!(bot.fetch(&url).await.expect_status(404).bytes, GONE);
    let fresh = bot.get(&message).await;
    let fresh = fresh.body["attachments"][0]["url"]
        .as_str()
        .expect("a URL")
        .to_owned();
    bot.fetch(&fresh).await.expect_status(200);

    let body = json!({"attachment_urls": [format!("{url}a=b"), bare]});
    let answer = bot
        .post("/attachments/refresh-urls", &body)
        .await
        .expect_status(200);
    for one in answer.body["refreshed_urls"].as_array().expect("a list") {
        bot.fetch(one["refreshed"].as_str().expect("a URL"))
            .await
            .expect_status(200);
    }
    let first = &answer.body["refreshed_urls"][0];
    assert_eq!(first["original"], format!("{url}a=b"));
    assert!(
        first["refreshed"]
            .as_str()
            .is_some_and(|url| url.contains("a=b&"))
    );
    for count in [0, 51] {
        let body = json!({"attachment_urls": vec![&url; count]});
        bot.post("/attachments/refresh-urls", &body)
            .await
            .expect_status(400);
    }

    bot.delete(&message).await.expect_status(204);
    assert_eq!(bot.fetch(&fresh).await.expect_status(404).bytes, GONE);
}

#[tokio::test]
async fn the_edge_may_keep_what_was_deleted_for_a_while() {
    let (emulator, bot, channel) = start_still().await;
    let mut limits = emulator.limits();
    limits.cdn_keep_deleted_s = 120;
    emulator.set_limits(limits);
    let (id, url) = upload(&bot, channel, b"bytes").await;
    bot.delete(&format!("/channels/{channel}/messages/{id}"))
        .await
        .expect_status(204);
    bot.fetch(&url).await.expect_status(200);
    emulator.clock().advance(120_000);
    bot.fetch(&url).await.expect_status(404);
}

#[tokio::test]
async fn a_token_that_reaches_the_cdn_is_counted() {
    let (emulator, bot, channel) = start().await;
    let (_, url) = upload(&bot, channel, b"bytes").await;
    bot.fetch(&url).await.expect_status(200);
    assert_eq!(emulator.counts().cdn_with_authorization, 0);
    let told = bot
        .http
        .get(&url)
        .header("authorization", &bot.authorization);
    crate::client::read(told).await.expect_status(200);
    assert_eq!(emulator.counts().cdn_with_authorization, 1);
}

#[tokio::test]
async fn stored_bytes_can_be_spoiled() {
    let (emulator, bot, channel) = start().await;
    let (_, one) = upload(&bot, channel, b"first").await;
    let (_, other) = upload(&bot, channel, b"other").await;
    let ids: Vec<u64> = emulator.attachments().iter().map(|one| one.id).collect();
    emulator
        .swap_attachments(ids[0], ids[1])
        .expect("both are there");
    assert_eq!(bot.fetch(&one).await.bytes, b"other");
    emulator.corrupt_attachment(ids[0], 0).expect("it is there");
    assert_eq!(bot.fetch(&one).await.bytes, b"\x90ther");
    emulator
        .truncate_attachment(ids[1], 2)
        .expect("it is there");
    assert_eq!(bot.fetch(&other).await.bytes, b"fi");
    emulator.lose_attachment(ids[1]);
    bot.fetch(&other).await.expect_status(404);
    emulator
        .cut_history(channel, 1)
        .expect("the channel is there");
    assert_eq!(emulator.messages(channel).len(), 1);
}
