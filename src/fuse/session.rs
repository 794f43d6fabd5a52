//! A mount from beginning to end.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
#[cfg(target_os = "linux")]
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::Once;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use fuser::BackgroundSession;
use fuser::Config;
use fuser::INodeNo;
use fuser::InitFlags;
use fuser::MountOption;
use fuser::Notifier;
use fuser::SessionACL;

use crate::fs::Fs;
use crate::fs::Name;
use crate::fuse::Error;
use crate::fuse::Face;
use crate::fuse::lane;
use crate::fuse::lane::Lane;
use crate::fuse::system;
use crate::fuse::system::How;
use crate::fuse::table;
use crate::fuse::table::Identity;
use crate::fuse::unmounting::Unmounted;
use crate::id::InodeNo;

/// Start of the names of fuser's threads.
const THREAD: &str = "fuser-";

/// How far the kernel reads ahead of a program, KiB: four of its largest requests, so that a sequential
/// read has several chunks unsealed at once. Measured on two processors, reading what only the cache has:
/// 1.4 times as fast as with one request; more than four gives nothing. Only root may set it.
#[cfg(target_os = "linux")]
const READ_AHEAD_KIB: &str = "4096";

/// How to mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountOptions {
    /// Users other than the one who mounts may use it.
    pub allow_other: bool,
    /// The kernel checks permissions; without it nobody does.
    pub default_permissions: bool,
    /// Nothing can be changed.
    pub read_only: bool,
    /// Device files work.
    pub devices: bool,
    /// Set-user-id and set-group-id bits work.
    pub set_ids: bool,
    /// Programs can be run.
    pub execute: bool,
    /// The mount point may have entries, which are hidden.
    pub nonempty: bool,
    /// The helper takes the mount away when this process ends, however it ends.
    pub auto_unmount: bool,
    /// What `mount` and `df` show as the source.
    pub fsname: String,
    /// What Finder calls the volume; other systems have no such name.
    pub volname: Option<String>,
    /// Words for macFUSE that are passed on as they are, such as `noappledouble`.
    pub apple: Vec<String>,
}

impl Default for MountOptions {
    fn default() -> MountOptions {
        MountOptions {
            allow_other: false,
            default_permissions: true,
            read_only: false,
            devices: false,
            set_ids: false,
            execute: true,
            nonempty: false,
            auto_unmount: false,
            fsname: String::from("ods"),
            volname: None,
            apple: Vec::new(),
        }
    }
}

/// A mount that is served by threads of this process. Dropping it takes it away.
pub struct Session {
    pub(in crate::fuse) path: PathBuf,
    /// Which mount it is, where the system tells: others may come to lie at its path.
    pub(in crate::fuse) own: Option<Identity>,
    fs: Arc<Fs>,
    notifier: Notifier,
    background: Mutex<Option<BackgroundSession>>,
    is_over: AtomicBool,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Mounts a filesystem; it answers when this returns.
///
/// # Errors
/// [`Error`] says what is wrong and what to do about it.
pub fn mount(fs: Arc<Fs>, mountpoint: &Path, options: &MountOptions) -> Result<Session, Error> {
    let path = system::check(mountpoint, options)?;
    abort_on_panic();
    let lane = Lane::new(fs.drive().runtime().clone());
    let face = Face {
        fs: Arc::clone(&fs),
        lane,
        wanted: wanted(options),
    };
    let config = config(options);
    let direct = system::direct(&path, options)?;
    let is_direct = direct.is_some();
    let fail = |error| Error::System(path.clone(), error);
    let session = match direct {
        Some(device) => serve(face, device, config).inspect_err(|_| {
            let _ = system::unmount(&path, How::Detach);
        }),
        None => fuser::Session::new(face, &path, &config),
    };
    let session = session.map_err(|error| {
        if is_direct {
            fail(error)
        } else {
            system::explain(&path, error)
        }
    })?;
    let background = session.spawn().map_err(fail)?;
    let notifier = background.notifier();
    let session = Session {
        own: table::identity(&path),
        path,
        fs,
        notifier,
        background: Mutex::new(Some(background)),
        is_over: AtomicBool::new(false),
    };
    session.raise_read_ahead();
    Ok(session)
}

fn serve(face: Face, device: File, config: Config) -> io::Result<fuser::Session<Face>> {
    fuser::Session::from_fd(face, device.into(), config.acl, config)
}

/// What to ask the kernel for. Not `ATOMIC_O_TRUNC`, with which it would find out that a file is a
/// running program only after we have emptied it.
fn wanted(options: &MountOptions) -> InitFlags {
    if cfg!(target_os = "macos") {
        // Its protocol is older, and some of these bits mean something else there.
        return InitFlags::empty();
    }
    let acl = match options.default_permissions {
        // The kernel can check ACLs only together with modes; it leaves the umask to us then.
        true => InitFlags::FUSE_POSIX_ACL | InitFlags::FUSE_DONT_MASK,
        false => InitFlags::FUSE_DONT_MASK,
    };
    acl | InitFlags::FUSE_HANDLE_KILLPRIV_V2
        | InitFlags::FUSE_EXPORT_SUPPORT
        | InitFlags::FUSE_PARALLEL_DIROPS
        | InitFlags::FUSE_DO_READDIRPLUS
        | InitFlags::FUSE_READDIRPLUS_AUTO
        | InitFlags::FUSE_CACHE_SYMLINKS
        | InitFlags::FUSE_ASYNC_DIO
        // One writer: the cache is right until somebody says otherwise.
        | InitFlags::FUSE_EXPLICIT_INVAL_DATA
}

fn config(options: &MountOptions) -> Config {
    let mut list = vec![
        MountOption::FSName(options.fsname.clone()),
        MountOption::NoAtime,
        if options.devices {
            MountOption::Dev
        } else {
            MountOption::NoDev
        },
        if options.set_ids {
            MountOption::Suid
        } else {
            MountOption::NoSuid
        },
        if options.execute {
            MountOption::Exec
        } else {
            MountOption::NoExec
        },
    ];
    for (is_on, option) in [
        (
            cfg!(target_os = "linux"),
            MountOption::Subtype(String::from("ods")),
        ),
        (options.default_permissions, MountOption::DefaultPermissions),
        (options.read_only, MountOption::RO),
        (options.auto_unmount, MountOption::AutoUnmount),
    ] {
        list.extend(is_on.then_some(option));
    }
    if cfg!(target_os = "macos") {
        let volume = options.volname.iter().map(|name| format!("volname={name}"));
        let words = volume.chain(options.apple.iter().cloned());
        list.extend(words.map(MountOption::CUSTOM));
    }
    let mut config = Config::default();
    config.mount_options = list;
    config.acl = if options.allow_other {
        SessionACL::All
    } else {
        SessionACL::Owner
    };
    config.n_threads = Some(if cfg!(target_os = "linux") {
        lane::THREADS
    } else {
        1
    });
    config
}

/// A panic in fuser's own code would end one of its threads; with the last, the mount would hang.
fn abort_on_panic() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            before(info);
            if std::thread::current()
                .name()
                .is_some_and(|name| name.starts_with(THREAD))
            {
                lane::give_up();
            }
        }));
    });
}

impl Session {
    /// Where it is mounted.
    #[must_use]
    pub fn mountpoint(&self) -> &Path {
        &self.path
    }

    /// What is mounted.
    #[must_use]
    pub fn fs(&self) -> &Fs {
        &self.fs
    }

    /// Waits until the mount is gone, whoever takes it away. The first call waits; others return.
    ///
    /// # Errors
    /// When a thread that served it ended otherwise.
    pub fn wait(&self) -> io::Result<()> {
        let background = self
            .background
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(background) = background else {
            return Ok(());
        };
        let ended = background.join();
        self.is_over.store(true, Ordering::SeqCst);
        self.fs.end();
        ended
    }

    /// The name means something else now, which the kernel did not do.
    pub fn name_changed(&self, at: Name<'_>) {
        let name = OsStr::from_bytes(at.name);
        if let Err(error) = self.notifier.inval_entry(INodeNo(at.parent.0), name) {
            log::debug!("the kernel keeps a name: {error}");
        }
    }

    /// Attributes and content of the inode are others now, which the kernel did not do.
    pub fn inode_changed(&self, ino: InodeNo) {
        if let Err(error) = self.notifier.inval_inode(INodeNo(ino.0), 0, 0) {
            log::debug!("the kernel keeps an inode: {error}");
        }
    }

    /// Is the mount gone, and everybody who used it?
    pub fn is_over(&self) -> bool {
        let background = self
            .background
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let is_finished = |session: &BackgroundSession| session.guard.is_finished();
        self.is_over.load(Ordering::SeqCst) || background.as_ref().is_some_and(is_finished)
    }

    /// Linux alone has this knob.
    fn raise_read_ahead(&self) {
        #[cfg(target_os = "linux")]
        self.set_read_ahead(READ_AHEAD_KIB);
    }

    #[cfg(target_os = "linux")]
    fn set_read_ahead(&self, kib: &str) {
        let Ok(meta) = self.path.metadata() else {
            return;
        };
        let (major, minor) = (libc::major(meta.dev()), libc::minor(meta.dev()));
        let knob = format!("/sys/class/bdi/{major}:{minor}/read_ahead_kb");
        if let Err(error) = std::fs::write(&knob, kib) {
            log::debug!("{knob}: {error}");
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let is_waited_for = self
            .background
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_none();
        if is_waited_for {
            return;
        }
        match self.unmount() {
            Ok(Unmounted::Clean) => drop(self.wait()),
            Ok(Unmounted::Detached | Unmounted::OutOfSight | Unmounted::Holds) => {}
            Err(error) => log::warn!("{error}"),
        }
    }
}
