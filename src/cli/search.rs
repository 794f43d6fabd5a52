//! `ods search`: archives by what is written about them, files by their names.

use std::path::Path;

use anyhow::Result;
use clap::Args;

use crate::cli::exit::Code;
use crate::cli::exit::fault;
use crate::cli::paths::Paths;
use crate::cli::progress;
use crate::cli::table;
use crate::cli::target::Target;
use crate::cli::work;
use crate::cli::work::Where;
use crate::service::Found;
use crate::service::Job;
use crate::size::Bytes;

/// Find archives by id, title, tags, description and directory, and files by their names
#[derive(Debug, Args)]
pub(crate) struct Search {
    /// Words that must all be there, whatever their case; a word with * or ? is a pattern for a whole name
    #[arg(required = true, value_name = "WORD")]
    pub(crate) words: Vec<String>,
    /// Files to show at most; 0 for all
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub(crate) limit: usize,
    /// Answer in JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: Where,
}

/// Runs the command.
pub(crate) fn run(args: &Search, config: Option<&Path>) -> Result<()> {
    let target = Target::find(&Paths::find(config)?, args.at.drive.as_deref())?;
    let job = Job::Search {
        text: args.words.join(" "),
        limit: args.limit,
    };
    let answer = work::run(target, job, &args.at, config)?;
    let found: Found = serde_json::from_value(answer.clone())?;
    let is_nothing = found.archives.is_empty() && found.files.is_empty();
    if args.json {
        progress::answer(&serde_json::to_string_pretty(&answer)?)?;
    } else if !is_nothing {
        progress::answer(&page(&found))?;
    }
    match is_nothing {
        true => Err(fault(Code::NotFound, "nothing was found")),
        false => Ok(()),
    }
}

fn page(found: &Found) -> String {
    let mut page = table::archives(&found.archives);
    let rows: Vec<Vec<String>> = found
        .files
        .iter()
        .map(|hit| {
            let (size, end) = match hit.kind.as_str() {
                "directory" => (String::new(), "/"),
                _ => (Bytes(hit.size).to_string(), ""),
            };
            vec![
                hit.archive.clone(),
                table::when(hit.mtime_s),
                size,
                format!("/{}{end}", table::escaped(&hit.path)),
            ]
        })
        .collect();
    page.push_str(&table::columns(&rows));
    if found.more {
        page.push_str("and more; --limit shows more of them\n");
    }
    page
}
