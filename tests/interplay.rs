//! Parts of the drive that work at the same time or one after the other leave each other's work whole.
#![allow(clippy::unwrap_used, reason = "what must not fail in a test")]

#[path = "support/drives.rs"]
mod drives;
#[path = "support/garbage.rs"]
mod garbage;

use std::sync::Arc;
use std::time::Duration;

use drives::*;
use garbage::World;
use garbage::orphan;
use ods::codec::key::Keys;
use ods::codec::key::Secret;
use ods::codec::superblock::Cost;
use ods::codec::superblock::Superblock;
use ods::drive::Access;
use ods::drive::Drive;
use ods::drive::Error;
use ods::drive::Settings;
use ods::drive::repair;
use ods::drive::scope::Scope;
use ods::drive::superblock;
use ods::drive::task::Go;
use ods::drive::task::Task;
use ods::drive::verify::Depth;
use ods::id::InodeNo;
use ods::index::chunk::PackPlace;
use ods::index::key;
use ods::store::Entry;
use ods::store::Locator;
use ods::store::Store;
use ods::store::Urgency;
use ods::store::faulty::Fault;
use ods::store::faulty::Faulty;
use ods::store::faulty::Rule;
use ods::store::faulty::Verb;
use tempfile::TempDir;
use tokio::sync::Semaphore;

const MIB: usize = 1 << 20;

async fn repair(drive: &Arc<Drive>, depth: Depth, losses: repair::Losses) -> repair::Report {
    let drive = Arc::clone(drive);
    let wish = repair::Wish {
        scope: Scope::Drive,
        depth,
        losses,
        mode: repair::Mode::Repair,
        from: None,
    };
    let repaired =
        tokio::task::spawn_blocking(move || drive.repair(&wish, &Task::new(&|_| Go::On)));
    repaired.await.unwrap().unwrap()
}

/// The locators of the packs that the index knows.
fn locators(drive: &Drive) -> Vec<Locator> {
    let (from, to) = key::all(b'P');
    let rows = drive.view().scan(&from, &to, usize::MAX).unwrap();
    let place = |value: &[u8]| PackPlace::decode(value).unwrap();
    let mut found: Vec<_> = rows
        .iter()
        .map(|(_, value)| Locator(place(value).locator))
        .collect();
    found.sort();
    found
}

/// The Discord of a moment gives wrong bytes, twice; a moment later it is well.
async fn bad_moment(world: &World, ino: InodeNo) {
    let store = world.store.inner();
    store.add(Rule::always(Verb::Get, Fault::FlippedBit));
    store.add(Rule::always(Verb::GetAgain, Fault::FlippedBit));
    let read = world
        .drive
        .read(ino, 0, 4096, &world.drive.read_ahead())
        .await;
    assert!(matches!(read, Err(Error::Damaged(_))), "{read:?}");
    store.clear();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_after_a_passing_fault_drops_nothing() {
    for (depth, losses) in [
        (Depth::Full, repair::Losses::Keep),
        (Depth::Quick, repair::Losses::Keep),
        (Depth::Quick, repair::Losses::Forget),
    ] {
        let mut world = World::new().await;
        let (ino, copy) = (create(&world.drive), create(&world.drive));
        let bytes = noise(1, MIB);
        write(&world.drive, ino, 0, &bytes);
        flush(&world.drive).await;
        world.forget_cache().await;
        bad_moment(&world, ino).await;
        // Waits to be drained while the repair goes on.
        garbage::clone(&world.drive, ino, copy, MIB as u64);
        let report = repair(&world.drive, depth, losses).await;
        assert!(report.complete, "{report:?}");
        assert!(content(&world.drive, ino).await == bytes);
        assert!(content(&world.drive, copy).await == bytes);
        flush(&world.drive).await;
        world.rebuilt(&[(ino, bytes.clone()), (copy, bytes)]).await;
        world.drive.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_that_is_too_short_keeps_no_other_garbage_from_being_collected() {
    let mut world = World::new().await;
    let (broken, other) = (create(&world.drive), create(&world.drive));
    garbage::fill(&world.drive, broken, &noise(1, 6 * MIB));
    flush(&world.drive).await;
    let short = locators(&world.drive);
    garbage::fill(&world.drive, other, &noise(2, 6 * MIB));
    flush(&world.drive).await;
    world.forget_cache().await;
    for ino in [broken, other] {
        truncate(&world.drive, ino, 3 * MIB as u64 / 2);
    }
    flush(&world.drive).await;
    assert!(world.memory.tamper(&short[0], |bytes| bytes.truncate(100)));
    let report = world.collect().await;
    assert_eq!(
        (report.emptied.packs, report.notes.len()),
        (1, 1),
        "{report:?}"
    );
    assert!(content(&world.drive, other).await == noise(2, 6 * MIB)[..3 * MIB / 2]);
    world.drive.close().await;
}

/// The shelf of the drive's only archive is removed by hand.
async fn lose_shelf(world: &World) {
    let (shelf, _) = world.memory.cards().into_iter().next().unwrap();
    world.memory.remove_shelf(&shelf).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loss_that_is_found_after_the_drain_takes_nothing_that_is_still_here() {
    let mut world = World::new().await;
    let (old, fresh) = (create(&world.drive), create(&world.drive));
    garbage::fill(&world.drive, old, &noise(1, 6 * MIB));
    flush(&world.drive).await;
    truncate(&world.drive, old, 3 * MIB as u64 / 2);
    flush(&world.drive).await;
    world.forget_cache().await;
    let bytes = noise(2, MIB);
    write(&world.drive, fresh, 0, &bytes);
    // The collection's round begins to fetch once what is new has been put.
    let gate = Arc::new(Semaphore::new(0));
    let before = world.store.inner().struck();
    world
        .store
        .inner()
        .add(Rule::next(Verb::Get, Fault::Held(Arc::clone(&gate))));
    // The second put is that of what was moved.
    world.store.inner().add(Rule {
        verb: Verb::Put,
        skip: 1,
        times: 1,
        fault: Fault::Held(Arc::clone(&gate)),
    });
    let drive = Arc::clone(&world.drive);
    let collecting = tokio::task::spawn_blocking(move || garbage::collect(&drive, 3600));
    let store = Arc::clone(&world.store);
    world.until(|| store.inner().struck() == before + 1);
    gate.add_permits(1);
    world.until(|| store.inner().struck() == before + 2);
    lose_shelf(&world).await;
    gate.add_permits(1);
    collecting.await.unwrap();
    flush(&world.drive).await;
    world.forget_cache().await;
    assert!(content(&world.drive, fresh).await == bytes);
    world.drive.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_to_be_lost_is_stored_again_also_by_whoever_comes_later() {
    let mut world = World::new().await;
    let (old, other) = (create(&world.drive), create(&world.drive));
    let bytes = noise(1, MIB);
    write(&world.drive, old, 0, &bytes);
    flush(&world.drive).await;
    lose_shelf(&world).await;
    // Putting something finds out.
    write(&world.drive, other, 0, &noise(2, MIB));
    flush(&world.drive).await;
    world.forget_cache().await;
    let again = create(&world.drive);
    write(&world.drive, again, 0, &bytes);
    flush(&world.drive).await;
    world.forget_cache().await;
    assert!(content(&world.drive, again).await == bytes);
    assert!(content(&world.drive, old).await == bytes, "it has healed");
    assert!(content(&world.drive, other).await == noise(2, MIB));
    world.drive.close().await;
}

/// A file without a name that many small pieces were written to.
fn scattered(drive: &Drive, pieces: u64) -> InodeNo {
    let ino = create(drive);
    orphan(drive, ino);
    for piece in 0..pieces {
        write(drive, ino, piece * 10_000, &[1]);
    }
    ino
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_without_a_name_does_not_keep_others_from_changing() {
    let (store, dir) = (store(), TempDir::new().unwrap());
    let settings = Settings {
        changes_bytes_max: 100_000,
        ..settings(dir.path())
    };
    let store: Arc<dyn Store> = store;
    let drive = Drive::open(settings, DRIVE, keys(), store, &|_| {});
    let drive = drive.await.unwrap();
    let writer = Arc::clone(&drive);
    let unnamed = tokio::task::spawn_blocking(move || scattered(&writer, 2000));
    let unnamed = unnamed.await.unwrap();
    flush(&drive).await;
    create(&drive);
    let bytes = content(&drive, unnamed).await;
    assert_eq!(bytes.iter().filter(|byte| **byte == 1).count(), 2000);
    // It has to be possible to let go of it.
    garbage::remove(&drive, unnamed);
    flush(&drive).await;
    drive.close().await;
}

/// One more change that leaves nothing but records behind.
fn touch(drive: &Drive, keys: usize) -> Result<(), Error> {
    drive.change(|change| -> Result<(), Error> {
        for number in 0..keys {
            change.put(key::root(&format!("touched {number}")), vec![7; 1000]);
        }
        Ok(())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_without_any_room_left_is_published_all_the_same() {
    let world = Arc::new(Faulty::new(store()));
    let (store, dir) = (Arc::clone(&world), TempDir::new().unwrap());
    let opened = async || {
        let settings = Settings {
            spool_bytes_max: 8 << 20,
            write_timeout: Duration::ZERO,
            ..settings(dir.path())
        };
        let store: Arc<dyn Store> = Arc::clone(&store) as Arc<dyn Store>;
        Drive::open(settings, DRIVE, keys(), store, &|_| {}).await
    };
    let drive = opened().await.unwrap();
    flush(&drive).await;
    let (ino, bytes) = (create(&drive), noise(1, 3 * MIB));
    world.add(Rule::always(Verb::Any, Fault::Unavailable));
    write(&drive, ino, 0, &bytes);
    let toucher = Arc::clone(&drive);
    let touched = tokio::task::spawn_blocking(move || {
        // Down to the smallest change there is.
        let mut touched = 0;
        for keys in [500, 10, 1] {
            while touch(&toucher, keys).is_ok() {
                touched += 1;
            }
        }
        touched
    });
    assert!(touched.await.unwrap() > 100, "records are what fills it");
    assert!(matches!(touch(&drive, 1), Err(Error::NoSpace)));
    // The same after a restart.
    drive.close().await;
    drop(drive);
    world.clear();
    let drive = opened().await.unwrap();
    flush(&drive).await;
    touch(&drive, 1).unwrap();
    assert!(content(&drive, ino).await == bytes);
    flush(&drive).await;
    drive.close().await;
}

fn secret(text: &str) -> Secret {
    Secret::passphrase(String::from(text)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_does_not_bring_an_old_passphrase_back() {
    let (store, dir) = (store(), TempDir::new().unwrap());
    let (old, master, _) =
        Superblock::create(&secret("the old one"), Cost::LEAST, Vec::new()).unwrap();
    superblock::put(&*store, &old, &master).await.unwrap();
    let keys = Keys::derive(&master, old.drive());
    let shared: Arc<dyn Store> = Arc::clone(&store) as Arc<dyn Store>;
    let drive = Drive::open(settings(dir.path()), old.drive(), keys, shared, &|_| {});
    let drive = drive.await.unwrap();
    flush(&drive).await;
    // What this machine keeps is from before another one changed the passphrase.
    let pinned = store.pinned().await.unwrap();
    let is_superblock = |entry: &&Entry| Drive::is_superblock(&entry.name).is_some();
    let first = pinned.iter().find(is_superblock).unwrap();
    let copy = store.get(&first.locator, 0..first.bytes, Urgency::Foreground);
    let copy = copy.await.unwrap();
    std::fs::write(dir.path().join(superblock::COPY), copy).unwrap();
    let new = old.with_passphrase(&master, &secret("the new one"), Cost::LEAST);
    superblock::put(&*store, &new.unwrap(), &master)
        .await
        .unwrap();
    for found in superblocks(&*store).await {
        store.unpin(&found.locator).await.unwrap();
        if found.generation == 1 {
            store.remove(&[found.locator]).await.unwrap();
        }
    }
    let report = repair(&drive, Depth::Quick, repair::Losses::Keep).await;
    assert_eq!(
        (report.found.len(), report.left.len()),
        (1, 0),
        "{report:?}"
    );
    let found = superblocks(&*store).await;
    let newest = superblock::fetch(&*store, &found[0]).await.unwrap();
    assert!(newest.open(&secret("the new one")).is_ok());
    assert!(newest.open(&secret("the old one")).is_err());
    drive.close().await;
}

async fn superblocks(store: &dyn Store) -> Vec<superblock::Found> {
    superblock::find(store).await.unwrap()
}

#[test]
fn a_close_on_one_thread_ends_whatever_waits() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let world = World::new().await;
        let (dead, fresh) = (create(&world.drive), create(&world.drive));
        write(&world.drive, dead, 0, &noise(1, MIB));
        flush(&world.drive).await;
        garbage::remove(&world.drive, dead);
        write(&world.drive, fresh, 0, &noise(2, MIB));
        // The drain stands still; a collection and a repair wait for it.
        let gate = Arc::new(Semaphore::new(0));
        let before = world.store.inner().struck();
        world
            .store
            .inner()
            .add(Rule::always(Verb::Put, Fault::Held(Arc::clone(&gate))));
        let drive = Arc::clone(&world.drive);
        let collecting = tokio::task::spawn_blocking(move || {
            let wish = ods::drive::gc::Wish {
                dry_run: false,
                delay_s: None,
                extent: ods::drive::gc::Extent::Full,
            };
            drive.collect(&wish, &Task::new(&|_| Go::On))
        });
        let end = std::time::Instant::now() + Duration::from_secs(60);
        while world.store.inner().struck() == before {
            assert!(std::time::Instant::now() < end, "it does not come");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        world.drive.close().await;
        let collected = collecting.await.unwrap();
        assert!(matches!(collected, Err(Error::Closing)), "{collected:?}");
        world.store.inner().clear();
        let dir = TempDir::new().unwrap();
        copy_tree(world.dir.path(), dir.path());
        let again = world.open_as(dir.path(), Access::Write).await;
        flush(&again).await;
        again.close().await;
        assert!(
            world.store.pinned().await.unwrap().is_empty(),
            "the lease is given back"
        );
        world.rebuilt(&[(fresh, noise(2, MIB))]).await;
    });
}
