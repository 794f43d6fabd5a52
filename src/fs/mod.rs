//! What a file is: names, content, attributes and what happens to them, without a kernel in sight.
//!
//! [`Fs`] is the one type. Each of its methods is one operation of POSIX, answers for itself and is
//! tested without a mount; [`crate::fuse`] translates the kernel's requests into them. All state is
//! the drive's; what lives here is only what dies with the mount: open handles, and the attributes
//! of inodes that are gone while somebody still holds them.
//!
//! What is decided here, and nowhere else:
//!
//! * An open file that loses its last name stays until its last handle is closed, and what loses it through
//!   the kernel until the kernel forgets it. The inode bears `nlink` 0 and an orphan key meanwhile, so
//!   that [`Fs::recover`] removes it if the mount ends first.
//! * `flock` and `fcntl` locks are the kernel's: one drive has one mount, so every process that could
//!   compete for a lock asks the same kernel, which then needs no round trip and cleans up by itself.
//! * Permissions are checked by the kernel (`default_permissions`), which knows the caller's groups,
//!   capabilities and namespaces. What the kernel leaves to a filesystem is done here: set-id bits,
//!   inherited groups, inherited ACLs, the ACL's share of the mode.
//! * A directory's size is the number of its entries, its place in a listing never changes while it
//!   keeps its directory, and an inode's number is never given again.

mod acl;
mod allocate;
mod attr;
mod copy;
mod dir;
mod entry;
mod error;
mod file;
mod handle;
mod mapped;
mod namespace;
mod patience;
mod rename;
mod seek;
mod unnamed;
mod xattr;

use std::sync::Arc;

use crate::drive::Drive;
use crate::drive::Waiter;
use crate::drive::change::Change;
use crate::drive::view::Look;
use crate::id::InodeNo;
use crate::index::inode::Inode;

pub use acl::ACCESS as ACL_ACCESS;
pub use allocate::Allocate;
pub use attr::Attr;
pub use attr::SetAttr;
pub use attr::Stamp;
pub use copy::Copy;
pub use dir::Entry;
pub use dir::More;
pub use error::Error;
pub use file::Opening;
pub use file::Privileges;
pub use namespace::Name;
pub use namespace::Node;
pub(crate) use patience::patiently;
pub use rename::Rename;
pub use seek::Seek;
pub use xattr::SetXattr;

/// Longest file, bytes: what a double-precision number still counts exactly, so that every program
/// on every face reads the same size.
pub const FILE_BYTES_MAX: u64 = 1 << 53;

/// Longest name, bytes: `NAME_MAX` of Linux and macOS.
pub const NAME_BYTES_MAX: usize = 255;

/// Longest target of a symbolic link, bytes: `PATH_MAX` without its NUL.
pub const TARGET_BYTES_MAX: usize = 4095;

/// Most names of one inode: far above what anybody needs, far below what its field can count.
pub const LINKS_MAX: u32 = 1 << 30;

/// Longest value of an extended attribute, bytes: the kernel's own limit.
pub const XATTR_BYTES_MAX: usize = 64 << 10;

/// Most bytes of attribute names on one inode, each with its NUL: what `listxattr` can return.
pub const XATTR_LIST_BYTES_MAX: usize = 64 << 10;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Effective user.
    pub uid: u32,
    /// Effective group.
    pub gid: u32,
}

/// Whether reading leaves a trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Atime {
    /// It does not: a read costs no change.
    #[default]
    Never,
    /// It does, if the time of access is older than the last change or than a day.
    Relative,
}

/// How a drive presents itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Everything belongs to this user, whatever is stored.
    pub uid: Option<u32>,
    /// Everything belongs to this group, whatever is stored.
    pub gid: Option<u32>,
    /// Permission bits that are not shown, whatever is stored.
    pub umask: Option<u16>,
    /// Whether reading leaves a trace.
    pub atime: Atime,
    /// Nothing changes through this mount.
    pub read_only: bool,
}

/// The filesystem on a drive.
pub struct Fs {
    drive: Arc<Drive>,
    options: Options,
    open: handle::Open,
}

impl std::fmt::Debug for Fs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fs")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Fs {
    /// The filesystem on this drive. Call [`Fs::recover`] before the first use.
    #[must_use]
    pub fn new(drive: Arc<Drive>, options: Options) -> Fs {
        Fs {
            drive,
            options,
            open: handle::Open::default(),
        }
    }

    /// The drive below.
    #[must_use]
    pub fn drive(&self) -> &Arc<Drive> {
        &self.drive
    }

    /// Makes what was said so far safe from a power cut.
    ///
    /// # Errors
    /// When the local disk fails.
    pub fn sync(&self) -> Result<(), Error> {
        Ok(self.drive.sync()?)
    }

    /// The one way to a change; refuses all of them on a read-only mount.
    fn change<R>(&self, f: impl FnMut(&mut Change<'_>) -> Result<R, Error>) -> Result<R, Error> {
        self.change_for(Waiter::Program, &[], f)
    }

    /// The same, for whoever waits, and with bytes for [`Change::write_given`].
    fn change_for<R>(
        &self,
        waiter: Waiter,
        given: &[u8],
        f: impl FnMut(&mut Change<'_>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        if self.options.read_only {
            return Err(Error::ReadOnly);
        }
        self.drive.change_for(waiter, given, f)
    }
}

/// The inode, which somebody has named by number and so believes to exist.
fn known(look: &impl Look, ino: InodeNo) -> Result<Inode, Error> {
    look.inode(ino)?.ok_or(Error::Stale)
}

/// The inode of a directory.
fn directory(look: &impl Look, ino: InodeNo) -> Result<Inode, Error> {
    let inode = known(look, ino)?;
    if inode.is_dir() {
        Ok(inode)
    } else {
        Err(Error::NotADirectory)
    }
}

/// The inode of a regular file.
fn regular(look: &impl Look, ino: InodeNo) -> Result<Inode, Error> {
    use crate::index::inode::Kind;
    let inode = known(look, ino)?;
    match inode.kind {
        Kind::File => Ok(inode),
        Kind::Directory => Err(Error::IsADirectory),
        Kind::Symlink | Kind::Fifo | Kind::Socket | Kind::Char | Kind::Block => Err(Error::Invalid),
    }
}

/// Changes an inode that is there.
fn edit(c: &mut Change<'_>, ino: InodeNo, f: impl FnOnce(&mut Inode)) -> Result<(), Error> {
    let mut inode = known(c, ino)?;
    f(&mut inode);
    c.put_inode(ino, &inode);
    Ok(())
}
