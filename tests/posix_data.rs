//! Content on a real mount: reading, writing, holes, copies, maps, locks, and files without names.
#![allow(clippy::cast_possible_truncation, reason = "tests use small numbers")]

mod support;

use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::io::Read;
use std::io::Seek;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use std::time::Instant;

use support::Forget;
use support::Mounted;
use support::sys;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;

/// Numbers without order, always the same ones.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.roll(256) as u8).collect()
    }
}

fn read_write(path: &Path) -> File {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .expect("open")
}

fn blocks(path: &Path) -> u64 {
    fs::metadata(path).expect("stat").blocks()
}

#[test]
fn a_big_file_comes_back_from_the_store() {
    let mut mounted = Mounted::draining();
    let content = Dice(1).bytes(9 * MIB as usize + 12_345);
    fs::write(mounted.path("big"), &content).expect("write");
    assert!(fs::read(mounted.path("big")).expect("read") == content);
    mounted.flush();
    mounted.remount(Forget::Everything);
    assert!(fs::read(mounted.path("big")).expect("read") == content);
    let file = File::open(mounted.path("big")).expect("open");
    let mut middle = [0; 100];
    file.read_exact_at(&mut middle, 5 * MIB + 17).expect("read");
    assert_eq!(middle[..], content[5 * MIB as usize + 17..][..100]);
    assert_eq!(
        file.read_at(&mut middle, 10 * MIB).expect("past the end"),
        0
    );
}

/// Everything that changes content, at random, against a model in memory, while the drain runs.
#[test]
fn random_changes_agree_with_a_model() {
    const LEN_MAX: u64 = 600 * KIB;
    const PUNCH: i32 = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    let mut mounted = Mounted::draining();
    let (path, other_path) = (mounted.path("file"), mounted.path("other"));
    let (mut file, mut other) = (read_write(&path), read_write(&other_path));
    let (mut model, mut other_model): (Vec<u8>, Vec<u8>) = (Vec::new(), Vec::new());
    let mut dice = Dice(42);
    for step in 0..2500 {
        let (start, len) = (dice.roll(LEN_MAX), 1 + dice.roll(64 * KIB));
        let (end, from) = ((start + len) as usize, start as usize);
        match dice.roll(10) {
            0..=2 => {
                let bytes = dice.bytes(len as usize);
                file.write_all_at(&bytes, start).expect("write");
                model.resize(model.len().max(end), 0);
                model[from..end].copy_from_slice(&bytes);
            }
            3 => {
                file.set_len(start).expect("truncate");
                model.resize(from, 0);
            }
            4 => {
                sys::fallocate(&file, PUNCH, start, len).expect("punch");
                let till = end.min(model.len());
                model[from.min(till)..till].fill(0);
            }
            5 => {
                sys::fallocate(&file, libc::FALLOC_FL_ZERO_RANGE, start, len).expect("zero");
                model.resize(model.len().max(end), 0);
                model[from..end].fill(0);
            }
            6 => {
                sys::fallocate(&file, 0, start, len).expect("allocate");
                model.resize(model.len().max(end), 0);
            }
            7 => {
                // A copy within the file or to the other one, or back.
                let to = dice.roll(LEN_MAX);
                let room = (model.len() as u64).saturating_sub(start).min(len);
                if dice.roll(2) == 0 {
                    let mut copied = 0;
                    while copied < room {
                        let done = sys::copy_range(
                            &file,
                            (start + copied) as i64,
                            &other,
                            (to + copied) as i64,
                            (room - copied) as usize,
                        );
                        copied += done.expect("copy") as u64;
                    }
                    if room > 0 {
                        other_model.resize(other_model.len().max((to + room) as usize), 0);
                        other_model[to as usize..][..room as usize]
                            .copy_from_slice(&model[from..][..room as usize]);
                    }
                } else if start.abs_diff(to) >= room && room > 0 {
                    let done = sys::copy_range(&file, start as i64, &file, to as i64, room as usize)
                        .expect("copy") as usize;
                    let bytes = model[from..from + done].to_vec();
                    model.resize(model.len().max(to as usize + done), 0);
                    model[to as usize..][..done].copy_from_slice(&bytes);
                }
            }
            8 => {
                let mut bytes = vec![0xee; len as usize];
                let read = file.read_at(&mut bytes, start).expect("read");
                let wanted = model.get(from..end.min(model.len())).unwrap_or_default();
                assert!(
                    bytes[..read] == *wanted,
                    "step {step}: {read} bytes at {start}"
                );
            }
            _ if step % 500 == 499 => {
                drop((file, other));
                let forget = if step % 1000 == 999 {
                    Forget::Everything
                } else {
                    Forget::Nothing
                };
                mounted.flush();
                mounted.remount(forget);
                (file, other) = (read_write(&path), read_write(&other_path));
            }
            _ => file.sync_data().expect("fsync"),
        }
        assert_eq!(
            file.metadata().expect("stat").len(),
            model.len() as u64,
            "step {step}"
        );
        assert!(
            file.metadata().expect("stat").blocks() * 512 < model.len() as u64 + 512,
            "step {step}"
        );
    }
    drop((file, other));
    mounted.flush();
    mounted.remount(Forget::Everything);
    assert!(fs::read(&path).expect("read") == model);
    assert!(fs::read(&other_path).expect("read") == other_model);
    assert_eq!(fs::metadata(&path).expect("stat").len(), model.len() as u64);
}

#[test]
fn holes_take_no_room_and_are_found() {
    let mut mounted = Mounted::new();
    let path = mounted.path("sparse");
    let file = read_write(&path);
    file.write_all_at(b"start", 0).expect("write");
    file.write_all_at(&[7; 8192], TIB).expect("write");
    file.set_len(2 * TIB).expect("truncate");
    assert_eq!(fs::metadata(&path).expect("stat").len(), 2 * TIB);
    assert_eq!(blocks(&path), (5 + 8192_u64).div_ceil(512));
    let look = |file: &File| {
        let find = |at, what| sys::seek(file, at, what).map(|at| at as u64);
        assert_eq!(find(0, libc::SEEK_DATA), Ok(0));
        assert_eq!(find(0, libc::SEEK_HOLE), Ok(5));
        assert_eq!(find(5, libc::SEEK_DATA), Ok(TIB));
        assert_eq!(find(TIB + 10, libc::SEEK_DATA), Ok(TIB + 10));
        assert_eq!(find(TIB, libc::SEEK_HOLE), Ok(TIB + 8192));
        assert_eq!(find(TIB + 8192, libc::SEEK_HOLE), Ok(TIB + 8192));
        assert_eq!(find(TIB + 8192, libc::SEEK_DATA), Err(libc::ENXIO));
        assert_eq!(find(2 * TIB, libc::SEEK_HOLE), Err(libc::ENXIO));
    };
    // It might be mapped.
    let find = |at, what| sys::seek(&file, at, what).map(|at| at as u64);
    assert_eq!(find(7, libc::SEEK_DATA), Ok(7));
    assert_eq!(find(7, libc::SEEK_HOLE), Ok(2 * TIB));
    assert_eq!(find(2 * TIB, libc::SEEK_DATA), Err(libc::ENXIO));
    let mut bytes = [1; 16];
    file.read_exact_at(&mut bytes, TIB - 8).expect("read");
    assert_eq!(bytes, [0, 0, 0, 0, 0, 0, 0, 0, 7, 7, 7, 7, 7, 7, 7, 7]);
    drop(file);
    until_closed(&path);
    look(&File::open(&path).expect("open"));
    let writer = File::options().write(true).open(&path).expect("open");
    look(&writer);
    drop(writer);
    mounted.flush();
    mounted.remount(Forget::Everything);
    look(&File::open(&path).expect("open"));
    sys::truncate(&path, 3).expect("truncate");
    assert_eq!(
        (fs::read(&path).expect("read"), blocks(&path)),
        (b"sta".to_vec(), 1)
    );
    sys::truncate(&path, 8).expect("truncate");
    assert_eq!(fs::read(&path).expect("read"), b"sta\0\0\0\0\0");
}

#[test]
fn files_have_a_greatest_length() {
    let mounted = Mounted::new();
    let path = mounted.path("file");
    let file = read_write(&path);
    let max = 1_u64 << 53;
    file.write_all_at(b"last", max - 4).expect("write");
    assert_eq!(sys::code(file.write_at(b"x", max)), Err(libc::EFBIG));
    assert_eq!(file.write_at(b"four", max - 2).expect("what fits"), 2);
    assert_eq!(sys::truncate(&path, max as i64 + 1), Err(libc::EFBIG));
    assert_eq!(sys::fallocate(&file, 0, max, 1), Err(libc::EFBIG));
    assert_eq!(fs::metadata(&path).expect("stat").len(), max);
    let mut bytes = [0; 8];
    assert_eq!(file.read_at(&mut bytes, max - 6).expect("read"), 6);
    assert_eq!(&bytes[..6], b"\0\0lafo");
}

#[test]
fn fallocate_knows_its_modes() {
    let mounted = Mounted::new();
    let path = mounted.path("file");
    let file = read_write(&path);
    file.write_all_at(&[9; 10_000], 0).expect("write");
    let len = || fs::metadata(&path).expect("stat").len();
    sys::fallocate(&file, libc::FALLOC_FL_KEEP_SIZE, 0, 1 << 20).expect("reserve");
    assert_eq!(len(), 10_000);
    sys::fallocate(&file, 0, 0, 20_000).expect("extend");
    assert_eq!(len(), 20_000);
    sys::fallocate(
        &file,
        libc::FALLOC_FL_ZERO_RANGE | libc::FALLOC_FL_KEEP_SIZE,
        9_000,
        50_000,
    )
    .expect("zero");
    assert_eq!((len(), blocks(&path)), (20_000, 9_000_u64.div_ceil(512)));
    sys::fallocate(&file, libc::FALLOC_FL_ZERO_RANGE, 30_000, 10).expect("zero");
    assert_eq!(len(), 30_010);
    sys::fallocate(
        &file,
        libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE,
        100,
        8_000,
    )
    .expect("punch");
    drop(file);
    until_closed(&path);
    let file = File::options().write(true).open(&path).expect("open");
    assert_eq!(sys::seek(&file, 0, libc::SEEK_HOLE), Ok(100));
    assert_eq!(sys::seek(&file, 100, libc::SEEK_DATA), Ok(8_100));
    assert_eq!(
        sys::fallocate(&file, libc::FALLOC_FL_COLLAPSE_RANGE, 0, 4096),
        Err(libc::EOPNOTSUPP)
    );
    assert_eq!(
        sys::fallocate(&file, libc::FALLOC_FL_INSERT_RANGE, 0, 4096),
        Err(libc::EOPNOTSUPP)
    );
    assert_eq!(sys::fallocate(&file, 0, 0, 0), Err(libc::EINVAL));
    assert_eq!(
        sys::fallocate(&File::open(&path).expect("open"), 0, 0, 1),
        Err(libc::EBADF)
    );
}

#[test]
fn fallocate_refuses_what_there_is_no_room_for() {
    let mounted = Mounted::new();
    let path = mounted.path("file");
    let file = read_write(&path);
    file.write_all_at(&[9; 10_000], 0).expect("write");
    let seen = || {
        let meta = fs::metadata(&path).expect("stat");
        (meta.len(), meta.mtime_nsec(), meta.ctime_nsec())
    };
    let told = sys::statvfs(mounted.root()).expect("statvfs");
    let free = told.f_bavail * told.f_frsize;
    let before = seen();
    for mode in [0, libc::FALLOC_FL_KEEP_SIZE, libc::FALLOC_FL_ZERO_RANGE] {
        for offset in [0, 10_000, 1 << 50] {
            let answer = sys::fallocate(&file, mode, offset, free + 20_000);
            assert_eq!(answer, Err(libc::ENOSPC), "mode {mode} at {offset}");
        }
        let answer = sys::fallocate(&file, mode, 1 << 53, 4096);
        assert_eq!(answer, Err(libc::EFBIG), "mode {mode}");
    }
    assert_eq!(seen(), before, "nothing has changed");
    // What is there already need not be found again; the free space is told in blocks.
    sys::fallocate(&file, libc::FALLOC_FL_KEEP_SIZE, 0, free + 5_000).expect("as much as there is");
    sys::fallocate(&file, 0, 1 << 52, 1 << 20).expect("a small range, however far out");
    assert_eq!(seen().0, (1 << 52) + (1 << 20));
    // Making holes takes no room.
    let punch = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    sys::fallocate(&file, punch, 0, 1 << 52).expect("punch");
}

#[test]
fn a_copy_shares_what_is_stored() {
    let mut mounted = Mounted::new();
    let content = Dice(3).bytes(3 * MIB as usize);
    fs::write(mounted.path("one"), &content).expect("write");
    mounted.flush();
    let packs = mounted.drive().status().expect("status").discord.pack_bytes;
    let (one, two) = (
        File::open(mounted.path("one")).expect("open"),
        read_write(&mounted.path("two")),
    );
    let mut done = 0;
    while done < 3 * MIB {
        done += sys::copy_range(
            &one,
            done as i64,
            &two,
            done as i64,
            (3 * MIB - done) as usize,
        )
        .expect("copy") as u64;
    }
    assert_eq!(sys::copy_range(&one, 3 * MIB as i64, &two, 0, 10), Ok(0));
    assert_eq!(
        sys::copy_range(&one, 0, &one, 10, 100).err(),
        Some(libc::EBADF)
    );
    let own = read_write(&mounted.path("one"));
    assert_eq!(sys::copy_range(&own, 0, &own, 10, 100), Err(libc::EINVAL));
    assert!(fs::read(mounted.path("two")).expect("read") == content);
    assert_eq!(blocks(&mounted.path("two")), 3 * MIB / 512);
    // One may change without the other.
    two.write_all_at(b"changed", MIB).expect("write");
    drop((one, two, own));
    mounted.flush();
    let grown = mounted.drive().status().expect("status").discord.pack_bytes - packs;
    assert!(grown < 2 * MIB, "{grown} bytes were stored for a copy");
    mounted.remount(Forget::Everything);
    assert!(fs::read(mounted.path("one")).expect("read") == content);
    assert_eq!(
        fs::read(mounted.path("two")).expect("read")[MIB as usize..][..7],
        *b"changed"
    );
}

#[test]
fn appends_go_to_the_end_from_every_handle() {
    let mounted = Mounted::new();
    let path = mounted.path("log");
    let open = || {
        OpenOptions::new()
            .append(true)
            .create(true)
            .open(&path)
            .expect("open")
    };
    let (mut one, mut two) = (open(), open());
    for _ in 0..50 {
        one.write_all(b"one,").expect("write");
        two.write_all(b"two,").expect("write");
    }
    assert_eq!(fs::read(&path).expect("read"), b"one,two,".repeat(50));
    std::thread::scope(|scope| {
        for letter in [b'a', b'b', b'c'] {
            let mut file = open();
            scope.spawn(move || {
                (0..200).for_each(|_| file.write_all(&[letter; 10]).expect("write"))
            });
        }
    });
    let content = fs::read(&path).expect("read");
    assert_eq!(content.len(), 400 + 6000);
    assert!(
        content[400..]
            .chunks(10)
            .all(|line| line.iter().all(|byte| *byte == line[0]))
    );
}

#[test]
fn opening_can_empty_a_file() {
    let mut mounted = Mounted::new();
    let path = mounted.path("file");
    fs::write(&path, b"long content").expect("write");
    let reader = File::open(&path).expect("open");
    File::create(&path)
        .expect("truncate")
        .write_all(b"new")
        .expect("write");
    let mut bytes = [0; 20];
    assert_eq!(reader.read_at(&mut bytes, 0).expect("read"), 3);
    drop(reader);
    mounted.remount(Forget::Nothing);
    assert_eq!(fs::read(&path).expect("read"), b"new");
    assert_eq!(blocks(&path), 1);
}

#[test]
fn a_running_program_cannot_be_changed() {
    let mounted = Mounted::new();
    let path = mounted.path("sleep");
    fs::copy("/bin/sleep", &path).expect("copy");
    let len = fs::metadata(&path).expect("stat").len();
    let mut process = std::process::Command::new(&path)
        .arg("100")
        .spawn()
        .expect("it runs");
    let open = |flags| sys::open(&path, flags, 0).map(|_| ());
    let tried = [libc::O_WRONLY, libc::O_RDONLY | libc::O_TRUNC].map(open);
    process.kill().expect("it was running");
    process.wait().expect("it is gone");
    assert_eq!(tried, [Err(libc::ETXTBSY); 2]);
    assert_eq!(fs::metadata(&path).expect("stat").len(), len);
}

#[test]
fn direct_reads_and_writes_pass_the_cache() {
    let mounted = Mounted::new();
    let path = mounted.path("file");
    let direct = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .custom_flags(libc::O_DIRECT)
        .open(&path)
        .expect("open");
    let (mut buffer, skip) = sys::aligned(64 * 1024);
    let block = &mut buffer[skip..skip + 64 * 1024];
    block.copy_from_slice(&Dice(5).bytes(64 * 1024));
    direct.write_all_at(block, 4096).expect("write");
    let content = fs::read(&path).expect("read through the cache");
    assert!(content[..4096].iter().all(|byte| *byte == 0) && content[4096..] == *block);
    // What is written through the cache is seen directly, and the other way round.
    read_write(&path)
        .write_all_at(&[1; 4096], 0)
        .expect("write");
    direct.read_exact_at(&mut block[..4096], 0).expect("read");
    assert!(block[..4096].iter().all(|byte| *byte == 1));
}

#[test]
fn maps_are_files() {
    let mut mounted = Mounted::new();
    let path = mounted.path("mapped");
    let file = read_write(&path);
    file.set_len(3 * 4096 + 100).expect("truncate");
    let mapped = sys::apart(|| {
        let mut map = sys::Map::try_new(&file, 4 * 4096)?;
        map.bytes()[5000..5005].copy_from_slice(b"hello");
        map.sync()?;
        let mut bytes = [0; 5];
        sys::code(file.read_exact_at(&mut bytes, 5000))?;
        let is_read = &bytes == b"hello";
        sys::code(file.write_all_at(b"HE", 5000))?;
        let is_mapped = &map.bytes()[5000..5005] == b"HEllo";
        map.bytes()[3 * 4096 + 99] = b'!';
        // The file may be closed while it is mapped.
        drop(file);
        map.bytes()[0] = b'#';
        if is_read && is_mapped {
            Ok(0)
        } else {
            Err(libc::EILSEQ)
        }
    });
    assert_eq!(mapped, Ok(()));
    mounted.remount(Forget::Nothing);
    let content = fs::read(&path).expect("read");
    assert_eq!(
        (content.len(), content[0], content[3 * 4096 + 99]),
        (3 * 4096 + 100, b'#', b'!')
    );
    assert_eq!(&content[5000..5005], b"HEllo");
}

/// A program fills holes by way of a mapping that it keeps: only the kernel has those bytes yet.
#[test]
fn what_a_live_mapping_has_filled_is_copied() {
    const FIRST: usize = 100;
    const SECOND: usize = 500_000;
    let mounted = Mounted::new();
    let (path, copy) = (mounted.path("file"), mounted.path("copy"));
    let file = read_write(&path);
    file.write_all_at(b"start", 0).expect("write");
    file.set_len(MIB).expect("truncate");
    let empty = read_write(&mounted.path("empty"));
    empty.set_len(MIB).expect("truncate");
    let (mut filled, filler) = std::io::pipe().expect("a pipe");
    let (waiter, mut end) = std::io::pipe().expect("a pipe");
    let fill = || {
        let map = |file, at: usize| {
            let mut map = sys::Map::try_new(file, MIB as usize)?;
            map.bytes()[at..at + 5].copy_from_slice(b"dirty");
            Ok(map)
        };
        let maps =
            [(&file, FIRST), (&file, SECOND), (&empty, SECOND)].map(|(file, at)| map(file, at));
        sys::code((&filler).write_all(b"."))?;
        sys::code((&waiter).read_exact(&mut [0]))?;
        maps.into_iter()
            .try_for_each(|map| map.map(drop))
            .map(|()| 0)
    };
    let sparse = |program: &str, args: &[&str]| {
        let done = Command::new(program)
            .args(args)
            .current_dir(mounted.root())
            .status();
        assert!(done.expect("it runs").success(), "{program}");
    };
    let (sought, copies) = std::thread::scope(|scope| {
        let filling = scope.spawn(|| sys::apart(fill));
        filled.read_exact(&mut [0]).expect("it is filled");
        let find = |file: &File, at, what| sys::seek(file, at, what).map(|at| at as usize);
        let sought = [
            find(&empty, 0, libc::SEEK_HOLE),
            find(&empty, 0, libc::SEEK_DATA),
            find(&file, 0, libc::SEEK_HOLE),
            find(&file, 8192, libc::SEEK_DATA),
            find(&file, SECOND as u64, libc::SEEK_HOLE),
        ];
        let copies = ["file", "empty"].map(|name| {
            sparse("cp", &["--sparse=auto", name, "copy"]);
            let copied = fs::read(&copy).expect("read");
            sparse("tar", &["-cSf", "copy.tar", name]);
            fs::create_dir_all(mounted.path("below")).expect("mkdir");
            sparse("tar", &["-xf", "copy.tar", "-C", "below"]);
            let unpacked = fs::read(mounted.path("below").join(name)).expect("read");
            (copied, unpacked)
        });
        end.write_all(b".").expect("it waits");
        filling.join().expect("no panic").expect("it had the maps");
        (sought, copies)
    });
    let end = MIB as usize;
    assert_eq!(sought, [end, 0, end, 8192, end].map(Ok));
    let mut model = vec![0; MIB as usize];
    model[SECOND..SECOND + 5].copy_from_slice(b"dirty");
    assert!(copies[1].0 == model && copies[1].1 == model);
    model[..5].copy_from_slice(b"start");
    model[FIRST..FIRST + 5].copy_from_slice(b"dirty");
    assert!(copies[0].0 == model && copies[0].1 == model);
}

/// Waits until a file with holes can be mapped by nobody: the kernel closes in the background.
fn until_closed(path: &std::path::Path) {
    let file = File::open(path).expect("open");
    let size = fs::metadata(path).expect("stat").len();
    let begun = Instant::now();
    while sys::seek(&file, 0, libc::SEEK_HOLE) == Ok(size as libc::off_t) {
        assert!(begun.elapsed() < Duration::from_secs(20), "it stays open");
        std::thread::yield_now();
    }
}

/// Inodes without names that the drive still has.
fn unnamed(mounted: &Mounted) -> usize {
    let view = mounted.drive().view();
    view.scan(b"U", b"V", 100).expect("scan").len()
}

/// Waits until there are none: the kernel closes and forgets in the background.
fn all_named(mounted: &Mounted) {
    let begun = Instant::now();
    while unnamed(mounted) > 0 {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "an inode stays that nobody holds"
        );
        std::thread::yield_now();
    }
}

#[test]
fn what_somebody_holds_by_its_path_can_be_opened_without_a_name() {
    let mounted = Mounted::new();
    let (path, other) = (mounted.path("file"), mounted.path("other"));
    for is_replaced in [false, true] {
        fs::write(&path, b"content").expect("write");
        let held = sys::open(&path, libc::O_PATH, 0).expect("held");
        if is_replaced {
            fs::write(&other, b"another").expect("write");
            fs::rename(&other, &path).expect("rename");
        } else {
            fs::remove_file(&path).expect("unlink");
        }
        assert_eq!(unnamed(&mounted), 1);
        let again = format!("/proc/self/fd/{}", held.as_raw_fd());
        assert_eq!(fs::read(&again).expect("opened again"), b"content");
        assert_eq!(fs::read(&again).expect("and again"), b"content");
        drop(held);
        all_named(&mounted);
    }
    assert_eq!(fs::read(&path).expect("read"), b"another");
}

#[test]
fn what_nobody_holds_goes_soon_after_its_name() {
    let mut mounted = Mounted::new();
    for number in 0..300 {
        fs::write(mounted.path(&format!("file{number}")), b"content").expect("write");
    }
    sys::set_xattr(mounted.path("file7"), "user.a", b"value", 0).expect("set");
    fs::create_dir(mounted.path("dir")).expect("mkdir");
    for number in 0..300 {
        fs::remove_file(mounted.path(&format!("file{number}"))).expect("unlink");
    }
    fs::remove_dir(mounted.path("dir")).expect("rmdir");
    all_named(&mounted);
    let inodes = |mounted: &Mounted| {
        mounted
            .drive()
            .view()
            .scan(b"I", b"J", 10)
            .expect("scan")
            .len()
    };
    assert_eq!(inodes(&mounted), 1, "the root");
    // Nor does anything stay that is removed just before the mount ends.
    fs::write(mounted.path("last"), b"content").expect("write");
    fs::remove_file(mounted.path("last")).expect("unlink");
    mounted.remount(Forget::Nothing);
    assert_eq!((unnamed(&mounted), inodes(&mounted)), (0, 1));
}

#[test]
fn an_open_file_outlives_its_name() {
    let mut mounted = Mounted::new();
    let path = mounted.path("file");
    let mut file = read_write(&path);
    file.write_all(b"still ").expect("write");
    let ino = file.metadata().expect("stat").ino();
    fs::remove_file(&path).expect("unlink");
    assert!(!path.exists());
    fs::write(&path, b"another").expect("the name is free");
    file.write_all(b"here").expect("write");
    file.rewind().expect("seek");
    let mut content = String::new();
    file.read_to_string(&mut content).expect("read");
    let meta = file.metadata().expect("stat");
    assert_eq!(
        (content.as_str(), meta.nlink(), meta.ino()),
        ("still here", 0, ino)
    );
    sys::chmod(
        Path::new("/proc/self/fd").join(file.as_raw_fd().to_string()),
        0o600,
    )
    .expect("fchmod");
    let second = file.try_clone().expect("dup");
    drop(file);
    assert_eq!(second.metadata().expect("stat").len(), 10);
    assert_eq!(unnamed(&mounted), 1);
    drop(second);
    all_named(&mounted);
    assert_eq!(fs::read(&path).expect("read"), b"another");
    mounted.remount(Forget::Nothing);
    assert_eq!(fs::read(&path).expect("read"), b"another");
}

#[test]
fn what_was_open_and_unlinked_goes_with_the_mount() {
    let mut mounted = Mounted::new();
    let path = mounted.path("file");
    let file = read_write(&path);
    file.write_all_at(&[1; 100_000], 0).expect("write");
    fs::remove_file(&path).expect("unlink");
    assert_eq!(unnamed(&mounted), 1);
    // The mount goes while the file is open, and never hears of its end.
    sys::detach(mounted.root()).expect("detach");
    let fs = ods::fs::Fs::new(mounted.drive().clone(), ods::fs::Options::default());
    fs.recover().expect("recover");
    assert_eq!(unnamed(&mounted), 0);
    drop((file, fs));
    mounted.remount(Forget::Nothing);
    assert!(!path.exists());
}

#[test]
fn locks_keep_processes_apart() {
    let mounted = Mounted::new();
    let path = mounted.path("lock");
    let file = read_write(&path);
    sys::flock(&file, libc::LOCK_EX).expect("flock");
    let try_flock = || {
        sys::flock(
            &sys::open(&path, libc::O_RDWR, 0)?,
            libc::LOCK_EX | libc::LOCK_NB,
        )
    };
    assert_eq!(sys::as_user(0, 0, try_flock), Err(libc::EWOULDBLOCK));
    sys::flock(&file, libc::LOCK_UN).expect("unlock");
    assert_eq!(sys::as_user(0, 0, try_flock), Ok(()));
    sys::lock(&file, libc::F_WRLCK, 10, 10).expect("fcntl");
    let try_lock = |start, len| {
        let path = path.clone();
        move || {
            sys::lock(
                &sys::open(&path, libc::O_RDWR, 0)?,
                libc::F_WRLCK,
                start,
                len,
            )
        }
    };
    assert_eq!(sys::as_user(0, 0, try_lock(0, 10)), Ok(()));
    assert_eq!(sys::as_user(0, 0, try_lock(19, 1)), Err(libc::EAGAIN));
    assert_eq!(sys::as_user(0, 0, try_lock(20, 0)), Ok(()));
    sys::lock(&file, libc::F_UNLCK, 0, 0).expect("unlock");
    assert_eq!(sys::as_user(0, 0, try_lock(0, 0)), Ok(()));
}

#[test]
fn many_threads_at_once() {
    let mounted = Mounted::draining();
    std::thread::scope(|scope| {
        for thread in 0..8_u64 {
            let dir = mounted.path(&format!("thread{thread}"));
            scope.spawn(move || {
                fs::create_dir(&dir).expect("mkdir");
                let mut dice = Dice(thread);
                for number in 0..60 {
                    let (path, len) = (dir.join(number.to_string()), dice.roll(200_000) as usize);
                    let content = dice.bytes(len);
                    fs::write(&path, &content).expect("write");
                    if number % 7 == 0 {
                        File::open(&path).expect("open").sync_all().expect("fsync");
                    }
                    assert!(fs::read(&path).expect("read") == content);
                    let moved = dir.join(format!("{number}-moved"));
                    fs::rename(&path, &moved).expect("rename");
                    if number % 3 == 0 {
                        fs::remove_file(&moved).expect("unlink");
                    }
                }
                assert_eq!(fs::read_dir(&dir).expect("list").count(), 40);
            });
        }
    });
}
