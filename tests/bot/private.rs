//! Who may ask what, who sees names, and that nothing in a name does anything.

use ods::bot::Names;
use ods::bot::Settings;
use ods::bot::Word;
use ods::emulator::permission;
use serde_json::json;

use crate::bots::Stage;
use crate::bots::settings;

#[tokio::test(flavor = "multi_thread")]
async fn members_see_numbers_and_no_names() {
    let stage = Stage::with(settings()).await;
    let id = stage.archive();
    for command in ["archives", "history", "status", "stats"] {
        let said = stage.run(stage.member, command, json!({})).await;
        assert!(!said.text.contains("Photos"), "{said:?}");
    }
    let info = stage.run(stage.member, "info", json!({"what": id})).await;
    assert!(
        !info.clone().has(&[&id, "2 files"]).text.contains("Photos"),
        "{info:?}"
    );
    let path = stage
        .run(stage.member, "info", json!({"what": "Photos/sea.jpg"}))
        .await;
    assert!(!path.has(&["by its id"]).text.contains("sea"));
    let query = stage
        .run(stage.member, "archives", json!({"query": "photos"}))
        .await;
    query.has(&["0 archives"]);
}

/// Who presses a button of a page is not who reads it.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_others_read_stays_without_names_whoever_turns_it() {
    let mut stage = Stage::new().await;
    let granted = ods::emulator::MessageContent::Granted;
    stage.place.emulator.set_message_content(granted);
    for number in 0..10 {
        stage.file(&format!("Album {number}"), "file", b"x").await;
    }
    stage.flush().await;
    stage.start(settings()).await;
    let turn = async |page: &crate::bots::Said| {
        assert!(
            !page.is_private() && !page.text.contains("Album"),
            "{page:?}"
        );
        stage.press(stage.admin, page, "Next").await;
        let is_turned = |said: &crate::bots::Said| said.text.contains("Page 2 of 2");
        let turned = stage.message(stage.member, &page.id, is_turned).await;
        assert!(!turned.text.contains("Album"), "{turned:?}");
    };
    turn(&stage.run(stage.member, "archives", json!({})).await).await;
    let body = json!({"content": "!archives"});
    let word = stage.act(stage.admin, "messages", &body).await;
    word.expect("a message");
    turn(&stage.hears(stage.member, "Page 1 of 2").await).await;
}

/// Members who were given `/download` name archives; paths are names.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_who_may_download_is_told_that_paths_are_for_admins() {
    let stage = Stage::with(Settings {
        members: vec![Word::Download],
        ..settings()
    })
    .await;
    let body = json!({"what": "Photos/sea.jpg"});
    let told = stage.run(stage.member, "download", body).await;
    let told = told.has(&["by its id", "those who manage this server"]);
    assert!(
        told.is_private() && !told.text.contains("slash"),
        "{told:?}"
    );
    let body = json!({"what": stage.archive()});
    let told = stage.run(stage.member, "download", body).await;
    told.has(&["download_dir"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_decides_who_sees_names_and_asks_what() {
    let opted = Settings {
        names: Names::Members,
        members: vec![Word::Archives, Word::Cleanup],
        ..settings()
    };
    let stage = Stage::with(opted).await;
    let archives = stage.run(stage.member, "archives", json!({})).await;
    assert!(!archives.has(&["Photos"]).is_private());
    for (command, options) in [
        ("status", json!({})),
        ("cleanup", json!({"what": stage.archive()})),
    ] {
        // Discord hides it from them; whoever finds another way is refused by the bot.
        let body = json!({"command": command, "options": options});
        assert!(
            stage.act(stage.member, "commands", &body).await.is_err(),
            "{command}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configured_role_is_as_good_as_managing_the_server_and_the_bot_checks_it() {
    let mut stage = Stage::new().await;
    let role = stage
        .control("roles", &json!({"name": "keepers", "permissions": "0"}))
        .await;
    let role: u64 = role["id"].as_str().expect("an id").parse().expect("an id");
    let body = json!({"name": "keeper", "permissions": permission::MEMBER.to_string(), "roles": [role.to_string()]});
    let keeper = stage.control("people", &body).await;
    let keeper: u64 = keeper["id"]
        .as_str()
        .expect("an id")
        .parse()
        .expect("an id");
    stage.file("Photos", "sea.jpg", b"blue").await;
    stage.flush().await;
    stage
        .start(Settings {
            admin_roles: vec![role],
            ..settings()
        })
        .await;
    let verified = stage.run(keeper, "verify", json!({})).await;
    verified.has(&["nothing is wrong"]);
    for command in ["verify", "rebuild", "resume"] {
        let refused = stage.run(stage.member, command, json!({})).await;
        assert!(
            refused
                .has(&["for those who manage this server"])
                .is_private()
        );
    }
    let refused = stage
        .run(stage.member, "cleanup", json!({"what": stage.archive()}))
        .await;
    refused.has(&["for those who manage this server"]);
    assert!(ods::service::list(&stage.drive, b"Photos", 0, 0).is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_name_is_only_a_name() {
    let mut stage = Stage::new().await;
    let name = "@everyone **bold** <@1> [x](https:) `y` \u{202e}gpj.exe";
    stage.file(name, "~~@here~~ ||z||.txt", b"x").await;
    stage.flush().await;
    stage
        .start(Settings {
            names: Names::Members,
            ..settings()
        })
        .await;
    let archives = stage.run(stage.member, "archives", json!({})).await;
    let info = stage
        .run(stage.member, "info", json!({"what": stage.archive()}))
        .await;
    let path = format!("{name}/~~@here~~ ||z||.txt");
    let file = stage.run(stage.member, "info", json!({"what": path})).await;
    for said in [&archives, &info, &file] {
        for harm in [
            "@everyone",
            "@here",
            "**bold**",
            "<@1>",
            "](https:)",
            "~~@",
            "||z||",
            "\u{202e}",
        ] {
            assert!(!said.text.contains(harm), "{harm} in {said:?}");
        }
        assert_eq!(said.raw["mention_everyone"], false);
        assert_eq!(said.raw["mentions"], json!([]));
    }
    assert!(file.text.contains("everyone"), "{file:?}");
}

/// Members who are shown names of the drive learn no path of the machine.
#[tokio::test(flavor = "multi_thread")]
async fn paths_of_the_machine_are_nothing_to_members() {
    let mut stage = Stage::new().await;
    let (goal, inside) = (stage.dir.path().join("out"), stage.dir.path().join("in"));
    std::fs::create_dir_all(inside.join("Odd")).expect("a directory");
    std::fs::create_dir_all(goal.join("Photos")).expect("a directory");
    std::fs::write(goal.join("Photos/sea.jpg"), "something else").expect("written");
    let pipe = inside.join("Odd/pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo runs").success());
    stage.file("Photos", "sea.jpg", b"blue").await;
    stage.flush().await;
    let machine = stage.dir.path().display().to_string();
    let hides = |said: crate::bots::Said| {
        let plain = said.text.replace('\\', "");
        assert!(!plain.contains(&machine), "{said:?}");
        plain
    };
    let opted = Settings {
        names: Names::Members,
        members: vec![Word::Download, Word::Upload],
        download_dir: Some(goal.clone()),
        upload_dirs: vec![inside.clone()],
        ..settings()
    };
    stage.start(opted.clone()).await;
    let what = json!({"what": stage.archive()});
    // What would be replaced.
    let asked = stage.run(stage.member, "download", what.clone()).await;
    let asked = stage
        .message(stage.member, &asked.id, |said| {
            said.text.contains("would be replaced")
        })
        .await;
    stage.press(stage.member, &asked, "Leave it").await;
    assert!(hides(asked).contains("Photos/sea.jpg among them"));
    let asked = stage.run(stage.admin, "download", what.clone()).await;
    let asked = stage
        .message(stage.admin, &asked.id, |said| {
            said.text.contains("would be replaced")
        })
        .await;
    let path = format!("{machine}/out/Photos/sea.jpg");
    assert!(asked.text.replace('\\', "").contains(&path), "{asked:?}");
    stage.press(stage.admin, &asked, "Leave it").await;

    // What could not be copied.
    let told = stage.run(stage.member, "upload", json!({})).await;
    let told = stage
        .message(stage.member, &told.id, |said| {
            said.text.contains("could not be copied")
        })
        .await;
    assert!(hides(told).contains("- pipe: devices"));
    stage.stop().await;

    // A directory that cannot be used.
    let blocked = stage.dir.path().join("file/out");
    std::fs::write(stage.dir.path().join("file"), "no directory").expect("written");
    let opted = Settings {
        download_dir: Some(blocked),
        ..opted
    };
    stage.start(opted).await;
    let told = stage.run(stage.member, "download", what).await;
    let told = stage
        .message(stage.member, &told.id, |said| said.text.contains("failed"))
        .await;
    assert!(hides(told).contains("out: "));
}

/// Files whose names are those of a lease and of a segment to come.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_bot_sends_is_never_taken_for_the_drives_own() {
    let lease = "l-0011223344556677-0011223344556677.bin";
    let segment = "s-0000000000000002-0011223344556677-00000000-z.bin";
    let mut stage = Stage::new().await;
    let granted = ods::emulator::MessageContent::Granted;
    stage.place.emulator.set_message_content(granted);
    for name in [lease, segment] {
        stage.file("Photos", name, b"no lease, no segment").await;
    }
    stage.flush().await;
    stage
        .start(Settings {
            names: Names::Members,
            members: vec![Word::Download],
            words: ods::bot::Switch::On,
            ..settings()
        })
        .await;
    // The journal's channel is private.
    let (journal, owner) = (
        stage.place.journal,
        stage.person(permission::ADMINISTRATOR).await,
    );
    for (times, name) in (1..).zip([lease, segment]) {
        let body = json!({"content": format!("!download Photos/{name}")});
        let said = stage.act(stage.admin, "messages", &body).await;
        said.expect("a message");
        let words = "Discord can read this copy";
        let sent = stage.hears_times(stage.member, words, times).await;
        let called = sent.raw["attachments"][0]["filename"].as_str();
        assert!(
            called.is_some_and(|called| called.starts_with("file_")),
            "{sent:?}"
        );
        // Where the drive itself lies no file is sent at all.
        let said = stage.act_in(journal, owner, "messages", &body).await;
        said.expect("a message");
        let words = "ask in another channel";
        stage.hears_in(journal, owner, words, times).await;
    }
    stage.file("Photos", "later", b"later").await;
    stage.flush().await;
}
