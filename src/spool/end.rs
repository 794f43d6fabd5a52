//! How far the log is known to be durable, noted outside its directory: a log that ends before it has lost something.
//!
//! ```text
//! end = "odsS-END" , version 4 , zero 4 , spool id 16 , synced 8 , crc 4 : 44 bytes in all
//! ```
//!
//! Integers are little-endian; `crc` covers what is before it. The note is written after each sync of the log,
//! and made durable itself only when the spool is opened and closed: after `kill -9` it is exact, after a
//! power cut it may be older, and it never says more than is true. It is also the second copy of the spool's
//! id, without which no record can be told from garbage.

use std::{
    fs::{File, OpenOptions},
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    medium::{Data, read_exact, write_all},
    record::SpoolId,
};
use crate::durable;
use crate::id::Seq;

const MAGIC: [u8; 8] = *b"odsS-END";
const VERSION: u32 = 1;
const BYTES: usize = 44;

/// What the note says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) id: SpoolId,
    /// Every record up to here was durable.
    pub(super) synced: Seq,
}

/// The note of an open spool.
pub(super) struct End {
    data: Arc<dyn Data>,
    id: SpoolId,
    synced: Mutex<Seq>,
}

/// Opens the file of the note, and makes its name durable.
pub(super) fn open(path: &Path) -> io::Result<Arc<dyn Data>> {
    if !path.exists() {
        durable::write_file(path, &[])?;
    }
    let file: File = OpenOptions::new().read(true).write(true).open(path)?;
    Ok(Arc::new(file))
}

/// What the note says; nothing if there is none, or it is damaged.
pub(super) fn read(data: &dyn Data) -> Option<Known> {
    let mut bytes = [0; BYTES];
    read_exact(data, 0, &mut bytes).ok()?;
    let (content, crc) = bytes.split_last_chunk::<4>()?;
    let is_whole = content[..8] == MAGIC
        && content[8..12] == VERSION.to_le_bytes()
        && crc32fast::hash(content) == u32::from_le_bytes(*crc);
    is_whole.then_some(Known {
        id: content[16..32].try_into().ok()?,
        synced: Seq(u64::from_le_bytes(content[32..40].try_into().ok()?)),
    })
}

impl End {
    /// Goes on with the note of a spool, durably.
    pub(super) fn begin(data: Arc<dyn Data>, known: Known) -> io::Result<End> {
        let end = End {
            data,
            id: known.id,
            synced: Mutex::new(known.synced),
        };
        end.write(known.synced)?;
        end.data.sync()?;
        Ok(end)
    }

    /// Notes that everything up to a record is durable. Whether the note is, is left to the system.
    pub(super) fn note(&self, synced: Seq) {
        // Held while it is written: an older number must not come to lie over a newer one.
        let mut noted = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        if synced <= *noted {
            return;
        }
        *noted = synced;
        if let Err(fault) = self.write(synced) {
            log::debug!("spool: its end could not be noted: {fault}");
        }
    }

    /// Makes the note durable.
    pub(super) fn sync(&self) {
        if let Err(fault) = self.data.sync() {
            log::warn!("spool: the note of its end could not be made durable: {fault}");
        }
    }

    fn write(&self, synced: Seq) -> io::Result<()> {
        let mut bytes = [0; BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.id);
        bytes[32..40].copy_from_slice(&synced.0.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..40]);
        bytes[40..].copy_from_slice(&crc.to_le_bytes());
        write_all(&*self.data, 0, &[&bytes])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_written_and_never_goes_back_or_lies() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("spool.end");
        let data = open(&path).expect("made");
        assert_eq!(read(&*data), None);
        let known = |synced| Known {
            id: [7; 16],
            synced: Seq(synced),
        };
        let end = End::begin(Arc::clone(&data), known(3)).expect("written");
        assert_eq!(read(&*data), Some(known(3)));
        end.note(Seq(9));
        end.note(Seq(5));
        end.sync();
        assert_eq!(read(&*open(&path).expect("there")), Some(known(9)));
        let whole = std::fs::read(&path).expect("there");
        for at in 0..BYTES {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            std::fs::write(&path, bytes).expect("written");
            assert_eq!(read(&*data), None, "byte {at}");
        }
    }
}
