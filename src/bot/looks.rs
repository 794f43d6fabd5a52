//! Answers from the index and the drive's status, given at once.

use std::collections::HashMap;
use std::path::Path;

use crate::bot::Bot;
use crate::bot::ask::Word;
use crate::bot::page::Button;
use crate::bot::page::Can;
use crate::bot::page::Look;
use crate::bot::page::Page;
use crate::bot::paths;
use crate::bot::permit::Asker;
use crate::bot::permit::Shown;
use crate::bot::text;
use crate::bot::work::span;
use crate::drive::status::Phase;
use crate::drive::task::Go;
use crate::drive::task::Task;
use crate::service;
use crate::service::ArchiveInfo;
use crate::service::Error;
use crate::service::Info;
use crate::service::Query;
use crate::service::State;
use crate::service::Target;

/// Archives on one page.
const PAGE: usize = 8;

/// Archives in the history.
const HISTORY: usize = 5;

/// Files that a query looks at.
const HITS_MAX: usize = 1000;

/// Longest query that the buttons of a page carry, characters: an id holds 100.
const QUERY_CHARS_MAX: usize = 60;

/// `/status`. Paths of the machine are shown only where that is wanted.
pub(in crate::bot) fn status(bot: &Bot, shown: Shown) -> Result<Page, Error> {
    let status = bot.desk.drive().status()?;
    let name = text::name(&bot.drive_name);
    let mut lines = vec![match (status.unpublished, status.phase) {
        (false, _) => format!("**{name}**: everything is on Discord."),
        (true, Phase::Idle) => format!("**{name}**: changes wait for their upload."),
        (true, _) => format!("**{name}**: uploading."),
    }];
    if status.dirty_bytes > 0 {
        let (bytes, files) = (text::bytes(status.dirty_bytes), status.dirty_files);
        lines.push(format!(
            "Waiting: {bytes} in {}",
            text::counted(files, "file")
        ));
    }
    if status.queue_bytes > status.queue_done_bytes {
        let bar = text::bar(status.queue_done_bytes, status.queue_bytes);
        let rate = text::bytes(status.rate_bytes_per_s);
        let left = status
            .eta_s
            .map(|eta| format!(", about {} left", span(eta.into())));
        lines.push(format!("{bar} at {rate}/s{}", left.unwrap_or_default()));
    }
    if status.read_only.is_some() {
        lines.push("The drive takes no changes at the moment.".into());
    }
    if let Some(seconds) = status.discord.waiting_s {
        lines.push(format!("Discord asks to wait {seconds} s."));
    }
    lines.push(format!(
        "{} · spool {} of {} · {} to Discord since the start",
        text::counted(
            status.archives.iter().filter(|one| !one.removed).count() as u64,
            "archive"
        ),
        text::bytes(status.spool.bytes),
        text::bytes(status.spool.limit_bytes),
        text::counted(status.discord.requests_total, "request"),
    ));
    if !status.damaged.is_empty() {
        let files = text::counted(status.damaged.len() as u64, "file");
        lines.push(format!(
            "**{files} cannot be read back**; `/verify` tells more."
        ));
    }
    let last = service::history(bot.desk.drive(), 1)?.archives;
    lines.extend(
        last.iter()
            .map(|info| format!("Changed last: {}", line(info, shown))),
    );
    lines.push(place(bot.mountpoint.as_deref(), shown));
    lines.push("What Discord keeps of it is encrypted.".into());
    // Errors may name channels, and what went wrong is the owner's business.
    if let (Shown::Paths | Shown::Names, Some(error)) = (shown, &status.last_error) {
        let error = paths::words(bot, error, shown);
        lines.push(format!("Last error: {}", text::words(&error)));
    }
    Ok(Page::new(lines.join("\n")))
}

/// Where the drive is mounted.
fn place(mountpoint: Option<&Path>, shown: Shown) -> String {
    match (mountpoint, shown == Shown::Paths) {
        (Some(path), true) => format!("Mounted at {}", text::name(&path.to_string_lossy())),
        (Some(_), false) => "Mounted".into(),
        (None, _) => "Not mounted: its bot runs alone".into(),
    }
}

/// `/history`
pub(in crate::bot) fn history(bot: &Bot, shown: Shown) -> Result<Page, Error> {
    let history = service::history(bot.desk.drive(), HISTORY)?;
    let mut lines = vec![String::from("**Archives that changed last**")];
    lines.extend(history.archives.iter().map(|info| line(info, shown)));
    if history.archives.is_empty() {
        lines.push(String::from("There are none yet."));
    }
    Ok(Page::new(lines.join("\n")))
}

/// `/archives`, one page of them.
pub(in crate::bot) fn archives(
    bot: &Bot,
    query: &str,
    page: usize,
    shown: Shown,
) -> Result<Page, Error> {
    let (found, held) = search(bot, query, page * PAGE, shown)?;
    let pages = found.found.div_ceil(PAGE).max(1);
    let page = page.min(pages - 1);
    let mut lines = vec![match query {
        "" => format!("**{}**", text::counted(found.found as u64, "archive")),
        query => {
            let count = text::counted(found.found as u64, "archive");
            format!("**{count} for** {}", text::name(query))
        }
    }];
    for info in &found.archives {
        lines.push(line(info, shown));
        lines.extend(held.paths.get(&info.id).map(|paths| inside(paths)));
    }
    if held.is_more {
        lines.push("More files have these words; `ods search` on the machine lists them.".into());
    }
    let mut answer = Page::default();
    if pages > 1 {
        lines.push(format!("Page {} of {pages}", page + 1));
        let query: String = query.chars().take(QUERY_CHARS_MAX).collect();
        let button = |label, to: Option<usize>, other: &str| Button {
            label,
            // Two buttons of a message must differ also where neither leads anywhere.
            id: match to {
                Some(to) => format!("page:{to}:{query}"),
                None => format!("page:{other}:"),
            },
            look: Look::Plain,
            can: if to.is_some() { Can::Press } else { Can::Not },
        };
        let next = (page + 1 < pages).then_some(page + 1);
        answer.buttons = vec![
            button("Back", page.checked_sub(1), "first"),
            button("Next", next, "last"),
        ];
    }
    answer.text = lines.join("\n");
    Ok(answer)
}

/// What a query found in archives.
#[derive(Default)]
struct Held {
    /// Paths by the archive's id.
    paths: HashMap<String, Vec<String>>,
    /// Were there too many to look at all of them?
    is_more: bool,
}

/// One page of the archives that a query finds by what is written about them, or by the name of something in
/// them. Who is shown ids alone finds by ids alone.
fn search(
    bot: &Bot,
    query: &str,
    skip: usize,
    shown: Shown,
) -> Result<(service::Archives, Held), Error> {
    if shown == Shown::Ids || query.trim().is_empty() {
        return Ok((find(bot, query, skip, PAGE, shown)?, Held::default()));
    }
    let go_on = |_: &crate::drive::task::Progress| Go::On;
    let drive = bot.desk.drive();
    let found = service::search(drive, query, HITS_MAX, &Task::new(&go_on))?;
    let mut held = Held {
        is_more: found.more,
        ..Held::default()
    };
    for hit in found.files {
        held.paths.entry(hit.archive).or_default().push(hit.path);
    }
    let mut all = service::archives(drive, &Query::default())?;
    all.archives.retain(|info| {
        let is_described = found.archives.iter().any(|one| one.id == info.id);
        is_described || held.paths.contains_key(&info.id)
    });
    // Its own directory is no file in it.
    for info in &all.archives {
        if let Some(paths) = held.paths.get_mut(&info.id) {
            paths.retain(|path| *path != info.directory);
        }
    }
    held.paths.retain(|_, paths| !paths.is_empty());
    all.found = all.archives.len();
    all.archives = all.archives.into_iter().skip(skip).take(PAGE).collect();
    Ok((all, held))
}

/// What was found in an archive, in one line.
fn inside(paths: &[String]) -> String {
    let first = paths.first().map_or(String::new(), |path| text::name(path));
    match paths.len() {
        0 | 1 => format!("- {first}"),
        more => format!("- {first} and {} more", more - 1),
    }
}

/// Archives a query finds. Who is shown ids alone finds by ids alone.
pub(in crate::bot) fn find(
    bot: &Bot,
    query: &str,
    skip: usize,
    limit: usize,
    shown: Shown,
) -> Result<service::Archives, Error> {
    let ask = |text: &str, skip, limit| Query {
        text: text.to_owned(),
        skip,
        limit,
        ..Query::default()
    };
    let drive = bot.desk.drive();
    if shown != Shown::Ids || query.is_empty() {
        return service::archives(drive, &ask(query, skip, limit));
    }
    let mut all = service::archives(drive, &ask("", 0, 0))?;
    all.archives.retain(|info| info.id.contains(query.trim()));
    all.found = all.archives.len();
    let rest = all.archives.into_iter().skip(skip).take(limit);
    all.archives = rest.collect();
    Ok(all)
}

/// An archive in one line.
fn line(info: &ArchiveInfo, shown: Shown) -> String {
    let id = match &info.address {
        Some(address) => format!("[`{}`]({address})", info.id),
        None => format!("`{}`", info.id),
    };
    let mut line = format!(
        "{id} · {} · {} · {}",
        text::counted(info.files, "file"),
        text::bytes(info.bytes),
        info.state.word(),
    );
    let changed = info.changed_s.unwrap_or(info.created_s);
    line.push_str(&format!(" · {}", text::moment(changed)));
    let named = called(info);
    if shown != Shown::Ids && !named.is_empty() {
        line.push_str(&format!(" · {}", text::name(&named)));
    }
    line
}

/// What people call an archive.
pub(in crate::bot) fn called(info: &ArchiveInfo) -> String {
    match info.title.is_empty() {
        true => info.directory.clone(),
        false => info.title.clone(),
    }
}

/// `/info`
pub(in crate::bot) fn info(bot: &Bot, what: &str, shown: Shown) -> Result<Page, Error> {
    let target = Target::parse(what)?;
    if let (Shown::Ids, Target::Path(_)) = (shown, &target) {
        let text = "Ask about an archive by its id (#DDMMYY-NN). Paths are for those who manage this server.";
        return Ok(Page::new(text));
    }
    let go_on = |_: &crate::drive::task::Progress| Go::On;
    let infos = service::info(bot.desk.drive(), &target, &Task::new(&go_on))?;
    let pages: Vec<String> = infos.iter().map(|info| about(info, shown)).collect();
    Ok(Page::new(pages.join("\n\n")))
}

fn about(info: &Info, shown: Shown) -> String {
    let target = match (&info.archive, shown) {
        (Some(archive), _) if info.kind == "archive" => line(archive, shown),
        _ => format!("**{}** ({})", text::name(&info.target), info.kind),
    };
    let mut lines = vec![target];
    if let Some(archive) = info.archive.as_ref().filter(|_| shown != Shown::Ids) {
        if !archive.description.is_empty() {
            lines.push(text::words(&archive.description));
        }
        if !archive.tags.is_empty() {
            let tags: Vec<String> = archive.tags.iter().map(|tag| text::name(tag)).collect();
            lines.push(format!("Tags: {}", tags.join(", ")));
        }
    }
    let (files, bytes) = (text::counted(info.files, "file"), text::bytes(info.bytes));
    lines.push(format!("{files}, {bytes}"));
    lines.push(format!(
        "{} in {}, {} as sealed",
        text::counted(info.chunks, "chunk"),
        text::counted(info.packs, "pack"),
        text::bytes(info.sealed_bytes),
    ));
    lines.push(format!(
        "Deduplication saves {}, compression {}",
        percent(info.dedup_saving),
        percent(info.compression_saving),
    ));
    if let Some(archive) = &info.archive {
        let state = match archive.state {
            State::Damaged => "damaged: `/verify` tells what",
            state => state.word(),
        };
        lines.push(format!("State: {state}"));
        lines.push(format!("Made {}", text::moment(archive.created_s)));
    }
    lines.join("\n")
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// `/stats`
pub(in crate::bot) fn stats(bot: &Bot) -> Result<Page, Error> {
    let stats = service::stats(bot.desk.drive())?;
    let lines = [
        format!("**{}**", text::name(&bot.drive_name)),
        format!(
            "{} in {}, {}",
            text::counted(stats.files, "file"),
            text::counted(stats.archives, "archive"),
            text::bytes(stats.bytes),
        ),
        format!(
            "{} in {}, {} on Discord",
            text::counted(stats.chunks, "chunk"),
            text::counted(stats.packs, "pack"),
            text::bytes(stats.pack_bytes),
        ),
        format!(
            "Deduplication saves {}, compression {}",
            percent(stats.dedup_saving),
            percent(stats.compression_saving),
        ),
        format!(
            "{} wait here · epoch {} · {}",
            text::bytes(stats.waiting_bytes),
            stats.epoch,
            text::counted(stats.requests, "request"),
        ),
    ];
    Ok(Page::new(lines.join("\n")))
}

/// `/help`: what this person may ask.
pub(in crate::bot) fn help(bot: &Bot, asker: Asker) -> Page {
    let allowed = Word::ALL
        .into_iter()
        .filter(|word| bot.settings.permit(asker, *word).is_ok());
    let mut lines: Vec<String> = allowed
        .map(|word| format!("`/{}` {}", word.name(), word.about()))
        .collect();
    lines
        .push("Archives are called `#DDMMYY-NN`, a range of them `#DDMMYY-NN..#DDMMYY-NN`.".into());
    Page::new(lines.join("\n"))
}
