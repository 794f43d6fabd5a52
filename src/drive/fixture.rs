//! A drive for unit tests.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::codec::key::Keys;
use crate::codec::key::MasterKey;
use crate::codec::note;
use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::Settings;
use crate::drive::Watch;
use crate::drive::names::Name;
use crate::drive::names::PartName;
use crate::drive::names::Series;
use crate::id::DriveId;
use crate::id::EpochNo;
use crate::store::Object;
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
    open_until(settings, store, watch, &Notify::new()).await
}

pub(crate) async fn open_until<S: Store>(
    settings: Settings,
    store: &Arc<S>,
    watch: Watch<'_>,
    interrupt: &Notify,
) -> Result<Arc<Drive>, Error> {
    let id = DriveId([7; 16]);
    let keys = Keys::derive(&MasterKey::from_bytes([9; 32]), id);
    let store = Arc::clone(store) as Arc<dyn Store>;
    Drive::open_until(settings, id, keys, store, watch, interrupt).await
}

/// Puts something that is no segment under the name of one of this epoch.
pub(in crate::drive) async fn pretend(drive: &Drive, epoch: EpochNo) {
    let name = PartName {
        series: Series::Segment,
        epoch,
        attempt: [1; 8],
        part: 0,
        last: true,
    };
    let object = Object {
        name: Name::Part(name).text(),
        body: note::seal_note(&drive.keys, "no segment", &[0; 512]).expect("short"),
    };
    let shelf = drive.store.journal();
    let put = drive.store.put(&shelf, vec![object]).await;
    put.expect("taken");
}
