//! `ods sync`: the index follows the journal, or is made again from Discord.

use std::fs::File;
use std::path::Path;

use anyhow::Result;
use clap::Args;

use crate::cli::exit::Code;
use crate::cli::exit::OrFault;
use crate::cli::exit::fault;
use crate::cli::paths::Paths;
use crate::cli::progress;
use crate::cli::render::counted;
use crate::cli::target::Target;
use crate::cli::work;
use crate::cli::work::Where;
use crate::service::Job;
use crate::service::Stats;
use crate::size::Bytes;

/// Follow the journal on Discord; with --reset, make the index again from nothing but Discord
///
/// For a drive that is not mounted: a mounted one is up to date. What waits in the spool stays there and is
/// uploaded by the next mount.
#[derive(Debug, Args)]
pub(crate) struct Sync {
    /// Throw this machine's index away first
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
    let Target::Idle { state_dir, .. } = &target else {
        return match args.reset {
            true => Err(fault(
                Code::State,
                "the drive is mounted; `ods umount` first, then make its index again",
            )),
            false => {
                progress::note("the drive is mounted, so its index is up to date");
                Ok(())
            }
        };
    };
    if args.reset {
        remove_index(state_dir)?;
    }
    let answer = work::run(target.clone(), Job::Stats, &args.at, config)?;
    let stats: Stats = serde_json::from_value(answer.clone())?;
    match args.json {
        true => progress::answer(&serde_json::to_string_pretty(&answer)?),
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

/// Removes the index of a drive that nobody uses; it is never the only copy of anything.
pub(crate) fn remove_index(state_dir: &Path) -> Result<()> {
    let cannot = || format!("cannot use {}", state_dir.display());
    let path = state_dir.join("lock");
    let lock = match File::open(&path) {
        Ok(lock) => lock,
        // Nothing was ever opened here.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).or_fault(Code::State, cannot),
    };
    if lock.try_lock().is_err() {
        return Err(fault(
            Code::State,
            format!("{} is in use by another ods process", state_dir.display()),
        ));
    }
    match std::fs::remove_dir_all(state_dir.join("index")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).or_fault(Code::Disk, cannot)
        }
        _ => Ok(()),
    }
}
