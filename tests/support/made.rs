//! A drive that somebody was kept from making, and then made: there is one, and it is of use.
#![allow(dead_code, reason = "each suite uses a part of it")]

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;

use crate::support::Ended;
use crate::support::Machine;
use crate::support::World;
use crate::support::noise;

/// Long enough for more than one chunk.
pub(crate) const BYTES: usize = 3 << 20;

/// What a directory holds, whatever lies how deep in it.
pub(crate) type Contents = BTreeMap<PathBuf, Vec<u8>>;

pub(crate) fn contents(dir: &Path) -> Contents {
    let (mut found, mut dirs) = (Contents::new(), vec![dir.to_owned()]);
    while let Some(next) = dirs.pop() {
        for entry in std::fs::read_dir(&next).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                let name = path.strip_prefix(dir).expect("below").to_owned();
                found.insert(name, std::fs::read(&path).expect("readable"));
            }
        }
    }
    found
}

pub(crate) fn put(dir: &Path, name: &str, bytes: &[u8]) {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().expect("a directory")).expect("made");
    std::fs::write(path, bytes).expect("written");
}

/// Everything that the drive holds; looking changes nothing, and what waits goes on waiting.
#[track_caller]
pub(crate) fn read(machine: &Machine) -> Contents {
    let mnt = machine.mnt();
    let args = [mnt.to_str().expect("text"), "-o", "ro"];
    let mut mount = machine.start("ods-mount", &args);
    mount.says("main is mounted");
    let found = contents(&mnt);
    mount.signal("INT");
    let ended = mount.ended();
    assert!([0, 25].contains(&ended.code), "{ended:?}");
    found
}

/// The drive holds exactly this.
#[track_caller]
pub(crate) fn holds(machine: &Machine, wanted: &Contents, what: &str) {
    let found = read(machine);
    let names = |of: &Contents| of.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&found), names(wanted), "{what}");
    assert!(found == *wanted, "contents differ, {what}");
}

/// Everything that is needed is on Discord, and whole.
#[track_caller]
pub(crate) fn is_healthy(machine: &Machine) {
    let told = machine.ods(&["verify", "--full"]).good();
    assert!(told.out.contains("nothing is wrong"), "{told:?}");
}

/// The recovery key that was shown last.
pub(crate) fn recovery_key(ended: &Ended) -> Option<&str> {
    let mut words = ended.out.split_whitespace();
    words.rfind(|word| word.starts_with("ods-recovery-"))
}

fn superblocks(world: &World) -> usize {
    let stored = world.emulator.attachments();
    let names = stored.iter().map(|one| &one.filename);
    names.filter(|name| name.starts_with("b-")).count()
}

/// Makes a drive although the first try was killed; gives the recovery key that was shown last.
#[track_caller]
pub(crate) fn made_after(machine: &Machine, killed: &Ended) -> String {
    let again = machine.ods(&["init"]);
    let told = match again.code {
        0 => &again,
        _ => {
            let again = again.bad(6, &["--join"]);
            assert_eq!(recovery_key(&again), None, "no key without a drive");
            machine.ods(&["init", "--join"]).good();
            killed
        }
    };
    let key = recovery_key(told).expect("a drive has a key that was shown");
    key.to_owned()
}

/// There is one drive, which this machine writes to, and another one reads with the recovery key alone.
#[track_caller]
pub(crate) fn is_of_use(world: &World, machine: &Machine, key: &str) {
    assert_eq!(superblocks(world), 1, "there is one drive");
    let mnt = machine.mnt();
    let mut mount = machine.start("ods-mount", &[mnt.to_str().expect("text")]);
    mount.says("main is mounted");
    put(&mnt, "file", &noise(1, BYTES));
    mount.signal("INT");
    mount.ended().good();
    let mut elsewhere = world.machine();
    elsewhere.set("ODS_PASSPHRASE", key);
    let joined = elsewhere.ods(&["init", "--join", "--json"]).good().json();
    assert_eq!(joined["file_bytes"], BYTES, "{joined}");
    is_healthy(&elsewhere);
}
