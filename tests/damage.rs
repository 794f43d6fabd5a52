//! Damage: every way to harm everything that is kept. Each cell of the matrix shows that the harm is
//! noticed, that nobody ever reads wrong bytes, that the rest of the drive stays readable, that verifying
//! names the files by path, and that repairing heals what can be healed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/discord.rs"]
mod discord;
#[path = "damage/history.rs"]
mod history;
#[path = "damage/local.rs"]
mod local;
#[path = "damage/packs.rs"]
mod packs;
#[path = "damage/world.rs"]
mod world;
