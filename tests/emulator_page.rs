//! The emulator's page in a real browser: seen, clicked, written to; and closed to other websites.

#[path = "support/chromium.rs"]
mod chromium;
#[path = "support/emulator_client.rs"]
mod client;

use chromium::Page;
use client::{User, id_of, read};
use futures_util::{SinkExt, StreamExt};
use ods::emulator::{Emulator, Limits, Settings};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

const WIDE: (u32, u32) = (1180, 800);

async fn start() -> (Emulator, User, u64) {
    let settings = Settings {
        limits: Limits::unlimited_rates(),
        ..Settings::default()
    };
    let emulator = Emulator::start(settings).await.expect("it starts");
    let (bot, channel) = (User::bot(&emulator), emulator.channel_id());
    (emulator, bot, channel)
}

fn commands() -> Value {
    json!([
        {"name": "status", "description": "How the drive is"},
        {"name": "find", "description": "Finds an archive", "options": [
            {"type": 3, "name": "what", "description": "Words of its title", "required": true,
                "autocomplete": true},
            {"type": 4, "name": "page", "description": "Which page"}]},
        {"name": "describe", "description": "Describes an archive"},
        {"name": "upload", "description": "Takes a file", "options": [
            {"type": 11, "name": "file", "description": "The file", "required": true}]},
    ])
}

/// An application that answers everything as the tests expect, until the emulator stops.
async fn application(emulator: &Emulator) {
    let bot = User::bot(emulator);
    let path = format!("/applications/{}/commands", emulator.bot_id());
    bot.send_json(Method::PUT, &path, &commands())
        .await
        .expect_status(200);
    let stream = TcpStream::connect(emulator.address())
        .await
        .expect("connect");
    let url = format!("ws://{}/gateway?v=10&encoding=json", emulator.address());
    let (mut socket, _) = tokio_tungstenite::client_async(url, stream)
        .await
        .expect("a websocket");
    let data = json!({"token": emulator.token(), "intents": 0, "properties": {}});
    let identify = json!({"op": 2, "d": data});
    socket
        .send(Message::text(identify.to_string()))
        .await
        .expect("sent");
    tokio::spawn(async move {
        while let Some(Ok(message)) = socket.next().await {
            let Ok(event) = serde_json::from_str::<Value>(message.to_text().unwrap_or_default())
            else {
                continue;
            };
            if event["t"] == "INTERACTION_CREATE" {
                answer(&bot, &event["d"]).await;
            }
        }
    });
}

async fn answer(bot: &User, interaction: &Value) {
    let data = &interaction["data"];
    let first = &data["options"][0]["value"];
    let callback = match (interaction["type"].as_u64(), data["name"].as_str()) {
        (Some(2), Some("status")) => {
            json!({"type": 4, "data": {"content": "All is well", "flags": 64}})
        }
        (Some(2), Some("describe")) => {
            json!({"type": 9, "data": {"custom_id": "d", "title": "Describe it",
            "components": [{"type": 18, "label": "Text", "component":
                {"type": 4, "custom_id": "text", "style": 1}}]}})
        }
        (Some(2), Some("upload")) => {
            let file = &data["resolved"]["attachments"][first.as_str().unwrap_or_default()];
            let text = format!("Took {} of {} bytes", file["filename"], file["size"]);
            json!({"type": 4, "data": {"content": text}})
        }
        (Some(2), _) => json!({"type": 4, "data": {"content": format!("Found {first}")}}),
        (Some(4), _) => json!({"type": 8, "data": {"choices": [
            {"name": format!("{} days", first.as_str().unwrap_or_default()), "value": "holidays"}]}}),
        (Some(5), _) => {
            let text = &data["components"][0]["component"]["value"];
            json!({"type": 4, "data": {"content": format!("Described as {text}")}})
        }
        _ => json!({"type": 7, "data": {"content": "Button was pressed", "components": []}}),
    };
    let token = interaction["token"].as_str().expect("a token");
    let path = format!("/interactions/{}/{token}/callback", id_of(interaction));
    bot.post(&path, &callback).await.expect_status(204);
}

fn card() -> Value {
    json!({"embeds": [{"title": "#301126-01 · Holidays", "color": 0x2e7d5b,
        "description": "**Uploading** since <t:1790000000:F>, <t:1790000000:R>",
        "fields": [{"name": "Files", "value": "1,204", "inline": true},
            {"name": "Size", "value": "`3.41 GiB`", "inline": true}],
        "footer": {"text": "lot 3"}}],
        "components": [{"type": 1, "components": [
            {"type": 2, "style": 1, "custom_id": "info", "label": "Info"}]}]})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_sees_cards_change_and_uses_them() {
    if !chromium::is_there() {
        return;
    }
    let (emulator, bot, channel) = start().await;
    application(&emulator).await;
    let files: [(&str, &[u8]); 1] = [("pack.bin", &[7; 3000])];
    let sent = bot
        .upload(channel, &card(), &files)
        .await
        .expect_status(200);
    let base = emulator.base_url();
    let mut page = Page::open(&base, WIDE).await;
    page.wait("document.querySelector('.embed .title')?.textContent.includes('Holidays')")
        .await;
    let shown = page
        .value("document.querySelector('article').innerText")
        .await;
    let shown = shown.as_str().expect("text");
    for part in [
        "Uploading since",
        "2026",
        "Files",
        "1,204",
        "lot 3",
        "pack.bin",
        "2.93 KiB",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(!shown.contains("<t:") && !shown.contains("**"), "{shown}");
    let stripe = "getComputedStyle(document.querySelector('.embed'), '::before').backgroundColor";
    assert_eq!(page.value(stripe).await, "rgb(46, 125, 91)");
    let link = "fetch(document.querySelector('.file a').href).then((answer) => answer.text())";
    assert_eq!(page.value(link).await.as_str().map(str::len), Some(3000));

    // Live: an edit, a new message, a new channel.
    let path = format!("/channels/{channel}/messages/{}", sent.id());
    let change = json!({"content": "Now at 50 %"});
    bot.patch(&path, &change).await.expect_status(200);
    page.wait("document.querySelector('#log').innerText.includes('Now at 50 %')")
        .await;
    let channels = format!("/guilds/{}/channels", emulator.guild_id());
    bot.post(&channels, &json!({"name": "archives"}))
        .await
        .expect_status(201);
    page.wait("document.querySelector('#channels').innerText.includes('archives')")
        .await;

    page.click(".button.primary").await;
    page.wait("document.querySelector('#log').innerText.includes('Button was pressed')")
        .await;
    let buttons = page
        .value("document.querySelectorAll('article .button').length")
        .await;
    assert_eq!(buttons, 0, "the update took the button away");

    // A command by keyboard, with a completion; and the answer that one person sees.
    page.click("#text").await;
    page.write("/fi").await;
    page.wait("!document.querySelector('#palette').hidden")
        .await;
    page.key("Enter").await;
    page.wait("document.activeElement.id === 'option-what'")
        .await;
    page.write("holi").await;
    page.wait(
        "document.querySelector('#option-what-list [role=option]')?.textContent === 'holi days'",
    )
    .await;
    page.key("ArrowDown").await;
    page.key("Enter").await;
    page.key("Enter").await;
    page.wait("document.querySelector('#log').innerText.includes('Found \"holidays\"')")
        .await;
    page.wait("document.activeElement.id === 'text'").await;
    page.write("/status").await;
    page.key("Enter").await;
    page.wait("document.querySelector('.whisper')?.innerText.includes('All is well')")
        .await;
    let history = bot.get(&format!("/channels/{channel}/messages")).await.body;
    assert_eq!(history[0]["content"], "Found \"holidays\"");
    page.value(
        "(() => { const me = document.querySelector('#me');
        me.value = [...me.options].find((one) => one.text === 'owner').value;
        me.dispatchEvent(new Event('change')); })()",
    )
    .await;
    page.wait("!document.querySelector('.whisper') && document.querySelector('article')")
        .await;

    page.click("#text").await;
    page.write("/describe").await;
    page.key("Enter").await;
    page.wait("document.querySelector('dialog[open]')").await;
    page.click("dialog input").await;
    page.write("a summer").await;
    page.key("Enter").await;
    page.wait("document.querySelector('#log').innerText.includes('Described as \"a summer\"')")
        .await;

    assert_eq!(page.faults, Vec::<String>::new());
    let foreign: Vec<&String> = page
        .asked
        .iter()
        .filter(|url| !url.starts_with(&base))
        .collect();
    assert!(
        foreign
            .iter()
            .all(|url| url.starts_with("data:") || *url == "about:blank"),
        "{foreign:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_posts_and_uploads_and_hostile_text_stays_text() {
    if !chromium::is_there() {
        return;
    }
    let (emulator, bot, channel) = start().await;
    application(&emulator).await;
    let attack = "<img src=x onerror=\"window.pwned=1\"><script>window.pwned=1</script>";
    let hostile = json!({
        "content": format!("{attack} [link](javascript:window.pwned=1) `{attack}`"),
        "embeds": [{"title": attack, "description": attack, "url": "javascript:window.pwned=1",
            "author": {"name": attack}, "footer": {"text": attack},
            "fields": [{"name": attack, "value": format!("||{attack}||")}],
            "image": {"url": "https://elsewhere.invalid/a.png"}}],
        "components": [{"type": 1, "components": [
            {"type": 2, "style": 2, "custom_id": attack, "label": "<b>bold</b>"},
            {"type": 2, "style": 5, "url": "javascript:window.pwned=1", "label": "l"}]}]});
    let path = format!("/channels/{channel}/messages");
    bot.post(&path, &hostile).await.expect_status(200);
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("notes.txt");
    std::fs::write(&file, "twelve bytes").expect("a file");

    let mut page = Page::open(&emulator.base_url(), WIDE).await;
    page.wait("document.querySelector('.embed')").await;
    let title = page
        .value("document.querySelector('.embed .title').textContent")
        .await;
    assert_eq!(title, attack);
    let made =
        "document.querySelectorAll('#log img, #log script, #log a[href^=javascript]').length";
    assert_eq!(page.value(made).await, 0);

    page.click("#text").await;
    page.write("Here are my notes").await;
    page.choose("#files", &[&file]).await;
    page.wait("document.querySelector('#picked').innerText.includes('notes.txt')")
        .await;
    page.click("#text").await;
    page.key("Enter").await;
    page.wait("document.querySelector('#log .file')?.innerText.includes('notes.txt')")
        .await;
    let newest = bot.get(&path).await.body[0].clone();
    assert_eq!(newest["author"]["id"], emulator.member_id().to_string());
    let name = "document.querySelector('#log .file').innerText";
    assert!(
        page.value(name)
            .await
            .as_str()
            .is_some_and(|text| text.contains("12 B"))
    );
    page.write("/upload").await;
    page.key("Enter").await;
    page.wait("document.querySelector('#option-file')").await;
    page.choose("#option-file", &[&file]).await;
    page.click("#command .send").await;
    page.wait(
        "document.querySelector('#log').innerText.includes('Took \"notes.txt\" of 12 bytes')",
    )
    .await;
    assert_eq!(page.value("window.pwned ?? null").await, Value::Null);
    let tokens = [emulator.token(), emulator.member_token()];
    let whole = page.value("document.documentElement.outerHTML").await;
    let whole = whole.as_str().expect("the page");
    assert!(!tokens.iter().any(|token| whole.contains(token)));
    let outside: Vec<&String> = page
        .asked
        .iter()
        .filter(|url| url.contains("elsewhere"))
        .collect();
    assert!(outside.is_empty(), "{outside:?}");
}

#[tokio::test]
async fn other_websites_can_neither_read_nor_drive_it() {
    let (emulator, bot, channel) = start().await;
    let base = emulator.base_url();
    let (member, host) = (emulator.member_id(), emulator.address().to_string());
    let act = format!("{base}/_control/people/{member}/channels/{channel}/messages");
    let post = |headers: &[(&str, &str)]| {
        let mut request = bot
            .http
            .post(&act)
            .header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        read(request.body(json!({"content": "x"}).to_string()))
    };
    let own = format!("http://{host}");
    let refused = [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("origin", "http://127.0.0.1:1"),
        ("host", "evil.example"),
        ("host", "127.0.0.1.evil.example"),
        ("sec-fetch-site", "cross-site"),
    ];
    for header in refused {
        post(&[header]).await.expect_status(403);
        for path in ["/", "/_control", "/_control/people", "/_control/events"] {
            let request = bot.http.get(format!("{base}{path}"));
            read(request.header(header.0, header.1))
                .await
                .expect_status(403);
        }
    }
    let list = bot.get(&format!("/channels/{channel}/messages")).await;
    assert_eq!(list.body, json!([]));
    post(&[("origin", &own), ("sec-fetch-site", "same-origin")])
        .await
        .expect_status(200);
    let front = bot.fetch(&base).await.expect_status(200);
    let policy = front.header("content-security-policy").expect("a policy");
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
    let people = bot.fetch(&format!("{base}/_control/people")).await;
    let overview = bot
        .fetch(&format!("{base}/_control/people/{member}/overview"))
        .await;
    for answer in [front, people, overview] {
        let text = String::from_utf8(answer.bytes).expect("text");
        assert!(!text.contains(emulator.token()) && !text.contains(emulator.member_token()));
    }
}
