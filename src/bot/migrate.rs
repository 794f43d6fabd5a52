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
    let source = match bot.blocking(move |bot| source(bot, &asked)).await {
        Some(Ok(source)) => source,
        Some(Err(why)) => return work::say(talk, &Page::open(why)).await,
        None => return,
    };
    let title = Title {
        own: match (shown, &source) {
            (Shown::Ids, Source::Folder(_)) => "Migration".into(),
            _ => format!("Migration of {}", text::name(what)),
        },
        open: "Migration",
        kind: Kind::Transfer,
    };
    let wish = Wish {
        source,
        to: (!to.is_empty()).then(|| to.as_bytes().to_vec()),
        keys: bot.settings.old_keys.clone(),
        mode: Mode::Write,
        existing: Existing::Keep,
    };
    let bring = move |bot: &Bot, task: &Task<'_>| {
        let report = service::bring(&bot.desk, &wish, task)?;
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

/// An id on Discord, or a folder in a directory that the owner listed.
fn source(bot: &Bot, what: &str) -> Result<Source, String> {
    let numbered = format!("#{what}");
    let id = match what {
        _ if card::is_archive_id(what) || card::is_batch_id(what) => what.to_owned(),
        _ if card::is_archive_id(&numbered) => numbered,
        _ => {
            let folder = allowed(&bot.settings, &bot.state_dir, Path::new(what));
            return folder.map(Source::Folder).map_err(|_| {
                "Name what the older systems called it, #DDMMYY-NN or BATCH_YYYYMMDD_HHHH; folders of the machine \
                 only below its `upload_dirs`, others are for `ods import` there."
                    .into()
            });
        }
    };
    Ok(Source::Archive {
        id,
        channel: None,
        log: None,
    })
}

/// What is told of a key that is missing or wrong, and of what is not there: none of it names anything.
fn refused(title: &Title, shown: Shown, error: &import::Error) -> Option<Done> {
    let why = match (error, shown) {
        (import::Error::NoKey(_), _) => NO_KEY.into(),
        (import::Error::Key(_), _) => {
            "the old key of the machine does not open it; nothing was written.".into()
        }
        (import::Error::NotFound(why), Shown::Names) => text::words(why),
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
    if shown == Shown::Names {
        for lost in report.lost.iter().take(LOST_MAX) {
            let (path, why) = (text::name(&lost.path), text::words(&lost.why));
            own.push_str(&format!("\n- {path}: {why}"));
        }
    }
    Done { own, open }
}
