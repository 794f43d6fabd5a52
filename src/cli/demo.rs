//! `ods demo`: a drive of one's own in one word, on a Discord inside this process.
//!
//! ```text
//! DIR/discord      what the emulator keeps
//! DIR/state        the drive's state on this machine
//! DIR/passphrase   made at random, for this user alone
//! ```

use std::ffi::OsString;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Result;
use zeroize::Zeroizing;

use crate::bot;
use crate::cli::args;
use crate::cli::daemon;
use crate::cli::daemon::Handed;
use crate::cli::daemon::Listener;
use crate::cli::exit::Code;
use crate::cli::exit::OrFault;
use crate::cli::init;
use crate::cli::logger;
use crate::cli::mount;
use crate::cli::mounting;
use crate::cli::mounting::Plan;
use crate::cli::options::Options;
use crate::cli::paths;
use crate::cli::paths::Paths;
use crate::cli::progress;
use crate::cli::remote::Site;
use crate::cli::secret;
use crate::drive::superblock;
use crate::emulator::Emulator;
use crate::emulator::Settings;
use crate::store::discord::setup::Purpose;

/// Name of the drive, which no configuration knows.
const NAME: &str = "demo";

/// What is wanted, checked as far as that changes nothing.
struct Wish {
    paths: Paths,
    data: PathBuf,
    options: Options,
    mountpoint: PathBuf,
}

fn wish(args: &args::Demo, config: Option<&Path>) -> Result<Wish> {
    let paths = Paths::find(config)?;
    let data = match &args.data {
        Some(dir) => std::path::absolute(dir)?,
        None => paths.state.join(NAME),
    };
    let mut options = Options::default();
    // The page's commands and the buttons of its cards are the bot's.
    options.bot = true;
    args.options.iter().try_for_each(|list| options.add(list))?;
    let mountpoint = mounting::check(&args.mountpoint, &data, &options, &paths)?;
    Ok(Wish {
        paths,
        data,
        options,
        mountpoint,
    })
}

/// Runs the command.
pub(crate) fn run(args: &args::Demo, config: Option<&Path>) -> Result<()> {
    if args.supervised {
        drop(daemon::take_over()?);
    }
    let wish = wish(args, config)?;
    if args.daemon && !args.supervised {
        let words: Vec<OsString> = std::env::args_os().skip(1).collect();
        let log = wish.data.join(mount::LOG);
        daemon::launch(words, &Handed::default(), &log)?;
        progress::note(&told(&wish));
        return Ok(());
    }
    let listener = match args.supervised {
        true => Listener::Parent,
        false => Listener::Terminal,
    };
    if listener == Listener::Terminal {
        progress::note(&told(&wish));
    } else {
        logger::keep_short(&wish.data.join(mount::LOG));
        std::env::set_current_dir("/")?;
    }
    crate::cli::block_on(serve(wish, listener))
}

fn told(wish: &Wish) -> String {
    format!(
        "Everything of this demo is kept in {}; the next `ods demo` with the same directory goes on with it.\n\
         `ods status` shows how it is, `ods umount` or Ctrl-C ends it.",
        wish.data.display()
    )
}

async fn serve(wish: Wish, listener: Listener) -> Result<()> {
    let data = &wish.data;
    paths::make_private(data).or_fault(Code::Disk, || data.display().to_string())?;
    let emulator = Emulator::start(Settings {
        data: Some(data.join("discord")),
        ..Settings::default()
    })
    .await?;
    listener.warn(&format!("See it at {}/", emulator.base_url()));
    let passphrase = passphrase(&data.join("passphrase"))?;
    let site = prepare(&emulator, &passphrase).await?;
    let plan = Plan {
        name: String::from(NAME),
        site,
        bot: wish.options.bot.then(bot::Settings::default),
        options: wish.options,
        mountpoint: wish.mountpoint,
        state_dir: data.join("state"),
        paths: wish.paths,
        is_demo: true,
        begin: crate::drive::Begin::Kept,
    };
    let secret = secret::secret(&passphrase)?;
    let result = mounting::run(plan, secret, listener).await;
    emulator.stop().await;
    result
}

/// The passphrase of this directory's drive, made at the first run.
fn passphrase(path: &Path) -> Result<Zeroizing<String>> {
    if let Ok(text) = std::fs::read_to_string(path) {
        return Ok(Zeroizing::new(text.trim_end().to_owned()));
    }
    let random: [u8; 20] = crate::codec::key::random();
    let text = Zeroizing::new(data_encoding::BASE32_NOPAD.encode(&random).to_lowercase());
    paths::write_private(path, text.as_bytes())
        .or_fault(Code::Disk, || path.display().to_string())?;
    Ok(text)
}

/// Finds the drive in the emulator, or makes it.
async fn prepare(emulator: &Emulator, passphrase: &str) -> Result<Site> {
    let mut site = Site {
        token: secret::token(emulator.token())?,
        api_base: emulator.base_url(),
        guild: emulator.guild_id(),
        journal: 0,
        archives: 0,
        attachment_bytes: None,
        patience: None,
    };
    let setup = site.setup()?;
    let channels = setup.channels(site.guild).await?;
    let found = |purpose| channels.find(purpose).map_or(0, |channel| channel.id);
    let (journal, archives) = (found(Purpose::Journal), found(Purpose::Archives));
    (site.journal, site.archives) = (journal, archives);
    let is_there =
        journal != 0 && archives != 0 && !superblock::find(&site.store()?).await?.is_empty();
    if !is_there {
        let made = init::make(&mut site, secret::secret(passphrase)?).await?;
        init::put(&site, &made).await?;
    }
    Ok(site)
}
