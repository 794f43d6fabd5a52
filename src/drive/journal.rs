//! The journal: epochs on the store, each segment naming the hash of the one before it.

use crate::clock::Time;
use crate::codec::key::random;
use crate::codec::segment;
use crate::codec::segment::Kind;
use crate::codec::segment::PartHeader;
use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::names::Name;
use crate::drive::names::PartName;
use crate::drive::names::Series;
use crate::id::EpochNo;
use crate::id::Seq;
use crate::index::Batch;
use crate::index::key;
use crate::store;
use crate::store::Locator;
use crate::store::Object;

pub(in crate::drive) use crate::drive::head::Head;

/// How far one state directory has published: kept in the index, so that no checkpoint forgets it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::drive) struct Share {
    /// Every record of its spool up to here is in the journal.
    pub(in crate::drive) through: Seq,
    /// The last epoch that it published.
    pub(in crate::drive) epoch: EpochNo,
}

impl Share {
    pub(in crate::drive) fn key(instance: &[u8; 8]) -> Vec<u8> {
        key::root(&format!(
            "share {}",
            data_encoding::HEXLOWER.encode(instance)
        ))
    }

    /// Whose it is, if this is the key of one.
    pub(in crate::drive) fn name_of(key: &[u8]) -> Option<[u8; 8]> {
        let name = key.strip_prefix(&key::root("share ")[..])?;
        let name = data_encoding::HEXLOWER.decode(name).ok()?;
        name.try_into().ok()
    }

    pub(in crate::drive) fn encode(&self) -> Vec<u8> {
        [self.through.0.to_le_bytes(), self.epoch.0.to_le_bytes()].concat()
    }

    pub(in crate::drive) fn decode(value: &[u8]) -> Option<Share> {
        let (through, epoch) = value.split_first_chunk()?;
        Some(Share {
            through: Seq(u64::from_le_bytes(*through)),
            epoch: EpochNo(u64::from_le_bytes(epoch.try_into().ok()?)),
        })
    }
}

/// What the first part of a segment says before its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::drive) struct Preamble {
    /// When it was published.
    pub(in crate::drive) time: Time,
    /// By which state directory.
    pub(in crate::drive) instance: [u8; 8],
    /// Which records of that state directory's spool it covers.
    pub(in crate::drive) through: Seq,
}

const PREAMBLE_BYTES: usize = 24;

impl Preamble {
    fn encode(&self) -> [u8; PREAMBLE_BYTES] {
        let mut out = [0; PREAMBLE_BYTES];
        out[..8].copy_from_slice(&self.time.0.to_le_bytes());
        out[8..16].copy_from_slice(&self.instance);
        out[16..].copy_from_slice(&self.through.0.to_le_bytes());
        out
    }

    pub(in crate::drive) fn decode(plain: &[u8]) -> Result<(Preamble, &[u8]), Error> {
        let (head, rest) = plain
            .split_first_chunk::<PREAMBLE_BYTES>()
            .ok_or(Error::Malformed)?;
        let field = |at: usize| head[at..at + 8].try_into().map_err(|_| Error::Malformed);
        let time = Time(i64::from_le_bytes(field(0)?));
        let preamble = Preamble {
            time,
            instance: field(8)?,
            through: Seq(u64::from_le_bytes(field(16)?)),
        };
        Ok((preamble, rest))
    }
}

/// Plain bytes of one part, at most: sealed it stays below every store's object limit.
const PART_BYTES: usize = 6 << 20;

/// Makes the parts of a segment or a checkpoint out of changes, one part at a time.
pub(in crate::drive) struct PartWriter<'d> {
    drive: &'d Drive,
    series: Series,
    epoch: EpochNo,
    previous: [u8; 32],
    attempt: [u8; 8],
    set: [u8; 16],
    part: u32,
    lead: Vec<u8>,
    batch: Batch,
    batch_bytes: usize,
}

/// A part that is ready to be put.
pub(in crate::drive) struct SealedPart {
    pub(in crate::drive) object: Object,
    pub(in crate::drive) hash: [u8; 32],
}

impl<'d> PartWriter<'d> {
    pub(in crate::drive) fn new(
        drive: &'d Drive,
        series: Series,
        epoch: EpochNo,
        previous: [u8; 32],
        through: Seq,
    ) -> PartWriter<'d> {
        let preamble = Preamble {
            time: drive.now(),
            instance: drive.lineage.name(),
            through,
        };
        PartWriter {
            drive,
            series,
            epoch,
            previous,
            attempt: random(),
            set: random(),
            part: 0,
            lead: preamble.encode().to_vec(),
            batch: Batch::default(),
            batch_bytes: 0,
        }
    }

    /// Adds a change; gives a part when one is full.
    pub(in crate::drive) fn push(
        &mut self,
        key: Vec<u8>,
        value: Option<Vec<u8>>,
    ) -> Result<Option<SealedPart>, Error> {
        let bytes = key.len() + value.as_ref().map_or(0, Vec::len) + 8;
        let full = self.batch_bytes + bytes > PART_BYTES;
        let part = if full {
            Some(self.seal(End::More)?)
        } else {
            None
        };
        self.batch_bytes += bytes;
        match value {
            Some(value) => self.batch.put(key, value)?,
            None => self.batch.delete(key),
        }
        Ok(part)
    }

    /// By which the names of its parts differ from those of other attempts.
    pub(in crate::drive) fn attempt(&self) -> [u8; 8] {
        self.attempt
    }

    /// The last part; there is always one.
    pub(in crate::drive) fn finish(mut self) -> Result<SealedPart, Error> {
        self.seal(End::Last)
    }

    fn seal(&mut self, end: End) -> Result<SealedPart, Error> {
        let mut plain = std::mem::take(&mut self.lead);
        plain.extend_from_slice(&std::mem::take(&mut self.batch).encode());
        self.batch_bytes = 0;
        let last = end == End::Last;
        let name = PartName {
            series: self.series,
            epoch: self.epoch,
            attempt: self.attempt,
            part: self.part,
            last,
        };
        let kind = match self.series {
            Series::Segment => Kind::Segment,
            Series::Checkpoint => Kind::Checkpoint,
        };
        let header = PartHeader {
            kind,
            epoch: self.epoch,
            set: self.set,
            part: self.part,
            parts: if last { self.part + 1 } else { 0 },
            previous: self.previous,
        };
        let body = segment::seal_part(&self.drive.keys, &header, &plain)?;
        let hash = segment::part_hash(&body.to_bytes());
        self.part += 1;
        Ok(SealedPart {
            object: Object {
                name: Name::Part(name).text(),
                body,
            },
            hash,
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    More,
    Last,
}

impl Drive {
    /// Puts parts on the journal shelf, as many together as the store's limits allow. Gives where they lie.
    pub(in crate::drive) async fn put_journal(
        &self,
        objects: Vec<Object>,
    ) -> Result<Vec<Locator>, Error> {
        let shelf = self.store.journal();
        let mut locators = Vec::new();
        let mut left = &objects[..];
        let mut refused = u64::MAX;
        while !left.is_empty() {
            let limits = self.store.limits();
            let most = limits.put_bytes_max.min(refused.saturating_sub(1));
            let mut bytes = 0;
            let fits = left.iter().take(limits.objects_max).take_while(|object| {
                bytes += object.body.len();
                bytes <= most
            });
            let (group, rest) = left.split_at(fits.count().clamp(1, left.len()));
            match self.store.put(&shelf, group.to_vec()).await {
                Err(store::Error::TooLarge { .. }) if group.len() > 1 => {
                    refused = group.iter().map(|object| object.body.len()).sum();
                }
                answer => {
                    locators.extend(answer?);
                    left = rest;
                }
            }
        }
        Ok(locators)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::drive::fixture;
    use crate::store::Store;
    use crate::store::Urgency;
    use crate::store::faulty::Fault;
    use crate::store::faulty::Faulty;
    use crate::store::faulty::Rule;
    use crate::store::faulty::Verb;
    use crate::store::memory::Memory;

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_too_much_at_once_is_put_in_as_few_puts_as_are_taken() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Arc::new(Faulty::new(Memory::default()));
        let opened = fixture::open(fixture::settings(dir.path()), &store).await;
        let drive = opened.expect("a new drive");
        let puts = || {
            let requests = store.status().requests_by_kind;
            let puts = requests.iter().find(|(kind, _)| kind == "put");
            puts.map_or(0, |(_, count)| *count)
        };
        let before = puts();
        store.add(Rule::next(Verb::Put, Fault::TooLarge(1)));
        let part = |part| {
            let header = PartHeader {
                kind: Kind::Segment,
                epoch: EpochNo(1),
                set: [0; 16],
                part,
                parts: 8,
                previous: [0; 32],
            };
            segment::seal_part(&drive.keys, &header, b"a batch").expect("within bounds")
        };
        let objects: Vec<Object> = (0..8)
            .map(|number| Object {
                name: format!("object-{number}"),
                body: part(number),
            })
            .collect();
        let put = drive.put_journal(objects.clone()).await;
        let locators = put.expect("taken");
        assert_eq!((locators.len(), puts() - before), (8, 2));
        for (object, locator) in objects.iter().zip(&locators) {
            let whole = 0..object.body.len();
            let bytes = store.get(locator, whole, Urgency::Foreground).await;
            assert_eq!(bytes.expect("there"), object.body.parts().concat());
        }
        drive.close().await;
    }
}
