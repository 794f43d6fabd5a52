//! Records that the spool's disk has lost: told at each opening and by each look, until somebody gives them up.
//!
//! The spool itself stops telling of them once the journal has passed their numbers. So they are kept in the
//! state directory, as JSON.

use std::path::Path;

use serde::Deserialize;
use serde::Serialize;

use crate::drive::Drive;
use crate::drive::Error;
use crate::durable;
use crate::id::Seq;

/// Name of the file in the state directory.
const NAME: &str = "lost-records";

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
        let path = state_dir.join(NAME);
        let Ok(bytes) = std::fs::read(&path) else {
            return Lost::default();
        };
        serde_json::from_slice(&bytes).unwrap_or_else(|error| {
            log::warn!("{} cannot be read: {error}", path.display());
            Lost::default()
        })
    }

    fn write(&self, state_dir: &Path) -> Result<(), Error> {
        let path = state_dir.join(NAME);
        let bytes = serde_json::to_vec(self).map_err(|_| Error::Malformed)?;
        durable::write_file(&path, &bytes)
            .map_err(|error| Error::Disk(format!("cannot write {}: {error}", path.display())))
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

impl Range {
    fn told(&self) -> String {
        match self.last {
            Some(last) => format!("{} to {last}", self.first),
            None => format!("{} to the end", self.first),
        }
    }
}

impl Drive {
    /// Which records of the spool its disk has lost, in words, until they are given up.
    #[must_use]
    pub fn lost_records(&self) -> Option<String> {
        self.control.board().lost_records.clone()
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
        self.control.post(|board| board.lost_records = None);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::drive::fixture;
    use crate::store::memory::Memory;

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
