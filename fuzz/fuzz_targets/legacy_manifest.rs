//! Any bytes for the target `legacy_manifest`; `ods::fuzzing` has what is tried.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ods::fuzzing::run("legacy_manifest", data));
