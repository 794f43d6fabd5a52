//! The engine on a store in memory: what is written comes back, now, after a crash, and after the machine is lost.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]

#[path = "support/drives.rs"]
mod drives;

use std::collections::BTreeMap;
use std::sync::Arc;

use drives::*;
use ods::drive::Drive;
use ods::drive::Error;
use ods::store::Store;
use ods::store::faulty::Fault;
use ods::store::faulty::Faulty;
use ods::store::faulty::Rule;
use ods::store::faulty::Verb;
use tempfile::TempDir;

#[tokio::test(flavor = "multi_thread")]
async fn content_survives_the_loss_of_the_machine() {
    let (store, first, second) = (store(), TempDir::new().unwrap(), TempDir::new().unwrap());
    let drive = open(first.path(), &store).await;
    let (small, big) = (create(&drive), create(&drive));
    write(&drive, small, 0, b"hello");
    let expected = noise(1, 23 << 20);
    for (number, part) in (0..).zip(expected.chunks(1 << 20)) {
        write(&drive, big, number << 20, part);
    }
    assert!(content(&drive, big).await == expected, "before the flush");
    flush(&drive).await;
    assert!(content(&drive, big).await == expected, "after the flush");
    let status = drive.status().unwrap();
    assert_eq!((status.dirty_bytes, status.unpublished), (0, false));
    assert!(
        status.discord.packs >= 3,
        "23 MiB need at least three packs of 10 MiB"
    );
    drive.close().await;
    drop(drive);

    let again = open(second.path(), &store).await;
    assert!(content(&again, big).await == expected, "rebuilt elsewhere");
    assert_eq!(content(&again, small).await, b"hello");
    again.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_returned_survives_a_kill() {
    let (store, dir) = (store(), TempDir::new().unwrap());
    let drive = open(dir.path(), &store).await;
    let ino = create(&drive);
    write(&drive, ino, 0, &noise(2, 300_000));
    write(&drive, ino, 100_000, b"changed");
    truncate(&drive, ino, 200_000);
    write(&drive, ino, 250_000, b"end");
    let expected = content(&drive, ino).await;
    // A drive that was neither flushed nor closed in order, as after kill -9.
    let copy = TempDir::new().unwrap();
    copy_tree(dir.path(), copy.path());
    let again = open(copy.path(), &store).await;
    assert!(content(&again, ino).await == expected);
    flush(&again).await;
    again.close().await;
    drive.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_in_the_middle_split_extents_and_holes_stay_holes() {
    let (store, dir) = (store(), TempDir::new().unwrap());
    let drive = open(dir.path(), &store).await;
    let ino = create(&drive);
    let mut expected = noise(3, 6 << 20);
    write(&drive, ino, 0, &expected[..3 << 20]);
    write(&drive, ino, 3 << 20, &expected[3 << 20..]);
    flush(&drive).await;
    let mut random = noise(4, 600).into_iter();
    for round in 0..60 {
        let at = (0..3).fold(0_usize, |at, _| {
            at << 8 | usize::from(random.next().unwrap_or(0))
        }) % expected.len();
        let len = (1 + usize::from(random.next().unwrap_or(0)) * 97).min(expected.len() - at);
        if round % 7 == 0 {
            let (from, to) = (at as u64, (at + len) as u64);
            drive
                .change(|change| -> Result<(), Error> {
                    change.zero(ino, from, to);
                    Ok(())
                })
                .unwrap();
            expected[at..at + len].fill(0);
        } else {
            let bytes = noise(100 + round, len);
            write(&drive, ino, at as u64, &bytes);
            expected[at..at + len].copy_from_slice(&bytes);
        }
        if round % 10 == 9 {
            flush(&drive).await;
        }
    }
    assert!(content(&drive, ino).await == expected);
    flush(&drive).await;
    drive.close().await;
    drop(drive);
    let fresh = TempDir::new().unwrap();
    let again = open(fresh.path(), &store).await;
    assert!(content(&again, ino).await == expected);
    again.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_content_is_stored_once() {
    let (store, dir) = (store(), TempDir::new().unwrap());
    let drive = open(dir.path(), &store).await;
    let bytes = noise(5, 4 << 20);
    write(&drive, create(&drive), 0, &bytes);
    flush(&drive).await;
    let before = drive.status().unwrap().discord.pack_bytes;
    write(&drive, create(&drive), 0, &bytes);
    flush(&drive).await;
    assert_eq!(
        drive.status().unwrap().discord.pack_bytes,
        before,
        "the second copy costs no pack"
    );
    drive.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_writer_at_a_time() {
    let (store, first, second) = (store(), TempDir::new().unwrap(), TempDir::new().unwrap());
    let drive = open(first.path(), &store).await;
    match try_open(second.path(), &store).await {
        Err(Error::Leased { holder, .. }) => assert_eq!(holder, "this machine"),
        other => panic!("expected a refusal, got {other:?}"),
    }
    assert!(
        matches!(try_open(first.path(), &store).await, Err(Error::State(_))),
        "the directory is locked"
    );
    flush(&drive).await;
    drive.close().await;
    let second = open(second.path(), &store).await;
    second.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_fails_with_what_the_store_said() {
    let (store, dir) = (Arc::new(Faulty::new(store())), TempDir::new().unwrap());
    let drive = open(dir.path(), &store).await;
    let ino = create(&drive);
    store.add(Rule::always(Verb::Put, Fault::Refused));
    write(&drive, ino, 0, b"waits");
    let waiting = Arc::clone(&drive);
    let refused = tokio::task::spawn_blocking(move || waiting.flush(|| true))
        .await
        .unwrap();
    assert!(
        matches!(
            refused,
            Err(Error::Store(ods::store::Error::Refused { .. }))
        ),
        "{refused:?}"
    );
    store.clear();
    flush(&drive).await;
    drive.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_is_refused_before_anything_is_published() {
    let (store, first, second) = (store(), TempDir::new().unwrap(), TempDir::new().unwrap());
    let drive = open(first.path(), &store).await;
    let ino = create(&drive);
    flush(&drive).await;
    write(&drive, ino, 0, b"mine");
    let mut settings = settings(second.path());
    settings.takeover = ods::drive::Takeover::Force;
    let dynamic: Arc<dyn Store> = Arc::clone(&store) as Arc<dyn Store>;
    let other = Drive::open(settings, DRIVE, keys(), dynamic, &|_| {})
        .await
        .unwrap();
    write(&other, ino, 0, b"theirs");
    flush(&other).await;
    let late = Arc::clone(&drive);
    let refused = tokio::task::spawn_blocking(move || late.flush(|| true))
        .await
        .unwrap();
    assert!(matches!(refused, Err(Error::TakenOver(_))), "{refused:?}");
    assert!(drive.read_only().is_some());
    assert_eq!(
        content(&drive, ino).await,
        b"mine",
        "local data stays readable"
    );
    drive.close().await;
    drop(drive);
    assert!(matches!(
        try_open(first.path(), &store).await,
        Err(Error::Leased { .. })
    ));
    other.close().await;
    assert!(matches!(
        try_open(first.path(), &store).await,
        Err(Error::Forked(_))
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_index_is_rebuilt() {
    let (store, dir) = (store(), TempDir::new().unwrap());
    let drive = open(dir.path(), &store).await;
    let ino = create(&drive);
    write(&drive, ino, 0, b"published");
    flush(&drive).await;
    write(&drive, ino, 9, b" and not yet");
    drive.close().await;
    drop(drive);
    let copy = TempDir::new().unwrap();
    copy_tree(dir.path(), copy.path());
    std::fs::remove_dir_all(copy.path().join("index")).unwrap();
    let again = open(copy.path(), &store).await;
    assert_eq!(content(&again, ino).await, b"published and not yet");
    again.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_joins_the_short_chunk_before_it() {
    let (store, dir) = (store(), TempDir::new().unwrap());
    let drive = open(dir.path(), &store).await;
    let ino = create(&drive);
    let expected = noise(6, 40 * 3000);
    for (number, part) in (0..).zip(expected.chunks(3000)) {
        write(&drive, ino, number * 3000, part);
        flush(&drive).await;
    }
    assert!(content(&drive, ino).await == expected);
    let parts = drive.view().resolve(ino, 0, expected.len() as u64).unwrap();
    assert_eq!(parts.len(), 1, "forty appends end as one extent");
    drive.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn holdings_count_what_is_there() {
    let (store, dir) = (store(), TempDir::new().unwrap());
    let drive = open(dir.path(), &store).await;
    let (one, two) = (create(&drive), create(&drive));
    write(&drive, one, 0, &noise(7, 10_000));
    write(&drive, two, 0, &noise(8, 20_000));
    flush(&drive).await;
    truncate(&drive, two, 5_000);
    flush(&drive).await;
    let archives = drive.status().unwrap().archives;
    let counts: BTreeMap<_, _> = archives
        .iter()
        .map(|archive| (archive.name.clone(), (archive.files, archive.file_bytes)))
        .collect();
    assert_eq!(counts, BTreeMap::from([(String::new(), (2, 15_000))]));
    drive.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_history_is_cut_by_checkpoints_and_still_rebuilt() {
    let (store, dir) = (store(), TempDir::new().unwrap());
    let drive = open(dir.path(), &store).await;
    let ino = create(&drive);
    for round in 0..47_u64 {
        write(&drive, ino, round * 8, &round.to_le_bytes());
        flush(&drive).await;
    }
    let expected = content(&drive, ino).await;
    drive.close().await;
    drop(drive);
    let journal = store.journal();
    let (mut objects, mut span) = (0, ods::store::Span::After(ods::store::Mark(0)));
    loop {
        let page = store.list(&journal, span).await.unwrap();
        objects += page.entries.len();
        match page.next {
            Some(next) => span = ods::store::Span::After(next),
            None => break,
        }
    }
    assert!(
        objects < 40,
        "history before the third newest checkpoint is gone: {objects} objects are left"
    );
    let fresh = TempDir::new().unwrap();
    let again = open(fresh.path(), &store).await;
    assert!(content(&again, ino).await == expected);
    assert_eq!(again.status().unwrap().epoch, 47);
    again.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_drive_on_a_full_disk_says_so_at_once() {
    let (store, dir) = (store(), TempDir::new().unwrap());
    let full = ods::drive::Settings {
        // No disk has this much to leave free.
        reserve_bytes: u64::MAX / 4,
        ..settings(dir.path())
    };
    let dynamic: Arc<dyn Store> = Arc::clone(&store) as Arc<dyn Store>;
    let refused = Drive::open(full, DRIVE, keys(), dynamic, &|_| {}).await;
    match refused {
        Err(Error::Disk(text)) => assert!(text.contains("reserve"), "{text}"),
        other => panic!("expected a full disk, got {other:?}"),
    }
}
