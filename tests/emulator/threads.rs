//! Threads and channels.

use reqwest::Method;
use serde_json::json;

use crate::client::{User, id_of, read};
use crate::{start, start_still};

#[tokio::test]
async fn a_thread_from_a_message_has_its_id_and_its_own_messages() {
    let (emulator, bot, channel) = start().await;
    let card = bot.say(channel, "card").await.id();
    let path = format!("/channels/{channel}/messages/{card}/threads");
    let thread = bot
        .post(&path, &json!({"name": "packs"}))
        .await
        .expect_status(201);
    assert_eq!(thread.id(), card);
    assert_eq!(thread.body["type"], 11);
    assert_eq!(thread.body["message_count"], 0);
    let twice = bot
        .post(&path, &json!({"name": "packs"}))
        .await
        .expect_status(400);
    assert_eq!(twice.code(), 160_004);

    let one = bot
        .upload(card, &json!({}), &[("a.bin", b"1")])
        .await
        .expect_status(200);
    assert!(one.body["position"].is_u64());
    let list = bot.get(&format!("/channels/{card}/messages")).await;
    assert_eq!(list.body[1]["type"], 21);
    assert_eq!(id_of(&list.body[1]["referenced_message"]), card);
    let starter = format!("/channels/{card}/messages/{}", id_of(&list.body[1]));
    assert_eq!(bot.delete(&starter).await.expect_status(403).code(), 50021);

    let parent = bot
        .get(&format!("/channels/{channel}/messages/{card}"))
        .await;
    assert_eq!(id_of(&parent.body["thread"]), card);
    bot.delete(&format!("/channels/{card}/messages/{}", one.id()))
        .await
        .expect_status(204);
    let thread = bot
        .get(&format!("/channels/{card}"))
        .await
        .expect_status(200);
    assert_eq!(thread.body["message_count"], 0);
    assert_eq!(thread.body["total_message_sent"], 1);

    bot.upload(card, &json!({}), &[("a.bin", b"1")])
        .await
        .expect_status(200);
    bot.delete(&format!("/channels/{card}"))
        .await
        .expect_status(200);
    assert_eq!(
        bot.get(&format!("/channels/{card}"))
            .await
            .expect_status(404)
            .code(),
        10003
    );
    assert_eq!(emulator.attachments().len(), 0);
}

#[tokio::test]
async fn silence_archives_a_thread_and_writing_wakes_it_unless_locked() {
    let (emulator, bot, channel) = start_still().await;
    let path = format!("/channels/{channel}/threads");
    let body = json!({"name": "t", "type": 11, "auto_archive_duration": 60});
    let thread = bot.post(&path, &body).await.expect_status(201).id();
    let said = bot.say(thread, "a").await.expect_status(200).id();
    emulator.clock().advance(59 * 60_000);
    let state = async || {
        let answer = bot
            .get(&format!("/channels/{thread}"))
            .await
            .expect_status(200);
        answer.body["thread_metadata"]["archived"]
            .as_bool()
            .expect("a state")
    };
    assert!(!state().await);
    emulator.clock().advance(60_000);
    assert!(state().await);
    let message = format!("/channels/{thread}/messages/{said}");
    let edit = bot
        .patch(&message, &json!({"content": "b"}))
        .await
        .expect_status(400);
    assert_eq!(edit.code(), 50083);
    bot.delete(&message).await.expect_status(204);
    assert!(state().await, "deleting does not wake it");
    bot.say(thread, "b").await.expect_status(200);
    assert!(!state().await);

    emulator.lock_thread(thread).expect("a thread");
    let member = User::member(&emulator);
    assert_eq!(
        member.say(thread, "c").await.expect_status(400).code(),
        160_005
    );
    bot.say(thread, "c").await.expect_status(200);
}

#[tokio::test]
async fn threads_are_listed_active_and_archived() {
    let (emulator, bot, channel) = start_still().await;
    let path = format!("/channels/{channel}/threads");
    let mut threads = Vec::new();
    for n in 0..5 {
        let body = json!({"name": format!("t{n}"), "type": 11});
        threads.push(bot.post(&path, &body).await.expect_status(201).id());
    }
    for id in &threads[..4] {
        let archive = json!({"archived": true});
        bot.patch(&format!("/channels/{id}"), &archive)
            .await
            .expect_status(200);
    }
    let active = bot
        .get(&format!("/guilds/{}/threads/active", emulator.guild_id()))
        .await;
    let active = active.expect_status(200);
    assert_eq!(active.body["threads"].as_array().map(Vec::len), Some(1));
    assert_eq!(id_of(&active.body["members"][0]), threads[4]);

    let archived = format!("{path}/archived/public");
    let page = bot
        .get(&format!("{archived}?limit=3"))
        .await
        .expect_status(200);
    let ids: Vec<u64> = page.body["threads"]
        .as_array()
        .expect("a list")
        .iter()
        .map(id_of)
        .collect();
    assert_eq!(
        ids,
        [threads[3], threads[2], threads[1]],
        "latest archived first"
    );
    assert_eq!(page.body["has_more"], true);
    let cursor = &page.body["threads"][2]["thread_metadata"]["archive_timestamp"];
    let cursor = cursor.as_str().expect("a time").replace('+', "%2B");
    let rest = bot
        .get(&format!("{archived}?before={cursor}"))
        .await
        .expect_status(200);
    assert_eq!(id_of(&rest.body["threads"][0]), threads[0]);
    assert_eq!(rest.body["has_more"], false);
    assert_eq!(
        bot.get(&format!("{archived}?limit=1"))
            .await
            .expect_status(400)
            .code(),
        50035
    );

    let mut limits = emulator.limits();
    limits.active_threads_max = 1;
    emulator.set_limits(limits);
    let over = bot
        .post(&path, &json!({"name": "t", "type": 11}))
        .await
        .expect_status(400);
    assert_eq!(over.code(), 160_006);
}

#[tokio::test]
async fn an_archived_thread_wakes_up_only_where_there_is_room_for_an_active_one() {
    let (emulator, bot, channel) = start_still().await;
    let path = format!("/channels/{channel}/threads");
    let mut threads = Vec::new();
    for n in 0..3 {
        let body = json!({"name": format!("t{n}"), "type": 11});
        threads.push(bot.post(&path, &body).await.expect_status(201).id());
    }
    let [first, second, third] = threads[..] else {
        panic!("{threads:?}");
    };
    let set = async |thread: u64, archived: bool| {
        bot.patch(
            &format!("/channels/{thread}"),
            &json!({"archived": archived}),
        )
        .await
    };
    set(first, true).await.expect_status(200);
    let mut limits = emulator.limits();
    limits.active_threads_max = 2;
    emulator.set_limits(limits);
    let counted = emulator.counts().messages;
    assert_eq!(bot.say(first, "a").await.expect_status(400).code(), 160_006);
    assert_eq!(set(first, false).await.expect_status(400).code(), 160_006);
    assert_eq!(emulator.counts().messages, counted);
    bot.say(second, "awake already").await.expect_status(200);
    set(third, true).await.expect_status(200);
    bot.say(first, "a").await.expect_status(200);
    assert_eq!(set(third, false).await.expect_status(400).code(), 160_006);
    set(second, true).await.expect_status(200);
    set(third, false).await.expect_status(200);
}

#[tokio::test]
async fn private_threads_are_for_their_members() {
    let (emulator, bot, channel) = start().await;
    let path = format!("/channels/{channel}/threads");
    let thread = bot
        .post(&path, &json!({"name": "t"}))
        .await
        .expect_status(201);
    assert_eq!(thread.body["type"], 12, "private is the default");
    let thread = thread.id();
    let member = User::member(&emulator);
    assert_eq!(
        member.say(thread, "a").await.expect_status(403).code(),
        50001
    );
    let join = format!("/channels/{thread}/thread-members");
    bot.put(&format!("{join}/{}", emulator.member_id()))
        .await
        .expect_status(204);
    member.say(thread, "a").await.expect_status(200);
    assert_eq!(bot.get(&join).await.body.as_array().map(Vec::len), Some(2));
    member
        .delete(&format!("{join}/@me"))
        .await
        .expect_status(204);
    member.say(thread, "a").await.expect_status(403);
    bot.patch(&format!("/channels/{thread}"), &json!({"archived": true}))
        .await
        .expect_status(200);
    let list = bot
        .get(&format!("{path}/archived/private"))
        .await
        .expect_status(200);
    assert_eq!(list.body["threads"].as_array().map(Vec::len), Some(1));
    let joined = format!("/channels/{channel}/users/@me/threads/archived/private");
    let list = bot.get(&joined).await.expect_status(200);
    assert_eq!(list.body["threads"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_forum_post_is_a_thread_with_its_first_message() {
    let (emulator, bot, _) = start().await;
    let channels = format!("/guilds/{}/channels", emulator.guild_id());
    let forum = bot
        .post(&channels, &json!({"name": "My Forum", "type": 15}))
        .await;
    let forum = forum.expect_status(201);
    assert_eq!(forum.body["name"], "my-forum");
    assert_eq!(
        bot.say(forum.id(), "x").await.expect_status(400).code(),
        40058
    );
    let path = format!("/channels/{}/threads", forum.id());
    let payload = json!({"name": "post", "message": {"content": "hello"}});
    let post = read(bot.form(Method::POST, &path, &payload, &[("a.bin", b"1")])).await;
    let post = post.expect_status(201);
    assert_eq!(post.body["message"]["id"], post.body["id"]);
    assert_eq!(post.body["message"]["attachments"][0]["size"], 1);
    assert_eq!(post.body["message_count"], 0);
}

#[tokio::test]
async fn channels_are_made_changed_and_deleted() {
    let (emulator, bot, general) = start().await;
    let all = format!("/guilds/{}/channels", emulator.guild_id());
    let category = bot
        .post(&all, &json!({"name": "Drive", "type": 4}))
        .await
        .expect_status(201);
    let body = json!({"name": "archives", "parent_id": category.body["id"], "topic": "t"});
    let made = bot.post(&all, &body).await.expect_status(201);
    assert_eq!(made.body["parent_id"], category.body["id"]);
    let path = format!("/channels/{}", made.id());
    let changed = bot
        .patch(&path, &json!({"topic": "u", "name": "New Name"}))
        .await;
    let changed = changed.expect_status(200);
    assert_eq!(changed.body["topic"], "u");
    assert_eq!(changed.body["name"], "new-name");
    assert_eq!(bot.get(&path).await.body, changed.body);
    assert_eq!(bot.get(&all).await.body.as_array().map(Vec::len), Some(3));
    bot.post(&all, &json!({"name": ""}))
        .await
        .expect_status(400);
    bot.post(&all, &json!({})).await.expect_status(400);
    bot.post(&all, &json!({"name": "x", "type": 99}))
        .await
        .expect_status(400);

    let mut limits = emulator.limits();
    limits.channels_max = 3;
    emulator.set_limits(limits);
    let over = bot
        .post(&all, &json!({"name": "x"}))
        .await
        .expect_status(400);
    assert_eq!(over.code(), 30013);
    bot.say(made.id(), "x").await.expect_status(200);
    bot.delete(&path).await.expect_status(200);
    assert_eq!(
        bot.say(made.id(), "x").await.expect_status(404).code(),
        10003
    );
    bot.request_typing(general).await;
}

impl User {
    async fn request_typing(&self, channel: u64) {
        read(self.request(Method::POST, &format!("/channels/{channel}/typing")))
            .await
            .expect_status(204);
    }
}
