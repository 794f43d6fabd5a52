//! `/download`: a small file comes as an attachment, everything else into a directory of the machine.

use std::sync::Arc;

use bytes::Bytes;

use crate::bot::Bot;
use crate::bot::ask::Goal;
use crate::bot::page::Page;
use crate::bot::paths;
use crate::bot::permit::Asker;
use crate::bot::permit::Audience;
use crate::bot::permit::Shown;
use crate::bot::question;
use crate::bot::question::Stake;
use crate::bot::serve::sorry;
use crate::bot::talk::Talk;
use crate::bot::text;
use crate::bot::work;
use crate::bot::work::Done;
use crate::bot::work::Kind as Work;
use crate::bot::work::Title;
use crate::drive::Look;
use crate::drive::is_like_an_object;
use crate::drive::task::Task;
use crate::id::InodeNo;
use crate::index::inode::Inode;
use crate::index::inode::Kind;
use crate::service;
use crate::service::Check;
use crate::service::Consent;
use crate::service::Copied;
use crate::service::Error;
use crate::service::Fetch;
use crate::service::HostPath;
use crate::service::Target;
use crate::size::MIB;
use crate::store::discord::Attached;

/// Largest file that is held in memory to be sent; a server may allow more.
const MEMORY_BYTES_MAX: u64 = 25 * MIB;

/// What is said where the drive itself lies: a file there would be among its objects.
const NOT_HERE: &str = "The drive keeps its own files in this channel, so none is sent here; ask in another channel, or \
                        with the slash command `/download`.";

/// A file that can be sent.
struct Small {
    name: String,
    ino: InodeNo,
    inode: Inode,
}

/// Gives what is meant, here or on the machine.
pub(in crate::bot) async fn download(
    bot: &Arc<Bot>,
    talk: &mut Talk,
    asker: Asker,
    what: &str,
    (goal, bytes_max): (Goal, u64),
) {
    let shown = bot.settings.shown(asker, talk.audience);
    let target = match Target::parse(what) {
        Ok(target) => target,
        Err(error) => return work::say(talk, &sorry(bot, &error, shown)).await,
    };
    if shown == Shown::Ids && matches!(target, Target::Path(_)) {
        // A slash command's answer would be for who asks alone: does that help?
        let text = match bot.settings.shown(asker, Audience::Asker) {
            Shown::Paths | Shown::Names => {
                "Use the slash command `/download`, whose answer only you see; here others read along."
            }
            Shown::Ids => {
                "Name an archive by its id (#DDMMYY-NN). Paths are for those who manage this server."
            }
        };
        return work::say(talk, &Page::open(text)).await;
    }
    let title = Title {
        own: format!("Download of {}", text::name(what)),
        open: "Download",
        kind: Work::Transfer,
    };
    let bytes_max = bytes_max
        .min(bot.messenger.file_bytes_max())
        .min(MEMORY_BYTES_MAX);
    if goal != Goal::Machine && talk.audience == Audience::Channel {
        let address = bot.messenger.address(talk.channel);
        let look = move |bot: &Bot| Ok(bot.desk.drive().keeps_objects_at(&address)?);
        match bot.blocking(look).await {
            Some(Ok(false)) => {}
            Some(Err(error)) => return work::say(talk, &sorry(bot, &error, shown)).await,
            Some(Ok(true)) | None => return work::say(talk, &Page::open(NOT_HERE)).await,
        }
    }
    if goal != Goal::Machine {
        let look = target.clone();
        match bot.blocking(move |bot| small(bot, &look, bytes_max)).await {
            Some(Ok(Some(file))) => return send(bot, talk, shown, &title, file).await,
            Some(Ok(None)) if goal == Goal::Here => {
                let limit = text::bytes(bytes_max);
                let text = format!("Only a file of at most {limit} can be sent here.");
                return work::say(talk, &Page::new(text)).await;
            }
            Some(Ok(None)) | None => {}
            Some(Err(error)) => return work::say(talk, &sorry(bot, &error, shown)).await,
        }
    }
    to_machine(bot, talk, shown, &title, target).await;
}

/// The file that is meant, if it is one and small enough.
fn small(bot: &Bot, target: &Target, bytes_max: u64) -> Result<Option<Small>, Error> {
    let Target::Path(path) = target else {
        return Ok(None);
    };
    let drive = bot.desk.drive();
    let ino = drive.find_path(path)?;
    let inode = drive.view().inode(ino)?;
    let file = inode.filter(|inode| inode.kind == Kind::File && inode.size <= bytes_max);
    let name = String::from_utf8_lossy(path).into_owned();
    let name = name.trim_end_matches('/').rsplit('/').next();
    Ok(file.map(|inode| Small {
        name: name.unwrap_or_default().to_owned(),
        ino,
        inode,
    }))
}

async fn send(bot: &Arc<Bot>, talk: &mut Talk, shown: Shown, title: &Title, file: Small) {
    let (name, bytes) = (file.name, file.inode.size);
    let read =
        move |bot: &Bot, task: &Task<'_>| service::content(&bot.desk, file.ino, &file.inode, task);
    let Some(ended) = work::run(bot, talk, title, read).await else {
        return;
    };
    let content = match ended {
        Ok(content) => content.into_iter().map(Bytes::from).collect(),
        Err(error) => {
            return work::tell(bot, talk, title, shown, Err(error)).await;
        }
    };
    let text = format!(
        "{}, {}. Discord can read this copy.",
        text::name(&name),
        text::bytes(bytes)
    );
    let name = match is_like_an_object(&name) {
        // No store takes an object of such a name.
        true => format!("file_{name}"),
        false => name,
    };
    let page = Page {
        file: Some(Attached { name, content }),
        open_text: Some("**Download**: it took too long; ask again.".into()),
        ..Page::new(text)
    };
    if let Err(error) = talk.say(&page).await {
        log::info!("bot: {error}");
        let text = "The file could not be sent; ask for it on the machine.";
        work::say(talk, &Page::open(text)).await;
    }
}

async fn to_machine(bot: &Arc<Bot>, talk: &mut Talk, shown: Shown, title: &Title, target: Target) {
    let Some(dir) = bot.settings.download_dir.clone() else {
        let text = "Only small files can be sent here, and the owner configured no directory of the machine \
                    for others (`download_dir`).";
        return work::say(talk, &Page::new(text)).await;
    };
    let wish = |consent| Fetch {
        targets: vec![target.clone()],
        to: HostPath::from(dir.as_path()),
        check: Check::Times,
        consent,
    };
    let fetch =
        |wish: Fetch| move |bot: &Bot, task: &Task<'_>| service::fetch(&bot.desk, &wish, task);
    let mut ended = match work::run(bot, talk, title, fetch(wish(Consent::Ask))).await {
        None => return,
        Some(ended) => ended,
    };
    if let Err(Error::Conflict(stake)) = &ended {
        let open = "There are other files of these names on the machine. Replace them?";
        let stake = Stake {
            own: &paths::words(bot, stake, shown),
            open,
            yes: "Replace",
            otherwise: "Nothing was replaced.",
        };
        if !question::agreed(bot, talk, shown, stake).await {
            return;
        }
        ended = match work::run(bot, talk, title, fetch(wish(Consent::Given))).await {
            None => return,
            Some(ended) => ended,
        };
    }
    let done = ended.map(|copied| told(title, &copied));
    work::tell(bot, talk, title, shown, done).await;
}

fn told(title: &Title, copied: &Copied) -> Done {
    let mut what = format!(
        "{}, {} are on the machine",
        text::counted(copied.files, "file"),
        text::bytes(copied.bytes)
    );
    if copied.skipped > 0 {
        let skipped = text::counted(copied.skipped, "file");
        what.push_str(&format!("; {skipped} were there already"));
    }
    if !copied.failed.is_empty() {
        let failed = text::counted(copied.failed.len() as u64, "file");
        what.push_str(&format!("; **{failed} could not be copied**"));
    }
    Done {
        own: format!("**{}**: {what}.", title.own),
        open: format!("**{}**: {what}.", title.open),
    }
}
