//! `ods completions` and `ods man`: what shells and man(1) want to know of the commands.

use std::path::Path;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::args;
use crate::cli::exit::Code;
use crate::cli::exit::OrFault;
use crate::cli::progress;

/// Print what a shell needs to complete the commands of ods and ods-mount
///
/// For bash: `ods completions bash > ~/.local/share/bash-completion/completions/ods`
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// bash, zsh, fish, elvish or powershell
    pub(crate) shell: Shell,
}

/// Write the manual pages into a directory, or print the page of ods
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Directory for all pages, such as /usr/local/share/man/man1; made if it is not there
    #[arg(value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

/// Runs `ods completions`.
pub(crate) fn completions(args: &Completions) -> Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut args::Ods::command(), "ods", &mut text);
    clap_complete::generate(
        args.shell,
        &mut args::Mount::command(),
        "ods-mount",
        &mut text,
    );
    progress::answer(&String::from_utf8_lossy(&text))?;
    Ok(())
}

/// Runs `ods man`.
pub(crate) fn man(args: &Man) -> Result<()> {
    let Some(dir) = &args.dir else {
        let mut page = Vec::new();
        clap_mangen::Man::new(args::Ods::command()).render(&mut page)?;
        progress::answer(&String::from_utf8_lossy(&page))?;
        return Ok(());
    };
    let cannot = || format!("cannot write {}", dir.display());
    std::fs::create_dir_all(dir).or_fault(Code::Disk, cannot)?;
    for command in [args::Ods::command(), args::Mount::command()] {
        write(command, dir).or_fault(Code::Disk, cannot)?;
    }
    progress::note(&format!("the pages are in {}", dir.display()));
    Ok(())
}

fn write(command: clap::Command, dir: &Path) -> std::io::Result<()> {
    clap_mangen::generate_to(command, dir)
}
