//! The content of an old file, read through: its pieces end to end, unsealed, inflated, bounded, proven.

use std::cell::Cell;
use std::io;
use std::io::Read;

use flate2::read::MultiGzDecoder;

use crate::drive;
use crate::import::Error;
use crate::import::belt::Belt;
use crate::legacy;
use crate::legacy::piece::UserKey;
use crate::legacy::whole::Whole;

/// Why reading ended before its end.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub(in crate::import) struct Broken {
    /// The piece to blame.
    pub(in crate::import) piece: Option<String>,
    /// Why.
    pub(in crate::import) why: String,
    /// Nothing else can be read either.
    all: Option<Box<drive::Error>>,
}

impl Broken {
    pub(in crate::import) fn new(piece: &str, why: String) -> Broken {
        Broken {
            piece: Some(piece.to_owned()),
            why,
            all: None,
        }
    }

    pub(in crate::import) fn all(error: drive::Error) -> Broken {
        Broken {
            piece: None,
            why: error.to_string(),
            all: Some(Box::new(error)),
        }
    }

    /// What an error of reading says about what was read.
    pub(in crate::import) fn of(error: io::Error) -> Result<Broken, Error> {
        let why = error.to_string();
        let is_ours = error.get_ref().is_some_and(|inner| inner.is::<Broken>());
        if !is_ours {
            let is_known = legacy::Error::inside(&error).is_some();
            return Ok(Broken {
                piece: None,
                why: match is_known {
                    true => why,
                    false => format!("what it holds is damaged: {why}"),
                },
                all: None,
            });
        }
        let inner = error
            .into_inner()
            .and_then(|inner| inner.downcast::<Broken>().ok());
        match inner.map(|inner| *inner) {
            Some(Broken {
                all: Some(error), ..
            }) => Err((*error).into()),
            Some(broken) => Ok(broken),
            None => Ok(Broken {
                piece: None,
                why,
                all: None,
            }),
        }
    }
}

impl From<Broken> for io::Error {
    fn from(broken: Broken) -> io::Error {
        io::Error::other(broken)
    }
}

/// A piece, opened as far as it can be alone.
pub(in crate::import) type Opened = Result<Vec<u8>, Broken>;

/// So many results of a belt, end to end.
pub(in crate::import) struct Pieces<'a> {
    belt: &'a Belt<Opened>,
    left: &'a Cell<usize>,
    bytes: Vec<u8>,
    at: usize,
}

impl<'a> Pieces<'a> {
    /// The next `left`; the count goes down as they are taken.
    pub(in crate::import) fn new(belt: &'a Belt<Opened>, left: &'a Cell<usize>) -> Pieces<'a> {
        Pieces {
            belt,
            left,
            bytes: Vec::new(),
            at: 0,
        }
    }
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.bytes.len() {
            let left = self.left.get();
            if left == 0 {
                return Ok(0);
            }
            self.left.set(left - 1);
            self.at = 0;
            // Before the next one is there, because asking for it makes room for another.
            self.bytes = Vec::new();
            self.bytes = self.belt.next().unwrap_or_else(|| Ok(Vec::new()))?;
        }
        let len = buffer.len().min(self.bytes.len() - self.at);
        buffer[..len].copy_from_slice(&self.bytes[self.at..self.at + len]);
        self.at += len;
        Ok(len)
    }
}

/// What is read to its end, and then said to be what it was, or not.
pub(in crate::import) trait Proven: Read {
    /// Called once, after the end.
    fn prove(&mut self) -> io::Result<()>;
}

/// Pieces, and what is around them.
pub(in crate::import) enum Content<'a> {
    /// Nothing that is proven at the end.
    Read(Box<dyn Read + 'a>),
    /// A seal over all.
    Whole(Box<MultiGzDecoder<Whole<Pieces<'a>>>>),
}

impl<'a> Content<'a> {
    pub(in crate::import) fn plain(pieces: Pieces<'a>) -> Content<'a> {
        Content::Read(Box::new(pieces))
    }

    pub(in crate::import) fn gzip(pieces: Pieces<'a>) -> Content<'a> {
        Content::Read(Box::new(MultiGzDecoder::new(pieces)))
    }

    /// Inflated if it begins like gzip.
    pub(in crate::import) fn gzip_or_plain(mut pieces: Pieces<'a>) -> io::Result<Content<'a>> {
        let mut head = Vec::new();
        (&mut pieces).take(2).read_to_end(&mut head)?;
        let is_gzip = head == [0x1f, 0x8b];
        let all = io::Cursor::new(head).chain(pieces);
        Ok(Content::Read(match is_gzip {
            true => Box::new(MultiGzDecoder::new(all)),
            false => Box::new(all),
        }))
    }

    pub(in crate::import) fn whole(pieces: Pieces<'a>, key: &UserKey) -> io::Result<Content<'a>> {
        let whole = Whole::begin(pieces, key)?;
        Ok(Content::Whole(Box::new(MultiGzDecoder::new(whole))))
    }
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Content::Read(from) => from.read(buffer),
            Content::Whole(from) => from.read(buffer),
        }
    }
}

impl Proven for Content<'_> {
    fn prove(&mut self) -> io::Result<()> {
        match self {
            Content::Read(_) => Ok(()),
            Content::Whole(from) => from.get_mut().finish().map_err(|error| {
                match legacy::Error::inside(&error) {
                    // The key was tried before.
                    Some(legacy::Error::WrongKey) => {
                        legacy::Error::Damaged(String::from("it was changed")).into()
                    }
                    _ => error,
                }
            }),
        }
    }
}

/// What a file may grow by while it is read: twice its length, and this.
const SLACK_BYTES: u64 = 64 << 20;

/// Content that is no longer than the archive's own words allow.
pub(in crate::import) struct Bounded<R> {
    from: R,
    left: u64,
    bytes_max: u64,
}

impl<R> Bounded<R> {
    /// `told`: the length that the archive tells. Files may have grown while they were packed, so twice as much
    /// and a little is believed; what inflates to more was made to.
    pub(in crate::import) fn new(from: R, told: Option<u64>) -> Bounded<R> {
        let bytes_max = told.map_or(u64::MAX, |told| {
            told.saturating_mul(2).saturating_add(SLACK_BYTES)
        });
        Bounded {
            from,
            left: bytes_max,
            bytes_max,
        }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.from.read(buffer)?;
        self.left = self.left.checked_sub(len as u64).ok_or_else(|| {
            io::Error::from(legacy::Error::TooLarge {
                what: "it inflates",
                bytes_max: self.bytes_max,
            })
        })?;
        Ok(len)
    }
}

impl<R: Proven> Proven for Bounded<R> {
    fn prove(&mut self) -> io::Result<()> {
        self.from.prove()
    }
}
