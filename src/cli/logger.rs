//! Log lines on standard error, which for a daemon is its log file.

use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::sync::OnceLock;

use log::LevelFilter;
use log::Log;
use log::Metadata;
use log::Record;
use time::OffsetDateTime;
use time::macros::format_description;

use crate::cli::daemon;
use crate::cli::progress;
use crate::clock::Clock;
use crate::fuse;

struct Logger;

/// A daemon's log file.
static LOG_FILE: OnceLock<PathBuf> = OnceLock::new();

/// Standard error is this file; it is begun anew whenever it is long.
pub(crate) fn keep_short(path: &Path) {
    LOG_FILE.get_or_init(|| path.to_owned());
}

/// Starts logging: `ODS_LOG` (error, warn, info, debug, trace) or so many `-v` say how much.
pub(crate) fn start(verbose: u8) {
    let asked = std::env::var("ODS_LOG")
        .ok()
        .and_then(|level| level.parse().ok());
    let level = asked.unwrap_or(match verbose {
        0 => LevelFilter::Warn,
        1 => LevelFilter::Info,
        2 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    });
    if log::set_logger(&Logger).is_ok() {
        log::set_max_level(level);
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Other crates speak of their insides, at length and sometimes of headers.
        let is_ours = metadata.target().starts_with("ods");
        let level = match metadata.target() {
            fuse::UNHEARD => log::Level::Debug,
            _ => metadata.level(),
        };
        level <= log::max_level() && (is_ours || metadata.level() <= log::Level::Warn)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let form = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
        let now = OffsetDateTime::from_unix_timestamp(Clock::System.now().seconds());
        let now = now.unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let now = now.format(form).unwrap_or_default();
        let level = record.level().as_str().to_ascii_lowercase();
        progress::above(|| {
            // A log that cannot be written, or not begun anew, must not end the mount.
            if let Some(path) = LOG_FILE.get() {
                drop(daemon::renew_log(path));
            }
            drop(writeln!(
                std::io::stderr().lock(),
                "{now} {level:5} {}",
                record.args()
            ));
        });
    }

    fn flush(&self) {}
}
