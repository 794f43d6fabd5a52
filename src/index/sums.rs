//! The sums file: a checksum of every page as it was when the pages were last synced.
//!
//! ```text
//! sums   = origin 16 , record*
//! record = length 4 , link 16 , payload
//! payload = number 8 , bytes of the pages file 8 , length 2 of the head , head , run*
//! run    = first page 4 , count 4 , sum 8 × count
//! newest = ( number 8 , sum 8 ) × 2 , written in turn
//! ```
//!
//! A record says what has changed since the one before it; its link is the BLAKE3 hash of the link before
//! it (of `origin`, which is random, for the first) and its payload. So a record stands only where it was
//! written. When the records have grown to twice a whole picture, the file is written anew as one record.
//!
//! A crash may leave the last record half written: then the state before it counts. Any other damage looks
//! just like that, and therefore the number of the newest record is kept in a file beside it, `newest`,
//! written after the record is durable: a sums file that ends below it has lost something.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::{Error, kv::io as io_error, power::Power};

/// Records may grow by this much beyond twice a whole picture, bytes.
const SLACK_BYTES: u64 = 1 << 20;
/// Before the first record: `origin`.
const ORIGIN_BYTES: usize = 16;
/// Of a record, before its payload.
const FRAME_BYTES: usize = 20;

/// The pages as of one sync. The sum 0 is that of a page that was never written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    /// Which sync.
    pub(super) number: u64,
    /// Length of the pages file, bytes.
    pub(super) len: u64,
    /// The first page, which alone is written in place: kept here and not there.
    pub(super) head: Vec<u8>,
    pub(super) pages: Vec<u64>,
}

/// What a sync changes.
#[derive(Debug)]
pub(super) struct Changes {
    pub(super) len: u64,
    pub(super) head: Vec<u8>,
    pub(super) pages: BTreeMap<u32, u64>,
}

impl Sums {
    /// Takes over what was synced.
    pub(super) fn apply(&mut self, changes: &Changes, pages: usize) {
        self.number += 1;
        self.len = changes.len;
        self.head.clone_from(&changes.head);
        self.pages.resize(pages, 0);
        for (page, sum) in &changes.pages {
            if let Some(place) = self.pages.get_mut(*page as usize) {
                *place = *sum;
            }
        }
    }
}

/// The open sums file.
#[derive(Debug)]
pub(super) struct Log {
    dir: PathBuf,
    power: Power,
    file: File,
    newest: File,
    end: u64,
    link: [u8; 16],
    /// Length at which it is written anew.
    full: u64,
}

impl Log {
    /// Makes the files of a new index. Durable once the directory is synced.
    pub(super) fn create(dir: &Path, power: Power) -> io::Result<Log> {
        let newest = open_at(&dir.join("newest"), true)?;
        newest.write_all_at(&[noted(0), noted(0)].concat(), 0)?;
        newest.sync_all()?;
        let mut origin = [0; ORIGIN_BYTES];
        getrandom::fill(&mut origin).map_err(io::Error::other)?;
        let file = open_at(&dir.join("sums"), true)?;
        file.write_all_at(&origin, 0)?;
        file.sync_all()?;
        Ok(Log {
            dir: dir.to_owned(),
            power,
            file,
            newest,
            end: ORIGIN_BYTES as u64,
            link: origin,
            full: SLACK_BYTES,
        })
    }

    /// Reads the files.
    pub(super) fn open(dir: &Path, power: Power) -> Result<(Log, Sums), Error> {
        let open = |name: &str| match open_at(&dir.join(name), false) {
            Ok(file) => Ok(file),
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => {
                Err(Error::Damaged(format!("its file `{name}` is gone")))
            }
            Err(fault) => Err(io_error("opening the index")(fault)),
        };
        let (file, newest) = (open("sums")?, open("newest")?);
        let mut log = Log {
            dir: dir.to_owned(),
            power,
            file,
            newest,
            end: 0,
            link: [0; ORIGIN_BYTES],
            full: 0,
        };
        let sums = log.read().map_err(|fault| match fault.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => {
                Error::Damaged("its sums cannot be read".into())
            }
            _ => io_error("reading the index's sums")(fault),
        })?;
        Ok((log, sums))
    }

    fn read(&mut self) -> io::Result<Sums> {
        let least = newest(&self.newest)?;
        let bytes = self.file.metadata()?.len();
        let mut reader = io::BufReader::with_capacity(1 << 16, &self.file);
        reader.read_exact(&mut self.link)?;
        self.end = ORIGIN_BYTES as u64;
        let mut sums = Sums::default();
        while let Some((link, payload)) = record(&mut reader, self.link, bytes - self.end)? {
            let changes = decode(&payload, &mut sums).ok_or(io::ErrorKind::InvalidData)?;
            let pages = usize::try_from(changes.len / super::pages::PAGE_BYTES as u64);
            sums.number -= 1;
            sums.apply(&changes, pages.map_err(io::Error::other)?);
            self.link = link;
            self.end += (FRAME_BYTES + payload.len()) as u64;
        }
        drop(reader);
        self.full = full(&sums);
        if sums.number < least {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(sums)
    }

    /// Writes what has changed since `sums`, durably. After a failure the same may be written again.
    pub(super) fn append(
        &mut self,
        sums: &Sums,
        changes: &Changes,
        pages: usize,
    ) -> io::Result<()> {
        let number = sums.number + 1;
        let record = framed(self.link, &encode(number, changes, runs(&changes.pages)));
        if self.end + record.len() as u64 > self.full {
            let mut whole = sums.clone();
            whole.apply(changes, pages);
            self.rewrite(&whole, changes)?;
        } else {
            self.power.write_all_at(&self.file, &record, self.end)?;
            self.power.sync(&self.file)?;
            self.end += record.len() as u64;
            self.link = first(&record[4..]);
        }
        // Not synced: if it is lost, an older number is there, which asks for less.
        if let Err(fault) = self
            .power
            .write_all_at(&self.newest, &noted(number), 16 * (number % 2))
        {
            log::warn!("the index's newest number cannot be noted: {fault}");
        }
        Ok(())
    }

    /// Takes away what an append that failed has left.
    pub(super) fn roll_back(&mut self) {
        if let Err(fault) = self.power.set_len(&self.file, self.end) {
            log::warn!("the index's sums cannot be shortened: {fault}");
        }
    }

    fn rewrite(&mut self, whole: &Sums, changes: &Changes) -> io::Result<()> {
        let mut origin = [0; ORIGIN_BYTES];
        getrandom::fill(&mut origin).map_err(io::Error::other)?;
        let payload = encode(whole.number, changes, vec![(0, whole.pages.clone())]);
        let record = framed(origin, &payload);
        let (draft, path) = (self.dir.join("sums.draft"), self.dir.join("sums"));
        let file = open_at(&draft, true)?;
        let content = [&origin[..], &record].concat();
        self.power.write_all_at(&file, &content, 0)?;
        self.power.sync(&file)?;
        self.power.spend()?;
        fs::rename(draft, path)?;
        self.file = file;
        self.end = (ORIGIN_BYTES + record.len()) as u64;
        self.link = first(&record[4..]);
        self.full = full(whole);
        File::open(&self.dir)?.sync_all()
    }
}

fn open_at(path: &Path, anew: bool) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(anew)
        .truncate(anew)
        .open(path)
}

fn full(sums: &Sums) -> u64 {
    2 * 8 * sums.pages.len() as u64 + SLACK_BYTES
}

fn first<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut head = [0; N];
    head.copy_from_slice(&bytes[..N]);
    head
}

fn noted(number: u64) -> [u8; 16] {
    let mut note = [0; 16];
    note[..8].copy_from_slice(&number.to_le_bytes());
    let sum = blake3::hash(&note[..8]);
    note[8..].copy_from_slice(&sum.as_bytes()[..8]);
    note
}

/// The newest number that was noted. One of the two notes may be half written.
fn newest(file: &File) -> io::Result<u64> {
    let mut notes = [0; 32];
    file.read_exact_at(&mut notes, 0)?;
    let number = |note: &[u8]| Some(u64::from_le_bytes(first(note))).filter(|n| note == noted(*n));
    let newest = notes.chunks(16).filter_map(number).max();
    newest.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn link(before: [u8; 16], payload: &[u8]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&before).update(payload);
    first(hasher.finalize().as_bytes())
}

fn framed(before: [u8; 16], payload: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(FRAME_BYTES + payload.len());
    record.extend_from_slice(&count(payload.len()));
    record.extend_from_slice(&link(before, payload));
    record.extend_from_slice(payload);
    record
}

/// The next record; none where the records end, cleanly or not.
fn record(
    reader: &mut impl Read,
    before: [u8; 16],
    left: u64,
) -> io::Result<Option<([u8; 16], Vec<u8>)>> {
    if left < FRAME_BYTES as u64 {
        return Ok(None);
    }
    let mut frame = [0; FRAME_BYTES];
    reader.read_exact(&mut frame)?;
    let len = u32::from_le_bytes(first(&frame));
    if u64::from(len) > left - FRAME_BYTES as u64 {
        return Ok(None);
    }
    let mut payload = vec![0; len as usize];
    reader.read_exact(&mut payload)?;
    let found = first(&frame[4..]);
    Ok((link(before, &payload) == found).then_some((found, payload)))
}

fn count(len: usize) -> [u8; 4] {
    u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes()
}

/// Consecutive pages, and their sums.
type Run = (u32, Vec<u64>);

fn runs(pages: &BTreeMap<u32, u64>) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (page, sum) in pages {
        match runs.last_mut() {
            Some((at, sums)) if u64::from(*at) + sums.len() as u64 == u64::from(*page) => {
                sums.push(*sum);
            }
            _ => runs.push((*page, vec![*sum])),
        }
    }
    runs
}

fn encode(number: u64, changes: &Changes, runs: Vec<Run>) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&number.to_le_bytes());
    out.extend_from_slice(&changes.len.to_le_bytes());
    let head_len = u16::try_from(changes.head.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&head_len.to_le_bytes());
    out.extend_from_slice(&changes.head);
    for (page, sums) in runs {
        out.extend_from_slice(&page.to_le_bytes());
        out.extend_from_slice(&count(sums.len()));
        for sum in sums {
            out.extend_from_slice(&sum.to_le_bytes());
        }
    }
    out
}

/// Reads a payload; its number goes into `sums`.
fn decode(mut bytes: &[u8], sums: &mut Sums) -> Option<Changes> {
    sums.number = u64::from_le_bytes(take(&mut bytes)?);
    let len = u64::from_le_bytes(take(&mut bytes)?);
    let head_len = u16::from_le_bytes(take(&mut bytes)?);
    let (head, rest) = bytes.split_at_checked(head_len.into())?;
    bytes = rest;
    let mut pages = BTreeMap::new();
    while !bytes.is_empty() {
        let page = u32::from_le_bytes(take(&mut bytes)?);
        let count = u32::from_le_bytes(take(&mut bytes)?);
        for nth in 0..count {
            pages.insert(
                page.checked_add(nth)?,
                u64::from_le_bytes(take(&mut bytes)?),
            );
        }
    }
    let head = head.to_vec();
    (sums.number > 0).then_some(Changes { len, head, pages })
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*head)
}
