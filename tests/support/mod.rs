//! A drive on a store in memory, really mounted, and system calls that answer with an errno.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

pub mod sys;

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ods::codec::key::Keys;
use ods::codec::key::MasterKey;
use ods::drive::Drive;
use ods::drive::Error;
use ods::drive::Settings;
use ods::drive::Takeover;
use ods::fs::Fs;
use ods::fs::Options;
use ods::fuse;
use ods::fuse::MountOptions;
use ods::fuse::Session;
use ods::id::DriveId;
use ods::store::Store;
use ods::store::faulty::Faulty;
use ods::store::memory::Memory;
use tempfile::TempDir;
use tokio::runtime::Runtime;

const DRIVE: DriveId = DriveId([7; 16]);

/// A store in memory that fails as told.
pub type Fallible = Faulty<Memory>;

/// When what is written goes to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drain {
    /// When a test says so.
    OnDemand,
    /// All the time, beside the test.
    AtOnce,
}

/// A mounted drive. Dropping it takes the mount away, whatever happened.
pub struct Mounted {
    session: Option<Arc<Session>>,
    drive: Option<Arc<Drive>>,
    pub store: Arc<Fallible>,
    runtime: Option<Runtime>,
    state: PathBuf,
    path: PathBuf,
    drain: Drain,
    _dir: Option<TempDir>,
}

pub fn settings(state: &Path, drain: Drain) -> Settings {
    let (linger, age_max) = match drain {
        Drain::OnDemand => (Duration::from_secs(3600), Duration::from_secs(3600)),
        Drain::AtOnce => (Duration::from_millis(5), Duration::from_millis(20)),
    };
    Settings {
        reserve_bytes: 0,
        linger,
        age_max,
        ..Settings::new(state.to_owned())
    }
}

pub fn open(runtime: &Runtime, settings: Settings, store: &Arc<Fallible>) -> Arc<Drive> {
    let keys = Keys::derive(&MasterKey::from_bytes([9; 32]), DRIVE);
    let open = || {
        let store = Arc::clone(store) as Arc<dyn Store>;
        runtime.block_on(Drive::open(
            settings.clone(),
            DRIVE,
            keys.clone(),
            store,
            &|_| {},
        ))
    };
    // A drive that was closed a moment ago may still be held by its last thread.
    for _ in 0..LOOKS_MAX {
        match open() {
            Err(Error::State(why)) if why.contains("in use by another") => std::thread::yield_now(),
            opened => return opened.expect("the drive opens"),
        }
    }
    panic!("the state directory stays in use")
}

const LOOKS_MAX: u32 = 100_000;

pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// What a system disk would have.
pub fn options() -> MountOptions {
    MountOptions {
        allow_other: true,
        devices: true,
        set_ids: true,
        ..MountOptions::default()
    }
}

impl Mounted {
    /// A new drive, mounted.
    pub fn new() -> Mounted {
        Mounted::with(Drain::OnDemand, Options::default(), &options())
    }

    /// A new drive whose drain runs beside the test.
    pub fn draining() -> Mounted {
        Mounted::with(Drain::AtOnce, Options::default(), &options())
    }

    /// A new drive with a spool of this size.
    pub fn with_spool(drain: Drain, spool_bytes_max: u64) -> Mounted {
        let limit = |settings| Settings {
            spool_bytes_max,
            write_timeout: Duration::from_secs(1),
            ..settings
        };
        Mounted::made(drain, limit, Options::default(), &options())
    }

    pub fn with(drain: Drain, present: Options, mount: &MountOptions) -> Mounted {
        Mounted::made(drain, |settings| settings, present, mount)
    }

    fn made(
        drain: Drain,
        change: impl FnOnce(Settings) -> Settings,
        present: Options,
        mount: &MountOptions,
    ) -> Mounted {
        let dir = TempDir::new().expect("a temporary directory");
        let (state, path) = (dir.path().join("state"), dir.path().join("mount"));
        std::fs::create_dir(&path).expect("a mount point");
        let store = Arc::new(Fallible::default());
        let mut mounted = Mounted::at(change(settings(&state, drain)), path, store, present, mount);
        mounted._dir = Some(dir);
        mounted.drain = drain;
        mounted
    }

    /// A drive whose state is in `settings`, mounted at `path`; mounted again, it drains on demand.
    pub fn at(
        settings: Settings,
        path: PathBuf,
        store: Arc<Fallible>,
        present: Options,
        mount: &MountOptions,
    ) -> Mounted {
        let runtime = runtime();
        let state = settings.state_dir.clone();
        let drive = open(&runtime, settings, &store);
        let fs = Arc::new(Fs::new(drive.clone(), present));
        fs.recover().expect("what was left open goes");
        let session = fuse::mount(fs, &path, mount).expect("this machine can mount FUSE");
        Mounted {
            session: Some(Arc::new(session)),
            drive: Some(drive),
            store,
            runtime: Some(runtime),
            state,
            path,
            drain: Drain::OnDemand,
            _dir: None,
        }
    }

    /// The mount point.
    pub fn root(&self) -> &Path {
        &self.path
    }

    /// A path in the mount.
    pub fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub fn drive(&self) -> &Arc<Drive> {
        self.drive.as_ref().expect("open")
    }

    pub fn session(&self) -> &Arc<Session> {
        self.session.as_ref().expect("mounted")
    }

    /// Waits until the store has everything.
    pub fn flush(&self) {
        // What the kernel has forgotten by now goes first.
        self.session().fs().sweep();
        self.drive().flush(|| true).expect("the store takes it");
    }

    /// Unmounts, closes, forgets the cache if asked to, opens and mounts again.
    pub fn remount(&mut self, forget: Forget) {
        let _no_forks = sys::FORKS
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        self.unmount();
        if forget == Forget::Everything {
            std::fs::remove_dir_all(&self.state).expect("the state goes");
        }
        let mut settings = settings(&self.state, self.drain);
        if forget == Forget::Everything {
            // What the last handles let go of after the flush is unpublished, and is given up.
            settings.takeover = Takeover::Force;
        }
        let fresh = Mounted::at(
            settings,
            self.path.clone(),
            self.store.clone(),
            Options::default(),
            &options(),
        );
        let mut old = std::mem::replace(self, fresh);
        self._dir = old._dir.take();
        self.drain = old.drain;
    }

    fn unmount(&mut self) {
        if let Some(session) = self.session.take() {
            let unmounted = session.unmount();
            if std::thread::panicking() || !matches!(unmounted, Ok(fuse::Unmounted::Clean)) {
                let _ = sys::detach(&self.path);
            }
            drop(session.wait());
        }
        if let Some(runtime) = self.runtime.take() {
            if let Some(drive) = &self.drive {
                runtime.block_on(close(drive.clone()));
            }
            runtime.shutdown_timeout(Duration::from_secs(10));
            self.drive = None;
        }
    }
}

async fn close(drive: Arc<Drive>) {
    drop(tokio::spawn(async move { drive.close().await }).await);
}

/// What a remount starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forget {
    /// What the last mount left on this machine.
    Nothing,
    /// The store alone.
    Everything,
}

impl Drop for Mounted {
    fn drop(&mut self) {
        self.unmount();
    }
}
