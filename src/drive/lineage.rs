//! The names that a state directory has had, by which it is told from its copies.
//!
//! A home directory is moved to another laptop, a backup is restored, a virtual machine is cloned: then two state
//! directories hold the same name, the same index and the same spool. So each opening for changes begins with a name
//! that nobody else has had, noted before anything is sent or appended under it. What the other of the two sends from
//! then on bears a name that is not noted here, and is another machine's.
//!
//! A former name was that of the original, too, which may have gone on under it: so its last record is noted as well.
//! Up to there both have the same records, and what was sent under that name covers no others of this directory's.
//!
//! ```text
//! lineage = version 1 , place 8 , n × former , check 4
//! former  = name 8 , last record 8 , origin 1
//! ```
//!
//! `place` tells this machine and this directory from others, and is 0 where the system tells nothing of it; `origin`
//! is 0 for a name that was taken here and 1 for one that came with a copy; `check` is the beginning of the BLAKE3 hash
//! of what is before it. Whoever has no such file goes on with the name that [`identity`] holds.

use std::path::Path;
use std::time::UNIX_EPOCH;

use crate::codec::key;
use crate::drive::Copies;
use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::Takeover;
use crate::drive::identity;
use crate::drive::journal::Share;
use crate::durable;
use crate::id::DriveId;
use crate::id::Seq;
use crate::index::Index;

const FILE: &str = "lineage";

const VERSION: u8 = 1;

const FORMER_BYTES: usize = 17;

/// How many former names are kept: each may have a [`Share`] in the index, and a list that is read at each opening
/// is to stay short.
const FORMERS_MAX: usize = 64;

/// So many of them, the newest, are never forgotten: openings that fail one after the other each leave a name behind.
const NEWEST: usize = 32;

/// Where systems keep what tells one machine from another.
const MACHINE_ID: &str = "/etc/machine-id";

/// The first bytes of a name that a directory keeps from one opening to the next.
const KIN_BYTES: usize = 4;

/// A name of an opening.
pub(in crate::drive) type Instance = [u8; 8];

/// Were both taken by one state directory, or by one and its copy?
pub(in crate::drive) fn are_kin(one: &Instance, other: &Instance) -> bool {
    one[..KIN_BYTES] == other[..KIN_BYTES]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// Taken by this directory.
    Here,
    /// It came with a copy, and its leases are the original's.
    Copied,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Former {
    name: Instance,
    /// The last record of the spool when the next name was taken.
    last: Seq,
    origin: Origin,
}

/// Who sent something, as its name tells; with the last of this directory's records that it covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::drive) enum Sender {
    /// This directory; or one of which it is a copy, before it was copied.
    This(Seq),
    /// The one of which this is a copy, after it was copied.
    Original(Seq),
    /// Another one.
    Other,
}

/// The names of a state directory.
#[derive(Clone, Debug)]
pub(in crate::drive) struct Lineage {
    /// That of this opening; others hear it once it is kept.
    name: Instance,
    /// Oldest first.
    formers: Vec<Former>,
    place: [u8; 8],
    is_copy: bool,
}

impl Lineage {
    /// Reads what is noted in a state directory that had this name until now, and this record as its last.
    pub(in crate::drive) fn read(
        state_dir: &Path,
        until_now: Instance,
        last: Seq,
        copies: Copies,
    ) -> Result<Lineage, Error> {
        let (then, mut formers) = match std::fs::read(state_dir.join(FILE)) {
            Ok(bytes) => decode(&bytes).unwrap_or_else(|| {
                log::warn!(
                    "{}/{FILE} is damaged and is written again",
                    state_dir.display()
                );
                ([0; 8], Vec::new())
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => ([0; 8], Vec::new()),
            Err(error) => return Err(failed(state_dir, &error)),
        };
        let place = place(state_dir);
        let is_known = then != [0; 8] && place != [0; 8];
        let is_copy = copies == Copies::Notice && is_known && then != place;
        let latest = latest(&mut formers, until_now, last);
        formers.push(latest);
        let mut name: Instance = key::random();
        if is_copy {
            formers
                .iter_mut()
                .for_each(|former| former.origin = Origin::Copied);
        } else if latest.origin == Origin::Here {
            name[..KIN_BYTES].copy_from_slice(&until_now[..KIN_BYTES]);
        }
        Ok(Lineage {
            name,
            formers,
            place,
            is_copy,
        })
    }

    /// The name of this opening.
    pub(in crate::drive) fn name(&self) -> Instance {
        self.name
    }

    /// Was this name, that of a lease, taken by this state directory?
    pub(in crate::drive) fn has(&self, name: &Instance) -> bool {
        let is_it = |former: &Former| former.name == *name && former.origin == Origin::Here;
        self.name == *name || self.formers.iter().any(is_it)
    }

    /// Whoever published under this name, through this record of its spool.
    pub(in crate::drive) fn sender(&self, name: &Instance, through: Seq) -> Sender {
        if self.name == *name {
            return Sender::This(through);
        }
        match self.formers.iter().find(|former| former.name == *name) {
            Some(former) if through <= former.last => Sender::This(through),
            Some(former) => Sender::Original(former.last),
            None => Sender::Other,
        }
    }

    /// How far this directory has published, under whatever name, as an index tells.
    pub(in crate::drive) fn share(&self, index: &Index) -> Result<Share, Error> {
        let mut all = Share::default();
        let formers = self.formers.iter().map(|former| former.name);
        for name in formers.chain([self.name]) {
            let Some(share) = share_of(index, &name)? else {
                continue;
            };
            match self.sender(&name, share.through) {
                Sender::This(through) => {
                    all.through = all.through.max(through);
                    all.epoch = all.epoch.max(share.epoch);
                }
                Sender::Original(last) => all.through = all.through.max(last),
                Sender::Other => {}
            }
        }
        Ok(all)
    }

    /// The former name that is to be forgotten, if there are too many. Not one of the newest: the lease on the store may
    /// be under it, from when changes were left to wait. Of the others, one that published nothing that the index knows
    /// of, or the oldest.
    pub(in crate::drive) fn outgrown(&self, index: &Index) -> Result<Option<Instance>, Error> {
        if self.formers.len() <= FORMERS_MAX {
            return Ok(None);
        }
        let older = &self.formers[..FORMERS_MAX - NEWEST];
        for former in older {
            if share_of(index, &former.name)?.is_none() {
                return Ok(Some(former.name));
            }
        }
        Ok(older.first().map(|former| former.name))
    }

    /// The last record that was appended under any former name.
    fn last(&self) -> Seq {
        let lasts = self.formers.iter().map(|former| former.last);
        lasts.max().unwrap_or_default()
    }

    /// Notes the name of this opening, but not the one that is to be forgotten.
    fn keep(
        &self,
        state_dir: &Path,
        drive: DriveId,
        outgrown: Option<Instance>,
    ) -> Result<(), Error> {
        let kept = self.formers.iter();
        let kept = kept.filter(|former| Some(former.name) != outgrown);
        let bytes = encode(self.place, kept);
        durable::write_file(&state_dir.join(FILE), &bytes)
            .map_err(|error| failed(state_dir, &error))?;
        identity::rename(state_dir, drive, self.name)
    }
}

/// Takes the name until now out of those that are noted: whoever was killed between the two files has noted it already,
/// and if it came with a copy, under no other record as its last than then.
fn latest(formers: &mut Vec<Former>, until_now: Instance, last: Seq) -> Former {
    let noted = formers.iter().position(|former| former.name == until_now);
    match noted.map(|at| formers.remove(at)) {
        Some(copied) if copied.origin == Origin::Copied => copied,
        Some(_) | None => Former {
            name: until_now,
            last,
            origin: Origin::Here,
        },
    }
}

fn failed(state_dir: &Path, error: &std::io::Error) -> Error {
    Error::of_local(format!("{}/{FILE}: {error}", state_dir.display()), error)
}

fn share_of(index: &Index, name: &Instance) -> Result<Option<Share>, Error> {
    let value = index.base_get(&Share::key(name))?;
    Ok(value.and_then(|value| Share::decode(&value)))
}

/// What a copy of a directory has not: the moment of its making, and the machine it is on. Zeros when the system tells
/// neither.
fn place(state_dir: &Path) -> [u8; 8] {
    let born = std::fs::metadata(state_dir).and_then(|meta| meta.created());
    let born = born
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let born = born.map_or(0, |since| since.as_nanos());
    let machine = std::fs::read(MACHINE_ID).unwrap_or_default();
    if born == 0 && machine.is_empty() {
        return [0; 8];
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"ods: where a state directory is");
    hasher.update(&born.to_le_bytes());
    hasher.update(&machine);
    first_of(hasher.finalize().as_bytes())
}

fn first_of<const N: usize>(hash: &[u8; 32]) -> [u8; N] {
    std::array::from_fn(|at| hash[at])
}

fn encode<'f>(place: [u8; 8], formers: impl Iterator<Item = &'f Former>) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(&place);
    for former in formers {
        bytes.extend_from_slice(&former.name);
        bytes.extend_from_slice(&former.last.0.to_le_bytes());
        bytes.push(match former.origin {
            Origin::Here => 0,
            Origin::Copied => 1,
        });
    }
    let check: [u8; 4] = first_of(blake3::hash(&bytes).as_bytes());
    bytes.extend_from_slice(&check);
    bytes
}

fn decode(bytes: &[u8]) -> Option<([u8; 8], Vec<Former>)> {
    let (body, check) = bytes.split_last_chunk::<4>()?;
    if first_of::<4>(blake3::hash(body).as_bytes()) != *check {
        return None;
    }
    let rest = body.strip_prefix(&[VERSION])?;
    let (place, rest) = rest.split_first_chunk::<8>()?;
    let (formers, rest) = rest.as_chunks::<FORMER_BYTES>();
    let formers: Option<Vec<Former>> = formers.iter().map(decode_former).collect();
    Some((*place, formers.filter(|_| rest.is_empty())?))
}

fn decode_former(bytes: &[u8; FORMER_BYTES]) -> Option<Former> {
    let (name, rest) = bytes.split_first_chunk::<8>()?;
    let (last, rest) = rest.split_first_chunk::<8>()?;
    let origin = match rest {
        [0] => Origin::Here,
        [1] => Origin::Copied,
        _ => return None,
    };
    Some(Former {
        name: *name,
        last: Seq(u64::from_le_bytes(*last)),
        origin,
    })
}

impl Drive {
    /// A copy in whose spool changes wait that wait in the original as well may go on with them only when told to:
    /// published twice, they are a fork.
    pub(in crate::drive) fn refuse_copy(&self) -> Result<(), Error> {
        let is_told = self.settings.takeover == Takeover::Force;
        if !self.lineage.is_copy || is_told {
            return Ok(());
        }
        let dir = self.settings.state_dir.display();
        if self.unpublished(self.journal_head().through)?.is_none() {
            log::info!("{dir} was copied or moved here: it goes by a name of its own from now on");
            return Ok(());
        }
        Err(Error::State(format!(
            "{dir} was copied or moved here while changes waited in its spool, and if the original is still there, they wait in \
             it, too: then mount that one, which brings them to Discord, and here {}; if it is gone, mount with `-o takeover` to go \
             on here with them",
            self.how_to_give_up()
        )))
    }

    /// Takes the name of this opening: from now on it may be sent. Numbers of records that went with an
    /// earlier spool are not given out again, since what covered those would seem to cover the new ones.
    pub(in crate::drive) fn take_name(&self) -> Result<(), Error> {
        let outgrown = self.lineage.outgrown(&self.index)?;
        self.lineage
            .keep(&self.settings.state_dir, self.id, outgrown)?;
        Ok(self.spool.number_after(self.lineage.last())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRIVE: DriveId = DriveId([7; 16]);

    /// Opens a directory for changes that has this record as its last; gives its names.
    fn open(dir: &Path, last: u64) -> Lineage {
        let name = identity::of(dir, DRIVE).expect("ours");
        let lineage = Lineage::read(dir, name, Seq(last), Copies::Notice).expect("readable");
        lineage.keep(dir, DRIVE, None).expect("kept");
        lineage
    }

    fn copy(from: &Path, to: &Path) {
        for entry in std::fs::read_dir(from).expect("a list").flatten() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
        }
    }

    /// Two directories that were not made in the same tick of the system's clock.
    fn born_apart() -> (tempfile::TempDir, tempfile::TempDir) {
        let make = || tempfile::tempdir().expect("a directory");
        let first = make();
        let mut second = make();
        while place(first.path()) == place(second.path()) {
            second = make();
        }
        (first, second)
    }

    #[test]
    fn what_a_copy_and_its_original_send_later_is_the_other_s() {
        let (first, second) = born_apart();
        let [first, second] = [first.path(), second.path()];
        let before = open(first, 10);
        copy(first, second);
        let (original, copied) = (open(first, 30), open(second, 20));
        assert!(!original.is_copy && copied.is_copy);
        assert!(!copied.has(&original.name()) && !original.has(&copied.name()));
        assert_eq!(original.sender(&copied.name(), Seq(25)), Sender::Other);
        assert_eq!(copied.sender(&original.name(), Seq(25)), Sender::Other);
        // What was sent under the name that both had.
        let common = before.name();
        assert!(original.has(&common) && !copied.has(&common));
        assert_eq!(original.sender(&common, Seq(25)), Sender::This(Seq(25)));
        assert_eq!(copied.sender(&common, Seq(15)), Sender::This(Seq(15)));
        assert_eq!(copied.sender(&common, Seq(25)), Sender::Original(Seq(20)));
        // It is a copy until it has a name of its own.
        assert!(!open(second, 40).is_copy);
        assert!(are_kin(&original.name(), &common) && !are_kin(&copied.name(), &common));
    }

    #[test]
    fn a_directory_without_the_file_or_with_a_damaged_one_goes_on_with_its_name() {
        let dir = tempfile::tempdir().expect("a directory");
        let before = open(dir.path(), 10);
        let path = dir.path().join(FILE);
        let whole = std::fs::read(&path).expect("there");
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            std::fs::write(&path, bytes).expect("written");
            let name = identity::of(dir.path(), DRIVE).expect("ours");
            let read = Lineage::read(dir.path(), name, Seq(12), Copies::Notice);
            let read = read.expect("readable");
            assert!(!read.is_copy && read.has(&before.name()), "byte {at}");
        }
        std::fs::remove_file(&path).expect("removed");
        let after = open(dir.path(), 12);
        assert!(after.has(&before.name()) && after.formers.len() == 1);
    }

    fn with_share(index: &Index, name: &Instance, number: u64) -> Share {
        let share = Share {
            through: Seq(number),
            epoch: crate::id::EpochNo(number),
        };
        let mut batch = crate::index::Batch::default();
        let key = Share::key(name);
        batch.put(key, share.encode()).expect("short");
        index.load(&batch).expect("loaded");
        share
    }

    /// As an opening for changes does that has this record as its last.
    fn open_of_many(dir: &Path, index: &Index, last: u64) -> Lineage {
        let name = identity::of(dir, DRIVE).expect("ours");
        let read = Lineage::read(dir, name, Seq(last), Copies::Notice);
        let lineage = read.expect("readable");
        let outgrown = lineage.outgrown(index).expect("looked");
        lineage.keep(dir, DRIVE, outgrown).expect("kept");
        assert!(lineage.formers.len() <= FORMERS_MAX + 1);
        lineage
    }

    #[test]
    fn of_very_many_names_those_that_published_are_kept() {
        let (dir, index) = [(); 2]
            .map(|()| tempfile::tempdir().expect("a directory"))
            .into();
        let index = Index::open(index.path(), 1 << 20).expect("opens");
        let first = open(dir.path(), 1).name();
        let share = with_share(&index, &first, 1);
        for last in 2..200 {
            let lineage = open_of_many(dir.path(), &index, last);
            assert_eq!(lineage.share(&index).expect("read"), share);
        }
    }

    #[test]
    fn of_very_many_names_the_newest_are_kept_since_the_lease_may_be_under_one_of_them() {
        let (dir, index) = [(); 2]
            .map(|()| tempfile::tempdir().expect("a directory"))
            .into();
        let index = Index::open(index.path(), 1 << 20).expect("opens");
        for last in 1..100 {
            let name = open_of_many(dir.path(), &index, last).name();
            with_share(&index, &name, last);
        }
        // It was killed with a change that waits; those after it get no lease.
        let killed = open_of_many(dir.path(), &index, 100).name();
        for _ in 1..NEWEST {
            let failed = open_of_many(dir.path(), &index, 101);
            assert!(failed.has(&killed), "its own lease is no stranger's");
        }
    }

    #[test]
    fn a_copy_that_was_killed_while_it_was_renamed_is_the_original_s_no_more_than_before() {
        let (first, second) = born_apart();
        let [first, second] = [first.path(), second.path()];
        let common = open(first, 10).name();
        copy(first, second);
        let before = std::fs::read(second.join("identity")).expect("there");
        let copied = open(second, 20);
        assert!(copied.is_copy);
        // Only one of the two files was written.
        for file in ["identity", "identity.copy"] {
            std::fs::write(second.join(file), &before).expect("written");
        }
        let again = open(second, 25);
        assert!(!again.has(&common) && !are_kin(&again.name(), &common));
        assert_eq!(again.sender(&common, Seq(22)), Sender::Original(Seq(20)));
        let after = open(second, 30);
        assert!(!after.has(&common) && after.has(&again.name()));
    }
}
