//! `ods-mount`: from the command line to a plan.

use std::ffi::OsString;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use zeroize::Zeroizing;

use crate::bot;
use crate::cli::args;
use crate::cli::config::Config;
use crate::cli::config::DriveConfig;
use crate::cli::daemon;
use crate::cli::daemon::Handed;
use crate::cli::daemon::Listener;
use crate::cli::exit::Code;
use crate::cli::exit::fault;
use crate::cli::logger;
use crate::cli::mounting;
use crate::cli::mounting::Plan;
use crate::cli::options::Options;
use crate::cli::paths::Paths;
use crate::cli::remote::Site;
use crate::cli::secret;
use crate::cli::secret::Typing;
use crate::cli::sys;
use crate::codec::key::Secret;
use crate::import::Keys;

/// Open files that a mount may need: cache and spool keep theirs open, and there are connections and clients.
/// With fewer it would fail somewhere in the middle, perhaps without a handle for who wants to end it.
const OPEN_FILES_MIN: u64 = 512;

/// More are not needed, and some systems allow absurdly many.
const OPEN_FILES_WISH: u64 = 4096;

/// Everything about a mount but its secrets.
struct Wish {
    name: String,
    drive: DriveConfig,
    options: Options,
    mountpoint: PathBuf,
    state_dir: PathBuf,
    paths: Paths,
}

fn wish(args: &args::Mount) -> Result<Wish> {
    let open_files = sys::open_files_max(OPEN_FILES_WISH);
    if open_files < OPEN_FILES_MIN {
        return Err(fault(
            Code::Other,
            format!(
                "this process may have only {open_files} files open, and a mount needs {OPEN_FILES_MIN}: \
                 raise the limit (`ulimit -n`)"
            ),
        ));
    }
    let (name, mountpoint) = match &args.places[..] {
        [mountpoint] => (None, mountpoint),
        [name, mountpoint, ..] => (Some(name.to_string_lossy().into_owned()), mountpoint),
        [] => return Err(fault(Code::Usage, "where? Say a mount point")),
    };
    let mut said = Options::default();
    args.options.iter().try_for_each(|list| said.add(list))?;
    let paths = Paths::find(args.config.as_deref().or(said.config.as_deref()))?;
    let (name, drive) = Config::load(&paths.config)?.drive(name.as_deref())?;
    let mut options = Options::default();
    if let Some(configured) = &drive.options {
        options.add(configured)?;
    }
    args.options.iter().try_for_each(|list| options.add(list))?;
    if args.takeover {
        options.add("takeover")?;
    }
    if args.bot {
        options.add("bot")?;
    }
    if let Some(seconds) = args.read_timeout {
        options.add(&format!("read_timeout={seconds}"))?;
    }
    let state_dir = match args.state.as_deref().or(options.state.as_deref()) {
        Some(dir) => std::path::absolute(dir)?,
        None => drive.state_dir(&name, &paths)?,
    };
    Ok(Wish {
        name,
        drive,
        mountpoint: mounting::check(mountpoint, &state_dir, &options, &paths)?,
        options,
        state_dir,
        paths,
    })
}

impl Wish {
    fn plan(self, base: Option<&str>, secrets: &Handed) -> Result<(Plan, Secret)> {
        let mut site = Site::of(&self.drive, secret::token(&secrets.token)?, base)?;
        site.patience = self.options.patience;
        let plan = Plan {
            name: self.name,
            site,
            bot: match self.options.bot {
                true => Some(bot::Settings {
                    old_keys: secrets.old_keys.clone(),
                    ..crate::cli::bot::settings(&self.drive)?
                }),
                false => None,
            },
            options: self.options,
            mountpoint: self.mountpoint,
            state_dir: self.state_dir,
            paths: self.paths,
            is_demo: false,
            begin: crate::drive::Begin::Kept,
        };
        Ok((plan, secret::secret(&secrets.passphrase)?))
    }

    fn secrets(&self, args: &args::Mount) -> Result<Handed> {
        let text = |text: Zeroizing<String>| text.as_str().to_owned();
        let (token, _) = secret::token_text(&args.secrets, &self.drive)?;
        secret::token(&token)?;
        let (passphrase, _) = secret::passphrase_text(&args.secrets, &self.drive, Typing::Once)?;
        secret::secret(&passphrase)?;
        Ok(Handed {
            token: text(token),
            passphrase: text(passphrase),
            old_keys: match self.options.bot {
                true => crate::cli::bot::old_keys(&self.drive)?,
                false => Keys::default(),
            },
        })
    }
}

/// Mounts, and returns when it is mounted (`--daemon`) or when it no longer is.
pub(crate) fn run(args: &args::Mount, words: Vec<OsString>) -> Result<()> {
    let wish = wish(args)?;
    let secrets = wish.secrets(args)?;
    if args.daemon {
        let log = wish.state_dir.join(LOG);
        return daemon::launch(words, &secrets, &log);
    }
    let opener = wish.plan(args.api_base.as_deref(), &secrets)?;
    drop(secrets);
    // Neither `fusermount3` nor who looks at this process for as long as the drive is mounted needs them.
    secret::VARIABLES.iter().for_each(|name| sys::forget(name));
    serve(opener, Listener::Terminal)
}

/// Name of a daemon's log in the state directory.
pub(crate) const LOG: &str = "log";

/// The child of [`run`]: everything is as it was for the parent, and the secrets are handed over.
pub(crate) fn run_supervised(args: &args::Mount) -> Result<()> {
    let secrets = daemon::take_over()?;
    let wish = wish(args)?;
    logger::keep_short(&wish.state_dir.join(LOG));
    let opener = wish.plan(args.api_base.as_deref(), &secrets)?;
    drop(secrets);
    std::env::set_current_dir(Path::new("/"))?;
    serve(opener, Listener::Parent)
}

fn serve((plan, secret): (Plan, Secret), listener: Listener) -> Result<()> {
    crate::cli::block_on(async move { mounting::run(plan, secret, listener).await })
}

/// How long work of others may hold up the end of the process.
pub(crate) const END_MAX: Duration = Duration::from_millis(500);
