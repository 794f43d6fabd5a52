//! `ods passphrase`: another passphrase, or another recovery key, for a drive.

use std::path::Path;

use anyhow::Result;

use crate::cli::args;
use crate::cli::config::Config;
use crate::cli::paths::Paths;
use crate::cli::progress;
use crate::cli::remote;
use crate::cli::remote::Site;
use crate::cli::remote::Unlocked;
use crate::cli::secret;
use crate::cli::secret::Typing;
use crate::codec::key::Secret;
use crate::codec::superblock::Cost;

/// Runs the command. The next superblock is found before the last one goes, so that the drive opens
/// at every moment.
pub(crate) async fn run(args: &args::Passphrase, config: Option<&Path>) -> Result<()> {
    let paths = Paths::find(config)?;
    let (name, drive) = Config::load(&paths.config)?.drive(args.drive.as_deref())?;
    let (token, _) = secret::token_text(&args.secrets, &drive)?;
    let site = Site::of(&drive, secret::token(&token)?, args.api_base.as_deref())?;
    let (old, _) = secret::passphrase_text(&args.secrets, &drive, Typing::Once)?;
    let state_dir = drive.state_dir(&name, &paths)?;
    let text = change(args, &site, &secret::secret(&old)?, &state_dir).await?;
    progress::answer(&text);
    Ok(())
}

async fn change(
    args: &args::Passphrase,
    site: &Site,
    old: &Secret,
    state_dir: &Path,
) -> Result<String> {
    let store = site.store()?;
    let Unlocked { superblock, master } = remote::unlock(&store, Some(state_dir), old).await?;
    let (next, text) = match args.recovery_key {
        true => {
            let (next, key) = superblock.with_recovery(&master);
            let text = format!("The new recovery key, shown this once:\n\n    {key}\n");
            (next, text)
        }
        false => {
            let new = secret::new_passphrase(args.new_passphrase_file.as_deref())?;
            let new = Secret::passphrase(new.to_string())?;
            let next = superblock.with_passphrase(&master, &new, Cost::default())?;
            (next, String::from("The passphrase is changed."))
        }
    };
    let unlocked = Unlocked {
        superblock: next,
        master,
    };
    remote::succeed(&store, &unlocked).await?;
    if state_dir.is_dir() {
        remote::keep_copy(state_dir, &unlocked)?;
    }
    Ok(text)
}
