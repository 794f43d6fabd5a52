//! `ods backup`: the index of the drive, sealed, to Discord or into a file.

use std::path::Path;

use anyhow::Result;
use clap::Args;

use crate::cli::mounts;
use crate::cli::paths::Paths;
use crate::cli::progress;
use crate::cli::target::Target;
use crate::cli::work;
use crate::cli::work::Where;
use crate::service;
use crate::service::BackupTo;
use crate::service::HostPath;
use crate::service::Job;
use crate::size::Bytes;

/// Back the index up, sealed: which files there are, and where on Discord their contents lie
///
/// Discord always has it, because the journal is there; this writes a fresh checkpoint, which makes a new
/// machine's beginning short, or a file for the day on which the journal channel is gone. See `ods restore`.
#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// `discord`, or a file of this machine, which is replaced; nothing but a file is
    #[arg(long, value_name = "FILE|discord", default_value = "discord")]
    pub(crate) to: String,
    /// Answer in JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: Where,
}

/// Runs the command.
pub(crate) fn run(args: &Backup, config: Option<&Path>) -> Result<()> {
    let target = Target::find(&Paths::find(config)?, args.at.drive.as_deref())?;
    let to = match args.to.as_str() {
        "discord" => BackupTo::Discord,
        file => BackupTo::File(HostPath::from(mounts::resolve(Path::new(file)).as_path())),
    };
    let answer = work::run(target, Job::Backup { to }, &args.at, config)?;
    let backup: service::Backup = serde_json::from_value(answer.clone())?;
    match args.json {
        true => progress::answer(&serde_json::to_string_pretty(&answer)?)?,
        false => progress::note(&format!(
            "backed up as of epoch {}: {}",
            backup.epoch,
            Bytes(backup.bytes)
        )),
    }
    Ok(())
}
