//! A drive on the emulator, mounted in this process, that publishes when a test says so.

#![allow(
    dead_code,
    clippy::cast_possible_truncation,
    reason = "each suite uses a part of it"
)]

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ods::codec::key::Keys;
use ods::codec::key::MasterKey;
use ods::drive::Drive;
use ods::drive::Settings;
use ods::emulator::Counts;
use ods::fs::Fs;
use ods::fs::Options;
use ods::fuse;
use ods::fuse::MountOptions;
use ods::fuse::Session;
use ods::id::DriveId;
use ods::store::discord::Discord;
use tempfile::TempDir;

use crate::discord::Place;

/// A drive on the emulator, mounted; dropping it unmounts.
pub(crate) struct Mount {
    session: Session,
    pub(crate) drive: Arc<Drive>,
    state: TempDir,
    dir: TempDir,
}

impl Mount {
    pub(crate) async fn new(place: &Place) -> Mount {
        Mount::with(place.store(), |settings| settings).await
    }

    /// With another way to the emulator, and other settings.
    pub(crate) async fn with(store: Discord, change: impl FnOnce(Settings) -> Settings) -> Mount {
        let (state, dir) = (
            TempDir::new().expect("a directory"),
            TempDir::new().expect("a directory"),
        );
        let drive = DriveId([5; 16]);
        let keys = Keys::derive(&MasterKey::from_bytes([6; 32]), drive);
        let settings = change(Settings {
            reserve_bytes: 0,
            linger: Duration::from_secs(3600),
            age_max: Duration::from_secs(3600),
            ..Settings::new(state.path().to_owned())
        });
        let store = Arc::new(store);
        let drive = Drive::open(settings, drive, keys, store, &|_| {})
            .await
            .expect("the drive opens");
        let fs = Arc::new(Fs::new(Arc::clone(&drive), Options::default()));
        let session = fuse::mount(fs, dir.path(), &MountOptions::default()).expect("FUSE mounts");
        Mount {
            session,
            drive,
            state,
            dir,
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    /// Runs something that uses the mount, away from the tasks that serve it.
    pub(crate) async fn work<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> R + Send + 'static,
    ) -> R {
        let path = self.path();
        tokio::task::spawn_blocking(move || work(&path))
            .await
            .expect("the work is done")
    }

    pub(crate) async fn flush(&self) {
        let drive = Arc::clone(&self.drive);
        tokio::task::spawn_blocking(move || drive.flush(|| true))
            .await
            .expect("the flush does not panic")
            .expect("the flush works");
    }

    /// Unmounts, gives the lease back and forgets everything local.
    pub(crate) async fn lose(self) {
        let Mount {
            session,
            drive,
            state,
            dir,
        } = self;
        tokio::task::spawn_blocking(move || session.unmount())
            .await
            .expect("no panic")
            .expect("unmounted");
        drive.close().await;
        drop((drive, state, dir));
    }
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

/// What it cost, for whoever reads along.
pub(crate) fn told(what: &str, counts: &Counts) {
    println!(
        "{what}: {} requests, {:?}; {} from the CDN, {} bytes of it",
        counts.requests, counts.routes, counts.cdn_requests, counts.bytes_served
    );
}
