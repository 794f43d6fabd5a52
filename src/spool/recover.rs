//! Opening is recovering: finds what the log holds, and cuts off what a power cut left half-written.
//!
//! A record that cannot be read is one of two things. **Torn**: it was never made durable, nothing behind it
//! was either (a sync covers everything before it), so the log ends here and whatever is behind is dropped.
//! **Damaged**: it was durable and the disk broke it; then what is behind it must not be dropped, and what
//! cannot be read is kept. It is damage if its segment is sealed, or a later segment is (segments are sealed in
//! order, after an `fdatasync`), if its segment has no valid header (that is durable before anything follows it),
//! if any record that can be read was written when the unreadable one was already known to be durable, or if
//! the note of the log's end (`end.rs`) says so. Otherwise it is a tear. So what a returned `sync()` covered is
//! never dropped for a tear, unless the last records of the log were durable, the disk broke them, and the
//! power went before the disk had the note that tells.
//!
//! Two things make the order of files as reliable as the order of records: a segment's name and header are
//! durable before its first record is written; and cuts are durable before anything is appended.

use std::sync::Arc;

use super::{
    Error, Place,
    end::Known,
    medium::{Data, Medium, read_exact},
    record::{
        FILE_HEADER_BYTES, FileHeader, HEADER, Header, Kind, Salt, SpoolId, decode_file_header,
    },
    segment::Segment,
    walk::{Step, Walk},
};
use crate::id::Seq;

/// What recovery found.
pub(super) struct Found {
    /// Name of the spool; none if there is no segment at all.
    pub(super) id: Option<SpoolId>,
    /// Oldest first.
    pub(super) segments: Vec<Arc<Segment>>,
    /// Of those, the ones that still have to be sealed.
    pub(super) unsealed: Vec<Arc<Segment>>,
    /// The last number that was used, as far as is known.
    pub(super) last: Seq,
    /// Are the last records lost?
    pub(super) tail: Tail,
    /// The last record that was durable, as far as is known from outside.
    pub(super) known: Seq,
    /// Everything up to here is in sealed segments.
    pub(super) synced: Seq,
    pub(super) number_max: u32,
    pub(super) disk_bytes: u64,
    pub(super) records: u64,
    pub(super) dropped_bytes: u64,
}

/// Does the log end with a record, or with something else?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    Whole,
    Broken,
}

/// Name under which a damaged segment is kept that is not needed any more.
pub(super) fn aside(number: u32) -> String {
    format!("{number:08x}.damaged")
}

/// Name of a segment file.
pub(super) fn name(number: u32, ending: Ending) -> String {
    match ending {
        Ending::Open => format!("{number:08x}.open"),
        Ending::Sealed => format!("{number:08x}.seg"),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ending {
    /// Durable in full.
    Sealed,
    /// May be torn after a power cut.
    Open,
}

/// No spool gets so far, and numbers beyond it leave no room to count on.
const NUMBER_MAX: u32 = u32::MAX / 2;

/// Only exactly what [`name`] gives: another file is none of the spool's.
fn parse_name(text: &str) -> Option<(u32, Ending)> {
    let (number, ending) = text.split_once('.')?;
    let ending = match ending {
        "open" => Ending::Open,
        "seg" => Ending::Sealed,
        _ => return None,
    };
    let number = u32::from_str_radix(number, 16).ok()?;
    (number <= NUMBER_MAX && name(number, ending) == text).then_some((number, ending))
}

struct Survey {
    number: u32,
    ending: Ending,
    /// Has the disk broken the header? One that was never written to may have none.
    has_lost_header: bool,
    data: Arc<dyn Data>,
    segment: Segment,
    size: u64,
    records: u64,
    first: Option<Seq>,
    last: Option<Seq>,
    /// Greatest number that a record here says was durable when it was written.
    witnessed: Seq,
    suspects: Vec<Suspect>,
}

/// A place where a record cannot be read.
struct Suspect {
    position: u64,
    /// The last of the numbers that are missing here, if a record behind them can be read.
    missing_to: Option<Seq>,
}

/// Recovers what the medium holds; the note of its end says what must be there.
pub(super) fn recover(medium: &dyn Medium, known: Option<Known>) -> Result<Found, Error> {
    let io = |source| Error::Io {
        doing: "reading the spool",
        source,
    };
    let mut files: Vec<(u32, Ending)> = medium
        .names()
        .map_err(io)?
        .iter()
        .filter_map(|name| parse_name(name))
        .collect();
    files.sort_unstable();
    // After a power cut a rename may have left both names: one file, sealed.
    files.dedup_by_key(|(number, _)| *number);

    let mut opened = Vec::new();
    let mut id = None;
    for (number, ending) in files {
        let data = medium.open(&name(number, ending)).map_err(io)?;
        let header = file_header(&*data, number);
        match header {
            FileHeader::Valid(found) => id = id.or(Some(found)),
            FileHeader::Newer(version) => return Err(Error::Newer { version }),
            FileHeader::Broken => log::warn!("spool segment {number:08x} has no valid header"),
        }
        opened.push((number, ending, data, header == FileHeader::Broken));
    }
    // A note of another spool says nothing of this one.
    let known = known.filter(|known| id.is_none_or(|id| id == known.id));
    let id = id.or(known.map(|known| known.id));
    let known = known.map_or(Seq(0), |known| known.synced);
    let mut surveys = Vec::new();
    for (number, ending, data, is_broken) in opened {
        let salt = Salt::new(id.unwrap_or_default(), number);
        let mut one = survey(number, ending, data, salt, u64::MAX).map_err(io)?;
        one.has_lost_header = is_broken && one.size > FILE_HEADER_BYTES;
        surveys.push(one);
    }
    let number_max = surveys.last().map_or(0, |one| one.number);
    let dropped_bytes = drop_torn(medium, &mut surveys, known).map_err(|source| Error::Io {
        doing: "cutting the spool's torn tail",
        source,
    })?;
    // Segments that were made and never written to.
    for idle in surveys.extract_if(.., |one| {
        one.ending == Ending::Open && one.last.is_none() && one.suspects.is_empty()
    }) {
        medium.remove(&name(idle.number, idle.ending)).map_err(io)?;
    }
    let mut found = found(id, surveys, number_max);
    (found.known, found.dropped_bytes) = (known, dropped_bytes);
    found.go_on_behind_the_lost();
    Ok(found)
}

fn file_header(data: &dyn Data, number: u32) -> FileHeader {
    let mut bytes = [0; HEADER];
    match read_exact(data, 0, &mut bytes) {
        Ok(()) => decode_file_header(&bytes, number),
        Err(_) => FileHeader::Broken,
    }
}

/// Walks one segment up to `until`; bodies are verified where they may be torn.
fn survey(
    number: u32,
    ending: Ending,
    data: Arc<dyn Data>,
    salt: Salt,
    until: u64,
) -> std::io::Result<Survey> {
    let mut walk = Walk::new(Arc::clone(&data), salt)?;
    let size = data.size()?.min(until);
    let mut survey = Survey {
        number,
        ending,
        has_lost_header: false,
        size,
        segment: Segment::found(number, salt, Arc::clone(&data), size),
        data,
        records: 0,
        first: None,
        last: None,
        witnessed: Seq(0),
        suspects: Vec::new(),
    };
    let mut fault = None;
    while let Some(step) = walk.step() {
        let (position, header) = match step {
            Step::Record { position, .. } | Step::Fault { position } if position >= until => break,
            Step::Fault { position } => {
                fault = Some(position);
                continue;
            }
            Step::Record {
                position, header, ..
            } => (position, header),
        };
        if let Some(position) = fault.take() {
            survey.suspects.push(Suspect {
                position,
                missing_to: Some(Seq(header.seq.0.saturating_sub(1))),
            });
        }
        if ending == Ending::Open && !walk.is_body_whole(position, &header) {
            survey.suspects.push(Suspect {
                position,
                missing_to: Some(header.seq),
            });
        }
        survey.enter(position, &header);
    }
    survey.suspects.extend(fault.map(|position| Suspect {
        position,
        missing_to: None,
    }));
    Ok(survey)
}

impl Survey {
    fn enter(&mut self, position: u64, header: &Header) {
        self.first = self.first.or(Some(match header.kind {
            Kind::Record => header.seq,
            // It follows upon whatever was there before.
            Kind::Skip => Seq(0),
        }));
        self.last = Some(header.seq);
        self.witnessed = self.witnessed.max(header.synced);
        self.records += 1;
        let place = Place::new(self.number, position, header);
        self.segment.recovered(header.seq, &place);
    }
}

/// Finds the first tear, if there is one, and durably drops everything from there on.
fn drop_torn(medium: &dyn Medium, surveys: &mut Vec<Survey>, known: Seq) -> std::io::Result<u64> {
    let Some((index, position)) = first_tear(surveys, known) else {
        return Ok(0);
    };
    let mut torn = surveys.split_off(index);
    let keeps_first = position > FILE_HEADER_BYTES;
    let mut dropped = 0;
    // The last goes first, and the cut comes last: whatever moment this is interrupted at, what is left shows
    // the same tear.
    for one in torn.drain(usize::from(keeps_first)..).rev() {
        medium.remove(&name(one.number, one.ending))?;
        medium.sync_names()?;
        dropped += one.size.saturating_sub(FILE_HEADER_BYTES);
    }
    if let Some(one) = torn.pop() {
        one.data.truncate(position)?;
        one.data.sync()?;
        dropped += one.size - position;
        let (number, salt) = (one.number, one.segment.salt);
        surveys.push(survey(number, one.ending, one.data, salt, position)?);
    }
    if dropped > 0 {
        log::warn!("spool: dropped {dropped} bytes that no sync is known to have covered");
    }
    Ok(dropped)
}

fn first_tear(surveys: &[Survey], known: Seq) -> Option<(usize, u64)> {
    let witnessed = surveys.iter().map(|one| one.witnessed).max()?.max(known);
    let sealed_max = surveys
        .iter()
        .filter(|one| one.ending == Ending::Sealed)
        .map(|one| one.number)
        .max();
    let was_durable = |number: u32, missing_to: Seq| {
        witnessed >= missing_to || sealed_max.is_some_and(|sealed| sealed > number)
    };
    let mut after_open = false;
    let mut last = Seq(0);
    for (index, one) in surveys.iter().enumerate() {
        if one.ending == Ending::Open && !one.has_lost_header {
            // The segment before may have lost its end so cleanly that nothing looks torn there. Only sealed
            // segments are ever removed: nothing was between two open ones but what a tear took.
            let missing_to = Seq(one.first.map_or(0, |first| first.0.saturating_sub(1)));
            if after_open && missing_to > last && !was_durable(one.number - 1, missing_to) {
                return Some((index, 0));
            }
            for suspect in &one.suspects {
                let missing_to = suspect
                    .missing_to
                    .unwrap_or(Seq(last.0.max(one.last.map_or(0, |last| last.0)) + 1));
                if !was_durable(one.number, missing_to) {
                    return Some((index, suspect.position));
                }
            }
        }
        last = one.last.unwrap_or(last);
        after_open |= one.ending == Ending::Open;
    }
    None
}

fn found(id: Option<SpoolId>, surveys: Vec<Survey>, number_max: u32) -> Found {
    let mut found = Found {
        id,
        segments: Vec::new(),
        unsealed: Vec::new(),
        last: Seq(0),
        tail: Tail::Whole,
        known: Seq(0),
        synced: Seq(0),
        number_max,
        disk_bytes: 0,
        records: 0,
        dropped_bytes: 0,
    };
    for one in surveys {
        let segment = Arc::new(one.segment);
        // What is no tear is damage.
        if one.has_lost_header || !one.suspects.is_empty() {
            segment.note_damage();
        }
        found.tail = match one.suspects.last() {
            Some(suspect) if suspect.missing_to.is_none() => Tail::Broken,
            _ if one.last.is_some() => Tail::Whole,
            _ => found.tail,
        };
        found.records += one.records;
        found.disk_bytes += one.size;
        found.last = found.last.max(segment.last());
        match one.ending {
            Ending::Open => found.unsealed.push(Arc::clone(&segment)),
            Ending::Sealed => drop(segment.seal()),
        }
        if found.unsealed.is_empty() {
            found.synced = found.last;
        }
        found.segments.push(segment);
    }
    found
}

impl Found {
    /// Numbers of lost records are not used again.
    fn go_on_behind_the_lost(&mut self) {
        if self.known > self.last {
            (self.last, self.tail) = (self.known, Tail::Broken);
        } else if self.tail == Tail::Broken {
            self.last = Seq(self.last.0 + 1);
        }
    }
}
