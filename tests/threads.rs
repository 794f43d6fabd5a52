//! More archives than a server may have active threads: the idle ones of ours make room, and nobody else's.

#[path = "support/discord.rs"]
mod discord;
#[path = "support/emulator_client.rs"]
mod emulator_client;
#[path = "support/objects.rs"]
mod objects;
#[path = "support/ods.rs"]
mod programs;

use discord::{Place, place_with};
use emulator_client::User;
use objects::object;
use ods::emulator::{Emulator, Fault, FaultKind, Limits, permission};
use ods::store::{Card, Error, Shelf, Store, discord::Discord};
use programs::{World, noise};
use serde_json::json;

const THREADS: &str = "/threads";
const ACTIVE: &str = "/threads/active";

fn active_at_most(emulator: &Emulator, active_threads_max: u64) {
    emulator.set_limits(Limits {
        active_threads_max,
        ..emulator.limits()
    });
}

/// A place that takes so many active threads, and forgets a nonce at once.
async fn place(active_threads_max: u64) -> Place {
    place_with(Limits {
        active_threads_max,
        nonce_window_s: 0,
        ..Limits::unlimited_rates()
    })
    .await
}

async fn shelf(store: &Discord, number: usize) -> Result<Shelf, Error> {
    let card = Card {
        title: format!("#051126-{number:02}"),
        ..Card::default()
    };
    store.shelf(&format!("label-{number}"), &card).await
}

/// The ids of the active threads.
async fn active(emulator: &Emulator) -> Vec<u64> {
    let path = format!("/guilds/{}/threads/active", emulator.guild_id());
    let listed = User::bot(emulator).get(&path).await.expect_status(200);
    let threads = listed.body["threads"].as_array().expect("threads").iter();
    threads.map(emulator_client::id_of).collect()
}

fn thread_of(shelf: &Shelf) -> u64 {
    let thread = shelf.0.split('/').nth(1).expect("a thread");
    thread.parse().expect("a number")
}

/// Threads that are none of the drive's to touch: somebody else's beside the archives, one of the bot's
/// elsewhere, and one that a person has locked.
async fn others(place: &Place) -> Vec<u64> {
    let emulator = &place.emulator;
    let make = async |user: &User, channel: u64| {
        let body = json!({"name": "talk", "type": 11});
        let made = user
            .post(&format!("/channels/{channel}/threads"), &body)
            .await;
        made.expect_status(201).id()
    };
    let bot = User::bot(emulator);
    let theirs = make(&User::member(emulator), place.archives).await;
    let elsewhere = make(&bot, emulator.channel_id()).await;
    let locked = make(&bot, place.archives).await;
    let lock = json!({"locked": true});
    let path = format!("/channels/{locked}");
    bot.patch(&path, &lock).await.expect_status(200);
    vec![theirs, elsewhere, locked]
}

#[tokio::test]
async fn idle_threads_of_ours_make_room_a_few_at_a_time_and_nobody_else_s() {
    let place = place(8).await;
    let (emulator, store) = (&place.emulator, place.store());
    let others = others(&place).await;
    emulator.reset_counts();
    let mut shelves = Vec::new();
    for number in 0..20 {
        let shelf = shelf(&store, number).await.expect("made");
        let name = format!("pack-{number}");
        let put = store.put(&shelf, vec![object(&name, 1000)]).await;
        put.expect("it is taken");
        shelves.push(shelf);
    }
    // Five places: the 6th, the 11th and the 16th find none, and the five before each of them go.
    assert_eq!(place.asked("POST", THREADS), 23);
    assert_eq!(place.asked("GET", ACTIVE), 3);
    assert_eq!(place.asked("PATCH", "/channels/{channel_id}"), 15);
    assert_eq!(place.asked("POST", "/messages"), 40);

    // Something is sent to one that sleeps, while there is no place to wake up in.
    let put = store.put(&shelves[0], vec![object("late", 1000)]).await;
    put.expect("it is taken");
    assert_eq!(place.asked("POST", "/messages"), 42);
    assert_eq!(place.asked("GET", ACTIVE), 4);
    let now = active(emulator).await;
    assert!(now.contains(&thread_of(&shelves[0])), "{now:?}");
    assert!(others.iter().all(|other| now.contains(other)), "{now:?}");
    for (number, shelf) in shelves.iter().enumerate() {
        let page = store.list(shelf, ods::store::Span::Newest).await;
        let names = page.expect("a page").entries.into_iter();
        let names: Vec<String> = names.map(|entry| entry.name).collect();
        assert!(names.contains(&format!("pack-{number}")), "{names:?}");
    }
}

#[tokio::test]
async fn those_that_were_written_to_lately_stay() {
    let place = place(12).await;
    let store = place.store();
    let mut shelves = Vec::new();
    for number in 0..12 {
        shelves.push(shelf(&store, number).await.expect("made"));
    }
    for busy in [0, 3] {
        let put = store.put(&shelves[busy], vec![object("pack", 1000)]).await;
        put.expect("it is taken");
    }
    shelves.push(shelf(&store, 12).await.expect("made"));
    let mut now = active(&place.emulator).await;
    now.sort_unstable();
    let mut stay: Vec<u64> = [0, 3, 12].map(|at| thread_of(&shelves[at])).to_vec();
    stay.sort_unstable();
    assert_eq!(now, stay);
}

#[tokio::test]
async fn many_at_once_make_room_once() {
    let place = place(12).await;
    let store = place.store();
    for number in 0..12 {
        shelf(&store, number).await.expect("made");
    }
    place.emulator.reset_counts();
    // All of them are refused before one of them has made room.
    let slow = FaultKind::Delay {
        ms: 100,
        when: ods::emulator::When::After,
    };
    let route = "POST /channels/{}/messages/{}/threads";
    place
        .emulator
        .faults()
        .add(Fault::new(route, slow).times(4));
    let (a, b, c, d) = tokio::join!(
        shelf(&store, 20),
        shelf(&store, 21),
        shelf(&store, 22),
        shelf(&store, 23)
    );
    for made in [a, b, c, d] {
        made.expect("made");
    }
    assert_eq!(place.asked("GET", ACTIVE), 1);
    assert_eq!(place.asked("PATCH", "/channels/{channel_id}"), 10);
}

#[tokio::test]
async fn where_nothing_of_ours_can_go_the_error_says_what_to_do_and_no_second_card_is_made() {
    let place = place(3).await;
    let store = place.store();
    let others = others(&place).await;
    place.emulator.reset_counts();
    for _ in 0..3 {
        let Err(Error::Refused { what }) = shelf(&store, 1).await else {
            panic!("there is no room");
        };
        assert!(
            what.contains("active threads") && what.contains("Close Thread"),
            "{what}"
        );
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(place.emulator.counts().messages, 1);
    assert_eq!(place.asked("PATCH", "/channels/{channel_id}"), 0);
    // A person does it.
    let closed = json!({"archived": true});
    let path = format!("/channels/{}", others[1]);
    User::bot(&place.emulator)
        .patch(&path, &closed)
        .await
        .expect_status(200);
    let made = shelf(&store, 1).await.expect("made");
    let put = store.put(&made, vec![object("pack", 1000)]).await;
    put.expect("it is taken");
    assert_eq!(place.asked("POST", "/messages"), 2);
}

#[tokio::test]
async fn its_own_threads_need_no_permission_to_manage_others() {
    let place = place(2).await;
    let store = place.store();
    let all = permission::BOT;
    let set = place
        .emulator
        .set_permissions(all & !permission::MANAGE_THREADS);
    set.expect("set");
    for number in 0..5 {
        shelf(&store, number).await.expect("made");
    }
}

#[test]
fn a_drive_with_more_archives_than_threads_drains_and_is_rebuilt() {
    let world = World::new();
    let machine = world.machine();
    machine.ods(&["init"]).good();
    active_at_most(&world.emulator, 5);
    machine.mount(&[]).good();
    let file = |number: u64, name: &str| machine.mnt().join(format!("dir-{number:02}")).join(name);
    let write = |number: u64, name: &str| {
        let path = file(number, name);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        std::fs::write(path, noise(number, 20_000)).expect("written");
    };
    (0..20).for_each(|number| write(number, "one"));
    machine.ods(&["flush"]).good();
    // Now every thread sleeps or is in use, and has to take more.
    (0..20).for_each(|number| write(number, "two"));
    machine.ods(&["flush"]).good();
    machine.ods(&["umount"]).good();
    assert!(world.run(active(&world.emulator)).len() <= 5);
    let counts = world.emulator.counts();
    let asked = |route: &str| counts.routes.get(route).copied().unwrap_or(0);
    // Each of 40 places costs a request to make room at most, and a refusal and a list per few of them.
    let rooms =
        asked("PATCH /channels/{channel_id}") + 2 * asked("GET /guilds/{guild_id}/threads/active");
    assert!((15..=80).contains(&rooms), "{rooms}: {:?}", counts.routes);

    std::fs::remove_dir_all(machine.path("state")).expect("removed");
    std::fs::remove_dir_all(machine.path("config")).expect("removed");
    machine.ods(&["init", "--join"]).good();
    machine.mount(&[]).good();
    for number in 0..20 {
        for name in ["one", "two"] {
            let read = std::fs::read(file(number, name)).expect("readable");
            assert!(read == noise(number, 20_000), "{number} {name}");
        }
    }
    machine.ods(&["umount"]).good();
}
