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
    /// Directory of the drive, `/` for the top one, or an archive [default: all archives]
    #[arg(value_name = "PATH|#ID")]
    pub(crate) what: Option<String>,
    /// Modes, owners, sizes and times too
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
    progress::answer(&match (args.json, archives.archives.is_empty()) {
        (true, _) => serde_json::to_string_pretty(&answer)?,
        (false, true) => String::from("there is no archive yet"),
        (false, false) => table::archives(&archives.archives),
    });
    Ok(())
}

fn directory(args: &List, what: &str, config: Option<&Path>) -> Result<()> {
    let (target, wish) = work::point(what, &args.at, config)?;
    let path = match wish {
        service::Target::Path(path) => path,
        wish => path_of(&target, wish, &args.at, config)?,
    };
    let job = Job::List {
        path,
        skip: 0,
        limit: 0,
    };
    let answer = work::run(target, job, &args.at, config)?;
    let listing: Listing = serde_json::from_value(answer.clone())?;
    progress::answer(&match (args.json, args.long) {
        (true, _) => serde_json::to_string_pretty(&answer)?,
        (false, true) => table::columns(&listing.entries.iter().map(row).collect::<Vec<_>>()),
        (false, false) => listing
            .entries
            .iter()
            .map(|entry| format!("{}\n", shown(entry)))
            .collect(),
    });
    Ok(())
}

/// The directory of an archive.
fn path_of(
    target: &Target,
    wish: service::Target,
    at: &Where,
    config: Option<&Path>,
) -> Result<Vec<u8>> {
    let job = Job::Info { target: wish };
    let answer = work::run(target.clone(), job, at, config)?;
    let infos: Vec<service::Info> = serde_json::from_value(answer)?;
    Ok(infos
        .into_iter()
        .next()
        .map(|info| info.path.into_bytes())
        .unwrap_or_default())
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
