//! Trees copied in and out by the programs people use for that.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::Disk;
use crate::assert_alike;
use crate::scaled;
use crate::shell;
use crate::sum;
use crate::sys;

/// A tree with everything in it that a copy can lose.
fn make_tree(root: &Path) {
    let files = scaled(300, 20_000);
    for at in 0..files {
        let dir = root.join(format!("dir{}/sub{}", at % 17, at % 5));
        fs::create_dir_all(&dir).expect("mkdir");
        let len = at * 7919 % 30_000;
        let bytes: Vec<u8> = (0..len).map(|byte| ((byte * at) >> 3) as u8).collect();
        fs::write(dir.join(format!("file{at}")), bytes).expect("write");
    }
    fs::hard_link(root.join("dir0/sub0/file0"), root.join("dir1/hard")).expect("link");
    symlink("../dir0/sub0/file0", root.join("dir1/soft")).expect("symlink");
    symlink("nowhere", root.join("dangling")).expect("symlink");
    sys::mknod(root.join("fifo"), libc::S_IFIFO | 0o640, 0).expect("mknod");
    sys::mknod(
        root.join("null"),
        libc::S_IFCHR | 0o666,
        libc::makedev(1, 3),
    )
    .expect("mknod");
    sys::mknod(
        root.join("disk"),
        libc::S_IFBLK | 0o660,
        libc::makedev(7, 200),
    )
    .expect("mknod");
    drop(std::os::unix::net::UnixListener::bind(root.join("socket")).expect("bind"));
    for name in [&b"not \xff\xfe UTF-8"[..], b"two\nlines", &[b'n'; 255]] {
        fs::write(root.join(OsStr::from_bytes(name)), name).expect("write");
    }
    fs::write(root.join("program"), "#!/bin/sh").expect("write");
    sys::chmod(root.join("program"), 0o6755).expect("chmod");
    // Capabilities of a file, version 2: cap_net_raw, permitted and effective.
    let capability = [
        1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    fs::write(root.join("capable"), "#!/bin/sh").expect("write");
    sys::set_xattr(root.join("capable"), "security.capability", &capability, 0).expect("xattr");
    sys::set_xattr(root.join("capable"), "trusted.kept", b"for root", 0).expect("xattr");
    let sparse = fs::File::create(root.join("sparse")).expect("create");
    sparse.set_len(64 << 20).expect("sparse");
    std::os::unix::fs::FileExt::write_at(&sparse, b"in the middle", 40 << 20).expect("write");
    sys::set_xattr(root.join("sparse"), "user.kept", b"value", 0).expect("xattr");
    sys::set_xattr(root.join("dir1"), "user.on a directory", &[7; 900], 0).expect("xattr");
    sys::chown(root.join("dir1/soft"), 12, 34).expect("chown");
    sys::chown(root.join("dir0/sub0/file0"), 1234, 5678).expect("chown");
    sys::chmod(root.join("dir2"), 0o2771).expect("chmod");
    sys::utimens(
        root.join("dangling"),
        [(1, 5), (86_400, 999_999_999)],
        libc::AT_SYMLINK_NOFOLLOW,
    )
    .expect("utimens");
    shell(
        "setfacl -m u:1234:rw-,g:33:r--,m::rw- dir0/sub0/file0; setfacl -d -m u:7:r-x dir2",
        root,
        &[],
    );
}

const DIFFERENCES: &str =
    r#"rsync -aHAXS --modify-window=-1 --numeric-ids --checksum --delete -ni "$1/" "$2/""#;

#[test]
fn rsync_both_ways_loses_nothing() {
    let plain = tempfile::tempdir().expect("a directory");
    let (from, back) = (plain.path().join("from"), plain.path().join("back"));
    fs::create_dir_all(&from).expect("mkdir");
    make_tree(&from);
    let mut disk = Disk::new();
    let there = disk.path("copy");
    shell(
        r#"rsync -aHAXS --modify-window=-1 --numeric-ids "$1/" "$2/""#,
        plain.path(),
        &[&from, &there],
    );
    assert_eq!(shell(DIFFERENCES, plain.path(), &[&from, &there]), "");
    disk.begin_again();
    assert_eq!(shell(DIFFERENCES, plain.path(), &[&from, &there]), "");
    shell(
        r#"rsync -aHAXS --modify-window=-1 --numeric-ids "$1/" "$2/""#,
        plain.path(),
        &[&there, &back],
    );
    assert_eq!(shell(DIFFERENCES, plain.path(), &[&from, &back]), "");
    assert_alike(&sum(&from), &sum(&back));
    assert_sparse(&there);
    assert_sparse(&back);
}

/// The holes of the tree's sparse file are holes there, too.
#[track_caller]
fn assert_sparse(root: &Path) {
    let blocks = fs::metadata(root.join("sparse")).expect("stat").blocks();
    assert!(blocks * 512 < 1 << 20, "{blocks} blocks");
}

#[test]
fn a_tar_goes_in_and_comes_out_the_same() {
    let plain = tempfile::tempdir().expect("a directory");
    let from = plain.path().join("from");
    fs::create_dir_all(&from).expect("mkdir");
    make_tree(&from);
    // tar leaves sockets out.
    fs::remove_file(from.join("socket")).expect("removed");
    let mut disk = Disk::new();
    let tar = disk.path("all.tar");
    let pack =
        r#"tar --xattrs --xattrs-include='*' --acls --sparse --numeric-owner -C "$1" -cf "$2" ."#;
    let unpack = r#"mkdir -p "$2"; tar --xattrs --xattrs-include='*' --acls --sparse --numeric-owner -C "$2" -xpf "$1""#;
    shell(pack, plain.path(), &[&from, &tar]);
    let inside = disk.path("unpacked");
    shell(unpack, plain.path(), &[&tar, &inside]);
    disk.begin_again();
    assert_eq!(shell(DIFFERENCES, plain.path(), &[&from, &inside]), "");
    let (again, outside) = (disk.path("again.tar"), plain.path().join("outside"));
    shell(pack, plain.path(), &[&inside, &again]);
    shell(unpack, plain.path(), &[&again, &outside]);
    assert_eq!(shell(DIFFERENCES, plain.path(), &[&from, &outside]), "");
    assert_alike(&sum(&from), &sum(&outside));
    assert_sparse(&inside);
    assert_sparse(&outside);
}
