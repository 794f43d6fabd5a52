//! Backing the index up, and taking it from a backup.
//!
//! A backup file is what a checkpoint is on the store, with the superblock before it. Whoever has it learns what
//! whoever has the store learns: nothing, without passphrase or recovery key.
//!
//! ```text
//! "ods-backup 1\n"  |  u32 length, superblock  |  u32 length, part of a checkpoint  |  …
//! ```

use std::fs::File;
use std::fs::OpenOptions;
use std::io::BufReader;
use std::io::ErrorKind;
use std::io::Read;
use std::io::Write;
use std::ops::Bound;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;

use crate::codec::key::Keys;
use crate::codec::segment;
use crate::codec::segment::Kind;
use crate::codec::superblock::Superblock;
use crate::drive::Copies;
use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::aside;
use crate::drive::identity;
use crate::drive::journal::Head;
use crate::drive::journal::PartWriter;
use crate::drive::lineage::Lineage;
use crate::drive::lock;
use crate::drive::names::Series;
use crate::drive::open;
use crate::drive::parts::Whole;
use crate::drive::task::Task;
use crate::durable;
use crate::id::Seq;
use crate::index::Batch;
use crate::index::Index;
use crate::index::key;
use crate::store::Mark;

const MAGIC: &[u8] = b"ods-backup 1\n";

/// Longest record of a backup, bytes: a part of a checkpoint is far shorter.
const RECORD_BYTES_MAX: u32 = 128 << 20;

/// What was backed up, or restored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The epoch it is the state of.
    pub epoch: u64,
    /// Its length, bytes, sealed.
    pub bytes: u64,
}

/// A backup that was opened for reading.
pub struct Backup {
    file: BufReader<File>,
    superblock: Superblock,
    superblock_bytes: Vec<u8>,
}

fn disk(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.display().to_string();
    move |error| Error::Disk(format!("{path}: {error}"))
}

fn cut_short() -> Error {
    Error::Damaged(String::from("the backup is cut short or damaged"))
}

impl Drive {
    /// Writes a checkpoint to the journal now, as of the last published epoch.
    ///
    /// # Errors
    /// [`Error::Interrupted`], [`Error::ReadOnly`], or what the store says.
    pub fn checkpoint_now(&self, task: &Task<'_>) -> Result<Kept, Error> {
        task.begin("writing a checkpoint", 0, 0)?;
        self.between_epochs(task, |drive| {
            drive.wait_for(drive.checkpoint(&mut None))?;
            let head = drive.journal_head();
            Ok(Kept {
                epoch: head.epoch.0,
                bytes: head.checkpoint_bytes,
            })
        })
    }

    /// Writes the index as of the last published epoch to a file, sealed; one that is there is replaced when
    /// the new one is whole.
    ///
    /// # Errors
    /// [`Error::Interrupted`], [`Error::ReadOnly`], [`Error::Disk`].
    pub fn back_up(&self, path: &Path, task: &Task<'_>) -> Result<Kept, Error> {
        task.begin("writing the backup", 0, 0)?;
        let path = path.to_owned();
        self.between_epochs(task, move |drive| drive.write_backup(&path))
    }

    /// The path is that of a file, or free; so is the one beside it, to which it is written first.
    fn write_backup(&self, path: &Path) -> Result<Kept, Error> {
        let Some((_, superblock)) = self.kept_superblock() else {
            return Err(Error::State(String::from(
                "this machine has no copy of the superblock; mount the drive once",
            )));
        };
        let mut beside = path.as_os_str().to_owned();
        beside.push(".part");
        let beside = PathBuf::from(beside);
        // What an earlier try left goes first, so that nothing else that is there is written to.
        match std::fs::symlink_metadata(&beside) {
            Ok(there) if !there.is_file() => {
                let text = format!("{} is in the way, and is no file", beside.display());
                return Err(Error::Disk(text));
            }
            Ok(_) => std::fs::remove_file(&beside).map_err(disk(&beside))?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(disk(&beside)(error)),
        }
        let mut file = OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(&beside)
            .map_err(disk(&beside))?;
        file.write_all(MAGIC).map_err(disk(&beside))?;
        let mut bytes = 0;
        let mut put = |record: &[u8]| {
            let len = u32::try_from(record.len()).map_err(|_| Error::Malformed)?;
            let written = file
                .write_all(&len.to_le_bytes())
                .and_then(|()| file.write_all(record));
            bytes += u64::from(len);
            written.map_err(disk(&beside))
        };
        let head = self.journal_head();
        let mut parts = PartWriter::new(
            self,
            Series::Checkpoint,
            head.epoch,
            head.hash,
            head.through,
        );
        put(&superblock.to_bytes())?;
        for entry in self.index.base_scan(Bound::Unbounded, Bound::Unbounded) {
            let (key, value) = entry?;
            if key.first() == Some(&key::LOCAL) {
                continue;
            }
            if let Some(part) = parts.push(key.to_vec(), Some(value.to_vec()))? {
                put(&part.object.body.to_bytes())?;
            }
        }
        put(&parts.finish()?.object.body.to_bytes())?;
        file.sync_all().map_err(disk(&beside))?;
        durable::rename(&beside, path).map_err(disk(path))?;
        Ok(Kept {
            epoch: head.epoch.0,
            bytes,
        })
    }
}

impl Backup {
    /// Opens a backup; nothing of it is proven yet but that it looks like one.
    ///
    /// # Errors
    /// [`Error::Disk`], [`Error::Damaged`], [`Error::Newer`].
    pub fn open(path: &Path) -> Result<Backup, Error> {
        let mut file = BufReader::new(File::open(path).map_err(disk(path))?);
        let mut magic = [0; MAGIC.len()];
        let read = file.read_exact(&mut magic);
        if read.is_err() || magic != *MAGIC {
            return Err(Error::Damaged(String::from("this is no backup of ods")));
        }
        let superblock_bytes = record(&mut file)?.ok_or_else(cut_short)?;
        Ok(Backup {
            file,
            superblock: Superblock::decode(&superblock_bytes)?,
            superblock_bytes,
        })
    }

    /// The superblock that is in it.
    #[must_use]
    pub fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// The superblock as bytes.
    #[must_use]
    pub fn superblock_bytes(&self) -> &[u8] {
        &self.superblock_bytes
    }
}

/// The next record; none at the end.
fn record(file: &mut impl Read) -> Result<Option<Vec<u8>>, Error> {
    let mut len = [0; 4];
    match file.read(&mut len[..1]) {
        Ok(0) => return Ok(None),
        Ok(_) => file.read_exact(&mut len[1..]).map_err(|_| cut_short())?,
        Err(error) => return Err(Error::Disk(error.to_string())),
    }
    let len = u32::from_le_bytes(len);
    if len > RECORD_BYTES_MAX {
        return Err(cut_short());
    }
    let mut bytes = Vec::new();
    let read = file.take(u64::from(len)).read_to_end(&mut bytes);
    match read {
        Ok(read) if read as u64 == u64::from(len) => Ok(Some(bytes)),
        _ => Err(cut_short()),
    }
}

/// Makes the index of a state directory out of a backup. Opening the drive goes on from there along the journal.
/// The index that was there goes when all of the backup is loaded; if this fails before that, it stays.
///
/// # Errors
/// [`Error::State`] when the directory is in use or of another drive, [`Error::Damaged`] when the backup is
/// not whole or not of these keys, [`Error::Disk`].
pub fn restore(state_dir: &Path, keys: &Keys, backup: &mut Backup) -> Result<Kept, Error> {
    let _lock = lock::lock(state_dir)?;
    let name = identity::of(state_dir, backup.superblock.drive())?;
    let lineage = Lineage::read(state_dir, name, Seq(u64::MAX), Copies::Ignore)?;
    let kept = load(&aside::beside(state_dir)?, keys, &lineage, backup)?;
    aside::take(state_dir)?;
    Ok(kept)
}

fn load(dir: &Path, keys: &Keys, lineage: &Lineage, backup: &mut Backup) -> Result<Kept, Error> {
    let index = Index::open(dir, open::INDEX_CACHE_BYTES)?;
    let (mut bytes, mut whole) = (0, Whole::of(Kind::Checkpoint));
    for number in 0_u32.. {
        let Some(part) = record(&mut backup.file)? else {
            break;
        };
        let (header, plain) = segment::open_part(keys, &part)?;
        if !whole.goes_on_with(&header) {
            return Err(cut_short());
        }
        index.load(&Drive::checkpoint_batch(number, &plain)?)?;
        bytes += part.len() as u64;
    }
    let first = whole.end().ok_or_else(cut_short)?;
    let (epoch, hash) = (first.epoch, first.previous);
    let head = Head {
        epoch,
        hash,
        mark: Mark::default(),
        // None of its epoch may be on the store.
        checkpoint_bytes: 0,
        through: lineage.share(&index)?.through,
        ..Head::default()
    };
    let mut batch = Batch::default();
    batch.put(Head::key(), head.encode())?;
    index.load(&batch)?;
    index.load_done()?;
    Ok(Kept {
        epoch: epoch.0,
        bytes,
    })
}
