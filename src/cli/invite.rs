//! `ods invite`: the link that lets the bot into a server.

use std::path::Path;

use anyhow::Result;

use crate::cli::args;
use crate::cli::config::Config;
use crate::cli::paths::Paths;
use crate::cli::progress;
use crate::cli::remote::Site;
use crate::cli::secret;

/// Runs the command.
pub(crate) async fn run(args: &args::Invite, config: Option<&Path>) -> Result<()> {
    let paths = Paths::find(config)?;
    let config = Config::load(&paths.config)?;
    let drive = match (args.drive.as_deref(), config.drive.is_empty()) {
        (None, true) => crate::cli::config::DriveConfig::default(),
        (name, _) => config.drive(name)?.1,
    };
    let (token, _) = secret::token_text(&args.secrets, &drive)?;
    let site = Site::of(&drive, secret::token(&token)?, args.api_base.as_deref())?;
    progress::answer(&site.setup()?.bot().await?.invite())?;
    Ok(())
}
