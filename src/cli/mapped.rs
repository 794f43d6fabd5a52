//! Has the kernel hand over to the daemon what programs changed through mappings, and waits until it has.
//!
//! `syncfs` starts that for all files at once. It waits for it, too, but since Linux 6.16 no longer on filesystems like
//! this one; `fsync` of a file does. So the daemon says which files there may be something of, and each is synced.

use std::ffi::OsStr;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use crate::cli::apart::apart;
use crate::cli::client::Client;
use crate::cli::exit::Code;
use crate::cli::exit::OrFault;
use crate::cli::exit::code_of;
use crate::cli::exit::fault;
use crate::cli::exit::told;
use crate::cli::protocol::Answer;
use crate::cli::protocol::MappedFile;
use crate::cli::registry::Running;
use crate::cli::sys;

/// How often the daemon is asked for paths: a file may be renamed between its answer and our opening it.
const LOOKS: usize = 3;

/// Most files that are named when they cannot be opened.
const NAMED_MAX: usize = 10;

/// Hands over what programs changed through mappings of the files of this mount. That may wait for room in the spool
/// where no signal reaches, so it is done in another process, and no longer than this is waited for it.
///
/// # Errors
/// [`Code::Damaged`] when some of it was refused, so that it is lost; [`Code::Partly`] when a file could not be opened;
/// [`Code::TimedOut`].
pub(crate) fn write_back(running: &Running, longest: Option<Duration>) -> Result<()> {
    let words = apart(longest, || {
        let answer = match hand_over(running) {
            Ok(()) => Answer::Done,
            Err(error) => Answer::Failed {
                code: code_of(&error),
                text: told(&error),
            },
        };
        serde_json::to_vec(&answer).unwrap_or_default()
    })?;
    match words.map(|words| serde_json::from_slice(&words)) {
        Some(Ok(Answer::Failed { code, text })) => Err(fault(code, text)),
        Some(Ok(_)) => Ok(()),
        Some(Err(_)) => Err(fault(
            Code::Other,
            "what programs changed through mappings could not be handed over",
        )),
        None => Err(fault(
            Code::TimedOut,
            "the time is over; what programs changed through mappings waits for room in the spool",
        )),
    }
}

fn hand_over(running: &Running) -> Result<()> {
    let mountpoint = &running.way_in();
    if let Err(error) = std::fs::metadata(mountpoint) {
        // It may be another user's; then what that user mapped is that user's to sync.
        log::info!("{}: {error}", mountpoint.display());
        return Ok(());
    }
    let files = Client::connect(&running.socket)?.mapped()?;
    if files.is_some_and(|files| files.is_empty()) {
        return Ok(());
    }
    let root = File::open(mountpoint)
        .or_fault(Code::Mountpoint, || format!("{}", mountpoint.display()))?;
    let started = sys::write_back(&root).or_fault(Code::Damaged, || lost(mountpoint));
    let device = root.metadata().map_or(0, |root| root.dev());
    let (mut refused, mut unopened) = (started.err(), Vec::new());
    for _ in 0..LOOKS {
        let files = Client::connect(&running.socket)?.mapped()?;
        let files = files.unwrap_or_default();
        unopened = sync_each(mountpoint, device, &files, &mut refused);
        if unopened.is_empty() {
            break;
        }
    }
    match (refused, unopened.is_empty()) {
        (Some(error), _) => Err(error),
        (None, true) => Ok(()),
        (None, false) => Err(fault(Code::Partly, not_opened(&unopened))),
    }
}

/// Syncs files one after the other, as there may be very many; gives those that cannot be opened, and takes note of
/// the first that lost something.
fn sync_each(
    mountpoint: &Path,
    device: u64,
    files: &[MappedFile],
    refused: &mut Option<anyhow::Error>,
) -> Vec<String> {
    let mut unopened = Vec::new();
    for file in files {
        let path = below(mountpoint, &file.path);
        match open(&path, device, file.ino) {
            Ok(open) => {
                let synced = open.sync_all().or_fault(Code::Damaged, || lost(&path));
                *refused = refused.take().or(synced.err());
            }
            Err(error) => unopened.push(format!("{} ({error})", path.display())),
        }
    }
    unopened
}

fn not_opened(unopened: &[String]) -> String {
    let named = unopened.len().min(NAMED_MAX);
    let others = match unopened.len() - named {
        0 => String::new(),
        more => format!(" and {more} others"),
    };
    format!(
        "{}{others}: cannot be opened here, so what programs have changed through mappings may not be on Discord before \
         they unmap it; everything else is",
        unopened[..named].join(", ")
    )
}

fn below(mountpoint: &Path, path: &[u8]) -> PathBuf {
    let path = Path::new(OsStr::from_bytes(path));
    mountpoint.join(path.strip_prefix("/").unwrap_or(path))
}

fn lost(path: &Path) -> String {
    format!(
        "{}: what programs changed through mappings is lost, at least in part",
        path.display()
    )
}

/// Opens this very file, for whatever its owner may do with it.
fn open(path: &Path, device: u64, ino: u64) -> io::Result<File> {
    let open = |how: &mut OpenOptions| {
        // Something else may have the name by now.
        how.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(path)
    };
    let file = match open(OpenOptions::new().read(true)) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open(OpenOptions::new().write(true))
        }
        opened => opened,
    }?;
    let found = file.metadata()?;
    match (found.dev(), found.ino()) == (device, ino) {
        true => Ok(file),
        false => Err(io::ErrorKind::NotFound.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_there_any_more_or_is_another_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let device = dir.path().metadata().expect("it is there").dev();
        let names = ["file", "other", "pipe", "gone"];
        for name in &names[..2] {
            std::fs::write(dir.path().join(name), name).expect("written");
        }
        let mut made = std::process::Command::new("mkfifo");
        assert!(
            made.arg(dir.path().join("pipe"))
                .status()
                .expect("it runs")
                .success()
        );
        let ino = dir
            .path()
            .join("file")
            .metadata()
            .expect("it is there")
            .ino();
        let files = names.map(|name| MappedFile {
            ino,
            path: format!("/{name}").into_bytes(),
        });
        let mut refused = None;
        let unopened = sync_each(dir.path(), device, &files, &mut refused);
        assert!(refused.is_none(), "{refused:?}");
        let named = names.map(|name| dir.path().join(name).display().to_string());
        assert_eq!(unopened.len(), 3, "{unopened:?}");
        assert!((0..3).all(|nth| unopened[nth].starts_with(&named[nth + 1])));
        let many = vec![String::from("a"); NAMED_MAX + 7];
        assert!(not_opened(&many).starts_with("a, a, a, a, a, a, a, a, a, a and 7 others: "));
        assert!(not_opened(&unopened[2..]).starts_with(&named[3]));
    }
}
