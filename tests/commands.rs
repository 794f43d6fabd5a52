//! Each command that the README names is there, and each that is there is in the README.

use std::collections::BTreeSet;
use std::process::Command;

/// Headings of the tables that name commands.
const COMMANDS: &str = "| command | does |";
const REPLACED: &str = "| theirs | ours, on the command line | ours, in Discord | shown by |";

fn readme() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    std::fs::read_to_string(path).expect("the README")
}

/// The source of `tests/FILE.rs` and of what lies in `tests/FILE/`.
fn source(file: &str) -> String {
    let tests = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");
    let mut text = std::fs::read_to_string(format!("{tests}/{file}.rs")).unwrap_or_default();
    let below = std::fs::read_dir(format!("{tests}/{file}"));
    for entry in below.into_iter().flatten().flatten() {
        text.push_str(&std::fs::read_to_string(entry.path()).expect("a source"));
    }
    text
}

fn rows(text: &str, heading: &str) -> Vec<Vec<String>> {
    let (_, table) = text.split_once(heading).expect(heading);
    let rows = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let row = row.replace("\\|", "¦");
        row.trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().to_owned())
            .collect()
    })
    .collect()
}

/// The commands of ods that a text names in `code`.
fn named(text: &str) -> BTreeSet<String> {
    let code = text.split('`').skip(1).step_by(2);
    let ours = code.filter_map(|code| code.strip_prefix("ods "));
    let words = ours.filter_map(|code| code.split_whitespace().next());
    words
        .filter(|word| word.starts_with(|c: char| c.is_ascii_lowercase()))
        .map(str::to_owned)
        .collect()
}

/// The commands that the program has.
fn there() -> BTreeSet<String> {
    let help = Command::new(env!("CARGO_BIN_EXE_ods"))
        .arg("--help")
        .output();
    let help = String::from_utf8(help.expect("it runs").stdout).expect("text");
    let (_, list) = help.split_once("Commands:\n").expect("commands");
    let lines = list.lines().take_while(|line| !line.is_empty());
    // What a long line goes on with is indented further.
    let begun = lines
        .filter_map(|line| line.strip_prefix("  "))
        .filter(|line| !line.starts_with(' '));
    begun
        .filter_map(|line| line.split_whitespace().next())
        .filter(|word| *word != "help")
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_readme_names_every_command_and_no_other() {
    let (text, there) = (readme(), there());
    let listed: BTreeSet<String> = rows(&text, COMMANDS)
        .iter()
        .flat_map(|row| named(&row[0]))
        .collect();
    assert_eq!(listed, there, "the table of commands");
    let all = named(&text);
    let unknown: Vec<&String> = all.difference(&there).collect();
    assert!(unknown.is_empty(), "no such commands: {unknown:?}");
}

#[test]
fn every_command_of_the_older_systems_has_its_successor_and_a_test() {
    let rows = rows(&readme(), REPLACED);
    assert!(rows.len() >= 25, "{} rows", rows.len());
    let there = there();
    for row in &rows {
        assert_eq!(row.len(), 4, "{row:?}");
        let [theirs, command_line, in_discord, shown_by] = &row[..] else {
            continue;
        };
        let ours = named(command_line);
        let mount = command_line.contains("`ods-mount");
        assert!(
            !ours.is_empty() || mount || in_discord.contains("`/"),
            "{theirs} has no successor"
        );
        assert!(ours.is_subset(&there), "{theirs}: {ours:?}");
        for test in shown_by.split('`').skip(1).step_by(2) {
            let (file, name) = test.split_once("::").expect("FILE::TEST");
            let source = source(file);
            assert!(
                source.contains(&format!("fn {name}(")),
                "no test is called {test}"
            );
        }
    }
}
