//! Under load: what an upload may cost a reader, what many readers may cost the machine, and what a
//! silent Discord may cost a writer. Requests, connections and bytes are counted; nothing is timed.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]

#[path = "support/discord.rs"]
mod discord;
#[path = "support/edges.rs"]
mod edges;
#[path = "support/ods.rs"]
mod machines;
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
use machines::World;
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

/// Where an upload of three messages is when someone wants to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Upload {
    /// It has used up its window, and waits for the next.
    Waits,
    /// A message is on its way, and the wire takes a second for it.
    Sends,
}

/// Requests that began, and messages that were done, while something was read that was only on Discord.
struct Meanwhile {
    requests: Vec<String>,
    messages: u64,
}

/// Reads what is only on Discord while an upload is there.
async fn cold_read_during(upload: Upload, limits: Limits) -> Meanwhile {
    let place = place_with(limits).await;
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
    mount
        .work(|path| fs::write(path.join("upload"), noise(2, 66 * MIB)).unwrap())
        .await;
    let done_before = place.emulator.counts().messages;
    let is_post = |line: &&String| line.starts_with("POST /") && line.contains("/messages");
    let posts = || requests(&tap).iter().filter(is_post).count() as u64;
    let posts_before = posts();
    let drive = Arc::clone(&mount.drive);
    let flush = tokio::task::spawn_blocking(move || drive.flush(|| true));
    let is_there = || {
        let done = place.emulator.counts().messages - done_before;
        match upload {
            Upload::Waits => done >= 2,
            Upload::Sends => done >= 1 && posts() - posts_before > done,
        }
    };
    while !is_there() {
        assert!(!flush.is_finished(), "the upload is over too soon");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let before = requests(&tap).len();
    let messages = place.emulator.counts().messages;
    let downloads = place.emulator.counts().cdn_requests;
    let read = mount
        .work(|path| fs::read(path.join("cold")).unwrap())
        .await;
    let meanwhile = Meanwhile {
        requests: requests(&tap).split_off(before),
        messages: place.emulator.counts().messages - messages,
    };
    assert!(read == expected);
    let downloads = place.emulator.counts().cdn_requests - downloads;
    assert!(downloads > 0, "it was cold: {:?}", meanwhile.requests);
    flush.await.unwrap().expect("the upload ends well");
    let limited = place.emulator.counts().rate_limited - limited;
    assert_eq!(limited, 0, "and within limits");
    mount.lose().await;
    meanwhile
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_read_waits_for_at_most_two_requests_of_an_upload_that_waits() {
    let during = cold_read_during(
        Upload::Waits,
        Limits {
            routes: RouteLimits {
                create_message: RouteLimit::new(2, 5000),
                ..RouteLimits::default()
            },
            ..Limits::default()
        },
    )
    .await;
    let others = during.requests.iter();
    let of_upload = others.filter(|line| !line.starts_with("GET /"));
    assert!(of_upload.count() <= 2, "{:?}", during.requests);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_read_waits_for_at_most_two_requests_of_an_upload_that_fills_the_wire() {
    let during = cold_read_during(
        Upload::Sends,
        Limits {
            rtt_ms: 20,
            bytes_per_s: Some(20 * MIB as u64),
            ..Limits::default()
        },
    )
    .await;
    // A message takes a second: they are the clock.
    assert!(during.messages <= 2, "{} messages", during.messages);
}

/// Little memory for chunks, and room on the disk for all that is read below.
const READ_OPTIONS: &str = "memory=16M,cache=512M,reserve=0";
/// Its code and its index (some 40 MiB in a debug build), the chunks above, what may be on its way from
/// the CDN at once (128 MiB), and half as much again for what is being unsealed.
const READ_PEAK_KIB_MAX: u64 = 256 << 10;

#[test]
fn sixty_four_readers_share_few_connections_and_bounded_memory() {
    const READERS: u64 = 64;
    // Several chunks, so that all of them read ahead.
    const FILE: usize = 4 * MIB;
    let data = tempfile::tempdir().unwrap();
    let world = World::on_disk(data.path());
    let machine = world.machine();
    machine.ods(&["init"]).good();
    machine.mount(&["-o", READ_OPTIONS]).good();
    for reader in 0..READERS {
        fs::write(
            machine.mnt().join(format!("{reader}")),
            edges::noise(reader, FILE),
        )
        .unwrap();
    }
    machine.ods(&["umount"]).good();
    fs::remove_dir_all(machine.path("state")).unwrap();
    machine.ods(&["init", "--join"]).good();

    world.emulator.set_limits(Limits {
        rtt_ms: 3,
        ..world.emulator.limits()
    });
    machine.mount(&["-o", READ_OPTIONS]).good();
    let before = world.emulator.connections_max();
    let served = world.emulator.counts().bytes_served;
    std::thread::scope(|scope| {
        for reader in 0..READERS {
            let path = machine.mnt().join(format!("{reader}"));
            scope.spawn(move || {
                assert!(
                    fs::read(path).unwrap() == edges::noise(reader, FILE),
                    "{reader}"
                );
            });
        }
    });
    let served = world.emulator.counts().bytes_served - served;
    let peak = edges::peak_kib(machine.daemon());
    let downloads_max = discord::settings(&world.emulator, 1, 1).downloads_max;
    let connections = world.emulator.connections_max();
    machine.ods(&["umount"]).good();
    println!("{connections} connections, {before} before; {served} bytes; peak {peak} KiB");
    assert!(
        // Downloads, and whatever the API has open at once.
        connections <= before + downloads_max + 8,
        "{connections} connections, {before} before"
    );
    assert!(peak <= READ_PEAK_KIB_MAX, "{} MiB at most", peak >> 10);
    // Nothing comes from Discord twice, though memory holds a sixteenth of it.
    let all = READERS * FILE as u64;
    assert!(served < all + all / 4, "{served} bytes for {all}");
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
