//! Each request of the protocol in a few lines; the order is the protocol's.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::SystemTime;

use fuser::BsdFileFlags;
use fuser::CopyFileRangeFlags;
use fuser::Errno;
use fuser::FileHandle;
use fuser::Filesystem;
use fuser::INodeNo;
use fuser::IoctlFlags;
use fuser::KernelConfig;
use fuser::LockOwner;
use fuser::OpenFlags;
use fuser::PollEvents;
use fuser::PollFlags;
use fuser::PollNotifier;
use fuser::RenameFlags;
use fuser::ReplyAttr;
use fuser::ReplyCreate;
use fuser::ReplyData;
use fuser::ReplyDirectory;
use fuser::ReplyDirectoryPlus;
use fuser::ReplyEmpty;
use fuser::ReplyEntry;
use fuser::ReplyIoctl;
use fuser::ReplyLseek;
use fuser::ReplyOpen;
use fuser::ReplyPoll;
use fuser::ReplyStatfs;
use fuser::ReplyWrite;
use fuser::ReplyXattr;
use fuser::Request;
use fuser::TimeOrNow;
use fuser::WriteFlags;

use crate::fs::Copy;
use crate::fs::Error;
use crate::fs::Fs;
use crate::fs::Name;
use crate::fs::SetAttr;
use crate::fuse::BACKGROUND_MAX;
use crate::fuse::Face;
use crate::fuse::WRITE_BYTES_MAX;
use crate::fuse::asker;
use crate::fuse::attribute;
use crate::fuse::lane::guard;
use crate::fuse::reply;
use crate::fuse::reply::Refuse;
use crate::fuse::translate;
use crate::fuse::translate::Place;
use crate::fuse::translate::ino;

// Formatted by hand: one parameter to a line would hide what differs between the requests.
#[rustfmt::skip]
impl Filesystem for Face {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let wanted = self.wanted & config.capabilities();
        // Refused only for what was not offered, and for sizes of 0.
        let _ = config.add_capabilities(wanted);
        let _ = config.set_max_write(WRITE_BYTES_MAX);
        let _ = config.set_max_background(BACKGROUND_MAX);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let name = Name { parent: ino(parent), name: name.as_bytes() };
        let find = |fs: &Fs| match fs.lookup_known(name) {
            Err(Error::NotFound) => Ok(None),
            found => found.map(Some),
        };
        self.now(reply, find, reply::found);
    }

    fn forget(&self, _: &Request, node: INodeNo, lookups: u64) {
        guard(|| {
            if self.fs.forget(ino(node), lookups) {
                let fs = self.fs.clone();
                self.lane.soon(move || fs.sweep());
            }
        });
    }

    fn getattr(&self, _: &Request, node: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        self.now(reply, |fs| fs.getattr(ino(node)), reply::attr);
    }

    fn setattr(
        &self, req: &Request, node: INodeNo, mode: Option<u32>, uid: Option<u32>, gid: Option<u32>,
        size: Option<u64>, atime: Option<TimeOrNow>, mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>, _fh: Option<FileHandle>, crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>, _bkuptime: Option<SystemTime>, _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let (caller, node) = (translate::caller(req), ino(node));
        let set = SetAttr {
            mode: mode.map(translate::bits),
            uid,
            gid,
            size,
            atime: atime.map(translate::stamp),
            mtime: mtime.map(translate::stamp),
            btime: crtime.map(translate::from_system),
        };
        self.later(reply, move |fs| fs.setattr(&caller, node, set), reply::attr);
    }

    fn readlink(&self, _: &Request, node: INodeNo, reply: ReplyData) {
        self.touch(ino(node));
        self.now(reply, |fs| fs.readlink(ino(node)), reply::data);
    }

    fn mknod(
        &self, req: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, rdev: u32,
        reply: ReplyEntry,
    ) {
        let (caller, at) = (translate::caller(req), Place::new(parent, name));
        let node = translate::node(mode, umask, rdev);
        self.introduce(reply, move |fs| fs.make(&caller, at.name(), node?));
    }

    fn mkdir(
        &self, req: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32,
        reply: ReplyEntry,
    ) {
        let (caller, at) = (translate::caller(req), Place::new(parent, name));
        let node = translate::directory(mode, umask);
        self.introduce(reply, move |fs| fs.make(&caller, at.name(), node));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let at = Place::new(parent, name);
        self.soon(reply, move |fs| fs.unlink_known(at.name()), reply::done);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let at = Place::new(parent, name);
        self.soon(reply, move |fs| fs.rmdir_known(at.name()), reply::done);
    }

    fn symlink(
        &self, req: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry,
    ) {
        let (caller, at) = (translate::caller(req), Place::new(parent, name));
        let target = target.as_os_str().as_bytes().to_vec();
        self.introduce(reply, move |fs| fs.symlink(&caller, at.name(), &target));
    }

    fn rename(
        &self, req: &Request, parent: INodeNo, name: &OsStr, newparent: INodeNo, newname: &OsStr,
        flags: RenameFlags, reply: ReplyEmpty,
    ) {
        let (from, to) = (Place::new(parent, name), Place::new(newparent, newname));
        let how = translate::rename(flags, translate::caller(req));
        let rename = move |fs: &Fs| fs.rename_known(from.name(), to.name(), how?);
        self.soon(reply, rename, reply::done);
    }

    fn link(
        &self, _: &Request, node: INodeNo, newparent: INodeNo, newname: &OsStr, reply: ReplyEntry,
    ) {
        let at = Place::new(newparent, newname);
        self.introduce(reply, move |fs| fs.link(ino(node), at.name()));
    }

    fn open(&self, req: &Request, node: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let (caller, how) = (translate::caller(req), translate::opening(flags));
        let open = move |fs: &Fs| fs.open(&caller, ino(node), how);
        if how.truncate {
            self.later(reply, open, reply::opened)
        } else {
            self.now(reply, open, reply::opened)
        }
    }

    fn create(
        &self, req: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, flags: i32,
        reply: ReplyCreate,
    ) {
        let (caller, at) = (translate::caller(req), Place::new(parent, name));
        let (node, how) = (translate::node(mode, umask, 0), translate::opening(OpenFlags(flags)));
        let create = move |fs: &Fs| {
            let created = fs.create(&caller, at.name(), node?, how);
            created.inspect(|(attr, _)| fs.meet(attr))
        };
        self.later(reply, create, reply::created);
    }

    fn read(
        &self, req: &Request, node: INodeNo, fh: FileHandle, offset: u64, size: u32, _: OpenFlags,
        _: Option<LockOwner>, reply: ReplyData,
    ) {
        self.touch(ino(node));
        guard(|| match self.fs.read_local(fh.0, offset, size) {
            Ok(Some(data)) => reply.data(&data),
            Err(error) => reply.refuse(&error),
            Ok(None) => {
                let (fs, thread) = (self.fs.clone(), req.pid());
                self.lane.wait(async move {
                    tokio::select! {
                        read = fs.read(fh.0, offset, size) => match read {
                            Ok(data) => reply.data(&data),
                            Err(error) => reply.refuse(&error),
                        },
                        () = asker::killed(thread) => reply.error(Errno::EINTR),
                    }
                });
            }
        });
    }

    fn write(
        &self, _: &Request, node: INodeNo, _: FileHandle, offset: u64, data: &[u8],
        write_flags: WriteFlags, _: OpenFlags, _: Option<LockOwner>, reply: ReplyWrite,
    ) {
        let (node, privileges) = (ino(node), Self::privileges(write_flags));
        if write_flags.contains(WriteFlags::FUSE_WRITE_CACHE) {
            let data = data.to_vec();
            return self.write_back(reply, move |fs| fs.write_back(node, offset, &data, privileges));
        }
        if let Some(_inside) = self.lane.enter() {
            self.now(reply, |fs| fs.write(node, offset, data, privileges), reply::written);
        } else {
            let data = data.to_vec();
            let write = move |fs: &Fs| fs.write(node, offset, &data, privileges);
            self.later(reply, write, reply::written);
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // Nothing waits for a close here. Kernels that know that of each file never ask; others ask once.
        reply.error(Errno::ENOSYS);
    }

    fn release(
        &self, _: &Request, _: INodeNo, fh: FileHandle, _: OpenFlags, _: Option<LockOwner>,
        _flush: bool, reply: ReplyEmpty,
    ) {
        let release = move |fs: &Fs| {
            fs.release(fh.0);
            Ok(())
        };
        self.soon(reply, release, reply::done);
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        self.aside(reply, Fs::sync, reply::done);
    }

    fn opendir(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), reply::DIRECTORY);
    }

    fn readdir(
        &self, _: &Request, node: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory,
    ) {
        self.touch(ino(node));
        let list = |reply: &mut _| {
            self.fs.list(ino(node), offset, |entry| reply::list(reply, &entry))
        };
        guard(|| match list(&mut reply) {
            Ok(()) => reply.ok(),
            Err(error) => reply.refuse(&error),
        });
    }

    fn readdirplus(
        &self, _: &Request, node: INodeNo, _: FileHandle, offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        self.touch(ino(node));
        let list = |reply: &mut _| {
            let take = |entry| reply::list_plus(reply, &entry);
            self.fs.list_known(ino(node), offset, take)
        };
        guard(|| match list(&mut reply) {
            Ok(()) => reply.ok(),
            Err(error) => reply.refuse(&error),
        });
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        self.aside(reply, Fs::sync, reply::done);
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        self.now(reply, Fs::space, reply::space);
    }

    fn setxattr(
        &self, req: &Request, node: INodeNo, name: &OsStr, value: &[u8], flags: i32,
        position: u32, reply: ReplyEmpty,
    ) {
        let (caller, node, how) = (translate::caller(req), ino(node), translate::set_xattr(flags));
        let name = attribute::kept_as(name).into_owned();
        let part = attribute::Part { bytes: value.to_vec(), position };
        let groups = translate::groups_for(req, &name);
        let set = move |fs: &Fs| {
            let caller = fs.as_member(caller, node, &groups);
            attribute::set(fs, &caller, node, &name, part, how?)
        };
        self.later(reply, set, reply::done);
    }

    fn getxattr(&self, _: &Request, node: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let get = |fs: &Fs| Ok((attribute::get(fs, ino(node), &attribute::kept_as(name))?, size));
        self.now(reply, get, reply::xattr);
    }

    fn listxattr(&self, req: &Request, node: INodeNo, size: u32, reply: ReplyXattr) {
        let caller = translate::caller(req);
        let list = |fs: &Fs| {
            let names = fs.listxattr(&caller, ino(node))?;
            Ok((translate::names(names.into_iter().map(attribute::shown_as).collect()), size))
        };
        self.now(reply, list, reply::xattr);
    }

    fn removexattr(&self, _: &Request, node: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = attribute::kept_as(name).into_owned();
        self.soon(reply, move |fs| attribute::remove(fs, ino(node), &name), reply::done);
    }

    fn fallocate(
        &self, req: &Request, node: INodeNo, _: FileHandle, offset: u64, length: u64, mode: i32,
        reply: ReplyEmpty,
    ) {
        let (node, how) = (ino(node), translate::allocate(mode));
        let rights = translate::caller(req).privileges();
        let allocate = move |fs: &Fs| fs.allocate(node, offset, length, how?, rights);
        self.later(reply, allocate, reply::done);
    }

    fn lseek(
        &self, _: &Request, node: INodeNo, _: FileHandle, offset: i64, whence: i32,
        reply: ReplyLseek,
    ) {
        let seek = move |fs: &Fs| {
            let offset = u64::try_from(offset).map_err(|_| Error::NoSuchOffset)?;
            fs.seek(ino(node), offset, translate::seek(whence)?)
        };
        self.aside(reply, seek, reply::offset);
    }

    /// Every program that opens a file and wonders whether it is a terminal asks.
    fn ioctl(
        &self, _: &Request, _: INodeNo, _: FileHandle, _: IoctlFlags, _: u32, _: &[u8], _: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(Errno::ENOTTY);
    }

    /// Once: then the kernel knows that files are always ready.
    fn poll(
        &self, _: &Request, _: INodeNo, _: FileHandle, _: PollNotifier, _: PollEvents,
        _: PollFlags, reply: ReplyPoll,
    ) {
        reply.error(Errno::ENOSYS);
    }

    fn copy_file_range(
        &self, req: &Request, from: INodeNo, _: FileHandle, from_offset: u64, to: INodeNo,
        _: FileHandle, to_offset: u64, len: u64, _: CopyFileRangeFlags, reply: ReplyWrite,
    ) {
        let copy = Copy { from: ino(from), from_offset, to: ino(to), to_offset, len };
        let rights = translate::caller(req).privileges();
        self.later(reply, move |fs| fs.copy(copy, rights), reply::written);
    }

    // Finder asks for these; elsewhere they do not exist.

    #[cfg(target_os = "macos")]
    fn setvolname(&self, _: &Request, _: &OsStr, reply: ReplyEmpty) {
        // The volume is called what it was mounted as.
        reply.error(Errno::EOPNOTSUPP);
    }

    #[cfg(target_os = "macos")]
    fn exchange(
        &self, _: &Request, parent: INodeNo, name: &OsStr, newparent: INodeNo, newname: &OsStr,
        _options: u64, reply: ReplyEmpty,
    ) {
        let (from, to) = (Place::new(parent, name), Place::new(newparent, newname));
        let exchange = move |fs: &Fs| fs.rename(from.name(), to.name(), crate::fs::Rename::Exchange);
        self.later(reply, exchange, reply::done);
    }

    #[cfg(target_os = "macos")]
    fn getxtimes(&self, _: &Request, node: INodeNo, reply: fuser::ReplyXTimes) {
        guard(|| match self.fs.getattr(ino(node)) {
            // Nobody backs it up but the drive itself, which does all the time.
            Ok(attr) => reply.xtimes(std::time::UNIX_EPOCH, translate::attr(&attr).crtime),
            Err(error) => reply.error(crate::fuse::errno::of(&error)),
        });
    }
}
