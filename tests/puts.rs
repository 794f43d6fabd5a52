//! How much travels in one request: what is refused is divided as little as can be, and what was learnt stays known.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]

#[path = "support/discord.rs"]
mod discord;
#[path = "support/drives.rs"]
mod drives;

use std::sync::Arc;

use discord::Place;
use discord::place_with;
use drives::content;
use drives::create;
use drives::flush;
use drives::noise;
use drives::open;
use drives::write;
use ods::drive::Drive;
use ods::emulator::Limits;
use ods::store::discord::Discord;
use ods::store::discord::Settings;
use tempfile::TempDir;

const MIB: u64 = 1 << 20;

/// The message that publishes an epoch.
const JOURNAL: u64 = 1;

/// A Discord that takes requests of so many bytes.
async fn taking(request_bytes_max: u64) -> Place {
    place_with(Limits {
        request_bytes_max,
        ..Limits::unlimited_rates()
    })
    .await
}

/// Messages that were sent, taken or not, to upload a file of so many bytes; the journal's is among them.
async fn sent_for(place: &Place, drive: &Arc<Drive>, seed: u64, bytes: u64) -> u64 {
    place.emulator.reset_counts();
    let (ino, bytes) = (create(drive), noise(seed, bytes as usize));
    for (number, part) in (0..).zip(bytes.chunks(1 << 20)) {
        write(drive, ino, number * MIB, part);
    }
    flush(drive).await;
    assert!(content(drive, ino).await == bytes);
    place.asked("POST", "/messages")
}

async fn unmount(drive: Arc<Drive>) {
    drive.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_that_is_refused_is_divided_into_as_few_as_are_taken() {
    let place = taking(30 * MIB).await;
    let settings = Settings {
        put_bytes_start: 60 * MIB,
        ..place.settings()
    };
    let store = Arc::new(Discord::connect(settings).unwrap());
    let dir = TempDir::new().unwrap();
    let drive = open(dir.path(), &store).await;
    sent_for(&place, &drive, 1, MIB).await;
    // One is refused, and two of 25 MiB are taken.
    assert_eq!(sent_for(&place, &drive, 2, 48 * MIB).await, 1 + 2 + JOURNAL);
    // Nothing is tried again in this session.
    assert_eq!(sent_for(&place, &drive, 3, 48 * MIB).await, 2 + JOURNAL);
    drive.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_put_may_hold_is_known_from_one_mount_to_the_next() {
    let place = taking(100 * MIB).await;
    let dir = TempDir::new().unwrap();
    let mount = async || {
        let settings = Settings {
            sizes_file: Some(dir.path().join("sizes")),
            ..place.settings()
        };
        open(dir.path(), &Arc::new(Discord::connect(settings).unwrap())).await
    };
    let drive = mount().await;
    for (seed, mib) in [(1, 24), (2, 36)] {
        sent_for(&place, &drive, seed, mib * MIB).await;
    }
    unmount(drive).await;
    let drive = mount().await;
    assert_eq!(sent_for(&place, &drive, 3, 35 * MIB).await, 1 + JOURNAL);
    unmount(drive).await;

    // Less is taken from now on: that is found out once.
    place.emulator.set_limits(Limits {
        request_bytes_max: 30 * MIB,
        ..place.emulator.limits()
    });
    let drive = mount().await;
    assert_eq!(sent_for(&place, &drive, 4, 35 * MIB).await, 1 + 2 + JOURNAL);
    unmount(drive).await;
    let drive = mount().await;
    assert_eq!(sent_for(&place, &drive, 5, 35 * MIB).await, 2 + JOURNAL);
    unmount(drive).await;

    // Without the file, it is found out again.
    std::fs::write(dir.path().join("sizes"), b"{").unwrap();
    let drive = mount().await;
    assert_eq!(sent_for(&place, &drive, 6, 35 * MIB).await, 2 + JOURNAL);
    unmount(drive).await;
}
