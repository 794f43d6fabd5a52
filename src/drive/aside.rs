//! The index's directory and its neighbours: a new index takes the place of an old one when it is whole, not before.
//!
//! | directory | holds |
//! | --- | --- |
//! | `index` | the index in use, or one that is being made again from the journal |
//! | `index.old` | the one from before that; whoever finds it brings it back |
//! | `index.new` | what is being loaded from a backup |
//! | `index.damaged` | one that cannot be used, until another is made from all of the journal |
//! | `index.gone` | what is being removed |
//!
//! The journal may be gone, and then the index of this machine is all there is. All of this needs the state
//! directory's lock.

use std::io;
use std::path::Path;
use std::path::PathBuf;

use crate::drive::Begin;
use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::Settings;
use crate::drive::journal::Head;
use crate::drive::open::INDEX_CACHE_BYTES;
use crate::durable;
use crate::id::EpochNo;
use crate::index::Index;

const OLD: &str = "index.old";
const NEW: &str = "index.new";
const DAMAGED: &str = "index.damaged";
const GONE: &str = "index.gone";

/// The index in use.
pub(in crate::drive) fn in_use(state_dir: &Path) -> PathBuf {
    state_dir.join("index")
}

/// Where a backup is loaded; it is empty.
pub(in crate::drive) fn beside(state_dir: &Path) -> Result<PathBuf, Error> {
    settle(state_dir)?;
    Ok(state_dir.join(NEW))
}

/// Puts right what an earlier process was killed at: an old index that nothing replaced is the index again.
pub(in crate::drive) fn settle(state_dir: &Path) -> Result<(), Error> {
    for name in [NEW, GONE] {
        let path = state_dir.join(name);
        remove(&path).map_err(failed(&path))?;
    }
    bring_back(state_dir)
}

/// Makes room for another index; what was in use stays until [`keep`].
pub(in crate::drive) fn set_aside(state_dir: &Path) -> Result<(), Error> {
    settle(state_dir)?;
    let (from, to) = (in_use(state_dir), state_dir.join(OLD));
    match durable::rename(&from, &to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(&from)(error)),
        _ => Ok(()),
    }
}

/// The old index, if there is one, is in use again.
pub(in crate::drive) fn bring_back(state_dir: &Path) -> Result<(), Error> {
    let (old, index) = (state_dir.join(OLD), in_use(state_dir));
    if !old.exists() {
        return Ok(());
    }
    discard(state_dir, &index)?;
    durable::rename(&old, &index).map_err(failed(&old))
}

/// The index in use is damaged, and another is to be made. It stays until that is done, as it may know what nothing
/// else does; of two that were damaged one after the other the first stays.
pub(in crate::drive) fn set_damaged_aside(state_dir: &Path) -> Result<(), Error> {
    let (from, to) = (in_use(state_dir), state_dir.join(DAMAGED));
    match to.exists() {
        true => discard(state_dir, &from),
        false => durable::rename(&from, &to).map_err(failed(&from)),
    }
}

/// The damaged index that is kept, if one is.
fn damaged(state_dir: &Path) -> Option<PathBuf> {
    let path = state_dir.join(DAMAGED);
    path.exists().then_some(path)
}

/// The index in use is whole: the old one goes.
pub(in crate::drive) fn keep(state_dir: &Path) -> Result<(), Error> {
    discard(state_dir, &state_dir.join(OLD))
}

/// What was loaded beside is in use now.
pub(in crate::drive) fn take(state_dir: &Path) -> Result<(), Error> {
    let (new, index, old) = (state_dir.join(NEW), in_use(state_dir), state_dir.join(OLD));
    match durable::rename(&index, &old) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&index)(error)),
        _ => {}
    }
    durable::rename(&new, &index).map_err(failed(&new))?;
    keep(state_dir)
}

/// Makes the directories ready for an opening; gives the epoch of the index that was set aside, if one was.
pub(in crate::drive) fn begin(settings: &Settings) -> Result<EpochNo, Error> {
    let state_dir = &settings.state_dir;
    settle(state_dir)?;
    if settings.begin == Begin::Kept {
        return Ok(EpochNo(0));
    }
    let epoch = epoch_of(&in_use(state_dir));
    set_aside(state_dir)?;
    Ok(epoch)
}

/// The epoch of an index; 0 if there is none that can be read.
fn epoch_of(dir: &Path) -> EpochNo {
    let read = || {
        let index = Index::open(dir, INDEX_CACHE_BYTES).ok()?;
        Head::decode(&index.get(&Head::key()).ok()??)
    };
    match dir.exists() {
        true => read().map_or(EpochNo(0), |head| head.epoch),
        false => EpochNo(0),
    }
}

impl Drive {
    /// An index that was made anew takes the place of the old one, unless that knows more.
    pub(in crate::drive) fn end_anew(&self) -> Result<(), Error> {
        if self.settings.begin == Begin::Kept {
            return Ok(());
        }
        let (now, before) = (self.journal_head().epoch, self.epoch_aside);
        // Of one that cannot be read nobody knows what it knew.
        let is_unknown = before == EpochNo(0) && self.settings.state_dir.join(OLD).exists();
        if is_unknown && let Some(halt) = self.halt().filter(|_| self.is_halted()) {
            return Err(halt.refusal());
        }
        if now < before {
            return Err(Error::Damaged(format!(
                "the journal leads to epoch {} only, and this machine's index is that of epoch {}: it stays as \
                 it is; `ods repair` puts the journal right",
                now.0, before.0
            )));
        }
        keep(&self.settings.state_dir)
    }

    /// All of the journal was followed: a damaged index knows nothing that this one does not.
    pub(in crate::drive) fn drop_damaged_index(&self) -> Result<(), Error> {
        let is_partial = self.is_halted() || self.control.board().forked.is_some();
        match damaged(&self.settings.state_dir) {
            Some(dir) if !is_partial => discard(&self.settings.state_dir, &dir),
            Some(_) | None => Ok(()),
        }
    }

    /// An error of making the index, with where the damaged one is kept that it was to replace.
    pub(in crate::drive) fn with_damaged_index(&self, error: Error) -> Error {
        match (error, damaged(&self.settings.state_dir)) {
            (Error::Damaged(why), Some(dir)) => Error::Damaged(format!(
                "{why}. This machine's own index is damaged, too, and could not be made again; it is kept in {} until it is",
                dir.display()
            )),
            (error, _) => error,
        }
    }

    /// The old index is in use again.
    pub(in crate::drive) fn give_up_anew(&self) {
        if self.settings.begin == Begin::Anew
            && let Err(error) = bring_back(&self.settings.state_dir)
        {
            log::warn!("the next opening brings the index back: {error}");
        }
    }
}

/// Removes a directory; a part of one never has its name.
fn discard(state_dir: &Path, dir: &Path) -> Result<(), Error> {
    let gone = state_dir.join(GONE);
    let discard = || {
        remove(&gone)?;
        match durable::rename(dir, &gone) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            renamed => renamed?,
        }
        remove(&gone)
    };
    discard().map_err(failed(dir))
}

fn remove(dir: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
    let path = path.display().to_string();
    move |error| Error::Disk(format!("{path}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An index that holds this word.
    fn put(dir: &Path, name: &str, word: &str) {
        std::fs::create_dir_all(dir.join(name)).expect("made");
        std::fs::write(dir.join(name).join("pages"), word).expect("written");
    }

    fn word(dir: &Path) -> String {
        std::fs::read_to_string(in_use(dir).join("pages")).unwrap_or_default()
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(dir).expect("a list").flatten();
        entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect()
    }

    #[test]
    fn a_kill_at_any_step_leaves_a_whole_index() {
        // What lies there when it is killed, and what is in use afterwards.
        let cases: &[(&[(&str, &str)], &str)] = &[
            (&[("index", "old")], "old"),
            (&[("index.old", "old")], "old"),
            (&[("index.old", "old"), ("index", "half")], "old"),
            (&[("index.old", "old"), ("index.gone", "half")], "old"),
            (&[("index", "old"), ("index.new", "half")], "old"),
            (&[("index.old", "old"), ("index.new", "whole")], "old"),
            (&[("index", "new"), ("index.gone", "half")], "new"),
        ];
        for (found, used) in cases {
            let dir = tempfile::tempdir().expect("a directory");
            for (name, word) in *found {
                put(dir.path(), name, word);
            }
            settle(dir.path()).expect("settled");
            assert_eq!(word(dir.path()), *used, "{found:?}");
            assert_eq!(names(dir.path()), ["index"], "{found:?}");
        }
    }

    #[test]
    fn an_old_index_goes_when_the_new_one_is_kept() {
        let top = tempfile::tempdir().expect("a directory");
        let dir = top.path();
        put(dir, "index", "one");
        set_aside(dir).expect("aside");
        put(dir, "index", "two");
        bring_back(dir).expect("back");
        assert_eq!(word(dir), "one");
        set_aside(dir).expect("aside");
        put(dir, "index", "three");
        keep(dir).expect("kept");
        let new = beside(dir).expect("beside");
        assert_eq!(word(dir), "three");
        put(dir, "index.new", "four");
        assert!(new.exists());
        take(dir).expect("taken");
        assert_eq!(
            (word(dir), names(dir)),
            (String::from("four"), vec![String::from("index")])
        );
    }
}
