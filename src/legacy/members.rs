//! Tar, read forwards once: what version 4 packed, or what somebody wants us to take for it.
//!
//! The headers are read by the `tar` crate; the walk is ours, because a length or name in an extended
//! header must not take memory without bound, and because nothing here may be written by path.

use std::io;
use std::io::Read;

use tar::EntryType;
use tar::Header;

use crate::clock::Time;
use crate::legacy::Error;
use crate::legacy::fill;
use crate::legacy::name;

const BLOCK: usize = 512;

/// Longest extended header, bytes.
const EXTENDED_BYTES_MAX: u64 = 1 << 20;

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file with content.
    File,
    /// A directory.
    Directory,
    /// A link, a device, or something that nobody knows: never made.
    Other(&'static str),
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its path, as it was written down.
    pub path: Vec<u8>,
    /// The names on its path, or why it is not used.
    pub names: Result<Vec<Vec<u8>>, Error>,
    /// What it is.
    pub kind: Kind,
    /// Bytes of its content.
    pub bytes: u64,
    /// Permission bits.
    pub mode: u16,
    /// When it was changed.
    pub mtime: Time,
}

/// Reads members, and the content of the present one.
#[derive(Debug)]
pub struct Tar<R> {
    from: R,
    /// Content of the present member that was not read.
    left: u64,
    /// What fills its last block.
    padding: u64,
}

/// What extended headers say of the member behind them.
#[derive(Default)]
struct Said {
    path: Option<Vec<u8>>,
    bytes: Option<u64>,
    mtime: Option<Time>,
}

impl<R: Read> Tar<R> {
    /// Begins; reads nothing yet.
    pub fn new(from: R) -> Tar<R> {
        Tar {
            from,
            left: 0,
            padding: 0,
        }
    }

    /// The next member; none at the end. What was not read of the one before is passed over.
    ///
    /// # Errors
    /// [`Error`] inside when it is no tar, or ends in the middle; whatever reading fails with.
    pub fn advance(&mut self) -> io::Result<Option<Member>> {
        let mut said = Said::default();
        loop {
            self.pass_over()?;
            let Some(header) = self.header()? else {
                return Ok(None);
            };
            let kind = header.entry_type();
            let bytes = header.entry_size().map_err(|_| no_tar("a length"))?;
            match kind {
                EntryType::GNULongName => {
                    let mut path = self.extended(bytes)?;
                    while path.last() == Some(&0) {
                        path.pop();
                    }
                    said.path = Some(path);
                }
                EntryType::XHeader => said.read_pax(&self.extended(bytes)?)?,
                EntryType::GNULongLink | EntryType::XGlobalHeader => {
                    self.extended(bytes)?;
                }
                _ => return self.member(&header, said).map(Some),
            }
        }
    }

    fn member(&mut self, header: &Header, said: Said) -> io::Result<Member> {
        let kind = match header.entry_type() {
            EntryType::Regular | EntryType::Continuous => Kind::File,
            EntryType::Directory => Kind::Directory,
            EntryType::Symlink | EntryType::Link => Kind::Other("a link"),
            EntryType::Char | EntryType::Block => Kind::Other("a device"),
            EntryType::Fifo => Kind::Other("a pipe"),
            EntryType::GNUSparse => Kind::Other("a sparse file of another tar"),
            _ => Kind::Other("of an unknown kind"),
        };
        let path = said
            .path
            .unwrap_or_else(|| header.path_bytes().into_owned());
        let has_slash = path.ends_with(b"/");
        // Long ago a directory was a file whose name ends so.
        let kind = match (kind, has_slash) {
            (Kind::File, true) => Kind::Directory,
            (kind, _) => kind,
        };
        let bytes = match kind {
            Kind::File | Kind::Other(_) => {
                let in_header = header.entry_size().map_err(|_| no_tar("a length"))?;
                said.bytes.unwrap_or(in_header)
            }
            Kind::Directory => 0,
        };
        self.begin(bytes);
        let mtime = || {
            let seconds = header
                .mtime()
                .ok()
                .and_then(|mtime| i64::try_from(mtime).ok());
            Time(seconds.unwrap_or(0).saturating_mul(1_000_000_000))
        };
        let mode = header.mode().unwrap_or(0o644) & 0o777;
        Ok(Member {
            names: name::path(&path),
            path,
            kind,
            bytes,
            mode: u16::try_from(mode).unwrap_or(0o644),
            mtime: said.mtime.unwrap_or_else(mtime),
        })
    }

    fn begin(&mut self, bytes: u64) {
        self.left = bytes;
        self.padding = bytes.next_multiple_of(BLOCK as u64) - bytes;
    }

    fn pass_over(&mut self) -> io::Result<()> {
        let rest = self.left.saturating_add(std::mem::take(&mut self.padding));
        self.left = 0;
        let passed = io::copy(&mut (&mut self.from).take(rest), &mut io::sink())?;
        match passed < rest {
            true => Err(Error::TooShort.into()),
            false => Ok(()),
        }
    }

    /// The next header; none at the mark of the end, or where the bytes end.
    fn header(&mut self) -> io::Result<Option<Header>> {
        let mut block = [0; BLOCK];
        match fill(&mut self.from, &mut block)? {
            0 => return Ok(None),
            BLOCK => {}
            _ => return Err(Error::TooShort.into()),
        }
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let header = Header::from_byte_slice(&block).clone();
        let sum = block[..148].iter().chain(&block[156..]);
        let sum = sum.map(|byte| u32::from(*byte)).sum::<u32>() + 8 * u32::from(b' ');
        match header.cksum() {
            Ok(told) if told == sum => {}
            Ok(_) | Err(_) => return Err(no_tar("a header")),
        }
        // Beyond this, lengths cannot be rounded up to a block any more.
        match header.entry_size() {
            Ok(bytes) if bytes <= i64::MAX as u64 => Ok(Some(header)),
            Ok(_) | Err(_) => Err(no_tar("a length")),
        }
    }

    /// The content of an extended header.
    fn extended(&mut self, bytes: u64) -> io::Result<Vec<u8>> {
        if bytes > EXTENDED_BYTES_MAX {
            let error = Error::TooLarge {
                what: "an extended header",
                bytes_max: EXTENDED_BYTES_MAX,
            };
            return Err(error.into());
        }
        self.begin(bytes);
        let mut content = Vec::new();
        self.read_to_end(&mut content)?;
        Ok(content)
    }
}

impl<R: Read> Read for Tar<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        let len = self.from.read(&mut buffer[..most])?;
        if len == 0 {
            return Err(Error::TooShort.into());
        }
        self.left -= len as u64;
        Ok(len)
    }
}

impl Said {
    /// Records of `LENGTH KEY=VALUE\n`, the length that of all of it.
    fn read_pax(&mut self, mut records: &[u8]) -> io::Result<()> {
        while !records.is_empty() {
            let record = pax_record(records).ok_or_else(|| no_tar("an extended header"))?;
            records = &records[record.len..];
            match record.key {
                b"path" => self.path = Some(record.value.to_vec()),
                b"size" => {
                    let bytes = text(record.value).and_then(|text| text.parse().ok());
                    let bytes = bytes.filter(|bytes| *bytes <= i64::MAX as u64);
                    self.bytes = Some(bytes.ok_or_else(|| no_tar("a length"))?);
                }
                b"mtime" => self.mtime = text(record.value).and_then(time),
                _ => {}
            }
        }
        Ok(())
    }
}

struct Record<'a> {
    len: usize,
    key: &'a [u8],
    value: &'a [u8],
}

fn pax_record(records: &[u8]) -> Option<Record<'_>> {
    let space = records.iter().take(20).position(|byte| *byte == b' ')?;
    let len: usize = text(&records[..space])?.parse().ok()?;
    let body = records.get(space + 1..len)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|byte| *byte == b'=')?;
    Some(Record {
        len,
        key: &body[..equals],
        value: &body[equals + 1..],
    })
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// Seconds since 1970 with any number of decimals, perhaps negative.
fn time(text: &str) -> Option<Time> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let is_negative = whole.starts_with('-');
    let seconds: i64 = whole.parse().ok()?;
    let mut ns = 0;
    for at in 0..9 {
        let digit = decimals
            .as_bytes()
            .get(at)
            .map_or(0, |byte| byte.wrapping_sub(b'0'));
        ns = ns * 10 + i64::from(Some(digit).filter(|digit| *digit < 10)?);
    }
    let ns = if is_negative { -ns } else { ns };
    Some(Time(seconds.checked_mul(1_000_000_000)?.checked_add(ns)?))
}

fn no_tar(what: &str) -> io::Error {
    Error::damaged(format!("{what} of its tar makes no sense")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A member as `kind`, with extended headers before it.
    fn member(kind: EntryType, path: &[u8], content: &[u8]) -> Vec<u8> {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.as_mut_bytes()[..path.len()].copy_from_slice(path);
        header.set_size(content.len() as u64);
        header.set_mode(0o4640);
        header.set_mtime(1000);
        header.set_cksum();
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        bytes
    }

    fn all(bytes: &[u8]) -> io::Result<Vec<(Member, Vec<u8>)>> {
        let mut tar = Tar::new(bytes);
        let mut found = Vec::new();
        while let Some(member) = tar.advance()? {
            let mut content = Vec::new();
            tar.read_to_end(&mut content)?;
            found.push((member, content));
        }
        Ok(found)
    }

    #[test]
    fn members_are_read_with_what_was_said_of_them_before() {
        let bytes = [
            member(EntryType::Regular, b"a/b", b"hello"),
            member(EntryType::XHeader, b"x", b""),
            member(
                EntryType::XHeader,
                b"x",
                b"15 path=long/n\n17 mtime=12.5000\n",
            ),
            member(EntryType::Regular, b"short", b""),
            member(EntryType::GNULongName, b"l", b"very/long\0"),
            member(EntryType::Directory, b"very", b""),
            member(EntryType::Symlink, b"link", b""),
            member(EntryType::Regular, b"../evil", b"x"),
            vec![0; 1024],
        ]
        .concat();
        let found = all(&bytes).expect("a tar");
        let paths: Vec<&[u8]> = found.iter().map(|(member, _)| &*member.path).collect();
        let expected: [&[u8]; 5] = [b"a/b", b"long/n", b"very/long", b"link", b"../evil"];
        assert_eq!(paths, expected);
        assert_eq!(
            (found[0].0.mode, found[0].0.mtime),
            (0o640, Time(1_000_000_000_000))
        );
        assert_eq!(found[0].1, b"hello");
        assert_eq!(found[1].0.mtime, Time(12_500_000_000));
        assert_eq!(found[2].0.kind, Kind::Directory);
        assert_eq!(found[3].0.kind, Kind::Other("a link"));
        assert!(found[4].0.names.is_err());
    }

    #[test]
    fn what_is_no_tar_or_ends_early_says_so() {
        let whole = member(EntryType::Regular, b"a", b"hello");
        for cut in [100, 513, 600] {
            let error = all(&whole[..cut]).expect_err("cut");
            assert_eq!(Error::inside(&error), Some(&Error::TooShort), "{cut}");
        }
        let mut changed = whole;
        changed[0] ^= 1;
        assert!(all(&changed).is_err());
        let mut huge = Header::new_ustar();
        huge.set_entry_type(EntryType::XHeader);
        huge.set_size(u64::MAX >> 1);
        huge.set_cksum();
        let error = all(huge.as_bytes()).expect_err("huge");
        assert!(matches!(
            Error::inside(&error),
            Some(Error::TooLarge { .. })
        ));
        for bad in [
            "0 a=b\n",
            "99 a=b\n",
            "x",
            "5 a=b",
            "6 abc\n",
            "99999999999999999999 a=b\n",
        ] {
            let bytes = member(EntryType::XHeader, b"x", bad.as_bytes());
            assert!(all(&bytes).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn times_have_decimals() {
        assert_eq!(time("5"), Some(Time(5_000_000_000)));
        assert_eq!(time("-1.5"), Some(Time(-1_500_000_000)));
        assert_eq!(time("1.0000000019"), Some(Time(1_000_000_001)));
        for bad in ["", "x", "1.x", "99999999999999"] {
            assert_eq!(time(bad), None, "{bad}");
        }
    }
}
