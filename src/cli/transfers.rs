//! Copies under way: each is written down before it begins and crossed out when it is done, so that
//! `ods resume` finds those that something ended.

use std::path::Path;
use std::path::PathBuf;

use anyhow::Result;
use serde::Deserialize;
use serde::Serialize;

use crate::cli::ask_person;
use crate::cli::exit::Code;
use crate::cli::exit::OrFault;
use crate::cli::exit::code_of;
use crate::cli::paths;
use crate::cli::progress;
use crate::cli::render::counted;
use crate::cli::table::escaped;
use crate::cli::target::Target;
use crate::cli::work;
use crate::cli::work::Where;
use crate::service::Consent;
use crate::service::Copied;
use crate::service::Job;
use crate::size::Bytes;

/// Directory of the copies under way, in the state directory.
const TRANSFERS: &str = "transfers";

/// Failures that are shown in text.
const FAILURES_MAX: usize = 20;

/// A copy under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Transfer {
    /// What it is, in words.
    pub(crate) what: String,
    /// The wish.
    pub(crate) job: Job,
}

/// The record of a copy under way.
struct Noted(PathBuf);

fn dir_of(target: &Target) -> Option<PathBuf> {
    let state_dir = match target {
        Target::Mounted(running) => running.socket.parent()?,
        Target::Idle { state_dir, .. } => state_dir,
        Target::Dead(_) => return None,
    };
    Some(state_dir.join(TRANSFERS))
}

fn note(target: &Target, transfer: &Transfer) -> Result<Option<Noted>> {
    let Some(dir) = dir_of(target) else {
        return Ok(None);
    };
    let text = serde_json::to_vec(transfer)?;
    let name = data_encoding::HEXLOWER.encode(&blake3::hash(&text).as_bytes()[..8]);
    let path = dir.join(format!("{name}.json"));
    let write = || {
        paths::make_private(&dir)?;
        paths::write_private(&path, &text)
    };
    write().or_fault(Code::Disk, || format!("cannot write {}", path.display()))?;
    Ok(Some(Noted(path)))
}

/// The copies that something ended.
pub(crate) fn unfinished(target: &Target) -> Vec<Transfer> {
    let entries = dir_of(target).and_then(|dir| std::fs::read_dir(dir).ok());
    let texts = entries
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| std::fs::read(entry.path()).ok());
    texts
        .filter_map(|text| serde_json::from_slice(&text).ok())
        .collect()
}

/// Copies, asks before something is replaced, and tells what came of it.
pub(crate) fn run(
    target: &Target,
    what: &str,
    make: impl Fn(Consent) -> Job,
    consent: Consent,
    at: &Where,
    config: Option<&Path>,
) -> Result<serde_json::Value> {
    match once(target, what, make(consent), at, config) {
        Err(error) if consent == Consent::Ask && code_of(&error) == Code::Conflict => {
            ask_person::agree(error)?;
            once(target, what, make(Consent::Given), at, config)
        }
        result => result,
    }
}

/// Copies what a record says.
pub(crate) fn once(
    target: &Target,
    what: &str,
    job: Job,
    at: &Where,
    config: Option<&Path>,
) -> Result<serde_json::Value> {
    let transfer = Transfer {
        what: what.to_owned(),
        job: job.clone(),
    };
    let noted = note(target, &transfer)?;
    let result = work::run(target.clone(), job, at, config);
    let is_over = match &result {
        Ok(_) => true,
        // What cannot succeed as it is, is not to be tried again.
        Err(error) => matches!(
            code_of(error),
            Code::Conflict | Code::Usage | Code::NotFound | Code::Config | Code::Passphrase
        ),
    };
    if let Some(Noted(path)) = noted.filter(|_| is_over) {
        drop(std::fs::remove_file(path));
    }
    result
}

/// What came of a copy, as people read it.
pub(crate) fn page(copied: &Copied, done: &str) -> String {
    let mut page = format!(
        "{done} {}, {}",
        counted(copied.files, "file"),
        Bytes(copied.bytes)
    );
    if copied.skipped > 0 {
        let (files, bytes) = (counted(copied.skipped, "file"), Bytes(copied.skipped_bytes));
        page.push_str(&format!("; {files} with {bytes} were there already"));
    }
    if !copied.archives.is_empty() {
        page.push_str(&format!("; {}", copied.archives.join(", ")));
    }
    page
}

/// An error that names what could not be copied, if there is anything.
pub(crate) fn judge(copied: &Copied) -> Result<()> {
    for failure in copied.failed.iter().take(FAILURES_MAX) {
        progress::note(&format!("{}: {}", escaped(&failure.path), failure.why));
    }
    if let Some(more) = copied.failed.len().checked_sub(FAILURES_MAX + 1) {
        progress::note(&format!("and {} more; --json has all", more + 1));
    }
    match copied.failed.len() {
        0 => Ok(()),
        count => Err(crate::cli::exit::fault(
            Code::Partly,
            format!(
                "{} could not be copied; the rest is there",
                counted(count as u64, "file")
            ),
        )),
    }
}
