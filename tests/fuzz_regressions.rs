//! The inputs that a fuzzer once failed on, and the seeds it begins with: every one must pass now.
//!
//! Nothing is random here. `scripts/soak fuzz` looks for more.
#![cfg(debug_assertions)]

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use ods::fuzzing;

/// The files of each target's directory under `top`.
fn inputs(top: &str) -> Vec<(&'static str, PathBuf)> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join(top);
    let of = |name: &'static str| {
        let files = fs::read_dir(top.join(name)).into_iter().flatten();
        files.map(move |file| (name, file.expect("a file").path()))
    };
    fuzzing::TARGETS
        .iter()
        .flat_map(|(name, _)| of(name))
        .collect()
}

/// Runs all, so that one report names all that fail.
fn run(inputs: &[(&'static str, PathBuf)]) {
    let failed: Vec<_> = inputs
        .iter()
        .filter(|(name, path)| {
            let data = fs::read(path).expect("readable");
            std::panic::catch_unwind(|| fuzzing::run(name, &data)).is_err()
        })
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn what_once_failed_passes() {
    let inputs = inputs("tests/regressions");
    assert!(!inputs.is_empty(), "there were some");
    run(&inputs);
}

#[test]
fn the_seeds_pass_and_each_target_has_some() {
    let inputs = inputs("fuzz/corpus");
    for (name, _) in fuzzing::TARGETS {
        assert!(inputs.iter().any(|(of, _)| of == name), "{name}");
    }
    run(&inputs);
}

/// Directories that no target reads would be checks that cannot fail.
#[test]
fn every_directory_belongs_to_a_target() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for top in ["tests/regressions", "fuzz/corpus", "fuzz/fuzz_targets"] {
        for entry in fs::read_dir(root.join(top)).expect("a directory") {
            let path = entry.expect("an entry").path();
            let name = path.file_stem().and_then(|name| name.to_str());
            let known = fuzzing::TARGETS
                .iter()
                .any(|(known, _)| Some(*known) == name);
            assert!(known, "{}", path.display());
        }
    }
}
