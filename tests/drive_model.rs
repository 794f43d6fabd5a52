//! The engine against a model: random changes, crashes, failures and losses of the machine; files are what they were.
#![allow(
    clippy::cast_possible_truncation,
    clippy::unwrap_used,
    reason = "small numbers of a test, and what must not fail in it"
)]

#[path = "support/drives.rs"]
mod drives;

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::hash::DefaultHasher;
use std::hash::Hash;
use std::hash::Hasher;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use drives::*;
use ods::drive::Access;
use ods::drive::Drive;
use ods::drive::Error;
use ods::drive::Look;
use ods::drive::Settings;
use ods::id::InodeNo;
use ods::index::key;
use ods::store::Mark;
use ods::store::Span;
use ods::store::Store;
use ods::store::faulty::Fault;
use ods::store::faulty::Faulty;
use ods::store::faulty::Rule;
use ods::store::faulty::Verb;
use ods::store::memory::Memory;
use tempfile::TempDir;

type Model = BTreeMap<InodeNo, Vec<u8>>;

/// Random numbers, the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }

    /// Mostly short, now and then longer than the least chunk, seldom longer than a usual one.
    fn len(&mut self) -> u64 {
        match self.below(10) {
            0..4 => 1 + self.below(700),
            4..8 => 1 + self.below(40_000),
            8 => 1 + self.below(400_000),
            _ => 1 + self.below(1_500_000),
        }
    }
}

struct World {
    dice: Dice,
    store: Arc<Faulty<Arc<Memory>>>,
    dir: TempDir,
    drive: Arc<Drive>,
    model: Model,
    /// Files without a name that are still open.
    orphans: Vec<InodeNo>,
    /// What was there when each epoch was published.
    epochs: BTreeMap<u64, Model>,
    /// What was there after each change.
    states: HashSet<u64>,
    salt: u64,
}

fn digest(model: &Model) -> u64 {
    let mut hasher = DefaultHasher::new();
    model.hash(&mut hasher);
    hasher.finish()
}

fn chosen(dir: &TempDir) -> Settings {
    Settings {
        tail_segments_max: 4,
        ..settings(dir.path())
    }
}

async fn opened(dir: &TempDir, store: &Arc<Faulty<Arc<Memory>>>, access: Access) -> Arc<Drive> {
    let store: Arc<dyn Store> = Arc::clone(store) as Arc<dyn Store>;
    let settings = Settings {
        access,
        ..chosen(dir)
    };
    Drive::open(settings, DRIVE, keys(), store, &|_| {})
        .await
        .expect("the drive opens")
}

fn put(model: &mut Vec<u8>, at: u64, bytes: &[u8]) {
    let (at, end) = (at as usize, at as usize + bytes.len());
    if model.len() < end {
        model.resize(end, 0);
    }
    model[at..end].copy_from_slice(bytes);
}

fn copy_all(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_all(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

impl World {
    async fn new(seed: u64) -> World {
        let (store, dir) = (Arc::new(Faulty::new(store())), TempDir::new().unwrap());
        let drive = opened(&dir, &store, Access::Write).await;
        World::of(seed, store, dir, drive)
    }

    fn of(seed: u64, store: Arc<Faulty<Arc<Memory>>>, dir: TempDir, drive: Arc<Drive>) -> World {
        World {
            dice: Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            store,
            dir,
            drive,
            model: Model::new(),
            orphans: Vec::new(),
            epochs: BTreeMap::new(),
            states: HashSet::from([digest(&Model::new())]),
            salt: seed << 32,
        }
    }

    fn any(&mut self) -> Option<InodeNo> {
        let count = self.model.len() as u64;
        let nth = self.dice.below(count.max(1)) as usize;
        self.model.keys().nth(nth).copied()
    }

    fn create(&mut self) {
        let ino = create(&self.drive);
        assert!(
            self.model.insert(ino, Vec::new()).is_none(),
            "a number is given twice"
        );
    }

    fn write(&mut self, ino: InodeNo) {
        let size = self.model[&ino].len() as u64;
        let at = match self.dice.below(3) {
            0 => size,
            1 => self.dice.below(size + 1),
            _ => self.dice.below(size + 200_000),
        };
        self.salt += 1;
        let len = self.dice.len() as usize;
        // Half of the content repeats itself, so that chunks are shared.
        let salt = if self.dice.below(2) == 0 {
            self.salt
        } else {
            self.salt % 3
        };
        let bytes = noise(salt + 1, len);
        write(&self.drive, ino, at, &bytes);
        put(self.model.get_mut(&ino).unwrap(), at, &bytes);
    }

    fn zero(&mut self, ino: InodeNo) {
        let size = self.model[&ino].len() as u64;
        if size == 0 {
            return;
        }
        let start = self.dice.below(size);
        let end = (start + self.dice.len()).min(size);
        self.drive
            .change(|change| -> Result<(), Error> {
                change.zero(ino, start, end);
                Ok(())
            })
            .unwrap();
        self.model.get_mut(&ino).unwrap()[start as usize..end as usize].fill(0);
    }

    fn truncate(&mut self, ino: InodeNo) {
        let size = self.model[&ino].len() as u64;
        let to = match self.dice.below(4) {
            0 => 0,
            1 => size + self.dice.len(),
            _ => self.dice.below(size + 1),
        };
        truncate(&self.drive, ino, to);
        self.model.get_mut(&ino).unwrap().resize(to as usize, 0);
    }

    fn clone(&mut self, from: InodeNo, to: InodeNo) {
        let size = self.model[&from].len() as u64;
        if size == 0 {
            return;
        }
        let start = self.dice.below(size);
        let end = (start + self.dice.len()).min(size);
        let target = self.dice.below(self.model[&to].len() as u64 + 1000);
        self.drive
            .change(|change| -> Result<(), Error> {
                let mut inode = change.inode(to)?.expect("the file is there");
                for part in change.resolve_before(from, start, end)? {
                    change.lay(to, target + (part.start - start), &part);
                }
                inode.size = inode.size.max(target + (end - start));
                change.put_inode(to, &inode);
                Ok(())
            })
            .unwrap();
        let bytes = self.model[&from][start as usize..end as usize].to_vec();
        put(self.model.get_mut(&to).unwrap(), target, &bytes);
    }

    /// Takes a file away, or its name only.
    fn remove(&mut self, ino: InodeNo) {
        self.model.remove(&ino);
        if self.dice.below(2) == 0 {
            self.purge(ino);
        } else {
            self.drive
                .change(|change| -> Result<(), Error> {
                    change.put(key::orphan(ino), Vec::new());
                    Ok(())
                })
                .unwrap();
            self.orphans.push(ino);
        }
    }

    fn purge(&mut self, ino: InodeNo) {
        self.drive
            .change(|change| -> Result<(), Error> {
                change.zero(ino, 0, u64::MAX);
                change.delete(key::inode(ino));
                change.delete(key::orphan(ino));
                Ok(())
            })
            .unwrap();
    }

    async fn flush(&mut self) {
        let fault = match self.dice.below(12) {
            0 => Some(Fault::LostAnswer),
            1 => Some(Fault::Unavailable),
            _ => None,
        };
        if let Some(fault) = fault {
            let skip = self.dice.below(3);
            self.store.add(Rule {
                verb: Verb::Put,
                skip,
                times: 1,
                fault,
            });
        }
        flush(&self.drive).await;
        self.store.clear();
        self.published();
    }

    /// Everything is published now.
    fn published(&mut self) {
        let epoch = self.drive.status().unwrap().epoch;
        self.epochs.insert(epoch, self.model.clone());
    }

    /// Lets the store fail after some calls, flushes, and kills the drive in the middle of it.
    async fn crash_in_a_flush(&mut self) {
        let skip = self.dice.below(6);
        let first = [Fault::LostAnswer, Fault::Unavailable][self.dice.below(2) as usize].clone();
        self.store.add(Rule {
            verb: Verb::Put,
            skip,
            times: 1,
            fault: first,
        });
        self.store.add(Rule {
            verb: Verb::Any,
            skip: skip + 3,
            times: u64::MAX,
            fault: Fault::Unavailable,
        });
        let (drive, store) = (Arc::clone(&self.drive), Arc::clone(&self.store));
        let before = store.struck();
        let done = tokio::task::spawn_blocking(move || drive.flush(|| store.struck() < before + 1));
        let done = done.await.unwrap();
        if done.is_ok() {
            self.published();
        }
        self.crash().await;
    }

    /// As after kill -9: goes on from a copy of what is on the disk.
    async fn crash(&mut self) {
        // A file may get another name meanwhile: then what was copied is no state the disk ever had.
        let copy = loop {
            let copy = TempDir::new().unwrap();
            if copy_all(self.dir.path(), copy.path()).is_ok() {
                break copy;
            }
        };
        self.drive.close().await;
        self.store.clear();
        if self.dice.below(6) == 0 {
            std::fs::remove_dir_all(copy.path().join("index")).unwrap();
        }
        self.drive = opened(&copy, &self.store, Access::Write).await;
        self.dir = copy;
        // The epoch that was on its way may have arrived.
        if !self.drive.status().unwrap().unpublished {
            self.published();
        }
        // What had no name any more ends with the mount.
        for ino in std::mem::take(&mut self.orphans) {
            self.purge(ino);
        }
    }

    async fn check(&self) {
        check(&self.drive, &self.model, "here").await;
    }

    /// The machine is lost.
    async fn check_rebuilt(&self) {
        let dir = TempDir::new().unwrap();
        let drive = opened(&dir, &self.store, Access::Read).await;
        let epoch = drive.status().unwrap().epoch;
        let expected = self.epochs.get(&epoch);
        check(
            &drive,
            expected.expect("an epoch that was published"),
            "rebuilt",
        )
        .await;
        drive.close().await;
    }

    async fn step(&mut self) {
        let what = self.dice.below(40);
        let (Some(one), Some(other)) = (self.any(), self.any()) else {
            return self.create();
        };
        match what {
            0..3 => self.create(),
            3..17 => self.write(one),
            17..20 => self.zero(one),
            20..23 => self.truncate(one),
            23..28 => self.clone(one, other),
            28 if self.model.len() > 3 => self.remove(one),
            29 if !self.orphans.is_empty() => {
                let ino = self.orphans.remove(0);
                self.purge(ino);
            }
            30..35 => self.flush().await,
            35 => self.check().await,
            36 => self.crash().await,
            37 => self.crash_in_a_flush().await,
            _ => {}
        }
    }
}

async fn check(drive: &Drive, model: &Model, place: &str) {
    for (ino, expected) in model {
        let found = content(drive, *ino).await;
        assert_eq!(found.len(), expected.len(), "length of {ino} {place}");
        let differs = found
            .iter()
            .zip(expected)
            .position(|(one, other)| one != other);
        assert_eq!(differs, None, "first wrong byte of {ino} {place}");
    }
    assert!(drive.damaged().is_empty(), "{:?}", drive.damaged());
}

async fn play(seed: u64, steps: u32) {
    println!("seed {seed}");
    let mut world = World::new(seed).await;
    for step in 0..steps {
        world.step().await;
        if step % 20 == 19 {
            world.check().await;
        }
    }
    for ino in std::mem::take(&mut world.orphans) {
        world.purge(ino);
    }
    world.flush().await;
    world.check().await;
    world.check_rebuilt().await;
    let usage = world.drive.status().unwrap();
    assert_eq!((usage.dirty_bytes, usage.unpublished), (0, false));
    world.drive.close().await;
}

fn seeds() -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let first = number("ODS_SEED").unwrap_or(1);
    first..first + number("ODS_SEEDS").unwrap_or(6)
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_what_they_were_whatever_happens() {
    for seed in seeds() {
        play(seed, 120).await;
    }
}

/// Everything that is in a drive.
async fn all(drive: &Drive) -> Model {
    let (from, to) = key::all(b'I');
    let inodes = drive.view().scan(&from, &to, usize::MAX).unwrap();
    let mut model = Model::new();
    for ino in inodes.iter().filter_map(|(key, _)| key::inode_of(key)) {
        if ino != InodeNo::ROOT {
            model.insert(ino, content(drive, ino).await);
        }
    }
    model
}

/// Changes and publishes at the same time, then looks at each state that was ever published.
async fn race(seed: u64) {
    println!("seed {seed}");
    let (store, dir) = (Arc::new(Faulty::new(store())), TempDir::new().unwrap());
    let settings = Settings {
        linger: Duration::ZERO,
        tail_segments_max: 1000,
        ..settings(dir.path())
    };
    let shared: Arc<dyn Store> = Arc::clone(&store) as Arc<dyn Store>;
    let drive = Drive::open(settings, DRIVE, keys(), shared, &|_| {})
        .await
        .unwrap();
    let mut world = World::of(seed, store, dir, drive);
    for step in 0..800 {
        let (one, other) = (world.any(), world.any());
        match (world.dice.below(20), one, other) {
            (0, _, _) | (_, None, _) | (_, _, None) => world.create(),
            (1, Some(one), _) if world.model.len() > 3 => {
                world.model.remove(&one);
                world.purge(one);
            }
            (2..5, Some(one), _) => world.zero(one),
            (5..8, Some(one), _) => world.truncate(one),
            (8..12, Some(one), Some(other)) => world.clone(one, other),
            (_, Some(one), _) => world.write(one),
        }
        world.states.insert(digest(&world.model));
        if step % 40 == 0 {
            world.check().await;
        }
    }
    flush(&world.drive).await;
    world.check().await;
    world.drive.close().await;
    let journal = world.store.journal();
    let mut published = Vec::new();
    let mut page = world
        .store
        .list(&journal, Span::After(Mark(0)))
        .await
        .unwrap();
    while !page.entries.is_empty() {
        published.append(&mut page.entries);
        let newest = published.last().unwrap().mark;
        page = world
            .store
            .list(&journal, Span::After(newest))
            .await
            .unwrap();
    }
    println!("{} epochs", published.len());
    while let Some(last) = published.pop() {
        let fresh = TempDir::new().unwrap();
        let again = opened(&fresh, &world.store, Access::Read).await;
        let found = all(&again).await;
        assert!(
            world.states.contains(&digest(&found)),
            "epoch {} is no state the drive had",
            again.status().unwrap().epoch
        );
        again.close().await;
        world.store.remove(&[last.locator]).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_is_always_a_state_the_drive_had() {
    for seed in seeds().take(3) {
        race(seed).await;
    }
}
