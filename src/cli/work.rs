//! Long work from the command's end: through the daemon that serves the drive, or on the drive itself.
//!
//! Ctrl-C ends the work, not the command: what was done or found until then is still answered.

use std::io::IsTerminal;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::Result;
use serde_json::Value;

use crate::cli::args::DriveArgs;
use crate::cli::client::Client;
use crate::cli::config::Config;
use crate::cli::daemon::Listener;
use crate::cli::exit::Code;
use crate::cli::exit::fault;
use crate::cli::exit::told;
use crate::cli::meter::Meter;
use crate::cli::mounting;
use crate::cli::mounting::Plan;
use crate::cli::mounting::Signals;
use crate::cli::mounts;
use crate::cli::opening;
use crate::cli::options::Options;
use crate::cli::paths::Paths;
use crate::cli::progress;
use crate::cli::registry;
use crate::cli::remote::Site;
use crate::cli::render;
use crate::cli::secret;
use crate::cli::secret::SecretArgs;
use crate::cli::secret::Typing;
use crate::cli::target::Target;
use crate::codec::key::Secret;
use crate::drive::Access;
use crate::drive::Begin;
use crate::drive::Drive;
use crate::drive::scope::Scope;
use crate::drive::task::Go;
use crate::drive::task::Progress;
use crate::service;
use crate::service::Desk;
use crate::service::Job;

/// Longest that a command on a mounted drive waits for what programs changed through mappings: most have nothing to do
/// with it.
const HANDED_OVER_MAX: Duration = Duration::from_secs(10);

/// Which drive, and how to open it when it is not mounted.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Where {
    /// Drive, if it is not the default one; a path is then one from its top directory
    #[arg(long, value_name = "DRIVE")]
    pub(crate) drive: Option<String>,
    #[command(flatten)]
    pub(crate) secrets: SecretArgs,
    /// Where Discord is; for the emulator
    #[arg(long, value_name = "URL", env = "ODS_API_BASE")]
    pub(crate) api_base: Option<String>,
}

/// Finds the drive and what of it is meant, where one thing has to be named: an archive, a range of them, or a
/// path, as [`aim`] takes it.
pub(crate) fn point(
    what: &str,
    at: &Where,
    config: Option<&Path>,
) -> Result<(Target, service::Target)> {
    let wish = service::Target::parse(what)?;
    if !matches!(wish, service::Target::Path(_)) {
        let target = Target::find(&Paths::find(config)?, at.drive.as_deref())?;
        return Ok((target, wish));
    }
    let args = DriveArgs {
        what: Some(what.to_owned()),
        at: at.clone(),
    };
    let (target, scope) = aim(&args, config)?;
    Ok((
        target,
        match scope {
            Scope::Drive => service::Target::Path(Vec::new()),
            Scope::Path(path) => service::Target::Path(path),
            Scope::Archive(id) => service::Target::Archive(id),
        },
    ))
}
/// How often it is shown how much is not on Discord yet.
const SHOW_EVERY: Duration = Duration::from_millis(500);

/// Finds the drive and the part of it that is meant: nothing said is the whole drive, `#DDMMYY-NN` an
/// archive, a path in a mount that file or directory, a drive's name that drive. Any other path is one
/// from the drive's top directory.
pub(crate) fn aim(args: &DriveArgs, config: Option<&Path>) -> Result<(Target, Scope)> {
    let paths = Paths::find(config)?;
    let drive = args.at.drive.as_deref();
    let Some(what) = args.what.as_deref() else {
        return Ok((Target::find(&paths, drive)?, Scope::Drive));
    };
    if let Some(archive) = Scope::archive(what) {
        return Ok((Target::find(&paths, drive)?, archive));
    }
    if drive.is_none() {
        let path = without_links(Path::new(what));
        if let Some(around) = mounts::around(&path) {
            let target = Target::find(&paths, Some(&with_slash(&around.at)))?;
            return Ok((target, Scope::of_path(around.inside.as_os_str().as_bytes())));
        }
        let is_running = |running: &registry::Running| running.name == what;
        let is_drive = Config::load(&paths.config)?.drive.contains_key(what)
            || registry::running(&paths).iter().any(is_running);
        if is_drive {
            return Ok((Target::find(&paths, Some(what))?, Scope::Drive));
        }
    }
    let target = Target::find(&paths, drive)?;
    Ok((target, Scope::of_path(what.as_bytes())))
}

/// Finds the drive, and the directory of it that things go to: a path in a mount is that directory of that
/// drive, any other is one from the drive's top directory.
pub(crate) fn into(
    to: Option<&str>,
    drive: Option<&str>,
    config: Option<&Path>,
) -> Result<(Target, Option<Vec<u8>>)> {
    let paths = Paths::find(config)?;
    if let (Some(to), None) = (to, drive) {
        let to = Path::new(to);
        // A link here may lead into the drive, and one in the drive is refused there.
        for path in [without_links(to), mounts::resolve(to)] {
            if let Some(around) = mounts::around(&path) {
                let target = Target::find(&paths, Some(&with_slash(&around.at)))?;
                return Ok((target, Some(around.inside.as_os_str().as_bytes().to_vec())));
            }
        }
    }
    let target = Target::find(&paths, drive)?;
    Ok((target, to.map(|to| to.as_bytes().to_vec())))
}

/// A path whose last component may itself be a link, which is meant then.
pub(crate) fn without_links(path: &Path) -> PathBuf {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) if !parent.as_os_str().is_empty() => {
            mounts::resolve(parent).join(name)
        }
        (Some(_), Some(name)) => mounts::resolve(Path::new(".")).join(name),
        _ => mounts::resolve(path),
    }
}

fn with_slash(mount: &Path) -> String {
    mount.to_string_lossy().into_owned()
}

/// Does the work, wherever it can be done, and gives its answer.
pub(crate) fn run(target: Target, job: Job, args: &Where, config: Option<&Path>) -> Result<Value> {
    run_on(target, job, Begin::Kept, args, config)
}

/// The same, on this index if nobody serves the drive.
pub(crate) fn run_on(
    target: Target,
    job: Job,
    begin: Begin,
    args: &Where,
    config: Option<&Path>,
) -> Result<Value> {
    let answer = match target {
        Target::Idle { name, state_dir } => {
            let secrets = (&args.secrets, args.api_base.as_deref());
            let (mut plan, secret) = plan(name, state_dir, job.access(), secrets, config)?;
            plan.begin = begin;
            crate::cli::block_on(here(plan, secret, job))
        }
        Target::Mounted(_) | Target::Dead(_) => {
            let client = target.connect()?;
            if let Err(error) = target.write_back(Some(HANDED_OVER_MAX)) {
                progress::note(&told(&error));
            }
            crate::cli::block_on(there(client, job))
        }
    };
    progress::clear();
    answer
}

/// What is needed to open a drive that nobody serves.
pub(crate) fn plan(
    name: String,
    state_dir: PathBuf,
    access: Access,
    (secrets, api_base): (&SecretArgs, Option<&str>),
    config: Option<&Path>,
) -> Result<(Plan, Secret)> {
    let paths = Paths::find(config)?;
    let (_, drive) = Config::load(&paths.config)?.drive(Some(&name))?;
    let mut options = Options::default();
    if let Some(configured) = &drive.options {
        options.add(configured)?;
    }
    if access == Access::Read {
        options.add("ro")?;
    } else {
        options.add("rw")?;
    }
    let (token, _) = secret::token_text(secrets, &drive)?;
    let mut site = Site::of(&drive, secret::token(&token)?, api_base)?;
    site.patience = options.patience;
    let (passphrase, _) = secret::passphrase_text(secrets, &drive, Typing::Once)?;
    let plan = Plan {
        name,
        site,
        bot: None,
        options,
        mountpoint: PathBuf::new(),
        state_dir,
        paths,
        is_demo: false,
        begin: Begin::Kept,
    };
    Ok((plan, secret::secret(&passphrase)?))
}

/// In this process, on a drive that is opened for it.
async fn here(plan: Plan, secret: Secret, job: Job) -> Result<Value> {
    let mut signals = Signals::listen()?;
    let store = plan.site.discord(&plan.state_dir)?;
    let opened = opening::open(&plan, store, secret, Listener::Terminal, &mut signals).await?;
    let drive =
        opened.ok_or_else(|| fault(Code::Interrupted, "interrupted before the drive was open"))?;
    let cancel = Arc::new(AtomicBool::new(false));
    let work = tokio::task::spawn_blocking({
        let (drive, cancel) = (Arc::clone(&drive), Arc::clone(&cancel));
        move || {
            let meter = Meter::default();
            let desk = Desk::alone(Arc::clone(&drive)).with_mounts(mounts::all);
            let answer = job.run(&desk, &|progress| {
                show(&meter, progress);
                match cancel.load(Ordering::SeqCst) {
                    true => Go::Stop,
                    false => Go::On,
                }
            })?;
            if job.access() == Access::Write && !cancel.load(Ordering::SeqCst) {
                publish(&drive, &cancel)?;
                refuse_lost(&drive, &job)?;
            }
            Ok(answer)
        }
    });
    let result = until_done(work, &mut signals, || cancel.store(true, Ordering::SeqCst)).await;
    mounting::close(&drive).await;
    result
}

/// Brings what was changed to Discord: when this process ends, nobody else does.
fn publish(drive: &Drive, cancel: &AtomicBool) -> Result<()> {
    let mut shown: Option<Instant> = None;
    drive.flush(|| {
        if shown.is_none_or(|at| at.elapsed() >= SHOW_EVERY) {
            shown = Some(Instant::now());
            if let Ok(status) = drive.status() {
                progress::show(&render::draining(&status));
            }
        }
        !cancel.load(Ordering::SeqCst)
    })?;
    Ok(())
}

/// An error when some of what went to Discord was lost on the local disk before; a repair tells that in its answer.
fn refuse_lost(drive: &Drive, job: &Job) -> Result<()> {
    match job {
        Job::Repair { .. } => Ok(()),
        _ => Ok(drive.refuse_lost()?),
    }
}

/// In the daemon that serves the drive.
async fn there(client: Client, job: Job) -> Result<Value> {
    let mut signals = Signals::listen()?;
    let hanger = client.hanger()?;
    let work = tokio::task::spawn_blocking(move || {
        let meter = Meter::default();
        client.work(job, |progress| show(&meter, progress))
    });
    until_done(work, &mut signals, || hanger.hang_up()).await
}

/// Waits for the work; the first signal asks it to end, the second one does not wait for that.
async fn until_done(
    mut work: tokio::task::JoinHandle<Result<Value>>,
    signals: &mut Signals,
    end: impl Fn(),
) -> Result<Value> {
    tokio::select! {
        done = &mut work => return done.context("the work ended")?,
        () = signals.next() => end(),
    }
    tokio::select! {
        done = work => done.context("the work ended")?,
        () = signals.next() => Err(fault(Code::Interrupted, "interrupted; what was done is kept")),
    }
}

fn show(meter: &Meter, progress: &Progress) {
    if std::io::stderr().is_terminal() {
        progress::show(&meter.line(progress));
    }
}
