//! Listing a directory of the drive.

use serde::Deserialize;
use serde::Serialize;

use crate::drive::Drive;
use crate::drive::FileState;
use crate::drive::Look;
use crate::id::InodeNo;
use crate::index::dirent::Listed;
use crate::index::inode::Inode;
use crate::index::inode::Kind;
use crate::index::key;
use crate::service::Error;
use crate::service::Target;
use crate::service::parts::unfinished;
use crate::service::target::Spot;

/// Entries looked up at a time, so that writers need not wait long.
const PAGE: usize = 1024;

/// What is in a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// The directory, or the one file that was asked about; without a slash at either end.
    pub path: String,
    /// How many entries there are, told of or not.
    pub found: usize,
    /// Entries by name.
    pub entries: Vec<ListEntry>,
}

/// An entry of a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListEntry {
    /// Its name.
    pub name: String,
    /// `file`, `directory`, `symlink`, `fifo`, `socket`, `char` or `block`.
    pub kind: String,
    /// Bytes; for a directory the number of its entries.
    pub size: u64,
    /// Permission bits.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Names of it.
    pub links: u32,
    /// Last change of content, seconds since 1970.
    pub mtime_s: i64,
    /// Its archive's id.
    pub archive: String,
    /// Where its content is: `local`, `uploading`, `remote` or `damaged`; empty for anything but a file.
    pub state: String,
}

/// What a kind is called.
pub(in crate::service) fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::File => "file",
        Kind::Directory => "directory",
        Kind::Symlink => "symlink",
        Kind::Fifo => "fifo",
        Kind::Socket => "socket",
        Kind::Char => "char",
        Kind::Block => "block",
    }
}

/// What a state of a file is called, as in `user.ods.state`.
pub(in crate::service) fn state_word(state: FileState) -> &'static str {
    match state {
        FileState::Local => "local",
        FileState::Uploading => "uploading",
        FileState::Remote => "remote",
        FileState::Damaged => "damaged",
    }
}

/// Lists a directory, or tells of one file: entries by name, `skip` left out, at most `limit` (0 for all). Files
/// that are not whole are left out.
///
/// # Errors
/// [`Error::NotFound`], or when the index cannot be read.
pub fn list(drive: &Drive, path: &[u8], skip: usize, limit: usize) -> Result<Listing, Error> {
    let target = Target::Path(path.to_vec());
    let listings = list_all(drive, &target, skip, limit)?;
    Ok(listings.into_iter().next().unwrap_or_default())
}

/// Lists what is meant, of a range of archives each: of an archive, its directory; of that of loose files, those.
///
/// # Errors
/// [`Error::NotFound`], or when the index cannot be read.
pub fn list_all(
    drive: &Drive,
    target: &Target,
    skip: usize,
    limit: usize,
) -> Result<Vec<Listing>, Error> {
    let spots = target.find(drive)?;
    spots
        .iter()
        .map(|spot| list_one(drive, spot, skip, limit))
        .collect()
}

fn list_one(drive: &Drive, spot: &Spot, skip: usize, limit: usize) -> Result<Listing, Error> {
    let (ino, path) = (spot.ino, &spot.path);
    let inode = drive.view().inode(ino)?.filter(Inode::is_dir);
    let mut names = match inode {
        Some(_) => names_in(drive, ino)?,
        None => vec![(
            path.rsplit(|byte| *byte == b'/')
                .next()
                .unwrap_or(path)
                .to_vec(),
            ino,
        )],
    };
    names.retain(|(name, below)| *below == ino || unfinished(name).is_none());
    if spot.is_loose() {
        names = without_directories(drive, names)?;
    }
    names.sort();
    let limit = match limit {
        0 => usize::MAX,
        limit => limit,
    };
    let found = names.len();
    let mut entries = Vec::new();
    for (name, ino) in names.into_iter().skip(skip).take(limit) {
        entries.extend(entry(drive, &name, ino)?);
    }
    Ok(Listing {
        path: String::from_utf8_lossy(path).into_owned(),
        found,
        entries,
    })
}

fn without_directories(
    drive: &Drive,
    names: Vec<(Vec<u8>, InodeNo)>,
) -> Result<Vec<(Vec<u8>, InodeNo)>, Error> {
    let mut files = Vec::new();
    for (name, ino) in names {
        let inode = drive.view().inode(ino)?;
        if inode.is_some_and(|inode| !inode.is_dir()) {
            files.push((name, ino));
        }
    }
    Ok(files)
}

/// The names in a directory and what they lead to.
pub(in crate::service) fn names_in(
    drive: &Drive,
    directory: InodeNo,
) -> Result<Vec<(Vec<u8>, InodeNo)>, Error> {
    let (mut from, to) = key::of(b'O', directory);
    let mut names = Vec::new();
    loop {
        let rows = drive.view().scan(&from, &to, PAGE)?;
        let Some((last, _)) = rows.last() else {
            return Ok(names);
        };
        from = [last.as_slice(), &[0]].concat();
        for (_, value) in &rows {
            let listed = Listed::decode(value).map_err(crate::drive::Error::from)?;
            names.push((listed.name, listed.ino));
        }
    }
}

fn entry(drive: &Drive, name: &[u8], ino: InodeNo) -> Result<Option<ListEntry>, Error> {
    let Some(inode) = drive.view().inode(ino)? else {
        return Ok(None);
    };
    let state = match inode.kind {
        Kind::File => state_word(drive.file_state(ino)),
        _ => "",
    };
    Ok(Some(ListEntry {
        name: String::from_utf8_lossy(name).into_owned(),
        kind: kind_word(inode.kind).to_owned(),
        size: inode.size,
        mode: inode.mode,
        uid: inode.uid,
        gid: inode.gid,
        links: inode.nlink,
        mtime_s: inode.mtime.seconds(),
        archive: drive.archive_label(inode.archive)?.unwrap_or_default(),
        state: state.to_owned(),
    }))
}
