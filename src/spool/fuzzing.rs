//! What a fuzzer does with the spool: segment files of any bytes, and of records whose checksums fit.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    Error, Place, Replayed, Settings, Spool,
    medium::{Data, Medium},
    record::{BodySum, Header, Kind, Salt, encode_file_header},
    recover::{Ending, name},
};
use crate::id::Seq;

/// Files in memory.
#[derive(Clone, Default)]
struct Files(Arc<Mutex<BTreeMap<String, Bytes>>>);

#[derive(Clone, Default)]
struct Bytes(Arc<Mutex<Vec<u8>>>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Medium for Files {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(lock(&self.0).keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn Data>> {
        let file = Bytes::default();
        lock(&self.0).insert(name.into(), file.clone());
        Ok(Arc::new(file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn Data>> {
        let file = lock(&self.0).get(name).cloned();
        Ok(Arc::new(file.ok_or(io::ErrorKind::NotFound)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = lock(&self.0);
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.into(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let removed = lock(&self.0).remove(name);
        removed.map(drop).ok_or(io::ErrorKind::NotFound.into())
    }

    fn sync_names(&self) -> io::Result<()> {
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(1 << 40)
    }
}

fn at(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

impl Data for Bytes {
    fn size(&self) -> io::Result<u64> {
        Ok(lock(&self.0).len() as u64)
    }

    fn write_at(&self, position: u64, parts: &[&[u8]]) -> io::Result<usize> {
        let (mut bytes, written) = (lock(&self.0), parts.concat());
        let end = at(position) + written.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[at(position)..end].copy_from_slice(&written);
        Ok(written.len())
    }

    fn read_at(&self, position: u64, into: &mut [u8]) -> io::Result<usize> {
        let bytes = lock(&self.0);
        let rest = bytes.get(at(position)..).unwrap_or_default();
        let len = rest.len().min(into.len());
        into[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        lock(&self.0).resize(at(size), 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn punch(&self, position: u64, len: u64) -> io::Result<()> {
        let mut bytes = lock(&self.0);
        let end = at(position.saturating_add(len)).min(bytes.len());
        let hole = bytes.get_mut(at(position)..end).unwrap_or_default();
        hole.fill(0);
        Ok(())
    }
}

const ID: [u8; 16] = [6; 16];

/// One segment file whose bytes are the fuzzer's, with and without a file header that fits.
pub fn segment_file(data: &[u8]) {
    let (kind, data) = crate::codec::fuzzing::take::<1>(data);
    let ending = match kind[0] % 2 {
        0 => Ending::Open,
        _ => Ending::Sealed,
    };
    let files = Files::default();
    let header = encode_file_header(ID, 1);
    let bytes = match kind[0] / 2 % 2 {
        0 => data.to_vec(),
        _ => [&header[..], data].concat(),
    };
    add(&files, 1, ending, bytes);
    open(&files);
}

/// Segment files made of genuine records, gaps, tears and flipped bytes, as the fuzzer orders.
pub fn records(data: &[u8]) {
    let files = Files::default();
    let mut number = 1;
    let mut seq = 1_u64;
    let mut bytes = encode_file_header(ID, number).to_vec();
    for step in data.chunks(8).take(64) {
        let ([what, a, b, c, d, e, f, g], _) = crate::codec::fuzzing::take(step);
        let word = u32::from_le_bytes([a, b, c, d]);
        match what % 8 {
            0..=3 => {
                let body =
                    vec![e; usize::from(u16::from_le_bytes([f, g])) * usize::from(what / 64)];
                let at = bytes.len() as u64;
                record(&mut bytes, number, at, seq, &[a, b, c], &body);
                seq = seq.saturating_add(1);
            }
            // Numbers leap, up to the end of all numbers.
            4 => seq = seq.saturating_add(u64::from(word)),
            5 => seq = u64::MAX - u64::from(a),
            6 => {
                let at = word as usize % bytes.len();
                bytes[at] ^= e;
                let len = bytes.len() - usize::from(g) % 8;
                bytes.truncate(len);
            }
            _ => {
                let ending = if e % 2 == 0 {
                    Ending::Open
                } else {
                    Ending::Sealed
                };
                add(&files, number, ending, std::mem::take(&mut bytes));
                number = number.saturating_add(u32::from(f)).max(number + 1);
                bytes = encode_file_header(ID, number).to_vec();
            }
        }
    }
    add(&files, number, Ending::Open, bytes);
    open(&files);
}

fn record(bytes: &mut Vec<u8>, segment: u32, at: u64, seq: u64, head: &[u8], body: &[u8]) {
    let sum = BodySum::of(body);
    let header = Header {
        kind: if head[0] % 8 == 7 {
            Kind::Skip
        } else {
            Kind::Record
        },
        seq: Seq(seq),
        synced: Seq(seq.saturating_sub(u64::from(head[1]))),
        head_len: 3,
        body_len: u32::try_from(body.len()).unwrap_or(u32::MAX),
        body_crc: sum.crc,
    };
    bytes.extend_from_slice(&header.encode(Salt::new(ID, segment), at, head));
    for part in [head, &sum.table, body] {
        bytes.extend_from_slice(part);
    }
}

fn add(files: &Files, number: u32, ending: Ending, bytes: Vec<u8>) {
    let file = Bytes(Arc::new(Mutex::new(bytes)));
    lock(&files.0).insert(name(number, ending), file);
}

/// Opens, replays, reads, appends; what was appended is there the next time.
fn open(files: &Files) {
    let settings = Settings::default();
    let Ok(spool) = Spool::recover(Box::new(files.clone()), settings, None) else {
        return;
    };
    let mut last = Seq(0);
    let mut places: Vec<Place> = Vec::new();
    let replayed = spool.replay(|found| {
        if let Replayed::Record { seq, head, place } = found {
            assert!(seq > last, "numbers only grow");
            assert!(head.len() <= 1 << 20);
            last = seq;
            places.push(place);
        }
        Ok::<(), Error>(())
    });
    replayed.expect("memory can be read");
    for place in places.iter().take(16) {
        if let Ok(body) = spool.read(place, 0, place.body_len) {
            assert_eq!(body.len(), place.body_len as usize);
        }
        drop(spool.retain(place, u64::from(place.body_len)));
    }
    spool.reclaim();
    let (seq, place) = spool.append(b"new", b"body").expect("there is room");
    assert!(seq > last, "a number is given once");
    assert_eq!(
        spool.read(&place, 0, 4).expect("just written"),
        &b"body"[..]
    );
    drop(spool);
    let again = Spool::recover(Box::new(files.clone()), settings, None).expect("our own");
    let mut found_new = false;
    let replayed = again.replay(|found| {
        found_new |= matches!(found, Replayed::Record { seq: new, .. } if new == seq);
        Ok::<(), Error>(())
    });
    replayed.expect("memory can be read");
    assert!(found_new, "what was appended is replayed");
}
