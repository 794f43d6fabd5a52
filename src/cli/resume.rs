//! `ods resume`: copies that something ended go on.

use std::path::Path;

use anyhow::Result;
use clap::Args;
use serde_json::Value;
use serde_json::json;

use crate::cli::exit::Code;
use crate::cli::exit::code_of;
use crate::cli::exit::fault;
use crate::cli::exit::told;
use crate::cli::paths::Paths;
use crate::cli::progress;
use crate::cli::target::Target;
use crate::cli::transfers;
use crate::cli::transfers::Transfer;
use crate::cli::upload::consent;
use crate::cli::work::Where;
use crate::service::Copied;

/// Said of a copy that is left to another process.
const UNDER_WAY: &str = "under way in another process";

/// Go on with uploads and downloads that were interrupted
///
/// Everything that a mounted drive has taken, it uploads by itself, also after a crash. This goes on with
/// `ods upload` and `ods download` where they stopped.
#[derive(Debug, Args)]
pub(crate) struct Resume {
    /// Which: its number in `ods resume --dry-run`, or the archive that is downloaded [default: all]
    #[arg(value_name = "#ID|NUMBER")]
    pub(crate) which: Option<String>,
    /// Only tell what there is to go on with
    #[arg(long)]
    pub(crate) dry_run: bool,
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
pub(crate) fn run(args: &Resume, config: Option<&Path>) -> Result<()> {
    let target = Target::find(&Paths::find(config)?, args.at.drive.as_deref())?;
    let unfinished = chosen(transfers::unfinished(&target), args.which.as_deref())?;
    if args.dry_run {
        return tell(&target, &unfinished, args);
    }
    let (mut answers, mut codes) = (Vec::new(), Vec::new());
    for (number, transfer) in &unfinished {
        progress::note(&transfer.what);
        let (answer, ended) = one(&target, transfer, args, config);
        answers.push(answer);
        if let Err(error) = ended {
            let text = format!("{number} is not finished: {}", told(&error));
            progress::complain("ods", &text);
            codes.push(code_of(&error));
        }
        if codes.last() == Some(&Code::Interrupted) {
            break;
        }
    }
    if args.json {
        progress::answer(&serde_json::to_string_pretty(&answers)?)?;
    } else if unfinished.is_empty() {
        progress::note("nothing was interrupted");
    }
    match codes.iter().max_by_key(|code| code.weight()) {
        None => Ok(()),
        Some(worst) => Err(fault(
            *worst,
            format!(
                "{} of {} not finished",
                codes.len(),
                counted_copies(unfinished.len())
            ),
        )),
    }
}

fn counted_copies(count: usize) -> String {
    match count {
        1 => String::from("1 copy is"),
        many => format!("{many} copies are"),
    }
}

/// Goes on with one copy: what is answered in JSON, and how it ended.
fn one(
    target: &Target,
    transfer: &Transfer,
    args: &Resume,
    config: Option<&Path>,
) -> (Value, Result<()>) {
    match transfers::again(target, transfer, consent(args.yes), &args.at, config) {
        Ok(Some(answer)) => {
            let copied = serde_json::from_value::<Copied>(answer.clone());
            let judged = copied.map_err(anyhow::Error::from).and_then(|copied| {
                progress::note(&transfers::page(&copied, "copied"));
                transfers::judge(&copied)
            });
            (answer, judged)
        }
        Ok(None) => {
            progress::note(UNDER_WAY);
            (json!({ "what": transfer.what, "under_way": true }), Ok(()))
        }
        Err(error) => {
            let code = code_of(&error).number();
            let answer = json!({ "what": transfer.what, "error": told(&error), "code": code });
            (answer, Err(error))
        }
    }
}

/// Those that are meant, with their numbers.
fn chosen(all: Vec<Transfer>, which: Option<&str>) -> Result<Vec<(usize, Transfer)>> {
    let all = (1..).zip(all);
    let Some(which) = which else {
        return Ok(all.collect());
    };
    let is_meant = |(number, transfer): &(usize, Transfer)| {
        let is_of = |word: &str| word.eq_ignore_ascii_case(which);
        number.to_string() == which || which.starts_with('#') && transfer.what.split(' ').any(is_of)
    };
    let chosen: Vec<_> = all.filter(is_meant).collect();
    match chosen.is_empty() {
        false => Ok(chosen),
        true => Err(fault(
            Code::NotFound,
            format!(
                "there is no interrupted copy `{}`; `ods resume --dry-run` numbers those there are",
                which.escape_debug()
            ),
        )),
    }
}

fn tell(target: &Target, unfinished: &[(usize, Transfer)], args: &Resume) -> Result<()> {
    let whats: Vec<&str> = unfinished
        .iter()
        .map(|(_, one)| one.what.as_str())
        .collect();
    let line = |(number, one): &(usize, Transfer)| match transfers::is_under_way(target, one) {
        true => format!("{number}  {} ({UNDER_WAY})", one.what),
        false => format!("{number}  {}", one.what),
    };
    progress::answer(&match (args.json, whats.is_empty()) {
        (true, _) => serde_json::to_string_pretty(&whats)?,
        (false, true) => String::from("nothing was interrupted"),
        (false, false) => unfinished.iter().map(line).collect::<Vec<_>>().join("\n"),
    })?;
    Ok(())
}
