//! One suite that every store passes: what `Store` promises, tried on each of them.

#![allow(clippy::cast_possible_truncation, reason = "small numbers of a test")]

use std::collections::BTreeSet;

use ods::store::{
    Card, Entry, Error, Limits, Locator, Mark, NAME_CHARS_MAX, Object, Shelf, Span, Store,
    Urgency::{Background, Foreground},
    counting::Counting,
    faulty::{Fault, Faulty, Rule, Verb},
    memory::Memory,
};

#[path = "support/discord.rs"]
mod discord;
#[path = "support/objects.rs"]
mod objects;

use objects::{bytes_of, object, over_ten_mib};

const SMALL: usize = 1000;

macro_rules! suite {
    ($($test:ident)*) => {
        mod on_memory {
            $(#[tokio::test] async fn $test() { super::$test(&super::Memory::default()).await })*
        }
        mod on_counting {
            $(#[tokio::test] async fn $test() {
                super::$test(&super::Counting::new(super::Memory::default())).await;
            })*
        }
        mod on_faulty_without_faults {
            $(#[tokio::test] async fn $test() {
                super::$test(&super::Faulty::new(super::Memory::default())).await;
            })*
        }
        mod on_discord {
            $(#[tokio::test] async fn $test() {
                let place = super::discord::place().await;
                super::$test(&place.store()).await;
                assert_eq!(place.emulator.counts().cdn_with_authorization, 0);
            })*
        }
    };
}

suite! {
    what_is_put_is_read_back_whole_and_in_parts
    a_range_outside_the_object_is_refused
    a_listing_is_in_order_from_both_ends
    a_listing_of_many_puts_comes_in_pages
    a_put_that_is_repeated_is_one_put
    a_put_of_nothing_is_nothing
    impossible_puts_are_refused
    what_was_put_together_goes_together
    what_is_gone_is_missing
    a_name_can_be_put_again_after_its_removal
    pins_find_objects_of_the_journal
    shelves_are_apart_and_can_be_removed
    a_shelf_is_made_once_for_its_label
    the_journal_is_there_from_the_beginning
    many_calls_at_the_same_time
    the_status_counts
}

async fn put(store: &dyn Store, shelf: &Shelf, objects: &[Object]) -> Vec<Locator> {
    let locators = store.put(shelf, objects.to_vec()).await;
    let locators = locators.expect("the put is taken");
    assert_eq!(locators.len(), objects.len());
    locators
}

async fn entries(store: &dyn Store, shelf: &Shelf, span: Span) -> Vec<Entry> {
    let page = store.list(shelf, span).await.expect("a page");
    assert_eq!(page.next, None, "all on one page");
    page.entries
}

fn names(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.name.as_str()).collect()
}

fn card(title: &str) -> Card {
    Card {
        title: title.into(),
        fields: vec![("Files".into(), "3".into())],
        colour: 0x33_66_99,
        text: String::new(),
        actions: Vec::new(),
    }
}

async fn what_is_put_is_read_back_whole_and_in_parts(store: &dyn Store) {
    let objects = [object("a", 1), object("b-2.x", SMALL), object("C", 300_000)];
    let locators = put(store, &store.journal(), &objects).await;
    for (locator, object) in locators.iter().zip(&objects) {
        let whole = bytes_of(object);
        let end = whole.len() as u64;
        let middle = end / 2;
        for range in [
            0..end,
            0..1,
            end - 1..end,
            middle..middle + 1,
            1..end - 1,
            0..0,
            end..end,
        ] {
            let wanted = &whole[range.start as usize..range.end as usize];
            for urgency in [Foreground, Background] {
                let got = store.get(locator, range.clone(), urgency).await;
                assert_eq!(got.expect("readable"), wanted, "{range:?}");
            }
            let again = store.get_again(locator, range.clone()).await;
            assert_eq!(again.expect("readable"), wanted, "{range:?}");
        }
    }
}

async fn a_range_outside_the_object_is_refused(store: &dyn Store) {
    let locators = put(store, &store.journal(), &[object("a", SMALL)]).await;
    let end = entries(store, &store.journal(), Span::Newest).await[0].bytes;
    #[expect(clippy::reversed_empty_ranges, reason = "that is the test")]
    for range in [
        0..end + 1,
        end..end + 1,
        end + 5..end + 9,
        7..3,
        0..u64::MAX,
    ] {
        let got = store.get(&locators[0], range.clone(), Foreground).await;
        assert!(
            matches!(got, Err(Error::Broken { .. })),
            "{range:?}: {got:?}"
        );
        let got = store.get_again(&locators[0], range).await;
        assert!(matches!(got, Err(Error::Broken { .. })));
    }
}

async fn a_listing_is_in_order_from_both_ends(store: &dyn Store) {
    let shelf = store.shelf("label", &card("Archive")).await.expect("made");
    let puts: [&[Object]; 3] = [
        &[object("a", SMALL)],
        &[object("b", SMALL), object("c", 5), object("d", 9)],
        &[object("e", SMALL), object("f", 7)],
    ];
    let mut locators = Vec::new();
    for objects in puts {
        locators.extend(put(store, &shelf, objects).await);
    }
    let upwards = entries(store, &shelf, Span::After(Mark(0))).await;
    assert_eq!(names(&upwards), ["a", "b", "c", "d", "e", "f"]);
    let listed: Vec<_> = upwards.iter().map(|entry| entry.locator.clone()).collect();
    assert_eq!(
        listed, locators,
        "the listing gives the locators that the put gave"
    );
    let bytes = puts.iter().flat_map(|objects| objects.iter());
    assert!(
        upwards
            .iter()
            .zip(bytes)
            .all(|(entry, object)| entry.bytes == object.body.len())
    );
    let marks: Vec<_> = upwards.iter().map(|entry| entry.mark).collect();
    assert!(marks.is_sorted() && marks[0] > Mark(0));
    assert!(marks[1] == marks[3] && marks[0] != marks[1] && marks[3] != marks[4]);

    let downwards = entries(store, &shelf, Span::Newest).await;
    assert!(downwards.iter().eq(upwards.iter().rev()));
    let older = entries(store, &shelf, Span::Before(marks[4])).await;
    assert_eq!(names(&older), ["d", "c", "b", "a"]);
    let newer = entries(store, &shelf, Span::After(marks[0])).await;
    assert_eq!(names(&newer), ["b", "c", "d", "e", "f"]);
    assert!(
        entries(store, &shelf, Span::After(marks[5]))
            .await
            .is_empty()
    );
    assert!(
        entries(store, &shelf, Span::Before(marks[0]))
            .await
            .is_empty()
    );
}

async fn a_listing_of_many_puts_comes_in_pages(store: &dyn Store) {
    let shelf = store.journal();
    for number in 0..230 {
        put(store, &shelf, &[object(&format!("n{number}"), 1)]).await;
    }
    let wanted: Vec<_> = (0..230).map(|number| format!("n{number}")).collect();
    let (mut found, mut span) = (Vec::new(), Span::After(Mark(0)));
    loop {
        let page = store.list(&shelf, span).await.expect("a page");
        found.extend(page.entries.into_iter().map(|entry| entry.name));
        let Some(next) = page.next else { break };
        span = Span::After(next);
    }
    assert_eq!(found, wanted);
    let (mut found, mut span) = (Vec::new(), Span::Newest);
    loop {
        let page = store.list(&shelf, span).await.expect("a page");
        found.extend(page.entries.into_iter().map(|entry| entry.name));
        let Some(next) = page.next else { break };
        span = Span::Before(next);
    }
    assert!(found.iter().rev().eq(&wanted));
}

async fn a_put_that_is_repeated_is_one_put(store: &dyn Store) {
    let objects = [object("a", SMALL), object("b", SMALL)];
    let first = put(store, &store.journal(), &objects).await;
    let second = put(store, &store.journal(), &objects).await;
    assert_eq!(first, second);
    assert_eq!(
        entries(store, &store.journal(), Span::Newest).await.len(),
        2
    );
}

async fn a_put_of_nothing_is_nothing(store: &dyn Store) {
    assert!(put(store, &store.journal(), &[]).await.is_empty());
    assert!(
        entries(store, &store.journal(), Span::Newest)
            .await
            .is_empty()
    );
}

async fn impossible_puts_are_refused(store: &dyn Store) {
    let journal = store.journal();
    let Limits {
        object_bytes_max,
        objects_max,
        ..
    } = store.limits();
    let got = store.put(&journal, vec![over_ten_mib("large")]).await;
    let Err(Error::TooLarge { limit_bytes }) = got else {
        panic!("{got:?}");
    };
    assert_eq!(limit_bytes, object_bytes_max);

    let long = "x".repeat(NAME_CHARS_MAX + 1);
    for name in [
        "",
        ".hidden",
        "dot.",
        "sp ace",
        "slash/",
        "ä",
        "under_score",
        "a\"b",
        &long,
    ] {
        let got = store.put(&journal, vec![object(name, 1)]).await;
        assert!(
            matches!(got, Err(Error::Broken { .. })),
            "{name:?}: {got:?}"
        );
    }
    let got = store
        .put(&journal, vec![object("a", 1), object("a", 1)])
        .await;
    assert!(matches!(got, Err(Error::Broken { .. })));
    let many = (0..=objects_max).map(|number| object(&format!("n{number}"), 1));
    let got = store.put(&journal, many.collect()).await;
    assert!(matches!(got, Err(Error::Broken { .. })));
    assert!(entries(store, &journal, Span::Newest).await.is_empty());

    let longest = "x".repeat(NAME_CHARS_MAX);
    put(
        store,
        &journal,
        &[object(&longest, 1), object("-", 1), object("A.b-9", 1)],
    )
    .await;
    let listed = entries(store, &journal, Span::After(Mark(0))).await;
    assert_eq!(names(&listed), [&longest, "-", "A.b-9"]);
}

async fn what_was_put_together_goes_together(store: &dyn Store) {
    let journal = store.journal();
    let three = put(
        store,
        &journal,
        &[object("a", 1), object("b", 1), object("c", 1)],
    )
    .await;
    let one = put(store, &journal, &[object("d", 1)]).await;
    let two = put(store, &journal, &[object("e", 1), object("f", 1)]).await;
    store.remove(&three[..2]).await.expect("nothing to do");
    store.remove(&three[2..]).await.expect("nothing to do");
    store
        .remove(&[three[0].clone(), three[0].clone(), three[1].clone()])
        .await
        .expect("nothing");
    let listed = entries(store, &journal, Span::After(Mark(0))).await;
    assert_eq!(names(&listed), ["a", "b", "c", "d", "e", "f"]);

    let all_but_d = [&three[..], &two[..]].concat();
    store.remove(&all_but_d).await.expect("removed");
    let listed = entries(store, &journal, Span::Newest).await;
    assert_eq!(names(&listed), ["d"]);
    store
        .remove(&[&all_but_d[..], &one[..]].concat())
        .await
        .expect("those gone count as removed");
    store.remove(&one).await.expect("gone already");
    store.remove(&[]).await.expect("nothing");
    assert!(entries(store, &journal, Span::Newest).await.is_empty());
}

async fn what_is_gone_is_missing(store: &dyn Store) {
    let locators = put(store, &store.journal(), &[object("a", SMALL)]).await;
    store.remove(&locators).await.expect("removed");
    for got in [
        store.get(&locators[0], 0..1, Foreground).await,
        store.get_again(&locators[0], 0..1).await,
    ] {
        assert!(matches!(got, Err(Error::Missing { .. })), "{got:?}");
    }
}

async fn a_name_can_be_put_again_after_its_removal(store: &dyn Store) {
    let (old, new) = (object("a", SMALL), object("a", SMALL));
    let first = put(store, &store.journal(), &[old]).await;
    store.remove(&first).await.expect("removed");
    let second = put(store, &store.journal(), std::slice::from_ref(&new)).await;
    assert_ne!(first, second);
    let wanted = bytes_of(&new);
    let got = store
        .get(&second[0], 0..wanted.len() as u64, Foreground)
        .await;
    assert_eq!(got.expect("readable"), wanted);
}

async fn pins_find_objects_of_the_journal(store: &dyn Store) {
    let journal = store.journal();
    let pinned = async || {
        let pinned = store.pinned().await.expect("pins");
        pinned
            .into_iter()
            .map(|entry| entry.name)
            .collect::<Vec<_>>()
    };
    assert!(pinned().await.is_empty());
    let mut locators = Vec::new();
    for name in ["a", "b", "c", "d"] {
        locators.extend(put(store, &journal, &[object(name, 1)]).await);
    }
    // Order of arrival counts, not of pinning.
    for at in [2, 0, 3, 0] {
        store.pin(&locators[at]).await.expect("pinned");
    }
    assert_eq!(pinned().await, ["d", "c", "a"]);
    let listed = entries(store, &journal, Span::Newest).await;
    assert_eq!(store.pinned().await.expect("pins")[0], listed[0]);
    store.unpin(&locators[2]).await.expect("unpinned");
    store.unpin(&locators[1]).await.expect("was not pinned");
    store.remove(&locators[3..]).await.expect("removed");
    assert_eq!(pinned().await, ["a"]);
    let gone = store.pin(&locators[3]).await;
    assert!(matches!(gone, Err(Error::Missing { .. })), "{gone:?}");
    store.unpin(&locators[3]).await.expect("not pinned either");
}

async fn shelves_are_apart_and_can_be_removed(store: &dyn Store) {
    let first = store
        .shelf("first", &card("#051126-01"))
        .await
        .expect("made");
    let second = store
        .shelf("second", &card("#051126-02"))
        .await
        .expect("made");
    assert!(first != second && first != store.journal());
    let kept = put(store, &first, &[object("a", SMALL)]).await;
    put(store, &second, &[object("b", SMALL)]).await;
    assert_eq!(names(&entries(store, &first, Span::Newest).await), ["a"]);
    assert_eq!(names(&entries(store, &second, Span::Newest).await), ["b"]);
    assert!(
        entries(store, &store.journal(), Span::Newest)
            .await
            .is_empty()
    );
    store
        .describe(&first, &card("#051126-01, full"))
        .await
        .expect("described");

    store.remove_shelf(&first).await.expect("removed");
    store.remove_shelf(&first).await.expect("gone already");
    let listed = store.list(&first, Span::Newest).await;
    assert!(matches!(listed, Err(Error::Missing { .. })), "{listed:?}");
    let taken = store.put(&first, vec![object("c", 1)]).await;
    assert!(matches!(taken, Err(Error::Missing { .. })), "{taken:?}");
    let described = store.describe(&first, &card("x")).await;
    assert!(
        matches!(described, Err(Error::Missing { .. })),
        "{described:?}"
    );
    let read = store.get_again(&kept[0], 0..1).await;
    assert!(matches!(read, Err(Error::Missing { .. })), "{read:?}");
    store.remove(&kept).await.expect("gone already");
    assert_eq!(names(&entries(store, &second, Span::Newest).await), ["b"]);
    let journal = store.remove_shelf(&store.journal()).await;
    assert!(matches!(journal, Err(Error::Broken { .. })), "{journal:?}");
}

async fn a_shelf_is_made_once_for_its_label(store: &dyn Store) {
    let first = store.shelf("label", &card("Archive")).await.expect("made");
    let second = store.shelf("label", &card("Archive")).await.expect("there");
    let other = store.shelf("other", &card("Archive")).await.expect("made");
    assert!(first == second && first != other);
}

async fn the_journal_is_there_from_the_beginning(store: &dyn Store) {
    assert!(
        entries(store, &store.journal(), Span::Newest)
            .await
            .is_empty()
    );
    assert!(
        entries(store, &store.journal(), Span::After(Mark(0)))
            .await
            .is_empty()
    );
    assert_eq!(store.journal(), store.journal());
}

async fn many_calls_at_the_same_time(store: &dyn Store) {
    let shelf = store.shelf("label", &card("Archive")).await.expect("made");
    let work = (0..30).map(|number| {
        let shelf = if number % 2 == 0 {
            shelf.clone()
        } else {
            store.journal()
        };
        async move {
            let objects = [
                object(&format!("{number}.a"), 4000),
                object(&format!("{number}.b"), 9),
            ];
            let locators = put(store, &shelf, &objects).await;
            let whole = bytes_of(&objects[0]);
            let read = store
                .get(&locators[0], 5..whole.len() as u64, Foreground)
                .await;
            assert_eq!(read.expect("readable"), &whole[5..]);
            store.list(&shelf, Span::Newest).await.expect("a page");
            if number % 3 == 0 {
                store.remove(&locators).await.expect("removed");
            }
        }
    });
    futures_util::future::join_all(work).await;
    let mut found = entries(store, &shelf, Span::Newest).await;
    found.extend(entries(store, &store.journal(), Span::Newest).await);
    let found: BTreeSet<_> = names(&found).into_iter().map(String::from).collect();
    let kept = (0..30).filter(|number| number % 3 != 0);
    let wanted = kept.flat_map(|number| [format!("{number}.a"), format!("{number}.b")]);
    assert_eq!(found, wanted.collect());
}

async fn the_status_counts(store: &dyn Store) {
    let objects = [object("a", SMALL)];
    let locators = put(store, &store.journal(), &objects).await;
    let before = store.status();
    assert!(before.requests_total >= 1 && before.sent_bytes >= objects[0].body.len());
    store
        .get(&locators[0], 0..100, Foreground)
        .await
        .expect("readable");
    let status = store.status();
    assert!(status.requests_total > before.requests_total);
    assert!(status.received_bytes >= before.received_bytes + 100);
    let by_kind: u64 = status.requests_by_kind.iter().map(|(_, count)| count).sum();
    assert_eq!(by_kind, status.requests_total);
    assert!((0.0..=1.0).contains(&status.budget));
    assert_eq!((status.waiting, status.last_error), (None, None));
}

#[tokio::test]
async fn counting_counts() {
    let store = Counting::new(Memory::default());
    let journal = store.journal();
    let locators = put(&store, &journal, &[object("a", SMALL), object("b", 1)]).await;
    store
        .get(&locators[0], 0..10, Foreground)
        .await
        .expect("readable");
    store
        .get(&locators[0], 0..20, Background)
        .await
        .expect("readable");
    let counts = store.take();
    assert_eq!((counts.puts, counts.put_objects), (1, 2));
    assert_eq!(
        (counts.gets, counts.gets_foreground, counts.get_bytes),
        (2, 1, 30)
    );
    assert_eq!(store.counts(), ods::store::counting::Counts::default());
}

#[tokio::test]
async fn faulty_fails_as_told_and_only_then() {
    let store = Faulty::new(Memory::default());
    let journal = store.journal();
    let objects = vec![object("a", SMALL)];
    store.add(Rule {
        skip: 1,
        ..Rule::next(Verb::Put, Fault::Unavailable)
    });
    store.add(Rule::next(Verb::Put, Fault::LostAnswer));
    put(&store, &journal, &[object("passes", 1)]).await;
    for _ in 0..2 {
        let failed = store.put(&journal, objects.clone()).await;
        assert!(failed.is_err_and(|error| error.is_passing()));
    }
    assert_eq!(entries(&store, &journal, Span::Newest).await.len(), 2);
    let locators = put(&store, &journal, &objects).await;
    assert_eq!(entries(&store, &journal, Span::Newest).await.len(), 2);

    store.add(Rule::next(Verb::Get, Fault::FlippedBit));
    let whole = bytes_of(&objects[0]);
    let wrong = store
        .get(&locators[0], 0..9, Foreground)
        .await
        .expect("answers");
    assert!(wrong[0] == whole[0] ^ 1 && wrong[1..] == whole[1..9]);
    let right = store.get_again(&locators[0], 0..9).await.expect("answers");
    assert_eq!(right, whole[..9]);

    store.add(Rule::always(Verb::Any, Fault::Refused));
    for _ in 0..3 {
        let refused = store.list(&journal, Span::Newest).await;
        assert!(matches!(refused, Err(Error::Refused { .. })));
    }
    store.clear();
    assert!(store.pinned().await.is_ok());
    assert_eq!(store.struck(), 6);
}

#[tokio::test]
async fn faulty_holds_a_call_until_it_is_let_go() {
    let store = Faulty::new(Memory::default());
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    store.add(Rule::always(Verb::Put, Fault::Held(gate.clone())));
    let journal = store.journal();
    let held = store.put(&journal, vec![object("a", 1)]);
    let release = async {
        assert!(entries(&store, &journal, Span::Newest).await.is_empty());
        gate.add_permits(1);
    };
    let (locators, ()) = tokio::join!(held, release);
    assert_eq!(locators.expect("taken").len(), 1);
    assert_eq!(gate.available_permits(), 0);
}

#[tokio::test]
async fn memory_can_be_tampered_with_and_shows_its_cards() {
    let store = Memory::default();
    let locators = put(&store, &store.journal(), &[object("a", SMALL)]).await;
    assert!(store.tamper(&locators[0], |bytes| bytes.truncate(5)));
    let read = store.get(&locators[0], 0..5, Foreground).await;
    assert_eq!(read.expect("readable").len(), 5);
    assert!(!store.tamper(&Locator(vec![]), |_| ()));
    let shelf = store.shelf("label", &card("One")).await.expect("made");
    store
        .describe(&shelf, &card("Two"))
        .await
        .expect("described");
    assert_eq!(store.cards(), [(shelf, card("Two"))]);
}
