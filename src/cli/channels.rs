//! `ods channels`: where on Discord the drive lies.

use std::path::Path;

use anyhow::Result;
use clap::Args;

use crate::cli::paths::Paths;
use crate::cli::progress;
use crate::cli::table;
use crate::cli::target::Target;
use crate::cli::work;
use crate::cli::work::Where;
use crate::service::Channel;
use crate::service::Job;

/// Show where on Discord the drive lies: server, channels, and the thread of each archive
#[derive(Debug, Args)]
pub(crate) struct Channels {
    /// Answer in JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: Where,
}

/// Runs the command.
pub(crate) fn run(args: &Channels, config: Option<&Path>) -> Result<()> {
    let target = Target::find(&Paths::find(config)?, args.at.drive.as_deref())?;
    let answer = work::run(target, Job::Channels, &args.at, config)?;
    let channels: Vec<Channel> = serde_json::from_value(answer.clone())?;
    let rows: Vec<Vec<String>> = channels
        .into_iter()
        .map(|channel| vec![channel.role, channel.id, channel.address])
        .collect();
    progress::answer(&match args.json {
        true => serde_json::to_string_pretty(&answer)?,
        false => table::columns(&rows),
    })?;
    Ok(())
}
