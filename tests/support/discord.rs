//! A Discord on loopback, and stores that know only its address.

#![allow(dead_code, reason = "each suite uses a part of it")]

use std::time::Duration;

use ods::emulator::{Emulator, Limits, RateLimits};
use ods::store::discord::{
    Discord, Rates, Settings, Token,
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
    place_at(limits, ods::emulator::Clock::machine()).await
}

pub(crate) async fn place_at(limits: Limits, clock: ods::emulator::Clock) -> Place {
    let rate_limits = limits.rate_limits;
    let emulator = Emulator::start(ods::emulator::Settings {
        limits: Limits {
            rate_limits: RateLimits::Off,
            ..limits
        },
        clock,
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

/// As for Discord, but with short waits between attempts and nothing per second.
pub(crate) fn settings(emulator: &Emulator, journal: u64, archives: u64) -> Settings {
    let token = Token::new(emulator.token()).expect("a token");
    Settings {
        api_base: emulator.base_url(),
        rates: Rates {
            per_second_max: 10_000,
            ..Rates::default()
        },
        backoff_first: Duration::from_millis(2),
        backoff_max: Duration::from_millis(20),
        patience: Duration::from_secs(20),
        ..Settings::new(token, emulator.guild_id(), journal, archives)
    }
}

impl Place {
    /// Requests to a route, by its method and the end of its path.
    pub(crate) fn asked(&self, method: &str, end: &str) -> u64 {
        let counts = self.emulator.counts();
        let meant = |route: &&String| route.starts_with(method) && route.ends_with(end);
        let routes = counts.routes.iter();
        routes
            .filter(|(route, _)| meant(route))
            .map(|(_, count)| count)
            .sum()
    }

    pub(crate) fn settings(&self) -> Settings {
        settings(&self.emulator, self.journal, self.archives)
    }

    pub(crate) fn store(&self) -> Discord {
        Discord::connect(self.settings()).expect("a store")
    }
}

/// The emulator's routes, as its counts and faults name them.
pub(crate) const POST: &str = "POST /channels/{}/messages";
