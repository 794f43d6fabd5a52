//! `ods restore`: the index of a drive from a file that `ods backup` made.

use std::path::Path;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::cli::config::Config;
use crate::cli::exit::Code;
use crate::cli::exit::OrFault;
use crate::cli::exit::fault;
use crate::cli::paths;
use crate::cli::paths::Paths;
use crate::cli::progress;
use crate::cli::secret;
use crate::cli::secret::Typing;
use crate::cli::target::Target;
use crate::cli::work::Where;
use crate::codec::key::Keys;
use crate::drive::restore;
use crate::drive::superblock;
use crate::size::Bytes;

/// Take the index from a file that `ods backup --to FILE` made
///
/// For the day on which the journal on Discord is gone or damaged: the next mount goes on from the backup, with
/// whatever the journal still has beyond it. Files that were written since the backup, and are not in the
/// journal any more, are not in it. What waits in the spool stays there.
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The file
    pub(crate) file: PathBuf,
    /// Replace an index that this machine has
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Answer in JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: Where,
}

/// Runs the command.
pub(crate) fn run(args: &Restore, config: Option<&Path>) -> Result<()> {
    let all = Paths::find(config)?;
    let target = Target::find(&all, args.at.drive.as_deref())?;
    let Target::Idle { name, state_dir } = target else {
        return Err(fault(
            Code::State,
            "the drive is mounted, so its index is there; `ods umount` first if you mean it",
        ));
    };
    let (_, drive) = Config::load(&all.config)?.drive(Some(&name))?;
    let cannot = || format!("cannot read {}", args.file.display());
    let mut backup = restore::Backup::open(&args.file).or_fault(Code::Usage, cannot)?;
    if state_dir.join("index").exists() && !args.yes {
        return Err(fault(
            Code::Conflict,
            format!(
                "{} has an index already; --yes replaces it",
                state_dir.display()
            ),
        ));
    }
    let (passphrase, _) = secret::passphrase_text(&args.at.secrets, &drive, Typing::Once)?;
    let superblock = backup.superblock();
    let master = superblock.open(&secret::secret(&passphrase)?)?;
    let keys = Keys::derive(&master, superblock.drive());
    let restored = restore::restore(&state_dir, &keys, &mut backup)?;
    let copy = state_dir.join(superblock::COPY);
    if !copy.exists() {
        paths::write_private(&copy, backup.superblock_bytes())
            .or_fault(Code::Disk, || format!("cannot write {}", copy.display()))?;
    }
    let answer = serde_json::json!({ "epoch": restored.epoch, "bytes": restored.bytes });
    match args.json {
        true => progress::answer(&serde_json::to_string_pretty(&answer)?)?,
        false => progress::note(&format!(
            "the index is that of epoch {} ({}). Mount the drive; `ods repair` if the journal is damaged",
            restored.epoch,
            Bytes(restored.bytes)
        )),
    }
    Ok(())
}
