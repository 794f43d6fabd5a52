//! Directories and small files that are still there after a power cut.
//!
//! A file's `fsync` does not make its name durable, and a directory's does not make the directory's own name
//! durable. Whatever is kept in a directory is only as safe as the names on the way to it, so these are synced
//! too, each time: a directory that is there may have been made by a process that was killed before it could.

use std::fs::DirBuilder;
use std::fs::File;
use std::fs::OpenOptions;
use std::fs::TryLockError;
use std::io;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Makes a directory and those above it, for its owner alone; when this returns, their names are durable.
///
/// # Errors
/// What the system says.
pub fn make_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let whole = std::path::absolute(dir)?;
    for above in whole.ancestors().skip(1) {
        // What may not be read was not made by us, nor by anybody who could have made it here.
        let Ok(handle) = File::open(above) else {
            break;
        };
        sync(&handle)?;
    }
    Ok(())
}

/// Writes a whole file, for its owner alone; a crash leaves the old or the new one, and after this returned
/// the new one.
///
/// # Errors
/// What the system says.
pub fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let temporary = path.with_file_name(name);
    let write = || {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        rename(&temporary, path)
    };
    write().inspect_err(|_| drop(std::fs::remove_file(&temporary)))
}

/// Gives a file or directory another name in the same directory; a crash leaves one of the two names, and after
/// this returned the new one.
///
/// # Errors
/// What the system says.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)?;
    match to.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        Some(dir) => sync(&File::open(dir)?),
        None => sync(&File::open(".")?),
    }
}

/// Opens a file for its owner alone, makes it if it is not there, and locks it for as long as the handle lives;
/// none when another handle has it locked. It is the file that has the name when this returns.
///
/// # Errors
/// What the system says; a link is not followed.
pub fn open_locked(path: &Path) -> io::Result<Option<File>> {
    loop {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // Whoever had it may have renamed or removed it meanwhile.
        let held = file.metadata()?;
        let is_named = std::fs::symlink_metadata(path)
            .is_ok_and(|named| (named.dev(), named.ino()) == (held.dev(), held.ino()));
        if is_named {
            return Ok(Some(file));
        }
    }
}

/// Syncs a directory, where that means anything.
fn sync(dir: &File) -> io::Result<()> {
    match dir.sync_all() {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::InvalidInput
                    | io::ErrorKind::Unsupported
                    | io::ErrorKind::ReadOnlyFilesystem
            ) =>
        {
            Ok(())
        }
        synced => synced,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locked_file_is_another_s_until_it_is_let_go() {
        let top = tempfile::tempdir().expect("a directory");
        let path = top.path().join("file");
        let held = open_locked(&path).expect("made").expect("nobody has it");
        assert!(open_locked(&path).expect("there").is_none());
        drop(held);
        let held = open_locked(&path).expect("there").expect("nobody has it");
        rename(&path, &top.path().join("other")).expect("renamed");
        assert!(
            open_locked(&path).expect("made").is_some(),
            "it is another file"
        );
        drop(held);
    }

    #[test]
    fn what_is_written_is_whole_private_and_alone() {
        use std::os::unix::fs::PermissionsExt;
        let top = tempfile::tempdir().expect("a directory");
        let dir = top.path().join("a/b/c");
        make_dir(&dir).expect("made");
        make_dir(&dir).expect("there already");
        let file = dir.join("file");
        for content in ["one", "another"] {
            write_file(&file, content.as_bytes()).expect("written");
            assert_eq!(std::fs::read_to_string(&file).expect("there"), content);
        }
        for (path, mode) in [(&dir, 0o700), (&file, 0o600)] {
            let meta = std::fs::metadata(path).expect("there");
            assert_eq!(meta.permissions().mode() & 0o777, mode);
        }
        assert_eq!(std::fs::read_dir(&dir).expect("a list").count(), 1);
    }
}
