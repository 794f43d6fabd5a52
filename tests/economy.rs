//! What a day's work costs in requests to Discord, beside the least that its limits allow: exact counts.
//!
//! The least, by arithmetic: every message takes at most so many bytes, and one more message makes the
//! change part of the journal. After that, the journal is looked at once for what others may have put there meanwhile;
//! before it as well when that was more than two minutes ago, which is not so here, nor between saves a minute apart.
//!
//! Here a gibibyte is a sixteenth of one, 100,000 names are 10,000, and a day is an hour and a half;
//! `scripts/soak economy` (ODS_LONG=1) has all of them.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]

#[path = "support/discord.rs"]
mod discord;
#[path = "support/ondemand.rs"]
mod ondemand;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use discord::Place;
use discord::place;
use ods::emulator::Counts;
use ondemand::Mount;
use ondemand::noise;
use ondemand::told;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// The whole amount in the long form, a part of it otherwise.
fn whole_or(whole: usize, part: usize) -> usize {
    match std::env::var_os("ODS_LONG") {
        Some(_) => whole,
        None => part,
    }
}

/// A segment, and a look at the journal after it is put.
const PUBLISH: u64 = 2;

/// The archive's card is made, and a thread on it.
const NEW_ARCHIVE: u64 = 2;

/// What one message takes until Discord is known to take more: three attachments of 8⅓ MiB.
const MESSAGE: usize = 25 * MIB;

/// Messages that so many bytes need at least, when each takes this much.
fn messages(bytes: usize, message_bytes: usize) -> u64 {
    bytes.div_ceil(message_bytes) as u64
}

/// What something costs, from the call to the last acknowledgement.
async fn cost(
    place: &Place,
    mount: &Mount,
    what: &str,
    work: impl FnOnce(&Path) + Send + 'static,
) -> Counts {
    place.emulator.reset_counts();
    mount.work(work).await;
    mount.flush().await;
    let counts = place.emulator.counts();
    told(what, &counts);
    counts
}

/// Edits of cards, which tell people how far it is: at most one for each message, and not within the
/// same few seconds, so how many there are depends on how long it takes.
fn cards(counts: &Counts) -> u64 {
    let edit = "PATCH /channels/{channel_id}/messages/{message_id}";
    assert!(counts.route(edit) <= counts.messages, "{:?}", counts.routes);
    counts.route(edit)
}

/// It took exactly the least that is possible, cards aside.
fn exactly(counts: &Counts, least: u64) {
    assert_eq!(
        counts.requests - cards(counts),
        least,
        "{:?}",
        counts.routes
    );
}

/// It took no more than that and what is allowed for upkeep, cards aside.
fn at_most(counts: &Counts, least: u64, upkeep: u64) {
    let requests = counts.requests - cards(counts);
    assert!(
        requests <= least + upkeep,
        "{requests} for {least}: {:?}",
        counts.routes
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_small_files() {
    let place = place().await;
    let mount = Mount::new(&place).await;
    let made = |path: &Path| {
        fs::create_dir(path.join("photos")).unwrap();
        for number in 0..10_000_u64 {
            let name = path.join(format!("photos/{number}"));
            fs::write(name, noise(number + 1, 4 * KIB)).unwrap();
        }
    };
    let counts = cost(&place, &mount, "10,000 files of 4 KiB", made).await;
    let least = NEW_ARCHIVE + messages(10_000 * 4 * KIB, MESSAGE) + PUBLISH;
    exactly(&counts, least);
    mount.lose().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_big_file_and_four_kibibytes_of_it() {
    let place = place().await;
    let mount = Mount::new(&place).await;
    let bytes = whole_or(1024 * MIB, 64 * MIB);
    let made = move |path: &Path| {
        fs::create_dir(path.join("films")).unwrap();
        fs::write(path.join("films/one"), noise(1, bytes)).unwrap();
    };
    let counts = cost(&place, &mount, &format!("{} MiB", bytes / MIB), made).await;
    let least = NEW_ARCHIVE + messages(bytes, MESSAGE) + PUBLISH;
    match bytes > 64 * MIB {
        // Messages grow while it works, and save more than the publishing half-way costs.
        true => at_most(&counts, least, 0),
        false => exactly(&counts, least),
    }
    let changed = |path: &Path| {
        let file = fs::File::options().write(true).open(path.join("films/one"));
        file.unwrap()
            .write_all_at(&noise(2, 4 * KIB), 30 << 20)
            .unwrap();
    };
    let counts = cost(&place, &mount, "4 KiB of it", changed).await;
    exactly(&counts, 1 + PUBLISH);
    assert!(
        counts.bytes_stored < 16 * KIB as u64,
        "{} bytes",
        counts.bytes_stored
    );
    mount.lose().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_move_and_trees_are_copied_without_their_content() {
    let files = whole_or(100_000, 10_000);
    let place = place().await;
    let mount = Mount::new(&place).await;
    let made = move |path: &Path| {
        fs::create_dir_all(path.join("work/many")).unwrap();
        for number in 0..files {
            fs::write(path.join(format!("work/many/{number}")), b"small").unwrap();
        }
        fs::create_dir(path.join("work/tree")).unwrap();
        for number in 0..40 {
            let name = path.join(format!("work/tree/{number}"));
            fs::write(name, noise(number + 1, 100 * KIB)).unwrap();
        }
    };
    cost(&place, &mount, "a tree", made).await;

    let renamed = |path: &Path| fs::rename(path.join("work/many"), path.join("work/more")).unwrap();
    let counts = cost(&place, &mount, &format!("rename of {files} files"), renamed).await;
    exactly(&counts, PUBLISH);
    assert!(
        counts.bytes_stored <= 4 * KIB as u64,
        "whatever lies below it: {} bytes",
        counts.bytes_stored
    );

    let copied = |path: &Path| {
        fs::create_dir(path.join("work/copy")).unwrap();
        for number in 0..40 {
            let bytes = fs::read(path.join(format!("work/tree/{number}"))).unwrap();
            fs::write(path.join(format!("work/copy/{number}")), bytes).unwrap();
        }
    };
    let counts = cost(&place, &mount, "a second copy of 4 MiB", copied).await;
    exactly(&counts, PUBLISH);
    assert!(
        counts.bytes_stored <= 16 * KIB as u64,
        "names and manifests: {} bytes",
        counts.bytes_stored
    );
    mount.lose().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rsync_of_an_unchanged_tree_costs_nothing() {
    let place = place().await;
    let mount = Mount::new(&place).await;
    let source = tempfile::tempdir().unwrap();
    for number in 0..300_u64 {
        let name = source.path().join(format!("file-{number}"));
        fs::write(name, noise(number + 1, 3000)).unwrap();
    }
    let rsync = |from: &Path| {
        let from = format!("{}/", from.display());
        move |path: &Path| {
            let mut rsync = Command::new("rsync");
            let done = rsync.args(["-a", &from]).arg(path.join("copy/")).status();
            assert!(done.expect("rsync is installed").success());
        }
    };
    cost(&place, &mount, "rsync of 300 files", rsync(source.path())).await;
    let counts = cost(&place, &mount, "the same again", rsync(source.path())).await;
    exactly(&counts, 0);
    mount.lose().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_saved_every_minute() {
    let place = place().await;
    let mount = Mount::new(&place).await;
    cost(&place, &mount, "a directory", |path| {
        fs::create_dir(path.join("letters")).unwrap();
    })
    .await;
    place.emulator.reset_counts();
    let saves = whole_or(24 * 60, 90) as u64;
    let mut text = noise(1, 100 * KIB);
    for minute in 0..saves {
        let at = (minute as usize * 977) % (text.len() - 16);
        text[at..at + 8].copy_from_slice(&minute.to_le_bytes());
        let text = text.clone();
        // As editors do it: beside, then over the old one.
        let save = move |path: &Path| {
            fs::write(path.join("letters/.draft"), text).unwrap();
            fs::rename(path.join("letters/.draft"), path.join("letters/one")).unwrap();
        };
        mount.work(save).await;
        mount.flush().await;
    }
    let counts = place.emulator.counts();
    told(&format!("{saves} saves of 100 KiB"), &counts);
    // Each is one pack and one segment, with a look at the journal after them; the card was made before.
    let least = saves * (1 + PUBLISH);
    match saves > 90 {
        // Checkpoints, and the removal of what they replace and of what was overwritten.
        true => at_most(&counts, least, least / 100),
        false => exactly(&counts, least),
    }
    assert!(
        counts.bytes_stored <= saves * (104 + 8) * KIB as u64,
        "a document of 100 KiB is one chunk: {} bytes",
        counts.bytes_stored
    );
    mount.lose().await;
}
