//! Programs that are killed when a certain one of their requests has come to Discord.
#![allow(dead_code, reason = "each suite uses a part of it")]

use ods::emulator::Fault;
use ods::emulator::FaultKind;
use ods::emulator::When;

use crate::support::Ended;
use crate::support::Machine;
use crate::support::World;
use crate::support::until;

/// Longer than anybody waits for a program that is killed.
const HELD_MS: u64 = 600_000;

/// A moment in the life of a program: one of its requests is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// `POST`, `GET`, …
    pub(crate) method: &'static str,
    /// How many of these were answered before.
    pub(crate) nth: u64,
    /// Not carried out yet, or carried out and not answered.
    pub(crate) when: When,
}

impl Moment {
    /// The first request of a method, before anything is done for it.
    pub(crate) fn first(method: &'static str) -> Moment {
        Moment {
            method,
            nth: 0,
            when: When::Before,
        }
    }

    /// The next one of the same method.
    pub(crate) fn next(self) -> Moment {
        match self.when {
            When::Before => Moment {
                when: When::After,
                ..self
            },
            When::After => Moment {
                when: When::Before,
                nth: self.nth + 1,
                ..self
            },
        }
    }

    /// Holds this request, and no other, until all faults are cleared; gives the fault's number.
    pub(crate) fn hold(self, world: &World) -> u64 {
        let held = FaultKind::Delay {
            ms: HELD_MS,
            when: self.when,
        };
        let fault = Fault::new(&format!("{} /*", self.method), held);
        world.emulator.faults().add(fault.after(self.nth).times(1))
    }
}

/// Runs `ods` and kills it at this moment; what it had said by then, or nothing when it ended before the moment
/// came, which has to be with success.
#[track_caller]
pub(crate) fn kill_at(
    world: &World,
    machine: &Machine,
    words: &[&str],
    moment: Moment,
) -> Option<Ended> {
    let faults = world.emulator.faults();
    let held = moment.hold(world);
    let mut running = machine.start("ods", words);
    until("the moment, or the end", || {
        faults.met(held) > 0 || !running.is_running()
    });
    let is_there = faults.met(held) > 0;
    if is_there {
        running.signal("KILL");
    }
    let ended = running.ended();
    faults.clear();
    if is_there {
        return Some(ended);
    }
    ended.good();
    None
}
