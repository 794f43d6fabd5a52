//! What Discord holds is always a state the drive really had: after every single thing that ever
//! happened there, a drive is rebuilt from it and read in full.

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
#[path = "support/past.rs"]
mod past;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use desk::Chosen;
use desk::Desk;
use desk::contents;
use desk::digest;
use ods::drive::Access;
use ods::drive::Error;
use ods::emulator::Emulator;
use ods::emulator::Limits;
use ods::store::discord::Discord;
use ods::store::discord::setup::Purpose;
use ods::store::discord::setup::Setup;
use tempfile::TempDir;

/// An emulator that writes down, one line each, everything that happens in it.
struct Past {
    data: TempDir,
    journal: u64,
    archives: u64,
}

async fn emulator(data: &Path) -> Emulator {
    let settings = ods::emulator::Settings {
        limits: Limits {
            // Content that is deleted later was there earlier.
            cdn_keep_deleted_s: 1 << 30,
            ..Limits::unlimited_rates()
        },
        data: Some(data.to_owned()),
        ..ods::emulator::Settings::default()
    };
    Emulator::start(settings).await.expect("an emulator")
}

impl Past {
    fn lines(&self) -> usize {
        past::lines(self.data.path())
    }

    fn store(&self, emulator: &Emulator) -> Arc<Discord> {
        let settings = discord::settings(emulator, self.journal, self.archives);
        Arc::new(Discord::connect(settings).expect("a store"))
    }

    /// Discord as it was when so many things had happened.
    async fn until(&self, lines: usize) -> (Emulator, TempDir) {
        let then = past::until(self.data.path(), lines);
        (emulator(then.path()).await, then)
    }
}

/// What is known of a run.
struct Run {
    past: Past,
    /// The state after each change, by when it was made.
    states: HashMap<u64, usize>,
    /// After so many things on Discord, nothing older than this state may be found.
    flushed: Vec<(usize, usize)>,
    first: usize,
}

/// A long random run, with flushes, restarts, checkpoints, and old history removed.
async fn run(seed: u64, steps: usize) -> Run {
    let data = TempDir::new().unwrap();
    let emulator = emulator(data.path()).await;
    let setup = Setup::new(discord::settings(&emulator, 0, 0)).expect("a setup");
    let channel = async |purpose| {
        let made = setup.channel(emulator.guild_id(), purpose).await;
        made.expect("a channel").id
    };
    let past = Past {
        journal: channel(Purpose::Journal).await,
        archives: channel(Purpose::Archives).await,
        data,
    };
    let first = past.lines();
    let state = TempDir::new().unwrap();
    // Published all the time beside the changes, with a checkpoint every three segments.
    let chosen = Chosen {
        linger: Duration::ZERO,
        tail_segments_max: 3,
        ..Chosen::default()
    };
    let drive = desk::open(state.path(), past.store(&emulator), &chosen).await;
    let mut desk = Desk::new(drive.expect("a drive"), seed);
    let mut states = HashMap::from([(digest(&desk.model), 0)]);
    let mut flushed = Vec::new();
    for step in 1..=steps {
        desk.step();
        // A state that comes again counts as its last time.
        states.insert(digest(&desk.model), step);
        match desk.dice.below(12) {
            0 => {
                desk.flush().await.expect("flushed");
                flushed.push((past.lines(), step));
            }
            1 if step % 3 == 0 => {
                let kept = desk.close().await;
                let drive = desk::open(state.path(), past.store(&emulator), &chosen).await;
                desk = Desk::resumed(drive.expect("the drive opens again"), kept);
            }
            2 => tokio::time::sleep(Duration::from_millis(30)).await,
            _ => {}
        }
    }
    desk.flush().await.expect("flushed");
    flushed.push((past.lines(), steps));
    desk.check("in the end").await;
    desk.drive.close().await;
    let attachments = emulator.attachments();
    let is_first =
        |one: &&ods::emulator::StoredAttachment| one.filename.starts_with("s-0000000000000001-");
    assert_eq!(
        attachments.iter().find(is_first),
        None,
        "old history is removed"
    );
    emulator.stop().await;
    Run {
        past,
        states,
        flushed,
        first,
    }
}

/// Rebuilds the drive from each moment of a run.
async fn every_moment(seed: u64, steps: usize) -> (usize, usize) {
    let run = run(seed, steps).await;
    let last = run.past.lines();
    println!("seed {seed}: {} moments", last - run.first);
    let (mut before, mut rebuilt, mut epoch_before) = (0, 0, 0);
    for lines in run.first..=last {
        let (emulator, _then) = run.past.until(lines).await;
        let state = TempDir::new().unwrap();
        let chosen = Chosen {
            access: Access::Read,
            ..Chosen::default()
        };
        let store = run.past.store(&emulator);
        let least = run.flushed.iter().rev().find(|(at, _)| *at <= lines);
        let least = least.map_or(0, |(_, step)| *step);
        let drive = match desk::open(state.path(), store, &chosen).await {
            Ok(drive) => drive,
            Err(Error::State(_)) if least == 0 && rebuilt == 0 => {
                emulator.stop().await;
                continue;
            }
            Err(error) => panic!("seed {seed}, moment {lines}: {error}"),
        };
        let found = contents(&drive).await;
        let step = run.states.get(&digest(&found));
        let epoch = drive.status().expect("a status").epoch;
        let step = *step.unwrap_or_else(|| {
            panic!("seed {seed}, moment {lines}: epoch {epoch} is no state the drive had")
        });
        assert!(
            step >= least,
            "seed {seed}, moment {lines}: the state after step {step}, but {least} was flushed"
        );
        assert!(epoch >= epoch_before, "seed {seed}, moment {lines}");
        assert!(drive.damaged().is_empty());
        drive.close().await;
        emulator.stop().await;
        (before, epoch_before) = (before.max(step), epoch);
        rebuilt += 1;
    }
    assert_eq!(before, steps, "the last moment is the last state");
    (last - run.first, rebuilt)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_moment_of_a_run_is_a_state_the_drive_had() {
    let (moments, rebuilt) = every_moment(1, 60).await;
    assert!(
        moments >= 60 && rebuilt > moments / 2,
        "{rebuilt} of {moments}"
    );
}

/// `ODS_SEED` and `ODS_SEEDS` say which runs.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes long: scripts/soak prefix"]
async fn every_moment_of_long_runs_is_a_state_the_drive_had() {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let first = number("ODS_SEED").unwrap_or(1000);
    for seed in first..first + number("ODS_SEEDS").unwrap_or(3) {
        let (moments, rebuilt) = every_moment(seed, 250).await;
        println!("seed {seed}: {rebuilt} of {moments} moments rebuilt");
    }
}
