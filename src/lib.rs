//! ods: a drive that lives in a Discord channel.
//!
//! `ods-mount ~/drive`, then an editor, `rsync`, a database: it is a disk. Behind it everything is
//! cut into chunks, deduplicated, compressed, encrypted, and kept as attachments in a Discord server
//! that the user owns. `umount` returns when it is all there. A passphrase, a bot token and the server
//! give the whole drive back on an empty machine.
//!
//! # Words
//!
//! | word | is |
//! | --- | --- |
//! | drive | one encrypted filesystem kept in one Discord server; it has a random id, one master key, one journal |
//! | archive | one top-level directory (and one more for files directly in the root): an id `#DDMMYY-NN`, a card and a thread that holds its packs |
//! | manifest | the ordered extents that make one file's content |
//! | chunk | a content-defined piece of a file, about 1 MiB: the unit of dedup, compression, sealing and reading |
//! | pack | a sealed container of many chunks: the unit of upload, one attachment |
//! | spool | the local write-ahead log: every byte written and every name changed, before Discord has it |
//! | index | the materialised state of the drive: published state in redb, newer state in memory above it |
//! | journal | the sealed segments and checkpoints in the journal channel: what a lost index is rebuilt from |
//! | epoch | the part of history published by one journal segment |
//! | cache | recently read or uploaded frames on local disk, still sealed, bounded |
//! | shelf | where a [`store`] keeps objects that belong together: a thread, or the journal channel |
//! | emulator | a Discord that runs on loopback, for tests and for trying ods without an account |
//!
//! # The way of the data
//!
//! ```text
//! write   fuse → fs → drive.change → spool.append → reply              this disk only; never waits for Discord
//! fsync   spool.sync (one fdatasync for all who wait) → reply
//! freeze  what was gathered becomes an epoch, as it is at that moment
//! drain   spooled pieces → chunker → dedup → lz4 → seal → pack          bounded memory
//! upload  packs → one message of up to ten → acknowledged, sizes checked → a fact in the spool
//! publish manifests and places join the epoch → one sealed segment → journal
//! settle  epoch → redb, durably → the spool lets go
//! read    gathering | frozen | manifest → spool, memory, cache, ranged GET → unseal → reply
//! rebuild journal, newest first, to the last checkpoint → index
//! ```
//!
//! # What must hold
//!
//! * A change is in the spool before it is visible, and visible before it is answered ([`drive::Drive::change`]).
//! * redb holds exactly the state of the last published epoch: it is never the only copy of anything.
//! * A segment is put only after every pack it refers to is acknowledged, so what Discord holds is
//!   always a state the drive really had.
//! * The spool lets go of a record only after redb has the epoch that publishes it, durably.
//! * What a change makes superfluous stays on the disk until the change itself is durable: a power cut may
//!   undo the change, and then it is needed again.
//! * Objects are put once and never changed. What a nonce was used for is never sealed again.
//! * Only [`codec::Sealed`] bytes enter a [`store::Store`], and only [`codec`] makes them.
//!
//! # Layers
//!
//! Imports go down only; `tests/tidy.rs` checks it, and that each foreign crate stays in its room.
//!
//! ```text
//!         cli                              commands, settings, exit codes
//!         fuse  bot                        translate, call, reply
//!        service                           what a person asks of a drive
//!        import                            old archives become files
//!          fs                              what a file is
//!         drive                            the engine
//!  index  spool  cache  store              four rooms that do not know each other
//!         codec  legacy                    plain ⇄ sealed; what other systems sealed; pure
//!  id  size  clock  durable  (emulator)    words; and a Discord that imports nothing of ods
//! ```
//!
//! # Where to start reading
//!
//! A byte's life: [`fs`] → [`drive::change`] → [`spool`] → `drive/drain.rs` → `drive/upload.rs` →
//! `drive/publish.rs`. A machine's loss: `drive/rebuild.rs`. The bytes themselves: `codec/format.md`.
//! Where this differs from what one would expect, the room's own page says why: [`index`] (layers
//! instead of a database that is written on every operation), [`index::manifest`] (extents that split
//! instead of chunks that are cut again), `drive/lease.rs` (leases that time alone does not end), `drive/lineage.rs` (a
//! machine that takes another name at each mount).

pub mod bot;
pub mod cache;
pub mod cli;
pub mod clock;
pub mod codec;
pub mod drive;
pub mod durable;
pub mod emulator;
pub mod fs;
pub mod fuse;
#[cfg(any(fuzzing, debug_assertions))]
#[doc(hidden)]
pub mod fuzzing;
pub mod id;
pub mod import;
pub mod index;
pub mod legacy;
pub mod service;
pub mod size;
pub mod spool;
pub mod store;
