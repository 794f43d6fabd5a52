//! What a fuzzer does with what people, files and other processes say: configuration, mount options, sizes,
//! lines on the control socket, the kernel's table of mounts.

use std::path::Path;

use crate::cli::config;
use crate::cli::config::Config;
use crate::cli::options::Options;
use crate::cli::protocol::Answer;
use crate::cli::protocol::Request;
use crate::cli::registry::Running;
use crate::cli::remote::Places;
use crate::drive::status::Status;
#[cfg(not(target_os = "macos"))]
use crate::fuse::table;
use crate::size;

/// Any text as a configuration file: what is read is written and read again as it was, and an error tells
/// where it is but not what stands there.
pub fn config(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match Config::parse(&text, Path::new("config.toml")) {
        Ok(read) => {
            let written = toml::to_string(&read).expect("it was read");
            let again = Config::parse(&written, Path::new("config.toml")).expect("our own");
            assert_eq!(again.drive, read.drive);
            drop(read.drive(None));
            for (name, drive) in &read.drive {
                assert_eq!(
                    read.drive(Some(name)).ok().map(|found| found.1),
                    Some(drive.clone())
                );
                assert!(config::without_table(&text, name).len() <= text.len() + 1);
            }
        }
        Err(error) => assert!(error.to_string().starts_with("config.toml")),
    }
}

/// Any text after `-o`.
pub fn options(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut options = Options::default();
    if options.add(&text).is_ok() {
        let mut twice = options.clone();
        assert!(
            twice.add(&text).is_ok_and(|()| twice == options),
            "the same words again change nothing"
        );
        let settings = options.settings("/state".into());
        assert!(settings.spool_bytes_max >= 16 << 20);
        let _ = options.presentation();
    }
    if let Ok(bytes) = size::parse(&text) {
        let shown = size::Bytes(bytes).to_string();
        // One decimal is shown, so it comes back near.
        let near = size::parse(&shown).map(|back| back.abs_diff(bytes));
        // Beyond a terabyte it is shown in units that nobody types.
        assert!(near.is_ok_and(|far| far <= bytes / 16 + 1) || bytes >= 1 << 50);
    }
}

/// Any line on the control socket, from either side, and the small files that are JSON.
pub fn lines(data: &[u8]) {
    if let Ok(request) = serde_json::from_slice::<Request>(data) {
        let again = serde_json::to_vec(&request).map(|bytes| serde_json::from_slice(&bytes).ok());
        assert_eq!(again.ok().flatten(), Some(request));
    }
    if let Ok(answer) = serde_json::from_slice::<Answer>(data) {
        assert!(serde_json::to_vec(&answer).is_ok());
    }
    drop(serde_json::from_slice::<Status>(data));
    drop(serde_json::from_slice::<Running>(data));
    drop(serde_json::from_slice::<Places>(data));
    #[cfg(not(target_os = "macos"))]
    for line in data.split(|byte| *byte == b'\n') {
        drop(table::parse(line));
    }
}
