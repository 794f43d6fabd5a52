//! `ods sync`: the index follows the journal, or is made again from Discord.

use std::path::Path;

use anyhow::Result;
use clap::Args;

use crate::cli::exit::Code;
use crate::cli::exit::fault;
use crate::cli::paths::Paths;
use crate::cli::progress;
use crate::cli::render::counted;
use crate::cli::target::Target;
use crate::cli::work;
use crate::cli::work::Where;
use crate::drive::Begin;
use crate::service::Job;
use crate::service::Stats;
use crate::size::Bytes;

/// Follow the journal on Discord; with --reset, make the index again from nothing but Discord
///
/// For a drive that is not mounted: a mounted one is up to date. What waits in the spool stays there and is
/// uploaded by the next mount.
#[derive(Debug, Args)]
pub(crate) struct Sync {
    /// Make this machine's index again; the one it has goes when that is done, and stays if it cannot be
    #[arg(long)]
    pub(crate) reset: bool,
    /// Answer in JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: Where,
}

/// Runs the command.
pub(crate) fn run(args: &Sync, config: Option<&Path>) -> Result<()> {
    let target = Target::find(&Paths::find(config)?, args.at.drive.as_deref())?;
    let is_mounted = !matches!(target, Target::Idle { .. });
    let begin = match args.reset {
        true if is_mounted => {
            return Err(fault(
                Code::State,
                "the drive is mounted; `ods umount` first, then make its index again",
            ));
        }
        true => Begin::Anew,
        false => Begin::Kept,
    };
    let answer = work::run_on(target, Job::Stats, begin, &args.at, config)?;
    let stats: Stats = serde_json::from_value(answer.clone())?;
    match args.json {
        false if is_mounted => {
            progress::note("the drive is mounted, so its index is up to date");
        }
        true => progress::answer(&serde_json::to_string_pretty(&answer)?)?,
        false => progress::note(&format!(
            "the index is that of epoch {}: {} with {} in {}",
            stats.epoch,
            counted(stats.files, "file"),
            Bytes(stats.bytes),
            counted(stats.archives, "archive")
        )),
    }
    Ok(())
}
