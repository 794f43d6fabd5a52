//! Archives of the slicer: each file is made of pieces, and each piece or file is sealed for itself.

use std::cell::Cell;
use std::collections::HashMap;
use std::io;
use std::io::Read;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use crate::clock::Time;
use crate::drive::task::Task;
use crate::import::Error;
use crate::import::Lost;
use crate::import::Mode;
use crate::import::Report;
use crate::import::Wish;
use crate::import::belt;
use crate::import::content::Bounded;
use crate::import::content::Broken;
use crate::import::content::Content;
use crate::import::content::Opened;
use crate::import::content::Pieces;
use crate::import::origin::Object;
use crate::import::origin::Origin;
use crate::import::origin::Unread;
use crate::import::origin::workers;
use crate::import::target::Looks;
use crate::import::target::Path;
use crate::import::target::Stopped;
use crate::import::target::Target;
use crate::import::target::There;
use crate::import::target::shown;
use crate::legacy;
use crate::legacy::manifest::File;
use crate::legacy::manifest::Manifest;
use crate::legacy::manifest::Seal;
use crate::legacy::name;
use crate::legacy::piece;
use crate::legacy::piece::UserKey;
use crate::legacy::whole::Whole;

/// Permission bits of files, of which nothing is known.
const MODE: u16 = 0o644;

/// Pieces that are tried with the key before it counts as wrong.
const TRIES_MAX: usize = 3;

/// A file that is to come.
struct Plan<'a> {
    file: &'a File,
    seal: Seal,
    path: Path,
    mtime: Time,
    pieces: Vec<&'a Object>,
    /// Its pieces are not wanted any more.
    is_over: AtomicBool,
}

/// Brings all files of all manifests.
pub(in crate::import) fn import(
    origin: &dyn Origin,
    manifests: &[(Manifest, Time)],
    wish: &Wish,
    (target, report): (&mut Target<'_>, &mut Report),
    task: &Task<'_>,
) -> Result<(), Error> {
    let key = key(manifests, wish)?;
    let plans = plan(origin, manifests, (target, report), task)?;
    if let Some(key) = &key {
        prove(origin, &plans, key)?;
    }
    let bytes = plans
        .iter()
        .filter_map(|plan| plan.file.bytes)
        .fold(0, u64::saturating_add);
    task.begin("importing", plans.len() as u64, bytes)?;
    if target.mode == Mode::DryRun {
        for plan in &plans {
            report.write(shown(&plan.path), plan.file.bytes.unwrap_or(0));
        }
        return Ok(());
    }
    let jobs: Vec<(&Plan<'_>, &Object)> = plans
        .iter()
        .flat_map(|plan| plan.pieces.iter().map(move |piece| (plan, *piece)))
        .collect();
    let weigh = |(_, object): &(&Plan<'_>, &Object)| object.bytes;
    let open = |(plan, object): &(&Plan<'_>, &Object)| open(origin, plan, object, key.as_ref());
    belt::run(&jobs, workers(), (weigh, open), |belt| {
        for plan in &plans {
            let left = Cell::new(plan.pieces.len());
            let done = one(plan, Pieces::new(belt, &left), key.as_ref(), target);
            plan.is_over.store(true, Ordering::Relaxed);
            for _ in 0..left.get() {
                drop(belt.next());
            }
            told(plan, done, report)?;
            task.done(1, 0)?;
        }
        Ok(())
    })
}

fn key(manifests: &[(Manifest, Time)], wish: &Wish) -> Result<Option<UserKey>, Error> {
    if manifests
        .iter()
        .all(|(manifest, _)| manifest.seal == Seal::Plain)
    {
        return Ok(None);
    }
    let text = wish.keys.user.as_ref();
    let text = text.ok_or(Error::NoKey(
        "set USER_KEY to the passphrase of the old bot, or give --key-file or --key-command",
    ))?;
    UserKey::new(text.text()).map(Some).map_err(Error::Key)
}

/// What is to come; what cannot, or is there, is written down at once.
fn plan<'a>(
    origin: &'a dyn Origin,
    manifests: &'a [(Manifest, Time)],
    (target, report): (&mut Target<'_>, &mut Report),
    task: &Task<'_>,
) -> Result<Vec<Plan<'a>>, Error> {
    let mut objects: HashMap<&str, Vec<&Object>> = HashMap::new();
    for object in origin.objects() {
        objects.entry(&object.name).or_default().push(object);
    }
    let mut plans = Vec::new();
    for (manifest, mtime) in manifests {
        let own = manifest.folder.as_deref().unwrap_or("");
        let own = name::component(own.as_bytes()).unwrap_or_else(|_| b"imported".to_vec());
        for file in &manifest.files {
            task.check()?;
            let lost = |piece: Option<String>, why: String| Lost {
                path: file.name.clone(),
                piece,
                why,
            };
            let names = match name::component(file.name.as_bytes()) {
                Ok(name) => [name],
                Err(error) => {
                    report.lose(lost(None, error.to_string()));
                    continue;
                }
            };
            let pieces = pieces(file, &objects);
            // Also for what does not come: the next time it may, and others shall be called as now.
            let path = target.place(Some(&own), &names);
            match (pieces, target.there(&path, file.bytes, *mtime)?) {
                (_, There::Right) => report.skip(file.bytes.unwrap_or(0)),
                (Err((piece, why)), _) => report.lose(lost(piece, why)),
                (Ok(_), There::Other) => report.lose(lost(None, there(&path))),
                (Ok(pieces), There::Free) => plans.push(Plan {
                    file,
                    seal: manifest.seal,
                    path,
                    mtime: *mtime,
                    pieces,
                    is_over: AtomicBool::new(false),
                }),
            }
        }
    }
    Ok(plans)
}

/// Why a file that is there stays.
pub(in crate::import) fn there(path: &Path) -> String {
    format!(
        "{} is in the drive already and differs; --replace replaces it",
        shown(path)
    )
}

type Missing = (Option<String>, String);

fn pieces<'a>(
    file: &File,
    objects: &HashMap<&str, Vec<&'a Object>>,
) -> Result<Vec<&'a Object>, Missing> {
    if file.pieces.is_empty() && file.bytes != Some(0) {
        return Err((None, String::from("its manifest names no pieces")));
    }
    let find = |(at, piece): (usize, &legacy::manifest::Piece)| {
        let nameless = || Some(format!("number {at}"));
        if piece.name.is_empty() {
            return Err((nameless(), String::from("its manifest does not name it")));
        }
        let found = objects.get(piece.name.as_str()).map_or(&[][..], |all| all);
        let fits = |object: &&&Object| piece.bytes.is_none_or(|bytes| bytes == object.bytes);
        match (found.iter().rev().find(fits), found.last(), piece.bytes) {
            (Some(object), ..) => Ok(*object),
            (None, Some(other), Some(bytes)) => Err((
                Some(piece.name.clone()),
                format!("it has {} bytes instead of {bytes}", other.bytes),
            )),
            (None, ..) => Err((Some(piece.name.clone()), String::from("it is missing"))),
        }
    };
    file.pieces.iter().enumerate().map(find).collect()
}

/// Tries the key on a few pieces, so that a wrong one is told before anything is written.
fn prove(origin: &dyn Origin, plans: &[Plan<'_>], key: &UserKey) -> Result<(), Error> {
    let mut wrong = false;
    let sealed = plans.iter().filter(|plan| plan.seal != Seal::Plain);
    let firsts = sealed.filter_map(|plan| Some((plan, plan.pieces.first()?)));
    for (plan, object) in firsts.take(TRIES_MAX) {
        let bytes = match origin.read(object) {
            Ok(bytes) => bytes,
            Err(Unread::This(_)) => continue,
            Err(Unread::All(error)) => return Err(error.into()),
        };
        match opens(plan, object, bytes, key) {
            Ok(()) => return Ok(()),
            Err(legacy::Error::WrongKey) => wrong = true,
            Err(_) => {}
        }
    }
    match wrong {
        true => Err(Error::Key(legacy::Error::WrongKey)),
        false => Ok(()),
    }
}

/// Does the key fit? Of a file that is sealed as one, the first bytes must be those of gzip.
fn opens(
    plan: &Plan<'_>,
    object: &Object,
    bytes: Vec<u8>,
    key: &UserKey,
) -> Result<(), legacy::Error> {
    if plan.seal == Seal::Pieces {
        return piece::open(key, &object.name, bytes).map(drop);
    }
    piece::check(&object.name, &bytes)?;
    // With what fits no tag behind it, the last bytes of a short piece would count as one.
    let padded = bytes.as_slice().chain(io::repeat(0).take(16));
    let mut head = [0; 3];
    let read = Whole::begin(padded, key).and_then(|mut whole| whole.read_exact(&mut head));
    match (read, head) {
        (Ok(()), [0x1f, 0x8b, 8]) => Ok(()),
        (Ok(()), _) => Err(legacy::Error::WrongKey),
        (Err(_), _) => Err(legacy::Error::TooShort),
    }
}

/// Fetches a piece and opens it as far as it can be alone.
fn open(origin: &dyn Origin, plan: &Plan<'_>, object: &Object, key: Option<&UserKey>) -> Opened {
    if plan.is_over.load(Ordering::Relaxed) {
        return Ok(Vec::new());
    }
    let broken = |why: String| Broken::new(&object.name, why);
    let bytes = origin.read(object).map_err(|unread| match unread {
        Unread::This(why) => broken(why),
        Unread::All(error) => Broken::all(error),
    })?;
    match (plan.seal, key) {
        (Seal::Pieces, Some(key)) => {
            piece::open(key, &object.name, bytes).map_err(|error| match error {
                legacy::Error::WrongKey => broken(String::from(
                    "it does not open with the key that opens others: damaged, or sealed with another",
                )),
                error => broken(error.to_string()),
            })
        }
        _ => {
            let checked = piece::check(&object.name, &bytes);
            checked.map(|()| bytes).map_err(|error| broken(error.to_string()))
        }
    }
}

/// Writes one file.
fn one(
    plan: &Plan<'_>,
    pieces: Pieces<'_>,
    key: Option<&UserKey>,
    target: &mut Target<'_>,
) -> Result<u64, Stopped> {
    let looks = Looks {
        mode: MODE,
        mtime: plan.mtime,
    };
    let stored: u64 = plan.pieces.iter().map(|piece| piece.bytes).sum();
    let content = match (plan.seal, key) {
        _ if plan.pieces.is_empty() => Ok(Content::plain(pieces)),
        (Seal::Files, Some(key)) => Content::whole(pieces, key),
        (Seal::Pieces, _) => Ok(Content::gzip(pieces)),
        // What has the length that the file had was not compressed.
        _ if plan.file.bytes == Some(stored) => Ok(Content::plain(pieces)),
        _ => Content::gzip_or_plain(pieces),
    };
    let mut content = Bounded::new(content.map_err(Stopped::Read)?, plan.file.bytes);
    target.write(&plan.path, looks, &mut content)
}

/// Writes down how it went.
fn told(plan: &Plan<'_>, done: Result<u64, Stopped>, report: &mut Report) -> Result<(), Error> {
    let lost = |piece: Option<String>, why: String| Lost {
        path: plan.file.name.clone(),
        piece,
        why,
    };
    match done {
        Ok(bytes) => {
            report.write(shown(&plan.path), bytes);
            if let Some(told) = plan.file.bytes.filter(|told| *told != bytes) {
                let why = format!("it came with {bytes} bytes, and its manifest says {told}");
                report.lose(lost(None, why));
            }
        }
        Err(Stopped::Refused(why)) => report.lose(lost(None, why)),
        Err(Stopped::All(error)) => return Err(error),
        Err(Stopped::Read(error)) => {
            let Broken { piece, why, .. } = Broken::of(error)?;
            report.lose(lost(piece, why));
        }
    }
    Ok(())
}
