//! Creating, listing, changing and deleting messages.

use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{User, id_of, read};
use crate::{start, start_still};

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
    let counts = emulator.counts();
    assert_eq!(counts.cdn_with_authorization, 0);
    assert_eq!(
        (counts.messages, counts.attachments, counts.bytes_stored),
        (1, 2, 5)
    );
    assert_eq!(counts.route("POST /channels/{channel_id}/messages"), 1);
    assert_eq!(emulator.attachments().len(), 2);
}

#[tokio::test]
async fn an_enforced_nonce_makes_one_message_of_two() {
    let (emulator, bot, channel) = start_still().await;
    let payload = json!({"nonce": "n1", "enforce_nonce": true});
    let first = bot
        .upload(channel, &payload, &[("a.bin", b"1")])
        .await
        .expect_status(200);
    let again = bot
        .upload(channel, &payload, &[("a.bin", b"1")])
        .await
        .expect_status(200);
    assert_eq!(first.body["nonce"], "n1");
    assert_eq!(first.body, again.body);
    assert_eq!(emulator.attachments().len(), 1);
    assert_eq!(emulator.counts().messages_repeated, 1);

    // Without enforce_nonce it is only an echo; by another author it is another nonce.
    let free = bot
        .upload(channel, &json!({"nonce": "n1"}), &[("a.bin", b"1")])
        .await;
    assert_ne!(free.id(), first.id());
    let member = User::member(&emulator);
    let other = member.upload(channel, &payload, &[("a.bin", b"1")]).await;
    assert_ne!(other.expect_status(200).id(), first.id());

    emulator.clock().advance(301_000);
    let late = bot
        .upload(channel, &payload, &[("a.bin", b"1")])
        .await
        .expect_status(200);
    assert_ne!(late.id(), first.id());
    bot.delete(&format!("/channels/{channel}/messages/{}", late.id()))
        .await
        .expect_status(204);
    let gone = bot
        .upload(channel, &payload, &[("a.bin", b"1")])
        .await
        .expect_status(404);
    assert_eq!(gone.code(), 10008);
}

#[tokio::test]
async fn two_creates_at_once_with_one_nonce_make_one_message() {
    let (emulator, bot, channel) = start().await;
    let payload = json!({"nonce": 7, "enforce_nonce": true});
    let files: [(&str, &[u8]); 1] = [("a.bin", &[7; 300_000])];
    let (one, other) = tokio::join!(
        bot.upload(channel, &payload, &files),
        bot.upload(channel, &payload, &files)
    );
    assert_eq!(one.expect_status(200).id(), other.expect_status(200).id());
    assert_eq!(emulator.attachments().len(), 1);
}

#[tokio::test]
async fn what_is_wrong_with_a_form_is_said_field_by_field() {
    let (_emulator, bot, channel) = start().await;
    let path = format!("/channels/{channel}/messages");
    let long = bot.say(channel, &"x".repeat(2001)).await.expect_status(400);
    assert_eq!(
        long.body,
        json!({"code": 50035, "message": "Invalid Form Body", "errors": {"content": {"_errors": [
            {"code": "BASE_TYPE_MAX_LENGTH", "message": "Must be 2000 or fewer in length."}]}}})
    );
    bot.say(channel, &"é".repeat(2000)).await.expect_status(200);
    assert_eq!(
        bot.say(channel, "  ").await.expect_status(400).code(),
        50006
    );
    let nonce = bot
        .post(&path, &json!({"content": "a", "nonce": "n".repeat(26)}))
        .await;
    assert!(nonce.expect_status(400).body["errors"]["nonce"]["_errors"].is_array());
    let orphan = json!({"content": "a", "attachments": [{"id": "3"}]});
    let orphan = bot.post(&path, &orphan).await.expect_status(400);
    assert!(orphan.body["errors"]["attachments"]["0"]["id"]["_errors"].is_array());
    let embed = json!({"embeds": [{"title": "t".repeat(257)}]});
    let embed = bot.post(&path, &embed).await.expect_status(400);
    assert!(embed.body["errors"]["embeds"]["0"]["title"]["_errors"].is_array());

    let bare = bot.request(Method::POST, &path).body("{}");
    assert_eq!(read(bare).await.expect_status(400).code(), 50035);
    let torn = bot
        .request(Method::POST, &path)
        .header("content-type", "application/json");
    assert_eq!(
        read(torn.body("{\"content\""))
            .await
            .expect_status(400)
            .code(),
        50109
    );
    assert_eq!(
        bot.get("/channels/1").await.expect_status(404).code(),
        10003
    );
    assert_eq!(
        bot.get("/nothing").await.expect_status(404).body["message"],
        "404: Not Found"
    );
    let wrong = bot.put("/users/@me").await.expect_status(405);
    assert_eq!(
        wrong.body,
        json!({"message": "405: Method Not Allowed", "code": 0})
    );
}

#[tokio::test]
async fn sizes_have_limits() {
    let (emulator, bot, channel) = start().await;
    let payload = json!({});
    let ten = vec![("a.bin", &b"x"[..]); 10];
    bot.upload(channel, &payload, &ten).await.expect_status(200);
    let eleven = vec![("a.bin", &b"x"[..]); 11];
    assert_eq!(
        bot.upload(channel, &payload, &eleven)
            .await
            .expect_status(400)
            .code(),
        30015
    );

    let largest = vec![0; 10 << 20];
    bot.upload(channel, &payload, &[("a.bin", &largest)])
        .await
        .expect_status(200);
    let larger = vec![0; (10 << 20) + 1];
    let refused = bot
        .upload(channel, &payload, &[("a.bin", &larger)])
        .await
        .expect_status(413);
    assert_eq!(
        refused.body,
        json!({"message": "Request entity too large", "code": 40005})
    );
    emulator.set_premium_tier(2).expect("a tier");
    bot.upload(channel, &payload, &[("a.bin", &larger)])
        .await
        .expect_status(200);
    assert_eq!(emulator.attachments().len(), 12);
    let guild = bot.get(&format!("/guilds/{}", emulator.guild_id())).await;
    assert_eq!(guild.body["premium_tier"], 2);

    let mut limits = emulator.limits();
    limits.request_bytes_max = 1000;
    emulator.set_limits(limits);
    let files: [(&str, &[u8]); 2] = [("a.bin", &[0; 600]), ("b.bin", &[0; 600])];
    assert_eq!(
        bot.upload(channel, &payload, &files)
            .await
            .expect_status(413)
            .code(),
        40005
    );
}

#[tokio::test]
async fn pages_are_newest_first_whichever_way_they_go() {
    let (_emulator, bot, channel) = start().await;
    let mut ids = Vec::new();
    for n in 0..12 {
        ids.push(bot.say(channel, &n.to_string()).await.id());
    }
    let list = async |query: String| -> Vec<u64> {
        let answer = bot
            .get(&format!("/channels/{channel}/messages?{query}"))
            .await;
        let answer = answer.expect_status(200);
        answer
            .body
            .as_array()
            .expect("a list")
            .iter()
            .map(id_of)
            .collect()
    };
    let expect =
        |range: std::ops::Range<usize>| -> Vec<u64> { ids[range].iter().rev().copied().collect() };
    assert_eq!(list("limit=5".into()).await, expect(7..12));
    assert_eq!(
        list(format!("limit=3&before={}", ids[4])).await,
        expect(1..4)
    );
    assert_eq!(
        list(format!("limit=3&after={}", ids[4])).await,
        expect(5..8)
    );
    assert_eq!(list("limit=3&after=0".into()).await, expect(0..3));
    assert_eq!(
        list(format!("limit=4&around={}", ids[6])).await,
        expect(5..9)
    );
    for bad in [
        "limit=0",
        "limit=101",
        "limit=x",
        "before=x",
        "before=1&after=1",
    ] {
        let answer = bot
            .get(&format!("/channels/{channel}/messages?{bad}"))
            .await;
        assert_eq!(answer.expect_status(400).code(), 50035, "{bad}");
    }
}

#[tokio::test]
async fn an_edit_replaces_what_it_names_and_drops_unlisted_attachments() {
    let (emulator, bot, channel) = start().await;
    let files: [(&str, &[u8]); 2] = [("a.bin", b"1"), ("b.bin", b"2")];
    let sent = bot
        .upload(channel, &json!({"content": "a"}), &files)
        .await
        .expect_status(200);
    let path = format!("/channels/{channel}/messages/{}", sent.id());
    let text = bot
        .patch(&path, &json!({"content": "b"}))
        .await
        .expect_status(200);
    assert_eq!(text.body["attachments"].as_array().map(Vec::len), Some(2));
    assert!(text.body["edited_timestamp"].is_string());

    let keep = json!({"attachments": [{"id": sent.body["attachments"][1]["id"]}, {"id": 0}]});
    let mixed = read(bot.form(Method::PATCH, &path, &keep, &[("c.bin", b"3")])).await;
    let mixed = mixed.expect_status(200);
    let names = mixed.body["attachments"].as_array().expect("a list").iter();
    let names: Vec<_> = names.map(|one| one["filename"].clone()).collect();
    assert_eq!(names, ["b.bin", "c.bin"]);
    let dropped = sent.body["attachments"][0]["url"].as_str().expect("a URL");
    bot.fetch(dropped).await.expect_status(404);
    assert_eq!(emulator.attachments().len(), 2);

    let member = User::member(&emulator);
    let foreign = member
        .patch(&path, &json!({"content": "c"}))
        .await
        .expect_status(403);
    assert_eq!(foreign.code(), 50005);
    let empty = bot
        .patch(&path, &json!({"content": "", "attachments": []}))
        .await;
    assert_eq!(empty.expect_status(400).code(), 50006);
}

#[tokio::test]
async fn deleting_is_final_and_in_bulk_all_or_nothing() {
    let (emulator, bot, channel) = start_still().await;
    let old = bot.say(channel, "old").await.id();
    emulator.clock().advance(14 * 86_400_000 + 1);
    let mut ids = Vec::new();
    for n in 0..4 {
        ids.push(bot.say(channel, &n.to_string()).await.id().to_string());
    }
    let path = format!("/channels/{channel}/messages");
    bot.delete(&format!("{path}/{}", ids[0]))
        .await
        .expect_status(204);
    let twice = bot
        .delete(&format!("{path}/{}", ids[0]))
        .await
        .expect_status(404);
    assert_eq!(
        twice.body,
        json!({"message": "Unknown Message", "code": 10008})
    );

    let bulk = format!("{path}/bulk-delete");
    let with_old = json!({"messages": [ids[1], old.to_string()]});
    assert_eq!(
        bot.post(&bulk, &with_old).await.expect_status(400).code(),
        50034
    );
    let double = json!({"messages": [ids[1], ids[1]]});
    assert_eq!(
        bot.post(&bulk, &double).await.expect_status(400).code(),
        50035
    );
    let single = json!({"messages": [ids[1]]});
    assert_eq!(
        bot.post(&bulk, &single).await.expect_status(400).code(),
        50016
    );
    assert_eq!(emulator.messages(channel).len(), 4);
    let unknown_too = json!({"messages": [ids[1], ids[2], ids[0]]});
    bot.post(&bulk, &unknown_too).await.expect_status(204);
    assert_eq!(emulator.messages(channel).len(), 2);

    let theirs = User::member(&emulator).say(channel, "mine").await.id();
    bot.delete(&format!("{path}/{theirs}"))
        .await
        .expect_status(204);
    let member = User::member(&emulator);
    let foreign = member
        .delete(&format!("{path}/{}", ids[3]))
        .await
        .expect_status(403);
    assert_eq!(foreign.code(), 50013);
}

#[tokio::test]
async fn embeds_components_replies_and_reactions_come_back_normal() {
    let (_emulator, bot, channel) = start().await;
    let path = format!("/channels/{channel}/messages");
    let card = json!({
        "embeds": [{"title": " t ", "fields": [{"name": "n", "value": "v"}], "footer": {"text": "f"}}],
        "components": [{"type": 1, "components": [
            {"type": 2, "style": 1, "label": "go", "custom_id": "go"}]}],
    });
    let card = bot.post(&path, &card).await.expect_status(200);
    assert_eq!(card.body["embeds"][0]["type"], "rich");
    assert_eq!(card.body["embeds"][0]["title"], "t");
    assert_eq!(card.body["embeds"][0]["fields"][0]["inline"], false);
    assert!(card.body["components"][0]["components"][0]["id"].is_u64());
    let v2 =
        json!({"flags": 1 << 15, "content": "x", "components": [{"type": 10, "content": "x"}]});
    bot.post(&path, &v2).await.expect_status(400);

    let reply = json!({"content": "r", "message_reference": {"message_id": card.body["id"]}});
    let reply = bot.post(&path, &reply).await.expect_status(200);
    assert_eq!(reply.body["type"], 19);
    assert_eq!(reply.body["referenced_message"]["id"], card.body["id"]);

    let thumb = format!("{path}/{}/reactions/%F0%9F%91%8D", card.id());
    bot.put(&format!("{thumb}/@me")).await.expect_status(204);
    let seen = bot.get(&format!("{path}/{}", card.id())).await;
    assert_eq!(seen.body["reactions"][0]["count"], 1);
    assert_eq!(seen.body["reactions"][0]["me"], true);
    assert_eq!(bot.get(&thumb).await.body.as_array().map(Vec::len), Some(1));
    bot.delete(&format!("{thumb}/@me")).await.expect_status(204);
    let seen = bot.get(&format!("{path}/{}", card.id())).await;
    assert!(seen.body.get("reactions").is_none());
}

#[tokio::test]
async fn pins_are_paged_limited_and_announced() {
    let (emulator, bot, channel) = start().await;
    let mut limits = emulator.limits();
    limits.pins_max = 3;
    emulator.set_limits(limits);
    let path = format!("/channels/{channel}/messages");
    let mut ids = Vec::new();
    for n in 0..4 {
        ids.push(bot.say(channel, &n.to_string()).await.id());
    }
    for id in &ids[..3] {
        bot.put(&format!("{path}/pins/{id}"))
            .await
            .expect_status(204);
    }
    let over = bot
        .put(&format!("{path}/pins/{}", ids[3]))
        .await
        .expect_status(400);
    assert_eq!(over.code(), 30003);
    let page = bot
        .get(&format!("{path}/pins?limit=2"))
        .await
        .expect_status(200);
    assert_eq!(page.body["has_more"], true);
    assert_eq!(id_of(&page.body["items"][0]["message"]), ids[2]);
    let cursor = page.body["items"][1]["pinned_at"].as_str().expect("a time");
    let rest = bot
        .get(&format!("{path}/pins?before={cursor}"))
        .await
        .expect_status(200);
    assert_eq!(rest.body["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(rest.body["has_more"], false);
    let old = bot
        .get(&format!("/channels/{channel}/pins"))
        .await
        .expect_status(200);
    assert_eq!(old.body.as_array().map(Vec::len), Some(3));
    let newest = bot.get(&format!("{path}?limit=1")).await;
    assert_eq!(newest.body[0]["type"], 6);
    bot.delete(&format!("{path}/pins/{}", ids[0]))
        .await
        .expect_status(204);
    bot.put(&format!("{path}/pins/{}", ids[3]))
        .await
        .expect_status(204);
}
