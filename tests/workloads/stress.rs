//! Other people's load generators: Debian's packages `fio`, `dbench` and `stress-ng`.

use crate::Disk;
use crate::assert_alike;
use crate::run;
use crate::scaled;
use crate::shell;
use crate::sum;

/// What each run of fio does: name, words, and MiB in the short and in the long form.
const FIO: &[(&str, &str, (usize, usize))] = &[
    ("sequential", "--rw=write --bs=1M", (32, 256)),
    ("random 4k", "--rw=randwrite --bs=4k", (8, 64)),
    ("mixed", "--rw=randrw --bs=4k-64k", (8, 64)),
    ("direct", "--rw=randwrite --bs=4k --direct=1", (8, 64)),
    ("mmap", "--rw=randwrite --bs=4k --ioengine=mmap", (8, 64)),
    ("many jobs", "--rw=randwrite --bs=8k --numjobs=8", (2, 16)),
];

#[test]
#[ignore = "needs fio"]
fn fio_reads_back_what_it_wrote() {
    let mut disk = Disk::new();
    let common =
        "fio --name=job --verify=crc32c --verify_fatal=1 --group_reporting --output-format=terse";
    for (name, words, (short, long)) in FIO {
        let words = format!("{words} --size={}M", scaled(*short, *long));
        shell(&format!("{common} --do_verify=1 {words}"), disk.root(), &[]);
        let before = sum(disk.root());
        disk.begin_again();
        assert_alike(&before, &sum(disk.root()));
        let verify = format!("{common} --verify_only {words}");
        let verify = if words.contains("randrw") {
            verify.replace("randrw", "randwrite")
        } else {
            verify
        };
        // A mixed job reads at places it did not write: verifying alone means nothing there; the sums do.
        if *name != "mixed" {
            shell(&verify, disk.root(), &[]);
        }
        shell("rm -f job*", disk.root(), &[]);
    }
}

#[test]
#[ignore = "needs dbench"]
fn dbench_finds_nothing_wrong() {
    let mut disk = Disk::new();
    let (clients, seconds) = (scaled(4, 8), scaled(3, 30));
    // What it made is left there, to be compared.
    let script = format!("dbench --skip-cleanup -D . -t {seconds} {clients} 2>&1");
    let told = shell(&script, disk.root(), &[]);
    assert!(told.contains("Throughput"), "{told}");
    let complaints = told
        .lines()
        .filter(|line| line.to_lowercase().contains("fail") && !line.starts_with(NOT_OF_FILES));
    assert_eq!(complaints.count(), 0, "{told}");
    let before = sum(disk.root());
    for client in 0..clients {
        let mark = format!("clients/client{client}/~dmtmp/");
        let left = before.lines().filter(|line| line.contains(&mark)).count();
        assert!(left > FILES_LEFT_MIN, "{mark}: {left} lines\n{told}");
    }
    disk.begin_again();
    assert_alike(&before, &sum(disk.root()));
}

/// Of each client of dbench there is more than this to compare: lines of the sum.
const FILES_LEFT_MIN: usize = 20;

/// What dbench says when its semaphore has the number 0, as the first one after a boot has: it takes that for an
/// error, and goes on.
const NOT_OF_FILES: &str = "failed to create barrier semaphore";

/// Stressors of stress-ng that touch files; left out are those that change the machine (mounts, swap, devices) or touch
/// no file of the mount (eventfd, ioprio, procfs).
const STRESSORS: &[&str] = &[
    "access",
    "chattr",
    "chdir",
    "chmod",
    "chown",
    "copy-file",
    "dentry",
    "dir",
    "dirdeep",
    "dirmany",
    "dnotify",
    "dup",
    "fallocate",
    "fanotify",
    "fcntl",
    "fiemap",
    "file-ioctl",
    "filename",
    "flock",
    "fpunch",
    "fsize",
    "fstat",
    "getdent",
    "handle",
    "hdd",
    "inode-flags",
    "inotify",
    "io",
    "iomix",
    "lease",
    "link",
    "locka",
    "lockf",
    "lockofd",
    "mmapaddr",
    "mknod",
    "open",
    "readahead",
    "rename",
    "revio",
    "seek",
    "sendfile",
    "splice",
    "symlink",
    "sync-file",
    "touch",
    "utime",
    "verity",
    "xattr",
];

/// Those that skip themselves, because no FUSE filesystem has what they need.
const SKIPPED: &[&str] = &["fiemap", "verity"];

#[test]
#[ignore = "needs stress-ng"]
fn stress_ng_finds_nothing_wrong() {
    let disk = Disk::new();
    let (mut failed, mut skipped) = (Vec::new(), Vec::new());
    let (workers, seconds) = (scaled(1, 2), scaled(1, 8));
    for stressor in STRESSORS {
        let script = format!(
            "stress-ng --temp-path . --{stressor} {workers} --verify --timeout {seconds}s 2>&1"
        );
        let output = run(&script, disk.root(), &[]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if text.contains("skipping") {
            skipped.push(*stressor);
        }
        if !output.status.success() {
            failed.push(format!("{stressor}: {text}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert_eq!(skipped, SKIPPED, "others skipped themselves");
}
