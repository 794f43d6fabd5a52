//! The redo file: what is about to be settled, so that a crash in the middle of it can be repaired.
//!
//! ```text
//! redo = number 8 , ( length 4 , crc 4 , encoded batch )* , 0 4 , crc of all crcs 4
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
    /// Begins a redo file for the settling of this number.
    pub(super) fn create(dir: &Path, number: u64) -> Result<Redo, Error> {
        let create = || -> io::Result<io::BufWriter<File>> {
            let mut file = io::BufWriter::new(File::create(draft(dir))?);
            file.write_all(&number.to_le_bytes())?;
            Ok(file)
        };
        let mut sums = crc32fast::Hasher::new();
        sums.update(&number.to_le_bytes());
        Ok(Redo {
            dir: dir.to_owned(),
            file: create().map_err(io_error("writing the redo file"))?,
            sums,
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

/// Verifies the redo file, if there is one, and answers the number it is for.
pub(super) fn verify(dir: &Path) -> Result<Option<u64>, Error> {
    match open(dir)? {
        Some(mut file) => frames(&mut file, |bytes| Batch::decode(bytes).map(drop)).map(Some),
        None => Ok(None),
    }
}

/// Gives the batches of a verified redo file.
pub(super) fn read(
    dir: &Path,
    mut take: impl FnMut(Batch) -> Result<(), Error>,
) -> Result<(), Error> {
    if let Some(mut file) = open(dir)? {
        frames(&mut file, |bytes| take(Batch::decode(bytes)?))?;
    }
    Ok(())
}

fn open(dir: &Path) -> Result<Option<io::BufReader<File>>, Error> {
    match File::open(path(dir)) {
        Ok(file) => Ok(Some(io::BufReader::new(file))),
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(fault) => Err(io_error("reading the redo file")(fault)),
    }
}

fn frames(
    file: &mut impl Read,
    mut take: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<u64, Error> {
    let damaged = || Error::Damaged("the redo file is broken".into());
    let mut sums = crc32fast::Hasher::new();
    let mut number = [0; 8];
    file.read_exact(&mut number).map_err(|_| damaged())?;
    sums.update(&number);
    loop {
        let mut words = [[0; 4]; 2];
        for word in &mut words {
            file.read_exact(word).map_err(|_| damaged())?;
        }
        let [len, crc] = words.map(u32::from_le_bytes);
        if len == 0 {
            return if sums.finalize() == crc {
                Ok(u64::from_le_bytes(number))
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

/// Notes which settling is complete, and removes its redo file, durably.
pub(super) fn done(dir: &Path, number: u64) -> Result<(), Error> {
    let done = || -> io::Result<()> {
        // If a crash leaves this file empty, it says nothing, which is safe.
        fs::write(dir.join("settled.draft"), number.to_string())?;
        fs::rename(dir.join("settled.draft"), dir.join("settled"))?;
        fs::remove_file(path(dir))?;
        File::open(dir)?.sync_all()
    };
    done().map_err(io_error("removing the redo file"))
}

/// The number of a settling that was complete; a later one may be.
pub(super) fn noted(dir: &Path) -> u64 {
    let text = fs::read_to_string(dir.join("settled"));
    text.ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn path(dir: &Path) -> PathBuf {
    dir.join("redo")
}

fn draft(dir: &Path) -> PathBuf {
    dir.join("redo.draft")
}
