//! The rooms by themselves, so that what became slower is found: codec, chunker, index, spool.
//!
//! `cargo bench --bench rooms`; with a word, only what has it in its name.

use criterion::BatchSize;
use criterion::Criterion;
use criterion::Throughput;
use criterion::criterion_group;
use criterion::criterion_main;
use std::hint::black_box;

use ods::codec::chunker::Chunker;
use ods::codec::chunker::End;
use ods::codec::key::Keys;
use ods::codec::key::MasterKey;
use ods::codec::pack;
use ods::codec::pack::PackBuilder;
use ods::id::DriveId;
use ods::index::Batch;
use ods::index::Index;
use ods::spool;
use ods::spool::Spool;

const MIB: usize = 1 << 20;

fn keys() -> Keys {
    Keys::derive(&MasterKey::from_bytes([6; 32]), DriveId([5; 16]))
}

/// Bytes that do not compress.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

fn words(len: usize) -> Vec<u8> {
    let text = b"the quick brown fox jumps over the lazy dog, again and again and again. ";
    text.iter().copied().cycle().take(len).collect()
}

fn codec(c: &mut Criterion) {
    let keys = keys();
    let mut group = c.benchmark_group("codec");
    group.throughput(Throughput::Bytes(MIB as u64));
    for (name, plain) in [("noise", noise(MIB)), ("words", words(MIB))] {
        let id = keys.chunk_id(&plain);
        group.bench_function(format!("name a chunk of {name}"), |b| {
            b.iter(|| black_box(keys.chunk_id(&plain)));
        });
        group.bench_function(format!("seal a chunk of {name}"), |b| {
            b.iter_batched(
                || PackBuilder::new(&keys, 10 << 20),
                |mut builder| {
                    builder.push(id, &plain).expect("it fits");
                    builder
                },
                BatchSize::LargeInput,
            );
        });
        let mut builder = PackBuilder::new(&keys, 10 << 20);
        let frame = builder.push(id, &plain).expect("it fits");
        let pack = builder.finish();
        let body = pack.body.to_bytes();
        let from = frame.offset as usize;
        let sealed = body.slice(from..from + frame.sealed_len as usize);
        group.bench_function(format!("open a chunk of {name}"), |b| {
            b.iter(|| pack::open_frame(&keys, pack.id, &frame, &sealed[..]).expect("whole"));
        });
    }
    group.finish();
}

fn chunker(c: &mut Criterion) {
    let chunker = Chunker::new(&keys());
    let bytes = noise(16 * MIB);
    let mut group = c.benchmark_group("chunker");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("cut 16 MiB", |b| {
        b.iter(|| {
            let mut rest = &bytes[..];
            while let Some(len) = chunker.cut(rest, End::Last) {
                rest = &rest[len..];
                if rest.is_empty() {
                    break;
                }
            }
        });
    });
    group.finish();
}

fn batch(from: u64, count: u64) -> Batch {
    let mut batch = Batch::new();
    for number in from..from + count {
        let key = [&b"I"[..], &number.to_be_bytes()].concat();
        batch.put(key, vec![7; 80]).expect("short");
    }
    batch
}

fn index(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a directory");
    let index = Index::open(dir.path(), 64 << 20).expect("an index");
    index.load(&batch(0, 100_000)).expect("loaded");
    index.load_done().expect("loaded");
    let mut group = c.benchmark_group("index");
    let mut number = 0;
    group.bench_function("get a stored value", |b| {
        b.iter(|| {
            number = (number + 7919) % 100_000;
            let key = [&b"I"[..], &u64::to_be_bytes(number)].concat();
            black_box(index.get(&key).expect("readable"))
        });
    });
    group.bench_function("scan 1,000 stored values", |b| {
        b.iter(|| index.scan_prefix(b"I").take(1000).count());
    });
    let mut from = 1_000_000;
    group.bench_function("apply a batch of 8", |b| {
        b.iter(|| {
            from += 8;
            index.apply(batch(from, 8));
        });
    });
    group.sample_size(10);
    group.bench_function("freeze and settle 1,000 changes", |b| {
        b.iter_batched(
            || batch(0, 1000),
            |batch| {
                index.apply(batch);
                index.freeze().expect("nothing is being published");
                index.settle(Batch::new()).expect("settled");
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn spool(c: &mut Criterion) {
    let mut group = c.benchmark_group("spool");
    for (name, len) in [("4 KiB", 4 << 10), ("1 MiB", MIB)] {
        let dir = tempfile::tempdir().expect("a directory");
        let spool = Spool::open(dir.path(), spool::Settings::default()).expect("a spool");
        let body = noise(len);
        // What is written is let go of at once, so that the spool does not fill.
        let append = || {
            let (seq, place) = spool.append(&[1; 100], &body).expect("room");
            spool.release(&place, body.len() as u64);
            if seq.0 % 64 == 0 {
                spool.cut(seq).expect("a good disk");
            }
        };
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(format!("append {name}"), |b| b.iter(append));
        group.bench_function(format!("append {name} and sync"), |b| {
            b.iter(|| {
                append();
                spool.sync().expect("a good disk");
            });
        });
    }
    group.finish();
}

criterion_group!(rooms, codec, chunker, index, spool);
criterion_main!(rooms);
