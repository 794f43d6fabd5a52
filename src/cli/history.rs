//! `ods history`: the archives that changed last.

use std::path::Path;

use anyhow::Result;
use clap::Args;

use crate::cli::paths::Paths;
use crate::cli::progress;
use crate::cli::table;
use crate::cli::target::Target;
use crate::cli::work;
use crate::cli::work::Where;
use crate::service::Archives;
use crate::service::Job;

/// Show the archives that changed last, removed ones too
#[derive(Debug, Args)]
pub(crate) struct History {
    /// How many at most; 0 for all
    #[arg(short = 'n', long, value_name = "N", default_value_t = 5)]
    pub(crate) limit: usize,
    /// Answer in JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: Where,
}

/// Runs the command.
pub(crate) fn run(args: &History, config: Option<&Path>) -> Result<()> {
    let target = Target::find(&Paths::find(config)?, args.at.drive.as_deref())?;
    let limit = args.limit;
    let answer = work::run(target, Job::History { limit }, &args.at, config)?;
    let archives: Archives = serde_json::from_value(answer.clone())?;
    progress::answer(&match (args.json, archives.archives.is_empty()) {
        (true, _) => serde_json::to_string_pretty(&answer)?,
        (false, true) => String::from("there is no archive yet"),
        (false, false) => table::archives(&archives.archives),
    })?;
    Ok(())
}
