//! Where things lie on this machine, after the XDG base directories.

use std::path::Path;
use std::path::PathBuf;

use anyhow::Result;

use crate::cli::exit::Code;
use crate::cli::exit::OrFault;
use crate::cli::exit::fault;
use crate::durable;

/// Where configuration and state lie.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    /// The configuration file.
    pub(crate) config: PathBuf,
    /// The directory with one state directory per drive.
    pub(crate) state: PathBuf,
}

impl Paths {
    /// As the environment says, unless a configuration file was named.
    pub(crate) fn find(config: Option<&Path>) -> Result<Paths> {
        let config = match config {
            Some(path) => std::path::absolute(path)?,
            None => base("XDG_CONFIG_HOME", ".config")?.join("ods/config.toml"),
        };
        Ok(Paths {
            config,
            state: base("XDG_STATE_HOME", ".local/state")?.join("ods"),
        })
    }

    /// Where running daemons are listed.
    pub(crate) fn running(&self) -> PathBuf {
        self.state.join(RUNNING)
    }
}

/// Name of the directory that lists running daemons; no drive can be called so.
pub(crate) const RUNNING: &str = ".running";

fn base(variable: &str, below_home: &str) -> Result<PathBuf> {
    match std::env::var_os(variable).map(PathBuf::from) {
        Some(path) if path.is_absolute() => Ok(path),
        _ => Ok(home()?.join(below_home)),
    }
}

fn home() -> Result<PathBuf> {
    std::env::home_dir()
        .filter(|home| home.is_absolute())
        .ok_or_else(|| fault(Code::Config, "the home directory is unknown: set HOME"))
}

/// The path with `~/` at its beginning replaced.
pub(crate) fn expand(path: &Path) -> Result<PathBuf> {
    match path.strip_prefix("~") {
        Ok(rest) => Ok(home()?.join(rest)),
        Err(_) => Ok(std::path::absolute(path)?),
    }
}

/// Makes a directory, and those above it, for its owner alone.
pub(crate) fn make_private(dir: &Path) -> std::io::Result<()> {
    durable::make_dir(dir)
}

/// Writes a whole file, for its owner alone, so that a crash leaves the old or the new one.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    durable::write_file(path, bytes)
}

/// Bytes that are written to see whether there is room: more than configuration and superblock take.
const PROBE: &[u8] = &[0; 64 << 10];

/// Makes a directory for its owner alone, and checks that it takes a file, before something happens that must not
/// be forgotten.
pub(crate) fn check_writable(dir: &Path) -> Result<()> {
    let probe = dir.join(format!(".probe.{}", std::process::id()));
    let written = make_private(dir).and_then(|()| write_private(&probe, PROBE));
    written
        .and_then(|()| std::fs::remove_file(&probe))
        .or_fault(Code::Disk, || format!("cannot write in {}", dir.display()))
}

/// Checks a drive's name: it is also the name of a directory and of a table.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let fits = (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    match fits {
        true => Ok(()),
        false => Err(fault(
            Code::Usage,
            format!(
                "`{}` cannot be a drive's name: use up to 64 letters, digits, `-` and `_`",
                name.escape_debug()
            ),
        )),
    }
}
