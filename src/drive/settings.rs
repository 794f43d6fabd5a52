//! What may be chosen about a drive on this machine, and what is chosen when nobody does.

use std::path::PathBuf;
use std::time::Duration;

use crate::clock::Clock;
use crate::drive::gc;
use crate::size::GIB;
use crate::size::MIB;

/// What may be chosen about a drive on this machine.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Everything local lies here: spool, index, cache, lock, socket.
    pub state_dir: PathBuf,
    /// Where the spool lies, if not in the state directory.
    pub spool_dir: Option<PathBuf>,
    /// Where the cache lies, if not in the state directory.
    pub cache_dir: Option<PathBuf>,
    /// Most bytes in the spool before writers wait.
    pub spool_bytes_max: u64,
    /// Bytes of the disk that the spool leaves free.
    pub reserve_bytes: u64,
    /// Most bytes of cached frames.
    pub cache_bytes_max: u64,
    /// Most bytes of chunks kept in memory.
    pub memory_bytes_max: u64,
    /// Most bytes of memory for changes that are not yet being published: names, attributes, and where the
    /// content of files lies. Beyond it a change waits as for space in the spool.
    pub changes_bytes_max: usize,
    /// How long a read may wait for the store.
    pub read_timeout: Duration,
    /// How long the store may be out of reach before a change that needs room is refused; until then it waits.
    pub write_timeout: Duration,
    /// How long one change may wait for room while the store takes what is in the spool, before whoever makes it
    /// is asked to try again.
    pub room_timeout: Duration,
    /// How long the drive must be quiet before what was written is published.
    pub linger: Duration,
    /// How old a change may get before it is published although writing goes on.
    pub age_max: Duration,
    /// Spooled bytes that are published without waiting for quiet; at most a quarter of the spool.
    pub epoch_bytes: u64,
    /// Most sealed bytes on their way to the store at once.
    pub flight_bytes_max: u64,
    /// Segments of the journal after which a checkpoint is written at the latest.
    pub tail_segments_max: u32,
    /// Are archive names shown on cards?
    pub names: Names,
    /// What this machine is called in the lease.
    pub holder: String,
    /// Owner of a new drive's root directory.
    pub owner: (u32, u32),
    /// May changes be made?
    pub access: Access,
    /// Which index is begun with.
    pub begin: Begin,
    /// What to do when another machine holds the lease.
    pub takeover: Takeover,
    /// Is it noticed that the state directory is a copy?
    pub copies: Copies,
    /// Is garbage collected unasked?
    pub gc: gc::Collecting,
    /// How long what nothing refers to stays on the store.
    pub gc_delay: Duration,
    /// Where time comes from.
    pub clock: Clock,
}

/// Are the names of top-level directories shown to members of the server?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Names {
    /// Cards show the archive's id alone.
    #[default]
    Private,
    /// Cards show the name too.
    Shown,
}

/// May the drive be changed through this mount?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Access {
    /// Reads and changes.
    #[default]
    Write,
    /// Reads only; needs no lease.
    Read,
}

/// Which index a drive is opened with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Begin {
    /// The one this machine has.
    #[default]
    Kept,
    /// A new one, made from the journal alone. The one this machine has goes when the new one is whole, and
    /// stays when it cannot be made, or would know less.
    Anew,
}

/// What to do when another machine holds the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Takeover {
    /// Give up and say who holds it.
    #[default]
    Refuse,
    /// Take it; the other machine's unpublished changes will be refused.
    Force,
}

/// Is it noticed that the state directory is a copy of another one, or was moved?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Copies {
    /// It is taken for what it is a copy of, until one of the two publishes something.
    #[default]
    Ignore,
    /// It is told when it is opened for changes, where the system tells one directory from another.
    Notice,
}

impl Settings {
    /// Where the spool is.
    #[must_use]
    pub fn spool_dir(&self) -> PathBuf {
        let chosen = self.spool_dir.clone();
        chosen.unwrap_or_else(|| self.state_dir.join("spool"))
    }

    /// Where the cache is.
    #[must_use]
    pub fn cache_dir(&self) -> PathBuf {
        let chosen = self.cache_dir.clone();
        chosen.unwrap_or_else(|| self.state_dir.join("cache"))
    }

    /// The defaults, with everything under `state_dir`.
    #[must_use]
    pub fn new(state_dir: PathBuf) -> Settings {
        Settings {
            state_dir,
            spool_dir: None,
            cache_dir: None,
            spool_bytes_max: 10 * GIB,
            reserve_bytes: GIB,
            cache_bytes_max: 10 * GIB,
            memory_bytes_max: 64 * MIB,
            changes_bytes_max: 64 << 20,
            read_timeout: Duration::from_secs(60),
            // A router that starts again, a change of networks, a laptop that wakes up: a minute.
            write_timeout: Duration::from_secs(60),
            // A process waiting in FUSE cannot be killed, and Linux reports a task as hung after 120 s.
            room_timeout: Duration::from_secs(90),
            linger: Duration::from_secs(3),
            age_max: Duration::from_secs(30),
            epoch_bytes: 512 * MIB,
            flight_bytes_max: 128 * MIB,
            tail_segments_max: 400,
            names: Names::Private,
            holder: String::from("this machine"),
            owner: (0, 0),
            access: Access::Write,
            begin: Begin::Kept,
            takeover: Takeover::Refuse,
            copies: Copies::Ignore,
            gc: gc::Collecting::Auto,
            gc_delay: gc::DELAY,
            clock: Clock::System,
        }
    }
}
