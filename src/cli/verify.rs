//! `ods verify`: is everything there, and whole?

use std::path::Path;

use anyhow::Result;

use crate::cli::args;
use crate::cli::exit::Code;
use crate::cli::exit::fault;
use crate::cli::progress;
use crate::cli::render::counted;
use crate::cli::work;
use crate::drive::verify::Counts;
use crate::drive::verify::Depth;
use crate::drive::verify::Problem;
use crate::drive::verify::Report;
use crate::drive::verify::Wish;
use crate::service::Job;
use crate::size::Bytes;

/// Paths that a problem shows in text; `--json` has all.
const PATHS_MAX: usize = 10;

/// Problems that are shown in text.
const PROBLEMS_MAX: usize = 100;

/// Runs the command.
pub(crate) fn run(args: &args::Verify, config: Option<&Path>) -> Result<()> {
    let (target, scope) = work::aim(&args.drive, config)?;
    let depth = match args.full {
        true => Depth::Full,
        false => Depth::Quick,
    };
    let job = Job::Verify {
        wish: Wish { scope, depth },
    };
    let answer = work::run(target, job, &args.drive.at, config)?;
    let report: Report = serde_json::from_value(answer.clone())?;
    progress::answer(&match args.json {
        true => serde_json::to_string_pretty(&answer)?,
        false => page(&report),
    })?;
    match (report.problems.len(), report.complete) {
        (0, true) => Ok(()),
        (0, false) => Err(fault(
            Code::Interrupted,
            "interrupted; nothing wrong was found until then",
        )),
        (1, _) => Err(fault(Code::Damaged, "one problem was found")),
        (count, _) => Err(fault(Code::Damaged, format!("{count} problems were found"))),
    }
}

fn page(report: &Report) -> String {
    let mut page = checked(report.depth, &report.checked);
    page.push_str(&problems(&report.problems));
    for note in &report.notes {
        page.push_str(&format!("{note}\n"));
    }
    if report.healthy && report.complete {
        page.push_str("nothing is wrong\n");
    }
    page
}

fn checked(depth: Depth, counts: &Counts) -> String {
    let how = match depth {
        Depth::Quick => "listed",
        Depth::Full => "fetched and unsealed",
    };
    let mut text = format!(
        "{} with {} in {} ({}), {how}; {}, {}; {}\n",
        counted(counts.files, "file"),
        Bytes(counts.chunk_bytes),
        counted(counts.packs, "pack"),
        Bytes(counts.pack_bytes),
        counted(counts.checkpoints, "checkpoint"),
        counted(counts.segments, "segment"),
        counted(counts.requests, "request")
    );
    if counts.spool_bytes > 0 {
        let bytes = Bytes(counts.spool_bytes);
        text.push_str(&format!("{bytes} in the spool, read back\n"));
    }
    text
}

/// Problems as people read them.
pub(crate) fn problems(problems: &[Problem]) -> String {
    let mut text = String::new();
    for problem in problems.iter().take(PROBLEMS_MAX) {
        text.push_str(&format!("\n{}\n", problem.what));
        for path in problem.paths.iter().take(PATHS_MAX) {
            text.push_str(&format!("    {}\n", path.escape_debug()));
        }
        if let Some(more) = problem.paths.len().checked_sub(PATHS_MAX + 1) {
            text.push_str(&format!("    and {} more\n", more + 1));
        }
        text.push_str(&format!("  {}\n", problem.advice));
    }
    if let Some(more) = problems.len().checked_sub(PROBLEMS_MAX + 1) {
        text.push_str(&format!(
            "\nand {} more problems; --json has all\n",
            more + 1
        ));
    }
    text
}
