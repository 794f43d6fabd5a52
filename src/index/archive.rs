//! What an archive is, and what it holds on the store.

use crate::id::ArchiveId;
use crate::id::InodeNo;
use crate::index::record::Fields;
use crate::index::record::Malformed;

/// A top-level directory's archive, or (number 0) that of the files directly in the root.
/// Its number is in its key. An archive whose directory was removed stays until its packs are gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archive {
    /// What people call it.
    pub id: ArchiveId,
    /// The top-level directory; the root for archive 0.
    pub directory: InodeNo,
    /// Was the directory removed?
    pub removed: bool,
    /// The directory's name.
    pub name: Vec<u8>,
}

/// What the store holds for an archive, as of the last published epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// Files in it.
    pub files: u64,
    /// Bytes of those files.
    pub file_bytes: u64,
    /// Packs put on its shelf.
    pub packs: u64,
    /// Bytes of those packs.
    pub pack_bytes: u64,
    /// The shelf, as the store calls it; empty before the first pack.
    pub shelf: String,
}

impl Archive {
    /// The value to keep.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let ArchiveId {
            year,
            month,
            day,
            number,
        } = self.id;
        let mut out = vec![year, month, day];
        out.extend_from_slice(&number.to_le_bytes());
        out.extend_from_slice(&self.directory.0.to_le_bytes());
        out.push(u8::from(self.removed));
        out.extend_from_slice(&self.name);
        out
    }

    /// Reads a kept value.
    ///
    /// # Errors
    /// [`Malformed`] when it is not one.
    pub fn decode(value: &[u8]) -> Result<Archive, Malformed> {
        let mut fields = Fields(value);
        let [year, month, day] = fields.array()?;
        let id = ArchiveId {
            year,
            month,
            day,
            number: fields.u16()?,
        };
        let directory = InodeNo(fields.u64()?);
        let removed = fields.u8()? != 0;
        Ok(Archive {
            id,
            directory,
            removed,
            name: fields.rest().to_vec(),
        })
    }
}

impl Holding {
    /// The value to keep.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(32 + self.shelf.len());
        for field in [self.files, self.file_bytes, self.packs, self.pack_bytes] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.extend_from_slice(self.shelf.as_bytes());
        out
    }

    /// Reads a kept value.
    ///
    /// # Errors
    /// [`Malformed`] when it is not one.
    pub fn decode(value: &[u8]) -> Result<Holding, Malformed> {
        let mut fields = Fields(value);
        let [files, file_bytes, packs, pack_bytes] =
            [fields.u64()?, fields.u64()?, fields.u64()?, fields.u64()?];
        let shelf = std::str::from_utf8(fields.rest())
            .map_err(|_| Malformed)?
            .to_owned();
        Ok(Holding {
            files,
            file_bytes,
            packs,
            pack_bytes,
            shelf,
        })
    }
}
