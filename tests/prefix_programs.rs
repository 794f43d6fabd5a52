//! What Discord holds is always a state the drive really had, also for the programs: from moments of a run in
//! which the passphrase changes, an empty machine joins, verifies all, mounts and reads.

#[path = "support/made.rs"]
mod made;
#[path = "support/past.rs"]
mod past;
#[path = "support/ods.rs"]
mod support;

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;

use made::Contents;
use support::Machine;
use support::PASSPHRASE;
use support::World;
use support::noise;
use tempfile::TempDir;

const ANOTHER: &str = "another passphrase";

/// Moments that are looked at, besides those at which the passphrase changes.
const MOMENTS: usize = 6;

/// Changes of one kind each, before the passphrase changes, and after it.
const CHANGES: u64 = 12;

/// A run of a drive, as it was told.
struct Run {
    data: TempDir,
    /// After each change: more than was published.
    states: Vec<Contents>,
    /// After so many things on Discord, nothing older than this state may be found.
    flushed: Vec<(usize, usize)>,
    /// The first thing after the passphrase was about to change, and the last one before it had.
    changing: (usize, usize),
}

impl Run {
    fn lines(&self) -> usize {
        past::lines(self.data.path())
    }

    fn now(&self) -> Contents {
        self.states.last().cloned().unwrap_or_default()
    }

    /// One thing that a drive does at once.
    fn change(&mut self, mnt: &Path, nth: u64) {
        let mut now = self.now();
        let name = |nth: u64| PathBuf::from(format!("dir{}/file{}", nth % 2, nth / 4));
        let (path, before) = (name(nth), name(nth - nth % 4));
        match nth % 4 {
            0 => {
                let dir = path.parent().expect("a directory");
                std::fs::create_dir_all(mnt.join(dir)).expect("made");
                std::fs::write(mnt.join(&path), "").expect("made");
                now.insert(path, Vec::new());
            }
            1 => {
                let bytes = noise(nth, 90_000);
                let mut file = OpenOptions::new().append(true).open(mnt.join(&before));
                let file = file.as_mut().expect("there");
                assert_eq!(file.write(&bytes).expect("written"), bytes.len());
                now.insert(before, bytes);
            }
            2 => {
                let bytes = noise(nth, 40_000);
                let mut file = OpenOptions::new().append(true).open(mnt.join(&before));
                let file = file.as_mut().expect("there");
                assert_eq!(file.write(&bytes).expect("written"), bytes.len());
                now.get_mut(&before).expect("there").extend(bytes);
            }
            _ => {
                let to = before.with_extension("moved");
                std::fs::rename(mnt.join(&before), mnt.join(&to)).expect("renamed");
                let bytes = now.remove(&before).expect("there");
                now.insert(to, bytes);
            }
        }
        self.states.push(now);
    }

    fn changes(&mut self, machine: &Machine, from: u64) {
        for nth in from..from + CHANGES {
            self.change(&machine.mnt(), nth);
            if nth % 5 == 4 {
                self.flush(machine);
            }
        }
        self.flush(machine);
    }

    fn flush(&mut self, machine: &Machine) {
        machine.ods(&["flush"]).good();
        self.flushed.push((self.lines(), self.states.len() - 1));
    }

    fn new() -> Run {
        let data = TempDir::new().expect("a directory");
        let world = World::with_a_past(data.path());
        let mut machine = world.machine();
        machine.ods(&["init"]).good();
        let mut run = Run {
            data,
            states: vec![Contents::new()],
            flushed: Vec::new(),
            changing: (0, 0),
        };
        let options = "linger=0.01,age=0.01,tail=2,gc=off";
        machine.mount(&["-o", options]).good();
        run.flush(&machine);
        run.changes(&machine, 0);
        run.changing.0 = run.lines();
        machine.set("ODS_NEW_PASSPHRASE", ANOTHER);
        machine.ods(&["passphrase"]).good();
        run.changing.1 = run.lines();
        run.changes(&machine, CHANGES);
        machine.ods(&["umount"]).good();
        run
    }

    /// All while the passphrase changes, and some of the others.
    fn moments(&self) -> Vec<usize> {
        let first = self.flushed.first().expect("flushed").0;
        let all = first..=self.lines();
        let step = all.clone().count() / MOMENTS;
        let is_chosen = |line: &usize| {
            (self.changing.0..=self.changing.1).contains(line)
                || (line - first).is_multiple_of(step)
                || *line == *all.end()
        };
        all.clone().filter(is_chosen).collect()
    }

    /// The state at a moment, which came after this one.
    fn look(&self, moment: usize, after: usize) -> usize {
        let then = past::until(self.data.path(), moment);
        let world = World::with_a_past(then.path());
        let machine = self.joined(&world, moment);
        made::is_healthy(&machine);
        let found = made::read(&machine);
        let flushed = self.flushed.iter().rfind(|(lines, _)| *lines <= moment);
        let least = flushed.map_or(0, |(_, state)| *state).max(after);
        let states = self.states.iter().enumerate().skip(least);
        let mut same = states.filter(|(_, state)| **state == found);
        let (nth, _) = same.next().unwrap_or_else(|| {
            let names: Vec<_> = found.keys().collect();
            panic!("moment {moment}: no state from {least} on is this: {names:?}")
        });
        nth
    }

    /// A new machine, which exactly one of the two passphrases lets in.
    fn joined(&self, world: &World, moment: usize) -> Machine {
        let mut machine = world.machine();
        let mut opens = |passphrase| {
            machine.set("ODS_PASSPHRASE", passphrase);
            let ended = machine.ods(&["init", "--join"]);
            assert!([0, 10].contains(&ended.code), "moment {moment}: {ended:?}");
            ended.code == 0
        };
        let (before, after) = self.changing;
        let new = moment > before && opens(ANOTHER);
        let old = moment < after && opens(PASSPHRASE);
        assert!(old != new, "moment {moment}: old {old}, new {new}");
        machine.set("ODS_PASSPHRASE", if new { ANOTHER } else { PASSPHRASE });
        machine
    }
}

#[test]
fn an_empty_machine_reads_a_state_the_drive_had_also_while_the_passphrase_changes() {
    let run = Run::new();
    let (moments, mut state) = (run.moments(), 0);
    println!("{moments:?} of {}, {:?}", run.lines(), run.changing);
    for moment in &moments {
        state = run.look(*moment, state);
    }
    assert_eq!(
        run.states[state],
        run.now(),
        "the last moment is the last state"
    );
    assert!(moments.len() >= MOMENTS, "{moments:?}");
}
