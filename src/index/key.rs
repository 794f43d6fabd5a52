//! The order of the index: how each kind of entry is named, so that what is read together lies together.
//!
//! | first byte | rest | value |
//! | --- | --- | --- |
//! | `A` | archive number | [`crate::index::archive::Archive`] |
//! | `B` | archive number | [`crate::index::archive::Holding`], written by the drain only |
//! | `C` | chunk id | [`crate::index::chunk::ChunkPlace`] |
//! | `D` | parent inode, name | [`crate::index::dirent::Dirent`] |
//! | `G` | put | [`crate::index::grave::Grave`]: packs that nothing refers to, until they are removed from the store |
//! | `I` | inode | [`crate::index::inode::Inode`] |
//! | `L` | inode, piece | a piece of a symbolic link's target |
//! | `M` | inode, file offset | [`crate::index::manifest::Extent`], written by the drain only |
//! | `O` | parent inode, cookie | [`crate::index::dirent::Listed`]: the directory in `readdir` order |
//! | `P` | pack id | [`crate::index::chunk::PackPlace`] |
//! | `R` | label | counters of the drive, and how far each state directory has published |
//! | `T` | archive number, piece | a piece of [`crate::index::caption::Caption`]; none when nothing is written |
//! | `U` | inode | nothing: unlinked, but still open when it was written |
//! | `X` | inode, name, piece | a piece of an extended attribute |
//! | `Y` | archive number | [`crate::index::tally::Tally`], written by the drain only |
//! | `Z` | label | what only this machine knows; never published |
//!
//! Numbers in keys are big-endian, so that byte order is number order.

use crate::id::ArchiveNo;
use crate::id::ChunkId;
use crate::id::InodeNo;
use crate::id::PackId;

/// First byte of the keys that stay on this machine.
pub const LOCAL: u8 = b'Z';

/// Longest piece of a link target or attribute kept under one key, bytes: a page of the index holds several.
pub const PIECE_BYTES: usize = 768;

fn tagged(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + parts.iter().map(|part| part.len()).sum::<usize>());
    key.push(tag);
    parts.iter().for_each(|part| key.extend_from_slice(part));
    key
}

fn number(ino: InodeNo) -> [u8; 8] {
    ino.0.to_be_bytes()
}

/// Key of an inode.
#[must_use]
pub fn inode(ino: InodeNo) -> Vec<u8> {
    tagged(b'I', &[&number(ino)])
}

/// The inode an `I` key names.
#[must_use]
pub fn inode_of(key: &[u8]) -> Option<InodeNo> {
    let (tag, rest) = key.split_first()?;
    let bytes: [u8; 8] = rest.get(..8)?.try_into().ok()?;
    matches!(tag, b'I' | b'M' | b'U' | b'O' | b'D' | b'X' | b'L')
        .then(|| InodeNo(u64::from_be_bytes(bytes)))
}

/// Key of a directory entry by name.
#[must_use]
pub fn dirent(parent: InodeNo, name: &[u8]) -> Vec<u8> {
    tagged(b'D', &[&number(parent), name])
}

/// Key of a directory entry by its place in the listing.
#[must_use]
pub fn listed(parent: InodeNo, cookie: u64) -> Vec<u8> {
    tagged(b'O', &[&number(parent), &cookie.to_be_bytes()])
}

/// Key of the extent of `ino` that begins at `offset` bytes.
#[must_use]
pub fn extent(ino: InodeNo, offset: u64) -> Vec<u8> {
    tagged(b'M', &[&number(ino), &offset.to_be_bytes()])
}

/// File offset at which the extent under this key begins.
#[must_use]
pub fn extent_offset(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(9..17)?.try_into().ok()?))
}

/// Key of a chunk's place.
#[must_use]
pub fn chunk(id: &ChunkId) -> Vec<u8> {
    tagged(b'C', &[&id.0])
}

/// Key of a pack's place.
#[must_use]
pub fn pack(id: &PackId) -> Vec<u8> {
    tagged(b'P', &[&id.0])
}

/// The chunk a `C` key names.
#[must_use]
pub fn chunk_of(key: &[u8]) -> Option<ChunkId> {
    let (b'C', id) = key.split_first()? else {
        return None;
    };
    Some(ChunkId(id.try_into().ok()?))
}

/// The pack a `P` key names.
#[must_use]
pub fn pack_of(key: &[u8]) -> Option<PackId> {
    let (b'P', id) = key.split_first()? else {
        return None;
    };
    Some(PackId(id.try_into().ok()?))
}

/// Key of the grave of what a store was given in one put.
#[must_use]
pub fn grave(put: &[u8]) -> Vec<u8> {
    tagged(b'G', &[put])
}

/// Key of an archive.
#[must_use]
pub fn archive(no: ArchiveNo) -> Vec<u8> {
    tagged(b'A', &[&no.0.to_be_bytes()])
}

/// Key of what an archive holds on the store.
#[must_use]
pub fn holding(no: ArchiveNo) -> Vec<u8> {
    tagged(b'B', &[&no.0.to_be_bytes()])
}

/// Key of a piece of what a person wrote about an archive.
#[must_use]
pub fn caption(no: ArchiveNo, piece: u16) -> Vec<u8> {
    tagged(b'T', &[&no.0.to_be_bytes(), &piece.to_be_bytes()])
}

/// All pieces of what a person wrote about an archive.
#[must_use]
pub fn captions(no: ArchiveNo) -> (Vec<u8>, Vec<u8>) {
    let from = tagged(b'T', &[&no.0.to_be_bytes()]);
    let to = match no.0.checked_add(1) {
        Some(next) => tagged(b'T', &[&next.to_be_bytes()]),
        None => vec![b'T' + 1],
    };
    (from, to)
}

/// Key of what an archive's content comes to.
#[must_use]
pub fn tally(no: ArchiveNo) -> Vec<u8> {
    tagged(b'Y', &[&no.0.to_be_bytes()])
}

/// The archive an `A`, `B`, `T` or `Y` key names.
#[must_use]
pub fn archive_of(key: &[u8]) -> Option<ArchiveNo> {
    Some(ArchiveNo(u32::from_be_bytes(
        key.get(1..5)?.try_into().ok()?,
    )))
}

/// Key of a piece of a link's target.
#[must_use]
pub fn link(ino: InodeNo, piece: u16) -> Vec<u8> {
    tagged(b'L', &[&number(ino), &piece.to_be_bytes()])
}

/// Key of a piece of an extended attribute. Names are at most 255 bytes.
#[must_use]
pub fn xattr(ino: InodeNo, name: &[u8], piece: u16) -> Vec<u8> {
    tagged(b'X', &[&number(ino), name, &[0], &piece.to_be_bytes()])
}

/// The attribute's name and the piece's number under an `X` key.
#[must_use]
pub fn xattr_of(key: &[u8]) -> Option<(&[u8], u16)> {
    let rest = key.get(9..)?;
    let (name, tail) = rest.split_at_checked(rest.len().checked_sub(3)?)?;
    Some((name, u16::from_be_bytes([tail[1], tail[2]])))
}

/// Key that marks an inode unlinked while open.
#[must_use]
pub fn orphan(ino: InodeNo) -> Vec<u8> {
    tagged(b'U', &[&number(ino)])
}

/// Key of one of the drive's counters.
#[must_use]
pub fn root(label: &str) -> Vec<u8> {
    tagged(b'R', &[label.as_bytes()])
}

/// Key of something only this machine knows.
#[must_use]
pub fn local(label: &str) -> Vec<u8> {
    tagged(LOCAL, &[label.as_bytes()])
}

/// All keys of one kind.
#[must_use]
pub fn all(tag: u8) -> (Vec<u8>, Vec<u8>) {
    (vec![tag], vec![tag + 1])
}

/// All keys of one kind that belong to one inode.
#[must_use]
pub fn of(tag: u8, ino: InodeNo) -> (Vec<u8>, Vec<u8>) {
    let to = match ino.0.checked_add(1) {
        Some(next) => tagged(tag, &[&next.to_be_bytes()]),
        None => vec![tag + 1],
    };
    (tagged(tag, &[&number(ino)]), to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_order_is_number_order() {
        let at = |offset| extent(InodeNo(7), offset);
        assert!(at(255) < at(256) && at(u64::MAX) < extent(InodeNo(8), 0));
        assert_eq!(extent_offset(&at(1 << 40)), Some(1 << 40));
        let (from, to) = of(b'M', InodeNo(7));
        assert!(from <= at(0) && at(u64::MAX) < to);
    }

    #[test]
    fn attribute_names_come_back() {
        let key = xattr(InodeNo(1), b"user.a\x01b", 300);
        assert_eq!(xattr_of(&key), Some((&b"user.a\x01b"[..], 300)));
    }
}
