//! Every route's answers, good and bad, are what Discord's own OpenAPI file says they are.
//!
//! The file is not part of this repository. `ODS_DISCORD_OPENAPI` names it; without it the test is
//! skipped, and says so.

#[path = "support/emulator_client.rs"]
mod client;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use client::{Answer, User, read};
use jsonschema::Validator;
use ods::emulator::{Emulator, Limits, Settings, permission};
use reqwest::Method;
use serde_json::{Value, json};

/// Routes of the emulator that Discord does not document.
const UNDOCUMENTED: &[&str] = &["POST /attachments/refresh-urls"];

/// Every route of the emulator: each must have been driven.
const ROUTES: &[&str] = &[
    "DELETE /applications/{application_id}/commands/{command_id}",
    "DELETE /applications/{application_id}/guilds/{guild_id}/commands/{command_id}",
    "DELETE /channels/{channel_id}",
    "DELETE /channels/{channel_id}/messages/{message_id}",
    "DELETE /channels/{channel_id}/messages/{message_id}/reactions",
    "DELETE /channels/{channel_id}/messages/{message_id}/reactions/{emoji_name}",
    "DELETE /channels/{channel_id}/messages/{message_id}/reactions/{emoji_name}/@me",
    "DELETE /channels/{channel_id}/messages/{message_id}/reactions/{emoji_name}/{user_id}",
    "DELETE /channels/{channel_id}/messages/pins/{message_id}",
    "DELETE /channels/{channel_id}/permissions/{overwrite_id}",
    "DELETE /channels/{channel_id}/pins/{message_id}",
    "DELETE /channels/{channel_id}/thread-members/@me",
    "DELETE /channels/{channel_id}/thread-members/{user_id}",
    "DELETE /webhooks/{webhook_id}/{webhook_token}/messages/@original",
    "DELETE /webhooks/{webhook_id}/{webhook_token}/messages/{message_id}",
    "GET /applications/@me",
    "GET /applications/{application_id}/commands",
    "GET /applications/{application_id}/commands/{command_id}",
    "GET /applications/{application_id}/guilds/{guild_id}/commands",
    "GET /applications/{application_id}/guilds/{guild_id}/commands/{command_id}",
    "GET /channels/{channel_id}",
    "GET /channels/{channel_id}/messages",
    "GET /channels/{channel_id}/messages/pins",
    "GET /channels/{channel_id}/messages/{message_id}",
    "GET /channels/{channel_id}/messages/{message_id}/reactions/{emoji_name}",
    "GET /channels/{channel_id}/pins",
    "GET /channels/{channel_id}/thread-members",
    "GET /channels/{channel_id}/thread-members/{user_id}",
    "GET /channels/{channel_id}/threads/archived/private",
    "GET /channels/{channel_id}/threads/archived/public",
    "GET /channels/{channel_id}/users/@me/threads/archived/private",
    "GET /gateway",
    "GET /gateway/bot",
    "GET /guilds/{guild_id}",
    "GET /guilds/{guild_id}/channels",
    "GET /guilds/{guild_id}/members/{user_id}",
    "GET /guilds/{guild_id}/roles",
    "GET /guilds/{guild_id}/threads/active",
    "GET /oauth2/applications/@me",
    "GET /users/@me",
    "GET /users/@me/guilds",
    "GET /users/{user_id}",
    "GET /webhooks/{webhook_id}/{webhook_token}/messages/@original",
    "GET /webhooks/{webhook_id}/{webhook_token}/messages/{message_id}",
    "PATCH /applications/{application_id}/commands/{command_id}",
    "PATCH /applications/{application_id}/guilds/{guild_id}/commands/{command_id}",
    "PATCH /channels/{channel_id}",
    "PATCH /channels/{channel_id}/messages/{message_id}",
    "PATCH /webhooks/{webhook_id}/{webhook_token}/messages/@original",
    "PATCH /webhooks/{webhook_id}/{webhook_token}/messages/{message_id}",
    "POST /applications/{application_id}/commands",
    "POST /applications/{application_id}/guilds/{guild_id}/commands",
    "POST /attachments/refresh-urls",
    "POST /channels/{channel_id}/messages",
    "POST /channels/{channel_id}/messages/bulk-delete",
    "POST /channels/{channel_id}/messages/{message_id}/threads",
    "POST /channels/{channel_id}/threads",
    "POST /channels/{channel_id}/typing",
    "POST /guilds/{guild_id}/channels",
    "POST /interactions/{interaction_id}/{interaction_token}/callback",
    "POST /webhooks/{webhook_id}/{webhook_token}",
    "PUT /applications/{application_id}/commands",
    "PUT /applications/{application_id}/guilds/{guild_id}/commands",
    "PUT /channels/{channel_id}/messages/pins/{message_id}",
    "PUT /channels/{channel_id}/messages/{message_id}/reactions/{emoji_name}/@me",
    "PUT /channels/{channel_id}/permissions/{overwrite_id}",
    "PUT /channels/{channel_id}/pins/{message_id}",
    "PUT /channels/{channel_id}/thread-members/@me",
    "PUT /channels/{channel_id}/thread-members/{user_id}",
];

/// Discord's description of its API.
struct Spec {
    document: Value,
    validators: BTreeMap<String, Validator>,
    checked: usize,
}

impl Spec {
    fn load() -> Option<Self> {
        let path = std::env::var_os("ODS_DISCORD_OPENAPI")?;
        let text = std::fs::read_to_string(&path).expect("ODS_DISCORD_OPENAPI names a file");
        Some(Self {
            document: serde_json::from_str(&text).expect("it is JSON"),
            validators: BTreeMap::new(),
            checked: 0,
        })
    }

    /// Is this a documented answer of this route?
    fn check(&mut self, method: &Method, template: &str, answer: &Answer) {
        let route = format!("{method} {template}");
        if UNDOCUMENTED.contains(&route.as_str()) {
            return;
        }
        let operation = &self.document["paths"][template][method.as_str().to_lowercase()];
        assert!(operation.is_object(), "{route} is not documented");
        let status = answer.status.to_string();
        let class = format!("{}XX", &status[..1]);
        let responses = &operation["responses"];
        let mut response = responses.get(&status).or_else(|| responses.get(&class));
        if let Some(reference) = response.and_then(|found| found["$ref"].as_str()) {
            response = self.document.pointer(reference.trim_start_matches('#'));
        }
        let Some(response) = response else {
            panic!("{route} answers {status}, which is not documented");
        };
        let schema = &response["content"]["application/json"]["schema"];
        if schema.is_null() {
            assert!(answer.bytes.is_empty(), "{route} {status} has a body");
        } else {
            let mut body = answer.body.clone();
            if answer.status >= 400 && body.get("errors").is_some() {
                number_field_codes(&mut body["errors"]);
            }
            if answer.status == 429 && body.get("code").is_none() {
                // The file requires a code, Discord's own examples and answers have none.
                body["code"] = json!(0);
            }
            let (key, schema) = (format!("{route} {status}"), schema.clone());
            self.validate(&key, &schema, &body);
        }
        self.checked += 1;
    }

    fn validate(&mut self, key: &str, schema: &Value, body: &Value) {
        let components = &self.document["components"];
        let validator = self
            .validators
            .entry(schema.to_string())
            .or_insert_with(|| {
                let whole = json!({"allOf": [schema], "components": components});
                jsonschema::draft202012::options()
                    .should_validate_formats(true)
                    .build(&whole)
                    .expect("a schema")
            });
        let errors: Vec<String> = validator
            .iter_errors(body)
            .map(|error| format!("{} at {}", error, error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{key}: {body:#}\n{}", errors.join("\n"));
    }
}

/// The file gives field errors an integer code, Discord's documentation and answers a word.
fn number_field_codes(errors: &mut Value) {
    for (name, value) in errors.as_object_mut().expect("an object") {
        if name == "_errors" {
            for error in value.as_array_mut().expect("a list") {
                assert!(error["code"].is_string(), "{error}");
                error["code"] = json!(0);
            }
        } else {
            number_field_codes(value);
        }
    }
}

/// A user whose every answer is checked.
struct Checked {
    spec: Spec,
    user: User,
    values: BTreeMap<&'static str, String>,
}

impl Checked {
    fn set(&mut self, name: &'static str, value: impl ToString) {
        self.values.insert(name, value.to_string());
    }

    /// Sends a request; `{…}` of the template are replaced by the values set before.
    async fn call(&mut self, status: u16, route: &str, query: &str, body: Value) -> Answer {
        let (method, template) = route.split_once(' ').expect("method and path");
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let mut path = template.to_owned();
        for (name, value) in &self.values {
            path = path.replace(&format!("{{{name}}}"), value);
        }
        let path = format!("{path}{query}");
        let answer = if body.is_null() {
            read(self.user.request(method.clone(), &path)).await
        } else {
            self.user.send_json(method.clone(), &path, &body).await
        };
        let answer = answer.expect_status(status);
        self.spec.check(&method, template, &answer);
        answer
    }

    async fn get(&mut self, template: &str) -> Answer {
        self.call(200, &format!("GET {template}"), "", Value::Null)
            .await
    }

    async fn upload(&mut self, payload: Value, files: &[(&str, &[u8])]) -> Answer {
        let channel = self.values["channel_id"].parse().expect("an id");
        let answer = self.user.upload(channel, &payload, files).await;
        self.spec
            .check(&Method::POST, "/channels/{channel_id}/messages", &answer);
        answer.expect_status(200)
    }
}

const MESSAGES: &str = "/channels/{channel_id}/messages";
const MESSAGE: &str = "/channels/{channel_id}/messages/{message_id}";

#[tokio::test]
async fn every_answer_is_what_the_openapi_file_says() {
    let Some(spec) = Spec::load() else {
        let notice = "\nSKIPPED: ODS_DISCORD_OPENAPI is not set. No answer of the emulator was \
                      compared with Discord's OpenAPI file.\n\n";
        // Not println!: the harness would keep it to itself.
        std::io::stderr()
            .write_all(notice.as_bytes())
            .expect("stderr");
        return;
    };
    let limits = Limits::unlimited_rates();
    let settings = Settings {
        limits,
        ..Settings::default()
    };
    let emulator = Emulator::start(settings).await.expect("it starts");
    let bits = permission::BOT | permission::MANAGE_ROLES;
    emulator.set_permissions(bits).expect("a role");
    let mut api = Checked {
        spec,
        user: User::bot(&emulator),
        values: BTreeMap::new(),
    };
    api.set("guild_id", emulator.guild_id());
    api.set("channel_id", emulator.channel_id());
    api.set("user_id", emulator.member_id());
    api.set("emoji_name", "%F0%9F%91%8D");
    api.set("application_id", emulator.bot_id());
    api.set("webhook_id", emulator.bot_id());

    whole_guild(&mut api).await;
    messages(&mut api).await;
    pins_and_reactions(&mut api).await;
    threads(&mut api).await;
    channels(&mut api).await;
    commands(&mut api).await;
    interactions(&mut api, &emulator).await;
    refusals(&mut api, &emulator).await;

    let driven: BTreeSet<String> = emulator.counts().routes.into_keys().collect();
    let known: BTreeSet<String> = ROUTES.iter().map(|route| (*route).to_owned()).collect();
    assert_eq!(driven, known);
    assert!(api.spec.checked > 130, "{} answers", api.spec.checked);
}

async fn whole_guild(api: &mut Checked) {
    for template in [
        "/users/@me",
        "/users/@me/guilds",
        "/users/{user_id}",
        "/applications/@me",
        "/oauth2/applications/@me",
        "/gateway",
        "/gateway/bot",
        "/guilds/{guild_id}",
        "/guilds/{guild_id}/roles",
        "/guilds/{guild_id}/channels",
        "/guilds/{guild_id}/members/{user_id}",
        "/guilds/{guild_id}/threads/active",
    ] {
        api.get(template).await;
    }
    api.call(
        200,
        "GET /guilds/{guild_id}",
        "?with_counts=true",
        Value::Null,
    )
    .await;
}

async fn messages(api: &mut Checked) {
    let attachments = json!([{"id": 0, "title": "t", "description": "d"}]);
    let payload = json!({"content": "a", "nonce": "n", "enforce_nonce": true,
        "attachments": attachments});
    let sent = api
        .upload(payload.clone(), &[("a.bin", b"1"), ("b", b"")])
        .await;
    api.upload(payload, &[("a.bin", b"1"), ("b", b"")]).await;
    api.set("message_id", sent.id());
    api.get(MESSAGE).await;
    let user = api.values["user_id"].clone();
    let rich = json!({
        "content": format!("<@{user}>"),
        "embeds": [{"title": "t", "description": "d", "url": "https://example.org", "color": 1,
            "timestamp": "2026-01-01T00:00:00Z", "footer": {"text": "f"},
            "author": {"name": "a"}, "fields": [{"name": "n", "value": "v"}],
            "image": {"url": "https://example.org/a.png"}}],
        "components": [{"type": 1, "components": [
            {"type": 2, "style": 1, "custom_id": "a", "label": "a"},
            {"type": 2, "style": 5, "url": "https://example.org", "label": "b"}]}],
        "message_reference": {"message_id": sent.id().to_string()},
        "tts": false,
        "nonce": 5,
    });
    let post = format!("POST {MESSAGES}");
    api.call(200, &post, "", rich).await;
    let url = "https://example.org/a.png";
    let v2 = json!({"flags": 1 << 15, "components": [
        {"type": 17, "components": [{"type": 10, "content": "text"}, {"type": 14}]},
        {"type": 9, "components": [{"type": 10, "content": "text"}],
            "accessory": {"type": 11, "media": {"url": url}}},
        {"type": 12, "items": [{"media": {"url": url}}]},
        {"type": 13, "file": {"url": "attachment://a.bin"}},
        {"type": 1, "components": [{"type": 3, "custom_id": "s",
            "options": [{"label": "l", "value": "v"}]}]},
    ]});
    api.call(200, &post, "", v2).await;
    let patch = format!("PATCH {MESSAGE}");
    api.call(200, &patch, "", json!({"content": "b"})).await;
    api.call(200, &format!("GET {MESSAGES}"), "?limit=100", Value::Null)
        .await;
    let gone = api.call(200, &post, "", json!({"content": "x"})).await.id();
    let other = api.call(200, &post, "", json!({"content": "y"})).await.id();
    let bulk = json!({"messages": [gone.to_string(), other.to_string()]});
    api.call(204, &format!("POST {MESSAGES}/bulk-delete"), "", bulk)
        .await;
    api.call(204, "POST /channels/{channel_id}/typing", "", Value::Null)
        .await;
    let url = sent.body["attachments"][0]["url"].clone();
    let urls = json!({"attachment_urls": [url]});
    api.call(200, "POST /attachments/refresh-urls", "", urls)
        .await;
}

async fn pins_and_reactions(api: &mut Checked) {
    for pins in ["messages/pins", "pins"] {
        let pin = format!("/channels/{{channel_id}}/{pins}/{{message_id}}");
        api.call(204, &format!("PUT {pin}"), "", Value::Null).await;
        api.get(&format!("/channels/{{channel_id}}/{pins}")).await;
        api.call(204, &format!("DELETE {pin}"), "", Value::Null)
            .await;
    }
    let thumb = format!("{MESSAGE}/reactions/{{emoji_name}}");
    for way in ["/@me", "/{user_id}", ""] {
        api.call(204, &format!("PUT {thumb}/@me"), "", Value::Null)
            .await;
        api.get(MESSAGE).await;
        api.get(&thumb).await;
        api.call(204, &format!("DELETE {thumb}{way}"), "", Value::Null)
            .await;
    }
    api.call(204, &format!("DELETE {MESSAGE}/reactions"), "", Value::Null)
        .await;
    // Pinning has posted messages of the service.
    api.get(MESSAGES).await;
}

async fn threads(api: &mut Checked) {
    let channel = api.values["channel_id"].clone();
    let from = format!("POST {MESSAGE}/threads");
    let public = api.call(201, &from, "", json!({"name": "t"})).await.id();
    api.get(MESSAGE).await;
    let body = json!({"name": "t", "auto_archive_duration": 60, "invitable": false});
    let private = api
        .call(201, "POST /channels/{channel_id}/threads", "", body)
        .await
        .id();
    let body = json!({"name": "t", "type": 11});
    api.call(201, "POST /channels/{channel_id}/threads", "", body)
        .await;
    api.get(MESSAGES).await;
    api.get("/guilds/{guild_id}/threads/active").await;
    for thread in [public, private] {
        api.set("channel_id", thread);
        api.upload(json!({"content": "x"}), &[("a.bin", b"1")])
            .await;
        api.get(MESSAGES).await;
        let members = "/channels/{channel_id}/thread-members";
        for who in ["{user_id}", "@me"] {
            api.call(204, &format!("PUT {members}/{who}"), "", Value::Null)
                .await;
        }
        api.get(members).await;
        api.get(&format!("{members}/{{user_id}}")).await;
        for who in ["{user_id}", "@me"] {
            api.call(204, &format!("DELETE {members}/{who}"), "", Value::Null)
                .await;
        }
        api.call(204, &format!("PUT {members}/@me"), "", Value::Null)
            .await;
        let archive = json!({"archived": true});
        api.call(200, "PATCH /channels/{channel_id}", "", archive)
            .await;
        api.get("/channels/{channel_id}").await;
    }
    api.set("channel_id", &channel);
    for list in ["threads/archived/public", "threads/archived/private"] {
        api.get(&format!("/channels/{{channel_id}}/{list}")).await;
    }
    api.get("/channels/{channel_id}/users/@me/threads/archived/private")
        .await;
    api.set("channel_id", private);
    api.call(200, "DELETE /channels/{channel_id}", "", Value::Null)
        .await;
    api.set("channel_id", channel);
}

async fn channels(api: &mut Checked) {
    let general = api.values["channel_id"].clone();
    let create = "POST /guilds/{guild_id}/channels";
    let category = api
        .call(201, create, "", json!({"name": "c", "type": 4}))
        .await;
    let body = json!({"name": "x", "topic": "t", "parent_id": category.body["id"],
        "default_auto_archive_duration": 1440});
    let made = api.call(201, create, "", body).await;
    api.set("channel_id", made.id());
    api.get("/channels/{channel_id}").await;
    api.call(
        200,
        "PATCH /channels/{channel_id}",
        "",
        json!({"topic": "u"}),
    )
    .await;
    let whom = api.values["user_id"].clone();
    api.set("overwrite_id", whom);
    let overwrite = "/channels/{channel_id}/permissions/{overwrite_id}";
    let body = json!({"type": 1, "allow": "1024", "deny": "0"});
    api.call(204, &format!("PUT {overwrite}"), "", body).await;
    api.get("/guilds/{guild_id}/channels").await;
    api.call(204, &format!("DELETE {overwrite}"), "", Value::Null)
        .await;
    api.call(200, "DELETE /channels/{channel_id}", "", Value::Null)
        .await;
    let forum = api
        .call(201, create, "", json!({"name": "f", "type": 15}))
        .await;
    api.set("channel_id", forum.id());
    let post = json!({"name": "p", "message": {"content": "x"}});
    api.call(201, "POST /channels/{channel_id}/threads", "", post)
        .await;
    api.set("channel_id", general);
}

async fn commands(api: &mut Checked) {
    let slash = json!({"name": "find", "description": "d", "default_member_permissions": "32",
        "name_localizations": {"de": "finde"}, "options": [
        {"type": 3, "name": "a", "description": "d", "required": true, "autocomplete": true},
        {"type": 3, "name": "b", "description": "d", "min_length": 1, "max_length": 9,
            "choices": [{"name": "n", "value": "v"}]},
        {"type": 4, "name": "c", "description": "d", "min_value": 1, "max_value": 9},
        {"type": 10, "name": "d", "description": "d", "choices": [{"name": "n", "value": 1.5}]},
        {"type": 5, "name": "e", "description": "d"},
        {"type": 6, "name": "f", "description": "d"},
        {"type": 7, "name": "g", "description": "d", "channel_types": [0, 11]},
        {"type": 8, "name": "h", "description": "d"},
        {"type": 9, "name": "i", "description": "d"},
        {"type": 11, "name": "j", "description": "d"}]});
    let nested = json!({"name": "config", "description": "d", "options": [
        {"type": 1, "name": "get", "description": "d"},
        {"type": 2, "name": "set", "description": "d", "options": [
            {"type": 1, "name": "one", "description": "d", "options": [
                {"type": 3, "name": "value", "description": "d", "autocomplete": true}]}]}]});
    let menu = json!({"name": "Look at this", "type": 3});
    for place in [
        "/applications/{application_id}/commands",
        "/applications/{application_id}/guilds/{guild_id}/commands",
    ] {
        let post = format!("POST {place}");
        let made = api.call(201, &post, "", slash.clone()).await;
        api.call(200, &post, "", slash.clone()).await;
        api.set("command_id", made.id());
        let one = format!("{place}/{{command_id}}");
        api.get(&one).await;
        let patch = format!("PATCH {one}");
        api.call(200, &patch, "", json!({"description": "e"})).await;
        api.get(place).await;
        api.call(204, &format!("DELETE {one}"), "", Value::Null)
            .await;
        api.call(404, &format!("GET {one}"), "", Value::Null).await;
        api.call(400, &post, "", json!({"name": "No"})).await;
        let all = json!([slash, nested, menu]);
        api.call(200, &format!("PUT {place}"), "", all).await;
        let localised = "?with_localizations=true";
        api.call(200, &format!("GET {place}"), localised, Value::Null)
            .await;
    }
}

/// A person acts through the control port; the interaction's id and token are set.
async fn interact(api: &mut Checked, emulator: &Emulator, act: &str, body: Value) {
    let base = emulator.base_url();
    let (user, channel) = (emulator.member_id(), emulator.channel_id());
    let url = format!("{base}/_control/people/{user}/channels/{channel}/{act}?wait_ms=0");
    let request = api.user.http.post(url);
    let request = request.header("content-type", "application/json");
    let told = read(request.body(body.to_string()))
        .await
        .expect_status(200)
        .body;
    let id = told["interaction"].as_str().expect("an id").to_owned();
    let known = format!("{base}/_control/interactions/{id}");
    let known = read(api.user.http.get(known)).await.expect_status(200).body;
    api.set("interaction_id", &id);
    api.set("interaction_token", known["token"].as_str().expect("one"));
    api.set("webhook_token", known["token"].as_str().expect("one"));
}

async fn interactions(api: &mut Checked, emulator: &Emulator) {
    const CALLBACK: &str = "POST /interactions/{interaction_id}/{interaction_token}/callback";
    const HOOK: &str = "/webhooks/{webhook_id}/{webhook_token}";
    let before = api.values["message_id"].clone();
    let find = json!({"command": "config get"});
    let rows = json!([{"type": 1, "components": [
        {"type": 2, "style": 1, "custom_id": "b", "label": "b"}]}]);
    interact(api, emulator, "commands", find.clone()).await;
    let answer = json!({"type": 4, "data": {"content": "x", "components": rows}});
    let said = api
        .call(200, CALLBACK, "?with_response=true", answer.clone())
        .await;
    let card = said.body["resource"]["message"]["id"].clone();
    api.call(400, CALLBACK, "", answer.clone()).await;
    let messages = format!("{HOOK}/messages");
    let followup = json!({"content": "y", "embeds": [{"title": "t"}]});
    let hook = format!("POST {HOOK}");
    let more = api.call(200, &hook, "", followup).await;
    api.set("message_id", more.id());
    for which in ["@original", "{message_id}"] {
        let one = format!("{messages}/{which}");
        api.get(&one).await;
        let change = json!({"content": "z"});
        api.call(200, &format!("PATCH {one}"), "", change).await;
    }
    let one = format!("{messages}/{{message_id}}");
    api.call(204, &format!("DELETE {one}"), "", Value::Null)
        .await;
    api.call(404, &format!("GET {one}"), "", Value::Null).await;
    let click = json!({"message": card, "custom_id": "b"});
    interact(api, emulator, "clicks", click.clone()).await;
    let update = json!({"type": 7, "data": {"content": "w"}});
    api.call(200, CALLBACK, "?with_response=true", update).await;
    interact(api, emulator, "clicks", click.clone()).await;
    api.call(204, CALLBACK, "", json!({"type": 6})).await;
    interact(api, emulator, "clicks", click).await;
    let modal = json!({"type": 9, "data": {"custom_id": "m", "title": "t", "components": [
        {"type": 18, "label": "l", "component": {"type": 4, "custom_id": "t", "style": 1}}]}});
    api.call(204, CALLBACK, "", modal).await;
    let opened = api.values["interaction_id"].clone();
    let filled = json!({"interaction": opened, "values": {"t": "text"}});
    interact(api, emulator, "modals", filled).await;
    let whisper = json!({"type": 5, "data": {"flags": 64}});
    api.call(200, CALLBACK, "?with_response=true", whisper)
        .await;
    let original = format!("{messages}/@original");
    api.get(&original).await;
    api.call(204, &format!("DELETE {original}"), "", Value::Null)
        .await;
    let typed = json!({"command": "config set one", "options": {"value": "x"}, "focused": "value"});
    interact(api, emulator, "completions", typed).await;
    let choices = json!({"type": 8, "data": {"choices": [{"name": "n", "value": "v"}]}});
    api.call(204, CALLBACK, "", choices).await;
    api.set("interaction_token", "wrong");
    api.call(404, CALLBACK, "", answer).await;
    api.set("webhook_token", "wrong");
    api.call(401, &format!("GET {original}"), "", Value::Null)
        .await;
    api.set("message_id", before);
    // What was answered is in the channel's history, with what it answers.
    api.get(MESSAGES).await;
}

async fn refusals(api: &mut Checked, emulator: &Emulator) {
    let post = format!("POST {MESSAGES}");
    let long = json!({"content": "x".repeat(2001), "embeds": [{"fields": [{}]}]});
    api.call(400, &post, "", long).await;
    api.call(400, &post, "", json!({})).await;
    api.call(400, &format!("GET {MESSAGES}"), "?limit=0", Value::Null)
        .await;
    api.call(204, &format!("DELETE {MESSAGE}"), "", Value::Null)
        .await;
    api.call(404, &format!("GET {MESSAGE}"), "", Value::Null)
        .await;
    let channel = api.values["channel_id"].clone();
    let large = vec![0; (10 << 20) + 1];
    let user = api.user.clone();
    let refused = user
        .upload(emulator.channel_id(), &json!({}), &[("a", &large)])
        .await;
    api.spec
        .check(&Method::POST, MESSAGES, &refused.expect_status(413));
    api.set("channel_id", 1);
    api.call(404, "GET /channels/{channel_id}", "", Value::Null)
        .await;
    api.set("channel_id", channel);
    emulator.set_permissions(0).expect("a role");
    api.call(403, &post, "", json!({"content": "x"})).await;
    emulator.set_permissions(permission::BOT).expect("a role");
    emulator.revoke_token();
    api.call(401, &post, "", json!({"content": "x"})).await;
    emulator.restore_token();
    emulator.set_limits(Limits::default());
    for _ in 0..5 {
        api.call(200, &post, "", json!({"content": "x"})).await;
    }
    api.call(429, &post, "", json!({"content": "x"})).await;
}
