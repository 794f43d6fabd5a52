//! Damage: what is read is what was settled, or an error; never anything else.

use std::{
    collections::BTreeMap,
    fs,
    ops::Bound,
    path::{Path, PathBuf},
};

use super::{Batch, Error, Index};

const CACHE_BYTES: u64 = 1 << 20;
const FILES: [&str; 3] = ["pages", "sums", "newest"];
const KEYS: u32 = 900;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// Numbers that look random, the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % below.max(1) as u64).expect("below a usize")
    }
}

fn settle(index: &Index, epoch: u8, map: &mut Map) -> Result<(), Error> {
    let mut batch = Batch::new();
    for nth in 0..KEYS {
        let key = [b"key-", &nth.to_be_bytes()[..]].concat();
        match (nth + u32::from(epoch)) % 4 {
            0 => batch.delete(&key[..]),
            1 | 2 => batch.put(&key[..], vec![epoch; 200 + nth as usize % 300])?,
            _ => {}
        }
    }
    for (key, value) in batch.iter() {
        match value {
            Some(value) => map.insert(key.to_vec(), value.to_vec()),
            None => map.remove(key),
        };
    }
    index.apply(batch);
    index.freeze()?;
    index.settle(Batch::new())
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("good disk");
    for name in FILES {
        fs::copy(from.join(name), to.join(name)).expect("good disk");
    }
}

/// An index as it may lie on a disk, what is in it, and its files as they were an epoch earlier.
struct Made {
    _dir: tempfile::TempDir,
    closed: PathBuf,
    killed: PathBuf,
    older: PathBuf,
    map: Map,
    older_map: Map,
}

fn made() -> Made {
    let dir = tempfile::tempdir().expect("temporary directory");
    let at = |name: &str| dir.path().join(name);
    let (closed, killed, older) = (at("closed"), at("killed"), at("older"));
    let index = Index::open(&closed, CACHE_BYTES).expect("new index");
    let mut map = Map::new();
    for epoch in 1..=4 {
        settle(&index, epoch, &mut map).expect("good disk");
    }
    copy(&closed, &older);
    let older_map = map.clone();
    settle(&index, 5, &mut map).expect("good disk");
    copy(&closed, &killed);
    drop(index);
    Made {
        _dir: dir,
        closed,
        killed,
        older,
        map,
        older_map,
    }
}

#[derive(Clone, Copy, Debug)]
enum Way {
    Flip,
    Zero,
    Noise,
    Old,
    AllOld,
    Cut,
    Empty,
    Gone,
}

impl Way {
    const ALL: [Way; 8] = [
        Way::Flip,
        Way::Zero,
        Way::Noise,
        Way::Old,
        Way::AllOld,
        Way::Cut,
        Way::Empty,
        Way::Gone,
    ];

    /// Damages a file, unless that changes nothing.
    fn spoil(self, path: &Path, older: &Path, dice: &mut Dice) {
        let mut bytes = fs::read(path).expect("is there");
        let old = fs::read(older).expect("is there");
        let at = dice.roll(bytes.len());
        let to = (at + 1 + dice.roll(40_000)).min(bytes.len());
        match self {
            Way::Flip => bytes[at] ^= 1 << dice.roll(8),
            Way::Zero => bytes[at..to].fill(0),
            Way::Noise => bytes[at..to].fill_with(|| u8::try_from(dice.roll(256)).expect("small")),
            Way::Old => {
                let to = to.min(old.len()).max(at);
                if let Some(stretch) = old.get(at..to) {
                    bytes[at..to].copy_from_slice(stretch);
                }
            }
            Way::AllOld => bytes = old,
            Way::Cut => bytes.truncate(at),
            Way::Empty => bytes.clear(),
            Way::Gone => return fs::remove_file(path).expect("good disk"),
        }
        fs::write(path, bytes).expect("good disk");
    }
}

/// Where damage was noticed.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Noticed {
    Opening,
    Using,
    Never,
}

/// Looks at everything: by key, in order, and all of it again after another epoch.
fn look(dir: &Path, made: &Made) -> Result<Noticed, Error> {
    let index = match Index::open(dir, CACHE_BYTES) {
        Err(Error::Damaged(_)) => return Ok(Noticed::Opening),
        other => other?,
    };
    let mut faults = 0;
    let mut judge = |fault: Error| match fault {
        Error::Damaged(_) => faults += 1,
        other => panic!("no damage, but {other:?}"),
    };
    let mut map = made.map.clone();
    for round in 0..2 {
        for nth in 0..KEYS {
            let key = [b"key-", &nth.to_be_bytes()[..]].concat();
            match index.base_get(&key) {
                Ok(value) => assert_eq!(value.as_deref(), map.get(&key).map(|value| &value[..])),
                Err(fault) => judge(fault),
            }
        }
        let mut expected = map.iter();
        let stopped = index
            .base_scan(Bound::Unbounded, Bound::Unbounded)
            .find_map(|entry| match entry {
                Ok((key, value)) => {
                    let found = Some((key.to_vec(), value.to_vec()));
                    let due = expected.next();
                    assert_eq!(found, due.map(|(key, value)| (key.clone(), value.clone())));
                    None
                }
                Err(fault) => Some(fault),
            });
        match stopped {
            Some(fault) => judge(fault),
            None => assert!(expected.next().is_none(), "an entry is missing"),
        }
        let before = map.clone();
        if round == 0
            && let Err(fault) = settle(&index, 6, &mut map)
        {
            judge(fault);
            map = before;
        }
    }
    if let Err(fault) = index.verify() {
        judge(fault);
    }
    assert_eq!(index.damage().is_some(), faults > 0);
    drop(index);
    let again = Index::open(dir, CACHE_BYTES).map(drop);
    if faults > 0 {
        assert!(matches!(again, Err(Error::Damaged(_))), "{again:?}");
        return Ok(Noticed::Using);
    }
    again.map(|()| Noticed::Never)
}

#[test]
fn damage_is_noticed_and_nothing_wrong_is_read() {
    let made = made();
    let mut dice = Dice(0x0D5);
    let mut seen: BTreeMap<(&str, Noticed), u32> = BTreeMap::new();
    for state in [&made.closed, &made.killed] {
        for name in FILES {
            for way in Way::ALL {
                let places = match (way, name) {
                    (Way::AllOld | Way::Empty | Way::Gone, _) => 1,
                    (_, "pages") => 16,
                    _ => 6,
                };
                for _ in 0..places {
                    let dir = tempfile::tempdir().expect("temporary directory");
                    copy(state, dir.path());
                    way.spoil(&dir.path().join(name), &made.older.join(name), &mut dice);
                    let noticed = look(dir.path(), &made);
                    let noticed = noticed.unwrap_or_else(|fault| panic!("{name} {way:?}: {fault}"));
                    *seen.entry((name, noticed)).or_default() += 1;
                }
            }
        }
    }
    // The matrix must reach what it is about.
    for place in [
        ("pages", Noticed::Opening),
        ("pages", Noticed::Using),
        ("sums", Noticed::Opening),
    ] {
        assert!(
            seen.get(&place).is_some_and(|count| *count > 10),
            "{seen:?}"
        );
    }
}

#[test]
fn undamaged_it_is_whole() {
    let made = made();
    for state in [&made.closed, &made.killed] {
        assert_eq!(look(state, &made).expect("good disk"), Noticed::Never);
    }
}

/// All files as they once were are a state that the index really had, and the journal leads on from there.
#[test]
fn an_older_copy_of_everything_is_the_older_state() {
    let made = made();
    let index = Index::open(&made.older, CACHE_BYTES).expect("whole");
    let all: Map = index
        .base_scan(Bound::Unbounded, Bound::Unbounded)
        .map(|entry| entry.map(|(key, value)| (key.to_vec(), value.to_vec())))
        .collect::<Result<_, _>>()
        .expect("whole");
    assert!(all == made.older_map);
}

#[test]
fn an_index_of_an_older_version_is_made_anew() {
    let dir = tempfile::tempdir().expect("temporary directory");
    fs::create_dir(dir.path().join("base")).expect("good disk");
    fs::write(dir.path().join("base/db"), "something else").expect("good disk");
    let opened = Index::open(dir.path(), CACHE_BYTES).map(drop);
    assert!(matches!(opened, Err(Error::Damaged(_))), "{opened:?}");
}
