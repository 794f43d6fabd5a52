//! A filesystem on the emulator without a kernel between: random changes, and a model of what is there.
#![allow(
    dead_code,
    clippy::cast_possible_truncation,
    clippy::unwrap_used,
    reason = "small numbers of a test, and what must not fail in it; each suite uses a part"
)]

use std::collections::BTreeMap;
use std::hash::DefaultHasher;
use std::hash::Hash;
use std::hash::Hasher;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ods::codec::key::Keys;
use ods::codec::key::MasterKey;
use ods::drive::Access;
use ods::drive::Drive;
use ods::drive::Error;
use ods::drive::Look;
use ods::drive::Settings;
use ods::fs::Caller;
use ods::fs::Fs;
use ods::fs::More;
use ods::fs::Name;
use ods::fs::Node;
use ods::fs::Options;
use ods::fs::Privileges;
use ods::fs::Rename;
use ods::id::DriveId;
use ods::id::InodeNo;
use ods::index::inode::Kind;
use ods::store::Store;

use crate::dice::Dice;

pub(crate) const DRIVE: DriveId = DriveId([5; 16]);

/// Paths and contents; a directory has none.
pub(crate) type Model = BTreeMap<String, Option<Vec<u8>>>;

pub(crate) fn digest(model: &Model) -> u64 {
    let mut hasher = DefaultHasher::new();
    model.hash(&mut hasher);
    hasher.finish()
}

pub(crate) fn keys() -> Keys {
    Keys::derive(&MasterKey::from_bytes([6; 32]), DRIVE)
}

/// How a drive is opened here.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    pub(crate) linger: Duration,
    pub(crate) tail_segments_max: u32,
    pub(crate) access: Access,
}

impl Default for Chosen {
    fn default() -> Chosen {
        Chosen {
            linger: Duration::from_secs(3600),
            tail_segments_max: 4,
            access: Access::Write,
        }
    }
}

pub(crate) async fn open(
    dir: &Path,
    store: Arc<dyn Store>,
    chosen: &Chosen,
) -> Result<Arc<Drive>, Error> {
    let settings = Settings {
        reserve_bytes: 0,
        linger: chosen.linger,
        age_max: chosen.linger,
        tail_segments_max: chosen.tail_segments_max,
        access: chosen.access,
        read_timeout: Duration::from_secs(20),
        ..Settings::new(dir.to_owned())
    };
    // A drive that was closed a moment ago may still be held by its last thread.
    for _ in 0..LOOKS_MAX {
        let opened = Drive::open(settings.clone(), DRIVE, keys(), Arc::clone(&store), &|_| {});
        match opened.await {
            Err(Error::State(why)) if why.contains("in use by another") => {
                tokio::task::yield_now().await;
                std::thread::yield_now();
            }
            opened => return opened,
        }
    }
    panic!("the state directory stays in use")
}

const LOOKS_MAX: u32 = 100_000;

/// An open filesystem, its model, and what changes it.
pub(crate) struct Desk {
    pub(crate) drive: Arc<Drive>,
    fs: Fs,
    pub(crate) model: Model,
    pub(crate) dice: Dice,
    made: u64,
}

/// What a closed filesystem must hold when it is opened again.
pub(crate) struct Kept {
    pub(crate) model: Model,
    dice: Dice,
    made: u64,
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

impl Desk {
    pub(crate) fn new(drive: Arc<Drive>, seed: u64) -> Desk {
        let fs = Fs::new(Arc::clone(&drive), Options::default());
        Desk {
            drive,
            fs,
            model: Model::new(),
            dice: Dice::new(seed),
            made: 0,
        }
    }

    /// Closes the drive, with whatever waits in its spool; gives what is to be known when it is opened
    /// again.
    pub(crate) async fn close(self) -> Kept {
        self.drive.close().await;
        Kept {
            model: self.model,
            dice: self.dice,
            made: self.made,
        }
    }

    /// Goes on with the drive as it was opened anew.
    pub(crate) fn resumed(drive: Arc<Drive>, kept: Kept) -> Desk {
        let fs = Fs::new(Arc::clone(&drive), Options::default());
        fs.recover().expect("tidied up");
        Desk {
            drive,
            fs,
            model: kept.model,
            dice: kept.dice,
            made: kept.made,
        }
    }

    fn inode(&self, path: &str) -> InodeNo {
        let names = path.split('/').filter(|name| !name.is_empty());
        names.fold(InodeNo::ROOT, |parent, name| {
            let name = name.as_bytes();
            let entry = self.drive.view().entry(parent, name);
            entry.expect("readable").expect("there").ino
        })
    }

    fn at<'n>(&self, path: &'n str) -> Name<'n> {
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
        Name {
            parent: self.inode(dir),
            name: name.as_bytes(),
        }
    }

    fn files(&self) -> Vec<String> {
        let files = self.model.iter().filter(|(_, content)| content.is_some());
        files.map(|(path, _)| path.clone()).collect()
    }

    fn fresh(&mut self) -> String {
        let dirs = self.model.iter().filter(|(_, content)| content.is_none());
        let mut dirs: Vec<String> = dirs.map(|(path, _)| format!("{path}/")).collect();
        dirs.push(String::new());
        self.made += 1;
        format!("{}f{}", self.dice.of(&dirs), self.made)
    }

    pub(crate) fn mkdir(&mut self, path: &str) {
        let made = self.fs.make(&ROOT, self.at(path), node(Kind::Directory));
        made.expect("made");
        self.model.insert(path.to_owned(), None);
    }

    pub(crate) fn write(&mut self, path: &str, at: u64, bytes: &[u8]) {
        let ino = self.inode(path);
        let written = self.fs.write(ino, at, bytes, Privileges::Keep);
        assert_eq!(written.expect("written") as usize, bytes.len());
        let content = self.model.get_mut(path).unwrap().as_mut().unwrap();
        let (at, end) = (at as usize, at as usize + bytes.len());
        content.resize(content.len().max(end), 0);
        content[at..end].copy_from_slice(bytes);
    }

    pub(crate) fn create(&mut self, path: &str) {
        let made = self.fs.make(&ROOT, self.at(path), node(Kind::File));
        made.expect("made");
        self.model.insert(path.to_owned(), Some(Vec::new()));
    }

    pub(crate) fn unlink(&mut self, path: &str) {
        self.fs.unlink(self.at(path)).expect("removed");
        self.model.remove(path);
    }

    /// One random change; exactly one state follows the one before.
    pub(crate) fn step(&mut self) {
        let files = self.files();
        match self.dice.below(12) {
            0 if self.model.len() < 12 => {
                self.made += 1;
                let path = format!("dir{}", self.made);
                self.mkdir(&path);
            }
            1 if files.len() > 4 => {
                let path = self.dice.of(&files);
                self.unlink(&path);
            }
            2..4 if !files.is_empty() => {
                let (from, to) = (self.dice.of(&files), self.fresh());
                let to = match self.dice.below(2) {
                    0 => self.dice.of(&files),
                    _ => to,
                };
                let moved = self
                    .fs
                    .rename(self.at(&from), self.at(&to), Rename::Replace);
                moved.expect("renamed");
                let content = self.model.remove(&from).unwrap();
                self.model.insert(to, content);
            }
            4..6 if files.len() < 20 => {
                let path = self.fresh();
                self.create(&path);
            }
            _ if !files.is_empty() => {
                let path = self.dice.of(&files);
                let size = self.model[&path].as_ref().unwrap().len() as u64;
                let at = self.dice.below(size + 1);
                let len = match self.dice.below(6) {
                    0 => 1 + self.dice.below(300),
                    5 => 1 + self.dice.below(300_000),
                    _ => 1 + self.dice.below(30_000),
                };
                let bytes = self.dice.bytes(len);
                self.write(&path, at, &bytes);
            }
            _ => {
                let path = self.fresh();
                self.create(&path);
            }
        }
    }

    pub(crate) async fn flush(&self) -> Result<(), Error> {
        let drive = Arc::clone(&self.drive);
        let flush = tokio::task::spawn_blocking(move || drive.flush(|| true));
        flush.await.expect("no panic")
    }

    /// The drive holds what the model says.
    pub(crate) async fn check(&self, place: &str) {
        let found = contents(&self.drive).await;
        assert_same(&found, &self.model, place);
    }
}

/// Says where two differ.
#[track_caller]
pub(crate) fn assert_same(found: &Model, expected: &Model, place: &str) {
    let names = |model: &Model| model.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(found), names(expected), "names {place}");
    for (path, content) in expected {
        assert!(found[path] == *content, "{path} differs {place}");
    }
}

/// Everything a drive holds, read in full.
pub(crate) async fn contents(drive: &Arc<Drive>) -> Model {
    match try_contents(drive).await {
        Ok(model) => model,
        Err(error) => panic!("unreadable: {error}"),
    }
}

pub(crate) async fn try_contents(drive: &Arc<Drive>) -> Result<Model, Error> {
    let fs = Fs::new(Arc::clone(drive), Options::default());
    let (mut model, mut dirs) = (Model::new(), vec![(String::new(), InodeNo::ROOT)]);
    while let Some((dir, ino)) = dirs.pop() {
        let mut entries = Vec::new();
        let listed = fs.list(ino, 0, |entry| {
            entries.push((entry.name, entry.ino, entry.kind));
            More::Yes
        });
        listed.expect("listed");
        for (name, ino, kind) in entries {
            if name == b"." || name == b".." {
                continue;
            }
            let path = format!("{dir}{}", String::from_utf8(name).expect("text"));
            if kind == Kind::Directory {
                dirs.push((format!("{path}/"), ino));
                model.insert(path, None);
            } else {
                let content = content(drive, ino).await?;
                model.insert(path, Some(content));
            }
        }
    }
    Ok(model)
}

async fn content(drive: &Drive, ino: InodeNo) -> Result<Vec<u8>, Error> {
    let size = drive.view().inode(ino)?.expect("there").size;
    let (mut bytes, ahead) = (Vec::new(), drive.read_ahead());
    while (bytes.len() as u64) < size {
        let at = bytes.len() as u64;
        let len = (size - at).min(1 << 20) as u32;
        let part = match drive.read_local(ino, at, len)? {
            Some(part) => part,
            None => drive.read(ino, at, len, &ahead).await?,
        };
        assert_eq!(part.len(), len as usize);
        bytes.extend_from_slice(&part);
    }
    Ok(bytes)
}
