//! Attributes on a real mount: modes, owners, times, extended attributes, ACLs, room.
#![allow(clippy::cast_possible_truncation, reason = "tests use small numbers")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use ods::fs::Atime;
use ods::fs::Options;
use support::Drain;
use support::Forget;
use support::Mounted;
use support::sys;
use support::sys::as_user;

const USER: u32 = 4321;
const GROUP: u32 = 8765;
const KEEP: u32 = u32::MAX;

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("there").mode() & 0o7777
}

fn owner(path: &Path) -> (u32, u32) {
    let meta = fs::symlink_metadata(path).expect("there");
    (meta.uid(), meta.gid())
}

/// A file of somebody who is not root, with this mode.
fn file(mounted: &Mounted, name: &str, bits: u32) -> std::path::PathBuf {
    let path = mounted.path(name);
    fs::write(&path, b"content").expect("write");
    sys::chown(&path, USER, GROUP).expect("chown");
    sys::chmod(&path, bits).expect("chmod");
    path
}

#[test]
fn modes_and_owners_stay() {
    let mut mounted = Mounted::new();
    let path = file(&mounted, "file", 0o6751);
    fs::create_dir(mounted.path("dir")).expect("mkdir");
    sys::chmod(mounted.path("dir"), 0o3777).expect("chmod");
    mounted.remount(Forget::Nothing);
    assert_eq!((mode(&path), owner(&path)), (0o6751, (USER, GROUP)));
    assert_eq!(mode(&mounted.path("dir")), 0o3777);
    sys::chown(&path, KEEP, 7).expect("chown");
    assert_eq!(owner(&path), (USER, 7));
}

#[test]
fn only_owners_change_modes() {
    let mounted = Mounted::new();
    let path = file(&mounted, "file", 0o644);
    let c_path = path.clone();
    assert_eq!(
        as_user(USER + 1, GROUP, || sys::chmod(&c_path, 0o777)),
        Err(libc::EPERM)
    );
    assert_eq!(as_user(USER, GROUP, || sys::chmod(&c_path, 0o600)), Ok(()));
    assert_eq!(
        as_user(USER, GROUP, || sys::chown(&c_path, 0, KEEP)),
        Err(libc::EPERM)
    );
    let open = |path: &Path| sys::open(path, libc::O_RDONLY, 0).map(|_| 0);
    assert_eq!(as_user(USER + 1, GROUP, || open(&path)), Err(libc::EACCES));
    // A sticky directory protects what is in it.
    fs::create_dir(mounted.path("tmp")).expect("mkdir");
    sys::chmod(mounted.path("tmp"), 0o1777).expect("chmod");
    let inside = file(&mounted, "tmp/file", 0o666);
    let unlink = || {
        fs::remove_file(&inside)
            .map(|()| 0)
            .map_err(|error| error.raw_os_error().unwrap_or(-1))
    };
    assert_eq!(as_user(USER + 1, GROUP, unlink), Err(libc::EPERM));
    assert_eq!(as_user(USER, GROUP, unlink), Ok(()));
}

#[test]
fn changing_a_program_takes_its_privileges() {
    let mounted = Mounted::new();
    let write = |path: &Path| {
        let mut file = sys::open(path, libc::O_WRONLY, 0)?;
        sys::code(file.write(b"x")).map(|_| 0)
    };
    let path = file(&mounted, "written", 0o6777);
    assert_eq!(as_user(USER + 1, GROUP, || write(&path)), Ok(()));
    assert_eq!(mode(&path), 0o777);
    let path = file(&mounted, "written by root", 0o6777);
    write(&path).expect("write");
    assert_eq!(mode(&path), 0o6777);
    let path = file(&mounted, "truncated", 0o6777);
    assert_eq!(as_user(USER + 1, GROUP, || sys::truncate(&path, 3)), Ok(()));
    assert_eq!(mode(&path), 0o777);
    let path = file(&mounted, "opened", 0o6777);
    let truncate = || sys::open(&path, libc::O_WRONLY | libc::O_TRUNC, 0).map(|_| 0);
    assert_eq!(as_user(USER + 1, GROUP, truncate), Ok(()));
    assert_eq!(
        (mode(&path), fs::metadata(&path).expect("stat").len()),
        (0o777, 0)
    );
    let path = file(&mounted, "given away", 0o6777);
    sys::chown(&path, 1, 1).expect("chown");
    assert_eq!(mode(&path), 0o777);
    // A set-group-id bit without execution means something else, and stays.
    let path = file(&mounted, "locked", 0o2767);
    sys::chown(&path, KEEP, 1).expect("chown");
    assert_eq!(mode(&path), 0o2767);
    // Capabilities go with any change, even by root.
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let path = file(&mounted, "capable", 0o755);
    sys::set_xattr(&path, "security.capability", &capability, 0).expect("set");
    write(&path).expect("write");
    assert_eq!(
        sys::get_xattr(&path, "security.capability"),
        Err(libc::ENODATA)
    );
}

#[test]
fn a_set_group_id_directory_hands_its_group_down() {
    let mounted = Mounted::new();
    let dir = mounted.path("shared");
    fs::create_dir(&dir).expect("mkdir");
    sys::chown(&dir, KEEP, GROUP).expect("chown");
    sys::chmod(&dir, 0o2777).expect("chmod");
    fs::write(dir.join("file"), b"").expect("write");
    fs::create_dir(dir.join("dir")).expect("mkdir");
    assert_eq!(owner(&dir.join("file")), (0, GROUP));
    assert_eq!(owner(&dir.join("dir")), (0, GROUP));
    assert_eq!(
        (
            mode(&dir.join("dir")) & 0o2000,
            mode(&dir.join("file")) & 0o2000
        ),
        (0o2000, 0)
    );
}

#[test]
fn times_are_set_to_the_nanosecond() {
    let mut mounted = Mounted::new();
    let path = file(&mounted, "file", 0o644);
    let link = mounted.path("link");
    std::os::unix::fs::symlink("file", &link).expect("symlink");
    let born = fs::metadata(&path).expect("stat");
    sys::utimens(&path, [(1, 2), (3_000_000_000, 999_999_999)], 0).expect("set");
    sys::utimens(&link, [(5, 6), (7, 8)], libc::AT_SYMLINK_NOFOLLOW).expect("set");
    mounted.remount(Forget::Nothing);
    let times = |path: &Path| {
        let meta = fs::symlink_metadata(path).expect("stat");
        [
            (meta.atime(), meta.atime_nsec()),
            (meta.mtime(), meta.mtime_nsec()),
        ]
    };
    assert_eq!(times(&path), [(1, 2), (3_000_000_000, 999_999_999)]);
    assert_eq!(times(&link), [(5, 6), (7, 8)]);
    let meta = fs::metadata(&path).expect("stat");
    assert!((meta.ctime(), meta.ctime_nsec()) > (born.ctime(), born.ctime_nsec()));
    sys::utimens(&path, [(0, libc::UTIME_OMIT), (-2, 800_000_000)], 0).expect("set");
    assert_eq!(times(&path), [(1, 2), (-2, 800_000_000)]);
    sys::utimens(&path, [(0, libc::UTIME_NOW), (0, libc::UTIME_OMIT)], 0).expect("set");
    let now = times(&path);
    assert!(now[0] >= (born.ctime(), 0) && now[1] == (-2, 800_000_000));
    assert_eq!(
        sys::utimens(&path, [(0, 1_000_000_000), (0, 0)], 0),
        Err(libc::EINVAL)
    );
    let touch = || sys::utimens(&path, [(9, 9), (9, 9)], 0);
    assert_eq!(as_user(USER + 1, GROUP, touch), Err(libc::EPERM));
}

#[test]
fn each_change_moves_the_right_times() {
    let mounted = Mounted::new();
    let path = file(&mounted, "file", 0o644);
    let dir = mounted.path("dir");
    fs::create_dir(&dir).expect("mkdir");
    let times = |path: &Path| {
        let meta = fs::metadata(path).expect("stat");
        (
            (meta.mtime(), meta.mtime_nsec()),
            (meta.ctime(), meta.ctime_nsec()),
        )
    };
    let moved = |path: &Path, what: &str, change: &dyn Fn()| {
        let before = times(path);
        change();
        let after = times(path);
        assert!(after.1 > before.1, "{what}: ctime");
        after.0 > before.0
    };
    assert!(moved(&path, "write", &|| fs::write(&path, b"x").expect("write")));
    assert!(moved(&path, "truncate", &|| {
        sys::truncate(&path, 9).expect("truncate");
    }));
    assert!(!moved(&path, "chmod", &|| {
        sys::chmod(&path, 0o600).expect("chmod");
    }));
    assert!(!moved(&path, "chown", &|| {
        sys::chown(&path, 3, 3).expect("chown");
    }));
    assert!(!moved(&path, "link", &|| fs::hard_link(
        &path,
        dir.join("link")
    )
    .expect("link")));
    assert!(!moved(&path, "unlink", &|| fs::remove_file(
        dir.join("link")
    )
    .expect("unlink")));
    assert!(!moved(&path, "setxattr", &|| {
        sys::set_xattr(&path, "user.a", b"", 0).expect("set");
    }));
    assert!(moved(&dir, "create", &|| fs::write(dir.join("new"), b"")
        .expect("create")));
    assert!(moved(&dir, "rename", &|| fs::rename(
        dir.join("new"),
        dir.join("other")
    )
    .expect("rename")));
    assert!(moved(&dir, "unlink", &|| fs::remove_file(
        dir.join("other")
    )
    .expect("unlink")));
    assert!(!moved(&dir, "chmod", &|| {
        sys::chmod(&dir, 0o700).expect("chmod");
    }));
}

#[test]
fn extended_attributes_of_every_size() {
    let mut mounted = Mounted::new();
    let path = file(&mounted, "file", 0o644);
    let value = |len: usize| (0..len).map(|at| (at * 7 + len) as u8).collect::<Vec<u8>>();
    let sizes = [0, 1, 767, 768, 769, 1536, 4096, 65_536];
    for size in sizes {
        sys::set_xattr(&path, &format!("user.{size}"), &value(size), 0).expect("set");
    }
    sys::set_xattr(&path, &format!("user.{}", "n".repeat(250)), b"v", 0)
        .expect("255 bytes are a name");
    mounted.remount(Forget::Nothing);
    for size in sizes {
        assert_eq!(
            sys::get_xattr(&path, &format!("user.{size}")),
            Ok(value(size)),
            "{size}"
        );
    }
    assert_eq!(sys::list_xattr(&path).expect("list").len(), sizes.len() + 1);
    // A value can shrink and grow.
    for size in [65_536, 10, 3000, 768, 0, 1537] {
        sys::set_xattr(&path, "user.0", &value(size), 0).expect("set");
        assert_eq!(sys::get_xattr(&path, "user.0"), Ok(value(size)), "{size}");
    }
    for size in sizes {
        sys::remove_xattr(&path, &format!("user.{size}")).expect("remove");
    }
    assert_eq!(sys::list_xattr(&path).expect("list").len(), 1);
    assert_eq!(sys::get_xattr(&path, "user.65536"), Err(libc::ENODATA));
}

#[test]
fn extended_attributes_say_what_is_wrong() {
    let mounted = Mounted::new();
    let path = file(&mounted, "file", 0o644);
    let set = |name: &str, flags| sys::set_xattr(&path, name, b"value", flags);
    assert_eq!(set("user.a", libc::XATTR_REPLACE), Err(libc::ENODATA));
    assert_eq!(set("user.a", libc::XATTR_CREATE), Ok(0));
    assert_eq!(set("user.a", libc::XATTR_CREATE), Err(libc::EEXIST));
    assert_eq!(set("user.a", libc::XATTR_REPLACE), Ok(0));
    let both = libc::XATTR_CREATE | libc::XATTR_REPLACE;
    assert_eq!(set("user.a", both), Err(libc::EEXIST));
    assert_eq!(set("user.none", both), Err(libc::ENODATA));
    for space in ["user.", "trusted.", "security."] {
        assert_eq!(set(space, 0), Err(libc::EINVAL));
        assert_eq!(sys::get_xattr(&path, space), Err(libc::EINVAL));
        assert_eq!(sys::remove_xattr(&path, space), Err(libc::EINVAL));
    }
    assert_eq!(set("user.ods.foo", 0), Err(libc::EPERM));
    assert_eq!(sys::remove_xattr(&path, "user.ods.foo"), Err(libc::EPERM));
    for foreign in ["other.a", "other", "system.a"] {
        assert_eq!(set(foreign, 0), Err(libc::EOPNOTSUPP));
        assert_eq!(sys::get_xattr(&path, foreign), Err(libc::EOPNOTSUPP));
    }
    assert_eq!(
        set(&format!("user.{}", "n".repeat(251)), 0),
        Err(libc::ERANGE)
    );
    assert_eq!(
        sys::set_xattr(&path, "user.b", &vec![0; 65_537], 0),
        Err(libc::E2BIG)
    );
    assert_eq!(
        sys::get_xattr_into(&path, "user.a", &mut [0; 4]),
        Err(libc::ERANGE)
    );
    assert_eq!(sys::get_xattr_into(&path, "user.a", &mut []), Ok(5));
    assert_eq!(sys::get_xattr(&path, "user.none"), Err(libc::ENODATA));
    assert_eq!(sys::remove_xattr(&path, "user.none"), Err(libc::ENODATA));
    let link = mounted.path("link");
    std::os::unix::fs::symlink("nowhere", &link).expect("symlink");
    assert_eq!(sys::set_xattr(&link, "user.a", b"", 0), Err(libc::EPERM));
    assert_eq!(sys::set_xattr(&link, "trusted.a", b"t", 0), Ok(0));
    assert_eq!(sys::get_xattr(&link, "trusted.a"), Ok(b"t".to_vec()));
    // A list must fit into 64 KiB.
    let full =
        (0..300).find_map(|number| set(&format!("user.{number:03}{}", "n".repeat(240)), 0).err());
    assert_eq!(full, Some(libc::ENOSPC));
    let listed: BTreeSet<String> = sys::list_xattr(&path)
        .expect("the list still fits")
        .into_iter()
        .collect();
    assert!(listed.len() > 255 && listed.contains("user.a"));
}

#[test]
fn the_drive_tells_about_a_file() {
    let mounted = Mounted::new();
    let path = file(&mounted, "file", 0o644);
    let state =
        || String::from_utf8(sys::get_xattr(&path, "user.ods.state").expect("told")).expect("text");
    assert_eq!(state(), "local");
    mounted.flush();
    assert_eq!(state(), "remote");
    assert_eq!(
        sys::list_xattr(&path),
        Ok(Vec::new()),
        "nobody should copy them"
    );
    assert_eq!(
        sys::set_xattr(&path, "user.ods.state", b"x", 0),
        Err(libc::EPERM)
    );
    assert_eq!(
        sys::remove_xattr(&path, "user.ods.archive"),
        Err(libc::EPERM)
    );
    assert_eq!(
        sys::get_xattr(mounted.root(), "user.ods.state"),
        Err(libc::ENODATA)
    );
}

#[test]
fn the_drive_knows_when_a_file_was_born() {
    let mut mounted = Mounted::new();
    let path = mounted.path("file");
    let meta = fs::File::create(&path).and_then(|file| file.metadata());
    let meta = meta.expect("a new file");
    let born = format!("{}.{:09}", meta.ctime(), meta.ctime_nsec());
    fs::write(&path, b"later").expect("write");
    sys::utimens(&path, [(5, 5), (5, 5)], 0).expect("utimens");
    mounted.flush();
    mounted.remount(Forget::Everything);
    let told = sys::get_xattr(&path, "user.ods.birth").expect("told");
    assert_eq!(String::from_utf8(told).expect("text"), born);
    assert_eq!(
        sys::set_xattr(&path, "user.ods.birth", b"0.0", 0),
        Err(libc::EPERM)
    );
}

/// An ACL as the kernel writes it: tag, permissions, id.
fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut value = 2_u32.to_le_bytes().to_vec();
    for (tag, perm, id) in entries {
        value.extend_from_slice(&tag.to_le_bytes());
        value.extend_from_slice(&perm.to_le_bytes());
        value.extend_from_slice(&id.to_le_bytes());
    }
    value
}

const ACCESS: &str = "system.posix_acl_access";
const DEFAULT: &str = "system.posix_acl_default";
const NONE: u32 = u32::MAX;

/// Owner `rwx`, `USER` as told, group `r-x`, mask `rwx`, others nothing.
fn acl_for_user(perm: u16) -> Vec<u8> {
    acl(&[
        (1, 7, NONE),
        (2, perm, USER),
        (4, 5, NONE),
        (16, 7, NONE),
        (32, 0, NONE),
    ])
}

#[test]
fn an_acl_lets_one_more_user_in() {
    let mut mounted = Mounted::new();
    let path = file(&mounted, "file", 0o600);
    sys::chown(&path, 0, 0).expect("chown");
    let read = |path: &Path| sys::open(path, libc::O_RDONLY, 0).map(|_| 0);
    assert_eq!(as_user(USER, USER, || read(&path)), Err(libc::EACCES));
    sys::set_xattr(&path, ACCESS, &acl_for_user(4), 0).expect("set");
    assert_eq!(mode(&path), 0o770);
    mounted.remount(Forget::Nothing);
    assert_eq!(as_user(USER, USER, || read(&path)), Ok(()));
    assert_eq!(as_user(USER + 1, USER, || read(&path)), Err(libc::EACCES));
    // The mode's group bits are the mask: chmod changes what the ACL grants.
    sys::chmod(&path, 0o700).expect("chmod");
    assert_eq!(as_user(USER, USER, || read(&path)), Err(libc::EACCES));
    let masked = acl(&[
        (1, 7, NONE),
        (2, 4, USER),
        (4, 5, NONE),
        (16, 0, NONE),
        (32, 0, NONE),
    ]);
    assert_eq!(sys::get_xattr(&path, ACCESS), Ok(masked));
    // An ACL that says no more than a mode is one.
    let minimal = acl(&[(1, 6, NONE), (4, 4, NONE), (32, 4, NONE)]);
    sys::set_xattr(&path, ACCESS, &minimal, 0).expect("set");
    assert_eq!(
        (mode(&path), sys::list_xattr(&path)),
        (0o644, Ok(Vec::new()))
    );
    assert_eq!(
        sys::set_xattr(&path, ACCESS, b"nonsense", 0),
        Err(libc::EOPNOTSUPP)
    );
}

#[test]
fn a_default_acl_is_handed_down() {
    let mounted = Mounted::new();
    let dir = mounted.path("dir");
    fs::create_dir(&dir).expect("mkdir");
    sys::set_xattr(&dir, DEFAULT, &acl_for_user(7), 0).expect("set");
    assert_eq!(
        sys::set_xattr(file(&mounted, "file", 0o644), DEFAULT, &acl_for_user(7), 0),
        Err(libc::EACCES)
    );
    drop(sys::open(dir.join("file"), libc::O_CREAT | libc::O_WRONLY, 0o666).expect("create"));
    fs::create_dir(dir.join("sub")).expect("mkdir");
    sys::mknod(dir.join("fifo"), libc::S_IFIFO | 0o640, 0).expect("mknod");
    // The umask does not count; the mask is the intersection with the wanted mode.
    let inherited = |mask| {
        acl(&[
            (1, 6, NONE),
            (2, 7, USER),
            (4, 5, NONE),
            (16, mask, NONE),
            (32, 0, NONE),
        ])
    };
    assert_eq!(mode(&dir.join("file")), 0o660);
    assert_eq!(sys::get_xattr(dir.join("file"), ACCESS), Ok(inherited(6)));
    assert_eq!(sys::get_xattr(dir.join("fifo"), ACCESS), Ok(inherited(4)));
    assert_eq!(
        sys::get_xattr(dir.join("sub"), DEFAULT),
        Ok(acl_for_user(7))
    );
    assert_eq!(sys::get_xattr(dir.join("sub"), ACCESS), Ok(acl_for_user(7)));
    assert_eq!(
        sys::get_xattr(dir.join("file"), DEFAULT),
        Err(libc::ENODATA)
    );
    let write = |path: &Path| sys::open(path, libc::O_WRONLY, 0).map(|_| 0);
    sys::chmod(&dir, 0o755).expect("chmod");
    assert_eq!(as_user(USER, USER, || write(&dir.join("file"))), Ok(()));
    assert_eq!(
        as_user(USER + 1, USER, || write(&dir.join("file"))),
        Err(libc::EACCES)
    );
    sys::remove_xattr(&dir, DEFAULT).expect("remove");
    drop(sys::open(dir.join("plain"), libc::O_CREAT | libc::O_WRONLY, 0o600).expect("create"));
    assert_eq!(
        (mode(&dir.join("plain")), sys::list_xattr(dir.join("plain"))),
        (0o600, Ok(Vec::new()))
    );
}

#[test]
fn an_acl_keeps_the_group_of_a_directory_whose_owner_has_it_besides() {
    let mounted = Mounted::new();
    let dir = mounted.path("shared");
    fs::create_dir(&dir).expect("mkdir");
    sys::chown(&dir, USER, GROUP).expect("chown");
    sys::chmod(&dir, 0o2750).expect("chmod");
    let value = acl_for_user(5);
    let set = || sys::set_xattr(&dir, ACCESS, &value, 0);
    sys::as_member(USER, USER, &[7, GROUP], set).expect("set");
    assert_eq!(mode(&dir), 0o2770);
    // One who does not belong to the group may not give its rights away.
    as_user(USER, USER, set).expect("set");
    assert_eq!(mode(&dir), 0o770);
}

#[test]
fn what_has_very_many_attributes_can_be_removed() {
    let mut mounted = Mounted::new();
    let path = file(&mounted, "file", 0o644);
    let value = vec![7; 64 << 10];
    let name = |number: u32| format!("user.{number:0>245}");
    let full = (0..200).find_map(|number| sys::set_xattr(&path, &name(number), &value, 0).err());
    assert_eq!(full, Some(libc::ENOSPC));
    // What is there can be replaced, and made shorter to make room.
    assert_eq!(sys::set_xattr(&path, &name(0), &value, 0), Ok(0));
    assert_eq!(sys::set_xattr(&path, &name(0), b"short", 0), Ok(0));
    assert_eq!(sys::set_xattr(&path, "user.another", b"short", 0), Ok(0));
    let open = sys::open(&path, libc::O_RDONLY, 0).expect("open");
    sys::unlink(&path).expect("unlink");
    drop(open);
    mounted.remount(Forget::Nothing);
    let path = file(&mounted, "file", 0o644);
    assert_eq!(sys::list_xattr(&path), Ok(Vec::new()));
    mounted.flush();
    mounted.remount(Forget::Everything);
}

#[test]
fn holes_take_no_room() {
    let mounted = Mounted::new();
    let used = || {
        let found = sys::statvfs(mounted.root()).expect("statvfs");
        (found.f_blocks - found.f_bfree) * found.f_frsize
    };
    let path = file(&mounted, "file", 0o644);
    sys::truncate(&path, 1 << 40).expect("truncate");
    mounted.flush();
    assert!(used() < 1 << 20, "{} bytes", used());
    fs::write(&path, vec![7; 3 << 20]).expect("write");
    mounted.flush();
    assert!((3 << 20..4 << 20).contains(&used()), "{} bytes", used());
}

#[test]
fn room_is_told() {
    let mounted = Mounted::new();
    let found = sys::statvfs(mounted.root()).expect("statvfs");
    assert_eq!(
        (found.f_namemax, found.f_bsize, found.f_frsize),
        (255, 4096, 4096)
    );
    assert!(
        found.f_blocks >= found.f_bfree
            && found.f_bfree >= found.f_bavail
            && found.f_bavail > 1 << 20
    );
    assert!(found.f_files > found.f_ffree && found.f_ffree > 1 << 20);
}

#[test]
fn a_mount_can_present_other_owners() {
    let present = Options {
        uid: Some(USER),
        gid: Some(GROUP),
        umask: Some(0o027),
        ..Options::default()
    };
    let mounted = Mounted::with(Drain::OnDemand, present, &support::options());
    let path = mounted.path("file");
    fs::write(&path, b"").expect("write");
    sys::chmod(&path, 0o777).expect("chmod");
    assert_eq!((owner(&path), mode(&path)), ((USER, GROUP), 0o750));
    assert_eq!(owner(mounted.root()), (USER, GROUP));
}

#[test]
fn a_read_only_mount_refuses_everything() {
    let read_only = support::options();
    let read_only = ods::fuse::MountOptions {
        read_only: true,
        ..read_only
    };
    let present = Options {
        read_only: true,
        ..Options::default()
    };
    let mounted = Mounted::with(Drain::OnDemand, present, &read_only);
    assert_eq!(
        sys::code(fs::write(mounted.path("file"), b"")),
        Err(libc::EROFS)
    );
    assert_eq!(
        sys::code(fs::create_dir(mounted.path("dir"))),
        Err(libc::EROFS)
    );
    assert_eq!(sys::chmod(mounted.root(), 0o700), Err(libc::EROFS));
}

#[test]
fn reading_moves_the_time_of_access_if_wanted() {
    for (atime, moves) in [(Atime::Never, false), (Atime::Relative, true)] {
        let present = Options {
            atime,
            ..Options::default()
        };
        let mounted = Mounted::with(Drain::OnDemand, present, &support::options());
        let path = mounted.path("file");
        fs::write(&path, b"content").expect("write");
        sys::utimens(&path, [(1, 0), (2, 0)], 0).expect("set");
        mounted.flush();
        let file = sys::open(&path, libc::O_RDONLY | libc::O_DIRECT, 0).expect("open");
        let (mut buffer, skip) = sys::aligned(4096);
        std::os::unix::fs::FileExt::read_at(&file, &mut buffer[skip..skip + 4096], 0)
            .expect("read");
        assert_eq!(fs::metadata(&path).expect("stat").atime() > 1, moves);
        let (dir, link) = (mounted.path("dir"), mounted.path("link"));
        fs::create_dir(&dir).expect("mkdir");
        std::os::unix::fs::symlink("file", &link).expect("symlink");
        let moved_by = |path: &Path, read: &dyn Fn()| {
            sys::utimens(path, [(1, 0), (2, 0)], libc::AT_SYMLINK_NOFOLLOW).expect("set");
            read();
            fs::symlink_metadata(path).expect("stat").atime() > 1
        };
        // Through the kernel's cache, by one handle over and over.
        let file = fs::File::open(&path).expect("open");
        let read = || {
            sys::forget_pages(&file).expect("forgotten");
            let read = std::os::unix::fs::FileExt::read_at(&file, &mut [0; 7], 0);
            assert_eq!(read.expect("read"), 7);
        };
        for _ in 0..3 {
            assert_eq!(moved_by(&path, &read), moves);
        }
        let list = || assert_eq!(fs::read_dir(&dir).expect("list").count(), 0);
        assert_eq!(moved_by(&dir, &list), moves);
        let follow = || assert_eq!(fs::read_link(&link).expect("readlink"), Path::new("file"));
        assert_eq!(moved_by(&link, &follow), moves);
        // Not again while it is younger than the last change.
        let atime = |path: &Path| {
            let meta = fs::metadata(path).expect("stat");
            (meta.atime(), meta.atime_nsec())
        };
        let before = atime(&path);
        read();
        assert_eq!(atime(&path), before);
    }
}
