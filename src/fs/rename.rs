//! Moving names: within a directory, across directories and archives, over others, or in exchange.

use crate::drive::archive;
use crate::drive::change::Change;
use crate::drive::view::Look;
use crate::fs::Caller;
use crate::fs::Error;
use crate::fs::Fs;
use crate::fs::Name;
use crate::fs::Node;
use crate::fs::directory;
use crate::fs::entry::archive_of;
use crate::fs::entry::attach;
use crate::fs::entry::detach;
use crate::fs::entry::insert;
use crate::fs::known;
use crate::fs::unnamed::Unnamed;
use crate::id::InodeNo;
use crate::index::dirent::Dirent;
use crate::index::inode::Inode;
use crate::index::inode::Kind;

/// What a rename does with something that has the new name already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rename {
    /// It is replaced.
    Replace,
    /// It is kept, and nothing happens.
    NoReplace,
    /// It gets the old name.
    Exchange,
    /// It is replaced, and this caller's whiteout gets the old name.
    Whiteout(Caller),
    /// It is kept, and nothing happens; otherwise this caller's whiteout gets the old name.
    WhiteoutNoReplace(Caller),
}

/// What overlayfs reads as "nothing here, whatever lies below": the device 0, 0.
const WHITEOUT: Node = Node {
    kind: Kind::Char,
    mode: 0,
    umask: 0,
    rdev: 0,
};

impl Fs {
    /// Moves a name.
    ///
    /// A moved directory takes the archive of its new place, or gets one of its own at the top;
    /// what lies below it stays with the archive its data is in.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Exists`], [`Error::NotEmpty`], [`Error::NotADirectory`],
    /// [`Error::IsADirectory`]; [`Error::Invalid`] when a directory would go below itself.
    pub fn rename(&self, from: Name<'_>, to: Name<'_>, how: Rename) -> Result<(), Error> {
        self.move_name(None, (from, to), how, Unnamed::Goes)
    }

    /// Moves a name for the kernel, which knows what is replaced until [`Fs::forget`]: until then it stays,
    /// without a name.
    ///
    /// # Errors
    /// As [`Fs::rename`].
    pub fn rename_known(&self, from: Name<'_>, to: Name<'_>, how: Rename) -> Result<(), Error> {
        self.move_name(None, (from, to), how, Unnamed::Stays)
    }

    /// Moves a name, if it leads to this inode still: somebody may have given it to another.
    ///
    /// # Errors
    /// As [`Fs::rename`]; [`Error::NotFound`] also when it leads elsewhere.
    pub fn rename_inode(
        &self,
        ino: InodeNo,
        from: Name<'_>,
        to: Name<'_>,
        how: Rename,
    ) -> Result<(), Error> {
        self.move_name(Some(ino), (from, to), how, Unnamed::Goes)
    }

    fn move_name(
        &self,
        ino: Option<InodeNo>,
        (from, to): (Name<'_>, Name<'_>),
        how: Rename,
        unnamed: Unnamed,
    ) -> Result<(), Error> {
        let gone = self.change(|c| {
            to.check_new(c)?;
            let source = from.entry_of(c, ino)?;
            match (how, c.entry(to.parent, to.name)?) {
                (Rename::Exchange, None) => Err(Error::NotFound),
                (Rename::NoReplace | Rename::WhiteoutNoReplace(_), Some(_)) => Err(Error::Exists),
                (_, Some(target)) if target.ino == source.ino => Ok(None),
                (Rename::Exchange, Some(target)) => {
                    exchange(c, (from, source), (to, target)).map(|()| None)
                }
                (Rename::Replace | Rename::NoReplace, target) => {
                    self.replace(c, (from, source), (to, target), unnamed)
                }
                (Rename::Whiteout(by) | Rename::WhiteoutNoReplace(by), target) => {
                    let gone = self.replace(c, (from, source), (to, target), unnamed)?;
                    insert(c, &by, from, WHITEOUT)?;
                    Ok(gone)
                }
            }
        })?;
        self.bury(gone);
        Ok(())
    }

    fn replace(
        &self,
        c: &mut Change<'_>,
        (from, source): (Name<'_>, Dirent),
        (to, target): (Name<'_>, Option<Dirent>),
        unnamed: Unnamed,
    ) -> Result<Option<(InodeNo, Inode)>, Error> {
        no_loop(c, source, to.parent)?;
        let mut gone = None;
        if let Some(target) = target {
            let replaced = known(c, target.ino)?;
            match (source.kind, target.kind) {
                (Kind::Directory, Kind::Directory) if replaced.size > 0 => {
                    return Err(Error::NotEmpty);
                }
                (Kind::Directory, Kind::Directory) if to.parent == InodeNo::ROOT => {
                    archive::remove_archive(c, replaced.archive)?;
                }
                (Kind::Directory, Kind::Directory) => {}
                (Kind::Directory, _) => return Err(Error::NotADirectory),
                (_, Kind::Directory) => return Err(Error::IsADirectory),
                _ => {}
            }
            detach(c, to, target)?;
            gone = self.drop_name(c, target.ino, unnamed)?;
        }
        detach(c, from, source)?;
        // The name keeps its place, so that a listing shows it once while it is replaced; a new one within
        // the directory takes the entry's, so that a program that renames what it lists sees each once.
        let cookie = match target {
            Some(target) => target.cookie,
            None if from.parent == to.parent => source.cookie,
            None => c.next_number(),
        };
        attach(c, to, Dirent { cookie, ..source })?;
        settle(c, source.ino, from, to)?;
        Ok(gone)
    }
}

fn exchange(
    c: &mut Change<'_>,
    (from, source): (Name<'_>, Dirent),
    (to, target): (Name<'_>, Dirent),
) -> Result<(), Error> {
    no_loop(c, source, to.parent)?;
    no_loop(c, target, from.parent)?;
    detach(c, from, source)?;
    detach(c, to, target)?;
    attach(
        c,
        to,
        Dirent {
            cookie: target.cookie,
            ..source
        },
    )?;
    attach(
        c,
        from,
        Dirent {
            cookie: source.cookie,
            ..target
        },
    )?;
    settle(c, source.ino, from, to)?;
    settle(c, target.ino, to, from)
}

/// Refuses to move a directory to a place that lies below it.
fn no_loop(c: &Change<'_>, moved: Dirent, to: InodeNo) -> Result<(), Error> {
    let mut at = to;
    while moved.kind == Kind::Directory && at != InodeNo::ROOT {
        if at == moved.ino {
            return Err(Error::Invalid);
        }
        at = directory(c, at)?.parent;
    }
    Ok(())
}

/// Tells a moved inode where it is now, and which archive it belongs to.
fn settle(c: &mut Change<'_>, ino: InodeNo, from: Name<'_>, to: Name<'_>) -> Result<(), Error> {
    let parent = directory(c, to.parent)?;
    let mut inode = known(c, ino)?;
    let was_top = inode.is_dir() && from.parent == InodeNo::ROOT;
    let is_top = inode.is_dir() && to.parent == InodeNo::ROOT;
    match (was_top, is_top) {
        (true, true) => archive::rename_archive(c, inode.archive, to.name)?,
        (true, false) => {
            archive::remove_archive(c, inode.archive)?;
            inode.archive = archive_of(to.parent, &parent);
        }
        (false, true) => inode.archive = archive::create_archive(c, ino, to.name)?,
        (false, false) if from.parent == to.parent => {}
        (false, false) => inode.archive = archive_of(to.parent, &parent),
    }
    inode.parent = to.parent;
    inode.ctime = c.now();
    c.put_inode(ino, &inode);
    Ok(())
}
