//! Names on a real mount: making, finding, linking, moving, removing and listing them.
#![allow(clippy::cast_possible_truncation, reason = "tests use small numbers")]

mod support;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use support::Forget;
use support::Mounted;
use support::sys;
use support::sys::code;

fn names(dir: &Path) -> BTreeSet<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("listed").file_name();
    fs::read_dir(dir)
        .expect("a directory")
        .map(name)
        .map(|name| name.to_string_lossy().into_owned())
        .collect()
}

fn nlink(path: &Path) -> u64 {
    fs::symlink_metadata(path).expect("there").nlink()
}

#[test]
fn a_file_comes_back_over_remounts() {
    let mut mounted = Mounted::new();
    fs::create_dir(mounted.path("dir")).expect("mkdir");
    fs::write(mounted.path("dir/file"), b"content").expect("write");
    mounted.remount(Forget::Nothing);
    assert_eq!(
        fs::read(mounted.path("dir/file")).expect("read"),
        b"content"
    );
    mounted.flush();
    mounted.remount(Forget::Everything);
    assert_eq!(
        fs::read(mounted.path("dir/file")).expect("read"),
        b"content"
    );
    assert_eq!(names(mounted.root()), BTreeSet::from(["dir".into()]));
}

#[test]
fn directories_count_their_children() {
    let mounted = Mounted::new();
    let (dir, root) = (mounted.path("dir"), mounted.root().to_owned());
    assert_eq!(nlink(&root), 2);
    fs::create_dir(&dir).expect("mkdir");
    assert_eq!((nlink(&root), nlink(&dir)), (3, 2));
    for name in ["a", "b"] {
        fs::create_dir(dir.join(name)).expect("mkdir");
    }
    fs::write(dir.join("file"), b"").expect("create");
    assert_eq!(
        (nlink(&dir), fs::metadata(&dir).expect("stat").size()),
        (4, 3)
    );
    assert_eq!(code(fs::remove_dir(&dir)), Err(libc::ENOTEMPTY));
    assert_eq!(code(fs::create_dir(&dir)), Err(libc::EEXIST));
    assert_eq!(code(fs::remove_file(dir.join("a"))), Err(libc::EISDIR));
    assert_eq!(code(fs::remove_dir(dir.join("file"))), Err(libc::ENOTDIR));
    assert_eq!(code(fs::remove_dir(dir.join("none"))), Err(libc::ENOENT));
    let before = fs::metadata(&dir).expect("stat");
    fs::remove_dir(dir.join("a")).expect("rmdir");
    fs::remove_dir(dir.join("b")).expect("rmdir");
    fs::remove_file(dir.join("file")).expect("unlink");
    let after = fs::metadata(&dir).expect("stat");
    assert_eq!((after.nlink(), after.size()), (2, 0));
    let changed = |meta: &fs::Metadata| (meta.mtime(), meta.mtime_nsec());
    assert!(changed(&after) > changed(&before));
    fs::remove_dir(&dir).expect("rmdir");
    assert_eq!(nlink(&root), 2);
}

#[test]
fn names_may_be_any_bytes_up_to_255() {
    let mut mounted = Mounted::new();
    let long = "n".repeat(255);
    fs::write(mounted.path(&long), b"long").expect("255 bytes are a name");
    let over = mounted.path(&"n".repeat(256));
    assert_eq!(code(fs::write(&over, b"")), Err(libc::ENAMETOOLONG));
    assert_eq!(code(fs::metadata(&over)).err(), Some(libc::ENAMETOOLONG));
    assert_eq!(code(fs::create_dir(&over)), Err(libc::ENAMETOOLONG));
    let odd = mounted
        .root()
        .join(OsStr::from_bytes(b"\xff\xfe \n\x01\\*?"));
    fs::write(&odd, b"odd").expect("any byte is part of a name");
    mounted.remount(Forget::Nothing);
    assert_eq!(fs::read(&odd).expect("read"), b"odd");
    let listed: Vec<_> = fs::read_dir(mounted.root())
        .expect("list")
        .map(|entry| entry.expect("entry").file_name())
        .collect();
    assert!(listed.contains(&odd.file_name().expect("a name").to_owned()));
    assert!(listed.contains(&OsStr::new(&long).to_owned()));
}

#[test]
fn hard_links_share_an_inode() {
    let mounted = Mounted::new();
    let (one, two) = (mounted.path("one"), mounted.path("two"));
    fs::write(&one, b"first").expect("write");
    fs::hard_link(&one, &two).expect("link");
    assert_eq!((nlink(&one), nlink(&two)), (2, 2));
    fs::OpenOptions::new()
        .append(true)
        .open(&two)
        .expect("open")
        .write_all(b" second")
        .expect("write");
    assert_eq!(fs::read(&one).expect("read"), b"first second");
    assert_eq!(code(fs::hard_link(&one, &two)), Err(libc::EEXIST));
    fs::create_dir(mounted.path("dir")).expect("mkdir");
    assert_eq!(
        code(fs::hard_link(mounted.path("dir"), mounted.path("no"))),
        Err(libc::EPERM)
    );
    assert_eq!(
        code(fs::hard_link(mounted.path("none"), mounted.path("no"))),
        Err(libc::ENOENT)
    );
    fs::remove_file(&one).expect("unlink");
    assert_eq!(nlink(&two), 1);
    assert_eq!(fs::read(&two).expect("read"), b"first second");
    // Renaming one name of a file over another does nothing.
    fs::hard_link(&two, &one).expect("link");
    fs::rename(&one, &two).expect("rename");
    assert_eq!(nlink(&one), 2);
}

#[test]
fn symbolic_links_keep_any_target() {
    let mut mounted = Mounted::new();
    for len in [1, 768, 769, 1536, 4095] {
        let (path, target) = (mounted.path(&format!("link{len}")), "t".repeat(len));
        symlink(&target, &path).expect("symlink");
        let meta = fs::symlink_metadata(&path).expect("stat");
        assert_eq!((meta.size(), meta.mode() & 0o7777), (len as u64, 0o777));
    }
    mounted.remount(Forget::Nothing);
    for len in [1, 768, 769, 1536, 4095] {
        let target = fs::read_link(mounted.path(&format!("link{len}"))).expect("readlink");
        assert_eq!(target.as_os_str().len(), len);
    }
    fs::write(mounted.path("file"), b"behind").expect("write");
    symlink("file", mounted.path("good")).expect("symlink");
    assert_eq!(fs::read(mounted.path("good")).expect("follows"), b"behind");
    symlink("loop", mounted.path("loop")).expect("symlink");
    assert_eq!(code(fs::read(mounted.path("loop"))), Err(libc::ELOOP));
    assert_eq!(code(fs::read_link(mounted.path("file"))), Err(libc::EINVAL));
    fs::remove_file(mounted.path("good")).expect("unlink");
    assert!(mounted.path("file").exists());
}

#[test]
fn special_files_keep_their_kind_and_number() {
    let mut mounted = Mounted::new();
    let device = libc::makedev(1, 3);
    for (name, mode, number) in [
        ("fifo", libc::S_IFIFO, 0),
        ("socket", libc::S_IFSOCK, 0),
        ("char", libc::S_IFCHR, device),
        ("block", libc::S_IFBLK, libc::makedev(259, 70_000)),
        ("plain", libc::S_IFREG, 0),
    ] {
        sys::mknod(mounted.path(name), mode | 0o640, number).expect(name);
    }
    mounted.remount(Forget::Nothing);
    let meta = |name: &str| fs::symlink_metadata(mounted.path(name)).expect(name);
    assert!(meta("fifo").file_type().is_fifo() && meta("socket").file_type().is_socket());
    assert!(
        meta("char").file_type().is_char_device() && meta("block").file_type().is_block_device()
    );
    assert!(meta("plain").is_file());
    assert_eq!(
        (meta("char").rdev(), meta("block").rdev()),
        (device, libc::makedev(259, 70_000))
    );
    // /dev/null by another name works, since the mount allows devices.
    fs::write(mounted.path("char"), b"gone").expect("a device is not a file of the drive");
    let fifo = mounted.path("fifo");
    let reader = std::thread::spawn(move || fs::read(fifo).expect("the pipe's other end"));
    fs::write(mounted.path("fifo"), b"through").expect("write");
    assert_eq!(reader.join().expect("no panic"), b"through");
}

/// Makes one of the things a rename can meet.
fn make(path: &Path, what: &str) {
    match what {
        "none" => {}
        "file" => fs::write(path, what).expect("write"),
        "link" => symlink("nowhere", path).expect("symlink"),
        "empty" => fs::create_dir(path).expect("mkdir"),
        "full" => {
            fs::create_dir(path).expect("mkdir");
            fs::write(path.join("inner"), b"").expect("write");
        }
        _ => unreachable!("{what}"),
    }
}

#[test]
fn rename_meets_everything_there_can_be() {
    let mounted = Mounted::new();
    let things = ["none", "file", "link", "empty", "full"];
    let is_dir = |what| matches!(what, "empty" | "full");
    for (number, (from, to, flags)) in things
        .iter()
        .flat_map(|from| things.iter().map(move |to| (*from, *to)))
        .flat_map(|(from, to)| {
            [0, libc::RENAME_NOREPLACE, libc::RENAME_EXCHANGE].map(|flags| (from, to, flags))
        })
        .enumerate()
    {
        // Half of them within one directory, half from the root to a deeper one.
        let home = mounted.path(&format!("home{number}"));
        fs::create_dir(&home).expect("mkdir");
        let source = if number % 2 == 0 {
            home.join("source")
        } else {
            mounted.path(&format!("source{number}"))
        };
        let target = home.join("target");
        make(&source, from);
        make(&target, to);
        let wanted = match (from, to, flags) {
            ("none", _, _) => Err(libc::ENOENT),
            (_, "none", libc::RENAME_EXCHANGE) => Err(libc::ENOENT),
            (_, _, libc::RENAME_EXCHANGE) => Ok(0),
            (_, "none", _) => Ok(0),
            (_, _, libc::RENAME_NOREPLACE) => Err(libc::EEXIST),
            (from, to, _) if is_dir(from) && !is_dir(to) => Err(libc::ENOTDIR),
            (from, to, _) if !is_dir(from) && is_dir(to) => Err(libc::EISDIR),
            (_, "full", _) => Err(libc::ENOTEMPTY),
            _ => Ok(0),
        };
        let before = (
            fs::symlink_metadata(&source).map(|meta| meta.ino()).ok(),
            fs::symlink_metadata(&target).map(|meta| meta.ino()).ok(),
        );
        assert_eq!(
            sys::rename2(&source, &target, flags),
            wanted,
            "{from} to {to}, flags {flags}"
        );
        let after = (
            fs::symlink_metadata(&source).map(|meta| meta.ino()).ok(),
            fs::symlink_metadata(&target).map(|meta| meta.ino()).ok(),
        );
        match (wanted, flags) {
            (Err(_), _) => assert_eq!(after, before),
            (Ok(_), libc::RENAME_EXCHANGE) => assert_eq!(after, (before.1, before.0)),
            (Ok(_), _) => assert_eq!(after, (None, before.0)),
        }
        let subdirs = names(&home)
            .iter()
            .filter(|name| home.join(name).is_dir())
            .count();
        assert_eq!(
            nlink(&home),
            2 + subdirs as u64,
            "{from} to {to}, flags {flags}"
        );
        assert_eq!(
            fs::metadata(&home).expect("stat").size(),
            names(&home).len() as u64
        );
    }
}

#[test]
fn a_rename_can_leave_a_whiteout() {
    let mut mounted = Mounted::new();
    for name in ["dir/a", "dir/b", "other/c"] {
        fs::create_dir_all(mounted.path(name).parent().expect("a directory")).expect("mkdir");
        fs::write(mounted.path(name), name).expect("write");
    }
    let with = |mounted: &Mounted, from: &str, to: &str, flags| {
        sys::rename2(
            mounted.path(from),
            mounted.path(to),
            flags | libc::RENAME_WHITEOUT,
        )
    };
    assert_eq!(
        with(&mounted, "dir/a", "dir/b", libc::RENAME_NOREPLACE),
        Err(libc::EEXIST)
    );
    assert_eq!(with(&mounted, "dir/a", "dir/b", 0), Ok(0));
    assert_eq!(
        with(&mounted, "dir/b", "other/b", libc::RENAME_NOREPLACE),
        Ok(0)
    );
    mounted.flush();
    mounted.remount(Forget::Everything);
    assert_eq!(fs::read(mounted.path("other/b")).expect("read"), b"dir/a");
    for name in ["dir/a", "dir/b"] {
        let meta = fs::symlink_metadata(mounted.path(name)).expect("stat");
        assert!(meta.file_type().is_char_device(), "{name}");
        assert_eq!((meta.rdev(), meta.mode() & 0o7777), (0, 0), "{name}");
    }
    assert_eq!(names(&mounted.path("dir")).len(), 2);
}

#[test]
fn rename_knows_what_makes_no_sense() {
    let mounted = Mounted::new();
    fs::create_dir_all(mounted.path("a/b/c")).expect("mkdir");
    assert_eq!(
        code(fs::rename(mounted.path("a"), mounted.path("a/b/c/d"))),
        Err(libc::EINVAL)
    );
    assert_eq!(
        code(fs::rename(mounted.path("a"), mounted.path("a"))),
        Ok(())
    );
    for with in [libc::RENAME_NOREPLACE, libc::RENAME_WHITEOUT] {
        let both = libc::RENAME_EXCHANGE | with;
        assert_eq!(
            sys::rename2(mounted.path("a"), mounted.path("x"), both),
            Err(libc::EINVAL)
        );
    }
    let other = tempfile::tempdir().expect("elsewhere");
    assert_eq!(
        code(fs::rename(mounted.path("a"), other.path().join("a"))),
        Err(libc::EXDEV)
    );
    // `..` follows a moved directory.
    fs::create_dir(mounted.path("z")).expect("mkdir");
    fs::rename(mounted.path("a/b"), mounted.path("z/b")).expect("rename");
    let (parent, z) = (
        fs::metadata(mounted.path("z/b/..")),
        fs::metadata(mounted.path("z")),
    );
    assert_eq!(parent.expect("stat").ino(), z.expect("stat").ino());
    assert_eq!(
        (nlink(&mounted.path("a")), nlink(&mounted.path("z"))),
        (2, 3)
    );
}

#[test]
fn rename_replaces_a_file_as_one_step() {
    let mounted = Mounted::new();
    let (path, new) = (mounted.path("path"), mounted.path("new"));
    fs::write(&path, b"old").expect("write");
    let mut old = fs::File::open(&path).expect("open");
    fs::write(&new, b"new").expect("write");
    fs::rename(&new, &path).expect("rename");
    assert_eq!(fs::read(&path).expect("read"), b"new");
    let mut content = String::new();
    old.read_to_string(&mut content)
        .expect("the open file is still there");
    assert_eq!(
        (content.as_str(), old.metadata().expect("stat").nlink()),
        ("old", 0)
    );
}

/// The kernel may look up what was replaced a moment ago by its number.
#[test]
fn a_name_that_is_replaced_all_the_time_can_always_be_opened() {
    let mounted = Mounted::new();
    let (path, next) = (mounted.path("conf"), mounted.path("next"));
    fs::write(&path, b"content").expect("write");
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let read = || {
            while !is_over.load(Ordering::Relaxed) {
                let mut file = sys::open(&path, libc::O_RDWR, 0)?;
                let mut content = Vec::new();
                code(file.read_to_end(&mut content))?;
                assert_eq!(content, b"content");
            }
            Ok(())
        };
        let readers: Vec<_> = (0..3).map(|_| scope.spawn(read)).collect();
        for _ in 0..6000 {
            fs::write(&next, b"content").expect("write");
            fs::rename(&next, &path).expect("rename");
        }
        is_over.store(true, Ordering::Relaxed);
        for reader in readers {
            assert_eq!(reader.join().expect("no panic"), Ok::<_, i32>(()));
        }
    });
}

#[test]
fn a_name_that_is_replaced_while_it_is_listed_is_listed_once() {
    const FILES: usize = 3000;
    let mounted = Mounted::new();
    let (dir, other) = (mounted.path("dir"), mounted.path("other"));
    fs::create_dir(&dir).expect("mkdir");
    fs::create_dir(&other).expect("mkdir");
    fs::write(dir.join("conf"), b"old").expect("write");
    for number in 0..FILES {
        fs::write(dir.join(format!("file{number}")), b"").expect("write");
    }
    for from in [&dir, &other] {
        fs::write(from.join("next"), b"new").expect("write");
        let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("listed").file_name();
        let mut listing = fs::read_dir(&dir).expect("a directory").map(name);
        let mut names: Vec<_> = listing.by_ref().take(50).collect();
        fs::rename(from.join("next"), dir.join("conf")).expect("rename");
        names.extend(listing);
        names.retain(|name| name != "next");
        let confs = names.iter().filter(|name| *name == "conf").count();
        assert_eq!((confs, names.len()), (1, FILES + 1));
    }
}

#[test]
fn top_level_directories_are_archives() {
    let mounted = Mounted::new();
    let label = |name: &str| {
        let value = sys::get_xattr(mounted.path(name), "user.ods.archive").expect(name);
        String::from_utf8(value).expect("text")
    };
    fs::create_dir_all(mounted.path("one/deep")).expect("mkdir");
    fs::create_dir(mounted.path("two")).expect("mkdir");
    fs::write(mounted.path("one/deep/file"), b"").expect("write");
    fs::write(mounted.path("loose"), b"").expect("write");
    let (one, two, loose) = (label("one"), label("two"), label("loose"));
    assert_eq!(label("one/deep/file"), one);
    assert!(one != two && one != loose && two != loose);
    fs::rename(mounted.path("one"), mounted.path("uno")).expect("rename");
    assert_eq!(label("uno/deep"), one);
    fs::rename(mounted.path("uno/deep/file"), mounted.path("two/file")).expect("rename");
    assert_eq!(label("two/file"), two);
    fs::rename(mounted.path("uno/deep"), mounted.path("deep")).expect("rename");
    assert!(![&one, &two, &loose].contains(&&label("deep")));
    fs::rename(mounted.path("two"), mounted.path("uno/two")).expect("rename");
    assert_eq!(label("uno/two"), one);
}

#[test]
fn a_listing_holds_still_while_entries_come_and_go() {
    let mounted = Mounted::new();
    let dir = mounted.path("dir");
    fs::create_dir(&dir).expect("mkdir");
    let name = |number: u32| format!("entry-{number:05}");
    for number in 0..3000 {
        fs::write(dir.join(name(number)), b"").expect("create");
    }
    let mut listing = fs::read_dir(&dir).expect("opendir");
    let mut seen = BTreeSet::new();
    for _ in 0..700 {
        seen.insert(
            listing
                .next()
                .expect("more")
                .expect("entry")
                .file_name()
                .into_string()
                .expect("text"),
        );
    }
    // Remove what was seen and half of the rest, rename some of the rest, add others.
    for entry in &seen {
        fs::remove_file(dir.join(entry)).expect("unlink");
    }
    let rest: Vec<u32> = (0..3000)
        .filter(|number| !seen.contains(&name(*number)))
        .collect();
    for number in rest.iter().filter(|number| *number % 2 == 0) {
        fs::remove_file(dir.join(name(*number))).expect("unlink");
    }
    for number in 0..100 {
        fs::write(dir.join(format!("new-{number}")), b"").expect("create");
    }
    let mut later = Vec::new();
    for entry in listing {
        later.push(
            entry
                .expect("entry")
                .file_name()
                .into_string()
                .expect("text"),
        );
    }
    let unique: BTreeSet<&String> = later.iter().collect();
    assert_eq!(unique.len(), later.len(), "an entry was listed twice");
    for number in rest.iter().filter(|number| *number % 2 == 1) {
        assert!(
            unique.contains(&name(*number)),
            "{} was skipped",
            name(*number)
        );
    }
    assert_eq!(
        names(&dir).len(),
        rest.iter().filter(|number| *number % 2 == 1).count() + 100
    );
}

#[test]
fn renaming_what_is_listed_ends() {
    let mounted = Mounted::new();
    for number in 0..2000 {
        fs::write(mounted.path(&format!("old-{number}")), b"").expect("create");
    }
    let mut renamed = 0;
    for entry in fs::read_dir(mounted.root()).expect("opendir") {
        let path = entry.expect("entry").path();
        fs::rename(&path, path.with_extension("x")).expect("rename");
        renamed += 1;
    }
    assert_eq!(renamed, 2000);
}

#[test]
fn twenty_thousand_entries() {
    let mut mounted = Mounted::draining();
    let dir = mounted.path("many");
    fs::create_dir(&dir).expect("mkdir");
    for number in 0..20_000 {
        fs::File::create(dir.join(number.to_string())).expect("create");
    }
    assert_eq!(names(&dir).len(), 20_000);
    mounted.remount(Forget::Nothing);
    let listed = fs::read_dir(&dir)
        .expect("opendir")
        .map(|entry| entry.expect("entry"));
    let files = listed
        .filter(|entry| entry.metadata().expect("stat").is_file())
        .count();
    assert_eq!(files, 20_000);
    assert_eq!(fs::metadata(&dir).expect("stat").size(), 20_000);
    fs::remove_dir_all(&dir).expect("rm -r");
    assert_eq!(names(mounted.root()).len(), 0);
}

#[test]
fn a_removed_working_directory_is_empty() {
    let mounted = Mounted::new();
    let path = mounted.path("dir");
    fs::create_dir(&path).expect("mkdir");
    let dir = sys::open(&path, libc::O_DIRECTORY | libc::O_RDONLY, 0).expect("open");
    fs::remove_dir(&path).expect("rmdir");
    assert_eq!(dir.metadata().expect("stat").nlink(), 0);
    let inside = Path::new("/proc/self/fd")
        .join(std::os::fd::AsRawFd::as_raw_fd(&dir).to_string())
        .join("new");
    assert_eq!(code(fs::write(inside, b"")), Err(libc::ENOENT));
}

#[test]
fn creating_twice_is_told_apart() {
    let mounted = Mounted::new();
    let path = mounted.path("file");
    let exclusive = libc::O_CREAT | libc::O_EXCL | libc::O_WRONLY;
    sys::open(&path, exclusive, 0o600).expect("made");
    assert_eq!(
        sys::open(&path, exclusive, 0o600).map(|_| ()),
        Err(libc::EEXIST)
    );
    sys::open(&path, libc::O_CREAT | libc::O_WRONLY, 0o600).expect("opened");
    assert_eq!(
        sys::open(mounted.path("none"), libc::O_RDONLY, 0).map(|_| ()),
        Err(libc::ENOENT)
    );
    assert_eq!(
        sys::open(path.join("below"), libc::O_RDONLY, 0).map(|_| ()),
        Err(libc::ENOTDIR)
    );
    assert_eq!(
        sys::open(mounted.root(), libc::O_WRONLY, 0).map(|_| ()),
        Err(libc::EISDIR)
    );
}
