//! What is left of a spool when the power goes at any moment: everything that was promised, and no more.

use std::sync::mpsc;

use super::{
    Error, Place, Replayed, Settings, Spool,
    double::{Crash, Double, Random},
    medium::Medium,
};
use crate::id::Seq;

const SETTINGS: Settings = Settings {
    segment_bytes: 4096,
    limit_bytes: 1 << 30,
    reserve_bytes: 0,
    least_free_bytes: 0,
};

const END: &str = "spool.end";

/// What the spool was told, and what it promised.
#[derive(Default)]
struct Model {
    records: Vec<Entry>,
    synced: usize,
    through: usize,
}

struct Entry {
    head: Vec<u8>,
    body: Vec<u8>,
    place: Option<Place>,
    /// Number of the newest record when the body was released: the one that made it superfluous.
    released: Option<usize>,
}

/// With a note of its end, which must never say more than is true.
fn open(disk: &Double) -> Result<Spool, Error> {
    let end = Medium::open(disk, END).or_else(|_| disk.create(END));
    let end = end.map_err(|source| Error::Io {
        doing: "making the note",
        source,
    })?;
    Spool::recover_noted(Box::new(disk.clone()), Some(end), SETTINGS, None)
}

impl Model {
    /// One random thing; an error means that the power is gone.
    fn step(&mut self, spool: &Spool, random: &mut Random) -> Result<(), Error> {
        match random.below(12) {
            0 | 1 => {
                let all = self.records.len();
                spool.sync()?;
                self.synced = all;
            }
            2 | 3 if !self.records.is_empty() => {
                let all = self.records.len();
                let near = random.below(2) == 0;
                let back = random.below(if near { 2 } else { all as u64 });
                let nth = all.saturating_sub(1 + usize::try_from(back).expect("small"));
                let entry = &mut self.records[nth];
                if let (Some(place), None) = (entry.place, entry.released) {
                    entry.released = Some(all);
                    spool.release(&place, u64::from(place.body_len));
                }
            }
            4 => {
                let through = random.below(self.records.len() as u64 + 1);
                self.through = self.through.max(usize::try_from(through).expect("small"));
                spool.cut(Seq(self.through as u64))?;
            }
            _ => {
                let head = vec![1; usize::try_from(random.below(40)).expect("small")];
                let len = match random.below(10) {
                    0 | 1 => 70_000,
                    2 => 0,
                    _ => random.below(600),
                };
                let fill = u8::try_from(self.records.len() % 251).expect("small");
                let body = vec![fill; usize::try_from(len).expect("small")];
                // Even when this fails, the whole record may be there after a crash.
                self.records.push(Entry {
                    head: head.clone(),
                    body: body.clone(),
                    place: None,
                    released: None,
                });
                let (seq, place) = spool.append(&head, &body)?;
                assert_eq!(seq, Seq(self.records.len() as u64));
                self.records.last_mut().expect("just pushed").place = Some(place);
            }
        }
        Ok(())
    }

    /// Compares what is left after a crash with what was promised, and goes on from there.
    fn check(&mut self, spool: &Spool, told: &str) {
        let mut last = 0;
        let mut found = Vec::new();
        spool
            .replay(|one| -> Result<(), Error> {
                match one {
                    Replayed::Record { seq, head, place } => {
                        let nth = usize::try_from(seq.0).expect("small") - 1;
                        assert_eq!(self.records[nth].head, head, "{told}: {seq}");
                        assert!(nth >= last, "{told}: order");
                        last = nth + 1;
                        found.push((nth, place));
                    }
                    Replayed::Missing { last: to, .. } => {
                        let to = to.unwrap_or_else(|| panic!("{told}: the end is missing"));
                        assert!(to.0 <= self.through as u64, "{told}: {to} is missing");
                    }
                }
                Ok(())
            })
            .expect("the disk is good");
        assert!(
            last >= self.synced.max(1) || self.synced <= self.through,
            "{told}: {last}"
        );
        for entry in &mut self.records {
            entry.place = None;
            // What released it is lost and nobody else knows of it, so it is needed again.
            entry.released = entry.released.filter(|by| *by <= last.max(self.through));
        }
        for (nth, place) in found {
            let entry = &mut self.records[nth];
            entry.place = Some(place);
            if entry.released.is_none() {
                spool
                    .retain(&place, u64::from(place.body_len))
                    .expect("not given back");
                let body = spool.read(&place, 0, place.body_len);
                assert_eq!(body.expect("not damaged"), entry.body, "{told}");
            }
        }
        for (nth, entry) in self.records[..last].iter().enumerate() {
            let is_needed = entry.released.is_none() && !entry.body.is_empty();
            assert!(!is_needed || entry.place.is_some(), "{told}: {nth} is gone");
        }
        // What was lost, as nothing had promised it, is not missed later.
        for entry in self.records.iter_mut().skip(last.max(self.synced)) {
            entry.body.clear();
        }
        // Numbers may only be reused if the records are gone; the caller knows what is published.
        self.records
            .truncate(last.max(self.through).max(self.synced));
    }
}

/// Runs until the power goes after `fuel` operations; answers if it went.
fn run(disk: &Double, model: &mut Model, random: &mut Random, fuel: u64, told: &str) -> Power {
    disk.world().fuel = Some(fuel);
    // Now and then there is no room for a name.
    disk.world().failing_renames = random.below(64);
    disk.world().failing_name_syncs = random.below(64);
    let Ok(spool) = open(disk) else {
        return Power::Gone;
    };
    model.check(&spool, told);
    spool.reclaim();
    if spool.number_after(Seq(model.records.len() as u64)).is_err() {
        return Power::Gone;
    }
    for _ in 0..40 {
        if model.step(&spool, random).is_err() {
            return Power::Gone;
        }
    }
    disk.world().failing_renames = 0;
    disk.world().failing_name_syncs = 0;
    match spool.close() {
        Ok(()) => {
            model.synced = model.records.len();
            Power::Steady
        }
        Err(_) => Power::Gone,
    }
}

#[derive(PartialEq, Eq)]
enum Power {
    Gone,
    Steady,
}

#[test]
fn after_a_crash_at_any_operation_everything_synced_is_there_and_the_rest_is_a_prefix() {
    for seed in 1..=4_u64 {
        let mut fuel = 0;
        // Until there is so much that the power stays in every life.
        while cut_after(seed, fuel) == Power::Gone {
            fuel += 1;
            assert!(fuel < 2000, "the work ends sometime");
        }
        assert!(fuel > 50, "there was some work");
    }
}

/// The numbers that are in the log, and whether any before them is missing.
fn numbers(spool: &Spool) -> Vec<u64> {
    let mut found = Vec::new();
    let replayed = spool.replay(|one| -> Result<(), Error> {
        match one {
            Replayed::Record { seq, .. } => found.push(seq.0),
            Replayed::Missing { .. } => found.push(0),
        }
        Ok(())
    });
    replayed.expect("the disk is good");
    found
}

#[test]
fn a_recovery_that_is_interrupted_leaves_no_gap() {
    const SYNCED: u64 = 9;
    // In the last record of a segment, in the first, in one between.
    let tears = [(2, 3400), (3, 60), (3, 1500), (4, 3400), (5, 60)];
    let mut interruptions = 0;
    for (segment, at) in tears {
        // Nobody does the background's work, so that every segment stays open.
        let (sender, _jobs) = mpsc::channel();
        let disk = Double::default();
        let spool = Spool::recover(Box::new(disk.clone()), SETTINGS, Some(sender));
        let spool = spool.expect("new spool");
        for nth in 0..40 {
            if nth == SYNCED {
                spool.sync().expect("good disk");
            }
            spool.append(&[1; 40], &[7; 500]).expect("room");
        }
        // Of all that was not synced, these bytes alone did not reach the disk.
        let torn = disk.crashed(Crash::Kill);
        torn.with_file(&format!("{segment:08x}.open"), |bytes| bytes[at] ^= 1);
        assert!(torn.names_now().len() > 3);
        for fuel in 0..100 {
            let disk = torn.copy();
            disk.world().fuel = Some(fuel);
            let (sender, _jobs) = mpsc::channel();
            let first = Spool::recover(Box::new(disk.clone()), SETTINGS, Some(sender));
            let is_done = first.is_ok();
            let crash = [
                Crash::Kill,
                Crash::PowerNothing,
                Crash::PowerRandom(fuel + 1),
            ];
            for crash in crash {
                let again = open(&disk.crashed(crash)).expect("the disk is good");
                let found = numbers(&again);
                let last = found.len() as u64;
                let told = format!("{segment} at {at}, fuel {fuel}, {crash:?}: {found:?}");
                assert!(found.iter().copied().eq(1..=last), "{told}");
                assert!(last >= SYNCED, "{told}");
            }
            if is_done {
                break;
            }
            interruptions += 1;
        }
    }
    assert!(interruptions > 20, "{interruptions}");
}

/// Lets the power go after each `fuel` operations, in each way; answers if it ever went.
fn cut_after(seed: u64, fuel: u64) -> Power {
    let random = |nth| Crash::PowerRandom(seed * 7919 + fuel * 31 + nth);
    let mut power = Power::Steady;
    for crash in [
        Crash::Kill,
        Crash::PowerNothing,
        random(1),
        random(2),
        random(3),
    ] {
        let mut disk = Double::default();
        let mut model = Model::default();
        let mut random = Random(seed);
        // Twice, so that a recovered spool is crashed as well.
        for life in 0..3 {
            let told = format!("seed {seed}, fuel {fuel}, {crash:?}, life {life}");
            if run(&disk, &mut model, &mut random, fuel, &told) == Power::Gone {
                power = Power::Gone;
            }
            disk = disk.crashed(crash);
        }
        let spool = open(&disk).expect("the disk is good");
        model.check(&spool, &format!("seed {seed}, fuel {fuel}, {crash:?}, end"));
    }
    power
}
