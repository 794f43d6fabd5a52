//! Any bytes for the target `segment_file`; `ods::fuzzing` has what is tried.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ods::fuzzing::run("segment_file", data));
