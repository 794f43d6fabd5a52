//! The emulator behaves as Discord is documented and known to: one test per family.

#[path = "support/emulator_client.rs"]
mod client;

use client::User;
use ods::emulator::{Emulator, Limits, Settings};
use serde_json::{Value, json};

/// An emulator without rate limits, its bot, and the channel that exists.
async fn start() -> (Emulator, User, u64) {
    start_with(Settings {
        limits: Limits::unlimited_rates(),
        ..Settings::default()
    })
    .await
}

async fn start_with(settings: Settings) -> (Emulator, User, u64) {
    let emulator = Emulator::start(settings).await.expect("it starts");
    let (bot, channel) = (User::bot(&emulator), emulator.channel_id());
    (emulator, bot, channel)
}

#[tokio::test]
async fn a_message_with_attachments_comes_back_by_every_way() {
    let (emulator, bot, channel) = start().await;
    let payload = json!({"content": " hi ", "attachments": [{"id": 0, "filename": "x y.bin"}]});
    let sent = bot
        .upload(channel, &payload, &[("a.bin", b"first"), ("b.bin", b"")])
        .await;
    let sent = sent.expect_status(200);
    assert_eq!(sent.body["content"], "hi");
    assert_eq!(sent.body["attachments"][0]["filename"], "x_y.bin");
    assert_eq!(sent.body["attachments"][0]["size"], 5);
    assert_eq!(sent.body["attachments"][1]["size"], 0);
    let url = sent.body["attachments"][0]["url"].as_str().expect("a URL");
    assert!(url.starts_with(&emulator.base_url()) && url.ends_with('&'));
    let file = bot.fetch(url).await.expect_status(200);
    assert_eq!(file.bytes, b"first");

    let one = bot
        .get(&format!("/channels/{channel}/messages/{}", sent.id()))
        .await;
    let list = bot.get(&format!("/channels/{channel}/messages")).await;
    assert_eq!(one.body, sent.body);
    assert_eq!(list.body, Value::Array(vec![sent.body.clone()]));
    assert_eq!(emulator.counts().cdn_with_authorization, 0);
    assert_eq!(emulator.attachments().len(), 2);
}
