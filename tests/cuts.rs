//! Commands during which the power goes: the drive mounts by itself, what was synced is there, nothing is wrong.
//!
//! Configuration and state directory lie on a disk that forgets (`lossy`). A command runs; at one of its changes of
//! the disk, or while it waits for Discord, the power goes; the disk forgets what was not synced, wholly or partly.
//! A disk that forgets nothing is a command that was killed there.
//!
//! `ODS_CUTS` and `ODS_SEED` choose how much and where to begin.

#![allow(
    unreachable_pub,
    clippy::cast_possible_truncation,
    reason = "modules that other tests use too"
)]

mod chaos;
mod lossy;
#[path = "support/made.rs"]
mod made;

use std::collections::BTreeMap;
use std::time::Duration;

use chaos::Dice;
use chaos::Trap;
use chaos::machine as support;
use lossy::Forget;
use lossy::Lossy;
use lossy::Names;
use lossy::on_a_lossy_disk;
use lossy::sync;
use support::Foreground;
use support::Machine;
use support::PASSPHRASE;
use support::World;
use support::until;

/// Cuts of one drive before another one is made.
const CUTS_PER_DRIVE: u64 = 4;

/// Changes of the disk, one of the first of which is the last.
const CHANGES: [u64; 3] = [10, 40, 150];

const FORGETS: [Forget; 4] = [
    Forget::Some,
    Forget::Some,
    Forget::Everything,
    Forget::Nothing,
];

/// What waits for Discord when the power goes.
const ROUTES: [&str; 3] = ["POST /channels/{}/messages", "DELETE /*", "PUT /channels/*"];

/// A drive on a machine whose disk forgets, and what was synced in it.
struct Life {
    /// Before the disk and the directories it is mounted in.
    machine: Machine,
    lossy: Lossy,
    world: World,
    dice: Dice,
    synced: BTreeMap<String, Vec<u8>>,
    made: u64,
    passphrase: String,
    recovery: String,
}

impl Life {
    fn new(seed: u64) -> Life {
        let mut dice = Dice::new(seed);
        let names = [Names::ByDirectory, Names::ByAny][usize::from(dice.one_in(3))];
        let (world, machine, lossy) = on_a_lossy_disk(names);
        let told = machine.ods(&["init"]).good();
        std::fs::create_dir(machine.path("originals")).expect("a directory");
        let mut life = Life {
            recovery: made::recovery_key(&told).expect("a key").to_owned(),
            passphrase: PASSPHRASE.to_owned(),
            machine,
            lossy,
            world,
            dice,
            synced: BTreeMap::new(),
            made: 0,
        };
        let mount = life.mounted();
        life.change(6);
        life.leave(mount);
        life
    }

    /// Mounts, which has to go by itself, and compares.
    #[track_caller]
    fn mounted(&mut self) -> Foreground {
        let linger = ["0.02", "3600"][usize::from(self.dice.one_in(2))];
        let options =
            format!("gc=off,reserve=0,cache=8M,linger={linger},age={linger},spool=64M,tail=2");
        let mnt = self.machine.mnt();
        let args = [mnt.to_str().expect("text"), "-o", &options];
        let mut mount = self.machine.start("ods-mount", &args);
        mount.says("main is mounted");
        self.check();
        mount
    }

    /// The mount holds exactly what was synced: each change is, before anything else is done.
    #[track_caller]
    fn check(&self) {
        let entries = std::fs::read_dir(self.machine.mnt()).expect("a directory");
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        let mut names: Vec<_> = names
            .map(|name| name.into_string().expect("text"))
            .collect();
        names.sort();
        let wanted: Vec<String> = self.synced.keys().cloned().collect();
        assert_eq!(names, wanted);
        for (name, bytes) in &self.synced {
            let read = std::fs::read(self.machine.mnt().join(name)).expect("readable");
            assert!(read == *bytes, "{name} differs");
        }
    }

    /// Makes some files, which are also elsewhere, and removes half as many; all of it is synced.
    fn change(&mut self, files: u64) {
        let mnt = self.machine.mnt();
        for nth in 0..files {
            self.made += 1;
            let name = format!("file{:04}", self.made);
            let len = self.dice.size(600_000);
            let bytes = self.dice.bytes(len);
            for dir in [&mnt, &self.machine.path("originals")] {
                std::fs::write(dir.join(&name), &bytes).expect("written");
            }
            sync(&mnt.join(&name));
            self.synced.insert(name, bytes);
            let names: Vec<String> = self.synced.keys().cloned().collect();
            if nth % 2 == 1
                && let Some(name) = self.dice.pick(&names)
            {
                std::fs::remove_file(mnt.join(name)).expect("removed");
                self.synced.remove(name);
            }
        }
        sync(&mnt);
    }

    /// Ends a mount once everything is on Discord.
    #[track_caller]
    fn leave(&mut self, mount: Foreground) {
        self.machine.ods(&["flush"]).good();
        mount.signal("INT");
        mount.ended().good();
    }

    /// Runs a command until the power goes, at a moment that the dice choose, or until its end.
    fn cut(&mut self, words: &[&str]) {
        if self.dice.one_in(2) {
            return self.cut_at_change(words);
        }
        let route = *self.dice.pick(&ROUTES).expect("some");
        let trap = Trap::set(&self.world, &mut self.dice, route, 4);
        let running = self.machine.start("ods", words);
        self.cut_when(running, |life| trap.wait(&life.world, Duration::ZERO));
        self.world.emulator.faults().clear();
    }

    /// The same at a change of the disk.
    fn cut_at_change(&mut self, words: &[&str]) {
        let changes = *self.dice.pick(&CHANGES).expect("some");
        self.lossy.arm(self.dice.below(changes));
        let running = self.machine.start("ods", words);
        self.cut_when(running, |life| life.lossy.has_tripped(Duration::ZERO));
    }

    fn cut_when(&mut self, mut running: Foreground, is_there: impl Fn(&Life) -> bool) {
        let mut is_cut = false;
        until("the moment, or the end", || {
            is_cut = is_there(self);
            is_cut || !running.is_running()
        });
        self.lossy.off_under(&mut running);
        let forget = *self.dice.pick(&FORGETS).expect("some");
        self.lossy.cut(forget, self.dice.next());
        println!(
            "{}, forgot {forget:?}",
            if is_cut { "cut" } else { "at its end" }
        );
    }

    /// After a cut: mounts, goes on, and all is well.
    #[track_caller]
    fn goes_on(&mut self) {
        let mut mount = self.mounted();
        self.change(4);
        // Once, all of it is on Discord then, once it waits here.
        match self.dice.one_in(2) {
            true => self.leave(mount),
            false => mount.stop(),
        }
        self.is_healthy();
    }

    #[track_caller]
    fn is_healthy(&self) {
        let told = self.machine.ods(&["verify", "--full"]).good();
        assert!(told.out.contains("nothing is wrong"), "{told:?}");
    }

    /// Does the drive open with this?
    fn opens(&mut self, secret: &str) -> bool {
        self.machine.set("ODS_PASSPHRASE", secret);
        let ended = self.machine.ods(&["stats"]);
        self.machine.set("ODS_PASSPHRASE", &self.passphrase.clone());
        assert!([0, 10].contains(&ended.code), "{ended:?}");
        ended.code == 0
    }

    /// Takes something away on Discord that this machine can put there again.
    fn damage(&mut self) {
        let prefix = ["b-", "c-", ""][usize::try_from(self.dice.below(3)).expect("small")];
        let stored = self.world.emulator.attachments();
        let is_meant = |name: &str| match prefix {
            "" => name.len() == 36,
            prefix => name.starts_with(prefix),
        };
        for one in stored.iter().filter(|one| is_meant(&one.filename)) {
            drop(self.world.emulator.delete_message(one.channel, one.message));
        }
    }
}

fn seeds() -> std::ops::Range<u64> {
    let first = chaos::setting("ODS_SEED").unwrap_or(1);
    first
        ..first
            + chaos::setting("ODS_CUTS")
                .unwrap_or(CUTS_PER_DRIVE)
                .div_ceil(CUTS_PER_DRIVE)
}

/// Cuts in lives of drives; after each one the drive mounts by itself, goes on, and nothing is wrong.
fn lives(mut cut: impl FnMut(&mut Life)) {
    for seed in seeds() {
        println!("seed {seed}");
        let mut life = Life::new(seed);
        for _ in 0..CUTS_PER_DRIVE {
            cut(&mut life);
            life.goes_on();
        }
    }
}

#[test]
fn a_collection_in_which_the_power_goes_loses_nothing() {
    lives(|life| life.cut(&["gc", "--delay", "0"]));
}

#[test]
fn a_repair_in_which_the_power_goes_goes_on() {
    lives(|life| {
        let originals = life.machine.path("originals");
        let repair = ["repair", "--from", originals.to_str().expect("text")];
        life.damage();
        life.cut(&repair);
        life.machine.ods(&repair).good();
        life.is_healthy();
    });
}

#[test]
fn a_restore_in_which_the_power_goes_loses_nothing() {
    lives(|life| {
        let backup = life.machine.path("backup");
        let backup = backup.to_str().expect("text");
        life.machine.ods(&["backup", "--to", backup]).good();
        // Beyond the backup, and waiting here at its end, or not.
        let mut mount = life.mounted();
        life.change(2);
        mount.stop();
        let restore = ["restore", "--yes", backup];
        life.cut_at_change(&restore);
        if life.dice.one_in(2) {
            life.machine.ods(&restore).good();
            life.is_healthy();
        }
    });
}

#[test]
fn one_of_two_passphrases_opens_the_drive_when_the_power_goes_while_it_changes() {
    let mut changes = 0_u64;
    lives(|life| {
        changes += 1;
        let (old, new) = (life.passphrase.clone(), format!("passphrase {changes}"));
        life.machine.set("ODS_NEW_PASSPHRASE", &new);
        life.cut(&["passphrase"]);
        let opens = [life.opens(&old), life.opens(&new)];
        assert!(opens[0] != opens[1], "old, new: {opens:?}");
        if opens[1] {
            life.passphrase = new;
        }
        life.machine.set("ODS_PASSPHRASE", &life.passphrase.clone());
        assert!(life.opens(&life.recovery.clone()), "with the recovery key");
    });
}

/// Every so many changes of the disk, so that a run has a few of them and several runs have all.
const STRIDE: u64 = 9;

fn init_is_cut(nth: u64, forget: Forget) -> bool {
    println!("change {nth}, forgets {forget:?}");
    let (world, machine, mut lossy) = on_a_lossy_disk(Names::ByDirectory);
    lossy.arm(nth);
    let mut running = machine.start("ods", &["init"]);
    let mut has_tripped = false;
    until("the change, or the end", || {
        has_tripped = has_tripped || lossy.has_tripped(Duration::ZERO);
        has_tripped || !running.is_running()
    });
    if running.is_running() {
        running.signal("KILL");
    }
    lossy.off();
    let killed = running.ended();
    lossy.cut(forget, nth);
    let key = match has_tripped {
        true => made::made_after(&machine, &killed),
        false => made::recovery_key(&killed.good())
            .expect("a key")
            .to_owned(),
    };
    made::is_of_use(&world, &machine, &key);
    has_tripped
}

#[test]
fn an_init_in_which_the_power_goes_leaves_one_drive_or_none() {
    let first = chaos::setting("ODS_SEED").unwrap_or(1) % STRIDE;
    let forgets = [Forget::Everything, Forget::Nothing, Forget::Some];
    let stride = usize::try_from(STRIDE).expect("small");
    let mut moments = (first..).step_by(stride).zip(forgets.iter().cycle());
    while let Some((nth, forget)) = moments.next()
        && init_is_cut(nth, *forget)
    {}
}

#[test]
#[ignore = "the other process of the tests above; nothing by itself"]
fn a_disk_that_forgets() {
    lossy::serve();
}
