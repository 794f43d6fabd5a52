//! What lies on this machine: bytes in the spool that are not on the store yet, and the cache.

use crate::codec::pack;
use crate::codec::pack::Frame;
use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::dirty::Source;
use crate::drive::scope::Files;
use crate::drive::task::Task;
use crate::drive::verify::Findings;
use crate::id::InodeNo;
use crate::index;
use crate::index::manifest::LOST;
use crate::spool;
use crate::spool::Place;

/// Bytes of a record's body that are read at once.
const READ_BYTES_MAX: u32 = 4 << 20;

/// A piece of a file that lies in the spool.
type Piece = (Place, u32, u64);

impl Drive {
    /// Reads back what is in the spool for these files.
    pub(in crate::drive) fn look_at_spool(
        &self,
        files: &Files,
        task: &Task<'_>,
        findings: &mut Findings,
    ) -> Result<(), Error> {
        findings.records = self.control.board().lost_records.clone();
        let inodes: Vec<InodeNo> = {
            let view = self.view();
            let gathering = view.state.gathering.inodes().into_iter();
            let frozen = view.state.frozen.iter().flat_map(|frozen| frozen.inodes());
            gathering
                .chain(frozen)
                .filter(|ino| files.contains(*ino))
                .collect()
        };
        task.begin("reading the spool", inodes.len() as u64, 0)?;
        for ino in inodes {
            let (pieces, lost) = self.spooled_pieces(ino);
            if lost > 0 {
                *findings.lost.entry(ino).or_default() += lost;
            }
            for piece in pieces {
                findings.counts.spool_bytes += piece.2;
                let Err(error) = self.read_piece(&piece) else {
                    continue;
                };
                // It may have been uploaded or overwritten since; what is in the spool still, was all the time.
                if self.spooled_pieces(ino).0.contains(&piece) {
                    let text = format!("bytes in the spool cannot be read back: {error}");
                    findings.spooled.insert(ino, text);
                }
            }
            task.done(1, 0)?;
        }
        Ok(())
    }

    /// What of a file lies in the spool, and how many bytes it says are lost.
    fn spooled_pieces(&self, ino: InodeNo) -> (Vec<Piece>, u64) {
        let view = self.view();
        let (mut pieces, mut lost) = (Vec::new(), 0);
        let layers = [Some(&view.state.gathering), view.state.frozen.as_ref()];
        for layer in layers.into_iter().flatten() {
            for (_, piece) in layer.within(ino, 0, u64::MAX) {
                match piece.source {
                    Source::Spool { place, skip } => pieces.push((place, skip, piece.len)),
                    Source::Chunk { id: LOST, .. } => lost += piece.len,
                    Source::Chunk { .. } | Source::Zero => {}
                }
            }
        }
        (pieces, lost)
    }

    fn read_piece(&self, (place, skip, len): &Piece) -> Result<(), spool::Error> {
        let end = skip.saturating_add(u32::try_from(*len).unwrap_or(u32::MAX));
        let mut at = *skip;
        while at < end {
            let step = READ_BYTES_MAX.min(end - at);
            self.spool.read(place, at, step)?;
            at += step;
        }
        Ok(())
    }

    /// Reads the index's own files, every page against its checksum.
    pub(in crate::drive) fn look_at_index(
        &self,
        task: &Task<'_>,
        findings: &mut Findings,
    ) -> Result<(), Error> {
        task.begin("reading the index", 0, 0)?;
        match self.index.verify() {
            Err(error @ index::Error::Damaged(_)) => {
                findings
                    .index
                    .push((format!("cannot be trusted: {error}"), Vec::new()));
                Ok(())
            }
            answer => Ok(answer?),
        }
    }

    /// Unseals what is in the cache. What does not open is dropped: it is only a copy.
    pub(in crate::drive) fn look_at_cache(
        &self,
        task: &Task<'_>,
        findings: &mut Findings,
    ) -> Result<(), Error> {
        let usage = self.cache.usage();
        task.begin("reading the cache", usage.frames, usage.bytes)?;
        let (seen, dropped) = self.cache.examine(|chunk, cached| {
            let sealed_len = u32::try_from(cached.sealed.len()).unwrap_or(u32::MAX);
            let frame = Frame {
                chunk: *chunk,
                slot: cached.slot,
                offset: 0,
                sealed_len,
                plain_len: cached.plain_len,
            };
            task.done(1, u64::from(sealed_len))?;
            Ok::<bool, Error>(
                pack::open_frame(&self.keys, cached.pack, &frame, &cached.sealed[..]).is_ok(),
            )
        })?;
        findings.counts.cache_frames = seen;
        if dropped > 0 {
            findings.notes.push(format!(
                "{dropped} damaged copies were dropped from the cache; what they are copies of is not concerned"
            ));
        }
        Ok(())
    }
}
