//! How a mount ends: what ends it, what still goes to Discord, and what is said of the rest.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use anyhow::Result;
use tokio::sync::oneshot;

use crate::cli::daemon::Listener;
use crate::cli::exit::Code;
use crate::cli::exit::code_of;
use crate::cli::exit::fault;
use crate::cli::exit::told;
use crate::cli::mounted::Daemon;
use crate::cli::mounted::Hearing;
use crate::cli::mounting::Signals;
use crate::cli::progress;
use crate::cli::render;
use crate::fuse;
use crate::fuse::Session;
use crate::fuse::Unmounted;
use crate::fuse::table::Place;

/// What ends a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// A signal.
    Signal,
    /// Somebody took the mount away.
    Unmounted,
    /// A client that cannot wait.
    Stop,
}

/// How far bringing everything to Discord came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drained {
    /// To its end.
    Whole,
    /// Until somebody said that it has to end now.
    Interrupted,
}

/// Waits for the end and does what it asks for.
pub(crate) async fn stay(
    mut gone: oneshot::Receiver<()>,
    daemon: &Arc<Daemon>,
    session: &Arc<Session>,
    listener: Listener,
    signals: &mut Signals,
) -> Result<()> {
    let end = tokio::select! {
        _ = &mut gone => End::Unmounted,
        () = signals.next() => End::Signal,
        () = daemon.stop.notified() => End::Stop,
    };
    let result = match end {
        End::Unmounted => finish(daemon, listener, signals).await,
        End::Signal => leave(&mut gone, daemon, session, listener, signals).await,
        End::Stop => {
            // Whoever asked to stop at once knows what it costs.
            take_away(session, listener).await?;
            daemon.drive.refuse_changes();
            listener.note(&kept(daemon).to_string());
            let lost = match daemon.waits() {
                true => Ok(()),
                false => refuse_lost(daemon),
            };
            return with_dead_mount(session, lost);
        }
    };
    if result.is_ok() {
        listener.note("everything is on Discord");
    }
    result
}

/// After a signal: everything to Discord, then the mount away, then what was written meanwhile.
async fn leave(
    gone: &mut oneshot::Receiver<()>,
    daemon: &Arc<Daemon>,
    session: &Arc<Session>,
    listener: Listener,
    signals: &mut Signals,
) -> Result<()> {
    listener.note("stopping: bringing everything to Discord; a second signal stops at once");
    let drained = drain(daemon, listener, signals).await;
    take_away(session, listener).await?;
    match drained {
        Ok(Drained::Interrupted) => return stop(daemon),
        Err(error) if daemon.waits() => return with_dead_mount(session, Err(error)),
        _ => {}
    }
    tokio::select! {
        _ = gone => finish(daemon, listener, signals).await,
        () = signals.next() => stop(daemon),
        () = daemon.stop.notified() => stop(daemon),
    }
}

async fn take_away(session: &Arc<Session>, listener: Listener) -> Result<()> {
    let taken = Arc::clone(session);
    match tokio::task::spawn_blocking(move || taken.unmount()).await?? {
        Unmounted::Clean => {}
        Unmounted::Detached => listener.note(HELD),
        Unmounted::OutOfSight | Unmounted::Holds => listener.note(&held(session)),
    }
    Ok(())
}

/// What is said of a drive that programs have open still.
const HELD: &str =
    "programs still use the drive; it is out of sight and ends when they let go of it";

/// Why a drive does not end that was not taken away here, or is still there when it was.
fn held(session: &Session) -> String {
    let (instead, elsewhere) = match session.place() {
        Place::Covered { at, by } => {
            let at = at.display();
            return format!(
                "another mount ({by}) lies over the drive at {at} and is left alone; take it away with `umount {at}`, \
                 then the drive"
            );
        }
        Place::Holds { inside, kind, .. } => {
            let inside = inside.display();
            return format!(
                "another mount ({kind}) lies inside the drive at {inside}, and would go with it; take it away with \
                 `umount {inside}`, then the drive"
            );
        }
        Place::Nowhere { instead, elsewhere } => (instead, elsewhere),
        Place::At(_) => (None, Vec::new()),
    };
    let path = session.mountpoint().display();
    let instead = instead.map_or_else(String::new, |kind| {
        format!("what is mounted on {path} now ({kind}) is not the drive, and is left alone; ")
    });
    match elsewhere.first() {
        Some(other) => format!(
            "{instead}the drive is mounted on {} as well, and ends when it is unmounted there",
            other.display()
        ),
        None => format!("{instead}{HELD}"),
    }
}

/// How long a mount that is in use is tried again. A program that has just ended, a child that it was starting, or what
/// looks at each new file lets go a moment later.
const BUSY_MAX: Duration = Duration::from_secs(2);

/// Pause between two tries.
const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// How long a mount that was taken away may need to end.
const END_MAX: Duration = Duration::from_secs(5);

fn unmount_patiently(session: &Session) -> Result<Unmounted, fuse::Error> {
    let since = Instant::now();
    loop {
        match session.unmount_unused() {
            Err(fuse::Error::Unmount(_, error))
                if error.kind() == io::ErrorKind::ResourceBusy && since.elapsed() < BUSY_MAX =>
            {
                std::thread::sleep(BUSY_PAUSE);
            }
            result => return result,
        }
    }
}

/// Takes the mount away if nobody uses it, for a client.
pub(crate) fn take_away_unused(daemon: &Daemon) -> Result<()> {
    match unmount_patiently(&daemon.session) {
        Ok(Unmounted::Holds) => Err(fault(
            Code::Mountpoint,
            format!("{}. {}", held(&daemon.session), so_far(daemon)),
        )),
        Ok(Unmounted::Clean | Unmounted::Detached | Unmounted::OutOfSight) => Ok(()),
        Err(fuse::Error::Unmount(path, error)) if error.kind() == io::ErrorKind::ResourceBusy => {
            let path = path.display();
            Err(fault(
                Code::Mountpoint,
                format!(
                    "{path} is in use; `fuser -vm {path}` says by whom. {}",
                    so_far(daemon)
                ),
            ))
        }
        Err(error) => Err(error.into()),
    }
}

/// What is said of a drive that goes on: whether all of it is on Discord.
fn so_far(daemon: &Daemon) -> String {
    match daemon.drive.status() {
        Ok(status) if status.unpublished => {
            format!("{} are not on Discord yet", render::left(&status))
        }
        Ok(_) => match refuse_lost(daemon) {
            Ok(()) => String::from("Everything so far is on Discord"),
            Err(error) => format!("Of the rest, {}", told(&error)),
        },
        Err(error) => error.to_string(),
    }
}

/// Refuses to wait any longer for the end of a drive that was taken away at that time, and that somebody holds.
pub(crate) fn refuse_held(daemon: &Daemon, since: Instant) -> Result<()> {
    match since.elapsed() < END_MAX || daemon.session.is_over() {
        true => Ok(()),
        false => Err(fault(
            Code::Mountpoint,
            format!(
                "{}; `ods umount --force {}` ends it now",
                held(&daemon.session),
                daemon.name
            ),
        )),
    }
}

/// When the mount is gone, nothing more is to come: what there is goes to Discord.
async fn finish(daemon: &Arc<Daemon>, listener: Listener, signals: &mut Signals) -> Result<()> {
    daemon.drive.refuse_changes();
    match drain(daemon, listener, signals).await? {
        Drained::Whole => Ok(()),
        Drained::Interrupted => stop(daemon),
    }
}

/// Stops at once. Who has the drive open still is refused, so that what is said of it stays true.
fn stop(daemon: &Daemon) -> Result<()> {
    daemon.drive.refuse_changes();
    let ended = match daemon.waits() {
        false => refuse_lost(daemon),
        true => Err(kept(daemon)),
    };
    with_dead_mount(&daemon.session, ended)
}

/// An error when the local disk has lost some of what was to be brought to Discord.
fn refuse_lost(daemon: &Daemon) -> Result<()> {
    Ok(daemon.drive.refuse_lost()?)
}

/// How it ended, and that its mount stays without a daemon, if it does.
fn with_dead_mount(session: &Session, ended: Result<()>) -> Result<()> {
    let Some(stays) = dead_mount(session) else {
        return ended;
    };
    match ended {
        Ok(()) => Err(fault(Code::Mountpoint, stays)),
        Err(error) => Err(fault(code_of(&error), format!("{}; {stays}", told(&error)))),
    }
}

/// Why the mount stays where it is when its daemon ends, and what to do about it.
fn dead_mount(session: &Session) -> Option<String> {
    let (at, kind, other) = match session.place() {
        _ if session.is_over() => return None,
        Place::At(_) | Place::Nowhere { .. } => return None,
        Place::Covered { at, by } => (at.clone(), by, at),
        Place::Holds { at, inside, kind } => (at, kind, inside),
    };
    let (at, other) = (at.display(), other.display());
    Some(format!(
        "the daemon has ended, and its dead mount stays at {at}, because another mount ({kind}) lies at {other}; take \
         that one away with `umount {other}`, then the dead one with `ods umount {at}`"
    ))
}

/// Brings everything to Discord, unless another signal says that it has to end now.
async fn drain(daemon: &Arc<Daemon>, listener: Listener, signals: &mut Signals) -> Result<Drained> {
    let cancel = Arc::new(AtomicBool::new(false));
    let mut task = tokio::task::spawn_blocking({
        let (daemon, cancel) = (Arc::clone(daemon), Arc::clone(&cancel));
        move || {
            daemon.flush(&cancel, |report| {
                let text = render::draining(&report.status);
                match listener {
                    Listener::Terminal => progress::show(&text),
                    Listener::Parent => log::info!("{text}"),
                }
                Hearing::More
            })
        }
    });
    let flushed = tokio::select! {
        flushed = &mut task => Some(flushed),
        () = signals.next() => None,
        () = daemon.stop.notified() => None,
    };
    progress::clear();
    match flushed {
        Some(flushed) => flushed?.map(|()| Drained::Whole),
        None => {
            cancel.store(true, Ordering::SeqCst);
            drop(task.await);
            Ok(Drained::Interrupted)
        }
    }
}

/// Stopped early; says what that means.
fn kept(daemon: &Daemon) -> anyhow::Error {
    let left = match daemon.drive.status() {
        Ok(status) if !status.unpublished => String::from("nothing was left to upload"),
        Ok(status) => format!(
            "{} are not on Discord yet; the spool in {} keeps them for the next mount",
            render::left(&status),
            daemon.drive.settings().state_dir.display()
        ),
        Err(error) => error.to_string(),
    };
    fault(Code::Kept, format!("stopped at once: {left}"))
}
