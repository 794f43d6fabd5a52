//! Questions to whoever sits at the terminal.

use std::io::BufRead;
use std::io::IsTerminal;

use anyhow::Result;

use crate::cli::exit::Code;
use crate::cli::exit::fault;
use crate::cli::exit::told;
use crate::cli::progress;

/// Asks whether what an error says is at stake may happen; without a terminal, or when the answer is no, the
/// error stays.
pub(crate) fn agree(stake: anyhow::Error) -> Result<()> {
    let what = told(&stake);
    if !std::io::stdin().is_terminal() {
        return Err(fault(
            Code::Conflict,
            format!("{what}; --yes agrees to that"),
        ));
    }
    progress::prompt(&format!("{what}. Go on? [y/N] "));
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    match line.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(fault(Code::Conflict, "not done, as you said")),
    }
}
