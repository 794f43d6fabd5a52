//! Putting, one file after the other.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;

use crate::drive::task::Task;
use crate::fs;
use crate::fs::Caller;
use crate::fs::Name;
use crate::fs::Rename;
use crate::fs::SetAttr;
use crate::fs::patiently;
use crate::id::ArchiveNo;
use crate::id::InodeNo;
use crate::index::inode::Inode;
use crate::index::inode::Kind;
use crate::service::Copied;
use crate::service::Desk;
use crate::service::Error;
use crate::service::Failure;
use crate::service::Put;
use crate::service::Target;
use crate::service::Until;
use crate::service::describe::describe;
use crate::service::error::shown;
use crate::service::host::walk;
use crate::service::parts::part_name;
use crate::service::put::filling::sweep_changed;
use crate::service::put::filling::sweep_old;
use crate::service::put::is_same;
use crate::service::put::item::Item;
use crate::service::put::item::attributes;
use crate::service::put::item::caller;
use crate::service::put::item::node;
use crate::service::put::item::owner;
use crate::service::put::until_stored;

/// What putting has come to.
pub(in crate::service) struct Putting<'a> {
    pub(in crate::service::put) desk: &'a Desk,
    wish: &'a Put,
    pub(in crate::service::put) task: &'a Task<'a>,
    pub(in crate::service::put) copied: Copied,
    archives: BTreeSet<ArchiveNo>,
    /// Directories whose time of change is set when everything is in them.
    times: Vec<(InodeNo, PathBuf, SetAttr)>,
}

impl<'a> Putting<'a> {
    /// Nothing is put yet.
    pub(in crate::service) fn new(
        desk: &'a Desk,
        wish: &'a Put,
        task: &'a Task<'a>,
    ) -> Putting<'a> {
        Putting {
            desk,
            wish,
            task,
            copied: Copied::default(),
            archives: BTreeSet::new(),
            times: Vec::new(),
        }
    }

    /// Puts everything into the directory of this path.
    pub(in crate::service) fn all(&mut self, to: &[u8]) -> Result<(), Error> {
        let top = self.directory(to)?;
        let (wish, apart) = (self.wish, self.desk.apart());
        sweep_old(self.desk, top, wish)?;
        for source in &wish.sources {
            let mut parents = vec![top];
            let depth = source.path().components().count();
            let left_out = walk(source.path(), &apart, &mut |host, found| {
                let below = host.components().count().saturating_sub(depth);
                parents.truncate(below + 1);
                // The directory it lies in could not be made.
                let Some(parent) = parents.get(below).copied() else {
                    return Ok(());
                };
                let made = found.map_err(Error::host(host)).and_then(|meta| {
                    let name = host.file_name().unwrap_or_default().as_bytes();
                    self.one(&Item {
                        host,
                        meta,
                        parent,
                        name,
                    })
                });
                match made {
                    Ok(ino) => parents.push(ino),
                    Err(error) => self.failed(host, error)?,
                }
                Ok(())
            })?;
            let shown = left_out.iter().map(|path| path.display().to_string());
            self.copied.left_out.extend(shown);
        }
        self.set_times()
    }

    /// Gives directories their attributes, the innermost first.
    fn set_times(&mut self) -> Result<(), Error> {
        let (fs, root) = (self.desk.fs(), Caller { uid: 0, gid: 0 });
        for (ino, host, set) in std::mem::take(&mut self.times).into_iter().rev() {
            let given = patiently(self.task, || fs.setattr(&root, ino, set));
            self.desk.inode_changed(ino);
            let name = host.file_name().unwrap_or_default().as_bytes();
            if let Err(error) = given.map_err(Error::file(name)) {
                self.failed(&host, error)?;
            }
        }
        Ok(())
    }

    /// Only a trouble of the one file is counted; one of the drive ends it.
    fn failed(&mut self, host: &Path, error: Error) -> Result<(), Error> {
        match error {
            Error::Host { .. } | Error::File { .. } | Error::Conflict(_) | Error::Usage(_) => {
                let path = host.display().to_string();
                let why = match error {
                    Error::Host { source, .. } => source.to_string(),
                    error => error.to_string(),
                };
                self.copied.failed.push(Failure { path, why });
                Ok(())
            }
            error => Err(error),
        }
    }

    /// The directory of a path from the top; made where it is not there.
    fn directory(&mut self, path: &[u8]) -> Result<InodeNo, Error> {
        let mut at = InodeNo::ROOT;
        let caller = owner(self.desk)?;
        for name in path
            .split(|byte| *byte == b'/')
            .filter(|name| !name.is_empty())
        {
            let name = Name { parent: at, name };
            let there = match self.desk.fs().lookup(name) {
                Err(fs::Error::NotFound) => {
                    let made = self
                        .desk
                        .fs()
                        .make(&caller, name, node(Kind::Directory, 0o755));
                    self.desk.name_changed(name);
                    self.copied.directories += 1;
                    made.map_err(Error::file(path))?
                }
                found => found.map_err(Error::file(path))?,
            };
            if !there.inode.is_dir() {
                return Err(Error::Conflict(format!("{} is no directory", shown(path))));
            }
            at = there.ino;
            self.archives.insert(there.inode.archive);
        }
        Ok(at)
    }

    fn one(&mut self, item: &Item<'_>) -> Result<InodeNo, Error> {
        self.task.check()?;
        let there = match self.desk.fs().lookup(item.at()) {
            Ok(attr) => Some((attr.ino, attr.inode)),
            Err(fs::Error::NotFound) => None,
            Err(error) => return Err(Error::file(item.name)(error)),
        };
        let is_dir = there.as_ref().is_some_and(|(_, inode)| inode.is_dir());
        let kind = item.meta.file_type();
        if kind.is_dir() {
            return self.one_directory(item, there);
        }
        if is_dir {
            return Err(Error::Conflict(String::from(
                "there is a directory of this name in the drive",
            )));
        }
        if !kind.is_file() && !kind.is_symlink() {
            return Err(Error::Usage(String::from(
                "devices, pipes and sockets are not copied; mount the drive for those",
            )));
        }
        if let Some((ino, inode)) = &there
            && is_same(
                self.desk,
                (*ino, inode),
                item.host,
                item.meta,
                self.wish.check,
            )?
        {
            self.archives.insert(inode.archive);
            self.copied.skipped += 1;
            self.copied.skipped_bytes += item.meta.len();
            self.task.done(1, item.meta.len())?;
            return Ok(*ino);
        }
        let ino = match kind.is_file() {
            true => self.one_file(item)?,
            false => self.one_link(item)?,
        };
        self.archives.extend(self.desk.drive().archive_of(ino)?);
        self.copied.files += 1;
        self.task.done(u64::from(kind.is_file()), 0)?;
        Ok(ino)
    }

    fn one_directory(
        &mut self,
        item: &Item<'_>,
        there: Option<(InodeNo, Inode)>,
    ) -> Result<InodeNo, Error> {
        let ino = match there {
            Some((_, inode)) if !inode.is_dir() => {
                return Err(Error::Conflict(String::from(
                    "there is a file of this name in the drive",
                )));
            }
            Some((ino, _)) => {
                sweep_changed(self.desk, ino, item.host)?;
                ino
            }
            None => {
                let new = node(Kind::Directory, item.meta.mode());
                let fs = self.desk.fs();
                let made = patiently(self.task, || fs.make(&caller(item.meta), item.at(), new));
                self.desk.name_changed(item.at());
                self.copied.directories += 1;
                made.map_err(Error::file(item.name))?.ino
            }
        };
        self.archives.extend(self.desk.drive().archive_of(ino)?);
        self.times
            .push((ino, item.host.to_owned(), attributes(item)));
        Ok(ino)
    }

    fn one_link(&mut self, item: &Item<'_>) -> Result<InodeNo, Error> {
        let target = std::fs::read_link(item.host).map_err(Error::host(item.host))?;
        let part = part_name(item.name, item.meta.len(), item.mtime());
        let beside = Name {
            parent: item.parent,
            name: &part,
        };
        let fs = self.desk.fs();
        match fs.unlink(beside) {
            Ok(()) | Err(fs::Error::NotFound) => {}
            Err(error) => return Err(Error::file(item.name)(error)),
        }
        let target = target.as_os_str().as_bytes();
        let made = patiently(self.task, || fs.symlink(&caller(item.meta), beside, target));
        let ino = made.map_err(Error::file(item.name))?.ino;
        self.place(item, beside, ino)
    }

    /// Gives what is whole its own name and attributes.
    pub(in crate::service::put) fn place(
        &self,
        item: &Item<'_>,
        beside: Name<'_>,
        ino: InodeNo,
    ) -> Result<InodeNo, Error> {
        let fs = self.desk.fs();
        let size = item.meta.is_file().then_some(item.meta.len());
        let mut set = attributes(item);
        set.size = size;
        if item.meta.is_symlink() {
            set.mode = None;
        }
        let root = Caller { uid: 0, gid: 0 };
        patiently(self.task, || fs.setattr(&root, ino, set)).map_err(Error::file(item.name))?;
        patiently(self.task, || fs.rename(beside, item.at(), Rename::Replace))
            .map_err(Error::file(item.name))?;
        self.desk.name_changed(beside);
        self.desk.name_changed(item.at());
        self.desk.inode_changed(ino);
        Ok(ino)
    }

    /// Writes about the archives, and waits until it is where it is wanted.
    pub(in crate::service) fn finish(mut self) -> Result<Copied, Error> {
        for no in &self.archives {
            let label = self.desk.drive().archive_label(*no)?;
            self.copied.archives.extend(label);
        }
        if !self.wish.words.is_empty() {
            for id in &self.copied.archives {
                describe(self.desk, &Target::Archive(id.clone()), &self.wish.words)?;
            }
        }
        self.desk.drive().sync()?;
        if self.wish.until == Until::Stored {
            until_stored(self.desk, self.task)?;
        }
        Ok(self.copied)
    }
}
