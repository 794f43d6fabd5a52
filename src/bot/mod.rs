//! The bot: the drive's face in its own Discord server, as slash commands, buttons and `!words`.
//!
//! ```text
//! gateway ─ wire                 a session: what happens in the server
//! serve ─ ask ─ permit           who asks what, and may they
//! looks  complete                answers from the index, at once
//! work ─ upload  download  migrate  upkeep  garbage    long work, and what is asked before something goes
//! attached  paths                what attachments are called; paths of this machine, for who may see them
//! question                      a button before something goes
//! talk ─ page ─ text             the answer: promised, given, changed, moved into the channel
//! register                       the commands as Discord knows them
//! notify ─ machine               who hears of finished work; keeping the machine awake
//! ```
//!
//! What must hold:
//!
//! * The bot never holds up the drive: it has tasks of its own and a bounded queue, and whatever waits or
//!   reads the index runs where blocking is allowed.
//! * Every request goes through [`Messenger`], so one budget holds for the drive and its bot; answers to
//!   interactions are outside of it, as Discord has it.
//! * Nobody is mentioned, whatever a file is called, and names are shown to admins in answers that
//!   only they see, unless the owner wants it otherwise ([`Settings::names`]).
//! * What an interaction's token can do ends with it: nothing logs it, and answers move into the channel
//!   before it ends, without what was for the asker alone.

mod ask;
mod attached;
mod complete;
mod download;
mod garbage;
mod gateway;
mod looks;
mod machine;
mod migrate;
mod notify;
mod page;
mod paths;
mod permit;
mod question;
mod register;
mod serve;
mod settings;
mod talk;
mod text;
mod upkeep;
mod upload;
mod wire;
mod work;

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::sync::mpsc;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::service::Desk;
use crate::store;
use crate::store::discord::Messenger;

pub use crate::bot::ask::Word;
pub use crate::bot::settings::Names;
pub use crate::bot::settings::Settings;
pub use crate::bot::settings::Switch;
pub use crate::bot::settings::Times;

use crate::bot::permit::Roles;
use crate::bot::question::Questions;

/// Events that wait for the bot; more are not heard.
const EVENTS_MAX: usize = 64;

/// Conversations at the same time; more wait their turn.
const TALKS_MAX: usize = 32;

/// Long jobs at the same time; more are refused.
const JOBS_MAX: usize = 2;

/// How long the end waits for what is being said.
const END_MAX: Duration = Duration::from_secs(3);

/// Why there is no bot any more.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Discord refused, for good.
    #[error("{0}")]
    Refused(String),
    /// Discord could not be asked.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// What a bot is made of.
#[derive(Debug)]
pub struct Parts {
    /// What its owner decided.
    pub settings: Settings,
    /// The drive, with its files.
    pub desk: Arc<Desk>,
    /// Its voice.
    pub messenger: Messenger,
    /// Name of the drive on this machine.
    pub drive_name: String,
    /// The drive's state directory.
    pub state_dir: PathBuf,
    /// Where the drive is mounted, if it is.
    pub mountpoint: Option<PathBuf>,
}

/// A bot at work.
pub(crate) struct Bot {
    settings: Settings,
    desk: Arc<Desk>,
    messenger: Messenger,
    drive_name: String,
    state_dir: PathBuf,
    mountpoint: Option<PathBuf>,
    roles: Mutex<Roles>,
    questions: Questions,
    jobs: Semaphore,
    /// Long work ends when this is so.
    is_ending: AtomicBool,
}

/// Buttons on the cards of archives, while the bot is there to answer them.
const CARD_BUTTONS: &[(&str, &str)] = &[("info", "Info"), ("verify", "Verify")];

/// A bot that was started. Dropping it ends it.
#[derive(Debug)]
pub struct Running {
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<(), Error>>,
    bot: Arc<Bot>,
}

impl std::fmt::Debug for Bot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bot").finish_non_exhaustive()
    }
}

/// Starts a bot on the current runtime.
#[must_use]
pub fn start(parts: Parts) -> Running {
    let bot = Arc::new(Bot {
        settings: parts.settings,
        desk: parts.desk,
        messenger: parts.messenger,
        drive_name: parts.drive_name,
        state_dir: parts.state_dir,
        mountpoint: parts.mountpoint,
        roles: Mutex::default(),
        questions: Questions::default(),
        jobs: Semaphore::new(JOBS_MAX),
        is_ending: AtomicBool::new(false),
    });
    let (stop, stopping) = watch::channel(false);
    let running = run(Arc::clone(&bot), stopping);
    let task = tokio::spawn(async move {
        let result = running.await;
        if let Err(error) = &result {
            log::error!("bot: {error}; the drive goes on without it");
        }
        result
    });
    Running { stop, task, bot }
}

async fn run(bot: Arc<Bot>, stopping: watch::Receiver<bool>) -> Result<(), Error> {
    let (tell, mut events) = mpsc::channel(EVENTS_MAX);
    let words = bot.settings.words;
    let session = gateway::run(&bot.messenger, words, tell, stopping);
    let mut session = std::pin::pin!(session);
    let talks = Arc::new(Semaphore::new(TALKS_MAX));
    let mut tasks = tokio::task::JoinSet::new();
    if bot.settings.buttons == Switch::On {
        bot.desk.drive().offer(CARD_BUTTONS);
    }
    let result = loop {
        let heard = tokio::select! {
            result = &mut session => break result,
            Some(_) = tasks.join_next() => continue,
            Some(heard) = events.recv() => heard,
        };
        let (bot, talks) = (Arc::clone(&bot), Arc::clone(&talks));
        tasks.spawn(async move {
            if let Ok(_turn) = talks.acquire_owned().await {
                serve::serve(&bot, heard).await;
            }
        });
    };
    bot.is_ending.store(true, Ordering::SeqCst);
    bot.desk.drive().offer(&[]);
    let said = async { while tasks.join_next().await.is_some() {} };
    drop(tokio::time::timeout(END_MAX, said).await);
    result
}

/// Makes the next start of a drive's bot tell Discord its commands again, whatever was told before.
pub fn tell_commands_again(state_dir: &Path) {
    register::forget(state_dir);
}

impl Running {
    /// Says goodbye; long work that it began ends, and what was done of it stays done.
    ///
    /// # Errors
    /// Why it had ended before.
    pub async fn stop(mut self) -> Result<(), Error> {
        self.bot.is_ending.store(true, Ordering::SeqCst);
        self.stop.send_replace(true);
        self.ended().await
    }

    /// Ready when it has ended by itself, with why.
    ///
    /// # Errors
    /// Why it ended.
    pub async fn ended(&mut self) -> Result<(), Error> {
        (&mut self.task).await.unwrap_or(Ok(()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.bot.is_ending.store(true, Ordering::SeqCst);
    }
}

impl Bot {
    /// Runs what waits or reads the index where blocking is allowed.
    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Bot) -> T + Send + 'static,
    ) -> Option<T> {
        let bot = Arc::clone(self);
        tokio::task::spawn_blocking(move || work(&bot)).await.ok()
    }
}
