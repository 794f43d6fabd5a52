//! `ods resume`: copies that something ended go on.

use std::path::Path;

use anyhow::Result;
use clap::Args;

use crate::cli::paths::Paths;
use crate::cli::progress;
use crate::cli::target::Target;
use crate::cli::transfers;
use crate::cli::work::Where;
use crate::service::Copied;

/// Go on with uploads and downloads that were interrupted
///
/// Everything that a mounted drive has taken, it uploads by itself, also after a crash. This goes on with
/// `ods upload` and `ods download` where they stopped.
#[derive(Debug, Args)]
pub(crate) struct Resume {
    /// Only tell what there is to go on with
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Answer in JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: Where,
}

/// Runs the command.
pub(crate) fn run(args: &Resume, config: Option<&Path>) -> Result<()> {
    let target = Target::find(&Paths::find(config)?, args.at.drive.as_deref())?;
    let unfinished = transfers::unfinished(&target);
    if args.dry_run {
        let whats: Vec<&str> = unfinished.iter().map(|one| one.what.as_str()).collect();
        progress::answer(&match (args.json, whats.is_empty()) {
            (true, _) => serde_json::to_string_pretty(&whats)?,
            (false, true) => String::from("nothing was interrupted"),
            (false, false) => whats.join("\n"),
        });
        return Ok(());
    }
    let mut answers = Vec::new();
    for transfer in &unfinished {
        progress::note(&transfer.what);
        let job = transfer.job.clone();
        let answer = transfers::once(&target, &transfer.what, job, &args.at, config)?;
        let copied: Copied = serde_json::from_value(answer.clone())?;
        progress::note(&transfers::page(&copied, "copied"));
        answers.push(answer);
        transfers::judge(&copied)?;
    }
    if args.json {
        progress::answer(&serde_json::to_string_pretty(&answers)?);
    } else if unfinished.is_empty() {
        progress::note("nothing was interrupted");
    }
    Ok(())
}
