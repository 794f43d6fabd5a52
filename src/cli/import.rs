//! `ods import`: what the Python bots left becomes files of the drive.

use std::path::Path;
use std::path::PathBuf;

use anyhow::Result;

use crate::cli::exit::Code;
use crate::cli::exit::OrFault;
use crate::cli::exit::fault;
use crate::cli::paths::Paths;
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
use crate::import::Wish;
use crate::legacy::card;
use crate::service::Job;
use crate::size::Bytes;

/// Lines of each kind that are shown in text.
const LINES_MAX: usize = 100;

/// Bring an archive of the Python bots into the drive
///
/// Reads archives of the slicer (manifests and .bin chunks, up to version 3.1) and batches of version 4 (META and
/// .partN), from a folder or from where the bots put them on Discord, opens them with the old key and writes
/// the files with their names and times. What is there already and right is skipped, so the same command goes
/// on after an interruption. What is damaged or missing is listed; the rest comes.
///
/// The old key is USER_KEY (slicer) or ENCRYPTION_KEY (version 4) in the environment, or --key-file or --key-command.
#[derive(Debug, clap::Args)]
pub(crate) struct Import {
    /// Folder with the chunks or parts, or what to look for on Discord: #DDMMYY-NN or BATCH_YYYYMMDD_HHHH
    #[arg(value_name = "FOLDER|#ID|BATCH_ID")]
    source: String,
    /// Directory of the drive for its files [default: one called as the archive was]
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
    let wish = Wish {
        source: source(args)?,
        to: args.to.as_ref().map(|to| to.clone().into_bytes()),
        keys: secret::old_keys(args.key_file.as_deref(), args.key_command.as_deref())?,
        mode: match args.dry_run {
            true => Mode::DryRun,
            false => Mode::Write,
        },
        existing: match args.replace {
            true => Existing::Replace,
            false => Existing::Keep,
        },
    };
    let target = Target::find(&Paths::find(config)?, args.drive.as_deref())?;
    let drive = Where {
        drive: args.drive.clone(),
        secrets: args.secrets.clone(),
        api_base: args.api_base.clone(),
    };
    let is_mounted = matches!(target, Target::Mounted(_));
    let answer = work::run(target, Job::Import { wish }, &drive, config)?;
    let report: Report = serde_json::from_value(answer.clone())?;
    progress::answer(&match args.json {
        true => serde_json::to_string_pretty(&answer)?,
        false => page(&report),
    });
    if is_mounted && report.mode == Mode::Write && report.files > 0 {
        progress::note(
            "it is in the drive, which brings it to Discord; `ods flush` waits for that",
        );
    }
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

/// An id if it looks like one, unless something here is called so.
fn source(args: &Import) -> Result<Source> {
    let said = args.source.as_str();
    let numbered = format!("#{said}");
    let is_here = Path::new(said).exists();
    let id = match said {
        _ if card::is_archive_id(said) => Some(said),
        _ if is_here => None,
        _ if card::is_archive_id(&numbered) => Some(numbered.as_str()),
        _ if card::is_batch_id(said) => Some(said),
        _ => None,
    };
    let full = |path: &Path| {
        path.canonicalize()
            .or_fault(Code::Usage, || path.display().to_string())
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
