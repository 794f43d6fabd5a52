//! The session: begun once, resumed, ended; what it costs, and what it does not.

use std::time::Duration;

use ods::bot::Settings;
use ods::bot::Switch;
use ods::bot::Times;
use ods::emulator::ErrorBody;
use ods::emulator::Fault;
use ods::emulator::FaultKind;
use serde_json::json;

use crate::bots::Stage;
use crate::bots::settings;
use crate::bots::until;
use crate::drives::noise;

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_is_resumed_and_nothing_is_missed() {
    let stage = Stage::with(settings()).await;
    for (answers, order) in [(1, "drop"), (2, "reconnect")] {
        let sessions = stage.place.emulator.counts().gateway_sessions;
        stage.control("gateway", &json!({"order": order})).await;
        // Asked while nobody listens: the session keeps it until it is resumed.
        let body = json!({"command": "help", "options": {}});
        let told = stage.act(stage.admin, "commands", &body).await;
        told.expect("a command");
        stage.hears_times(stage.admin, "/status", answers).await;
        assert_eq!(
            stage.place.emulator.counts().gateway_sessions,
            sessions,
            "{order}"
        );
    }
    // A session that is over is begun anew.
    let sessions = stage.place.emulator.counts().gateway_sessions;
    stage
        .control("gateway", &json!({"order": "invalidate"}))
        .await;
    until("another session", || {
        stage.place.emulator.counts().gateway_sessions > sessions
    })
    .await;
    stage
        .run(stage.admin, "help", json!({}))
        .await
        .has(&["/status"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_are_told_once_and_again_only_when_they_change() {
    let mut stage = Stage::with(settings()).await;
    assert_eq!(stage.asked("PUT", "/commands"), 1);
    stage.run(stage.admin, "help", json!({})).await;
    stage.stop().await;
    stage.place.emulator.reset_counts();
    stage.start(settings()).await;
    stage.run(stage.admin, "help", json!({})).await;
    assert_eq!(stage.asked("PUT", "/commands"), 0);
    // Where the gateway is, whether words may be heard, and one answer.
    assert_eq!(
        stage.place.emulator.counts().requests,
        3,
        "{:?}",
        stage.place.emulator.counts()
    );
    stage.stop().await;
    stage
        .start(Settings {
            members: Vec::new(),
            ..settings()
        })
        .await;
    until("the new commands", || stage.asked("PUT", "/commands") == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_intent_there_are_no_words_and_no_error() {
    let mut stage = Stage::with(settings()).await;
    stage
        .run(stage.admin, "help", json!({}))
        .await
        .has(&["/status"]);
    stage
        .act(stage.admin, "messages", &json!({"content": "!help"}))
        .await
        .expect("a message");
    stage.stop().await;
    let seen = stage.seen(stage.member).await;
    assert!(
        !seen.iter().any(|said| said.text.contains("/cleanup")),
        "{seen:?}"
    );
    // Where no words are wanted the intent is not asked for.
    stage.place.emulator.reset_counts();
    stage
        .start(Settings {
            words: Switch::Off,
            ..settings()
        })
        .await;
    assert_eq!(stage.asked("GET", "/gateway/bot"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_refused_ends_the_bot_in_words() {
    let stage = Stage::new().await;
    stage.place.emulator.revoke_token();
    let mut running = ods::bot::start(stage.parts(settings()));
    let error = running.ended().await.expect_err("it ends");
    assert!(error.to_string().contains("token"), "{error}");
    stage.place.emulator.restore_token();
}

/// Long work that outlives the interaction's token goes on as a message of the channel, without names.
#[tokio::test(flavor = "multi_thread")]
async fn long_work_moves_into_the_channel_when_the_token_ends() {
    let times = Times {
        promise_after: Duration::ZERO,
        ..settings().times
    };
    let mut stage = Stage::new().await;
    stage.file("Photos", "sea.jpg", &noise(5, 300_000)).await;
    stage.flush().await;
    stage
        .start(Settings {
            times,
            ..settings()
        })
        .await;
    let broken = FaultKind::Error {
        status: 503,
        body: ErrorBody::default(),
    };
    stage
        .place
        .emulator
        .faults()
        .add(Fault::new("GET /attachments/*", broken));
    let body = json!({"command": "verify", "options": {"full": true}});
    let told = stage
        .act(stage.admin, "commands", &body)
        .await
        .expect("a command");
    assert_eq!(told["answer"]["type"], 5, "{told}");
    let failing = || stage.place.emulator.counts().cdn_requests > 2;
    until("the work to be under way", failing).await;
    stage.place.emulator.clock().advance(16 * 60 * 1000);
    stage.place.emulator.faults().clear();
    let said = stage.hears(stage.member, "nothing is wrong").await;
    assert!(
        !said.is_private() && said.text.starts_with(&format!("<@{}>", stage.admin)),
        "{said:?}"
    );
    assert!(!said.text.contains("Photos"), "{said:?}");
}

/// So does work that the bot itself knows to take too long, before Discord refuses anything.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_moved_before_its_token_ends() {
    let times = Times {
        promise_after: Duration::ZERO,
        token_life: Duration::ZERO,
        ..settings().times
    };
    let stage = Stage::with(Settings {
        times,
        ..settings()
    })
    .await;
    stage.place.emulator.reset_counts();
    let body = json!({"command": "resume", "options": {}});
    stage
        .act(stage.admin, "commands", &body)
        .await
        .expect("a command");
    stage.hears(stage.member, "Nothing waits").await;
    assert_eq!(stage.asked("PATCH", "/@original"), 0);
}

/// A question that comes too late for its asker alone is asked in the channel, without what is at stake by name.
#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_moves_into_the_channel_names_nothing_and_keeps_its_buttons() {
    let times = Times {
        promise_after: Duration::ZERO,
        token_life: Duration::ZERO,
        ..settings().times
    };
    let stage = Stage::with(Settings {
        times,
        ..settings()
    })
    .await;
    let late = FaultKind::Delay {
        ms: 300,
        when: ods::emulator::When::Before,
    };
    let faults = stage.place.emulator.faults();
    faults.add(Fault::new("GET /ephemeral-attachments/*", late));
    let body = json!({"command": "upload", "options": {"file": 0, "to": "Photos"}});
    let file = ("sea.jpg", &b"green"[..]);
    let told = stage
        .act_with_file(stage.admin, "commands", &body, file)
        .await;
    let told = told.expect("a command");
    assert_eq!(told["answer"]["type"], 5, "{told}");
    let asked = stage.hears(stage.member, "Replace it?").await;
    assert!(
        !asked.text.contains("sea") && !asked.text.contains("Photos"),
        "{asked:?}"
    );
    stage.press(stage.admin, &asked, "Leave it").await;
    let left = stage.hears(stage.member, "Nothing was replaced").await;
    assert!(left.buttons().is_empty() && left.id == asked.id, "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_long_jobs_are_enough_and_the_third_is_told_so() {
    let mut stage = Stage::new().await;
    stage.file("Photos", "sea.jpg", &noise(5, 300_000)).await;
    stage.flush().await;
    stage.start(settings()).await;
    let broken = FaultKind::Error {
        status: 503,
        body: ErrorBody::default(),
    };
    stage
        .place
        .emulator
        .faults()
        .add(Fault::new("GET /attachments/*", broken));
    let body = json!({"command": "verify", "options": {"full": true}});
    for _ in 0..2 {
        stage
            .act(stage.admin, "commands", &body)
            .await
            .expect("a command");
    }
    let third = stage
        .run(stage.admin, "verify", json!({"full": true}))
        .await;
    third.has(&["Two long jobs"]);
    // What only looks is answered meanwhile.
    stage
        .run(stage.admin, "status", json!({}))
        .await
        .has(&["main"]);
    stage.place.emulator.faults().clear();
}
