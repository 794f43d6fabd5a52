//! Power cuts of the machine ods-mount runs on: what was synced is there, and the rest is as it was at some moment.
//!
//! Configuration and state directory lie on a disk that forgets (`lossy`). Workers do random things to a
//! real mount and sync now and then; the power goes; the disk forgets what was not synced, wholly or partly;
//! the next mount has to come up by itself, and is compared with what the workers remember. More is asked for
//! than was promised: what is found must be a state that each worker's names had, not older than its last sync.
//!
//! `ODS_CUTS` and `ODS_SEED` choose how much and where to begin; `scripts/soak power` is the long form.

#![allow(
    unreachable_pub,
    clippy::cast_possible_truncation,
    reason = "numbers that fit, and modules that other tests use too"
)]

mod chaos;
mod lossy;

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
use lossy::Forget;
use lossy::Lossy;
use lossy::Names;
use lossy::on_a_lossy_disk;
use lossy::sync;

/// Cuts of one drive before another one is made.
const CUTS_PER_DRIVE: u64 = 20;

/// An armed change that does not come within this does not come: the power goes then.
const TRIP_MAX: Duration = Duration::from_millis(800);

/// When the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// At one change of the disk (a write, a sync, a name) of many, while workers work.
    Change,
    /// While it waits for the answer to something it sends to Discord, while workers work.
    Sending,
    /// At one of the first changes after it was started: while it recovers.
    Mounting,
    /// After everything was brought to Discord, which is a sync of all.
    Flushed,
    /// At one of the first changes after it was told to end.
    Leaving,
}

const MOMENTS: &[(&str, Moment)] = &[
    ("work", Moment::Change),
    ("work", Moment::Change),
    ("work", Moment::Change),
    ("upload or publish", Moment::Sending),
    ("mount", Moment::Mounting),
    ("flushed", Moment::Flushed),
    ("leaving", Moment::Leaving),
];

#[derive(Default)]
struct Tally {
    cuts: u64,
    operations: u64,
    lost: u64,
    moments: std::collections::BTreeMap<&'static str, u64>,
}

struct Life {
    /// Before the disk and the directories it is mounted in.
    machine: Machine,
    lossy: Lossy,
    world: World,
    workers: Vec<Worker>,
    dice: Dice,
}

impl Life {
    fn new(seed: u64) -> Life {
        let mut dice = Dice::new(seed);
        let names = [Names::ByDirectory, Names::ByDirectory, Names::ByAny][dice.below(3) as usize];
        let (world, machine, lossy) = on_a_lossy_disk(names);
        machine.ods(&["init"]).good();
        let workers = (0..2).map(|nth| Worker::new(nth, Promise::Synced, dice.next()));
        Life {
            workers: workers.collect(),
            machine,
            lossy,
            world,
            dice,
        }
    }

    fn start(&mut self) -> Foreground {
        let linger = ["0.02", "0.2", "30"][self.dice.below(3) as usize];
        let epoch = ["256K", "8M"][self.dice.below(2) as usize];
        let tail = ["1", "3"][self.dice.below(2) as usize];
        let spool = ["16M", "1G"][self.dice.below(2) as usize];
        let options = format!(
            "dev,suid,reserve=0,memory=1M,cache=8M,linger={linger},age={linger},epoch={epoch},tail={tail},spool={spool}"
        );
        let mnt = self.machine.mnt();
        self.machine
            .start("ods-mount", &[mnt.to_str().expect("text"), "-o", &options])
    }

    /// Mounts and compares.
    fn mounted(&mut self, tally: &mut Tally) -> Result<Foreground, String> {
        let mut mount = self.start();
        mount.says("main is mounted");
        for worker in &mut self.workers {
            tally.lost += worker.check(&self.machine.mnt())?.lost as u64;
            worker.let_go();
        }
        let said = mount.err();
        match said.contains(" lost") {
            true => Err(format!("it says that something is lost: {said}")),
            false => Ok(mount),
        }
    }

    fn cut_once(&mut self, moment: Moment, tally: &mut Tally) -> Result<(), String> {
        let told = match moment {
            Moment::Mounting => {
                self.lossy.arm(self.dice.clone().below(60));
                self.dice.next();
                let mut mount = self.start();
                self.lossy.has_tripped(TRIP_MAX);
                self.lossy.off_under(&mut mount);
                Ok(())
            }
            moment => {
                let mount = self.mounted(tally)?;
                self.work(mount, moment, tally)
            }
        };
        let forget = [
            Forget::Some,
            Forget::Some,
            Forget::Everything,
            Forget::Nothing,
        ];
        let forget = *self.dice.pick(&forget).expect("some");
        self.lossy.cut(forget, self.dice.next());
        told.map_err(|error| format!("{error} (forgot {forget:?})"))
    }

    /// Lets them work until the power is gone.
    fn work(
        &mut self,
        mut mount: Foreground,
        moment: Moment,
        tally: &mut Tally,
    ) -> Result<(), String> {
        let mut workers = std::mem::take(&mut self.workers);
        let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
        let handle = std::fs::File::open(self.machine.mnt()).expect("a mount");
        let root = PathBuf::from(format!("/proc/self/fd/{}", handle.as_raw_fd()));
        let told: Vec<Result<(), String>> = std::thread::scope(|scope| {
            let (stop, done, root) = (&stop, &done, &root);
            let work = workers
                .iter_mut()
                .map(|worker| scope.spawn(move || worker.work(root, stop, done)));
            let work: Vec<_> = work.collect();
            let join = |work: Vec<std::thread::ScopedJoinHandle<'_, Result<(), String>>>| {
                stop.store(true, Ordering::Release);
                let told = work.into_iter().map(|one| one.join());
                told.map(|one| one.expect("no panic at work")).collect()
            };
            if let Moment::Change | Moment::Sending = moment {
                let has_tripped = self.until(moment);
                let is_early = !has_tripped && work.iter().any(|one| one.is_finished());
                self.lossy.off_under(&mut mount);
                let mut told: Vec<_> = join(work);
                if is_early {
                    told.push(Err(String::from(
                        "an operation failed while the disk was good",
                    )));
                }
                return told;
            }
            chaos::pass(&mut self.dice, 500);
            let told = join(work);
            drop(handle);
            told
        });
        self.workers = workers;
        tally.operations += done.load(Ordering::Relaxed);
        told.into_iter().collect::<Result<(), String>>()?;
        match moment {
            Moment::Flushed => {
                self.machine.ods(&["flush"]).good();
                self.workers.iter_mut().for_each(Worker::synced);
                self.lossy.off_under(&mut mount);
            }
            Moment::Leaving => {
                self.workers.iter_mut().for_each(Worker::let_go);
                self.lossy.arm(self.dice.below(80));
                mount.signal("INT");
                self.lossy.has_tripped(TRIP_MAX);
                self.lossy.off_under(&mut mount);
            }
            Moment::Change | Moment::Sending | Moment::Mounting => {}
        }
        Ok(())
    }

    /// Waits for a moment among the work; true if the disk has stopped by itself.
    fn until(&mut self, moment: Moment) -> bool {
        if moment == Moment::Sending {
            let trap = Trap::set(&self.world, &mut self.dice, "POST /channels/{}/messages", 5);
            trap.wait(&self.world, TRIP_MAX);
            return false;
        }
        let changes = [40, 400, 4000][self.dice.below(3) as usize];
        self.lossy.arm(self.dice.below(changes));
        self.lossy.has_tripped(TRIP_MAX)
    }
}

fn live(seed: u64, cuts: u64, tally: &mut Tally) {
    let mut life = Life::new(seed);
    for nth in 0..=cuts {
        let (name, moment) = *life.dice.pick(MOMENTS).expect("moments");
        let told = match nth == cuts {
            true => life.mounted(tally).map(|mut mount| mount.stop()),
            false => life.cut_once(moment, tally),
        };
        if let Err(difference) = told {
            let moment = format!("seed {seed}, cut {nth}, before `{name}`");
            chaos::differs(&life.machine, &moment, &difference);
        }
        if nth < cuts {
            tally.cuts += 1;
            *tally.moments.entry(name).or_default() += 1;
        }
    }
}

#[test]
fn what_was_synced_survives_the_power_and_nothing_is_torn() {
    let mut tally = Tally::default();
    let seeds = chaos::lives("ODS_CUTS", 16, CUTS_PER_DRIVE, |seed, cuts| {
        live(seed, cuts, &mut tally);
    });
    println!(
        "power: {} cuts, {} operations, {} not synced and gone, 0 differences, seeds {seeds:?}; {:?}",
        tally.cuts, tally.operations, tally.lost, tally.moments
    );
}

/// Nothing has been synced by anybody but the programs themselves: what they return on must be enough.
#[test]
fn a_new_drive_survives_the_power_from_its_first_moment() {
    for (seed, names) in [(1, Names::ByDirectory), (2, Names::ByAny)] {
        let (world, machine, mut lossy) = on_a_lossy_disk(names);
        machine.ods(&["init"]).good();
        lossy.off();
        lossy.cut(Forget::Everything, seed);
        let mnt = machine.mnt();
        for nth in 0..3_u8 {
            let mut mount = machine.start("ods-mount", &[mnt.to_str().expect("text")]);
            mount.says("main is mounted");
            for earlier in 0..nth {
                let content = std::fs::read(mnt.join(format!("file{earlier}")));
                assert_eq!(content.expect("it was synced"), [earlier; 5000]);
            }
            let path = mnt.join(format!("file{nth}"));
            std::fs::write(&path, [nth; 5000]).expect("written");
            sync(&path);
            lossy.off();
            mount.stop();
            lossy.cut(Forget::Everything, seed);
        }
        drop(world);
    }
}

/// The space of removed content is not given back before the removal itself is durable.
#[test]
fn what_was_removed_and_not_synced_is_there_again_whole() {
    let (_world, machine, mut lossy) = on_a_lossy_disk(Names::ByDirectory);
    machine.ods(&["init"]).good();
    let mnt = machine.mnt();
    // Nothing is published, and a segment is sealed every 2 MiB.
    let options = "spool=16M,reserve=0,linger=3600,age=3600";
    let args = [mnt.to_str().expect("text"), "-o", options];
    let mut mount = machine.start("ods-mount", &args);
    mount.says("main is mounted");
    let content = |nth: u64| Dice::new(nth).bytes(700_000);
    let path = |nth: u64| mnt.join(format!("file{nth}"));
    for nth in 0..12 {
        std::fs::write(path(nth), content(nth)).expect("written");
    }
    sync(&path(3));
    for nth in 0..6 {
        std::fs::remove_file(path(nth)).expect("removed");
    }
    for nth in 6..9 {
        std::fs::write(path(nth), "something else").expect("written");
    }
    lossy.off();
    mount.stop();
    lossy.cut(Forget::AllButHoles, 1);
    let mut mount = machine.start("ods-mount", &args);
    mount.says("main is mounted");
    // Each as it was before or after what was done to it, and never a hole in it.
    let gone = (0..12).find(|nth| match std::fs::read(path(*nth)) {
        Ok(is) if is == content(*nth) => false,
        Ok(is) => !(6..9).contains(nth) || !(is.is_empty() || is == b"something else"),
        Err(error) => *nth >= 6 || error.kind() != std::io::ErrorKind::NotFound,
    });
    assert_eq!(gone, None, "{}", mount.err());
    mount.stop();
}

#[test]
#[ignore = "the other process of the test above; nothing by itself"]
fn a_disk_that_forgets() {
    lossy::serve();
}
