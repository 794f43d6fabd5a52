//! Exit codes: one per kind of trouble that a script may want to tell apart, and the tables that
//! lead from every error to its code.

use serde::Deserialize;
use serde::Serialize;

use crate::bot;
use crate::codec;
use crate::drive;
use crate::emulator;
use crate::fs;
use crate::fuse;
use crate::import;
use crate::legacy;
use crate::service;
use crate::store;

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident = $number:literal, $text:literal;)*) => {
        /// What a command ends with.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub(crate) enum Code { $(#[doc = $text] $name = $number,)* }

        impl Code {
            const ALL: &[(Code, &str)] = &[$((Code::$name, $text),)*];
        }
    };
}

codes! {
    Done = 0, "done";
    Other = 1, "something else went wrong; the message says what";
    Usage = 2, "the command line is wrong";
    Config = 3, "the configuration is missing, damaged or lacks something";
    Secrets = 4, "no token or passphrase was given, or its file may be read by others";
    NoDrive = 5, "there is no drive where one was expected";
    Exists = 6, "there is a drive already (`ods init --join` joins it)";
    Passphrase = 10, "the passphrase or recovery key is wrong";
    Token = 11, "Discord does not accept the bot's token";
    Permission = 12, "the bot lacks a permission, which the message names";
    Gone = 13, "a server, channel, thread or message is gone";
    Unreachable = 14, "Discord cannot be reached";
    Newer = 15, "the drive was written by a newer ods";
    Forked = 16, "the drive went on elsewhere while changes waited here";
    Leased = 17, "the drive is in use on another machine";
    State = 18, "the state directory is in use, of another drive, or a copy in which changes wait";
    Damaged = 19, "data is damaged";
    Disk = 20, "the local disk failed or is full";
    Fuse = 21, "FUSE is missing or not allowed";
    Mountpoint = 22, "the mount point is missing, busy, not empty or not a directory";
    NotMounted = 23, "the drive is not mounted";
    TimedOut = 24, "not done in the time given; it goes on";
    Kept = 25, "stopped early: the spool keeps what is not on Discord yet";
    Interrupted = 26, "interrupted: what was done is kept, and the same command goes on";
    NotFound = 27, "there is no such path or archive in the drive";
    Conflict = 28, "something would be replaced or deleted, and nobody agreed (`--yes` does)";
    Partly = 29, "some files could not be copied or synced, which the message names; the others were";
}

impl Code {
    /// As the system sees it.
    pub(crate) fn number(self) -> u8 {
        self as u8
    }

    /// How bad an end is where several things were done: some files of one, a question, anything else.
    pub(crate) fn weight(self) -> u8 {
        match self {
            Code::Done => 0,
            Code::Partly => 1,
            Code::Conflict => 2,
            Code::Interrupted => 4,
            _ => 3,
        }
    }

    /// The table that `--help` shows.
    pub(crate) fn table() -> String {
        let lines = Code::ALL.iter();
        let lines: Vec<String> = lines
            .map(|(code, text)| format!("  {:>2}  {text}", code.number()))
            .collect();
        format!("Exit codes:\n{}", lines.join("\n"))
    }
}

/// Something that went wrong in this room, with its code.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Fault {
    pub(crate) code: Code,
    text: String,
}

/// An error with a code and words.
pub(crate) fn fault(code: Code, text: impl Into<String>) -> anyhow::Error {
    let text = text.into();
    Fault { code, text }.into()
}

/// Gives errors of the system a code and a beginning.
pub(crate) trait OrFault<T> {
    /// The same, or an error with this code that begins with this text.
    fn or_fault(self, code: Code, text: impl FnOnce() -> String) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> OrFault<T> for Result<T, E> {
    fn or_fault(self, code: Code, text: impl FnOnce() -> String) -> anyhow::Result<T> {
        self.map_err(|error| fault(code, format!("{}: {}", text(), told(&error.into()))))
    }
}

/// The code of an error: that of the first cause, from the outside in, which has one.
pub(crate) fn code_of(error: &anyhow::Error) -> Code {
    let codes = error.chain().filter_map(|cause| {
        let fault = cause.downcast_ref::<Fault>().map(|fault| fault.code);
        let drive = || cause.downcast_ref::<drive::Error>().map(of_drive);
        let store = || cause.downcast_ref::<store::Error>().map(of_store);
        let codec = || cause.downcast_ref::<codec::Error>().map(of_codec);
        let service = || cause.downcast_ref::<service::Error>().and_then(of_service);
        let fuse = || cause.downcast_ref::<fuse::Error>().map(of_fuse);
        let bot = || cause.downcast_ref::<bot::Error>().and_then(of_bot);
        let emulator = || cause.downcast_ref::<emulator::Error>().map(of_emulator);
        fault
            .or_else(drive)
            .or_else(store)
            .or_else(codec)
            .or_else(service)
            .or_else(fuse)
            .or_else(bot)
            .or_else(emulator)
    });
    codes.into_iter().next().unwrap_or(Code::Other)
}

fn of_drive(error: &drive::Error) -> Code {
    match error {
        drive::Error::NoSpace | drive::Error::Disk(_) => Code::Disk,
        drive::Error::ReadOnly(_) | drive::Error::TooManyChanges => Code::Other,
        drive::Error::Closing => Code::Kept,
        drive::Error::Interrupted => Code::Interrupted,
        drive::Error::NotFound(_) => Code::NotFound,
        drive::Error::Damaged(_) | drive::Error::Malformed => Code::Damaged,
        drive::Error::Timeout(_) | drive::Error::Busy => Code::TimedOut,
        drive::Error::Store(error) => of_store(error),
        drive::Error::Leased { .. } | drive::Error::TakenOver(_) => Code::Leased,
        drive::Error::Forked(_) => Code::Forked,
        drive::Error::State(_) => Code::State,
        drive::Error::Newer(_) => Code::Newer,
    }
}

/// None when a cause of it says more.
fn of_service(error: &service::Error) -> Option<Code> {
    match error {
        service::Error::Usage(_) => Some(Code::Usage),
        service::Error::NotFound(_) => Some(Code::NotFound),
        service::Error::Conflict(_) => Some(Code::Conflict),
        service::Error::Host { .. } => Some(Code::Disk),
        service::Error::Drive(error) => Some(of_drive(error)),
        service::Error::File { source, .. } => Some(of_fs(source)),
        service::Error::Import(error) => Some(of_import(error)),
        service::Error::Answer(_) => None,
    }
}

fn of_import(error: &import::Error) -> Code {
    match error {
        import::Error::NotFound(_) => Code::NotFound,
        import::Error::Usage(_) => Code::Usage,
        import::Error::NoKey(_) | import::Error::Key(legacy::Error::NoKey(_)) => Code::Secrets,
        import::Error::Key(_) => Code::Passphrase,
        import::Error::Archive { .. } => Code::Damaged,
        import::Error::Host { .. } => Code::Disk,
        import::Error::Drive(error) => of_drive(error),
        import::Error::File { source, .. } => of_fs(source),
    }
}

fn of_bot(error: &bot::Error) -> Option<Code> {
    match error {
        bot::Error::Refused(_) => Some(Code::Token),
        bot::Error::Store(error) => Some(of_store(error)),
    }
}

fn of_fs(error: &fs::Error) -> Code {
    match error {
        fs::Error::NotFound | fs::Error::Stale | fs::Error::NoAttribute => Code::NotFound,
        fs::Error::Exists | fs::Error::NotEmpty => Code::Conflict,
        fs::Error::Drive(error) => of_drive(error),
        fs::Error::NotADirectory
        | fs::Error::IsADirectory
        | fs::Error::NameTooLong
        | fs::Error::Invalid
        | fs::Error::NotPermitted
        | fs::Error::TooManyLinks
        | fs::Error::FileTooLarge
        | fs::Error::AttributesFull
        | fs::Error::AttributeTooLong
        | fs::Error::OutOfRange
        | fs::Error::NoSuchOffset
        | fs::Error::BadHandle
        | fs::Error::Unsupported
        | fs::Error::ReadOnly => Code::Other,
    }
}

fn of_store(error: &store::Error) -> Code {
    match error {
        store::Error::Missing { .. } | store::Error::Homeless { .. } => Code::Gone,
        store::Error::NotAccepted { .. } => Code::Token,
        store::Error::Refused { .. } => Code::Permission,
        store::Error::TooLarge { .. } | store::Error::Broken { .. } => Code::Other,
        store::Error::Unavailable { .. } => Code::Unreachable,
    }
}

fn of_codec(error: &codec::Error) -> Code {
    match error {
        codec::Error::WrongKey => Code::Passphrase,
        codec::Error::Mistyped { .. } => Code::Secrets,
        codec::Error::NewerVersion { .. } => Code::Newer,
        codec::Error::Damaged { .. }
        | codec::Error::Bounds { .. }
        | codec::Error::TooShort { .. } => Code::Damaged,
    }
}

fn of_fuse(error: &fuse::Error) -> Code {
    match error {
        fuse::Error::Mountpoint(..)
        | fuse::Error::NotADirectory(_)
        | fuse::Error::NotEmpty(_)
        | fuse::Error::Mounted(_)
        | fuse::Error::Dead(_)
        | fuse::Error::Unmount(..) => Code::Mountpoint,
        fuse::Error::NoFuse
        | fuse::Error::FuseRefused
        | fuse::Error::NoHelper
        | fuse::Error::AllowOther
        | fuse::Error::System(..) => Code::Fuse,
    }
}

fn of_emulator(error: &emulator::Error) -> Code {
    match error {
        emulator::Error::InUse => Code::State,
        emulator::Error::Data(_) => Code::Disk,
        emulator::Error::Listen(..)
        | emulator::Error::Random(_)
        | emulator::Error::NotPossible(_) => Code::Other,
    }
}

/// An error and its causes in one line, each said once.
pub(crate) fn told(error: &anyhow::Error) -> String {
    let mut said: Vec<String> = Vec::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if !said.iter().any(|before| before.contains(&text)) {
            said.push(text);
        }
    }
    said.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn each_code_is_in_the_table_once() {
        let table = Code::table();
        assert!(table.contains("10  the passphrase"), "{table}");
        let mut numbers: Vec<u8> = Code::ALL.iter().map(|(code, _)| code.number()).collect();
        numbers.dedup();
        assert_eq!(numbers.len(), Code::ALL.len());
    }

    #[test]
    fn an_error_keeps_its_code_under_context_and_says_nothing_twice() {
        let error = anyhow::Error::from(drive::Error::from(store::Error::Missing {
            what: String::from("channel 7"),
        }));
        let error = Err::<(), _>(error).context("cannot mount").expect_err("it");
        assert_eq!(code_of(&error), Code::Gone);
        assert_eq!(told(&error), "cannot mount: channel 7 is gone");
    }
}
