//! What things cost in requests to Discord: exact counts through a real mount, against the emulator.

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

use discord::place;
use ondemand::Mount;
use ondemand::noise;
use ondemand::told;

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_small_files_take_at_most_fifteen_requests() {
    let place = place().await;
    let mount = Mount::new(&place).await;
    place.emulator.reset_counts();
    mount
        .work(|path| {
            fs::create_dir(path.join("photos")).unwrap();
            for number in 0..10_000_u64 {
                fs::write(
                    path.join(format!("photos/{number}")),
                    noise(number + 1, 4096),
                )
                .unwrap();
            }
        })
        .await;
    mount.flush().await;
    let counts = place.emulator.counts();
    told("10,000 files of 4 KiB", &counts);
    assert!(
        counts.requests <= 15,
        "{} requests: {:?}",
        counts.requests,
        counts.routes
    );
    assert!(
        counts.bytes_stored >= 10_000 * 4096,
        "they do not compress and are all there"
    );
    mount.lose().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_mebibyte_takes_one_range_and_at_most_one_refresh() {
    let place = place().await;
    let mount = Mount::new(&place).await;
    let expected = noise(1, 1 << 20);
    let bytes = expected.clone();
    mount
        .work(move |path| fs::write(path.join("one"), bytes).unwrap())
        .await;
    mount
        .work(|path| fs::write(path.join("other"), noise(2, 7 << 20)).unwrap())
        .await;
    mount.flush().await;
    mount.lose().await;

    let mount = Mount::new(&place).await;
    place.emulator.reset_counts();
    let read = mount.work(|path| fs::read(path.join("one")).unwrap()).await;
    let counts = place.emulator.counts();
    told("1 MiB cold", &counts);
    assert!(read == expected);
    assert!(
        (1..=4).contains(&counts.cdn_requests),
        "one range, in at most four parts side by side: {}",
        counts.cdn_requests
    );
    assert!(
        counts.requests <= 1,
        "at most one refresh of addresses: {:?}",
        counts.routes
    );
    assert!(
        counts.bytes_served <= (1 << 20) + (64 << 10),
        "{} bytes",
        counts.bytes_served
    );
    assert_eq!(counts.cdn_with_authorization, 0);
    mount.lose().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_copy_and_an_unchanged_tree_cost_no_data() {
    let place = place().await;
    let mount = Mount::new(&place).await;
    mount
        .work(|path| fs::write(path.join("first"), noise(3, 5 << 20)).unwrap())
        .await;
    mount.flush().await;
    place.emulator.reset_counts();
    mount.flush().await;
    assert_eq!(
        place.emulator.counts().requests,
        0,
        "nothing changed, nothing is asked"
    );
    mount
        .work(|path| fs::write(path.join("second"), noise(3, 5 << 20)).unwrap())
        .await;
    mount.flush().await;
    let counts = place.emulator.counts();
    told("second copy of 5 MiB", &counts);
    assert!(
        counts.requests <= 3,
        "segment put, journal looked at, card edited: {:?}",
        counts.routes
    );
    assert!(
        counts.bytes_stored < 16 << 10,
        "only names and manifests: {} bytes",
        counts.bytes_stored
    );
    mount.lose().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changing_four_kibibytes_sends_four_kibibytes() {
    let place = place().await;
    let mount = Mount::new(&place).await;
    mount
        .work(|path| fs::write(path.join("big"), noise(4, 24 << 20)).unwrap())
        .await;
    mount.flush().await;
    place.emulator.reset_counts();
    mount
        .work(|path| {
            use std::os::unix::fs::FileExt;
            let file = fs::File::options()
                .write(true)
                .open(path.join("big"))
                .unwrap();
            file.write_all_at(&noise(5, 4096), 10 << 20).unwrap();
        })
        .await;
    mount.flush().await;
    let counts = place.emulator.counts();
    told("4 KiB in 24 MiB", &counts);
    assert!(
        counts.requests <= 4,
        "pack, segment, journal looked at, card: {:?}",
        counts.routes
    );
    assert!(
        counts.bytes_stored < 16 << 10,
        "{} bytes",
        counts.bytes_stored
    );
    mount.lose().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_of_small_files_is_read_cold_with_few_requests() {
    let place = place().await;
    let mount = Mount::new(&place).await;
    mount
        .work(|path| {
            for number in 0..3000_u64 {
                fs::write(path.join(format!("{number}")), noise(number + 1, 4096)).unwrap();
            }
        })
        .await;
    mount.flush().await;
    mount.lose().await;

    let mount = Mount::new(&place).await;
    place.emulator.reset_counts();
    mount
        .work(|path| {
            for number in 0..3000_u64 {
                assert!(
                    fs::read(path.join(format!("{number}"))).unwrap() == noise(number + 1, 4096)
                );
            }
        })
        .await;
    let counts = place.emulator.counts();
    told("3,000 files of 4 KiB, cold", &counts);
    assert!(
        counts.cdn_requests <= 20,
        "two packs, a directory each, and windows that double: {}",
        counts.cdn_requests
    );
    assert!(
        counts.bytes_served <= 3000 * 4096 * 5 / 4,
        "{} bytes",
        counts.bytes_served
    );
    mount.lose().await;
}
