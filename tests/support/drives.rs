//! Drives on a store in memory, and files made without a filesystem.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "each test file uses some of it"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ods::clock::Time;
use ods::codec::key::Keys;
use ods::codec::key::MasterKey;
use ods::drive::Drive;
use ods::drive::Error;
use ods::drive::Look;
use ods::drive::Settings;
use ods::id::ArchiveNo;
use ods::id::DriveId;
use ods::id::InodeNo;
use ods::index::inode::Inode;
use ods::index::inode::Kind;
use ods::store::Limits;
use ods::store::Store;
use ods::store::memory::Memory;

pub(crate) const DRIVE: DriveId = DriveId([7; 16]);

pub(crate) fn keys() -> Keys {
    Keys::derive(&MasterKey::from_bytes([9; 32]), DRIVE)
}

pub(crate) fn store() -> Arc<Memory> {
    let limits = Limits {
        object_bytes_max: 10 << 20,
        objects_max: 10,
        put_bytes_max: 25 << 20,
        put_bytes_proven: 25 << 20,
    };
    Arc::new(Memory::new(limits))
}

pub(crate) fn settings(dir: &Path) -> Settings {
    Settings {
        reserve_bytes: 0,
        // Nothing is published unless a test asks for it.
        linger: Duration::from_secs(3600),
        age_max: Duration::from_secs(3600),
        tail_segments_max: 10,
        ..Settings::new(dir.to_owned())
    }
}

pub(crate) async fn open<S: Store>(dir: &Path, store: &Arc<S>) -> Arc<Drive> {
    try_open(dir, store).await.expect("the drive opens")
}

pub(crate) async fn try_open<S: Store>(dir: &Path, store: &Arc<S>) -> Result<Arc<Drive>, Error> {
    let store: Arc<dyn Store> = Arc::clone(store) as Arc<dyn Store>;
    Drive::open(settings(dir), DRIVE, keys(), store, &|_| {}).await
}

pub(crate) fn create(drive: &Drive) -> InodeNo {
    try_create(drive).expect("a file is made")
}

pub(crate) fn try_create(drive: &Drive) -> Result<InodeNo, Error> {
    drive.change(|change| -> Result<InodeNo, Error> {
        let ino = InodeNo(change.next_number());
        let now = Time(1);
        let inode = Inode {
            kind: Kind::File,
            mode: 0o644,
            uid: 0,
            gid: 0,
            rdev: 0,
            nlink: 1,
            size: 0,
            stored: 0,
            atime: now,
            mtime: now,
            ctime: now,
            btime: now,
            archive: ArchiveNo(0),
            parent: InodeNo::ROOT,
            xattrs: 0,
        };
        change.put_inode(ino, &inode);
        Ok(ino)
    })
}

pub(crate) fn write(drive: &Drive, ino: InodeNo, at: u64, bytes: &[u8]) {
    try_write(drive, ino, at, bytes).expect("the write is kept");
}

pub(crate) fn try_write(drive: &Drive, ino: InodeNo, at: u64, bytes: &[u8]) -> Result<(), Error> {
    drive.change(|change| {
        let mut inode = change.inode(ino)?.expect("the file is there");
        inode.size = inode.size.max(at + bytes.len() as u64);
        change.put_inode(ino, &inode);
        change.write(ino, at, bytes);
        Ok(())
    })
}

pub(crate) fn truncate(drive: &Drive, ino: InodeNo, size: u64) {
    let result = drive.change(|change| -> Result<(), Error> {
        let mut inode = change.inode(ino)?.expect("the file is there");
        inode.size = size;
        change.put_inode(ino, &inode);
        change.zero(ino, size, u64::MAX);
        Ok(())
    });
    result.expect("the truncation is kept");
}

pub(crate) async fn content(drive: &Drive, ino: InodeNo) -> Vec<u8> {
    let size = drive
        .view()
        .inode(ino)
        .expect("readable")
        .expect("there")
        .size;
    let (mut bytes, ahead) = (Vec::new(), drive.read_ahead());
    while (bytes.len() as u64) < size {
        let len = (size - bytes.len() as u64).min(100_000) as u32;
        let at = bytes.len() as u64;
        let part = match drive
            .read_local(ino, at, len)
            .expect("the local read works")
        {
            Some(part) => part,
            None => drive
                .read(ino, at, len, &ahead)
                .await
                .expect("the read works"),
        };
        assert_eq!(part.len(), len as usize);
        bytes.extend_from_slice(&part);
    }
    bytes
}

pub(crate) async fn flush(drive: &Arc<Drive>) {
    let flushed = flushing(drive).await;
    flushed
        .expect("the flush does not panic")
        .expect("the flush works");
}

/// A flush that goes on beside the test.
pub(crate) fn flushing(drive: &Arc<Drive>) -> tokio::task::JoinHandle<Result<(), Error>> {
    let drive = Arc::clone(drive);
    tokio::task::spawn_blocking(move || drive.flush(|| true))
}

/// Bytes that do not compress, the same for the same seed.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

pub(crate) fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).unwrap();
        }
    }
}
