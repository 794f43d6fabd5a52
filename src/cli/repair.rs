//! `ods repair`: put right what can be.

use std::path::Path;

use anyhow::Result;

use crate::cli::args;
use crate::cli::exit::Code;
use crate::cli::exit::OrFault;
use crate::cli::exit::fault;
use crate::cli::progress;
use crate::cli::render::counted;
use crate::cli::verify;
use crate::cli::work;
use crate::drive::repair::Losses;
use crate::drive::repair::Mode;
use crate::drive::repair::Report;
use crate::drive::repair::Wish;
use crate::drive::verify::Depth;
use crate::service::Job;
use crate::size::Bytes;

/// Runs the command.
pub(crate) fn run(args: &args::Repair, config: Option<&Path>) -> Result<()> {
    let from = match &args.from {
        Some(dir) => Some(
            dir.canonicalize()
                .or_fault(Code::Usage, || dir.display().to_string())?,
        ),
        None => None,
    };
    let (target, scope) = work::aim(&args.drive, config)?;
    let wish = Wish {
        scope,
        depth: match args.quick {
            true => Depth::Quick,
            false => Depth::Full,
        },
        losses: match args.forget {
            true => Losses::Forget,
            false => Losses::Keep,
        },
        mode: match args.dry_run {
            true => Mode::DryRun,
            false => Mode::Repair,
        },
        from,
    };
    let answer = work::run(target, Job::Repair { wish }, &args.drive.at, config)?;
    let report: Report = serde_json::from_value(answer.clone())?;
    progress::answer(&match args.json {
        true => serde_json::to_string_pretty(&answer)?,
        false => page(&report),
    })?;
    match (report.left.len(), report.complete) {
        (_, false) => Err(fault(
            Code::Interrupted,
            "interrupted; what was repaired until then is, and the same command goes on",
        )),
        (0, true) => Ok(()),
        (count, true) => {
            let left = match count {
                1 => String::from("one problem is left"),
                count => format!("{count} problems are left"),
            };
            Err(fault(Code::Damaged, left))
        }
    }
}

fn page(report: &Report) -> String {
    let mut page = String::new();
    if report.found.is_empty() {
        page.push_str(match report.complete {
            true => "nothing is wrong\n",
            false => "nothing was found to be wrong until it was interrupted\n",
        });
        return page;
    }
    let done = &report.repaired;
    let was = match report.mode {
        Mode::Repair => "stored again",
        Mode::DryRun => "could be stored again",
    };
    if done.chunks > 0 {
        page.push_str(&format!(
            "{} ({}) {was}: {} from this machine, {} from Discord, {} from files\n",
            counted(done.chunks, "chunk"),
            Bytes(done.chunk_bytes),
            done.from_cache,
            done.from_store,
            done.from_files
        ));
    }
    if done.superblocks > 0 {
        page.push_str("the superblock: from this machine's copy\n");
    }
    if done.checkpoints > 0 {
        page.push_str("the journal: a new checkpoint of this machine's index\n");
    }
    if done.forgotten_bytes > 0 {
        let bytes = Bytes(done.forgotten_bytes);
        page.push_str(&format!("{bytes} given up: reading them stays an error\n"));
    }
    if !report.left.is_empty() {
        let what = match report.mode {
            Mode::Repair => "still wrong",
            Mode::DryRun => "wrong",
        };
        page.push_str(&format!("{what}:\n"));
        page.push_str(&verify::problems(&report.left));
    }
    for note in &report.notes {
        page.push_str(&format!("{note}\n"));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupted_look_does_not_say_that_all_is_well() {
        let mut report = Report::default();
        assert!(!page(&report).contains("nothing is wrong"));
        report.complete = true;
        assert_eq!(page(&report), "nothing is wrong\n");
    }
}
