//! Deleting archives, directories and files.

use serde::Deserialize;
use serde::Serialize;

use crate::drive::Look;
use crate::drive::task::Task;
use crate::fs;
use crate::fs::Name;
use crate::id::InodeNo;
use crate::service::Consent;
use crate::service::Desk;
use crate::service::Error;
use crate::service::Target;
use crate::service::list::names_in;
use crate::service::target::Spot;
use crate::size::Bytes;

/// What to delete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delete {
    /// An archive, several, a directory with everything in it, or a file.
    pub target: Target,
    /// May it go?
    pub consent: Consent,
}

/// What was deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deleted {
    /// What was meant, as people write it.
    pub targets: Vec<String>,
    /// Names of files removed.
    pub files: u64,
    /// Directories removed.
    pub directories: u64,
    /// Bytes of those files; what they share with others stays.
    pub bytes: u64,
}

/// Deletes what is meant, with everything in it. What the store has of it goes with the garbage. What a
/// program has open stays readable to it.
///
/// # Errors
/// [`Error::Conflict`] without consent: it says how much would go, and nothing was deleted.
/// [`Error::NotFound`], [`Error::Usage`] for the top directory; when interrupted, what was deleted stays so.
pub fn delete(desk: &Desk, wish: &Delete, task: &Task<'_>) -> Result<Deleted, Error> {
    let spots = wish.target.find(desk.drive())?;
    if let Some(top) = spots
        .iter()
        .find(|spot| spot.path.is_empty() && !spot.is_loose())
    {
        return Err(Error::Usage(format!(
            "{} is the whole drive; delete what is in it",
            top.shown()
        )));
    }
    if wish.consent == Consent::Ask {
        return Err(Error::Conflict(stake(desk, &spots, task)?));
    }
    task.begin("deleting", 0, 0)?;
    let mut deleted = Deleted {
        targets: spots.iter().map(Spot::shown).collect(),
        ..Deleted::default()
    };
    for spot in &spots {
        match spot.is_loose() {
            true => loose(desk, &mut deleted, task)?,
            false => tree(desk, spot, &mut deleted, task)?,
        }
    }
    Ok(deleted)
}

/// What would go, in words.
fn stake(desk: &Desk, spots: &[Spot], task: &Task<'_>) -> Result<String, Error> {
    let (mut files, mut bytes) = (0, 0);
    for spot in spots {
        let measure = desk.drive().measure(&spot.scope(), task)?;
        files += measure.files;
        bytes += measure.bytes;
    }
    let names: Vec<String> = spots.iter().map(Spot::shown).collect();
    Ok(format!(
        "this deletes {}: {files} files with {}",
        names.join(", "),
        Bytes(bytes)
    ))
}

/// The files directly in the top directory.
fn loose(desk: &Desk, deleted: &mut Deleted, task: &Task<'_>) -> Result<(), Error> {
    for (name, ino) in names_in(desk.drive(), InodeNo::ROOT)? {
        let is_dir = desk
            .drive()
            .view()
            .inode(ino)?
            .is_some_and(|inode| inode.is_dir());
        if !is_dir {
            unlink(desk, InodeNo::ROOT, &name, deleted)?;
            task.done(1, 0)?;
        }
    }
    Ok(())
}

/// What has to be done below a directory.
enum Step {
    /// Whatever this name leads to goes, with everything in it.
    Remove(InodeNo, Vec<u8>),
    /// The directory of this name is empty now.
    Leave(InodeNo, Vec<u8>, InodeNo),
}

fn tree(desk: &Desk, spot: &Spot, deleted: &mut Deleted, task: &Task<'_>) -> Result<(), Error> {
    let mut parts: Vec<&[u8]> = spot.path.split(|byte| *byte == b'/').collect();
    let name = parts.pop().unwrap_or_default().to_vec();
    let parent = desk.drive().find_path(&parts.join(&b'/'))?;
    let mut steps = vec![Step::Remove(parent, name)];
    while let Some(step) = steps.pop() {
        match step {
            Step::Leave(parent, name, ino) => {
                let at = Name {
                    parent,
                    name: &name,
                };
                // Somebody may make files in it meanwhile; they stay, and it with them.
                desk.fs().rmdir(at).map_err(Error::file(&name))?;
                desk.name_changed(at);
                // It may be a working directory, which has no name now.
                desk.inode_changed(ino);
                deleted.directories += 1;
            }
            Step::Remove(parent, name) => {
                let entry = desk.drive().view().entry(parent, &name)?;
                let Some(ino) = entry.map(|entry| entry.ino) else {
                    continue;
                };
                let is_dir = desk
                    .drive()
                    .view()
                    .inode(ino)?
                    .is_some_and(|inode| inode.is_dir());
                if !is_dir {
                    unlink(desk, parent, &name, deleted)?;
                } else {
                    steps.push(Step::Leave(parent, name, ino));
                    let below = names_in(desk.drive(), ino)?;
                    steps.extend(below.into_iter().map(|(name, _)| Step::Remove(ino, name)));
                }
            }
        }
        task.done(1, 0)?;
    }
    Ok(())
}

fn unlink(desk: &Desk, parent: InodeNo, name: &[u8], deleted: &mut Deleted) -> Result<(), Error> {
    let at = Name { parent, name };
    let attr = match desk.fs().lookup(at) {
        Ok(attr) => attr,
        Err(fs::Error::NotFound) => return Ok(()),
        Err(error) => return Err(Error::file(name)(error)),
    };
    let is_last = attr.inode.nlink == 1;
    match desk.fs().unlink(at) {
        Ok(()) => {
            deleted.files += 1;
            deleted.bytes += if is_last { attr.inode.size } else { 0 };
        }
        Err(fs::Error::NotFound) => {}
        Err(error) => return Err(Error::file(name)(error)),
    }
    desk.name_changed(at);
    // Its other names, and whoever holds it, show how many there are.
    desk.inode_changed(attr.ino);
    Ok(())
}
