//! Token and passphrase: from the environment, a private file, a command or the terminal; never from
//! the command line, where every process of the machine could read them.

use std::io::IsTerminal;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use anyhow::Result;
use zeroize::Zeroizing;

use crate::cli::config::DriveConfig;
use crate::cli::exit::Code;
use crate::cli::exit::OrFault;
use crate::cli::exit::fault;
use crate::cli::paths;
use crate::cli::progress;
use crate::codec::key;
use crate::codec::key::Secret;
use crate::import::Keys;
use crate::import::OldKey;
use crate::store::discord::Token;

/// Variables that hold secrets; commands that are run do not get them.
pub(crate) const VARIABLES: &[&str] = &[
    "DISCORD_BOT_TOKEN",
    "ODS_PASSPHRASE",
    "USER_KEY",
    "ENCRYPTION_KEY",
    "ODS_NEW_PASSPHRASE",
];

/// How often a new passphrase may be mistyped before it is given up.
const ATTEMPTS_MAX: usize = 3;

/// Most bytes of a secret's file or of a command's answer.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// Where secrets come from, as said on the command line.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct SecretArgs {
    /// File with the bot's token, readable by you alone [or: DISCORD_BOT_TOKEN in the environment]
    #[arg(long, value_name = "FILE", env = "ODS_TOKEN_FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Command that prints the bot's token, e.g. `pass show discord/ods`
    #[arg(long, value_name = "COMMAND", env = "ODS_TOKEN_COMMAND")]
    pub(crate) token_command: Option<String>,
    /// File with the passphrase, readable by you alone [or: ODS_PASSPHRASE in the environment]
    #[arg(long, value_name = "FILE", env = "ODS_PASSPHRASE_FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Command that prints the passphrase
    #[arg(long, value_name = "COMMAND", env = "ODS_PASSPHRASE_COMMAND")]
    pub(crate) passphrase_command: Option<String>,
}

/// What can be asked for.
struct Wanted<'a> {
    what: &'a str,
    variable: &'a str,
    /// A variable of the older systems, looked at last.
    older: Option<&'a str>,
    file: [Option<&'a Path>; 2],
    command: [Option<&'a str>; 2],
    flag: &'a str,
}

impl Wanted<'_> {
    /// The first source that is there: command line, environment, configuration, the older variable.
    fn look(&self) -> Result<Option<Zeroizing<String>>> {
        let [flag_file, config_file] = self.file;
        let [flag_command, config_command] = self.command;
        if let Some(path) = flag_file {
            return read_file(self.what, path).map(Some);
        }
        if let Some(command) = flag_command {
            return run(self.what, command).map(Some);
        }
        let variable = |name: &str| std::env::var(name).ok().map(Zeroizing::new);
        if let Some(text) = variable(self.variable) {
            return Ok(Some(text));
        }
        if let Some(path) = config_file {
            return read_file(self.what, &paths::expand(path)?).map(Some);
        }
        if let Some(command) = config_command {
            return run(self.what, command).map(Some);
        }
        Ok(self.older.and_then(variable))
    }

    fn missing(&self) -> anyhow::Error {
        let (what, flag, variable) = (self.what, self.flag, self.variable);
        fault(
            Code::Secrets,
            format!(
                "no {what}: set {variable}, or give `--{flag}-file FILE` or `--{flag}-command COMMAND`, \
                 or write `{flag}_file` or `{flag}_command` into the configuration"
            ),
        )
    }
}

fn read_file(what: &str, path: &Path) -> Result<Zeroizing<String>> {
    let wrong = |why: String| {
        fault(
            Code::Secrets,
            format!("{what} file {}: {why}", path.display()),
        )
    };
    let file = std::fs::File::open(path).map_err(|error| wrong(error.to_string()))?;
    let meta = file.metadata().map_err(|error| wrong(error.to_string()))?;
    if meta.is_file() && meta.mode() & 0o077 != 0 {
        return Err(wrong(format!(
            "others may read it (mode {:03o}); `chmod 600` it",
            meta.mode() & 0o777
        )));
    }
    let mut text = Zeroizing::new(String::new());
    file.take(SECRET_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(|error| wrong(error.to_string()))?;
    Ok(one_line(text))
}

/// Without the line's end that editors and `echo` leave.
fn one_line(text: Zeroizing<String>) -> Zeroizing<String> {
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Zeroizing::new(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

fn run(what: &str, command: &str) -> Result<Zeroizing<String>> {
    let wrong = |why: String| fault(Code::Secrets, format!("{what} command `{command}`: {why}"));
    let mut process = Command::new("sh");
    process.args(["-c", command]).stderr(Stdio::inherit());
    VARIABLES.iter().for_each(|variable| {
        process.env_remove(variable);
    });
    let output = process.output().map_err(|error| wrong(error.to_string()))?;
    let text = Zeroizing::new(output.stdout);
    if !output.status.success() {
        return Err(wrong(output.status.to_string()));
    }
    let text = std::str::from_utf8(&text).map_err(|_| wrong(String::from("not text")))?;
    Ok(one_line(Zeroizing::new(text.to_owned())))
}

/// Can somebody be asked?
pub(crate) fn is_interactive() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Asks on the terminal, without showing what is typed.
fn ask(prompt: &str) -> Result<Zeroizing<String>> {
    let typed = rpassword::prompt_password(prompt)
        .or_fault(Code::Secrets, || String::from("cannot ask on the terminal"))?;
    Ok(Zeroizing::new(typed))
}

/// Where a secret was found, since what was typed may be worth keeping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// In the environment, a file or a command's answer.
    Given,
    /// Typed on the terminal.
    Typed,
}

/// The bot's token as text.
pub(crate) fn token_text(
    args: &SecretArgs,
    drive: &DriveConfig,
) -> Result<(Zeroizing<String>, Origin)> {
    let wanted = Wanted {
        what: "token",
        variable: "DISCORD_BOT_TOKEN",
        older: None,
        file: [args.token_file.as_deref(), drive.token_file.as_deref()],
        command: [
            args.token_command.as_deref(),
            drive.token_command.as_deref(),
        ],
        flag: "token",
    };
    match wanted.look()? {
        Some(text) => Ok((text, Origin::Given)),
        None if is_interactive() => Ok((ask("Bot token: ")?, Origin::Typed)),
        None => Err(wanted.missing()),
    }
}

/// The bot's token.
pub(crate) fn token(text: &str) -> Result<Token> {
    Token::new(text).map_err(|error| fault(Code::Token, error.to_string()))
}

/// Whether what is typed must be typed twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Typing {
    /// It opens something: a mistake shows at once.
    Once,
    /// It will open something: a mistake would show too late.
    Twice,
}

/// The passphrase as text.
pub(crate) fn passphrase_text(
    args: &SecretArgs,
    drive: &DriveConfig,
    typing: Typing,
) -> Result<(Zeroizing<String>, Origin)> {
    let wanted = Wanted {
        what: "passphrase",
        variable: "ODS_PASSPHRASE",
        // It may be set for `ods import`, which reads what another key sealed.
        older: Some("USER_KEY"),
        file: [
            args.passphrase_file.as_deref(),
            drive.passphrase_file.as_deref(),
        ],
        command: [
            args.passphrase_command.as_deref(),
            drive.passphrase_command.as_deref(),
        ],
        flag: "passphrase",
    };
    let (text, origin) = match wanted.look()? {
        Some(text) => (text, Origin::Given),
        None if is_interactive() => (type_passphrase("Passphrase: ", typing)?, Origin::Typed),
        None => return Err(wanted.missing()),
    };
    check_passphrase(&text, typing)?;
    Ok((text, origin))
}

fn check_passphrase(text: &str, typing: Typing) -> Result<()> {
    match flaw(text, typing) {
        Some(flaw) => Err(fault(Code::Secrets, flaw)),
        None => Ok(()),
    }
}

/// Why this cannot be a passphrase, or not a new one.
fn flaw(text: &str, typing: Typing) -> Option<&'static str> {
    if text.is_empty() {
        return Some("the passphrase is empty");
    }
    (typing == Typing::Twice && key::begins_like_recovery(text)).then_some(
        "a new passphrase cannot begin with `ods-recovery`, as recovery keys do; choose another one",
    )
}

/// A passphrase from the terminal. What is mistyped here is asked for again: nothing is lost yet, and
/// whoever ran the command has gone through all of its other questions.
fn type_passphrase(prompt: &str, typing: Typing) -> Result<Zeroizing<String>> {
    let mut wrong = "";
    for attempt in 0..ATTEMPTS_MAX {
        if attempt > 0 {
            progress::note(&format!("{wrong}: once more"));
        }
        let first = ask(prompt)?;
        if let Some(flaw) = flaw(&first, typing) {
            wrong = flaw;
        } else if typing == Typing::Twice && *ask("The same again: ")? != *first {
            wrong = "the two passphrases differ";
        } else {
            return Ok(first);
        }
    }
    Err(fault(Code::Secrets, wrong))
}

/// The passphrase that replaces another one: from its own variable or file, or typed twice.
pub(crate) fn new_passphrase(file: Option<&Path>) -> Result<Zeroizing<String>> {
    let wanted = Wanted {
        what: "new passphrase",
        variable: "ODS_NEW_PASSPHRASE",
        older: None,
        file: [file, None],
        command: [None, None],
        flag: "new-passphrase",
    };
    let text = match wanted.look()? {
        Some(text) => text,
        None if is_interactive() => type_passphrase("New passphrase: ", Typing::Twice)?,
        None => {
            return Err(fault(
                Code::Secrets,
                "no new passphrase: set ODS_NEW_PASSPHRASE or give `--new-passphrase-file FILE`",
            ));
        }
    };
    check_passphrase(&text, Typing::Twice)?;
    Ok(text)
}

/// The keys of the old systems: one that was given is tried for both, the environment has one for each.
pub(crate) fn old_keys(file: Option<&Path>, command: Option<&str>) -> Result<Keys> {
    let find = |variable: &str| {
        let wanted = Wanted {
            what: "old key",
            variable,
            older: None,
            file: [file, None],
            command: [command, None],
            flag: "key",
        };
        let found = wanted.look()?;
        Ok::<_, anyhow::Error>(found.map(|text| OldKey::new(&text)))
    };
    let user = find("USER_KEY")?;
    let master = match file.is_some() || command.is_some() {
        true => user.clone(),
        false => find("ENCRYPTION_KEY")?,
    };
    Ok(Keys { user, master })
}

/// What opens a drive: a passphrase, or a recovery key if it looks like one.
pub(crate) fn secret(text: &str) -> Result<Secret> {
    Ok(Secret::typed(text)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_secret_that_others_may_read_is_refused() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "hush\n").expect("writable");
        let mode = |mode| {
            std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode))
                .expect("allowed");
        };
        mode(0o600);
        assert_eq!(*read_file("token", file.path()).expect("good"), "hush");
        mode(0o640);
        let error = read_file("token", file.path()).expect_err("refused");
        assert!(error.to_string().contains("640") && !error.to_string().contains("hush"));
    }

    #[test]
    fn a_command_gives_one_line_and_gets_no_secret() {
        assert_eq!(*run("token", "echo hush").expect("good"), "hush");
        assert!(run("token", "exit 3").is_err());
    }

    #[test]
    fn a_new_passphrase_does_not_look_like_a_recovery_key() {
        for text in ["ods-recovery", " ODS-Recovery is my favourite phrase"] {
            assert!(check_passphrase(text, Typing::Twice).is_err(), "{text}");
            assert!(check_passphrase(text, Typing::Once).is_ok(), "{text}");
        }
        assert!(check_passphrase("ods-recover", Typing::Twice).is_ok());
        assert!(check_passphrase("", Typing::Once).is_err());
    }
}
