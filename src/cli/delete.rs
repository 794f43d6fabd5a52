//! `ods delete`: archives, directories and files leave the drive.

use std::path::Path;

use anyhow::Result;
use clap::Args;

use crate::cli::ask_person;
use crate::cli::exit::Code;
use crate::cli::exit::code_of;
use crate::cli::progress;
use crate::cli::render::counted;
use crate::cli::upload::consent;
use crate::cli::work;
use crate::cli::work::Where;
use crate::service;
use crate::service::Consent;
use crate::service::Deleted;
use crate::service::Job;
use crate::size::Bytes;

/// Delete an archive, a directory with everything in it, or a file; asks first
///
/// What Discord holds of it goes with the garbage, a day later at the earliest: see `ods gc`.
#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// Archive (#DDMMYY-NN), range of archives, or path in the drive
    #[arg(value_name = "#ID|PATH")]
    pub(crate) what: String,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Answer in JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: Where,
}

/// Runs the command.
pub(crate) fn run(args: &Delete, config: Option<&Path>) -> Result<()> {
    let (drive, target) = work::point(&args.what, &args.at, config)?;
    let job = |consent| Job::Delete {
        wish: service::Delete {
            target: target.clone(),
            consent,
        },
    };
    let asked = consent(args.yes);
    let answer = match work::run(drive.clone(), job(asked), &args.at, config) {
        Err(error) if asked == Consent::Ask && code_of(&error) == Code::Conflict => {
            ask_person::agree(error)?;
            work::run(drive, job(Consent::Given), &args.at, config)?
        }
        result => result?,
    };
    let deleted: Deleted = serde_json::from_value(answer.clone())?;
    match args.json {
        true => progress::answer(&serde_json::to_string_pretty(&answer)?)?,
        false => progress::note(&format!(
            "deleted {}: {} with {}, {}",
            deleted.targets.join(", "),
            counted(deleted.files, "file"),
            Bytes(deleted.bytes),
            match deleted.directories {
                1 => String::from("1 directory"),
                many => format!("{many} directories"),
            }
        )),
    }
    Ok(())
}
