//! Which drive a command means: by name, by a path in it, or without a word.

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use crate::cli::client;
use crate::cli::client::Client;
use crate::cli::config::Config;
use crate::cli::exit::Code;
use crate::cli::exit::fault;
use crate::cli::mapped;
use crate::cli::mounts;
use crate::cli::mounts::Around;
use crate::cli::paths::Paths;
use crate::cli::protocol::SOCKET;
use crate::cli::registry;
use crate::cli::registry::Running;

/// A drive on this machine.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// A daemon serves it.
    Mounted(Running),
    /// A mount whose daemon is gone.
    Dead(PathBuf),
    /// It is configured, and not mounted.
    Idle { name: String, state_dir: PathBuf },
}

impl Target {
    /// Finds it.
    pub(crate) fn find(paths: &Paths, said: Option<&str>) -> Result<Target> {
        match said {
            Some(said) if said.contains('/') || said == "." || said == ".." => {
                by_path(paths, Path::new(said))
            }
            Some(name) => by_name(paths, Some(name)),
            None => {
                let running = registry::running(paths);
                let demo = running.iter().find(|running| running.is_demo);
                match (demo, &running[..]) {
                    (Some(demo), _) => Ok(Target::Mounted(demo.clone())),
                    (None, [only]) if Config::load(&paths.config)?.drive.is_empty() => {
                        Ok(Target::Mounted(only.clone()))
                    }
                    _ => by_name(paths, None),
                }
            }
        }
    }

    /// Where it keeps what it keeps on this machine; none for a mount that nobody serves.
    pub(crate) fn state_dir(&self) -> Option<&Path> {
        match self {
            Target::Mounted(running) => running.socket.parent(),
            Target::Idle { state_dir, .. } => Some(state_dir),
            Target::Dead(_) => None,
        }
    }

    /// Do both mean the same drive?
    pub(crate) fn is_same(&self, other: &Target) -> bool {
        match (self, other) {
            (Target::Dead(one), Target::Dead(other)) => one == other,
            _ => self.state_dir().is_some() && self.state_dir() == other.state_dir(),
        }
    }

    /// Does this path of this machine lie in it?
    pub(crate) fn holds(&self, path: &Path) -> bool {
        match (self, mounts::around(path)) {
            (Target::Mounted(running), Some(around)) => match running.connection {
                Some(own) => around.connection == Some(own),
                None => running.mountpoint == around.at,
            },
            _ => false,
        }
    }

    /// The mount that the path lies in by which the drive was said, if it is not the drive's own mount but a view
    /// of it made elsewhere, by `mount --bind` for example.
    pub(crate) fn view(&self, said: &str) -> Result<Option<PathBuf>> {
        let (Target::Mounted(running), Some(around)) =
            (self, mounts::around(&mounts::resolve(Path::new(said))))
        else {
            return Ok(None);
        };
        if running.name == said {
            return Ok(None);
        }
        // Where its own is by now only the daemon knows.
        let is_own =
            running.mountpoint == around.at || self.connect()?.status()?.mountpoint == around.at;
        // Bound onto itself, it lies under a view of it.
        Ok((!is_own || mounts::is_doubled(&around.at)).then_some(around.at))
    }

    /// Is it still mounted where it last said it was? Its number may be another's once it is not.
    pub(crate) fn is_still_at(&self, place: Option<&Path>) -> bool {
        match self {
            Target::Mounted(running) => {
                let place = place.unwrap_or(&running.mountpoint);
                mounts::is_ours(place) && mounts::connection(place) == running.connection
            }
            Target::Dead(_) | Target::Idle { .. } => false,
        }
    }

    /// Has the kernel hand over to the daemon what programs changed through mappings, so that what is asked next
    /// is of that, too.
    ///
    /// # Errors
    /// As [`mapped::write_back`].
    pub(crate) fn write_back(&self, longest: Option<Duration>) -> Result<()> {
        match self {
            Target::Mounted(running) => mapped::write_back(running, longest),
            Target::Dead(_) | Target::Idle { .. } => Ok(()),
        }
    }

    /// A connection to its daemon.
    pub(crate) fn connect(&self) -> Result<Client> {
        let not_mounted = |what: &str| fault(Code::NotMounted, format!("{what} is not mounted"));
        match self {
            Target::Mounted(running) => Client::connect(&running.socket).map_err(|error| {
                let drive = format!("the drive `{}`", running.name);
                let socket = running.socket.display();
                match client::is_nobody(&error) {
                    true => not_mounted(&drive),
                    false => fault(
                        Code::Other,
                        format!("the daemon of {drive} cannot be reached at {socket}: {error}"),
                    ),
                }
            }),
            Target::Dead(path) => Err(fault(
                Code::NotMounted,
                format!(
                    "nobody serves the mount at {0}; `ods umount {0}` removes it, and the next mount goes on where it ended",
                    path.display()
                ),
            )),
            Target::Idle { name, .. } => Err(not_mounted(&format!("the drive `{name}`"))),
        }
    }
}

fn by_path(paths: &Paths, path: &Path) -> Result<Target> {
    let path = mounts::resolve(path);
    let around = mounts::around(&path).ok_or_else(|| {
        let path = path.display();
        fault(Code::NotMounted, format!("no drive is mounted at {path}"))
    })?;
    let running = registry::of_mount(paths, &around.at).or_else(|| configured_at(paths, &around));
    if let Some(running) = running {
        return Ok(Target::Mounted(running));
    }
    if registry::stuck_at(paths, &around.at).is_none() && !mounts::is_dead(&around.at) {
        return Err(out_of_reach(
            &format!("the mount at {}", around.at.display()),
            registry::silent_at(paths, &around.at),
        ));
    }
    Ok(Target::Dead(around.at))
}

/// A daemon lives that cannot be asked: what to do about it.
fn out_of_reach(what: &str, silent: Option<Running>) -> anyhow::Error {
    let text = match silent {
        Some(Running { pid, socket, .. }) => format!(
            "a daemon serves {what} that cannot be reached at {}: process {pid}; `kill {pid}` has it bring everything to \
             Discord and end",
            socket.display()
        ),
        None => format!(
            "{what} is served by a daemon that is not known here: it was mounted by another user, or with another \
             XDG_STATE_HOME or HOME (as with `sudo`, or from cron). Ask with the same; or `kill` its process, one of those \
             that `fuser -v /dev/fuse` names, which has it bring everything to Discord and end"
        ),
    };
    fault(Code::Other, text)
}

/// The daemon of a configured drive that is not listed, as when the disk was full, and has this mount.
fn configured_at(paths: &Paths, around: &Around) -> Option<Running> {
    let config = Config::load(&paths.config).ok()?;
    let mut names = config.drive.keys();
    names.find_map(|name| {
        let state_dir = config.drive.get(name)?.state_dir(name, paths).ok()?;
        let running = listening(name, &state_dir).ok()??;
        let has_place = running.mountpoint == around.at;
        let is_it = has_place
            || running
                .connection
                .is_some_and(|own| around.connection == Some(own));
        is_it.then_some(running)
    })
}

/// The daemon that listens in the state directory of a drive, if one does.
fn listening(name: &str, state_dir: &Path) -> Result<Option<Running>> {
    let socket = state_dir.join(SOCKET);
    let Ok(client) = Client::connect(&socket) else {
        return Ok(None);
    };
    let report = client.status()?;
    Ok(Some(Running {
        pid: report.pid,
        name: name.to_owned(),
        is_demo: false,
        connection: mounts::connection(&report.mountpoint),
        mountpoint: report.mountpoint,
        socket,
    }))
}

fn by_name(paths: &Paths, name: Option<&str>) -> Result<Target> {
    let of_name = |name: &str| {
        let mut running = registry::running(paths).into_iter();
        running.find(|running| running.name == name)
    };
    if let Some(running) = name.and_then(of_name) {
        return Ok(Target::Mounted(running));
    }
    let config = Config::load(&paths.config)?;
    // A word that is no drive's name may be that of a file here.
    if let Some(path) = name.map(Path::new).filter(|path| path.exists())
        && name.is_some_and(|name| !config.drive.contains_key(name))
    {
        return by_path(paths, path);
    }
    let (name, drive) = config.drive(name)?;
    if let Some(running) = of_name(&name) {
        return Ok(Target::Mounted(running));
    }
    let state_dir = drive.state_dir(&name, paths)?;
    if let Some(running) = listening(&name, &state_dir)? {
        return Ok(Target::Mounted(running));
    }
    let mut silent = registry::silent(paths).into_iter();
    if let Some(silent) = silent.find(|silent| silent.name == name) {
        return Err(out_of_reach(&format!("the drive `{name}`"), Some(silent)));
    }
    let mut stuck = registry::stuck(paths).into_iter();
    Ok(match stuck.find(|stuck| stuck.name == name) {
        Some(stuck) => Target::Dead(stuck.mountpoint),
        None => Target::Idle { name, state_dir },
    })
}
