//! Any bytes for the target `messages`; `ods::fuzzing` has what is tried.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ods::fuzzing::run("messages", data));
