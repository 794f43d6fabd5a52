//! Receiving one file that comes in pieces from somewhere else, without a copy on this machine.

use bytes::Bytes;

use crate::drive::Look;
use crate::drive::task::Task;
use crate::fs;
use crate::fs::Caller;
use crate::fs::Name;
use crate::fs::Node;
use crate::fs::Opening;
use crate::fs::Rename;
use crate::fs::patiently;
use crate::id::InodeNo;
use crate::index::inode::Kind;
use crate::service::Consent;
use crate::service::Copied;
use crate::service::Desk;
use crate::service::Error;
use crate::service::error::shown;
use crate::service::parts::receiving_name;
use crate::service::parts::sweep_received;

/// What is coming, and where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receive {
    /// Directory of the drive, as a path from the top; made if it is not there. Empty for the top.
    pub to: Vec<u8>,
    /// The file's name in it.
    pub name: Vec<u8>,
    /// How many bytes are promised.
    pub bytes: u64,
    /// May a file of that name be replaced?
    pub consent: Consent,
}

/// Takes a file piece by piece; `next` gives none at its end. It has its name once it is whole: one that
/// breaks off leaves nothing, and what had the name before stays.
///
/// # Errors
/// [`Error::Conflict`] without consent when the name is taken; what `next` fails with; [`Error::Usage`] when
/// fewer or more bytes come than were promised.
pub fn receive(
    desk: &Desk,
    wish: &Receive,
    next: &mut dyn FnMut() -> Result<Option<Bytes>, Error>,
    task: &Task<'_>,
) -> Result<Copied, Error> {
    let path = [&wish.to[..], b"/", &wish.name].concat();
    let (uid, gid) = desk.drive().settings().owner;
    let caller = Caller { uid, gid };
    let mut copied = Copied::default();
    let parent = directory(desk, &caller, &wish.to, &mut copied)?;
    let name = Name {
        parent,
        name: &wish.name,
    };
    match desk.fs().lookup(name) {
        Err(fs::Error::NotFound) => {}
        Err(error) => return Err(Error::file(&path)(error)),
        Ok(attr) if attr.inode.is_dir() => {
            let path = shown(&path);
            return Err(Error::Usage(format!("{path} is a directory")));
        }
        Ok(_) if wish.consent == Consent::Ask => {
            let path = shown(&path);
            return Err(Error::Conflict(format!(
                "{path} is there already and would be replaced"
            )));
        }
        Ok(_) => {}
    }
    sweep_received(desk, parent)?;
    let begun = begun_name()?;
    let begun = Name {
        parent,
        name: &begun,
    };
    let received = fill(desk, &caller, begun, wish, next, task);
    let named = received.and_then(|()| {
        patiently(task, || desk.fs().rename(begun, name, Rename::Replace))
            .map_err(Error::file(&path))
    });
    if let Err(error) = named {
        drop(desk.fs().unlink(begun));
        desk.name_changed(begun);
        return Err(error);
    }
    desk.name_changed(begun);
    desk.name_changed(name);
    copied.files = 1;
    copied.bytes = wish.bytes;
    let inode = desk.fs().lookup(name).map_err(Error::file(&path))?.inode;
    copied.archives = desk
        .drive()
        .archive_label(inode.archive)?
        .into_iter()
        .collect();
    Ok(copied)
}

/// A name that nothing else has while the file is not whole.
fn begun_name() -> Result<Vec<u8>, Error> {
    let mut random = [0; 8];
    getrandom::fill(&mut random)
        .map_err(|error| Error::Usage(format!("no random numbers: {error}")))?;
    Ok(receiving_name(u64::from_le_bytes(random)))
}

fn fill(
    desk: &Desk,
    caller: &Caller,
    at: Name<'_>,
    wish: &Receive,
    next: &mut dyn FnMut() -> Result<Option<Bytes>, Error>,
    task: &Task<'_>,
) -> Result<(), Error> {
    let node = Node {
        kind: Kind::File,
        mode: 0o644,
        umask: 0o022,
        rdev: 0,
    };
    let opening = Opening {
        write: true,
        exclusive: true,
        ..Opening::default()
    };
    let failed = || Error::file(&wish.name);
    let created = patiently(task, || desk.fs().create(caller, at, node, opening));
    let (attr, handle) = created.map_err(failed())?;
    let mut written = 0;
    let mut write = || -> Result<(), Error> {
        while let Some(piece) = next()? {
            let mut rest = &piece[..];
            while !rest.is_empty() {
                let privileges = caller.privileges();
                let len = patiently(task, || {
                    desk.fs().write(attr.ino, written, rest, privileges)
                });
                let len = len.map_err(failed())?;
                written += u64::from(len);
                rest = &rest[len as usize..];
            }
            task.done(0, piece.len() as u64)?;
            if written > wish.bytes {
                break;
            }
        }
        Ok(())
    };
    let filled = write();
    desk.fs().release(handle);
    filled?;
    match written == wish.bytes {
        true => Ok(()),
        false => Err(Error::Usage(format!(
            "{written} bytes came instead of {}; nothing was kept",
            wish.bytes
        ))),
    }
}

/// The directory at a path from the top, made as far as it is not there.
fn directory(
    desk: &Desk,
    caller: &Caller,
    path: &[u8],
    copied: &mut Copied,
) -> Result<InodeNo, Error> {
    let mut at = InodeNo::ROOT;
    let components = path.split(|byte| *byte == b'/');
    for name in components.filter(|name| !name.is_empty() && *name != b".") {
        let place = Name { parent: at, name };
        let node = Node {
            kind: Kind::Directory,
            mode: 0o755,
            umask: 0o022,
            rdev: 0,
        };
        let found = desk.drive().view().entry(at, name)?;
        at = match found {
            Some(entry) => entry.ino,
            None => {
                let made = desk.fs().make(caller, place, node);
                let attr = made.map_err(Error::file(path))?;
                desk.name_changed(place);
                copied.directories += 1;
                attr.ino
            }
        };
    }
    Ok(at)
}
