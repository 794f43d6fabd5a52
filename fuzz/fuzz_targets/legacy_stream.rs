//! Any bytes for the target `legacy_stream`; `ods::fuzzing` has what is tried.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ods::fuzzing::run("legacy_stream", data));
