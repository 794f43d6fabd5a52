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
