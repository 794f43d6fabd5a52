//! The lossy disk's face to the kernel, and the switch of its power.
//!
//! The kernel keeps nothing of it: attributes and names are asked for each time, content is not cached.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use fuser::BackgroundSession;
use fuser::BsdFileFlags;
use fuser::Config;
use fuser::Errno;
use fuser::FileAttr;
use fuser::FileHandle;
use fuser::FileType;
use fuser::Filesystem;
use fuser::FopenFlags;
use fuser::Generation;
use fuser::INodeNo;
use fuser::LockOwner;
use fuser::MountOption;
use fuser::OpenFlags;
use fuser::RenameFlags;
use fuser::ReplyAttr;
use fuser::ReplyCreate;
use fuser::ReplyData;
use fuser::ReplyDirectory;
use fuser::ReplyEmpty;
use fuser::ReplyEntry;
use fuser::ReplyOpen;
use fuser::ReplyStatfs;
use fuser::ReplyWrite;
use fuser::Request;
use fuser::TimeOrNow;
use fuser::WriteFlags;

use super::disk::BLOCK;
use super::disk::Disk;
use super::disk::Forget;
use super::disk::Kind;
use super::disk::Names;
use crate::chaos::Dice;

const NEVER: Duration = Duration::ZERO;
/// More than ods-mount has threads that write.
const THREADS: usize = 12;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Power {
    On,
    /// On, for so many changes.
    Armed(u64),
    /// The next change never happened; who asks for anything waits.
    Going,
    Off,
}

struct State {
    disk: Disk,
    power: Power,
}

struct Shared {
    state: Mutex<State>,
    bell: Condvar,
    tripped: Box<dyn Fn() + Send + Sync>,
}

pub(crate) struct Face(Arc<Shared>);

pub(crate) struct Control(Arc<Shared>);

/// `tripped` is called when the armed change comes.
pub(crate) fn new(names: Names, tripped: Box<dyn Fn() + Send + Sync>) -> (Face, Control) {
    let state = State {
        disk: Disk::new(names),
        power: Power::On,
    };
    let shared = Arc::new(Shared {
        state: Mutex::new(state),
        bell: Condvar::new(),
        tripped,
    });
    (Face(Arc::clone(&shared)), Control(shared))
}

pub(crate) fn mount(face: Face, mountpoint: &Path) -> std::io::Result<BackgroundSession> {
    let mut config = Config::default();
    config.mount_options = vec![MountOption::FSName(String::from("lossy"))];
    config.n_threads = Some(THREADS);
    fuser::Session::new(face, mountpoint, &config)?.spawn()
}

impl Control {
    fn set(&self, power: Power) {
        self.0.lock().power = power;
        self.0.bell.notify_all();
    }

    pub(crate) fn arm(&self, changes: u64) {
        self.set(Power::Armed(changes));
    }

    pub(crate) fn off(&self) {
        self.set(Power::Off);
    }

    pub(crate) fn cut(&self, forget: Forget, seed: u64) {
        self.0.lock().disk.cut(forget, &mut Dice::new(seed));
        self.set(Power::On);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic at the disk")
    }
}

/// Does a request change anything, or make it durable?
#[derive(PartialEq, Eq)]
enum Sort {
    Look,
    Change,
}

impl Face {
    /// Does something to the disk when the power is on.
    fn with<T>(
        &self,
        sort: Sort,
        work: impl FnOnce(&mut Disk) -> Result<T, i32>,
    ) -> Result<T, Errno> {
        let mut state = self.0.lock();
        if let (Power::Armed(left), Sort::Change) = (state.power, sort) {
            state.power = match left {
                0 => Power::Going,
                left => Power::Armed(left - 1),
            };
            if state.power == Power::Going {
                (self.0.tripped)();
            }
        }
        while state.power == Power::Going {
            state = self.0.bell.wait(state).expect("no panic at the disk");
        }
        match state.power {
            Power::Off => Err(Errno::EIO),
            _ => work(&mut state.disk).map_err(Errno::from_i32),
        }
    }

    fn entry(
        &self,
        reply: ReplyEntry,
        sort: Sort,
        work: impl FnOnce(&mut Disk) -> Result<u64, i32>,
    ) {
        match self.with(sort, |disk| work(disk).and_then(|ino| attr(disk, ino))) {
            Ok(attr) => reply.entry(&NEVER, &attr, Generation(0)),
            Err(errno) => reply.error(errno),
        }
    }

    fn empty(&self, reply: ReplyEmpty, work: impl FnOnce(&mut Disk) -> Result<(), i32>) {
        match self.with(Sort::Change, work) {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno),
        }
    }
}

fn attr(disk: &mut Disk, ino: u64) -> Result<FileAttr, i32> {
    let inode = disk.inode(ino)?;
    let kind = match inode.kind {
        Kind::File => FileType::RegularFile,
        Kind::Dir => FileType::Directory,
        Kind::Socket => FileType::Socket,
    };
    Ok(FileAttr {
        ino: INodeNo(ino),
        size: inode.size(),
        blocks: inode.disk_blocks(),
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind,
        perm: inode.mode as u16,
        nlink: inode.links(),
        uid: inode.owner.0,
        gid: inode.owner.1,
        rdev: 0,
        blksize: BLOCK as u32,
        flags: 0,
    })
}

#[rustfmt::skip]
impl Filesystem for Face {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.entry(reply, Sort::Look, |disk| disk.lookup(parent.0, name));
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.with(Sort::Look, |disk| attr(disk, ino.0)) {
            Ok(attr) => reply.attr(&NEVER, &attr),
            Err(errno) => reply.error(errno),
        }
    }

    fn setattr(
        &self, _: &Request, ino: INodeNo, mode: Option<u32>, uid: Option<u32>, gid: Option<u32>,
        size: Option<u64>, _: Option<TimeOrNow>, _: Option<TimeOrNow>, _: Option<SystemTime>,
        _: Option<FileHandle>, _: Option<SystemTime>, _: Option<SystemTime>, _: Option<SystemTime>,
        _: Option<BsdFileFlags>, reply: ReplyAttr,
    ) {
        let set = |disk: &mut Disk| {
            let inode = disk.inode(ino.0)?;
            inode.mode = mode.map_or(inode.mode, |mode| mode & 0o7777);
            inode.owner = (uid.unwrap_or(inode.owner.0), gid.unwrap_or(inode.owner.1));
            if let Some(size) = size {
                inode.truncate(size);
            }
            attr(disk, ino.0)
        };
        match self.with(Sort::Change, set) {
            Ok(attr) => reply.attr(&NEVER, &attr),
            Err(errno) => reply.error(errno),
        }
    }

    fn mknod(
        &self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, _umask: u32, _rdev: u32,
        reply: ReplyEntry,
    ) {
        let kind = match mode & libc::S_IFMT {
            libc::S_IFREG => Kind::File,
            libc::S_IFSOCK => Kind::Socket,
            _ => return reply.error(Errno::EPERM),
        };
        self.entry(reply, Sort::Change, |disk| disk.create(parent.0, name, kind, mode));
    }

    fn mkdir(
        &self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, _umask: u32, reply: ReplyEntry,
    ) {
        self.entry(reply, Sort::Change, |disk| disk.create(parent.0, name, Kind::Dir, mode));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.empty(reply, |disk| disk.remove(parent.0, name, Kind::File));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.empty(reply, |disk| disk.remove(parent.0, name, Kind::Dir));
    }

    fn rename(
        &self, _: &Request, parent: INodeNo, name: &OsStr, to: INodeNo, new: &OsStr,
        flags: RenameFlags, reply: ReplyEmpty,
    ) {
        if !flags.is_empty() {
            return reply.error(Errno::EINVAL);
        }
        self.empty(reply, |disk| disk.rename((parent.0, name), (to.0, new)));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn create(
        &self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, _umask: u32, _flags: i32,
        reply: ReplyCreate,
    ) {
        let make = |disk: &mut Disk| {
            let ino = disk.create(parent.0, name, Kind::File, mode)?;
            attr(disk, ino)
        };
        match self.with(Sort::Change, make) {
            Ok(attr) => reply.created(
                &NEVER, &attr, Generation(0), FileHandle(0), FopenFlags::FOPEN_DIRECT_IO,
            ),
            Err(errno) => reply.error(errno),
        }
    }

    fn read(
        &self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, size: u32, _: OpenFlags,
        _: Option<LockOwner>, reply: ReplyData,
    ) {
        let read = |disk: &mut Disk| Ok(disk.inode(ino.0)?.read(offset, u64::from(size)));
        match self.with(Sort::Look, read) {
            Ok(bytes) => reply.data(&bytes),
            Err(errno) => reply.error(errno),
        }
    }

    fn write(
        &self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, data: &[u8], _: WriteFlags,
        _: OpenFlags, _: Option<LockOwner>, reply: ReplyWrite,
    ) {
        let write = |disk: &mut Disk| {
            disk.inode(ino.0)?.write(offset, data);
            Ok(())
        };
        match self.with(Sort::Change, write) {
            Ok(()) => reply.written(data.len() as u32),
            Err(errno) => reply.error(errno),
        }
    }

    fn fallocate(
        &self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, length: u64, mode: i32,
        reply: ReplyEmpty,
    ) {
        self.empty(reply, |disk| {
            disk.inode(ino.0)?.allocate(mode, offset, length);
            Ok(())
        });
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        self.empty(reply, |disk| disk.sync(ino.0));
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        self.empty(reply, |disk| disk.sync(ino.0));
    }

    fn readdir(
        &self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory,
    ) {
        match self.with(Sort::Look, |disk| disk.list(ino.0)) {
            Ok(list) => {
                for (ino, name, kind) in list {
                    let kind = match kind {
                        Kind::File => FileType::RegularFile,
                        Kind::Dir => FileType::Directory,
                        Kind::Socket => FileType::Socket,
                    };
                    // An inode has one name here, so its number is a place in the list that stays.
                    if ino > offset && reply.add(INodeNo(ino), ino, kind, name) {
                        break;
                    }
                }
                reply.ok();
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let blocks = 1 << 24;
        reply.statfs(blocks, blocks, blocks, 1 << 20, 1 << 20, BLOCK as u32, 255, BLOCK as u32);
    }
}
