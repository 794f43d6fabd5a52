//! Cards on Discord: what they say, to whom, and what becomes of one that somebody removes.

#[path = "support/ods.rs"]
mod support;

use std::io::Read;
use std::io::Write;
use std::net::TcpStream;

use ods::emulator::Fault;
use ods::emulator::FaultKind;
use ods::emulator::Scope;
use ods::emulator::When;
use serde_json::Value;
use support::Machine;
use support::World;
use support::noise;
use support::until;

/// The messages of a channel that show an embed: the id of each, and the embed as text.
fn cards(world: &World, channel: &str) -> Vec<(u64, Value)> {
    let mut stream = TcpStream::connect(world.emulator.address()).expect("it listens");
    let request = format!(
        "GET /api/v10/channels/{channel}/messages?limit=100 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bot {}\r\nUser-Agent: DiscordBot (ods tests, 1)\r\n\r\n",
        world.emulator.token()
    );
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    let messages: Vec<Value> =
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"));
    let shown = |message: &Value| {
        let id = message["id"].as_str()?.parse().ok()?;
        Some((id, message["embeds"].get(0)?.clone()))
    };
    messages.iter().filter_map(shown).collect()
}

/// The cards of one archive.
fn of(world: &World, channel: &str, id: &str) -> Vec<(u64, Value)> {
    let mut cards = cards(world, channel);
    cards.retain(|(_, embed)| {
        embed["title"]
            .as_str()
            .is_some_and(|title| title.starts_with(id))
    });
    cards
}

fn field(embed: &Value, name: &str) -> String {
    let fields = embed["fields"].as_array().expect("fields");
    let found = fields.iter().find(|field| field["name"] == name);
    found
        .and_then(|field| field["value"].as_str())
        .unwrap_or_default()
        .to_owned()
}

fn archives_channel(machine: &Machine) -> String {
    let channels = machine.ods(&["channels", "--json"]).good().json();
    let channels = channels.as_array().expect("channels").iter();
    let mut found = channels.filter(|channel| channel["role"] == "archives");
    let found = found.next().expect("the archives");
    found["id"].as_str().expect("an id").to_owned()
}

/// A mounted drive with one archive, which a person described.
fn described(world: &World, options: &[&str]) -> (Machine, String) {
    let machine = world.machine();
    machine.ods(&["init"]).good();
    machine.mount(options).good();
    let dir = machine.mnt().join("Ufehleb5");
    std::fs::create_dir(&dir).expect("a directory");
    std::fs::write(dir.join("one"), "words ".repeat(100_000)).expect("written");
    std::fs::write(dir.join("two"), "words ".repeat(100_000)).expect("written");
    let words = [
        "--title",
        "Quahb2oo",
        "--tags",
        "eiGh1vie",
        "--description",
        "Thoo9aij",
    ];
    let mut args = vec!["describe", dir.to_str().expect("text"), "--json"];
    args.extend(words);
    let told = machine.ods(&args).good().json();
    machine.ods(&["flush"]).good();
    let id = told[0]["id"].as_str().expect("an id").to_owned();
    (machine, id)
}

#[test]
fn a_card_has_numbers_for_everybody_and_words_for_nobody() {
    let world = World::new();
    let (machine, id) = described(&world, &[]);
    machine.ods(&["umount"]).good();
    let channel = archives_channel(&machine);
    let found = of(&world, &channel, &id);
    let [(_, embed)] = &found[..] else {
        panic!("{found:?}");
    };
    assert_eq!(
        (field(embed, "Files"), field(embed, "Lot")),
        ("2".into(), "1".into())
    );
    assert_eq!(
        (field(embed, "State"), field(embed, "Packs")),
        ("stored".into(), "1".into())
    );
    assert!(field(embed, "Created").starts_with("<t:"), "{embed}");
    assert!(field(embed, "Changed").ends_with(":R>"), "{embed}");
    assert!(
        field(embed, "Saved").contains("by deduplication"),
        "{embed}"
    );
    assert!(field(embed, "Saved").contains("by compression"), "{embed}");
    assert!(embed["color"].as_u64() > Some(0), "{embed}");
    let all = format!("{:?}", cards(&world, &channel));
    for word in ["Ufehleb5", "Quahb2oo", "eiGh1vie", "Thoo9aij"] {
        assert!(!all.contains(word), "{word} in {all}");
    }
}

#[test]
fn a_card_has_the_words_too_where_the_user_opted_in() {
    let world = World::new();
    let (machine, id) = described(&world, &["-o", "names"]);
    machine.ods(&["umount"]).good();
    let found = of(&world, &archives_channel(&machine), &id);
    let [(_, embed)] = &found[..] else {
        panic!("{found:?}");
    };
    assert_eq!(embed["title"].as_str(), Some(&*format!("{id} Quahb2oo")));
    assert_eq!(field(embed, "Tags"), "eiGh1vie");
    assert_eq!(embed["description"].as_str(), Some("Thoo9aij"));
}

#[test]
fn a_card_that_was_removed_by_hand_is_made_again_once_and_its_packs_stay() {
    let world = World::new();
    let (machine, id) = described(&world, &[]);
    let channel = archives_channel(&machine);
    let number: u64 = channel.parse().expect("a number");
    let file = |name: &str| machine.mnt().join("Ufehleb5").join(name);
    let first = of(&world, &channel, &id);
    assert_eq!(first.len(), 1);
    world
        .emulator
        .delete_message(number, first[0].0)
        .expect("deleted");
    assert_eq!(of(&world, &channel, &id).len(), 0);

    std::fs::write(file("three"), "three").expect("written");
    machine.ods(&["flush"]).good();
    machine.ods(&["umount"]).good();
    let again = of(&world, &channel, &id);
    assert_eq!(again.len(), 1, "{again:?}");
    assert_ne!(again[0].0, first[0].0);
    assert_eq!(field(&again[0].1, "Files"), "3");
    assert!(field(&again[0].1, "Thread").starts_with("<#"), "{again:?}");

    // Not once more by the next mount, nor by another machine.
    machine.mount(&[]).good();
    std::fs::write(file("four"), "four").expect("written");
    machine.ods(&["umount"]).good();
    let same = of(&world, &channel, &id);
    assert_eq!((same.len(), same[0].0), (1, again[0].0), "{same:?}");
    assert_eq!(field(&same[0].1, "Files"), "4");
    std::fs::remove_dir_all(machine.path("state")).expect("removed");
    std::fs::remove_dir_all(machine.path("config")).expect("removed");
    machine.ods(&["init", "--join"]).good();
    machine.mount(&[]).good();
    std::fs::write(file("five"), "five").expect("written");
    machine.ods(&["flush"]).good();
    assert_eq!(std::fs::read(file("three")).expect("read"), b"three");
    machine.ods(&["verify", "--full"]).good();
    machine.ods(&["umount"]).good();
    let same = of(&world, &channel, &id);
    assert_eq!((same.len(), same[0].0), (1, again[0].0), "{same:?}");
    assert_eq!(field(&same[0].1, "Files"), "5");
}

/// Waits until the only card of an archive is as it should be.
fn card_when(world: &World, channel: &str, id: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let mut found = Value::Null;
    until("the card as it should be", || {
        let cards = of(world, channel, id);
        assert_eq!(cards.len(), 1, "{cards:?}");
        found = cards[0].1.clone();
        is_so(&found)
    });
    found
}

#[test]
fn a_card_that_was_edited_too_often_is_right_afterwards() {
    let world = World::new();
    let (machine, id) = described(&world, &[]);
    let channel = archives_channel(&machine);
    let edits = FaultKind::RateLimited {
        scope: Scope::User,
        retry_after_s: 1.0,
        remaining: 3,
        code: Some(30046),
    };
    let route = format!("PATCH /channels/{channel}/messages/{{}}");
    let fault = Fault::new(&route, edits).times(2);
    let fault = world.emulator.faults().add(fault);
    let file = machine.mnt().join("Ufehleb5/three");
    std::fs::write(file, "three").expect("written");
    machine.ods(&["flush"]).good();
    let is_right = |card: &Value| field(card, "Files") == "3" && field(card, "State") == "stored";
    card_when(&world, &channel, &id, is_right);
    assert_eq!(world.emulator.faults().met(fault), 2);
    machine.ods(&["umount"]).good();
}

#[test]
fn a_card_shows_how_far_the_upload_is() {
    let world = World::new();
    let machine = world.machine();
    machine.ods(&["init"]).good();
    machine.mount(&[]).good();
    let channel = archives_channel(&machine);
    let write = |number: u64, bytes: usize| {
        let dir = machine.mnt().join(format!("dir-{number}"));
        std::fs::create_dir_all(&dir).expect("a directory");
        std::fs::write(dir.join(bytes.to_string()), noise(number, bytes)).expect("written");
    };
    (0..4).for_each(|number| write(number, 1000));
    machine.ods(&["flush"]).good();
    // Each archive has a message of its own, which takes longer than a card has to rest.
    let slow = FaultKind::Delay {
        ms: 6000,
        when: When::Before,
    };
    let fault = Fault::new("POST /channels/{}/messages", slow);
    world.emulator.faults().add(fault);
    (0..4).for_each(|number| write(number, 3 << 20));
    let flush = machine.start("ods", &["flush"]);
    let states = || -> Vec<String> {
        let cards = cards(&world, &channel).into_iter();
        cards.map(|(_, embed)| field(&embed, "State")).collect()
    };
    let mut shown = None;
    until("a bar on a card", || {
        shown = states().into_iter().find(|state| state.contains('▰'));
        shown.is_some()
    });
    let state = shown.expect("a bar");
    let signs = state.chars().filter(|sign| "▰▱".contains(*sign)).count();
    assert!(
        signs == 10 && state.starts_with("uploading ▰") && state.ends_with(" %"),
        "{state}"
    );
    world.emulator.faults().clear();
    flush.ended().good();
    until("stored on every card", || {
        states().iter().all(|state| state == "stored")
    });
    assert_eq!(states().len(), 4);
    machine.ods(&["umount"]).good();
}
