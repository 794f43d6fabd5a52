//! `kill -9` of ods-mount, at any moment: nothing that returned is lost or undone.
//!
//! Workers do random things to a real mount; the daemon is killed; the next mount is compared with what
//! they remember. What they do follows from the seed, when the kill hits does not, so a failure is told with
//! its seed and its moment, and a seed is worth repeating.
//!
//! `ODS_KILLS` and `ODS_SEED` choose how much and where to begin; `scripts/soak crash` is the long form.

#![allow(
    unreachable_pub,
    clippy::cast_possible_truncation,
    reason = "numbers that fit, and modules that other tests use too"
)]

mod chaos;

use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chaos::Dice;
use chaos::Trap;
use chaos::machine::Foreground;
use chaos::machine::Machine;
use chaos::machine::World;
use chaos::worker::Promise;
use chaos::worker::Worker;

/// Kills of one drive before another one is made: what the emulator keeps is in memory.
const KILLS_PER_DRIVE: u64 = 25;

/// A moment that does not come within this is a random one after all.
const MOMENT_MAX: Duration = Duration::from_millis(1500);

/// When the daemon is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// At any time, while workers work.
    Working,
    /// While it waits for the answer to a request of this route, before or after Discord has carried it out.
    Asking(&'static str),
    /// The same, while it mounts: before anybody can use the drive.
    MountingAsking(&'static str),
    /// At any time while it mounts and replays.
    Mounting,
    /// While a command runs beside the work.
    Beside(&'static [&'static str]),
    /// While a command runs after the work.
    After(&'static [&'static str]),
    /// While a signal ends it, beside the work: it drains and takes the mount away.
    Leaving,
    /// The same, after the work.
    LeavingQuietly,
}

impl Moment {
    /// Is the work done when it comes?
    fn is_quiet(self) -> bool {
        matches!(self, Moment::After(_) | Moment::LeavingQuietly)
    }
}

/// All of them, each as often as it stands here. What moves data later belongs here too.
const MOMENTS: &[(&str, Moment)] = &[
    ("work", Moment::Working),
    ("work", Moment::Working),
    (
        "upload or publish",
        Moment::Asking("POST /channels/{}/messages"),
    ),
    (
        "upload or publish",
        Moment::Asking("POST /channels/{}/messages"),
    ),
    (
        "publish or checkpoint",
        Moment::Asking("POST /channels/{journal}/messages"),
    ),
    (
        "publish or checkpoint",
        Moment::Asking("POST /channels/{journal}/messages"),
    ),
    (
        "new thread",
        Moment::Asking("POST /channels/{}/messages/{}/threads"),
    ),
    ("card", Moment::Asking("PATCH /channels/{}/messages/{}")),
    (
        "look before publishing",
        Moment::Asking("GET /channels/{journal}/messages"),
    ),
    ("mount", Moment::Mounting),
    ("mount, asking", Moment::MountingAsking("* /*")),
    (
        "mount, lease",
        Moment::MountingAsking("POST /channels/{journal}/messages"),
    ),
    ("flush", Moment::Beside(&["flush"])),
    ("gc", Moment::Beside(&["gc", "--delay", "0s"])),
    ("gc", Moment::Beside(&["gc", "--delay", "0s"])),
    ("repair", Moment::Beside(&["repair"])),
    ("unmount", Moment::After(&["umount", "--force"])),
    ("unmount, waiting", Moment::After(&["umount"])),
    ("leaving", Moment::Leaving),
    ("leaving", Moment::LeavingQuietly),
];

/// What was done in all.
#[derive(Default)]
struct Tally {
    kills: u64,
    operations: u64,
    cut_short: u64,
    /// Kills while a request was held.
    hits: u64,
    rebuilt: u64,
    moments: std::collections::BTreeMap<&'static str, u64>,
}

struct Life {
    world: World,
    machine: Machine,
    journal: String,
    workers: Vec<Worker>,
    dice: Dice,
}

impl Life {
    fn new(seed: u64) -> Life {
        let world = World::new();
        let machine = world.machine();
        machine.ods(&["init"]).good();
        let config = std::fs::read_to_string(machine.path("config/ods/config.toml"));
        let config = config.expect("a configuration");
        let journal = config
            .lines()
            .find_map(|line| line.strip_prefix("journal_channel = "));
        let journal = journal.expect("a channel").to_owned();
        let mut dice = Dice::new(seed);
        let workers = (0..3).map(|nth| Worker::new(nth, Promise::Everything, dice.next()));
        Life {
            workers: workers.collect(),
            journal,
            world,
            machine,
            dice,
        }
    }

    /// Settings with which everything happens often.
    fn options(&mut self) -> String {
        let linger = ["0.02", "0.1", "0.5"][self.dice.below(3) as usize];
        let age = ["0.1", "0.4", "2"][self.dice.below(3) as usize];
        let epoch = ["64K", "512K", "8M"][self.dice.below(3) as usize];
        let tail = ["1", "2", "5"][self.dice.below(3) as usize];
        let spool = ["16M", "64M", "1G"][self.dice.below(3) as usize];
        let cache = ["1M", "100M"][self.dice.below(2) as usize];
        format!(
            "dev,suid,takeover,reserve=0,memory=1M,linger={linger},age={age},epoch={epoch},tail={tail},spool={spool},cache={cache}"
        )
    }

    fn start(&mut self) -> Foreground {
        let options = self.options();
        let mnt = self.machine.mnt();
        self.machine
            .start("ods-mount", &[mnt.to_str().expect("text"), "-o", &options])
    }

    fn mounted(&mut self) -> Foreground {
        let mut mount = self.start();
        mount.says("main is mounted");
        mount
    }

    fn trap(&mut self, route: &str, among: u64) -> Trap {
        let route = route.replace("{journal}", &self.journal);
        Trap::set(&self.world, &mut self.dice, &route, among)
    }

    fn wait(&mut self, most_ms: u64) {
        chaos::pass(&mut self.dice, most_ms);
    }

    /// Mounts, lets them work, kills the daemon at this moment, mounts again and compares.
    fn kill_once(&mut self, moment: Moment, tally: &mut Tally) -> Result<(), String> {
        if let Moment::Mounting | Moment::MountingAsking(_) = moment {
            self.kill_a_mount(moment, tally);
            return Ok(());
        }
        let mut mount = self.mounted();
        for worker in &mut self.workers {
            let matched = worker.check(&self.machine.mnt())?;
            tally.cut_short += u64::from(matched.has_pending);
            if self.dice.one_in(3) {
                worker.let_go();
            }
        }
        let mut workers = std::mem::take(&mut self.workers);
        let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
        // By a handle: a mount that is taken away out of sight is still the one they mean.
        let handle = std::fs::File::open(self.machine.mnt()).expect("a mount");
        let root = PathBuf::from(format!("/proc/self/fd/{}", handle.as_raw_fd()));
        let told: Vec<Result<(), String>> = std::thread::scope(|scope| {
            let (stop, done, root) = (&stop, &done, &root);
            let work = workers
                .iter_mut()
                .map(|worker| scope.spawn(move || worker.work(root, stop, done)));
            let work: Vec<_> = work.collect();
            let join = |work: Vec<std::thread::ScopedJoinHandle<'_, Result<(), String>>>| {
                let told = work.into_iter().map(|one| one.join());
                told.map(|one| one.expect("no panic at work")).collect()
            };
            if moment.is_quiet() {
                self.wait(400);
                stop.store(true, Ordering::Release);
                let told = join(work);
                drop(handle);
                self.until(moment, &mut mount, tally);
                mount.stop();
                return told;
            }
            self.until(moment, &mut mount, tally);
            let is_alive = mount.is_running();
            let is_early = is_alive && work.iter().any(|one| one.is_finished());
            mount.stop();
            stop.store(true, Ordering::Release);
            let mut told: Vec<_> = join(work);
            if !is_alive && moment != Moment::Leaving {
                told.push(Err(String::from("the daemon ended by itself")));
            }
            if is_early && moment != Moment::Leaving {
                told.push(Err(String::from("an operation failed before the kill")));
            }
            told
        });
        for worker in &workers {
            if moment.is_quiet()
                && let Some((op, errno)) = worker.pending()
            {
                return Err(format!(
                    "{op:?} failed with errno {errno} and nothing was killed"
                ));
            }
        }
        self.workers = workers;
        self.world.emulator.faults().clear();
        tally.operations += done.load(Ordering::Relaxed);
        told.into_iter()
            .collect::<Result<(), String>>()
            .map_err(|error| {
                let pending = self.workers.iter().filter_map(Worker::pending);
                let pending: Vec<String> = pending.map(|one| brief(&one)).collect();
                format!("{error}; not returned: {pending:?}")
            })
    }

    /// Waits for the moment.
    fn until(&mut self, moment: Moment, mount: &mut Foreground, tally: &mut Tally) {
        match moment {
            Moment::Asking(route) => {
                let trap = self.trap(route, 5);
                tally.hits += u64::from(trap.wait(&self.world, MOMENT_MAX));
                self.wait(8);
            }
            Moment::Beside(words) | Moment::After(words) => {
                self.wait(300);
                let mut command = self.machine.start_beside("ods", words);
                self.wait(250);
                command.stop();
            }
            Moment::Leaving | Moment::LeavingQuietly => {
                self.wait(300);
                mount.signal("INT");
                self.wait(250);
            }
            Moment::Working | Moment::Mounting | Moment::MountingAsking(_) => self.wait(900),
        }
    }

    fn kill_a_mount(&mut self, moment: Moment, tally: &mut Tally) {
        let trap = match moment {
            Moment::MountingAsking(route) => Some(self.trap(route, 12)),
            _ => None,
        };
        let mut mount = self.start();
        match trap {
            None => self.wait(600),
            Some(trap) => {
                tally.hits += u64::from(trap.wait(&self.world, MOMENT_MAX));
                self.wait(4);
            }
        }
        assert!(mount.is_running(), "{}", mount.err());
        mount.stop();
        self.world.emulator.faults().clear();
    }

    /// Compares a mount that nobody has worked on yet with what is remembered.
    fn compare(&mut self, tally: &mut Tally) -> Result<(), String> {
        let mut mount = self.mounted();
        for worker in &mut self.workers {
            worker.check(&self.machine.mnt())?;
            worker.let_go();
        }
        if self.dice.one_in(8) {
            self.rebuild(mount)?;
            tally.rebuilt += 1;
            return Ok(());
        }
        mount.stop();
        Ok(())
    }

    /// Everything to Discord, the machine is lost, another one sets the drive up.
    fn rebuild(&mut self, mut mount: Foreground) -> Result<(), String> {
        self.machine.ods(&["flush"]).good();
        mount.stop();
        for dir in ["state", "config"] {
            std::fs::remove_dir_all(self.machine.path(dir)).expect("removed");
        }
        self.machine.ods(&["init", "--join"]).good();
        let mut mount = self.mounted();
        for worker in &mut self.workers {
            let checked = worker.check(&self.machine.mnt());
            checked.map_err(|error| format!("after a rebuild: {error}"))?;
        }
        mount.stop();
        Ok(())
    }
}

/// An operation in few words.
fn brief(op: &impl std::fmt::Debug) -> String {
    let mut text = format!("{op:?}");
    text.truncate(300);
    text
}

fn live(seed: u64, kills: u64, tally: &mut Tally) {
    let mut life = Life::new(seed);
    for nth in 0..kills {
        let (name, moment) = *life.dice.pick(MOMENTS).expect("moments");
        let told = life.kill_once(moment, tally);
        tally.kills += 1;
        *tally.moments.entry(name).or_default() += 1;
        // Sometimes killed again before anybody looks.
        let is_last = nth + 1 == kills;
        let told = match is_last || life.dice.one_in(3) {
            true => told.and_then(|()| life.compare(tally)),
            false => told,
        };
        if let Err(difference) = told {
            let moment = format!("seed {seed}, kill {nth}, at `{name}` ({moment:?})");
            chaos::differs(&life.machine, &moment, &difference);
        }
    }
}

#[test]
fn kill_9_loses_and_undoes_nothing_that_returned() {
    let mut tally = Tally::default();
    let seeds = chaos::lives("ODS_KILLS", 20, KILLS_PER_DRIVE, |seed, kills| {
        live(seed, kills, &mut tally);
    });
    println!(
        "crash: {} kills ({} of them while a request was held), {} operations, {} cut short, {} rebuilt, 0 differences, seeds {seeds:?}; {:?}",
        tally.kills, tally.hits, tally.operations, tally.cut_short, tally.rebuilt, tally.moments
    );
}
