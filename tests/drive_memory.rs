//! The engine's memory for changes is bounded, whatever the store does; counted, not measured.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/drives.rs"]
mod drives;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use drives::*;
use ods::drive::Drive;
use ods::drive::Error;
use ods::drive::Look;
use ods::drive::Settings;
use ods::store::Store;
use ods::store::faulty::Fault;
use ods::store::faulty::Faulty;
use ods::store::faulty::Rule;
use ods::store::faulty::Verb;
use ods::store::memory::Memory;
use tempfile::TempDir;

/// Memory for changes: that of a few hundred files.
const CHANGES_BYTES_MAX: usize = 100_000;

/// What a new file takes at the least: its inode, and that of a piece of it.
const FILE_BYTES_MIN: usize = 150;

async fn open_small<S: Store>(dir: &Path, store: &Arc<S>) -> Arc<Drive> {
    let settings = Settings {
        changes_bytes_max: CHANGES_BYTES_MAX,
        write_timeout: Duration::from_millis(100),
        ..settings(dir)
    };
    let store: Arc<dyn Store> = Arc::clone(store) as Arc<dyn Store>;
    Drive::open(settings, DRIVE, keys(), store, &|_| {})
        .await
        .expect("the drive opens")
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_do_not_pile_up_in_memory_while_the_store_cannot_be_reached() {
    let store: Arc<Faulty<Arc<Memory>>> = Arc::new(Faulty::new(store()));
    let dir = TempDir::new().unwrap();
    let drive = open_small(dir.path(), &store).await;
    store.add(Rule::always(Verb::Any, Fault::Unavailable));
    let maker = Arc::clone(&drive);
    let made = tokio::task::spawn_blocking(move || {
        let mut made = Vec::new();
        loop {
            assert!(made.len() < 1_000_000, "nothing holds changes off");
            match try_create(&maker) {
                Ok(ino) => made.push(ino),
                Err(Error::NoSpace) => return made,
                Err(other) => panic!("{other:?}"),
            }
        }
    });
    let made = made.await.unwrap();
    // What is being published, and what was changed meanwhile.
    let most = 2 * CHANGES_BYTES_MAX / FILE_BYTES_MIN;
    assert!((100..most).contains(&made.len()), "{} files", made.len());
    let is_there = |drive: &Drive| {
        let view = drive.view();
        made.iter().all(|ino| view.inode(*ino).unwrap().is_some())
    };
    assert!(is_there(&drive));
    store.clear();
    flush(&drive).await;
    create(&drive);
    flush(&drive).await;
    drive.close().await;
    drop(drive);
    let elsewhere = TempDir::new().unwrap();
    let drive = open(elsewhere.path(), &store).await;
    assert!(is_there(&drive));
    drive.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_changes_wait_for_memory_and_all_are_made() {
    let (store, dir) = (store(), TempDir::new().unwrap());
    let drive = open_small(dir.path(), &store).await;
    let maker = Arc::clone(&drive);
    let made = tokio::task::spawn_blocking(move || {
        let write_one = |nth: u64| {
            let ino = create(&maker);
            write(&maker, ino, 0, &nth.to_le_bytes());
            ino
        };
        (0..3000).map(write_one).collect::<Vec<_>>()
    });
    let made = made.await.unwrap();
    flush(&drive).await;
    // Each epoch holds what the memory holds, at most.
    let least = 3000 * FILE_BYTES_MIN / (2 * CHANGES_BYTES_MAX);
    let epochs = usize::try_from(drive.status().unwrap().epoch).unwrap();
    assert!(epochs >= least, "{epochs} epochs");
    for (nth, ino) in made.iter().enumerate() {
        let expected = (nth as u64).to_le_bytes();
        assert_eq!(content(&drive, *ino).await, expected);
    }
    drive.close().await;
}
