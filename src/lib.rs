//! ods: a drive that lives in a Discord channel.
#![allow(missing_docs)]
pub mod cache;
pub mod cli;
pub mod clock;
pub mod codec;
pub mod drive;
pub mod emulator;
pub mod fs;
pub mod fuse;
pub mod id;
pub mod index;
pub mod size;
pub mod spool;
pub mod store;
