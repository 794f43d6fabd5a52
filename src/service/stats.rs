//! Numbers of the whole drive, and where it lies.

use serde::Deserialize;
use serde::Serialize;

use crate::drive::Drive;
use crate::service::Error;
use crate::service::share;

/// Numbers of the whole drive, as of the last published epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// Archives whose directory is there.
    pub archives: u64,
    /// Files.
    pub files: u64,
    /// Bytes of those files.
    pub bytes: u64,
    /// Bytes of them that are not holes.
    pub stored_bytes: u64,
    /// Chunks on the store.
    pub chunks: u64,
    /// Bytes of those chunks.
    pub chunk_bytes: u64,
    /// Bytes of them compressed and sealed.
    pub sealed_bytes: u64,
    /// Packs on the store.
    pub packs: u64,
    /// Bytes of those packs.
    pub pack_bytes: u64,
    /// Share of the files' bytes that deduplication saves, 0 to 1.
    pub dedup_saving: f64,
    /// Share of the chunks' bytes that compression saves, 0 to 1.
    pub compression_saving: f64,
    /// Bytes that are only on this machine.
    pub waiting_bytes: u64,
    /// Bytes of packs that are buried and wait to be removed.
    pub buried_bytes: u64,
    /// The last published epoch.
    pub epoch: u64,
    /// Requests to Discord since the drive was opened.
    pub requests: u64,
}

/// Numbers of the whole drive.
///
/// # Errors
/// When the index cannot be read.
pub fn stats(drive: &Drive) -> Result<Stats, Error> {
    let status = drive.status()?;
    let mut stats = Stats {
        waiting_bytes: status.dirty_bytes,
        buried_bytes: status.garbage.buried_bytes,
        epoch: status.epoch,
        requests: status.discord.requests_total,
        ..Stats::default()
    };
    for entry in drive.catalogue()? {
        stats.archives += u64::from(!entry.archive.removed);
        stats.files += entry.holding.files;
        stats.bytes += entry.holding.file_bytes;
        stats.packs += entry.holding.packs;
        stats.pack_bytes += entry.holding.pack_bytes;
        stats.stored_bytes += entry.tally.stored_bytes;
        stats.chunks += entry.tally.chunks;
        stats.chunk_bytes += entry.tally.chunk_bytes;
        stats.sealed_bytes += entry.tally.sealed_bytes;
    }
    stats.dedup_saving = share::saved(stats.stored_bytes, stats.chunk_bytes);
    stats.compression_saving = share::saved(stats.chunk_bytes, stats.sealed_bytes);
    Ok(stats)
}

/// A place on the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    /// `server`, `archives`, `journal`, or an archive's id for the thread of its packs.
    pub role: String,
    /// Its id on Discord.
    pub id: String,
    /// The address that shows it.
    pub address: String,
}

/// Where the drive lies: server, channels, and the thread of each archive.
///
/// # Errors
/// When the index cannot be read.
pub fn channels(drive: &Drive) -> Result<Vec<Channel>, Error> {
    let mut channels: Vec<Channel> = drive
        .landmarks()
        .into_iter()
        .map(|landmark| Channel {
            role: landmark.role.to_owned(),
            id: landmark.id,
            address: landmark.address,
        })
        .collect();
    for entry in drive.catalogue()? {
        channels.extend(drive.shelf_address(&entry.holding).map(|address| Channel {
            role: entry.archive.id.to_string(),
            id: address.rsplit('/').next().unwrap_or_default().to_owned(),
            address,
        }));
    }
    Ok(channels)
}
