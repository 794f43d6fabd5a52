//! `ods info`: everything about an archive, a directory or a file.

use std::path::Path;

use anyhow::Result;
use clap::Args;

use crate::cli::progress;
use crate::cli::render::counted;
use crate::cli::table;
use crate::cli::work;
use crate::cli::work::Where;
use crate::service::ArchiveInfo;
use crate::service::Info;
use crate::service::Job;
use crate::size::Bytes;

/// Show everything about an archive, a directory or a file: sizes, chunks, packs, what is saved, where it is
#[derive(Debug, Args)]
pub(crate) struct About {
    /// Archive (#DDMMYY-NN), range of archives, or path
    #[arg(value_name = "#ID|PATH")]
    pub(crate) what: String,
    /// Answer in JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: Where,
}

/// Runs the command.
pub(crate) fn run(args: &About, config: Option<&Path>) -> Result<()> {
    let (drive, target) = work::point(&args.what, &args.at, config)?;
    let answer = work::run(drive, Job::Info { target }, &args.at, config)?;
    let infos: Vec<Info> = serde_json::from_value(answer.clone())?;
    progress::answer(&match args.json {
        true => serde_json::to_string_pretty(&answer)?,
        false => infos.iter().map(page).collect::<Vec<_>>().join("\n"),
    })?;
    Ok(())
}

fn page(info: &Info) -> String {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut line = |label: &str, text: String| {
        if !text.is_empty() {
            rows.push(vec![label.to_owned(), text]);
        }
    };
    line(&info.kind, table::escaped(&info.target));
    if let Some(archive) = &info.archive {
        described(archive, info.kind == "archive", &mut line);
    }
    line(
        "content",
        format!("{}, {}", counted(info.files, "file"), Bytes(info.bytes)),
    );
    line(
        "stored",
        format!(
            "{} with {}, {} sealed, in {}",
            counted(info.chunks, "chunk"),
            Bytes(info.chunk_bytes),
            Bytes(info.sealed_bytes),
            counted(info.packs, "pack")
        ),
    );
    line(
        "saved",
        format!(
            "{} by deduplication, {} by compression",
            table::percent(info.dedup_saving),
            table::percent(info.compression_saving)
        ),
    );
    if info.kind != "archive" {
        line("changed", table::when(info.mtime_s));
        line(
            "mode",
            format!("{:o}, owner {}, group {}", info.mode, info.uid, info.gid),
        );
    }
    line("state", info.state.clone());
    for (id, address) in &info.places {
        line("where", format!("{id} {address}"));
    }
    table::columns(&rows)
}

fn described(archive: &ArchiveInfo, is_whole: bool, line: &mut impl FnMut(&str, String)) {
    if !is_whole {
        line("archive", archive.id.clone());
        return;
    }
    line("directory", table::escaped(&archive.directory));
    line("title", table::escaped(&archive.title));
    line("tags", table::tags(&archive.tags));
    for text in archive.description.lines() {
        line("text", table::escaped(text));
    }
    line("lot", archive.lot.to_string());
    line("created", table::day(archive.created_s));
    line(
        "changed",
        archive.changed_s.map(table::when).unwrap_or_default(),
    );
    line("status", table::state(archive.state));
}
