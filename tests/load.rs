//! Under load: what an upload may cost a reader, what many readers may cost the machine, and what a
//! silent Discord may cost a writer. Requests, connections and bytes are counted; nothing is timed.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]

#[path = "support/discord.rs"]
mod discord;
#[path = "support/ondemand.rs"]
mod ondemand;
#[path = "support/tap.rs"]
#[allow(dead_code, reason = "only its order of requests is looked at here")]
mod tap;

use std::fs;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use discord::place;
use discord::place_with;
use ods::drive::Settings;
use ods::emulator::Fault;
use ods::emulator::FaultKind;
use ods::emulator::Limits;
use ods::emulator::RouteLimit;
use ods::emulator::RouteLimits;
use ods::store::discord::Discord;
use ondemand::Mount;
use ondemand::noise;
use tap::Tap;

const MIB: usize = 1 << 20;

/// The first lines of all requests that went over the wire, in their order.
fn requests(tap: &Tap) -> Vec<String> {
    let heard = tap.heard();
    let text = String::from_utf8_lossy(&heard);
    let lines = text.lines().filter(|line| line.ends_with(" HTTP/1.1"));
    // A pack's last bytes may stand before the next request on the same line.
    let begin = |line: &str| {
        let at = ["GET /", "POST /", "PATCH /", "DELETE /", "PUT /"];
        at.iter().filter_map(|verb| line.rfind(verb)).max()
    };
    lines
        .filter_map(|line| begin(line).map(|at| line[at..].to_owned()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_read_waits_for_at_most_two_requests_of_an_upload() {
    let place = place_with(Limits {
        routes: RouteLimits {
            create_message: RouteLimit::new(2, 5000),
            ..RouteLimits::default()
        },
        ..Limits::default()
    })
    .await;
    let mount = Mount::new(&place).await;
    let expected = noise(1, 3 * MIB);
    let bytes = expected.clone();
    mount
        .work(move |path| fs::write(path.join("cold"), bytes).unwrap())
        .await;
    mount.flush().await;
    mount.lose().await;

    let tap = Tap::to(place.emulator.address());
    let settings = ods::store::discord::Settings {
        api_base: tap.base_url(),
        ..place.settings()
    };
    let mount = Mount::with(Discord::connect(settings).expect("a store"), |settings| {
        settings
    })
    .await;
    // What the process before left of a window is known only now.
    let limited = place.emulator.counts().rate_limited;
    // Three messages of 20 MiB, of which the first window takes two.
    mount
        .work(|path| fs::write(path.join("upload"), noise(2, 46 * MIB)).unwrap())
        .await;
    let before_upload = place.emulator.counts().messages;
    let drive = Arc::clone(&mount.drive);
    let upload = tokio::task::spawn_blocking(move || drive.flush(|| true));
    while place.emulator.counts().messages < before_upload + 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!upload.is_finished(), "the upload goes on");
    let before = requests(&tap).len();
    let downloads = place.emulator.counts().cdn_requests;
    let read = mount
        .work(|path| fs::read(path.join("cold")).unwrap())
        .await;
    let during = requests(&tap).split_off(before);
    let downloads = place.emulator.counts().cdn_requests - downloads;
    assert!(read == expected);
    let of_upload = during.iter().filter(|line| !line.starts_with("GET /"));
    assert!(of_upload.count() <= 2, "{during:?}");
    assert!(downloads > 0, "it was cold: {during:?}");
    upload.await.unwrap().expect("the upload ends well");
    let limited = place.emulator.counts().rate_limited - limited;
    assert_eq!(limited, 0, "and within limits");
    mount.lose().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_readers_share_few_connections_and_bounded_memory() {
    const READERS: u64 = 64;
    const MEMORY: u64 = 4 << 20;
    const FILE: usize = 300 << 10;
    let place = place().await;
    let mount = Mount::new(&place).await;
    mount
        .work(|path| {
            for reader in 0..READERS {
                fs::write(path.join(format!("{reader}")), noise(reader + 1, FILE)).unwrap();
            }
        })
        .await;
    mount.flush().await;
    mount.lose().await;

    place.emulator.set_limits(Limits {
        rtt_ms: 3,
        ..place.emulator.limits()
    });
    let small = |settings| Settings {
        memory_bytes_max: MEMORY,
        // However slow the machine is.
        read_timeout: Duration::from_secs(3600),
        ..settings
    };
    let mount = Mount::with(place.store(), small).await;
    let before = place.emulator.connections_max();
    let path = mount.path();
    let readers: Vec<_> = (0..READERS)
        .map(|reader| {
            let path = path.join(format!("{reader}"));
            std::thread::spawn(move || fs::read(path).unwrap() == noise(reader + 1, FILE))
        })
        .collect();
    let mut memory_max = 0;
    while readers.iter().any(|reader| !reader.is_finished()) {
        memory_max = memory_max.max(mount.drive.status().unwrap().cache.memory_bytes);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    for reader in readers {
        assert!(reader.join().expect("no panic"), "the right bytes");
    }
    assert!(memory_max <= MEMORY, "{memory_max} bytes of chunks");
    let settings = place.settings();
    let connections = place.emulator.connections_max();
    assert!(
        // Downloads, and whatever the API has open at once.
        connections <= before + settings.downloads_max + 8,
        "{connections} connections, {before} before"
    );
    mount.lose().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_do_not_wait_for_discord_until_the_spool_is_full() {
    const SPOOL: u64 = 64 << 20;
    let place = place().await;
    let eager = |settings| Settings {
        spool_bytes_max: SPOOL,
        linger: Duration::ZERO,
        age_max: Duration::from_millis(1),
        ..settings
    };
    let mount = Mount::with(place.store(), eager).await;
    mount.flush().await;
    // Whatever is posted from now on is not done.
    let silent = FaultKind::Error {
        status: 503,
        body: ods::emulator::ErrorBody::default(),
    };
    let fault = place
        .emulator
        .faults()
        .add(Fault::new("POST /channels/{}/messages", silent));
    let before = place.emulator.counts().messages;
    let written = mount
        .work(|path| {
            let file = fs::File::create(path.join("log")).unwrap();
            let piece = noise(3, 64 << 10);
            let mut written = 0;
            // Most of the spool: near its end writers are slowed down, which is another promise.
            while written < SPOOL / 2 {
                file.write_all_at(&piece, written).unwrap();
                written += piece.len() as u64;
            }
            file.sync_all().unwrap();
            written
        })
        .await;
    assert_eq!(
        place.emulator.counts().messages,
        before,
        "nothing got through"
    );
    assert!(
        place.emulator.faults().met(fault) > 0,
        "though it was tried"
    );
    place.emulator.faults().clear();
    mount.flush().await;
    let read = mount.work(|path| fs::read(path.join("log")).unwrap()).await;
    assert_eq!(read.len() as u64, written);
    mount.lose().await;
}
