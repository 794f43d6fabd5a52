//! Any bytes for the target `spool_records`; `ods::fuzzing` has what is tried.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ods::fuzzing::run("spool_records", data));
