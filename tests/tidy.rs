//! The house rules that a machine can check: layers, crates that stay in their room, sizes, words.
//!
//! Sources are read as text, without a parser. That is safe because `rustfmt` runs first and puts
//! every item's closing brace in the column of its first word.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

/// The ladder, bottom rung first. A room may use the rungs below its own, and nothing else.
const LADDER: &[&[&str]] = &[
    &["id", "size", "clock", "durable", "emulator"],
    &["codec", "legacy"],
    &["store", "index", "spool", "cache"],
    &["drive"],
    &["fs"],
    &["import"],
    &["service"],
    &["fuse", "web", "bot"],
    &["cli"],
    &["fuzzing"],
];

/// Crates that belong to certain rooms, so that replacing one touches one room.
const KEPT: &[(&str, &[&str])] = &[
    ("fuser", &["fuse"]),
    ("redb", &["index"]),
    ("axum", &["web", "emulator"]),
    ("clap", &["cli", "bin"]),
    ("clap_complete", &["cli"]),
    ("clap_mangen", &["cli"]),
    ("toml_edit", &["cli"]),
    ("indicatif", &["cli"]),
    ("twilight_http", &["store"]),
    ("twilight_model", &["store", "bot"]),
    ("twilight_gateway", &["bot"]),
    ("reqwest", &["store"]),
    ("lz4_flex", &["codec"]),
    ("chacha20poly1305", &["codec"]),
    ("scrypt", &["codec"]),
    ("hkdf", &["codec"]),
    ("fastcdc", &["codec"]),
    ("aes", &["legacy"]),
    ("aes_gcm", &["legacy"]),
    ("cbc", &["legacy"]),
    ("ctr", &["legacy"]),
    ("ghash", &["legacy"]),
    ("hmac", &["legacy"]),
    ("pbkdf2", &["legacy"]),
    ("tar", &["legacy"]),
    ("flate2", &["legacy", "import"]),
    ("anyhow", &["cli", "bin"]),
];

/// Words that must not be in the program itself, and the one room that may use each.
const BANNED: &[(&str, &str)] = &[
    (".unwrap()", ""),
    ("dbg!(", ""),
    ("todo!(", ""),
    ("unimplemented!(", ""),
    ("TODO", ""),
    ("FIXME", ""),
    ("XXX", ""),
    ("println!(", "cli"),
    ("SystemTime::now", "clock"),
];

/// The emulator shares no code with the client, so it has a clock of its own.
const EXCUSED: &[(&str, &str)] = &[("emulator", "SystemTime::now")];

/// The audited places that may hold `unsafe`, each a few calls of libc.
const UNSAFE: &[&str] = &[
    "src/spool/sys.rs",
    "src/fuse/system.rs",
    "src/cli/sys.rs",
    "src/cli/apart.rs",
];

const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;

#[test]
fn tidy() {
    let mut faults = Vec::new();
    let sources = sources(Path::new("src"));
    assert!(sources.len() > 50, "the sources are in src/");
    for path in sources {
        let text = fs::read_to_string(&path).expect("source is UTF-8");
        check(&path, without_tests(&text), &mut faults);
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn the_rules_find_what_they_forbid() {
    let bad = "use crate::drive::Drive;\npub fn f(on: bool) {\n    x.unwrap();\n}\n";
    let mut faults = Vec::new();
    check(Path::new("src/codec/bad.rs"), bad, &mut faults);
    let found = |word: &str| faults.iter().any(|fault| fault.contains(word));
    assert!(
        found("without saying what it is") && found("must not use `drive`"),
        "{faults:?}"
    );
    assert!(
        found("boolean parameter") && found("`.unwrap()` is not for main"),
        "{faults:?}"
    );
}

fn check(path: &Path, text: &str, faults: &mut Vec<String>) {
    let mut fault =
        |line: usize, what: String| faults.push(format!("{}:{line}: {what}", path.display()));
    if !text.starts_with("//! ") {
        fault(1, "starts without saying what it is (`//! …`)".into());
    }
    if text.lines().count() > FILE_LINES_MAX {
        fault(
            1,
            format!("longer than {FILE_LINES_MAX} lines before its tests"),
        );
    }
    for (line, length) in functions(text).filter(|(_, length)| *length > FUNCTION_LINES_MAX) {
        fault(line, format!("function of {length} lines"));
    }
    for (number, line) in (1..).zip(text.lines()) {
        layers(path, line)
            .into_iter()
            .chain(words(path, line))
            .for_each(|what| fault(number, what));
    }
}

/// What a line does that its room may not.
fn layers(path: &Path, line: &str) -> Vec<String> {
    let (room, code) = (room(path), code(line));
    let mut found = Vec::new();
    for used in words_after(code, "crate::").filter(|used| rung(used).is_some() && *used != room) {
        if rung(used) >= rung(room) && room != "lib" && room != "bin" {
            found.push(format!("`{room}` must not use `{used}`"));
        }
        if room == "emulator" {
            found.push(format!(
                "the emulator imports nothing of ods, not even `{used}`"
            ));
        }
    }
    let at_root = path.ends_with("mod.rs") || path.components().count() == 2;
    if code.contains("crate::{")
        || code.contains("super::super::")
        || (at_root && code.contains("super::") && !code.contains("pub(super)"))
    {
        found.push("name each room on its own line, from `crate::`".into());
    }
    for (kept, rooms) in KEPT {
        let used = words_before(code, "::").any(|word| word == *kept);
        if used && !rooms.contains(&room) {
            found.push(format!("`{kept}` belongs to {rooms:?}"));
        }
    }
    found
}

fn words(path: &Path, line: &str) -> Vec<String> {
    let (room, code) = (room(path), code(line));
    let mut found = Vec::new();
    for (banned, only) in BANNED {
        let excused = room == *only || EXCUSED.contains(&(room, banned));
        if line.contains(banned) && !excused {
            found.push(format!("`{banned}` is not for main"));
        }
    }
    let has_unsafe = code
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .any(|word| word == "unsafe");
    if has_unsafe && !UNSAFE.iter().any(|allowed| path.ends_with(allowed)) {
        found.push("`unsafe` has its own few files".into());
    }
    if code.contains("pub fn ") && code.contains(": bool") {
        found.push("boolean parameter: use an enum, or two functions".into());
    }
    found
}

fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or(line)
}

/// First line and length of each function that has a body.
fn functions(text: &str) -> impl Iterator<Item = (usize, usize)> + '_ {
    let lines: Vec<&str> = text.lines().collect();
    (0..lines.len()).filter_map(move |start| {
        let words = lines[start].trim_start();
        let indent = lines[start].len() - words.len();
        let is_head = words.split(' ').take(4).any(|word| word == "fn") && !words.starts_with("//");
        if !is_head {
            return None;
        }
        let opening = lines[start..]
            .iter()
            .position(|line| line.ends_with(['{', ';', '}']))?;
        if !lines[start + opening].ends_with('{') {
            return None;
        }
        let closing = format!("{:indent$}}}", "");
        let length = lines[start..].iter().position(|line| **line == closing)?;
        Some((start + 1, length + 1))
    })
}

fn words_after<'a>(code: &'a str, mark: &'a str) -> impl Iterator<Item = &'a str> {
    code.split(mark).skip(1).map(|rest| {
        rest.split(|c: char| !c.is_alphanumeric() && c != '_')
            .next()
            .unwrap_or("")
    })
}

fn words_before<'a>(code: &'a str, mark: &'a str) -> impl Iterator<Item = &'a str> {
    let pieces: Vec<&str> = code.split(mark).collect();
    let count = pieces.len().saturating_sub(1);
    pieces.into_iter().take(count).map(|piece| {
        piece
            .rsplit(|c: char| !c.is_alphanumeric() && c != '_')
            .next()
            .unwrap_or("")
    })
}

fn rung(room: &str) -> Option<usize> {
    LADDER.iter().position(|rung| rung.contains(&room))
}

fn room(path: &Path) -> &str {
    let first = path
        .strip_prefix("src")
        .ok()
        .and_then(|path| path.iter().next())
        .and_then(|path| path.to_str());
    first.unwrap_or("").trim_end_matches(".rs")
}

fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod ").next().unwrap_or(text)
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("src is readable") {
        let path = entry.expect("src is readable").path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or("")
            .to_owned();
        if path.is_dir() {
            found.extend(self::sources(&path));
        } else if name.ends_with(".rs") && name != "tests.rs" && !name.ends_with("_tests.rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}
