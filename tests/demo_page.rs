//! `ods demo` as somebody without an account meets it: files are copied, a card appears on the page, its buttons
//! and the bot's commands answer.

#[path = "support/chromium.rs"]
mod chromium;
#[path = "support/ods.rs"]
mod support;

use chromium::Page;
use support::Machine;
use support::noise;
use support::until;

const WIDE: (u32, u32) = (1180, 800);

/// The address that the demo told.
fn address(said: &str) -> String {
    let (_, rest) = said.split_once("See it at ").expect("an address");
    rest.split_whitespace().next().expect("one").to_owned()
}

/// Turns to the person and the channel of these names.
async fn go(page: &mut Page, person: &str, channel: &str) {
    page.wait("document.querySelector('#me').options.length > 1")
        .await;
    page.value(&format!(
        "(() => {{ const me = document.querySelector('#me');
        me.value = [...me.options].find((one) => one.text === '{person}').value;
        me.dispatchEvent(new Event('change')); }})()"
    ))
    .await;
    let find = format!(
        "[...document.querySelectorAll('#channels button')]
        .find((one) => one.querySelector('.label').textContent === '{channel}')"
    );
    page.wait(&find).await;
    page.value(&format!("{find}.click()")).await;
    page.wait(&format!(
        "document.querySelector('#name').textContent === '{channel}'"
    ))
    .await;
}

#[test]
fn a_newcomer_copies_files_sees_the_card_presses_info_and_runs_a_command() {
    if !chromium::is_there() {
        return;
    }
    let machine = Machine::new();
    let (mnt, data, path) = (
        machine.mnt(),
        machine.path("data"),
        machine.path("seen.png"),
    );
    let text = |path: &std::path::Path| path.to_str().expect("text").to_owned();
    let mut demo = machine.start("ods", &["demo", &text(&mnt), "--data", &text(&data)]);
    demo.says("demo is mounted");
    // A card has buttons from its first change beside a bot on.
    until("the bot's commands", || {
        data.join("state/bot-commands").exists()
    });
    let url = address(&demo.err());
    std::fs::create_dir(mnt.join("holidays")).expect("a directory");
    for number in 0..3 {
        let file = mnt.join(format!("holidays/{number}.jpg"));
        std::fs::write(file, noise(number, 100_000)).expect("written");
    }
    machine.ods(&["flush"]).good();

    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let picture = runtime.block_on(async {
        let mut page = Page::open(&url, WIDE).await;
        go(&mut page, "owner", "ods-archives").await;
        let embed = "[...document.querySelectorAll('.embed')].find((one) => \
            ['State', 'stored', 'Files', '3'].every((word) => one.innerText.includes(word)))";
        page.wait(embed).await;
        let info = format!(
            "[...{embed}.closest('article').querySelectorAll('button')]
            .find((one) => one.textContent === 'Info')"
        );
        page.wait(&info).await;
        page.value(&format!("{info}.click()")).await;
        page.wait("document.querySelector('.whisper')?.innerText.includes('3 files')")
            .await;
        page.click("#text").await;
        page.write("/status").await;
        page.wait("!document.querySelector('#palette').hidden")
            .await;
        page.key("Enter").await;
        let whispers = "[...document.querySelectorAll('.whisper')]";
        page.wait(&format!(
            "{whispers}.some((one) => one.innerText.includes('everything is on Discord'))"
        ))
        .await;
        assert_eq!(page.faults, Vec::<String>::new());
        page.picture().await
    });
    std::fs::write(&path, &picture).expect("written");
    assert!(picture.starts_with(b"\x89PNG") && picture.len() > 10_000);
    demo.signal("INT");
    demo.ended().good();
}

#[test]
fn a_demo_without_a_bot_has_none() {
    let machine = Machine::new();
    let (mnt, data) = (machine.mnt(), machine.path("data"));
    let text = |path: &std::path::Path| path.to_str().expect("text").to_owned();
    let (at, kept) = (text(&mnt), text(&data));
    let told = |options: &[&str]| {
        let mut args = vec!["demo", &at, "--data", &kept];
        args.extend(options);
        let mut demo = machine.start("ods", &args);
        demo.says("demo is mounted");
        if options.is_empty() {
            until("the bot's commands", || {
                data.join("state/bot-commands").exists()
            });
        }
        demo.signal("INT");
        demo.ended().good();
    };
    told(&["-o", "nobot"]);
    assert!(!data.join("state/bot-commands").exists());
    told(&[]);
}
