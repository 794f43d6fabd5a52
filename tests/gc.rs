//! Garbage collection: what nothing refers to leaves the store late and cheaply; what something refers to never does.
#![allow(
    clippy::cast_possible_truncation,
    clippy::unwrap_used,
    reason = "small numbers of a test, and what must not fail in it"
)]

#[path = "support/drives.rs"]
mod drives;
#[path = "support/garbage.rs"]
mod garbage;

use std::sync::Arc;

use drives::*;
use garbage::*;
use ods::drive::Access;
use ods::drive::Drive;
use ods::drive::Error;
use ods::drive::Look;
use ods::drive::gc::Amount;
use ods::drive::gc::Extent;
use ods::id::ArchiveNo;
use ods::id::InodeNo;
use ods::id::PackId;
use ods::index::archive::Archive;
use ods::index::chunk::PackPlace;
use ods::index::inode::Inode;
use ods::index::inode::Kind;
use ods::index::key;
use ods::store::Store;
use ods::store::faulty::Fault;
use ods::store::faulty::Rule;
use ods::store::faulty::Verb;
use tempfile::TempDir;

const MIB: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn what_nothing_refers_to_is_buried_and_removed_after_the_delay() {
    let world = World::new().await;
    let (dead, kept) = (create(&world.drive), create(&world.drive));
    fill(&world.drive, dead, &noise(1, 25 * MIB));
    flush(&world.drive).await;
    let its = world.packs();
    fill(&world.drive, kept, &noise(2, 3 * MIB));
    flush(&world.drive).await;
    let all = world.packs();
    remove(&world.drive, dead);
    let first = world.collect().await;
    let (dead_packs, removed) = (first.dead.packs, first.removed.packs);
    assert_eq!((dead_packs, removed), (its as u64, 0), "{first:?}");
    assert_eq!(first.waiting, first.dead);
    assert_eq!(first.next_s, Some(DAY_S));
    assert_eq!(world.packs(), all, "nothing is removed before the delay");
    world.pass(DAY_S - 1);
    let early = world.collect().await;
    assert_eq!((early.removed.packs, early.next_s), (0, Some(1)));
    assert_eq!(early.requests, 1, "nothing but a listing: {early:?}");
    world.pass(1);
    let late = world.collect().await;
    assert_eq!(late.removed, first.dead);
    assert_eq!((late.waiting, late.next_s), (Amount::default(), None));
    assert_eq!(world.packs(), all - its);
    let holding = &world.drive.status().unwrap().archives[0];
    assert_eq!(holding.packs, 1, "the archive's counts follow");
    assert!(content(&world.drive, kept).await == noise(2, 3 * MIB));
    let last = world.collect().await;
    assert_eq!((last.removed.packs, last.dead.packs), (0, 0));
    world.rebuilt(&[(kept, noise(2, 3 * MIB))]).await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_what_would_be_done_and_changes_nothing() {
    let world = World::new().await;
    let (dead, half) = (create(&world.drive), create(&world.drive));
    fill(&world.drive, dead, &noise(1, 12 * MIB));
    flush(&world.drive).await;
    fill(&world.drive, half, &noise(2, 20 * MIB));
    flush(&world.drive).await;
    remove(&world.drive, dead);
    truncate(&world.drive, half, 3 * MIB as u64);
    flush(&world.drive).await;
    let before = (world.keys(), world.packs());
    world.counted();
    let told = world.wish(true, None, Extent::Full).await;
    let counts = world.counted();
    assert_eq!(
        counts.puts + counts.removes + counts.gets + counts.shelves,
        0
    );
    assert_eq!((counts.describes, counts.pins), (0, 0));
    assert_eq!((world.keys(), world.packs()), before);
    assert_eq!((told.dead.packs, told.emptied.packs), (2, 3), "{told:?}");
    assert!(told.moved_bytes >= 3 * MIB as u64 && told.moved_bytes < 7 * MIB as u64);
    let done = world.collect().await;
    assert_eq!((done.dead, done.emptied), (told.dead, told.emptied));
    assert_eq!(done.moved_bytes, told.moved_bytes);
    assert!(done.requests <= told.requests, "{done:?} {told:?}");
    world.pass(DAY_S);
    let told = world.wish(true, None, Extent::Full).await;
    let done = world.collect().await;
    assert_eq!((done.removed.packs, done.removed), (5, told.removed));
    assert!(done.requests <= told.requests, "{done:?} {told:?}");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_alive_is_moved_out_of_what_is_mostly_dead() {
    let world = World::new().await;
    let ino = create(&world.drive);
    let mut bytes = noise(1, 40 * MIB);
    fill(&world.drive, ino, &bytes);
    flush(&world.drive).await;
    for at in (0..40 * MIB).step_by(8 * MIB) {
        zero(&world.drive, ino, at as u64, (at + 7 * MIB) as u64);
        bytes[at..at + 7 * MIB].fill(0);
    }
    flush(&world.drive).await;
    let before = world.packs();
    let report = world.collect().await;
    assert_eq!(report.emptied.packs, before, "{report:?}");
    assert!(report.complete && report.notes.is_empty());
    world.pass(DAY_S);
    world.collect().await;
    assert!(world.packs() < before);
    assert!(content(&world.drive, ino).await == bytes);
    world.rebuilt(&[(ino, bytes)]).await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_moved_travels_in_full_puts() {
    let world = World::new().await;
    let ino = create(&world.drive);
    fill(&world.drive, ino, &noise(1, 108 * MIB));
    flush(&world.drive).await;
    for at in (0..108 * MIB).step_by(12 * MIB) {
        zero(&world.drive, ino, at as u64, (at + 33 * MIB / 4) as u64);
    }
    flush(&world.drive).await;
    let (packs, puts) = (world.packs(), world.puts());
    let report = world.collect().await;
    assert_eq!(report.emptied.packs, packs, "{report:?}");
    let needed = report.moved_bytes.div_ceil(25 * MIB as u64);
    assert_eq!(world.puts() - puts, needed, "{report:?}");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_again_while_it_is_buried_is_stored_again() {
    let world = World::new().await;
    let bytes = noise(1, 3 * MIB);
    let old = create(&world.drive);
    write(&world.drive, old, 0, &bytes);
    flush(&world.drive).await;
    remove(&world.drive, old);
    // The same content comes back in the very epoch that buries what it was.
    let new = create(&world.drive);
    write(&world.drive, new, 0, &bytes);
    let report = world.collect().await;
    assert_eq!(report.dead.packs, 0, "it is referred to again");
    remove(&world.drive, new);
    assert_eq!(world.collect().await.dead.packs, 1);
    let again = create(&world.drive);
    write(&world.drive, again, 0, &bytes);
    flush(&world.drive).await;
    world.pass(DAY_S);
    assert_eq!(world.collect().await.removed.packs, 1);
    assert!(content(&world.drive, again).await == bytes);
    world.rebuilt(&[(again, bytes)]).await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_that_is_not_drained_and_a_file_without_a_name_keep_their_chunks() {
    let mut world = World::new().await;
    let bytes = noise(1, 6 * MIB);
    let (source, unnamed) = (create(&world.drive), create(&world.drive));
    fill(&world.drive, source, &bytes);
    fill(&world.drive, unnamed, &noise(2, 2 * MIB));
    flush(&world.drive).await;
    orphan(&world.drive, unnamed);
    let copy = create(&world.drive);
    clone(&world.drive, source, copy, bytes.len() as u64);
    remove(&world.drive, source);
    world.collect().await;
    world.pass(DAY_S);
    world.collect().await;
    world.forget_cache().await;
    assert!(content(&world.drive, copy).await == bytes);
    assert!(content(&world.drive, unnamed).await == noise(2, 2 * MIB));
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_made_while_garbage_is_collected_keeps_its_chunks() {
    let world = World::new().await;
    let bytes = noise(1, 30 * MIB);
    let mut source = create(&world.drive);
    fill(&world.drive, source, &bytes);
    flush(&world.drive).await;
    for round in 0..6 {
        let gate = Arc::new(tokio::sync::Semaphore::new(0));
        world
            .store
            .inner()
            .add(Rule::next(Verb::Put, Fault::Held(Arc::clone(&gate))));
        let drive = Arc::clone(&world.drive);
        let collecting = tokio::task::spawn_blocking(move || collect(&drive, 0));
        let copy = create(&world.drive);
        clone(&world.drive, source, copy, bytes.len() as u64);
        remove(&world.drive, source);
        gate.add_permits(1000);
        let report = collecting.await.unwrap();
        assert!(report.complete, "round {round}: {report:?}");
        world.store.inner().clear();
        source = copy;
    }
    flush(&world.drive).await;
    world.collect().await;
    world.rebuilt(&[(source, bytes)]).await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_an_older_state_reads_on_within_the_delay_and_is_told_after_it() {
    let world = World::new().await;
    let bytes = noise(1, 3 * MIB);
    let ino = create(&world.drive);
    fill(&world.drive, ino, &bytes);
    flush(&world.drive).await;
    let dirs = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let early = world.open_as(dirs[0].path(), Access::Read).await;
    let late = world.open_as(dirs[1].path(), Access::Read).await;
    remove(&world.drive, ino);
    assert_eq!(world.collect().await.dead.packs, 1);
    world.pass(DAY_S - 1);
    world.collect().await;
    assert!(content(&early, ino).await == bytes);
    world.pass(1);
    assert_eq!(world.collect().await.removed.packs, 1);
    let ahead = late.read_ahead();
    let error = late.read(ino, 0, 1000, &ahead).await.unwrap_err();
    assert!(error.to_string().contains("mount it again"), "{error}");
    early.close().await;
    late.close().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_messages_are_removed_with_each_call_and_no_request_is_wasted() {
    // One chunk fills a pack, ten packs a message.
    let world = World::with_limits(512 << 10, 10).await;
    let bytes = noise(1, (300 << 10) + 1000);
    let files: Vec<InodeNo> = (0..1000).map(|_| create(&world.drive)).collect();
    for (nth, ino) in files.iter().enumerate() {
        write(&world.drive, *ino, 0, &bytes[nth..nth + (300 << 10)]);
    }
    flush(&world.drive).await;
    let packs = world.packs();
    assert_eq!((packs, world.puts()), (1000, 100));
    files.iter().for_each(|ino| remove(&world.drive, *ino));
    flush(&world.drive).await;
    world.counted();
    let buried = world.collect().await;
    let counts = world.counted();
    assert_eq!(buried.dead.packs, packs);
    assert_eq!(
        (counts.puts, counts.gets, counts.removes),
        (1, 1, 0),
        "one epoch, and the end of its segment read back"
    );
    world.pass(DAY_S);
    world.counted();
    let swept = world.collect().await;
    let counts = world.counted();
    assert_eq!(swept.removed.packs, packs);
    assert_eq!(world.packs(), 0);
    assert_eq!((counts.removes, counts.remove_objects), (1, 1000));
    assert_eq!(
        (counts.puts, counts.gets),
        (2, 2),
        "an epoch before and one after, each read back"
    );
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn packs_that_no_epoch_told_of_are_found_and_removed() {
    let mut world = World::new().await;
    let kept = create(&world.drive);
    fill(&world.drive, kept, &noise(1, 3 * MIB));
    flush(&world.drive).await;
    let before = world.packs();
    // Another machine put packs for an epoch that never came, and is lost.
    let copy = TempDir::new().unwrap();
    copy_tree(world.dir.path(), copy.path());
    let lost = create(&world.drive);
    fill(&world.drive, lost, &noise(2, 25 * MIB));
    world.fail_after(Verb::Put, 2);
    world.flush_until_struck().await;
    world.drive.close().await;
    world.store.inner().clear();
    world.reopen(copy).await;
    let stray = world.packs() - before;
    assert!(stray > 0, "the test leaves orphans");
    let told = world.wish(true, None, Extent::Full).await;
    let found = world.collect().await;
    assert_eq!((found.orphans.packs, told.orphans.packs), (stray, stray));
    assert_eq!(world.collect().await.orphans.packs, 0, "they are known now");
    world.pass(DAY_S);
    assert_eq!(world.collect().await.removed.packs, stray);
    assert_eq!(world.packs(), before);
    world.rebuilt(&[(kept, noise(1, 3 * MIB))]).await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_in_a_place_of_another_store_is_left_alone_and_named() {
    let world = World::new().await;
    let kept = create(&world.drive);
    fill(&world.drive, kept, &noise(1, 3 * MIB));
    let foreign = PackId([7; 16]);
    let place = PackPlace {
        archive: ArchiveNo(0),
        bytes: 5,
        locator: b"elsewhere".to_vec(),
    };
    let put = world.drive.change(|change| -> Result<(), Error> {
        change.put(key::pack(&foreign), place.encode());
        Ok(())
    });
    put.expect("it is kept");
    flush(&world.drive).await;
    let packs = world.packs();
    for dry_run in [true, false] {
        let report = world.wish(dry_run, None, Extent::Full).await;
        assert!(report.complete, "{report:?}");
        let name = foreign.to_string();
        assert!(
            report.notes.iter().any(|note| note.contains(&name)),
            "{report:?}"
        );
        assert_eq!(report.dead.packs, 0);
    }
    assert_eq!(world.packs(), packs);
    assert!(
        world
            .keys()
            .iter()
            .any(|(key, _)| *key == key::pack(&foreign))
    );
    assert!(content(&world.drive, kept).await == noise(1, 3 * MIB));
    world.drive.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_went_with_its_shelf_is_not_counted_again() {
    let world = World::new().await;
    let (lost, dead, fresh) = (
        create(&world.drive),
        create(&world.drive),
        create(&world.drive),
    );
    fill(&world.drive, lost, &noise(1, 3 * MIB));
    flush(&world.drive).await;
    let (shelf, _) = world.memory.cards().into_iter().next().unwrap();
    world.memory.remove_shelf(&shelf).await.unwrap();
    // Putting something finds out.
    fill(&world.drive, fresh, &noise(2, 3 * MIB));
    flush(&world.drive).await;
    fill(&world.drive, dead, &noise(3, 3 * MIB));
    flush(&world.drive).await;
    let held = || world.drive.status().unwrap().archives[0].packs;
    assert_eq!(held(), 2, "what is on the new shelf");
    remove(&world.drive, dead);
    let report = world.collect().await;
    assert_eq!(report.dead.packs, 1, "{report:?}");
    assert_eq!(held(), 1);
    world.drive.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_slept_brings_back_nothing_that_was_removed() {
    let mut world = World::new().await;
    let bytes = noise(1, 3 * MIB);
    let ino = create(&world.drive);
    fill(&world.drive, ino, &bytes);
    flush(&world.drive).await;
    // Its spool still has the facts of its last epoch; it published everything.
    let slept = TempDir::new().unwrap();
    copy_tree(world.dir.path(), slept.path());
    world.drive.close().await;
    world.reopen(TempDir::new().unwrap()).await;
    remove(&world.drive, ino);
    world.collect().await;
    world.pass(DAY_S);
    assert_eq!(world.collect().await.removed.packs, 1);
    world.drive.close().await;
    world.reopen(slept).await;
    let again = create(&world.drive);
    write(&world.drive, again, 0, &bytes);
    flush(&world.drive).await;
    world.rebuilt(&[(again, bytes)]).await;
    world.close().await;
}

/// A top-level directory with an archive of its own, made without a filesystem.
fn archive(drive: &Drive) -> (InodeNo, ArchiveNo) {
    drive
        .change(|change| -> Result<_, Error> {
            let ino = InodeNo(change.next_number());
            let mut inode: Inode = change.inode(InodeNo::ROOT)?.unwrap();
            inode.archive = ods::drive::archive::create_archive(change, ino, b"directory")?;
            inode.kind = Kind::Directory;
            change.put_inode(ino, &inode);
            Ok((ino, inode.archive))
        })
        .unwrap()
}

fn create_in(drive: &Drive, archive: ArchiveNo) -> InodeNo {
    let ino = create(drive);
    drive
        .change(|change| -> Result<(), Error> {
            let mut inode = change.inode(ino)?.unwrap();
            inode.archive = archive;
            change.put_inode(ino, &inode);
            Ok(())
        })
        .unwrap();
    ino
}

fn remove_directory(drive: &Drive, ino: InodeNo, archive: ArchiveNo) {
    drive
        .change(|change| -> Result<(), Error> {
            change.delete(key::inode(ino));
            ods::drive::archive::remove_archive(change, archive)
        })
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_that_cannot_be_removed_is_an_error_and_removed_later() {
    let world = World::new().await;
    let (directory, no) = archive(&world.drive);
    let one = create_in(&world.drive, no);
    fill(&world.drive, one, &noise(1, MIB));
    flush(&world.drive).await;
    remove_directory(&world.drive, directory, no);
    remove(&world.drive, one);
    world.collect().await;
    world.pass(DAY_S);
    let shelves = world.shelves();
    for (fault, code) in [(Fault::Refused, false), (Fault::Unavailable, true)] {
        let store = world.store.inner();
        store.add(Rule::always(Verb::RemoveShelf, fault));
        let failed = world.tried(false, None, Extent::Full).await;
        assert!(
            matches!(&failed, Err(Error::Store(error)) if error.is_passing() == code),
            "{failed:?}"
        );
        store.clear();
        assert_eq!(world.shelves(), shelves);
    }
    let report = world.collect().await;
    assert_eq!(report.archives_removed, 1, "{report:?}");
    assert_eq!(world.shelves(), shelves - 1);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_archive_goes_with_its_thread_when_nothing_lives_in_it() {
    let world = World::new().await;
    let kept = create(&world.drive);
    fill(&world.drive, kept, &noise(9, MIB));
    let (directory, no) = archive(&world.drive);
    let (one, other) = (create_in(&world.drive, no), create_in(&world.drive, no));
    fill(&world.drive, one, &noise(1, 12 * MIB));
    flush(&world.drive).await;
    fill(&world.drive, other, &noise(2, MIB));
    flush(&world.drive).await;
    // The directory moved deeper: its archive counts as removed, but a file still belongs to it.
    remove_directory(&world.drive, directory, no);
    remove(&world.drive, one);
    world.collect().await;
    world.pass(DAY_S);
    let report = world.collect().await;
    assert_eq!(
        (report.archives_removed, report.removed.packs),
        (0, 2),
        "{report:?}"
    );
    assert!(content(&world.drive, other).await == noise(2, MIB));
    remove(&world.drive, other);
    world.collect().await;
    world.pass(DAY_S);
    let shelves = world.shelves();
    let told = world.wish(true, None, Extent::Full).await;
    assert_eq!(told.archives_removed, 1);
    world.counted();
    let report = world.collect().await;
    let counts = world.counted();
    assert_eq!(
        (report.archives_removed, report.removed.packs),
        (1, 1),
        "{report:?}"
    );
    assert_eq!(
        (counts.removes_shelf, counts.removes),
        (1, 0),
        "the thread takes all with it"
    );
    assert_eq!(world.shelves(), shelves - 1);
    let known = world.drive.view().get(&key::archive(no)).unwrap();
    assert!(
        known.is_none(),
        "{:?}",
        known.map(|value| Archive::decode(&value))
    );
    assert_eq!(world.drive.status().unwrap().archives.len(), 1);
    write(&world.drive, kept, 0, b"goes on");
    flush(&world.drive).await;
    let mut bytes = noise(9, MIB);
    bytes[..7].copy_from_slice(b"goes on");
    world.rebuilt(&[(kept, bytes)]).await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_done_unasked_once_a_day_and_costs_nothing_when_there_is_nothing() {
    let world = World::draining().await;
    let (dead, kept) = (create(&world.drive), create(&world.drive));
    fill(&world.drive, dead, &noise(1, 12 * MIB));
    flush(&world.drive).await;
    fill(&world.drive, kept, &noise(2, MIB));
    remove(&world.drive, dead);
    flush(&world.drive).await;
    let all = world.packs();
    world.counted();
    // The first day begins when it is looked for the first time.
    world.until(|| world.tended().is_some());
    world.pass(DAY_S);
    // What was kept lies in one pack of its own.
    world.until(|| world.keys_of(b'P') == 1 && world.is_waiting());
    assert_eq!(world.packs(), all);
    world.pass(DAY_S);
    world.until(|| world.packs() == 1 && world.keys_of(b'G') == 0);
    let spent = world.counted();
    assert_eq!(
        (spent.puts, spent.lists, spent.gets, spent.removes),
        (3, 5, 3, 1),
        "an epoch that buries, two that frame the sweep, each read back; the journal is looked at before the first of a day, too: {spent:?}"
    );
    let tended = world.tended();
    world.pass(DAY_S);
    world.counted();
    world.until(|| world.tended() != tended);
    world.drive.close().await;
    let spent = world.counted();
    assert_eq!(
        (spent.puts, spent.lists, spent.gets),
        (0, 0, 0),
        "{spent:?}"
    );
    world.rebuilt(&[(kept, noise(2, MIB))]).await;
}
