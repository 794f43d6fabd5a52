//! The cache: frames that were fetched lately, on the local disk, still sealed, within a limit.
//!
//! Frames are appended to slab files. When the limit is exceeded the oldest slab goes as a whole, after those of
//! its frames that were read since they came were appended anew (first in, first out, with a second chance). So
//! small frames cost no file each, nothing is fragmented, and a restart reads one short list per slab.
//!
//! The cache never fails: what it cannot write or read is not cached. It does not verify what it gives either:
//! unsealing does, and a frame that does not unseal is to be [invalidated](Cache::invalidate).

mod examine;
#[cfg(any(fuzzing, debug_assertions))]
#[doc(hidden)]
pub mod fuzzing;
mod slab;
mod state;

use std::{
    fs::{self, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;

use self::{
    slab::{HEADER, Listed},
    state::State,
};
use crate::id::{ChunkId, PackId};
use crate::size::{GIB, MIB};

/// A slab is this part of the whole, so that evicting one is a small loss…
const SLABS: u64 = 64;
/// …but holds several of the largest frames…
const SLAB_BYTES_MIN: u64 = 8 * MIB;
/// …and frees space in steps that nobody notices…
const SLAB_BYTES_MAX: u64 = 64 * MIB;
/// …unless that made too many files: each is open all the time.
const SLABS_MAX: u64 = 256;
/// Offsets within a slab have 32 bits; this is well below.
const SLAB_BYTES_END: u64 = GIB;
/// Frames in all: each takes about 60 bytes of memory.
const FRAMES_MAX: usize = 1_000_000;

/// A frame as it is in its pack: sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedFrame {
    /// As it was fetched.
    pub sealed: Bytes,
    /// The pack it was fetched from.
    pub pack: PackId,
    /// Its number in the pack.
    pub slot: u32,
    /// Bytes of the chunk once it is unsealed and decompressed.
    pub plain_len: u32,
}

/// What a cache holds, and how it did since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Disk space taken.
    pub bytes: u64,
    /// Disk space that may be taken.
    pub limit_bytes: u64,
    /// Frames that can be found.
    pub frames: u64,
    /// Frames that were asked for and found.
    pub hits: u64,
    /// Frames that were asked for and not found.
    pub misses: u64,
}

/// A bounded cache in a directory of its own. All methods may be called from many threads.
pub struct Cache {
    dir: PathBuf,
    limit_bytes: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
    /// Lock order: this, then `state`.
    writer: Mutex<Writer>,
    state: RwLock<State>,
}

#[derive(Default)]
struct Writer {
    /// The slab to append to; none before the first frame, and after a failure.
    active: Option<u32>,
    next: u32,
}

impl Cache {
    /// Opens the cache in `dir`, with what an earlier one left there.
    ///
    /// # Errors
    /// If the directory cannot be made or read. The drive can do without.
    pub fn open(dir: &Path, limit_bytes: u64) -> io::Result<Cache> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)?;
        let mut state = State::default();
        let mut next = 0;
        for number in slab::numbers(dir)? {
            next = number + 1;
            let Ok(file) = slab::open(dir, number) else {
                continue;
            };
            let frames = slab::frames(dir, number, &file);
            if frames.is_empty() {
                slab::remove(dir, number);
                continue;
            }
            let bytes = file.metadata().map_or(0, |metadata| metadata.len());
            state.enter_slab(number, file, bytes);
            for frame in frames {
                state.enter(number, frame);
            }
        }
        let cache = Cache {
            dir: dir.to_owned(),
            limit_bytes: AtomicU64::new(limit_bytes),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            writer: Mutex::new(Writer { active: None, next }),
            state: RwLock::new(state),
        };
        cache.set_limit(limit_bytes);
        Ok(cache)
    }

    /// The frame of a chunk, if it is here.
    pub fn get(&self, chunk: &ChunkId) -> Option<CachedFrame> {
        let frame = self.find(chunk).and_then(|(file, at)| {
            let frame = slab::read(&file, at, chunk);
            if frame.is_none() {
                self.forget(at);
            }
            frame
        });
        let counter = if frame.is_some() {
            &self.hits
        } else {
            &self.misses
        };
        counter.fetch_add(1, Ordering::Relaxed);
        frame
    }

    /// Is the frame of a chunk here, as far as is known without reading it?
    #[must_use]
    pub fn contains(&self, chunk: &ChunkId) -> bool {
        self.read().frames.contains_key(&slab::key(chunk))
    }

    /// Keeps a frame, if there is room and the disk allows it.
    pub fn put(&self, chunk: &ChunkId, frame: &CachedFrame) {
        let bytes = (HEADER + frame.sealed.len()) as u64;
        // A frame that takes a large part of the cache is not worth what it drives out.
        if bytes > self.slab_bytes() {
            return;
        }
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if self.contains(chunk) {
            return;
        }
        self.append(&mut writer, chunk, frame);
        self.make_room(&mut writer);
    }

    /// Forgets the frame of a chunk: it did not unseal.
    pub fn invalidate(&self, chunk: &ChunkId) {
        if let Some((file, at)) = self.find(chunk) {
            if slab::chunk_at(&file, at.offset) == Some(*chunk) {
                slab::spoil(&file, at.offset);
            }
            self.forget(at);
        }
    }

    /// Changes the limit; what is too much goes at once.
    pub fn set_limit(&self, limit_bytes: u64) {
        self.limit_bytes.store(limit_bytes, Ordering::Relaxed);
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.make_room(&mut writer);
    }

    /// What the cache holds.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let state = self.read();
        Usage {
            bytes: state.bytes,
            limit_bytes: self.limit_bytes.load(Ordering::Relaxed),
            frames: state.frames.len() as u64,
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
        }
    }

    fn slab_bytes(&self) -> u64 {
        let limit = self.limit_bytes.load(Ordering::Relaxed);
        (limit / SLABS)
            .clamp(SLAB_BYTES_MIN, SLAB_BYTES_MAX)
            .max(limit / SLABS_MAX)
            .min(limit / 4)
            .min(SLAB_BYTES_END)
    }

    fn find(&self, chunk: &ChunkId) -> Option<(Arc<File>, Listed)> {
        let key = slab::key(chunk);
        let state = self.read();
        let frame = state.frames.get(&key)?;
        frame.was_read.store(true, Ordering::Relaxed);
        let file = Arc::clone(&state.slabs.get(&frame.slab)?.file);
        let at = Listed {
            key,
            offset: frame.offset,
            sealed_len: frame.sealed_len,
        };
        Some((file, at))
    }

    fn forget(&self, at: Listed) {
        let mut state = self.write();
        let found = state.frames.get(&at.key);
        if found.is_some_and(|frame| frame.offset == at.offset) {
            state.frames.remove(&at.key);
        }
    }

    fn append(&self, writer: &mut Writer, chunk: &ChunkId, frame: &CachedFrame) {
        let bytes = (HEADER + frame.sealed.len()) as u64;
        let Some((number, file, offset)) = self.active(writer, bytes) else {
            return;
        };
        match slab::append(&file, chunk, frame) {
            Ok(sealed_len) => {
                let mut state = self.write();
                state.bytes += bytes;
                if let Some(slab) = state.slabs.get_mut(&number) {
                    slab.bytes += bytes;
                }
                let listed = Listed {
                    key: slab::key(chunk),
                    offset,
                    sealed_len,
                };
                state.enter(number, listed);
            }
            Err(fault) => {
                log::debug!("cache: a frame could not be kept: {fault}");
                let _ = file.set_len(u64::from(offset));
                // Whatever is left of it, nothing is appended behind it.
                self.finish(writer);
                if offset == 0 {
                    self.evict(number, 0);
                }
            }
        }
    }

    /// The slab to append to, and where its end is.
    fn active(&self, writer: &mut Writer, bytes: u64) -> Option<(u32, Arc<File>, u32)> {
        let present = |number: u32| {
            let state = self.read();
            let slab = state.slabs.get(&number)?;
            let end = u32::try_from(slab.bytes).ok()?;
            let fits = slab.bytes + bytes <= self.slab_bytes();
            fits.then(|| (number, Arc::clone(&slab.file), end))
        };
        if let Some(active) = writer.active.and_then(present) {
            return Some(active);
        }
        self.finish(writer);
        let number = writer.next;
        writer.next += 1;
        let file = slab::create(&self.dir, number)
            .inspect_err(|fault| log::debug!("cache: no new slab: {fault}"))
            .ok()?;
        self.write().enter_slab(number, file, 0);
        writer.active = Some(number);
        present(number)
    }

    /// Ends the slab that is being written, and lists what is in it.
    fn finish(&self, writer: &mut Writer) {
        let Some(number) = writer.active.take() else {
            return;
        };
        let listed = self
            .read()
            .slabs
            .get(&number)
            .map(|slab| slab.frames.clone());
        let written = listed.map(|frames| slab::write_list(&self.dir, number, &frames));
        if let Some(Err(fault)) = written {
            // Opening the cache takes a little longer.
            log::debug!("cache: a slab could not be listed: {fault}");
        }
    }

    /// Removes the oldest slabs until the limits hold.
    fn make_room(&self, writer: &mut Writer) {
        // Frames that were read are kept a second time, but only so many that each round frees space.
        loop {
            let limit = self.limit_bytes.load(Ordering::Relaxed);
            let oldest = {
                let state = self.read();
                if state.bytes <= limit && state.frames.len() <= FRAMES_MAX {
                    return;
                }
                state.slabs.keys().next().copied()
            };
            let Some(number) = oldest else { return };
            if writer.active == Some(number) {
                writer.active = None;
            }
            let kept = self.evict(number, self.slab_bytes() / 2);
            for (chunk, frame) in kept {
                self.append(writer, &chunk, &frame);
            }
        }
    }

    /// Removes a slab; answers those of its frames that were read, up to so many bytes.
    fn evict(&self, number: u32, kept_max: u64) -> Vec<(ChunkId, CachedFrame)> {
        let mut was_read = Vec::new();
        let slab = {
            let mut state = self.write();
            let Some(slab) = state.slabs.remove(&number) else {
                return Vec::new();
            };
            state.bytes -= slab.bytes;
            for listed in &slab.frames {
                let found = state.frames.get(&listed.key);
                if found.is_some_and(|frame| frame.slab == number && frame.offset == listed.offset)
                    && let Some(frame) = state.frames.remove(&listed.key)
                    && frame.was_read.into_inner()
                {
                    was_read.push(*listed);
                }
            }
            slab
        };
        let mut kept = Vec::new();
        let mut kept_bytes = 0;
        for listed in was_read {
            kept_bytes += HEADER as u64 + u64::from(listed.sealed_len);
            if kept_bytes > kept_max {
                break;
            }
            let frame = slab::chunk_at(&slab.file, listed.offset)
                .and_then(|chunk| Some((chunk, slab::read(&slab.file, listed, &chunk)?)));
            kept.extend(frame);
        }
        slab::remove(&self.dir, number);
        kept
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        let mut writer = std::mem::take(
            self.writer
                .get_mut()
                .unwrap_or_else(PoisonError::into_inner),
        );
        self.finish(&mut writer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(nth: u32) -> ChunkId {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&nth.to_le_bytes());
        id[20] = 9;
        ChunkId(id)
    }

    fn frame(nth: u32, len: usize) -> CachedFrame {
        let mut pack = [3; 16];
        pack[..4].copy_from_slice(&nth.to_le_bytes());
        CachedFrame {
            sealed: vec![nth.to_le_bytes()[0]; len].into(),
            pack: PackId(pack),
            slot: nth % 100,
            plain_len: nth * 3,
        }
    }

    fn open(dir: &Path, limit: u64) -> Cache {
        Cache::open(dir, limit).expect("a directory")
    }

    #[test]
    fn what_is_put_is_found_also_after_a_restart() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let cache = open(dir.path(), 64 * MIB);
        assert_eq!(cache.get(&id(1)), None);
        for nth in 0..3000 {
            cache.put(&id(nth), &frame(nth, 4096));
        }
        // More than one slab, of which the last has no list if the process is killed.
        std::mem::forget(cache);
        for _ in 0..2 {
            let cache = open(dir.path(), 64 * MIB);
            for nth in 0..3000 {
                assert_eq!(cache.get(&id(nth)), Some(frame(nth, 4096)));
            }
            let usage = cache.usage();
            assert_eq!((usage.frames, usage.hits, usage.misses), (3000, 3000, 0));
            assert_eq!(usage.bytes, 3000 * (4096 + HEADER as u64));
        }
    }

    #[test]
    fn the_limit_holds_and_what_is_read_stays_longer() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let limit = 4 * MIB;
        let cache = open(dir.path(), limit);
        cache.put(&id(0), &frame(0, 1000));
        for nth in 1..2000 {
            cache.put(&id(nth), &frame(nth, 10_000));
            assert!(cache.get(&id(0)).is_some(), "read all the time, so kept");
            assert!(cache.usage().bytes <= limit);
        }
        assert_eq!(cache.get(&id(1)), None, "never read, so gone");
        assert!(cache.usage().frames > 250);
        let on_disk = || -> u64 {
            let files = fs::read_dir(dir.path()).expect("a directory");
            files
                .map(|file| {
                    file.and_then(|file| file.metadata())
                        .map_or(0, |of| of.len())
                })
                .sum()
        };
        assert!(on_disk() <= limit + MIB / 4);
        cache.set_limit(MIB);
        assert!(cache.usage().bytes <= MIB && on_disk() <= MIB + MIB / 4);
        cache.set_limit(0);
        cache.put(&id(5000), &frame(5000, 10));
        assert_eq!(
            (cache.usage().bytes, cache.usage().frames, on_disk()),
            (0, 0, 0)
        );
    }

    #[test]
    fn an_invalidated_frame_does_not_come_back() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let cache = open(dir.path(), 64 * MIB);
        cache.put(&id(1), &frame(1, 100));
        cache.put(&id(2), &frame(2, 100));
        cache.invalidate(&id(1));
        assert_eq!(cache.get(&id(1)), None);
        drop(cache);
        let cache = open(dir.path(), 64 * MIB);
        assert_eq!(cache.get(&id(1)), None);
        assert_eq!(cache.get(&id(2)), Some(frame(2, 100)));
        cache.put(&id(1), &frame(7, 200));
        assert_eq!(cache.get(&id(1)), Some(frame(7, 200)));
    }

    #[test]
    fn broken_files_give_right_frames_or_none_but_for_sealed_bytes() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let cache = open(dir.path(), 64 * MIB);
        for nth in 0..5 {
            cache.put(&id(nth), &frame(nth, 50));
        }
        drop(cache);
        let names = ["00000000.slab", "00000000.list"];
        let good = names.map(|name| fs::read(dir.path().join(name)).expect("is there"));
        for broken in 0..names.len() {
            for at in 0..good[broken].len() {
                let mut files = good.clone();
                match at % 2 {
                    0 => files[broken][at] ^= 0x55,
                    _ => files[broken].truncate(at),
                }
                // What was found broken may have been removed, with what belongs to it.
                for (name, bytes) in names.iter().zip(&files) {
                    fs::write(dir.path().join(name), bytes).expect("good disk");
                }
                let cache = open(dir.path(), 64 * MIB);
                for nth in 0..5 {
                    if let Some(found) = cache.get(&id(nth)) {
                        let right = frame(nth, 50);
                        assert_eq!(
                            (found.pack, found.slot, found.plain_len),
                            (right.pack, right.slot, right.plain_len)
                        );
                        assert_eq!(found.sealed.len(), right.sealed.len());
                    }
                }
            }
        }
    }

    #[test]
    fn a_directory_that_is_gone_is_no_failure() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let inner = dir.path().join("cache");
        let cache = open(&inner, 64 * MIB);
        fs::remove_dir_all(&inner).expect("good disk");
        cache.put(&id(1), &frame(1, 100));
        assert_eq!(cache.get(&id(1)), None);
        assert_eq!(cache.usage().bytes, 0);
    }

    #[test]
    fn threads_put_get_and_invalidate() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let cache = open(dir.path(), MIB);
        std::thread::scope(|scope| {
            for thread in 0..4_u32 {
                let cache = &cache;
                scope.spawn(move || {
                    for nth in 0..500 {
                        let nth = (nth * 7 + thread * 13) % 300;
                        cache.put(&id(nth), &frame(nth, 8000));
                        if let Some(found) = cache.get(&id(nth)) {
                            assert_eq!(found, frame(nth, 8000));
                        }
                        if nth % 50 == 0 {
                            cache.invalidate(&id(nth));
                        }
                    }
                });
            }
        });
        assert!(cache.usage().bytes <= MIB);
    }
}
