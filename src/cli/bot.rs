//! `ods bot`, and the bot beside a mount.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use anyhow::Result;

use crate::bot;
use crate::bot::Parts;
use crate::bot::Running;
use crate::bot::Settings;
use crate::cli::args;
use crate::cli::config::Config;
use crate::cli::config::DriveConfig;
use crate::cli::daemon::Listener;
use crate::cli::exit::Code;
use crate::cli::exit::fault;
use crate::cli::mounting;
use crate::cli::mounting::Plan;
use crate::cli::mounting::Signals;
use crate::cli::mounts;
use crate::cli::opening;
use crate::cli::paths;
use crate::cli::paths::Paths;
use crate::cli::progress;
use crate::cli::render;
use crate::cli::secret;
use crate::cli::sys;
use crate::cli::target::Target;
use crate::cli::work;
use crate::codec::key::Secret;
use crate::drive::Access;
use crate::drive::Drive;
use crate::import::Keys;
use crate::service::Desk;
use crate::store::discord::Messenger;

/// What is configured, with its paths as the system takes them.
pub(crate) fn settings(drive: &DriveConfig) -> Result<Settings> {
    let mut settings = drive.bot.clone().unwrap_or_default();
    for dir in settings
        .upload_dirs
        .iter_mut()
        .chain(settings.download_dir.iter_mut())
    {
        *dir = paths::expand(dir)?;
    }
    Ok(settings)
}

/// The keys of the older systems for `/migrate`: from the configured file, or from the environment.
pub(crate) fn old_keys(drive: &DriveConfig) -> Result<Keys> {
    let file = drive
        .bot
        .as_ref()
        .and_then(|bot| bot.old_key_file.as_deref());
    let file = file.map(paths::expand).transpose()?;
    secret::old_keys(file.as_deref(), None)
}

/// The bot of a drive that is being mounted, if one is wanted.
pub(crate) fn beside(plan: &Plan, desk: Desk, messenger: &Messenger) -> Option<Running> {
    let settings = plan.bot.clone()?;
    Some(bot::start(Parts {
        settings,
        desk: Arc::new(desk),
        messenger: messenger.clone(),
        drive_name: plan.name.clone(),
        state_dir: plan.state_dir.clone(),
        mountpoint: Some(plan.mountpoint.clone()).filter(|path| !path.as_os_str().is_empty()),
    }))
}

/// Runs the command.
pub(crate) fn run(args: &args::Bot, config: Option<&Path>) -> Result<()> {
    let paths = Paths::find(config)?;
    let (name, state_dir) = match Target::find(&paths, args.drive.as_deref())? {
        Target::Idle { name, state_dir } => (name, state_dir),
        Target::Mounted(running) => {
            return Err(fault(
                Code::State,
                format!(
                    "the drive `{}` is mounted at {} (process {}); its bot runs there: mount it with `ods-mount --bot`, \
                     or with `bot` among its options",
                    running.name,
                    running.mountpoint.display(),
                    running.pid
                ),
            ));
        }
        dead @ Target::Dead(_) => return dead.connect().map(drop),
    };
    let (_, drive) = Config::load(&paths.config)?.drive(Some(&name))?;
    let settings = Settings {
        old_keys: old_keys(&drive)?,
        ..settings(&drive)?
    };
    if args.register {
        bot::tell_commands_again(&state_dir);
    }
    let secrets = (&args.secrets, args.api_base.as_deref());
    let (plan, secret) = work::plan(name, state_dir, Access::Write, secrets, config)?;
    let plan = Plan {
        bot: Some(settings),
        ..plan
    };
    secret::VARIABLES.iter().for_each(|name| sys::forget(name));
    crate::cli::block_on(alone(plan, secret))
}

/// Opens the drive, and answers until a signal comes or Discord wants no more of the bot.
async fn alone(plan: Plan, secret: Secret) -> Result<()> {
    let mut signals = Signals::listen()?;
    let store = plan.site.discord(&plan.state_dir)?;
    let listener = Listener::Terminal;
    let opened = opening::open(&plan, Arc::clone(&store), secret, listener, &mut signals).await?;
    let drive =
        opened.ok_or_else(|| fault(Code::Interrupted, "interrupted before the drive was open"))?;
    let desk = Desk::alone(Arc::clone(&drive)).with_mounts(mounts::all);
    let Some(mut bot) = beside(&plan, desk, &store.messenger()) else {
        return Ok(());
    };
    progress::note(&format!(
        "the bot of {} is at work; Ctrl-C ends it",
        plan.name
    ));
    let result = tokio::select! {
        ended = bot.ended() => ended.map_err(anyhow::Error::from),
        () = signals.next() => {
            drop(bot.stop().await);
            flush(&drive, &mut signals).await
        }
    };
    mounting::close(&drive).await;
    progress::clear();
    result
}

/// Brings everything to Discord; another signal ends that.
async fn flush(drive: &Arc<Drive>, signals: &mut Signals) -> Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    let flushing = tokio::task::spawn_blocking({
        let (drive, stop) = (Arc::clone(drive), Arc::clone(&stop));
        move || drive.flush_whole(|| !stop.load(Ordering::SeqCst))
    });
    let mut flushing = std::pin::pin!(flushing);
    tokio::select! {
        done = &mut flushing => return Ok(done??),
        () = signals.next() => stop.store(true, Ordering::SeqCst),
    }
    drop(flushing.await);
    let left = drive.status().map(|status| render::left(&status));
    let left = left.unwrap_or_else(|_| String::from("some changes"));
    Err(fault(
        Code::Kept,
        format!("stopped at once: {left} are not on Discord yet; the spool keeps them"),
    ))
}
