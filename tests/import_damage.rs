//! Old archives that are damaged, incomplete, or made to do harm: what can be had comes, the rest is listed,
//! and nothing is written elsewhere.

#[path = "support/drives.rs"]
mod drives;
#[path = "support/emulator_client.rs"]
mod emulator_client;
#[path = "support/python_bots.rs"]
mod python_bots;

use std::io::Read;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use ods::drive::Drive;
use ods::drive::task::Go;
use ods::drive::task::Progress;
use ods::drive::task::Task;
use ods::drive::task::Watcher;
use ods::fs::Fs;
use ods::fs::Name;
use ods::id::InodeNo;
use ods::import::Error;
use ods::import::Existing;
use ods::import::Hears;
use ods::import::Keys;
use ods::import::Mode;
use ods::import::OldKey;
use ods::import::Report;
use ods::import::Source;
use ods::import::Wish;
use serde_json::json;

struct Nobody;

impl Hears for Nobody {
    fn name_changed(&self, _at: Name<'_>) {}
    fn inode_changed(&self, _ino: InodeNo) {}
}

/// A drive without Discord, and a folder.
struct Bench {
    dir: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
    drive: Arc<Drive>,
}

impl Bench {
    fn new() -> Bench {
        let dir = tempfile::tempdir().expect("a directory");
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let store = drives::store();
        let drive = runtime.block_on(drives::open(&dir.path().join("state"), &store));
        std::fs::create_dir(dir.path().join("old")).expect("made");
        Bench {
            dir,
            runtime,
            drive,
        }
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join("old")
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.folder().join(name), bytes).expect("written");
    }

    fn import(&self, key: &str) -> Result<Report, Error> {
        self.watched(key, &|_| Go::On)
    }

    fn watched(&self, key: &str, watcher: &Watcher<'_>) -> Result<Report, Error> {
        let key = Some(OldKey::new(key));
        let wish = Wish {
            source: Source::Folder(self.folder()),
            to: Some(b"in".to_vec()),
            keys: Keys {
                user: key.clone(),
                master: key,
            },
            mode: Mode::Write,
            existing: Existing::Keep,
        };
        let fs = Fs::new(Arc::clone(&self.drive), ods::fs::Options::default());
        ods::import::import(&fs, &Nobody, &wish, &Task::new(watcher))
    }

    /// Every file of the drive, with its content.
    fn files(&self) -> Vec<(String, Vec<u8>)> {
        let fs = Fs::new(Arc::clone(&self.drive), ods::fs::Options::default());
        let mut found = Vec::new();
        self.walk(&fs, InodeNo::ROOT, "", &mut found);
        found.sort();
        found
    }

    fn walk(&self, fs: &Fs, dir: InodeNo, path: &str, found: &mut Vec<(String, Vec<u8>)>) {
        let mut entries = Vec::new();
        fs.list(dir, 0, |entry| {
            entries.push((entry.name, entry.ino));
            ods::fs::More::Yes
        })
        .expect("a directory");
        for (name, ino) in entries {
            if name == b"." || name == b".." {
                continue;
            }
            let path = format!("{path}/{}", String::from_utf8_lossy(&name));
            if fs.getattr(ino).expect("there").inode.is_dir() {
                self.walk(fs, ino, &path, found);
            } else {
                let content = self.runtime.block_on(drives::content(&self.drive, ino));
                found.push((path, content));
            }
        }
    }

    fn names(&self) -> Vec<String> {
        self.files().into_iter().map(|(name, _)| name).collect()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let drive = Arc::clone(&self.drive);
        drop(
            self.runtime
                .block_on(async move { tokio::spawn(async move { drive.close().await }).await }),
        );
    }
}

fn lost<'a>(report: &'a Report, path: &str) -> &'a ods::import::Lost {
    let found = report.lost.iter().find(|lost| lost.path == path);
    found.unwrap_or_else(|| panic!("{path} is not lost: {report:?}"))
}

#[test]
fn of_an_archive_comes_what_can_be_had() {
    let bench = Bench::new();
    for (name, mut bytes) in python_bots::contents(Path::new(python_bots::ARCHIVE)) {
        match &name[..4] {
            "0003" => continue,
            "0005" => bytes[5000] ^= 1,
            _ => {}
        }
        bench.put(&name, &bytes);
    }
    let report = bench.import(python_bots::USER_KEY).expect("in part");
    assert_eq!(bench.names(), ["/in/empty.txt", "/in/notes ünï.txt"]);
    assert_eq!(
        (report.files, report.lost_count, report.complete),
        (2, 2, true)
    );
    let exact = lost(&report, "exact.bin");
    assert_eq!(exact.why, "it is missing");
    assert!(exact.piece.as_ref().expect("a piece").starts_with("0003-"));
    let photo = lost(&report, "photo (1).bin");
    assert!(
        photo.piece.as_ref().expect("a piece").starts_with("0005-"),
        "{photo:?}"
    );
    assert!(photo.why.contains("not what its name says"), "{photo:?}");

    // The pieces are found again: only what is missing comes.
    for (name, bytes) in python_bots::contents(Path::new(python_bots::ARCHIVE)) {
        bench.put(&name, &bytes);
    }
    let report = bench.import(python_bots::USER_KEY).expect("whole");
    assert_eq!((report.files, report.skipped, report.lost_count), (2, 2, 0));
    assert_eq!(bench.files().len(), 4);
}

#[test]
fn the_older_forms_come_too() {
    let bench = Bench::new();
    let text = b"hello, hello, hello".repeat(1000);
    let whole = python_bots::sealed(&text, "old");
    let (one, two) = whole.split_at(40);
    bench.put("p1", one);
    bench.put("p2", two);
    let sealed = json!({"version": "3.0", "encrypted": true, "source_folder": "s",
        "files": {"a": {"original_name": "sealed.txt", "original_size": text.len(), "chunks": ["p1", "p2"]}}});
    bench.put(
        "3-manifest_140848_201126.json",
        sealed.to_string().as_bytes(),
    );
    let zipped = python_bots::gzip(&text);
    bench.put("q1", &zipped);
    bench.put("q2", &text);
    let plain = json!({"files": {
        "b": {"original_name": "zipped.txt", "original_size": text.len(), "chunks": ["q1"]},
        "c": {"original_name": "plain.txt", "original_size": text.len(), "chunks": ["q2"]},
        "d": {"original_name": "kept.gz", "original_size": zipped.len(), "chunks": ["q1"]},
        "e": {"original_name": "nothing", "original_size": 0, "chunks": []},
        "f": {"original_name": "short.txt", "original_size": text.len() + 1, "chunks": ["q2"]}}});
    bench.put("manifest.json", plain.to_string().as_bytes());
    let report = bench.import("old").expect("comes");
    let expected: [(&str, &[u8]); 6] = [
        ("/in/kept.gz", zipped.as_slice()),
        ("/in/nothing", b""),
        ("/in/plain.txt", &text),
        ("/in/sealed.txt", &text),
        ("/in/short.txt", &text),
        ("/in/zipped.txt", &text),
    ];
    let files = bench.files();
    let found: Vec<(&str, &[u8])> = files
        .iter()
        .map(|(n, b)| (n.as_str(), b.as_slice()))
        .collect();
    assert_eq!(found, expected);
    assert_eq!(report.lost_count, 1);
    assert!(lost(&report, "short.txt").why.contains("its manifest says"));

    // A changed file that is sealed as one shows only at its end, and is not left behind.
    let bench = Bench::new();
    let mut changed = whole;
    let last = changed.len() - 20;
    changed[last] ^= 1;
    bench.put("p1", &changed);
    let sealed = json!({"encrypted": true, "encryption_scope": "file",
        "files": {"a": {"original_name": "sealed.txt", "original_size": text.len(), "chunks": ["p1"]}}});
    bench.put("manifest.json", sealed.to_string().as_bytes());
    let report = bench.import("old").expect("nothing of it");
    assert_eq!((report.files, report.lost_count), (0, 1));
    assert_eq!(bench.names(), [""; 0]);
    assert!(matches!(bench.import("wrong"), Err(Error::Key(_))));
}

#[test]
fn a_manifest_made_to_do_harm_does_none() {
    let bench = Bench::new();
    bench.put("p", &python_bots::gzip(&vec![0; 80 << 20]));
    bench.put("x", b"xx");
    let file = |name: &str, size: u64, piece: &str| json!({"original_name": name, "original_size": size, "chunks": [piece]});
    let manifest = json!({"source_folder": "../..", "files": {
        "a": file("../evil", 2, "x"), "b": file("/etc/evil", 2, "x"), "c": file("..", 2, "x"),
        "d": file("bomb", 10, "p"), "e": file("same", 2, "x"), "f": file("same", 2, "x"),
        "g": file("elsewhere", 2, "../old/x"), "h": file("", 2, "x"), "i": file("a\u{0}b", 2, "x"),
    }});
    bench.put("manifest.json", manifest.to_string().as_bytes());
    let report = bench.import("k").expect("in part");
    assert_eq!(bench.names(), ["/in/same", "/in/same (2)"]);
    assert!(
        lost(&report, "bomb").why.contains("more than"),
        "{report:?}"
    );
    assert_eq!(lost(&report, "elsewhere").why, "it is missing");
    assert!(lost(&report, "../evil").why.contains("leads elsewhere"));
    assert_eq!(report.lost_count, 7);
}

/// A tar with files, and things that must not be made.
fn tar() -> (Vec<u8>, Vec<u8>) {
    let mut tar = tar::Builder::new(Vec::new());
    let content = drives::noise(7, 200_000);
    let mut add = |kind: tar::EntryType, name: &[u8], content: &[u8], link: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.as_mut_bytes()[..name.len()].copy_from_slice(name);
        if !link.is_empty() {
            header.set_link_name_literal(link).expect("fits");
        }
        header.set_size(content.len() as u64);
        header.set_mode(0o4755);
        header.set_mtime(1_700_000_000);
        header.set_cksum();
        tar.append(&header, content).expect("in memory");
    };
    use tar::EntryType;
    add(EntryType::Regular, b"one", &content, "");
    add(EntryType::Regular, b"../../evil", b"x", "");
    add(EntryType::Regular, b"/etc/evil", b"x", "");
    add(EntryType::Symlink, b"link", b"", "/etc");
    add(EntryType::Regular, b"link/evil", b"inside", "");
    add(EntryType::Char, b"device", b"", "");
    add(EntryType::Directory, b"empty/", b"", "");
    add(EntryType::Regular, b"one", b"again", "");
    add(EntryType::Regular, b"sub/two", &content, "");
    add(EntryType::Regular, b"three", &content, "");
    (tar.into_inner().expect("in memory"), content)
}

const TAR_FILES: u64 = 7;
const TAR_BYTES: u64 = 600_020;

#[test]
fn a_batch_made_to_do_harm_does_none() {
    let bench = Bench::new();
    let (tar, content) = tar();
    python_bots::write_batch(
        &bench.folder(),
        &tar,
        (TAR_FILES, TAR_BYTES),
        64 << 10,
        100_000,
    );
    let report = bench.import(python_bots::MASTER).expect("in part");
    let files = bench.files();
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "/in/link/evil",
            "/in/one",
            "/in/one (2)",
            "/in/sub/two",
            "/in/three"
        ]
    );
    assert!(files[1].1 == content && files[4].1 == content);
    assert!(lost(&report, "link").why.contains("link is not made"));
    assert!(lost(&report, "device").why.contains("device is not made"));
    assert!(lost(&report, "../../evil").why.contains("leads elsewhere"));
    assert!(lost(&report, "/etc/evil").why.contains("absolute"));
    let again = bench.import(python_bots::MASTER).expect("in part");
    assert_eq!((again.files, again.skipped), (0, 5), "{again:?}");
}

#[test]
fn who_interrupts_finds_nothing_half_and_the_same_again_goes_on() {
    let bench = Bench::new();
    let (tar, _) = tar();
    let files = (TAR_FILES, TAR_BYTES);
    python_bots::write_batch(&bench.folder(), &tar, files, 64 << 10, 100_000);
    let stop = |progress: &Progress| match progress.doing.as_str() {
        "importing" => Go::Stop,
        _ => Go::On,
    };
    let report = bench.watched(python_bots::MASTER, &stop);
    let report = report.expect("an answer all the same");
    assert!(!report.complete && report.files == 0, "{report:?}");
    assert_eq!(bench.names(), [""; 0]);
    let report = bench.import(python_bots::MASTER).expect("comes");
    assert!(report.complete && report.files == 5, "{report:?}");
}

#[test]
fn of_a_batch_comes_what_is_before_the_damage() {
    for damage in ["missing", "changed", "cut"] {
        let bench = Bench::new();
        let (tar, content) = tar();
        let files = (TAR_FILES, TAR_BYTES);
        let parts = python_bots::write_batch(&bench.folder(), &tar, files, 64 << 10, 100_000);
        assert!(parts > 6, "{parts}");
        let part = bench.folder().join("x.tar.gz.enc.part5");
        let mut bytes = std::fs::read(&part).expect("there");
        match damage {
            "missing" => std::fs::remove_file(&part).expect("removed"),
            "changed" => {
                bytes[50_000] ^= 1;
                std::fs::write(&part, bytes).expect("written");
            }
            _ => std::fs::write(&part, &bytes[..10]).expect("written"),
        }
        let report = bench.import(python_bots::MASTER).expect("in part");
        let files = bench.files();
        assert!(
            files
                .iter()
                .any(|(name, bytes)| name == "/in/one" && *bytes == content)
        );
        assert!(
            !files
                .iter()
                .any(|(name, _)| name == "/in/three" || name.contains("ods-import"))
        );
        assert!(
            lost(&report, "sub/two").piece.is_some() == (damage == "missing"),
            "{report:?}"
        );
        let rest = report.lost.last().expect("the rest");
        assert_eq!(
            rest.path,
            "(what comes after one, 1 file)".replace("1 file", "one file")
        );
    }
    let bench = Bench::new();
    let (tar, _) = tar();
    python_bots::write_batch(
        &bench.folder(),
        &tar,
        (TAR_FILES, TAR_BYTES),
        64 << 10,
        100_000,
    );
    assert!(matches!(
        bench.import(&format!("B{}", &python_bots::MASTER[1..])),
        Err(Error::Key(_))
    ));
    assert_eq!(bench.names(), [""; 0]);
}

#[test]
fn a_batch_that_inflates_without_end_is_left() {
    let bench = Bench::new();
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(80 << 20);
    header.set_path("bomb").expect("fits");
    header.set_cksum();
    let zeros = std::io::repeat(0).take(80 << 20);
    tar.append(&header, zeros).expect("in memory");
    let tar = tar.into_inner().expect("in memory");
    python_bots::write_batch(&bench.folder(), &tar, (1, 100), 64 << 10, 1 << 20);
    let report = bench.import(python_bots::MASTER).expect("nothing of it");
    assert_eq!(bench.names(), [""; 0]);
    assert!(
        lost(&report, "bomb").why.contains("more than"),
        "{report:?}"
    );
}
