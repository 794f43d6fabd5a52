//! Colours, where somebody looks: on a terminal that has them, and not when `NO_COLOR` is set.

use std::io::IsTerminal;

/// A colour with a meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paint {
    /// As it should be.
    Good,
    /// Under way.
    Busy,
    /// To be looked at.
    Odd,
    /// Wrong.
    Bad,
    /// Of less interest.
    Faint,
}

impl Paint {
    fn number(self) -> u8 {
        match self {
            Paint::Good => 32,
            Paint::Busy => 34,
            Paint::Odd => 33,
            Paint::Bad => 31,
            Paint::Faint => 2,
        }
    }
}

fn is_wanted() -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    std::io::stdout().is_terminal() && !is_set("NO_COLOR") && !is_dumb
}

/// The text in this colour, on standard output.
pub(crate) fn paint(paint: Paint, text: &str) -> String {
    match is_wanted() {
        true => format!("\x1b[{}m{text}\x1b[0m", paint.number()),
        false => text.to_owned(),
    }
}
