//! Reading a file: find where the bytes are, bring what is missing, put them together.

use bytes::Bytes;

use std::collections::HashMap;

use crate::drive::Access;
use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::ReadAhead;
use crate::drive::Source;
use crate::drive::view::Found;
use crate::drive::view::Part;
use crate::id::ChunkId;
use crate::id::InodeNo;
use crate::spool;
use crate::store::Urgency;

/// How often a read looks again after the spool let go of bytes that were just found there.
const LOOKS_MAX: u32 = 3;

/// Where a file's content is, as `user.ods.state` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileState {
    /// Some of it is only on this machine and waits.
    Local,
    /// Some of it is only on this machine and on its way.
    Uploading,
    /// All of it is on the store.
    Remote,
    /// Some of it could not be read back when it was last tried.
    Damaged,
}

impl Drive {
    /// Reads bytes of a file if all of them are here: none means that [`Drive::read`] has to fetch.
    /// The range must lie inside the file's size.
    ///
    /// # Errors
    /// When the disk fails or the spool is damaged.
    pub fn read_local(
        &self,
        ino: InodeNo,
        offset: u64,
        len: u32,
    ) -> Result<Option<Vec<u8>>, Error> {
        let mut looks = 0;
        loop {
            let parts = self.view().resolve(ino, offset, offset + u64::from(len))?;
            match self.assemble_parts(&parts, len, |id| self.local_chunk(id)) {
                Err(spool::Error::Gone { .. } | spool::Error::Damaged { .. })
                    if looks < LOOKS_MAX =>
                {
                    looks += 1
                }
                Err(error) => {
                    self.note_damage(ino, &error.to_string());
                    return Err(error.into());
                }
                Ok(bytes) => return Ok(bytes),
            }
        }
    }

    /// Reads bytes of a file, wherever they are. The range must lie inside the file's size.
    ///
    /// # Errors
    /// [`Error::Timeout`] after the read timeout; what the store or the seal said otherwise.
    pub async fn read(
        &self,
        ino: InodeNo,
        offset: u64,
        len: u32,
        ahead: &ReadAhead,
    ) -> Result<Vec<u8>, Error> {
        let limit = self.settings.read_timeout;
        let read = tokio::time::timeout(limit, self.read_anywhere(ino, offset, len, ahead)).await;
        let result = read.unwrap_or(Err(Error::Timeout(limit)));
        let result = result.map_err(|error| self.explain_missing(error));
        match &result {
            Err(error) if error.is_of_content() => {
                self.note_damage(ino, &error.to_string());
            }
            Err(error) => self.control.read_went(Some(error)),
            Ok(_) => self.control.read_went(None),
        }
        result
    }

    async fn read_anywhere(
        &self,
        ino: InodeNo,
        offset: u64,
        len: u32,
        ahead: &ReadAhead,
    ) -> Result<Vec<u8>, Error> {
        self.look_ahead(ino, offset, len, ahead);
        let mut looks = 0;
        loop {
            let parts = self.view().resolve(ino, offset, offset + u64::from(len))?;
            let chunks = match self.fetch(&chunks_of(&parts), Urgency::Foreground).await {
                // Meanwhile it may have been changed, published, and what it was before buried.
                Err(error)
                    if error.is_of_content()
                        && looks < LOOKS_MAX
                        && self.differs(ino, offset, len, &parts)? =>
                {
                    looks += 1;
                    continue;
                }
                fetched => fetched?,
            };
            match self.assemble_parts(&parts, len, |id| chunks.get(id).cloned()) {
                Ok(Some(bytes)) => return Ok(bytes),
                Ok(None) => return Err(Error::Malformed),
                Err(spool::Error::Gone { .. } | spool::Error::Damaged { .. })
                    if looks < LOOKS_MAX =>
                {
                    looks += 1
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// A read-only mount shows the state it was mounted with; what that refers to is kept for some time only.
    fn explain_missing(&self, error: Error) -> Error {
        match (&error, self.settings.access) {
            (Error::Store(crate::store::Error::Missing { what }), Access::Read) => {
                Error::State(format!(
                    "{what}: what this read-only mount shows was changed elsewhere, and the old content is removed by now; mount it again"
                ))
            }
            _ => error,
        }
    }

    /// Are the bytes of a file elsewhere by now?
    fn differs(&self, ino: InodeNo, offset: u64, len: u32, parts: &[Part]) -> Result<bool, Error> {
        let now = self.view().resolve(ino, offset, offset + u64::from(len))?;
        Ok(now != parts)
    }

    fn assemble_parts(
        &self,
        parts: &[Part],
        len: u32,
        chunk: impl Fn(&ChunkId) -> Option<Bytes>,
    ) -> Result<Option<Vec<u8>>, spool::Error> {
        let mut bytes = Vec::with_capacity(len as usize);
        for part in parts {
            let part_len = usize::try_from(part.len).unwrap_or(usize::MAX);
            match &part.found {
                Found::Inline(inline) => bytes.extend_from_slice(inline),
                Found::Source(Source::Zero) => bytes.resize(bytes.len() + part_len, 0),
                Found::Source(Source::Spool { place, skip }) => {
                    let spooled = self.spool.read(
                        place,
                        *skip,
                        u32::try_from(part.len).unwrap_or(u32::MAX),
                    )?;
                    bytes.extend_from_slice(&spooled);
                }
                Found::Source(Source::Chunk { id, skip }) => {
                    let Some(plain) = chunk(id) else {
                        return Ok(None);
                    };
                    let Some(wanted) = plain.get(*skip as usize..*skip as usize + part_len) else {
                        return Ok(None);
                    };
                    bytes.extend_from_slice(wanted);
                }
            }
        }
        Ok(Some(bytes))
    }

    /// Remembers that a file could not be read back.
    pub(in crate::drive) fn note_damage(&self, ino: InodeNo, what: &str) {
        log::error!("inode {ino}: {what}");
        let mut damaged = self
            .damaged
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        damaged.insert(ino, what.to_owned());
    }

    /// The files that could not be read back since the drive was opened, and why.
    #[must_use]
    pub fn damaged(&self) -> HashMap<InodeNo, String> {
        let mut damaged = self
            .damaged
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone();
        let lost = self.losses.files();
        damaged.extend(lost.iter().map(|(ino, what)| (*ino, what.clone())));
        damaged
    }

    /// Where a file's content is.
    #[must_use]
    pub fn file_state(&self, ino: InodeNo) -> FileState {
        if self
            .damaged
            .lock()
            .is_ok_and(|damaged| damaged.contains_key(&ino))
            || self.losses.files().contains_key(&ino)
        {
            return FileState::Damaged;
        }
        let view = self.view();
        if view.state.gathering.has(ino) {
            FileState::Local
        } else if view
            .state
            .frozen
            .as_ref()
            .is_some_and(|frozen| frozen.has(ino))
        {
            FileState::Uploading
        } else {
            FileState::Remote
        }
    }
}

/// The chunks that parts need, each once, in the order of the file.
pub(in crate::drive) fn chunks_of(parts: &[Part]) -> Vec<ChunkId> {
    let mut ids: Vec<ChunkId> = Vec::new();
    for part in parts {
        if let Found::Source(Source::Chunk { id, .. }) = part.found
            && !ids.contains(&id)
        {
            ids.push(id);
        }
    }
    ids
}
