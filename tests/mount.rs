//! Mounts as such: how they show, end, fail, and what is left when a process is killed.
#![allow(clippy::cast_possible_truncation, reason = "tests use small numbers")]

mod support;

use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;

use ods::fs::Fs;
use ods::fs::Options;
use ods::fuse;
use ods::fuse::Error;
use ods::fuse::MountOptions;
use ods::fuse::Unmounted;
use support::Drain;
use support::Fallible;
use support::Forget;
use support::Mounted;
use support::sys;
use tempfile::TempDir;

/// Type, source and options of the mount at `path`, as the kernel tells them.
fn entry(path: &Path) -> Option<(String, String, String)> {
    let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts");
    let path = path.to_str().expect("a plain path");
    let mut words = mounts
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>());
    let found = words.rfind(|words| words[1] == path)?;
    Some((found[2].into(), found[0].into(), found[3].into()))
}

#[test]
fn a_mount_shows_what_it_is() {
    let options = MountOptions {
        fsname: String::from("my drive"),
        ..MountOptions::default()
    };
    let mounted = Mounted::with(Drain::OnDemand, Options::default(), &options);
    let (kind, source, flags) = entry(mounted.root()).expect("listed");
    assert_eq!(
        (kind.as_str(), source.as_str()),
        ("fuse.ods", "my\\040drive")
    );
    let flags: Vec<&str> = flags.split(',').collect();
    assert!(
        ["rw", "nosuid", "nodev", "noatime", "default_permissions"]
            .iter()
            .all(|flag| flags.contains(flag)),
        "{flags:?}"
    );
    assert!(!flags.contains(&"allow_other"));
    assert_eq!(fs::metadata(mounted.root()).expect("stat").ino(), 1);
    let stat = || sys::open(mounted.root(), libc::O_RDONLY, 0).map(|_| 0);
    assert_eq!(sys::as_user(4321, 4321, stat), Err(libc::EACCES));
}

#[test]
fn the_helper_mounts_the_same() {
    let options = MountOptions {
        auto_unmount: true,
        ..support::options()
    };
    let mounted = Mounted::with(Drain::OnDemand, Options::default(), &options);
    fs::write(mounted.path("file"), b"content").expect("write");
    assert_eq!(fs::read(mounted.path("file")).expect("read"), b"content");
    assert_eq!(entry(mounted.root()).expect("listed").0, "fuse.ods");
    let path = mounted.root().to_owned();
    assert_eq!(
        mounted.session().unmount().expect("unmounts"),
        Unmounted::Clean
    );
    assert_eq!(entry(&path), None);
}

#[test]
fn an_unmount_from_outside_ends_the_session() {
    let mounted = Mounted::new();
    fs::write(mounted.path("file"), b"content").expect("write");
    let status = Command::new("umount")
        .arg(mounted.root())
        .status()
        .expect("umount");
    assert!(status.success());
    mounted.session().wait().expect("ends");
    assert_eq!(
        mounted.session().unmount().expect("gone already"),
        Unmounted::Clean
    );
}

#[test]
fn a_busy_mount_is_detached() {
    let mut mounted = Mounted::new();
    fs::write(mounted.path("file"), b"content").expect("write");
    let file = fs::File::open(mounted.path("file")).expect("open");
    let session = mounted.session().clone();
    assert_eq!(session.unmount().expect("unmounts"), Unmounted::Detached);
    assert_eq!(entry(mounted.root()), None);
    let mut content = String::new();
    std::io::Read::read_to_string(&mut &file, &mut content).expect("the open file works on");
    assert_eq!(content, "content");
    drop(file);
    session.wait().expect("ends with the last user");
    drop(session);
    mounted.remount(Forget::Nothing);
    assert_eq!(fs::read(mounted.path("file")).expect("read"), b"content");
}

#[test]
fn what_cannot_be_mounted_on_is_told() {
    let mounted = Mounted::new();
    let fs = Arc::new(Fs::new(mounted.drive().clone(), Options::default()));
    let mount = |path: &Path| fuse::mount(fs.clone(), path, &support::options()).err();
    assert!(matches!(mount(mounted.root()), Some(Error::Mounted(_))));
    fs::write(mounted.path("file"), b"").expect("write");
    assert!(matches!(
        mount(&mounted.path("file")),
        Some(Error::NotADirectory(_))
    ));
    assert!(matches!(
        mount(&mounted.path("none")),
        Some(Error::Mountpoint(..))
    ));
    let dir = TempDir::new().expect("a directory");
    fs::write(dir.path().join("file"), b"").expect("write");
    let refused = mount(dir.path()).expect("refused");
    assert!(matches!(refused, Error::NotEmpty(_)), "{refused}");
}

/// Not a test: the daemon that [`a_killed_daemon_loses_nothing`] kills. Its store dies with it, so
/// that everything must come from the state directory.
#[test]
#[ignore = "run by another test"]
fn daemon() {
    let dir = PathBuf::from(std::env::var_os("ODS_TEST_DIR").expect("told by the test"));
    let settings = support::settings(&dir.join("state"), Drain::OnDemand);
    let store = Arc::new(Fallible::default());
    let mounted = Mounted::at(
        settings,
        dir.join("mount"),
        store,
        Options::default(),
        &support::options(),
    );
    // Through the harness, which keeps what tests print.
    std::io::Write::write_all(&mut std::io::stderr(), b"mounted\n").expect("stderr");
    mounted.session().wait().expect("ends");
}

struct Daemon(Child);

impl Daemon {
    fn start(dir: &Path) -> Daemon {
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "daemon", "--ignored", "--nocapture"])
            .env("ODS_TEST_DIR", dir)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the daemon starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let up = lines.any(|line| line.is_ok_and(|line| line == "mounted"));
        let daemon = Daemon(child);
        assert!(up, "the daemon did not mount");
        daemon
    }

    fn kill(&mut self) {
        self.0.kill().expect("it was running");
        self.0.wait().expect("it is gone");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Takes the mount away, whatever is left of it.
struct Clean(PathBuf);

impl Drop for Clean {
    fn drop(&mut self) {
        while sys::detach(&self.0).is_ok() {}
    }
}

#[test]
fn a_killed_daemon_loses_nothing() {
    let dir = TempDir::new().expect("a directory");
    let mount = dir.path().join("mount");
    fs::create_dir(&mount).expect("a mount point");
    let _clean = Clean(mount.clone());
    let mut daemon = Daemon::start(dir.path());
    fs::create_dir(mount.join("dir")).expect("mkdir");
    fs::write(mount.join("dir/file"), b"returned").expect("write");
    fs::rename(mount.join("dir/file"), mount.join("dir/moved")).expect("rename");
    fs::write(mount.join("gone"), b"gone").expect("write");
    let held = fs::File::open(mount.join("gone")).expect("open");
    fs::remove_file(mount.join("gone")).expect("unlink");
    daemon.kill();
    // Nothing hangs: whoever asks is told that nobody answers.
    assert_eq!(
        sys::code(fs::metadata(mount.join("dir"))).err(),
        Some(libc::ENOTCONN)
    );
    drop(held);
    let spare = Mounted::new();
    let fs_of_spare = Arc::new(Fs::new(spare.drive().clone(), Options::default()));
    let refused = fuse::mount(fs_of_spare, &mount, &support::options()).expect_err("a dead mount");
    assert!(
        matches!(&refused, Error::Dead(_)) && refused.to_string().contains("ods umount"),
        "{refused}"
    );
    sys::detach(&mount).expect("umount -l");
    let mut daemon = Daemon::start(dir.path());
    assert_eq!(
        fs::read(mount.join("dir/moved")).expect("read"),
        b"returned"
    );
    assert!(!mount.join("gone").exists() && !mount.join("dir/file").exists());
    daemon.kill();
}
