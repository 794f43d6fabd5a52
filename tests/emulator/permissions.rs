//! Who may do what, and who sees what.

use ods::emulator::{MessageContent, permission};
use serde_json::json;

use crate::client::User;
use crate::start;

#[tokio::test]
async fn a_token_is_needed_and_must_be_right() {
    let (emulator, bot, channel) = start().await;
    let unauthorized = json!({"message": "401: Unauthorized", "code": 0});
    for authorization in ["", "Bot nonsense", emulator.token()] {
        let stranger = User::with(&emulator, authorization);
        assert_eq!(
            stranger.get("/users/@me").await.expect_status(401).body,
            unauthorized
        );
    }
    let me = bot.get("/users/@me").await.expect_status(200);
    assert_eq!(me.id(), emulator.bot_id());
    let first = emulator.token().split('.').next().expect("a segment");
    let decoded = data_encoding::BASE64URL_NOPAD
        .decode(first.as_bytes())
        .expect("base64");
    assert_eq!(decoded, emulator.bot_id().to_string().as_bytes());
    emulator.revoke_token();
    bot.say(channel, "x").await.expect_status(401);
    emulator.restore_token();
    bot.say(channel, "x").await.expect_status(200);
    let member = User::member(&emulator);
    assert_eq!(
        member.get("/users/@me").await.expect_status(200).id(),
        emulator.member_id()
    );
    assert_eq!(emulator.counts().invalid, 4);
}

#[tokio::test]
async fn each_permission_is_looked_at() {
    let (emulator, bot, channel) = start().await;
    let said = bot.say(channel, "x").await.id();
    let without = |bits: u64| {
        emulator
            .set_permissions(permission::BOT & !bits)
            .expect("a role");
    };
    let code = async |sent: crate::client::Answer| sent.expect_status(403).code();
    let messages = format!("/channels/{channel}/messages");

    without(permission::VIEW_CHANNEL);
    assert_eq!(code(bot.say(channel, "x").await).await, 50001);
    assert_eq!(code(bot.get(&messages).await).await, 50001);
    without(permission::SEND_MESSAGES);
    assert_eq!(code(bot.say(channel, "x").await).await, 50013);
    without(permission::ATTACH_FILES);
    assert_eq!(
        code(bot.upload(channel, &json!({}), &[("a", b"1")]).await).await,
        50013
    );
    bot.say(channel, "x").await.expect_status(200);
    without(permission::EMBED_LINKS);
    let embed = json!({"embeds": [{"title": "t"}]});
    assert_eq!(code(bot.post(&messages, &embed).await).await, 50013);
    without(permission::READ_MESSAGE_HISTORY);
    assert_eq!(bot.get(&messages).await.expect_status(200).body, json!([]));
    assert_eq!(
        code(bot.get(&format!("{messages}/{said}")).await).await,
        50013
    );
    without(permission::MANAGE_MESSAGES);
    let two = json!({"messages": [said.to_string(), "1"]});
    let bulk = format!("{messages}/bulk-delete");
    assert_eq!(
        code(bot.post(&bulk, &two).await).await,
        50013,
        "own messages too"
    );
    without(permission::PIN_MESSAGES);
    assert_eq!(
        code(bot.put(&format!("{messages}/pins/{said}")).await).await,
        50013
    );
    without(permission::MANAGE_CHANNELS);
    let all = format!("/guilds/{}/channels", emulator.guild_id());
    assert_eq!(
        code(bot.post(&all, &json!({"name": "x"})).await).await,
        50013
    );
    assert_eq!(
        code(bot.delete(&format!("/channels/{channel}")).await).await,
        50013
    );
    without(permission::CREATE_PUBLIC_THREADS);
    let name = json!({"name": "t"});
    assert_eq!(
        code(bot.post(&format!("{messages}/{said}/threads"), &name).await).await,
        50013
    );
    without(0);
    let thread = bot
        .post(&format!("{messages}/{said}/threads"), &name)
        .await
        .id();
    without(permission::SEND_MESSAGES);
    bot.say(thread, "x").await.expect_status(200);
    without(permission::SEND_MESSAGES_IN_THREADS);
    assert_eq!(code(bot.say(thread, "x").await).await, 50013);
    without(permission::MANAGE_THREADS);
    assert_eq!(
        code(bot.delete(&format!("/channels/{thread}")).await).await,
        50013
    );
    emulator
        .set_permissions(permission::ADMINISTRATOR)
        .expect("a role");
    bot.delete(&format!("/channels/{thread}"))
        .await
        .expect_status(200);
}

#[tokio::test]
async fn overwrites_follow_discords_order() {
    let (emulator, bot, channel) = start().await;
    emulator
        .set_permissions(permission::BOT | permission::MANAGE_ROLES)
        .expect("a role");
    let path = |whom: u64| format!("/channels/{channel}/permissions/{whom}");
    let put = async |whom: u64, kind: u64, allow: u64, deny: u64| {
        let body = json!({"type": kind, "allow": allow.to_string(), "deny": deny.to_string()});
        bot.send_json(reqwest::Method::PUT, &path(whom), &body)
            .await
            .expect_status(204);
    };
    let member = User::member(&emulator);
    let everyone = emulator.guild_id();
    put(everyone, 0, 0, permission::SEND_MESSAGES).await;
    assert_eq!(
        member.say(channel, "x").await.expect_status(403).code(),
        50013
    );
    put(emulator.member_id(), 1, permission::SEND_MESSAGES, 0).await;
    member.say(channel, "x").await.expect_status(200);
    bot.delete(&path(emulator.member_id()))
        .await
        .expect_status(204);
    assert_eq!(bot.delete(&path(1)).await.expect_status(404).code(), 10009);
    put(everyone, 0, 0, permission::VIEW_CHANNEL).await;
    assert_eq!(
        member.say(channel, "x").await.expect_status(403).code(),
        50001
    );
    let shown = bot.get(&format!("/channels/{channel}")).await;
    assert_eq!(shown.status, 403, "the bot is everyone too");
}

#[tokio::test]
async fn foreign_messages_are_blank_without_message_content() {
    let (emulator, bot, channel) = start().await;
    let member = User::member(&emulator);
    member
        .upload(channel, &json!({"content": "secret"}), &[("a.bin", b"1")])
        .await;
    member
        .say(channel, &format!("hey <@{}>", emulator.bot_id()))
        .await;
    bot.say(channel, "own").await;
    let list = bot.get(&format!("/channels/{channel}/messages")).await;
    assert_eq!(list.body[2]["content"], "");
    assert_eq!(list.body[2]["attachments"], json!([]));
    assert_ne!(list.body[1]["content"], "");
    assert_eq!(list.body[0]["content"], "own");
    let list = member.get(&format!("/channels/{channel}/messages")).await;
    assert_eq!(list.body[2]["content"], "secret");
    emulator.set_message_content(MessageContent::Granted);
    let list = bot.get(&format!("/channels/{channel}/messages")).await;
    assert_eq!(list.body[2]["content"], "secret");
    assert_eq!(list.body[2]["attachments"][0]["size"], 1);
}

#[tokio::test]
async fn another_librarys_model_reads_every_answer() {
    use twilight_model::channel::message::MessageType;
    use twilight_model::channel::thread::ThreadsListing;
    use twilight_model::channel::{Channel, Message};
    use twilight_model::guild::{Guild, Member, Role};
    use twilight_model::user::CurrentUser;

    fn parsed<T: serde::de::DeserializeOwned>(answer: &crate::client::Answer) -> T {
        serde_json::from_slice(&answer.bytes).expect("it is read")
    }
    let (emulator, bot, channel) = start().await;
    let guild = emulator.guild_id();
    let sent = bot
        .upload(channel, &json!({"nonce": "n"}), &[("a.bin", b"1")])
        .await;
    let message: Message = parsed(&sent);
    assert_eq!(
        (message.kind, message.attachments[0].size),
        (MessageType::Regular, 1)
    );
    let path = format!("/channels/{channel}/messages/{}/threads", sent.id());
    let thread: Channel = parsed(&bot.post(&path, &json!({"name": "t"})).await);
    assert_eq!(thread.id.get(), sent.id());
    bot.put(&format!("/channels/{channel}/messages/pins/{}", sent.id()))
        .await;
    let list: Vec<Message> = parsed(&bot.get(&format!("/channels/{channel}/messages")).await);
    assert_eq!(list.len(), 2);
    let active = bot.get(&format!("/guilds/{guild}/threads/active")).await;
    assert_eq!(parsed::<ThreadsListing>(&active).threads.len(), 1);
    let whole: Guild = parsed(&bot.get(&format!("/guilds/{guild}")).await);
    assert_eq!(whole.id.get(), guild);
    let _: Vec<Role> = parsed(&bot.get(&format!("/guilds/{guild}/roles")).await);
    let _: Vec<Channel> = parsed(&bot.get(&format!("/guilds/{guild}/channels")).await);
    let me = format!("/guilds/{guild}/members/{}", emulator.bot_id());
    let _: Member = parsed(&bot.get(&me).await);
    let me: CurrentUser = parsed(&bot.get("/users/@me").await);
    assert_eq!(me.id.get(), emulator.bot_id());
}

#[tokio::test]
async fn the_guild_and_the_application_are_there() {
    let (emulator, bot, _) = start().await;
    let guild = emulator.guild_id();
    let shown = bot
        .get(&format!("/guilds/{guild}?with_counts=true"))
        .await
        .expect_status(200);
    assert_eq!(shown.body["premium_tier"], 0);
    assert_eq!(shown.body["approximate_member_count"], 3);
    assert_eq!(bot.get("/guilds/1").await.expect_status(404).code(), 10004);
    assert_eq!(
        bot.get("/users/@me/guilds").await.expect_status(200).body[0]["id"],
        guild.to_string()
    );
    let roles = bot
        .get(&format!("/guilds/{guild}/roles"))
        .await
        .expect_status(200);
    assert_eq!(roles.body.as_array().map(Vec::len), Some(3));
    let me = bot
        .get(&format!("/guilds/{guild}/members/{}", emulator.bot_id()))
        .await;
    assert_eq!(me.expect_status(200).body["roles"][0], roles.body[1]["id"]);
    for path in ["/applications/@me", "/oauth2/applications/@me"] {
        assert_eq!(
            bot.get(path).await.expect_status(200).id(),
            emulator.bot_id()
        );
    }
    let gateway = bot.get("/gateway/bot").await.expect_status(200);
    let url = gateway.body["url"].as_str().expect("a URL");
    assert!(url.starts_with("ws://127.0.0.1:"));
    User::with(&emulator, "")
        .get("/gateway")
        .await
        .expect_status(200);
}
