//! What came of an old archive, and what did not.

use serde::Deserialize;
use serde::Serialize;

use crate::import::Mode;

/// Most that is listed of each kind; what is beyond is only counted.
const LISTED_MAX: usize = 10_000;

/// What came, and what did not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Whether anything was written.
    pub mode: Mode,
    /// Was all of it looked at? False when it was interrupted.
    pub complete: bool,
    /// Files written, or that would be.
    pub files: u64,
    /// Bytes of those.
    pub bytes: u64,
    /// Files that were there already, and right.
    pub skipped: u64,
    /// Bytes of those.
    pub skipped_bytes: u64,
    /// The files written, or that would be; the first ten thousand.
    pub written: Vec<Written>,
    /// How much could not be had.
    pub lost_count: u64,
    /// What could not be had, or differs from what the archive says of it; the first ten thousand.
    pub lost: Vec<Lost>,
}

/// A file that came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Its path in the drive.
    pub path: String,
    /// Its length.
    pub bytes: u64,
}

/// Something that could not be had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// Its path in the archive; or words, where nobody knows.
    pub path: String,
    /// The piece or part that is to blame, if one is.
    pub piece: Option<String>,
    /// Why.
    pub why: String,
}

impl Report {
    pub(in crate::import) fn new(mode: Mode) -> Report {
        Report {
            mode,
            ..Report::default()
        }
    }

    pub(in crate::import) fn write(&mut self, path: String, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
        if self.written.len() < LISTED_MAX {
            self.written.push(Written { path, bytes });
        }
    }

    pub(in crate::import) fn skip(&mut self, bytes: u64) {
        self.skipped += 1;
        self.skipped_bytes += bytes;
    }

    /// The same and what came of another archive.
    pub fn add(&mut self, other: Report) {
        self.complete &= other.complete;
        self.files += other.files;
        self.bytes += other.bytes;
        self.skipped += other.skipped;
        self.skipped_bytes += other.skipped_bytes;
        self.lost_count += other.lost_count;
        let room = |list: usize| LISTED_MAX.saturating_sub(list);
        let (written, lost) = (room(self.written.len()), room(self.lost.len()));
        self.written.extend(other.written.into_iter().take(written));
        self.lost.extend(other.lost.into_iter().take(lost));
    }

    /// Something could not be had.
    pub fn lose(&mut self, lost: Lost) {
        self.lost_count += 1;
        if self.lost.len() < LISTED_MAX {
            self.lost.push(lost);
        }
    }
}
