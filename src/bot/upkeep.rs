//! Looking after the drive: verify, rebuild, resume, cleanup.

use std::sync::Arc;

use crate::bot::Bot;
use crate::bot::ask::Depth;
use crate::bot::page::Page;
use crate::bot::permit::Shown;
use crate::bot::question;
use crate::bot::question::Stake;
use crate::bot::serve::sorry;
use crate::bot::talk::Talk;
use crate::bot::text;
use crate::bot::work;
use crate::bot::work::Done;
use crate::bot::work::Kind;
use crate::bot::work::Title;
use crate::drive;
use crate::drive::Drive;
use crate::drive::repair;
use crate::drive::scope::Scope;
use crate::drive::task::Task;
use crate::drive::verify;
use crate::drive::verify::Problem;
use crate::service;
use crate::service::ArchiveInfo;
use crate::service::Consent;
use crate::service::Delete;
use crate::service::Error;
use crate::service::Query;
use crate::service::Removed;
use crate::service::Target;

/// Problems that an answer lists.
const PROBLEMS_MAX: usize = 5;

/// Paths of one problem that it lists.
const PATHS_MAX: usize = 3;

/// What some work on an archive or on the whole drive is called.
fn title(doing: &str, what: &str, open: &'static str) -> Title {
    let own = match what {
        "" => format!("{doing} of the drive"),
        what => format!("{doing} of {}", text::name(what)),
    };
    let kind = Kind::Other;
    Title { own, open, kind }
}

/// `/verify`
pub(in crate::bot) async fn verify(
    bot: &Arc<Bot>,
    talk: &mut Talk,
    shown: Shown,
    what: &str,
    depth: Depth,
) {
    let scope = match (what, Scope::archive(what)) {
        ("", _) => Scope::Drive,
        (_, Some(archive)) => archive,
        (_, None) if shown == Shown::Ids => {
            let text = "Name an archive by its id (#DDMMYY-NN); paths are for those who manage this server.";
            return work::say(talk, &Page::new(text)).await;
        }
        (what, None) => Scope::of_path(what.as_bytes()),
    };
    let title = title("Verification", what, "Verification");
    let depth = match depth {
        Depth::Listed => verify::Depth::Quick,
        Depth::Read => verify::Depth::Full,
    };
    let wish = verify::Wish { scope, depth };
    let look = move |bot: &Bot, task: &Task<'_>| Ok(bot.desk.drive().verify(&wish, task)?);
    let Some(ended) = work::run(bot, talk, &title, look).await else {
        return;
    };
    let done = ended.map(|report| verified(&title, shown, &report));
    work::tell(bot, talk, &title, shown, done).await;
}

fn verified(title: &Title, shown: Shown, report: &verify::Report) -> Done {
    let checked = &report.checked;
    let much = format!(
        "{} in {}, {}",
        text::counted(checked.files, "file"),
        text::counted(checked.packs, "pack"),
        text::bytes(checked.chunk_bytes),
    );
    let result = match (report.problems.len() as u64, report.complete) {
        (0, true) => "nothing is wrong".into(),
        (0, false) => "interrupted; nothing wrong was found until then".into(),
        (count, _) => format!("**{}**", text::counted(count, "problem")),
    };
    let how = match report.depth {
        verify::Depth::Quick => "listed",
        verify::Depth::Full => "fetched and unsealed",
    };
    Done {
        own: format!(
            "**{}**: {result}.\n{much}, {how}.{}",
            title.own,
            problems(&report.problems, shown)
        ),
        open: format!("**{}**: {result}.", title.open),
    }
}

fn problems(problems: &[Problem], shown: Shown) -> String {
    let mut text = String::new();
    if shown == Shown::Ids {
        return text;
    }
    for problem in problems.iter().take(PROBLEMS_MAX) {
        text.push_str(&format!("\n- {}", text::words(&problem.what)));
        for path in problem.paths.iter().take(PATHS_MAX) {
            text.push_str(&format!("\n  - {}", text::name(path)));
        }
        if problem.paths.len() > PATHS_MAX {
            text.push_str(&format!(
                "\n  - and {} more",
                problem.paths.len() - PATHS_MAX
            ));
        }
        text.push_str(&format!("\n  {}", text::words(&problem.advice)));
    }
    if problems.len() > PROBLEMS_MAX {
        text.push_str("\n`ods verify` on the machine lists all of them.");
    }
    text
}

/// `/rebuild`: what a lost index, a damaged journal or missing packs would be rebuilt from is put right.
pub(in crate::bot) async fn rebuild(bot: &Arc<Bot>, talk: &mut Talk, shown: Shown) {
    let title = title("Rebuild", "", "Rebuild");
    let wish = repair::Wish {
        scope: Scope::Drive,
        depth: verify::Depth::Quick,
        losses: repair::Losses::Keep,
        mode: repair::Mode::Repair,
        from: None,
    };
    let mend = move |bot: &Bot, task: &Task<'_>| Ok(bot.desk.drive().repair(&wish, task)?);
    let Some(ended) = work::run(bot, talk, &title, mend).await else {
        return;
    };
    let done = ended.map(|report| {
        let (found, left) = (report.found.len() as u64, report.left.len() as u64);
        let result = match (found, left, report.complete) {
            (0, _, true) => "nothing had to be put right".into(),
            (_, 0, true) => format!("{} put right", text::counted(found, "problem")),
            (_, _, true) => format!("{} found, **{left} left**", text::counted(found, "problem")),
            (_, _, false) => "interrupted; what was done is kept".into(),
        };
        Done {
            own: format!(
                "**{}**: {result}.{}",
                title.own,
                problems(&report.left, shown)
            ),
            open: format!("**{}**: {result}.", title.open),
        }
    });
    work::tell(bot, talk, &title, shown, done).await;
}

/// The archive of an id, as it is now; none where none is named.
fn archive(bot: &Bot, what: &str) -> Result<Option<ArchiveInfo>, Error> {
    if what.is_empty() {
        return Ok(None);
    }
    let Target::Archive(id) = Target::parse(what)? else {
        let text = "name an archive by its id (#DDMMYY-NN), or nothing: what waits goes to Discord as a whole";
        return Err(Error::Usage(text.into()));
    };
    let all = Query {
        removed: Removed::Shown,
        ..Query::default()
    };
    let mut all = service::archives(bot.desk.drive(), &all)?
        .archives
        .into_iter();
    let found = all.find(|info| info.id == id);
    let none = || Error::NotFound(format!("there is no archive {id} in the drive"));
    found.map(Some).ok_or_else(none)
}

/// `/resume`: what waits goes to Discord now, and an archive that was named is told of.
pub(in crate::bot) async fn resume(bot: &Arc<Bot>, talk: &mut Talk, shown: Shown, what: &str) {
    let named = what.to_owned();
    match bot.blocking(move |bot| archive(bot, &named)).await {
        Some(Ok(_)) => {}
        Some(Err(error)) => return work::say(talk, &sorry(bot, &error, shown)).await,
        None => return,
    }
    let title = Title {
        own: "Upload of what waits".into(),
        open: "Upload of what waits",
        kind: Kind::Transfer,
    };
    let named = what.to_owned();
    let go_on = move |bot: &Bot, task: &Task<'_>| {
        let sent = flush(bot.desk.drive(), task)?;
        Ok((sent, archive(bot, &named)?))
    };
    let Some(ended) = work::run(bot, talk, &title, go_on).await else {
        return;
    };
    let done = ended.map(|(sent, archive)| {
        let mut text = match sent {
            0 => "Nothing waits: everything is on Discord.".to_owned(),
            sent => format!(
                "**{}**: done, {} are on Discord.",
                title.own,
                text::bytes(sent)
            ),
        };
        if let Some(info) = archive {
            let (id, state) = (info.id, info.state.word());
            text.push_str(&format!(
                "\n`{id}` is {state}. What waits goes as a whole, whichever archive is named."
            ));
        }
        Done {
            own: text.clone(),
            open: text,
        }
    });
    work::tell(bot, talk, &title, shown, done).await;
}

/// Brings everything to Discord, and tells how far it is. Gives the bytes that waited.
pub(in crate::bot) fn flush(drive: &Drive, task: &Task<'_>) -> Result<u64, drive::Error> {
    let waited = drive.status()?.dirty_bytes;
    task.begin("uploading", 0, waited)?;
    let mut stopped = Ok(());
    let mut asked: Option<std::time::Instant> = None;
    let flushed = drive.flush_whole(|| {
        let is_due = asked.is_none_or(|at| at.elapsed() >= FLUSH_LOOK_EVERY);
        stopped = match is_due.then(|| drive.status()) {
            Some(Ok(status)) => {
                asked = Some(std::time::Instant::now());
                let all = status.dirty_bytes.max(waited);
                let begun = task.begin("uploading", 0, all);
                begun.and_then(|()| task.done(0, all - status.dirty_bytes))
            }
            _ => task.check(),
        };
        stopped.is_ok()
    });
    stopped?;
    flushed?;
    Ok(waited)
}

/// How often an upload is looked at.
const FLUSH_LOOK_EVERY: std::time::Duration = std::time::Duration::from_secs(1);

/// `/cleanup`: an archive goes, once whoever asked has said so again.
pub(in crate::bot) async fn cleanup(bot: &Arc<Bot>, talk: &mut Talk, shown: Shown, what: &str) {
    let target = match Target::parse(what) {
        Ok(Target::Path(_)) => {
            let text = "Name an archive by its id (#DDMMYY-NN); files are deleted where the drive is mounted.";
            return work::say(talk, &Page::new(text)).await;
        }
        Ok(target) => target,
        Err(error) => return work::say(talk, &sorry(bot, &error, shown)).await,
    };
    let title = title("Cleanup", what, "Cleanup");
    let wish = |consent| Delete {
        target: target.clone(),
        consent,
    };
    let ask = wish(Consent::Ask);
    let delete =
        |wish: Delete| move |bot: &Bot, task: &Task<'_>| service::delete(&bot.desk, &wish, task);
    let stake = match work::run(bot, talk, &title, delete(ask)).await {
        None => return,
        Some(Err(Error::Conflict(stake))) => stake,
        Some(Err(error)) => return work::say(talk, &sorry(bot, &error, shown)).await,
        Some(Ok(_)) => return work::say(talk, &Page::open("There was nothing to delete.")).await,
    };
    let open = format!("Delete {} with everything in it?", text::name(what));
    let stake = Stake {
        own: &stake,
        open: &open,
        yes: "Delete",
        otherwise: "Nothing was deleted.",
    };
    if !question::agreed(bot, talk, shown, stake).await {
        return;
    }
    let Some(ended) = work::run(bot, talk, &title, delete(wish(Consent::Given))).await else {
        return;
    };
    let done = ended.map(|deleted| {
        let text = format!(
            "**{}**: {} with {} are deleted. What Discord has of them goes with the garbage.",
            title.own,
            text::counted(deleted.files, "file"),
            text::bytes(deleted.bytes),
        );
        Done {
            own: text.clone(),
            open: text,
        }
    });
    work::tell(bot, talk, &title, shown, done).await;
}
