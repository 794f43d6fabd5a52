//! The catalogue: everything that is known of each archive, for whoever shows it.

use std::collections::HashSet;
use std::ops::Bound;

use crate::drive::Change;
use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::Look;
use crate::drive::view;
use crate::drive::view::Row;
use crate::id::ArchiveNo;
use crate::id::ChunkId;
use crate::id::InodeNo;
use crate::index::archive::Archive;
use crate::index::archive::Holding;
use crate::index::caption::Caption;
use crate::index::key;
use crate::index::tally::Tally;
use crate::store;
use crate::store::Shelf;

/// One archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number.
    pub no: ArchiveNo,
    /// What it is.
    pub archive: Archive,
    /// What the store holds for it.
    pub holding: Holding,
    /// What a person wrote about it.
    pub caption: Caption,
    /// What its content comes to.
    pub tally: Tally,
}

impl Drive {
    /// All archives, in the order they were made.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn catalogue(&self) -> Result<Vec<Entry>, Error> {
        let (from, to) = key::all(b'A');
        let rows = self
            .index
            .scan(Bound::Included(&from), Bound::Excluded(&to));
        let mut entries = Vec::new();
        for row in rows {
            let (key, value) = row?;
            let no = key::archive_of(&key).ok_or(Error::Malformed)?;
            entries.push(self.entry_of(no, Archive::decode(&value)?)?);
        }
        Ok(entries)
    }

    /// One archive, if there is one of this number.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn catalogued(&self, no: ArchiveNo) -> Result<Option<Entry>, Error> {
        let archive = self.archive(no)?;
        archive
            .map(|archive| self.entry_of(no, archive))
            .transpose()
    }

    fn entry_of(&self, no: ArchiveNo, archive: Archive) -> Result<Entry, Error> {
        Ok(Entry {
            no,
            archive,
            holding: self.holding(no)?,
            caption: self.caption(no)?,
            tally: self.tally(no)?,
        })
    }

    /// What a person wrote about an archive.
    pub(in crate::drive) fn caption(&self, no: ArchiveNo) -> Result<Caption, Error> {
        let rows = self.rows_of_caption(no)?;
        let value: Vec<u8> = rows.into_iter().flat_map(|(_, value)| value).collect();
        match value.is_empty() {
            true => Ok(Caption::default()),
            false => Ok(Caption::decode(&value)?),
        }
    }

    /// The pieces of what a person wrote about an archive.
    pub(in crate::drive) fn rows_of_caption(&self, no: ArchiveNo) -> Result<Vec<Row>, Error> {
        let (from, to) = key::captions(no);
        view::scan(&self.index, &from, &to, usize::MAX)
    }

    /// What an archive's content comes to.
    pub(in crate::drive) fn tally(&self, no: ArchiveNo) -> Result<Tally, Error> {
        let value = self.index.get(&key::tally(no))?;
        let tally = value.map(|value| Tally::decode(&value)).transpose()?;
        Ok(tally.unwrap_or_default())
    }

    /// Archives with files that are not on the store yet, as they are now.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn archives_waiting(&self) -> Result<HashSet<ArchiveNo>, Error> {
        let view = self.view();
        let dirty = [Some(&view.state.gathering), view.state.frozen.as_ref()];
        let mut waiting = HashSet::new();
        for ino in dirty.into_iter().flatten().flat_map(|dirty| dirty.inodes()) {
            waiting.extend(view.inode(ino)?.map(|inode| inode.archive));
        }
        Ok(waiting)
    }

    /// Archives with files that could not be read back.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn archives_damaged(&self) -> Result<HashSet<ArchiveNo>, Error> {
        let damaged = self.damaged();
        let view = self.view();
        let mut archives = HashSet::new();
        for ino in damaged.into_keys() {
            archives.extend(view.inode(ino)?.map(|inode| inode.archive));
        }
        Ok(archives)
    }

    /// Bytes of files that are only on this machine.
    #[must_use]
    pub fn waiting_bytes(&self) -> u64 {
        let spooled = {
            let view = self.view();
            let frozen = view.state.frozen.as_ref();
            view.state.gathering.spooled_bytes() + frozen.map_or(0, |frozen| frozen.spooled_bytes())
        };
        spooled.saturating_sub(self.control.board().epoch_done_bytes)
    }

    /// Are these the bytes of the chunk of this name?
    #[must_use]
    pub fn is_chunk(&self, id: &ChunkId, bytes: &[u8]) -> bool {
        self.keys.chunk_id(bytes) == *id
    }

    /// Where the store keeps everything, shelves aside.
    #[must_use]
    pub fn landmarks(&self) -> Vec<store::Landmark> {
        self.store.places()
    }

    /// Where people can look at an archive's shelf, if it has one and they can.
    #[must_use]
    pub fn shelf_address(&self, holding: &Holding) -> Option<String> {
        match holding.shelf.is_empty() {
            true => None,
            false => self.store.address(&Shelf(holding.shelf.clone())),
        }
    }

    /// Does the store show a shelf of this drive, its journal or an archive's, at this address?
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn keeps_objects_at(&self, address: &str) -> Result<bool, Error> {
        let places = self.store.places();
        if places.iter().any(|place| place.address == address) {
            return Ok(true);
        }
        let is_here = |holding: &Holding| self.shelf_address(holding).as_deref() == Some(address);
        let archives = self.catalogue()?;
        Ok(archives.iter().any(|entry| is_here(&entry.holding)))
    }

    /// The archive that a file or directory belongs to, if there is such an inode.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn archive_of(&self, ino: InodeNo) -> Result<Option<ArchiveNo>, Error> {
        Ok(self.view().inode(ino)?.map(|inode| inode.archive))
    }
}

/// Writes what a person says about an archive, in place of what was written before.
///
/// # Errors
/// [`Error::NotFound`] when there is no archive of this number.
pub fn write_caption(
    change: &mut Change<'_>,
    no: ArchiveNo,
    caption: &Caption,
) -> Result<(), Error> {
    if change.get(&key::archive(no))?.is_none() {
        return Err(Error::NotFound(format!("there is no archive number {no}")));
    }
    let (from, to) = key::captions(no);
    for (key, _) in change.scan_before(&from, &to, usize::from(u16::MAX))? {
        change.delete(key);
    }
    if caption.is_empty() {
        return Ok(());
    }
    let value = caption.encode();
    for (piece, bytes) in (0..).zip(value.chunks(key::PIECE_BYTES)) {
        change.put(key::caption(no, piece), bytes.to_vec());
    }
    Ok(())
}
