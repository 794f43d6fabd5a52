//! One line that says how far something is: redrawn on a terminal, now and then repeated elsewhere.

use std::io::ErrorKind;
use std::io::IsTerminal;
use std::io::Write;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use anyhow::Result;

use crate::cli::exit::Code;
use crate::cli::exit::OrFault;

/// How often a line is repeated where it cannot be redrawn.
const REPEAT: Duration = Duration::from_secs(5);

static QUIET: AtomicBool = AtomicBool::new(false);
static LINE: Mutex<Line> = Mutex::new(Line {
    shown: String::new(),
    said: None,
});

struct Line {
    /// What stands on the terminal's last line.
    shown: String,
    /// When a line was last said where there is no terminal.
    said: Option<Instant>,
}

/// Nothing but errors and answers from now on.
pub(crate) fn be_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

fn line() -> std::sync::MutexGuard<'static, Line> {
    LINE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Shows how far it is.
pub(crate) fn show(text: &str) {
    if is_quiet() {
        return;
    }
    let mut line = line();
    if std::io::stderr().is_terminal() {
        if line.shown != text {
            let fitting: String = text.chars().take(width()).collect();
            drop(write!(std::io::stderr().lock(), "\r\x1b[K{fitting}"));
            text.clone_into(&mut line.shown);
        }
    } else if line.said.is_none_or(|said| said.elapsed() >= REPEAT) && line.shown != text {
        drop(writeln!(std::io::stderr().lock(), "{text}"));
        line.said = Some(Instant::now());
        text.clone_into(&mut line.shown);
    }
}

/// Takes the line away.
pub(crate) fn clear() {
    let mut line = line();
    if std::io::stderr().is_terminal() && !line.shown.is_empty() {
        drop(write!(std::io::stderr().lock(), "\r\x1b[K"));
    }
    line.shown.clear();
    line.said = None;
}

/// Lets something else be written, with the line below it again.
pub(crate) fn above(write_it: impl FnOnce()) {
    let line = line();
    let is_drawn = std::io::stderr().is_terminal() && !line.shown.is_empty();
    if is_drawn {
        drop(write!(std::io::stderr().lock(), "\r\x1b[K"));
    }
    write_it();
    if is_drawn {
        let fitting: String = line.shown.chars().take(width()).collect();
        drop(write!(std::io::stderr().lock(), "{fitting}"));
    }
}

/// Says something to whoever watches.
pub(crate) fn note(text: &str) {
    if !is_quiet() {
        clear();
        drop(writeln!(std::io::stderr().lock(), "{text}"));
    }
}

/// Asks something; the answer comes on the same line.
pub(crate) fn prompt(question: &str) {
    clear();
    let mut terminal = std::io::stderr().lock();
    drop(write!(terminal, "{question}").and_then(|()| terminal.flush()));
}

/// Says what went wrong, quiet or not.
pub(crate) fn complain(program: &str, text: &str) {
    clear();
    drop(writeln!(std::io::stderr().lock(), "{program}: {text}"));
}

/// Gives an answer on standard output; a reader that went away does not matter.
pub(crate) fn answer(text: &str) -> Result<()> {
    match write_answer(text) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.or_fault(Code::Disk, no_answer),
    }
}

/// Gives an answer that cannot be had again: whatever keeps it from being read is an error.
pub(crate) fn answer_once(text: &str) -> Result<()> {
    write_answer(text).or_fault(Code::Disk, no_answer)
}

fn write_answer(text: &str) -> std::io::Result<()> {
    clear();
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", text.trim_end_matches('\n'))?;
    out.flush()
}

fn no_answer() -> String {
    String::from("cannot write the answer to standard output")
}

/// Columns of the terminal; what most have, when it does not say.
fn width() -> usize {
    let columns = crate::cli::sys::terminal_columns().unwrap_or(80);
    usize::from(columns).saturating_sub(1).max(20)
}
