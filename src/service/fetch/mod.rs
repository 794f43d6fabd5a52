//! Fetching files of the drive to this machine.
//!
//! Every byte is unsealed on its way, so what arrives is what was written, or an error. A file is written beside
//! its place and gets its name when it is whole. What an interrupted run has left of it is compared with the
//! names of its chunks, so that it goes on where it stopped without trusting what is on the disk.

mod copying;
mod leftover;

use std::os::unix::ffi::OsStrExt;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;

use crate::drive::Look;
use crate::drive::task::Task;
use crate::id::InodeNo;
use crate::index::inode::Inode;
use crate::index::inode::Kind;
use crate::service::Check;
use crate::service::Consent;
use crate::service::Copied;
use crate::service::Desk;
use crate::service::Error;
use crate::service::HostPath;
use crate::service::Target;
use crate::service::compare;
use crate::service::distinct;
use crate::service::distinct::Comer;
use crate::service::error::shown;
use crate::service::fetch::copying::Fetching;
use crate::service::list::names_in;
use crate::service::parts::unfinished;
use crate::service::target::Spot;

/// What to fetch, and where to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetch {
    /// Archives, directories, files.
    pub targets: Vec<Target>,
    /// Directory of this machine; made if it is not there. Each target gets its own name in it.
    pub to: HostPath,
    /// How what is there already is told from what has to be copied.
    pub check: Check,
    /// May files that differ be replaced?
    pub consent: Consent,
}

/// Something of the drive and where it goes.
pub(in crate::service) struct Item {
    pub(in crate::service) ino: InodeNo,
    pub(in crate::service) host: PathBuf,
}

/// Fetches files of the drive to this machine: content, names, modes, times, links, and owners as far as this
/// process may set them. Devices, pipes and sockets are not copied: for those, mount the drive. What is there
/// already and right is skipped.
///
/// # Errors
/// [`Error::Conflict`] without consent, when files would be replaced: it says how many, and nothing was
/// copied; [`Error::NotFound`]; [`Error::Usage`] when two targets have the same name. Files that cannot be read or written are in [`Copied::failed`], and the
/// others are copied.
pub fn fetch(desk: &Desk, wish: &Fetch, task: &Task<'_>) -> Result<Copied, Error> {
    let mut spots = Vec::new();
    for target in &wish.targets {
        spots.extend(target.find(desk.drive())?);
    }
    if spots.is_empty() {
        return Err(Error::Usage(String::from("say what to download")));
    }
    let to = wish.to.path();
    if to.exists() && !to.is_dir() {
        return Err(Error::Usage(format!("{} is no directory", to.display())));
    }
    check_names(desk, &spots)?;
    let (files, bytes) = plan(desk, wish, &spots, task)?;
    std::fs::create_dir_all(to).map_err(Error::host(to))?;
    task.begin("copying", files, bytes)?;
    let mut fetching = Fetching::new(desk, wish, task);
    for item in spots.iter().flat_map(|spot| begin(desk, spot, to)) {
        walk(desk, item?, &mut |item, inode| fetching.one(item, inode))?;
    }
    fetching.finish()
}

/// Refuses targets that would have the same name.
fn check_names(desk: &Desk, spots: &[Spot]) -> Result<(), Error> {
    let mut comers = Vec::new();
    for spot in spots {
        for item in begin(desk, spot, Path::new("")) {
            let Item { ino, host } = item?;
            let mut path = spot.path.clone();
            if path.is_empty() {
                host.as_os_str().as_bytes().clone_into(&mut path);
            }
            comers.push(Comer {
                name: host.into_os_string().into_vec(),
                what: ino,
                shown: shown(&path),
            });
        }
    }
    let advice = "download them one after the other, each to another directory";
    distinct::check(comers, advice)
}

/// Adds up what there is to do, and refuses to replace what nobody agreed to.
fn plan(desk: &Desk, wish: &Fetch, spots: &[Spot], task: &Task<'_>) -> Result<(u64, u64), Error> {
    task.begin("looking at what is to be copied", 0, 0)?;
    let (mut files, mut bytes, mut replaced) = (0, 0, Vec::new());
    for item in spots
        .iter()
        .flat_map(|spot| begin(desk, spot, wish.to.path()))
    {
        walk(desk, item?, &mut |item, inode| {
            if inode.kind == Kind::File {
                files += 1;
                bytes += inode.size;
                task.done(1, 0)?;
            }
            let is_there = std::fs::symlink_metadata(&item.host).is_ok_and(|meta| !meta.is_dir());
            if is_there && !inode.is_dir() && !is_same(desk, item, inode, wish.check)? {
                replaced.push(item.host.display().to_string());
            }
            Ok(Enter::Yes)
        })?;
    }
    match (replaced.first(), wish.consent) {
        (Some(first), Consent::Ask) => Err(Error::Conflict(format!(
            "{} of this machine would be replaced, {first} among them",
            match replaced.len() {
                1 => String::from("1 file"),
                many => format!("{many} files"),
            }
        ))),
        _ => Ok((files, bytes)),
    }
}

/// What a target begins with: itself, or each of the files directly in the top directory.
fn begin(desk: &Desk, spot: &Spot, to: &Path) -> Vec<Result<Item, Error>> {
    let named = |(name, ino): (Vec<u8>, InodeNo)| Item {
        ino,
        host: to.join(std::ffi::OsStr::from_bytes(&name)),
    };
    if !spot.path.is_empty() {
        let name = spot
            .path
            .rsplit(|byte| *byte == b'/')
            .next()
            .unwrap_or_default();
        return vec![Ok(named((name.to_vec(), spot.ino)))];
    }
    let below = match names_in(desk.drive(), InodeNo::ROOT) {
        Ok(below) => below,
        Err(error) => return vec![Err(error)],
    };
    let whole = below
        .into_iter()
        .filter(|(name, _)| unfinished(name).is_none());
    let items = whole.map(named);
    let is_wanted = |item: &Item| match desk.drive().view().inode(item.ino) {
        Ok(Some(inode)) => !spot.is_loose() || !inode.is_dir(),
        _ => false,
    };
    items.filter(is_wanted).map(Ok).collect()
}

/// Is what is in a directory wanted?
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::service) enum Enter {
    Yes,
    No,
}

/// Visits something of the drive and everything in it, a directory before what it holds.
fn walk(
    desk: &Desk,
    item: Item,
    visit: &mut dyn FnMut(&Item, &Inode) -> Result<Enter, Error>,
) -> Result<(), Error> {
    let mut waiting = vec![item];
    while let Some(item) = waiting.pop() {
        let Some(inode) = desk.drive().view().inode(item.ino)? else {
            continue;
        };
        if visit(&item, &inode)? == Enter::Yes && inode.is_dir() {
            let below = names_in(desk.drive(), item.ino)?.into_iter().rev();
            let whole = below.filter(|(name, _)| unfinished(name).is_none());
            waiting.extend(whole.map(|(name, ino)| Item {
                ino,
                host: item.host.join(std::ffi::OsStr::from_bytes(&name)),
            }));
        }
    }
    Ok(())
}

/// Is what this machine has what the drive has?
pub(in crate::service) fn is_same(
    desk: &Desk,
    item: &Item,
    inode: &Inode,
    check: Check,
) -> Result<bool, Error> {
    let Ok(meta) = std::fs::symlink_metadata(&item.host) else {
        return Ok(false);
    };
    match inode.kind {
        Kind::Symlink => {
            let target = desk.fs().readlink(item.ino).map_err(Error::file(b""))?;
            let there = std::fs::read_link(&item.host);
            Ok(there.is_ok_and(|there| there.as_os_str().as_bytes() == target))
        }
        Kind::File if meta.is_file() && meta.len() == inode.size => match check {
            Check::Times => Ok(i128::from(inode.mtime.0)
                == i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec())),
            Check::Content => compare::is_same(desk, item.ino, &item.host),
        },
        _ => Ok(false),
    }
}
