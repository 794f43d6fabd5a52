//! The session that the README shows, typed again: every command says what it says there, numbers aside.
//!
//! `ODS_RECORD=1 cargo test --test session` writes down what they say now.

#[path = "support/ods.rs"]
mod support;

use std::fs;
use std::path::Path;

use support::Machine;
use support::World;
use support::noise;

const BEGIN: &str = "<!-- session: begin -->\n```console\n";
const END: &str = "```\n<!-- session: end -->";

/// Where the session was, as the README tells it.
const HOME: &str = "/home/me";

/// The commands of a session, each with what it printed.
fn commands(session: &str) -> Vec<(String, String)> {
    let mut commands: Vec<(String, String)> = Vec::new();
    for line in session.lines() {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(command), _) => commands.push((command.to_owned(), String::new())),
            (None, Some((_, said))) => said.push_str(&format!("{line}\n")),
            (None, None) => panic!("the session begins with no command: {line}"),
        }
    }
    commands
}

/// A text without what differs from run to run: numbers, units, long identifiers, the width of columns.
fn masked(text: &str) -> String {
    let word = |word: &str| match word {
        "B" | "KiB" | "MiB" => String::from("U"),
        long if long.len() >= 16
            && long
                .chars()
                .all(|c| c.is_ascii_hexdigit() || "()".contains(c)) =>
        {
            "ID".into()
        }
        other => {
            let mut masked = String::new();
            for letter in other.chars() {
                match letter.is_ascii_digit() || letter == '.' {
                    true if masked.ends_with('0') => {}
                    true => masked.push('0'),
                    false => masked.push(letter),
                }
            }
            masked
        }
    };
    let line = |line: &str| {
        line.split_whitespace()
            .map(word)
            .collect::<Vec<_>>()
            .join(" ")
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Types a command into a shell of the machine.
fn typed(machine: &Machine, command: &str) -> String {
    let mut shell = machine.command(
        Path::new("/bin/sh"),
        &["-c", &format!("{{ {command}\n}} 2>&1")],
    );
    let programs = Path::new(env!("CARGO_BIN_EXE_ods"))
        .parent()
        .expect("a directory");
    let path = std::env::var("PATH").unwrap_or_default();
    shell.env("PATH", format!("{}:{path}", programs.display()));
    shell.current_dir(machine.path(""));
    let ended = machine.end(shell);
    let here = machine.path("");
    let here = here.to_str().expect("text").trim_end_matches('/');
    // How far something has come is another thing each time.
    let lines = ended.out.lines().filter(|line| !line.starts_with("main: "));
    let lines: Vec<String> = lines.map(|line| format!("{line}\n")).collect();
    lines.concat().replace(here, HOME)
}

#[test]
fn the_session_of_the_readme_is_what_happens() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = fs::read_to_string(&readme).expect("a README");
    let (before, rest) = text.split_once(BEGIN).expect("a session");
    let (session, after) = rest.split_once(END).expect("its end");
    let commands = commands(session);
    assert!(commands.len() >= 20, "{}", commands.len());

    let world = World::new();
    let machine = world.machine();
    for dir in ["photos", "letters", "drive"] {
        fs::create_dir(machine.path(dir)).expect("a directory");
    }
    for number in 1..=4 {
        let path = machine.path(&format!("photos/beach-{number}.jpg"));
        fs::write(path, noise(number, 700_000)).expect("written");
    }
    fs::copy(
        machine.path("photos/beach-1.jpg"),
        machine.path("photos/best.jpg"),
    )
    .expect("copied");
    fs::write(
        machine.path("letters/aunt.txt"),
        "Dear Aunt, it rains. ".repeat(9000),
    )
    .expect("written");
    fs::write(
        machine.path("letters/bank.txt"),
        "Dear Sirs, it pours. ".repeat(4000),
    )
    .expect("written");

    let mut now = String::new();
    let mut differences = Vec::new();
    for (command, before) in &commands {
        let said = typed(&machine, command);
        assert!(!said.contains(world.emulator.token()), "the token is told");
        if masked(&said) != masked(before) {
            differences.push(format!("$ {command}\n--- README\n{before}--- now\n{said}"));
        }
        now.push_str(&format!("$ {command}\n{said}"));
    }
    if std::env::var_os("ODS_RECORD").is_some_and(|value| value == "1") {
        fs::write(&readme, [before, BEGIN, &now, END, after].concat()).expect("written");
        return;
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
