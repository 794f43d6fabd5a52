//! The layered index against a plain map, and against crashes and damage.

use std::{
    collections::BTreeMap,
    ops::Bound,
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
};

use proptest::prelude::*;

use super::{
    Batch, Error, Index, Key, Value,
    kv::{Kv, Range, is_empty},
};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;
type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// A store in memory, which can be told to fail.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Content>>);

#[derive(Clone, Default)]
struct Content {
    entries: BTreeMap<Key, Value>,
    marks: BTreeMap<String, u64>,
    /// Changes that still work.
    fuel: Option<u64>,
}

impl Memory {
    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().expect("no test panics while it holds this")
    }

    fn spend(&self) -> Result<MutexGuard<'_, Content>, Error> {
        let mut content = self.content();
        match &mut content.fuel {
            Some(0) => return Err(super::kv::io("testing")(std::io::Error::other("no power"))),
            Some(fuel) => *fuel -= 1,
            None => {}
        }
        Ok(content)
    }
}

impl Kv for Memory {
    fn get(&self, key: &[u8]) -> Result<Option<Value>, Error> {
        Ok(self.content().entries.get(key).cloned())
    }

    fn page(&self, range: Range<'_>, most: usize) -> Result<Vec<(Key, Value)>, Error> {
        let content = self.content();
        let entries = content.entries.range::<[u8], _>(range).take(most);
        Ok(entries
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
    }

    fn last(&self, range: Range<'_>) -> Result<Option<(Key, Value)>, Error> {
        let content = self.content();
        let entry = content.entries.range::<[u8], _>(range).next_back();
        Ok(entry.map(|(key, value)| (key.clone(), value.clone())))
    }

    fn write(&self, batch: &Batch) -> Result<(), Error> {
        let mut content = self.spend()?;
        for (key, value) in batch.iter() {
            match value {
                Some(value) => content.entries.insert(key.into(), value.into()),
                None => content.entries.remove(key),
            };
        }
        Ok(())
    }

    fn mark(&self, name: &str) -> Result<u64, Error> {
        Ok(self.content().marks.get(name).copied().unwrap_or(0))
    }

    fn set_mark(&self, name: &str, value: u64) -> Result<(), Error> {
        self.spend()?.marks.insert(name.to_owned(), value);
        Ok(())
    }

    fn flush(&self) -> Result<(), Error> {
        self.spend().map(drop)
    }
}

#[derive(Clone, Debug)]
enum Action {
    Apply(Vec<(Vec<u8>, Option<Vec<u8>>)>),
    Amend(Vec<(Vec<u8>, Option<Vec<u8>>)>),
    Freeze,
    Thaw,
    Settle(Vec<(Vec<u8>, Option<Vec<u8>>)>),
    Reopen,
    Look(Bound<Vec<u8>>, Bound<Vec<u8>>),
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(0..4_u8, 0..4)
}

fn changes(most: usize) -> impl Strategy<Value = Vec<(Vec<u8>, Option<Vec<u8>>)>> {
    let value = proptest::option::weighted(0.6, proptest::collection::vec(any::<u8>(), 0..4));
    proptest::collection::vec((key(), value), 0..most)
}

fn bound() -> impl Strategy<Value = Bound<Vec<u8>>> {
    prop_oneof![
        key().prop_map(Bound::Included),
        key().prop_map(Bound::Excluded),
        Just(Bound::Unbounded),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        4 => changes(30).prop_map(Action::Apply),
        2 => changes(10).prop_map(Action::Amend),
        2 => Just(Action::Freeze),
        1 => Just(Action::Thaw),
        1 => changes(5).prop_map(Action::Settle),
        1 => Just(Action::Reopen),
        6 => (bound(), bound()).prop_map(|(from, to)| Action::Look(from, to)),
    ]
}

fn batch(changes: &[(Vec<u8>, Option<Vec<u8>>)]) -> Batch {
    let mut batch = Batch::new();
    for (key, value) in changes {
        match value {
            Some(value) => batch.put(&key[..], &value[..]).expect("within limits"),
            None => batch.delete(&key[..]),
        }
    }
    batch
}

/// What the index should be.
#[derive(Default)]
struct Model {
    base: Map,
    publishing: Option<Changes>,
    gathering: Changes,
}

fn over(map: &Map, changes: &Changes) -> Map {
    let mut map = map.clone();
    for (key, value) in changes {
        match value {
            Some(value) => map.insert(key.clone(), value.clone()),
            None => map.remove(key),
        };
    }
    map
}

impl Model {
    fn frozen(&self) -> Map {
        over(
            &self.base,
            self.publishing.as_ref().unwrap_or(&Changes::new()),
        )
    }

    /// Does the same to both; an index that refuses must have nothing to do.
    fn act(&mut self, index: &Index, action: &Action) {
        match action {
            Action::Apply(changes) => {
                index.apply(batch(changes));
                self.gathering.extend(changes.iter().cloned());
            }
            Action::Amend(changes) => match &mut self.publishing {
                Some(publishing) => {
                    index.amend(batch(changes)).expect("is publishing");
                    publishing.extend(changes.iter().cloned());
                }
                None => assert!(matches!(
                    index.amend(batch(changes)),
                    Err(Error::NotPublishing)
                )),
            },
            Action::Freeze if self.publishing.is_some() => {
                assert!(matches!(index.freeze(), Err(Error::Publishing)));
            }
            Action::Freeze => {
                index.freeze().expect("not publishing");
                self.publishing = Some(std::mem::take(&mut self.gathering));
            }
            Action::Thaw => match self.publishing.take() {
                Some(mut below) => {
                    index.thaw().expect("is publishing");
                    below.append(&mut self.gathering);
                    self.gathering = below;
                }
                None => assert!(matches!(index.thaw(), Err(Error::NotPublishing))),
            },
            Action::Settle(also) => match self.publishing.take() {
                Some(mut publishing) => {
                    index.settle(batch(also)).expect("good disk");
                    publishing.extend(also.iter().cloned());
                    self.base = over(&self.base, &publishing);
                }
                None => {
                    let outcome = index.settle(batch(also));
                    assert!(matches!(outcome, Err(Error::NotPublishing)));
                }
            },
            Action::Reopen | Action::Look(..) => {}
        }
    }

    fn compare(&self, index: &Index, from: &Bound<Vec<u8>>, to: &Bound<Vec<u8>>) {
        let frozen = self.frozen();
        let now = over(&frozen, &self.gathering);
        let (from, to) = (
            from.as_ref().map(|key| &key[..]),
            to.as_ref().map(|key| &key[..]),
        );
        let views = [
            (&now, index.scan(from, to), Some(index.last(from, to))),
            (
                &frozen,
                index.frozen_scan(from, to),
                Some(index.frozen_last(from, to)),
            ),
            (&self.base, index.base_scan(from, to), None),
        ];
        for (map, scan, last) in views {
            let expected: Vec<_> = match is_empty((from, to)) {
                true => Vec::new(),
                false => map.range::<[u8], _>((from, to)).collect(),
            };
            let found: Vec<_> = scan.collect::<Result<_, _>>().expect("good disk");
            let found: Vec<_> = found
                .iter()
                .map(|(key, value)| (key.to_vec(), value.to_vec()))
                .collect();
            assert!(
                expected
                    .iter()
                    .copied()
                    .eq(found.iter().map(|(key, value)| (key, value)))
            );
            if let Some(last) = last {
                let last = last
                    .expect("good disk")
                    .map(|(key, value)| (key.to_vec(), value.to_vec()));
                assert_eq!(last, found.last().cloned());
            }
        }
        for key in now.keys().chain(frozen.keys()).chain(self.gathering.keys()) {
            let value = index.get(key).expect("good disk");
            assert_eq!(value.as_deref(), now.get(key).map(|value| &value[..]));
            let value = index.frozen_get(key).expect("good disk");
            assert_eq!(value.as_deref(), frozen.get(key).map(|value| &value[..]));
        }
        let changes: Changes = index
            .publishing()
            .map(|(key, value)| (key.to_vec(), value.map(|value| value.to_vec())))
            .collect();
        assert_eq!(changes, self.publishing.clone().unwrap_or_default());
    }
}

fn follow(actions: &[Action], open: impl Fn() -> Index) {
    let mut model = Model::default();
    let mut index = Some(open());
    for action in actions {
        if let Action::Reopen = action {
            // The old one first: a directory is used by one at a time.
            drop(index.take());
            model = Model {
                base: model.base,
                ..Model::default()
            };
        }
        let index = index.get_or_insert_with(&open);
        model.act(index, action);
        match action {
            Action::Look(from, to) => model.compare(index, from, to),
            _ => model.compare(index, &Bound::Unbounded, &Bound::Unbounded),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn layers_are_a_map(actions in proptest::collection::vec(action(), 1..40)) {
        let dir = tempfile::tempdir().expect("temporary directory");
        let memory = Memory::default();
        follow(&actions, || Index::recover(dir.path(), Box::new(memory.clone())).expect("good disk"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn layers_over_sled_are_a_map(actions in proptest::collection::vec(action(), 1..40)) {
        let dir = tempfile::tempdir().expect("temporary directory");
        follow(&actions, || Index::open(dir.path(), 1 << 20).expect("good disk"));
    }
}

/// Changes that need several batches.
fn many(fill: u8) -> Batch {
    let mut batch = Batch::new();
    for nth in 0..1000_u32 {
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

#[test]
fn a_crash_while_settling_leaves_all_or_nothing() {
    let mut outcomes = Vec::new();
    for fuel in 0..12 {
        let dir = tempfile::tempdir().expect("temporary directory");
        let memory = Memory::default();
        let open = || Index::recover(dir.path(), Box::new(memory.clone()));
        let index = open().expect("new index");
        index.apply(many(1));
        index.freeze().expect("not publishing");
        index.settle(Batch::new()).expect("good disk");
        index.apply(many(2));
        index.freeze().expect("not publishing");
        memory.content().fuel = Some(fuel);
        let settled = index.settle(Batch::new());
        assert_eq!(
            index
                .get(&[0; 4])
                .expect("still there")
                .map(|value| value[0]),
            Some(2)
        );
        drop(index);
        // The first attempt to recover is interrupted, too.
        memory.content().fuel = Some(fuel / 2);
        drop(open());
        memory.content().fuel = None;
        let values = values(&open().expect("recovers"));
        assert!(values == [2; 1000], "fuel {fuel}");
        outcomes.push(settled.is_ok());
    }
    assert!(!outcomes[0] && outcomes[11], "{outcomes:?}");
}

#[test]
fn settling_can_be_tried_again() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let memory = Memory::default();
    let index = Index::recover(dir.path(), Box::new(memory.clone())).expect("new index");
    index.apply(many(1));
    index.freeze().expect("not publishing");
    memory.content().fuel = Some(2);
    assert!(matches!(index.settle(Batch::new()), Err(Error::Io { .. })));
    memory.content().fuel = None;
    index.settle(Batch::new()).expect("good disk");
    assert_eq!(values(&index), [1; 1000]);
}

#[test]
fn a_half_settled_store_without_its_redo_file_is_damaged() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let memory = Memory::default();
    let open = || Index::recover(dir.path(), Box::new(memory.clone()));
    let index = open().expect("new index");
    index.apply(many(1));
    index.freeze().expect("not publishing");
    memory.content().fuel = Some(2);
    assert!(index.settle(Batch::new()).is_err());
    memory.content().fuel = None;
    let redo = std::fs::read(dir.path().join("redo")).expect("is there");
    std::fs::remove_file(dir.path().join("redo")).expect("is there");
    assert!(matches!(open(), Err(Error::Damaged(_))));
    for at in [0, 8, 100, redo.len() / 2, redo.len() - 1] {
        let mut redo = redo.clone();
        redo[at] ^= 1;
        std::fs::write(dir.path().join("redo"), redo).expect("good disk");
        assert!(matches!(open(), Err(Error::Damaged(_))), "at {at}");
    }
    std::fs::write(dir.path().join("redo"), redo).expect("good disk");
    assert_eq!(values(&open().expect("whole")), [1; 1000]);
}

fn settled(dir: &Path) {
    let index = Index::open(dir, 1 << 20).expect("new index");
    for epoch in 1..=3 {
        index.apply(many(epoch));
        index.freeze().expect("not publishing");
        index.settle(Batch::new()).expect("good disk");
    }
}

#[test]
fn a_damaged_database_is_an_error_and_no_panic() {
    let made = tempfile::tempdir().expect("temporary directory");
    settled(made.path());
    let db = made.path().join("base/db");
    let good = std::fs::read(&db).expect("sled's file");
    type Spoil = fn(&mut Vec<u8>);
    let ways: [(&str, Spoil); 6] = [
        ("zeros", |bytes| bytes.fill(0)),
        ("noise", |bytes| {
            let mut one = 1_u8;
            bytes.fill_with(|| {
                one = one.wrapping_mul(167).wrapping_add(13);
                one
            });
        }),
        ("empty", Vec::clear),
        ("half", |bytes| bytes.truncate(bytes.len() / 2)),
        ("begin", |bytes| bytes[..600_000].fill(0xFF)),
        ("good", |_| {}),
    ];
    for (way, spoil) in ways {
        let mut bytes = good.clone();
        spoil(&mut bytes);
        std::fs::write(&db, bytes).expect("good disk");
        let outcome = Index::open(made.path(), 1 << 20).and_then(|index| {
            let all = index.base_scan(Bound::Unbounded, Bound::Unbounded);
            all.map(|entry| Ok(entry?.1[0]))
                .collect::<Result<Vec<u8>, Error>>()
        });
        match outcome {
            Err(Error::Damaged(_)) => assert_ne!(way, "good"),
            other => assert!(
                matches!(&other, Ok(all) if *all == [3; 1000]),
                "{way}: {other:?}"
            ),
        }
    }
}

#[test]
fn batches_are_seen_whole_while_others_write() {
    let index = Index::recover(
        tempfile::tempdir().expect("temporary directory").path(),
        Box::new(Memory::default()),
    )
    .expect("new index");
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

#[test]
fn long_runs_of_deletions_are_passed_over() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let index = Index::recover(dir.path(), Box::new(Memory::default())).expect("new index");
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
