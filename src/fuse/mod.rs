//! The kernel's face: translate a request, call the filesystem, reply.
//!
//! Nothing is decided here but where the work is done ([`lane`]) and what the kernel may remember
//! ([`reply::TTL`]). Not answered, so that the
//! kernel does it by itself: locks (it keeps them for all processes of this machine, which is where the one
//! mount of a drive is), `access` (it checks permissions), `bmap`. `ioctl` and `poll` are answered with no.
//! A reply that is dropped by a defect says EIO.

mod asker;
mod attribute;
mod errno;
mod face;
mod lane;
mod reply;
mod session;
mod system;
pub(crate) mod table;
mod translate;
mod unmounting;

use std::sync::Arc;

use fuser::InitFlags;
use fuser::ReplyEntry;
use fuser::ReplyWrite;
use fuser::WriteFlags;

use crate::fs::Attr;
use crate::fs::Error as FsError;
use crate::fs::Fs;
use crate::fs::Privileges;
use crate::fuse::lane::Lane;
use crate::fuse::lane::Room;
use crate::fuse::lane::guard;
use crate::fuse::reply::Refuse;
use crate::id::InodeNo;

pub use session::MountOptions;
pub use session::Session;
pub use session::mount;
pub use system::Error;
pub use system::check;
pub use unmounting::Unmounted;

/// Errors that are logged under this target are none: its answers find nobody when the mount is forced away, or who
/// asked was killed.
pub(crate) const UNHEARD: &str = "fuser::reply";

/// Longest write in one request, bytes: as much as the kernel sends.
const WRITE_BYTES_MAX: u32 = 1 << 20;

/// Requests the kernel may have waiting for read-ahead and writeback. When so many wait for Discord, reads of
/// what is here wait behind them: more than programs come to. One takes a task here, and its pages there.
const BACKGROUND_MAX: u16 = 16_384;

/// What the kernel talks to.
struct Face {
    fs: Arc<Fs>,
    lane: Arc<Lane>,
    wanted: InitFlags,
}

impl Face {
    /// Answers at once.
    fn now<T, R: Refuse>(
        &self,
        reply: R,
        work: impl FnOnce(&Fs) -> Result<T, FsError>,
        accept: impl FnOnce(R, T),
    ) {
        guard(|| match work(&self.fs) {
            Ok(result) => accept(reply, result),
            Err(error) => reply.refuse(&error),
        });
    }

    /// Answers when the work, which may wait for room, is done.
    fn later<T, R: Refuse>(
        &self,
        reply: R,
        work: impl FnOnce(&Fs) -> Result<T, FsError> + Send + 'static,
        accept: impl FnOnce(R, T) + Send + 'static,
    ) {
        self.work(Room::Taken, reply, work, accept);
    }

    /// Answers when the work, which takes hardly any room, is done: mostly also while others wait for room.
    fn soon<T, R: Refuse>(
        &self,
        reply: R,
        work: impl FnOnce(&Fs) -> Result<T, FsError> + Send + 'static,
        accept: impl FnOnce(R, T) + Send + 'static,
    ) {
        self.work(Room::Spared, reply, work, accept);
    }

    /// Answers when the work, which takes no room, is done: however many wait for room.
    fn aside<T, R: Refuse>(
        &self,
        reply: R,
        work: impl FnOnce(&Fs) -> Result<T, FsError> + Send + 'static,
        accept: impl FnOnce(R, T) + Send + 'static,
    ) {
        self.work(Room::Untouched, reply, work, accept);
    }

    /// Answers when the kernel's pages of a mapping are kept, which may take very long.
    fn write_back(
        &self,
        reply: ReplyWrite,
        write: impl FnOnce(&Fs) -> Result<u32, FsError> + Send + 'static,
    ) {
        self.work(Room::HandedOver, reply, write, reply::written);
    }

    fn work<T, R: Refuse>(
        &self,
        room: Room,
        reply: R,
        work: impl FnOnce(&Fs) -> Result<T, FsError> + Send + 'static,
        accept: impl FnOnce(R, T) + Send + 'static,
    ) {
        let fs = self.fs.clone();
        let job = move || match work(&fs) {
            Ok(result) => accept(reply, result),
            Err(error) => reply.refuse(&error),
        };
        self.lane.run(room, job);
    }

    /// Answers with what was made or linked. The kernel knows it by the answer, so it counts before that: what
    /// the kernel forgets of it may come at once. An answer that cannot be sent is the end of the mount.
    fn introduce(
        &self,
        reply: ReplyEntry,
        make: impl FnOnce(&Fs) -> Result<Attr, FsError> + Send + 'static,
    ) {
        let make = move |fs: &Fs| make(fs).inspect(|attr| fs.meet(attr));
        self.later(reply, make, reply::entry);
    }

    /// Somebody reads this, which may move its time of access: before the answer, so that it is seen, and without
    /// waiting for room.
    fn touch(&self, node: InodeNo) {
        if self.fs.wants_touch(node) {
            guard(|| self.fs.touch(node));
        }
    }

    /// What becomes of set-id bits under this write.
    fn privileges(flags: WriteFlags) -> Privileges {
        if flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID) {
            Privileges::Kill
        } else {
            Privileges::Keep
        }
    }
}
