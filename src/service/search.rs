//! Searching the drive: archives by what is written about them, files and directories by their names.

use std::collections::HashMap;

use serde::Deserialize;
use serde::Serialize;

use crate::drive::Drive;
use crate::drive::Look;
use crate::drive::task::Task;
use crate::index::dirent::Dirent;
use crate::index::key;
use crate::service::ArchiveInfo;
use crate::service::Archives;
use crate::service::Error;
use crate::service::Query;
use crate::service::archives;
use crate::service::archives::words;
use crate::service::list::kind_word;

/// Names looked at a time, so that writers need not wait long.
const PAGE: usize = 4096;

/// What a search finds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// Archives.
    pub archives: Vec<ArchiveInfo>,
    /// Files and directories, as many as the limit allows.
    pub files: Vec<Hit>,
    /// Are there more files than the limit allows?
    pub more: bool,
}

/// A file or directory that a search finds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hit {
    /// Path from the top directory, without a slash at its beginning.
    pub path: String,
    /// As in [`crate::service::ListEntry`].
    pub kind: String,
    /// Bytes; for a directory the number of its entries.
    pub size: u64,
    /// Last change of content, seconds since 1970.
    pub mtime_s: i64,
    /// Its archive's id.
    pub archive: String,
}

/// Finds archives, and files whose name has all words of the text, whatever their case. A word with `*` or `?`
/// is a pattern for the whole name. At most `limit` files (0 for all).
///
/// # Errors
/// [`Error::Usage`] for no words at all, or when the index cannot be read.
pub fn search(drive: &Drive, text: &str, limit: usize, task: &Task<'_>) -> Result<Found, Error> {
    let words = words(text);
    if words.is_empty() {
        return Err(Error::Usage(String::from("say what to search for")));
    }
    let Archives { archives, .. } = archives(
        drive,
        &Query {
            text: text.to_owned(),
            ..Query::default()
        },
    )?;
    let limit = match limit {
        0 => usize::MAX,
        limit => limit,
    };
    task.begin("searching names", 0, 0)?;
    let (mut files, mut more) = (Vec::new(), false);
    let mut directories = HashMap::new();
    let (mut from, to) = key::all(b'D');
    while !more {
        let rows = drive.view().scan(&from, &to, PAGE)?;
        let Some((last, _)) = rows.last() else {
            break;
        };
        from = [last.as_slice(), &[0]].concat();
        for (key, value) in &rows {
            let name = key.get(9..).unwrap_or_default();
            if !matches(name, &words) {
                continue;
            }
            if files.len() == limit {
                more = true;
                break;
            }
            let parent = key::inode_of(key).ok_or(crate::drive::Error::Malformed)?;
            let mut path = drive.directory_path(parent, &mut directories)?;
            path.push(b'/');
            path.extend_from_slice(name);
            let entry = Dirent::decode(value).map_err(crate::drive::Error::from)?;
            files.extend(hit(drive, &path, &entry)?);
        }
        task.done(rows.len() as u64, 0)?;
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(Found {
        archives,
        files,
        more,
    })
}

fn hit(drive: &Drive, path: &[u8], entry: &Dirent) -> Result<Option<Hit>, Error> {
    let Some(inode) = drive.view().inode(entry.ino)? else {
        return Ok(None);
    };
    let path = String::from_utf8_lossy(path);
    Ok(Some(Hit {
        path: path.trim_start_matches('/').to_owned(),
        kind: kind_word(inode.kind).to_owned(),
        size: inode.size,
        mtime_s: inode.mtime.seconds(),
        archive: drive.archive_label(inode.archive)?.unwrap_or_default(),
    }))
}

fn matches(name: &[u8], words: &[String]) -> bool {
    let name = String::from_utf8_lossy(name).to_lowercase();
    words.iter().all(|word| match word.contains(['*', '?']) {
        true => glob(word.as_bytes(), name.as_bytes()),
        false => name.contains(word.as_str()),
    })
}

/// Does the pattern describe the whole text? `*` is any number of bytes, `?` one.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    // The last star, and where in the text what follows it was tried.
    let (mut at, mut read, mut star) = (0, 0, None);
    while read < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[read] => {
                at += 1;
                read += 1;
            }
            _ => match star {
                Some((place, tried)) => {
                    star = Some((place, tried + 1));
                    at = place + 1;
                    read = tried + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_words_and_patterns() {
        let matches = |name: &str, text: &str| super::matches(name.as_bytes(), &words(text));
        assert!(matches("Holiday Photos.TAR", "photo holi"));
        assert!(!matches("Holiday", "photo"));
        assert!(matches("a.b.jpg", "*.JPG") && matches("a.jpg", "a*g") && matches("abc", "a?c"));
        assert!(!matches("a.jpg.txt", "*.jpg") && !matches("abc", "a?") && matches("", "*"));
    }
}
