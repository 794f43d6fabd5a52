//! The layered index against a plain map.

use std::{collections::BTreeMap, ops::Bound};

use proptest::prelude::*;

use super::{Batch, Error, Index, double::Memory, kv::is_empty};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;
type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

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
        let memory = Memory::default();
        follow(&actions, || Index::over(Box::new(memory.clone())));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn layers_over_redb_are_a_map(actions in proptest::collection::vec(action(), 1..40)) {
        let dir = tempfile::tempdir().expect("temporary directory");
        follow(&actions, || Index::open(dir.path(), 1 << 20).expect("good disk"));
    }
}
