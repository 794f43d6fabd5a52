//! What a fuzzer does with the cache: a slab and a list of any bytes, and headers whose checksums fit.

use std::fs;
use std::path::PathBuf;

use super::Cache;
use super::CachedFrame;
use super::slab;
use crate::id::ChunkId;
use crate::id::PackId;
use crate::size::MIB;

/// A slab of any bytes, then one of frames with good headers, each with and without a list of any bytes.
pub fn slab(data: &[u8]) {
    let (kind, data) = crate::codec::fuzzing::take::<1>(data);
    let (list, slab) = data.split_at(data.len() / 2 * usize::from(kind[0] % 2));
    let slab = match kind[0] / 2 % 2 {
        0 => slab.to_vec(),
        _ => frames(slab),
    };
    let list = (kind[0] % 2 == 1).then(|| match kind[0] / 4 % 2 {
        0 => list.to_vec(),
        _ => [list, &crc32fast::hash(list).to_le_bytes()].concat(),
    });
    let dir = directory();
    let number = if kind[0] / 8 % 8 == 7 { u32::MAX } else { 3 };
    let file = |ending: &str| dir.join(format!("{number:08x}.{ending}"));
    let written = fs::write(file("slab"), &slab).is_ok()
        && list.is_none_or(|list| fs::write(file("list"), list).is_ok());
    assert!(written, "a directory to write to: {}", dir.display());
    if let Ok(file) = fs::File::open(file("slab")) {
        for frame in slab::frames(&dir, number, &file) {
            let end = u64::from(frame.offset) + slab::HEADER as u64 + u64::from(frame.sealed_len);
            assert!(end <= slab.len() as u64, "a frame is within its slab");
        }
    }
    let cache = Cache::open(&dir, 64 * MIB).expect("it can be read");
    for frame in slab.windows(slab::HEADER).step_by(slab::HEADER).take(8) {
        let (_, rest) = frame.split_at(4);
        let id = ChunkId(crate::codec::fuzzing::take(rest).0);
        if let Some(found) = cache.get(&id) {
            assert!(found.sealed.len() <= slab.len());
        }
        cache.invalidate(&id);
    }
    let frame = CachedFrame {
        sealed: b"sealed".as_slice().into(),
        pack: PackId([1; 16]),
        slot: 2,
        plain_len: 9,
    };
    let id = ChunkId([0xee; 32]);
    cache.put(&id, &frame);
    assert!(cache.get(&id).is_none_or(|found| found == frame));
    drop(cache);
    drop(fs::remove_dir_all(&dir));
}

/// Frames whose sealed bytes are the fuzzer's.
fn frames(data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (nth, frame) in (0_u8..).zip(data.chunks(97)) {
        let [lie, sealed @ ..] = frame else { continue };
        let len = u32::try_from(sealed.len()).unwrap_or(u32::MAX);
        let header = slab::Header {
            chunk: ChunkId([nth; 32]),
            pack: PackId([1; 16]),
            slot: 0,
            plain_len: 1,
            sealed_len: if *lie == 0xff { u32::MAX } else { len },
        };
        bytes.extend_from_slice(&header.encode());
        bytes.extend_from_slice(sealed);
    }
    bytes
}

fn directory() -> PathBuf {
    let thread = format!("{:?}", std::thread::current().id());
    let name = format!("ods-fuzz-{}-{thread}", std::process::id());
    let dir = std::env::temp_dir().join(name);
    drop(fs::remove_dir_all(&dir));
    assert!(fs::create_dir_all(&dir).is_ok(), "{}", dir.display());
    dir
}
