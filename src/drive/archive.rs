//! Archives: one per top-level directory, with an id, a shelf for its packs and a card that people see.

use std::collections::HashMap;

use time::OffsetDateTime;

use crate::clock::Time;
use crate::drive::Change;
use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::Look;
use crate::drive::tallies::Tallying;
use crate::id::ArchiveId;
use crate::id::ArchiveNo;
use crate::id::InodeNo;
use crate::id::PackId;
use crate::index::Batch;
use crate::index::Value;
use crate::index::archive::Archive;
use crate::index::archive::Holding;
use crate::index::chunk::PackPlace;
use crate::index::inode::Inode;
use crate::index::key;

fn today(now: Time) -> (u8, u8, u8) {
    let date =
        OffsetDateTime::from_unix_timestamp(now.seconds()).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let year = u8::try_from(date.year().rem_euclid(100)).unwrap_or(0);
    (year, u8::from(date.month()), date.day())
}

/// The archive of the files directly in the root; made with the drive.
///
/// # Errors
/// When the index cannot be read.
pub(in crate::drive) fn create_first(change: &mut Change<'_>) -> Result<(), Error> {
    create(change, ArchiveNo(0), InodeNo::ROOT, b"")
}

/// Makes the archive of a new top-level directory, within the change that makes the directory.
///
/// # Errors
/// When the index cannot be read.
pub fn create_archive(
    change: &mut Change<'_>,
    directory: InodeNo,
    name: &[u8],
) -> Result<ArchiveNo, Error> {
    let label = key::root("archives");
    let count = change
        .get(&label)?
        .and_then(|value| Some(u32::from_le_bytes(value[..].try_into().ok()?)))
        .unwrap_or(1);
    change.put(label, (count + 1).to_le_bytes().to_vec());
    create(change, ArchiveNo(count), directory, name)?;
    Ok(ArchiveNo(count))
}

fn create(
    change: &mut Change<'_>,
    no: ArchiveNo,
    directory: InodeNo,
    name: &[u8],
) -> Result<(), Error> {
    let (year, month, day) = today(change.now());
    let label = key::root("archive day");
    let number = match change.get(&label)?.as_deref() {
        Some(&[y, m, d, low, high]) if (y, m, d) == (year, month, day) => {
            u16::from_le_bytes([low, high]).saturating_add(1)
        }
        _ => 1,
    };
    let [low, high] = number.to_le_bytes();
    change.put(label, vec![year, month, day, low, high]);
    let id = ArchiveId {
        year,
        month,
        day,
        number,
    };
    let archive = Archive {
        id,
        directory,
        removed: false,
        name: name.to_vec(),
    };
    change.put(key::archive(no), archive.encode());
    Ok(())
}

/// Follows the renaming of a top-level directory.
///
/// # Errors
/// When the index cannot be read.
pub fn rename_archive(change: &mut Change<'_>, no: ArchiveNo, name: &[u8]) -> Result<(), Error> {
    alter(change, no, |archive| archive.name = name.to_vec())
}

/// Follows the removal of a top-level directory, or its move to a deeper place.
///
/// # Errors
/// When the index cannot be read.
pub fn remove_archive(change: &mut Change<'_>, no: ArchiveNo) -> Result<(), Error> {
    alter(change, no, |archive| archive.removed = true)
}

fn alter(
    change: &mut Change<'_>,
    no: ArchiveNo,
    alter: impl FnOnce(&mut Archive),
) -> Result<(), Error> {
    if let Some(value) = change.get(&key::archive(no))? {
        let mut archive = Archive::decode(&value)?;
        alter(&mut archive);
        change.put(key::archive(no), archive.encode());
    }
    Ok(())
}

impl Drive {
    /// What people call an archive, if there is one with this number.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn archive_label(&self, no: ArchiveNo) -> Result<Option<String>, Error> {
        Ok(self.archive(no)?.map(|archive| archive.id.to_string()))
    }

    pub(in crate::drive) fn archive(&self, no: ArchiveNo) -> Result<Option<Archive>, Error> {
        Ok(self
            .index
            .get(&key::archive(no))?
            .map(|value| Archive::decode(&value))
            .transpose()?)
    }

    pub(in crate::drive) fn holding(&self, no: ArchiveNo) -> Result<Holding, Error> {
        let value = self.index.get(&key::holding(no))?;
        Ok(value
            .map(|value| Holding::decode(&value))
            .transpose()?
            .unwrap_or_default())
    }

    /// Brings the holdings of the frozen epoch up to date: what its inode changes add and remove,
    /// and the packs that are new in it, whether they were put now or before a restart. Gives the
    /// archives whose cards may have changed.
    pub(in crate::drive) fn fold_holdings(&self) -> Result<Vec<ArchiveNo>, Error> {
        let mut changes: HashMap<ArchiveNo, (i64, i64)> = HashMap::new();
        let mut put: HashMap<ArchiveNo, (u64, u64)> = HashMap::new();
        let mut touched: Vec<ArchiveNo> = Vec::new();
        let mut tallying = Tallying::new(self);
        let mut count = |inode: &Inode, sign: i64| {
            if !inode.is_dir() {
                let change = changes.entry(inode.archive).or_default();
                change.0 += sign;
                change.1 += sign * i64::try_from(inode.size).unwrap_or(i64::MAX);
            }
        };
        for (key, value) in self.index.publishing() {
            match key.first() {
                Some(b'I') => {
                    let decode =
                        |value: Option<Value>| value.map(|value| Inode::decode(&value)).transpose();
                    let (before, after) = (decode(self.index.base_get(&key)?)?, decode(value)?);
                    before.iter().for_each(|inode| count(inode, -1));
                    after.iter().for_each(|inode| count(inode, 1));
                    tallying.inode(before.as_ref(), after.as_ref());
                }
                Some(b'P') => self.count_pack(&key, value.as_deref(), &mut put)?,
                Some(b'C') => tallying.chunk(&key, value.as_deref())?,
                Some(b'A' | b'B' | b'T') => touched.extend(key::archive_of(&key)),
                _ => {}
            }
        }
        touched.extend(changes.keys().chain(put.keys()).copied());
        touched.extend(self.moved_shelves()?);
        touched.sort_unstable();
        touched.dedup();
        let mut known = Vec::with_capacity(touched.len());
        for no in touched {
            // An archive that goes in this epoch holds nothing.
            if self.index.frozen_get(&key::archive(no))?.is_some() {
                known.push(no);
            }
        }
        let touched = known;
        let mut batch = Batch::default();
        for &no in &touched {
            let value = self.index.frozen_get(&key::holding(no))?;
            let mut holding = value
                .map(|value| Holding::decode(&value))
                .transpose()?
                .unwrap_or_default();
            let (files, bytes) = changes.get(&no).copied().unwrap_or_default();
            holding.files = holding.files.saturating_add_signed(files);
            holding.file_bytes = holding.file_bytes.saturating_add_signed(bytes);
            let (packs, pack_bytes) = put.get(&no).copied().unwrap_or_default();
            holding.packs += packs;
            holding.pack_bytes += pack_bytes;
            holding.shelf = self.shelf_now(no, &holding)?.0;
            Drive::forget_moved(no, &mut batch);
            batch.put(key::holding(no), holding.encode())?;
        }
        tallying.finish(&mut batch)?;
        self.index.amend(batch)?;
        Ok(touched)
    }

    /// Counts a pack that no epoch has published yet, unless its shelf was lost meanwhile.
    fn count_pack(
        &self,
        key: &[u8],
        value: Option<&[u8]>,
        put: &mut HashMap<ArchiveNo, (u64, u64)>,
    ) -> Result<(), Error> {
        let Some((value, id)) = value.zip(key[1..].try_into().ok()) else {
            return Ok(());
        };
        if self.index.base_get(key)?.is_none() && !self.distrusts_pack(&PackId(id)) {
            let pack = PackPlace::decode(value)?;
            let count = put.entry(pack.archive).or_default();
            *count = (count.0 + 1, count.1 + pack.bytes);
        }
        Ok(())
    }
}
