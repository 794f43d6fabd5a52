//! Walks over the records of one segment, and over whatever else is in it.

use std::{io, sync::Arc};

use super::{
    medium::{Data, read_exact},
    record::{
        BLOCK_BYTES, FILE_HEADER_BYTES, HEADER, HEADER_BYTES, Header, MAGIC, Salt, table_bytes,
    },
};

/// Read at once while walking: covers many small records, and wastes little between large ones.
const WINDOW_BYTES: u64 = 64 * 1024;
/// Skipped when a disk cannot read.
const PAGE_BYTES: u64 = 4096;

pub(super) struct Walk {
    data: Arc<dyn Data>,
    salt: Salt,
    at: u64,
    end: u64,
    window: Vec<u8>,
    window_at: u64,
}

/// One thing that is in a segment.
pub(super) enum Step {
    /// A record whose header and head are genuine; the file may end within its body.
    Record {
        position: u64,
        header: Header,
        head: Vec<u8>,
    },
    /// Bytes from `position` on that are no record; the walk goes on behind them.
    Fault { position: u64 },
}

impl Walk {
    pub(super) fn new(data: Arc<dyn Data>, salt: Salt) -> io::Result<Walk> {
        let end = data.size()?;
        Ok(Walk {
            data,
            salt,
            at: FILE_HEADER_BYTES,
            end,
            window: Vec::new(),
            window_at: 0,
        })
    }

    /// The next thing, or nothing at the end of the segment.
    pub(super) fn step(&mut self) -> Option<Step> {
        if self.at >= self.end {
            return None;
        }
        let position = self.at;
        if let Some((header, head)) = self.parse(position) {
            self.at = position + header.record_bytes();
            return Some(Step::Record {
                position,
                header,
                head,
            });
        }
        self.at = self.find_record(position + 1).unwrap_or(self.end);
        Some(Step::Fault { position })
    }

    /// Is the body of a record what was appended?
    pub(super) fn is_body_whole(&self, position: u64, header: &Header) -> bool {
        let body_at = header.body_position(position);
        let body = read(&*self.data, body_at, u64::from(header.body_len));
        let table_len = table_bytes(header.body_len);
        let (Some(body), Some(table)) = (body, read(&*self.data, body_at - table_len, table_len))
        else {
            return false;
        };
        if table.is_empty() {
            return crc32fast::hash(&body) == header.body_crc;
        }
        crc32fast::hash(&table) == header.body_crc
            && body
                .chunks(BLOCK_BYTES as usize)
                .zip(table.chunks(4))
                .all(|(block, crc)| crc32fast::hash(block).to_le_bytes() == *crc)
    }

    fn parse(&mut self, position: u64) -> Option<(Header, Vec<u8>)> {
        let mut bytes = [0; HEADER];
        bytes.copy_from_slice(self.bytes(position, HEADER_BYTES)?);
        let header = Header::decode(&bytes)?;
        let head = self
            .bytes(position + HEADER_BYTES, u64::from(header.head_len))?
            .to_vec();
        Header::is_genuine(&bytes, self.salt, position, &head).then_some((header, head))
    }

    /// Position of the first genuine record at or after `from`.
    fn find_record(&mut self, mut from: u64) -> Option<u64> {
        while from + HEADER_BYTES <= self.end {
            let len = WINDOW_BYTES.min(self.end - from);
            let Some(chunk) = read(&*self.data, from, len)
                .or_else(|| read(&*self.data, from, len.min(PAGE_BYTES)))
            else {
                from = (from + 1).next_multiple_of(PAGE_BYTES);
                continue;
            };
            for (at, _) in (0_u64..)
                .zip(chunk.windows(MAGIC.len()))
                .filter(|(_, bytes)| **bytes == MAGIC)
            {
                if self.parse(from + at).is_some() {
                    return Some(from + at);
                }
            }
            // The magic may lie across the edge of what was read.
            from += (chunk.len() as u64).saturating_sub(3).max(1);
        }
        None
    }

    /// Bytes of the file; nothing where it ends or cannot be read.
    fn bytes(&mut self, position: u64, len: u64) -> Option<&[u8]> {
        let window_end = self.window_at + self.window.len() as u64;
        if position < self.window_at || position + len > window_end {
            if position + len > self.end {
                return None;
            }
            let wish = len.max(WINDOW_BYTES).min(self.end - position);
            self.window = read(&*self.data, position, wish)
                .or_else(|| read(&*self.data, position, len))
                .unwrap_or_default();
            self.window_at = position;
        }
        let from = usize::try_from(position - self.window_at).ok()?;
        self.window.get(from..from + usize::try_from(len).ok()?)
    }
}

fn read(data: &dyn Data, position: u64, len: u64) -> Option<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(len).ok()?];
    read_exact(data, position, &mut bytes).ok()?;
    Some(bytes)
}
