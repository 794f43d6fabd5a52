//! Batches of version 4: one stream over all parts, so what comes before the first damage can be had.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::io::Read;

use flate2::read::MultiGzDecoder;

use crate::drive::task::Task;
use crate::import::Error;
use crate::import::Lost;
use crate::import::Report;
use crate::import::Wish;
use crate::import::belt;
use crate::import::content::Bounded;
use crate::import::content::Broken;
use crate::import::content::Opened;
use crate::import::content::Pieces;
use crate::import::content::Proven;
use crate::import::origin::Object;
use crate::import::origin::Origin;
use crate::import::origin::Unread;
use crate::import::origin::workers;
use crate::import::sliced::there;
use crate::import::target::Looks;
use crate::import::target::Stopped;
use crate::import::target::Target;
use crate::import::target::There;
use crate::import::target::shown;
use crate::legacy;
use crate::legacy::fernet::BatchKey;
use crate::legacy::fernet::Tokens;
use crate::legacy::members::Kind;
use crate::legacy::members::Member;
use crate::legacy::members::Tar;
use crate::legacy::meta::Meta;
use crate::legacy::meta::part_number;
use crate::legacy::name;

/// Most members of a batch that does not say how many files it has.
const MEMBERS_MAX: u64 = 10_000_000;

/// What all parts hold.
type Stream<'a> = Tar<Bounded<MultiGzDecoder<Tokens<Pieces<'a>>>>>;

/// Brings all files of a batch.
pub(in crate::import) fn import(
    origin: &dyn Origin,
    meta: &Meta,
    wish: &Wish,
    (target, report): (&mut Target<'_>, &mut Report),
    task: &Task<'_>,
) -> Result<(), Error> {
    let key = wish.keys.master.as_ref();
    let key = key.ok_or(Error::NoKey(
        "set ENCRYPTION_KEY to the key of the old system, or give --key-file or --key-command",
    ))?;
    let key = BatchKey::derive(key.text(), &meta.salt).map_err(|error| match error {
        legacy::Error::NoKey(_) => Error::Key(error),
        error => Error::archive(meta.batch.clone())(error),
    })?;
    let parts = parts(origin, meta);
    task.begin(
        "importing",
        meta.files.unwrap_or(0),
        meta.bytes.unwrap_or(0),
    )?;
    let weigh = |(_, part): &(u32, Option<&Object>)| part.map_or(0, |part| part.bytes);
    let fetch = |(number, part): &(u32, Option<&Object>)| fetch(origin, *number, *part);
    belt::run(&parts, workers(), (weigh, fetch), |belt| {
        let left = Cell::new(parts.len());
        let tokens = Tokens::new(Pieces::new(belt, &left), key);
        // Headers and padding come on top of the files.
        let told = meta.bytes.map(|bytes| {
            let members = meta.files.unwrap_or(MEMBERS_MAX);
            bytes.saturating_add(members.saturating_mul(4096))
        });
        let tar = Tar::new(Bounded::new(MultiGzDecoder::new(tokens), told));
        let mut unpack = Unpack {
            meta,
            target,
            report,
            task,
            tar,
            files: 0,
            last: None,
        };
        unpack.all()
    })
}

/// All parts in order, those that are missing too.
fn parts<'a>(origin: &'a dyn Origin, meta: &Meta) -> Vec<(u32, Option<&'a Object>)> {
    let mut found: BTreeMap<u32, &Object> = BTreeMap::new();
    for object in origin.objects() {
        if let Some(number) = part_number(&object.name) {
            // Sent twice: the later one was the one that counted.
            found.insert(number, object);
        }
    }
    let last = found.keys().next_back().map_or(0, |last| last + 1);
    let count = meta.parts.unwrap_or(0).max(last);
    (0..count)
        .map(|number| (number, found.get(&number).copied()))
        .collect()
}

fn fetch(origin: &dyn Origin, number: u32, part: Option<&Object>) -> Opened {
    let name = format!("part {number}");
    let Some(part) = part else {
        return Err(Broken::new(&name, String::from("it is missing")));
    };
    origin.read(part).map_err(|unread| match unread {
        Unread::This(why) => Broken::new(&name, why),
        Unread::All(error) => Broken::all(error),
    })
}

struct Unpack<'a, 't> {
    meta: &'a Meta,
    target: &'a mut Target<'t>,
    report: &'a mut Report,
    task: &'a Task<'a>,
    tar: Stream<'a>,
    /// Files met.
    files: u64,
    /// The last member that was read whole.
    last: Option<String>,
}

/// The content of the present member.
struct Present<'s, 'a>(&'s mut Stream<'a>);

impl Read for Present<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Proven for Present<'_, '_> {
    /// Each token is, when it is opened.
    fn prove(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Unpack<'_, '_> {
    fn all(&mut self) -> Result<(), Error> {
        let mut members = 0;
        loop {
            self.task.check()?;
            let member = match self.tar.advance() {
                Ok(Some(member)) => member,
                Ok(None) => return self.end(),
                Err(error) => return self.broken(None, error),
            };
            members += 1;
            let files_max = self.meta.files.unwrap_or(MEMBERS_MAX);
            if members > files_max.saturating_mul(2).saturating_add(10_000) {
                let error = legacy::Error::Damaged(String::from("it has more files than it says"));
                return self.broken(None, error.into());
            }
            let path = String::from_utf8_lossy(&member.path).into_owned();
            match self.member(&member)? {
                Ok(()) => self.last = Some(path),
                Err(error) => return self.broken(Some(path), error),
            }
        }
    }

    /// One member; the inner error is one of reading, after which nothing can be read.
    fn member(&mut self, member: &Member) -> Result<io::Result<()>, Error> {
        self.files += u64::from(member.kind == Kind::File);
        let path = String::from_utf8_lossy(&member.path).into_owned();
        let mut lose = |why: String| {
            self.report.lose(Lost {
                path: path.clone(),
                piece: None,
                why,
            });
            Ok(Ok(()))
        };
        let names = match (&member.names, member.kind) {
            (_, Kind::Other(what)) => return lose(format!("{what} is not made")),
            (Ok(names), _) => names,
            // The top itself.
            (Err(_), Kind::Directory) if matches!(&*member.path, b"." | b"./" | b"") => {
                return Ok(Ok(()));
            }
            (Err(error), _) => return lose(error.to_string()),
        };
        let own = own(self.meta);
        if member.kind == Kind::Directory {
            let mut place = self.target.base_or(own.as_deref());
            place.extend_from_slice(names);
            return self.directory(&place, path);
        }
        let place = self.target.place(own.as_deref(), names);
        match self
            .target
            .there(&place, Some(member.bytes), member.mtime)?
        {
            There::Right => {
                self.report.skip(member.bytes);
                self.task.done(1, member.bytes)?;
                return Ok(Ok(()));
            }
            There::Other => return lose(there(&place)),
            There::Free => {}
        }
        let looks = Looks {
            mode: member.mode,
            mtime: member.mtime,
        };
        match self
            .target
            .write(&place, looks, &mut Present(&mut self.tar))
        {
            Ok(bytes) => {
                self.report.write(shown(&place), bytes);
                self.task.done(1, 0)?;
                Ok(Ok(()))
            }
            Err(Stopped::Read(error)) => Ok(Err(error)),
            Err(Stopped::Refused(why)) => lose(why),
            Err(Stopped::All(error)) => Err(error),
        }
    }

    fn directory(&mut self, place: &[Vec<u8>], path: String) -> Result<io::Result<()>, Error> {
        if self.target.mode == crate::import::Mode::DryRun {
            return Ok(Ok(()));
        }
        match self.target.directory(place) {
            Ok(_) => {}
            Err(Stopped::All(error)) => return Err(error),
            Err(Stopped::Read(error)) => return Ok(Err(error)),
            Err(Stopped::Refused(why)) => self.report.lose(Lost {
                path,
                piece: None,
                why,
            }),
        }
        Ok(Ok(()))
    }

    /// It ends as a tar should: is that all that it said there would be?
    fn end(&mut self) -> Result<(), Error> {
        let told = self.meta.files.unwrap_or(self.files);
        if told > self.files {
            self.report.lose(Lost {
                path: String::from("(unknown)"),
                piece: None,
                why: format!("it says that it has {told} files, and has {}", self.files),
            });
        }
        Ok(())
    }

    /// Nothing more can be read.
    fn broken(&mut self, path: Option<String>, error: io::Error) -> Result<(), Error> {
        let is_first = self.last.is_none() && path.is_none();
        if is_first && legacy::Error::inside(&error) == Some(&legacy::Error::WrongKey) {
            return Err(Error::Key(legacy::Error::WrongKey));
        }
        let Broken { piece, why, .. } = Broken::of(error)?;
        let begun = path.is_some();
        if let Some(path) = path {
            self.report.lose(Lost {
                path,
                piece: piece.clone(),
                why: why.clone(),
            });
        }
        let left = self.meta.files.map(|told| told.saturating_sub(self.files));
        if begun && left == Some(0) {
            return Ok(());
        }
        let after = self.last.as_ref().map_or_else(
            || String::from("everything"),
            |last| format!("what comes after {last}"),
        );
        let count = left.map_or_else(String::new, |left| match left {
            1 => String::from(", one file"),
            left => format!(", {left} files"),
        });
        self.report.lose(Lost {
            path: format!("({after}{count})"),
            piece,
            why,
        });
        Ok(())
    }
}

/// The directory of a batch that was a folder.
fn own(meta: &Meta) -> Option<Vec<u8>> {
    let name = name::component(meta.name.as_bytes());
    let name = name.or_else(|_| name::component(meta.batch.as_bytes()));
    meta.is_folder
        .then(|| name.unwrap_or_else(|_| b"imported".to_vec()))
}
