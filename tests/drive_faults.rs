//! The engine on a store that fails: nothing is lost, nothing is doubled, local data stays at hand.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]

#[path = "support/drives.rs"]
mod drives;

use std::sync::Arc;
use std::time::Duration;

use drives::*;
use ods::drive::Drive;
use ods::drive::Error;
use ods::drive::FileState;
use ods::drive::Settings;
use ods::store::Limits;
use ods::store::Locator;
use ods::store::Mark;
use ods::store::Shelf;
use ods::store::Span;
use ods::store::Store;
use ods::store::faulty::Fault;
use ods::store::faulty::Faulty;
use ods::store::faulty::Rule;
use ods::store::faulty::Verb;
use ods::store::memory::Memory;
use tempfile::TempDir;
use tokio::sync::Semaphore;

fn faulty() -> Arc<Faulty<Arc<Memory>>> {
    Arc::new(Faulty::new(store()))
}

/// Every object on every shelf that has a card.
async fn packs(store: &Memory) -> usize {
    let mut count = 0;
    for (shelf, _) in store.cards() {
        count += objects(store, &shelf).await;
    }
    count
}

async fn objects(store: &dyn Store, shelf: &Shelf) -> usize {
    store
        .list(shelf, Span::After(Mark(0)))
        .await
        .expect("the shelf can be listed")
        .entries
        .len()
}

async fn rebuilt(store: &Arc<Faulty<Arc<Memory>>>) -> (Arc<Drive>, TempDir) {
    let dir = TempDir::new().expect("a directory");
    (open(dir.path(), store).await, dir)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_neither_loses_nor_doubles_a_pack() {
    let (store, dir) = (faulty(), TempDir::new().unwrap());
    let drive = open(dir.path(), &store).await;
    let ino = create(&drive);
    let bytes = noise(1, 3 << 20);
    write(&drive, ino, 0, &bytes);
    store.add(Rule::next(Verb::Put, Fault::LostAnswer));
    flush(&drive).await;
    assert_eq!(store.struck(), 1);
    assert_eq!(packs(store.inner()).await, 1, "the pack is there once");
    drive.close().await;
    let (again, _dir) = rebuilt(&store).await;
    assert!(content(&again, ino).await == bytes);
    again.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_neither_loses_nor_doubles_an_epoch() {
    let (store, dir) = (faulty(), TempDir::new().unwrap());
    let drive = open(dir.path(), &store).await;
    let ino = create(&drive);
    write(
        &drive,
        ino,
        0,
        b"inline, so that the only put is the segment",
    );
    let before = objects(&*store, &store.journal()).await;
    store.add(Rule::next(Verb::Put, Fault::LostAnswer));
    flush(&drive).await;
    assert_eq!(store.struck(), 1);
    assert_eq!(
        objects(&*store, &store.journal()).await,
        before + 1,
        "one segment"
    );
    write(&drive, ino, 0, b"INLINE");
    flush(&drive).await;
    let expected = content(&drive, ino).await;
    drive.close().await;
    let (again, _dir) = rebuilt(&store).await;
    assert!(content(&again, ino).await == expected);
    again.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_was_kept_in_part_while_its_answer_was_lost_is_sent_again() {
    let (store, dir) = (faulty(), TempDir::new().unwrap());
    let drive = open(dir.path(), &store).await;
    let ino = create(&drive);
    write(&drive, ino, 0, b"inline: the only put is the segment");
    let look = Arc::new(Semaphore::new(0));
    store.add(Rule::next(Verb::Put, Fault::LostAnswer));
    // The look before the second attempt waits; before the first there is none, so soon after the opening.
    store.add(Rule::next(Verb::List, Fault::Held(Arc::clone(&look))));
    let flushing = flushing(&drive);
    while store.struck() < 2 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let (inner, journal) = (store.inner(), store.journal());
    let listed = inner.list(&journal, Span::After(Mark(0)));
    let last = listed.await.unwrap().entries.pop().unwrap();
    assert!(last.name.starts_with("s-"), "{last:?}");
    assert!(inner.tamper(&last.locator, |bytes| bytes.truncate(bytes.len() / 2)));
    look.add_permits(1);
    flushing.await.unwrap().expect("the flush works");
    let expected = content(&drive, ino).await;
    drive.close().await;
    let (again, _dir) = rebuilt(&store).await;
    assert!(content(&again, ino).await == expected);
    again.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_being_uploaded_takes_space_all_the_time() {
    let (store, dir) = (faulty(), TempDir::new().unwrap());
    let drive = open(dir.path(), &store).await;
    let ino = create(&drive);
    write(&drive, ino, 0, &noise(1, 3 << 20));
    let used = |drive: &Drive| drive.space().unwrap().used_bytes;
    assert_eq!(used(&drive), 3 << 20);
    let put = Arc::new(Semaphore::new(0));
    store.add(Rule::next(Verb::Put, Fault::Held(Arc::clone(&put))));
    let flushing = flushing(&drive);
    while store.struck() < 1 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(used(&drive), 3 << 20, "on its way");
    put.add_permits(1);
    flushing.await.unwrap().expect("the flush works");
    drive.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn packs_that_were_sent_before_a_kill_are_found_and_not_sent_again() {
    let (store, dir, copy) = (faulty(), TempDir::new().unwrap(), TempDir::new().unwrap());
    let drive = open(dir.path(), &store).await;
    let ino = create(&drive);
    let bytes = noise(2, 3 << 20);
    write(&drive, ino, 0, &bytes);
    // The pack is stored, its answer is lost, and from then on there is no network.
    store.add(Rule::next(Verb::Put, Fault::LostAnswer));
    store.add(Rule::always(Verb::Any, Fault::Unavailable));
    let late = Arc::clone(&drive);
    let mut patience = 5;
    let failed = tokio::task::spawn_blocking(move || {
        late.flush(|| {
            patience -= 1;
            patience > 0
        })
    });
    assert!(matches!(failed.await.unwrap(), Err(Error::Timeout(_))));
    drive.close().await;
    copy_tree(dir.path(), copy.path());
    drop(drive);
    store.clear();
    let again = open(copy.path(), &store).await;
    flush(&again).await;
    assert_eq!(
        packs(store.inner()).await,
        1,
        "the pack was found by its name"
    );
    assert!(content(&again, ino).await == bytes);
    again.close().await;
}

/// Where all packs are.
async fn locators(store: &Memory) -> Vec<Locator> {
    let mut all = Vec::new();
    for (shelf, _) in store.cards() {
        let page = store.list(&shelf, Span::After(Mark(0))).await;
        let entries = page.expect("the shelf can be listed").entries;
        all.extend(entries.into_iter().map(|entry| entry.locator));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_that_was_cut_while_its_end_was_read_at_a_kill_is_no_fact() {
    let (store, dir, copy) = (faulty(), TempDir::new().unwrap(), TempDir::new().unwrap());
    let drive = open(dir.path(), &store).await;
    let ino = create(&drive);
    let bytes = noise(2, 3 << 20);
    write(&drive, ino, 0, &bytes);
    // Its end is asked for, and no answer comes.
    let gate = Arc::new(Semaphore::new(0));
    store.add(Rule::always(Verb::Get, Fault::Held(Arc::clone(&gate))));
    let late = Arc::clone(&drive);
    let flushing = tokio::task::spawn_blocking(move || late.flush(|| true));
    while store.struck() == 0 {
        tokio::task::yield_now().await;
    }
    let packs = locators(store.inner()).await;
    assert_eq!(packs.len(), 1);
    assert!(store.inner().cut(&packs[0], 100));
    copy_tree(dir.path(), copy.path());
    store.clear();
    let again = open(copy.path(), &store).await;
    flush(&again).await;
    again.close().await;
    let (fresh, _dir) = rebuilt(&store).await;
    assert!(content(&fresh, ino).await == bytes);
    fresh.close().await;
    gate.add_permits(1 << 10);
    drop(flushing.await);
    drive.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_store_does_not_give_back_now_is_not_on_it_yet() {
    let (store, dir) = (faulty(), TempDir::new().unwrap());
    let drive = open(dir.path(), &store).await;
    let ino = create(&drive);
    let bytes = noise(4, 2 << 20);
    write(&drive, ino, 0, &bytes);
    store.add(Rule::always(Verb::Get, Fault::Unavailable));
    let late = Arc::clone(&drive);
    let waiting = tokio::task::spawn_blocking(move || {
        let is_unaware = || late.status().unwrap().last_error.is_none();
        late.flush(is_unaware)
    });
    assert!(matches!(waiting.await.unwrap(), Err(Error::Timeout(_))));
    assert!(drive.status().unwrap().unpublished);
    let packs = locators(store.inner()).await;
    assert!(store.inner().cut(&packs[0], 100));
    store.clear();
    flush(&drive).await;
    drive.close().await;
    let (fresh, _dir) = rebuilt(&store).await;
    assert!(content(&fresh, ino).await == bytes);
    fresh.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_store_local_data_is_at_hand_and_it_recovers_without_help() {
    let (store, dir) = (faulty(), TempDir::new().unwrap());
    let drive = open(dir.path(), &store).await;
    let ino = create(&drive);
    store.add(Rule::always(Verb::Any, Fault::Unavailable));
    let bytes = noise(3, 2 << 20);
    write(&drive, ino, 0, &bytes);
    let late = Arc::clone(&drive);
    let waiting = tokio::task::spawn_blocking(move || {
        let is_unaware = || late.status().unwrap().last_error.is_none();
        late.flush(is_unaware)
    });
    assert!(matches!(waiting.await.unwrap(), Err(Error::Timeout(_))));
    let status = drive.status().unwrap();
    assert!(
        status.last_error.is_some() && status.unpublished && status.dirty_bytes > 0,
        "{status:?}"
    );
    assert!(content(&drive, ino).await == bytes);
    assert_ne!(drive.file_state(ino), FileState::Remote);
    store.clear();
    flush(&drive).await;
    assert_eq!(drive.file_state(ino), FileState::Remote);
    assert_eq!(drive.status().unwrap().last_error, None);
    drive.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_smaller_limit_is_learnt_midway() {
    let (store, dir) = (faulty(), TempDir::new().unwrap());
    let drive = open(dir.path(), &store).await;
    let ino = create(&drive);
    let bytes = noise(4, 30 << 20);
    for (number, part) in (0..).zip(bytes.chunks(1 << 20)) {
        write(&drive, ino, number << 20, part);
    }
    store.add(Rule::next(Verb::Put, Fault::TooLarge(8 << 20)));
    flush(&drive).await;
    drive.close().await;
    let (again, _dir) = rebuilt(&store).await;
    assert!(content(&again, ino).await == bytes);
    again.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shelf_that_is_gone_gets_a_successor() {
    let (store, dir) = (faulty(), TempDir::new().unwrap());
    let drive = open(dir.path(), &store).await;
    let (first, second) = (create(&drive), create(&drive));
    write(&drive, first, 0, &noise(5, 1 << 20));
    flush(&drive).await;
    let (shelf, _) = store
        .inner()
        .cards()
        .into_iter()
        .next()
        .expect("an archive has a card");
    store.remove_shelf(&shelf).await.unwrap();
    let bytes = noise(6, 1 << 20);
    write(&drive, second, 0, &bytes);
    flush(&drive).await;
    drive.close().await;
    let (again, _dir) = rebuilt(&store).await;
    assert!(content(&again, second).await == bytes);
    again.close().await;
}

/// The answer says that the pack is kept, and so it was; meanwhile another pack found the shelf gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_pack_is_not_acknowledged_on_a_shelf_that_was_lost_meanwhile() {
    let limits = Limits {
        object_bytes_max: 2 << 20,
        objects_max: 1,
        put_bytes_max: 2 << 20,
        put_bytes_proven: 2 << 20,
    };
    let store = Arc::new(Faulty::new(Arc::new(Memory::new(limits))));
    let dir = TempDir::new().unwrap();
    let drive = open(dir.path(), &store).await;
    let first = create(&drive);
    write(&drive, first, 0, &noise(8, 4096));
    flush(&drive).await;
    let cards = store.inner().cards();
    let (shelf, _) = cards.first().expect("an archive has a card");

    let ino = create(&drive);
    let bytes = noise(9, 3 << 20);
    write(&drive, ino, 0, &bytes);
    let gate = Arc::new(Semaphore::new(0));
    store.add(Rule::next(Verb::Put, Fault::HeldAnswer(Arc::clone(&gate))));
    store.add(Rule::next(Verb::Put, Fault::Missing));
    let flushed = flushing(&drive);
    while store.inner().cards().len() < 2 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(store.struck(), 2);
    assert_eq!(objects(&**store.inner(), shelf).await, 2, "it was kept");
    store.remove_shelf(shelf).await.unwrap();
    gate.add_permits(1);
    flushed.await.expect("no panic").expect("it is published");
    drive.close().await;
    let (again, _dir) = rebuilt(&store).await;
    assert!(content(&again, ino).await == bytes);
    again.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_is_fetched_again_and_then_told() {
    let (store, dir) = (faulty(), TempDir::new().unwrap());
    let drive = open(dir.path(), &store).await;
    let ino = create(&drive);
    let bytes = noise(7, 1 << 20);
    write(&drive, ino, 0, &bytes);
    flush(&drive).await;
    drive.close().await;
    let (again, _dir) = rebuilt(&store).await;
    store.add(Rule::next(Verb::Get, Fault::FlippedBit));
    assert!(
        content(&again, ino).await == bytes,
        "the second answer was right"
    );
    assert_eq!(store.struck(), 1);
    again.close().await;

    let (third, _dir) = rebuilt(&store).await;
    store.add(Rule::always(Verb::Get, Fault::FlippedBit));
    store.add(Rule::always(Verb::GetAgain, Fault::FlippedBit));
    let ahead = third.read_ahead();
    let read = third.read(ino, 0, 4096, &ahead).await;
    assert!(matches!(read, Err(Error::Damaged(_))), "{read:?}");
    assert_eq!(third.file_state(ino), FileState::Damaged);
    third.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writing_again_heals_what_somebody_deleted_on_the_store() {
    let (store, dir) = (faulty(), TempDir::new().unwrap());
    let drive = open(dir.path(), &store).await;
    let (lost, other) = (create(&drive), create(&drive));
    let bytes = noise(8, 1 << 20);
    write(&drive, lost, 0, &bytes);
    flush(&drive).await;
    drive.close().await;
    drop(drive);
    let (shelf, _) = store.inner().cards().into_iter().next().expect("a card");
    store.remove_shelf(&shelf).await.unwrap();

    let (drive, _dir) = rebuilt(&store).await;
    let ahead = drive.read_ahead();
    let read = drive.read(lost, 0, 4096, &ahead).await;
    assert!(read.is_err(), "the pack is gone");
    assert_eq!(drive.file_state(lost), FileState::Damaged);
    write(&drive, other, 0, &bytes);
    flush(&drive).await;
    drive.close().await;
    let (again, _dir) = rebuilt(&store).await;
    assert!(content(&again, other).await == bytes);
    assert!(
        content(&again, lost).await == bytes,
        "the same chunks are there again"
    );
    again.close().await;
}

const MIB: usize = 1 << 20;

/// Writes more than the spool holds; tells how many mebibytes were kept before one was refused.
fn overfill(drive: &Drive) -> (u64, Option<Error>) {
    let ino = create(drive);
    for nth in 0..40 {
        if let Err(error) = try_write(drive, ino, nth * MIB as u64, &noise(nth, MIB)) {
            return (nth, Some(error));
        }
    }
    (40, None)
}

async fn open_with_little_room(
    dir: &TempDir,
    store: &Arc<Faulty<Arc<Memory>>>,
    write_timeout: Duration,
) -> Arc<Drive> {
    let settings = Settings {
        spool_bytes_max: 16 << 20,
        write_timeout,
        ..settings(dir.path())
    };
    let store: Arc<dyn Store> = Arc::clone(store) as Arc<dyn Store>;
    let drive = Drive::open(settings, DRIVE, keys(), store, &|_| {}).await;
    drive.expect("the drive opens")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passing_fault_of_the_store_does_not_refuse_a_write_into_a_full_spool() {
    let (store, dir) = (faulty(), TempDir::new().unwrap());
    let drive = open_with_little_room(&dir, &store, Duration::from_secs(3600)).await;
    flush(&drive).await;
    store.add(Rule {
        times: 3,
        ..Rule::next(Verb::Put, Fault::Unavailable)
    });
    let writer = Arc::clone(&drive);
    let (kept, refused) = tokio::task::spawn_blocking(move || overfill(&writer))
        .await
        .unwrap();
    assert!(refused.is_none(), "after {kept} MiB: {refused:?}");
    assert_eq!(store.struck(), 3, "the store was away");
    drive.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_stays_away_or_refuses_ends_the_wait_for_room() {
    for (fault, write_timeout) in [
        (Fault::Unavailable, Duration::from_millis(200)),
        // What does not pass by itself is not waited for.
        (Fault::Refused, Duration::from_secs(3600)),
    ] {
        let (store, dir) = (faulty(), TempDir::new().unwrap());
        let drive = open_with_little_room(&dir, &store, write_timeout).await;
        flush(&drive).await;
        store.add(Rule::always(Verb::Put, fault));
        let writer = Arc::clone(&drive);
        let (kept, refused) = tokio::task::spawn_blocking(move || overfill(&writer))
            .await
            .unwrap();
        assert!(matches!(refused, Some(Error::NoSpace)), "{refused:?}");
        assert!(kept >= 8, "{kept} MiB fitted into 16");
        let told = drive.status().unwrap().refusing.expect("it is told");
        assert!(told.contains("spool"), "{told}");
        store.clear();
        flush(&drive).await;
        let writer = Arc::clone(&drive);
        let (_, refused) = tokio::task::spawn_blocking(move || overfill(&writer))
            .await
            .unwrap();
        assert!(refused.is_none(), "{refused:?}");
        assert_eq!(drive.status().unwrap().refusing, None);
        drive.close().await;
    }
}
