//! `/upload`: an attachment, or a file of the machine, goes into the drive and on to Discord.

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use crate::bot::Bot;
use crate::bot::ask::Source;
use crate::bot::attached;
use crate::bot::page::Page;
use crate::bot::paths;
use crate::bot::permit::Asker;
use crate::bot::permit::Shown;
use crate::bot::question;
use crate::bot::question::Stake;
use crate::bot::settings::Settings;
use crate::bot::talk::Talk;
use crate::bot::text;
use crate::bot::upkeep::flush;
use crate::bot::wire::Attachment;
use crate::bot::work;
use crate::bot::work::Done;
use crate::bot::work::Kind;
use crate::bot::work::Title;
use crate::drive::task::Task;
use crate::service;
use crate::service::Check;
use crate::service::Consent;
use crate::service::Copied;
use crate::service::Error;
use crate::service::HostPath;
use crate::service::Put;
use crate::service::Until;
use crate::service::Words;
use crate::store::discord::Fetching;

/// Directory of the drive for attachments that nobody named another one for.
const ATTACHMENTS: &str = "Uploads";

/// Entries of a directory that are told by name.
const LISTED_MAX: usize = 5;

/// Why nothing of the machine is taken.
const NOT_LISTED: &str = "Files of the machine cannot be uploaded: its owner listed no directory for that (`upload_dirs`). Attach a file.";

/// What is put, once it is sure that it may be.
#[derive(Clone)]
enum Load {
    Paths(Vec<PathBuf>),
    Attached(Vec<Attachment>),
}

/// Puts it, and asks before something else is replaced.
pub(in crate::bot) async fn upload(
    bot: &Arc<Bot>,
    talk: &mut Talk,
    asker: Asker,
    source: Source,
    to: &str,
) {
    let shown = bot.settings.shown(asker, talk.audience);
    let is_inbox = source == Source::Inbox;
    let (load, own) = match load(bot, source, shown).await {
        Some(Ok(load)) => load,
        Some(Err(why)) => return work::say(talk, &Page::new(why)).await,
        None => return,
    };
    let title = Title {
        own: match shown {
            Shown::Paths | Shown::Names => own,
            Shown::Ids => "Upload".into(),
        },
        open: "Upload",
        kind: Kind::Transfer,
    };
    if let (true, Load::Paths(paths)) = (is_inbox, &load) {
        work::say(talk, &begun(&title, paths.len())).await;
    }
    let to = match (&load, to.trim_matches('/')) {
        (Load::Attached(_), "") => ATTACHMENTS.to_owned(),
        (_, to) => to.to_owned(),
    };
    let mut ended = match once(bot, talk, &title, &load, &to, Consent::Ask).await {
        None => return,
        Some(ended) => ended,
    };
    if let Err(Error::Conflict(stake)) = &ended {
        let open = "There is something else of this name. Replace it?";
        let stake = Stake {
            own: stake,
            open,
            yes: "Replace",
            otherwise: "Nothing was replaced.",
        };
        if !question::agreed(bot, talk, shown, stake).await {
            return;
        }
        ended = match once(bot, talk, &title, &load, &to, Consent::Given).await {
            None => return,
            Some(ended) => ended,
        };
    }
    let done = ended.map(|copied| told(&title, shown, &copied));
    work::tell(bot, talk, &title, shown, done).await;
}

/// What is taken, and what it is called for who is shown names.
async fn load(
    bot: &Arc<Bot>,
    source: Source,
    shown: Shown,
) -> Option<Result<(Load, String), String>> {
    match source {
        Source::Attached(files) => {
            let own = match &attached::names(&files)[..] {
                [only] => format!("Upload of {}", text::name(only)),
                names => format!("Upload of {}", text::counted(names.len() as u64, "file")),
            };
            Some(Ok((Load::Attached(files), own)))
        }
        Source::Machine(path) => {
            let own = format!("Upload of {}", text::name(&path.to_string_lossy()));
            let found = bot
                .blocking(move |bot| allowed(&bot.settings, &bot.state_dir, &path))
                .await?;
            Some(found.map(|path| (Load::Paths(vec![path]), own)))
        }
        Source::Inbox => {
            let found = bot
                .blocking(move |bot| inbox(&bot.settings, &bot.state_dir, shown))
                .await?;
            Some(found.map(|paths| {
                let own = format!("Upload of {}", listed(&paths));
                (Load::Paths(paths), own)
            }))
        }
    }
}

/// Says what will be taken, before it is.
fn begun(title: &Title, entries: usize) -> Page {
    let what = match entries {
        1 => "the only entry of the upload directory is taken".to_owned(),
        entries => format!("all {entries} entries of the upload directory are taken"),
    };
    Page {
        open_text: Some(format!("**{}**: {what}.", title.open)),
        ..Page::new(format!("**{}**: {what}.", title.own))
    }
}

/// Names of what is taken, as far as they fit into a line.
fn listed(paths: &[PathBuf]) -> String {
    let names = paths.iter().filter_map(|path| path.file_name());
    let names = names.map(|name| text::name(&name.to_string_lossy()));
    let mut listed = names.take(LISTED_MAX).collect::<Vec<_>>().join(", ");
    if paths.len() > LISTED_MAX {
        listed.push_str(&format!(" and {} more", paths.len() - LISTED_MAX));
    }
    listed
}

/// All that is in the one directory that files may be taken from.
fn inbox(settings: &Settings, state_dir: &Path, shown: Shown) -> Result<Vec<PathBuf>, String> {
    let dir = match (&settings.upload_dirs[..], shown == Shown::Paths) {
        ([], _) => return Err(NOT_LISTED.into()),
        ([only], _) => allowed(settings, state_dir, only)?,
        (dirs, true) => {
            let dirs = dirs.iter().map(|dir| text::name(&dir.to_string_lossy()));
            let dirs: Vec<String> = dirs.collect();
            return Err(format!(
                "Attach a file, or name a path; it may be one of these directories, or lie in one: {}",
                dirs.join(", ")
            ));
        }
        (dirs, false) => {
            return Err(format!(
                "Attach a file, or name a path in one of the {} directories that may be uploaded from.",
                dirs.len()
            ));
        }
    };
    let unread = || String::from("The upload directory cannot be read; look at it on the machine.");
    let entries = std::fs::read_dir(dir).map_err(|_| unread())?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths: Vec<PathBuf> = paths.collect::<Result<_, _>>().map_err(|_| unread())?;
    paths.sort();
    match paths.is_empty() {
        true => Err("Nothing is in the upload directory.".into()),
        false => Ok(paths),
    }
}

async fn once(
    bot: &Arc<Bot>,
    talk: &mut Talk,
    title: &Title,
    load: &Load,
    to: &str,
    consent: Consent,
) -> Option<Result<Copied, Error>> {
    match load {
        Load::Paths(paths) => {
            let sources = paths.iter().map(|path| HostPath::from(path.as_path()));
            let wish = Put {
                sources: sources.collect(),
                to: to.as_bytes().to_vec(),
                words: Words::default(),
                check: Check::Times,
                consent,
                until: Until::Kept,
            };
            let put = move |bot: &Bot, task: &Task<'_>| {
                let copied = service::put(&bot.desk, &wish, task)?;
                flush(bot.desk.drive(), task)?;
                Ok(copied)
            };
            work::run(bot, talk, title, put).await
        }
        Load::Attached(files) => {
            let (files, to) = (files.clone(), to.as_bytes().to_vec());
            let put = move |bot: &Bot, task: &Task<'_>| receive(bot, &files, &to, consent, task);
            work::run(bot, talk, title, put).await
        }
    }
}

/// Takes attachments as they come from Discord.
fn receive(
    bot: &Bot,
    files: &[Attachment],
    to: &[u8],
    consent: Consent,
    task: &Task<'_>,
) -> Result<Copied, Error> {
    let runtime = bot.desk.drive().runtime().clone();
    let bytes = files.iter().map(|file| file.size).sum();
    task.begin("fetching", files.len() as u64, bytes)?;
    let mut all = Copied::default();
    for (file, name) in files.iter().zip(attached::names(files)) {
        let stored = |error: crate::store::Error| Error::Drive(error.into());
        let fetching = runtime
            .block_on(bot.messenger.fetch(&file.url))
            .map_err(stored)?;
        let mut coming = Coming {
            runtime: &runtime,
            fetching,
        };
        let wish = service::Receive {
            to: to.to_vec(),
            name: name.into_bytes(),
            bytes: file.size,
            consent,
        };
        let next = &mut || coming.next();
        let copied = service::receive(&bot.desk, &wish, next, task)?;
        all.files += copied.files;
        all.bytes += copied.bytes;
        for archive in copied.archives {
            if !all.archives.contains(&archive) {
                all.archives.push(archive);
            }
        }
    }
    flush(bot.desk.drive(), task)?;
    Ok(all)
}

/// An attachment that is read by who may block.
struct Coming<'r> {
    runtime: &'r tokio::runtime::Handle,
    fetching: Fetching,
}

impl Coming<'_> {
    fn next(&mut self) -> Result<Option<bytes::Bytes>, Error> {
        let next = self.runtime.block_on(self.fetching.next());
        next.map_err(|error| Error::Drive(error.into()))
    }
}

fn told(title: &Title, shown: Shown, copied: &Copied) -> Done {
    let mut text = format!(
        "**{}**: {}, {} are on Discord",
        title.own,
        text::counted(copied.files, "file"),
        text::bytes(copied.bytes),
    );
    if !copied.archives.is_empty() {
        let ids: Vec<String> = copied.archives.iter().map(|id| format!("`{id}`")).collect();
        text.push_str(&format!(" as {}", ids.join(", ")));
    }
    text.push('.');
    if copied.skipped > 0 {
        let skipped = text::counted(copied.skipped, "file");
        text.push_str(&format!(" {skipped} were there already."));
    }
    if !copied.left_out.is_empty() {
        let places = text::counted(copied.left_out.len() as u64, "place");
        text.push_str(&format!(
            " {places} of mounts and of ods itself were left out."
        ));
    }
    let mut own = text.clone();
    if !copied.failed.is_empty() {
        let failed = text::counted(copied.failed.len() as u64, "file");
        text.push_str(&format!(" **{failed} could not be copied.**"));
        own.clone_from(&text);
        if shown != Shown::Ids {
            for failure in copied.failed.iter().take(5) {
                let path = text::name(paths::path(&failure.path, shown));
                let why = text::words(&failure.why);
                own.push_str(&format!("\n- {path}: {why}"));
            }
        }
    }
    let open = text.replacen(&title.own, title.open, 1);
    Done { own, open }
}

/// The path with all links followed, if it lies in a directory that the owner listed. What is not there
/// is told like what is not allowed, so nobody learns what the machine has.
pub(in crate::bot) fn allowed(
    settings: &Settings,
    state_dir: &Path,
    path: &Path,
) -> Result<PathBuf, String> {
    if settings.upload_dirs.is_empty() {
        return Err(NOT_LISTED.into());
    }
    let refused =
        || String::from("There is no such file in the directories that may be uploaded from.");
    let found = path.canonicalize().map_err(|_| refused())?;
    let is_inside = settings
        .upload_dirs
        .iter()
        .filter_map(|dir| dir.canonicalize().ok())
        .any(|dir| found.starts_with(dir));
    // The drive's own state would upload itself.
    let state = state_dir
        .canonicalize()
        .unwrap_or_else(|_| state_dir.to_owned());
    let is_state = found.starts_with(&state) || state.starts_with(&found);
    match path.is_absolute() && is_inside && !is_state {
        true => Ok(found),
        false => Err(refused()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_in_a_listed_directory_is_uploaded() {
        let top = tempfile::tempdir().expect("a directory");
        let path = |below: &str| top.path().join(below);
        for dir in ["in", "in/state", "out"] {
            std::fs::create_dir(path(dir)).expect("a directory");
        }
        for file in ["in/file", "out/file", "in/state/file"] {
            std::fs::write(path(file), "x").expect("a file");
        }
        std::os::unix::fs::symlink(path("out"), path("in/link")).expect("a link");
        let mut settings = Settings {
            upload_dirs: vec![path("in")],
            ..Settings::default()
        };
        let state = path("in/state");
        let may = |settings: &Settings, below: &str| allowed(settings, &state, &path(below));
        assert!(may(&settings, "in/file").is_ok());
        for below in [
            "out/file",
            "in/link/file",
            "in/../out/file",
            "in/none",
            "in",
            "in/state/file",
        ] {
            let why = may(&settings, below).expect_err(below);
            assert!(why.starts_with("There is no such file"), "{why}");
        }
        assert!(allowed(&settings, &state, Path::new("in/file")).is_err());
        settings.upload_dirs.clear();
        assert!(may(&settings, "in/file").is_err());
    }
}
