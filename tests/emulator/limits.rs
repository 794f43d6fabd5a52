//! Rate limits: headers, buckets, the global limit, hidden limits and the ban.

use ods::emulator::RouteLimit;
use reqwest::Method;
use serde_json::json;

use crate::client::User;
use crate::start_limited;

#[tokio::test]
async fn a_channels_window_is_told_filled_and_renewed() {
    let (emulator, bot, channel) = start_limited().await;
    let mut bucket = String::new();
    for left in (0..5).rev() {
        let sent = bot.say(channel, "x").await.expect_status(200);
        assert_eq!(sent.header("x-ratelimit-limit"), Some("5"));
        assert_eq!(
            sent.header("x-ratelimit-remaining"),
            Some(left.to_string().as_str())
        );
        assert_eq!(sent.header("x-ratelimit-reset"), Some("1800000005.000"));
        assert_eq!(sent.header("x-ratelimit-reset-after"), Some("5.000"));
        assert_eq!(sent.header("x-ratelimit-scope"), None, "only on 429");
        bucket = sent
            .header("x-ratelimit-bucket")
            .expect("a bucket")
            .to_owned();
        assert_eq!(bucket.len(), 32);
    }
    emulator.clock().advance(1500);
    let full = bot.say(channel, "x").await.expect_status(429);
    assert_eq!(
        full.body,
        json!({"message": "You are being rate limited.", "retry_after": 3.5, "global": false})
    );
    assert_eq!(full.header("retry-after"), Some("4"));
    assert_eq!(full.header("x-ratelimit-remaining"), Some("0"));
    assert_eq!(full.header("x-ratelimit-scope"), Some("user"));
    assert_eq!(full.header("x-ratelimit-global"), None);
    assert_eq!(full.header("x-ratelimit-bucket"), Some(bucket.as_str()));

    // Reading is another bucket, another channel another window, another user too.
    let list = bot
        .get(&format!("/channels/{channel}/messages"))
        .await
        .expect_status(200);
    assert_ne!(list.header("x-ratelimit-bucket"), Some(bucket.as_str()));
    User::member(&emulator)
        .say(channel, "x")
        .await
        .expect_status(200);
    let all = format!("/guilds/{}/channels", emulator.guild_id());
    let other = bot
        .post(&all, &json!({"name": "other"}))
        .await
        .expect_status(201);
    assert_eq!(
        other.header("x-ratelimit-limit"),
        None,
        "no limit of its own"
    );
    let sent = bot.say(other.id(), "x").await.expect_status(200);
    assert_eq!(sent.header("x-ratelimit-bucket"), Some(bucket.as_str()));
    assert_eq!(sent.header("x-ratelimit-remaining"), Some("4"));

    emulator.clock().advance(3500);
    bot.say(channel, "x").await.expect_status(200);
    assert_eq!(emulator.counts().rate_limited, 1);
}

#[tokio::test]
async fn more_than_fifty_in_a_second_is_too_many_of_anything() {
    let (emulator, bot, _) = start_limited().await;
    for _ in 0..50 {
        bot.get("/users/@me").await.expect_status(200);
    }
    emulator.clock().advance(400);
    let full = bot.get("/users/@me").await.expect_status(429);
    assert_eq!(full.body["global"], true);
    assert_eq!(full.body["retry_after"], 0.6);
    assert_eq!(full.header("retry-after"), Some("1"));
    assert_eq!(full.header("x-ratelimit-global"), Some("true"));
    assert_eq!(full.header("x-ratelimit-scope"), Some("global"));
    assert_eq!(full.header("x-ratelimit-bucket"), None);
    emulator.clock().advance(600);
    bot.get("/users/@me").await.expect_status(200);
}

#[tokio::test]
async fn who_ignores_refusals_is_banned() {
    let (emulator, bot, channel) = start_limited().await;
    let mut limits = emulator.limits();
    limits.invalid_max = 4;
    limits.ban_s = 100;
    emulator.set_limits(limits);
    for _ in 0..4 {
        User::with(&emulator, "Bot x")
            .get("/users/@me")
            .await
            .expect_status(401);
    }
    let banned = bot.say(channel, "x").await.expect_status(429);
    assert!(
        banned
            .header("content-type")
            .is_some_and(|kind| kind.starts_with("text/html"))
    );
    assert_eq!(banned.header("retry-after"), Some("100"));
    assert_eq!(banned.header("x-ratelimit-limit"), None);
    emulator.clock().advance(100_000);
    bot.say(channel, "x").await.expect_status(200);
}

#[tokio::test]
async fn deletes_are_limited_by_age() {
    let (emulator, bot, channel) = start_limited().await;
    let mut limits = emulator.limits();
    limits.routes.create_message = RouteLimit::new(0, 0);
    emulator.set_limits(limits);
    let mut ids = Vec::new();
    for _ in 0..12 {
        ids.push(bot.say(channel, "x").await.id());
    }
    let delete = async |id: u64| {
        bot.delete(&format!("/channels/{channel}/messages/{id}"))
            .await
    };
    let young = delete(ids[0]).await.expect_status(204);
    let unknown = delete(1).await.expect_status(404);
    assert_eq!(young.header("x-ratelimit-limit"), Some("5"));
    assert_eq!(
        unknown.header("x-ratelimit-bucket"),
        young.header("x-ratelimit-bucket")
    );
    assert_eq!(unknown.header("x-ratelimit-remaining"), Some("3"));
    emulator.clock().advance(10_000);
    let older = delete(ids[1]).await.expect_status(204);
    assert_eq!(older.header("x-ratelimit-limit"), Some("3"));
    assert_eq!(older.header("x-ratelimit-reset-after"), Some("0.333"));
    emulator.clock().advance(14 * 86_400_000);
    for id in &ids[2..7] {
        let oldest = delete(*id).await.expect_status(204);
        assert_eq!(oldest.header("x-ratelimit-limit"), Some("30"));
    }
    let hidden = delete(ids[7]).await.expect_status(429);
    assert_ne!(
        hidden.header("x-ratelimit-remaining"),
        Some("0"),
        "the headers show room"
    );
    assert_eq!(hidden.body["retry_after"], 1.0);
}

#[tokio::test]
async fn edits_of_old_messages_and_renames_have_hidden_limits() {
    let (emulator, bot, channel) = start_limited().await;
    let id = bot.say(channel, "x").await.id();
    emulator.clock().advance(3_600_001);
    let path = format!("/channels/{channel}/messages/{id}");
    for n in 0..3 {
        bot.patch(&path, &json!({"content": n.to_string()}))
            .await
            .expect_status(200);
    }
    let refused = bot
        .patch(&path, &json!({"content": "y"}))
        .await
        .expect_status(429);
    assert_eq!(refused.code(), 30046);
    assert_eq!(refused.body["retry_after"], 6.0);
    assert_eq!(refused.header("x-ratelimit-remaining"), Some("1"));

    let place = format!("/channels/{channel}");
    for name in ["a", "b"] {
        bot.patch(&place, &json!({"name": name}))
            .await
            .expect_status(200);
    }
    let third = bot
        .patch(&place, &json!({"name": "c"}))
        .await
        .expect_status(429);
    assert_eq!(third.body["retry_after"], 600.0);
    bot.patch(&place, &json!({"position": 3}))
        .await
        .expect_status(200);
}

#[tokio::test]
async fn threads_are_limited_over_all_channels() {
    let (emulator, bot, channel) = start_limited().await;
    let mut limits = emulator.limits();
    limits.routes.create_thread = RouteLimit::new(2, 300_000);
    emulator.set_limits(limits);
    let all = format!("/guilds/{}/channels", emulator.guild_id());
    let other = bot.post(&all, &json!({"name": "other"})).await.id();
    for place in [channel, other] {
        let body = json!({"name": "t", "type": 11});
        bot.post(&format!("/channels/{place}/threads"), &body)
            .await
            .expect_status(201);
    }
    let third = bot
        .post(
            &format!("/channels/{channel}/threads"),
            &json!({"name": "t"}),
        )
        .await;
    assert_eq!(third.expect_status(429).header("retry-after"), Some("300"));
}

#[tokio::test]
async fn the_control_port_shows_and_changes() {
    let (emulator, bot, channel) = start_limited().await;
    let base = emulator.base_url();
    let control = async |method: Method, path: &str, body: serde_json::Value| {
        let request = bot.http.request(method, format!("{base}/_control/{path}"));
        crate::client::read(request.body(body.to_string())).await
    };
    let who = control(Method::GET, "", json!(null))
        .await
        .expect_status(200);
    assert_eq!(who.body["token"], emulator.token());
    assert_eq!(who.body["guild_id"], emulator.guild_id().to_string());
    let body = json!({"rate_limits": "off", "routes": {"typing": {"requests": 1, "window_ms": 9}}});
    control(Method::PATCH, "limits", body)
        .await
        .expect_status(200);
    assert_eq!(emulator.limits().routes.typing, RouteLimit::new(1, 9));
    let free = bot.say(channel, "x").await.expect_status(200);
    assert_eq!(free.header("x-ratelimit-limit"), None);
    let fault = json!({"kind": "error", "status": 503, "route": "GET /users/@me", "count": 1});
    control(Method::POST, "faults", fault)
        .await
        .expect_status(200);
    bot.get("/users/@me").await.expect_status(503);
    bot.get("/users/@me").await.expect_status(200);
    let list = control(Method::GET, "faults", json!(null)).await;
    assert_eq!(list.body[0]["met"], 1);
    control(Method::DELETE, "faults", json!(null))
        .await
        .expect_status(200);
    let counts = control(Method::GET, "counts", json!(null)).await;
    assert_eq!(counts.body["routes"]["GET /users/@me"], 2);
    assert_eq!(counts.body["statuses"]["503"], 1);
    control(Method::POST, "permissions", json!({"bits": "0"}))
        .await
        .expect_status(200);
    bot.say(channel, "x").await.expect_status(403);
    let clock = control(Method::POST, "clock", json!({"advance_ms": 5})).await;
    assert_eq!(clock.body["now_ms"], crate::NOW_MS + 5);
    control(Method::GET, "nothing", json!(null))
        .await
        .expect_status(400);
}
