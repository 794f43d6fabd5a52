//! `ods status`, `ods flush`, `ods umount`: what is asked of a running daemon.

use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use anyhow::Result;

use crate::cli::args;
use crate::cli::client::Outcome;
use crate::cli::ending;
use crate::cli::exit::Code;
use crate::cli::exit::OrFault;
use crate::cli::exit::code_of;
use crate::cli::exit::fault;
use crate::cli::mounting;
use crate::cli::mounts;
use crate::cli::paths::Paths;
use crate::cli::progress;
use crate::cli::protocol::Report;
use crate::cli::protocol::Request;
use crate::cli::registry;
use crate::cli::render;
use crate::cli::sys;
use crate::cli::sys::Unmount;
use crate::cli::target::Target;
use crate::size::Bytes;

/// `ods status`.
pub(crate) fn status(args: &args::Status, config: Option<&Path>) -> Result<()> {
    let target = Target::find(&Paths::find(config)?, args.target.as_deref())?;
    if let Target::Idle { name, state_dir } = &target {
        return idle(args, name, state_dir);
    }
    let report = target.connect()?.status()?;
    progress::answer(&match args.json {
        true => serde_json::to_string_pretty(&report)?,
        false => render::page(&report),
    })
}

/// How a drive is that nobody serves: what was written down when it was last closed.
fn idle(args: &args::Status, name: &str, state_dir: &Path) -> Result<()> {
    let last = mounting::last(state_dir);
    let spooled = bytes_in(&state_dir.join("spool"));
    let lost = last.as_ref().and_then(|last| last.lost_records.clone());
    let answer = serde_json::json!({
        "name": name,
        "mounted": false,
        "unpublished": last.as_ref().map(|last| last.unpublished),
        "dirty_bytes": last.as_ref().map(|last| last.dirty_bytes),
        "lost_records": lost,
        "state_dir": state_dir,
        "spool": { "bytes": spooled },
    });
    let state = match &last {
        Some(last) if !last.unpublished => render::stored(last),
        Some(last) => {
            let left = render::left(last);
            format!("{left} are not on Discord yet; the next mount goes on with them")
        }
        None if spooled == 0 => String::from("nothing waits"),
        None => String::from(NOT_ENDED),
    };
    let lost = lost.map_or_else(String::new, |lost| format!("\nlost       {lost}"));
    progress::answer(&match args.json {
        true => answer.to_string(),
        false => format!(
            "drive      {name}\nmounted    no\nstate      {state}\nspool      {} in {}{lost}",
            Bytes(spooled),
            state_dir.display()
        ),
    })
}

/// What is said of a drive that nobody has closed.
pub(crate) const NOT_ENDED: &str = "not ended cleanly; the next mount goes on where it stopped";

/// Bytes that the files of a directory take on disk.
pub(crate) fn bytes_in(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let metas = entries.filter_map(|entry| entry.metadata().ok());
    metas.map(|meta| meta.blocks() * 512).sum()
}

fn show(report: &Report) {
    progress::show(&format!(
        "{}: {}",
        report.name,
        render::draining(&report.status)
    ));
}

/// The time that a command may take, from now on.
struct Time {
    since: Instant,
    longest: Option<Duration>,
}

impl Time {
    fn new(seconds: Option<u64>) -> Time {
        Time {
            since: Instant::now(),
            longest: seconds.map(Duration::from_secs),
        }
    }

    fn left(&self) -> Option<Duration> {
        let longest = self.longest?;
        Some(longest.saturating_sub(self.since.elapsed()))
    }
}

/// `ods flush`.
pub(crate) fn flush(args: &args::Flush, config: Option<&Path>) -> Result<()> {
    let target = Target::find(&Paths::find(config)?, args.target.as_deref())?;
    let client = target.connect()?;
    let time = Time::new(args.timeout);
    // What cannot be handed over keeps nothing else from Discord.
    let written = target.write_back(time.left());
    let outcome = client.ask(Request::Flush, time.left(), show);
    progress::clear();
    match outcome? {
        Outcome::Done => {
            written?;
            let answer = serde_json::json!({ "unpublished": false });
            tell(args.json, &answer, "everything is on Discord")
        }
        Outcome::TimedOut(report) => Err(timed_out(report.as_deref(), "the upload goes on")),
    }
}

/// Says what was done: a note for people, an answer for scripts.
fn tell(json: bool, answer: &serde_json::Value, note: &str) -> Result<()> {
    match json {
        true => progress::answer(&answer.to_string()),
        false => {
            progress::note(note);
            Ok(())
        }
    }
}

fn timed_out(report: Option<&Report>, then: &str) -> anyhow::Error {
    let how = report.map_or_else(String::new, |report| {
        format!(": {}", render::draining(&report.status))
    });
    fault(Code::TimedOut, format!("the time is over{how}; {then}"))
}

/// `ods umount`.
pub(crate) fn umount(args: &args::Umount, config: Option<&Path>) -> Result<()> {
    let target = Target::find(&Paths::find(config)?, args.target.as_deref())?;
    if let Target::Dead(path) = &target {
        return remove_dead(args, path, config);
    }
    if let Some(said) = &args.target
        && let Some(view) = target.view(said)?
    {
        return remove_view(args, &target, &view);
    }
    let request = match args.force {
        true => Request::Stop,
        false => Request::Umount,
    };
    let client = target.connect()?;
    let time = Time::new(args.timeout);
    let written = match args.force {
        true => Ok(()),
        false => target.write_back(time.left()),
    };
    let outcome = client.ask(request, time.left(), show);
    progress::clear();
    match outcome? {
        Outcome::Done if args.force => {
            let (unpublished, left) = what_is_left(&target);
            let answer = unmounted(unpublished);
            tell(args.json, &answer, &format!("unmounted; {left}"))
        }
        Outcome::Done => {
            // What could not be opened was handed over when the mount went.
            written.or_else(|error| match code_of(&error) {
                Code::Partly => Ok(()),
                _ => Err(error),
            })?;
            let answer = unmounted(Some(false));
            tell(args.json, &answer, "everything is on Discord; unmounted")
        }
        Outcome::TimedOut(report) => {
            let place = report.as_ref().map(|report| report.mountpoint.as_path());
            let then = match target.is_still_at(place) {
                true => "the drive stays mounted, and the upload goes on",
                false => "the drive is unmounted, and its end goes on",
            };
            Err(timed_out(report.as_deref(), then))
        }
    }
}

/// Takes a view of the drive away, and leaves the drive where it is mounted.
fn remove_view(args: &args::Umount, target: &Target, view: &Path) -> Result<()> {
    let lost = match args.force {
        true => None,
        false => flush_before(args, target)?,
    };
    let unmounted = match args.force {
        true => mounts::detach(view),
        false => sys::unmount(view, Unmount::Clean),
    };
    unmounted.or_fault(Code::Mountpoint, || {
        format!("cannot unmount {}", view.display())
    })?;
    let report = target.connect()?.status()?;
    let answer = serde_json::json!({ "mounted": true, "unpublished": report.status.unpublished });
    let note = format!(
        "{} is unmounted; the drive `{}` stays mounted on {}",
        view.display(),
        report.name,
        report.mountpoint.display()
    );
    tell(args.json, &answer, &note)?;
    lost.map_or(Ok(()), Err)
}

/// Brings everything to Discord before a view goes. What the local disk has lost no waiting brings back: that does not
/// keep the view, and is given back to be told at the end.
fn flush_before(args: &args::Umount, target: &Target) -> Result<Option<anyhow::Error>> {
    let client = target.connect()?;
    let time = Time::new(args.timeout);
    let written = target.write_back(time.left());
    let outcome = client.ask(Request::Flush, time.left(), show);
    progress::clear();
    let lost = match outcome {
        Ok(Outcome::Done) => None,
        Ok(Outcome::TimedOut(report)) => {
            let then = "nothing was unmounted, and the upload goes on";
            return Err(timed_out(report.as_deref(), then));
        }
        Err(error) if code_of(&error) == Code::Damaged && !waits(target)? => Some(error),
        Err(error) => return Err(error),
    };
    match written {
        Err(error) if code_of(&error) == Code::Damaged => Ok(Some(error)),
        written => written.map(|()| lost),
    }
}

/// Is there anything that is not on Discord yet?
fn waits(target: &Target) -> Result<bool> {
    Ok(target.connect()?.status()?.status.unpublished)
}

/// The answer of `ods umount` for scripts, with what `ods status` says of a drive that is not mounted.
fn unmounted(unpublished: Option<bool>) -> serde_json::Value {
    serde_json::json!({ "mounted": false, "unpublished": unpublished })
}

/// What a mount that was told to end at once left behind: whether something, if that is known, and in words.
fn what_is_left(target: &Target) -> (Option<bool>, String) {
    let dir = target.state_dir().unwrap_or(Path::new(""));
    let Some(last) = mounting::last(dir) else {
        let kept = "the spool keeps what is not on Discord yet";
        return (None, String::from(kept));
    };
    let mut text = match last.unpublished {
        false => render::stored(&last),
        true => format!(
            "{} are not on Discord yet; {} keeps them, and the next mount with it goes on",
            render::left(&last),
            dir.display()
        ),
    };
    if let Some(lost) = &last.lost_records {
        text.push_str(&format!("; {lost}"));
    }
    (Some(last.unpublished), text)
}

fn remove_dead(args: &args::Umount, path: &Path, config: Option<&Path>) -> Result<()> {
    let stuck = registry::stuck_at(&Paths::find(config)?, path);
    if let Some(stuck) = &stuck {
        ending::finish(stuck);
    }
    if stuck.is_none() || mounts::is_ours(path) {
        mounts::detach(path).or_fault(Code::Mountpoint, || {
            format!("cannot remove the dead mount at {}", path.display())
        })?;
    }
    if args.json {
        progress::answer(&unmounted(None).to_string())?;
    }
    Err(fault(
        Code::Kept,
        format!(
            "{}: its daemon was gone, and the mount is removed; what had not come to Discord by then is kept, and \
             the next mount goes on with it",
            path.display()
        ),
    ))
}
