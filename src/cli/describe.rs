//! `ods describe`: title, tags and description of an archive.

use std::path::Path;

use anyhow::Result;
use clap::Args;

use crate::cli::exit::Code;
use crate::cli::exit::fault;
use crate::cli::progress;
use crate::cli::table;
use crate::cli::upload::WordArgs;
use crate::cli::work;
use crate::cli::work::Where;
use crate::service::ArchiveInfo;
use crate::service::Job;

/// Write title, tags and description of an archive
///
/// What is not given stays as it is; an empty text takes away. It is part of the drive, sealed like everything
/// in it; the archive's card shows it only where the drive is mounted with `-o names`.
#[derive(Debug, Args)]
pub(crate) struct Describe {
    /// Archive (#DDMMYY-NN), range of archives, or a path, which means its archive
    #[arg(value_name = "#ID|PATH")]
    pub(crate) what: String,
    #[command(flatten)]
    pub(crate) words: WordArgs,
    /// Answer in JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: Where,
}

/// Runs the command.
pub(crate) fn run(args: &Describe, config: Option<&Path>) -> Result<()> {
    let words = args.words.words();
    if words.is_empty() {
        return Err(fault(
            Code::Usage,
            "say what to write: --title, --tags or --description",
        ));
    }
    let (drive, target) = work::point(&args.what, &args.at, config)?;
    let answer = work::run(drive, Job::Describe { target, words }, &args.at, config)?;
    let archives: Vec<ArchiveInfo> = serde_json::from_value(answer.clone())?;
    progress::answer(&match args.json {
        true => serde_json::to_string_pretty(&answer)?,
        false => table::archives(&archives),
    })?;
    Ok(())
}
