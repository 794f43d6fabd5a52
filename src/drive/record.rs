//! What a spool record says: changes to the index, and changes to the content of files.

use crate::drive::dirty::Piece;
use crate::drive::dirty::Source;
use crate::id::ArchiveNo;
use crate::id::ChunkId;
use crate::id::EpochNo;
use crate::id::InodeNo;
use crate::index::Batch;
use crate::index::chunk::ChunkPlace;
use crate::spool::Place;

/// One change to one file's content. Applied in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::drive) struct ContentChange {
    /// The file.
    pub(in crate::drive) ino: InodeNo,
    /// First byte that changes.
    pub(in crate::drive) start: u64,
    /// Number of bytes that change, not 0.
    pub(in crate::drive) len: u64,
    /// What they become.
    pub(in crate::drive) becomes: Becomes,
}

/// What bytes of a file become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::drive) enum Becomes {
    /// Bytes of this very record's body, from `skip` on.
    Body {
        /// Bytes of the body before them.
        skip: u32,
    },
    /// What a piece of another file was when the record was made.
    Source(Source),
}

impl ContentChange {
    /// Can a change say this? A checksum is no proof of who wrote it, and later sums rely on it.
    fn is_possible(&self) -> bool {
        let source_len = match self.becomes {
            Becomes::Source(Source::Zero) => u64::MAX,
            Becomes::Source(Source::Spool { place, .. }) => u64::from(place.body_len),
            Becomes::Source(Source::Chunk { .. }) | Becomes::Body { .. } => u64::from(u32::MAX),
        };
        let skip = match self.becomes {
            Becomes::Source(Source::Zero) => 0,
            Becomes::Source(Source::Spool { skip, .. } | Source::Chunk { skip, .. })
            | Becomes::Body { skip } => u64::from(skip),
        };
        let ends = |start: u64| start.checked_add(self.len);
        self.len > 0
            && ends(self.start).is_some()
            && ends(skip).is_some_and(|end| end <= source_len)
    }

    /// The piece that this change lays into the file, given where its record's body is.
    #[must_use]
    pub(in crate::drive) fn piece(&self, place: Place) -> Piece {
        let source = match self.becomes {
            Becomes::Body { skip } => Source::Spool { place, skip },
            Becomes::Source(source) => source,
        };
        Piece {
            len: self.len,
            source,
        }
    }
}

/// What the head of a spool record holds.
#[derive(Debug)]
pub(in crate::drive) enum Entry {
    /// Somebody changed the drive.
    Change(Record),
    /// The store acknowledged packs for this epoch: where chunks are. Once the journal has an epoch of
    /// that number, it is history that counts: ours says so itself, and after another machine's the
    /// packs may have been collected as garbage.
    Fact(EpochNo, Batch),
    /// Packs are about to be sent for this epoch: if the answer is lost, they are looked for before
    /// their chunks are sent again.
    Intent(EpochNo, Vec<Intent>),
    /// What follows was made upon this epoch, which another machine has published.
    Base(EpochNo),
}

/// A pack that is about to be put on a shelf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::drive) struct Intent {
    /// The shelf, as the store calls it.
    pub(in crate::drive) shelf: String,
    /// The archive the shelf belongs to.
    pub(in crate::drive) archive: ArchiveNo,
    /// The pack's length, bytes.
    pub(in crate::drive) bytes: u64,
    /// Each chunk in it and where.
    pub(in crate::drive) frames: Vec<(ChunkId, ChunkPlace)>,
}

/// A change to the drive: all of it takes effect, or none.
#[derive(Debug, Default)]
pub(in crate::drive) struct Record {
    /// Changes to the index.
    pub(in crate::drive) batch: Batch,
    /// Changes to content.
    pub(in crate::drive) content: Vec<ContentChange>,
}

/// A record head that cannot be read: damaged beyond its checksum, or written by a newer ods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a spool record has the wrong form")]
pub(in crate::drive) struct Malformed;

const CHANGE: u8 = b'c';
const FACT: u8 = b'F';
const INTENT: u8 = b'I';
/// Facts and intents that do not say their epoch. Nothing is lost when they are ignored: what they tell of is sent again.
pub(in crate::drive) const OLD: [u8; 2] = [b'f', b'i'];
const BASE: u8 = b'b';

const BODY: u8 = 1;
const SPOOL: u8 = 2;
const CHUNK: u8 = 3;
const ZERO: u8 = 4;

impl Entry {
    /// The head's bytes.
    #[must_use]
    pub(in crate::drive) fn encode(&self) -> Vec<u8> {
        match self {
            Entry::Change(record) => record.encode(),
            Entry::Fact(epoch, batch) => {
                [&[FACT][..], &epoch.0.to_le_bytes(), &batch.encode()].concat()
            }
            Entry::Intent(epoch, intents) => encode_intents(*epoch, intents),
            Entry::Base(epoch) => [&[BASE][..], &epoch.0.to_le_bytes()].concat(),
        }
    }

    /// Reads a head.
    ///
    /// # Errors
    /// [`Malformed`] when it is not one.
    pub(in crate::drive) fn decode(head: &[u8]) -> Result<Entry, Malformed> {
        let (tag, rest) = head.split_first().ok_or(Malformed)?;
        match *tag {
            CHANGE => Record::decode(rest).map(Entry::Change),
            FACT => {
                let (epoch, batch) = dated(rest)?;
                let batch = Batch::decode(batch).map_err(|_| Malformed)?;
                Ok(Entry::Fact(epoch, batch))
            }
            INTENT => {
                let (epoch, intents) = dated(rest)?;
                Ok(Entry::Intent(epoch, decode_intents(intents)?))
            }
            tag if OLD.contains(&tag) => Ok(Entry::Fact(EpochNo(0), Batch::default())),
            BASE => number(&mut { rest }).map(|epoch| Entry::Base(EpochNo(epoch))),
            _ => Err(Malformed),
        }
    }
}

/// Splits off the epoch that a record was made for.
fn dated(rest: &[u8]) -> Result<(EpochNo, &[u8]), Malformed> {
    let (epoch, rest) = rest.split_first_chunk().ok_or(Malformed)?;
    Ok((EpochNo(u64::from_le_bytes(*epoch)), rest))
}

fn encode_intents(epoch: EpochNo, intents: &[Intent]) -> Vec<u8> {
    let mut out = vec![INTENT];
    out.extend_from_slice(&epoch.0.to_le_bytes());
    let count = |len: usize| u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes();
    out.extend_from_slice(&count(intents.len()));
    for intent in intents {
        out.extend_from_slice(&count(intent.shelf.len()));
        out.extend_from_slice(intent.shelf.as_bytes());
        out.extend_from_slice(&intent.archive.0.to_le_bytes());
        out.extend_from_slice(&intent.bytes.to_le_bytes());
        out.extend_from_slice(&count(intent.frames.len()));
        for (id, place) in &intent.frames {
            out.extend_from_slice(&id.0);
            out.extend_from_slice(&place.encode());
        }
    }
    out
}

fn decode_intents(mut rest: &[u8]) -> Result<Vec<Intent>, Malformed> {
    let rest = &mut rest;
    let count = u32::from_le_bytes(take(rest)?);
    let mut intents = Vec::new();
    for _ in 0..count {
        let shelf_len = u32::from_le_bytes(take(rest)?) as usize;
        let (shelf, tail) = rest.split_at_checked(shelf_len).ok_or(Malformed)?;
        *rest = tail;
        let shelf = std::str::from_utf8(shelf)
            .map_err(|_| Malformed)?
            .to_owned();
        let archive = ArchiveNo(u32::from_le_bytes(take(rest)?));
        let bytes = number(rest)?;
        let frames = u32::from_le_bytes(take(rest)?);
        let frames = (0..frames).map(|_| {
            let id = ChunkId(take(rest)?);
            let place = ChunkPlace::decode(&take::<32>(rest)?).map_err(|_| Malformed)?;
            Ok((id, place))
        });
        let frames = frames.collect::<Result<_, Malformed>>()?;
        intents.push(Intent {
            shelf,
            archive,
            bytes,
            frames,
        });
    }
    Ok(intents)
}

impl Record {
    /// The head's bytes: number of content changes, the changes, the batch.
    #[must_use]
    pub(in crate::drive) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(65 + 64 * self.content.len());
        out.push(CHANGE);
        out.extend_from_slice(
            &u32::try_from(self.content.len())
                .unwrap_or(u32::MAX)
                .to_le_bytes(),
        );
        for change in &self.content {
            for field in [change.ino.0, change.start, change.len] {
                out.extend_from_slice(&field.to_le_bytes());
            }
            match change.becomes {
                Becomes::Body { skip } => {
                    out.push(BODY);
                    out.extend_from_slice(&skip.to_le_bytes());
                }
                Becomes::Source(Source::Spool { place, skip }) => {
                    out.push(SPOOL);
                    out.extend_from_slice(&skip.to_le_bytes());
                    out.extend_from_slice(&place.to_bytes());
                }
                Becomes::Source(Source::Chunk { id, skip }) => {
                    out.push(CHUNK);
                    out.extend_from_slice(&skip.to_le_bytes());
                    out.extend_from_slice(&id.0);
                }
                Becomes::Source(Source::Zero) => out.push(ZERO),
            }
        }
        out.extend_from_slice(&self.batch.encode());
        out
    }

    fn decode(mut rest: &[u8]) -> Result<Record, Malformed> {
        let count = u32::from_le_bytes(take(&mut rest)?);
        let mut content = Vec::with_capacity(count.min(1024) as usize);
        for _ in 0..count {
            let [ino, start, len] = [number(&mut rest)?, number(&mut rest)?, number(&mut rest)?];
            let [tag] = take::<1>(&mut rest)?;
            let change = ContentChange {
                ino: InodeNo(ino),
                start,
                len,
                becomes: becomes(tag, &mut rest)?,
            };
            if !change.is_possible() {
                return Err(Malformed);
            }
            content.push(change);
        }
        let batch = Batch::decode(rest).map_err(|_| Malformed)?;
        Ok(Record { batch, content })
    }
}

fn becomes(tag: u8, rest: &mut &[u8]) -> Result<Becomes, Malformed> {
    if tag == ZERO {
        return Ok(Becomes::Source(Source::Zero));
    }
    let skip = u32::from_le_bytes(take(rest)?);
    match tag {
        BODY => Ok(Becomes::Body { skip }),
        SPOOL => {
            let place = Place::from_bytes(take(rest)?);
            Ok(Becomes::Source(Source::Spool { place, skip }))
        }
        CHUNK => Ok(Becomes::Source(Source::Chunk {
            id: ChunkId(take(rest)?),
            skip,
        })),
        _ => Err(Malformed),
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Malformed> {
    let (head, tail) = rest.split_first_chunk::<N>().ok_or(Malformed)?;
    *rest = tail;
    Ok(*head)
}

fn number(rest: &mut &[u8]) -> Result<u64, Malformed> {
    take(rest).map(u64::from_le_bytes)
}
