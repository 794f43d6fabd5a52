//! What a fuzzer does with the index: any bytes as each kind of value, as a key, as a batch.

use crate::clock::Time;
use crate::id::ArchiveId;
use crate::id::ArchiveNo;
use crate::id::ChunkId;
use crate::id::InodeNo;
use crate::id::PackId;
use crate::index::Batch;
use crate::index::archive::Archive;
use crate::index::archive::Holding;
use crate::index::chunk::ChunkPlace;
use crate::index::chunk::PackPlace;
use crate::index::dirent::Dirent;
use crate::index::dirent::Listed;
use crate::index::inode::Inode;
use crate::index::inode::Kind;
use crate::index::key;
use crate::index::manifest::Extent;
use crate::index::record::Fields;
use crate::index::record::Malformed;

/// Any bytes as a value of each kind: what is read is written and read again as it was.
pub fn values(data: &[u8]) {
    comes_back(data, Inode::decode, Inode::encode);
    comes_back(data, Dirent::decode, Dirent::encode);
    comes_back(data, Listed::decode, Listed::encode);
    comes_back(data, Extent::decode, Extent::encode);
    comes_back(data, ChunkPlace::decode, ChunkPlace::encode);
    comes_back(data, PackPlace::decode, PackPlace::encode);
    comes_back(data, Archive::decode, Archive::encode);
    comes_back(data, Holding::decode, Holding::encode);
    if let Ok(made) = made(data) {
        assert_eq!(Inode::decode(&made.0.encode()), Ok(made.0));
        assert_eq!(Archive::decode(&made.1.encode()), Ok(made.1));
        assert_eq!(Extent::decode(&made.2.encode()), Ok(made.2));
    }
}

fn comes_back<T: PartialEq + std::fmt::Debug>(
    data: &[u8],
    decode: impl Fn(&[u8]) -> Result<T, Malformed>,
    encode: impl Fn(&T) -> Vec<u8>,
) {
    if let Ok(value) = decode(data) {
        let bytes = encode(&value);
        assert!(bytes.len() <= data.len());
        assert_eq!(decode(&bytes), Ok(value));
    }
}

/// Values with the fuzzer's bytes in every field.
fn made(data: &[u8]) -> Result<(Inode, Archive, Extent), Malformed> {
    let mut fields = Fields(data);
    let inode = Inode {
        kind: Kind::from_u8(fields.u8()? % 7 + 1)?,
        mode: fields.u16()?,
        uid: fields.u32()?,
        gid: fields.u32()?,
        rdev: fields.u32()?,
        nlink: fields.u32()?,
        size: fields.u64()?,
        stored: fields.u64()?,
        atime: Time(fields.i64()?),
        mtime: Time(fields.i64()?),
        ctime: Time(fields.i64()?),
        btime: Time(fields.i64()?),
        archive: ArchiveNo(fields.u32()?),
        parent: InodeNo(fields.u64()?),
        xattrs: fields.u16()?,
    };
    let extent = match fields.u8()? {
        0..128 => Extent::Inline(data.to_vec()),
        _ => Extent::Chunk {
            id: ChunkId([7; 32]),
            skip: fields.u32()?,
            len: fields.u32()?,
        },
    };
    let archive = Archive {
        id: ArchiveId {
            year: fields.u8()?,
            month: fields.u8()?,
            day: fields.u8()?,
            number: fields.u16()?,
        },
        directory: InodeNo(fields.u64()?),
        removed: fields.u8()? % 2 == 0,
        name: fields.rest().to_vec(),
    };
    Ok((inode, archive, extent))
}

/// Any bytes as a key: what is in it makes the same key again, and the ranges of its inode hold it.
pub fn keys(data: &[u8]) {
    if let Some(ino) = key::inode_of(data) {
        let (from, to) = key::of(data[0], ino);
        assert!(from[..] <= *data && *data < to[..]);
    }
    if let Some(offset) = key::extent_offset(data).filter(|_| data.len() == 17 && data[0] == b'M') {
        let ino = key::inode_of(data).map(|ino| key::extent(ino, offset));
        assert_eq!(ino.as_deref(), Some(data));
    }
    let archive = key::archive_of(data).filter(|_| data.len() == 5 && data[0] == b'A');
    if let Some(no) = archive {
        assert_eq!(key::archive(no), data);
    }
    if let Some((name, piece)) = key::xattr_of(data) {
        let made = key::xattr(InodeNo(1), name, piece);
        assert_eq!(key::xattr_of(&made), Some((name, piece)));
    }
    let (id, name) = crate::codec::fuzzing::take::<8>(data);
    let parent = InodeNo(u64::from_be_bytes(id));
    assert_eq!(
        key::inode_of(&key::dirent(parent, name)),
        Some(parent),
        "a key names its inode"
    );
    let (id, _) = crate::codec::fuzzing::take(data);
    assert_eq!(key::pack(&PackId(id)).len(), 17);
}

/// Any bytes as a batch.
pub fn batch(data: &[u8]) {
    let Ok(batch) = Batch::decode(data) else {
        return;
    };
    let bytes = batch.encode();
    assert!(bytes.len() <= data.len(), "lengths have one shortest form");
    assert!(Batch::decode(&bytes).is_ok_and(|again| again == batch));
}
