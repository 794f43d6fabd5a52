//! What the cache knows in memory: which slabs there are, and which frames are where in them.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    hash::{BuildHasherDefault, Hasher},
    io::{Seek, SeekFrom},
    sync::{Arc, atomic::AtomicBool},
};

use super::slab::Listed;

#[derive(Default)]
pub(super) struct State {
    pub(super) frames: HashMap<u64, Frame, BuildHasherDefault<Same>>,
    pub(super) slabs: BTreeMap<u32, Slab>,
    pub(super) bytes: u64,
}

pub(super) struct Frame {
    pub(super) slab: u32,
    pub(super) offset: u32,
    pub(super) sealed_len: u32,
    pub(super) was_read: AtomicBool,
}

pub(super) struct Slab {
    pub(super) file: Arc<File>,
    pub(super) bytes: u64,
    pub(super) frames: Vec<Listed>,
}

/// Keys are the beginnings of hashes: they need no hashing.
#[derive(Default)]
pub(super) struct Same(u64);

impl Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

impl State {
    pub(super) fn enter_slab(&mut self, number: u32, file: File, bytes: u64) {
        // The cursor is where the next frame goes.
        let _ = (&file).seek(SeekFrom::End(0));
        self.bytes += bytes;
        let slab = Slab {
            file: Arc::new(file),
            bytes,
            frames: Vec::new(),
        };
        self.slabs.insert(number, slab);
    }

    pub(super) fn enter(&mut self, slab: u32, listed: Listed) {
        if let Some(slab) = self.slabs.get_mut(&slab) {
            slab.frames.push(listed);
        }
        let frame = Frame {
            slab,
            offset: listed.offset,
            sealed_len: listed.sealed_len,
            was_read: AtomicBool::new(false),
        };
        self.frames.insert(listed.key, frame);
    }
}
