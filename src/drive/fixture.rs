//! A drive for unit tests.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::codec::key::Keys;
use crate::codec::key::MasterKey;
use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::Settings;
use crate::drive::Watch;
use crate::id::DriveId;
use crate::store::Store;

/// Nothing is published unless a test asks for it.
pub(crate) fn settings(dir: &Path) -> Settings {
    let never = Duration::from_secs(3600);
    Settings {
        reserve_bytes: 0,
        linger: never,
        age_max: never,
        ..Settings::new(dir.to_owned())
    }
}

pub(crate) async fn open<S: Store>(
    settings: Settings,
    store: &Arc<S>,
) -> Result<Arc<Drive>, Error> {
    open_watched(settings, store, &|_| {}).await
}

pub(crate) async fn open_watched<S: Store>(
    settings: Settings,
    store: &Arc<S>,
    watch: Watch<'_>,
) -> Result<Arc<Drive>, Error> {
    let id = DriveId([7; 16]);
    let keys = Keys::derive(&MasterKey::from_bytes([9; 32]), id);
    let store = Arc::clone(store) as Arc<dyn Store>;
    Drive::open(settings, id, keys, store, watch).await
}
