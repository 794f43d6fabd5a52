//! Settling: crashes in the middle of it, a disk that refuses, and readers meanwhile.

use std::{
    ops::Bound,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::Duration,
};

use super::{
    Batch, Error, Index, Key, Value,
    double::Memory,
    kv::{Changes, Kv, Lasting, Range, Redb},
    power::Power,
};

/// Changes of many pages.
fn many(fill: u8) -> Batch {
    let mut batch = Batch::new();
    for nth in 0..60_u32 {
        batch
            .put(nth.to_be_bytes(), vec![fill; 1000])
            .expect("within limits");
    }
    batch
}

fn values(index: &Index) -> Vec<u8> {
    let all = index.base_scan(Bound::Unbounded, Bound::Unbounded);
    all.map(|entry| entry.expect("good disk").1[0]).collect()
}

fn open(dir: &Path, power: Power) -> Result<Index, Error> {
    std::fs::create_dir_all(dir).expect("good disk");
    Ok(Index::over(Box::new(Redb::open(dir, 1 << 20, power)?)))
}

fn settle(index: &Index, batch: Batch) -> Result<(), Error> {
    index.apply(batch);
    if index.counts().publishing_keys == 0 {
        index.freeze().expect("not publishing");
    }
    index.settle(Batch::new())
}

/// Power for so many changes, and what is left of it.
fn power(changes: u64) -> (Power, Arc<AtomicU64>) {
    let left = Arc::new(AtomicU64::new(changes));
    (Power::for_changes(&left), left)
}

#[test]
fn a_crash_at_any_write_leaves_all_or_nothing() {
    let (mut before, mut after) = (0, 0);
    for changes in 0.. {
        let dir = tempfile::tempdir().expect("temporary directory");
        let (power, left) = power(u64::MAX);
        let index = open(dir.path(), power).expect("new index");
        settle(&index, many(1)).expect("good disk");
        left.store(changes, Ordering::SeqCst);
        let settled = settle(&index, many(2));
        let now = index.get(&[0; 4]).expect("still there");
        assert_eq!(now.map(|value| value[0]), Some(2));
        // Nothing is written from here on, so this is a crash.
        left.store(0, Ordering::SeqCst);
        drop(index);
        let again = open(dir.path(), Power::default()).expect("recovers");
        let values = values(&again);
        again.verify().expect("whole");
        match values[0] {
            1 => before += 1,
            _ => after += 1,
        }
        assert!(values == [values[0]; 60], "{changes}: {values:?}");
        if settled.is_ok() {
            assert_eq!(values[0], 2);
            break;
        }
    }
    assert!(before > 20 && after > 0, "{before} {after}");
}

#[test]
fn a_crash_while_it_is_made_leaves_one_that_works_or_is_to_be_made_again() {
    let mut damaged = 0;
    for changes in 0.. {
        let dir = tempfile::tempdir().expect("temporary directory");
        let (cut, left) = power(changes);
        let is_made = open(dir.path(), cut).is_ok();
        left.store(0, Ordering::SeqCst);
        match open(dir.path(), Power::default()) {
            Ok(again) => assert_eq!(values(&again), [0; 0]),
            Err(Error::Damaged(_)) => damaged += 1,
            Err(error) => panic!("{changes}: {error}"),
        }
        if is_made {
            break;
        }
    }
    assert!(damaged > 0, "the moments of its making were met");
}

#[test]
fn a_crash_while_recovering_loses_nothing() {
    for changes in 0..24 {
        let dir = tempfile::tempdir().expect("temporary directory");
        let (cut, left) = power(u64::MAX);
        let index = open(dir.path(), cut).expect("new index");
        settle(&index, many(1)).expect("good disk");
        left.store(0, Ordering::SeqCst);
        drop(index);
        let (cut, _) = power(changes);
        drop(open(dir.path(), cut));
        let again = open(dir.path(), Power::default()).expect("recovers");
        assert_eq!(values(&again), [1; 60], "{changes}");
    }
}

#[test]
fn settling_can_be_tried_again() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (power, left) = power(u64::MAX);
    let index = open(dir.path(), power).expect("new index");
    settle(&index, many(1)).expect("good disk");
    index.apply(many(2));
    index.freeze().expect("not publishing");
    for changes in [0, 1, 5, 12, 20] {
        left.store(changes, Ordering::SeqCst);
        let refused = index.settle(Batch::new());
        assert!(matches!(refused, Err(Error::Io { .. })), "{refused:?}");
        left.store(u64::MAX, Ordering::SeqCst);
        assert_eq!(values(&index), [1; 60]);
    }
    index.settle(Batch::new()).expect("good disk");
    assert_eq!(values(&index), [2; 60]);
    index.verify().expect("whole");
    drop(index);
    let again = open(dir.path(), Power::default()).expect("whole");
    assert_eq!(values(&again), [2; 60]);
}

#[test]
fn what_was_loaded_and_then_lost_is_told() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (power, left) = power(u64::MAX);
    let index = open(dir.path(), power).expect("new index");
    index.load(&many(1)).expect("good disk");
    left.store(0, Ordering::SeqCst);
    assert!(index.load_done().is_err());
    left.store(u64::MAX, Ordering::SeqCst);
    assert!(index.load_done().is_err(), "nothing is there to be done");
    index.load(&many(2)).expect("good disk");
    index.load_done().expect("good disk");
    assert_eq!(values(&index), [2; 60]);
}

#[test]
fn the_sums_are_written_anew_before_they_grow_too_long() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let index = open(dir.path(), Power::default()).expect("new index");
    let bytes = || {
        std::fs::metadata(dir.path().join("sums"))
            .expect("is there")
            .len()
    };
    let mut longest = 0;
    let mut shortened = 0;
    for round in 0..400 {
        let before = bytes();
        settle(&index, many(u8::try_from(round % 250).expect("small"))).expect("good disk");
        longest = longest.max(bytes());
        shortened += u32::from(bytes() < before);
    }
    assert!(shortened > 0 && longest < 2 << 20, "{shortened} {longest}");
    drop(index);
    let again = open(dir.path(), Power::default()).expect("whole");
    assert_eq!(values(&again), [149; 60]);
}

#[test]
fn batches_are_seen_whole_while_others_write() {
    let index = Index::over(Box::new(Memory::default()));
    let pair = |one: u8, other: u8| {
        let mut batch = Batch::new();
        batch.put(*b"one", [one]).expect("within limits");
        batch.put(*b"other", [other]).expect("within limits");
        batch
    };
    index.apply(pair(0, 0));
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for nth in 1..=200_u8 {
                index.apply(pair(nth, nth));
                if nth % 5 == 0 {
                    index.freeze().expect("not publishing");
                    index.apply(pair(nth, nth));
                    index.thaw().expect("is publishing");
                }
            }
        });
        while !writer.is_finished() {
            let both: Vec<_> = index
                .scan(Bound::Unbounded, Bound::Unbounded)
                .map(|entry| entry.expect("good disk").1[0])
                .collect();
            assert!(both.len() == 2 && both[0] == both[1], "{both:?}");
        }
    });
}

/// A store whose writes wait, with what they hold, until somebody who reads it waits for them and somebody who
/// writes to the index for that one.
struct Waiting {
    stored: Memory,
    held: Mutex<()>,
    began: mpsc::Sender<()>,
    goes_on: Mutex<mpsc::Receiver<()>>,
    looked: mpsc::Sender<()>,
}

impl Kv for Waiting {
    fn get(&self, key: &[u8]) -> Result<Option<Value>, Error> {
        self.stored.get(key)
    }

    fn page(&self, range: Range<'_>, most: usize) -> Result<Vec<(Key, Value)>, Error> {
        self.looked.send(()).expect("the test waits");
        let _held = self.held.lock().expect("no panic");
        self.stored.page(range, most)
    }

    fn last(&self, range: Range<'_>) -> Result<Option<(Key, Value)>, Error> {
        self.stored.last(range)
    }

    fn write(&self, changes: &mut Changes<'_>, lasting: Lasting) -> Result<(), Error> {
        let _held = self.held.lock().expect("no panic");
        self.began.send(()).expect("the test waits");
        let goes_on = self.goes_on.lock().expect("no panic").recv();
        goes_on.expect("the test lets it go on");
        self.stored.write(changes, lasting)
    }

    fn verify(&self) -> Result<(), Error> {
        self.stored.verify()
    }

    fn damage(&self) -> Option<String> {
        self.stored.damage()
    }
}

#[test]
fn settling_waits_for_nobody_who_waits_for_it() {
    let (began, has_begun) = mpsc::channel();
    let (go_on, goes_on) = mpsc::channel();
    let (looked, is_looking) = mpsc::channel();
    let index = Arc::new(Index::over(Box::new(Waiting {
        stored: Memory::default(),
        held: Mutex::new(()),
        began,
        goes_on: Mutex::new(goes_on),
        looked,
    })));
    index.apply(many(1));
    index.freeze().expect("not publishing");
    let (ended, has_ended) = mpsc::channel();
    // Not scoped: a deadlock is to fail this test, not to keep it.
    let beside = |work: fn(&Index)| {
        let (index, ended) = (Arc::clone(&index), ended.clone());
        std::thread::spawn(move || {
            work(&index);
            ended.send(()).expect("the test waits");
        });
    };
    beside(|index| index.settle(Batch::new()).expect("good disk"));
    has_begun.recv().expect("it begins");
    beside(|index| assert_eq!(index.scan_prefix(&[0]).count(), 60));
    is_looking.recv().expect("it looks");
    beside(|index| index.apply(many(2)));
    // Whoever wants to write is waited for by whoever wants to read.
    while index.layers.try_read().is_ok() {
        std::thread::yield_now();
    }
    go_on.send(()).expect("it waits");
    for _ in 0..3 {
        let end = has_ended.recv_timeout(Duration::from_secs(60));
        end.expect("no two wait for each other");
    }
}

#[test]
fn long_runs_of_deletions_are_passed_over() {
    let index = Index::over(Box::new(Memory::default()));
    let mut stored = Batch::new();
    let mut deleted = Batch::new();
    for nth in 0..20_000_u32 {
        stored.put(nth.to_be_bytes(), *b"v").expect("within limits");
        deleted.delete(nth.to_be_bytes());
    }
    stored.put([9; 4], *b"w").expect("within limits");
    index.load(&stored).expect("good disk");
    index.apply(deleted);
    let all: Vec<_> = index.scan(Bound::Unbounded, Bound::Unbounded).collect();
    assert_eq!(all.len(), 1);
    let below = index.last(Bound::Unbounded, Bound::Excluded(&[9; 4]));
    assert_eq!(below.expect("good disk"), None);
    assert_eq!(index.scan_prefix(&[0]).count(), 0);
    assert_eq!(index.scan_prefix(&[9, 9]).count(), 1);
    assert!(
        index.counts().gathering_keys == 20_000 && index.counts().gathering_bytes >= 100 * 20_000
    );
}
