//! Putting files of this machine into the drive.
//!
//! A file is written beside its place, under a name that says what it is a part of, and gets its own name when
//! it is whole. So what has a name is whole, and the same wish after a crash goes on where it stopped: what is
//! written has survived, because it is in the spool.

mod copying;
mod filling;
mod item;

use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::Deserialize;
use serde::Serialize;

use crate::clock::Time;
use crate::drive;
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
use crate::service::Words;
use crate::service::compare;
use crate::service::distinct;
use crate::service::distinct::Comer;
use crate::service::error::shown;
use crate::service::host::walk;
use crate::service::put::copying::Putting;
use crate::service::target::trimmed;

/// What to put, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Put {
    /// Files and directories of this machine; of each, the last name is its name in the drive.
    pub sources: Vec<HostPath>,
    /// Directory of the drive, as a path from the top; made if it is not there. Empty for the top.
    pub to: Vec<u8>,
    /// What to write about the archives that are written to.
    pub words: Words,
    /// How what is there already is told from what has to be copied.
    pub check: Check,
    /// May files that differ be replaced?
    pub consent: Consent,
    /// When is it done?
    pub until: Until,
}

/// When putting is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Until {
    /// When Discord has it, and the journal says so.
    #[default]
    Stored,
    /// When this machine's spool has it; the drive goes on uploading.
    Kept,
}

/// What there is to do.
#[derive(Default)]
struct Plan {
    files: u64,
    bytes: u64,
    replaced: u64,
    /// The first that would be replaced.
    example: Option<String>,
}

/// Puts files of this machine into the drive: content, names, modes, owners, times, links. Devices, pipes and
/// sockets are not copied, nor are extended attributes and which names are the same file: for those, mount the
/// drive. What is there already and right is skipped.
///
/// # Errors
/// [`Error::Conflict`] without consent, when files would be replaced: it says how many, and nothing was
/// copied. [`Error::Usage`] when two sources have the same name. [`Error::Host`] for a source that is not there. Files that cannot be read are in
/// [`Copied::failed`], and the others are copied.
pub fn put(desk: &Desk, wish: &Put, task: &Task<'_>) -> Result<Copied, Error> {
    let to = check(desk, wish)?;
    let plan = plan(desk, wish, &to, task)?;
    if plan.replaced > 0 && wish.consent == Consent::Ask {
        let example = plan.example.unwrap_or_default();
        return Err(Error::Conflict(format!(
            "{} in the drive would be replaced, {example} among them",
            count(plan.replaced, "file")
        )));
    }
    task.begin("copying", plan.files, plan.bytes)?;
    let mut putting = Putting::new(desk, wish, task);
    let result = putting.all(&to);
    desk.drive().sync()?;
    result?;
    putting.finish()
}

/// So many of something.
fn count(number: u64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// Looks whether the wish makes sense; gives the directory's path.
fn check(desk: &Desk, wish: &Put) -> Result<Vec<u8>, Error> {
    wish.words.check()?;
    if wish.sources.is_empty() {
        return Err(Error::Usage(String::from("say what to upload")));
    }
    let to = trimmed(&wish.to);
    if to.split(|byte| *byte == b'/').any(|part| part == b"..") {
        return Err(Error::Usage(format!("`..` leads out of {}", shown(&to))));
    }
    if let Some(why) = desk.drive().read_only() {
        return Err(drive::Error::ReadOnly(why).into());
    }
    for source in &wish.sources {
        let path = source.path();
        let meta = std::fs::symlink_metadata(path).map_err(Error::host(path))?;
        if path.file_name().is_none() {
            return Err(Error::Usage(format!(
                "{} has no name that it could have in the drive",
                path.display()
            )));
        }
        if to.is_empty() && !meta.is_dir() && !wish.words.is_empty() {
            return Err(Error::Usage(String::from(
                "title, tags and description belong to a top-level directory; say which with --to",
            )));
        }
    }
    distinct::check(
        wish.sources.iter().map(comer),
        "upload them one after the other, each --to another directory",
    )?;
    Ok(to)
}

fn comer(source: &HostPath) -> Comer<&Path> {
    let path = source.path();
    Comer {
        name: path.file_name().unwrap_or_default().as_bytes().to_vec(),
        what: path,
        shown: path.display().to_string(),
    }
}

/// Adds up what there is to do, and looks what would be replaced.
fn plan(desk: &Desk, wish: &Put, to: &[u8], task: &Task<'_>) -> Result<Plan, Error> {
    task.begin("looking at what is to be copied", 0, 0)?;
    let (mut plan, apart) = (Plan::default(), desk.apart());
    for source in &wish.sources {
        let root = source.path().parent().unwrap_or(Path::new("/"));
        walk(source.path(), &apart, &mut |host, found| {
            let Ok(meta) = found else { return Ok(()) };
            if meta.is_file() {
                plan.files += 1;
                plan.bytes += meta.len();
                task.done(1, 0)?;
            }
            let inside = host.strip_prefix(root).unwrap_or(host);
            let path = [to, inside.as_os_str().as_bytes()].join(&b'/');
            let Ok(ino) = desk.drive().find_path(&path) else {
                return Ok(());
            };
            let there = desk.fs().getattr(ino).map_err(Error::file(&path))?;
            if !meta.is_dir() && !is_same(desk, (ino, &there.inode), host, meta, wish.check)? {
                plan.replaced += 1;
                plan.example.get_or_insert_with(|| shown(&path));
            }
            Ok(())
        })?;
    }
    Ok(plan)
}

/// Is what the drive has what this machine has?
pub(in crate::service) fn is_same(
    desk: &Desk,
    (ino, there): (InodeNo, &Inode),
    host: &Path,
    meta: &Metadata,
    check: Check,
) -> Result<bool, Error> {
    if meta.is_symlink() {
        let target = std::fs::read_link(host).map_err(Error::host(host))?;
        return Ok(there.kind == Kind::Symlink
            && desk.fs().readlink(ino).map_err(Error::file(b""))?
                == target.as_os_str().as_bytes());
    }
    let mtime = time_of(meta.mtime(), meta.mtime_nsec());
    if there.kind != Kind::File || there.size != meta.len() {
        return Ok(false);
    }
    match check {
        Check::Times => Ok(there.mtime == mtime),
        Check::Content => compare::is_same(desk, ino, host),
    }
}

pub(in crate::service) fn time_of(seconds: i64, nanoseconds: i64) -> Time {
    Time(
        seconds
            .saturating_mul(1_000_000_000)
            .saturating_add(nanoseconds),
    )
}

/// Waits until Discord has everything that was written so far.
pub(in crate::service) fn until_stored(desk: &Desk, task: &Task<'_>) -> Result<(), Error> {
    let drive = desk.drive();
    let all = drive.waiting_bytes();
    task.begin("uploading", 0, all)?;
    let mut told = 0;
    let mut interrupted = None;
    let flushed = drive.flush(|| {
        let done = all.saturating_sub(drive.waiting_bytes());
        let more = done.saturating_sub(told);
        told = told.max(done);
        match task.done(0, more) {
            Ok(()) => true,
            Err(error) => {
                interrupted = Some(error);
                false
            }
        }
    });
    match interrupted {
        Some(error) => Err(error.into()),
        None => Ok(flushed.and_then(|()| drive.refuse_lost_content())?),
    }
}
