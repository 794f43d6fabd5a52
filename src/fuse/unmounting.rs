//! Taking a mount away: only ever a session's own, wherever it is by now.

use std::io;

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
}

impl Session {
    /// Where the mount is now: its directory may have been moved, another mount may lie over it.
    pub(crate) fn place(&self) -> Place {
        match self.own {
            Some(own) => table::place(&table::table(), own, &self.path),
            None => Place::At(self.path.clone()),
        }
    }

    /// Takes the mount away: cleanly, or if somebody uses it, out of sight. Call [`Session::wait`]
    /// to know when nobody does any more.
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
        if self.is_over() {
            return Ok(Unmounted::Clean);
        }
        let Place::At(path) = self.place() else {
            return Ok(Unmounted::OutOfSight);
        };
        match (system::unmount(&path, how), how) {
            (Ok(()), How::Clean) => Ok(Unmounted::Clean),
            (Ok(()), How::Detach) => Ok(Unmounted::Detached),
            // Somebody else took it away meanwhile.
            (Err(error), _) if error.raw_os_error() == Some(libc::EINVAL) => {
                Ok(Unmounted::OutOfSight)
            }
            (Err(error), _) => Err(Error::Unmount(path, error)),
        }
    }
}
