//! `ods doctor`: is everything in order that a drive needs, and what to do if it is not?

use std::path::Path;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use crate::cli::ask;
use crate::cli::config::Config;
use crate::cli::config::DriveConfig;
use crate::cli::exit::Code;
use crate::cli::exit::code_of;
use crate::cli::exit::fault;
use crate::cli::exit::told;
use crate::cli::mounting;
use crate::cli::options::Options;
use crate::cli::paint::Paint;
use crate::cli::paint::paint;
use crate::cli::paths::Paths;
use crate::cli::permissions;
use crate::cli::progress;
use crate::cli::remote::Site;
use crate::cli::render;
use crate::cli::secret;
use crate::cli::sys;
use crate::cli::table;
use crate::cli::target::Target;
use crate::cli::work::Where;
use crate::size::Bytes;
use crate::store::discord::setup::Setup;

/// How far a clock may be wrong, seconds: addresses of attachments and leases have times in them.
const SKEW_MAX_S: i64 = 60;

/// Files that the daemon may need open at once.
const OPEN_FILES_MIN: u64 = 512;

/// Look whether everything is in order that a drive needs, and say what to do if it is not
///
/// Looks at configuration, token, server, channels, permissions, clock, FUSE, disk and limits. Changes nothing.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Answer in JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: Where,
}

/// How one thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Health {
    Good,
    Odd,
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    health: Health,
    text: String,
    /// What to do; empty when there is nothing to do.
    advice: String,
    #[serde(skip)]
    code: Code,
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, what: &'static str, health: Health, text: String, advice: &str) {
        self.0.push(Finding {
            what,
            health,
            text,
            advice: advice.to_owned(),
            code: Code::Other,
        });
    }

    fn good(&mut self, what: &'static str, text: impl Into<String>) {
        self.add(what, Health::Good, text.into(), "");
    }

    /// What came of looking: the value, or the error as a finding.
    fn take<T>(&mut self, what: &'static str, result: Result<T>, advice: &str) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.add(what, Health::Bad, told(&error), advice);
                if let Some(last) = self.0.last_mut() {
                    last.code = code_of(&error);
                }
                None
            }
        }
    }
}

/// Runs the command.
pub(crate) async fn run(args: &Doctor, config: Option<&Path>) -> Result<()> {
    let mut findings = Findings::default();
    let paths = Paths::find(config)?;
    let found = Config::load(&paths.config).and_then(|all| all.drive(args.at.drive.as_deref()));
    let advice = "`ods init` makes a drive and its configuration; `ods config check` says more";
    if let Some((name, drive)) = findings.take("configuration", found, advice) {
        let text = format!("drive `{name}` in {}", paths.config.display());
        findings.good("configuration", text);
        discord(args, &drive, &mut findings).await;
        local(&paths, &name, &drive, &mut findings);
    }
    fuse(&mut findings);
    limits(&mut findings);
    answer(&findings.0, args.json)
}

/// Everything on the other side of the network.
async fn discord(args: &Doctor, drive: &DriveConfig, findings: &mut Findings) {
    let token =
        secret::token_text(&args.at.secrets, drive).and_then(|(text, _)| secret::token(&text));
    let advice = "set DISCORD_BOT_TOKEN, or token_file or token_command in the configuration";
    let Some(token) = findings.take("token", token, advice) else {
        return;
    };
    let site = Site::of(drive, token, args.at.api_base.as_deref());
    let Some(site) = findings.take("discord", site, "look at api_base") else {
        return;
    };
    let Some(setup) = findings.take("discord", site.setup(), "") else {
        return;
    };
    let bot = setup.bot().await.map_err(anyhow::Error::from);
    let advice = match &bot {
        Err(error) if code_of(error) == Code::Token => {
            "take a new token from the developer portal and put it where the old one is"
        }
        _ => "check the network, a proxy, a firewall; discordstatus.com tells of outages",
    };
    let Some(bot) = findings.take("token", bot, advice) else {
        return;
    };
    findings.good(
        "token",
        format!("accepted; the bot is {}", table::escaped(&bot.name)),
    );
    clock(&setup, findings);
    let server = setup.guild(site.guild).await.map_err(anyhow::Error::from);
    let advice = format!("let the bot into the server: {}", bot.invite());
    if let Some(server) = findings.take("server", server, &advice) {
        let most = Bytes(server.attachment_bytes_max);
        findings.good(
            "server",
            format!(
                "{}; takes attachments of {most} (boost tier {})",
                table::escaped(&server.name),
                server.boost_tier
            ),
        );
    }
    let permissions = permissions::check(&setup, &site).await;
    let advice = match &permissions {
        Err(error) if code_of(error) == Code::Gone => {
            "see the README's section on troubleshooting: a channel of the drive is gone"
        }
        _ => "",
    };
    if findings.take("permissions", permissions, advice).is_some() {
        findings.good("permissions", "the bot has all it needs in both channels");
    }
}

/// Discord's answers say what time it is.
fn clock(setup: &Setup, findings: &mut Findings) {
    match setup.clock_skew_s() {
        None => findings.add(
            "clock",
            Health::Odd,
            String::from("Discord did not say what time it is"),
            "",
        ),
        Some(skew) if skew.abs() > SKEW_MAX_S => findings.add(
            "clock",
            Health::Bad,
            format!(
                "this machine's clock is {} {} Discord's",
                render::duration(skew.unsigned_abs()),
                if skew > 0 { "ahead of" } else { "behind" }
            ),
            "set the clock, or let it be set: `timedatectl set-ntp true`",
        ),
        Some(_) => findings.good("clock", "agrees with Discord's"),
    }
}

/// The drive on this machine.
fn local(paths: &Paths, name: &str, drive: &DriveConfig, findings: &mut Findings) {
    match Target::find(paths, Some(name)) {
        Ok(Target::Mounted(running)) => {
            findings.good("mount", format!("on {}", running.mountpoint.display()));
        }
        Ok(Target::Dead(path)) => findings.add(
            "mount",
            Health::Bad,
            format!("nobody serves the mount at {}", path.display()),
            "mount again, or `ods umount` it; nothing is lost",
        ),
        Ok(Target::Idle { state_dir, .. }) => {
            findings.good("mount", "not mounted");
            spool(&state_dir, findings);
        }
        Err(error) => findings.add("mount", Health::Odd, told(&error), ""),
    }
    let Some(state_dir) = findings.take("disk", drive.state_dir(name, paths), "") else {
        return;
    };
    let mut options = Options::default();
    let added = drive
        .options
        .as_deref()
        .map_or(Ok(()), |text| options.add(text));
    findings.take("options", added, "`ods-mount --help` lists them");
    let reserve = options.settings(state_dir.clone()).reserve_bytes;
    let there = state_dir.ancestors().find(|dir| dir.exists());
    match there.and_then(|dir| sys::free_bytes(dir).ok()) {
        Some(free) if free <= reserve => findings.add(
            "disk",
            Health::Bad,
            format!(
                "{} free at {}, and the spool leaves {} free",
                Bytes(free),
                state_dir.display(),
                Bytes(reserve)
            ),
            "free some, put the state elsewhere (`ods config set state_dir DIR`), or mount with a smaller -o reserve=",
        ),
        Some(free) => findings.good("disk", format!("{} free at {}", Bytes(free), state_dir.display())),
        None => findings.add(
            "disk",
            Health::Odd,
            format!("cannot tell how much is free at {}", state_dir.display()),
            "",
        ),
    }
}

/// What a drive that nobody serves has left on this machine.
fn spool(state_dir: &Path, findings: &mut Findings) {
    let last = mounting::last(state_dir);
    let waits = match &last {
        Some(last) if last.unpublished => {
            Some(format!("{} are not on Discord yet", render::left(last)))
        }
        None if ask::bytes_in(&state_dir.join("spool")) > 0 => Some(String::from(ask::NOT_ENDED)),
        _ => None,
    };
    if let Some(waits) = waits {
        let advice = "mount the drive: it goes on uploading";
        findings.add("spool", Health::Odd, waits, advice);
    }
    if let Some(lost) = last.and_then(|last| last.lost_records) {
        let advice = "`ods verify` tells what is affected, and `ods repair --forget` gives it up";
        findings.add("lost", Health::Odd, lost, advice);
    }
}

fn fuse(findings: &mut Findings) {
    let device = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/fuse");
    let helper = std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|dir| dir.join("fusermount3").exists())
    });
    match device {
        _ if cfg!(target_os = "macos") => {}
        Err(error) => findings.add(
            "fuse",
            Health::Bad,
            format!("/dev/fuse: {error}"),
            "`apt install fuse3`, `modprobe fuse`; in a container --device /dev/fuse --cap-add SYS_ADMIN. Commands other than mounting work without it",
        ),
        Ok(_) if !helper && sys::owner().0 != 0 => findings.add(
            "fuse",
            Health::Bad,
            String::from("fusermount3 is missing"),
            "`apt install fuse3`",
        ),
        Ok(_) => findings.good("fuse", "ready"),
    }
}

fn limits(findings: &mut Findings) {
    match sys::open_files_max(OPEN_FILES_MIN) {
        open @ ..OPEN_FILES_MIN => findings.add(
            "limits",
            Health::Odd,
            format!("{open} open files at most"),
            "`ulimit -n 512` or more",
        ),
        open => findings.good("limits", format!("{open} open files at most")),
    }
}

fn answer(findings: &[Finding], json: bool) -> Result<()> {
    let mut page = String::new();
    for finding in findings {
        let (colour, word) = match finding.health {
            Health::Good => (Paint::Good, "good"),
            Health::Odd => (Paint::Odd, "odd "),
            Health::Bad => (Paint::Bad, "bad "),
        };
        let (word, what) = (paint(colour, word), finding.what);
        page.push_str(&format!("{word}  {what:<13}  {}\n", finding.text));
        if !finding.advice.is_empty() {
            page.push_str(&format!("      {:<13}  do: {}\n", "", finding.advice));
        }
    }
    progress::answer(&match json {
        true => serde_json::to_string_pretty(findings)?,
        false => page,
    })?;
    let bad: Vec<&Finding> = findings
        .iter()
        .filter(|finding| finding.health == Health::Bad)
        .collect();
    match bad.first() {
        None => Ok(()),
        Some(first) => Err(fault(
            first.code,
            format!("{} of {} are bad", bad.len(), findings.len()),
        )),
    }
}
