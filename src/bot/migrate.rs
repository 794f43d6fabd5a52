//! `/migrate`: what the systems before left becomes files of the drive, opened with the old key of the machine.

use std::path::Path;
use std::sync::Arc;

use crate::bot::Bot;
use crate::bot::page::Page;
use crate::bot::permit::Shown;
use crate::bot::talk::Talk;
use crate::bot::text;
use crate::bot::upkeep::flush;
use crate::bot::upload::allowed;
use crate::bot::work;
use crate::bot::work::Done;
use crate::bot::work::Kind;
use crate::bot::work::Title;
use crate::drive::task::Task;
use crate::import;
use crate::import::Existing;
use crate::import::Lost;
use crate::import::Mode;
use crate::import::Report;
use crate::import::Source;
use crate::import::Wish;
use crate::legacy::card;
use crate::service;
use crate::service::Error;

/// What could not be had that an answer lists.
const LOST_MAX: usize = 5;

/// What is told where the old key is missing. Keys are never asked for in Discord.
const NO_KEY: &str = "The archive is encrypted, and the machine has no old key: its owner sets `USER_KEY` (archives) or \
                      `ENCRYPTION_KEY` (batches) where the bot is started, or `old_key_file` in the bot's settings, and starts \
                      the bot again. Never write a key here.";

/// Brings an archive or batch of before.
pub(in crate::bot) async fn migrate(
    bot: &Arc<Bot>,
    talk: &mut Talk,
    shown: Shown,
    what: &str,
    to: &str,
) {
    let asked = what.to_owned();
    let wanted = match bot.blocking(move |bot| wanted(bot, &asked)).await {
        Some(Ok(wanted)) => wanted,
        Some(Err(why)) => return work::say(talk, &Page::open(why)).await,
        None => return,
    };
    let title = Title {
        own: match (shown, &wanted) {
            (_, Wanted::All) => "Migration of all archives".into(),
            (Shown::Ids, Wanted::One(Source::Folder(_))) => "Migration".into(),
            _ => format!("Migration of {}", text::name(what)),
        },
        open: "Migration",
        kind: Kind::Transfer,
    };
    let to = (!to.is_empty()).then(|| to.as_bytes().to_vec());
    let bring = move |bot: &Bot, task: &Task<'_>| {
        let report = match wanted {
            Wanted::One(source) => one(bot, source, to, task)?,
            Wanted::All => all(bot, to.as_deref(), task)?,
        };
        if report.complete {
            flush(bot.desk.drive(), task)?;
        }
        Ok(report)
    };
    let Some(ended) = work::run(bot, talk, &title, bring).await else {
        return;
    };
    let done = match ended {
        Ok(report) => Ok(told(&title, shown, &report)),
        Err(Error::Import(error)) => match refused(&title, shown, &error) {
            Some(done) => Ok(done),
            None => Err(error.into()),
        },
        Err(error) => Err(error),
    };
    work::tell(bot, talk, &title, shown, done).await;
}

/// What is to be brought.
enum Wanted {
    One(Source),
    /// Every archive that a bot's card names.
    All,
}

fn one(bot: &Bot, source: Source, to: Option<Vec<u8>>, task: &Task<'_>) -> Result<Report, Error> {
    let wish = Wish {
        source,
        to,
        keys: bot.settings.old_keys.clone(),
        mode: Mode::Write,
        existing: Existing::Keep,
    };
    service::bring(&bot.desk, &wish, task)
}

/// Brings one after the other. What keeps one from coming is told beside what came of the others; where nothing
/// came at all, it is the answer.
fn all(bot: &Bot, to: Option<&[u8]>, task: &Task<'_>) -> Result<Report, Error> {
    let mut report = Report {
        complete: true,
        ..Report::default()
    };
    let mut first = None;
    for source in service::survey(&bot.desk, None, None, task)?.archives {
        let (name, to) = (source.to_string(), to.map(|to| source.below(to)));
        match one(bot, source, to, task) {
            Ok(brought) => report.add(brought),
            Err(Error::Import(error)) if error.is_of_the_archive() => {
                report.lose(Lost {
                    path: name,
                    piece: None,
                    why: error.to_string(),
                });
                first.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
        if !report.complete {
            break;
        }
    }
    match first {
        Some(error) if report.files + report.skipped == 0 => Err(error.into()),
        _ => Ok(report),
    }
}

/// All, an id on Discord, or a folder in a directory that the owner listed.
fn wanted(bot: &Bot, what: &str) -> Result<Wanted, String> {
    if what == "all" {
        return Ok(Wanted::All);
    }
    let numbered = format!("#{what}");
    let id = match what {
        _ if card::is_archive_id(what) || card::is_batch_id(what) => what.to_owned(),
        _ if card::is_archive_id(&numbered) => numbered,
        _ => {
            let folder = allowed(&bot.settings, &bot.state_dir, Path::new(what));
            return folder.map(|path| Wanted::One(Source::Folder(path))).map_err(|_| {
                "Name what the older systems called it, #DDMMYY-NN or BATCH_YYYYMMDD_HHHH, or say all; folders of the machine \
                 only below its `upload_dirs`, others are for `ods import` there."
                    .into()
            });
        }
    };
    Ok(Wanted::One(Source::Archive {
        id,
        channel: None,
        log: None,
    }))
}

/// What is told of a key that is missing or wrong, and of what is not there: none of it names anything.
fn refused(title: &Title, shown: Shown, error: &import::Error) -> Option<Done> {
    let why = match (error, shown) {
        (import::Error::NoKey(_), _) => NO_KEY.into(),
        (import::Error::Key(_), _) => {
            "the old key of the machine does not open it; nothing was written.".into()
        }
        (import::Error::NotFound(why), Shown::Paths | Shown::Names) => text::words(why),
        (import::Error::NotFound(_), Shown::Ids) => "nothing of it was found.".into(),
        _ => return None,
    };
    Some(Done {
        own: format!("**{}**: {why}", title.own),
        open: format!("{} failed.", title.open),
    })
}

fn told(title: &Title, shown: Shown, report: &Report) -> Done {
    let (files, bytes) = (
        text::counted(report.files, "file"),
        text::bytes(report.bytes),
    );
    let mut what = match report.complete {
        true => format!("{files}, {bytes} came and are on Discord"),
        false => format!("interrupted; {files}, {bytes} came, and asking again goes on"),
    };
    if report.skipped > 0 {
        let skipped = text::counted(report.skipped, "file");
        what.push_str(&format!("; {skipped} were there already"));
    }
    what.push('.');
    if report.lost_count > 0 {
        let lost = text::counted(report.lost_count, "problem");
        what.push_str(&format!(" **{lost}**: not everything came as it should."));
    }
    let open = format!("**{}**: {what}", title.open);
    let mut own = format!("**{}**: {what}", title.own);
    if shown != Shown::Ids {
        for lost in report.lost.iter().take(LOST_MAX) {
            let (path, why) = (text::name(&lost.path), text::words(&lost.why));
            own.push_str(&format!("\n- {path}: {why}"));
        }
    }
    Done { own, open }
}
