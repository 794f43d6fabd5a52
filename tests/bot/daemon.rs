//! The bot as people start it: beside a mount, or alone.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;
use serde_json::json;

use crate::emulator_client::User;
use crate::programs::Machine;
use crate::programs::World;
use crate::programs::until;
use crate::python_bots;

/// A machine with a drive, whose desktop programs only write down what they are asked.
fn machine(world: &World) -> Machine {
    let mut machine = world.machine();
    let bin = machine.path("bin");
    std::fs::create_dir(&bin).expect("a directory");
    let told = |name: &str| machine.path(name).display().to_string();
    let notify = format!(
        "#!/bin/sh\nprintf '%s\\n' \"$@\" > {0}.new\nmv {0}.new {0}\n",
        told("notified")
    );
    let inhibit = format!("#!/bin/sh\necho $$ \"$@\" > {}\nexec cat\n", told("awake"));
    for (name, script) in [("notify-send", notify), ("systemd-inhibit", inhibit)] {
        let path = bin.join(name);
        std::fs::write(&path, script).expect("written");
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(path, mode).expect("executable");
    }
    let path = std::env::var("PATH").unwrap_or_default();
    machine.set("PATH", &format!("{}:{path}", bin.display()));
    machine.ods(&["init"]).good();
    machine
}

/// Somebody who manages the server.
fn admin(world: &World) -> String {
    let permissions = ods::emulator::permission::MEMBER | ods::emulator::permission::MANAGE_GUILD;
    let body = json!({"name": "admin", "permissions": permissions.to_string()});
    let told = control(world, "people", &body).expect("a person");
    told["id"].as_str().expect("an id").to_owned()
}

fn control(world: &World, what: &str, body: &Value) -> Result<Value, String> {
    ods::store::discord::offer_tls().expect("TLS");
    let url = format!("{}/_control/{what}", world.emulator.base_url());
    world.run(async {
        let sending = reqwest::Client::new()
            .post(url)
            .header("content-type", "application/json")
            .body(body.to_string());
        let answer = sending.send().await.expect("an answer");
        let is_good = answer.status().is_success();
        let text = answer.text().await.expect("a body");
        match is_good {
            true => Ok(serde_json::from_str(&text).expect("JSON")),
            false => Err(text),
        }
    })
}

/// Uses a command; waits until Discord knows it.
fn ask(world: &World, user: &str, command: &str) -> Value {
    ask_with(world, user, command, &json!({}))
}

fn ask_with(world: &World, user: &str, command: &str, options: &Value) -> Value {
    let channel = world.emulator.channel_id();
    let what = format!("people/{user}/channels/{channel}/commands");
    let body = json!({"command": command, "options": options});
    let mut told = Value::Null;
    until("the command", || match control(world, &what, &body) {
        Ok(answer) if answer["state"] == "answered" => {
            told = answer;
            true
        }
        _ => false,
    });
    told
}

#[test]
fn a_mount_has_its_bot_beside_it_and_tells_the_desktop() {
    let world = World::new();
    let machine = machine(&world);
    let user = admin(&world);
    machine.mount(&["--bot"]).good();
    assert_eq!(ask(&world, &user, "status")["answer"]["type"], 4);
    // Alone it would be a second one.
    machine.ods(&["bot"]).bad(18, &["is mounted at", "--bot"]);
    std::fs::create_dir(machine.mnt().join("Photos")).expect("made");
    std::fs::write(machine.mnt().join("Photos/one"), vec![7; 100_000]).expect("written");
    ask(&world, &user, "resume");
    let notified = machine.path("notified");
    until("the notification", || notified.exists());
    let words = std::fs::read_to_string(&notified).expect("words");
    let words: Vec<&str> = words.lines().collect();
    assert_eq!(
        words[..3],
        ["--app-name=ods", "--", "ods: main"],
        "{words:?}"
    );
    assert!(!words.join(" ").contains("Photos"), "{words:?}");
    let awake = std::fs::read_to_string(machine.path("awake")).expect("it was kept awake");
    assert!(awake.contains("--what=sleep"), "{awake}");
    let pid = awake.split(' ').next().expect("a process");
    until("the end of what kept it awake", || {
        !Path::new(&format!("/proc/{pid}")).exists()
    });
    machine.ods(&["umount"]).good();
    let said = machine.said();
    let log = std::fs::read_to_string(machine.state("main").join("log")).expect("a log");
    for text in [&said, &log] {
        assert!(!text.contains(world.emulator.token()), "{text}");
    }
}

/// The daemon forgets the variables, and its bot has the key.
#[test]
fn the_old_key_reaches_the_bot_of_a_daemon_and_nobody_else() {
    let world = World::new();
    let mut machine = machine(&world);
    let user = admin(&world);
    let (id, folder) = ("#000011-01", Path::new(python_bots::ARCHIVE));
    world.run(async {
        let bot = User::bot(&world.emulator);
        let guild = world.emulator.guild_id();
        let cards = python_bots::channel(&bot, guild, "archive-cards").await;
        python_bots::post_archive(&bot, cards, id, folder).await;
    });
    machine.set("USER_KEY", python_bots::USER_KEY);
    machine.mount(&["--bot"]).good();
    let options = json!({"what": id, "to": "old"});
    ask_with(&world, &user, "migrate", &options);
    let notified = machine.path("notified");
    until("the notification", || notified.exists());
    let words = std::fs::read_to_string(&notified).expect("words");
    assert!(words.contains("came and are on Discord"), "{words}");
    python_bots::check(&machine.mnt().join("old"), python_bots::ARCHIVE_SUMS);
    machine.ods(&["umount"]).good();
    let log = std::fs::read_to_string(machine.state("main").join("log")).expect("a log");
    assert!(!log.contains(python_bots::USER_KEY), "{log}");
}

#[test]
fn alone_it_opens_the_drive_and_ends_when_it_is_told_to() {
    let world = World::new();
    let machine = machine(&world);
    let user = admin(&world);
    let mut bot = machine.start("ods", &["bot"]);
    bot.says("the bot of main is at work");
    let told = ask(&world, &user, "help");
    assert_eq!(told["answer"]["ephemeral"], true, "{told}");
    // The drive is in use, so nothing else opens it.
    machine.mount(&[]).bad(18, &["in use"]);
    bot.signal("INT");
    let ended = bot.ended();
    assert_eq!(ended.code, 0, "{ended:?}");
    machine.mount(&[]).good();
    machine.ods(&["umount"]).good();
}

#[test]
fn without_a_bot_nothing_is_asked_for_one() {
    let world = World::new();
    let machine = machine(&world);
    world.emulator.reset_counts();
    machine.mount(&[]).good();
    std::fs::create_dir(machine.mnt().join("Photos")).expect("made");
    machine.ods(&["umount"]).good();
    let counts = world.emulator.counts();
    assert_eq!(counts.gateway_sessions, 0);
    let of_bots = |route: &&String| {
        ["gateway", "commands", "interactions", "applications"]
            .iter()
            .any(|word| route.contains(word))
    };
    assert_eq!(counts.routes.keys().find(of_bots), None);
}

#[test]
fn what_is_configured_wrongly_is_told_before_anything_is_mounted() {
    let world = World::new();
    let machine = machine(&world);
    let path = machine.path("config/ods/config.toml");
    let good = std::fs::read_to_string(&path).expect("a configuration");
    std::fs::write(
        &path,
        format!("{good}\n[drive.main.bot]\nmembers = [\"fly\"]\n"),
    )
    .expect("written");
    machine.mount(&["--bot"]).bad(3, &["fly"]);
    std::fs::write(
        &path,
        format!("{good}\n[drive.main.bot]\nadmin_rolls = [5]\n"),
    )
    .expect("written");
    machine.ods(&["bot"]).bad(3, &["admin_rolls"]);
    // The table of the bot is people's own, and stays when the drive's changes.
    std::fs::write(
        &path,
        format!("{good}\n[drive.main.bot]\nnames = \"members\"\n"),
    )
    .expect("written");
    machine.ods(&["init", "--join"]).good();
    let kept = std::fs::read_to_string(&path).expect("a configuration");
    assert!(
        kept.contains("[drive.main.bot]\nnames = \"members\""),
        "{kept}"
    );
}
