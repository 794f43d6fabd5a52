//! The log on disk: one checksummed line per change, written before the change is acknowledged.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::emulator::model::Record;

/// The append-only log. What was appended is the kernel's, so killing the process loses nothing.
#[derive(Debug)]
pub(crate) struct Log {
    file: File,
    path: PathBuf,
}

impl Log {
    /// Opens or creates the log and hands every whole record to `replay`, in order. The first line
    /// that is torn or damaged ends the log; what follows is cut off.
    pub(crate) fn open(path: &Path, mut replay: impl FnMut(Record)) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)?;
        let mut whole_bytes = 0;
        let mut lines = BufReader::new(&file);
        let mut line = Vec::new();
        loop {
            line.clear();
            let length = lines.read_until(b'\n', &mut line)?;
            let Some(record) = parse(&line) else { break };
            replay(record);
            whole_bytes += length as u64;
        }
        file.set_len(whole_bytes)?;
        Ok(Self {
            file,
            path: path.to_owned(),
        })
    }

    pub(crate) fn append(&mut self, record: &Record) -> io::Result<()> {
        self.file.write_all(&render(record)?)
    }

    /// Replaces the log by one that holds only these records.
    pub(crate) fn rewrite(&mut self, records: impl Iterator<Item = Record>) -> io::Result<()> {
        let fresh = self.path.with_extension("new");
        let mut out = BufWriter::new(File::create(&fresh)?);
        for record in records {
            out.write_all(&render(&record)?)?;
        }
        out.flush()?;
        out.get_ref().sync_data()?;
        fs::rename(&fresh, &self.path)?;
        self.file = OpenOptions::new().append(true).open(&self.path)?;
        Ok(())
    }
}

fn render(record: &Record) -> io::Result<Vec<u8>> {
    let json = serde_json::to_vec(record)?;
    let mut line = format!("{:08x} ", crc32fast::hash(&json)).into_bytes();
    line.extend_from_slice(&json);
    line.push(b'\n');
    Ok(line)
}

fn parse(line: &[u8]) -> Option<Record> {
    let line = line.strip_suffix(b"\n")?;
    let (sum, json) = line.split_at_checked(9)?;
    let sum = u32::from_str_radix(std::str::from_utf8(&sum[..8]).ok()?, 16).ok()?;
    if sum != crc32fast::hash(json) {
        return None;
    }
    serde_json::from_slice(json).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emulator::snowflake::Snowflake;

    #[test]
    fn a_torn_tail_is_cut_off() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("log");
        let mut log = Log::open(&path, |_| ()).expect("a new log");
        log.append(&Record::ChannelGone(Snowflake(1)))
            .expect("append");
        log.append(&Record::ChannelGone(Snowflake(2)))
            .expect("append");
        let length = fs::metadata(&path).expect("the log").len();
        log.file.set_len(length - 3).expect("tear");

        let mut seen = Vec::new();
        let mut log = Log::open(&path, |record| seen.push(record)).expect("open");
        assert_eq!(seen.len(), 1);
        log.append(&Record::ChannelGone(Snowflake(3)))
            .expect("append");
        seen.clear();
        Log::open(&path, |record| seen.push(record)).expect("open");
        assert!(matches!(seen[1], Record::ChannelGone(Snowflake(3))));
    }
}
