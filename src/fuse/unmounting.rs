//! Taking a mount away: only ever a session's own, wherever it is by now.

use std::io;
use std::path::PathBuf;

use crate::fuse::Error;
use crate::fuse::Session;
use crate::fuse::system;
use crate::fuse::system::How;
use crate::fuse::table;
use crate::fuse::table::Place;

/// How a mount went away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmounted {
    /// Nobody used it.
    Clean,
    /// Somebody uses it still; it is out of sight, and ends when they do.
    Detached,
    /// It is not to be had: out of sight already, or under another mount. What lies at its place was left alone.
    OutOfSight,
    /// Not at all: another mount lies inside it, and would have gone with it. Both were left alone.
    Holds,
}

impl Session {
    /// Where the mount is now: its directory may have been moved, another mount may lie over it.
    pub(crate) fn place(&self) -> Place {
        match self.own {
            Some(own) => table::place(&table::table(), own, &self.path),
            None => Place::At(self.path.clone()),
        }
    }

    /// Takes the mount away: cleanly, or if somebody uses it, out of sight; but not if another mount lies inside it.
    /// Call [`Session::wait`] to know when nobody uses it any more.
    ///
    /// # Errors
    /// [`Error::Unmount`] when it stays.
    pub fn unmount(&self) -> Result<Unmounted, Error> {
        match self.take_away(How::Clean) {
            Err(Error::Unmount(_, error)) if error.kind() == io::ErrorKind::ResourceBusy => {
                self.take_away(How::Detach)
            }
            result => result,
        }
    }

    /// Takes the mount away if nobody uses it.
    ///
    /// # Errors
    /// [`Error::Unmount`] when it stays: with `ResourceBusy`, because somebody does.
    pub fn unmount_unused(&self) -> Result<Unmounted, Error> {
        self.take_away(How::Clean)
    }

    fn take_away(&self, how: How) -> Result<Unmounted, Error> {
        let path = match self.reach() {
            Ok(path) => path,
            Err(unmounted) => return Ok(unmounted),
        };
        match (system::unmount(&path, how), how) {
            (Ok(()), How::Clean) => Ok(Unmounted::Clean),
            (Ok(()), How::Detach) => Ok(Unmounted::Detached),
            (Err(error), _) => failed(error, self.reach()),
        }
    }

    /// Where the mount can be taken away; or why it cannot, or need not.
    fn reach(&self) -> Result<PathBuf, Unmounted> {
        if self.is_over() {
            return Err(Unmounted::Clean);
        }
        match self.place() {
            Place::At(path) => Ok(path),
            Place::Holds { .. } => Err(Unmounted::Holds),
            Place::Covered { .. } | Place::Nowhere { .. } => Err(Unmounted::OutOfSight),
        }
    }
}

/// What an error comes to, by where the mount can be taken away after it. Somebody else may have done that meanwhile,
/// or mounted something; which words tell of it depends on the helper.
fn failed(error: io::Error, after: Result<PathBuf, Unmounted>) -> Result<Unmounted, Error> {
    match after {
        Ok(path) => Err(Error::Unmount(path, error)),
        Err(unmounted) => Ok(unmounted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_that_somebody_else_takes_away_meanwhile_is_gone_whatever_the_helper_says() {
        let error = || io::Error::other("entry for /mnt not found in /etc/mtab");
        let gone = failed(error(), Err(Unmounted::OutOfSight));
        assert_eq!(gone.expect("gone"), Unmounted::OutOfSight);
        let stays = failed(error(), Ok(PathBuf::from("/mnt")));
        let said = stays.expect_err("it is there").to_string();
        assert_eq!(said, "cannot unmount /mnt");
    }
}
