//! Forgetting: what nothing brings back is given up, and said to be; and places that only mislead go.

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::collections::HashSet;
use std::ops::Bound;

use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::gc::live_of;
use crate::drive::repair::Repaired;
use crate::drive::repair::Wish;
use crate::drive::scope::Files;
use crate::drive::scope::Scope;
use crate::drive::task::Task;
use crate::drive::verify::Bad;
use crate::drive::verify::Depth;
use crate::drive::verify::Findings;
use crate::id::ChunkId;
use crate::id::InodeNo;
use crate::id::PackId;
use crate::index::Batch;
use crate::index::chunk::ChunkPlace;
use crate::index::key;
use crate::index::manifest::Extent;
use crate::index::manifest::FORGOTTEN;
use crate::index::manifest::LOST;

/// The pack in which a chunk lies, as its place says.
fn pack_in(place: Option<&[u8]>) -> Result<Option<PackId>, Error> {
    let place = place.map(ChunkPlace::decode).transpose()?;
    Ok(place.map(|place| place.pack))
}

impl Drive {
    /// Looks once more at what was wrong; what still is, in the content of files, is forgotten.
    pub(in crate::drive) fn forget(
        &self,
        wish: &Wish,
        findings: &Findings,
        task: &Task<'_>,
        repaired: &mut Repaired,
    ) -> Result<(), Error> {
        let concerned: Vec<InodeNo> = findings.concerned().into_iter().collect();
        let files = Files::These(concerned);
        let mut left = Findings::default();
        self.look_at_content(&files, Depth::Full, task, &mut left)?;
        let mut gone = Vec::new();
        for (id, bad) in &left.chunks {
            let looked_in = match bad {
                Bad::Ends(_) => continue,
                Bad::NoPlace => None,
                Bad::Pack(pack) | Bad::Frame(pack) => Some(*pack),
                Bad::WrongPlace => pack_in(self.index.get(&key::chunk(id))?.as_deref())?,
            };
            gone.push((*id, looked_in));
        }
        let owners = left.owners.keys().chain(left.lost.keys());
        let owners: BTreeSet<InodeNo> = owners.copied().collect();
        if !owners.is_empty() {
            task.begin("forgetting", owners.len() as u64, 0)?;
            repaired.forgotten_bytes = self.in_epoch(task, move |drive| {
                let chunks = drive.still_gone(&gone)?;
                owners
                    .iter()
                    .try_fold(0, |bytes, ino| Ok(bytes + drive.forget_in(*ino, &chunks)?))
            })?;
        }
        if wish.scope == Scope::Drive {
            self.forget_lost_records()?;
        }
        Ok(())
    }

    /// Of the chunks that could not be read from where they were looked for, those that have no other place now:
    /// somebody may have written such content again meanwhile.
    fn still_gone(&self, gone: &[(ChunkId, Option<PackId>)]) -> Result<BTreeSet<ChunkId>, Error> {
        let mut chunks = BTreeSet::from([LOST]);
        for (id, looked_in) in gone {
            let now = pack_in(self.index.frozen_get(&key::chunk(id))?.as_deref())?;
            if now.is_none() || now == *looked_in {
                chunks.insert(*id);
            }
        }
        Ok(chunks)
    }

    /// Removes the places of chunks that could not be read and that no file needs: whoever wrote such content
    /// again would be told that it is stored. What is needed is found out in the epoch: what could not be
    /// read a while ago may be well by now, and files may have come to refer to it since the look.
    pub(in crate::drive) fn drop_misleading(&self, task: &Task<'_>) -> Result<(), Error> {
        let distrusted = self.distrusted();
        if distrusted.is_empty() {
            return Ok(());
        }
        task.begin("tidying", 0, 0)?;
        self.in_epoch(task, move |drive| {
            let (mut suspects, mut kept) = (HashMap::new(), HashSet::new());
            let (from, to) = key::all(b'C');
            let rows = drive
                .index
                .frozen_scan(Bound::Included(&from), Bound::Excluded(&to));
            for row in rows {
                let (key, value) = row?;
                let pack = ChunkPlace::decode(&value)?.pack;
                let id = key.get(1..).and_then(|id| id.try_into().ok());
                let id = ChunkId(id.ok_or(Error::Malformed)?);
                if distrusted.has(&id, &pack) {
                    suspects.insert(id, pack);
                } else {
                    kept.insert(pack);
                }
            }
            let needed = live_of(drive, &suspects.keys().copied().collect())?;
            let mut batch = Batch::default();
            for (id, pack) in suspects {
                if needed.contains(&id) {
                    kept.insert(pack);
                } else {
                    batch.delete(key::chunk(&id));
                }
            }
            for pack in distrusted.packs.difference(&kept) {
                drive.forget_pack(pack, &mut batch)?;
            }
            Ok(drive.index.amend(batch)?)
        })
    }

    /// Turns a file's extents of these chunks into forgotten ones, in the frozen epoch.
    fn forget_in(&self, ino: InodeNo, chunks: &BTreeSet<ChunkId>) -> Result<u64, Error> {
        let (from, to) = key::of(b'M', ino);
        let (mut batch, mut bytes) = (Batch::default(), 0);
        let rows = self
            .index
            .frozen_scan(Bound::Included(&from), Bound::Excluded(&to));
        for row in rows {
            let (key, value) = row?;
            if let Extent::Chunk { id, len, .. } = Extent::decode(&value)?
                && chunks.contains(&id)
            {
                let forgotten = Extent::Chunk {
                    id: FORGOTTEN,
                    skip: 0,
                    len,
                };
                batch.put(key, forgotten.encode())?;
                bytes += u64::from(len);
            }
        }
        self.index.amend(batch)?;
        Ok(bytes)
    }
}
