//! Everything about an archive, a file or a directory.

use serde::Deserialize;
use serde::Serialize;

use crate::drive::Drive;
use crate::drive::Look;
use crate::drive::task::Task;
use crate::index::inode::Kind;
use crate::service::ArchiveInfo;
use crate::service::Error;
use crate::service::Target;
use crate::service::archives;
use crate::service::list::kind_word;
use crate::service::list::state_word;
use crate::service::share;
use crate::service::target::Spot;

/// Everything about an archive, a file or a directory. Sums are those of its files; what they share with
/// each other is counted once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Info {
    /// What was asked about, as people write it: `#DDMMYY-NN`, or a path with a slash at its beginning.
    pub target: String,
    /// As in [`crate::service::ListEntry`]; `archive` for an archive.
    pub kind: String,
    /// Path from the top directory; empty for the top itself.
    pub path: String,
    /// The archive it is or belongs to.
    pub archive: Option<ArchiveInfo>,
    /// Files in it; 1 for a file.
    pub files: u64,
    /// Bytes of those files.
    pub bytes: u64,
    /// Bytes of them that are not holes.
    pub stored_bytes: u64,
    /// Chunks of published content, each once.
    pub chunks: u64,
    /// Bytes of those chunks.
    pub chunk_bytes: u64,
    /// Bytes of them compressed and sealed, as they lie in packs.
    pub sealed_bytes: u64,
    /// Packs that hold them.
    pub packs: u64,
    /// Share of the files' bytes that deduplication saves, 0 to 1.
    pub dedup_saving: f64,
    /// Share of the chunks' bytes that compression saves, 0 to 1.
    pub compression_saving: f64,
    /// Permission bits.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last change of content, seconds since 1970.
    pub mtime_s: i64,
    /// Where a file's content is, as in [`crate::service::ListEntry`].
    pub state: String,
    /// Where people can look at the packs, by archive id: an archive's files may lie with others, too.
    pub places: Vec<(String, String)>,
}

/// Everything about what is meant; for a range, about each archive.
///
/// # Errors
/// [`Error::NotFound`], or when the index cannot be read.
pub fn info(drive: &Drive, target: &Target, task: &Task<'_>) -> Result<Vec<Info>, Error> {
    let known = archives::all(drive)?;
    let spots = target.find(drive)?;
    spots
        .iter()
        .map(|spot| info_of(drive, spot, &known, task))
        .collect()
}

fn info_of(
    drive: &Drive,
    spot: &Spot,
    known: &[ArchiveInfo],
    task: &Task<'_>,
) -> Result<Info, Error> {
    let gone = || Error::NotFound(format!("{} is gone by now", spot.shown()));
    let inode = drive.view().inode(spot.ino)?.ok_or_else(gone)?;
    let measure = drive.measure(&spot.scope(), task)?;
    let no = spot
        .archive
        .as_ref()
        .map_or(inode.archive, |entry| entry.no);
    let mut places = Vec::new();
    for no in &measure.archives {
        let Some(entry) = drive.catalogued(*no)? else {
            continue;
        };
        let address = drive.shelf_address(&entry.holding);
        places.extend(address.map(|address| (entry.archive.id.to_string(), address)));
    }
    Ok(Info {
        target: spot.shown(),
        kind: match spot.archive {
            Some(_) => String::from("archive"),
            None => kind_word(inode.kind).to_owned(),
        },
        path: String::from_utf8_lossy(&spot.path).into_owned(),
        archive: known.iter().find(|info| info.lot == no.0).cloned(),
        files: measure.files,
        bytes: measure.bytes,
        stored_bytes: measure.stored_bytes,
        chunks: measure.chunks,
        chunk_bytes: measure.chunk_bytes,
        sealed_bytes: measure.sealed_bytes,
        packs: measure.packs,
        dedup_saving: share::saved(measure.stored_bytes, measure.chunk_bytes),
        compression_saving: share::saved(measure.chunk_bytes, measure.sealed_bytes),
        mode: inode.mode,
        uid: inode.uid,
        gid: inode.gid,
        mtime_s: inode.mtime.seconds(),
        state: match inode.kind {
            Kind::File => state_word(drive.file_state(spot.ino)).to_owned(),
            _ => String::new(),
        },
        places,
    })
}
