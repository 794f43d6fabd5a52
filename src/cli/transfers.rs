//! Copies under way: each is written down before it begins and crossed out when it is done, so that
//! `ods resume` finds those that something ended.

use std::fs::File;
use std::fs::TryLockError;
use std::io::Read;
use std::io::Seek;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Result;
use serde::Deserialize;
use serde::Serialize;

use crate::cli::ask_person;
use crate::cli::exit::Code;
use crate::cli::exit::OrFault;
use crate::cli::exit::code_of;
use crate::cli::exit::fault;
use crate::cli::paths;
use crate::cli::progress;
use crate::cli::render::counted;
use crate::cli::table::escaped;
use crate::cli::target::Target;
use crate::cli::work;
use crate::cli::work::Where;
use crate::durable;
use crate::service::ANOTHER_COPY;
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

/// The record of a copy under way, which nobody else takes up as long as this is held.
struct Noted {
    path: PathBuf,
    /// Held for its lock.
    _file: File,
    /// Did an earlier run leave it?
    is_old: bool,
}

fn dir_of(target: &Target) -> Option<PathBuf> {
    Some(target.state_dir()?.join(TRANSFERS))
}

/// The same copy has the same name, whoever agreed to what.
fn name(job: &Job) -> Result<String> {
    let text = serde_json::to_vec(&with_consent(job, Consent::Ask))?;
    let name = data_encoding::HEXLOWER.encode(&blake3::hash(&text).as_bytes()[..8]);
    Ok(format!("{name}.json"))
}

fn with_consent(job: &Job, consent: Consent) -> Job {
    let mut job = job.clone();
    match &mut job {
        Job::Put { wish } => wish.consent = consent,
        Job::Fetch { wish } => wish.consent = consent,
        _ => {}
    }
    job
}

/// Writes it down; none when the same copy is under way elsewhere.
fn note(dir: &Path, transfer: &Transfer) -> Result<Option<Noted>> {
    let path = dir.join(name(&transfer.job)?);
    let text = serde_json::to_vec(transfer)?;
    let write = || -> std::io::Result<Option<Noted>> {
        paths::make_private(dir)?;
        let Some(mut file) = durable::open_locked(&path)? else {
            return Ok(None);
        };
        let mut before = Vec::new();
        file.read_to_end(&mut before)?;
        if before != text {
            file.rewind()?;
            file.set_len(0)?;
            file.write_all(&text)?;
            file.sync_all()?;
        }
        Ok(Some(Noted {
            path: path.clone(),
            _file: file,
            is_old: !before.is_empty(),
        }))
    };
    write().or_fault(Code::Disk, || format!("cannot write {}", path.display()))
}

/// The copies that something ended, and those that go on elsewhere.
pub(crate) fn unfinished(target: &Target) -> Vec<Transfer> {
    let entries = dir_of(target).and_then(|dir| std::fs::read_dir(dir).ok());
    let paths = entries.into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = paths.map(|entry| entry.path()).collect();
    paths.sort();
    let texts = paths.iter().filter_map(|path| std::fs::read(path).ok());
    texts
        .filter_map(|text| serde_json::from_slice(&text).ok())
        .collect()
}

/// Does this copy go on in another process?
pub(crate) fn is_under_way(target: &Target, transfer: &Transfer) -> bool {
    let path = dir_of(target).and_then(|dir| Some(dir.join(name(&transfer.job).ok()?)));
    let file = path.and_then(|path| File::open(path).ok());
    file.is_some_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// Copies, asks before something is replaced, and tells what came of it; none when the same copy is under way
/// elsewhere.
pub(crate) fn run_if_free(
    target: &Target,
    what: &str,
    make: impl Fn(Consent) -> Job,
    consent: Consent,
    at: &Where,
    config: Option<&Path>,
) -> Result<Option<serde_json::Value>> {
    match once(target, what, make(consent), at, config) {
        Err(error) if consent == Consent::Ask && code_of(&error) == Code::Conflict => {
            ask_person::agree(error)?;
            once(target, what, make(Consent::Given), at, config)
        }
        result => result,
    }
}

/// The same; that it is under way elsewhere is an error.
pub(crate) fn run(
    target: &Target,
    what: &str,
    make: impl Fn(Consent) -> Job,
    consent: Consent,
    at: &Where,
    config: Option<&Path>,
) -> Result<serde_json::Value> {
    let answer = run_if_free(target, what, make, consent, at, config)?;
    answer.ok_or_else(|| {
        fault(
            Code::State,
            "the same copy is under way in another process; wait for that, or end it and repeat this",
        )
    })
}

/// Goes on with a copy; none when it is under way elsewhere.
pub(crate) fn again(
    target: &Target,
    transfer: &Transfer,
    consent: Consent,
    at: &Where,
    config: Option<&Path>,
) -> Result<Option<serde_json::Value>> {
    let make = |consent| match consent {
        Consent::Ask => transfer.job.clone(),
        Consent::Given => with_consent(&transfer.job, consent),
    };
    run_if_free(target, &transfer.what, make, consent, at, config)
}

fn once(
    target: &Target,
    what: &str,
    job: Job,
    at: &Where,
    config: Option<&Path>,
) -> Result<Option<serde_json::Value>> {
    let transfer = Transfer {
        what: what.to_owned(),
        job: job.clone(),
    };
    let Some(dir) = dir_of(target) else {
        return work::run(target.clone(), job, at, config).map(Some);
    };
    let Some(noted) = note(&dir, &transfer)? else {
        return Ok(None);
    };
    let result = work::run(target.clone(), job, at, config);
    let is_over = match result.as_ref().map_err(code_of) {
        Ok(answer) => !waits_for_another(answer),
        // What was begun can go on once somebody agrees.
        Err(Code::Conflict) => !noted.is_old,
        // What cannot succeed as it is, is not to be tried again.
        Err(code) => matches!(
            code,
            Code::Usage | Code::NotFound | Code::Config | Code::Passphrase
        ),
    };
    if is_over {
        drop(std::fs::remove_file(&noted.path));
    }
    result.map(Some)
}

/// Was a file left to another copy, which may break off?
fn waits_for_another(answer: &serde_json::Value) -> bool {
    let mut failed = answer["failed"].as_array().into_iter().flatten();
    failed.any(|failure| failure["why"] == ANOTHER_COPY)
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
    if !copied.left_out.is_empty() {
        let left_out: Vec<String> = copied.left_out.iter().map(|path| escaped(path)).collect();
        page.push_str(&format!("; left out: {}", left_out.join(", ")));
    }
    page
}

/// An error that names what could not be copied, if there is anything.
pub(crate) fn judge(copied: &Copied) -> Result<()> {
    for failure in copied.failed.iter().take(FAILURES_MAX) {
        let text = format!("{}: {}", escaped(&failure.path), failure.why);
        progress::complain("ods", &text);
    }
    if let Some(more) = copied.failed.len().checked_sub(FAILURES_MAX + 1) {
        progress::complain("ods", &format!("and {} more; --json has all", more + 1));
    }
    match copied.failed.len() {
        0 => Ok(()),
        count => Err(fault(
            Code::Partly,
            format!(
                "{} could not be copied; the rest is there",
                counted(count as u64, "file")
            ),
        )),
    }
}
