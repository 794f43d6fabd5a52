//! A drive on an emulator, its bot, and people who talk to it.

#![allow(dead_code, reason = "each suite uses a part of it")]

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;
use ods::bot;
use ods::bot::Parts;
use ods::bot::Running;
use ods::bot::Settings;
use ods::bot::Switch;
use ods::bot::Times;
use ods::codec::key::Keys;
use ods::codec::key::Secret;
use ods::codec::superblock::Cost;
use ods::codec::superblock::Superblock;
use ods::drive::Drive;
use ods::drive::superblock;
use ods::drive::task::Go;
use ods::drive::task::Task;
use ods::emulator::permission;
use ods::service::Consent;
use ods::service::Desk;
use ods::service::Receive;
use ods::store::Store;
use ods::store::discord::Discord;
use serde_json::Value;
use serde_json::json;

use crate::discord::Place;
use crate::discord::place_at;
use crate::drives;

/// Longest wait for anything; only a defect takes so long.
const DEADLINE: Duration = Duration::from_secs(60);

/// A boundary that no test's content has.
const BOUNDARY: &str = "ods-bot-test-boundary";

pub(crate) struct Stage {
    pub(crate) place: Place,
    pub(crate) drive: Arc<Drive>,
    pub(crate) desk: Arc<Desk>,
    pub(crate) dir: tempfile::TempDir,
    store: Arc<Discord>,
    running: Option<Running>,
    http: reqwest::Client,
    /// Somebody who manages the server.
    pub(crate) admin: u64,
    /// Somebody who does not.
    pub(crate) member: u64,
}

/// Settings that touch nothing of this machine, with times that do not hold a test up.
pub(crate) fn settings() -> Settings {
    Settings {
        desktop: Switch::Off,
        awake: Switch::Off,
        times: Times {
            progress_every: Duration::from_millis(20),
            ..Times::default()
        },
        ..Settings::default()
    }
}

/// A new drive, whose superblock is on Discord.
async fn open(state: &std::path::Path, store: &Arc<Discord>) -> Arc<Drive> {
    let secret = Secret::passphrase("correct horse battery staple".into()).expect("a secret");
    let made = Superblock::create(&secret, Cost::LEAST, Vec::new());
    let (block, master, _) = made.expect("a superblock");
    superblock::put(&**store, &block, &master)
        .await
        .expect("it is taken");
    let keys = Keys::derive(&master, block.drive());
    let shared: Arc<dyn Store> = Arc::clone(store) as Arc<dyn Store>;
    let settings = drives::settings(state);
    let opened = Drive::open(settings, block.drive(), keys, shared, &|_| {}).await;
    opened.expect("the drive opens")
}

impl Stage {
    /// A drive without files, and no bot yet.
    pub(crate) async fn new() -> Stage {
        Stage::at(ods::emulator::Clock::machine()).await
    }

    pub(crate) async fn at(clock: ods::emulator::Clock) -> Stage {
        ods::store::discord::offer_tls().expect("TLS");
        let limits = ods::emulator::Limits::unlimited_rates();
        let place = place_at(limits, clock).await;
        let dir = tempfile::tempdir().expect("a directory");
        let store = Arc::new(place.store());
        let drive = open(&dir.path().join("state"), &store).await;
        let mut stage = Stage {
            desk: Arc::new(Desk::alone(Arc::clone(&drive))),
            member: place.emulator.member_id(),
            admin: 0,
            drive,
            place,
            dir,
            store,
            running: None,
            http: reqwest::Client::new(),
        };
        stage.admin = stage
            .person(permission::MEMBER | permission::MANAGE_GUILD)
            .await;
        stage
    }

    /// The same with a bot at work, and an archive with two files: `#…-02`.
    pub(crate) async fn with(settings: Settings) -> Stage {
        let mut stage = Stage::new().await;
        stage.file("Photos", "sea.jpg", b"blue").await;
        stage
            .file("Photos", "notes.txt", b"remember the milk")
            .await;
        stage.flush().await;
        stage.start(settings).await;
        stage
    }

    /// Starts the bot and waits until its session began.
    pub(crate) async fn start(&mut self, settings: Settings) {
        let before = self.place.emulator.counts().gateway_sessions;
        self.running = Some(bot::start(self.parts(settings)));
        let begun = || self.place.emulator.counts().gateway_sessions > before;
        until("a session of the bot", begun).await;
        let path = self.dir.path().join("state/bot-commands");
        until("the commands", || path.exists()).await;
    }

    pub(crate) fn parts(&self, settings: Settings) -> Parts {
        Parts {
            settings,
            desk: Arc::clone(&self.desk),
            messenger: self.store.messenger(),
            drive_name: "main".into(),
            state_dir: self.dir.path().join("state"),
            mountpoint: Some("/mnt/of-this-test".into()),
        }
    }

    pub(crate) async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await.expect("it had not ended before");
        }
    }

    pub(crate) fn channel(&self) -> u64 {
        self.place.emulator.channel_id()
    }

    /// Puts a file into the drive.
    pub(crate) async fn file(&self, to: &str, name: &str, content: &[u8]) {
        let wish = Receive {
            to: to.into(),
            name: name.into(),
            bytes: content.len() as u64,
            consent: Consent::Given,
        };
        let (desk, content) = (Arc::clone(&self.desk), Bytes::copy_from_slice(content));
        let put = tokio::task::spawn_blocking(move || {
            let mut pieces = vec![content].into_iter();
            let task = Task::new(&|_| Go::On);
            ods::service::receive(&desk, &wish, &mut || Ok(pieces.next()), &task)
        });
        put.await.expect("no panic").expect("a file");
    }

    pub(crate) async fn flush(&self) {
        drives::flush(&self.drive).await;
    }

    /// The bot's messages in the channel of the archives, newest first.
    pub(crate) async fn cards(&self) -> Vec<Said> {
        let (base, channel) = (self.place.emulator.api_url(), self.place.archives);
        let url = format!("{base}/channels/{channel}/messages");
        let token = format!("Bot {}", self.place.emulator.token());
        let asking = self.http.get(url).header("authorization", token);
        let asking = asking.header("user-agent", "DiscordBot (https://localhost, 1)");
        let messages = asking.send().await.expect("an answer").json_value().await;
        let messages = messages.as_array().expect("messages").iter();
        messages.map(Said::of).collect()
    }

    /// The bot's messages in the channel of the archives that begin so, once there are as many as there should be.
    pub(crate) async fn told(&self, words: &str, times: usize) -> Vec<Said> {
        let started = Instant::now();
        loop {
            let mut told = self.cards().await;
            told.retain(|said| said.text.starts_with(words));
            if told.len() == times {
                return told;
            }
            let late = started.elapsed() > DEADLINE;
            assert!(
                !late && told.len() < times,
                "`{words}` not {times} times: {told:?}"
            );
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
    }

    /// The id of the newest archive.
    pub(crate) fn archive(&self) -> String {
        let query = ods::service::Query::default();
        let found = ods::service::archives(&self.drive, &query).expect("archives");
        found.archives[0].id.clone()
    }

    /// A new member with these permissions.
    pub(crate) async fn person(&self, permissions: u64) -> u64 {
        let body = json!({"name": "somebody", "permissions": permissions.to_string()});
        let told = self.control("people", &body).await;
        told["id"].as_str().expect("an id").parse().expect("an id")
    }

    pub(crate) async fn control(&self, what: &str, body: &Value) -> Value {
        let base = self.place.emulator.base_url();
        self.post(
            &format!("{base}/_control/{what}"),
            "application/json",
            body.to_string().into(),
        )
        .await
        .expect("the control port does it")
    }

    async fn post(&self, url: &str, kind: &str, body: Vec<u8>) -> Result<Value, String> {
        let sending = self.http.post(url).header("content-type", kind).body(body);
        let answer = sending.send().await.expect("an answer");
        let status = answer.status().as_u16();
        let text = answer.text().await.expect("a body");
        match status {
            200 => Ok(serde_json::from_str(&text).expect("JSON")),
            _ => Err(text),
        }
    }

    /// Somebody acts in the channel; gives what the control port says.
    pub(crate) async fn act(&self, user: u64, act: &str, body: &Value) -> Result<Value, String> {
        self.act_in(self.channel(), user, act, body).await
    }

    pub(crate) async fn act_in(
        &self,
        channel: u64,
        user: u64,
        act: &str,
        body: &Value,
    ) -> Result<Value, String> {
        let base = self.place.emulator.base_url();
        let url = format!("{base}/_control/people/{user}/channels/{channel}/{act}");
        self.post(&url, "application/json", body.to_string().into())
            .await
    }

    /// The same with a file.
    pub(crate) async fn act_with_file(
        &self,
        user: u64,
        act: &str,
        body: &Value,
        file: (&str, &[u8]),
    ) -> Result<Value, String> {
        self.act_with_files(user, act, body, &[file]).await
    }

    /// The same with files.
    pub(crate) async fn act_with_files(
        &self,
        user: u64,
        act: &str,
        body: &Value,
        files: &[(&str, &[u8])],
    ) -> Result<Value, String> {
        let (base, channel) = (self.place.emulator.base_url(), self.channel());
        let url = format!("{base}/_control/people/{user}/channels/{channel}/{act}");
        let mut form = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"payload_json\"\r\n\
             Content-Type: application/json\r\n\r\n{body}"
        )
        .into_bytes();
        for (number, (name, content)) in files.iter().enumerate() {
            let head = format!(
                "\r\n--{BOUNDARY}\r\n\
                 Content-Disposition: form-data; name=\"files[{number}]\"; filename=\"{name}\"\r\n\r\n"
            );
            form.extend_from_slice(head.as_bytes());
            form.extend_from_slice(content);
        }
        form.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
        let kind = format!("multipart/form-data; boundary={BOUNDARY}");
        self.post(&url, &kind, form).await
    }

    /// Somebody uses a command; gives the answer once it is more than a promise.
    pub(crate) async fn run(&self, user: u64, command: &str, options: Value) -> Said {
        let body = json!({"command": command, "options": options});
        let told = self.act(user, "commands", &body).await.expect("a command");
        self.answer(user, &told).await
    }

    /// Somebody presses a button of a message.
    pub(crate) async fn press(&self, user: u64, said: &Said, label: &str) -> Value {
        let body = json!({"message": said.id, "custom_id": said.button(label)});
        self.act(user, "clicks", &body).await.expect("a click")
    }

    /// The message that answers an act, when it says something.
    pub(crate) async fn answer(&self, user: u64, told: &Value) -> Said {
        assert_eq!(told["state"], "answered", "{told}");
        let id = told["answer"]["message"]
            .as_str()
            .expect("a message")
            .to_owned();
        self.message(user, &id, |said| !said.text.is_empty()).await
    }

    /// A message, as soon as it is as it should be.
    pub(crate) async fn message(&self, user: u64, id: &str, is_so: impl Fn(&Said) -> bool) -> Said {
        let started = Instant::now();
        loop {
            let found = self.seen(user).await.into_iter().find(|said| said.id == id);
            if let Some(said) = found.filter(&is_so) {
                return said;
            }
            if started.elapsed() > DEADLINE {
                panic!(
                    "waited too long for message {id}: {:?}",
                    self.seen(user).await
                );
            }
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
    }

    /// A message of the channel with these words.
    pub(crate) async fn hears(&self, user: u64, words: &str) -> Said {
        self.hears_times(user, words, 1).await
    }

    /// The newest message of the channel with these words, once so many have them.
    pub(crate) async fn hears_times(&self, user: u64, words: &str, times: usize) -> Said {
        self.hears_in(self.channel(), user, words, times).await
    }

    pub(crate) async fn hears_in(
        &self,
        channel: u64,
        user: u64,
        words: &str,
        times: usize,
    ) -> Said {
        let started = Instant::now();
        loop {
            let seen = self.seen_in(channel, user).await;
            let found = seen.iter().filter(|said| said.text.contains(words));
            let found: Vec<&Said> = found.collect();
            if let (Some(said), true) = (found.first(), found.len() >= times) {
                return (*said).clone();
            }
            assert!(started.elapsed() < DEADLINE, "no `{words}` in {seen:?}");
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
    }

    /// What somebody sees in the channel, newest first.
    pub(crate) async fn seen(&self, user: u64) -> Vec<Said> {
        self.seen_in(self.channel(), user).await
    }

    pub(crate) async fn seen_in(&self, channel: u64, user: u64) -> Vec<Said> {
        let base = self.place.emulator.base_url();
        let url = format!("{base}/_control/people/{user}/channels/{channel}/messages");
        let answer = self.http.get(url).send().await.expect("an answer");
        let messages: Value = answer.json_value().await;
        let messages = messages.as_array().expect("messages").iter();
        messages.map(Said::of).collect()
    }

    /// The content of a message's first file.
    pub(crate) async fn fetched(&self, said: &Said) -> Vec<u8> {
        let url = said.raw["attachments"][0]["url"].as_str().expect("a file");
        let answer = self.http.get(url).send().await.expect("an answer");
        answer.bytes().await.expect("a body").to_vec()
    }

    /// Requests of a method to a route of this end.
    pub(crate) fn asked(&self, method: &str, end: &str) -> u64 {
        self.place.asked(method, end)
    }
}

trait JsonValue {
    async fn json_value(self) -> Value;
}

impl JsonValue for reqwest::Response {
    async fn json_value(self) -> Value {
        let text = self.text().await.expect("a body");
        serde_json::from_str(&text).expect("JSON")
    }
}

/// A message as somebody sees it.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) id: String,
    pub(crate) text: String,
    pub(crate) raw: Value,
}

impl Said {
    fn of(raw: &Value) -> Said {
        let text = |name: &str| raw[name].as_str().unwrap_or_default().to_owned();
        Said {
            id: text("id"),
            text: text("content"),
            raw: raw.clone(),
        }
    }

    pub(crate) fn is_private(&self) -> bool {
        self.raw["flags"].as_u64().unwrap_or(0) & (1 << 6) != 0
    }

    pub(crate) fn buttons(&self) -> Vec<Value> {
        let rows = self.raw["components"].as_array().into_iter().flatten();
        rows.flat_map(|row| row["components"].as_array().cloned().unwrap_or_default())
            .collect()
    }

    pub(crate) fn button(&self, label: &str) -> String {
        let buttons = self.buttons();
        let found = buttons.iter().find(|button| button["label"] == label);
        let found = found.unwrap_or_else(|| panic!("no `{label}` on {self:?}"));
        found["custom_id"].as_str().expect("an id").to_owned()
    }

    #[track_caller]
    pub(crate) fn has(self, words: &[&str]) -> Said {
        for word in words {
            assert!(self.text.contains(word), "no `{word}` in {:?}", self.text);
        }
        self
    }
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < DEADLINE, "waited too long for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
