//! The engine when a machine, its index, its disk or its place as the only writer is lost, each at the worst moment.
#![allow(
    clippy::cast_possible_truncation,
    clippy::unwrap_used,
    reason = "small numbers of a test, and what must not fail in it"
)]

#[path = "support/drives.rs"]
mod drives;

use std::path::Path;
use std::sync::Arc;

use drives::*;
use ods::drive::Access;
use ods::drive::Drive;
use ods::drive::Error;
use ods::drive::Settings;
use ods::drive::Takeover;
use ods::drive::scope::Scope;
use ods::drive::task::Go;
use ods::drive::task::Task;
use ods::drive::verify;
use ods::id::InodeNo;
use ods::index::key;
use ods::store::Entry;
use ods::store::Limits;
use ods::store::Mark;
use ods::store::Span;
use ods::store::Store;
use ods::store::faulty::Fault;
use ods::store::faulty::Faulty;
use ods::store::faulty::Rule;
use ods::store::faulty::Verb;
use ods::store::memory::Memory;
use tempfile::TempDir;

async fn open_as<S: Store>(settings: Settings, store: &Arc<S>) -> Result<Arc<Drive>, Error> {
    let store: Arc<dyn Store> = Arc::clone(store) as Arc<dyn Store>;
    Drive::open(settings, DRIVE, keys(), store, &|_| {}).await
}

fn reading(dir: &Path) -> Settings {
    Settings {
        access: Access::Read,
        ..settings(dir)
    }
}

fn forced(dir: &Path) -> Settings {
    Settings {
        takeover: Takeover::Force,
        ..settings(dir)
    }
}

fn copied(dir: &TempDir) -> TempDir {
    let copy = TempDir::new().unwrap();
    copy_tree(dir.path(), copy.path());
    copy
}

/// Publishes so many epochs, each with a change.
async fn publish(drive: &Arc<Drive>, ino: InodeNo, epochs: u64) {
    for number in 0..epochs {
        write(drive, ino, number * 8, &number.to_le_bytes());
        flush(drive).await;
    }
}

/// Flushes until the store has failed once; tells how that ended.
async fn flush_until_struck<S: Store>(
    drive: &Arc<Drive>,
    store: &Arc<Faulty<S>>,
) -> Result<(), Error> {
    let (drive, store) = (Arc::clone(drive), Arc::clone(store));
    let before = store.struck();
    tokio::task::spawn_blocking(move || drive.flush(|| store.struck() == before))
        .await
        .unwrap()
}

async fn journal(store: &dyn Store) -> Vec<Entry> {
    let (mut found, mut span) = (Vec::new(), Span::After(Mark(0)));
    loop {
        let page = store.list(&store.journal(), span).await.unwrap();
        found.extend(page.entries);
        match page.next {
            Some(next) => span = Span::After(next),
            None => return found,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_of_very_many_small_files_is_sent() {
    let (store, dir) = (store(), TempDir::new().unwrap());
    let drive = open(dir.path(), &store).await;
    let bytes = noise(1, 20_000 + 600);
    let files: Vec<InodeNo> = (0..20_000).map(|_| create(&drive)).collect();
    for (at, ino) in files.iter().enumerate() {
        write(&drive, *ino, 0, &bytes[at..at + 600]);
    }
    flush(&drive).await;
    let copy = copied(&dir);
    drive.close().await;
    for dir in [copy, TempDir::new().unwrap()] {
        let again = open(dir.path(), &store).await;
        for at in [0, 9_999, 19_999] {
            assert_eq!(content(&again, files[at]).await, bytes[at..at + 600]);
        }
        again.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_lost_after_a_checkpoint_does_not_bring_back_what_was_published() {
    let (store, dir, other) = (store(), TempDir::new().unwrap(), TempDir::new().unwrap());
    let drive = open(dir.path(), &store).await;
    let (small, big) = (create(&drive), create(&drive));
    write(&drive, big, 0, &noise(1, 3 << 20));
    publish(&drive, small, 10).await;
    drive.close().await;
    drop(drive);
    let second = open(other.path(), &store).await;
    write(&second, big, 0, b"newer");
    publish(&second, small, 10).await;
    let (expected, number) = (content(&second, big).await, create(&second));
    flush(&second).await;
    second.close().await;

    let copy = copied(&dir);
    std::fs::remove_dir_all(copy.path().join("index")).unwrap();
    let again = open(copy.path(), &store).await;
    assert!(
        !again.status().unwrap().unpublished,
        "nothing is left to publish"
    );
    assert!(content(&again, big).await == expected);
    assert!(create(&again).0 > number.0, "no number is given twice");
    flush(&again).await;
    again.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_that_is_killed_anywhere_forgets_nothing() {
    // So many epochs of another machine follow the newest checkpoint.
    for tail in [0, 2] {
        let store = Arc::new(Faulty::new(store()));
        let (dir, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let drive = open(dir.path(), &store).await;
        let (small, big) = (create(&drive), create(&drive));
        write(&drive, big, 0, &noise(1, 3 << 20));
        publish(&drive, small, 10).await;
        drive.close().await;
        drop(drive);
        let second = open(other.path(), &store).await;
        write(&second, big, 0, b"newer");
        publish(&second, small, 10 + tail).await;
        let expected = content(&second, big).await;
        second.close().await;
        let mut kills = 0;
        loop {
            let copy = copied(&dir);
            std::fs::remove_dir_all(copy.path().join("index")).unwrap();
            store.add(Rule {
                verb: Verb::Get,
                skip: kills,
                times: u64::MAX,
                fault: Fault::Unavailable,
            });
            let killed = try_open(copy.path(), &store).await;
            store.clear();
            let is_killed = killed.is_err();
            if let Ok(drive) = killed {
                drive.close().await;
            }
            let again = open(copied(&copy).path(), &store).await;
            let status = again.status().unwrap();
            assert!(!status.unpublished, "{kills}: nothing is left to publish");
            assert!(status.damaged.is_empty(), "{kills}: {:?}", status.damaged);
            assert!(content(&again, big).await == expected, "{kills}");
            again.close().await;
            if !is_killed {
                break;
            }
            kills += 1;
        }
        assert!(kills > tail, "{kills}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_is_noticed_by_whoever_goes_on_with_a_rebuild() {
    let store = Arc::new(Faulty::new(store()));
    let (dir, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let drive = open(dir.path(), &store).await;
    let ino = create(&drive);
    flush(&drive).await;
    write(&drive, ino, 0, b"mine");
    drive.close().await;
    drop(drive);
    let second = open_as(forced(other.path()), &store).await.unwrap();
    publish(&second, ino, 12).await;
    second.close().await;
    let copy = copied(&dir);
    std::fs::remove_dir_all(copy.path().join("index")).unwrap();
    // The checkpoint is read, and what follows it is not.
    store.add(Rule {
        verb: Verb::Get,
        skip: 1,
        times: u64::MAX,
        fault: Fault::Unavailable,
    });
    let killed = try_open(copy.path(), &store).await;
    assert!(matches!(killed, Err(Error::Store(_))), "{killed:?}");
    store.clear();
    let again = try_open(copy.path(), &store).await;
    assert!(matches!(again, Err(Error::Forked(_))), "{again:?}");
}

/// What can become of a segment on its way to the disk of the store.
type Harm = fn(&mut Vec<u8>);

#[tokio::test(flavor = "multi_thread")]
async fn an_own_segment_that_was_not_kept_whole_is_sent_again_after_a_kill() {
    let harms: [Harm; 3] = [
        |bytes| bytes.truncate(bytes.len() / 2),
        |bytes| bytes[200] ^= 1,
        Vec::clear,
    ];
    for harm in harms {
        let (store, dir, fresh) = (store(), TempDir::new().unwrap(), TempDir::new().unwrap());
        let drive = open(dir.path(), &store).await;
        let ino = create(&drive);
        publish(&drive, ino, 3).await;
        write(&drive, ino, 0, &noise(1, 100_000));
        drive.sync().unwrap();
        let killed = copied(&dir);
        flush(&drive).await;
        let mut last = journal(&*store).await.into_iter();
        let last = last.rfind(|entry| entry.name.starts_with("s-")).unwrap();
        assert!(store.tamper(&last.locator, harm));
        let again = open(killed.path(), &store).await;
        assert!(content(&again, ino).await == noise(1, 100_000));
        flush(&again).await;
        again.close().await;
        drive.close().await;
        let rebuilt = open(fresh.path(), &store).await;
        assert!(content(&rebuilt, ino).await == noise(1, 100_000));
        rebuilt.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_of_another_machine_that_was_not_kept_whole_stays() {
    let store = Arc::new(Faulty::new(store()));
    let (dir, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let drive = open(dir.path(), &store).await;
    let ino = create(&drive);
    publish(&drive, ino, 2).await;
    write(&drive, ino, 0, b"mine");
    drive.close().await;
    drop(drive);
    let second = open_as(forced(other.path()), &store).await.unwrap();
    write(&second, ino, 0, b"theirs");
    flush(&second).await;
    second.close().await;
    let last = journal(&*store).await.pop().unwrap();
    assert!(last.name.starts_with("s-"), "{last:?}");
    assert!(store.inner().tamper(&last.locator, Vec::clear));
    let copy = copied(&dir);
    // The second time its own lease is there, from the first time.
    for rule in [Some(Fault::Unavailable), None] {
        store.clear();
        if let Some(fault) = rule {
            store.add(Rule::always(Verb::Get, fault));
        }
        let refused = try_open(copy.path(), &store).await;
        assert!(refused.is_err(), "{refused:?}");
    }
    let left = journal(&*store).await;
    assert!(left.iter().any(|entry| entry.locator == last.locator));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_is_noticed_although_the_index_is_lost() {
    let (store, dir, other) = (store(), TempDir::new().unwrap(), TempDir::new().unwrap());
    let drive = open(dir.path(), &store).await;
    let ino = create(&drive);
    flush(&drive).await;
    write(&drive, ino, 0, b"mine");
    drive.close().await;
    drop(drive);
    let second = open_as(forced(other.path()), &store).await.unwrap();
    publish(&second, ino, 10).await;
    second.close().await;
    let copy = copied(&dir);
    std::fs::remove_dir_all(copy.path().join("index")).unwrap();
    for _ in 0..2 {
        let again = try_open(copy.path(), &store).await;
        assert!(matches!(again, Err(Error::Forked(_))), "{again:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_that_follow_another_machine_survive_the_loss_of_the_index() {
    let (store, dir, other) = (store(), TempDir::new().unwrap(), TempDir::new().unwrap());
    let drive = open(dir.path(), &store).await;
    let ino = create(&drive);
    publish(&drive, ino, 11).await;
    drive.close().await;
    drop(drive);
    let second = open(other.path(), &store).await;
    write(&second, ino, 0, b"follows the first");
    second.close().await;
    let copy = copied(&other);
    std::fs::remove_dir_all(copy.path().join("index")).unwrap();
    let again = open(copy.path(), &store).await;
    assert_eq!(content(&again, ino).await[..17], *b"follows the first");
    flush(&again).await;
    again.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forked_drive_is_read_as_it_was_here() {
    let (store, dir, other) = (store(), TempDir::new().unwrap(), TempDir::new().unwrap());
    let drive = open(dir.path(), &store).await;
    let ino = create(&drive);
    flush(&drive).await;
    write(&drive, ino, 0, b"mine");
    drive.close().await;
    drop(drive);
    let second = open_as(forced(other.path()), &store).await.unwrap();
    write(&second, ino, 0, b"theirs");
    flush(&second).await;
    second.close().await;
    let copy = copied(&dir);
    let refused = try_open(copy.path(), &store).await;
    assert!(matches!(refused, Err(Error::Forked(_))), "{refused:?}");
    let copy = copied(&copy);
    let again = open_as(reading(copy.path()), &store).await.unwrap();
    assert_eq!(content(&again, ino).await, b"mine");
    // Whoever reads it hears which side that is.
    let side = "this machine's side is shown";
    let told = again.status().unwrap().forked.expect("it is told");
    assert!(told.contains(side), "{told}");
    let reader = Arc::clone(&again);
    let wish = verify::Wish {
        scope: Scope::Drive,
        depth: verify::Depth::Quick,
    };
    let verified =
        tokio::task::spawn_blocking(move || reader.verify(&wish, &Task::new(&|_| Go::On)));
    let notes = verified.await.unwrap().unwrap().notes;
    assert!(notes.iter().any(|note| note.contains(side)), "{notes:?}");
    again.close().await;
}

/// What can become of an index.
type Loss = fn(&Path);

#[tokio::test(flavor = "multi_thread")]
async fn a_forked_drive_whose_index_is_lost_is_read_as_it_was_here() {
    let losses: [Loss; 2] = [
        |index| std::fs::remove_dir_all(index).unwrap(),
        |index| {
            for entry in std::fs::read_dir(index).unwrap() {
                std::fs::write(entry.unwrap().path(), noise(5, 10_000)).unwrap();
            }
        },
    ];
    let (store, dir, other) = (store(), TempDir::new().unwrap(), TempDir::new().unwrap());
    let drive = open(dir.path(), &store).await;
    let ino = create(&drive);
    publish(&drive, ino, 3).await;
    write(&drive, ino, 0, b"mine");
    let mine = content(&drive, ino).await;
    drive.close().await;
    drop(drive);
    let second = open_as(forced(other.path()), &store).await.unwrap();
    // More than a checkpoint's worth.
    publish(&second, ino, 10).await;
    let theirs = content(&second, ino).await;
    second.close().await;
    for lose in losses {
        let copy = copied(&dir);
        lose(&copy.path().join("index"));
        // The second time it is an index that ends at the fork.
        for _ in 0..2 {
            let again = open_as(reading(copy.path()), &store).await.unwrap();
            assert_eq!(content(&again, ino).await, mine);
            let told = again.status().unwrap().forked.expect("it is told");
            assert!(told.contains("this machine's side is shown"), "{told}");
            again.close().await;
            drop(again);
        }
        let refused = try_open(copy.path(), &store).await;
        assert!(matches!(refused, Err(Error::Forked(_))), "{refused:?}");
        // Given up, it is the drive as the other machine made it.
        std::fs::remove_dir_all(copy.path().join("spool")).unwrap();
        let again = open_as(reading(copy.path()), &store).await.unwrap();
        assert_eq!(content(&again, ino).await, theirs);
        again.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_attempts_at_the_lease_leave_one_writer() {
    let (store, first, second) = (store(), TempDir::new().unwrap(), TempDir::new().unwrap());
    let old = open(first.path(), &store).await;
    let ino = create(&old);
    flush(&old).await;
    let new = open_as(forced(second.path()), &store).await.unwrap();
    write(&new, ino, 0, b"new");
    write(&old, ino, 0, b"old");
    flush(&new).await;
    let late = Arc::clone(&old);
    let refused = tokio::task::spawn_blocking(move || late.flush(|| true))
        .await
        .unwrap();
    assert!(refused.is_err());
    old.close().await;
    flush(&new).await;
    assert_eq!(new.read_only(), None);
    new.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_is_complete_although_the_spool_cannot_be_cut() {
    let (store, dir) = (store(), TempDir::new().unwrap());
    let drive = open(dir.path(), &store).await;
    let ino = create(&drive);
    let mut expected = noise(1, 3 << 20);
    write(&drive, ino, 0, &expected);
    flush(&drive).await;
    write(&drive, ino, 0, b"few");
    expected[..3].copy_from_slice(b"few");
    let (spool, away) = (dir.path().join("spool"), dir.path().join("away"));
    // No segment can be made.
    std::fs::rename(&spool, &away).unwrap();
    flush(&drive).await;
    std::fs::rename(&away, &spool).unwrap();
    write(&drive, ino, 9, b"later");
    expected[9..14].copy_from_slice(b"later");
    flush(&drive).await;
    assert!(content(&drive, ino).await == expected);
    drive.close().await;
}

/// Breaks the disk where these bytes lie.
fn break_disk(dir: &Path, bytes: &[u8]) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let mut all = std::fs::read(&path).unwrap();
        if let Some(at) = all.windows(bytes.len()).position(|window| window == bytes) {
            all[at] ^= 1;
            std::fs::write(&path, all).unwrap();
            return;
        }
    }
    panic!("the bytes are not in the spool");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_the_disk_lost_do_not_keep_others_from_the_store() {
    let (store, dir) = (store(), TempDir::new().unwrap());
    let drive = open(dir.path(), &store).await;
    let (broken, good) = (create(&drive), create(&drive));
    write(&drive, broken, 0, b"before");
    write(&drive, broken, 6, &noise(1, 5_000));
    write(&drive, broken, 5_006, b"behind");
    write(&drive, good, 0, &noise(2, 5_000));
    break_disk(&dir.path().join("spool"), &noise(1, 5_000)[..64]);
    flush(&drive).await;
    assert!(drive.damaged().contains_key(&broken));
    drive.close().await;
    let fresh = TempDir::new().unwrap();
    let again = open(fresh.path(), &store).await;
    assert!(content(&again, good).await == noise(2, 5_000));
    let ahead = again.read_ahead();
    let read = again.read(broken, 100, 10, &ahead).await;
    assert!(matches!(read, Err(Error::Damaged(_))), "{read:?}");
    assert_eq!(again.read(broken, 0, 6, &ahead).await.unwrap(), b"before");
    assert_eq!(
        again.read(broken, 5_006, 6, &ahead).await.unwrap(),
        b"behind"
    );
    write(&again, broken, 6, &noise(3, 5_000));
    flush(&again).await;
    assert!(content(&again, broken).await[6..5_006] == noise(3, 5_000));
    again.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_of_an_archive_are_not_set_back_by_opening() {
    let (store, dir) = (store(), TempDir::new().unwrap());
    let drive = open(dir.path(), &store).await;
    write(&drive, create(&drive), 0, &noise(1, 10_000));
    flush(&drive).await;
    drive.close().await;
    let copy = copied(&dir);
    let again = open(copy.path(), &store).await;
    write(&again, create(&again), 0, &noise(2, 20_000));
    flush(&again).await;
    let archive = again.status().unwrap().archives.remove(0);
    assert_eq!(
        (archive.files, archive.file_bytes, archive.packs),
        (2, 30_000, 2)
    );
    again.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn history_with_a_gap_is_followed_from_a_checkpoint() {
    let (store, dir) = (store(), TempDir::new().unwrap());
    let drive = open(dir.path(), &store).await;
    let ino = create(&drive);
    publish(&drive, ino, 3).await;
    let behind = copied(&dir);
    publish(&drive, ino, 9).await;
    write(&drive, ino, 0, b"the present");
    flush(&drive).await;
    let expected = content(&drive, ino).await;
    drive.close().await;
    // Pruning was interrupted.
    let is_fifth = |entry: &&Entry| entry.name.starts_with(&format!("s-{:016x}", 5));
    let entries = journal(&*store).await;
    let fifth = entries.iter().find(is_fifth).unwrap();
    store
        .remove(std::slice::from_ref(&fifth.locator))
        .await
        .unwrap();
    let again = open(behind.path(), &store).await;
    assert!(content(&again, ino).await == expected);
    again.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_checkpoint_is_passed_over() {
    let (store, dir) = (store(), TempDir::new().unwrap());
    let drive = open(dir.path(), &store).await;
    let ino = create(&drive);
    write(&drive, ino, 0, &noise(1, 100_000));
    publish(&drive, ino, 23).await;
    let expected = content(&drive, ino).await;
    drive.close().await;
    let entries = journal(&*store).await;
    let newest = entries
        .iter()
        .rev()
        .find(|entry| entry.name.starts_with("c-"));
    assert!(store.tamper(&newest.unwrap().locator, |bytes| bytes[200] ^= 1));
    let fresh = TempDir::new().unwrap();
    let again = open(fresh.path(), &store).await;
    assert!(content(&again, ino).await == expected);
    assert_eq!(again.status().unwrap().epoch, 23);
    again.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_came_too_early_sees_the_whole_segment_later() {
    let limits = Limits {
        object_bytes_max: 10 << 20,
        objects_max: 1,
        put_bytes_max: 10 << 20,
        put_bytes_proven: 10 << 20,
    };
    let store = Arc::new(Faulty::new(Memory::new(limits)));
    let (dir, reader) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let drive = open(dir.path(), &store).await;
    let first = create(&drive);
    publish(&drive, first, 1).await;
    let bytes = noise(1, 14_000 + 500);
    for at in 0..14_000 {
        write(&drive, create(&drive), 0, &bytes[at..at + 500]);
    }
    write(&drive, first, 0, b"the last");
    // Half of the segment is there.
    store.add(Rule {
        verb: Verb::Put,
        skip: 1,
        times: u64::MAX,
        fault: Fault::Unavailable,
    });
    assert!(flush_until_struck(&drive, &store).await.is_err());
    let early = open_as(reading(reader.path()), &store).await.unwrap();
    assert_eq!(early.status().unwrap().epoch, 1);
    early.close().await;
    store.clear();
    flush(&drive).await;
    drive.close().await;
    let reader = copied(&reader);
    let late = open_as(reading(reader.path()), &store).await.unwrap();
    assert_eq!(late.status().unwrap().epoch, 2);
    assert_eq!(content(&late, first).await, b"the last");
    late.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_without_a_name_does_not_fill_the_spool() {
    let (store, dir) = (store(), TempDir::new().unwrap());
    let settings = Settings {
        spool_bytes_max: 48 << 20,
        ..settings(dir.path())
    };
    let drive = open_as(settings, &store).await.unwrap();
    let (hidden, named) = (create(&drive), create(&drive));
    let orphan = drive.change(|change| -> Result<(), Error> {
        change.put(key::orphan(hidden), Vec::new());
        Ok(())
    });
    orphan.unwrap();
    for number in 0..40 {
        write(&drive, hidden, number << 20, &noise(number + 1, 1 << 20));
    }
    flush(&drive).await;
    for number in 0..40 {
        write(&drive, named, number << 20, &noise(number + 101, 1 << 20));
    }
    assert!(content(&drive, hidden).await[..1 << 20] == noise(1, 1 << 20));
    drive.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_prefix_of_the_journal_is_a_state_the_drive_had() {
    let (store, dir) = (Arc::new(Faulty::new(store())), TempDir::new().unwrap());
    let drive = open(dir.path(), &store).await;
    let (one, two) = (create(&drive), create(&drive));
    let mut states = vec![(Vec::new(), Vec::new())];
    for round in 0..8_u64 {
        // Two files that change together must be seen together.
        write(&drive, one, round * 50_000, &noise(round + 1, 90_000));
        write(&drive, two, round * 700, &noise(round + 1, 700));
        let fault = [Fault::LostAnswer, Fault::Unavailable][round as usize % 2].clone();
        store.add(Rule {
            verb: Verb::Put,
            skip: round % 3,
            times: 1,
            fault,
        });
        flush(&drive).await;
        store.clear();
        states.push((content(&drive, one).await, content(&drive, two).await));
    }
    drive.close().await;
    let mut epochs = 0;
    loop {
        let fresh = TempDir::new().unwrap();
        let Ok(again) = open_as(reading(fresh.path()), &store).await else {
            break;
        };
        let epoch = again.status().unwrap().epoch as usize;
        let found = (content(&again, one).await, content(&again, two).await);
        assert!(found == states[epoch], "epoch {epoch}");
        again.close().await;
        epochs += 1;
        let last = journal(&*store).await.pop().unwrap();
        store.remove(&[last.locator]).await.unwrap();
    }
    assert_eq!(epochs, 8);
    assert!(journal(&*store).await.is_empty());
}

/// A drive that was killed while its segment was on its way, and its successor on the same state.
struct Attempts {
    killed: Arc<Drive>,
    again: Arc<Drive>,
    ino: InodeNo,
    /// Lets the first attempt's request arrive.
    gate: Arc<tokio::sync::Semaphore>,
    _copy: TempDir,
}

impl Attempts {
    async fn begin(store: &Arc<Faulty<Arc<Memory>>>, dir: &TempDir) -> Attempts {
        let killed = open(dir.path(), store).await;
        let ino = create(&killed);
        publish(&killed, ino, 2).await;
        write(&killed, ino, 0, b"the first attempt");
        let gate = Arc::new(tokio::sync::Semaphore::new(0));
        store.add(Rule::next(Verb::Put, Fault::Held(Arc::clone(&gate))));
        assert!(flush_until_struck(&killed, store).await.is_err());
        let copy = copied(dir);
        let again = open(copy.path(), store).await;
        write(&again, ino, 0, b"the second attempt");
        Attempts {
            killed,
            again,
            ino,
            gate,
            _copy: copy,
        }
    }
}

/// Lets a segment arrive whose sender was killed, and does not look what became of it.
async fn arrive(store: &Faulty<Arc<Memory>>, gate: &tokio::sync::Semaphore) {
    let never = Arc::new(tokio::sync::Semaphore::new(0));
    let struck = store.struck();
    store.add(Rule::next(Verb::List, Fault::Held(never)));
    gate.add_permits(1);
    while store.struck() == struck {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_arrives_after_its_successor_is_passed_over() {
    let (store, dir) = (Arc::new(Faulty::new(store())), TempDir::new().unwrap());
    let attempts = Attempts::begin(&store, &dir).await;
    let Attempts {
        killed,
        again,
        ino,
        gate,
        ..
    } = &attempts;
    let ino = *ino;
    flush(again).await;
    // Now the request of the one that was killed arrives.
    arrive(&store, gate).await;
    killed.close().await;
    for text in [&b"the second attempt"[..], b"and what followed it"] {
        let fresh = TempDir::new().unwrap();
        let rebuilt = open_as(reading(fresh.path()), &store).await.unwrap();
        assert_eq!(content(&rebuilt, ino).await, content(again, ino).await);
        assert_eq!(content(&rebuilt, ino).await[..text.len()], *text);
        rebuilt.close().await;
        write(again, ino, 0, b"and what followed it");
        flush(again).await;
    }
    again.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_own_segment_that_arrives_late_and_damaged_keeps_nothing_from_the_store() {
    let (store, dir) = (Arc::new(Faulty::new(store())), TempDir::new().unwrap());
    let attempts = Attempts::begin(&store, &dir).await;
    let Attempts {
        killed,
        again,
        ino,
        gate,
        ..
    } = &attempts;
    let ino = *ino;
    arrive(&store, gate).await;
    let mut late = journal(&*store).await.into_iter();
    let late = late.rfind(|entry| entry.name.starts_with("s-")).unwrap();
    assert!(store.inner().tamper(&late.locator, |bytes| bytes[200] ^= 1));
    killed.close().await;
    flush(again).await;
    let expected = content(again, ino).await;
    again.close().await;
    let fresh = TempDir::new().unwrap();
    let rebuilt = open_as(reading(fresh.path()), &store).await.unwrap();
    assert_eq!(content(&rebuilt, ino).await, expected);
    rebuilt.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_does_not_wait_for_a_store_that_does_not_answer() {
    let store = Arc::new(Faulty::new(store()));
    // The first put of the flush is a pack, or the segment.
    for len in [300, 30_000] {
        let dir = TempDir::new().unwrap();
        let drive = open(dir.path(), &store).await;
        let ino = create(&drive);
        write(&drive, ino, 0, &noise(1, len));
        let gate = Arc::new(tokio::sync::Semaphore::new(0));
        store.add(Rule::next(Verb::Put, Fault::Held(gate)));
        assert!(flush_until_struck(&drive, &store).await.is_err());
        drive.close().await;
        let copy = copied(&dir);
        let again = open(copy.path(), &store).await;
        flush(&again).await;
        assert!(content(&again, ino).await == noise(1, len));
        again.close().await;
    }
}
