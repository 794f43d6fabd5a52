//! Much of one thing: names, links, entries, depth, holes, appends, renames.

use std::collections::HashSet;
use std::fs;
use std::fs::File;
use std::io::Read;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::MetadataExt;

use crate::Disk;
use crate::scaled;
use crate::shell;
use crate::sys;

#[test]
fn a_directory_of_very_many_entries() {
    let mut disk = Disk::new();
    let count = scaled(20_000, 1_000_000);
    let dir = disk.path("many");
    fs::create_dir(&dir).expect("mkdir");
    for at in 0..count {
        File::create(dir.join(format!("entry-{at:07}"))).expect("create");
    }
    disk.begin_again();
    let listed = || -> HashSet<Vec<u8>> {
        let list = fs::read_dir(&dir).expect("list");
        list.map(|entry| entry.expect("an entry").file_name().into_vec())
            .collect()
    };
    let names = listed();
    assert_eq!(names.len(), count, "every name once");
    for at in (0..count).step_by(97) {
        let name = format!("entry-{at:07}");
        assert!(names.contains(name.as_bytes()));
        assert_eq!(fs::metadata(dir.join(&name)).expect("stat").len(), 0);
    }
    // Deleting while listing, as `rm -r` does.
    shell("rm -rf many; test ! -e many", disk.root(), &[]);
    fs::create_dir(&dir).expect("the name is free");
    assert_eq!(listed().len(), 0);
}

#[test]
fn names_of_every_kind() {
    let mut disk = Disk::new();
    let mut names: Vec<Vec<u8>> = (1..=255_u8)
        .filter(|byte| !b"/.".contains(byte))
        .map(|byte| vec![byte])
        .collect();
    names.push(vec![b'n'; 255]);
    names.push("ä".repeat(127).into_bytes());
    names.push("ä".into());
    names.push("a\u{308}".into());
    names.push(b"\xc3(".to_vec());
    names.push(b"new\nline".to_vec());
    names.push(b"...".to_vec());
    let path = |disk: &Disk, name: &[u8]| disk.root().join(std::ffi::OsStr::from_bytes(name));
    for name in &names {
        fs::write(path(&disk, name), name).expect("write");
    }
    let long = path(&disk, &[b'x'; 256]);
    assert_eq!(
        sys::code(File::create(long)).err(),
        Some(libc::ENAMETOOLONG)
    );
    disk.begin_again();
    for name in &names {
        assert_eq!(&fs::read(path(&disk, name)).expect("read"), name);
    }
    let listed = fs::read_dir(disk.root()).expect("list").count();
    assert_eq!(listed, names.len());
}

#[test]
fn a_farm_of_hard_links_and_a_deep_tree() {
    let mut disk = Disk::new();
    let (links, depth) = (scaled(2_000, 60_000), scaled(300, 2_000));
    fs::write(disk.path("one"), b"content").expect("write");
    fs::create_dir(disk.path("farm")).expect("mkdir");
    for at in 0..links {
        fs::hard_link(disk.path("one"), disk.path(&format!("farm/{at}"))).expect("link");
    }
    let script = format!(
        "set +x; for level in $(seq {depth}); do mkdir deep; cd -P deep; done; echo bottom > file; cat file"
    );
    assert_eq!(shell(&script, disk.root(), &[]), "bottom\n");
    disk.begin_again();
    let meta = fs::metadata(disk.path("one")).expect("stat");
    assert_eq!(meta.nlink(), links as u64 + 1);
    let last = disk.path(&format!("farm/{}", links - 1));
    assert_eq!(fs::metadata(&last).expect("stat").ino(), meta.ino());
    let script = format!("for level in $(seq {depth}); do cd -P deep; done; cat file");
    assert_eq!(shell(&script, disk.root(), &[]), "bottom\n");
    shell("rm -rf deep farm", disk.root(), &[]);
    assert_eq!(fs::metadata(disk.path("one")).expect("stat").nlink(), 1);
}

#[test]
fn a_sparse_file_of_a_tebibyte_costs_what_is_in_it() {
    let mut disk = Disk::new();
    const TIB: u64 = 1 << 40;
    let file = File::create(disk.path("sparse")).expect("create");
    file.set_len(TIB).expect("truncate");
    let places = [0, 4096, TIB / 3, TIB / 2 + 1, TIB - 5];
    for at in places {
        file.write_at(b"here!", at).expect("write");
    }
    drop(file);
    disk.begin_again();
    let file = File::open(disk.path("sparse")).expect("open");
    let meta = file.metadata().expect("stat");
    assert_eq!(meta.len(), TIB);
    assert!(meta.blocks() * 512 < 1 << 20, "{} blocks", meta.blocks());
    for at in places {
        let mut bytes = [0; 5];
        file.read_exact_at(&mut bytes, at).expect("read");
        assert_eq!(&bytes, b"here!");
    }
    let mut hole = [1; 4096];
    file.read_exact_at(&mut hole, TIB / 3 - 8192).expect("read");
    assert_eq!(hole, [0; 4096]);
    let data = sys::seek(&file, TIB / 2 + 4096, libc::SEEK_DATA).expect("there is more");
    assert!(data as u64 <= TIB - 5 && data as u64 > TIB / 2 + 4096);
}

#[test]
fn a_file_grown_byte_by_byte() {
    let mut disk = Disk::new();
    let len = scaled(20_000, 300_000);
    let mut file = File::options()
        .append(true)
        .create(true)
        .open(disk.path("log"))
        .expect("create");
    for at in 0..len {
        file.write_all(&[((at * 31) >> 2) as u8]).expect("append");
    }
    drop(file);
    disk.begin_again();
    let bytes = fs::read(disk.path("log")).expect("read");
    let expected: Vec<u8> = (0..len).map(|at| ((at * 31) >> 2) as u8).collect();
    assert!(bytes == expected, "{} of {len} bytes", bytes.len());
}

#[test]
fn a_storm_of_renames() {
    let mut disk = Disk::new();
    let rounds = scaled(3_000, 100_000);
    let names = 40;
    for at in 0..names {
        fs::create_dir_all(disk.path(&format!("d{}", at % 4))).expect("mkdir");
        fs::write(
            disk.path(&format!("d{}/f{at}", at % 4)),
            format!("file {at}"),
        )
        .expect("write");
    }
    // Where each file is; a rename over another one removes that.
    let mut places: Vec<Option<String>> = (0..names)
        .map(|at| Some(format!("d{}/f{at}", at % 4)))
        .collect();
    let mut state = 88_172_645_463_325_252_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for _ in 0..rounds {
        let which = random(names);
        let Some(from) = places[which].clone() else {
            continue;
        };
        let to = format!("d{}/f{}", random(4), random(names * 8));
        fs::rename(disk.path(&from), disk.path(&to)).expect("rename");
        for place in &mut places {
            if place.as_deref() == Some(&to) {
                *place = None;
            }
        }
        places[which] = Some(to);
    }
    disk.begin_again();
    let expected: Vec<_> = (0..names)
        .filter_map(|at| Some((at, places[at].as_ref()?)))
        .collect();
    for (at, place) in &expected {
        let text = fs::read_to_string(disk.path(place)).expect("read");
        assert_eq!(text, format!("file {at}"));
    }
    let found = shell("find . -type f | wc -l", disk.root(), &[]);
    assert_eq!(found.trim(), expected.len().to_string());
}

#[test]
fn an_unlinked_file_lives_as_long_as_its_handle_and_no_longer() {
    let mut disk = Disk::new();
    disk.begin_again();
    let before = sys::statvfs(disk.root()).expect("statvfs");
    let path = disk.path("gone");
    fs::write(&path, vec![7; 3 << 20]).expect("write");
    disk.begin_again();
    let file = File::options()
        .read(true)
        .write(true)
        .open(&path)
        .expect("open");
    fs::remove_file(&path).expect("unlink");
    file.write_at(b"still here", 1 << 20).expect("write");
    let mut all = Vec::new();
    (&file).read_to_end(&mut all).expect("read");
    assert_eq!(&all[1 << 20..][..10], b"still here");
    assert_eq!(file.metadata().expect("stat").nlink(), 0);
    // Whoever has it open loses it with the daemon, and with it goes the last of it.
    disk.crash();
    drop(file);
    assert_eq!(fs::read_dir(disk.root()).expect("list").count(), 0);
    disk.begin_again();
    let after = sys::statvfs(disk.root()).expect("statvfs");
    assert_eq!(
        (after.f_blocks, after.f_bfree),
        (before.f_blocks, before.f_bfree)
    );
    assert_eq!(fs::read_dir(disk.root()).expect("list").count(), 0);
}

#[test]
fn what_was_written_through_a_mapping_is_flushed_while_it_is_mapped() {
    let mut disk = Disk::new();
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(disk.path("mapped"))
        .expect("made");
    file.set_len(1 << 20).expect("long");
    let mut map = sys::Map::new(&file, 1 << 20);
    map.bytes()[500_000..500_005].copy_from_slice(b"there");
    disk.flush();
    disk.lose_machine();
    let found = fs::read(disk.path("mapped")).expect("read");
    assert_eq!(&found[500_000..500_005], b"there");
    drop((map, file));
}
