//! Verifying: is everything there that the drive needs, and is it whole?
//!
//! ```text
//! content   every extent → its chunk's place → its pack: known, and big enough        places.rs
//! shelves   every pack that is needed is listed, with the right length                shelves.rs
//! frames    (full) every needed frame is fetched and unsealed, with its pack's ends   frames.rs
//! names     entries ↔ inodes ↔ counts of links, listings, orphans                     names.rs
//! history   superblock, checkpoints and segments that a rebuild reads                 history.rs
//! local     bytes in the spool; (full) frames in the cache                            local.rs
//! ```
//!
//! The drive goes on changing meanwhile, and chunks may be moved. So nothing is reported that was only
//! seen once: whatever looks wrong is looked at again, in the state of that later moment, and counts
//! only if it is still wrong in the same way. What was written after a check began may be left out.
//!
//! Files found damaged before are fetched in full also by a quick look, so that it may clear them.
//! Memory: a few dozen bytes for each pack and each file; what belongs to chunks is done in portions.

pub(in crate::drive) mod frames;
mod history;
mod local;
mod names;
mod paths;
pub(in crate::drive) mod places;
mod report;
mod shelves;

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use serde::Deserialize;
use serde::Serialize;

use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::scope::Files;
use crate::drive::scope::Scope;
use crate::drive::task::Task;
use crate::drive::verify::places::Where;
use crate::id::ChunkId;
use crate::id::EpochNo;
use crate::id::InodeNo;
use crate::id::PackId;

pub use report::Counts;
pub use report::Kind;
pub use report::Problem;
pub use report::Report;

/// How closely to look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Depth {
    /// Everything needed exists, with the right length: by listing.
    #[default]
    Quick,
    /// Everything needed is fetched and unsealed.
    Full,
}

/// What is to be verified, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// What.
    pub scope: Scope,
    /// How.
    pub depth: Depth,
}

/// What is wrong with a pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::drive) enum Ill {
    /// It is not on the store.
    Missing,
    /// It has another length.
    Length {
        /// That one.
        found: u64,
    },
    /// The index does not know it.
    Unknown,
    /// What surrounds its frames is damaged; the text says what.
    Ends(String),
    /// Frames of it do not open.
    Frames,
}

/// What is wrong with the history that a rebuild would read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::drive) struct HistoryIll {
    /// In words, one each.
    pub(in crate::drive) what: Vec<String>,
    /// No epoch up to this one can be reached from before it.
    pub(in crate::drive) broken_up_to: EpochNo,
}

/// What was found. Everything in here was seen twice.
#[derive(Clone, Debug, Default)]
pub(in crate::drive) struct Findings {
    /// Packs that something needs and that are not as they should be.
    pub(in crate::drive) packs: BTreeMap<PackId, Ill>,
    /// Chunks that cannot be read from where the index says they are.
    pub(in crate::drive) chunks: BTreeMap<ChunkId, Bad>,
    /// The files that need those chunks.
    pub(in crate::drive) owners: BTreeMap<InodeNo, BTreeSet<ChunkId>>,
    /// Bytes of each file that a local disk lost for good.
    pub(in crate::drive) lost: BTreeMap<InodeNo, u64>,
    /// Bytes of each file that were given up.
    pub(in crate::drive) forgotten: BTreeMap<InodeNo, u64>,
    /// Files with bytes in the spool that cannot be read back, and why.
    pub(in crate::drive) spooled: BTreeMap<InodeNo, String>,
    /// Spool records that the disk lost.
    pub(in crate::drive) records: Option<String>,
    /// What in the index does not fit together, and the inodes it is about.
    pub(in crate::drive) index: Vec<(String, Vec<InodeNo>)>,
    /// What is wrong with the journal.
    pub(in crate::drive) history: HistoryIll,
    /// What is wrong with the superblock.
    pub(in crate::drive) superblock: Option<String>,
    /// How much was looked at.
    pub(in crate::drive) counts: Counts,
    /// Worth knowing, but no problem.
    pub(in crate::drive) notes: Vec<String>,
}

/// Why a chunk cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::drive) enum Bad {
    /// The index does not say where it is.
    NoPlace,
    /// Its place cannot be right.
    WrongPlace,
    /// This pack, where it should be, is missing, too short or not known.
    Pack(PackId),
    /// Its frame in this pack does not open.
    Frame(PackId),
    /// It can be read, but what surrounds the frames of this pack is damaged.
    Ends(PackId),
}

impl Drive {
    /// Verifies. An interrupted look reports what it found until then.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a scope that is not there; when the index cannot be read or the store
    /// not be reached.
    pub fn verify(&self, wish: &Wish, task: &Task<'_>) -> Result<Report, Error> {
        let mut findings = Findings::default();
        let complete = match self.look(wish, task, &mut findings) {
            Ok(()) => true,
            Err(Error::Interrupted) => false,
            Err(error) => return Err(error),
        };
        self.report(wish, &findings, complete)
    }

    /// Looks at everything the wish says, and takes note of damaged files.
    pub(in crate::drive) fn look(
        &self,
        wish: &Wish,
        task: &Task<'_>,
        findings: &mut Findings,
    ) -> Result<(), Error> {
        let requests = self.store.status().requests_total;
        let looked = self.look_around(wish, task, findings);
        findings.counts.requests = self.store.status().requests_total - requests;
        looked
    }

    fn look_around(
        &self,
        wish: &Wish,
        task: &Task<'_>,
        findings: &mut Findings,
    ) -> Result<(), Error> {
        task.begin("looking for files", 0, 0)?;
        let files = self.files_of(&wish.scope, task)?;
        if files == Files::All {
            self.look_at_index(task, findings)?;
            self.look_at_names(task, findings)?;
            self.look_at_superblock(task, findings)?;
            self.look_at_history(wish.depth, task, findings)?;
        }
        self.look_at_content(&files, wish.depth, task, findings)?;
        if (wish.depth, &files) == (Depth::Full, &Files::All) {
            self.look_at_cache(task, findings)?;
        }
        Ok(())
    }

    /// Looks at the content of files, and takes note of what it finds.
    pub(in crate::drive) fn look_at_content(
        &self,
        files: &Files,
        depth: Depth,
        task: &Task<'_>,
        findings: &mut Findings,
    ) -> Result<(), Error> {
        self.look_at_spool(files, task, findings)?;
        let known = self.damaged_among(files);
        let needed = self.look_at_places(files, task, findings)?;
        self.look_at_shelves(&needed, task, findings)?;
        match depth {
            Depth::Full => self.look_at_frames(files, needed.chunks, task, findings)?,
            Depth::Quick if known.is_empty() => {}
            Depth::Quick => {
                let again = Files::These(known.clone());
                self.look_at_frames(&again, needed.chunks, task, findings)?;
            }
        }
        self.find_owners(files, task, findings)?;
        self.note_findings(&known, findings);
        Ok(())
    }

    /// The files of a scope that could not be read back when it was last tried, ascending.
    fn damaged_among(&self, files: &Files) -> Vec<InodeNo> {
        let mut known: Vec<InodeNo> = self.damaged().into_keys().collect();
        known.retain(|ino| files.contains(*ino));
        known.sort_unstable();
        known
    }

    /// Remembers the files with damage, forgets those without, and makes sure that damaged chunks are
    /// stored again when the same content is written again.
    fn pack_of(&self, chunk: &ChunkId) -> Option<PackId> {
        match self.whereabouts(chunk) {
            Ok(Where::Here(place, _)) => Some(place.pack),
            _ => None,
        }
    }

    fn note_findings(&self, known: &[InodeNo], findings: &Findings) {
        for ino in known {
            let is_ill = findings.owners.contains_key(ino)
                || findings.lost.contains_key(ino)
                || findings.forgotten.contains_key(ino)
                || findings.spooled.contains_key(ino);
            if !is_ill {
                self.clear_damage(*ino);
            }
        }
        for ino in findings.owners.keys() {
            self.note_damage(
                *ino,
                "some of its content on the store is damaged or missing",
            );
        }
        for ino in findings.lost.keys() {
            self.note_damage(*ino, "some of its bytes were lost for good");
        }
        for ino in findings.forgotten.keys() {
            self.note_damage(*ino, "some of its bytes were lost and given up");
        }
        for (ino, what) in &findings.spooled {
            self.note_damage(*ino, what);
        }
        for (chunk, bad) in &findings.chunks {
            let pack = match bad {
                Bad::Ends(_) => None,
                Bad::WrongPlace => self.pack_of(chunk),
                _ => bad.pack(),
            };
            if let Some(pack) = pack {
                self.distrust(*chunk, pack);
            }
        }
    }
}
