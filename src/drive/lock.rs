//! Keeping two processes off one state directory, and others out of it.

use std::fs::File;
use std::fs::Permissions;
use std::fs::TryLockError;
use std::io;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::drive::Error;
use crate::durable;

/// Name of the file that is locked beside the directory: older versions know nothing else.
const NAME: &str = "lock";

/// Permission bits of everybody but the owner.
const OTHERS: u32 = 0o077;

/// Keeps other processes off a state directory, for as long as it lives.
#[derive(Debug)]
pub(in crate::drive) struct Lock {
    #[expect(dead_code, reason = "held for its flock")]
    dir: File,
    #[expect(dead_code, reason = "held for its flock")]
    file: File,
}

/// Makes a state directory, if it is not there, for its owner alone, and locks it. The directory itself is
/// locked: a file in it can be removed, and the next process would lock another one.
pub(in crate::drive) fn lock(state_dir: &Path) -> Result<Lock, Error> {
    let told = |error: io::Error| failed(state_dir, "", &error);
    durable::make_dir(state_dir).map_err(told)?;
    let dir = File::open(state_dir).map_err(told)?;
    keep_private(state_dir, &dir)?;
    match dir.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(in_use(state_dir)),
        // Not every filesystem locks directories.
        Err(TryLockError::Error(error)) => {
            log::debug!("{} itself cannot be locked: {error}", state_dir.display());
        }
    }
    match durable::open_locked(&state_dir.join(NAME)) {
        Ok(Some(file)) => {
            sign(&file);
            Ok(Lock { dir, file })
        }
        Ok(None) => Err(in_use(state_dir)),
        Err(error) => {
            let what = format!("its file `{NAME}` cannot be locked: ");
            Err(failed(state_dir, &what, &error))
        }
    }
}

/// Says in the file who has it locked. On a full disk that may be left unsaid.
fn sign(mut file: &File) {
    let pid = format!("{}\n", std::process::id());
    let signed = file
        .set_len(0)
        .and_then(|()| file.write_all(pid.as_bytes()));
    if let Err(error) = signed {
        log::debug!("the lock does not say whose it is: {error}");
    }
}

fn in_use(state_dir: &Path) -> Error {
    let holder = std::fs::read_to_string(state_dir.join(NAME)).ok();
    let holder = holder.and_then(|pid| pid.trim().parse::<u32>().ok());
    let (who, or) = match holder {
        Some(pid) => (
            format!(" ({pid})"),
            format!(
                "; while it is still opening the drive neither knows of it, and `kill {pid}` ends it"
            ),
        ),
        None => (String::new(), String::new()),
    };
    Error::State(format!(
        "{} is in use by another ods process{who}; see `ods status`, or end it with `ods umount`{or}",
        state_dir.display()
    ))
}

fn failed(state_dir: &Path, what: &str, error: &io::Error) -> Error {
    let text = format!("cannot use {}: {what}{error}", state_dir.display());
    Error::of_local(text, error)
}

fn cannot_use(state_dir: &Path, why: &str) -> Error {
    Error::State(format!("cannot use {}: {why}", state_dir.display()))
}

/// What lies there is in the plain.
fn keep_private(state_dir: &Path, dir: &File) -> Result<(), Error> {
    let told = |error: io::Error| failed(state_dir, "", &error);
    let mode = dir.metadata().map_err(told)?.mode() & 0o7777;
    if mode & OTHERS == 0 {
        return Ok(());
    }
    dir.set_permissions(Permissions::from_mode(mode & !OTHERS))
        .map_err(|error| {
            cannot_use(
                state_dir,
                &format!(
                    "others have access to it (mode {mode:o}), and that cannot be taken from them: {error}; \
                     choose a directory of your own with `state_dir`"
                ),
            )
        })?;
    log::warn!(
        "others had access to {} (mode {mode:o}); now only its owner has",
        state_dir.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locked_directory_stays_locked_whatever_is_removed_in_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let held = lock(dir.path()).expect("nobody has it");
        std::fs::remove_file(dir.path().join(NAME)).expect("removed");
        let refused = lock(dir.path()).expect_err("it is in use").to_string();
        assert!(refused.contains("in use by another ods"), "{refused}");
        assert!(!refused.contains("kill"), "{refused}");
        drop(held);
        let held = lock(dir.path()).expect("nobody has it any more");
        let refused = lock(dir.path()).expect_err("it is in use").to_string();
        let who = format!("another ods process ({})", std::process::id());
        assert!(refused.contains(&who), "{refused}");
        drop(held);
        drop(lock(dir.path()).expect("nobody has it any more"));
    }

    #[test]
    fn an_older_process_that_locks_the_file_is_heard() {
        let dir = tempfile::tempdir().expect("a directory");
        let held = durable::open_locked(&dir.path().join(NAME)).expect("made");
        assert!(lock(dir.path()).is_err());
        drop(held);
        assert!(lock(dir.path()).is_ok());
    }

    #[test]
    fn what_is_no_other_process_is_not_said_to_be_one() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join(NAME)).expect("made");
        let refused = lock(dir.path()).expect_err("a directory").to_string();
        assert!(
            refused.contains("cannot be locked") && !refused.contains("in use"),
            "{refused}"
        );
    }

    #[test]
    fn a_state_directory_is_its_owner_s_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let open = Permissions::from_mode(0o777);
        std::fs::set_permissions(dir.path(), open).expect("opened to all");
        drop(lock(dir.path()).expect("it is ours"));
        let mode = std::fs::metadata(dir.path()).expect("there").mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}
