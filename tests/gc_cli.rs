//! `ods gc` as people use it: mounted and not, in words and in JSON, interrupted by nothing but its own sense.

#[path = "support/ods.rs"]
mod ods_support;

use std::path::Path;

use ods::emulator::Counted;
use ods_support::*;
use serde_json::Value;

const SIZE: usize = 3 << 20;

/// Bytes that do not compress.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    std::iter::repeat_with(next).take(len).collect()
}

fn drive(world: &World) -> Machine {
    let machine = world.machine();
    let server = world.emulator.server_id().to_string();
    machine.ods(&["init", "--server", &server]).good();
    machine
}
