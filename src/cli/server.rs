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
use std::sync::Arc;
use std::sync::Mutex;
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
use crate::cli::leaving;
use crate::cli::mounted::Daemon;
use crate::cli::mounted::Hearing;
use crate::cli::protocol::Answer;
use crate::cli::protocol::LINE_BYTES_MAX;
use crate::cli::protocol::MAPPED_MAX;
use crate::cli::protocol::MappedFile;
use crate::cli::protocol::Report;
use crate::cli::protocol::Request;
use crate::drive::task::Go;
use crate::service::Job;

/// How long a client may leave its answers unread.
const UNREAD_MAX: Duration = Duration::from_secs(10);

static NEVER: AtomicBool = AtomicBool::new(false);

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
        Request::Mapped => tell_mapped(daemon, client),
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
            let since = Instant::now();
            until_ended(
                daemon,
                client,
                || leaving::take_away_unused(daemon),
                || leaving::refuse_held(daemon, since),
            )
        }
        Request::Stop => {
            let begin = || {
                daemon.stop.notify_one();
                Ok(())
            };
            until_ended(daemon, client, begin, || Ok(()))
        }
        Request::Work { job } => work(daemon, &job, client),
    }
}

fn tell_mapped(daemon: &Daemon, client: &mut Client) -> Result<()> {
    let files = daemon.desk.fs().mapped()?.into_iter();
    let files = files.map(|(ino, path)| MappedFile { ino: ino.0, path });
    // There may be no room for them before something is on Discord.
    daemon.drive.hurry();
    for files in files.collect::<Vec<_>>().chunks(MAPPED_MAX) {
        let files = files.to_vec();
        client.say(&Answer::Mapped { files })?;
    }
    Ok(())
}

/// Begins the end, and waits for it as long as that is of use.
fn until_ended(
    daemon: &Daemon,
    client: &mut Client,
    begin: impl FnOnce() -> Result<()>,
    is_of_use: impl Fn() -> Result<()>,
) -> Result<()> {
    let waiting = daemon.waiting();
    let result = begin().and_then(|()| {
        loop {
            if let Some(ended) = waiting.next_moment() {
                return ended.map_err(|(code, text)| fault(code, text));
            }
            is_of_use()?;
            if let Ok(report) = daemon.report() {
                // It ends whether or not the client still listens.
                client.hear(Box::new(report));
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
    if daemon.has_ended() {
        // Stays open until the process is gone: by its end the client knows that the state
        // directory is free.
        std::mem::forget(client.stream.try_clone());
    }
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
