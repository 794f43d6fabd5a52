//! A drive with a workload and a model of what it holds, on a Discord that is about to have a bad day.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::io::Seek;
use std::io::SeekFrom;
use std::io::Write;
use std::path::PathBuf;

use ods::emulator::Counts;
use ods::emulator::Fault;
use ods::emulator::FaultKind;
use serde_json::Value;

use crate::dice::Dice;
use crate::support::Ended;
use crate::support::Machine;
use crate::support::World;
use crate::support::until;

/// Everything that makes a message, in any channel.
pub(crate) const POST: &str = "POST /channels/{}/messages";
/// Every download.
pub(crate) const DOWNLOAD: &str = "GET /attachments/*";
/// Every request.
pub(crate) const ANY: &str = "* /*";

/// A mounted drive, what it must hold, and its Discord.
pub(crate) struct Day {
    pub(crate) world: World,
    pub(crate) machine: Machine,
    pub(crate) dice: Dice,
    pub(crate) model: BTreeMap<String, Vec<u8>>,
    /// Longest write.
    pub(crate) len_max: u64,
    made: u64,
}

const DIRS: [&str; 3] = ["", "docs/", "media/"];

impl Day {
    /// A drive with some files that are on Discord already.
    pub(crate) fn new(seed: u64) -> Day {
        let mut day = Day::unmounted(seed);
        day.mount();
        for dir in DIRS.iter().filter(|dir| !dir.is_empty()) {
            std::fs::create_dir(day.path(dir)).expect("a directory");
        }
        day.work(12);
        day.flush().good();
        day
    }

    /// A drive that nobody has mounted yet.
    pub(crate) fn unmounted(seed: u64) -> Day {
        let world = World::new();
        let machine = world.machine();
        machine.ods(&["init"]).good();
        Day {
            world,
            machine,
            dice: Dice::new(seed),
            model: BTreeMap::new(),
            len_max: 200_000,
            made: 0,
        }
    }

    /// Mounts so that a call that does not get through is told of after a second.
    pub(crate) fn mount(&self) {
        self.machine.mount(&["-o", "patience=1"]).good();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.machine.mnt().join(name)
    }

    fn any(&mut self) -> Option<String> {
        let nth = self.dice.below(self.model.len() as u64);
        let nth = usize::try_from(nth).expect("small");
        self.model.keys().nth(nth).cloned()
    }

    /// A name that no file has had.
    fn fresh(&mut self) -> String {
        let dir = DIRS[usize::try_from(self.dice.below(3)).expect("small")];
        self.made += 1;
        format!("{dir}file{}", self.made)
    }

    /// Random writes, renames, removals and reads; each must work at once.
    pub(crate) fn work(&mut self, steps: u32) {
        for _ in 0..steps {
            let what = self.dice.below(10);
            match (what, self.any()) {
                (0..4, _) | (_, None) => self.create(),
                (4..6, Some(name)) => self.change(&name),
                (6, Some(name)) => self.rename(&name),
                (7, Some(name)) if self.model.len() > 6 => {
                    std::fs::remove_file(self.path(&name)).expect("removed");
                    self.model.remove(&name);
                }
                (_, Some(name)) => {
                    let found = std::fs::read(self.path(&name)).expect("readable");
                    assert!(found == self.model[&name], "{name} differs");
                }
            }
        }
    }

    fn create(&mut self) {
        let (name, len) = (self.fresh(), self.dice.below(self.len_max));
        self.put(&name, len);
    }

    /// A file of so many bytes.
    pub(crate) fn put(&mut self, name: &str, len: u64) {
        let bytes = self.dice.bytes(len);
        std::fs::write(self.path(name), &bytes).expect("written");
        self.model.insert(name.to_owned(), bytes);
    }

    fn change(&mut self, name: &str) {
        let len = self.dice.below(self.len_max / 4) + 1;
        let bytes = self.dice.bytes(len);
        let kept = self.model.get_mut(name).expect("there");
        let at = self.dice.below(kept.len() as u64 + 1);
        let mut file = std::fs::OpenOptions::new();
        let mut file = file
            .write(true)
            .open(self.machine.mnt().join(name))
            .expect("opened");
        file.seek(SeekFrom::Start(at)).expect("sought");
        file.write_all(&bytes).expect("written");
        let at = usize::try_from(at).expect("small");
        kept.resize(kept.len().max(at + bytes.len()), 0);
        kept[at..at + bytes.len()].copy_from_slice(&bytes);
    }

    fn rename(&mut self, name: &str) {
        let onto = match (self.dice.below(2), self.any()) {
            (0, Some(other)) => other,
            _ => self.fresh(),
        };
        std::fs::rename(self.path(name), self.path(&onto)).expect("renamed");
        let bytes = self.model.remove(name).expect("there");
        self.model.insert(onto, bytes);
    }

    /// Every file is there with its content, and nothing else.
    #[track_caller]
    pub(crate) fn check(&self) {
        let mut found = BTreeSet::new();
        for dir in DIRS {
            for entry in std::fs::read_dir(self.path(dir)).expect("listed").flatten() {
                if entry.file_type().expect("a type").is_file() {
                    found.insert(format!(
                        "{dir}{}",
                        entry.file_name().to_str().expect("text")
                    ));
                }
            }
        }
        let known: BTreeSet<String> = self.model.keys().cloned().collect();
        assert_eq!(found, known, "names");
        for (name, bytes) in &self.model {
            let found = std::fs::read(self.path(name)).expect("readable");
            assert_eq!(found.len(), bytes.len(), "length of {name}");
            assert!(found == *bytes, "{name} differs");
        }
    }

    pub(crate) fn flush(&self) -> Ended {
        self.machine.ods(&["flush"])
    }

    /// Waits no longer than this for everything to be on Discord.
    pub(crate) fn flush_within(&self, seconds: u32) -> Ended {
        let seconds = seconds.to_string();
        self.machine.ods(&["flush", "--timeout", &seconds])
    }

    pub(crate) fn status(&self) -> Value {
        self.machine.ods(&["status", "--json"]).good().json()
    }

    /// The status, as soon as it says so.
    #[track_caller]
    pub(crate) fn status_when(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let mut status = Value::Null;
        until(&format!("{what} in the status"), || {
            status = self.status();
            is_so(&status)
        });
        status
    }

    pub(crate) fn counts(&self) -> Counts {
        self.world.emulator.counts()
    }

    /// Adds a fault; its id tells how often it struck.
    pub(crate) fn strike(&self, route: &str, kind: FaultKind, times: u64) -> u64 {
        let fault = Fault::new(route, kind).times(times);
        self.world.emulator.faults().add(fault)
    }

    pub(crate) fn strike_always(&self, route: &str, kind: FaultKind) -> u64 {
        self.world.emulator.faults().add(Fault::new(route, kind))
    }

    /// A line of the configuration that names a channel.
    pub(crate) fn channel(&self, which: &str) -> u64 {
        let config = std::fs::read_to_string(self.machine.path("config/ods/config.toml"));
        let config = config.expect("readable");
        let mut lines = config.lines();
        let line = lines.find_map(|line| line.strip_prefix(which)?.trim().strip_prefix("= "));
        line.expect("a channel").parse().expect("a number")
    }

    pub(crate) fn threads(&self) -> BTreeSet<u64> {
        let journal = self.channel("journal_channel");
        let attachments = self.world.emulator.attachments();
        let places = attachments.iter().map(|one| one.channel);
        places.filter(|place| *place != journal).collect()
    }

    /// Every pack that Discord holds is one the drive counts, and none is there twice.
    #[track_caller]
    pub(crate) fn nothing_doubled(&self) {
        let journal = self.channel("journal_channel");
        let attachments = self.world.emulator.attachments();
        let packs: Vec<_> = attachments
            .iter()
            .filter(|one| one.channel != journal)
            .collect();
        let names: BTreeSet<&str> = packs.iter().map(|one| &*one.filename).collect();
        assert_eq!(names.len(), packs.len(), "a pack is on Discord twice");
        let status = self.status();
        let archives = status["archives"].as_array().expect("archives");
        let counted = archives.iter().map(|one| one["packs"].as_u64());
        let counted: u64 = counted.map(|packs| packs.expect("a number")).sum();
        assert_eq!(packs.len() as u64, counted, "packs that nothing refers to");
        let mut epochs = BTreeSet::new();
        let segments = attachments.iter().filter(|one| one.channel == journal);
        for name in segments.filter_map(|one| one.filename.strip_prefix("s-")) {
            let mut fields = name.split('-');
            let (epoch, _attempt) = (fields.next(), fields.next());
            assert!(
                epochs.insert((epoch, fields.next())),
                "{name} is a second attempt"
            );
        }
        let threads = self.threads().len();
        let archives = archives.iter().filter(|one| one["packs"] != 0).count();
        assert_eq!(
            threads, archives,
            "one thread for each archive that holds packs"
        );
    }

    /// Unmounts, forgets everything local, and sets the drive up again.
    pub(crate) fn lose_machine(&self) {
        self.machine.ods(&["umount"]).good();
        self.forget();
        self.machine.ods(&["init", "--join"]).good();
        self.mount();
    }

    pub(crate) fn forget(&self) {
        std::fs::remove_dir_all(self.machine.path("state")).expect("removed");
        std::fs::remove_dir_all(self.machine.path("config")).expect("removed");
    }

    /// All that must hold in the end: here, on Discord, and on another machine.
    #[track_caller]
    pub(crate) fn ends_well(&self) {
        self.check();
        let status = self.status();
        assert_eq!(status["last_error"], Value::Null);
        assert_eq!(status["read_only"], Value::Null);
        assert_eq!(status["damaged"], serde_json::json!([]));
        assert_eq!(status["unpublished"], false);
        self.nothing_doubled();
        self.lose_machine();
        self.check();
        self.machine.ods(&["umount"]).good();
    }
}
