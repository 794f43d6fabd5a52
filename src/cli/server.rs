//! The daemon's end of the control socket: a thread per client, because everything it does waits.

use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use anyhow::Result;

use crate::cli::client;
use crate::cli::exit::Code;
use crate::cli::exit::code_of;
use crate::cli::exit::fault;
use crate::cli::exit::told;
use crate::cli::protocol::Answer;
use crate::cli::protocol::LINE_BYTES_MAX;
use crate::cli::protocol::Report;
use crate::cli::protocol::Request;
use crate::cli::render;
use crate::cli::sys;
use crate::cli::sys::Unmount;
use crate::drive::Access;
use crate::drive::Drive;
use crate::drive::task::Go;
use crate::service::Desk;
use crate::service::Job;

/// How often a waiting client hears how far it is.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// How long the daemon, when it ends, waits for clients to take their last answer.
const LAST_WORDS_MAX: Duration = Duration::from_secs(2);

/// How long a client may leave its answers unread.
const UNREAD_MAX: Duration = Duration::from_secs(10);

static NEVER: AtomicBool = AtomicBool::new(false);

/// A mounted drive, as its clients see it.
#[derive(Debug)]
pub(crate) struct Daemon {
    /// The drive's name on this machine.
    pub(crate) name: String,
    /// Where it is mounted.
    pub(crate) mountpoint: PathBuf,
    /// The drive.
    pub(crate) drive: Arc<Drive>,
    /// Where its files are changed without the kernel.
    pub(crate) desk: Desk,
    /// Is asked to end at once.
    pub(crate) stop: tokio::sync::Notify,
    state: Mutex<State>,
    bell: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// How it ended, once it has.
    ended: Option<Result<(), (Code, String)>>,
    /// Clients that still wait for the end.
    waiting: usize,
}

impl Daemon {
    pub(crate) fn new(name: String, mountpoint: PathBuf, desk: Desk) -> Arc<Daemon> {
        Arc::new(Daemon {
            name,
            mountpoint,
            drive: Arc::clone(desk.drive()),
            desk,
            stop: tokio::sync::Notify::new(),
            state: Mutex::default(),
            bell: Condvar::new(),
        })
    }

    /// How it is.
    pub(crate) fn report(&self) -> Result<Report> {
        Ok(Report {
            name: self.name.clone(),
            mounted: true,
            mountpoint: self.mountpoint.clone(),
            pid: std::process::id(),
            status: self.drive.status()?,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says how it ended, and lets the clients that wait for that take their answer.
    pub(crate) fn end(&self, result: &Result<()>) {
        let mut state = self.lock();
        state.ended = Some(match result {
            Ok(()) => Ok(()),
            Err(error) => Err((code_of(error), told(error))),
        });
        self.bell.notify_all();
        let deadline = Instant::now() + LAST_WORDS_MAX;
        while state.waiting > 0 && Instant::now() < deadline {
            state = self.wait(state, deadline - Instant::now());
        }
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, most: Duration) -> MutexGuard<'a, State> {
        let waited = self.bell.wait_timeout(state, most);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Brings everything to Discord. `hear` may end the wait by returning false.
    pub(crate) fn flush(
        &self,
        cancel: &AtomicBool,
        mut hear: impl FnMut(Box<Report>) -> Hearing,
    ) -> Result<()> {
        if self.drive.settings().access == Access::Read {
            return self.nothing_waits();
        }
        // What lost its name a moment ago goes first, so that its end is on Discord too.
        self.desk.fs().sweep();
        let mut told_at: Option<Instant> = None;
        let flushed = self.drive.flush_whole(|| {
            if cancel.load(Ordering::SeqCst) {
                return false;
            }
            if told_at.is_some_and(|at| at.elapsed() < TELL_EVERY) {
                return true;
            }
            told_at = Some(Instant::now());
            match self.report() {
                Ok(report) => hear(Box::new(report)) == Hearing::More,
                Err(_) => true,
            }
        });
        Ok(flushed?)
    }

    /// Is there anything that is not on Discord yet?
    pub(crate) fn waits(&self) -> bool {
        let status = self.drive.status();
        status.map_or(true, |status| status.unpublished)
    }

    /// A read-only mount uploads nothing, so what its spool holds waits on.
    fn nothing_waits(&self) -> Result<()> {
        let status = self.drive.status()?;
        match status.unpublished {
            false => Ok(()),
            true => Err(fault(
                Code::Kept,
                format!(
                    "{} are not on Discord, because the drive is mounted read-only; the spool in {} keeps them",
                    render::left(&status),
                    self.drive.settings().state_dir.display()
                ),
            )),
        }
    }
}

/// Does the listener want to hear more?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hearing {
    /// It does.
    More,
    /// It went away, or changed its mind.
    Over,
}

/// Listens at a socket that only this user can open.
pub(crate) fn listen(socket: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = client::with_short(socket, |short| UnixListener::bind(short))?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Answers clients until the process ends.
pub(crate) fn serve(listener: UnixListener, daemon: &Arc<Daemon>) {
    let daemon = Arc::clone(daemon);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let daemon = Arc::clone(&daemon);
            match stream {
                Ok(stream) => {
                    std::thread::spawn(move || {
                        if let Err(error) = talk(&daemon, stream) {
                            log::debug!("a client: {}", told(&error));
                        }
                    });
                }
                // No descriptors left, most likely: do not spin until there are.
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    });
}

fn talk(daemon: &Daemon, stream: UnixStream) -> Result<()> {
    stream.set_write_timeout(Some(UNREAD_MAX))?;
    let mut line = String::new();
    let mut reader = BufReader::new(stream.try_clone()?).take(LINE_BYTES_MAX);
    // Whoever only looks whether somebody listens says nothing.
    if reader.read_line(&mut line)? == 0 {
        return Ok(());
    }
    let mut client = Client { stream };
    let result = serde_json::from_str(&line)
        .map_err(|_| {
            fault(
                Code::Usage,
                "the daemon does not know this request; is it older?",
            )
        })
        .and_then(|request| act(daemon, request, &mut client));
    client.say(&match result {
        Ok(()) => Answer::Done,
        Err(error) => Answer::Failed {
            code: code_of(&error),
            text: told(&error),
        },
    })?;
    Ok(())
}

/// Does long work while the client listens: it ends early when the client hangs up or says no more.
fn work(daemon: &Daemon, job: &Job, client: &mut Client) -> Result<()> {
    let is_over = Arc::new(AtomicBool::new(false));
    let mut hears = client.stream.try_clone()?;
    std::thread::spawn({
        let is_over = Arc::clone(&is_over);
        move || {
            drop(hears.read(&mut [0]));
            is_over.store(true, Ordering::SeqCst);
        }
    });
    let talker = Mutex::new(&mut *client);
    let value = job.run(&daemon.desk, &|progress| {
        let progress = progress.clone();
        let mut client = talker.lock().unwrap_or_else(PoisonError::into_inner);
        let said = client.say(&Answer::Work { progress });
        match said.is_err() || is_over.load(Ordering::SeqCst) {
            true => Go::Stop,
            false => Go::On,
        }
    })?;
    Ok(client.say(&Answer::Result { value })?)
}

fn act(daemon: &Daemon, request: Request, client: &mut Client) -> Result<()> {
    match request {
        Request::Status => {
            let report = Box::new(daemon.report()?);
            Ok(client.say(&Answer::Progress { report })?)
        }
        Request::Flush => daemon.flush(&NEVER, |report| client.hear(report)),
        Request::Umount => {
            // A drive that is read-only, or was taken over, brings nothing to Discord any more: waiting is
            // of no use, and what it leaves behind is told at its end.
            if daemon.drive.read_only().is_none()
                && let Err(error) = daemon.flush(&NEVER, |report| client.hear(report))
                && daemon.waits()
            {
                return Err(error);
            }
            // What the disk has lost no waiting brings back: it is told at the end, too.
            until_ended(daemon, client, || take_away(daemon))
        }
        Request::Stop => until_ended(daemon, client, || {
            daemon.stop.notify_one();
            Ok(())
        }),
        Request::Work { job } => work(daemon, &job, client),
    }
}

/// How long a mount that is in use is tried again. A program that has just ended, a child that it was starting, or what
/// looks at each new file lets go a moment later.
const BUSY_MAX: Duration = Duration::from_secs(2);

/// Pause between two tries.
const BUSY_PAUSE: Duration = Duration::from_millis(50);

fn unmount_patiently(path: &Path) -> io::Result<()> {
    let since = Instant::now();
    loop {
        match sys::unmount(path, Unmount::Clean) {
            Err(error)
                if error.kind() == io::ErrorKind::ResourceBusy && since.elapsed() < BUSY_MAX =>
            {
                std::thread::sleep(BUSY_PAUSE);
            }
            result => return result,
        }
    }
}

fn take_away(daemon: &Daemon) -> Result<()> {
    let path = daemon.mountpoint.display();
    match unmount_patiently(&daemon.mountpoint) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => Err(fault(
            Code::Mountpoint,
            format!(
                "{path} is in use; `fuser -vm {path}` says by whom. Everything so far is on Discord"
            ),
        )),
        // Somebody else took it away meanwhile.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
        Err(error) => Err(fault(
            Code::Mountpoint,
            format!("cannot unmount {path}: {error}"),
        )),
    }
}

/// Begins the end, and waits for it.
fn until_ended(
    daemon: &Daemon,
    client: &mut Client,
    begin: impl FnOnce() -> Result<()>,
) -> Result<()> {
    daemon.lock().waiting += 1;
    let result = begin().and_then(|()| {
        let mut state = daemon.lock();
        loop {
            if let Some(ended) = &state.ended {
                return ended.clone().map_err(|(code, text)| fault(code, text));
            }
            state = daemon.wait(state, TELL_EVERY);
            if state.ended.is_none() {
                drop(state);
                if let Ok(report) = daemon.report() {
                    // It ends whether or not the client still listens.
                    client.hear(Box::new(report));
                }
                state = daemon.lock();
            }
        }
    });
    let answer = match &result {
        Ok(()) => client.say(&Answer::Done),
        Err(error) => client.say(&Answer::Failed {
            code: code_of(error),
            text: told(error),
        }),
    };
    drop(answer);
    if daemon.lock().ended.is_some() {
        // Stays open until the process is gone: by its end the client knows that the state
        // directory is free.
        std::mem::forget(client.stream.try_clone());
    }
    daemon.lock().waiting -= 1;
    daemon.bell.notify_all();
    result
}

struct Client {
    stream: UnixStream,
}

impl Client {
    fn say(&mut self, answer: &Answer) -> io::Result<()> {
        let mut line = serde_json::to_vec(answer)?;
        line.push(b'\n');
        self.stream.write_all(&line)
    }

    fn hear(&mut self, report: Box<Report>) -> Hearing {
        match self.say(&Answer::Progress { report }) {
            Ok(()) => Hearing::More,
            Err(_) => Hearing::Over,
        }
    }
}
