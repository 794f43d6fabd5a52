//! A disk for tests, which keeps what is durable and what is merely written apart, and fails on demand.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard},
};

use super::medium::{Data, Medium};

/// Blocks that reach the disk, or do not, one by one; small, so that tears fall inside records.
const BLOCK: usize = 64;

/// What a crash leaves of what was not synced.
#[derive(Clone, Copy, Debug)]
pub(super) enum Crash {
    /// All of it: the process was killed, the machine lives on.
    Kill,
    /// Nothing.
    PowerNothing,
    /// Any part of it, in any order.
    PowerRandom(u64),
}

#[derive(Clone, Default)]
pub(super) struct Double {
    world: Arc<(Mutex<World>, Condvar)>,
}

#[derive(Clone, Default)]
pub(super) struct World {
    files: BTreeMap<u64, Content>,
    names: BTreeMap<u64, String>,
    durable_names: BTreeMap<u64, String>,
    pending: Vec<Change>,
    /// Operations that still work.
    pub(super) fuel: Option<u64>,
    /// Operations done that changed something.
    pub(super) done: u64,
    /// Bytes that fit on the disk.
    pub(super) capacity: Option<u64>,
    pub(super) failing_syncs: u64,
    pub(super) failing_punches: u64,
    /// Which segments cannot get the name of a sealed one, or not durably: the lowest bit is for the next, the highest
    /// for the last before it begins anew.
    pub(super) failing_renames: u64,
    pub(super) failing_name_syncs: u64,
    pub(super) syncs: u64,
    /// While set, syncs wait.
    pub(super) gate: Gate,
    pub(super) waiting: u64,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Gate {
    #[default]
    Open,
    Shut,
}

#[derive(Clone, Default)]
struct Content {
    live: Vec<u8>,
    durable: Vec<u8>,
}

#[derive(Clone)]
enum Change {
    Name(u64, String),
    Remove(u64),
}

impl Double {
    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.world
            .0
            .lock()
            .expect("no test panics while it holds this")
    }

    pub(super) fn open_gate(&self) {
        self.world().gate = Gate::Open;
        self.world.1.notify_all();
    }

    pub(super) fn wait_for_waiting(&self) {
        let world = self.world();
        let wait = self.world.1.wait_while(world, |world| world.waiting == 0);
        drop(wait.expect("no test panics while it holds this"));
    }

    /// The disk after a crash.
    pub(super) fn crashed(&self, crash: Crash) -> Double {
        let mut world = self.world().clone();
        let mut random = Random(match crash {
            Crash::PowerRandom(seed) => seed | 1,
            _ => 1,
        });
        let mut survives = || match crash {
            Crash::Kill => true,
            Crash::PowerNothing => false,
            Crash::PowerRandom(_) => random.below(2) == 0,
        };
        let mut names = std::mem::take(&mut world.durable_names);
        for change in std::mem::take(&mut world.pending) {
            match change {
                Change::Name(file, name) if survives() => drop(names.insert(file, name)),
                Change::Remove(file) if survives() => drop(names.remove(&file)),
                _ => {}
            }
        }
        for content in world.files.values_mut() {
            let Content { live, durable } = content;
            let mut after = if survives() {
                live.clone()
            } else {
                durable.clone()
            };
            for (at, block) in after.chunks_mut(BLOCK).enumerate() {
                let from = if survives() { &*live } else { &*durable };
                let from = from.get(at * BLOCK..).unwrap_or_default();
                let len = from.len().min(block.len());
                block.fill(0);
                block[..len].copy_from_slice(&from[..len]);
            }
            *content = Content {
                live: after.clone(),
                durable: after,
            };
        }
        world.names.clone_from(&names);
        world.durable_names = names;
        world.fuel = None;
        Double {
            world: Arc::new((Mutex::new(world), Condvar::new())),
        }
    }

    /// A copy whose files can be spoilt without touching this one.
    pub(super) fn copy(&self) -> Double {
        self.crashed(Crash::Kill)
    }

    pub(super) fn names_now(&self) -> Vec<String> {
        let mut names: Vec<_> = self.world().names.values().cloned().collect();
        names.sort();
        names
    }

    /// The bytes of a file, to be read or spoilt.
    pub(super) fn with_file<T>(&self, name: &str, work: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let mut world = self.world();
        let file = world.find(name).expect("a file of that name");
        let content = world.files.get_mut(&file).expect("a named file");
        let answer = work(&mut content.live);
        content.durable.clone_from(&content.live);
        answer
    }
}

impl World {
    fn find(&self, name: &str) -> io::Result<u64> {
        let found = self.names.iter().find(|(_, one)| *one == name);
        found
            .map(|(file, _)| *file)
            .ok_or(io::ErrorKind::NotFound.into())
    }

    fn spend(&mut self) -> io::Result<()> {
        self.done += 1;
        match &mut self.fuel {
            Some(0) => Err(io::Error::other("the power is gone")),
            Some(fuel) => {
                *fuel -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn used(&self) -> u64 {
        let named = self.names.keys().map(|file| &self.files[file].live);
        named.map(|live| live.len() as u64).sum()
    }
}

fn is_next_set(bits: &mut u64) -> bool {
    let is_set = *bits & 1 == 1;
    *bits = bits.rotate_right(1);
    is_set
}

struct Handle {
    double: Double,
    file: u64,
}

impl Handle {
    fn live<T>(&self, work: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let mut world = self.double.world();
        work(&mut world.files.get_mut(&self.file).expect("an open file").live)
    }
}

impl Medium for Double {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.names_now())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn Data>> {
        let mut world = self.world();
        world.spend()?;
        if world.find(name).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = world.files.len() as u64;
        world.files.insert(file, Content::default());
        world.names.insert(file, name.to_owned());
        world.pending.push(Change::Name(file, name.to_owned()));
        Ok(Arc::new(Handle {
            double: self.clone(),
            file,
        }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn Data>> {
        Ok(Arc::new(Handle {
            double: self.clone(),
            file: self.world().find(name)?,
        }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut world = self.world();
        world.spend()?;
        if to.ends_with(".seg") && is_next_set(&mut world.failing_renames) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let file = world.find(from)?;
        world.names.insert(file, to.to_owned());
        world.pending.push(Change::Name(file, to.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut world = self.world();
        world.spend()?;
        let file = world.find(name)?;
        world.names.remove(&file);
        world.pending.push(Change::Remove(file));
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut world = self.world();
        world.spend()?;
        let last = world.pending.last();
        let is_of_seal = matches!(last, Some(Change::Name(_, name)) if name.ends_with(".seg"));
        if is_of_seal && is_next_set(&mut world.failing_name_syncs) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        world.pending.clear();
        world.durable_names = world.names.clone();
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let world = self.world();
        Ok(world
            .capacity
            .map_or(u64::MAX, |all| all.saturating_sub(world.used())))
    }
}

impl Data for Handle {
    fn size(&self) -> io::Result<u64> {
        Ok(self.live(|live| live.len() as u64))
    }

    /// Writes at most 100 bytes when the disk is about to fill up or the power to go, so that tears happen.
    fn write_at(&self, position: u64, parts: &[&[u8]]) -> io::Result<usize> {
        let mut bytes = parts.concat();
        let mut world = self.double.world();
        let room = world
            .capacity
            .map_or(u64::MAX, |all| all.saturating_sub(world.used()));
        if room < bytes.len() as u64 {
            if room == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            bytes.truncate(usize::try_from(room).expect("little room"));
        }
        let spent = world.spend();
        if spent.is_err() {
            bytes.truncate(bytes.len() / 2);
        }
        let at = usize::try_from(position).expect("small files");
        let live = &mut world.files.get_mut(&self.file).expect("an open file").live;
        live.resize(live.len().max(at + bytes.len()), 0);
        live[at..at + bytes.len()].copy_from_slice(&bytes);
        spent.map(|()| bytes.len())
    }

    fn read_at(&self, position: u64, into: &mut [u8]) -> io::Result<usize> {
        let at = usize::try_from(position).expect("small files");
        self.live(|live| {
            let from = live.get(at..).unwrap_or_default();
            let len = from.len().min(into.len());
            into[..len].copy_from_slice(&from[..len]);
            Ok(len)
        })
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.double.world().spend()?;
        self.live(|live| live.truncate(usize::try_from(size).expect("small files")));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut world = self.double.world();
        world.syncs += 1;
        world.spend()?;
        if world.failing_syncs > 0 {
            world.failing_syncs -= 1;
            return Err(io::Error::other("the disk is broken"));
        }
        let content = world.files.get_mut(&self.file).expect("an open file");
        let durable = content.live.clone();
        if world.gate == Gate::Shut {
            world.waiting += 1;
            self.double.world.1.notify_all();
            let wait = self
                .double
                .world
                .1
                .wait_while(world, |world| world.gate == Gate::Shut);
            world = wait.expect("no test panics while it holds this");
        }
        // What was written while the disk was busy is not durable.
        world
            .files
            .get_mut(&self.file)
            .expect("an open file")
            .durable = durable;
        Ok(())
    }

    fn punch(&self, position: u64, len: u64) -> io::Result<()> {
        let mut world = self.double.world();
        world.spend()?;
        if world.failing_punches > 0 {
            world.failing_punches -= 1;
            return Err(io::Error::other("the disk is broken"));
        }
        drop(world);
        let at = usize::try_from(position).expect("small files");
        let len = usize::try_from(len).expect("small files");
        self.live(|live| live[at..at + len].fill(0));
        Ok(())
    }
}

/// Numbers that look random, the same ones every time.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % limit
    }
}
