//! `ods log`: what the daemon of a drive wrote down.

use std::collections::VecDeque;
use std::io::BufRead;
use std::io::BufReader;
use std::path::Path;

use anyhow::Result;
use clap::Args;

use crate::cli::exit::Code;
use crate::cli::exit::OrFault;
use crate::cli::exit::fault;
use crate::cli::mount::LOG;
use crate::cli::paths::Paths;
use crate::cli::progress;
use crate::cli::target::Target;

/// Show the last lines of a drive's log
#[derive(Debug, Args)]
pub(crate) struct Log {
    /// Drive or mount point [default: the running demo, or the default drive]
    pub(crate) target: Option<String>,
    /// How many lines; 0 for all
    #[arg(short = 'n', long, value_name = "N", default_value_t = 50)]
    pub(crate) lines: usize,
}

/// Runs the command.
pub(crate) fn run(args: &Log, config: Option<&Path>) -> Result<()> {
    let target = Target::find(&Paths::find(config)?, args.target.as_deref())?;
    let dir = match &target {
        Target::Mounted(running) => running.socket.parent(),
        Target::Idle { state_dir, .. } => Some(state_dir.as_path()),
        Target::Dead(path) => {
            let path = path.display();
            let text = format!("nobody serves the mount at {path}; name the drive");
            return Err(fault(Code::NotMounted, text));
        }
    };
    let path = dir.unwrap_or(Path::new("/")).join(LOG);
    let file = std::fs::File::open(&path).or_fault(Code::NotFound, || {
        format!("there is no log at {}", path.display())
    })?;
    let mut last = VecDeque::new();
    for line in BufReader::new(file).split(b'\n') {
        if args.lines > 0 && last.len() == args.lines {
            last.pop_front();
        }
        last.push_back(String::from_utf8_lossy(&line?).into_owned());
    }
    if !last.is_empty() {
        progress::answer(&Vec::from(last).join("\n"))?;
    }
    Ok(())
}
