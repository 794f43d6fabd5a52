//! `ods import`: what the Python bots left becomes files of the drive.

use std::collections::HashMap;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;
use anyhow::Result;
use serde_json::Value;
use serde_json::json;

use crate::cli::exit::Code;
use crate::cli::exit::OrFault;
use crate::cli::exit::code_of;
use crate::cli::exit::fault;
use crate::cli::exit::told;
use crate::cli::progress;
use crate::cli::render::counted;
use crate::cli::secret;
use crate::cli::secret::SecretArgs;
use crate::cli::target::Target;
use crate::cli::work;
use crate::cli::work::Where;
use crate::import::Existing;
use crate::import::Mode;
use crate::import::Report;
use crate::import::Source;
use crate::import::Survey;
use crate::import::Wish;
use crate::legacy::card;
use crate::service::Job;
use crate::size::Bytes;

/// Lines of each kind that are shown in text.
const LINES_MAX: usize = 100;

/// Bring archives of the Python bots into the drive
///
/// Reads archives of the slicer (manifests and .bin chunks, up to version 3.1) and batches of version 4 (META and
/// .partN), from a folder or from where the bots put them on Discord, opens them with the old key and writes
/// the files with their names and times. What is there already and right is skipped, so the same command goes
/// on after an interruption. What is damaged or missing is listed; the rest comes. Several are brought one after
/// the other, and the exit code is the worst of theirs.
///
/// The old key is USER_KEY (slicer) or ENCRYPTION_KEY (version 4) in the environment, or --key-file or --key-command.
#[derive(Debug, clap::Args)]
pub(crate) struct Import {
    /// Folders with the chunks or parts, or what to look for on Discord: #DDMMYY-NN or BATCH_YYYYMMDD_HHHH
    #[arg(
        value_name = "FOLDER|#ID|BATCH_ID",
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    sources: Vec<String>,
    /// Every archive on Discord that the card of a bot or --log names; with --dry-run, only list them
    #[arg(long)]
    all: bool,
    /// Directory of the drive for the files, also as a path in its mount; of several, each has one of its own in
    /// it [default: one called as the archive was]
    #[arg(long, value_name = "DIR")]
    to: Option<String>,
    /// Id of the channel to look in [default: all that the bot can read]
    #[arg(long, value_name = "ID")]
    channel: Option<u64>,
    /// The old bot's discord-drive-history.json, for archives that have no card
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// File with the old key, readable by you alone
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Command that prints the old key
    #[arg(long, value_name = "COMMAND", conflicts_with = "key_file")]
    key_command: Option<String>,
    /// Replace files that are in the drive and differ
    #[arg(long)]
    replace: bool,
    /// Write nothing; tell what would come
    #[arg(long)]
    dry_run: bool,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
    /// Drive, if it is not the default one
    #[arg(long, value_name = "DRIVE")]
    drive: Option<String>,
    #[command(flatten)]
    secrets: SecretArgs,
    /// Where Discord is; for the emulator
    #[arg(long, value_name = "URL", env = "ODS_API_BASE")]
    api_base: Option<String>,
}

/// Runs the command.
pub(crate) fn run(args: &Import, config: Option<&Path>) -> Result<()> {
    let mut sources = Vec::new();
    for said in &args.sources {
        sources.push(source(args, said)?);
    }
    let keys = secret::old_keys(args.key_file.as_deref(), args.key_command.as_deref())?;
    let (target, to) = work::into(args.to.as_deref(), args.drive.as_deref(), config)?;
    let drive = Where {
        drive: args.drive.clone(),
        secrets: args.secrets.clone(),
        api_base: args.api_base.clone(),
    };
    if args.all {
        let survey = survey(args, &target, &drive, config)?;
        if args.dry_run {
            return list(args, &survey);
        }
        sources = survey.archives;
    }
    let wish = |source: Source| Wish {
        to: match (&to, is_one(args)) {
            (Some(to), false) => Some(source.below(to)),
            (to, _) => to.clone(),
        },
        source,
        keys: keys.clone(),
        mode: mode(args),
        existing: match args.replace {
            true => Existing::Replace,
            false => Existing::Keep,
        },
    };
    let wishes: Vec<Wish> = sources.into_iter().map(wish).collect();
    if to.is_some() {
        distinct(&wishes)?;
    }
    let bring = |wish: Wish| work::run(target.clone(), Job::Import { wish }, &drive, config);
    let is_mounted = matches!(target, Target::Mounted(_));
    let (written, ended) = match (is_one(args), wishes) {
        (true, mut wishes) => {
            let wish = wishes.pop().context("what to import")?;
            only(args, wish, bring)?
        }
        (false, wishes) => many(args, wishes, bring)?,
    };
    if is_mounted && written > 0 && !args.dry_run {
        progress::note(
            "it is in the drive, which brings it to Discord; `ods flush` waits for that",
        );
    }
    ended
}

fn mode(args: &Import) -> Mode {
    match args.dry_run {
        true => Mode::DryRun,
        false => Mode::Write,
    }
}

/// Is one archive meant, whose answer is no list?
fn is_one(args: &Import) -> bool {
    !args.all && args.sources.len() == 1
}

/// All there is.
fn survey(args: &Import, target: &Target, drive: &Where, config: Option<&Path>) -> Result<Survey> {
    let log = args.log.as_deref().map(full).transpose()?;
    let job = Job::Survey {
        channel: args.channel,
        log,
        mode: mode(args),
    };
    let answer = work::run(target.clone(), job, drive, config)?;
    let survey: Survey = serde_json::from_value(answer)?;
    if !survey.of_people.is_empty() {
        progress::note(&format!(
            "left out, because people and no bots posted their cards: {}; name those you want",
            survey.of_people.join(", ")
        ));
    }
    Ok(survey)
}

fn list(args: &Import, survey: &Survey) -> Result<()> {
    let ids = survey.archives.iter().map(Source::to_string);
    let ids: Vec<String> = ids.collect();
    progress::answer(&match args.json {
        true => serde_json::to_string_pretty(&ids)?,
        false => ids.join("\n"),
    })?;
    Ok(())
}

/// Two folders may have the same name.
fn distinct(wishes: &[Wish]) -> Result<()> {
    let mut taken: HashMap<&[u8], &Source> = HashMap::new();
    for Wish { source, to, .. } in wishes {
        let to = to.as_deref().unwrap_or_default();
        if let Some(other) = taken.insert(to, source).filter(|other| *other != source) {
            let text = format!(
                "{other} and {source} would both go to `{}`; import them one after the other, each --to another directory",
                String::from_utf8_lossy(to).escape_debug()
            );
            return Err(fault(Code::Usage, text));
        }
    }
    Ok(())
}

/// Brings one archive: how many files came, and how it ended.
fn only(
    args: &Import,
    wish: Wish,
    bring: impl Fn(Wish) -> Result<Value>,
) -> Result<(u64, Result<()>)> {
    let answer = bring(wish)?;
    let report: Report = serde_json::from_value(answer.clone())?;
    progress::answer(&match args.json {
        true => serde_json::to_string_pretty(&answer)?,
        false => page(&report),
    })?;
    Ok((report.files, judge(&report)))
}

/// Brings one after the other; the answers are a list, and the end is the worst of all.
fn many(
    args: &Import,
    wishes: Vec<Wish>,
    bring: impl Fn(Wish) -> Result<Value>,
) -> Result<(u64, Result<()>)> {
    let (mut answers, mut codes, mut written) = (Vec::new(), Vec::new(), 0);
    let all = counted(wishes.len() as u64, "archive");
    for wish in wishes {
        let name = wish.source.to_string();
        progress::note(&name);
        let ended = bring(wish).and_then(|mut answer| {
            let report: Report = serde_json::from_value(answer.clone())?;
            if !args.json {
                progress::answer(&format!("{name}: {}", page(&report)))?;
            }
            answer["source"] = json!(name);
            answers.push(answer);
            written += report.files;
            judge(&report)
        });
        let Err(error) = ended else { continue };
        let (code, text) = (code_of(&error), told(&error));
        progress::complain("ods", &format!("{name}: {text}"));
        if answers.last().is_none_or(|answer| answer["source"] != name) {
            answers.push(json!({ "source": name, "error": text, "code": code.number() }));
        }
        codes.push(code);
        if code == Code::Interrupted {
            break;
        }
    }
    if args.json {
        progress::answer(&serde_json::to_string_pretty(&answers)?)?;
    }
    let worst = codes.iter().max_by_key(|code| code.weight());
    let ended = worst.map_or(Ok(()), |worst| {
        let text = format!("not as it should be: {} of {all}", codes.len());
        Err(fault(*worst, text))
    });
    Ok((written, ended))
}

/// How the import of one archive ended.
fn judge(report: &Report) -> Result<()> {
    match (report.complete, report.lost_count) {
        (false, _) => Err(fault(
            Code::Interrupted,
            "interrupted; what was imported is kept, and the same command goes on",
        )),
        (true, 0) => Ok(()),
        (true, lost) if report.files + report.skipped == 0 => Err(fault(
            Code::Damaged,
            format!("nothing could be imported: {}", counted(lost, "problem")),
        )),
        (true, lost) => Err(fault(
            Code::Partly,
            format!("imported but for {}", counted(lost, "problem")),
        )),
    }
}

fn full(path: &Path) -> Result<PathBuf> {
    path.canonicalize()
        .or_fault(Code::Usage, || path.display().to_string())
}

/// An id if it looks like one, unless something here is called so.
fn source(args: &Import, said: &str) -> Result<Source> {
    let numbered = format!("#{said}");
    let is_here = Path::new(said).exists();
    let id = match said {
        _ if card::is_archive_id(said) => Some(said),
        _ if is_here => None,
        _ if card::is_archive_id(&numbered) => Some(numbered.as_str()),
        _ if card::is_batch_id(said) => Some(said),
        _ => None,
    };
    if let Some(id) = id {
        return Ok(Source::Archive {
            id: id.to_owned(),
            channel: args.channel,
            log: args.log.as_deref().map(full).transpose()?,
        });
    }
    if args.channel.is_some() || args.log.is_some() {
        let text = "--channel and --log are for archives on Discord: give an id as #DDMMYY-NN or BATCH_YYYYMMDD_HHHH";
        return Err(fault(Code::Usage, text));
    }
    if !is_here {
        let text = format!(
            "`{said}` is neither a folder here nor an id as #DDMMYY-NN or BATCH_YYYYMMDD_HHHH"
        );
        return Err(fault(Code::Usage, text));
    }
    full(Path::new(said)).map(Source::Folder)
}

fn page(report: &Report) -> String {
    let is_dry = report.mode == Mode::DryRun;
    let mut page = format!(
        "{}, {} {}",
        counted(report.files, "file"),
        Bytes(report.bytes),
        if is_dry {
            "would be imported"
        } else {
            "imported"
        }
    );
    if report.skipped > 0 {
        let bytes = Bytes(report.skipped_bytes);
        let skipped = counted(report.skipped, "file");
        page.push_str(&format!("; {skipped}, {bytes} there already"));
    }
    page.push('\n');
    if is_dry {
        for written in report.written.iter().take(LINES_MAX) {
            let path = written.path.escape_debug();
            page.push_str(&format!("  {path}  {}\n", Bytes(written.bytes)));
        }
        page.push_str(&more(report.files));
    }
    for lost in report.lost.iter().take(LINES_MAX) {
        let piece = lost.piece.as_ref();
        let piece = piece.map_or_else(String::new, |piece| format!("{}: ", piece.escape_debug()));
        let path = lost.path.escape_debug();
        page.push_str(&format!(
            "not as it should be: {path}: {piece}{}\n",
            lost.why
        ));
    }
    page.push_str(&more(report.lost_count));
    page
}

fn more(count: u64) -> String {
    match count.checked_sub(LINES_MAX as u64) {
        None | Some(0) => String::new(),
        Some(more) => format!("  and {more} more; --json has them\n"),
    }
}
