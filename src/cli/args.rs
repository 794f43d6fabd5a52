//! The command lines of `ods` and `ods-mount`.

use std::path::PathBuf;

use clap::ArgAction;
use clap::Args;
use clap::Parser;
use clap::Subcommand;

use crate::cli::about::About;
use crate::cli::backup::Backup;
use crate::cli::channels::Channels;
use crate::cli::completions::Completions;
use crate::cli::completions::Man;
use crate::cli::configure::ConfigArgs;
use crate::cli::delete::Delete;
use crate::cli::describe::Describe;
use crate::cli::doctor::Doctor;
use crate::cli::download::Download;
use crate::cli::exit::Code;
use crate::cli::history::History;
use crate::cli::list::List;
use crate::cli::logbook::Log;
use crate::cli::options;
use crate::cli::passphrase::Passphrase;
use crate::cli::restore::Restore;
use crate::cli::resume::Resume;
use crate::cli::search::Search;
use crate::cli::secret::SecretArgs;
use crate::cli::stats::StatsArgs;
use crate::cli::sync::Sync;
use crate::cli::upload::Upload;
use crate::cli::work::Where;

/// A drive that lives in a Discord server: encrypted, deduplicated, crash-safe.
#[derive(Debug, Parser)]
#[command(name = "ods", version, after_help = after_help(EXAMPLES, ""), max_term_width = 100)]
pub(crate) struct Ods {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Say more; twice, much more (or set ODS_LOG=debug)
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Say nothing but errors and answers
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Configuration file [default: ~/.config/ods/config.toml]
    #[arg(long, global = true, value_name = "FILE", env = "ODS_CONFIG")]
    pub(crate) config: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  ods demo /mnt/drive            try it: no account needed
  ods init                       make a drive on Discord, step by step
  ods-mount /mnt/drive           mount it
  ods upload photos              copy a directory into it, mounted or not
  ods list                       the archives there are
  ods download '#291126-01' .    copy one back
  ods flush                      wait until everything is on Discord
  ods umount                     the same, then unmount
  ods init --join                the same drive on another machine

";

fn after_help(examples: &str, more: &str) -> String {
    format!("{examples}{more}{}", Code::table())
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Init(Init),
    Umount(Umount),
    Flush(Flush),
    Status(Status),
    Verify(Verify),
    Repair(Repair),
    Gc(Gc),
    Upload(Upload),
    Download(Download),
    Resume(Resume),
    #[command(visible_alias = "ls")]
    List(List),
    Search(Search),
    Info(About),
    History(History),
    Stats(StatsArgs),
    Channels(Channels),
    Describe(Describe),
    Delete(Delete),
    Backup(Backup),
    Restore(Restore),
    Sync(Sync),
    Config(ConfigArgs),
    Log(Log),
    Doctor(Doctor),
    Completions(Completions),
    Man(Man),
    Import(crate::cli::import::Import),
    Passphrase(Passphrase),
    Invite(Invite),
    Bot(Bot),
    Demo(Demo),
    Emulator(Emulator),
}

/// Make a drive, or with --join set up an existing one on this machine
///
/// Asks for what is not given. Needs a bot that has been let into your server; without one it prints
/// the link that does it.
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// Name of the drive on this machine
    #[arg(long, default_value = "main", value_name = "DRIVE")]
    pub(crate) name: String,
    /// Use a drive that exists already, and read its history
    #[arg(long)]
    pub(crate) join: bool,
    /// Id of the Discord server
    #[arg(long, value_name = "ID", env = "ODS_SERVER")]
    pub(crate) server: Option<u64>,
    /// Id of the journal's channel, if it is not the one called ods-journal
    #[arg(long, value_name = "ID")]
    pub(crate) journal_channel: Option<u64>,
    /// Id of the archives' channel, if it is not the one called ods-archives
    #[arg(long, value_name = "ID")]
    pub(crate) archives_channel: Option<u64>,
    /// Where Discord is; for the emulator
    #[arg(long, value_name = "URL", env = "ODS_API_BASE")]
    pub(crate) api_base: Option<String>,
    /// State directory of the drive [default: ~/.local/state/ods/DRIVE]
    #[arg(long, value_name = "DIR", env = "ODS_STATE_DIR")]
    pub(crate) state: Option<PathBuf>,
    /// Keep the token in a file beside the configuration, readable by you alone
    #[arg(long)]
    pub(crate) save_token: bool,
    /// Keep the passphrase in a file beside the configuration, readable by you alone
    #[arg(long)]
    pub(crate) save_passphrase: bool,
    #[command(flatten)]
    pub(crate) secrets: SecretArgs,
    /// Answer in JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Wait until everything is on Discord, then unmount
#[derive(Debug, Args)]
pub(crate) struct Umount {
    /// Drive or mount point [default: the running demo, or the default drive]
    pub(crate) target: Option<String>,
    /// Give up waiting after so many seconds; the drive stays mounted then
    #[arg(long, value_name = "SECONDS")]
    pub(crate) timeout: Option<u64>,
    /// Do not wait, whoever uses it; the spool keeps what is not on Discord for the next mount
    #[arg(long)]
    pub(crate) force: bool,
    /// Answer in JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Wait until everything written so far is on Discord: the whole drive, whatever path in it is given
#[derive(Debug, Args)]
pub(crate) struct Flush {
    /// Drive, or any path in it [default: the running demo, or the default drive]
    pub(crate) target: Option<String>,
    /// Give up waiting after so many seconds; the upload goes on
    #[arg(long, value_name = "SECONDS")]
    pub(crate) timeout: Option<u64>,
    /// Answer in JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Show how a drive is: what waits, how fast it goes, what went wrong
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Drive or mount point [default: the running demo, or the default drive]
    pub(crate) target: Option<String>,
    /// Answer in JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which drive, which part of it, and how to open it when it is not mounted.
#[derive(Debug, Args)]
pub(crate) struct DriveArgs {
    /// Path in a mounted drive, path from a drive's top directory, archive (#DDMMYY-NN), or drive
    /// [default: all of the running demo, or of the default drive]
    #[arg(value_name = "PATH|#ID")]
    pub(crate) what: Option<String>,
    #[command(flatten)]
    pub(crate) at: Where,
}

/// Check that everything is there, and whole
///
/// Works on a mounted drive while it is used, and on one that is not mounted. Nothing is changed.
/// Ctrl-C ends it and shows what was found so far.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    pub(crate) drive: DriveArgs,
    /// Only list what Discord holds: one request for a hundred messages (default)
    #[arg(long, conflicts_with = "full")]
    pub(crate) quick: bool,
    /// Fetch everything and check every byte
    #[arg(long)]
    pub(crate) full: bool,
    /// Answer in JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Put right what `ods verify --full` finds, from whatever still has it
///
/// Chunks come from memory, the local cache, other packs, or files with the same content (--from), and are
/// stored again; damaged history is replaced by a checkpoint of this machine's index; the superblock by
/// this machine's copy. What nothing brings back stays listed and unreadable.
#[derive(Debug, Args)]
pub(crate) struct Repair {
    #[command(flatten)]
    pub(crate) drive: DriveArgs,
    /// Only look for what is missing, by listing; what is damaged is not found
    #[arg(long)]
    pub(crate) quick: bool,
    /// Directory with files that may have the content that is missing
    #[arg(long, value_name = "DIR")]
    pub(crate) from: Option<PathBuf>,
    /// Give up what nothing brings back: it stays an error to read, files keep their length, and
    /// verify does not list it as a problem any more
    #[arg(long)]
    pub(crate) forget: bool,
    /// Change nothing; tell what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Answer in JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Collect garbage: what no file needs any more leaves Discord
///
/// What is found to be of no use is buried first and removed after a delay, so run it again a day
/// later, or leave that to a mounted drive, which does it by itself. Files are read and written as
/// usual meanwhile. Ctrl-C ends it; the same command goes on.
#[derive(Debug, Args)]
pub(crate) struct Gc {
    #[command(flatten)]
    pub(crate) drive: DriveArgs,
    /// Change nothing; tell what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// How long what is buried stays: a number and s, m, h or d [default: 24h, or the drive's gc_delay]
    #[arg(long, value_name = "TIME")]
    pub(crate) delay: Option<String>,
    /// Answer in JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Print the link that lets the bot into a server, with the permissions it needs and no others
#[derive(Debug, Args)]
pub(crate) struct Invite {
    /// Drive whose bot it is [default: the default drive, if any]
    pub(crate) drive: Option<String>,
    #[command(flatten)]
    pub(crate) secrets: SecretArgs,
    /// Where Discord is; for the emulator
    #[arg(long, value_name = "URL", env = "ODS_API_BASE")]
    pub(crate) api_base: Option<String>,
}

/// Mount a drive that lives on this machine only: no account, no configuration
///
/// The same drive, against a Discord emulator inside this process. Ctrl-C brings everything to the
/// emulator, unmounts and ends; the next run with the same directory goes on with the same drive.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// An empty directory
    pub(crate) mountpoint: PathBuf,
    /// Where everything is kept [default: ~/.local/state/ods/demo]
    #[arg(long, value_name = "DIR", env = "ODS_DEMO_DATA")]
    pub(crate) data: Option<PathBuf>,
    /// Mount options, as for ods-mount; the bot is there without being asked for (nobot: not)
    #[arg(short = 'o', value_name = "OPTIONS")]
    pub(crate) options: Vec<String>,
    /// Return when it is mounted
    #[arg(short, long)]
    pub(crate) daemon: bool,
    #[arg(long, hide = true)]
    pub(crate) supervised: bool,
}

/// Run the bot of a drive that is not mounted, until Ctrl-C
///
/// It answers commands in the drive's own Discord server: /status, /archives, /upload and others; `[drive.NAME.bot]`
/// in the configuration says who may ask what. A mounted drive has its bot in the same process: `ods-mount --bot`.
#[derive(Debug, Args)]
pub(crate) struct Bot {
    /// Drive [default: the default drive]
    pub(crate) drive: Option<String>,
    /// Tell Discord the commands again, also when they are the same as last time
    #[arg(long)]
    pub(crate) register: bool,
    #[command(flatten)]
    pub(crate) secrets: SecretArgs,
    /// Where Discord is; for the emulator
    #[arg(long, value_name = "URL", env = "ODS_API_BASE")]
    pub(crate) api_base: Option<String>,
}

/// Run a Discord on loopback, for trials and tests
#[derive(Debug, Args)]
pub(crate) struct Emulator {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub(crate) listen: std::net::SocketAddr,
    /// Directory that keeps everything over a restart [default: memory]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// File that says what goes wrong, and when
    #[arg(long, value_name = "FILE")]
    pub(crate) faults: Option<PathBuf>,
    /// Print what a client needs in JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Mount a drive
///
/// DRIVE is a name from the configuration; without it the default drive is meant. In the foreground,
/// Ctrl-C brings everything to Discord and unmounts; a second one stops at once, and the spool keeps
/// what is missing for the next mount.
#[derive(Debug, Parser)]
#[command(name = "ods-mount", version, after_help = after_help(MOUNT_EXAMPLES, options::HELP_PAGE), max_term_width = 100)]
pub(crate) struct Mount {
    /// Name of the drive, and where to mount it
    #[arg(num_args = 1..=2, required = true, value_name = "[DRIVE] MOUNTPOINT")]
    pub(crate) places: Vec<PathBuf>,
    /// Mount options, separated by commas
    #[arg(short = 'o', value_name = "OPTIONS")]
    pub(crate) options: Vec<String>,
    /// Return when it is mounted, and go on in the background
    #[arg(short, long)]
    pub(crate) daemon: bool,
    /// Take the drive although another machine holds it (-o takeover)
    #[arg(long)]
    pub(crate) takeover: bool,
    /// Run the drive's bot in its Discord server too (-o bot)
    #[arg(long)]
    pub(crate) bot: bool,
    /// A read waits so many seconds for Discord (-o read_timeout)
    #[arg(long, value_name = "SECONDS")]
    pub(crate) read_timeout: Option<u64>,
    /// State directory of the drive (-o state)
    #[arg(long, value_name = "DIR", env = "ODS_STATE_DIR")]
    pub(crate) state: Option<PathBuf>,
    /// Configuration file [default: ~/.config/ods/config.toml]
    #[arg(long, value_name = "FILE", env = "ODS_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Where Discord is; for the emulator
    #[arg(long, value_name = "URL", env = "ODS_API_BASE")]
    pub(crate) api_base: Option<String>,
    #[command(flatten)]
    pub(crate) secrets: SecretArgs,
    /// Say more; twice, much more (or set ODS_LOG=debug)
    #[arg(short, long, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Say nothing but errors
    #[arg(short, long)]
    pub(crate) quiet: bool,
    #[arg(long, hide = true)]
    pub(crate) supervised: bool,
}

const MOUNT_EXAMPLES: &str = "\
Examples:
  ods-mount /mnt/drive                       the default drive, in the foreground
  ods-mount photos /mnt/photos --daemon      another one, in the background
  ods-mount -o ro,allow_other /mnt/drive     read only, for all users
  main /mnt/drive fuse.ods nofail,_netdev 0 0     a line for /etc/fstab

";
