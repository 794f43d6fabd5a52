//! Where old files go: directories, contents and times in the drive.

use std::collections::HashMap;
use std::collections::HashSet;
use std::io;

use crate::clock::Time;
use crate::drive::task::Task;
use crate::fs;
use crate::fs::Caller;
use crate::fs::Fs;
use crate::fs::Name;
use crate::fs::Node;
use crate::fs::Opening;
use crate::fs::Rename;
use crate::fs::SetAttr;
use crate::fs::Stamp;
use crate::id::InodeNo;
use crate::import::Error;
use crate::import::Existing;
use crate::import::Hears;
use crate::import::Mode;
use crate::import::Wish;
use crate::import::content::Proven;
use crate::import::hand::Hand;
use crate::import::hidden::Run;
use crate::import::place::Places;
use crate::index::inode::Kind;
use crate::legacy::name;

/// Bytes written at once.
const STEP: usize = 1 << 20;

/// A path of the drive, as its names from the top.
pub(in crate::import) type Path = Vec<Vec<u8>>;

/// What a file is besides its content.
#[derive(Clone, Copy, Debug)]
pub(in crate::import) struct Looks {
    pub(in crate::import) mode: u16,
    pub(in crate::import) mtime: Time,
}

/// What is in a file's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::import) enum There {
    /// Nothing, or something that is to be replaced.
    Free,
    /// The file.
    Right,
    /// Something else.
    Other,
}

/// Why a file could not be written.
#[derive(Debug)]
pub(in crate::import) enum Stopped {
    /// Its content could not be read.
    Read(io::Error),
    /// It is not what the drive takes.
    Refused(String),
    /// The drive takes nothing.
    All(Error),
}

/// The drive, and where in it.
pub(in crate::import) struct Target<'a> {
    hand: Hand<'a>,
    hears: &'a dyn Hears,
    existing: Existing,
    pub(in crate::import) mode: Mode,
    base: Option<Path>,
    known: HashMap<Path, InodeNo>,
    run: Run,
    /// Directories without anything of an earlier run.
    swept: HashSet<InodeNo>,
    places: Places,
}

impl<'a> Target<'a> {
    pub(in crate::import) fn new(
        fs: &'a Fs,
        hears: &'a dyn Hears,
        wish: &Wish,
        task: &'a Task<'a>,
    ) -> Result<Target<'a>, Error> {
        let root = fs.getattr(InodeNo::ROOT).map_err(Error::file(b""))?.inode;
        let caller = Caller {
            uid: root.uid,
            gid: root.gid,
        };
        Ok(Target {
            hand: Hand { fs, task, caller },
            hears,
            existing: wish.existing,
            mode: wish.mode,
            base: wish.to.as_deref().map(base).transpose()?,
            known: HashMap::from([(Path::new(), InodeNo::ROOT)]),
            run: Run::new()?,
            swept: HashSet::new(),
            places: Places::default(),
        })
    }

    /// The place of a file: below the directory that was asked for, or the one called `own`. A second one of
    /// the same name gets a number.
    pub(in crate::import) fn place(&mut self, own: Option<&[u8]>, names: &[Vec<u8>]) -> Path {
        let mut path = self.base_or(own);
        path.extend_from_slice(names);
        self.places.give(path)
    }

    /// The place of a directory.
    pub(in crate::import) fn base_or(&self, own: Option<&[u8]>) -> Path {
        match (&self.base, own) {
            (Some(base), _) => base.clone(),
            (None, Some(own)) => vec![own.to_vec()],
            (None, None) => Path::new(),
        }
    }

    /// What is there already.
    pub(in crate::import) fn there(
        &self,
        path: &Path,
        bytes: Option<u64>,
        mtime: Time,
    ) -> Result<There, Error> {
        let mut parent = InodeNo::ROOT;
        for (at, name) in path.iter().enumerate() {
            let attr = match self.hand.fs.lookup(Name { parent, name }) {
                Ok(attr) => attr,
                Err(fs::Error::NotFound) => return Ok(There::Free),
                Err(fs::Error::Drive(error)) => return Err(error.into()),
                Err(_) => return Ok(There::Other),
            };
            let is_last = at + 1 == path.len();
            let inode = &attr.inode;
            match inode.kind {
                Kind::Directory if !is_last => {}
                Kind::File if is_last => {
                    let is_right = inode.mtime == mtime && bytes.is_none_or(|b| b == inode.size);
                    return Ok(match (is_right, self.existing) {
                        (true, _) => There::Right,
                        (false, Existing::Replace) => There::Free,
                        (false, Existing::Keep) => There::Other,
                    });
                }
                _ => return Ok(There::Other),
            }
            parent = attr.ino;
        }
        Ok(There::Other)
    }

    /// Makes a directory and those above it, if they are not there.
    pub(in crate::import) fn directory(&mut self, path: &[Vec<u8>]) -> Result<InodeNo, Stopped> {
        if let Some(ino) = self.known.get(path) {
            return Ok(*ino);
        }
        let Some((name, above)) = path.split_last() else {
            return Ok(InodeNo::ROOT);
        };
        let at = Name {
            parent: self.directory(above)?,
            name,
        };
        let node = Node {
            kind: Kind::Directory,
            mode: 0o755,
            umask: 0,
            rdev: 0,
        };
        let attr = match self.hand.make(at, node) {
            Ok(attr) => {
                self.hears.name_changed(at);
                attr
            }
            Err(fs::Error::Exists) => self
                .hand
                .fs
                .lookup(at)
                .map_err(|error| stopped(path, error))?,
            Err(error) => return Err(stopped(path, error)),
        };
        if attr.inode.kind != Kind::Directory {
            return Err(stopped(path, fs::Error::NotADirectory));
        }
        self.known.insert(path.to_vec(), attr.ino);
        Ok(attr.ino)
    }

    /// Writes a file, under another name until it is whole; gives its length. On a dry run it is only read.
    pub(in crate::import) fn write(
        &mut self,
        path: &Path,
        looks: Looks,
        content: &mut dyn Proven,
    ) -> Result<u64, Stopped> {
        if self.mode == Mode::DryRun {
            let bytes = self.pour(content, |_, _| Ok(()))?;
            content.prove().map_err(Stopped::Read)?;
            return Ok(bytes);
        }
        let Some((name, above)) = path.split_last() else {
            return Err(stopped(path, fs::Error::Invalid));
        };
        let parent = self.directory(above)?;
        self.sweep(parent);
        let hidden = self.run.hide(name);
        let from = Name {
            parent,
            name: &hidden,
        };
        let (ino, handle) = self.begin(from).map_err(|error| stopped(path, error))?;
        let done = self
            .fill(ino, path, content)
            .and_then(|bytes| content.prove().map_err(Stopped::Read).map(|()| bytes))
            .and_then(|bytes| {
                let named = self.finish(ino, looks, from, Name { parent, name });
                named.map(|()| bytes).map_err(|error| stopped(path, error))
            });
        self.hand.fs.release(handle);
        if done.is_err() {
            self.discard(ino, from);
        }
        self.hears.name_changed(from);
        self.hears.name_changed(Name { parent, name });
        done
    }

    /// Takes away what earlier runs left in a directory. This is the only run that writes to the drive.
    fn sweep(&mut self, dir: InodeNo) {
        if !self.swept.insert(dir) {
            return;
        }
        let mut left = Vec::new();
        let listed = self.hand.fs.list(dir, 0, |entry| {
            if entry.kind == Kind::File && self.run.is_of_another(&entry.name) {
                left.push((entry.ino, entry.name));
            }
            fs::More::Yes
        });
        if let Err(error) = listed {
            log::debug!("not looked through for unfinished files: {error}");
        }
        for (ino, name) in left {
            let at = Name {
                parent: dir,
                name: &name,
            };
            self.discard(ino, at);
            self.hears.name_changed(at);
        }
    }

    /// Takes away a file that is not whole, unless its name is that of another now.
    fn discard(&self, ino: InodeNo, at: Name<'_>) {
        if let Err(error) = self.hand.unlink(ino, at) {
            log::debug!("an unfinished file stays: {error}");
        }
    }

    /// A file that nobody sees yet.
    fn begin(&self, at: Name<'_>) -> Result<(InodeNo, u64), fs::Error> {
        let node = Node {
            kind: Kind::File,
            mode: 0o600,
            umask: 0,
            rdev: 0,
        };
        let opening = Opening {
            write: true,
            exclusive: true,
            ..Opening::default()
        };
        let (attr, handle) = self.hand.create(at, node, opening)?;
        Ok((attr.ino, handle))
    }

    fn fill(&self, ino: InodeNo, path: &Path, content: &mut dyn Proven) -> Result<u64, Stopped> {
        self.pour(content, |mut offset, mut rest| {
            while !rest.is_empty() {
                let written = self.hand.write(ino, offset, rest);
                let written = written.map_err(|error| stopped(path, error))?;
                offset += u64::from(written);
                rest = &rest[written as usize..];
            }
            Ok(())
        })
    }

    /// Reads to the end, unless whoever watches wants no more; gives the length.
    fn pour(
        &self,
        content: &mut dyn Proven,
        mut into: impl FnMut(u64, &[u8]) -> Result<(), Stopped>,
    ) -> Result<u64, Stopped> {
        let mut buffer = vec![0; STEP];
        let mut offset = 0;
        loop {
            let len = full(content, &mut buffer).map_err(Stopped::Read)?;
            into(offset, &buffer[..len])?;
            offset += len as u64;
            let told = self.hand.task.done(0, len as u64);
            told.map_err(|error| Stopped::All(error.into()))?;
            if len < buffer.len() {
                return Ok(offset);
            }
        }
    }

    fn finish(
        &self,
        ino: InodeNo,
        looks: Looks,
        from: Name<'_>,
        to: Name<'_>,
    ) -> Result<(), fs::Error> {
        let set = SetAttr {
            mode: Some(looks.mode),
            atime: Some(Stamp::At(looks.mtime)),
            mtime: Some(Stamp::At(looks.mtime)),
            ..SetAttr::default()
        };
        self.hand.setattr(ino, set)?;
        let how = match self.existing {
            Existing::Keep => Rename::NoReplace,
            Existing::Replace => Rename::Replace,
        };
        self.hand.rename(ino, (from, to), how)?;
        self.hears.inode_changed(ino);
        Ok(())
    }
}

/// As much as there is, up to the whole buffer.
fn full(content: &mut dyn Proven, buffer: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < buffer.len() {
        match content.read(&mut buffer[len..]) {
            Ok(0) => break,
            Ok(more) => len += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}

/// The directory that was asked for; `/` is the top.
fn base(path: &[u8]) -> Result<Path, Error> {
    let relative: Vec<u8> = path
        .iter()
        .copied()
        .skip_while(|byte| *byte == b'/')
        .collect();
    if relative.iter().all(|byte| matches!(byte, b'/' | b'.')) && !relative.starts_with(b"..") {
        return Ok(Path::new());
    }
    name::path(&relative).map_err(|error| {
        let path = String::from_utf8_lossy(path);
        Error::Usage(format!("{path}: {error}"))
    })
}

fn stopped(path: &[Vec<u8>], error: fs::Error) -> Stopped {
    match Error::file(&path.join(&b'/'))(error) {
        Error::File { source, .. } if !matches!(*source, fs::Error::ReadOnly) => {
            Stopped::Refused(source.to_string())
        }
        error => Stopped::All(error),
    }
}

/// A path as people read it.
pub(in crate::import) fn shown(path: &[Vec<u8>]) -> String {
    format!("/{}", String::from_utf8_lossy(&path.join(&b'/')))
}
