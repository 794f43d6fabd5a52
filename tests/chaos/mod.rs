//! Random work on a real mount, a model of what it did, and what may be left of it after a catastrophe.

#![allow(dead_code, reason = "each suite uses a part of it")]

#[path = "../support/ods.rs"]
pub(crate) mod machine;
pub(crate) mod op;
#[path = "../support/sys.rs"]
pub(crate) mod sys;
pub(crate) mod tree;
pub(crate) mod worker;

use std::ops::Range;
use std::time::Duration;
use std::time::Instant;

use machine::Machine;
use machine::World;
use ods::emulator::Fault;
use ods::emulator::FaultKind;
use ods::emulator::When;

/// Numbers that look random, the same for the same seed.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// splitmix64
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    pub(crate) fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }

    pub(crate) fn pick<'l, T>(&mut self, list: &'l [T]) -> Option<&'l T> {
        let at = usize::try_from(self.below(list.len() as u64)).ok()?;
        list.get(at)
    }

    /// Small most of the time.
    pub(crate) fn size(&mut self, most: u64) -> u64 {
        let limit = match self.below(8) {
            0 => most,
            1..4 => most / 8,
            _ => most / 100,
        };
        self.below(limit) + 1
    }

    /// Bytes that no compressor makes small; each eight say whose they are.
    pub(crate) fn bytes(&mut self, len: u64) -> Vec<u8> {
        let mut stream = Dice(self.next());
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < len {
            bytes.extend_from_slice(&stream.next().to_le_bytes());
        }
        bytes.truncate(usize::try_from(len).expect("small"));
        bytes
    }
}

/// Holds one of the next requests of a route, or its answer, until the faults are cleared.
pub(crate) struct Trap(u64);

impl Trap {
    /// One of the first `among` of them.
    pub(crate) fn set(world: &World, dice: &mut Dice, route: &str, among: u64) -> Trap {
        let when = [When::Before, When::After][usize::from(dice.one_in(2))];
        let held = FaultKind::Delay { ms: 20_000, when };
        let fault = Fault::new(route, held).after(dice.below(among)).times(1);
        Trap(world.emulator.faults().add(fault))
    }

    /// Waits until one is held, or so long; true if one is.
    pub(crate) fn wait(&self, world: &World, most: Duration) -> bool {
        let started = Instant::now();
        let is_held = || world.emulator.faults().met(self.0) > 0;
        while !is_held() && started.elapsed() < most {
            std::thread::park_timeout(Duration::from_micros(300));
        }
        is_held()
    }
}

/// Lets a time pass that the dice choose: a moment, not a condition, is what is wanted.
pub(crate) fn pass(dice: &mut Dice, most_ms: u64) {
    let until = Instant::now() + Duration::from_micros(dice.below(most_ms * 1000));
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        std::thread::park_timeout(left);
    }
}

/// Lives of drives, one for each seed, until so many things have happened as `variable` says; tells the seeds.
pub(crate) fn lives(
    variable: &str,
    default: u64,
    most_in_one: u64,
    mut live: impl FnMut(u64, u64),
) -> Range<u64> {
    sys::no_umask();
    let first = setting("ODS_SEED").unwrap_or(1);
    let (mut left, mut seed) = (setting(variable).unwrap_or(default), first);
    while left > 0 {
        let (some, started) = (most_in_one.min(left), Instant::now());
        live(seed, some);
        println!("seed {seed}: {some} in {:?}", started.elapsed());
        left -= some;
        seed += 1;
    }
    first..seed
}

/// Ends a test that found a difference, with the daemon's log.
pub(crate) fn differs(machine: &Machine, moment: &str, difference: &str) -> ! {
    let log = std::fs::read_to_string(machine.path("foreground.log"));
    panic!("{moment}: {difference}\nlog:\n{}", log.unwrap_or_default());
}

/// A number from the environment.
pub(crate) fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
