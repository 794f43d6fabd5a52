//! Many faults at once, by chance, over a long workload with restarts and crashes: in the end everything
//! is there, here and on Discord, and once.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]

#[path = "badday/desk.rs"]
mod desk;
#[path = "support/dice.rs"]
mod dice;
#[path = "support/discord.rs"]
mod discord;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use desk::Chosen;
use desk::Desk;
use desk::assert_same;
use desk::contents;
use dice::Dice;
use discord::Place;
use discord::place_with;
use ods::codec::pack::pack_name;
use ods::drive::Drive;
use ods::drive::Error;
use ods::emulator::ErrorBody;
use ods::emulator::Fault;
use ods::emulator::FaultKind;
use ods::emulator::Limits;
use ods::emulator::Recorded;
use ods::emulator::Scope;
use ods::emulator::When;
use ods::emulator::permission;
use ods::id::PackId;
use ods::index::key;
use ods::store::Span;
use ods::store::Store;
use ods::store::discord::Discord;
use ods::store::discord::Settings;
use tempfile::TempDir;

/// Listings that may lack a message.
const LATE_LISTINGS_MAX: u64 = 3;

/// Three packs of 8⅓ MiB fill a message, until Discord is known to take more.
const PACKS_IN_A_MESSAGE: usize = 3;

const ROUTES: [&str; 4] = [discord::POST, "* /channels/*", "GET /attachments/*", "* /*"];

/// One thing that may go wrong, as often as chance wants.
fn misfortune(dice: &mut Dice) -> Fault {
    let status = dice.of(&[500, 502, 503, 504]);
    let body = dice.of(&[ErrorBody::Json, ErrorBody::Html, ErrorBody::Plain]);
    let scope = dice.of(&[Scope::User, Scope::Shared, Scope::Global]);
    let bytes = 1 + dice.below(30_000);
    let post = discord::POST;
    let (route, kind) = match dice.below(14) {
        0..3 => (dice.of(&ROUTES), FaultKind::Error { status, body }),
        3 | 4 => (
            dice.of(&ROUTES),
            FaultKind::RateLimited {
                scope,
                retry_after_s: 0.02,
                remaining: dice.below(3) as u32,
                code: dice.of(&[None, Some(20028), Some(30046)]),
            },
        ),
        5 => (post, FaultKind::ResetUpload { after_bytes: bytes }),
        6 => (ROUTES[2], FaultKind::ResetDownload { after_bytes: bytes }),
        7 | 8 => (
            dice.of(&ROUTES[..2]),
            FaultKind::LostAnswer {
                status: dice.of(&[None, None, Some(502)]),
            },
        ),
        9 => (
            post,
            FaultKind::TruncateStore {
                keep_bytes: dice.below(200),
                recorded: dice.of(&[Recorded::Short, Recorded::Full]),
            },
        ),
        10 => (post, FaultKind::WrongBytes { gets: 1 }),
        11 => (
            post,
            FaultKind::ListedLate {
                ms: 0,
                listings: 1 + dice.below(LATE_LISTINGS_MAX),
            },
        ),
        12 => (dice.of(&ROUTES), FaultKind::ThreadArchived),
        _ => (
            dice.of(&ROUTES),
            FaultKind::Delay {
                ms: dice.below(40),
                when: dice.of(&[When::Before, When::After]),
            },
        ),
    };
    let chance = dice.of(&[0.05, 0.2, 0.6]);
    let fault = Fault::new(route, kind).after(dice.below(4));
    fault.with_probability(chance).times(1 + dice.below(12))
}

struct Days {
    place: Place,
    dir: TempDir,
    desk: Option<Desk>,
    /// How often a drive was stopped with something under way.
    crashes: usize,
}

fn copy_all(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy_all(&entry.path(), &target)?,
            false => std::fs::copy(entry.path(), &target).map(drop)?,
        }
    }
    Ok(())
}

impl Days {
    fn store(&self) -> Arc<Discord> {
        let settings = Settings {
            patience: Duration::from_millis(500),
            ..self.place.settings()
        };
        Arc::new(Discord::connect(settings).expect("a store"))
    }

    fn desk(&mut self) -> &mut Desk {
        self.desk.as_mut().expect("open")
    }

    /// Opens the drive, as often as it takes.
    async fn open(&self, dir: &Path) -> Arc<Drive> {
        let started = Instant::now();
        loop {
            match desk::open(dir, self.store(), &Chosen::default()).await {
                Ok(drive) => return drive,
                Err(Error::Store(error))
                    if error.is_passing() && started.elapsed() < Duration::from_secs(60) => {}
                Err(error) => panic!("the drive does not open: {error}"),
            }
        }
    }

    /// Goes on trying for a while; whether it gets through does not matter yet.
    async fn flush(&self) {
        let drive = Arc::clone(&self.desk.as_ref().expect("open").drive);
        let started = Instant::now();
        let flush = move || drive.flush(|| started.elapsed() < Duration::from_secs(2));
        match tokio::task::spawn_blocking(flush).await.expect("no panic") {
            Ok(()) | Err(Error::Timeout(_) | Error::Store(_)) => {}
            Err(error) => panic!("a flush fails for good: {error}"),
        }
    }

    async fn restart(&mut self) {
        let kept = self.desk.take().expect("open").close().await;
        let drive = self.open(self.dir.path()).await;
        self.desk = Some(Desk::resumed(drive, kept));
    }

    /// As after kill -9: goes on from a copy of what is on the disk.
    async fn crash(&mut self) {
        // A file may get another name meanwhile: then what was copied is no state the disk ever had.
        let copy = loop {
            let copy = TempDir::new().unwrap();
            if copy_all(self.dir.path(), copy.path()).is_ok() {
                break copy;
            }
        };
        let kept = self.desk.take().expect("open").close().await;
        self.crashes += 1;
        self.dir = copy;
        let drive = self.open(self.dir.path()).await;
        self.desk = Some(Desk::resumed(drive, kept));
    }

    /// The account is turned away for a while.
    async fn turned_away(&mut self) {
        let by_token = self.desk().dice.below(2) == 0;
        match by_token {
            true => self.place.emulator.revoke_token(),
            false => self.place.emulator.set_permissions(0).expect("set"),
        }
        for _ in 0..5 {
            self.desk().step();
        }
        self.flush().await;
        self.place.emulator.restore_token();
        let all = self.place.emulator.set_permissions(permission::BOT);
        all.expect("set");
    }

    async fn day(&mut self) {
        let faults = 1 + self.desk().dice.below(4);
        for _ in 0..faults {
            let fault = misfortune(&mut self.desk().dice);
            self.place.emulator.faults().add(fault);
        }
        for _ in 0..8 {
            self.desk().step();
        }
        match self.desk().dice.below(10) {
            0 | 1 => self.restart().await,
            2 => self.crash().await,
            3 => self.turned_away().await,
            _ => self.flush().await,
        }
        if self.desk().dice.below(3) == 0 {
            self.place.emulator.faults().clear();
        }
    }

    /// Every pack that is referred to is on Discord, once; gives how many are there for nothing.
    async fn packs(&self, drive: &Drive) -> usize {
        let (from, to) = key::all(b'P');
        let rows = drive.view().scan(&from, &to, usize::MAX).expect("read");
        let known = rows.iter().map(|(key, _)| {
            let id: [u8; 16] = key[1..].try_into().expect("an id");
            pack_name(PackId(id))
        });
        let known: BTreeSet<String> = known.collect();
        let stored = self.place.emulator.attachments();
        let stored = stored
            .iter()
            .filter(|one| one.channel != self.place.journal);
        let names: Vec<&String> = stored.map(|one| &one.filename).collect();
        let unique: BTreeSet<&String> = names.iter().copied().collect();
        assert_eq!(unique.len(), names.len(), "a pack is stored twice");
        assert!(
            known.iter().all(|name| unique.contains(name)),
            "a pack is lost"
        );
        names.len() - known.len()
    }
}

async fn play(seed: u64, days: u32) {
    println!("seed {seed}");
    let mut all = Days::new(seed).await;
    for _ in 0..days {
        all.day().await;
        // What is local is at hand, whatever is the matter.
        all.place.emulator.faults().clear();
        all.desk().check("on the way").await;
    }
    let desk = all.desk.take().expect("open");
    // What was refused just before all turned good may be heard just after.
    let mut flushed = desk.flush().await;
    if let Err(Error::Store(_)) = flushed {
        flushed = desk.flush().await;
    }
    flushed.expect("it recovers without help");
    // A request that was under way when all turned good is tried once more.
    let started = Instant::now();
    while desk.drive.status().expect("a status").last_error.is_some() {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "an error that stays"
        );
        tokio::task::yield_now().await;
    }
    let status = desk.drive.status().expect("a status");
    assert_eq!((status.read_only, status.unpublished), (None, false));
    desk.check("in the end").await;
    assert!(desk.drive.damaged().is_empty());
    let extra = all.packs(&desk.drive).await;
    // Stopped between sending and its record, the packs of a message may be sealed anew; no more than that.
    assert!(
        extra <= all.crashes * PACKS_IN_A_MESSAGE,
        "{extra} packs for nothing, {} crashes",
        all.crashes
    );
    let counts = all.place.emulator.counts();
    assert!(counts.invalid < 500, "{} invalid requests", counts.invalid);
    assert_eq!(counts.cdn_with_authorization, 0);
    let kept = desk.close().await;
    // An empty machine believes the listing: what was put last and is listed late, nothing else tells of.
    let store = all.store();
    for _ in 0..LATE_LISTINGS_MAX {
        store
            .list(&store.journal(), Span::Newest)
            .await
            .expect("listed");
    }
    let fresh = TempDir::new().unwrap();
    let drive = all.open(fresh.path()).await;
    assert_same(&contents(&drive).await, &kept.model, "rebuilt");
    drive.close().await;
}

impl Days {
    async fn new(seed: u64) -> Days {
        let place = place_with(Limits::unlimited_rates()).await;
        let mut all = Days {
            place,
            dir: TempDir::new().unwrap(),
            desk: None,
            crashes: 0,
        };
        let drive = all.open(all.dir.path()).await;
        all.desk = Some(Desk::new(drive, seed));
        all
    }

    /// Lets a request through whose answer is lost, and nothing after it; then the process is killed.
    async fn crash_after_the_first(&mut self, route: &str, kinds: &[FaultKind]) {
        let lost = FaultKind::LostAnswer { status: None };
        for kind in kinds.iter().chain([&lost]) {
            let fault = Fault::new(route, kind.clone()).times(1);
            self.place.emulator.faults().add(fault);
        }
        let down = FaultKind::Error {
            status: 503,
            body: ErrorBody::Json,
        };
        let fault = Fault::new(route, down.clone()).after(1);
        self.place.emulator.faults().add(fault);
        self.flush().await;
        let fault = Fault::new("* /*", down);
        self.place.emulator.faults().add(fault);
        let copy = TempDir::new().unwrap();
        copy_all(self.dir.path(), copy.path()).expect("nothing changes now");
        let kept = self.desk.take().expect("open").close().await;
        self.place.emulator.faults().clear();
        self.dir = copy;
        let drive = self.open(self.dir.path()).await;
        self.desk = Some(Desk::resumed(drive, kept));
    }

    async fn ends_well(mut self) {
        let desk = self.desk.take().expect("open");
        desk.flush().await.expect("it goes on");
        desk.check("in the end").await;
        self.packs(&desk.drive).await;
        let kept = desk.close().await;
        let fresh = TempDir::new().unwrap();
        let drive = self.open(fresh.path()).await;
        assert_same(&contents(&drive).await, &kept.model, "rebuilt");
        drive.close().await;
    }
}

/// Killed after its segment was stored, a machine does not see it when it comes back, and goes on; when
/// it does, it is its own, and history goes on with what covers more.
#[tokio::test(flavor = "multi_thread")]
async fn an_own_segment_that_is_listed_late_is_nobody_elses() {
    for listings in 1..6 {
        let mut all = Days::new(77).await;
        all.desk().create("file");
        all.desk().write("file", 0, b"before");
        all.flush().await;
        all.desk().write("file", 0, b"middle");
        let late = FaultKind::ListedLate { ms: 0, listings };
        let route = format!("POST /channels/{}/messages", all.place.journal);
        all.crash_after_the_first(&route, &[late]).await;
        all.desk().write("file", 0, b"after!");
        let desk = all.desk.as_ref().expect("open");
        desk.flush().await.expect("it is no fork");
        assert_eq!(desk.drive.read_only(), None);
        all.ends_well().await;
    }
}

/// A shelf that is made for a lost one is made once, although its answer is lost and nobody remembers.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_and_a_restart_make_no_second_card() {
    let mut all = Days::new(78).await;
    all.desk().mkdir("docs");
    all.desk().create("docs/file");
    let bytes = all.desk().dice.bytes(50_000);
    all.desk().write("docs/file", 0, &bytes);
    all.flush().await;
    let cards = all.place.emulator.messages(all.place.archives);
    for card in &cards {
        all.place
            .emulator
            .delete_channel(*card)
            .expect("its thread");
    }
    let bytes = all.desk().dice.bytes(50_000);
    all.desk().write("docs/file", 0, &bytes);
    let route = format!("POST /channels/{}/messages", all.place.archives);
    all.crash_after_the_first(&route, &[]).await;
    all.flush().await;
    let now = all.place.emulator.messages(all.place.archives);
    assert_eq!(
        now.len(),
        cards.len() + 1,
        "one new card for the thread that was used"
    );
    let desk = all.desk.as_ref().expect("open");
    desk.check("in the end").await;
    desk.drive.close().await;
}

/// Whoever has one thread only can close a drive too.
#[tokio::test]
async fn a_drive_closes_on_a_single_thread() {
    let place = place_with(Limits::unlimited_rates()).await;
    let dir = TempDir::new().unwrap();
    let store = Arc::new(place.store());
    let drive = desk::open(dir.path(), store, &Chosen::default()).await;
    let drive = drive.expect("a drive");
    let waiting = Arc::clone(&drive);
    let flushed = tokio::task::spawn_blocking(move || waiting.flush(|| true));
    flushed.await.unwrap().expect("nothing is left to publish");
    drive.close().await;
    drive.close().await;
    let leases = place.emulator.attachments();
    assert!(leases.iter().all(|one| !one.filename.starts_with("l-")));
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_days_by_chance() {
    for seed in 1..=4 {
        play(seed, 12).await;
    }
}

/// `ODS_SEED` and `ODS_SEEDS` say which.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes long: scripts/soak badday"]
async fn many_bad_days_by_chance() {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let first = number("ODS_SEED").unwrap_or(1000);
    for seed in first..first + number("ODS_SEEDS").unwrap_or(20) {
        play(seed, 40).await;
    }
}
