//! Files of this machine that were begun and never gone on with: they go once a file of their name is whole.
//!
//! What was begun is found again by the name, size and time of what is fetched. If that changed in the drive
//! since, nobody would ever look for it again.

use std::collections::HashMap;
use std::collections::HashSet;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::path::PathBuf;

use crate::durable;
use crate::service::parts::NameHash;
use crate::service::parts::hash_of_name;
use crate::service::parts::part_of;

/// Files that are whole, by the directory they are in.
#[derive(Debug, Default)]
pub(in crate::service) struct Whole(HashMap<PathBuf, HashSet<NameHash>>);

impl Whole {
    /// A file is whole; what else was begun under its name is of no use.
    pub(in crate::service) fn add(&mut self, file: &Path) {
        let (Some(directory), Some(name)) = (file.parent(), file.file_name()) else {
            return;
        };
        let hash = hash_of_name(name.as_bytes());
        match self.0.get_mut(directory) {
            Some(names) => names.insert(hash),
            None => self.0.entry(directory.to_owned()).or_default().insert(hash),
        };
    }

    /// Removes what was begun under the names of files that are whole, unless somebody writes it. That it could
    /// not be removed is only logged.
    pub(in crate::service) fn tidy(self) {
        for (directory, names) in self.0 {
            if let Err(error) = tidy(&directory, &names) {
                log::info!("{}: {error}", directory.display());
            }
        }
    }
}

fn tidy(directory: &Path, names: &HashSet<NameHash>) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let is_left = part_of(entry.file_name().as_bytes()).is_some_and(|of| names.contains(&of));
        if !is_left {
            continue;
        }
        let (path, kind) = (entry.path(), entry.file_type()?);
        // Held until the name is gone, so that nobody begins to go on with it meanwhile.
        let _held = match kind.is_file() {
            true => match durable::open_locked(&path)? {
                Some(file) => Some(file),
                None => continue,
            },
            false if kind.is_symlink() => None,
            false => continue,
        };
        std::fs::remove_file(&path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Time;
    use crate::service::parts::host_part_name;

    #[test]
    fn what_was_begun_goes_with_its_file_and_nothing_else_does() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &[u8]| dir.path().join(std::ffi::OsStr::from_bytes(name));
        let old = at(&host_part_name(b"file", 3, Time(1)));
        let older = at(&host_part_name(b"file", 2, Time(0)));
        let busy = at(&host_part_name(b"file", 1, Time(0)));
        let of_another = at(&host_part_name(b"other", 3, Time(1)));
        let foreign = at(b".ods-part-notes");
        for path in [&old, &busy, &of_another, &foreign] {
            std::fs::write(path, "begun").expect("written");
        }
        std::os::unix::fs::symlink("nowhere", &older).expect("a link");
        let held = durable::open_locked(&busy).expect("opens").expect("free");
        let mut whole = Whole::default();
        whole.add(&at(b"file"));
        whole.tidy();
        assert!(!old.exists() && older.symlink_metadata().is_err());
        assert!(busy.exists() && of_another.exists() && foreign.exists());
        drop(held);
    }
}
