//! Sources: who may still have a chunk.

use std::fs::File;
use std::io;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;

use bytes::Bytes;

use crate::codec::chunker::Chunker;
use crate::codec::chunker::End;
use crate::codec::pack::parse_pack_name;
use crate::drive::Error;
use crate::drive::repair::content::Mending;
use crate::drive::repair::content::Source;
use crate::drive::verify::Bad;
use crate::drive::verify::Findings;
use crate::drive::verify::frames::frame_at;
use crate::drive::verify::places::Where;
use crate::id::ArchiveNo;
use crate::id::ChunkId;
use crate::index::chunk::PackPlace;
use crate::store;
use crate::store::Entry;
use crate::store::Mark;
use crate::store::Page;
use crate::store::Shelf;
use crate::store::Span;

/// Bytes of a file that are read at once: twice the longest chunk.
const READ_BYTES: usize = 2 * Chunker::MAX;

impl Mending<'_> {
    /// Takes what is here, and what can still be read from packs of which only the ends are damaged.
    pub(in crate::drive) fn look_here(&mut self, findings: &Findings) -> Result<(), Error> {
        let wanted: Vec<ChunkId> = self.wanted.keys().copied().collect();
        self.task
            .begin("looking for what is missing", wanted.len() as u64, 0)?;
        for id in wanted {
            if let Some(plain) = self.drive.local_chunk(&id) {
                self.have(&id, plain, Source::Cache)?;
            } else if let Some(Bad::Ends(_) | Bad::Pack(_)) = findings.chunks.get(&id)
                && let Where::Here(place, pack) = self.drive.whereabouts(&id)?
            {
                let frame = frame_at(id, &place);
                let read = self.drive.chunk_on_store(place.pack, &pack, &frame);
                if let Some(plain) = self.drive.wait_with(self.task, read)? {
                    self.have(&id, plain, Source::Store)?;
                }
            }
            self.task.done(1, 0)?;
        }
        Ok(())
    }

    /// Looks into every pack that lies on a shelf of the drive: a chunk may have been stored twice.
    pub(in crate::drive) fn look_on_shelves(&mut self) -> Result<(), Error> {
        if self.wanted.is_empty() {
            return Ok(());
        }
        self.task.begin("looking into other packs", 0, 0)?;
        for (archive, shelf) in self.drive.shelves()? {
            let mut span = Span::After(Mark(0));
            loop {
                let listed = async {
                    match self.drive.store.list(&shelf, span).await {
                        Err(store::Error::Missing { .. }) => Ok(Page::default()),
                        answer => Ok(answer?),
                    }
                };
                let page = self.drive.wait_with(self.task, listed)?;
                for entry in page.entries {
                    self.look_into(archive, entry)?;
                    if self.wanted.is_empty() {
                        return Ok(());
                    }
                }
                match page.next {
                    Some(next) => span = Span::After(next),
                    None => break,
                }
            }
        }
        Ok(())
    }

    fn look_into(&mut self, archive: ArchiveNo, entry: Entry) -> Result<(), Error> {
        let Some(pack) = parse_pack_name(&entry.name) else {
            return Ok(());
        };
        let place = PackPlace {
            archive,
            bytes: entry.bytes,
            locator: entry.locator.0,
        };
        let frames = self.drive.frames_on_shelf(pack, &place);
        let frames = self.drive.wait_with(self.task, frames)?;
        for frame in frames.unwrap_or_default() {
            if self.wanted.contains_key(&frame.chunk) {
                let read = self.drive.chunk_on_store(pack, &place, &frame);
                if let Some(plain) = self.drive.wait_with(self.task, read)? {
                    self.have(&frame.chunk, plain, Source::Store)?;
                }
            }
        }
        self.task.done(1, 0)
    }

    /// Cuts every file of a directory as the drive does, and takes the chunks that are wanted.
    pub(in crate::drive) fn look_in_files(&mut self, dir: &Path) -> Result<(), Error> {
        if self.wanted.is_empty() {
            return Ok(());
        }
        self.task.begin("looking into files", 0, 0)?;
        let failed = |path: &Path, error: io::Error| {
            Error::State(format!("cannot read {}: {error}", path.display()))
        };
        let mut waiting: Vec<PathBuf> = vec![dir.to_owned()];
        let chunker = Chunker::new(&self.drive.keys);
        while let Some(path) = waiting.pop() {
            let kind = std::fs::symlink_metadata(&path)
                .map_err(|error| failed(&path, error))?
                .file_type();
            if kind.is_dir() {
                for entry in std::fs::read_dir(&path).map_err(|error| failed(&path, error))? {
                    waiting.push(entry.map_err(|error| failed(&path, error))?.path());
                }
            } else if kind.is_file() {
                match self.look_in_file(&chunker, &path) {
                    Err(Look::Unreadable(error)) => {
                        log::warn!("{}: {error}", path.display());
                    }
                    Err(Look::Ended(error)) => return Err(error),
                    Ok(()) => {}
                }
                self.task.done(1, 0)?;
            }
            if self.wanted.is_empty() {
                break;
            }
        }
        Ok(())
    }

    fn look_in_file(&mut self, chunker: &Chunker, path: &Path) -> Result<(), Look> {
        let mut file = File::open(path)?;
        let mut bytes: Vec<u8> = Vec::new();
        let mut end = End::More;
        loop {
            if end == End::More && bytes.len() < Chunker::MAX {
                let room = READ_BYTES - bytes.len();
                let read = (&mut file).take(room as u64).read_to_end(&mut bytes)?;
                if read < room {
                    end = End::Last;
                }
            }
            let Some(len) = chunker.cut(&bytes, end) else {
                return Ok(());
            };
            let id = self.drive.keys.chunk_id(&bytes[..len]);
            if self.wanted.contains_key(&id) {
                let plain = Bytes::copy_from_slice(&bytes[..len]);
                self.have(&id, plain, Source::File)?;
            }
            bytes.drain(..len);
            self.task.check()?;
        }
    }
}

/// Why a file was not looked at to its end.
enum Look {
    Unreadable(io::Error),
    Ended(Error),
}

impl From<io::Error> for Look {
    fn from(error: io::Error) -> Look {
        Look::Unreadable(error)
    }
}

impl From<Error> for Look {
    fn from(error: Error) -> Look {
        Look::Ended(error)
    }
}

impl crate::drive::Drive {
    /// The shelves of all archives.
    pub(in crate::drive) fn shelves(&self) -> Result<Vec<(ArchiveNo, Shelf)>, Error> {
        let (from, to) = crate::index::key::all(b'B');
        let mut shelves = Vec::new();
        for (key, _) in crate::drive::view::scan(&self.index, &from, &to, usize::MAX)? {
            if let Some(no) = crate::index::key::archive_of(&key) {
                let shelf = self.holding(no)?.shelf;
                if !shelf.is_empty() {
                    shelves.push((no, Shelf(shelf)));
                }
            }
        }
        Ok(shelves)
    }
}
