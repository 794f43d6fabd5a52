//! Long work: begun at once, its progress shown now and then, its end told.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use tokio::time::Instant;
use tokio::time::interval_at;

use crate::bot::Bot;
use crate::bot::machine::Awake;
use crate::bot::notify;
use crate::bot::page::Page;
use crate::bot::paths;
use crate::bot::permit::Shown;
use crate::bot::settings::Switch;
use crate::bot::talk::Talk;
use crate::bot::text;
use crate::drive::task::Go;
use crate::drive::task::Progress;
use crate::drive::task::Task;
use crate::service::Error;

/// What some work is called.
#[derive(Clone, Debug)]
pub(in crate::bot) struct Title {
    /// For who asked: `Verify #291126-01`.
    pub(in crate::bot) own: String,
    /// For everybody.
    pub(in crate::bot) open: &'static str,
    /// Does it move so much that the machine has to stay awake?
    pub(in crate::bot) kind: Kind,
}

/// What some work does most of the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bot) enum Kind {
    Transfer,
    Other,
}

/// How some work ended, when it did not fail.
pub(in crate::bot) struct Done {
    /// For who asked.
    pub(in crate::bot) own: String,
    /// For everybody.
    pub(in crate::bot) open: String,
}

/// What was said by the work so far, and since when.
#[derive(Default)]
struct Board(Mutex<Progress>);

impl Board {
    fn set(&self, progress: &Progress) {
        let mut board = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        board.clone_from(progress);
    }

    fn get(&self) -> Progress {
        let board = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        board.clone()
    }
}

/// Does the work; its answer or error is for the caller to tell. `None`: it was refused, because
/// enough is being done, and that was said.
pub(in crate::bot) async fn run<T: Send + 'static>(
    bot: &Arc<Bot>,
    talk: &mut Talk,
    title: &Title,
    work: impl FnOnce(&Bot, &Task<'_>) -> Result<T, Error> + Send + 'static,
) -> Option<Result<T, Error>> {
    let Ok(_slot) = bot.jobs.try_acquire() else {
        let text = "Two long jobs are being done already. Try again when one of them is done.";
        say(talk, &Page::open(text)).await;
        return None;
    };
    let wants_awake = title.kind == Kind::Transfer && bot.settings.awake == Switch::On;
    let _awake = wants_awake.then(|| Awake::begin(title.open));
    let board = Arc::new(Board::default());
    let doing = tokio::task::spawn_blocking({
        let (bot, board) = (Arc::clone(bot), Arc::clone(&board));
        move || {
            let watcher = |progress: &Progress| {
                board.set(progress);
                match bot.is_ending.load(Ordering::SeqCst) {
                    true => Go::Stop,
                    false => Go::On,
                }
            };
            work(&bot, &Task::new(&watcher))
        }
    });
    let done = watch(bot, talk, title, &board, doing).await;
    Some(done.unwrap_or_else(|_| Err(Error::Usage("the work broke off".into()))))
}

async fn watch<T>(
    bot: &Arc<Bot>,
    talk: &mut Talk,
    title: &Title,
    board: &Board,
    mut doing: tokio::task::JoinHandle<T>,
) -> Result<T, tokio::task::JoinError> {
    let times = &bot.settings.times;
    tokio::select! {
        done = &mut doing => return done,
        () = tokio::time::sleep(times.promise_after) => {}
    }
    let begun = Instant::now();
    if let Err(error) = talk.promise().await {
        log::info!("bot: {error}");
    }
    let mut beat = interval_at(begun, times.progress_every);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut shown = None;
    loop {
        tokio::select! {
            done = &mut doing => return done,
            _ = beat.tick() => {}
        }
        let progress = board.get();
        if shown.as_ref() != Some(&progress) {
            say(talk, &progress_page(title, &progress, begun)).await;
            shown = Some(progress);
        }
    }
}

fn progress_page(title: &Title, progress: &Progress, begun: Instant) -> Page {
    let line = line(progress, begun.elapsed().as_secs());
    Page {
        open_text: Some(format!("**{}**\n{line}", title.open)),
        ..Page::new(format!("**{}**\n{line}", title.own))
    }
}

/// How far it is, in one line that names no file.
fn line(progress: &Progress, seconds: u64) -> String {
    let Progress {
        items,
        items_total,
        bytes,
        bytes_total,
        ..
    } = *progress;
    let (done, all) = match bytes_total {
        0 => (items, items_total),
        total => (bytes, total),
    };
    let mut line = match all {
        0 => String::from("under way"),
        _ => text::bar(done, all),
    };
    if bytes_total > 0 {
        let (bytes, all) = (text::bytes(bytes), text::bytes(bytes_total));
        line.push_str(&format!(" · {bytes} of {all}"));
    } else if items_total > 0 {
        line.push_str(&format!(" · {items} of {items_total}"));
    } else if items > 0 {
        line.push_str(&format!(" · {items}"));
    }
    // What is left takes as long as what is done took.
    let left = u128::from(all.saturating_sub(done)) * u128::from(seconds);
    if let Some(left) = left.checked_div(u128::from(done)).filter(|left| *left > 0) {
        line.push_str(&format!(" · about {} left", span(left)));
    }
    line
}

/// So many seconds, roughly.
pub(in crate::bot) fn span(seconds: u128) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

/// Says how it ended, and tells who else wants to know.
pub(in crate::bot) async fn tell(
    bot: &Arc<Bot>,
    talk: &mut Talk,
    title: &Title,
    shown: Shown,
    ended: Result<Done, Error>,
) {
    let done = ended.unwrap_or_else(|error| failed(bot, title, shown, &error));
    let page = Page {
        open_text: Some(done.open.clone()),
        ..Page::new(done.own)
    };
    say(talk, &page).await;
    notify::tell(bot, &done.open, talk.channel).await;
}

/// What a failure is called. Its words may name files.
fn failed(bot: &Bot, title: &Title, shown: Shown, error: &Error) -> Done {
    let open = match error.is_interrupted() {
        true => format!("{} was interrupted; what was done is kept.", title.open),
        false => format!("{} failed.", title.open),
    };
    let own = match shown {
        Shown::Ids => open.clone(),
        Shown::Paths | Shown::Names => {
            format!("{open}\n{}", text::words(&paths::error(bot, error, shown)))
        }
    };
    Done { own, open }
}

/// Says something; that nobody can be told is for the log.
pub(in crate::bot) async fn say(talk: &mut Talk, page: &Page) {
    if let Err(error) = talk.say(page).await {
        log::info!("bot: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_one_line_and_names_nothing() {
        let progress = Progress {
            doing: "fetching secret.txt".into(),
            items: 1,
            items_total: 4,
            bytes: 1 << 20,
            bytes_total: 4 << 20,
        };
        let told = line(&progress, 100);
        assert!(
            told.contains("25 %") && told.contains("5 min left"),
            "{told}"
        );
        assert!(!told.contains("secret"), "{told}");
        assert_eq!(line(&Progress::default(), 0), "under way");
        assert_eq!(span(90), "90 s");
    }
}
