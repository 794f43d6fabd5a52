//! Everything that can be done to one file's bytes, at random, beside the bytes as they should be.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::path::PathBuf;

use crate::sys;
use crate::sys::Map;

/// Longest file, bytes: several chunks.
const FILE_BYTES_MAX: u64 = 6 << 20;

/// Longest operation, bytes.
const STEP_BYTES_MAX: u64 = 160 << 10;

/// Operations that are told when the next one shows a difference.
const TOLD_MAX: usize = 30;

/// A file, and what must be in it.
pub(crate) struct Exercise {
    path: PathBuf,
    file: File,
    bytes: Vec<u8>,
    random: u64,
    told: Vec<String>,
}

fn open(path: &Path) -> File {
    let mut options = File::options();
    options.read(true).write(true).create(true);
    options.open(path).expect("the file opens")
}

impl Exercise {
    pub(crate) fn new(path: &Path, seed: u64) -> Exercise {
        Exercise {
            path: path.to_owned(),
            file: open(path),
            bytes: Vec::new(),
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            told: Vec::new(),
        }
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) % limit.max(1)
    }

    /// A range that may reach beyond the end; half of them lie on pages.
    fn range(&mut self) -> (u64, u64) {
        let (mut at, mut len) = (
            self.below(FILE_BYTES_MAX - STEP_BYTES_MAX),
            1 + self.below(STEP_BYTES_MAX),
        );
        if self.below(2) == 0 {
            (at, len) = (at & !4095, len.next_multiple_of(4096));
        }
        (at, len)
    }

    /// A range within the file.
    fn inside(&mut self) -> Option<(u64, u64)> {
        let size = self.bytes.len() as u64;
        let (at, len) = self.range();
        (size > 0).then(|| {
            let at = at % size;
            (at, len.min(size - at))
        })
    }

    fn noise(&mut self, len: u64) -> Vec<u8> {
        let seed = self.below(1 << 40);
        (0..len)
            .map(|at| ((seed + at).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
            .collect()
    }

    fn grow(&mut self, end: u64) {
        let len = self.bytes.len().max(end as usize);
        self.bytes.resize(len, 0);
    }

    fn put(&mut self, at: u64, bytes: &[u8]) {
        self.grow(at + bytes.len() as u64);
        self.bytes[at as usize..][..bytes.len()].copy_from_slice(bytes);
    }

    fn clear(&mut self, at: u64, len: u64) {
        let end = (at + len).min(self.bytes.len() as u64);
        if at < end {
            self.bytes[at as usize..end as usize].fill(0);
        }
    }

    fn tell(&mut self, what: String) {
        if self.told.len() == TOLD_MAX {
            self.told.remove(0);
        }
        self.told.push(what);
    }

    #[track_caller]
    fn same(&self, at: u64, found: &[u8]) {
        let expected = &self.bytes[at as usize..][..found.len()];
        let first = (0..found.len()).find(|nth| found[*nth] != expected[*nth]);
        if let Some(nth) = first {
            let at = at + nth as u64;
            panic!("byte {at} differs after\n{}", self.told.join("\n"));
        }
    }

    /// One operation.
    pub(crate) fn step(&mut self) {
        match self.below(100) {
            0..20 => self.read(),
            20..40 => self.write(),
            40..50 => self.map_read(),
            50..60 => self.map_write(),
            60..65 => self.truncate(),
            65..75 => self.allocate(),
            75..80 => self.copy(),
            80..82 => self.sync(),
            82..84 => self.reopen(),
            84..86 => self.seek(),
            _ => self.forget(),
        }
        let size = self.file.metadata().expect("stat").len();
        assert_eq!(size, self.bytes.len() as u64, "{}", self.told.join("\n"));
    }

    fn read(&mut self) {
        let Some((at, len)) = self.inside() else {
            return;
        };
        self.tell(format!("read {len} at {at}"));
        let mut found = vec![0; len as usize];
        self.file.read_exact_at(&mut found, at).expect("read");
        self.same(at, &found);
    }

    fn write(&mut self) {
        let (at, len) = self.range();
        self.tell(format!("write {len} at {at}"));
        let bytes = self.noise(len);
        self.file.write_all_at(&bytes, at).expect("write");
        self.put(at, &bytes);
    }

    fn map_read(&mut self) {
        let Some((at, len)) = self.inside() else {
            return;
        };
        self.tell(format!("read {len} at {at} by a mapping"));
        let mut map = Map::new(&self.file, (at + len) as usize);
        let found = map.bytes()[at as usize..].to_vec();
        self.same(at, &found);
    }

    fn map_write(&mut self) {
        let Some((at, len)) = self.inside() else {
            return;
        };
        self.tell(format!("write {len} at {at} by a mapping, msync"));
        let bytes = self.noise(len);
        let mut map = Map::new(&self.file, (at + len) as usize);
        map.bytes()[at as usize..].copy_from_slice(&bytes);
        map.sync().expect("msync");
        self.put(at, &bytes);
    }

    fn truncate(&mut self) {
        let size = self.below(FILE_BYTES_MAX);
        self.tell(format!("truncate to {size}"));
        self.file.set_len(size).expect("truncate");
        self.bytes.resize(size as usize, 0);
    }

    fn allocate(&mut self) {
        const KEEP: i32 = libc::FALLOC_FL_KEEP_SIZE;
        const ZERO: i32 = libc::FALLOC_FL_ZERO_RANGE;
        const PUNCH: i32 = libc::FALLOC_FL_PUNCH_HOLE | KEEP;
        let (at, len) = self.range();
        let modes = [0, KEEP, PUNCH, PUNCH, ZERO, ZERO | KEEP];
        let mode = modes[self.below(6) as usize];
        self.tell(format!("fallocate {mode} {len} at {at}"));
        sys::fallocate(&self.file, mode, at, len).expect("fallocate");
        if mode & KEEP == 0 {
            self.grow(at + len);
        }
        if mode & (libc::FALLOC_FL_PUNCH_HOLE | ZERO) != 0 {
            self.clear(at, len);
        }
    }

    fn copy(&mut self) {
        let (Some((from, len)), (to, _)) = (self.inside(), self.range()) else {
            return;
        };
        if from.abs_diff(to) < len {
            return;
        }
        self.tell(format!("copy_file_range {len} from {from} to {to}"));
        let file = &self.file;
        let done = sys::copy_range(file, from as i64, file, to as i64, len as usize);
        let done = done.expect("copy_file_range") as u64;
        assert_eq!(done, len, "{}", self.told.join("\n"));
        let bytes = self.bytes[from as usize..][..len as usize].to_vec();
        self.put(to, &bytes);
    }

    fn sync(&mut self) {
        self.tell(String::from("fsync"));
        self.file.sync_all().expect("fsync");
    }

    fn reopen(&mut self) {
        self.tell(String::from("close, open"));
        self.file = open(&self.path);
    }

    fn forget(&self) {
        sys::forget_pages(&self.file).expect("posix_fadvise");
    }

    /// What lies between two pieces of data is nothing but zeros.
    fn seek(&mut self) {
        let Some((at, _)) = self.inside() else {
            return;
        };
        self.tell(format!("SEEK_DATA from {at}"));
        let data = match sys::seek(&self.file, at, libc::SEEK_DATA) {
            Err(libc::ENXIO) => self.bytes.len() as u64,
            found => found.expect("SEEK_DATA") as u64,
        };
        self.same(at, &vec![0; (data - at) as usize]);
    }

    /// The bytes as they must be, after all of them were compared.
    pub(crate) fn end(self) -> Vec<u8> {
        self.forget();
        let found = std::fs::read(&self.path).expect("read");
        assert_eq!(found.len(), self.bytes.len());
        self.same(0, &found);
        self.bytes
    }
}
