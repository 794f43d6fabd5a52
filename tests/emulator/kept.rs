//! What is kept: over a restart, and over the death of the process.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use ods::emulator::{Emulator, Error, Limits, Settings};
use serde_json::json;

use crate::client::{User, http};
use crate::start_with;

const CHILD_DATA: &str = "EMULATOR_TEST_CHILD_DATA";

fn settings(data: &Path) -> Settings {
    Settings {
        data: Some(data.to_owned()),
        limits: Limits::unlimited_rates(),
        ..Settings::default()
    }
}

#[tokio::test]
async fn a_restart_changes_nothing_but_the_address_of_urls() {
    let dir = tempfile::tempdir().expect("a directory");
    let (emulator, bot, channel) = start_with(settings(dir.path())).await;
    let (token, guild) = (emulator.token().to_owned(), emulator.guild_id());
    let nonce = json!({"content": "kept", "nonce": "n", "enforce_nonce": true});
    let kept = bot
        .upload(channel, &nonce, &[("a.bin", b"bytes")])
        .await
        .expect_status(200);
    let gone = bot
        .upload(channel, &json!({}), &[("b.bin", b"bytes")])
        .await;
    bot.delete(&format!("/channels/{channel}/messages/{}", gone.id()))
        .await
        .expect_status(204);
    let path = format!("/channels/{channel}/messages/{}/threads", kept.id());
    let thread = bot
        .post(&path, &json!({"name": "t"}))
        .await
        .expect_status(201)
        .id();
    for n in 0..3 {
        bot.say(thread, &n.to_string()).await.expect_status(200);
    }
    bot.patch(&format!("/channels/{thread}"), &json!({"archived": true}))
        .await
        .expect_status(200);
    let commands = format!("/applications/{}/commands", emulator.bot_id());
    let command = json!({"name": "status", "description": "d"});
    let command = bot.post(&commands, &command).await.expect_status(201);
    let shown = bot.get(&format!("/channels/{thread}")).await.body;
    let in_use = Emulator::start(settings(dir.path())).await;
    assert!(matches!(in_use, Err(Error::InUse)));
    emulator.stop().await;

    let (emulator, bot, channel) = start_with(settings(dir.path())).await;
    assert_eq!(
        (emulator.token(), emulator.guild_id()),
        (token.as_str(), guild)
    );
    assert_eq!(bot.get(&commands).await.body[0]["id"], command.body["id"]);
    let again = bot
        .upload(channel, &nonce, &[("a.bin", b"bytes")])
        .await
        .expect_status(200);
    assert_eq!(again.id(), kept.id(), "the nonce is remembered");
    let url = again.body["attachments"][0]["url"].as_str().expect("a URL");
    assert!(url.starts_with(&emulator.base_url()));
    assert_eq!(bot.fetch(url).await.expect_status(200).bytes, b"bytes");
    assert_eq!(bot.get(&format!("/channels/{thread}")).await.body, shown);
    assert_eq!(emulator.attachments().len(), 1);
    let files = std::fs::read_dir(dir.path().join("attachments")).expect("a directory");
    assert_eq!(files.count(), 1);
}

#[tokio::test]
async fn a_long_history_is_rewritten_and_means_the_same() {
    let dir = tempfile::tempdir().expect("a directory");
    let (emulator, bot, channel) = start_with(settings(dir.path())).await;
    let id = bot.say(channel, "x").await.id();
    let path = format!("/channels/{channel}/messages/{id}");
    for n in 0..1100 {
        bot.patch(&path, &json!({"content": n.to_string()}))
            .await
            .expect_status(200);
    }
    let shown = bot.get(&path).await.body;
    emulator.stop().await;
    let log = dir.path().join("state.log");
    let long = std::fs::metadata(&log).expect("the log").len();
    for _ in 0..2 {
        let (emulator, bot, _) = start_with(settings(dir.path())).await;
        assert_eq!(bot.get(&path).await.expect_status(200).body, shown);
        assert!(std::fs::metadata(&log).expect("the log").len() < long / 10);
        emulator.stop().await;
    }
}

/// Not a test: the process that the next test kills.
#[tokio::test]
#[ignore = "run by another test in a process of its own"]
async fn child() {
    let Some(data) = std::env::var_os(CHILD_DATA) else {
        return;
    };
    let never = std::future::pending();
    ods::emulator::run(settings(Path::new(&data)), never)
        .await
        .expect("it runs");
}

struct Running {
    child: Child,
    bot: User,
    guild: String,
    channel: u64,
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn spawn(data: &Path) -> Running {
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args([
            "--exact",
            "kept::child",
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(CHILD_DATA, data)
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child");
    let mut said = std::collections::HashMap::new();
    for line in BufReader::new(child.stdout.take().expect("its output")).lines() {
        let line = line.expect("text");
        if let Some((key, value)) = line.split_once(": ") {
            said.insert(key.to_owned(), value.to_owned());
        }
        if line.starts_with("member token") {
            break;
        }
    }
    // The test harness may have written before the first line.
    let url = said
        .iter()
        .find(|(key, _)| key.ends_with("url"))
        .expect("a URL")
        .1;
    Running {
        child,
        bot: User {
            http: http(),
            api: format!("{url}/api/v10"),
            authorization: format!("Bot {}", said["token"]),
        },
        guild: said["server"].clone(),
        channel: said["channel"].parse().expect("an id"),
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut first = spawn(dir.path());
    let (bot, channel) = (first.bot.clone(), first.channel);
    let mut acknowledged = Vec::new();
    for n in 0..20_u8 {
        let bytes = vec![n; 100_000];
        let sent = bot.upload(channel, &json!({}), &[("a.bin", &bytes)]).await;
        acknowledged.push((sent.expect_status(200).id(), bytes));
    }
    first.child.kill().expect("kill");
    first.child.wait().expect("its end");
    // A crash can tear what was being written, and leave an upload half done.
    let torn = b"01234567 {\"Message\":";
    let mut log = std::fs::OpenOptions::new()
        .append(true)
        .open(dir.path().join("state.log"));
    std::io::Write::write_all(log.as_mut().expect("the log"), torn).expect("tear");
    std::fs::write(dir.path().join("attachments/7.part"), b"half").expect("half an upload");

    let second = spawn(dir.path());
    assert_eq!(second.guild, first.guild);
    for (id, bytes) in acknowledged {
        let path = format!("/channels/{channel}/messages/{id}");
        let found = second.bot.get(&path).await.expect_status(200);
        let url = found.body["attachments"][0]["url"].as_str().expect("a URL");
        assert_eq!(second.bot.fetch(url).await.expect_status(200).bytes, bytes);
    }
    assert!(!dir.path().join("attachments/7.part").exists());
    second.bot.say(channel, "on").await.expect_status(200);
}
