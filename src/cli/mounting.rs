//! A mount from beginning to end: open the drive, mount it, serve, drain, close.

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use anyhow::Result;
use tokio::signal::unix::Signal;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;
use tokio::sync::oneshot;

use crate::bot;
use crate::cli::daemon::Listener;
use crate::cli::ending;
use crate::cli::exit::Code;
use crate::cli::exit::OrFault;
use crate::cli::exit::fault;
use crate::cli::kernel::Kernel;
use crate::cli::leaving;
use crate::cli::mounted::Daemon;
use crate::cli::mounts;
use crate::cli::opening;
use crate::cli::options::Options;
use crate::cli::paths;
use crate::cli::paths::Paths;
use crate::cli::progress;
use crate::cli::protocol::SOCKET;
use crate::cli::registry;
use crate::cli::registry::Running;
use crate::cli::remote::Site;
use crate::cli::render;
use crate::cli::server;
use crate::codec::key::Secret;
use crate::drive::Access;
use crate::drive::Begin;
use crate::drive::Drive;
use crate::drive::status::Status;
use crate::fs::Fs;
use crate::fuse;
use crate::fuse::Session;
use crate::service::Desk;
use crate::store::discord::Messenger;

/// How long giving the lease back may take when the end must come at once.
const LAST_REQUESTS_MAX: Duration = Duration::from_secs(8);

/// How often the line under a mount in the foreground is drawn.
const DRAW_EVERY: Duration = Duration::from_secs(1);

/// Name of the file that says how the drive was when it was closed.
const LAST: &str = "last-status";

/// What is to be mounted, where and how.
pub(crate) struct Plan {
    pub(crate) name: String,
    pub(crate) site: Site,
    /// The bot beside the mount, if one is wanted.
    pub(crate) bot: Option<bot::Settings>,
    pub(crate) options: Options,
    pub(crate) mountpoint: PathBuf,
    pub(crate) state_dir: PathBuf,
    pub(crate) paths: Paths,
    pub(crate) is_demo: bool,
    pub(crate) begin: Begin,
}

/// Looks at the mount point before anything else is done; gives its full path. What the drive keeps on this
/// machine cannot lie below it: the mount would wait for itself.
pub(crate) fn check(
    mountpoint: &Path,
    state_dir: &Path,
    options: &Options,
    paths: &Paths,
) -> Result<PathBuf> {
    let path = mounts::resolve(mountpoint);
    let state_dir = mounts::resolve(state_dir);
    if registry::of_mount(paths, &path).is_some_and(|_| mounts::is_ours(&path)) {
        return Err(fuse::Error::Mounted(path).into());
    }
    ending::finish_all(registry::stuck(paths), &path, &state_dir);
    mounts::clear_dead(&path).or_fault(Code::Mountpoint, || {
        format!("{} is a dead mount that cannot be removed", path.display())
    })?;
    if state_dir.starts_with(&path) {
        return Err(fault(
            Code::Mountpoint,
            format!(
                "the state directory {} is inside the mount point {}; choose another mount point, or another \
                 state directory with `--state`",
                state_dir.display(),
                path.display()
            ),
        ));
    }
    Ok(fuse::check(&path, &options.mount)?)
}

/// SIGINT, SIGTERM and SIGHUP.
pub(crate) struct Signals([Signal; 3]);

impl Signals {
    pub(crate) fn listen() -> Result<Signals> {
        let on = |kind| signal(kind).context("signals");
        Ok(Signals([
            on(SignalKind::interrupt())?,
            on(SignalKind::terminate())?,
            on(SignalKind::hangup())?,
        ]))
    }

    pub(crate) async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// Mounts the drive and serves it until it is taken away, by whatever. The secret is gone from memory
/// once the drive is open.
pub(crate) async fn run(plan: Plan, secret: Secret, listener: Listener) -> Result<()> {
    let mut signals = Signals::listen()?;
    let store = plan.site.discord(&plan.state_dir)?;
    let opened = opening::open(&plan, Arc::clone(&store), secret, listener, &mut signals).await?;
    let drive =
        opened.ok_or_else(|| fault(Code::Kept, "interrupted before the drive was mounted"))?;
    let result = serve(&plan, &drive, &store.messenger(), listener, &mut signals).await;
    if result.is_err() {
        close(&drive).await;
    }
    result
}

async fn serve(
    plan: &Plan,
    drive: &Arc<Drive>,
    messenger: &Messenger,
    listener: Listener,
    signals: &mut Signals,
) -> Result<()> {
    let fs = Arc::new(Fs::new(Arc::clone(drive), plan.options.presentation()));
    let socket = plan.state_dir.join(SOCKET);
    let control = server::listen(&socket).or_fault(Code::Disk, || {
        format!("cannot listen at {}", socket.display())
    })?;
    let session = mount(plan, &fs).await?;
    let audience = Arc::new(Kernel(Arc::clone(&session)));
    let desk = Desk::mounted(Arc::clone(&fs), Arc::<Kernel>::clone(&audience));
    let desk = desk.with_mounts(mounts::all);
    let daemon = Daemon::new(
        plan.name.clone(),
        Arc::clone(&session),
        Desk::mounted(fs, audience).with_mounts(mounts::all),
    );
    server::serve(control, &daemon);
    let entry = Running {
        pid: std::process::id(),
        name: plan.name.clone(),
        is_demo: plan.is_demo,
        mountpoint: session.mountpoint().to_owned(),
        socket: socket.clone(),
        connection: mounts::connection(session.mountpoint()),
    };
    let listed = registry::enter(&plan.paths, &entry);
    if let Err(error) = &listed {
        log::warn!("commands must be told where the drive is: {error}");
    }
    let gone = watch_mount(&session);
    let mounted = format!("{} is mounted on {}", plan.name, entry.mountpoint.display());
    let result = match listener.mounted(&mounted) {
        Ok(()) => {
            let line = draw_line(&daemon, listener);
            let bot = crate::cli::bot::beside(plan, desk, messenger);
            let end = leaving::stay(gone, &daemon, &session, listener, signals).await;
            line.abort();
            if let Some(Err(error)) = end_of(bot).await {
                log::debug!("bot: {error}");
            }
            end
        }
        Err(error) => {
            drop(session.unmount());
            Err(error)
        }
    };
    close(drive).await;
    drop(listed);
    drop(std::fs::remove_file(&socket));
    daemon.end(&result);
    result
}

async fn end_of(bot: Option<bot::Running>) -> Option<Result<(), bot::Error>> {
    Some(bot?.stop().await)
}

async fn mount(plan: &Plan, fs: &Arc<Fs>) -> Result<Arc<Session>> {
    let (fs, path) = (Arc::clone(fs), plan.mountpoint.clone());
    let mut options = plan.options.mount.clone();
    options.volname.get_or_insert_with(|| plan.name.clone());
    if options.fsname == "ods" {
        options.fsname = format!("ods#{}", plan.name);
    }
    let mounting = tokio::task::spawn_blocking(move || {
        if !options.read_only {
            fs.recover()
                .context("cannot tidy up after the last mount")?;
        }
        Ok::<_, anyhow::Error>(fuse::mount(fs, &path, &options)?)
    });
    Ok(Arc::new(mounting.await??))
}

/// Tells when the mount is gone.
fn watch_mount(session: &Arc<Session>) -> oneshot::Receiver<()> {
    let (tell, gone) = oneshot::channel();
    let session = Arc::clone(session);
    std::thread::spawn(move || {
        if let Err(error) = session.wait() {
            log::warn!("the mount ended: {error}");
        }
        let _ = tell.send(());
    });
    gone
}

fn draw_line(daemon: &Arc<Daemon>, listener: Listener) -> tokio::task::JoinHandle<()> {
    use std::io::IsTerminal;
    let daemon = Arc::clone(daemon);
    tokio::spawn(async move {
        if listener == Listener::Parent || !std::io::stderr().is_terminal() {
            return;
        }
        loop {
            if let Ok(report) = tokio::task::block_in_place(|| daemon.report()) {
                progress::show(&render::one_line(&report));
            }
            tokio::time::sleep(DRAW_EVERY).await;
        }
    })
}

/// How the drive was when it was last closed; none while it is open, and when it was not ended in an orderly way.
pub(crate) fn last(state_dir: &Path) -> Option<Status> {
    let text = std::fs::read(state_dir.join(LAST)).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Forgets how the drive was: from now on that may change.
pub(crate) fn forget_last(drive: &Drive) {
    let settings = drive.settings();
    if settings.access == Access::Write {
        drop(std::fs::remove_file(settings.state_dir.join(LAST)));
    }
}

/// Writes down how a drive is that takes no more changes. One that was only read is as it was before.
fn keep_last(drive: &Drive) {
    let settings = drive.settings();
    if settings.access == Access::Write
        && let Ok(status) = drive.status()
    {
        let text = serde_json::to_vec(&status).unwrap_or_default();
        drop(paths::write_private(&settings.state_dir.join(LAST), &text));
    }
}

/// Closes the drive; gives up on what takes too long, because everything local is safe already. What changes are
/// still in the spool is sealed in any case, so that the next mount can tell whether all of it is there.
pub(crate) async fn close(drive: &Arc<Drive>) {
    let closing = tokio::spawn({
        let drive = Arc::clone(drive);
        async move { drive.close().await }
    });
    if tokio::time::timeout(LAST_REQUESTS_MAX, closing)
        .await
        .is_err()
    {
        log::warn!("Discord did not answer at the end; the lease stays until the next mount");
        drive.seal_spool().await;
    }
    keep_last(drive);
}
