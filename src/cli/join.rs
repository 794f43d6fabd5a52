//! `ods init --join`: an existing drive on this machine, from token, passphrase and server alone.
//!
//! Nothing is changed on Discord, but that a superblock without a pin gets one, and no lease is taken: the drive may
//! be mounted elsewhere meanwhile.
//! Interrupted, it goes on with the next try, or with the first mount.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use anyhow::Result;

use crate::cli::args;
use crate::cli::exit;
use crate::cli::exit::Code;
use crate::cli::exit::fault;
use crate::cli::init;
use crate::cli::init::Draft;
use crate::cli::opening;
use crate::cli::permissions;
use crate::cli::progress;
use crate::cli::remote;
use crate::cli::remote::Places;
use crate::cli::remote::Unlocked;
use crate::cli::secret;
use crate::cli::secret::Typing;
use crate::cli::succession;
use crate::drive::Access;
use crate::drive::Drive;
use crate::drive::Halt;
use crate::drive::RebuildProgress;
use crate::drive::Settings;
use crate::drive::superblock;
use crate::store::Store;

/// Does it, once server and channels are known.
pub(crate) async fn finish(args: &args::Init, mut draft: Draft) -> Result<()> {
    if draft.site.journal == 0 {
        return Err(fault(
            Code::NoDrive,
            "there is no drive in this server; make one with `ods init`",
        ));
    }
    let (passphrase, _) = secret::passphrase_text(&args.secrets, &draft.config, Typing::Once)?;
    let store = draft.site.store()?;
    let secret = secret::secret(&passphrase)?;
    let unlocked = remote::unlock(&store, &draft.site, &draft.state_dir, &secret).await?;
    draft.site.archives = Places::of(&unlocked.superblock)?.archives_channel;
    let seen = (&draft.guild, &draft.channels);
    permissions::check_in(&draft.site.setup()?, &draft.site, seen).await?;
    let rebuilt = rebuild(&args.name, &draft.state_dir, &unlocked, draft.site.store()?).await;
    // A harmed journal may be put right from here too, or at least be read up to there.
    if let Err(error) = &rebuilt
        && exit::code_of(error) != Code::Damaged
    {
        return rebuilt.map(drop);
    }
    succession::keep_pinned(&store, &unlocked).await;
    succession::keep_copy(&draft.state_dir, &unlocked)?;
    init::keep(args, &mut draft, &passphrase)?;
    let Rebuilt { files, bytes, halt } = rebuilt.with_context(|| set_up_all_the_same(args))?;
    if let Some(halt) = &halt {
        if !halt.is_newest() {
            let text = format!("{}: {}", set_up_all_the_same(args), halt.told());
            return Err(fault(Code::Damaged, text));
        }
        progress::note(&halt.told());
    }
    if args.json {
        let mut answer = init::told(args, &draft, &unlocked);
        answer["files"] = files.into();
        answer["file_bytes"] = bytes.into();
        answer["halt"] = halt.map(|halt| halt.told()).into();
        progress::answer(&answer.to_string())?;
    } else {
        progress::answer(&format!(
            "The drive `{}` is set up here: {files} files, {}. Next: ods-mount {} MOUNTPOINT",
            args.name,
            crate::size::Bytes(bytes),
            args.name
        ))?;
    }
    Ok(())
}

fn set_up_all_the_same(args: &args::Init) -> String {
    let name = &args.name;
    format!("the drive `{name}` is set up here, but its journal on Discord is harmed")
}

/// What came of reading the drive's history.
#[derive(Default)]
struct Rebuilt {
    files: u64,
    bytes: u64,
    halt: Option<Halt>,
}

/// Reads the drive's history, so that the first mount has nothing left to do.
async fn rebuild(
    name: &str,
    state_dir: &Path,
    unlocked: &Unlocked,
    store: Arc<dyn Store>,
) -> Result<Rebuilt> {
    if !superblock::has_history(&store).await? {
        crate::cli::paths::make_private(state_dir)?;
        return Ok(Rebuilt::default());
    }
    let mut settings = Settings::new(state_dir.to_owned());
    settings.access = Access::Read;
    let watch = |progress: RebuildProgress| progress::show(&opening::rebuilding(name, progress));
    let opened = Drive::open(settings, unlocked.drive(), unlocked.keys(), store, &watch).await;
    progress::clear();
    let drive = opened?;
    let (space, halt) = (drive.space(), drive.halt());
    drive.close().await;
    let space = space?;
    Ok(Rebuilt {
        files: space.files,
        bytes: space.used_bytes,
        halt,
    })
}
