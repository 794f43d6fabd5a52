//! The redo file: what is about to be settled, so that a crash in the middle of it can be repaired.
//!
//! ```text
//! redo = ( length 4 , crc 4 , encoded batch )* , 0 4 , crc of all crcs 4
//! ```
//!
//! It is written under another name, synced, and renamed: a file called `redo` is whole, or the disk broke it.
//! Applying it twice does no harm, and a newer one replaces it before the store is touched again.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use super::{Batch, Error, kv::io as io_error};

/// Encoded bytes of one frame, about.
pub(super) const FRAME_BYTES: usize = 256 * 1024;
/// A longer frame is damage.
const FRAME_BYTES_MAX: u32 = 4 * 1024 * 1024;

/// A redo file that is being written.
pub(super) struct Redo {
    dir: PathBuf,
    file: io::BufWriter<File>,
    sums: crc32fast::Hasher,
}

impl Redo {
    pub(super) fn create(dir: &Path) -> Result<Redo, Error> {
        let file = File::create(draft(dir)).map_err(io_error("writing the redo file"))?;
        Ok(Redo {
            dir: dir.to_owned(),
            file: io::BufWriter::new(file),
            sums: crc32fast::Hasher::new(),
        })
    }

    pub(super) fn write(&mut self, batch: &Batch) -> Result<(), Error> {
        let bytes = batch.encode();
        if bytes.is_empty() {
            return Ok(());
        }
        self.frame(&bytes, crc32fast::hash(&bytes))
            .map_err(io_error("writing the redo file"))
    }

    fn frame(&mut self, bytes: &[u8], crc: u32) -> io::Result<()> {
        let len = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        self.sums.update(&crc.to_le_bytes());
        self.file.write_all(&len.to_le_bytes())?;
        self.file.write_all(&crc.to_le_bytes())?;
        self.file.write_all(bytes)
    }

    /// Makes the file durable, and valid.
    pub(super) fn finish(self) -> Result<(), Error> {
        let Redo {
            dir,
            mut file,
            sums,
        } = self;
        let finish = move || -> io::Result<()> {
            file.write_all(&[0; 4])?;
            file.write_all(&sums.finalize().to_le_bytes())?;
            file.flush()?;
            file.get_ref().sync_data()?;
            fs::rename(draft(&dir), path(&dir))?;
            File::open(&dir)?.sync_all()
        };
        finish().map_err(io_error("writing the redo file"))
    }
}

/// Gives the batches of the redo file, if there is one, after all of it was verified.
pub(super) fn read(
    dir: &Path,
    mut take: impl FnMut(Batch) -> Result<(), Error>,
) -> Result<Present, Error> {
    let open = || File::open(path(dir)).map(io::BufReader::new);
    let mut verified = match open() {
        Ok(file) => file,
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => return Ok(Present::No),
        Err(fault) => return Err(io_error("reading the redo file")(fault)),
    };
    frames(&mut verified, |bytes| Batch::decode(bytes).map(drop))?;
    let mut again = open().map_err(io_error("reading the redo file"))?;
    frames(&mut again, |bytes| take(Batch::decode(bytes)?))?;
    Ok(Present::Yes)
}

/// Was there a redo file?
#[derive(PartialEq, Eq)]
pub(super) enum Present {
    Yes,
    No,
}

fn frames(
    file: &mut impl Read,
    mut take: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let damaged = || Error::Damaged("the redo file is broken".into());
    let mut sums = crc32fast::Hasher::new();
    loop {
        let mut words = [[0; 4]; 2];
        for word in &mut words {
            file.read_exact(word).map_err(|_| damaged())?;
        }
        let [len, crc] = words.map(u32::from_le_bytes);
        if len == 0 {
            return if sums.finalize() == crc {
                Ok(())
            } else {
                Err(damaged())
            };
        }
        if len > FRAME_BYTES_MAX {
            return Err(damaged());
        }
        let mut bytes = vec![0; len as usize];
        file.read_exact(&mut bytes).map_err(|_| damaged())?;
        if crc32fast::hash(&bytes) != crc {
            return Err(damaged());
        }
        sums.update(&crc.to_le_bytes());
        take(&bytes)?;
    }
}

/// Removes the redo file, durably.
pub(super) fn remove(dir: &Path) -> Result<(), Error> {
    fs::remove_file(path(dir))
        .and_then(|()| File::open(dir)?.sync_all())
        .map_err(io_error("removing the redo file"))
}

fn path(dir: &Path) -> PathBuf {
    dir.join("redo")
}

fn draft(dir: &Path) -> PathBuf {
    dir.join("redo.draft")
}
