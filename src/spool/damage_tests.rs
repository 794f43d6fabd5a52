//! Broken bytes, full disks, failing disks: never wrong data, never silence.

use std::sync::mpsc;

use super::{
    Error, Place, Replayed, Settings, Spool,
    double::{Crash, Double, Gate},
    medium::Medium,
};
use crate::id::Seq;

const SETTINGS: Settings = Settings {
    segment_bytes: 600,
    limit_bytes: 1 << 30,
    reserve_bytes: 0,
    least_free_bytes: 0,
};

fn open(disk: &Double, settings: Settings) -> Result<Spool, Error> {
    Spool::recover(Box::new(disk.clone()), settings, None)
}

fn head(seq: u64) -> Vec<u8> {
    format!("head {seq}").into_bytes()
}

fn body(seq: u64) -> Vec<u8> {
    vec![u8::try_from(seq).expect("few records"); 30 + usize::try_from(seq).expect("few") * 7]
}

/// A log of twelve records in several segments; what the power cut left of it, had it come at the end.
fn small_log(synced_after: u64) -> Double {
    let disk = Double::default();
    let spool = open(&disk, SETTINGS).expect("new spool");
    for seq in 1..=12 {
        spool.append(&head(seq), &body(seq)).expect("room");
        if seq == synced_after {
            spool.sync().expect("good disk");
        }
    }
    disk.crashed(Crash::Kill)
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    good: Vec<u64>,
    damaged: Vec<u64>,
    missing: Vec<(u64, Option<u64>)>,
}

/// Opens and replays; panics if anything is wrong that does not say so.
fn outcome(disk: &Double) -> Outcome {
    outcome_of(&open(disk, SETTINGS).expect("opens, whatever is in it"))
}

fn outcome_of(spool: &Spool) -> Outcome {
    let mut outcome = Outcome::default();
    let replayed = spool.replay(|one| -> Result<(), Error> {
        match one {
            Replayed::Record {
                seq,
                head: bytes,
                place,
            } => {
                assert_eq!(bytes, head(seq.0));
                assert_eq!(place.body_len as usize, body(seq.0).len());
                match spool.read(&place, 0, place.body_len) {
                    Ok(bytes) => {
                        assert_eq!(bytes, body(seq.0));
                        outcome.good.push(seq.0);
                    }
                    Err(Error::Damaged { .. }) => outcome.damaged.push(seq.0),
                    Err(other) => panic!("{other}"),
                }
            }
            Replayed::Missing { first, last } => {
                outcome.missing.push((first.0, last.map(|last| last.0)));
            }
        }
        Ok(())
    });
    replayed.expect("goes on to the end");
    outcome
}

fn is_prefix(outcome: &Outcome) -> bool {
    let whole = outcome.damaged.is_empty() && outcome.missing.is_empty();
    whole
        && outcome
            .good
            .iter()
            .copied()
            .eq(1..=outcome.good.len() as u64)
}

fn is_told(outcome: &Outcome) -> bool {
    let known = outcome.good.len() + outcome.damaged.len();
    let missing = outcome.missing.iter().map(|(first, last)| match last {
        Some(last) => last - first + 1,
        None => 13 - first,
    });
    known as u64 + missing.sum::<u64>() == 12
}

#[test]
fn a_log_cut_at_any_byte_gives_a_prefix() {
    let whole = small_log(0);
    let names = whole.names_now();
    let last = names
        .iter()
        .rfind(|name| name.ends_with(".open"))
        .expect("an active segment");
    let mut lengths = Vec::new();
    for size in 0..=whole.with_file(last, |bytes| bytes.len()) {
        let disk = whole.copy();
        disk.with_file(last, |bytes| bytes.truncate(size));
        let outcome = outcome(&disk);
        assert!(is_prefix(&outcome), "cut at {size}: {outcome:?}");
        lengths.push(outcome.good.len());
    }
    assert!(lengths.is_sorted() && lengths.last() == Some(&12));
}

#[test]
fn any_changed_byte_gives_a_prefix_or_is_told() {
    let whole = small_log(0);
    for name in whole.names_now() {
        for at in 0..whole.with_file(&name, |bytes| bytes.len()) {
            let disk = whole.copy();
            disk.with_file(&name, |bytes| bytes[at] ^= 0x55);
            let outcome = outcome(&disk);
            let fine = match name.ends_with(".seg") {
                // What a sealed segment had is never dropped as if it had not been durable.
                true => is_told(&outcome) && outcome.good.len() >= 11,
                false => is_prefix(&outcome),
            };
            assert!(fine, "{name} at {at}: {outcome:?}");
        }
    }
}

#[test]
fn damage_before_a_sync_is_told_and_not_taken_for_a_tear() {
    // All in one segment that was never sealed; records 6 to 12 witness that 5 was durable.
    let roomy = Settings {
        segment_bytes: 1 << 20,
        ..SETTINGS
    };
    let disk = Double::default();
    let spool = open(&disk, roomy).expect("new spool");
    let mut ends = Vec::new();
    for seq in 1..=12 {
        let (_, place) = spool.append(&head(seq), &body(seq)).expect("room");
        ends.push(place.position + u64::from(place.body_len));
        if seq == 5 {
            spool.sync().expect("good disk");
        }
    }
    let disk = disk.crashed(Crash::Kill);
    let name = disk.names_now().remove(0);
    let end = |nth: usize| usize::try_from(ends[nth]).expect("a small file");
    for at in 40..end(11) {
        let disk = disk.copy();
        disk.with_file(&name, |bytes| bytes[at] ^= 0x55);
        let outcome = outcome(&disk);
        if at < end(4) {
            assert!(
                is_told(&outcome) && outcome.good.len() == 11,
                "at {at}: {outcome:?}"
            );
        } else {
            assert!(
                is_prefix(&outcome) && outcome.good.len() >= 5,
                "at {at}: {outcome:?}"
            );
        }
    }
}

const END: &str = "spool.end";
const ROOMY: Settings = Settings {
    segment_bytes: 1 << 20,
    ..SETTINGS
};

/// With a note of how far it is durable.
fn open_noted(disk: &Double) -> Spool {
    let end = Medium::open(disk, END).or_else(|_| disk.create(END));
    let end = end.expect("a file");
    Spool::recover_noted(Box::new(disk.clone()), Some(end), ROOMY, None).expect("opens")
}

/// A log of twelve synced records in one segment, after `kill -9`; and the segment's name.
fn noted_log() -> (Double, String) {
    let disk = Double::default();
    let spool = open_noted(&disk);
    for seq in 1..=12 {
        spool.append(&head(seq), &body(seq)).expect("room");
    }
    spool.sync().expect("good disk");
    let disk = disk.crashed(Crash::Kill);
    let name = disk.names_now().remove(0);
    assert!(name.ends_with(".open"));
    (disk, name)
}

#[test]
fn whatever_happens_to_a_synced_log_that_was_not_closed_is_told() {
    let (whole, name) = noted_log();
    let len = whole.with_file(&name, |bytes| bytes.len());
    for at in 0..len {
        for harm in [
            |bytes: &mut Vec<u8>, at: usize| bytes[at] ^= 0x55,
            |bytes: &mut Vec<u8>, at: usize| bytes.truncate(at),
            |bytes: &mut Vec<u8>, at: usize| bytes[at..].fill(0xa5),
        ] {
            let disk = whole.copy();
            disk.with_file(&name, |bytes| harm(bytes, at));
            let outcome = outcome_of(&open_noted(&disk));
            assert!(is_told(&outcome), "at {at}: {outcome:?}");
        }
    }
    let disk = whole.copy();
    disk.remove(&name).expect("removed");
    let outcome = outcome_of(&open_noted(&disk));
    assert_eq!(outcome.missing, [(1, Some(12))]);
}

#[test]
fn records_are_read_although_the_header_of_their_segment_is_lost() {
    let (disk, name) = noted_log();
    disk.with_file(&name, |bytes| bytes[..30].fill(0));
    for _ in 0..2 {
        let spool = open_noted(&disk);
        assert!(is_prefix(&outcome_of(&spool)));
        assert_eq!(spool.usage().appended, Seq(12));
    }
}

#[test]
fn what_cannot_be_read_without_a_header_is_kept() {
    let disk = Double::default();
    let spool = open(&disk, ROOMY).expect("new spool");
    spool.append(b"one", b"body").expect("room");
    spool.sync().expect("good disk");
    let disk = disk.crashed(Crash::Kill);
    let name = disk.names_now().remove(0);
    disk.with_file(&name, |bytes| bytes[..30].fill(0));
    let before = disk.with_file(&name, |bytes| bytes.clone());
    let spool = open(&disk, ROOMY).expect("opens");
    assert_eq!(outcome_of(&spool).missing, [(1, None)]);
    spool.accept_loss().expect("room");
    spool.reclaim();
    spool.cut(Seq(1)).expect("good disk");
    spool.sync().expect("good disk");
    let kept = disk.with_file("00000001.damaged", |bytes| bytes.clone());
    assert_eq!(kept, before);
}

#[test]
fn a_lost_end_is_told_once_it_is_accepted_no_more_and_its_numbers_are_not_used_again() {
    let (disk, name) = noted_log();
    disk.remove(&name).expect("removed");
    for _ in 0..2 {
        let spool = open_noted(&disk);
        assert_eq!(outcome_of(&spool).missing, [(1, Some(12))]);
    }
    open_noted(&disk).accept_loss().expect("room");
    let spool = open_noted(&disk);
    assert_eq!(outcome_of(&spool), Outcome::default());
    assert_eq!(spool.append(b"", b"").expect("room").0, Seq(13));
}

#[test]
fn a_sealed_log_can_be_written_on_and_no_harm_to_it_is_silent() {
    let disk = Double::default();
    let spool = open(&disk, ROOMY).expect("new spool");
    for seq in 1..=11 {
        spool.append(&head(seq), &body(seq)).expect("room");
    }
    spool.seal().expect("good disk");
    spool.seal().expect("there is nothing left to seal");
    assert_eq!(disk.names_now(), ["00000001.seg"]);
    spool.append(&head(12), &body(12)).expect("room");
    spool.seal().expect("good disk");
    let disk = disk.crashed(Crash::PowerNothing);
    for at in 40..disk.with_file("00000002.seg", |bytes| bytes.len()) {
        let disk = disk.copy();
        disk.with_file("00000002.seg", |bytes| bytes[at] ^= 0x55);
        let outcome = outcome(&disk);
        assert!(is_told(&outcome) && outcome.good.len() == 11, "at {at}");
    }
}

#[test]
fn a_spool_within_a_body_is_not_taken_for_records() {
    let inner = small_log(0);
    let name = inner.names_now().remove(0);
    let image = inner.with_file(&name, |bytes| bytes.clone());
    let disk = Double::default();
    let spool = open(&disk, SETTINGS).expect("new spool");
    spool.append(b"one", &image).expect("room");
    spool.append(b"two", b"").expect("room");
    spool.close().expect("good disk");
    let name = disk.names_now().remove(0);
    disk.with_file(&name, |bytes| bytes[50] ^= 1);
    let mut heads = Vec::new();
    let spool = open(&disk, SETTINGS).expect("opens");
    let replayed = spool.replay(|one| -> Result<(), Error> {
        match one {
            Replayed::Record { head, .. } => heads.push(head.to_vec()),
            Replayed::Missing { first, last } => assert_eq!((first, last), (Seq(1), Some(Seq(1)))),
        }
        Ok(())
    });
    replayed.expect("goes on");
    assert_eq!(heads, [b"two"]);
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    let disk = Double::default();
    disk.world().capacity = Some(3000);
    let spool = open(&disk, SETTINGS).expect("new spool");
    let mut kept: Vec<(Seq, Place)> = Vec::new();
    let full = loop {
        match spool.append(b"head", &[5; 100]) {
            Ok(one) => kept.push(one),
            Err(fault) => break fault,
        }
    };
    assert!(matches!(full, Error::Full), "{full}");
    assert!(kept.len() > 10);
    let before = spool.usage();
    for _ in 0..3 {
        assert!(matches!(spool.append(b"head", &[5; 100]), Err(Error::Full)));
    }
    assert_eq!(spool.usage(), before);
    for (_, place) in &kept {
        assert_eq!(spool.read(place, 0, 100).expect("intact"), [5; 100][..]);
        spool.release(place, 100);
    }
    spool.sync().expect("good disk");
    spool
        .cut(kept.last().expect("some").0)
        .expect("room for one header");
    let (seq, _) = spool.append(b"head", &[6; 100]).expect("room again");
    assert_eq!(seq.0, kept.len() as u64 + 1);
}

#[test]
fn a_write_that_fails_half_way_leaves_nothing() {
    // The disk's free space is not what it says: the record is written in part.
    let disk = Double::default();
    let spool = open(&disk, SETTINGS).expect("new spool");
    spool.append(b"one", b"1").expect("room");
    let used = || -> u64 {
        let names = disk.names_now();
        names
            .iter()
            .map(|name| disk.with_file(name, |bytes| bytes.len() as u64))
            .sum()
    };
    let before = used();
    disk.world().capacity = Some(before + 60);
    assert!(matches!(spool.append(b"two", &[2; 100]), Err(Error::Full)));
    assert_eq!(used(), before);
    disk.world().capacity = None;
    spool.append(b"three", b"3").expect("room");
    let disk = disk.crashed(Crash::Kill);
    let spool = open(&disk, SETTINGS).expect("opens");
    let mut heads = Vec::new();
    let replayed = spool.replay(|one| -> Result<(), Error> {
        match one {
            Replayed::Record { head, .. } => heads.push(head.to_vec()),
            Replayed::Missing { .. } => panic!("nothing is missing"),
        }
        Ok(())
    });
    replayed.expect("whole");
    assert_eq!(heads, [&b"one"[..], b"three"]);
}

#[test]
fn the_limit_leaves_room_for_records_without_a_body() {
    let disk = Double::default();
    let limited = Settings {
        limit_bytes: 1000,
        ..SETTINGS
    };
    let spool = open(&disk, limited).expect("new spool");
    while spool.append(b"", &[1; 100]).is_ok() {}
    assert!(spool.usage().disk_bytes <= 1000);
    spool
        .append(b"unlink", b"")
        .expect("tidying up is possible");
}

#[test]
fn a_failed_sync_poisons() {
    let disk = Double::default();
    let spool = open(&disk, SETTINGS).expect("new spool");
    let (_, place) = spool.append(b"one", b"body").expect("room");
    disk.world().failing_syncs = 1;
    assert!(matches!(spool.sync(), Err(Error::Io { .. })));
    assert!(matches!(spool.sync(), Err(Error::Poisoned)));
    assert!(matches!(spool.append(b"two", b""), Err(Error::Poisoned)));
    assert_eq!(spool.read(&place, 0, 4).expect("reads go on"), b"body"[..]);
}

/// Are these all names of sealed segments, then all names of open ones?
fn are_in_order(names: &[String]) -> bool {
    names.is_sorted_by_key(|name| name.ends_with(".open"))
}

#[test]
fn a_segment_without_room_for_its_name_waits_for_it_and_so_do_all_after_it() {
    for is_renamed in [false, true] {
        let disk = Double::default();
        let spool = open(&disk, SETTINGS).expect("new spool");
        let fail = |which| {
            let mut world = disk.world();
            match is_renamed {
                false => world.failing_renames = which,
                true => world.failing_name_syncs = which,
            }
        };
        fail(u64::MAX);
        let mut places = Vec::new();
        for nth in 0..60 {
            let (_, place) = spool.append(b"one", &[nth; 500]).expect("room");
            places.push(place);
            spool.sync().expect("what is written can be made durable");
            assert!(are_in_order(&disk.names_now()), "{:?}", disk.names_now());
        }
        let segments = disk.names_now().len();
        assert!(segments > 5, "{segments}");
        // Whatever the power leaves of the names, all of it is there.
        for crash in [Crash::Kill, Crash::PowerNothing, Crash::PowerRandom(3)] {
            let again = open(&disk.crashed(crash), SETTINGS).expect("opens");
            assert_eq!(again.usage().appended, Seq(60), "{crash:?}");
            let read = |place: &Place| again.read(place, 0, 500).expect("whole")[0];
            assert!(places.iter().map(read).eq(0..60), "{crash:?}");
        }
        // Nothing of it is needed any more; and then there is room again.
        places.iter().for_each(|place| spool.release(place, 500));
        spool.cut(Seq(60)).expect("good disk");
        assert!(
            disk.names_now().len() >= segments,
            "nothing is removed that is not sealed"
        );
        fail(0);
        spool.cut(Seq(60)).expect("good disk");
        assert!(disk.names_now().len() < 3, "{:?}", disk.names_now());
        spool.append(b"more", &[7; 500]).expect("room");
        spool.close().expect("good disk");
        assert!(disk.names_now().iter().all(|name| name.ends_with(".seg")));
    }
}

#[test]
fn segments_are_sealed_in_order_whichever_names_fail() {
    for which in 0..16 {
        let disk = Double::default();
        let spool = open(&disk, SETTINGS).expect("new spool");
        let mut held_back = 0;
        for nth in 0..40 {
            if nth % 8 == 0 {
                disk.world().failing_renames = which;
                disk.world().failing_name_syncs = which >> 1;
            }
            spool.append(b"one", &[nth; 500]).expect("room");
            let names = disk.names_now();
            assert!(are_in_order(&names), "{which:b}: {names:?}");
            let open = names.iter().filter(|name| name.ends_with(".open"));
            held_back = held_back.max(open.count());
        }
        // The one in use and the next one are open in any case.
        assert_eq!(held_back > 2, which > 0, "{which:b}: {held_back}");
    }
}

#[test]
fn many_syncs_share_one() {
    let disk = Double::default();
    let settings = Settings {
        segment_bytes: 1 << 20,
        ..SETTINGS
    };
    let spool = open(&disk, settings).expect("new spool");
    spool.append(b"first", b"").expect("room");
    let before = spool.usage().data_syncs;
    disk.world().gate = Gate::Shut;
    std::thread::scope(|scope| {
        let first = scope.spawn(|| spool.sync());
        disk.wait_for_waiting();
        // While that one is busy, 20 more come; their records are not in it.
        let (told, tell) = mpsc::channel();
        let others: Vec<_> = (0..20)
            .map(|_| {
                let told = told.clone();
                let spool = &spool;
                scope.spawn(move || {
                    spool.append(b"other", b"").expect("room");
                    told.send(()).expect("the test waits");
                    spool.sync()
                })
            })
            .collect();
        tell.iter().take(20).for_each(drop);
        disk.open_gate();
        first.join().expect("no panic").expect("good disk");
        for other in others {
            other.join().expect("no panic").expect("good disk");
        }
    });
    assert_eq!(spool.usage().data_syncs - before, 2);
    assert_eq!(spool.usage().synced, Seq(21));
    let disk = disk.crashed(Crash::PowerNothing);
    assert_eq!(
        open(&disk, settings).expect("opens").usage().appended,
        Seq(21)
    );
}
