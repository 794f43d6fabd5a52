//! The desk: a drive with what is needed to change files in it, whether or not it is mounted.

use std::path::PathBuf;
use std::sync::Arc;

use crate::drive::Drive;
use crate::fs::Fs;
use crate::fs::Name;
use crate::fs::Options;
use crate::id::InodeNo;

/// Who has to hear of changes that they did not make themselves: a kernel that has the drive mounted
/// keeps names and contents until it is told.
pub trait Audience: Send + Sync {
    /// A name means something else now, or nothing.
    fn name_changed(&self, at: Name<'_>);
    /// Attributes or content of an inode are others now.
    fn inode_changed(&self, ino: InodeNo);
}

/// Nobody has the drive mounted.
struct Nobody;

impl Audience for Nobody {
    fn name_changed(&self, _at: Name<'_>) {}
    fn inode_changed(&self, _ino: InodeNo) {}
}

/// A drive, its files, and whoever has to hear of changes to them.
pub struct Desk {
    fs: Arc<Fs>,
    audience: Arc<dyn Audience>,
    /// Where drives are mounted on this machine.
    mounts: fn() -> Vec<PathBuf>,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}

impl Desk {
    /// The desk of a mounted drive: with the filesystem that is mounted, which knows what is open.
    #[must_use]
    pub fn mounted(fs: Arc<Fs>, audience: Arc<dyn Audience>) -> Desk {
        Desk {
            fs,
            audience,
            mounts: Vec::new,
        }
    }

    /// The desk of a drive that is not mounted.
    #[must_use]
    pub fn alone(drive: Arc<Drive>) -> Desk {
        Desk {
            fs: Arc::new(Fs::new(drive, Options::default())),
            audience: Arc::new(Nobody),
            mounts: Vec::new,
        }
    }

    /// The same desk, which finds out in this way where drives are mounted on this machine.
    #[must_use]
    pub fn with_mounts(self, mounts: fn() -> Vec<PathBuf>) -> Desk {
        Desk { mounts, ..self }
    }

    /// Directories of this machine that are not put into a drive unasked: mounted drives, which may be this one,
    /// and what this one keeps here, which grows with all that is put.
    pub(in crate::service) fn apart(&self) -> Vec<PathBuf> {
        let settings = self.drive().settings();
        let dirs = [
            Some(&settings.state_dir),
            settings.spool_dir.as_ref(),
            settings.cache_dir.as_ref(),
        ];
        let kept = dirs.into_iter().flatten();
        let kept = kept.map(|dir| dir.canonicalize().unwrap_or_else(|_| dir.clone()));
        (self.mounts)().into_iter().chain(kept).collect()
    }

    /// The drive.
    #[must_use]
    pub fn drive(&self) -> &Arc<Drive> {
        self.fs.drive()
    }

    /// Its files.
    #[must_use]
    pub fn fs(&self) -> &Fs {
        &self.fs
    }

    /// Tells that a name of a directory means something else, so the directory itself is another too.
    pub(in crate::service) fn name_changed(&self, at: Name<'_>) {
        self.audience.name_changed(at);
        self.audience.inode_changed(at.parent);
    }

    /// Tells that an inode is another.
    pub(in crate::service) fn inode_changed(&self, ino: InodeNo) {
        self.audience.inode_changed(ino);
    }
}
