//! Are these parts one whole segment, or one whole checkpoint? Their sealed headers tell, not their names.

use crate::codec::segment::Kind;
use crate::codec::segment::PartHeader;
use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::history::Found;
use crate::store::Entry;

/// Looks at the headers of parts, one after the other.
#[derive(Debug)]
pub(in crate::drive) struct Whole {
    kind: Kind,
    first: Option<PartHeader>,
    next: u32,
    parts: u32,
    has_ended: bool,
}

impl Whole {
    pub(in crate::drive) fn of(kind: Kind) -> Whole {
        Whole {
            kind,
            first: None,
            next: 0,
            parts: 0,
            has_ended: false,
        }
    }

    /// Is this the part that comes next: of this kind, of the same writing, and nothing left out?
    pub(in crate::drive) fn goes_on_with(&mut self, header: &PartHeader) -> bool {
        let is_alike = |first: &PartHeader| {
            let (first, other) = (
                (first.set, first.epoch, first.previous),
                (header.set, header.epoch, header.previous),
            );
            first == other
        };
        // Where a part knows how many there are, all that know say the same.
        let is_agreed = self.parts == 0 || header.parts == 0 || self.parts == header.parts;
        let goes_on = !self.has_ended
            && header.kind == self.kind
            && header.part == self.next
            && is_agreed
            && self.first.as_ref().is_none_or(is_alike);
        self.first.get_or_insert(*header);
        self.next += 1;
        self.parts = self.parts.max(header.parts);
        self.has_ended |= header.is_last();
        goes_on
    }

    /// The first header, once the part that knows to be the last was there.
    pub(in crate::drive) fn end(self) -> Option<PartHeader> {
        self.first.filter(|_| self.has_ended)
    }
}

/// A part that was opened.
pub(in crate::drive) struct Part<'p> {
    pub(in crate::drive) number: u32,
    pub(in crate::drive) entry: &'p Entry,
    pub(in crate::drive) plain: Vec<u8>,
    pub(in crate::drive) hash: [u8; 32],
}

impl Drive {
    /// Reads a segment or a checkpoint part by part; gives its first header. An error when the parts are not
    /// those of one whole set of this kind and epoch: what was taken until then is to be given up.
    pub(in crate::drive) async fn read_set(
        &self,
        found: &Found,
        kind: Kind,
        mut take: impl FnMut(Part<'_>) -> Result<(), Error> + Send,
    ) -> Result<PartHeader, Error> {
        let mut whole = Whole::of(kind);
        for (number, entry) in (0..).zip(&found.parts) {
            let (header, plain, hash) = self.open_part(entry).await?;
            if header.epoch != found.epoch || !whole.goes_on_with(&header) {
                return Err(Error::Damaged(format!(
                    "journal object {} is not what its name says",
                    entry.name
                )));
            }
            take(Part {
                number,
                entry,
                plain,
                hash,
            })?;
        }
        whole.end().ok_or_else(|| {
            let last = found.parts.last().map_or("", |entry| &entry.name);
            Error::Damaged(format!(
                "parts are missing after journal object {last}, which is not the last one"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::codec::segment;
    use crate::drive::Access;
    use crate::drive::Settings;
    use crate::drive::fixture;
    use crate::drive::names::Name;
    use crate::drive::names::PartName;
    use crate::drive::task::Go;
    use crate::drive::task::Task;
    use crate::drive::verify::Depth;
    use crate::drive::verify::Findings;
    use crate::id::EpochNo;
    use crate::index::Batch;
    use crate::index::key;
    use crate::store::Mark;
    use crate::store::Object;
    use crate::store::Store;
    use crate::store::memory::Memory;

    /// Rows of a kilobyte that make more than one part.
    const ROWS: u32 = 7000;

    const FIRST: PartHeader = PartHeader {
        kind: Kind::Checkpoint,
        epoch: EpochNo(7),
        set: [3; 16],
        part: 0,
        parts: 0,
        previous: [9; 32],
    };

    const LAST: PartHeader = PartHeader {
        part: 1,
        parts: 2,
        ..FIRST
    };

    fn is_whole(headers: &[PartHeader]) -> bool {
        let mut whole = Whole::of(Kind::Checkpoint);
        headers.iter().all(|header| whole.goes_on_with(header)) && whole.end() == Some(FIRST)
    }

    #[test]
    fn only_all_parts_of_one_writing_are_whole() {
        assert!(is_whole(&[FIRST, LAST]));
        let others = [
            PartHeader {
                kind: Kind::Segment,
                ..LAST
            },
            PartHeader {
                set: [4; 16],
                ..LAST
            },
            PartHeader {
                epoch: EpochNo(8),
                ..LAST
            },
            PartHeader {
                previous: [8; 32],
                ..LAST
            },
            PartHeader { parts: 0, ..LAST },
            PartHeader { parts: 3, ..LAST },
            FIRST,
        ];
        for other in others {
            assert!(!is_whole(&[FIRST, other]), "{other:?}");
        }
        for some in [&[][..], &[FIRST], &[LAST], &[LAST, FIRST]] {
            assert!(!is_whole(some), "{some:?}");
        }
        let knows = PartHeader { parts: 3, ..FIRST };
        assert!(!is_whole(&[knows, LAST]));
        assert!(!is_whole(&[FIRST, LAST, PartHeader { part: 2, ..FIRST }]));
    }

    fn row(number: u32) -> Vec<u8> {
        key::root(&format!("row {number}"))
    }

    fn rows() -> Batch {
        let mut rows = Batch::default();
        for number in 0..ROWS {
            rows.put(row(number), vec![7; 1024]).expect("small");
        }
        rows
    }

    async fn with_one_epoch(dir: &Path, store: &Arc<Memory>) -> Arc<Drive> {
        let opened = fixture::open(fixture::settings(dir), store).await;
        let drive = opened.expect("a new drive");
        flush(&drive).await;
        drive
    }

    async fn flush(drive: &Arc<Drive>) {
        let drive = Arc::clone(drive);
        let flushed = tokio::task::spawn_blocking(move || drive.flush(|| true));
        flushed.await.expect("no panic").expect("published");
    }

    /// Puts the first of several parts of this series under the name of a last one, and removes all of them.
    async fn cut_short(drive: &Drive, series: &str) {
        let mut parts = drive.journal_after(Mark(0)).await.expect("listed");
        let is_more =
            |entry: &&Entry| entry.name.starts_with(series) && entry.name.ends_with("-a.bin");
        let first = parts.iter().find(is_more).expect("several parts").clone();
        parts.retain(|entry| entry.name[..35] == first.name[..35]);
        assert!(parts.len() > 1, "{parts:?}");
        let Some(Name::Part(name)) = Name::parse(&first.name) else {
            panic!("{first:?}");
        };
        let name = PartName {
            attempt: [1; 8],
            last: true,
            ..name
        };
        let (header, plain, _) = drive.open_part(&first).await.expect("it opens");
        let object = Object {
            name: Name::Part(name).text(),
            body: segment::seal_part(&drive.keys, &header, &plain).expect("in bounds"),
        };
        let shelf = drive.store.journal();
        drive.store.put(&shelf, vec![object]).await.expect("taken");
        let all: Vec<_> = parts.into_iter().map(|entry| entry.locator).collect();
        drive.store.remove(&all).await.expect("removed");
    }

    /// What verifying says of the journal.
    async fn ills(drive: &Arc<Drive>, depth: Depth) -> Vec<String> {
        let drive = Arc::clone(drive);
        let looking = tokio::task::spawn_blocking(move || {
            let (watcher, mut findings) = (|_: &_| Go::On, Findings::default());
            let looked = drive.look_at_history(depth, &Task::new(&watcher), &mut findings);
            looked.map(|()| findings.history.what)
        });
        looking.await.expect("no panic").expect("it can look")
    }

    async fn read(dir: &Path, store: &Arc<Memory>) -> Arc<Drive> {
        let settings = Settings {
            access: Access::Read,
            ..fixture::settings(dir)
        };
        fixture::open(settings, store).await.expect("it opens")
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_checkpoint_that_was_cut_short_is_not_begun_with() {
        let dirs = [(); 2].map(|()| tempfile::tempdir().expect("a directory"));
        let store = Arc::new(Memory::default());
        let drive = with_one_epoch(dirs[0].path(), &store).await;
        drive.index.load(&rows()).expect("loaded");
        drive.checkpoint(&mut None).await.expect("written");
        for depth in [Depth::Quick, Depth::Full] {
            assert_eq!(ills(&drive, depth).await, [""; 0]);
        }
        cut_short(&drive, "c-").await;
        for depth in [Depth::Quick, Depth::Full] {
            assert!(!ills(&drive, depth).await.is_empty(), "{depth:?}");
        }
        drive.close().await;
        // The segments are there from the first on, and have none of the rows.
        let other = read(dirs[1].path(), &store).await;
        assert_eq!(other.journal_head().epoch, EpochNo(1));
        for number in [0, ROWS - 1] {
            assert_eq!(other.index.get(&row(number)).expect("readable"), None);
        }
        other.close().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_newest_segment_that_was_cut_short_is_passed_over() {
        let dirs = [(); 2].map(|()| tempfile::tempdir().expect("a directory"));
        let store = Arc::new(Memory::default());
        let drive = with_one_epoch(dirs[0].path(), &store).await;
        drive.index.apply(rows());
        let change =
            |change: &mut crate::drive::Change<'_>| crate::drive::archive::create_first(change);
        drive.change(change).expect("there is room");
        flush(&drive).await;
        for depth in [Depth::Quick, Depth::Full] {
            assert_eq!(ills(&drive, depth).await, [""; 0]);
        }
        cut_short(&drive, "s-").await;
        for depth in [Depth::Quick, Depth::Full] {
            assert!(!ills(&drive, depth).await.is_empty(), "{depth:?}");
        }
        drive.close().await;
        let other = read(dirs[1].path(), &store).await;
        assert_eq!(other.journal_head().epoch, EpochNo(1));
        assert!(other.halt().is_some_and(|halt| halt.is_newest()));
        other.close().await;
    }
}
