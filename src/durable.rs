//! Directories and small files that are still there after a power cut.
//!
//! A file's `fsync` does not make its name durable, and a directory's does not make the directory's own name
//! durable. Whatever is kept in a directory is only as safe as the names on the way to it, so these are synced
//! too, each time: a directory that is there may have been made by a process that was killed before it could.

use std::fs::DirBuilder;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
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
        std::fs::rename(&temporary, path)?;
        match path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            Some(dir) => sync(&File::open(dir)?),
            None => sync(&File::open(".")?),
        }
    };
    write().inspect_err(|_| drop(std::fs::remove_file(&temporary)))
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
