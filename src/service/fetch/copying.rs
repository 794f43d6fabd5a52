//! Fetching, one file after the other.

use std::collections::BTreeSet;
use std::fs::DirBuilder;
use std::fs::File;
use std::fs::FileTimes;
use std::fs::Permissions;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use crate::clock::Time;
use crate::drive::task::Task;
use crate::durable;
use crate::id::ArchiveNo;
use crate::index::inode::Inode;
use crate::index::inode::Kind;
use crate::service::ANOTHER_COPY;
use crate::service::Copied;
use crate::service::Desk;
use crate::service::Error;
use crate::service::Failure;
use crate::service::Fetch;
use crate::service::compare;
use crate::service::compare::Unproven;
use crate::service::content::Reader;
use crate::service::fetch::Enter;
use crate::service::fetch::Item;
use crate::service::fetch::is_same;
use crate::service::fetch::leftover::Whole;
use crate::service::parts::host_part_name;

/// What fetching has come to.
pub(in crate::service) struct Fetching<'a> {
    desk: &'a Desk,
    wish: &'a Fetch,
    task: &'a Task<'a>,
    copied: Copied,
    archives: BTreeSet<ArchiveNo>,
    /// Directories whose attributes are set when everything is in them.
    directories: Vec<(PathBuf, Inode)>,
    whole: Whole,
}

impl<'a> Fetching<'a> {
    /// Nothing is fetched yet.
    pub(in crate::service) fn new(
        desk: &'a Desk,
        wish: &'a Fetch,
        task: &'a Task<'a>,
    ) -> Fetching<'a> {
        Fetching {
            desk,
            wish,
            task,
            copied: Copied::default(),
            archives: BTreeSet::new(),
            directories: Vec::new(),
            whole: Whole::default(),
        }
    }

    /// Fetches one thing; tells whether what is in it is wanted.
    pub(in crate::service) fn one(&mut self, item: &Item, inode: &Inode) -> Result<Enter, Error> {
        self.task.check()?;
        self.archives.insert(inode.archive);
        match self.copy(item, inode) {
            Ok(()) => Ok(Enter::Yes),
            Err(error @ (Error::Host { .. } | Error::File { .. } | Error::Conflict(_))) => {
                self.failed(item, &error);
                Ok(Enter::No)
            }
            // A file that cannot be read leaves the others readable.
            Err(Error::Drive(error)) if error.is_of_content() => {
                self.failed(item, &Error::Drive(error));
                Ok(Enter::No)
            }
            Err(error) => Err(error),
        }
    }

    fn failed(&mut self, item: &Item, error: &Error) {
        let why = match error {
            Error::Host { source, .. } => source.to_string(),
            error => error.to_string(),
        };
        self.copied.failed.push(Failure {
            path: item.host.display().to_string(),
            why,
        });
    }

    fn copy(&mut self, item: &Item, inode: &Inode) -> Result<(), Error> {
        let there = std::fs::symlink_metadata(&item.host).ok();
        if inode.is_dir() {
            return self.directory(item, inode, there.as_ref());
        }
        if there.is_some_and(|meta| meta.is_dir()) {
            return Err(Error::Conflict(String::from(
                "there is a directory of this name",
            )));
        }
        if is_same(self.desk, item, inode, self.wish.check)? {
            self.whole.add(&item.host);
            self.copied.skipped += 1;
            self.copied.skipped_bytes += inode.size;
            self.task
                .done(u64::from(inode.kind == Kind::File), inode.size)?;
            return Ok(());
        }
        match inode.kind {
            Kind::File => self.file(item, inode)?,
            Kind::Symlink => self.link(item, inode)?,
            _ => {
                return Err(Error::Conflict(String::from(
                    "devices, pipes and sockets are not copied; mount the drive for those",
                )));
            }
        }
        self.whole.add(&item.host);
        self.copied.files += 1;
        Ok(self.task.done(u64::from(inode.kind == Kind::File), 0)?)
    }

    fn directory(
        &mut self,
        item: &Item,
        inode: &Inode,
        there: Option<&std::fs::Metadata>,
    ) -> Result<(), Error> {
        match there {
            Some(meta) if meta.is_dir() => {}
            Some(_) => return Err(Error::Conflict(String::from("it is no directory here"))),
            None => {
                let made = DirBuilder::new().mode(0o700).create(&item.host);
                made.map_err(Error::host(&item.host))?;
                self.copied.directories += 1;
            }
        }
        self.directories.push((item.host.clone(), inode.clone()));
        Ok(())
    }

    fn link(&mut self, item: &Item, inode: &Inode) -> Result<(), Error> {
        let target = self
            .desk
            .fs()
            .readlink(item.ino)
            .map_err(Error::file(b""))?;
        let part = beside(item, inode);
        let make = || {
            match std::fs::remove_file(&part) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            std::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(&target), &part)?;
            drop(std::os::unix::fs::lchown(
                &part,
                Some(inode.uid),
                Some(inode.gid),
            ));
            std::fs::rename(&part, &item.host)
        };
        make().map_err(Error::host(&item.host))
    }

    fn file(&mut self, item: &Item, inode: &Inode) -> Result<(), Error> {
        let part = beside(item, inode);
        let host = || Error::host(&item.host);
        let opened = durable::open_locked(&part).map_err(host())?;
        let file = opened.ok_or_else(|| Error::Conflict(String::from(ANOTHER_COPY)))?;
        let begun = file.metadata().map_err(host())?.len().min(inode.size);
        let begun = compare::same_until(self.desk, item.ino, &file, begun, Unproven::Differ)?;
        file.set_len(begun).map_err(host())?;
        self.task.done(0, begun)?;
        let reader = Reader::open(self.desk, item.ino)?;
        let copied = &mut self.copied.bytes;
        reader.read_on(inode, begun, self.task, |at, bytes| {
            // What is all zeros becomes a hole.
            if bytes.iter().any(|byte| *byte != 0) {
                file.write_all_at(&bytes, at).map_err(host())?;
            }
            *copied += bytes.len() as u64;
            Ok(())
        })?;
        drop(reader);
        file.set_len(inode.size).map_err(host())?;
        dress(&file, inode).map_err(host())?;
        // Its name must not outlive its bytes in a power cut.
        file.sync_all().map_err(host())?;
        std::fs::rename(&part, &item.host).map_err(host())
    }

    /// Sets the attributes of directories, which are complete now, and hold nothing that was left behind.
    pub(in crate::service) fn finish(mut self) -> Result<Copied, Error> {
        std::mem::take(&mut self.whole).tidy();
        for (path, inode) in self.directories.drain(..).rev() {
            let dressed = File::open(&path).and_then(|directory| dress(&directory, &inode));
            if let Err(error) = dressed {
                log::info!("{}: {error}", path.display());
            }
        }
        for no in &self.archives {
            self.copied
                .archives
                .extend(self.desk.drive().archive_label(*no)?);
        }
        Ok(self.copied)
    }
}

/// The name under which a file is written until it is whole.
fn beside(item: &Item, inode: &Inode) -> PathBuf {
    let name = item.host.file_name().unwrap_or_default().as_bytes();
    let part = host_part_name(name, inode.size, inode.mtime);
    item.host.with_file_name(std::ffi::OsStr::from_bytes(&part))
}

/// Sets owner, mode and times; the owner only as far as this process may.
fn dress(file: &File, inode: &Inode) -> std::io::Result<()> {
    let owned = std::os::unix::fs::fchown(file, Some(inode.uid), Some(inode.gid));
    let mode = mode_with(u32::from(inode.mode), owned.is_ok());
    file.set_permissions(Permissions::from_mode(mode))?;
    let times = FileTimes::new()
        .set_accessed(system_time(inode.atime))
        .set_modified(system_time(inode.mtime));
    file.set_times(times)
}

/// A program that runs as its owner must not run as somebody else instead.
fn mode_with(mode: u32, has_its_owner: bool) -> u32 {
    match has_its_owner {
        true => mode,
        false => mode & !0o6000,
    }
}

fn system_time(time: Time) -> SystemTime {
    let distance = Duration::from_nanos(time.0.unsigned_abs());
    match time.0 {
        0.. => UNIX_EPOCH + distance,
        _ => UNIX_EPOCH - distance,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_id_bits_go_where_the_owner_could_not_be_set() {
        assert_eq!(mode_with(0o6755, true), 0o6755);
        assert_eq!(mode_with(0o6755, false), 0o755);
        assert_eq!(mode_with(0o1777, false), 0o1777);
    }
}
