//! Going into the background: the program starts itself again, hands its secrets over through a pipe,
//! and waits on another until the drive is mounted.
//!
//! ```text
//! parent ── stdin: {"token":…,"passphrase":…} ──▶ child (own session, log file)
//!        ◀── stdout: {"is":"progress",…} … {"is":"mounted"} or {"is":"failed",…} ──
//! ```

use std::ffi::OsString;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;

use anyhow::Context;
use anyhow::Result;
use serde::Deserialize;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::cli::exit::Code;
use crate::cli::exit::OrFault;
use crate::cli::exit::code_of;
use crate::cli::exit::fault;
use crate::cli::exit::told;
use crate::cli::paths;
use crate::cli::progress;
use crate::cli::secret;
use crate::cli::sys;
use crate::import::Keys;

/// Flag by which the child knows what it is.
pub(crate) const SUPERVISED: &str = "--supervised";

/// A log longer than this is begun anew; the one before it is kept.
const LOG_BYTES_MAX: u64 = 10 << 20;

/// Room for what the child is given: four secrets of 64 KiB, written as JSON.
const HANDED_BYTES_MAX: usize = 1 << 20;

/// What the child is given.
#[derive(Default, Serialize, Deserialize, zeroize::Zeroize, zeroize::ZeroizeOnDrop)]
pub(crate) struct Handed {
    pub(crate) token: String,
    pub(crate) passphrase: String,
    /// Of the older systems, where a bot is wanted.
    pub(crate) old_keys: Keys,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "lowercase")]
enum Word {
    Progress { text: String },
    Note { text: String },
    Mounted,
    Failed { code: Code, text: String },
}

/// Who hears how it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listener {
    /// Whoever looks at the terminal.
    Terminal,
    /// The process that started this one; after the mount, the log.
    Parent,
}

impl Listener {
    /// How far it is.
    pub(crate) fn progress(self, text: &str) {
        match self {
            Listener::Terminal => progress::show(text),
            Listener::Parent => {
                let text = text.to_owned();
                drop(say(&Word::Progress { text }));
            }
        }
    }

    /// Something that whoever mounts has to hear of.
    pub(crate) fn warn(self, text: &str) {
        match self {
            Listener::Terminal => progress::note(text),
            Listener::Parent => {
                log::warn!("{text}");
                let text = text.to_owned();
                drop(say(&Word::Note { text }));
            }
        }
    }

    /// Something worth a line.
    pub(crate) fn note(self, text: &str) {
        match self {
            Listener::Terminal => progress::note(text),
            Listener::Parent => log::info!("{text}"),
        }
    }

    /// The drive is mounted; fails when nobody waits for it any more.
    pub(crate) fn mounted(self, text: &str) -> Result<()> {
        match self {
            Listener::Terminal => progress::note(text),
            Listener::Parent => {
                log::info!("{text}");
                say(&Word::Mounted).map_err(|_| {
                    fault(Code::Kept, "who asked for the mount went away meanwhile")
                })?;
            }
        }
        Ok(())
    }

    /// It did not work.
    pub(crate) fn failed(self, program: &str, error: &anyhow::Error) {
        progress::complain(program, &told(error));
        if self == Listener::Parent {
            let (code, text) = (code_of(error), told(error));
            drop(say(&Word::Failed { code, text }));
        }
    }
}

fn say(word: &Word) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(word)?;
    line.push(b'\n');
    let mut out = std::io::stdout().lock();
    out.write_all(&line)?;
    out.flush()
}

/// The parent: starts the child and returns when it has mounted the drive.
pub(crate) fn launch(args: Vec<OsString>, handed: &Handed, log: &Path) -> Result<()> {
    let program = std::env::current_exe().context("this program's own file")?;
    let mut command = Command::new(program);
    command
        .args(args)
        .arg(SUPERVISED)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(open_log(log)?);
    for variable in secret::VARIABLES {
        command.env_remove(variable);
    }
    let mut child = command.spawn().context("cannot start the daemon")?;
    if let Some(mut pipe) = child.stdin.take() {
        let secrets = Zeroizing::new(serde_json::to_vec(handed)?);
        pipe.write_all(&secrets)
            .context("the daemon ended at once")?;
    }
    let words = child.stdout.take().map(BufReader::new);
    for line in words.into_iter().flat_map(BufRead::lines) {
        match serde_json::from_str(&line.context("the daemon's words")?)? {
            Word::Progress { text } => progress::show(&text),
            Word::Note { text } => progress::note(&text),
            Word::Mounted => {
                progress::clear();
                return Ok(());
            }
            Word::Failed { code, text } => return Err(fault(code, text)),
        }
    }
    let status = child.wait().context("waiting for the daemon")?;
    let log = log.display();
    Err(fault(
        Code::Other,
        format!("the daemon ended ({status}); {log} says why"),
    ))
}

fn open_log(path: &Path) -> Result<std::fs::File> {
    let open = || {
        if let Some(dir) = path.parent() {
            paths::make_private(dir)?;
        }
        if is_long(path) {
            std::fs::rename(path, path.with_extension("old"))?;
        }
        std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path)
    };
    open().or_fault(Code::Disk, || format!("cannot write {}", path.display()))
}

/// The child: goes on in a new file when its log, which is its standard error, is long.
pub(crate) fn renew_log(path: &Path) -> Result<()> {
    if is_long(path) {
        sys::take_as_stderr(&open_log(path)?).context("the new log")?;
    }
    Ok(())
}

fn is_long(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.len() > LOG_BYTES_MAX)
}

/// The child: leaves the terminal and takes what it is given.
pub(crate) fn take_over() -> Result<Handed> {
    sys::own_session().context("cannot leave the terminal")?;
    // A buffer that grows leaves copies behind.
    let mut text = Zeroizing::new(Vec::with_capacity(HANDED_BYTES_MAX));
    std::io::stdin()
        .lock()
        .read_to_end(&mut text)
        .context("nothing was handed over")?;
    Ok(serde_json::from_slice(&text)?)
}
