//! The emulator behaves as Discord is documented and known to: one module per family.

#[path = "emulator/cdn.rs"]
mod cdn;
#[path = "support/emulator_client.rs"]
mod client;
#[path = "emulator/faults.rs"]
mod faults;
#[path = "emulator/gateway.rs"]
mod gateway;
#[path = "emulator/interactions.rs"]
mod interactions;
#[path = "emulator/kept.rs"]
mod kept;
#[path = "emulator/limits.rs"]
mod limits;
#[path = "emulator/messages.rs"]
mod messages;
#[path = "emulator/permissions.rs"]
mod permissions;
#[path = "emulator/threads.rs"]
mod threads;

use client::User;
use ods::emulator::{Clock, Emulator, Limits, Settings};

/// A time at which the fixed clocks of these tests stand.
const NOW_MS: u64 = 1_800_000_000_000;

/// An emulator without rate limits, its bot, and the channel that exists.
async fn start() -> (Emulator, User, u64) {
    start_with(Settings {
        limits: Limits::unlimited_rates(),
        ..Settings::default()
    })
    .await
}

/// The same, with a clock that stands still.
async fn start_still() -> (Emulator, User, u64) {
    start_with(Settings {
        limits: Limits::unlimited_rates(),
        clock: Clock::fixed(NOW_MS),
        ..Settings::default()
    })
    .await
}

/// Discord's rate limits, and a clock that stands still.
async fn start_limited() -> (Emulator, User, u64) {
    start_with(Settings {
        clock: Clock::fixed(NOW_MS),
        ..Settings::default()
    })
    .await
}

async fn start_with(settings: Settings) -> (Emulator, User, u64) {
    let emulator = Emulator::start(settings).await.expect("it starts");
    let (bot, channel) = (User::bot(&emulator), emulator.channel_id());
    (emulator, bot, channel)
}
