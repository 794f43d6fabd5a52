//! The seam to the disk: a directory of segment files, real here, broken on purpose in tests.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::sys;
use crate::durable;

/// A directory of files.
pub(super) trait Medium: Send + Sync + 'static {
    /// Names of all files.
    fn names(&self) -> io::Result<Vec<String>>;
    /// Makes a new, empty file.
    fn create(&self, name: &str) -> io::Result<Arc<dyn Data>>;
    /// Opens a file to read and write.
    fn open(&self, name: &str) -> io::Result<Arc<dyn Data>>;
    /// Gives a file another name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes what was done to names durable.
    fn sync_names(&self) -> io::Result<()>;
    /// Bytes that may still be written.
    fn free_bytes(&self) -> io::Result<u64>;
}

/// An open file.
pub(super) trait Data: Send + Sync {
    /// Bytes in the file.
    fn size(&self) -> io::Result<u64>;
    /// Writes parts one after another; may write less than asked, like `pwritev`.
    fn write_at(&self, position: u64, parts: &[&[u8]]) -> io::Result<usize>;
    /// Reads; may read less than asked, nothing at the end.
    fn read_at(&self, position: u64, into: &mut [u8]) -> io::Result<usize>;
    /// Cuts the file.
    fn truncate(&self, size: u64) -> io::Result<()>;
    /// Makes content and size durable.
    fn sync(&self) -> io::Result<()>;
    /// Gives space back; the range reads as zeros.
    fn punch(&self, position: u64, len: u64) -> io::Result<()>;
}

/// Reads exactly as much as `into` holds.
pub(super) fn read_exact(data: &dyn Data, mut position: u64, into: &mut [u8]) -> io::Result<()> {
    let mut done = 0;
    while done < into.len() {
        match data.read_at(position, &mut into[done..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                done += read;
                position += read as u64;
            }
            Err(fault) if fault.kind() == io::ErrorKind::Interrupted => {}
            Err(fault) => return Err(fault),
        }
    }
    Ok(())
}

/// Writes all parts, however many calls that takes.
pub(super) fn write_all(data: &dyn Data, mut position: u64, parts: &[&[u8]]) -> io::Result<()> {
    let mut left: Vec<&[u8]> = parts
        .iter()
        .copied()
        .filter(|part| !part.is_empty())
        .collect();
    while !left.is_empty() {
        let mut written = match data.write_at(position, &left) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => written,
            Err(fault) if fault.kind() == io::ErrorKind::Interrupted => continue,
            Err(fault) => return Err(fault),
        };
        position += written as u64;
        left.retain_mut(|part| {
            let taken = written.min(part.len());
            written -= taken;
            *part = &part[taken..];
            !part.is_empty()
        });
    }
    Ok(())
}

/// A directory of the machine, private to its owner.
pub(super) struct Directory {
    path: PathBuf,
    handle: File,
}

impl Directory {
    pub(super) fn open(path: &Path) -> io::Result<Directory> {
        durable::make_dir(path)?;
        Ok(Directory {
            path: path.to_owned(),
            handle: File::open(path)?,
        })
    }
}

impl Medium for Directory {
    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn Data>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.path.join(name))?;
        Ok(Arc::new(file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn Data>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.path.join(name))?;
        Ok(Arc::new(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        self.handle.sync_all()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        sys::free_bytes(&self.path)
    }
}

impl Data for File {
    fn size(&self) -> io::Result<u64> {
        self.metadata().map(|metadata| metadata.len())
    }

    fn write_at(&self, position: u64, parts: &[&[u8]]) -> io::Result<usize> {
        sys::write_parts_at(self, position, parts)
    }

    fn read_at(&self, position: u64, into: &mut [u8]) -> io::Result<usize> {
        FileExt::read_at(self, into, position)
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.set_len(size)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn punch(&self, position: u64, len: u64) -> io::Result<()> {
        sys::punch(self, position, len)
    }
}
