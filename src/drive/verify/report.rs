//! The report: what was looked at, what is wrong, whose it is, and what to do.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use serde::Deserialize;
use serde::Serialize;

use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::verify::Bad;
use crate::drive::verify::Depth;
use crate::drive::verify::Findings;
use crate::drive::verify::Ill;
use crate::drive::verify::Wish;
use crate::id::ChunkId;
use crate::id::InodeNo;
use crate::id::PackId;

/// How much was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Inodes of all kinds, when all names were looked at.
    pub inodes: u64,
    /// Files with content on the store.
    pub files: u64,
    /// Of those, files that cannot be read back whole.
    pub files_damaged: u64,
    /// Extents of their manifests.
    pub extents: u64,
    /// Extents that refer to a chunk.
    pub chunks: u64,
    /// Bytes of those.
    pub chunk_bytes: u64,
    /// Packs they lie in.
    pub packs: u64,
    /// Bytes of those packs.
    pub pack_bytes: u64,
    /// Frames that were fetched and unsealed.
    pub frames: u64,
    /// Bytes that were fetched for it.
    pub fetched_bytes: u64,
    /// Checkpoints in the journal.
    pub checkpoints: u64,
    /// Segments in the journal since the oldest of them.
    pub segments: u64,
    /// Bytes in the spool that were read back.
    pub spool_bytes: u64,
    /// Frames in the cache that were unsealed.
    pub cache_frames: u64,
    /// Requests that it took.
    pub requests: u64,
}

/// What a problem is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Content on the store is missing or damaged.
    Content,
    /// A pack is damaged around its frames; its content can be read.
    Pack,
    /// Bytes that are lost for good.
    Lost,
    /// Bytes in the local spool cannot be read back.
    Spool,
    /// The index does not fit together.
    Index,
    /// History could not be read back by another machine.
    History,
    /// The superblock could not be read by another machine.
    Superblock,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What it is about.
    pub kind: Kind,
    /// What is wrong, in words.
    pub what: String,
    /// The files and directories it is about, all their names.
    pub paths: Vec<String>,
    /// What to do about it.
    pub advice: String,
}

/// What came of a look.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// How closely it was looked.
    pub depth: Depth,
    /// Was it looked at everything? Not if it was interrupted.
    pub complete: bool,
    /// The published epoch that it was about, or a later one.
    pub epoch: u64,
    /// Was everything looked at, and is nothing wrong?
    pub healthy: bool,
    /// How much that was.
    pub checked: Counts,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// What is worth knowing, but no problem.
    pub notes: Vec<String>,
}

const REPAIR: &str = "`ods repair` stores again what this machine still has";
const LOST: &str = "nothing brings these bytes back; restore the file from elsewhere, or remove it";
const SPOOL: &str =
    "copy what can still be read, and write the file again; the local disk is failing";
const RECORDS: &str = "look at the files that were changed last, and write again what is missing; then `ods repair --forget`; the local disk is failing";
const INDEX: &str = "unmount, remove the `index` directory in the state directory, and mount again: it is rebuilt from the journal";
const HISTORY: &str = "`ods repair` on this machine writes a new checkpoint; until then no other machine can rebuild the drive";
const SUPERBLOCK: &str = "`ods repair` on this machine puts it there again; until then no other machine can open the drive";

impl Findings {
    /// Everything that something is wrong with.
    pub(in crate::drive) fn concerned(&self) -> BTreeSet<InodeNo> {
        let index = self.index.iter().flat_map(|(_, inodes)| inodes);
        let lost = self.lost.keys().chain(self.forgotten.keys());
        let lost = lost.chain(self.spooled.keys());
        self.owners
            .keys()
            .chain(lost)
            .chain(index)
            .copied()
            .collect()
    }

    /// Chunks by what is wrong with them.
    fn by_pack(&self) -> BTreeMap<(Option<PackId>, bool), BTreeSet<ChunkId>> {
        let mut groups: BTreeMap<(Option<PackId>, bool), BTreeSet<ChunkId>> = BTreeMap::new();
        for (id, bad) in &self.chunks {
            let is_harmless = matches!(bad, Bad::Ends(_));
            let group = groups.entry((bad.pack(), is_harmless)).or_default();
            group.insert(*id);
        }
        groups
    }

    fn group_text(&self, pack: Option<PackId>, chunks: &BTreeSet<ChunkId>) -> String {
        let count = match chunks.len() {
            1 => String::from("one chunk"),
            count => format!("{count} chunks"),
        };
        let Some(pack) = pack else {
            return format!("the index has no right place for {count}");
        };
        match self.packs.get(&pack) {
            Some(Ill::Missing) => format!("pack {pack} with {count} is not on Discord"),
            Some(Ill::Length { .. }) => {
                format!("pack {pack} with {count} has another length than was put there")
            }
            Some(Ill::Unknown) => format!("the index does not know pack {pack} with {count}"),
            Some(Ill::Ends(text)) => format!("pack {pack}: {text}; {count} can still be read"),
            Some(Ill::Frames) | None => format!("{count} in pack {pack} cannot be unsealed"),
        }
    }
}

/// Puts problems together, and says whose they are.
struct Writer {
    paths: BTreeMap<InodeNo, Vec<String>>,
    problems: Vec<Problem>,
}

impl Writer {
    /// All names of these inodes, each once.
    fn named(&self, inodes: impl IntoIterator<Item = InodeNo>) -> Vec<String> {
        let mut all = Vec::new();
        for ino in inodes {
            match self.paths.get(&ino) {
                Some(names) => all.extend(names.iter().cloned()),
                None => all.push(format!("(inode {ino}, which has no name)")),
            }
        }
        all.sort_unstable();
        all.dedup();
        all
    }

    fn add(
        &mut self,
        kind: Kind,
        what: String,
        inodes: impl IntoIterator<Item = InodeNo>,
        advice: &str,
    ) {
        self.problems.push(Problem {
            kind,
            what,
            paths: self.named(inodes),
            advice: advice.to_owned(),
        });
    }

    fn add_all(&mut self, findings: &Findings) {
        for ((pack, is_harmless), chunks) in findings.by_pack() {
            let owners = findings.owners.iter();
            let owners = owners.filter(|(_, needs)| !needs.is_disjoint(&chunks));
            let kind = match is_harmless {
                true => Kind::Pack,
                false => Kind::Content,
            };
            let what = findings.group_text(pack, &chunks);
            self.add(kind, what, owners.map(|(ino, _)| *ino), REPAIR);
        }
        for (ino, bytes) in &findings.lost {
            self.add(Kind::Lost, format!("{bytes} bytes are lost"), [*ino], LOST);
        }
        for (ino, what) in &findings.spooled {
            self.add(Kind::Spool, what.clone(), [*ino], SPOOL);
        }
        if let Some(what) = &findings.records {
            self.add(Kind::Spool, what.clone(), [], RECORDS);
        }
        for (what, inodes) in &findings.index {
            let what = format!("an entry of the index {what}");
            self.add(Kind::Index, what, inodes.iter().copied(), INDEX);
        }
        for what in &findings.history.what {
            self.add(Kind::History, what.clone(), [], HISTORY);
        }
        if let Some(what) = &findings.superblock {
            self.add(Kind::Superblock, what.clone(), [], SUPERBLOCK);
        }
    }
}

impl Drive {
    pub(in crate::drive) fn report(
        &self,
        wish: &Wish,
        findings: &Findings,
        complete: bool,
    ) -> Result<Report, Error> {
        let mut writer = Writer {
            paths: self.paths_of(&findings.concerned())?,
            problems: Vec::new(),
        };
        writer.add_all(findings);
        let mut notes = findings.notes.clone();
        notes.extend(self.control.board().forked.clone());
        for (ino, bytes) in &findings.forgotten {
            let names = writer.named([*ino]).join(", ");
            notes.push(format!("{bytes} bytes were given up in {names}"));
        }
        Ok(Report {
            depth: wish.depth,
            complete,
            epoch: self.journal_head().epoch.0,
            healthy: complete && writer.problems.is_empty(),
            checked: findings.counts,
            problems: writer.problems,
            notes,
        })
    }
}
