//! Collecting garbage: what no file needs any more leaves Discord, once whoever asked has said so again.

use std::sync::Arc;

use crate::bot::Bot;
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
use crate::drive::gc::Amount;
use crate::drive::gc::Extent;
use crate::drive::gc::Report;
use crate::drive::gc::Wish;
use crate::drive::task::Task;

/// `/gc`: tells what would go, asks, and does what `ods gc` does.
pub(in crate::bot) async fn gc(bot: &Arc<Bot>, talk: &mut Talk, shown: Shown) {
    let title = Title {
        own: "Garbage collection".into(),
        open: "Garbage collection",
        kind: Kind::Other,
    };
    let collect = |dry_run| {
        let wish = Wish {
            dry_run,
            delay_s: None,
            extent: Extent::Full,
        };
        move |bot: &Bot, task: &Task<'_>| Ok(bot.desk.drive().collect(&wish, task)?)
    };
    let would = match work::run(bot, talk, &title, collect(true)).await {
        None => return,
        Some(Err(error)) => return work::say(talk, &sorry(bot, &error, shown)).await,
        Some(Ok(report)) => report,
    };
    if does_nothing(&would) {
        let text = format!("There is nothing to collect.{}", waiting(&would));
        return work::say(talk, &Page::open(&text)).await;
    }
    let asked = format!(
        "{}This takes at most {}. Collect?",
        lines(&would),
        text::counted(would.requests, "request")
    );
    let stake = Stake {
        own: &asked,
        open: &asked,
        yes: "Collect",
        otherwise: "Nothing was collected.",
    };
    // Nothing of it names a file.
    if !question::agreed(bot, talk, Shown::Ids, stake).await {
        return;
    }
    let Some(ended) = work::run(bot, talk, &title, collect(false)).await else {
        return;
    };
    let done = ended.map(|report| {
        let how = match report.complete {
            true => "done",
            false => "interrupted; what was done is kept",
        };
        let text = format!("**{}**: {how}.\n{}", title.own, lines(&report));
        Done {
            own: text.clone(),
            open: text,
        }
    });
    work::tell(bot, talk, &title, shown, done).await;
}

fn does_nothing(report: &Report) -> bool {
    let moved = [report.dead, report.emptied, report.orphans, report.removed];
    moved.iter().all(|amount| amount.packs == 0) && report.archives_removed == 0
}

/// What goes, one line for each way; nothing of it names a file.
fn lines(report: &Report) -> String {
    let did = |done: &'static str, would: &'static str| match report.dry_run {
        true => would,
        false => done,
    };
    let buried = did("buried", "would be buried");
    let mut lines = String::new();
    let mut line = |amount: Amount, how: String| {
        if amount.packs > 0 {
            lines.push_str(&format!("{} {how}\n", packs(amount)));
        }
    };
    line(report.dead, format!("of no use: {buried}"));
    let moved = text::bytes(report.moved_bytes);
    let how = did("moved", "would be moved");
    line(
        report.emptied,
        format!("mostly of no use: {moved} {how}, the rest {buried}"),
    );
    line(report.orphans, format!("that nothing knows: {buried}"));
    let how = did("removed", "would be removed");
    line(report.removed, format!("{how} from Discord"));
    if report.archives_removed > 0 {
        let threads = text::counted(report.archives_removed, "thread");
        lines.push_str(&format!("{threads} of deleted archives {how}\n"));
    }
    let waiting = waiting(report);
    match waiting.is_empty() {
        true => lines,
        false => format!("{lines}{}\n", waiting.trim_start()),
    }
}

/// What was buried before and goes later, as a sentence after another one.
fn waiting(report: &Report) -> String {
    match report.waiting.packs {
        0 => String::new(),
        _ => format!(
            " {} buried until their time is over.",
            packs(report.waiting)
        ),
    }
}

fn packs(amount: Amount) -> String {
    let bytes = text::bytes(amount.bytes);
    format!("{} ({bytes})", text::counted(amount.packs, "pack"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report {
            dry_run: true,
            ..Report::default()
        }
    }

    #[test]
    fn nothing_to_do_is_told_apart_from_what_only_waits() {
        let waits = Report {
            waiting: Amount {
                packs: 2,
                bytes: 10,
            },
            ..report()
        };
        assert!(does_nothing(&report()) && does_nothing(&waits));
        assert!(waiting(&waits).contains("2 packs") && waiting(&report()).is_empty());
        let dead = Report {
            dead: Amount {
                packs: 1,
                bytes: 10,
            },
            ..waits
        };
        assert!(!does_nothing(&dead));
        let told = lines(&dead);
        assert!(
            told.starts_with("1 pack (10 B) of no use: would be buried\n2 packs"),
            "{told}"
        );
    }
}
