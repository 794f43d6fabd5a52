//! The drain's first half: frozen pieces become chunks, chunks become packs.
//!
//! One thread walks the frozen files in the order of archives and inodes, so that files made
//! together lie together. A run of consecutive pieces is cut by content; a chunk the drive already
//! has is only referred to. What comes out is a plan: which extents each changed region of each
//! file will have, once every pack is acknowledged.

use std::collections::HashSet;
use std::ops::Range;

use crate::codec::chunker::Chunker;
use crate::codec::chunker::End;
use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::dirty::Piece;
use crate::drive::dirty::Source;
use crate::drive::filling::Packing;
use crate::drive::splice::Region;
use crate::drive::splice::splice;
use crate::drive::view::Layer;
use crate::drive::view::extents;
use crate::id::ArchiveNo;
use crate::id::ChunkId;
use crate::id::InodeNo;
use crate::index::inode::Inode;
use crate::index::key;
use crate::index::manifest::Extent;
use crate::index::manifest::INLINE_BYTES_MAX;
use crate::index::manifest::LOST;
use crate::spool;

/// An extent before the changed region that is shorter than this is cut anew together with it, so
/// that a file grown by small appends does not end as thousands of tiny chunks: the least chunk.
const MERGE_BYTES_MAX: u64 = 256 << 10;

/// What is said of bytes that were lost before the drain saw them.
const LOST_BEFORE: &str = "some of its bytes were lost before they could be kept";

/// The drain of one epoch.
pub(in crate::drive) struct Drain<'d> {
    drive: &'d Drive,
    chunker: Chunker,
    packing: Packing<'d>,
    fresh: HashSet<ChunkId>,
    regions: Vec<Region>,
    losses: u64,
}

/// A file of the epoch and what is to be done about it.
struct Work {
    archive: ArchiveNo,
    ino: InodeNo,
    size: u64,
    pieces: Vec<(u64, Piece)>,
}

impl<'d> Drain<'d> {
    pub(in crate::drive) fn new(drive: &'d Drive) -> Drain<'d> {
        Drain {
            drive,
            chunker: Chunker::new(&drive.keys),
            packing: Packing::new(drive),
            fresh: HashSet::new(),
            regions: Vec::new(),
            losses: drive.losses.count(),
        }
    }

    /// Uploads everything the frozen epoch needs and adds manifests and places to its delta.
    /// False when a shelf was lost meanwhile, with what it held of this epoch or of what the epoch
    /// refers to: then nothing was added, and the drain is to be done again.
    pub(in crate::drive) fn run(mut self) -> Result<bool, Error> {
        for (archive, ino) in self.order()? {
            if self.drive.control.stopping() {
                return Err(Error::Closing);
            }
            let work = self.work(archive, ino)?;
            self.file(&work)?;
        }
        self.packing.finish()?;
        if self.losses != self.drive.losses.count() {
            return Ok(false);
        }
        for region in &self.regions {
            splice(self.drive, region)?;
        }
        Ok(true)
    }

    fn order(&self) -> Result<Vec<(ArchiveNo, InodeNo)>, Error> {
        let inodes: Vec<InodeNo> = {
            let view = self.drive.view();
            view.state
                .frozen
                .as_ref()
                .map(crate::drive::dirty::Dirty::inodes)
                .unwrap_or_default()
        };
        let mut order = Vec::with_capacity(inodes.len());
        for ino in inodes {
            let archive = self
                .frozen_inode(ino)?
                .map_or(ArchiveNo(0), |inode| inode.archive);
            order.push((archive, ino));
        }
        order.sort_unstable();
        Ok(order)
    }

    fn frozen_inode(&self, ino: InodeNo) -> Result<Option<Inode>, Error> {
        let value = self.drive.index.frozen_get(&key::inode(ino))?;
        Ok(value.map(|value| Inode::decode(&value)).transpose()?)
    }

    fn work(&self, archive: ArchiveNo, ino: InodeNo) -> Result<Work, Error> {
        let size = self.frozen_inode(ino)?.map_or(0, |inode| inode.size);
        let view = self.drive.view();
        let pieces = view
            .state
            .frozen
            .as_ref()
            .map(|frozen| frozen.within(ino, 0, u64::MAX).collect());
        Ok(Work {
            archive,
            ino,
            size,
            pieces: pieces.unwrap_or_default(),
        })
    }

    /// Splits a file's pieces into regions without gaps and handles each.
    fn file(&mut self, work: &Work) -> Result<(), Error> {
        let mut rest = &work.pieces[..];
        let mut clean_from = 0;
        while let Some((start, _)) = rest.first().copied() {
            let mut end = start;
            let count = rest
                .iter()
                .take_while(|(at, piece)| {
                    let joins = *at == end;
                    if joins {
                        end = end.saturating_add(piece.len);
                    }
                    joins
                })
                .count();
            let (region, later) = rest.split_at(count);
            rest = later;
            self.region(work, clean_from..start, end, region)?;
            clean_from = end;
        }
        Ok(())
    }

    fn region(
        &mut self,
        work: &Work,
        clean: Range<u64>,
        end: u64,
        pieces: &[(u64, Piece)],
    ) -> Result<(), Error> {
        let start = clean.end;
        let mut region = Region {
            ino: work.ino,
            start,
            end,
            extents: Vec::new(),
        };
        let mut run = Run::default();
        if let Some((at, bytes)) = self.small_extent_before(work, clean, pieces)? {
            region.start = at;
            run = Run {
                start: at,
                bytes,
                taken: 0,
            };
        }
        for (at, piece) in pieces {
            match piece.source {
                Source::Spool { place, skip } if *at < work.size => {
                    if run.is_empty() {
                        run.restart(*at);
                    }
                    let len = u32::try_from(piece.len).unwrap_or(u32::MAX);
                    match self.drive.spool.read(&place, skip, len) {
                        Ok(bytes) => {
                            run.bytes.extend_from_slice(&bytes);
                            self.cut(work, &mut run, &mut region, End::More)?;
                        }
                        Err(error) => {
                            self.cut(work, &mut run, &mut region, End::Last)?;
                            let seen = piece.len.min(work.size - at);
                            region
                                .extents
                                .push((*at, self.lost(work.ino, seen, error)?));
                        }
                    }
                }
                Source::Chunk { id, skip } => {
                    if id == LOST {
                        self.drive.note_lost_content(work.ino, LOST_BEFORE);
                    }
                    self.cut(work, &mut run, &mut region, End::Last)?;
                    let len = u32::try_from(piece.len).unwrap_or(u32::MAX);
                    region.extents.push((*at, Extent::Chunk { id, skip, len }));
                }
                Source::Zero | Source::Spool { .. } => {
                    self.cut(work, &mut run, &mut region, End::Last)?
                }
            }
        }
        self.cut(work, &mut run, &mut region, End::Last)?;
        self.regions.push(region);
        Ok(())
    }

    /// Spooled bytes that the disk broke are lost, and all others go on: that is told, and reading
    /// them fails from now on, wherever the drive is mounted.
    fn lost(&self, ino: InodeNo, len: u64, error: spool::Error) -> Result<Extent, Error> {
        if !matches!(
            error,
            spool::Error::Damaged { .. } | spool::Error::Gone { .. }
        ) {
            return Err(error.into());
        }
        let what = format!("bytes in the spool cannot be read back: {error}");
        self.drive.note_lost_content(ino, &what);
        Ok(Extent::Chunk {
            id: LOST,
            skip: 0,
            len: u32::try_from(len).unwrap_or(u32::MAX),
        })
    }

    /// The bytes of the extent that ends where the region begins, when it is small and here, and when
    /// all of it lies in the clean stretch: what this epoch changed before it is not in the manifest yet.
    fn small_extent_before(
        &self,
        work: &Work,
        clean: Range<u64>,
        pieces: &[(u64, Piece)],
    ) -> Result<Option<(u64, Vec<u8>)>, Error> {
        let spooled = |(_, piece): &(u64, Piece)| matches!(piece.source, Source::Spool { .. });
        if clean.is_empty() || !pieces.first().is_some_and(spooled) {
            return Ok(None);
        }
        // One byte more than may be merged: an extent cut off there is too long.
        let floor = clean.end.saturating_sub(MERGE_BYTES_MAX + 1);
        let index = &self.drive.index;
        let before = extents(index, Layer::Frozen, work.ino, floor, clean.end)?;
        let Some((at, extent)) = before.last().transpose()? else {
            return Ok(None);
        };
        let ends_here = at + extent.len() == clean.end;
        if !ends_here || at < clean.start || extent.len() > MERGE_BYTES_MAX {
            return Ok(None);
        }
        let bytes = match extent {
            Extent::Inline(bytes) => Some(bytes),
            Extent::Chunk { id, skip, len } => self.drive.local_chunk_part(&id, skip, len),
        };
        Ok(bytes.map(|bytes| (at, bytes)))
    }

    /// Takes as many chunks off the front of the run as there are. While more will follow, it waits until the
    /// longest chunk is there: each look for an end begins at the chunk's beginning, so that looking after each
    /// piece would read the same bytes again and again, a hundred times for pieces of 4 KiB.
    fn cut(
        &mut self,
        work: &Work,
        run: &mut Run,
        region: &mut Region,
        end: End,
    ) -> Result<(), Error> {
        let visible = usize::try_from(work.size.saturating_sub(run.start)).unwrap_or(usize::MAX);
        run.bytes.truncate(visible);
        if end == End::Last && !run.is_empty() && run.rest().len() <= INLINE_BYTES_MAX {
            let inline = run.rest().to_vec();
            region.extents.push((run.at(), Extent::Inline(inline)));
            run.restart(0);
            return Ok(());
        }
        while !run.is_empty() && (end == End::Last || run.rest().len() >= Chunker::MAX) {
            let Some(len) = self.chunker.cut(run.rest(), end) else {
                break;
            };
            let id = self.chunk(work.archive, &run.rest()[..len])?;
            let chunk = Extent::Chunk {
                id,
                skip: 0,
                len: u32::try_from(len).unwrap_or(u32::MAX),
            };
            region.extents.push((run.at(), chunk));
            run.take(len);
        }
        Ok(())
    }

    /// Makes sure that a chunk is stored, or on its way.
    fn chunk(&mut self, archive: ArchiveNo, plain: &[u8]) -> Result<ChunkId, Error> {
        let id = self.drive.keys.chunk_id(plain);
        if self.fresh.contains(&id) || self.drive.is_stored(&id)? {
            self.drive
                .control
                .post(|board| board.epoch_done_bytes += plain.len() as u64);
            return Ok(id);
        }
        self.packing.push(archive, id, plain)?;
        self.fresh.insert(id);
        Ok(id)
    }
}

/// Consecutive bytes of a file, of which those up to `taken` are cut already.
#[derive(Default)]
struct Run {
    start: u64,
    bytes: Vec<u8>,
    taken: usize,
}

/// Bytes that are cut already are kept in front of the others up to this length: moving the others is not free.
const TAKEN_BYTES_MAX: usize = 8 << 20;

impl Run {
    fn is_empty(&self) -> bool {
        self.taken >= self.bytes.len()
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.taken..).unwrap_or_default()
    }

    fn at(&self) -> u64 {
        self.start + self.taken as u64
    }

    fn restart(&mut self, start: u64) {
        self.start = start;
        self.bytes.clear();
        self.taken = 0;
    }

    fn take(&mut self, len: usize) {
        self.taken += len;
        if self.taken >= TAKEN_BYTES_MAX {
            self.bytes.drain(..self.taken);
            self.start += self.taken as u64;
            self.taken = 0;
        }
    }
}
