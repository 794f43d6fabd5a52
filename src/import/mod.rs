//! Old archives become files of the drive: found in a folder or on Discord, opened with the old key,
//! checked, and written one by one.
//!
//! ```text
//! wish    what to bring, from where, with which key        report   what came, and what did not
//! origin  where old objects come from                      ─ folder │ discord ─ cards
//! belt    fetches and opens ahead, in order, bounded       content  opens what can only be read through
//! sliced  archives of pieces (up to 3.1)                    batch    archives of parts (4)
//! target  directories, files and times in the drive         hand     waits where the drive has no room yet
//! place   a name for each file                           hidden   what files are called until they are whole
//! ```
//!
//! * A file is written under a hidden name beside its own, and gets its name when it is whole: what an
//!   interrupted run leaves is never taken for a file, and the next run that comes there removes it.
//! * A drive has one import at a time: the second waits, and says so.
//! * What is there already with the same length and time is right, and passed over: the same wish again goes
//!   on. What is there and differs stays, unless [`Existing::Replace`] was wished.
//! * A key that opens nothing is told before anything is written.
//! * What cannot be had is listed, with why; everything else comes.
//! * Names that lead elsewhere, links and devices are not made; lengths are bounded by what the archive says of
//!   itself.

mod batch;
mod belt;
mod cards;
mod content;
mod discord;
mod error;
mod folder;
mod hand;
mod hidden;
mod origin;
mod place;
mod report;
mod sliced;
mod target;
mod wish;

use crate::drive::task::Task;
use crate::fs::Fs;
use crate::fs::Name;
use crate::id::InodeNo;
use crate::import::origin::Found;
use crate::import::origin::System;
use crate::import::target::Target;

pub use cards::Survey;
pub use cards::survey;
pub use error::Error;
pub use report::Lost;
pub use report::Report;
pub use report::Written;
pub use wish::Existing;
pub use wish::Keys;
pub use wish::Mode;
pub use wish::OldKey;
pub use wish::Source;
pub use wish::Wish;

/// Hears of changes: a kernel that has the drive mounted remembers names until it is told.
pub trait Hears: Sync {
    /// A name means something else now, so its directory is another too.
    fn name_changed(&self, at: Name<'_>);
    /// An inode is another now.
    fn inode_changed(&self, ino: InodeNo);
}

/// Brings an old archive into the drive.
///
/// # Errors
/// [`Error::NotFound`] when there is no such archive, [`Error::Key`] when the key is missing or wrong,
/// both before anything is written; [`Error::Drive`] and [`Error::File`] when the drive cannot take it. Damage
/// is no error: it is in the [`Report`].
pub fn import(fs: &Fs, hears: &dyn Hears, wish: &Wish, task: &Task<'_>) -> Result<Report, Error> {
    let _turn = fs.drive().turn(task)?;
    let Found { origin, system } = find(fs, wish, task)?;
    let mut report = Report::new(wish.mode);
    let mut target = Target::new(fs, hears, wish, task)?;
    let done = match system {
        System::Sliced(manifests) => {
            sliced::import(&*origin, &manifests, wish, (&mut target, &mut report), task)
        }
        System::Batch(meta) => {
            batch::import(&*origin, &meta, wish, (&mut target, &mut report), task)
        }
    };
    match done {
        Ok(()) => report.complete = true,
        Err(error) if error.is_interrupted() => {}
        Err(error) => return Err(error),
    }
    if wish.mode == Mode::Write {
        fs.sync().map_err(Error::file(b""))?;
    }
    Ok(report)
}

fn find<'a>(fs: &'a Fs, wish: &Wish, task: &'a Task<'a>) -> Result<Found<'a>, Error> {
    let drive = fs.drive();
    match &wish.source {
        Source::Folder(path) => folder::find(path.as_ref()),
        Source::Archive { id, channel, log } => {
            discord::find(drive, id, *channel, log.as_deref(), task)
        }
    }
}
