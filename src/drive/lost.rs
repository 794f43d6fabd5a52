//! Records that the spool's disk has lost: told at each opening and by each look, until somebody gives them up.
//! And content that never came to the store, told until then or until the drive is closed: its files say so for ever.
//!
//! The spool itself stops telling of them once the journal has passed their numbers. So they are kept in the
//! state directory, twice, as a line of JSON and one with the beginning of its BLAKE3 hash, which older files lack.
//! When neither copy is whole, something was lost that nobody knows any more, and that is told.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;

use serde::Deserialize;
use serde::Serialize;

use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::FileState;
use crate::durable;
use crate::id::InodeNo;
use crate::id::Seq;

/// Names of the two files in the state directory.
const NAMES: [&str; 2] = ["lost-records", "lost-records.copy"];

/// What one opening found missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Range {
    first: u64,
    /// None if nobody knows how far it goes.
    last: Option<u64>,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Lost {
    /// Not given up.
    ranges: Vec<Range>,
    /// Given up; still found by the spool, perhaps.
    forgotten: Vec<Range>,
}

impl Lost {
    fn read(state_dir: &Path) -> Lost {
        let mut is_there = false;
        for name in NAMES {
            let path = state_dir.join(name);
            let read = match std::fs::read(&path) {
                Ok(bytes) => Lost::decode(&bytes),
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(_) => None,
            };
            if let Some(lost) = read {
                return lost;
            }
            is_there = true;
            log::warn!("{} is damaged", path.display());
        }
        let anything = Range {
            first: 1,
            last: None,
        };
        Lost {
            ranges: is_there.then_some(anything).into_iter().collect(),
            forgotten: Vec::new(),
        }
    }

    fn write(&self, state_dir: &Path) -> Result<(), Error> {
        let bytes = self.encode()?;
        for name in NAMES {
            let path = state_dir.join(name);
            durable::write_file(&path, &bytes).map_err(|error| {
                Error::Disk(format!("cannot write {}: {error}", path.display()))
            })?;
        }
        Ok(())
    }

    fn encode(&self) -> Result<Vec<u8>, Error> {
        let text = serde_json::to_string(self).map_err(|_| Error::Malformed)?;
        Ok(format!("{text}\n{}\n", check(&text)).into_bytes())
    }

    fn decode(bytes: &[u8]) -> Option<Lost> {
        let text = str::from_utf8(bytes).ok()?;
        let text = match text.split_once('\n') {
            Some((text, rest)) => (rest.trim_end() == check(text)).then_some(text)?,
            None => text,
        };
        serde_json::from_str(text).ok()
    }

    /// In words; none if nothing is lost.
    fn told(&self) -> Option<String> {
        let ranges: Vec<String> = self.ranges.iter().map(Range::told).collect();
        (!ranges.is_empty()).then(|| {
            format!(
                "the local disk lost spool records {}; what they changed is gone",
                ranges.join(", ")
            )
        })
    }
}

fn check(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex()[..16].to_owned()
}

impl Range {
    fn told(&self) -> String {
        match self.last {
            Some(last) => format!("{} to {last}", self.first),
            None => format!("{} to the end", self.first),
        }
    }
}

fn refuse(lost: Option<&String>) -> Result<(), Error> {
    match lost {
        Some(lost) => Err(Error::Damaged(format!(
            "what could be read is on Discord, but {lost}; `ods verify` tells what is affected, and `ods repair --forget` gives \
             it up"
        ))),
        None => Ok(()),
    }
}

impl Drive {
    /// Which records of the spool its disk has lost, in words, until they are given up.
    #[must_use]
    pub fn lost_records(&self) -> Option<String> {
        self.control.board().lost_records.clone()
    }

    /// [`Drive::flush`] for whoever goes by its answer: all that could be read is on Discord then, and it is an error
    /// when this machine's disk has lost some of what was to be brought there, until that is given up.
    ///
    /// # Errors
    /// As [`Drive::flush`], and [`Error::Damaged`].
    pub fn flush_whole(&self, watch: impl FnMut() -> bool) -> Result<(), Error> {
        self.flush(watch)?;
        self.refuse_lost()
    }

    /// An error when this machine's disk has lost some of what was to be brought to the store, until that is given up.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub fn refuse_lost(&self) -> Result<(), Error> {
        refuse(self.control.board().lost_records.as_ref())?;
        self.refuse_lost_content()
    }

    /// An error when content was to go to the store since the drive was opened that the disk could not give back.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub fn refuse_lost_content(&self) -> Result<(), Error> {
        refuse(self.control.board().lost_content.as_ref())
    }

    /// Content of a file was lost before it came to the store: that is told until it is given up, once for a file.
    pub fn note_lost_content(&self, ino: InodeNo, what: &str) {
        let is_told = self.file_state(ino) == FileState::Damaged
            && self.control.board().lost_content.is_some();
        if is_told {
            return;
        }
        self.note_damage(ino, what);
        let path = match self.find_paths(&BTreeSet::from([ino])) {
            Ok(mut paths) => paths.remove(&ino),
            Err(error) => {
                log::warn!("the path of inode {ino} is not known: {error}");
                None
            }
        };
        let name = path.map_or_else(
            || format!("inode {ino}"),
            |path| String::from_utf8_lossy(&path).into_owned(),
        );
        let lost = format!("this machine lost content of {name}: {what}");
        log::error!("{lost}");
        self.control.post(|board| board.lost_content = Some(lost));
    }

    /// Tells again what was lost when the drive was opened before.
    pub(in crate::drive) fn recall_lost_records(&self) {
        let told = Lost::read(&self.settings.state_dir).told();
        self.control.post(|board| board.lost_records = told);
    }

    /// The disk lost records that were not yet published: changes are gone, and that is told.
    pub(in crate::drive) fn miss(
        &self,
        first: Seq,
        last: Option<Seq>,
        through: Seq,
    ) -> Result<(), Error> {
        let range = Range {
            // What the journal has is not missed.
            first: first.0.max(through.0 + 1),
            last: last.map(|last| last.0),
        };
        let mut lost = Lost::read(&self.settings.state_dir);
        let is_known = lost.ranges.contains(&range) || lost.forgotten.contains(&range);
        if is_known || last.is_some_and(|last| last <= through) {
            return Ok(());
        }
        log::error!(
            "the spool lost records {}: changes that were never published are gone",
            range.told()
        );
        lost.ranges.push(range);
        lost.write(&self.settings.state_dir)?;
        let told = lost.told();
        self.control.post(|board| {
            board.error = told.clone().map(Error::Damaged);
            board.lost_records = told;
        });
        Ok(())
    }

    /// Gives lost records up: nobody is told of them any more.
    pub(in crate::drive) fn forget_lost_records(&self) -> Result<(), Error> {
        let mut lost = Lost::read(&self.settings.state_dir);
        if !lost.ranges.is_empty() {
            lost.forgotten.append(&mut lost.ranges);
            lost.write(&self.settings.state_dir)?;
        }
        self.control.post(|board| {
            board.lost_records = None;
            board.lost_content = None;
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::drive::fixture;
    use crate::store::memory::Memory;

    #[test]
    fn what_was_lost_is_not_forgotten_when_its_file_is_damaged() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(Lost::read(dir.path()), Lost::default());
        let range = |first, last| Range { first, last };
        let lost = Lost {
            ranges: vec![range(7, Some(9))],
            forgotten: vec![range(2, Some(2))],
        };
        lost.write(dir.path()).expect("written");
        let paths = NAMES.map(|name| dir.path().join(name));
        let whole = std::fs::read(&paths[0]).expect("there");
        for at in 0..whole.len() - 1 {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            std::fs::write(&paths[0], &bytes).expect("written");
            assert_eq!(Lost::read(dir.path()), lost, "byte {at}");
            std::fs::write(&paths[1], &bytes).expect("written");
            let read = Lost::read(dir.path());
            assert_eq!(read.ranges, [range(1, None)], "byte {at}");
            std::fs::write(&paths[1], &whole).expect("written");
        }
        // As it was written before there was a check.
        let old = serde_json::to_vec(&lost).expect("JSON");
        std::fs::write(&paths[0], old).expect("written");
        assert_eq!(Lost::read(dir.path()), lost);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_lost_is_told_until_it_is_given_up() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Arc::new(Memory::default());
        let open = || fixture::open(fixture::settings(dir.path()), &store);
        let told = |drive: &Drive| drive.lost_records();
        let drive = open().await.expect("a new drive");
        drive.close().await;
        drop(drive);
        // Its root was never published.
        std::fs::remove_dir_all(dir.path().join("spool")).expect("removed");
        for _ in 0..2 {
            let drive = open().await.expect("it opens");
            let text = told(&drive).expect("told");
            assert!(text.contains("lost spool records 1 to "), "{text}");
            drive.close().await;
        }
        let drive = open().await.expect("it opens");
        drive.forget_lost_records().expect("the disk is good");
        assert_eq!(told(&drive), None);
        drive.close().await;
        drop(drive);
        let drive = open().await.expect("it opens");
        assert_eq!(told(&drive), None);
        drive.close().await;
    }
}
