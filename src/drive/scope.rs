//! Which part of a drive is meant: all of it, a path, an archive; and the files in it.

use std::ops::Bound;

use serde::Deserialize;
use serde::Serialize;

use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::Look;
use crate::drive::task::Task;
use crate::id::ArchiveId;
use crate::id::InodeNo;
use crate::index::archive::Archive;
use crate::index::dirent::Listed;
use crate::index::inode::Kind;
use crate::index::key;
use crate::index::manifest::Extent;

/// Entries looked at between two looks at the watcher.
const STEP: u64 = 256;

/// A part of a drive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// All of it.
    Drive,
    /// A file, or a directory with everything below it: bytes from the top directory on.
    Path(Vec<u8>),
    /// An archive, as people call it: `#DDMMYY-NN`.
    Archive(String),
}

impl Scope {
    /// The scope of a path from the top directory; slashes around it do not count.
    #[must_use]
    pub fn of_path(path: &[u8]) -> Scope {
        match components(path).next() {
            None => Scope::Drive,
            Some(_) => Scope::Path(path.to_vec()),
        }
    }

    /// The scope of an archive, if that is what the word looks like: `#DDMMYY-NN`.
    #[must_use]
    pub fn archive(word: &str) -> Option<Scope> {
        let (day, number) = word.strip_prefix('#')?.split_once('-')?;
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let is_id = day.len() == 6 && number.len() >= 2 && digits(day) && digits(number);
        is_id.then(|| Scope::Archive(word.to_owned()))
    }
}

fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
}

/// The files of a scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::drive) enum Files {
    /// All there are.
    All,
    /// These, ascending.
    These(Vec<InodeNo>),
}

impl Files {
    pub(in crate::drive) fn contains(&self, ino: InodeNo) -> bool {
        match self {
            Files::All => true,
            Files::These(list) => list.binary_search(&ino).is_ok(),
        }
    }

    /// Those that were listed; none when all are meant.
    pub(in crate::drive) fn listed(&self) -> impl Iterator<Item = InodeNo> + '_ {
        match self {
            Files::All => [].iter().copied(),
            Files::These(list) => list.iter().copied(),
        }
    }

    /// How many there are, if that is known.
    pub(in crate::drive) fn count(&self) -> u64 {
        match self {
            Files::All => 0,
            Files::These(list) => list.len() as u64,
        }
    }
}

impl Drive {
    /// The inode at a path from the top directory.
    ///
    /// # Errors
    /// [`Error::NotFound`], or when the index cannot be read.
    pub fn find_path(&self, path: &[u8]) -> Result<InodeNo, Error> {
        let view = self.view();
        let mut at = InodeNo::ROOT;
        for name in components(path) {
            let entry = view.entry(at, name)?.ok_or_else(|| {
                let path = String::from_utf8_lossy(path);
                Error::NotFound(format!("there is no `{path}` in the drive"))
            })?;
            at = entry.ino;
        }
        Ok(at)
    }

    /// The files of a scope. What is created meanwhile may or may not be among them.
    pub(in crate::drive) fn files_of(
        &self,
        scope: &Scope,
        task: &Task<'_>,
    ) -> Result<Files, Error> {
        let mut found = match scope {
            Scope::Drive => return Ok(Files::All),
            Scope::Path(path) => self.files_below(self.find_path(path)?, task)?,
            Scope::Archive(id) => match self.directory_of(id)? {
                None => Vec::new(),
                Some(InodeNo::ROOT) => self.children(InodeNo::ROOT, task)?.0,
                Some(directory) => self.files_below(directory, task)?,
            },
        };
        found.sort_unstable();
        found.dedup();
        Ok(Files::These(found))
    }

    /// The directory of an archive as people call it; none if it was removed.
    ///
    /// # Errors
    /// [`Error::NotFound`], or when the index cannot be read.
    pub fn directory_of(&self, id: &str) -> Result<Option<InodeNo>, Error> {
        let (from, to) = key::all(b'A');
        let archives = self
            .index
            .scan(Bound::Included(&from), Bound::Excluded(&to));
        for entry in archives {
            let archive = Archive::decode(&entry?.1)?;
            if same_id(archive.id, id) {
                return Ok((!archive.removed).then_some(archive.directory));
            }
        }
        Err(Error::NotFound(format!(
            "there is no archive {id} in the drive"
        )))
    }

    fn files_below(&self, top: InodeNo, task: &Task<'_>) -> Result<Vec<InodeNo>, Error> {
        match self.view().inode(top)? {
            Some(inode) if inode.kind == Kind::Directory => {}
            Some(_) => return Ok(vec![top]),
            None => return Ok(Vec::new()),
        }
        let (mut files, mut waiting) = (Vec::new(), vec![top]);
        while let Some(directory) = waiting.pop() {
            let (here, below) = self.children(directory, task)?;
            files.extend(here);
            waiting.extend(below);
        }
        Ok(files)
    }

    /// What a directory holds: files of all kinds, and directories.
    fn children(
        &self,
        directory: InodeNo,
        task: &Task<'_>,
    ) -> Result<(Vec<InodeNo>, Vec<InodeNo>), Error> {
        let (from, to) = key::of(b'O', directory);
        let (mut files, mut directories) = (Vec::new(), Vec::new());
        let entries = self
            .index
            .scan(Bound::Included(&from), Bound::Excluded(&to));
        for (number, entry) in (1..).zip(entries) {
            let listed = Listed::decode(&entry?.1)?;
            match listed.kind {
                Kind::Directory => directories.push(listed.ino),
                _ => files.push(listed.ino),
            }
            if number % STEP == 0 {
                task.done(STEP, 0)?;
            }
        }
        Ok((files, directories))
    }

    /// Gives every extent of the files' manifests, file by file, as they are now.
    pub(in crate::drive) fn for_each_extent(
        &self,
        files: &Files,
        task: &Task<'_>,
        mut take: impl FnMut(InodeNo, Extent) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut seen = 0;
        let mut range = |(from, to): (Vec<u8>, Vec<u8>)| -> Result<(), Error> {
            for entry in self
                .index
                .scan(Bound::Included(&from), Bound::Excluded(&to))
            {
                let (key, value) = entry?;
                let ino = key::inode_of(&key).ok_or(Error::Malformed)?;
                take(ino, Extent::decode(&value)?)?;
                seen += 1;
                if seen % STEP == 0 {
                    task.check()?;
                }
            }
            Ok(())
        };
        match files {
            Files::All => range(key::all(b'M')),
            Files::These(list) => list.iter().try_for_each(|ino| {
                range(key::of(b'M', *ino))?;
                task.check()
            }),
        }
    }
}

/// Is this what people call the archive? `#201126-1` and `#201126-01` are the same to them.
#[must_use]
pub fn same_id(id: ArchiveId, word: &str) -> bool {
    let number = |word: &str| {
        let (day, number) = word.split_once('-')?;
        Some((day.to_owned(), number.parse::<u32>().ok()?))
    };
    number(&id.to_string()) == number(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_told_apart() {
        assert_eq!(Scope::of_path(b"/"), Scope::Drive);
        assert_eq!(Scope::of_path(b"a//b/"), Scope::Path(b"a//b/".to_vec()));
        assert!(Scope::archive("#201126-01").is_some());
        for no in ["201126-01", "#2011-01", "#201126-1", "#201126-x1", "#", ""] {
            assert_eq!(Scope::archive(no), None, "{no}");
        }
    }
}
