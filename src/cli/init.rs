//! `ods init`: a new drive on Discord, or an existing one on this machine.

use std::io::BufRead;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;
use anyhow::Result;
use zeroize::Zeroizing;

use crate::cli::args;
use crate::cli::config::Config;
use crate::cli::config::DriveConfig;
use crate::cli::exit::Code;
use crate::cli::exit::OrFault;
use crate::cli::exit::fault;
use crate::cli::join;
use crate::cli::paths;
use crate::cli::paths::Paths;
use crate::cli::permissions;
use crate::cli::progress;
use crate::cli::remote;
use crate::cli::remote::Places;
use crate::cli::remote::Site;
use crate::cli::remote::Unlocked;
use crate::cli::secret;
use crate::cli::secret::Origin;
use crate::cli::secret::Typing;
use crate::cli::succession;
use crate::codec::key::Secret;
use crate::codec::superblock::Cost;
use crate::codec::superblock::Superblock;
use crate::drive;
use crate::drive::superblock;
use crate::size::Bytes;
use crate::store::discord::setup::Bot;
use crate::store::discord::setup::Channels;
use crate::store::discord::setup::Guild;
use crate::store::discord::setup::Purpose;
use crate::store::discord::setup::Setup;

/// A drive that has just been made.
pub(crate) struct Made {
    pub(crate) unlocked: Unlocked,
    /// To be shown once.
    pub(crate) recovery: Zeroizing<String>,
}

/// What `ods init` has found out so far.
pub(crate) struct Draft {
    paths: Paths,
    pub(crate) state_dir: PathBuf,
    pub(crate) site: Site,
    bot: Bot,
    pub(crate) guild: Guild,
    pub(crate) channels: Channels,
    pub(crate) config: DriveConfig,
    token: (Zeroizing<String>, Origin),
}

/// Runs the command.
pub(crate) async fn run(args: &args::Init, config_file: Option<&Path>) -> Result<()> {
    let paths = Paths::find(config_file)?;
    paths::check_name(&args.name)?;
    let known = Config::load(&paths.config)?;
    let known = known.drive.get(&args.name);
    if let (Some(_), false) = (known, args.join) {
        return Err(fault(
            Code::Exists,
            format!(
                "a drive `{}` is configured in {}; choose another `--name`, or `--join` it",
                args.name,
                paths.config.display()
            ),
        ));
    }
    let draft = look_around(args, paths, known).await?;
    match args.join {
        true => join::finish(args, draft).await,
        false => finish(args, draft).await,
    }
}

/// Checks the token and finds the server and its channels; changes nothing.
async fn look_around(
    args: &args::Init,
    paths: Paths,
    known: Option<&DriveConfig>,
) -> Result<Draft> {
    let mut config = known.cloned().unwrap_or_default();
    let (text, origin) = secret::token_text(&args.secrets, &config)?;
    let base = remote::api_base(args.api_base.as_deref(), config.api_base.as_deref())?;
    let mut site = Site {
        token: secret::token(&text)?,
        api_base: base,
        guild: 0,
        journal: 0,
        archives: 0,
        attachment_bytes: None,
        patience: None,
    };
    let setup = site.setup()?;
    let bot = setup.bot().await?;
    progress::note(&format!(
        "The token is good: the bot is called {}.",
        bot.name
    ));
    let wanted = args.server.or(known.map(|known| known.server));
    let id = choose_server(&setup, &bot, wanted).await?;
    let guild = setup
        .guild(id)
        .await
        .or_fault(Code::Gone, || not_in(&bot, id))?;
    let limit = Bytes(guild.attachment_bytes_max);
    progress::note(&format!(
        "Server {} ({}) takes files of {limit} (boost tier {}).",
        guild.name, guild.id, guild.boost_tier
    ));
    site.guild = guild.id;
    site.attachment_bytes = Some(guild.attachment_bytes_max);
    let channels = setup.channels(guild.id).await?;
    let found = |purpose| channels.find(purpose).map_or(0, |channel| channel.id);
    site.journal = args.journal_channel.unwrap_or(found(Purpose::Journal));
    site.archives = args.archives_channel.unwrap_or(found(Purpose::Archives));
    config.server = guild.id;
    config.attachment_bytes = site.attachment_bytes;
    if site.api_base != crate::store::discord::API_BASE {
        config.api_base = Some(site.api_base.clone());
    }
    let state_dir = match &args.state {
        Some(dir) => {
            config.state_dir = Some(std::path::absolute(dir)?);
            std::path::absolute(dir)?
        }
        None => config.state_dir(&args.name, &paths)?,
    };
    Ok(Draft {
        paths,
        state_dir,
        site,
        bot,
        guild,
        channels,
        config,
        token: (text, origin),
    })
}

fn not_in(bot: &Bot, server: u64) -> String {
    let link = bot.invite();
    format!("the bot is not in server {server}; let it in with {link}")
}

async fn choose_server(setup: &Setup, bot: &Bot, wanted: Option<u64>) -> Result<u64> {
    if let Some(id) = wanted {
        return Ok(id);
    }
    let servers = setup.guilds().await?;
    let list = || {
        let lines = servers.iter().zip(1..);
        let lines: Vec<String> = lines
            .map(|((id, name), number)| format!("  {number}  {name} ({id})"))
            .collect();
        lines.join("\n")
    };
    match &servers[..] {
        [] => Err(fault(
            Code::Gone,
            format!(
                "the bot is in no server yet; let it in with {}",
                bot.invite()
            ),
        )),
        [(id, _)] => Ok(*id),
        _ if !secret::is_interactive() => Err(fault(
            Code::Usage,
            format!("which server? Say `--server ID`:\n{}", list()),
        )),
        several => {
            progress::note(&format!("The bot is in these servers:\n{}", list()));
            let number: usize = ask("Which one? ")?.parse().unwrap_or(0);
            several
                .get(number.wrapping_sub(1))
                .map(|(id, _)| *id)
                .ok_or_else(|| fault(Code::Usage, "no such server"))
        }
    }
}

/// Asks a person for a line.
fn ask(question: &str) -> Result<String> {
    progress::prompt(question);
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

async fn finish(args: &args::Init, mut draft: Draft) -> Result<()> {
    if draft.site.journal != 0 {
        refuse_taken(&draft.site).await?;
    }
    if drive::is_taken(&draft.state_dir) {
        return Err(fault(
            Code::State,
            format!(
                "{} holds the state of another drive; choose another `--name`, or move it away",
                draft.state_dir.display()
            ),
        ));
    }
    let (passphrase, _) = secret::passphrase_text(&args.secrets, &draft.config, Typing::Twice)?;
    let made = make(&mut draft.site, Secret::passphrase(passphrase.to_string())?).await?;
    let config_dir = draft.paths.config.parent().unwrap_or(Path::new("/"));
    paths::check_writable(config_dir)?;
    paths::check_writable(&draft.state_dir)?;
    // It is gone with this process, so nothing is made that it could be missed for.
    show_recovery(args, &draft, &made)?;
    put(&draft.site, &made).await?;
    let set_up = keep(args, &mut draft, &passphrase)
        .and_then(|()| succession::keep_copy(&draft.state_dir, &made.unlocked))
        .and_then(|()| tell(args, &draft));
    set_up.context(
        "the drive is made, and its recovery key is valid, but this machine may lack something; \
         `ods init --join` sets it up",
    )
}

/// Refuses channels in which anything of a drive lies: two of them in one journal would damage each other.
async fn refuse_taken(site: &Site) -> Result<()> {
    let store = site.store()?;
    if !superblock::is_taken(&store).await? {
        return Ok(());
    }
    let journal = site.journal;
    Err(fault(
        Code::Exists,
        match superblock::find(&store).await?.is_empty() {
            false => format!(
                "there is a drive in this server already, in channel {journal}; `ods init --join` sets it up \
                 on this machine"
            ),
            true => format!(
                "channel {journal} holds the journal of a drive whose superblock is gone; `ods repair` puts it \
                 there from a machine that has the drive. For a new drive, give an empty channel with \
                 `--journal-channel`"
            ),
        },
    ))
}

/// Makes the channels that are missing, checks what the bot may do there, and makes a drive, which is not there
/// before it is [`put`].
pub(crate) async fn make(site: &mut Site, secret: Secret) -> Result<Made> {
    let setup = site.setup()?;
    for (channel, purpose) in [
        (&mut site.journal, Purpose::Journal),
        (&mut site.archives, Purpose::Archives),
    ] {
        if *channel == 0 {
            *channel = setup.channel(site.guild, purpose).await?.id;
        }
    }
    permissions::check(&setup, site).await?;
    let places = Places {
        server: site.guild,
        journal_channel: site.journal,
        archives_channel: site.archives,
    }
    .encode()?;
    let made =
        tokio::task::spawn_blocking(move || Superblock::create(&secret, Cost::default(), places));
    let (superblock, master, recovery) = made.await??;
    Ok(Made {
        unlocked: Unlocked {
            superblock,
            master,
            found: None,
        },
        recovery: Zeroizing::new(recovery.to_string()),
    })
}

/// Writes the superblock: from now on the drive is there.
///
/// # Errors
/// With code `Exists` when another `ods init` made a drive in the same channel at the same time: then there is none
/// of this one.
pub(crate) async fn put(site: &Site, made: &Made) -> Result<()> {
    let Unlocked {
        superblock, master, ..
    } = &made.unlocked;
    match superblock::put_first(&site.store()?, superblock, master).await? {
        true => Ok(()),
        false => Err(fault(
            Code::Exists,
            format!(
                "another drive was made in channel {} meanwhile, and is the one that stays; this one's recovery key \
                 opens nothing. `ods init --join` sets the other one up on this machine",
                site.journal
            ),
        )),
    }
}

/// Writes the configuration, and the secrets that are to be kept.
pub(crate) fn keep(args: &args::Init, draft: &mut Draft, passphrase: &str) -> Result<()> {
    let config = &mut draft.config;
    config.journal_channel = draft.site.journal;
    config.archives_channel = draft.site.archives;
    let absolute = |path: &Option<PathBuf>| path.as_deref().map(std::path::absolute).transpose();
    let secrets = &args.secrets;
    config.token_file = absolute(&secrets.token_file)?.or(config.token_file.take());
    config.passphrase_file = absolute(&secrets.passphrase_file)?.or(config.passphrase_file.take());
    if secrets.token_command.is_some() {
        config.token_command.clone_from(&secrets.token_command);
    }
    if secrets.passphrase_command.is_some() {
        config
            .passphrase_command
            .clone_from(&secrets.passphrase_command);
    }
    let beside = |kind: &str| {
        draft
            .paths
            .config
            .with_file_name(format!("{}.{kind}", args.name))
    };
    let write = |path: &Path, text: &str| {
        path.parent().map_or(Ok(()), paths::make_private)?;
        paths::write_private(path, format!("{text}\n").as_bytes())
    };
    let (token, origin) = &draft.token;
    let keeps_token = args.save_token
        || (*origin == Origin::Typed
            && ask("Keep the token in a file for later mounts? [y/N] ")?.eq_ignore_ascii_case("y"));
    if keeps_token {
        let path = beside("token");
        write(&path, token).or_fault(Code::Config, || path.display().to_string())?;
        config.token_file = Some(path);
    }
    if args.save_passphrase {
        let path = beside("passphrase");
        write(&path, passphrase).or_fault(Code::Config, || path.display().to_string())?;
        config.passphrase_file = Some(path);
    }
    Config::keep(&draft.paths.config, &args.name, config)
}

/// Shows the recovery key. For scripts this is the whole answer, which counts once the command has succeeded.
fn show_recovery(args: &args::Init, draft: &Draft, made: &Made) -> Result<()> {
    let recovery = made.recovery.as_str();
    if args.json {
        let mut answer = told(args, draft, &made.unlocked);
        answer["recovery_key"] = recovery.into();
        return progress::answer_once(&answer.to_string());
    }
    progress::answer_once(&format!(
        "Recovery key, shown this once: print it or write it down. With it and the bot's token the\n\
         drive opens without the passphrase.\n\n    {recovery}\n"
    ))
}

/// Says what was made.
fn tell(args: &args::Init, draft: &Draft) -> Result<()> {
    if args.json {
        return Ok(());
    }
    progress::answer(&format!(
        "\nThe drive `{name}` is ready in server {server}.\n\
         To let the bot into a server again: {invite}\n\
         Next: ods-mount {shown}MOUNTPOINT",
        name = args.name,
        server = draft.guild.name,
        invite = draft.bot.invite(),
        shown = match args.name.as_str() {
            "main" => String::new(),
            name => format!("{name} "),
        },
    ))
}

/// The answer for scripts.
pub(crate) fn told(args: &args::Init, draft: &Draft, unlocked: &Unlocked) -> serde_json::Value {
    serde_json::json!({
        "drive": args.name,
        "id": unlocked.drive().to_string(),
        "server": draft.guild.id.to_string(),
        "server_name": draft.guild.name,
        "journal_channel": draft.site.journal.to_string(),
        "archives_channel": draft.site.archives.to_string(),
        "attachment_bytes": draft.guild.attachment_bytes_max,
        "invite": draft.bot.invite(),
        "config": draft.paths.config,
        "state_dir": draft.state_dir,
    })
}
