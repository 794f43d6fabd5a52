//! A mount on a store that fails, waits or lies: what is local works on, and nothing hangs.
#![allow(clippy::cast_possible_truncation, reason = "tests use small numbers")]

mod support;

use std::fs;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ods::store::faulty::Fault;
use ods::store::faulty::Rule;
use ods::store::faulty::Verb;
use support::Drain;
use support::Forget;
use support::Mounted;
use support::sys;
use tokio::sync::Semaphore;

const MIB: usize = 1 << 20;

/// Bytes that neither compress nor repeat.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as u8
    };
    (0..len).map(|_| next()).collect()
}

fn read(path: &Path) -> Result<Vec<u8>, i32> {
    sys::code(fs::read(path))
}

/// A drive whose machine was lost: `far` is on the store alone, `near` was written since.
fn with_far_and_near() -> (Mounted, Vec<u8>) {
    let mut mounted = Mounted::new();
    let content = noise(1, 3 * MIB);
    fs::write(mounted.path("far"), &content).expect("write");
    mounted.flush();
    mounted.remount(Forget::Everything);
    fs::write(mounted.path("near"), b"near").expect("write");
    (mounted, content)
}

#[test]
fn without_the_store_everything_local_works_on() {
    let (mounted, content) = with_far_and_near();
    mounted
        .store
        .add(Rule::always(Verb::Any, Fault::Unavailable));
    assert_eq!(read(&mounted.path("far")).err(), Some(libc::EIO));
    assert_eq!(read(&mounted.path("near")), Ok(b"near".to_vec()));
    fs::rename(mounted.path("near"), mounted.path("nearer")).expect("rename");
    fs::write(mounted.path("new"), b"new").expect("write");
    File::open(mounted.path("new"))
        .expect("open")
        .sync_all()
        .expect("fsync");
    assert_eq!(
        fs::metadata(mounted.path("far")).expect("stat").len(),
        3 * MIB as u64
    );
    mounted.store.clear();
    assert!(read(&mounted.path("far")) == Ok(content));
}

#[test]
fn a_read_that_waits_keeps_nobody_waiting() {
    let (mounted, content) = with_far_and_near();
    let gate = Arc::new(Semaphore::new(0));
    mounted
        .store
        .add(Rule::always(Verb::Get, Fault::Held(gate.clone())));
    std::thread::scope(|scope| {
        // More readers than threads that serve the mount.
        let readers: Vec<_> = (0..12)
            .map(|_| scope.spawn(|| read(&mounted.path("far"))))
            .collect();
        while mounted.store.struck() == 0 {
            std::thread::yield_now();
        }
        for number in 0..50 {
            let path = mounted.path(&format!("file{number}"));
            fs::write(&path, b"content").expect("write");
            assert_eq!(read(&path), Ok(b"content".to_vec()));
            assert_eq!(
                fs::read_dir(mounted.root()).expect("list").count(),
                number + 3
            );
        }
        assert!(readers.iter().all(|reader| !reader.is_finished()));
        gate.add_permits(Semaphore::MAX_PERMITS / 2);
        for reader in readers {
            assert!(reader.join().expect("no panic").as_ref() == Ok(&content));
        }
    });
}

/// With a signal that cannot be handled, or with one that nobody handles.
#[test]
fn a_process_that_is_killed_while_it_waits_for_the_store_ends() {
    let (mounted, content) = with_far_and_near();
    let gate = Arc::new(Semaphore::new(0));
    let held = Rule::always(Verb::Get, Fault::Held(gate.clone()));
    mounted.store.add(held);
    for (nth, signal) in [(1, libc::SIGKILL), (2, libc::SIGTERM)] {
        let mut reader = {
            let _no_lock_waits = sys::FORKS.read().unwrap_or_else(PoisonError::into_inner);
            Command::new("dd")
                .arg(format!("if={}", mounted.path("far").display()))
                .args(["iflag=direct", "bs=64k", "of=/dev/null"])
                .stderr(Stdio::null())
                .spawn()
                .expect("dd runs")
        };
        while mounted.store.struck() < nth {
            std::thread::yield_now();
        }
        sys::signal(reader.id() as i32, signal).expect("sent");
        let ended = reader.wait().expect("it ends");
        assert_eq!(ended.signal(), Some(signal));
        let status = mounted.drive().status().expect("it is told");
        assert_eq!(status.last_error, None, "it ended before the read failed");
    }
    gate.add_permits(Semaphore::MAX_PERMITS / 2);
    assert!(read(&mounted.path("far")) == Ok(content));
}

/// More files than the kernel usually lets a filesystem have waiting.
#[test]
fn a_hundred_files_that_wait_keep_nobody_waiting() {
    const FILES: u64 = 100;
    const LEN: usize = 64 << 10;
    let mut mounted = Mounted::new();
    let far = |mounted: &Mounted, number| mounted.path(&format!("far{number}"));
    for number in 0..FILES {
        fs::write(far(&mounted, number), noise(number, LEN)).expect("write");
    }
    mounted.flush();
    mounted.remount(Forget::Everything);
    let nearby = noise(FILES, 3 * MIB);
    fs::write(mounted.path("near"), &nearby).expect("write");
    let gate = Arc::new(Semaphore::new(0));
    let held = Rule::always(Verb::Get, Fault::Held(gate.clone()));
    mounted.store.add(held);
    let mounted = &mounted;
    std::thread::scope(|scope| {
        let begin = |number| {
            scope.spawn(move || {
                let path = far(mounted, number);
                sys::want_pages(&File::open(&path).expect("open")).expect("wanted");
                read(&path)
            })
        };
        let readers: Vec<_> = (0..FILES).map(begin).collect();
        while mounted.store.struck() == 0 {
            std::thread::yield_now();
        }
        let (tell, told) = std::sync::mpsc::channel();
        scope.spawn(move || {
            let near = File::open(mounted.path("near")).expect("open");
            // Often enough for all the others to have asked meanwhile.
            let all = (0..200).all(|_| {
                sys::forget_pages(&near).expect("forgotten");
                sys::want_pages(&near).expect("wanted");
                let mut content = vec![0; nearby.len()];
                near.read_exact_at(&mut content, 0).expect("read");
                content == nearby
            });
            tell.send(all).expect("heard");
        });
        let near = told.recv_timeout(Duration::from_secs(40));
        let waiting = readers.iter().filter(|reader| !reader.is_finished());
        let waiting = waiting.count();
        gate.add_permits(Semaphore::MAX_PERMITS / 2);
        for (number, reader) in (0..).zip(readers) {
            assert!(reader.join().expect("no panic") == Ok(noise(number, LEN)));
        }
        assert_eq!((near, waiting), (Ok(true), FILES as usize));
    });
}

#[test]
fn wrong_bytes_are_never_given_out() {
    let (mounted, _) = with_far_and_near();
    mounted
        .store
        .add(Rule::always(Verb::Get, Fault::FlippedBit));
    mounted
        .store
        .add(Rule::always(Verb::GetAgain, Fault::FlippedBit));
    assert_eq!(read(&mounted.path("far")).err(), Some(libc::EIO));
    assert_eq!(
        sys::get_xattr(mounted.path("far"), "user.ods.state"),
        Ok(b"damaged".to_vec())
    );
    assert_eq!(read(&mounted.path("near")), Ok(b"near".to_vec()));
    // It is told by its path, also after that has changed.
    let told = || mounted.drive().status().expect("it is told").damaged;
    assert!(told()[0].1.starts_with("far: "), "{:?}", told());
    fs::create_dir(mounted.path("dir")).expect("a directory");
    fs::rename(mounted.path("far"), mounted.path("dir/off")).expect("renamed");
    assert!(told()[0].1.starts_with("dir/off: "), "{:?}", told());
    assert_eq!(told().len(), 1);
}

/// Writes files of 1 MiB until one fails; tells how many are whole, and why the next is not.
fn fill(mounted: &Mounted, name: &str) -> (usize, Option<i32>) {
    for number in 0..1000 {
        let path = mounted.path(&format!("{name}{number}"));
        if let Err(errno) = sys::code(fs::write(&path, noise(number as u64, MIB))) {
            return (number, Some(errno));
        }
    }
    (1000, None)
}

#[test]
fn a_full_spool_says_so_and_keeps_what_it_has() {
    let mut mounted = Mounted::with_spool(Drain::AtOnce, 128 * MIB as u64);
    mounted
        .store
        .add(Rule::always(Verb::Any, Fault::Unavailable));
    let (whole, errno) = fill(&mounted, "file");
    assert_eq!(errno, Some(libc::ENOSPC));
    assert!(whole > 64, "{whole} MiB fitted into a spool of 128 MiB");
    for number in 0..whole {
        let path = mounted.path(&format!("file{number}"));
        assert!(read(&path) == Ok(noise(number as u64, MIB)), "file{number}");
    }
    // What takes no room still works, first of all making some.
    fs::rename(mounted.path("file0"), mounted.path("moved")).expect("rename");
    fs::remove_file(mounted.path("file1")).expect("unlink");
    fs::remove_file(mounted.path(&format!("file{whole}"))).expect("unlink");
    // The store comes back: so does the room.
    mounted.store.clear();
    mounted.flush();
    fs::write(mounted.path("after"), noise(1, MIB)).expect("write");
    mounted.flush();
    mounted.remount(Forget::Everything);
    assert!(read(&mounted.path("moved")) == Ok(noise(0, MIB)));
    assert!(read(&mounted.path("after")) == Ok(noise(1, MIB)));
    assert_eq!(fs::read_dir(mounted.root()).expect("list").count(), whole);
}

#[test]
fn writers_that_wait_for_room_keep_nobody_else_waiting() {
    let mounted = Mounted::with_spool(Drain::AtOnce, 96 * MIB as u64);
    let gate = Arc::new(Semaphore::new(0));
    mounted
        .store
        .add(Rule::always(Verb::Put, Fault::Held(gate.clone())));
    fs::write(mounted.path("near"), b"near").expect("write");
    let written = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..8)
            .map(|thread| {
                let (mounted, written) = (&mounted, &written);
                scope.spawn(move || {
                    for number in 0..20 {
                        let bytes = noise(thread * 100 + number, MIB);
                        fs::write(mounted.path(&format!("{thread}-{number}")), bytes)
                            .expect("write");
                        written.fetch_add(1, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        // The spool is full when it takes no more in the time of many requests.
        let mut before = (0, 0);
        while before.1 < 2000 {
            let mut file = File::open(mounted.path("near")).expect("open");
            let mut content = String::new();
            file.read_to_string(&mut content).expect("read");
            fs::read_dir(mounted.root()).expect("list").count();
            let now = written.load(Ordering::SeqCst);
            before = if now == before.0 {
                (now, before.1 + 1)
            } else {
                (now, 0)
            };
        }
        assert!(before.0 < 160, "the spool never filled");
        assert!(writers.iter().any(|writer| !writer.is_finished()));
        gate.add_permits(Semaphore::MAX_PERMITS / 2);
        writers
            .into_iter()
            .for_each(|writer| writer.join().expect("all is written"));
    });
    let mut file = File::open(mounted.path("7-19")).expect("open");
    let mut content = Vec::new();
    file.read_to_end(&mut content).expect("read");
    assert!(content == noise(719, MIB));
}
