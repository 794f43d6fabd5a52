//! `ods upload`: files of this machine go into the drive, and to Discord.

use std::path::Path;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::cli::exit::Code;
use crate::cli::exit::fault;
use crate::cli::progress;
use crate::cli::target::Target;
use crate::cli::transfers;
use crate::cli::work;
use crate::cli::work::Where;
use crate::service::Check;
use crate::service::Consent;
use crate::service::Copied;
use crate::service::HostPath;
use crate::service::Job;
use crate::service::Put;
use crate::service::Until;
use crate::service::Words;

/// Copy files and directories into the drive, and wait until they are on Discord
///
/// A directory becomes an archive of its own, or goes below --to. What is there already, with the same length
/// and time, is skipped, so the same command goes on after an interruption; so does `ods resume`. Names,
/// contents, modes, owners, times and symbolic links are kept; for hard links, devices and extended
/// attributes, mount the drive and use cp or rsync.
#[derive(Debug, Args)]
pub(crate) struct Upload {
    /// Files and directories of this machine
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Directory of the drive to put them into, also as a path in its mount; made if it is not there [default: the top directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) to: Option<String>,
    #[command(flatten)]
    pub(crate) words: WordArgs,
    /// Compare contents, not only lengths and times
    #[arg(long)]
    pub(crate) checksum: bool,
    /// Replace files that differ without asking
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Return when this machine has it; a mounted drive goes on uploading
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// Answer in JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: Where,
}

/// What to write about an archive. It is part of the drive, sealed like it; cards show it only with `-o names`.
#[derive(Clone, Debug, Args)]
pub(crate) struct WordArgs {
    /// Title of the archive
    #[arg(long, value_name = "TEXT")]
    pub(crate) title: Option<String>,
    /// Tags of the archive, separated by commas
    #[arg(long, value_name = "TAG,TAG", value_delimiter = ',')]
    pub(crate) tags: Option<Vec<String>>,
    /// Description of the archive
    #[arg(long, value_name = "TEXT")]
    pub(crate) description: Option<String>,
}

impl WordArgs {
    /// As the drive keeps them.
    pub(crate) fn words(&self) -> Words {
        Words {
            title: self.title.clone(),
            tags: self.tags.clone(),
            description: self.description.clone(),
        }
    }
}

/// Runs the command.
pub(crate) fn run(args: &Upload, config: Option<&Path>) -> Result<()> {
    let (target, to) = work::into(args.to.as_deref(), args.at.drive.as_deref(), config)?;
    let sources = sources(&target, &args.paths)?;
    let to = to.unwrap_or_default();
    let make = |consent| Job::Put {
        wish: Put {
            sources: sources.clone(),
            to: to.clone(),
            words: args.words.words(),
            check: check(args.checksum),
            consent,
            until: match args.no_wait {
                true => Until::Kept,
                false => Until::Stored,
            },
        },
    };
    let names: Vec<String> = args
        .paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    let what = format!("upload {}", names.join(" "));
    let answer = transfers::run(&target, &what, make, consent(args.yes), &args.at, config)?;
    let copied: Copied = serde_json::from_value(answer.clone())?;
    match args.json {
        true => progress::answer(&serde_json::to_string_pretty(&answer)?)?,
        false => progress::note(&transfers::page(&copied, "uploaded")),
    }
    transfers::judge(&copied)
}

/// As said with --checksum.
pub(crate) fn check(checksum: bool) -> Check {
    match checksum {
        true => Check::Content,
        false => Check::Times,
    }
}

/// As said with --yes.
pub(crate) fn consent(yes: bool) -> Consent {
    match yes {
        true => Consent::Given,
        false => Consent::Ask,
    }
}

/// The whole paths, each of which has a name.
fn sources(target: &Target, paths: &[PathBuf]) -> Result<Vec<HostPath>> {
    let mut sources = Vec::new();
    for path in paths {
        if let Err(error) = std::fs::symlink_metadata(path) {
            let path = path.display();
            return Err(fault(Code::Usage, format!("{path}: {error}")));
        }
        let whole = work::without_links(path);
        if target.holds(&whole) {
            let path = path.display();
            return Err(fault(
                Code::Usage,
                format!("{path} is in the drive already"),
            ));
        }
        sources.push(HostPath::from(whole.as_path()));
    }
    Ok(sources)
}
