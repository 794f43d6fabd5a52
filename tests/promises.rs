//! Each promise of the README names the tests that hold it, and they are there and run.

use std::fs;
use std::path::Path;

/// Where the table of promises begins.
const HEADING: &str = "| promised | shown by |";

/// How many promises there are: fewer means that one was taken back.
const PROMISES: usize = 14;

/// The source of `tests/FILE.rs` and of what lies in `tests/FILE/`.
fn source(file: &str) -> String {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut text = fs::read_to_string(tests.join(format!("{file}.rs"))).unwrap_or_default();
    for entry in fs::read_dir(tests.join(file)).into_iter().flatten() {
        let path = entry.expect("an entry").path();
        text.push_str(&fs::read_to_string(path).expect("a source"));
    }
    text
}

/// Is this function a test, and one that the normal run does not leave out?
fn is_run(source: &str, name: &str) -> bool {
    let Some(at) = source.find(&format!("fn {name}(")) else {
        return false;
    };
    // The attributes: the lines above it, up to an empty one.
    let above = source[..at].rsplit("\n\n").next().unwrap_or_default();
    above.contains("test") && above.contains("#[") && !above.contains("#[ignore")
}

#[test]
fn each_promise_has_tests_and_they_run() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(readme).expect("the README");
    let (_, table) = readme.split_once(HEADING).expect("the table of promises");
    let rows: Vec<&str> = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .collect();
    assert!(rows.len() >= PROMISES, "{} promises", rows.len());
    for row in rows {
        let shown = row.split('|').nth(2).expect("a second column");
        let named: Vec<&str> = shown.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "nothing shows: {row}");
        for test in named {
            let (file, name) = test.split_once("::").expect("FILE::TEST");
            assert!(is_run(&source(file), name), "no test is called {test}");
        }
    }
}

#[test]
fn a_test_that_is_left_out_shows_nothing() {
    let source =
        "\n\n#[test]\nfn a() {}\n\n#[test]\n#[ignore = \"long\"]\nfn b() {}\n\nfn c() {}\n";
    assert!(is_run(source, "a"));
    assert!(!is_run(source, "b") && !is_run(source, "c") && !is_run(source, "d"));
}
