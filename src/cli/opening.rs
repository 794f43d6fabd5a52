//! Opening the drive of a plan: what is waited for is said, and what keeps it from being opened comes with advice.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::sync::Notify;

use crate::cli::ask::bytes_in;
use crate::cli::daemon::Listener;
use crate::cli::exit::Code;
use crate::cli::mounting;
use crate::cli::mounting::Plan;
use crate::cli::mounting::Signals;
use crate::cli::permissions;
use crate::cli::remote;
use crate::cli::render;
use crate::cli::succession;
use crate::cli::sys;
use crate::codec::key::Secret;
use crate::drive;
use crate::drive::Access;
use crate::drive::Drive;
use crate::drive::RebuildProgress;
use crate::drive::Settings;
use crate::size::Bytes;
use crate::store::Store;
use crate::store::discord::Discord;

/// How often it is looked whether Discord answers, before the drive is open.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Looks after which a wait is worth a word: two seconds. Shorter ones are usual, such as those for a rate limit.
const LOOKS_UNTIL_TOLD: u32 = 8;

/// How long giving back a lease may take that was taken for nothing.
const GIVE_BACK_MAX: Duration = Duration::from_secs(5);

/// Opens the drive of a plan, whether or not it is to be mounted; none when a signal came before that was done. A
/// second signal ends it at once.
pub(crate) async fn open(
    plan: &Plan,
    store: Arc<Discord>,
    secret: Secret,
    listener: Listener,
    signals: &mut Signals,
) -> Result<Option<Arc<Drive>>> {
    let interrupt = Notify::new();
    let opening = open_until(plan, store, secret, listener, &interrupt);
    let mut opening = std::pin::pin!(opening);
    tokio::select! {
        opened = &mut opening => return opened.map(Some),
        () = signals.next() => interrupt.notify_one(),
    }
    let giving_back = async {
        if let Ok(drive) = opening.await {
            mounting::close(&drive).await;
        }
    };
    tokio::select! {
        () = giving_back => {}
        () = tokio::time::sleep(GIVE_BACK_MAX) => {
            log::warn!("Discord did not answer at the end; the lease stays until the next mount");
        }
        () = signals.next() => {}
    }
    Ok(None)
}

async fn open_until(
    plan: &Plan,
    store: Arc<Discord>,
    secret: Secret,
    listener: Listener,
    interrupt: &Notify,
) -> Result<Arc<Drive>> {
    let store: Arc<dyn Store> = store;
    let patience = plan.site.patience();
    tokio::select! {
        biased;
        drive = unlock_and_open(plan, secret, listener, &store, interrupt) => drive,
        never = tell_waiting(&plan.name, &store, patience, listener) => match never {},
    }
}

/// Whoever waits for Discord for long hears why, and until when each call is tried.
async fn tell_waiting(
    name: &str,
    store: &Arc<dyn Store>,
    patience: Duration,
    listener: Listener,
) -> Infallible {
    let (mut looks, mut failing) = (0, 0);
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        looks += 1;
        if looks == LOOKS_UNTIL_TOLD {
            listener.progress(&format!("{name}: asking Discord"));
        }
        let Some(error) = store.status().last_error else {
            failing = 0;
            continue;
        };
        failing += 1;
        // Once said is enough.
        if failing == LOOKS_UNTIL_TOLD {
            listener.warn(&format!(
                "Discord does not answer as it should ({error}); trying for {} at most, then giving up with exit code {}",
                render::duration(patience.as_secs()),
                Code::Unreachable.number()
            ));
        }
    }
}

async fn unlock_and_open(
    plan: &Plan,
    secret: Secret,
    listener: Listener,
    store: &Arc<dyn Store>,
    interrupt: &Notify,
) -> Result<Arc<Drive>> {
    let store = Arc::clone(store);
    let mut settings = plan.options.settings(plan.state_dir.clone());
    let unlocking = async {
        let unlocked = remote::unlock(&store, &plan.site, &plan.state_dir, &secret).await?;
        if settings.access == Access::Write
            && let Some(note) = permissions::check_before_mount(&plan.site).await?
        {
            listener.warn(&note);
        }
        Ok::<_, anyhow::Error>(unlocked)
    };
    let unlocked = tokio::select! {
        unlocked = unlocking => unlocked?,
        () = interrupt.notified() => return Err(drive::Error::Interrupted.into()),
    };
    drop(secret);
    settings.begin = plan.begin;
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME"));
    let user = user.unwrap_or_else(|_| sys::owner().0.to_string());
    settings.holder = format!("{user}@{}", sys::hostname());
    settings.owner = sys::owner();
    let watch = |progress: RebuildProgress| listener.progress(&rebuilding(&plan.name, progress));
    let (id, keys) = (unlocked.drive(), unlocked.keys());
    let local = settings.clone();
    let open = Drive::open_until(settings, id, keys, Arc::clone(&store), &watch, interrupt);
    let drive = open.await.map_err(|error| advise(error, &local))?;
    mounting::forget_last(&drive);
    if let Some(lost) = drive.lost_records() {
        listener.warn(&format!("{lost}; see `ods verify`"));
    }
    if let Some(halt) = drive.halt() {
        listener.warn(&halt.told());
    }
    let unlocked = match drive.settings().access {
        Access::Write => {
            succession::keep_pinned(&store, &unlocked).await;
            succession::follow_places(&store, &plan.site, unlocked).await?
        }
        Access::Read => unlocked,
    };
    if let Err(error) = succession::keep_copy(&plan.state_dir, &unlocked) {
        log::warn!("{error:#}");
    }
    Ok(drive)
}

/// How far the journal has been followed.
pub(crate) fn rebuilding(name: &str, progress: RebuildProgress) -> String {
    let (parts, all) = (progress.parts, progress.parts_total);
    let (bytes, bytes_all) = (Bytes(progress.bytes), Bytes(progress.bytes_total));
    format!("{name}: reading the journal, {parts} of {all} parts, {bytes} of {bytes_all}")
}

/// Adds what a person can do about it.
fn advise(error: drive::Error, local: &Settings) -> anyhow::Error {
    let drive::Error::Leased {
        holder: theirs,
        state_dir: their_dir,
        ..
    } = &error
    else {
        return error.into();
    };
    let is_ours = *theirs == local.holder;
    let text = format!(
        "{error}; {}",
        lease_advice(is_ours, Path::new(their_dir), local)
    );
    anyhow::Error::from(error).context(text)
}

/// What to do about a lease that is held elsewhere: with another state directory of this machine, it may be.
fn lease_advice(is_ours: bool, their_dir: &Path, local: &Settings) -> String {
    let dir = their_dir.display();
    if !is_ours || their_dir.as_os_str().is_empty() {
        return String::from(
            "unmount it there, after mounting it once more if it could not give the drive back at its end; or, if that machine \
             is lost, mount with `-o takeover` and give up what it had not uploaded",
        );
    }
    if their_dir == local.state_dir {
        let spooled = bytes_in(&local.spool_dir());
        if spooled > 0 {
            return format!(
                "that was this machine before {dir} lost its name, or it is one of the same name that has it too, as a copy or \
                 as the original: if so, unmount it there. If not, the spool in it holds {}, and what of that is not on \
                 Discord yet is kept and goes there when you mount with `-o takeover`",
                Bytes(spooled)
            );
        }
        return format!(
            "that was this machine, or one of the same name, with {dir} as it was before it was made anew; a lease is kept \
             while changes wait that are not on Discord, and what waited there went with it: mount with `-o takeover`"
        );
    }
    match their_dir.is_dir() {
        true => format!(
            "that is this machine with another state directory, {dir}: it is mounted, or changes wait in it that are not on \
             Discord, or it could not give the drive back. Mount with `-o state={dir}` and unmount, which brings them there; or give them up with `-o takeover`"
        ),
        false => format!(
            "that was this machine, or one of the same name, with the state directory {dir}, which is not here any more; what \
             may have waited in it is out of reach: mount with `-o takeover`, unless it is on another machine of this name"
        ),
    }
}
