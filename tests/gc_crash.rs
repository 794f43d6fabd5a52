//! Garbage collection that is killed: at every call to the store, and at random in a life of a drive. No byte is lost.
#![allow(
    clippy::cast_possible_truncation,
    clippy::unwrap_used,
    reason = "small numbers of a test, and what must not fail in it"
)]

#[path = "support/drives.rs"]
mod drives;
#[path = "support/garbage.rs"]
mod garbage;

use std::collections::BTreeMap;
use std::sync::Arc;

use drives::*;
use garbage::*;
use ods::drive::Error;
use ods::drive::gc::Extent;
use ods::drive::gc::Wish;
use ods::drive::task::Go;
use ods::drive::task::Task;
use ods::id::InodeNo;
use ods::store::faulty::Fault;
use ods::store::faulty::Rule;
use ods::store::faulty::Verb;
use tempfile::TempDir;

type Model = BTreeMap<InodeNo, Vec<u8>>;

fn as_list(model: &Model) -> Vec<(InodeNo, Vec<u8>)> {
    model
        .iter()
        .map(|(ino, bytes)| (*ino, bytes.clone()))
        .collect()
}

async fn check(world: &World, model: &Model) {
    for (ino, bytes) in model {
        assert!(content(&world.drive, *ino).await == *bytes, "{ino} here");
    }
    assert!(
        world.drive.damaged().is_empty(),
        "{:?}",
        world.drive.damaged()
    );
}

/// Lets some calls pass; the next one is done or not, but not answered, and nothing works after it.
fn dies_after(world: &World, calls: u64, last: Fault) {
    let faulty = world.store.inner();
    faulty.add(Rule {
        verb: Verb::Any,
        skip: calls,
        times: 1,
        fault: last,
    });
    faulty.add(Rule::always(Verb::Any, Fault::Unavailable));
}

/// Collects until the store has failed; whether it came to its end.
async fn collect_until_struck(world: &World, delay_s: u64) -> bool {
    let (drive, store) = (Arc::clone(&world.drive), Arc::clone(&world.store));
    let done = tokio::task::spawn_blocking(move || {
        let before = store.inner().struck();
        let watcher = |_: &ods::drive::task::Progress| match store.inner().struck() > before {
            true => Go::Stop,
            false => Go::On,
        };
        let wish = Wish {
            dry_run: false,
            delay_s: Some(delay_s),
            extent: Extent::Full,
        };
        drive.collect(&wish, &Task::new(&watcher))
    });
    match done.await.unwrap() {
        Ok(report) => report.complete,
        Err(Error::Store(_)) => false,
        Err(error) => panic!("{error}"),
    }
}

/// As after `kill -9`: goes on from a copy of what is on the disk.
async fn crash(world: &mut World, index_too: bool) {
    let copy = loop {
        let copy = TempDir::new().unwrap();
        if copied(world.dir.path(), copy.path()).is_ok() {
            break copy;
        }
    };
    world.drive.close().await;
    world.store.inner().clear();
    if index_too {
        std::fs::remove_dir_all(copy.path().join("index")).unwrap();
    }
    world.reopen(copy).await;
}

fn copied(from: &std::path::Path, to: &std::path::Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copied(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

/// A drive with messages that are dead, mostly dead, and alive; not all of it published.
async fn littered() -> (World, Model) {
    let world = World::with_limits(512 << 10, 4).await;
    let mut model = Model::new();
    let files: Vec<InodeNo> = (0..16).map(|_| create(&world.drive)).collect();
    for (nth, ino) in (0..).zip(&files) {
        let bytes = noise(nth + 1, 300 << 10);
        write(&world.drive, *ino, 0, &bytes);
        model.insert(*ino, bytes);
    }
    flush(&world.drive).await;
    // The first message dies, of the second one file lives on, of the third all but one.
    for nth in (0..7).chain([11]) {
        remove(&world.drive, files[nth]);
        model.remove(&files[nth]);
    }
    let (from, to) = (files[15], create(&world.drive));
    clone(&world.drive, from, to, 300 << 10);
    remove(&world.drive, from);
    let bytes = model.remove(&from).unwrap();
    model.insert(to, bytes);
    (world, model)
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_call_nothing_is_lost_and_the_next_one_finishes() {
    let (mut calls, mut ends) = (0, 0);
    while ends < 2 {
        let last = match calls % 2 {
            0 => Fault::LostAnswer,
            _ => Fault::Unavailable,
        };
        let (mut world, model) = littered().await;
        dies_after(&world, calls, last);
        ends += u32::from(collect_until_struck(&world, 0).await);
        crash(&mut world, calls % 5 == 4).await;
        println!("killed at call {calls}: {} packs", world.packs());
        check(&world, &model).await;
        // Whatever was published, an empty machine reads all of it.
        world.rebuilt(&[]).await;
        let report = world.wish(false, Some(0), Extent::Full).await;
        assert!(report.complete && report.notes.is_empty(), "{report:?}");
        world.forget_cache().await;
        check(&world, &model).await;
        world.rebuilt(&as_list(&model)).await;
        let left = world.wish(false, Some(0), Extent::Full).await;
        assert_eq!(
            (left.dead.packs, left.orphans.packs, left.removed.packs),
            (0, 0, 0)
        );
        assert_eq!(world.keys_of(b'G'), 0, "no grave is left");
        assert_eq!(
            world.packs(),
            world.keys_of(b'P') as u64,
            "no orphan is left"
        );
        world.close().await;
        calls += 1;
    }
    assert!(calls >= 10, "{calls} calls were tried");
}

struct Life {
    world: World,
    model: Model,
    epochs: BTreeMap<u64, Model>,
    dice: u64,
    salt: u64,
}

impl Life {
    fn below(&mut self, limit: u64) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        (self.dice >> 11) % limit
    }

    fn any(&mut self) -> Option<InodeNo> {
        let nth = self.below(self.model.len().max(1) as u64) as usize;
        self.model.keys().nth(nth).copied()
    }

    fn write(&mut self, ino: InodeNo) {
        self.salt += 1;
        // Half of the content was there before, or will be again.
        let salt = match self.below(2) {
            0 => self.salt,
            _ => self.salt % 5,
        };
        let len = 1000 + self.below(600_000) as usize;
        let size = self.model[&ino].len() as u64;
        let at = [0, size, self.below(size + 1)][self.below(3) as usize];
        let bytes = noise(salt + 1, len);
        write(&self.world.drive, ino, at, &bytes);
        let file = self.model.get_mut(&ino).unwrap();
        let end = at as usize + len;
        file.resize(file.len().max(end), 0);
        file[at as usize..end].copy_from_slice(&bytes);
    }

    /// What is published now, if everything is.
    fn published(&mut self) {
        let status = self.world.drive.status().unwrap();
        if !status.unpublished {
            self.epochs.insert(status.epoch, self.model.clone());
        }
    }

    async fn rebuilt(&self) {
        let dir = TempDir::new().unwrap();
        let drive = self
            .world
            .open_as(dir.path(), ods::drive::Access::Read)
            .await;
        let epoch = drive.status().unwrap().epoch;
        for (ino, bytes) in &self.epochs[&epoch] {
            assert!(
                content(&drive, *ino).await == *bytes,
                "{ino} rebuilt at {epoch}"
            );
        }
        dangling(&drive, &self.world.memory);
        drive.close().await;
    }

    async fn collect(&mut self) {
        if self.below(3) == 0 {
            let (calls, last) = (self.below(12), [Fault::LostAnswer, Fault::Unavailable]);
            let last = last[self.below(2) as usize].clone();
            dies_after(&self.world, calls, last);
            collect_until_struck(&self.world, DAY_S).await;
            let index_too = self.below(6) == 0;
            crash(&mut self.world, index_too).await;
        } else {
            self.world.collect().await;
        }
        self.published();
    }

    async fn step(&mut self) {
        let what = self.below(30);
        let (Some(one), Some(other)) = (self.any(), self.any()) else {
            return self.create();
        };
        match what {
            0..3 => self.create(),
            3..10 => self.write(one),
            10..12 => {
                let size = self.below(self.model[&one].len() as u64 + 1);
                truncate(&self.world.drive, one, size);
                self.model.get_mut(&one).unwrap().truncate(size as usize);
            }
            12..15 => {
                let len = self.model[&one].len();
                clone(&self.world.drive, one, other, len as u64);
                let bytes = self.model[&one].clone();
                let file = self.model.get_mut(&other).unwrap();
                file.resize(file.len().max(len), 0);
                file[..len].copy_from_slice(&bytes);
            }
            15..18 if self.model.len() > 2 => {
                remove(&self.world.drive, one);
                self.model.remove(&one);
            }
            18..21 => {
                flush(&self.world.drive).await;
                self.published();
            }
            21..26 => self.collect().await,
            26..29 => {
                let seconds = self.below(DAY_S * 3 / 2);
                self.world.pass(seconds);
            }
            _ => {
                crash(&mut self.world, false).await;
                self.published();
            }
        }
    }

    fn create(&mut self) {
        self.model.insert(create(&self.world.drive), Vec::new());
    }
}

async fn live(seed: u64) {
    println!("seed {seed}");
    let mut life = Life {
        world: World::with_limits(1 << 20, 3).await,
        model: Model::new(),
        epochs: BTreeMap::new(),
        dice: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        salt: seed << 32,
    };
    flush(&life.world.drive).await;
    life.published();
    for step in 0..120 {
        life.step().await;
        if step % 12 == 11 {
            let status = life.world.drive.status().unwrap();
            if life.epochs.contains_key(&status.epoch) {
                life.rebuilt().await;
            }
            life.world.forget_cache().await;
            check(&life.world, &life.model).await;
        }
    }
    life.world.collect().await;
    life.world.pass(DAY_S);
    life.world.collect().await;
    life.published();
    check(&life.world, &life.model).await;
    life.rebuilt().await;
    assert_eq!(life.world.keys_of(b'G'), 0);
    assert_eq!(life.world.packs(), life.world.keys_of(b'P') as u64);
    life.world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_life_with_collections_and_crashes_loses_nothing() {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let first = number("ODS_SEED").unwrap_or(1);
    for seed in first..first + number("ODS_SEEDS").unwrap_or(5) {
        live(seed).await;
    }
}
