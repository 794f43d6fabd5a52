//! A Discord on loopback, and stores that know only its address.

#![allow(dead_code, reason = "each suite uses a part of it")]

use std::time::Duration;

use ods::emulator::{Emulator, Limits, RateLimits};
use ods::store::discord::{
    Discord, Settings, Token,
    setup::{Purpose, Setup},
};

pub(crate) struct Place {
    pub(crate) emulator: Emulator,
    pub(crate) journal: u64,
    pub(crate) archives: u64,
}

/// An emulator without rate limits, with the drive's two channels.
pub(crate) async fn place() -> Place {
    place_with(Limits::unlimited_rates()).await
}

pub(crate) async fn place_with(limits: Limits) -> Place {
    let rate_limits = limits.rate_limits;
    let emulator = Emulator::start(ods::emulator::Settings {
        limits: Limits {
            rate_limits: RateLimits::Off,
            ..limits
        },
        ..ods::emulator::Settings::default()
    })
    .await
    .expect("the emulator starts");
    let setup = Setup::new(settings(&emulator, 0, 0)).expect("a setup");
    let guild = emulator.guild_id();
    let channel = async |purpose| {
        let made = setup.channel(guild, purpose).await;
        made.expect("a channel").id
    };
    let journal = channel(Purpose::Journal).await;
    let archives = channel(Purpose::Archives).await;
    emulator.set_limits(Limits {
        rate_limits,
        ..emulator.limits()
    });
    emulator.reset_counts();
    Place {
        emulator,
        journal,
        archives,
    }
}

/// As for Discord, but with short waits between attempts.
pub(crate) fn settings(emulator: &Emulator, journal: u64, archives: u64) -> Settings {
    let token = Token::new(emulator.token()).expect("a token");
    Settings {
        api_base: emulator.base_url(),
        backoff_first: Duration::from_millis(2),
        backoff_max: Duration::from_millis(20),
        patience: Duration::from_secs(20),
        ..Settings::new(token, emulator.guild_id(), journal, archives)
    }
}

impl Place {
    pub(crate) fn settings(&self) -> Settings {
        settings(&self.emulator, self.journal, self.archives)
    }

    pub(crate) fn store(&self) -> Discord {
        Discord::connect(self.settings()).expect("a store")
    }
}
