//! The pages file: what redb writes, every page with a checksum that is kept elsewhere.
//!
//! redb reads its pages without a look at their checksums. So it does not get the file itself, but this: a
//! page is compared with its sum whenever it comes from the disk, and one that is not what was last written
//! there is an error to redb, as a disk's is. Not only a flipped bit is noticed thus, but also a page that is
//! whole and old.
//!
//! Pages and sums lie in two files, and a crash may come between them. redb never overwrites a page that the
//! state last synced needs, except the first, its head. The head is therefore kept with the sums: what the
//! sums file says was synced is all there, however much was written since.
//!
//! ```text
//! sync = pages synced , record of sums and head appended and synced , number noted
//! ```

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use redb::StorageBackend;

use super::{
    Error,
    kv::io as io_error,
    power::Power,
    sums::{Changes, Log, Sums},
};

/// Bytes of a page, which is redb's.
pub(super) const PAGE_BYTES: usize = 4096;

/// A page that is not what was written there.
#[derive(Debug, thiserror::Error)]
#[error("page {page} is not what was written there")]
pub(super) struct Harm {
    page: u32,
}

/// The pages file and its sums.
#[derive(Clone, Debug)]
pub(super) struct Pages(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: File,
    power: Power,
    /// Held while syncing. Lock order: this, then `state`.
    log: Mutex<Log>,
    state: RwLock<State>,
}

#[derive(Debug)]
struct State {
    synced: Sums,
    /// Written before the sync that is under way began.
    syncing: BTreeMap<u32, u64>,
    /// Written since.
    fresh: BTreeMap<u32, u64>,
    len: u64,
    head: Vec<u8>,
}

impl State {
    fn new(synced: Sums) -> State {
        State {
            len: synced.len,
            head: synced.head.clone(),
            syncing: BTreeMap::new(),
            fresh: BTreeMap::new(),
            synced,
        }
    }

    fn sum(&self, page: u32) -> u64 {
        let unsynced = self.fresh.get(&page).or_else(|| self.syncing.get(&page));
        let synced = || self.synced.pages.get(page as usize);
        unsynced.or_else(synced).copied().unwrap_or(0)
    }
}

impl Pages {
    /// Opens the files in `dir`, or makes them if none is there.
    pub(super) fn open(dir: &Path, power: Power) -> Result<Pages, Error> {
        let doing = io_error("opening the index");
        let is_new = ["pages", "sums", "newest"]
            .iter()
            .all(|name| !dir.join(name).exists());
        let mut options = File::options();
        options.read(true).write(true);
        let (file, log, sums) = if is_new {
            let file = options.create_new(true).open(dir.join("pages"));
            let log = Log::create(dir, power.clone()).map_err(&doing)?;
            (file.map_err(&doing)?, log, Sums::default())
        } else {
            let (log, sums) = Log::open(dir, power.clone())?;
            let file = options.open(dir.join("pages")).map_err(|fault| {
                if fault.kind() == io::ErrorKind::NotFound {
                    Error::Damaged("its file `pages` is gone".into())
                } else {
                    doing(fault)
                }
            })?;
            (file, log, sums)
        };
        if file.metadata().map_err(&doing)?.len() < sums.len {
            return Err(Error::Damaged("its file `pages` is too short".into()));
        }
        power.set_len(&file, sums.len).map_err(&doing)?;
        file.sync_all()
            .and_then(|()| File::open(dir)?.sync_all())
            .map_err(&doing)?;
        Ok(Pages(Arc::new(Inner {
            file,
            power,
            log: Mutex::new(log),
            state: RwLock::new(State::new(sums)),
        })))
    }

    /// Forgets what was written since the last sync.
    pub(super) fn roll_back(&self) {
        let mut log = self.0.log();
        log.roll_back();
        let mut state = self.0.write();
        *state = State::new(std::mem::take(&mut state.synced));
    }
}

impl Inner {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads a page, which must be what was written there.
    fn page(&self, page: u32, out: &mut [u8]) -> io::Result<()> {
        let at = u64::from(page) * PAGE_BYTES as u64;
        // Twice: a disk may do better the second time.
        for _ in 0..2 {
            let sum = self.read().sum(page);
            if sum == 0 {
                out.fill(0);
                return Ok(());
            }
            if self.file.read_exact_at(out, at).is_ok() && sum_of(page, out) == sum {
                return Ok(());
            }
        }
        Err(io::Error::other(Harm { page }))
    }

    fn sync(&self) -> io::Result<()> {
        let mut log = self.log();
        let (changes, pages) = {
            let mut state = self.write();
            let State { syncing, fresh, .. } = &mut *state;
            syncing.append(fresh);
            let changes = Changes {
                len: state.len,
                head: state.head.clone(),
                pages: state.syncing.clone(),
            };
            (changes, number(state.len)? as usize)
        };
        let is_news = {
            let state = self.read();
            !changes.pages.is_empty()
                || (changes.len, &changes.head) != (state.synced.len, &state.synced.head)
        };
        if !is_news {
            return Ok(());
        }
        self.power.sync(&self.file)?;
        log.append(&self.read().synced, &changes, pages)?;
        let mut state = self.write();
        state.synced.apply(&changes, pages);
        state.syncing.clear();
        // Only now: what was synced before may need what is cut off.
        let len = state.len;
        if len < self.file.metadata()?.len() {
            self.power.set_len(&self.file, len)?;
        }
        Ok(())
    }
}

impl StorageBackend for Pages {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.read().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if offset < PAGE_BYTES as u64 {
            let state = self.0.read();
            let from = usize::try_from(offset).map_err(io::Error::other)?;
            let head = state.head.get(from..from + out.len());
            out.copy_from_slice(head.ok_or(io::ErrorKind::UnexpectedEof)?);
            return Ok(());
        }
        let first = aligned(offset, out)?;
        for (page, out) in (first..).zip(out.chunks_mut(PAGE_BYTES)) {
            self.0.page(page, out)?;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let pages = number(len)?;
        let mut state = self.0.write();
        if len < state.len {
            state.fresh.retain(|page, _| *page < pages);
            let gone = pages..number(state.len)?;
            state.fresh.extend(gone.map(|page| (page, 0)));
        } else if len > self.0.file.metadata()?.len() {
            self.0.power.set_len(&self.0.file, len)?;
        }
        state.len = len;
        state.head.resize(PAGE_BYTES, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if offset == 0 && data.len() <= PAGE_BYTES {
            self.0.write().head[..data.len()].copy_from_slice(data);
            return Ok(());
        }
        let first = aligned(offset, data)?;
        self.0.power.write_all_at(&self.0.file, data, offset)?;
        let sums = data.chunks(PAGE_BYTES).zip(first..);
        let sums = sums.map(|(bytes, page)| (page, sum_of(page, bytes)));
        self.0.write().fresh.extend(sums);
        Ok(())
    }
}

/// The page at an offset; redb reads and writes whole pages.
fn aligned(offset: u64, bytes: &[u8]) -> io::Result<u32> {
    let page_bytes = PAGE_BYTES as u64;
    if offset < page_bytes
        || !offset.is_multiple_of(page_bytes)
        || !bytes.len().is_multiple_of(PAGE_BYTES)
    {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    number(offset)
}

/// How many pages so many bytes are.
fn number(len: u64) -> io::Result<u32> {
    u32::try_from(len.div_ceil(PAGE_BYTES as u64)).map_err(io::Error::other)
}

/// The sum of a page; never that of one that was never written.
fn sum_of(page: u32, bytes: &[u8]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&page.to_le_bytes()).update(bytes);
    let mut sum = [0; 8];
    hasher.finalize_xof().fill(&mut sum);
    u64::from_le_bytes(sum).max(1)
}
