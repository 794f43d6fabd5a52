//! A full disk when a drive is opened: the cache gives way, and who opens hears which disk it is.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;

use crate::cache::Cache;
use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::Settings;
use crate::size::Bytes;
use crate::size::MIB;
use crate::spool;

/// What is left to the index on a large disk: changes of so many bytes are settled at once at most, twice.
const LEAST_FREE_BYTES: u64 = 64 * MIB;

/// What is left to it on a small one: an eighth.
const LEAST_FREE_SHARE: u64 = 8;

/// Bytes of the disk that the spool leaves to the index, which grows before the spool shrinks.
pub(in crate::drive) fn least_free(state_dir: &Path) -> u64 {
    let disk = spool::disk_bytes(state_dir).unwrap_or(0);
    LEAST_FREE_BYTES.min(disk / LEAST_FREE_SHARE)
}

/// A disk on which there is less room than this beyond what is left free is full, bytes.
const FULL_BYTES: u64 = 4 << 20;

/// Bytes of the spool's disk that the spool leaves free.
fn kept_free(settings: &Settings) -> u64 {
    settings.reserve_bytes.max(least_free(&settings.state_dir))
}

/// Is there less room on the disk of this directory than an opening may need?
fn is_full(dir: &Path, settings: &Settings) -> bool {
    let free = spool::free_bytes(dir).unwrap_or(u64::MAX);
    free < kept_free(settings).saturating_add(FULL_BYTES)
}

fn are_on_one_disk(one: &Path, other: &Path) -> bool {
    let disk = |path: &Path| std::fs::metadata(path).map(|of| of.dev());
    matches!((disk(one), disk(other)), (Ok(one), Ok(other)) if one == other)
}

/// Is a disk full that holds something to empty of the cache? Then that is emptied: what it holds is on the store as
/// well.
pub(in crate::drive) fn cache_gives_way(settings: &Settings) -> bool {
    let (dir, limit) = (settings.cache_dir(), settings.cache_bytes_max);
    let dirs = [settings.state_dir.clone(), settings.spool_dir()];
    let would_help = |full: &PathBuf| is_full(full, settings) && are_on_one_disk(full, &dir);
    if !dirs.iter().any(would_help) {
        return false;
    }
    let cache = Cache::open(&dir, limit).ok();
    let held = cache.as_ref().map_or(0, |cache| cache.usage().bytes);
    if let Some(cache) = &cache {
        cache.set_limit(0);
    }
    held > 0
}

impl Drive {
    /// Whoever opens a drive hears which disk is full, or that it is the spool that is.
    pub(in crate::drive) fn explain_no_space(&self, error: Error) -> Error {
        let (settings, usage) = (&self.settings, self.spool.usage());
        let dir = settings.spool_dir();
        match error {
            Error::NoSpace if is_full(&dir, settings) => Error::Disk(format!(
                "the disk of {} has no room for the spool, which leaves {} of it free; remove something else from it{}",
                dir.display(),
                Bytes(kept_free(settings)),
                match settings.reserve_bytes > least_free(&settings.state_dir) {
                    true => ", or mount with a smaller -o reserve=",
                    false => "",
                }
            )),
            Error::NoSpace => Error::Disk(format!(
                "the spool in {} is at its limit, {}, with changes that wait; mount with a larger -o spool=",
                dir.display(),
                Bytes(usage.limit_bytes)
            )),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::CachedFrame;
    use crate::drive::fixture;
    use crate::id::ChunkId;
    use crate::id::PackId;

    /// Settings for which each disk is full.
    fn with_full_disks(dir: &Path, cache_dir: &Path) -> Settings {
        Settings {
            reserve_bytes: u64::MAX,
            cache_dir: Some(cache_dir.to_owned()),
            ..fixture::settings(dir)
        }
    }

    fn filled(settings: &Settings) -> Cache {
        let cache = Cache::open(&settings.cache_dir(), settings.cache_bytes_max);
        let cache = cache.expect("opens");
        let frame = CachedFrame {
            sealed: vec![7; 5000].into(),
            pack: PackId([2; 16]),
            slot: 0,
            plain_len: 4984,
        };
        cache.put(&ChunkId([1; 32]), &frame);
        cache
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_cache_gives_way_where_it_is_on_the_disk_that_is_full_and_nowhere_else() {
        let dir = tempfile::tempdir().expect("a directory");
        let elsewhere = tempfile::tempdir_in("/dev/shm").expect("a disk in memory");
        let here = with_full_disks(dir.path(), &dir.path().join("cache"));
        let there = with_full_disks(dir.path(), elsewhere.path());
        assert!(!are_on_one_disk(dir.path(), elsewhere.path()));
        for (settings, gives_way) in [(&here, true), (&there, false)] {
            drop(filled(settings));
            assert_eq!(cache_gives_way(settings), gives_way);
            let cache = Cache::open(&settings.cache_dir(), settings.cache_bytes_max);
            let held = cache.expect("opens").usage().bytes;
            assert_eq!(held == 0, gives_way, "{held} bytes are left");
        }
        let roomy = Settings {
            reserve_bytes: 0,
            ..here
        };
        drop(filled(&roomy));
        assert!(!cache_gives_way(&roomy));
    }
}
