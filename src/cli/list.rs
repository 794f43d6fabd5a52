//! `ods list`: the archives there are, or what is in a directory of the drive.

use std::path::Path;

use anyhow::Result;
use clap::Args;

use crate::cli::paint::Paint;
use crate::cli::paint::paint;
use crate::cli::paths::Paths;
use crate::cli::progress;
use crate::cli::table;
use crate::cli::target::Target;
use crate::cli::work;
use crate::cli::work::Where;
use crate::service;
use crate::service::Archives;
use crate::service::Job;
use crate::service::ListEntry;
use crate::service::Listing;
use crate::service::Query;
use crate::size::Bytes;

/// List the archives, or what is in a directory of the drive
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Directory of the drive, `/` for the top one, an archive, or a range of them [default: all archives]
    #[arg(value_name = "PATH|#ID")]
    pub(crate) what: Option<String>,
    /// Modes, owners, sizes and times too; of archives, lots, chunks, packs, savings and addresses
    #[arg(short, long)]
    pub(crate) long: bool,
    /// Answer in JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: Where,
}

/// Runs the command.
pub(crate) fn run(args: &List, config: Option<&Path>) -> Result<()> {
    match args.what.as_deref() {
        None => archives(args, config),
        Some(what) => directory(args, what, config),
    }
}

fn archives(args: &List, config: Option<&Path>) -> Result<()> {
    let target = Target::find(&Paths::find(config)?, args.at.drive.as_deref())?;
    let query = Query {
        order: service::Order::Oldest,
        ..Query::default()
    };
    let answer = work::run(target, Job::Archives { query }, &args.at, config)?;
    let archives: Archives = serde_json::from_value(answer.clone())?;
    let archives = &archives.archives[..];
    progress::answer(&match (args.json, archives, args.long) {
        (true, ..) => serde_json::to_string_pretty(&answer)?,
        (false, [], _) => String::from("there is no archive yet"),
        (false, archives, true) => table::long(archives),
        (false, archives, false) => table::archives(archives),
    })?;
    Ok(())
}

fn directory(args: &List, what: &str, config: Option<&Path>) -> Result<()> {
    let (drive, target) = work::point(what, &args.at, config)?;
    let job = Job::List {
        target,
        skip: 0,
        limit: 0,
    };
    let answer = work::run(drive, job, &args.at, config)?;
    if args.json {
        progress::answer(&serde_json::to_string_pretty(&answer)?)?;
        return Ok(());
    }
    let listings: Vec<Listing> = match answer.is_array() {
        true => serde_json::from_value(answer)?,
        false => vec![serde_json::from_value(answer)?],
    };
    let pages: Vec<String> = listings
        .iter()
        .map(|listing| match listings.len() {
            1 => page(listing, args.long),
            _ => format!(
                "/{}:\n{}",
                table::escaped(&listing.path),
                page(listing, args.long)
            ),
        })
        .collect();
    progress::answer(&pages.join("\n"))?;
    Ok(())
}

fn page(listing: &Listing, long: bool) -> String {
    match long {
        true => table::columns(&listing.entries.iter().map(row).collect::<Vec<_>>()),
        false => listing
            .entries
            .iter()
            .map(|entry| format!("{}\n", shown(entry)))
            .collect(),
    }
}

fn shown(entry: &ListEntry) -> String {
    let name = table::escaped(&entry.name);
    match entry.kind.as_str() {
        "directory" => paint(Paint::Busy, &format!("{name}/")),
        _ if entry.state == "damaged" => paint(Paint::Bad, &name),
        _ => name,
    }
}

fn row(entry: &ListEntry) -> Vec<String> {
    let kind = match entry.kind.as_str() {
        "directory" => 'd',
        "symlink" => 'l',
        "fifo" => 'p',
        "socket" => 's',
        "char" => 'c',
        "block" => 'b',
        _ => '-',
    };
    let bits: String = (0..9)
        .map(|bit| match entry.mode & (0o400 >> bit) {
            0 => '-',
            _ => ['r', 'w', 'x'][bit % 3],
        })
        .collect();
    let size = match kind {
        'd' => format!("{} entries", entry.size),
        _ => Bytes(entry.size).to_string(),
    };
    vec![
        format!("{kind}{bits}"),
        entry.uid.to_string(),
        entry.gid.to_string(),
        size,
        table::when(entry.mtime_s),
        entry.state.clone(),
        shown(entry),
    ]
}
