//! `ods stats`: numbers of the whole drive.

use std::path::Path;

use anyhow::Result;
use clap::Args;

use crate::cli::paths::Paths;
use crate::cli::progress;
use crate::cli::table;
use crate::cli::target::Target;
use crate::cli::work;
use crate::cli::work::Where;
use crate::service::Job;
use crate::service::Stats;
use crate::size::Bytes;

/// Show numbers of the whole drive: files, chunks, packs, what deduplication and compression save
#[derive(Debug, Args)]
pub(crate) struct StatsArgs {
    /// Answer in JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: Where,
}

/// Runs the command.
pub(crate) fn run(args: &StatsArgs, config: Option<&Path>) -> Result<()> {
    let target = Target::find(&Paths::find(config)?, args.at.drive.as_deref())?;
    let answer = work::run(target, Job::Stats, &args.at, config)?;
    let stats: Stats = serde_json::from_value(answer.clone())?;
    progress::answer(&match args.json {
        true => serde_json::to_string_pretty(&answer)?,
        false => page(&stats),
    })?;
    Ok(())
}

fn page(stats: &Stats) -> String {
    let row = |label: &str, text: String| vec![label.to_owned(), text];
    let mut rows = vec![
        row("archives", stats.archives.to_string()),
        row("files", format!("{}, {}", stats.files, Bytes(stats.bytes))),
        row(
            "chunks",
            format!(
                "{}, {}, {} sealed",
                stats.chunks,
                Bytes(stats.chunk_bytes),
                Bytes(stats.sealed_bytes)
            ),
        ),
        row(
            "packs",
            format!("{}, {}", stats.packs, Bytes(stats.pack_bytes)),
        ),
        row(
            "saved",
            format!(
                "{} by deduplication, {} by compression",
                table::percent(stats.dedup_saving),
                table::percent(stats.compression_saving)
            ),
        ),
        row("history", format!("epoch {}", stats.epoch)),
        row("requests", stats.requests.to_string()),
    ];
    if stats.waiting_bytes > 0 {
        rows.push(row("to upload", Bytes(stats.waiting_bytes).to_string()));
    }
    if stats.buried_bytes > 0 {
        rows.push(row("buried", Bytes(stats.buried_bytes).to_string()));
    }
    table::columns(&rows)
}
