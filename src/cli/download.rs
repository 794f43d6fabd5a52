//! `ods download`: archives, directories and files of the drive come to this machine.

use std::path::Path;

use anyhow::Context;
use anyhow::Result;
use clap::Args;

use crate::cli;
use crate::cli::exit::Code;
use crate::cli::exit::fault;
use crate::cli::mounts;
use crate::cli::progress;
use crate::cli::table;
use crate::cli::transfers;
use crate::cli::upload::check;
use crate::cli::upload::consent;
use crate::cli::work;
use crate::cli::work::Where;
use crate::service::Copied;
use crate::service::Fetch;
use crate::service::HostPath;
use crate::service::Job;
use crate::service::Target;

/// Copy archives, directories or files of the drive to a directory of this machine
///
/// Each byte is checked on its way. What is there already, with the same length and time, is skipped, and what
/// was begun is gone on with, so the same command goes on after an interruption; so does `ods resume`. A file
/// gets its name when it is whole.
#[derive(Debug, Args)]
pub(crate) struct Download {
    /// What to fetch: archives (#DDMMYY-NN), ranges (#DDMMYY-NN..#DDMMYY-NN), paths in the drive; and last the
    /// directory it goes to, which is made if it is not there
    #[arg(required = true, num_args = 2.., value_names = ["#ID|PATH", "DEST"])]
    pub(crate) words: Vec<String>,
    /// Compare contents, not only lengths and times
    #[arg(long)]
    pub(crate) checksum: bool,
    /// Replace files that differ without asking
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Answer in JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: Where,
}

/// Runs the command.
pub(crate) fn run(args: &Download, config: Option<&Path>) -> Result<()> {
    let (dest, what) = args.words.split_last().context("where to")?;
    let (mut drive, mut targets): (Option<cli::target::Target>, Vec<Target>) = (None, Vec::new());
    for word in what {
        let (found, target) = work::point(word, &args.at, config)?;
        if !drive.get_or_insert_with(|| found.clone()).is_same(&found) {
            return Err(fault(
                Code::Usage,
                format!(
                    "{} lies in another drive; download from one drive at a time",
                    table::escaped(word)
                ),
            ));
        }
        targets.push(target);
    }
    let drive = drive.ok_or_else(|| fault(Code::Usage, "say what to download, and where to"))?;
    let to = mounts::resolve(Path::new(dest));
    if drive.holds(&to) {
        return Err(fault(
            Code::Usage,
            format!(
                "{} is in the drive itself; download to somewhere else",
                to.display()
            ),
        ));
    }
    let to = HostPath::from(to.as_path());
    let make = |consent| Job::Fetch {
        wish: Fetch {
            targets: targets.clone(),
            to: to.clone(),
            check: check(args.checksum),
            consent,
        },
    };
    let what = format!("download {}", args.words.join(" "));
    let answer = transfers::run(&drive, &what, make, consent(args.yes), &args.at, config)?;
    let copied: Copied = serde_json::from_value(answer.clone())?;
    match args.json {
        true => progress::answer(&serde_json::to_string_pretty(&answer)?)?,
        false => progress::note(&transfers::page(&copied, "downloaded")),
    }
    transfers::judge(&copied)
}
