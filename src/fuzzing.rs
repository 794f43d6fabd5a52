//! Every fuzz target by name: called by `fuzz/`, and by the test that runs the inputs that once failed.
//!
//! The bodies lie in the rooms, because what they try is not for anybody outside of them. None of this is in
//! a release build.

use crate::cache;
use crate::cli;
use crate::codec;
use crate::drive;
use crate::index;
use crate::legacy;
use crate::spool;
use crate::store::discord;

/// A target: takes any bytes, and panics when a promise is broken.
pub type Target = fn(&[u8]);

/// All targets, by name.
pub const TARGETS: &[(&str, Target)] = &[
    ("pack", codec::fuzzing::pack),
    ("frames", codec::fuzzing::frames),
    ("part", codec::fuzzing::part),
    ("note", codec::fuzzing::note),
    ("superblock", codec::fuzzing::superblock),
    ("recovery_key", codec::fuzzing::recovery_key),
    ("wire", codec::fuzzing::wire),
    ("legacy_manifest", legacy::fuzzing::manifest),
    ("legacy_meta", legacy::fuzzing::meta),
    ("legacy_stream", legacy::fuzzing::stream),
    ("values", index::fuzzing::values),
    ("keys", index::fuzzing::keys),
    ("batch", index::fuzzing::batch),
    ("record", drive::fuzzing::record),
    ("replay", drive::fuzzing::replay),
    ("journal", drive::fuzzing::journal),
    ("name", drive::fuzzing::name),
    ("lease", drive::fuzzing::lease),
    ("segment_file", spool::fuzzing::segment_file),
    ("spool_records", spool::fuzzing::records),
    ("slab", cache::fuzzing::slab),
    ("limits", discord::fuzzing::limits),
    ("messages", discord::fuzzing::messages),
    ("places", discord::fuzzing::places),
    ("config", cli::fuzzing::config),
    ("options", cli::fuzzing::options),
    ("lines", cli::fuzzing::lines),
];

/// Runs a target.
///
/// # Panics
/// When there is none of this name, or a promise is broken.
pub fn run(name: &str, data: &[u8]) {
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    let (_, target) = found.unwrap_or_else(|| panic!("no fuzz target is called `{name}`"));
    target(data);
}
