//! `ods passphrase`: another passphrase, or another recovery key, for a drive.

use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;
use anyhow::Result;
use clap::Args;

use crate::cli::config::Config;
use crate::cli::exit::Code;
use crate::cli::exit::OrFault;
use crate::cli::paths;
use crate::cli::paths::Paths;
use crate::cli::progress;
use crate::cli::remote;
use crate::cli::remote::Site;
use crate::cli::remote::Unlocked;
use crate::cli::secret;
use crate::cli::secret::SecretArgs;
use crate::cli::secret::Typing;
use crate::cli::succession;
use crate::codec::key::Secret;
use crate::codec::superblock::Cost;
use crate::codec::superblock::Superblock;

/// Change the passphrase; nothing has to be uploaded again
#[derive(Debug, Args)]
pub(crate) struct Passphrase {
    /// Drive [default: the default drive]
    pub(crate) drive: Option<String>,
    /// File with the new passphrase [or: ODS_NEW_PASSPHRASE in the environment]
    #[arg(long, value_name = "FILE")]
    pub(crate) new_passphrase_file: Option<PathBuf>,
    /// Make a new recovery key instead, and show it once; the old one opens nothing any more
    #[arg(long)]
    pub(crate) recovery_key: bool,
    /// Answer in JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) secrets: SecretArgs,
    /// Where Discord is; for the emulator
    #[arg(long, value_name = "URL", env = "ODS_API_BASE")]
    pub(crate) api_base: Option<String>,
}

/// Runs the command. The next superblock is found before the last one goes, so that the drive opens
/// at every moment; and a new recovery key is shown before there is a superblock with it.
pub(crate) async fn run(args: &Passphrase, config: Option<&Path>) -> Result<()> {
    let paths = Paths::find(config)?;
    let (name, drive) = Config::load(&paths.config)?.drive(args.drive.as_deref())?;
    let (token, _) = secret::token_text(&args.secrets, &drive)?;
    let site = Site::of(&drive, secret::token(&token)?, args.api_base.as_deref())?;
    let (old, _) = secret::passphrase_text(&args.secrets, &drive, Typing::Once)?;
    let state_dir = drive.state_dir(&name, &paths)?;
    change(args, &site, &secret::secret(&old)?, &state_dir).await
}

async fn change(args: &Passphrase, site: &Site, old: &Secret, state_dir: &Path) -> Result<()> {
    let store = site.store()?;
    let unlocked = remote::unlock(&store, site, state_dir, old).await?;
    let has_state = state_dir.is_dir();
    if has_state {
        paths::check_writable(state_dir)?;
    }
    let next = match args.recovery_key {
        true => with_recovery(args, &unlocked)?,
        false => with_passphrase(args, &unlocked)?,
    };
    let next = Unlocked {
        superblock: next,
        ..unlocked
    };
    let left = succession::succeed(&store, &next).await.context(
        "the change is not in effect, as far as is known; keep the new secret until the old one has opened the drive",
    )?;
    if let Some(error) = left {
        warn(&format!(
            "an older superblock could not be removed, and the old secret still fits that one; \
             change it once more to try again: {error}"
        ));
    }
    if has_state && let Err(error) = succession::keep_copy(state_dir, &next) {
        warn(&format!("this machine's copy is the old one: {error:#}"));
    }
    tell(args, &next)
}

/// Says what went wrong after the change took effect, which is no failure of it.
fn warn(text: &str) {
    progress::complain("ods", &format!("the change is in effect, but {text}"));
}

fn with_recovery(args: &Passphrase, unlocked: &Unlocked) -> Result<Superblock> {
    let (next, key) = unlocked.superblock.with_recovery(&unlocked.master);
    progress::answer_once(&match args.json {
        true => {
            let mut answer = told(&next);
            answer["recovery_key"] = key.to_string().into();
            answer.to_string()
        }
        false => format!("The new recovery key, shown this once:\n\n    {key}\n"),
    })?;
    Ok(next)
}

fn with_passphrase(args: &Passphrase, unlocked: &Unlocked) -> Result<Superblock> {
    let new = secret::new_passphrase(args.new_passphrase_file.as_deref())?;
    let new = Secret::passphrase(new.to_string())?;
    let (superblock, master) = (&unlocked.superblock, &unlocked.master);
    Ok(superblock.with_passphrase(master, &new, Cost::default())?)
}

fn tell(args: &Passphrase, next: &Unlocked) -> Result<()> {
    let done = match (args.recovery_key, args.json) {
        // It was the whole answer.
        (true, true) => return Ok(()),
        (true, false) => {
            String::from("\nIt opens the drive from now on, and the old one does not.")
        }
        (false, true) => told(&next.superblock).to_string(),
        (false, false) => String::from("The passphrase is changed."),
    };
    progress::answer(&done).or_fault(Code::Disk, || String::from("the change is in effect"))
}

/// The answer for scripts.
fn told(next: &Superblock) -> serde_json::Value {
    serde_json::json!({ "id": next.drive().to_string(), "generation": next.generation() })
}
