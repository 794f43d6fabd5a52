//! The front door: commands, settings, exit codes.
//!
//! ```text
//! args ─ config ─ secret ─ options          what was asked for
//! init  join  passphrase  invite            a drive's beginning, and its keys      ─ remote
//! mount ─ daemon ─ mounting                 a mount from beginning to end          ─ server ┐ control
//! ask ─ target ─ registry                   status, flush, umount                  ─ client ┘ socket
//! verify  repair  gc ─ work ─ meter         jobs, in the daemon or without one
//! upload  download  resume ─ transfers      copies, which are written down while they go on
//! list  search  about  history  stats  channels  describe  delete  backup ─ table
//! sync  restore  configure  logbook  doctor  completions      what needs no open drive
//! bot                                       the bot of a drive that is not mounted
//! helper  demo  emulate                     mount(8) and umount(8); without an account
//! render  progress  paint  ask_person  logger  exit       what people see
//! sys  mounts  paths                        what the system gives
//! ```

mod about;
mod apart;
mod args;
mod ask;
mod ask_person;
mod backup;
mod bot;
mod channels;
mod client;
mod completions;
mod config;
mod configure;
mod daemon;
mod delete;
mod demo;
mod describe;
mod doctor;
mod download;
mod emulate;
mod ending;
mod exit;
#[cfg(any(fuzzing, debug_assertions))]
#[doc(hidden)]
pub mod fuzzing;
mod gc;
mod helper;
mod history;
mod import;
mod init;
mod invite;
mod join;
mod kernel;
mod leaving;
mod list;
mod logbook;
mod logger;
mod mapped;
mod meter;
mod mount;
mod mounted;
mod mounting;
mod mounts;
mod opening;
mod options;
mod paint;
mod passphrase;
mod paths;
mod permissions;
mod progress;
mod protocol;
mod registry;
mod remote;
mod render;
mod repair;
mod restore;
mod resume;
mod search;
mod secret;
mod server;
mod stats;
mod succession;
mod sync;
mod sys;
mod table;
mod target;
mod transfers;
mod upload;
mod verify;
mod work;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Context;
use anyhow::Result;
use clap::Parser;

use crate::cli::args::Command;
use crate::cli::daemon::Listener;
use crate::cli::exit::code_of;
use crate::cli::helper::Role;

/// The program `ods`.
#[must_use]
pub fn ods() -> ExitCode {
    let args = args::Ods::parse();
    let listener = match &args.command {
        Command::Demo(demo) if demo.supervised => Listener::Parent,
        _ => Listener::Terminal,
    };
    start(talkative(args.verbose, listener), args.quiet);
    end("ods", listener, run(&args))
}

fn run(args: &args::Ods) -> Result<()> {
    let config = args.config.as_deref();
    match &args.command {
        Command::Init(args) => block_on(init::run(args, config)),
        Command::Umount(args) => ask::umount(args, config),
        Command::Flush(args) => ask::flush(args, config),
        Command::Status(args) => ask::status(args, config),
        Command::Verify(args) => verify::run(args, config),
        Command::Repair(args) => repair::run(args, config),
        Command::Gc(args) => gc::run(args, config),
        Command::Upload(args) => upload::run(args, config),
        Command::Download(args) => download::run(args, config),
        Command::Resume(args) => resume::run(args, config),
        Command::List(args) => list::run(args, config),
        Command::Search(args) => search::run(args, config),
        Command::Info(args) => about::run(args, config),
        Command::History(args) => history::run(args, config),
        Command::Stats(args) => stats::run(args, config),
        Command::Channels(args) => channels::run(args, config),
        Command::Describe(args) => describe::run(args, config),
        Command::Delete(args) => delete::run(args, config),
        Command::Backup(args) => backup::run(args, config),
        Command::Restore(args) => restore::run(args, config),
        Command::Sync(args) => sync::run(args, config),
        Command::Config(args) => configure::run(args, config),
        Command::Log(args) => logbook::run(args, config),
        Command::Doctor(args) => block_on(doctor::run(args, config)),
        Command::Completions(args) => completions::completions(args),
        Command::Man(args) => completions::man(args),
        Command::Import(args) => import::run(args, config),
        Command::Passphrase(args) => block_on(passphrase::run(args, config)),
        Command::Invite(args) => block_on(invite::run(args, config)),
        Command::Bot(args) => bot::run(args, config),
        Command::Demo(args) => demo::run(args, config),
        Command::Emulator(args) => block_on(emulate::run(args)),
    }
}

/// The program `ods-mount`, also under the names of the helpers of mount(8) and umount(8).
#[must_use]
pub fn ods_mount() -> ExitCode {
    let mut words: Vec<OsString> = std::env::args_os().collect();
    let role = Role::of(words.first());
    if role == Role::Umount {
        start(0, false);
        let result = helper::umount(words.into_iter().skip(1));
        return end("umount.fuse.ods", Listener::Terminal, result);
    }
    if role == Role::Mount {
        match helper::mount_args(words.into_iter().skip(1)) {
            Ok(Some(asked)) => words = asked,
            Ok(None) => return ExitCode::SUCCESS,
            Err(error) => return end("mount.fuse.ods", Listener::Terminal, Err(error)),
        }
    }
    let args = args::Mount::parse_from(&words);
    let listener = match args.supervised {
        true => Listener::Parent,
        false => Listener::Terminal,
    };
    start(talkative(args.verbose, listener), args.quiet);
    words.remove(0);
    let result = match listener {
        Listener::Parent => mount::run_supervised(&args),
        Listener::Terminal => mount::run(&args, words),
    };
    end("ods-mount", listener, result)
}

/// How much is logged: a daemon has nobody to tell but its log.
fn talkative(verbose: u8, listener: Listener) -> u8 {
    match listener {
        Listener::Terminal => verbose,
        Listener::Parent => verbose.max(1),
    }
}

fn start(verbose: u8, quiet: bool) {
    sys::private_files();
    sys::no_core_dumps();
    logger::start(verbose);
    if quiet {
        progress::be_quiet();
    }
}

fn end(program: &str, listener: Listener, result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => {
            progress::clear();
            ExitCode::SUCCESS
        }
        Err(error) => {
            listener.failed(program, &error);
            ExitCode::from(code_of(&error).number())
        }
    }
}

/// Runs something that needs the network.
fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("no threads to work with")?;
    let result = runtime.block_on(work);
    runtime.shutdown_timeout(mount::END_MAX);
    result
}
