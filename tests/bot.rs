//! The bot in an emulated server: what people ask, what they get, and what they do not.

#[path = "support/bots.rs"]
mod bots;
#[path = "support/discord.rs"]
mod discord;
#[path = "support/drives.rs"]
mod drives;
#[path = "support/emulator_client.rs"]
mod emulator_client;
#[path = "support/ods.rs"]
mod programs;
#[path = "support/python_bots.rs"]
mod python_bots;

#[path = "bot/commands.rs"]
mod commands;
#[path = "bot/daemon.rs"]
mod daemon;
#[path = "bot/private.rs"]
mod private;
#[path = "bot/session.rs"]
mod session;
