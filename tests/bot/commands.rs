//! Every command, by slash and by word.

use std::path::Path;
use std::time::Duration;

use ods::bot::Names;
use ods::bot::Settings;
use ods::bot::Times;
use ods::emulator::MessageContent;
use serde_json::json;

use crate::bots::Stage;
use crate::bots::settings;
use crate::bots::until;
use crate::drives::noise;
use crate::emulator_client::User;
use crate::python_bots;

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_looked_at_is_told() {
    let stage = Stage::with(settings()).await;
    let (admin, id) = (stage.admin, stage.archive());
    let status = stage.run(admin, "status", json!({})).await;
    assert!(
        status
            .has(&["main", "everything is on Discord", "is encrypted"])
            .has(&["Changed last: ", &id, "stored", "Photos"])
            .has(&["Mounted at /mnt/of\\-this\\-test"])
            .is_private()
    );
    let status = stage.run(stage.member, "status", json!({})).await;
    let status = status.has(&["Changed last: ", &id, "Mounted"]);
    assert!(!status.text.contains("/mnt"), "{status:?}");
    let history = stage.run(admin, "history", json!({})).await;
    history.has(&[&id, "2 files", "Photos", "<t:"]);
    let archives = stage.run(admin, "archives", json!({})).await;
    archives.has(&[&id, "stored", "https://discord.com/channels/"]);
    let found = stage
        .run(admin, "archives", json!({"query": "photo"}))
        .await;
    found.has(&["1 archive for", &id]);
    let named = stage
        .run(admin, "archives", json!({"query": "sea *.jpg"}))
        .await;
    named.has(&["1 archive for", &id, "- Photos/sea\\.jpg"]);
    let words = json!({"query": "sea"});
    let hidden = stage.run(stage.member, "archives", words).await;
    let hidden = hidden.has(&["0 archives for"]);
    assert!(!hidden.text.contains("jpg"), "{hidden:?}");
    let none = stage
        .run(admin, "archives", json!({"query": "nothing"}))
        .await;
    none.has(&["0 archives for"]);
    let info = stage.run(admin, "info", json!({"what": id})).await;
    info.has(&[&id, "2 files", "21 B", "pack", "Deduplication"]);
    let info = stage
        .run(admin, "info", json!({"what": "Photos/sea.jpg"}))
        .await;
    info.has(&["sea\\.jpg", "1 file, 4 B"]);
    let wrong = stage
        .run(admin, "info", json!({"what": "Photos/none"}))
        .await;
    wrong.has(&["none"]);
    let stats = stage.run(admin, "stats", json!({})).await;
    stats.has(&["2 files in", "packs", "request"]);
    let help = stage.run(admin, "help", json!({})).await;
    help.has(&["/cleanup", "/upload", "#DDMMYY-NN"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_file_is_sent_and_an_archive_goes_to_the_machine() {
    let stage = Stage::new().await;
    let goal = stage.dir.path().join("out");
    let stage = started(
        stage,
        Settings {
            download_dir: Some(goal.clone()),
            ..settings()
        },
    )
    .await;
    let here = stage
        .run(stage.admin, "download", json!({"what": "Photos/sea.jpg"}))
        .await;
    let here = here.has(&["sea\\.jpg", "Discord can read"]);
    assert!(here.is_private());
    let told = stage
        .message(stage.admin, &here.id, |said| {
            !said.raw["attachments"][0].is_null()
        })
        .await;
    assert_eq!(stage.fetched(&told).await, b"blue");
    let id = stage.archive();
    let away = stage
        .run(stage.admin, "download", json!({"what": id}))
        .await;
    let away = stage
        .message(stage.admin, &away.id, |said| {
            said.text.contains("on the machine")
        })
        .await;
    away.has(&["2 files"]);
    assert_eq!(
        std::fs::read(goal.join("Photos/sea.jpg")).expect("a file"),
        b"blue"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_too_large_says_where_it_could_go() {
    let stage = Stage::new().await;
    stage.file("Big", "noise", &noise(1, 11 << 20)).await;
    let stage = started(stage, settings()).await;
    let body = json!({"what": "Big/noise"});
    let none = stage.run(stage.admin, "download", body).await;
    none.has(&["download_dir"]);
    let here = json!({"what": "Big/noise", "to": "here"});
    stage
        .run(stage.admin, "download", here)
        .await
        .has(&["at most", "10"]);
}

async fn started(mut stage: Stage, settings: Settings) -> Stage {
    stage.file("Photos", "sea.jpg", b"blue").await;
    stage
        .file("Photos", "notes.txt", b"remember the milk")
        .await;
    stage.flush().await;
    stage.start(settings).await;
    stage
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attachment_becomes_a_file_that_is_on_discord() {
    let stage = Stage::with(settings()).await;
    // What an earlier process was killed at.
    let left = ".ods-receiving-0123456789abcdef";
    stage.file("Mail/in", left, b"half").await;
    let content = noise(7, 300_000);
    let body = json!({"command": "upload", "options": {"file": 0, "to": "Mail/in"}});
    let file = ("letter one.txt", &content[..]);
    let told = stage
        .act_with_file(stage.admin, "commands", &body, file)
        .await;
    let said = stage.answer(stage.admin, &told.expect("a command")).await;
    stage
        .message(stage.admin, &said.id, |said| {
            said.text.contains("are on Discord")
        })
        .await;
    let gone = stage.drive.find_path(format!("Mail/in/{left}").as_bytes());
    assert!(gone.is_err(), "it is tidied up");
    let listing = ods::service::list(&stage.drive, b"Mail/in", 0, 0).expect("a directory");
    let entry = &listing.entries[0];
    assert_eq!(
        (entry.size, entry.state.as_str()),
        (300_000, "remote"),
        "{entry:?}"
    );
    let ino = stage
        .drive
        .find_path(format!("Mail/in/{}", entry.name).as_bytes());
    assert_eq!(
        crate::drives::content(&stage.drive, ino.expect("it")).await,
        content
    );
    // The same name again is asked about, and kept when nobody agrees.
    let file = ("letter one.txt", &b"other"[..]);
    let told = stage
        .act_with_file(stage.admin, "commands", &body, file)
        .await;
    let said = stage.answer(stage.admin, &told.expect("a command")).await;
    stage.press(stage.admin, &said, "Leave it").await;
    stage
        .message(stage.admin, &said.id, |said| {
            said.text.contains("Nothing was replaced")
        })
        .await;
    let listing = ods::service::list(&stage.drive, b"Mail/in", 0, 0).expect("a directory");
    assert_eq!((listing.found, listing.entries[0].size), (1, 300_000));
}

/// Discord lets several files of one message have the same name; a drive does not.
#[tokio::test(flavor = "multi_thread")]
async fn attachments_of_the_same_name_become_files_of_their_own() {
    let mut stage = Stage::new().await;
    let granted = MessageContent::Granted;
    stage.place.emulator.set_message_content(granted);
    stage.start(settings()).await;
    let body = json!({"content": "!upload"});
    let files: [(&str, &[u8]); 2] = [("image.png", b"first"), ("image.png", b"the second")];
    let told = stage
        .act_with_files(stage.admin, "messages", &body, &files)
        .await;
    told.expect("a message");
    stage
        .hears(stage.member, "2 files, 15 B are on Discord")
        .await;
    for (path, content) in [
        ("Uploads/image.png", &b"first"[..]),
        ("Uploads/image (2).png", b"the second"),
    ] {
        let ino = stage.drive.find_path(path.as_bytes()).expect(path);
        assert_eq!(crate::drives::content(&stage.drive, ino).await, content);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_of_the_machine_is_uploaded_from_listed_directories_only() {
    let stage = Stage::new().await;
    let inside = stage.dir.path().join("in");
    std::fs::create_dir(&inside).expect("a directory");
    std::fs::write(inside.join("book.txt"), "pages").expect("a file");
    std::fs::write(stage.dir.path().join("secret.txt"), "no").expect("a file");
    let stage = started(
        stage,
        Settings {
            upload_dirs: vec![inside.clone()],
            ..settings()
        },
    )
    .await;
    let path = inside.join("book.txt");
    let body = json!({"path": path, "to": "Books"});
    let said = stage.run(stage.admin, "upload", body).await;
    stage
        .message(stage.admin, &said.id, |said| said.text.contains("1 file"))
        .await;
    assert_eq!(
        ods::service::list(&stage.drive, b"Books", 0, 0)
            .expect("it")
            .entries[0]
            .name,
        "book.txt"
    );
    let path = stage.dir.path().join("secret.txt");
    let refused = stage
        .run(stage.admin, "upload", json!({"path": path}))
        .await;
    refused.has(&["no such file in the directories"]);
}

/// What the older systems did with their upload folder.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_file_everything_in_the_only_listed_directory_is_taken() {
    let mut stage = Stage::new().await;
    let inside = stage.dir.path().join("in");
    std::fs::create_dir_all(inside.join("Letters")).expect("a directory");
    for file in ["Letters/one.txt", "book.txt"] {
        std::fs::write(inside.join(file), "pages").expect("a file");
    }
    let taking = |upload_dirs: Vec<std::path::PathBuf>| Settings {
        upload_dirs,
        ..settings()
    };
    stage.start(taking(Vec::new())).await;
    let none = stage.run(stage.admin, "upload", json!({})).await;
    none.has(&["upload_dirs", "Attach a file"]);
    stage.stop().await;
    let several = vec![inside.clone(), stage.dir.path().join("other")];
    stage.start(taking(several)).await;
    let several = stage.run(stage.admin, "upload", json!({})).await;
    several.has(&["name a path", "/in, ", "other"]);
    stage.stop().await;
    stage.start(taking(vec![inside])).await;
    let body = json!({"command": "upload", "options": {}});
    let told = stage.act(stage.admin, "commands", &body).await;
    let told = told.expect("a command");
    let said = stage.answer(stage.admin, &told).await;
    said.clone().has(&["Upload of Letters, book\\.txt"]);
    let is_done = |said: &crate::bots::Said| said.text.contains("2 files, 10 B are on Discord");
    stage.message(stage.admin, &said.id, is_done).await;
    for path in [&b"Letters/one.txt"[..], b"book.txt"] {
        assert!(stage.drive.find_path(path).is_ok());
    }
}

/// The whole drive is flushed, and the archive that was named is told of.
#[tokio::test(flavor = "multi_thread")]
async fn resume_tells_how_the_named_archive_is_then() {
    let stage = Stage::with(settings()).await;
    stage.file("Later", "one", &noise(3, 5000)).await;
    let id = stage.archive();
    let resumed = stage.run(stage.admin, "resume", json!({"what": id})).await;
    resumed.has(&["are on Discord", &format!("`{id}` is stored"), "as a whole"]);
    let body = json!({"what": "#010101-01"});
    let unknown = stage.run(stage.admin, "resume", body).await;
    unknown.has(&["010101", "there is no archive"]);
    let body = json!({"what": "Later/one"});
    let path = stage.run(stage.admin, "resume", body).await;
    path.has(&["name an archive by its id"]);
}

/// What `tests/golden` has of the older systems, put on Discord as they did.
#[tokio::test(flavor = "multi_thread")]
async fn archives_and_batches_of_before_are_taken_over_with_the_key_of_the_machine() {
    let mut stage = Stage::new().await;
    let user = User::bot(&stage.place.emulator);
    let guild = stage.place.emulator.guild_id();
    let cards = python_bots::channel(&user, guild, "archive-cards").await;
    let (id, folder) = ("#000011-01", Path::new(python_bots::ARCHIVE));
    python_bots::post_archive(&user, cards, id, folder).await;
    let migrate = async |stage: &Stage, what: &str, says: &str| {
        let body = json!({"what": what, "to": "old"});
        let said = stage.run(stage.admin, "migrate", body).await;
        assert!(said.is_private());
        let is_told = |said: &crate::bots::Said| said.text.contains(says);
        stage.message(stage.admin, &said.id, is_told).await
    };
    stage.start(settings()).await;
    let told = migrate(&stage, id, "USER_KEY").await;
    told.has(&["old_key_file", "Never write a key here"]);
    migrate(&stage, "#010203-04", "010203").await;
    let told = migrate(&stage, "/etc", "upload_dirs").await;
    told.has(&["BATCH_YYYYMMDD_HHHH"]);
    stage.stop().await;
    let key = |text: &str| Settings {
        old_keys: ods::import::Keys {
            user: Some(ods::import::OldKey::new(text)),
            master: None,
        },
        ..settings()
    };
    stage.start(key("another one")).await;
    migrate(&stage, id, "does not open it").await;
    assert!(
        stage.drive.find_path(b"old").is_err(),
        "nothing was written"
    );
    stage.stop().await;
    stage.start(key(python_bots::USER_KEY)).await;
    let told = migrate(&stage, "000011-01", "came and are on Discord").await;
    assert!(!told.text.contains("problem"), "{told:?}");
    let listing = ods::service::list(&stage.drive, b"old", 0, 0).expect("a directory");
    assert!(listing.found > 0);
    let again = migrate(&stage, id, "were there already").await;
    again.has(&["0 files"]);
    // All at once, as the older systems did; what has no key is told, and the rest comes.
    let storage = python_bots::channel(&user, guild, "storage").await;
    let index = python_bots::channel(&user, guild, "index").await;
    let batch = Path::new(python_bots::BATCH);
    python_bots::post_batch(&user, storage, index, "BATCH_20260101_000B", batch).await;
    let told = migrate(&stage, "all", "came and are on Discord").await;
    told.has(&["all archives", "1 problem", "BATCH"]);
    let own = ods::service::list(&stage.drive, b"old/000011-01", 0, 0).expect("a directory");
    assert_eq!(own.found, listing.found);
    let body = json!({"command": "migrate", "options": {"what": id}});
    let refused = stage.act(stage.member, "commands", &body).await;
    assert!(refused.is_err(), "it is for admins");
}

#[tokio::test(flavor = "multi_thread")]
async fn work_is_done_and_its_end_is_told_where_the_owner_wants_it() {
    let stage = Stage::new().await;
    let log = stage.place.archives;
    let stage = started(
        stage,
        Settings {
            channel: Some(log),
            ..settings()
        },
    )
    .await;
    let id = stage.archive();
    let verified = stage.run(stage.admin, "verify", json!({"what": id})).await;
    verified.has(&["nothing is wrong", "2 files", "listed"]);
    let full = stage
        .run(stage.admin, "verify", json!({"full": true}))
        .await;
    full.has(&["nothing is wrong", "fetched and unsealed"]);
    let rebuilt = stage.run(stage.admin, "rebuild", json!({})).await;
    rebuilt.has(&["nothing had to be put right"]);
    stage.file("Photos", "more", &noise(3, 5000)).await;
    let resumed = stage.run(stage.admin, "resume", json!({})).await;
    resumed.has(&["are on Discord"]);
    let again = stage.run(stage.admin, "resume", json!({})).await;
    again.has(&["Nothing waits"]);
    let ends = [
        ("**Verification**: nothing is wrong.", 2),
        ("**Rebuild**: nothing had to be put right.", 1),
        ("**Upload of what waits**: done, ", 1),
        ("Nothing waits: everything is on Discord.", 1),
    ];
    // The channel is told after who asked is.
    for (words, times) in ends {
        let told = stage.told(words, times).await;
        let names = |said: &&crate::bots::Said| said.text.contains("Photos");
        assert_eq!(told.iter().find(names).map(|said| &said.text), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cleanup_asks_first_and_only_who_asked_can_say_yes() {
    let stage = Stage::with(Settings {
        names: Names::Members,
        ..settings()
    })
    .await;
    let other = stage.person(ods::emulator::permission::MEMBER | 32).await;
    let id = stage.archive();
    let asked = stage.run(stage.admin, "cleanup", json!({"what": id})).await;
    assert!(!asked.is_private());
    let told = stage.press(other, &asked, "Delete").await;
    let refused = stage.answer(other, &told).await;
    assert!(refused.has(&["Only who asked"]).is_private());
    assert!(ods::service::list(&stage.drive, b"Photos", 0, 0).is_ok());
    let asked = stage
        .message(stage.admin, &asked.id, |said| !said.buttons().is_empty())
        .await;
    stage.press(stage.admin, &asked, "Delete").await;
    let done = stage
        .message(stage.admin, &asked.id, |said| {
            said.text.contains("are deleted")
        })
        .await;
    assert!(done.buttons().is_empty() && done.text.contains("2 files"));
    assert!(ods::service::list(&stage.drive, b"Photos", 0, 0).is_err());
    let path = stage
        .run(stage.admin, "cleanup", json!({"what": "Photos"}))
        .await;
    path.has(&["by its id"]);
    let gone = stage
        .run(stage.admin, "cleanup", json!({"what": "#010101-01"}))
        .await;
    gone.has(&["010101"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_collected_after_a_question_and_only_for_who_manages_the_server() {
    let mut stage = Stage::new().await;
    stage.file("Photos", "sea.jpg", b"blue").await;
    stage.flush().await;
    stage.start(settings()).await;
    let none = stage.run(stage.admin, "gc", json!({})).await;
    assert!(none.has(&["nothing to collect"]).buttons().is_empty());
    let body = json!({"command": "gc"});
    let hidden = stage.act(stage.member, "commands", &body).await;
    assert!(hidden.is_err_and(|why| why.contains("may not use")));

    stage.file("Other", "one", b"1").await;
    stage.flush().await;
    let desk = std::sync::Arc::clone(&stage.desk);
    let delete = move || {
        let wish = ods::service::Delete {
            target: ods::service::Target::parse("Photos").expect("a target"),
            consent: ods::service::Consent::Given,
        };
        let task = ods::drive::task::Task::new(&|_| ods::drive::task::Go::On);
        ods::service::delete(&desk, &wish, &task)
    };
    let deleted = tokio::task::spawn_blocking(delete).await;
    deleted.expect("no panic").expect("it goes");
    stage.flush().await;
    let asked = stage.run(stage.admin, "gc", json!({})).await;
    let asked = asked.has(&["1 thread", "would be removed", "at most", "Collect?"]);
    stage.press(stage.admin, &asked, "Leave it").await;
    let kept = stage
        .message(stage.admin, &asked.id, |said| {
            said.text.contains("Nothing was collected")
        })
        .await;
    assert!(kept.buttons().is_empty());
    let asked = stage.run(stage.admin, "gc", json!({})).await;
    let asked = asked.has(&["would be removed"]);
    stage.press(stage.admin, &asked, "Collect").await;
    let done = stage
        .message(stage.admin, &asked.id, |said| said.text.contains("done"))
        .await;
    done.has(&["1 thread of deleted archives removed"]);
    let again = stage.run(stage.admin, "gc", json!({})).await;
    again.has(&["nothing to collect"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_nobody_answers_ends_and_nothing_is_deleted() {
    let times = Times {
        question_life: Duration::from_millis(1),
        ..settings().times
    };
    let stage = Stage::with(Settings {
        times,
        ..settings()
    })
    .await;
    let body = json!({"command": "cleanup", "options": {"what": stage.archive()}});
    let told = stage
        .act(stage.admin, "commands", &body)
        .await
        .expect("a command");
    let said = stage.answer(stage.admin, &told).await;
    let said = stage
        .message(stage.admin, &said.id, |said| {
            said.text.contains("Nothing was deleted")
        })
        .await;
    assert!(said.buttons().is_empty());
    assert!(ods::service::list(&stage.drive, b"Photos", 0, 0).is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_are_turned_over_page_by_page() {
    let mut stage = Stage::new().await;
    for number in 0..10 {
        stage.file(&format!("Album {number}"), "file", b"x").await;
    }
    stage.flush().await;
    stage.start(settings()).await;
    let first = stage.run(stage.admin, "archives", json!({})).await;
    let first = first.has(&["10 archives", "Album 9", "Page 1 of 2"]);
    assert!(!first.text.contains("Album 1 "));
    stage.press(stage.admin, &first, "Next").await;
    let second = stage
        .message(stage.admin, &first.id, |said| {
            said.text.contains("Page 2 of 2")
        })
        .await;
    let second = second.has(&["Album 0", "Album 1"]);
    stage.press(stage.admin, &second, "Back").await;
    stage
        .message(stage.admin, &first.id, |said| {
            said.text.contains("Page 1 of 2")
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_typed_is_completed() {
    let stage = Stage::with(settings()).await;
    let complete = async |user, command: &str, option: &str, typed: &str| {
        let body = json!({"command": command, "focused": option, "options": {option: typed}});
        let told = stage
            .act(user, "completions", &body)
            .await
            .expect("a completion");
        let choices = told["answer"]["choices"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let value = |choice: &serde_json::Value| choice["value"].as_str().expect("text").to_owned();
        choices.iter().map(value).collect::<Vec<String>>()
    };
    let id = stage.archive();
    let all = complete(stage.admin, "info", "what", "").await;
    assert!(
        all.contains(&id) && all.contains(&"Photos".to_owned()),
        "{all:?}"
    );
    assert_eq!(
        complete(stage.admin, "download", "what", "Photos/se").await,
        ["Photos/sea.jpg"]
    );
    assert_eq!(
        complete(stage.admin, "archives", "query", "phot").await[0],
        id
    );
    // Members learn ids, and nothing of names.
    assert_eq!(
        complete(stage.member, "info", "what", "").await,
        std::slice::from_ref(&id)
    );
    assert!(
        complete(stage.member, "info", "what", "Pho")
            .await
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_words_are_heard_where_the_intent_is_granted() {
    let mut stage = Stage::new().await;
    stage
        .place
        .emulator
        .set_message_content(MessageContent::Granted);
    stage.file("Photos", "sea.jpg", b"blue").await;
    stage.flush().await;
    stage.start(settings()).await;
    let say = async |user: u64, words: &str| {
        let body = json!({"content": words});
        stage.act(user, "messages", &body).await.expect("a message");
    };
    say(stage.admin, "!help").await;
    stage.hears(stage.member, "/cleanup").await;
    say(stage.admin, "!status").await;
    stage.hears(stage.member, "everything is on Discord").await;
    say(stage.admin, "!archives").await;
    let archives = stage.hears(stage.member, "1 archive").await;
    assert!(
        !archives.text.contains("Photos"),
        "others read along: {archives:?}"
    );
    say(stage.member, "!cleanup #010101-01").await;
    stage
        .hears(stage.member, "for those who manage this server")
        .await;
    say(stage.admin, &format!("!verify {}", stage.archive())).await;
    stage.hears(stage.member, "nothing is wrong").await;
    say(stage.admin, "!download Photos/sea.jpg").await;
    stage.hears(stage.member, "whose answer only you see").await;
    say(stage.admin, "!migrate-legacy").await;
    stage.hears(stage.member, "BATCH_YYYYMMDD_HHHH").await;
    say(stage.member, "!statu").await;
    stage.hears(stage.member, "did you mean `!status`?").await;
    let told = stage
        .act_with_file(
            stage.admin,
            "messages",
            &json!({"content": "!upload"}),
            ("new.txt", b"new"),
        )
        .await;
    told.expect("a message");
    stage
        .hears(stage.member, "1 file, 3 B are on Discord")
        .await;
    assert!(ods::service::list(&stage.drive, b"Uploads/new.txt", 0, 0).is_ok());
    let sent = stage.asked("POST", "/messages");
    say(stage.member, "hello !status").await;
    say(stage.member, "!play").await;
    say(stage.admin, "!resume").await;
    stage.hears(stage.member, "Nothing waits").await;
    until("one answer more", || {
        stage.asked("POST", "/messages") == sent + 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cards_have_buttons_that_answer_who_presses_them() {
    let stage = Stage::with(settings()).await;
    stage.file("Later", "one", b"1").await;
    stage.file("Later", "two", b"2").await;
    stage.flush().await;
    let (id, channel) = (stage.archive(), stage.place.archives);
    let cards = stage.cards().await;
    let is_it = |said: &&crate::bots::Said| {
        let title = said.raw["embeds"][0]["title"].as_str();
        title.is_some_and(|title| title.contains(&id))
    };
    let card = cards.iter().find(is_it).expect("a card");
    // The channel of the archives is private.
    let owner = stage.person(ods::emulator::permission::ADMINISTRATOR).await;
    for (label, says) in [("Info", "2 files"), ("Verify", "nothing is wrong")] {
        let body = json!({"message": card.id, "custom_id": card.button(label)});
        let told = stage.act_in(channel, owner, "clicks", &body).await;
        let told = told.expect("a click");
        assert_eq!(told["answer"]["ephemeral"], true, "{told}");
        let answer = told["answer"]["message"].as_str().expect("a message");
        let seen = stage.seen_in(channel, owner).await;
        let said = seen.iter().find(|said| said.id == answer).expect("it");
        assert!(said.text.contains(says), "{said:?}");
    }
    assert_eq!(card.buttons().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_that_was_made_before_the_bot_was_there_gets_its_buttons_with_one_edit() {
    let mut stage = Stage::new().await;
    stage.file("Photos", "sea.jpg", b"blue").await;
    stage.flush().await;
    let card = async |stage: &Stage, is_so: &dyn Fn(&crate::bots::Said) -> bool| {
        let id = stage.archive();
        let started = std::time::Instant::now();
        loop {
            assert!(started.elapsed() < Duration::from_secs(60), "no such card");
            let cards = stage.cards().await;
            let is_it = |said: &&crate::bots::Said| {
                let title = said.raw["embeds"][0]["title"].as_str();
                title.is_some_and(|title| title.contains(&id)) && is_so(said)
            };
            if let Some(found) = cards.iter().find(is_it) {
                return found.clone();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let is_stored = |said: &crate::bots::Said| said.raw["embeds"].to_string().contains("stored");
    let before = card(&stage, &is_stored).await;
    assert!(before.buttons().is_empty());
    let edits = |stage: &Stage| {
        let routes = stage.place.emulator.counts().routes.into_iter();
        let edits = routes.filter(|(route, _)| route.starts_with("PATCH /channels/"));
        edits.map(|(_, count)| count).sum::<u64>()
    };
    let edited = edits(&stage);
    stage.start(settings()).await;
    let has_both = |said: &crate::bots::Said| said.buttons().len() == 2;
    let after = card(&stage, &has_both).await;
    assert_eq!((after.id, is_stored(&before)), (before.id, true));
    assert_eq!(edits(&stage), edited + 1);
}
