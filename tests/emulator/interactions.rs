//! Commands, interactions and their answers: what is accepted, refused, seen, and when it ends.

use ods::emulator::{Emulator, permission};
use reqwest::Method;
use serde_json::{Value, json};
use twilight_model::application::command::Command;
use twilight_model::application::interaction::Interaction;

use crate::client::{Answer, User, id_of, multipart, read};
use crate::gateway::Shard;
use crate::{start, start_limited, start_still};

/// An emulator with a connected application that has these commands, and a person.
struct Scene {
    emulator: Emulator,
    bot: User,
    channel: u64,
    shard: Shard,
    member: u64,
}

impl Scene {
    async fn set(commands: Value) -> Self {
        let (emulator, bot, channel) = start_still().await;
        let path = format!("/applications/{}/commands", emulator.bot_id());
        bot.send_json(Method::PUT, &path, &commands)
            .await
            .expect_status(200);
        let shard = Shard::identify(&emulator, emulator.token(), 0).await;
        let member = emulator.member_id();
        let mut scene = Self {
            emulator,
            bot,
            channel,
            shard,
            member,
        };
        assert_eq!(scene.shard.next().await["t"], "READY");
        scene
    }

    /// A person acts; no answer is waited for.
    async fn act(&self, act: &str, body: Value) -> Answer {
        let (base, user, channel) = (self.emulator.base_url(), self.member, self.channel);
        let url = format!("{base}/_control/people/{user}/channels/{channel}/{act}?wait_ms=0");
        let request = self.bot.http.post(url);
        read(
            request
                .header("content-type", "application/json")
                .body(body.to_string()),
        )
        .await
    }

    /// The interaction that an act leads to.
    async fn event(&mut self, act: &str, body: Value) -> Value {
        self.act(act, body).await.expect_status(200);
        let event = self.shard.next().await;
        assert_eq!(event["t"], "INTERACTION_CREATE", "{event}");
        // A client's own types understand it.
        let understood = serde_json::from_value::<Interaction>(event["d"].clone());
        assert!(understood.is_ok(), "{understood:?}: {event:#}");
        event["d"].clone()
    }

    async fn run(&mut self, command: &str, options: Value) -> Value {
        self.event("commands", json!({"command": command, "options": options}))
            .await
    }

    async fn answer(&self, interaction: &Value, body: Value) -> Answer {
        let (id, token) = (id_of(interaction), interaction["token"].as_str());
        let path = format!("/interactions/{id}/{}/callback", token.expect("a token"));
        self.anybody().post(&path, &body).await
    }

    fn hook(&self, interaction: &Value) -> String {
        let token = interaction["token"].as_str().expect("a token");
        format!("/webhooks/{}/{token}", self.emulator.bot_id())
    }

    /// Interactions are answered without a token of the bot.
    fn anybody(&self) -> User {
        User::with(&self.emulator, "")
    }

    async fn seen(&self) -> Value {
        let (base, user, channel) = (self.emulator.base_url(), self.member, self.channel);
        let url = format!("{base}/_control/people/{user}/channels/{channel}/messages");
        read(self.bot.http.get(url)).await.expect_status(200).body
    }

    async fn history(&self) -> Value {
        let path = format!("/channels/{}/messages", self.channel);
        self.bot.get(&path).await.expect_status(200).body
    }
}

fn one_command() -> Value {
    json!([{"name": "status", "description": "how it is"}])
}

#[tokio::test]
async fn commands_are_registered_changed_and_gone() {
    let (emulator, bot, _) = start().await;
    let all = format!("/applications/{}/commands", emulator.bot_id());
    let guild = format!(
        "/applications/{}/guilds/{}/commands",
        emulator.bot_id(),
        emulator.guild_id()
    );
    let status = json!({"name": "status", "description": "d"});
    let made = bot.post(&all, &status).await.expect_status(201);
    let again = bot.post(&all, &status).await.expect_status(200);
    assert_eq!(made.body["id"], again.body["id"]);
    assert_ne!(made.body["version"], again.body["version"]);
    let here = bot.post(&guild, &status).await.expect_status(201);
    assert_eq!(here.body["guild_id"], emulator.guild_id().to_string());
    let one = format!("{all}/{}", made.id());
    let change = json!({"description": "e", "default_member_permissions": "32"});
    let changed = bot.patch(&one, &change).await.expect_status(200);
    assert_eq!(changed.body["description"], "e");
    assert_eq!(changed.body["default_member_permissions"], "32");
    let other = json!([{"name": "other", "description": "d"}]);
    bot.send_json(Method::PUT, &all, &other)
        .await
        .expect_status(200);
    assert_eq!(bot.get(&one).await.code(), 10063);
    let list = bot.get(&all).await.body;
    let understood = serde_json::from_value::<Vec<Command>>(list.clone());
    assert_eq!(understood.expect("commands")[0].name, "other");
    assert_eq!(list.as_array().map(Vec::len), Some(1));
    assert_eq!(bot.get(&guild).await.body[0]["name"], "status");
    bot.delete(&format!("{guild}/{}", here.id()))
        .await
        .expect_status(204);
    assert_eq!(bot.get(&guild).await.body, json!([]));
    let foreign = bot.post("/applications/1/commands", &status).await;
    assert_eq!(foreign.expect_status(403).code(), 20012);
    let member = User::member(&emulator);
    member.get(&all).await.expect_status(403);
}

#[tokio::test]
async fn a_wrong_command_is_refused_with_its_error_tree() {
    let (emulator, bot, _) = start().await;
    let all = format!("/applications/{}/commands", emulator.bot_id());
    let wrong = json!([
        {"name": "good", "description": "d"},
        {"name": "Not good", "description": "x".repeat(101), "options": [
            {"type": 3, "name": "a", "description": "d",
                "choices": vec![json!({"name": "n", "value": "v"}); 26]},
            {"type": 12, "name": "a", "description": "d", "required": true}]},
    ]);
    let refused = bot.send_json(Method::PUT, &all, &wrong).await;
    let refused = refused.expect_status(400);
    assert_eq!(refused.code(), 50035);
    let errors = &refused.body["errors"]["1"];
    assert_eq!(
        errors["name"]["_errors"][0]["code"],
        "APPLICATION_COMMAND_INVALID_NAME"
    );
    for pointer in [
        "/description/_errors/0",
        "/options/0/choices/_errors/0",
        "/options/1/type/_errors/0",
        "/options/1/name/_errors/0",
        "/options/1/_errors/0",
    ] {
        assert!(errors.pointer(pointer).is_some(), "{pointer}: {errors:#}");
    }
    assert_eq!(bot.get(&all).await.body, json!([]), "nothing was changed");
    let many: Vec<Value> = (0..101)
        .map(|n| json!({"name": format!("c{n}"), "description": "d"}))
        .collect();
    let refused = bot.send_json(Method::PUT, &all, &json!(many)).await;
    assert_eq!(refused.expect_status(400).code(), 30032);
}

#[tokio::test]
async fn a_command_arrives_with_what_its_options_stand_for() {
    let mut scene = Scene::set(json!([{"name": "put", "description": "d", "options": [
        {"type": 1, "name": "file", "description": "d", "options": [
            {"type": 11, "name": "what", "description": "d", "required": true},
            {"type": 4, "name": "count", "description": "d", "max_value": 5},
            {"type": 6, "name": "whom", "description": "d"},
            {"type": 7, "name": "where", "description": "d", "channel_types": [0]},
            {"type": 5, "name": "quick", "description": "d"}]}]}]))
    .await;
    let options = json!({"what": 0, "count": "5", "whom": scene.member.to_string(),
        "where": scene.channel.to_string(), "quick": "true"});
    let payload = json!({"command": "put file", "options": options});
    let url = format!(
        "{}/_control/people/{}/channels/{}/commands?wait_ms=0",
        scene.emulator.base_url(),
        scene.member,
        scene.channel
    );
    let request = scene.bot.http.post(url);
    let form = request
        .header("content-type", "multipart/form-data; boundary=xyz")
        .body(multipart(&payload, &[("a.txt", b"hello")]));
    let told = read(form).await.expect_status(200);
    assert_eq!(told.body["state"], "waiting");
    let event = scene.shard.next().await["d"].clone();
    serde_json::from_value::<Interaction>(event.clone()).expect("it is understood");
    assert_eq!(event["type"], 2);
    assert_eq!(event["member"]["user"]["id"], scene.member.to_string());
    assert_eq!(
        event["member"]["permissions"],
        permission::MEMBER.to_string()
    );
    assert_eq!(event["app_permissions"], permission::BOT.to_string());
    assert_eq!(event["guild_locale"], "en-US");
    let chosen = &event["data"]["options"][0];
    assert_eq!(
        (&chosen["name"], &chosen["type"]),
        (&json!("file"), &json!(1))
    );
    let what = &chosen["options"][0]["value"];
    assert_eq!(chosen["options"][1]["value"], 5);
    assert_eq!(chosen["options"][4]["value"], true);
    let resolved = &event["data"]["resolved"];
    let file = &resolved["attachments"][what.as_str().expect("an id")];
    assert_eq!(
        (&file["filename"], &file["size"]),
        (&json!("a.txt"), &json!(5))
    );
    let url = file["url"].as_str().expect("a URL");
    assert!(url.contains("/ephemeral-attachments/"), "{url}");
    assert_eq!(scene.bot.fetch(url).await.bytes, b"hello");
    let who = scene.member.to_string();
    assert_eq!(resolved["users"][&who]["username"], "member");
    assert!(resolved["members"][&who]["permissions"].is_string());
    let place = &resolved["channels"][scene.channel.to_string()];
    assert_eq!(place["name"], "general");

    for (options, why) in [
        (json!({}), "required"),
        (json!({"what": 7}), "no such file"),
        (json!({"what": 0, "count": 6}), "too small or too large"),
        (json!({"what": 0, "size": 6}), "no such option"),
    ] {
        let body = json!({"command": "put file", "options": options});
        let refused = scene.act("commands", body).await.expect_status(400);
        let error = refused.body["error"].as_str().expect("a sentence");
        assert!(
            error.contains(why) || error.contains("no such file"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn permissions_decide_who_may_use_a_command() {
    let scene = Scene::set(json!([{"name": "admin", "description": "d",
        "default_member_permissions": permission::MANAGE_GUILD.to_string()}]))
    .await;
    let body = json!({"command": "admin"});
    let refused = scene.act("commands", body.clone()).await;
    refused.expect_status(400);
    let base = scene.emulator.base_url();
    let add = |bits: u64| {
        let url = format!("{base}/_control/people");
        let person = json!({"name": "p", "permissions": bits.to_string()});
        read(scene.bot.http.post(url).body(person.to_string()))
    };
    let able = add(permission::MEMBER | permission::MANAGE_GUILD).await;
    let unable = add(permission::MANAGE_GUILD).await;
    for (person, status) in [(able.id(), 200), (unable.id(), 400)] {
        let channel = scene.channel;
        let url = format!("{base}/_control/people/{person}/channels/{channel}/commands?wait_ms=0");
        let request = scene.bot.http.post(url);
        let request = request.header("content-type", "application/json");
        read(request.body(body.to_string()))
            .await
            .expect_status(status);
    }
}

#[tokio::test]
async fn a_deferred_answer_is_filled_and_followed() {
    let mut scene = Scene::set(one_command()).await;
    let event = scene.run("status", json!({})).await;
    let hook = scene.hook(&event);
    let anybody = scene.anybody();
    let early = anybody.post(&hook, &json!({"content": "x"})).await;
    assert_eq!(early.expect_status(404).code(), 10015);
    scene
        .answer(&event, json!({"type": 5}))
        .await
        .expect_status(204);
    let twice = scene.answer(&event, json!({"type": 5})).await;
    assert_eq!(twice.expect_status(400).code(), 40060);
    let original = format!("{hook}/messages/@original");
    let waiting = anybody.get(&original).await.expect_status(200);
    assert_eq!(waiting.body["flags"], 128);
    let payload = json!({"content": "done", "embeds": [{"title": "t"}]});
    let request = anybody.form(Method::PATCH, &original, &payload, &[("a.bin", b"1")]);
    let filled = read(request).await.expect_status(200).body;
    assert_eq!(filled["flags"], 0);
    assert_eq!(filled["type"], 20);
    assert_eq!(filled["edited_timestamp"], Value::Null);
    assert_eq!(filled["attachments"][0]["size"], 1);
    assert_eq!(filled["interaction"]["name"], "status");
    let more = json!({"content": "more", "components": [
        {"type": 1, "components": [{"type": 2, "style": 1, "custom_id": "b", "label": "B"}]}]});
    let more = anybody.post(&hook, &more).await.expect_status(200).body;
    assert_eq!(more["message_reference"]["message_id"], filled["id"]);
    let list = scene.history().await;
    assert_eq!(list[0]["id"], more["id"]);
    assert_eq!(list[1]["content"], "done");
    let followup = format!("{hook}/messages/{}", id_of(&more));
    anybody
        .patch(&followup, &json!({"content": "less"}))
        .await
        .expect_status(200);
    anybody.delete(&followup).await.expect_status(204);
    assert_eq!(anybody.get(&followup).await.code(), 10008);
    let foreign = scene.bot.say(scene.channel, "mine").await;
    let foreign = format!("{hook}/messages/{}", foreign.id());
    assert_eq!(anybody.delete(&foreign).await.code(), 10008);

    let event = scene.run("status", json!({})).await;
    scene
        .answer(&event, json!({"type": 5}))
        .await
        .expect_status(204);
    let hook = scene.hook(&event);
    let first = anybody.post(&hook, &json!({"content": "it"})).await;
    let original = anybody.get(&format!("{hook}/messages/@original")).await;
    assert_eq!(first.body["id"], original.body["id"]);
}

#[tokio::test]
async fn answers_come_in_time_or_not_at_all() {
    let mut scene = Scene::set(one_command()).await;
    let event = scene.run("status", json!({})).await;
    scene.emulator.clock().advance(3001);
    let late = scene.answer(&event, json!({"type": 5})).await;
    assert_eq!(late.expect_status(404).code(), 10062);
    let event = scene.run("status", json!({})).await;
    let hello = json!({"type": 4, "data": {"content": "hello"}});
    let mut forged = event.clone();
    forged["token"] = json!("forged");
    let refused = scene.answer(&forged, hello.clone()).await;
    assert_eq!(refused.expect_status(404).code(), 10062);
    for (body, place) in [
        (json!({"type": 7, "data": {"content": "x"}}), "/type"),
        (json!({"data": {}}), "/type"),
        (
            json!({"type": 4, "data": {"content": "x".repeat(2001)}}),
            "/data/content",
        ),
        (
            json!({"type": 9, "data": {"title": "t"}}),
            "/data/custom_id",
        ),
    ] {
        let refused = scene.answer(&event, body).await.expect_status(400);
        let errors = &refused.body["errors"];
        assert!(errors.pointer(place).is_some(), "{errors}");
    }
    scene.answer(&event, hello).await.expect_status(204);
    let original = format!("{}/messages/@original", scene.hook(&event));
    let anybody = scene.anybody();
    scene.emulator.clock().advance(15 * 60_000 - 1);
    anybody.get(&original).await.expect_status(200);
    scene.emulator.clock().advance(1);
    let over = anybody.patch(&original, &json!({"content": "y"})).await;
    assert_eq!(over.expect_status(401).code(), 50027);
}

#[tokio::test]
async fn an_ephemeral_answer_is_seen_by_one() {
    let mut scene = Scene::set(one_command()).await;
    let event = scene.run("status", json!({})).await;
    let (id, token) = (id_of(&event), event["token"].as_str().expect("a token"));
    let path = format!("/interactions/{id}/{token}/callback?with_response=true");
    let secret = json!({"type": 4, "data": {"content": "secret", "flags": 64, "components": [
        {"type": 1, "components": [{"type": 2, "style": 2, "custom_id": "go", "label": "Go"}]}]}});
    let anybody = scene.anybody();
    let request = anybody.form(Method::POST, &path, &secret, &[("s.bin", b"12")]);
    let answer = read(request).await.expect_status(200).body;
    let message = &answer["resource"]["message"];
    assert_eq!(answer["interaction"]["response_message_ephemeral"], true);
    assert_eq!(message["flags"], 64);
    let url = message["attachments"][0]["url"].as_str().expect("a URL");
    assert_eq!(anybody.fetch(url).await.bytes, b"12");
    assert_eq!(scene.history().await, json!([]));
    let id = id_of(message);
    let direct = format!("/channels/{}/messages/{id}", scene.channel);
    assert_eq!(scene.bot.get(&direct).await.code(), 10008);
    assert_eq!(scene.seen().await[0]["content"], "secret");
    let owner = scene.emulator.base_url();
    let people = read(scene.bot.http.get(format!("{owner}/_control/people"))).await;
    let mut people = people.body.as_array().expect("a list").clone();
    people.retain(|one| one["username"] == "owner");
    let member = std::mem::replace(&mut scene.member, id_of(&people[0]));
    assert_eq!(scene.seen().await, json!([]));
    let click = json!({"message": id.to_string(), "custom_id": "go"});
    scene.act("clicks", click.clone()).await.expect_status(400);
    scene.member = member;
    let event = scene.event("clicks", click).await;
    assert_eq!(event["message"]["id"], id.to_string());
    let update = json!({"type": 7, "data": {"content": "changed", "components": []}});
    scene.answer(&event, update).await.expect_status(204);
    assert_eq!(scene.seen().await[0]["content"], "changed");
    let hook = scene.hook(&event);
    let original = format!("{hook}/messages/@original");
    anybody.delete(&original).await.expect_status(204);
    assert_eq!(scene.seen().await, json!([]));
}

#[tokio::test]
async fn buttons_and_menus_are_used_and_changed() {
    let mut scene = Scene::set(json!([])).await;
    let path = format!("/channels/{}/messages", scene.channel);
    let body = json!({"content": "card", "components": [
        {"type": 1, "components": [
            {"type": 2, "style": 1, "custom_id": "info", "label": "Info"},
            {"type": 2, "style": 4, "custom_id": "off", "label": "Off", "disabled": true},
            {"type": 2, "style": 5, "url": "https://example.org", "label": "Link"}]},
        {"type": 1, "components": [{"type": 3, "custom_id": "pick", "max_values": 2, "options": [
            {"label": "a", "value": "a"}, {"label": "b", "value": "b"}]}]},
        {"type": 1, "components": [{"type": 8, "custom_id": "channel"}]}]});
    let card = scene.bot.post(&path, &body).await.expect_status(200).id();
    let click = |custom_id: &str, values: Value| {
        json!({"message": card.to_string(),
        "custom_id": custom_id, "values": values})
    };
    for (custom_id, values) in [
        ("off", json!([])),
        ("none", json!([])),
        ("pick", json!([])),
        ("pick", json!(["c"])),
        ("pick", json!(["a", "b", "a"])),
        ("channel", json!(["1"])),
    ] {
        let refused = scene.act("clicks", click(custom_id, values)).await;
        refused.expect_status(400);
    }
    let event = scene.event("clicks", click("info", json!([]))).await;
    assert_eq!(event["type"], 3);
    assert_eq!(event["data"]["component_type"], 2);
    assert_eq!(event["message"]["content"], "card");
    let update = json!({"type": 7, "data": {"content": "pressed"}});
    scene.answer(&event, update).await.expect_status(204);
    let shown = scene.bot.get(&format!("{path}/{card}")).await.body;
    assert_eq!(shown["content"], "pressed");
    assert_eq!(shown["components"].as_array().map(Vec::len), Some(3));
    let event = scene
        .event("clicks", click("pick", json!(["b", "a"])))
        .await;
    assert_eq!(event["data"]["values"], json!(["b", "a"]));
    scene
        .answer(&event, json!({"type": 6}))
        .await
        .expect_status(204);
    let original = format!("{}/messages/@original", scene.hook(&event));
    let shown = scene.anybody().get(&original).await.expect_status(200);
    assert_eq!(shown.id(), card);
    let place = scene.channel.to_string();
    let event = scene
        .event("clicks", click("channel", json!([place])))
        .await;
    assert_eq!(
        event["data"]["resolved"]["channels"][&place]["name"],
        "general"
    );
    let answer = json!({"type": 4, "data": {"content": "seen"}});
    scene.answer(&event, answer).await.expect_status(204);
    let reply = scene.history().await[0].clone();
    assert_eq!(reply["message_reference"]["message_id"], card.to_string());
    assert_eq!(
        reply["interaction_metadata"]["interacted_message_id"],
        card.to_string()
    );
}

#[tokio::test]
async fn options_are_completed_and_modals_sent() {
    let mut scene = Scene::set(json!([{"name": "find", "description": "d", "options": [
        {"type": 3, "name": "what", "description": "d", "required": true, "autocomplete": true},
        {"type": 4, "name": "page", "description": "d"}]}]))
    .await;
    let body = json!({"command": "find", "options": {"what": "ho", "page": 2}, "focused": "what"});
    let event = scene.event("completions", body).await;
    assert_eq!(event["type"], 4);
    let first = &event["data"]["options"][0];
    assert_eq!(
        (&first["value"], &first["focused"]),
        (&json!("ho"), &json!(true))
    );
    let wrong = json!({"type": 8, "data": {"choices": [{"name": "", "value": 1}]}});
    let refused = scene.answer(&event, wrong).await.expect_status(400);
    assert!(
        refused.body["errors"]
            .pointer("/data/choices/0/name")
            .is_some()
    );
    let choices = json!([{"name": "Holiday", "value": "holiday"}]);
    let answer = json!({"type": 8, "data": {"choices": choices}});
    scene.answer(&event, answer).await.expect_status(204);

    let event = scene.run("find", json!({"what": "x"})).await;
    let modal = json!({"type": 9, "data": {"custom_id": "m", "title": "Describe", "components": [
        {"type": 1, "components": [{"type": 4, "custom_id": "text", "label": "Text", "style": 1,
            "max_length": 5}]},
        {"type": 18, "label": "Colour", "component": {"type": 3, "custom_id": "colour",
            "options": [{"label": "red", "value": "red"}]}}]}});
    scene.answer(&event, modal).await.expect_status(204);
    let send = |values: Value| json!({"interaction": event["id"], "values": values});
    for values in [json!({}), json!({"text": "longer", "colour": "red"})] {
        scene.act("modals", send(values)).await.expect_status(400);
    }
    let good = send(json!({"text": "short", "colour": "red"}));
    let sent = scene.event("modals", good).await;
    assert_eq!(
        (&sent["type"], &sent["data"]["custom_id"]),
        (&json!(5), &json!("m"))
    );
    let fields = &sent["data"]["components"];
    assert_eq!(fields[0]["components"][0]["value"], "short");
    assert_eq!(fields[1]["component"]["values"], json!(["red"]));
    let answer = json!({"type": 4, "data": {"content": "noted"}});
    scene.answer(&sent, answer).await.expect_status(204);
    let metadata = &scene.history().await[0]["interaction_metadata"];
    assert_eq!(
        metadata["triggering_interaction_metadata"]["id"],
        event["id"]
    );
}

#[tokio::test]
async fn followups_have_a_window_for_each_interaction() {
    let (emulator, bot, channel) = start_limited().await;
    let path = format!("/applications/{}/commands", emulator.bot_id());
    bot.send_json(Method::PUT, &path, &one_command())
        .await
        .expect_status(200);
    let member = emulator.member_id();
    let shard = Shard::identify(&emulator, emulator.token(), 0).await;
    let mut scene = Scene {
        emulator,
        bot,
        channel,
        shard,
        member,
    };
    scene.shard.next().await;
    let first = scene.run("status", json!({})).await;
    let second = scene.run("status", json!({})).await;
    let say = json!({"type": 4, "data": {"content": "a"}});
    for event in [&first, &second] {
        let told = scene.answer(event, say.clone()).await.expect_status(204);
        assert_eq!(told.header("x-ratelimit-limit"), None);
    }
    let anybody = scene.anybody();
    let body = json!({"content": "b"});
    for _ in 0..5 {
        let answer = anybody.post(&scene.hook(&first), &body).await;
        assert_eq!(
            answer.expect_status(200).header("x-ratelimit-limit"),
            Some("5")
        );
    }
    let over = anybody.post(&scene.hook(&first), &body).await;
    over.expect_status(429);
    let other = anybody.post(&scene.hook(&second), &body).await;
    other.expect_status(200);
    scene.emulator.clock().advance(2000);
    let later = anybody.post(&scene.hook(&first), &body).await;
    later.expect_status(200);
}

#[tokio::test]
async fn nobody_answers_when_no_application_is_connected() {
    let (emulator, bot, channel) = start().await;
    let path = format!("/applications/{}/commands", emulator.bot_id());
    bot.post(&path, &one_command()[0]).await.expect_status(201);
    let url = format!(
        "{}/_control/people/{}/channels/{channel}/commands",
        emulator.base_url(),
        emulator.member_id()
    );
    let request = bot.http.post(url);
    let request = request.header("content-type", "application/json");
    let told = read(request.body(json!({"command": "status"}).to_string())).await;
    assert_eq!(told.expect_status(200).body["state"], "nobody");
}
