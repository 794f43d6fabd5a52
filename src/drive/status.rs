//! How the drive is: what waits, what is under way, what went wrong.

use std::ops::Bound;

use serde::Deserialize;
use serde::Serialize;

use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::Halt;
use crate::drive::Look;
use crate::drive::control::Board;
use crate::drive::dirty::Dirty;
use crate::id::InodeNo;
use crate::index;
use crate::index::archive::Archive;
use crate::index::archive::Holding;
use crate::index::key;
use crate::index::tally::Tally;
use crate::store;

/// What the drain is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Nothing.
    #[default]
    Idle,
    /// Cutting, sealing and sending packs.
    Uploading,
    /// Writing the journal.
    Publishing,
    /// Writing a checkpoint.
    Checkpoint,
    /// Collecting garbage, or repairing.
    Tidying,
}

/// How the drive is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The drive's id, in hex.
    pub drive: String,
    /// What the drain is doing.
    pub phase: Phase,
    /// Bytes of files that are only on this machine.
    pub dirty_bytes: u64,
    /// Files with such bytes.
    pub dirty_files: u64,
    /// Of the epoch under way: bytes in all, and bytes the store has.
    pub queue_bytes: u64,
    /// Bytes of the epoch that the store has.
    pub queue_done_bytes: u64,
    /// Bytes per second since the epoch under way began.
    pub rate_bytes_per_s: u64,
    /// Seconds until everything is on the store at that rate, if it can be told.
    pub eta_s: Option<u64>,
    /// Is anything, data or names, not yet published?
    pub unpublished: bool,
    /// The last published epoch.
    pub epoch: u64,
    /// Why changes are refused, if they are.
    pub read_only: Option<String>,
    /// Which side is shown, when history has gone on elsewhere without the changes that wait here.
    #[serde(default)]
    pub forked: Option<String>,
    /// Where the journal could not be followed further when the drive was opened, and what that means, if it was so.
    #[serde(default)]
    pub halt: Option<String>,
    /// Why changes are refused for want of room, if they are.
    #[serde(default)]
    pub refusing: Option<String>,
    /// What went wrong last, if it is still so.
    pub last_error: Option<String>,
    /// Which records of the spool its disk has lost, if any, until they are given up.
    #[serde(default)]
    pub lost_records: Option<String>,
    /// The spool.
    pub spool: Spool,
    /// The cache.
    pub cache: Cache,
    /// The store; the name is that of the only kind there is.
    pub discord: Discord,
    /// What no file needs any more.
    pub garbage: Garbage,
    /// Files that could not be read back: inode number, then path and why.
    pub damaged: Vec<(u64, String)>,
    /// Each archive.
    pub archives: Vec<ArchiveStatus>,
}

/// How the spool is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spool {
    /// Bytes on disk.
    pub bytes: u64,
    /// Most bytes there may be.
    pub limit_bytes: u64,
}

/// How the cache is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cache {
    /// Bytes on disk.
    pub bytes: u64,
    /// Most bytes there may be.
    pub limit_bytes: u64,
    /// Bytes of chunks in memory.
    pub memory_bytes: u64,
}

/// What no file needs any more and the store still has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Garbage {
    /// Bytes found of no use and left, when it was last looked for; none if it was not since the drive was opened.
    pub left_bytes: Option<u64>,
    /// Packs that are buried and wait to be removed.
    pub buried_packs: u64,
    /// Bytes of those packs.
    pub buried_bytes: u64,
    /// Seconds until the first of them may be removed.
    pub next_s: Option<u64>,
}

/// What was asked of Discord.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Discord {
    /// Requests since the drive was opened.
    pub requests_total: u64,
    /// The same by kind.
    pub requests: Vec<(String, u64)>,
    /// Bytes sent in bodies.
    pub sent_bytes: u64,
    /// Bytes received in bodies.
    pub received_bytes: u64,
    /// Share of the short-term budget that is left, 0 to 1.
    pub rate_budget: f64,
    /// Seconds Discord asked us to wait, if it did.
    pub waiting_s: Option<u64>,
    /// Packs put since the drive was opened, and their bytes.
    pub packs: u64,
    /// Bytes of those packs.
    pub pack_bytes: u64,
}

/// How one archive is, as of the last published epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveStatus {
    /// `#DDMMYY-NN`.
    pub id: String,
    /// The directory's name; empty for the root's own files.
    pub name: String,
    /// Was its directory removed?
    pub removed: bool,
    /// Files in it.
    pub files: u64,
    /// Bytes of those files.
    pub file_bytes: u64,
    /// Packs on its shelf.
    pub packs: u64,
    /// Bytes of those packs.
    pub pack_bytes: u64,
}

/// Numbers for `statfs`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// Bytes the drive may hold: Discord sets no limit, so a round petabyte.
    pub total_bytes: u64,
    /// Bytes in files, without their holes.
    pub used_bytes: u64,
    /// Files.
    pub files: u64,
}

impl Space {
    /// Bytes that the drive may hold besides.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        self.total_bytes.saturating_sub(self.used_bytes)
    }
}

/// What `statfs` calls the size of the drive.
const TOTAL_BYTES: u64 = 1 << 50;

impl Discord {
    fn new(store: store::Status, board: &Board) -> Discord {
        Discord {
            requests_total: store.requests_total,
            requests: store.requests_by_kind,
            sent_bytes: store.sent_bytes,
            received_bytes: store.received_bytes,
            rate_budget: store.budget,
            waiting_s: store.waiting.map(|wait| wait.as_secs()),
            packs: board.packs,
            pack_bytes: board.pack_bytes,
        }
    }
}

impl Drive {
    /// How the drive is.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn status(&self) -> Result<Status, Error> {
        let (dirty_bytes, dirty_files, unpublished) = {
            let view = self.view();
            let frozen = view.state.frozen.as_ref();
            let bytes = view.state.gathering.spooled_bytes()
                + frozen.map_or(0, |frozen| frozen.spooled_bytes());
            let files = view.state.gathering.files() + frozen.map_or(0, |frozen| frozen.files());
            (
                bytes,
                files as u64,
                view.state.changed > self.control.board().published,
            )
        };
        let board = self.control.board().clone();
        let store = self.store.status();
        let (spool, cache) = (self.spool.usage(), self.cache.usage());
        let elapsed = board
            .epoch_started
            .map_or(0.0, |at| at.elapsed().as_secs_f64());
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate for people"
        )]
        let rate = if elapsed > 0.0 {
            (board.epoch_done_bytes as f64 / elapsed) as u64
        } else {
            0
        };
        let left = dirty_bytes.saturating_sub(board.epoch_done_bytes);
        Ok(Status {
            drive: self.id.to_string(),
            phase: board.phase,
            dirty_bytes: left,
            dirty_files,
            queue_bytes: board.epoch_bytes,
            queue_done_bytes: board.epoch_done_bytes,
            rate_bytes_per_s: rate,
            eta_s: left.checked_div(rate),
            unpublished,
            epoch: self.journal_head().epoch.0,
            read_only: self.read_only(),
            forked: board.forked.clone(),
            halt: board.halt.as_ref().map(Halt::told),
            refusing: board.refusing.as_ref().map(|(_, what)| what.clone()),
            last_error: self
                .index_damage()
                .or_else(|| board.error.as_ref().map(Error::to_string))
                .or_else(|| board.read_error.clone())
                .or_else(|| store.last_error.clone()),
            lost_records: board.lost_records.clone(),
            spool: Spool {
                bytes: spool.disk_bytes,
                limit_bytes: spool.limit_bytes,
            },
            cache: Cache {
                bytes: cache.bytes,
                limit_bytes: cache.limit_bytes,
                memory_bytes: self.memory.bytes(),
            },
            discord: Discord::new(store, &board),
            garbage: self.buried()?,
            damaged: self.damaged_by_path(),
            archives: self.archives()?,
        })
    }

    fn index_damage(&self) -> Option<String> {
        let damage = self.index.damage()?;
        Some(index::Error::Damaged(damage).to_string())
    }

    fn archives(&self) -> Result<Vec<ArchiveStatus>, Error> {
        let (from, to) = key::all(b'A');
        let mut archives = Vec::new();
        for entry in self
            .index
            .scan(Bound::Included(&from), Bound::Excluded(&to))
        {
            let (key, value) = entry?;
            let Some(no) = key::archive_of(&key) else {
                continue;
            };
            let archive = Archive::decode(&value)?;
            let holding: Holding = self.holding(no)?;
            archives.push(ArchiveStatus {
                id: archive.id.to_string(),
                name: String::from_utf8_lossy(&archive.name).into_owned(),
                removed: archive.removed && holding.files == 0,
                files: holding.files,
                file_bytes: holding.file_bytes,
                packs: holding.packs,
                pack_bytes: holding.pack_bytes,
            });
        }
        Ok(archives)
    }

    /// Numbers for `statfs`: as of the last published epoch, plus what waits in the spool.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn space(&self) -> Result<Space, Error> {
        let (from, to) = key::all(b'B');
        let mut space = Space {
            total_bytes: TOTAL_BYTES,
            ..Space::default()
        };
        // The epoch that is being published counts as waiting until all of it is.
        let view = self.view();
        for entry in self
            .index
            .base_scan(Bound::Included(&from), Bound::Excluded(&to))
        {
            let (key, value) = entry?;
            let holding = Holding::decode(&value)?;
            let tally = match key::archive_of(&key) {
                Some(no) => self.index.base_get(&key::tally(no))?,
                None => None,
            };
            // An older drive has no tallies before its next epoch.
            space.used_bytes += match tally {
                Some(tally) => Tally::decode(&tally)?.stored_bytes,
                None => holding.file_bytes,
            };
            space.files += holding.files;
        }
        let frozen = view.state.frozen.as_ref();
        space.used_bytes += view.state.gathering.spooled_bytes();
        space.used_bytes += frozen.map_or(0, Dirty::spooled_bytes);
        space.files += view.inode(InodeNo::ROOT)?.map_or(0, |_| 1);
        Ok(space)
    }
}
