//! A drive on an emulated Discord, machines that open it, and ways to harm what is kept.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use ods::codec::key::Keys;
use ods::codec::key::MasterKey;
use ods::codec::key::Secret;
use ods::codec::superblock::Cost;
use ods::codec::superblock::Superblock;
use ods::drive::Drive;
use ods::drive::Error;
use ods::drive::Settings;
use ods::drive::repair;
use ods::drive::repair::Losses;
use ods::drive::repair::Mode;
use ods::drive::scope::Scope;
use ods::drive::superblock;
use ods::drive::task::Go;
use ods::drive::task::Task;
use ods::drive::verify;
use ods::drive::verify::Depth;
use ods::drive::verify::Report;
use ods::emulator::StoredAttachment;
use ods::fs::Caller;
use ods::fs::Fs;
use ods::fs::Name;
use ods::fs::Node;
use ods::fs::Opening;
use ods::fs::Options;
use ods::fs::Privileges;
use ods::id::InodeNo;
use ods::index::inode::Kind;
use ods::store::Store;
use tempfile::TempDir;

use crate::discord::Place;
use crate::discord::place;

/// Longest wait for anything; only a defect takes so long.
const DEADLINE: Duration = Duration::from_secs(60);

/// What happens to bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Harm {
    BitFlip,
    Truncation,
    /// Bytes of another object of the same kind.
    Swap,
    /// Bytes that an older object had in the same place.
    Replay,
    Deletion,
}

pub(crate) const HARMS: [Harm; 5] = [
    Harm::BitFlip,
    Harm::Truncation,
    Harm::Swap,
    Harm::Replay,
    Harm::Deletion,
];

/// Bytes that do not compress, the same for the same seed.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    std::iter::repeat_with(next).take(len).collect()
}

const ROOT: Caller = Caller { uid: 0, gid: 0 };

fn node(kind: Kind) -> Node {
    Node {
        kind,
        mode: 0o755,
        umask: 0,
        rdev: 0,
    }
}

/// An open drive on one machine.
pub(crate) struct Machine<'w> {
    world: &'w World,
    pub(crate) drive: Arc<Drive>,
    fs: Fs,
}

impl Machine<'_> {
    fn find(&self, path: &str) -> InodeNo {
        self.drive.find_path(path.as_bytes()).expect("a path")
    }

    pub(crate) fn mkdir(&self, path: &str) {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let at = Name {
            parent: self.find(parent),
            name: name.as_bytes(),
        };
        self.fs
            .make(&ROOT, at, node(Kind::Directory))
            .expect("made");
    }

    /// Makes a file, or gives it other content.
    pub(crate) fn write(&self, path: &str, bytes: &[u8]) {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let at = Name {
            parent: self.find(parent),
            name: name.as_bytes(),
        };
        let opening = Opening {
            write: true,
            truncate: true,
            ..Opening::default()
        };
        let (attr, handle) = self
            .fs
            .create(&ROOT, at, node(Kind::File), opening)
            .expect("created");
        for (number, part) in (0..).zip(bytes.chunks(1 << 20)) {
            let keep = Privileges::Keep;
            let written = self.fs.write(attr.ino, number << 20, part, keep);
            assert_eq!(written.expect("written") as usize, part.len());
        }
        self.fs.release(handle);
    }

    pub(crate) fn link(&self, path: &str, new: &str) {
        let (parent, name) = new.rsplit_once('/').unwrap_or(("", new));
        let at = Name {
            parent: self.find(parent),
            name: name.as_bytes(),
        };
        self.fs.link(self.find(path), at).expect("linked");
    }

    pub(crate) fn unlink(&self, path: &str) {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parent = self.find(parent);
        let name = name.as_bytes();
        self.fs.unlink(Name { parent, name }).expect("removed");
    }

    /// All of a file, or the first error.
    pub(crate) fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        let ino = match self.drive.find_path(path.as_bytes()) {
            Ok(ino) => ino,
            Err(error) => return Err(error.to_string()),
        };
        let handle = self.fs.open(&ROOT, ino, Opening::default());
        let handle = handle.map_err(|error| error.to_string())?;
        let (mut bytes, step) = (Vec::new(), 128 << 10);
        let result = loop {
            let at = bytes.len() as u64;
            let local = self.fs.read_local(handle, at, step);
            let part = match local {
                Ok(Some(part)) => Ok(part),
                Ok(None) => self.world.runtime.block_on(self.fs.read(handle, at, step)),
                Err(error) => Err(error),
            };
            match part {
                Ok(part) if part.is_empty() => break Ok(bytes),
                Ok(part) => bytes.extend_from_slice(&part),
                Err(error) => break Err(error.to_string()),
            }
        };
        self.fs.release(handle);
        result
    }

    /// Each file has the right bytes or gives an error; these must be right.
    #[track_caller]
    pub(crate) fn check(&self, cell: &str, files: &Files, must: &[&str]) {
        for (path, right) in files {
            match self.read(path) {
                Ok(bytes) => assert!(bytes == *right, "{cell}: wrong bytes in {path}"),
                Err(error) => assert!(!must.contains(&path.as_str()), "{cell}: {path}: {error}"),
            }
        }
    }

    pub(crate) fn flush(&self) {
        self.drive.flush(|| true).expect("the store takes it");
    }

    pub(crate) fn verify(&self, depth: Depth) -> Report {
        self.verify_in(Scope::Drive, depth).expect("it can look")
    }

    pub(crate) fn verify_in(&self, scope: Scope, depth: Depth) -> Result<Report, Error> {
        let watcher = |_: &_| Go::On;
        let wish = verify::Wish { scope, depth };
        self.drive.verify(&wish, &Task::new(&watcher))
    }

    pub(crate) fn repair(&self, losses: Losses, from: Option<&Path>) -> repair::Report {
        let watcher = |_: &_| Go::On;
        let wish = repair::Wish {
            scope: Scope::Drive,
            depth: Depth::Full,
            losses,
            mode: Mode::Repair,
            from: from.map(Path::to_owned),
        };
        let repaired = self.drive.repair(&wish, &Task::new(&watcher));
        repaired.expect("it can repair")
    }

    pub(crate) fn close(self) {
        let drive = Arc::clone(&self.drive);
        let closing = async { tokio::spawn(async move { drive.close().await }).await };
        self.world.runtime.block_on(closing).expect("closed");
        // Before it is dropped, which the drive of a mount never is.
        let spool = self.drive.settings().state_dir.join("spool");
        for entry in std::fs::read_dir(spool).expect("readable") {
            let path = entry.expect("an entry").path();
            assert!(
                path.extension().is_none_or(|end| end != "open"),
                "{} is not sealed",
                path.display()
            );
        }
    }
}

/// Files and what should be in them.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

pub(crate) struct World {
    runtime: tokio::runtime::Runtime,
    pub(crate) place: Place,
    home: TempDir,
    master: MasterKey,
    pub(crate) superblock: Superblock,
    keys: Keys,
    pub(crate) files: Files,
    machines: std::cell::Cell<u32>,
}

impl World {
    /// A drive with a superblock and nothing else; it writes a checkpoint after every second epoch.
    pub(crate) fn empty() -> World {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let place = runtime.block_on(place());
        let secret = Secret::passphrase(String::from("right")).expect("a passphrase");
        let made = Superblock::create(&secret, Cost::LEAST, b"here".to_vec());
        let (first, master, _) = made.expect("in bounds");
        let superblock = first
            .with_passphrase(&master, &secret, Cost::LEAST)
            .expect("in bounds");
        let store = place.store();
        runtime.block_on(async {
            for superblock in [&first, &superblock] {
                let before = superblock::find(&store).await.expect("listed");
                superblock::put(&store, superblock, &master)
                    .await
                    .expect("put");
                for old in before {
                    store.unpin(&old.locator).await.expect("unpinned");
                }
            }
        });
        let keys = Keys::derive(&master, superblock.drive());
        World {
            runtime,
            place,
            home: TempDir::new().expect("a directory"),
            master,
            superblock,
            keys,
            files: Files::new(),
            machines: std::cell::Cell::new(0),
        }
    }

    /// A drive with files in three archives; the first machine keeps what it wrote in its cache. The file
    /// `photos/one.bin` has two names, and has had other content before.
    pub(crate) fn filled() -> World {
        let mut world = World::empty();
        let machine = world.open("first");
        machine.mkdir("photos");
        machine.mkdir("music");
        machine.write("photos/one.bin", &noise(1, 3 << 20));
        machine.write("music/song.bin", &noise(2, 2 << 20));
        machine.write("plain.bin", &noise(3, 1 << 20));
        machine.write("note.txt", b"a few words");
        machine.flush();
        machine.write("photos/one.bin", &noise(4, 3 << 20));
        machine.link("photos/one.bin", "photos/again.bin");
        machine.flush();
        machine.close();
        world.files = Files::from([
            (String::from("photos/one.bin"), noise(4, 3 << 20)),
            (String::from("photos/again.bin"), noise(4, 3 << 20)),
            (String::from("music/song.bin"), noise(2, 2 << 20)),
            (String::from("plain.bin"), noise(3, 1 << 20)),
            (String::from("note.txt"), b"a few words".to_vec()),
        ]);
        world
    }

    pub(crate) fn state(&self, machine: &str) -> PathBuf {
        self.home.path().join(machine)
    }

    fn settings(&self, machine: &str) -> Settings {
        Settings {
            reserve_bytes: 0,
            linger: Duration::from_secs(3600),
            age_max: Duration::from_secs(3600),
            tail_segments_max: 2,
            ..Settings::new(self.state(machine))
        }
    }

    pub(crate) fn open(&self, machine: &str) -> Machine<'_> {
        self.try_open(machine).expect("the drive opens")
    }

    pub(crate) fn try_open(&self, machine: &str) -> Result<Machine<'_>, Error> {
        let settings = self.settings(machine);
        std::fs::create_dir_all(&settings.state_dir).expect("a directory");
        let copy = self.superblock.encode(&self.master).to_bytes();
        std::fs::write(settings.state_dir.join(superblock::COPY), copy).expect("written");
        let started = Instant::now();
        let drive = loop {
            let store: Arc<dyn Store> = Arc::new(self.place.store());
            let (id, keys) = (self.superblock.drive(), self.keys.clone());
            let opening = Drive::open(settings.clone(), id, keys, store, &|_| {});
            match self.runtime.block_on(opening) {
                // A thread of the drive that was just closed may still be ending.
                Err(Error::State(text))
                    if text.contains("in use") && started.elapsed() < DEADLINE =>
                {
                    std::thread::park_timeout(Duration::from_millis(10));
                }
                opened => break opened?,
            }
        };
        Ok(Machine {
            world: self,
            fs: Fs::new(Arc::clone(&drive), Options::default()),
            drive,
        })
    }

    /// A machine that has never seen the drive.
    pub(crate) fn fresh(&self) -> Result<Machine<'_>, Error> {
        self.machines.set(self.machines.get() + 1);
        self.try_open(&format!("fresh {}", self.machines.get()))
    }

    /// The superblock as a machine without a copy would read it.
    pub(crate) fn superblock_on_discord(&self) -> Result<Superblock, Error> {
        let store = self.place.store();
        self.runtime.block_on(async {
            let found = superblock::find(&store).await?;
            superblock::fetch(&store, found.first().expect("one")).await
        })
    }

    pub(crate) fn objects(&self) -> Vec<StoredAttachment> {
        self.place.emulator.attachments()
    }

    /// Packs, oldest first.
    pub(crate) fn packs(&self) -> Vec<StoredAttachment> {
        let mut packs = self.objects();
        packs.retain(|object| object.channel != self.place.journal);
        packs
    }

    /// Journal objects whose names begin so, oldest first.
    pub(crate) fn journal(&self, begin: &str) -> Vec<StoredAttachment> {
        let mut parts = self.objects();
        parts.retain(|object| {
            object.channel == self.place.journal && object.filename.starts_with(begin)
        });
        parts
    }

    pub(crate) fn bytes(&self, object: &StoredAttachment) -> Vec<u8> {
        let bytes = self.place.emulator.attachment_bytes(object.id);
        bytes.expect("stored").to_vec()
    }

    pub(crate) fn replace(&self, object: &StoredAttachment, bytes: Vec<u8>) {
        let replaced = self
            .place
            .emulator
            .replace_attachment(object.id, bytes.into());
        replaced.expect("replaced");
    }

    pub(crate) fn delete(&self, object: &StoredAttachment) {
        let deleted = self
            .place
            .emulator
            .delete_message(object.channel, object.message);
        deleted.expect("deleted");
    }
}

/// A file's bytes, harmed in the middle; swap and replay put other bytes there.
pub(crate) fn harm(harm: Harm, bytes: &mut Vec<u8>, other: &[u8]) {
    let middle = bytes.len() / 2;
    match harm {
        Harm::BitFlip => bytes[middle] ^= 1,
        Harm::Truncation => bytes.truncate(middle),
        Harm::Swap | Harm::Replay => *bytes = other.to_vec(),
        Harm::Deletion => bytes.clear(),
    }
}
