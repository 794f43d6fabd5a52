//! Imports, and what happens around them: rooms that are closed or out of reach, a spool that is full, other
//! programs and people who do something at the same time.

#[path = "support/drives.rs"]
mod drives;
#[path = "support/strange.rs"]
mod strange;

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::Once;
use std::sync::mpsc;
use std::time::Duration;

use drives::noise;
use ods::drive;
use ods::drive::Drive;
use ods::drive::Settings;
use ods::drive::task::Go;
use ods::drive::task::Progress;
use ods::drive::task::Task;
use ods::drive::task::Watcher;
use ods::fs::Caller;
use ods::fs::Fs;
use ods::fs::Name;
use ods::fs::Node;
use ods::fs::Opening;
use ods::fs::Privileges;
use ods::id::InodeNo;
use ods::import::Error;
use ods::import::Existing;
use ods::import::Hears;
use ods::import::Keys;
use ods::import::Mode;
use ods::import::Report;
use ods::import::Source;
use ods::import::Wish;
use ods::index::inode::Kind;
use ods::store;
use ods::store::Store;
use ods::store::faulty::Fault;
use ods::store::faulty::Faulty;
use ods::store::faulty::Rule;
use ods::store::faulty::Verb;
use serde_json::json;
use strange::Strange;
use tokio::sync::Semaphore;

const ID: &str = "#000011-01";
const BOT: Option<u64> = Some(9);
const CALLER: Caller = Caller { uid: 0, gid: 0 };

struct Nobody;

impl Hears for Nobody {
    fn name_changed(&self, _at: Name<'_>) {}
    fn inode_changed(&self, _ino: InodeNo) {}
}

/// A drive on some store, and a folder for what is old.
struct Bench {
    dir: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
    drive: Arc<Drive>,
}

impl Bench {
    fn new<S: Store>(store: Arc<S>) -> Bench {
        Bench::with(store, |settings| settings)
    }

    fn with<S: Store>(store: Arc<S>, set: impl FnOnce(Settings) -> Settings) -> Bench {
        let dir = tempfile::tempdir().expect("a directory");
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let settings = set(drives::settings(&dir.path().join("state")));
        let opened = Drive::open(settings, drives::DRIVE, drives::keys(), store, &|_| {});
        let drive = runtime.block_on(opened).expect("the drive opens");
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

    fn fs(&self) -> Fs {
        Fs::new(Arc::clone(&self.drive), ods::fs::Options::default())
    }

    fn import(&self, source: Source, watcher: &Watcher<'_>) -> Result<Report, Error> {
        let wish = Wish {
            source,
            to: Some(b"in".to_vec()),
            keys: Keys::default(),
            mode: Mode::Write,
            existing: Existing::Keep,
        };
        ods::import::import(&self.fs(), &Nobody, &wish, &Task::new(watcher))
    }

    fn import_folder(&self, watcher: &Watcher<'_>) -> Result<Report, Error> {
        self.import(Source::Folder(self.folder()), watcher)
    }

    fn import_store(&self) -> Result<Report, Error> {
        self.import(archive(None), &|_| Go::On)
    }

    /// What is in `in`, with its content.
    fn files(&self) -> Vec<(String, Vec<u8>)> {
        let fs = self.fs();
        let dir = inside(&fs);
        let mut found: Vec<(String, Vec<u8>)> = names(&fs, dir)
            .into_iter()
            .map(|(name, ino)| {
                let content = self.runtime.block_on(drives::content(&self.drive, ino));
                (String::from_utf8_lossy(&name).into_owned(), content)
            })
            .collect();
        found.sort();
        found
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

fn archive(log: Option<&Path>) -> Source {
    Source::Archive {
        id: ID.to_owned(),
        channel: None,
        log: log.map(Path::to_owned),
    }
}

fn at(parent: InodeNo, name: &[u8]) -> Name<'_> {
    Name { parent, name }
}

/// The directory that imports go to; made, if it is not there.
fn inside(fs: &Fs) -> InodeNo {
    let node = Node {
        kind: Kind::Directory,
        mode: 0o755,
        umask: 0,
        rdev: 0,
    };
    drop(fs.make(&CALLER, at(InodeNo::ROOT, b"in"), node));
    fs.lookup(at(InodeNo::ROOT, b"in")).expect("there").ino
}

fn names(fs: &Fs, dir: InodeNo) -> Vec<(Vec<u8>, InodeNo)> {
    let mut found = Vec::new();
    let listed = fs.list(dir, 0, |entry| {
        if entry.kind == Kind::File {
            found.push((entry.name, entry.ino));
        }
        ods::fs::More::Yes
    });
    listed.expect("a directory");
    found
}

/// What somebody else writes to the drive.
fn write(fs: &Fs, name: Name<'_>, content: &[u8]) {
    let node = Node {
        kind: Kind::File,
        mode: 0o600,
        umask: 0,
        rdev: 0,
    };
    let opening = Opening {
        write: true,
        exclusive: true,
        ..Opening::default()
    };
    let (attr, handle) = fs
        .create(&CALLER, name, node, opening)
        .expect("a file is made");
    fs.write(attr.ino, 0, content, Privileges::Keep)
        .expect("written");
    fs.release(handle);
}

fn manifest(files: &[(&str, usize, &[&str])]) -> Vec<u8> {
    let files: serde_json::Map<String, serde_json::Value> = files
        .iter()
        .enumerate()
        .map(|(id, (name, size, pieces))| {
            let file = json!({"original_name": name, "original_size": size, "chunks": pieces});
            (format!("{id:03}"), file)
        })
        .collect();
    json!({"source_folder": "s", "files": files})
        .to_string()
        .into_bytes()
}

fn card() -> String {
    format!("```json\n{}\n```", json!({"archive_id": ID}))
}

#[test]
fn a_room_that_is_out_of_reach_ends_the_search_and_a_closed_one_does_not() {
    let store = Strange::new(drives::store());
    for room in [1, 2, 3] {
        store.room(room);
    }
    let manifest = manifest(&[("a.txt", 2, &["p"])]);
    let messages = [
        store.say(3, BOT, "", &[("m-manifest.json", &manifest)]),
        store.say(3, BOT, "", &[("p", b"hi")]),
    ];
    let bench = Bench::new(Arc::clone(&store));
    let log = bench.folder().join("log.json");
    let entries = json!([{"archive_id": ID, "message_ids": messages}]);
    std::fs::write(&log, entries.to_string()).expect("written");
    let import = || bench.import(archive(Some(&log)), &|_| Go::On);

    let what = || String::from("channel 1");
    store.fail(1, store::Error::Refused { what: what() });
    for error in [
        store::Error::Unavailable {
            what: what(),
            retry_after: None,
        },
        store::Error::NotAccepted { what: what() },
        store::Error::Broken { what: what() },
    ] {
        store.fail(2, error.clone());
        let ended = import();
        let Err(Error::Drive(drive::Error::Store(ended))) = ended else {
            panic!("{error:?} ends in {ended:?}");
        };
        assert_eq!(
            std::mem::discriminant(&ended),
            std::mem::discriminant(&error)
        );
    }
    store.fail(2, store::Error::Missing { what: what() });
    let report = import().expect("the third room has it");
    assert_eq!((report.files, report.lost_count), (1, 0));
    assert_eq!(bench.files(), [("a.txt".to_owned(), b"hi".to_vec())]);
}

#[test]
fn only_the_bot_that_posted_the_card_says_what_an_archive_is() {
    let genuine = manifest(&[("a.txt", 2, &["p"])]);
    let forged = manifest(&[("forged.txt", 2, &["p"])]);
    for (by, expected) in [
        (BOT, &["a.txt"][..]),
        // Nobody can tell whose it is when a person posted the card.
        (None, &["a.txt", "forged.txt"][..]),
    ] {
        let store = Strange::new(drives::store());
        store.room(1);
        let thread = store.say(1, by, &card(), &[]);
        store.say(thread, BOT, "", &[("1-manifest.json", &genuine)]);
        store.say(thread, BOT, "", &[("p", b"hi")]);
        store.say(thread, None, "", &[("0-manifest.json", &forged)]);
        store.say(thread, Some(10), "", &[("2-manifest.json", &forged)]);
        let bench = Bench::new(store);
        let report = bench.import_store().expect("comes");
        assert_eq!(report.files, if by.is_some() { 1 } else { 3 });
        let names = bench.names();
        let firsts: Vec<&str> = names
            .iter()
            .map(String::as_str)
            .filter(|name| !name.contains("(2)"))
            .collect();
        assert_eq!(firsts, expected);
    }
    let store = Strange::new(drives::store());
    store.room(1);
    let thread = store.say(1, BOT, &card(), &[]);
    store.say(thread, None, "", &[("0-manifest.json", &forged)]);
    let ended = Bench::new(store).import_store();
    assert!(
        matches!(&ended, Err(Error::NotFound(why)) if why.contains("not of the bot")),
        "{ended:?}"
    );
}

#[test]
fn a_card_that_a_person_posts_later_does_not_count_beside_the_bot_s() {
    let genuine = manifest(&[("a.txt", 2, &["p"])]);
    let forged = manifest(&[("forged.txt", 2, &["q"])]);
    for rooms in [[1, 1], [1, 2], [2, 1]] {
        let store = Strange::new(drives::store());
        store.room(1);
        store.room(2);
        let [room, other] = rooms;
        let thread = store.say(room, BOT, &card(), &[]);
        store.say(thread, BOT, "", &[("m-manifest.json", &genuine)]);
        store.say(thread, BOT, "", &[("p", b"hi")]);
        let thread = store.say(other, None, &card(), &[]);
        store.say(thread, None, "", &[("m-manifest.json", &forged)]);
        store.say(thread, None, "", &[("q", b"no")]);
        let bench = Bench::new(store);
        let report = bench.import_store().expect("comes");
        assert_eq!((report.files, report.lost_count), (1, 0), "{rooms:?}");
        assert_eq!(bench.files(), [("a.txt".to_owned(), b"hi".to_vec())]);
    }
}

#[test]
fn all_archives_are_those_of_the_bots_cards() {
    let store = Strange::new(drives::store());
    store.room(1);
    store.room(2);
    let of = |id: &str| format!("```json\n{}\n```", json!({"archive_id": id}));
    store.say(2, BOT, &of("#020124-01"), &[]);
    store.say(1, BOT, &of("#010124-01"), &[]);
    store.say(1, None, &of("#010124-01"), &[]);
    store.say(1, None, &of("#666666-66"), &[]);
    store.say(2, BOT, &of("#010124-01"), &[]);
    store.say(1, BOT, "hello", &[]);
    let bench = Bench::new(store);
    let survey = ods::import::survey(&bench.drive, None, None, &Task::new(&|_| Go::On));
    let survey = survey.expect("some");
    let ids: Vec<String> = survey.archives.iter().map(Source::to_string).collect();
    assert_eq!(ids, ["#020124-01", "#010124-01"]);
    assert_eq!(survey.of_people, ["#666666-66"]);
}

#[test]
fn who_takes_the_name_of_an_unfinished_file_keeps_it() {
    let store = Strange::new(drives::store());
    store.room(1);
    let thread = store.say(1, BOT, &card(), &[]);
    let pieces: Vec<String> = (0..40).map(|number| format!("p{number:02}")).collect();
    let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
    let manifest = manifest(&[("big", pieces.len() * 2, &pieces)]);
    store.say(thread, BOT, "", &[("m-manifest.json", &manifest)]);
    for piece in &pieces {
        store.say(thread, BOT, "", &[(piece, b"xy")]);
    }
    let bench = Bench::new(Arc::clone(&store));
    let (fs, once) = (bench.fs(), Once::new());
    // When so many pieces are read, some are written already.
    let hook = move |reads: usize| {
        if reads < 30 {
            return;
        }
        once.call_once(|| {
            let dir = inside(&fs);
            for (name, _) in names(&fs, dir) {
                assert!(name.ends_with(b".ods-import"));
                fs.unlink(at(dir, &name)).expect("unlinked");
                write(&fs, at(dir, &name), b"mine");
            }
        });
    };
    *store.on_read.lock().expect("no panic") = Some(Box::new(hook));
    let report = bench.import_store().expect("in part");
    *store.on_read.lock().expect("no panic") = None;
    assert_eq!((report.files, report.lost_count), (0, 1), "{report:?}");
    let files = bench.files();
    assert_eq!(files.len(), 1, "{files:?}");
    assert!(files[0].0.ends_with(".ods-import") && files[0].1 == b"mine");
}

#[test]
fn what_an_earlier_run_left_goes_and_what_only_looks_like_it_stays() {
    let bench = Bench::new(drives::store());
    let fs = bench.fs();
    let dir = inside(&fs);
    for name in [
        ".0123456789abcdef.ods-import",
        ".0123456789abcdef-fedcba9876543210.ods-import",
        ".mine.ods-import",
    ] {
        write(&fs, at(dir, name.as_bytes()), b"left");
    }
    bench.put("p", b"hi");
    bench.put("manifest.json", &manifest(&[("a.txt", 2, &["p"])]));
    let report = bench.import_folder(&|_| Go::On).expect("comes");
    assert_eq!(report.files, 1);
    assert_eq!(bench.names(), [".mine.ods-import", "a.txt"]);
}

#[test]
fn a_second_import_waits_for_the_first_and_says_so() {
    let bench = Bench::new(drives::store());
    bench.put("p", &noise(1, 3 << 20));
    bench.put("manifest.json", &manifest(&[("a.bin", 3 << 20, &["p"])]));
    let (begun, begins) = mpsc::channel();
    let (waiting, waits) = mpsc::channel();
    let waits = Mutex::new(waits);
    std::thread::scope(|scope| {
        // The first goes on when the second waits.
        let first = scope.spawn(|| {
            bench.import_folder(&move |progress: &Progress| {
                if progress.doing == "importing" && begun.send(()).is_ok() {
                    let waits = waits.lock().expect("no panic");
                    assert!(waits.recv_timeout(Duration::from_secs(30)).is_ok());
                }
                Go::On
            })
        });
        begins.recv().expect("the first has begun");
        drop(begins);
        let second = bench.import_folder(&|progress: &Progress| {
            if progress.doing.contains("another import") {
                waiting.send(()).unwrap_or_default();
            }
            Go::On
        });
        let first = first.join().expect("no panic").expect("comes");
        assert_eq!((first.files, first.skipped), (1, 0));
        let second = second.expect("finds it there");
        assert_eq!((second.files, second.skipped), (0, 1));
    });
    // Whoever does not want to wait need not.
    let task = Task::new(&|_| Go::On);
    let turn = bench.drive.turn(&task).expect("nobody else");
    let ended = bench.import_folder(&|_| Go::Stop);
    assert!(
        matches!(ended, Err(Error::Drive(drive::Error::Interrupted))),
        "{ended:?}"
    );
    drop(turn);
    assert_eq!(bench.names(), ["a.bin"]);
}

#[test]
fn a_drive_without_room_keeps_an_import_waiting_and_does_not_end_it() {
    let store = Arc::new(Faulty::new(drives::store()));
    let bench = Bench::with(Arc::clone(&store), |settings| Settings {
        changes_bytes_max: 16 << 10,
        room_timeout: Duration::from_millis(20),
        ..settings
    });
    bench.put("p", b"hi");
    let names: Vec<String> = (0..400).map(|number| format!("{number:03}")).collect();
    let file = |name| (name, 2, &["p"][..]);
    let files: Vec<_> = names.iter().map(String::as_str).map(file).collect();
    bench.put("manifest.json", &manifest(&files));
    let gate = Arc::new(Semaphore::new(0));
    store.add(Rule::always(Verb::Put, Fault::Held(Arc::clone(&gate))));
    let last = Mutex::new(None);
    let is_stuck = |progress: &Progress| {
        let seen = last.lock().expect("no panic").replace(progress.clone());
        progress.doing == "importing" && seen.as_ref() == Some(progress)
    };
    let stop = |progress: &Progress| match is_stuck(progress) {
        true => Go::Stop,
        false => Go::On,
    };
    let report = bench.import_folder(&stop).expect("interrupted, no error");
    assert!(!report.complete && report.files > 0, "{report:?}");
    let open = |progress: &Progress| {
        if is_stuck(progress) {
            gate.add_permits(100_000);
        }
        Go::On
    };
    let report = bench
        .import_folder(&open)
        .expect("comes when there is room");
    assert!(report.complete && report.lost_count == 0, "{report:?}");
    assert_eq!(report.files + report.skipped, 400);
    assert_eq!(bench.names(), names);
}

#[test]
fn pieces_are_looked_for_first_and_who_wants_no_more_is_heard_before_all_are() {
    let bench = Bench::new(drives::store());
    bench.put(
        "manifest.json",
        &manifest(&[("a", 2, &["p"]), ("b", 2, &["q"]), ("c", 2, &["r"])]),
    );
    let report = bench.import_folder(&|_| Go::Stop).expect("an answer");
    assert_eq!((report.complete, report.lost_count), (false, 0));
    // Something else has the name; that the piece is missing is what there is to do something about.
    let fs = bench.fs();
    write(&fs, at(inside(&fs), b"a"), b"else");
    let report = bench.import_folder(&|_| Go::On).expect("nothing of it");
    assert_eq!((report.complete, report.lost_count), (true, 3));
    let whys = report.lost.iter().map(|lost| lost.why.as_str());
    assert!(whys.eq(["it is missing"; 3]), "{report:?}");
}
