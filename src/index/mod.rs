//! The index: the materialised state of the drive, as one ordered key space.

pub mod archive;
pub mod chunk;
pub mod dirent;
pub mod inode;
pub mod key;
pub mod manifest;
pub mod record;
