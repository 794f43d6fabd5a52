//! Any bytes for the target `legacy_meta`; `ods::fuzzing` has what is tried.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ods::fuzzing::run("legacy_meta", data));
