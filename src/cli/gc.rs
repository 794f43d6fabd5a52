//! `ods gc`: what no file needs any more leaves Discord.

use std::path::Path;

use anyhow::Result;

use crate::cli::args;
use crate::cli::exit::Code;
use crate::cli::exit::fault;
use crate::cli::options;
use crate::cli::progress;
use crate::cli::render;
use crate::cli::render::counted;
use crate::cli::work;
use crate::drive::gc::Amount;
use crate::drive::gc::Extent;
use crate::drive::gc::Report;
use crate::drive::gc::Wish;
use crate::drive::scope::Scope;
use crate::service::Job;
use crate::size::Bytes;

/// Runs the command.
pub(crate) fn run(args: &args::Gc, config: Option<&Path>) -> Result<()> {
    let delay_s = match args.delay.as_deref() {
        Some(text) => {
            let why = || {
                let text = text.escape_debug();
                fault(Code::Usage, format!("--delay {text}: {}", options::TIME))
            };
            Some(options::time(text).ok_or_else(why)?.as_secs())
        }
        None => None,
    };
    let (target, scope) = work::aim(&args.drive, config)?;
    if scope != Scope::Drive {
        return Err(fault(
            Code::Usage,
            "garbage is collected in a whole drive; name the drive, or nothing",
        ));
    }
    let wish = Wish {
        dry_run: args.dry_run,
        delay_s,
        extent: Extent::Full,
    };
    let answer = work::run(target, Job::Gc { wish }, &args.drive.at, config)?;
    let report: Report = serde_json::from_value(answer.clone())?;
    progress::answer(&match args.json {
        true => serde_json::to_string_pretty(&answer)?,
        false => page(&report),
    })?;
    match report.complete {
        true => Ok(()),
        false => Err(fault(
            Code::Interrupted,
            "interrupted; what was done until then is done, and the same command goes on",
        )),
    }
}

fn packs(amount: &Amount) -> String {
    let packs = counted(amount.packs, "pack");
    format!("{packs} ({})", Bytes(amount.bytes))
}

fn page(report: &Report) -> String {
    let mut page = String::new();
    let mut line = |text: String| page.push_str(&format!("{text}\n"));
    let did = |done: &'static str, would: &'static str| match report.dry_run {
        true => would,
        false => done,
    };
    line(format!(
        "{} known, {} of them in use",
        packs(&report.known),
        Bytes(report.live_bytes)
    ));
    if report.dead.packs > 0 {
        let (dead, how) = (packs(&report.dead), did("buried", "would be buried"));
        line(format!("{dead} of no use: {how}"));
    }
    if report.emptied.packs > 0 {
        let moved = Bytes(report.moved_bytes);
        let (emptied, how) = (packs(&report.emptied), did("moved", "would be moved"));
        line(format!(
            "{emptied} mostly of no use: {moved} {how}, the rest goes"
        ));
    }
    if report.orphans.packs > 0 {
        let (orphans, how) = (packs(&report.orphans), did("buried", "would be buried"));
        line(format!("{orphans} that nothing knows: {how}"));
    }
    if report.removed.packs + report.archives_removed > 0 {
        let (removed, how) = (packs(&report.removed), did("removed", "would be removed"));
        line(format!("{removed} {how} from Discord"));
    }
    if report.archives_removed > 0 {
        let how = did("removed", "would be removed");
        let threads = counted(report.archives_removed, "thread");
        line(format!("{threads} {how}"));
    }
    if report.waiting.packs > 0 {
        let when = match report.next_s {
            Some(0) => String::from(", the first may go now"),
            Some(seconds) => format!(", the first go in {}", render::duration(seconds)),
            None => String::new(),
        };
        line(format!("{} buried{when}", packs(&report.waiting)));
    }
    if report.left_bytes > 0 {
        let left = Bytes(report.left_bytes);
        line(format!(
            "{left} of no use stay where they are: moving the rest is not worth it"
        ));
    }
    for note in &report.notes {
        line(note.clone());
    }
    let how = did("", "at most ");
    line(format!("{how}{}", counted(report.requests, "request")));
    page
}
