//! Any bytes for the target `frames`; `ods::fuzzing` has what is tried.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ods::fuzzing::run("frames", data));
