//! The bytes of attachments: one file each, or one buffer each.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};

use crate::emulator::snowflake::Snowflake;

/// Bytes handed out at once while reading from disk.
pub(crate) const READ_BYTES: u64 = 256 << 10;

/// Where attachments are. File calls block, which is short on a local disk's page cache.
#[derive(Debug)]
pub(crate) enum Blobs {
    Memory(Mutex<HashMap<Snowflake, Bytes>>),
    Disk(PathBuf),
}

/// An attachment that is being uploaded. Dropped unfinished, it leaves nothing.
#[derive(Debug)]
pub(crate) struct Incoming {
    blobs: Arc<Blobs>,
    id: Snowflake,
    bytes: u64,
    keep_bytes: u64,
    sink: Sink,
}

#[derive(Debug)]
enum Sink {
    Memory(BytesMut),
    Disk(File),
    Done,
}

impl Blobs {
    pub(crate) fn memory() -> Self {
        Self::Memory(Mutex::default())
    }

    pub(crate) fn disk(directory: &Path) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        Ok(Self::Disk(directory.to_owned()))
    }

    /// Starts an upload of which only the first `keep_bytes` are kept.
    pub(crate) fn receive(
        self: &Arc<Self>,
        id: Snowflake,
        keep_bytes: u64,
    ) -> io::Result<Incoming> {
        let sink = match &**self {
            Self::Memory(_) => Sink::Memory(BytesMut::new()),
            Self::Disk(directory) => Sink::Disk(File::create(part_path(directory, id))?),
        };
        Ok(Incoming {
            blobs: Arc::clone(self),
            id,
            bytes: 0,
            keep_bytes,
            sink,
        })
    }

    /// Stored bytes of an attachment, or `None` when it is not there.
    pub(crate) fn len(&self, id: Snowflake) -> Option<u64> {
        match self {
            Self::Memory(all) => lock(all).get(&id).map(|bytes| bytes.len() as u64),
            Self::Disk(directory) => fs::metadata(path(directory, id))
                .ok()
                .map(|meta| meta.len()),
        }
    }

    /// At most `length` bytes from `offset`; fewer at the end.
    pub(crate) fn read(&self, id: Snowflake, offset: u64, length: u64) -> io::Result<Bytes> {
        match self {
            Self::Memory(all) => {
                let all = lock(all);
                let bytes = all.get(&id).ok_or(io::ErrorKind::NotFound)?;
                let end = index(offset.saturating_add(length)).min(bytes.len());
                Ok(bytes.slice(index(offset).min(end)..end))
            }
            Self::Disk(directory) => {
                let file = File::open(path(directory, id))?;
                let rest = file.metadata()?.len().saturating_sub(offset);
                let mut buffer = vec![0; index(length.min(rest))];
                file.read_exact_at(&mut buffer, offset)?;
                Ok(buffer.into())
            }
        }
    }

    /// Puts other bytes in place of an attachment's.
    pub(crate) fn replace(&self, id: Snowflake, bytes: Bytes) -> io::Result<()> {
        match self {
            Self::Memory(all) => {
                lock(all).insert(id, bytes);
                Ok(())
            }
            Self::Disk(directory) => {
                fs::write(part_path(directory, id), &bytes)?;
                fs::rename(part_path(directory, id), path(directory, id))
            }
        }
    }

    pub(crate) fn remove(&self, id: Snowflake) {
        match self {
            Self::Memory(all) => drop(lock(all).remove(&id)),
            // Absent already: an upload that was never finished, or a replayed deletion.
            Self::Disk(directory) => drop(fs::remove_file(path(directory, id))),
        }
    }

    /// Removes what no message names: uploads that the last run did not acknowledge.
    pub(crate) fn retain(&self, keep: impl Fn(Snowflake) -> bool) -> io::Result<()> {
        let Self::Disk(directory) = self else {
            return Ok(());
        };
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let id = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok());
            if !id.is_some_and(&keep) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

impl Incoming {
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let room = index(self.keep_bytes.saturating_sub(self.bytes)).min(bytes.len());
        self.bytes += bytes.len() as u64;
        match &mut self.sink {
            Sink::Memory(buffer) => buffer.extend_from_slice(&bytes[..room]),
            Sink::Disk(file) => file.write_all(&bytes[..room])?,
            Sink::Done => {}
        }
        Ok(())
    }

    /// Bytes received, also those that were not kept.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn id(&self) -> Snowflake {
        self.id
    }

    /// Makes the attachment readable.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        match (&*self.blobs, std::mem::replace(&mut self.sink, Sink::Done)) {
            (Blobs::Memory(all), Sink::Memory(buffer)) => {
                lock(all).insert(self.id, buffer.freeze());
                Ok(())
            }
            (Blobs::Disk(directory), Sink::Disk(_)) => {
                fs::rename(part_path(directory, self.id), path(directory, self.id))
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let (Blobs::Disk(directory), Sink::Disk(_)) = (&*self.blobs, &self.sink) {
            drop(fs::remove_file(part_path(directory, self.id)));
        }
    }
}

fn path(directory: &Path, id: Snowflake) -> PathBuf {
    directory.join(id.to_string())
}

fn part_path(directory: &Path, id: Snowflake) -> PathBuf {
    directory.join(format!("{id}.part"))
}

fn index(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

fn lock(all: &Mutex<HashMap<Snowflake, Bytes>>) -> MutexGuard<'_, HashMap<Snowflake, Bytes>> {
    all.lock().unwrap_or_else(PoisonError::into_inner)
}
