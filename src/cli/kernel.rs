//! The kernel that has the drive mounted: it remembers what it was told, until it is told otherwise.

use std::sync::Arc;

use crate::fs::Name;
use crate::fuse::Session;
use crate::id::InodeNo;
use crate::service::Audience;

/// Hears of changes that did not come through the mount.
pub(crate) struct Kernel(pub(crate) Arc<Session>);

impl Audience for Kernel {
    fn name_changed(&self, at: Name<'_>) {
        self.0.name_changed(at);
    }

    fn inode_changed(&self, ino: InodeNo) {
        self.0.inode_changed(ino);
    }
}
